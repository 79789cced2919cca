/* move.c - one extent's way into VRAM, and out of it: what the pager queues for it. */
#include "monotonic.h"
#include "object.h"
#include "pager.h"
#include "stats.h"

#define TIMED_EVERY 256 /* loads: timing some holds the others up */

/* A driver call of ours failed in a context. Now and then that is nothing; again and again it is
 * the end. A driver that is on its way out, with the process, has not failed. */
static void count_failure(struct residency *res, CUcontext ctx, const char *what, CUresult result)
{
    if (result == CUDA_ERROR_DEINITIALIZED) {
        res->broken = BROKEN_FOR_GOOD;
        pthread_cond_broadcast(&res->progress);
        return;
    }
    stats_add(driver_failures, 1);
    if (++res->failures >= FAILURES_MAX || result == CUDA_ERROR_ILLEGAL_ADDRESS ||
        result == CUDA_ERROR_CONTEXT_IS_DESTROYED)
        pager_break(res, ctx, what, result);
}

/* Enter the context of a range for a driver call, without the lock. An event to record behind it is
 * taken from the lane before, for that is guarded by the lock; NULL when there is none. */
static CUresult enter(struct residency *res, struct range *range, struct lane **lane,
                      CUevent *event)
{
    CUresult result = CUDA_SUCCESS;

    *lane = transfer_lane(&res->lanes, range->ctx);
    *event = *lane ? transfer_spare_event(*lane) : NULL;
    res->handling = range;
    pthread_mutex_unlock(&res->lock);
    if (!*lane)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (res->pager_ctx != range->ctx) {
        result = res->drv->cuCtxSetCurrent(range->ctx);
        res->pager_ctx = result == CUDA_SUCCESS ? range->ctx : NULL;
    }
    if (result == CUDA_SUCCESS)
        result = transfer_open_streams(res->drv, *lane, &res->lock);
    if (result == CUDA_SUCCESS && !*event)
        stats_note(res->drv->cuEventCreate(event, CU_EVENT_DISABLE_TIMING));
    return result;
}

/* What was queued on stream (NULL: nothing, for something failed) is all: record the event behind
 * it, and take the lock. Without an event nobody could wait for it, so that is done here.
 *
 * arrived  set to whether it has been waited for
 * returns  the event; NULL when it tells nothing, and then the lane has it back
 */
static CUevent leave(struct residency *res, struct lane *lane, CUstream stream, CUevent event,
                     int *arrived)
{
    int recorded =
        stream && event && stats_note(res->drv->cuEventRecord(event, stream)) == CUDA_SUCCESS;

    *arrived =
        stream && !recorded && stats_note(res->drv->cuStreamSynchronize(stream)) == CUDA_SUCCESS;
    pthread_mutex_lock(&res->lock);
    res->handling = NULL;
    res->progress_count++;
    pthread_cond_broadcast(&res->progress);
    if (event && !recorded)
        transfer_give_event(res->drv, lane, event);
    return recorded ? event : NULL;
}

static void count_load(uint64_t bytes)
{
    uint64_t now_ns = monotonic_now_ns();

    if (!atomic_load_explicit(&stats()->first_load_ns, memory_order_relaxed))
        stats_set(first_load_ns, now_ns);
    stats_set(last_load_ns, now_ns);
    stats_add(h2d_bytes, bytes);
    stats_add(h2d_count, 1);
}

/* May an extent be loaded as a duplicate, as far as residency knows? What is vacant is as good as
 * written: whoever gets it writes it first. And no load that moves may come between. */
static int may_share(const struct extent *e)
{
    return e->allocations && !e->moving;
}

/* How to load an extent that may be shared: so it is when all of it was uploaded. The lock is not
 * held. */
static enum backend_mode choose_mode(struct residency *res, const struct extent *e,
                                     struct lane *lane)
{
    enum backend_mode mode = object_mode(e->first, e->first + e->bytes);

    if (mode == BACKEND_SHARED && !transfer_births_have_run(res->drv, lane))
        mode = BACKEND_MOVED;
    return mode;
}

/* What leaves may take its room until it has been copied back: loads from now on run behind that.
 * The lock is not held. returns whether all that was dropped in the lane is known to come first */
static int wait_for_room(struct residency *res, const struct lane *lane)
{
    int is_ordered;

    pthread_mutex_lock(&res->lock);
    transfer_settle_gone(res->drv, res->lanes);
    is_ordered = !lane->gone;
    pthread_mutex_unlock(&res->lock);
    return is_ordered;
}

/* The lock is not held. */
static CUresult queue_load(struct residency *res, const struct extent *e, enum backend_mode mode,
                           enum backend_turn turn, CUstream stream)
{
    CUresult result = CUDA_SUCCESS;

    if (e->torn)
        result =
            res->backend->drop(res->drv, res->device, e->first, e->bytes, BACKEND_SHARED, stream);
    if (result == CUDA_SUCCESS)
        result = res->backend->load(res->drv, res->device, e->first, e->bytes, mode, turn, stream);
    return result;
}

/* Queue an extent's way in. The lock is not held.
 *
 * calm    so that the calls are short; not for a first load, whose advice must not come too early
 * mode    BACKEND_SHARED where that may be; set to how it comes
 * stream  set to where it is queued
 */
