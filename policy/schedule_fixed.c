/* schedule_fixed.c - what stays through a step: as much as fits beside the window through which the
 * rest streams, and a window as small as that allows. */
#include "schedule_fixed.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NO_LAUNCH UINT32_MAX
/* Each window that is tried is smaller by this share than the one before; for long steps, where a
 * try takes long, there are fewer. */
#define TRY_SHARE      16
#define TRY_SHARE_LONG 4
#define LONG_STEP      16384 /* uses of extents */

/* How an extent is used in the step. */
struct usage {
    uint32_t first;   /* the first launch that touches it; NO_LAUNCH when none does */
    uint32_t loads;   /* in each step, if it streamed */
    uint64_t at_last; /* bytes touched by the step up to and with that launch */
};

/* What is worked with; each array has an element for each extent. */
struct workspace {
    struct usage *usage;
    uint32_t *used; /* in order of first use, then what is to be kept and not used */
    uint32_t *class, *last_seen;
    uint8_t *fixed; /* of the window that is tried */
    uint8_t *kept;  /* what stays whatever window is tried, of kept_bytes */
    uint64_t kept_bytes;
    uint64_t ahead_bytes; /* of a launch, that the window has room for beside the one before */
    size_t used_count, extent_count;
    uint64_t extent_bytes; /* of the largest that is used */
};

/* The bytes that a launch streams when just fixed stays. */
static uint64_t streamed_bytes(const struct schedule_trace *step,
                               const struct schedule_extent *extents, const uint8_t *fixed,
                               size_t launch)
{
    uint64_t bytes = 0;

    for (uint32_t i = step->first[launch]; i < step->first[launch + 1]; i++)
        if (!fixed[step->extent[i]])
            bytes += extents[step->extent[i]].bytes;
    return bytes;
}

/* Count how often each extent would be loaded in a step if it streamed beside what fixed says: once
 * for each use that lies further than a window from the use before it, the step being a ring. */
static void count_loads(const struct schedule_trace *step, const struct schedule_extent *extents,
                        uint64_t window_bytes, struct workspace *work)
{
    struct usage *usage = work->usage;
    uint64_t touched = 0, whole = 0;

    for (size_t e = 0; e < work->extent_count; e++)
        usage[e].first = NO_LAUNCH;
    for (size_t l = 0; l < step->launches; l++)
        whole += streamed_bytes(step, extents, work->fixed, l);
    for (size_t l = 0; l < step->launches; l++) {
        uint64_t before = touched;

        touched += streamed_bytes(step, extents, work->fixed, l);
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
        touched += streamed_bytes(step, extents, work->fixed, l);
    }
}

/* What it costs in loads and copies back to let an extent stream; 0: it must stream. One that is to
 * be kept stays before all others, then one that is used so often that it would never leave the
 * window (activations): it takes its room anyway. */
