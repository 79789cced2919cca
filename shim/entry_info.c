/* entry_info.c - what a program asks and says about memory: sizes, bounds, attributes, hints. */
#include "entry.h"

CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes)
{
    return driver_get()->cuMemGetInfo_v2(free_bytes, total_bytes);
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice dev)
{
    return driver_get()->cuDeviceTotalMem_v2(bytes, dev);
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr addr)
{
    return driver_get()->cuMemGetAddressRange_v2(base, bytes, addr);
}

CUresult cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr addr)
{
    return driver_get()->cuPointerGetAttribute(data, attribute, addr);
}

CUresult cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes, void **data,
                                CUdeviceptr addr)
{
    return driver_get()->cuPointerGetAttributes(count, attributes, data, addr);
}

CUresult cuPointerSetAttribute(const void *value, CUpointer_attribute attribute, CUdeviceptr addr)
{
    return driver_get()->cuPointerSetAttribute(value, attribute, addr);
}

CUresult cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr addr)
{
    return driver_get()->cuIpcGetMemHandle(handle, addr);
}

CUresult cuMemAdvise(CUdeviceptr addr, size_t bytes, CUmem_advise advice, CUdevice dev)
{
    return driver_get()->cuMemAdvise(addr, bytes, advice, dev);
}

CUresult cuMemAdvise_v2(CUdeviceptr addr, size_t bytes, CUmem_advise advice, CUmemLocation location)
{
    return driver_get()->cuMemAdvise_v2(addr, bytes, advice, location);
}

CUresult cuMemPrefetchAsync(CUdeviceptr addr, size_t bytes, CUdevice dev, CUstream stream)
{
    return driver_get()->cuMemPrefetchAsync(addr, bytes, dev, stream);
}

CUresult cuMemPrefetchAsync_ptsz(CUdeviceptr addr, size_t bytes, CUdevice dev, CUstream stream)
{
    return driver_get()->cuMemPrefetchAsync_ptsz(addr, bytes, dev, stream);
}

CUresult cuMemPrefetchAsync_v2(CUdeviceptr addr, size_t bytes, CUmemLocation location,
                               unsigned int flags, CUstream stream)
{
    return driver_get()->cuMemPrefetchAsync_v2(addr, bytes, location, flags, stream);
}

CUresult cuMemPrefetchAsync_v2_ptsz(CUdeviceptr addr, size_t bytes, CUmemLocation location,
                                    unsigned int flags, CUstream stream)
{
    return driver_get()->cuMemPrefetchAsync_v2_ptsz(addr, bytes, location, flags, stream);
}
