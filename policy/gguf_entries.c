#include "gguf_reader.h"
#include "utf8.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The types of values: number, word for people, bytes of one (0 where it varies). */
#define VALUE_TYPES(X)                                                                             \
    X(0, U8, "u8", 1)                                                                              \
    X(1, I8, "i8", 1)                                                                              \
    X(2, U16, "u16", 2)                                                                            \
    X(3, I16, "i16", 2)                                                                            \
    X(4, U32, "u32", 4)                                                                            \
    X(5, I32, "i32", 4)                                                                            \
    X(6, F32, "f32", 4)                                                                            \
    X(7, BOOL, "bool", 1)                                                                          \
    X(8, STRING, "string", 0)                                                                      \
    X(9, ARRAY, "array", 0)                                                                        \
    X(10, U64, "u64", 8)                                                                           \
    X(11, I64, "i64", 8)                                                                           \
    X(12, F64, "f64", 8)

enum value_type {
#define X(number, id, word, bytes) VALUE_##id = number,
    VALUE_TYPES(X)
#undef X
        VALUE_TYPE_COUNT
};

static const struct {
    const char *word;
    unsigned bytes;
} g_values[VALUE_TYPE_COUNT] = {
#define X(number, id, word, bytes) [number] = {word, bytes},
    VALUE_TYPES(X)
#undef X
};

int gguf_refuse_memory(const struct gguf_reader *r)
{
    return input_error_set(r->error, -ENOMEM, INPUT_ERROR_NO_OFFSET,
                           "memory for the table of tensors", "none left");
}

/* Take the length of a string that lies inside the file. */
static int read_length(struct gguf_reader *r, uint64_t *length)
{
    uint64_t at = r->in.at;
    int res = gguf_input_u64(&r->in, length);

    if (res == 0 && *length > gguf_input_left(&r->in))
        return input_error_set(r->error, -EINVAL, at, "a string that ends inside the file",
                               "%" PRIu64 " bytes of it where %" PRIu64 " are left", *length,
                               gguf_input_left(&r->in));
    return res;
}

/* Is it UTF-8 without NUL? */
static bool is_text(const struct gguf_text *text)
{
    const unsigned char *from = (const unsigned char *)text->bytes;
    size_t at = 0;
    uint32_t code;

    while (at < text->length) {
        size_t taken = utf8_decode(from + at, text->length - at, &code);

        if (taken == 0 || code == 0)
            return false;
        at += taken;
    }
    return true;
}

int gguf_read_name(struct gguf_reader *r, uint64_t limit, const char *what, struct gguf_text *out)
{
    uint64_t at = r->in.at, length;
    const unsigned char *from;
    int res;

    r->error->field[0] = '\0';
    res = read_length(r, &length);
    if (res)
        return res;
    if (length > limit)
        return input_error_set(r->error, -EINVAL, at, what, "%" PRIu64 " bytes", length);
    res = gguf_input_take(&r->in, (size_t)length, &from);
    if (res)
        return res;
    out->bytes = (const char *)from;
    out->length = (size_t)length;
    input_error_set_field(r->error, out->bytes, out->length);
    if (!is_text(out))
        return input_error_set(r->error, -EINVAL, at + 8, what, "bytes that are no such text");
    return 0;
}

static int read_value_type(struct gguf_reader *r, uint32_t *type)
{
    uint64_t at = r->in.at;
    int res = gguf_input_u32(&r->in, type);

    if (res == 0 && *type >= VALUE_TYPE_COUNT)
        return input_error_set(r->error, -EINVAL, at, "a type of values from 0 to 12", "%" PRIu32,
                               *type);
    return res;
}

static int skip_string(struct gguf_reader *r)
{
    uint64_t length;
    int res = read_length(r, &length);

    return res ? res : gguf_input_skip(&r->in, length);
}

/* Pass over an array. Its elements take up bytes of the file each, so that this ends.
 *
 * depth  of arrays around it
 */
