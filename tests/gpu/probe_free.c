/* probe_free.c - which calls wait for work that they have nothing to do with, and for a free?
 *
 * A host function holds up a non-blocking stream for HOLD_NS and ends by itself, so that nothing
 * here hangs. Meanwhile one call is made that does not concern that stream: with nothing held
 * (idle), beside the host function (held), and beside another thread that frees device memory
 * (beside_free) or managed memory (beside_managed_free) all the while. Where work is queued, it is
 * waited for as well, in its own stream (whole). What takes about HOLD_NS has waited: beside the
 * host function the whole counts, beside a free the call, for there the waiting itself may wait.
 *
 * Answers: does the driver's free wait for all work of a context, and do other calls
 * wait behind it; does a copy from managed memory to pageable memory, or a prefetch behind an event
 * that has not come yet, need the thread of the driver that runs host functions.
 */
#include "probe.h"

#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#define HOLD_NS    30000000l
#define ENTER_NS   5000000 /* that a thread is given to be well inside of its call */
#define ROUNDS_MAX 3       /* each of them lasts HOLD_NS */

struct freeing {
    CUstream held, other;
    CUfunction fill;
    CUdeviceptr plain, managed; /* PAGE_BYTES that stay */
    CUdeviceptr taken;          /* by the call */
    CUevent event, reached;
    void *pageable;
    sem_t holding; /* the host function has begun */
};

/* Made before the stream is held, then in question; CUDA_CHECK() ends the process on failure. */
struct call {
    const char *name;
    void (*before)(struct probe *p, struct freeing *f);
    void (*make)(struct probe *p, struct freeing *f);
    void (*after)(struct probe *p, struct freeing *f);
    int needs_managed;
};

static void alloc_plain(struct probe *p, struct freeing *f)
{
    (void)p;
    CUDA_CHECK(cuMemAlloc(&f->taken, PAGE_BYTES));
}

static void alloc_managed(struct probe *p, struct freeing *f)
{
    (void)p;
    CUDA_CHECK(cuMemAllocManaged(&f->taken, PAGE_BYTES, CU_MEM_ATTACH_GLOBAL));
}

static void alloc_managed_there(struct probe *p, struct freeing *f)
{
    alloc_managed(p, f);
    CUDA_CHECK(cuMemPrefetchAsync(f->taken, PAGE_BYTES, probe_device, 0, p->stream));
    CUDA_CHECK(cuStreamSynchronize(p->stream));
}

static void free_taken(struct probe *p, struct freeing *f)
{
    (void)p;
    CUDA_CHECK(cuMemFree(f->taken));
}

static void alloc_async(struct probe *p, struct freeing *f)
{
    CUDA_CHECK(cuMemAllocAsync(&f->taken, PAGE_BYTES, p->stream));
}

static void free_async(struct probe *p, struct freeing *f)
{
    CUDA_CHECK(cuMemFreeAsync(f->taken, p->stream));
}

static void be_duplicate(struct probe *p, struct freeing *f)
{
    CUDA_CHECK(cuMemAdvise(f->managed, PAGE_BYTES, CU_MEM_ADVISE_SET_READ_MOSTLY, probe_device));
    CUDA_CHECK(cuMemPrefetchAsync(f->managed, PAGE_BYTES, probe_device, 0, p->stream));
}

static void collapse(struct probe *p, struct freeing *f)
{
    (void)p;
    CUDA_CHECK(cuMemAdvise(f->managed, PAGE_BYTES, CU_MEM_ADVISE_UNSET_READ_MOSTLY, probe_device));
}

static void prefetch(struct probe *p, struct freeing *f)
{
    CUDA_CHECK(cuMemPrefetchAsync(f->managed, PAGE_BYTES, probe_device, 0, p->stream));
}

static void prefetch_host(struct probe *p, struct freeing *f)
{
    CUDA_CHECK(cuMemPrefetchAsync(f->managed, PAGE_BYTES, probe_host_memory, 0, p->stream));
}

