/* ptx_flow.c - holds of registers, loops that spin, and liveness at suspensions. */
#include "ptx_flow.h"

#include <string.h>

void ptx_choose_holds(struct ptx_func *func, const struct ptx_copy *copies)
{
    bool changed = true;

    for (unsigned i = 0; i < func->reg_count; i++) {
        struct ptx_reg *reg = func->regs[i];

        if (reg->float_uses <= reg->int_uses)
            continue;
        if (reg->hold == PTX_HOLD_B32)
            reg->hold = PTX_HOLD_F32;
        else if (reg->hold == PTX_HOLD_B64)
            reg->hold = PTX_HOLD_F64;
    }
    while (changed) {
        changed = false;
        for (const struct ptx_copy *c = copies; c; c = c->next) {
            /* A register held as bits has its NaNs made canonical when it is written. */
            unsigned from = c->from->hold == PTX_HOLD_F32 ? c->from->nan_sources : PTX_NAN_RAW;

            if ((c->to->nan_sources | from) != c->to->nan_sources) {
                c->to->nan_sources |= from;
                changed = true;
            }
        }
    }
}

/* The instructions as an array, with the positions that each may go on to. */
struct flow {
    struct ptx_unit *unit;
    struct ptx_func *func;
    struct ptx_insn **insns;
    unsigned count;
    unsigned *label_at; /* position of each label */
};

static void flow_start(struct flow *flow, struct ptx_unit *unit, struct ptx_func *func)
{
    unsigned n = 0;

    *flow = (struct flow){.unit = unit, .func = func};
    for (struct ptx_insn *i = func->first; i; i = i->next)
        flow->count++;
    flow->insns = ptx_alloc(unit, (flow->count + 1) * sizeof(*flow->insns));
    flow->label_at = ptx_alloc(unit, (func->label_count + 1) * sizeof(*flow->label_at));
    for (struct ptx_insn *i = func->first; i; i = i->next) {
        if (i->label)
            flow->label_at[i->label_index] = n;
        flow->insns[n++] = i;
    }
}

/* Is there a way from behind `from` back to it? */
static bool in_loop(const struct flow *flow, unsigned from)
{
    uint8_t *seen = ptx_alloc(flow->unit, flow->count + 1);
    unsigned *stack = ptx_alloc(flow->unit, 2 * (flow->count + 1) * sizeof(*stack));
    unsigned depth = 0;

    stack[depth++] = from;
    while (depth > 0) {
        unsigned at = stack[--depth];
        const struct ptx_insn *insn = flow->insns[at];

        for (unsigned i = 0; i <= insn->target_count; i++) {
            unsigned to = at + 1;

            if (i < insn->target_count)
                to = flow->label_at[insn->targets[i]->label_index];
            else if (insn->ends_flow || to == flow->count)
                continue;
            if (to == from)
                return true;
            if (!seen[to]) {
                seen[to] = 1;
                stack[depth++] = to;
            }
        }
    }
    return false;
}

void ptx_find_spins(struct ptx_unit *unit, struct ptx_func *func)
{
    struct flow flow = {0};
    unsigned at = 0;

    for (struct ptx_insn *i = func->first; i; i = i->next, at++) {
        if (!i->spins)
            continue;
        if (!flow.insns)
            flow_start(&flow, unit, func);
        if (in_loop(&flow, at))
            i->suspends = true;
    }
}

/* Sets of registers, one bit each. */
static bool set_has(const uint64_t *set, unsigned i)
{
    return set[i / 64] >> (i % 64) & 1;
}

static void set_add(uint64_t *set, unsigned i)
{
    set[i / 64] |= (uint64_t)1 << (i % 64);
}

static void set_remove(uint64_t *set, unsigned i)
{
    set[i / 64] &= ~((uint64_t)1 << (i % 64));
}

/* A basic block: instructions [first, end), and the registers live at its start. */
struct block {
    unsigned first, end;
    uint64_t *live_in;
};

struct liveness {
    struct flow flow;
    struct block *blocks;
    unsigned block_count;
    unsigned *block_of; /* by position */
    unsigned words;
};

