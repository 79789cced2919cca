/* check_pointer.c - what the driver knows of an address; pinned and registered host memory. */
#include "conformance.h"

#include <sys/mman.h>

static unsigned memory_type(CUdeviceptr p)
{
    unsigned type = 99;

    OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, p));
    return type;
}

static void device(void)
{
    CUcontext context = begin(), of_pointer = NULL;
    CUdeviceptr p = device_alloc(3 * MIB), back = 0, start = 0;
    size_t bytes = 0;
    int ordinal = -1;
    unsigned managed = 99;
    void *host = NULL;

    EXPECT_EQ(memory_type(p), CU_MEMORYTYPE_DEVICE);
    EXPECT_EQ(memory_type(p + 2 * MIB + 3), CU_MEMORYTYPE_DEVICE);
    OK(cuPointerGetAttribute(&of_pointer, CU_POINTER_ATTRIBUTE_CONTEXT, p));
    EXPECT(of_pointer == context);
    OK(cuPointerGetAttribute(&back, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, p + 12));
    EXPECT_EQ(back, p + 12);
    OK(cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, p));
    EXPECT_EQ(ordinal, 0);
    managed = 0;
    OK(cuPointerGetAttribute(&managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, p));
    EXPECT_EQ(managed & 0xff, 0);
    OK(cuPointerGetAttribute(&start, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, p + MIB));
    EXPECT_EQ(start, p);
    OK(cuPointerGetAttribute(&bytes, CU_POINTER_ATTRIBUTE_RANGE_SIZE, p + MIB));
    EXPECT_EQ(bytes, 3 * MIB);
    EXPECT_ERROR("host_pointer",
                 cuPointerGetAttribute(&host, CU_POINTER_ATTRIBUTE_HOST_POINTER, p));
}

static void pinned(void)
{
    char *host;
    void *back = NULL;
    CUdeviceptr p = 0, direct = 0;

    begin();
    host = pinned_alloc(8192);
    EXPECT_EQ(memory_type((CUdeviceptr)(uintptr_t)host), CU_MEMORYTYPE_HOST);
    OK(cuPointerGetAttribute(&back, CU_POINTER_ATTRIBUTE_HOST_POINTER,
                             (CUdeviceptr)(uintptr_t)(host + 100)));
    EXPECT(back == host + 100);
    OK(cuPointerGetAttribute(&p, CU_POINTER_ATTRIBUTE_DEVICE_POINTER,
                             (CUdeviceptr)(uintptr_t)(host + 100)));
    OK(cuMemHostGetDevicePointer(&direct, host + 100, 0));
    EXPECT_EQ(p, direct);
    EXPECT_EQ(direct, (CUdeviceptr)(uintptr_t)(host + 100));
}

/* What is none of CUDA's gives 1; the plural form answers zeros instead, but for its bounds. */
static void nobody(void)
{
    int local = 0, ordinal = 77;
    unsigned type = 99, managed = 99;
    CUdeviceptr p, range = 99;
    CUpointer_attribute which[] = {
        CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
        CU_POINTER_ATTRIBUTE_IS_MANAGED, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR};
    void *values[] = {&type, &ordinal, &managed, &range};

    begin();
    p = (CUdeviceptr)(uintptr_t)&local;
    if (device_attribute(CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS))
        check_skip("pageable memory is the device's too here (attribute 88)");
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, p));
    OK(cuPointerGetAttributes(4, which, values, p));
    EXPECT_EQ(type, 0);
    EXPECT_EQ(range, 99);
    answer("ordinal", ordinal);
    EXPECT_EQ(managed & 0xff, 0);
}

static void plural(void)
{
    unsigned type = 99, managed = 0;
    CUcontext context = begin(), of_pointer = NULL;
    CUdeviceptr p = device_alloc(MIB);
    CUpointer_attribute which[] = {CU_POINTER_ATTRIBUTE_CONTEXT, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                   CU_POINTER_ATTRIBUTE_IS_MANAGED};
    void *values[] = {&of_pointer, &type, &managed};

    OK(cuPointerGetAttributes(3, which, values, p + 40));
    EXPECT(of_pointer == context);
    EXPECT_EQ(type, CU_MEMORYTYPE_DEVICE);
    EXPECT_EQ(managed & 0xff, 0);
}

/* An allocation that had its memory for itself, and one whose neighbour stays. */
static void freed(void)
{
    CUpointer_attribute which = CU_POINTER_ATTRIBUTE_MEMORY_TYPE;
    unsigned type = 99;
    void *value = &type;
    CUdeviceptr p;

    begin();
    p = device_alloc(32 * MIB);
    OK(cuMemFree(p));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuPointerGetAttribute(&type, which, p));
    p = device_alloc(MIB);
    device_alloc(MIB);
    OK(cuMemFree(p));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuPointerGetAttribute(&type, which, p));
    OK(cuPointerGetAttributes(1, &which, &value, p));
    EXPECT_EQ(type, 0);
}