/* The stream waits for work of another one, which is short but has not run yet. */
static void prefetch_behind_event(struct probe *p, struct freeing *f)
{
    uint64_t words = PAGE_BYTES / 4;
    unsigned int seed = 1;
    void *params[] = {&f->plain, &words, &seed};

    CUDA_CHECK(cuLaunchKernel(f->fill, 1, 1, 1, 32, 1, 1, 0, f->other, params, NULL));
    CUDA_CHECK(cuEventRecord(f->reached, f->other));
    CUDA_CHECK(cuStreamWaitEvent(p->stream, f->reached, 0));
    prefetch(p, f);
}

static void query_event(struct probe *p, struct freeing *f)
{
    CUresult result = cuEventQuery(f->event);

    (void)p;
    if (result != CUDA_ERROR_NOT_READY)
        CUDA_CHECK(result);
}

static void record_event(struct probe *p, struct freeing *f)
{
    CUDA_CHECK(cuEventRecord(f->event, p->stream));
}

static void make_event(struct probe *p, struct freeing *f)
{
    CUevent event;

    (void)p;
    (void)f;
    CUDA_CHECK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    CUDA_CHECK(cuEventDestroy(event));
}

static void ask_memory(struct probe *p, struct freeing *f)
{
    size_t free_bytes, total_bytes;

    (void)p;
    (void)f;
    CUDA_CHECK(cuMemGetInfo(&free_bytes, &total_bytes));
}

static void launch(struct probe *p, struct freeing *f)
{
    probe_write(p, f->plain, PAGE_BYTES, 4096, 1);
}

static void copy_plain(struct probe *p, struct freeing *f)
{
    CUDA_CHECK(cuMemcpyDtoHAsync(f->pageable, f->plain, PAGE_BYTES, p->stream));
}

static void copy_managed(struct probe *p, struct freeing *f)
{
    CUDA_CHECK(cuMemcpyDtoHAsync(f->pageable, f->managed, PAGE_BYTES, p->stream));
}

static const struct call g_calls[] = {
    {"alloc", NULL, alloc_plain, free_taken, 0},
    {"alloc_managed", NULL, alloc_managed, free_taken, 1},
    {"free", alloc_plain, free_taken, NULL, 0},
    {"free_managed", alloc_managed_there, free_taken, NULL, 1},
    {"alloc_async", NULL, alloc_async, free_async, 0},
    {"free_async", alloc_async, free_async, NULL, 0},
    {"collapse", be_duplicate, collapse, NULL, 1},
    {"prefetch", prefetch_host, prefetch, NULL, 1},
    {"prefetch_host", prefetch, prefetch_host, NULL, 1},
    {"prefetch_behind_event", prefetch_host, prefetch_behind_event, NULL, 1},
    {"query_event", record_event, query_event, NULL, 0},
    {"record_event", NULL, record_event, NULL, 0},
    {"make_event", NULL, make_event, NULL, 0},
    {"ask_memory", NULL, ask_memory, NULL, 0},
    {"launch", NULL, launch, NULL, 0},
    {"copy_to_pageable", NULL, copy_plain, NULL, 0},
    {"copy_managed_to_pageable", prefetch, copy_managed, NULL, 1},
};

enum beside { BESIDE_NOTHING, BESIDE_HOST_FUNCTION, BESIDE_FREE, BESIDE_MANAGED_FREE };

static const char *const g_beside[] = {"idle", "held", "beside_free", "beside_managed_free"};

static void hold(void *arg)
{
    struct freeing *f = arg;

    sem_post(&f->holding);
    nanosleep(&(struct timespec){0, HOLD_NS}, NULL);
}

/* A thread that frees one piece of memory. */
struct freer {
    struct probe *p;
    CUdeviceptr ptr;
    sem_t entering;
};

static void *free_in_thread(void *arg)
{
    struct freer *freer = arg;

    CUDA_CHECK(cuCtxSetCurrent(freer->p->context));
    sem_post(&freer->entering);
    CUDA_CHECK(cuMemFree(freer->ptr));
    return NULL;
}

static void start_freer(struct freer *freer, pthread_t *thread)
{
    double entered;

    sem_init(&freer->entering, 0, 0);
    if (pthread_create(thread, NULL, free_in_thread, freer))
        probe_fail("no thread");
    sem_wait(&freer->entering);
    entered = probe_now_ns();
    while (probe_now_ns() < entered + ENTER_NS)
        ;
}

