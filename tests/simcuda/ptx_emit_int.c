/* ptx_emit_int.c - integer arithmetic, logic, shifts and bit fields. */
#include "ptx_emit.h"

#include <string.h>

static bool is_int(enum ptx_type type)
{
    return strchr("us", ptx_type_class(type)) != NULL;
}

static bool is_half(enum ptx_type type)
{
    return type == PTX_f16 || type == PTX_bf16 || type == PTX_f16x2 || type == PTX_bf16x2;
}

/* 32 to .s32 and .u32: the type of the same signedness and twice the size. */
static enum ptx_type widened(struct ptx_emit *e, enum ptx_type type)
{
    switch (type) {
    case PTX_u16:
        return PTX_u32;
    case PTX_s16:
        return PTX_s32;
    case PTX_u32:
        return PTX_u64;
    case PTX_s32:
        return PTX_s64;
    default:
        ptx_insn_fail(e, "no type is twice as wide as .%s", ptx_type_name(type));
    }
}

/* Two 16 bit integers to a register: add, min and max work on each. */
static void emit_packed(struct ptx_emit *e, enum ptx_type type, const char *operation)
{
    const char *a = ptx_in(e, 1, type), *b = ptx_in(e, 2, type);
    const char *ctype = type == PTX_s16x2 ? "int16_t" : "uint16_t";
    bool relu = ptx_has(e, "relu");

    ptx_statement(e, "{ uint32_t pa = %s, pb = %s; %s lo, hi, x, y;", a, b, ctype);
    ptx_statement(e, "x = (%s)pa; y = (%s)pb; lo = (%s)(%s);", ctype, ctype, ctype, operation);
    ptx_statement(e, "x = (%s)(pa >> 16); y = (%s)(pb >> 16); hi = (%s)(%s);", ctype, ctype, ctype,
                  operation);
    if (relu)
        ptx_statement(e, "lo = lo > 0 ? lo : 0; hi = hi > 0 ? hi : 0;");
    ptx_out(e, 0, type, "((uint32_t)(uint16_t)hi << 16 | (uint16_t)lo)");
    ptx_statement(e, "}");
}

void ptx_emit_add(struct ptx_emit *e)
{
    bool subtract = strcmp(e->insn->opcode, "sub") == 0;
    enum ptx_type type;

    /* add.cc is the first of a chain of carries. */
    if (ptx_has(e, "cc")) {
        ptx_emit_add_carry(e);
        return;
    }
    ptx_want_operands(e, 3, 3);
    type = ptx_want_type_of(e, "usfhxy");
    if (type == PTX_f32x2) {
        ptx_emit_float_pair(e, e->insn->opcode, 2);
    } else if (ptx_type_class(type) == 'f' || is_half(type)) {
        ptx_emit_float_add(e, type);
    } else if (ptx_type_class(type) == 'x') {
        emit_packed(e, type, "x + y");
    } else if (ptx_has(e, "sat")) {
        if (type != PTX_s32)
            ptx_insn_fail(e, ".sat wants .s32");
        ptx_out(e, 0, type, "ptx_sat_s32((int64_t)%s %c %s)", ptx_in(e, 1, type),
                subtract ? '-' : '+', ptx_in(e, 2, type));
    } else {
        ptx_out(e, 0, type, "%s %c %s", ptx_in(e, 1, type), subtract ? '-' : '+',
                ptx_in(e, 2, type));
    }
}

