/* ptx_emit.h - instructions turned into C statements.
 *
 * Every instruction is emitted twice. The first time records: which registers it reads and writes,
 * as what, where it may jump, whether the thread may wait there; its text is thrown away. Then
 * registers get their C types, suspensions their live registers, and the second time counts. So an
 * emitter must reach for operands only through the functions below, the same way both times.
 *
 * A modifier counts as understood when an emitter has asked for it; one that nobody asked for fails
 * the load.
 */
#ifndef SIMCUDA_PTX_EMIT_H
#define SIMCUDA_PTX_EMIT_H

#include "ptx_ir.h"

struct ptx_copy {
    struct ptx_reg *to, *from;
    struct ptx_copy *next;
};

struct ptx_emit {
    struct ptx_unit *unit;
    struct ptx_func *func;
    struct ptx_insn *insn;
    bool recording;
    bool widths_may_differ; /* ld, st, cvt: a register may be wider than the type */
    unsigned use_capacity, def_capacity, target_capacity;
    struct ptx_copy *copies; /* register to register, for the NaN analysis */
};

/* Modifiers. */
bool ptx_has(struct ptx_emit *e, const char *modifier);
/* The first type among the modifiers that nobody took yet; the want form fails where none is left.
 */
enum ptx_type ptx_take_type(struct ptx_emit *e);
enum ptx_type ptx_want_type(struct ptx_emit *e);
/* Fails unless the type's class is in classes, a string such as "us". */
enum ptx_type ptx_want_type_of(struct ptx_emit *e, const char *classes);
/* rn, rz, rm, rp, rna as the name of an enum ptx_round; NULL when there is none. */
const char *ptx_take_round(struct ptx_emit *e);
void ptx_want_operands(struct ptx_emit *e, unsigned least, unsigned most);
void ptx_insn_fail(struct ptx_emit *e, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));

/* Operands. A C expression for the i-th operand, or for op, read as type. */
const char *ptx_in(struct ptx_emit *e, unsigned i, enum ptx_type type);
const char *ptx_in_op(struct ptx_emit *e, struct ptx_operand *op, enum ptx_type type);
/* The bits of the operand for a register that holds them like to: moves and selections. */
const char *ptx_in_like(struct ptx_emit *e, struct ptx_operand *op, enum ptx_type type,
                        const struct ptx_operand *to);
/* Assign a value of that type. out_raw: bits from elsewhere; out: a result of arithmetic. */
void ptx_out(struct ptx_emit *e, unsigned i, enum ptx_type type, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void ptx_out_raw(struct ptx_emit *e, struct ptx_operand *op, enum ptx_type type, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));
/* Assign an expression that ptx_in_like() built for the same destination. */
void ptx_out_like(struct ptx_emit *e, struct ptx_operand *op, enum ptx_type type,
                  const char *expression);
