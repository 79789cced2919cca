/* pager.c - the pager thread: loads, drops, and what comes next. */
#include "pager.h"
#include "check.h"
#include "log.h"
#include "monotonic.h"
#include "object.h"
#include "stats.h"
#include "thread.h"
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define POLL_NS  20000 /* between looks at the events of unfinished work */
#define HOPS_MAX 64    /* of the successor chain, without a step */

enum room {
    ROOM_MADE, /* something was dropped: look again */
    ROOM_THERE,
    ROOM_LATER,      /* when a use has run */
    ROOM_IMPOSSIBLE, /* all that is resident is wanted */
};

void pager_wake(struct residency *res)
{
    pthread_cond_signal(&res->work);
}

void pager_break(struct residency *res, CUcontext ctx, const char *what, CUresult result)
{
    const char *name = NULL;
    int whole = BROKEN_NOT;

    if (!atomic_compare_exchange_strong(&res->broken, &whole,
                                        ctx ? BROKEN_BY_CONTEXT : BROKEN_FOR_GOOD))
        return;
    res->broken_ctx = ctx;
    stats_add(paging_ended, 1);
    res->drv->cuGetErrorName(result, &name);
    log_warn("residency",
             "%s failed on GPU %d with %s (%d): paging ends there; the program goes on, and reads "
             "what is not in VRAM over the link, which is slow",
             what, res->device, name ? name : "?", (int)result);
    learn_forget(res);
    for (struct request *r = res->requests; r; r = r->next)
        r->done = 1;
    res->requests = NULL;
    res->requests_tail = &res->requests;
    pthread_cond_broadcast(&res->progress);
    pthread_cond_broadcast(&res->work);
}

void pager_mend(struct residency *res, CUcontext ctx)
{
    int broken = BROKEN_BY_CONTEXT;

    if (res->broken_ctx != ctx ||
        !atomic_compare_exchange_strong(&res->broken, &broken, BROKEN_NOT))
        return;
    res->broken_ctx = NULL;
    res->failures = 0;
    stats_add(paging_ended, -1);
    log_warn("residency", "the context has gone that paging on GPU %d ended with: it goes on",
             res->device);
}

/* The pager has nothing more to load for now: what is being timed ends here. A run in a context
 * that is not the pager's goes on, and tells little. */
static void end_timing(struct residency *res)
{
    for (struct lane *lane = res->lanes; lane; lane = lane->next)
        if (lane->ctx == res->pager_ctx)
            transfer_timing_end(res->drv, lane);
}

static void measure_link(struct residency *res)
{
    struct link_load speed;
    uint64_t bytes, ns;

    for (struct lane *lane = res->lanes; lane; lane = lane->next) {
        if (!transfer_timing_take(res->drv, lane, &bytes, &ns))
            continue;
        link_speed_note(&res->link, bytes, ns);
        res->link_tries = 0;
        speed = link_speed_get(&res->link);
        stats_set(link_timed_bytes, speed.bytes);
        stats_set(link_timed_ns, speed.ns);
    }
}

/* Forget the events of loads that have arrived: launches need not wait for them any more. They
 * arrive about in the order of the list: one that came before its turn waits for that. An event
 * that cannot be asked says nothing. */
static void retire_loads(struct residency *res)
{
    struct extent *e;

    while ((e = res->arriving) && !stats_note(res->drv->cuEventQuery(e->ready))) {
        transfer_give_event(res->drv, transfer_lane(&res->lanes, e->range->ctx), e->ready);
        extent_set_ready(res, e, NULL);
        e->moving = 0;
        if (e->fixed && res->learned)
            atomic_store_explicit(&e->settled, 1, memory_order_release);
    }
}

static int may_drop(const struct extent *e)
{
    return e->state == EXTENT_RESIDENT && !e->pins;
}

/* What a victim must not be. */
enum keep {
    KEEP_NOTHING,
    KEEP_PLANNED, /* what the plan has loaded ahead, or has further uses for at once, and strays in
                     the room that it leaves them */
    KEEP_COMING,  /* that, and what the chain of successors comes to soon */
};

