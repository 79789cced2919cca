/* ptx_emit_mbarrier.c - barriers that lie in shared memory. */
#include "ptx_emit.h"

/* Orders and scopes, which a block on one host thread keeps anyway. */
static void take_order(struct ptx_emit *e)
{
    static const char *const known[] = {"release", "acquire", "relaxed", "cta", "cluster"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        ptx_has(e, known[i]);
}

/* `p` becomes the barrier that the i-th operand names. Leaves a block open. */
static void emit_barrier(struct ptx_emit *e, unsigned i, enum ptx_space space)
{
    struct ptx_operand *op = ptx_memory_operand(e, i);

    space = ptx_space_of(e, op, space);
    if (space != PTX_SPACE_SHARED && space != PTX_SPACE_GENERIC)
        ptx_insn_fail(e, "wants shared memory");
    ptx_statement(e, "{ uint8_t *p; uint64_t a = %s;", ptx_mem_address(e, op));
    ptx_place(e, space, "a", 8, "MMU_WRITE");
}

static void emit_init(struct ptx_emit *e, enum ptx_space space)
{
    ptx_want_operands(e, 2, 2);
    emit_barrier(e, 0, space);
    ptx_statement(e, "uint32_t count = %s;", ptx_in(e, 1, PTX_u32));
    ptx_statement(e, "if (!count || count > PTX_MBARRIER_COUNT_MAX)"
                     " { ptx_fault(run, PTX_FAULT_LAUNCH_FAILED, a); goto fault; }");
    ptx_statement(e, "ptx_store64(p, ptx_mbarrier_make(0, count, count)); }");
}

/* {state,} [barrier] {, count}: without a state the barrier comes first. */
static void emit_arrive(struct ptx_emit *e, enum ptx_space space, bool drop)
{
    bool gives = e->insn->operands[0].kind != PTX_OPERAND_MEM;
    unsigned at = gives;

    ptx_has(e, "noComplete");
    ptx_want_operands(e, at + 1, at + 2);
    emit_barrier(e, at, space);
    ptx_statement(e, "uint64_t state = ptx_mbarrier_arrive(run, p, %s, %d);",
                  e->insn->operand_count == at + 2 ? ptx_in(e, at + 1, PTX_u32) : "1", drop);
    ptx_statement(e, "if (PTX_UNLIKELY(run->fault)) goto fault;");
    if (gives)
        ptx_out_raw(e, &e->insn->operands[0], PTX_b64, "state");
    else
        ptx_statement(e, "(void)state;");
    ptx_statement(e, "}");
}

/* test_wait and try_wait, which may come back early. */
static void emit_wait(struct ptx_emit *e, enum ptx_space space)
{
    bool parity = ptx_has(e, "parity");

    ptx_want_operands(e, 3, 4);
    emit_barrier(e, 1, space);
    ptx_out(e, 0, PTX_pred, "ptx_mbarrier_over%s(ptx_load64(p), %s)", parity ? "_parity" : "",
            ptx_in(e, 2, parity ? PTX_u32 : PTX_b64));
    ptx_statement(e, "}");
    ptx_spin(e);
}

void ptx_emit_mbarrier(struct ptx_emit *e)
{
    enum ptx_space space = ptx_insn_space(e);

    take_order(e);
    if (!ptx_has(e, "b64"))
        ptx_insn_fail(e, "wants .b64");
    if (ptx_has(e, "init")) {
        emit_init(e, space);
    } else if (ptx_has(e, "inval")) {
        ptx_want_operands(e, 1, 1);
        emit_barrier(e, 0, space);
        ptx_statement(e, "memset(p, 0, 8); }");
    } else if (ptx_has(e, "arrive")) {
        emit_arrive(e, space, false);
    } else if (ptx_has(e, "arrive_drop")) {
        emit_arrive(e, space, true);
    } else if (ptx_has(e, "test_wait") || ptx_has(e, "try_wait")) {
        emit_wait(e, space);
    } else if (ptx_has(e, "pending_count")) {
        ptx_want_operands(e, 2, 2);
        ptx_out_raw(e, &e->insn->operands[0], PTX_b32, "ptx_mbarrier_pending(%s)",
                    ptx_in(e, 1, PTX_b64));
    } else {
        ptx_insn_fail(e, "wants an operation that is known here");
    }
}

/* The arrival of copies that are done already: one more is expected and comes at once, so that
 * nothing changes; with .noinc it is one of those that were expected. */
void ptx_emit_copy_arrival(struct ptx_emit *e)
{
    enum ptx_space space = ptx_insn_space(e);
    bool expected = ptx_has(e, "noinc");

    if (!ptx_has(e, "arrive") || !ptx_has(e, "b64"))
        ptx_insn_fail(e, "wants .arrive and .b64");
    ptx_want_operands(e, 1, 1);
    emit_barrier(e, 0, space);
    ptx_statement(e, "%s(void)p; }", expected ? "ptx_mbarrier_arrive(run, p, 1, 0); " : "");
    ptx_statement(e, "if (PTX_UNLIKELY(run->fault)) goto fault;");
}
