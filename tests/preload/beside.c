/* beside.c - what is freed beside a block that stays takes no room, whichever way it was allocated
 * and freed: 60 MiB go through the 12 MiB that all of it fits into at any time.
 *
 * run: max-memory=0=12MiB
 * stats: .launches.resident == .launches.count and .launches.waited == 0
 * stats: .weights.peak_resident_bytes <= 12 * 2**20
 */
#include "common.h"

#define WORDS ((uint64_t)1 << 18) /* 1 MiB */

static void fill_and_check(const struct kernels *k, CUdeviceptr p, uint64_t words, uint32_t seed,
                           CUstream stream)
{
    launch_words(k->fill, stream, words, (void *[]){&p, &words, &seed});
    CUDA_CHECK(cuStreamSynchronize(stream));
    EXPECT(device_hash(k, p, words, stream) == tk_hash_of_pattern(words, seed), "seed %u", seed);
}

int main(void)
{
    CUdeviceptr stays, p;
    struct kernels k;
    CUstream stream;

    start(0, &k);
    CUDA_CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CUDA_CHECK(cuMemAlloc(&stays, WORDS * 4));
    fill_and_check(&k, stays, WORDS, 1, stream);
    for (uint32_t round = 2; round < 14; round++) {
        uint64_t words = WORDS * (3 + round % 4);

        if (round % 2)
            CUDA_CHECK(cuMemAlloc(&p, words * 4));
        else
            CUDA_CHECK(cuMemAllocAsync(&p, words * 4, stream));
        fill_and_check(&k, p, words, round, stream);
        if (round % 2)
            CUDA_CHECK(cuMemFree(p));
        else
            CUDA_CHECK(cuMemFreeAsync(p, stream));
        CUDA_CHECK(cuStreamSynchronize(stream));
        EXPECT(device_hash(&k, stays, WORDS, stream) == tk_hash_of_pattern(WORDS, 1), "round %u",
               round);
    }
    return 0;
}
