/* test_ptx_mma.c - matrices that a warp multiplies.
 *
 * Strategy: the test spreads two matrices of small numbers over the registers of 32 threads as the
 * ISA's tables for each shape say, runs the instruction, and gathers the result; a plain triple
 * loop says what it must be, to the bit, since every sum is exact. Rounding, saturation and NaN are
 * looked at apart.
 */
#include "ptx_matrix_rig.h"

#define IN_WORDS  24 /* of each thread: registers of a, b and c, eight each at most */
#define OUT_WORDS 8

/* Where element i of thread (group, id) lies, by the ISA's tables. */
struct place {
    int row, column;
};

typedef struct place place_fn(int group, int id, int i);

static struct place a_16x16(int group, int id, int i)
{
    bool upper = i < 2 || (i >= 4 && i < 6);

    return (struct place){upper ? group : group + 8, id * 2 + (i & 1) + (i < 4 ? 0 : 8)};
}

static struct place a_16x8(int group, int id, int i)
{
    return (struct place){i < 2 ? group : group + 8, id * 2 + (i & 1)};
}

static struct place a_16x8_words(int group, int id, int i)
{
    return (struct place){i == 0 || i == 2 ? group : group + 8, i < 2 ? id : id + 4};
}

static struct place a_16x16_words(int group, int id, int i)
{
    return (struct place){i % 2 == 0 ? group : group + 8, (i % 2 == 0 ? i * 2 : i * 2 - 2) + id};
}

static struct place a_16x4_words(int group, int id, int i)
{
    return (struct place){i == 0 ? group : group + 8, id};
}

static struct place a_16x32_bytes(int group, int id, int i)
{
    bool upper = i < 4 || (i >= 8 && i < 12);

    return (struct place){upper ? group : group + 8, id * 4 + (i & 3) + (i < 8 ? 0 : 16)};
}

static struct place a_16x16_bytes(int group, int id, int i)
{
    return (struct place){i < 4 ? group : group + 8, id * 4 + (i & 3)};
}

static struct place a_8x16_bytes(int group, int id, int i)
{
    return (struct place){group, id * 4 + i};
}

static struct place a_8x4_words(int group, int id, int i)
{
    (void)i;
    return (struct place){group, id};
}

static struct place b_16(int group, int id, int i)
{
    return (struct place){id * 2 + (i & 1) + (i < 2 ? 0 : 8), group};
}

static struct place b_8(int group, int id, int i)
{
    return (struct place){id * 2 + i, group};
}

static struct place b_words(int group, int id, int i)
{
    return (struct place){id + 4 * i, group};
}

static struct place b_bytes(int group, int id, int i)
{
    return (struct place){id * 4 + (i & 3) + (i < 4 ? 0 : 16), group};
}

static struct place c_pairs(int group, int id, int i)
{
    return (struct place){i < 2 ? group : group + 8, id * 2 + (i & 1)};
}

struct row {
    const char *name; /* what follows mma.sync.aligned. */
    int m, n, k;
    enum element a, b, c, d;
    place_fn *place_a, *place_b;
};

static const struct row g_rows[] = {
    {"m16n8k16.row.col.f32.f16.f16.f32", 16, 8, 16, F16, F16, F32, F32, a_16x16, b_16},
    {"m16n8k16.row.col.f16.f16.f16.f16", 16, 8, 16, F16, F16, F16, F16, a_16x16, b_16},
    {"m16n8k16.row.col.f32.bf16.bf16.f32", 16, 8, 16, BF16, BF16, F32, F32, a_16x16, b_16},
    {"m16n8k8.row.col.f32.f16.f16.f32", 16, 8, 8, F16, F16, F32, F32, a_16x8, b_8},
    {"m16n8k8.row.col.f16.f16.f16.f16", 16, 8, 8, F16, F16, F16, F16, a_16x8, b_8},
    {"m16n8k8.row.col.f32.bf16.bf16.f32", 16, 8, 8, BF16, BF16, F32, F32, a_16x8, b_8},
    {"m16n8k8.row.col.f32.tf32.tf32.f32", 16, 8, 8, TF32, TF32, F32, F32, a_16x8_words, b_words},
    {"m16n8k4.row.col.f32.tf32.tf32.f32", 16, 8, 4, TF32, TF32, F32, F32, a_16x4_words, b_words},
    {"m16n8k32.row.col.s32.s8.s8.s32", 16, 8, 32, S8, S8, S32, S32, a_16x32_bytes, b_bytes},
    {"m16n8k32.row.col.s32.u8.s8.s32", 16, 8, 32, U8, S8, S32, S32, a_16x32_bytes, b_bytes},
    {"m16n8k16.row.col.s32.s8.u8.s32", 16, 8, 16, S8, U8, S32, S32, a_16x16_bytes, b_bytes},
    {"m8n8k16.row.col.satfinite.s32.s8.s8.s32", 8, 8, 16, S8, S8, S32, S32, a_8x16_bytes, b_bytes},
    {"m8n8k4.row.col.f64.f64.f64.f64", 8, 8, 4, F64, F64, F64, F64, a_8x4_words, b_words},
    {"m16n8k4.row.col.f64.f64.f64.f64", 16, 8, 4, F64, F64, F64, F64, a_16x4_words, b_words},
    {"m16n8k8.row.col.f64.f64.f64.f64", 16, 8, 8, F64, F64, F64, F64, a_16x8_words, b_words},
    {"m16n8k16.row.col.f64.f64.f64.f64", 16, 8, 16, F64, F64, F64, F64, a_16x16_words, b_words},
};

