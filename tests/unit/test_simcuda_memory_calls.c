/* The simulated driver's entry points for memory: arguments, order in streams, what pointers tell.
 *
 * Strategy: the library is opened as a program would open it, and everything goes through its
 * exports. What must happen in stream order is queued behind a host function that waits for the
 * test
 * ("the gate"), so that before and after can be told apart without waiting for a while. Another
 * setting needs another process: this program executes itself with the name of the check.
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
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/apps/cuda_api.h"

#define MIB         ((size_t)1 << 20)
#define TEXT_OF(x)  #x
#define TEXT(x)     TEXT_OF(x)
#define CALL(name)  ((__typeof__(&name))entry(TEXT(name)))
#define OK(call)    assert_int_equal(call, CUDA_SUCCESS)
#define FAILS(code) assert_int_equal(code, CUDA_ERROR_INVALID_VALUE)

/* What cuda_api.h gives under other names or not at all. */
typedef CUresult prefetch_8000_fn(CUdeviceptr addr, size_t bytes, CUdevice device, CUstream stream);
typedef CUresult advise_8000_fn(CUdeviceptr addr, size_t bytes, CUmem_advise advice,
                                CUdevice device);
typedef CUresult pool_attribute_fn(CUmemoryPool pool, CUmemPool_attribute attribute, void *value);
typedef CUresult pool_trim_fn(CUmemoryPool pool, size_t bytes);
typedef CUresult pool_set_fn(CUdevice device, CUmemoryPool pool);
typedef CUresult ranges_fn(void **data, size_t *bytes, CUmem_range_attribute *attributes,
                           size_t count, CUdeviceptr addr, size_t range_bytes);

static void *g_library;
static sem_t g_gate;

static void *entry(const char *name)
{
    void *function = dlsym(g_library, name);

    if (!function)
        fail_msg("%s is not exported", name);
    return function;
}

#define ENTRY(type, name) ((type *)entry(name))

static void wait_at_gate(void *arg)
{
    (void)arg;
    sem_wait(&g_gate);
}

static CUstream gated_stream(void)
{
    CUstream stream;

    OK(CALL(cuStreamCreate)(&stream, CU_STREAM_NON_BLOCKING));
    OK(CALL(cuLaunchHostFunc)(stream, wait_at_gate, NULL));
    return stream;
}

static void open_gate(CUstream stream)
{
    sem_post(&g_gate);
    OK(CALL(cuStreamSynchronize)(stream));
    OK(CALL(cuStreamDestroy)(stream));
}

static size_t free_bytes(void)
{
    size_t left;

    OK(CALL(cuMemGetInfo)(&left, NULL));
    return left;
}

static uint64_t attribute(CUdeviceptr ptr, CUpointer_attribute which)
{
    uint64_t value = 0;

    OK(CALL(cuPointerGetAttribute)(&value, which, ptr));
    return value;
}

static CUresult attribute_error(CUdeviceptr ptr, CUpointer_attribute which)
{
    uint64_t value;

    return CALL(cuPointerGetAttribute)(&value, which, ptr);
}

static void test_a_context_is_needed(void **state)
{
    CUdeviceptr ptr, plain;
    CUcontext context;
    uint32_t type = 0;
    void *host;

    (void)state;
    OK(CALL(cuMemAlloc)(&plain, 4));
    OK(CALL(cuCtxPopCurrent)(&context));
    assert_int_equal(CALL(cuMemAlloc)(&ptr, 4), CUDA_ERROR_INVALID_CONTEXT);
    assert_int_equal(CALL(cuMemAllocManaged)(&ptr, 4, 1), CUDA_ERROR_INVALID_CONTEXT);
    assert_int_equal(CALL(cuMemAllocHost)(&host, 4), CUDA_ERROR_INVALID_CONTEXT);
    assert_int_equal(CALL(cuMemAllocAsync)(&ptr, 4, 0), CUDA_ERROR_INVALID_CONTEXT);
    /* A pointer can be asked about without one. */
    OK(CALL(cuPointerGetAttribute)(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, plain));
    assert_int_equal(type, CU_MEMORYTYPE_DEVICE);
    OK(CALL(cuCtxPushCurrent)(context));
    OK(CALL(cuMemFree)(plain));
}

