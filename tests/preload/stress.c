/* stress.c - eight threads with four streams each and the default streams, two contexts, two
 * hundred tensors of random sizes, random kernels and copies that read and write them, allocations
 * that come and go meanwhile; every byte is held against a shadow copy. stress/stress.h says how
 * that can be.
 *
 * After some hundred random operations one thread runs a loop that can be learned, then there are
 * random ones again. SIMCUDA_SEED (or --seed) determines what is done; --bytes is what the tensors
 * hold together, in KiB, at the start. The last two runs have extents of 4 and of 8 MiB.
 *
 * timeout: 120
 * stats: .errors.driver_failures == 0 and .errors.refused == 0
 * run: max-memory=0=5MiB arg=--ops arg=250 seeds=2
 * run: max-memory=0=24MiB arg=--ops arg=250 seeds=2
 * run: max-memory=0=70MiB arg=--ops arg=250 seeds=2 env=SIMCUDA_DRIVER_VERSION=12030
 * run: max-memory=0=115MiB arg=--ops arg=250 seeds=2
 * run: max-memory=0=560MiB arg=--ops arg=60 arg=--bytes arg=716800 seeds=1 only=berth faults=none
 * stats: .transfers.h2d_bytes > .transfers.h2d_count * 2 * 2**20
 * run: max-memory=0=2080MiB arg=--ops arg=40 arg=--bytes arg=2457600 seeds=1 only=berth faults=none
 * stats: .transfers.h2d_bytes > .transfers.h2d_count * 4 * 2**20
 */
#include "stress/stress.h"

#include <string.h>

#define ARENA_TENSORS 12
#define ALIGNMENT     16
#define LOOP_LENGTH   40
#define LOOP_ROUNDS   7

#ifdef __SANITIZE_THREAD__
#define TSAN_BYTES_MAX ((uint64_t)256 << 20)
#endif

struct tensor g_tensors[TENSORS_MAX];
unsigned g_tensor_count;
struct side g_sides[SIDES];

static void open_side(struct side *side)
{
    const struct {
        CUfunction *function;
        const char *name;
    } rows[] = {
        {&side->merge, "uk_merge"},
        {&side->optimize, "uk_optimize"},
        {&side->scatter, "uk_scatter"},
        {&side->indirect, "uk_indirect"},
    };
    CUmodule module;

    side->context = start(0, &side->k);
    CUDA_CHECK(cuModuleLoadData(&module, ptx_update_kernels));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        CUDA_CHECK(cuModuleGetFunction(rows[i].function, module, rows[i].name));
}

/* Sizes, some hundred times larger than others, that add up to bytes or a little more. */
static void draw_sizes(uint64_t bytes, uint64_t *seed)
{
    uint64_t weights[TENSORS_MAX], total = 0;

    for (unsigned t = 0; t < g_tensor_count; t++) {
        weights[t] = 1 + next_random(seed) % (next_random(seed) % 40 ? 300 : 6000);
        total += weights[t];
    }
    for (unsigned t = 0; t < g_tensor_count; t++) {
        struct tensor *tensor = &g_tensors[t];

        tensor->side = (unsigned)(next_random(seed) % SIDES);
        tensor->words = TENSOR_WORDS_MIN + bytes / 4 * weights[t] / total;
        tensor->tail_bytes = (unsigned)(next_random(seed) % 4);
        tensor->capacity_words = tensor->words;
        tensor->pooled = next_random(seed) % 4 == 0;
        tensor->shadow = need(tensor->words * 4 + 3);
        fill_pattern(shadow_words(tensor), tensor->words, t);
        memset(tensor->shadow + tensor->words * 4, (int)t, 3);
    }
}

