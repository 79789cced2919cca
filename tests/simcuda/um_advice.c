/* Prefetches, advice and attributes of managed ranges. */
#include <string.h>

#include "host_fault.h"
#include "pace.h"
#include "um.h"

/* Pages [first, end) of a range, and a cursor over the blocks they touch. */
struct walk {
    uint64_t first;
    uint64_t end;
    uint64_t at;
};

static struct walk walk_begin(uint64_t addr, uint64_t bytes)
{
    struct walk walk = {round_down(addr, HOST_PAGE_BYTES), round_up(addr + bytes, HOST_PAGE_BYTES),
                        0};

    walk.at = walk.first;
    return walk;
}

/* The next block that the range touches, NULL at its end or where it leaves managed memory. */
static struct um_block *walk_next(struct walk *walk)
{
    struct region *region;
    struct um_block *block;

    if (walk->at >= walk->end)
        return NULL;
    region = region_reach(walk->at);
    if (!region || !region->um)
        return NULL;
    block = um_block_at(region, walk->at);
    if (walk->at - block->addr >= block->bytes)
        return NULL;
    walk->at = block->addr + block->bytes;
    return block;
}

static int walk_covers(const struct walk *walk, const struct um_block *block)
{
    return walk->first <= block->addr && walk->end >= block->addr + block->bytes;
}

/* Does all of the range lie in managed allocations? Either side held. */
static int range_is_managed(uint64_t addr, uint64_t bytes)
{
    struct walk walk = walk_begin(addr, bytes);

    if (bytes == 0 || addr + bytes < addr)
        return 0;
    while (walk_next(&walk))
        ;
    return walk.at >= walk.end;
}

CUresult um_check(CUdeviceptr addr, size_t bytes, int device)
{
    CUresult res;

    if (device != UM_CPU && (device < 0 || device >= memory_device_count()))
        return CUDA_ERROR_INVALID_DEVICE;
    memory_lock_read();
    res = range_is_managed(addr, bytes) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    memory_unlock();
    return res;
}

/* What a prefetch will copy, and the device whose engine does: the target, or for the CPU the first
 * that has something. */
static uint64_t prefetch_bytes(struct walk walk, int device, int *engine_device)
{
    struct um_block *block;
    uint64_t bytes = 0;

    *engine_device = device;
    memory_lock_read();
    while ((block = walk_next(&walk)) != NULL) {
        const int from = um_block_source(block, device);

        if (from == UM_NONE)
            continue;
        bytes += block->bytes;
        if (*engine_device == UM_CPU)
            *engine_device = from;
    }
    memory_unlock();
    return bytes;
}

uint64_t um_prefetch_blocks(CUdeviceptr addr, size_t bytes, int device)
{
    struct walk walk = walk_begin(addr, bytes);
    struct um_block *block;
    uint64_t count = 0;

    memory_lock_read();
    while ((block = walk_next(&walk)) != NULL)
        count += !um_block_is_at(block, device);
    memory_unlock();
    return count;
}

/* Take the engine for all that a prefetch will copy. */
static struct pace_slot prefetch_pace_begin(struct walk walk, int device)
{
    int engine_device;
    const struct pace_costs *costs = pace_costs();
    const uint64_t rate = device == UM_CPU ? costs->d2h_bytes_per_s : costs->h2d_bytes_per_s;
    const uint64_t bytes = pace_is_on() ? prefetch_bytes(walk, device, &engine_device) : 0;

    pace_tally_take();
    if (!bytes)
        return (struct pace_slot){.queue = NULL};
    return pace_slot_begin(engine_device, device == UM_CPU ? PACE_D2H : PACE_H2D, bytes,
                           costs->copy_ns + pace_bytes_ns(bytes, rate));
}

/* It has come that far. What it evicted on the way was copied back before, by the other engine. */
static void prefetch_pace_block(struct pace_slot *slot, int device, uint64_t *done_bytes)
{
    const struct pace_tally moved = pace_tally_take();

    if (!slot->queue)
        return;
    *done_bytes += device == UM_CPU ? moved.d2h_bytes : moved.h2d_bytes;
    pace_slot_reach(slot, *done_bytes);
    if (device != UM_CPU)
        pace_work_transfer(device, PACE_D2H, moved.d2h_bytes,
                           pace_bytes_ns(moved.d2h_bytes, pace_costs()->d2h_bytes_per_s));
}

