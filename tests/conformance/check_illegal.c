/* check_illegal.c - kernels that do wrong: the error comes with the next wait and never goes. */
#include "conformance.h"

/* One store or load at an address, by a kernel; the launch itself succeeds. */
static void poke(CUstream stream, CUdeviceptr p)
{
    uint64_t index = 0;
    uint32_t value = 1;

    LAUNCH(kernel("tk_poke"), 1, 32, stream, &p, &index, &value);
}

static void peek(CUdeviceptr out, CUdeviceptr p)
{
    uint64_t index = 0;

    LAUNCH(kernel("tk_peek"), 1, 32, 0, &out, &p, &index);
}

static void write_nowhere(void)
{
    begin();
    warm_up();
    poke(0, 16);
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
}

static void read_nowhere(void)
{
    CUdeviceptr out;

    begin();
    warm_up();
    out = device_alloc(64);
    peek(out, 4096);
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
}

/* Far beyond the end of an allocation. */
static void beyond(void)
{
    CUdeviceptr p;

    begin();
    warm_up();
    p = device_alloc(2 * MIB);
    poke(0, p + ((CUdeviceptr)1 << 43));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
}

/* An allocation so large that the driver gives its pages back. */
static void after_free(void)
{
    CUdeviceptr p;

    begin();
    warm_up();
    p = device_alloc(48 * MIB);
    /* The page must have been in use: one that nobody wrote to may never have been mapped. */
    launch_fill(0, p + 24 * MIB, 1024, 1);
    EXPECT_PATTERN(p + 24 * MIB, 1024, 1);
    OK(cuMemFree(p));
    poke(0, p + 24 * MIB);
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
}

/* Pageable host memory, where the device has no part in it. */
static void pageable(void)
{
    uint32_t *host = calloc(1, 4096);

    EXPECT(host != NULL);
    begin();
    warm_up();
    if (device_attribute(CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS))
        check_skip("the device may use pageable memory here (attribute 88)");
    poke(0, (CUdeviceptr)(uintptr_t)host);
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
    EXPECT_EQ(host[0], 0);
}

/* Host memory that was registered and is not any more. */
static void unregistered(void)
{
    uint32_t *host = aligned_alloc(2 * MIB, 2 * MIB);

    EXPECT(host != NULL);
    begin();
    warm_up();
    if (device_attribute(CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS))
        check_skip("the device may use pageable memory here (attribute 88)");
    memset(host, 0, 2 * MIB);
    OK(cuMemHostRegister(host, 2 * MIB, CU_MEMHOSTREGISTER_DEVICEMAP));
    poke(0, (CUdeviceptr)(uintptr_t)host);
    OK(cuCtxSynchronize());
    EXPECT_EQ(host[0], 1);
    OK(cuMemHostUnregister(host));
    poke(0, (CUdeviceptr)(uintptr_t)(host + 1024));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
}

static void misaligned(void)
{
    CUdeviceptr p;

    begin();
    warm_up();
    p = device_alloc(4096);
    poke(0, p + 2);
    EXPECT_CU(CUDA_ERROR_MISALIGNED_ADDRESS, cuCtxSynchronize());
    EXPECT_CU(CUDA_ERROR_MISALIGNED_ADDRESS, cuCtxSynchronize());
}

/* The launch succeeds; the error belongs to whoever waits, be it a stream, an event or a copy. */
static void reported_late(void)
{
    CUstream stream;
    struct gate gate;

    begin();
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    /* Loaded before the gate closes; a store of nothing wrong. */
    poke(stream, device_alloc(64));
    OK(cuStreamSynchronize(stream));
    gate_close(&gate, stream);
    poke(stream, 16);
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(stream));
    gate_open(&gate);
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(stream));
}

static void reported_by_event(void)
{
    CUstream stream;
    struct gate gate;
    CUevent event;

    begin();
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    event = new_event(0);
    poke(stream, device_alloc(64));
    OK(cuStreamSynchronize(stream));
    gate_close(&gate, stream);
    poke(stream, 16);
    OK(cuEventRecord(event, stream));
    gate_open(&gate);
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuEventSynchronize(event));
}

static void reported_by_copy(void)
{
    uint32_t got;
    CUdeviceptr p;

    begin();
    warm_up();
    p = device_alloc(64);
    poke(0, 16);
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemcpyDtoH(&got, p, 4));
}

/* From then on everything that has to do with the device answers 700, also in other threads. */
static void in_other_thread(void *arg)
{
    CUdeviceptr p;

    OK(cuCtxSetCurrent(arg));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemAlloc(&p, 64));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
}

static void sticky(void)
{
    CUcontext context = begin(), current = NULL;
    CUfunction fill;
    CUstream stream;
    CUevent event;
    CUdeviceptr p, q;
    uint64_t words = 4;
    uint32_t seed = 1, word = 0;
    void *list[] = {&p, &words, &seed};
    CUstream made;
    int count;

    warm_up();
    fill = kernel("tk_fill");
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    event = new_event(0);
    p = device_alloc(4096);
    poke(0, 16);
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemAlloc(&q, 64));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemcpyDtoH(&word, p, 4));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemcpyHtoD(p, &word, 4));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemsetD8(p, 0, 4));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS,
              cuLaunchKernel(fill, 1, 1, 1, 32, 1, 1, 0, stream, list, NULL));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(stream));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamQuery(stream));
    answer("event_record", cuEventRecord(event, stream));
    answer("event_query", cuEventQuery(event));
    answer("stream_create", cuStreamCreate(&made, 0));
    answer("mem_free", cuMemFree(p));
    in_thread(in_other_thread, context);
    /* What does not concern the device still answers. */
    OK(cuCtxGetCurrent(&current));
    EXPECT(current == context);
    OK(cuDeviceGetCount(&count));
}

/* A process with an illegal access behind it must still be able to end; so must the context. */
static void destroy_after(void)
{
    CUcontext context = begin();

    warm_up();
    poke(0, 16);
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
    answer("destroy", cuCtxDestroy(context));
}

/* The error is the process's: no context takes it away. Whether one that was there before goes on
 * is not said. */
static void for_good(void)
{
    CUcontext other = begin(), context = new_context(), primary = NULL;

    warm_up();
    poke(0, 16);
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
    OK(cuCtxDestroy(context));
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxCreate(&context, NULL, 0, 0));
    answer("primary", cuDevicePrimaryCtxRetain(&primary, 0));
    OK(cuCtxSetCurrent(other));
    answer("other_context", cuCtxSynchronize());
}

/* Neither an allocation that is refused nor a wrong call is sticky. */
static void errors_that_pass(void)
{
    CUdeviceptr p;
    size_t free_bytes, total;

    begin();
    OK(cuMemGetInfo(&free_bytes, &total));
    EXPECT_CU(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc(&p, total * 2));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAlloc(&p, 0));
    EXPECT(cuMemFree(0x12345000) != CUDA_SUCCESS);
    OK(cuCtxSynchronize());
    warm_up();
}

#define ILLEGAL_CHECKS(X)                                                                          \
    X(write_nowhere)                                                                               \
    X(read_nowhere)                                                                                \
    X(beyond)                                                                                      \
    X(after_free)                                                                                  \
    X(pageable)                                                                                    \
    X(unregistered)                                                                                \
    X(misaligned)                                                                                  \
    X(reported_late)                                                                               \
    X(reported_by_event)                                                                           \
    X(reported_by_copy) X(sticky) X(destroy_after) X(for_good) X(errors_that_pass)
CHECK_GROUP(illegal, ILLEGAL_CHECKS);
