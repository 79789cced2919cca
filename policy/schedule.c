#include "schedule.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NO_LAUNCH    UINT32_MAX
#define WINDOW_SHARE 64 /* of the budget, where no window is asked for */
#define WINDOW_MAX   ((uint64_t)32 << 20)

/* How an extent is used in the step. */
struct usage {
    uint32_t first;   /* the first launch that touches it; NO_LAUNCH when none does */
    uint32_t loads;   /* in each step, if it streamed */
    uint64_t at_last; /* bytes touched by the step up to and with that launch */
};

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

static uint64_t launch_bytes(const struct schedule_trace *step,
                             const struct schedule_extent *extents, size_t launch)
{
    uint64_t bytes = 0;

    for (uint32_t i = step->first[launch]; i < step->first[launch + 1]; i++)
        bytes += extents[step->extent[i]].bytes;
    return bytes;
}

/* The least that keeps the link busy: what streams for the launch that runs, and beside it what
 * arrives for the next one that streams anything, the step being a ring. last_seen is scratch, by
 * identity. */
static uint64_t window_needed(const struct schedule_trace *step,
                              const struct schedule_extent *extents, const uint8_t *fixed,
                              size_t extent_count, uint32_t *last_seen)
{
    uint64_t largest = 0, before = 0;
    uint32_t round = 0; /* launches that stream anything, so far */

    for (size_t e = 0; e < extent_count; e++)
        last_seen[e] = NO_LAUNCH;
    for (size_t l = 0; l < 2 * step->launches; l++) {
        size_t at = l % step->launches;
        uint64_t bytes = 0, both = before;

        for (uint32_t i = step->first[at]; i < step->first[at + 1]; i++) {
            uint32_t e = step->extent[i];

            if (fixed[e])
                continue;
            bytes += extents[e].bytes;
            if (last_seen[e] == NO_LAUNCH || last_seen[e] + 1 != round)
                both += extents[e].bytes;
            last_seen[e] = round;
        }
        if (!bytes)
            continue;
        round++;
        if (both > largest)
            largest = both;
        before = bytes;
    }
    return largest;
}

/* Count how often each extent would be loaded in a step if it streamed: once for each use that lies
 * further than a window from the use before it, the step being a ring. */
static void count_loads(const struct schedule_trace *step, const struct schedule_extent *extents,
                        uint64_t window_bytes, struct usage *usage)
{
    uint64_t touched = 0, whole = 0;

    for (size_t l = 0; l < step->launches; l++)
        whole += launch_bytes(step, extents, l);
    for (size_t l = 0; l < step->launches; l++) {
        uint64_t before = touched;

        touched += launch_bytes(step, extents, l);
        for (uint32_t i = step->first[l]; i < step->first[l + 1]; i++) {
            struct usage *u = &usage[step->extent[i]];

            if (u->first == NO_LAUNCH) {
                u->first = (uint32_t)l;
                u->loads = 0;
            } else if (before - u->at_last > window_bytes) {
                u->loads++;
            }
            u->at_last = touched;
        }
    }
    /* Round the ring: from the last use of this step to the first of the next one. */
    touched = 0;
    for (size_t l = 0; l < step->launches; l++) {
        for (uint32_t i = step->first[l]; i < step->first[l + 1]; i++) {
            struct usage *u = &usage[step->extent[i]];

            if (u->first == l && whole - u->at_last + touched > window_bytes)
                u->loads++;
        }
        touched += launch_bytes(step, extents, l);
    }
}

/* What it costs in loads and copies back to let an extent stream. One that is used so often that it
 * would never leave the window (activations) stays before all others: it takes its room anyway. */
static uint32_t load_cost(const struct usage *usage, const struct schedule_extent *extent)
{
    if (!usage->loads)
        return UINT32_MAX;
    return usage->loads * (extent->written ? 2 : 1);
}

/* Among the extents that cost the same, fix as many bytes as room holds, evenly through the step:
 * after each extent, the share of the class that is fixed so far is as near to room / class_bytes
 * as whole extents allow. order is by first use. */
static uint64_t spread(const uint32_t *order, size_t count, const struct schedule_extent *extents,
                       uint64_t class_bytes, uint64_t room, uint8_t *fixed)
{
    uint64_t passed = 0, taken = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t bytes = extents[order[i]].bytes;
        long double due;

        passed += bytes;
        due = (long double)room * (long double)passed / (long double)class_bytes;
        if (taken + bytes <= room && (long double)(taken + bytes) <= due + 0.5L) {
            fixed[order[i]] = 1;
            taken += bytes;
        }
    }
    /* What rounding left over, at the end of the step: still room for whole extents. */
    for (size_t i = count; i-- > 0;) {
        uint64_t bytes = extents[order[i]].bytes;

        if (!fixed[order[i]] && taken + bytes <= room) {
            fixed[order[i]] = 1;
            taken += bytes;
        }
    }
    return taken;
}

