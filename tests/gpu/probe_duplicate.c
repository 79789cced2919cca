/* probe_duplicate.c - whether a kernel's write to a duplicate is kept when the duplicate is
 * dropped.
 *
 * A copy engine fills managed memory that rests on the host, so no thread of the host has mapped
 * it; READ_MOSTLY takes the device's own mapping away. Where a prefetch then lets the device write
 * the duplicate without a fault, the host's copy stays as it was, and unsetting READ_MOSTLY leaves
 * that one. A prefetch to the host before the load maps the pages there, and one before the drop
 * leaves them so: later loads need none. What else may come between is tried here in turn.
 */
#include "probe.h"

#include <string.h>

#define HELD_ROUNDS 64 /* of a read of PAGE_BYTES, that holds the stream up */

struct page {
    CUdeviceptr ptr;
    CUdeviceptr other;   /* memory of the device's own, to read */
    unsigned char *host; /* to upload from */
    uint64_t value;      /* what every eight bytes of it are, or were meant to be */
};

static void prefetch(struct probe *p, const struct page *page, CUmemLocation where)
{
    CUDA_CHECK(cuMemPrefetchAsync(page->ptr, PAGE_BYTES, where, 0, p->stream));
}

static void advise(const struct page *page, CUmem_advise advice)
{
    CUDA_CHECK(cuMemAdvise(page->ptr, PAGE_BYTES, advice, probe_device));
}

static void wait(struct probe *p)
{
    CUDA_CHECK(cuStreamSynchronize(p->stream));
}

static void upload(struct page *page)
{
    page->value++;
    for (size_t at = 0; at < PAGE_BYTES; at += sizeof(page->value))
        memcpy(page->host + at, &page->value, sizeof(page->value));
    CUDA_CHECK(cuMemcpyHtoD(page->ptr, page->host, PAGE_BYTES));
    CUDA_CHECK(cuCtxSynchronize());
}

/* One step of a sequence. */
static void take_step(struct probe *p, struct page *page, char step)
{
    switch (step) {
    case 'u': /* upload, with a copy engine */
        upload(page);
        break;
    case 'm': /* map on the host, then load a duplicate */
        prefetch(p, page, probe_host_memory);
        /* fall through */
    case 'l': /* load a duplicate */
        advise(page, CU_MEM_ADVISE_SET_READ_MOSTLY);
        prefetch(p, page, probe_device);
        break;
    case 'f': /* let a kernel's faults bring in a duplicate */
        advise(page, CU_MEM_ADVISE_SET_READ_MOSTLY);
        probe_read(p, page->ptr, PAGE_BYTES, PK_READ_BYTES, 1);
        break;
    case 'w': /* write, whatever is there: the duplicate, or in place */
        probe_write(p, page->ptr, PAGE_BYTES, PK_READ_BYTES, ++page->value);
        wait(p);
        break;
    case 'd': /* drop: unset, then prefetch */
        advise(page, CU_MEM_ADVISE_UNSET_READ_MOSTLY);
        prefetch(p, page, probe_host_memory);
        wait(p);
        break;
    case 'h': /* drop: prefetch, then unset */
        prefetch(p, page, probe_host_memory);
        advise(page, CU_MEM_ADVISE_UNSET_READ_MOSTLY);
        break;
    case 'q': /* the same while the stream is busy, so that the prefetch comes last */
        probe_read(p, page->other, PAGE_BYTES, PK_READ_BYTES, HELD_ROUNDS);
        take_step(p, page, 'h');
        break;
    case 'v': /* load by moving the only copy */
        prefetch(p, page, probe_device);
        break;
    case 'k': /* copy that back */
        prefetch(p, page, probe_host_memory);
        wait(p);
        break;
    default:
        probe_fail("a step that is none");
    }
}

/* Is the memory at the end what it was last meant to be? It is uploaded before the sequence. */
static int keeps(struct probe *p, const char *sequence)
{
    struct page page = {.host = probe_host_alloc(PAGE_BYTES)};
    uint64_t found = 0;

    CUDA_CHECK(cuMemAlloc(&page.other, PAGE_BYTES));
    CUDA_CHECK(cuMemAllocManaged(&page.ptr, PAGE_BYTES, CU_MEM_ATTACH_GLOBAL));
    CUDA_CHECK(
        cuMemAdvise(page.ptr, PAGE_BYTES, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, probe_host_memory));
    CUDA_CHECK(cuMemAdvise(page.ptr, PAGE_BYTES, CU_MEM_ADVISE_SET_ACCESSED_BY, probe_device));
    upload(&page);
    for (const char *step = sequence; *step; step++)
        take_step(p, &page, *step);
    wait(p);
    CUDA_CHECK(cuMemcpyDtoH(&found, page.ptr + PAGE_BYTES / 2, sizeof(found)));
    CUDA_CHECK(cuMemFree(page.ptr));
    CUDA_CHECK(cuMemFree(page.other));
    free(page.host);
    return found == page.value;
}

void probe_duplicate(struct probe *p)
{
    static const struct {
        const char *answer, *sequence;
    } asked[] = {
        {"unmapped_write_is_kept", "lwd"},
        {"mapped_write_is_kept", "mwd"},
        {"faulted_write_is_kept", "fwd"},
        {"second_write_is_kept", "mdlwd"},
        {"second_write_host_first_is_kept", "mhlwh"},
        {"third_write_is_kept", "mhlwhlwh"},
        {"write_after_upload_is_kept", "mhulwh"},
        {"write_after_write_in_place_is_kept", "mhwlwh"},
        {"write_after_move_is_kept", "vklwh"},
        {"write_behind_late_drop_is_kept", "mqlwh"},
        {"write_before_late_drop_is_kept", "mwqlh"},
    };

    probe_open(p);
    if (!probe_attribute(CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS))
        probe_skip("no concurrent managed access (attribute 89) on this device");
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++)
        probe_answer(p, asked[i].answer, keeps(p, asked[i].sequence));
}
