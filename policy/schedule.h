/* schedule.h - what stays resident through a step, and in which order the rest streams.
 *
 * A step is one turn of a repeating launch sequence: a token, a denoising step, a sentence. When
 * less memory than its extents need is at hand, the fewest bytes move if a fixed set of extents
 * stays and everything else streams through a window; and the link is busy all through the step,
 * not in one burst of it, if the fixed set is spread evenly. LRU would evict each extent just
 * before its next use and stream everything, so nothing here is ever LRU on a cycle.
 *
 * Pure functions: no clock, no locks, no randomness; the same trace gives the same plan.
 */
#ifndef BERTH_POLICY_SCHEDULE_H
#define BERTH_POLICY_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

/* A recorded stretch of launches, each with the extents that it touches.
 *
 * Launch i touches extent[first[i]] .. extent[first[i + 1] - 1], each once, by identity; first has
 * launches + 1 elements.
 */
struct schedule_trace {
    const uint32_t *first;
    const uint32_t *extent;
    size_t launches;
};

/* What the user wants of an extent. */
enum schedule_place {
    SCHEDULE_FREE,   /* nothing: the schedule decides */
    SCHEDULE_KEEP,   /* it stays, before all others, as far as there is room */
    SCHEDULE_STREAM, /* it is never among what stays: it comes when it is used */
};

/* What the plan must know of an extent; indexed by its identity. */
struct schedule_extent {
    uint64_t bytes;
    uint8_t written; /* kernels write it: to give it up costs a copy back as well */
    uint8_t place;   /* enum schedule_place; one to keep has its room also where no launch of the
                        step touches it */
};

/* The smallest window that is left to what streams, where something does: one extent arrives, one
 * is read, and one is free before the host notices that a launch has ended. */
#define SCHEDULE_WINDOW_EXTENTS 3u

/* One in so many of a step's bytes is what a wide window may cost to be taken unasked. */
#define SCHEDULE_WIDE_SHARE 100u

/* The smallest window of a deep plan, as long as that is no more than one in SCHEDULE_DEEP_SHARE
 * bytes of the budget. */
#define SCHEDULE_DEEP_EXTENTS 6u
#define SCHEDULE_DEEP_SHARE   8u

/* What the window has room for, at least, beside the launch that runs. */
enum schedule_ahead {
    SCHEDULE_AHEAD_LEAN, /* of the next one that streams some extents, SCHEDULE_WINDOW_EXTENTS less
                            the one that is read: enough where launches run shorter than their bytes
                            take to come. All of it where that costs next to nothing: some launches
                            may run longer than others */
    SCHEDULE_AHEAD_WIDE, /* all of that: the link is busy however long launches run */
    SCHEDULE_AHEAD_DEEP, /* as lean, but SCHEDULE_DEEP_EXTENTS in all: the link is busy however long
                            a load takes to begin */
};

/* One load of the streaming part: before launch `launch` of the step, `extent` is brought in. An
 * extent that is used, given up and used again within one step has several. */
struct schedule_load {
    uint32_t extent;
    uint32_t launch;
    uint32_t uses; /* launches that touch it until it is given up, that one among them */
    uint32_t span; /* loads of the list that come before the last of these uses, behind this one */
    uint32_t same; /* the extent's next load in the list, SCHEDULE_NONE after its last */
};

#define SCHEDULE_NONE UINT32_MAX

struct schedule_plan {
    uint8_t *fixed;             /* by identity: 1 where the extent stays resident */
    struct schedule_load *load; /* in order of use; one step of them, repeated for ever */
    uint32_t *first_load;       /* by identity: the extent's first in load, or SCHEDULE_NONE */
    size_t extent_count;
    size_t load_count;
    size_t launches; /* of the step */
    uint64_t fixed_bytes;
    uint64_t window_bytes; /* what the streaming part may hold at once */
    uint64_t load_bytes;   /* moved in each step */
};

/* Find the step at the end of a sequence of launches.
 *
 * signature  one number for each launch; equal for launches that touch the same extents
 * returns    the smallest p such that the last 2 p signatures are the same p twice; 0 if there is
 *            none. p is the step's length in launches
 */
size_t schedule_find_step(const uint64_t *signature, size_t count);

/* Choose what stays, for one step.
 *
 * What is to be kept stays whole where it fits beside the window that is wanted, and beside what
 * any launch uses of the rest. Else as much of it stays as fits, spread evenly through the step.
 *
 * step          whose extents are all less than extent_count
 * extents       extent_count of them
 * budget_bytes  of memory for all of them together
 * window_bytes  wanted for streaming; it is raised to what streams for the launch that runs and
 *               what of the next one arrives meanwhile (ahead), and limited to the budget. 0 takes
 *               SCHEDULE_WINDOW_EXTENTS times the largest extent, or what is deep
 * out           zeroed on failure
 * returns       0, -ENOMEM, or -EINVAL for an identity out of range or an empty step
 * owner         schedule_plan_destroy()
 */
int schedule_plan_create(const struct schedule_trace *step, const struct schedule_extent *extents,
                         size_t extent_count, uint64_t budget_bytes, uint64_t window_bytes,
                         enum schedule_ahead ahead, struct schedule_plan *out);
void schedule_plan_destroy(struct schedule_plan *plan);

/* What is known of an extent where no step repeats (a mixture of experts), indexed by identity. */
struct schedule_habit {
    uint64_t bytes;
    uint32_t visits; /* uses that lay further than a window from the use before */
    uint8_t busy;    /* it has other uses: where there are no visits, it never leaves the window */
    uint8_t written; /* kernels write it */
    uint8_t fixed;   /* it stays at present */
    uint8_t place;   /* enum schedule_place */
};

/* Without a step: choose what stays by how often it was visited.
 *
 * What stays at present goes on staying unless another has been visited a quarter more often, for
 * every change is a load. What is to be kept comes before all others.
 *
 * room_bytes  for what stays
 * fixed       count of them, set to 0 or 1
 * returns     0 or -ENOMEM, and fixed is as it was
 */
int schedule_choose_hottest(const struct schedule_habit *habits, size_t count, uint64_t room_bytes,
                            uint8_t *fixed);

/* Without a step: when will an extent be used next, as far as its past tells?
 *
 * now       the clock: launches seen so far
 * last      when it was last used
 * interval  between its last two uses; 0 when it was used once
 * returns   a launch number to compare: the extent with the greatest is given up first. An extent
 *           that was used only once is expected latest of all, the later the more recently it was
 *           used, so that a first pass over a cycle evicts behind itself; one that is overdue by
 *           more than its interval is taken for finished
 */
uint64_t schedule_next_use(uint64_t now, uint64_t last, uint64_t interval);

#endif
