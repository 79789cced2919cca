/* lives.c - two threads take turns: while one gives back the primary context, for the last time as
 * it may be, the other retains it; then the same with contexts of their own. What each context
 * holds is its own, in every life of it.
 *
 * stats: .errors.driver_failures == 0 and .errors.refused == 0
 * run: max-memory=0=64MiB seeds=3
 * run: max-memory=0=8MiB seeds=3 only=berth
 * stats: .weights.peak_resident_bytes <= 8 * 2**20
 */
#include "common.h"

#include <pthread.h>

#define TURNS   20
#define TENSORS 6
#define WORDS   ((uint64_t)1 << 18)

static pthread_barrier_t g_turn;

static void compute(uint32_t seed)
{
    CUmodule module;
    CUfunction fill, hash;
    CUdeviceptr tensors[TENSORS], out;
    uint64_t words = WORDS, found;

    CUDA_CHECK(cuModuleLoadData(&module, ptx_test_kernels));
    CUDA_CHECK(cuModuleGetFunction(&fill, module, "tk_fill"));
    CUDA_CHECK(cuModuleGetFunction(&hash, module, "tk_hash"));
    CUDA_CHECK(cuMemAlloc(&out, sizeof(found)));
    for (uint32_t i = 0; i < TENSORS; i++) {
        uint32_t own_seed = seed + i;

        CUDA_CHECK(cuMemAlloc(&tensors[i], WORDS * 4));
        launch_words(fill, NULL, WORDS, (void *[]){&tensors[i], &words, &own_seed});
    }
    for (uint32_t i = 0; i < TENSORS; i++) {
        launch_block(hash, NULL, (void *[]){&tensors[i], &words, &out});
        CUDA_CHECK(cuMemcpyDtoH(&found, out, sizeof(found)));
        EXPECT(found == tk_hash_of_pattern(WORDS, seed + i), "tensor %u of %u", i, seed);
    }
}

static CUcontext take_primary(void)
{
    CUcontext primary;

    CUDA_CHECK(cuDevicePrimaryCtxRetain(&primary, 0));
    CUDA_CHECK(cuCtxSetCurrent(primary));
    return primary;
}

static void give_primary(CUcontext primary)
{
    (void)primary;
    CUDA_CHECK(cuCtxSetCurrent(NULL));
    CUDA_CHECK(cuDevicePrimaryCtxRelease(0));
}

static CUcontext take_own(void)
{
    CUcontext own;

    CUDA_CHECK(cuCtxCreate(&own, NULL, 0, 0));
    return own;
}

static void give_own(CUcontext own)
{
    CUDA_CHECK(cuCtxDestroy(own));
}

static void take_turns(uint32_t me, CUcontext (*take)(void), void (*give)(CUcontext))
{
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        CUcontext ctx = NULL;
        int first = turn % 2 == me;

        if (first) {
            ctx = take();
            compute(turn * 100);
        }
        pthread_barrier_wait(&g_turn);
        if (!first) {
            ctx = take();
            compute(turn * 100 + TENSORS);
        }
        give(ctx);
        pthread_barrier_wait(&g_turn);
    }
}

static void *run(void *arg)
{
    uint32_t me = arg != NULL;

    take_turns(me, take_primary, give_primary);
    take_turns(me, take_own, give_own);
    return NULL;
}

int main(void)
{
    pthread_t thread;

    CUDA_CHECK(cuInit(0));
    EXPECT(!pthread_barrier_init(&g_turn, NULL, 2), "barrier");
    EXPECT(!pthread_create(&thread, NULL, run, &g_turn), "thread");
    run(NULL);
    pthread_join(thread, NULL);
    return 0;
}