void ptx_statement(struct ptx_emit *e, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
const char *ptx_text(struct ptx_emit *e, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
const char *ptx_ctype(enum ptx_type type);
const char *ptx_hold_ctype(enum ptx_hold hold);
/* The type of the same size without a meaning: .b32 for .f32 and .s32. */
enum ptx_type ptx_bits_of(enum ptx_type type);
/* .u32 for .b32: bits that are computed with, not just carried. */
enum ptx_type ptx_unsigned_of(enum ptx_type type);

/* Addresses. The value of a variable's address as a C expression. */
const char *ptx_var_address(struct ptx_emit *e, struct ptx_var *var, uint64_t offset);
/* The address that a memory operand names, as a C expression of 64 bits. */
const char *ptx_mem_address(struct ptx_emit *e, struct ptx_operand *op);
/* A special register as a C expression; bytes receives its size. NULL when there is none. */
/* The state space among the modifiers, generic where there is none. */
enum ptx_space ptx_insn_space(struct ptx_emit *e);
/* The i-th operand, which must be an address; and the space that a variable's name implies where
 * the instruction leaves it open. */
struct ptx_operand *ptx_memory_operand(struct ptx_emit *e, unsigned i);
enum ptx_space ptx_space_of(struct ptx_emit *e, const struct ptx_operand *op, enum ptx_space space);
/* `p` becomes the place of the access; leaves the thread on a fault. access: MMU_READ, MMU_WRITE,
 * or NULL for an atomic. */
void ptx_place(struct ptx_emit *e, enum ptx_space space, const char *addr, unsigned bytes,
               const char *access);
/* Add to the counter rd or wr. Only global memory is counted; const memory is such with a name. */
void ptx_count_bytes(struct ptx_emit *e, enum ptx_space space, const char *addr, unsigned bytes,
                     const char *counter);
const char *ptx_special(struct ptx_emit *e, const char *name, unsigned *bytes);

/* Flow. */
struct ptx_insn *ptx_find_label(struct ptx_emit *e, const char *name);
void ptx_add_target(struct ptx_emit *e, struct ptx_insn *label);
/* Give way here; the thread goes on behind it. */
void ptx_suspend(struct ptx_emit *e);
/* The thread has said what it brings and gives way; the runtime computes the result when all whom
 * it waits for have come. op: an enum ptx_collective. mask NULL: whoever stands at this
 * instruction. */
void ptx_wait_warp(struct ptx_emit *e, const char *op, const char *mask);
/* A thread that spins on memory gives way now and then, so that whom it waits for gets a turn. */
void ptx_spin(struct ptx_emit *e);

void ptx_emit_insn(struct ptx_emit *e, struct ptx_insn *insn);

/* The instructions: opcode, emitter. */
#define PTX_INSTRUCTIONS(X)                                                                        \
    X(abs, sign)                                                                                   \
    X(activemask, activemask)                                                                      \
    X(add, add)                                                                                    \
    X(addc, add_carry)                                                                             \
    X(and, logic)                                                                                  \
    X(applypriority, hint)                                                                         \
    X(atom, atom)                                                                                  \
    X(bar, bar)                                                                                    \
    X(barrier, bar)                                                                                \
    X(bfe, bfe)                                                                                    \
    X(bfi, bfi)                                                                                    \
    X(bfind, bfind)                                                                                \
    X(bmsk, bmsk)                                                                                  \
    X(bra, bra)                                                                                    \
    X(brev, brev)                                                                                  \
    X(brkpt, trap)                                                                                 \
    X(brx, brx)                                                                                    \
    X(call, call)                                                                                  \
    X(clz, count)                                                                                  \
    X(cnot, cnot)                                                                                  \
    X(copysign, copysign)                                                                          \
    X(cos, approximate)                                                                            \
    X(cp, cp_async)                                                                                \
    X(cvt, cvt)                                                                                    \
    X(cvta, cvta)                                                                                  \
    X(discard, hint)                                                                               \
    X(div, div)                                                                                    \
    X(dp2a, dot)                                                                                   \
    X(dp4a, dot)                                                                                   \
    X(elect, elect)                                                                                \
    X(ex2, approximate)                                                                            \
    X(exit, exit)                                                                                  \
    X(fence, fence)                                                                                \
    X(fma, fma)                                                                                    \
    X(fns, fns)                                                                                    \
    X(griddepcontrol, hint)                                                                        \
    X(isspacep, isspacep)                                                                          \
    X(ld, ld)                                                                                      \
    X(ldmatrix, ldmatrix)                                                                          \
    X(ldu, ld)                                                                                     \
    X(lg2, approximate)                                                                            \
    X(lop3, lop3)                                                                                  \
    X(mad, mad)                                                                                    \
    X(mad24, mul24)                                                                                \
    X(madc, mad)                                                                                   \
    X(match, match)                                                                                \
    X(max, minmax)                                                                                 \
    X(mbarrier, mbarrier)                                                                          \
    X(membar, fence)                                                                               \
    X(min, minmax)                                                                                 \
    X(mma, mma)                                                                                    \
    X(mov, mov)                                                                                    \
    X(movmatrix, movmatrix)                                                                        \
    X(mul, mul)                                                                                    \
    X(mul24, mul24)                                                                                \
    X(nanosleep, nanosleep)                                                                        \
    X(neg, sign)                                                                                   \
    X(not, logic)                                                                                  \
    X(or, logic)                                                                                   \
    X(pmevent, hint)                                                                               \
    X(popc, count)                                                                                 \
    X(prefetch, prefetch)                                                                          \
    X(prefetchu, prefetch)                                                                         \
    X(prmt, prmt)                                                                                  \
    X(rcp, approximate)                                                                            \
    X(red, red)                                                                                    \
    X(redux, redux)                                                                                \
    X(rem, div)                                                                                    \
    X(ret, ret)                                                                                    \
    X(rsqrt, approximate)                                                                          \
    X(sad, sad)                                                                                    \
    X(selp, selp)                                                                                  \
    X(set, set)                                                                                    \
    X(setmaxnreg, hint)                                                                            \
    X(setp, setp)                                                                                  \
    X(shf, shf)                                                                                    \
    X(shfl, shfl)                                                                                  \
    X(shl, shift)                                                                                  \
    X(shr, shift)                                                                                  \
    X(sin, approximate)                                                                            \
    X(slct, slct)                                                                                  \
    X(sqrt, approximate)                                                                           \
    X(st, st)                                                                                      \
    X(stmatrix, stmatrix)                                                                          \
    X(sub, add)                                                                                    \
    X(subc, add_carry)                                                                             \
    X(szext, szext)                                                                                \
    X(tanh, approximate)                                                                           \
    X(testp, testp)                                                                                \
    X(trap, trap)                                                                                  \
    X(vabsdiff2, absolute_differences)                                                             \
    X(vabsdiff4, absolute_differences)                                                             \
    X(vote, vote)                                                                                  \
    X(wmma, wmma)                                                                                  \
    X(xor, logic)

#define X(opcode, emitter) void ptx_emit_##emitter(struct ptx_emit *e);
PTX_INSTRUCTIONS(X)
#undef X

/* cp.async.mbarrier.arrive */
void ptx_emit_copy_arrival(struct ptx_emit *e);
/* Parts of emitters that another file's emitter hands over to, by the class of the type. */
void ptx_emit_float_add(struct ptx_emit *e, enum ptx_type type);
void ptx_emit_float_mul(struct ptx_emit *e, enum ptx_type type);
void ptx_emit_float_fma(struct ptx_emit *e, enum ptx_type type);
void ptx_emit_float_div(struct ptx_emit *e, enum ptx_type type);
void ptx_emit_float_minmax(struct ptx_emit *e, enum ptx_type type);
void ptx_emit_float_sign(struct ptx_emit *e, enum ptx_type type);
/* The same operation on both floats of .f32x2. */
void ptx_emit_float_pair(struct ptx_emit *e, const char *operation, unsigned operands);
void ptx_emit_half(struct ptx_emit *e, enum ptx_type type, const char *operation,
                   unsigned operands);
/* A comparison of two operands as a C truth value; the operator is taken from the modifiers. */
const char *ptx_compare(struct ptx_emit *e, enum ptx_type type, const char *a, const char *b,
                        const char *op, bool ftz);

#endif
