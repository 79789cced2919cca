/* ptx_parse.c - PTX modules: directives and functions. */
#include "ptx_parse.h"

#include <string.h>

static unsigned hash(const char *name)
{
    unsigned h = 2166136261u;

    while (*name)
        h = (h ^ (unsigned char)*name++) * 16777619u;
    return h % PTX_SYMBOL_BUCKETS;
}

void ptx_scope_enter(struct ptx_parser *p)
{
    struct ptx_scope *scope = ptx_alloc(p->unit, sizeof(*scope));

    scope->parent = p->scope;
    p->scope = scope;
}

void ptx_scope_leave(struct ptx_parser *p)
{
    for (unsigned i = 0; i < PTX_SYMBOL_BUCKETS; i++)
        while (p->buckets[i] && p->buckets[i]->scope == p->scope)
            p->buckets[i] = p->buckets[i]->next;
    p->scope = p->scope->parent;
}

struct ptx_symbol *ptx_symbol_find(const struct ptx_parser *p, const char *name)
{
    struct ptx_symbol *s = p->buckets[hash(name)];

    while (s && strcmp(s->name, name) != 0)
        s = s->next;
    return s;
}

struct ptx_symbol *ptx_symbol_add(struct ptx_parser *p, const char *name, struct ptx_reg *reg,
                                  struct ptx_var *var)
{
    struct ptx_symbol **bucket = &p->buckets[hash(name)];
    struct ptx_symbol *s = ptx_symbol_find(p, name);

    if (s && s->scope == p->scope && !(var && s->var && s->var->is_extern))
        ptx_fail(p->unit, p->lex.line, "'%s' is declared twice", name);
    s = ptx_alloc(p->unit, sizeof(*s));
    *s = (struct ptx_symbol){name, reg, var, p->scope, *bucket};
    *bucket = s;
    return s;
}

bool ptx_take_space(struct ptx_parser *p, enum ptx_space *out)
{
    static const struct {
        const char *name;
        enum ptx_space space;
    } spaces[] = {
        {"global", PTX_SPACE_GLOBAL}, {"const", PTX_SPACE_CONST}, {"shared", PTX_SPACE_SHARED},
        {"local", PTX_SPACE_LOCAL},   {"param", PTX_SPACE_PARAM},
    };

    for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
        if (ptx_take_dot(&p->lex, spaces[i].name)) {
            *out = spaces[i].space;
            return true;
        }
    }
    return false;
}

static void skip_loc(struct ptx_lexer *lex)
{
    for (int i = 0; i < 3; i++)
        ptx_want_int(lex);
    while (ptx_take_punct(lex, ',')) {
        bool inlined = lex->kind == PTX_TOKEN_NAME && strcmp(lex->text, "inlined_at") == 0;

        ptx_want_name(lex);
        if (inlined) {
            for (int i = 0; i < 3; i++)
                ptx_want_int(lex);
        } else {
            ptx_want_name(lex);
            if (ptx_is_punct(lex, '+'))
                ptx_want_int(lex);
        }
    }
}

static void skip_section(struct ptx_lexer *lex)
{
    while (lex->kind != PTX_TOKEN_END && !ptx_is_punct(lex, '{'))
        ptx_next(lex);
    while (lex->kind != PTX_TOKEN_END && !ptx_is_punct(lex, '}'))
        ptx_next(lex);
    ptx_want_punct(lex, '}');
}

bool ptx_take_debug(struct ptx_parser *p)
{
    struct ptx_lexer *lex = &p->lex;

    if (ptx_take_dot(lex, "loc")) {
        skip_loc(lex);
    } else if (ptx_take_dot(lex, "file")) {
        ptx_want_int(lex);
        ptx_next(lex);
        while (ptx_take_punct(lex, ','))
            ptx_want_int(lex);
    } else if (ptx_take_dot(lex, "pragma")) {
        while (lex->kind == PTX_TOKEN_TEXT || ptx_is_punct(lex, ','))
            ptx_next(lex);
        ptx_want_punct(lex, ';');
    } else if (ptx_take_dot(lex, "section")) {
        skip_section(lex);
    } else {
        return false;
    }
    return true;
}

/* .maxntid and the other directives between a function's head and its body. */
static void parse_tuning(struct ptx_parser *p)
{
    static const char *const ignored[] = {"minnctapersm",      "maxnreg",
                                          "maxnctapersm",      "noreturn",
                                          "explicitcluster",   "maxclusterrank",
                                          "blocksareclusters", "abi_preserve",
                                          "reqnctapercluster", "abi_preserve_control"};
    struct ptx_lexer *lex = &p->lex;

    while (lex->kind == PTX_TOKEN_DOT) {
        bool threads = ptx_is_dot(lex, "maxntid") || ptx_is_dot(lex, "reqntid");
        bool known = threads;
        uint64_t product = 1;

        if (ptx_take_debug(p))
            continue;
        for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
            known |= ptx_is_dot(lex, ignored[i]);
        if (!known)
            ptx_fail(p->unit, lex->line, "unknown directive '.%s'", lex->text);
        ptx_next(lex);
        if (lex->kind == PTX_TOKEN_INT) {
            do
                product *= ptx_want_int(lex);
            while (ptx_take_punct(lex, ','));
            if (threads)
                p->func->max_threads = (uint32_t)(product < 1024 ? product : 1024);
        }
    }
}

/* A function may be declared, even several times, before it is defined. */
static struct ptx_func *declare_func(struct ptx_parser *p, const char *name, int line)
{
    struct ptx_func *f = ptx_unit_func(p->unit, name);

