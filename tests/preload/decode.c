/* decode.c - a cache that moves with each token, beside weights that are read as ever.
 *
 * Each token copies the cache to another place, as a concatenation does, and adds a row to it that
 * has a part of each layer's weights. What its launches touch is never the same twice;
 * what they touch of weights always is, and that is the step. Kernels write the places: nothing
 * there may be lost, wherever the cache lies and whatever leaves VRAM meanwhile.
 *
 * stats: .errors.driver_failures == 0 and .errors.refused == 0
 * run: max-memory=0=16MiB
 * stats: .steps.learned and .steps.count >= 16 and .steps.launches_per_step == 13
 * stats: .weights.peak_resident_bytes <= 16 * 2**20
 * run: max-memory=0=10MiB only=berth
 * stats: .weights.peak_resident_bytes <= 10 * 2**20
 * run: max-memory=0=64MiB seeds=1
 * stats: .transfers.h2d_bytes == 0
 */
#include "common.h"

#include <string.h>

#define LAYERS      12u
#define LAYER_WORDS ((uint64_t)1 << 19) /* 2 MiB */
#define PART_WORDS  64u                 /* of each layer, in a row */
#define ROW_WORDS   (LAYERS * PART_WORDS)
#define PLACES      12u
#define PLACE_WORDS ((uint64_t)1 << 19)
#define TOKENS      48u

static void copy(const struct kernels *k, CUdeviceptr dst, CUdeviceptr src, uint64_t words,
                 CUstream stream)
{
    void *params[] = {&dst, &src, &words};

    launch_words(k->copy, stream, words, params);
}

/* Which words of its layer a token reads. */
static uint64_t part_of(unsigned token)
{
    return token * 7919ull * PART_WORDS % LAYER_WORDS;
}

static void check(const uint32_t *cache, const uint32_t *weights, unsigned tokens)
{
    for (unsigned t = 0; t < tokens; t++)
        for (unsigned l = 0; l < LAYERS; l++)
            EXPECT(!memcmp(cache + t * ROW_WORDS + l * PART_WORDS,
                           weights + l * LAYER_WORDS + part_of(t), PART_WORDS * 4),
                   "after %u tokens the cache is wrong for token %u, layer %u", tokens, t, l);
}

int main(int argc, char **argv)
{
    uint32_t *weights = need(LAYERS * LAYER_WORDS * 4), *cache = need(TOKENS * ROW_WORDS * 4);
    uint64_t seed = program_seed(argc, argv);
    CUdeviceptr device_weights[LAYERS]; /* each small enough to be brought in whole, always */
    CUdeviceptr places[PLACES];
    unsigned place = 0;
    struct kernels k;
    CUstream stream;

    start(0, &k);
    CUDA_CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    fill_pattern(weights, LAYERS * LAYER_WORDS, 1);
    for (unsigned l = 0; l < LAYERS; l++) {
        CUDA_CHECK(cuMemAlloc(&device_weights[l], LAYER_WORDS * 4));
        CUDA_CHECK(cuMemcpyHtoD(device_weights[l], weights + l * LAYER_WORDS, LAYER_WORDS * 4));
    }
    for (unsigned p = 0; p < PLACES; p++)
        CUDA_CHECK(cuMemAlloc(&places[p], PLACE_WORDS * 4));
    for (unsigned t = 0; t < TOKENS; t++) {
        CUdeviceptr from = places[place], to;

        place = (place + 1 + (unsigned)(next_random(&seed) % (PLACES - 1))) % PLACES;
        to = places[place];
        copy(&k, to, from, t ? t * ROW_WORDS : 1, stream);
        for (unsigned l = 0; l < LAYERS; l++)
            copy(&k, to + 4 * (t * ROW_WORDS + l * PART_WORDS), device_weights[l] + 4 * part_of(t),
                 PART_WORDS, stream);
        if (t % 16 < 15)
            continue;
        CUDA_CHECK(cuStreamSynchronize(stream));
        CUDA_CHECK(cuMemcpyDtoH(cache, to, (t + 1) * ROW_WORDS * 4));
        check(cache, weights, t + 1);
    }
    printf("%u tokens\n", TOKENS);
    return 0;
}
