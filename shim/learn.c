/* learn.c - residency's view of the program's habits: the step, and where in it the program is.
 *
 * Until a step is known, every launch is recorded. Once it is, the record is the step, and the
 * program is followed through the plan's loads by what it touches.
 */
#include "log.h"
#include "monotonic.h"
#include "pager.h"
#include "size.h"
#include "stats.h"
#include <stdlib.h>
#include <string.h>

#define MISSES_MIN   8 /* more than these and a quarter of a step's loads end the plan */
#define DOUBTS_MAX   3
#define WINDOW_SHARE 64 /* of the room, for what does not stay, without a step */
#define VISITS_MIN   4  /* of an extent, on average, before the hottest can be told */

/* The extent's load that the plan has next, counted from the program's place; load_count if none.
 */
static size_t next_load(const struct residency *res, const struct extent *e)
{
    const struct schedule_plan *plan = &res->plan;
    size_t n = plan->load_count, best = n;

    if (e->id >= plan->extent_count)
        return n;
    for (uint32_t i = plan->first_load[e->id]; i != SCHEDULE_NONE; i = plan->load[i].same) {
        size_t distance = (i + n - (size_t)(res->cursor_use % n)) % n;

        if (distance < best)
            best = distance;
    }
    return best;
}

static void tell_tempo(const struct schedule_tempo *tempo, const char *what)
{
    log_debug("residency", "%s: %s loads through a %s window; the fastest step so far took %llu us",
              what, tempo->calm ? "calm" : "brisk",
              tempo->ahead == SCHEDULE_AHEAD_DEEP ? "deep" : "lean",
              (unsigned long long)(tempo->best_ns / 1000));
}

/* A step of the plan has passed: is its window the right one? */
static void note_step(struct residency *res)
{
    enum schedule_tempo_phase before = res->tempo.phase;
    struct link_load link = link_speed_get(&res->link);
    uint64_t now_ns = monotonic_now_ns(), link_ns = 0;

    if (link_speed_is_known(&res->link))
        link_ns = (uint64_t)((double)res->plan.load_bytes * (double)link.ns / (double)link.bytes);
    if (res->step_began_ns &&
        schedule_tempo_note(&res->tempo, now_ns - res->step_began_ns, link_ns)) {
        res->tempo_changed = 1;
        pager_wake(res);
    }
    if (res->tempo.phase != before)
        tell_tempo(&res->tempo, res->tempo.phase == TEMPO_DECIDED ? "from now on" : "now tried");
    res->step_began_ns = now_ns;
}

/* The program has come to a use. returns 1 when it left others out that were loaded for it */
static int set_cursor(struct residency *res, uint64_t use)
{
    size_t n = res->plan.load_count;
    int left_out = 0;

    for (; res->cursor_use < use; res->cursor_use++) {
        struct extent *passed = res->table[res->plan.load[res->cursor_use % n].extent];

        if (res->cursor_use + 1 < use && !stray_is(res, passed))
            left_out |= passed->ahead != 0;
        if (res->cursor_use < res->cursor_load && passed->ahead)
            passed->ahead--;
        if ((res->cursor_use + 1) % n == 0) {
            stats_add(steps, 1);
            res->misses = 0;
            note_step(res);
            stray_note_turn(res);
        }
    }
    if (res->cursor_load < res->cursor_use)
        res->cursor_load = res->cursor_use;
    return left_out;
}

/* The program has just come to the first of the uses that an extent was loaded for. */
static void hold(const struct residency *res, struct extent *e)
{
    const struct schedule_load *load =
        &res->plan.load[(res->cursor_use - 1) % res->plan.load_count];

    e->held = load->uses - 1;
    e->held_until = res->cursor_use + load->span;
}

/* The program touched an extent that streams: it has come to that extent's next load in the plan.
 * Touching once more what is still there says nothing, also when it was loaded for the next turn
 * already; an absent extent which the plan does not expect soon is a miss, and too many of those
 * end the plan. A plan that was made in the middle of a step is entered wherever the program is.
 * Strays say nothing of where it is. */
