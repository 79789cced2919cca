/* entry_context.c - start-up, and contexts that are waited for or come to their end. */
#include "config.h"
#include "context_wait.h"
#include "entry.h"
#include "launch.h"
#include "layout.h"
#include "range.h"
#include "residency.h"
#include "stats.h"
#include <stdio.h>
#include <string.h>

static void open_stats(const struct driver *drv)
{
    const char *name = strrchr(drv->path, '/');
    char text[256];
    int version = 0;

    drv->cuDriverGetVersion(&version);
    snprintf(text, sizeof(text), "%s %d", name ? name + 1 : drv->path, version);
    stats_open(text, config()->off ? "off" : "um", config()->stats_path);
}

/* The process ends in an orderly way: the pager makes no further call into a driver that may be on
 * its way out, and the counters are left behind. */
__attribute__((destructor)) static void end_process(void)
{
    if (entry_is_passive())
        return;
    residency_stop();
    launch_tell_touches();
    stats_close();
}

CUresult cuInit(unsigned int flags)
{
    const struct driver *drv = driver_get();
    CUresult result = drv->cuInit(flags);

    if (result == CUDA_SUCCESS && !entry_is_passive())
        open_stats(drv);
    return result;
}

/* The program has waited for a context, whatever else it does with it: what is kept of it may go.
 */
static CUresult waited(CUresult result, CUcontext ctx)
{
    if (result != CUDA_SUCCESS || entry_is_passive() || config()->off)
        return result;
    if (ctx || (stats_note(driver_get()->cuCtxGetCurrent(&ctx)) == CUDA_SUCCESS && ctx))
        range_waited(ctx);
    return result;
}

CUresult cuCtxSynchronize(void)
{
    return waited(driver_get()->cuCtxSynchronize(), NULL);
}

CUresult cuCtxSynchronize_v2(CUcontext ctx)
{
    return waited(driver_get()->cuCtxSynchronize_v2(ctx), ctx);
}

/* A release of the primary context may be no end of it, and then waits for nothing. */
#define RELEASE_PATIENCE_NS 2000000000ull

/* A context has gone, with all that was allocated and created in it. */
static void forget(CUcontext ctx)
{
    range_context_destroyed(ctx);
    residency_context_destroyed(ctx, 1);
}

/* Nothing of ours asks anything of ctx between these two. Which device it is on cannot be asked,
 * and what is on others may be used in it, so the pagers of all of them let go.
 *
 * paused   set to which those are
 */
static void leave(CUcontext ctx, uint64_t patience_ns, int paused[STATS_DEVICES_MAX])
{
    context_wait_leave(ctx, patience_ns);
    for (CUdevice dev = 0; dev < (CUdevice)STATS_DEVICES_MAX; dev++)
        paused[dev] = residency_pause(dev);
    layout_forget_all(); /* its modules go with it: their functions' handles may come again */
}

static void go_on(CUcontext ctx, const int paused[STATS_DEVICES_MAX])
{
    context_wait_left(ctx); /* before a pager goes on: where the context stays it has work there */
    for (CUdevice dev = 0; dev < (CUdevice)STATS_DEVICES_MAX; dev++)
        if (paused[dev])
            residency_resume(dev);
}

/* What was resident in ctx counts until it has ended, and for ever when the driver refuses. */
static CUresult end_context(CUcontext ctx, CUresult (*end)(CUcontext))
{
    int paused[STATS_DEVICES_MAX];
    CUresult result;

    if (entry_is_passive())
        return end(ctx);
    leave(ctx, CONTEXT_WAIT_ENDS, paused); /* which waits for its work, as the driver does */
    result = end(ctx);
    if (result == CUDA_SUCCESS)
        forget(ctx);
    go_on(ctx, paused);
    return result;
}

CUresult cuCtxDestroy(CUcontext ctx)
{
    return end_context(ctx, driver_get()->cuCtxDestroy);
}

CUresult cuCtxDestroy_v2(CUcontext ctx)
{
    return end_context(ctx, driver_get()->cuCtxDestroy_v2);
}

/* The primary context is counted: it goes with its last release. Holding it once more for a moment
 * tells which one it is. */
static CUresult end_primary(CUdevice dev, CUresult (*end)(CUdevice))
{
    const struct driver *drv = driver_get();
    CUcontext primary = NULL;
    unsigned int flags;
    int active = 0, paused[STATS_DEVICES_MAX];
    CUresult result;

    if (entry_is_passive() || stats_note(drv->cuDevicePrimaryCtxGetState(dev, &flags, &active)) ||
        !active || stats_note(drv->cuDevicePrimaryCtxRetain(&primary, dev)))
        return end(dev);
    stats_note(drv->cuDevicePrimaryCtxRelease_v2(dev));
    leave(primary, RELEASE_PATIENCE_NS, paused);
    result = end(dev);
    if (result == CUDA_SUCCESS &&
        (stats_note(drv->cuDevicePrimaryCtxGetState(dev, &flags, &active)) || !active))
        forget(primary);
    go_on(primary, paused);
    return result;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice dev)
{
    return end_primary(dev, driver_get()->cuDevicePrimaryCtxRelease);
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice dev)
{
    return end_primary(dev, driver_get()->cuDevicePrimaryCtxRelease_v2);
}

CUresult cuDevicePrimaryCtxReset(CUdevice dev)
{
    return end_primary(dev, driver_get()->cuDevicePrimaryCtxReset);
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice dev)
{
    return end_primary(dev, driver_get()->cuDevicePrimaryCtxReset_v2);
}
