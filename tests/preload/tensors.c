/* tensors.c - many tensors, a step that repeats, and a shadow copy that checks every byte.
 *
 * Each step reads every tensor in order (their hashes add up into one word of each) and changes
 * some in place, as an optimiser or a LoRA merge would; activations are written by kernels alone.
 * At the end every tensor is read back.
 *
 * run: max-memory=0=8MiB
 * no-stderr: too small
 * stats: .launches.resident + .launches.waited == .launches.count
 * stats: .weights.peak_resident_bytes <= 8 * 2**20
 * stats: .steps.learned and .steps.count >= 2
 * stats: .errors.driver_failures == 0 and .errors.refused == 0
 * report: .devices[0].peak_managed_resident_bytes <= 8 * 2**20
 * run: max-memory=0=16MiB arg=--arena arg=1
 * stats: .weights.peak_resident_bytes <= 16 * 2**20
 * run: max-memory=0=256MiB
 * stats: .transfers.h2d_bytes == 0 and .launches.waited == 0
 * stats: not any("touches" in p for p in .parameters)
 * no-stderr: too small
 * run: max-memory=0=8MiB arg=--update arg=3
 * stats: .weights.peak_resident_bytes <= 8 * 2**20
 * run: max-memory=0=4MiB arg=--shuffle arg=1 arg=--update arg=5
 * stats: .transfers.h2d_count <= 4 * .launches.count
 * run: max-memory=0=1MiB arg=--update arg=2
 * run: max-memory=0=1MiB only=berth
 * stderr: the budget of 1.0 MiB for GPU 0 is too small .* give 8.0 MiB or more
 * run: max-memory=0=7MiB only=berth
 * stderr: the budget of 7.0 MiB for GPU 0 is too small .* give 8.0 MiB or more
 * run: max-memory=0=8MiB env=SIMCUDA_PARAM_INFO=0 env=SIMCUDA_DRIVER_VERSION=12030
 * stats: .steps.learned and .transfers.h2d_bytes > 0
 */
#include "common.h"
#include <string.h>

#define TENSORS_MAX 64
#define SCRATCH     (512u << 10)

struct tensor {
    CUdeviceptr device;
    uint32_t *shadow;
    uint64_t n;
    uint64_t hash;
};

static void make(struct tensor *tensors, long count, int arena, uint64_t *seed)
{
    uint64_t total = 0, offset = 0;
    CUdeviceptr base = 0;

    for (long t = 0; t < count; t++) {
        tensors[t].n = 1000 + next_random(seed) % 300000;
        tensors[t].shadow = need(tensors[t].n * 4);
        fill_pattern(tensors[t].shadow, tensors[t].n, (uint32_t)t);
        total += (tensors[t].n * 4 + 255) / 256 * 256;
    }
    if (arena)
        CUDA_CHECK(cuMemAlloc(&base, total));
    for (long t = 0; t < count; t++) {
        if (arena) {
            tensors[t].device = base + offset;
            offset += (tensors[t].n * 4 + 255) / 256 * 256;
        } else {
            CUDA_CHECK(cuMemAlloc(&tensors[t].device, tensors[t].n * 4));
        }
        CUDA_CHECK(cuMemcpyHtoD(tensors[t].device, tensors[t].shadow, tensors[t].n * 4));
    }
}

int main(int argc, char **argv)
{
    long count = option(argc, argv, "count", 32), steps = option(argc, argv, "steps", 6);
    long update = option(argc, argv, "update", 0), shuffle = option(argc, argv, "shuffle", 0);
    uint64_t seed = program_seed(argc, argv);
    static struct tensor tensors[TENSORS_MAX];
    CUdeviceptr sums, scratch;
    uint64_t sum[TENSORS_MAX];
    struct kernels k;
    CUstream stream;

    EXPECT(count <= TENSORS_MAX, "at most %d tensors", TENSORS_MAX);
    start(0, &k);
    CUDA_CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    make(tensors, count, (int)option(argc, argv, "arena", 0), &seed);
    CUDA_CHECK(cuMemAlloc(&sums, sizeof(sum)));
    CUDA_CHECK(cuMemAlloc(&scratch, SCRATCH));
    CUDA_CHECK(
        cuStreamSynchronize(NULL)); /* the uploads: the other stream does not wait for them */
    for (long s = 0; s < steps; s++) {
        for (long i = 0; i < count; i++) {
            long t = shuffle ? (long)(next_random(&seed) % (uint64_t)count) : i;
            uint64_t words = tensors[t].n < SCRATCH / 4 ? tensors[t].n : SCRATCH / 4;
            CUdeviceptr out = sums + 8 * (CUdeviceptr)t;
            void *hash[] = {&tensors[t].device, &tensors[t].n, &out};
            void *copy[] = {&scratch, &tensors[t].device, &words};
            void *triple[] = {&tensors[t].device, &tensors[t].n};

            launch_block(k.hash, stream, hash);
            launch_words(k.copy, stream, words, copy);
            if (update && t % update == 0) {
                launch_words(k.triple, stream, tensors[t].n, triple);
                for (uint64_t w = 0; w < tensors[t].n; w++)
                    tensors[t].shadow[w] = tensors[t].shadow[w] * 3 + 1;
            }
        }
    }
    CUDA_CHECK(cuStreamSynchronize(stream));
    for (long t = 0; t < count; t++) {
        uint32_t *back = need(tensors[t].n * 4);

        CUDA_CHECK(cuMemcpyDtoH(back, tensors[t].device, tensors[t].n * 4));
        EXPECT(!memcmp(back, tensors[t].shadow, tensors[t].n * 4), "tensor %ld came back changed",
               t);
        EXPECT(device_hash(&k, tensors[t].device, tensors[t].n, stream) ==
                   tk_hash_of(tensors[t].shadow, tensors[t].n),
               "the device reads tensor %ld otherwise", t);
        free(back);
    }
    printf("%ld tensors, %ld steps\n", count, steps);
    return 0;
}
