/* Entry points: pointer attributes. */
#include <string.h>

#include "memory.h"
#include "memory_pool.h"
#include "sim.h"

#define ACCESS_READ_WRITE 3u
#define ACCESS_READ       1u

/* Needs a driver that has been initialised, but no context. */
static CUresult pointer_enter(void)
{
    CUresult res = sim_enter(NULL, NULL);

    return res == CUDA_ERROR_INVALID_CONTEXT ? sim_call() : res;
}

/* How wide an attribute's value is; 0 for one that is not known. */
static size_t attribute_bytes(CUpointer_attribute attribute)
{
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
        return 8;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_MAPPED:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
        return 4;
    case CU_POINTER_ATTRIBUTE_P2P_TOKENS:
        break;
    }
    return 0;
}

static int is_host(const struct memory_info *info)
{
    return info->kind == MEMORY_HOST || info->kind == MEMORY_REGISTERED ||
           (info->kind == MEMORY_MAPPED && info->device < 0);
}

static uint64_t access_flags(const struct memory_info *info)
{
    if (info->kind == MEMORY_REGISTERED && info->flags & CU_MEMHOSTREGISTER_READ_ONLY)
        return ACCESS_READ;
    return ACCESS_READ_WRITE;
}

/* The value for an address of ours. returns 1 when this kind of memory does not have it */
static CUresult attribute_of(const struct memory_info *info, CUdeviceptr addr,
                             CUpointer_attribute attribute, uint64_t *value)
{
    /* The host has no access to a mapping. */
    const int is_plain =
        info->kind == MEMORY_DEVICE || info->kind == MEMORY_MODULE || info->kind == MEMORY_MAPPED;
    CUmemoryPool pool = memory_pool_of(info->base);

    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
        /* What came from a pool or from cuMemCreate() belongs to the device. */
        *value = pool ? 0 : (uint64_t)(uintptr_t)info->ctx;
        return pool || !info->ctx ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *value = is_host(info) ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        *value = addr;
        return is_plain ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        *value = addr;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
        *value = memory_sync_memops(addr, -1) > 0;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
        *value = info->id;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
        *value = info->kind == MEMORY_MANAGED;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *value =
            (uint32_t)(is_host(info) && info->ctx ? sim_context_device(info->ctx) : info->device);
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
        *value = info->kind == MEMORY_DEVICE && !pool;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
        *value = info->base;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
        *value = info->bytes;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MAPPED:
        *value = 1;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
        *value = 0;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
        *value = access_flags(info);
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
        *value = (uint64_t)(uintptr_t)pool;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_P2P_TOKENS:
        break;
    }
    return CUDA_ERROR_INVALID_VALUE;
}

SIM_ENTRY(cuPointerGetAttribute, void *data, CUpointer_attribute attribute, CUdeviceptr ptr)
{
    const size_t bytes = attribute_bytes(attribute);
    CUresult res = pointer_enter();
    struct memory_info info;
    uint64_t value;

    if (res != CUDA_SUCCESS)
        return res;
    if (!data || !bytes || !memory_find(ptr, &info))
        return CUDA_ERROR_INVALID_VALUE;
    res = attribute_of(&info, ptr, attribute, &value);
    if (res == CUDA_SUCCESS)
        memcpy(data, &value, bytes);
    return res;
}

/* What the plural form answers where an attribute does not apply: zero, and -2 for a device. The
 * bounds of what nobody allocated are not written at all. returns the bytes to be written */
static size_t attribute_none(CUpointer_attribute attribute, int is_ours, uint64_t *value)
{
    *value = attribute == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL ? (uint32_t)CU_DEVICE_INVALID : 0;
    if (!is_ours && (attribute == CU_POINTER_ATTRIBUTE_RANGE_START_ADDR ||
                     attribute == CU_POINTER_ATTRIBUTE_RANGE_SIZE))
        return 0;
    return attribute_bytes(attribute);
}

/* Unlike the singular this one succeeds for any pointer. */
SIM_ENTRY(cuPointerGetAttributes, unsigned int count, CUpointer_attribute *attributes, void **data,
          CUdeviceptr ptr)
{
    CUresult res = pointer_enter();
    struct memory_info info;
    unsigned i;
    int is_ours;

    if (res != CUDA_SUCCESS)
        return res;
    if (!count || !attributes || !data)
        return CUDA_ERROR_INVALID_VALUE;
    is_ours = memory_find(ptr, &info);
    for (i = 0; i < count; i++) {
        size_t bytes = attribute_bytes(attributes[i]);
        uint64_t value = 0;

        if (!bytes || !data[i])
            return CUDA_ERROR_INVALID_VALUE;
        if (!is_ours || attribute_of(&info, ptr, attributes[i], &value) != CUDA_SUCCESS)
            bytes = attribute_none(attributes[i], is_ours, &value);
        memcpy(data[i], &value, bytes);
    }
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuPointerSetAttribute, const void *value, CUpointer_attribute attribute, CUdeviceptr ptr)
{
    CUresult res = pointer_enter();
    int set;

    if (res != CUDA_SUCCESS)
        return res;
    if (!value || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(&set, value, sizeof(set));
    return memory_sync_memops(ptr, set != 0) < 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}
