/* ptx_emit.c - modifiers, operands and results of an instruction, and the table of emitters. */
#include "ptx_emit.h"

#include <stdio.h>
#include <string.h>

void ptx_insn_fail(struct ptx_emit *e, const char *format, ...)
{
    char message[256];
    char name[96];
    int used;
    va_list args;

    used = snprintf(name, sizeof(name), "%s", e->insn->opcode);
    for (unsigned i = 0; i < e->insn->modifier_count && used >= 0 && used < (int)sizeof(name); i++)
        used += snprintf(name + used, sizeof(name) - (size_t)used, ".%s", e->insn->modifiers[i]);
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    ptx_fail(e->unit, e->insn->line, "%s: %s", name, message);
}

bool ptx_has(struct ptx_emit *e, const char *modifier)
{
    for (unsigned i = 0; i < e->insn->modifier_count; i++) {
        if (strcmp(e->insn->modifiers[i], modifier) == 0) {
            e->insn->consumed |= 1u << i;
            return true;
        }
    }
    return false;
}

enum ptx_type ptx_take_type(struct ptx_emit *e)
{
    for (unsigned i = 0; i < e->insn->modifier_count; i++) {
        enum ptx_type type;

        if (e->insn->consumed & 1u << i)
            continue;
        type = ptx_type_find(e->insn->modifiers[i]);
        if (type != PTX_TYPE_NONE) {
            e->insn->consumed |= 1u << i;
            return type;
        }
    }
    return PTX_TYPE_NONE;
}

enum ptx_type ptx_want_type(struct ptx_emit *e)
{
    enum ptx_type type = ptx_take_type(e);

    if (type == PTX_TYPE_NONE)
        ptx_insn_fail(e, "no known type");
    return type;
}

enum ptx_type ptx_want_type_of(struct ptx_emit *e, const char *classes)
{
    enum ptx_type type = ptx_want_type(e);

    if (!strchr(classes, ptx_type_class(type)))
        ptx_insn_fail(e, "not defined for .%s", ptx_type_name(type));
    return type;
}

const char *ptx_take_round(struct ptx_emit *e)
{
    static const char *const modes[][2] = {
        {"rn", "PTX_RN"}, {"rz", "PTX_RZ"}, {"rm", "PTX_RM"}, {"rp", "PTX_RP"}, {"rna", "PTX_RNA"},
    };

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (ptx_has(e, modes[i][0]))
            return modes[i][1];
    return NULL;
}

void ptx_want_operands(struct ptx_emit *e, unsigned least, unsigned most)
{
    if (e->insn->operand_count < least || e->insn->operand_count > most)
        ptx_insn_fail(e, "wrong number of operands");
}

const char *ptx_text(struct ptx_emit *e, const char *format, ...)
{
    char text[1024];
    va_list args;
    int bytes;

    va_start(args, format);
    bytes = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (bytes < 0 || (size_t)bytes >= sizeof(text))
        ptx_insn_fail(e, "expression is too long");
    return ptx_strdup(e->unit, text, (size_t)bytes);
}

void ptx_statement(struct ptx_emit *e, const char *format, ...)
{
    char text[2048];
    va_list args;
    int bytes;

    va_start(args, format);
    bytes = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (bytes < 0 || (size_t)bytes >= sizeof(text))
        ptx_insn_fail(e, "statement is too long");
    ptx_put(e->unit, "    %s\n", text);
}

const char *ptx_ctype(enum ptx_type type)
{
    static const char *const unsigneds[17] = {[1] = "uint8_t",
                                              [2] = "uint16_t",
                                              [4] = "uint32_t",
                                              [8] = "uint64_t",
                                              [16] = "unsigned __int128"};
    static const char *const signeds[9] = {
        [1] = "int8_t", [2] = "int16_t", [4] = "int32_t", [8] = "int64_t"};

    switch (ptx_type_class(type)) {
    case 's':
        return signeds[ptx_type_bytes(type)];
    case 'f':
        return ptx_type_bytes(type) == 4 ? "float" : "double";
    default:
        return unsigneds[ptx_type_bytes(type)];
    }
}

