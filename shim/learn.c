/* learn.c - residency's view of the program's habits: the step, and where in it the program is.
 *
 * Until a step is known, every launch is recorded. Once it is, the record is the step, and the
 * program is followed through the plan's loads by what it touches.
 */
#include "log.h"
#include "pager.h"
#include "stats.h"
#include <stdlib.h>
#include <string.h>

#define HISTORY_LAUNCHES_MAX ((size_t)1 << 16)
#define HISTORY_EXTENTS_MAX  ((size_t)1 << 20)
#define FIRST_TRY            16
#define MISSES_MIN           8 /* more than these and a quarter of a step's loads end the plan */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash ^= value + 0x9e3779b97f4a7c15ull + (hash << 6) + (hash >> 2);
    return hash * 0xff51afd7ed558ccdull;
}

/* Room for at least want elements. returns the array, which may have moved; NULL: it stays as it is
 */
static void *grow(void *array, size_t *room, size_t want, size_t element_bytes)
{
    size_t more = *room ? *room : 256;
    void *grown;

    while (more < want)
        more *= 2;
    grown = realloc(array, more * element_bytes);
    if (grown)
        *room = more;
    return grown;
}

static int reserve_history(struct history *h, size_t count)
{
    size_t used = h->launches ? h->first[h->launches] : 0;

    if (h->launches + 2 > h->launch_room) {
        size_t room = h->launch_room;
        uint64_t *signature = grow(h->signature, &room, h->launches + 2, sizeof(*signature));
        uint32_t *first;

        if (!signature)
            return -1;
        h->signature = signature;
        room = h->launch_room;
        first = grow(h->first, &room, h->launches + 2, sizeof(*first));
        if (!first)
            return -1;
        h->first = first;
        h->launch_room = room;
    }
    if (used + count > h->extent_room) {
        uint32_t *extent = grow(h->extent, &h->extent_room, used + count, sizeof(*extent));

        if (!extent)
            return -1;
        h->extent = extent;
    }
    return 0;
}

static void record(struct history *h, struct extent *const *set, size_t count)
{
    uint64_t signature = count;
    uint32_t at;

    if (h->launches >= HISTORY_LAUNCHES_MAX ||
        (h->launches && h->first[h->launches] + count > HISTORY_EXTENTS_MAX)) {
        h->launches = 0; /* no step so far: what comes now matters more than what was */
        h->next_try = FIRST_TRY;
    }
    if (reserve_history(h, count))
        return;
    if (!h->launches)
        h->first[0] = 0;
    at = h->first[h->launches];
    for (size_t i = 0; i < count; i++) {
        h->extent[at++] = set[i]->id;
        signature = mix(signature, set[i]->id);
    }
    h->signature[h->launches++] = signature;
    h->first[h->launches] = at;
}

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

static void set_cursor(struct residency *res, uint64_t use)
{
    size_t n = res->plan.load_count;

    for (; res->cursor_use < use; res->cursor_use++) {
        struct extent *passed = res->table[res->plan.load[res->cursor_use % n].extent];

        if (res->cursor_use < res->cursor_load && passed->ahead)
            passed->ahead--;
        if ((res->cursor_use + 1) % n == 0) {
            stats_add(steps, 1);
            res->misses = 0;
        }
    }
    if (res->cursor_load < res->cursor_use)
        res->cursor_load = res->cursor_use;
}

/* The program touched an extent that streams: it has come to that extent's next load in the plan.
 * Touching once more what is still there says nothing, also when it was loaded for the next turn
 * already; an absent extent which the plan does not expect soon is a miss, and too many of those
 * end the plan. A plan that was made in the middle of a step is entered wherever the program is. */
