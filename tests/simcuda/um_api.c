/* Entry points: prefetch, advice and attributes of managed memory. */
#include <stdlib.h>

#include "context.h"
#include "memory.h"
#include "pace.h"
#include "sim.h"
#include "stream.h"
#include "um.h"

/* A location as um.c counts them: an ordinal, UM_CPU, or UM_NONE for one that makes no sense. */
static int location_of(CUmemLocation location)
{
    switch (location.type) {
    case CU_MEM_LOCATION_TYPE_DEVICE:
        return location.id < 0 ? UM_NONE : location.id;
    case CU_MEM_LOCATION_TYPE_HOST:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT:
        return UM_CPU;
    case CU_MEM_LOCATION_TYPE_HOST_NUMA:
        /* One node is all that this machine pretends to have. */
        return location.id == 0 ? UM_CPU : UM_NONE;
    case CU_MEM_LOCATION_TYPE_INVALID:
        break;
    }
    return UM_NONE;
}

/* Prefetch ----------------------------------------------------------------------------------- */

struct prefetch {
    CUdeviceptr addr;
    size_t bytes;
    int device;
    int is_deferred;
};

/* What the driver does for a prefetch that moves anything, beside the copying. */
struct prefetch_work {
    uint64_t before_ns; /* until the first byte is copied */
    uint64_t beside_ns; /* while they are */
};

/* Allocations, page tables and the pushing of copies, block by block. In the stream's turn a thread
 * must wake up for it first. */
static struct prefetch_work prefetch_work(const struct prefetch *prefetch)
{
    const struct pace_costs *costs = pace_costs();
    const uint64_t blocks =
        pace_is_on() ? um_prefetch_blocks(prefetch->addr, prefetch->bytes, prefetch->device) : 0;
    struct prefetch_work work = {0, 0};

    if (blocks && prefetch->is_deferred) {
        work.before_ns = costs->prefetch_turn_ns + blocks * costs->prefetch_turn_block_ns;
    } else if (blocks) {
        work.before_ns = costs->prefetch_block_ns;
        work.beside_ns = (blocks - 1) * costs->prefetch_block_ns;
    }
    return work;
}

static int prefetch_run(void *arg)
{
    struct prefetch *prefetch = arg;

    if (prefetch->is_deferred)
        pace_work_spend(prefetch_work(prefetch).before_ns);
    /* The range was good when it was queued; if it was freed since, there is nothing to move. */
    um_prefetch(prefetch->addr, prefetch->bytes, prefetch->device);
    return 0;
}

/* The driver does a prefetch's own work in the call where the stream is idle, and meanwhile no
 * other thread's call in the context gets through; else it does that in the stream's turn, and the
 * stream's copy waits for it. source: an H200 and an H100 with driver 580; for how calls of the
 * first kind hold others up, a trace of the shim on the latter. */
static CUresult prefetch_queue(CUdeviceptr addr, size_t bytes, int device, CUstream handle)
{
    struct prefetch_work work = {0, 0};
    struct prefetch *prefetch;
    CUstream stream;
    CUcontext ctx;
    CUresult res = stream_enter(handle, &stream);

    if (res != CUDA_SUCCESS)
        return res;
    if (device == UM_NONE)
        return CUDA_ERROR_INVALID_DEVICE;
    res = um_check(addr, bytes, device);
    if (res != CUDA_SUCCESS)
        return res;
    if (!um_is_concurrent())
        return CUDA_ERROR_INVALID_DEVICE;
    prefetch = malloc(sizeof(*prefetch));
    if (!prefetch)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *prefetch = (struct prefetch){addr, bytes, device, !stream_is_idle(stream)};
    ctx = stream->ctx;
    if (!pace_is_on())
        return sim_stream_enqueue(ctx, stream, prefetch_run, prefetch, free);
    if (!prefetch->is_deferred)
        work = prefetch_work(prefetch);
    context_hold(ctx);
    pace_host_spend(pace_costs()->prefetch_ns + work.before_ns);
    res = sim_stream_enqueue(ctx, stream, prefetch_run, prefetch, free);
    pace_host_spend(work.beside_ns);
    context_let_go(ctx);
    return res;
}

static CUresult prefetch_to(CUdeviceptr addr, size_t bytes, CUmemLocation location, unsigned flags,
                            CUstream stream)
{
    if (flags)
        return CUDA_ERROR_INVALID_VALUE;
    return prefetch_queue(addr, bytes, location_of(location), stream);
}

SIM_ENTRY_PTSZ(cuMemPrefetchAsync,
               (CUdeviceptr addr, size_t bytes, CUdevice device, CUstream stream),
               prefetch_queue(addr, bytes, device, stream))

SIM_ENTRY_PTSZ(cuMemPrefetchAsync_v2,
               (CUdeviceptr addr, size_t bytes, CUmemLocation location, unsigned int flags,
                CUstream stream),
               prefetch_to(addr, bytes, location, flags, stream))

/* Advice ------------------------------------------------------------------------------------- */

SIM_ENTRY(cuMemAdvise, CUdeviceptr addr, size_t bytes, CUmem_advise advice, CUdevice device)
{
    CUresult res = sim_enter(NULL, NULL);

    return res == CUDA_SUCCESS ? um_advise(addr, bytes, advice, device) : res;
}

SIM_ENTRY(cuMemAdvise_v2, CUdeviceptr addr, size_t bytes, CUmem_advise advice,
          CUmemLocation location)
{
    CUresult res = sim_enter(NULL, NULL);

    return res == CUDA_SUCCESS ? um_advise(addr, bytes, advice, location_of(location)) : res;
}

/* Attributes --------------------------------------------------------------------------------- */

SIM_ENTRY(cuMemRangeGetAttribute, void *data, size_t data_bytes, CUmem_range_attribute attribute,
          CUdeviceptr addr, size_t bytes)
{
    CUresult res = sim_enter(NULL, NULL);

    return res == CUDA_SUCCESS ? um_range_attribute(data, data_bytes, attribute, addr, bytes) : res;
}

SIM_ENTRY(cuMemRangeGetAttributes, void **data, size_t *data_bytes,
          CUmem_range_attribute *attributes, size_t count, CUdeviceptr addr, size_t bytes)
{
    CUresult res = sim_enter(NULL, NULL);
    size_t i;

    if (res == CUDA_SUCCESS && (!data || !data_bytes || !attributes || count == 0))
        return CUDA_ERROR_INVALID_VALUE;
    for (i = 0; res == CUDA_SUCCESS && i < count; i++)
        res = um_range_attribute(data[i], data_bytes[i], attributes[i], addr, bytes);
    return res;
}
