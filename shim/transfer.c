#include "transfer.h"
#include "context_wait.h"
#include "stats.h"
#include <stdlib.h>

_Static_assert(TRANSFER_LOAD_STREAMS <= GATES_MAX, "a gate for each stream");

struct lane *transfer_lane(struct lane **list, CUcontext ctx)
{
    struct lane *lane;

    for (lane = *list; lane; lane = lane->next)
        if (lane->ctx == ctx)
            return lane;
    lane = calloc(1, sizeof(*lane));
    if (!lane)
        return NULL;
    lane->ctx = ctx;
    lane->next = *list;
    *list = lane;
    return lane;
}

CUresult transfer_open_streams(const struct driver *drv, struct lane *lane, pthread_mutex_t *lock)
{
    CUresult result = CUDA_SUCCESS;

    for (int i = 0; i <= TRANSFER_LOAD_STREAMS && result == CUDA_SUCCESS; i++) {
        CUstream *slot = i < TRANSFER_LOAD_STREAMS ? &lane->h2d[i] : &lane->d2h, made = NULL;

        if (*slot)
            continue;
        result = drv->cuStreamCreate(&made, CU_STREAM_NON_BLOCKING);
        if (result != CUDA_SUCCESS)
            break;
        if (lock)
            pthread_mutex_lock(lock);
        *slot = made;
        if (lock)
            pthread_mutex_unlock(lock);
    }
    return result;
}

CUevent transfer_spare_event(struct lane *lane)
{
    return lane->event_count ? lane->events[--lane->event_count] : NULL;
}

CUevent transfer_take_event(const struct driver *drv, struct lane *lane)
{
    CUevent event = transfer_spare_event(lane);

    if (event)
        return event;
    if (stats_note(drv->cuEventCreate(&event, CU_EVENT_DISABLE_TIMING)) != CUDA_SUCCESS)
        return NULL;
    return event;
}

void transfer_give_event(const struct driver *drv, struct lane *lane, CUevent event)
{
    if (lane->event_count == lane->event_room) {
        size_t room = lane->event_room ? 2 * lane->event_room : 64;
        CUevent *grown = realloc(lane->events, room * sizeof(CUevent));

        if (!grown) {
            stats_note(drv->cuEventDestroy_v2(event));
            return;
        }
        lane->events = grown;
        lane->event_room = room;
    }
    lane->events[lane->event_count++] = event;
}

uint64_t transfer_elapsed_ns(const struct driver *drv, CUevent from, CUevent to)
{
    float milliseconds = 0;

    if (!drv->cuEventElapsedTime ||
        drv->cuEventElapsedTime(&milliseconds, from, to) != CUDA_SUCCESS || milliseconds <= 0)
        return 0;
    return (uint64_t)((double)milliseconds * 1e6);
}

/* Loads that are queued from now on in a lane run behind a drop. returns 0 when a call failed */
static int order_lane(const struct driver *drv, const struct lane *lane, CUevent gone)
{
    int is_ordered = 1;

    for (int i = 0; i < TRANSFER_LOAD_STREAMS; i++)
        if (lane->h2d[i] && stats_note(drv->cuStreamWaitEvent(lane->h2d[i], gone, 0)))
            is_ordered = 0;
    return is_ordered;
}

/* The same in any context but those that are coming to their end. returns 0 when there are such */
static int order_loads(const struct driver *drv, const struct lane *list, CUevent gone)
{
    int is_ordered = 1, all = 1;

    for (const struct lane *lane = list; lane; lane = lane->next) {
        struct context_hold hold;

        if (!context_hold(&hold, lane->ctx)) {
            all = 0;
            continue;
        }
        if (!order_lane(drv, lane, gone))
            is_ordered = 0;
        context_let_go(&hold);
    }
    if (!is_ordered)
        stats_note(drv->cuEventSynchronize(gone));
    return all;
}

void transfer_note_gone(const struct driver *drv, struct lane *lane, CUevent gone)
{
    if (lane->gone) /* of the same stream: over before this one is */
        transfer_give_event(drv, lane, lane->gone);
    lane->gone = gone;
}

void transfer_settle_gone(const struct driver *drv, struct lane *list)
{
    for (struct lane *lane = list; lane; lane = lane->next) {
        struct context_hold hold;

        if (!lane->gone || !context_hold(&hold, lane->ctx))
            continue;
        if (stats_note(drv->cuEventQuery(lane->gone)) == CUDA_SUCCESS ||
            order_loads(drv, list, lane->gone)) {
            transfer_give_event(drv, lane, lane->gone);
            lane->gone = NULL;
        }
        context_let_go(&hold);
    }
}

