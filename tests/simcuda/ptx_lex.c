/* ptx_lex.c - the tokens of PTX text, and constant expressions over them. */
#include "ptx_lex.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 500

static int peek(const struct ptx_lexer *lex, size_t ahead)
{
    return (size_t)(lex->end - lex->at) > ahead ? (unsigned char)lex->at[ahead] : 0;
}

static bool is_name(int c)
{
    return isalnum(c) || c == '_' || c == '$';
}

static void skip_space(struct ptx_lexer *lex)
{
    for (;;) {
        int c = peek(lex, 0);

        if (c == '\n') {
            lex->next_line++;
            lex->at++;
        } else if (c && isspace(c)) {
            lex->at++;
        } else if (c == '/' && peek(lex, 1) == '/') {
            while (lex->at < lex->end && *lex->at != '\n')
                lex->at++;
        } else if (c == '/' && peek(lex, 1) == '*') {
            lex->at += 2;
            while (lex->at < lex->end && !(peek(lex, 0) == '*' && peek(lex, 1) == '/'))
                lex->next_line += *lex->at++ == '\n';
            lex->at += lex->at < lex->end ? 2 : 0;
        } else {
            return;
        }
    }
}

static uint64_t hex_digits(struct ptx_lexer *lex, const char *from, unsigned digits)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < digits; i++) {
        int c = from + i < lex->end ? (unsigned char)from[i] : 0;

        if (!isxdigit(c))
            ptx_fail(lex->unit, lex->line, "floating-point constant wants %u hex digits", digits);
        value = value << 4 | (uint64_t)(isdigit(c) ? c - '0' : (c | 32) - 'a' + 10);
    }
    return value;
}

static void lex_bits(struct ptx_lexer *lex, enum ptx_token_kind kind, unsigned digits)
{
    lex->kind = kind;
    lex->value = hex_digits(lex, lex->at + 2, digits);
    lex->at += 2 + digits;
    if (is_name(peek(lex, 0)))
        ptx_fail(lex->unit, lex->line, "floating-point constant has more than %u hex digits",
                 digits);
}

static bool looks_decimal_fraction(const struct ptx_lexer *lex)
{
    size_t i = 0;

    while (isdigit(peek(lex, i)))
        i++;
    return peek(lex, i) == '.' || peek(lex, i) == 'e' || peek(lex, i) == 'E';
}

static void lex_number(struct ptx_lexer *lex)
{
    int second = peek(lex, 0) == '0' ? peek(lex, 1) | 32 : 0;
    char digits[72];
    size_t n = 0;
    char *stop;

    if (second == 'f') {
        lex_bits(lex, PTX_TOKEN_F32, 8);
        return;
    }
    if (second == 'd') {
        lex_bits(lex, PTX_TOKEN_F64, 16);
        return;
    }
    if (second != 'x' && second != 'b' && looks_decimal_fraction(lex)) {
        double value;

        while (n < sizeof(digits) - 1 &&
               (isalnum(peek(lex, n)) || peek(lex, n) == '.' ||
                ((peek(lex, n) == '-' || peek(lex, n) == '+') && (peek(lex, n - 1) | 32) == 'e'))) {
            digits[n] = lex->at[n];
            n++;
        }
        digits[n] = 0;
        value = strtod(digits, &stop);
        memcpy(&lex->value, &value, 8);
        lex->kind = PTX_TOKEN_F64;
    } else {
        while (n < sizeof(digits) - 1 && isalnum(peek(lex, n))) {
            digits[n] = lex->at[n];
            n++;
        }
        digits[n] = 0;
        lex->value = second == 'b' ? strtoull(digits + 2, &stop, 2) : strtoull(digits, &stop, 0);
        if (*stop == 'U' || *stop == 'u')
            stop++;
        lex->kind = PTX_TOKEN_INT;
    }
    if (*stop)
        ptx_fail(lex->unit, lex->line, "malformed number '%s'", digits);
    lex->at += n;
}

static void lex_word(struct ptx_lexer *lex, enum ptx_token_kind kind, size_t skip)
{
    size_t n = skip;

    while (is_name(peek(lex, n)) || (kind == PTX_TOKEN_DOT && peek(lex, n) == ':' &&
                                     peek(lex, n + 1) == ':' && is_name(peek(lex, n + 2)))) {
        n += peek(lex, n) == ':' ? 2 : 1;
    }
    lex->kind = kind;
    if (kind == PTX_TOKEN_DOT)
        lex->text = ptx_strdup(lex->unit, lex->at + 1, n - 1);
    else
        lex->text = ptx_strdup(lex->unit, lex->at, n);
    lex->at += n;
}

static void lex_string(struct ptx_lexer *lex)
{
    const char *from = ++lex->at;

    while (lex->at < lex->end && *lex->at != '"' && *lex->at != '\n')
        lex->at++;
    if (lex->at == lex->end || *lex->at != '"')
        ptx_fail(lex->unit, lex->line, "unterminated string");
    lex->kind = PTX_TOKEN_TEXT;
    lex->text = ptx_strdup(lex->unit, from, (size_t)(lex->at - from));
    lex->at++;
}

