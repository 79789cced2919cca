#include "common.h"

#include <string.h>

CUcontext start(int device, struct kernels *kernels)
{
    const struct {
        CUfunction *function;
        const char *name;
    } rows[] = {
        {&kernels->fill, "tk_fill"},     {&kernels->hash, "tk_hash"},
        {&kernels->touch, "tk_touch"},   {&kernels->copy, "tk_copy"},
        {&kernels->triple, "tk_triple"}, {&kernels->by_value, "tk_by_value"},
        {&kernels->eight, "tk_eight"},   {&kernels->thirty_two, "tk_thirty_two"},
        {&kernels->gather, "tk_gather"}, {&kernels->indirect, "tk_indirect"},
        {&kernels->work, "tk_work"},
    };
    CUcontext context = NULL;

    CUDA_CHECK(cuInit(0));
    CUDA_CHECK(cuCtxCreate(&context, NULL, 0, device));
    CUDA_CHECK(cuModuleLoadData(&kernels->module, ptx_test_kernels));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        CUDA_CHECK(cuModuleGetFunction(rows[i].function, kernels->module, rows[i].name));
    return context;
}

uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15ull;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

uint64_t program_seed(int argc, char **argv)
{
    const char *text = getenv("SIMCUDA_SEED");

    return (uint64_t)option(argc, argv, "seed", text ? atol(text) : 1);
}

long option(int argc, char **argv, const char *name, long fallback)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, name) == 0)
            return atol(argv[i + 1]);
    return fallback;
}

void launch_words(CUfunction function, CUstream stream, uint64_t words, void **params)
{
    unsigned blocks = words < 64 * 128 ? (unsigned)(words + 127) / 128 : 64;

    CUDA_CHECK(
        cuLaunchKernel(function, blocks ? blocks : 1, 1, 1, 128, 1, 1, 0, stream, params, NULL));
}

void launch_block(CUfunction function, CUstream stream, void **params)
{
    CUDA_CHECK(cuLaunchKernel(function, 1, 1, 1, 256, 1, 1, 0, stream, params, NULL));
}

uint64_t device_hash(const struct kernels *kernels, CUdeviceptr p, uint64_t words, CUstream stream)
{
    CUdeviceptr out = 0;
    uint64_t hash = 0;
    void *params[] = {&p, &words, &out};

    CUDA_CHECK(cuMemAlloc(&out, sizeof(hash)));
    launch_block(kernels->hash, stream, params);
    CUDA_CHECK(cuStreamSynchronize(stream));
    CUDA_CHECK(cuMemcpyDtoH(&hash, out, sizeof(hash)));
    CUDA_CHECK(cuMemFree(out));
    return hash;
}

void *need(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);

    EXPECT(p, "no memory for %zu bytes", bytes);
    return p;
}

void fill_pattern(uint32_t *words, uint64_t count, uint32_t seed)
{
    for (uint64_t i = 0; i < count; i++)
        words[i] = tk_pattern(i, seed);
}
