#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define NAME       "Simulated CUDA Device"
#define PCI_BUS    0x3B /* of device 0; the next ones follow */
#define PCI_FORMAT "0000:%02X:00.0"

/* attribute, value; every other attribute is 0. Where the CUDA name is not in cuda_abi.h the number
 * stands with its meaning. */
#define ATTRIBUTES(X)                                                                              \
    X(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, DEVICE_BLOCK_THREADS)                             \
    X(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, DEVICE_BLOCK_THREADS)                                   \
    X(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, DEVICE_BLOCK_THREADS)                                   \
    X(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, DEVICE_BLOCK_Z)                                         \
    X(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, DEVICE_GRID_X)                                           \
    X(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, DEVICE_GRID_YZ)                                          \
    X(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, DEVICE_GRID_YZ)                                          \
    X(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, DEVICE_SHARED_BYTES)                        \
    X(CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY, DEVICE_CONST_BYTES)                               \
    X(CU_DEVICE_ATTRIBUTE_WARP_SIZE, DEVICE_WARP)                                                  \
    X(CU_DEVICE_ATTRIBUTE_MAX_PITCH, DEVICE_PITCH_BYTES)                                           \
    X(CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, DEVICE_REGISTERS)                               \
    X(CU_DEVICE_ATTRIBUTE_CLOCK_RATE, 1590000)                                                     \
    X(CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT, 512)                                                  \
    X(CU_DEVICE_ATTRIBUTE_GPU_OVERLAP, 1)                                                          \
    X(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, DEVICE_MULTIPROCESSORS)                            \
    X(CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 1)                                                  \
    X(CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS, 1)                                                   \
    X(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, 5001000)                                              \
    X(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, 256)                                            \
    X(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 4194304)                                                  \
    X(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, DEVICE_SM_THREADS)                       \
    X(CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, 2)                                                   \
    X(CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1)                                                   \
    X(51, 32) /* texture pitch alignment */                                                        \
    X(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, DEVICE_CC_MAJOR)                               \
    X(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, DEVICE_CC_MINOR)                               \
    X(CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED, 1)                                          \
    X(79, 1) /* global loads go through L1 */                                                      \
    X(80, 1) /* so do local ones */                                                                \
    X(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, DEVICE_SM_SHARED_BYTES)            \
    X(CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, DEVICE_REGISTERS)                      \
    X(87, 32) /* single to double precision throughput */                                          \
    X(CU_DEVICE_ATTRIBUTE_COMPUTE_PREEMPTION_SUPPORTED, 1)                                         \
    X(CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM, 1)                              \
    X(CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 1)                                                   \
    X(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, DEVICE_SHARED_OPTIN_BYTES)            \
    X(CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED, 1)                                              \
    X(CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, DEVICE_SM_BLOCKS)                         \
    X(CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED, 1)                                    \
    X(CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 1)                                               \
    X(CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 1)                                  \
    X(CU_DEVICE_ATTRIBUTE_HOST_NUMA_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 1)                        \
    X(CU_DEVICE_ATTRIBUTE_HOST_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 1)                             \
    X(CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID, -1)

#define ATTRIBUTE_LAST 200 /* more than any driver knows so far */

static int attribute_is_setting(int attribute, int *value)
{
    switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
        *value = (int)sim_setting(SIM_MANAGED);
        return 1;
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
        *value = sim_setting(SIM_MANAGED) && sim_setting(SIM_CONCURRENT_MANAGED);
        return 1;
    default:
        return 0;
    }
}

SIM_ENTRY(cuDeviceGetAttribute, int *value, CUdevice_attribute attribute, CUdevice device)
{
    CUresult res = sim_call_device(device);

    if (res != CUDA_SUCCESS)
        return res;
    if (!value || (int)attribute < 1 || (int)attribute > ATTRIBUTE_LAST)
        return CUDA_ERROR_INVALID_VALUE;
    if (attribute_is_setting((int)attribute, value))
        return CUDA_SUCCESS;
    switch ((int)attribute) {
#define X(name, number)                                                                            \
    case name:                                                                                     \
        *value = number;                                                                           \
        break;
        ATTRIBUTES(X)
#undef X
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID:
        *value = PCI_BUS + device;
        break;
    default:
        *value = 0;
    }
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuDeviceGetCount, int *count)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    if (!count)
        return CUDA_ERROR_INVALID_VALUE;
    *count = sim_device_count();
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuDeviceGet, CUdevice *device, int ordinal)
{
    CUresult res = sim_call_device(ordinal);

    if (res != CUDA_SUCCESS)
        return res;
    if (!device)
        return CUDA_ERROR_INVALID_VALUE;
    *device = ordinal;
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuDeviceGetName, char *name, int bytes, CUdevice device)
{
    CUresult res = sim_call_device(device);

    if (res != CUDA_SUCCESS)
        return res;
    if (!name || bytes <= 0)
        return CUDA_ERROR_INVALID_VALUE;
    snprintf(name, (size_t)bytes, "%s", NAME);
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuDeviceTotalMem_v2, size_t *bytes, CUdevice device)
{
    CUresult res = sim_call_device(device);
    size_t free_bytes;

    if (res != CUDA_SUCCESS)
        return res;
    if (!bytes)
        return CUDA_ERROR_INVALID_VALUE;
    memory_capacity(device, &free_bytes, bytes);
    return CUDA_SUCCESS;
}

