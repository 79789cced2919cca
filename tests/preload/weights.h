/* weights.h - tensors whose bytes can be told again, and a context with the test kernels, for the
 * programs about threads, contexts, devices, processes and exits.
 *
 * The programs know nothing of Berth: whether it is there must make no difference to any of them.
 */
#ifndef PRELOAD_WEIGHTS_H
#define PRELOAD_WEIGHTS_H

#include "tests/apps/cuda_api.h"
#include "tests/apps/kernels/test_kernels.h"

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

#define CONTEXTS_MAX 16
#define EXIT_SKIP    77

static struct {
    CUcontext context;
    CUmodule module;
} g_modules[CONTEXTS_MAX];
static pthread_mutex_t g_modules_lock = PTHREAD_MUTEX_INITIALIZER;

/* Ends the program with exit code 1 and a line on standard error. */
__attribute__((format(printf, 3, 4))) static inline _Noreturn void
fail_at(const char *file, int line, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s:%d: ", file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

/* Ends the program with exit code 77 and the reason on standard output. */
__attribute__((format(printf, 1, 2))) static inline _Noreturn void skip(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    exit(EXIT_SKIP);
}

#define FAIL(...) fail_at(__FILE__, __LINE__, __VA_ARGS__)

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition))                                                                          \
            FAIL("not so: %s", #condition);                                                        \
    } while (0)

/* Launch grid x block threads; the addresses of the parameters follow. */
#define LAUNCH(function, grid, block, stream, ...)                                                 \
    CUDA_CHECK(cuLaunchKernel(function, grid, 1, 1, block, 1, 1, 0, stream,                        \
                              (void *[]){__VA_ARGS__}, NULL))

/* One tensor on the device, whose words are the pattern of seed. */
struct weights {
    CUdeviceptr p;
    uint64_t words;
    uint32_t seed;
    uint64_t hash; /* what tk_hash() of them gives */
};

/* A new context on the device, current in this thread, after cuInit. Skips where there is no such
 * device. */
static inline CUcontext context_new(int device)
{
    CUcontext context = NULL;
    int count = 0;

    CUDA_CHECK(cuInit(0));
    CUDA_CHECK(cuDeviceGetCount(&count));
    if (device >= count)
        skip("the machine has %d devices, this wants %d", count, device + 1);
    CUDA_CHECK(cuCtxCreate(&context, NULL, 0, device));
    return context;
}

static inline CUmodule module_of(CUcontext context)
{
    int empty = -1;

    for (int i = 0; i < CONTEXTS_MAX; i++) {
        if (g_modules[i].context == context)
            return g_modules[i].module;
        if (!g_modules[i].context && empty < 0)
            empty = i;
    }
    EXPECT(empty >= 0);
    CUDA_CHECK(cuModuleLoadData(&g_modules[empty].module, ptx_test_kernels));
    g_modules[empty].context = context;
    return g_modules[empty].module;
}

/* A kernel of test_kernels.cu in the current context. Its module is loaded once for each context;
 * context_forget() must be told of a context that is destroyed. */
static inline CUfunction kernel(const char *name)
{
    CUfunction function = NULL;
    CUcontext current = NULL;
    CUmodule module;

    CUDA_CHECK(cuCtxGetCurrent(&current));
    EXPECT(current != NULL);
    pthread_mutex_lock(&g_modules_lock);
    module = module_of(current);
    pthread_mutex_unlock(&g_modules_lock);
    CUDA_CHECK(cuModuleGetFunction(&function, module, name));
    return function;
}

static inline void context_forget(CUcontext context)
{
    pthread_mutex_lock(&g_modules_lock);
    for (int i = 0; i < CONTEXTS_MAX; i++)
        if (g_modules[i].context == context)
            g_modules[i].context = NULL;
    pthread_mutex_unlock(&g_modules_lock);
}

/* Allocate and upload from pageable memory. */
static inline void weights_upload(struct weights *weights, uint64_t words, uint32_t seed)
{
    uint32_t *host = malloc(words * sizeof(*host));

    EXPECT(host != NULL);
    for (uint64_t i = 0; i < words; i++)
        host[i] = tk_pattern(i, seed);
    weights->words = words;
    weights->seed = seed;
    weights->hash = tk_hash_of(host, words);
    CUDA_CHECK(cuMemAlloc(&weights->p, words * sizeof(*host)));
    CUDA_CHECK(cuMemcpyHtoD(weights->p, host, words * sizeof(*host)));
    /* The driver has taken the bytes: what becomes of the buffer is nobody's business any more. */
    memset(host, 0xdb, words * sizeof(*host));
    free(host);
    /* They are on their way in the default stream, which a non-blocking one does not wait for. */
    CUDA_CHECK(cuStreamSynchronize(NULL));
}

/* Queue their hash into out, a device address of 8 bytes. */
static inline void weights_hash(const struct weights *weights, CUdeviceptr out, CUstream stream)
{
    CUdeviceptr p = weights->p;
    uint64_t words = weights->words;

    LAUNCH(kernel("tk_hash"), 1, 256, stream, &p, &words, &out);
}

/* Queue the hashes of count tensors, wait, and fail where one is wrong. out: 8 * count bytes. */
static inline void weights_check(const struct weights *weights, int count, CUdeviceptr out,
                                 CUstream stream)
{
    uint64_t *got = calloc((size_t)count, sizeof(*got));

    EXPECT(got != NULL);
    for (int i = 0; i < count; i++)
        weights_hash(&weights[i], out + 8 * (CUdeviceptr)i, stream);
    CUDA_CHECK(cuStreamSynchronize(stream));
    CUDA_CHECK(cuMemcpyDtoH(got, out, 8 * (size_t)count));
    for (int i = 0; i < count; i++)
        if (got[i] != weights[i].hash)
            FAIL("tensor %d of %d: hash %#llx, expected %#llx", i, count,
                 (unsigned long long)got[i], (unsigned long long)weights[i].hash);
    free(got);
}

/* Read them back whole and fail at the first wrong word. */
static inline void weights_read_back(const struct weights *weights)
{
    uint32_t *host = malloc(weights->words * sizeof(*host));

    EXPECT(host != NULL);
    CUDA_CHECK(cuMemcpyDtoH(host, weights->p, weights->words * sizeof(*host)));
    for (uint64_t i = 0; i < weights->words; i++)
        if (host[i] != tk_pattern(i, weights->seed))
            FAIL("word %llu is %#x, expected %#x", (unsigned long long)i, host[i],
                 tk_pattern(i, weights->seed));
    free(host);
}

#endif
