/* updates.c - kernels write into weights, step after step, and under no budget is a write lost.
 *
 * A training loop without its forward pass. In each step every layer is changed by an optimizer
 * whose pointers lie inside a struct, by a merge of low rank, and by a kernel that finds the
 * addresses in device memory, where nobody can see them; some rows of a table that most budgets
 * cannot hold are changed too. The state of the optimizer was never uploaded: kernels made it.
 * Budgets are 5% to 120% of the 35 MiB that all of it takes.
 *
 * stats: .errors.driver_failures == 0 and .errors.refused == 0
 * run: max-memory=0=1792KiB only=berth seeds=2
 * run: max-memory=0=4MiB only=berth seeds=2
 * stats: .weights.peak_resident_bytes <= 4 * 2**20
 * stats: .transfers.h2d_bytes > 0
 * run: max-memory=0=9MiB env=SIMCUDA_VRAM=20MiB only=berth seeds=2
 * stats: .weights.peak_resident_bytes <= 9 * 2**20
 * stats: .transfers.written_back_bytes > 0
 * run: max-memory=0=17MiB seeds=2
 * stats: .steps.learned
 * stats: .transfers.written_back_bytes + .transfers.dropped_bytes > 0
 * run: max-memory=0=17MiB arg=--indirect arg=0 only=berth seeds=2
 * stats: .steps.learned
 * stats: .transfers.written_back_bytes + .transfers.dropped_bytes > 0
 * run: max-memory=0=26MiB env=SIMCUDA_DRIVER_VERSION=12030 only=berth seeds=2
 * stats: .transfers.written_back_bytes + .transfers.dropped_bytes > 0
 * run: max-memory=0=33MiB only=berth seeds=2
 * stats: .transfers.written_back_bytes + .transfers.dropped_bytes > 0
 * run: max-memory=0=42MiB only=berth seeds=2
 * stats: .transfers.h2d_bytes == 0
 */
#include "common.h"
#include "tests/apps/kernels/update_kernels.h"

#include <string.h>

#define LAYERS      12
#define LAYER_WORDS ((uint64_t)128 << 10)
#define COLUMNS     ((uint64_t)512)
#define RANK        4u
#define TABLE_ROWS  ((uint64_t)16384)
#define ROW_WORDS   ((uint64_t)256)
#define PICKED      64u
#define RATE        12345u

/* Bytes on the device and what they must be. */
struct memory {
    CUdeviceptr p;
    uint32_t *shadow;
    uint64_t words;
};

static struct memory g_weight[LAYERS], g_momentum[LAYERS], g_variance[LAYERS];
static struct memory g_gradient, g_a, g_b, g_table, g_delta;
static CUdeviceptr g_layers, g_rows;
static CUfunction g_merge, g_optimize, g_scatter, g_indirect;
static struct kernels g_kernels;
static CUstream g_stream;

static void uploaded(struct memory *m, uint64_t words, uint32_t seed)
{
    m->words = words;
    m->shadow = need(words * 4);
    fill_pattern(m->shadow, words, seed);
    CUDA_CHECK(cuMemAlloc(&m->p, words * 4));
    CUDA_CHECK(cuMemcpyHtoD(m->p, m->shadow, words * 4));
}

static void zeroed(struct memory *m, uint64_t words)
{
    m->words = words;
    m->shadow = need(words * 4);
    memset(m->shadow, 0, words * 4);
    CUDA_CHECK(cuMemAlloc(&m->p, words * 4));
    CUDA_CHECK(cuMemsetD32Async(m->p, 0, words, g_stream));
}

static void load_kernels(void)
{
    CUmodule module;

    CUDA_CHECK(cuModuleLoadData(&module, ptx_update_kernels));
    CUDA_CHECK(cuModuleGetFunction(&g_merge, module, "uk_merge"));
    CUDA_CHECK(cuModuleGetFunction(&g_optimize, module, "uk_optimize"));
    CUDA_CHECK(cuModuleGetFunction(&g_scatter, module, "uk_scatter"));
    CUDA_CHECK(cuModuleGetFunction(&g_indirect, module, "uk_indirect"));
}

static void make_all(void)
{
    CUdeviceptr layers[LAYERS];

    uploaded(&g_table, TABLE_ROWS * ROW_WORDS, 1);
    uploaded(&g_gradient, LAYER_WORDS, 2);
    uploaded(&g_a, LAYER_WORDS / COLUMNS * RANK, 3);
    uploaded(&g_b, RANK * COLUMNS, 4);
    uploaded(&g_delta, PICKED * ROW_WORDS, 5);
    for (uint32_t l = 0; l < LAYERS; l++) {
        uploaded(&g_weight[l], LAYER_WORDS, 10 + l);
        zeroed(&g_momentum[l], LAYER_WORDS);
        zeroed(&g_variance[l], LAYER_WORDS);
        layers[l] = g_weight[l].p;
    }
    CUDA_CHECK(cuMemAlloc(&g_layers, sizeof(layers)));
    CUDA_CHECK(cuMemcpyHtoD(g_layers, layers, sizeof(layers)));
    CUDA_CHECK(cuMemAlloc(&g_rows, PICKED * sizeof(uint32_t)));
}

