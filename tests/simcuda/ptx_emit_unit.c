/* ptx_emit_unit.c - a whole module as one C file: passes over its functions, their frames, entries.
 */
#include "ptx_flow.h"

#include <string.h>

#include "ptx_device.h"

/* What a chain of calls may need beyond what can be told beforehand: recursion, indirect calls. */
#define RECURSION_FRAME_BYTES 65536
#define RECURSION_LOCAL_BYTES 65536
#define CALL_LOCAL_BYTES      64

static void emit_insns(struct ptx_emit *e)
{
    for (struct ptx_insn *i = e->func->first; i; i = i->next)
        ptx_emit_insn(e, i);
}

static void record(struct ptx_unit *unit, struct ptx_func *func)
{
    struct ptx_emit e = {.unit = unit, .func = func, .recording = true};
    size_t bytes = unit->out.bytes;

    emit_insns(&e);
    unit->out.bytes = bytes;
    ptx_choose_holds(func, e.copies);
    ptx_find_spins(unit, func);
    for (struct ptx_insn *i = func->first; i; i = i->next)
        func->suspends |= i->suspends;
}

static bool any_suspends(const struct ptx_unit *unit)
{
    for (const struct ptx_func *f = unit->funcs; f; f = f->next)
        if (f->suspends && !f->is_entry)
            return true;
    return false;
}

/* A function suspends when it waits itself or calls one that does. */
static void spread_suspensions(struct ptx_unit *unit)
{
    bool changed = true;

    while (changed) {
        changed = false;
        for (struct ptx_func *f = unit->funcs; f; f = f->next) {
            bool suspends = f->suspends || (f->calls_indirectly && any_suspends(unit));

            for (unsigned i = 0; i < f->callee_count; i++)
                suspends |= f->callees[i]->suspends;
            changed |= suspends != f->suspends;
            f->suspends = suspends;
        }
    }
}

static void mark_calls(const struct ptx_unit *unit, struct ptx_func *func)
{
    for (struct ptx_insn *i = func->first; i; i = i->next) {
        const struct ptx_operand *target;
        const struct ptx_func *callee;

        if (!i->opcode || strcmp(i->opcode, "call") != 0)
            continue;
        target = &i->operands[i->operands[0].kind == PTX_OPERAND_LIST];
        callee = target->kind == PTX_OPERAND_NAME
                     ? ptx_unit_func((struct ptx_unit *)unit, target->name)
                     : NULL;
        i->suspends = callee ? callee->suspends : any_suspends(unit);
        i->re_enters = i->suspends;
    }
}

/* A walk over whom a function may call. */
struct walk {
    struct ptx_unit *unit;
    uint8_t *active; /* by function: on the way down */
    uint8_t *seen;
    bool recursive;
};

static void walk_callees(struct walk *walk, struct ptx_func *func,
                         void (*visit)(struct walk *walk, struct ptx_func *callee, void *arg),
                         void *arg)
{
    for (unsigned i = 0; i < func->callee_count; i++)
        visit(walk, func->callees[i], arg);
    if (!func->calls_indirectly)
        return;
    for (struct ptx_func *f = walk->unit->funcs; f; f = f->next)
        if (!f->is_entry && f->has_body)
            visit(walk, f, arg);
}

static void add_shared(struct walk *walk, struct ptx_func *func, void *arg)
{
    uint8_t *used = arg;

    if (walk->seen[func->index])
        return;
    walk->seen[func->index] = 1;
    for (unsigned i = 0; func->shared_used && i < walk->unit->shared_count; i++)
        used[i] |= func->shared_used[i];
    walk_callees(walk, func, add_shared, arg);
}

/* Shared variables that the entry and what it calls name, in order of declaration; the dynamic part
 * begins behind them. */
