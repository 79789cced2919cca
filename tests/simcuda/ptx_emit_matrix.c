/* ptx_emit_matrix.c - matrices that the threads of a warp hold together. */
#include "ptx_emit.h"

#include <string.h>

#include "ptx_device.h"

#define WHOLE_WARP "0xffffffffu"

enum part {
    PART_A,
    PART_B,
    PART_C,
    PART_D,
};

struct shape {
    const char *name;
    unsigned m, n, k;
};

/* What each thread holds of one operand. */
struct fragment {
    const char *element; /* of enum ptx_element, by name */
    unsigned bits;       /* of an element */
    unsigned rows, columns;
    unsigned registers;
};

static unsigned elements_of(const struct fragment *f)
{
    return f->rows * f->columns / 32;
}

static unsigned per_register(const struct fragment *f)
{
    return f->bits == 64 ? 1 : 32 / f->bits;
}

static enum ptx_type register_type(const struct fragment *f)
{
    return f->bits == 64 ? PTX_b64 : PTX_b32;
}

static struct fragment fragment_of(struct ptx_emit *e, enum ptx_type type, unsigned rows,
                                   unsigned columns)
{
    static const struct {
        enum ptx_type type;
        const char *name;
        unsigned bits;
    } elements[] = {
#define X(name, bits) {PTX_##name, #name, bits},
        PTX_ELEMENTS(X)
#undef X
    };
    struct fragment f = {.rows = rows, .columns = columns};

    for (size_t i = 0; i < sizeof(elements) / sizeof(elements[0]); i++) {
        if (elements[i].type != type)
            continue;
        f.element = elements[i].name;
        f.bits = elements[i].bits;
    }
    if (!f.element)
        ptx_insn_fail(e, "not defined for .%s", ptx_type_name(type));
    f.registers = elements_of(&f) / per_register(&f);
    return f;
}

static struct shape take_shape(struct ptx_emit *e, const struct shape *shapes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ptx_has(e, shapes[i].name))
            return shapes[i];
    ptx_insn_fail(e, "wants a shape that is known here");
}

static void want_aligned_sync(struct ptx_emit *e)
{
    if (!ptx_has(e, "sync") || !ptx_has(e, "aligned"))
        ptx_insn_fail(e, "wants .sync.aligned");
}

static struct ptx_operand *vector_operand(struct ptx_emit *e, unsigned i, unsigned count)
{
    struct ptx_operand *op = &e->insn->operands[i];

    if (i < e->insn->operand_count && op->kind == PTX_OPERAND_VEC && op->count == count)
        return op->items;
    if (i < e->insn->operand_count && op->kind == PTX_OPERAND_REG && count == 1)
        return op;
    ptx_insn_fail(e, "operand %u wants %u registers", i, count);
}

static void bring(struct ptx_emit *e, unsigned i, const struct fragment *f, unsigned first)
{
    struct ptx_operand *items = vector_operand(e, i, f->registers);

    for (unsigned r = 0; r < f->registers; r++)
        ptx_statement(e, "f->tile[%u] = %s;", first + r, ptx_in_op(e, &items[r], register_type(f)));
}

static void take(struct ptx_emit *e, unsigned i, const struct fragment *f, unsigned first)
{
    struct ptx_operand *items = vector_operand(e, i, f->registers);

    for (unsigned r = 0; r < f->registers; r++)
        ptx_out_raw(e, &items[r], register_type(f), "f->tile[%u]", first + r);
}

static void use_tile(struct ptx_emit *e)
{
    if (e->recording)
        e->func->uses_tile = true;
}

/* The warp does what matrix says; on a fault every thread leaves. */
static void wait_matrix(struct ptx_emit *e, const char *op, const char *matrix)
{
    ptx_statement(e, "{ static const struct ptx_matrix m = {%s}; t->matrix = &m; }", matrix);
    ptx_statement(e, "t->tile = f->tile;");
    ptx_wait_warp(e, op, WHOLE_WARP);
    ptx_statement(e, "if (PTX_UNLIKELY(run->fault)) goto fault;");
}

static void multiply(struct ptx_emit *e, const struct shape *shape, const struct fragment *parts,
                     bool is_opaque)
{
    bool saturates = ptx_has(e, "satfinite");

    ptx_want_operands(e, 4, 4);
    bring(e, 1, &parts[PART_A], PTX_TILE_A);
    bring(e, 2, &parts[PART_B], PTX_TILE_B);
    bring(e, 3, &parts[PART_C], PTX_TILE_C);
    wait_matrix(e, "PTX_MMA",
                ptx_text(e,
                         "%u, %u, %u, PTX_ELEMENT_%s, PTX_ELEMENT_%s, PTX_ELEMENT_%s, "
                         "PTX_ELEMENT_%s, .saturates = %d, .is_opaque = %d",
                         shape->m, shape->n, shape->k, parts[PART_A].element, parts[PART_B].element,
                         parts[PART_C].element, parts[PART_D].element, saturates, is_opaque));
    take(e, 0, &parts[PART_D], PTX_TILE_D);
}

