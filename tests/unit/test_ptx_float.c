/* test_ptx_float.c - floating-point instructions of PTX: f32, f64 and the 16 bit formats.
 *
 * Strategy: a table of snippets with the bits that IEEE 754 and the PTX ISA ask for: every rounding
 * mode, flushing, saturation, NaN rules, signed zeros. Approximate instructions are only asked for
 * results that are exact. The f32 table runs twice, with registers declared .f32 and, as newer
 * compilers do, .b32, since the translator holds the two differently.
 */
#include "ptx_rows.h"

#define ONE    0x3f800000
#define TWO    0x40000000
#define THREE  0x40400000
#define HALF   0x3f000000
#define INF    0x7f800000
#define NINF   0xff800000
#define QNAN   0x7fc12345 /* a NaN with a payload */
#define SNAN   0x7f812345
#define CANON  0x7fffffff
#define NZERO  0x80000000
#define TINY   0x33000000 /* 2^-25 */
#define NTINY  0xb3000000
#define NONE   0xbf800000 /* -1 */
#define ONE_UP 0x3f800001

#define D_ONE   0x3ff0000000000000
#define D_TWO   0x4000000000000000
#define D_THREE 0x4008000000000000
#define D_INF   0x7ff0000000000000
#define D_NAN   0x7ff8000000000001
#define D_TINY  0x3c90000000000000 /* 2^-54 */
#define D_NTINY 0xbc90000000000000
#define D_NONE  0xbff0000000000000