static int is_kept(const struct residency *res, const struct extent *e, enum keep keep)
{
    return (keep >= KEEP_PLANNED && (e->ahead || pager_holds(res, e))) ||
           (keep >= KEEP_COMING && e->coming == res->coming);
}

/* The extent that is needed latest, as far as its past tells, of those that are not kept: one that
 * nobody has allocated, or needs where it is, before all. */
static struct extent *find_latest(struct residency *res, enum keep keep)
{
    int strays_stay = keep >= KEEP_PLANNED && stray_room_left(res) >= 0;
    struct extent *best = NULL, *e;
    uint64_t best_next = 0;

    DL_FOREACH(res->streaming, e)
    {
        uint64_t next;

        if (!may_drop(e) || is_kept(res, e, keep) || (strays_stay && stray_has_room(res, e)))
            continue;
        next = e->allocations && !e->sparse
                   ? schedule_next_use(res->clock, e->last_use, e->interval)
                   : UINT64_MAX;
        if (!best || next > best_next) {
            best = e;
            best_next = next;
        }
    }
    return best;
}

/* An extent that the plan would keep, where nothing else is left to give up; one that the policy
 * wants kept last of all. */
static struct extent *find_fixed(const struct residency *res)
{
    struct extent *wanted = NULL;

    for (uint32_t i = 0; i < res->table_count; i++) {
        struct extent *e = res->table[i];

        if (!e->fixed || !may_drop(e))
            continue;
        if (e->place != SCHEDULE_KEEP)
            return e;
        wanted = e;
    }
    return wanted;
}

/* For a launch that cannot wait: what was loaded furthest ahead, then what the plan would keep.
 * That is a plan for another program than the one that runs: such a plan ends soon. */
static struct extent *find_victim_by_force(struct residency *res)
{
    size_t n = res->plan.load_count;
    struct extent *e;

    while (res->learned && res->cursor_load > res->cursor_use) {
        e = res->table[res->plan.load[--res->cursor_load % n].extent];
        if (e->ahead && --e->ahead == 0 && may_drop(e))
            return e;
    }
    learn_miss(res); /* which may end the plan, and then nothing is fixed */
    e = find_latest(res, KEEP_NOTHING);
    return e ? e : find_fixed(res);
}

static int has_room(const struct residency *res, uint64_t bytes)
{
    return res->resident_bytes + bytes <= room_limit(res);
}

/* What is loaded ahead leaves the strays' room alone. */
static uint64_t with_strays(const struct residency *res, uint64_t bytes)
{
    int64_t left = stray_room_left(res);

    return left > 0 ? bytes + (uint64_t)left : bytes;
}

/* One victim at a time, for the lock is given up. What the plan wants kept goes only by force, and
 * only when no work is left on stream (NULL: on any) whose end would free something better: a
 * launch runs behind its own stream's work anyway, but must not wait for another's. */
static enum room make_room(struct residency *res, uint64_t bytes, int force,
                           const struct stream_id *stream)
{
    struct extent *victim;

    if (has_room(res, force ? bytes : with_strays(res, bytes)))
        return ROOM_THERE;
    victim = find_latest(res, KEEP_PLANNED);
    if (!victim && use_retire(res))
        victim = find_latest(res, KEEP_PLANNED);
    if (!victim && force && !use_may_end(res, stream))
        victim = find_victim_by_force(res);
    if (!victim)
        return use_may_end(res, NULL) ? ROOM_LATER : ROOM_IMPOSSIBLE;
    move_drop(res, victim);
    return ROOM_MADE;
}

/* Duplicates that are vacant go while nobody waits, which costs nothing: what kernels would write
 * there next they would write page by page, with a fault each. One that cannot go now is looked at
 * again. returns 1 when one has gone */
