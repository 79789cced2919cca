/* The simulated driver in paced mode: copies, prefetches and kernels take their time.
 *
 * Strategy: the library is opened as a program would open it. Work is queued behind a host function
 * that waits until all of it is there, so that its starts follow from each other and not from when
 * the host made its calls; then what events say has passed in simulated time is exact, however slow
 * the machine is.
 */
#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/apps/cuda_api.h"

#define MIB        ((uint64_t)1 << 20)
#define BLOCK      (2 * MIB)
#define GRANULE    ((uint64_t)64 << 10)
#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)
#define CALL(name) ((__typeof__(&name))entry(TEXT(name)))
#define OK(call)   assert_int_equal(call, CUDA_SUCCESS)

/* One byte takes a nanosecond to the device, two from it, a quarter in its memory, and three with
 * pageable memory, rounded up. */
#define COPY_NS   1000u
#define LAUNCH_NS 5000u
#define TURN_NS   11000u /* a prefetch's own work in its stream's turn, */
#define MOVE_NS   7000u  /* and for each block */
#define FAULT_NS  40000u

/* Thread i reads the word at p + i * stride. */
static const char MODULE[] = ".version 7.0\n"
                             ".target sm_70\n"
                             ".address_size 64\n"
                             ".visible .entry touch(.param .u64 p, .param .u32 stride)\n"
                             "{\n"
                             "    .reg .b32 %r<4>;\n"
                             "    .reg .b64 %d<4>;\n"
                             "    ld.param.u64 %d1, [p];\n"
                             "    ld.param.u32 %r1, [stride];\n"
                             "    mov.u32 %r2, %tid.x;\n"
                             "    mul.wide.u32 %d2, %r2, %r1;\n"
                             "    add.u64 %d3, %d1, %d2;\n"
                             "    ld.global.u32 %r3, [%d3];\n"
                             "    ret;\n"
                             "}\n";

static void *g_library;
static CUfunction g_touch;
static CUdeviceptr g_device; /* 4 MiB */
static void *g_pinned;       /* 4 MiB */

static void *entry(const char *name)
{
    void *function = dlsym(g_library, name);

    if (!function)
        fail_msg("%s is not exported", name);
    return function;
}

/* The gate: streams and events behind it, in order of their making. */
static struct {
    sem_t open;
    CUstream stream;
    CUevent opened;
} g_gate;

static void wait_at_gate(void *arg)
{
    (void)arg;
    sem_wait(&g_gate.open);
}

static CUevent record(CUstream stream)
{
    CUevent event;

    OK(CALL(cuEventCreate)(&event, CU_EVENT_DEFAULT));
    OK(CALL(cuEventRecord)(event, stream));
    return event;
}

static void close_gate(void)
{
    OK(CALL(cuStreamCreate)(&g_gate.stream, CU_STREAM_NON_BLOCKING));
    OK(CALL(cuLaunchHostFunc)(g_gate.stream, wait_at_gate, NULL));
    g_gate.opened = record(g_gate.stream);
}

static CUstream gated_stream(void)
{
    CUstream stream;

    OK(CALL(cuStreamCreate)(&stream, CU_STREAM_NON_BLOCKING));
    OK(CALL(cuStreamWaitEvent)(stream, g_gate.opened, 0));
    return stream;
}

static void open_gate(void)
{
    sem_post(&g_gate.open);
    OK(CALL(cuCtxSynchronize)());
}

static void assert_passed(CUevent from, CUevent to, uint64_t ns)
{
    float milliseconds;

    OK(CALL(cuEventElapsedTime)(&milliseconds, from, to));
    assert_true(milliseconds == (float)((double)ns / 1e6));
}

static void touch(CUstream stream, CUdeviceptr p, uint32_t stride, unsigned threads)
{
    void *params[] = {&p, &stride};

    OK(CALL(cuLaunchKernel)(g_touch, 1, 1, 1, threads, 1, 1, 0, stream, params, NULL));
}

/* Copies --------------------------------------------------------------------------------------- */

static void test_a_copy_takes_latency_and_bytes(void **state)
{
    CUevent a, b, c;
    CUstream stream;

    (void)state;
    close_gate();
    stream = gated_stream();
    OK(CALL(cuMemcpyHtoDAsync)(g_device, g_pinned, MIB + 1, stream));
    a = record(stream);
    OK(CALL(cuMemcpyDtoHAsync)(g_pinned, g_device, MIB, stream));
    b = record(stream);
    OK(CALL(cuMemcpyDtoDAsync)(g_device, g_device + 2 * MIB, MIB, stream));
    c = record(stream);
    open_gate();
    assert_passed(g_gate.opened, a, COPY_NS + MIB + 1);
    assert_passed(a, b, COPY_NS + 2 * MIB);
    assert_passed(b, c, COPY_NS + MIB / 2);
}

