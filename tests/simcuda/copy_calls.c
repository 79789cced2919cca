/* The driver's copy functions, but for arrays: each says what its addresses are. */
#include "context.h"
#include "copy.h"
#include "stream.h"

static uint64_t host_addr(const void *host)
{
    return (uintptr_t)host;
}

/* Linear
 * ------------------------------------------------------------------------------------------*/

SIM_ENTRY_PTDS(cuMemcpyHtoD_v2, (CUdeviceptr dst, const void *src, size_t bytes),
               copy_submit_linear(stream, dst, COPY_DEVICE, host_addr(src), COPY_HOST, bytes,
                                  COPY_SYNCHRONOUS))
SIM_ENTRY_PTDS(cuMemcpyDtoH_v2, (void *dst, CUdeviceptr src, size_t bytes),
               copy_submit_linear(stream, host_addr(dst), COPY_HOST, src, COPY_DEVICE, bytes,
                                  COPY_SYNCHRONOUS))
SIM_ENTRY_PTDS(cuMemcpyDtoD_v2, (CUdeviceptr dst, CUdeviceptr src, size_t bytes),
               copy_submit_linear(stream, dst, COPY_DEVICE, src, COPY_DEVICE, bytes,
                                  COPY_SYNCHRONOUS))
SIM_ENTRY_PTDS(cuMemcpy, (CUdeviceptr dst, CUdeviceptr src, size_t bytes),
               copy_submit_linear(stream, dst, COPY_ANY, src, COPY_ANY, bytes, COPY_SYNCHRONOUS))

SIM_ENTRY_PTSZ(cuMemcpyHtoDAsync_v2,
               (CUdeviceptr dst, const void *src, size_t bytes, CUstream stream),
               copy_submit_linear(stream, dst, COPY_DEVICE, host_addr(src), COPY_HOST, bytes,
                                  COPY_ASYNCHRONOUS))
SIM_ENTRY_PTSZ(cuMemcpyDtoHAsync_v2, (void *dst, CUdeviceptr src, size_t bytes, CUstream stream),
               copy_submit_linear(stream, host_addr(dst), COPY_HOST, src, COPY_DEVICE, bytes,
                                  COPY_ASYNCHRONOUS))
SIM_ENTRY_PTSZ(cuMemcpyDtoDAsync_v2,
               (CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream stream),
               copy_submit_linear(stream, dst, COPY_DEVICE, src, COPY_DEVICE, bytes,
                                  COPY_ASYNCHRONOUS))
SIM_ENTRY_PTSZ(cuMemcpyAsync, (CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream stream),
               copy_submit_linear(stream, dst, COPY_ANY, src, COPY_ANY, bytes, COPY_ASYNCHRONOUS))

/* Between contexts
 * --------------------------------------------------------------------------------*/

static CUresult peer_check(CUcontext dst, CUcontext src)
{
    CUresult res = sim_enter(NULL, NULL);

    if (res == CUDA_SUCCESS)
        res = context_check(dst);
    if (res == CUDA_SUCCESS)
        res = context_check(src);
    return res;
}

/* Ordered after everything that the two contexts have been given. */
static CUresult peer_serialise(CUcontext dst, CUcontext src)
{
    CUresult res = peer_check(dst, src);

    if (res == CUDA_SUCCESS)
        res = sim_context_synchronize(src);
    if (res == CUDA_SUCCESS)
        res = sim_context_synchronize(dst);
    return res;
}

static CUresult copy_peer(CUstream stream, CUdeviceptr dst, CUcontext dst_ctx, CUdeviceptr src,
                          CUcontext src_ctx, size_t bytes)
{
    CUresult res = peer_serialise(dst_ctx, src_ctx);

    if (res != CUDA_SUCCESS)
        return res;
    return copy_submit_linear(stream, dst, COPY_DEVICE, src, COPY_DEVICE, bytes,
                              COPY_SOURCE_READ_BEFORE_RETURN);
}
SIM_ENTRY_PTDS(cuMemcpyPeer,
               (CUdeviceptr dst, CUcontext dst_ctx, CUdeviceptr src, CUcontext src_ctx,
                size_t bytes),
               copy_peer(stream, dst, dst_ctx, src, src_ctx, bytes))

