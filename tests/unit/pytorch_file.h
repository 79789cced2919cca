/* pytorch_file.h - files as torch.save() writes them, for tests that write the pickle by hand.
 *
 * A pickle is put together from string literals; what a macro takes as a number is a literal of one
 * byte ("\3"). Everything is of protocol 2, without PROTO, whose absence nobody minds.
 */
#ifndef BERTH_TESTS_UNIT_PYTORCH_FILE_H
#define BERTH_TESTS_UNIT_PYTORCH_FILE_H

#include "data.h"
#include "dtype.h"
#include "pytorch.h"
#include "zip_file.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define P_TEXT(pickle) pickle, sizeof(pickle) - 1

/* A string of at most 255 bytes, its length as a literal: P_STRING("\3", "abc"). */
#define P_STRING(bytes, text) "U" bytes text
#define P_INT(number)         "K" number

#define P_CLASS(class) "ctorch\n" class "\n"
#define P_STORAGE(class, key, elements)                                                            \
    "(U\7storage" P_CLASS(class) P_STRING("\1", key) "U\3cpu" P_INT(elements) "tQ"

/* The four that every tensor needs; extents is what stands between ( and t. */
#define P_PLACE(storage, first, extents, strides) storage P_INT(first) "(" extents "t(" strides "t"
#define P_CALL(function, args)                    "ctorch._utils\n" function "\n(" args "tR"

/* A vector over the whole of storage 0, four floats. */
#define P_FLOATS P_STORAGE("FloatStorage", "0", "\4")
#define P_VECTOR_OF(storage)                                                                       \
    P_CALL("_rebuild_tensor_v2", P_PLACE(storage, "\0", "K\4", "K\1") "\x89N")
#define P_VECTOR P_VECTOR_OF(P_FLOATS)

#define P_DICT(items)         "}(" items "u"
#define P_ORDERED_DICT(items) "ccollections\nOrderedDict\n)R(" items "u"

#define PYTORCH_STORAGE_BYTES 16u

/* Write an archive: data.pkl, the byte order, and the storages 0 and 1 of 16 bytes each. */
static inline void pytorch_file_make(struct zip_file *file, const void *pickle, size_t bytes)
{
    const struct zip_file_member members[] = {
        {"m/data.pkl", pickle, bytes},
        {"m/byteorder", "little", 6},
        {"m/data/0", "0123456789abcdef", PYTORCH_STORAGE_BYTES},
        {"m/data/1", "ghijklmnopqrstuv", PYTORCH_STORAGE_BYTES},
    };

    zip_file_make(file, members, 4, ZIP_FILE_DESCRIPTORS);
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct input_error g_error; /* of the last file that was read */
static char g_line[INPUT_ERROR_TEXT_BYTES];

/* A reader of either form. */
typedef int read_source(const struct byte_source *source, struct checkpoint_builder *builder,
                        size_t file, struct input_error *error);

/* Read a file from memory that ends where it ends. */
static inline int read_memory(read_source *read, const void *data, size_t bytes,
                              struct checkpoint **out)
{
    const struct stat status = {.st_size = (off_t)bytes};
    struct byte_source source = {.bytes = bytes, .fd = -1};
    struct checkpoint_builder builder;
    char *exact = malloc(bytes ? bytes : 1);
    size_t file;
    int res;

    assert_non_null(exact);
    memcpy(exact, data, bytes);
    source.memory = exact;
    input_error_clear(&g_error);
    assert_int_equal(checkpoint_builder_begin(&builder, CHECKPOINT_PYTORCH), 0);
    assert_int_equal(checkpoint_builder_add_file(&builder, "x", &status, &file), 0);
    res = read(&source, &builder, file, &g_error);
    free(exact);
    if (res == 0)
        return checkpoint_builder_finish(&builder, out, &g_error);
    checkpoint_builder_abandon(&builder);
    return res;
}

static inline const char *line(void)
{
    return input_error_format(&g_error, g_line, sizeof(g_line));
}

static inline size_t put_numbers(char *text, size_t room, const uint64_t *numbers, size_t count)
{
    size_t used = 0, i;

    for (i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, room - used, "%s%llu", i ? "," : "",
                                 (unsigned long long)numbers[i]);
    return used;
}

/* One line for each tensor: name dtype [shape]/[strides] @first byte in the storages+bytes
 * #storage.
 *
 * first    where storage 0 begins in the file, which is not known to who writes the test; what lies
 *          behind storage 0 is counted from second, and 100 added
 */
static inline const char *describe(const struct checkpoint *c, uint64_t first, uint64_t second)
{
    static char text[2048];
    char numbers[2][128];
    size_t used = 0, i;

    text[0] = '\0';
    for (i = 0; i < c->tensor_count; i++) {
        const struct tensor *t = &c->tensors[i];
        uint64_t at = t->offset >= second ? t->offset - second + 100 : t->offset - first;

        numbers[0][0] = numbers[1][0] = '\0';
        put_numbers(numbers[0], sizeof(numbers[0]), t->shape, t->rank);
        if (t->strides)
            put_numbers(numbers[1], sizeof(numbers[1]), t->strides, t->rank);
        used += (size_t)snprintf(
            text + used, sizeof(text) - used, "%s%s %s [%s]%s%s @%llu+%llu #%u", i ? "; " : "",
            t->name, dtype_name(t->dtype), numbers[0], t->strides ? "/" : "", numbers[1],
            (unsigned long long)at, (unsigned long long)t->bytes, t->storage);
    }
    return text;
}

struct row {
    const char *pickle;
    size_t bytes;
    const char *want;
};

#endif
