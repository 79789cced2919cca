/* hooks.h - which driver functions Berth stands in for.
 *
 * A hook exists only as a row of HOOKS. The struct of real functions (driver.h), the exported
 * prototypes below (so that a wrong one does not compile), the look-up of cuGetProcAddress()
 * (hook_index_find) and the tests all come from these rows. A row without a function body does not
 * link; a name of the driver's without a row is a trampoline (entry_trampoline.S). The bodies are
 * in entry_<topic>.c.
 */
#ifndef BERTH_HOOKS_H
#define BERTH_HOOKS_H

#include "exports.h"

/* X(name, symbol, since, null_stream, params)
 *
 * name         what cuGetProcAddress() is asked for. Stringize only: cuda.h makes it a macro
 * symbol       what libcuda exports and dlsym() is asked for
 * since        first CUDA version with this ABI, major * 1000 + minor * 10
 * null_stream  what stream 0 means in it, and so which look-up flags it answers: NONE where it
 * makes no difference, LEGACY or PER_THREAD params       the parameters; every one of them returns
 * CUresult
 *
 * source: CUDA Driver API reference 13.0; versions from what NVIDIA's runtime 13.0 asks for
 */
/* clang-format off */
#define HOOKS_BOOT(X) \
    X(cuInit, cuInit, 2000, NONE, (unsigned int flags)) \
    X(cuGetProcAddress, cuGetProcAddress, 11030, NONE, \
      (const char *symbol, void **pfn, int version, cuuint64_t flags)) \
    X(cuGetProcAddress, cuGetProcAddress_v2, 12000, NONE, \
      (const char *symbol, void **pfn, int version, cuuint64_t flags, \
       CUdriverProcAddressQueryResult *status))

#define HOOKS_ALLOC(X) \
    X(cuMemAlloc, cuMemAlloc_v2, 3020, NONE, (CUdeviceptr *out, size_t bytes)) \
    X(cuMemAllocPitch, cuMemAllocPitch_v2, 3020, NONE, \
      (CUdeviceptr *out, size_t *pitch, size_t width_bytes, size_t height, \
       unsigned int element_bytes)) \
    X(cuMemAllocManaged, cuMemAllocManaged, 6000, NONE, \
      (CUdeviceptr *out, size_t bytes, unsigned int flags)) \
    X(cuMemAllocAsync, cuMemAllocAsync, 11020, LEGACY, \
      (CUdeviceptr *out, size_t bytes, CUstream stream)) \
    X(cuMemAllocAsync, cuMemAllocAsync_ptsz, 11020, PER_THREAD, \
      (CUdeviceptr *out, size_t bytes, CUstream stream)) \
    X(cuMemAllocFromPoolAsync, cuMemAllocFromPoolAsync, 11020, LEGACY, \
      (CUdeviceptr *out, size_t bytes, CUmemoryPool pool, CUstream stream)) \
    X(cuMemAllocFromPoolAsync, cuMemAllocFromPoolAsync_ptsz, 11020, PER_THREAD, \
      (CUdeviceptr *out, size_t bytes, CUmemoryPool pool, CUstream stream)) \
    X(cuMemFree, cuMemFree_v2, 3020, NONE, (CUdeviceptr addr)) \
    X(cuMemFreeAsync, cuMemFreeAsync, 11020, LEGACY, (CUdeviceptr addr, CUstream stream)) \
    X(cuMemFreeAsync, cuMemFreeAsync_ptsz, 11020, PER_THREAD, (CUdeviceptr addr, CUstream stream))

#define HOOKS_VMM(X) \
    X(cuMemCreate, cuMemCreate, 10020, NONE, \
      (CUmemGenericAllocationHandle *out, size_t bytes, const CUmemAllocationProp *prop, \
       unsigned long long flags)) \
    X(cuMemRelease, cuMemRelease, 10020, NONE, (CUmemGenericAllocationHandle handle)) \
    X(cuMemRetainAllocationHandle, cuMemRetainAllocationHandle, 11000, NONE, \
      (CUmemGenericAllocationHandle *out, void *addr)) \
    X(cuMemMap, cuMemMap, 10020, NONE, \
      (CUdeviceptr addr, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle, \
       unsigned long long flags)) \
    X(cuMemUnmap, cuMemUnmap, 10020, NONE, (CUdeviceptr addr, size_t bytes))

