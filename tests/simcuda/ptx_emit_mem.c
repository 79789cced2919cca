/* ptx_emit_mem.c - loads, stores, atomics, copies and what orders them. */
#include "ptx_emit.h"

#include <string.h>

/* Where a memory operand points, and how to get there. */
struct place {
    enum ptx_space space;
    const char *direct; /* a C pointer that needs no check: parameters by name */
};

enum ptx_space ptx_insn_space(struct ptx_emit *e)
{
    static const struct {
        const char *name;
        enum ptx_space space;
    } spaces[] = {
        {"global", PTX_SPACE_GLOBAL},
        {"const", PTX_SPACE_CONST},
        {"shared", PTX_SPACE_SHARED},
        {"shared::cta", PTX_SPACE_SHARED},
        {"shared::cluster", PTX_SPACE_SHARED},
        {"local", PTX_SPACE_LOCAL},
        {"param", PTX_SPACE_PARAM},
        {"param::entry", PTX_SPACE_PARAM},
        {"param::func", PTX_SPACE_PARAM},
    };

    for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++)
        if (ptx_has(e, spaces[i].name))
            return spaces[i].space;
    return PTX_SPACE_GENERIC;
}

/* Cache levels, scopes and hints order or speed up an access; a simulated one is always coherent.
 */
static void take_hints(struct ptx_emit *e)
{
    static const char *const hints[] = {"ca", "cg",      "cs",  "lu",  "cv",  "nc",      "wb",
                                        "wt", "unified", "cta", "gpu", "sys", "cluster", "weak"};

    for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
        ptx_has(e, hints[i]);
    for (unsigned i = 0; i < e->insn->modifier_count; i++)
        if (strncmp(e->insn->modifiers[i], "L1::", 4) == 0 ||
            strncmp(e->insn->modifiers[i], "L2::", 4) == 0)
            e->insn->consumed |= 1u << i;
}

/* .volatile, .relaxed, .acquire, .release, .mmio: real ordered accesses of the host. */
static bool take_order(struct ptx_emit *e)
{
    static const char *const orders[] = {"volatile", "relaxed", "acquire", "release",
                                         "acq_rel",  "mmio",    "sc"};
    bool ordered = false;

    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
        ordered |= ptx_has(e, orders[i]);
    return ordered;
}

static unsigned take_vector(struct ptx_emit *e)
{
    return ptx_has(e, "v2") ? 2 : ptx_has(e, "v4") ? 4 : ptx_has(e, "v8") ? 8 : 1;
}

/* A parameter that is named lies where the translator put it. */
static const char *direct_param(struct ptx_emit *e, const struct ptx_operand *op, unsigned bytes)
{
    const struct ptx_var *var = op->base->kind == PTX_OPERAND_VAR ? op->base->var : NULL;
    unsigned argument = 0;

    if (!var || var->space != PTX_SPACE_PARAM)
        return NULL;
    if (op->value + op->base->value + bytes > var->bytes)
        ptx_insn_fail(e, "access outside of parameter '%s'", var->name);
    if (!var->is_formal)
        return ptx_text(e, "(area%u + %llu)", var->index, (unsigned long long)op->value);
    if (e->func->is_entry)
        return ptx_text(e, "((uint8_t *)(uintptr_t)params + %llu)",
                        (unsigned long long)(var->offset + op->value));
    argument = var->index;
    for (const struct ptx_var *p = e->func->params; p; p = p->next)
        if (p == var)
            argument += e->func->result_count;
    return ptx_text(e, "(arg[%u] + %llu)", argument, (unsigned long long)op->value);
}