/* The id tells two allocations at one address apart. */
static void buffer_id(void)
{
    uint64_t seen[20];

    begin();
    for (int i = 0; i < 20; i++) {
        CUdeviceptr p = device_alloc(MIB);
        uint64_t id = 0, again = 1;

        OK(cuPointerGetAttribute(&id, CU_POINTER_ATTRIBUTE_BUFFER_ID, p));
        OK(cuPointerGetAttribute(&again, CU_POINTER_ATTRIBUTE_BUFFER_ID, p + 999));
        EXPECT_EQ(id, again);
        for (int k = 0; k < i; k++)
            EXPECT(seen[k] != id);
        seen[i] = id;
        OK(cuMemFree(p));
    }
}

static void managed(void)
{
    CUdeviceptr p, base = 0;
    void *host = NULL;
    unsigned is_managed = 0;
    size_t bytes = 0;

    begin();
    need_concurrent_managed();
    p = managed_alloc(3 * MIB);
    answer("memory_type", memory_type(p));
    OK(cuPointerGetAttribute(&is_managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, p + 2 * MIB));
    EXPECT_EQ(is_managed & 0xff, 1);
    OK(cuPointerGetAttribute(&host, CU_POINTER_ATTRIBUTE_HOST_POINTER, p + 8));
    EXPECT_EQ((uintptr_t)host, p + 8);
    OK(cuMemGetAddressRange(&base, &bytes, p + 2 * MIB));
    EXPECT_EQ(base, p);
    EXPECT_EQ(bytes, 3 * MIB);
}

#define POINTER_CHECKS(X) X(device) X(pinned) X(nobody) X(plural) X(freed) X(buffer_id) X(managed)
CHECK_GROUP(pointer, POINTER_CHECKS);

/* Kernels read and write pinned memory at its own address. */
static void pinned_in_kernel(void)
{
    enum { WORDS = 5000 };
    uint32_t *host;
    CUdeviceptr p;

    begin();
    host = pinned_alloc(WORDS * 4);
    p = (CUdeviceptr)(uintptr_t)host;
    launch_fill(0, p, WORDS, 12);
    OK(cuCtxSynchronize());
    EXPECT_HOST_PATTERN(host, WORDS, 12);
    fill_host(host, WORDS, 13);
    launch_triple(0, p, WORDS);
    OK(cuCtxSynchronize());
    for (uint32_t i = 0; i < WORDS; i++)
        EXPECT_EQ(host[i], tk_pattern(i, 13) * 3 + 1);
    OK(cuMemFreeHost(host));
}

static void flags(void)
{
    unsigned got = 0;
    void *host = NULL;
    CUdeviceptr p = 0;

    begin();
    OK(cuMemHostAlloc(&host, 4096, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_WRITECOMBINED));
    OK(cuMemHostGetFlags(&got, host));
    EXPECT(got & CU_MEMHOSTALLOC_PORTABLE && got & CU_MEMHOSTALLOC_WRITECOMBINED);
    OK(cuMemHostAlloc(&host, 4096, CU_MEMHOSTALLOC_DEVICEMAP));
    OK(cuMemHostGetDevicePointer(&p, host, 0));
    EXPECT_EQ(p, (CUdeviceptr)(uintptr_t)host);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemHostAlloc(&host, 4096, 0x1000));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemHostAlloc(NULL, 4096, 0));
    EXPECT_ERROR("free_unknown", cuMemFreeHost(&got));
    EXPECT_ERROR("flags_unknown", cuMemHostGetFlags(&got, &got));
}

static void registered(void)
{
    enum { WORDS = 4096 };
    size_t bytes = WORDS * sizeof(uint32_t);
    uint32_t *host = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CUdeviceptr p = 0;

    EXPECT(host != MAP_FAILED);
    begin();
    EXPECT_CU(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, cuMemHostUnregister(host));
    OK(cuMemHostRegister(host, bytes, CU_MEMHOSTREGISTER_DEVICEMAP));
    EXPECT_CU(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, cuMemHostRegister(host, bytes, 0));
    EXPECT_EQ(memory_type((CUdeviceptr)(uintptr_t)host), CU_MEMORYTYPE_HOST);
    OK(cuMemHostGetDevicePointer(&p, host, 0));
    fill_host(host, WORDS, 14);
    launch_triple(0, p, WORDS);
    OK(cuCtxSynchronize());
    for (uint32_t i = 0; i < WORDS; i++)
        EXPECT_EQ(host[i], tk_pattern(i, 14) * 3 + 1);
    OK(cuMemHostUnregister(host));
    EXPECT_CU(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, cuMemHostUnregister(host));
    host[0] = 1;
    EXPECT(munmap(host, bytes) == 0);
}

#define HOST_CHECKS(X) X(pinned_in_kernel) X(flags) X(registered)
CHECK_GROUP(host, HOST_CHECKS);
