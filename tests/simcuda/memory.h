/* memory.h - the simulated devices' memory: capacity, allocations, unified memory, page tables.
 *
 * memory.c and its neighbours own every struct mmu_entry and decide what an address is. A device
 * address is reserved without access (PROT_NONE) in this process and its bytes lie elsewhere, so a
 * program or a shim that dereferences one dies; only managed and host memory can be touched by the
 * host. Managed memory keeps residency for each 2 MiB block on either side, and a host touch of a
 * block that lives on the device is caught by a SIGSEGV handler and migrates it.
 *
 * Locks: one reader-writer lock. Device work runs under memory_run_begin(), the reading side, for a
 * bounded stretch (a thread block, a chunk of a copy); what changes page tables takes the writing
 * side. It does not recurse: nothing declared here may be called between memory_run_begin() and
 * memory_run_end(). Fresh memory is poisoned, freed memory too; addresses vary by seed.
 *
 * Nobody in the simulator may touch a managed address with a plain load or store while it holds the
 * lock, because the fault handler would wait for it: memory_copy() is the way to such bytes, also
 * from and to a buffer of one's own, which it takes for pageable host memory.
 */
#ifndef SIMCUDA_MEMORY_H
#define SIMCUDA_MEMORY_H

#include "cuda_abi.h"
#include "mmu.h"

enum memory_kind {
    MEMORY_NONE,       /* not an address of ours: plain pageable host memory, or nothing */
    MEMORY_DEVICE,     /* cuMemAlloc and the like */
    MEMORY_MANAGED,    /* cuMemAllocManaged */
    MEMORY_HOST,       /* cuMemHostAlloc, cuMemAllocHost: pinned, mapped at its own address */
    MEMORY_REGISTERED, /* cuMemHostRegister */
    MEMORY_MODULE,     /* a module's .global and .const variables */
    MEMORY_MAPPED,     /* a mapping of cuMemMap; device -1: over memory of the host */
};

struct memory_info {
    enum memory_kind kind;
    CUdeviceptr base; /* of the allocation */
    size_t bytes;     /* as asked for */
    int device;       /* ordinal; -1 for host memory */
    CUcontext ctx;    /* that it was allocated in */
    unsigned flags;   /* as given at allocation or registration */
    uint64_t id;      /* never reused (CU_POINTER_ATTRIBUTE_BUFFER_ID) */
};

/* Called once, from cuInit, after settings are read. returns 0 or a CUresult */
int memory_init(int device_count);

/* Allocate. device is the ordinal that owns it, ctx the context that it dies with.
 *
 * returns  CUDA_SUCCESS; 2 when the capacity in 2 MiB granules does not hold it (not sticky);
 *          1 for zero bytes; 801 for managed memory when switched off
 * owner    memory_free(), or memory_context_destroyed()
 */
CUresult memory_alloc(enum memory_kind kind, int device, CUcontext ctx, size_t bytes,
                      unsigned flags, CUdeviceptr *out);
/* base must be the exact start of an allocation of that kind, else 1. Poisons, unmaps. The caller
 * has waited for whatever the driver waits for. */
CUresult memory_free(enum memory_kind kind, CUdeviceptr base);
CUresult memory_host_register(void *host, size_t bytes, unsigned flags, CUcontext ctx);
CUresult memory_host_unregister(void *host);

/* What the address lies in; returns 0 and kind NONE when it is none of ours. */
int memory_find(CUdeviceptr addr, struct memory_info *out);

/* Everything that ctx allocated is gone. */
void memory_context_destroyed(CUcontext ctx);

/* Capacity of the device: total, and what is left in granules. Managed memory counts only what is
 * resident, so that it can be oversubscribed. */
void memory_capacity(int device, size_t *free_bytes, size_t *total_bytes);
/* A context's own overhead, taken from or given back to the capacity. returns 0 or 2 */
CUresult memory_charge(int device, long long bytes);

/* Bytes of all allocations of that kind, as they were asked for. */
uint64_t memory_allocated(enum memory_kind kind);

/* Device work. begin takes the reading side and fills run; end gives it back. Nothing that a
 * look-up returned is valid beyond end. A kernel calls end and begin again between thread blocks,
 * so that migrations get their turn. */
