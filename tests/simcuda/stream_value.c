/* cuStreamWaitValue32: a stream's work waits for a word in memory. */
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "context.h"
#include "memory.h"
#include "pace.h"
#include "stream.h"

#define LOOK_NS 5000 /* between looks at the word: nobody tells when it is written */

struct wait {
    int device;
    CUdeviceptr addr;
    uint32_t value;
    unsigned flags;
};

static int is_met(const struct wait *wait, uint32_t word)
{
    switch (wait->flags & ~(unsigned)CU_STREAM_WAIT_VALUE_FLUSH) {
    case CU_STREAM_WAIT_VALUE_GEQ:
        return (int32_t)(word - wait->value) >= 0;
    case CU_STREAM_WAIT_VALUE_EQ:
        return word == wait->value;
    case CU_STREAM_WAIT_VALUE_AND:
        return (word & wait->value) != 0;
    default:
        return ~(word | wait->value) != 0;
    }
}

/* returns 0 or the fault; *met says whether the word is what is waited for */
static int look(const struct wait *wait, int *met)
{
    struct mmu_run run;
    const void *at;

    memory_run_begin(wait->device, &run);
    at = mmu_at(&run, wait->addr, sizeof(uint32_t), MMU_READ);
    *met = at &&
           is_met(wait, atomic_load_explicit((const _Atomic uint32_t *)at, memory_order_acquire));
    memory_run_end(&run);
    return run.fault;
}

static int wait_run(void *arg)
{
    const struct timespec pause = {0, LOOK_NS};
    const struct wait *wait = arg;
    int fault, met;

    while (!(fault = look(wait, &met)) && !met && !sim_stopping())
        nanosleep(&pause, NULL);
    pace_work_catch_up();
    return fault;
}

/* source: CUDA Driver API, stream memory operations: managed memory cannot be waited for. */
static CUresult wait_queue(CUstream handle, CUdeviceptr addr, uint32_t value, unsigned flags)
{
    struct memory_info memory;
    CUstream stream;
    struct wait *wait;
    CUresult res = stream_enter(handle, &stream);

    if (res != CUDA_SUCCESS)
        return res;
    if (addr % sizeof(uint32_t) ||
        (flags & ~(unsigned)CU_STREAM_WAIT_VALUE_FLUSH) > CU_STREAM_WAIT_VALUE_NOR)
        return CUDA_ERROR_INVALID_VALUE;
    memory_find(addr, &memory);
    if (memory.kind == MEMORY_NONE || memory.kind == MEMORY_MANAGED)
        return CUDA_ERROR_INVALID_VALUE;
    wait = malloc(sizeof(*wait));
    if (!wait)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *wait = (struct wait){stream->ctx->device, addr, value, flags};
    return sim_stream_enqueue(stream->ctx, stream, wait_run, wait, free);
}

SIM_ENTRY_PTSZ(cuStreamWaitValue32_v2,
               (CUstream stream, CUdeviceptr addr, uint32_t value, unsigned int flags),
               wait_queue(stream, addr, value, flags))