static const struct ptx_row g_single[] = {
    {"add.f32 f, fa, fb;", 'f', {ONE, TWO}, THREE},
    {"add.rn.f32 f, fa, fb;", 'f', {ONE, TINY}, ONE},
    {"add.rz.f32 f, fa, fb;", 'f', {ONE, TINY}, ONE},
    {"add.rm.f32 f, fa, fb;", 'f', {ONE, TINY}, ONE},
    {"add.rp.f32 f, fa, fb;", 'f', {ONE, TINY}, ONE_UP},
    {"add.rz.f32 f, fa, fb;", 'f', {NONE, NTINY}, NONE},
    {"add.rm.f32 f, fa, fb;", 'f', {NONE, NTINY}, 0xbf800001},
    {"add.rz.f32 f, fa, fb;", 'f', {ONE, NTINY}, 0x3f7fffff},
    {"add.f32 f, fa, fb;", 'f', {ONE, NONE}, 0},
    {"add.rm.f32 f, fa, fb;", 'f', {ONE, NONE}, NZERO},
    {"sub.f32 f, fa, fb;", 'f', {ONE, TWO}, NONE},
    {"sub.rm.f32 f, fa, fb;", 'f', {ONE, TINY}, 0x3f7fffff},
    {"sub.rp.f32 f, fa, fb;", 'f', {ONE, TINY}, ONE},
    {"add.f32 f, fa, fb;", 'f', {QNAN, ONE}, CANON},
    {"add.f32 f, fa, fb;", 'f', {SNAN, ONE}, CANON},
    {"sub.f32 f, fa, fb;", 'f', {INF, INF}, CANON},
    {"mul.f32 f, fa, fb;", 'f', {INF, 0}, CANON},
    {"add.f32 f, fa, fb; add.f32 f, f, fc;", 'f', {NINF, INF, ONE}, CANON},
    {"mov.f32 f, fa;", 'f', {QNAN}, QNAN},
    {"mov.f32 f, fa;", 'f', {SNAN}, SNAN},
    {"mov.f32 f, fa; setp.eq.s32 p, ra, rb; @p add.f32 f, fa, fb;", 'f', {QNAN, 0}, QNAN},
    {"mov.f32 f, fa; setp.ne.s32 p, ra, rb; @p add.f32 f, fa, fb;", 'f', {QNAN, 0}, CANON},
    {"add.f32 fd, fa, fb; mov.f32 f, fa; setp.ne.s32 p, ra, rb; @p mov.f32 f, fd;",
     'f',
     {QNAN, 0},
     CANON},
    {"{ .reg .f32 x; add.f32 x, fa, fb; mov.f32 f, fa; setp.ne.s32 p, ra, rb; @p mov.f32 f, x; }",
     'f',
     {QNAN, 0},
     CANON},
    {"{ .reg .f32 x; add.f32 x, fa, fb; setp.ne.s32 p, ra, rb; selp.f32 f, x, fa, p; }",
     'f',
     {QNAN, 0},
     CANON},
    {"setp.eq.s32 p, ra, ra; selp.f32 f, fa, fb, p;", 'f', {SNAN, ONE}, SNAN},
    {"add.f32 f, fa, 0f3F800000; mov.b32 t, f; mov.b32 f, t;", 'f', {0xffc00001}, CANON},
    {"mov.f32 f, 0f3F800000;", 'f', {0}, ONE},
    {"mov.f32 f, 1.5;", 'f', {0}, 0x3fc00000},
    {"mov.f32 f, -1.0;", 'f', {0}, NONE},
    {"add.f32 f, fa, 0d3FF0000000000000;", 'f', {ONE}, TWO},
    {"mul.f32 f, fa, fb;", 'f', {THREE, HALF}, 0x3fc00000},
    {"mul.rn.f32 f, fa, fb;", 'f', {ONE_UP, ONE_UP}, 0x3f800002},
    {"mul.rp.f32 f, fa, fb;", 'f', {ONE_UP, ONE_UP}, 0x3f800003},
    {"mul.rz.f32 f, fa, fb;", 'f', {0x3f7fffff, 0x3f7fffff}, 0x3f7ffffe},
    {"fma.rn.f32 f, fa, fb, fc;", 'f', {ONE_UP, ONE_UP, 0xbf800002}, 0x28800000},
    {"mul.rn.f32 f, fa, fb; add.rn.f32 f, f, fc;", 'f', {ONE_UP, ONE_UP, 0xbf800002}, 0},
    {"fma.rz.f32 f, fa, fb, fc;", 'f', {ONE, ONE, TINY}, ONE},
    {"fma.rp.f32 f, fa, fb, fc;", 'f', {ONE, ONE, TINY}, ONE_UP},
    {"fma.rm.f32 f, fa, fb, fc;", 'f', {NONE, ONE, NTINY}, 0xbf800001},
    {"mad.rn.f32 f, fa, fb, fc;", 'f', {TWO, THREE, ONE}, 0x40e00000},
    {"fma.rn.sat.f32 f, fa, fb, fc;", 'f', {TWO, THREE, ONE}, ONE},
    {"add.sat.f32 f, fa, fb;", 'f', {NONE, HALF}, 0},
    {"add.sat.f32 f, fa, fb;", 'f', {QNAN, HALF}, 0},
    {"add.f32 f, fa, fb;", 'f', {0x00000001, 0x00000001}, 0x00000002},
    {"add.ftz.f32 f, fa, fb;", 'f', {0x00000001, 0x00000001}, 0},
    {"add.ftz.f32 f, fa, fb;", 'f', {0x80000001, 0x80000001}, NZERO},
    {"mul.f32 f, fa, fb;", 'f', {0x00800000, HALF}, 0x00400000},
    {"mul.ftz.f32 f, fa, fb;", 'f', {0x00800000, HALF}, 0},
    {"mul.ftz.f32 f, fa, fb;", 'f', {0x80800000, HALF}, NZERO},
    {"fma.rn.ftz.f32 f, fa, fb, fc;", 'f', {ONE, 0x00000001, 0}, 0},
    {"div.rn.f32 f, fa, fb;", 'f', {ONE, THREE}, 0x3eaaaaab},
    {"div.rz.f32 f, fa, fb;", 'f', {ONE, THREE}, 0x3eaaaaaa},
    {"div.rm.f32 f, fa, fb;", 'f', {NONE, THREE}, 0xbeaaaaab},
    {"div.rp.f32 f, fa, fb;", 'f', {NONE, THREE}, 0xbeaaaaaa},
    {"div.rn.f32 f, fa, fb;", 'f', {ONE, 0}, INF},
    {"div.rn.f32 f, fa, fb;", 'f', {0, 0}, CANON},
    {"div.approx.f32 f, fa, fb;", 'f', {THREE, TWO}, 0x3fc00000},
    {"div.full.ftz.f32 f, fa, fb;", 'f', {THREE, TWO}, 0x3fc00000},
    {"sqrt.rn.f32 f, fa;", 'f', {TWO}, 0x3fb504f3},
    {"sqrt.rp.f32 f, fa;", 'f', {TWO}, 0x3fb504f4},
    {"sqrt.rn.f32 f, fa;", 'f', {NONE}, CANON},
    {"sqrt.rn.f32 f, fa;", 'f', {NZERO}, NZERO},
    {"sqrt.approx.f32 f, fa;", 'f', {0x41100000}, THREE},
    {"sqrt.approx.ftz.f32 f, fa;", 'f', {0x00000001}, 0},
    {"rcp.rn.f32 f, fa;", 'f', {THREE}, 0x3eaaaaab},
    {"rcp.rm.f32 f, fa;", 'f', {THREE}, 0x3eaaaaaa},
    {"rcp.approx.f32 f, fa;", 'f', {TWO}, HALF},
    {"rcp.approx.ftz.f32 f, fa;", 'f', {0x80000001}, NINF},
    {"rsqrt.approx.f32 f, fa;", 'f', {0x40800000}, HALF},
    {"rsqrt.approx.f32 f, fa;", 'f', {NZERO}, NINF},
    {"rsqrt.approx.f32 f, fa;", 'f', {INF}, 0},
    {"sin.approx.f32 f, fa;", 'f', {0}, 0},
    {"sin.approx.f32 f, fa;", 'f', {INF}, CANON},
    {"cos.approx.ftz.f32 f, fa;", 'f', {0x00000001}, ONE},
    {"lg2.approx.f32 f, fa;", 'f', {0x41000000}, THREE},
    {"lg2.approx.f32 f, fa;", 'f', {NZERO}, NINF},
    {"lg2.approx.f32 f, fa;", 'f', {NONE}, CANON},
    {"ex2.approx.f32 f, fa;", 'f', {THREE}, 0x41000000},
    {"ex2.approx.ftz.f32 f, fa;", 'f', {NINF}, 0},
    {"ex2.approx.ftz.f32 f, fa;", 'f', {0xc3020000}, 0},
    {"ex2.approx.f32 f, fa;", 'f', {0xc3020000}, 0x00080000},
    {"tanh.approx.f32 f, fa;", 'f', {INF}, ONE},
    {"min.f32 f, fa, fb;", 'f', {QNAN, ONE}, ONE},
    {"min.f32 f, fa, fb;", 'f', {ONE, QNAN}, ONE},
    {"min.f32 f, fa, fb;", 'f', {QNAN, SNAN}, CANON},
    {"min.f32 f, fa, fb;", 'f', {0, NZERO}, NZERO},
    {"min.f32 f, fa, fb;", 'f', {NZERO, 0}, NZERO},
    {"max.f32 f, fa, fb;", 'f', {NZERO, 0}, 0},
    {"max.f32 f, fa, fb;", 'f', {0, NZERO}, 0},
    {"max.f32 f, fa, fb;", 'f', {QNAN, NONE}, NONE},
    {"max.f32 f, fa, fb;", 'f', {TWO, THREE}, THREE},
    {"max.ftz.f32 f, fa, fb;", 'f', {0x00000001, 0}, 0},
    {"max.NaN.f32 f, fa, fb;", 'f', {QNAN, NONE}, CANON},
    {"min.NaN.f32 f, fa, fb;", 'f', {TWO, NONE}, NONE},
    {"min.xorsign.abs.f32 f, fa, fb;", 'f', {0xc0000000, ONE}, NONE},
    {"max.xorsign.abs.f32 f, fa, fb;", 'f', {0xc0000000, NONE}, TWO},
    {"max.f32 f, fa, fb, fc;", 'f', {ONE, TWO, THREE}, THREE},
    {"abs.f32 f, fa;", 'f', {NONE}, ONE},
    {"abs.ftz.f32 f, fa;", 'f', {0x80000001}, 0},
    {"neg.f32 f, fa;", 'f', {0}, NZERO},
    {"neg.f32 f, fa;", 'f', {ONE}, NONE},
    {"neg.f32 f, fa;", 'f', {QNAN}, CANON},
    {"copysign.f32 f, fa, fb;", 'f', {NONE, TWO}, 0xc0000000},
    {"copysign.f32 f, fa, fb;", 'f', {ONE, 0xc0000000}, TWO},
    {"copysign.f32 f, fa, fb;", 'f', {NONE, QNAN}, 0xffc12345},
    {"testp.finite.f32 p, fa;", 'p', {INF}, 0},
    {"testp.infinite.f32 p, fa;", 'p', {NINF}, 1},
    {"testp.number.f32 p, fa;", 'p', {INF}, 1},
    {"testp.notanumber.f32 p, fa;", 'p', {QNAN}, 1},
    {"testp.normal.f32 p, fa;", 'p', {0x00800000}, 1},
    {"testp.normal.f32 p, fa;", 'p', {0}, 0},
    {"testp.subnormal.f32 p, fa;", 'p', {0x80000001}, 1},
    {"testp.subnormal.f32 p, fa;", 'p', {0}, 0},
};

