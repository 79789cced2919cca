/* check_context.c - which context a thread has, primary contexts, what dies with a context. */
#include "conformance.h"

/* Without a context, what needs one answers 201. */
static void expect_no_context(void)
{
    CUcontext context = (CUcontext)1;
    CUdeviceptr p;
    CUstream stream;
    CUmodule module;
    CUdevice device;
    CUevent event;
    size_t bytes;

    OK(cuCtxGetCurrent(&context));
    EXPECT(context == NULL);
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuCtxGetDevice(&device));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuCtxSynchronize());
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuMemAlloc(&p, 16));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuMemGetInfo(&bytes, &bytes));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuStreamCreate(&stream, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuEventCreate(&event, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuModuleLoadData(&module, ptx_test_kernels));
}

static void none(void)
{
    begin_device();
    expect_no_context();
}

static void use_in_thread(void *arg)
{
    CUcontext context = arg, current = NULL;
    CUdeviceptr p;

    expect_no_context();
    OK(cuCtxSetCurrent(context));
    OK(cuCtxGetCurrent(&current));
    EXPECT(current == context);
    p = device_alloc(1024);
    launch_fill(0, p, 256, 3);
    EXPECT_PATTERN(p, 256, 3);
    OK(cuCtxSetCurrent(NULL));
    expect_no_context();
}

/* A new thread has no context until it takes one. */
static void thread(void)
{
    CUcontext context = begin(), current = NULL;

    in_thread(use_in_thread, context);
    OK(cuCtxGetCurrent(&current));
    EXPECT(current == context);
}

static void push_pop(void)
{
    CUcontext a = begin(), b = new_context(), popped = NULL, current = NULL;

    OK(cuCtxGetCurrent(&current));
    EXPECT(current == b && a != b);
    OK(cuCtxPopCurrent(&popped));
    EXPECT(popped == b);
    OK(cuCtxGetCurrent(&current));
    EXPECT(current == a);
    OK(cuCtxPushCurrent(a));
    OK(cuCtxPopCurrent(&popped));
    EXPECT(popped == a);
    OK(cuCtxPopCurrent(NULL));
    expect_no_context();
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuCtxPopCurrent(&popped));
    OK(cuCtxPushCurrent(b));
    OK(cuCtxGetCurrent(&current));
    EXPECT(current == b);
}

/* cuCtxSetCurrent replaces the top of the stack; NULL takes the top off. */
static void set_current(void)
{
    CUcontext a = begin(), b = new_context(), current = NULL;

    OK(cuCtxSetCurrent(a));
    OK(cuCtxPopCurrent(&current));
    EXPECT(current == a);
    OK(cuCtxGetCurrent(&current));
    EXPECT(current == a);
    OK(cuCtxPushCurrent(b));
    OK(cuCtxSetCurrent(NULL));
    OK(cuCtxGetCurrent(&current));
    EXPECT(current == a);
}

static void device(void)
{
    CUdevice of_context = -7;

    begin();
    OK(cuCtxGetDevice(&of_context));
    EXPECT_EQ(of_context, 0);
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuCtxCreate(&(CUcontext){NULL}, NULL, 0, 4711));
}

/* One primary context a device; retaining it makes it current nowhere. */
static void primary(void)
{
    CUdevice dev = begin_device();
    CUcontext a = NULL, b = NULL;
    unsigned flags = 99;
    int active = -1;

    OK(cuDevicePrimaryCtxGetState(dev, &flags, &active));
    EXPECT_EQ(active, 0);
    OK(cuDevicePrimaryCtxRetain(&a, dev));
    OK(cuDevicePrimaryCtxRetain(&b, dev));
    EXPECT(a != NULL && a == b);
    expect_no_context();
    OK(cuDevicePrimaryCtxGetState(dev, &flags, &active));
    EXPECT_EQ(active, 1);
    OK(cuDevicePrimaryCtxRelease(dev));
    OK(cuDevicePrimaryCtxGetState(dev, &flags, &active));
    EXPECT_EQ(active, 1);
    OK(cuDevicePrimaryCtxRelease(dev));
    OK(cuDevicePrimaryCtxGetState(dev, &flags, &active));
    EXPECT_EQ(active, 0);
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuDevicePrimaryCtxRelease(dev));
}