static void lay_out_shared(struct ptx_unit *unit, struct ptx_func *entry)
{
    struct walk walk = {.unit = unit, .seen = ptx_alloc(unit, unit->func_count + 1)};
    uint8_t *used = ptx_alloc(unit, unit->shared_count + 1);
    uint64_t at = 0;
    uint32_t align = 16;

    entry->shared_offset = ptx_alloc(unit, (unit->shared_count + 1) * sizeof(uint32_t));
    add_shared(&walk, entry, used);
    for (struct ptx_var *v = unit->shareds; v; v = v->next) {
        if (!used[v->index])
            continue;
        if (v->is_extern) {
            align = v->align > align ? v->align : align;
            entry->uses_dynamic_shared = true;
            continue;
        }
        at = (at + v->align - 1) / v->align * v->align;
        entry->shared_offset[v->index] = (uint32_t)at;
        at += v->bytes;
        if (at > 256 * 1024)
            ptx_fail(unit, v->line, "'%s' uses more shared memory than any device has",
                     entry->name);
    }
    if (entry->uses_dynamic_shared)
        at = (at + align - 1) / align * align;
    entry->shared_bytes = (uint32_t)at;
    for (struct ptx_var *v = unit->shareds; v; v = v->next)
        if (v->is_extern)
            entry->shared_offset[v->index] = (uint32_t)at;
}

/* Local memory is what a thread's stack is measured by, so a function that calls others takes some
 * even if it has no variables there: endless recursion ends in a fault, not in the host's stack. */
static uint64_t own_local(const struct ptx_func *func)
{
    uint64_t bytes = (func->local_bytes + 15) & ~(uint64_t)15;
    bool calls = func->callee_count > 0 || func->calls_indirectly;

    return calls && !func->is_entry && bytes < CALL_LOCAL_BYTES ? CALL_LOCAL_BYTES : bytes;
}

/* Each function that may be called once: no less than the deepest chain without recursion. */
static void add_local(struct walk *walk, struct ptx_func *func, void *arg)
{
    uint64_t *total = arg;

    walk->recursive |= walk->active[func->index];
    if (walk->seen[func->index])
        return;
    walk->seen[func->index] = 1;
    walk->active[func->index] = 1;
    *total += own_local(func);
    walk_callees(walk, func, add_local, arg);
    walk->active[func->index] = 0;
}

static void measure_local(struct ptx_unit *unit, struct ptx_func *entry)
{
    struct walk walk = {.unit = unit,
                        .active = ptx_alloc(unit, unit->func_count + 1),
                        .seen = ptx_alloc(unit, unit->func_count + 1)};

    add_local(&walk, entry, &entry->local_need);
    entry->recursive = walk.recursive;
    if (walk.recursive)
        entry->local_need += RECURSION_LOCAL_BYTES;
}

static void emit_frame_type(struct ptx_unit *unit, const struct ptx_func *f)
{
    if (!f->suspends)
        return;
    ptx_put(unit, "struct frame%u {\n    _Alignas(16) uint32_t pc;\n    uint64_t local_base;\n",
            f->index);
    if (f->uses_tile)
        ptx_put(unit, "    _Alignas(16) uint64_t tile[PTX_TILE_WORDS];\n");
    for (const struct ptx_var *v = f->areas; v; v = v->next)
        ptx_put(unit, "    _Alignas(16) uint8_t area%u[%llu];\n", v->index,
                (unsigned long long)(v->bytes ? v->bytes : 1));
    for (unsigned i = 0; i < f->reg_count; i++)
        if (f->regs[i]->saved)
            ptx_put(unit, "    %s r%u;\n", ptx_hold_ctype(f->regs[i]->hold), i);
    ptx_put(unit, "};\n");
}

static void emit_registers(struct ptx_unit *unit, const struct ptx_func *f)
{
    for (unsigned i = 0; i < f->reg_count; i++)
        if (f->regs[i]->lanes == 1)
            ptx_put(unit, "    %s r%u = 0;\n", ptx_hold_ctype(f->regs[i]->hold), i);
    for (const struct ptx_var *v = f->areas; v; v = v->next) {
        if (f->suspends)
            ptx_put(unit, "    uint8_t *const area%u = f->area%u;\n", v->index, v->index);
        else
            ptx_put(unit, "    _Alignas(16) uint8_t area%u[%llu];\n", v->index,
                    (unsigned long long)(v->bytes ? v->bytes : 1));
    }
}

