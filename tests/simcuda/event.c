/* Events: each names the point of a stream that it was recorded at last. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "context.h"
#include "pace.h"
#include "stream.h"

#define EVENT_INTERPROCESS 0x4u

struct CUevent_st {
    struct handle handle;
    CUcontext ctx;
    unsigned flags;
    struct mark *mark;               /* a reference; NULL before the first record; queue lock */
    struct CUevent_st *next, **link; /* in the context's list; queue lock */
};

SIM_ENTRY(cuEventCreate, CUevent *out, unsigned int flags)
{
    const unsigned known = CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING;
    CUevent event;
    CUcontext ctx;
    CUresult res;

    res = sim_enter(&ctx, NULL);
    if (res != CUDA_SUCCESS)
        return res;
    if (flags & EVENT_INTERPROCESS)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (!out || (flags & ~known))
        return CUDA_ERROR_INVALID_VALUE;
    event = handle_create(HANDLE_EVENT, sizeof(*event));
    if (!event)
        return CUDA_ERROR_OUT_OF_MEMORY;
    event->ctx = ctx;
    event->flags = flags;

    queue_lock();
    event->next = ctx->events;
    event->link = &ctx->events;
    if (event->next)
        event->next->link = &event->next;
    ctx->events = event;
    queue_unlock();
    *out = event;
    return CUDA_SUCCESS;
}

/* Queue lock held. Work that records it goes on with the mark alone. */
static void event_remove_locked(CUevent event)
{
    *event->link = event->next;
    if (event->next)
        event->next->link = event->link;
    if (event->mark)
        mark_unref_locked(event->mark);
    handle_destroy(event, HANDLE_EVENT);
}

void event_close_context(CUcontext ctx)
{
    queue_lock();
    while (ctx->events)
        event_remove_locked(ctx->events);
    queue_unlock();
}

static CUresult destroy(CUevent event)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    if (!handle_is(event, HANDLE_EVENT))
        return CUDA_ERROR_INVALID_HANDLE;
    queue_lock();
    event_remove_locked(event);
    queue_unlock();
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuEventDestroy_v2, CUevent event)
{
    return destroy(event);
}

SIM_ENTRY(cuEventDestroy, CUevent event)
{
    return destroy(event);
}

/* Recording
 * ---------------------------------------------------------------------------------------*/

