#include "deferred.h"
#include "range.h"
#include "stats.h"
#include "stream_id.h"
#include <pthread.h>
#include <stdlib.h>

struct deferred {
    CUdeviceptr base;         /* 0: its memory has gone */
    CUevent event;            /* NULL: it has gone, with its context */
    CUcontext ctx;            /* of the memory */
    struct stream_id stream;  /* that it was freed on */
    struct context_hold hold; /* on the stream's context, once off the list, while there is an event
                               */
    struct deferred *next;
};

#define STREAMS_SEEN 16 /* whose later frees are not asked for */

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static struct deferred *g_deferred, **g_tail = &g_deferred; /* g_lock; in the order of the frees */

/* returns 0 when the allocation is leaving already, or has gone */
static int mark_leaving(CUdeviceptr base)
{
    struct allocation *a;
    int marked = 0;

    range_write_lock();
    a = range_allocation_at(base);
    if (a && a->base == base && !a->leaving)
        marked = a->leaving = 1;
    range_unlock();
    return marked;
}

/* Where no event can tell when the stream is there. The stream alone is waited for: another one may
 * be held up by what this very thread does next. */
static CUresult free_behind_stream(CUdeviceptr base, CUstream stream)
{
    CUresult result = driver_get()->cuStreamSynchronize(stream);

    if (result != CUDA_SUCCESS)
        return result;
    if (!mark_leaving(base))
        return CUDA_ERROR_INVALID_VALUE;
    range_retire(base);
    return CUDA_SUCCESS;
}

CUresult deferred_free(CUdeviceptr base, CUcontext ctx, CUstream stream, int *paged)
{
    const struct driver *drv = driver_get();
    struct deferred *d = calloc(1, sizeof(*d));
    CUcontext current = NULL;
    CUresult result;

    *paged = 1;
    if (!d)
        return CUDA_ERROR_OUT_OF_MEMORY;
    d->base = base;
    d->ctx = ctx;
    stats_note(drv->cuCtxGetCurrent(&current));
    d->stream = stream_id_of(stream, current);
    result = drv->cuEventCreate(&d->event, CU_EVENT_DISABLE_TIMING);
    if (result == CUDA_SUCCESS)
        result = drv->cuEventRecord(d->event, stream);
    /* An event of this thread's context cannot mark a stream of another. */
    if (result != CUDA_ERROR_INVALID_HANDLE)
        stats_note(result);
    if (result != CUDA_SUCCESS || !mark_leaving(base)) {
        if (d->event)
            stats_note(drv->cuEventDestroy_v2(d->event));
        free(d);
        if (result == CUDA_SUCCESS)
            return CUDA_ERROR_INVALID_VALUE; /* freed before */
        return free_behind_stream(base, stream);
    }
    pthread_mutex_lock(&g_lock);
    *g_tail = d;
    g_tail = &d->next;
    pthread_mutex_unlock(&g_lock);
    deferred_retire();
    return CUDA_SUCCESS;
}

/* What each of a list waited for is over. */
static void finish(struct deferred *done)
{
    while (done) {
        struct deferred *next = done->next;

        if (done->base)
            range_retire(done->base);
        if (done->event) {
            stats_note(driver_get()->cuEventDestroy_v2(done->event));
            context_let_go(&done->hold);
        }
        free(done);
        done = next;
    }
}

/* Take the entry that link leads to off the list. g_lock is held. */
static struct deferred *take_off(struct deferred **link)
{
    struct deferred *d = *link;

    *link = d->next;
    if (!*link)
        g_tail = link;
    return d;
}

/* Has the event come? Then its context is held. One whose context is coming to its end cannot be
 * asked. g_lock is held. */
static CUresult query(struct deferred *d)
{
    CUresult result;

    if (!context_hold(&d->hold, d->stream.ctx))
        return CUDA_ERROR_NOT_READY;
    result = stats_note(driver_get()->cuEventQuery(d->event));
    if (result != CUDA_SUCCESS)
        context_let_go(&d->hold);
    return result;
}

/* What is queued on a stream behind work that has not run has not run either. */
void deferred_retire(void)
{
    struct deferred *done = NULL, **link = &g_deferred;
    const struct stream_id *busy[STREAMS_SEEN];
    size_t busy_count = 0;

    pthread_mutex_lock(&g_lock);
    while (*link) {
        struct deferred *d = *link;
        CUresult result = CUDA_ERROR_NOT_READY;
        size_t i = 0;

        while (i < busy_count && !stream_id_is(&d->stream, busy[i]))
            i++;
        if (i == busy_count)
            result = query(d);
        if (result == CUDA_SUCCESS) {
            take_off(link);
            d->next = done;
            done = d;
            continue;
        }
        if (result == CUDA_ERROR_NOT_READY && i == busy_count && busy_count < STREAMS_SEEN)
            busy[busy_count++] = &d->stream;
        link = &d->next;
    }
    pthread_mutex_unlock(&g_lock);
    finish(done);
}

CUresult deferred_synchronize(CUcontext ctx)
{
    const struct driver *drv = driver_get();
    CUcontext current = NULL;
    CUresult result;

    stats_note(drv->cuCtxGetCurrent(&current));
    if (current == ctx)
        return drv->cuCtxSynchronize();
    result = drv->cuCtxPushCurrent_v2(ctx);
    if (result != CUDA_SUCCESS)
        return result;
    result = drv->cuCtxSynchronize();
    stats_note(drv->cuCtxPopCurrent_v2(&current));
    return result;
}

void deferred_add_contexts(struct context_set *set)
{
    pthread_mutex_lock(&g_lock);
    for (const struct deferred *d = g_deferred; d; d = d->next) {
        context_set_add(set, d->stream.ctx);
        context_set_add(set, d->ctx);
    }
    pthread_mutex_unlock(&g_lock);
}

void deferred_drop_context(CUcontext ctx)
{
    struct deferred *done = NULL;

    pthread_mutex_lock(&g_lock);
    for (struct deferred **link = &g_deferred; *link;) {
        struct deferred *d = *link;

        if (d->ctx != ctx && d->stream.ctx != ctx) {
            link = &d->next;
            continue;
        }
        take_off(link);
        d->next = done;
        done = d;
        if (d->stream.ctx == ctx || !context_hold(&d->hold, d->stream.ctx))
            d->event = NULL; /* another context's, which is coming to its end, goes with that */
        if (d->ctx == ctx)
            d->base = 0; /* its address may be another allocation's by now */
    }
    pthread_mutex_unlock(&g_lock);
    finish(done);
}