void ptx_place(struct ptx_emit *e, enum ptx_space space, const char *addr, unsigned bytes,
               const char *access)
{
    switch (space) {
    case PTX_SPACE_GENERIC:
        if (access)
            ptx_statement(e, "p = ptx_at_generic(t, %s, %u, %s);", addr, bytes, access);
        else
            ptx_statement(e, "p = ptx_at_generic_atomic(t, %s, %u);", addr, bytes);
        break;
    case PTX_SPACE_GLOBAL:
    case PTX_SPACE_CONST:
        if (access)
            ptx_statement(e, "p = ptx_at_global(run, %s, %u, %s);", addr, bytes, access);
        else
            ptx_statement(e, "p = ptx_at_global_atomic(run, %s, %u);", addr, bytes);
        break;
    case PTX_SPACE_SHARED:
        ptx_statement(e, "p = ptx_at_offset(run, shared, shared_bytes, %s, %u);", addr, bytes);
        break;
    case PTX_SPACE_LOCAL:
        ptx_statement(e, "p = ptx_at_offset(run, t->local, t->local_bytes, %s, %u);", addr, bytes);
        break;
    case PTX_SPACE_PARAM:
        if (!e->func->is_entry)
            ptx_insn_fail(e, "a function's parameters have no addresses");
        ptx_statement(
            e, "p = ptx_at_offset(run, (uint8_t *)(uintptr_t)params, b->param_bytes, %s, %u);",
            addr, bytes);
        break;
    }
    ptx_statement(e, "if (PTX_UNLIKELY(!p)) goto fault;");
}

void ptx_count_bytes(struct ptx_emit *e, enum ptx_space space, const char *addr, unsigned bytes,
                     const char *counter)
{
    if (space == PTX_SPACE_GLOBAL || space == PTX_SPACE_CONST)
        ptx_statement(e, "%s += %u;", counter, bytes);
    else if (space == PTX_SPACE_GENERIC)
        ptx_statement(e, "if (ptx_is_global(%s)) %s += %u;", addr, counter, bytes);
}

struct ptx_operand *ptx_memory_operand(struct ptx_emit *e, unsigned i)
{
    struct ptx_operand *op = &e->insn->operands[i], *base;

    if (i < e->insn->operand_count && op->kind == PTX_OPERAND_VAR) { /* table[3] */
        base = ptx_alloc(e->unit, sizeof(*base));
        *base = *op;
        base->value = 0;
        *op = (struct ptx_operand){.kind = PTX_OPERAND_MEM, .base = base, .value = op->value};
    }
    if (i >= e->insn->operand_count || op->kind != PTX_OPERAND_MEM)
        ptx_insn_fail(e, "wants an address in brackets");
    return op;
}

enum ptx_space ptx_space_of(struct ptx_emit *e, const struct ptx_operand *op, enum ptx_space space)
{
    bool global_like;

    if (op->base->kind != PTX_OPERAND_VAR)
        return space;
    if (space == PTX_SPACE_GENERIC)
        return op->base->var->space;
    global_like =
        (space == PTX_SPACE_GLOBAL || space == PTX_SPACE_CONST) &&
        (op->base->var->space == PTX_SPACE_GLOBAL || op->base->var->space == PTX_SPACE_CONST);
    if (space != op->base->var->space && !global_like)
        ptx_insn_fail(e, "'%s' lies in another state space", op->base->var->name);
    return space;
}

struct vector {
    struct ptx_operand *items;
    unsigned count, bytes; /* bytes of an element */
    enum ptx_type type;
};

static struct vector take_elements(struct ptx_emit *e, unsigned operand)
{
    struct ptx_operand *op = &e->insn->operands[operand];
    struct vector v = {.items = op, .count = take_vector(e)};

    v.type = ptx_want_type_of(e, "busfhx");
    v.bytes = ptx_type_bytes(v.type);
    if (op->kind == PTX_OPERAND_VEC) {
        v.items = op->items;
        if (op->count != v.count)
            ptx_insn_fail(e, "the vector has %u elements", op->count);
    } else if (v.count != 1) {
        ptx_insn_fail(e, "wants a vector operand");
    }
    if (v.count * v.bytes > 32)
        ptx_insn_fail(e, "vector is wider than 32 bytes");
    return v;
}

/* Loads only carry bits; but an integer is extended to its register's width. */
static enum ptx_type loaded_type(const struct ptx_operand *op, enum ptx_type type)
{
    bool extends = op->kind == PTX_OPERAND_REG &&
                   ptx_type_bytes(op->reg->type) > ptx_type_bytes(type) &&
                   strchr("us", ptx_type_class(type));

    return extends ? type : ptx_bits_of(type);
}

