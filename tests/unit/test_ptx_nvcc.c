/* test_ptx_nvcc.c - the PTX that nvcc writes, in its two dialects, without a toolkit.
 *
 * Strategy: tests/data/ptx/nvcc holds CUDA C sources and what nvcc made of them, for sm_75, where
 * registers have types, and for sm_100, where they are bits. Every kernel runs, and its results are
 * compared with the same computation on the host: exactly where the order of operations is known,
 * to a few units in the last place where the device's approximations are.
 */
#include <math.h>

#include "ptx_rig.h"

static struct rig *g_rig;

static void load(const char *name, const char *dialect)
{
    char path[64];

    g_rig = rig_new();
    snprintf(path, sizeof(path), "nvcc/%s%s", name, dialect);
    rig_load_file(g_rig, path);
}

static void run(const char *kernel, uint32_t grid, uint32_t block, uint32_t shared,
                const void *params)
{
    int res = rig_run(g_rig, kernel, grid, block, shared, params);

    if (res)
        fail_msg("%s gave %d", kernel, res);
}

static float noise(uint32_t i)
{
    i = (i ^ 61) ^ (i >> 16);
    i *= 0x9e3779b1u;
    i ^= i >> 15;
    return (float)(int)(i % 2001u - 1000u) / 500.0f;
}

static float *floats(uint64_t addr)
{
    return rig_at(g_rig, addr);
}

static uint64_t noisy(uint32_t count, uint32_t seed)
{
    uint64_t addr = rig_alloc(g_rig, count * 4);

    for (uint32_t i = 0; i < count; i++)
        floats(addr)[i] = noise(i + seed);
    return addr;
}

static void near(float a, float b, float tolerance)
{
    if (!(fabsf(a - b) <= tolerance * fmaxf(1.0f, fabsf(b))))
        fail_msg("expected %.9g, got %.9g", (double)b, (double)a);
}

static void check_sgemm(void)
{
    enum { M = 128, N = 64, K = 48 };
    struct {
        uint64_t a, b, c;
        int m, n, k;
    } p = {noisy(M * K, 1), noisy(K * N, 99999), noisy(M * N, 7), M, N, K};
    const struct ptx_kernel *kernel = ptx_module_kernel(g_rig->module, "sgemm");
    struct ptx_launch launch = {.grid = {1, 2, 1}, .block = {256, 1, 1}, .params = &p};

    assert_int_equal(ptx_kernel_max_threads(kernel), 256);
    assert_int_equal(ptx_kernel_static_shared_bytes(kernel), 8192);
    for (uint32_t y = 0; y < 2; y++) {
        const uint32_t id[3] = {0, y, 0};

        assert_int_equal(ptx_kernel_run_block(kernel, &launch, id, &g_rig->run), 0);
    }
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            float sum = 0;

            for (int k = 0; k < K; k++)
                sum = fmaf(floats(p.a)[i * K + k], floats(p.b)[k * N + j], sum);
            if (floats(p.c)[i * N + j] != sum)
                fail_msg("sgemm: row %d, column %d: %.9g is not %.9g", i, j,
                         (double)floats(p.c)[i * N + j], (double)sum);
        }
}

static void check_layernorm(void)
{
    enum { ROWS = 3, COLUMNS = 100 };
    struct {
        uint64_t out, in, gain, bias;
        int columns;
        float epsilon;
    } p = {noisy(ROWS * COLUMNS, 0),
           noisy(ROWS * COLUMNS, 5),
           noisy(COLUMNS, 6),
           noisy(COLUMNS, 7),
           COLUMNS,
           1e-5f};

    run("layernorm", ROWS, 128, 0, &p);
    for (int r = 0; r < ROWS; r++) {
        const float *row = floats(p.in) + r * COLUMNS;
        double mean = 0, variance = 0;

        for (int i = 0; i < COLUMNS; i++)
            mean += row[i] / (double)COLUMNS;
        for (int i = 0; i < COLUMNS; i++)
            variance += (row[i] - mean) * (row[i] - mean) / COLUMNS;
        for (int i = 0; i < COLUMNS; i++)
            near(floats(p.out)[r * COLUMNS + i],
                 (float)((row[i] - mean) / sqrt(variance + 1e-5) * floats(p.gain)[i] +
                         floats(p.bias)[i]),
                 1e-5f);
    }
}

