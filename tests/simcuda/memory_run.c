/* What a device's access finds when the page table has no ready answer. */
#include "memory.h"

#include <string.h>

#include "touched.h"
#include "um.h"
#include "vmm.h"

static void *access_fault(struct mmu_run *run, uint64_t addr)
{
    if (!run->fault) {
        run->fault = CUDA_ERROR_ILLEGAL_ADDRESS;
        run->fault_addr = addr;
    }
    return NULL;
}

static void count_remote(struct mmu_run *run, uint64_t addr, unsigned bytes, enum mmu_access access)
{
    struct memory_device *device = run->device;

    touched_remote(run, addr, access);
    if (access == MMU_WRITE)
        COUNT(device, remote_write_bytes, bytes);
    else
        COUNT(device, remote_read_bytes, bytes);
}

/* One look with the reading side held. returns where the bytes are; NULL with run->fault 0 when the
 * writing side has to act first */
static void *look(struct mmu_run *run, uint64_t addr, unsigned bytes, enum mmu_access access)
{
    struct memory_device *device = run->device;
    struct region *region = region_reach(addr);
    struct um_block *block;
    uint8_t *at;
    int owner;

    if (!region)
        return access_fault(run, addr);
    switch (region->kind) {
    case MEMORY_DEVICE:
    case MEMORY_MODULE:
        /* Peer access has not been enabled. */
        if (region->device != device->ordinal)
            return access_fault(run, addr);
        at = plain_frame(region, addr);
        if (at)
            touched_local(run, addr);
        return at ? at + addr % MMU_PAGE_BYTES : NULL;
    case MEMORY_MANAGED:
        block = um_block_at(region, addr);
        switch (um_route(block, device->ordinal, access, &at)) {
        case UM_LOCAL:
            touched_local(run, addr);
            return at + addr % MMU_PAGE_BYTES;
        case UM_REMOTE:
            /* The last block of an allocation has host pages only as far as the allocation goes. */
            if (addr - block->addr + bytes > block->bytes)
                return access_fault(run, addr);
            count_remote(run, addr, bytes, access);
            return at + addr % MMU_PAGE_BYTES;
        case UM_MISS:
            break;
        }
        return NULL;
    case MEMORY_MAPPED:
        at = vmm_at(region, addr, device->ordinal, access, &owner);
        if (!at)
            return access_fault(run, addr);
        if (owner == device->ordinal)
            touched_local(run, addr);
        else
            count_remote(run, addr, bytes, access);
        return at;
    case MEMORY_HOST:
    case MEMORY_REGISTERED:
        if (access == MMU_WRITE && region->kind == MEMORY_REGISTERED &&
            region->first->info.flags & CU_MEMHOSTREGISTER_READ_ONLY)
            return access_fault(run, addr);
        count_remote(run, addr, bytes, access);
        return (void *)(uintptr_t)addr;
    case MEMORY_NONE:
        break;
    }
    return access_fault(run, addr);
}

/* With the writing side held: bring about what look() was missing. The region may be gone by now.
 */
static void act(int device, uint64_t addr, enum mmu_access access)
{
    struct region *region = region_reach(addr);

    if (region && region->um)
        um_device_fault(um_block_at(region, addr), device, access);
    else if (region && region->frames)
        plain_commit(region, addr);
}

static void *run_miss(struct mmu_run *run, uint64_t addr, unsigned bytes, enum mmu_access access)
{
    const int device = ((struct memory_device *)run->device)->ordinal;

    for (;;) {
        void *at = look(run, addr, bytes, access);

        if (at || run->fault)
            return at;
        /* Between the two sides others may undo what was done, so look again; the last of those
         * who queue for the writing side finds its page, so somebody always gets on. */
        memory_unlock();
        memory_lock_write();
        act(device, addr, access);
        memory_unlock();
        memory_lock_read();
    }
}

void memory_run_begin(int device, struct mmu_run *run)
{
    struct memory_device *d = memory_device_at(device);

    memset(run, 0, sizeof(*run));
    run->mmu = &d->mmu;
    run->miss = run_miss;
    run->device = d;
    memory_lock_read();
}

void memory_run_end(struct mmu_run *run)
{
    (void)run;
    memory_unlock();
}
