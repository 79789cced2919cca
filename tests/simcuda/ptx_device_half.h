/* ptx_device_half.h - 16 bit floats: f16 and bf16, one or two to a register, held as bits.
 *
 * Part of the text of every translated module; see ptx_device.h. Arithmetic goes through double,
 * rounded to odd where a sum is inexact there, and is rounded once to the narrow format.
 */
#ifndef SIMCUDA_PTX_DEVICE_HALF_H
#define SIMCUDA_PTX_DEVICE_HALF_H

#ifndef SIMCUDA_PTX_DEVICE_FLOAT_H
#include "ptx_device_float.h"
#endif

static inline double ptx_from_f16(uint16_t bits)
{
    uint64_t sign = (uint64_t)(bits >> 15) << 63;
    unsigned exponent = bits >> 10 & 31, mantissa = bits & 0x3ff;
    double v;

    if (exponent == 31)
        return ptx_f64(sign | 0x7ff0000000000000u | (uint64_t)mantissa << 42);
    if (exponent)
        return ptx_f64(sign | (uint64_t)(exponent + 1008) << 52 | (uint64_t)mantissa << 42);
    v = mantissa * 0x1p-24;
    return sign ? -v : v;
}

static inline double ptx_from_bf16(uint16_t bits)
{
    return ptx_f32((uint32_t)bits << 16);
}

static inline uint16_t ptx_to_f16(double v, enum ptx_round mode)
{
    return (uint16_t)ptx_narrow(v, 5, 10, mode);
}

static inline uint16_t ptx_to_bf16(double v, enum ptx_round mode)
{
    return (uint16_t)ptx_narrow(v, 8, 7, mode);
}

/* name, smallest normal exponent mask, mantissa mask */
#define PTX_HALF_TYPES(X)                                                                          \
    X(f16, 0x7c00)                                                                                 \
    X(bf16, 0x7f80)