static enum ptx_type hold_type(enum ptx_hold hold)
{
    static const enum ptx_type types[] = {
        [PTX_HOLD_PRED] = PTX_pred, [PTX_HOLD_B8] = PTX_b8,   [PTX_HOLD_B16] = PTX_b16,
        [PTX_HOLD_B32] = PTX_b32,   [PTX_HOLD_B64] = PTX_b64, [PTX_HOLD_B128] = PTX_b128,
        [PTX_HOLD_F32] = PTX_f32,   [PTX_HOLD_F64] = PTX_f64,
    };

    return types[hold];
}

const char *ptx_hold_ctype(enum ptx_hold hold)
{
    return ptx_ctype(hold_type(hold));
}

enum ptx_type ptx_bits_of(enum ptx_type type)
{
    static const enum ptx_type bits[17] = {
        [1] = PTX_b8, [2] = PTX_b16, [4] = PTX_b32, [8] = PTX_b64, [16] = PTX_b128};

    return type == PTX_pred ? PTX_pred : bits[ptx_type_bytes(type)];
}

enum ptx_type ptx_unsigned_of(enum ptx_type type)
{
    static const enum ptx_type bits[9] = {
        [1] = PTX_u8, [2] = PTX_u16, [4] = PTX_u32, [8] = PTX_u64};

    if (ptx_type_class(type) != 'b')
        return type;
    return ptx_type_bytes(type) <= 8 ? bits[ptx_type_bytes(type)] : type;
}

static void add_reg(struct ptx_emit *e, struct ptx_reg ***list, unsigned *count, unsigned *capacity,
                    struct ptx_reg *reg)
{
    *list = ptx_grow(e->unit, *list, *count, capacity, sizeof(**list));
    (*list)[(*count)++] = reg;
}

/* .b types say nothing about how a register is used; they only carry it. */
static void record(struct ptx_emit *e, struct ptx_reg *reg, enum ptx_type type, bool defines)
{
    struct ptx_insn *insn = e->insn;
    char class = ptx_type_class(type);

    if (!e->recording)
        return;
    if (class == 'f')
        reg->float_uses++;
    else if (class != 'b')
        reg->int_uses++;
    if (defines)
        add_reg(e, &insn->defs, &insn->def_count, &e->def_capacity, reg);
    else
        add_reg(e, &insn->uses, &insn->use_count, &e->use_capacity, reg);
}

static void mismatch(struct ptx_emit *e, const struct ptx_reg *reg, enum ptx_type type)
{
    ptx_insn_fail(e, "register '%s' of type .%s does not fit .%s", reg->name,
                  ptx_type_name(reg->type), ptx_type_name(type));
}

static void check_fit(struct ptx_emit *e, const struct ptx_reg *reg, enum ptx_type type)
{
    unsigned have = ptx_type_bytes(reg->type), want = ptx_type_bytes(type);

    if ((reg->type == PTX_pred) != (type == PTX_pred))
        mismatch(e, reg, type);
    if (have != want && (!e->widths_may_differ || have < want || ptx_type_class(type) == 'f'))
        mismatch(e, reg, type);
}

/* The register's value as type. */
static const char *read_reg(struct ptx_emit *e, const struct ptx_reg *reg, enum ptx_type type)
{
    const char *canon = reg->nan_sources == PTX_NAN_ARITHMETIC ? "ptx_canon" : "";
    char class = ptx_type_class(type);
    unsigned r = reg->index;

    check_fit(e, reg, type);
    switch (reg->hold) {
    case PTX_HOLD_PRED:
        return ptx_text(e, "r%u", r);
    case PTX_HOLD_F32:
        if (class == 'f')
            return ptx_text(e, "r%u", r);
        return ptx_text(e, "((%s)ptx_bits32(%s(r%u)))", ptx_ctype(type), canon, r);
    case PTX_HOLD_F64:
        if (class == 'f')
            return ptx_text(e, "r%u", r);
        return ptx_text(e, "((%s)ptx_bits64(r%u))", ptx_ctype(type), r);
    default:
        if (class == 'f')
            return ptx_text(e, "ptx_f%u(r%u)", 8 * ptx_type_bytes(type), r);
        return ptx_text(e, "((%s)r%u)", ptx_ctype(type), r);
    }
}

