/* built_checkpoint.h - checkpoints without files, for tests of what is told by names.
 *
 * Tensors lie one behind another in one file that does not exist, unless a test says where.
 */
#ifndef BERTH_TEST_BUILT_CHECKPOINT_H
#define BERTH_TEST_BUILT_CHECKPOINT_H

#include "checkpoint_build.h"
#include "data.h"
#include <string.h>
#include <sys/stat.h>

struct built {
    struct checkpoint_builder builder;
    uint64_t end; /* of the last tensor in the file */
};

static inline void built_begin(struct built *b)
{
    struct stat status = {.st_size = 1};
    size_t file;

    memset(b, 0, sizeof(*b));
    assert_int_equal(checkpoint_builder_begin(&b->builder, CHECKPOINT_SAFETENSORS), 0);
    assert_int_equal(checkpoint_builder_add_file(&b->builder, "built", &status, &file), 0);
}

/* Add a tensor of whole bytes at a place in the file. */
static inline void built_add_at(struct built *b, const char *name, uint64_t offset, uint64_t bytes)
{
    struct tensor tensor = {.name = name,
                            .name_bytes = (uint32_t)strlen(name),
                            .shape = &bytes,
                            .rank = 1,
                            .dtype = DTYPE_U8,
                            .offset = offset,
                            .bytes = bytes};

    assert_int_equal(checkpoint_builder_add_tensor(&b->builder, &tensor), 0);
    b->end = offset + bytes > b->end ? offset + bytes : b->end;
}

static inline void built_add(struct built *b, const char *name, uint64_t bytes)
{
    built_add_at(b, name, b->end, bytes);
}

static inline struct checkpoint *built_finish(struct built *b)
{
    struct checkpoint *checkpoint = NULL;
    struct input_error error;

    assert_int_equal(checkpoint_builder_finish(&b->builder, &checkpoint, &error), 0);
    return checkpoint;
}

/* A checkpoint of names, each of 16 bytes; NULL ends them. */
static inline struct checkpoint *built_names(const char *const *names)
{
    struct built b;

    built_begin(&b);
    for (; *names; names++)
        built_add(&b, *names, 16);
    return built_finish(&b);
}

#endif
