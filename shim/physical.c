#include "physical.h"
#include "range.h"
#include "residency.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* The memory of one handle; g_lock guards it while it is in g_memory. */
struct physical {
    CUmemGenericAllocationHandle handle;
    size_t bytes;
    CUdevice device;
    struct residency *res;
    size_t references; /* releases that are due */
    size_t mappings;
    struct physical *next; /* of those that a call lets go */
    UT_hash_handle hh;
};

struct mapping {
    CUdeviceptr base;
    size_t bytes;
    CUmemGenericAllocationHandle handle;
};

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static struct physical *g_memory;
static struct mapping *g_mappings; /* by address, never overlapping */
static size_t g_mapping_count, g_mapping_room;

static void charge(const struct physical *memory, int64_t bytes)
{
    residency_charge(memory->res, bytes);
    range_count_allocated(memory->device, bytes);
}

/* What the driver has let go is nobody's any more. */
static void give_back(struct physical *memory)
{
    while (memory) {
        struct physical *next = memory->next;

        charge(memory, -(int64_t)memory->bytes);
        free(memory);
        memory = next;
    }
}

/* The lock is held. */
static struct physical *find(CUmemGenericAllocationHandle handle)
{
    struct physical *memory;

    HASH_FIND(hh, g_memory, &handle, sizeof(handle), memory);
    return memory;
}

/* The lock is held. returns 0, or -1 without memory for it */
static int insert(struct physical *memory)
{
    memory->hh.tbl = NULL; /* stays so where uthash finds no memory */
    memory->next = NULL;
    HASH_ADD(hh, g_memory, handle, sizeof(memory->handle), memory);
    return memory->hh.tbl ? 0 : -1;
}

/* Take out what nothing holds any more. The lock is held. returns 1 when that is so */
static int take_if_unheld(struct physical *memory)
{
    if (memory->references || memory->mappings)
        return 0;
    HASH_DEL(g_memory, memory);
    return 1;
}

/* The driver has refused: what was taken out for a call is in again. */
static void put_back(struct physical *memory)
{
    struct physical *lost = NULL;

    pthread_mutex_lock(&g_lock);
    while (memory) {
        struct physical *next = memory->next;

        if (insert(memory)) {
            memory->next = lost;
            lost = memory;
        }
        memory = next;
    }
    pthread_mutex_unlock(&g_lock);
    give_back(lost);
}

/* The device whose VRAM the memory would be, if berth answers for it and the card is that large: a
 * size that no driver grants must not empty the card first. */
static struct residency *residency_of(const CUmemAllocationProp *prop, size_t bytes)
{
    size_t total_bytes = 0;

    if (!prop || prop->location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
        driver_get()->cuDeviceTotalMem_v2(&total_bytes, prop->location.id) != CUDA_SUCCESS ||
        bytes > total_bytes)
        return NULL;
    return residency_get(prop->location.id);
}

CUresult physical_create(CUmemGenericAllocationHandle *out, size_t bytes,
                         const CUmemAllocationProp *prop, unsigned long long flags)
{
    const struct driver *drv = driver_get();
    struct residency *res = out && bytes ? residency_of(prop, bytes) : NULL;
    struct physical *memory = res ? calloc(1, sizeof(*memory)) : NULL;
    int failed, asked_again = 0;
    CUresult result;

    if (!memory)
        return drv->cuMemCreate(out, bytes, prop, flags);
    memory->bytes = bytes;
    memory->device = prop->location.id;
    memory->res = res;
    memory->references = 1;
    charge(memory, (int64_t)bytes);
    result = drv->cuMemCreate(out, bytes, prop, flags);
    while (result == CUDA_ERROR_OUT_OF_MEMORY && residency_shrink(res, bytes, &asked_again))
        result = drv->cuMemCreate(out, bytes, prop, flags);
    if (result == CUDA_ERROR_OUT_OF_MEMORY && range_give_back())
        result = drv->cuMemCreate(out, bytes, prop, flags);
    failed = result != CUDA_SUCCESS;
    if (!failed) {
        memory->handle = *out;
        pthread_mutex_lock(&g_lock);
        failed = insert(memory);
        pthread_mutex_unlock(&g_lock);
    }
    if (failed)
        give_back(memory);
    return result;
}