static int skip_array(struct gguf_reader *r, unsigned depth)
{
    uint64_t at = r->in.at, count, least;
    uint32_t type = 0;
    int res = 0;

    if (depth == GGUF_NESTING_MAX)
        return input_error_set(r->error, -EINVAL, at, "at most 4 arrays inside one another",
                               "a fifth");
    res = read_value_type(r, &type);
    if (res == 0)
        res = gguf_input_u64(&r->in, &count);
    if (res)
        return res;
    least = type == VALUE_STRING ? 8 : type == VALUE_ARRAY ? 12 : g_values[type].bytes;
    if (count > gguf_input_left(&r->in) / least)
        return input_error_set(r->error, -EINVAL, at + 4, "an array that ends inside the file",
                               "%" PRIu64 " elements where %" PRIu64 " bytes are left", count,
                               gguf_input_left(&r->in));
    if (type != VALUE_STRING && type != VALUE_ARRAY)
        return gguf_input_skip(&r->in, count * least);
    for (; count > 0 && res == 0; count--)
        res = type == VALUE_STRING ? skip_string(r) : skip_array(r, depth + 1);
    return res;
}

/* Keep what an entry says, where the file is the checkpoint's first. */
static int keep(struct gguf_reader *r, const char *key, const char *text)
{
    if (r->file != 0)
        return 0;
    return checkpoint_builder_add_metadata(r->builder, key, text) ? gguf_refuse_memory(r) : 0;
}

static int read_string(struct gguf_reader *r, const char *key)
{
    char copy[CHECKPOINT_METADATA_MAX + 1];
    const unsigned char *from;
    struct gguf_text text;
    uint64_t length;
    int res = read_length(r, &length);

    if (res)
        return res;
    if (length > CHECKPOINT_METADATA_MAX)
        return gguf_input_skip(&r->in, length);
    res = gguf_input_take(&r->in, (size_t)length, &from);
    if (res)
        return res;
    text.bytes = (const char *)from;
    text.length = (size_t)length;
    if (!is_text(&text))
        return 0;
    memcpy(copy, from, text.length);
    copy[text.length] = '\0';
    return keep(r, key, copy);
}

static int read_alignment(struct gguf_reader *r, uint32_t type)
{
    static const char expected[] = "an alignment of 1 to 1048576 bytes, a power of two, as u32";
    uint64_t at = r->in.at;
    uint32_t value;
    int res;

    if (type != VALUE_U32)
        return input_error_set(r->error, -EINVAL, at - 4, expected, "a value of type %s",
                               g_values[type].word);
    res = gguf_input_u32(&r->in, &value);
    if (res)
        return res;
    if (value == 0 || (value & (value - 1)) || value > GGUF_ALIGNMENT_MAX)
        return input_error_set(r->error, -EINVAL, at, expected, "%" PRIu32, value);
    r->alignment = value;
    return 0;
}

static bool is_signed(uint32_t type)
{
    return type == VALUE_I8 || type == VALUE_I16 || type == VALUE_I32 || type == VALUE_I64;
}

/* What an integer says of parts. */
static int note_split(struct gguf_reader *r, const char *key, uint64_t at, uint64_t value,
                      bool negative)
{
    uint64_t *field = strcmp(key, "split.count") == 0           ? &r->split.count
                      : strcmp(key, "split.no") == 0            ? &r->split.number
                      : strcmp(key, "split.tensors.count") == 0 ? &r->split.tensor_count
                                                                : NULL;

    if (!field)
        return 0;
    if (negative)
        return input_error_set(r->error, -EINVAL, at, "a number from 0 on", "%" PRId64,
                               (int64_t)value);
    *field = value;
    return 0;
}

static int read_bool(struct gguf_reader *r, const char *key, uint64_t at, uint64_t value)
{
    if (value > 1)
        return input_error_set(r->error, -EINVAL, at, "a bool: 0 or 1", "%" PRIu64, value);
    return keep(r, key, value ? "true" : "false");
}

