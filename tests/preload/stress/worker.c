/* worker.c - a thread of the stress program: its streams, its staging, and what it waits for. */
#include "stress.h"

#include <string.h>

/* Guards operation.issued; whoever issues one tells all. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
} g_issue = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER};

CUstream operation_stream(const struct worker *w, const struct operation *op)
{
    if (op->lane == LANE_LEGACY)
        return op->draw & 1 ? CU_STREAM_LEGACY : NULL;
    return op->lane == LANE_PER_THREAD ? CU_STREAM_PER_THREAD : w->streams[op->lane];
}

/* Two operations of one stream run in the order in which they were issued. */
static int is_same_stream(const struct operation *a, const struct operation *b)
{
    return a->side == b->side && a->lane == b->lane &&
           (a->thread == b->thread || a->lane == LANE_LEGACY);
}

static void wait_until_issued(struct operation *op)
{
    pthread_mutex_lock(&g_issue.lock);
    while (!op->issued)
        pthread_cond_wait(&g_issue.changed, &g_issue.lock);
    pthread_mutex_unlock(&g_issue.lock);
}

static void say_issued(struct operation *op)
{
    pthread_mutex_lock(&g_issue.lock);
    op->issued = 1;
    pthread_cond_broadcast(&g_issue.changed);
    pthread_mutex_unlock(&g_issue.lock);
}

/* The last one that waits for an event destroys it, perhaps long before it has come. */
static void wait_for(const struct worker *w, struct operation *op, struct operation *earlier)
{
    wait_until_issued(earlier);
    if (!is_same_stream(op, earlier) || op->draw >> 8 & 1) {
        if ((op->draw >> 9 & 7) == 0)
            CUDA_CHECK(cuEventSynchronize(earlier->event));
        else
            CUDA_CHECK(cuStreamWaitEvent(operation_stream(w, op), earlier->event, 0));
    }
    if (atomic_fetch_sub(&earlier->waiters, 1) == 1)
        CUDA_CHECK(cuEventDestroy(earlier->event));
}

static void issue(struct worker *w, struct operation *op)
{
    int visits = op->side != stress_home(w->index);
    CUcontext popped;

    /* Default streams are those of the current context. */
    if (visits)
        CUDA_CHECK(cuCtxPushCurrent(g_sides[op->side].context));
    for (unsigned i = 0; i < op->after_count; i++)
        wait_for(w, op, &w->plan->operations[op->after[i]]);
    if (op->kind >= KIND_MEMSET)
        operation_move(w, op);
    else
        operation_launch(w, op);
    if (atomic_load(&op->waiters)) {
        CUDA_CHECK(cuEventCreate(&op->event, op->draw & 2 ? CU_EVENT_DISABLE_TIMING : 0));
        CUDA_CHECK(cuEventRecord(op->event, operation_stream(w, op)));
    }
    if (visits)
        CUDA_CHECK(cuCtxPopCurrent(&popped));
    say_issued(op);
}

struct slot *slot_take(struct worker *w)
{
    struct slot *slot = &w->slots[w->next_slot++ % SLOTS];

    if (slot->busy) {
        CUDA_CHECK(cuEventSynchronize(slot->busy));
        CUDA_CHECK(cuEventDestroy(slot->busy));
        slot->busy = NULL;
    }
    return slot;
}

void slot_give(struct slot *slot, CUstream stream)
{
    CUDA_CHECK(cuEventCreate(&slot->busy, CU_EVENT_DISABLE_TIMING));
    CUDA_CHECK(cuEventRecord(slot->busy, stream));
}

static void open_streams(struct worker *w)
{
    CUcontext popped;

    CUDA_CHECK(cuCtxSetCurrent(g_sides[stress_home(w->index)].context));
    for (unsigned i = 0; i < STREAMS; i++)
        CUDA_CHECK(
            cuStreamCreate(&w->streams[i], i % 2 ? CU_STREAM_NON_BLOCKING : CU_STREAM_DEFAULT));
    for (unsigned i = 0; i < SLOTS; i++) {
        void *pinned;

        CUDA_CHECK(cuMemHostAlloc(&pinned, SLOT_BYTES, 0));
        w->slots[i] = (struct slot){.pinned = pinned, .pageable = need(SLOT_BYTES)};
    }
    for (unsigned s = 0; s < SIDES; s++) {
        CUDA_CHECK(cuCtxPushCurrent(g_sides[s].context));
        CUDA_CHECK(cuMemAlloc(&w->sums[s], 2 * sizeof(uint64_t)));
        CUDA_CHECK(cuCtxPopCurrent(&popped));
    }
}

/* Streams go with their work still queued, as programs do it. */
static void close_streams(struct worker *w)
{
    CUcontext popped;

    for (unsigned i = 0; i < STREAMS; i++)
        CUDA_CHECK(cuStreamDestroy(w->streams[i]));
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *slot = slot_take(w);

        CUDA_CHECK(cuMemFreeHost(slot->pinned));
        free(slot->pageable);
    }
    for (unsigned s = 0; s < SIDES; s++) {
        CUDA_CHECK(cuCtxPushCurrent(g_sides[s].context));
        CUDA_CHECK(cuCtxSynchronize());
        CUDA_CHECK(cuMemFree(w->sums[s]));
        CUDA_CHECK(cuCtxPopCurrent(&popped));
    }
}

void *worker_run(void *arg)
{
    struct worker *w = arg;

    open_streams(w);
    for (unsigned o = 0; o < w->plan->count; o++)
        if (w->plan->operations[o].thread == w->index)
            issue(w, &w->plan->operations[o]);
    close_streams(w);
    return NULL;
}