void ptx_next(struct ptx_lexer *lex)
{
    int c;

    skip_space(lex);
    lex->line = lex->next_line;
    c = peek(lex, 0);
    if (lex->at >= lex->end || c == 0) {
        lex->kind = PTX_TOKEN_END;
        lex->text = "end of file";
    } else if (isdigit(c)) {
        lex_number(lex);
    } else if (isalpha(c) || c == '_' || c == '$' || (c == '%' && is_name(peek(lex, 1)))) {
        lex_word(lex, PTX_TOKEN_NAME, 1);
    } else if (c == '.' && is_name(peek(lex, 1))) {
        lex_word(lex, PTX_TOKEN_DOT, 1);
    } else if (c == '"') {
        lex_string(lex);
    } else {
        lex->kind = PTX_TOKEN_PUNCT;
        lex->punct = (char)c;
        lex->value = 1;
        lex->at++;
        if ((c == '<' || c == '>') && peek(lex, 0) == c) {
            lex->value = 2;
            lex->at++;
        }
    }
}

void ptx_lexer_start(struct ptx_lexer *lex, struct ptx_unit *unit, const char *text, size_t bytes)
{
    *lex = (struct ptx_lexer){.unit = unit, .at = text, .end = text + bytes, .next_line = 1};
    ptx_next(lex);
}

const char *ptx_token_text(const struct ptx_lexer *lex)
{
    switch (lex->kind) {
    case PTX_TOKEN_PUNCT:
        return ptx_format(lex->unit, "%c", lex->punct);
    case PTX_TOKEN_INT:
        return ptx_format(lex->unit, "%lld", (long long)lex->value);
    case PTX_TOKEN_F32:
    case PTX_TOKEN_F64:
        return "floating-point constant";
    case PTX_TOKEN_DOT:
        return ptx_format(lex->unit, ".%s", lex->text);
    default:
        return lex->text;
    }
}

bool ptx_is_punct(const struct ptx_lexer *lex, char punct)
{
    return lex->kind == PTX_TOKEN_PUNCT && lex->punct == punct && lex->value == 1;
}

bool ptx_is_dot(const struct ptx_lexer *lex, const char *text)
{
    return lex->kind == PTX_TOKEN_DOT && strcmp(lex->text, text) == 0;
}

bool ptx_take_punct(struct ptx_lexer *lex, char punct)
{
    if (!ptx_is_punct(lex, punct))
        return false;
    ptx_next(lex);
    return true;
}

bool ptx_take_dot(struct ptx_lexer *lex, const char *text)
{
    if (!ptx_is_dot(lex, text))
        return false;
    ptx_next(lex);
    return true;
}

void ptx_want_punct(struct ptx_lexer *lex, char punct)
{
    if (!ptx_take_punct(lex, punct))
        ptx_fail(lex->unit, lex->line, "expected '%c' before '%s'", punct, ptx_token_text(lex));
}

const char *ptx_want_name(struct ptx_lexer *lex)
{
    const char *name = lex->text;

    if (lex->kind != PTX_TOKEN_NAME)
        ptx_fail(lex->unit, lex->line, "expected a name before '%s'", ptx_token_text(lex));
    ptx_next(lex);
    return name;
}

void ptx_go_deeper(struct ptx_lexer *lex)
{
    if (++lex->depth > DEPTH_MAX)
        ptx_fail(lex->unit, lex->line, "nested too deeply");
}

static uint64_t binary(struct ptx_lexer *lex, int floor);

static uint64_t operand(struct ptx_lexer *lex);

static uint64_t unary(struct ptx_lexer *lex)
{
    uint64_t value;

    ptx_go_deeper(lex);
    value = operand(lex);
    lex->depth--;
    return value;
}

static uint64_t operand(struct ptx_lexer *lex)
{
    uint64_t value;

    if (ptx_take_punct(lex, '-'))
        return -unary(lex);
    if (ptx_take_punct(lex, '+'))
        return unary(lex);
    if (ptx_take_punct(lex, '~'))
        return ~unary(lex);
    if (ptx_take_punct(lex, '!'))
        return !unary(lex);
    if (ptx_take_punct(lex, '(')) {
        value = binary(lex, 0);
        ptx_want_punct(lex, ')');
        return value;
    }
    if (lex->kind != PTX_TOKEN_INT)
        ptx_fail(lex->unit, lex->line, "expected an integer before '%s'", ptx_token_text(lex));
    value = lex->value;
    ptx_next(lex);
    return value;
}

/* Binding strength of the binary operator that is looked at; 0 for none. */
static int strength(const struct ptx_lexer *lex)
{
    if (lex->kind != PTX_TOKEN_PUNCT)
        return 0;
    if (lex->value == 2)
        return 4;
    switch (lex->punct) {
    case '|':
        return 1;
    case '^':
        return 2;
    case '&':
        return 3;
    case '+':
    case '-':
        return 5;
    case '*':
    case '/':
    case '%':
        return 6;
    default:
        return 0;
    }
}

static uint64_t apply(struct ptx_lexer *lex, char op, uint64_t a, uint64_t b)
{
    switch (op) {
    case '|':
        return a | b;
    case '^':
        return a ^ b;
    case '&':
        return a & b;
    case '<':
        return b < 64 ? a << b : 0;
    case '>':
        return b < 64 ? a >> b : 0;
    case '+':
        return a + b;
    case '-':
        return a - b;
    case '*':
        return a * b;
    default:
        if (b == 0)
            ptx_fail(lex->unit, lex->line, "division by zero in a constant expression");
        return op == '/' ? a / b : a % b;
    }
}

static uint64_t binary(struct ptx_lexer *lex, int floor)
{
    uint64_t value = unary(lex);

    while (strength(lex) > floor) {
        int own = strength(lex);
        char op = lex->punct;

        ptx_next(lex);
        value = apply(lex, op, value, binary(lex, own));
    }
    return value;
}

uint64_t ptx_want_int(struct ptx_lexer *lex)
{
    return binary(lex, 0);
}