static const struct ptx_row g_compare[] = {
    {"setp.eq.f32 p, fa, fb;", 'p', {ONE, ONE}, 1},
    {"setp.eq.f32 p, fa, fb;", 'p', {0, NZERO}, 1},
    {"setp.eq.f32 p, fa, fb;", 'p', {QNAN, QNAN}, 0},
    {"setp.ne.f32 p, fa, fb;", 'p', {QNAN, ONE}, 0},
    {"setp.ne.f32 p, fa, fb;", 'p', {TWO, ONE}, 1},
    {"setp.lt.f32 p, fa, fb;", 'p', {ONE, TWO}, 1},
    {"setp.lt.f32 p, fa, fb;", 'p', {ONE, QNAN}, 0},
    {"setp.le.f32 p, fa, fb;", 'p', {TWO, TWO}, 1},
    {"setp.gt.f32 p, fa, fb;", 'p', {QNAN, ONE}, 0},
    {"setp.ge.f32 p, fa, fb;", 'p', {TWO, ONE}, 1},
    {"setp.equ.f32 p, fa, fb;", 'p', {QNAN, ONE}, 1},
    {"setp.equ.f32 p, fa, fb;", 'p', {TWO, ONE}, 0},
    {"setp.neu.f32 p, fa, fb;", 'p', {QNAN, ONE}, 1},
    {"setp.neu.f32 p, fa, fb;", 'p', {ONE, ONE}, 0},
    {"setp.ltu.f32 p, fa, fb;", 'p', {QNAN, ONE}, 1},
    {"setp.ltu.f32 p, fa, fb;", 'p', {TWO, ONE}, 0},
    {"setp.leu.f32 p, fa, fb;", 'p', {ONE, ONE}, 1},
    {"setp.gtu.f32 p, fa, fb;", 'p', {ONE, QNAN}, 1},
    {"setp.gtu.f32 p, fa, fb;", 'p', {ONE, ONE}, 0},
    {"setp.geu.f32 p, fa, fb;", 'p', {ONE, TWO}, 0},
    {"setp.geu.f32 p, fa, fb;", 'p', {QNAN, TWO}, 1},
    {"setp.num.f32 p, fa, fb;", 'p', {ONE, TWO}, 1},
    {"setp.num.f32 p, fa, fb;", 'p', {ONE, QNAN}, 0},
    {"setp.nan.f32 p, fa, fb;", 'p', {ONE, QNAN}, 1},
    {"setp.lt.ftz.f32 p, fa, fb;", 'p', {0, 0x00000001}, 0},
    {"setp.lt.f32 p, fa, fb;", 'p', {0, 0x00000001}, 1},
    {"setp.lt.f32 q, fa, fb; setp.gt.and.f32 p, fa, fc, q;", 'p', {ONE, TWO, HALF}, 1},
    {"setp.lt.f32 q|p, fa, fb;", 'p', {ONE, QNAN}, 1},
    {"set.gt.f32.f32 f, fa, fb;", 'f', {TWO, ONE}, ONE},
    {"set.gtu.u32.f32 r, fa, fb;", 'r', {QNAN, ONE}, 0xffffffff},
    {"setp.eq.f64 p, ga, gb;", 'p', {D_ONE, D_ONE}, 1},
    {"setp.ne.f64 p, ga, gb;", 'p', {D_NAN, D_ONE}, 0},
    {"setp.neu.f64 p, ga, gb;", 'p', {D_NAN, D_ONE}, 1},
    {"setp.ltu.f64 p, ga, gb;", 'p', {D_TWO, D_ONE}, 0},
    {"setp.ge.f64 p, ga, gb;", 'p', {D_TWO, D_ONE}, 1},
    {"setp.nan.f64 p, ga, gb;", 'p', {D_TWO, D_NAN}, 1},
    {"setp.lt.f16 p, ha, hb;", 'p', {0x3c00, 0x4000}, 1},
    {"setp.eq.f16 p, ha, hb;", 'p', {0x0000, 0x8000}, 1},
    {"setp.equ.f16 p, ha, hb;", 'p', {0x7e00, 0x8000}, 1},
    {"setp.gt.bf16 p, ha, hb;", 'p', {0x3f80, 0x4000}, 0},
    {"setp.lt.f16x2 p|q, ra, rb;", 'p', {0x40003c00, 0x3c004000}, 1},
    {"setp.lt.f16x2 q|p, ra, rb;", 'p', {0x40003c00, 0x3c004000}, 0},
    {"set.lt.f16x2.f16x2 r, ra, rb;", 'r', {0x40003c00, 0x3c004000}, 0x00003c00},
    {"set.ge.f16.f16 h, ha, hb;", 'h', {0x4000, 0x3c00}, 0x3c00},
};