/* a, b and d of an instruction go together: d holds sums of what a and b multiply to. */
static void check_types(struct ptx_emit *e, const enum ptx_type *types)
{
    enum ptx_type a = types[PART_A], b = types[PART_B], c = types[PART_C], d = types[PART_D];
    bool bytes = (a == PTX_s8 || a == PTX_u8) && (b == PTX_s8 || b == PTX_u8);
    bool narrow = a == PTX_f16 && b == PTX_f16;
    bool wide = (a == PTX_f16 || a == PTX_bf16 || a == PTX_tf32) && a == b;

    if (!(bytes && c == PTX_s32 && d == PTX_s32) &&
        !(narrow && (c == PTX_f16 || c == PTX_f32) && (d == PTX_f16 || d == PTX_f32)) &&
        !(wide && c == PTX_f32 && d == PTX_f32) &&
        !(a == PTX_f64 && b == PTX_f64 && c == PTX_f64 && d == PTX_f64))
        ptx_insn_fail(e, "these types do not go together");
}

/* Elements of a row that one register holds, times four threads, once or more. */
static void check_depth(struct ptx_emit *e, const struct shape *shape, const struct fragment *a)
{
    unsigned step = 4 * per_register(a);

    if (shape->k % step || shape->k / step > (a->bits == 64 ? 4 : 2) ||
        (shape->m == 8 && a->bits != 64 && a->bits != 8))
        ptx_insn_fail(e, "no such shape for .%s", a->element);
}

void ptx_emit_mma(struct ptx_emit *e)
{
    static const struct shape shapes[] = {
        {"m16n8k16", 16, 8, 16}, {"m16n8k8", 16, 8, 8}, {"m16n8k32", 16, 8, 32},
        {"m16n8k4", 16, 8, 4},   {"m8n8k16", 8, 8, 16}, {"m8n8k4", 8, 8, 4},
    };
    enum ptx_type types[4];
    struct fragment parts[4];
    struct shape shape;

    want_aligned_sync(e);
    use_tile(e);
    shape = take_shape(e, shapes, sizeof(shapes) / sizeof(shapes[0]));
    if (!ptx_has(e, "row") || !ptx_has(e, "col"))
        ptx_insn_fail(e, "wants .row.col");
    types[PART_D] = ptx_want_type(e);
    types[PART_A] = ptx_want_type(e);
    types[PART_B] = ptx_want_type(e);
    types[PART_C] = ptx_want_type(e);
    check_types(e, types);
    parts[PART_A] = fragment_of(e, types[PART_A], shape.m, shape.k);
    parts[PART_B] = fragment_of(e, types[PART_B], shape.k, shape.n);
    parts[PART_C] = fragment_of(e, types[PART_C], shape.m, shape.n);
    parts[PART_D] = fragment_of(e, types[PART_D], shape.m, shape.n);
    check_depth(e, &shape, &parts[PART_A]);
    multiply(e, &shape, parts, false);
}

static unsigned take_count(struct ptx_emit *e)
{
    if (!ptx_has(e, "m8n8") || !ptx_has(e, "b16"))
        ptx_insn_fail(e, "wants .m8n8 and .b16");
    return ptx_has(e, "x4") ? 4 : ptx_has(e, "x2") ? 2 : ptx_has(e, "x1") ? 1 : 0;
}

static const char *rows_of(struct ptx_emit *e, unsigned count)
{
    return ptx_text(e, ".count = %u, .is_transposed = %d", count, ptx_has(e, "trans"));
}

/* Threads 0 to 7 name the rows of the first matrix, 8 to 15 of the second, and so forth. */
void ptx_emit_ldmatrix(struct ptx_emit *e)
{
    enum ptx_space space = ptx_insn_space(e);
    unsigned count = take_count(e);
    struct ptx_operand *items, *op = ptx_memory_operand(e, 1);

    want_aligned_sync(e);
    use_tile(e);
    ptx_want_operands(e, 2, 2);
    space = ptx_space_of(e, op, space);
    if (!count || (space != PTX_SPACE_SHARED && space != PTX_SPACE_GENERIC))
        ptx_insn_fail(e, "wants .x1, .x2 or .x4, .shared");
    ptx_statement(e, "if (t->lane < %u) { uint8_t *p; uint64_t a = %s;", 8 * count,
                  ptx_mem_address(e, op));
    ptx_place(e, space, "a", 16, "MMU_READ");
    ptx_statement(e, "memcpy(f->tile, p, 16); }");
    wait_matrix(e, "PTX_LDMATRIX", rows_of(e, count));
    items = vector_operand(e, 0, count);
    for (unsigned i = 0; i < count; i++)
        ptx_out_raw(e, &items[i], PTX_b32, "f->tile[PTX_TILE_B + %u]", i);
}