#define X(name, exponent_mask)                                                                     \
    static inline uint16_t ptx_ftz_##name(uint16_t a)                                              \
    {                                                                                              \
        return a & exponent_mask ? a : a & 0x8000;                                                 \
    }                                                                                              \
    static inline int ptx_is_nan_##name(uint16_t a)                                                \
    {                                                                                              \
        return (a & 0x7fff) > exponent_mask;                                                       \
    }                                                                                              \
    static inline uint16_t ptx_sat_##name(uint16_t a)                                              \
    {                                                                                              \
        return ptx_to_##name(ptx_sat_f64(ptx_from_##name(a)), PTX_RN);                             \
    }                                                                                              \
    static inline uint16_t ptx_relu_##name(uint16_t a)                                             \
    {                                                                                              \
        return ptx_is_nan_##name(a) ? 0x7fff : a & 0x8000 ? 0 : a;                                 \
    }                                                                                              \
    static inline uint16_t ptx_add_##name(uint16_t a, uint16_t b)                                  \
    {                                                                                              \
        return ptx_to_##name(ptx_add_odd(ptx_from_##name(a), ptx_from_##name(b)), PTX_RN);         \
    }                                                                                              \
    static inline uint16_t ptx_sub_##name(uint16_t a, uint16_t b)                                  \
    {                                                                                              \
        return ptx_to_##name(ptx_add_odd(ptx_from_##name(a), -ptx_from_##name(b)), PTX_RN);        \
    }                                                                                              \
    static inline uint16_t ptx_mul_##name(uint16_t a, uint16_t b)                                  \
    {                                                                                              \
        return ptx_to_##name(ptx_from_##name(a) * ptx_from_##name(b), PTX_RN);                     \
    }                                                                                              \
    static inline uint16_t ptx_fma_##name(uint16_t a, uint16_t b, uint16_t c)                      \
    {                                                                                              \
        return ptx_to_##name(                                                                      \
            ptx_add_odd(ptx_from_##name(a) * ptx_from_##name(b), ptx_from_##name(c)), PTX_RN);     \
    }                                                                                              \
    static inline uint16_t ptx_min_##name(uint16_t a, uint16_t b)                                  \
    {                                                                                              \
        double x = ptx_from_##name(a), y = ptx_from_##name(b);                                     \
        if (x != x && y != y)                                                                      \
            return 0x7fff;                                                                         \
        if (x == y)                                                                                \
            return a | (b & 0x8000);                                                               \
        return y != y || x < y ? a : b;                                                            \
    }                                                                                              \
    static inline uint16_t ptx_max_##name(uint16_t a, uint16_t b)                                  \
    {                                                                                              \
        double x = ptx_from_##name(a), y = ptx_from_##name(b);                                     \
        if (x != x && y != y)                                                                      \
            return 0x7fff;                                                                         \
        if (x == y)                                                                                \
            return a & b;                                                                          \
        return y != y || x > y ? a : b;                                                            \
    }                                                                                              \
    static inline uint16_t ptx_min_nan_##name(uint16_t a, uint16_t b)                              \
    {                                                                                              \
        if (ptx_is_nan_##name(a) || ptx_is_nan_##name(b))                                          \
            return 0x7fff;                                                                         \
        return ptx_min_##name(a, b);                                                               \
    }                                                                                              \
    static inline uint16_t ptx_max_nan_##name(uint16_t a, uint16_t b)                              \
    {                                                                                              \
        if (ptx_is_nan_##name(a) || ptx_is_nan_##name(b))                                          \
            return 0x7fff;                                                                         \
        return ptx_max_##name(a, b);                                                               \
    }                                                                                              \
    static inline uint16_t ptx_xorsign_##name(uint16_t magnitude, uint16_t a, uint16_t b)          \
    {                                                                                              \
        return (magnitude & 0x7fff) | ((a ^ b) & 0x8000);                                          \
    }                                                                                              \
    static inline uint16_t ptx_neg_##name(uint16_t a)                                              \
    {                                                                                              \
        return ptx_is_nan_##name(a) ? 0x7fff : a ^ 0x8000;                                         \
    }                                                                                              \
    static inline uint16_t ptx_abs_##name(uint16_t a)                                              \
    {                                                                                              \
        return ptx_is_nan_##name(a) ? 0x7fff : a & 0x7fff;                                         \
    }                                                                                              \
    static inline uint16_t ptx_ex2_##name(uint16_t a)                                              \
    {                                                                                              \
        return ptx_to_##name(exp2(ptx_from_##name(a)), PTX_RN);                                    \
    }                                                                                              \
    static inline uint16_t ptx_tanh_##name(uint16_t a)                                             \
    {                                                                                              \
        return ptx_to_##name(tanh(ptx_from_##name(a)), PTX_RN);                                    \
    }
PTX_HALF_TYPES(X)
#undef X

/* 8 bit floats: e5m2 is an f16 cut short, e4m3 has no infinity and goes up to 448. Conversions to
 * them stay finite. */
static inline uint16_t ptx_from_e5m2(uint8_t bits)
{
    return (bits & 0x7f) > 0x7c ? 0x7fff : (uint16_t)(bits << 8);
}

static inline uint16_t ptx_from_e4m3(uint8_t bits)
{
    unsigned exponent = bits >> 3 & 15, mantissa = bits & 7;
    double v = exponent ? ldexp(8 + mantissa, (int)exponent - 10) : ldexp(mantissa, -9);

    if ((bits & 0x7f) == 0x7f)
        return 0x7fff;
    return ptx_to_f16(bits & 0x80 ? -v : v, PTX_RN);
}

static inline double ptx_relu(double v)
{
    return v <= 0 ? 0 : v;
}

static inline uint8_t ptx_to_e5m2(double v)
{
    uint8_t bits = (uint8_t)ptx_narrow(v, 5, 2, PTX_RN);

    return v == v && (bits & 0x7f) == 0x7c ? bits - 1 : bits;
}

static inline uint8_t ptx_to_e4m3(double v)
{
    double magnitude = fabs(v);
    uint8_t sign = signbit(v) ? 0x80 : 0;

    if (v != v)
        return 0x7f;
    if (magnitude >= 448)
        return sign | 0x7e;
    /* The highest exponent, which would be infinity's elsewhere. */
    if (magnitude >= 256)
        return sign | (uint8_t)(0x78 + nearbyint((magnitude - 256) / 32));
    return (uint8_t)ptx_narrow(v, 4, 3, PTX_RN);
}

/* Two to a register: the low half first. */
static inline uint32_t ptx_pack2(uint16_t low, uint16_t high)
{
    return (uint32_t)high << 16 | low;
}

#endif
