#include "context_wait.h"
#include "deferred.h"
#include "monotonic.h"
#include "stats.h"
#include "thread.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct wait {
    CUcontext ctx;
    CUresult result;
    int over;   /* result is the driver's */
    int alone;  /* nobody asks for the result any more */
    int ending; /* no wait: the context is coming to its end */
    struct wait *next;
};

/* The primary context of a device. */
struct primary {
    unsigned begins;  /* calls that may begin a life of it are in the driver */
    unsigned ends;    /* calls that may end one are, or have not seen yet what they did */
    unsigned waiting; /* of those that may, but wait still */
};

static pthread_once_t g_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t g_over;
static struct wait *g_waits;                          /* g_lock: that are not over */
static struct context_hold *g_holds;                  /* g_lock */
static struct primary g_primaries[STATS_DEVICES_MAX]; /* g_lock */

static void set_up(void)
{
    monotonic_cond_init(&g_over);
}

/* g_lock is held, here and below. */
static void link_wait(struct wait *wait)
{
    wait->next = g_waits;
    g_waits = wait;
}

static void unlink_wait(struct wait *wait)
{
    struct wait **link = &g_waits;

    while (*link != wait)
        link = &(*link)->next;
    *link = wait->next;
}

static int is_waited_for(CUcontext ctx)
{
    const struct wait *wait = g_waits;

    while (wait && (wait->ctx != ctx || wait->ending))
        wait = wait->next;
    return wait != NULL;
}

static int is_held(CUcontext ctx)
{
    const struct context_hold *hold = g_holds;

    while (hold && hold->ctx != ctx)
        hold = hold->next;
    return hold != NULL;
}

static int is_ending(CUcontext ctx)
{
    const struct wait *wait = g_waits;

    while (wait && (wait->ctx != ctx || !wait->ending))
        wait = wait->next;
    return wait != NULL;
}

static int may_begin(CUcontext ctx)
{
    const struct wait *wait = g_waits;

    while (wait && (wait->ctx != ctx || !(wait->alone || wait->ending)))
        wait = wait->next;
    return !wait;
}

static void *wait_main(void *arg)
{
    struct wait *wait = arg;
    CUresult result;

    thread_leave_captures_alone(driver_get());
    result = deferred_synchronize(wait->ctx);
    pthread_mutex_lock(&g_lock);
    wait->result = result;
    wait->over = 1;
    unlink_wait(wait);
    if (wait->alone)
        free(wait);
    pthread_cond_broadcast(&g_over);
    pthread_mutex_unlock(&g_lock);
    return NULL;
}

static struct timespec time_in(uint64_t ns)
{
    return monotonic_timespec(monotonic_now_ns() + ns);
}

CUresult context_wait(CUcontext ctx, uint64_t patience_ns)
{
    const struct timespec until = time_in(patience_ns);
    struct wait *wait = calloc(1, sizeof(*wait));
    CUresult result = CUDA_ERROR_NOT_READY;
    int err = 0;

    if (!wait)
        return CUDA_ERROR_OUT_OF_MEMORY;
    wait->ctx = ctx;
    pthread_once(&g_once, set_up);
    pthread_mutex_lock(&g_lock);
    if (!may_begin(ctx) || thread_start(wait_main, wait)) {
        free(wait);
        goto unlock;
    }
    link_wait(wait);
    while (!err && !wait->over)
        err = pthread_cond_timedwait(&g_over, &g_lock, &until);
    if (wait->over) {
        result = wait->result;
        free(wait);
    } else {
        wait->alone = 1;
    }
unlock:
    pthread_mutex_unlock(&g_lock);
    return result;
}

void context_set_add(struct context_set *set, CUcontext ctx)
{
    size_t i = 0;

    while (i < set->count && set->ctx[i] != ctx)
        i++;
    if (i == set->count && i < sizeof(set->ctx) / sizeof(set->ctx[0]))
        set->ctx[set->count++] = ctx;
}

