/* residency.h - which extents of a device's ranges are in VRAM.
 *
 * An extent is a run of PAGE_BYTES pages of one range. Only the pager thread moves it:
 *
 *               pager                     pager, copy queued
 *     ABSENT ----------> LOADING ----------------------------> RESIDENT
 *        ^                                                         |
 *        +------------- EVICTING <---------------------------------+
 *             pager, dropped          pager, and pins == 0
 *
 * A launch pins what it touches from before it is queued until an event says that it has finished;
 * a pinned extent is never dropped. A launch whose extents do not all fit goes ahead with what is
 * there: the rest is read in place, slowly and rightly. Nobody but residency asks policy/ what
 * stays.
 *
 * While everything fits, there is no pager, no pin and no event: residency_active() is 0 and
 * launches pass straight through. Extents are born in VRAM then by the thread that allocates, which
 * also makes those leave that no allocation lies in any more, where there is need for room. The
 * first allocation too many turns paging on for good.
 *
 * Locks: one mutex for each device, after g_range_lock. Driver calls that may take long are made
 * without it. The bound: VRAM held by extents never passes budget - plain bytes, except for what is
 * being written back while its frame is already loaded anew.
 */
#ifndef BERTH_RESIDENCY_H
#define BERTH_RESIDENCY_H

#include "backend.h"
#include "range.h"
#include "schedule.h"
#include <pthread.h>
#include <stdint.h>

enum extent_state {
    EXTENT_ABSENT,
    EXTENT_LOADING,
    EXTENT_RESIDENT,
    EXTENT_EVICTING,
};

struct residency;
struct use;

/* How a function reads objects that are much larger than its launches are wide. */
enum reading {
    READING_UNKNOWN,
    READING_TRIED,   /* a launch that reads in place is being timed */
    READING_SPARSE,  /* timed again now and then */
    READING_DOUBTED, /* the last one took long: the next one tells */
    READING_DENSE,   /* final */
};

/* A launch that may read some large objects sparsely, as the look-up in an embedding table does:
 * they are left where they are, and the time that it takes tells. */
struct residency_trial {
    struct extent *const *set; /* of these objects */
    size_t count;
    _Atomic uint8_t *verdict; /* enum reading; never goes */
    int loads;                /* no trial: the launch loads them, for loads to be timed */
};

/* The memory of an extent is never given back to the system, only used again (extent_pool.h), so
 * that a launch cache may look at an extent that is gone. All fields are guarded by the device's
 * lock unless they say otherwise. */
struct extent {
    CUdeviceptr first;
    uint32_t bytes;
    uint32_t id;             /* dense, in the device's table */
    struct range *range;     /* NULL while not in use */
    enum extent_state state; /* extent_set_state() */
    enum backend_mode mode;  /* how it was loaded */
    uint32_t allocations;    /* that lie in it, with a part at least. 0: it is vacant */
    uint32_t pins;
    uint32_t ahead;          /* loads of the plan that were made for uses still to come */
    uint32_t held;           /* further uses that the plan has for it at once: pager_holds() */
    uint64_t held_until;     /* as far as the program is not past this one of the plan's loads */
    _Atomic uint8_t settled; /* resident and to stay: a launch may use it without the lock */
    uint8_t fixed;           /* the plan keeps it, or its place; extent_set_fixed() */
    uint8_t place;           /* enum schedule_place: what the policy wants of it */
    uint8_t clean;           /* all its bytes were uploaded, when the pager last asked */
    uint8_t moving;          /* a load of it that moves may still be on its way */
    uint8_t torn;            /* the last load failed: there may be some of it, to be dropped */
    uint64_t turn;           /* of the device's strays, when it was last touched as none that the
                                plan knows; or the mark of a walk over the history */
    uint64_t coming;         /* equals the device's: a chain of successors has come to it */
    uint32_t successor;      /* the extent touched after it, the last time */
    uint8_t doubt;           /* how often of late something else came than its successor */
    uint8_t busy;            /* it has uses that are no visits */
    uint32_t visits;         /* uses that lay further than a window from the one before */
    uint64_t touched_at;     /* of the device's touched_bytes, when it was last touched */
    uint64_t last_use;       /* launches seen when it was last touched */
    uint64_t interval;       /* between its last two touches */
    CUevent ready;           /* recorded behind its load; NULL once that is known to be done.
                                extent_set_ready() */
    unsigned load_stream;    /* which of the lane's: loads on one come in the order of numbers */
    uint64_t load_number;    /* loads are numbered in the order of the calls; 0: there
                                was none */
    uint64_t trial;          /* the last of its object; 0: none that still runs */
    uint8_t sparse;          /* that showed that it is read sparsely, and nobody needed it since */
    struct extent *prev, *next;             /* in the device's list of what streams */
    struct extent *ready_prev, *ready_next; /* in its list of loads on their way */
};

enum residency_need {
    RESIDENCY_LOAD,      /* bring in what is absent */
    RESIDENCY_LOAD_REST, /* the same, of a launch that reads more, in place */
    RESIDENCY_AS_IS,     /* only keep what is there: copies read and write in place */
};