static void test_alloc_and_free(void **state)
{
    size_t pitch, bytes;
    CUdeviceptr ptr, base;
    void *host;

    (void)state;
    FAILS(CALL(cuMemAlloc)(&ptr, 0));
    FAILS(CALL(cuMemAlloc)(NULL, 4));
    OK(CALL(cuMemAllocPitch)(&ptr, &pitch, 600, 5, 4));
    assert_int_equal(pitch, 1024);
    OK(CALL(cuMemGetAddressRange)(&base, &bytes, ptr + 5000));
    assert_int_equal(base, ptr);
    assert_int_equal(bytes, 5 * 1024);
    assert_int_equal(CALL(cuMemGetAddressRange)(&base, &bytes, ptr + 5120), CUDA_ERROR_NOT_FOUND);
    FAILS(CALL(cuMemFree)(ptr + 512));
    OK(CALL(cuMemFree)(ptr));
    FAILS(CALL(cuMemFree)(ptr));
    OK(CALL(cuMemFree)(0));
    FAILS(CALL(cuMemAllocPitch)(&ptr, &pitch, 512, 5, 3));
    FAILS(CALL(cuMemAllocPitch)(&ptr, &pitch, 0, 5, 4));
    assert_int_equal(CALL(cuMemAllocPitch)(&ptr, &pitch, 512, SIZE_MAX / 512 + 1, 4),
                     CUDA_ERROR_OUT_OF_MEMORY);
    FAILS(CALL(cuMemAllocManaged)(&ptr, 4, CU_MEM_ATTACH_SINGLE));
    OK(CALL(cuMemAllocManaged)(&ptr, 4, CU_MEM_ATTACH_HOST));
    OK(CALL(cuMemFree)(ptr));
    OK(CALL(cuMemAllocHost)(&host, 4));
    FAILS(CALL(cuMemFree)((uintptr_t)host));
    FAILS(CALL(cuMemFreeHost)((char *)host + 1));
    OK(CALL(cuMemFreeHost)(host));
    FAILS(CALL(cuMemFreeHost)(host));
    OK(CALL(cuMemFreeHost)(NULL));
}

static void test_free_waits_for_queued_work(void **state)
{
    CUstream stream;
    CUdeviceptr ptr;
    uint32_t words[256];
    size_t i;

    (void)state;
    OK(CALL(cuMemAlloc)(&ptr, sizeof(words)));
    OK(CALL(cuStreamCreate)(&stream, CU_STREAM_NON_BLOCKING));
    for (i = 0; i < 32; i++)
        OK(CALL(cuMemsetD32Async)(ptr, (unsigned)i, 256, stream));
    OK(CALL(cuMemFree)(ptr)); /* else the sets would fault */
    OK(CALL(cuStreamSynchronize)(stream));
    OK(CALL(cuStreamDestroy)(stream));
    OK(CALL(cuCtxSynchronize)());
}