static void follow(struct residency *res, struct extent *e)
{
    size_t n = res->plan.load_count, distance;

    if (stray_is(res, e)) {
        stray_touch(res, e);
        return;
    }
    if (extent_is_present(e) && pager_holds(res, e)) {
        e->held--;
        return;
    }
    if (extent_is_present(e) && !e->ahead)
        return;
    distance = n ? next_load(res, e) : 0;
    if (distance < n && (distance <= n / 2 || !res->placed)) {
        int left_out = set_cursor(res, res->cursor_use + distance + 1);

        hold(res, e);
        if (left_out && res->placed)
            learn_miss(res);
        res->placed = 1;
    } else if (!e->ahead) {
        learn_miss(res);
    }
}

void learn_miss(struct residency *res)
{
    if (!res->learned || ++res->misses <= MISSES_MIN + res->plan.load_count / 4)
        return;
    log_debug("residency", "the step of %zu launches is over", res->plan.launches);
    learn_forget(res);
}

/* What streams without a step has this much room. */
static uint64_t loose_window(const struct residency *res)
{
    uint64_t share = room_limit(res) / WINDOW_SHARE;

    return share > 2 * res->largest_launch_bytes ? share : 2 * res->largest_launch_bytes;
}

/* The extent is touched after the last one: that one's successor, which is believed the more the
 * more often it was the same. */
static void note_successor(struct residency *res, const struct extent *e)
{
    struct extent *last;

    if (res->last_touched == EXTENT_NONE || res->last_touched == e->id)
        return;
    last = res->table[res->last_touched];
    if (last->successor == e->id) {
        last->doubt -= last->doubt > 0;
        return;
    }
    if (last->successor != EXTENT_NONE && last->doubt < DOUBTS_MAX)
        last->doubt++;
    last->successor = e->id;
}

static void note_visit(struct residency *res, struct extent *e)
{
    if (!e->touched_at || res->touched_bytes - e->touched_at > loose_window(res)) {
        e->visits++;
        res->visits++;
    } else {
        e->busy = 1;
    }
    e->touched_at = res->touched_bytes;
}

void learn_touch(struct residency *res, struct extent *const *set, size_t count)
{
    uint64_t before = res->touched_bytes;

    res->clock++;
    for (size_t i = 0; i < count; i++) {
        struct extent *e = set[i];

        if (e->last_use && res->clock > e->last_use)
            e->interval = res->clock - e->last_use;
        e->last_use = res->clock;
        e->sparse = 0;
        note_successor(res, e);
        res->last_touched = e->id;
        res->touched_bytes += e->bytes;
        note_visit(res, e);
    }
    if (res->touched_bytes - before > res->largest_launch_bytes)
        res->largest_launch_bytes = res->touched_bytes - before;
    if (!res->learned) {
        history_record(&res->history, set, count);
        return;
    }
    for (size_t i = 0; i < count && res->learned; i++)
        if (!set[i]->fixed)
            follow(res, set[i]);
}

int learn_is_due(const struct residency *res)
{
    return !res->learned && history_is_due(&res->history);
}

/* A step and what it is planned by, copied: planning may take long, and the lock is given up. */
struct step_copy {
    struct schedule_trace trace;
    uint32_t *first, *extent;
    struct schedule_extent *extents;
    size_t extent_count;
};

static void step_copy_free(struct step_copy *copy)
{
    free(copy->first);
    free(copy->extent);
    free(copy->extents);
}

/* returns 0 or -1, and then there is nothing to free */
static int step_copy_make(const struct residency *res, size_t step_first, size_t launches,
                          struct step_copy *copy)
{
    const uint32_t *begin = &res->history.first[step_first];
    size_t touched = begin[launches] - begin[0];