static void test_both_directions_and_kernels_overlap(void **state)
{
    CUstream up, down, kernel;
    CUevent a, b, c;

    (void)state;
    close_gate();
    up = gated_stream();
    down = gated_stream();
    kernel = gated_stream();
    OK(CALL(cuMemcpyHtoDAsync)(g_device, g_pinned, MIB, up));
    a = record(up);
    OK(CALL(cuMemcpyDtoHAsync)((char *)g_pinned + 2 * MIB, g_device + 2 * MIB, MIB, down));
    b = record(down);
    touch(kernel, g_device, 4, 1);
    c = record(kernel);
    open_gate();
    assert_passed(g_gate.opened, a, COPY_NS + MIB);
    assert_passed(g_gate.opened, b, COPY_NS + 2 * MIB);
    assert_passed(g_gate.opened, c, LAUNCH_NS + GRANULE / 4);
}

static void test_copies_of_one_direction_queue_up(void **state)
{
    CUstream one, other, last;
    CUevent a, b, c;

    (void)state;
    close_gate();
    one = gated_stream();
    other = gated_stream();
    last = gated_stream();
    OK(CALL(cuMemcpyHtoDAsync)(g_device, g_pinned, MIB, one));
    a = record(one);
    OK(CALL(cuMemcpyHtoDAsync)(g_device + 2 * MIB, g_pinned, MIB, other));
    b = record(other);
    OK(CALL(cuStreamWaitEvent)(last, a, 0));
    OK(CALL(cuStreamWaitEvent)(last, b, 0));
    c = record(last);
    open_gate();
    assert_passed(g_gate.opened, c, 2 * (COPY_NS + MIB));
}

static void test_pageable_memory_is_slower(void **state)
{
    void *pageable = malloc(MIB);
    CUevent a, b;
    CUstream stream;

    (void)state;
    assert_non_null(pageable);
    memset(pageable, 1, MIB);
    OK(CALL(cuStreamCreate)(&stream, CU_STREAM_NON_BLOCKING));
    a = record(stream);
    OK(CALL(cuMemcpyDtoHAsync)(pageable, g_device, MIB, stream));
    b = record(stream);
    OK(CALL(cuStreamSynchronize)(stream));
    {
        float milliseconds;

        /* It waits for the host, whose calls take what they take: this is the least. */
        OK(CALL(cuEventElapsedTime)(&milliseconds, a, b));
        assert_true(milliseconds >= (float)((double)(COPY_NS + 3 * MIB) / 1e6));
    }
    free(pageable);
}

/* Kernels -------------------------------------------------------------------------------------- */

static void test_a_kernel_takes_launch_and_memory(void **state)
{
    CUevent a, b, c;
    CUstream stream, other;

    (void)state;
    close_gate();
    stream = gated_stream();
    other = gated_stream();
    touch(stream, g_device, (uint32_t)GRANULE, 32);
    a = record(stream);
    touch(stream, g_device, 4, 256); /* all in one granule */
    b = record(stream);
    OK(CALL(cuStreamWaitEvent)(other, b, 0));
    touch(other, g_device, 4, 256);
    c = record(other);
    open_gate();
    assert_passed(g_gate.opened, a, LAUNCH_NS + BLOCK / 4);
    assert_passed(a, b, LAUNCH_NS + GRANULE / 4);
    assert_passed(b, c, LAUNCH_NS + GRANULE / 4);
}

static void test_kernels_of_two_streams_run_in_turn(void **state)
{
    CUstream one, other, last;
    CUevent a, b, c;

    (void)state;
    close_gate();
    one = gated_stream();
    other = gated_stream();
    last = gated_stream();
    touch(one, g_device, 4, 1);
    a = record(one);
    touch(other, g_device, 4, 1);
    b = record(other);
    OK(CALL(cuStreamWaitEvent)(last, a, 0));
    OK(CALL(cuStreamWaitEvent)(last, b, 0));
    c = record(last);
    open_gate();
    assert_passed(g_gate.opened, c, 2 * (LAUNCH_NS + GRANULE / 4));
}

static void test_reads_in_place_take_the_link(void **state)
{
    CUdeviceptr mapped;
    CUevent a, b;
    CUstream stream;

    (void)state;
    OK(CALL(cuMemHostGetDevicePointer)(&mapped, g_pinned, 0));
    close_gate();
    stream = gated_stream();
    touch(stream, mapped, 128, 512);
    a = record(stream);
    touch(stream, mapped, 4, 512); /* sixteen lines: less than the launch takes */
    b = record(stream);
    open_gate();
    assert_passed(g_gate.opened, a, 512 * 128);
    assert_passed(a, b, LAUNCH_NS);
}

/* Unified memory ------------------------------------------------------------------------------- */

