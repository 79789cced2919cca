#include "um.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host_fault.h"
#include "pace.h"

static atomic_int g_busy;

int um_is_concurrent(void)
{
    return sim_setting(SIM_CONCURRENT_MANAGED) != 0;
}

/* Copies ------------------------------------------------------------------------------------- */

static int copies(const struct um_block *block)
{
    int count = block->host_valid != 0;
    int d;

    for (d = 0; d < SIM_DEVICES_MAX; d++)
        count += block->frame[d] != NULL;
    return count;
}

static int first_device(const struct um_block *block)
{
    int d;

    for (d = 0; d < SIM_DEVICES_MAX; d++) {
        if (block->frame[d])
            return d;
    }
    return UM_NONE;
}

static void host_protect(struct um_block *block, int prot)
{
    if (block->host_prot == prot)
        return;
    if (mprotect((void *)(uintptr_t)block->addr, block->bytes, prot) != 0)
        memory_fatal("managed memory cannot be protected (vm.max_map_count?)");
    block->host_prot = prot;
}

/* May the device write where its copy is, without a fault? */
static int may_write(const struct um_block *block, int d)
{
    return copies(block) <= 1 || (block->unguarded & 1u << d);
}

/* Bring the program's mapping and every page table in line with the copies that exist. */
static void publish(struct um_block *block)
{
    const int is_shared = copies(block) > 1;
    int d;

    for (d = 0; d < memory_device_count(); d++)
        mmu_set(&memory_device_at(d)->mmu, block->addr, block->frame[d],
                !block->frame[d]      ? 0
                : may_write(block, d) ? MMU_READ | MMU_WRITE
                                      : MMU_READ);
    if (!block->host_valid || !block->is_host_mapped || um_is_busy())
        host_protect(block, PROT_NONE);
    else
        host_protect(block, is_shared ? PROT_READ : PROT_READ | PROT_WRITE);
}

static void note_peak(struct memory_device *device)
{
    struct memory_counters *counters = &device->counters;
    uint64_t managed = device->managed_pages * MMU_PAGE_BYTES;

    counters->managed_resident_bytes = managed;
    if (managed > counters->peak_managed_resident_bytes)
        counters->peak_managed_resident_bytes = managed;
    if (managed + counters->device_used_bytes > counters->peak_device_bytes)
        counters->peak_device_bytes = managed + counters->device_used_bytes;
}

static void frame_drop(struct um_block *block, int d)
{
    struct memory_device *device = memory_device_at(d);
    struct um_link *link = &block->link[d];

    frame_give(block->frame[d]);
    block->frame[d] = NULL;
    block->unguarded &= ~(1u << d);
    *(link->older ? &link->older->link[d].newer : &device->oldest) = link->newer;
    *(link->newer ? &link->newer->link[d].older : &device->newest) = link->older;
    device->managed_pages--;
    device->room_epoch++;
    note_peak(device);
}

/* A frame on the device for a block that has none there. returns 0 when nothing can make room */
static int frame_add(struct um_block *block, int d, enum frame_fill fill)
{
    struct memory_device *device = memory_device_at(d);
    struct um_link *link = &block->link[d];

    while (device->plain_pages + device->charged_pages + device->managed_pages >=
           device->capacity_pages) {
        if (!um_evict(device)) {
            block->no_room_epoch[d] = device->room_epoch;
            return 0;
        }
    }
    block->frame[d] = frame_take(fill);
    link->older = device->newest;
    link->newer = NULL;
    *(link->older ? &link->older->link[d].newer : &device->oldest) = block;
    device->newest = block;
    device->managed_pages++;
    note_peak(device);
    return 1;
}

/* Give up every copy but the one at keep, which exists. returns the bytes given up on devices */
static uint64_t keep_only(struct um_block *block, int keep)
{
    uint64_t bytes = 0;
    int d;

    for (d = 0; d < SIM_DEVICES_MAX; d++) {
        if (d == keep || !block->frame[d])
            continue;
        frame_drop(block, d);
        bytes += block->bytes;
    }
    if (keep != UM_CPU)
        block->host_valid = block->is_host_mapped = 0;
    return bytes;
}

/* Add a copy on the device, from the host's if there is one. The program must not write meanwhile.
 * returns 0 when nothing can make room */
static int copy_to_device(struct um_block *block, int d, uint64_t *from_host_bytes)
{
    int source;

    if (!frame_add(block, d, FRAME_RAW))
        return 0;
    if (block->host_valid) {
        host_protect(block, block->host_prot & PROT_READ);
        memcpy(block->frame[d], block->host, block->bytes);
        *from_host_bytes += block->bytes;
        t_pace_tally.h2d_bytes += block->bytes;
        return 1;
    }
    for (source = 0; source == d || !block->frame[source]; source++)
        ;
    memcpy(block->frame[d], block->frame[source], block->bytes);
    t_pace_tally.h2d_bytes += block->bytes;
    return 1;
}

/* Add a copy on the host, from whichever device has one. */
static void copy_to_host(struct um_block *block, uint64_t *bytes)
{
    memcpy(block->host, block->frame[first_device(block)], block->bytes);
    block->host_valid = 1;
    *bytes += block->bytes;
    t_pace_tally.d2h_bytes += block->bytes;
}