    copy->first = malloc((launches + 1) * sizeof(*copy->first));
    copy->extent = malloc((touched + 1) * sizeof(*copy->extent));
    copy->extents = malloc((res->table_count + 1) * sizeof(*copy->extents));
    if (!copy->first || !copy->extent || !copy->extents) {
        step_copy_free(copy);
        return -1;
    }
    for (size_t l = 0; l <= launches; l++)
        copy->first[l] = begin[l] - begin[0];
    memcpy(copy->extent, res->history.extent + begin[0], touched * sizeof(*copy->extent));
    for (uint32_t i = 0; i < res->table_count; i++) {
        const struct extent *e = res->table[i];

        copy->extents[i] = (struct schedule_extent){
            .bytes = e->bytes,
            .written = !extent_is_weights(e),
            .place = e->range ? e->place : SCHEDULE_FREE,
        };
    }
    copy->extent_count = res->table_count;
    copy->trace = (struct schedule_trace){copy->first, copy->extent, launches};
    return 0;
}

/* Plan the step of so many launches that begins at step_first of the history. Gives the lock up.
 *
 * limit    the room that there is; strays have some of it
 * returns  0; -1 when there is no plan, or the record has begun anew meanwhile
 */
static int make_plan(struct residency *res, size_t step_first, size_t launches,
                     struct schedule_plan *plan, uint64_t *limit)
{
    uint64_t begun = res->history.begun;
    enum schedule_ahead ahead = res->tempo.ahead;
    struct step_copy copy;
    uint64_t room;
    int err;

    *limit = room_limit(res);
    room = *limit - stray_room(res, *limit);
    if (step_copy_make(res, step_first, launches, &copy))
        return -1;
    pthread_mutex_unlock(&res->lock);
    err = schedule_plan_create(&copy.trace, copy.extents, copy.extent_count, room, 0, ahead, plan);
    step_copy_free(&copy);
    pthread_mutex_lock(&res->lock);
    if (!err && begun != res->history.begun) {
        schedule_plan_destroy(plan);
        err = -1;
    }
    return err ? -1 : 0;
}

/* Let the extents stay that fixed says, of count, and no others. Without a step they do not settle:
 * what is touched without the lock is not recorded, and neither would a step show nor their visits
 * count.
 */
static void adopt_fixed(struct residency *res, const uint8_t *fixed, size_t count)
{
    for (uint32_t i = 0; i < res->table_count; i++) {
        struct extent *e = res->table[i];

        e->ahead = e->held = 0;
        extent_set_fixed(res, e, i < count && fixed[i]);
        atomic_store_explicit(&e->settled,
                              res->learned && e->fixed && e->state == EXTENT_RESIDENT && !e->ready,
                              memory_order_release);
    }
}

/* The policy wants more kept than has room: that is said once for each device. */
static void tell_kept(struct residency *res)
{
    char wanted[SIZE_TEXT_BYTES], kept[SIZE_TEXT_BYTES];
    uint64_t wanted_bytes = 0, kept_bytes = 0;

    for (uint32_t i = 0; i < res->table_count; i++) {
        const struct extent *e = res->table[i];

        if (!e->range || e->place != SCHEDULE_KEEP)
            continue;
        wanted_bytes += e->bytes;
        kept_bytes += e->fixed ? e->bytes : 0;
    }
    if (wanted_bytes == kept_bytes || res->kept_told)
        return;
    res->kept_told = 1;
    log_warn("residency",
             "the policy's device_map puts %s on GPU %d, and beside what streams there is room for "
             "%s: the rest of it streams too; give GPU %d more memory, or put less there",
             size_format(wanted_bytes, SIZE_BINARY, wanted), res->device,
             size_format(kept_bytes, SIZE_BINARY, kept), res->device);
}

uint64_t learn_least_window(const struct residency *res)
{
    uint64_t window = SCHEDULE_WINDOW_EXTENTS * res->extent_bytes;

    return window > res->largest_launch_bytes ? window : res->largest_launch_bytes;
}

/* Without a plan: what is to be kept stays as far as it fits beside a window, and nothing else. */
static void hold_kept(struct residency *res)
{
    uint64_t limit = room_limit(res), taken = 0;
    uint64_t window = res->total_bytes > limit ? learn_least_window(res) : 0;

    for (uint32_t i = 0; i < res->table_count; i++) {
        struct extent *e = res->table[i];
        int stays = e->range && e->place == SCHEDULE_KEEP && taken + e->bytes + window <= limit;

        taken += stays ? e->bytes : 0;
        extent_set_fixed(res, e, stays);
    }
    res->kept_bytes = taken;
    res->kept_limit = taken ? limit : 0;
}