static int read_number(struct gguf_reader *r, const char *key, uint32_t type)
{
    unsigned bytes = g_values[type].bytes;
    const unsigned char *from;
    uint64_t at = r->in.at, value;
    bool negative;
    char text[24];
    int res = gguf_input_take(&r->in, bytes, &from);

    if (res || type == VALUE_F32 || type == VALUE_F64)
        return res;
    value = gguf_load(from, bytes);
    if (type == VALUE_BOOL)
        return read_bool(r, key, at, value);

    negative = is_signed(type) && value >> (bytes * 8 - 1);
    if (negative && bytes < 8)
        value |= UINT64_MAX << (bytes * 8);
    snprintf(text, sizeof(text), negative ? "%" PRId64 : "%" PRIu64, value);
    res = note_split(r, key, at, value, negative);
    return res ? res : keep(r, key, text);
}

static int read_value(struct gguf_reader *r, const char *key)
{
    uint32_t type = 0;
    int res = read_value_type(r, &type);

    if (res)
        return res;
    if (strcmp(key, "general.alignment") == 0)
        return read_alignment(r, type);
    if (type == VALUE_STRING)
        return read_string(r, key);
    if (type == VALUE_ARRAY)
        return skip_array(r, 0);
    return read_number(r, key, type);
}

/* Remember a key, for the check that none is there twice. */
static int add_key(struct gguf_reader *r, const struct gguf_text *key)
{
    size_t bytes = key->length + 1;

    if (r->keys_room - r->keys_bytes < bytes) {
        size_t room = 2 * r->keys_room + GGUF_KEY_MAX + 1;
        char *larger = realloc(r->keys, room);

        if (!larger)
            return gguf_refuse_memory(r);
        r->keys = larger;
        r->keys_room = room;
    }
    memcpy(r->keys + r->keys_bytes, key->bytes, key->length);
    r->keys[r->keys_bytes + key->length] = '\0';
    r->keys_bytes += bytes;
    return 0;
}

static int read_entry(struct gguf_reader *r)
{
    uint64_t at = r->in.at;
    struct gguf_text key;
    size_t start = r->keys_bytes;
    int res =
        gguf_read_name(r, GGUF_KEY_MAX, "a key: UTF-8 text of 1 to 65535 bytes without NUL", &key);

    if (res)
        return res;
    if (key.length == 0)
        return input_error_set(r->error, -EINVAL, at,
                               "a key: UTF-8 text of 1 to 65535 bytes without NUL", "an empty one");
    res = add_key(r, &key);
    return res ? res : read_value(r, r->keys + start);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_keys(struct gguf_reader *r)
{
    size_t count = (size_t)r->entry_count, i;
    const char **sorted = calloc(count ? count : 1, sizeof(*sorted)), *key = r->keys;
    int res = 0;

    if (!sorted)
        return gguf_refuse_memory(r);
    for (i = 0; i < count; i++, key += strlen(key) + 1)
        sorted[i] = key;
    qsort(sorted, count, sizeof(*sorted), compare_keys);
    for (i = 1; i < count && res == 0; i++) {
        if (strcmp(sorted[i - 1], sorted[i]) == 0) {
            input_error_set_field(r->error, sorted[i], strlen(sorted[i]));
            res = input_error_set(r->error, -EINVAL, INPUT_ERROR_NO_OFFSET, "every key once",
                                  "it twice");
        }
    }
    free(sorted);
    return res;
}

int gguf_read_entries(struct gguf_reader *r)
{
    uint64_t i;
    int res = 0;

    for (i = 0; i < r->entry_count && res == 0; i++)
        res = read_entry(r);
    if (res == 0)
        res = check_keys(r);
    free(r->keys);
    r->keys = NULL;
    return res;
}
