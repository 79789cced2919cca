/* mistakes.c - what a program does wrong is refused as the driver refuses it, and harms nothing
 * else; and what it does in an unusual order is right.
 *
 * run: max-memory=0=64MiB
 * run: max-memory=0=8MiB
 * stats: .weights.peak_resident_bytes <= 8 * 2**20
 * run: seeds=3
 * stats: .budget_bytes["0"] > 2**30
 * run: max-memory=0=8MiB max-memory=cpu=8MiB only=berth arg=--reuse arg=1
 */
#include "common.h"

#define WORDS ((uint64_t)1 << 18) /* 1 MiB: packed beside its neighbours */

/* Freed twice, or freed where nothing begins: error 1, and the neighbour keeps its bytes. */
static void check_frees(const struct kernels *k)
{
    CUdeviceptr a, b;
    uint32_t *words = need(WORDS * 4);

    fill_pattern(words, WORDS, 5);
    CUDA_CHECK(cuMemAlloc(&a, WORDS * 4));
    CUDA_CHECK(cuMemAlloc(&b, WORDS * 4));
    CUDA_CHECK(cuMemcpyHtoD(b, words, WORDS * 4));
    EXPECT(cuMemFree(a + 512) == CUDA_ERROR_INVALID_VALUE, "freed in the middle");
    CUDA_CHECK(cuMemFree(a));
    EXPECT(cuMemFree(a) == CUDA_ERROR_INVALID_VALUE, "freed twice");
    EXPECT(device_hash(k, b, WORDS, NULL) == tk_hash_of_pattern(WORDS, 5), "the neighbour changed");
    CUDA_CHECK(cuMemFree(b));
    free(words);
}

/* A primary context is released, not destroyed: the refusal must leave its memory as it was. */
static void check_refused_destroy(void)
{
    CUcontext primary, other;
    struct kernels k;
    CUdeviceptr p;

    CUDA_CHECK(cuDevicePrimaryCtxRetain(&primary, 0));
    CUDA_CHECK(cuCtxPushCurrent(primary));
    CUDA_CHECK(cuModuleLoadData(&k.module, ptx_test_kernels));
    CUDA_CHECK(cuModuleGetFunction(&k.fill, k.module, "tk_fill"));
    CUDA_CHECK(cuModuleGetFunction(&k.hash, k.module, "tk_hash"));
    CUDA_CHECK(cuMemAlloc(&p, WORDS * 4));
    launch_words(k.fill, NULL, WORDS, (void *[]){&p, &(uint64_t){WORDS}, &(uint32_t){9}});
    EXPECT(cuCtxDestroy(primary) != CUDA_SUCCESS, "a primary context is destroyed");
    EXPECT(device_hash(&k, p, WORDS, NULL) == tk_hash_of_pattern(WORDS, 9), "its memory changed");
    CUDA_CHECK(cuMemFree(p));
    CUDA_CHECK(cuCtxPopCurrent(&other));
    CUDA_CHECK(cuDevicePrimaryCtxRelease(0));
}

/* Room that was freed in stream order is there for the next one. */
static void check_reuse(void)
{
    CUstream stream;

    CUDA_CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    for (int i = 0; i < 12; i++) {
        CUdeviceptr p;

        CUDA_CHECK(cuMemAllocAsync(&p, 6u << 20, stream));
        CUDA_CHECK(cuMemsetD32Async(p, (unsigned)i, (6u << 20) / 4, stream));
        CUDA_CHECK(cuMemFreeAsync(p, stream));
    }
    CUDA_CHECK(cuStreamSynchronize(stream));
}

int main(int argc, char **argv)
{
    size_t total = 0;
    struct kernels k;

    CUDA_CHECK(cuInit(0));
    CUDA_CHECK(cuDeviceTotalMem(&total, 0)); /* before there is any context */
    EXPECT(total > 0, "a card without memory");
    start(0, &k);
    if (option(argc, argv, "reuse", 0)) {
        check_reuse();
        return 0;
    }
    check_frees(&k);
    check_refused_destroy();
    return 0;
}
