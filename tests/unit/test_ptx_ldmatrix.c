/* test_ptx_ldmatrix.c - matrices that a warp loads, stores and transposes.
 *
 * Strategy: every element is another number; the rows' addresses lie crosswise over the threads;
 * the rule for each form says which number must be where. Incomplete warps and addresses that do
 * not fit are faults.
 */
#include "ptx_matrix_rig.h"

#define MATRIX_HEAD                                                                                \
    ".version 8.8\n.target sm_100\n.address_size 64\n"                                             \
    ".visible .entry move(.param .u64 p_in, .param .u64 p_out)\n{\n"                               \
    ".reg .b64 in, out, at;\n.reg .b32 lane, row, s, r<4>;\n"                                      \
    ".shared .align 16 .b8 rows[512];\n"                                                           \
    "ld.param.u64 in, [p_in]; ld.param.u64 out, [p_out]; mov.u32 lane, %laneid;\n"                 \
    "mad.wide.u32 in, lane, 16, in; mad.wide.u32 out, lane, 16, out;\n"                            \
    "mov.u32 s, rows; mad.lo.u32 s, lane, 16, s;\n"

/* Thread t names row 13 * t modulo 32. */
#define NAME_ROW                                                                                   \
    "mul.lo.u32 row, lane, 13; and.b32 row, row, 31; mov.u32 s, rows;\n"                           \
    "mad.lo.u32 s, row, 16, s;\n"

static uint64_t *buffer(uint64_t *addr, size_t bytes)
{
    *addr = rig_alloc(g_rig, bytes);
    return rig_at(g_rig, *addr);
}

/* Run what follows MATRIX_HEAD, over 512 bytes of input and of output. */
static uint16_t *run_move(const char *body, uint16_t **in, uint32_t threads, int expected)
{
    char text[4096];
    uint64_t params[2];
    uint16_t *out;

    snprintf(text, sizeof(text), "%s%s", MATRIX_HEAD, body);

    rig_load(g_rig, text);
    *in = (uint16_t *)buffer(&params[0], 512);
    out = (uint16_t *)buffer(&params[1], 512);
    for (int i = 0; i < 256; i++)
        (*in)[i] = (uint16_t)(1000 + i);
    assert_int_equal(rig_run(g_rig, "move", 1, threads, 0, params), expected);
    return out;
}

/* Element [row][column] of matrix `which`, whose rows threads 8 * which and on name. */
static uint16_t named(const uint16_t *rows, int which, int row, int column)
{
    return rows[(8 * which + row) * 13 % 32 * 8 + column];
}

static void check_ldmatrix(const char *form, int count, bool transposed)
{
    static const char *const lists[] = {"{r0}", "{r0, r1}", NULL, "{r0, r1, r2, r3}"};
    char text[4096];
    uint16_t *in, *out;

    snprintf(text, sizeof(text),
             "ld.global.v4.b32 {r0, r1, r2, r3}, [in];\n"
             "st.shared.v4.b32 [s], {r0, r1, r2, r3}; bar.sync 0;\n" NAME_ROW
             "mov.b32 r1, 0; mov.b32 r2, 0; mov.b32 r3, 0;\n"
             "ldmatrix.sync.aligned.m8n8.%s.b16 %s, [s];\n"
             "st.global.v4.b32 [out], {r0, r1, r2, r3};\nret;\n}\n",
             form, lists[count - 1]);
    out = run_move(text, &in, LANES, 0);
    for (int lane = 0; lane < LANES; lane++) {
        for (int i = 0; i < 8; i++) {
            int which = i / 2, row = lane / 4, column = lane % 4 * 2 + i % 2, want = 0;

            if (which < count)
                want = transposed ? named(in, which, column, row) : named(in, which, row, column);
            assert_int_equal(out[8 * lane + i], want);
        }
    }
}

static void test_ldmatrix(void **state)
{
    (void)state;
    check_ldmatrix("x1.shared", 1, false);
    check_ldmatrix("x2.shared", 2, false);
    check_ldmatrix("x4.shared", 4, false);
    check_ldmatrix("x1.trans.shared", 1, true);
    check_ldmatrix("x2.trans.shared", 2, true);
    check_ldmatrix("x4.trans.shared::cta", 4, true);
}

static void check_stmatrix(const char *form, bool transposed)
{
    char text[4096];
    uint16_t *in, *out;

    snprintf(text, sizeof(text),
             "ld.global.v4.b32 {r0, r1, r2, r3}, [in];\n" NAME_ROW
             "stmatrix.sync.aligned.m8n8.x4%s.shared.b16 [s], {r0, r1, r2, r3};\n"
             "bar.sync 0; mov.u32 s, rows; mad.lo.u32 s, lane, 16, s;\n"
             "ld.shared.v4.b32 {r0, r1, r2, r3}, [s];\n"
             "st.global.v4.b32 [out], {r0, r1, r2, r3};\nret;\n}\n",
             form);
    out = run_move(text, &in, LANES, 0);
    for (int lane = 0; lane < LANES; lane++) {
        for (int i = 0; i < 8; i++) {
            int which = i / 2, row = lane / 4, column = lane % 4 * 2 + i % 2;
            int have = transposed ? named(out, which, column, row) : named(out, which, row, column);

            assert_int_equal(have, in[8 * lane + i]);
        }
    }
}

static void test_stmatrix(void **state)
{
    (void)state;
    check_stmatrix("", false);
    check_stmatrix(".trans", true);
}

static void test_movmatrix(void **state)
{
    uint16_t *in, *out;

    (void)state;
    out = run_move("ld.global.b32 r0, [in];\n"
                   "movmatrix.sync.aligned.m8n8.trans.b16 r1, r0;\n"
                   "st.global.b32 [out], r1;\nret;\n}\n",
                   &in, LANES, 0);
    for (int lane = 0; lane < LANES; lane++) {
        for (int i = 0; i < 2; i++) {
            int row = lane / 4, column = lane % 4 * 2 + i;

            /* The matrix's [column][row]: in thread 4 * column + row / 2. */
            assert_int_equal(out[8 * lane + i], in[8 * (4 * column + row / 2) + row % 2]);
        }
    }
}

static void test_faults(void **state)
{
    const char *load = "add.u32 s, s, %d;\n"
                       "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {r0}, [s];\n"
                       "st.global.b32 [out], r0;\nret;\n}\n";
    char text[4096];
    uint16_t *in;

    (void)state;
    snprintf(text, sizeof(text), load, 0);
    run_move(text, &in, LANES, 0);
    run_move(text, &in, LANES - 1, PTX_FAULT_LAUNCH_FAILED);
    snprintf(text, sizeof(text), load, 8);
    run_move(text, &in, LANES, PTX_FAULT_MISALIGNED);
    snprintf(text, sizeof(text), load, 512);
    run_move(text, &in, LANES, PTX_FAULT_LAUNCH_FAILED);
}

/* What no device has is refused when the module is loaded. */
static void test_refused(void **state)
{
    static const char *const wrong[] = {
        "ldmatrix.sync.aligned.m8n8.x3.shared.b16 {a,a,a}, [a];",
        "ldmatrix.sync.aligned.m8n8.x2.global.b16 {a,a}, [d];",
        "ldmatrix.sync.m8n8.x1.shared.b16 {a}, [a];",
        "movmatrix.sync.aligned.m8n8.b16 a, a;",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        matrix_refuses(g_rig, wrong[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ldmatrix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stmatrix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_movmatrix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_faults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
