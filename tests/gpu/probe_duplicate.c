/* probe_duplicate.c - whether a kernel's write to a duplicate is kept when the duplicate is
 * dropped.
 *
 * A copy engine fills managed memory that rests on the host, so no thread of the host has mapped
 * it; READ_MOSTLY takes the device's own mapping away. Where a prefetch then lets the device write
 * the duplicate without a fault, the host's copy stays as it was, and unsetting READ_MOSTLY leaves
 * that one. A prefetch to the host first maps the pages there. A kernel that reads the pages brings
 * in duplicates of its own, by faults, if READ_MOSTLY is set while they are absent.
 */
#include "probe.h"

#include <string.h>

#define OLD 1
#define NEW 3 /* in every eight bytes */

static const CUmemLocation g_device = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
static const CUmemLocation g_host = {CU_MEM_LOCATION_TYPE_HOST, 0};

/* How the duplicate comes that is written. */
enum arrival { BY_PREFETCH, BY_PREFETCH_MAPPED_BEFORE, BY_FAULTS, BY_SECOND_PREFETCH };
/* How duplicates go. */
enum departure { UNSET_FIRST, HOST_FIRST };

static void to_host(struct probe *p, CUdeviceptr ptr)
{
    CUDA_CHECK(cuMemPrefetchAsync(ptr, PAGE_BYTES, g_host, 0, p->stream));
}

static void load(struct probe *p, CUdeviceptr ptr, int map_before)
{
    if (map_before)
        to_host(p, ptr);
    CUDA_CHECK(cuMemAdvise(ptr, PAGE_BYTES, CU_MEM_ADVISE_SET_READ_MOSTLY, g_device));
    CUDA_CHECK(cuMemPrefetchAsync(ptr, PAGE_BYTES, g_device, 0, p->stream));
}

static void drop(struct probe *p, CUdeviceptr ptr, enum departure leave)
{
    if (leave == HOST_FIRST)
        to_host(p, ptr);
    CUDA_CHECK(cuStreamSynchronize(p->stream));
    CUDA_CHECK(cuMemAdvise(ptr, PAGE_BYTES, CU_MEM_ADVISE_UNSET_READ_MOSTLY, g_device));
    if (leave == UNSET_FIRST)
        to_host(p, ptr);
    CUDA_CHECK(cuStreamSynchronize(p->stream));
}

static int keeps_writes(struct probe *p, enum arrival how, enum departure leave)
{
    unsigned char *old = probe_host_alloc(PAGE_BYTES);
    uint64_t found = 0;
    CUdeviceptr ptr;

    memset(old, OLD, PAGE_BYTES);
    CUDA_CHECK(cuMemAllocManaged(&ptr, PAGE_BYTES, CU_MEM_ATTACH_GLOBAL));
    CUDA_CHECK(cuMemAdvise(ptr, PAGE_BYTES, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, g_host));
    CUDA_CHECK(cuMemAdvise(ptr, PAGE_BYTES, CU_MEM_ADVISE_SET_ACCESSED_BY, g_device));
    CUDA_CHECK(cuMemcpyHtoD(ptr, old, PAGE_BYTES));
    CUDA_CHECK(cuCtxSynchronize());
    if (how == BY_SECOND_PREFETCH) {
        load(p, ptr, 1);
        drop(p, ptr, leave);
    }
    if (how == BY_FAULTS) {
        CUDA_CHECK(cuMemAdvise(ptr, PAGE_BYTES, CU_MEM_ADVISE_SET_READ_MOSTLY, g_device));
        probe_read(p, ptr, PAGE_BYTES, PK_READ_BYTES, 1);
    } else {
        load(p, ptr, how == BY_PREFETCH_MAPPED_BEFORE);
    }
    probe_write(p, ptr, PAGE_BYTES, PK_READ_BYTES, NEW);
    drop(p, ptr, leave);
    CUDA_CHECK(cuMemcpyDtoH(&found, ptr + PAGE_BYTES / 2, sizeof(found)));
    CUDA_CHECK(cuMemFree(ptr));
    free(old);
    return found == NEW;
}

void probe_duplicate(struct probe *p)
{
    probe_open(p);
    if (!probe_attribute(CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS))
        probe_skip("no concurrent managed access (attribute 89) on this device");
    probe_answer(p, "unmapped_write_is_kept", keeps_writes(p, BY_PREFETCH, UNSET_FIRST));
    probe_answer(p, "mapped_write_is_kept",
                 keeps_writes(p, BY_PREFETCH_MAPPED_BEFORE, UNSET_FIRST));
    probe_answer(p, "faulted_write_is_kept", keeps_writes(p, BY_FAULTS, UNSET_FIRST));
    probe_answer(p, "second_write_is_kept", keeps_writes(p, BY_SECOND_PREFETCH, UNSET_FIRST));
    probe_answer(p, "second_write_host_first_is_kept",
                 keeps_writes(p, BY_SECOND_PREFETCH, HOST_FIRST));
}
