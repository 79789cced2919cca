/* vmm.h - virtual memory management: reservations, physical memory, mappings, access rights.
 *
 * Physical memory is what a handle stands for: frames of a device, taken from its capacity when it
 * is created, or of the host. A mapping is a region of kind MEMORY_MAPPED over the frames of one
 * handle; a handle may have many. Memory goes when neither a reference nor a mapping holds it.
 *
 * A mapping gives no access until it is set. Nothing here waits for queued work: what the device
 * touches after its mapping has gone is an illegal address.
 *
 * In paced mode what is done to each page takes its time of the caller.
 *
 * Locks: each function takes memory's lock by itself, but where it says otherwise.
 *
 * source: CUDA Driver API reference 13.0, virtual memory management
 */
#ifndef SIMCUDA_VMM_H
#define SIMCUDA_VMM_H

#include "regions.h"

#define VMM_GRANULE_BYTES MMU_PAGE_BYTES

struct physical;

/* Reserve address space of whole granules, aligned to a power of two or 0. returns 0, 1, 2 */
CUresult vmm_reserve(size_t bytes, size_t alignment, CUdeviceptr *out);
/* Exactly as reserved, and nothing mapped there. returns 0 or 1 */
CUresult vmm_unreserve(CUdeviceptr base, size_t bytes);

/* Take frames for a new handle with one reference. prop has been checked. returns 0, 1, 2 */
CUresult vmm_create(size_t bytes, const CUmemAllocationProp *prop,
                    CUmemGenericAllocationHandle *out);
CUresult vmm_release(CUmemGenericAllocationHandle handle);
/* One more reference to what is mapped at addr. returns 0 or 1 */
CUresult vmm_retain(CUdeviceptr addr, CUmemGenericAllocationHandle *out);
CUresult vmm_properties(CUmemGenericAllocationHandle handle, CUmemAllocationProp *out);

/* Map the first bytes of a handle into reserved space where nothing is mapped. returns 0, 1, 2 */
CUresult vmm_map(CUdeviceptr addr, size_t bytes, CUmemGenericAllocationHandle handle);
/* [addr, addr + bytes) must be whole mappings, without a gap. returns 0 or 1 */
CUresult vmm_unmap(CUdeviceptr addr, size_t bytes);

/* What a device may do there: MMU_READ | MMU_WRITE; of whole mappings, without a gap. returns 0 or
 * 1 */
CUresult vmm_set_access(CUdeviceptr addr, size_t bytes, int device, unsigned access);
CUresult vmm_access(CUdeviceptr addr, int device, unsigned *access);

/* Where the byte at addr of a mapping lies, and the device that its frame is of, UM_CPU (-1) for
 * the host's; NULL when the device may not access it like that. The reading side is held. */
uint8_t *vmm_at(const struct region *region, uint64_t addr, int device, enum mmu_access access,
                int *owner);

#endif
