/* ptx_emit_move.c - moves, comparisons, selections and address conversions. */
#include "ptx_emit.h"

#include <string.h>

/* mov.b64 d, {a, b}: the first element is the lowest. */
static void emit_pack(struct ptx_emit *e, enum ptx_type type)
{
    struct ptx_operand *from = &e->insn->operands[1];
    enum ptx_type part = PTX_TYPE_NONE;
    const char *value = NULL;

    for (enum ptx_type t = PTX_b8; t <= PTX_b64; t++)
        if (from->count && ptx_type_bytes(t) * from->count == ptx_type_bytes(type))
            part = t;
    if (!part)
        ptx_insn_fail(e, "the parts do not make up .%s", ptx_type_name(type));
    for (unsigned i = 0; i < from->count; i++) {
        const char *item =
            ptx_text(e, "(%s)%s << %u", ptx_ctype(type), ptx_in_op(e, &from->items[i], part),
                     8 * ptx_type_bytes(part) * i);

        value = value ? ptx_text(e, "%s | %s", value, item) : item;
    }
    ptx_out_raw(e, &e->insn->operands[0], type, "%s", value);
}

static void emit_unpack(struct ptx_emit *e, enum ptx_type type)
{
    struct ptx_operand *to = &e->insn->operands[0];
    enum ptx_type part = PTX_TYPE_NONE;

    for (enum ptx_type t = PTX_b8; t <= PTX_b64; t++)
        if (to->count && ptx_type_bytes(t) * to->count == ptx_type_bytes(type))
            part = t;
    if (!part)
        ptx_insn_fail(e, "the parts do not make up .%s", ptx_type_name(type));
    ptx_statement(e, "{ %s whole = %s;", ptx_ctype(type), ptx_in(e, 1, type));
    for (unsigned i = 0; i < to->count; i++)
        ptx_out_raw(e, &to->items[i], part, "whole >> %u", 8 * ptx_type_bytes(part) * i);
    ptx_statement(e, "}");
}

void ptx_emit_mov(struct ptx_emit *e)
{
    struct ptx_operand *to = &e->insn->operands[0], *from = &e->insn->operands[1];
    enum ptx_type type = ptx_want_type_of(e, "busfhxp");

    ptx_want_operands(e, 2, 2);
    if (to->kind == PTX_OPERAND_VEC)
        emit_unpack(e, ptx_bits_of(type));
    else if (from->kind == PTX_OPERAND_VEC)
        emit_pack(e, ptx_bits_of(type));
    else
        ptx_out_like(e, to, type, ptx_in_like(e, from, type, to));
}

void ptx_emit_selp(struct ptx_emit *e)
{
    struct ptx_operand *op = e->insn->operands;
    enum ptx_type type = ptx_want_type_of(e, "busfhx");

    ptx_want_operands(e, 4, 4);
    ptx_out_like(e, &op[0], type,
                 ptx_text(e, "(%s ? %s : %s)", ptx_in(e, 3, PTX_pred),
                          ptx_in_like(e, &op[1], type, &op[0]),
                          ptx_in_like(e, &op[2], type, &op[0])));
}

/* slct: a where c is at least zero, else b (also for a NaN). */
void ptx_emit_slct(struct ptx_emit *e)
{
    bool ftz = ptx_has(e, "ftz");
    struct ptx_operand *op = e->insn->operands;
    enum ptx_type type = ptx_want_type_of(e, "busf"), by = ptx_want_type(e);
    const char *c;

    ptx_want_operands(e, 4, 4);
    if (by != PTX_s32 && by != PTX_f32)
        ptx_insn_fail(e, "wants .s32 or .f32");
    c = ptx_in(e, 3, by);
    if (ftz)
        c = ptx_text(e, "ptx_ftz(%s)", c);
    ptx_out_like(e, &op[0], type,
                 ptx_text(e, "(%s >= 0 ? %s : %s)", c, ptx_in_like(e, &op[1], type, &op[0]),
                          ptx_in_like(e, &op[2], type, &op[0])));
}

struct comparison {
    const char *name;
    const char *c;     /* operator of C; NULL: num and nan */
    const char *types; /* classes that have it */
    bool unordered;    /* true when an operand is a NaN */
};

