#include "unwanted.h"

#include "backend.h"
#include "driver.h"
#include "stats.h"
#include <pthread.h>
#include <stdlib.h>

struct unwanted {
    CUcontext ctx;
    CUdeviceptr base;
    size_t bytes;
    struct unwanted *next;
};

static pthread_mutex_t g_unwanted_lock = PTHREAD_MUTEX_INITIALIZER;
static struct unwanted *g_unwanted; /* g_unwanted_lock */

void unwanted_keep(CUcontext ctx, CUdeviceptr base, size_t bytes)
{
    struct unwanted *kept = malloc(sizeof(*kept));

    if (!kept)
        return;
    *kept = (struct unwanted){.ctx = ctx, .base = base, .bytes = bytes};
    pthread_mutex_lock(&g_unwanted_lock);
    kept->next = g_unwanted;
    g_unwanted = kept;
    pthread_mutex_unlock(&g_unwanted_lock);
}

CUdeviceptr unwanted_take(CUcontext ctx, size_t bytes)
{
    struct unwanted **link = &g_unwanted, *kept;
    CUdeviceptr base = 0;

    pthread_mutex_lock(&g_unwanted_lock);
    while (*link && ((*link)->ctx != ctx || (*link)->bytes != bytes))
        link = &(*link)->next;
    kept = *link;
    if (kept) {
        base = kept->base;
        *link = kept->next;
        free(kept);
    }
    pthread_mutex_unlock(&g_unwanted_lock);
    return base;
}

/* What is kept of ctx, off the list. */
static struct unwanted *take(CUcontext ctx)
{
    struct unwanted *taken = NULL, **link = &g_unwanted;

    pthread_mutex_lock(&g_unwanted_lock);
    while (*link) {
        struct unwanted *kept = *link;

        if (kept->ctx != ctx) {
            link = &kept->next;
            continue;
        }
        *link = kept->next;
        kept->next = taken;
        taken = kept;
    }
    pthread_mutex_unlock(&g_unwanted_lock);
    return taken;
}

CUresult unwanted_free(CUcontext ctx, CUdeviceptr base, size_t bytes)
{
    const struct driver *drv = driver_get();
    /* Any current context will do: where this one cannot be made it, the program's may be. */
    int pushed = stats_note(drv->cuCtxPushCurrent_v2(ctx)) == CUDA_SUCCESS;
    CUresult result = stats_note(backend_um.release(drv, base, bytes));
    CUcontext popped;

    if (pushed)
        stats_note(drv->cuCtxPopCurrent_v2(&popped));
    return result;
}

void unwanted_release(CUcontext ctx)
{
    struct unwanted *kept = take(ctx);

    while (kept) {
        struct unwanted *next = kept->next;

        unwanted_free(ctx, kept->base, kept->bytes);
        free(kept);
        kept = next;
    }
}

void unwanted_forget(CUcontext ctx)
{
    struct unwanted *kept = take(ctx);

    while (kept) {
        struct unwanted *next = kept->next;

        free(kept);
        kept = next;
    }
}
