/* test_ptx_kernels.c - the kernels of the test programs, as clang and as nvcc compile them.
 *
 * Strategy: the same inputs through clang's PTX, which the build made, and through nvcc's, which
 * lies in tests/data/ptx/nvcc; the results must be the same bits, since both are compiled without
 * fused operations. Where the build made no PTX the comparison is skipped. What nvcc's kernels
 * compute is checked against the host as well. Run tests/data/ptx/nvcc/generate when the kernels
 * change.
 */
#include <libgen.h>
#include <math.h>
#include <unistd.h>

#include "ptx_rig.h"
#include "tests/apps/kernels/test_kernels.h"

#define ARENA_FLOATS 65536

/* A device with inputs in one arena and room for results in another. */
struct bench {
    struct rig *rig;
    uint64_t in, out;
};

static void start(struct bench *b, const char *text)
{
    float *in;

    b->rig = rig_new();
    rig_load(b->rig, text);
    b->in = rig_alloc(b->rig, ARENA_FLOATS * 4);
    b->out = rig_alloc(b->rig, ARENA_FLOATS * 4);
    in = rig_at(b->rig, b->in);
    for (uint32_t i = 0; i < ARENA_FLOATS; i++)
        in[i] = (float)(int)(tk_pattern(i, 7) % 4001 - 2000u) / 1000.0f;
}

static void run(struct bench *b, const char *kernel, const uint32_t grid[2],
                const uint32_t block[2], uint32_t shared, const void *params)
{
    const struct ptx_launch launch = {
        .grid = {grid[0], grid[1], 1},
        .block = {block[0], block[1], 1},
        .dynamic_shared_bytes = shared,
        .params = params,
        .global_addr = b->rig->global_addr,
    };

    assert_non_null(ptx_module_kernel(b->rig->module, kernel));
    b->rig->run.fault = 0;
    for (uint32_t y = 0; y < grid[1]; y++)
        for (uint32_t x = 0; x < grid[0]; x++) {
            const uint32_t id[3] = {x, y, 0};
            int res = ptx_kernel_run_block(ptx_module_kernel(b->rig->module, kernel), &launch, id,
                                           &b->rig->run);

            if (res)
                fail_msg("%s gave %d", kernel, res);
        }
}

static float *floats(struct bench *b, uint64_t addr)
{
    return rig_at(b->rig, addr);
}

/* The stages of an encoder layer, small: 11 tokens, 48 wide, 3 heads of 16. */
enum { TOKENS = 11, WIDTH = 48, HEADS = 3, DEEP = 96 };

static void encode(struct bench *b)
{
    const uint32_t rows[2] = {TOKENS, 1}, warp[2] = {32, 1}, tile[2] = {8, 4}, pool[2] = {128, 1};
    const uint32_t wide[2] = {DEEP / 32, 1}, heads[2] = {TOKENS, HEADS}, one[2] = {1, 1};
    uint64_t ids = b->in + 4 * 60000, x = b->out, up = b->out + 40000, att = b->out + 80000;
    uint64_t sentence = b->out + 120000;
    struct {
        uint64_t out, ids, words, positions, types, gamma, beta;
        float epsilon;
        uint32_t width;
    } embed = {x,      ids,  b->in, b->in + 40000, b->in + 8000, b->in + 4000, b->in + 6000,
               1e-12f, WIDTH};
    struct {
        uint64_t out, in, weight, bias;
        uint32_t rows, cols, depth, activation;
    } linear = {up, x, b->in + 16, b->in + 70000, TOKENS, DEEP, WIDTH, 1};
    struct {
        uint64_t out, query, keys, values;
        uint32_t rows, width, head_width;
        float scale;
    } attention = {att, x, b->in + 32000, b->in + 50000, TOKENS, WIDTH, 16, 0.25f};
    struct {
        uint64_t x, update, gamma, beta;
        float epsilon;
        uint32_t width;
    } norm = {x, att, b->in + 9000, b->in + 10000, 1e-12f, WIDTH};
    struct {
        uint64_t out, x;
        uint32_t rows, width;
    } mean = {sentence, x, TOKENS, WIDTH};

    for (uint32_t i = 0; i < TOKENS; i++)
        ((uint32_t *)rig_at(b->rig, ids))[i] = i * 7 % 40;
    run(b, "embed_tokens", rows, warp, 0, &embed);
    run(b, "linear", wide, tile, 0, &linear);
    linear.activation = 0;
    linear.out = up + 20000;
    linear.in = b->in + 90000;
    run(b, "linear", (const uint32_t[2]){DEEP / 32, (TOKENS + 15) / 16}, tile, 0, &linear);
    run(b, "attention", heads, warp, 4 * TOKENS, &attention);
    run(b, "add_norm", rows, warp, 0, &norm);
    run(b, "mean_pool", one, pool, 0, &mean);
}

