/* ptx_emit_flow.c - addresses of variables, branches, calls, and giving way to other threads. */
#include "ptx_emit.h"

#include <string.h>

const char *ptx_var_address(struct ptx_emit *e, struct ptx_var *var, uint64_t offset)
{
    unsigned long long at = offset;

    switch (var->space) {
    case PTX_SPACE_GLOBAL:
    case PTX_SPACE_CONST:
        return ptx_text(e, "(global_addr[%u] + 0x%llxu)", var->index, at);
    case PTX_SPACE_SHARED:
        if (e->recording && !e->func->shared_used)
            e->func->shared_used = ptx_alloc(e->unit, e->unit->shared_count);
        if (e->recording)
            e->func->shared_used[var->index] = 1;
        if (e->func->is_entry && e->func->shared_offset)
            return ptx_text(e, "(%uu + 0x%llxu)", e->func->shared_offset[var->index], at);
        return ptx_text(e, "(b->shared_offset[%u] + 0x%llxu)", var->index, at);
    case PTX_SPACE_LOCAL:
        return ptx_text(e, "(local_base + 0x%llxu)", (unsigned long long)(var->offset + at));
    default:
        if (!e->func->is_entry || !var->is_formal)
            ptx_insn_fail(e, "the address of parameter '%s' cannot be taken", var->name);
        return ptx_text(e, "0x%llxu", (unsigned long long)(var->offset + at));
    }
}

const char *ptx_mem_address(struct ptx_emit *e, struct ptx_operand *op)
{
    struct ptx_operand *base = op->base;
    unsigned long long offset = op->value;

    switch (base->kind) {
    case PTX_OPERAND_INT:
        return ptx_text(e, "0x%llxull", offset);
    case PTX_OPERAND_VAR:
        return ptx_text(e, "(uint64_t)%s", ptx_var_address(e, base->var, offset));
    case PTX_OPERAND_REG:
        if (ptx_type_bytes(base->reg->type) == 4)
            return ptx_text(e, "(uint32_t)(%s + 0x%xu)", ptx_in_op(e, base, PTX_u32),
                            (unsigned)offset);
        if (offset == 0)
            return ptx_in_op(e, base, PTX_u64);
        return ptx_text(e, "(%s + 0x%llxull)", ptx_in_op(e, base, PTX_u64), offset);
    default:
        ptx_insn_fail(e, "address has the wrong kind of base");
    }
}

struct ptx_insn *ptx_find_label(struct ptx_emit *e, const char *name)
{
    for (const struct ptx_scope *scope = e->insn->scope; scope; scope = scope->parent)
        for (struct ptx_insn *i = e->func->first; i; i = i->next)
            if (i->label && i->scope == scope && strcmp(i->label, name) == 0)
                return i;
    ptx_insn_fail(e, "unknown label '%s'", name);
}

void ptx_add_target(struct ptx_emit *e, struct ptx_insn *label)
{
    struct ptx_insn *insn = e->insn;

    if (!e->recording)
        return;
    insn->targets = ptx_grow(e->unit, insn->targets, insn->target_count, &e->target_capacity,
                             sizeof(*insn->targets));
    insn->targets[insn->target_count++] = label;
}

static void ends_flow(struct ptx_emit *e)
{
    e->insn->ends_flow = !e->insn->guard;
}

static const char *label_operand(struct ptx_emit *e, unsigned i)
{
    if (i >= e->insn->operand_count || e->insn->operands[i].kind != PTX_OPERAND_NAME)
        ptx_insn_fail(e, "wants a label");
    return e->insn->operands[i].name;
}

void ptx_emit_bra(struct ptx_emit *e)
{
    struct ptx_insn *label = ptx_find_label(e, label_operand(e, 0));

    ptx_has(e, "uni");
    ptx_want_operands(e, 1, 1);
    ptx_add_target(e, label);
    ends_flow(e);
    ptx_statement(e, "goto L%u;", label->label_index);
}

static const struct ptx_table *find_table(struct ptx_emit *e, const char *name)
{
    for (const struct ptx_table *t = e->func->tables; t; t = t->next)
        if (strcmp(t->label, name) == 0)
            return t;
    ptx_insn_fail(e, "unknown table '%s'", name);
}

void ptx_emit_brx(struct ptx_emit *e)
{
    const struct ptx_table *table;

    if (!ptx_has(e, "idx"))
        ptx_insn_fail(e, "wants .idx");
    ptx_has(e, "uni");
    ptx_want_operands(e, 2, 2);
    table = find_table(e, label_operand(e, 1));
    ptx_statement(e, "switch (%s) {", ptx_in(e, 0, PTX_u32));
    for (unsigned i = 0; i < table->count; i++) {
        struct ptx_insn *label = ptx_find_label(e, table->names[i]);

        ptx_add_target(e, label);
        ptx_statement(e, "case %u: goto L%u;", i, label->label_index);
    }
    ptx_statement(e, "default: ptx_fault(run, PTX_FAULT_INVALID_PC, 0); goto fault; }");
    ends_flow(e);
}

