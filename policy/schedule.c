#include "schedule.h"
#include "schedule_fixed.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

size_t schedule_find_step(const uint64_t *signature, size_t count)
{
    /* match[p] is how far the sequence, read backwards, agrees with itself p launches earlier: the
     * Z function of the reversed sequence. A step of length p is there when match[p] >= p. */
    size_t *match, left = 0, right = 0, found = 0;

    if (count < 2)
        return 0;
    match = calloc(count, sizeof(*match));
    if (!match)
        return 0;
    for (size_t p = 1; p <= count / 2; p++) {
        size_t n = 0;

        if (p < right)
            n = match[p - left] < right - p ? match[p - left] : right - p;
        while (p + n < count && signature[count - 1 - n] == signature[count - 1 - p - n])
            n++;
        match[p] = n;
        if (p + n > right) {
            left = p;
            right = p + n;
        }
        if (n >= p) {
            found = p;
            break;
        }
    }
    free(match);
    return found;
}

/* What the window holds, the least recently used first: a ring through a sentinel. */
struct window {
    uint32_t *next, *previous; /* extent_count + 1 links; the last is the sentinel */
    uint8_t *held;
    uint32_t sentinel;
    uint64_t bytes, bytes_max;
};

static void window_unlink(struct window *w, uint32_t e)
{
    w->next[w->previous[e]] = w->next[e];
    w->previous[w->next[e]] = w->previous[e];
}

static void window_append(struct window *w, uint32_t e)
{
    w->previous[e] = w->previous[w->sentinel];
    w->next[e] = w->sentinel;
    w->next[w->previous[e]] = e;
    w->previous[w->sentinel] = e;
}

static int window_begin(struct window *w, size_t extent_count, uint64_t bytes_max)
{
    memset(w, 0, sizeof(*w));
    w->next = calloc(extent_count + 1, sizeof(*w->next));
    w->previous = calloc(extent_count + 1, sizeof(*w->previous));
    w->held = calloc(extent_count + 1, 1);
    w->sentinel = (uint32_t)extent_count;
    w->bytes_max = bytes_max;
    if (!w->next || !w->previous || !w->held)
        return -ENOMEM;
    w->next[w->sentinel] = w->previous[w->sentinel] = w->sentinel;
    return 0;
}

static void window_end(struct window *w)
{
    free(w->next);
    free(w->previous);
    free(w->held);
}

/* One extent of a launch is used. returns 1 when it had to be loaded */
static int window_use(struct window *w, uint32_t e, const struct schedule_extent *extents)
{
    int loaded = !w->held[e];

    if (loaded)
        w->bytes += extents[e].bytes;
    else
        window_unlink(w, e);
    w->held[e] = 1;
    window_append(w, e);
    while (w->bytes > w->bytes_max && w->next[w->sentinel] != e) {
        uint32_t oldest = w->next[w->sentinel];

        window_unlink(w, oldest);
        w->held[oldest] = 0;
        w->bytes -= extents[oldest].bytes;
    }
    return loaded;
}

/* Let an extent's loads be found without a walk through all of them. */
static int index_loads(struct schedule_plan *plan)
{
    plan->first_load = malloc((plan->extent_count + 1) * sizeof(*plan->first_load));
    if (!plan->first_load)
        return -ENOMEM;
    for (size_t e = 0; e < plan->extent_count; e++)
        plan->first_load[e] = SCHEDULE_NONE;
    for (size_t i = plan->load_count; i-- > 0;) {
        plan->load[i].same = plan->first_load[plan->load[i].extent];
        plan->first_load[plan->load[i].extent] = (uint32_t)i;
    }
    return 0;
}

/* What of the room may hold extents that are used again later. The rest is for what arrives ahead
 * of its launch; but a launch has room for its own, and for extents that it shares with the next.
 */
