/* ptx_parse_body.c - the statements of a function. */
#include "ptx_parse.h"

#include <string.h>

static void parse_operand(struct ptx_parser *p, struct ptx_operand *op);

static unsigned lane_of(const struct ptx_lexer *lex)
{
    static const char lanes[] = "xyzwrgba";
    const char *at = lex->kind == PTX_TOKEN_DOT && lex->text[0] && !lex->text[1]
                         ? strchr(lanes, lex->text[0])
                         : NULL;

    return at ? (unsigned)(at - lanes) & 3 : 4;
}

static void use_vector_register(struct ptx_parser *p, struct ptx_operand *op, struct ptx_reg *reg)
{
    unsigned lane = lane_of(&p->lex);

    if (lane < reg->lanes) {
        ptx_next(&p->lex);
        op->kind = PTX_OPERAND_REG;
        op->reg = p->func->regs[reg->index + 1 + lane];
        return;
    }
    op->kind = PTX_OPERAND_VEC;
    op->count = reg->lanes;
    op->items = ptx_alloc(p->unit, reg->lanes * sizeof(*op->items));
    for (unsigned i = 0; i < reg->lanes; i++) {
        op->items[i].kind = PTX_OPERAND_REG;
        op->items[i].reg = p->func->regs[reg->index + 1 + i];
    }
}

static void parse_named(struct ptx_parser *p, struct ptx_operand *op)
{
    const char *name = ptx_want_name(&p->lex);
    struct ptx_symbol *symbol = ptx_symbol_find(p, name);

    op->name = name;
    if (strcmp(name, "_") == 0) {
        op->kind = PTX_OPERAND_SINK;
    } else if (symbol && symbol->reg && symbol->reg->lanes > 1) {
        use_vector_register(p, op, symbol->reg);
    } else if (symbol && symbol->reg) {
        op->kind = PTX_OPERAND_REG;
        op->reg = symbol->reg;
    } else if (symbol) {
        op->kind = PTX_OPERAND_VAR;
        op->var = symbol->var;
    } else if (name[0] == '%') {
        op->kind = PTX_OPERAND_SPECIAL;
        if (p->lex.kind == PTX_TOKEN_DOT) {
            op->name = ptx_format(p->unit, "%s.%s", name, p->lex.text);
            ptx_next(&p->lex);
        }
    } else {
        op->kind = PTX_OPERAND_NAME;
    }
}

static void parse_items(struct ptx_parser *p, struct ptx_operand *op, char close)
{
    unsigned capacity = 0;

    ptx_go_deeper(&p->lex);
    while (!ptx_is_punct(&p->lex, close)) {
        op->items = ptx_grow(p->unit, op->items, op->count, &capacity, sizeof(*op->items));
        memset(&op->items[op->count], 0, sizeof(*op->items));
        parse_operand(p, &op->items[op->count++]);
        if (!ptx_take_punct(&p->lex, ','))
            break;
    }
    p->lex.depth--;
    ptx_want_punct(&p->lex, close);
}

static void parse_memory(struct ptx_parser *p, struct ptx_operand *op)
{
    struct ptx_lexer *lex = &p->lex;

    op->kind = PTX_OPERAND_MEM;
    op->base = ptx_alloc(p->unit, sizeof(*op->base));
    if (lex->kind == PTX_TOKEN_NAME) {
        parse_named(p, op->base);
    } else {
        op->base->kind = PTX_OPERAND_INT;
    }
    if (!ptx_is_punct(lex, ']'))
        op->value = ptx_want_int(lex);
    ptx_want_punct(lex, ']');
}

static void parse_constant(struct ptx_parser *p, struct ptx_operand *op)
{
    struct ptx_lexer *lex = &p->lex;
    bool negative = false;

    if (lex->kind != PTX_TOKEN_F32 && lex->kind != PTX_TOKEN_F64) {
        struct ptx_lexer ahead = *lex;

        if (ptx_take_punct(&ahead, '-') &&
            (ahead.kind == PTX_TOKEN_F32 || ahead.kind == PTX_TOKEN_F64)) {
            negative = true;
            *lex = ahead;
        }
    }
    if (lex->kind == PTX_TOKEN_F32 || lex->kind == PTX_TOKEN_F64) {
        op->kind = lex->kind == PTX_TOKEN_F32 ? PTX_OPERAND_F32 : PTX_OPERAND_F64;
        op->value = lex->value;
        if (negative)
            op->value ^= (uint64_t)1 << (op->kind == PTX_OPERAND_F32 ? 31 : 63);
        ptx_next(lex);
        return;
    }
    op->kind = PTX_OPERAND_INT;
    op->value = ptx_want_int(lex);
}

static void parse_operand(struct ptx_parser *p, struct ptx_operand *op)
{
    struct ptx_lexer *lex = &p->lex;

    if (ptx_take_punct(lex, '[')) {
        parse_memory(p, op);
        return;
    }
    if (ptx_take_punct(lex, '{')) {
        op->kind = PTX_OPERAND_VEC;
        parse_items(p, op, '}');
        return;
    }
    if (ptx_is_punct(lex, '!')) {
        struct ptx_lexer ahead = *lex;

        ptx_next(&ahead);
        if (ahead.kind == PTX_TOKEN_NAME) {
            *lex = ahead;
            op->negated = true;
        }
    }
    if (lex->kind != PTX_TOKEN_NAME) {
        parse_constant(p, op);
        return;
    }
    parse_named(p, op);
    if (op->kind == PTX_OPERAND_VAR && ptx_take_punct(lex, '[')) {
        op->value = ptx_want_int(lex) * op->var->element_bytes; /* table[3]: an element's address */
        ptx_want_punct(lex, ']');
    } else if (op->kind == PTX_OPERAND_VAR && (ptx_is_punct(lex, '+') || ptx_is_punct(lex, '-'))) {
        op->value = ptx_want_int(lex);
    }
    if ((op->kind == PTX_OPERAND_REG || op->kind == PTX_OPERAND_SINK) && ptx_take_punct(lex, '|')) {
        op->pair = ptx_alloc(p->unit, sizeof(*op->pair));
        parse_named(p, op->pair);
    }
}

