/* Images: finding the PTX in what a program loads, and translating it. */
#include <errno.h>
#include <limits.h>
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "device.h"
#include "module.h"

#define WRAPPER_MAGIC 0x466243B1u
#define FATBIN_MAGIC  0xBA55ED50u

#define ENTRY_PTX  1u
#define ENTRY_LZ4  0x2000u /* flags */
#define ENTRY_ZSTD 0x8000u

#define TEXT_MAX ((uint64_t)256 << 20) /* of compressed PTX */

struct fatbin_wrapper {
    uint32_t magic;
    uint32_t version;
    const void *fatbin;
    const void *reserved;
};

struct fatbin_header {
    uint32_t magic;
    uint16_t version;
    uint16_t header_bytes;
    uint64_t bytes; /* of the entries behind the header */
};

struct fatbin_entry {
    uint16_t kind;
    uint16_t reserved0;
    uint32_t header_bytes;
    uint64_t payload_bytes;
    uint32_t compressed_bytes;
    uint32_t reserved1;
    uint32_t reserved2;
    uint32_t sm;
    uint32_t reserved3[2];
    uint64_t flags;
    uint64_t reserved4;
    uint64_t unpacked_bytes;
};

static void log_line(const struct load_log *log, const char *line)
{
    if (log->bytes)
        snprintf(log->text, log->bytes, "%s\n", line);
}

/* The text of a compressed entry, with a NUL after it. returns 0; 200 for damaged data; 2 */
static CUresult entry_unpack(const struct fatbin_entry *entry, const char *data, char **text)
{
    const uint64_t bytes = entry->unpacked_bytes;
    int good;

    if (bytes > TEXT_MAX || entry->compressed_bytes > INT_MAX)
        return CUDA_ERROR_INVALID_IMAGE;
    *text = malloc(bytes + 1);
    if (!*text)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (entry->flags & ENTRY_ZSTD)
        good = ZSTD_decompress(*text, bytes, data, entry->compressed_bytes) == bytes;
    else
        good = LZ4_decompress_safe(data, *text, (int)entry->compressed_bytes, (int)bytes) ==
               (int)bytes;
    (*text)[bytes] = '\0';
    if (good)
        return CUDA_SUCCESS;
    free(*text);
    *text = NULL;
    return CUDA_ERROR_INVALID_IMAGE;
}

/* The entry at a place in a fatbin. returns its length, 0 for one that reaches past the end */
static uint64_t entry_read(const char *at, const char *end, struct fatbin_entry *entry)
{
    uint64_t stored;

    memcpy(entry, at, sizeof(*entry));
    stored = entry->payload_bytes > entry->compressed_bytes ? entry->payload_bytes
                                                            : entry->compressed_bytes;
    if (entry->header_bytes < sizeof(*entry) || entry->header_bytes > (uint64_t)(end - at) ||
        stored > (uint64_t)(end - at) - entry->header_bytes)
        return 0;
    return entry->header_bytes + stored;
}

/* Of a fatbin's PTX entries the newest that the device can take. */
static CUresult fatbin_find_ptx(const void *fatbin, const char **text, size_t *bytes,
                                char **unpacked, const struct load_log *log)
{
    const struct fatbin_header *header = fatbin;
    const char *at = (const char *)fatbin + header->header_bytes;
    const char *end = at + header->bytes;
    struct fatbin_entry entry, best = {.kind = 0};
    uint64_t length;
    CUresult res;

    *text = NULL;
    for (; end - at >= (ptrdiff_t)sizeof(entry); at += length) {
        length = entry_read(at, end, &entry);
        if (!length)
            return CUDA_ERROR_INVALID_IMAGE;
        if (entry.kind == ENTRY_PTX && entry.sm <= DEVICE_CC_MAJOR * 10 + DEVICE_CC_MINOR &&
            (!*text || entry.sm > best.sm)) {
            *text = at + entry.header_bytes;
            best = entry;
        }
    }
    if (!*text) {
        log_line(log, "simcuda: the fatbin holds no PTX for compute capability 7.5 or below");
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    }
    if (best.flags & (ENTRY_LZ4 | ENTRY_ZSTD)) {
        res = entry_unpack(&best, *text, unpacked);
        if (res != CUDA_SUCCESS) {
            log_line(log, "simcuda: the fatbin's compressed PTX is damaged");
            return res;
        }
        *text = *unpacked;
        best.payload_bytes = best.unpacked_bytes;
    }
    *bytes = strnlen(*text, best.payload_bytes);
    return CUDA_SUCCESS;
}

int image_is_wrapper(const void *image)
{
    uint32_t magic;

    memcpy(&magic, image, sizeof(magic));
    return magic == WRAPPER_MAGIC;
}

