/* um.c - the unified memory backend.
 *
 * The home of a page is its CPU page. While an extent is absent its preferred location is the CPU,
 * so that a kernel which touches it reads over the link: at most it faults to be given a mapping of
 * the CPU's page, and nothing moves behind the budget's back. Until an extent is loaded for the
 * first time the device has that mapping already (ACCESSED_BY). Then no longer: to make it anew
 * with each drop takes ten times what the rest of a drop does.
 *
 * Loading sets READ_MOSTLY and prefetches: the device gets a duplicate, which it may read. That it
 * may not write it without a fault takes a mapping by the CPU: pages that nobody has mapped, as
 * copy engines fill them, a prefetch maps for the device with write access though the CPU keeps its
 * copy, and what a kernel writes then is lost with the duplicate. So the first load prefetches to
 * the CPU before it, which maps what lies there and has nothing else to do; later ones need not,
 * for a drop leaves the mapping. Advice comes at once, and prefetches in their streams' turns: one
 * to the device that was queued before READ_MOSTLY was set, without a prefetch to the CPU before
 * it, would be such a one, so none may be left.
 *
 * A kernel's write collapses the duplicates of a page: the device has the only copy. So a drop
 * prefetches to the CPU, which copies just such pages back and finds nothing to do for the others;
 * then it unsets READ_MOSTLY, and the driver collapses what is left to the preferred location, the
 * CPU, without a transfer. In this order the CPU's mapping stays one for reading all the time: the
 * other way round each drop makes 512 of its entries writable and each load takes that back: a step
 * that streamed half a gigabyte took 24 ms that way, and 20 this. Where the prefetch has yet to run
 * when READ_MOSTLY goes, it moves the written pages. What a kernel nobody foresaw writes between
 * the two stays in VRAM until the
 * next drop.
 *
 * source: CUDA Driver API, unified memory; the open kernel module's uvm code, for what unsetting
 * read duplication does and which rights a migration maps with; an H200 and an H100 with driver
 * 580: tests/gpu/probe_duplicate.c, and bench/results/gpu-*.json for what the calls cost.
 */
#include "backend.h"

static int um_supports(const struct driver *drv, CUdevice device, const char **reason)
{
    int concurrent = 0;

    if (drv->cuDeviceGetAttribute(&concurrent, CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS,
                                  device) != CUDA_SUCCESS)
        concurrent = 0;
    if (!concurrent)
        *reason = "it has no concurrent managed access (as under WSL2, on some virtual GPUs)";
    return concurrent;
}

static CUresult um_rest(const struct driver *drv, CUdevice device, CUdeviceptr base, size_t bytes,
                        enum backend_rest where)
{
    CUresult res;

    if (where == BACKEND_REST_DEVICE)
        return drv->cuMemAdvise(base, bytes, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, device);
    res = drv->cuMemAdvise(base, bytes, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CU_DEVICE_CPU);
    if (res != CUDA_SUCCESS)
        return res;
    return drv->cuMemAdvise(base, bytes, CU_MEM_ADVISE_SET_ACCESSED_BY, device);
}

static CUresult um_reserve(const struct driver *drv, CUdevice device, size_t bytes,
                           CUdeviceptr *out)
{
    (void)device;
    return drv->cuMemAllocManaged(out, bytes, CU_MEM_ATTACH_GLOBAL);
}

static CUresult um_release(const struct driver *drv, CUdeviceptr base, size_t bytes)
{
    (void)bytes;
    return drv->cuMemFree_v2(base);
}

/* Let what is loaded next be a duplicate, which the device may not write without a fault. */
static CUresult share(const struct driver *drv, CUdevice device, CUdeviceptr addr, size_t bytes,
                      enum backend_turn turn, CUstream stream)
{
    CUresult res = CUDA_SUCCESS;

    if (turn == BACKEND_FIRST)
        res = drv->cuMemPrefetchAsync(addr, bytes, CU_DEVICE_CPU, stream);

    if (res == CUDA_SUCCESS)
        res = drv->cuMemAdvise(addr, bytes, CU_MEM_ADVISE_SET_READ_MOSTLY, device);
    return res;
}

static CUresult um_load(const struct driver *drv, CUdevice device, CUdeviceptr addr, size_t bytes,
                        enum backend_mode mode, enum backend_turn turn, CUstream stream)
{
    CUresult res = CUDA_SUCCESS;

    if (turn == BACKEND_FIRST)
        res = drv->cuMemAdvise(addr, bytes, CU_MEM_ADVISE_UNSET_ACCESSED_BY, device);
    if (res == CUDA_SUCCESS && mode == BACKEND_SHARED)
        res = share(drv, device, addr, bytes, turn, stream);
    if (res == CUDA_SUCCESS)
        res = drv->cuMemPrefetchAsync(addr, bytes, device, stream);
    /* Read duplication, of a part even, would bring it in by faults, where nobody counts it. */
    if (res != CUDA_SUCCESS && mode == BACKEND_SHARED)
        drv->cuMemAdvise(addr, bytes, CU_MEM_ADVISE_UNSET_READ_MOSTLY, device);
    return res;
}

static CUresult um_drop(const struct driver *drv, CUdevice device, CUdeviceptr addr, size_t bytes,
                        enum backend_mode mode, CUstream stream)
{
    CUresult res = drv->cuMemPrefetchAsync(addr, bytes, CU_DEVICE_CPU, stream);

    if (res == CUDA_SUCCESS && mode == BACKEND_SHARED)
        res = drv->cuMemAdvise(addr, bytes, CU_MEM_ADVISE_UNSET_READ_MOSTLY, device);
    return res;
}

const struct backend backend_um = {
    .name = "um",
    .supports = um_supports,
    .reserve = um_reserve,
    .release = um_release,
    .rest = um_rest,
    .load = um_load,
    .drop = um_drop,
};
