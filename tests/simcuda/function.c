/* Functions: what can be asked of one, and how many of its blocks fit on a multiprocessor. */
#include "context.h"
#include "device.h"
#include "module.h"

#define REGISTERS_PER_THREAD 32 /* a plain answer: there is no register allocation here */

int kernel_default_dynamic_shared(const struct ptx_kernel *kernel)
{
    const int left = DEVICE_SHARED_BYTES - (int)ptx_kernel_static_shared_bytes(kernel);

    return left > 0 ? left : 0;
}

CUresult kernel_attribute(const struct image *image, const struct ptx_kernel *kernel, int attribute,
                          int *value)
{
    switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        *value = (int)ptx_kernel_max_threads(kernel);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
        *value = (int)ptx_kernel_static_shared_bytes(kernel);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
        *value = 0;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
        *value = REGISTERS_PER_THREAD;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
        *value = image->ptx_version;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
        *value = DEVICE_CC_MAJOR * 10 + DEVICE_CC_MINOR;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA:
        *value = 0;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        *value = kernel_default_dynamic_shared(kernel);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
        *value = -1;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult kernel_param_info(const struct ptx_kernel *kernel, size_t index, size_t *offset,
                           size_t *bytes)
{
    const struct ptx_param *params;
    size_t count = ptx_kernel_params(kernel, &params);

    if (!sim_setting(SIM_PARAM_INFO))
        return CUDA_ERROR_NOT_SUPPORTED;
    if (!offset || index >= count)
        return CUDA_ERROR_INVALID_VALUE;
    *offset = params[index].offset;
    if (bytes)
        *bytes = params[index].bytes;
    return CUDA_SUCCESS;
}

CUresult kernel_check_dynamic_shared(const struct ptx_kernel *kernel, int bytes)
{
    const int most = DEVICE_SHARED_OPTIN_BYTES - (int)ptx_kernel_static_shared_bytes(kernel);

    return bytes >= 0 && bytes <= most ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult function_resolve(CUfunction handle, CUcontext ctx, CUfunction *out)
{
    CUmodule module;
    CUkernel kernel;
    CUresult res;

    if (handle_is(handle, HANDLE_FUNCTION)) {
        *out = handle;
        return handle->module->ctx == ctx ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
    }
    if (!handle_is(handle, HANDLE_KERNEL))
        return CUDA_ERROR_INVALID_HANDLE;
    kernel = (CUkernel)handle;
    res = library_module(kernel->library, ctx, &module);
    if (res == CUDA_SUCCESS)
        *out = module->functions[kernel->index];
    return res;
}

static CUresult enter_function(CUfunction function)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    return handle_is(function, HANDLE_FUNCTION) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

SIM_ENTRY(cuFuncGetAttribute, int *value, CUfunction_attribute attribute, CUfunction function)
{
    CUresult res = enter_function(function);

    if (res != CUDA_SUCCESS)
        return res;
    if (!value)
        return CUDA_ERROR_INVALID_VALUE;
    if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
        *value = atomic_load(&function->dynamic_shared_bytes);
        return CUDA_SUCCESS;
    }
    if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) {
        *value = atomic_load(&function->carveout);
        return CUDA_SUCCESS;
    }
    return kernel_attribute(function->module->image, function->kernel, (int)attribute, value);
}