static void follow(struct residency *res, struct extent *e)
{
    size_t n = res->plan.load_count, distance;

    if (extent_is_present(e) && !e->ahead)
        return;
    distance = n ? next_load(res, e) : 0;
    if (distance < n && (distance <= n / 2 || !res->placed)) {
        int skipped = res->placed && res->cursor_use + distance > res->cursor_load;

        res->placed = 1;
        set_cursor(res, res->cursor_use + distance + 1);
        if (skipped)
            learn_miss(res);
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

void learn_touch(struct residency *res, struct extent *const *set, size_t count)
{
    res->clock++;
    for (size_t i = 0; i < count; i++) {
        struct extent *e = set[i];

        if (e->last_use && res->clock > e->last_use)
            e->interval = res->clock - e->last_use;
        e->last_use = res->clock;
        if (res->last_touched != EXTENT_NONE && res->last_touched != e->id)
            res->table[res->last_touched]->successor = e->id;
        res->last_touched = e->id;
    }
    if (!res->learned) {
        record(&res->history, set, count);
        return;
    }
    for (size_t i = 0; i < count && res->learned; i++)
        if (!set[i]->fixed)
            follow(res, set[i]);
}

int learn_is_due(const struct residency *res)
{
    return !res->learned && res->history.launches >= res->history.next_try &&
           res->history.launches > 0;
}

/* Plan the step that begins at step_first of the history. returns 0 or -1 */
static int make_plan(struct residency *res)
{
    const struct history *h = &res->history;
    struct schedule_trace step = {.launches = h->launches - res->step_first};
    struct schedule_extent *extents = calloc(res->table_count + 1, sizeof(*extents));
    uint32_t *first = calloc(step.launches + 1, sizeof(*first));
    int err = -1;

    if (!extents || !first)
        goto out;
    for (size_t l = 0; l <= step.launches; l++)
        first[l] = h->first[res->step_first + l] - h->first[res->step_first];
    for (uint32_t i = 0; i < res->table_count; i++) {
        extents[i].bytes = res->table[i]->bytes;
        extents[i].written = res->table[i]->mode == BACKEND_MOVED && !res->table[i]->clean;
    }
    step.first = first;
    step.extent = h->extent + h->first[res->step_first];
    err = schedule_plan_create(&step, extents, res->table_count, room_limit(res), 0, &res->plan);
out:
    free(extents);
    free(first);
    return err ? -1 : 0;
}

/* Follow the plan that has just been made, from its start. */
static void adopt_plan(struct residency *res)
{
    res->learned = 1;
    res->planned_limit = room_limit(res);
    res->cursor_use = res->cursor_load = 0;
    res->placed = 0;
    res->misses = 0;
    for (uint32_t i = 0; i < res->table_count; i++) {
        struct extent *e = res->table[i];

        e->ahead = 0;
        extent_set_fixed(res, e, res->plan.fixed[i]);
        atomic_store_explicit(&e->settled, e->fixed && e->state == EXTENT_RESIDENT && !e->ready,
                              memory_order_release);
    }
    stats_set(step_learned, 1);
    stats_set(launches_per_step, res->plan.launches);
    log_debug("residency", "a step of %zu launches: %llu bytes stay, %llu stream in %zu loads",
              res->plan.launches, (unsigned long long)res->plan.fixed_bytes,
              (unsigned long long)res->plan.load_bytes, res->plan.load_count);
}

void learn_plan(struct residency *res)
{
    struct history *h = &res->history;
    size_t length = schedule_find_step(h->signature, h->launches);

    h->next_try = h->launches + (h->launches / 8 > FIRST_TRY ? h->launches / 8 : FIRST_TRY);
    if (!length)
        return;
    res->step_first = h->launches - length;
    if (make_plan(res))
        return;
    if (res->plan.load_count)
        adopt_plan(res);
    else /* this stretch fits as it is: nothing to plan for */
        schedule_plan_destroy(&res->plan);
}

void learn_room_changed(struct residency *res)
{
    struct schedule_plan old = res->plan;
    uint64_t limit = room_limit(res);

    if (!res->learned || res->planned_limit < limit + PAGE_BYTES)
        return;
    if (make_plan(res)) {
        res->plan = old;
        learn_forget(res);
        return;
    }
    schedule_plan_destroy(&old);
    adopt_plan(res);
}

void learn_forget(struct residency *res)
{
    if (!res->learned)
        return;
    res->learned = 0;
    schedule_plan_destroy(&res->plan);
    res->history.launches = 0;
    res->history.next_try = FIRST_TRY;
    for (uint32_t i = 0; i < res->table_count; i++) {
        struct extent *e = res->table[i];

        extent_set_fixed(res, e, 0);
        e->ahead = 0;
        atomic_store_explicit(&e->settled, 0, memory_order_release);
    }
}
