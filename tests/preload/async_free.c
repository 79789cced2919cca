/* async_free.c - a free in stream order never waits on the host, whatever other streams are held up
 * by: here by a host function that waits for this very thread.
 *
 * run: max-memory=0=8MiB
 * timeout: 20
 * run: max-memory=0=36MiB
 * timeout: 20
 * stats: .launches.waited == 0
 * run: max-memory=0=8MiB arg=--sizes arg=1
 * timeout: 20
 * run: max-memory=0=1GiB arg=--sizes arg=1
 * timeout: 20
 */
#include "common.h"

#include <semaphore.h>

#define WORDS  ((uint64_t)1 << 18) /* 1 MiB */
#define ROUNDS 6
#define SMALL  20

static sem_t g_go_on;

static void wait_for_program(void *arg)
{
    (void)arg;
    sem_wait(&g_go_on);
}

/* Allocated, written, checked and freed, all in the order of the stream. */
static void use_once(const struct kernels *k, size_t bytes, uint32_t seed, CUstream stream)
{
    uint64_t words = WORDS / 4;
    uint32_t *host = need(words * 4);
    CUdeviceptr p;

    CUDA_CHECK(cuMemAllocAsync(&p, bytes, stream));
    launch_words(k->fill, stream, words, (void *[]){&p, &words, &seed});
    CUDA_CHECK(cuMemcpyDtoHAsync(host, p, words * 4, stream));
    CUDA_CHECK(cuMemFreeAsync(p, stream));
    CUDA_CHECK(cuStreamSynchronize(stream));
    EXPECT(tk_hash_of(host, words) == tk_hash_of_pattern(words, seed), "seed %u", seed);
    free(host);
}

/* What was freed takes no room: 20 MiB, then small blocks as large together, fit one after the
 * other. */
static void check_small_beside_large(const struct kernels *k, CUstream stream)
{
    CUdeviceptr p[SMALL], kept;

    CUDA_CHECK(cuMemAlloc(&kept, WORDS * 4)); /* so that there is a range to pack into */
    use_once(k, 20u << 20, ROUNDS, stream);
    for (int i = 0; i < SMALL; i++) {
        CUDA_CHECK(cuMemAllocAsync(&p[i], WORDS * 4, stream));
        launch_words(k->fill, stream, WORDS, (void *[]){&p[i], &(uint64_t){WORDS}, &(uint32_t){1}});
    }
    for (int i = 0; i < SMALL; i++)
        CUDA_CHECK(cuMemFreeAsync(p[i], stream));
    CUDA_CHECK(cuStreamSynchronize(stream));
    CUDA_CHECK(cuMemFree(kept));
}

/* Each of another size than those before: no range that came to nothing serves again. */
static void check_other_sizes(const struct kernels *k, CUstream held, CUstream stream)
{
    use_once(k, 20u << 20, 1, stream);
    CUDA_CHECK(cuLaunchHostFunc(held, wait_for_program, NULL));
    for (uint32_t seed = 2; seed < ROUNDS; seed++) {
        use_once(k, (20u + 2 * seed) << 20, seed, stream);
        use_once(k, seed << 20, seed, stream);
    }
    EXPECT(!sem_post(&g_go_on), "no post");
    CUDA_CHECK(cuStreamSynchronize(held));
}

int main(int argc, char **argv)
{
    const size_t sizes[] = {3u << 20, 20u << 20}; /* packed, and with a range of its own */
    CUstream held, stream;
    CUcontext context;
    struct kernels k;

    context = start(0, &k);
    EXPECT(!sem_init(&g_go_on, 0, 0), "no semaphore");
    CUDA_CHECK(cuStreamCreate(&held, CU_STREAM_NON_BLOCKING));
    CUDA_CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    if (option(argc, argv, "sizes", 0)) {
        check_other_sizes(&k, held, stream);
        CUDA_CHECK(cuCtxDestroy(context));
        return 0;
    }
    for (int i = 0; i < 2; i++) {
        use_once(&k, sizes[i], 1, stream);
        CUDA_CHECK(cuLaunchHostFunc(held, wait_for_program, NULL));
        for (uint32_t seed = 2; seed < ROUNDS; seed++)
            use_once(&k, sizes[i], seed, stream);
        for (uint32_t seed = 2; seed < ROUNDS; seed++)
            use_once(&k, sizes[i] + (seed << 21), seed, stream);
        EXPECT(!sem_post(&g_go_on), "no post");
        CUDA_CHECK(cuStreamSynchronize(held));
    }
    check_small_beside_large(&k, stream);
    CUDA_CHECK(cuCtxDestroy(context));
    return 0;
}
