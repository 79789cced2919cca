/* release.h - ranges that nobody uses any more, on their way back to the driver.
 *
 * The driver's free waits for all work of a context, so that no call of the program may make it
 * which would not wait itself. A thread of our own does, one range after another. What it has not
 * come to yet can still be used again.
 *
 * Locks: one of its own, a leaf. Call with none held.
 */
#ifndef BERTH_RELEASE_H
#define BERTH_RELEASE_H

#include "driver.h"
#include <stdint.h>

/* There are ranges that are due (range_take_due()). Never waits. Without a thread they stay until
 * the program frees something in a call that waits. */
void release_kick(void);

/* Wait until the thread is done with what it has in hand of a context: for a call that waits for
 * that context anyway. */
void release_finish(CUcontext ctx);

/* How many ranges have been given back so far. */
uint64_t release_count(void);

/* An allocation has found no room: wait for all that is due, two seconds at most, for the work that
 * holds it up may itself wait for this very thread.
 *
 * returns  release_count()
 */
uint64_t release_wait(void);

/* The thread keeps its hands off a context between the two: for a call that may destroy it. pause
 * waits until the thread has left the driver, if it is there for this context. */
void release_pause(CUcontext ctx);
void release_resume(void);

/* The program ends: the thread makes no further driver call. Never waits. */
void release_stop(void);

#endif
