/* safetensors_write.c - the header of a safetensors file that is to be written. */
#include "safetensors_write.h"

#include "json_write.h"
#include "safetensors.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH_BYTES 8u
#define ALIGN_BYTES  8u

/* Set offsets, from the start of the data on: wide elements first. */
static int place(const struct tensor *const *tensors, size_t count, uint64_t *offsets,
                 uint64_t *data_bytes)
{
    unsigned bits, narrower = 64, i;
    size_t t;

    *data_bytes = 0;
    for (bits = UINT16_MAX; bits; bits = narrower) {
        narrower = 0;
        for (t = 0; t < count; t++) {
            i = dtype_block_bits((enum dtype)tensors[t]->dtype);
            if (i < bits && i > narrower)
                narrower = i;
            if (i != bits)
                continue;
            offsets[t] = *data_bytes;
            if (__builtin_add_overflow(*data_bytes, tensor_dense_bytes(tensors[t]), data_bytes) ||
                *data_bytes > INT64_MAX / 2)
                return -EFBIG;
        }
    }
    return 0;
}

/* transformers takes no file that does not say what kind of tensors it has: pt is torch's. */
static void write_json(const struct tensor *const *tensors, size_t count, const uint64_t *offsets,
                       FILE *out)
{
    fputs("{\"__metadata__\":{\"format\":\"pt\"}", out);
    for (size_t t = 0; t < count; t++) {
        const struct tensor *tensor = tensors[t];

        fputc(',', out);
        json_write_string(out, tensor->name, tensor->name_bytes);
        fprintf(out, ":{\"dtype\":\"%s\",\"shape\":", dtype_name((enum dtype)tensor->dtype));
        json_write_shape(out, tensor->shape, tensor->rank);
        fprintf(out, ",\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", offsets[t],
                offsets[t] + tensor_dense_bytes(tensor));
    }
    fputc('}', out);
}

/* Write the header; its length is known when all of it stands. */
static int make_header(const struct tensor *const *tensors, size_t count,
                       struct safetensors_layout *layout)
{
    FILE *out = open_memstream(&layout->header, &layout->header_bytes);
    uint64_t length;
    int failed;

    if (!out)
        return -ENOMEM;
    for (size_t i = 0; i < LENGTH_BYTES; i++)
        fputc(0, out);
    write_json(tensors, count, layout->offsets, out);
    while (ftello(out) % ALIGN_BYTES && !ferror(out))
        fputc(' ', out);
    failed = ferror(out);
    if (fclose(out) || failed)
        return -ENOMEM;
    length = layout->header_bytes - LENGTH_BYTES;
    if (length > SAFETENSORS_HEADER_MAX)
        return -EFBIG;
    for (size_t i = 0; i < LENGTH_BYTES; i++)
        layout->header[i] = (char)(length >> 8 * i);
    return 0;
}

int safetensors_layout_make(const struct tensor *const *tensors, size_t count,
                            struct safetensors_layout *out)
{
    struct safetensors_layout layout = {0};
    uint64_t data_bytes;
    int res;

    layout.offsets = calloc(count ? count : 1, sizeof(*layout.offsets));
    res = layout.offsets ? place(tensors, count, layout.offsets, &data_bytes) : -ENOMEM;
    if (res == 0)
        res = make_header(tensors, count, &layout);
    if (res) {
        safetensors_layout_release(&layout);
        return res;
    }
    for (size_t t = 0; t < count; t++)
        layout.offsets[t] += layout.header_bytes;
    layout.file_bytes = layout.header_bytes + data_bytes;
    *out = layout;
    return 0;
}

void safetensors_layout_release(struct safetensors_layout *layout)
{
    free(layout->header);
    free(layout->offsets);
    memset(layout, 0, sizeof(*layout));
}
