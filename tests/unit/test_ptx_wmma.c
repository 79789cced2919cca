/* test_ptx_wmma.c - matrices whose place in a warp's registers is the driver's own affair.
 *
 * Strategy: load, multiply and store small numbers, in every shape and layout, with lines that lie
 * apart in memory; a plain triple loop says what must come out, to the bit.
 */
#include "ptx_matrix_rig.h"

/* wmma: which thread holds what is the driver's affair, so only memory tells. */
struct wmma {
    const char *shape, *layouts[4]; /* of a, b, c, d: row or col */
    int m, n, k;
    enum element ab, cd;
    const char *types, *ab_type, *cd_type;
    int ab_registers[2], cd_registers;
};

static const struct wmma g_wmma[] = {
    {"m16n16k16",
     {"row", "col", "row", "row"},
     16,
     16,
     16,
     F16,
     F32,
     "f32.f32",
     "f16",
     "f32",
     {8, 8},
     8},
    {"m16n16k16",
     {"col", "row", "row", "col"},
     16,
     16,
     16,
     F16,
     F16,
     "f16.f16",
     "f16",
     "f16",
     {8, 8},
     4},
    {"m32n8k16",
     {"row", "row", "col", "row"},
     32,
     8,
     16,
     F16,
     F32,
     "f32.f32",
     "f16",
     "f32",
     {8, 8},
     8},
    {"m8n32k16",
     {"row", "col", "row", "row"},
     8,
     32,
     16,
     BF16,
     F32,
     "f32.bf16.bf16.f32",
     "bf16",
     "f32",
     {2, 8},
     8},
    {"m16n16k16",
     {"row", "col", "row", "row"},
     16,
     16,
     16,
     S8,
     S32,
     "s32.s8.s8.s32",
     "s8",
     "s32",
     {2, 2},
     8},
    {"m32n8k16",
     {"col", "col", "row", "col"},
     32,
     8,
     16,
     U8,
     S32,
     "s32.u8.u8.s32",
     "u8",
     "s32",
     {4, 1},
     8},
    {"m16n16k8",
     {"row", "col", "row", "row"},
     16,
     16,
     8,
     TF32,
     F32,
     "f32.tf32.tf32.f32",
     "tf32",
     "f32",
     {4, 4},
     8},
    {"m8n8k4",
     {"row", "col", "row", "row"},
     8,
     8,
     4,
     F64,
     F64,
     "rn.f64.f64.f64.f64",
     "f64",
     "f64",
     {1, 1},
     2},
};

#define LINE 40 /* elements from one line of a matrix in memory to the next */

static void load_wmma(const struct wmma *w)
{
    const char *names = "abc";
    struct text text = {.bytes = 0};

    put(&text, ".version 8.8\n.target sm_100\n.address_size 64\n"
               ".visible .entry multiply(.param .u64 pa, .param .u64 pb, .param .u64 pc,"
               " .param .u64 pd)\n{\n.reg .b64 at;\n.reg .b32 line;\n");
    put_operand(&text, 'a', w->ab, w->ab_registers[0], -1);
    put_operand(&text, 'b', w->ab, w->ab_registers[1], -1);
    put_operand(&text, 'c', w->cd, w->cd_registers, -1);
    put_operand(&text, 'd', w->cd, w->cd_registers, -1);
    put(&text, "mov.u32 line, %d;\n", LINE);
    for (int i = 0; i < 3; i++) {
        put(&text, "ld.param.u64 at, [p%c];\nwmma.load.%c.sync.aligned.%s.%s%s.%s ", names[i],
            names[i], w->layouts[i], w->shape, i ? ".global" : "", i < 2 ? w->ab_type : w->cd_type);
        put_list(&text, names[i], i < 2 ? w->ab_registers[i] : w->cd_registers, ", [at], line;\n");
    }
    put(&text, "wmma.mma.sync.aligned.%s.%s.%s.%s ", w->layouts[0], w->layouts[1], w->shape,
        w->types);
    put_list(&text, 'd', w->cd_registers, ", ");
    put_list(&text, 'a', w->ab_registers[0], ", ");
    put_list(&text, 'b', w->ab_registers[1], ", ");
    put_list(&text, 'c', w->cd_registers, ";\n");
    put(&text, "ld.param.u64 at, [pd];\nwmma.store.d.sync.aligned.%s.%s.global.%s [at], ",
        w->layouts[3], w->shape, w->cd_type);
    put_list(&text, 'd', w->cd_registers, ", line;\nret;\n}\n");
    rig_load(g_rig, text.data);
}

static size_t in_memory(const char *layout, int row, int column)
{
    return layout[0] == 'r' ? (size_t)row * LINE + (size_t)column
                            : (size_t)column * LINE + (size_t)row;
}

static uint64_t upload(const double *matrix, int rows, int columns, enum element element,
                       const char *layout)
{
    size_t bytes = (size_t)g_bits[element] / 8;
    uint64_t addr = rig_alloc(g_rig, LINE * LINE * bytes);
    uint8_t *to = rig_at(g_rig, addr);

    for (int i = 0; i < rows * columns; i++) {
        uint64_t word = encode(element, matrix[i]);

        memcpy(to + bytes * in_memory(layout, i / columns, i % columns), &word, bytes);
    }
    return addr;
}

static void check_wmma(const struct wmma *w)
{
    double a[512], b[512], c[256];
    uint64_t params[4];
    uint8_t *out;

    load_wmma(w);
    fill(a, w->m * w->k, w->ab, 4);
    fill(b, w->k * w->n, w->ab, 5);
    fill(c, w->m * w->n, w->cd, 6);
    params[0] = upload(a, w->m, w->k, w->ab, w->layouts[0]);
    params[1] = upload(b, w->k, w->n, w->ab, w->layouts[1]);
    params[2] = upload(c, w->m, w->n, w->cd, w->layouts[2]);
    params[3] = rig_alloc(g_rig, 8 * LINE * LINE);
    out = rig_at(g_rig, params[3]);
    assert_int_equal(rig_run(g_rig, "multiply", 1, LANES, 0, params), 0);
    for (int i = 0; i < w->m * w->n; i++) {
        size_t bytes = (size_t)g_bits[w->cd] / 8;
        double sum = c[i];
        uint64_t word = 0;

        memcpy(&word, out + bytes * in_memory(w->layouts[3], i / w->n, i % w->n), bytes);
        for (int k = 0; k < w->k; k++)
            sum += a[i / w->n * w->k + k] * b[k * w->n + i % w->n];
        if (decode(w->cd, word) != sum)
            fail_msg("%s.%s: [%d] is %g, not %g", w->shape, w->types, i, decode(w->cd, word), sum);
    }
}

static void test_wmma(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(g_wmma) / sizeof(g_wmma[0]); i++)
        check_wmma(&g_wmma[i]);
}

/* What no device has is refused when the module is loaded. */
static void test_refused(void **state)
{
    static const char *const wrong[] = {
        "wmma.load.a.sync.aligned.row.m16n16k8.global.f16 {a,a,a,a,a,a,a,a}, [d];",
        "wmma.load.c.sync.aligned.row.m16n16k16.global.s8 {a,a,a,a,a,a,a,a}, [d];",
        "wmma.store.c.sync.aligned.row.m16n16k16.global.f32 [d], {a,a,a,a,a,a,a,a};",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        matrix_refuses(g_rig, wrong[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_wmma, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