static CUresult copy_peer_async(CUdeviceptr dst, CUcontext dst_ctx, CUdeviceptr src,
                                CUcontext src_ctx, size_t bytes, CUstream stream)
{
    CUresult res = peer_check(dst_ctx, src_ctx);

    if (res != CUDA_SUCCESS)
        return res;
    return copy_submit_linear(stream, dst, COPY_DEVICE, src, COPY_DEVICE, bytes, COPY_ASYNCHRONOUS);
}
SIM_ENTRY_PTSZ(cuMemcpyPeerAsync,
               (CUdeviceptr dst, CUcontext dst_ctx, CUdeviceptr src, CUcontext src_ctx,
                size_t bytes, CUstream stream),
               copy_peer_async(dst, dst_ctx, src, src_ctx, bytes, stream))

/* Boxes
 * -------------------------------------------------------------------------------------------*/

/* One end as the structures of the driver give it. */
struct end_spec {
    CUmemorytype type;
    const void *host;
    CUdeviceptr device;
    size_t x_bytes, y, z;
    size_t lod;
    size_t pitch_bytes;
    size_t height; /* rows that a slice takes in memory */
};

/* A pitch or height of 0 means as small as the box allows. returns 0; 1; 801 for arrays */
static CUresult end_make(const struct end_spec *spec, const struct copy_box *box,
                         struct copy_end *end)
{
    size_t pitch = spec->pitch_bytes ? spec->pitch_bytes : spec->x_bytes + box->width_bytes;
    size_t height = spec->height ? spec->height : spec->y + box->height;

