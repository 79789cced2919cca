/* ptx_device_barrier.h - mbarrier objects: 64 bits of shared memory that count arrivals.
 *
 * Part of the text of every translated module; see ptx_device.h. All threads of a block run on one
 * host thread, so nothing here is atomic. What the bits mean is nobody's business but this file's:
 *
 *     0..19 arrivals still missing   20..39 arrivals of each phase   40..63 the phase
 */
#ifndef SIMCUDA_PTX_DEVICE_BARRIER_H
#define SIMCUDA_PTX_DEVICE_BARRIER_H

#ifndef SIMCUDA_PTX_DEVICE_H
#include "ptx_device.h"
#endif

#define PTX_MBARRIER_COUNT_MAX   ((1u << 20) - 1)
#define PTX_MBARRIER_PHASE_SHIFT 40

static inline uint64_t ptx_mbarrier_make(uint64_t phase, uint64_t each, uint64_t missing)
{
    return phase << PTX_MBARRIER_PHASE_SHIFT | each << 20 | missing;
}

static inline uint32_t ptx_mbarrier_pending(uint64_t state)
{
    return (uint32_t)state & PTX_MBARRIER_COUNT_MAX;
}

/* Count arrivals; drop: none of them are expected any more in later phases. The phase ends with the
 * last one. returns what the barrier was before; a fault when there are more than were expected */
static inline uint64_t ptx_mbarrier_arrive(struct mmu_run *run, uint8_t *at, uint32_t count,
                                           int drop)
{
    uint64_t state = ptx_load64(at), phase = state >> PTX_MBARRIER_PHASE_SHIFT;
    uint64_t missing = ptx_mbarrier_pending(state), each = state >> 20 & PTX_MBARRIER_COUNT_MAX;

    if (!count || count > missing) {
        ptx_fault(run, PTX_FAULT_LAUNCH_FAILED, 0);
        return state;
    }
    missing -= count;
    each -= drop ? count : 0;
    if (missing == 0) {
        phase++;
        missing = each;
    }
    ptx_store64(at, ptx_mbarrier_make(phase, each, missing));
    return state;
}

/* Whether the phase that the state was of, or the last one of that parity, is over. */
static inline int ptx_mbarrier_over(uint64_t now, uint64_t state)
{
    return now >> PTX_MBARRIER_PHASE_SHIFT != state >> PTX_MBARRIER_PHASE_SHIFT;
}

static inline int ptx_mbarrier_over_parity(uint64_t now, uint32_t parity)
{
    return (now >> PTX_MBARRIER_PHASE_SHIFT & 1) != (parity & 1);
}

#endif