static const struct comparison g_comparisons[] = {
    {"eq", "==", "busfhx", false}, {"ne", "!=", "busfhx", false}, {"lt", "<", "usfhx", false},
    {"le", "<=", "usfhx", false},  {"gt", ">", "usfhx", false},   {"ge", ">=", "usfhx", false},
    {"lo", "<", "u", false},       {"ls", "<=", "u", false},      {"hi", ">", "u", false},
    {"hs", ">=", "u", false},      {"equ", "==", "fhx", true},    {"neu", "!=", "fhx", true},
    {"ltu", "<", "fhx", true},     {"leu", "<=", "fhx", true},    {"gtu", ">", "fhx", true},
    {"geu", ">=", "fhx", true},    {"num", NULL, "fhx", false},   {"nan", NULL, "fhx", true},
};

static const char *take_comparison(struct ptx_emit *e)
{
    for (size_t i = 0; i < sizeof(g_comparisons) / sizeof(g_comparisons[0]); i++)
        if (ptx_has(e, g_comparisons[i].name))
            return g_comparisons[i].name;
    ptx_insn_fail(e, "wants a comparison");
}

const char *ptx_compare(struct ptx_emit *e, enum ptx_type type, const char *a, const char *b,
                        const char *op, bool ftz)
{
    const struct comparison *c = g_comparisons;
    char class = ptx_type_class(type);

    while (strcmp(c->name, op) != 0)
        c++;
    if (!strchr(c->types, class))
        ptx_insn_fail(e, ".%s is not defined for .%s", op, ptx_type_name(type));
    if (class == 'b' || class == 'u' || class == 's')
        return ptx_text(e, "(%s %s %s)", a, c->c, b);
    if (class == 'h') {
        const char *name = ptx_type_name(type), *flush = ftz ? ptx_text(e, "ptx_ftz_%s", name) : "";

        a = ptx_text(e, "ptx_from_%s(%s(%s))", name, flush, a);
        b = ptx_text(e, "ptx_from_%s(%s(%s))", name, flush, b);
    } else if (ftz) {
        a = ptx_text(e, "ptx_ftz(%s)", a);
        b = ptx_text(e, "ptx_ftz(%s)", b);
    }
    if (!c->c)
        return ptx_text(e, "(%s__builtin_isunordered(%s, %s))", c->unordered ? "" : "!", a, b);
    /* != is the one operator of C that a NaN makes true. */
    if (strcmp(c->name, "ne") == 0)
        return ptx_text(e, "__builtin_islessgreater(%s, %s)", a, b);
    if (!c->unordered || strcmp(c->name, "neu") == 0)
        return ptx_text(e, "(%s %s %s)", a, c->c, b);
    return ptx_text(e, "(__builtin_isunordered(%s, %s) || %s %s %s)", a, b, a, c->c, b);
}

/* and, or, xor with a predicate c; c is the operand at that position. */
static const char *combine(struct ptx_emit *e, const char *value, unsigned at)
{
    char operator= ptx_has(e, "and") ? '&' : ptx_has(e, "or") ? '|' : ptx_has(e, "xor") ? '^' : 0;

    if (!operator)
        return value;
    if (e->insn->operand_count <= at)
        ptx_insn_fail(e, "wants a predicate to combine with");
    return ptx_text(e, "(!!%s %c %s)", value, operator, ptx_in(e, at, PTX_pred));
}

/* setp.f16x2 p|q: one result for each half. */
static void emit_setp_two(struct ptx_emit *e, enum ptx_type type, const char *op, bool ftz)
{
    enum ptx_type half = type == PTX_f16x2 ? PTX_f16 : PTX_bf16;
    struct ptx_operand *d = &e->insn->operands[0];

    if (!d->pair)
        ptx_insn_fail(e, "wants p|q");
    ptx_statement(e, "{ uint32_t ca = %s, cb = %s; int lo, hi;", ptx_in(e, 1, type),
                  ptx_in(e, 2, type));
    ptx_statement(e, "lo = %s;",
                  combine(e, ptx_compare(e, half, "(uint16_t)ca", "(uint16_t)cb", op, ftz), 3));
    ptx_statement(
        e, "hi = %s;",
        combine(e, ptx_compare(e, half, "(uint16_t)(ca >> 16)", "(uint16_t)(cb >> 16)", op, ftz),
                3));
    ptx_out_raw(e, d, PTX_pred, "lo");
    ptx_out_raw(e, d->pair, PTX_pred, "hi");
    ptx_statement(e, "}");
}