/* Follow the plan that has just been made, for so much room, from its start. */
static void adopt_plan(struct residency *res, const struct schedule_plan *plan, uint64_t limit)
{
    res->plan = *plan;
    res->learned = 1;
    res->planned_limit = limit;
    res->cursor_use = res->cursor_load = 0;
    res->placed = 0;
    res->misses = 0;
    schedule_tempo_replanned(&res->tempo);
    stray_planned(res, stray_room(res, limit));
    res->step_began_ns = 0;
    res->hot_limit = 0;
    adopt_fixed(res, plan->fixed, plan->extent_count);
    if (!res->misplaced) /* else the places are others by now, and the plan is made anew at once */
        tell_kept(res);
    stats_set(step_learned, 1);
    stats_set(launches_per_step, res->plan.launches);
    stats_set(step_load_bytes, res->plan.load_bytes);
    log_debug("residency", "a step of %zu launches%s: %llu bytes stay, %llu stream in %zu loads",
              res->plan.launches, res->by_weights ? " by its weights" : "",
              (unsigned long long)res->plan.fixed_bytes, (unsigned long long)res->plan.load_bytes,
              res->plan.load_count);
    learn_room_changed(res); /* there may be less by now */
}

/* The past counts half from now on. */
static void fade_visits(struct residency *res)
{
    res->visits = 0;
    for (uint32_t i = 0; i < res->table_count; i++) {
        res->table[i]->visits /= 2;
        res->visits += res->table[i]->visits;
    }
}

/* What schedule_choose_hottest() must know. returns how many extents were visited */
static size_t describe_habits(const struct residency *res, struct schedule_habit *habits)
{
    size_t visited = 0;

    for (uint32_t i = 0; i < res->table_count; i++) {
        const struct extent *e = res->table[i];

        if (!e->range)
            continue;
        visited += e->visits > 0;
        habits[i] = (struct schedule_habit){
            .bytes = e->bytes,
            .visits = e->visits,
            .busy = e->busy,
            .written = !extent_is_weights(e),
            .fixed = e->fixed,
            .place = e->place,
        };
    }
    return visited;
}

/* No step shows (a mixture of experts): what is visited most often stays. Gives the lock up. */
static void keep_hottest(struct residency *res)
{
    size_t count = res->table_count, visited;
    struct schedule_habit *habits = calloc(count + 1, sizeof(*habits));
    uint8_t *fixed = calloc(count + 1, 1);
    uint64_t limit = room_limit(res), window = loose_window(res), room;
    uint64_t begun = res->history.begun;
    int err;

    if (!habits || !fixed || window >= limit)
        goto out;
    room = limit - window > res->kept_bytes ? limit - window : res->kept_bytes;
    visited = describe_habits(res, habits);
    if (!visited || res->visits < VISITS_MIN * visited)
        goto out;
    pthread_mutex_unlock(&res->lock);
    err = schedule_choose_hottest(habits, count, room, fixed);
    pthread_mutex_lock(&res->lock);
    if (err || begun != res->history.begun || limit != room_limit(res) || res->misplaced)
        goto out;
    adopt_fixed(res, fixed, count);
    tell_kept(res);
    res->hot_limit = limit;
    fade_visits(res);
    log_debug("residency", "no step shows: what is touched most often stays, of %zu extents",
              visited);
out:
    free(habits);
    free(fixed);
}

/* How much of what the plan loads is weights? */
static uint64_t weights_load_bytes(const struct residency *res, const struct schedule_plan *plan)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < plan->load_count; i++) {
        const struct extent *e = res->table[plan->load[i].extent];

        bytes += extent_is_weights(e) ? e->bytes : 0;
    }
    return bytes;
}

/* The step is to be followed as planned. */
static int take_step(struct residency *res, const struct history_step *step,
                     const struct schedule_plan *plan, uint64_t limit)
{
    res->step_first = step->first;
    res->history.launches = step->first + step->launches; /* what came meanwhile is no part of it */
    adopt_plan(res, plan, limit);
    return 1;
}

