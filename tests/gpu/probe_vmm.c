/* probe_vmm.c - what physical memory and its mappings cost the calling thread.
 *
 * Handles of 2 MiB and of 32 MiB, on the device and on the host, are created, mapped, made
 * accessible one by one, unmapped and released; then all of them made accessible in one call. A
 * kernel's first reading of fresh mappings stands beside its second.
 *
 * Answers: the published costs for each 2 MiB (create 193 us, map 1.5, SetAccess 36,
 * unmap 26) on this card and driver; whether one SetAccess over a range is cheaper than one for
 * each handle; whether handles should be pooled and extents large.
 */
#include "probe.h"

#include <string.h>

#define PASS_BYTES   (64 * MIB) /* that one pass maps, at most */
#define HANDLES_MAX  32
#define HANDLE_LARGE (32 * MIB)

enum cost {
    COST_CREATE,
    COST_MAP,
    COST_ACCESS,
    COST_READ,
    COST_AGAIN,
    COST_UNMAP,
    COST_ACCESS_ALL,
    COST_RELEASE,
    COSTS
};

static const char *const g_names[COSTS] = {
    "create",      "map",   "set_access",         "first_read",
    "second_read", "unmap", "set_access_at_once", "release"};

struct pass {
    CUmemAllocationProp prop;
    size_t handle_bytes, count;
    CUdeviceptr base;
    CUmemGenericAllocationHandle handle[HANDLES_MAX];
    double start;
};

static void allow(CUdeviceptr ptr, size_t bytes)
{
    CUmemAccessDesc access = {{CU_MEM_LOCATION_TYPE_DEVICE, 0}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};

    CUDA_CHECK(cuMemSetAccess(ptr, bytes, &access, 1));
}

static void map_all(struct pass *s)
{
    for (size_t i = 0; i < s->count; i++)
        CUDA_CHECK(cuMemMap(s->base + i * s->handle_bytes, s->handle_bytes, 0, s->handle[i], 0));
}

static void unmap_all(struct pass *s)
{
    for (size_t i = 0; i < s->count; i++)
        CUDA_CHECK(cuMemUnmap(s->base + i * s->handle_bytes, s->handle_bytes));
}

static void read_all(struct probe *p, struct pass *s)
{
    probe_read(p, s->base, s->count * s->handle_bytes, 4096, 1);
    CUDA_CHECK(cuStreamSynchronize(p->stream));
}

/* Nanoseconds since the last lap. */
static double lap(struct pass *s)
{
    double now = probe_now_ns(), took = now - s->start;

    s->start = now;
    return took;
}

static void run_pass(struct probe *p, struct pass *s, double took[COSTS])
{
    s->start = probe_now_ns();
    for (size_t i = 0; i < s->count; i++)
        CUDA_CHECK(cuMemCreate(&s->handle[i], s->handle_bytes, &s->prop, 0));
    took[COST_CREATE] = lap(s);
    map_all(s);
    took[COST_MAP] = lap(s);
    for (size_t i = 0; i < s->count; i++)
        allow(s->base + i * s->handle_bytes, s->handle_bytes);
    took[COST_ACCESS] = lap(s);
    read_all(p, s);
    took[COST_READ] = lap(s);
    read_all(p, s);
    took[COST_AGAIN] = lap(s);
    unmap_all(s);
    took[COST_UNMAP] = lap(s);
    map_all(s);
    (void)lap(s);
    allow(s->base, s->count * s->handle_bytes);
    took[COST_ACCESS_ALL] = lap(s);
    unmap_all(s);
    (void)lap(s);
    for (size_t i = 0; i < s->count; i++)
        CUDA_CHECK(cuMemRelease(s->handle[i]));
    took[COST_RELEASE] = lap(s);
}

static void show(struct probe *p, const char *where, CUmemLocation location, size_t handle_bytes)
{
    double took[COSTS], all[COSTS][PROBE_ROUNDS_MAX];
    struct pass s = {0};
    char prefix[32], name[64];
    size_t bytes = p->bytes < PASS_BYTES ? p->bytes : PASS_BYTES;

    s.prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    s.prop.location = location;
    s.handle_bytes = handle_bytes;
    s.count = bytes / handle_bytes;
    if (!s.count)
        return;
    CUDA_CHECK(cuMemAddressReserve(&s.base, s.count * handle_bytes, 0, 0, 0));
    for (int i = -1; i < p->rounds; i++) {
        run_pass(p, &s, took);
        for (int c = 0; i >= 0 && c < COSTS; c++)
            all[c][i] = took[c];
    }
    CUDA_CHECK(cuMemAddressFree(s.base, s.count * handle_bytes));
    snprintf(prefix, sizeof(prefix), "%s_%zuMiB", where, handle_bytes / MIB);
    for (int c = 0; c < COSTS; c++) {
        snprintf(name, sizeof(name), "%s_ns_per_2MiB", g_names[c]);
        probe_figure(p, prefix, name,
                     probe_median(all[c], p->rounds) /
                         (double)(s.count * handle_bytes / PAGE_BYTES));
    }
}

void probe_vmm(struct probe *p)
{
    CUmemLocation device = {CU_MEM_LOCATION_TYPE_DEVICE, 0}, host;
    CUmemAllocationProp prop = {0};
    CUmemGenericAllocationHandle handle;
    size_t granule = 0;
    CUresult created;

    probe_open(p);
    if (!probe_attribute(CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED))
        probe_skip("no virtual memory management (attribute 102) on this device");
    prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    prop.location = device;
    CUDA_CHECK(cuMemGetAllocationGranularity(&granule, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    probe_number(p, "granularity_bytes", (double)granule);
    show(p, "device", device, PAGE_BYTES);
    show(p, "device", device, HANDLE_LARGE);
    if (!probe_host_location(&host))
        return;
    prop.location = host;
    created = cuMemCreate(&handle, PAGE_BYTES, &prop, 0);
    probe_number(p, "host_create_error", created);
    if (created == CUDA_SUCCESS) {
        CUDA_CHECK(cuMemRelease(handle));
        show(p, "host", host, PAGE_BYTES);
        show(p, "host", host, HANDLE_LARGE);
    }
}
