/* The words of a policy that flags share with the file: devices, places, backends, types, budgets.
 */

#include "ascii.h"
#include "names.h"
#include "policy_file.h"
#include "size.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ENTRY_BYTES 128 /* of one DEV=SIZE, with its NUL */

static const char *const g_backends[POLICY_BACKEND_COUNT] = {
#define X(name, word) #word,
    POLICY_BACKENDS(X)
#undef X
};

static const char *const g_dtype_words[] = {
#define X(word, name) #word,
    POLICY_DTYPES(X)
#undef X
};
#define DTYPE_WORDS (sizeof(g_dtype_words) / sizeof(g_dtype_words[0]))

static const enum dtype g_dtypes[DTYPE_WORDS] = {
#define X(word, name) DTYPE_##name,
    POLICY_DTYPES(X)
#undef X
};

const char *policy_backend_name(enum policy_backend backend)
{
    return (unsigned)backend < POLICY_BACKEND_COUNT ? g_backends[backend] : "?";
}

int policy_parse_backend(const char *text, enum policy_backend *out, struct input_error *error)
{
    size_t found;
    int res = names_find(text, g_backends, POLICY_BACKEND_COUNT, &found, error);

    if (res == 0)
        *out = (enum policy_backend)found;
    return res;
}

/* Read a GPU index in decimal, without sign or leading zeros.
 *
 * returns  the index, or -EINVAL where text is none below POLICY_DEVICES_MAX
 */
static int parse_index(const char *text)
{
    int index = 0;

    if (text[0] == '\0' || strlen(text) > 2 || (text[0] == '0' && text[1] != '\0'))
        return -EINVAL;
    for (; *text; text++) {
        if (!ascii_is_digit(*text))
            return -EINVAL;
        index = index * 10 + (*text - '0');
    }
    return index < POLICY_DEVICES_MAX ? index : -EINVAL;
}

int policy_parse_place(const char *text, int *place)
{
    int index;

    if (strcmp(text, "cpu") == 0) {
        *place = POLICY_CPU;
        return 0;
    }
    if (strcmp(text, "disk") == 0) {
        *place = POLICY_DISK;
        return 0;
    }
    if (strncmp(text, "cuda", 4) != 0)
        return -EINVAL;
    index = text[4] == '\0' ? 0 : text[4] == ':' ? parse_index(text + 5) : -EINVAL;
    if (index < 0)
        return -EINVAL;
    *place = index;
    return 0;
}

const char *policy_place_name(int place, char text[POLICY_PLACE_BYTES])
{
    if (place >= 0 && place < POLICY_DEVICES_MAX)
        snprintf(text, POLICY_PLACE_BYTES, "%d", place);
    else
        snprintf(text, POLICY_PLACE_BYTES, "%s",
                 place == POLICY_CPU    ? "cpu"
                 : place == POLICY_DISK ? "disk"
                                        : "?");
    return text;
}

const char *policy_dtype_name(enum dtype dtype)
{
    size_t i;

    for (i = 0; i < DTYPE_WORDS; i++) {
        if (g_dtypes[i] == dtype)
            return g_dtype_words[i];
    }
    return NULL;
}

int policy_parse_dtype(const char *text, enum dtype *out, struct input_error *error)
{
    static const char torch[] = "torch.";
    size_t found;
    int res;

    if (strncmp(text, torch, sizeof(torch) - 1) == 0)
        text += sizeof(torch) - 1;
    res = names_find(text, g_dtype_words, DTYPE_WORDS, &found, error);
    if (res == 0)
        *out = g_dtypes[found];
    return res;
}

uint64_t *policy_memory_find(struct policy_memory *memory, const char *device)
{
    int index;

    if (strcmp(device, "cpu") == 0)
        return &memory->cpu_bytes;
    if (strcmp(device, "disk") == 0)
        return &memory->disk_bytes;
    index = parse_index(strncmp(device, "cuda:", 5) == 0 ? device + 5 : device);
    return index >= 0 ? &memory->device_bytes[index] : NULL;
}

void policy_memory_clear(struct policy_memory *memory)
{
    size_t i;

    for (i = 0; i < POLICY_DEVICES_MAX; i++)
        memory->device_bytes[i] = POLICY_UNSET;
    memory->cpu_bytes = POLICY_UNSET;
    memory->disk_bytes = POLICY_UNSET;
}

void policy_memory_override(struct policy_memory *memory, const struct policy_memory *stronger)
{
    size_t i;

    for (i = 0; i < POLICY_DEVICES_MAX; i++) {
        if (stronger->device_bytes[i] != POLICY_UNSET)
            memory->device_bytes[i] = stronger->device_bytes[i];
    }
    if (stronger->cpu_bytes != POLICY_UNSET)
        memory->cpu_bytes = stronger->cpu_bytes;
    if (stronger->disk_bytes != POLICY_UNSET)
        memory->disk_bytes = stronger->disk_bytes;
}

/* Take [text, end) without the blanks around it.
 *
 * out      ENTRY_BYTES long
 * returns  0; -EINVAL where it does not fit
 */
static int copy_trimmed(char *out, const char *text, const char *end)
{
    while (text < end && *text == ' ')
        text++;
    while (end > text && end[-1] == ' ')
        end--;
    if (end - text >= ENTRY_BYTES)
        return -EINVAL;
    memcpy(out, text, (size_t)(end - text));
    out[end - text] = '\0';
    return 0;
}

static int refuse(struct input_error *error, const char *expected, const char *found)
{
    return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, expected, "\"%s\"", found);
}

/* Read one DEV=SIZE of [text, end). */
static int parse_entry(const char *text, const char *end, struct policy_memory *memory,
                       struct input_error *error)
{
    const char *equals = memchr(text, '=', (size_t)(end - text));
    char device[ENTRY_BYTES], size[ENTRY_BYTES];
    uint64_t *budget, bytes;
    int res;

    input_error_set_field(error, text, (size_t)(end - text));
    if (!equals || copy_trimmed(device, text, equals) || copy_trimmed(size, equals + 1, end))
        return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET,
                               "DEV=SIZE such as 0=8GiB or cpu=64GiB",
                               text == end ? "nothing" : "no such pair");
    budget = policy_memory_find(memory, device);
    if (!budget)
        return refuse(error, POLICY_MEMORY_DEVICES, device);
    if (*budget != POLICY_UNSET)
        return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, "every device once",
                               "\"%s\" a second time", device);
    res = size_parse(size, SIZE_PLAIN_ACCEPTED, &bytes);
    if (res == -ERANGE || (res == 0 && bytes == POLICY_UNSET))
        return refuse(error, "a size of less than 2^64 bytes", size);
    if (res)
        return refuse(error, SIZE_EXPECTED, size);
    *budget = bytes;
    return 0;
}

int policy_parse_max_memory(const char *text, struct policy_memory *memory,
                            struct input_error *error)
{
    struct policy_memory changed = *memory;

    input_error_clear(error);
    for (;;) {
        const char *end = strchrnul(text, ',');
        int res = parse_entry(text, end, &changed, error);

        if (res)
            return res;
        if (*end == '\0')
            break;
        text = end + 1;
    }
    *memory = changed;
    return 0;
}
