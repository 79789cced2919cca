/* probe_stall.c - does what a thread does to mappings stall the kernels that run meanwhile?
 *
 * A kernel lasts some milliseconds in one stream, timed by events of the device. Beside it nothing
 * is done, or one thing over and over on memory that it does not touch. One kernel computes, the
 * other reads memory all the time, for a change of mappings makes the device look them up anew.
 *
 * Answers: does unmapping, or SetAccess, stall kernels of other streams that run
 * (slowdown); do those calls wait for them (longest_turn against the kernel's own time); the same
 * of the calls that unified memory needs instead (prefetch, advise).
 */
#include "probe.h"

struct bystander {
    CUdeviceptr reserved, mapped, managed;
    CUmemAllocationProp prop;
    CUmemGenericAllocationHandle handle;
    CUmemAccess_flags lesser; /* than reading and writing; READWRITE where no other is taken */
    CUstream stream;
    int turn;
};

struct stall {
    CUfunction work;
    CUdeviceptr memory;
    CUevent start, end;
    struct bystander by;
};

/* A kernel that lasts, longer with more rounds. */
typedef void (*launch_long)(struct probe *p, struct stall *s, uint64_t rounds);

static void launch_compute(struct probe *p, struct stall *s, uint64_t rounds)
{
    unsigned int x = 1;
    void *params[] = {&p->sum, &x, &rounds};

    CUDA_CHECK(cuLaunchKernel(s->work, 1, 1, 1, 1, 1, 1, 0, p->stream, params, NULL));
}

static void launch_memory(struct probe *p, struct stall *s, uint64_t rounds)
{
    probe_read(p, s->memory, p->bytes, 256, (unsigned int)rounds);
}

static CUresult try_allow(CUdeviceptr ptr, CUmemAccess_flags flags)
{
    CUmemAccessDesc access = {probe_device, flags};

    return cuMemSetAccess(ptr, PAGE_BYTES, &access, 1);
}

static void allow(CUdeviceptr ptr, CUmemAccess_flags flags)
{
    CUDA_CHECK(try_allow(ptr, flags));
}

static void do_nothing(struct bystander *b)
{
    (void)b;
}

