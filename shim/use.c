/* use.c - residency's side that launching threads see: pins, waits, and the uses that hold pins. */
#include "log.h"
#include "monotonic.h"
#include "object.h"
#include "pager.h"
#include "stats.h"
#include <stdlib.h>
#include <string.h>

#define STREAMS_SEEN 16
#define STUCK_SHARE  1000 /* of the patience, once it has ended and nothing has moved since */

/* What is queued on a stream behind work that was waited for in vain will not end sooner. */
static int is_outwaited(const struct residency *res, const struct stream_id *stream)
{
    const struct use *use = res->uses;

    while (use && !(use->outwaited && stream_id_is(&use->stream, stream)))
        use = use->next;
    return use != NULL;
}

/* Patience has ended: nobody waits again for the work that is there now, until its stream moves. */
static void outwait(struct residency *res)
{
    for (struct use *use = res->uses; use; use = use->next)
        if (!use->waiting)
            use->outwaited = 1;
    pager_wake(res); /* which may have promised room to others */
}

static void stream_has_moved(struct residency *res, const struct stream_id *stream)
{
    for (struct use *use = res->uses; use; use = use->next)
        if (stream_id_is(&use->stream, stream))
            use->outwaited = 0;
}

static struct use *use_new(struct residency *res, struct extent *const *set, size_t count,
                           const struct stream_id *stream)
{
    struct use *use = res->free_uses;

    if (use)
        res->free_uses = use->next;
    else
        use = calloc(1, sizeof(*use));
    if (!use)
        return NULL;
    if (use->room < count) {
        struct extent **grown = realloc(use->set, count * sizeof(*grown));

        if (!grown) {
            use->next = res->free_uses;
            res->free_uses = use;
            return NULL;
        }
        use->set = grown;
        use->room = count;
    }
    memcpy(use->set, set, count * sizeof(*set));
    use->count = count;
    use->res = res;
    use->lane = NULL;
    use->event = NULL;
    use->recorded = 0;
    use->waiting = 0;
    use->outwaited = is_outwaited(res, stream);
    use->began = NULL;
    use->verdict = NULL;
    use->trial = 0;
    use->stream = *stream;
    use->next = NULL;
    *res->uses_tail = use;
    res->uses_tail = &use->next;
    return use;
}

void use_end(struct residency *res, struct use **link, int has_run)
{
    struct use *use = *link;

    trial_end(res, use, has_run);
    *link = use->next;
    if (!*link)
        res->uses_tail = link;
    if (use->outwaited)
        stream_has_moved(res, &use->stream);
    for (size_t i = 0; i < use->count; i++)
        if (use->set[i] && use->set[i]->pins)
            use->set[i]->pins--;
    if (use->event)
        transfer_give_event(res->drv, use->lane, use->event);
    use->event = NULL;
    use->next = res->free_uses;
    res->free_uses = use;
}

size_t use_retire(struct residency *res)
{
    const struct stream_id *busy[STREAMS_SEEN];
    size_t busy_count = 0, ended = 0;
    struct use **link = &res->uses;

    while (*link && busy_count < STREAMS_SEEN) {
        struct use *use = *link;
        size_t i = 0;

        while (i < busy_count && !stream_id_is(busy[i], &use->stream))
            i++;
        if (!use->recorded || i < busy_count) {
            link = &use->next;
        } else if (stats_note(res->drv->cuEventQuery(use->event)) == CUDA_ERROR_NOT_READY) {
            busy[busy_count++] = &use->stream;
            link = &use->next;
        } else {
            use_end(res, link, 1);
            ended++;
        }
    }
    if (ended) {
        res->progress_count++;
        pthread_cond_broadcast(&res->progress);
    }
    return ended;
}

int use_may_end(const struct residency *res, const struct stream_id *stream)
{
    const struct use *use = res->uses;

    while (use &&
           (use->waiting || use->outwaited || (stream && !stream_id_is(&use->stream, stream))))
        use = use->next;
    return use != NULL;
}

int use_is_any_recorded(const struct residency *res)
{
    const struct use *use = res->uses;

    while (use && !use->recorded)
        use = use->next;
    return use != NULL;
}

void use_forget_range(struct residency *res, const struct range *range)
{
    for (struct use *use = res->uses; use; use = use->next)
        for (size_t i = 0; i < use->count; i++)
            if (use->set[i] && use->set[i]->range == range)
                use->set[i] = NULL;
}

