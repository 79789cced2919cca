/* ptx_device_int.h - integer instructions whose result is more than one C operator.
 *
 * Part of the text of every translated module; see ptx_device.h. Shifts clamp, division by zero
 * gives all ones and the most negative number divided by -1 itself, as the hardware does.
 */
#ifndef SIMCUDA_PTX_DEVICE_INT_H
#define SIMCUDA_PTX_DEVICE_INT_H

#include <stdint.h>

#define PTX_INT_TYPES(X)                                                                           \
    X(8, int8_t, uint8_t)                                                                          \
    X(16, int16_t, uint16_t)                                                                       \
    X(32, int32_t, uint32_t)                                                                       \
    X(64, int64_t, uint64_t)

#define X(bits, stype, utype)                                                                      \
    static inline utype ptx_shl##bits(utype a, uint32_t n)                                         \
    {                                                                                              \
        return n < bits ? (utype)(a << n) : 0;                                                     \
    }                                                                                              \
    static inline utype ptx_shr_u##bits(utype a, uint32_t n)                                       \
    {                                                                                              \
        return n < bits ? (utype)(a >> n) : 0;                                                     \
    }                                                                                              \
    static inline stype ptx_shr_s##bits(stype a, uint32_t n)                                       \
    {                                                                                              \
        return (stype)(a >> (n < bits ? n : bits - 1));                                            \
    }                                                                                              \
    static inline utype ptx_div_u##bits(utype a, utype b)                                          \
    {                                                                                              \
        return b ? (utype)(a / b) : (utype)-1;                                                     \
    }                                                                                              \
    static inline utype ptx_rem_u##bits(utype a, utype b)                                          \
    {                                                                                              \
        return b ? (utype)(a % b) : (utype)-1;                                                     \
    }                                                                                              \
    static inline stype ptx_div_s##bits(stype a, stype b)                                          \
    {                                                                                              \
        if (b == 0)                                                                                \
            return -1;                                                                             \
        return b == -1 ? (stype)(0 - (utype)a) : (stype)(a / b);                                   \
    }                                                                                              \
    static inline stype ptx_rem_s##bits(stype a, stype b)                                          \
    {                                                                                              \
        if (b == 0)                                                                                \
            return -1;                                                                             \
        return b == -1 ? 0 : (stype)(a % b);                                                       \
    }                                                                                              \
    static inline stype ptx_min_s##bits(stype a, stype b)                                          \
    {                                                                                              \
        return a < b ? a : b;                                                                      \
    }                                                                                              \
    static inline stype ptx_max_s##bits(stype a, stype b)                                          \
    {                                                                                              \
        return a > b ? a : b;                                                                      \
    }                                                                                              \
    static inline utype ptx_min_u##bits(utype a, utype b)                                          \
    {                                                                                              \
        return a < b ? a : b;                                                                      \
    }                                                                                              \
    static inline utype ptx_max_u##bits(utype a, utype b)                                          \
    {                                                                                              \
        return a > b ? a : b;                                                                      \
    }
PTX_INT_TYPES(X)
#undef X

static inline uint64_t ptx_mulhi_u64(uint64_t a, uint64_t b)
{
    return (uint64_t)((unsigned __int128)a * b >> 64);
}

static inline int64_t ptx_mulhi_s64(int64_t a, int64_t b)
{
    return (int64_t)((__int128)a * b >> 64);
}

/* Clamp a wide signed sum to 32 bits: add.sat, sub.sat, mad.hi.sat. */
static inline int32_t ptx_sat_s32(int64_t v)
{
    return v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : (int32_t)v;
}

