/* The primary context of each device: shared by everything in the process that asks for it. */
#include "context.h"

#define KNOWN_FLAGS 0x1Fu /* scheduling, MAP_HOST, LMEM_RESIZE_TO_MAX */

/* Its handle is the same through all its lives. All of it: g_primary_lock, which is outside the
 * driver lock and is held across a whole change of state. */
static struct primary {
    CUcontext ctx;       /* NULL before the first retain */
    unsigned references; /* 0: not active */
    unsigned flags;      /* for the next life */
} g_primaries[SIM_DEVICES_MAX];

static pthread_mutex_t g_primary_lock = PTHREAD_MUTEX_INITIALIZER;

static CUresult primary_activate(struct primary *primary, int device)
{
    CUresult res;

    if (!primary->ctx) {
        primary->ctx = context_new();
        if (!primary->ctx)
            return CUDA_ERROR_OUT_OF_MEMORY;
        primary->ctx->is_primary = 1;
    }
    if (primary->references == 0) {
        res = context_open(primary->ctx, device, primary->flags);
        if (res != CUDA_SUCCESS)
            return res;
    }
    primary->references++;
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuDevicePrimaryCtxRetain, CUcontext *out, CUdevice device)
{
    CUresult res = sim_call_device(device);

    if (res != CUDA_SUCCESS)
        return res;
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&g_primary_lock);
    res = primary_activate(&g_primaries[device], device);
    if (res == CUDA_SUCCESS)
        *out = g_primaries[device].ctx;
    pthread_mutex_unlock(&g_primary_lock);
    return res;
}

static CUresult release(CUdevice device)
{
    CUresult res = sim_call_device(device);
    struct primary *primary;

    if (res != CUDA_SUCCESS)
        return res;
    pthread_mutex_lock(&g_primary_lock);
    primary = &g_primaries[device];
    if (primary->references == 0)
        res = CUDA_ERROR_INVALID_CONTEXT;
    else if (--primary->references == 0)
        context_close(primary->ctx);
    pthread_mutex_unlock(&g_primary_lock);
    return res;
}

SIM_ENTRY(cuDevicePrimaryCtxRelease_v2, CUdevice device)
{
    return release(device);
}

SIM_ENTRY(cuDevicePrimaryCtxRelease, CUdevice device)
{
    return release(device);
}

/* Ends the life of the context whoever holds it; a fault outlives it. */
static CUresult reset(CUdevice device)
{
    CUresult res = sim_call_device(device);

    if (res != CUDA_SUCCESS)
        return res;
    pthread_mutex_lock(&g_primary_lock);
    if (g_primaries[device].references) {
        g_primaries[device].references = 0;
        context_close(g_primaries[device].ctx);
    }
    pthread_mutex_unlock(&g_primary_lock);
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuDevicePrimaryCtxReset_v2, CUdevice device)
{
    return reset(device);
}

SIM_ENTRY(cuDevicePrimaryCtxReset, CUdevice device)
{
    return reset(device);
}

static CUresult set_flags(CUdevice device, unsigned flags)
{
    CUresult res = sim_call_device(device);

    if (res != CUDA_SUCCESS)
        return res;
    if (flags & ~KNOWN_FLAGS)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&g_primary_lock);
    g_primaries[device].flags = flags;
    if (g_primaries[device].references) {
        driver_lock();
        g_primaries[device].ctx->flags = flags;
        driver_unlock();
    }
    pthread_mutex_unlock(&g_primary_lock);
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuDevicePrimaryCtxSetFlags_v2, CUdevice device, unsigned int flags)
{
    return set_flags(device, flags);
}

SIM_ENTRY(cuDevicePrimaryCtxSetFlags, CUdevice device, unsigned int flags)
{
    return set_flags(device, flags);
}

SIM_ENTRY(cuDevicePrimaryCtxGetState, CUdevice device, unsigned int *flags, int *active)
{
    CUresult res = sim_call_device(device);

    if (res != CUDA_SUCCESS)
        return res;
    if (!flags || !active)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&g_primary_lock);
    *flags = g_primaries[device].flags;
    *active = g_primaries[device].references != 0;
    pthread_mutex_unlock(&g_primary_lock);
    return CUDA_SUCCESS;
}