CUresult image_find_ptx(const void *image, const char **text, size_t *bytes, char **unpacked,
                        const struct load_log *log)
{
    uint32_t magic;

    *unpacked = NULL;
    memcpy(&magic, image, sizeof(magic));
    if (magic == WRAPPER_MAGIC) {
        struct fatbin_wrapper wrapper;

        memcpy(&wrapper, image, sizeof(wrapper));
        image = wrapper.fatbin;
        memcpy(&magic, image, sizeof(magic));
        if (magic != FATBIN_MAGIC)
            return CUDA_ERROR_INVALID_IMAGE;
    }
    if (magic == FATBIN_MAGIC)
        return fatbin_find_ptx(image, text, bytes, unpacked, log);
    if (memcmp(image, "\177ELF", 4) == 0) {
        log_line(log, "simcuda: machine code cannot be run here; the image must hold PTX");
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    }
    *text = image;
    *bytes = strlen(*text);
    /* Text that is no PTX at all is no image; what is wrong with PTX is the compiler's to say. */
    return strstr(*text, ".version") ? CUDA_SUCCESS : CUDA_ERROR_INVALID_IMAGE;
}

/* The number in ".target sm_70". text need not end in a NUL. */
static int find_target(const char *text, size_t bytes)
{
    static const char directive[] = ".target";
    const char *at = memmem(text, bytes, directive, strlen(directive));
    const char *end = text + bytes;
    int version = 0;

    if (!at)
        return 0;
    while (at < end && *at != '_' && *at != '\n')
        at++;
    while (++at < end && *at >= '0' && *at <= '9' && version < 1000)
        version = version * 10 + (*at - '0');
    return version;
}

static CUresult text_load(const char *text, size_t bytes, const struct load_log *log,
                          struct image **out)
{
    struct image *image = malloc(sizeof(*image));
    CUresult res;

    if (!image)
        return CUDA_ERROR_OUT_OF_MEMORY;
    res = (CUresult)ptx_module_load(text, bytes, log->text, log->bytes, &image->ptx);
    if (res != CUDA_SUCCESS) {
        free(image);
        return res;
    }
    image->ptx_version = find_target(text, bytes);
    atomic_init(&image->references, 1);
    *out = image;
    return CUDA_SUCCESS;
}

CUresult image_load(const void *data, const struct load_log *log, struct image **out)
{
    const char *text;
    char *unpacked;
    size_t bytes;
    CUresult res;

    res = image_find_ptx(data, &text, &bytes, &unpacked, log);
    if (res == CUDA_SUCCESS)
        res = text_load(text, bytes, log, out);
    free(unpacked);
    return res;
}

void image_unref(struct image *image)
{
    if (atomic_fetch_sub(&image->references, 1) != 1)
        return;
    ptx_module_unload(image->ptx);
    free(image);
}

static CUresult file_read_all(FILE *file, char **data)
{
    long bytes;

    if (fseek(file, 0, SEEK_END) != 0 || (bytes = ftell(file)) < 0)
        return CUDA_ERROR_INVALID_SOURCE;
    rewind(file);
    *data = malloc((size_t)bytes + 1);
    if (!*data)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (fread(*data, 1, (size_t)bytes, file) != (size_t)bytes) {
        free(*data);
        return CUDA_ERROR_INVALID_SOURCE;
    }
    (*data)[bytes] = '\0';
    return CUDA_SUCCESS;
}

CUresult image_read_file(const char *path, char **data)
{
    FILE *file = fopen(path, "rb");
    CUresult res;

    if (!file)
        return CUDA_ERROR_FILE_NOT_FOUND;
    res = file_read_all(file, data);
    fclose(file);
    return res;
}

/* The log ----------------------------------------------------------------------------------------
 */

/* Values that are numbers stand in the pointers themselves. */
static size_t option_number(unsigned count, const CUjit_option *options, void **values,
                            CUjit_option wanted)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        if (options[i] == wanted)
            return (size_t)(uint32_t)(uintptr_t)values[i];
    }
    return 0;
}

void load_log_find(struct load_log *log, unsigned count, const CUjit_option *options, void **values)
{
    unsigned i;

    log->text = NULL;
    log->bytes = 0;
    for (i = 0; i < count; i++) {
        if (options[i] == CU_JIT_ERROR_LOG_BUFFER)
            log->text = values[i];
        if (options[i] == CU_JIT_INFO_LOG_BUFFER && values[i] &&
            option_number(count, options, values, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES))
            *(char *)values[i] = '\0';
    }
    if (log->text)
        log->bytes = option_number(count, options, values, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES);
    if (log->bytes)
        log->text[0] = '\0';
}

void load_log_report(const struct load_log *log, unsigned count, const CUjit_option *options,
                     void **values)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        if (options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
            values[i] = (void *)(uintptr_t)(log->bytes ? strlen(log->text) : 0);
        if (options[i] == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES)
            values[i] = NULL;
    }
}
