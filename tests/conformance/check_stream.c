/* check_stream.c - streams run later than the host; host functions; the end of a stream. */
#include "conformance.h"
#include <stdatomic.h>

/* A launch returns at once: behind a closed gate the work cannot have run. */
static void later_than_host(void)
{
    uint32_t *seen;
    CUstream stream;
    struct gate gate;

    begin();
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    seen = pinned_alloc(4096);
    memset(seen, 0, 4096);
    gate_close(&gate, stream);
    launch_fill(stream, (CUdeviceptr)(uintptr_t)seen, 1024, 3);
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(stream));
    EXPECT_EQ(seen[100], 0);
    gate_open(&gate);
    OK(cuStreamSynchronize(stream));
    OK(cuStreamQuery(stream));
    EXPECT_HOST_PATTERN(seen, 1024, 3);
}

static void context_waits_for_all(void)
{
    CUstream streams[6];
    CUdeviceptr slow;
    uint32_t *out;

    begin();
    warm_up();
    slow = device_alloc(64);
    out = pinned_alloc(6 * 4096);
    memset(out, 0, 6 * 4096);
    for (uint32_t i = 0; i < 6; i++) {
        streams[i] = new_stream(i % 2 ? CU_STREAM_NON_BLOCKING : 0);
        launch_work(streams[i], slow);
        launch_fill(streams[i], (CUdeviceptr)(uintptr_t)out + i * 4096, 1024, i);
    }
    OK(cuCtxSynchronize());
    for (uint32_t i = 0; i < 6; i++)
        EXPECT_HOST_PATTERN(out + i * 1024, 1024, i);
}

static void flags(void)
{
    CUstream stream = NULL;
    unsigned got = 99;

    begin();
    OK(cuStreamGetFlags(new_stream(0), &got));
    EXPECT_EQ(got, 0);
    OK(cuStreamGetFlags(new_stream(CU_STREAM_NON_BLOCKING), &got));
    EXPECT_EQ(got, CU_STREAM_NON_BLOCKING);
    OK(cuStreamCreateWithPriority(&stream, CU_STREAM_NON_BLOCKING, 0));
    OK(cuStreamSynchronize(stream));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamCreate(&stream, 0x100));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamCreate(NULL, 0));
}

/* Destroying a stream does not throw its work away. */
static void destroy_busy(void)
{
    CUstream stream, probe;
    struct gate gate;
    uint32_t *out;

    begin();
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    probe = new_stream(CU_STREAM_NON_BLOCKING);
    out = pinned_alloc(4096);
    memset(out, 0, 4096);
    gate_close(&gate, stream);
    launch_fill(stream, (CUdeviceptr)(uintptr_t)out, 1024, 8);
    OK(cuStreamDestroy(stream));
    OK(cuStreamSynchronize(probe));
    EXPECT_EQ(out[7], 0);
    gate_open(&gate);
    OK(cuCtxSynchronize());
    EXPECT_HOST_PATTERN(out, 1024, 8);
}

struct trace {
    CUdeviceptr device;
    const uint32_t *seen;
    uint32_t value;
    CUresult results[4];
    int called;
};

static void look(void *arg)
{
    struct trace *trace = arg;

    trace->value = trace->seen[10];
    trace->called++;
}

/* A stream waits until a word in pinned memory is as it is to be, and other streams do not. */
static void wait_for_value(void)
{
    CUstream stream, other;
    uint32_t *out;
    _Atomic uint32_t *word;

    begin();
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    other = new_stream(CU_STREAM_NON_BLOCKING);
    out = pinned_alloc(2 * 4096);
    memset(out, 0, 2 * 4096);
    word = pinned_alloc(64);
    atomic_store(word, 0);
    OK(cuStreamWaitValue32(stream, (CUdeviceptr)(uintptr_t)word, 3, CU_STREAM_WAIT_VALUE_GEQ));
    launch_fill(stream, (CUdeviceptr)(uintptr_t)out, 1024, 8);
    launch_fill(other, (CUdeviceptr)(uintptr_t)(out + 1024), 1024, 9);
    OK(cuStreamSynchronize(other));
    EXPECT_HOST_PATTERN(out + 1024, 1024, 9);
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(stream));
    atomic_store(word, 2);
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(stream));
    EXPECT_EQ(out[7], 0);
    atomic_store(word, 4);
    OK(cuStreamSynchronize(stream));
    EXPECT_HOST_PATTERN(out, 1024, 8);
    OK(cuStreamWaitValue32(stream, (CUdeviceptr)(uintptr_t)word, 4, CU_STREAM_WAIT_VALUE_EQ));
    OK(cuStreamWaitValue32(stream, (CUdeviceptr)(uintptr_t)word, 12, CU_STREAM_WAIT_VALUE_AND));
    OK(cuStreamWaitValue32(stream, (CUdeviceptr)(uintptr_t)word, 8, CU_STREAM_WAIT_VALUE_NOR));
    OK(cuStreamSynchronize(stream));
    EXPECT_CU(
        CUDA_ERROR_INVALID_VALUE,
        cuStreamWaitValue32(stream, (CUdeviceptr)(uintptr_t)word + 2, 0, CU_STREAM_WAIT_VALUE_GEQ));
}

