/* weights.h - the checkpoint's tensors in GPU memory.
 *
 * Each tensor is copied once, straight from the mapped file or through a buffer that it is read
 * into, and is never written again.
 */
#ifndef MINILM_WEIGHTS_H
#define MINILM_WEIGHTS_H

#include "checkpoint.h"
#include "tests/apps/cuda_api.h"

enum weights_style {
    WEIGHTS_EACH, /* one allocation for each tensor */
    WEIGHTS_ARENA /* one allocation for them all */
};

enum weights_source {
    WEIGHTS_MAPPED, /* the file's mapping */
    WEIGHTS_READ    /* a buffer, one tensor after the other */
};

struct weights {
    const struct checkpoint *checkpoint; /* borrowed */
    enum weights_style style;
    CUdeviceptr *address; /* of each tensor, in the checkpoint's order */
};

/* Allocate and copy; dies with one line where the GPU has no room.
 *
 * owner  weights_free(), before the checkpoint is closed
 */
void weights_upload(const struct checkpoint *checkpoint, enum weights_style style,
                    enum weights_source source, struct weights *out);
void weights_free(struct weights *weights);

/* The address of a float32 tensor; dies with one line where it is missing or of another shape.
 *
 * cols  0 for a vector of rows elements
 */
CUdeviceptr weights_find(const struct weights *weights, const char *name, size_t rows, size_t cols);

#endif
