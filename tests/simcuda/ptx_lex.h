/* ptx_lex.h - the tokens of PTX text.
 *
 * One token is looked at, ptx_next() goes on. Names and modifiers are copied into the unit's arena,
 * so they outlive the text.
 */
#ifndef SIMCUDA_PTX_LEX_H
#define SIMCUDA_PTX_LEX_H

#include "ptx_ir.h"

enum ptx_token_kind {
    PTX_TOKEN_END,
    PTX_TOKEN_NAME,  /* add, %r1, $L__BB0_1 */
    PTX_TOKEN_DOT,   /* .global, .x, .L2::128B: text is without the first dot */
    PTX_TOKEN_INT,   /* value */
    PTX_TOKEN_F32,   /* 0f3F800000: value holds the bits */
    PTX_TOKEN_F64,   /* 0d... and decimal fractions: value holds the bits */
    PTX_TOKEN_TEXT,  /* a quoted string */
    PTX_TOKEN_PUNCT, /* one character, in punct; << and >> are '<' and '>' with value 2 */
};

struct ptx_lexer {
    struct ptx_unit *unit;
    const char *at, *end;
    int line; /* of the token that is looked at */
    int next_line;
    enum ptx_token_kind kind;
    const char *text;
    uint64_t value;
    char punct;
    int depth; /* of brackets and braces that the parser is in */
};

void ptx_lexer_start(struct ptx_lexer *lex, struct ptx_unit *unit, const char *text, size_t bytes);
void ptx_next(struct ptx_lexer *lex);

bool ptx_is_punct(const struct ptx_lexer *lex, char punct);
bool ptx_is_dot(const struct ptx_lexer *lex, const char *text);
/* Go past the token if it is this one; the want forms fail the unit where it is not. */
bool ptx_take_punct(struct ptx_lexer *lex, char punct);
bool ptx_take_dot(struct ptx_lexer *lex, const char *text);
void ptx_want_punct(struct ptx_lexer *lex, char punct);
const char *ptx_want_name(struct ptx_lexer *lex);
/* An integer constant expression. */
uint64_t ptx_want_int(struct ptx_lexer *lex);
/* Brackets within brackets have an end, before the stack has. */
void ptx_go_deeper(struct ptx_lexer *lex);
/* How the token that is looked at reads, for messages. */
const char *ptx_token_text(const struct ptx_lexer *lex);

#endif