static void test_prefetches_ride_the_engines(void **state)
{
    const CUmemLocation gpu = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0};
    const CUmemLocation cpu = {.type = CU_MEM_LOCATION_TYPE_HOST};
    CUevent a, b, c, d;
    CUdeviceptr managed;
    CUstream stream;

    (void)state;
    OK(CALL(cuMemAllocManaged)(&managed, 3 * BLOCK, CU_MEM_ATTACH_GLOBAL));
    memset((void *)(uintptr_t)managed, 7, 2 * BLOCK); /* two of three are somewhere */
    close_gate();
    stream = gated_stream(); /* busy: what else is the caller's work comes in its turn */
    OK(CALL(cuMemPrefetchAsync)(managed, 3 * BLOCK, gpu, 0, stream));
    a = record(stream);
    OK(CALL(cuMemPrefetchAsync)(managed, 3 * BLOCK, gpu, 0, stream)); /* it is there */
    b = record(stream);
    touch(stream, managed, 4, 1);
    c = record(stream);
    OK(CALL(cuMemPrefetchAsync)(managed, 2 * BLOCK, cpu, 0, stream));
    d = record(stream);
    open_gate();
    assert_passed(g_gate.opened, a, TURN_NS + 3 * MOVE_NS + COPY_NS + 2 * BLOCK);
    assert_passed(a, b, 0);
    assert_passed(b, c, LAUNCH_NS + GRANULE / 4);
    assert_passed(c, d, TURN_NS + 2 * MOVE_NS + COPY_NS + 2 * (2 * BLOCK));
    OK(CALL(cuMemFree)(managed));
}

static void test_a_fault_costs_itself_and_its_copy(void **state)
{
    CUdeviceptr managed;
    CUstream stream;
    CUevent a;

    (void)state;
    OK(CALL(cuMemAllocManaged)(&managed, BLOCK, CU_MEM_ATTACH_GLOBAL));
    memset((void *)(uintptr_t)managed, 7, BLOCK);
    close_gate();
    stream = gated_stream();
    touch(stream, managed, 4, 32);
    a = record(stream);
    open_gate();
    assert_passed(g_gate.opened, a, LAUNCH_NS + FAULT_NS + BLOCK + GRANULE / 4);
    OK(CALL(cuMemFree)(managed));
}

static int start(void)
{
    char path[PATH_MAX];
    CUcontext context;
    CUmodule module;
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 32);

    if (length < 0)
        return -1;
    path[length] = '\0';
    dirname(dirname(path));
    strcat(path, "/simcuda/libcuda.so.1");
    g_library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!g_library) {
        fprintf(stderr, "%s\n", dlerror());
        return -1;
    }
    sem_init(&g_gate.open, 0, 0);
    if (CALL(cuInit)(0) != 0 || CALL(cuDevicePrimaryCtxRetain)(&context, 0) != 0 ||
        CALL(cuCtxSetCurrent)(context) != 0 || CALL(cuModuleLoadData)(&module, MODULE) != 0 ||
        CALL(cuModuleGetFunction)(&g_touch, module, "touch") != 0 ||
        CALL(cuMemAlloc)(&g_device, 4 * MIB) != 0 || CALL(cuMemAllocHost)(&g_pinned, 4 * MIB) != 0)
        return -1;
    memset(g_pinned, 3, 4 * MIB);
    /* Streams that do not block must not come before it. */
    return CALL(cuMemsetD8)(g_device, 1, 4 * MIB) || CALL(cuCtxSynchronize)() ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_copy_takes_latency_and_bytes),
        cmocka_unit_test(test_both_directions_and_kernels_overlap),
        cmocka_unit_test(test_copies_of_one_direction_queue_up),
        cmocka_unit_test(test_pageable_memory_is_slower),
        cmocka_unit_test(test_a_kernel_takes_launch_and_memory),
        cmocka_unit_test(test_kernels_of_two_streams_run_in_turn),
        cmocka_unit_test(test_reads_in_place_take_the_link),
        cmocka_unit_test(test_prefetches_ride_the_engines),
        cmocka_unit_test(test_a_fault_costs_itself_and_its_copy),
    };

    setenv("SIMCUDA_VRAM", "32MiB", 1);
    setenv("SIMCUDA_PACE", "1", 1);
    setenv("SIMCUDA_LINK_H2D", "1000000000", 1);
    setenv("SIMCUDA_LINK_D2H", "500000000", 1);
    setenv("SIMCUDA_LINK_PAGEABLE", "333333333", 1);
    setenv("SIMCUDA_MEMORY_RATE", "4000000000", 1);
    setenv("SIMCUDA_COPY_NS", "1000", 1);
    setenv("SIMCUDA_LAUNCH_NS", "5000", 1);
    setenv("SIMCUDA_GPU_FAULT_NS", "40000", 1);
    setenv("SIMCUDA_PREFETCH_TURN_NS", "11000", 1);
    setenv("SIMCUDA_PREFETCH_TURN_BLOCK_NS", "7000", 1);
    if (start() != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
