/* extent.c - extents come with their range and go with it. */
#include "context_wait.h"
#include "extent_pool.h"
#include "log.h"
#include "pager.h"
#include "stats.h"
#include <stdlib.h>
#include <utlist.h>

/* Give an extent its identity, which it keeps for ever. */
static int register_extent(struct residency *res, struct extent *e)
{
    if (e->id != EXTENT_NONE)
        return 0;
    if (res->table_count == res->table_room) {
        uint32_t room = res->table_room ? 2 * res->table_room : 256;
        struct extent **grown = realloc(res->table, room * sizeof(*grown));

        if (!grown)
            return -1;
        res->table = grown;
        res->table_room = room;
    }
    e->id = res->table_count;
    res->table[res->table_count++] = e;
    return 0;
}

static int is_streaming(const struct extent *e)
{
    return e->state == EXTENT_RESIDENT && !e->fixed;
}

static void list_streaming(struct residency *res, struct extent *e, int was_streaming)
{
    if (is_streaming(e) && !was_streaming)
        DL_APPEND(res->streaming, e);
    else if (!is_streaming(e) && was_streaming)
        DL_DELETE(res->streaming, e);
}

void extent_set_state(struct residency *res, struct extent *e, enum extent_state state)
{
    int was_streaming = is_streaming(e);

    e->state = state;
    list_streaming(res, e, was_streaming);
}

void extent_set_fixed(struct residency *res, struct extent *e, int fixed)
{
    int was_streaming = is_streaming(e);

    e->fixed = fixed != 0;
    list_streaming(res, e, was_streaming);
}

void extent_set_ready(struct residency *res, struct extent *e, CUevent ready)
{
    if (ready && !e->ready)
        DL_APPEND2(res->arriving, e, ready_prev, ready_next);
    else if (!ready && e->ready)
        DL_DELETE2(res->arriving, e, ready_prev, ready_next);
    e->ready = ready;
}

static void init_extent(struct extent *e, struct range *range, size_t index)
{
    size_t offset = index * range->extent_bytes;
    size_t rest = range->bytes - offset;

    e->first = range->base + offset;
    e->bytes = (uint32_t)(rest < range->extent_bytes ? rest : range->extent_bytes);
    e->range = range;
    e->state = EXTENT_ABSENT;
    e->mode = BACKEND_MOVED;
    e->allocations = 0;
    e->pins = 0;
    e->ahead = e->held = 0;
    e->fixed = 0;
    e->place = SCHEDULE_FREE;
    e->clean = 0;
    e->moving = e->torn = 0;
    e->successor = EXTENT_NONE;
    e->doubt = e->busy = 0;
    e->visits = 0;
    e->touched_at = 0;
    e->coming = e->turn = 0;
    e->last_use = e->interval = 0;
    e->ready = NULL;
    e->load_number = 0;
    e->trial = 0;
    e->sparse = 0;
    atomic_store_explicit(&e->settled, 0, memory_order_relaxed);
}

/* A birth has no event of its own: whatever the drop stream does later comes after all births. The
 * lane's context is current, the lock is held. */
static void order_drops_behind_births(struct residency *res, struct lane *lane)
{
    int is_open = lane && lane->h2d[0] && lane->d2h;
    CUevent born = is_open ? transfer_take_event(res->drv, lane) : NULL;
    int is_ordered = born && !stats_note(res->drv->cuEventRecord(born, lane->h2d[0])) &&
                     !stats_note(res->drv->cuStreamWaitEvent(lane->d2h, born, 0));

    if (is_open && !is_ordered)
        stats_note(res->drv->cuStreamSynchronize(lane->h2d[0]));
    if (born)
        transfer_give_event(res->drv, lane, born);
}

/* Queue a vacant extent's way out of VRAM; all loads that come later find that it takes its room.
 * The lane's context is current, the lock is held. */
static void drop_vacant(struct residency *res, struct extent *e, struct lane *lane)
{
    CUevent gone;
    int recorded;

    if (stats_note(transfer_open_streams(res->drv, lane, NULL)) != CUDA_SUCCESS ||
        stats_note(res->backend->drop(res->drv, res->device, e->first, e->bytes, e->mode,
                                      lane->d2h)) != CUDA_SUCCESS)
        return;
    gone = transfer_take_event(res->drv, lane);
    recorded = gone && stats_note(res->drv->cuEventRecord(gone, lane->d2h)) == CUDA_SUCCESS;
    if (!recorded)
        stats_note(res->drv->cuStreamSynchronize(lane->d2h));
    if (recorded)
        transfer_note_gone(res->drv, lane, gone);
    else if (gone)
        transfer_give_event(res->drv, lane, gone);
    extent_set_state(res, e, EXTENT_ABSENT);
    residency_count(res, -(int64_t)e->bytes);
    stats_add(evictions, 1);
    stats_add(written_back_bytes, e->bytes);
    stats_add(d2h_bytes, e->bytes);
}

