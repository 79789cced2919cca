/* copies.c - every way of copying and setting, on memory that is paged, against a host model.
 *
 * Random operations on three buffers; a host copy of each is kept in step and compared at the end
 * of each round. Kernels in between make extents come and go.
 *
 * run: max-memory=0=4MiB
 * stats: .weights.peak_resident_bytes <= 4 * 2**20
 * stats: .errors.driver_failures == 0 and .errors.refused == 0
 * run: max-memory=0=64MiB
 */
#include "common.h"
#include <string.h>

#define BUFFERS 3
#define WORDS   ((uint64_t)768 * 1024) /* 3 MiB each */
#define BYTES   (WORDS * 4)
#define ROUNDS  4
#define STEPS   24

static CUdeviceptr g_device[BUFFERS];
static unsigned char *g_model[BUFFERS];
static unsigned char *g_pinned, *g_pageable;
static CUstream g_stream;

static void linear(int op, uint64_t *seed)
{
    int to = (int)(next_random(seed) % BUFFERS), from = (int)(next_random(seed) % BUFFERS);
    uint64_t bytes = 1 + next_random(seed) % (BYTES / 3);
    uint64_t at = next_random(seed) % (BYTES - bytes), src = next_random(seed) % (BYTES / 3);
    CUdeviceptr dst = g_device[to] + at;
    unsigned char *host = op % 2 ? g_pinned : g_pageable;

    if (op < 6)
        for (uint64_t i = 0; i < bytes; i++)
            host[i] = (unsigned char)(i * 31 + bytes);
    switch (op) {
    case 0:
    case 1:
        CUDA_CHECK(cuMemcpyHtoD(dst, host, bytes));
        break;
    case 2:
    case 3:
        CUDA_CHECK(cuMemcpyHtoDAsync(dst, host, bytes, g_stream));
        break;
    case 4:
        CUDA_CHECK(cuMemcpy(dst, (CUdeviceptr)(uintptr_t)host, bytes));
        break;
    case 5:
        CUDA_CHECK(cuMemcpyAsync(dst, (CUdeviceptr)(uintptr_t)host, bytes, g_stream));
        break;
    case 6:
        CUDA_CHECK(cuMemsetD8(dst, (unsigned char)bytes, bytes));
        memset(g_model[to] + at, (unsigned char)bytes, bytes);
        return;
    case 7:
        CUDA_CHECK(cuMemsetD8Async(dst, 0x5a, bytes, g_stream));
        memset(g_model[to] + at, 0x5a, bytes);
        CUDA_CHECK(cuStreamSynchronize(g_stream));
        return;
    default:
        if (from == to)
            return;
        if (op == 8)
            CUDA_CHECK(cuMemcpyDtoD(dst, g_device[from] + src, bytes));
        else
            CUDA_CHECK(cuMemcpyDtoDAsync(dst, g_device[from] + src, bytes, g_stream));
        CUDA_CHECK(cuCtxSynchronize());
        memcpy(g_model[to] + at, g_model[from] + src, bytes);
        return;
    }
    CUDA_CHECK(cuStreamSynchronize(g_stream)); /* the host buffer is written again */
    memcpy(g_model[to] + at, host, bytes);
}

/* A rectangle between the host and the device, or between two buffers. */
static void rectangle(uint64_t *seed)
{
    int to = (int)(next_random(seed) % BUFFERS);
    size_t pitch = 1024, host_pitch = 777;
    CUDA_MEMCPY2D copy = {.dstMemoryType = CU_MEMORYTYPE_DEVICE,
                          .dstDevice = g_device[to],
                          .dstPitch = pitch,
                          .dstXInBytes = next_random(seed) % 100,
                          .dstY = next_random(seed) % 1000,
                          .srcMemoryType = CU_MEMORYTYPE_HOST,
                          .srcHost = g_pageable,
                          .srcPitch = host_pitch,
                          .WidthInBytes = 1 + next_random(seed) % 700,
                          .Height = 1 + next_random(seed) % 1000};

    for (size_t i = 0; i < host_pitch * copy.Height; i++)
        g_pageable[i] = (unsigned char)(i * 7 + copy.Height);
    if (next_random(seed) % 2) {
        CUDA_CHECK(cuMemcpy2D(&copy));
    } else {
        CUDA_CHECK(cuMemcpy2DAsync(&copy, g_stream));
        CUDA_CHECK(cuStreamSynchronize(g_stream));
    }
    for (size_t y = 0; y < copy.Height; y++)
        memcpy(g_model[to] + (copy.dstY + y) * pitch + copy.dstXInBytes,
               g_pageable + y * host_pitch, copy.WidthInBytes);
}

static void check(const struct kernels *k, int round)
{
    for (int b = 0; b < BUFFERS; b++) {
        EXPECT(device_hash(k, g_device[b], WORDS, g_stream) ==
                   tk_hash_of((const uint32_t *)(const void *)g_model[b], WORDS),
               "round %d: kernels read buffer %d otherwise", round, b);
        CUDA_CHECK(cuMemcpyDtoH(g_pageable, g_device[b], BYTES));
        EXPECT(!memcmp(g_pageable, g_model[b], BYTES), "round %d: buffer %d came back changed",
               round, b);
    }
}

int main(int argc, char **argv)
{
    uint64_t seed = program_seed(argc, argv);
    struct kernels k;

    start(0, &k);
    CUDA_CHECK(cuStreamCreate(&g_stream, CU_STREAM_DEFAULT));
    CUDA_CHECK(cuMemAllocHost((void **)&g_pinned, BYTES));
    g_pageable = need(BYTES);
    for (int b = 0; b < BUFFERS; b++) {
        g_model[b] = need(BYTES);
        fill_pattern((uint32_t *)(void *)g_model[b], WORDS, (uint32_t)b);
        CUDA_CHECK(cuMemAlloc(&g_device[b], BYTES));
        CUDA_CHECK(cuMemcpyHtoD(g_device[b], g_model[b], BYTES));
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int step = 0; step < STEPS; step++) {
            int op = (int)(next_random(&seed) % 12);

            if (op < 10)
                linear(op, &seed);
            else
                rectangle(&seed);
        }
        check(&k, round);
    }
    return 0;
}
