/* vmm.c - memory that a program creates and maps by itself, beside weights that are paged.
 *
 * It is never moved, but it takes room: weights leave for it, within the budget and on a card that
 * is smaller than the budget, and come back when it has gone. Every byte of both is compared.
 *
 * alone: what is free of the card may change by this program alone
 * stats: .errors.driver_failures == 0 and .errors.refused == 0
 * run: max-memory=0=16MiB
 * stats: .transfers.h2d_bytes > 0
 * report: .devices[0].peak_managed_resident_bytes <= 16 * 2**20
 * report: .devices[0].peak_device_bytes <= (16 + 6) * 2**20
 * run: max-memory=0=64MiB env=SIMCUDA_VRAM=20MiB
 * run: max-memory=0=64MiB
 * stats: .transfers.h2d_bytes == 0
 * run: backend=off
 */
#include "common.h"

#define MIB     ((size_t)1 << 20)
#define TENSORS 5
#define WORDS   ((uint64_t)512 * 1024) /* 2 MiB each */
#define OWN     ((size_t)6 * MIB)

static CUdeviceptr g_weights[TENSORS];

static void check_weights(const struct kernels *k, const char *when)
{
    uint32_t *words = need(WORDS * 4);

    for (uint32_t t = 0; t < TENSORS; t++) {
        fill_pattern(words, WORDS, t);
        EXPECT(device_hash(k, g_weights[t], WORDS, NULL) == tk_hash_of(words, WORDS),
               "%s: weights %u are read otherwise", when, t);
    }
    free(words);
}

static void check_own(const struct kernels *k, CUdeviceptr p, uint32_t seed)
{
    uint64_t count = OWN / 4;
    uint32_t *words = need(OWN);
    void *params[] = {&p, &count, &seed};

    launch_words(k->fill, NULL, count, params);
    fill_pattern(words, count, seed);
    EXPECT(device_hash(k, p, count, NULL) == tk_hash_of(words, count), "own memory %u", seed);
    free(words);
}

int main(void)
{
    CUmemAllocationProp prop = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    CUmemAccessDesc access = {{CU_MEM_LOCATION_TYPE_DEVICE, 0}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    CUmemGenericAllocationHandle handle;
    size_t before, during, after, total;
    uint32_t *words = need(WORDS * 4);
    CUdeviceptr own = 0;
    struct kernels k;

    start(0, &k);
    for (uint32_t t = 0; t < TENSORS; t++) {
        fill_pattern(words, WORDS, t);
        CUDA_CHECK(cuMemAlloc(&g_weights[t], WORDS * 4));
        CUDA_CHECK(cuMemcpyHtoD(g_weights[t], words, WORDS * 4));
    }
    free(words);
    check_weights(&k, "before");
    CUDA_CHECK(cuMemAddressReserve(&own, OWN, 0, 0, 0));
    for (uint32_t round = 0; round < 4; round++) {
        CUDA_CHECK(cuMemGetInfo(&before, &total));
        CUDA_CHECK(cuMemCreate(&handle, OWN, &prop, 0));
        CUDA_CHECK(cuMemMap(own, OWN, 0, handle, 0));
        CUDA_CHECK(cuMemRelease(handle));
        CUDA_CHECK(cuMemSetAccess(own, OWN, &access, 1));
        CUDA_CHECK(cuMemGetInfo(&during, &total));
        EXPECT(before - during >= OWN, "free fell by %zu", before - during);
        check_own(&k, own, round);
        check_weights(&k, "beside memory of its own");
        CUDA_CHECK(cuMemUnmap(own, OWN));
        CUDA_CHECK(cuMemGetInfo(&after, &total));
        /* The first launch of a kernel may take memory for good. */
        EXPECT(!round || after == before, "free is %zu, was %zu", after, before);
        check_weights(&k, "after");
    }
    CUDA_CHECK(cuMemAddressFree(own, OWN));
    return 0;
}