/* Zeros, as promised for managed memory: on the device, else on the host, whose pages are zero as
 * long as nobody wrote to them. */
static void populate(struct um_block *block, int at)
{
    if (at == UM_CPU || !frame_add(block, at, FRAME_ZERO))
        block->host_valid = 1;
}

int um_evict(struct memory_device *device)
{
    struct um_block *block = device->oldest;

    if (!block)
        return 0;
    device->counters.evicted_blocks++;
    if (copies(block) > 1)
        device->counters.dropped_bytes += block->bytes;
    else
        copy_to_host(block, &device->counters.evicted_write_back_bytes);
    frame_drop(block, device->ordinal);
    publish(block);
    return 1;
}

/* Devices ------------------------------------------------------------------------------------ */

static int is_duplicating(const struct um_block *block)
{
    return block->is_read_mostly && um_is_concurrent();
}

enum um_route um_route(const struct um_block *block, int device, enum mmu_access access,
                       uint8_t **at)
{
    if (access == MMU_WRITE && !may_write(block, device))
        return UM_MISS;
    *at = block->frame[device];
    if (*at)
        return UM_LOCAL;
    *at = block->host;
    if (!block->host_valid)
        return UM_MISS;
    if (block->no_room_epoch[device] == memory_device_at(device)->room_epoch)
        return UM_REMOTE;
    if (is_duplicating(block) || block->preferred == device)
        return UM_MISS;
    if (block->preferred == UM_CPU || block->accessed_by & 1u << device)
        return UM_REMOTE;
    return UM_MISS;
}

void um_device_fault(struct um_block *block, int device, enum mmu_access access)
{
    struct memory_counters *counters = &memory_device_at(device)->counters;
    const int before = copies(block);
    int keep = device;
    uint8_t *at;

    /* Another thread may have served the same fault meanwhile. */
    if (um_route(block, device, access, &at) != UM_MISS)
        return;
    counters->gpu_faults++;
    t_pace_tally.gpu_faults++;
    if (before == 0) {
        populate(block, block->preferred == UM_CPU ? UM_CPU : device);
        publish(block);
        return;
    }
    if (!block->frame[device] && !copy_to_device(block, device, &counters->fault_h2d_bytes)) {
        /* The card is full of what cannot be evicted: the device uses the host's copy in place. */
        if (!block->host_valid)
            copy_to_host(block, &counters->fault_d2h_bytes);
        keep = UM_CPU;
    }
    if (access == MMU_WRITE || !is_duplicating(block)) {
        counters->collapsed_bytes += (uint64_t)(before - 1) * block->bytes;
        keep_only(block, keep);
    }
    publish(block);
}

/* Copy engines ------------------------------------------------------------------------------- */

uint8_t *um_place(const struct um_block *block, int device, enum mmu_access access, int *where)
{
    if (access == MMU_WRITE && !may_write(block, device))
        return NULL;
    *where = block->frame[device] ? device : block->host_valid ? UM_CPU : first_device(block);
    if (*where == UM_NONE)
        return NULL;
    return *where == UM_CPU ? block->host : block->frame[*where];
}

void um_settle(struct um_block *block, int device, enum mmu_access access)
{
    struct memory_counters *counters = &memory_device_at(device)->counters;
    int where;

    if (um_place(block, device, access, &where))
        return;
    if (copies(block) == 0) {
        populate(block, block->preferred == UM_NONE ? device : block->preferred);
    } else {
        where = block->frame[device] ? device : block->host_valid ? UM_CPU : first_device(block);
        counters->collapsed_bytes += (uint64_t)(copies(block) - 1) * block->bytes;
        keep_only(block, where);
    }
    publish(block);
}

/* The host ----------------------------------------------------------------------------------- */

void um_host_fault(struct um_block *block, enum mmu_access access)
{
    const int first = first_device(block);
    struct memory_counters *counters =
        &memory_device_at(first == UM_NONE ? block->owner : first)->counters;

    if (copies(block) == 0) {
        counters->cpu_faults++;
        populate(block, UM_CPU);
    } else if (!block->host_valid) {
        counters->cpu_faults++;
        copy_to_host(block, &counters->fault_d2h_bytes);
        if (access == MMU_WRITE || !is_duplicating(block))
            keep_only(block, UM_CPU);
    } else if (access == MMU_WRITE && first != UM_NONE) {
        counters->cpu_faults++;
        counters->collapsed_bytes += keep_only(block, UM_CPU);
    }
    block->is_host_mapped = 1;
    publish(block);
}

int um_is_busy(void)
{
    return !um_is_concurrent() && atomic_load(&g_busy) > 0;
}

void um_busy_add(int delta)
{
    atomic_fetch_add(&g_busy, delta);
}

void um_host_revoke(void)
{
    struct region *region;
    size_t i, b;

    for (i = 0; (region = region_at(i)) != NULL; i++) {
        for (b = 0; region->um && b < region->um->count; b++)
            host_protect(&region->um->blocks[b], PROT_NONE);
    }
}

