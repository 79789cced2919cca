/* ptx_device_float.h - floating-point instructions that are more than one C operator.
 *
 * Part of the text of every translated module; see ptx_device.h. The module is compiled without
 * contraction and rounds to nearest; the other rounding modes switch the host's for one operation.
 * NaN results of f32, f16 and bf16 are canonical (0x7fffffff, 0x7fff), those of f64 the host's.
 */
#ifndef SIMCUDA_PTX_DEVICE_FLOAT_H
#define SIMCUDA_PTX_DEVICE_FLOAT_H

#include <fenv.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define PTX_NAN_F32 0x7fffffffu

enum ptx_round {
    PTX_RN,  /* nearest, ties to even */
    PTX_RZ,  /* towards zero */
    PTX_RM,  /* down */
    PTX_RP,  /* up */
    PTX_RNA, /* nearest, ties away from zero */
};

static inline float ptx_f32(uint32_t bits)
{
    float v;

    memcpy(&v, &bits, 4);
    return v;
}

static inline uint32_t ptx_bits32(float v)
{
    uint32_t bits;

    memcpy(&bits, &v, 4);
    return bits;
}

static inline double ptx_f64(uint64_t bits)
{
    double v;

    memcpy(&v, &bits, 8);
    return v;
}

static inline uint64_t ptx_bits64(double v)
{
    uint64_t bits;

    memcpy(&bits, &v, 8);
    return bits;
}

/* The canonical NaN in place of any other. */
static inline float ptx_canon(float v)
{
    return v == v ? v : ptx_f32(PTX_NAN_F32);
}

/* Flush a subnormal to a zero of its sign. */
static inline float ptx_ftz(float v)
{
    uint32_t bits = ptx_bits32(v);

    return (bits & 0x7f800000u) ? v : ptx_f32(bits & 0x80000000u);
}

/* Clamp to [0, 1]; a NaN becomes +0. */
static inline float ptx_sat_f32(float v)
{
    return v > 0.0f ? (v < 1.0f ? v : 1.0f) : 0.0f;
}

static inline double ptx_sat_f64(double v)
{
    return v > 0.0 ? (v < 1.0 ? v : 1.0) : 0.0;
}

/* min and max: a NaN gives way to a number, -0 is less than +0. */
#define PTX_FLOAT_TYPES(X)                                                                         \
    X(f32, float, uint32_t, ptx_bits32, ptx_f32)                                                   \
    X(f64, double, uint64_t, ptx_bits64, ptx_f64)

#define X(name, ctype, btype, to_bits, from_bits)                                                  \
    static inline ctype ptx_min_##name(ctype a, ctype b)                                           \
    {                                                                                              \
        if (a < b)                                                                                 \
            return a;                                                                              \
        if (b < a)                                                                                 \
            return b;                                                                              \
        if (a == b)                                                                                \
            return from_bits(to_bits(a) | to_bits(b));                                             \
        return a == a ? a : b;                                                                     \
    }                                                                                              \
    static inline ctype ptx_max_##name(ctype a, ctype b)                                           \
    {                                                                                              \
        if (a > b)                                                                                 \
            return a;                                                                              \
        if (b > a)                                                                                 \
            return b;                                                                              \
        if (a == b)                                                                                \
            return from_bits(to_bits(a) & to_bits(b));                                             \
        return a == a ? a : b;                                                                     \
    }                                                                                              \
    static inline ctype ptx_min_nan_##name(ctype a, ctype b)                                       \
    {                                                                                              \
        return a != a || b != b ? (ctype)NAN : ptx_min_##name(a, b);                               \
    }                                                                                              \
    static inline ctype ptx_max_nan_##name(ctype a, ctype b)                                       \
    {                                                                                              \
        return a != a || b != b ? (ctype)NAN : ptx_max_##name(a, b);                               \
    }                                                                                              \
    static inline ctype ptx_neg_##name(ctype a)                                                    \
    {                                                                                              \
        return from_bits(to_bits(a) ^ (btype)1 << (8 * sizeof(btype) - 1));                        \
    }                                                                                              \
    static inline ctype ptx_abs_##name(ctype a)                                                    \
    {                                                                                              \
        return from_bits(to_bits(a) & ~((btype)1 << (8 * sizeof(btype) - 1)));                     \
    }                                                                                              \
    /* min and max with .xorsign.abs */                                                            \
    static inline ctype ptx_xorsign_##name(ctype magnitude, ctype a, ctype b)                      \
    {                                                                                              \
        btype sign = (btype)1 << (8 * sizeof(btype) - 1);                                          \
        return from_bits((to_bits(magnitude) & ~sign) | ((to_bits(a) ^ to_bits(b)) & sign));       \
    }
