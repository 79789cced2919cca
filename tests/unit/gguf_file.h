/* gguf_file.h - GGUF files for tests, piece by piece, right or wrong in whatever way is asked for.
 */
#ifndef BERTH_TEST_GGUF_FILE_H
#define BERTH_TEST_GGUF_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
};

struct gguf_file {
    unsigned char *bytes;
    size_t count, room;
};

static inline void gguf_put(struct gguf_file *f, const void *from, size_t bytes)
{
    while (f->room - f->count < bytes) {
        f->room = f->room ? 2 * f->room : 256;
        f->bytes = realloc(f->bytes, f->room);
        if (!f->bytes)
            abort();
    }
    if (bytes)
        memcpy(f->bytes + f->count, from, bytes);
    f->count += bytes;
}

/* A number of 1 to 8 bytes. */
static inline void gguf_number(struct gguf_file *f, uint64_t value, size_t bytes)
{
    gguf_put(f, &value, bytes);
}

static inline void gguf_string(struct gguf_file *f, const char *text)
{
    gguf_number(f, strlen(text), 8);
    gguf_put(f, text, strlen(text));
}

static inline void gguf_begin(struct gguf_file *f, uint64_t version, uint64_t tensors,
                              uint64_t entries)
{
    memset(f, 0, sizeof(*f));
    gguf_put(f, "GGUF", 4);
    gguf_number(f, version, 4);
    gguf_number(f, tensors, 8);
    gguf_number(f, entries, 8);
}

/* An entry up to its value. */
static inline void gguf_key(struct gguf_file *f, const char *key, uint32_t type)
{
    gguf_string(f, key);
    gguf_number(f, type, 4);
}

static inline void gguf_entry(struct gguf_file *f, const char *key, uint32_t type, uint64_t value,
                              size_t bytes)
{
    gguf_key(f, key, type);
    gguf_number(f, value, bytes);
}

/* The beginning of an array. */
static inline void gguf_array(struct gguf_file *f, uint32_t type, uint64_t count)
{
    gguf_number(f, type, 4);
    gguf_number(f, count, 8);
}

/* A tensor's entry; extents innermost first. */
static inline void gguf_tensor(struct gguf_file *f, const char *name, uint32_t rank,
                               const uint64_t *extents, uint32_t type, uint64_t offset)
{
    gguf_string(f, name);
    gguf_number(f, rank, 4);
    for (uint32_t i = 0; i < rank; i++)
        gguf_number(f, extents[i], 8);
    gguf_number(f, type, 4);
    gguf_number(f, offset, 8);
}

/* Bytes from here to the next multiple of alignment, and then `bytes` more of data. */
static inline void gguf_data(struct gguf_file *f, size_t alignment, size_t bytes)
{
    while (f->count % alignment)
        gguf_number(f, 0, 1);
    for (size_t i = 0; i < bytes; i++)
        gguf_number(f, i * 31 % 251, 1);
}

static inline void gguf_write(struct gguf_file *f, const char *path)
{
    FILE *file = fopen(path, "wb");

    if (!file || fwrite(f->bytes, 1, f->count, file) != f->count || fclose(file))
        abort();
}

static inline void gguf_free(struct gguf_file *f)
{
    free(f->bytes);
    memset(f, 0, sizeof(*f));
}

#endif
