/* probe_prefetch.c - what it costs to bring managed memory to the device and to give it up.
 *
 * As the backend does it: at rest the bytes prefer the CPU and the device has a mapping of them. A
 * duplicate is brought with READ_MOSTLY and a prefetch, and given up by unsetting READ_MOSTLY and a
 * prefetch to the CPU; memory that was never uploaded moves without READ_MOSTLY.
 *
 * Answers: is the work of a prefetch done on the calling thread, for each 2 MiB (call
 * against whole); is a duplicate dropped without a transfer (drop against move_back); does a
 * prefetch to the CPU keep a duplicate (again_after_host_prefetch near again_when_there: it does;
 * near load: it does not); does a write collapse the duplicates, and what does that cost.
 */
#include "probe.h"

struct managed {
    CUdeviceptr ptr;
    size_t piece_bytes; /* of one call */
};

static void advise(struct probe *p, const struct managed *m, CUmem_advise advice)
{
    for (size_t at = 0; at < p->bytes; at += m->piece_bytes)
        CUDA_CHECK(cuMemAdvise(m->ptr + at, m->piece_bytes, advice, probe_device));
}

static void prefetch(struct probe *p, const struct managed *m, CUmemLocation where)
{
    for (size_t at = 0; at < p->bytes; at += m->piece_bytes)
        CUDA_CHECK(cuMemPrefetchAsync(m->ptr + at, m->piece_bytes, where, 0, p->stream));
}

static void load(struct probe *p, void *state)
{
    advise(p, state, CU_MEM_ADVISE_SET_READ_MOSTLY);
    prefetch(p, state, probe_device);
}

static void collapse(struct probe *p, void *state)
{
    advise(p, state, CU_MEM_ADVISE_UNSET_READ_MOSTLY);
}

static void drop(struct probe *p, void *state)
{
    collapse(p, state);
    prefetch(p, state, probe_host_memory);
}

static void move(struct probe *p, void *state)
{
    prefetch(p, state, probe_device);
}

static void move_back(struct probe *p, void *state)
{
    prefetch(p, state, probe_host_memory);
}

static void write_all(struct probe *p, void *state)
{
    const struct managed *m = state;

    probe_write(p, m->ptr, p->bytes, 4096, 3);
}

static void be_moved(struct probe *p, void *state)
{
    drop(p, state);
    move(p, state);
}

static void be_written(struct probe *p, void *state)
{
    drop(p, state);
    load(p, state);
    write_all(p, state);
}

static void be_loaded(struct probe *p, void *state)
{
    drop(p, state);
    load(p, state);
}

static void be_prefetched_back(struct probe *p, void *state)
{
    be_loaded(p, state);
    prefetch(p, state, probe_host_memory);
}

static void show(struct probe *p, struct managed *m, const char *name, probe_work before,
                 probe_work work)
{
    struct probe_time t = probe_measure(p, before, work, m);
    double pages = (double)(p->bytes / PAGE_BYTES);

    probe_figure(p, name, "call_ns_per_2MiB", t.call_ns / pages);
    probe_figure(p, name, "whole_ns_per_2MiB", t.whole_ns / pages);
}

void probe_prefetch(struct probe *p)
{
    struct managed m = {0};

    probe_open(p);
    if (!probe_attribute(CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS))
        probe_skip("no concurrent managed access (attribute 89) on this device");
    CUDA_CHECK(cuMemAllocManaged(&m.ptr, p->bytes, CU_MEM_ATTACH_GLOBAL));
    CUDA_CHECK(
        cuMemAdvise(m.ptr, p->bytes, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, probe_host_memory));
    CUDA_CHECK(cuMemAdvise(m.ptr, p->bytes, CU_MEM_ADVISE_SET_ACCESSED_BY, probe_device));
    for (size_t at = 0; at < p->bytes; at += 4096)
        *(volatile char *)(uintptr_t)(m.ptr + at) = 2;
    m.piece_bytes = p->bytes;
    show(p, &m, "load", drop, load);
    show(p, &m, "drop", be_loaded, drop);
    show(p, &m, "collapse", be_loaded, collapse);
    show(p, &m, "again_when_there", be_loaded, move);
    show(p, &m, "again_after_host_prefetch", be_prefetched_back, move);
    show(p, &m, "move", drop, move);
    show(p, &m, "move_back", be_moved, move_back);
    show(p, &m, "write_moved", be_moved, write_all);
    show(p, &m, "write_duplicate", be_loaded, write_all);
    show(p, &m, "drop_written", be_written, drop);
    m.piece_bytes = PAGE_BYTES;
    show(p, &m, "load_by_2MiB", drop, load);
    show(p, &m, "drop_by_2MiB", be_loaded, drop);
    probe_number(p, "load_GB_per_s", (double)p->bytes / probe_measure(p, drop, load, &m).whole_ns);
}
