/* illegal.c - a kernel that writes where nothing is ends its context. When that has been destroyed,
 * another one works, and weights larger than the budget are paged in it.
 *
 * run: max-memory=0=8MiB
 * stats: .weights.peak_resident_bytes <= 8 * 2**20 and .transfers.h2d_bytes > 0
 * run: max-memory=0=256MiB
 */
#include "weights.h"

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

/* Every launch after the one that failed is refused, whatever it needs. */
static void fail(struct weights *weights, CUdeviceptr out, CUstream stream)
{
    CUdeviceptr nothing = 0x1234000;
    CUfunction hash = kernel("tk_hash");

    LAUNCH(hash, 1, 256, stream, &nothing, &weights->words, &out);
    EXPECT(cuStreamSynchronize(stream) == CUDA_ERROR_ILLEGAL_ADDRESS);
    for (int i = 0; i < TENSORS; i++)
        EXPECT(cuLaunchKernel(hash, 1, 1, 1, 256, 1, 1, 0, stream,
                              (void *[]){&weights[i].p, &weights[i].words, &out},
                              NULL) == CUDA_ERROR_ILLEGAL_ADDRESS);
}

int main(void)
{
    struct weights weights[TENSORS];
    CUdeviceptr out;
    CUstream stream;

    for (uint32_t round = 0; round < 3; round++) {
        CUcontext context = context_new(0);

        open_weights(weights, &out, &stream, 100 * round);
        fail(weights, out, stream);
        CUDA_CHECK(cuCtxDestroy(context));
        context_forget(context);
    }
    context_new(0);
    open_weights(weights, &out, &stream, 1000);
    return 0;
}
