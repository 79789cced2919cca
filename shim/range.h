/* range.h - the program's allocations, and the address space behind those that are paged.
 *
 * An address handed out never moves, and every question about it is answered with the program's own
 * bounds. An allocation is plain (the driver's, untouched) or paged: cut out of a range, which is
 * address space of ours. Large allocations have a range each; others are packed, in order of
 * allocation, into shared ranges, so that what is allocated together is moved together.
 *
 * Nobody but range.c links an allocation into the index or takes it out.
 *
 * Locks: g_range_lock (reader-writer) guards the index, every allocation and its objects. It comes
 * before residency's lock. It is never held across a driver call, nor while waiting for the pager.
 */
#ifndef BERTH_RANGE_H
#define BERTH_RANGE_H

#include "driver.h"
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_BYTES      ((size_t)2 << 20)
#define RANGE_PLAIN_MAX ((size_t)64 << 10) /* allocations below this stay plain */
#define RANGE_PACK_MAX  ((size_t)16 << 20) /* allocations below this always share a range */
#define RANGE_WASTE     256 /* larger ones do where rounding to pages wastes more than this share */
#define RANGE_ALIGN     ((size_t)512) /* of an address handed out; the driver promises 256 */

struct object;
struct piece_list;
struct extent;

enum allocation_kind {
    ALLOCATION_PLAIN, /* the driver's own; counted, never moved */
    ALLOCATION_PAGED,
};

/* What the program asked for. Guarded by g_range_lock. */
struct allocation {
    CUdeviceptr base; /* [base, base + bytes), as the program sees it */
    size_t bytes;
    enum allocation_kind kind;
    CUdevice device;
    CUcontext ctx;          /* it dies with this one */
    uint64_t id;            /* never reused; also what BUFFER_ID answers for a paged one */
    uint64_t number;        /* 0, 1, ... in order of allocation: names what has no name */
    struct range *range;    /* NULL for a plain one */
    struct object *objects; /* sorted by address, never overlapping */
    size_t object_count;
    size_t object_room;
    struct piece_list *pieces; /* uploads without a name as yet; NULL for none */
    int leaving;               /* freed in stream order: it goes when its event has come */
};

/* Address space of ours. base, bytes, device, ctx and the extents do not change while it lives. */
struct range {
    CUdeviceptr base;
    size_t bytes;
    CUdevice device;
    CUcontext ctx;
    int shared;              /* several allocations are packed into it */
    struct extent **extents; /* residency's, extent_count of extent_bytes each, the last shorter */
    size_t extent_count;
    size_t extent_bytes;
    uint64_t leaving_bytes; /* in VRAM still, though it is detached. residency */
    size_t cursor;          /* where packing goes on. g_range_lock */
    size_t freed;           /* allocations that left holes behind the cursor. g_range_lock */
    size_t live;            /* allocations in it. g_range_lock */
    size_t used;            /* bytes from its base that allocations have had ever. g_range_lock */
    unsigned emptied;   /* 0: in use; else the last was freed in stream order, and the program has
                           waited for its context once less than that since. g_range_lock */
    struct range *next; /* of all ranges. g_range_lock */
};

/* A copy of what the index knows of an address. */
struct range_view {
    CUdeviceptr base;
    size_t bytes;
    enum allocation_kind kind;
    CUdevice device;
    CUcontext ctx;
    uint64_t id;
    int leaving;
};

/* Allocate device memory for the program.
 *
 * bytes    as asked for
 * plain    the driver's own call, for what stays plain: called with plain_arg when the allocation
 *          is too small to be paged or paging is not possible
 * returns  CUDA_SUCCESS, else the driver's code. Lack of VRAM is no failure while the host has room
 * locks    takes g_range_lock, residency's. Before it is refused it waits for the work of contexts
 *          in which memory is being freed in stream order, ten seconds at most, or is kept, as
 *          range_give_back() does
 */
