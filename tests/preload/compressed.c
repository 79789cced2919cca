/* compressed.c - kernels that come compressed in a fatbin, on a driver that does not tell where
 * their parameters lie.
 *
 * The fatbins of tests/data/fatbin hold the test kernels: as machine code and PTX behind zstd, as
 * PTX alone behind LZ4. Launches find their weights only by what is read out of them.
 *
 * run: max-memory=0=4MiB env=SIMCUDA_PARAM_INFO=0 env=SIMCUDA_DRIVER_VERSION=12030 arg=zstd
 * stats: .transfers.h2d_bytes > 0 and .errors.driver_failures == 0
 * run: max-memory=0=4MiB env=SIMCUDA_PARAM_INFO=0 env=SIMCUDA_DRIVER_VERSION=12030 arg=lz4
 * stats: .transfers.h2d_bytes > 0 and .errors.driver_failures == 0
 * run: max-memory=0=4MiB arg=zstd
 */
#include "common.h"

#define TENSORS 6
#define WORDS   ((uint64_t)512 * 1024) /* 2 MiB each */

/* What nvcc puts before a fatbin in a program. */
struct wrapper {
    uint32_t magic, version;
    const void *data;
    void *unused;
};

static void *read_fatbin(const char *way)
{
    char path[64];
    void *bytes = need(1 << 20);
    FILE *file;

    snprintf(path, sizeof(path), "tests/data/fatbin/kernels.%s.fatbin", way);
    file = fopen(path, "rb");
    EXPECT(file, "cannot open %s: run from the root of the repository", path);
    EXPECT(fread(bytes, 1, 1 << 20, file) > 0, "%s is empty", path);
    fclose(file);
    return bytes;
}

int main(int argc, char **argv)
{
    void *fatbin = read_fatbin(argc > 1 ? argv[1] : "zstd");
    struct wrapper wrapper = {0x466243B1u, 1, fatbin, NULL};
    struct kernels k = {NULL};
    uint32_t *words = need(WORDS * 4);
    CUcontext context = NULL;
    CUdeviceptr p[TENSORS];

    CUDA_CHECK(cuInit(0));
    CUDA_CHECK(cuCtxCreate(&context, NULL, 0, 0));
    CUDA_CHECK(cuModuleLoadData(&k.module, &wrapper));
    free(fatbin); /* as with any image, the driver has taken what it needs */
    CUDA_CHECK(cuModuleGetFunction(&k.hash, k.module, "tk_hash"));
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