static void check_softmax(void)
{
    enum { ROWS = 2, COLUMNS = 70 };
    struct {
        uint64_t rows;
        int columns;
    } p = {noisy(ROWS * COLUMNS, 3), COLUMNS};
    float before[ROWS * COLUMNS];

    memcpy(before, floats(p.rows), sizeof(before));
    run("softmax", ROWS, 64, 64 * 4, &p);
    for (int r = 0; r < ROWS; r++) {
        double sum = 0;

        for (int i = 0; i < COLUMNS; i++)
            sum += exp(before[r * COLUMNS + i]);
        for (int i = 0; i < COLUMNS; i++)
            near(floats(p.rows)[r * COLUMNS + i], (float)(exp(before[r * COLUMNS + i]) / sum),
                 1e-6f);
    }
}

static void check_activations(void)
{
    enum { COUNT = 300 };
    struct {
        uint64_t out, in;
        int n;
    } p = {noisy(COUNT, 0), noisy(COUNT, 11), COUNT - 1};
    struct {
        uint64_t data;
        int n;
    } q = {noisy(COUNT, 11), COUNT};
    float last = floats(p.out)[COUNT - 1];

    run("gelu", 2, 160, 0, &p);
    for (int i = 0; i < COUNT - 1; i++) {
        double x = floats(p.in)[i];

        near(floats(p.out)[i], (float)(0.5 * x * (1 + erf(x * sqrt(0.5)))), 1e-6f);
    }
    assert_true(floats(p.out)[COUNT - 1] == last);
    run("gelu_tanh", 2, 160, 0, &p);
    run("silu", 2, 32, 0, &q);
    for (int i = 0; i < COUNT - 1; i++) {
        double x = floats(p.in)[i];

        near(floats(p.out)[i],
             (float)(0.5 * x * (1 + tanh(0.797884560802865 * (x + 0.044715 * x * x * x)))), 1e-6f);
        near(floats(q.data)[i], (float)(x / (1 + exp(-x))), 1e-6f);
    }
}

static void check_rotation_and_gather(void)
{
    enum { ROWS = 20, HALF = 16, QUADS = 9 };
    struct {
        uint64_t rows;
        int half;
        float log2_base;
    } p = {noisy(ROWS * 2 * HALF, 8), HALF, 13.287712f};
    struct {
        uint64_t out, table, ids;
        int quads;
    } q = {rig_alloc(g_rig, 4096), noisy(50 * 4 * QUADS, 4), rig_alloc(g_rig, 64), QUADS};
    float before[ROWS * 2 * HALF];
    int *ids = rig_at(g_rig, q.ids);

    memcpy(before, floats(p.rows), sizeof(before));
    run("rotate", ROWS, 8, 0, &p);
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < HALF; i++) {
            double angle = r * exp2(-13.287712 * i / HALF);
            double x = before[r * 2 * HALF + i], y = before[r * 2 * HALF + HALF + i];

            near(floats(p.rows)[r * 2 * HALF + i], (float)(x * cos(angle) - y * sin(angle)), 1e-5f);
            near(floats(p.rows)[r * 2 * HALF + HALF + i], (float)(x * sin(angle) + y * cos(angle)),
                 1e-5f);
        }
    ids[0] = 49;
    ids[1] = 0;
    ids[2] = 17;
    run("embed", 3, 4, 0, &q);
    for (int i = 0; i < 3; i++)
        assert_memory_equal(floats(q.out) + i * 4 * QUADS, floats(q.table) + ids[i] * 4 * QUADS,
                            16 * QUADS);
}

struct options {
    float scale;
    int offsets[5];
    double bias;
    char flags[3];
};