static void emit_load_parts(struct ptx_emit *e, const struct vector *v, unsigned first,
                            unsigned last, const char *from, bool ordered)
{
    for (unsigned i = first; i < last; i++) {
        enum ptx_type type = loaded_type(&v->items[i], v->type);

        ptx_out_raw(e, &v->items[i], type, "(%s)ptx_load%s%u(%s + %u)", ptx_ctype(type),
                    ordered && v->bytes <= 8 ? "_ordered" : "", 8 * v->bytes, from,
                    (i - first) * v->bytes);
    }
}

void ptx_emit_ld(struct ptx_emit *e)
{
    enum ptx_space space = ptx_insn_space(e);
    bool ordered = take_order(e);
    struct ptx_operand *op = ptx_memory_operand(e, 1);
    struct vector v;
    const char *direct;
    unsigned total, chunk;

    take_hints(e);
    v = take_elements(e, 0);
    ptx_want_operands(e, 2, 3);
    e->widths_may_differ = true;
    space = ptx_space_of(e, op, space);
    total = v.count * v.bytes;
    chunk = total < 16 ? total : 16;
    direct = space == PTX_SPACE_PARAM ? direct_param(e, op, total) : NULL;
    if (direct) {
        ptx_statement(e, "{ const uint8_t *p = %s;", direct);
        emit_load_parts(e, &v, 0, v.count, "p", false);
        ptx_statement(e, "}");
        return;
    }
    ptx_statement(e, "{ uint8_t *p; uint64_t a = %s;", ptx_mem_address(e, op));
    if (total > 16)
        ptx_statement(e,
                      "if (PTX_UNLIKELY(a & %u)) { ptx_fault(run, PTX_FAULT_MISALIGNED, a); "
                      "goto fault; }",
                      total - 1);
    for (unsigned at = 0; at < total; at += chunk) {
        const char *addr = at ? ptx_text(e, "(a + %u)", at) : "a";

        ptx_place(e, space, addr, chunk, "MMU_READ");
        ptx_count_bytes(e, space, "a", chunk, "rd");
        emit_load_parts(e, &v, at / v.bytes, (at + chunk) / v.bytes, "p", ordered);
    }
    ptx_statement(e, "}");
    if (ordered)
        ptx_spin(e);
}

static void emit_store_parts(struct ptx_emit *e, const struct vector *v, unsigned first,
                             unsigned last, bool ordered)
{
    for (unsigned i = first; i < last; i++)
        ptx_statement(e, "ptx_store%s%u(p + %u, %s);", ordered && v->bytes <= 8 ? "_ordered" : "",
                      8 * v->bytes, (i - first) * v->bytes,
                      ptx_in_op(e, &v->items[i], ptx_bits_of(v->type)));
}

void ptx_emit_st(struct ptx_emit *e)
{
    enum ptx_space space = ptx_insn_space(e);
    bool ordered = take_order(e);
    struct ptx_operand *op = ptx_memory_operand(e, 0);
    struct vector v;
    const char *direct;
    unsigned total, chunk;

    take_hints(e);
    v = take_elements(e, 1);
    ptx_want_operands(e, 2, 3);
    e->widths_may_differ = true;
    space = ptx_space_of(e, op, space);
    if (space == PTX_SPACE_CONST)
        ptx_insn_fail(e, "constant memory cannot be written");
    total = v.count * v.bytes;
    chunk = total < 16 ? total : 16;
    direct = space == PTX_SPACE_PARAM ? direct_param(e, op, total) : NULL;
    if (space == PTX_SPACE_PARAM && (!direct || e->func->is_entry) &&
        !(op->base->kind == PTX_OPERAND_VAR && !op->base->var->is_formal))
        ptx_insn_fail(e, "an entry's parameters cannot be written");
    if (direct) {
        ptx_statement(e, "{ uint8_t *p = %s;", direct);
        emit_store_parts(e, &v, 0, v.count, false);
        ptx_statement(e, "}");
        return;
    }
    ptx_statement(e, "{ uint8_t *p; uint64_t a = %s;", ptx_mem_address(e, op));
    if (total > 16)
        ptx_statement(e,
                      "if (PTX_UNLIKELY(a & %u)) { ptx_fault(run, PTX_FAULT_MISALIGNED, a); "
                      "goto fault; }",
                      total - 1);
    for (unsigned at = 0; at < total; at += chunk) {
        const char *addr = at ? ptx_text(e, "(a + %u)", at) : "a";

        ptx_place(e, space, addr, chunk, "MMU_WRITE");
        ptx_count_bytes(e, space, "a", chunk, "wr");
        emit_store_parts(e, &v, at / v.bytes, (at + chunk) / v.bytes, ordered);
    }
    ptx_statement(e, "}");
}

