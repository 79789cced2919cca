/* ptx_emit_float.c - floating-point arithmetic. */
#include "ptx_emit.h"

#include <string.h>

static const char *flush(struct ptx_emit *e, const char *value, bool ftz)
{
    return ftz ? ptx_text(e, "ptx_ftz(%s)", value) : value;
}

/* .ftz exists for f32 only; f64 has no such thing. */
static bool take_ftz(struct ptx_emit *e, enum ptx_type type)
{
    return type == PTX_f32 && ptx_has(e, "ftz");
}

static const char *operand(struct ptx_emit *e, unsigned i, enum ptx_type type, bool ftz)
{
    return flush(e, ptx_in(e, i, type), ftz);
}

/* Flush and saturate what the operation gave, and assign it. */
static void finish(struct ptx_emit *e, enum ptx_type type, const char *value, bool ftz)
{
    value = flush(e, value, ftz);
    if (ptx_has(e, "sat"))
        value = ptx_text(e, "ptx_sat_%s(%s)", ptx_type_name(type), value);
    ptx_out(e, 0, type, "%s", value);
}

static bool is_nearest(const char *round)
{
    return !round || strcmp(round, "PTX_RN") == 0;
}

void ptx_emit_float_add(struct ptx_emit *e, enum ptx_type type)
{
    bool subtract = strcmp(e->insn->opcode, "sub") == 0, ftz;
    const char *round = ptx_take_round(e), *a, *b;

    if (ptx_type_class(type) != 'f') {
        ptx_emit_half(e, type, e->insn->opcode, 2);
        return;
    }
    ftz = take_ftz(e, type);
    a = operand(e, 1, type, ftz);
    b = operand(e, 2, type, ftz);
    if (is_nearest(round))
        finish(e, type, ptx_text(e, "(%s %c %s)", a, subtract ? '-' : '+', b), ftz);
    else
        finish(e, type,
               ptx_text(e, "ptx_round_add_%s(%s, %s%s, 0, %s)", ptx_type_name(type), a,
                        subtract ? "-" : "", b, round),
               ftz);
}

void ptx_emit_float_mul(struct ptx_emit *e, enum ptx_type type)
{
    const char *round = ptx_take_round(e), *a, *b;
    bool ftz;

    if (ptx_type_class(type) != 'f') {
        ptx_emit_half(e, type, "mul", 2);
        return;
    }
    ftz = take_ftz(e, type);
    a = operand(e, 1, type, ftz);
    b = operand(e, 2, type, ftz);
    if (is_nearest(round))
        finish(e, type, ptx_text(e, "(%s * %s)", a, b), ftz);
    else
        finish(e, type,
               ptx_text(e, "ptx_round_mul_%s(%s, %s, 0, %s)", ptx_type_name(type), a, b, round),
               ftz);
}

/* fma, and mad on sm_20 and later, which is the same */
void ptx_emit_float_fma(struct ptx_emit *e, enum ptx_type type)
{
    const char *round = ptx_take_round(e), *a, *b, *c;
    bool ftz;

    if (ptx_type_class(type) != 'f') {
        ptx_emit_half(e, type, "fma", 3);
        return;
    }
    ftz = take_ftz(e, type);
    a = operand(e, 1, type, ftz);
    b = operand(e, 2, type, ftz);
    c = operand(e, 3, type, ftz);
    if (is_nearest(round))
        finish(e, type, ptx_text(e, "fma%s(%s, %s, %s)", type == PTX_f32 ? "f" : "", a, b, c), ftz);
    else
        finish(e, type,
               ptx_text(e, "ptx_round_fma_%s(%s, %s, %s, %s)", ptx_type_name(type), a, b, c, round),
               ftz);
}

void ptx_emit_fma(struct ptx_emit *e)
{
    enum ptx_type type = ptx_want_type_of(e, "fhxy");

    ptx_want_operands(e, 4, 4);
    if (type == PTX_f32x2) {
        ptx_emit_float_pair(e, "fma", 3);
        return;
    }
    ptx_emit_float_fma(e, type);
}

