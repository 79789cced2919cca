/* transfer.h - our own streams and events, for each of the program's contexts.
 *
 * Streams are non-blocking, so that they order against nothing of the program's; events carry no
 * timing, but for those of the loads that measure the link. Nothing here is ever synchronised with
 * a context or a device.
 *
 * The lock of the residency that owns the list guards all of it, but for what is said to be the
 * pager's alone. A stream is stored once, with the lock held, by the only thread that may at that
 * time: whoever holds the lock while there is no pager, then the pager, which reads it without.
 */
#ifndef BERTH_TRANSFER_H
#define BERTH_TRANSFER_H

#include "driver.h"
#include "gate.h"
#include <pthread.h>
#include <stddef.h>

/* Loads take turns on so many streams. The driver does a prefetch's own work, some
 * 30 us for each 2 MiB, in the call where the stream is idle, and else on a thread that it wakes
 * when the stream's turn has come, while only other streams have work for the link. source: an H200
 * with driver 580, on which one stream reached 20 to 32 GB/s and three 41 to 46, of 55. */
#define TRANSFER_LOAD_STREAMS 3

struct lane {
    CUcontext ctx;
    CUstream h2d[TRANSFER_LOAD_STREAMS]; /* NULL until the first load in this context */
    CUstream d2h;
    CUevent gone; /* behind the last drop, where loads are not yet known to come later; or NULL */
    int births; /* loads on h2d[0] that have no event; written before there is a pager, then its */
    unsigned turn;   /* of h2d; the pager's alone */
    CUevent *events; /* not in use now */
    size_t event_count, event_room;
    /* The pager's alone, until transfer_close(). */
    struct gates gates;           /* of h2d */
    CUevent timed_from, timed_to; /* around the run of loads that is being timed */
    uint64_t timed_bytes;         /* of them, so far; 0: nothing waits to be taken */
    unsigned timed_loads;
    int timing; /* the run goes on */

    struct lane *next;
};

/* The lane of a context; made on the first call. NULL when out of memory. */
struct lane *transfer_lane(struct lane **list, CUcontext ctx);

/* Make the lane's streams; its context is current.
 *
 * lock     taken to store each of them, not while the driver is called; NULL: the caller holds it
 * returns  CUDA_SUCCESS or the driver's code
 */
CUresult transfer_open_streams(const struct driver *drv, struct lane *lane, pthread_mutex_t *lock);

/* An event of the lane's context that was used before; NULL when none is at hand. */
CUevent transfer_spare_event(struct lane *lane);
/* The same, else a new one; the context is current. NULL when there is none. */
CUevent transfer_take_event(const struct driver *drv, struct lane *lane);
/* Give an event back; no later wait for it is queued. */
void transfer_give_event(const struct driver *drv, struct lane *lane, CUevent event);

/* Loads that are queued from now on, in any context, are to run behind the drop that was queued
 * last in the lane, whose event the lane takes over; but it is the next load that looks. Mostly it
 * finds that the drop had nothing to copy and is over, and the streams stay idle. */
void transfer_note_gone(const struct driver *drv, struct lane *lane, CUevent gone);
/* Queue what transfer_note_gone() left to do, in any context but those that are coming to their
 * end: what concerns one of these is left for the next load, for it may stay. The lock is held, and
 * the streams of the load are open: those that are not yet wait for nothing. */
void transfer_settle_gone(const struct driver *drv, struct lane *list);

/* Have the lane's births run? Waits for them, which happens once. returns 0 when that failed */
int transfer_births_have_run(const struct driver *drv, struct lane *lane);

/* The stream for the next load: the next in turn, which is the most likely to be idle. */
CUstream transfer_next_stream(struct lane *lane);

/* So many loads are timed together, at most. One alone would tell of its own costs more than of the
 * link; where loads follow each other, most of those costs are hidden. */
#define TRANSFER_TIMED_LOADS (2 * TRANSFER_LOAD_STREAMS)

/* Time a run of loads that are queued one behind another, as the device runs them: the link's
 * speed. The pager calls, in the lane's context, with the lock or without. Other loads of the lane
 * come before the run or behind it, so that it has the link for itself; as that holds them up, few
 * are to be timed. Before a load, on the stream whose turn it is; does nothing where a run goes on,
 * or where one that has ended was not taken yet. */
void transfer_timing_begin(const struct driver *drv, struct lane *lane);
/* After a load of so many bytes was queued; a run that goes on ends when it is long enough. */
void transfer_timing_add(const struct driver *drv, struct lane *lane, uint64_t bytes);
/* Nothing more follows soon: the run, if one goes on, was what there is of it. */
void transfer_timing_end(const struct driver *drv, struct lane *lane);
/* What the last run took. returns 1 once it has ended and all of it has come, else 0 */
int transfer_timing_take(const struct driver *drv, struct lane *lane, uint64_t *bytes,
                         uint64_t *ns);

/* From one event to another that have both come. returns 0 where the driver does not tell */
uint64_t transfer_elapsed_ns(const struct driver *drv, CUevent from, CUevent to);

/* Take the lane of a context out of the list and free it. gone: its handles are invalid already. */
void transfer_close(const struct driver *drv, struct lane **list, CUcontext ctx, int gone);

#endif