static const struct ptx_row g_double[] = {
    {"add.f64 g, ga, gb;", 'g', {D_ONE, D_TWO}, D_THREE},
    {"add.rp.f64 g, ga, gb;", 'g', {D_ONE, D_TINY}, 0x3ff0000000000001},
    {"add.rz.f64 g, ga, gb;", 'g', {D_ONE, D_NTINY}, 0x3fefffffffffffff},
    {"sub.rm.f64 g, ga, gb;", 'g', {D_NONE, D_TINY}, 0xbff0000000000001},
    {"mul.rn.f64 g, ga, gb;", 'g', {0x3ff0000000000001, 0x3ff0000000000001}, 0x3ff0000000000002},
    {"mul.rp.f64 g, ga, gb;", 'g', {0x3ff0000000000001, 0x3ff0000000000001}, 0x3ff0000000000003},
    {"fma.rn.f64 g, ga, gb, gc;",
     'g',
     {0x3ff0000000000001, 0x3ff0000000000001, 0xbff0000000000002},
     0x3970000000000000},
    {"fma.rm.f64 g, ga, gb, gc;", 'g', {D_ONE, D_NONE, D_NTINY}, 0xbff0000000000001},
    {"div.rn.f64 g, ga, gb;", 'g', {D_ONE, D_THREE}, 0x3fd5555555555555},
    {"div.rp.f64 g, ga, gb;", 'g', {D_ONE, D_THREE}, 0x3fd5555555555556},
    {"sqrt.rn.f64 g, ga;", 'g', {D_TWO}, 0x3ff6a09e667f3bcd},
    {"sqrt.rm.f64 g, ga;", 'g', {D_TWO}, 0x3ff6a09e667f3bcc},
    {"rcp.rn.f64 g, ga;", 'g', {D_TWO}, 0x3fe0000000000000},
    {"rcp.approx.ftz.f64 g, ga;", 'g', {D_TWO}, 0x3fe0000000000000},
    {"rsqrt.approx.f64 g, ga;", 'g', {0x4010000000000000}, 0x3fe0000000000000},
    {"min.f64 g, ga, gb;", 'g', {D_NAN, D_ONE}, D_ONE},
    {"max.f64 g, ga, gb;", 'g', {0x8000000000000000, 0}, 0},
    {"abs.f64 g, ga;", 'g', {D_NONE}, D_ONE},
    {"neg.f64 g, ga;", 'g', {D_ONE}, D_NONE},
    {"copysign.f64 g, ga, gb;", 'g', {D_NONE, D_TWO}, 0xc000000000000000},
    {"testp.subnormal.f64 p, ga;", 'p', {1}, 1},
    {"testp.finite.f64 p, ga;", 'p', {D_INF}, 0},
    {"mov.f64 g, ga;", 'g', {D_NAN}, D_NAN},
    {"mov.f64 g, 0d4008000000000000;", 'g', {0}, D_THREE},
    {"add.f64 g, ga, 1.0;", 'g', {D_TWO}, D_THREE},
    {"setp.lt.f64 p, ga, gb; selp.f64 g, gc, gd, p;", 'g', {D_ONE, D_TWO, D_NAN, 7}, D_NAN},
};

