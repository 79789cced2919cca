/* probe_streams.c - what a stream of loads and drops of managed memory reaches, as the pager does
 * them: a window of loads in flight, a drop for each that leaves it.
 *
 * Answers: how many streams the loads should take turns on, for a prefetch does its own work in the
 * call where the stream is idle and else in the stream's turn; what larger pieces gain; what a
 * mapping of the absent pages (ACCESSED_BY), which each drop makes anew, costs.
 */
#include "probe.h"

#define STREAMS_MAX  4
#define WINDOW_BYTES (32 * MIB)
#define PIECES_MAX   512

struct train {
    CUdeviceptr ptr;
    size_t piece_bytes;
    int streams;
    CUstream load[STREAMS_MAX];
    CUevent arrived[PIECES_MAX];
};

static void load(struct train *t, size_t piece)
{
    CUdeviceptr at = t->ptr + piece * t->piece_bytes;
    CUstream stream = t->load[piece % (size_t)t->streams];

    CUDA_CHECK(cuMemPrefetchAsync(at, t->piece_bytes, probe_host_memory, 0, stream));
    CUDA_CHECK(cuMemAdvise(at, t->piece_bytes, CU_MEM_ADVISE_SET_READ_MOSTLY, probe_device));
    CUDA_CHECK(cuMemPrefetchAsync(at, t->piece_bytes, probe_device, 0, stream));
    CUDA_CHECK(cuEventRecord(t->arrived[piece], stream));
}

static void drop(struct probe *p, struct train *t, size_t piece)
{
    CUdeviceptr at = t->ptr + piece * t->piece_bytes;

    CUDA_CHECK(cuEventSynchronize(t->arrived[piece]));
    CUDA_CHECK(cuMemAdvise(at, t->piece_bytes, CU_MEM_ADVISE_UNSET_READ_MOSTLY, probe_device));
    CUDA_CHECK(cuMemPrefetchAsync(at, t->piece_bytes, probe_host_memory, 0, p->stream));
}

static void pass(struct probe *p, void *state)
{
    struct train *t = state;
    size_t pieces = p->bytes / t->piece_bytes, window = WINDOW_BYTES / t->piece_bytes;

    if (window < 3)
        window = 3;
    for (size_t i = 0; i < pieces + window; i++) {
        if (i >= window)
            drop(p, t, i - window);
        if (i < pieces)
            load(t, i);
    }
}

static void measure(struct probe *p, struct train *t, const char *how)
{
    char name[96];

    for (t->piece_bytes = 2 * MIB; t->piece_bytes <= WINDOW_BYTES; t->piece_bytes *= 4)
        for (t->streams = 1; t->streams <= STREAMS_MAX; t->streams++) {
            if (t->piece_bytes > p->bytes)
                continue;
            snprintf(name, sizeof(name), "%s_pieces_%zuMiB_streams_%d", how, t->piece_bytes / MIB,
                     t->streams);
            probe_figure(p, name, "GB_per_s",
                         (double)p->bytes / probe_measure(p, NULL, pass, t).whole_ns);
        }
}

void probe_streams(struct probe *p)
{
    struct train t = {0};

    probe_open(p);
    if (!probe_attribute(CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS))
        probe_skip("no concurrent managed access (attribute 89) on this device");
    if (p->bytes > PIECES_MAX * 2 * MIB)
        p->bytes = PIECES_MAX * 2 * MIB;
    for (int i = 0; i < STREAMS_MAX; i++)
        CUDA_CHECK(cuStreamCreate(&t.load[i], CU_STREAM_NON_BLOCKING));
    for (int i = 0; i < PIECES_MAX; i++)
        CUDA_CHECK(cuEventCreate(&t.arrived[i], CU_EVENT_DISABLE_TIMING));
    CUDA_CHECK(cuMemAllocManaged(&t.ptr, p->bytes, CU_MEM_ATTACH_GLOBAL));
    CUDA_CHECK(
        cuMemAdvise(t.ptr, p->bytes, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, probe_host_memory));
    for (size_t at = 0; at < p->bytes; at += 4096)
        *(volatile char *)(uintptr_t)(t.ptr + at) = 2;
    measure(p, &t, "unmapped");
    CUDA_CHECK(cuMemAdvise(t.ptr, p->bytes, CU_MEM_ADVISE_SET_ACCESSED_BY, probe_device));
    measure(p, &t, "accessed_by");
}
