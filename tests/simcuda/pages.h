/* pages.h - address space, frames that hold pages' bytes, and the page tables that join the two.
 *
 * Two arenas of address space are reserved without access when the driver starts: one for device
 * addresses, one for managed memory, which alone is ever made accessible to the host. A frame is
 * 2 MiB of this process's memory that no program is ever told of. Frames that are given back are
 * poisoned, so nobody may keep a frame's address beyond the lock under which it was read.
 *
 * Locks: memory's, writing side, but where a function says otherwise.
 */
#ifndef SIMCUDA_PAGES_H
#define SIMCUDA_PAGES_H

#include "regions.h"

enum arena {
    ARENA_DEVICE,
    ARENA_MANAGED,
    ARENA_COUNT,
};

enum frame_fill {
    FRAME_POISON, /* fresh device memory holds rubbish */
    FRAME_ZERO,   /* managed memory is zero until it is written */
    FRAME_RAW,    /* the caller writes all of it */
};

enum poison {
    POISON_FRESH,
    POISON_FREED,
};

/* Reserve the arenas, at addresses that vary by seed. device_bytes is what all devices can hold.
 * returns 0 or 2 */
CUresult pages_init(uint64_t device_bytes);

/* A run of pages of address space; 0 when the arena is full. Freed addresses are given out again.
 */
uint64_t arena_take(enum arena arena, uint64_t pages);
/* Hand a run back; what was mapped there is replaced by a reservation without access. */
void arena_give(enum arena arena, uint64_t base, uint64_t pages);
/* Is addr in the arena, allocated or not? No lock; safe in a signal handler. */
int arena_has(enum arena arena, uint64_t addr);

/* Never NULL: a machine without memory for it ends the process. */
uint8_t *frame_take(enum frame_fill fill);
void frame_give(uint8_t *frame);

/* Overwrite [at, at + bytes) with a pattern that is a NaN in float32 and varies by seed. Any lock.
 */
void poison(void *at, size_t bytes, enum poison which);

/* See to it that page tables exist, so that mmu_set() cannot fail. returns 0 or 2 */
CUresult mmu_prepare(struct mmu *mmu, uint64_t base, uint64_t pages);
/* Write the entry of the page that addr is in; NULL and 0 take it away. */
void mmu_set(struct mmu *mmu, uint64_t addr, uint8_t *backing, uint32_t allowed);

/* Pages of a DEVICE or MODULE region: the frame of the page that addr is in, NULL until somebody
 * has touched it (reading side), and giving it one. */
uint8_t *plain_frame(const struct region *region, uint64_t addr);
void plain_commit(struct region *region, uint64_t addr);

#endif