static uint64_t holding_bytes(const struct schedule_trace *step,
                              const struct schedule_extent *extents,
                              const struct schedule_plan *plan, uint64_t room_bytes)
{
    uint64_t launch_max = 0, extent_max = 0, least, kept;

    for (size_t l = 0; l < step->launches; l++) {
        uint64_t bytes = 0;

        for (uint32_t i = step->first[l]; i < step->first[l + 1]; i++) {
            const struct schedule_extent *e = &extents[step->extent[i]];

            if (plan->fixed[step->extent[i]])
                continue;
            bytes += e->bytes;
            extent_max = e->bytes > extent_max ? e->bytes : extent_max;
        }
        launch_max = bytes > launch_max ? bytes : launch_max;
    }
    least = launch_max + 2 * extent_max;
    kept = launch_max + extent_max < room_bytes ? room_bytes - launch_max - extent_max : 0;
    if (kept < least)
        kept = least;
    return kept < room_bytes ? kept : room_bytes;
}

/* Of an extent, while the loads are listed. */
struct stay {
    uint32_t load;        /* its last so far, or SCHEDULE_NONE */
    uint32_t early;       /* uses before its first load in the step: those of its last one, for the
                             step is a ring */
    uint32_t early_loads; /* that came before the last of these uses */
};

/* The loads that a step needs, with what the window holds at its start. stays: by identity */
static void list_round(const struct schedule_trace *step, const struct schedule_extent *extents,
                       struct window *window, struct stay *stays, struct schedule_plan *plan)
{
    plan->load_count = 0;
    plan->load_bytes = 0;
    for (size_t e = 0; e < plan->extent_count; e++)
        stays[e] = (struct stay){.load = SCHEDULE_NONE};
    for (size_t l = 0; l < step->launches; l++) {
        for (uint32_t i = step->first[l]; i < step->first[l + 1]; i++) {
            uint32_t e = step->extent[i];
            struct stay *stay = &stays[e];

            if (plan->fixed[e])
                continue;
            if (window_use(window, e, extents)) {
                stay->load = (uint32_t)plan->load_count;
                plan->load[plan->load_count++] =
                    (struct schedule_load){.extent = e, .launch = (uint32_t)l};
                plan->load_bytes += extents[e].bytes;
            }
            if (stay->load == SCHEDULE_NONE) {
                stay->early++;
                stay->early_loads = (uint32_t)plan->load_count;
            } else {
                plan->load[stay->load].uses++;
                plan->load[stay->load].span = (uint32_t)plan->load_count - stay->load - 1;
            }
        }
    }
    for (size_t e = 0; e < plan->extent_count; e++) {
        const struct stay *stay = &stays[e];

        if (stay->load == SCHEDULE_NONE || !stay->early)
            continue;
        plan->load[stay->load].uses += stay->early;
        plan->load[stay->load].span =
            (uint32_t)plan->load_count - stay->load - 1 + stay->early_loads;
    }
}

/* List the loads of one step: an extent that does not stay is loaded before a launch that uses it,
 * unless the window still holds it. Two rounds, so that what the end of a step leaves in the window
 * is not loaded again at its start. */
int schedule_list_loads(const struct schedule_trace *step, const struct schedule_extent *extents,
                        struct schedule_plan *plan, uint64_t room_bytes)
{
    size_t most = step->first[step->launches];
    struct stay *stays = calloc(plan->extent_count + 1, sizeof(*stays));
    struct window window;
    int err =
        window_begin(&window, plan->extent_count, holding_bytes(step, extents, plan, room_bytes));

    plan->load = calloc(most ? most : 1, sizeof(*plan->load));
    if (!plan->load || !stays)
        err = -ENOMEM;
    for (int round = 0; round < 2 && !err; round++)
        list_round(step, extents, &window, stays, plan);
    window_end(&window);
    free(stays);
    return err;
}

static int check_trace(const struct schedule_trace *step, size_t extent_count)
{
    if (!step->launches || step->first[0] != 0)
        return -EINVAL;
    for (size_t l = 0; l < step->launches; l++)
        if (step->first[l] > step->first[l + 1])
            return -EINVAL;
    for (uint32_t i = 0; i < step->first[step->launches]; i++)
        if (step->extent[i] >= extent_count)
            return -EINVAL;
    return 0;
}

