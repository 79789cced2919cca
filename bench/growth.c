/* growth.c - the same work beside more and more parameters, or more and more ranges.
 *
 *     growth [--file PATH --params N] [--ranges N] [--steps N]
 *
 * A step is a launch on each of 64 tensors of 1 MiB. Beside them lie the parameters of a
 * safetensors file, 1 KiB each, in one allocation, uploaded one by one from the mapped file; or
 * empty allocations of 16 MiB. Prints one line of JSON: processor time of the launching thread for
 * a launch, of the whole process for a step, for the upload of a parameter, and for a launch in one
 * pass over all parameters; the heap with the
 * 64 tensors alone, and what it grew by with the rest. It knows
 * nothing of Berth.
 */
#include "tests/apps/cuda_api.h"
#include "tests/apps/kernels/bench_kernels.h"
#include <fcntl.h>
#include <malloc.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ACTIVE       64
#define ACTIVE_BYTES ((uint64_t)1 << 20)
#define PARAM_BYTES  ((uint64_t)1 << 10)
#define RANGE_BYTES  ((uint64_t)16 << 20)
#define STEPS_BEFORE 12

struct growth {
    CUfunction matrix;
    CUstream stream;
    CUdeviceptr active[ACTIVE], work, params;
    uint64_t param_count;
};

static uint64_t cpu_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint64_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static const char *option(int argc, char **argv, const char *name, const char *fallback)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return fallback;
}

/* The kernel reads the first sixteen bytes; what pages sees the pointer. */
static void launch(struct growth *g, CUdeviceptr weight)
{
    CUdeviceptr out = g->work + BK_THREADS * sizeof(uint64_t);
    uint64_t bytes = 16, stride = 16;

    CUDA_CHECK(cuLaunchKernel(g->matrix, 1, 1, 1, BK_THREADS, 1, 1, 0, g->stream,
                              (void *[]){&weight, &bytes, &stride, &g->work, &out}, NULL));
}

/* One step. returns processor time of this thread, of the launches alone */
static uint64_t step(struct growth *g)
{
    uint64_t start = cpu_ns(CLOCK_THREAD_CPUTIME_ID), spent;

    for (int i = 0; i < ACTIVE; i++)
        launch(g, g->active[i]);
    spent = cpu_ns(CLOCK_THREAD_CPUTIME_ID) - start;
    CUDA_CHECK(cuStreamSynchronize(g->stream));
    return spent;
}

static void prepare(struct growth *g)
{
    void *bytes = calloc(1, ACTIVE_BYTES);
    CUcontext context;
    CUmodule module;

    if (!bytes)
        exit(1);
    CUDA_CHECK(cuInit(0));
    CUDA_CHECK(cuCtxCreate(&context, NULL, 0, 0));
    CUDA_CHECK(cuModuleLoadData(&module, ptx_bench_kernels));
    CUDA_CHECK(cuModuleGetFunction(&g->matrix, module, "bk_matrix"));
    CUDA_CHECK(cuStreamCreate(&g->stream, CU_STREAM_NON_BLOCKING));
    CUDA_CHECK(cuMemAlloc(&g->work, 2 * BK_THREADS * sizeof(uint64_t)));
    CUDA_CHECK(cuMemsetD8(g->work, 0, 2 * BK_THREADS * sizeof(uint64_t)));
    for (int i = 0; i < ACTIVE; i++) {
        CUDA_CHECK(cuMemAlloc(&g->active[i], ACTIVE_BYTES));
        CUDA_CHECK(cuMemcpyHtoD(g->active[i], bytes, ACTIVE_BYTES));
    }
    CUDA_CHECK(cuCtxSynchronize());
    free(bytes);
}

/* The parameters stand one behind the other at the end of the file. returns processor time */
static uint64_t upload(struct growth *g, const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    const char *bytes;
    uint64_t start;

    if (file < 0 || fstat(file, &stat) != 0) {
        fprintf(stderr, "growth: %s: %m\n", path);
        exit(1);
    }
    bytes = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (bytes == MAP_FAILED) {
        fprintf(stderr, "growth: %s: %m\n", path);
        exit(1);
    }
    bytes += (uint64_t)stat.st_size - g->param_count * PARAM_BYTES;
    CUDA_CHECK(cuMemAlloc(&g->params, g->param_count * PARAM_BYTES));
    start = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
    for (uint64_t i = 0; i < g->param_count; i++)
        CUDA_CHECK(cuMemcpyHtoD(g->params + i * PARAM_BYTES, bytes + i * PARAM_BYTES, PARAM_BYTES));
    CUDA_CHECK(cuCtxSynchronize());
    return cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - start;
}

static uint64_t sweep(struct growth *g)
{
    uint64_t start, spent = 0;

    for (uint64_t i = 0; i < g->param_count; i++) {
        start = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
        launch(g, g->params + i * PARAM_BYTES);
        spent += cpu_ns(CLOCK_THREAD_CPUTIME_ID) - start;
        if (i % 256 == 255)
            CUDA_CHECK(cuStreamSynchronize(g->stream));
    }
    CUDA_CHECK(cuStreamSynchronize(g->stream));
    return spent;
}

int main(int argc, char **argv)
{
    static struct growth g;
    uint64_t ranges = strtoull(option(argc, argv, "--ranges", "0"), NULL, 10);
    uint64_t steps = strtoull(option(argc, argv, "--steps", "300"), NULL, 10);
    uint64_t upload_ns = 0, launch_ns = UINT64_MAX, process_ns, heap, heap_loaded;
    CUdeviceptr range;

    g.param_count = strtoull(option(argc, argv, "--params", "0"), NULL, 10);
    prepare(&g);
    heap = heap_bytes();
    if (g.param_count)
        upload_ns = upload(&g, option(argc, argv, "--file", ""));
    for (uint64_t i = 0; i < ranges; i++)
        CUDA_CHECK(cuMemAlloc(&range, RANGE_BYTES));
    heap_loaded = heap_bytes();
    for (int i = 0; i < STEPS_BEFORE; i++)
        step(&g);
    process_ns = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
    for (uint64_t i = 0; i < steps; i++) {
        uint64_t ns = step(&g) / ACTIVE;

        launch_ns = ns < launch_ns ? ns : launch_ns;
    }
    process_ns = cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - process_ns;
    printf("{\"params\": %llu, \"ranges\": %llu, \"launch_ns\": %llu, \"step_us\": %.1f, "
           "\"upload_ns\": %.0f, \"heap_loaded_bytes\": %lld, \"heap_prepared_bytes\": %llu, ",
           (unsigned long long)g.param_count, (unsigned long long)ranges,
           (unsigned long long)launch_ns, (double)process_ns / 1e3 / (double)steps,
           g.param_count ? (double)upload_ns / (double)g.param_count : 0,
           (long long)(heap_loaded - heap), (unsigned long long)heap);
    printf("\"sweep_ns\": %.0f}\n", g.param_count ? (double)sweep(&g) / (double)g.param_count : 0);
    return 0;
}
