/* ptx_parse_decl.c - declarations: registers, variables with their initial values, parameters. */
#include "ptx_parse.h"

#include <string.h>

#define DIMENSIONS_MAX     8
#define VARIABLE_BYTES_MAX ((uint64_t)1 << 32)

static const enum ptx_hold g_hold_of_bytes[17] = {
    [1] = PTX_HOLD_B8,  [2] = PTX_HOLD_B16,   [4] = PTX_HOLD_B32,
    [8] = PTX_HOLD_B64, [16] = PTX_HOLD_B128,
};

static enum ptx_hold hold_of(enum ptx_type type)
{
    if (type == PTX_pred)
        return PTX_HOLD_PRED;
    if (type == PTX_f32)
        return PTX_HOLD_F32;
    if (type == PTX_f64)
        return PTX_HOLD_F64;
    return g_hold_of_bytes[ptx_type_bytes(type)];
}

static struct ptx_reg *new_reg(struct ptx_parser *p, const char *name, enum ptx_type type,
                               unsigned lanes)
{
    struct ptx_func *f = p->func;
    struct ptx_reg *reg = ptx_alloc(p->unit, sizeof(*reg));

    reg->name = name;
    reg->type = type;
    reg->hold = hold_of(type);
    reg->lanes = lanes;
    reg->index = f->reg_count;
    f->regs = ptx_grow(p->unit, f->regs, f->reg_count, &f->reg_capacity, sizeof(struct ptx_reg *));
    f->regs[f->reg_count++] = reg;
    return reg;
}

static void add_reg(struct ptx_parser *p, const char *name, enum ptx_type type, unsigned lanes)
{
    ptx_symbol_add(p, name, new_reg(p, name, type, lanes), NULL);
    for (unsigned i = 0; lanes > 1 && i < lanes; i++)
        new_reg(p, ptx_format(p->unit, "%s.%c", name, "xyzw"[i]), type, 1);
}

static enum ptx_type want_type(struct ptx_parser *p)
{
    enum ptx_type type = PTX_TYPE_NONE;

    if (p->lex.kind == PTX_TOKEN_DOT)
        type = ptx_type_find(p->lex.text);
    if (type == PTX_TYPE_NONE)
        ptx_fail(p->unit, p->lex.line, "unknown type '%s'", ptx_token_text(&p->lex));
    ptx_next(&p->lex);
    return type;
}

static unsigned take_vector(struct ptx_parser *p)
{
    if (ptx_take_dot(&p->lex, "v2"))
        return 2;
    if (ptx_take_dot(&p->lex, "v4"))
        return 4;
    return 1;
}

void ptx_parse_registers(struct ptx_parser *p)
{
    struct ptx_lexer *lex = &p->lex;
    unsigned lanes = take_vector(p);
    enum ptx_type type = want_type(p);

    do {
        const char *name = ptx_want_name(lex);

        if (ptx_take_punct(lex, '<')) {
            uint64_t count = ptx_want_int(lex);

            if (count > 1000000)
                ptx_fail(p->unit, lex->line, "too many registers");
            ptx_want_punct(lex, '>');
            for (uint64_t i = 0; i < count; i++)
                add_reg(p, ptx_format(p->unit, "%s%u", name, (unsigned)i), type, lanes);
        } else {
            add_reg(p, name, type, lanes);
        }
    } while (ptx_take_punct(lex, ','));
    ptx_want_punct(lex, ';');
}

/* .ptr .global .align 8 of a kernel parameter: an assertion about the pointer. */
static void skip_ptr(struct ptx_parser *p)
{
    enum ptx_space space;

    if (!ptx_take_dot(&p->lex, "ptr"))
        return;
    ptx_take_space(p, &space);
    if (ptx_take_dot(&p->lex, "align"))
        ptx_want_int(&p->lex);
}

struct shape {
    enum ptx_type type;
    unsigned lanes;
    uint32_t align;
    uint64_t dims[DIMENSIONS_MAX];
    unsigned dim_count;
    bool unsized; /* the first dimension is [] */
};

static void parse_shape_head(struct ptx_parser *p, struct shape *shape)
{
    struct ptx_lexer *lex = &p->lex;

    *shape = (struct shape){.lanes = 1};
    for (;;) {
        if (ptx_take_dot(lex, "align")) {
            int line = lex->line;
            uint64_t align = ptx_want_int(lex);

            if (align == 0 || (align & (align - 1)) || align > 4096)
                ptx_fail(p->unit, line, "bad alignment %llu", (unsigned long long)align);
            shape->align = (uint32_t)align;
        } else if (ptx_take_dot(lex, "attribute")) {
            while (lex->kind != PTX_TOKEN_END && !ptx_is_punct(lex, ')'))
                ptx_next(lex);
            ptx_want_punct(lex, ')');
        } else if (ptx_is_dot(lex, "v2") || ptx_is_dot(lex, "v4")) {
            shape->lanes = take_vector(p);
        } else {
            break;
        }
    }
    shape->type = want_type(p);
    skip_ptr(p);
    if (shape->align == 0)
        shape->align = ptx_type_bytes(shape->type) * shape->lanes;
}

