/* ptx_ir.h - PTX as it was read: modules, functions, variables, registers, instructions.
 *
 * The lexer and the parser fill these, the passes over a function (recording, liveness) annotate
 * them, the emitters turn them into C. Everything lives in the unit's arena and dies with it; an
 * error leaves through ptx_fail(), which never returns, so no code here cleans up after itself and
 * nobody may hold a resource that is not the unit's across a call that can fail.
 */
#ifndef SIMCUDA_PTX_IR_H
#define SIMCUDA_PTX_IR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Operand types. name, bytes, class: b bits, u unsigned, s signed, f float, h 16 bit float, x
 * packed, y two floats, q two 8 bit floats, p predicate. Packed types and narrow floats are held as
 * the bits of an unsigned integer.
 */
#define PTX_TYPES(X)                                                                               \
    X(b8, 1, 'b')                                                                                  \
    X(b16, 2, 'b')                                                                                 \
    X(b32, 4, 'b')                                                                                 \
    X(b64, 8, 'b')                                                                                 \
    X(b128, 16, 'b')                                                                               \
    X(u8, 1, 'u')                                                                                  \
    X(u16, 2, 'u')                                                                                 \
    X(u32, 4, 'u')                                                                                 \
    X(u64, 8, 'u')                                                                                 \
    X(s8, 1, 's')                                                                                  \
    X(s16, 2, 's')                                                                                 \
    X(s32, 4, 's')                                                                                 \
    X(s64, 8, 's')                                                                                 \
    X(f32, 4, 'f')                                                                                 \
    X(f64, 8, 'f')                                                                                 \
    X(f16, 2, 'h')                                                                                 \
    X(bf16, 2, 'h')                                                                                \
    X(f16x2, 4, 'x')                                                                               \
    X(bf16x2, 4, 'x')                                                                              \
    X(u16x2, 4, 'x')                                                                               \
    X(s16x2, 4, 'x')                                                                               \
    X(f32x2, 8, 'y')                                                                               \
    X(e4m3x2, 2, 'q')                                                                              \
    X(e5m2x2, 2, 'q')                                                                              \
    X(tf32, 4, 'b')                                                                                \
    X(pred, 1, 'p')

enum ptx_type {
    PTX_TYPE_NONE,
#define X(name, bytes, class) PTX_##name,
    PTX_TYPES(X)
#undef X
        PTX_TYPE_COUNT
};

unsigned ptx_type_bytes(enum ptx_type type);
char ptx_type_class(enum ptx_type type);
const char *ptx_type_name(enum ptx_type type);
/* name without its dot; returns PTX_TYPE_NONE when it names no type. */
enum ptx_type ptx_type_find(const char *name);

enum ptx_space {
    PTX_SPACE_GENERIC,
    PTX_SPACE_GLOBAL,
    PTX_SPACE_CONST,
    PTX_SPACE_SHARED,
    PTX_SPACE_LOCAL,
    PTX_SPACE_PARAM,
};

/* How a register is held in C. A 32 or 64 bit register without a type of its own becomes a float
 * where the instructions that use it mostly treat it as one. */
enum ptx_hold {
    PTX_HOLD_PRED,
    PTX_HOLD_B8,
    PTX_HOLD_B16,
    PTX_HOLD_B32,
    PTX_HOLD_B64,
    PTX_HOLD_B128,
    PTX_HOLD_F32,
    PTX_HOLD_F64,
};

enum ptx_nan_source {
    PTX_NAN_RAW = 1,        /* written by a load or from bits: a NaN keeps its payload */
    PTX_NAN_ARITHMETIC = 2, /* written by arithmetic: a NaN is the canonical one */
};

struct ptx_reg {
    const char *name;
    enum ptx_type type;
    enum ptx_hold hold;
    unsigned index; /* in the function; the C name is r<index> */
    unsigned lanes; /* 1, or 2 and 4 for a .v2 and .v4 register, whose parts follow by index */
    unsigned float_uses;
    unsigned int_uses;
    unsigned nan_sources; /* enum ptx_nan_source, or-ed */
    bool saved;           /* lives across a suspension: has a place in the frame */
};

/* Where the bytes of an initialiser hold the address of another variable. */
struct ptx_reloc_name {
    uint32_t offset;
    int64_t addend;
    const char *name;
    int line;
    struct ptx_reloc_name *next;
};

struct ptx_var {
    const char *name;
    enum ptx_space space;
    uint32_t align;
    uint64_t bytes;
    uint32_t element_bytes; /* what name[i] counts in */
    bool is_extern;         /* an unsized .extern .shared array: the dynamic shared memory */
    uint8_t *initial;       /* NULL for zero */
    struct ptx_reloc_name *relocs;
    int line;
    unsigned index;  /* among the module's globals, its shared variables, or the function's own */
    uint64_t offset; /* in the parameter buffer, the function's local memory or its call areas */
    bool is_formal;  /* a parameter of this function: an argument is given by the caller */
    struct ptx_reg *formal_reg; /* an old style parameter that is a register */
    struct ptx_var *next;
};

enum ptx_operand_kind {
    PTX_OPERAND_REG,
    PTX_OPERAND_SPECIAL, /* %tid.x and the like, by name */
    PTX_OPERAND_INT,
    PTX_OPERAND_F32,  /* bits of a 0f constant */
    PTX_OPERAND_F64,  /* bits of a 0d or decimal constant */
    PTX_OPERAND_VAR,  /* the address of a variable, plus value */
    PTX_OPERAND_NAME, /* a label or a function, resolved by who uses it */
    PTX_OPERAND_MEM,  /* [base + value] */
    PTX_OPERAND_VEC,  /* {a, b, ...} or the parts of a vector register */
    PTX_OPERAND_LIST, /* (a, b, ...) of a call */
    PTX_OPERAND_SINK, /* _ */
};

