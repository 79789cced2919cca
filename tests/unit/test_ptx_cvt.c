/* test_ptx_cvt.c - cvt between all types, with its rounding modes, saturation and flushing.
 *
 * Strategy: a table of snippets with expected bits, as in test_ptx_int.c. For each direction: an
 * ordinary value, ties under every mode, both ends of the range, NaN, infinity, subnormals.
 */
#include "ptx_rows.h"

#define M1    0xffffffffffffffffull
#define ONE   0x3f800000
#define F2_5  0x40200000 /* 2.5 */
#define FN2_5 0xc0200000
#define F3_5  0x40600000
#define INF   0x7f800000
#define NINF  0xff800000
#define FNAN  0x7fc00001
#define CANON 0x7fffffff
#define D_NAN 0x7ff8000000000001

static const struct ptx_row g_between_integers[] = {
    {"cvt.s32.s8 r, ra;", 'r', {0x180}, 0xffffff80},
    {"cvt.u32.u8 r, ra;", 'r', {0x1ff}, 0xff},
    {"cvt.s64.s32 d, ra;", 'd', {0x80000000}, 0xffffffff80000000},
    {"cvt.u64.u32 d, ra;", 'd', {0x80000000}, 0x80000000},
    {"cvt.s64.s16 d, ha;", 'd', {0x8000}, 0xffffffffffff8000},
    {"cvt.u32.u64 r, da;", 'r', {0x123456789abcdef0}, 0x9abcdef0},
    {"cvt.u16.u32 h, ra;", 'h', {0x12345678}, 0x5678},
    {"cvt.s16.s8 h, ha;", 'h', {0x80}, 0xff80},
    {"cvt.u8.u32 h, ra;", 'h', {0x1ff}, 0xff},
    {"cvt.s8.s32 h, ra;", 'h', {0x180}, 0xff80},
    {"cvt.s8.s32 r, ra;", 'r', {0x180}, 0xffffff80},
    {"cvt.sat.u8.s32 r, ra;", 'r', {300}, 255},
    {"cvt.sat.u8.s32 r, ra;", 'r', {0xffffffff}, 0},
    {"cvt.sat.s8.s32 r, ra;", 'r', {0xffffff00}, 0xffffff80},
    {"cvt.sat.s8.u32 r, ra;", 'r', {0xffffffff}, 127},
    {"cvt.sat.s16.s64 h, da;", 'h', {0x8000000000000000}, 0x8000},
    {"cvt.sat.u32.s64 r, da;", 'r', {0x100000000}, 0xffffffff},
    {"cvt.sat.u64.s32 d, ra;", 'd', {0xffffffff}, 0},
    {"cvt.sat.s64.u64 d, da;", 'd', {M1}, 0x7fffffffffffffff},
    {"cvt.sat.s32.u64 r, da;", 'r', {5}, 5},
    {"cvt.pack.sat.s16.s32 r, ra, rb;", 'r', {0x12345, 0xffff0000}, 0x7fff8000},
    {"cvt.pack.sat.u16.s32 r, ra, rb;", 'r', {5, 0xffffffff}, 0x00050000},
    {"cvt.pack.sat.u8.s32.b32 r, ra, rb, rc;", 'r', {300, 7, 0xabcd}, 0xabcdff07},
};

