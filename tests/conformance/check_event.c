/* check_event.c - events: snapshots of a stream, waits across streams, elapsed time. */
#include "conformance.h"

#define WORDS 4096u

/* An event that was never recorded is complete, and waiting for it is no wait. */
static void unrecorded(void)
{
    CUevent event;
    CUstream stream;

    begin();
    event = new_event(0);
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    OK(cuEventQuery(event));
    OK(cuEventSynchronize(event));
    OK(cuStreamWaitEvent(stream, event, 0));
    OK(cuStreamSynchronize(stream));
    OK(cuEventDestroy(event));
}

static void query(void)
{
    CUevent event;
    CUstream stream;
    struct gate gate;

    begin();
    warm_up();
    event = new_event(0);
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    gate_close(&gate, stream);
    OK(cuEventRecord(event, stream));
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuEventQuery(event));
    gate_open(&gate);
    OK(cuEventSynchronize(event));
    OK(cuEventQuery(event));
    OK(cuStreamSynchronize(stream));
}

/* What is queued behind the record does not belong to the event. */
static void only_earlier_work(void)
{
    CUevent event;
    CUstream stream;
    struct gate gate;

    begin();
    warm_up();
    event = new_event(CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING);
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    OK(cuEventRecord(event, stream));
    gate_close(&gate, stream);
    OK(cuEventSynchronize(event));
    OK(cuEventQuery(event));
    gate_open(&gate);
    OK(cuStreamSynchronize(stream));
}

/* A wait orders two streams: data flows from one to the other. */
static void across_streams(void)
{
    CUstream first, second, third;
    CUdeviceptr p, q, slow;
    struct gate gate;
    CUevent event;

    begin();
    warm_up();
    first = new_stream(CU_STREAM_NON_BLOCKING);
    second = new_stream(CU_STREAM_NON_BLOCKING);
    third = new_stream(CU_STREAM_NON_BLOCKING);
    event = new_event(CU_EVENT_DISABLE_TIMING);
    p = device_alloc(WORDS * 4);
    q = device_alloc(WORDS * 4);
    slow = device_alloc(64);
    gate_close(&gate, first);
    launch_fill(first, p, WORDS, 2);
    OK(cuEventRecord(event, first));
    OK(cuStreamWaitEvent(second, event, 0));
    launch_copy(second, q, p, WORDS);
    for (int i = 0; i < 20; i++) {
        launch_work(third, slow);
        OK(cuStreamSynchronize(third));
    }
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(second));
    gate_open(&gate);
    OK(cuStreamSynchronize(second));
    EXPECT_PATTERN(q, WORDS, 2);
}

/* A wait is for the record that was the last at the time of the call: a later record, behind a gate
 * that only opens afterwards, does not hold it up. */
static void wait_takes_snapshot(void)
{
    CUstream first, second;
    struct gate gate;
    CUevent event;

    begin();
    warm_up();
    first = new_stream(CU_STREAM_NON_BLOCKING);
    second = new_stream(CU_STREAM_NON_BLOCKING);
    event = new_event(0);
    OK(cuEventRecord(event, first));
    OK(cuStreamWaitEvent(second, event, 0));
    gate_close(&gate, first);
    OK(cuEventRecord(event, first));
    OK(cuStreamSynchronize(second));
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuEventQuery(event));
    gate_open(&gate);
    OK(cuEventSynchronize(event));
}

/* The wait comes first, the record later: no wait at all. */
static void wait_before_record(void)
{
    CUstream first, second;
    struct gate gate, second_gate;
    CUevent event;

    begin();
    warm_up();
    first = new_stream(CU_STREAM_NON_BLOCKING);
    second = new_stream(CU_STREAM_NON_BLOCKING);
    event = new_event(0);
    gate_close(&second_gate, second);
    OK(cuStreamWaitEvent(second, event, 0));
    gate_open(&second_gate);
    OK(cuStreamSynchronize(second));
    OK(cuStreamWaitEvent(second, event, 0));
    gate_close(&gate, first);
    OK(cuEventRecord(event, first));
    OK(cuStreamSynchronize(second));
    gate_open(&gate);
    OK(cuEventSynchronize(event));
}

/* A second record replaces the first for those who ask later. */
static void recorded_again(void)
{
    CUstream first, second;
    struct gate gate;
    CUevent event;

    begin();
    warm_up();
    first = new_stream(CU_STREAM_NON_BLOCKING);
    second = new_stream(CU_STREAM_NON_BLOCKING);
    event = new_event(0);
    gate_close(&gate, first);
    OK(cuEventRecord(event, first));
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuEventQuery(event));
    OK(cuEventRecord(event, second));
    OK(cuEventSynchronize(event));
    OK(cuEventQuery(event));
    gate_open(&gate);
    OK(cuStreamSynchronize(first));
}

/* On the default stream a record stands behind the blocking streams' work. */
static void record_on_default(void)
{
    CUstream blocking;
    struct gate gate;
    CUevent event;

    begin();
    warm_up();
    blocking = new_stream(0);
    event = new_event(0);
    gate_close(&gate, blocking);
    OK(cuEventRecord(event, 0));
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuEventQuery(event));
    gate_open(&gate);
    OK(cuEventSynchronize(event));
    OK(cuStreamQuery(blocking));
}

