/* check_order.c - which streams wait for which: the legacy default stream, the threads' own default
 * streams, blocking and non-blocking ones.
 *
 * Independence is shown by waiting for one stream while another is behind a closed gate: a driver
 * that orders them hangs, and the time limit tells. Order is shown by data: the later work copies
 * what the earlier work, still behind its gate, has yet to write; before the gate opens, a third
 * stream has done enough work that unordered work would long have run.
 */
#include "conformance.h"

#define WORDS 4096u

struct bench {
    CUcontext context;
    CUstream blocking;
    CUstream other_blocking;
    CUstream free_running;
    CUdeviceptr p;
    CUdeviceptr q;
    CUdeviceptr scratch;
    struct gate gate;
};

static void bench_open(struct bench *bench)
{
    bench->context = begin();
    warm_up();
    bench->blocking = new_stream(CU_STREAM_DEFAULT);
    bench->other_blocking = new_stream(CU_STREAM_DEFAULT);
    bench->free_running = new_stream(CU_STREAM_NON_BLOCKING);
    bench->p = device_alloc(WORDS * 4);
    bench->q = device_alloc(WORDS * 4);
    bench->scratch = device_alloc(WORDS * 4);
    launch_fill(0, bench->p, WORDS, 1);
    launch_fill(0, bench->q, WORDS, 1);
    OK(cuCtxSynchronize());
}

/* Gives unordered work every chance to run. */
static void let_time_pass(struct bench *bench)
{
    for (int i = 0; i < 20; i++) {
        launch_work(bench->free_running, bench->scratch);
        OK(cuStreamSynchronize(bench->free_running));
    }
}

/* first is gated and writes pattern 2 to p; second copies p to q and must wait. */
static void expect_ordered(struct bench *bench, CUstream first, CUstream second)
{
    gate_close(&bench->gate, first);
    launch_fill(first, bench->p, WORDS, 2);
    launch_copy(second, bench->q, bench->p, WORDS);
    let_time_pass(bench);
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(second));
    gate_open(&bench->gate);
    OK(cuStreamSynchronize(second));
    EXPECT_PATTERN(bench->q, WORDS, 2);
}

/* first is gated; second runs to its end meanwhile. */
static void expect_independent(struct bench *bench, CUstream first, CUstream second)
{
    gate_close(&bench->gate, first);
    launch_fill(first, bench->p, WORDS, 2);
    launch_copy(second, bench->q, bench->p, WORDS);
    OK(cuStreamSynchronize(second));
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(first));
    gate_open(&bench->gate);
    OK(cuStreamSynchronize(first));
    EXPECT_PATTERN(bench->q, WORDS, 1);
    EXPECT_PATTERN(bench->p, WORDS, 2);
}

#define ORDERED(check, first, second)                                                              \
    static void check(void)                                                                        \
    {                                                                                              \
        struct bench b;                                                                            \
                                                                                                   \
        bench_open(&b);                                                                            \
        expect_ordered(&b, first, second);                                                         \
    }

#define INDEPENDENT(check, first, second)                                                          \
    static void check(void)                                                                        \
    {                                                                                              \
        struct bench b;                                                                            \
                                                                                                   \
        bench_open(&b);                                                                            \
        expect_independent(&b, first, second);                                                     \
    }

ORDERED(same_stream, b.blocking, b.blocking)
ORDERED(legacy_waits_for_blocking, b.blocking, NULL)
ORDERED(blocking_waits_for_legacy, NULL, b.blocking)
ORDERED(legacy_handle_waits, b.blocking, CU_STREAM_LEGACY)
ORDERED(null_is_legacy, CU_STREAM_LEGACY, NULL)
ORDERED(legacy_waits_for_per_thread, CU_STREAM_PER_THREAD, NULL)
ORDERED(per_thread_waits_for_legacy, NULL, CU_STREAM_PER_THREAD)
INDEPENDENT(non_blocking_and_legacy, NULL, b.free_running)
INDEPENDENT(legacy_and_non_blocking, b.free_running, NULL)
INDEPENDENT(two_blocking, b.blocking, b.other_blocking)
INDEPENDENT(per_thread_and_blocking, CU_STREAM_PER_THREAD, b.blocking)
INDEPENDENT(per_thread_and_non_blocking, b.free_running, CU_STREAM_PER_THREAD)