void ptx_emit_setp(struct ptx_emit *e)
{
    const char *op = take_comparison(e), *value;
    bool ftz = ptx_has(e, "ftz");
    enum ptx_type type = ptx_unsigned_of(ptx_want_type_of(e, "busfhx"));
    struct ptx_operand *d = &e->insn->operands[0];

    ptx_want_operands(e, 3, 4);
    if (ptx_type_class(type) == 'x') {
        emit_setp_two(e, type, op, ftz);
        return;
    }
    value = ptx_compare(e, type, ptx_in(e, 1, type), ptx_in(e, 2, type), op, ftz);
    if (!d->pair) {
        ptx_out_raw(e, d, PTX_pred, "%s", combine(e, value, 3));
        return;
    }
    ptx_statement(e, "{ int yes = %s, p = %s, q = %s;", value, combine(e, "yes", 3),
                  combine(e, "(!yes)", 3));
    ptx_out_raw(e, d, PTX_pred, "p");
    ptx_out_raw(e, d->pair, PTX_pred, "q");
    ptx_statement(e, "}");
}

/* set.f16x2.f16x2 and set.u32.f16x2's kin: both halves. */
static void emit_set_two(struct ptx_emit *e, enum ptx_type to, enum ptx_type type, const char *op,
                         bool ftz)
{
    enum ptx_type half = type == PTX_f16x2 ? PTX_f16 : PTX_bf16;
    const char *one = to == PTX_f16x2 ? "0x3c00" : to == PTX_bf16x2 ? "0x3f80" : "0xffff";

    ptx_statement(e, "{ uint32_t ca = %s, cb = %s; uint16_t lo, hi;", ptx_in(e, 1, type),
                  ptx_in(e, 2, type));
    ptx_statement(e, "lo = %s ? %s : 0;",
                  combine(e, ptx_compare(e, half, "(uint16_t)ca", "(uint16_t)cb", op, ftz), 3),
                  one);
    ptx_statement(
        e, "hi = %s ? %s : 0;",
        combine(e, ptx_compare(e, half, "(uint16_t)(ca >> 16)", "(uint16_t)(cb >> 16)", op, ftz),
                3),
        one);
    ptx_out_raw(e, &e->insn->operands[0], ptx_bits_of(to), "ptx_pack2(lo, hi)");
    ptx_statement(e, "}");
}

void ptx_emit_set(struct ptx_emit *e)
{
    const char *op = take_comparison(e), *value, *one;
    bool ftz = ptx_has(e, "ftz");
    enum ptx_type to = ptx_want_type_of(e, "usfhx");
    enum ptx_type type = ptx_unsigned_of(ptx_want_type_of(e, "busfhx"));

    ptx_want_operands(e, 3, 4);
    if (ptx_type_class(type) == 'x') {
        emit_set_two(e, to, type, op, ftz);
        return;
    }
    value = combine(e, ptx_compare(e, type, ptx_in(e, 1, type), ptx_in(e, 2, type), op, ftz), 3);
    one = to == PTX_f32    ? "0x3f800000u"
          : to == PTX_f16  ? "0x3c00"
          : to == PTX_bf16 ? "0x3f80"
                           : "-1";
    if (to == PTX_f64 || ptx_type_class(to) == 'x')
        ptx_insn_fail(e, "not defined for .%s", ptx_type_name(to));
    ptx_out_raw(e, &e->insn->operands[0], ptx_unsigned_of(ptx_bits_of(to)), "%s ? (%s)%s : 0",
                value, ptx_ctype(ptx_bits_of(to)), one);
}

/* The window that a space is seen through by generic addresses; NULL for global memory. */
static const char *take_window(struct ptx_emit *e, bool *is_global)
{
    *is_global = false;
    if (ptx_has(e, "shared") || ptx_has(e, "shared::cta") || ptx_has(e, "shared::cluster"))
        return "PTX_SHARED_WINDOW";
    if (ptx_has(e, "local"))
        return "PTX_LOCAL_WINDOW";
    if (ptx_has(e, "param") || ptx_has(e, "param::entry"))
        return "PTX_PARAM_WINDOW";
    *is_global = ptx_has(e, "global") || ptx_has(e, "const");
    if (!*is_global)
        ptx_insn_fail(e, "wants a state space");
    return NULL;
}

void ptx_emit_cvta(struct ptx_emit *e)
{
    bool to = ptx_has(e, "to"), is_global;
    const char *window = take_window(e, &is_global), *a;

    ptx_want_operands(e, 2, 2);
    if (ptx_want_type(e) != PTX_u64)
        ptx_insn_fail(e, "wants .u64");
    a = ptx_in(e, 1, PTX_u64);
    if (is_global)
        ptx_out(e, 0, PTX_u64, "%s", a);
    else if (to)
        ptx_out(e, 0, PTX_u64, "%s - %s", a, window);
    else
        ptx_out(e, 0, PTX_u64, "%s + %s", a, window);
}