/* .approx and .full are within their error bounds when they are exact. */
void ptx_emit_float_div(struct ptx_emit *e, enum ptx_type type)
{
    bool approximate = ptx_has(e, "approx") || ptx_has(e, "full");
    const char *round = ptx_take_round(e), *a, *b;
    bool ftz = take_ftz(e, type);

    if (!approximate && !round)
        ptx_insn_fail(e, "wants a rounding mode, .approx or .full");
    a = operand(e, 1, type, ftz);
    b = operand(e, 2, type, ftz);
    if (is_nearest(round))
        finish(e, type, ptx_text(e, "(%s / %s)", a, b), ftz);
    else
        finish(e, type,
               ptx_text(e, "ptx_round_div_%s(%s, %s, 0, %s)", ptx_type_name(type), a, b, round),
               ftz);
}

void ptx_emit_float_minmax(struct ptx_emit *e, enum ptx_type type)
{
    const char *name = ptx_type_name(type), *a, *b, *value;
    bool nan, xorsign, ftz;

    if (ptx_type_class(type) != 'f') {
        ptx_emit_half(e, type,
                      ptx_has(e, "NaN") ? ptx_text(e, "%s_nan", e->insn->opcode) : e->insn->opcode,
                      2);
        return;
    }
    ptx_want_operands(e, 3, 4);
    nan = ptx_has(e, "NaN");
    xorsign = ptx_has(e, "xorsign");
    if (xorsign && !ptx_has(e, "abs"))
        ptx_insn_fail(e, ".xorsign wants .abs");
    ftz = take_ftz(e, type);
    a = operand(e, 1, type, ftz);
    b = operand(e, 2, type, ftz);
    if (xorsign) {
        value = ptx_text(e, "ptx_xorsign_%s(ptx_%s%s_%s(ptx_abs_%s(%s), ptx_abs_%s(%s)), %s, %s)",
                         name, e->insn->opcode, nan ? "_nan" : "", name, name, a, name, b, a, b);
    } else {
        value = ptx_text(e, "ptx_%s%s_%s(%s, %s)", e->insn->opcode, nan ? "_nan" : "", name, a, b);
        if (e->insn->operand_count == 4)
            value = ptx_text(e, "ptx_%s%s_%s(%s, %s)", e->insn->opcode, nan ? "_nan" : "", name,
                             value, operand(e, 3, type, ftz));
    }
    ptx_out(e, 0, type, "%s", value);
}

/* abs and neg */
void ptx_emit_float_sign(struct ptx_emit *e, enum ptx_type type)
{
    bool ftz;

    if (ptx_type_class(type) != 'f') {
        ptx_emit_half(e, type, e->insn->opcode, 1);
        return;
    }
    ftz = take_ftz(e, type);
    ptx_out(e, 0, type, "ptx_%s_%s(%s)", e->insn->opcode, ptx_type_name(type),
            operand(e, 1, type, ftz));
}

/* The sign of a and the rest of b, bit by bit: a NaN keeps its payload. */
void ptx_emit_copysign(struct ptx_emit *e)
{
    enum ptx_type type = ptx_want_type_of(e, "f"), bits = ptx_bits_of(type);
    const char *sign = type == PTX_f32 ? "0x80000000u" : "0x8000000000000000u";

    ptx_want_operands(e, 3, 3);
    ptx_out_raw(e, &e->insn->operands[0], bits, "(%s & %s) | (%s & ~%s)", ptx_in(e, 1, bits), sign,
                ptx_in(e, 2, bits), sign);
}

void ptx_emit_testp(struct ptx_emit *e)
{
    static const char *const tests[][2] = {{"finite", "f"}, {"infinite", "i"},
                                           {"number", "u"}, {"notanumber", "a"},
                                           {"normal", "n"}, {"subnormal", "s"}};
    const char *which = NULL;
    enum ptx_type type;

    for (int i = 0; i < 6; i++)
        if (ptx_has(e, tests[i][0]))
            which = tests[i][1];
    if (!which)
        ptx_insn_fail(e, "wants a property to test");
    type = ptx_want_type_of(e, "f");
    ptx_want_operands(e, 2, 2);
    ptx_out(e, 0, PTX_pred, "ptx_testp_%s(%s, '%s')", ptx_type_name(type), ptx_in(e, 1, type),
            which);
}