static const struct ptx_row g_to_integers[] = {
    {"cvt.rzi.s32.f32 r, fa;", 'r', {FN2_5}, 0xfffffffe},
    {"cvt.rni.s32.f32 r, fa;", 'r', {F2_5}, 2},
    {"cvt.rni.s32.f32 r, fa;", 'r', {F3_5}, 4},
    {"cvt.rni.s32.f32 r, fa;", 'r', {FN2_5}, 0xfffffffe},
    {"cvt.rmi.s32.f32 r, fa;", 'r', {FN2_5}, 0xfffffffd},
    {"cvt.rpi.s32.f32 r, fa;", 'r', {F2_5}, 3},
    {"cvt.rpi.s32.f32 r, fa;", 'r', {FN2_5}, 0xfffffffe},
    {"cvt.rzi.s32.f32 r, fa;", 'r', {0x4f000000}, 0x7fffffff},
    {"cvt.rzi.s32.f32 r, fa;", 'r', {0xcf000000}, 0x80000000},
    {"cvt.rzi.s32.f32 r, fa;", 'r', {NINF}, 0x80000000},
    {"cvt.rzi.s32.f32 r, fa;", 'r', {FNAN}, 0},
    {"cvt.rzi.u32.f32 r, fa;", 'r', {FN2_5}, 0},
    {"cvt.rzi.u32.f32 r, fa;", 'r', {0x4f000000}, 0x80000000},
    {"cvt.rzi.u32.f32 r, fa;", 'r', {INF}, 0xffffffff},
    {"cvt.rpi.s32.f32 r, fa;", 'r', {0x00000001}, 1},
    {"cvt.rpi.ftz.s32.f32 r, fa;", 'r', {0x00000001}, 0},
    {"cvt.rzi.s64.f32 d, fa;", 'd', {0x5f000000}, 0x7fffffffffffffff},
    {"cvt.rzi.u64.f32 d, fa;", 'd', {0x5f000000}, 0x8000000000000000},
    {"cvt.rzi.s64.f32 d, fa;", 'd', {FNAN}, 0x8000000000000000},
    {"cvt.rzi.u64.f32 d, fa;", 'd', {FNAN}, 0x8000000000000000},
    {"cvt.rzi.s16.f32 h, fa;", 'h', {0x47c35000}, 0x7fff},
    {"cvt.rzi.u8.f32 r, fa;", 'r', {0x43960000}, 255},
    {"cvt.rzi.s8.f32 r, fa;", 'r', {0xc3960000}, 0xffffff80},
    {"cvt.rzi.s32.f64 r, ga;", 'r', {0xc004000000000000}, 0xfffffffe},
    {"cvt.rni.s32.f64 r, ga;", 'r', {0x4004000000000000}, 2},
    {"cvt.rzi.s32.f64 r, ga;", 'r', {D_NAN}, 0x80000000},
    {"cvt.rzi.u32.f64 r, ga;", 'r', {D_NAN}, 0x80000000},
    {"cvt.rzi.s64.f64 d, ga;", 'd', {0x43e0000000000000}, 0x7fffffffffffffff},
    {"cvt.rzi.u64.f64 d, ga;", 'd', {0x43effffffffffffe}, 0xfffffffffffff000},
    {"cvt.rmi.s64.f64 d, ga;", 'd', {0xbfe0000000000000}, M1},
    {"cvt.rni.s32.f16 r, ha;", 'r', {0x4100}, 2},
    {"cvt.rpi.s32.f16 r, ha;", 'r', {0x4100}, 3},
    {"cvt.rzi.u16.f16 h, ha;", 'h', {0xc100}, 0},
    {"cvt.rzi.s32.bf16 r, ha;", 'r', {0x40a0}, 5},
};