void memory_run_begin(int device, struct mmu_run *run);
void memory_run_end(struct mmu_run *run);

/* Copy and set, executed at the time of the call by a copy engine of the device. Addresses may be
 * device, managed, pinned or pageable host addresses; a managed page is read and written where it
 * lives, an unpopulated one is populated at its preferred location, else on the device. Takes and
 * gives back the lock by itself, in chunks.
 *
 * returns  0, else 700 (unmapped, freed) for a device address that is nothing
 */
int memory_copy(int device, uint64_t dst, uint64_t src, size_t bytes);
int memory_set(int device, uint64_t dst, size_t bytes, const void *value, unsigned value_bytes);

/* Is [addr, addr + bytes) inside one allocation of that kind, or inside mappings that lie one
 * behind the other? Used to check arguments at call time. */
int memory_contains(CUdeviceptr addr, size_t bytes, enum memory_kind *kind);

/* CU_POINTER_ATTRIBUTE_SYNC_MEMOPS of the allocation that addr lies in: set it to 0 or 1, or with
 * -1 only ask. returns what it is now, -1 when addr is none of ours */
int memory_sync_memops(CUdeviceptr addr, int set);

/* A kernel was queued (1) or has finished (-1) on any device. Without concurrent managed access the
 * host may not touch managed memory while the sum is above zero: it gets SIGSEGV. Does nothing
 * where access is concurrent. Takes the lock. */
void memory_device_busy(int delta);

/* Unified memory. [addr, addr + bytes) must lie in managed allocations, else 1. device -1 is the
 * CPU. um_prefetch is executed in stream order by the caller; um_advise acts at the time of the
 * call. */
CUresult um_prefetch(CUdeviceptr addr, size_t bytes, int device);
/* Blocks that it would have to bring. */
uint64_t um_prefetch_blocks(CUdeviceptr addr, size_t bytes, int device);
/* What um_prefetch() and um_advise() would refuse: 1, or 101 for a device that is not there. */
CUresult um_check(CUdeviceptr addr, size_t bytes, int device);
CUresult um_advise(CUdeviceptr addr, size_t bytes, CUmem_advise advice, int device);
CUresult um_range_attribute(void *data, size_t data_bytes, CUmem_range_attribute attribute,
                            CUdeviceptr addr, size_t bytes);

/* Counters since the start, for SIMCUDA_REPORT and for tests. One table (MEMORY_COUNTERS) names
 * them. All bytes unless the comment says otherwise. */
#define MEMORY_COUNTERS(X)                                                                         \
    X(device_used_bytes)      /* plain allocations and cuMemCreate, in granules, now */            \
    X(managed_resident_bytes) /* managed blocks with a copy on the device, now */                  \
    X(peak_managed_resident_bytes)                                                                 \
    X(peak_device_bytes) /* peak of the two together */                                            \
    X(gpu_faults)        /* count: device accesses that had to migrate or populate */              \
    X(cpu_faults)        /* count: host touches that had to */                                     \
    X(fault_h2d_bytes)   /* migrated to the device by faults */                                    \
    X(fault_d2h_bytes)   /* migrated to the host by faults */                                      \
    X(prefetch_h2d_bytes)                                                                          \
    X(prefetch_d2h_bytes)                                                                          \
    X(evicted_blocks)           /* count: by the driver itself, under pressure */                  \
    X(evicted_write_back_bytes) /* copied back because no duplicate was on the host */             \
    X(dropped_bytes)            /* duplicates on a device given up by unset or by eviction */      \
    X(collapsed_bytes)          /* duplicates that a write, of either side, collapsed */           \
    X(remote_read_bytes)        /* kernels' reads of host-resident or host-mapped memory */        \
    X(remote_write_bytes)                                                                          \
    X(copy_h2d_bytes) /* by explicit copies */                                                     \
    X(copy_d2h_bytes)                                                                              \
    X(copy_d2d_bytes)

struct memory_counters {
#define X(name) uint64_t name;
    MEMORY_COUNTERS(X)
#undef X
};
/* A snapshot for one device. */
void memory_counters(int device, struct memory_counters *out);

#endif