/* Prefetch and collapse ---------------------------------------------------------------------- */

void um_block_prefetch(struct um_block *block, int to)
{
    const int from = first_device(block), is_unmapped = from == UM_NONE && !block->is_host_mapped;
    struct memory_counters *counters = &memory_device_at(to != UM_CPU      ? to
                                                         : from != UM_NONE ? from
                                                                           : block->owner)
                                            ->counters;

    block->last_prefetch = to;
    if (copies(block) == 0) {
        populate(block, to);
        block->is_host_mapped = to == UM_CPU;
    } else if (to == UM_CPU) {
        if (!block->host_valid)
            copy_to_host(block, &counters->prefetch_d2h_bytes);
        if (!is_duplicating(block))
            keep_only(block, UM_CPU);
        block->is_host_mapped = 1;
    } else if (block->frame[to] || copy_to_device(block, to, &counters->prefetch_h2d_bytes)) {
        if (!is_duplicating(block))
            keep_only(block, to);
        else if (is_unmapped)
            block->unguarded |= 1u << to;
    }
    publish(block);
}

int um_block_is_at(const struct um_block *block, int to)
{
    return to == UM_CPU ? block->host_valid : block->frame[to] != NULL;
}

int um_block_source(const struct um_block *block, int to)
{
    if (copies(block) == 0 || um_block_is_at(block, to))
        return UM_NONE;
    return to != UM_CPU && block->host_valid ? UM_CPU : first_device(block);
}

/* READ_MOSTLY ends: one copy stays, and nothing is transferred. */
void um_block_collapse(struct um_block *block)
{
    const int first = first_device(block);
    int keep = first;

    if (copies(block) < 2)
        return;
    if (block->preferred == UM_CPU && block->host_valid)
        keep = UM_CPU;
    else if (block->preferred >= 0 && block->frame[block->preferred])
        keep = block->preferred;
    t_pace_tally.collapses++;
    t_pace_tally.remaps += (block->accessed_by & ~UM_ACCESSED_BY_CPU) != 0;
    memory_device_at(first)->counters.dropped_bytes += keep_only(block, keep);
    publish(block);
}

/* Life --------------------------------------------------------------------------------------- */

struct um_block *um_block_at(const struct region *region, uint64_t addr)
{
    size_t index = (addr - region->base) / MMU_PAGE_BYTES;

    return index < region->um->count ? &region->um->blocks[index] : NULL;
}

/* One memory file, mapped twice: for the program, without access so far, and for the simulator. */
static uint8_t *map_twice(uint64_t base, uint64_t bytes)
{
    int file = memfd_create("simcuda-managed", MFD_CLOEXEC);
    void *alias = MAP_FAILED;
    void *at;

    if (file < 0)
        return NULL;
    if (ftruncate(file, (off_t)bytes) == 0)
        alias = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (alias != MAP_FAILED) {
        at = mmap((void *)(uintptr_t)base, bytes, PROT_NONE, MAP_SHARED | MAP_FIXED, file, 0);
        if (at == MAP_FAILED) {
            munmap(alias, bytes);
            alias = MAP_FAILED;
        }
    }
    close(file);
    if (alias == MAP_FAILED)
        return NULL;
    /* A child of fork does not have managed memory. */
    madvise((void *)(uintptr_t)base, bytes, MADV_DONTFORK);
    madvise(alias, bytes, MADV_DONTFORK);
    return alias;
}

CUresult um_create(struct region *region, uint64_t bytes, int owner)
{
    const uint64_t mapped = round_up(bytes, HOST_PAGE_BYTES);
    const size_t count = region->bytes / MMU_PAGE_BYTES;
    struct um *um = calloc(1, sizeof(*um) + count * sizeof(um->blocks[0]));
    size_t i;

    if (!um)
        return CUDA_ERROR_OUT_OF_MEMORY;
    host_fault_install();
    um->alias = map_twice(region->base, mapped);
    if (!um->alias) {
        free(um);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    um->count = count;
    for (i = 0; i < count; i++) {
        struct um_block *block = &um->blocks[i];
        uint64_t rest = mapped - i * MMU_PAGE_BYTES;

        block->addr = region->base + i * MMU_PAGE_BYTES;
        block->host = um->alias + i * MMU_PAGE_BYTES;
        block->bytes = (uint32_t)(rest < MMU_PAGE_BYTES ? rest : MMU_PAGE_BYTES);
        block->owner = owner;
        block->host_prot = PROT_NONE;
        block->preferred = UM_NONE;
        block->last_prefetch = UM_NONE;
    }
    region->um = um;
    return CUDA_SUCCESS;
}

void um_destroy(struct region *region)
{
    struct um *um = region->um;
    uint64_t mapped = 0;
    size_t i;
    int d;

    for (i = 0; i < um->count; i++) {
        keep_only(&um->blocks[i], UM_CPU);
        for (d = 0; d < memory_device_count(); d++)
            mmu_set(&memory_device_at(d)->mmu, um->blocks[i].addr, NULL, 0);
        mapped += um->blocks[i].bytes;
    }
    munmap(um->alias, mapped);
    free(um);
    region->um = NULL;
}
