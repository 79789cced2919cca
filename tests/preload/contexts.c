/* contexts.c - two contexts on one device: weights in both, one destroyed with work queued and its
 * allocations alive, the other untouched by that; then again, and the primary context at the end.
 * Beyond the budget the device holds, for each context, what the driver takes for it, 2 MiB here,
 * and the page that its small allocations share.
 *
 * stats: .errors.driver_failures == 0
 * run: max-memory=0=8MiB
 * stats: .weights.peak_resident_bytes <= 8 * 2**20
 * stats: .weights.allocated_bytes == 0 and 0 < .weights.vram_bytes <= 8 * 2**20
 * stats: .weights.vram_bytes + .weights.host_bytes == .weights.total_bytes
 * report: .devices[0].peak_managed_resident_bytes <= 8 * 2**20
 * report: .devices[0].peak_device_bytes <= (8 + 2 * (2 + 2)) * 2**20
 * stats: .transfers.h2d_bytes > 0
 * run: max-memory=0=64MiB
 */
#include "weights.h"

#define TENSORS 4
#define WORDS   ((uint64_t)(2 * MIB / 4))

struct side {
    CUcontext context;
    struct weights weights[TENSORS];
    CUstream stream;
    CUdeviceptr out;
};

/* The context is the current one. */
static void side_open(struct side *side, uint32_t seed)
{
    for (uint32_t i = 0; i < TENSORS; i++)
        weights_upload(&side->weights[i], WORDS, seed + i);
    CUDA_CHECK(cuStreamCreate(&side->stream, CU_STREAM_NON_BLOCKING));
    CUDA_CHECK(cuMemAlloc(&side->out, 8 * TENSORS));
}

static void side_check(struct side *side)
{
    CUDA_CHECK(cuCtxSetCurrent(side->context));
    weights_check(side->weights, TENSORS, side->out, side->stream);
}

/* Destroyed while its stream still has work. */
static void side_destroy(struct side *side)
{
    CUDA_CHECK(cuCtxSetCurrent(side->context));
    for (int i = 0; i < TENSORS; i++)
        weights_hash(&side->weights[i], side->out, side->stream);
    CUDA_CHECK(cuCtxDestroy(side->context));
    context_forget(side->context);
}

int main(void)
{
    struct side keeper, other;
    CUcontext primary;

    keeper.context = context_new(0);
    side_open(&keeper, 100);
    for (uint32_t round = 1; round <= 3; round++) {
        other.context = context_new(0);
        side_open(&other, 1000 * round);
        for (int i = 0; i < 2; i++) {
            side_check(&keeper);
            side_check(&other);
        }
        side_destroy(&other);
        side_check(&keeper);
    }
    for (int i = 0; i < TENSORS; i++) {
        weights_read_back(&keeper.weights[i]);
        CUDA_CHECK(cuMemFree(keeper.weights[i].p));
    }
    CUDA_CHECK(cuDevicePrimaryCtxRetain(&primary, 0));
    other.context = primary;
    CUDA_CHECK(cuCtxSetCurrent(primary));
    side_open(&other, 5000);
    side_check(&other);
    CUDA_CHECK(cuDevicePrimaryCtxReset(0));
    context_forget(primary);
    return 0;
}
