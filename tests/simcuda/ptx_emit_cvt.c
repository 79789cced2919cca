/* ptx_emit_cvt.c - conversions between types. */
#include "ptx_emit.h"

#include <string.h>

struct cvt {
    enum ptx_type to, from;
    const char *round; /* .rn and the like, NULL when not given */
    const char *whole; /* .rni and the like */
    bool ftz, sat, relu, satfinite;
};

static bool is_int(enum ptx_type type)
{
    return strchr("us", ptx_type_class(type)) != NULL;
}

static bool is_nearest_even(const struct cvt *c)
{
    return c->round && strcmp(c->round, "PTX_RN") == 0;
}

static const char *take_whole(struct ptx_emit *e)
{
    static const char *const modes[][2] = {
        {"rni", "PTX_RN"}, {"rzi", "PTX_RZ"}, {"rmi", "PTX_RM"}, {"rpi", "PTX_RP"}};

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (ptx_has(e, modes[i][0]))
            return modes[i][1];
    return NULL;
}

static const char *int_to_int(struct ptx_emit *e, const struct cvt *c)
{
    const char *a = ptx_in(e, 1, c->from);
    bool to_signed = ptx_type_class(c->to) == 's';
    unsigned bits = 8 * ptx_type_bytes(c->to);
    uint64_t high = ~(uint64_t)0 >> (64 - bits + to_signed);

    if (!c->sat)
        return a;
    if (ptx_type_class(c->from) == 'u')
        return ptx_text(e, "ptx_clamp_u64(%s, 0x%llxu)", a, (unsigned long long)high);
    if (!to_signed && bits == 64)
        high >>= 1;
    return ptx_text(e, "ptx_clamp_s64(%s, %s0x%llx%s, 0x%llx)", a, to_signed ? "-" : "",
                    (unsigned long long)(to_signed ? high : 0), to_signed ? " - 1" : "",
                    (unsigned long long)high);
}

/* The source as an exact double. */
static const char *as_double(struct ptx_emit *e, const struct cvt *c)
{
    const char *a = ptx_in(e, 1, c->from);

    switch (c->from) {
    case PTX_f16:
    case PTX_bf16:
        return ptx_text(e, "ptx_from_%s(%s)", ptx_type_name(c->from), a);
    case PTX_f32:
        return ptx_text(e, c->ftz ? "(double)ptx_ftz(%s)" : "(double)%s", a);
    default:
        return a;
    }
}

static const char *float_to_int(struct ptx_emit *e, const struct cvt *c)
{
    unsigned bits = 8 * ptx_type_bytes(c->to);
    bool middle = c->from == PTX_f64 || bits == 64;

    if (!c->whole)
        ptx_insn_fail(e, "wants .rni, .rzi, .rmi or .rpi");
    return ptx_text(e, "ptx_to_%s(%s, %u, %s, %s)",
                    ptx_type_class(c->to) == 's' ? "signed" : "unsigned", as_double(e, c), bits,
                    c->whole, middle ? ptx_text(e, "(int64_t)((uint64_t)1 << %u)", bits - 1) : "0");
}

/* A double, exact or rounded to odd, as the bits of a narrower type, or as that type. */
static const char *narrow(struct ptx_emit *e, const struct cvt *c, const char *value)
{
    const char *round = c->round ? c->round : "PTX_RN";

    switch (c->to) {
    case PTX_f16:
    case PTX_bf16:
        value = ptx_text(e, "ptx_to_%s(%s, %s)", ptx_type_name(c->to), value, round);
        if (c->satfinite)
            value =
                ptx_text(e, "ptx_satfinite(%s, %s)", value, c->to == PTX_f16 ? "0x7c00" : "0x7f80");
        if (c->relu)
            value = ptx_text(e, "ptx_relu_%s(%s)", ptx_type_name(c->to), value);
        return value;
    case PTX_tf32:
        return ptx_text(e, "(uint32_t)(ptx_narrow(%s, 8, 10, %s) << 13)", value, round);
    case PTX_f32:
        return ptx_text(e, "ptx_f32((uint32_t)ptx_narrow(%s, 8, 23, %s))", value, round);
    default:
        return value;
    }
}