static void do_map(struct bystander *b)
{
    CUDA_CHECK(cuMemMap(b->reserved, PAGE_BYTES, 0, b->handle, 0));
    allow(b->reserved, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    CUDA_CHECK(cuMemUnmap(b->reserved, PAGE_BYTES));
}

static void do_set_access(struct bystander *b)
{
    allow(b->mapped,
          b->turn++ % 2 ? CU_MEM_ACCESS_FLAGS_PROT_READ : CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
}

static void do_create(struct bystander *b)
{
    CUmemGenericAllocationHandle handle;

    CUDA_CHECK(cuMemCreate(&handle, PAGE_BYTES, &b->prop, 0));
    CUDA_CHECK(cuMemRelease(handle));
}

static void do_prefetch(struct bystander *b)
{
    CUDA_CHECK(cuMemPrefetchAsync(b->managed, PAGE_BYTES,
                                  b->turn++ % 2 ? probe_host_memory : probe_device, 0, b->stream));
    CUDA_CHECK(cuStreamSynchronize(b->stream));
}

static void do_advise(struct bystander *b)
{
    CUDA_CHECK(
        cuMemAdvise(b->managed, PAGE_BYTES,
                    b->turn++ % 2 ? CU_MEM_ADVISE_UNSET_READ_MOSTLY : CU_MEM_ADVISE_SET_READ_MOSTLY,
                    probe_device));
}

enum needs { NEEDS_NOTHING, NEEDS_VMM, NEEDS_MANAGED };

static const struct traffic {
    const char *name;
    void (*once)(struct bystander *b);
    enum needs needs;
} g_traffic[] = {
    {"nothing", do_nothing, NEEDS_NOTHING},   {"map", do_map, NEEDS_VMM},
    {"set_access", do_set_access, NEEDS_VMM}, {"create", do_create, NEEDS_VMM},
    {"prefetch", do_prefetch, NEEDS_MANAGED}, {"advise", do_advise, NEEDS_MANAGED},
};

static int has(enum needs needs)
{
    switch (needs) {
    case NEEDS_VMM:
        return probe_attribute(CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED);
    case NEEDS_MANAGED:
        return probe_attribute(CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS);
    default:
        return 1;
    }
}

/* The kernel's time on the device while once() is done over and over. */
static double time_beside(struct probe *p, struct stall *s, launch_long launch, uint64_t rounds,
                          void (*once)(struct bystander *b), double *longest_ns, double *count)
{
    float milliseconds = 0;
    CUresult state;

    *longest_ns = *count = 0;
    CUDA_CHECK(cuEventRecord(s->start, p->stream));
    launch(p, s, rounds);
    CUDA_CHECK(cuEventRecord(s->end, p->stream));
    while ((state = cuStreamQuery(p->stream)) == CUDA_ERROR_NOT_READY) {
        double begin = probe_now_ns(), took;

        once(&s->by);
        took = probe_now_ns() - begin;
        *longest_ns = took > *longest_ns ? took : *longest_ns;
        *count += 1;
    }
    CUDA_CHECK(state);
    CUDA_CHECK(cuEventElapsedTime(&milliseconds, s->start, s->end));
    return milliseconds * 1e6;
}

/* So many rounds that the kernel lasts p->kernel_ns. A single long one may be the machine's doing.
 */
static uint64_t calibrate(struct probe *p, struct stall *s, launch_long launch)
{
    double shortest = 0, unused;
    uint64_t rounds = 1;

    while (shortest < p->kernel_ns && rounds < (uint64_t)1 << 31) {
        rounds *= 2;
        for (int i = 0; i < 3; i++) {
            double took = time_beside(p, s, launch, rounds, do_nothing, &unused, &unused);

            shortest = i && shortest < took ? shortest : took;
        }
    }
    return rounds;
}

static void show(struct probe *p, struct stall *s, const char *kernel, launch_long launch)
{
    uint64_t rounds = calibrate(p, s, launch);
    double alone = 0;

    for (size_t i = 0; i < sizeof(g_traffic) / sizeof(g_traffic[0]); i++) {
        double took[PROBE_ROUNDS_MAX], longest[PROBE_ROUNDS_MAX], count[PROBE_ROUNDS_MAX], ns;
        char prefix[64];

        if (!has(g_traffic[i].needs))
            continue;
        for (int round = 0; round < p->rounds; round++)
            took[round] = time_beside(p, s, launch, rounds, g_traffic[i].once, &longest[round],
                                      &count[round]);
        ns = probe_median(took, p->rounds);
        alone = i == 0 ? ns : alone;
        snprintf(prefix, sizeof(prefix), "%s_beside_%s", kernel, g_traffic[i].name);
        probe_figure(p, prefix, "ns", ns);
        if (i == 0)
            continue;
        probe_figure(p, prefix, "slowdown", ns / alone);
        probe_figure(p, prefix, "turns", probe_median(count, p->rounds));
        probe_figure(p, prefix, "longest_turn_ns", probe_median(longest, p->rounds));
    }
}

/* What the traffic works on. */
static void open_bystander(struct bystander *b)
{
    CUDA_CHECK(cuStreamCreate(&b->stream, CU_STREAM_NON_BLOCKING));
    if (has(NEEDS_VMM)) {
        CUmemGenericAllocationHandle other;

        b->prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
        b->prop.location = probe_device;
        CUDA_CHECK(cuMemCreate(&b->handle, PAGE_BYTES, &b->prop, 0));
        CUDA_CHECK(cuMemCreate(&other, PAGE_BYTES, &b->prop, 0));
        CUDA_CHECK(cuMemAddressReserve(&b->reserved, 2 * PAGE_BYTES, 0, 0, 0));
        b->mapped = b->reserved + PAGE_BYTES;
        CUDA_CHECK(cuMemMap(b->mapped, PAGE_BYTES, 0, other, 0));
        allow(b->mapped, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
        b->lesser = CU_MEM_ACCESS_FLAGS_PROT_READ;
        if (try_allow(b->mapped, b->lesser) != CUDA_SUCCESS)
            b->lesser = CU_MEM_ACCESS_FLAGS_PROT_NONE;
        if (try_allow(b->mapped, b->lesser) != CUDA_SUCCESS)
            b->lesser = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    }
    if (has(NEEDS_MANAGED)) {
        CUDA_CHECK(cuMemAllocManaged(&b->managed, PAGE_BYTES, CU_MEM_ATTACH_GLOBAL));
        *(volatile char *)(uintptr_t)b->managed = 1;
    }
}

void probe_stall(struct probe *p)
{
    struct stall s = {0};

    probe_open(p);
    CUDA_CHECK(cuModuleGetFunction(&s.work, p->test_module, "tk_work"));
    CUDA_CHECK(cuMemAlloc(&s.memory, p->bytes));
    CUDA_CHECK(cuMemsetD8(s.memory, 1, p->bytes));
    CUDA_CHECK(cuCtxSynchronize());
    CUDA_CHECK(cuEventCreate(&s.start, CU_EVENT_DEFAULT));
    CUDA_CHECK(cuEventCreate(&s.end, CU_EVENT_DEFAULT));
    open_bystander(&s.by);
    show(p, &s, "compute", launch_compute);
    show(p, &s, "memory", launch_memory);
}
