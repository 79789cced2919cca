/* illegal.c - a kernel that writes where nothing is ends CUDA for its process, as the driver has
 * it: launches, waits and copies are refused with that error, and so is a new context when the old
 * one has been destroyed. The process itself comes to its end, and the next one that it starts
 * works.
 *
 * run: max-memory=0=8MiB
 * stats: .weights.peak_resident_bytes <= 8 * 2**20 and .transfers.h2d_bytes > 0
 * run: max-memory=0=256MiB
 */
#include "weights.h"

#include <sys/wait.h>
#include <unistd.h>

#define TENSORS 8
#define WORDS   ((uint64_t)(2 * MIB / 4))

/* Weights in the current context, all of them right. */
static void open_weights(struct weights *weights, CUdeviceptr *out, CUstream *stream, uint32_t seed)
{
    CUDA_CHECK(cuStreamCreate(stream, CU_STREAM_NON_BLOCKING));
    CUDA_CHECK(cuMemAlloc(out, 8 * TENSORS));
    for (uint32_t i = 0; i < TENSORS; i++)
        weights_upload(&weights[i], WORDS, seed + i);
    weights_check(weights, TENSORS, *out, *stream);
}

/* Everything after the launch that failed is refused, whatever it needs. */
static void fail(struct weights *weights, CUdeviceptr out, CUstream stream)
{
    CUdeviceptr nothing = 0x1234000;
    CUfunction hash = kernel("tk_hash");
    uint32_t word = 0;

    LAUNCH(hash, 1, 256, stream, &nothing, &weights->words, &out);
    EXPECT(cuStreamSynchronize(stream) == CUDA_ERROR_ILLEGAL_ADDRESS);
    for (int i = 0; i < TENSORS; i++) {
        EXPECT(cuLaunchKernel(hash, 1, 1, 1, 256, 1, 1, 0, stream,
                              (void *[]){&weights[i].p, &weights[i].words, &out},
                              NULL) == CUDA_ERROR_ILLEGAL_ADDRESS);
        EXPECT(cuMemcpyDtoH(&word, weights[i].p, 4) == CUDA_ERROR_ILLEGAL_ADDRESS);
        EXPECT(cuMemcpyHtoD(weights[i].p, &word, 4) == CUDA_ERROR_ILLEGAL_ADDRESS);
    }
    EXPECT(cuCtxSynchronize() == CUDA_ERROR_ILLEGAL_ADDRESS);
}

/* This program in another process, which does nothing wrong. The statistics stay this one's. */
static void run_again(const char *program)
{
    pid_t child = fork();
    int status = 0;

    EXPECT(child >= 0);
    if (child == 0) {
        unsetenv("BERTH_STATS");
        unsetenv("SIMCUDA_REPORT");
        execl("/proc/self/exe", program, "again", (char *)NULL);
        _exit(127);
    }
    EXPECT(waitpid(child, &status, 0) == child);
    if (status != 0)
        FAIL("the next process ended with status %#x", (unsigned)status);
}

int main(int argc, char **argv)
{
    struct weights weights[TENSORS];
    CUcontext context = context_new(0);
    CUdeviceptr out;
    CUstream stream;

    open_weights(weights, &out, &stream, 100);
    if (argc > 1)
        return 0;
    fail(weights, out, stream);
    CUDA_CHECK(cuCtxDestroy(context));
    EXPECT(cuCtxCreate(&context, NULL, 0, 0) == CUDA_ERROR_ILLEGAL_ADDRESS);
    run_again(argv[0]);
    return 0;
}