/* The exact forms of rcp and sqrt, rounded as they say. */
static void emit_exact(struct ptx_emit *e, enum ptx_type type, const char *round)
{
    bool root = strcmp(e->insn->opcode, "sqrt") == 0, ftz = take_ftz(e, type);
    const char *a = operand(e, 1, type, ftz), *suffix = type == PTX_f32 ? "f" : "";
    const char *name = ptx_type_name(type);

    if (strcmp(round, "PTX_RN") == 0)
        finish(e, type,
               root ? ptx_text(e, "sqrt%s(%s)", suffix, a)
                    : ptx_text(e, "((%s)1 / %s)", ptx_ctype(type), a),
               ftz);
    else if (root)
        finish(e, type, ptx_text(e, "ptx_round_sqrt_%s(%s, 0, 0, %s)", name, a, round), ftz);
    else
        finish(e, type, ptx_text(e, "ptx_round_div_%s(1, %s, 0, %s)", name, a, round), ftz);
}

/* rcp.approx.ftz.f64 and rsqrt.approx.f64 */
static void emit_approximate_f64(struct ptx_emit *e)
{
    const char *a = ptx_in(e, 1, PTX_f64);
    bool rcp = strcmp(e->insn->opcode, "rcp") == 0, ftz = ptx_has(e, "ftz");

    if (rcp && !ftz)
        ptx_insn_fail(e, "wants .ftz");
    if (rcp)
        ptx_out(e, 0, PTX_f64, "ptx_upper_half(1.0 / %s)", a);
    else if (strcmp(e->insn->opcode, "rsqrt") == 0)
        ptx_out(e, 0, PTX_f64, "ptx_upper_half(1.0 / sqrt(%s))", a);
    else
        ptx_insn_fail(e, "not defined for .f64");
}

/* rcp, sqrt, rsqrt, sin, cos, lg2, ex2, tanh */
void ptx_emit_approximate(struct ptx_emit *e)
{
    static const struct {
        const char *opcode, *call;
    } calls[] = {{"rcp", "1.0f / "}, {"sqrt", "sqrtf"},  {"rsqrt", "ptx_rsqrt"}, {"sin", "sinf"},
                 {"cos", "cosf"},    {"lg2", "ptx_lg2"}, {"ex2", "ptx_ex2"},     {"tanh", "tanhf"}};
    const char *round = ptx_take_round(e), *call = NULL;
    enum ptx_type type = ptx_want_type_of(e, "fhx");
    bool ftz;

    ptx_want_operands(e, 2, 2);
    if (round) {
        if (e->insn->opcode[0] != 'r' && e->insn->opcode[1] != 'q')
            ptx_insn_fail(e, "has no rounding mode");
        emit_exact(e, type, round);
        return;
    }
    if (!ptx_has(e, "approx"))
        ptx_insn_fail(e, "wants .approx or a rounding mode");
    if (ptx_type_class(type) != 'f') {
        ptx_emit_half(e, type, e->insn->opcode, 1);
        return;
    }
    if (type == PTX_f64) {
        emit_approximate_f64(e);
        return;
    }
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        if (strcmp(calls[i].opcode, e->insn->opcode) == 0)
            call = calls[i].call;
    ftz = take_ftz(e, type);
    finish(e, type, ptx_text(e, "(%s(%s))", call, operand(e, 1, type, ftz)), ftz);
}

static const char *pair_part(struct ptx_emit *e, const char *operation, const char *const *in,
                             const char *round)
{
    bool nearest = is_nearest(round), fused = operation[0] == 'f', times = operation[0] == 'm';
    const char *minus = operation[0] == 's' ? "-" : "";

    if (!nearest)
        return ptx_text(e, "ptx_round_%s_f32(%s, %s%s, %s, %s)", minus[0] ? "add" : operation,
                        in[0], minus, in[1], in[2], round);
    return fused ? ptx_text(e, "fmaf(%s, %s, %s)", in[0], in[1], in[2])
                 : ptx_text(e, "(%s %c %s%s)", in[0], times ? '*' : '+', minus, in[1]);
}