static const char *constant(struct ptx_emit *e, const struct ptx_operand *op, enum ptx_type type)
{
    char class = ptx_type_class(type);
    unsigned bytes = ptx_type_bytes(type);
    uint64_t bits = op->value;
    double wide;
    float narrow;

    if (op->kind == PTX_OPERAND_INT && class == 'f')
        ptx_insn_fail(e, "integer constant for a floating-point operand");
    if (op->kind == PTX_OPERAND_INT || (op->kind == PTX_OPERAND_F32 && bytes == 4) ||
        (op->kind == PTX_OPERAND_F64 && bytes == 8)) {
        if (bytes < 8)
            bits &= ((uint64_t)1 << (8 * bytes)) - 1;
    } else if (op->kind == PTX_OPERAND_F64 && bytes == 4) {
        memcpy(&wide, &bits, 8);
        narrow = (float)wide;
        bits = 0;
        memcpy(&bits, &narrow, 4);
    } else if (op->kind == PTX_OPERAND_F32 && class == 'f') {
        memcpy(&narrow, &bits, 4);
        wide = narrow;
        memcpy(&bits, &wide, 8);
    } else {
        ptx_insn_fail(e, "floating-point constant does not fit .%s", ptx_type_name(type));
    }
    if (class == 'f')
        return ptx_text(e, "ptx_f%u(0x%llxu)", 8 * bytes, (unsigned long long)bits);
    if (type == PTX_pred)
        return bits ? "1" : "0";
    return ptx_text(e, "((%s)0x%llxu)", ptx_ctype(type), (unsigned long long)bits);
}

/* The address of a function: what an indirect call takes apart again. */
static const char *function_address(struct ptx_emit *e, const char *name)
{
    struct ptx_func *f = ptx_unit_func(e->unit, name);

    if (strcmp(name, "WARP_SZ") == 0)
        return "32";
    if (!f)
        ptx_insn_fail(e, "unknown name '%s'", name);
    return ptx_text(e, "(PTX_CODE_WINDOW + 16u * %u)", f->index);
}

static const char *special(struct ptx_emit *e, const char *name, enum ptx_type type)
{
    unsigned bytes;
    const char *value = ptx_special(e, name, &bytes);

    if (!value)
        ptx_insn_fail(e, "unknown special register '%s'", name);
    return ptx_text(e, "((%s)(%s))", ptx_ctype(type), value);
}

const char *ptx_in_op(struct ptx_emit *e, struct ptx_operand *op, enum ptx_type type)
{
    const char *out;

    switch (op->kind) {
    case PTX_OPERAND_REG:
        record(e, op->reg, type, false);
        out = read_reg(e, op->reg, type);
        break;
    case PTX_OPERAND_INT:
    case PTX_OPERAND_F32:
    case PTX_OPERAND_F64:
        out = constant(e, op, type);
        break;
    case PTX_OPERAND_SPECIAL:
        out = special(e, op->name, type);
        break;
    case PTX_OPERAND_VAR:
        out = ptx_text(e, "((%s)(%s))", ptx_ctype(type), ptx_var_address(e, op->var, op->value));
        break;
    case PTX_OPERAND_NAME:
        out = ptx_text(e, "((%s)%s)", ptx_ctype(type), function_address(e, op->name));
        break;
    default:
        ptx_insn_fail(e, "operand is of the wrong kind");
    }
    return op->negated ? ptx_text(e, "(!%s)", out) : out;
}