/* What an atomic makes of `old` and `val` (and `val2` of cas), as an expression. */
static const char *atomic_next(struct ptx_emit *e, const char *op, enum ptx_type type)
{
    const char *ctype = ptx_ctype(type), *name = ptx_type_name(type);
    char class = ptx_type_class(type);
    unsigned bits = 8 * ptx_type_bytes(type);

    if (strcmp(op, "inc") == 0)
        return "old >= val ? 0 : old + 1";
    if (strcmp(op, "dec") == 0)
        return "old == 0 || old > val ? val : old - 1";
    if (strcmp(op, "cas") == 0)
        return "old == val ? val2 : old";
    if (class == 'u' || class == 's')
        return ptx_text(e, "ptx_%s_%s((%s)old, (%s)val)", op, name, ctype, ctype);
    if (type == PTX_f32 && strcmp(op, "add") == 0)
        return "ptx_bits32(ptx_canon(ptx_f32(old) + ptx_f32(val)))";
    if (type == PTX_f64 && strcmp(op, "add") == 0)
        return "ptx_bits64(ptx_f64(old) + ptx_f64(val))";
    if (class == 'f')
        return ptx_text(e, "ptx_bits%u(ptx_%s_%s(ptx_f%u(old), ptx_f%u(val)))", bits, op, name,
                        bits, bits);
    if (class == 'h')
        return ptx_text(e, "ptx_%s_%s(old, val)", op, name);
    name = type == PTX_f16x2 ? "f16" : "bf16";
    return ptx_text(e,
                    "ptx_pack2(ptx_%s_%s((uint16_t)old, (uint16_t)val), "
                    "ptx_%s_%s((uint16_t)(old >> 16), (uint16_t)(val >> 16)))",
                    op, name, op, name);
}

static const char *take_atomic(struct ptx_emit *e)
{
    static const char *const ops[] = {"and", "or",  "xor", "cas", "exch",
                                      "add", "inc", "dec", "min", "max"};

    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        if (ptx_has(e, ops[i]))
            return ops[i];
    ptx_insn_fail(e, "wants an operation");
}

static void check_atomic(struct ptx_emit *e, const char *op, enum ptx_type type)
{
    const char *classes = strchr("aox", op[0]) && strcmp(op, "add") != 0 ? "b"
                          : op[0] == 'e' || op[0] == 'c'                 ? "b"
                          : op[0] == 'i' || op[0] == 'd'                 ? "u"
                                                                         : "usfhx";
    bool narrow =
        ptx_type_bytes(type) == 2 && ptx_type_class(type) != 'h' && strcmp(op, "cas") != 0;

    if (!strchr(classes, ptx_type_class(type)) || type == PTX_u16x2 || type == PTX_s16x2 ||
        narrow || ptx_type_bytes(type) == 1 || ptx_type_bytes(type) == 16)
        ptx_insn_fail(e, "not defined for .%s", ptx_type_name(type));
}