static const struct ptx_row g_from_integers[] = {
    {"cvt.rn.f32.s32 f, ra;", 'f', {0xffffffff}, 0xbf800000},
    {"cvt.rn.f32.u32 f, ra;", 'f', {0xffffffff}, 0x4f800000},
    {"cvt.rz.f32.u32 f, ra;", 'f', {0xffffffff}, 0x4f7fffff},
    {"cvt.rn.f32.s32 f, ra;", 'f', {16777217}, 0x4b800000},
    {"cvt.rn.f32.s32 f, ra;", 'f', {16777219}, 0x4b800002},
    {"cvt.rp.f32.s32 f, ra;", 'f', {16777217}, 0x4b800001},
    {"cvt.rm.f32.s32 f, ra;", 'f', {0 - 16777217u}, 0xcb800001},
    {"cvt.rn.f32.u8 f, ra;", 'f', {0x1ff}, 0x437f0000},
    {"cvt.rn.f32.s8 f, ra;", 'f', {0x1ff}, 0xbf800000},
    {"cvt.rn.f32.u16 f, ha;", 'f', {0xffff}, 0x477fff00},
    {"cvt.rn.f32.u64 f, da;", 'f', {M1}, 0x5f800000},
    {"cvt.rz.f32.u64 f, da;", 'f', {M1}, 0x5f7fffff},
    {"cvt.rn.f32.u64 f, da;", 'f', {0x8000008000000001}, 0x5f000001},
    {"cvt.rm.f32.s64 f, da;", 'f', {0x8000000000000001}, 0xdf000000},
    {"cvt.rp.f32.s64 f, da;", 'f', {0x8000000000000001}, 0xdeffffff},
    {"cvt.rn.f64.s32 g, ra;", 'g', {0xffffffff}, 0xbff0000000000000},
    {"cvt.rn.f64.u64 g, da;", 'g', {M1}, 0x43f0000000000000},
    {"cvt.rz.f64.u64 g, da;", 'g', {M1}, 0x43efffffffffffff},
    {"cvt.rm.f64.s64 g, da;", 'g', {0x8000000000000001}, 0xc3e0000000000000},
    {"cvt.rp.f64.s64 g, da;", 'g', {0x7fffffffffffffff}, 0x43e0000000000000},
    {"cvt.rn.f16.s32 h, ra;", 'h', {65535}, 0x7c00},
    {"cvt.rz.f16.s32 h, ra;", 'h', {65535}, 0x7bff},
    {"cvt.rn.f16.u16 h, ha;", 'h', {2049}, 0x6800},
    {"cvt.rp.f16.u16 h, ha;", 'h', {2049}, 0x6801},
    {"cvt.rn.f16.s64 h, da;", 'h', {0 - 3ull}, 0xc200},
    {"cvt.rn.bf16.u64 h, da;", 'h', {0x4040000000000000}, 0x5e80},
    {"cvt.rn.bf16.u64 h, da;", 'h', {0x4040000000000001}, 0x5e81},
    {"cvt.sat.rn.f32.s32 f, ra;", 'f', {7}, ONE},
};

