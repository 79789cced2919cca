/* Queued work and the workers that run it. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "context.h"
#include "pace.h"
#include "stream.h"

#define LAZINESS_WAKING 12 /* of LAZINESS_OF, on top when a worker just woke up */
#define STOP_WAIT_S     1  /* how long the end of the process waits for work that is running */

/* That much of a stream must be done. Holds a reference to it. */
struct point {
    CUstream stream;
    uint64_t point;
    struct mark *mark; /* with a reference, when it is an event's; else NULL */
};

struct work {
    struct work *next;
    uint64_t point;     /* of its stream, reached when it is done */
    uint64_t queued_ns; /* in simulated time; 0 when that is off */
    struct work_spec spec;
    size_t after_count;
    struct point after[];
};

static pthread_mutex_t g_queue_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t g_worker_left = PTHREAD_COND_INITIALIZER; /* ctx->workers or g_running fell */
static unsigned g_running; /* workers inside run(); queue lock */
static int g_stopping;     /* queue lock */

void queue_lock(void)
{
    pthread_mutex_lock(&g_queue_lock);
}

void queue_unlock(void)
{
    pthread_mutex_unlock(&g_queue_lock);
}

static uint64_t stream_done(CUstream stream)
{
    return atomic_load_explicit(&stream->done, memory_order_acquire);
}

int stream_reached(CUstream stream, uint64_t point)
{
    return stream_done(stream) >= point;
}

static int is_pending(CUstream stream)
{
    return stream->queued > stream_done(stream);
}

void stream_unref_locked(CUstream stream)
{
    if (--stream->references)
        return;
    pthread_cond_destroy(&stream->wake);
    pthread_cond_destroy(&stream->progress);
    handle_destroy(stream, HANDLE_STREAM);
}

void mark_unref_locked(struct mark *mark)
{
    if (--mark->references)
        return;
    stream_unref_locked(mark->stream);
    free(mark);
}

/* Waiting for points
 * ------------------------------------------------------------------------------*/

/* Queue lock held; it is free while this sleeps. The caller holds a reference. */
static void point_wait(CUstream stream, uint64_t point)
{
    while (!stream_reached(stream, point)) {
        stream->waiting++;
        pthread_cond_wait(&stream->progress, &g_queue_lock);
        stream->waiting--;
    }
}

void stream_wait(CUstream stream, uint64_t point)
{
    if (stream_reached(stream, point))
        return;
    queue_lock();
    stream->references++;
    point_wait(stream, point);
    stream_unref_locked(stream);
    queue_unlock();
}

enum drain {
    DRAIN_BLOCKING, /* what the NULL stream waits for */
    DRAIN_ALL,
};

static int drain_includes(CUstream stream, enum drain drain)
{
    return (drain == DRAIN_ALL || stream->is_blocking) && is_pending(stream);
}

/* The points that the context's pending streams have been queued up to, with references. Queue lock
 * held. points may be NULL, to count. */
static size_t points_collect(CUcontext ctx, enum drain drain, CUstream except, struct point *points)
{
    CUstream stream;
    size_t count = 0;

    for (stream = ctx->streams; stream; stream = stream->next) {
        if (stream == except || !drain_includes(stream, drain))
            continue;
        if (points) {
            points[count].stream = stream;
            points[count].point = stream->queued;
            points[count].mark = NULL;
            stream->references++;
        }
        count++;
    }
    return count;
}

static void drain_streams(CUcontext ctx, enum drain drain)
{
    struct point *points;
    size_t count, i;

    queue_lock();
    count = points_collect(ctx, drain, NULL, NULL);
    points = calloc(count + 1, sizeof(*points));
    if (points)
        points_collect(ctx, drain, NULL, points);
    for (i = 0; points && i < count; i++) {
        point_wait(points[i].stream, points[i].point);
        stream_unref_locked(points[i].stream);
    }
    queue_unlock();
    free(points);
}

static uint64_t stream_queued(CUstream stream)
{
    uint64_t queued;

    queue_lock();
    queued = stream->queued;
    queue_unlock();
    return queued;
}

void stream_drain(CUstream stream)
{
    if (stream == stream->ctx->legacy)
        drain_streams(stream->ctx, DRAIN_BLOCKING);
    else
        stream_wait(stream, stream_queued(stream));
}

int stream_is_idle(CUstream stream)
{
    int idle;

    queue_lock();
    if (stream == stream->ctx->legacy)
        idle = points_collect(stream->ctx, DRAIN_BLOCKING, NULL, NULL) == 0;
    else
        idle = !is_pending(stream);
    queue_unlock();
    return idle;
}

void stream_drain_context(CUcontext ctx)
{
    drain_streams(ctx, DRAIN_ALL);
}