static uint32_t load_cost(const struct usage *usage, const struct schedule_extent *extent)
{
    if (extent->place == SCHEDULE_STREAM)
        return 0;
    if (extent->place == SCHEDULE_KEEP)
        return usage->first == NO_LAUNCH ? 1 : UINT32_MAX;
    if (!usage->loads)
        return UINT32_MAX - 1;
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

/* Fix more extents, of room bytes, those that would be loaded most often first. */
static uint64_t choose_fixed(const struct schedule_extent *extents, const struct usage *usage,
                             const uint32_t *used, size_t used_count, uint64_t room, uint8_t *fixed,
                             uint32_t *class)
{
    uint32_t cost_max = 0;
    uint64_t taken = 0;

    for (size_t i = 0; i < used_count; i++) {
        uint32_t cost = load_cost(&usage[used[i]], &extents[used[i]]);

        if (!fixed[used[i]] && cost > cost_max)
            cost_max = cost;
    }
    for (uint32_t cost = cost_max; cost;) {
        uint64_t class_bytes = 0;
        uint32_t next = 0;
        size_t count = 0;

        for (size_t i = 0; i < used_count; i++) {
            uint32_t c = load_cost(&usage[used[i]], &extents[used[i]]);

            if (fixed[used[i]])
                continue;
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
        cost = next;
    }
    return taken;
}

/* The least that keeps the link busy: what streams for the launch that runs, and beside it what
 * arrives for the next one that streams anything, ahead_bytes of it at most, the step being a ring.
 * last_seen is scratch, by identity. */
static uint64_t window_needed(const struct schedule_trace *step,
                              const struct schedule_extent *extents, const uint8_t *fixed,
                              size_t extent_count, uint64_t ahead_bytes, uint32_t *last_seen)
{
    uint64_t largest = 0, before = 0;
    uint32_t round = 0; /* launches that stream anything, so far */

    for (size_t e = 0; e < extent_count; e++)
        last_seen[e] = NO_LAUNCH;
    for (size_t l = 0; l < 2 * step->launches; l++) {
        size_t at = l % step->launches;
        uint64_t bytes = 0, more = 0;

        for (uint32_t i = step->first[at]; i < step->first[at + 1]; i++) {
            uint32_t e = step->extent[i];

            if (fixed[e])
                continue;
            bytes += extents[e].bytes;
            if (last_seen[e] == NO_LAUNCH || last_seen[e] + 1 != round)
                more += extents[e].bytes;
            last_seen[e] = round;
        }
        if (!bytes)
            continue;
        round++;
        more = before + (more < ahead_bytes ? more : ahead_bytes);
        largest = more > largest ? more : largest;
        largest = bytes > largest ? bytes : largest;
        before = bytes;
    }
    return largest;
}

/* Fix what would never leave the window anyway (activations). returns its bytes */
static uint64_t hold_busy(const struct schedule_extent *extents, struct workspace *work)
{
    uint64_t taken = 0;

    for (size_t i = 0; i < work->used_count; i++) {
        uint32_t e = work->used[i];

        if (work->fixed[e] || extents[e].place == SCHEDULE_STREAM || work->usage[e].loads ||
            work->usage[e].first == NO_LAUNCH)
            continue;
        work->fixed[e] = 1;
        taken += extents[e].bytes;
    }
    return taken;
}

/* Fix extents until no launch and the next that streams (ahead_bytes of it at most) need more than
 * window_bytes together, and none takes more than half of that, or leaves less than ahead_bytes,
 * but for a single extent. returns the bytes that it took */
static uint64_t hold_down(const struct schedule_trace *step, const struct schedule_extent *extents,
                          uint64_t window_bytes, uint64_t ahead_bytes, struct workspace *work)
{
    uint64_t half = window_bytes / 2, taken = 0, before = 0;
    uint64_t most = ahead_bytes < half ? window_bytes - ahead_bytes : half;
    uint32_t round = 0; /* launches that stream anything, so far */

    for (size_t e = 0; e < work->extent_count; e++)
        work->last_seen[e] = NO_LAUNCH;
    for (size_t l = 0; l < 2 * step->launches; l++) {
        size_t at = l % step->launches;
        uint64_t own = 0, more = 0;

        for (uint32_t i = step->first[at]; i < step->first[at + 1]; i++) {
            uint32_t e = step->extent[i];
            uint64_t bytes = extents[e].bytes;
            int shared = work->last_seen[e] != NO_LAUNCH && work->last_seen[e] + 1 == round;

            if (work->fixed[e])
                continue;
            if (!shared && extents[e].place != SCHEDULE_STREAM &&
                ((more + bytes <= ahead_bytes && before + more + bytes > window_bytes) ||
                 (own && own + bytes > most))) {
                work->fixed[e] = 1;
                taken += bytes;
                continue;
            }
            own += bytes;
            more += shared ? 0 : bytes;
            work->last_seen[e] = round;
        }
        if (own) {
            before = own;
            round++;
        }
    }
    return taken;
}

/* How a choice comes to need no more than its window. */
enum manner {
    MANNER_LOOSE, /* by itself, or not at all */
    MANNER_HELD,  /* hold_down() */
};

/* Choose what stays beside a window of window_bytes. returns the bytes that stay; UINT64_MAX when
 * launches need a larger window */
static uint64_t fill(const struct schedule_trace *step, const struct schedule_extent *extents,
                     uint64_t budget_bytes, uint64_t window_bytes, enum manner manner,
                     struct workspace *work)
{
    uint64_t room = budget_bytes - window_bytes, held = 0, taken = 0;

    memcpy(work->fixed, work->kept, work->extent_count);
    /* What is loaded how often depends on what stays: the second look knows. */
    for (int look = 0; look < 2; look++) {
        count_loads(step, extents, window_bytes, work);
        memcpy(work->fixed, work->kept, work->extent_count);
        held = work->kept_bytes + hold_busy(extents, work);
        if (manner == MANNER_HELD)
            held += hold_down(step, extents, window_bytes, work->ahead_bytes, work);
        if (held > room)
            return UINT64_MAX;
        taken = choose_fixed(extents, work->usage, work->used, work->used_count, room - held,
                             work->fixed, work->class);
    }
    if (window_needed(step, extents, work->fixed, work->extent_count, work->ahead_bytes,
                      work->last_seen) > window_bytes)
        return UINT64_MAX;
    return held + taken;
}

/* What a step moves with the plan's loads, in bytes; copies back count too. */
static uint64_t moved_bytes(const struct schedule_plan *plan, const struct schedule_extent *extents)
{
    uint64_t bytes = plan->load_bytes;

    for (size_t i = 0; i < plan->load_count; i++)
        if (extents[plan->load[i].extent].written)
            bytes += extents[plan->load[i].extent].bytes;
    return bytes;
}

/* Take what has been tried for the plan when fewer bytes move. *fewest is what moved so far.
 * returns 0 or -ENOMEM */
static int take_if_better(const struct schedule_trace *step, const struct schedule_extent *extents,
                          uint64_t budget_bytes, uint64_t fixed_bytes, uint64_t window_bytes,
                          const struct workspace *work, uint64_t *fewest, struct schedule_plan *out)
{
    struct schedule_plan trial = {.fixed = work->fixed, .extent_count = work->extent_count};
    int err = schedule_list_loads(step, extents, &trial, budget_bytes - fixed_bytes);

    if (!err && moved_bytes(&trial, extents) < *fewest) {
        *fewest = moved_bytes(&trial, extents);
        out->window_bytes = window_bytes;
        out->fixed_bytes = fixed_bytes;
        memcpy(out->fixed, work->fixed, work->extent_count);
    }
    free(trial.load);
    return err;
}

/* The next smaller window to try, in whole extents: a share less, and at least one extent. */
static uint64_t next_window(uint64_t window_bytes, uint64_t share, uint64_t extent_bytes)
{
    uint64_t extents = window_bytes / extent_bytes;

    return (extents - (extents > share ? extents / share : extents > 0)) * extent_bytes;
}

/* Try smaller and smaller windows, down to window_bytes, and keep the one with which the fewest
 * bytes move. A smaller one lets more stay; but the launches that need much of it must then have
 * more of their own stay, which may not be what is loaded most often. returns 0 or -ENOMEM */
static int choose(const struct schedule_trace *step, const struct schedule_extent *extents,
                  uint64_t budget_bytes, uint64_t window_bytes, struct workspace *work,
                  struct schedule_plan *out)
{
    uint64_t tries = step->first[step->launches] < LONG_STEP ? TRY_SHARE : TRY_SHARE_LONG;
    uint64_t fewest = UINT64_MAX, tried = budget_bytes - work->kept_bytes;
    int err = 0;

    /* Nothing stays but what is to be kept, if nothing else can be had. */
    out->window_bytes = tried;
    out->fixed_bytes = work->kept_bytes;
    memcpy(out->fixed, work->kept, work->extent_count);
    while (tried > window_bytes && !err) {
        tried = next_window(tried, tries, work->extent_bytes);
        if (tried < window_bytes)
            tried = window_bytes;
        for (int manner = MANNER_LOOSE; manner <= MANNER_HELD && !err; manner++) {
            uint64_t fixed_bytes =
                fill(step, extents, budget_bytes, tried, (enum manner)manner, work);

            if (fixed_bytes != UINT64_MAX)
                err = take_if_better(step, extents, budget_bytes, fixed_bytes, tried, work, &fewest,
                                     out);
        }
    }
    return err;
}

/* The distinct extents of the step, in order of first use, and behind them what is to be kept
 * without being used. seen is all zero before and after. */
static size_t list_used(const struct schedule_trace *step, const struct schedule_extent *extents,
                        size_t extent_count, uint8_t *seen, uint32_t *used)
{
    size_t count = 0;

    for (uint32_t i = 0; i < step->first[step->launches]; i++) {
        uint32_t e = step->extent[i];

        if (!seen[e])
            used[count++] = e;
        seen[e] = 1;
    }
    for (uint32_t e = 0; e < extent_count; e++)
        if (!seen[e] && extents[e].place == SCHEDULE_KEEP)
            used[count++] = e;
    for (size_t i = 0; i < count; i++)
        seen[used[i]] = 0;
    return count;
}

/* Find the largest extent. returns the bytes of all */
static uint64_t measure_used(const struct schedule_extent *extents, struct workspace *work)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < work->used_count; i++) {
        bytes += extents[work->used[i]].bytes;
        if (extents[work->used[i]].bytes > work->extent_bytes)
            work->extent_bytes = extents[work->used[i]].bytes;
    }
    return bytes;
}

