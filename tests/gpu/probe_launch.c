/* probe_launch.c - what a launch costs: the call on the program's thread, and the whole of it.
 *
 * Run plain, under berth with a budget that holds everything, and with one that does not: the
 * differences are what berth adds. Each of 32 blocks is 2 MiB of its own and was uploaded, as
 * weights are; the kernels have no words to work on. 16 launches of each kind are queued and waited
 * for.
 *
 * Answers the bound on the cost of a hooked launch, and what a driver's own launch takes.
 */
#include "probe.h"

#define POINTERS 32
#define LAUNCHES 16 /* less than a driver queues before it makes the host wait */

struct launches {
    CUfunction function;
    size_t pointers;
    CUdeviceptr block[POINTERS];
    uint64_t words;
    unsigned int seed;
    void *params[POINTERS + 2];
};

static void launch(struct probe *p, void *state)
{
    struct launches *l = state;

    for (int i = 0; i < LAUNCHES; i++)
        CUDA_CHECK(cuLaunchKernel(l->function, 1, 1, 1, 32, 1, 1, 0, p->stream, l->params, NULL));
}

static void show(struct probe *p, struct launches *l, const char *kernel, size_t pointers)
{
    struct probe_time t;
    char prefix[32];

    CUDA_CHECK(cuModuleGetFunction(&l->function, p->test_module, kernel));
    for (size_t i = 0; i < pointers; i++)
        l->params[i] = &l->block[i];
    l->params[pointers] = &l->words;
    l->params[pointers + 1] = &l->seed;
    t = probe_measure(p, launch, launch, l);
    snprintf(prefix, sizeof(prefix), "pointers_%zu", pointers);
    probe_figure(p, prefix, "call_ns", t.call_ns / LAUNCHES);
    probe_figure(p, prefix, "whole_ns", t.whole_ns / LAUNCHES);
}

void probe_launch(struct probe *p)
{
    struct launches l = {0};
    void *bytes = probe_host_alloc(PAGE_BYTES);

    probe_open(p);
    for (size_t i = 0; i < POINTERS; i++) {
        CUDA_CHECK(cuMemAlloc(&l.block[i], PAGE_BYTES));
        CUDA_CHECK(cuMemcpyHtoD(l.block[i], bytes, PAGE_BYTES));
    }
    probe_number(p, "blocks_bytes", (double)(POINTERS * PAGE_BYTES));
    show(p, &l, "tk_fill", 1);
    show(p, &l, "tk_eight", 8);
    show(p, &l, "tk_thirty_two", POINTERS);
}