static const struct ptx_row g_half[] = {
    {"add.f16 h, ha, hb;", 'h', {0x3c00, 0x4000}, 0x4200},
    {"add.rn.f16 h, ha, hb;", 'h', {0x7bff, 0x7bff}, 0x7c00},
    {"add.f16 h, ha, hb;", 'h', {0x7c00, 0xfc00}, 0x7fff},
    {"add.f16 h, ha, hb;", 'h', {0x0001, 0x0001}, 0x0002},
    {"add.ftz.f16 h, ha, hb;", 'h', {0x0001, 0x0001}, 0x0000},
    {"sub.f16 h, ha, hb;", 'h', {0x3c00, 0x4000}, 0xbc00},
    {"mul.f16 h, ha, hb;", 'h', {0x3c01, 0x3c01}, 0x3c02},
    {"mul.f16 h, ha, hb;", 'h', {0x0400, 0x3800}, 0x0200},
    {"add.sat.f16 h, ha, hb;", 'h', {0x3c00, 0x4000}, 0x3c00},
    {"fma.rn.f16 h, ha, hb, hc;", 'h', {0x3c01, 0x3c01, 0xbc02}, 0x0010},
    {"fma.rn.relu.f16 h, ha, hb, hc;", 'h', {0x3c00, 0xbc00, 0}, 0},
    {"fma.rn.sat.f16 h, ha, hb, hc;", 'h', {0x4000, 0x4000, 0}, 0x3c00},
    {"neg.f16 h, ha;", 'h', {0x3c00}, 0xbc00},
    {"abs.f16 h, ha;", 'h', {0xbc00}, 0x3c00},
    {"min.f16 h, ha, hb;", 'h', {0x7e01, 0x3c00}, 0x3c00},
    {"min.f16 h, ha, hb;", 'h', {0x0000, 0x8000}, 0x8000},
    {"max.f16 h, ha, hb;", 'h', {0x8000, 0x0000}, 0x0000},
    {"max.NaN.f16 h, ha, hb;", 'h', {0x7e01, 0x3c00}, 0x7fff},
    {"ex2.approx.f16 h, ha;", 'h', {0x4200}, 0x4800},
    {"tanh.approx.f16 h, ha;", 'h', {0x7c00}, 0x3c00},
    {"add.f16x2 r, ra, rb;", 'r', {0x3c004000, 0x3c003c00}, 0x40004200},
    {"sub.f16x2 r, ra, rb;", 'r', {0x3c004000, 0x3c003c00}, 0x00003c00},
    {"mul.f16x2 r, ra, rb;", 'r', {0x40004000, 0x3c004000}, 0x40004400},
    {"fma.rn.f16x2 r, ra, rb, rc;", 'r', {0x40004000, 0x3c004000, 0x3c003c00}, 0x42004500},
    {"neg.f16x2 r, ra;", 'r', {0x3c00bc00}, 0xbc003c00},
    {"abs.f16x2 r, ra;", 'r', {0xbc003c00}, 0x3c003c00},
    {"max.f16x2 r, ra, rb;", 'r', {0x3c004000, 0x40003c00}, 0x40004000},
    {"add.bf16 h, ha, hb;", 'h', {0x3f80, 0x4000}, 0x4040},
    {"mul.bf16 h, ha, hb;", 'h', {0x3f81, 0x3f81}, 0x3f82},
    {"fma.rn.bf16 h, ha, hb, hc;", 'h', {0x3f81, 0x3f81, 0xbf82}, 0x3880},
    {"fma.rn.bf16x2 r, ra, rb, rc;", 'r', {0x3f804000, 0x40004000, 0x3f803f80}, 0x404040a0},
    {"neg.bf16 h, ha;", 'h', {0x3f80}, 0xbf80},
    {"min.bf16x2 r, ra, rb;", 'r', {0x3f804000, 0x40003f80}, 0x3f803f80},
    {"ex2.approx.ftz.bf16 h, ha;", 'h', {0x4040}, 0x4100},
    {"mov.b16 h, ha;", 'h', {0x7e01}, 0x7e01},
};