#define HOOKS_INFO(X) \
    X(cuMemGetInfo, cuMemGetInfo_v2, 3020, NONE, (size_t *free_bytes, size_t *total_bytes)) \
    X(cuDeviceTotalMem, cuDeviceTotalMem_v2, 3020, NONE, (size_t *bytes, CUdevice dev)) \
    X(cuMemGetAddressRange, cuMemGetAddressRange_v2, 3020, NONE, \
      (CUdeviceptr *base, size_t *bytes, CUdeviceptr addr)) \
    X(cuPointerGetAttribute, cuPointerGetAttribute, 4000, NONE, \
      (void *data, CUpointer_attribute attribute, CUdeviceptr addr)) \
    X(cuPointerGetAttributes, cuPointerGetAttributes, 7000, NONE, \
      (unsigned int count, CUpointer_attribute *attributes, void **data, CUdeviceptr addr)) \
    X(cuPointerSetAttribute, cuPointerSetAttribute, 6000, NONE, \
      (const void *value, CUpointer_attribute attribute, CUdeviceptr addr)) \
    X(cuMemRangeGetAttribute, cuMemRangeGetAttribute, 8000, NONE, \
      (void *data, size_t data_bytes, CUmem_range_attribute attribute, CUdeviceptr addr, \
       size_t bytes)) \
    X(cuMemRangeGetAttributes, cuMemRangeGetAttributes, 8000, NONE, \
      (void **data, size_t *data_bytes, CUmem_range_attribute *attributes, size_t count, \
       CUdeviceptr addr, size_t bytes)) \
    X(cuIpcGetMemHandle, cuIpcGetMemHandle, 4010, NONE, \
      (CUipcMemHandle *handle, CUdeviceptr addr)) \
    X(cuMemAdvise, cuMemAdvise, 8000, NONE, \
      (CUdeviceptr addr, size_t bytes, CUmem_advise advice, CUdevice dev)) \
    X(cuMemAdvise, cuMemAdvise_v2, 12020, NONE, \
      (CUdeviceptr addr, size_t bytes, CUmem_advise advice, CUmemLocation location)) \
    X(cuMemPrefetchAsync, cuMemPrefetchAsync, 8000, LEGACY, \
      (CUdeviceptr addr, size_t bytes, CUdevice dev, CUstream stream)) \
    X(cuMemPrefetchAsync, cuMemPrefetchAsync_ptsz, 8000, PER_THREAD, \
      (CUdeviceptr addr, size_t bytes, CUdevice dev, CUstream stream)) \
    X(cuMemPrefetchAsync, cuMemPrefetchAsync_v2, 12020, LEGACY, \
      (CUdeviceptr addr, size_t bytes, CUmemLocation location, unsigned int flags, \
       CUstream stream)) \
    X(cuMemPrefetchAsync, cuMemPrefetchAsync_v2_ptsz, 12020, PER_THREAD, \
      (CUdeviceptr addr, size_t bytes, CUmemLocation location, unsigned int flags, \
       CUstream stream)) \
    X(cuMemPrefetchBatchAsync, cuMemPrefetchBatchAsync, 13000, LEGACY, \
      (CUdeviceptr *addrs, size_t *bytes, size_t count, CUmemLocation *locations, \
       size_t *location_indices, size_t location_count, unsigned long long flags, \
       CUstream stream)) \
    X(cuMemPrefetchBatchAsync, cuMemPrefetchBatchAsync_ptsz, 13000, PER_THREAD, \
      (CUdeviceptr *addrs, size_t *bytes, size_t count, CUmemLocation *locations, \
       size_t *location_indices, size_t location_count, unsigned long long flags, \
       CUstream stream)) \
    X(cuMemDiscardBatchAsync, cuMemDiscardBatchAsync, 13000, LEGACY, \
      (CUdeviceptr *addrs, size_t *bytes, size_t count, unsigned long long flags, \
       CUstream stream)) \
    X(cuMemDiscardBatchAsync, cuMemDiscardBatchAsync_ptsz, 13000, PER_THREAD, \
      (CUdeviceptr *addrs, size_t *bytes, size_t count, unsigned long long flags, \
       CUstream stream)) \
    X(cuMemDiscardAndPrefetchBatchAsync, cuMemDiscardAndPrefetchBatchAsync, 13000, LEGACY, \
      (CUdeviceptr *addrs, size_t *bytes, size_t count, CUmemLocation *locations, \
       size_t *location_indices, size_t location_count, unsigned long long flags, \
       CUstream stream)) \
    X(cuMemDiscardAndPrefetchBatchAsync, cuMemDiscardAndPrefetchBatchAsync_ptsz, 13000, \
      PER_THREAD, \
      (CUdeviceptr *addrs, size_t *bytes, size_t count, CUmemLocation *locations, \
       size_t *location_indices, size_t location_count, unsigned long long flags, \
       CUstream stream))

