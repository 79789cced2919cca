/* ptx_matrix_rig.h - what the tests of matrix instructions share: elements as bits, and PTX text.
 */
#ifndef TESTS_PTX_MATRIX_RIG_H
#define TESTS_PTX_MATRIX_RIG_H

#include <math.h>
#include <stdbool.h>

#include "ptx_rig.h"
#include "tests/simcuda/ptx_device.h"

#define LANES 32

static struct rig *g_rig; /* of the test that runs */

static inline int setup(void **state)
{
    (void)state;
    g_rig = rig_new();
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    rig_free(g_rig);
    return 0;
}

enum element { F16, BF16, TF32, F32, F64, S8, U8, S32 };

static const int g_bits[] = {16, 16, 32, 32, 64, 8, 8, 32};

static inline uint64_t encode(enum element element, double value)
{
    static const uint16_t halves[] = {0,      0x3c00, 0x4000, 0x4200, 0x4400,
                                      0x4500, 0x4600, 0x4700, 0x4800};
    float narrow = (float)value;
    uint32_t word;
    uint64_t wide;

    memcpy(&word, &narrow, 4);
    memcpy(&wide, &value, 8);
    switch (element) {
    case F16:
        return halves[(int)fabs(value)] | (value < 0 ? 0x8000 : 0);
    case BF16:
        return word >> 16;
    case TF32:
        return word | 0x1fff; /* the last bits are not looked at */
    case F32:
        return word;
    case F64:
        return wide;
    case S32:
        return (uint32_t)(int32_t)value;
    default:
        return (uint8_t)(int)value;
    }
}

static inline double decode(enum element element, uint64_t bits)
{
    uint32_t word = (uint32_t)bits;
    float narrow;
    double wide;

    memcpy(&narrow, &word, 4);
    memcpy(&wide, &bits, 8);
    if (element == F16)
        return ldexp((bits & 0x3ff) + (bits >> 10 & 31 ? 1024 : 0),
                     (int)(bits >> 10 & 31) - 25 + !(bits >> 10 & 31)) *
               (bits & 0x8000 ? -1 : 1);
    return element == F32 ? narrow : element == F64 ? wide : (int32_t)word;
}

static inline int per_register(enum element element)
{
    return g_bits[element] == 64 ? 1 : 32 / g_bits[element];
}

static inline int registers(enum element element, int elements)
{
    return elements / LANES / per_register(element);
}

struct text {
    char data[16384];
    size_t bytes;
};

static inline void put(struct text *text, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    text->bytes +=
        (size_t)vsnprintf(text->data + text->bytes, sizeof(text->data) - text->bytes, format, args);
    va_end(args);
    assert_true(text->bytes < sizeof(text->data));
}

/* Declare registers of one operand and, with a place in the input, load them. */
static inline void put_operand(struct text *text, char name, enum element element, int count,
                               int at)
{
    put(text, ".reg .b%d %c<%d>;\n", g_bits[element] == 64 ? 64 : 32, name, count);
    for (int i = 0; i < count && at >= 0; i++)
        put(text, "ld.global.b64 q, [in+%d]; %s %c%d, q;\n", 8 * (at + i),
            g_bits[element] == 64 ? "mov.b64" : "cvt.u32.u64", name, i);
}

static inline void put_list(struct text *text, char name, int count, const char *end)
{
    for (int i = 0; i < count; i++)
        put(text, "%s%c%d", i ? ", " : "{", name, i);
    put(text, "}%s", end);
}

/* Numbers from -8 to 8, or from 0 on, none of them in a pattern. */
static inline void fill(double *matrix, int count, enum element element, uint32_t seed)
{
    for (int i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        matrix[i] = (int)(seed >> 16) % 17 - 8;
        if (element == U8)
            matrix[i] += 200;
    }
}

/* An instruction over a .b32 register a and a .b64 register d that no device takes. */
static inline void matrix_refuses(struct rig *rig, const char *instruction)
{
    char text[1024];

    snprintf(text, sizeof(text),
             ".version 8.8\n.target sm_100\n.address_size 64\n"
             ".visible .entry k()\n{\n.reg .b32 a; .reg .b64 d;\n%s\nret;\n}\n",
             instruction);
    if (rig_try_load(rig, text) != 218)
        fail_msg("taken: %s", instruction);
}

#endif
