/* probe.c - measures what the design rests on, on a real GPU: the link, prefetch and drop for each
 * 2 MiB, the cost of a launch.
 *
 *     probe [MIB]     prints one JSON object; MIB of managed memory are used (256)
 *
 * Never more managed memory than half of what is free: a program that takes more can hang the card.
 * Every figure is the median of several rounds, the first round left out. Exit 77 and a reason
 * where there is no GPU.
 */
#include "tests/apps/cuda_api.h"
#include "tests/apps/kernels/test_kernels.h"

#include <stdint.h>
#include <string.h>
#include <time.h>

#define MIB        ((size_t)1 << 20)
#define PAGE_BYTES (2 * MIB)
#define ROUNDS     9
#define LAUNCHES   2000

struct bench {
    CUstream stream;
    CUfunction touch;
    CUdeviceptr managed;
    CUdeviceptr device;
    CUdeviceptr out;
    void *pinned;
    void *pageable;
    size_t bytes;
};

static const CUmemLocation g_device = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
static const CUmemLocation g_host = {CU_MEM_LOCATION_TYPE_HOST, 0};

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), compare);
    return values[count / 2];
}

static void wait_idle(struct bench *b)
{
    CUDA_CHECK(cuStreamSynchronize(b->stream));
}

static void h2d_pinned(struct bench *b)
{
    CUDA_CHECK(cuMemcpyHtoDAsync(b->device, b->pinned, b->bytes, b->stream));
}

static void d2h_pinned(struct bench *b)
{
    CUDA_CHECK(cuMemcpyDtoHAsync(b->pinned, b->device, b->bytes, b->stream));
}

static void h2d_pageable(struct bench *b)
{
    CUDA_CHECK(cuMemcpyHtoDAsync(b->device, b->pageable, b->bytes, b->stream));
}

static void d2h_pageable(struct bench *b)
{
    CUDA_CHECK(cuMemcpyDtoHAsync(b->pageable, b->device, b->bytes, b->stream));
}

static void prefetch(struct bench *b)
{
    CUDA_CHECK(cuMemPrefetchAsync(b->managed, b->bytes, g_device, 0, b->stream));
}

static void drop(struct bench *b)
{
    CUDA_CHECK(cuMemAdvise(b->managed, b->bytes, CU_MEM_ADVISE_UNSET_READ_MOSTLY, g_device));
    CUDA_CHECK(cuMemAdvise(b->managed, b->bytes, CU_MEM_ADVISE_SET_READ_MOSTLY, g_device));
}

static void touch(struct bench *b)
{
    uint64_t bytes = b->bytes, stride = 4096;
    void *params[] = {&b->managed, &bytes, &stride, &b->out};

    CUDA_CHECK(cuLaunchKernel(b->touch, 1, 1, 1, 1024, 1, 1, 0, b->stream, params, NULL));
}

static void nothing(struct bench *b)
{
    (void)b;
}

/* Nanoseconds from before work to the end of its stream; before runs untimed in front of it.
 * call_ns receives how long the calls alone took. */
static double timed(struct bench *b, void (*before)(struct bench *), void (*work)(struct bench *),
                    double *call_ns)
{
    double whole[ROUNDS], calls[ROUNDS];

    for (int i = -1; i < ROUNDS; i++) {
        double start, called;

        before(b);
        wait_idle(b);
        start = now_ns();
        work(b);
        called = now_ns();
        wait_idle(b);
        if (i >= 0) {
            whole[i] = now_ns() - start;
            calls[i] = called - start;
        }
    }
    if (call_ns)
        *call_ns = median(calls, ROUNDS);
    return median(whole, ROUNDS);
}

static double launch_ns(struct bench *b, double *whole_ns)
{
    uint64_t bytes = 4, stride = 4;
    void *params[] = {&b->device, &bytes, &stride, &b->out};
    double calls[ROUNDS], whole[ROUNDS];

    for (int i = -1; i < ROUNDS; i++) {
        double start = now_ns(), called;

        for (int k = 0; k < LAUNCHES; k++)
            CUDA_CHECK(cuLaunchKernel(b->touch, 1, 1, 1, 32, 1, 1, 0, b->stream, params, NULL));
        called = now_ns();
        wait_idle(b);
        if (i >= 0) {
            calls[i] = (called - start) / LAUNCHES;
            whole[i] = (now_ns() - start) / LAUNCHES;
        }
    }
    *whole_ns = median(whole, ROUNDS);
    return median(calls, ROUNDS);
}