/* The primary context comes back to life when it is retained again, without what it held. */
static void primary_again(void)
{
    CUdevice dev = begin_device();
    CUcontext context = NULL;
    CUdeviceptr p;
    size_t before = 0, after = 0, total = 0;

    OK(cuDevicePrimaryCtxRetain(&context, dev));
    OK(cuCtxSetCurrent(context));
    p = device_alloc(32 * MIB);
    OK(cuMemGetInfo(&before, &total));
    OK(cuDevicePrimaryCtxRelease(dev));
    OK(cuDevicePrimaryCtxRetain(&context, dev));
    OK(cuCtxSetCurrent(context));
    OK(cuMemGetInfo(&after, &total));
    EXPECT(after >= before + 16 * MIB);
    EXPECT(cuMemFree(p) != CUDA_SUCCESS);
    p = device_alloc(4096);
    launch_fill(0, p, 1024, 9);
    EXPECT_PATTERN(p, 1024, 9);
}

/* Destroying a context gives its memory back and takes it off the stack. */
static void destroy(void)
{
    CUcontext keeper = begin(), context, current = NULL;
    size_t before = 0, with = 0, after = 0, total = 0;
    CUdeviceptr p;

    OK(cuMemGetInfo(&before, &total));
    context = new_context();
    p = device_alloc(32 * MIB);
    EXPECT(p != 0);
    OK(cuMemGetInfo(&with, &total));
    EXPECT(with + 32 * MIB <= before);
    OK(cuCtxDestroy(context));
    OK(cuCtxGetCurrent(&current));
    EXPECT(current == keeper);
    OK(cuMemGetInfo(&after, &total));
    EXPECT(after >= with + 32 * MIB);
    EXPECT(cuMemcpyDtoH(&total, p, sizeof(total)) != CUDA_SUCCESS);
}

struct elsewhere {
    CUcontext context;
    sem_t ready;
    sem_t destroyed;
    CUresult answer;
};

static void hold_context(struct elsewhere *other)
{
    CUdeviceptr p;

    OK(cuCtxSetCurrent(other->context));
    OK(cuMemAlloc(&p, 4096));
    sem_post(&other->ready);
    sem_wait(&other->destroyed);
    other->answer = cuMemAlloc(&p, 4096);
}

static void *hold_context_main(void *arg)
{
    hold_context(arg);
    return NULL;
}

/* A thread that still has a destroyed context is told so by every call. */
static void destroyed_elsewhere(void)
{
    struct elsewhere other;
    pthread_t holder;

    other.context = begin();
    EXPECT(sem_init(&other.ready, 0, 0) == 0 && sem_init(&other.destroyed, 0, 0) == 0);
    EXPECT(pthread_create(&holder, NULL, hold_context_main, &other) == 0);
    EXPECT(sem_wait(&other.ready) == 0);
    OK(cuCtxDestroy(other.context));
    EXPECT(sem_post(&other.destroyed) == 0);
    EXPECT(pthread_join(holder, NULL) == 0);
    answer("alloc", other.answer);
    EXPECT(other.answer == CUDA_ERROR_CONTEXT_IS_DESTROYED ||
           other.answer == CUDA_ERROR_INVALID_CONTEXT);
}

/* With work queued, and with memory, streams, events and modules left over. */
static void destroy_busy(void)
{
    CUcontext context = begin();
    CUstream stream = new_stream(0);
    CUdeviceptr p = device_alloc(MIB);

    new_event(0);
    warm_up();
    for (int i = 0; i < 20; i++)
        launch_fill(stream, p, MIB / 4, (uint32_t)i);
    OK(cuCtxDestroy(context));
    expect_no_context();
    new_context();
    p = device_alloc(MIB);
    launch_fill(0, p, MIB / 4, 5);
    EXPECT_PATTERN(p, MIB / 4, 5);
}

static void destroy_invalid(void)
{
    begin();
    EXPECT_ERROR("null", cuCtxDestroy(NULL));
}

/* Both see the same addresses: copies between two contexts of a device work by address alone. */
static void two(void)
{
    CUcontext a = begin(), b;
    CUdeviceptr pa = device_alloc(MIB), pb;
    CUstream stream;

    launch_fill(0, pa, MIB / 4, 17);
    OK(cuCtxSynchronize());
    b = new_context();
    pb = device_alloc(MIB);
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    OK(cuMemcpyPeerAsync(pb, b, pa, a, MIB, stream));
    OK(cuStreamSynchronize(stream));
    EXPECT_PATTERN(pb, MIB / 4, 17);
}