static int drop_vacated(struct residency *res)
{
    uint32_t left = EXTENT_NONE;

    while (res->vacated < res->table_count) {
        struct extent *e = res->table[res->vacated++];

        if (!e->range || e->allocations || e->mode != BACKEND_SHARED || e->state != EXTENT_RESIDENT)
            continue;
        if (!e->ahead && may_drop(e)) {
            if (left != EXTENT_NONE)
                res->vacated = left;
            move_drop(res, e);
            return 1;
        }
        if (left == EXTENT_NONE)
            left = e->id;
    }
    res->vacated = left;
    return 0;
}

static void finish_request(struct residency *res)
{
    struct request *r = res->requests;

    res->requests = r->next;
    if (!res->requests)
        res->requests_tail = &res->requests;
    r->done = 1;
    res->progress_count++;
    pthread_cond_broadcast(&res->progress);
}

/* Bring in one extent of the launch that waits longest. returns what to do next */
static enum room serve(struct residency *res)
{
    struct request *r = res->requests;

    if (!r->pinned) {
        use_pin(r->use);
        r->pinned = 1;
    }
    for (size_t i = 0; i < r->use->count; i++) {
        struct extent *e = r->use->set[i]; /* NULL: its range has gone meanwhile */
        enum room room;

        if (!e || e->state != EXTENT_ABSENT || trial_leaves(res, e))
            continue;
        room = make_room(res, e->bytes, 1, &r->use->stream);
        if (room == ROOM_THERE) {
            unsigned failures = res->failures;

            move_load(res, e);
            if (res->failures > failures && res->requests == r)
                finish_request(res); /* the launch reads in place what does not load */
            return ROOM_MADE;
        }
        if (room == ROOM_IMPOSSIBLE)
            break;
        return room;
    }
    finish_request(res);
    return ROOM_MADE;
}

/* With a step: load what it needs next, as far ahead as what it has passed makes room. */
static enum room run_ahead_in_step(struct residency *res)
{
    size_t n = res->plan.load_count;

    while (res->cursor_load < res->cursor_use + n) {
        struct extent *e = res->table[res->plan.load[res->cursor_load % n].extent];
        enum room room;

        /* Freed, perhaps only until the next step; or it must not come just now. */
        if (!e->range || trial_leaves(res, e)) {
            res->cursor_load++;
            continue;
        }
        if (!extent_is_present(e)) {
            room = make_room(res, e->bytes, 0, NULL);
            if (room != ROOM_THERE)
                return room;
            move_load(res, e);
            return ROOM_MADE; /* the lock was given up: the plan may be another */
        }
        e->ahead++;
        res->cursor_load++;
    }
    return ROOM_IMPOSSIBLE;
}

/* Without a step: load what followed the last time, where that is needed sooner than what must go.
 * What the chain has come to is not given up for what it comes to later, so that it ends. */
static enum room run_ahead_by_successors(struct residency *res)
{
    uint32_t id = res->last_touched;
    uint64_t ahead_bytes = 0;

    res->coming++;
    for (unsigned hop = 1; hop <= HOPS_MAX && id != EXTENT_NONE; hop++) {
        struct extent *e, *victim;

        if (res->table[id]->doubt >= LEARN_DOUBT)
            break;
        id = res->table[id]->successor;
        if (id == EXTENT_NONE || id == res->last_touched)
            break;
        e = res->table[id];
        ahead_bytes += e->bytes;
        if (!e->range || !e->allocations || e->coming == res->coming || trial_leaves(res, e) ||
            ahead_bytes > res->budget_bytes / 4)
            break;
        e->coming = res->coming;
        if (extent_is_present(e) || e->sparse)
            continue;
        if (has_room(res, e->bytes)) {
            move_load(res, e);
            return ROOM_MADE;
        }
        victim = find_latest(res, KEEP_COMING);
        if (!victim ||
            schedule_next_use(res->clock, victim->last_use, victim->interval) <= res->clock + hop)
            break;
        move_drop(res, victim);
        return ROOM_MADE;
    }
    return ROOM_IMPOSSIBLE;
}