static void elapsed(void)
{
    CUevent start, middle, end;
    float first = -1, second = -1, whole = -1;
    CUstream stream;
    CUdeviceptr out;

    begin();
    warm_up();
    start = new_event(0);
    middle = new_event(0);
    end = new_event(0);
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    out = device_alloc(64);
    OK(cuEventRecord(start, stream));
    launch_work(stream, out);
    OK(cuEventRecord(middle, stream));
    launch_work(stream, out);
    launch_work(stream, out);
    OK(cuEventRecord(end, stream));
    OK(cuStreamSynchronize(stream));
    OK(cuEventElapsedTime(&first, start, middle));
    OK(cuEventElapsedTime(&second, middle, end));
    OK(cuEventElapsedTime(&whole, start, end));
    EXPECT(first > 0 && second > 0 && whole > 0 && whole < 60000);
    EXPECT(whole > (first + second) * 0.99f && whole < (first + second) * 1.01f);
}

static void elapsed_errors(void)
{
    CUevent start, end, untimed, never;
    CUstream stream;
    struct gate gate;
    float ms = -1;

    begin();
    warm_up();
    start = new_event(0);
    end = new_event(0);
    never = new_event(0);
    untimed = new_event(CU_EVENT_DISABLE_TIMING);
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    OK(cuEventRecord(start, stream));
    OK(cuEventRecord(untimed, stream));
    OK(cuStreamSynchronize(stream));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuEventElapsedTime(&ms, start, never));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuEventElapsedTime(&ms, start, untimed));
    gate_close(&gate, stream);
    OK(cuEventRecord(end, stream));
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuEventElapsedTime(&ms, start, end));
    gate_open(&gate);
    OK(cuEventSynchronize(end));
    OK(cuEventElapsedTime(&ms, start, end));
    EXPECT(ms >= 0);
}

static void destroy_pending(void)
{
    CUstream first, second;
    CUdeviceptr p, q;
    struct gate gate;
    CUevent event;

    begin();
    warm_up();
    first = new_stream(CU_STREAM_NON_BLOCKING);
    second = new_stream(CU_STREAM_NON_BLOCKING);
    event = new_event(0);
    p = device_alloc(WORDS * 4);
    q = device_alloc(WORDS * 4);
    gate_close(&gate, first);
    launch_fill(first, p, WORDS, 6);
    OK(cuEventRecord(event, first));
    OK(cuStreamWaitEvent(second, event, 0));
    OK(cuEventDestroy(event));
    launch_copy(second, q, p, WORDS);
    gate_open(&gate);
    OK(cuStreamSynchronize(second));
    EXPECT_PATTERN(q, WORDS, 6);
}

static void arguments(void)
{
    CUevent event = NULL;
    CUstream stream;

    begin();
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuEventCreate(&event, 0x1000));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuEventCreate(NULL, 0));
    event = new_event(0);
    new_context();
    stream = new_stream(0);
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuEventRecord(event, stream));
}

struct waiter {
    CUcontext context;
    CUevent event;
    const uint32_t *out;
    sem_t started;
    uint32_t seen;
};

static void *wait_main(void *arg)
{
    struct waiter *waiter = arg;

    OK(cuCtxSetCurrent(waiter->context));
    sem_post(&waiter->started);
    OK(cuEventSynchronize(waiter->event));
    waiter->seen = waiter->out[9];
    return NULL;
}

/* Another thread waits, with no hand on the stream. */
static void synchronize_in_thread(void)
{
    struct waiter waiter;
    CUstream stream;
    struct gate gate;
    pthread_t thread;
    uint32_t *out;

    waiter.context = begin();
    warm_up();
    waiter.event = new_event(CU_EVENT_BLOCKING_SYNC);
    waiter.out = out = pinned_alloc(WORDS * 4);
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    EXPECT(sem_init(&waiter.started, 0, 0) == 0);
    gate_close(&gate, stream);
    launch_fill(stream, (CUdeviceptr)(uintptr_t)out, WORDS, 7);
    OK(cuEventRecord(waiter.event, stream));
    EXPECT(pthread_create(&thread, NULL, wait_main, &waiter) == 0);
    EXPECT(sem_wait(&waiter.started) == 0);
    gate_open(&gate);
    EXPECT(pthread_join(thread, NULL) == 0);
    EXPECT_EQ(waiter.seen, tk_pattern(9, 7));
}

#define EVENT_CHECKS(X)                                                                            \
    X(unrecorded)                                                                                  \
    X(query)                                                                                       \
    X(only_earlier_work)                                                                           \
    X(across_streams)                                                                              \
    X(wait_takes_snapshot)                                                                         \
    X(wait_before_record)                                                                          \
    X(recorded_again)                                                                              \
    X(record_on_default)                                                                           \
    X(elapsed) X(elapsed_errors) X(destroy_pending) X(arguments) X(synchronize_in_thread)
CHECK_GROUP(event, EVENT_CHECKS);