static const char *int_to_float(struct ptx_emit *e, const struct cvt *c)
{
    const char *a = ptx_in(e, 1, c->from);
    bool is_signed = ptx_type_class(c->from) == 's';

    if (!c->round)
        ptx_insn_fail(e, "wants a rounding mode");
    if (strcmp(c->round, "PTX_RN") == 0 && (c->to == PTX_f32 || c->to == PTX_f64))
        return ptx_text(e, "(%s)%s", ptx_ctype(c->to), a);
    if (c->to == PTX_f64)
        return ptx_text(e, "ptx_round_f64_%s(%s, %s)", is_signed ? "s64" : "u64", a, c->round);
    return narrow(e, c, ptx_text(e, "ptx_odd_from_%s(%s)", is_signed ? "s64" : "u64", a));
}

static const char *float_to_float(struct ptx_emit *e, const struct cvt *c)
{
    bool narrows = ptx_type_bytes(c->to) < ptx_type_bytes(c->from) || c->to == PTX_tf32;
    bool nearest = !c->round || strcmp(c->round, "PTX_RN") == 0;
    const char *value;

    if (narrows && !c->round)
        ptx_insn_fail(e, "wants a rounding mode");
    value = as_double(e, c);
    if (c->whole)
        value = ptx_text(e, "ptx_integral(%s, %s)", value, c->whole);
    if (c->to == PTX_f32 && (nearest || !narrows)) {
        value = ptx_text(e, "(float)(%s)", value);
        return c->ftz ? ptx_text(e, "ptx_ftz(%s)", value) : value;
    }
    value = narrow(e, c, value);
    return c->to == PTX_f32 && c->ftz ? ptx_text(e, "ptx_ftz(%s)", value) : value;
}

/* cvt.rn.f16x2.f32 d, a, b: a becomes the upper half. */
static void emit_two(struct ptx_emit *e, struct cvt *c)
{
    const char *high, *low;
    enum ptx_type type = c->to;

    if (c->from != PTX_f32 || !c->round)
        ptx_insn_fail(e, "wants a rounding mode and .f32");
    ptx_want_operands(e, 3, 3);
    c->to = type == PTX_f16x2 ? PTX_f16 : PTX_bf16;
    high = narrow(e, c, ptx_text(e, "(double)%s", ptx_in(e, 1, PTX_f32)));
    low = narrow(e, c, ptx_text(e, "(double)%s", ptx_in(e, 2, PTX_f32)));
    ptx_out(e, 0, type, "ptx_pack2(%s, %s)", low, high);
}

/* A float, or half of an .f16x2, as an 8 bit float. relu lets NaN through. */
static const char *to_byte(struct ptx_emit *e, const struct cvt *c, const char *value)
{
    const char *name = c->to == PTX_e4m3x2 ? "e4m3" : "e5m2";

    if (c->relu)
        value = ptx_text(e, "ptx_relu(%s)", value);
    return ptx_text(e, "ptx_to_%s(%s)", name, value);
}

/* Two 8 bit floats from .f32 or .f16x2, and the other way to .f16x2; a becomes the upper one. */
static void emit_bytes(struct ptx_emit *e, const struct cvt *c)
{
    bool to = ptx_type_class(c->to) == 'q', two = c->from == PTX_f32;
    const char *name = c->from == PTX_e4m3x2 ? "e4m3" : "e5m2", *half[2];

    if (!is_nearest_even(c) || (to && !c->satfinite) ||
        (to ? !two && c->from != PTX_f16x2 : c->to != PTX_f16x2))
        ptx_insn_fail(e, "wants .rn, .satfinite to 8 bits, and .f32 or .f16x2");
    ptx_want_operands(e, two ? 3 : 2, two ? 3 : 2);
    if (two) {
        half[1] = ptx_text(e, "(double)%s", ptx_in(e, 1, PTX_f32));
        half[0] = ptx_text(e, "(double)%s", ptx_in(e, 2, PTX_f32));
    } else {
        ptx_statement(e, "{ uint32_t x = %s;", ptx_in(e, 1, to ? PTX_b32 : PTX_b16));
        for (unsigned i = 0; i < 2; i++)
            half[i] = ptx_text(e, to ? "ptx_from_f16((uint16_t)(x >> %u))" : "(uint8_t)(x >> %u)",
                               (to ? 16 : 8) * i);
    }
    for (unsigned i = 0; i < 2; i++) {
        half[i] = to ? to_byte(e, c, half[i]) : ptx_text(e, "ptx_from_%s(%s)", name, half[i]);
        if (!to && c->relu)
            half[i] = ptx_text(e, "ptx_relu_f16(%s)", half[i]);
    }
    if (to)
        ptx_out_raw(e, &e->insn->operands[0], PTX_b16, "%s << 8 | %s", half[1], half[0]);
    else
        ptx_out_raw(e, &e->insn->operands[0], PTX_b32, "ptx_pack2(%s, %s)", half[0], half[1]);
    if (!two)
        ptx_statement(e, "}");
}

