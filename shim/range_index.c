#include "range_index.h"
#include "config.h"
#include "log.h"
#include "object.h"
#include "residency.h"
#include "size.h"
#include "stats.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOST_SHARE    3 /* of HOST_SHARE_OF parts of the host's memory: what homes may take */
#define HOST_SHARE_OF 4

static pthread_rwlock_t g_range_lock = PTHREAD_RWLOCK_INITIALIZER;
static struct allocation **g_index; /* g_range_lock: sorted by base */
static size_t g_index_count, g_index_room;
static uint64_t g_next_id; /* g_range_lock */
static _Atomic uint64_t g_generation = 1;
static _Atomic uint64_t g_first = UINT64_MAX, g_end;
static _Atomic uint64_t g_allocated[STATS_DEVICES_MAX];

void range_read_lock(void)
{
    pthread_rwlock_rdlock(&g_range_lock);
}

void range_write_lock(void)
{
    pthread_rwlock_wrlock(&g_range_lock);
}

void range_unlock(void)
{
    pthread_rwlock_unlock(&g_range_lock);
}

void range_changed(void)
{
    atomic_fetch_add_explicit(&g_generation, 1, memory_order_release);
}

uint64_t range_generation(void)
{
    return atomic_load_explicit(&g_generation, memory_order_acquire);
}

void range_bounds(uint64_t *first, uint64_t *end)
{
    *first = atomic_load_explicit(&g_first, memory_order_relaxed);
    *end = atomic_load_explicit(&g_end, memory_order_relaxed);
}

/* What homes may take of the host's memory. A budget of cpu does not count what lives on disk,
 * which is kept there all the same. */
static uint64_t host_capacity(void)
{
    const struct config *asked = config();
    uint64_t given = asked->policy->max_memory.cpu_bytes, share = 0;
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);

    if (pages > 0 && page_bytes > 0)
        share = (uint64_t)pages * (uint64_t)page_bytes / HOST_SHARE_OF * HOST_SHARE;
    if (given != POLICY_UNSET && (!asked->holds_disk || given > share))
        return given;
    return share;
}

void range_capacity(CUdevice device, uint64_t *free_bytes, uint64_t *total_bytes)
{
    uint64_t allocated = 0;

    if (device >= 0 && device < (int)STATS_DEVICES_MAX)
        allocated = atomic_load_explicit(&g_allocated[device], memory_order_relaxed);
    *total_bytes = residency_budget(device) + host_capacity();
    *free_bytes = *total_bytes > allocated ? *total_bytes - allocated : 0;
}

void range_tell_full(CUdevice device, size_t bytes)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;
    char size[SIZE_TEXT_BYTES], left[SIZE_TEXT_BYTES], all[SIZE_TEXT_BYTES];
    uint64_t free_bytes, total_bytes;

    if (atomic_flag_test_and_set(&told))
        return;
    range_capacity(device, &free_bytes, &total_bytes);
    log_warn("range",
             "no room for an allocation of %s: %s are left of the %s that the budget of GPU %d and "
             "host memory are together, and the program is told so; give more with --max-memory "
             "%d=SIZE or cpu=SIZE",
             size_format(bytes, SIZE_BINARY, size), size_format(free_bytes, SIZE_BINARY, left),
             size_format(total_bytes, SIZE_BINARY, all), device, device);
}

void range_count_allocated(CUdevice device, int64_t bytes)
{
    if (device >= 0 && device < (int)STATS_DEVICES_MAX)
        atomic_fetch_add_explicit(&g_allocated[device], (uint64_t)bytes, memory_order_relaxed);
}

/* The index of the first allocation with base > addr. */
static size_t index_above(CUdeviceptr addr)
{
    size_t low = 0, high = g_index_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (g_index[middle]->base > addr)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

struct allocation *range_allocation_at(CUdeviceptr addr)
{
    size_t i = index_above(addr);

    if (i == 0 || addr - g_index[i - 1]->base >= g_index[i - 1]->bytes)
        return NULL;
    return g_index[i - 1];
}

struct allocation *range_allocation_after(CUdeviceptr addr)
{
    size_t i = index_above(addr);

    if (i > 0 && g_index[i - 1]->base + g_index[i - 1]->bytes > addr)
        return g_index[i - 1];
    return i < g_index_count ? g_index[i] : NULL;
}

static void widen_bounds(const struct allocation *a)
{
    if (a->base < atomic_load_explicit(&g_first, memory_order_relaxed))
        atomic_store_explicit(&g_first, a->base, memory_order_relaxed);
    if (a->base + a->bytes > atomic_load_explicit(&g_end, memory_order_relaxed))
        atomic_store_explicit(&g_end, a->base + a->bytes, memory_order_relaxed);
}

int range_index_insert(struct allocation *a)
{
    size_t at = index_above(a->base);

    if (g_index_count == g_index_room) {
        size_t room = g_index_room ? 2 * g_index_room : 256;
        struct allocation **grown = realloc(g_index, room * sizeof(*grown));

        if (!grown)
            return -1;
        g_index = grown;
        g_index_room = room;
    }
    memmove(&g_index[at + 1], &g_index[at], (g_index_count - at) * sizeof(*g_index));
    g_index[at] = a;
    g_index_count++;
    a->id = a->number = g_next_id++;
    a->id |= (uint64_t)1 << 62; /* apart from the driver's own numbers */
    if (a->kind == ALLOCATION_PAGED)
        widen_bounds(a);
    range_count_allocated(a->device, (int64_t)a->bytes);
    range_changed();
    return 0;
}

struct allocation *range_index_take(CUdeviceptr base)
{
    size_t above = index_above(base);
    struct allocation *a;

    if (!above || g_index[above - 1]->base != base)
        return NULL;
    a = g_index[above - 1];
    memmove(&g_index[above - 1], &g_index[above], (g_index_count - above) * sizeof(*g_index));
    g_index_count--;
    range_count_allocated(a->device, -(int64_t)a->bytes);
    range_changed();
    return a;
}

void range_index_take_context(CUcontext ctx, void (*fn)(struct allocation *a))
{
    size_t kept = 0;

    for (size_t i = 0; i < g_index_count; i++) {
        struct allocation *a = g_index[i];

        if (a->ctx != ctx) {
            g_index[kept++] = a;
            continue;
        }
        range_count_allocated(a->device, -(int64_t)a->bytes);
        fn(a);
    }
    g_index_count = kept;
    range_changed();
}

struct allocation *allocation_new(CUdeviceptr base, size_t bytes, enum allocation_kind kind,
                                  CUdevice device, CUcontext ctx)
{
    struct allocation *a = calloc(1, sizeof(*a));

    if (a) {
        a->base = base;
        a->bytes = bytes;
        a->kind = kind;
        a->device = device;
        a->ctx = ctx;
    }
    return a;
}

void allocation_free(struct allocation *a)
{
    object_clear(a);
    free(a);
}

int range_find(CUdeviceptr addr, struct range_view *out)
{
    const struct allocation *a;

    range_read_lock();
    a = range_allocation_at(addr);
    if (a) {
        out->base = a->base;
        out->bytes = a->bytes;
        out->kind = a->kind;
        out->device = a->device;
        out->ctx = a->ctx;
        out->id = a->id;
        out->leaving = a->leaving;
    }
    range_unlock();
    return a != NULL;
}
