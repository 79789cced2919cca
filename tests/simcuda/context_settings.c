/* Entry points: limits, caches, banks and peers of the current context. */
#include "context.h"

SIM_ENTRY(cuCtxGetLimit, size_t *value, unsigned int limit)
{
    CUcontext ctx;
    CUresult res = sim_enter(&ctx, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    if (!value)
        return CUDA_ERROR_INVALID_VALUE;
    if (limit >= CONTEXT_LIMITS)
        return CUDA_ERROR_UNSUPPORTED_LIMIT;
    *value = atomic_load(&ctx->limits[limit]);
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuCtxSetLimit, unsigned int limit, size_t value)
{
    CUcontext ctx;
    CUresult res = sim_enter(&ctx, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    if (limit >= CONTEXT_LIMITS)
        return CUDA_ERROR_UNSUPPORTED_LIMIT;
    atomic_store(&ctx->limits[limit], value);
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuCtxGetCacheConfig, int *config)
{
    CUcontext ctx;
    CUresult res = sim_enter(&ctx, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    if (!config)
        return CUDA_ERROR_INVALID_VALUE;
    *config = atomic_load(&ctx->cache_config);
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuCtxSetCacheConfig, int config)
{
    CUcontext ctx;
    CUresult res = sim_enter(&ctx, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    if (config < 0 || config > 3)
        return CUDA_ERROR_INVALID_VALUE;
    atomic_store(&ctx->cache_config, config);
    return CUDA_SUCCESS;
}

/* Banks are four bytes wide, whatever one asks for. */
SIM_ENTRY(cuCtxGetSharedMemConfig, int *config)
{
    CUresult res = sim_enter(NULL, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    if (!config)
        return CUDA_ERROR_INVALID_VALUE;
    *config = 1;
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuCtxSetSharedMemConfig, int config)
{
    CUresult res = sim_enter(NULL, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    return config >= 0 && config <= 2 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

SIM_ENTRY(cuCtxResetPersistingL2Cache, void)
{
    return sim_enter(NULL, NULL);
}

/* No device reaches another one's memory. */
SIM_ENTRY(cuCtxEnablePeerAccess, CUcontext peer, unsigned int flags)
{
    CUcontext ctx;
    CUresult res = sim_enter(&ctx, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    if (flags)
        return CUDA_ERROR_INVALID_VALUE;
    if (peer == ctx || context_check(peer) != CUDA_SUCCESS)
        return CUDA_ERROR_INVALID_CONTEXT;
    return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
}

SIM_ENTRY(cuCtxDisablePeerAccess, CUcontext peer)
{
    CUresult res = sim_enter(NULL, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    if (context_check(peer) != CUDA_SUCCESS)
        return CUDA_ERROR_INVALID_CONTEXT;
    return CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
}