/* Workers
 * -----------------------------------------------------------------------------------------*/

/* The next piece of work, once there is one; NULL when the worker is to leave. Queue lock held. */
static struct work *worker_next(CUstream stream, int *slept)
{
    *slept = 0;
    while (!stream->first && !stream->is_closing && !g_stopping) {
        *slept = 1;
        stream->worker_sleeps = 1;
        pthread_cond_wait(&stream->wake, &g_queue_lock);
        stream->worker_sleeps = 0;
    }
    return g_stopping ? NULL : stream->first;
}

/* Be late, now and then, so that a program that relies on the device being quick is found out. A
 * stream that just woke up is late more often: that is when the host is next to it. */
static void worker_delay(CUstream stream, int slept)
{
    const uint64_t longest = sim_setting(SIM_DELAY_US);
    const unsigned chance = stream->laziness + (slept ? LAZINESS_WAKING : 0);
    struct timespec pause;
    uint64_t ns;

    if (!longest || pace_is_on() || sim_random_next(&stream->random) % LAZINESS_OF >= chance)
        return;
    ns = sim_random_next(&stream->random) % (longest * 1000 + 1);
    pause.tv_sec = (time_t)(ns / 1000000000);
    pause.tv_nsec = (long)(ns % 1000000000);
    nanosleep(&pause, NULL);
}

/* When the point was reached, in simulated time. Queue lock held. */
static uint64_t point_ns(const struct point *point)
{
    const uint64_t now_ns = pace_now_ns();

    if (point->mark)
        return point->mark->time_ns;
    return point->stream->end_ns < now_ns ? point->stream->end_ns : now_ns;
}

/* When the work may start: once it was queued, and all before it and all that it depends on has
 * ended. Queue lock held, all points reached. */
static uint64_t work_ready_ns(CUstream stream, const struct work *work)
{
    uint64_t ready_ns = stream->end_ns > work->queued_ns ? stream->end_ns : work->queued_ns;
    size_t i;

    for (i = 0; pace_is_on() && i < work->after_count; i++) {
        const uint64_t reached_ns = point_ns(&work->after[i]);

        ready_ns = reached_ns > ready_ns ? reached_ns : ready_ns;
    }
    return ready_ns;
}

/* Run one piece of work, without the lock. After a fault only what must come back runs. */
static void work_run(CUstream stream, struct work *work)
{
    const struct work_spec *spec = &work->spec;
    int fault = 0;

    if (spec->run && (!atomic_load(&stream->ctx->sticky) || spec->flags == WORK_ALWAYS))
        fault = spec->run(spec->arg);
    if (fault)
        sim_fault((CUresult)fault);
    if (spec->release)
        spec->release(spec->arg);
}

/* Take the finished work off its queue. Queue lock held. */
static void work_finish(CUstream stream, struct work *work)
{
    size_t i;

    stream->first = work->next;
    if (!stream->first)
        stream->last = &stream->first;
    atomic_store_explicit(&stream->done, work->point, memory_order_release);
    if (stream->waiting)
        pthread_cond_broadcast(&stream->progress);
    for (i = 0; i < work->after_count; i++) {
        if (work->after[i].mark)
            mark_unref_locked(work->after[i].mark);
        stream_unref_locked(work->after[i].stream);
    }
    free(work);
}

/* Queue lock held, free in between. returns 0 when the process is ending instead */
static int worker_step(CUstream stream, struct work *work, int slept)
{
    size_t i;

    for (i = 0; i < work->after_count; i++)
        point_wait(work->after[i].stream, work->after[i].point);
    queue_unlock();
    worker_delay(stream, slept);
    queue_lock();
    if (g_stopping)
        return 0;
    g_running++;
    pace_work_begin(work_ready_ns(stream, work));
    queue_unlock();
    work_run(stream, work);
    queue_lock();
    stream->end_ns = pace_work_ns();
    if (--g_running == 0 && g_stopping)
        pthread_cond_broadcast(&g_worker_left);
    work_finish(stream, work);
    return 1;
}

/* Take the stream off its context's list. Queue lock held. */
static void stream_unlink(CUstream stream)
{
    *stream->link = stream->next;
    if (stream->next)
        stream->next->link = stream->link;
    stream_unref_locked(stream);
}

static void *worker_main(void *arg)
{
    CUstream stream = arg;
    CUcontext ctx = stream->ctx;
    struct work *work;
    int slept;

    queue_lock();
    while ((work = worker_next(stream, &slept)) && worker_step(stream, work, slept))
        continue;
    if (!g_stopping) {
        stream_unlink(stream);
        if (--ctx->workers == 0)
            pthread_cond_broadcast(&g_worker_left);
    }
    queue_unlock();
    return NULL;
}