const char *ptx_in(struct ptx_emit *e, unsigned i, enum ptx_type type)
{
    return ptx_in_op(e, &e->insn->operands[i], type);
}

/* What a move into a register that is held as a float must be read as. */
static enum ptx_type carried_type(const struct ptx_operand *to, enum ptx_type type)
{
    if (to->kind == PTX_OPERAND_REG && to->reg->hold == PTX_HOLD_F32 && ptx_type_bytes(type) == 4)
        return PTX_f32;
    if (to->kind == PTX_OPERAND_REG && to->reg->hold == PTX_HOLD_F64 && ptx_type_bytes(type) == 8)
        return PTX_f64;
    return ptx_bits_of(type);
}

static void note_copy(struct ptx_emit *e, const struct ptx_operand *to,
                      const struct ptx_operand *from)
{
    struct ptx_copy *copy;

    if (!e->recording || to->kind != PTX_OPERAND_REG)
        return;
    if (from->kind == PTX_OPERAND_F32 && (from->value & 0x7fffffffu) <= 0x7f800000u)
        return;
    if (from->kind != PTX_OPERAND_REG) {
        to->reg->nan_sources |= PTX_NAN_RAW;
        return;
    }
    copy = ptx_alloc(e->unit, sizeof(*copy));
    *copy = (struct ptx_copy){to->reg, from->reg, e->copies};
    e->copies = copy;
}

const char *ptx_in_like(struct ptx_emit *e, struct ptx_operand *op, enum ptx_type type,
                        const struct ptx_operand *to)
{
    enum ptx_type carried = carried_type(to, type);
    const char *out;

    note_copy(e, to, op);
    if (op->kind != PTX_OPERAND_REG) {
        /* Constants are taken as the instruction's type, so that an integer is refused for .f32. */
        out = ptx_in_op(e, op, type);
        if (ptx_type_class(carried) == 'f' && ptx_type_class(type) != 'f')
            return ptx_text(e, "ptx_f%u(%s)", 8 * ptx_type_bytes(type), out);
        if (ptx_type_class(carried) != 'f' && ptx_type_class(type) == 'f')
            return ptx_text(e, "ptx_bits%u(%s)", 8 * ptx_type_bytes(type), out);
        return out;
    }
    record(e, op->reg, ptx_bits_of(type), false);
    out = read_reg(e, op->reg, carried);
    if (carried == PTX_f32 && op->reg->hold == PTX_HOLD_F32 &&
        op->reg->nan_sources == PTX_NAN_ARITHMETIC && to->reg->nan_sources != PTX_NAN_ARITHMETIC)
        out = ptx_text(e, "ptx_canon(%s)", out);
    return op->negated ? ptx_text(e, "(!%s)", out) : out;
}

static void assign(struct ptx_emit *e, const struct ptx_reg *reg, enum ptx_type type,
                   const char *value)
{
    const char *to_bits = "", *ctype = ptx_ctype(type);
    char class = ptx_type_class(type);
    unsigned r = reg->index;

    check_fit(e, reg, type);
    if (reg->hold == PTX_HOLD_PRED) {
        ptx_statement(e, "r%u = (%s) != 0;", r, value);
    } else if (reg->hold == PTX_HOLD_F32 || reg->hold == PTX_HOLD_F64) {
        if (class == 'f')
            ptx_statement(e, "r%u = %s;", r, value);
        else
            ptx_statement(e, "r%u = ptx_f%u(%s);", r, 8 * ptx_type_bytes(type), value);
    } else {
        if (class == 'f')
            to_bits = ptx_type_bytes(type) == 4 ? "ptx_bits32" : "ptx_bits64";
        ptx_statement(e, "r%u = (%s)%s((%s)(%s));", r, ptx_hold_ctype(reg->hold), to_bits, ctype,
                      value);
    }
}

