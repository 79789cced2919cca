/* devices.c - two devices, a context on each, budgets of their own; weights on both and copies
 * between them.
 *
 * run: max-memory=0=8MiB max-memory=1=4MiB env=SIMCUDA_DEVICES=2
 * stats: .transfers.h2d_bytes > 0 and .errors.driver_failures == 0
 * stats: .weights.peak_resident_bytes <= 12 * 2**20
 * run: max-memory=0=8MiB env=SIMCUDA_DEVICES=2
 * stats: .errors.driver_failures == 0
 * report: .devices[0].peak_managed_resident_bytes <= 12 * 2**20
 */
#include "weights.h"

#define DEVICES 2
#define TENSORS 6
#define WORDS   ((uint64_t)(2 * MIB / 4))

struct side {
    CUcontext context;
    struct weights weights[TENSORS];
    CUdeviceptr out;
    CUstream stream;
};

int main(void)
{
    struct side sides[DEVICES];
    struct weights copied;

    for (int d = 0; d < DEVICES; d++) {
        sides[d].context = context_new(d);
        for (uint32_t i = 0; i < TENSORS; i++)
            weights_upload(&sides[d].weights[i], WORDS, 100 * (uint32_t)d + i);
        CUDA_CHECK(cuMemAlloc(&sides[d].out, 8 * TENSORS));
        CUDA_CHECK(cuStreamCreate(&sides[d].stream, CU_STREAM_NON_BLOCKING));
    }
    for (int round = 0; round < 3; round++)
        for (int d = 0; d < DEVICES; d++) {
            CUDA_CHECK(cuCtxSetCurrent(sides[d].context));
            weights_check(sides[d].weights, TENSORS, sides[d].out, sides[d].stream);
        }

    /* A tensor of the first device, copied to the second. */
    copied = sides[0].weights[3];
    CUDA_CHECK(cuCtxSetCurrent(sides[1].context));
    CUDA_CHECK(cuMemAlloc(&copied.p, WORDS * 4));
    CUDA_CHECK(cuMemcpyPeer(copied.p, sides[1].context, sides[0].weights[3].p, sides[0].context,
                            WORDS * 4));
    weights_check(&copied, 1, sides[1].out, sides[1].stream);

    for (int d = 0; d < DEVICES; d++) {
        CUDA_CHECK(cuCtxSetCurrent(sides[d].context));
        for (int i = 0; i < TENSORS; i++)
            weights_read_back(&sides[d].weights[i]);
        CUDA_CHECK(cuCtxDestroy(sides[d].context));
    }
    return 0;
}
