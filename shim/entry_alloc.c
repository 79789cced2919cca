/* entry_alloc.c - what a program allocates and frees. */
#include "entry.h"

CUresult cuMemAlloc_v2(CUdeviceptr *out, size_t bytes)
{
    return driver_get()->cuMemAlloc_v2(out, bytes);
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *out, size_t *pitch, size_t width_bytes, size_t height,
                            unsigned int element_bytes)
{
    return driver_get()->cuMemAllocPitch_v2(out, pitch, width_bytes, height, element_bytes);
}

CUresult cuMemAllocManaged(CUdeviceptr *out, size_t bytes, unsigned int flags)
{
    return driver_get()->cuMemAllocManaged(out, bytes, flags);
}

CUresult cuMemAllocAsync(CUdeviceptr *out, size_t bytes, CUstream stream)
{
    return driver_get()->cuMemAllocAsync(out, bytes, stream);
}

CUresult cuMemAllocAsync_ptsz(CUdeviceptr *out, size_t bytes, CUstream stream)
{
    return driver_get()->cuMemAllocAsync_ptsz(out, bytes, stream);
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *out, size_t bytes, CUmemoryPool pool, CUstream stream)
{
    return driver_get()->cuMemAllocFromPoolAsync(out, bytes, pool, stream);
}

CUresult cuMemAllocFromPoolAsync_ptsz(CUdeviceptr *out, size_t bytes, CUmemoryPool pool,
                                      CUstream stream)
{
    return driver_get()->cuMemAllocFromPoolAsync_ptsz(out, bytes, pool, stream);
}

CUresult cuMemFree_v2(CUdeviceptr addr)
{
    return driver_get()->cuMemFree_v2(addr);
}

CUresult cuMemFreeAsync(CUdeviceptr addr, CUstream stream)
{
    return driver_get()->cuMemFreeAsync(addr, stream);
}

CUresult cuMemFreeAsync_ptsz(CUdeviceptr addr, CUstream stream)
{
    return driver_get()->cuMemFreeAsync_ptsz(addr, stream);
}
