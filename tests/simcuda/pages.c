#include "pages.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define GIB               ((uint64_t)1 << 30)
#define ARENA_BYTES       (192 * GIB) /* with the random start, less than what lies between hints */
#define ARENA_BYTES_LEAST GIB
#define ARENA_HINT        ((uint64_t)0x7e8000000000)
#define ARENA_HINT_STEP   ((uint64_t)0x4000000000) /* 256 GiB: hints of two arenas never overlap */

#define GAP_PAGES_MOST 4

#define SLAB_FRAMES      8
#define IDLE_FRAMES_MOST 32 /* beyond that an idle frame's memory goes back to the system */

/* A run of free pages. */
struct run {
    uint64_t base;
    uint64_t pages;
};

struct space {
    uint64_t base; /* fixed after pages_init() */
    uint64_t bytes;
    struct run *runs; /* free, ascending, never adjacent */
    size_t count;
    size_t room;
};

static struct space g_arenas[ARENA_COUNT];

static uint8_t **g_idle_frames; /* room for every frame that exists */
static size_t g_idle_count;
static size_t g_frame_count;

static void *reserve(uint64_t hint, uint64_t bytes)
{
    void *at = mmap((void *)(uintptr_t)hint, bytes, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return at == MAP_FAILED ? NULL : at;
}

static CUresult space_insert_run(struct space *space, size_t at, struct run run)
{
    if (space->count == space->room) {
        size_t room = space->room ? 2 * space->room : 64;
        struct run *runs = realloc(space->runs, room * sizeof(*runs));

        if (!runs)
            return CUDA_ERROR_OUT_OF_MEMORY;
        space->runs = runs;
        space->room = room;
    }
    memmove(&space->runs[at + 1], &space->runs[at], (space->count - at) * sizeof(*space->runs));
    space->runs[at] = run;
    space->count++;
    return CUDA_SUCCESS;
}

static void space_remove_run(struct space *space, size_t at)
{
    space->count--;
    memmove(&space->runs[at], &space->runs[at + 1], (space->count - at) * sizeof(*space->runs));
}

static CUresult space_init(struct space *space, enum arena arena, uint64_t bytes)
{
    uint64_t hint = ARENA_HINT + (uint64_t)arena * ARENA_HINT_STEP + sim_random(arena) % 64 * GIB;
    void *at = reserve(hint, bytes);
    struct run all;

    while (!at && bytes / 2 >= ARENA_BYTES_LEAST) {
        bytes /= 2;
        at = reserve(0, bytes);
    }
    if (!at)
        return CUDA_ERROR_OUT_OF_MEMORY;
    madvise(at, bytes, MADV_DONTDUMP);
    space->base = (uint64_t)(uintptr_t)at;
    space->bytes = bytes;
    all.base = round_up(space->base, MMU_PAGE_BYTES) + sim_random(arena) % 64 * MMU_PAGE_BYTES;
    all.pages = (space->base + bytes - all.base) / MMU_PAGE_BYTES;
    return space_insert_run(space, 0, all);
}

CUresult pages_init(uint64_t device_bytes)
{
    uint64_t bytes = round_up(2 * device_bytes, GIB);
    CUresult res;

    res = space_init(&g_arenas[ARENA_DEVICE], ARENA_DEVICE,
                     bytes > ARENA_BYTES ? bytes : ARENA_BYTES);
    if (res != CUDA_SUCCESS)
        return res;
    return space_init(&g_arenas[ARENA_MANAGED], ARENA_MANAGED, ARENA_BYTES);
}

/* Take pages out of the middle or the start of a free run. */
static uint64_t run_carve(struct space *space, size_t at, uint64_t skip, uint64_t pages)
{
    struct run *run = &space->runs[at];
    uint64_t base = run->base + skip * MMU_PAGE_BYTES;
    struct run rest = {base + pages * MMU_PAGE_BYTES, run->pages - skip - pages};

    if (skip && rest.pages) {
        if (space_insert_run(space, at + 1, rest) != CUDA_SUCCESS)
            return 0;
        space->runs[at].pages = skip;
    } else if (rest.pages) {
        *run = rest;
    } else if (skip) {
        run->pages = skip;
    } else {
        space_remove_run(space, at);
    }
    return base;
}

/* First fit, so that a freed address comes back soon; the seed leaves gaps in fresh space. */
uint64_t arena_take(enum arena arena, uint64_t pages)
{
    struct space *space = &g_arenas[arena];
    size_t i;

    for (i = 0; i < space->count; i++) {
        uint64_t skip = i + 1 == space->count ? sim_random(arena) % GAP_PAGES_MOST : 0;

        if (space->runs[i].pages >= pages + skip)
            return run_carve(space, i, skip, pages);
        if (space->runs[i].pages >= pages)
            return run_carve(space, i, 0, pages);
    }
    return 0;
}

void arena_give(enum arena arena, uint64_t base, uint64_t pages)
{
    struct space *space = &g_arenas[arena];
    uint64_t bytes = pages * MMU_PAGE_BYTES;
    struct run run = {base, pages};
    size_t i = 0;

    if (arena == ARENA_MANAGED &&
        mmap((void *)(uintptr_t)base, bytes, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
        memory_fatal("freed managed memory cannot be made inaccessible");
    while (i < space->count && space->runs[i].base < base)
        i++;
    if (i < space->count && base + bytes == space->runs[i].base) {
        run.pages += space->runs[i].pages;
        space_remove_run(space, i);
    }
    if (i > 0 && space->runs[i - 1].base + space->runs[i - 1].pages * MMU_PAGE_BYTES == base)
        space->runs[i - 1].pages += run.pages;
    else if (space_insert_run(space, i, run) != CUDA_SUCCESS)
        memory_fatal("out of memory");
}

int arena_has(enum arena arena, uint64_t addr)
{
    const struct space *space = &g_arenas[arena];

    return addr - space->base < space->bytes;
}

/* Frames come in slabs, aligned so that the system can back them with huge pages. */
static void frames_grow(void)
{
    const uint64_t bytes = (SLAB_FRAMES + 1) * MMU_PAGE_BYTES;
    uint8_t **idle = realloc(g_idle_frames, (g_frame_count + SLAB_FRAMES) * sizeof(*idle));
    uint8_t *slab = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t i;

    if (!idle || slab == MAP_FAILED)
        memory_fatal("this machine has no memory left for the devices' bytes");
    slab = (uint8_t *)(uintptr_t)round_up((uint64_t)(uintptr_t)slab, MMU_PAGE_BYTES);
    madvise(slab, SLAB_FRAMES * MMU_PAGE_BYTES, MADV_HUGEPAGE);
    g_idle_frames = idle;
    g_frame_count += SLAB_FRAMES;
    for (i = 0; i < SLAB_FRAMES; i++)
        g_idle_frames[g_idle_count++] = slab + (SLAB_FRAMES - 1 - i) * MMU_PAGE_BYTES;
}

uint8_t *frame_take(enum frame_fill fill)
{
    uint8_t *frame;

    if (g_idle_count == 0)
        frames_grow();
    frame = g_idle_frames[--g_idle_count];
    if (fill == FRAME_ZERO)
        memset(frame, 0, MMU_PAGE_BYTES);
    else if (fill == FRAME_POISON)
        poison(frame, MMU_PAGE_BYTES, POISON_FRESH);
    return frame;
}

void frame_give(uint8_t *frame)
{
    if (g_idle_count >= IDLE_FRAMES_MOST)
        madvise(frame, MMU_PAGE_BYTES, MADV_DONTNEED);
    else
        poison(frame, MMU_PAGE_BYTES, POISON_FREED);
    g_idle_frames[g_idle_count++] = frame;
}

void poison(void *at, size_t bytes, enum poison which)
{
    /* The sign, all exponent bits and the top of the mantissa: never a plausible float32. */
    const uint32_t base = which == POISON_FRESH ? 0xFFA5A5A5u : 0xFFDEDEDEu;
    const uint32_t word = base ^ (uint32_t)(sim_setting(SIM_SEED) * 0x9E3779B1u) % 0x5A5A5Au;
    const uint64_t pair = (uint64_t)word << 32 | word;
    uint8_t *bytes_at = at;
    size_t i;

    for (i = 0; i + sizeof(pair) <= bytes; i += sizeof(pair))
        memcpy(bytes_at + i, &pair, sizeof(pair));
    memcpy(bytes_at + i, &pair, bytes - i);
}

CUresult mmu_prepare(struct mmu *mmu, uint64_t base, uint64_t pages)
{
    const unsigned shift = MMU_PAGE_SHIFT + MMU_LEVEL_BITS;
    uint64_t last = (base + pages * MMU_PAGE_BYTES - 1) >> shift;
    uint64_t top;

    if (last >= MMU_LEVEL_SIZE)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (top = base >> shift; top <= last; top++) {
        if (!mmu->level1[top])
            mmu->level1[top] = calloc(MMU_LEVEL_SIZE, sizeof(struct mmu_entry));
        if (!mmu->level1[top])
            return CUDA_ERROR_OUT_OF_MEMORY;
    }
    return CUDA_SUCCESS;
}

void mmu_set(struct mmu *mmu, uint64_t addr, uint8_t *backing, uint32_t allowed)
{
    struct mmu_entry *table = mmu->level1[addr >> (MMU_PAGE_SHIFT + MMU_LEVEL_BITS)];
    struct mmu_entry *entry = &table[(addr >> MMU_PAGE_SHIFT) & (MMU_LEVEL_SIZE - 1)];

    entry->backing = backing;
    entry->allowed = allowed;
}

uint8_t *plain_frame(const struct region *region, uint64_t addr)
{
    return region->frames[(addr - region->base) / MMU_PAGE_BYTES];
}

void plain_commit(struct region *region, uint64_t addr)
{
    uint8_t **frame = &region->frames[(addr - region->base) / MMU_PAGE_BYTES];

    if (*frame)
        return;
    *frame = frame_take(FRAME_POISON);
    mmu_set(&memory_device_at(region->device)->mmu, addr, *frame, MMU_READ | MMU_WRITE);
}
