/* functions.c - handles of functions that come again: a context that is destroyed takes its modules
 * along, and a later one may get the same handle for a kernel with fewer parameters. The array of
 * parameters ends where readable memory does, so that whoever reads on for the old kernel dies.
 *
 * run: max-memory=0=8MiB seeds=2
 * stats: .launches.waited > 0
 * stats: .paging.starved_ns <= .launches.stall_ns and .paging.unknown_launches == 0
 */
#include "common.h"

#include <string.h>
#include <sys/mman.h>

#define PAGE     ((size_t)4096)
#define CONTEXTS 5  /* few, for a real driver takes long to make one */
#define MODULES  60 /* in each: in all more than handles lie unused before they come again */
#define BUFFERS  12 /* of 1 MiB: more than the budget */

static const char g_one[] = ".version 6.0\n.target sm_70\n.address_size 64\n"
                            ".visible .entry one(.param .u64 a)\n{\n ret;\n}\n";
static const char g_four[] =
    ".version 6.0\n.target sm_70\n.address_size 64\n"
    ".visible .entry four(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d)\n"
    "{\n ret;\n}\n";

/* Room for count pointers, with nothing behind it. */
static void **params_new(size_t count)
{
    char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    EXPECT(pages != MAP_FAILED, "no memory");
    EXPECT(!mprotect(pages + PAGE, PAGE, PROT_NONE), "no guard");
    return (void **)(void *)(pages + PAGE) - count;
}

/* A context, MODULES kernels of its own in it, a launch of each, and the end of all of them. */
static void launch_each(const char *ptx, const char *name, size_t count, void **params)
{
    CUdeviceptr p[BUFFERS];
    CUcontext context;
    CUmodule module;
    CUfunction function;

    CUDA_CHECK(cuCtxCreate(&context, NULL, 0, 0));
    for (int i = 0; i < BUFFERS; i++)
        CUDA_CHECK(cuMemAlloc(&p[i], 1u << 20));
    for (size_t m = 0; m < MODULES; m++) {
        CUDA_CHECK(cuModuleLoadData(&module, ptx));
        CUDA_CHECK(cuModuleGetFunction(&function, module, name));
        for (size_t i = 0; i < count; i++)
            params[i] = &p[(m + i) % BUFFERS];
        launch_block(function, NULL, params);
    }
    CUDA_CHECK(cuCtxSynchronize());
    CUDA_CHECK(cuCtxDestroy(context));
}

int main(void)
{
    void **one = params_new(1), **four = params_new(4);

    CUDA_CHECK(cuInit(0));
    for (int i = 0; i < CONTEXTS; i++)
        launch_each(g_four, "four", 4, four);
    for (int i = 0; i < CONTEXTS; i++)
        launch_each(g_one, "one", 1, one);
    return 0;
}
