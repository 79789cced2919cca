/* entry_info.c - what a program asks and says about memory: sizes, bounds, attributes, hints.
 *
 * One consistent story: a paged allocation looks like the device memory that was asked for, and the
 * card looks as large as what can be allocated.
 */
#include "config.h"
#include "entry.h"
#include "log.h"
#include "range.h"
#include "residency.h"
#include "stats.h"
#include <string.h>

static int find_paged(CUdeviceptr addr, struct range_view *view)
{
    return !entry_is_passive() && !config()->off && range_find(addr, view) &&
           view->kind == ALLOCATION_PAGED;
}

/* Address space of ours that is nobody's allocation: for the program there is nothing. */
static int is_hole(CUdeviceptr addr)
{
    struct range_view view;

    return !entry_is_passive() && !config()->off && !range_find(addr, &view) && range_owns(addr);
}

/* Does berth answer for the memory of this device? */
static int is_paged_device(CUdevice device)
{
    return !entry_is_passive() && residency_get(device) != NULL;
}

CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes)
{
    const struct driver *drv = driver_get();
    CUresult result = drv->cuMemGetInfo_v2(free_bytes, total_bytes);
    uint64_t free_now, total;
    CUdevice device;

    if (result == CUDA_SUCCESS && stats_note(drv->cuCtxGetDevice(&device)) == CUDA_SUCCESS &&
        is_paged_device(device)) {
        range_capacity(device, &free_now, &total);
        if (free_bytes)
            *free_bytes = free_now;
        if (total_bytes)
            *total_bytes = total;
    }
    return result;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice dev)
{
    CUresult result = driver_get()->cuDeviceTotalMem_v2(bytes, dev);
    uint64_t free_now, total;

    if (result == CUDA_SUCCESS && is_paged_device(dev)) {
        range_capacity(dev, &free_now, &total);
        *bytes = total;
    }
    return result;
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr addr)
{
    struct range_view view;

    if (!find_paged(addr, &view)) {
        if (is_hole(addr))
            return CUDA_ERROR_NOT_FOUND;
        return driver_get()->cuMemGetAddressRange_v2(base, bytes, addr);
    }
    if (base)
        *base = view.base;
    if (bytes)
        *bytes = view.bytes;
    return CUDA_SUCCESS;
}

/* The attributes in which managed memory differs from what the program thinks that it has.
 *
 * returns  CUDA_SUCCESS with *data set; CUDA_ERROR_NOT_SUPPORTED for an attribute in which the
 * driver's own answer is right; CUDA_ERROR_INVALID_VALUE for what device memory has not
 */
static CUresult paged_attribute(const struct range_view *view, CUpointer_attribute attribute,
                                CUdeviceptr addr, void *data)
{
    const unsigned int device_type = CU_MEMORYTYPE_DEVICE;
    const CUdeviceptr base = view->base;

    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        memcpy(data, &device_type, sizeof(device_type));
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        memcpy(data, &addr, sizeof(addr));
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        return CUDA_ERROR_INVALID_VALUE;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
        *(unsigned char *)data = 0;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
        memcpy(data, &view->id, sizeof(view->id));
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        memcpy(data, &base, sizeof(base));
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        memcpy(data, &view->bytes, sizeof(view->bytes));
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        memcpy(data, &view->device, sizeof(view->device));
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
}

CUresult cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr addr)
{
    CUresult result = CUDA_ERROR_NOT_SUPPORTED;
    struct range_view view;

    if (data && find_paged(addr, &view))
        result = paged_attribute(&view, attribute, addr, data);
    if (result != CUDA_ERROR_NOT_SUPPORTED)
        return result;
    if (is_hole(addr))
        return CUDA_ERROR_INVALID_VALUE;
    return driver_get()->cuPointerGetAttribute(data, attribute, addr);
}

/* Asked for many at once, what does not apply is answered with zero and no error. Of a hole is said
 * what the driver says of an address that it knows nothing of: one of our stack. */
CUresult cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes, void **data,
                                CUdeviceptr addr)
{
    struct range_view view;
    CUresult result = driver_get()->cuPointerGetAttributes(
        count, attributes, data, is_hole(addr) ? (CUdeviceptr)&view : addr);

    if (result != CUDA_SUCCESS || !find_paged(addr, &view))
        return result;
    for (unsigned int i = 0; i < count; i++)
        if (paged_attribute(&view, attributes[i], addr, data[i]) == CUDA_ERROR_INVALID_VALUE)
            memset(data[i], 0, sizeof(void *));
    return result;
}

CUresult cuPointerSetAttribute(const void *value, CUpointer_attribute attribute, CUdeviceptr addr)
{
    return driver_get()->cuPointerSetAttribute(value, attribute, addr);
}

/* Is any of a span in paged memory, or in a hole between? The driver must not be told of it, nor
 * asked. */
static int is_foreign(CUdeviceptr addr, size_t bytes)
{
    return !entry_is_passive() && !config()->off && range_owns_any(addr, bytes);
}

/* Managed memory is all that these tell about; for what the program did not get as such they are an
 * error. */
