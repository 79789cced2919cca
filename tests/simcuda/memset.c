/* Sets of device memory. */
#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "copy.h"
#include "memory.h"
#include "pace.h"
#include "stream.h"

#define STRETCH_BYTES ((size_t)16 << 20) /* between two looks at whether to go on */

/* A set on its way. */
struct set {
    CUcontext ctx;
    uint64_t addr;
    size_t pitch_bytes;
    size_t width_bytes;
    size_t height;
    uint32_t value;
    unsigned value_bytes; /* 1, 2 or 4 */
};

static int set_row(const struct set *set, uint64_t addr)
{
    size_t left = set->width_bytes;
    int fault = 0;

    while (left && !fault && !sim_stopping()) {
        size_t bytes = left < STRETCH_BYTES ? left : STRETCH_BYTES;

        fault = memory_set(set->ctx->device, addr, bytes, &set->value, set->value_bytes);
        addr += bytes;
        left -= bytes;
    }
    return fault;
}

static int set_run(void *arg)
{
    const struct set *set = arg;
    int fault = 0;
    size_t row;

    for (row = 0; row < set->height && !fault; row++)
        fault = set_row(set, set->addr + row * set->pitch_bytes);
    pace_work_spend(pace_costs()->copy_ns + pace_bytes_ns((uint64_t)set->width_bytes * set->height,
                                                          pace_costs()->memory_bytes_per_s));
    if (fault)
        sim_log("set of %zu x %zu bytes at 0x%llx: error %d", set->width_bytes, set->height,
                (unsigned long long)set->addr, fault);
    return fault;
}

/* returns 0; 1 for an address that is misaligned or does not hold the rows */
static CUresult set_check(const struct set *set, enum memory_kind *kind)
{
    const size_t span = (set->height - 1) * set->pitch_bytes + set->width_bytes;

    if (set->addr % set->value_bytes || set->pitch_bytes % set->value_bytes)
        return CUDA_ERROR_INVALID_VALUE;
    if (set->height > 1 && set->pitch_bytes < set->width_bytes)
        return CUDA_ERROR_INVALID_VALUE;
    if (!memory_contains(set->addr, span, kind) || *kind == MEMORY_NONE)
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

/* A synchronous set does not wait either, unless the host could look at once: managed or pinned. */
static CUresult set_submit(CUstream stream, const struct set *model, enum copy_call call)
{
    struct work_spec spec = {.run = set_run, .release = free};
    enum memory_kind kind;
    struct set *set;
    uint64_t point;
    CUresult res;

    res = stream_enter(stream, &stream);
    if (res != CUDA_SUCCESS || !model->width_bytes || !model->height)
        return res;
    res = set_check(model, &kind);
    if (res != CUDA_SUCCESS)
        return res;
    set = malloc(sizeof(*set));
    if (!set)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *set = *model;
    set->ctx = stream->ctx;
    spec.arg = set;
    res = stream_queue(stream, &spec, &point);
    if (res != CUDA_SUCCESS || call == COPY_ASYNCHRONOUS || kind == MEMORY_DEVICE ||
        kind == MEMORY_MODULE)
        return res;
    stream_wait(stream, point);
    return (CUresult)atomic_load(&stream->ctx->sticky);
}

static CUresult set_linear(CUstream stream, CUdeviceptr addr, uint32_t value, unsigned value_bytes,
                           size_t count, enum copy_call call)
{
    struct set set = {
        .addr = addr,
        .width_bytes = count * value_bytes,
        .height = 1,
        .value = value,
        .value_bytes = value_bytes,
    };

    return set_submit(stream, &set, call);
}

static CUresult set_rows(CUstream stream, CUdeviceptr addr, size_t pitch, uint32_t value,
                         unsigned value_bytes, size_t width, size_t height, enum copy_call call)
{
    struct set set = {
        .addr = addr,
        .pitch_bytes = pitch,
        .width_bytes = width * value_bytes,
        .height = height,
        .value = value,
        .value_bytes = value_bytes,
    };

    return set_submit(stream, &set, call);
}

/* The four functions of one element type: suffix of the name, its type. */
#define SET_FUNCTIONS(suffix, type)                                                                \
    SIM_ENTRY_PTDS(cuMemsetD##suffix##_v2, (CUdeviceptr addr, type value, size_t count),           \
                   set_linear(stream, addr, value, sizeof(value), count, COPY_SYNCHRONOUS))        \
    SIM_ENTRY_PTSZ(cuMemsetD##suffix##Async,                                                       \
                   (CUdeviceptr addr, type value, size_t count, CUstream stream),                  \
                   set_linear(stream, addr, value, sizeof(value), count, COPY_ASYNCHRONOUS))       \
    SIM_ENTRY_PTDS(                                                                                \
        cuMemsetD2D##suffix##_v2,                                                                  \
        (CUdeviceptr addr, size_t pitch, type value, size_t width, size_t height),                 \
        set_rows(stream, addr, pitch, value, sizeof(value), width, height, COPY_SYNCHRONOUS))      \
    SIM_ENTRY_PTSZ(                                                                                \
        cuMemsetD2D##suffix##Async,                                                                \
        (CUdeviceptr addr, size_t pitch, type value, size_t width, size_t height,                  \
         CUstream stream),                                                                         \
        set_rows(stream, addr, pitch, value, sizeof(value), width, height, COPY_ASYNCHRONOUS))

SET_FUNCTIONS(8, unsigned char)
SET_FUNCTIONS(16, unsigned short)
SET_FUNCTIONS(32, unsigned int)