/* The same, whichever context is current. An extent of one that is coming to its end stays: it goes
 * with that. The lock is held. */
static void drop_vacant_from(struct residency *res, struct extent *e, CUcontext current)
{
    CUcontext ctx = e->range->ctx, popped;
    struct context_hold hold;
    struct lane *lane;

    if (!context_hold(&hold, ctx))
        return;
    lane = transfer_lane(&res->lanes, ctx);
    if (lane && (ctx == current || !stats_note(res->drv->cuCtxPushCurrent_v2(ctx)))) {
        drop_vacant(res, e, lane);
        if (ctx != current)
            stats_note(res->drv->cuCtxPopCurrent_v2(&popped));
    }
    context_let_go(&hold);
}

void extent_reclaim(struct residency *res, uint64_t bytes)
{
    CUcontext current = NULL;

    if (is_active(res) || res->broken || res->resident_bytes + bytes <= room_limit(res))
        return;
    stats_note(res->drv->cuCtxGetCurrent(&current));
    for (uint32_t i = 0; i < res->table_count; i++) {
        struct extent *e = res->table[i];

        if (!e->range || e->allocations || e->state != EXTENT_RESIDENT)
            continue;
        drop_vacant_from(res, e, current);
        if (res->resident_bytes + bytes <= room_limit(res))
            return;
    }
}

/* Extents [from, to) of a range are in use, and everything fits: those that are not in VRAM are
 * born there. The lock is held. */
static void give_birth(struct residency *res, struct range *range, size_t from, size_t to)
{
    struct lane *lane = transfer_lane(&res->lanes, range->ctx);
    int is_open = lane && stats_note(transfer_open_streams(res->drv, lane, NULL)) == CUDA_SUCCESS;
    uint64_t bytes = 0;

    for (size_t i = from; i < to; i++)
        bytes += range->extents[i]->state == EXTENT_ABSENT ? range->extents[i]->bytes : 0;
    if (!bytes)
        return;
    extent_reclaim(res, bytes);
    transfer_settle_gone(res->drv, res->lanes);
    if (res->resident_bytes + bytes > room_limit(res)) { /* what leaves at the moment is not gone */
        residency_activate(res);
        return;
    }
    for (size_t i = from; i < to; i++) {
        struct extent *e = range->extents[i];

        if (e->state != EXTENT_ABSENT)
            continue;
        extent_set_state(res, e, EXTENT_RESIDENT);
        e->mode = BACKEND_MOVED;
        residency_count(res, e->bytes);
        /* Where that fails it is born at its first touch. */
        if (is_open)
            stats_note(res->backend->load(res->drv, res->device, e->first, e->bytes, BACKEND_MOVED,
                                          BACKEND_FIRST, lane->h2d[0]));
    }
    if (is_open)
        lane->births = 1;
    order_drops_behind_births(res, lane);
}

static size_t extents_covering(const struct range *range, size_t bytes)
{
    return (bytes + range->extent_bytes - 1) / range->extent_bytes;
}

CUresult residency_attach(struct residency *res, struct range *range)
{
    size_t count = extents_covering(range, range->bytes);
    CUresult result = CUDA_SUCCESS;

    range->extents = extent_pool_take(res->device, count);
    if (!range->extents)
        return CUDA_ERROR_OUT_OF_MEMORY;
    range->extent_count = count;
    pthread_mutex_lock(&res->lock);
    for (size_t i = 0; i < count && result == CUDA_SUCCESS; i++) {
        struct extent *e = range->extents[i];

        init_extent(e, range, i);
        if (register_extent(res, e))
            result = CUDA_ERROR_OUT_OF_MEMORY;
        /* One that comes again, as buffers do that live for a step, has its place in the plan. */
        else if (res->learned && e->id < res->plan.extent_count)
            e->fixed = res->plan.fixed[e->id];
    }
    if (result == CUDA_SUCCESS)
        result = stats_note(
            res->backend->rest(res->drv, res->device, range->base, range->bytes,
                               is_active(res) ? BACKEND_REST_HOST : BACKEND_REST_DEVICE));
    for (size_t i = 0; i < count && result != CUDA_SUCCESS; i++)
        range->extents[i]->range = NULL;
    pthread_mutex_unlock(&res->lock);
    if (result != CUDA_SUCCESS)
        extent_pool_give(res->device, range->extents, count);
    return result;
}