/* Fix extents into room bytes, those that would be loaded most often first. */
static uint64_t choose_fixed(const struct schedule_extent *extents, const struct usage *usage,
                             const uint32_t *used, size_t used_count, uint64_t room, uint8_t *fixed,
                             uint32_t *class)
{
    uint32_t cost_max = 0;
    uint64_t taken = 0;

    for (size_t i = 0; i < used_count; i++) {
        uint32_t cost = load_cost(&usage[used[i]], &extents[used[i]]);

        if (cost > cost_max)
            cost_max = cost;
    }
    for (uint32_t cost = cost_max;;) {
        uint64_t class_bytes = 0;
        uint32_t next = 0;
        size_t count = 0;

        for (size_t i = 0; i < used_count; i++) {
            uint32_t c = load_cost(&usage[used[i]], &extents[used[i]]);

            if (c == cost) {
                class[count++] = used[i];
                class_bytes += extents[used[i]].bytes;
            } else if (c < cost && c > next) {
                next = c;
            }
        }
        if (class_bytes)
            taken += spread(class, count, extents, class_bytes,
                            class_bytes < room - taken ? class_bytes : room - taken, fixed);
        if (!next)
            break;
        cost = next;
    }
    return taken;
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

/* List the loads of one step: an extent that does not stay is loaded before a launch that uses it,
 * unless the window still holds it. Two rounds, so that what the end of a step leaves in the window
 * is not loaded again at its start. */
static int list_loads(const struct schedule_trace *step, const struct schedule_extent *extents,
                      struct schedule_plan *plan, uint64_t room_bytes)
{
    size_t most = step->first[step->launches];
    struct window window;
    int err = window_begin(&window, plan->extent_count, room_bytes);

    plan->load = calloc(most ? most : 1, sizeof(*plan->load));
    if (!plan->load)
        err = -ENOMEM;
    for (int round = 0; round < 2 && !err; round++) {
        plan->load_count = 0;
        plan->load_bytes = 0;
        for (size_t l = 0; l < step->launches; l++) {
            for (uint32_t i = step->first[l]; i < step->first[l + 1]; i++) {
                uint32_t e = step->extent[i];

                if (plan->fixed[e] || !window_use(&window, e, extents))
                    continue;
                plan->load[plan->load_count].extent = e;
                plan->load[plan->load_count++].launch = (uint32_t)l;
                plan->load_bytes += extents[e].bytes;
            }
        }
    }
    window_end(&window);
    return err ? err : index_loads(plan);
}

/* What choose() works with. */
struct workspace {
    struct usage *usage;
    uint32_t *used, *class, *last_seen;
    size_t used_count;
};

/* Choose what stays beside a window that is as small as streaming the rest allows: the smaller the
 * window, the more stays, and the less it needs to hold. */
static void choose(const struct schedule_trace *step, const struct schedule_extent *extents,
                   uint64_t budget_bytes, uint64_t window_bytes, struct workspace *work,
                   struct schedule_plan *out)
{
    uint64_t needed = window_bytes;

    do {
        window_bytes = needed < budget_bytes ? needed : budget_bytes;
        for (size_t e = 0; e < out->extent_count; e++)
            work->usage[e].first = NO_LAUNCH;
        memset(out->fixed, 0, out->extent_count);
        count_loads(step, extents, window_bytes, work->usage);
        out->fixed_bytes = choose_fixed(extents, work->usage, work->used, work->used_count,
                                        budget_bytes - window_bytes, out->fixed, work->class);
        needed = window_needed(step, extents, out->fixed, out->extent_count, work->last_seen);
    } while (needed > window_bytes && window_bytes < budget_bytes);
    out->window_bytes = window_bytes;
}

/* The distinct extents of the step, in order of first use. seen is all zero before and after. */
static size_t list_used(const struct schedule_trace *step, uint8_t *seen, uint32_t *used)
{
    size_t count = 0;

    for (uint32_t i = 0; i < step->first[step->launches]; i++) {
        uint32_t e = step->extent[i];

        if (!seen[e])
            used[count++] = e;
        seen[e] = 1;
    }
    for (size_t i = 0; i < count; i++)
        seen[used[i]] = 0;
    return count;
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

int schedule_plan_create(const struct schedule_trace *step, const struct schedule_extent *extents,
                         size_t extent_count, uint64_t budget_bytes, uint64_t window_bytes,
                         struct schedule_plan *out)
{
    struct workspace work = {0};
    uint64_t all_bytes = 0;
    int err = check_trace(step, extent_count);

    memset(out, 0, sizeof(*out));
    if (err)
        return err;
    out->extent_count = extent_count;
    out->launches = step->launches;
    out->fixed = calloc(extent_count ? extent_count : 1, 1);
    work.usage = calloc(extent_count + 1, sizeof(*work.usage));
    work.used = calloc(extent_count + 1, sizeof(*work.used));
    work.class = calloc(extent_count + 1, sizeof(*work.class));
    work.last_seen = calloc(extent_count + 1, sizeof(*work.last_seen));
    err = -ENOMEM;
    if (!out->fixed || !work.usage || !work.used || !work.class || !work.last_seen)
        goto out;

    work.used_count = list_used(step, out->fixed, work.used);
    for (size_t i = 0; i < work.used_count; i++)
        all_bytes += extents[work.used[i]].bytes;
    if (all_bytes <= budget_bytes) {
        for (size_t i = 0; i < work.used_count; i++)
            out->fixed[work.used[i]] = 1;
        out->fixed_bytes = all_bytes;
    } else {
        /* More than what one launch needs is depth, which hides the host's hesitations and is paid
         * for in bytes that do not stay. */
        if (!window_bytes)
            window_bytes =
                budget_bytes / WINDOW_SHARE < WINDOW_MAX ? budget_bytes / WINDOW_SHARE : WINDOW_MAX;
        choose(step, extents, budget_bytes, window_bytes, &work, out);
    }
    err = list_loads(step, extents, out, budget_bytes - out->fixed_bytes);
out:
    free(work.usage);
    free(work.used);
    free(work.class);
    free(work.last_seen);
    if (err)
        schedule_plan_destroy(out);
    return err;
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
    if (!h->visits)
        return h->busy ? UINT64_MAX : 0;
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