/* Plan a step that was found by all that its launches touch. returns 1 when it is the plan now */
static int plan_step(struct residency *res, const struct history_step *step)
{
    struct schedule_plan plan;
    uint64_t limit, weights;

    schedule_tempo_begin(&res->tempo);
    if (make_plan(res, step->first, step->launches, &plan, &limit))
        return 0;
    if (!plan.load_count && !step->steady) { /* it fits as it is: perhaps a loop within a step */
        schedule_plan_destroy(&plan);
        return 0;
    }
    weights = weights_load_bytes(res, &plan);
    res->by_weights = weights && weights == plan.load_bytes;
    stray_begin(res, 0);
    return take_step(res, step, &plan, limit);
}

/* The same for one that was found by weights, and these are most of what streams: else they tell
 * little. What has room as it is may be a loop, or what a mixture of experts did twice by chance.
 */
static int plan_step_by_weights(struct residency *res, const struct history_step *step)
{
    struct schedule_plan plan;
    uint64_t limit;

    if (history_bytes(&res->history, res->table, step, &res->strays.turn) <= room_limit(res))
        return 0;
    stray_begin(res,
                history_take_step_by_weights(&res->history, res->table, step, &res->strays.turn));
    schedule_tempo_begin(&res->tempo);
    res->by_weights = 1;
    if (make_plan(res, step->first, step->launches, &plan, &limit))
        goto none;
    if (2 * weights_load_bytes(res, &plan) > plan.load_bytes)
        return take_step(res, step, &plan, limit);
    schedule_plan_destroy(&plan);
none:
    history_begin(&res->history); /* what was taken out of the record is missing there */
    res->by_weights = 0;
    return 0;
}

void learn_plan(struct residency *res)
{
    struct history *h = &res->history;
    struct history_step step;
    uint64_t begun = h->begun;
    int shows;

    history_note_try(h);
    shows = history_find_step(h, &step);
    if (shows && plan_step(res, &step))
        return;
    if (begun == h->begun && history_find_step_by_weights(h, res->table, &step) &&
        plan_step_by_weights(res, &step))
        return;
    if (!shows && begun == h->begun)
        keep_hottest(res);
}

/* Nothing is kept on purpose any more, but what the policy wants kept. */
static void let_all_go(struct residency *res)
{
    res->hot_limit = 0;
    hold_kept(res);
    for (uint32_t i = 0; i < res->table_count; i++) {
        struct extent *e = res->table[i];

        e->ahead = e->held = 0;
        atomic_store_explicit(&e->settled, 0, memory_order_release);
    }
}

/* The same step, for another room or other places. Gives the lock up. */
static void plan_anew(struct residency *res)
{
    size_t launches = res->history.launches - res->step_first;
    uint64_t begun = res->history.begun, limit;
    struct schedule_plan plan;

    if (!make_plan(res, res->step_first, launches, &plan, &limit)) {
        schedule_plan_destroy(&res->plan);
        adopt_plan(res, &plan, limit);
    } else if (begun == res->history.begun) {
        learn_forget(res);
    }
}

void learn_room_changed(struct residency *res)
{
    uint64_t limit = room_limit(res);

    if (res->hot_limit > limit + PAGE_BYTES)
        let_all_go(res);
    else if (!res->learned && res->kept_limit > limit + PAGE_BYTES)
        hold_kept(res);
    if (res->learned && res->planned_limit >= limit + PAGE_BYTES)
        res->misplaced = 1;
}

void learn_places(struct residency *res)
{
    if (res->misplaced && res->tempo.phase != TEMPO_DECIDED)
        schedule_tempo_begin(&res->tempo); /* what was timed was another plan, for another room */
    res->misplaced = res->tempo_changed = 0;
    if (res->learned)
        plan_anew(res);
    else
        let_all_go(res);
}

void learn_forget(struct residency *res)
{
    res->history.begun++; /* a plan that is being made is of no use */
    res->tempo_changed = 0;
    if (res->learned) {
        res->learned = res->by_weights = 0;
        schedule_plan_destroy(&res->plan);
        history_begin(&res->history);
    }
    let_all_go(res);
}
