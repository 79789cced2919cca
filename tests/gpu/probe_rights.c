/* probe_rights.c - are the rights of a mapping honoured on the device?
 *
 * Each case runs in a child of its own, for an illegal access breaks all of a process's work on the
 * device for good. The parent forks them before it makes its first driver call.
 *
 * Answers: are read-only mappings honoured on the device (a write gives 700, and that
 * is sticky); is a mapping without SetAccess out of reach.
 */
#include "probe.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define NO_ACCESS ((CUmemAccess_flags)-1) /* SetAccess is not called at all */

enum act { ACT_READ, ACT_WRITE };

/* What a child found; errors of the driver. */
struct found {
    int is_supported;
    CUresult set_access;
    CUresult work;       /* of the wait for it */
    CUresult afterwards; /* of a call that has nothing to do with it */
};

static struct found try(struct probe *p, CUmemAccess_flags flags, enum act act)
{
    CUmemAccessDesc access = {{CU_MEM_LOCATION_TYPE_DEVICE, 0}, flags};
    CUmemAllocationProp prop = {0};
    CUmemGenericAllocationHandle handle;
    struct found found = {0};
    CUdeviceptr ptr, other;

    probe_open(p);
    if (!probe_attribute(CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED))
        return found;
    found.is_supported = 1;
    prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    CUDA_CHECK(cuMemAddressReserve(&ptr, PAGE_BYTES, 0, 0, 0));
    CUDA_CHECK(cuMemCreate(&handle, PAGE_BYTES, &prop, 0));
    CUDA_CHECK(cuMemMap(ptr, PAGE_BYTES, 0, handle, 0));
    if (flags != NO_ACCESS)
        found.set_access = cuMemSetAccess(ptr, PAGE_BYTES, &access, 1);
    if (found.set_access != CUDA_SUCCESS)
        return found;
    if (act == ACT_READ)
        probe_read(p, ptr, PAGE_BYTES, PK_READ_BYTES, 1);
    else
        probe_write(p, ptr, PAGE_BYTES, PK_READ_BYTES, 1);
    found.work = cuStreamSynchronize(p->stream);
    found.afterwards = cuMemAlloc(&other, PAGE_BYTES);
    return found;
}

static struct found try_in_child(struct probe *p, CUmemAccess_flags flags, enum act act)
{
    struct found found;
    int ends[2], status = 0;
    ssize_t got;
    pid_t child;

    if (pipe(ends) || (child = fork()) < 0)
        probe_fail("no child process");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        found = try(p, flags, act);
        _exit(write(ends[1], &found, sizeof(found)) != sizeof(found));
    }
    close(ends[1]);
    got = read(ends[0], &found, sizeof(found));
    close(ends[0]);
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        probe_skip("no GPU");
    if (got != sizeof(found))
        probe_fail("a child died");
    return found;
}

static void show(struct probe *p, const char *name, const struct found *found)
{
    probe_figure(p, name, "set_access_error", found->set_access);
    probe_figure(p, name, "error", found->work);
    probe_figure(p, name, "error_afterwards", found->afterwards);
}

void probe_rights(struct probe *p)
{
    struct found reads = try_in_child(p, CU_MEM_ACCESS_FLAGS_PROT_READ, ACT_READ);
    struct found writes = try_in_child(p, CU_MEM_ACCESS_FLAGS_PROT_READ, ACT_WRITE);
    struct found control = try_in_child(p, CU_MEM_ACCESS_FLAGS_PROT_READWRITE, ACT_WRITE);
    struct found none = try_in_child(p, NO_ACCESS, ACT_READ);

    probe_open(p);
    if (!control.is_supported)
        probe_skip("no virtual memory management (attribute 102) on this device");
    if (control.set_access || control.work || control.afterwards)
        probe_fail("a write to memory that may be written failed");
    show(p, "read_of_read_only", &reads);
    show(p, "write_to_read_only", &writes);
    show(p, "read_without_access", &none);
    probe_answer(p, "read_only_is_honoured",
                 !writes.set_access && writes.work == CUDA_ERROR_ILLEGAL_ADDRESS);
    probe_answer(p, "read_only_can_be_read", !reads.set_access && !reads.work);
    probe_answer(p, "illegal_access_is_sticky", none.work && none.work == none.afterwards);
}
