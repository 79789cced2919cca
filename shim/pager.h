/* pager.h - the inside of residency: one device's state, shared by its files.
 *
 * residency.c   the registry: devices, budgets, contexts that go
 * extent.c      extents come with their range and go with it
 * use.c         launching threads: what they touch, what they pin, what they wait for
 * learn.c       the program's habits: the step, and where in it the program is
 * history.c     what launches touched, and the search for a step in it
 * stray.c       what kernels write elsewhere than in the turn of the step that was recorded
 * trial.c       which functions read large objects sparsely
 * pager.c       the pager thread: the only one that loads and drops
 * move.c        a load and a drop
 *
 * Every function here is called with res->lock held and returns with it held; those that say so
 * give it up in between.
 */
#ifndef BERTH_PAGER_H
#define BERTH_PAGER_H

#include "history.h"
#include "link_speed.h"
#include "residency.h"
#include "schedule.h"
#include "schedule_tempo.h"
#include "stream_id.h"
#include "transfer.h"

#define EXTENT_NONE  UINT32_MAX
#define LEARN_DOUBT  2   /* an extent's successor is not to be relied on from here on */
#define FAILURES_MAX 8   /* loads or drops that the driver refused in a row before paging ends */
#define LINK_SURE    16u /* runs of loads, before a trial is judged by them */

/* Launches that load large objects to have the link measured, in vain. */
#define LINK_TRIES_MAX 64

/* A launch that waits for its extents. It lies on the launching thread's stack, so that the pager
 * never holds on to one while it has given the lock up. */
struct request {
    struct use *use;
    int pinned; /* its extents are pinned: the request is first in line */
    int done;
    struct request *next;
};

/* Work of the program that was queued (or is about to be) and pins its extents until it has run. */
struct use {
    struct residency *res;
    struct lane *lane; /* of the stream's context */
    CUevent event;     /* recorded behind the work */
    int recorded;      /* the work is queued; until then the event says nothing */
    int waiting;       /* its launch waits for the pager: its end frees nothing soon */
    int outwaited;     /* patience has ended with it, or what it is queued behind, in the way */
    CUevent began;     /* of a trial: recorded before the work, to time it; else NULL */
    uint64_t trial;    /* its number; 0: it is none, or has ended */
    uint64_t trial_bytes;
    int doubted; /* a trial: of a function that the last one found dense */
    _Atomic uint8_t *verdict;
    struct stream_id stream;
    size_t count, room;
    struct extent **set; /* an extent whose range has gone is NULL */
    struct use *next;
};

/* Why paging has ended. */
enum broken {
    BROKEN_NOT,
    BROKEN_BY_CONTEXT, /* loads or drops in one context failed: it may go on without that */
    BROKEN_FOR_GOOD,   /* it could not begin, or the program ends */
};

/* What a plan by weights does not know of, for kernels write it, and where has changed. */
struct strays {
    uint64_t wanted_bytes; /* of room for them */
    uint64_t given_bytes;  /* of it, as much as the plan leaves them */
    uint64_t turn;         /* number of the present one, of all plans. Without a plan, walks over
                              the history take the next ones, to mark extents with */
    uint64_t turn_began;   /* of the device's clock */
    uint64_t turn_bytes;   /* touched in it, each extent once */
    uint64_t most_bytes;   /* in one of the turns that wrong counts */
    unsigned wrong;        /* turns with another need for room, less turns with just that */
    unsigned patience;     /* so many of them, and the plan is made anew */
};

struct residency {
    const struct driver *drv;
    const struct backend *backend;
    CUdevice device;
    pthread_mutex_t lock;
    pthread_cond_t work;     /* the pager waits */
    pthread_cond_t progress; /* others wait for the pager */
    _Atomic int active;      /* extents may come and go */
    int running;             /* the pager's thread exists */
    _Atomic int broken;      /* enum broken */
    CUcontext broken_ctx;    /* of BROKEN_BY_CONTEXT */

    size_t extent_bytes; /* never changes, whatever becomes of the budget */
    uint64_t budget_bytes, plain_bytes;
    uint64_t patience_ns;    /* without any progress, before a launch goes ahead unloaded */
    int stuck;               /* patience has ended once, at stuck_count */
    uint64_t stuck_count;    /* of progress_count */
    uint64_t total_bytes;    /* of extents that are not vacant */
    uint64_t resident_bytes; /* of extents not ABSENT, and of ranges on their way back */
    struct extent **table;   /* by identity; never NULL below table_count */
    uint32_t table_count, table_room;
    struct extent *streaming; /* RESIDENT and not fixed: what may have to go */
    struct extent *arriving;  /* ready is not NULL: in the order of their loads */

