/* probe_link.c - what copies reach on the link.
 *
 * Answers: the link's speed in the arithmetic that no design escapes; whether copies
 * of 8 to 32 MiB reach it; what pageable memory costs; whether both directions go at once; whether
 * what kernels read in place goes beside copies or shares the link with them.
 */
#include "probe.h"

struct copies {
    CUdeviceptr device, other, mapped; /* mapped: the device's address of pinned */
    void *pinned, *pageable;
    CUstream back;
    CUevent end;
    size_t piece_bytes;
};

static void to_device(struct probe *p, void *state)
{
    struct copies *c = state;

    for (size_t at = 0; at < p->bytes; at += c->piece_bytes)
        CUDA_CHECK(cuMemcpyHtoDAsync(
            c->device + at, (char *)c->pinned + at,
            p->bytes - at < c->piece_bytes ? p->bytes - at : c->piece_bytes, p->stream));
}

static void to_host(struct probe *p, void *state)
{
    struct copies *c = state;

    CUDA_CHECK(cuMemcpyDtoHAsync(c->pinned, c->device, p->bytes, p->stream));
}

static void to_device_pageable(struct probe *p, void *state)
{
    struct copies *c = state;

    CUDA_CHECK(cuMemcpyHtoDAsync(c->device, c->pageable, p->bytes, p->stream));
}

static void to_host_pageable(struct probe *p, void *state)
{
    struct copies *c = state;

    CUDA_CHECK(cuMemcpyDtoHAsync(c->pageable, c->device, p->bytes, p->stream));
}

/* Half of the bytes each way. */
static void both_ways(struct probe *p, void *state)
{
    struct copies *c = state;
    size_t half = p->bytes / 2;

    CUDA_CHECK(cuMemcpyDtoHAsync((char *)c->pinned + half, c->device + half, half, c->back));
    CUDA_CHECK(cuEventRecord(c->end, c->back));
    CUDA_CHECK(cuMemcpyHtoDAsync(c->device, c->pinned, half, p->stream));
    CUDA_CHECK(cuStreamWaitEvent(p->stream, c->end, 0));
}

/* Half of the bytes by a copy, half read by a kernel where they are. */
static void beside_reads(struct probe *p, void *state)
{
    struct copies *c = state;
    size_t half = p->bytes / 2;

    CUDA_CHECK(cuMemcpyHtoDAsync(c->device, c->pinned, half, c->back));
    CUDA_CHECK(cuEventRecord(c->end, c->back));
    probe_read(p, c->mapped + half, half, PK_READ_BYTES, 1);
    CUDA_CHECK(cuStreamWaitEvent(p->stream, c->end, 0));
}

static void within_device(struct probe *p, void *state)
{
    struct copies *c = state;

    CUDA_CHECK(cuMemcpyDtoDAsync(c->other, c->device, p->bytes, p->stream));
}

static double speed(struct probe *p, probe_work work, struct copies *c)
{
    return (double)p->bytes / probe_measure(p, NULL, work, c).whole_ns;
}

void probe_link(struct probe *p)
{
    static const size_t pieces_mib[] = {2, 8, 32};
    struct copies c = {0};

    probe_open(p);
    CUDA_CHECK(cuMemAlloc(&c.device, p->bytes));
    CUDA_CHECK(cuMemAlloc(&c.other, p->bytes));
    CUDA_CHECK(cuMemsetD8(c.device, 0, p->bytes));
    CUDA_CHECK(cuCtxSynchronize());
    CUDA_CHECK(cuMemHostAlloc(&c.pinned, p->bytes, CU_MEMHOSTALLOC_DEVICEMAP));
    CUDA_CHECK(cuMemHostGetDevicePointer(&c.mapped, c.pinned, 0));
    c.pageable = probe_host_alloc(p->bytes);
    CUDA_CHECK(cuStreamCreate(&c.back, CU_STREAM_NON_BLOCKING));
    CUDA_CHECK(cuEventCreate(&c.end, CU_EVENT_DISABLE_TIMING));
    c.piece_bytes = p->bytes;
    probe_number(p, "h2d_pinned_GB_per_s", speed(p, to_device, &c));
    probe_number(p, "d2h_pinned_GB_per_s", speed(p, to_host, &c));
    probe_number(p, "both_ways_pinned_GB_per_s", speed(p, both_ways, &c));
    probe_number(p, "h2d_beside_reads_GB_per_s", speed(p, beside_reads, &c));
    probe_number(p, "h2d_pageable_GB_per_s", speed(p, to_device_pageable, &c));
    probe_number(p, "d2h_pageable_GB_per_s", speed(p, to_host_pageable, &c));
    probe_number(p, "d2d_GB_per_s", speed(p, within_device, &c));
    for (size_t i = 0; i < sizeof(pieces_mib) / sizeof(pieces_mib[0]); i++) {
        char prefix[32];
        struct probe_time t;

        c.piece_bytes = pieces_mib[i] * MIB;
        t = probe_measure(p, NULL, to_device, &c);
        snprintf(prefix, sizeof(prefix), "h2d_pieces_%zuMiB", pieces_mib[i]);
        probe_figure(p, prefix, "GB_per_s", (double)p->bytes / t.whole_ns);
        probe_figure(p, prefix, "call_ns",
                     t.call_ns / (double)((p->bytes + c.piece_bytes - 1) / c.piece_bytes));
    }
}
