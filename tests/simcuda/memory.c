#include "memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "um.h"

/* As on hardware: small allocations are packed into pages in units of 512 bytes, larger ones have
 * pages of their own. */
#define UNIT_BYTES  ((uint64_t)512)
#define SMALL_BYTES ((uint64_t)1 << 20)

#define REGISTER_FLAGS                                                                             \
    (CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP | CU_MEMHOSTREGISTER_READ_ONLY)

static struct memory_device g_devices[SIM_DEVICES_MAX];
static int g_device_count; /* fixed after memory_init() */
static uint64_t g_last_id; /* writing side */

struct memory_device *memory_device_at(int ordinal)
{
    return &g_devices[ordinal];
}

int memory_device_count(void)
{
    return g_device_count;
}

int memory_init(int device_count)
{
    const uint64_t vram = sim_setting(SIM_VRAM);
    int d;

    if (g_device_count)
        return CUDA_SUCCESS;
    if (device_count < 1 || device_count > SIM_DEVICES_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    for (d = 0; d < device_count; d++) {
        g_devices[d].ordinal = d;
        g_devices[d].capacity_pages = vram / MMU_PAGE_BYTES;
        g_devices[d].room_epoch = 1;
    }
    g_device_count = device_count;
    return (int)pages_init((uint64_t)device_count * vram);
}

/* Regions ------------------------------------------------------------------------------------ */

static struct allocation *allocation_new(struct region *region, uint64_t base, uint64_t bytes,
                                         unsigned flags)
{
    struct allocation *allocation = calloc(1, sizeof(*allocation));

    if (!allocation)
        return NULL;
    allocation->info = (struct memory_info){.kind = region->kind,
                                            .base = base,
                                            .bytes = bytes,
                                            .device = region->device,
                                            .ctx = region->ctx,
                                            .flags = flags,
                                            .id = ++g_last_id};
    allocation->region = region;
    return allocation;
}

struct region *region_new(const struct region *model, uint64_t asked_bytes, unsigned flags)
{
    struct region *region = malloc(sizeof(*region));

    if (!region)
        return NULL;
    *region = *model;
    region->first = allocation_new(region, region->base, asked_bytes, flags);
    if (!region->first || region_insert(region) != CUDA_SUCCESS) {
        free(region->first);
        free(region);
        return NULL;
    }
    return region;
}

/* Pages of the device's own; their frames come when they are touched. */
static CUresult plain_create(const struct region *model, uint64_t asked_bytes, unsigned flags,
                             struct region **out)
{
    struct memory_device *device = memory_device_at(model->device);
    struct region region = *model;
    uint64_t pages = round_up(asked_bytes, MMU_PAGE_BYTES) / MMU_PAGE_BYTES;
    CUresult res;

    res = plain_take(device, pages);
    if (res != CUDA_SUCCESS)
        return res;
    region.bytes = pages * MMU_PAGE_BYTES;
    region.base = arena_take(ARENA_DEVICE, pages);
    if (!region.base)
        goto err_pages;
    region.frames = calloc(pages, sizeof(*region.frames));
    if (!region.frames || mmu_prepare(&device->mmu, region.base, pages) != CUDA_SUCCESS)
        goto err_give;
    *out = region_new(&region, asked_bytes, flags);
    if (*out)
        return CUDA_SUCCESS;

err_give:
    free(region.frames);
    arena_give(ARENA_DEVICE, region.base, pages);
err_pages:
    plain_give(device, pages);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

static void plain_destroy(struct region *region)
{
    struct memory_device *device = memory_device_at(region->device);
    const uint64_t pages = region->bytes / MMU_PAGE_BYTES;
    uint64_t i;

    for (i = 0; i < pages; i++) {
        mmu_set(&device->mmu, region->base + i * MMU_PAGE_BYTES, NULL, 0);
        if (region->frames[i])
            frame_give(region->frames[i]);
    }
    arena_give(ARENA_DEVICE, region->base, pages);
    plain_give(device, pages);
}

static CUresult managed_create(const struct region *model, uint64_t asked_bytes, unsigned flags,
                               struct region **out)
{
    struct region region = *model;
    uint64_t pages = round_up(asked_bytes, MMU_PAGE_BYTES) / MMU_PAGE_BYTES;
    int d;

    region.bytes = pages * MMU_PAGE_BYTES;
    if (host_take(&region) != CUDA_SUCCESS)
        return CUDA_ERROR_OUT_OF_MEMORY;
    region.base = arena_take(ARENA_MANAGED, pages);
    if (!region.base)
        goto err_room;
    for (d = 0; d < g_device_count; d++) {
        if (mmu_prepare(&g_devices[d].mmu, region.base, pages) != CUDA_SUCCESS)
            goto err_give;
    }
    if (um_create(&region, asked_bytes, region.device) != CUDA_SUCCESS)
        goto err_give;
    *out = region_new(&region, asked_bytes, flags);
    if (*out)
        return CUDA_SUCCESS;
    um_destroy(&region);

err_give:
    arena_give(ARENA_MANAGED, region.base, pages);
err_room:
    host_give(&region);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

/* Pinned pages. Fresh ones are poisoned: the driver does not promise zeros. */
static CUresult host_create(const struct region *model, uint64_t asked_bytes, unsigned flags,
                            struct region **out)
{
    struct region region = *model;
    void *at;

    region.bytes = round_up(asked_bytes, HOST_PAGE_BYTES);
    if (host_take(&region) != CUDA_SUCCESS)
        return CUDA_ERROR_OUT_OF_MEMORY;
    at = mmap(NULL, region.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        goto err_room;
    poison(at, region.bytes, POISON_FRESH);
    region.base = (uint64_t)(uintptr_t)at;
    *out = region_new(&region, asked_bytes, flags);
    if (*out)
        return CUDA_SUCCESS;
    munmap(at, region.bytes);
err_room:
    host_give(&region);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

static void region_destroy(struct region *region)
{
    host_give(region);
    switch (region->kind) {
    case MEMORY_DEVICE:
    case MEMORY_MODULE:
        plain_destroy(region);
        break;
    case MEMORY_MANAGED:
        um_destroy(region);
        arena_give(ARENA_MANAGED, region->base, region->bytes / MMU_PAGE_BYTES);
        break;
    case MEMORY_HOST:
        munmap((void *)(uintptr_t)region->base, region->bytes);
        break;
    case MEMORY_REGISTERED:
    case MEMORY_MAPPED: /* outlives every context; vmm.c takes it away */
    case MEMORY_NONE:
        break;
    }
    region_remove(region);
}

/* Small allocations -------------------------------------------------------------------------- */

/* First gap of a shared page that is wide enough; *after is what stands before it, NULL at the
 * start. returns the address, or 0 */
static uint64_t gap_find(const struct region *region, uint64_t bytes, struct allocation **after)
{
    struct allocation *allocation;
    uint64_t at = region->base;

    *after = NULL;
    for (allocation = region->first; allocation; allocation = allocation->next) {
        if (allocation->info.base - at >= bytes)
            return at;
        at = allocation->info.base + round_up(allocation->info.bytes, UNIT_BYTES);
        *after = allocation;
    }
    return region->base + region->bytes - at >= bytes ? at : 0;
}

static CUresult small_create(const struct region *model, uint64_t asked_bytes, unsigned flags,
                             CUdeviceptr *out)
{
    const uint64_t bytes = round_up(asked_bytes, UNIT_BYTES);
    struct allocation *allocation, *after;
    struct region *region;
    CUresult res;
    size_t i;

    for (i = 0; (region = region_at(i)) != NULL; i++) {
        if (!region->is_shared || region->kind != model->kind || region->device != model->device ||
            region->ctx != model->ctx)
            continue;
        *out = gap_find(region, bytes, &after);
        if (!*out)
            continue;
        allocation = allocation_new(region, *out, asked_bytes, flags);
        if (!allocation)
            return CUDA_ERROR_OUT_OF_MEMORY;
        allocation->next = after ? after->next : region->first;
        *(after ? &after->next : &region->first) = allocation;
        if (region->frames[0])
            poison(region->frames[0] + (*out - region->base), bytes, POISON_FRESH);
        return CUDA_SUCCESS;
    }
    res = plain_create(model, asked_bytes, flags, &region);
    if (res != CUDA_SUCCESS)
        return res;
    region->is_shared = 1;
    *out = region->base;
    return CUDA_SUCCESS;
}

/* One of several allocations in a page goes. */
static void small_destroy(struct allocation *allocation)
{
    struct region *region = allocation->region;
    struct allocation **link = &region->first;

    while (*link != allocation)
        link = &(*link)->next;
    *link = allocation->next;
    if (region->frames[0])
        poison(region->frames[0] + (allocation->info.base - region->base),
               round_up(allocation->info.bytes, UNIT_BYTES), POISON_FREED);
    free(allocation);
}

/* Allocations -------------------------------------------------------------------------------- */

static CUresult alloc_locked(const struct region *model, uint64_t bytes, unsigned flags,
                             CUdeviceptr *out)
{
    struct region *region;
    CUresult res;

    if (model->kind == MEMORY_HOST)
        res = host_create(model, bytes, flags, &region);
    else if (model->kind == MEMORY_MANAGED)
        res = managed_create(model, bytes, flags, &region);
    else if (bytes < SMALL_BYTES)
        return small_create(model, bytes, flags, out);
    else
        res = plain_create(model, bytes, flags, &region);
    if (res == CUDA_SUCCESS)
        *out = region->base;
    return res;
}

CUresult memory_alloc(enum memory_kind kind, int device, CUcontext ctx, size_t bytes,
                      unsigned flags, CUdeviceptr *out)
{
    struct region model = {.kind = kind, .device = device, .ctx = ctx};
    CUresult res;

    if (bytes == 0 || kind == MEMORY_NONE || kind == MEMORY_REGISTERED || kind == MEMORY_MAPPED ||
        device < 0 || device >= g_device_count)
        return CUDA_ERROR_INVALID_VALUE;
    if (kind == MEMORY_MANAGED && !sim_setting(SIM_MANAGED))
        return CUDA_ERROR_NOT_SUPPORTED;
    if (bytes > SIZE_MAX / 4)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (kind == MEMORY_HOST)
        model.device = -1;
    memory_lock_write();
    res = alloc_locked(&model, bytes, flags, out);
    memory_unlock();
    return res;
}

CUresult memory_free(enum memory_kind kind, CUdeviceptr base)
{
    struct allocation *allocation;
    CUresult res = CUDA_ERROR_INVALID_VALUE;

    memory_lock_write();
    allocation = allocation_find(base);
    if (allocation && allocation->info.kind == kind && allocation->info.base == base &&
        kind != MEMORY_REGISTERED) {
        if (allocation->region->first == allocation && !allocation->next)
            region_destroy(allocation->region);
        else
            small_destroy(allocation);
        res = CUDA_SUCCESS;
    }
    memory_unlock();
    return res;
}

/* Does a mapping of that name have its pages in memory alone? A file in another folder that is kept
 * in memory counts as one on disk. */
static int is_in_memory(const char *name)
{
    static const char *const prefixes[] = {"/dev/shm/", "/dev/zero", "/memfd:", "/SYSV", "["};
    size_t i;

    for (i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return 1;
    }
    return name[0] == '\0';
}

/* Can the pages of a mapping be pinned for that use, as /proc/self/maps shows its rights and name?
 * Those that cannot be written can be pinned for reading only; so can a file's that are shared, for
 * its filesystem would not learn what a device writes: the kernel refuses that. */
static int mapping_can_be_pinned(const char *rights, const char *name, unsigned flags)
{
    if (rights[0] != 'r')
        return 0;
    if (flags & CU_MEMHOSTREGISTER_READ_ONLY)
        return 1;
    return rights[1] == 'w' && (rights[3] != 's' || is_in_memory(name));
}

/* Is there memory behind every byte of the range that can be pinned for that use? */
static int host_can_be_pinned(uint64_t first, uint64_t end, unsigned flags)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    unsigned long long from, to;
    uint64_t covered = first;
    char rights[5], line[512];
    int name = 0;

    while (maps && covered < end && fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%llx-%llx %4s %*s %*s %*s %n", &from, &to, rights, &name) != 3 ||
            to <= covered)
            continue;
        if (from > covered || !mapping_can_be_pinned(rights, line + name, flags))
            break;
        covered = to;
    }
    if (maps)
        fclose(maps);
    return covered >= end;
}

CUresult memory_host_register(void *host, size_t bytes, unsigned flags, CUcontext ctx)
{
    const uint64_t base = (uint64_t)(uintptr_t)host;
    struct region model = {.base = base, .kind = MEMORY_REGISTERED, .device = -1, .ctx = ctx};
    CUresult res = CUDA_SUCCESS;

    if (flags & CU_MEMHOSTREGISTER_IOMEMORY)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (base == 0 || bytes == 0 || flags & ~(unsigned)REGISTER_FLAGS || base + bytes < base)
        return CUDA_ERROR_INVALID_VALUE;
    if (arena_has(ARENA_DEVICE, base) || arena_has(ARENA_MANAGED, base) ||
        !host_can_be_pinned(base, base + bytes, flags))
        return CUDA_ERROR_INVALID_VALUE;
    model.bytes = round_up(base + bytes, HOST_PAGE_BYTES) - base;
    memory_lock_write();
    if (allocation_overlaps(base, base + bytes))
        res = CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
    else
        res = host_take(&model);
    if (res == CUDA_SUCCESS && !region_new(&model, bytes, flags)) {
        host_give(&model);
        res = CUDA_ERROR_OUT_OF_MEMORY;
    }
    memory_unlock();
    return res;
}

CUresult memory_host_unregister(void *host)
{
    const uint64_t base = (uint64_t)(uintptr_t)host;
    struct allocation *allocation;
    CUresult res = CUDA_SUCCESS;

    memory_lock_write();
    allocation = allocation_find(base);
    if (!allocation || allocation->info.kind != MEMORY_REGISTERED)
        res = CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
    else if (allocation->info.base != base)
        res = CUDA_ERROR_INVALID_VALUE;
    else
        region_destroy(allocation->region);
    memory_unlock();
    return res;
}

void memory_context_destroyed(CUcontext ctx)
{
    struct region *region;
    size_t i = 0;

    memory_lock_write();
    while ((region = region_at(i)) != NULL) {
        if (region->ctx == ctx)
            region_destroy(region);
        else
            i++;
    }
    memory_unlock();
}

uint64_t memory_allocated(enum memory_kind kind)
{
    const struct allocation *allocation;
    const struct region *region;
    uint64_t bytes = 0;
    size_t i;

    memory_lock_read();
    for (i = 0; (region = region_at(i)) != NULL; i++) {
        for (allocation = region->first; allocation; allocation = allocation->next)
            bytes += region->kind == kind ? allocation->info.bytes : 0;
    }
    memory_unlock();
    return bytes;
}

/* Questions ---------------------------------------------------------------------------------- */

int memory_find(CUdeviceptr addr, struct memory_info *out)
{
    const struct allocation *allocation;

    memset(out, 0, sizeof(*out));
    out->device = -1;
    memory_lock_read();
    allocation = allocation_find(addr);
    if (allocation)
        *out = allocation->info;
    memory_unlock();
    return allocation != NULL;
}

int memory_contains(CUdeviceptr addr, size_t bytes, enum memory_kind *kind)
{
    struct memory_info info;

    *kind = MEMORY_NONE;
    if (!memory_find(addr, &info))
        return 0;
    while (bytes > info.bytes - (addr - info.base)) {
        if (info.kind != MEMORY_MAPPED)
            return 0;
        bytes -= info.bytes - (addr - info.base);
        addr = info.base + info.bytes;
        if (!memory_find(addr, &info) || info.kind != MEMORY_MAPPED)
            return 0;
    }
    *kind = info.kind;
    return 1;
}

int memory_sync_memops(CUdeviceptr addr, int set)
{
    struct allocation *allocation;
    int now = -1;

    memory_lock_write();
    allocation = allocation_find(addr);
    if (allocation) {
        if (set >= 0)
            allocation->sync_memops = set;
        now = allocation->sync_memops;
    }
    memory_unlock();
    return now;
}

void memory_device_busy(int delta)
{
    if (um_is_concurrent())
        return;
    memory_lock_write();
    um_busy_add(delta);
    if (um_is_busy())
        um_host_revoke();
    memory_unlock();
}