/* The program's signals are for the program's threads; faults stay where they happen. */
static void signals_keep_faults(sigset_t *before)
{
    sigset_t blocked;

    sigfillset(&blocked);
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGILL);
    sigdelset(&blocked, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &blocked, before);
}

/* Queue lock held. */
static CUresult worker_start(CUstream stream)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t before;
    int error;

    if (stream->has_worker)
        return CUDA_SUCCESS;
    if (pthread_attr_init(&attributes) != 0)
        return CUDA_ERROR_OUT_OF_MEMORY;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    signals_keep_faults(&before);
    error = pthread_create(&thread, &attributes, worker_main, stream);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error)
        return CUDA_ERROR_OUT_OF_MEMORY;
    stream->has_worker = 1;
    stream->ctx->workers++;
    return CUDA_SUCCESS;
}

/* Queueing
 * ----------------------------------------------------------------------------------------*/

/* The points that work queued on stream now must wait for: the NULL stream for all blocking
 * streams, a blocking stream for the NULL stream, and what the program asked for. Queue lock held;
 * points may be NULL, to count. */
static size_t after_collect(CUstream stream, struct mark *mark, struct point *points)
{
    CUstream legacy = stream->ctx->legacy;
    size_t count = 0;

    if (stream == legacy) {
        count = points_collect(stream->ctx, DRAIN_BLOCKING, stream, points);
    } else if (stream->is_blocking && is_pending(legacy)) {
        if (points) {
            points[0].stream = legacy;
            points[0].point = legacy->queued;
            points[0].mark = NULL;
            legacy->references++;
        }
        count = 1;
    }
    if (mark && !stream_reached(mark->stream, mark->point)) {
        if (points) {
            points[count].stream = mark->stream;
            points[count].point = mark->point;
            points[count].mark = mark;
            mark->references++;
            mark->stream->references++;
        }
        count++;
    }
    return count;
}

CUresult stream_queue_locked(CUstream stream, const struct work_spec *spec, uint64_t *point)
{
    struct work *work;
    size_t count;
    CUresult res;

    if (!atomic_load(&stream->ctx->alive))
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    if (stream->is_closing)
        return CUDA_ERROR_INVALID_HANDLE;
    count = after_collect(stream, spec->after, NULL);
    work = malloc(sizeof(*work) + (count + 1) * sizeof(work->after[0]));
    if (!work)
        return CUDA_ERROR_OUT_OF_MEMORY;
    res = worker_start(stream);
    if (res != CUDA_SUCCESS) {
        free(work);
        return res;
    }
    work->next = NULL;
    work->spec = *spec;
    work->spec.after = NULL;
    work->after_count = after_collect(stream, spec->after, work->after);
    work->point = ++stream->queued;
    work->queued_ns = pace_now_ns();
    *stream->last = work;
    stream->last = &work->next;
    if (stream->worker_sleeps)
        pthread_cond_signal(&stream->wake);
    if (point)
        *point = work->point;
    return CUDA_SUCCESS;
}

CUresult stream_queue(CUstream stream, const struct work_spec *spec, uint64_t *point)
{
    CUresult res;

    queue_lock();
    res = stream_queue_locked(stream, spec, point);
    queue_unlock();
    if (res != CUDA_SUCCESS && spec->release)
        spec->release(spec->arg);
    return res;
}

/* The end ---------------------------------------------------------------------------------------
 */

void stream_close(CUstream stream)
{
    queue_lock();
    if (!stream->is_closing) {
        handle_kill(stream);
        stream->is_closing = 1;
        if (stream->has_worker)
            pthread_cond_signal(&stream->wake);
        else
            stream_unlink(stream);
    }
    queue_unlock();
}

void stream_close_context(CUcontext ctx)
{
    CUstream stream, next;

    queue_lock();
    for (stream = ctx->streams; stream; stream = next) {
        next = stream->next;
        handle_kill(stream);
        stream->is_closing = 1;
        if (stream->has_worker)
            pthread_cond_signal(&stream->wake);
        else
            stream_unlink(stream);
    }
    while (ctx->workers && !g_stopping)
        pthread_cond_wait(&g_worker_left, &g_queue_lock);
    queue_unlock();
}

void stream_stop_workers(void)
{
    struct timespec deadline;

    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += STOP_WAIT_S;
    queue_lock();
    g_stopping = 1;
    /* A host function may be what ended the process; nobody would wake the one who waits for
     * itself. */
    while (g_running && !stream_in_host_function()) {
        if (pthread_cond_timedwait(&g_worker_left, &g_queue_lock, &deadline) == ETIMEDOUT)
            break;
    }
    queue_unlock();
}