static void put_head(struct text *text, const char *kernel)
{
    put(text,
        ".version 8.8\n.target sm_100\n.address_size 64\n"
        ".visible .entry %s(.param .u64 p_in, .param .u64 p_out)\n{\n"
        ".reg .b64 in, out, q;\n.reg .b32 lane;\n"
        "ld.param.u64 in, [p_in]; ld.param.u64 out, [p_out]; mov.u32 lane, %%laneid;\n"
        "mad.wide.u32 in, lane, %d, in; mad.wide.u32 out, lane, %d, out;\n",
        kernel, 8 * IN_WORDS, 8 * OUT_WORDS);
}

static void load_mma(const struct row *row)
{
    int a = registers(row->a, row->m * row->k), b = registers(row->b, row->k * row->n);
    int c = registers(row->c, row->m * row->n), d = registers(row->d, row->m * row->n);
    struct text text = {.bytes = 0};

    put_head(&text, "multiply");
    put_operand(&text, 'a', row->a, a, 0);
    put_operand(&text, 'b', row->b, b, 8);
    put_operand(&text, 'c', row->c, c, 16);
    put_operand(&text, 'd', row->d, d, -1);
    put(&text, "mma.sync.aligned.%s ", row->name);
    put_list(&text, 'd', d, ", ");
    put_list(&text, 'a', a, ", ");
    put_list(&text, 'b', b, ", ");
    put_list(&text, 'c', c, ";\n");
    for (int i = 0; i < d; i++)
        put(&text, "%s q, d%d; st.global.b64 [out+%d], q;\n",
            g_bits[row->d] == 64 ? "mov.b64" : "cvt.u64.u32", i, 8 * i);
    put(&text, "ret;\n}\n");
    rig_load(g_rig, text.data);
}

/* Spread a matrix over the threads' registers, or gather it from them. */
static void spread(uint64_t *words, int stride, enum element element, int elements, place_fn *place,
                   const double *matrix, int columns)
{
    int each = per_register(element);

    for (int lane = 0; lane < LANES; lane++) {
        for (int i = 0; i < elements / LANES; i++) {
            struct place at = place(lane >> 2, lane & 3, i);

            words[lane * stride + i / each] |= encode(element, matrix[at.row * columns + at.column])
                                               << i % each * g_bits[element];
        }
    }
}

static void gather(const uint64_t *words, int stride, enum element element, int elements,
                   double *matrix, int columns)
{
    int each = per_register(element), bits = g_bits[element];

    for (int lane = 0; lane < LANES; lane++) {
        for (int i = 0; i < elements / LANES; i++) {
            struct place at = c_pairs(lane >> 2, lane & 3, i);
            uint64_t word = words[lane * stride + i / each] >> i % each * bits;

            if (bits < 64)
                word &= ((uint64_t)1 << bits) - 1;
            matrix[at.row * columns + at.column] = decode(element, word);
        }
    }
}

static uint64_t *buffer(uint64_t *addr, size_t bytes)
{
    *addr = rig_alloc(g_rig, bytes);
    return rig_at(g_rig, *addr);
}

static void check_mma(const struct row *row)
{
    double a[512], b[256], c[128], d[128];
    uint64_t params[2], *in, *out;

    load_mma(row);
    in = buffer(&params[0], LANES * IN_WORDS * 8);
    out = buffer(&params[1], LANES * OUT_WORDS * 8);
    fill(a, row->m * row->k, row->a, 1);
    fill(b, row->k * row->n, row->b, 2);
    fill(c, row->m * row->n, row->c, 3);
    spread(in, IN_WORDS, row->a, row->m * row->k, row->place_a, a, row->k);
    spread(in + 8, IN_WORDS, row->b, row->k * row->n, row->place_b, b, row->n);
    spread(in + 16, IN_WORDS, row->c, row->m * row->n, c_pairs, c, row->n);
    assert_int_equal(rig_run(g_rig, "multiply", 1, LANES, 0, params), 0);
    gather(out, OUT_WORDS, row->d, row->m * row->n, d, row->n);
    for (int i = 0; i < row->m; i++) {
        for (int j = 0; j < row->n; j++) {
            double sum = c[i * row->n + j];

            for (int k = 0; k < row->k; k++)
                sum += a[i * row->k + k] * b[k * row->n + j];
            if (d[i * row->n + j] != sum)
                fail_msg("%s: [%d][%d] is %g, not %g", row->name, i, j, d[i * row->n + j], sum);
        }
    }
}

