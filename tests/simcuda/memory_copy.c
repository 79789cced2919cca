/* Copy engines: copies and sets between any two kinds of memory, in chunks. */
#include "memory.h"

#include <string.h>

#include "pace.h"
#include "um.h"
#include "vmm.h"

/* Where a stretch of bytes is right now. */
struct place {
    uint8_t *at;
    size_t bytes; /* how far it goes from there */
    int device;   /* UM_CPU for host memory */
};

enum look {
    LOOK_FOUND,
    LOOK_MISS,    /* the writing side has to act first */
    LOOK_ILLEGAL, /* an address that is nothing */
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Reading side. Sizes are checked against the allocation: a copy that runs past its end is illegal
 * even where the hardware would hit a neighbour. */
static enum look place_look(int device, uint64_t addr, size_t bytes, enum mmu_access access,
                            struct place *out)
{
    const struct allocation *allocation;
    struct um_block *block;
    uint64_t rest;

    out->bytes = least(bytes, MMU_PAGE_BYTES);
    out->device = UM_CPU;
    out->at = (uint8_t *)(uintptr_t)addr;
    if (!arena_has(ARENA_DEVICE, addr) && !arena_has(ARENA_MANAGED, addr))
        return LOOK_FOUND;
    allocation = allocation_find(addr);
    if (!allocation)
        return LOOK_ILLEGAL;
    rest = allocation->info.bytes - (addr - allocation->info.base);
    out->bytes = least(bytes, least(rest, MMU_PAGE_BYTES - addr % MMU_PAGE_BYTES));
    if (allocation->info.kind == MEMORY_MAPPED) {
        out->at = vmm_at(allocation->region, addr, device, access, &out->device);
        return out->at ? LOOK_FOUND : LOOK_ILLEGAL;
    }
    if (allocation->info.kind == MEMORY_MANAGED) {
        block = um_block_at(allocation->region, addr);
        out->at = um_place(block, device, access, &out->device);
    } else {
        out->at = plain_frame(allocation->region, addr);
        out->device = allocation->info.device;
    }
    if (!out->at)
        return LOOK_MISS;
    out->at += addr % MMU_PAGE_BYTES;
    return LOOK_FOUND;
}

/* Writing side taken and given back: what place_look() was missing. */
static void place_act(int device, uint64_t addr, enum mmu_access access)
{
    const struct allocation *allocation;

    memory_lock_write();
    allocation = allocation_find(addr);
    if (allocation && allocation->region->um)
        um_settle(um_block_at(allocation->region, addr), device, access);
    else if (allocation && allocation->region->frames)
        plain_commit(allocation->region, addr);
    memory_unlock();
}

/* On success the reading side is held. returns 0 or 700 */
static int places_find(int device, uint64_t dst, uint64_t src, size_t bytes, struct place *to,
                       struct place *from)
{
    for (;;) {
        enum look look_to, look_from = LOOK_FOUND;

        memory_lock_read();
        look_to = place_look(device, dst, bytes, MMU_WRITE, to);
        if (from)
            look_from = place_look(device, src, bytes, MMU_READ, from);
        if (look_to == LOOK_FOUND && look_from == LOOK_FOUND)
            return 0;
        memory_unlock();
        if (look_to == LOOK_ILLEGAL || look_from == LOOK_ILLEGAL)
            return CUDA_ERROR_ILLEGAL_ADDRESS;
        if (look_from == LOOK_MISS)
            place_act(device, src, MMU_READ);
        if (look_to == LOOK_MISS)
            place_act(device, dst, MMU_WRITE);
    }
}

static void count_copy(const struct place *to, const struct place *from, size_t bytes)
{
    if (to->device != UM_CPU && from->device != UM_CPU) {
        COUNT(memory_device_at(to->device), copy_d2d_bytes, bytes);
        t_pace_tally.d2d_bytes += bytes;
    } else if (to->device != UM_CPU) {
        COUNT(memory_device_at(to->device), copy_h2d_bytes, bytes);
        t_pace_tally.h2d_bytes += bytes;
    } else if (from->device != UM_CPU) {
        COUNT(memory_device_at(from->device), copy_d2h_bytes, bytes);
        t_pace_tally.d2h_bytes += bytes;
    } else {
        t_pace_tally.h2h_bytes += bytes;
    }
}

int memory_copy(int device, uint64_t dst, uint64_t src, size_t bytes)
{
    struct place to, from;

    while (bytes) {
        size_t chunk;
        int res = places_find(device, dst, src, bytes, &to, &from);

        if (res)
            return res;
        chunk = least(to.bytes, from.bytes);
        memmove(to.at, from.at, chunk);
        count_copy(&to, &from, chunk);
        memory_unlock();
        dst += chunk;
        src += chunk;
        bytes -= chunk;
    }
    return 0;
}

static void fill(uint8_t *at, size_t bytes, const void *value, unsigned value_bytes)
{
    size_t i;

    if (value_bytes == 1) {
        memset(at, *(const uint8_t *)value, bytes);
        return;
    }
    for (i = 0; i + value_bytes <= bytes; i += value_bytes)
        memcpy(at + i, value, value_bytes);
}

int memory_set(int device, uint64_t dst, size_t bytes, const void *value, unsigned value_bytes)
{
    struct place to;

    while (bytes) {
        int res = places_find(device, dst, 0, bytes, &to, NULL);

        if (res)
            return res;
        fill(to.at, to.bytes, value, value_bytes);
        memory_unlock();
        dst += to.bytes;
        bytes -= to.bytes;
    }
    return 0;
}
