/* Entry points: virtual memory management. Sharing with other processes is not modelled, nor access
 * of the host. */
#include <string.h>

#include "sim.h"
#include "vmm.h"

/* All but the type. returns 0; 1; 101; 801 for what is not modelled */
static CUresult prop_check(const CUmemAllocationProp *prop)
{
    if (!prop)
        return CUDA_ERROR_INVALID_VALUE;
    switch (prop->location.type) {
    case CU_MEM_LOCATION_TYPE_DEVICE:
        if (prop->location.id < 0 || prop->location.id >= sim_device_count())
            return CUDA_ERROR_INVALID_DEVICE;
        break;
    case CU_MEM_LOCATION_TYPE_HOST:
        break;
    case CU_MEM_LOCATION_TYPE_HOST_NUMA:
        if (prop->location.id != 0)
            return CUDA_ERROR_INVALID_VALUE;
        break;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    return prop->requestedHandleTypes ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

/* returns 0; 1; 101; 801 for the host */
static CUresult location_check(const CUmemLocation *location)
{
    if (location->type == CU_MEM_LOCATION_TYPE_HOST ||
        location->type == CU_MEM_LOCATION_TYPE_HOST_NUMA)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (location->type != CU_MEM_LOCATION_TYPE_DEVICE)
        return CUDA_ERROR_INVALID_VALUE;
    if (location->id < 0 || location->id >= sim_device_count())
        return CUDA_ERROR_INVALID_DEVICE;
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuMemAddressReserve, CUdeviceptr *ptr, size_t size, size_t alignment, CUdeviceptr addr,
          unsigned long long flags)
{
    CUresult res = sim_enter(NULL, NULL);

    (void)addr; /* a hint, which this driver never takes */
    if (res != CUDA_SUCCESS)
        return res;
    return ptr && !flags ? vmm_reserve(size, alignment, ptr) : CUDA_ERROR_INVALID_VALUE;
}

SIM_ENTRY(cuMemAddressFree, CUdeviceptr ptr, size_t size)
{
    CUresult res = sim_enter(NULL, NULL);

    return res == CUDA_SUCCESS ? vmm_unreserve(ptr, size) : res;
}

SIM_ENTRY(cuMemCreate, CUmemGenericAllocationHandle *handle, size_t size,
          const CUmemAllocationProp *prop, unsigned long long flags)
{
    CUresult res = sim_enter(NULL, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    if (!handle || flags)
        return CUDA_ERROR_INVALID_VALUE;
    res = prop_check(prop);
    if (res == CUDA_SUCCESS && prop->type != CU_MEM_ALLOCATION_TYPE_PINNED)
        res = CUDA_ERROR_INVALID_VALUE;
    return res == CUDA_SUCCESS ? vmm_create(size, prop, handle) : res;
}

SIM_ENTRY(cuMemRelease, CUmemGenericAllocationHandle handle)
{
    CUresult res = sim_enter(NULL, NULL);

    return res == CUDA_SUCCESS ? vmm_release(handle) : res;
}

SIM_ENTRY(cuMemMap, CUdeviceptr ptr, size_t size, size_t offset,
          CUmemGenericAllocationHandle handle, unsigned long long flags)
{
    CUresult res = sim_enter(NULL, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    if (flags)
        return CUDA_ERROR_INVALID_VALUE;
    return offset ? CUDA_ERROR_NOT_SUPPORTED : vmm_map(ptr, size, handle);
}

SIM_ENTRY(cuMemUnmap, CUdeviceptr ptr, size_t size)
{
    CUresult res = sim_enter(NULL, NULL);

    return res == CUDA_SUCCESS ? vmm_unmap(ptr, size) : res;
}

static CUresult access_check(const CUmemAccessDesc *desc)
{
    if (desc->flags != CU_MEM_ACCESS_FLAGS_PROT_NONE &&
        desc->flags != CU_MEM_ACCESS_FLAGS_PROT_READ &&
        desc->flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
        return CUDA_ERROR_INVALID_VALUE;
    return location_check(&desc->location);
}

SIM_ENTRY(cuMemSetAccess, CUdeviceptr ptr, size_t size, const CUmemAccessDesc *desc, size_t count)
{
    CUresult res = sim_enter(NULL, NULL);
    size_t i;

    if (res == CUDA_SUCCESS && (!desc || !count))
        res = CUDA_ERROR_INVALID_VALUE;
    for (i = 0; res == CUDA_SUCCESS && i < count; i++)
        res = access_check(&desc[i]);
    for (i = 0; res == CUDA_SUCCESS && i < count; i++)
        res = vmm_set_access(ptr, size, desc[i].location.id, (unsigned)desc[i].flags);
    return res;
}

SIM_ENTRY(cuMemGetAccess, unsigned long long *flags, const CUmemLocation *location, CUdeviceptr ptr)
{
    CUresult res = sim_enter(NULL, NULL);
    unsigned access = 0;

    if (res != CUDA_SUCCESS)
        return res;
    if (!flags || !location)
        return CUDA_ERROR_INVALID_VALUE;
    res = location_check(location);
    if (res == CUDA_SUCCESS)
        res = vmm_access(ptr, location->id, &access);
    if (res == CUDA_SUCCESS)
        *flags = access;
    return res;
}

/* The driver answers for a type that is none, too. */
SIM_ENTRY(cuMemGetAllocationGranularity, size_t *granularity, const CUmemAllocationProp *prop,
          CUmemAllocationGranularity_flags option)
{
    CUresult res = sim_call();

    if (res == CUDA_SUCCESS && (!granularity || (option != CU_MEM_ALLOC_GRANULARITY_MINIMUM &&
                                                 option != CU_MEM_ALLOC_GRANULARITY_RECOMMENDED)))
        res = CUDA_ERROR_INVALID_VALUE;
    if (res == CUDA_SUCCESS)
        res = prop_check(prop);
    if (res == CUDA_SUCCESS)
        *granularity = VMM_GRANULE_BYTES;
    return res;
}

SIM_ENTRY(cuMemGetAllocationPropertiesFromHandle, CUmemAllocationProp *prop,
          CUmemGenericAllocationHandle handle)
{
    CUresult res = sim_enter(NULL, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    return prop ? vmm_properties(handle, prop) : CUDA_ERROR_INVALID_VALUE;
}

SIM_ENTRY(cuMemRetainAllocationHandle, CUmemGenericAllocationHandle *handle, void *addr)
{
    CUresult res = sim_enter(NULL, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    return handle ? vmm_retain((uintptr_t)addr, handle) : CUDA_ERROR_INVALID_VALUE;
}