    uint64_t clock; /* launches that touched anything */
    uint32_t last_touched;
    uint64_t load_number;
    uint32_t vacated; /* from here on duplicates may be vacant; EXTENT_NONE: there are none */
    uint64_t coming;  /* the present chain of successors */
    struct request *requests, **requests_tail;
    struct use *uses, **uses_tail; /* in the order of their launches */
    struct use *free_uses;
    struct lane *lanes;
    struct range *handling; /* the pager is in a driver call for it, without the lock */
    int idle;               /* the pager waits for work */
    int no_victim;          /* the pager has less room than is taken, and nothing to give up */
    int paused;             /* the pager must wait, whatever there is to do */
    CUcontext pager_ctx;
    unsigned failures;
    uint64_t progress_count;

    struct history history;
    struct link_speed link;
    unsigned link_tries;   /* launches that loaded objects for that, since it last was measured */
    uint64_t trial_number; /* of the latest */
    int link_doubted;      /* a trial was such as the link may have carried */
    unsigned link_since;   /* what is judged next needs LINK_SURE runs more than there were then */

    uint64_t touched_bytes;        /* by launches so far, each extent once for each of them */
    uint64_t largest_launch_bytes; /* touched by one launch */
    uint64_t visits;               /* of all extents, as far as they still count */
    uint64_t kept_bytes;           /* what stays without a plan, for the policy wants it kept */
    uint64_t kept_limit; /* the room in which what is to be kept was given its; 0: nothing is */
    int misplaced;       /* extents do not stay, or do, against what the policy wants of them, or
                            more than there is room for, or strays have none: the pager is to plan
                            anew */
    int kept_told;       /* that not all of it has room */
    uint64_t hot_limit;  /* the room for which the hottest were chosen; 0: they are not */

    int learned;
    size_t step_first; /* the step is history's launches from here on */
    struct schedule_plan plan;
    uint64_t planned_limit;           /* the room that the plan was made for */
    uint64_t cursor_use, cursor_load; /* in the plan's loads, never wrapped */
    int placed;                       /* the program's place in the plan is known */
    unsigned misses;                  /* in the present step */
    struct schedule_tempo tempo;
    uint64_t step_began_ns; /* of the present step of the plan; 0: it was entered in the middle */
    int tempo_changed;      /* the plan is to be made anew, with tempo.ahead */
    int by_weights;         /* the program is followed by the weights that it touches alone */
    struct strays strays;
};

static inline int extent_is_present(const struct extent *e)
{
    return e->state == EXTENT_RESIDENT || e->state == EXTENT_LOADING;
}

/* Does it hold nothing but what was uploaded? Else kernels write it: activations, a cache. As far
 * as is known: of what was never loaded, since a step was last looked for. */
static inline int extent_is_weights(const struct extent *e)
{
    return e->mode == BACKEND_SHARED || e->clean;
}

/* Start the pager's thread if it does not run. returns 0 or -1 */
int pager_start(struct residency *res);
void pager_wake(struct residency *res);

/* Paging ends: everything that waits goes on, nothing is loaded or dropped any more.
 *
 * ctx  in which a load or a drop has failed; NULL: paging could not begin
 */
void pager_break(struct residency *res, CUcontext ctx, const char *what, CUresult result);

/* move.c: the pager's alone; both give the lock up. What the driver refuses leaves the extent as it
 * was and is counted, until it is too much and paging ends. load: the extent is ABSENT, and there
 * is room for it. drop: it is RESIDENT and not pinned. */
void move_load(struct residency *res, struct extent *e);
void move_drop(struct residency *res, struct extent *e);

/* A context has gone, with its ranges. Was it the one that ended paging, then paging goes on. */
void pager_mend(struct residency *res, CUcontext ctx);

/* learn.c: a launch touches count extents, which are not loaded for it yet: record it, or follow
 * the plan. */
void learn_touch(struct residency *res, struct extent *const *set, size_t count);
/* The room that must be left to what streams, as far as launches have shown. */
uint64_t learn_least_window(const struct residency *res);
/* Is it time to look for a step? */
int learn_is_due(const struct residency *res);
/* Look for a step, plan it. Gives the lock up: the pager's alone, as the next. */
void learn_plan(struct residency *res);
/* The policy wants something else of some extents than what is done with them, or the window is to
 * be another. */
void learn_places(struct residency *res);
/* There may be less room than the plan was made for: the pager is to make it anew. */
void learn_room_changed(struct residency *res);
/* The program did what the plan did not expect. Too often within one step, and the plan ends. */
void learn_miss(struct residency *res);
/* The plan no longer fits what happens, or what there is. */
void learn_forget(struct residency *res);

/* stray.c: what kernels write may lie elsewhere in each turn of a step (activations in other blocks
 * of the program's allocator, a cache that grows), while the weights are touched in the same order.
 * A plan by weights leaves room for that beside what it knows of.
 *
 * is: is the extent nothing by which the plan follows the program? */
