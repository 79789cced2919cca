/* ptx_emit_warp.c - instructions that several threads execute together. */
#include "ptx_emit.h"

#include <string.h>

void ptx_wait_warp(struct ptx_emit *e, const char *op, const char *mask)
{
    ptx_statement(e, "t->op = %s;", op);
    if (mask) {
        ptx_statement(e, "t->mask = %s; t->wait = PTX_WAIT_WARP;", mask);
        ptx_statement(e, "if (!(t->mask >> t->lane & 1)) "
                         "{ ptx_fault(run, PTX_FAULT_LAUNCH_FAILED, 0); goto fault; }");
    } else {
        ptx_statement(e, "t->wait = PTX_WAIT_CONVERGED;");
    }
    ptx_suspend(e);
}

void ptx_emit_shfl(struct ptx_emit *e)
{
    bool sync = ptx_has(e, "sync");
    const char *op = ptx_has(e, "up")     ? "PTX_SHFL_UP"
                     : ptx_has(e, "down") ? "PTX_SHFL_DOWN"
                     : ptx_has(e, "bfly") ? "PTX_SHFL_BFLY"
                     : ptx_has(e, "idx")  ? "PTX_SHFL_IDX"
                                          : NULL;
    struct ptx_operand *d = &e->insn->operands[0];

    if (!op || ptx_want_type(e) != PTX_b32)
        ptx_insn_fail(e, "wants .up, .down, .bfly or .idx, .b32");
    ptx_want_operands(e, sync ? 5 : 4, sync ? 5 : 4);
    ptx_statement(e, "t->in = %s; t->in_b = %s; t->in_c = %s;", ptx_in(e, 1, PTX_b32),
                  ptx_in(e, 2, PTX_u32), ptx_in(e, 3, PTX_u32));
    ptx_wait_warp(e, op, sync ? ptx_in(e, 4, PTX_u32) : NULL);
    ptx_out_raw(e, d, PTX_b32, "t->out");
    if (d->pair)
        ptx_out_raw(e, d->pair, PTX_pred, "t->out_pred");
}

void ptx_emit_vote(struct ptx_emit *e)
{
    bool sync = ptx_has(e, "sync"), ballot = ptx_has(e, "ballot");
    const char *op = ballot              ? "PTX_VOTE_BALLOT"
                     : ptx_has(e, "all") ? "PTX_VOTE_ALL"
                     : ptx_has(e, "any") ? "PTX_VOTE_ANY"
                     : ptx_has(e, "uni") ? "PTX_VOTE_UNI"
                                         : NULL;

    if (!op || ptx_want_type(e) != (ballot ? PTX_b32 : PTX_pred))
        ptx_insn_fail(e, "wants .all, .any, .uni with .pred or .ballot with .b32");
    ptx_want_operands(e, sync ? 3 : 2, sync ? 3 : 2);
    ptx_statement(e, "t->in_pred = %s;", ptx_in(e, 1, PTX_pred));
    ptx_wait_warp(e, op, sync ? ptx_in(e, 2, PTX_u32) : NULL);
    ptx_out_raw(e, &e->insn->operands[0], ballot ? PTX_b32 : PTX_pred, "t->out");
}

void ptx_emit_match(struct ptx_emit *e)
{
    bool all = ptx_has(e, "all");
    struct ptx_operand *d = &e->insn->operands[0];
    enum ptx_type type;

    if ((!all && !ptx_has(e, "any")) || !ptx_has(e, "sync"))
        ptx_insn_fail(e, "wants .any or .all, .sync");
    type = ptx_want_type_of(e, "b");
    ptx_want_operands(e, 3, 3);
    ptx_statement(e, "t->in = %s;", ptx_in(e, 1, type));
    ptx_wait_warp(e, all ? "PTX_MATCH_ALL" : "PTX_MATCH_ANY", ptx_in(e, 2, PTX_u32));
    ptx_out_raw(e, d, PTX_b32, "t->out");
    if (d->pair)
        ptx_out_raw(e, d->pair, PTX_pred, "t->out_pred");
}

void ptx_emit_redux(struct ptx_emit *e)
{
    const char *op = NULL;
    enum ptx_type type;

    if (!ptx_has(e, "sync"))
        ptx_insn_fail(e, "wants .sync");
    type = ptx_want_type_of(e, "bus");
    if (type != PTX_b32 && type != PTX_u32 && type != PTX_s32)
        ptx_insn_fail(e, "wants 32 bits");
    if (ptx_has(e, "add"))
        op = "PTX_REDUX_ADD";
    else if (ptx_has(e, "min"))
        op = type == PTX_s32 ? "PTX_REDUX_MIN_S" : "PTX_REDUX_MIN_U";
    else if (ptx_has(e, "max"))
        op = type == PTX_s32 ? "PTX_REDUX_MAX_S" : "PTX_REDUX_MAX_U";
    else if (ptx_has(e, "and"))
        op = "PTX_REDUX_AND";
    else if (ptx_has(e, "or"))
        op = "PTX_REDUX_OR";
    else if (ptx_has(e, "xor"))
        op = "PTX_REDUX_XOR";
    else
        ptx_insn_fail(e, "wants an operation");
    ptx_want_operands(e, 3, 3);
    ptx_statement(e, "t->in = %s;", ptx_in(e, 1, PTX_u32));
    ptx_wait_warp(e, op, ptx_in(e, 2, PTX_u32));
    ptx_out_raw(e, &e->insn->operands[0], PTX_b32, "t->out");
}