static void parse_dims(struct ptx_parser *p, struct shape *shape)
{
    struct ptx_lexer *lex = &p->lex;

    shape->dim_count = 0;
    shape->unsized = false;
    while (ptx_take_punct(lex, '[')) {
        if (shape->dim_count == DIMENSIONS_MAX)
            ptx_fail(p->unit, lex->line, "too many dimensions");
        if (ptx_is_punct(lex, ']') && shape->dim_count == 0)
            shape->unsized = true;
        shape->dims[shape->dim_count++] = ptx_is_punct(lex, ']') ? 0 : ptx_want_int(lex);
        ptx_want_punct(lex, ']');
    }
}

static uint64_t shape_bytes(struct ptx_parser *p, const struct shape *shape)
{
    uint64_t bytes = ptx_type_bytes(shape->type) * shape->lanes;

    for (unsigned i = 0; i < shape->dim_count; i++) {
        if (shape->dims[i] && bytes > VARIABLE_BYTES_MAX / shape->dims[i])
            ptx_fail(p->unit, p->lex.line, "variable is too large");
        bytes *= shape->dims[i];
    }
    return bytes;
}

/* name, name + 4 or generic(name) + 4 as an initial value: filled in when the module has addresses.
 */
static void parse_address(struct ptx_parser *p, struct ptx_var *var, uint64_t at)
{
    struct ptx_lexer *lex = &p->lex;
    struct ptx_reloc_name *reloc = ptx_alloc(p->unit, sizeof(*reloc));

    reloc->line = lex->line;
    reloc->offset = (uint32_t)at;
    reloc->name = ptx_want_name(lex);
    if (strcmp(reloc->name, "generic") == 0 && ptx_take_punct(lex, '(')) {
        reloc->name = ptx_want_name(lex);
        ptx_want_punct(lex, ')');
    }
    if (ptx_is_punct(lex, '+') || ptx_is_punct(lex, '-'))
        reloc->addend = (int64_t)ptx_want_int(lex);
    reloc->next = var->relocs;
    var->relocs = reloc;
}

static void parse_scalar(struct ptx_parser *p, struct ptx_var *var, enum ptx_type type, uint64_t at)
{
    struct ptx_lexer *lex = &p->lex;
    unsigned bytes = ptx_type_bytes(type);
    bool negative = false;
    uint64_t bits;

    if (at + bytes > var->bytes)
        ptx_fail(p->unit, lex->line, "'%s' has too many initial values", var->name);
    if (lex->kind == PTX_TOKEN_NAME) {
        if (bytes != 8)
            ptx_fail(p->unit, lex->line, "an address as initial value wants 8 bytes");
        parse_address(p, var, at);
        return;
    }
    if (ptx_type_class(type) == 'f' && ptx_take_punct(lex, '-'))
        negative = true;
    if (lex->kind == PTX_TOKEN_F32 || lex->kind == PTX_TOKEN_F64) {
        double wide;
        float narrow;

        bits = lex->value;
        if (lex->kind == PTX_TOKEN_F64 && bytes == 4) {
            memcpy(&wide, &bits, 8);
            narrow = (float)wide;
            bits = 0;
            memcpy(&bits, &narrow, 4);
        } else if (lex->kind == PTX_TOKEN_F32 && bytes == 8) {
            memcpy(&narrow, &bits, 4);
            wide = narrow;
            memcpy(&bits, &wide, 8);
        }
        ptx_next(lex);
    } else {
        bits = ptx_want_int(lex);
    }
    if (negative)
        bits ^= (uint64_t)1 << (8 * bytes - 1);
    memcpy(var->initial + at, &bits, bytes);
}

/* The values of one dimension, at byte at; a nested brace starts at a whole row. */
static void parse_values(struct ptx_parser *p, struct ptx_var *var, const struct shape *shape,
                         unsigned dim, uint64_t at)
{
    struct ptx_lexer *lex = &p->lex;
    uint64_t row = ptx_type_bytes(shape->type);

    for (unsigned i = dim + 1; i < shape->dim_count; i++)
        row *= shape->dims[i];
    if (dim < shape->dim_count)
        row *= shape->lanes;
    ptx_want_punct(lex, '{');
    ptx_go_deeper(lex);
    while (!ptx_is_punct(lex, '}')) {
        if (ptx_is_punct(lex, '{')) {
            parse_values(p, var, shape, dim + 1, at);
            at += row;
        } else {
            parse_scalar(p, var, shape->type, at);
            at += ptx_type_bytes(shape->type);
        }
        if (!ptx_take_punct(lex, ','))
            break;
    }
    lex->depth--;
    ptx_want_punct(lex, '}');
}

/* .global .b8 text[] = {...}: counts what the braces hold without reading it. */
static uint64_t count_values(const struct ptx_parser *p)
{
    struct ptx_lexer look = p->lex;
    uint64_t values = 0;
    int depth = 0;

    do {
        if (ptx_is_punct(&look, '{'))
            depth++;
        else if (ptx_is_punct(&look, '}'))
            depth--;
        values += ptx_is_punct(&look, ',');
        ptx_next(&look);
    } while (depth > 0 && look.kind != PTX_TOKEN_END);
    return values + 1;
}

