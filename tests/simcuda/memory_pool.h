/* memory_pool.h - memory pools: which stream-ordered allocation came out of which pool.
 *
 * The pool keeps accounts only; its bytes are plain device allocations (memory.h). An allocation
 * exists from the call of cuMemAllocAsync on, and goes when the stream reaches its free.
 *
 * Locks: a leaf of its own, taken and given back inside each function.
 */
#ifndef SIMCUDA_MEMORY_POOL_H
#define SIMCUDA_MEMORY_POOL_H

#include "cuda_abi.h"

/* The pool that the allocation starting at addr came out of, NULL when there is none. */
CUmemoryPool memory_pool_of(CUdeviceptr addr);
/* The allocation goes: take it off its pool's accounts. Does nothing for any other address. */
void memory_pool_forget(CUdeviceptr addr);

#endif