/* Block by block, so that kernels and the host get their turn between two. */
CUresult um_prefetch(CUdeviceptr addr, size_t bytes, int device)
{
    struct walk walk = walk_begin(addr, bytes);
    CUresult res = um_check(addr, bytes, device);
    struct um_block *block = NULL;
    uint64_t done_bytes = 0;
    struct pace_slot slot;

    if (res != CUDA_SUCCESS)
        return res;
    host_fault_install();
    pace_slow(device == UM_CPU ? PACE_D2H : PACE_H2D);
    slot = prefetch_pace_begin(walk, device);
    while (walk.at < walk.end) {
        memory_lock_write();
        block = walk_next(&walk);
        if (block)
            um_block_prefetch(block, device);
        memory_unlock();
        if (!block)
            break;
        prefetch_pace_block(&slot, device, &done_bytes);
    }
    pace_slot_end(&slot);
    return block ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static void advise_block(struct um_block *block, int is_covered, CUmem_advise advice, int device)
{
    const unsigned bit = device == UM_CPU ? UM_ACCESSED_BY_CPU : 1u << device;

    switch (advice) {
    case CU_MEM_ADVISE_SET_READ_MOSTLY:
        block->is_read_mostly = 1;
        break;
    case CU_MEM_ADVISE_UNSET_READ_MOSTLY:
        if (is_covered) {
            um_block_collapse(block);
            block->is_read_mostly = 0;
        }
        break;
    case CU_MEM_ADVISE_SET_PREFERRED_LOCATION:
        block->preferred = device;
        break;
    case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION:
        if (is_covered)
            block->preferred = UM_NONE;
        break;
    case CU_MEM_ADVISE_SET_ACCESSED_BY:
        block->accessed_by |= bit;
        break;
    case CU_MEM_ADVISE_UNSET_ACCESSED_BY:
        if (is_covered)
            block->accessed_by &= ~bit;
        break;
    }
}

static int advice_has_device(CUmem_advise advice)
{
    return advice == CU_MEM_ADVISE_SET_PREFERRED_LOCATION ||
           advice == CU_MEM_ADVISE_SET_ACCESSED_BY || advice == CU_MEM_ADVISE_UNSET_ACCESSED_BY;
}

CUresult um_advise(CUdeviceptr addr, size_t bytes, CUmem_advise advice, int device)
{
    struct walk walk = walk_begin(addr, bytes);
    struct pace_tally tally;
    struct um_block *block;
    CUresult res;

    if (advice < CU_MEM_ADVISE_SET_READ_MOSTLY || advice > CU_MEM_ADVISE_UNSET_ACCESSED_BY)
        return CUDA_ERROR_INVALID_VALUE;
    /* The location of the other advice is ignored. */
    if (!advice_has_device(advice))
        device = UM_CPU;
    /* Unlike a prefetch, advice takes a device that is not there for a wrong value. */
    res = um_check(addr, bytes, device);
    if (res == CUDA_ERROR_INVALID_DEVICE)
        res = CUDA_ERROR_INVALID_VALUE;
    if (res != CUDA_SUCCESS)
        return res;
    if (device != UM_CPU && advice != CU_MEM_ADVISE_UNSET_ACCESSED_BY && !um_is_concurrent())
        return CUDA_ERROR_INVALID_DEVICE;
    host_fault_install();
    pace_tally_take();
    memory_lock_write();
    while ((block = walk_next(&walk)) != NULL)
        advise_block(block, walk_covers(&walk, block), advice, device);
    memory_unlock();
    tally = pace_tally_take();
    pace_host_spend(pace_costs()->advise_ns + tally.collapses * pace_costs()->collapse_block_ns +
                    tally.remaps * pace_costs()->remap_block_ns);
    return CUDA_SUCCESS;
}

/* Attributes --------------------------------------------------------------------------------- */

/* A location that all blocks agree on, else UM_NONE. */
static int range_location(struct walk walk, int of_prefetch)
{
    struct um_block *block = walk_next(&walk);
    int location = of_prefetch ? block->last_prefetch : block->preferred;

    while ((block = walk_next(&walk)) != NULL) {
        if ((of_prefetch ? block->last_prefetch : block->preferred) != location)
            return UM_NONE;
    }
    return location;
}

static int range_is_read_mostly(struct walk walk)
{
    struct um_block *block;

    while ((block = walk_next(&walk)) != NULL) {
        if (!block->is_read_mostly)
            return 0;
    }
    return 1;
}

/* Devices that every block has as ACCESSED_BY come first, the rest of the array is UM_NONE. */
static void range_accessed_by(struct walk walk, int *out, size_t count)
{
    unsigned all = ~0u;
    struct um_block *block;
    size_t used = 0, i;
    int d;

    while ((block = walk_next(&walk)) != NULL)
        all &= block->accessed_by;
    for (d = 0; d < SIM_DEVICES_MAX && used < count; d++) {
        if (all & 1u << d)
            out[used++] = d;
    }
    if (all & UM_ACCESSED_BY_CPU && used < count)
        out[used++] = UM_CPU;
    for (i = used; i < count; i++)
        out[i] = UM_NONE;
}

static int location_type(int location)
{
    if (location == UM_NONE)
        return CU_MEM_LOCATION_TYPE_INVALID;
    return location == UM_CPU ? CU_MEM_LOCATION_TYPE_HOST : CU_MEM_LOCATION_TYPE_DEVICE;
}

static CUresult range_attribute(int *out, size_t count, CUmem_range_attribute attribute,
                                struct walk walk)
{
    switch (attribute) {
    case CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY:
        *out = range_is_read_mostly(walk);
        return CUDA_SUCCESS;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION:
        *out = range_location(walk, 0);
        return CUDA_SUCCESS;
    case CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY:
        range_accessed_by(walk, out, count);
        return CUDA_SUCCESS;
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION:
        *out = range_location(walk, 1);
        return CUDA_SUCCESS;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE:
        *out = location_type(range_location(walk, 0));
        return CUDA_SUCCESS;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_ID:
        *out = range_location(walk, 0);
        return CUDA_SUCCESS;
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_TYPE:
        *out = location_type(range_location(walk, 1));
        return CUDA_SUCCESS;
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_ID:
        *out = range_location(walk, 1);
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_INVALID_VALUE;
}

CUresult um_range_attribute(void *data, size_t data_bytes, CUmem_range_attribute attribute,
                            CUdeviceptr addr, size_t bytes)
{
    const int is_list = attribute == CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY;
    CUresult res = CUDA_ERROR_INVALID_VALUE;

    if (!data || data_bytes == 0 || data_bytes % sizeof(int) != 0 ||
        (!is_list && data_bytes != sizeof(int)))
        return CUDA_ERROR_INVALID_VALUE;
    memory_lock_read();
    if (range_is_managed(addr, bytes))
        res = range_attribute(data, data_bytes / sizeof(int), attribute, walk_begin(addr, bytes));
    memory_unlock();
    return res;
}