struct ptx_operand {
    enum ptx_operand_kind kind;
    bool negated;   /* !p */
    uint64_t value; /* constant bits, or the offset of an address */
    struct ptx_reg *reg;
    struct ptx_var *var;
    const char *name;
    struct ptx_operand *base;  /* of PTX_OPERAND_MEM */
    struct ptx_operand *pair;  /* q of p|q */
    struct ptx_operand *items; /* of PTX_OPERAND_VEC and _LIST */
    unsigned count;
};

#define PTX_MODIFIERS_MAX 16
#define PTX_OPERANDS_MAX  8

/* A pair of braces. */
struct ptx_scope {
    const struct ptx_scope *parent;
};

struct ptx_insn {
    const char *opcode; /* NULL: this is the label */
    const char *label;
    const struct ptx_scope *scope;
    int line;
    const char *modifiers[PTX_MODIFIERS_MAX]; /* without their dots */
    unsigned modifier_count;
    unsigned consumed; /* bit i: modifier i was understood */
    struct ptx_operand operands[PTX_OPERANDS_MAX];
    unsigned operand_count;
    struct ptx_reg *guard;
    bool guard_negated;
    unsigned label_index; /* of a label; the C name is L<index> */

    /* Found by the recording pass. */
    struct ptx_reg **uses, **defs;
    unsigned use_count, def_count;
    struct ptx_insn **targets; /* labels that it may jump to */
    unsigned target_count;
    bool ends_flow;        /* control does not go on to the next instruction */
    bool suspends;         /* the thread may stop here and go on later */
    bool re_enters;        /* it goes on before the instruction (a call), not after it */
    bool spins;            /* worth a suspension when it stands in a loop */
    unsigned resume;       /* number of the suspension, from 1 */
    struct ptx_reg **live; /* what must survive the suspension */
    unsigned live_count;
    struct ptx_insn *next;
};

/* .branchtargets, .calltargets and .callprototype: a label with names. */
struct ptx_table {
    const char *label;
    const char **names;
    unsigned count;
    struct ptx_table *next;
};

struct ptx_func {
    const char *name;
    bool is_entry;
    bool has_body;
    int line;
    unsigned index;
    struct ptx_var *params, *results; /* in order */
    unsigned param_count, result_count;
    uint32_t param_bytes;
    uint32_t max_threads;                     /* .maxntid or .reqntid; 0: not said */
    struct ptx_var *locals, *shareds, *areas; /* areas: .param variables of calls */
    struct ptx_table *tables;
    uint32_t local_bytes;
    struct ptx_reg **regs;
    unsigned reg_count, reg_capacity;
    unsigned label_count;
    struct ptx_insn *first, *last;

    /* Found by passes over the whole module. */
    struct ptx_func **callees;
    unsigned callee_count, callee_capacity;
    bool calls_indirectly;
    bool suspends;
    bool uses_tile;          /* the frame holds what matrix instructions bring and take */
    uint8_t *shared_used;    /* by index of the module's shared variables */
    uint32_t *shared_offset; /* entries: where each lies */
    uint32_t shared_bytes;
    bool uses_dynamic_shared;
    uint64_t local_need; /* entries: local bytes of a thread, with what it calls */
    bool recursive;
    struct ptx_func *next;
};

struct ptx_chunk;

/* A growing text. */
struct ptx_text {
    char *data;
    size_t bytes, capacity;
};

/* One translation. */
struct ptx_unit {
    struct ptx_chunk *chunks;
    jmp_buf *fail;
    int result; /* CUresult of the failure */
    char *log;
    size_t log_bytes;
    struct ptx_var *globals, *last_global; /* .global and .const, in order */
    unsigned global_count;
    struct ptx_var *shareds; /* of the module and of functions */
    unsigned shared_count;
    struct ptx_func *funcs, *last_func;
    unsigned func_count;
    struct ptx_text out;
};

/* The arena never returns NULL: it fails the unit instead. Zeroed. */
void *ptx_alloc(struct ptx_unit *unit, size_t bytes);
char *ptx_strdup(struct ptx_unit *unit, const char *text, size_t bytes);
char *ptx_format(struct ptx_unit *unit, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Make room for one more element of the array *items. */
void *ptx_grow(struct ptx_unit *unit, void *items, unsigned count, unsigned *capacity,
               size_t item_bytes);
void ptx_unit_free(struct ptx_unit *unit);

/* Append to a text. */
void ptx_put(struct ptx_unit *unit, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Write `ptx line N: message` to the log and leave the translation with 218. */
void ptx_fail(struct ptx_unit *unit, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));
void ptx_fail_with(struct ptx_unit *unit, int result, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));

struct ptx_func *ptx_unit_func(struct ptx_unit *unit, const char *name);
struct ptx_var *ptx_unit_global(struct ptx_unit *unit, const char *name);

/* Read the text into unit. */
void ptx_parse(struct ptx_unit *unit, const char *text, size_t text_bytes);
/* Turn it into C, appended to unit->out. */
void ptx_emit_unit(struct ptx_unit *unit);

#endif
