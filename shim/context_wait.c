#include "context_wait.h"
#include "deferred.h"
#include "thread.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct wait {
    CUcontext ctx;
    CUresult result;
    int over;  /* result is the driver's */
    int alone; /* nobody asks for the result any more */
};

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t g_over = PTHREAD_COND_INITIALIZER;
static int g_given_up; /* g_lock: waits that go on alone */

static void *wait_main(void *arg)
{
    struct wait *wait = arg;
    CUresult result;

    thread_leave_captures_alone(driver_get());
    result = deferred_synchronize(wait->ctx);
    pthread_mutex_lock(&g_lock);
    wait->result = result;
    wait->over = 1;
    if (wait->alone) {
        g_given_up--;
        free(wait);
    }
    pthread_cond_broadcast(&g_over);
    pthread_mutex_unlock(&g_lock);
    return NULL;
}

static struct timespec time_in(uint64_t ns)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    ns += (uint64_t)t.tv_nsec;
    t.tv_sec += (time_t)(ns / 1000000000ull);
    t.tv_nsec = (long)(ns % 1000000000ull);
    return t;
}

CUresult context_wait(CUcontext ctx, uint64_t patience_ns)
{
    const struct timespec until = time_in(patience_ns);
    struct wait *wait = calloc(1, sizeof(*wait));
    CUresult result = CUDA_ERROR_NOT_READY;
    int err;

    if (!wait)
        return CUDA_ERROR_OUT_OF_MEMORY;
    wait->ctx = ctx;
    pthread_mutex_lock(&g_lock);
    err = g_given_up || thread_start(wait_main, wait);
    while (!err && !wait->over)
        err = pthread_cond_timedwait(&g_over, &g_lock, &until);
    if (wait->over)
        result = wait->result;
    if (err == ETIMEDOUT && !wait->over) {
        wait->alone = 1;
        g_given_up++;
    } else {
        free(wait);
    }
    pthread_mutex_unlock(&g_lock);
    return result;
}