/* cvt.pack.sat.type.s32 d, a, b{, c}: b is the lowest part. */
static void emit_pack(struct ptx_emit *e)
{
    enum ptx_type to, from;
    unsigned bits;
    const char *limits;

    if (!ptx_has(e, "sat"))
        ptx_insn_fail(e, "wants .sat");
    to = ptx_want_type_of(e, "us");
    from = ptx_want_type(e);
    bits = 8 * ptx_type_bytes(to);
    if (from != PTX_s32 || bits > 16)
        ptx_insn_fail(e, "wants .s32 into 8 or 16 bits");
    limits = ptx_type_class(to) == 's' ? (bits == 8 ? "-128, 127" : "-32768, 32767")
                                       : (bits == 8 ? "0, 255" : "0, 65535");
    ptx_want_operands(e, bits == 8 ? 4 : 3, bits == 8 ? 4 : 3);
    ptx_statement(e, "{ uint32_t hi = (uint%u_t)ptx_clamp_s64(%s, %s);", bits,
                  ptx_in(e, 1, PTX_s32), limits);
    ptx_statement(e, "uint32_t lo = (uint%u_t)ptx_clamp_s64(%s, %s);", bits, ptx_in(e, 2, PTX_s32),
                  limits);
    if (bits == 8) {
        if (ptx_want_type(e) != PTX_b32)
            ptx_insn_fail(e, "wants .b32");
        ptx_out(e, 0, PTX_u32, "(%s << 16) | hi << 8 | lo", ptx_in(e, 3, PTX_u32));
    } else {
        ptx_out(e, 0, PTX_u32, "hi << 16 | lo");
    }
    ptx_statement(e, "}");
}

static void emit_one(struct ptx_emit *e, const struct cvt *c)
{
    bool to_int = is_int(c->to), from_int = is_int(c->from);
    const char *value;

    ptx_want_operands(e, 2, 2);
    e->widths_may_differ = true;
    if (!to_int && !from_int)
        value = float_to_float(e, c);
    else if (to_int && from_int)
        value = int_to_int(e, c);
    else
        value = to_int ? float_to_int(e, c) : int_to_float(e, c);
    /* Between integers .sat was part of the conversion, to integers it changes nothing. */
    if (c->sat && !to_int) {
        if (c->to == PTX_tf32)
            ptx_insn_fail(e, ".sat is not defined for .tf32");
        value = ptx_text(e, "ptx_sat_%s(%s)", ptx_type_name(c->to), value);
    }
    ptx_out(e, 0, c->to, "%s", value);
}

void ptx_emit_cvt(struct ptx_emit *e)
{
    struct cvt c = {0};

    if (ptx_has(e, "pack")) {
        emit_pack(e);
        return;
    }
    c.round = ptx_take_round(e);
    c.whole = take_whole(e);
    c.ftz = ptx_has(e, "ftz");
    c.sat = ptx_has(e, "sat");
    c.relu = ptx_has(e, "relu");
    c.satfinite = ptx_has(e, "satfinite");
    c.to = ptx_want_type(e);
    c.from = ptx_want_type_of(e, "usfhxq");
    if (ptx_type_class(c.to) == 'q' || ptx_type_class(c.from) == 'q') {
        emit_bytes(e, &c);
        return;
    }
    if (ptx_type_class(c.from) == 'x')
        ptx_insn_fail(e, "not defined for .%s", ptx_type_name(c.from));
    if (c.relu && ptx_type_class(c.to) != 'h' && ptx_type_class(c.to) != 'x')
        ptx_insn_fail(e, ".relu wants a 16 bit float");
    if (c.to == PTX_f16x2 || c.to == PTX_bf16x2) {
        emit_two(e, &c);
        return;
    }
    if (!strchr("usfh", ptx_type_class(c.to)) && c.to != PTX_tf32)
        ptx_insn_fail(e, "not defined for .%s", ptx_type_name(c.to));
    emit_one(e, &c);
}