static int mark_stamp(void *arg)
{
    struct mark *mark = arg;
    struct timespec now;

    if (pace_is_on()) {
        mark->time_ns = pace_work_ns();
        return 0;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    mark->time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return 0;
}

static void mark_release(void *arg)
{
    queue_lock();
    mark_unref_locked(arg);
    queue_unlock();
}

/* Give the event the mark in place of the one it had. Queue lock held. */
static CUresult record_locked(CUevent event, CUstream stream, struct mark *mark)
{
    struct work_spec spec = {
        .run = mark_stamp, .arg = mark, .release = mark_release, .flags = WORK_ALWAYS};
    CUresult res;

    res = stream_queue_locked(stream, &spec, &mark->point);
    if (res != CUDA_SUCCESS)
        return res;
    mark->stream = stream;
    mark->references = 2; /* the event's and the work's */
    stream->references++;
    if (event->mark)
        mark_unref_locked(event->mark);
    event->mark = mark;
    return CUDA_SUCCESS;
}

static CUresult event_check(CUevent event)
{
    if (!handle_is(event, HANDLE_EVENT))
        return CUDA_ERROR_INVALID_HANDLE;
    return (CUresult)atomic_load(&event->ctx->sticky);
}

static CUresult record(CUevent event, CUstream stream)
{
    struct mark *mark;
    CUresult res;

    res = stream_enter(stream, &stream);
    if (res != CUDA_SUCCESS)
        return res;
    res = event_check(event);
    if (res != CUDA_SUCCESS)
        return res;
    if (event->ctx != stream->ctx)
        return CUDA_ERROR_INVALID_HANDLE;
    mark = calloc(1, sizeof(*mark));
    if (!mark)
        return CUDA_ERROR_OUT_OF_MEMORY;
    queue_lock();
    res = record_locked(event, stream, mark);
    queue_unlock();
    if (res != CUDA_SUCCESS)
        free(mark);
    return res;
}
SIM_ENTRY_PTSZ(cuEventRecord, (CUevent event, CUstream stream), record(event, stream))

/* The one flag says how a capture takes the record; outside of one it changes nothing. */
static CUresult record_with_flags(CUevent event, CUstream stream, unsigned flags)
{
    return flags > 1 ? CUDA_ERROR_INVALID_VALUE : record(event, stream);
}
SIM_ENTRY_PTSZ(cuEventRecordWithFlags, (CUevent event, CUstream stream, unsigned int flags),
               record_with_flags(event, stream, flags))

/* Waiting
 * -----------------------------------------------------------------------------------------*/

/* The event's mark as it is now, with a reference; NULL when it was never recorded. */
static struct mark *event_mark(CUevent event)
{
    struct mark *mark;

    queue_lock();
    mark = event->mark;
    if (mark)
        mark->references++;
    queue_unlock();
    return mark;
}

SIM_ENTRY(cuEventQuery, CUevent event)
{
    CUresult res = sim_call();
    int reached;

    if (res == CUDA_SUCCESS)
        res = event_check(event);
    if (res != CUDA_SUCCESS)
        return res;
    queue_lock();
    reached = !event->mark || stream_reached(event->mark->stream, event->mark->point);
    queue_unlock();
    return reached ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

SIM_ENTRY(cuEventSynchronize, CUevent event)
{
    CUresult res = sim_enter(NULL, NULL);
    struct mark *mark;
    CUcontext ctx;

    if (res == CUDA_SUCCESS)
        res = event_check(event);
    if (res != CUDA_SUCCESS)
        return res;
    ctx = event->ctx;
    mark = event_mark(event);
    if (mark) {
        stream_wait(mark->stream, mark->point);
        mark_release(mark);
    }
    return (CUresult)atomic_load(&ctx->sticky);
}

/* What the event stands at now is waited for; recording it again later does not matter. */
static CUresult wait_event(CUstream stream, CUevent event, unsigned flags)
{
    struct work_spec spec = {.run = NULL};
    CUresult res;

    res = stream_enter(stream, &stream);
    if (res != CUDA_SUCCESS)
        return res;
    res = event_check(event);
    if (res != CUDA_SUCCESS)
        return res;
    if (flags > 1)
        return CUDA_ERROR_INVALID_VALUE;
    queue_lock();
    spec.after = event->mark;
    if (spec.after && !stream_reached(spec.after->stream, spec.after->point))
        res = stream_queue_locked(stream, &spec, NULL);
    queue_unlock();
    return res;
}
SIM_ENTRY_PTSZ(cuStreamWaitEvent, (CUstream stream, CUevent event, unsigned int flags),
               wait_event(stream, event, flags))

/* Time
 * --------------------------------------------------------------------------------------------*/

/* When the event happened. returns 0; 400 when it has no time or was not recorded; 600 */
static CUresult event_time(CUevent event, uint64_t *time_ns)
{
    struct mark *mark;
    int reached;

    if (event->flags & CU_EVENT_DISABLE_TIMING)
        return CUDA_ERROR_INVALID_HANDLE;
    mark = event_mark(event);
    if (!mark)
        return CUDA_ERROR_INVALID_HANDLE;
    reached = stream_reached(mark->stream, mark->point);
    if (reached)
        *time_ns = mark->time_ns;
    mark_release(mark);
    return reached ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

static CUresult elapsed_time(float *milliseconds, CUevent start, CUevent end)
{
    uint64_t start_ns, end_ns;
    CUresult res;

    res = sim_enter(NULL, NULL);
    if (res == CUDA_SUCCESS)
        res = event_check(start);
    if (res == CUDA_SUCCESS)
        res = event_check(end);
    if (res != CUDA_SUCCESS)
        return res;
    if (!milliseconds)
        return CUDA_ERROR_INVALID_VALUE;
    if (start->ctx != end->ctx)
        return CUDA_ERROR_INVALID_HANDLE;
    res = event_time(start, &start_ns);
    if (res == CUDA_SUCCESS)
        res = event_time(end, &end_ns);
    if (res != CUDA_SUCCESS)
        return res;
    *milliseconds = (float)((double)(int64_t)(end_ns - start_ns) / 1e6);
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuEventElapsedTime, float *milliseconds, CUevent start, CUevent end)
{
    return elapsed_time(milliseconds, start, end);
}

SIM_ENTRY(cuEventElapsedTime_v2, float *milliseconds, CUevent start, CUevent end)
{
    return elapsed_time(milliseconds, start, end);
}