/* There is room for everything: all stays that may. The rest has room enough to come just once. */
static void fix_all(const struct schedule_extent *extents, const struct workspace *work,
                    struct schedule_plan *out)
{
    for (size_t i = 0; i < work->used_count; i++) {
        uint32_t e = work->used[i];

        if (extents[e].place == SCHEDULE_STREAM) {
            out->window_bytes += extents[e].bytes;
            continue;
        }
        out->fixed[e] = 1;
        out->fixed_bytes += extents[e].bytes;
    }
}

/* What is to be kept stays, if all of it has room, and beside it each launch. Else its parts are
 * chosen among, before others.
 */
static void keep_whole(const struct schedule_trace *step, const struct schedule_extent *extents,
                       uint64_t budget_bytes, uint64_t window_bytes, struct workspace *work)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < work->used_count; i++)
        if (extents[work->used[i]].place == SCHEDULE_KEEP)
            bytes += extents[work->used[i]].bytes;
    if (bytes > budget_bytes - window_bytes)
        return;
    for (size_t i = 0; i < work->used_count; i++)
        if (extents[work->used[i]].place == SCHEDULE_KEEP)
            work->kept[work->used[i]] = 1;
    for (size_t l = 0; l < step->launches && bytes; l++)
        if (streamed_bytes(step, extents, work->kept, l) > budget_bytes - bytes)
            bytes = 0;
    if (!bytes)
        memset(work->kept, 0, work->extent_count);
    work->kept_bytes = bytes;
}

