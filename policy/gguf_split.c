#include "gguf_split.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PART_TAIL_BYTES 20u /* -00001-of-00003.gguf */

/* What the name of a part says. */
struct part_name {
    size_t prefix_bytes; /* of the path, up to the tail */
    unsigned number;     /* from 1 on */
    unsigned count;
};

/* Read five digits. */
static bool read_five(const char *text, unsigned *out)
{
    size_t i;

    *out = 0;
    for (i = 0; i < 5; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
        *out = *out * 10 + (unsigned)(text[i] - '0');
    }
    return true;
}

static bool read_part_name(const char *path, struct part_name *out)
{
    size_t bytes = strlen(path);
    const char *tail = path + bytes - PART_TAIL_BYTES;

    if (bytes < PART_TAIL_BYTES || tail[0] != '-' || memcmp(tail + 6, "-of-", 4) != 0 ||
        strcmp(tail + 15, ".gguf") != 0)
        return false;
    out->prefix_bytes = bytes - PART_TAIL_BYTES;
    return read_five(tail + 1, &out->number) && read_five(tail + 10, &out->count) &&
           out->number >= 1 && out->number <= out->count;
}

int gguf_split_check(const char *path, const struct gguf_split *split, struct input_error *error)
{
    uint64_t count = split->count ? split->count : 1;
    struct part_name name = {.number = 1, .count = 1};
    bool is_part = read_part_name(path, &name);
    char expected[64];

    if (!is_part)
        name = (struct part_name){.number = 1, .count = 1};
    if (count == name.count && split->number == name.number - 1)
        return 0;
    if (!is_part)
        return input_error_set(
            error, -EINVAL, INPUT_ERROR_NO_OFFSET,
            "a name that ends like -00001-of-00003.gguf, for the file is one part "
            "of a checkpoint",
            "part %" PRIu64 " of %" PRIu64, split->number + 1, count);
    snprintf(expected, sizeof(expected), "part %u of %u, as the file is called", name.number,
             name.count);
    return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, expected,
                           "split.no %" PRIu64 " and split.count %" PRIu64 " in it", split->number,
                           split->count);
}

static int refuse_memory(struct input_error *error)
{
    return input_error_set(error, -ENOMEM, INPUT_ERROR_NO_OFFSET, "memory for the table of tensors",
                           "none left");
}

/* Read one part by its number, from 1 on. path is that of any of them. */
static int read_part(struct checkpoint_builder *builder, const char *path,
                     const struct part_name *name, unsigned number, struct input_error *error)
{
    char expected[64];
    char *part;
    int res;

    if (asprintf(&part, "%.*s-%05u-of-%05u.gguf", (int)name->prefix_bytes, path, number,
                 name->count) < 0)
        return refuse_memory(error);
    res = checkpoint_builder_read_file(builder, part, part, CHECKPOINT_GGUF, NULL, error);
    free(part);
    if (res == -ENOENT) {
        snprintf(expected, sizeof(expected), "part %u of %u beside the others", number,
                 name->count);
        return input_error_set(error, res, INPUT_ERROR_NO_OFFSET, expected, "no such file");
    }
    return res;
}

/* Begin again, with no file. */
static int restart(struct checkpoint_builder *builder, struct input_error *error)
{
    checkpoint_builder_abandon(builder);
    return checkpoint_builder_begin(builder, CHECKPOINT_GGUF) ? refuse_memory(error) : 0;
}

static int check_tensor_count(const struct checkpoint_builder *builder,
                              const struct gguf_split *split, struct input_error *error)
{
    if (split->tensor_count == 0 || split->tensor_count == builder->checkpoint->tensor_count)
        return 0;
    return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET,
                           "as many tensors in all parts as split.tensors.count says",
                           "%zu instead of %" PRIu64, builder->checkpoint->tensor_count,
                           split->tensor_count);
}

int gguf_split_read(struct checkpoint_builder *builder, const struct gguf_split *split,
                    struct input_error *error)
{
    char *path = strdup(builder->checkpoint->files[0].path);
    struct part_name name = {0};
    unsigned number = 2;
    int res = 0;

    if (!path)
        return refuse_memory(error);
    /* gguf_split_check() has seen that it is a part's name. */
    read_part_name(path, &name);
    if (name.number != 1) {
        res = restart(builder, error);
        number = 1;
    }
    for (; number <= name.count && res == 0; number++)
        res = read_part(builder, path, &name, number, error);
    free(path);
    return res ? res : check_tensor_count(builder, split, error);
}
