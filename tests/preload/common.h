/* common.h - what the programs under the shim share: a context with the test kernels, patterns
 * whose words can be told again, launches, and a check that ends the program.
 */
#ifndef PRELOAD_COMMON_H
#define PRELOAD_COMMON_H

#include "tests/apps/cuda_api.h"
#include "tests/apps/kernels/test_kernels.h"

#include <stddef.h>
#include <stdint.h>

/* Unless the condition holds: one line on standard error, made by the format, and exit code 1. */
#define EXPECT(condition, ...)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                        \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* The kernels of test_kernels.cu in one context. */
struct kernels {
    CUmodule module;
    CUfunction fill;
    CUfunction hash;
    CUfunction touch;
    CUfunction copy;
    CUfunction triple;
    CUfunction by_value;
    CUfunction eight;
    CUfunction thirty_two;
    CUfunction gather;
    CUfunction indirect;
    CUfunction work;
};

/* cuInit, a new context on the device, current in this thread, and its kernels. */
CUcontext start(int device, struct kernels *kernels);

/* The next number of a sequence that *state determines. */
uint64_t next_random(uint64_t *state);
/* Where a sequence starts: --seed N, else SIMCUDA_SEED, else 1. */
uint64_t program_seed(int argc, char **argv);
/* The value of --name N among the arguments, else fallback. */
long option(int argc, char **argv, const char *name, long fallback);

/* Launch a kernel over words, or as a single block. */
void launch_words(CUfunction function, CUstream stream, uint64_t words, void **params);
void launch_block(CUfunction function, CUstream stream, void **params);

/* tk_hash() of words at p: queued, waited for and read back. */
uint64_t device_hash(const struct kernels *kernels, CUdeviceptr p, uint64_t words, CUstream stream);

/* malloc() that ends the program instead of failing. */
void *need(size_t bytes);
void fill_pattern(uint32_t *words, uint64_t count, uint32_t seed);

#endif