static const struct ptx_row g_between_floats[] = {
    {"cvt.f64.f32 g, fa;", 'g', {F2_5}, 0x4004000000000000},
    {"cvt.f64.f32 g, fa;", 'g', {0x00000001}, 0x36a0000000000000},
    {"cvt.ftz.f64.f32 g, fa;", 'g', {0x80000001}, 0x8000000000000000},
    {"cvt.rn.f32.f64 f, ga;", 'f', {0x3ff0000010000000}, ONE},
    {"cvt.rn.f32.f64 f, ga;", 'f', {0x3ff0000010000001}, 0x3f800001},
    {"cvt.rz.f32.f64 f, ga;", 'f', {0x3ff000001fffffff}, ONE},
    {"cvt.rp.f32.f64 f, ga;", 'f', {0x3ff0000000000001}, 0x3f800001},
    {"cvt.rm.f32.f64 f, ga;", 'f', {0xbff0000000000001}, 0xbf800001},
    {"cvt.rn.f32.f64 f, ga;", 'f', {0x7fefffffffffffff}, INF},
    {"cvt.rz.f32.f64 f, ga;", 'f', {0x7fefffffffffffff}, 0x7f7fffff},
    {"cvt.rm.f32.f64 f, ga;", 'f', {0xffefffffffffffff}, NINF},
    {"cvt.rn.f32.f64 f, ga;", 'f', {0x36a0000000000000}, 0x00000001},
    {"cvt.rn.f32.f64 f, ga;", 'f', {0x3690000000000000}, 0x00000000},
    {"cvt.rp.f32.f64 f, ga;", 'f', {0x0000000000000001}, 0x00000001},
    {"cvt.rn.ftz.f32.f64 f, ga;", 'f', {0x36a0000000000000}, 0},
    {"cvt.rn.f32.f64 f, ga;", 'f', {D_NAN}, CANON},
    {"cvt.rni.f32.f32 f, fa;", 'f', {F2_5}, 0x40000000},
    {"cvt.rzi.f32.f32 f, fa;", 'f', {FN2_5}, 0xc0000000},
    {"cvt.rmi.f32.f32 f, fa;", 'f', {FN2_5}, 0xc0400000},
    {"cvt.rpi.f32.f32 f, fa;", 'f', {0xbf000000}, 0x80000000},
    {"cvt.rni.f64.f64 g, ga;", 'g', {0x400c000000000000}, 0x4010000000000000},
    {"cvt.sat.f32.f32 f, fa;", 'f', {F2_5}, ONE},
    {"cvt.sat.f32.f32 f, fa;", 'f', {FNAN}, 0},
    {"cvt.ftz.sat.f32.f32 f, fa;", 'f', {0x00000001}, 0},
    {"cvt.rn.f16.f32 h, fa;", 'h', {F2_5}, 0x4100},
    {"cvt.rn.f16.f32 h, fa;", 'h', {0x3f801000}, 0x3c00},
    {"cvt.rn.f16.f32 h, fa;", 'h', {0x3f803000}, 0x3c02},
    {"cvt.rz.f16.f32 h, fa;", 'h', {0x3f803fff}, 0x3c01},
    {"cvt.rp.f16.f32 h, fa;", 'h', {0x3f800001}, 0x3c01},
    {"cvt.rm.f16.f32 h, fa;", 'h', {0xbf800001}, 0xbc01},
    {"cvt.rn.f16.f32 h, fa;", 'h', {0x477fefff}, 0x7bff},
    {"cvt.rn.f16.f32 h, fa;", 'h', {0x477ff000}, 0x7c00},
    {"cvt.rn.satfinite.f16.f32 h, fa;", 'h', {0x477ff000}, 0x7bff},
    {"cvt.rn.f16.f32 h, fa;", 'h', {0x33800000}, 0x0001},
    {"cvt.rn.f16.f32 h, fa;", 'h', {0x33000000}, 0x0000},
    {"cvt.rn.f16.f32 h, fa;", 'h', {0x33000001}, 0x0001},
    {"cvt.rn.f16.f32 h, fa;", 'h', {0x387fe000}, 0x0400},
    {"cvt.rn.f16.f32 h, fa;", 'h', {FNAN}, 0x7fff},
    {"cvt.rn.f16.f32 h, fa;", 'h', {NINF}, 0xfc00},
    {"cvt.rn.relu.f16.f32 h, fa;", 'h', {FN2_5}, 0},
    {"cvt.f32.f16 f, ha;", 'f', {0x3c01}, 0x3f802000},
    {"cvt.f32.f16 f, ha;", 'f', {0x0001}, 0x33800000},
    {"cvt.f32.f16 f, ha;", 'f', {0xfc00}, NINF},
    {"cvt.f32.f16 f, ha;", 'f', {0x7e01}, CANON},
    {"cvt.f64.f16 g, ha;", 'g', {0xc000}, 0xc000000000000000},
    {"cvt.rn.f16.f64 h, ga;", 'h', {0x3ff0020000000001}, 0x3c01},
    {"cvt.rni.f16.f16 h, ha;", 'h', {0x4100}, 0x4000},
    {"cvt.sat.f16.f16 h, ha;", 'h', {0x4100}, 0x3c00},
    {"cvt.rn.bf16.f32 h, fa;", 'h', {0x3f808000}, 0x3f80},
    {"cvt.rn.bf16.f32 h, fa;", 'h', {0x3f818000}, 0x3f82},
    {"cvt.rz.bf16.f32 h, fa;", 'h', {0x3f80ffff}, 0x3f80},
    {"cvt.rn.bf16.f32 h, fa;", 'h', {FNAN}, 0x7fff},
    {"cvt.f32.bf16 f, ha;", 'f', {0x4040}, 0x40400000},
    {"cvt.rn.f16x2.f32 r, fa, fb;", 'r', {ONE, F2_5}, 0x3c004100},
    {"cvt.rn.bf16x2.f32 r, fa, fb;", 'r', {ONE, F2_5}, 0x3f804020},
    {"cvt.rn.relu.f16x2.f32 r, fa, fb;", 'r', {FN2_5, F2_5}, 0x00004100},
    {"cvt.rna.tf32.f32 r, fa;", 'r', {0x3f801000}, 0x3f802000},
    {"cvt.rna.tf32.f32 r, fa;", 'r', {0x3f800fff}, 0x3f800000},
};