static inline int stray_is(const struct residency *res, const struct extent *e)
{
    return res->by_weights && !extent_is_weights(e);
}
/* A step has been found, whose recorded turn touches so much that lies elsewhere in the next. */
void stray_begin(struct residency *res, uint64_t turn_bytes);
/* The room to leave to strays, of limit: never what a window and what is to be kept need. */
uint64_t stray_room(const struct residency *res, uint64_t limit);
/* There is a plan that leaves them so much, perhaps the same step's as before. */
void stray_planned(struct residency *res, uint64_t given_bytes);
/* An extent for which stray_is() is touched. That is a miss only where it is absent, and the step
 * has not ended for long. */
void stray_touch(struct residency *res, struct extent *e);
/* A turn of the plan has passed. Where turns need much more room, or less, it is made anew. */
void stray_note_turn(struct residency *res);
/* Is the extent one of those that have the room which the plan leaves to strays? */
int stray_has_room(const struct residency *res, const struct extent *e);
/* What of that room they do not take at present; negative: they take more. */
int64_t stray_room_left(const struct residency *res);

/* use.c: drop the pins of uses that have run. returns how many did */
size_t use_retire(struct residency *res);
/* use.c: wait for the pager as long as it makes progress at least every patience_ns. */
struct patience {
    uint64_t seen, deadline_ns;
};
void patience_begin(const struct residency *res, struct patience *patience);
/* Gives the lock up for a while. returns 0 when patience has ended, 1 to look again */
int patience_wait(struct residency *res, struct patience *patience);
/* Pin the extents of a use. */
void use_pin(struct use *use);
/* The use that link leads to ends at once: its pins go. has_run: its event has come. */
void use_end(struct residency *res, struct use **link, int has_run);
/* Is there a use on stream (NULL: on any) whose end may free room: none that waits for room itself,
 * and none that was waited for in vain and whose stream has not moved since? */
int use_may_end(const struct residency *res, const struct stream_id *stream);
/* Is there a use whose event tells of its end? */
int use_is_any_recorded(const struct residency *res);
/* The pins of extents in range are gone. */
void use_forget_range(struct residency *res, const struct range *range);

/* trial.c: a launch that may read large objects sparsely. Its trial is due when enough of them is
 * absent and nobody tries the function at the moment. begin() is called when the use's loads are
 * queued, on the launching thread; the use's event is recorded behind the work as ever. end() is
 * called before the use ends: has_run where its event has come. is_on(): another launch of the
 * function is being tried. */
int trial_is_due(const struct residency *res, const struct residency_trial *trial);
int trial_is_on(const struct residency_trial *trial);
void trial_begin(struct residency *res, struct use *use, struct residency_trial *trial,
                 CUstream stream);
void trial_end(struct residency *res, struct use *use, int has_run);

/* Is so much known of the link that a trial can be judged which it may have carried? */
static inline int trial_link_is_sure(const struct residency *res)
{
    return res->link.noted - res->link_since >= LINK_SURE;
}

/* Must the extent, which is absent, stay so until a trial has run? */
int trial_leaves(const struct residency *res, struct extent *e);

/* Do the books agree with each other? Walks over all extents: for BERTH_ASSERT_SLOW. */
int residency_is_valid(const struct residency *res);

/* The driver gives memory out in whole pages, so what the program holds plain counts in pages too,
 * and a small block more seldom changes anything. */
static inline uint64_t plain_pages_bytes(const struct residency *res)
{
    return (res->plain_bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

/* residency_limit() for those who hold the lock. */
static inline uint64_t room_limit(const struct residency *res)
{
    uint64_t plain = plain_pages_bytes(res);

    return res->budget_bytes > plain ? res->budget_bytes - plain : 0;
}

static inline int is_active(const struct residency *res)
{
    return atomic_load_explicit(&res->active, memory_order_relaxed);
}

/* The first allocation too many: from now on extents come and go. What is there was born in VRAM
 * and is the only copy. The lock stays held throughout: nobody may launch in between. */
void residency_activate(struct residency *res);

/* extent.c: the fields that decide in which of the device's lists an extent stands. */
void extent_set_state(struct residency *res, struct extent *e, enum extent_state state);
void extent_set_fixed(struct residency *res, struct extent *e, int fixed);
/* ready   owned by the extent until it is set to another; the caller keeps the former one */
void extent_set_ready(struct residency *res, struct extent *e, CUevent ready);

/* While everything fits, and vacant extents take the VRAM that bytes more need: let them go. Queues
 * their way out; never waits. */
void extent_reclaim(struct residency *res, uint64_t bytes);

/* The device's extents take more VRAM (or less), and so does the program's account of it. */
void residency_count(struct residency *res, int64_t bytes);
/* The program has allocated more: the statistics tell what would hold all of it. */
void residency_count_need(struct residency *res);

/* Does the plan have further uses at once of an extent that was used already? Two tensors share the
 * extent at their border: between their launches nothing runs that needs it, where the program is
 * slow to launch. */
static inline int pager_holds(const struct residency *res, const struct extent *e)
{
    return e->held && res->cursor_use <= e->held_until;
}

#endif