/* Plan with just what ahead says. step is checked */
static int plan_ahead(const struct schedule_trace *step, const struct schedule_extent *extents,
                      size_t extent_count, uint64_t budget_bytes, uint64_t window_bytes,
                      enum schedule_ahead ahead, struct schedule_plan *out)
{
    int err;

    memset(out, 0, sizeof(*out));
    out->extent_count = extent_count;
    out->launches = step->launches;
    out->fixed = calloc(extent_count ? extent_count : 1, 1);
    if (!out->fixed)
        return -ENOMEM;
    err = schedule_choose_fixed(step, extents, budget_bytes, window_bytes, ahead, out);
    if (!err)
        err = schedule_list_loads(step, extents, out, budget_bytes - out->fixed_bytes);
    if (!err)
        err = index_loads(out);
    if (err)
        schedule_plan_destroy(out);
    return err;
}

int schedule_plan_create(const struct schedule_trace *step, const struct schedule_extent *extents,
                         size_t extent_count, uint64_t budget_bytes, uint64_t window_bytes,
                         enum schedule_ahead ahead, struct schedule_plan *out)
{
    struct schedule_plan wide;
    int err = check_trace(step, extent_count);

    memset(out, 0, sizeof(*out));
    if (!err)
        err = plan_ahead(step, extents, extent_count, budget_bytes, window_bytes, ahead, out);
    if (err || ahead != SCHEDULE_AHEAD_LEAN || !out->load_count)
        return err;
    if (plan_ahead(step, extents, extent_count, budget_bytes, window_bytes, SCHEDULE_AHEAD_WIDE,
                   &wide))
        return 0;
    if (wide.load_bytes <= out->load_bytes + out->load_bytes / SCHEDULE_WIDE_SHARE) {
        struct schedule_plan lean = *out;

        *out = wide;
        wide = lean;
    }
    schedule_plan_destroy(&wide);
    return 0;
}

void schedule_plan_destroy(struct schedule_plan *plan)
{
    free(plan->fixed);
    free(plan->load);
    free(plan->first_load);
    memset(plan, 0, sizeof(*plan));
}

/* An extent and what it is worth to keep it. */
struct heat {
    uint64_t worth;
    uint32_t extent;
};

static int hotter_first(const void *a, const void *b)
{
    const struct heat *x = a, *y = b;

    if (x->worth != y->worth)
        return x->worth > y->worth ? -1 : 1;
    return x->extent < y->extent ? -1 : 1;
}

/* In quarters of a visit, so that staying can be worth a quarter more. */
static uint64_t worth(const struct schedule_habit *h)
{
    if (h->place != SCHEDULE_FREE)
        return h->place == SCHEDULE_KEEP ? UINT64_MAX : 0;
    if (!h->visits)
        return h->busy ? UINT64_MAX - 1 : 0;
    return (uint64_t)h->visits * (h->written ? 2 : 1) * (h->fixed ? 5 : 4);
}

int schedule_choose_hottest(const struct schedule_habit *habits, size_t count, uint64_t room_bytes,
                            uint8_t *fixed)
{
    struct heat *order = malloc((count + 1) * sizeof(*order));
    uint64_t taken = 0;

    if (!order)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        order[i].worth = worth(&habits[i]);
        order[i].extent = (uint32_t)i;
    }
    qsort(order, count, sizeof(*order), hotter_first);
    memset(fixed, 0, count);
    for (size_t i = 0; i < count && order[i].worth; i++) {
        uint64_t bytes = habits[order[i].extent].bytes;

        if (bytes > room_bytes - taken)
            continue;
        fixed[order[i].extent] = 1;
        taken += bytes;
    }
    free(order);
    return 0;
}

uint64_t schedule_next_use(uint64_t now, uint64_t last, uint64_t interval)
{
    const uint64_t never = UINT64_MAX / 2;

    if (interval && last + 2 * interval >= now)
        return last + interval > now ? last + interval : now;
    return never + last;
}