static void test_single(void **state)
{
    (void)state;
    ROWS_CHECK(g_single, ".f32", ".f64");
}

static void test_single_in_untyped_registers(void **state)
{
    (void)state;
    ROWS_CHECK(g_single, ".b32", ".b64");
}

static void test_compare(void **state)
{
    (void)state;
    ROWS_CHECK(g_compare, ".f32", ".f64");
}

static void test_double(void **state)
{
    (void)state;
    ROWS_CHECK(g_double, ".f32", ".f64");
}

static void test_double_in_untyped_registers(void **state)
{
    (void)state;
    ROWS_CHECK(g_double, ".b32", ".b64");
}

/* Two floats of 64 bits. 1 + 2^-24 is a tie, 2^-126 / 2 is subnormal. */
static const struct ptx_row g_pairs[] = {
    {"add.rn.f32x2 d, da, db;", 'd', {0x400000003f800000, 0x3f80000040000000}, 0x4040000040400000},
    {"sub.rn.f32x2 d, da, db;", 'd', {0x400000003f800000, 0x3f80000040000000}, 0x3f800000bf800000},
    {"mul.rn.f32x2 d, da, db;", 'd', {0x40400000bf800000, 0x4040000040000000}, 0x41100000c0000000},
    {"fma.rn.f32x2 d, da, db, dc;",
     'd',
     {0x4040000040000000, 0x4000000040400000, 0x3f800000bf800000},
     0x40e0000040a00000},
    {"fma.rn.f32x2 d, da, db, dc;", /* one rounding: (1 + u)^2 - (1 + 2u) */
     'd',
     {0x3f8000013f800001, 0x3f8000013f800001, 0xbf800002bf800002},
     0x2880000028800000},
    {"add.rn.f32x2 d, da, db;", 'd', {0x7f8000003f800000, 0xff80000033800000}, 0x7fffffff3f800000},
    {"add.rp.f32x2 d, da, db;", 'd', {0x3f8000003f800000, 0xb380000033800000}, 0x3f7fffff3f800001},
    {"sub.rz.f32x2 d, da, db;", 'd', {0x3f8000003f800000, 0xb38000003f800000}, 0x3f80000000000000},
    {"mul.rn.ftz.f32x2 d, da, db;", 'd', {0x0080000000400000, 0x3f0000003f800000}, 0},
    {"mul.rn.f32x2 d, da, db;", 'd', {0x0080000000400000, 0x3f0000003f800000}, 0x0040000000400000},
};

static void test_pairs(void **state)
{
    (void)state;
    ROWS_CHECK(g_pairs, ".b32", ".b64");
}

static void test_half(void **state)
{
    (void)state;
    ROWS_CHECK(g_half, ".f32", ".f64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single),
        cmocka_unit_test(test_single_in_untyped_registers),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_double),
        cmocka_unit_test(test_double_in_untyped_registers),
        cmocka_unit_test(test_half),
        cmocka_unit_test(test_pairs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
