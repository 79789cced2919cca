/* entry_context.c - start-up, and contexts that come to their end. */
#include "entry.h"

CUresult cuInit(unsigned int flags)
{
    return driver_get()->cuInit(flags);
}

CUresult cuCtxDestroy(CUcontext ctx)
{
    return driver_get()->cuCtxDestroy(ctx);
}

CUresult cuCtxDestroy_v2(CUcontext ctx)
{
    return driver_get()->cuCtxDestroy_v2(ctx);
}

CUresult cuDevicePrimaryCtxRelease(CUdevice dev)
{
    return driver_get()->cuDevicePrimaryCtxRelease(dev);
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice dev)
{
    return driver_get()->cuDevicePrimaryCtxRelease_v2(dev);
}

CUresult cuDevicePrimaryCtxReset(CUdevice dev)
{
    return driver_get()->cuDevicePrimaryCtxReset(dev);
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice dev)
{
    return driver_get()->cuDevicePrimaryCtxReset_v2(dev);
}
