#include "vmm.h"

#include <stdlib.h>

#include "handle.h"
#include "pace.h"
#include "pages.h"

/* Guarded by memory's lock. */
struct physical {
    struct handle handle;
    CUmemAllocationProp prop;
    uint64_t pages;
    uint64_t references;
    uint64_t mappings;
    int device; /* -1: the host's */
    uint8_t **frames;
};

struct reservation {
    uint64_t base;
    uint64_t pages;
    struct reservation *next;
};

static struct reservation *g_reservations;

static int is_granular(uint64_t value)
{
    return value % VMM_GRANULE_BYTES == 0;
}

/* The driver works at the caller's expense, page by page. */
static CUresult spend(CUresult res, size_t bytes, uint64_t page_ns)
{
    if (res == CUDA_SUCCESS)
        pace_host_spend(bytes / VMM_GRANULE_BYTES * page_ns);
    return res;
}

/* Address space ------------------------------------------------------------------------------ */

/* A run of pages whose first is aligned; what is cut off goes back. 0 when there is none */
static uint64_t take_aligned(uint64_t pages, uint64_t alignment)
{
    uint64_t extra = alignment > VMM_GRANULE_BYTES ? alignment / VMM_GRANULE_BYTES - 1 : 0;
    uint64_t base = arena_take(ARENA_DEVICE, pages + extra);
    uint64_t first;

    if (!base || !extra)
        return base;
    first = round_up(base, alignment);
    if (first > base)
        arena_give(ARENA_DEVICE, base, (first - base) / VMM_GRANULE_BYTES);
    extra -= (first - base) / VMM_GRANULE_BYTES;
    if (extra)
        arena_give(ARENA_DEVICE, first + pages * VMM_GRANULE_BYTES, extra);
    return first;
}

