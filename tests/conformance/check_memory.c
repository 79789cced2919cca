/* check_memory.c - device memory: allocation, capacity, bounds; what the host may do with it. */
#include "conformance.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

static void alloc(void)
{
    static const size_t sizes[] = {1, 3, 255, 256, 4096, 4097, 3 * MIB + 5};
    CUdeviceptr p[7], all[2] = {0, 0};

    begin();
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAlloc(&all[0], 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAlloc(NULL, 16));
    for (int i = 0; i < 7; i++) {
        p[i] = device_alloc(sizes[i]);
        EXPECT_EQ(p[i] % 256, 0);
        for (int k = 0; k < i; k++)
            EXPECT(p[i] + sizes[i] <= p[k] || p[k] + sizes[k] <= p[i]);
    }
    for (int i = 0; i < 7; i++)
        OK(cuMemFree(p[i]));
}

/* Neighbours keep their bytes while others come and go. */
static void neighbours(void)
{
    enum { COUNT = 40, WORDS = 700 };
    CUdeviceptr p[COUNT];

    begin();
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < COUNT; i++)
            if (round == 0 || i % 3 == round) {
                p[i] = device_alloc(WORDS * 4);
                launch_fill(0, p[i], WORDS, i + 1000 * round);
            }
        for (uint32_t i = 0; i < COUNT; i++)
            if (i % 3 == round + 1)
                OK(cuMemFree(p[i]));
    }
    for (uint32_t i = 0; i < COUNT; i++)
        EXPECT_PATTERN(p[i], WORDS, i + 1000 * (i % 3));
}

static void free_errors(void)
{
    CUdeviceptr p;

    begin();
    p = device_alloc(3 * MIB);
    EXPECT_ERROR("inside", cuMemFree(p + 256));
    EXPECT_ERROR("nobody", cuMemFree(0x1000));
    answer("null", cuMemFree(0));
    launch_fill(0, p, 3 * MIB / 4, 2);
    EXPECT_PATTERN(p, 3 * MIB / 4, 2);
    OK(cuMemFree(p));
    EXPECT_ERROR("twice", cuMemFree(p));
}

/* Error 2, for more than there is; everything else goes on. */
static void too_much(void)
{
    size_t free_bytes = 0, total = 0;
    CUdeviceptr p = 0;

    begin();
    OK(cuMemGetInfo(&free_bytes, &total));
    EXPECT_CU(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc(&p, total + 64 * MIB));
    EXPECT_CU(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc(&p, (size_t)1 << 46));
    p = device_alloc(MIB);
    launch_fill(0, p, MIB / 4, 4);
    EXPECT_PATTERN(p, MIB / 4, 4);
    OK(cuCtxSynchronize());
}

/* Fill the device with eighths of what is free: the ninth cannot fit, and one freed makes room. */
static void exhaust(void)
{
    size_t free_bytes = 0, total = 0, part;
    CUdeviceptr p[9];
    int count = 0;

    begin();
    warm_up();
    OK(cuMemGetInfo(&free_bytes, &total));
    part = free_bytes / 8 / (2 * MIB) * (2 * MIB);
    if (part == 0)
        check_skip("only %zu bytes are free", free_bytes);
    while (count < 9) {
        CUresult res = cuMemAlloc(&p[count], part);

        if (res != CUDA_SUCCESS) {
            EXPECT_EQ(res, CUDA_ERROR_OUT_OF_MEMORY);
            break;
        }
        count++;
    }
    EXPECT(count >= 6 && count <= 8);
    launch_fill(0, p[0], 1024, 3);
    EXPECT_PATTERN(p[0], 1024, 3);
    OK(cuMemFree(p[1]));
    p[1] = device_alloc(part);
    for (int i = 0; i < count; i++)
        OK(cuMemFree(p[i]));
}

static void info(void)
{
    size_t before = 0, with = 0, after = 0, total = 0;
    CUdeviceptr p;

    begin();
    OK(cuMemGetInfo(&before, &total));
    p = device_alloc(32 * MIB);
    OK(cuMemGetInfo(&with, &total));
    EXPECT(with + 32 * MIB <= before);
    OK(cuMemFree(p));
    OK(cuMemGetInfo(&after, &total));
    EXPECT(after >= with + 32 * MIB);
    EXPECT_CU(CUDA_SUCCESS, cuMemGetInfo(&after, NULL));
    EXPECT_CU(CUDA_SUCCESS, cuMemGetInfo(NULL, &total));
}

/* Bounds as the program knows them, from any address inside. */
static void address_range(void)
{
    CUdeviceptr p, base = 0;
    size_t bytes = 0;

    begin();
    p = device_alloc(3 * MIB);
    OK(cuMemGetAddressRange(&base, &bytes, p));
    EXPECT_EQ(base, p);
    EXPECT_EQ(bytes, 3 * MIB);
    OK(cuMemGetAddressRange(&base, &bytes, p + 2 * MIB + 77));
    EXPECT_EQ(base, p);
    EXPECT_EQ(bytes, 3 * MIB);
    OK(cuMemGetAddressRange(NULL, &bytes, p));
    OK(cuMemGetAddressRange(&base, NULL, p + 3 * MIB - 1));
    EXPECT_EQ(base, p);
    OK(cuMemFree(p));
    EXPECT_ERROR("freed", cuMemGetAddressRange(&base, &bytes, p));
    answer("nothing_asked", cuMemGetAddressRange(NULL, NULL, p));
    EXPECT_ERROR("stack", cuMemGetAddressRange(&base, &bytes, (CUdeviceptr)(uintptr_t)&bytes));
    p = device_alloc(1000);
    OK(cuMemGetAddressRange(&base, &bytes, p + 999));
    EXPECT_EQ(base, p);
    EXPECT(bytes >= 1000);
    answer("bytes_of_1000", (long long)bytes);
}