static void append_var(struct ptx_var **list, struct ptx_var *var)
{
    while (*list)
        list = &(*list)->next;
    *list = var;
}

static void file_var(struct ptx_parser *p, struct ptx_var *var)
{
    struct ptx_unit *unit = p->unit;

    switch (var->space) {
    case PTX_SPACE_GLOBAL:
    case PTX_SPACE_CONST:
        var->index = unit->global_count++;
        if (unit->last_global)
            unit->last_global->next = var;
        else
            unit->globals = var;
        unit->last_global = var;
        break;
    case PTX_SPACE_SHARED:
        var->index = unit->shared_count++;
        append_var(&unit->shareds, var);
        break;
    case PTX_SPACE_LOCAL:
        p->func->local_bytes = (p->func->local_bytes + var->align - 1) / var->align * var->align;
        var->offset = p->func->local_bytes;
        p->func->local_bytes += (uint32_t)var->bytes;
        append_var(&p->func->locals, var);
        break;
    default:
        var->index = p->func->areas ? p->func->areas->index + 1 : 0;
        var->next = p->func->areas;
        p->func->areas = var;
        break;
    }
}

static struct ptx_var *parse_one(struct ptx_parser *p, struct shape *shape, enum ptx_space space)
{
    struct ptx_var *var = ptx_alloc(p->unit, sizeof(*var));

    var->line = p->lex.line;
    var->name = ptx_want_name(&p->lex);
    var->space = space;
    var->align = shape->align;
    parse_dims(p, shape);
    var->bytes = shape_bytes(p, shape);
    var->element_bytes = ptx_type_bytes(shape->type) * shape->lanes;
    return var;
}

static void parse_initial(struct ptx_parser *p, struct ptx_var *var, struct shape *shape)
{
    if (!ptx_take_punct(&p->lex, '='))
        return;
    if (var->space != PTX_SPACE_GLOBAL && var->space != PTX_SPACE_CONST)
        ptx_fail(p->unit, p->lex.line, "only .global and .const variables have initial values");
    if (shape->unsized) {
        uint64_t row = 1;

        for (unsigned i = 1; i < shape->dim_count; i++)
            row *= shape->dims[i];
        shape->dims[0] = row ? (count_values(p) + row - 1) / row : 0;
        var->bytes = shape_bytes(p, shape);
    }
    var->initial = ptx_alloc(p->unit, var->bytes);
    if (ptx_is_punct(&p->lex, '{'))
        parse_values(p, var, shape, 0, 0);
    else
        parse_scalar(p, var, shape->type, 0);
}

void ptx_parse_variables(struct ptx_parser *p, enum ptx_space space, bool is_extern)
{
    struct shape shape;

    if (!p->func && (space == PTX_SPACE_LOCAL || space == PTX_SPACE_PARAM))
        ptx_fail(p->unit, p->lex.line, ".%s variable at module scope",
                 space == PTX_SPACE_LOCAL ? "local" : "param");
    parse_shape_head(p, &shape);
    do {
        struct ptx_var *var = parse_one(p, &shape, space);

        var->is_extern = is_extern;
        parse_initial(p, var, &shape);
        if (is_extern && space != PTX_SPACE_SHARED)
            ptx_fail(p->unit, var->line, "'%s' is not defined in this module", var->name);
        ptx_symbol_add(p, var->name, NULL, var);
        file_var(p, var);
    } while (ptx_take_punct(&p->lex, ','));
    ptx_want_punct(&p->lex, ';');
}

static struct ptx_var *parse_formal(struct ptx_parser *p)
{
    struct shape shape;
    struct ptx_var *var;
    enum ptx_space space;

    if (ptx_take_dot(&p->lex, "reg")) {
        parse_shape_head(p, &shape);
        var = parse_one(p, &shape, PTX_SPACE_PARAM);
        add_reg(p, var->name, shape.type, 1);
        var->formal_reg = ptx_symbol_find(p, var->name)->reg;
    } else if (ptx_take_space(p, &space) && space == PTX_SPACE_PARAM) {
        parse_shape_head(p, &shape);
        var = parse_one(p, &shape, PTX_SPACE_PARAM);
        if (var->name[0] != '_' || var->name[1])
            ptx_symbol_add(p, var->name, NULL, var);
    } else {
        ptx_fail(p->unit, p->lex.line, "expected .param before '%s'", ptx_token_text(&p->lex));
    }
    var->is_formal = true;
    return var;
}

unsigned ptx_parse_formals(struct ptx_parser *p, struct ptx_var **list)
{
    unsigned count = 0;

    ptx_want_punct(&p->lex, '(');
    while (!ptx_is_punct(&p->lex, ')')) {
        struct ptx_var *var = parse_formal(p);

        var->index = count++;
        append_var(list, var);
        if (!ptx_take_punct(&p->lex, ','))
            break;
    }
    ptx_want_punct(&p->lex, ')');
    return count;
}