/* One allocation for many tensors, as a caching allocator makes it. */
static void create_arena(unsigned side)
{
    struct tensor *inner[ARENA_TENSORS];
    uint64_t bytes = 0, offset = 0;
    unsigned count = 0;
    CUdeviceptr arena;

    for (unsigned t = 0; t < g_tensor_count && count < ARENA_TENSORS; t++)
        if (g_tensors[t].side == side) {
            inner[count++] = &g_tensors[t];
            bytes += (tensor_bytes(&g_tensors[t]) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
    CUDA_CHECK(cuMemAlloc(&arena, bytes));
    for (unsigned i = 0; i < count; i++) {
        inner[i]->inner = 1;
        inner[i]->p = arena + offset;
        CUDA_CHECK(cuMemcpyHtoD(inner[i]->p, inner[i]->shadow, tensor_bytes(inner[i])));
        offset += (tensor_bytes(inner[i]) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
}

static void create_tensors(void)
{
    for (unsigned s = 0; s < SIDES; s++) {
        CUDA_CHECK(cuCtxSetCurrent(g_sides[s].context));
        create_arena(s);
        for (unsigned t = 0; t < g_tensor_count; t++)
            if (g_tensors[t].side == s && !g_tensors[t].inner)
                tensor_create(&g_tensors[t], NULL);
        CUDA_CHECK(cuCtxSynchronize());
    }
}

static void check_all(const char *when)
{
    for (unsigned t = 0; t < g_tensor_count; t++) {
        struct tensor *tensor = &g_tensors[t];
        void *bytes = need(tensor_bytes(tensor));

        CUDA_CHECK(cuCtxSetCurrent(g_sides[tensor->side].context));
        CUDA_CHECK(cuMemcpyDtoH(bytes, tensor->p, tensor_bytes(tensor)));
        tensor_compare(tensor, 0, bytes, tensor_bytes(tensor), when);
        free(bytes);
    }
}

/* All threads carry out their parts of the plan; then nothing is on its way any more. */
static void run_plan(struct plan *plan, unsigned threads, const char *name)
{
    struct worker workers[THREADS_MAX] = {0};
    pthread_t ids[THREADS_MAX];

    for (unsigned i = 0; i < threads; i++) {
        workers[i].index = i;
        workers[i].plan = plan;
        EXPECT(pthread_create(&ids[i], NULL, worker_run, &workers[i]) == 0, "no thread");
    }
    for (unsigned i = 0; i < threads; i++)
        EXPECT(pthread_join(ids[i], NULL) == 0, "a thread is lost");
    for (unsigned s = 0; s < SIDES; s++) {
        CUDA_CHECK(cuCtxSetCurrent(g_sides[s].context));
        CUDA_CHECK(cuCtxSynchronize());
    }
    check_all(name);
    plan_free(plan);
}

int main(int argc, char **argv)
{
    unsigned ops = (unsigned)option(argc, argv, "ops", 600);
    unsigned threads = (unsigned)option(argc, argv, "threads", THREADS_MAX);
    uint64_t bytes = (uint64_t)option(argc, argv, "bytes", 96 << 10) << 10;
    uint64_t seed = program_seed(argc, argv);
    struct plan plan;

#ifdef __SANITIZE_THREAD__
    if (bytes > TSAN_BYTES_MAX) {
        puts("the thread sanitizer takes twelve times the memory, which is more than there may be");
        return 77;
    }
#endif
    g_tensor_count = (unsigned)option(argc, argv, "tensors", 200);
    EXPECT(threads >= SIDES && threads <= THREADS_MAX && g_tensor_count <= TENSORS_MAX,
           "at most %d threads and %d tensors", THREADS_MAX, TENSORS_MAX);
    for (unsigned s = 0; s < SIDES; s++)
        open_side(&g_sides[s]);
    draw_sizes(bytes, &seed);
    create_tensors();
    check_all("after the upload");
    plan_draw(&plan, threads, ops, &seed);
    run_plan(&plan, threads, "after random work");
    plan_draw_loop(&plan, LOOP_LENGTH, LOOP_ROUNDS, &seed);
    run_plan(&plan, threads, "after the loop");
    plan_draw(&plan, threads, ops, &seed);
    run_plan(&plan, threads, "after more random work");
    printf("%u tensors, 2 x %u operations and %d\n", g_tensor_count, ops,
           LOOP_LENGTH * LOOP_ROUNDS);
    return 0;
}
