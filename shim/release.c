#include "release.h"
#include "log.h"
#include "range.h"
#include "residency.h"
#include "stats.h"
#include "thread.h"
#include <pthread.h>
#include <string.h>
#include <time.h>

#define PATIENCE_S 2

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t g_changed = PTHREAD_COND_INITIALIZER;
/* g_lock guards all of these but the last. */
static int g_running;         /* the thread was started, or could not be */
static int g_failed;          /* it could not */
static int g_kicked;          /* some range may be due */
static int g_paused;          /* nothing new is begun */
static int g_taking;          /* it is about to find out for which context it works */
static CUcontext g_ctx;       /* for which it is in the driver; NULL for none */
static uint64_t g_released;   /* ranges so far */
static _Atomic int g_stopped; /* the program ends */

/* The next range, with g_ctx set to its context; NULL when none is due. The lock is held, and given
 * up in between. */
static struct range *take(void)
{
    struct range *r;

    g_kicked = 0;
    g_taking = 1;
    pthread_mutex_unlock(&g_lock);
    r = range_take_due();
    pthread_mutex_lock(&g_lock);
    g_taking = 0;
    g_ctx = r ? r->ctx : NULL;
    pthread_cond_broadcast(&g_changed);
    return r;
}

static void *release_main(void *arg)
{
    const struct driver *drv = driver_get();

    (void)arg;
    thread_leave_captures_alone(drv);
    pthread_mutex_lock(&g_lock);
    for (;;) {
        struct range *r;

        while (!g_kicked || g_paused || g_stopped)
            pthread_cond_wait(&g_changed, &g_lock);
        r = take();
        if (!r)
            continue;
        pthread_mutex_unlock(&g_lock);
        stats_note(drv->cuCtxSetCurrent(r->ctx));
        residency_clear(residency_get(r->device), r);
        range_destroy(r);
        pthread_mutex_lock(&g_lock);
        g_released++;
        g_kicked = 1; /* there may be more */
        g_ctx = NULL;
        pthread_cond_broadcast(&g_changed);
    }
    return NULL;
}

/* The lock is held. */
static void start(void)
{
    int err = thread_start(release_main, NULL);

    g_running = 1;
    g_failed = err;
    if (err)
        log_warn(
            "range",
            "no thread to give memory back (%s): it goes when the program next frees memory in "
            "a call that waits; raise the limit of threads (ulimit -u)",
            strerror(err));
}

void release_kick(void)
{
    pthread_mutex_lock(&g_lock);
    if (!g_running)
        start();
    g_kicked = !g_failed;
    pthread_cond_broadcast(&g_changed);
    pthread_mutex_unlock(&g_lock);
}

/* The lock is held. */
static void wait_for_context(CUcontext ctx)
{
    while (g_taking || (g_ctx && g_ctx == ctx))
        pthread_cond_wait(&g_changed, &g_lock);
}

void release_finish(CUcontext ctx)
{
    pthread_mutex_lock(&g_lock);
    wait_for_context(ctx);
    pthread_mutex_unlock(&g_lock);
}

uint64_t release_count(void)
{
    uint64_t count;

    pthread_mutex_lock(&g_lock);
    count = g_released;
    pthread_mutex_unlock(&g_lock);
    return count;
}

uint64_t release_wait(void)
{
    struct timespec until;
    uint64_t count;
    int err = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&g_lock);
    while (!err && !g_stopped && (g_kicked || g_taking || g_ctx))
        err = pthread_cond_clockwait(&g_changed, &g_lock, CLOCK_MONOTONIC, &until);
    count = g_released;
    pthread_mutex_unlock(&g_lock);
    return count;
}

void release_pause(CUcontext ctx)
{
    pthread_mutex_lock(&g_lock);
    g_paused++;
    wait_for_context(ctx);
    pthread_mutex_unlock(&g_lock);
}

void release_resume(void)
{
    pthread_mutex_lock(&g_lock);
    g_paused--;
    pthread_cond_broadcast(&g_changed);
    pthread_mutex_unlock(&g_lock);
}

void release_stop(void)
{
    g_stopped = 1; /* not even a try to lock: a thread that is gone may hold it for ever */
}