static void put_result(struct ptx_emit *e, struct ptx_operand *op, enum ptx_type type,
                       const char *value, enum ptx_nan_source source)
{
    if (op->kind == PTX_OPERAND_SINK) {
        ptx_statement(e, "(void)(%s);", value);
        return;
    }
    if (op->kind != PTX_OPERAND_REG || op->negated)
        ptx_insn_fail(e, "destination is not a register");
    record(e, op->reg, type, true);
    if (e->recording && source)
        op->reg->nan_sources |= source;
    if (type == PTX_f32 && source == PTX_NAN_ARITHMETIC &&
        (op->reg->hold != PTX_HOLD_F32 || op->reg->nan_sources != PTX_NAN_ARITHMETIC))
        value = ptx_text(e, "ptx_canon(%s)", value);
    assign(e, op->reg, type, value);
}

#define FORMAT_VALUE(value, format)                                                                \
    do {                                                                                           \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        if (vsnprintf(value, sizeof(value), format, args) >= (int)sizeof(value))                   \
            ptx_insn_fail(e, "expression is too long");                                            \
        va_end(args);                                                                              \
    } while (0)

void ptx_out(struct ptx_emit *e, unsigned i, enum ptx_type type, const char *format, ...)
{
    char value[1024];

    FORMAT_VALUE(value, format);
    put_result(e, &e->insn->operands[i], type, value,
               type == PTX_f32 ? PTX_NAN_ARITHMETIC : PTX_NAN_RAW);
}

void ptx_out_raw(struct ptx_emit *e, struct ptx_operand *op, enum ptx_type type, const char *format,
                 ...)
{
    char value[1024];

    FORMAT_VALUE(value, format);
    put_result(e, op, type, value, PTX_NAN_RAW);
}

void ptx_out_like(struct ptx_emit *e, struct ptx_operand *op, enum ptx_type type,
                  const char *expression)
{
    if (op->kind == PTX_OPERAND_REG) {
        record(e, op->reg, ptx_bits_of(type), true);
        assign(e, op->reg, carried_type(op, type), expression);
    } else {
        put_result(e, op, type, expression, 0);
    }
}

static const struct {
    const char *opcode;
    void (*emit)(struct ptx_emit *e);
} g_emitters[] = {
#define X(opcode, emitter) {#opcode, ptx_emit_##emitter},
    PTX_INSTRUCTIONS(X)
#undef X
};

static void unknown(struct ptx_emit *e)
{
    char name[128];
    int used = snprintf(name, sizeof(name), "%s", e->insn->opcode);

    for (unsigned i = 0; i < e->insn->modifier_count && used < (int)sizeof(name); i++)
        used += snprintf(name + used, sizeof(name) - (size_t)used, ".%s", e->insn->modifiers[i]);
    ptx_fail(e->unit, e->insn->line, "unknown instruction '%s'", name);
}

static void dispatch(struct ptx_emit *e)
{
    size_t low = 0, high = sizeof(g_emitters) / sizeof(g_emitters[0]);

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(e->insn->opcode, g_emitters[middle].opcode);

        if (order == 0) {
            g_emitters[middle].emit(e);
            return;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    unknown(e);
}

void ptx_emit_insn(struct ptx_emit *e, struct ptx_insn *insn)
{
    e->insn = insn;
    e->widths_may_differ = false;
    if (!insn->opcode) {
        ptx_put(e->unit, "L%u:;\n", insn->label_index);
        return;
    }
    insn->consumed = 0;
    e->use_capacity = e->def_capacity = e->target_capacity = 0;
    if (insn->guard) {
        record(e, insn->guard, PTX_pred, false);
        ptx_put(e->unit, "    if (%sr%u) {\n", insn->guard_negated ? "!" : "", insn->guard->index);
    }
    dispatch(e);
    if (insn->guard)
        ptx_put(e->unit, "    }\n");
    for (unsigned i = 0; i < insn->modifier_count; i++)
        if (!(insn->consumed & 1u << i))
            ptx_fail(e->unit, insn->line, "%s: unknown modifier '.%s'", insn->opcode,
                     insn->modifiers[i]);
}
