/* stream.h - a stream: work in order, run by a worker thread of its own, later than the host.
 *
 * Everything that waits for anything waits for a point of a stream: the first n pieces of work that
 * were queued on it have finished, `done >= n`. A piece of work starts when all earlier work of its
 * stream is done and so are the points of other streams that it depends on: those of an event, and
 * those that the default stream's rules ask for. Points only ever lie in work that was queued
 * before, so there is no cycle to wait in.
 *
 *     queued --(earlier work done, points reached, random delay)--> running --> done
 *
 * The queue lock guards all of it. It is a leaf but for the handle lock, and is never held while
 * work runs. A worker sleeps on its stream's `wake` while there is nothing to do, and whoever waits
 * for a point sleeps on `progress`.
 */
#ifndef SIMCUDA_STREAM_H
#define SIMCUDA_STREAM_H

#include <pthread.h>
#include <stdatomic.h>

#include "handle.h"
#include "sim.h"

#define LAZINESS_OF 64

struct work;

struct CUstream_st {
    struct handle handle;
    CUcontext ctx;
    unsigned flags;
    int priority;
    int is_blocking;   /* ordered against the NULL stream */
    uint64_t id;       /* never reused */
    uint64_t thread;   /* a per-thread default stream: whose; else 0 */
    uint64_t random;   /* state of the worker's own random numbers; the worker's */
    unsigned laziness; /* of LAZINESS_OF times that there is work, how often it delays */

    /* All below: queue lock. `done` is written under it and may be read without. */
    struct work *first;
    struct work **last;
    uint64_t queued;
    _Atomic uint64_t done;
    uint64_t end_ns;         /* when the last work that is done ended; simulated time, else 0 */
    pthread_cond_t wake;     /* the worker: there is work, or the stream is closing */
    pthread_cond_t progress; /* whoever waits for a point */
    unsigned waiting;        /* how many sleep on progress */
    unsigned references;     /* its context's list, marks, points waited for */
    int has_worker;
    int worker_sleeps;
    int is_closing;                   /* destroyed by the program; goes when its work is done */
    struct CUstream_st *next, **link; /* in the context's list */
};

/* A point that has been recorded by an event. Shared by the event and the work that records. */
struct mark {
    CUstream stream; /* a reference */
    uint64_t point;
    uint64_t time_ns;    /* when it was reached, in simulated time if paced; valid once it is */
    unsigned references; /* queue lock */
};

enum work_flags {
    WORK_NORMAL = 0,
    WORK_ALWAYS = 1, /* run also after a fault: callbacks must come back */
};

/* One piece of work. */
struct work_spec {
    int (*run)(void *arg); /* NULL: nothing to run, only order */
    void *arg;
    void (*release)(void *arg); /* NULL: nothing to release */
    enum work_flags flags;
    struct mark *after; /* a point to wait for, or NULL */
};

void queue_lock(void);
void queue_unlock(void);

/* A stream of ctx; thread is 0 but for a per-thread default stream. NULL when memory is out. */
CUstream stream_create(CUcontext ctx, unsigned flags, int priority, uint64_t thread);
/* The program is done with it: its handle dies now, it goes when its work is done. */
void stream_close(CUstream stream);
/* Take a reference away. Queue lock held. */
void stream_unref_locked(CUstream stream);

/* The stream that a handle means in ctx, the current context: 0, CU_STREAM_LEGACY,
 * CU_STREAM_PER_THREAD or a real one.
 *
 * returns  0; 400 for a handle that is no stream; 2 when the thread's stream cannot be made
 */
CUresult stream_resolve(CUcontext ctx, CUstream handle, CUstream *out);

/* sim_enter(), then the stream that a handle means. returns also 400, and the sticky error of the
 * stream's context, which need not be the current one */
CUresult stream_enter(CUstream handle, CUstream *out);
/* The same for calls that take the context from a real stream: the thread needs none then. */
CUresult stream_enter_own_context(CUstream handle, CUstream *out);

/* Queue work. The order against the default stream is seen to.
 *
 * point    receives the point that is reached when the work is done; may be NULL
 * returns  0; 2, and arg has been released
 */
CUresult stream_queue(CUstream stream, const struct work_spec *spec, uint64_t *point);
/* The same with the queue lock held; on failure arg has not been released. All work passes here,
 * the one door to the device: what captures, paces or fails work is to stand in it. */
CUresult stream_queue_locked(CUstream stream, const struct work_spec *spec, uint64_t *point);

/* Sleep until the point is reached. */
void stream_wait(CUstream stream, uint64_t point);
/* Wait for all that is queued on it now, and for the NULL stream also on the blocking streams. */
void stream_drain(CUstream stream);
/* Would stream_drain() return at once? */
int stream_is_idle(CUstream stream);
int stream_reached(CUstream stream, uint64_t point);

/* Wait until every stream of ctx is drained; used with the queue lock free. */
void stream_drain_context(CUcontext ctx);
/* Close all streams of ctx and wait until their workers have gone. */
void stream_close_context(CUcontext ctx);
/* Start the queues; once. */
void stream_init(void);
/* The process ends: workers take no more work; waits a moment for those that run something. */
void stream_stop_workers(void);

/* Destroy all events of ctx. */
void event_close_context(CUcontext ctx);
/* Drop a reference to a mark. Queue lock held. */
void mark_unref_locked(struct mark *mark);

enum host_function {
    HOST_FUNCTION_BEGINS,
    HOST_FUNCTION_ENDS,
};

/* Is the calling thread inside a host function? There it may not call the driver. */
int stream_in_host_function(void);
void stream_host_function(enum host_function state);
/* How many kernels have been launched, for the report. */
uint64_t launch_count(void);

#endif
