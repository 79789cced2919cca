#include "thread.h"
#include "stats.h"
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

int thread_start(void *(*run)(void *arg), void *arg)
{
    sigset_t all, old;
    pthread_attr_t attr;
    pthread_t thread;
    int err;

    sigfillset(&all); /* the program's handlers are for the program's threads */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    err = pthread_create(&thread, &attr, run, arg);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return err;
}

void thread_wake_promptly(void)
{
    prctl(PR_SET_TIMERSLACK, 1ul);
}

void thread_leave_captures_alone(const struct driver *drv)
{
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;

    if (drv->cuThreadExchangeStreamCaptureMode)
        stats_note(drv->cuThreadExchangeStreamCaptureMode(&mode));
}