/* add.cc, addc, addc.cc, sub.cc, subc, subc.cc: the carry is a local of the function. */
void ptx_emit_add_carry(struct ptx_emit *e)
{
    const char *opcode = e->insn->opcode;
    bool subtract = strncmp(opcode, "sub", 3) == 0;
    bool takes = opcode[3] == 'c';
    bool gives = ptx_has(e, "cc");
    enum ptx_type type = ptx_want_type_of(e, "us");
    enum ptx_type utype = ptx_type_bytes(type) == 4 ? PTX_u32 : PTX_u64;
    unsigned bits = 8 * ptx_type_bytes(type);
    const char *a, *b;

    ptx_want_operands(e, 3, 3);
    if (bits < 32)
        ptx_insn_fail(e, "carries want 32 or 64 bits");
    a = ptx_in(e, 1, utype);
    b = ptx_in(e, 2, utype);
    if (subtract)
        b = ptx_text(e, "(%s)~%s", ptx_ctype(utype), b);
    ptx_statement(e, "{ uint32_t c = %s;", takes ? "carry" : subtract ? "1" : "0");
    ptx_statement(e, "uint64_t sum = ptx_add_carry(%s, %s, %u, &c);", a, b, bits);
    if (gives)
        ptx_statement(e, "carry = c;");
    ptx_out(e, 0, utype, "sum");
    ptx_statement(e, "}");
}

static const char *mul_hi(struct ptx_emit *e, enum ptx_type type, const char *a, const char *b)
{
    unsigned bytes = ptx_type_bytes(type);

    if (bytes == 8)
        return ptx_text(e, "ptx_mulhi_%s(%s, %s)", ptx_type_name(type), a, b);
    return ptx_text(e, "((%s)%s * %s >> %u)", ptx_ctype(widened(e, type)), a, b, 8 * bytes);
}

/* The product in the chosen part, as an expression of type *out. */
static const char *product(struct ptx_emit *e, enum ptx_type type, enum ptx_type *out)
{
    const char *a = ptx_in(e, 1, type), *b = ptx_in(e, 2, type);

    *out = type;
    if (ptx_has(e, "wide")) {
        *out = widened(e, type);
        return ptx_text(e, "(%s)%s * %s", ptx_ctype(*out), a, b);
    }
    if (ptx_has(e, "hi"))
        return mul_hi(e, type, a, b);
    if (!ptx_has(e, "lo"))
        ptx_insn_fail(e, "wants .lo, .hi or .wide");
    /* 16 bit operands would be promoted to int, whose product may overflow. */
    if (ptx_type_bytes(type) == 2)
        return ptx_text(e, "(uint32_t)%s * (uint32_t)%s", a, b);
    return ptx_text(e, "%s * %s", a, b);
}

void ptx_emit_mul(struct ptx_emit *e)
{
    enum ptx_type type = ptx_want_type_of(e, "usfhxy"), out;
    const char *value;

    ptx_want_operands(e, 3, 3);
    if (type == PTX_f32x2) {
        ptx_emit_float_pair(e, "mul", 2);
        return;
    }
    if (!is_int(type)) {
        ptx_emit_float_mul(e, type);
        return;
    }
    value = product(e, type, &out);
    ptx_out(e, 0, out, "%s", value);
}

static void emit_mad_carry(struct ptx_emit *e, enum ptx_type type, bool takes, bool gives)
{
    enum ptx_type out, utype = ptx_type_bytes(type) == 4 ? PTX_u32 : PTX_u64;
    const char *value = product(e, type, &out);

    if (out != type || ptx_type_bytes(type) < 4)
        ptx_insn_fail(e, "carries want .lo or .hi of 32 or 64 bits");
    ptx_statement(e, "{ uint32_t c = %s;", takes ? "carry" : "0");
    ptx_statement(e, "uint64_t sum = ptx_add_carry((%s)(%s), %s, %u, &c);", ptx_ctype(utype), value,
                  ptx_in(e, 3, utype), 8 * ptx_type_bytes(type));
    if (gives)
        ptx_statement(e, "carry = c;");
    ptx_out(e, 0, utype, "sum");
    ptx_statement(e, "}");
}