/* clang's PTX, which lies beside the folder of this program; NULL when there is none. */
static char *read_built(const char *name)
{
    char self[4096], path[4400];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    size_t bytes;
    char *text;
    FILE *file;

    assert_true(n > 0);
    self[n] = 0;
    snprintf(path, sizeof(path), "%s/../ptx/%s.ptx", dirname(self), name);
    file = fopen(path, "rb");
    if (!file)
        return NULL;
    text = calloc(1, 1 << 20);
    assert_non_null(text);
    bytes = fread(text, 1, (1 << 20) - 1, file);
    fclose(file);
    assert_true(bytes > 0 && bytes < (1 << 20) - 1);
    return text;
}

static void check_same_encoding(const char *nvcc)
{
    char *built = read_built("minilm"), *text;
    struct bench a, b;

    if (!built)
        skip();
    text = data_read(nvcc, NULL);
    start(&a, built);
    start(&b, text);
    encode(&a);
    encode(&b);
    for (uint32_t i = 0; i < ARENA_FLOATS; i++)
        if (memcmp(floats(&a, a.out) + i, floats(&b, b.out) + i, 4) != 0)
            fail_msg("float %u: clang's is %.9g, nvcc's is %.9g", i, (double)floats(&a, a.out)[i],
                     (double)floats(&b, b.out)[i]);
    rig_free(a.rig);
    rig_free(b.rig);
    free(text);
    free(built);
}

static void test_clang_and_nvcc_agree(void **state)
{
    (void)state;
    check_same_encoding("ptx/nvcc/minilm.ptx");
}

static void test_clang_and_nvcc_agree_untyped(void **state)
{
    (void)state;
    check_same_encoding("ptx/nvcc/minilm.sm_100.ptx");
}

/* The stages against doubles on the host: x after the first normalisation, and one linear layer. */
static void check_encoding(struct bench *b)
{
    const float *in = floats(b, b->in), *weight = in + 4, *bias = in + 17500;
    const float *up = floats(b, b->out + 60000), *from = in + 22500;
    const float *sentence = floats(b, b->out + 120000);
    double length = 0;

    for (int r = 0; r < TOKENS; r++)
        for (int c = 0; c < DEEP; c++) {
            double sum = bias[c];

            for (int k = 0; k < WIDTH; k++)
                sum += (double)from[r * WIDTH + k] * weight[c * WIDTH + k];
            assert_true(fabs(up[r * DEEP + c] - sum) < 1e-3);
        }
    for (int c = 0; c < WIDTH; c++)
        length += (double)sentence[c] * sentence[c];
    assert_true(fabs(length - 1) < 1e-5);
}

static void test_encoding(void **state)
{
    char *text = data_read("ptx/nvcc/minilm.ptx", NULL);
    struct bench b;

    (void)state;
    start(&b, text);
    encode(&b);
    check_encoding(&b);
    rig_free(b.rig);
    free(text);
}

static void check_test_kernels(const char *text)
{
    const uint32_t two[2] = {2, 1}, one[2] = {1, 1}, block[2] = {96, 1};
    struct bench b;
    uint32_t *out;

    start(&b, text);
    out = rig_at(b.rig, b.out);
    run(&b, "tk_fill", two, block, 0, &(struct {
        uint64_t p, n;
        uint32_t seed;
    }){b.out, 1000, 5});
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(out[i], tk_pattern(i, 5));
    run(&b, "tk_hash", one, block, 0, &(struct { uint64_t p, n, out; }){b.out, 1000, b.out + 8000});
    assert_int_equal(*(uint64_t *)(out + 2000), tk_hash_of(out, 1000));
    run(&b, "tk_by_value", two, block, 0,
        &(struct tk_pair){.dst = (unsigned *)(b.out + 16000),
                          .scale = 3,
                          .left = (const unsigned *)b.out,
                          .n = 1000,
                          .right = (const unsigned *)(b.out + 4)});
    for (uint32_t i = 0; i < 999; i++)
        assert_int_equal(out[4000 + i], out[i] * 3 + out[i + 1]);
    run(&b, "tk_reverse", one, block, 4 * 90, &(struct {
        uint64_t out, p;
        uint32_t n;
    }){b.out + 16000, b.out, 90});
    for (uint32_t i = 0; i < 90; i++)
        assert_int_equal(out[4000 + i], out[89 - i]);
    rig_free(b.rig);
}

static void test_test_kernels_by_nvcc(void **state)
{
    static const char *const files[] = {"ptx/nvcc/test_kernels.ptx",
                                        "ptx/nvcc/test_kernels.sm_100.ptx"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        char *text = data_read(files[i], NULL);

        check_test_kernels(text);
        free(text);
    }
}

static void test_test_kernels_by_clang(void **state)
{
    char *text = read_built("test_kernels");

    (void)state;
    if (!text)
        skip();
    check_test_kernels(text);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encoding),
        cmocka_unit_test(test_clang_and_nvcc_agree),
        cmocka_unit_test(test_clang_and_nvcc_agree_untyped),
        cmocka_unit_test(test_test_kernels_by_nvcc),
        cmocka_unit_test(test_test_kernels_by_clang),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