void ptx_emit_float_pair(struct ptx_emit *e, const char *operation, unsigned operands)
{
    const char *round = ptx_take_round(e), *part[2];
    bool ftz = ptx_has(e, "ftz");

    if (!round)
        ptx_insn_fail(e, "wants a rounding mode");
    ptx_statement(e, "{ uint64_t p[3] = {0};");
    for (unsigned i = 0; i < operands; i++)
        ptx_statement(e, "p[%u] = %s;", i, ptx_in(e, i + 1, PTX_b64));
    for (unsigned half = 0; half < 2; half++) {
        const char *in[3];

        for (unsigned i = 0; i < 3; i++)
            in[i] =
                flush(e, ptx_text(e, "ptx_f32((uint32_t)(p[%u]%s))", i, half ? " >> 32" : ""), ftz);
        part[half] = pair_part(e, operation, in, round);
        part[half] = ptx_text(e, "(uint64_t)ptx_bits32(ptx_canon(%s))", flush(e, part[half], ftz));
    }
    ptx_out_raw(e, &e->insn->operands[0], PTX_b64, "%s << 32 | %s", part[1], part[0]);
    ptx_statement(e, "}");
}

/* 16 bit floats: one function of ptx_device_half.h for each half of the register. */
static const char *half_call(struct ptx_emit *e, const char *name, const char *operation,
                             unsigned operands, const char *const *in, bool ftz, bool xorsign)
{
    const char *args = "", *value;

    for (unsigned i = 0; i < operands; i++) {
        const char *arg = ftz ? ptx_text(e, "ptx_ftz_%s(%s)", name, in[i]) : in[i];

        if (xorsign)
            arg = ptx_text(e, "(%s) & 0x7fff", arg);
        args = ptx_text(e, "%s%s%s", args, i ? ", " : "", arg);
    }
    value = ptx_text(e, "ptx_%s_%s(%s)", operation, name, args);
    if (xorsign)
        value = ptx_text(e, "ptx_xorsign_%s(%s, %s, %s)", name, value, in[0], in[1]);
    return ftz ? ptx_text(e, "ptx_ftz_%s(%s)", name, value) : value;
}

void ptx_emit_half(struct ptx_emit *e, enum ptx_type type, const char *operation, unsigned operands)
{
    bool two = ptx_type_class(type) == 'x', ftz = ptx_has(e, "ftz"), sat = ptx_has(e, "sat");
    bool relu = ptx_has(e, "relu"), xorsign = ptx_has(e, "xorsign");
    const char *name = type == PTX_f16 || type == PTX_f16x2 ? "f16" : "bf16";
    const char *value[2], *in[3];

    if ((strcmp(operation, "rcp") == 0 || strcmp(operation, "sqrt") == 0) || operation[0] == 'l')
        ptx_insn_fail(e, "not defined for .%s", ptx_type_name(type));
    if (xorsign && !ptx_has(e, "abs"))
        ptx_insn_fail(e, ".xorsign wants .abs");
    ptx_want_operands(e, operands + 1, operands + 1);
    ptx_statement(e, "{");
    for (unsigned i = 0; i < operands; i++)
        ptx_statement(e, "%s h%u = %s;", ptx_ctype(type), i, ptx_in(e, i + 1, type));
    for (unsigned half = 0; half < (two ? 2 : 1); half++) {
        for (unsigned i = 0; i < operands; i++)
            in[i] = ptx_text(e, "(uint16_t)(h%u%s)", i, half ? " >> 16" : "");
        value[half] = half_call(e, name, operation, operands, in, ftz, xorsign);
        if (sat)
            value[half] = ptx_text(e, "ptx_sat_%s(%s)", name, value[half]);
        if (relu)
            value[half] = ptx_text(e, "ptx_relu_%s(%s)", name, value[half]);
    }
    if (two)
        ptx_out(e, 0, type, "ptx_pack2(%s, %s)", value[0], value[1]);
    else
        ptx_out(e, 0, type, "%s", value[0]);
    ptx_statement(e, "}");
}