SIM_ENTRY(cuFuncSetAttribute, CUfunction function, CUfunction_attribute attribute, int value)
{
    CUresult res = enter_function(function);

    if (res != CUDA_SUCCESS)
        return res;
    switch ((int)attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        res = kernel_check_dynamic_shared(function->kernel, value);
        if (res == CUDA_SUCCESS)
            atomic_store(&function->dynamic_shared_bytes, value);
        return res;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
        if (value < -1 || value > 100)
            return CUDA_ERROR_INVALID_VALUE;
        atomic_store(&function->carveout, value);
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

SIM_ENTRY(cuFuncSetCacheConfig, CUfunction function, int config)
{
    CUresult res = enter_function(function);

    if (res != CUDA_SUCCESS)
        return res;
    return config >= 0 && config <= 3 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

SIM_ENTRY(cuFuncSetSharedMemConfig, CUfunction function, int config)
{
    CUresult res = enter_function(function);

    if (res != CUDA_SUCCESS)
        return res;
    return config >= 0 && config <= 2 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

SIM_ENTRY(cuFuncGetModule, CUmodule *module, CUfunction function)
{
    CUresult res = enter_function(function);

    if (res != CUDA_SUCCESS)
        return res;
    if (!module)
        return CUDA_ERROR_INVALID_VALUE;
    *module = function->module;
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuFuncGetName, const char **name, CUfunction function)
{
    CUresult res = enter_function(function);

    if (res != CUDA_SUCCESS)
        return res;
    if (!name)
        return CUDA_ERROR_INVALID_VALUE;
    *name = ptx_kernel_name(function->kernel);
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuFuncGetParamInfo, CUfunction function, size_t index, size_t *offset, size_t *bytes)
{
    CUresult res = enter_function(function);

    return res == CUDA_SUCCESS ? kernel_param_info(function->kernel, index, offset, bytes) : res;
}

#define STATE_LOADED 1 /* CUfunctionLoadingState */

/* Everything is loaded with its module. */
SIM_ENTRY(cuFuncIsLoaded, int *state, CUfunction function)
{
    CUresult res = enter_function(function);

    if (res != CUDA_SUCCESS)
        return res;
    if (!state)
        return CUDA_ERROR_INVALID_VALUE;
    *state = STATE_LOADED;
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuFuncLoad, CUfunction function)
{
    return enter_function(function);
}

/* Occupancy
 * ---------------------------------------------------------------------------------------*/

static int at_most(int value, int limit)
{
    return value < limit ? value : limit;
}

/* Threads, shared memory and registers each allow some. */
int kernel_blocks_per_multiprocessor(const struct ptx_kernel *kernel, int threads, size_t dynamic)
{
    const size_t shared = ptx_kernel_static_shared_bytes(kernel) + dynamic;
    const int warps = (threads + DEVICE_WARP - 1) / DEVICE_WARP;
    const int rounded = warps * DEVICE_WARP;
    int blocks = DEVICE_SM_BLOCKS;

    if (threads > (int)ptx_kernel_max_threads(kernel) || shared > DEVICE_SHARED_OPTIN_BYTES)
        return 0;
    blocks = at_most(blocks, DEVICE_SM_THREADS / rounded);
    blocks = at_most(blocks, DEVICE_REGISTERS / (rounded * REGISTERS_PER_THREAD));
    if (shared)
        blocks = at_most(blocks, (int)(DEVICE_SM_SHARED_BYTES / shared));
    return blocks;
}

/* A kernel stands in for its function in these questions too. */
static CUresult enter_occupancy(CUfunction handle, CUfunction *function)
{
    CUcontext ctx;
    CUresult res = sim_enter(&ctx, NULL);

    return res == CUDA_SUCCESS ? function_resolve(handle, ctx, function) : res;
}

static CUresult max_active_blocks(int *blocks, CUfunction function, int threads, size_t dynamic)
{
    CUresult res = enter_occupancy(function, &function);

    if (res != CUDA_SUCCESS)
        return res;
    if (!blocks || threads <= 0)
        return CUDA_ERROR_INVALID_VALUE;
    *blocks = kernel_blocks_per_multiprocessor(function->kernel, threads, dynamic);
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuOccupancyMaxActiveBlocksPerMultiprocessor, int *blocks, CUfunction function,
          int threads, size_t dynamic)
{
    return max_active_blocks(blocks, function, threads, dynamic);
}

SIM_ENTRY(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags, int *blocks, CUfunction function,
          int threads, size_t dynamic, unsigned int flags)
{
    if (flags > 1)
        return CUDA_ERROR_INVALID_VALUE;
    return max_active_blocks(blocks, function, threads, dynamic);
}

typedef size_t (*block_to_shared)(int threads); /* CUoccupancyB2DSize */

/* The block size that keeps the most threads on a multiprocessor; of equals the larger one. */
static CUresult max_potential_block(int *grid, int *block, CUfunction function,
                                    block_to_shared shared_of, size_t dynamic, int limit)
{
    CUresult res = enter_occupancy(function, &function);
    int best_threads = 0, threads;

    if (res != CUDA_SUCCESS)
        return res;
    if (!grid || !block || limit < 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (limit == 0 || limit > (int)ptx_kernel_max_threads(function->kernel))
        limit = (int)ptx_kernel_max_threads(function->kernel);
    *block = *grid = 0;
    for (threads = limit; threads > 0; threads = (threads - 1) / DEVICE_WARP * DEVICE_WARP) {
        size_t shared = shared_of ? shared_of(threads) : dynamic;
        int blocks = kernel_blocks_per_multiprocessor(function->kernel, threads, shared);

        if (blocks * threads > best_threads) {
            best_threads = blocks * threads;
            *block = threads;
            *grid = blocks * DEVICE_MULTIPROCESSORS;
        }
    }
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuOccupancyMaxPotentialBlockSize, int *grid, int *block, CUfunction function,
          block_to_shared shared_of, size_t dynamic, int limit)
{
    return max_potential_block(grid, block, function, shared_of, dynamic, limit);
}

SIM_ENTRY(cuOccupancyMaxPotentialBlockSizeWithFlags, int *grid, int *block, CUfunction function,
          block_to_shared shared_of, size_t dynamic, int limit, unsigned int flags)
{
    if (flags > 1)
        return CUDA_ERROR_INVALID_VALUE;
    return max_potential_block(grid, block, function, shared_of, dynamic, limit);
}

SIM_ENTRY(cuOccupancyAvailableDynamicSMemPerBlock, size_t *bytes, CUfunction function, int blocks,
          int threads)
{
    CUresult res = enter_occupancy(function, &function);
    size_t fixed, share;

    if (res != CUDA_SUCCESS)
        return res;
    if (!bytes || blocks <= 0 || threads <= 0)
        return CUDA_ERROR_INVALID_VALUE;
    fixed = ptx_kernel_static_shared_bytes(function->kernel);
    share = (size_t)(DEVICE_SM_SHARED_BYTES / blocks);
    *bytes = share > fixed ? share - fixed : 0;
    return CUDA_SUCCESS;
}
