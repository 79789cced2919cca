#include "copy_describe.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

void copy_describe_start(struct access_call *call, const char *name, enum access_order order,
                         CUstream stream, CUstream null_stream)
{
    call->name = name;
    call->stream = stream ? stream : null_stream;
    call->order = order;
    call->count = 0;
    call->spans = call->inline_spans;
    call->held = NULL;
}

void copy_describe_end(struct access_call *call)
{
    if (call->spans != call->inline_spans)
        free(call->spans);
}

int copy_describe_reserve(struct access_call *call, size_t count)
{
    struct transfer_access *spans;

    if (count <= ACCESS_INLINE)
        return 0;
    if (count > PTRDIFF_MAX / sizeof(*spans))
        return -ENOMEM;
    spans = calloc(count, sizeof(*spans));
    if (!spans)
        return -ENOMEM;
    call->spans = spans;
    return 0;
}

static void add_span(struct access_call *call, struct transfer_access span)
{
    if (span.bytes == 0 || span.addr > UINTPTR_MAX - span.bytes)
        return;
    call->spans[call->count++] = span;
}

void copy_describe_upload(struct access_call *call, CUdeviceptr dst, const void *src, size_t bytes)
{
    add_span(call, (struct transfer_access){.addr = dst,
                                            .bytes = bytes,
                                            .kind = ACCESS_WRITE,
                                            .source = ACCESS_FROM_HOST,
                                            .host_src = src});
}

void copy_describe_read(struct access_call *call, CUdeviceptr src, size_t bytes)
{
    add_span(call, (struct transfer_access){.addr = src, .bytes = bytes, .kind = ACCESS_READ});
}

void copy_describe_write(struct access_call *call, CUdeviceptr dst, size_t bytes)
{
    add_span(call, (struct transfer_access){.addr = dst, .bytes = bytes, .kind = ACCESS_WRITE});
}

void copy_describe_device(struct access_call *call, CUdeviceptr dst, CUdeviceptr src, size_t bytes)
{
    copy_describe_read(call, src, bytes);
    copy_describe_write(call, dst, bytes);
}

void copy_describe_unified(struct access_call *call, CUdeviceptr dst, CUdeviceptr src, size_t bytes)
{
    copy_describe_read(call, src, bytes);
    add_span(call, (struct transfer_access){.addr = dst,
                                            .bytes = bytes,
                                            .kind = ACCESS_WRITE,
                                            .source = ACCESS_FROM_EITHER,
                                            .host_src = (const void *)(uintptr_t)src});
}

int copy_describe_batch(struct access_call *call, const CUdeviceptr *dsts, const CUdeviceptr *srcs,
                        const size_t *sizes, size_t count)
{
    /* A batch without its arrays is for the driver to refuse. */
    if (!dsts || !srcs || !sizes)
        return 0;
    if (count > SIZE_MAX / 2 || copy_describe_reserve(call, count * 2))
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        copy_describe_unified(call, dsts[i], srcs[i], sizes[i]);
    return 0;
}

/* Pitched copies
 * ---------------------------------------------------------------------------------*/

/* One side of a pitched copy: where its first byte is, how far its rows and layers are apart. */
struct pitched {
    CUmemorytype type;
    const void *host;
    CUdeviceptr device;
    size_t x_bytes;
    size_t y;
    size_t z;
    size_t pitch;
    size_t layer_rows;
};

struct volume {
    size_t width_bytes;
    size_t height;
    size_t depth;
};

static int multiply_add(size_t factor, size_t other, size_t addend, size_t *out)
{
    size_t product;

    return !__builtin_mul_overflow(factor, other, &product) &&
           !__builtin_add_overflow(product, addend, out);
}

/* The offset of the first byte and the length of the span from there to the last.
 *
 * returns  0 where the numbers overflow
 */
static int pitched_span(const struct pitched *side, const struct volume *volume, size_t *offset,
                        size_t *bytes)
{
    size_t rows;

    if (volume->width_bytes == 0 || volume->height == 0 || volume->depth == 0)
        return 0;
    if (!multiply_add(side->z, side->layer_rows, side->y, &rows) ||
        !multiply_add(rows, side->pitch, side->x_bytes, offset))
        return 0;
    if (!multiply_add(volume->depth - 1, side->layer_rows, volume->height - 1, &rows) ||
        !multiply_add(rows, side->pitch, volume->width_bytes, bytes))
        return 0;
    return 1;
}

/* Do the rows lie one after the other without gaps? */
static int is_adjacent(const struct pitched *side, const struct volume *volume)
{
    if (volume->depth > 1 && side->layer_rows != volume->height)
        return 0;
    return (volume->height == 1 && volume->depth == 1) || side->pitch == volume->width_bytes;
}

/* The address that a side's first byte is at; 0 for an array's. */
static CUdeviceptr pitched_base(const struct pitched *side)
{
    if (side->type == CU_MEMORYTYPE_HOST)
        return (CUdeviceptr)(uintptr_t)side->host;
    if (side->type == CU_MEMORYTYPE_DEVICE || side->type == CU_MEMORYTYPE_UNIFIED)
        return side->device;
    return 0;
}

/* A span of one side.
 *
 * returns  0 where the side is none of the device's, or not to be understood
 */
static int pitched_access(const struct pitched *side, const struct volume *volume,
                          struct transfer_access *out)
{
    size_t offset;
    size_t bytes;
    CUdeviceptr base = pitched_base(side);

    if (!base || !pitched_span(side, volume, &offset, &bytes) || base > UINTPTR_MAX - offset)
        return 0;
    *out = (struct transfer_access){.addr = base + offset, .bytes = bytes};
    out->cover = is_adjacent(side, volume) ? ACCESS_WHOLE : ACCESS_PARTS;
    return 1;
}