/* The statement that leaves the former value in `old`. */
static void emit_atomic_operation(struct ptx_emit *e, const char *op, enum ptx_type type)
{
    const char *fetch = NULL;
    bool integer = strchr("bus", ptx_type_class(type)) != NULL;

    if (strcmp(op, "exch") == 0)
        fetch = "__atomic_exchange_n";
    else if (integer && strcmp(op, "add") == 0)
        fetch = "__atomic_fetch_add";
    else if (op[0] == 'a' && op[1] == 'n')
        fetch = "__atomic_fetch_and";
    else if (op[0] == 'o')
        fetch = "__atomic_fetch_or";
    else if (op[0] == 'x')
        fetch = "__atomic_fetch_xor";
    if (fetch) {
        ptx_statement(e, "old = %s(at, val, __ATOMIC_SEQ_CST);", fetch);
        return;
    }
    ptx_statement(e, "old = __atomic_load_n(at, __ATOMIC_SEQ_CST);");
    ptx_statement(e, "do next = %s;", atomic_next(e, op, type));
    ptx_statement(e, "while (!__atomic_compare_exchange_n(at, &old, next, 0, __ATOMIC_SEQ_CST, "
                     "__ATOMIC_SEQ_CST));");
}

/* One element: `old` is what lay at `a`. */
static void emit_atomic_element(struct ptx_emit *e, const char *what, enum ptx_type type,
                                enum ptx_space space)
{
    const char *ctype = ptx_ctype(ptx_bits_of(type));
    unsigned bytes = ptx_type_bytes(type);

    ptx_place(e, space, "a", bytes, NULL);
    ptx_count_bytes(e, space, "a", bytes, "rd");
    ptx_count_bytes(e, space, "a", bytes, "wr");
    ptx_statement(e, "{ %s *at = (%s *)p;", ctype, ctype);
    emit_atomic_operation(e, what, type);
    ptx_statement(e, "} (void)next;");
}

/* .v2, .v4 and .v8 of floats: each element is atomic, the vector is not. */
static void emit_vector_atomic(struct ptx_emit *e, unsigned first, unsigned count, const char *what,
                               enum ptx_type type, enum ptx_space space)
{
    struct ptx_operand *op = ptx_memory_operand(e, first), *val = &e->insn->operands[first + 1];
    struct ptx_operand *out = &e->insn->operands[0];
    enum ptx_type bits = ptx_bits_of(type);
    unsigned bytes = ptx_type_bytes(type);

    if (!strchr("fhx", ptx_type_class(type)) || type == PTX_f64 || bytes * count > 16 ||
        space == PTX_SPACE_SHARED)
        ptx_insn_fail(e, "no such vector in this state space");
    if (val->kind != PTX_OPERAND_VEC || val->count != count ||
        (first && (out->kind != PTX_OPERAND_VEC || out->count != count)))
        ptx_insn_fail(e, "wants vectors of %u elements", count);
    ptx_statement(e, "{ uint8_t *p; uint64_t a = %s; %s old, next, val, all[%u];",
                  ptx_mem_address(e, op), ptx_ctype(bits), count);
    for (unsigned i = 0; i < count; i++)
        ptx_statement(e, "all[%u] = %s;", i, ptx_in_op(e, &val->items[i], bits));
    ptx_statement(e,
                  "if (PTX_UNLIKELY(a & %u)) { ptx_fault(run, PTX_FAULT_MISALIGNED, a); "
                  "goto fault; }",
                  bytes * count - 1);
    for (unsigned i = 0; i < count; i++) {
        ptx_statement(e, "val = all[%u];", i);
        emit_atomic_element(e, what, type, space);
        if (first)
            ptx_out_raw(e, &out->items[i], bits, "old");
        ptx_statement(e, "a += %u;", bytes);
    }
    ptx_statement(e, "}");
}

static void emit_atomic(struct ptx_emit *e, unsigned first)
{
    enum ptx_space space = ptx_insn_space(e);
    struct ptx_operand *op = ptx_memory_operand(e, first);
    const char *what = take_atomic(e), *ctype;
    unsigned count = take_vector(e);
    enum ptx_type type, bits;
    bool cas = strcmp(what, "cas") == 0;

    take_order(e);
    take_hints(e);
    ptx_has(e, "noftz");
    type = ptx_want_type_of(e, "busfhx");
    check_atomic(e, what, type);
    ptx_want_operands(e, first + 2, first + 3 + cas);
    space = ptx_space_of(e, op, space);
    if (count > 1) {
        emit_vector_atomic(e, first, count, what, type, space);
        return;
    }
    bits = ptx_bits_of(type);
    ctype = ptx_ctype(bits);
    ptx_statement(e, "{ uint8_t *p; uint64_t a = %s; %s old, next, val = %s;",
                  ptx_mem_address(e, op), ctype, ptx_in(e, first + 1, bits));
    if (cas)
        ptx_statement(e, "%s val2 = %s;", ctype, ptx_in(e, first + 2, bits));
    emit_atomic_element(e, what, type, space);
    if (first)
        ptx_out_raw(e, &e->insn->operands[0], bits, "old");
    ptx_statement(e, "}");
    if (cas || strcmp(what, "exch") == 0)
        ptx_spin(e);
}

