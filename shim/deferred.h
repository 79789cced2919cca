/* deferred.h - frees in stream order: an allocation stays until the work queued before its free has
 * run.
 *
 * Nothing here waits on the host but deferred_synchronize(), and deferred_free() where no event can
 * tell when the work has run. Nobody but deferred.c marks an allocation as leaving.
 *
 * Locks: one of its own, a leaf but for context_wait.h's. Call with none held.
 */
#ifndef BERTH_DEFERRED_H
#define BERTH_DEFERRED_H

#include "context_wait.h"
#include "driver.h"

/* Free a paged allocation when the work queued on stream so far has run.
 *
 * base     where it starts
 * ctx      that it was allocated in
 * paged    set to 1, as range_free() does
 * returns  CUDA_SUCCESS; CUDA_ERROR_INVALID_VALUE when it has been freed before; else the driver's
 *          code
 */
CUresult deferred_free(CUdeviceptr base, CUcontext ctx, CUstream stream, int *paged);

/* Let go what was freed in stream order and whose time has come. Never waits. An event that cannot
 * be asked, as its context is coming to its end, say, tells nothing: its memory may be in use, and
 * stays until there is need for it. */
void deferred_retire(void);

/* Add the contexts whose memory is on its way, and those whose work it waits for. */
void deferred_add_contexts(struct context_set *set);

/* Wait for all work of a context, which need not be the current one: a free that is in no stream's
 * order. */
CUresult deferred_synchronize(CUcontext ctx);

/* The context has gone, and its memory and its events with it. What another context's memory waited
 * for on a stream of it is over. */
void deferred_drop_context(CUcontext ctx);

#endif