    switch (spec->type) {
    case CU_MEMORYTYPE_HOST:
        end->addr = host_addr(spec->host);
        end->side = COPY_HOST;
        break;
    case CU_MEMORYTYPE_DEVICE:
        end->addr = spec->device;
        end->side = COPY_DEVICE;
        break;
    case CU_MEMORYTYPE_UNIFIED:
        end->addr = spec->device;
        end->side = COPY_ANY;
        break;
    case CU_MEMORYTYPE_ARRAY:
        return CUDA_ERROR_NOT_SUPPORTED;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (pitch < spec->x_bytes + box->width_bytes || height < spec->y + box->height || spec->lod)
        return CUDA_ERROR_INVALID_VALUE;
    end->pitch_bytes = pitch;
    end->slice_bytes = pitch * height;
    end->addr += spec->z * end->slice_bytes + spec->y * pitch + spec->x_bytes;
    return CUDA_SUCCESS;
}

/* Rows that lie without a gap on both ends are one row. */
static void box_flatten(struct copy_box *box)
{
    if (box->dst.pitch_bytes == box->width_bytes && box->src.pitch_bytes == box->width_bytes) {
        box->width_bytes *= box->height;
        box->height = 1;
    }
}

static CUresult copy_box(CUstream stream, struct copy_box *box, const struct end_spec *dst,
                         const struct end_spec *src, enum copy_call call)
{
    CUresult res = end_make(dst, box, &box->dst);

    if (res == CUDA_SUCCESS)
        res = end_make(src, box, &box->src);
    if (res != CUDA_SUCCESS)
        return res;
    box_flatten(box);
    return copy_submit(stream, box, call);
}

/* The three structures name these fields alike. */
#define END_2D(c, prefix)                                                                          \
    {                                                                                              \
        .type = (c)->prefix##MemoryType, .host = (c)->prefix##Host, .device = (c)->prefix##Device, \
        .x_bytes = (c)->prefix##XInBytes, .y = (c)->prefix##Y, .pitch_bytes = (c)->prefix##Pitch   \
    }
#define END_3D(c, prefix)                                                                          \
    {                                                                                              \
        .type = (c)->prefix##MemoryType, .host = (c)->prefix##Host, .device = (c)->prefix##Device, \
        .x_bytes = (c)->prefix##XInBytes, .y = (c)->prefix##Y, .z = (c)->prefix##Z,                \
        .lod = (c)->prefix##LOD, .pitch_bytes = (c)->prefix##Pitch, .height = (c)->prefix##Height  \
    }

static CUresult copy_2d(const CUDA_MEMCPY2D *copy, CUstream stream, enum copy_call call)
{
    struct copy_box box = {.depth = 1};

    if (!copy)
        return CUDA_ERROR_INVALID_VALUE;
    box.width_bytes = copy->WidthInBytes;
    box.height = copy->Height;
    return copy_box(stream, &box, &(struct end_spec)END_2D(copy, dst),
                    &(struct end_spec)END_2D(copy, src), call);
}
SIM_ENTRY_PTDS(cuMemcpy2D_v2, (const CUDA_MEMCPY2D *copy), copy_2d(copy, stream, COPY_SYNCHRONOUS))
SIM_ENTRY_PTDS(cuMemcpy2DUnaligned_v2, (const CUDA_MEMCPY2D *copy),
               copy_2d(copy, stream, COPY_SYNCHRONOUS))
SIM_ENTRY_PTSZ(cuMemcpy2DAsync_v2, (const CUDA_MEMCPY2D *copy, CUstream stream),
               copy_2d(copy, stream, COPY_ASYNCHRONOUS))

static CUresult copy_3d(const CUDA_MEMCPY3D *copy, CUstream stream, enum copy_call call)
{
    struct copy_box box;

    if (!copy)
        return CUDA_ERROR_INVALID_VALUE;
    box.width_bytes = copy->WidthInBytes;
    box.height = copy->Height;
    box.depth = copy->Depth;
    return copy_box(stream, &box, &(struct end_spec)END_3D(copy, dst),
                    &(struct end_spec)END_3D(copy, src), call);
}
SIM_ENTRY_PTDS(cuMemcpy3D_v2, (const CUDA_MEMCPY3D *copy), copy_3d(copy, stream, COPY_SYNCHRONOUS))
SIM_ENTRY_PTSZ(cuMemcpy3DAsync_v2, (const CUDA_MEMCPY3D *copy, CUstream stream),
               copy_3d(copy, stream, COPY_ASYNCHRONOUS))

static CUresult copy_3d_peer(const CUDA_MEMCPY3D_PEER *copy, CUstream stream, enum copy_call call)
{
    struct copy_box box;
    CUresult res;

    if (!copy)
        return CUDA_ERROR_INVALID_VALUE;
    box.width_bytes = copy->WidthInBytes;
    box.height = copy->Height;
    box.depth = copy->Depth;
    if (call == COPY_ASYNCHRONOUS)
        res = peer_check(copy->dstContext, copy->srcContext);
    else
        res = peer_serialise(copy->dstContext, copy->srcContext);
    if (res != CUDA_SUCCESS)
        return res;
    return copy_box(stream, &box, &(struct end_spec)END_3D(copy, dst),
                    &(struct end_spec)END_3D(copy, src), call);
}
SIM_ENTRY_PTDS(cuMemcpy3DPeer, (const CUDA_MEMCPY3D_PEER *copy),
               copy_3d_peer(copy, stream, COPY_SOURCE_READ_BEFORE_RETURN))
SIM_ENTRY_PTSZ(cuMemcpy3DPeerAsync, (const CUDA_MEMCPY3D_PEER *copy, CUstream stream),
               copy_3d_peer(copy, stream, COPY_ASYNCHRONOUS))

/* Batches
 * -----------------------------------------------------------------------------------------*/

static int is_order(CUmemcpySrcAccessOrder order)
{
    return order >= CU_MEMCPY_SRC_ACCESS_ORDER_STREAM && order <= CU_MEMCPY_SRC_ACCESS_ORDER_ANY;
}

/* When the source of a batch's copy has to have been read. */
static enum copy_call batch_call(CUmemcpySrcAccessOrder order)
{
    return order == CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL ? COPY_SOURCE_READ_BEFORE_RETURN
                                                               : COPY_ASYNCHRONOUS;
}

/* The attributes of copy i: those of the last run of copies that begins at or before it. */
static const CUmemcpyAttributes *batch_attributes(const CUmemcpyAttributes *attributes,
                                                  const size_t *first, size_t count, size_t i)
{
    while (count > 1 && first[count - 1] > i)
        count--;
    return &attributes[count - 1];
}

/* In stream order, which the driver allows but does not promise. */
static CUresult copy_batch(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
                           CUmemcpyAttributes *attributes, size_t *first, size_t attribute_count,
                           size_t *failed, CUstream stream)
{
    CUresult res = CUDA_SUCCESS;
    size_t i;

    if (failed)
        *failed = SIZE_MAX;
    if (!dsts || !srcs || !sizes || !count || !attributes || !first || !attribute_count ||
        attribute_count > count || first[0] != 0 || !stream || stream == CU_STREAM_LEGACY)
        return CUDA_ERROR_INVALID_VALUE;
    for (i = 0; i < count && res == CUDA_SUCCESS; i++) {
        CUmemcpySrcAccessOrder order =
            batch_attributes(attributes, first, attribute_count, i)->srcAccessOrder;

        if (!is_order(order))
            res = CUDA_ERROR_INVALID_VALUE;
        else
            res = copy_submit_linear(stream, dsts[i], COPY_ANY, srcs[i], COPY_ANY, sizes[i],
                                     batch_call(order));
        if (res != CUDA_SUCCESS && failed)
            *failed = i;
    }
    return res;
}
SIM_ENTRY_PTSZ(cuMemcpyBatchAsync,
               (CUdeviceptr * dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
                CUmemcpyAttributes *attributes, size_t *first, size_t attribute_count,
                size_t *failed, CUstream stream),
               copy_batch(dsts, srcs, sizes, count, attributes, first, attribute_count, failed,
                          stream))
SIM_ENTRY_PTSZ(cuMemcpyBatchAsync_v2,
               (CUdeviceptr * dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
                CUmemcpyAttributes *attributes, size_t *first, size_t attribute_count,
                CUstream stream),
               copy_batch(dsts, srcs, sizes, count, attributes, first, attribute_count, NULL,
                          stream))

/* One operand of a copy between pointers; lengths of 0 are as small as the box allows. returns 0;
 * 1; 801 for arrays */
static CUresult batch_end(const CUmemcpy3DOperand *operand, const struct copy_box *box,
                          struct copy_end *end)
{
    size_t row = operand->op.ptr.rowLength, rows = operand->op.ptr.layerHeight;