void ptx_emit_activemask(struct ptx_emit *e)
{
    if (ptx_want_type(e) != PTX_b32)
        ptx_insn_fail(e, "wants .b32");
    ptx_want_operands(e, 1, 1);
    ptx_wait_warp(e, "PTX_ACTIVE", NULL);
    ptx_out_raw(e, &e->insn->operands[0], PTX_b32, "t->out");
}

void ptx_emit_elect(struct ptx_emit *e)
{
    struct ptx_operand *d = &e->insn->operands[0];

    if (!ptx_has(e, "sync"))
        ptx_insn_fail(e, "wants .sync");
    ptx_want_operands(e, 2, 2);
    ptx_wait_warp(e, "PTX_ELECT", ptx_in(e, 1, PTX_u32));
    ptx_out_raw(e, d, PTX_b32, "t->out");
    if (d->pair)
        ptx_out_raw(e, d->pair, PTX_pred, "t->out_pred");
}

void ptx_emit_nanosleep(struct ptx_emit *e)
{
    if (ptx_want_type(e) != PTX_u32)
        ptx_insn_fail(e, "wants .u32");
    ptx_want_operands(e, 1, 1);
    ptx_statement(e, "(void)%s; t->wait = PTX_WAIT_NONE;", ptx_in(e, 0, PTX_u32));
    ptx_suspend(e);
}

static void wait_barrier(struct ptx_emit *e, const char *wait, const char *id, const char *count)
{
    ptx_statement(e, "t->wait = %s; t->bar_id = %s; t->bar_count = %s;", wait, id, count);
    ptx_suspend(e);
}

/* bar.red.op.type d, a{, b}, {!}c */
static void emit_reduction(struct ptx_emit *e)
{
    bool popc = ptx_has(e, "popc"), all = ptx_has(e, "and");
    unsigned n = e->insn->operand_count;
    enum ptx_type type;

    if (!popc && !all && !ptx_has(e, "or"))
        ptx_insn_fail(e, "wants .popc, .and or .or");
    type = ptx_want_type(e);
    if (type != (popc ? PTX_u32 : PTX_pred))
        ptx_insn_fail(e, "wants .popc.u32, .and.pred or .or.pred");
    ptx_want_operands(e, 3, 4);
    ptx_statement(e, "t->in_pred = %s; t->op = %s;", ptx_in(e, n - 1, PTX_pred),
                  popc  ? "PTX_BAR_POPC"
                  : all ? "PTX_BAR_AND"
                        : "PTX_BAR_OR");
    wait_barrier(e, "PTX_WAIT_BARRIER", ptx_in(e, 1, PTX_u32),
                 n == 4 ? ptx_in(e, 2, PTX_u32) : "0");
    ptx_out_raw(e, &e->insn->operands[0], popc ? PTX_b32 : PTX_pred, "t->out");
}

/* bar and barrier */
void ptx_emit_bar(struct ptx_emit *e)
{
    unsigned n = e->insn->operand_count;

    ptx_has(e, "cta");
    ptx_has(e, "aligned");
    if (ptx_has(e, "warp")) {
        if (!ptx_has(e, "sync"))
            ptx_insn_fail(e, "wants .sync");
        ptx_want_operands(e, 1, 1);
        ptx_wait_warp(e, "PTX_SYNC", ptx_in(e, 0, PTX_u32));
    } else if (ptx_has(e, "red")) {
        emit_reduction(e);
    } else if (ptx_has(e, "sync")) {
        ptx_want_operands(e, 1, 2);
        ptx_statement(e, "t->op = PTX_SYNC;");
        wait_barrier(e, "PTX_WAIT_BARRIER", ptx_in(e, 0, PTX_u32),
                     n == 2 ? ptx_in(e, 1, PTX_u32) : "0");
    } else if (ptx_has(e, "arrive")) {
        ptx_want_operands(e, 2, 2);
        wait_barrier(e, "PTX_WAIT_ARRIVE", ptx_in(e, 0, PTX_u32), ptx_in(e, 1, PTX_u32));
    } else {
        ptx_insn_fail(e, "wants .sync, .arrive, .red or .warp.sync");
    }
}