void ptx_emit_stmatrix(struct ptx_emit *e)
{
    enum ptx_space space = ptx_insn_space(e);
    unsigned count = take_count(e);
    struct ptx_operand *items, *op = ptx_memory_operand(e, 0);

    want_aligned_sync(e);
    use_tile(e);
    ptx_want_operands(e, 2, 2);
    space = ptx_space_of(e, op, space);
    if (!count || (space != PTX_SPACE_SHARED && space != PTX_SPACE_GENERIC))
        ptx_insn_fail(e, "wants .x1, .x2 or .x4, .shared");
    items = vector_operand(e, 1, count);
    for (unsigned i = 0; i < count; i++)
        ptx_statement(e, "f->tile[%u] = %s;", i, ptx_in_op(e, &items[i], PTX_b32));
    ptx_statement(e, "f->tile[PTX_TILE_C] = %s;", ptx_mem_address(e, op));
    wait_matrix(e, "PTX_STMATRIX", rows_of(e, count));
    ptx_statement(e, "if (t->lane < %u) { uint8_t *p; uint64_t a = f->tile[PTX_TILE_C];",
                  8 * count);
    ptx_place(e, space, "a", 16, "MMU_WRITE");
    ptx_statement(e, "memcpy(p, f->tile + PTX_TILE_B, 16); }");
}

void ptx_emit_movmatrix(struct ptx_emit *e)
{
    want_aligned_sync(e);
    use_tile(e);
    if (!ptx_has(e, "m8n8") || !ptx_has(e, "trans") || !ptx_has(e, "b16"))
        ptx_insn_fail(e, "wants .m8n8.trans.b16");
    ptx_want_operands(e, 2, 2);
    ptx_statement(e, "f->tile[0] = %s;", ptx_in(e, 1, PTX_b32));
    wait_matrix(e, "PTX_MOVMATRIX", "0");
    ptx_out_raw(e, &e->insn->operands[0], PTX_b32, "f->tile[PTX_TILE_B]");
}

/* Each layout counts once for every operand that it names. */
static void take_layouts(struct ptx_emit *e)
{
    for (unsigned i = 0; i < e->insn->modifier_count; i++)
        if (strcmp(e->insn->modifiers[i], "row") == 0 || strcmp(e->insn->modifiers[i], "col") == 0)
            e->insn->consumed |= 1u << i;
}

static struct shape take_wmma_shape(struct ptx_emit *e)
{
    static const struct shape shapes[] = {
        {"m16n16k16", 16, 16, 16}, {"m8n32k16", 8, 32, 16}, {"m32n8k16", 32, 8, 16},
        {"m16n16k8", 16, 16, 8},   {"m8n8k4", 8, 8, 4},
    };

    want_aligned_sync(e);
    return take_shape(e, shapes, sizeof(shapes) / sizeof(shapes[0]));
}

/* f16 operands have eight registers whatever their shape: what is over holds copies. */
static struct fragment wmma_fragment(struct ptx_emit *e, const struct shape *shape, enum part part,
                                     enum ptx_type type)
{
    unsigned rows = part == PART_B ? shape->k : shape->m;
    unsigned columns = part == PART_A ? shape->k : shape->n;
    struct fragment f = fragment_of(e, type, rows, columns);

    if (part <= PART_B && type == PTX_f16)
        f.registers = 8;
    if ((type == PTX_f64) != (shape->n == 8 && shape->k == 4) ||
        (part <= PART_B && (type == PTX_tf32) != (shape->k == 8)) ||
        (part <= PART_B && (type == PTX_f32 || type == PTX_s32)) ||
        (part >= PART_C && f.bits != 32 && type != PTX_f64 && type != PTX_f16))
        ptx_insn_fail(e, "no such operand of .%s for .%s", shape->name, ptx_type_name(type));
    return f;
}

/* A loop over the thread's elements, `s` of them, whose places in memory become `p`. What the loop
 * needs lies in the tile. */
static void emit_elements(struct ptx_emit *e, const struct fragment *f, enum ptx_space space,
                          unsigned slots, bool by_row, const char *access)
{
    unsigned bytes = f->bits / 8;

    ptx_statement(e, "for (unsigned s = 0; s < %u; s++) { uint8_t *p;", slots);
    ptx_statement(e, "uint64_t at = s %% %u * 32 + t->lane, line = f->tile[PTX_TILE_D + 1];",
                  elements_of(f));
    ptx_statement(e, "uint64_t a = f->tile[PTX_TILE_D] + %u * (at %c %u * line + at %c %u);", bytes,
                  by_row ? '/' : '%', f->columns, by_row ? '%' : '/', f->columns);
    ptx_place(e, space, "a", bytes, access);
    ptx_count_bytes(e, space, "a", bytes, strcmp(access, "MMU_READ") == 0 ? "rd" : "wr");
}

