#include "cubin.h"
#include "compressed.h"
#include "ptx_params.h"
#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>

#define WRAPPER_MAGIC 0x466243B1u
#define FATBIN_MAGIC  0xBA55ED50u
#define FATBIN_PTX    1 /* kind of an entry */
#define FATBIN_ELF    2

#define INFO_PREFIX ".nv.info."

/* Records of .nv.info.<kernel>: {u8 format; u8 attribute; u16 value}, format 4 followed by value
 * bytes. source: cubins of CUDA 11 to 13, read with readelf */
#define FORMAT_SIZED   0x04
#define KPARAM_INFO    0x17 /* u32, u16 ordinal, u16 offset, u32 with the size from bit 18 on */
#define KPARAM_INFO_V2 0x45 /* the same with the size in the low 24 bits */

struct fatbin_header {
    uint32_t magic;
    uint16_t version;
    uint16_t header_bytes;
    uint64_t bytes; /* of the entries behind the header */
};

static uint16_t read16(const unsigned char *p)
{
    uint16_t value;

    memcpy(&value, p, sizeof(value));
    return value;
}

static uint32_t read32(const unsigned char *p)
{
    uint32_t value;

    memcpy(&value, p, sizeof(value));
    return value;
}

static uint64_t read64(const unsigned char *p)
{
    uint64_t value;

    memcpy(&value, p, sizeof(value));
    return value;
}

/* The parameters that one .nv.info section lists; they come in any order. returns the count */
static size_t read_params(const unsigned char *info, size_t bytes,
                          struct cubin_param params[CUBIN_PARAMS_MAX])
{
    size_t count = 0;

    for (size_t at = 0; at + 4 <= bytes;) {
        unsigned attribute = info[at + 1];
        size_t value = read16(info + at + 2);
        const unsigned char *record = info + at + 4;

        if (info[at] != FORMAT_SIZED) {
            at += 4;
            continue;
        }
        if (value > bytes - at - 4)
            break;
        if ((attribute == KPARAM_INFO || attribute == KPARAM_INFO_V2) && value >= 12) {
            size_t ordinal = read16(record + 4);
            uint32_t word = read32(record + 8);

            if (ordinal < CUBIN_PARAMS_MAX) {
                params[ordinal].offset = read16(record + 6);
                params[ordinal].bytes = attribute == KPARAM_INFO ? word >> 18 : word & 0xFFFFFF;
                if (ordinal >= count)
                    count = ordinal + 1;
            }
        }
        at += 4 + value;
    }
    return count;
}

/* How long the ELF file at image is, by its own headers: it comes without a length, at any address.
 * 0: not ELF64. */
static size_t elf_bytes(const unsigned char *image)
{
    Elf64_Ehdr header;
    Elf64_Shdr section;
    size_t most;

    if (memcmp(image, ELFMAG, SELFMAG) || image[EI_CLASS] != ELFCLASS64)
        return 0;
    memcpy(&header, image, sizeof(header));
    if (header.e_shnum && header.e_shentsize < sizeof(section))
        return 0;
    most = header.e_shoff + (size_t)header.e_shnum * header.e_shentsize;
    for (size_t i = 0; i < header.e_shnum; i++) {
        memcpy(&section, image + header.e_shoff + i * header.e_shentsize, sizeof(section));
        if (section.sh_type != SHT_NOBITS && section.sh_offset + section.sh_size > most)
            most = section.sh_offset + section.sh_size;
    }
    return most;
}

static size_t walk_elf(const unsigned char *image, size_t bytes, cubin_kernel_fn *fn, void *arg)
{
    struct cubin_param *params = calloc(CUBIN_PARAMS_MAX, sizeof(*params));
    Elf_Scn *section = NULL;
    size_t names = 0, kernels = 0;
    Elf *elf;

    elf_version(EV_CURRENT);
    elf = elf_memory((char *)(uintptr_t)image, bytes);
    if (!params || !elf || elf_getshdrstrndx(elf, &names))
        goto out;
    while ((section = elf_nextscn(elf, section))) {
        GElf_Shdr header;
        const char *name;
        Elf_Data *data;
        size_t count;

        if (!gelf_getshdr(section, &header))
            continue;
        name = elf_strptr(elf, names, header.sh_name);
        if (!name || strncmp(name, INFO_PREFIX, strlen(INFO_PREFIX)))
            continue;
        data = elf_rawdata(section, NULL);
        if (!data || !data->d_buf)
            continue;
        memset(params, 0, CUBIN_PARAMS_MAX * sizeof(*params));
        count = read_params(data->d_buf, data->d_size, params);
        fn(arg, name + strlen(INFO_PREFIX), params, count);
        kernels++;
    }
out:
    if (elf)
        elf_end(elf);
    free(params);
    return kernels;
}