/* A host function runs after what is before it in the stream and before what is behind it. */
static void host_function(void)
{
    struct trace first = {0}, second = {0};
    CUdeviceptr slow;
    CUstream stream;
    uint32_t *out;

    begin();
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    slow = device_alloc(64);
    out = pinned_alloc(4096);
    first.seen = second.seen = out;
    launch_work(stream, slow);
    launch_fill(stream, (CUdeviceptr)(uintptr_t)out, 1024, 1);
    OK(cuLaunchHostFunc(stream, look, &first));
    launch_fill(stream, (CUdeviceptr)(uintptr_t)out, 1024, 2);
    OK(cuLaunchHostFunc(stream, look, &second));
    launch_fill(stream, (CUdeviceptr)(uintptr_t)out, 1024, 3);
    OK(cuStreamSynchronize(stream));
    EXPECT(first.called == 1 && second.called == 1);
    EXPECT_EQ(first.value, tk_pattern(10, 1));
    EXPECT_EQ(second.value, tk_pattern(10, 2));
    EXPECT_HOST_PATTERN(out, 1024, 3);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuLaunchHostFunc(stream, NULL, NULL));
}

static void call_cuda(void *arg)
{
    struct trace *trace = arg;
    CUdeviceptr p = 0;

    trace->results[0] = cuMemAlloc(&p, 4096);
    trace->results[1] = cuCtxSynchronize();
    trace->results[2] = cuStreamSynchronize(0);
    trace->called = 1;
}

/* A host function may not call CUDA. */
static void host_function_calls_cuda(void)
{
    struct trace trace = {0};
    CUstream stream;

    begin();
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    OK(cuLaunchHostFunc(stream, call_cuda, &trace));
    OK(cuStreamSynchronize(stream));
    EXPECT_EQ(trace.called, 1);
    EXPECT_EQ(trace.results[0], CUDA_ERROR_NOT_PERMITTED);
    answer("context_synchronize", trace.results[1]);
    answer("stream_synchronize", trace.results[2]);
    /* The context is none the worse for it. */
    warm_up();
}

static void on_callback(CUstream stream, CUresult status, void *arg)
{
    struct trace *trace = arg;

    (void)stream;
    trace->results[0] = status;
    look(arg);
}

static void callback(void)
{
    struct trace trace = {0};
    CUstream stream;
    uint32_t *out;

    begin();
    warm_up();
    stream = new_stream(0);
    out = pinned_alloc(4096);
    trace.seen = out;
    trace.results[0] = CUDA_ERROR_UNKNOWN;
    launch_fill(stream, (CUdeviceptr)(uintptr_t)out, 1024, 4);
    OK(cuStreamAddCallback(stream, on_callback, &trace, 0));
    OK(cuStreamSynchronize(stream));
    EXPECT_EQ(trace.called, 1);
    EXPECT_EQ(trace.results[0], CUDA_SUCCESS);
    EXPECT_EQ(trace.value, tk_pattern(10, 4));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuStreamAddCallback(stream, on_callback, &trace, 1));
}

struct worker {
    CUcontext context;
    CUfunction fill;
    CUdeviceptr p;
    uint32_t seed;
};

static void *work_main(void *arg)
{
    struct worker *worker = arg;
    uint64_t words = 10000;
    CUstream stream;

    OK(cuCtxSetCurrent(worker->context));
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    for (uint32_t i = 0; i < 30; i++) {
        uint32_t seed = worker->seed * 100 + i;

        LAUNCH(worker->fill, 4, 128, stream, &worker->p, &words, &seed);
        if (i % 10 == 9) {
            OK(cuStreamSynchronize(stream));
            EXPECT_PATTERN(worker->p, words, seed);
        }
    }
    OK(cuStreamDestroy(stream));
    return NULL;
}

/* Many threads share a context, each with a stream of its own. */
static void threads(void)
{
    struct worker workers[8];
    pthread_t ids[8];
    CUcontext context = begin();

    for (uint32_t i = 0; i < 8; i++) {
        workers[i] = (struct worker){context, kernel("tk_fill"), device_alloc(40000), i};
        EXPECT(pthread_create(&ids[i], NULL, work_main, &workers[i]) == 0);
    }
    for (uint32_t i = 0; i < 8; i++)
        EXPECT(pthread_join(ids[i], NULL) == 0);
}

#define STREAM_CHECKS(X)                                                                           \
    X(later_than_host)                                                                             \
    X(context_waits_for_all)                                                                       \
    X(flags)                                                                                       \
    X(destroy_busy)                                                                                \
    X(wait_for_value) X(host_function) X(host_function_calls_cuda) X(callback) X(threads)
CHECK_GROUP(stream, STREAM_CHECKS);
