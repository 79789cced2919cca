/* threads.c - threads of one context, each with a stream and weights of its own, and weights that
 * all of them read; together five times the budget.
 *
 * stats: .weights.peak_resident_bytes <= 8 * 2**20
 * stats: .errors.driver_failures == 0 and .errors.refused == 0
 * run: max-memory=0=8MiB
 * stats: .transfers.h2d_bytes > 0
 * run: max-memory=0=8MiB env=SIMCUDA_VRAM=64MiB
 */
#include "weights.h"

#include <pthread.h>

#define THREADS 6
#define OWN     3
#define SHARED  2
#define ROUNDS  4
#define WORDS   ((uint64_t)(2 * MIB / 4))

struct worker {
    CUcontext context;
    const struct weights *shared;
    uint32_t seed;
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct weights own[OWN];
    CUstream stream;
    CUdeviceptr out;

    CUDA_CHECK(cuCtxSetCurrent(worker->context));
    CUDA_CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CUDA_CHECK(cuMemAlloc(&out, 8 * (OWN + SHARED)));
    for (uint32_t i = 0; i < OWN; i++)
        weights_upload(&own[i], WORDS / (i + 1), worker->seed * 10 + i);
    for (int round = 0; round < ROUNDS; round++) {
        weights_check(worker->shared, SHARED, out, stream);
        weights_check(own, OWN, out, stream);
    }
    for (int i = 0; i < OWN; i++) {
        weights_read_back(&own[i]);
        CUDA_CHECK(cuMemFree(own[i].p));
    }
    CUDA_CHECK(cuMemFree(out));
    CUDA_CHECK(cuStreamDestroy(stream));
    return NULL;
}

int main(void)
{
    struct weights shared[SHARED];
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    CUcontext context = context_new(0);

    for (uint32_t i = 0; i < SHARED; i++)
        weights_upload(&shared[i], WORDS, 1000 + i);
    for (uint32_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){context, shared, i};
        EXPECT(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++)
        EXPECT(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < SHARED; i++)
        weights_read_back(&shared[i]);
    CUDA_CHECK(cuCtxDestroy(context));
    return 0;
}
