/* probe_host.c - what kernels reach on the host's memory, by kind of mapping.
 *
 * The device's own memory and a copy of pinned memory stand beside it.
 *
 * Answers: can host physical memory (attributes 141, 145) be mapped for the device at
 * an address of its choice, and at what speed do kernels read and write it; is that the speed of
 * other mapped memory of the host; can the host use it too.
 */
#include "probe.h"

#include <string.h>

struct target {
    CUdeviceptr ptr, device;
};

static void read_all(struct probe *p, void *state)
{
    const struct target *t = state;

    probe_read(p, t->ptr, p->bytes, PK_READ_BYTES, 1);
}

static void write_all(struct probe *p, void *state)
{
    const struct target *t = state;

    probe_write(p, t->ptr, p->bytes, PK_READ_BYTES, 7);
}

static void copy_all(struct probe *p, void *state)
{
    const struct target *t = state;

    CUDA_CHECK(cuMemcpyAsync(t->device, t->ptr, p->bytes, p->stream));
}

static void show(struct probe *p, const char *name, CUdeviceptr ptr, CUdeviceptr device)
{
    struct target t = {ptr, device};
    double bytes = (double)p->bytes;

    /* Written first: then all of it exists, whatever the kind. */
    probe_figure(p, name, "write_GB_per_s", bytes / probe_measure(p, NULL, write_all, &t).whole_ns);
    probe_figure(p, name, "read_GB_per_s", bytes / probe_measure(p, NULL, read_all, &t).whole_ns);
    probe_figure(p, name, "copied_GB_per_s", bytes / probe_measure(p, NULL, copy_all, &t).whole_ns);
}

int probe_host_location(CUmemLocation *out)
{
    int node = probe_attribute(CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID);

    if (probe_attribute(CU_DEVICE_ATTRIBUTE_HOST_NUMA_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED)) {
        *out = (CUmemLocation){CU_MEM_LOCATION_TYPE_HOST_NUMA, node > 0 ? node : 0};
        return 1;
    }
    if (probe_attribute(CU_DEVICE_ATTRIBUTE_HOST_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED)) {
        *out = (CUmemLocation){CU_MEM_LOCATION_TYPE_HOST, 0};
        return 1;
    }
    return 0;
}

/* Host physical memory at an address of its own, for the device and then for the host. */
static void show_handle(struct probe *p, CUmemLocation location, CUdeviceptr device)
{
    CUmemAccessDesc access = {{CU_MEM_LOCATION_TYPE_DEVICE, 0}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    CUmemAllocationProp prop = {0};
    CUmemGenericAllocationHandle handle;
    CUdeviceptr ptr;
    CUresult created, allowed;

    prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    prop.location = location;
    CUDA_CHECK(cuMemAddressReserve(&ptr, p->bytes, 0, 0, 0));
    created = cuMemCreate(&handle, p->bytes, &prop, 0);
    probe_number(p, "handle_create_error", created);
    if (created != CUDA_SUCCESS)
        return;
    CUDA_CHECK(cuMemMap(ptr, p->bytes, 0, handle, 0));
    allowed = cuMemSetAccess(ptr, p->bytes, &access, 1);
    probe_number(p, "handle_device_access_error", allowed);
    if (allowed == CUDA_SUCCESS)
        show(p, "handle", ptr, device);
    access.location = location;
    probe_number(p, "handle_host_access_error", cuMemSetAccess(ptr, p->bytes, &access, 1));
    CUDA_CHECK(cuMemUnmap(ptr, p->bytes));
    CUDA_CHECK(cuMemRelease(handle));
    CUDA_CHECK(cuMemAddressFree(ptr, p->bytes));
}

static void show_managed(struct probe *p, CUdeviceptr device)
{
    CUmemLocation here = {CU_MEM_LOCATION_TYPE_DEVICE, 0}, host = {CU_MEM_LOCATION_TYPE_HOST, 0};
    CUdeviceptr ptr;

    CUDA_CHECK(cuMemAllocManaged(&ptr, p->bytes, CU_MEM_ATTACH_GLOBAL));
    CUDA_CHECK(cuMemAdvise(ptr, p->bytes, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, host));
    CUDA_CHECK(cuMemAdvise(ptr, p->bytes, CU_MEM_ADVISE_SET_ACCESSED_BY, here));
    memset((void *)(uintptr_t)ptr, 2, p->bytes);
    show(p, "managed_in_place", ptr, device);
    CUDA_CHECK(cuMemFree(ptr));
}

void probe_host(struct probe *p)
{
    CUdeviceptr device, own, mapped;
    CUmemLocation location;
    void *pinned;

    probe_open(p);
    probe_number(p, "attribute_141", probe_attribute(141));
    probe_number(p, "attribute_145", probe_attribute(145));
    CUDA_CHECK(cuMemAlloc(&device, p->bytes));
    CUDA_CHECK(cuMemAlloc(&own, p->bytes));
    show(p, "device_memory", own, device);
    CUDA_CHECK(cuMemFree(own));
    CUDA_CHECK(cuMemHostAlloc(&pinned, p->bytes, CU_MEMHOSTALLOC_DEVICEMAP));
    CUDA_CHECK(cuMemHostGetDevicePointer(&mapped, pinned, 0));
    show(p, "pinned", mapped, device);
    CUDA_CHECK(cuMemFreeHost(pinned));
    if (probe_attribute(CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS))
        show_managed(p, device);
    if (probe_attribute(CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED) &&
        probe_host_location(&location))
        show_handle(p, location, device);
}