typedef CUresult range_plain_fn(void *plain_arg, CUdeviceptr *out);
CUresult range_alloc(size_t bytes, range_plain_fn *plain, void *plain_arg, CUdeviceptr *out);

/* Free what starts at base. The driver's free waits for all work of a context, and other calls of
 * the context may wait behind it: so a range goes in a call that waits anyway. What is plain is the
 * driver's to free, and takes no longer than that does: no range goes with it.
 *
 * paged    set to 1 when it was a paged allocation, or an address of ours that is none; 0: the
 *          caller calls the driver, and its bookkeeping here is gone
 * returns  CUDA_SUCCESS, or the driver's code for a paged one: where its work could not be waited
 *          for, it stays as it was
 * locks    as range_alloc(); of a paged one, waits for all work of its context
 */
CUresult range_free(CUdeviceptr base, int *paged);

/* The same in stream order: the bytes stay until the work queued on stream so far has run. */
CUresult range_free_async(CUdeviceptr base, CUstream stream, int *paged);

/* The program has just waited for all work of a context. What frees in stream order have emptied is
 * kept to be used again; what was not, since the program last waited so, is given back.
 *
 * locks    as range_free()
 */
void range_waited(CUcontext ctx);

/* Memory is refused for lack of it: give back all that is kept, of all contexts, once what is being
 * freed in stream order is free. That waits for their work, as nobody who asks for memory must but
 * before a refusal: for two seconds at most, for the work may be held up by this very thread.
 *
 * returns  1 when something was given back, and the driver is to be asked again
 * locks    as range_free()
 */
int range_give_back(void);

/* For deferred.c: the work that a free in stream order waited for has run. What was allocated at
 * base goes; its range stays, for another allocation. */
void range_retire(CUdeviceptr base);

/* Is addr in address space of ours, allocated or not? The driver must not be asked about it. */
int range_owns(CUdeviceptr addr);

/* Is any of [addr, addr + bytes)? An empty span is its first byte. */
int range_owns_any(CUdeviceptr addr, size_t bytes);

/* What addr lies in. returns 1, or 0 when it is no address of an allocation known here */
int range_find(CUdeviceptr addr, struct range_view *out);

/* May a copy of the program use [addr, addr + bytes)? Paged memory lies close together, so that
 * what the driver would refuse for plain memory would reach a neighbour.
 *
 * returns  0; -1 when it begins in paged memory and leaves its allocation, or begins in none
 */
int range_check_span(CUdeviceptr addr, size_t bytes);

/* A context is about to go, or has just gone, with all that was allocated in it: forget that. The
 * driver gives the memory back itself. */
void range_context_destroyed(CUcontext ctx);

/* All paged allocations lie in [*first, *end): a word outside is no pointer of ours. */
void range_bounds(uint64_t *first, uint64_t *end);

/* Changes whenever an allocation or an object comes, goes or changes its bounds. Never 0. */
uint64_t range_generation(void);

/* For upload.c and launch.c, which walk objects: the lock, and the allocation that holds an address
 * (NULL for none), valid as long as the lock is held. */
void range_read_lock(void);
void range_write_lock(void);
void range_unlock(void);
struct allocation *range_allocation_at(CUdeviceptr addr);
/* The first allocation that ends after addr, by address; NULL when there is none. */
struct allocation *range_allocation_after(CUdeviceptr addr);
void range_changed(void);

/* What the device can hold for the program by our account, VRAM and host together, and what of it
 * is not allocated: what cuMemGetInfo answers, and what an allocation is held against. */
void range_capacity(CUdevice device, uint64_t *free_bytes, uint64_t *total_bytes);
/* An allocation is refused, for that is less than it asks for: said once. */
void range_tell_full(CUdevice device, size_t bytes);

/* The program has taken so much of that by other means than an allocation, or given it back. */
void range_count_allocated(CUdevice device, int64_t bytes);

#endif