static void find_blocks(struct liveness *l)
{
    struct flow *flow = &l->flow;
    bool starts = true;

    l->blocks = ptx_alloc(flow->unit, (flow->count + 1) * sizeof(*l->blocks));
    l->block_of = ptx_alloc(flow->unit, (flow->count + 1) * sizeof(*l->block_of));
    for (unsigned i = 0; i < flow->count; i++) {
        const struct ptx_insn *insn = flow->insns[i];

        if (starts || insn->label) {
            if (l->block_count)
                l->blocks[l->block_count - 1].end = i;
            l->blocks[l->block_count++].first = i;
        }
        l->block_of[i] = l->block_count - 1;
        starts = insn->ends_flow || insn->target_count > 0;
    }
    if (l->block_count)
        l->blocks[l->block_count - 1].end = flow->count;
    for (unsigned i = 0; i < l->block_count; i++)
        l->blocks[i].live_in = ptx_alloc(flow->unit, l->words * sizeof(uint64_t));
}

static void live_out(const struct liveness *l, const struct block *block, uint64_t *live)
{
    const struct ptx_insn *last = l->flow.insns[block->end - 1];

    memset(live, 0, l->words * sizeof(*live));
    for (unsigned i = 0; i <= last->target_count; i++) {
        unsigned to = block->end;

        if (i < last->target_count)
            to = l->flow.label_at[last->targets[i]->label_index];
        else if (last->ends_flow || to == l->flow.count)
            continue;
        for (unsigned w = 0; w < l->words; w++)
            live[w] |= l->blocks[l->block_of[to]].live_in[w];
    }
}

/* From what is live behind the instruction to what is live before it. A guarded write may not
 * happen, so it ends nothing. */
static void step_back(const struct ptx_insn *insn, uint64_t *live)
{
    for (unsigned i = 0; i < insn->def_count && !insn->guard; i++)
        set_remove(live, insn->defs[i]->index);
    for (unsigned i = 0; i < insn->use_count; i++)
        set_add(live, insn->uses[i]->index);
}

static void solve(struct liveness *l, uint64_t *live)
{
    bool changed = true;

    while (changed) {
        changed = false;
        for (unsigned b = l->block_count; b-- > 0;) {
            struct block *block = &l->blocks[b];

            live_out(l, block, live);
            for (unsigned i = block->end; i-- > block->first;)
                step_back(l->flow.insns[i], live);
            if (memcmp(live, block->live_in, l->words * sizeof(*live)) != 0) {
                memcpy(block->live_in, live, l->words * sizeof(*live));
                changed = true;
            }
        }
    }
}

static void keep_live(const struct liveness *l, struct ptx_insn *insn, const uint64_t *live)
{
    const struct ptx_func *func = l->flow.func;
    unsigned capacity = 0;

    insn->live = NULL;
    insn->live_count = 0;
    for (unsigned r = 0; r < func->reg_count; r++) {
        if (!set_has(live, r))
            continue;
        insn->live =
            ptx_grow(l->flow.unit, insn->live, insn->live_count, &capacity, sizeof(*insn->live));
        insn->live[insn->live_count++] = func->regs[r];
        func->regs[r]->saved = true;
    }
}

void ptx_find_live(struct ptx_unit *unit, struct ptx_func *func)
{
    struct liveness l = {.words = func->reg_count / 64 + 1};
    uint64_t *live = ptx_alloc(unit, l.words * sizeof(*live));
    unsigned number = 0;

    for (struct ptx_insn *i = func->first; i; i = i->next)
        if (i->suspends)
            i->resume = ++number;
    flow_start(&l.flow, unit, func);
    find_blocks(&l);
    solve(&l, live);
    for (unsigned b = 0; b < l.block_count; b++) {
        live_out(&l, &l.blocks[b], live);
        for (unsigned i = l.blocks[b].end; i-- > l.blocks[b].first;) {
            struct ptx_insn *insn = l.flow.insns[i];

            if (insn->suspends && !insn->re_enters)
                keep_live(&l, insn, live);
            step_back(insn, live);
            if (insn->suspends && insn->re_enters)
                keep_live(&l, insn, live);
        }
    }
}