void ptx_emit_ret(struct ptx_emit *e)
{
    unsigned i = 0;

    ptx_has(e, "uni");
    ptx_want_operands(e, 0, 0);
    ends_flow(e);
    for (struct ptx_var *v = e->func->results; v; v = v->next, i++) {
        struct ptx_operand op = {.kind = PTX_OPERAND_REG, .reg = v->formal_reg};

        if (v->formal_reg)
            ptx_statement(e, "ptx_store%u(arg[%u], %s);", 8 * ptx_type_bytes(v->formal_reg->type),
                          i, ptx_in_op(e, &op, ptx_bits_of(v->formal_reg->type)));
    }
    ptx_statement(e, "goto out;");
}

void ptx_emit_exit(struct ptx_emit *e)
{
    ptx_want_operands(e, 0, 0);
    ends_flow(e);
    ptx_statement(e, "status = PTX_EXITED; goto out;");
}

/* trap and brkpt */
void ptx_emit_trap(struct ptx_emit *e)
{
    ptx_want_operands(e, 0, 0);
    ends_flow(e);
    ptx_statement(e, "ptx_fault(run, PTX_FAULT_LAUNCH_FAILED, 0); goto fault;");
}

/* Save what lives on and return; the head of the function jumps to the label of this number. */
static void emit_leave(struct ptx_emit *e)
{
    const struct ptx_insn *insn = e->insn;

    ptx_statement(e, "f->pc = %u;", insn->resume);
    for (unsigned i = 0; i < insn->live_count; i++)
        ptx_statement(e, "f->r%u = r%u;", insn->live[i]->index, insn->live[i]->index);
    ptx_statement(e, "run->read_bytes += rd; run->write_bytes += wr; return PTX_SUSPENDED;");
}

void ptx_suspend(struct ptx_emit *e)
{
    if (e->recording)
        e->insn->suspends = true;
    ptx_statement(e, "t->place = %uu << 16 | %u;", e->func->index, e->insn->resume);
    emit_leave(e);
    ptx_statement(e, "resume%u:;", e->insn->resume);
}

void ptx_spin(struct ptx_emit *e)
{
    if (e->recording)
        e->insn->spins = true;
    if (!e->insn->suspends)
        return;
    ptx_statement(e, "if (++t->spins > 64) { t->spins = 0; t->wait = PTX_WAIT_NONE;");
    emit_leave(e);
    ptx_statement(e, "resume%u:; }", e->insn->resume);
}

/* A place for a call's argument or result that is not a .param variable itself. */
static struct ptx_var *synthetic_area(struct ptx_emit *e, struct ptx_operand *op, uint64_t bytes)
{
    struct ptx_func *f = e->func;

    if (!op->var) {
        op->var = ptx_alloc(e->unit, sizeof(*op->var));
        op->var->space = PTX_SPACE_PARAM;
        op->var->align = 16;
        op->var->bytes = bytes;
        op->var->index = f->areas ? f->areas->index + 1 : 0;
        op->var->next = f->areas;
        f->areas = op->var;
    }
    return op->var;
}

static uint64_t formal_bytes(const struct ptx_var *formal, const struct ptx_operand *op)
{
    return formal ? formal->bytes : op->kind == PTX_OPERAND_REG ? ptx_type_bytes(op->reg->type) : 8;
}

static void check_argument(struct ptx_emit *e, const struct ptx_var *formal,
                           const struct ptx_var *actual)
{
    if (formal && actual->bytes < formal->bytes)
        ptx_insn_fail(e, "argument '%s' is smaller than the parameter",
                      actual->name ? actual->name : "?");
}

/* Fill areas from registers and constants. */
static void emit_arguments_in(struct ptx_emit *e, struct ptx_operand *list,
                              const struct ptx_var *formal)
{
    for (unsigned i = 0; list && i < list->count; i++, formal = formal ? formal->next : NULL) {
        struct ptx_operand *op = &list->items[i];
        uint64_t bytes = formal_bytes(formal, op);
        struct ptx_var *area;

        if (op->kind == PTX_OPERAND_VAR)
            continue;
        if (bytes > 8 || (bytes & (bytes - 1)))
            ptx_insn_fail(e, "argument %u is no scalar", i);
        area = synthetic_area(e, op, bytes);
        ptx_statement(e, "ptx_store%u(area%u, %s);", (unsigned)(8 * bytes), area->index,
                      ptx_in_op(e, op,
                                bytes == 1   ? PTX_b8
                                : bytes == 2 ? PTX_b16
                                : bytes == 4 ? PTX_b32
                                             : PTX_b64));
    }
}

