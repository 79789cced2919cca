/* mmu.h - the page table through which a simulated device sees memory.
 *
 * Every global access of a kernel and every copy goes through it. An entry covers one 2 MiB page of
 * a device's virtual address space. Nobody outside memory.c writes entries, and nobody keeps the
 * pointer that a look-up returned beyond the single access that it was looked up for: the page may
 * move between two accesses.
 *
 * Kernels hold memory_run_begin() (see memory.h) while they run a stretch of instructions; entries
 * change only while no stretch runs, except by the miss handler of the running stretch itself.
 *
 * MMU_WATCHED: accesses are marked as touched.h says. Defined in kernels that are translated in
 * paced mode; in the others it would cost one instruction in twelve.
 */
#ifndef SIMCUDA_MMU_H
#define SIMCUDA_MMU_H

#include <stddef.h>
#include <stdint.h>

#define MMU_PAGE_SHIFT    21
#define MMU_PAGE_BYTES    ((uint64_t)1 << MMU_PAGE_SHIFT)
#define MMU_GRANULE_SHIFT 16 /* of mmu_entry.touched, 32 to a page */
#define MMU_GRANULE_BYTES ((uint64_t)1 << MMU_GRANULE_SHIFT)
#define MMU_LEVEL_BITS    13 /* 13 + 13 + 21 = 47 bits of user address */
#define MMU_LEVEL_SIZE    ((size_t)1 << MMU_LEVEL_BITS)

enum mmu_access {
    MMU_READ = 1,
    MMU_WRITE = 2,
};

struct mmu_entry {
    uint8_t *backing; /* where the page's bytes lie in this process; never the device address */
    uint32_t
        allowed; /* MMU_READ | MMU_WRITE that need no miss; 0 sends every access to the handler */
    uint32_t touched; /* granules, a bit each, that the kernel being watched has touched */
};

struct mmu {
    struct mmu_entry *level1[MMU_LEVEL_SIZE]; /* indexed by address >> 34; NULL: nothing there */
};

struct touched;

/* One stretch of device work: what the translated kernel is handed beside its parameters.
 *
 * miss returns where the bytes of the access lie (they never cross a page), after whatever
 * migration it takes; for an illegal access it returns NULL after it has set fault, and the kernel
 * unwinds at once. The byte counters are added up by the kernel's own fast path and by miss.
 */
struct mmu_run {
    struct mmu *mmu;
    void *(*miss)(struct mmu_run *run, uint64_t addr, unsigned bytes, enum mmu_access access);
    void *device; /* memory.c's own */
    /* Called for a granule's first access, when the kernel is watched (touched.h); else NULL. */
    void (*touch)(struct mmu_run *run, struct mmu_entry *entry, uint32_t granule);
    struct touched *touched; /* whose marks they are */
    int fault;               /* CUresult of the first illegal access, 0 while there is none */
    uint64_t fault_addr;     /* the address of that access */
    uint64_t read_bytes;     /* global memory bytes read */
    uint64_t write_bytes;    /* global memory bytes written */
};

static inline uint32_t mmu_granule(uint64_t addr)
{
    return (uint32_t)1 << ((addr >> MMU_GRANULE_SHIFT) & 31);
}

/* Where the bytes [addr, addr + bytes) lie for this access; NULL after a fault.
 *
 * addr     naturally aligned to bytes (the caller raises misaligned address otherwise)
 * bytes    1, 2, 4, 8 or 16
 */
static inline void *mmu_at(struct mmu_run *run, uint64_t addr, unsigned bytes,
                           enum mmu_access access)
{
    uint64_t top = addr >> (MMU_PAGE_SHIFT + MMU_LEVEL_BITS);

    if (top < MMU_LEVEL_SIZE) {
        struct mmu_entry *table = run->mmu->level1[top];

        if (table) {
            struct mmu_entry *entry = &table[(addr >> MMU_PAGE_SHIFT) & (MMU_LEVEL_SIZE - 1)];

            if (entry->allowed & access) {
#ifdef MMU_WATCHED
                if (run->touch && !(entry->touched & mmu_granule(addr)))
                    run->touch(run, entry, mmu_granule(addr));
#endif
                return entry->backing + (addr & (MMU_PAGE_BYTES - 1));
            }
        }
    }
    return run->miss(run, addr, bytes, access);
}

#endif