    if (operand->type == CU_MEMCPY_OPERAND_TYPE_ARRAY)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (operand->type != CU_MEMCPY_OPERAND_TYPE_POINTER || (row && row < box->width_bytes) ||
        (rows && rows < box->height))
        return CUDA_ERROR_INVALID_VALUE;
    end->addr = operand->op.ptr.ptr;
    end->side = COPY_ANY;
    end->pitch_bytes = row ? row : box->width_bytes;
    end->slice_bytes = end->pitch_bytes * (rows ? rows : box->height);
    return CUDA_SUCCESS;
}

static CUresult copy_batch_box(const CUDA_MEMCPY3D_BATCH_OP *op, CUstream stream)
{
    struct copy_box box = {
        .width_bytes = op->extent.width, .height = op->extent.height, .depth = op->extent.depth};
    CUresult res;

    if (!box.width_bytes || !box.height || !box.depth || !is_order(op->srcAccessOrder))
        return CUDA_ERROR_INVALID_VALUE;
    res = batch_end(&op->dst, &box, &box.dst);
    if (res == CUDA_SUCCESS)
        res = batch_end(&op->src, &box, &box.src);
    if (res != CUDA_SUCCESS)
        return res;
    box_flatten(&box);
    return copy_submit(stream, &box, batch_call(op->srcAccessOrder));
}

static CUresult copy_3d_batch(size_t count, const CUDA_MEMCPY3D_BATCH_OP *ops, size_t *failed,
                              unsigned long long flags, CUstream stream)
{
    CUresult res = CUDA_SUCCESS;
    size_t i;

    if (failed)
        *failed = SIZE_MAX;
    if (!ops || !count || flags || !stream || stream == CU_STREAM_LEGACY)
        return CUDA_ERROR_INVALID_VALUE;
    for (i = 0; i < count && res == CUDA_SUCCESS; i++) {
        res = copy_batch_box(&ops[i], stream);
        if (res != CUDA_SUCCESS && failed)
            *failed = i;
    }
    return res;
}
SIM_ENTRY_PTSZ(cuMemcpy3DBatchAsync,
               (size_t count, CUDA_MEMCPY3D_BATCH_OP *ops, size_t *failed, unsigned long long flags,
                CUstream stream),
               copy_3d_batch(count, ops, failed, flags, stream))
SIM_ENTRY_PTSZ(cuMemcpy3DBatchAsync_v2,
               (size_t count, CUDA_MEMCPY3D_BATCH_OP *ops, unsigned long long flags,
                CUstream stream),
               copy_3d_batch(count, ops, NULL, flags, stream))