/* A fresh call takes local memory; a resumed one finds its own and its registers again. */
static void emit_head(struct ptx_unit *unit, const struct ptx_func *f)
{
    unsigned long long local = own_local(f);

    if (f->suspends) {
        ptx_put(unit, "    if (PTX_UNLIKELY(frame + sizeof(*f) + 16 > t->frame_end))"
                      " { ptx_fault(run, PTX_FAULT_STACK, 0); return PTX_FAULTED; }\n"
                      "    if (f->pc) { local_base = f->local_base; goto resume; }\n"
                      "    f->local_base = local_base;\n");
    }
    if (local)
        ptx_put(unit,
                "    if (PTX_UNLIKELY(local_base + %llu > t->local_bytes))"
                " { ptx_fault(run, PTX_FAULT_STACK, 0); return PTX_FAULTED; }\n"
                "    t->local_top = local_base + %llu;\n",
                local, local);
    for (const struct ptx_var *v = f->params; v; v = v->next) {
        const struct ptx_reg *reg = v->formal_reg;
        unsigned bits = reg ? 8 * ptx_type_bytes(reg->type) : 0;

        if (!reg)
            continue;
        if (reg->hold == PTX_HOLD_F32 || reg->hold == PTX_HOLD_F64)
            ptx_put(unit, "    r%u = ptx_f%u(ptx_load%u(arg[%u]));\n", reg->index, bits, bits,
                    f->result_count + v->index);
        else
            ptx_put(unit, "    r%u = ptx_load%u(arg[%u]);\n", reg->index, bits,
                    f->result_count + v->index);
    }
}

static void emit_resume(struct ptx_unit *unit, const struct ptx_func *f)
{
    if (!f->suspends)
        return;
    ptx_put(unit, "resume:\n    switch (f->pc) {\n");
    for (const struct ptx_insn *i = f->first; i; i = i->next) {
        if (!i->suspends)
            continue;
        ptx_put(unit, "    case %u:\n", i->resume);
        for (unsigned r = 0; r < i->live_count; r++)
            ptx_put(unit, "    r%u = f->r%u;\n", i->live[r]->index, i->live[r]->index);
        ptx_put(unit, "    goto resume%u;\n", i->resume);
    }
    ptx_put(unit, "    }\n    __builtin_unreachable();\n");
}

static void emit_func(struct ptx_unit *unit, struct ptx_func *f)
{
    struct ptx_emit e = {.unit = unit, .func = f};

    ptx_put(unit, "/* %s */\n", f->name);
    ptx_put(unit, "static int fn%u(struct ptx_thread *t, uint8_t *frame, uint8_t *const *arg)\n{\n",
            f->index);
    ptx_put(unit, "    struct ptx_block *const b = t->block;\n"
                  "    struct mmu_run *const run = b->run;\n"
                  "    uint8_t *const shared = b->shared;\n"
                  "    const uint64_t shared_bytes = b->shared_bytes;\n"
                  "    const uint8_t *const params = b->params;\n"
                  "    const uint64_t *const global_addr = b->global_addr;\n"
                  "    uint64_t rd = 0, wr = 0, local_base = t->local_top;\n"
                  "    uint32_t carry = 0;\n"
                  "    int status = PTX_DONE;\n");
    if (f->suspends)
        ptx_put(unit, "    struct frame%u *const f = (struct frame%u *)frame;\n", f->index,
                f->index);
    emit_registers(unit, f);
    emit_head(unit, f);
    emit_insns(&e);
    ptx_put(unit, "    goto out;\n"
                  "fault:\n    status = PTX_FAULTED;\n"
                  "out:\n    run->read_bytes += rd;\n    run->write_bytes += wr;\n"
                  "    t->local_top = local_base;\n    return status;\n");
    emit_resume(unit, f);
    ptx_put(unit, "}\n\n");
}