static CUresult reserve_locked(struct reservation *r, uint64_t alignment)
{
    int d;

    r->base = take_aligned(r->pages, alignment);
    if (!r->base)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (d = 0; d < memory_device_count(); d++) {
        if (mmu_prepare(&memory_device_at(d)->mmu, r->base, r->pages) != CUDA_SUCCESS) {
            arena_give(ARENA_DEVICE, r->base, r->pages);
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    r->next = g_reservations;
    g_reservations = r;
    return CUDA_SUCCESS;
}

CUresult vmm_reserve(size_t bytes, size_t alignment, CUdeviceptr *out)
{
    struct reservation *r;
    CUresult res;

    if (!bytes || !is_granular(bytes) || alignment & (alignment - 1))
        return CUDA_ERROR_INVALID_VALUE;
    r = calloc(1, sizeof(*r));
    if (!r || alignment > SIZE_MAX / 4 || bytes > SIZE_MAX / 4) {
        free(r);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    r->pages = bytes / VMM_GRANULE_BYTES;
    memory_lock_write();
    res = reserve_locked(r, alignment);
    memory_unlock();
    if (res == CUDA_SUCCESS)
        *out = r->base;
    else
        free(r);
    return res;
}

CUresult vmm_unreserve(CUdeviceptr base, size_t bytes)
{
    CUresult res = CUDA_ERROR_INVALID_VALUE;
    struct reservation **link;

    memory_lock_write();
    for (link = &g_reservations; *link && (*link)->base != base; link = &(*link)->next)
        ;
    if (*link && (*link)->pages * VMM_GRANULE_BYTES == bytes &&
        !allocation_overlaps(base, base + bytes)) {
        struct reservation *r = *link;

        *link = r->next;
        arena_give(ARENA_DEVICE, base, r->pages);
        free(r);
        res = CUDA_SUCCESS;
    }
    memory_unlock();
    return res;
}

static int is_reserved(uint64_t first, uint64_t bytes)
{
    const struct reservation *r;

    for (r = g_reservations; r; r = r->next) {
        uint64_t reserved = r->pages * VMM_GRANULE_BYTES;

        if (first >= r->base && first - r->base < reserved && bytes <= reserved - (first - r->base))
            return 1;
    }
    return 0;
}

/* Physical memory ---------------------------------------------------------------------------- */

/* The memory of a handle that is referenced; NULL for any other value. */
static struct physical *find(CUmemGenericAllocationHandle handle)
{
    struct physical *memory = (void *)(uintptr_t)handle; // NOLINT: a handle is its object

    return handle_is(memory, HANDLE_PHYSICAL) && memory->references ? memory : NULL;
}

static CUmemGenericAllocationHandle handle_of(const struct physical *memory)
{
    return (uintptr_t)memory;
}

CUresult vmm_create(size_t bytes, const CUmemAllocationProp *prop,
                    CUmemGenericAllocationHandle *out)
{
    int device = prop->location.type == CU_MEM_LOCATION_TYPE_DEVICE ? prop->location.id : -1;
    uint64_t pages = bytes / VMM_GRANULE_BYTES, i;
    struct physical *memory;
    CUresult res;

    if (!bytes || !is_granular(bytes))
        return CUDA_ERROR_INVALID_VALUE;
    memory_lock_write();
    res = device < 0 ? CUDA_SUCCESS : plain_take(memory_device_at(device), pages);
    memory_unlock();
    if (res != CUDA_SUCCESS)
        return res;
    memory = handle_create(HANDLE_PHYSICAL, sizeof(*memory));
    if (memory)
        memory->frames = calloc(pages, sizeof(*memory->frames));
    memory_lock_write();
    if (!memory || !memory->frames) {
        if (device >= 0)
            plain_give(memory_device_at(device), pages);
        memory_unlock();
        if (memory)
            handle_destroy(memory, HANDLE_PHYSICAL);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    memory->prop = *prop;
    memory->pages = pages;
    memory->references = 1;
    memory->device = device;
    for (i = 0; i < pages; i++)
        memory->frames[i] = frame_take(FRAME_POISON);
    memory_unlock();
    *out = handle_of(memory);
    return spend(CUDA_SUCCESS, bytes, pace_costs()->create_page_ns);
}

/* Memory's lock is held on the writing side. */
static void let_go(struct physical *memory)
{
    uint64_t i;

    if (memory->references || memory->mappings)
        return;
    for (i = 0; i < memory->pages; i++)
        frame_give(memory->frames[i]);
    free(memory->frames);
    if (memory->device >= 0)
        plain_give(memory_device_at(memory->device), memory->pages);
    handle_destroy(memory, HANDLE_PHYSICAL);
}

CUresult vmm_release(CUmemGenericAllocationHandle handle)
{
    struct physical *memory;

    memory_lock_write();
    memory = find(handle);
    if (memory) {
        memory->references--;
        let_go(memory);
    }
    memory_unlock();
    return memory ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult vmm_properties(CUmemGenericAllocationHandle handle, CUmemAllocationProp *out)
{
    const struct physical *memory;

    memory_lock_read();
    memory = find(handle);
    if (memory)
        *out = memory->prop;
    memory_unlock();
    return memory ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* Mappings ----------------------------------------------------------------------------------- */

/* The mapping that addr lies in; NULL where there is none. Memory's lock is held. */
static struct region *mapping_at(uint64_t addr)
{
    struct region *region = region_reach(addr);

    return region && region->kind == MEMORY_MAPPED ? region : NULL;
}

CUresult vmm_retain(CUdeviceptr addr, CUmemGenericAllocationHandle *out)
{
    struct region *region;

    memory_lock_write();
    region = mapping_at(addr);
    if (region) {
        region->physical->references++;
        *out = handle_of(region->physical);
    }
    memory_unlock();
    return region ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult vmm_map(CUdeviceptr addr, size_t bytes, CUmemGenericAllocationHandle handle)
{
    struct region model = {.base = addr, .bytes = bytes, .kind = MEMORY_MAPPED, .device = -1};
    CUresult res = CUDA_ERROR_INVALID_VALUE;
    struct physical *memory;

    memory_lock_write();
    memory = find(handle);
    if (memory && bytes != memory->pages * VMM_GRANULE_BYTES) {
        res = CUDA_ERROR_NOT_SUPPORTED;
    } else if (memory && is_granular(addr) && is_reserved(addr, bytes) &&
               !allocation_overlaps(addr, addr + bytes)) {
        model.device = memory->device;
        model.physical = memory;
        res = region_new(&model, bytes, 0) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (res == CUDA_SUCCESS)
        memory->mappings++;
    memory_unlock();
    return spend(res, bytes, pace_costs()->map_page_ns);
}

/* Is [addr, addr + bytes) made of whole mappings, one behind the other? Memory's lock is held. */
static int is_whole(uint64_t addr, uint64_t bytes)
{
    uint64_t at = addr;

    if (!bytes || addr + bytes < addr)
        return 0;
    while (at < addr + bytes) {
        const struct region *region = mapping_at(at);

        if (!region || region->base != at)
            return 0;
        at += region->bytes;
    }
    return at == addr + bytes;
}

/* What a page table says of a page with these rights: remote memory goes through the miss handler,
 * where it is counted. */
static void write_entries(struct region *region, int device)
{
    struct mmu *mmu = &memory_device_at(device)->mmu;
    int is_local = region->physical->device == device && region->access[device];
    uint64_t i;

    for (i = 0; i < region->bytes / VMM_GRANULE_BYTES; i++)
        mmu_set(mmu, region->base + i * VMM_GRANULE_BYTES,
                is_local ? region->physical->frames[i] : NULL,
                is_local ? region->access[device] : 0);
}

CUresult vmm_unmap(CUdeviceptr addr, size_t bytes)
{
    CUresult res = CUDA_ERROR_INVALID_VALUE;
    uint64_t at = addr;
    int d;

    memory_lock_write();
    if (is_whole(addr, bytes)) {
        while (at < addr + bytes) {
            struct region *region = mapping_at(at);
            struct physical *memory = region->physical;

            at += region->bytes;
            for (d = 0; d < memory_device_count(); d++) {
                region->access[d] = 0;
                write_entries(region, d);
            }
            region_remove(region);
            memory->mappings--;
            let_go(memory);
        }
        res = CUDA_SUCCESS;
    }
    memory_unlock();
    return spend(res, bytes, pace_costs()->unmap_page_ns);
}

CUresult vmm_set_access(CUdeviceptr addr, size_t bytes, int device, unsigned access)
{
    CUresult res = CUDA_ERROR_INVALID_VALUE;
    uint64_t at = addr;

    memory_lock_write();
    if (is_whole(addr, bytes)) {
        while (at < addr + bytes) {
            struct region *region = mapping_at(at);

            region->access[device] = (uint8_t)access;
            write_entries(region, device);
            at += region->bytes;
        }
        res = CUDA_SUCCESS;
    }
    memory_unlock();
    return spend(res, bytes, pace_costs()->access_page_ns);
}

CUresult vmm_access(CUdeviceptr addr, int device, unsigned *access)
{
    const struct region *region;

    memory_lock_read();
    region = mapping_at(addr);
    if (region)
        *access = region->access[device];
    memory_unlock();
    return region ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

uint8_t *vmm_at(const struct region *region, uint64_t addr, int device, enum mmu_access access,
                int *owner)
{
    if (!(region->access[device] & access))
        return NULL;
    *owner = region->physical->device;
    return region->physical->frames[(addr - region->base) / VMM_GRANULE_BYTES] +
           addr % VMM_GRANULE_BYTES;
}