/* 8 bit floats. e4m3: bias 7, 0x7e is 448, 0x7f is NaN. e5m2: the upper half of an f16. */
static const struct ptx_row g_bytes[] = {
    {"cvt.rn.satfinite.e4m3x2.f32 h, fa, fb;", 'h', {ONE, FN2_5}, 0x38c2},
    {"cvt.rn.satfinite.e4m3x2.f32 h, fa, fb;", 'h', {0x43d80000, 0x43e00000}, 0x7e7e}, /* 432 448 */
    {"cvt.rn.satfinite.e4m3x2.f32 h, fa, fb;", 'h', {NINF, 0x7f800000}, 0xfe7e},
    {"cvt.rn.satfinite.e4m3x2.f32 h, fa, fb;", 'h', {FNAN, 0x43e80001}, 0x7f7e},
    {"cvt.rn.satfinite.e4m3x2.f32 h, fa, fb;", 'h', {0x437f0000, 0x43870000}, 0x7878}, /* 255 270 */
    {"cvt.rn.satfinite.e4m3x2.f32 h, fa, fb;", 'h', {0x43880000, 0x43880001}, 0x7879}, /* 272 */
    {"cvt.rn.satfinite.e4m3x2.f32 h, fa, fb;", 'h', {0x43980000, 0x80000000}, 0x7a80}, /* 304 */
    {"cvt.rn.satfinite.e4m3x2.f32 h, fa, fb;", 'h', {0x3b000000, 0x3a800000}, 0x0100}, /* 2^-9 */
    {"cvt.rn.satfinite.e4m3x2.f32 h, fa, fb;", 'h', {0x3a800001, 0x3ac00000}, 0x0101},
    {"cvt.rn.satfinite.relu.e4m3x2.f32 h, fa, fb;", 'h', {FN2_5, F2_5}, 0x0042},
    {"cvt.rn.satfinite.relu.e4m3x2.f32 h, fa, fb;", 'h', {FNAN, NINF}, 0x7f00},
    {"cvt.rn.satfinite.e5m2x2.f32 h, fa, fb;", 'h', {ONE, FN2_5}, 0x3cc1},
    {"cvt.rn.satfinite.e5m2x2.f32 h, fa, fb;", 'h', {0x47600000, 0x47700000}, 0x7b7b}, /* 57344 */
    {"cvt.rn.satfinite.e5m2x2.f32 h, fa, fb;", 'h', {NINF, FNAN}, 0xfb7f},
    {"cvt.rn.satfinite.e5m2x2.f32 h, fa, fb;", 'h', {0x3f900000, 0x3fb00000}, 0x3c3e}, /* ties */
    {"cvt.rn.satfinite.e4m3x2.f16x2 h, ra;", 'h', {0xc1003c00}, 0xc238},
    {"cvt.rn.satfinite.e5m2x2.f16x2 h, ra;", 'h', {0x7c00c100}, 0x7bc1},
    {"cvt.rn.f16x2.e4m3x2 r, ha;", 'r', {0x7ec2}, 0x5f00c100},
    {"cvt.rn.f16x2.e4m3x2 r, ha;", 'r', {0xff01}, 0x7fff1800},
    {"cvt.rn.f16x2.e4m3x2 r, ha;", 'r', {0x8078}, 0x80005c00},
    {"cvt.rn.relu.f16x2.e4m3x2 r, ha;", 'r', {0x7fc2}, 0x7fff0000},
    {"cvt.rn.f16x2.e5m2x2 r, ha;", 'r', {0xfc01}, 0xfc000100},
    {"cvt.rn.f16x2.e5m2x2 r, ha;", 'r', {0x7dc1}, 0x7fffc100},
};

static void test_bytes(void **state)
{
    (void)state;
    ROWS_CHECK(g_bytes, ".f32", ".f64");
}

static void test_between_integers(void **state)
{
    (void)state;
    ROWS_CHECK(g_between_integers, ".f32", ".f64");
}

static void test_to_integers(void **state)
{
    (void)state;
    ROWS_CHECK(g_to_integers, ".f32", ".f64");
}

static void test_from_integers(void **state)
{
    (void)state;
    ROWS_CHECK(g_from_integers, ".f32", ".f64");
}

static void test_between_floats(void **state)
{
    (void)state;
    ROWS_CHECK(g_between_floats, ".b32", ".b64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_between_integers),
        cmocka_unit_test(test_to_integers),
        cmocka_unit_test(test_from_integers),
        cmocka_unit_test(test_between_floats),
        cmocka_unit_test(test_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