CUresult cuMemRangeGetAttribute(void *data, size_t data_bytes, CUmem_range_attribute attribute,
                                CUdeviceptr addr, size_t bytes)
{
    if (is_foreign(addr, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    return driver_get()->cuMemRangeGetAttribute(data, data_bytes, attribute, addr, bytes);
}

CUresult cuMemRangeGetAttributes(void **data, size_t *data_bytes, CUmem_range_attribute *attributes,
                                 size_t count, CUdeviceptr addr, size_t bytes)
{
    if (is_foreign(addr, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    return driver_get()->cuMemRangeGetAttributes(data, data_bytes, attributes, count, addr, bytes);
}

CUresult cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr addr)
{
    struct range_view view;

    if (find_paged(addr, &view)) {
        log_warn("range", "memory that is paged cannot be shared with another process "
                          "(cuIpcGetMemHandle): run a program that needs it with --backend off");
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    return driver_get()->cuIpcGetMemHandle(handle, addr);
}

/* A program's hints about memory that is not managed, as it knows, are an error; about a paged
 * allocation they would be followed, against residency's own, and a discard would lose its bytes.
 */
CUresult cuMemAdvise(CUdeviceptr addr, size_t bytes, CUmem_advise advice, CUdevice dev)
{
    if (is_foreign(addr, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    return driver_get()->cuMemAdvise(addr, bytes, advice, dev);
}

CUresult cuMemAdvise_v2(CUdeviceptr addr, size_t bytes, CUmem_advise advice, CUmemLocation location)
{
    if (is_foreign(addr, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    return driver_get()->cuMemAdvise_v2(addr, bytes, advice, location);
}

CUresult cuMemPrefetchAsync(CUdeviceptr addr, size_t bytes, CUdevice dev, CUstream stream)
{
    if (is_foreign(addr, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    return driver_get()->cuMemPrefetchAsync(addr, bytes, dev, stream);
}

CUresult cuMemPrefetchAsync_ptsz(CUdeviceptr addr, size_t bytes, CUdevice dev, CUstream stream)
{
    if (is_foreign(addr, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    return driver_get()->cuMemPrefetchAsync_ptsz(addr, bytes, dev, stream);
}

CUresult cuMemPrefetchAsync_v2(CUdeviceptr addr, size_t bytes, CUmemLocation location,
                               unsigned int flags, CUstream stream)
{
    if (is_foreign(addr, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    return driver_get()->cuMemPrefetchAsync_v2(addr, bytes, location, flags, stream);
}

CUresult cuMemPrefetchAsync_v2_ptsz(CUdeviceptr addr, size_t bytes, CUmemLocation location,
                                    unsigned int flags, CUstream stream)
{
    if (is_foreign(addr, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    return driver_get()->cuMemPrefetchAsync_v2_ptsz(addr, bytes, location, flags, stream);
}

static int is_any_foreign(const CUdeviceptr *addrs, const size_t *bytes, size_t count)
{
    for (size_t i = 0; addrs && bytes && i < count; i++)
        if (is_foreign(addrs[i], bytes[i]))
            return 1;
    return 0;
}

CUresult cuMemPrefetchBatchAsync(CUdeviceptr *addrs, size_t *bytes, size_t count,
                                 CUmemLocation *locations, size_t *location_indices,
                                 size_t location_count, unsigned long long flags, CUstream stream)
{
    if (is_any_foreign(addrs, bytes, count))
        return CUDA_ERROR_INVALID_VALUE;
    return driver_get()->cuMemPrefetchBatchAsync(addrs, bytes, count, locations, location_indices,
                                                 location_count, flags, stream);
}

CUresult cuMemPrefetchBatchAsync_ptsz(CUdeviceptr *addrs, size_t *bytes, size_t count,
                                      CUmemLocation *locations, size_t *location_indices,
                                      size_t location_count, unsigned long long flags,
                                      CUstream stream)
{
    if (is_any_foreign(addrs, bytes, count))
        return CUDA_ERROR_INVALID_VALUE;
    return driver_get()->cuMemPrefetchBatchAsync_ptsz(
        addrs, bytes, count, locations, location_indices, location_count, flags, stream);
}

CUresult cuMemDiscardBatchAsync(CUdeviceptr *addrs, size_t *bytes, size_t count,
                                unsigned long long flags, CUstream stream)
{
    if (is_any_foreign(addrs, bytes, count))
        return CUDA_ERROR_INVALID_VALUE;
    return driver_get()->cuMemDiscardBatchAsync(addrs, bytes, count, flags, stream);
}

CUresult cuMemDiscardBatchAsync_ptsz(CUdeviceptr *addrs, size_t *bytes, size_t count,
                                     unsigned long long flags, CUstream stream)
{
    if (is_any_foreign(addrs, bytes, count))
        return CUDA_ERROR_INVALID_VALUE;
    return driver_get()->cuMemDiscardBatchAsync_ptsz(addrs, bytes, count, flags, stream);
}

CUresult cuMemDiscardAndPrefetchBatchAsync(CUdeviceptr *addrs, size_t *bytes, size_t count,
                                           CUmemLocation *locations, size_t *location_indices,
                                           size_t location_count, unsigned long long flags,
                                           CUstream stream)
{
    if (is_any_foreign(addrs, bytes, count))
        return CUDA_ERROR_INVALID_VALUE;
    return driver_get()->cuMemDiscardAndPrefetchBatchAsync(
        addrs, bytes, count, locations, location_indices, location_count, flags, stream);
}

CUresult cuMemDiscardAndPrefetchBatchAsync_ptsz(CUdeviceptr *addrs, size_t *bytes, size_t count,
                                                CUmemLocation *locations, size_t *location_indices,
                                                size_t location_count, unsigned long long flags,
                                                CUstream stream)
{
    if (is_any_foreign(addrs, bytes, count))
        return CUDA_ERROR_INVALID_VALUE;
    return driver_get()->cuMemDiscardAndPrefetchBatchAsync_ptsz(
        addrs, bytes, count, locations, location_indices, location_count, flags, stream);
}