CUresult physical_release(CUmemGenericAllocationHandle handle)
{
    struct physical *memory, *gone = NULL;
    CUresult result;

    pthread_mutex_lock(&g_lock);
    memory = find(handle);
    if (memory && memory->references) {
        memory->references--;
        gone = take_if_unheld(memory) ? memory : NULL;
    } else {
        memory = NULL;
    }
    pthread_mutex_unlock(&g_lock);
    result = driver_get()->cuMemRelease(handle);
    if (result == CUDA_SUCCESS) {
        give_back(gone);
    } else if (gone) {
        gone->references = 1;
        put_back(gone);
    } else if (memory) {
        pthread_mutex_lock(&g_lock);
        memory = find(handle);
        if (memory)
            memory->references++;
        pthread_mutex_unlock(&g_lock);
    }
    return result;
}

CUresult physical_retain(CUmemGenericAllocationHandle *out, void *addr)
{
    CUresult result = driver_get()->cuMemRetainAllocationHandle(out, addr);
    struct physical *memory;

    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&g_lock);
    memory = find(*out);
    if (memory)
        memory->references++;
    pthread_mutex_unlock(&g_lock);
    return result;
}

/* The first mapping at or above addr. The lock is held. */
static size_t mapping_above(CUdeviceptr addr)
{
    size_t low = 0, high = g_mapping_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (g_mappings[middle].base < addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The lock is held. Without memory the mapping is counted and not listed: it is never seen to go,
 * and its memory stays charged. */
static void list_mapping(const struct mapping *mapping)
{
    size_t at = mapping_above(mapping->base);

    if (g_mapping_count == g_mapping_room) {
        size_t room = g_mapping_room ? 2 * g_mapping_room : 64;
        struct mapping *grown = realloc(g_mappings, room * sizeof(*grown));

        if (!grown)
            return;
        g_mappings = grown;
        g_mapping_room = room;
    }
    memmove(&g_mappings[at + 1], &g_mappings[at], (g_mapping_count - at) * sizeof(*g_mappings));
    g_mappings[at] = *mapping;
    g_mapping_count++;
}

CUresult physical_map(CUdeviceptr addr, size_t bytes, size_t offset,
                      CUmemGenericAllocationHandle handle, unsigned long long flags)
{
    const struct mapping mapping = {addr, bytes, handle};
    CUresult result = driver_get()->cuMemMap(addr, bytes, offset, handle, flags);
    struct physical *memory;

    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&g_lock);
    memory = find(handle);
    if (memory) {
        memory->mappings++;
        list_mapping(&mapping);
    }
    pthread_mutex_unlock(&g_lock);
    return result;
}

/* Mappings [first, end) of the list go, and copies of them into taken. The lock is held.
 *
 * returns  the memory that nothing holds any more, taken out
 */
static struct physical *take_mappings(size_t first, size_t end, struct mapping *taken)
{
    struct physical *gone = NULL;

    for (size_t i = first; i < end; i++) {
        struct physical *memory = find(g_mappings[i].handle);

        if (!memory)
            continue;
        memory->mappings--;
        if (take_if_unheld(memory)) {
            memory->next = gone;
            gone = memory;
        }
    }
    memcpy(taken, &g_mappings[first], (end - first) * sizeof(*taken));
    memmove(&g_mappings[first], &g_mappings[end], (g_mapping_count - end) * sizeof(*g_mappings));
    g_mapping_count -= end - first;
    return gone;
}

/* The driver has refused to unmap: everything as it was. */
static void restore_mappings(const struct mapping *taken, size_t count, struct physical *gone)
{
    put_back(gone);
    pthread_mutex_lock(&g_lock);
    for (size_t i = 0; i < count; i++) {
        struct physical *memory = find(taken[i].handle);

        if (!memory)
            continue;
        memory->mappings++;
        list_mapping(&taken[i]);
    }
    pthread_mutex_unlock(&g_lock);
}

CUresult physical_unmap(CUdeviceptr addr, size_t bytes)
{
    struct mapping *taken = NULL;
    struct physical *gone = NULL;
    size_t first, end;
    CUresult result;

    pthread_mutex_lock(&g_lock);
    first = end = mapping_above(addr);
    while (end < g_mapping_count && g_mappings[end].base - addr < bytes)
        end++;
    if (end > first)
        taken = malloc((end - first) * sizeof(*taken));
    if (taken)
        gone = take_mappings(first, end, taken);
    pthread_mutex_unlock(&g_lock);
    result = driver_get()->cuMemUnmap(addr, bytes);
    if (result == CUDA_SUCCESS)
        give_back(gone);
    else if (taken)
        restore_mappings(taken, end - first, gone);
    free(taken);
    return result;
}
