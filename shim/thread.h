/* thread.h - threads of our own in the program's process.
 *
 * They take none of the program's signals, nobody joins them, and the process ends without them.
 *
 * Locks: none; may be called with any held.
 */
#ifndef BERTH_THREAD_H
#define BERTH_THREAD_H

#include "driver.h"

/* Start a thread. returns 0 or an errno */
int thread_start(void *(*run)(void *arg), void *arg);

/* For a thread that sleeps for microseconds at a time: Linux lets others sleep 50 more. */
void thread_wake_promptly(void);

/* For a thread that calls the driver: what it does must not invalidate a capture of the program's
 * in another thread. */
void thread_leave_captures_alone(const struct driver *drv);

#endif