static void open_bench(struct bench *b, size_t wanted)
{
    CUmodule module;
    CUcontext context;
    size_t free_bytes = 0, total = 0;
    int managed = 0;

    if (cuInit(0) != CUDA_SUCCESS) {
        printf("no GPU: cuInit failed\n");
        exit(77);
    }
    CUDA_CHECK(cuDeviceGetAttribute(&managed, CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS, 0));
    if (!managed) {
        printf("no concurrent managed access (attribute 89) on this device\n");
        exit(77);
    }
    CUDA_CHECK(cuCtxCreate(&context, NULL, 0, 0));
    CUDA_CHECK(cuMemGetInfo(&free_bytes, &total));
    /* The plain buffer and the managed one are of a size: a quarter of what is free each. */
    b->bytes = wanted < free_bytes / 4 ? wanted : free_bytes / 4;
    b->bytes = b->bytes / PAGE_BYTES * PAGE_BYTES;
    CUDA_CHECK(cuModuleLoadData(&module, ptx_test_kernels));
    CUDA_CHECK(cuModuleGetFunction(&b->touch, module, "tk_touch"));
    CUDA_CHECK(cuStreamCreate(&b->stream, CU_STREAM_NON_BLOCKING));
    CUDA_CHECK(cuMemAlloc(&b->device, b->bytes));
    CUDA_CHECK(cuMemAlloc(&b->out, 8));
    CUDA_CHECK(cuMemAllocHost(&b->pinned, b->bytes));
    b->pageable = malloc(b->bytes);
    if (!b->pageable) {
        fprintf(stderr, "probe: no memory for %zu bytes\n", b->bytes);
        exit(1);
    }
    memset(b->pageable, 1, b->bytes);
    memset(b->pinned, 1, b->bytes);
    CUDA_CHECK(cuMemsetD8(b->device, 0, b->bytes));
    CUDA_CHECK(cuMemAllocManaged(&b->managed, b->bytes, CU_MEM_ATTACH_GLOBAL));
    memset((void *)(uintptr_t)b->managed, 2, b->bytes);
    CUDA_CHECK(cuMemAdvise(b->managed, b->bytes, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, g_host));
    CUDA_CHECK(cuMemAdvise(b->managed, b->bytes, CU_MEM_ADVISE_SET_READ_MOSTLY, g_device));
}

int main(int argc, char **argv)
{
    struct bench b;
    double pages, ns, call_ns, whole_ns;
    char name[128] = "";
    int version = 0;

    open_bench(&b, (argc > 1 ? (size_t)atol(argv[1]) : 256) * MIB);
    pages = (double)(b.bytes / PAGE_BYTES);
    CUDA_CHECK(cuDeviceGetName(name, sizeof(name), 0));
    CUDA_CHECK(cuDriverGetVersion(&version));
    printf("{\"device\": \"%s\", \"driver\": %d, \"bytes\": %zu, \"rounds\": %d", name, version,
           b.bytes, ROUNDS);
    printf(",\n \"h2d_pinned_GB_per_s\": %.3f",
           (double)b.bytes / timed(&b, nothing, h2d_pinned, NULL));
    printf(",\n \"d2h_pinned_GB_per_s\": %.3f",
           (double)b.bytes / timed(&b, nothing, d2h_pinned, NULL));
    printf(",\n \"h2d_pageable_GB_per_s\": %.3f",
           (double)b.bytes / timed(&b, nothing, h2d_pageable, NULL));
    printf(",\n \"d2h_pageable_GB_per_s\": %.3f",
           (double)b.bytes / timed(&b, nothing, d2h_pageable, NULL));
    ns = timed(&b, drop, prefetch, &call_ns);
    printf(",\n \"prefetch_GB_per_s\": %.3f, \"prefetch_ns_per_2MiB\": %.0f, "
           "\"prefetch_call_ns_per_2MiB\": %.0f",
           (double)b.bytes / ns, ns / pages, call_ns / pages);
    timed(&b, prefetch, drop, &call_ns);
    printf(",\n \"drop_ns_per_2MiB\": %.0f", call_ns / pages);
    printf(",\n \"touch_resident_ns_per_2MiB\": %.0f", timed(&b, prefetch, touch, NULL) / pages);
    printf(",\n \"touch_faulting_ns_per_2MiB\": %.0f", timed(&b, drop, touch, NULL) / pages);
    call_ns = launch_ns(&b, &whole_ns);
    printf(",\n \"launch_call_ns\": %.0f, \"launch_whole_ns\": %.0f}\n", call_ns, whole_ns);
    return 0;
}
