/* entry_vmm.c - memory that a program creates and maps by itself.
 *
 * Its addresses are the driver's and are not paged; what it takes of the card is counted.
 */
#include "config.h"
#include "entry.h"
#include "physical.h"

static int is_off(void)
{
    return entry_is_passive() || config()->off;
}

CUresult cuMemCreate(CUmemGenericAllocationHandle *out, size_t bytes,
                     const CUmemAllocationProp *prop, unsigned long long flags)
{
    if (is_off())
        return driver_get()->cuMemCreate(out, bytes, prop, flags);
    return physical_create(out, bytes, prop, flags);
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle)
{
    if (is_off())
        return driver_get()->cuMemRelease(handle);
    return physical_release(handle);
}

CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *out, void *addr)
{
    if (is_off())
        return driver_get()->cuMemRetainAllocationHandle(out, addr);
    return physical_retain(out, addr);
}

CUresult cuMemMap(CUdeviceptr addr, size_t bytes, size_t offset,
                  CUmemGenericAllocationHandle handle, unsigned long long flags)
{
    if (is_off())
        return driver_get()->cuMemMap(addr, bytes, offset, handle, flags);
    return physical_map(addr, bytes, offset, handle, flags);
}

CUresult cuMemUnmap(CUdeviceptr addr, size_t bytes)
{
    if (is_off())
        return driver_get()->cuMemUnmap(addr, bytes);
    return physical_unmap(addr, bytes);
}