static void describe_pitched(struct access_call *call, const struct pitched *dst,
                             const struct pitched *src, const struct volume *volume)
{
    struct transfer_access from;
    struct transfer_access to;
    int has_from = pitched_access(src, volume, &from);

    if (has_from && src->type != CU_MEMORYTYPE_HOST)
        add_span(call, from);
    if (dst->type == CU_MEMORYTYPE_HOST || !pitched_access(dst, volume, &to))
        return;
    to.kind = ACCESS_WRITE;
    if (has_from && src->type != CU_MEMORYTYPE_DEVICE && from.cover == ACCESS_WHOLE &&
        to.cover == ACCESS_WHOLE) {
        to.source = src->type == CU_MEMORYTYPE_HOST ? ACCESS_FROM_HOST : ACCESS_FROM_EITHER;
        to.host_src = (const void *)(uintptr_t)from.addr;
    }
    add_span(call, to);
}

void copy_describe_memset(struct access_call *call, CUdeviceptr dst, size_t pitch,
                          size_t element_bytes, size_t width, size_t height)
{
    struct pitched side = {.type = CU_MEMORYTYPE_DEVICE, .device = dst, .pitch = pitch};
    struct volume volume = {.height = height, .depth = 1};
    struct transfer_access span;

    if (!multiply_add(width, element_bytes, 0, &volume.width_bytes) ||
        !pitched_access(&side, &volume, &span))
        return;
    span.kind = ACCESS_WRITE;
    add_span(call, span);
}

/* The fields of one side have the same names in every copy structure. */
#define PITCHED_2D(copy, side)                                                                     \
    {                                                                                              \
        .type = (copy)->side##MemoryType, .host = (copy)->side##Host,                              \
        .device = (copy)->side##Device, .x_bytes = (copy)->side##XInBytes, .y = (copy)->side##Y,   \
        .pitch = (copy)->side##Pitch                                                               \
    }
#define PITCHED_3D(copy, side)                                                                     \
    {                                                                                              \
        .type = (copy)->side##MemoryType, .host = (copy)->side##Host,                              \
        .device = (copy)->side##Device, .x_bytes = (copy)->side##XInBytes, .y = (copy)->side##Y,   \
        .z = (copy)->side##Z, .pitch = (copy)->side##Pitch, .layer_rows = (copy)->side##Height     \
    }

void copy_describe_2d(struct access_call *call, const CUDA_MEMCPY2D *copy)
{
    if (!copy)
        return;

    struct pitched dst = PITCHED_2D(copy, dst);
    struct pitched src = PITCHED_2D(copy, src);
    struct volume volume = {copy->WidthInBytes, copy->Height, 1};

    describe_pitched(call, &dst, &src, &volume);
}

void copy_describe_3d(struct access_call *call, const CUDA_MEMCPY3D *copy)
{
    if (!copy)
        return;

    struct pitched dst = PITCHED_3D(copy, dst);
    struct pitched src = PITCHED_3D(copy, src);
    struct volume volume = {copy->WidthInBytes, copy->Height, copy->Depth};

    describe_pitched(call, &dst, &src, &volume);
}

void copy_describe_3d_peer(struct access_call *call, const CUDA_MEMCPY3D_PEER *copy)
{
    if (!copy)
        return;

    struct pitched dst = PITCHED_3D(copy, dst);
    struct pitched src = PITCHED_3D(copy, src);
    struct volume volume = {copy->WidthInBytes, copy->Height, copy->Depth};

    describe_pitched(call, &dst, &src, &volume);
}

/* A pointer of a batch's copy is unified; rows and layers of length 0 are as long as the copy's. */
static struct pitched batch_side(const CUmemcpy3DOperand *operand, const struct volume *volume,
                                 size_t element_bytes)
{
    struct pitched side = {.type = CU_MEMORYTYPE_ARRAY};

    if (operand->type != CU_MEMCPY_OPERAND_TYPE_POINTER)
        return side;
    side.type = CU_MEMORYTYPE_UNIFIED;
    side.device = operand->op.ptr.ptr;
    side.pitch = volume->width_bytes;
    side.layer_rows = volume->height;
    if (operand->op.ptr.layerHeight)
        side.layer_rows = operand->op.ptr.layerHeight;
    if (operand->op.ptr.rowLength &&
        !multiply_add(operand->op.ptr.rowLength, element_bytes, 0, &side.pitch))
        side.device = 0; /* no such rows: for the driver to refuse */
    return side;
}

static size_t batch_element_bytes(const CUDA_MEMCPY3D_BATCH_OP *op, copy_element_fn *element_bytes)
{
    size_t bytes = 0;

    if (op->src.type == CU_MEMCPY_OPERAND_TYPE_ARRAY)
        bytes = element_bytes(op->src.op.array.array);
    else if (op->dst.type == CU_MEMCPY_OPERAND_TYPE_ARRAY)
        bytes = element_bytes(op->dst.op.array.array);
    return bytes ? bytes : 1;
}

int copy_describe_3d_batch(struct access_call *call, const CUDA_MEMCPY3D_BATCH_OP *ops,
                           size_t count, copy_element_fn *element_bytes)
{
    if (!ops)
        return 0;
    if (count > SIZE_MAX / 2 || copy_describe_reserve(call, count * 2))
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        size_t bytes = batch_element_bytes(&ops[i], element_bytes);
        struct volume volume = {0, ops[i].extent.height, ops[i].extent.depth};
        struct pitched dst, src;

        if (!multiply_add(ops[i].extent.width, bytes, 0, &volume.width_bytes))
            continue;
        dst = batch_side(&ops[i].dst, &volume, bytes);
        src = batch_side(&ops[i].src, &volume, bytes);
        describe_pitched(call, &dst, &src, &volume);
    }
    return 0;
}