/* The function that runs all threads of a block of an entry that never waits. */
static void emit_block(struct ptx_unit *unit, const struct ptx_func *f)
{
    ptx_put(unit,
            "static int block%u(struct ptx_block *b, uint8_t *local, uint64_t local_bytes)\n{\n"
            "    struct ptx_thread t = {.block = b, .local = local, .local_bytes = local_bytes};\n"
            "    for (t.tid[2] = 0; t.tid[2] < b->block[2]; t.tid[2]++)\n"
            "    for (t.tid[1] = 0; t.tid[1] < b->block[1]; t.tid[1]++)\n"
            "    for (t.tid[0] = 0; t.tid[0] < b->block[0]; t.tid[0]++) {\n"
            "        t.lane = t.linear & 31;\n"
            "        t.warp = t.linear++ >> 5;\n"
            "        t.local_top = 0;\n"
            "        if (PTX_UNLIKELY(fn%u(&t, NULL, NULL) == PTX_FAULTED))\n"
            "            return PTX_FAULTED;\n"
            "    }\n"
            "    return PTX_DONE;\n}\n\n",
            f->index, f->index);
}

static void add_frame(struct walk *walk, struct ptx_func *func, void *arg)
{
    if (!func->suspends || walk->seen[func->index])
        return;
    walk->seen[func->index] = 1;
    ptx_put(walk->unit, " + sizeof(struct frame%u)", func->index);
    walk_callees(walk, func, add_frame, arg);
}

static void emit_entries(struct ptx_unit *unit)
{
    ptx_put(unit, "const struct ptx_entry ptx_entries[] = {\n");
    for (struct ptx_func *f = unit->funcs; f; f = f->next) {
        struct walk walk = {.unit = unit};

        if (!f->is_entry || !f->has_body)
            continue;
        walk.seen = ptx_alloc(unit, unit->func_count + 1);
        if (f->suspends) {
            /* Every function that may be on the way down once, and room for recursion. */
            ptx_put(unit, "    {\"%s\", fn%u, NULL, 32", f->name, f->index);
            add_frame(&walk, f, NULL);
            ptx_put(unit, " + %u},\n", f->recursive ? RECURSION_FRAME_BYTES : 0);
        } else {
            ptx_put(unit, "    {\"%s\", NULL, block%u, 0},\n", f->name, f->index);
        }
    }
    ptx_put(unit, "    {NULL, NULL, NULL, 0},\n};\n");
}

/* What indirect calls look their address up in. */
static void emit_function_table(struct ptx_unit *unit)
{
    ptx_put(unit, "static ptx_thread_fn *const ptx_functions[] = {\n");
    for (const struct ptx_func *f = unit->funcs; f; f = f->next) {
        if (f->is_entry || !f->has_body)
            ptx_put(unit, "    NULL,\n");
        else
            ptx_put(unit, "    fn%u,\n", f->index);
    }
    ptx_put(unit,
            "    NULL,\n};\n"
            "static inline ptx_thread_fn *ptx_function(uint64_t addr)\n{\n"
            "    addr -= PTX_CODE_WINDOW;\n"
            "    return addr %% 16 || addr / 16 >= %u ? NULL : ptx_functions[addr / 16];\n}\n\n",
            unit->func_count);
}

static void check_names(struct ptx_unit *unit)
{
    for (const struct ptx_func *f = unit->funcs; f; f = f->next)
        if (f->is_entry && !f->has_body)
            ptx_fail(unit, f->line, "entry '%s' has no body", f->name);
}

void ptx_emit_unit(struct ptx_unit *unit)
{
    check_names(unit);
    for (struct ptx_func *f = unit->funcs; f; f = f->next)
        if (f->has_body)
            record(unit, f);
    spread_suspensions(unit);
    for (struct ptx_func *f = unit->funcs; f; f = f->next) {
        if (f->has_body && f->suspends) {
            mark_calls(unit, f);
            ptx_find_live(unit, f);
        }
        if (f->is_entry) {
            lay_out_shared(unit, f);
            measure_local(unit, f);
        }
    }
    for (struct ptx_func *f = unit->funcs; f; f = f->next) {
        if (!f->has_body)
            continue;
        ptx_put(unit, "static ptx_thread_fn fn%u;\n", f->index);
        emit_frame_type(unit, f);
    }
    emit_function_table(unit);
    for (struct ptx_func *f = unit->funcs; f; f = f->next) {
        if (!f->has_body)
            continue;
        emit_func(unit, f);
        if (f->is_entry && !f->suspends)
            emit_block(unit, f);
    }
    emit_entries(unit);
}
