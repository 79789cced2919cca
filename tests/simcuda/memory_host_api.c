/* Entry points: pinned host memory. A device reaches it at the host's own address. */
#include "memory.h"
#include "pace.h"
#include "sim.h"

#define HOST_ALLOC_FLAGS                                                                           \
    (CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED)

/* Pinning takes its caller's time, page by page. */
static void pace_pinning(size_t bytes)
{
    pace_host_spend(pace_bytes_ns(bytes, pace_costs()->pin_bytes_per_s));
}

static CUresult host_alloc(void **out, size_t bytes, unsigned flags)
{
    CUdeviceptr addr;
    CUcontext ctx;
    int device;
    CUresult res = sim_enter(&ctx, &device);

    if (res != CUDA_SUCCESS)
        return res;
    if (!out || flags & ~(unsigned)HOST_ALLOC_FLAGS)
        return CUDA_ERROR_INVALID_VALUE;
    res = memory_alloc(MEMORY_HOST, device, ctx, bytes, flags, &addr);
    if (res != CUDA_SUCCESS)
        return res;
    pace_pinning(bytes);
    *out = (void *)(uintptr_t)addr;
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuMemAllocHost_v2, void **out, size_t bytes)
{
    return host_alloc(out, bytes, 0);
}

SIM_ENTRY(cuMemHostAlloc, void **out, size_t bytes, unsigned int flags)
{
    return host_alloc(out, bytes, flags);
}

SIM_ENTRY(cuMemFreeHost, void *host)
{
    const CUdeviceptr addr = (CUdeviceptr)(uintptr_t)host;
    CUresult res = sim_enter(NULL, NULL);
    struct memory_info info;

    if (res != CUDA_SUCCESS || !host)
        return res;
    if (!memory_find(addr, &info) || info.kind != MEMORY_HOST || info.base != addr)
        return CUDA_ERROR_INVALID_VALUE;
    res = sim_context_synchronize(info.ctx);
    if (res != CUDA_SUCCESS)
        return res;
    return memory_free(MEMORY_HOST, addr);
}

SIM_ENTRY(cuMemHostRegister_v2, void *host, size_t bytes, unsigned int flags)
{
    CUcontext ctx;
    CUresult res = sim_enter(&ctx, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    res = memory_host_register(host, bytes, flags, ctx);
    if (res == CUDA_SUCCESS)
        pace_pinning(bytes);
    return res;
}

SIM_ENTRY(cuMemHostUnregister, void *host)
{
    CUresult res = sim_enter(NULL, NULL);
    struct memory_info info;

    if (res != CUDA_SUCCESS)
        return res;
    if (memory_find((CUdeviceptr)(uintptr_t)host, &info) && info.kind == MEMORY_REGISTERED) {
        res = sim_context_synchronize(info.ctx);
        if (res != CUDA_SUCCESS)
            return res;
    }
    return memory_host_unregister(host);
}

SIM_ENTRY(cuMemHostGetDevicePointer_v2, CUdeviceptr *dptr, void *host, unsigned int flags)
{
    CUresult res = sim_enter(NULL, NULL);
    struct memory_info info;

    if (res != CUDA_SUCCESS)
        return res;
    if (!dptr || flags || !memory_find((CUdeviceptr)(uintptr_t)host, &info) ||
        (info.kind != MEMORY_HOST && info.kind != MEMORY_REGISTERED))
        return CUDA_ERROR_INVALID_VALUE;
    *dptr = (CUdeviceptr)(uintptr_t)host;
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuMemHostGetFlags, unsigned int *flags, void *host)
{
    CUresult res = sim_enter(NULL, NULL);
    struct memory_info info;

    if (res != CUDA_SUCCESS)
        return res;
    if (!flags || !memory_find((CUdeviceptr)(uintptr_t)host, &info) || info.kind != MEMORY_HOST)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = info.flags;
    return CUDA_SUCCESS;
}