static size_t walk_payload(unsigned kind, const unsigned char *payload, uint64_t bytes,
                           cubin_kernel_fn *fn, void *arg)
{
    if (kind == FATBIN_ELF && bytes >= sizeof(Elf64_Ehdr))
        return walk_elf(payload, bytes, fn, arg);
    if (kind == FATBIN_PTX)
        return ptx_params_walk((const char *)payload, bytes, fn, arg);
    return 0;
}

/* The entry's length is checked; header_bytes is at least an entry's. */
static size_t walk_entry(const unsigned char *entry, uint32_t header_bytes, uint64_t payload,
                         cubin_kernel_fn *fn, void *arg)
{
    uint64_t flags = read64(entry + 40), unpacked_bytes = read64(entry + 56);
    uint32_t compressed_bytes = read32(entry + 16);
    unsigned kind = read16(entry);
    unsigned char *unpacked;
    size_t kernels;

    if (!(flags & (COMPRESSED_LZ4 | COMPRESSED_ZSTD)))
        return walk_payload(kind, entry + header_bytes, payload, fn, arg);
    if (kind != FATBIN_ELF && kind != FATBIN_PTX)
        return 0;
    unpacked = compressed_unpack(flags, entry + header_bytes, compressed_bytes, unpacked_bytes);
    if (!unpacked)
        return 0;
    kernels = walk_payload(kind, unpacked, unpacked_bytes, fn, arg);
    free(unpacked);
    return kernels;
}

/* Entries: +0 u16 kind, +4 u32 header bytes, +8 u64 payload bytes, +16 u32 compressed bytes, +40
 * u64 flags, +56 u64 unpacked bytes. The next one follows header + payload, which is the larger of
 * the two sizes. */
static size_t walk_fatbin(const unsigned char *image, cubin_kernel_fn *fn, void *arg)
{
    struct fatbin_header header;
    size_t kernels = 0;

    memcpy(&header, image, sizeof(header));
    for (uint64_t at = header.header_bytes, end = header.header_bytes + header.bytes;
         at + 64 <= end;) {
        const unsigned char *entry = image + at;
        uint64_t header_bytes = read32(entry + 4), payload = read64(entry + 8);

        if (payload < read32(entry + 16))
            payload = read32(entry + 16);
        if (header_bytes < 64 || payload > end - at || header_bytes > end - at - payload)
            break;
        kernels += walk_entry(entry, (uint32_t)header_bytes, payload, fn, arg);
        at += header_bytes + payload;
    }
    return kernels;
}

size_t cubin_walk(const void *image, cubin_kernel_fn *fn, void *arg)
{
    const unsigned char *bytes = image;

    if (read32(bytes) == WRAPPER_MAGIC) {
        bytes = (const unsigned char *)(uintptr_t)read64(bytes + 8);
        if (!bytes)
            return 0;
    }
    if (read32(bytes) == FATBIN_MAGIC)
        return walk_fatbin(bytes, fn, arg);
    if (!memcmp(bytes, ELFMAG, SELFMAG))
        return walk_elf(bytes, elf_bytes(bytes), fn, arg);
    /* What the driver has taken and is none of these is text. */
    return ptx_params_walk(image, strlen(image), fn, arg);
}

size_t cubin_walk_file(const void *file, size_t bytes, cubin_kernel_fn *fn, void *arg)
{
    struct fatbin_header header = {0};

    if (bytes < sizeof(header))
        return 0;
    memcpy(&header, file, sizeof(header));
    if (header.magic == FATBIN_MAGIC) {
        if (header.header_bytes > bytes || header.bytes > bytes - header.header_bytes)
            return 0;
        return walk_fatbin(file, fn, arg);
    }
    if (!memcmp(file, ELFMAG, SELFMAG))
        return walk_elf(file, bytes, fn, arg);
    return header.magic == WRAPPER_MAGIC ? 0 : ptx_params_walk(file, strnlen(file, bytes), fn, arg);
}
