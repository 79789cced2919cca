/* weights.c - see weights.h. */
#include "weights.h"

#include <string.h>

#include "message.h"

#define ALIGNMENT 256 /* what cuMemAlloc() gives, so that both styles look alike to the kernels */

static size_t align_up(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static CUdeviceptr allocate_device(size_t bytes, size_t before_bytes, size_t all_bytes)
{
    CUdeviceptr ptr = 0;
    CUresult result = cuMemAlloc(&ptr, bytes ? bytes : 1);

    if (result == CUDA_ERROR_OUT_OF_MEMORY)
        die("out of GPU memory: %.1f of %.1f MB of weights are loaded", (double)before_bytes / 1e6,
            (double)all_bytes / 1e6);
    check(result, "cuMemAlloc");
    return ptr;
}

/* Give every tensor an address. */
static void place(struct weights *weights)
{
    const struct checkpoint *checkpoint = weights->checkpoint;
    size_t bytes = 0;

    for (size_t i = 0; i < checkpoint->count; i++) {
        size_t tensor_bytes = checkpoint->tensors[i].bytes;

        if (weights->style == WEIGHTS_EACH) {
            weights->address[i] = allocate_device(tensor_bytes, bytes, checkpoint->data_bytes);
            bytes += tensor_bytes;
        } else {
            weights->address[i] = bytes;
            bytes += align_up(tensor_bytes);
        }
    }
    if (weights->style == WEIGHTS_ARENA) {
        CUdeviceptr base = allocate_device(bytes, 0, checkpoint->data_bytes);

        for (size_t i = 0; i < checkpoint->count; i++)
            weights->address[i] += base;
    }
}

static void upload(const struct weights *weights, size_t i, void *buffer)
{
    const struct tensor *tensor = &weights->checkpoint->tensors[i];
    const void *bytes = tensor->data;

    if (!tensor->bytes)
        return;
    if (buffer) {
        checkpoint_read(weights->checkpoint, tensor, buffer);
        bytes = buffer;
    }
    check(cuMemcpyHtoD(weights->address[i], bytes, tensor->bytes), "cuMemcpyHtoD");
}

void weights_upload(const struct checkpoint *checkpoint, enum weights_style style,
                    enum weights_source source, struct weights *out)
{
    size_t most_bytes = 1;
    void *buffer = NULL;

    out->checkpoint = checkpoint;
    out->style = style;
    out->address = allocate(checkpoint->count * sizeof(out->address[0]));
    if (checkpoint->count == 0)
        return;
    place(out);
    for (size_t i = 0; i < checkpoint->count; i++)
        if (checkpoint->tensors[i].bytes > most_bytes)
            most_bytes = checkpoint->tensors[i].bytes;
    if (source == WEIGHTS_READ)
        buffer = allocate(most_bytes);
    for (size_t i = 0; i < checkpoint->count; i++)
        upload(out, i, buffer);
    free(buffer);
}

void weights_free(struct weights *weights)
{
    size_t count = weights->checkpoint->count;

    /* The first tensor of the arena lies at its base. */
    if (weights->style == WEIGHTS_ARENA && count > 1)
        count = 1;
    for (size_t i = 0; i < count; i++)
        check(cuMemFree(weights->address[i]), "cuMemFree");
    free(weights->address);
}

CUdeviceptr weights_find(const struct weights *weights, const char *name, size_t rows, size_t cols)
{
    const struct checkpoint *checkpoint = weights->checkpoint;

    for (size_t i = 0; i < checkpoint->count; i++) {
        const struct tensor *tensor = &checkpoint->tensors[i];

        if (strcmp(tensor->name, name) != 0)
            continue;
        if (strcmp(tensor->dtype, "F32") != 0 || tensor->rank != (cols ? 2 : 1) ||
            tensor->shape[0] != rows || (cols && tensor->shape[1] != cols) ||
            tensor->bytes != rows * (cols ? cols : 1) * sizeof(float))
            die("checkpoint: tensor %s is not F32 of the shape that config.json says", name);
        return weights->address[i];
    }
    die("checkpoint: no tensor %s", name);
}