/* NULL when all are there, or their loads are queued. One that the pager is loading at this moment
 * is not: there is no event yet that a stream could wait for. */
static const struct extent *first_absent(const struct residency *res, struct extent *const *set,
                                         size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (set[i]->state != EXTENT_RESIDENT && !trial_leaves(res, set[i]))
            return set[i];
    return NULL;
}

/* A range may have been freed since its extents were looked up: by another thread, while its
 * address still stands in this launch's parameters. */
static int all_alive(struct extent *const *set, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!set[i]->range)
            return 0;
    return 1;
}

void use_pin(struct use *use)
{
    for (size_t i = 0; i < use->count; i++)
        if (use->set[i])
            use->set[i]->pins++;
}

void patience_begin(const struct residency *res, struct patience *patience)
{
    int stuck = res->stuck && res->stuck_count == res->progress_count;

    patience->seen = res->progress_count;
    patience->deadline_ns =
        monotonic_now_ns() + (stuck ? res->patience_ns / STUCK_SHARE : res->patience_ns);
}

int patience_wait(struct residency *res, struct patience *patience)
{
    struct timespec until;

    if (res->progress_count != patience->seen) {
        patience_begin(res, patience);
    } else if (monotonic_now_ns() >= patience->deadline_ns) {
        /* Whoever comes next meets the same standstill, and need not wait as long to see it. */
        res->stuck = 1;
        res->stuck_count = res->progress_count;
        outwait(res);
        return 0;
    }
    until = monotonic_timespec(patience->deadline_ns);
    pthread_cond_timedwait(&res->progress, &res->lock, &until);
    return 1;
}

/* What bringing in a use's extents took of the launching thread's time. */
struct stall {
    uint64_t ns;
    uint64_t starved_ns;    /* of it, while nothing of the program was queued on the device */
    CUdeviceptr first, end; /* of the extent that was missed first; end is 0 when none was */
};

/* patience_wait() that tells how long the device had nothing to run. */
static int wait_and_watch(struct residency *res, struct patience *patience, struct stall *stall)
{
    int starved = !use_is_any_recorded(res);
    uint64_t from = monotonic_now_ns();
    int more = patience_wait(res, patience);

    if (starved)
        stall->starved_ns += monotonic_now_ns() - from;
    return more;
}

/* Queue a request and wait until the pager has queued its loads. Without progress for a while the
 * request is withdrawn: some work that holds the room may itself wait for this thread. */
static void wait_for_pager(struct residency *res, struct use *use, struct stall *stall)
{
    struct request request = {.use = use};
    struct patience patience;

    patience_begin(res, &patience);
    use->waiting = 1;
    *res->requests_tail = &request;
    res->requests_tail = &request.next;
    pager_wake(res);
    while (!request.done && !res->broken && wait_and_watch(res, &patience, stall))
        ;
    if (!request.done) {
        struct request **link = &res->requests;

        while (*link != &request)
            link = &(*link)->next;
        *link = request.next;
        if (!*link)
            res->requests_tail = link;
        log_debug("residency", "a launch goes ahead unloaded");
    }
    if (!request.pinned)
        use_pin(use);
    use->waiting = 0;
}

/* Make stream wait for the loads of the set that are still on their way. Loads on one stream of
 * ours arrive in the order of their numbers, so its last one is enough. returns 1 when there was
 * any */
static int wait_for_loads(struct residency *res, struct extent *const *set, size_t count,
                          CUstream stream)
{
    int waited = 0;

    for (size_t i = 0; i < count; i++) {
        const struct extent *e = set[i];
        int last = e && e->ready;

        for (size_t j = 0; j < count && last; j++) {
            const struct extent *other = set[j];

            if (other && other->ready && other->range->ctx == e->range->ctx &&
                other->load_stream == e->load_stream && other->load_number > e->load_number)
                last = 0;
        }
        if (last) {
            stats_note(res->drv->cuStreamWaitEvent(stream, e->ready, 0));
            waited = 1;
        }
    }
    return waited;
}

/* Pin what the use touches, when all of it is there or its loads are queued; and make stream wait
 * for those. Just the first of the set, so many, are part of the step. */
