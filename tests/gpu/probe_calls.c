/* probe_calls.c - does a thread that prefetches hold up the other calls of its context?
 *
 * A thread loads and drops managed memory as the pager does, its loads on three streams in turns,
 * which are mostly idle then; the same behind gates, so that none is; or all on one stream. Beside
 * it the program's thread records events, with a pause after each.
 *
 * Answers: what such a call takes on average, alone and beside all three; how fast the loads are in
 * each way, and how long the calls take that queue one; and so whether loads behind gates
 * (shim/gate.h) are what they are meant to be.
 */
#include "probe.h"

#include <pthread.h>
#include <stdatomic.h>

#define STREAMS  3
#define PIECE    (4 * MIB)
#define WINDOW   4 /* pieces that are there, or on their way */
#define CALLS    2000
#define PAUSE_NS 20000

struct loader {
    CUcontext context;
    CUdeviceptr ptr;
    size_t pieces;
    size_t streams; /* that the loads take turns on */
    CUstream load[STREAMS], drop;
    _Atomic uint32_t *gate; /* a word for each of load */
    int gated;
    CUevent arrived[WINDOW];
    _Atomic int stop;
    _Atomic size_t loaded; /* pieces */
    double call_ns;        /* of all calls that queue one, together */
};

static void queue_piece(struct loader *l, CUdeviceptr at, size_t turn)
{
    CUstream stream = l->load[turn % l->streams];
    _Atomic uint32_t *gate = &l->gate[turn % l->streams];
    uint32_t number = atomic_load(gate) + 1;

    if (l->gated)
        CUDA_CHECK(cuStreamWaitValue32(stream, (CUdeviceptr)(uintptr_t)gate, number,
                                       CU_STREAM_WAIT_VALUE_GEQ));
    CUDA_CHECK(cuMemAdvise(at, PIECE, CU_MEM_ADVISE_SET_READ_MOSTLY, probe_device));
    CUDA_CHECK(cuMemPrefetchAsync(at, PIECE, probe_device, 0, stream));
    atomic_store(gate, number);
    CUDA_CHECK(cuEventRecord(l->arrived[turn % WINDOW], stream));
}

static void load_piece(struct loader *l, size_t turn)
{
    CUdeviceptr at = l->ptr + turn % l->pieces * PIECE;
    double from = probe_now_ns();

    queue_piece(l, at, turn);
    l->call_ns += probe_now_ns() - from;
    atomic_fetch_add(&l->loaded, 1);
}

static void drop_piece(struct loader *l, size_t turn)
{
    CUdeviceptr at = l->ptr + turn % l->pieces * PIECE;

    CUDA_CHECK(cuEventSynchronize(l->arrived[turn % WINDOW]));
    CUDA_CHECK(cuMemPrefetchAsync(at, PIECE, probe_host_memory, 0, l->drop));
    CUDA_CHECK(cuMemAdvise(at, PIECE, CU_MEM_ADVISE_UNSET_READ_MOSTLY, probe_device));
}

static void *load_and_drop(void *arg)
{
    struct loader *l = arg;
    size_t turn = 0;

    CUDA_CHECK(cuCtxSetCurrent(l->context));
    while (!atomic_load(&l->stop)) {
        if (turn >= WINDOW)
            drop_piece(l, turn - WINDOW);
        load_piece(l, turn++);
    }
    for (size_t left = turn > WINDOW ? turn - WINDOW : 0; left < turn; left++)
        drop_piece(l, left);
    return NULL;
}

static double record_ns(struct probe *p)
{
    double sum = 0;
    CUevent event;

    CUDA_CHECK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    for (int i = 0; i < CALLS; i++) {
        double from = probe_now_ns(), until;

        CUDA_CHECK(cuEventRecord(event, p->stream));
        until = probe_now_ns();
        sum += until - from;
        while (probe_now_ns() < until + PAUSE_NS)
            ;
    }
    CUDA_CHECK(cuEventDestroy(event));
    return sum / CALLS;
}

static void measure_beside(struct probe *p, struct loader *l, size_t streams, int gated,
                           const char *how)
{
    double begin = probe_now_ns();
    pthread_t thread;

    l->streams = streams;
    l->gated = gated;
    l->call_ns = 0;
    atomic_store(&l->stop, 0);
    atomic_store(&l->loaded, 0);
    if (pthread_create(&thread, NULL, load_and_drop, l))
        probe_fail("no thread");
    probe_figure(p, how, "record_ns", record_ns(p));
    probe_figure(p, how, "load_GB_per_s",
                 (double)(atomic_load(&l->loaded) * PIECE) / (probe_now_ns() - begin));
    atomic_store(&l->stop, 1);
    pthread_join(thread, NULL);
    probe_figure(p, how, "call_ns", l->call_ns / (double)atomic_load(&l->loaded));
}

void probe_calls(struct probe *p)
{
    struct loader l = {.pieces = 0};

    probe_open(p);
    if (!probe_attribute(CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS))
        probe_skip("no concurrent managed access (attribute 89) on this device");
    l.context = p->context;
    l.pieces = p->bytes / PIECE > 2 * WINDOW ? p->bytes / PIECE : 2 * WINDOW;
    CUDA_CHECK(cuMemHostAlloc((void **)&l.gate, STREAMS * sizeof(*l.gate), 0));
    for (int i = 0; i < STREAMS; i++) {
        CUDA_CHECK(cuStreamCreate(&l.load[i], CU_STREAM_NON_BLOCKING));
        atomic_store(&l.gate[i], 0);
    }
    CUDA_CHECK(cuStreamCreate(&l.drop, CU_STREAM_NON_BLOCKING));
    for (int i = 0; i < WINDOW; i++)
        CUDA_CHECK(cuEventCreate(&l.arrived[i], CU_EVENT_DISABLE_TIMING));
    CUDA_CHECK(cuMemAllocManaged(&l.ptr, l.pieces * PIECE, CU_MEM_ATTACH_GLOBAL));
    CUDA_CHECK(cuMemAdvise(l.ptr, l.pieces * PIECE, CU_MEM_ADVISE_SET_PREFERRED_LOCATION,
                           probe_host_memory));
    for (size_t at = 0; at < l.pieces * PIECE; at += 4096)
        *(volatile char *)(uintptr_t)(l.ptr + at) = 2;
    probe_number(p, "alone_record_ns", record_ns(p));
    measure_beside(p, &l, STREAMS, 0, "beside_loads_on_three_streams");
    measure_beside(p, &l, STREAMS, 1, "beside_loads_behind_gates");
    measure_beside(p, &l, 1, 0, "beside_loads_on_one_stream");
    CUDA_CHECK(cuCtxSynchronize());
}
