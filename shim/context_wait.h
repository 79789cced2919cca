/* context_wait.h - wait for all work of a context, but not for ever: that work may be held up by
 * what the program does next. A thread of ours does the waiting, which keeps nobody's calls
 * waiting.
 *
 * Locks: one of its own, a leaf.
 */
#ifndef BERTH_CONTEXT_WAIT_H
#define BERTH_CONTEXT_WAIT_H

#include "driver.h"

/* Wait until all work of a context has run that was queued before the call.
 *
 * patience_ns  after which the wait is given up; at once where an earlier one that was given up has
 *              not ended yet
 * returns      CUDA_SUCCESS; CUDA_ERROR_NOT_READY when it was given up; else the driver's code
 * locks        call with none held
 */
CUresult context_wait(CUcontext ctx, uint64_t patience_ns);

#endif