/* cvt.sat between integers. */
static inline int64_t ptx_clamp_s64(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

static inline uint64_t ptx_clamp_u64(uint64_t v, uint64_t high)
{
    return v > high ? high : v;
}

/* mul24 takes the low 24 bits of its operands, sign-extended in the signed form. */
static inline int64_t ptx_sext24(uint32_t a)
{
    return (int32_t)(a << 8) >> 8;
}

static inline uint32_t ptx_clz32(uint32_t a)
{
    return a ? (uint32_t)__builtin_clz(a) : 32;
}

static inline uint32_t ptx_clz64(uint64_t a)
{
    return a ? (uint32_t)__builtin_clzll(a) : 64;
}

static inline uint32_t ptx_brev32(uint32_t a)
{
    a = (a >> 1 & 0x55555555u) | (a & 0x55555555u) << 1;
    a = (a >> 2 & 0x33333333u) | (a & 0x33333333u) << 2;
    a = (a >> 4 & 0x0f0f0f0fu) | (a & 0x0f0f0f0fu) << 4;
    return __builtin_bswap32(a);
}

static inline uint64_t ptx_brev64(uint64_t a)
{
    return (uint64_t)ptx_brev32((uint32_t)a) << 32 | ptx_brev32((uint32_t)(a >> 32));
}

/* Position of the most significant bit that is not a copy of the sign; all ones for none. */
static inline uint32_t ptx_bfind(uint64_t a, unsigned bits, int is_signed, int shift_amount)
{
    uint32_t at;

    if (is_signed && (a >> (bits - 1) & 1))
        a = ~a;
    if (bits < 64)
        a &= ((uint64_t)1 << bits) - 1;
    if (a == 0)
        return 0xffffffffu;
    at = 63 - (uint32_t)__builtin_clzll(a);
    return shift_amount ? bits - 1 - at : at;
}

static inline uint64_t ptx_bfe(uint64_t a, uint32_t b, uint32_t c, unsigned bits, int is_signed)
{
    uint32_t pos = b & 0xff, len = c & 0xff;
    uint32_t msb = bits - 1;
    uint64_t sign = 0, out;

    if (is_signed && len) {
        uint32_t at = pos + len - 1 < msb ? pos + len - 1 : msb;

        sign = a >> at & 1;
    }
    out = pos < bits ? a >> pos : 0;
    /* Bits beyond the field, or beyond the operand, are copies of the sign. */
    if (pos + len > bits)
        len = pos < bits ? bits - pos : 0;
    if (len < 64)
        out = (out & (((uint64_t)1 << len) - 1)) | (sign ? ~(uint64_t)0 << len : 0);
    return out;
}

static inline uint64_t ptx_bfi(uint64_t a, uint64_t b, uint32_t c, uint32_t d, unsigned bits)
{
    uint32_t pos = c & 0xff, len = d & 0xff;
    uint64_t mask;

    if (pos >= bits || len == 0)
        return b;
    mask = (len < 64 ? ((uint64_t)1 << len) - 1 : ~(uint64_t)0) << pos;
    return (b & ~mask) | (a << pos & mask);
}

/* The n-th set bit at or above (n > 0) or below (n < 0) base; all ones for none. */
static inline uint32_t ptx_fns(uint32_t mask, uint32_t base, int32_t n)
{
    int32_t step = n >= 0 ? 1 : -1;
    int64_t left = n == 0 ? 1 : n > 0 ? n : -(int64_t)n;

    if (n == 0)
        return base < 32 && (mask >> base & 1) ? base : 0xffffffffu;
    for (int64_t at = base; at >= 0 && at < 32; at += step)
        if ((mask >> at & 1) && --left == 0)
            return (uint32_t)at;
    return 0xffffffffu;
}

/* bmsk: len ones from bit pos on. */
static inline uint32_t ptx_bmsk(uint32_t pos, uint32_t len, int wrap)
{
    uint64_t ones;

    if (wrap) {
        pos &= 31;
        len &= 31;
    } else if (pos >= 32) {
        return 0;
    }
    ones = len >= 32 ? 0xffffffffu : ((uint64_t)1 << len) - 1;
    return (uint32_t)(ones << pos);
}

/* szext: sign- or zero-extend the low n bits. */
static inline uint32_t ptx_szext(uint32_t a, uint32_t n, int is_signed, int wrap)
{
    if (wrap)
        n &= 31;
    if (n >= 32)
        return a;
    if (n == 0)
        return 0;
    if (is_signed)
        return (uint32_t)((int32_t)(a << (32 - n)) >> (32 - n));
    return a & ((1u << n) - 1);
}

static inline uint32_t ptx_lop3(uint32_t a, uint32_t b, uint32_t c, uint32_t table)
{
    uint32_t out = 0;

    if (table & 0x01)
        out |= ~a & ~b & ~c;
    if (table & 0x02)
        out |= ~a & ~b & c;
    if (table & 0x04)
        out |= ~a & b & ~c;
    if (table & 0x08)
        out |= ~a & b & c;
    if (table & 0x10)
        out |= a & ~b & ~c;
    if (table & 0x20)
        out |= a & ~b & c;
    if (table & 0x40)
        out |= a & b & ~c;
    if (table & 0x80)
        out |= a & b & c;
    return out;
}

static inline uint32_t ptx_shf(uint32_t lo, uint32_t hi, uint32_t n, int left, int wrap)
{
    uint64_t both = (uint64_t)hi << 32 | lo;

    n = wrap ? n & 31 : n < 32 ? n : 32;
    return left ? (uint32_t)(both << n >> 32) : (uint32_t)(both >> n);
}

/* mode: 0 the general form, else one of f4e, b4e, rc8, ecl, ecr, rc16 as 1 to 6 */
static inline uint32_t ptx_prmt(uint32_t a, uint32_t b, uint32_t c, int mode)
{
    static const uint16_t select[7][4] = {
        {0},
        {0x3210, 0x4321, 0x5432, 0x6543},
        {0x5670, 0x6701, 0x7012, 0x0123},
        {0x0000, 0x1111, 0x2222, 0x3333},
        {0x3210, 0x3211, 0x3222, 0x3333},
        {0x0000, 0x1110, 0x2210, 0x3210},
        {0x1010, 0x3232, 0x1010, 0x3232},
    };
    uint64_t bytes = (uint64_t)b << 32 | a;
    uint32_t out = 0;

    if (mode)
        c = select[mode][c & 3];
    for (unsigned i = 0; i < 4; i++) {
        uint32_t nibble = c >> (4 * i) & 15;
        uint32_t byte = (uint32_t)(bytes >> (8 * (nibble & 7))) & 0xff;

        if (nibble & 8)
            byte = byte & 0x80 ? 0xff : 0;
        out |= byte << (8 * i);
    }
    return out;
}

/* |x - y| of each part of that many bits: side by side, or added to c. */
static inline uint32_t ptx_vabsdiff(uint32_t a, uint32_t b, uint32_t c, unsigned bits, int signed_a,
                                    int signed_b, int sum)
{
    uint32_t mask = (1u << bits) - 1;

    for (unsigned i = 0; i < 32; i += bits) {
        int32_t x = (int32_t)(a >> i & mask), y = (int32_t)(b >> i & mask), difference;

        x -= signed_a && x >> (bits - 1) ? 1 << bits : 0;
        y -= signed_b && y >> (bits - 1) ? 1 << bits : 0;
        difference = x < y ? y - x : x - y;
        c += sum ? (uint32_t)difference : ((uint32_t)difference & mask) << i;
    }
    return c;
}

static inline uint32_t ptx_dp4a(uint32_t a, uint32_t b, uint32_t c, int signed_a, int signed_b)
{
    for (unsigned i = 0; i < 32; i += 8) {
        int32_t x = signed_a ? (int8_t)(a >> i) : (uint8_t)(a >> i);
        int32_t y = signed_b ? (int8_t)(b >> i) : (uint8_t)(b >> i);

        c += (uint32_t)(x * y);
    }
    return c;
}

static inline uint32_t ptx_dp2a(uint32_t a, uint32_t b, uint32_t c, int signed_a, int signed_b,
                                int high)
{
    for (unsigned i = 0; i < 2; i++) {
        unsigned at = 8 * (i + (high ? 2 : 0));
        int32_t x = signed_a ? (int16_t)(a >> (16 * i)) : (uint16_t)(a >> (16 * i));
        int32_t y = signed_b ? (int8_t)(b >> at) : (uint8_t)(b >> at);

        c += (uint32_t)x * (uint32_t)y;
    }
    return c;
}

/* a + b + carry in; *carry becomes the carry out. Subtraction adds the complement. */
static inline uint64_t ptx_add_carry(uint64_t a, uint64_t b, unsigned bits, uint32_t *carry)
{
    unsigned __int128 sum = (unsigned __int128)a + b + (*carry & 1);

    *carry = (uint32_t)(sum >> bits) & 1;
    return (uint64_t)sum;
}

#endif