static void test_host_memory(void **state)
{
    unsigned flags = 77;
    CUdeviceptr device;
    char *block, *host;

    (void)state;
    FAILS(CALL(cuMemHostAlloc)((void **)&host, 100, 0x100));
    OK(CALL(cuMemHostAlloc)((void **)&host, 100, CU_MEMHOSTALLOC_WRITECOMBINED));
    OK(CALL(cuMemHostGetFlags)(&flags, host + 50));
    assert_int_equal(flags, CU_MEMHOSTALLOC_WRITECOMBINED);
    OK(CALL(cuMemHostGetDevicePointer)(&device, host + 50, 0));
    assert_int_equal(device, (uintptr_t)host + 50);
    FAILS(CALL(cuMemHostGetDevicePointer)(&device, host, 1));
    FAILS(CALL(cuMemHostGetDevicePointer)(&device, &flags, 0));
    FAILS(CALL(cuMemHostGetFlags)(&flags, &flags));
    assert_int_equal(CALL(cuMemHostUnregister)(host), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    block = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    OK(CALL(cuMemHostRegister)(block, 4096, CU_MEMHOSTREGISTER_PORTABLE));
    assert_int_equal(CALL(cuMemHostRegister)(block, 4096, 0),
                     CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    assert_int_equal(CALL(cuMemHostRegister)(block, 4096, CU_MEMHOSTREGISTER_IOMEMORY),
                     CUDA_ERROR_NOT_SUPPORTED);
    FAILS(CALL(cuMemFreeHost)(block));
    OK(CALL(cuMemHostGetDevicePointer)(&device, block, 0));
    OK(CALL(cuMemHostUnregister)(block));
    munmap(block, 4096);
    OK(CALL(cuMemFreeHost)(host));
}

/* Attributes --------------------------------------------------------------------------------- */

static void test_attributes_of_a_plain_pointer(void **state)
{
    CUcontext context;
    CUdeviceptr ptr;
    uint64_t id;

    (void)state;
    OK(CALL(cuCtxGetCurrent)(&context));
    OK(CALL(cuMemAlloc)(&ptr, 1000));
    assert_int_equal(attribute(ptr + 9, CU_POINTER_ATTRIBUTE_CONTEXT), (uintptr_t)context);
    assert_int_equal(attribute(ptr + 9, CU_POINTER_ATTRIBUTE_MEMORY_TYPE), CU_MEMORYTYPE_DEVICE);
    assert_int_equal(attribute(ptr + 9, CU_POINTER_ATTRIBUTE_DEVICE_POINTER), ptr + 9);
    assert_int_equal(attribute(ptr + 9, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL), 0);
    assert_int_equal(attribute(ptr + 9, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR), ptr);
    assert_int_equal(attribute(ptr + 9, CU_POINTER_ATTRIBUTE_RANGE_SIZE), 1000);
    assert_int_equal(attribute(ptr, CU_POINTER_ATTRIBUTE_IS_MANAGED), 0);
    assert_int_equal(attribute(ptr, CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE), 1);
    assert_int_equal(attribute(ptr, CU_POINTER_ATTRIBUTE_MAPPED), 1);
    assert_int_equal(attribute(ptr, CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE), 0);
    assert_int_equal(attribute(ptr, CU_POINTER_ATTRIBUTE_ACCESS_FLAGS), 3);
    FAILS(attribute_error(ptr, CU_POINTER_ATTRIBUTE_HOST_POINTER));
    FAILS(attribute_error(ptr, CU_POINTER_ATTRIBUTE_P2P_TOKENS));
    FAILS(attribute_error(ptr + 1000, CU_POINTER_ATTRIBUTE_MEMORY_TYPE));
    id = attribute(ptr, CU_POINTER_ATTRIBUTE_BUFFER_ID);
    OK(CALL(cuMemFree)(ptr));
    OK(CALL(cuMemAlloc)(&ptr, 1000));
    assert_true(attribute(ptr, CU_POINTER_ATTRIBUTE_BUFFER_ID) != id);
    OK(CALL(cuMemFree)(ptr));
}

static void test_attributes_of_other_pointers(void **state)
{
    CUdeviceptr managed;
    uint64_t stack = 0;
    void *host;

    (void)state;
    OK(CALL(cuMemAllocManaged)(&managed, 1000, CU_MEM_ATTACH_GLOBAL));
    assert_int_equal(attribute(managed, CU_POINTER_ATTRIBUTE_MEMORY_TYPE), CU_MEMORYTYPE_DEVICE);
    assert_int_equal(attribute(managed, CU_POINTER_ATTRIBUTE_IS_MANAGED), 1);
    assert_int_equal(attribute(managed + 4, CU_POINTER_ATTRIBUTE_HOST_POINTER), managed + 4);
    assert_int_equal(attribute(managed, CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE), 0);
    OK(CALL(cuMemFree)(managed));
    OK(CALL(cuMemAllocHost)(&host, 1000));
    assert_int_equal(attribute((uintptr_t)host, CU_POINTER_ATTRIBUTE_MEMORY_TYPE),
                     CU_MEMORYTYPE_HOST);
    assert_int_equal(attribute((uintptr_t)host, CU_POINTER_ATTRIBUTE_DEVICE_POINTER),
                     (uintptr_t)host);
    assert_int_equal(attribute((uintptr_t)host, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL), 0);
    OK(CALL(cuMemFreeHost)(host));
    FAILS(attribute_error((uintptr_t)host, CU_POINTER_ATTRIBUTE_MEMORY_TYPE));
    FAILS(attribute_error((uintptr_t)&stack, CU_POINTER_ATTRIBUTE_MEMORY_TYPE));
}

static void test_attributes_in_plural_never_fail(void **state)
{
    CUpointer_attribute which[] = {
        CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
        CU_POINTER_ATTRIBUTE_HOST_POINTER, CU_POINTER_ATTRIBUTE_IS_MANAGED};
    uint32_t type = 9, managed = 9;
    int ordinal = 9;
    uint64_t host = 9;
    void *values[] = {&type, &ordinal, &host, &managed};
    CUdeviceptr ptr;

    (void)state;
    OK(CALL(cuPointerGetAttributes)(4, which, values, (uintptr_t)&ptr));
    assert_int_equal(type, 0);
    assert_int_equal(ordinal, CU_DEVICE_INVALID);
    assert_int_equal(host, 0);
    assert_int_equal(managed, 0);
    OK(CALL(cuMemAlloc)(&ptr, 4));
    host = 9;
    OK(CALL(cuPointerGetAttributes)(4, which, values, ptr));
    assert_int_equal(type, CU_MEMORYTYPE_DEVICE);
    assert_int_equal(ordinal, 0);
    assert_int_equal(host, 0);
    OK(CALL(cuMemFree)(ptr));
}

static void test_sync_memops(void **state)
{
    unsigned on = 1;
    CUdeviceptr ptr;

    (void)state;
    OK(CALL(cuMemAlloc)(&ptr, 4));
    assert_int_equal(attribute(ptr, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS), 0);
    OK(CALL(cuPointerSetAttribute)(&on, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, ptr));
    assert_int_equal(attribute(ptr, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS), 1);
    FAILS(CALL(cuPointerSetAttribute)(&on, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, ptr));
    FAILS(CALL(cuPointerSetAttribute)(&on, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, (uintptr_t)&on));
    OK(CALL(cuMemFree)(ptr));
}

static void test_ipc_handles(void **state)
{
    CUipcMemHandle first, second;
    CUdeviceptr plain, managed, pooled;

    (void)state;
    OK(CALL(cuMemAlloc)(&plain, 4));
    OK(CALL(cuMemAllocManaged)(&managed, 4, CU_MEM_ATTACH_GLOBAL));
    OK(CALL(cuMemAllocAsync)(&pooled, 4, 0));
    OK(CALL(cuIpcGetMemHandle)(&first, plain));
    OK(CALL(cuIpcGetMemHandle)(&second, plain));
    assert_memory_equal(&first, &second, sizeof(first));
    FAILS(CALL(cuIpcGetMemHandle)(&first, managed));
    FAILS(CALL(cuIpcGetMemHandle)(&first, pooled));
    FAILS(CALL(cuIpcGetMemHandle)(&first, (uintptr_t)&first));
    OK(CALL(cuMemFree)(plain));
    OK(CALL(cuMemFree)(managed));
    OK(CALL(cuMemFree)(pooled));
}

/* Pools -------------------------------------------------------------------------------------- */

static cuuint64_t pool_value(CUmemoryPool pool, CUmemPool_attribute which)
{
    cuuint64_t value = 0;

    OK(ENTRY(pool_attribute_fn, "cuMemPoolGetAttribute")(pool, which, &value));
    return value;
}

static void test_frees_come_in_stream_order(void **state)
{
    const size_t before = free_bytes();
    CUmemoryPool pool;
    CUstream stream;
    CUdeviceptr ptr;

    (void)state;
    OK(CALL(cuDeviceGetDefaultMemPool)(&pool, 0));
    stream = gated_stream();
    OK(CALL(cuMemAllocAsync)(&ptr, 4 * MIB, stream));
    assert_int_equal(attribute(ptr, CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE), (uintptr_t)pool);
    assert_int_equal(attribute(ptr, CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE), 0);
    FAILS(attribute_error(ptr, CU_POINTER_ATTRIBUTE_CONTEXT));
    assert_int_equal(pool_value(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 4 * MIB);
    OK(CALL(cuMemFreeAsync)(ptr, stream));
    FAILS(CALL(cuMemFreeAsync)(ptr, stream));
    assert_int_equal(free_bytes(), before - 4 * MIB);
    open_gate(stream);
    assert_int_equal(free_bytes(), before);
    FAILS(CALL(cuMemFreeAsync)(ptr, 0));
    assert_int_equal(pool_value(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 0);
    assert_int_equal(pool_value(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH), 4 * MIB);
}

static void test_allocations_wait_for_queued_frees(void **state)
{
    CUstream stream;
    CUdeviceptr ptr;
    int i;

    (void)state;
    OK(CALL(cuStreamCreate)(&stream, CU_STREAM_NON_BLOCKING));
    for (i = 0; i < 20; i++) {
        OK(CALL(cuMemAllocAsync)(&ptr, 12 * MIB, stream));
        OK(CALL(cuMemFreeAsync)(ptr, stream));
    }
    assert_int_equal(CALL(cuMemAllocAsync)(&ptr, 20 * MIB, stream), CUDA_ERROR_OUT_OF_MEMORY);
    OK(CALL(cuStreamSynchronize)(stream));
    OK(CALL(cuStreamDestroy)(stream));
}

static void test_plain_and_stream_ordered_calls_mix(void **state)
{
    const size_t before = free_bytes();
    CUdeviceptr a, b;

    (void)state;
    OK(CALL(cuMemAllocAsync)(&a, 4 * MIB, 0));
    OK(CALL(cuMemAlloc)(&b, 4 * MIB));
    OK(CALL(cuMemFree)(a));
    OK(CALL(cuMemFreeAsync)(b, CU_STREAM_PER_THREAD));
    OK(CALL(cuCtxSynchronize)());
    assert_int_equal(free_bytes(), before);
    OK(CALL(cuMemAllocManaged)(&a, 4, CU_MEM_ATTACH_GLOBAL));
    FAILS(CALL(cuMemFreeAsync)(a, 0));
    OK(CALL(cuMemFree)(a));
}

static void test_pools_of_ones_own(void **state)
{
    CUmemPoolProps props = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                            .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    cuuint64_t threshold = 123, zero = 0;
    CUmemoryPool first, pool, current;
    CUdeviceptr ptr;

    (void)state;
    OK(CALL(cuDeviceGetMemPool)(&first, 0));
    OK(CALL(cuMemPoolCreate)(&pool, &props));
    OK(ENTRY(pool_attribute_fn, "cuMemPoolSetAttribute")(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
                                                         &threshold));
    assert_int_equal(pool_value(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD), 123);
    assert_int_equal((int)pool_value(pool, CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC), 1);
    FAILS(ENTRY(pool_attribute_fn, "cuMemPoolSetAttribute")(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT,
                                                            &zero));
    OK(ENTRY(pool_set_fn, "cuDeviceSetMemPool")(0, pool));
    OK(CALL(cuDeviceGetMemPool)(&current, 0));
    assert_ptr_equal(current, pool);
    OK(CALL(cuMemAllocAsync)(&ptr, MIB, 0));
    assert_int_equal(attribute(ptr, CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE), (uintptr_t)pool);
    OK(ENTRY(pool_trim_fn, "cuMemPoolTrimTo")(pool, 0));
    OK(CALL(cuMemPoolDestroy)(pool)); /* goes with its last allocation */
    FAILS(CALL(cuMemPoolDestroy)(pool));
    FAILS(CALL(cuMemAllocFromPoolAsync)(&ptr, MIB, pool, 0));
    OK(CALL(cuDeviceGetMemPool)(&current, 0));
    assert_ptr_equal(current, first);
    OK(CALL(cuMemFreeAsync)(ptr, 0));
    OK(CALL(cuCtxSynchronize)());
    FAILS(CALL(cuMemPoolDestroy)(first)); /* the default one stays */
    OK(CALL(cuMemAllocFromPoolAsync)(&ptr, MIB, first, 0));
    OK(CALL(cuMemFreeAsync)(ptr, 0));
    OK(CALL(cuCtxSynchronize)());
}

/* Unified memory ----------------------------------------------------------------------------- */

static int last_prefetch(CUdeviceptr ptr)
{
    int device;

    OK(CALL(cuMemRangeGetAttribute)(&device, sizeof(device),
                                    CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, ptr, 4 * MIB));
    return device;
}

static void test_prefetches_come_in_stream_order(void **state)
{
    const CUmemLocation device = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
    CUstream stream = gated_stream();
    CUdeviceptr ptr;
    size_t before;

    (void)state;
    OK(CALL(cuMemAllocManaged)(&ptr, 4 * MIB, CU_MEM_ATTACH_GLOBAL));
    *(volatile int *)(uintptr_t)ptr = 5;
    before = free_bytes();
    OK(CALL(cuMemPrefetchAsync)(ptr, 4 * MIB, device, 0, stream));
    assert_int_equal(last_prefetch(ptr), CU_DEVICE_INVALID);
    assert_int_equal(free_bytes(), before);
    open_gate(stream);
    assert_int_equal(last_prefetch(ptr), 0);
    assert_int_equal(free_bytes(), before - 4 * MIB);
    assert_int_equal(*(volatile int *)(uintptr_t)ptr, 5);
    OK(CALL(cuMemFree)(ptr));
}

/* Stream 0 of the _ptsz twin is the thread's own: it does not wait for the gate, whose stream is
 * ordered against the NULL stream. */
static void test_prefetch_knows_both_default_streams(void **state)
{
    CUstream stream;
    CUdeviceptr ptr;

    (void)state;
    OK(CALL(cuMemAllocManaged)(&ptr, 4 * MIB, CU_MEM_ATTACH_GLOBAL));
    OK(CALL(cuStreamCreate)(&stream, CU_STREAM_DEFAULT));
    OK(CALL(cuLaunchHostFunc)(stream, wait_at_gate, NULL));
    OK(ENTRY(prefetch_8000_fn, "cuMemPrefetchAsync")(ptr, 4 * MIB, CU_DEVICE_CPU, 0));
    assert_int_equal(last_prefetch(ptr), CU_DEVICE_INVALID);
    sem_post(&g_gate);
    OK(CALL(cuStreamSynchronize)(0));
    assert_int_equal(last_prefetch(ptr), CU_DEVICE_CPU);
    OK(ENTRY(prefetch_8000_fn, "cuMemPrefetchAsync_ptsz")(ptr, 4 * MIB, 0, 0));
    OK(CALL(cuStreamSynchronize)(CU_STREAM_PER_THREAD));
    assert_int_equal(last_prefetch(ptr), 0);
    OK(CALL(cuStreamDestroy)(stream));
    OK(CALL(cuMemFree)(ptr));
}

static void test_unified_arguments(void **state)
{
    const CUmemLocation device = {CU_MEM_LOCATION_TYPE_DEVICE, 0},
                        none = {CU_MEM_LOCATION_TYPE_INVALID, 0},
                        negative = {CU_MEM_LOCATION_TYPE_DEVICE, -1},
                        node = {CU_MEM_LOCATION_TYPE_HOST_NUMA, 0},
                        far = {CU_MEM_LOCATION_TYPE_HOST_NUMA, 5};
    CUmem_range_attribute which[] = {CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY,
                                     CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION};
    int read_mostly = 9, preferred = 9;
    void *values[] = {&read_mostly, &preferred};
    size_t sizes[] = {4, 4};
    CUdeviceptr ptr;

    (void)state;
    OK(CALL(cuMemAllocManaged)(&ptr, 4 * MIB, CU_MEM_ATTACH_GLOBAL));
    FAILS(CALL(cuMemPrefetchAsync)(ptr, MIB, device, 1, 0));
    FAILS(CALL(cuMemPrefetchAsync)(ptr, 5 * MIB, device, 0, 0));
    assert_int_equal(CALL(cuMemPrefetchAsync)(ptr, MIB, none, 0, 0), CUDA_ERROR_INVALID_DEVICE);
    assert_int_equal(CALL(cuMemPrefetchAsync)(ptr, MIB, negative, 0, 0), CUDA_ERROR_INVALID_DEVICE);
    assert_int_equal(CALL(cuMemPrefetchAsync)(ptr, MIB, far, 0, 0), CUDA_ERROR_INVALID_DEVICE);
    assert_int_equal(ENTRY(prefetch_8000_fn, "cuMemPrefetchAsync")(ptr, MIB, 7, 0),
                     CUDA_ERROR_INVALID_DEVICE);
    OK(CALL(cuMemAdvise)(ptr, 4 * MIB, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, node));
    OK(ENTRY(advise_8000_fn, "cuMemAdvise")(ptr, 4 * MIB, CU_MEM_ADVISE_SET_READ_MOSTLY, 0));
    OK(ENTRY(ranges_fn, "cuMemRangeGetAttributes")(values, sizes, which, 2, ptr, 4 * MIB));
    assert_int_equal(read_mostly, 1);
    assert_int_equal(preferred, CU_DEVICE_CPU);
    FAILS(ENTRY(ranges_fn, "cuMemRangeGetAttributes")(values, sizes, which, 0, ptr, 4 * MIB));
    OK(CALL(cuMemFree)(ptr));
}

static void test_without_concurrent_access_prefetch_is_refused(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        setenv("SIMCUDA_CONCURRENT_MANAGED", "0", 1);
        execl("/proc/self/exe", "child", "refused", NULL);
        _exit(4);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int child_refused(void)
{
    const CUmemLocation host = {CU_MEM_LOCATION_TYPE_HOST, 0};
    CUdeviceptr ptr;
    int value = 9;

    if (CALL(cuMemAllocManaged)(&ptr, MIB, CU_MEM_ATTACH_GLOBAL) != CUDA_SUCCESS)
        return 5;
    if (CALL(cuDeviceGetAttribute)(&value, CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS, 0) !=
            CUDA_SUCCESS ||
        value != 0)
        return 6;
    if (ENTRY(prefetch_8000_fn, "cuMemPrefetchAsync")(ptr, MIB, 0, 0) != CUDA_ERROR_INVALID_DEVICE)
        return 7;
    return CALL(cuMemPrefetchAsync)(ptr, MIB, host, 0, 0) == CUDA_ERROR_INVALID_DEVICE ? 0 : 8;
}

/* The library lies beside the folder of this program. returns 0 or 1 */
static int start(void)
{
    char program[PATH_MAX], path[PATH_MAX + 32];
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
    CUcontext context;

    if (length < 0)
        return 1;
    program[length] = '\0';
    snprintf(path, sizeof(path), "%s/../simcuda/libcuda.so.1", dirname(program));
    g_library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!g_library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    if (CALL(cuMemFree)(1) != CUDA_ERROR_NOT_INITIALIZED)
        return 1;
    if (sem_init(&g_gate, 0, 0) != 0 || CALL(cuInit)(0) != CUDA_SUCCESS ||
        CALL(cuDevicePrimaryCtxRetain)(&context, 0) != CUDA_SUCCESS)
        return 1;
    return CALL(cuCtxSetCurrent)(context) != CUDA_SUCCESS;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_context_is_needed),
        cmocka_unit_test(test_alloc_and_free),
        cmocka_unit_test(test_free_waits_for_queued_work),
        cmocka_unit_test(test_host_memory),
        cmocka_unit_test(test_attributes_of_a_plain_pointer),
        cmocka_unit_test(test_attributes_of_other_pointers),
        cmocka_unit_test(test_attributes_in_plural_never_fail),
        cmocka_unit_test(test_sync_memops),
        cmocka_unit_test(test_ipc_handles),
        cmocka_unit_test(test_frees_come_in_stream_order),
        cmocka_unit_test(test_allocations_wait_for_queued_frees),
        cmocka_unit_test(test_plain_and_stream_ordered_calls_mix),
        cmocka_unit_test(test_pools_of_ones_own),
        cmocka_unit_test(test_prefetches_come_in_stream_order),
        cmocka_unit_test(test_prefetch_knows_both_default_streams),
        cmocka_unit_test(test_unified_arguments),
        cmocka_unit_test(test_without_concurrent_access_prefetch_is_refused),
    };

    setenv("SIMCUDA_VRAM", "16MiB", 1);
    if (start() != 0)
        return 1;
    if (argc == 2 && strcmp(argv[1], "refused") == 0)
        return child_refused();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
