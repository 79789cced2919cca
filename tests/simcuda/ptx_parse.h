/* ptx_parse.h - what the parts of the parser share: scopes, declarations, statements.
 *
 * A name is looked up from the innermost brace outwards, then in the module. Labels may be used
 * before they stand, so an instruction keeps its scope and they are resolved when the body is done.
 */
#ifndef SIMCUDA_PTX_PARSE_H
#define SIMCUDA_PTX_PARSE_H

#include "ptx_lex.h"

#define PTX_SYMBOL_BUCKETS 1024

struct ptx_symbol {
    const char *name;
    struct ptx_reg *reg; /* the one or the other */
    struct ptx_var *var;
    const struct ptx_scope *scope;
    struct ptx_symbol *next;
};

struct ptx_parser {
    struct ptx_lexer lex;
    struct ptx_unit *unit;
    struct ptx_func *func; /* NULL at module scope */
    const struct ptx_scope *scope;
    struct ptx_symbol *buckets[PTX_SYMBOL_BUCKETS];
};

void ptx_scope_enter(struct ptx_parser *p);
void ptx_scope_leave(struct ptx_parser *p);
struct ptx_symbol *ptx_symbol_find(const struct ptx_parser *p, const char *name);
struct ptx_symbol *ptx_symbol_add(struct ptx_parser *p, const char *name, struct ptx_reg *reg,
                                  struct ptx_var *var);

/* A .reg declaration, after .reg. */
void ptx_parse_registers(struct ptx_parser *p);
/* A variable declaration of that space, after the space, up to its semicolon. */
void ptx_parse_variables(struct ptx_parser *p, enum ptx_space space, bool is_extern);
/* (.param ..., ...) of an entry or function; appends to *list and returns the number. */
unsigned ptx_parse_formals(struct ptx_parser *p, struct ptx_var **list);
/* If the token looked at is .global, .const, .shared, .local or .param: take it. */
bool ptx_take_space(struct ptx_parser *p, enum ptx_space *out);
/* .loc, .file, .pragma, .section: nothing in them changes what a program computes. */
bool ptx_take_debug(struct ptx_parser *p);

/* A function's body, from its brace to its end. */
void ptx_parse_body(struct ptx_parser *p);

#endif