static CUresult start_load(struct residency *res, const struct extent *e, struct lane *lane,
                           int calm, enum backend_mode *mode, CUstream *stream)
{
    int was_loaded = e->load_number != 0, is_ordered = wait_for_room(res, lane), crosses, gated;
    enum backend_turn turn = was_loaded && is_ordered ? BACKEND_AGAIN : BACKEND_FIRST;
    CUresult result;

    *stream = transfer_next_stream(lane);
    if (*mode == BACKEND_SHARED)
        *mode = choose_mode(res, e, lane);
    /* What nobody has written comes into being on the device, and crosses no link. */
    crosses = was_loaded || (*mode == BACKEND_SHARED && object_fills_ends(e->first, e->bytes));
    /* A calm load takes its stream longer, and would tell of that. */
    if (calm)
        transfer_timing_end(res->drv, lane);
    else if (crosses && (!trial_link_is_sure(res) || res->load_number % TIMED_EVERY == 0))
        transfer_timing_begin(res->drv, lane);
    gated =
        calm && turn == BACKEND_AGAIN && gate_close(res->drv, &lane->gates, lane->turn, *stream);
    result = queue_load(res, e, *mode, turn, *stream);
    if (gated)
        gate_open(&lane->gates);
    if (crosses && result == CUDA_SUCCESS)
        transfer_timing_add(res->drv, lane, e->bytes);
    return result;
}

void move_load(struct residency *res, struct extent *e)
{
    enum backend_mode mode = may_share(e) ? BACKEND_SHARED : BACKEND_MOVED;
    /* Some are not, or the link would never be timed again. */
    int calm =
        res->learned && res->tempo.calm && res->load_number % TIMED_EVERY >= TRANSFER_TIMED_LOADS;
    CUevent ready = NULL;
    struct lane *lane;
    CUstream stream = NULL;
    CUresult result;
    int arrived;

    extent_set_state(res, e, EXTENT_LOADING);
    residency_count(res, e->bytes);
    result = enter(res, e->range, &lane, &ready);
    if (result == CUDA_SUCCESS)
        result = start_load(res, e, lane, calm, &mode, &stream);
    if (result == CUDA_SUCCESS)
        object_account(e->first, e->first + e->bytes, OBJECT_LOADED);
    ready = leave(res, lane, result == CUDA_SUCCESS ? stream : NULL, ready, &arrived);
    if (stream) {
        e->torn = result != CUDA_SUCCESS;
        e->moving = mode == BACKEND_MOVED && !arrived;
    }
    if (result != CUDA_SUCCESS) {
        extent_set_state(res, e, EXTENT_ABSENT);
        residency_count(res, -(int64_t)e->bytes);
        count_failure(res, e->range->ctx, "loading", result);
        return;
    }
    res->failures = 0;
    e->mode = mode;
    extent_set_ready(res, e, ready);
    e->load_number = ++res->load_number;
    e->load_stream = lane->turn;
    extent_set_state(res, e, EXTENT_RESIDENT);
    if (mode == BACKEND_SHARED && !e->allocations && e->id < res->vacated)
        res->vacated = e->id; /* it has become so during the load */
    count_load(e->bytes);
}

void move_drop(struct residency *res, struct extent *e)
{
    struct lane *lane;
    CUevent gone = NULL, loaded = e->ready;
    CUresult result;
    int arrived;

    extent_set_state(res, e, EXTENT_EVICTING);
    atomic_store_explicit(&e->settled, 0, memory_order_release);
    extent_set_ready(res, e, NULL);
    result = enter(res, e->range, &lane, &gone);
    /* The load may be on its way still, on the other stream: it must not come after the drop. */
    if (result == CUDA_SUCCESS && loaded)
        result = res->drv->cuStreamWaitEvent(lane->d2h, loaded, 0);
    if (result == CUDA_SUCCESS)
        result = res->backend->drop(res->drv, res->device, e->first, e->bytes, e->mode, lane->d2h);
    if (result == CUDA_SUCCESS)
        object_account(e->first, e->first + e->bytes, OBJECT_DROPPED);
    /* What is loaded next, in any context, must find the room that a copy back still takes. */
    gone = leave(res, lane, result == CUDA_SUCCESS ? lane->d2h : NULL, gone, &arrived);
    if (gone)
        transfer_note_gone(res->drv, lane, gone);
    if (result != CUDA_SUCCESS) {
        extent_set_state(res, e, EXTENT_RESIDENT);
        extent_set_ready(res, e, loaded);
        count_failure(res, e->range->ctx, "evicting", result);
        return;
    }
    if (loaded)
        transfer_give_event(res->drv, lane, loaded);
    extent_set_state(res, e, EXTENT_ABSENT);
    e->held = 0;
    if (!gone && !arrived)
        e->load_number =
            0; /* nobody knows when it has gone: what comes next is like a first load */
    residency_count(res, -(int64_t)e->bytes);
    stats_add(evictions, 1);
    if (e->mode == BACKEND_SHARED) {
        stats_add(dropped_bytes, e->bytes);
    } else {
        stats_add(written_back_bytes, e->bytes);
        stats_add(d2h_bytes, e->bytes);
    }
}
