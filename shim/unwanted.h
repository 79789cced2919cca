/* unwanted.h - managed memory of ours that came to nothing, until it can be given back.
 *
 * The driver's free waits for all work of a context, and keeps other calls waiting; an allocation
 * must not: that work may be held up by what the program does next. So what an allocation could not
 * use is kept, and goes when the program itself waits. Nobody is ever told of its addresses.
 *
 * Locks: one of its own, a leaf.
 */
#ifndef BERTH_UNWANTED_H
#define BERTH_UNWANTED_H

#include "cuda_abi.h"
#include <stddef.h>

/* Keep [base, base + bytes) of ctx. Without memory for that it stays until the process ends. */
void unwanted_keep(CUcontext ctx, CUdeviceptr base, size_t bytes);
/* One of that size again, which is kept no longer; 0 when there is none. */
CUdeviceptr unwanted_take(CUcontext ctx, size_t bytes);
/* Give back what is kept of ctx, whose work the program has waited for. Call with no lock held. */
void unwanted_release(CUcontext ctx);
/* Give managed memory of ctx back to the driver, whatever context is current: it frees nothing
 * where none is. returns the driver's code */
CUresult unwanted_free(CUcontext ctx, CUdeviceptr base, size_t bytes);
/* The context is gone, and all of its memory with it. */
void unwanted_forget(CUcontext ctx);

#endif
