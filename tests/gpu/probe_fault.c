/* probe_fault.c - managed memory that a kernel touches where it is not.
 *
 * Without advice a touch faults the page in; with ACCESSED_BY and the CPU as preferred location the
 * device reads it over the link, and it stays there. Of 2 MiB, 4 KiB each or one word are touched;
 * one thread alone waits for each fault in turn.
 *
 * Answers: what a fault costs beside a prefetch; whether what has a mapping for the
 * device is read in place, time and again (in_place_again as slow as in_place), and how fast.
 */
#include "probe.h"

struct managed {
    CUdeviceptr ptr;
    CUfunction touch;
};

static void to_host(struct probe *p, void *state)
{
    struct managed *m = state;

    CUDA_CHECK(cuMemPrefetchAsync(m->ptr, p->bytes, probe_host_memory, 0, p->stream));
}

static void to_device(struct probe *p, void *state)
{
    struct managed *m = state;

    CUDA_CHECK(cuMemPrefetchAsync(m->ptr, p->bytes, probe_device, 0, p->stream));
}

static void touch_sparse(struct probe *p, void *state)
{
    struct managed *m = state;
    uint64_t bytes = p->bytes, stride = PAGE_BYTES;
    void *params[] = {&m->ptr, &bytes, &stride, &p->sum};

    CUDA_CHECK(cuLaunchKernel(m->touch, 1, 1, 1, 1, 1, 1, 0, p->stream, params, NULL));
}

static void touch_all(struct probe *p, void *state)
{
    struct managed *m = state;

    probe_read(p, m->ptr, p->bytes, 4096, 1);
}

static void read_all(struct probe *p, void *state)
{
    struct managed *m = state;

    probe_read(p, m->ptr, p->bytes, PK_READ_BYTES, 1);
}

static void write_all(struct probe *p, void *state)
{
    struct managed *m = state;

    probe_write(p, m->ptr, p->bytes, PK_READ_BYTES, 5);
}

static void show(struct probe *p, struct managed *m, const char *name, probe_work before,
                 probe_work work)
{
    probe_figure(p, name, "ns_per_2MiB",
                 probe_measure(p, before, work, m).whole_ns / (double)(p->bytes / PAGE_BYTES));
}

static double speed(struct probe *p, struct managed *m, probe_work before, probe_work work)
{
    return (double)p->bytes / probe_measure(p, before, work, m).whole_ns;
}

void probe_fault(struct probe *p)
{
    struct managed m = {0};

    probe_open(p);
    if (!probe_attribute(CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS))
        probe_skip("no concurrent managed access (attribute 89) on this device");
    CUDA_CHECK(cuModuleGetFunction(&m.touch, p->test_module, "tk_touch"));
    CUDA_CHECK(cuMemAllocManaged(&m.ptr, p->bytes, CU_MEM_ATTACH_GLOBAL));
    for (size_t at = 0; at < p->bytes; at += 4096)
        *(volatile char *)(uintptr_t)(m.ptr + at) = 2;
    show(p, &m, "one_word_there", to_device, touch_sparse);
    show(p, &m, "one_word_faults", to_host, touch_sparse);
    show(p, &m, "every_4KiB_there", to_device, touch_all);
    show(p, &m, "every_4KiB_faults", to_host, touch_all);
    probe_number(p, "read_there_GB_per_s", speed(p, &m, to_device, read_all));
    probe_number(p, "read_faulting_GB_per_s", speed(p, &m, to_host, read_all));
    CUDA_CHECK(
        cuMemAdvise(m.ptr, p->bytes, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, probe_host_memory));
    CUDA_CHECK(cuMemAdvise(m.ptr, p->bytes, CU_MEM_ADVISE_SET_ACCESSED_BY, probe_device));
    show(p, &m, "one_word_in_place", to_host, touch_sparse);
    probe_number(p, "read_in_place_GB_per_s", speed(p, &m, to_host, read_all));
    probe_number(p, "read_in_place_again_GB_per_s", speed(p, &m, NULL, read_all));
    probe_number(p, "write_in_place_GB_per_s", speed(p, &m, to_host, write_all));
}