static void check_structs(void)
{
    struct {
        uint64_t out;
        struct options o;
        int n;
    } p = {noisy(64, 2), {2.0f, {10, 20, 30, 40, 50}, 0.25, {1, 2, 3}}, 12};
    float before[64];

    memcpy(before, floats(p.out), sizeof(before));
    run("by_value", 1, 64, 0, &p);
    for (int i = 1; i < 64; i++) {
        int k = (i + 12) % 5;
        float x = fmaf(before[i], 2.0f, (float)p.o.offsets[k]);

        x = x + 0.25f + (float)p.o.flags[k % 3];
        x = x + (float)(((i + 12) & 7) + 1) + (i & 1 ? 2.5f : 1.5f);
        near(floats(p.out)[i], x, 1e-6f);
    }
    assert_true(floats(p.out)[0] == 52.0f);
}

static void check_calls(void)
{
    static const int expected[9] = {17, 3, -3, 8, 3 ^ 0x55, 3, 102, -1, -1};
    struct {
        uint64_t out;
        int n;
    } p = {rig_alloc(g_rig, 256), 1};
    int *out = rig_at(g_rig, p.out);

    run("pointers_to_functions", 1, 6, 0, &p);
    for (int i = 0; i < 6; i++)
        assert_int_equal(out[i], i % 2 == 0 ? i * 5 : i + 3);
    run("recursion", 1, 6, 0, &p);
    for (int i = 0; i < 6; i++)
        assert_int_equal(out[i], 2 * i + 3);
    for (p.n = 0; p.n <= 3; p.n += 3) {
        run("cases", 1, 4, 0, &p);
        if (p.n == 3)
            for (int i = 0; i < 4; i++)
                assert_int_equal(out[i], i == 0 ? 1 : expected[3 + i]);
        else
            for (int i = 0; i < 4; i++)
                assert_int_equal(out[i], i == 2 ? 0 : expected[i]);
    }
    p.n = 35;
    run("local_array", 1, 3, 0, &p);
    for (int i = 0; i < 3; i++)
        assert_int_equal(out[i], 28 * 35 + i); /* the fourth largest */
}

static uint64_t integers_on_host(uint64_t seed, int d, uint32_t tid)
{
    static const int selector[4] = {5, 3, 0, 6};
    uint64_t x = seed + tid, y;
    unsigned __int128 wide = (unsigned __int128)x * 0x9e3779b97f4a7c15ull;
    uint32_t permuted = 0;

    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdull;
    x = x / (unsigned)(d + 3) + x % (unsigned)(d + 5);
    x += (uint64_t)(wide >> 64) ^ (uint64_t)wide;
    y = 0;
    for (int i = 0; i < 64; i++)
        y |= (x >> i & 1) << (63 - i);
    x ^= y + (uint64_t)(x ? __builtin_clzll(x) : 64) + (uint64_t)__builtin_ffs((int)x);
    for (int i = 0; i < 4; i++)
        permuted |= (uint32_t)(x >> (8 * selector[i]) & 0xff) << (8 * i);
    x += permuted;
    x ^= (uint32_t)(((x >> 32 << 32 | (uint32_t)x) << (d & 31)) >> 32);
    x += (uint64_t)((int64_t)((int)x / (d - 7)) + (int)x % (d - 7) +
                    (int)((int64_t)(int)x * d >> 32));
    return x;
}

static void check_integers(void)
{
    struct {
        uint64_t out, seed;
        int d;
    } p = {rig_alloc(g_rig, 1024), 0xfedcba9876543210ull, 20};
    const uint64_t *out = rig_at(g_rig, p.out);

    run("integers", 1, 100, 0, &p);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(out[i], integers_on_host(p.seed, p.d, i));
    }
}

static void check_halves(void)
{
    struct {
        uint64_t h, b, out;
        int n;
    } p = {rig_alloc(g_rig, 64), rig_alloc(g_rig, 64), rig_alloc(g_rig, 64), 7};
    uint16_t *h = rig_at(g_rig, p.h), *b = rig_at(g_rig, p.b);

    /* x = 1 + i / 8 and y = i / 2: everything but the last product is exact in the narrow formats.
     */
    for (int i = 0; i < 8; i++) {
        float y = (float)i / 2;
        uint32_t bits;

        memcpy(&bits, &y, 4);
        h[i] = (uint16_t)(0x3c00 + i * 0x80);
        b[i] = (uint16_t)(bits >> 16);
    }
    run("halves", 1, 8, 0, &p);
    for (int i = 0; i < 7; i++) {
        float x = 1 + (float)i / 8, y = (float)i / 2;
        float sum = x * x + 0.25f + y * y + 0.25f, product = x * y, tenth = x * 0.1f;
        float unit = tenth < 0.125f ? 0x1p-14f : 0x1p-13f;
        uint32_t bits;

        memcpy(&bits, &product, 4);
        assert_int_equal(b[i], bits >> 16);
        assert_true(floats(p.out)[i] == sum + floorf(tenth / unit) * unit);
    }
    assert_int_equal(h[7], 0x3c00 + 7 * 0x80);
}