/* The address, and how far apart the lines of the matrix lie. */
static void bring_address(struct ptx_emit *e, struct ptx_operand *op, unsigned stride,
                          unsigned dense)
{
    ptx_statement(e, "f->tile[PTX_TILE_D] = %s;", ptx_mem_address(e, op));
    ptx_statement(e, "f->tile[PTX_TILE_D + 1] = %s;",
                  e->insn->operand_count > stride ? ptx_in(e, stride, PTX_u32)
                                                  : ptx_text(e, "%u", dense));
}

static void emit_wmma_load(struct ptx_emit *e)
{
    enum ptx_space space = ptx_insn_space(e);
    enum part part = ptx_has(e, "a") ? PART_A : ptx_has(e, "b") ? PART_B : PART_C;
    struct ptx_operand *op = ptx_memory_operand(e, 1);
    struct shape shape = take_wmma_shape(e);
    bool by_row = ptx_has(e, "row");
    struct fragment f;

    if (part == PART_C && !ptx_has(e, "c"))
        ptx_insn_fail(e, "wants .a, .b or .c");
    take_layouts(e);
    f = wmma_fragment(e, &shape, part, ptx_want_type(e));
    ptx_want_operands(e, 2, 3);
    bring_address(e, op, 2, by_row ? f.columns : f.rows);
    ptx_wait_warp(e, "PTX_SYNC", WHOLE_WARP);
    ptx_statement(e, "memset(f->tile, 0, 8 * sizeof(f->tile[0]));");
    emit_elements(e, &f, ptx_space_of(e, op, space), f.registers * per_register(&f), by_row,
                  "MMU_READ");
    ptx_statement(e, "f->tile[s / %u] |= (uint64_t)ptx_load%u(p) << s %% %u * %u; }",
                  per_register(&f), f.bits, per_register(&f), f.bits);
    take(e, 0, &f, PTX_TILE_A);
}

static void emit_wmma_store(struct ptx_emit *e)
{
    enum ptx_space space = ptx_insn_space(e);
    struct ptx_operand *op = ptx_memory_operand(e, 0);
    struct shape shape = take_wmma_shape(e);
    bool by_row = ptx_has(e, "row");
    struct fragment f;

    if (!ptx_has(e, "d"))
        ptx_insn_fail(e, "wants .d");
    take_layouts(e);
    f = wmma_fragment(e, &shape, PART_D, ptx_want_type(e));
    ptx_want_operands(e, 2, 3);
    bring(e, 1, &f, PTX_TILE_A);
    bring_address(e, op, 2, by_row ? f.columns : f.rows);
    emit_elements(e, &f, ptx_space_of(e, op, space), elements_of(&f), by_row, "MMU_WRITE");
    ptx_statement(e, "ptx_store%u(p, (uint%u_t)(f->tile[s / %u] >> s %% %u * %u)); }", f.bits,
                  f.bits, per_register(&f), per_register(&f), f.bits);
    ptx_wait_warp(e, "PTX_SYNC", WHOLE_WARP);
}

/* .dtype.ctype with a and b of f16, or all four types. */
static void emit_wmma_mma(struct ptx_emit *e)
{
    struct shape shape = take_wmma_shape(e);
    enum ptx_type types[4];
    struct fragment parts[4];

    take_layouts(e);
    ptx_has(e, "rn");
    types[PART_D] = ptx_want_type(e);
    types[PART_C] = ptx_want_type(e);
    types[PART_A] = types[PART_C];
    types[PART_B] = ptx_take_type(e);
    if (types[PART_B] == PTX_TYPE_NONE)
        types[PART_A] = types[PART_B] = PTX_f16;
    else
        types[PART_C] = ptx_want_type(e);
    check_types(e, types);
    for (enum part part = PART_A; part <= PART_D; part++)
        parts[part] = wmma_fragment(e, &shape, part, types[part]);
    multiply(e, &shape, parts, true);
}

void ptx_emit_wmma(struct ptx_emit *e)
{
    use_tile(e);
    if (ptx_has(e, "load"))
        emit_wmma_load(e);
    else if (ptx_has(e, "store"))
        emit_wmma_store(e);
    else if (ptx_has(e, "mma"))
        emit_wmma_mma(e);
    else
        ptx_insn_fail(e, "wants .load, .store or .mma");
}
