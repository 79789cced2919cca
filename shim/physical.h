/* physical.h - the VRAM that the program manages itself: what cuMemCreate() made.
 *
 * It is never moved and never paged; but it takes room on the card, so it is charged against the
 * budget as plain allocations are, from before the driver is asked until the driver lets it go:
 * when the last reference to the handle is released and the last mapping of it is gone, in either
 * order. Memory of the host is no VRAM and is not looked at. Neither is what another process shares
 * with this one, nor that a sparse array or a shareable handle may keep memory longer than that.
 *
 * Each function is the driver's call of that name with the books kept around it: the books are
 * written before a call that may give a handle back, since the driver may hand the same value out
 * again at once, and after every other.
 *
 * Locks: a mutex of its own, a leaf; never held across a driver call or a call of residency's.
 */
#ifndef BERTH_PHYSICAL_H
#define BERTH_PHYSICAL_H

#include "driver.h"

/* cuMemCreate(). VRAM that is short is taken from paged extents.
 *
 * returns  the driver's code; CUDA_ERROR_OUT_OF_MEMORY only when nothing is left to give back
 * locks    takes residency's and range.h's; waits until extents have made room
 */
CUresult physical_create(CUmemGenericAllocationHandle *out, size_t bytes,
                         const CUmemAllocationProp *prop, unsigned long long flags);

/* cuMemRelease(): one reference less. */
CUresult physical_release(CUmemGenericAllocationHandle handle);

/* cuMemRetainAllocationHandle(): one reference more. */
CUresult physical_retain(CUmemGenericAllocationHandle *out, void *addr);

/* cuMemMap() and cuMemUnmap(). One call may unmap many whole mappings. */
CUresult physical_map(CUdeviceptr addr, size_t bytes, size_t offset,
                      CUmemGenericAllocationHandle handle, unsigned long long flags);
CUresult physical_unmap(CUdeviceptr addr, size_t bytes);

#endif
