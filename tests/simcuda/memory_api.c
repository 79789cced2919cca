/* Entry points: device and managed allocations, and questions about them. */
#include <string.h>
#include <unistd.h>

#include "context.h"
#include "memory.h"
#include "memory_pool.h"
#include "sim.h"

#define PITCH_BYTES 512

static CUresult alloc_current(enum memory_kind kind, size_t bytes, unsigned flags, CUdeviceptr *out)
{
    CUcontext ctx;
    int device;
    CUresult res = sim_enter(&ctx, &device);

    if (res != CUDA_SUCCESS)
        return res;
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    return memory_alloc(kind, device, ctx, bytes, flags, out);
}

SIM_ENTRY(cuMemAlloc_v2, CUdeviceptr *dptr, size_t bytes)
{
    return alloc_current(MEMORY_DEVICE, bytes, 0, dptr);
}

SIM_ENTRY(cuMemAllocPitch_v2, CUdeviceptr *dptr, size_t *pitch, size_t width, size_t height,
          unsigned int element)
{
    size_t row = width + (PITCH_BYTES - 1);
    CUresult res;

    if (!pitch || (element != 4 && element != 8 && element != 16))
        return CUDA_ERROR_INVALID_VALUE;
    if (width == 0 || height == 0 || row < width)
        return CUDA_ERROR_INVALID_VALUE;
    row -= row % PITCH_BYTES;
    if (height > SIZE_MAX / row)
        return CUDA_ERROR_OUT_OF_MEMORY;
    res = alloc_current(MEMORY_DEVICE, row * height, 0, dptr);
    if (res == CUDA_SUCCESS)
        *pitch = row;
    return res;
}

SIM_ENTRY(cuMemAllocManaged, CUdeviceptr *dptr, size_t bytes, unsigned int flags)
{
    if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST) {
        CUresult res = sim_enter(NULL, NULL);

        return res == CUDA_SUCCESS ? CUDA_ERROR_INVALID_VALUE : res;
    }
    return alloc_current(MEMORY_MANAGED, bytes, flags, dptr);
}

/* Waits for all that is queued in the context that the memory belongs to, as the real one does, and
 * keeps every other call of that context waiting meanwhile: as strict as a driver may be. */
SIM_ENTRY(cuMemFree_v2, CUdeviceptr dptr)
{
    CUresult res = sim_enter(NULL, NULL);
    struct memory_info info;

    if (res != CUDA_SUCCESS || dptr == 0)
        return res;
    if (!memory_find(dptr, &info) || info.base != dptr ||
        (info.kind != MEMORY_DEVICE && info.kind != MEMORY_MANAGED))
        return CUDA_ERROR_INVALID_VALUE;
    context_hold(info.ctx);
    res = sim_context_synchronize(info.ctx);
    if (res == CUDA_SUCCESS) {
        memory_pool_forget(dptr);
        res = memory_free(info.kind, dptr);
    }
    context_let_go(info.ctx);
    return res;
}

SIM_ENTRY(cuMemGetInfo_v2, size_t *free_bytes, size_t *total_bytes)
{
    size_t left, total;
    int device;
    CUresult res = sim_enter(NULL, &device);

    if (res != CUDA_SUCCESS)
        return res;
    memory_capacity(device, &left, &total);
    if (free_bytes)
        *free_bytes = left;
    if (total_bytes)
        *total_bytes = total;
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuMemGetAddressRange_v2, CUdeviceptr *base, size_t *bytes, CUdeviceptr dptr)
{
    CUresult res = sim_enter(NULL, NULL);
    struct memory_info info;

    if (res != CUDA_SUCCESS)
        return res;
    if (!base && !bytes)
        return CUDA_SUCCESS; /* asked for nothing, the driver does not look the address up */
    if (!memory_find(dptr, &info))
        return CUDA_ERROR_NOT_FOUND;
    if (base)
        *base = info.base;
    if (bytes)
        *bytes = info.bytes;
    return CUDA_SUCCESS;
}

/* What another process would be told. Only plain allocations can be shared; opening a handle is not
 * modelled, as there is no other process that shares this device. */
SIM_ENTRY(cuIpcGetMemHandle, CUipcMemHandle *handle, CUdeviceptr dptr)
{
    CUresult res = sim_enter(NULL, NULL);
    struct memory_info info;
    uint64_t words[4];

    if (res != CUDA_SUCCESS)
        return res;
    if (!handle || !memory_find(dptr, &info) || info.kind != MEMORY_DEVICE ||
        memory_pool_of(info.base))
        return CUDA_ERROR_INVALID_VALUE;
    words[0] = (uint64_t)getpid();
    words[1] = info.base;
    words[2] = info.bytes;
    words[3] = info.id;
    memset(handle, 0, sizeof(*handle));
    memcpy(handle->reserved, words, sizeof(words));
    return CUDA_SUCCESS;
}