static struct probe_time time_once(struct probe *p, struct freeing *f, const struct call *call,
                                   enum beside beside)
{
    struct freer freer = {.p = p};
    struct probe_time t;
    pthread_t thread;
    double start;

    if (beside == BESIDE_FREE)
        CUDA_CHECK(cuMemAlloc(&freer.ptr, PAGE_BYTES));
    if (beside == BESIDE_MANAGED_FREE)
        CUDA_CHECK(cuMemAllocManaged(&freer.ptr, PAGE_BYTES, CU_MEM_ATTACH_GLOBAL));
    if (call->before)
        call->before(p, f);
    CUDA_CHECK(cuCtxSynchronize());
    if (beside != BESIDE_NOTHING) {
        CUDA_CHECK(cuLaunchHostFunc(f->held, hold, f));
        sem_wait(&f->holding);
    }
    if (freer.ptr)
        start_freer(&freer, &thread);
    start = probe_now_ns();
    call->make(p, f);
    t.call_ns = probe_now_ns() - start;
    CUDA_CHECK(cuStreamSynchronize(p->stream));
    t.whole_ns = probe_now_ns() - start;
    if (freer.ptr)
        pthread_join(thread, NULL);
    CUDA_CHECK(cuCtxSynchronize());
    if (call->after)
        call->after(p, f);
    return t;
}

static void show(struct probe *p, struct freeing *f, const struct call *call, enum beside beside)
{
    int rounds = p->rounds < ROUNDS_MAX ? p->rounds : ROUNDS_MAX;
    double calls[ROUNDS_MAX], whole[ROUNDS_MAX], call_ns, whole_ns;
    char name[64];

    for (int i = 0; i < rounds; i++) {
        struct probe_time t = time_once(p, f, call, beside);

        calls[i] = t.call_ns;
        whole[i] = t.whole_ns;
    }
    call_ns = probe_median(calls, rounds);
    whole_ns = probe_median(whole, rounds);
    snprintf(name, sizeof(name), "%s_%s", g_beside[beside], call->name);
    probe_figure(p, name, "call_ns", call_ns);
    probe_figure(p, name, "whole_ns", whole_ns);
    if (beside == BESIDE_NOTHING)
        return;
    snprintf(name, sizeof(name), "%s_waits_%s", call->name, g_beside[beside]);
    probe_answer(p, name, (beside == BESIDE_HOST_FUNCTION ? whole_ns : call_ns) > HOLD_NS / 2.0);
}

static void open_freeing(struct probe *p, struct freeing *f, int has_managed)
{
    CUDA_CHECK(cuModuleGetFunction(&f->fill, p->test_module, "tk_fill"));
    CUDA_CHECK(cuStreamCreate(&f->held, CU_STREAM_NON_BLOCKING));
    CUDA_CHECK(cuStreamCreate(&f->other, CU_STREAM_NON_BLOCKING));
    CUDA_CHECK(cuEventCreate(&f->event, CU_EVENT_DISABLE_TIMING));
    CUDA_CHECK(cuEventCreate(&f->reached, CU_EVENT_DISABLE_TIMING));
    CUDA_CHECK(cuMemAlloc(&f->plain, PAGE_BYTES));
    if (has_managed)
        CUDA_CHECK(cuMemAllocManaged(&f->managed, PAGE_BYTES, CU_MEM_ATTACH_GLOBAL));
    f->pageable = probe_host_alloc(PAGE_BYTES);
    sem_init(&f->holding, 0, 0);
}

void probe_free(struct probe *p)
{
    struct freeing f = {0};
    int has_managed;

    probe_open(p);
    has_managed = probe_attribute(CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS);
    open_freeing(p, &f, has_managed);
    probe_number(p, "hold_ns", HOLD_NS);
    for (size_t i = 0; i < sizeof(g_calls) / sizeof(g_calls[0]); i++) {
        if (g_calls[i].needs_managed && !has_managed)
            continue;
        for (int beside = BESIDE_NOTHING; beside <= BESIDE_MANAGED_FREE; beside++) {
            if (beside != BESIDE_MANAGED_FREE || has_managed)
                show(p, &f, &g_calls[i], beside);
        }
    }
}
