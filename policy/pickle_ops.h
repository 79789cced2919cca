/* pickle_ops.h - the opcodes that are known, and what each does.
 *
 * An opcode exists only as a row of this table. Those that state dicts never have (instances, the
 * text forms of protocol 0, extension codes, buffers out of band) are missing on purpose.
 */
#ifndef BERTH_POLICY_PICKLE_OPS_H
#define BERTH_POLICY_PICKLE_OPS_H

#include "pickle_machine.h"

/* What follows an opcode: nothing, a little-endian number of 1, 2, 4 or 8 bytes, text behind its
 * length in 1, 4 or 8 bytes, 8 bytes of a double, two lines. */
enum {
    PICKLE_NOTHING = 0,
    PICKLE_U1 = 1,
    PICKLE_U2 = 2,
    PICKLE_U4 = 4,
    PICKLE_U8 = 8,
    PICKLE_TEXT1 = 0x11,
    PICKLE_TEXT4 = 0x14,
    PICKLE_TEXT8 = 0x18,
    PICKLE_LINES = 0x20
};
#define PICKLE_TEXT_BEHIND 0x10

/* code, what follows it, what it does */
#define PICKLE_OPCODES(X)                                                                          \
    X('(', PICKLE_NOTHING, pickle_op_mark)                                                         \
    X(')', PICKLE_NOTHING, pickle_op_empty_tuple)                                                  \
    X('.', PICKLE_NOTHING, pickle_op_stop)                                                         \
    X('B', PICKLE_TEXT4, pickle_op_bytes)                                                          \
    X('C', PICKLE_TEXT1, pickle_op_bytes)                                                          \
    X('G', PICKLE_U8, pickle_op_binfloat)                                                          \
    X('J', PICKLE_U4, pickle_op_binint)                                                            \
    X('K', PICKLE_U1, pickle_op_unsigned)                                                          \
    X('M', PICKLE_U2, pickle_op_unsigned)                                                          \
    X('N', PICKLE_NOTHING, pickle_op_none)                                                         \
    X('Q', PICKLE_NOTHING, pickle_op_binpersid)                                                    \
    X('R', PICKLE_NOTHING, pickle_op_reduce)                                                       \
    X('T', PICKLE_TEXT4, pickle_op_string)                                                         \
    X('U', PICKLE_TEXT1, pickle_op_string)                                                         \
    X('X', PICKLE_TEXT4, pickle_op_string)                                                         \
    X(']', PICKLE_NOTHING, pickle_op_empty_list)                                                   \
    X('a', PICKLE_NOTHING, pickle_op_append)                                                       \
    X('b', PICKLE_NOTHING, pickle_op_build)                                                        \
    X('c', PICKLE_LINES, pickle_op_global)                                                         \
    X('e', PICKLE_NOTHING, pickle_op_appends)                                                      \
    X('h', PICKLE_U1, pickle_op_get)                                                               \
    X('j', PICKLE_U4, pickle_op_get)                                                               \
    X('q', PICKLE_U1, pickle_op_put)                                                               \
    X('r', PICKLE_U4, pickle_op_put)                                                               \
    X('s', PICKLE_NOTHING, pickle_op_setitem)                                                      \
    X('t', PICKLE_NOTHING, pickle_op_tuple)                                                        \
    X('u', PICKLE_NOTHING, pickle_op_setitems)                                                     \
    X('}', PICKLE_NOTHING, pickle_op_empty_dict)                                                   \
    X(0x80, PICKLE_U1, pickle_op_proto)                                                            \
    X(0x85, PICKLE_NOTHING, pickle_op_tuple1)                                                      \
    X(0x86, PICKLE_NOTHING, pickle_op_tuple2)                                                      \
    X(0x87, PICKLE_NOTHING, pickle_op_tuple3)                                                      \
    X(0x88, PICKLE_NOTHING, pickle_op_newtrue)                                                     \
    X(0x89, PICKLE_NOTHING, pickle_op_newfalse)                                                    \
    X(0x8a, PICKLE_TEXT1, pickle_op_long)                                                          \
    X(0x8b, PICKLE_TEXT4, pickle_op_long)                                                          \
    X(0x8c, PICKLE_TEXT1, pickle_op_string)                                                        \
    X(0x8d, PICKLE_TEXT8, pickle_op_string)                                                        \
    X(0x8e, PICKLE_TEXT8, pickle_op_bytes)                                                         \
    X(0x8f, PICKLE_NOTHING, pickle_op_empty_set)                                                   \
    X(0x90, PICKLE_NOTHING, pickle_op_additems)                                                    \
    X(0x91, PICKLE_NOTHING, pickle_op_frozenset)                                                   \
    X(0x93, PICKLE_NOTHING, pickle_op_stack_global)                                                \
    X(0x94, PICKLE_NOTHING, pickle_op_memoize)                                                     \
    X(0x95, PICKLE_U8, pickle_op_frame)                                                            \
    X(0x96, PICKLE_TEXT8, pickle_op_bytes)

/* Run one opcode, whose argument was taken from the pickle.
 *
 * returns  0; -EINVAL, -ENODATA or -ENOMEM and the error filled
 */
#define X(code, follows, run)                                                                      \
    int run(struct pickle_machine *m, const struct pickle_argument *argument);
PICKLE_OPCODES(X)
#undef X

#endif