void ptx_emit_mad(struct ptx_emit *e)
{
    bool takes = strcmp(e->insn->opcode, "madc") == 0, gives = ptx_has(e, "cc");
    enum ptx_type type = ptx_want_type_of(e, "usf"), out;
    const char *value;

    ptx_want_operands(e, 4, 4);
    if (ptx_type_class(type) == 'f') {
        ptx_emit_float_fma(e, type);
        return;
    }
    if (takes || gives) {
        emit_mad_carry(e, type, takes, gives);
        return;
    }
    value = product(e, type, &out);
    if (ptx_has(e, "sat")) {
        if (type != PTX_s32 || out != type)
            ptx_insn_fail(e, ".sat wants .hi.s32");
        ptx_out(e, 0, type, "ptx_sat_s32((int64_t)%s + %s)", value, ptx_in(e, 3, type));
    } else {
        ptx_out(e, 0, out, "%s + %s", value, ptx_in(e, 3, out));
    }
}

void ptx_emit_mul24(struct ptx_emit *e)
{
    bool add = strncmp(e->insn->opcode, "mad", 3) == 0;
    enum ptx_type type = ptx_want_type_of(e, "us");
    const char *a, *b, *value;
    bool high = ptx_has(e, "hi");

    ptx_want_operands(e, add ? 4 : 3, add ? 4 : 3);
    if (ptx_type_bytes(type) != 4 || (!high && !ptx_has(e, "lo")))
        ptx_insn_fail(e, "wants .hi or .lo of 32 bits");
    a = ptx_in(e, 1, PTX_u32);
    b = ptx_in(e, 2, PTX_u32);
    if (type == PTX_s32)
        value = ptx_text(e, "(ptx_sext24(%s) * ptx_sext24(%s) >> %d)", a, b, high ? 16 : 0);
    else
        value =
            ptx_text(e, "((uint64_t)(%s & 0xffffff) * (%s & 0xffffff) >> %d)", a, b, high ? 16 : 0);
    if (!add)
        ptx_out(e, 0, type, "%s", value);
    else if (ptx_has(e, "sat"))
        ptx_out(e, 0, type, "ptx_sat_s32((int64_t)(int32_t)%s + %s)", value, ptx_in(e, 3, type));
    else
        ptx_out(e, 0, type, "(%s)%s + %s", ptx_ctype(type), value, ptx_in(e, 3, type));
}

void ptx_emit_div(struct ptx_emit *e)
{
    enum ptx_type type = ptx_want_type_of(e, "usf");

    ptx_want_operands(e, 3, 3);
    if (ptx_type_class(type) == 'f')
        ptx_emit_float_div(e, type);
    else
        ptx_out(e, 0, type, "ptx_%s_%s(%s, %s)", e->insn->opcode, ptx_type_name(type),
                ptx_in(e, 1, type), ptx_in(e, 2, type));
}

void ptx_emit_minmax(struct ptx_emit *e)
{
    enum ptx_type type = ptx_want_type_of(e, "usfhx");
    bool min = strcmp(e->insn->opcode, "min") == 0;

    if (ptx_type_class(type) == 'f' || is_half(type)) {
        ptx_emit_float_minmax(e, type);
        return;
    }
    ptx_want_operands(e, 3, 3);
    if (ptx_type_class(type) == 'x') {
        emit_packed(e, type, min ? "x < y ? x : y" : "x > y ? x : y");
    } else if (ptx_has(e, "relu")) {
        ptx_out(e, 0, type, "ptx_max_s32(ptx_%s_s32(%s, %s), 0)", e->insn->opcode,
                ptx_in(e, 1, PTX_s32), ptx_in(e, 2, PTX_s32));
    } else {
        ptx_out(e, 0, type, "ptx_%s_%s(%s, %s)", e->insn->opcode, ptx_type_name(type),
                ptx_in(e, 1, type), ptx_in(e, 2, type));
    }
}