static void append_arguments(struct ptx_emit *e, struct ptx_operand *list,
                             const struct ptx_var *formal, bool results)
{
    for (unsigned i = 0; list && i < list->count; i++, formal = formal ? formal->next : NULL) {
        struct ptx_operand *op = &list->items[i];

        if (op->kind != PTX_OPERAND_VAR && results)
            synthetic_area(e, op, formal_bytes(formal, op));
        check_argument(e, formal, op->var);
        if (op->var->is_formal)
            ptx_insn_fail(e, "'%s' cannot be passed on directly", op->var->name);
        ptx_put(e->unit, "area%u, ", op->var->index);
    }
}

static void emit_results_out(struct ptx_emit *e, struct ptx_operand *list)
{
    for (unsigned i = 0; list && i < list->count; i++) {
        struct ptx_operand *op = &list->items[i];

        if (op->kind == PTX_OPERAND_REG)
            ptx_out_raw(e, op, ptx_bits_of(op->reg->type), "ptx_load%u(area%u)",
                        8 * ptx_type_bytes(op->reg->type), op->var->index);
    }
}

struct call {
    struct ptx_operand *results, *target, *params;
    struct ptx_func *callee; /* NULL: indirect */
};

static void take_call(struct ptx_emit *e, struct call *c)
{
    struct ptx_operand *op = e->insn->operands;
    unsigned i = 0, n = e->insn->operand_count;

    *c = (struct call){0};
    if (i < n && op[i].kind == PTX_OPERAND_LIST)
        c->results = &op[i++];
    if (i >= n)
        ptx_insn_fail(e, "wants a function");
    c->target = &op[i++];
    if (i < n && op[i].kind == PTX_OPERAND_LIST)
        c->params = &op[i++];
    if (c->target->kind != PTX_OPERAND_NAME)
        return;
    c->callee = ptx_unit_func(e->unit, c->target->name);
    if (!c->callee)
        ptx_insn_fail(e, "unknown function '%s'", c->target->name);
    if (c->callee->is_entry)
        ptx_insn_fail(e, "'%s' is an entry", c->target->name);
    if ((c->results ? c->results->count : 0) != c->callee->result_count ||
        (c->params ? c->params->count : 0) != c->callee->param_count)
        ptx_insn_fail(e, "'%s' has another number of parameters", c->target->name);
}

static void note_callee(struct ptx_emit *e, struct ptx_func *callee)
{
    struct ptx_func *f = e->func;

    if (!e->recording)
        return;
    if (!callee) {
        f->calls_indirectly = true;
        return;
    }
    f->callees =
        ptx_grow(e->unit, f->callees, f->callee_count, &f->callee_capacity, sizeof(*f->callees));
    f->callees[f->callee_count++] = callee;
}

/* Functions that the driver itself brings: their names are all that PTX has of them. */
static bool is_system(const struct ptx_func *f)
{
    return f && !f->has_body &&
           (strcmp(f->name, "vprintf") == 0 || strcmp(f->name, "__assertfail") == 0);
}

static void emit_invocation(struct ptx_emit *e, const struct call *c)
{
    const char *frame = e->func->suspends ? "(uint8_t *)(f + 1)" : "NULL";

    if (is_system(c->callee)) {
        ptx_statement(e, "int s = ptx_system_%s(t, args);",
                      c->callee->name[0] == 'v' ? "vprintf" : "assertfail");
    } else if (c->callee) {
        ptx_statement(e, "int s = fn%u(t, %s, args);", c->callee->index, frame);
    } else {
        ptx_statement(e, "ptx_thread_fn *to = ptx_function(%s);", ptx_in_op(e, c->target, PTX_u64));
        ptx_statement(e, "if (!to) { ptx_fault(run, PTX_FAULT_INVALID_PC, 0); goto fault; }");
        ptx_statement(e, "int s = to(t, %s, args);", frame);
    }
    if (e->insn->suspends) {
        ptx_statement(e, "if (s == PTX_SUSPENDED) {");
        emit_leave(e);
        ptx_statement(e, "}");
    }
    ptx_statement(e, "if (s != PTX_DONE) { status = s; goto out; }");
}

void ptx_emit_call(struct ptx_emit *e)
{
    const struct ptx_var *results = NULL, *params = NULL;
    struct call c;

    ptx_has(e, "uni");
    take_call(e, &c);
    if (c.callee && !c.callee->has_body && !is_system(c.callee))
        ptx_insn_fail(e, "'%s' is not defined in this module", c.callee->name);
    note_callee(e, c.callee);
    if (c.callee) {
        results = c.callee->results;
        params = c.callee->params;
    }
    emit_arguments_in(e, c.params, params);
    if (e->func->suspends)
        ptx_statement(e, "*(uint32_t *)(f + 1) = 0;");
    if (e->insn->suspends)
        ptx_statement(e, "resume%u:;", e->insn->resume);
    ptx_put(e->unit, "    { uint8_t *args[] = {");
    append_arguments(e, c.results, results, true);
    append_arguments(e, c.params, params, false);
    ptx_put(e->unit, "NULL};\n");
    emit_invocation(e, &c);
    ptx_statement(e, "}");
    emit_results_out(e, c.results);
}
