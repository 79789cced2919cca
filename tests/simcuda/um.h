/* um.h - unified memory: where the bytes of each managed block are.
 *
 * A block is 2 MiB of one managed allocation; allocations never share one. Its bytes are in any of:
 * the host's copy (host_valid) and one frame on each device. Only um.c moves them:
 *
 *                       host touch                  device touch, prefetch
 *     HOST ALONE <----------------------- UNPOPULATED ---------------------> DEVICE ALONE
 *          |                                                                     ^
 *          +---------------- migrate: fault, prefetch, eviction -----------------+
 *          |                                                                     |
 *          +--- read fault or prefetch, READ_MOSTLY --> DUPLICATED <-------------+
 *                                                           |
 *       a write leaves the writer's copy; unset READ_MOSTLY leaves the preferred location's copy,
 *       else a device's; eviction gives the device's copy up. Nothing is transferred.
 *
 * More than one copy exists only while READ_MOSTLY is set, and while it does all copies are
 * read-only, with one exception, which the hardware has (seen on an H200 with driver 580): a
 * prefetch gives the device write access to pages that nobody has mapped. Pages that a copy engine
 * filled and that the program's threads never touched are such; READ_MOSTLY ended the device's own
 * mapping. Kernels then write the duplicate without a fault, so the host's copy stays as it was,
 * and ending READ_MOSTLY leaves that one: what was written is lost. A prefetch to the CPU maps.
 *
 * A device reaches the host's copy without moving it (a remote access) when the
 * preferred location is the CPU, when ACCESSED_BY is set for it and the preferred location is not
 * that device, or when nothing can make room for the block.
 *
 * The model moves whole blocks where the hardware may move 4 KiB pages. Advice and prefetches on a
 * part of a block: setting acts on every block that is touched, unsetting only on blocks that are
 * covered to their last page, so that a program cannot rely on having dropped what it did not name.
 *
 * Locks: memory's, writing side, unless a function says otherwise. The host's copy is reached by
 * the simulator through an alias that is always accessible, never through the program's address.
 */
#ifndef SIMCUDA_UM_H
#define SIMCUDA_UM_H

#include "pages.h"

#define UM_CPU  (-1)
#define UM_NONE (-2)

struct um_link {
    struct um_block *older;
    struct um_block *newer;
};

struct um_block {
    uint64_t addr;
    uint8_t *host;  /* alias of the host's copy */
    uint32_t bytes; /* 2 MiB, less in an allocation's last block: whole 4 KiB pages */
    int owner;      /* device whose counters count what the host does to it */
    int host_valid;
    int is_host_mapped; /* in the driver's books: by a touch of the host, or a prefetch to it */
    int host_prot;      /* what the program's mapping has now */
    int is_read_mostly;
    int preferred;        /* ordinal, UM_CPU or UM_NONE */
    int last_prefetch;    /* as preferred */
    unsigned accessed_by; /* bit ordinal for a device, UM_ACCESSED_BY_CPU */
    unsigned unguarded;   /* bit ordinal: the device writes its duplicate without a fault */
    uint8_t *frame[SIM_DEVICES_MAX];
    uint64_t no_room_epoch[SIM_DEVICES_MAX]; /* the room_epoch in which nothing could be evicted */
    struct um_link link[SIM_DEVICES_MAX];    /* among the blocks with a frame on that device */
};

#define UM_ACCESSED_BY_CPU (1u << 31)

struct um {
    uint8_t *alias;
    size_t count;
    struct um_block blocks[];
};

enum um_route {
    UM_LOCAL,  /* in the device's frame */
    UM_REMOTE, /* in the host's copy, across the link */
    UM_MISS,   /* um_device_fault() has to act first */
};

/* Is read duplication, prefetch, eviction as on Linux with a recent card? Fixed. */
int um_is_concurrent(void);

/* Map the region's bytes for host and devices, unpopulated. region->base and bytes are set.
 * returns 0 or 2 */
CUresult um_create(struct region *region, uint64_t bytes, int owner);
/* Give every frame back and unmap. */
void um_destroy(struct region *region);

/* The block that addr lies in, NULL beyond the last. Reading side. */
struct um_block *um_block_at(const struct region *region, uint64_t addr);

/* How a device's access would find the block's bytes; *at is where they start, for LOCAL and
 * REMOTE. Reading side. */
enum um_route um_route(const struct um_block *block, int device, enum mmu_access access,
                       uint8_t **at);
/* Make um_route() answer LOCAL or REMOTE, as a fault of the device would. */
void um_device_fault(struct um_block *block, int device, enum mmu_access access);
/* A touch by the host. */
void um_host_fault(struct um_block *block, enum mmu_access access);

/* Where a copy engine of device finds the bytes, without moving them. NULL when um_settle() has to
 * act first: unpopulated, or a write to duplicates. *where is an ordinal or UM_CPU. Reading side.
 */
uint8_t *um_place(const struct um_block *block, int device, enum mmu_access access, int *where);
/* Make um_place() answer: populate at the preferred location, else on device; leave one copy. */
void um_settle(struct um_block *block, int device, enum mmu_access access);

/* What prefetches and advice do to one block. to is an ordinal or UM_CPU. */
void um_block_prefetch(struct um_block *block, int to);
/* Where such a prefetch would copy the block from: an ordinal or UM_CPU, UM_NONE when nothing would
 * be copied. Reading side. */
int um_block_source(const struct um_block *block, int to);
/* Is a copy where a prefetch would bring it? Reading side. */
int um_block_is_at(const struct um_block *block, int to);
void um_block_collapse(struct um_block *block);

/* Evict the block that came first to the device. returns 0 when there is none */
int um_evict(struct memory_device *device);

/* Without concurrent access: the host may not touch managed memory while a device is busy. */
void um_host_revoke(void);
int um_is_busy(void);
void um_busy_add(int delta);

#endif