/* The extents that [first, end) of a range lies in: [*from, *to). */
static void extents_of(const struct range *range, CUdeviceptr first, CUdeviceptr end, size_t *from,
                       size_t *to)
{
    *from = (first - range->base) / range->extent_bytes;
    *to = extents_covering(range, end - range->base);
}

void residency_occupy(struct residency *res, struct range *range, CUdeviceptr first,
                      CUdeviceptr end)
{
    size_t from, to;

    extents_of(range, first, end, &from, &to);
    pthread_mutex_lock(&res->lock);
    for (size_t i = from; i < to; i++)
        if (!range->extents[i]->allocations++)
            res->total_bytes += range->extents[i]->bytes;
    residency_count_need(res);
    if (!is_active(res) && !res->broken && res->total_bytes > room_limit(res))
        residency_activate(res);
    if (!is_active(res) && !res->broken)
        give_birth(res, range, from, to);
    pthread_mutex_unlock(&res->lock);
}

void residency_vacate(struct residency *res, struct range *range, CUdeviceptr first,
                      CUdeviceptr end)
{
    size_t from, to;

    if (!res)
        return;
    extents_of(range, first, end, &from, &to);
    pthread_mutex_lock(&res->lock);
    for (size_t i = from; i < to; i++) {
        struct extent *e = range->extents[i];

        if (--e->allocations)
            continue;
        res->total_bytes -= e->bytes;
        if (e->mode == BACKEND_SHARED && e->state == EXTENT_RESIDENT && e->id < res->vacated)
            res->vacated = e->id;
    }
    pager_wake(res);
    pthread_mutex_unlock(&res->lock);
}

void residency_place(struct range *range, size_t index, enum schedule_place place)
{
    struct residency *res = residency_get(range->device);
    struct extent *e;

    if (!res)
        return;
    pthread_mutex_lock(&res->lock);
    e = range->extents[index];
    if (e->range == range && e->place != place) {
        e->place = (uint8_t)place;
        if (place == SCHEDULE_FREE ? 0 : e->fixed != (place == SCHEDULE_KEEP)) {
            res->misplaced = 1;
            if (res->idle)
                pager_wake(res);
        }
    }
    pthread_mutex_unlock(&res->lock);
}

void residency_detach(struct residency *res, struct range *range)
{
    if (!res)
        return;
    pthread_mutex_lock(&res->lock);
    res->paused++; /* or it might go on with the next extent of this very range */
    while (res->handling == range)
        pthread_cond_wait(&res->progress, &res->lock);
    res->paused--;
    use_forget_range(res, range);
    for (size_t i = 0; i < range->extent_count; i++) {
        struct extent *e = range->extents[i];

        if (e->ready)
            transfer_give_event(res->drv, transfer_lane(&res->lanes, range->ctx), e->ready);
        extent_set_ready(res, e, NULL);
        if (e->state == EXTENT_RESIDENT)
            range->leaving_bytes += e->bytes;
        if (e->allocations)
            res->total_bytes -= e->bytes;
        e->allocations = 0;
        extent_set_state(res, e, EXTENT_ABSENT);
        e->range = NULL;
        e->last_use = e->interval = 0;
        atomic_store_explicit(&e->settled, 0, memory_order_release);
    }
    pager_wake(res);
    pthread_mutex_unlock(&res->lock);
}

void residency_forget(struct residency *res, struct range *range)
{
    if (!res)
        return;
    pthread_mutex_lock(&res->lock);
    residency_count(res, -(int64_t)range->leaving_bytes);
    range->leaving_bytes = 0;
    pager_wake(res);
    pthread_mutex_unlock(&res->lock);
    extent_pool_give(res->device, range->extents, range->extent_count);
}

uint64_t residency_resident_bytes(struct range *range, CUdeviceptr first, CUdeviceptr end)
{
    struct residency *res = residency_get(range->device);
    uint64_t bytes = 0;

    if (!res)
        return 0;
    pthread_mutex_lock(&res->lock);
    for (size_t i = (first - range->base) / range->extent_bytes;
         i < range->extent_count && range->extents[i]->first < end; i++) {
        const struct extent *e = range->extents[i];
        CUdeviceptr from = e->first > first ? e->first : first;
        CUdeviceptr to = e->first + e->bytes < end ? e->first + e->bytes : end;

        if (extent_is_present(e))
            bytes += to - from;
    }
    pthread_mutex_unlock(&res->lock);
    return bytes;
}
