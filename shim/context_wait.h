/* context_wait.h - wait for all work of a context, but not for ever: that work may be held up by
 * what the program does next. A thread of ours does the waiting, which keeps nobody's calls
 * waiting.
 *
 * Another thread of the program may destroy a context at any time. What is ours in one (streams,
 * events, memory) is asked for from elsewhere only while a hold keeps it from that; but by the
 * pager, which residency_pause() keeps away.
 *
 * Locks: one of its own, the last of all: it may be taken with any other held.
 */
#ifndef BERTH_CONTEXT_WAIT_H
#define BERTH_CONTEXT_WAIT_H

#include "driver.h"

/* Wait until all work of a context has run that was queued before the call.
 *
 * patience_ns  after which the wait is given up; at once where an earlier one of ctx that was given
 *              up has not ended yet, or ctx is coming to its end
 * returns      CUDA_SUCCESS; CUDA_ERROR_NOT_READY when it was given up; else the driver's code
 * locks        call with none held
 */
CUresult context_wait(CUcontext ctx, uint64_t patience_ns);

/* Contexts that are to be waited for; what does not fit is not. */
struct context_set {
    CUcontext ctx[16];
    size_t count;
};

/* Add one that is not in it yet. */
void context_set_add(struct context_set *set, CUcontext ctx);

/* Wait as context_wait() does for each of a set in turn, and leave those in it whose work has run.
 *
 * patience_ns  for all of them; none has more than its share of what is left, for those behind it
 * locks        call with none held
 */
void context_wait_each(struct context_set *set, uint64_t patience_ns);

/* Keeps a context from being destroyed; the caller's, until it lets go. */
struct context_hold {
    CUcontext ctx;
    struct context_hold *next;
};

/* Calls of ours follow that name ctx, or what was made in it, in a thread that is not in a call of
 * the program's for ctx. Never waits.
 *
 * returns  1, and then context_let_go() follows soon, for who would destroy ctx waits for that; 0
 *          when it is coming to its end, or has just come to it: then nothing may be asked
 */
int context_hold(struct context_hold *hold, CUcontext ctx);
void context_let_go(struct context_hold *hold);

#define CONTEXT_WAIT_ENDS UINT64_C(0x3fffffffffffffff) /* longer than any work takes */

/* A context is about to be destroyed: returns when no thread of ours waits for it or holds it, or
 * patience_ns have passed, and none begins before context_wait_left(), which is to be called when
 * the driver has destroyed it and all of ours in it is forgotten, or when it refused to. Call both
 * with no lock held.
 */
void context_wait_leave(CUcontext ctx, uint64_t patience_ns);
void context_wait_left(CUcontext ctx);

/* The driver has made a context, whose handle may have been that of one which has just been
 * destroyed: returns when all of ours in that one is forgotten. Call with no lock held.
 */
void context_wait_new(CUcontext ctx);

/* The primary context of a device is counted, and has one handle through all its lives. Only while
 * no life of it can begin does the driver tell whether a release has ended one.
 *
 * begins, begun  around a call that may begin a life
 * ends, ended    around one that may end it, the question what became of it, and what then is to be
 *                forgotten
 * patience_ns    for who is between the two already, or for an end that waits; then it goes on
 * locks          call with none held
 */
void context_primary_begins(CUdevice dev, uint64_t patience_ns);
void context_primary_begun(CUdevice dev);
void context_primary_ends(CUdevice dev, uint64_t patience_ns);
void context_primary_ended(CUdevice dev);

#endif
