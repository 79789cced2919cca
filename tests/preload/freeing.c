/* freeing.c - a step that repeats until its loads have been tried in every way, while another
 * thread frees memory: the driver's free waits for all work of the context, and keeps the other
 * calls of the context waiting meanwhile. Nothing of ours may wait for such a call with a stream
 * held up.
 *
 * stats: .steps.learned and .errors.driver_failures == 0 and .errors.refused == 0
 * stats: .weights.peak_resident_bytes <= 8 * 2**20
 * run: max-memory=0=8MiB log=debug only=berth seeds=8
 * stderr: now tried: calm loads
 */
#include "weights.h"

#include <stdatomic.h>

#define LAYERS 8
#define ROUNDS 40
#define WORDS  ((uint64_t)(2 * MIB / 4))

static CUcontext g_context;
static _Atomic int g_stop;

static void *free_memory(void *arg)
{
    CUdeviceptr small;

    (void)arg;
    CUDA_CHECK(cuCtxSetCurrent(g_context));
    while (!atomic_load(&g_stop)) {
        CUDA_CHECK(cuMemAlloc(&small, 4096));
        CUDA_CHECK(cuMemFree(small));
    }
    return NULL;
}

int main(void)
{
    struct weights layers[LAYERS];
    pthread_t thread;
    CUstream stream;
    CUdeviceptr out;

    g_context = context_new(0);
    for (uint32_t i = 0; i < LAYERS; i++)
        weights_upload(&layers[i], WORDS, i);
    CUDA_CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CUDA_CHECK(cuMemAlloc(&out, 8 * LAYERS));
    EXPECT(pthread_create(&thread, NULL, free_memory, NULL) == 0);
    for (int round = 0; round < ROUNDS; round++)
        weights_check(layers, LAYERS, out, stream);
    atomic_store(&g_stop, 1);
    EXPECT(pthread_join(thread, NULL) == 0);
    for (int i = 0; i < LAYERS; i++)
        weights_read_back(&layers[i]);
    CUDA_CHECK(cuCtxDestroy(g_context));
    return 0;
}
