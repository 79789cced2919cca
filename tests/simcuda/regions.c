#include "regions.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of the kind that lets readers in: with writers preferred, a thread that writes to a block and a
 * device that reads it took it from each other without getting on, where both had a processor of
 * their own. */
static pthread_rwlock_t g_lock = PTHREAD_RWLOCK_INITIALIZER;

/* Read in the fault handler, so it must not be allocated lazily. */
static _Thread_local int t_lock_held __attribute__((tls_model("initial-exec")));

/* All guarded by the lock. */
static struct region **g_regions;
static size_t g_region_count;
static size_t g_region_room;
static uint64_t g_generation = 1; /* counts changes of the index */

/* What this thread looked up last; good while the generation is the same. */
static _Thread_local struct {
    uint64_t generation;
    struct region *region;
} t_last;

void memory_fatal(const char *what)
{
    char line[256];
    int length = snprintf(line, sizeof(line), "simcuda: fatal: %s\n", what);

    if (length > 0 && write(STDERR_FILENO, line, (size_t)length) < 0)
        abort();
    abort();
}

static void lock_enter(void)
{
    if (t_lock_held)
        memory_fatal("memory's lock is taken twice by one thread");
}

void memory_lock_read(void)
{
    lock_enter();
    if (pthread_rwlock_rdlock(&g_lock) != 0)
        memory_fatal("memory's lock fails");
    t_lock_held = 1;
}

void memory_lock_write(void)
{
    lock_enter();
    if (pthread_rwlock_wrlock(&g_lock) != 0)
        memory_fatal("memory's lock fails");
    t_lock_held = 1;
}

void memory_unlock(void)
{
    t_lock_held = 0;
    pthread_rwlock_unlock(&g_lock);
}

int memory_lock_is_held(void)
{
    return t_lock_held;
}

/* Index of the first region whose base is above addr. */
static size_t region_above(uint64_t addr)
{
    size_t low = 0, high = g_region_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (g_regions[middle]->base > addr)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Registered memory starts and ends anywhere; what a device reaches is the pages it lies in. */
static int region_reaches(const struct region *region, uint64_t addr)
{
    return addr >= round_down(region->base, HOST_PAGE_BYTES) && addr < region->base + region->bytes;
}

struct region *region_reach(uint64_t addr)
{
    size_t above;

    if (t_last.generation == g_generation && region_reaches(t_last.region, addr))
        return t_last.region;
    above = region_above(addr);
    if (above > 0 && region_reaches(g_regions[above - 1], addr))
        above--;
    else if (above == g_region_count || !region_reaches(g_regions[above], addr))
        return NULL;
    t_last.generation = g_generation;
    t_last.region = g_regions[above];
    return t_last.region;
}

CUresult region_insert(struct region *region)
{
    size_t at;

    if (g_region_count == g_region_room) {
        size_t room = g_region_room ? 2 * g_region_room : 256;
        struct region **regions = realloc(g_regions, room * sizeof(*regions));

        if (!regions)
            return CUDA_ERROR_OUT_OF_MEMORY;
        g_regions = regions;
        g_region_room = room;
    }
    at = region_above(region->base);
    memmove(&g_regions[at + 1], &g_regions[at], (g_region_count - at) * sizeof(*g_regions));
    g_regions[at] = region;
    g_region_count++;
    g_generation++;
    return CUDA_SUCCESS;
}

void region_remove(struct region *region)
{
    size_t at = region_above(region->base) - 1;

    memmove(&g_regions[at], &g_regions[at + 1], (g_region_count - at - 1) * sizeof(*g_regions));
    g_region_count--;
    g_generation++;
    while (region->first) {
        struct allocation *allocation = region->first;

        region->first = allocation->next;
        free(allocation);
    }
    free(region->frames);
    free(region);
}

struct region *region_at(size_t index)
{
    return index < g_region_count ? g_regions[index] : NULL;
}

static int allocation_has(const struct allocation *allocation, uint64_t addr)
{
    return addr >= allocation->info.base && addr - allocation->info.base < allocation->info.bytes;
}

struct allocation *allocation_find(uint64_t addr)
{
    size_t above = region_above(addr);
    struct allocation *allocation;

    if (above == 0)
        return NULL;
    for (allocation = g_regions[above - 1]->first; allocation; allocation = allocation->next) {
        if (allocation_has(allocation, addr))
            return allocation;
    }
    return NULL;
}

int allocation_overlaps(uint64_t first, uint64_t end)
{
    size_t above = region_above(first);

    return allocation_find(first) || (above < g_region_count && g_regions[above]->base < end);
}