void context_wait_each(struct context_set *set, uint64_t patience_ns)
{
    const uint64_t until_ns = monotonic_now_ns() + patience_ns;
    const size_t count = set->count;

    set->count = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t time_ns = monotonic_now_ns(),
                 left_ns = time_ns < until_ns ? until_ns - time_ns : 0;
        CUcontext ctx = set->ctx[i];

        if (stats_note(context_wait(ctx, left_ns / (count - i))) == CUDA_SUCCESS)
            set->ctx[set->count++] = ctx;
    }
}

int context_hold(struct context_hold *hold, CUcontext ctx)
{
    int ends;

    pthread_mutex_lock(&g_lock);
    ends = is_ending(ctx);
    if (!ends) {
        hold->ctx = ctx;
        hold->next = g_holds;
        g_holds = hold;
    }
    pthread_mutex_unlock(&g_lock);
    return !ends;
}

void context_let_go(struct context_hold *hold)
{
    struct context_hold **link = &g_holds;

    pthread_once(&g_once, set_up);
    pthread_mutex_lock(&g_lock);
    while (*link != hold)
        link = &(*link)->next;
    *link = hold->next;
    pthread_cond_broadcast(&g_over);
    pthread_mutex_unlock(&g_lock);
}

void context_wait_leave(CUcontext ctx, uint64_t patience_ns)
{
    const struct timespec until = time_in(patience_ns);
    struct wait *end = calloc(1, sizeof(*end));
    int err = 0;

    pthread_once(&g_once, set_up);
    pthread_mutex_lock(&g_lock);
    if (end) { /* else only what waits or holds already is kept off */
        end->ctx = ctx;
        end->ending = 1;
        link_wait(end);
    }
    while (!err && (is_waited_for(ctx) || is_held(ctx)))
        err = pthread_cond_timedwait(&g_over, &g_lock, &until);
    pthread_mutex_unlock(&g_lock);
}

void context_wait_left(CUcontext ctx)
{
    struct wait *end;

    pthread_mutex_lock(&g_lock);
    end = g_waits;
    while (end && (end->ctx != ctx || !end->ending))
        end = end->next;
    if (end)
        unlink_wait(end);
    pthread_cond_broadcast(&g_over);
    pthread_mutex_unlock(&g_lock);
    free(end);
}

void context_wait_new(CUcontext ctx)
{
    pthread_once(&g_once, set_up);
    pthread_mutex_lock(&g_lock);
    while (is_ending(ctx))
        pthread_cond_wait(&g_over, &g_lock);
    pthread_mutex_unlock(&g_lock);
}

/* Takes the lock. returns NULL, without it, for a device that there is not, which the driver
 * refuses
 */
static struct primary *lock_primary(CUdevice dev)
{
    if (dev < 0 || dev >= (CUdevice)STATS_DEVICES_MAX)
        return NULL;
    pthread_once(&g_once, set_up);
    pthread_mutex_lock(&g_lock);
    return &g_primaries[dev];
}

void context_primary_begins(CUdevice dev, uint64_t patience_ns)
{
    const struct timespec until = time_in(patience_ns);
    struct primary *primary = lock_primary(dev);

    if (!primary)
        return;
    for (int err = 0; !err && (primary->ends || primary->waiting);)
        err = pthread_cond_timedwait(&g_over, &g_lock, &until);
    primary->begins++;
    pthread_mutex_unlock(&g_lock);
}

void context_primary_begun(CUdevice dev)
{
    struct primary *primary = lock_primary(dev);

    if (!primary)
        return;
    primary->begins--;
    pthread_cond_broadcast(&g_over);
    pthread_mutex_unlock(&g_lock);
}

void context_primary_ends(CUdevice dev, uint64_t patience_ns)
{
    const struct timespec until = time_in(patience_ns);
    struct primary *primary = lock_primary(dev);

    if (!primary)
        return;
    primary->waiting++;
    for (int err = 0; !err && (primary->ends || primary->begins);)
        err = pthread_cond_timedwait(&g_over, &g_lock, &until);
    primary->waiting--;
    primary->ends++;
    pthread_mutex_unlock(&g_lock);
}

void context_primary_ended(CUdevice dev)
{
    struct primary *primary = lock_primary(dev);

    if (!primary)
        return;
    primary->ends--;
    pthread_cond_broadcast(&g_over);
    pthread_mutex_unlock(&g_lock);
}