/* The program's own VRAM grew: what no longer fits beside it goes. Whoever waits for that learns
 * when there is nothing to wait for. */
static enum room trim(struct residency *res)
{
    enum room room = has_room(res, 0) ? ROOM_THERE : make_room(res, 0, 1, NULL);

    res->no_victim = room == ROOM_IMPOSSIBLE;
    if (res->no_victim)
        pthread_cond_broadcast(&res->progress);
    return room;
}

/* Wait until some use may have run. No event is waited for: a launch that comes meanwhile, perhaps
 * on another stream, must be served at once, and the program may hold one stream's work back until
 * this very thread's caller has gone on. A use that is not recorded yet is about to be: its thread
 * wakes us. */
static void wait_for_use(struct residency *res)
{
    struct timespec until;

    end_timing(res);
    if (!use_is_any_recorded(res)) {
        res->idle = 1;
        pthread_cond_wait(&res->work, &res->lock);
        res->idle = 0;
        return;
    }
    until = monotonic_timespec(monotonic_now_ns() + POLL_NS);
    pthread_cond_timedwait(&res->work, &res->lock, &until);
}

/* Ask which extents hold nothing but what was uploaded, before a plan is made: those that were born
 * in VRAM were loaded by nobody who would have asked. Gives the lock up. */
static void ask_what_is_clean(struct residency *res)
{
    for (uint32_t i = 0; i < res->table_count; i++) {
        struct extent *e = res->table[i];
        enum backend_mode mode;

        if (!e->range || e->mode == BACKEND_SHARED)
            continue;
        res->handling = e->range;
        pthread_mutex_unlock(&res->lock);
        mode = object_mode(e->first, e->first + e->bytes);
        pthread_mutex_lock(&res->lock);
        res->handling = NULL;
        e->clean = mode == BACKEND_SHARED;
    }
    pthread_cond_broadcast(&res->progress);
}

/* One piece of work. returns 0 when there is nothing to do until somebody wakes the pager */
static int turn(struct residency *res)
{
    enum room room;

    BERTH_ASSERT_SLOW(residency_is_valid(res));
    use_retire(res);
    retire_loads(res);
    measure_link(res);
    if (res->misplaced || res->tempo_changed)
        learn_places(res);
    if (learn_is_due(res)) {
        ask_what_is_clean(res);
        learn_plan(res);
    }
    if (res->broken || res->paused) /* since the lock was given up: perhaps a context ends */
        return 1;
    room = trim(res);
    if (room == ROOM_MADE)
        return 1;
    if (res->requests)
        room = serve(res);
    else if (drop_vacated(res))
        room = ROOM_MADE;
    else if (room == ROOM_LATER)
        ; /* nothing is loaded ahead into room that is not there */
    else if (res->learned)
        room = run_ahead_in_step(res);
    else
        room = run_ahead_by_successors(res);
    if (room == ROOM_LATER)
        wait_for_use(res);
    return room == ROOM_MADE || room == ROOM_LATER || res->misplaced || learn_is_due(res);
}

static void *pager_main(void *arg)
{
    struct residency *res = arg;

    thread_leave_captures_alone(res->drv);
    thread_wake_promptly();
    pthread_mutex_lock(&res->lock);
    for (;;) {
        while (!res->broken && !res->paused && turn(res))
            ;
        if (!res->broken && !res->paused)
            end_timing(res);
        res->idle = 1;
        pthread_cond_wait(&res->work, &res->lock);
        res->idle = 0;
    }
    return NULL;
}

int pager_start(struct residency *res)
{
    int err;

    if (res->running)
        return 0;
    err = thread_start(pager_main, res);
    if (err) {
        log_warn("residency",
                 "no thread for the pager (%s): GPU %d is not paged; raise the limit of threads "
                 "(ulimit -u)",
                 strerror(err), res->device);
        return -1;
    }
    res->running = 1;
    return 0;
}