PTX_FLOAT_TYPES(X)
#undef X

/* Operations under another rounding mode. The operands pass through volatiles, so that the
 * compiler can neither fold the operation nor move it out from between the two switches. */
static inline int ptx_host_round(enum ptx_round mode)
{
    return mode == PTX_RZ   ? FE_TOWARDZERO
           : mode == PTX_RM ? FE_DOWNWARD
           : mode == PTX_RP ? FE_UPWARD
                            : FE_TONEAREST;
}

#define PTX_ROUNDED(name, ctype, expression)                                                       \
    static __attribute__((noinline, unused))                                                       \
    ctype ptx_##name(ctype a, ctype b, ctype c, enum ptx_round mode)                               \
    {                                                                                              \
        volatile ctype x = a, y = b, z = c, out;                                                   \
                                                                                                   \
        fesetround(ptx_host_round(mode));                                                          \
        out = expression;                                                                          \
        fesetround(FE_TONEAREST);                                                                  \
        (void)y;                                                                                   \
        (void)z;                                                                                   \
        return out;                                                                                \
    }
PTX_ROUNDED(round_add_f32, float, x + y)
PTX_ROUNDED(round_mul_f32, float, x *y)
PTX_ROUNDED(round_div_f32, float, x / y)
PTX_ROUNDED(round_sqrt_f32, float, sqrtf(x))
PTX_ROUNDED(round_fma_f32, float, fmaf(x, y, z))
PTX_ROUNDED(round_add_f64, double, x + y)
PTX_ROUNDED(round_mul_f64, double, x *y)
PTX_ROUNDED(round_div_f64, double, x / y)
PTX_ROUNDED(round_sqrt_f64, double, sqrt(x))
PTX_ROUNDED(round_fma_f64, double, fma(x, y, z))

static __attribute__((noinline, unused)) double ptx_round_f64_s64(int64_t a, enum ptx_round mode)
{
    volatile int64_t x = a;
    volatile double out;

    fesetround(ptx_host_round(mode));
    out = (double)x;
    fesetround(FE_TONEAREST);
    return out;
}

static __attribute__((noinline, unused)) double ptx_round_f64_u64(uint64_t a, enum ptx_round mode)
{
    /* The two halves are exact, so only their sum is rounded. */
    volatile double high = (double)(a >> 32) * 0x1p32, low = (double)(uint32_t)a;
    volatile double out;

    fesetround(ptx_host_round(mode));
    out = high + low;
    fesetround(FE_TONEAREST);
    return out;
}

/* Approximations: the host's functions, with PTX's flushing and special values. */
static inline float ptx_ex2(float a)
{
    return exp2f(a);
}

static inline float ptx_lg2(float a)
{
    return log2f(a);
}

static inline float ptx_rsqrt(float a)
{
    return 1.0f / sqrtf(a);
}

/* The double forms keep the upper half of the result only. */
static inline double ptx_upper_half(double v)
{
    return ptx_f64(ptx_bits64(v) & 0xffffffff00000000u);
}

/* testp */
static inline int ptx_testp_f32(float v, int which)
{
    uint32_t magnitude = ptx_bits32(v) & 0x7fffffffu;

    switch (which) {
    case 'f':
        return magnitude < 0x7f800000u;
    case 'i':
        return magnitude == 0x7f800000u;
    case 'u':
        return magnitude <= 0x7f800000u;
    case 'a':
        return magnitude > 0x7f800000u;
    case 'n':
        return magnitude < 0x7f800000u && magnitude >= 0x00800000u;
    default:
        return magnitude != 0 && magnitude < 0x00800000u;
    }
}

static inline int ptx_testp_f64(double v, int which)
{
    uint64_t magnitude = ptx_bits64(v) & 0x7fffffffffffffffu;

    switch (which) {
    case 'f':
        return magnitude < 0x7ff0000000000000u;
    case 'i':
        return magnitude == 0x7ff0000000000000u;
    case 'u':
        return magnitude <= 0x7ff0000000000000u;
    case 'a':
        return magnitude > 0x7ff0000000000000u;
    case 'n':
        return magnitude < 0x7ff0000000000000u && magnitude >= 0x0010000000000000u;
    default:
        return magnitude != 0 && magnitude < 0x0010000000000000u;
    }
}

/* Round to an integral value. */
static inline double ptx_integral(double v, enum ptx_round mode)
{
    switch (mode) {
    case PTX_RZ:
        return trunc(v);
    case PTX_RM:
        return floor(v);
    case PTX_RP:
        return ceil(v);
    default:
        return rint(v);
    }
}