/* Work queued on the default stream stands between the blocking streams: before it and after it. */
static void legacy_between_blocking(void)
{
    static uint32_t p[WORDS], q[WORDS];
    struct bench b;

    bench_open(&b);
    gate_close(&b.gate, b.blocking);
    launch_fill(b.blocking, b.p, WORDS, 2);
    launch_copy(NULL, b.q, b.p, WORDS);
    launch_triple(b.other_blocking, b.q, WORDS);
    let_time_pass(&b);
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(b.other_blocking));
    gate_open(&b.gate);
    OK(cuStreamSynchronize(b.other_blocking));
    launch_fill(0, b.p, WORDS, 2);
    launch_triple(0, b.p, WORDS);
    OK(cuCtxSynchronize());
    OK(cuMemcpyDtoH(p, b.p, WORDS * 4));
    OK(cuMemcpyDtoH(q, b.q, WORDS * 4));
    EXPECT(memcmp(p, q, WORDS * 4) == 0);
}

struct beside {
    struct bench bench;
    CUfunction copy;
};

static void run_beside(void *arg)
{
    struct beside *beside = arg;
    uint64_t words = WORDS;

    OK(cuCtxSetCurrent(beside->bench.context));
    LAUNCH(beside->copy, 4, 128, CU_STREAM_PER_THREAD, &beside->bench.q, &beside->bench.p, &words);
    OK(cuStreamSynchronize(CU_STREAM_PER_THREAD));
}

/* The same handle names another stream in each thread. */
static void per_thread_of_two_threads(void)
{
    struct beside beside;
    struct bench *b = &beside.bench;

    bench_open(b);
    beside.copy = kernel("tk_copy");
    gate_close(&b->gate, CU_STREAM_PER_THREAD);
    launch_fill(CU_STREAM_PER_THREAD, b->p, WORDS, 2);
    in_thread(run_beside, &beside);
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(CU_STREAM_PER_THREAD));
    gate_open(&b->gate);
    OK(cuStreamSynchronize(CU_STREAM_PER_THREAD));
    EXPECT_PATTERN(b->q, WORDS, 1);
    EXPECT_PATTERN(b->p, WORDS, 2);
}

/* Copies and memsets without a stream are the default stream's work too. */
static void copies_without_stream(void)
{
    uint32_t word = 0;
    struct bench b;

    bench_open(&b);
    gate_close(&b.gate, b.blocking);
    launch_fill(b.blocking, b.p, WORDS, 2);
    OK(cuMemcpyDtoD(b.q, b.p, WORDS * 4));
    OK(cuMemsetD32(b.p, 0x5a5a5a5a, 1));
    launch_triple(b.other_blocking, b.q, WORDS);
    let_time_pass(&b);
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(b.other_blocking));
    gate_open(&b.gate);
    OK(cuStreamSynchronize(b.other_blocking));
    OK(cuMemcpyDtoH(&word, b.q, 4));
    EXPECT_EQ(word, tk_pattern(0, 2) * 3 + 1);
    OK(cuMemcpyDtoH(&word, b.p, 4));
    EXPECT_EQ(word, 0x5a5a5a5a);
}

/* A synchronous copy to the host waits for blocking streams, and for no others. */
static void copy_to_host_waits(void)
{
    uint32_t got = 0;
    struct bench b;

    bench_open(&b);
    gate_close(&b.gate, b.free_running);
    launch_fill(b.free_running, b.q, WORDS, 3);
    OK(cuMemcpyDtoH(&got, b.q, 4));
    EXPECT_EQ(got, tk_pattern(0, 1));
    gate_open(&b.gate);
    OK(cuStreamSynchronize(b.free_running)); /* the gate is on this stack */
    for (int i = 0; i < 8; i++)
        launch_work(b.blocking, b.scratch);
    launch_fill(b.blocking, b.p, WORDS, 4);
    EXPECT_PATTERN(b.p, WORDS, 4);
}

#define ORDER_CHECKS(X)                                                                            \
    X(same_stream)                                                                                 \
    X(legacy_waits_for_blocking)                                                                   \
    X(blocking_waits_for_legacy)                                                                   \
    X(legacy_handle_waits)                                                                         \
    X(null_is_legacy)                                                                              \
    X(legacy_waits_for_per_thread)                                                                 \
    X(per_thread_waits_for_legacy)                                                                 \
    X(non_blocking_and_legacy)                                                                     \
    X(legacy_and_non_blocking)                                                                     \
    X(two_blocking)                                                                                \
    X(per_thread_and_blocking)                                                                     \
    X(per_thread_and_non_blocking)                                                                 \
    X(legacy_between_blocking)                                                                     \
    X(per_thread_of_two_threads) X(copies_without_stream) X(copy_to_host_waits)
CHECK_GROUP(order, ORDER_CHECKS);
