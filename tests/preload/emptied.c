/* emptied.c - memory that is freed in stream order does not stay with Berth: it goes when the
 * program waits for its context, and before anything is refused for lack of it.
 *
 * run: max-memory=0=48MiB
 * report: .allocated.managed == 0
 * run: max-memory=0=1GiB
 * report: .allocated.managed == 0
 * run: max-memory=0=48MiB arg=--apart arg=1
 * report: .allocated.managed == 0
 * run: max-memory=0=16MiB arg=--device arg=80 env=SIMCUDA_HOST_MEMORY=96MiB
 * report: .allocated.managed == 0
 * run: max-memory=0=16MiB arg=--managed arg=80 env=SIMCUDA_HOST_MEMORY=96MiB
 * report: .allocated.managed == 0
 */
#include "common.h"

#define MIB ((size_t)1 << 20)

CUresult cuCtxSynchronize_v2(CUcontext ctx); /* 13.0's, which needs no current context */

/* Allocated, written, checked and freed, all in the order of the stream. */
static void use_once(const struct kernels *k, size_t bytes, uint32_t seed, CUstream stream)
{
    uint64_t words = bytes / 4;
    CUdeviceptr p;
    uint32_t last[4];

    CUDA_CHECK(cuMemAllocAsync(&p, bytes, stream));
    launch_words(k->fill, stream, words, (void *[]){&p, &words, &seed});
    CUDA_CHECK(cuMemcpyDtoHAsync(last, p, sizeof(last), stream));
    CUDA_CHECK(cuMemFreeAsync(p, stream));
    CUDA_CHECK(cuStreamSynchronize(stream));
    EXPECT(tk_hash_of(last, 4) == tk_hash_of_pattern(4, seed), "seed %u", seed);
}

/* What is emptied so has no other place than this. */
static void use_rest(const struct kernels *k, size_t bytes, int managed, CUstream stream)
{
    uint64_t words = bytes / 4;
    CUdeviceptr p;

    if (managed)
        CUDA_CHECK(cuMemAllocManaged(&p, bytes, CU_MEM_ATTACH_GLOBAL));
    else
        CUDA_CHECK(cuMemAlloc(&p, bytes));
    launch_words(k->fill, stream, words, (void *[]){&p, &words, &(uint32_t){1}});
    EXPECT(device_hash(k, p, words, stream) == tk_hash_of_pattern(words, 1), "%zu bytes", bytes);
    CUDA_CHECK(cuMemFree(p));
}

int main(int argc, char **argv)
{
    const size_t device_bytes = (size_t)option(argc, argv, "device", 0) * MIB;
    const size_t managed_bytes = (size_t)option(argc, argv, "managed", 0) * MIB;
    const int apart = option(argc, argv, "apart", 0) != 0;
    CUcontext ctx;
    struct kernels k;
    CUstream stream;

    start(0, &k);
    CUDA_CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    if (device_bytes || managed_bytes) {
        use_once(&k, 36 * MIB, 1, stream);
        use_rest(&k, device_bytes + managed_bytes, managed_bytes != 0, stream);
    } else {
        for (uint32_t i = 1; i < 6; i++) {
            use_once(&k, (14 + i * i) * MIB, i, stream);
            use_once(&k, i * MIB, i, stream);
        }
    }
    CUDA_CHECK(cuCtxGetCurrent(&ctx));
    if (apart)
        CUDA_CHECK(cuCtxSetCurrent(NULL));
    for (int i = 0; i < 2; i++)
        CUDA_CHECK(apart ? cuCtxSynchronize_v2(ctx) : cuCtxSynchronize());
    return 0;
}