static struct ptx_insn *append_insn(struct ptx_parser *p)
{
    struct ptx_insn *insn = ptx_alloc(p->unit, sizeof(*insn));

    insn->scope = p->scope;
    insn->line = p->lex.line;
    if (p->func->last)
        p->func->last->next = insn;
    else
        p->func->first = insn;
    p->func->last = insn;
    return insn;
}

static void parse_guard(struct ptx_parser *p, struct ptx_insn *insn)
{
    struct ptx_symbol *symbol;
    const char *name;

    insn->guard_negated = ptx_take_punct(&p->lex, '!');
    name = ptx_want_name(&p->lex);
    symbol = ptx_symbol_find(p, name);
    if (!symbol || !symbol->reg || symbol->reg->hold != PTX_HOLD_PRED)
        ptx_fail(p->unit, p->lex.line, "'%s' is not a predicate", name);
    insn->guard = symbol->reg;
}

static void parse_insn(struct ptx_parser *p, struct ptx_insn *insn, const char *opcode)
{
    struct ptx_lexer *lex = &p->lex;
    bool has_lists = strcmp(opcode, "call") == 0;

    insn->opcode = opcode;
    while (lex->kind == PTX_TOKEN_DOT) {
        if (insn->modifier_count == PTX_MODIFIERS_MAX)
            ptx_fail(p->unit, lex->line, "too many modifiers");
        insn->modifiers[insn->modifier_count++] = lex->text;
        ptx_next(lex);
    }
    while (!ptx_is_punct(lex, ';')) {
        struct ptx_operand *op;

        if (insn->operand_count == PTX_OPERANDS_MAX)
            ptx_fail(p->unit, lex->line, "too many operands");
        op = &insn->operands[insn->operand_count++];
        if (has_lists && ptx_take_punct(lex, '(')) {
            op->kind = PTX_OPERAND_LIST;
            parse_items(p, op, ')');
        } else {
            parse_operand(p, op);
        }
        if (!ptx_take_punct(lex, ','))
            break;
    }
    ptx_want_punct(lex, ';');
}

static void parse_table(struct ptx_parser *p, const char *label, bool has_names)
{
    struct ptx_table *table = ptx_alloc(p->unit, sizeof(*table));
    unsigned capacity = 0;

    ptx_next(&p->lex);
    table->label = label;
    while (has_names) {
        table->names =
            ptx_grow(p->unit, table->names, table->count, &capacity, sizeof(*table->names));
        table->names[table->count++] = ptx_want_name(&p->lex);
        if (!ptx_take_punct(&p->lex, ','))
            break;
    }
    while (p->lex.kind != PTX_TOKEN_END && !ptx_is_punct(&p->lex, ';'))
        ptx_next(&p->lex);
    ptx_want_punct(&p->lex, ';');
    table->next = p->func->tables;
    p->func->tables = table;
}

static void parse_label(struct ptx_parser *p, const char *name)
{
    struct ptx_insn *insn;

    if (ptx_is_dot(&p->lex, "branchtargets") || ptx_is_dot(&p->lex, "calltargets")) {
        parse_table(p, name, true);
        return;
    }
    if (ptx_is_dot(&p->lex, "callprototype")) {
        parse_table(p, name, false);
        return;
    }
    insn = append_insn(p);
    insn->label = name;
    insn->label_index = p->func->label_count++;
}

static void parse_block(struct ptx_parser *p);

static void parse_statement(struct ptx_parser *p)
{
    struct ptx_lexer *lex = &p->lex;
    enum ptx_space space;
    bool is_extern = false;

    if (ptx_is_punct(lex, '{')) {
        parse_block(p);
    } else if (ptx_take_dot(lex, "reg")) {
        ptx_parse_registers(p);
    } else if (ptx_take_punct(lex, '@')) {
        struct ptx_insn *insn = append_insn(p);

        parse_guard(p, insn);
        insn->line = lex->line;
        parse_insn(p, insn, ptx_want_name(lex));
    } else if (lex->kind == PTX_TOKEN_NAME) {
        int line = lex->line;
        const char *name = ptx_want_name(lex);

        if (ptx_take_punct(lex, ':')) {
            parse_label(p, name);
        } else {
            struct ptx_insn *insn = append_insn(p);

            insn->line = line;
            parse_insn(p, insn, name);
        }
    } else if (lex->kind == PTX_TOKEN_DOT && ptx_take_debug(p)) {
        return;
    } else {
        is_extern = ptx_take_dot(lex, "extern");
        if (ptx_take_space(p, &space))
            ptx_parse_variables(p, space, is_extern);
        else if (!ptx_take_punct(lex, ';'))
            ptx_fail(p->unit, lex->line, "unexpected '%s'", ptx_token_text(lex));
    }
}

static void parse_block(struct ptx_parser *p)
{
    ptx_want_punct(&p->lex, '{');
    ptx_go_deeper(&p->lex);
    ptx_scope_enter(p);
    while (!ptx_is_punct(&p->lex, '}')) {
        if (p->lex.kind == PTX_TOKEN_END)
            ptx_fail(p->unit, p->lex.line, "'}' is missing at the end of the file");
        parse_statement(p);
    }
    ptx_scope_leave(p);
    p->lex.depth--;
    ptx_want_punct(&p->lex, '}');
}

void ptx_parse_body(struct ptx_parser *p)
{
    parse_block(p);
}