    if (!f) {
        f = ptx_alloc(p->unit, sizeof(*f));
        f->name = name;
        f->index = p->unit->func_count++;
        if (p->unit->last_func)
            p->unit->last_func->next = f;
        else
            p->unit->funcs = f;
        p->unit->last_func = f;
    }
    f->line = line;
    return f;
}

static void lay_out_params(struct ptx_func *f)
{
    uint64_t at = 0;

    for (struct ptx_var *v = f->params; v; v = v->next) {
        at = (at + v->align - 1) / v->align * v->align;
        v->offset = at;
        at += v->bytes;
    }
    f->param_bytes = (uint32_t)at;
}

static void skip_attribute(struct ptx_lexer *lex)
{
    if (!ptx_take_dot(lex, "attribute"))
        return;
    while (lex->kind != PTX_TOKEN_END && !ptx_is_punct(lex, ')'))
        ptx_next(lex);
    ptx_want_punct(lex, ')');
}

static void parse_func(struct ptx_parser *p, bool is_entry)
{
    struct ptx_lexer *lex = &p->lex;
    struct ptx_var *results = NULL, *params = NULL;
    unsigned result_count = 0, param_count = 0;
    /* Registers among the parameters need a function to belong to before its name is known. */
    struct ptx_func *scratch = ptx_alloc(p->unit, sizeof(*scratch));
    struct ptx_func *f;
    int line;

    p->func = scratch;
    skip_attribute(lex);
    ptx_scope_enter(p);
    if (!is_entry && ptx_is_punct(lex, '('))
        result_count = ptx_parse_formals(p, &results);
    line = lex->line;
    f = declare_func(p, ptx_want_name(lex), line);
    if (ptx_is_punct(lex, '('))
        param_count = ptx_parse_formals(p, &params);
    if (!f->has_body) /* what comes after the definition changes nothing */
        p->func = f;
    p->func->is_entry = is_entry;
    p->func->results = results;
    p->func->params = params;
    p->func->result_count = result_count;
    p->func->param_count = param_count;
    if (p->func == f) {
        f->regs = scratch->regs;
        f->reg_count = scratch->reg_count;
        f->reg_capacity = scratch->reg_capacity;
    }
    lay_out_params(p->func);
    parse_tuning(p);
    if (ptx_is_punct(lex, '{')) {
        if (f->has_body)
            ptx_fail(p->unit, line, "function '%s' is defined twice", f->name);
        f->has_body = true;
        ptx_parse_body(p);
    } else {
        ptx_want_punct(lex, ';');
    }
    ptx_scope_leave(p);
    p->func = NULL;
}

/* .version 7.8: a fraction to the lexer. */
static void parse_version(struct ptx_parser *p)
{
    struct ptx_lexer *lex = &p->lex;
    double version = 0;

    if (lex->kind == PTX_TOKEN_F64)
        memcpy(&version, &lex->value, 8);
    else if (lex->kind == PTX_TOKEN_INT)
        version = (double)lex->value;
    if (version < 1.0)
        ptx_fail(p->unit, lex->line, "malformed .version");
    if (version >= 10.0)
        ptx_fail_with(p->unit, 222, "ptx line %d: .version %.1f is newer than 9.x", lex->line,
                      version);
    ptx_next(lex);
}

static void parse_target(struct ptx_parser *p)
{
    struct ptx_lexer *lex = &p->lex;

    do {
        int line = lex->line;
        const char *name = ptx_want_name(lex);

        if (strncmp(name, "sm_", 3) != 0 && strncmp(name, "compute_", 8) != 0 &&
            strcmp(name, "debug") != 0 && strncmp(name, "texmode_", 8) != 0 &&
            strcmp(name, "map_f64_to_f32") != 0)
            ptx_fail(p->unit, line, "unknown target '%s'", name);
    } while (ptx_take_punct(lex, ','));
}

static bool take_linkage(struct ptx_lexer *lex, bool *is_extern)
{
    if (ptx_take_dot(lex, "extern")) {
        *is_extern = true;
        return true;
    }
    return ptx_take_dot(lex, "visible") || ptx_take_dot(lex, "weak") || ptx_take_dot(lex, "common");
}

static void parse_directive(struct ptx_parser *p)
{
    struct ptx_lexer *lex = &p->lex;
    int line = lex->line;
    bool is_extern = false;
    enum ptx_space space;

    if (ptx_take_dot(lex, "version")) {
        parse_version(p);
        return;
    }
    if (ptx_take_dot(lex, "target")) {
        parse_target(p);
        return;
    }
    if (ptx_take_dot(lex, "address_size")) {
        if (ptx_want_int(lex) != 64)
            ptx_fail(p->unit, line, "only .address_size 64 is supported");
        return;
    }
    if (ptx_take_debug(p))
        return;
    while (take_linkage(lex, &is_extern))
        ;
    if (ptx_take_dot(lex, "entry"))
        parse_func(p, true);
    else if (ptx_take_dot(lex, "func"))
        parse_func(p, false);
    else if (ptx_take_space(p, &space))
        ptx_parse_variables(p, space, is_extern);
    else
        ptx_fail(p->unit, lex->line, "unknown directive '%s'", ptx_token_text(lex));
}

void ptx_parse(struct ptx_unit *unit, const char *text, size_t text_bytes)
{
    struct ptx_parser *p = ptx_alloc(unit, sizeof(*p));

    p->unit = unit;
    ptx_lexer_start(&p->lex, unit, text, text_bytes);
    if (!ptx_is_dot(&p->lex, "version"))
        ptx_fail(unit, p->lex.line, "expected .version before '%s'", ptx_token_text(&p->lex));
    while (p->lex.kind != PTX_TOKEN_END)
        parse_directive(p);
}