/* How many extents a window has room for, at least. */
static uint64_t window_extents(uint64_t budget_bytes, uint64_t extent_bytes,
                               enum schedule_ahead ahead)
{
    uint64_t share = budget_bytes / SCHEDULE_DEEP_SHARE / extent_bytes;

    if (ahead != SCHEDULE_AHEAD_DEEP || share < SCHEDULE_WINDOW_EXTENTS)
        return SCHEDULE_WINDOW_EXTENTS;
    return share < SCHEDULE_DEEP_EXTENTS ? share : SCHEDULE_DEEP_EXTENTS;
}

int schedule_choose_fixed(const struct schedule_trace *step, const struct schedule_extent *extents,
                          uint64_t budget_bytes, uint64_t window_bytes, enum schedule_ahead ahead,
                          struct schedule_plan *out)
{
    size_t room = out->extent_count + 1;
    uint64_t all_bytes;
    struct workspace work = {
        .usage = calloc(room, sizeof(*work.usage)),
        .used = calloc(room, sizeof(*work.used)),
        .class = calloc(room, sizeof(*work.class)),
        .last_seen = calloc(room, sizeof(*work.last_seen)),
        .fixed = calloc(room, 1),
        .kept = calloc(room, 1),
        .extent_count = out->extent_count,
        .ahead_bytes = UINT64_MAX,
    };
    int err = 0;

    if (!work.usage || !work.used || !work.class || !work.last_seen || !work.fixed || !work.kept) {
        err = -ENOMEM;
        goto out;
    }
    work.used_count = list_used(step, extents, out->extent_count, out->fixed, work.used);
    all_bytes = measure_used(extents, &work);
    if (all_bytes <= budget_bytes) {
        fix_all(extents, &work, out);
    } else {
        if (!window_bytes)
            window_bytes =
                window_extents(budget_bytes, work.extent_bytes, ahead) * work.extent_bytes;
        if (ahead != SCHEDULE_AHEAD_WIDE)
            work.ahead_bytes = (SCHEDULE_WINDOW_EXTENTS - 1) * work.extent_bytes;
        if (window_bytes > budget_bytes)
            window_bytes = budget_bytes;
        keep_whole(step, extents, budget_bytes, window_bytes, &work);
        err = choose(step, extents, budget_bytes, window_bytes, &work, out);
    }
out:
    free(work.usage);
    free(work.used);
    free(work.class);
    free(work.last_seen);
    free(work.fixed);
    free(work.kept);
    return err;
}
