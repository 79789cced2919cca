/* entry_copy.c - every copy and memset of linear memory, described and bracketed.
 *
 * Each hook says which spans it uses (copy_describe.h) and what stream 0 means in it, and calls the
 * real function between access_begin() and access_end() with the program's own arguments. The
 * per-thread variant differs in stream 0 alone, so a pair is written once.
 */
#include "copy_describe.h"
#include "entry.h"

/* One hook.
 *
 * order, stream, null_stream   as for copy_describe_start()
 * describe                     a statement that adds the spans to call; a failed one leaves err set
 */
#define COPY(symbol, params, args, order, stream, null_stream, describe)                           \
    CUresult symbol params                                                                         \
    {                                                                                              \
        const struct driver *drv = driver_get();                                                   \
        struct access_call call;                                                                   \
        CUresult res = CUDA_ERROR_OUT_OF_MEMORY;                                                   \
        int err = 0;                                                                               \
                                                                                                   \
        if (entry_is_passive())                                                                    \
            return drv->symbol args;                                                               \
        copy_describe_start(&call, #symbol, order, stream, null_stream);                           \
        describe;                                                                                  \
        if (!err)                                                                                  \
            res = access_begin(&call);                                                             \
        if (!err && res == CUDA_SUCCESS) {                                                         \
            res = drv->symbol args;                                                                \
            access_end(&call, res);                                                                \
        }                                                                                          \
        copy_describe_end(&call);                                                                  \
        return res;                                                                                \
    }

#define COPY_SYNC(symbol, params, args, describe)                                                  \
    COPY(symbol, params, args, ACCESS_SYNC, NULL, CU_STREAM_LEGACY, describe)                      \
    COPY(symbol##_ptds, params, args, ACCESS_SYNC, NULL, CU_STREAM_PER_THREAD, describe)

#define COPY_ASYNC(symbol, params, args, describe)                                                 \
    COPY(symbol, params, args, ACCESS_ASYNC, stream, CU_STREAM_LEGACY, describe)                   \
    COPY(symbol##_ptsz, params, args, ACCESS_ASYNC, stream, CU_STREAM_PER_THREAD, describe)

/* Formats of other kinds (packed video, compressed blocks) are not copied element by element. */
static size_t element_bytes(CUarray array)
{
    const struct driver *drv = driver_get();
    CUDA_ARRAY3D_DESCRIPTOR array_is;

    if (!drv->cuArray3DGetDescriptor_v2 ||
        drv->cuArray3DGetDescriptor_v2(&array_is, array) != CUDA_SUCCESS)
        return 0;
    switch (array_is.Format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8:
        return array_is.NumChannels;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF:
        return (size_t)array_is.NumChannels * 2;
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT:
        return (size_t)array_is.NumChannels * 4;
    default:
        return 0;
    }
}

/* clang-format off */

/* Linear copies */

COPY_SYNC(cuMemcpy, (CUdeviceptr dst, CUdeviceptr src, size_t bytes), (dst, src, bytes),
          copy_describe_unified(&call, dst, src, bytes))
COPY_ASYNC(cuMemcpyAsync, (CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream stream),
           (dst, src, bytes, stream), copy_describe_unified(&call, dst, src, bytes))

COPY_SYNC(cuMemcpyPeer,
          (CUdeviceptr dst, CUcontext dst_ctx, CUdeviceptr src, CUcontext src_ctx, size_t bytes),
          (dst, dst_ctx, src, src_ctx, bytes), copy_describe_device(&call, dst, src, bytes))
COPY_ASYNC(cuMemcpyPeerAsync,
           (CUdeviceptr dst, CUcontext dst_ctx, CUdeviceptr src, CUcontext src_ctx, size_t bytes,
            CUstream stream),
           (dst, dst_ctx, src, src_ctx, bytes, stream),
           copy_describe_device(&call, dst, src, bytes))

COPY_SYNC(cuMemcpyHtoD_v2, (CUdeviceptr dst, const void *src, size_t bytes), (dst, src, bytes),
          copy_describe_upload(&call, dst, src, bytes))
COPY_ASYNC(cuMemcpyHtoDAsync_v2,
           (CUdeviceptr dst, const void *src, size_t bytes, CUstream stream),
           (dst, src, bytes, stream), copy_describe_upload(&call, dst, src, bytes))

COPY_SYNC(cuMemcpyDtoH_v2, (void *dst, CUdeviceptr src, size_t bytes), (dst, src, bytes),
          copy_describe_read(&call, src, bytes))
COPY_ASYNC(cuMemcpyDtoHAsync_v2, (void *dst, CUdeviceptr src, size_t bytes, CUstream stream),
           (dst, src, bytes, stream), copy_describe_read(&call, src, bytes))

COPY_SYNC(cuMemcpyDtoD_v2, (CUdeviceptr dst, CUdeviceptr src, size_t bytes), (dst, src, bytes),
          copy_describe_device(&call, dst, src, bytes))
COPY_ASYNC(cuMemcpyDtoDAsync_v2,
           (CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream stream),
           (dst, src, bytes, stream), copy_describe_device(&call, dst, src, bytes))

COPY_SYNC(cuMemcpyDtoA_v2, (CUarray dst, size_t dst_offset, CUdeviceptr src, size_t bytes),
          (dst, dst_offset, src, bytes), copy_describe_read(&call, src, bytes))
COPY_SYNC(cuMemcpyAtoD_v2, (CUdeviceptr dst, CUarray src, size_t src_offset, size_t bytes),
          (dst, src, src_offset, bytes), copy_describe_write(&call, dst, bytes))

COPY_ASYNC(cuMemcpyBatchAsync,
           (CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
            CUmemcpyAttributes *attrs, size_t *attrs_idxs, size_t num_attrs, size_t *fail_idx,
            CUstream stream),
           (dsts, srcs, sizes, count, attrs, attrs_idxs, num_attrs, fail_idx, stream),
           err = copy_describe_batch(&call, dsts, srcs, sizes, count))
COPY_ASYNC(cuMemcpyBatchAsync_v2,
           (CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
            CUmemcpyAttributes *attrs, size_t *attrs_idxs, size_t num_attrs, CUstream stream),
           (dsts, srcs, sizes, count, attrs, attrs_idxs, num_attrs, stream),
           err = copy_describe_batch(&call, dsts, srcs, sizes, count))

/* Pitched copies */

COPY_SYNC(cuMemcpy2D_v2, (const CUDA_MEMCPY2D *copy), (copy), copy_describe_2d(&call, copy))
COPY_SYNC(cuMemcpy2DUnaligned_v2, (const CUDA_MEMCPY2D *copy), (copy),
          copy_describe_2d(&call, copy))
COPY_ASYNC(cuMemcpy2DAsync_v2, (const CUDA_MEMCPY2D *copy, CUstream stream), (copy, stream),
           copy_describe_2d(&call, copy))
COPY_SYNC(cuMemcpy3D_v2, (const CUDA_MEMCPY3D *copy), (copy), copy_describe_3d(&call, copy))
COPY_ASYNC(cuMemcpy3DAsync_v2, (const CUDA_MEMCPY3D *copy, CUstream stream), (copy, stream),
           copy_describe_3d(&call, copy))
COPY_SYNC(cuMemcpy3DPeer, (const CUDA_MEMCPY3D_PEER *copy), (copy),
          copy_describe_3d_peer(&call, copy))
COPY_ASYNC(cuMemcpy3DPeerAsync, (const CUDA_MEMCPY3D_PEER *copy, CUstream stream), (copy, stream),
           copy_describe_3d_peer(&call, copy))

COPY_ASYNC(cuMemcpy3DBatchAsync,
           (size_t count, CUDA_MEMCPY3D_BATCH_OP *ops, size_t *fail_idx, unsigned long long flags,
            CUstream stream),
           (count, ops, fail_idx, flags, stream),
           err = copy_describe_3d_batch(&call, ops, count, element_bytes))
COPY_ASYNC(cuMemcpy3DBatchAsync_v2,
           (size_t count, CUDA_MEMCPY3D_BATCH_OP *ops, unsigned long long flags, CUstream stream),
           (count, ops, flags, stream),
           err = copy_describe_3d_batch(&call, ops, count, element_bytes))

/* Memsets: count and width are numbers of elements */

#define MEMSET(bits, type, sync, sync_2d)                                                          \
    COPY_SYNC(sync, (CUdeviceptr dst, type value, size_t count), (dst, value, count),              \
              copy_describe_memset(&call, dst, 0, (bits) / 8, count, 1))                           \
    COPY_ASYNC(cuMemsetD##bits##Async,                                                             \
               (CUdeviceptr dst, type value, size_t count, CUstream stream),                       \
               (dst, value, count, stream),                                                        \
               copy_describe_memset(&call, dst, 0, (bits) / 8, count, 1))                          \
    COPY_SYNC(sync_2d,                                                                             \
              (CUdeviceptr dst, size_t pitch, type value, size_t width, size_t height),            \
              (dst, pitch, value, width, height),                                                  \
              copy_describe_memset(&call, dst, pitch, (bits) / 8, width, height))                  \
    COPY_ASYNC(cuMemsetD2D##bits##Async,                                                           \
               (CUdeviceptr dst, size_t pitch, type value, size_t width, size_t height,            \
                CUstream stream),                                                                  \
               (dst, pitch, value, width, height, stream),                                         \
               copy_describe_memset(&call, dst, pitch, (bits) / 8, width, height))

MEMSET(8, unsigned char, cuMemsetD8_v2, cuMemsetD2D8_v2)
MEMSET(16, unsigned short, cuMemsetD16_v2, cuMemsetD2D16_v2)
MEMSET(32, unsigned int, cuMemsetD32_v2, cuMemsetD2D32_v2)

/* clang-format on */