/* Float to integer: out of range clamps. A NaN gives nan, which the translator chooses by the
 * types: 0, or the middle of the range where a 64 bit type is involved. */
static inline int64_t ptx_to_signed(double v, unsigned bits, enum ptx_round mode, int64_t nan)
{
    double limit = ldexp(1.0, (int)bits - 1);

    if (v != v)
        return nan;
    v = ptx_integral(v, mode);
    if (v >= limit)
        return (int64_t)(((uint64_t)1 << (bits - 1)) - 1);
    if (v < -limit)
        return -(int64_t)(((uint64_t)1 << (bits - 1)) - 1) - 1;
    return (int64_t)v;
}

static inline uint64_t ptx_to_unsigned(double v, unsigned bits, enum ptx_round mode, uint64_t nan)
{
    if (v != v)
        return nan;
    v = ptx_integral(v, mode);
    if (v >= ldexp(1.0, (int)bits))
        return bits == 64 ? ~(uint64_t)0 : ((uint64_t)1 << bits) - 1;
    return v > 0 ? (uint64_t)v : 0;
}

/* v rounded to a format of that many exponent and mantissa bits, as bits. The sign comes first. */
static inline uint64_t ptx_narrow(double v, unsigned exponent_bits, unsigned mantissa_bits,
                                  enum ptx_round mode)
{
    uint64_t bits = ptx_bits64(v), mantissa = bits & 0xfffffffffffffu;
    uint64_t infinity = (((uint64_t)1 << exponent_bits) - 1) << mantissa_bits;
    uint64_t negative = bits >> 63, sign = negative << (exponent_bits + mantissa_bits);
    int exponent = (int)(bits >> 52 & 0x7ff) - 1023;
    int lowest = 2 - (1 << (exponent_bits - 1)), base = exponent < lowest ? lowest : exponent;
    unsigned shift = 52 - mantissa_bits + (unsigned)(base - exponent);
    uint64_t kept, rest, half;
    int up;

    if (v != v)
        return infinity | (((uint64_t)1 << mantissa_bits) - 1);
    if (exponent == 1024)
        return sign | infinity;
    if (exponent > -1023)
        mantissa |= (uint64_t)1 << 52;
    if (shift > 60)
        shift = 60; /* all of it is below half of the last place */
    kept = mantissa >> shift;
    rest = mantissa & (((uint64_t)1 << shift) - 1);
    half = shift ? (uint64_t)1 << (shift - 1) : 0;
    switch (mode) {
    case PTX_RZ:
        up = 0;
        break;
    case PTX_RM:
        up = rest && negative;
        break;
    case PTX_RP:
        up = rest && !negative;
        break;
    case PTX_RNA:
        up = shift && rest >= half;
        break;
    default:
        up = shift && (rest > half || (rest == half && (kept & 1)));
        break;
    }
    kept += ((uint64_t)(base - lowest) << mantissa_bits) + (uint64_t)up;
    if (kept >= infinity) {
        int stays = mode == PTX_RZ || (mode == PTX_RM && !negative) || (mode == PTX_RP && negative);

        kept = stays ? infinity - 1 : infinity;
    }
    return sign | kept;
}

/* a + b in double, rounded to odd, so that a second rounding to a narrow format is still right. */
static inline double ptx_add_odd(double a, double b)
{
    double sum = a + b, part = sum - a;
    double error = (a - (sum - part)) + (b - part);
    uint64_t bits = ptx_bits64(sum);

    if (!(fabs(sum) <= 1.7976931348623157e308) || error == 0 || (bits & 1))
        return sum;
    return ptx_f64((error > 0) == (sum > 0) ? bits + 1 : bits - 1);
}

/* 64 bit integers as doubles, rounded to odd likewise. */
static inline double ptx_odd_from_u64(uint64_t v)
{
    if (v >> 53)
        v = (v & ~(uint64_t)0x7ff) | ((v & 0x7ff) ? 0x800 : 0);
    return (double)v;
}

static inline double ptx_odd_from_s64(int64_t v)
{
    return v < 0 ? -ptx_odd_from_u64(0 - (uint64_t)v) : ptx_odd_from_u64((uint64_t)v);
}

/* .satfinite: the largest number in place of an infinity. exponent_mask is the infinity's bits. */
static inline uint16_t ptx_satfinite(uint16_t bits, uint16_t exponent_mask)
{
    return (bits & 0x7fff) == exponent_mask ? bits - 1 : bits;
}

#endif
