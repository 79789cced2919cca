/* regions.h - what every address means: regions, the allocations in them, the devices' books.
 *
 * A region is address space that was given out as one piece: the pages of one large allocation, one
 * page that small allocations share, a managed allocation, or pinned host memory. Regions never
 * overlap, but that two pieces of registered host memory may share a 4 KiB page. Nobody changes
 * a region, a device's books or a page table without the writing side of memory's lock.
 *
 *     regions.c  the lock, the index          pages.c       addresses, frames of bytes, page tables
 *     memory.c   allocations                  memory_run.c  what a device's access finds
 *     um.c       residency of managed blocks  memory_copy.c what a copy engine finds
 *     memory_capacity.c   who has taken how much of a device and of the host
 */
#ifndef SIMCUDA_REGIONS_H
#define SIMCUDA_REGIONS_H

#include "memory.h"
#include "sim.h"

#define HOST_PAGE_BYTES ((uint64_t)4096)

struct physical;
struct um;
struct um_block;

struct allocation {
    struct memory_info info;
    int sync_memops; /* CU_POINTER_ATTRIBUTE_SYNC_MEMOPS */
    struct region *region;
    struct allocation *next; /* in the region, by ascending address */
};

struct region {
    uint64_t base;
    uint64_t bytes; /* what a device can reach: whole pages of 2 MiB, of 4 KiB for host memory */
    enum memory_kind kind;
    int device; /* ordinal of the owner; -1 for host memory */
    CUcontext ctx;
    int is_shared;             /* one page of small allocations */
    struct allocation *first;  /* one only, unless is_shared */
    uint8_t **frames;          /* DEVICE and MODULE: bytes of each page, NULL until it is touched */
    struct um *um;             /* MANAGED */
    struct physical *physical; /* MAPPED: what is mapped */
    uint8_t access[SIM_DEVICES_MAX]; /* MAPPED: MMU_READ | MMU_WRITE that a device may */
};

/* One device's books. */
struct memory_device {
    int ordinal;
    uint64_t capacity_pages;
    uint64_t charged_pages; /* contexts' overhead */
    uint64_t plain_pages;
    uint64_t managed_pages;  /* frames that managed blocks hold */
    uint64_t room_epoch;     /* counts up whenever a page becomes free; starts at 1 */
    struct um_block *oldest; /* managed blocks with a frame here, in the order they came */
    struct um_block *newest;
    struct memory_counters counters; /* those of remote accesses and copies are atomic */
    struct mmu mmu;
};

/* Counters that change on the reading side. */
#define COUNT(device, counter, amount)                                                             \
    __atomic_fetch_add(&(device)->counters.counter, (amount), __ATOMIC_RELAXED)

/* Memory's lock. Writers go first. Taking it twice in one thread is a mistake of the simulator and
 * ends the process with a line that says so. */
void memory_lock_read(void);
void memory_lock_write(void);
void memory_unlock(void);
/* Does the calling thread hold it, on either side? Safe in a signal handler. */
int memory_lock_is_held(void);

/* The simulator cannot go on: one line on stderr, then abort. It is never a program's fault. */
void memory_fatal(const char *what) __attribute__((noreturn));

struct memory_device *memory_device_at(int ordinal);
int memory_device_count(void);

/* Index. Lock: reading side for look-ups, writing side for changes.
 *
 * region_reach   the region through which a device reaches addr; NULL when there is none
 * region_insert  the index owns region from now on; returns 0 or 2
 * region_remove  takes it out and frees the struct, its allocations and its list of frames
 * region_at      i-th in ascending order, NULL beyond the last
 */
struct region *region_reach(uint64_t addr);
CUresult region_insert(struct region *region);
void region_remove(struct region *region);
struct region *region_at(size_t index);

/* Index a region at model's base with one allocation in it. Writing side. returns NULL when out of
 * memory, and nothing has happened */
struct region *region_new(const struct region *model, uint64_t asked_bytes, unsigned flags);

/* Pages that cannot be evicted: take them from a device's capacity, managed blocks make way, and
 * give them back. Writing side. plain_take returns 0 or 2 */
CUresult plain_take(struct memory_device *device, uint64_t pages);
void plain_give(struct memory_device *device, uint64_t pages);

/* Room on the host for the region, as far as the settings grant it, and back. Writing side.
 * host_take returns 0 or 2 */
CUresult host_take(const struct region *region);
void host_give(const struct region *region);

/* The allocation that addr lies in, by its exact bounds; NULL when there is none. */
struct allocation *allocation_find(uint64_t addr);
/* Is any byte of [first, end) part of an allocation? */
int allocation_overlaps(uint64_t first, uint64_t end);

static inline uint64_t round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static inline uint64_t round_down(uint64_t value, uint64_t unit)
{
    return value / unit * unit;
}

#endif
