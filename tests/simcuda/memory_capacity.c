/* What a device and the host have room for, and who has taken it. */
#include "memory.h"

#include "um.h"

static uint64_t g_pinned_bytes; /* of HOST and REGISTERED regions; writing side, like the next */
static uint64_t g_host_bytes;   /* of HOST and MANAGED regions */

/* Room for pages that cannot be evicted; managed blocks make way. returns 0 or 2 */
static CUresult room_make(struct memory_device *device, uint64_t pages)
{
    const uint64_t fixed = device->plain_pages + device->charged_pages;

    if (pages > device->capacity_pages || fixed > device->capacity_pages - pages)
        return CUDA_ERROR_OUT_OF_MEMORY;
    while (fixed + pages + device->managed_pages > device->capacity_pages)
        um_evict(device);
    return CUDA_SUCCESS;
}

static void plain_count(struct memory_device *device)
{
    struct memory_counters *counters = &device->counters;
    uint64_t total;

    counters->device_used_bytes = device->plain_pages * MMU_PAGE_BYTES;
    total = counters->device_used_bytes + counters->managed_resident_bytes;
    if (total > counters->peak_device_bytes)
        counters->peak_device_bytes = total;
}

CUresult plain_take(struct memory_device *device, uint64_t pages)
{
    CUresult res = room_make(device, pages);

    if (res == CUDA_SUCCESS)
        device->plain_pages += pages;
    plain_count(device);
    return res;
}

void plain_give(struct memory_device *device, uint64_t pages)
{
    device->plain_pages -= pages;
    device->room_epoch++;
    plain_count(device);
}

void memory_capacity(int device, size_t *free_bytes, size_t *total_bytes)
{
    const struct memory_device *d = memory_device_at(device);
    uint64_t used;

    memory_lock_read();
    used = d->plain_pages + d->charged_pages + d->managed_pages;
    *total_bytes = d->capacity_pages * MMU_PAGE_BYTES;
    *free_bytes = (d->capacity_pages - used) * MMU_PAGE_BYTES;
    memory_unlock();
}

CUresult memory_charge(int device, long long bytes)
{
    struct memory_device *d = memory_device_at(device);
    const uint64_t size = (uint64_t)(bytes < 0 ? -bytes : bytes);
    const uint64_t pages = round_up(size, MMU_PAGE_BYTES) / MMU_PAGE_BYTES;
    CUresult res = CUDA_SUCCESS;

    memory_lock_write();
    if (bytes < 0) {
        d->charged_pages -= pages;
        d->room_epoch++;
    } else {
        res = room_make(d, pages);
        if (res == CUDA_SUCCESS)
            d->charged_pages += pages;
    }
    memory_unlock();
    return res;
}

void memory_counters(int device, struct memory_counters *out)
{
    memory_lock_write();
    *out = memory_device_at(device)->counters;
    memory_unlock();
}

static int is_pinned(const struct region *region)
{
    return region->kind == MEMORY_HOST || region->kind == MEMORY_REGISTERED;
}

static int is_of_the_host(const struct region *region)
{
    return region->kind == MEMORY_HOST || region->kind == MEMORY_MANAGED;
}

CUresult host_take(const struct region *region)
{
    const uint64_t pinned = is_pinned(region) ? region->bytes : 0;
    const uint64_t host = is_of_the_host(region) ? region->bytes : 0;

    if (g_pinned_bytes + pinned > sim_setting(SIM_PINNED) ||
        g_host_bytes + host > sim_setting(SIM_HOST_MEMORY))
        return CUDA_ERROR_OUT_OF_MEMORY;
    g_pinned_bytes += pinned;
    g_host_bytes += host;
    return CUDA_SUCCESS;
}

void host_give(const struct region *region)
{
    g_pinned_bytes -= is_pinned(region) ? region->bytes : 0;
    g_host_bytes -= is_of_the_host(region) ? region->bytes : 0;
}