/* The per-thread variant of each of these is a row of its own: stream 0 is another stream there. */
#define HOOKS_COPY_SYNC(X, name, symbol, since, thread_since, params) \
    X(name, symbol, since, LEGACY, params) \
    X(name, symbol##_ptds, thread_since, PER_THREAD, params)

#define HOOKS_COPY_ASYNC(X, name, symbol, since, thread_since, params) \
    X(name, symbol, since, LEGACY, params) \
    X(name, symbol##_ptsz, thread_since, PER_THREAD, params)

#define HOOKS_COPY(X) \
    HOOKS_COPY_SYNC(X, cuMemcpy, cuMemcpy, 4000, 7000, \
      (CUdeviceptr dst, CUdeviceptr src, size_t bytes)) \
    HOOKS_COPY_ASYNC(X, cuMemcpyAsync, cuMemcpyAsync, 4000, 7000, \
      (CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream stream)) \
    HOOKS_COPY_SYNC(X, cuMemcpyPeer, cuMemcpyPeer, 4000, 7000, \
      (CUdeviceptr dst, CUcontext dst_ctx, CUdeviceptr src, CUcontext src_ctx, size_t bytes)) \
    HOOKS_COPY_ASYNC(X, cuMemcpyPeerAsync, cuMemcpyPeerAsync, 4000, 7000, \
      (CUdeviceptr dst, CUcontext dst_ctx, CUdeviceptr src, CUcontext src_ctx, size_t bytes, \
       CUstream stream)) \
    HOOKS_COPY_SYNC(X, cuMemcpyHtoD, cuMemcpyHtoD_v2, 3020, 7000, \
      (CUdeviceptr dst, const void *src, size_t bytes)) \
    HOOKS_COPY_ASYNC(X, cuMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2, 3020, 7000, \
      (CUdeviceptr dst, const void *src, size_t bytes, CUstream stream)) \
    HOOKS_COPY_SYNC(X, cuMemcpyDtoH, cuMemcpyDtoH_v2, 3020, 7000, \
      (void *dst, CUdeviceptr src, size_t bytes)) \
    HOOKS_COPY_ASYNC(X, cuMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2, 3020, 7000, \
      (void *dst, CUdeviceptr src, size_t bytes, CUstream stream)) \
    HOOKS_COPY_SYNC(X, cuMemcpyDtoD, cuMemcpyDtoD_v2, 3020, 7000, \
      (CUdeviceptr dst, CUdeviceptr src, size_t bytes)) \
    HOOKS_COPY_ASYNC(X, cuMemcpyDtoDAsync, cuMemcpyDtoDAsync_v2, 3020, 7000, \
      (CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream stream)) \
    HOOKS_COPY_SYNC(X, cuMemcpyDtoA, cuMemcpyDtoA_v2, 3020, 7000, \
      (CUarray dst, size_t dst_offset, CUdeviceptr src, size_t bytes)) \
    HOOKS_COPY_SYNC(X, cuMemcpyAtoD, cuMemcpyAtoD_v2, 3020, 7000, \
      (CUdeviceptr dst, CUarray src, size_t src_offset, size_t bytes)) \
    HOOKS_COPY_SYNC(X, cuMemcpy2D, cuMemcpy2D_v2, 3020, 7000, (const CUDA_MEMCPY2D *copy)) \
    HOOKS_COPY_SYNC(X, cuMemcpy2DUnaligned, cuMemcpy2DUnaligned_v2, 3020, 7000, \
      (const CUDA_MEMCPY2D *copy)) \
    HOOKS_COPY_ASYNC(X, cuMemcpy2DAsync, cuMemcpy2DAsync_v2, 3020, 7000, \
      (const CUDA_MEMCPY2D *copy, CUstream stream)) \
    HOOKS_COPY_SYNC(X, cuMemcpy3D, cuMemcpy3D_v2, 3020, 7000, (const CUDA_MEMCPY3D *copy)) \
    HOOKS_COPY_ASYNC(X, cuMemcpy3DAsync, cuMemcpy3DAsync_v2, 3020, 7000, \
      (const CUDA_MEMCPY3D *copy, CUstream stream)) \
    HOOKS_COPY_SYNC(X, cuMemcpy3DPeer, cuMemcpy3DPeer, 4000, 7000, \
      (const CUDA_MEMCPY3D_PEER *copy)) \
    HOOKS_COPY_ASYNC(X, cuMemcpy3DPeerAsync, cuMemcpy3DPeerAsync, 4000, 7000, \
      (const CUDA_MEMCPY3D_PEER *copy, CUstream stream)) \
    HOOKS_COPY_ASYNC(X, cuMemcpyBatchAsync, cuMemcpyBatchAsync, 12080, 12080, \
      (CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count, \
       CUmemcpyAttributes *attrs, size_t *attrs_idxs, size_t num_attrs, size_t *fail_idx, \
       CUstream stream)) \
    HOOKS_COPY_ASYNC(X, cuMemcpyBatchAsync, cuMemcpyBatchAsync_v2, 13000, 13000, \
      (CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count, \
       CUmemcpyAttributes *attrs, size_t *attrs_idxs, size_t num_attrs, CUstream stream)) \
    HOOKS_COPY_ASYNC(X, cuMemcpy3DBatchAsync, cuMemcpy3DBatchAsync, 12080, 12080, \
      (size_t count, CUDA_MEMCPY3D_BATCH_OP *ops, size_t *fail_idx, unsigned long long flags, \
       CUstream stream)) \
    HOOKS_COPY_ASYNC(X, cuMemcpy3DBatchAsync, cuMemcpy3DBatchAsync_v2, 13000, 13000, \
      (size_t count, CUDA_MEMCPY3D_BATCH_OP *ops, unsigned long long flags, CUstream stream)) \
    HOOKS_COPY_SYNC(X, cuMemsetD8, cuMemsetD8_v2, 3020, 7000, \
      (CUdeviceptr dst, unsigned char value, size_t count)) \
    HOOKS_COPY_ASYNC(X, cuMemsetD8Async, cuMemsetD8Async, 3020, 7000, \
      (CUdeviceptr dst, unsigned char value, size_t count, CUstream stream)) \
    HOOKS_COPY_SYNC(X, cuMemsetD16, cuMemsetD16_v2, 3020, 7000, \
      (CUdeviceptr dst, unsigned short value, size_t count)) \
    HOOKS_COPY_ASYNC(X, cuMemsetD16Async, cuMemsetD16Async, 3020, 7000, \
      (CUdeviceptr dst, unsigned short value, size_t count, CUstream stream)) \
    HOOKS_COPY_SYNC(X, cuMemsetD32, cuMemsetD32_v2, 3020, 7000, \
      (CUdeviceptr dst, unsigned int value, size_t count)) \
    HOOKS_COPY_ASYNC(X, cuMemsetD32Async, cuMemsetD32Async, 3020, 7000, \
      (CUdeviceptr dst, unsigned int value, size_t count, CUstream stream)) \
    HOOKS_COPY_SYNC(X, cuMemsetD2D8, cuMemsetD2D8_v2, 3020, 7000, \
      (CUdeviceptr dst, size_t pitch, unsigned char value, size_t width, size_t height)) \
    HOOKS_COPY_ASYNC(X, cuMemsetD2D8Async, cuMemsetD2D8Async, 3020, 7000, \
      (CUdeviceptr dst, size_t pitch, unsigned char value, size_t width, size_t height, \
       CUstream stream)) \
    HOOKS_COPY_SYNC(X, cuMemsetD2D16, cuMemsetD2D16_v2, 3020, 7000, \
      (CUdeviceptr dst, size_t pitch, unsigned short value, size_t width, size_t height)) \
    HOOKS_COPY_ASYNC(X, cuMemsetD2D16Async, cuMemsetD2D16Async, 3020, 7000, \
      (CUdeviceptr dst, size_t pitch, unsigned short value, size_t width, size_t height, \
       CUstream stream)) \
    HOOKS_COPY_SYNC(X, cuMemsetD2D32, cuMemsetD2D32_v2, 3020, 7000, \
      (CUdeviceptr dst, size_t pitch, unsigned int value, size_t width, size_t height)) \
    HOOKS_COPY_ASYNC(X, cuMemsetD2D32Async, cuMemsetD2D32Async, 3020, 7000, \
      (CUdeviceptr dst, size_t pitch, unsigned int value, size_t width, size_t height, \
       CUstream stream))

#define LAUNCH_PARAMS \
      (CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z, \
       unsigned int block_x, unsigned int block_y, unsigned int block_z, \
       unsigned int shared_bytes, CUstream stream, void **params, void **extra)
#define LAUNCH_COOPERATIVE_PARAMS \
      (CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z, \
       unsigned int block_x, unsigned int block_y, unsigned int block_z, \
       unsigned int shared_bytes, CUstream stream, void **params)

#define HOOKS_LAUNCH(X) \
    X(cuLaunchKernel, cuLaunchKernel, 4000, LEGACY, LAUNCH_PARAMS) \
    X(cuLaunchKernel, cuLaunchKernel_ptsz, 7000, PER_THREAD, LAUNCH_PARAMS) \
    X(cuLaunchKernelEx, cuLaunchKernelEx, 11060, LEGACY, \
      (const CUlaunchConfig *config, CUfunction function, void **params, void **extra)) \
    X(cuLaunchKernelEx, cuLaunchKernelEx_ptsz, 11060, PER_THREAD, \
      (const CUlaunchConfig *config, CUfunction function, void **params, void **extra)) \
    X(cuLaunchCooperativeKernel, cuLaunchCooperativeKernel, 9000, LEGACY, \
      LAUNCH_COOPERATIVE_PARAMS) \
    X(cuLaunchCooperativeKernel, cuLaunchCooperativeKernel_ptsz, 9000, PER_THREAD, \
      LAUNCH_COOPERATIVE_PARAMS)

#define HOOKS_CODE(X) \
    X(cuModuleLoad, cuModuleLoad, 2000, NONE, (CUmodule *out, const char *path)) \
    X(cuModuleLoadData, cuModuleLoadData, 2000, NONE, (CUmodule *out, const void *image)) \
    X(cuModuleLoadDataEx, cuModuleLoadDataEx, 2010, NONE, \
      (CUmodule *out, const void *image, unsigned int num_options, CUjit_option *options, \
       void **values)) \
    X(cuModuleLoadFatBinary, cuModuleLoadFatBinary, 2000, NONE, \
      (CUmodule *out, const void *image)) \
    X(cuModuleUnload, cuModuleUnload, 2000, NONE, (CUmodule module)) \
    X(cuModuleGetFunction, cuModuleGetFunction, 2000, NONE, \
      (CUfunction *out, CUmodule module, const char *name)) \
    X(cuLibraryLoadData, cuLibraryLoadData, 12000, NONE, \
      (CUlibrary *out, const void *image, CUjit_option *jit_options, void **jit_values, \
       unsigned int num_jit_options, CUlibraryOption *options, void **values, \
       unsigned int num_options)) \
    X(cuLibraryLoadFromFile, cuLibraryLoadFromFile, 12000, NONE, \
      (CUlibrary *out, const char *path, CUjit_option *jit_options, void **jit_values, \
       unsigned int num_jit_options, CUlibraryOption *options, void **values, \
       unsigned int num_options)) \
    X(cuLibraryUnload, cuLibraryUnload, 12000, NONE, (CUlibrary library)) \
    X(cuLibraryGetKernel, cuLibraryGetKernel, 12000, NONE, \
      (CUkernel *out, CUlibrary library, const char *name)) \
    X(cuKernelGetFunction, cuKernelGetFunction, 12000, NONE, (CUfunction *out, CUkernel kernel))

#define HOOKS_CONTEXT(X) \
    X(cuCtxSynchronize, cuCtxSynchronize, 2000, NONE, (void)) \
    X(cuCtxSynchronize, cuCtxSynchronize_v2, 13000, NONE, (CUcontext ctx)) \
    X(cuCtxCreate, cuCtxCreate, 2000, NONE, (CUcontext *out, unsigned int flags, CUdevice dev)) \
    X(cuCtxCreate, cuCtxCreate_v2, 3020, NONE, \
      (CUcontext *out, unsigned int flags, CUdevice dev)) \
    X(cuCtxCreate, cuCtxCreate_v3, 11040, NONE, \
      (CUcontext *out, struct CUexecAffinityParam_st *params, int count, unsigned int flags, \
       CUdevice dev)) \
    X(cuCtxCreate, cuCtxCreate_v4, 12050, NONE, \
      (CUcontext *out, struct CUctxCreateParams_st *params, unsigned int flags, CUdevice dev)) \
    X(cuCtxDestroy, cuCtxDestroy, 2000, NONE, (CUcontext ctx)) \
    X(cuCtxDestroy, cuCtxDestroy_v2, 4000, NONE, (CUcontext ctx)) \
    X(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain, 7000, NONE, \
      (CUcontext *out, CUdevice dev)) \
    X(cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease, 7000, NONE, (CUdevice dev)) \
    X(cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2, 11000, NONE, (CUdevice dev)) \
    X(cuDevicePrimaryCtxReset, cuDevicePrimaryCtxReset, 7000, NONE, (CUdevice dev)) \
    X(cuDevicePrimaryCtxReset, cuDevicePrimaryCtxReset_v2, 11000, NONE, (CUdevice dev))
/* clang-format on */

#define HOOKS(X)                                                                                   \
    HOOKS_BOOT(X)                                                                                  \
    HOOKS_ALLOC(X)                                                                                 \
    HOOKS_VMM(X)                                                                                   \
    HOOKS_INFO(X)                                                                                  \
    HOOKS_COPY(X) HOOKS_LAUNCH(X) HOOKS_CODE(X) HOOKS_CONTEXT(X)

#ifndef __ASSEMBLER__

#include "cuda_abi.h"

#include <stdint.h>

#define X(name) EXPORT_##name,
enum export_id { DRIVER_EXPORTS(X) EXPORT_COUNT };
#undef X

#define X(name, symbol, since, null_stream, params) HOOK_##symbol,
enum hook_id { HOOKS(X) HOOK_COUNT };
#undef X

/* What stream 0 means to a function. */
enum null_stream { NULL_STREAM_NONE, NULL_STREAM_LEGACY, NULL_STREAM_PER_THREAD };

/* One row of HOOKS, as data. */
struct hook_row {
    const char *name;
    const char *symbol;
    int since;
    enum null_stream null_stream;
    enum export_id id;
};

extern const struct hook_row g_hook_rows[HOOK_COUNT];
extern const char *const g_export_names[EXPORT_COUNT];

/* What each address in the real driver is the address of; sorted, never changed once built. */
struct hook_index {
    struct hook_index_item {
        uintptr_t address;
        enum export_id id;
    } items[EXPORT_COUNT];
    unsigned int count;
};

/* What hook_index_find() says of an address that no hook stands in for. */
#define HOOK_NONE    (-1) /* one of the exports, passed through */
#define HOOK_UNKNOWN (-2) /* none of the exports: a function that this list does not know */

/* Build the index over the addresses of the real driver's exports.
 *
 * real     the address of every export, NULL where this driver has none
 * locks    none; the caller publishes the index when it is complete
 */
void hook_index_build(struct hook_index *index, void *const real[EXPORT_COUNT]);

/* The hook that stands in for an address which cuGetProcAddress() answered with.
 *
 * Where several exports share the address, (name, version, flags) decide between them.
 *
 * address  what the real driver answered
 * name     what was asked for, without suffixes
 * version  the CUDA version that was asked for, major * 1000 + minor * 10
 * flags    CU_GET_PROC_ADDRESS_*
 * returns  an enum hook_id, or HOOK_NONE, or HOOK_UNKNOWN
 * locks    none
 */
int hook_index_find(const struct hook_index *index, const void *address, const char *name,
                    int version, cuuint64_t flags);

/* The exported functions. Whoever defines one with other parameters does not compile. */
#define HOOK_EXPORT                                 __attribute__((visibility("default")))
#define X(name, symbol, since, null_stream, params) HOOK_EXPORT CUresult symbol params;
HOOKS(X)
#undef X

#endif
#endif