static void bring_in(struct residency *res, struct use *use, size_t learned,
                     enum residency_need need, CUstream stream, struct stall *stall)
{
    struct stats_shard *shard = stats_shard();
    const struct extent *missed;

    if (learned)
        learn_touch(res, use->set, learned);
    missed = first_absent(res, use->set, use->count);
    if (!missed) {
        use_pin(use);
        if (res->idle)
            pager_wake(res);
    } else {
        uint64_t waits = monotonic_now_ns();

        stall->first = missed->first;
        stall->end = missed->first + missed->bytes;
        wait_for_pager(res, use, stall);
        stall->ns = monotonic_now_ns() - waits;
    }
    if (wait_for_loads(res, use->set, use->count, stream) || missed)
        atomic_fetch_add_explicit(&shard->launches_waited, 1, memory_order_relaxed);
    else if (need == RESIDENCY_LOAD_REST)
        atomic_fetch_add_explicit(&shard->launches_sparse, 1, memory_order_relaxed);
    else
        atomic_fetch_add_explicit(&shard->launches_resident, 1, memory_order_relaxed);
}

struct use *residency_acquire(struct residency *res, struct extent *const *set, size_t count,
                              enum residency_need need, struct residency_trial *trial,
                              CUstream stream)
{
    struct stats_shard *shard = stats_shard();
    struct stall stall = {0};
    struct use *use = NULL;
    size_t learned = count;
    CUcontext ctx = NULL, current = NULL;
    struct stream_id id;
    uint64_t start;

    if ((!count && !trial) || !atomic_load_explicit(&res->active, memory_order_relaxed))
        return NULL;
    start = monotonic_now_ns();
    stats_note(res->drv->cuCtxGetCurrent(&current));
    if (!res->drv->cuStreamGetCtx || stats_note(res->drv->cuStreamGetCtx(stream, &ctx)))
        ctx = current;
    id = stream_id_of(stream, ctx);
    pthread_mutex_lock(&res->lock);
    if (trial && (trial->loads || ctx != current || !trial_is_due(res, trial))) {
        if (trial->loads || trial_is_on(trial)) {
            count += trial->count;
            need = RESIDENCY_LOAD;
        }
        trial = NULL;
    }
    if (!count)
        atomic_fetch_add_explicit(&shard->launches_sparse, 1, memory_order_relaxed);
    if (res->broken || !all_alive(set, count) || (!count && !trial))
        goto out;
    use = use_new(res, set, count, &id);
    if (!use)
        goto out;
    if (need != RESIDENCY_AS_IS && count)
        bring_in(res, use, learned, need, stream, &stall);
    else
        use_pin(use);
    use->lane = transfer_lane(&res->lanes, ctx);
    /* The lock was given up meanwhile. */
    if (trial && trial_is_due(res, trial)) {
        /* What of it is on its way the device would wait for, and the time would be none of its. */
        (void)wait_for_loads(res, trial->set, trial->count, stream);
        trial_begin(res, use, trial, stream);
    }
    /* An event is made in the current context, and the stream may be another's. */
    if (use->lane && !use->event)
        use->event = ctx == current ? transfer_take_event(res->drv, use->lane)
                                    : transfer_spare_event(use->lane);
out:
    pthread_mutex_unlock(&res->lock);
    if (stall.end)
        object_account_stall(stall.first, stall.end, stall.ns);
    atomic_fetch_add_explicit(&shard->stall_ns, stall.ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&shard->starved_ns, stall.starved_ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&shard->overhead_ns, monotonic_now_ns() - start - stall.ns,
                              memory_order_relaxed);
    return use;
}

void residency_release(struct use *use, CUstream stream, CUresult result)
{
    struct residency *res = use->res;
    int recorded = use->event && result == CUDA_SUCCESS &&
                   stats_note(res->drv->cuEventRecord(use->event, stream)) == CUDA_SUCCESS;

    pthread_mutex_lock(&res->lock);
    if (recorded && use->event) { /* the context has not been destroyed in between */
        use->recorded = 1;
    } else { /* nobody would know when it has run; a drop too early is slow, not wrong */
        struct use **link = &res->uses;

        while (*link != use)
            link = &(*link)->next;
        use_end(res, link, 0);
    }
    if (res->idle)
        pager_wake(res);
    pthread_mutex_unlock(&res->lock);
}
