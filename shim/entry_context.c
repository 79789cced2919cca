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
    layout_context_destroyed(ctx);
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

static void go_on(const int paused[STATS_DEVICES_MAX])
{
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
    context_wait_left(ctx); /* before a pager goes on: where the context stays it has work there */
    go_on(paused);
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

/* What is put into a new context is not what the end of another is about to forget. */
static CUresult created(CUresult result, const CUcontext *ctx)
{
    if (result == CUDA_SUCCESS && !entry_is_passive())
        context_wait_new(*ctx);
    return result;
}

CUresult cuCtxCreate(CUcontext *out, unsigned int flags, CUdevice dev)
{
    return created(driver_get()->cuCtxCreate(out, flags, dev), out);
}

CUresult cuCtxCreate_v2(CUcontext *out, unsigned int flags, CUdevice dev)
{
    return created(driver_get()->cuCtxCreate_v2(out, flags, dev), out);
}

CUresult cuCtxCreate_v3(CUcontext *out, struct CUexecAffinityParam_st *params, int count,
                        unsigned int flags, CUdevice dev)
{
    return created(driver_get()->cuCtxCreate_v3(out, params, count, flags, dev), out);
}

CUresult cuCtxCreate_v4(CUcontext *out, struct CUctxCreateParams_st *params, unsigned int flags,
                        CUdevice dev)
{
    return created(driver_get()->cuCtxCreate_v4(out, params, flags, dev), out);
}

/* Longer than anything takes but to wait for work of the program's. */
#define PRIMARY_PATIENCE_NS 10000000000ull

CUresult cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice dev)
{
    CUresult result;

    if (entry_is_passive())
        return driver_get()->cuDevicePrimaryCtxRetain(out, dev);
    context_primary_begins(dev, PRIMARY_PATIENCE_NS);
    result = driver_get()->cuDevicePrimaryCtxRetain(out, dev);
    context_primary_begun(dev);
    return result;
}

static int is_active(CUdevice dev)
{
    unsigned int flags;
    int active = 0;

    return stats_note(driver_get()->cuDevicePrimaryCtxGetState(dev, &flags, &active)) ==
               CUDA_SUCCESS &&
           active;
}

/* A life of a primary context. */
struct life {
    CUcontext ctx;         /* NULL: there is none */
    unsigned long long id; /* another one in each life; 0 where the driver does not tell */
};

static unsigned long long life_id(CUcontext ctx)
{
    const struct driver *drv = driver_get();
    unsigned long long id = 0;

    if (!drv->cuCtxGetId || stats_note(drv->cuCtxGetId(ctx, &id)) != CUDA_SUCCESS)
        return 0;
    return id;
}

/* Holding the primary context of a device once more for a moment tells which one it is; an end of
 * it in between would not look like one. */
static struct life find_life(CUdevice dev)
{
    const struct driver *drv = driver_get();
    struct life life = {NULL, 0};

    context_primary_begins(dev, PRIMARY_PATIENCE_NS);
    if (is_active(dev) &&
        stats_note(drv->cuDevicePrimaryCtxRetain(&life.ctx, dev)) == CUDA_SUCCESS) {
        life.id = life_id(life.ctx);
        stats_note(drv->cuDevicePrimaryCtxRelease_v2(dev));
    }
    context_primary_begun(dev);
    return life;
}

/* Has a release ended it? Mostly no other can have begun meanwhile. */
static int is_over(CUdevice dev, const struct life *life)
{
    unsigned long long id = 0;

    if (!is_active(dev))
        return 1;
    if (life->id)
        id = life_id(life->ctx);
    return id && id != life->id;
}

enum primary_end {
    PRIMARY_RELEASE, /* it is counted, and goes with its last release */
    PRIMARY_RESET,   /* nothing in it is left, whoever holds it */
};

static CUresult end_primary(CUdevice dev, enum primary_end kind, CUresult (*end)(CUdevice))
{
    struct life life = {NULL, 0};
    int paused[STATS_DEVICES_MAX];
    CUresult result;

    if (!entry_is_passive())
        life = find_life(dev);
    if (!life.ctx)
        return end(dev);
    context_primary_ends(dev, PRIMARY_PATIENCE_NS);
    leave(life.ctx, RELEASE_PATIENCE_NS, paused);
    result = end(dev);
    if (result == CUDA_SUCCESS && (kind == PRIMARY_RESET || is_over(dev, &life)))
        forget(life.ctx);
    context_wait_left(life.ctx);
    context_primary_ended(dev);
    go_on(paused);
    return result;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice dev)
{
    return end_primary(dev, PRIMARY_RELEASE, driver_get()->cuDevicePrimaryCtxRelease);
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice dev)
{
    return end_primary(dev, PRIMARY_RELEASE, driver_get()->cuDevicePrimaryCtxRelease_v2);
}

CUresult cuDevicePrimaryCtxReset(CUdevice dev)
{
    return end_primary(dev, PRIMARY_RESET, driver_get()->cuDevicePrimaryCtxReset);
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice dev)
{
    return end_primary(dev, PRIMARY_RESET, driver_get()->cuDevicePrimaryCtxReset_v2);
}