static void stream_context(void)
{
    CUcontext a = begin(), of_stream = NULL, b;
    CUstream stream = new_stream(0);

    b = new_context();
    OK(cuStreamGetCtx(stream, &of_stream));
    EXPECT(of_stream == a);
    OK(cuStreamGetCtx(0, &of_stream));
    EXPECT(of_stream == b);
}

/* A function belongs to its context; a stream of another one cannot run it. */
static void foreign_stream(void)
{
    CUfunction fill;
    CUstream stream;
    CUdeviceptr p;
    uint64_t words = 4;
    uint32_t seed = 1;
    void *params[] = {&p, &words, &seed};

    begin();
    fill = kernel("tk_fill");
    p = device_alloc(16);
    new_context();
    stream = new_stream(0);
    EXPECT_ERROR("launch", cuLaunchKernel(fill, 1, 1, 1, 32, 1, 1, 0, stream, params, NULL));
}

/* The library's counter in the current context. */
static uint32_t counter_of(CUlibrary library)
{
    CUdeviceptr p = 0;
    uint32_t value = 0;

    OK(cuLibraryGetGlobal(&p, NULL, library, "tk_counter"));
    OK(cuMemcpyDtoH(&value, p, sizeof(value)));
    return value;
}

/* A variable of a library is apart in each context: only that of the stream's context moves. */
static void kernel_variables(void)
{
    CUlibrary library;
    CUkernel globals;
    CUcontext a, b;
    CUstream stream;
    CUdeviceptr out;
    uint32_t n = 16;

    begin_device();
    OK(cuLibraryLoadData(&library, ptx_test_kernels, NULL, NULL, 0, NULL, NULL, 0));
    OK(cuLibraryGetKernel(&globals, library, "tk_globals"));
    a = new_context();
    EXPECT_EQ(counter_of(library), 41);
    b = new_context();
    stream = new_stream(0);
    out = device_alloc(64);
    OK(cuCtxSetCurrent(a));
    LAUNCH((CUfunction)globals, 1, 32, stream, &out, &n);
    OK(cuStreamSynchronize(stream));
    EXPECT_EQ(counter_of(library), 41);
    OK(cuCtxSetCurrent(b));
    EXPECT_EQ(counter_of(library), 42);
}

/* A CUkernel has no context of its own: a launch takes the stream's, whatever is current. */
static void kernel_stream(void)
{
    CUlibrary library;
    CUkernel fill;
    CUcontext a, b;
    CUstream stream;
    CUdeviceptr p;
    uint64_t words = 1024;
    uint32_t seed = 23;

    begin_device();
    OK(cuLibraryLoadData(&library, ptx_test_kernels, NULL, NULL, 0, NULL, NULL, 0));
    OK(cuLibraryGetKernel(&fill, library, "tk_fill"));
    a = new_context();
    b = new_context();
    stream = new_stream(0);
    p = device_alloc(4096);
    OK(cuCtxSetCurrent(a));
    LAUNCH((CUfunction)fill, 8, 128, stream, &p, &words, &seed);
    OK(cuStreamSynchronize(stream));
    OK(cuCtxSetCurrent(b));
    EXPECT_PATTERN(p, 1024, 23);
    /* Without a stream, the current context's. */
    seed = 24;
    LAUNCH((CUfunction)fill, 8, 128, 0, &p, &words, &seed);
    EXPECT_PATTERN(p, 1024, 24);
}

/* A program that ends with work queued and nothing freed ends. */
static void exit_busy(void)
{
    CUstream stream;
    CUdeviceptr p;

    begin();
    stream = new_stream(0);
    p = device_alloc(MIB);
    warm_up();
    pinned_alloc(4096);
    for (int i = 0; i < 20; i++) {
        launch_fill(stream, p, MIB / 4, (uint32_t)i);
        launch_work(0, p);
    }
}

#define CONTEXT_CHECKS(X)                                                                          \
    X(none)                                                                                        \
    X(thread)                                                                                      \
    X(push_pop)                                                                                    \
    X(set_current)                                                                                 \
    X(device)                                                                                      \
    X(primary)                                                                                     \
    X(primary_again)                                                                               \
    X(destroy)                                                                                     \
    X(destroyed_elsewhere)                                                                         \
    X(destroy_busy)                                                                                \
    X(destroy_invalid)                                                                             \
    X(two) X(stream_context) X(foreign_stream) X(kernel_variables) X(kernel_stream) X(exit_busy)
CHECK_GROUP(context, CONTEXT_CHECKS);