static void pitch(void)
{
    CUdeviceptr p = 0;
    size_t bytes = 0;

    begin();
    for (unsigned element = 4; element <= 16; element *= 2) {
        OK(cuMemAllocPitch(&p, &bytes, 100, 64, element));
        EXPECT(bytes >= 100 && bytes % element == 0);
        OK(cuMemsetD2D8(p, bytes, 7, 100, 64));
    }
    answer("pitch_of_100", (long long)bytes);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAllocPitch(&p, &bytes, 100, 64, 3));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAllocPitch(&p, &bytes, 0, 64, 4));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAllocPitch(&p, &bytes, 100, 0, 4));
}

/* What fresh memory holds is not promised; the record shows what this driver gives. */
static void fresh(void)
{
    static uint32_t got[1024];
    CUdeviceptr p;
    int zeros = 0;

    begin();
    p = device_alloc(sizeof(got));
    OK(cuMemcpyDtoH(got, p, sizeof(got)));
    for (int i = 0; i < 1024; i++)
        zeros += got[i] == 0;
    note("zero_words_of_1024", zeros);
}

/* Freeing waits for work that still uses the memory. */
static void free_busy(void)
{
    CUstream stream;
    CUdeviceptr p, other;

    begin();
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    other = device_alloc(64);
    for (int i = 0; i < 5; i++) {
        p = device_alloc(8 * MIB);
        launch_work(stream, other);
        launch_fill(stream, p, 2 * MIB, 1);
        OK(cuMemFree(p));
    }
    OK(cuCtxSynchronize());
}

static sigjmp_buf g_escape;
static void *volatile g_fault_address;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    g_fault_address = info->si_addr;
    siglongjmp(g_escape, 1);
}

static void catch_faults(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    EXPECT(sigaction(SIGSEGV, &action, NULL) == 0);
}

static void expect_fault(volatile char *p, int write)
{
    g_fault_address = NULL;
    if (sigsetjmp(g_escape, 1) == 0) {
        if (write)
            *p = 1;
        else
            note("readable", *p);
        check_fail(__FILE__, __LINE__, "the host could %s device memory", write ? "write" : "read");
    }
    EXPECT(g_fault_address == (void *)p);
}

/* The host cannot touch device memory: the access faults at that very address. */
static void not_for_the_host(void)
{
    CUdeviceptr p;

    begin();
    if (device_attribute(CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES))
        check_skip("host and device share their page tables here (attribute 100)");
    p = device_alloc(4 * MIB);
    launch_fill(0, p, MIB, 1);
    OK(cuCtxSynchronize());
    catch_faults();
    expect_fault((volatile char *)(uintptr_t)p, 0);
    expect_fault((volatile char *)(uintptr_t)(p + 3 * MIB + 17), 1);
    EXPECT_PATTERN(p, MIB, 1);
}

/* A program's own handler, installed before the driver came, still sees the program's own faults;
 * also when the driver watches managed memory. */
static void own_handler(void)
{
    char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    volatile uint32_t *shared;
    CUdeviceptr p;

    EXPECT(page != MAP_FAILED);
    catch_faults();
    begin();
    need_concurrent_managed();
    p = managed_alloc(MIB);
    shared = (volatile uint32_t *)(uintptr_t)p;
    launch_fill(0, p, MIB / 4, 4);
    OK(cuCtxSynchronize());
    EXPECT_EQ(shared[5], tk_pattern(5, 4));
    expect_fault(page, 0);
    launch_triple(0, p, MIB / 4);
    OK(cuCtxSynchronize());
    EXPECT_EQ(shared[5], tk_pattern(5, 4) * 3 + 1);
    expect_fault(page, 1);
}

/* Allocation in stream order: memory is there for later work of the stream, and gone after. */
static void stream_ordered(void)
{
    CUstream stream;
    CUdeviceptr p = 0, q = 0, out;

    begin();
    if (!device_attribute(CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED))
        check_skip("no memory pools (attribute 115)");
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    out = device_alloc(MIB);
    for (uint32_t i = 0; i < 8; i++) {
        OK(cuMemAllocAsync(&p, MIB, stream));
        launch_fill(stream, p, MIB / 4, i);
        launch_copy(stream, out, p, MIB / 4);
        OK(cuMemFreeAsync(p, stream));
        OK(cuMemAllocAsync(&q, MIB, stream));
        launch_fill(stream, q, MIB / 4, 1000 + i);
        OK(cuStreamSynchronize(stream));
        EXPECT_PATTERN(out, MIB / 4, i);
        EXPECT_PATTERN(q, MIB / 4, 1000 + i);
        OK(cuMemFree(q));
    }
    EXPECT_ERROR("unknown", cuMemFreeAsync(0x1000, stream));
}

#define MEMORY_CHECKS(X)                                                                           \
    X(alloc)                                                                                       \
    X(neighbours)                                                                                  \
    X(free_errors)                                                                                 \
    X(too_much)                                                                                    \
    X(exhaust)                                                                                     \
    X(info)                                                                                        \
    X(address_range)                                                                               \
    X(pitch) X(fresh) X(free_busy) X(not_for_the_host) X(own_handler) X(stream_ordered)
CHECK_GROUP(memory, MEMORY_CHECKS);