void ptx_emit_isspacep(struct ptx_emit *e)
{
    bool is_global;
    const char *window = take_window(e, &is_global);

    ptx_want_operands(e, 2, 2);
    ptx_out(e, 0, PTX_pred, "(%s & PTX_WINDOW_MASK) == %s", ptx_in(e, 1, PTX_u64),
            is_global ? "0" : window);
}

/* Special registers: name, bytes, value. */
static const struct {
    const char *name;
    unsigned bytes;
    const char *value;
} g_specials[] = {
    {"%tid.x", 4, "t->tid[0]"},
    {"%tid.y", 4, "t->tid[1]"},
    {"%tid.z", 4, "t->tid[2]"},
    {"%tid.w", 4, "0"},
    {"%ntid.x", 4, "b->block[0]"},
    {"%ntid.y", 4, "b->block[1]"},
    {"%ntid.z", 4, "b->block[2]"},
    {"%ntid.w", 4, "0"},
    {"%ctaid.x", 4, "b->ctaid[0]"},
    {"%ctaid.y", 4, "b->ctaid[1]"},
    {"%ctaid.z", 4, "b->ctaid[2]"},
    {"%ctaid.w", 4, "0"},
    {"%nctaid.x", 4, "b->grid[0]"},
    {"%nctaid.y", 4, "b->grid[1]"},
    {"%nctaid.z", 4, "b->grid[2]"},
    {"%nctaid.w", 4, "0"},
    {"%laneid", 4, "t->lane"},
    {"%warpid", 4, "t->warp"},
    {"%nwarpid", 4, "(b->threads + 31) / 32"},
    {"%smid", 4, "0"},
    {"%nsmid", 4, "1"},
    {"%gridid", 8, "0"},
    {"%lanemask_eq", 4, "1u << t->lane"},
    {"%lanemask_le", 4, "(2u << t->lane) - 1"},
    {"%lanemask_lt", 4, "(1u << t->lane) - 1"},
    {"%lanemask_ge", 4, "~0u << t->lane"},
    {"%lanemask_gt", 4, "~1u << t->lane"},
    {"%clock", 4, "ptx_clock()"},
    {"%clock_hi", 4, "ptx_clock() >> 32"},
    {"%clock64", 8, "ptx_clock()"},
    {"%globaltimer", 8, "ptx_clock()"},
    {"%globaltimer_lo", 4, "ptx_clock()"},
    {"%globaltimer_hi", 4, "ptx_clock() >> 32"},
    {"%dynamic_smem_size", 4, "b->shared_bytes - b->static_shared_bytes"},
    {"%total_smem_size", 4, "b->shared_bytes"},
    {"%aggr_smem_size", 4, "b->shared_bytes"},
    {"%clusterid.x", 4, "b->ctaid[0]"},
    {"%clusterid.y", 4, "b->ctaid[1]"},
    {"%clusterid.z", 4, "b->ctaid[2]"},
    {"%nclusterid.x", 4, "b->grid[0]"},
    {"%nclusterid.y", 4, "b->grid[1]"},
    {"%nclusterid.z", 4, "b->grid[2]"},
    {"%cluster_ctaid.x", 4, "0"},
    {"%cluster_ctaid.y", 4, "0"},
    {"%cluster_ctaid.z", 4, "0"},
    {"%cluster_nctaid.x", 4, "1"},
    {"%cluster_nctaid.y", 4, "1"},
    {"%cluster_nctaid.z", 4, "1"},
    {"%cluster_ctarank", 4, "0"},
    {"%cluster_nctarank", 4, "1"},
    {"%is_explicit_cluster", 1, "0"},
    {"%current_graph_exec", 8, "0"},
};

const char *ptx_special(struct ptx_emit *e, const char *name, unsigned *bytes)
{
    if (strncmp(name, "%envreg", 7) == 0) {
        *bytes = 4;
        return "0";
    }
    for (size_t i = 0; i < sizeof(g_specials) / sizeof(g_specials[0]); i++) {
        if (strcmp(g_specials[i].name, name) == 0) {
            *bytes = g_specials[i].bytes;
            return g_specials[i].value;
        }
    }
    (void)e;
    return NULL;
}