/* abs and neg */
void ptx_emit_sign(struct ptx_emit *e)
{
    enum ptx_type type = ptx_want_type_of(e, "sfhx");
    const char *a;

    ptx_want_operands(e, 2, 2);
    if (ptx_type_class(type) != 's') {
        ptx_emit_float_sign(e, type);
        return;
    }
    a = ptx_in(e, 1, type);
    if (strcmp(e->insn->opcode, "neg") == 0)
        ptx_out(e, 0, type, "-%s", a);
    else
        ptx_out(e, 0, type, "%s < 0 ? -%s : %s", a, a, a);
}

void ptx_emit_sad(struct ptx_emit *e)
{
    enum ptx_type type = ptx_want_type_of(e, "us");
    const char *a = ptx_in(e, 1, type), *b = ptx_in(e, 2, type);

    ptx_want_operands(e, 4, 4);
    ptx_out(e, 0, type, "%s + (%s < %s ? %s - %s : %s - %s)", ptx_in(e, 3, type), a, b, b, a, a, b);
}

/* and, or, xor, not */
void ptx_emit_logic(struct ptx_emit *e)
{
    const char *opcode = e->insn->opcode;
    enum ptx_type type = ptx_want_type_of(e, "bp");
    char operator= opcode[0] == 'a' ? '&' : opcode[0] == 'o' ? '|' : '^';

    type = ptx_unsigned_of(type);
    if (opcode[0] == 'n') {
        ptx_want_operands(e, 2, 2);
        ptx_out(e, 0, type, "%s%s", type == PTX_pred ? "!" : "~", ptx_in(e, 1, type));
        return;
    }
    ptx_want_operands(e, 3, 3);
    ptx_out(e, 0, type, "%s %c %s", ptx_in(e, 1, type), operator, ptx_in(e, 2, type));
}

void ptx_emit_cnot(struct ptx_emit *e)
{
    enum ptx_type type = ptx_unsigned_of(ptx_want_type_of(e, "b"));

    ptx_want_operands(e, 2, 2);
    ptx_out(e, 0, type, "%s == 0", ptx_in(e, 1, type));
}

void ptx_emit_lop3(struct ptx_emit *e)
{
    bool reduce = ptx_has(e, "or") || ptx_has(e, "and");
    bool is_and = reduce && ptx_has(e, "and");
    struct ptx_operand *d = &e->insn->operands[0];
    const char *value;

    if (ptx_want_type(e) != PTX_b32)
        ptx_insn_fail(e, "wants .b32");
    ptx_want_operands(e, 5, 6);
    value = ptx_text(e, "ptx_lop3(%s, %s, %s, %s)", ptx_in(e, 1, PTX_u32), ptx_in(e, 2, PTX_u32),
                     ptx_in(e, 3, PTX_u32), ptx_in(e, 4, PTX_u32));
    if (!reduce) {
        ptx_out(e, 0, PTX_u32, "%s", value);
        return;
    }
    if (!d->pair || e->insn->operand_count != 6)
        ptx_insn_fail(e, "wants d|p and a predicate");
    ptx_statement(e, "{ uint32_t all = %s;", value);
    ptx_out_raw(e, d->pair, PTX_pred, "(all != 0) %c %s", is_and ? '&' : '|',
                ptx_in(e, 5, PTX_pred));
    ptx_out(e, 0, PTX_u32, "all");
    ptx_statement(e, "}");
}

void ptx_emit_shift(struct ptx_emit *e)
{
    bool left = strcmp(e->insn->opcode, "shl") == 0;
    enum ptx_type type = ptx_want_type_of(e, "bus");
    unsigned bits = 8 * ptx_type_bytes(type);
    const char *a, *n;

    ptx_want_operands(e, 3, 3);
    if (bits == 8 || bits == 128)
        ptx_insn_fail(e, "not defined for this size");
    type = ptx_unsigned_of(type);
    a = ptx_in(e, 1, type);
    n = ptx_in(e, 2, PTX_u32);
    if (left)
        ptx_out(e, 0, type, "ptx_shl%u(%s, %s)", bits, a, n);
    else
        ptx_out(e, 0, type, "ptx_shr_%c%u(%s, %s)", ptx_type_class(type), bits, a, n);
}