static CUresult get_uuid(CUuuid *uuid, CUdevice device)
{
    CUresult res = sim_call_device(device);

    if (res != CUDA_SUCCESS)
        return res;
    if (!uuid)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(uuid->bytes, "simulated-cuda-", sizeof(uuid->bytes) - 1);
    uuid->bytes[sizeof(uuid->bytes) - 1] = (char)('0' + device);
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuDeviceGetUuid, CUuuid *uuid, CUdevice device)
{
    return get_uuid(uuid, device);
}

SIM_ENTRY(cuDeviceGetUuid_v2, CUuuid *uuid, CUdevice device)
{
    return get_uuid(uuid, device);
}

SIM_ENTRY(cuDeviceGetPCIBusId, char *id, int bytes, CUdevice device)
{
    CUresult res = sim_call_device(device);

    if (res != CUDA_SUCCESS)
        return res;
    if (!id || bytes <= 0)
        return CUDA_ERROR_INVALID_VALUE;
    snprintf(id, (size_t)bytes, PCI_FORMAT, (unsigned)(PCI_BUS + device));
    return CUDA_SUCCESS;
}

/* The domain may be left out, and so may the function: [domain:]bus:device[.function] */
SIM_ENTRY(cuDeviceGetByPCIBusId, CUdevice *device, const char *id)
{
    unsigned domain = 0, bus, slot, function = 0;
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    if (!device || !id)
        return CUDA_ERROR_INVALID_VALUE;
    if (sscanf(id, "%x:%x:%x.%x", &domain, &bus, &slot, &function) < 3) {
        domain = 0;
        if (sscanf(id, "%x:%x.%x", &bus, &slot, &function) < 2)
            return CUDA_ERROR_INVALID_VALUE;
    }
    if (domain || slot || function || bus < PCI_BUS ||
        bus >= PCI_BUS + (unsigned)sim_device_count())
        return CUDA_ERROR_INVALID_DEVICE;
    *device = (CUdevice)(bus - PCI_BUS);
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuDeviceComputeCapability, int *major, int *minor, CUdevice device)
{
    CUresult res = sim_call_device(device);

    if (res != CUDA_SUCCESS)
        return res;
    if (!major || !minor)
        return CUDA_ERROR_INVALID_VALUE;
    *major = DEVICE_CC_MAJOR;
    *minor = DEVICE_CC_MINOR;
    return CUDA_SUCCESS;
}

struct device_properties { /* CUdevprop */
    int block_threads;
    int block_dim[3];
    int grid_dim[3];
    int block_shared_bytes;
    int const_bytes;
    int warp;
    int pitch_bytes;
    int block_registers;
    int clock_khz;
    int texture_alignment;
};

SIM_ENTRY(cuDeviceGetProperties, struct device_properties *properties, CUdevice device)
{
    CUresult res = sim_call_device(device);

    if (res != CUDA_SUCCESS)
        return res;
    if (!properties)
        return CUDA_ERROR_INVALID_VALUE;
    *properties = (struct device_properties){
        .block_threads = DEVICE_BLOCK_THREADS,
        .block_dim = {DEVICE_BLOCK_THREADS, DEVICE_BLOCK_THREADS, DEVICE_BLOCK_Z},
        .grid_dim = {DEVICE_GRID_X, DEVICE_GRID_YZ, DEVICE_GRID_YZ},
        .block_shared_bytes = DEVICE_SHARED_BYTES,
        .const_bytes = DEVICE_CONST_BYTES,
        .warp = DEVICE_WARP,
        .pitch_bytes = DEVICE_PITCH_BYTES,
        .block_registers = DEVICE_REGISTERS,
        .clock_khz = 1590000,
        .texture_alignment = 512,
    };
    return CUDA_SUCCESS;
}

/* No device reaches another one's memory. */
SIM_ENTRY(cuDeviceCanAccessPeer, int *can, CUdevice device, CUdevice peer)
{
    CUresult res = sim_call_device(device);

    if (res == CUDA_SUCCESS)
        res = sim_call_device(peer);
    if (res != CUDA_SUCCESS)
        return res;
    if (!can)
        return CUDA_ERROR_INVALID_VALUE;
    *can = 0;
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuDeviceGetP2PAttribute, int *value, int attribute, CUdevice source, CUdevice target)
{
    CUresult res = sim_call_device(source);

    if (res == CUDA_SUCCESS)
        res = sim_call_device(target);
    if (res != CUDA_SUCCESS)
        return res;
    if (!value || source == target || attribute < 1 || attribute > 5)
        return CUDA_ERROR_INVALID_VALUE;
    *value = 0;
    return CUDA_SUCCESS;
}