/* The device's residency; NULL when this device is not paged: no support, or berth is off. */
struct residency *residency_get(CUdevice device);

/* May the extents of the device come and go? One relaxed load. */
int residency_active(CUdevice device);

/* The same for any device: what every launch asks first. */
int residency_any_active(void);

/* Budget of a device for paged extents and plain allocations together. */
uint64_t residency_budget(CUdevice device);

/* Room for one launch's weights: budget less what the program holds plain. */
uint64_t residency_limit(struct residency *res);

/* Is this launch to load what it may read sparsely, so that loads are timed and trials can be
 * judged by them? The first of a device's launches that have anything of the set to load hear so,
 * while the link is not known: a driver that does not tell how long their loads took would not tell
 * of more either.
 *
 * locks    takes res->lock
 */
int residency_link_wants_loads(struct residency *res, struct extent *const *set, size_t count);

/* The extent size that suits the device's budget: a power of two, PAGE_BYTES to 32 MiB. */
size_t residency_extent_bytes(const struct residency *res);

/* A new range: make its extents, which are vacant.
 *
 * returns  CUDA_SUCCESS, or an error and the range has no extents
 * locks    takes the device's lock; call with g_range_lock not held
 */
CUresult residency_attach(struct residency *res, struct range *range);

/* An allocation has been put into [first, end) of a range: the extents that it lies in are in use.
 * Turns paging on when what is in use no longer fits; while it fits, they are born in VRAM, and
 * what nobody uses goes to make room for them.
 *
 * locks    takes the device's lock; call with g_range_lock not held
 */
void residency_occupy(struct residency *res, struct range *range, CUdeviceptr first,
                      CUdeviceptr end);

/* The allocation has gone. Extents that hold no other are vacant: they no longer count, and are the
 * first to go when there is need for room.
 *
 * locks    takes the device's lock; may be called with g_range_lock held, for no driver is called
 */
void residency_vacate(struct residency *res, struct range *range, CUdeviceptr first,
                      CUdeviceptr end);

/* The policy's place of an extent, by what has been put there.
 *
 * index    of range->extents
 * locks    takes the device's lock; may be called with g_range_lock held, for no driver is called
 */
void residency_place(struct range *range, size_t index, enum schedule_place place);

/* The range goes: waits until the pager has its hands off it, forgets its extents and their pins.
 * What it has of VRAM counts until residency_forget(), for it is not given back yet. */
void residency_detach(struct residency *res, struct range *range);

/* The memory of a detached range has been released. */
void residency_forget(struct residency *res, struct range *range);

/* How much of [first, end) of a range is in VRAM now. May be called with g_range_lock held. */
uint64_t residency_resident_bytes(struct range *range, CUdeviceptr first, CUdeviceptr end);

/* The program is about to take VRAM of its own, or has given it back. Returns when what must make
 * room for it has gone. */
void residency_charge(struct residency *res, int64_t bytes);

/* The driver has refused bytes of VRAM, which are counted already. Where that may have been for
 * what is on its way out, or another thread has freed enough since, it is to be asked again first.
 * Else give VRAM back until at least bytes of the card are free, or nothing is left to give, and
 * keep to what has been found to fit from now on. Where the card has as much free and refuses it
 * again, that was not for lack of it, and nothing changes.
 *
 * asked_again  0 before the first call for an allocation, and then left alone by the caller
 * returns      1 when the driver is to be asked again, 0 when its refusal is final
 * locks        takes the device's lock; call with none held. Waits for copies back, and no longer
 *              than two seconds for one that does not end
 */
int residency_shrink(struct residency *res, uint64_t bytes, int *asked_again);

/* Pin a set of extents for work that is about to be queued on stream.
 *
 * set      count distinct extents of the device
 * trial    to be made of this launch, of extents that follow set's; NULL for none. It may not come
 *          about: while another launch of the function is tried, they are brought in, too. They
 *          are no part of the step that is learned, for the next launches may leave them
 * stream   of the program, not capturing; copies run before its later work
 * returns  the use to hand to residency_release(); NULL when there is nothing to pin
 * locks    takes the device's lock; may wait for earlier work of the program to finish and free
 *          room, never for a copy. After two seconds without any progress it goes ahead unloaded,
 *          and nobody waits for that work again until its stream has moved
 */
struct use *residency_acquire(struct residency *res, struct extent *const *set, size_t count,
                              enum residency_need need, struct residency_trial *trial,
                              CUstream stream);

/* The work was queued (or failed to be): the pins go when it has finished. */
void residency_release(struct use *use, CUstream stream, CUresult result);

/* A context is about to go, or has just gone (gone = 1: its handles are invalid by now). Its
 * streams and events here are given up and its ranges forgotten. */
void residency_context_destroyed(CUcontext ctx, int gone);

/* The pager keeps its hands off the device's contexts between the two: for a call that may destroy
 * one. pause waits until the pager has left the driver.
 *
 * returns  1, and resume is to follow; 0 where nobody has used the device yet: it may come into use
 *          at any moment, and then it was not paused
 */
int residency_pause(CUdevice device);
void residency_resume(CUdevice device);

/* The program ends or forked: the pager makes no further driver call. Never waits. */
void residency_stop(void);

#endif