int transfer_births_have_run(const struct driver *drv, struct lane *lane)
{
    if (lane->births && stats_note(drv->cuStreamSynchronize(lane->h2d[0])) == CUDA_SUCCESS)
        lane->births = 0;
    return !lane->births;
}

CUstream transfer_next_stream(struct lane *lane)
{
    lane->turn = (lane->turn + 1) % TRANSFER_LOAD_STREAMS;
    return lane->h2d[lane->turn];
}

/* Have the stream whose turn it is wait for what is queued on the others. returns 0 when a call
 * failed */
static int wait_for_others(const struct driver *drv, struct lane *lane)
{
    for (unsigned i = 0; i < TRANSFER_LOAD_STREAMS; i++)
        if (i != lane->turn &&
            (stats_note(drv->cuEventRecord(lane->timed_to, lane->h2d[i])) != CUDA_SUCCESS ||
             stats_note(drv->cuStreamWaitEvent(lane->h2d[lane->turn], lane->timed_to, 0)) !=
                 CUDA_SUCCESS))
            return 0;
    return 1;
}

/* Record a moment behind all loads so far, and before all that follow. returns 0 when a call failed
 */
static int record_between(const struct driver *drv, struct lane *lane, CUevent event)
{
    if (!wait_for_others(drv, lane) ||
        stats_note(drv->cuEventRecord(event, lane->h2d[lane->turn])) != CUDA_SUCCESS)
        return 0;
    for (unsigned i = 0; i < TRANSFER_LOAD_STREAMS; i++)
        if (i != lane->turn &&
            stats_note(drv->cuStreamWaitEvent(lane->h2d[i], event, 0)) != CUDA_SUCCESS)
            return 0;
    return 1;
}

void transfer_timing_begin(const struct driver *drv, struct lane *lane)
{
    if (lane->timing || lane->timed_bytes || !drv->cuEventElapsedTime)
        return;
    if (!lane->timed_from && stats_note(drv->cuEventCreate(&lane->timed_from, CU_EVENT_DEFAULT)))
        return;
    if (!lane->timed_to && stats_note(drv->cuEventCreate(&lane->timed_to, CU_EVENT_DEFAULT)))
        return;
    lane->timed_loads = 0;
    lane->timing = record_between(drv, lane, lane->timed_from);
}

void transfer_timing_add(const struct driver *drv, struct lane *lane, uint64_t bytes)
{
    if (!lane->timing)
        return;
    lane->timed_bytes += bytes;
    if (++lane->timed_loads == TRANSFER_TIMED_LOADS)
        transfer_timing_end(drv, lane);
}

void transfer_timing_end(const struct driver *drv, struct lane *lane)
{
    if (lane->timing && lane->timed_bytes && !record_between(drv, lane, lane->timed_to))
        lane->timed_bytes = 0;
    lane->timing = 0;
}

int transfer_timing_take(const struct driver *drv, struct lane *lane, uint64_t *bytes, uint64_t *ns)
{
    if (lane->timing || !lane->timed_bytes ||
        stats_note(drv->cuEventQuery(lane->timed_to)) == CUDA_ERROR_NOT_READY)
        return 0;
    *bytes = lane->timed_bytes;
    *ns = transfer_elapsed_ns(drv, lane->timed_from, lane->timed_to);
    lane->timed_bytes = 0;
    return *ns != 0;
}

void transfer_close(const struct driver *drv, struct lane **list, CUcontext ctx, int gone)
{
    for (struct lane **link = list; *link; link = &(*link)->next) {
        struct lane *lane = *link;

        if (lane->ctx != ctx)
            continue;
        *link = lane->next;
        for (size_t i = 0; i < lane->event_count && !gone; i++)
            stats_note(drv->cuEventDestroy_v2(lane->events[i]));
        if (lane->timed_from && !gone)
            stats_note(drv->cuEventDestroy_v2(lane->timed_from));
        if (lane->timed_to && !gone)
            stats_note(drv->cuEventDestroy_v2(lane->timed_to));
        if (lane->gone && !gone)
            stats_note(drv->cuEventDestroy_v2(lane->gone));
        for (int i = 0; i < TRANSFER_LOAD_STREAMS && !gone; i++)
            if (lane->h2d[i])
                stats_note(drv->cuStreamDestroy_v2(lane->h2d[i]));
        if (lane->d2h && !gone)
            stats_note(drv->cuStreamDestroy_v2(lane->d2h));
        gate_free(drv, &lane->gates, gone);
        free(lane->events);
        free(lane);
        return;
    }
}