static void check_doubles(void)
{
    struct {
        uint64_t out, in;
    } p = {rig_alloc(g_rig, 1024), rig_alloc(g_rig, 1024)};
    double *out = rig_at(g_rig, p.out), *in = rig_at(g_rig, p.in);

    for (int i = 0; i < 50; i++)
        in[i] = i * 0.37;
    run("doubles", 1, 50, 0, &p);
    for (int i = 0; i < 50; i++) {
        double x = in[i];
        double y = sqrt(x) + exp(-x) / (1 + x * x) + fma(x, x, -1.0) + 1 / (x + 2) +
                   (double)(long long)(x * 1000) + (double)(float)x + floor(x) + log(x + 1);

        assert_true(fabs(out[i] - y) <= 1e-12 * fabs(y) + 1e-12);
    }
}

static void check_warps(void)
{
    uint64_t out = rig_alloc(g_rig, 1024);
    const uint32_t *words = rig_at(g_rig, out);

    run("warps", 1, 64, 0, &out);
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t lane = i % 32, same = 0xfu << (lane & ~3u);
        uint32_t up = lane < 3 ? i : i - 3, first = (i & ~7u) + 2;
        uint32_t votes = (i < 32) + 2 * (i < 32) + (lane < 10 ? 10 * 8 : 0);

        assert_int_equal(words[i],
                         0xaaaaaaaa ^ same ^ up << 3 ^ first << 7 ^ votes << 11 ^ 22u << 20);
    }
}

static void check_atomics(void)
{
    struct {
        uint64_t cells, sum, wide;
    } p = {rig_alloc(g_rig, 64), rig_alloc(g_rig, 64), rig_alloc(g_rig, 64)};
    uint32_t *cells = rig_at(g_rig, p.cells), mixed = 0, turns = 0;

    run("atomics", 3, 100, 0, &p);
    for (uint32_t i = 0; i < 300; i++) {
        mixed ^= i % 100 * 77;
        turns = turns >= 5 ? 0 : turns + 1;
    }
    assert_int_equal(cells[0], 99);
    assert_int_equal((int)cells[1], -99);
    assert_int_equal(cells[2], mixed);
    assert_int_equal(cells[3], turns);
    assert_int_equal(cells[4], 600);
    assert_int_equal(cells[5], 4950);
    assert_true(floats(p.sum)[0] == 150.0f);
    assert_int_equal(*(uint64_t *)rig_at(g_rig, p.wide), (uint64_t)3 * 4950 << 30);
}

static void check_transformer(const char *dialect)
{
    load("transformer", dialect);
    check_sgemm();
    check_layernorm();
    check_softmax();
    check_activations();
    check_rotation_and_gather();
    rig_free(g_rig);
}

static void check_language(const char *dialect)
{
    load("language", dialect);
    check_structs();
    check_calls();
    check_integers();
    check_halves();
    check_doubles();
    check_warps();
    check_atomics();
    rig_free(g_rig);
}

static void test_transformer(void **state)
{
    (void)state;
    check_transformer("");
}

static void test_transformer_untyped(void **state)
{
    (void)state;
    check_transformer(".sm_100");
}

static void test_language(void **state)
{
    (void)state;
    check_language("");
}

static void test_language_untyped(void **state)
{
    (void)state;
    check_language(".sm_100");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transformer),
        cmocka_unit_test(test_transformer_untyped),
        cmocka_unit_test(test_language),
        cmocka_unit_test(test_language_untyped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
