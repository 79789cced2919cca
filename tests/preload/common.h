/* common.h - what the programs under the shim share: a context with the test kernels, weights whose
 * bytes can be told again, and a check that ends the program.
 *
 * The programs know nothing of Berth: whether it is there must make no difference to any of them.
 */
#ifndef PRELOAD_COMMON_H
#define PRELOAD_COMMON_H

#include "tests/apps/cuda_api.h"
#include "tests/apps/kernels/test_kernels.h"

#include <stddef.h>
#include <stdint.h>

#define MIB ((size_t)1 << 20)

/* Ends the program with exit code 1 and a line on standard error. */
_Noreturn void fail_at(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Ends the program with exit code 77 and the reason on standard output. */
_Noreturn void skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define FAIL(...) fail_at(__FILE__, __LINE__, __VA_ARGS__)

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition))                                                                          \
            FAIL("not so: %s", #condition);                                                        \
    } while (0)

/* A new context on the device, current in this thread, after cuInit. Skips where there is no such
 * device. */
CUcontext context_new(int device);

/* A kernel of test_kernels.cu in the current context. Its module is loaded once for each context;
 * context_forget() must be told of a context that is destroyed. */
CUfunction kernel(const char *name);
void context_forget(CUcontext context);

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

/* Allocate and upload from pageable memory. */
void weights_upload(struct weights *weights, uint64_t words, uint32_t seed);
/* Queue their hash into out, a device address of 8 bytes. */
void weights_hash(const struct weights *weights, CUdeviceptr out, CUstream stream);
/* Queue the hashes of count tensors, wait, and fail where one is wrong. out: 8 * count bytes. */
void weights_check(const struct weights *weights, int count, CUdeviceptr out, CUstream stream);
/* Read them back whole and fail at the first wrong word. */
void weights_read_back(const struct weights *weights);

#endif
