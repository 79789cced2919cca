/* touched.h - which bytes one kernel has touched, each counted once.
 *
 * What a kernel reads again comes out of a cache, or of registers that a translated kernel does not
 * have; so its time follows from how many different bytes it needs, not from how often it asks.
 * Device memory is told apart in granules of 64 KiB, marked in the page table itself, so that only
 * one kernel of a device can be watched at a time: paced mode runs one at a time anyway. What lies
 * across the link is told apart in lines, of 128 bytes on a card; larger ones let a kernel that
 * touches one word in each stand for one that reads everything.
 *
 * Locks: none. One thread fills it, holding memory's lock as device work does.
 */
#ifndef SIMCUDA_TOUCHED_H
#define SIMCUDA_TOUCHED_H

#include "mmu.h"

struct touched_page; /* 32 lines across the link */

struct touched {
    uint64_t line_bytes;        /* the owner's to set, first */
    struct mmu_entry **entries; /* of which a granule is marked */
    size_t count;
    size_t capacity;
    struct touched_page *pages; /* open addressing, a power of two */
    size_t page_count;
    size_t page_capacity;
    uint64_t local_bytes;
    uint64_t remote_read_bytes;
    uint64_t remote_write_bytes;
    int is_short; /* memory ran out: the counts are too low */
};

/* Let the run, just begun, note into touched, which is zero but for line_bytes or has been
 * noted into. */
void touched_watch(struct touched *touched, struct mmu_run *run);
/* The run's access was served from the device's memory, by other ways than mmu_at()'s fast one. */
void touched_local(struct mmu_run *run, uint64_t addr);
/* It went across the link. */
void touched_remote(struct mmu_run *run, uint64_t addr, enum mmu_access access);
/* Take all marks away and free what it holds; the three sums stay. */
void touched_end(struct touched *touched);

#endif