void ptx_emit_atom(struct ptx_emit *e)
{
    emit_atomic(e, 1);
}

void ptx_emit_red(struct ptx_emit *e)
{
    /* red.async and the like work on barrier objects, which are not modelled. */
    emit_atomic(e, 0);
}

/* membar and fence */
void ptx_emit_fence(struct ptx_emit *e)
{
    static const char *const known[] = {"cta",   "gl",      "gpu",     "sys",     "cluster",
                                        "sc",    "acq_rel", "acquire", "release", "proxy",
                                        "alias", "async",   "generic", "global",  "async::generic"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        ptx_has(e, known[i]);
    ptx_statement(e, "__atomic_thread_fence(__ATOMIC_SEQ_CST);");
}

/* prefetch: a hint, which may name any address. */
void ptx_emit_prefetch(struct ptx_emit *e)
{
    ptx_insn_space(e);
    take_hints(e);
    for (unsigned i = 0; i < e->insn->modifier_count; i++)
        if (strcmp(e->insn->modifiers[i], "L1") == 0 || strcmp(e->insn->modifiers[i], "L2") == 0 ||
            strcmp(e->insn->modifiers[i], "tensormap") == 0)
            e->insn->consumed |= 1u << i;
    (void)ptx_mem_address(e, ptx_memory_operand(e, 0));
}

/* Hints to the hardware that change nothing a program can see. */
void ptx_emit_hint(struct ptx_emit *e)
{
    e->insn->consumed = ~0u;
}

static unsigned constant_operand(struct ptx_emit *e, unsigned i)
{
    if (i >= e->insn->operand_count || e->insn->operands[i].kind != PTX_OPERAND_INT)
        ptx_insn_fail(e, "wants a constant size");
    return (unsigned)e->insn->operands[i].value;
}

/* cp.async: done at once, so that waiting for it is nothing. */
void ptx_emit_cp_async(struct ptx_emit *e)
{
    unsigned bytes;
    const char *source;

    if (!ptx_has(e, "async"))
        ptx_insn_fail(e, "wants .async");
    if (ptx_has(e, "commit_group") || ptx_has(e, "wait_group") || ptx_has(e, "wait_all"))
        return;
    if (ptx_has(e, "mbarrier")) {
        ptx_emit_copy_arrival(e);
        return;
    }
    if ((!ptx_has(e, "shared") && !ptx_has(e, "shared::cta")) || !ptx_has(e, "global"))
        ptx_insn_fail(e, "wants .shared.global");
    take_hints(e);
    ptx_want_operands(e, 3, 5);
    bytes = constant_operand(e, 2);
    if (bytes != 4 && bytes != 8 && bytes != 16)
        ptx_insn_fail(e, "copies 4, 8 or 16 bytes");
    source = e->insn->operand_count > 3 ? ptx_in(e, 3, PTX_u32) : ptx_text(e, "%u", bytes);
    ptx_statement(e, "{ uint8_t *p, *to; uint64_t a = %s; uint32_t size = %s;",
                  ptx_mem_address(e, ptx_memory_operand(e, 0)), source);
    ptx_place(e, PTX_SPACE_SHARED, "a", bytes, NULL);
    ptx_statement(e, "to = p; memset(to, 0, %u); size = size < %u ? size : %u; if (size) {", bytes,
                  bytes, bytes);
    ptx_place(e, PTX_SPACE_GLOBAL, ptx_mem_address(e, ptx_memory_operand(e, 1)), bytes, "MMU_READ");
    ptx_statement(e, "rd += size; memcpy(to, p, size); } }");
}
