/* compressed.c - kernels that come compressed in a fatbin, on a driver that does not tell where
 * their parameters lie.
 *
 * The fatbins of tests/data/fatbin hold the test kernels: as machine code and PTX behind zstd, as
 * PTX alone behind LZ4. They are loaded from memory, as any image or as a fatbin, or by the driver
 * itself from their file, as a module or a library. Launches find their weights only by what is
 * read out of them.
 *
 * run: max-memory=0=4MiB env=SIMCUDA_PARAM_INFO=0 env=SIMCUDA_DRIVER_VERSION=12030 arg=zstd
 * stats: .transfers.h2d_bytes > 0 and .errors.driver_failures == 0
 * run: max-memory=0=4MiB env=SIMCUDA_PARAM_INFO=0 env=SIMCUDA_DRIVER_VERSION=12030 arg=lz4 arg=fatbin
 * stats: .transfers.h2d_bytes > 0 and .errors.driver_failures == 0
 * run: max-memory=0=4MiB env=SIMCUDA_PARAM_INFO=0 env=SIMCUDA_DRIVER_VERSION=12030 arg=lz4 arg=file
 * stats: .transfers.h2d_bytes > 0 and .errors.driver_failures == 0
 * run: max-memory=0=4MiB env=SIMCUDA_PARAM_INFO=0 env=SIMCUDA_DRIVER_VERSION=12030 arg=zstd arg=lib
 * stats: .transfers.h2d_bytes > 0 and .errors.driver_failures == 0
 * run: max-memory=0=4MiB arg=zstd
 */
#include "common.h"

#include <string.h>

#define TENSORS 6
#define WORDS   ((uint64_t)512 * 1024) /* 2 MiB each */

/* What nvcc puts before a fatbin in a program, for the runtime: the driver takes it for no module.
 */
struct wrapper {
    uint32_t magic, version;
    const void *data;
    void *unused;
};

static const char *path_of(const char *way)
{
    static char path[64];

    snprintf(path, sizeof(path), "tests/data/fatbin/kernels.%s.fatbin", way);
    return path;
}

static void load_from_memory(struct kernels *k, const char *path, int as_fatbin)
{
    void *bytes = need(1 << 20);
    struct wrapper wrapper = {0x466243B1u, 1, bytes, NULL};
    FILE *file = fopen(path, "rb");

    EXPECT(file, "cannot open %s: run from the root of the repository", path);
    EXPECT(fread(bytes, 1, 1 << 20, file) > 0, "%s is empty", path);
    fclose(file);
    if (as_fatbin) {
        EXPECT(cuModuleLoadData(&k->module, &wrapper) == CUDA_ERROR_INVALID_IMAGE,
               "a wrapper is no image");
        EXPECT(cuModuleLoadFatBinary(&k->module, &wrapper) == CUDA_ERROR_INVALID_IMAGE,
               "a wrapper is no fatbin");
        CUDA_CHECK(cuModuleLoadFatBinary(&k->module, bytes));
    } else {
        CUDA_CHECK(cuModuleLoadData(&k->module, bytes));
    }
    free(bytes); /* as with any image, the driver has taken what it needs */
}

static void load(struct kernels *k, const char *path, const char *how)
{
    CUlibrary library;
    CUkernel kernel;

    if (!strcmp(how, "lib")) {
        CUDA_CHECK(cuLibraryLoadFromFile(&library, path, NULL, NULL, 0, NULL, NULL, 0));
        CUDA_CHECK(cuLibraryGetKernel(&kernel, library, "tk_hash"));
        CUDA_CHECK(cuKernelGetFunction(&k->hash, kernel));
        return;
    }
    if (!strcmp(how, "file"))
        CUDA_CHECK(cuModuleLoad(&k->module, path));
    else
        load_from_memory(k, path, !strcmp(how, "fatbin"));
    CUDA_CHECK(cuModuleGetFunction(&k->hash, k->module, "tk_hash"));
}

int main(int argc, char **argv)
{
    struct kernels k = {NULL};
    uint32_t *words = need(WORDS * 4);
    CUcontext context = NULL;
    CUdeviceptr p[TENSORS];

    CUDA_CHECK(cuInit(0));
    CUDA_CHECK(cuCtxCreate(&context, NULL, 0, 0));
    load(&k, path_of(argc > 1 ? argv[1] : "zstd"), argc > 2 ? argv[2] : "memory");
    for (uint32_t t = 0; t < TENSORS; t++) {
        fill_pattern(words, WORDS, t);
        CUDA_CHECK(cuMemAlloc(&p[t], WORDS * 4));
        CUDA_CHECK(cuMemcpyHtoD(p[t], words, WORDS * 4));
    }
    for (int round = 0; round < 4; round++)
        for (uint32_t t = 0; t < TENSORS; t++) {
            fill_pattern(words, WORDS, t);
            EXPECT(device_hash(&k, p[t], WORDS, NULL) == tk_hash_of(words, WORDS),
                   "round %d: tensor %u is read otherwise", round, t);
        }
    return 0;
}