void ptx_emit_shf(struct ptx_emit *e)
{
    bool left = ptx_has(e, "l");
    bool wrap = ptx_has(e, "wrap");

    if ((!left && !ptx_has(e, "r")) || (!wrap && !ptx_has(e, "clamp")) ||
        ptx_want_type(e) != PTX_b32)
        ptx_insn_fail(e, "wants .l or .r, .clamp or .wrap, .b32");
    ptx_want_operands(e, 4, 4);
    ptx_out(e, 0, PTX_u32, "ptx_shf(%s, %s, %s, %d, %d)", ptx_in(e, 1, PTX_u32),
            ptx_in(e, 2, PTX_u32), ptx_in(e, 3, PTX_u32), left, wrap);
}

/* popc and clz */
void ptx_emit_count(struct ptx_emit *e)
{
    enum ptx_type type = ptx_unsigned_of(ptx_want_type_of(e, "b"));
    unsigned bits = 8 * ptx_type_bytes(type);
    const char *a = ptx_in(e, 1, type);

    ptx_want_operands(e, 2, 2);
    if (bits < 32 || bits > 64)
        ptx_insn_fail(e, "wants .b32 or .b64");
    if (e->insn->opcode[0] == 'p')
        ptx_out(e, 0, PTX_u32, "__builtin_popcountll(%s)", a);
    else
        ptx_out(e, 0, PTX_u32, "ptx_clz%u(%s)", bits, a);
}

void ptx_emit_brev(struct ptx_emit *e)
{
    enum ptx_type type = ptx_unsigned_of(ptx_want_type_of(e, "b"));

    ptx_want_operands(e, 2, 2);
    if (ptx_type_bytes(type) < 4 || ptx_type_bytes(type) > 8)
        ptx_insn_fail(e, "wants .b32 or .b64");
    ptx_out(e, 0, type, "ptx_brev%u(%s)", 8 * ptx_type_bytes(type), ptx_in(e, 1, type));
}

void ptx_emit_bfind(struct ptx_emit *e)
{
    bool shift_amount = ptx_has(e, "shiftamt");
    enum ptx_type type = ptx_want_type_of(e, "us");

    ptx_want_operands(e, 2, 2);
    ptx_out(e, 0, PTX_u32, "ptx_bfind((uint64_t)%s, %u, %d, %d)", ptx_in(e, 1, type),
            8 * ptx_type_bytes(type), ptx_type_class(type) == 's', shift_amount);
}

void ptx_emit_bfe(struct ptx_emit *e)
{
    enum ptx_type type = ptx_want_type_of(e, "us");
    enum ptx_type utype = ptx_type_bytes(type) == 4 ? PTX_u32 : PTX_u64;

    ptx_want_operands(e, 4, 4);
    ptx_out(e, 0, utype, "ptx_bfe(%s, %s, %s, %u, %d)", ptx_in(e, 1, utype), ptx_in(e, 2, PTX_u32),
            ptx_in(e, 3, PTX_u32), 8 * ptx_type_bytes(type), ptx_type_class(type) == 's');
}

void ptx_emit_bfi(struct ptx_emit *e)
{
    enum ptx_type type = ptx_unsigned_of(ptx_want_type_of(e, "b"));

    ptx_want_operands(e, 5, 5);
    ptx_out(e, 0, type, "ptx_bfi(%s, %s, %s, %s, %u)", ptx_in(e, 1, type), ptx_in(e, 2, type),
            ptx_in(e, 3, PTX_u32), ptx_in(e, 4, PTX_u32), 8 * ptx_type_bytes(type));
}

void ptx_emit_fns(struct ptx_emit *e)
{
    if (ptx_want_type(e) != PTX_b32)
        ptx_insn_fail(e, "wants .b32");
    ptx_want_operands(e, 4, 4);
    ptx_out(e, 0, PTX_u32, "ptx_fns(%s, %s, %s)", ptx_in(e, 1, PTX_u32), ptx_in(e, 2, PTX_u32),
            ptx_in(e, 3, PTX_s32));
}