static void test_mma(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(g_rows) / sizeof(g_rows[0]); i++)
        check_mma(&g_rows[i]);
}

/* One product: every register of a and b holds the same bits, the sum is over k of them. */
static uint64_t same_everywhere(const char *name, uint64_t a, uint64_t b, uint64_t c)
{
    const struct row *row = NULL;
    uint64_t params[2], *in, *out;

    for (size_t i = 0; i < sizeof(g_rows) / sizeof(g_rows[0]); i++)
        if (strcmp(g_rows[i].name, name) == 0)
            row = &g_rows[i];
    assert_non_null(row);
    load_mma(row);
    in = buffer(&params[0], LANES * IN_WORDS * 8);
    out = buffer(&params[1], LANES * OUT_WORDS * 8);
    for (int i = 0; i < LANES * IN_WORDS; i++)
        in[i] = i % IN_WORDS < 8 ? a : i % IN_WORDS < 16 ? b : c;
    assert_int_equal(rig_run(g_rig, "multiply", 1, LANES, 0, params), 0);
    for (int i = 1; i < LANES; i++)
        assert_int_equal(out[i * OUT_WORDS], out[0]);
    return out[0];
}

static void test_mma_bits(void **state)
{
    (void)state;
    /* 8 * 2048 * 4 overflows f16; 2049 is a tie that goes to even; -0 stays. */
    assert_int_equal(same_everywhere("m16n8k8.row.col.f16.f16.f16.f16", 0x68006800, 0x44004400, 0),
                     0x7c007c00);
    assert_int_equal(
        same_everywhere("m16n8k8.row.col.f16.f16.f16.f16", 0x30003000, 0x3c003c00, 0x68006800),
        0x68006800);
    assert_int_equal(same_everywhere("m16n8k8.row.col.f32.f16.f16.f32", 0, 0x3c003c00, 0x80000000),
                     0);
    /* NaN has one form. inf * 0 is NaN too. */
    assert_int_equal(same_everywhere("m16n8k8.row.col.f32.f16.f16.f32", 0x7d017d01, 0x3c003c00, 0),
                     0x7fffffff);
    assert_int_equal(same_everywhere("m16n8k8.row.col.f32.f16.f16.f32", 0x7c007c00, 0, 0),
                     0x7fffffff);
    /* 2^24 + 8 * 0.125 rounds once, to the even neighbour, not away eight times. */
    assert_int_equal(
        same_everywhere("m16n8k8.row.col.f32.f16.f16.f32", 0x30003000, 0x3c003c00, 0x4b800000),
        0x4b800000);
    /* 1 + 2^-10 is a tf32, 1 + 2^-11 is not. */
    assert_int_equal(
        same_everywhere("m16n8k4.row.col.f32.tf32.tf32.f32", 0x3f802000, 0x3f800000, 0),
        0x40802000);
    assert_int_equal(
        same_everywhere("m16n8k4.row.col.f32.tf32.tf32.f32", 0x3f801000, 0x3f800000, 0),
        0x40800000);
    /* Integers wrap, or stay at the end with .satfinite. */
    assert_int_equal(
        same_everywhere("m16n8k32.row.col.s32.s8.s8.s32", 0x01010101, 0x01010101, 0x7fffffff),
        0x8000001f);
    assert_int_equal(same_everywhere("m8n8k16.row.col.satfinite.s32.s8.s8.s32", 0x01010101,
                                     0x01010101, 0x7fffffff),
                     0x7fffffff);
    assert_int_equal(same_everywhere("m8n8k16.row.col.satfinite.s32.s8.s8.s32", 0x80808080,
                                     0x7f7f7f7f, 0x80000000),
                     0x80000000);
    assert_int_equal(same_everywhere("m16n8k16.row.col.s32.s8.u8.s32", 0xffffffff, 0xffffffff, 0),
                     (uint32_t)(-255 * 16));
}

/* What no device has is refused when the module is loaded. */
static void test_refused(void **state)
{
    static const char *const wrong[] = {
        "mma.sync.aligned.m16n8k16.row.row.f32.f16.f16.f32 {a,a,a,a}, {a,a,a,a}, {a,a}, {a,a,a,a};",
        "mma.sync.aligned.m16n8k4.row.col.f32.f16.f16.f32 {a,a,a,a}, {a}, {a}, {a,a,a,a};",
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.bf16.f32 {a,a,a,a}, {a,a}, {a}, {a,a,a,a};",
        "mma.sync.aligned.m16n8k8.row.col.f16.bf16.bf16.f16 {a,a}, {a,a}, {a}, {a,a};",
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {a,a,a,a}, {a,a,a,a}, {a}, {a,a,a,a};",
        "mma.sync.aligned.m8n8k4.row.col.f32.tf32.tf32.f32 {a,a}, {a}, {a}, {a,a};",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        matrix_refuses(g_rig, wrong[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_mma, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mma_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