static void optimize(int layer)
{
    struct memory *w = &g_weight[layer], *m = &g_momentum[layer], *v = &g_variance[layer];
    struct uk_group group = {.rate = RATE, .n = LAYER_WORDS};
    void *params[] = {&group};

    group.value.weight = (unsigned *)(uintptr_t)w->p;
    group.value.gradient = (const unsigned *)(uintptr_t)g_gradient.p;
    group.state.momentum = (unsigned *)(uintptr_t)m->p;
    group.state.variance = (unsigned *)(uintptr_t)v->p;
    launch_words(g_optimize, g_stream, group.n, params);
    for (uint64_t i = 0; i < group.n; i++)
        uk_step_word(RATE, g_gradient.shadow[i], w->shadow + i, m->shadow + i, v->shadow + i);
}

static void merge(int layer)
{
    struct memory *w = &g_weight[layer];
    uint64_t rows = LAYER_WORDS / COLUMNS, columns = COLUMNS;
    uint32_t rank = RANK;
    void *params[] = {&w->p, &g_a.p, &g_b.p, &rows, &columns, &rank};

    launch_words(g_merge, g_stream, LAYER_WORDS, params);
    for (uint64_t i = 0; i < LAYER_WORDS; i++)
        w->shadow[i] +=
            uk_merge_word(g_a.shadow, g_b.shadow, i / columns, i % columns, columns, rank);
}

static void add_to_all_layers(uint32_t value)
{
    uint64_t n = LAYER_WORDS;
    uint32_t count = LAYERS;
    void *params[] = {&g_layers, &count, &n, &value};

    launch_words(g_indirect, g_stream, n, params);
    for (uint32_t l = 0; l < LAYERS; l++)
        for (uint64_t i = 0; i < n; i++)
            g_weight[l].shadow[i] += value * (l + 1);
}

static void scatter(uint64_t *seed)
{
    uint64_t count = PICKED, row_words = ROW_WORDS, stride = TABLE_ROWS / PICKED;
    uint64_t shift = next_random(seed) % stride;
    void *params[] = {&g_table.p, &g_rows, &g_delta.p, &count, &row_words};
    uint32_t rows[PICKED];

    for (uint64_t r = 0; r < count; r++)
        rows[r] = (uint32_t)(r * stride + shift);
    CUDA_CHECK(cuMemcpyHtoDAsync(g_rows, rows, sizeof(rows), g_stream));
    launch_words(g_scatter, g_stream, count * row_words, params);
    for (uint64_t i = 0; i < count * row_words; i++)
        g_table.shadow[rows[i / row_words] * row_words + i % row_words] += g_delta.shadow[i];
}

/* By a copy, and by a kernel. */
static void check(const struct memory *m, const char *what, int index)
{
    uint32_t *back = need(m->words * 4);

    EXPECT(device_hash(&g_kernels, m->p, m->words, g_stream) == tk_hash_of(m->shadow, m->words),
           "a kernel reads %s %d otherwise", what, index);
    CUDA_CHECK(cuMemcpyDtoH(back, m->p, m->words * 4));
    for (uint64_t i = 0; memcmp(back, m->shadow, m->words * 4) && i < m->words; i++)
        EXPECT(back[i] == m->shadow[i], "%s %d, word %llu: %#x, not %#x", what, index,
               (unsigned long long)i, back[i], m->shadow[i]);
    free(back);
}

static void check_all(void)
{
    for (int l = 0; l < LAYERS; l++) {
        check(&g_weight[l], "weight", l);
        check(&g_momentum[l], "momentum", l);
        check(&g_variance[l], "variance", l);
    }
    check(&g_table, "table", 0);
    check(&g_gradient, "gradient", 0);
}

int main(int argc, char **argv)
{
    long steps = option(argc, argv, "steps", 6), indirect = option(argc, argv, "indirect", 1);
    uint64_t seed = program_seed(argc, argv);

    start(0, &g_kernels);
    load_kernels();
    CUDA_CHECK(cuStreamCreate(&g_stream, CU_STREAM_NON_BLOCKING));
    make_all();
    CUDA_CHECK(cuCtxSynchronize()); /* the stream does not wait for the default one */
    for (long s = 0; s < steps; s++) {
        for (int l = 0; l < LAYERS; l++) {
            optimize(l);
            merge(l);
        }
        if (indirect)
            add_to_all_layers(7 + (uint32_t)s);
        scatter(&seed);
        if (s == steps / 2)
            check_all();
    }
    CUDA_CHECK(cuStreamSynchronize(g_stream));
    check_all();
    printf("%ld steps\n", steps);
    return 0;
}