void ptx_emit_bmsk(struct ptx_emit *e)
{
    bool wrap = ptx_has(e, "wrap");

    if ((!wrap && !ptx_has(e, "clamp")) || ptx_want_type(e) != PTX_b32)
        ptx_insn_fail(e, "wants .clamp or .wrap, .b32");
    ptx_want_operands(e, 3, 3);
    ptx_out(e, 0, PTX_u32, "ptx_bmsk(%s, %s, %d)", ptx_in(e, 1, PTX_u32), ptx_in(e, 2, PTX_u32),
            wrap);
}

void ptx_emit_szext(struct ptx_emit *e)
{
    bool wrap = ptx_has(e, "wrap");
    enum ptx_type type;

    if (!wrap && !ptx_has(e, "clamp"))
        ptx_insn_fail(e, "wants .clamp or .wrap");
    type = ptx_want_type_of(e, "us");
    ptx_want_operands(e, 3, 3);
    ptx_out(e, 0, PTX_u32, "ptx_szext(%s, %s, %d, %d)", ptx_in(e, 1, PTX_u32),
            ptx_in(e, 2, PTX_u32), ptx_type_class(type) == 's', wrap);
}

void ptx_emit_prmt(struct ptx_emit *e)
{
    static const char *const modes[] = {"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"};
    int mode = 0;

    for (int i = 0; i < 6; i++)
        if (ptx_has(e, modes[i]))
            mode = i + 1;
    if (ptx_want_type(e) != PTX_b32)
        ptx_insn_fail(e, "wants .b32");
    ptx_want_operands(e, 4, 4);
    ptx_out(e, 0, PTX_u32, "ptx_prmt(%s, %s, %s, %d)", ptx_in(e, 1, PTX_u32), ptx_in(e, 2, PTX_u32),
            ptx_in(e, 3, PTX_u32), mode);
}

/* dp4a.atype.btype and dp2a.mode.atype.btype */
void ptx_emit_dot(struct ptx_emit *e)
{
    bool two = e->insn->opcode[2] == '2', high = two && ptx_has(e, "hi");
    enum ptx_type a, b;

    if (two && !high && !ptx_has(e, "lo"))
        ptx_insn_fail(e, "wants .lo or .hi");
    a = ptx_want_type_of(e, "us");
    b = ptx_want_type_of(e, "us");
    ptx_want_operands(e, 4, 4);
    ptx_out(e, 0, PTX_u32, "ptx_%s(%s, %s, %s, %d, %d%s)", e->insn->opcode, ptx_in(e, 1, PTX_u32),
            ptx_in(e, 2, PTX_u32), ptx_in(e, 3, PTX_u32), ptx_type_class(a) == 's',
            ptx_type_class(b) == 's', two ? high ? ", 1" : ", 0" : "");
}

/* vabsdiff2 and vabsdiff4 .dtype.atype.btype{.add}: of all parts of the operands, as they stand. */
void ptx_emit_absolute_differences(struct ptx_emit *e)
{
    bool sum = ptx_has(e, "add");
    enum ptx_type types[3];

    for (int i = 0; i < 3; i++) {
        types[i] = ptx_want_type(e);
        if (types[i] != PTX_u32 && types[i] != PTX_s32)
            ptx_insn_fail(e, "wants .u32 or .s32");
    }
    ptx_want_operands(e, 4, 4);
    ptx_out(e, 0, PTX_u32, "ptx_vabsdiff(%s, %s, %s, %s, %d, %d, %d)", ptx_in(e, 1, PTX_u32),
            ptx_in(e, 2, PTX_u32), sum ? ptx_in(e, 3, PTX_u32) : "0",
            e->insn->opcode[8] == '2' ? "16" : "8", types[1] == PTX_s32, types[2] == PTX_s32, sum);
}
