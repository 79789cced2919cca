/* gate.h - hold up a stream of ours while something is queued on it.
 *
 * The driver does a prefetch's own work in the call where the stream is idle: there it takes the
 * pager's time, and keeps the program's own calls of the context waiting. Behind a gate the stream
 * is busy, and the work is done in its turn. A gate is a word in pinned memory that the stream
 * waits for; it is closed before the call and opened behind it.
 *
 * A free of the program's may hold all other calls of its context up until the streams have run,
 * ours as well. So that no call of ours waits for one which waits for our gate, a thread opens each
 * that has been closed for a millisecond or two.
 *
 * Locks: one of its own, a leaf.
 */
#ifndef BERTH_GATE_H
#define BERTH_GATE_H

#include "driver.h"
#include <stdatomic.h>

#define GATES_MAX 4 /* of one set */

/* The gates of some streams of one context, of which one is closed at a time. All zero: none yet.
 * The pager's alone, but for what gate.c's thread does. */
struct gates {
    _Atomic uint32_t *words; /* one for each stream, in a pinned page of ours: whatever becomes of
                                the context, they can be written; NULL: not made yet */
    uint32_t number;         /* what the gate that was closed last waits for */
    int refused;             /* there are none to be had here */
    /* While one is closed the set is in gate.c's list: */
    unsigned closed; /* which one */
    int was_seen;    /* by the thread's last look: at the next one it is opened */
    struct gates *next;
};

/* Close the gate of a stream, whose context is current.
 *
 * which    less than GATES_MAX
 * returns  1, and then gate_open() follows after the next call; 0 where that cannot be had
 */
int gate_close(const struct driver *drv, struct gates *gates, unsigned which, CUstream stream);
void gate_open(struct gates *gates);

/* Give the memory back. gone: its context has gone, and the pinning with it. */
void gate_free(const struct driver *drv, struct gates *gates, int gone);

#endif
