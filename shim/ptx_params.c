#include "ptx_params.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX 512 /* of a name; longer ones are no names of kernels that anybody asks for */

/* The text that is left, and the word in front of it. A word is a directive (".entry"), a name, a
 * number or a single character of punctuation. */
struct cursor {
    const char *at, *end;
    char word[WORD_MAX];
};

static void skip_space(struct cursor *c)
{
    while (c->at < c->end && *c->at) {
        if (isspace((unsigned char)*c->at)) {
            c->at++;
        } else if (c->end - c->at >= 2 && c->at[0] == '/' && c->at[1] == '/') {
            while (c->at < c->end && *c->at && *c->at != '\n')
                c->at++;
        } else if (c->end - c->at >= 2 && c->at[0] == '/' && c->at[1] == '*') {
            c->at += 2;
            while (c->end - c->at >= 2 && *c->at && !(c->at[0] == '*' && c->at[1] == '/'))
                c->at++;
            c->at = c->end - c->at >= 2 && *c->at ? c->at + 2 : c->end;
        } else {
            return;
        }
    }
}

static int is_word(char ch)
{
    return isalnum((unsigned char)ch) || ch == '_' || ch == '$' || ch == '%';
}

/* Read the next word. returns 0 at the end of the text */
static int next(struct cursor *c)
{
    size_t n = 0;
    int more;

    skip_space(c);
    c->word[0] = '\0';
    if (c->at >= c->end || !*c->at)
        return 0;
    more = is_word(*c->at) || *c->at == '.';
    do {
        if (n + 1 < sizeof(c->word))
            c->word[n++] = *c->at;
        c->at++;
    } while (more && c->at < c->end && is_word(*c->at));
    c->word[n] = '\0';
    return 1;
}

static int is(const struct cursor *c, const char *word)
{
    return !strcmp(c->word, word);
}

/* Bytes of a type: ".u64" is 8. 0 for a word that is no type. */
static uint32_t type_bytes(const char *word)
{
    unsigned long bits;
    char *rest;

    if (word[0] != '.' || !strchr("busf", word[1]) || !isdigit((unsigned char)word[2]))
        return 0;
    bits = strtoul(word + 2, &rest, 10);
    if (*rest || bits < 8 || bits > 128 || bits % 8)
        return 0;
    return (uint32_t)(bits / 8);
}

static int is_alignment(unsigned long n)
{
    return n && n <= 4096 && !(n & (n - 1));
}

/* One parameter, behind its ".param", up to the comma or parenthesis that ends it.
 * returns 0, or -1 for what is no parameter */
static int read_param(struct cursor *c, uint32_t *end, struct cubin_param *out)
{
    unsigned long align = 0, count = 1;
    uint32_t bytes = 0;

    while (next(c) && !is(c, ",") && !is(c, ")")) {
        if (is(c, ".align")) {
            next(c);
            if (!bytes) /* behind the type it is the alignment of what a pointer points to */
                align = strtoul(c->word, NULL, 0);
        } else if (is(c, "[")) {
            next(c);
            count = strtoul(c->word, NULL, 0);
        } else if (!bytes) {
            bytes = type_bytes(c->word);
        }
    }
    if (!align)
        align = bytes;
    if (!bytes || !is_alignment(align) || !count || count > 65536)
        return -1;
    out->offset = (uint32_t)((*end + align - 1) / align * align);
    out->bytes = (uint32_t)(bytes * count);
    *end = out->offset + out->bytes;
    return *end <= 65536 ? 0 : -1;
}

/* The parameters of a kernel, behind its name. returns their number, or -1 */
static int read_params(struct cursor *c, struct cubin_param params[CUBIN_PARAMS_MAX])
{
    uint32_t end = 0;
    int count = 0;

    if (!next(c))
        return -1;
    if (!is(c, "(")) /* none: the body follows, or a directive such as .maxntid */
        return is(c, "{") || c->word[0] == '.' ? 0 : -1;
    while (next(c) && !is(c, ")")) {
        if (!is(c, ".param") || count == CUBIN_PARAMS_MAX || read_param(c, &end, &params[count]))
            return -1;
        count++;
        if (is(c, ")"))
            break;
    }
    return is(c, ")") ? count : -1;
}

size_t ptx_params_walk(const char *text, size_t bytes, cubin_kernel_fn *fn, void *arg)
{
    struct cubin_param *params = calloc(CUBIN_PARAMS_MAX, sizeof(*params));
    struct cursor c = {.at = text, .end = text + bytes};
    size_t kernels = 0;

    while (params && next(&c)) {
        char name[WORD_MAX];
        int count;

        if (!is(&c, ".entry") || !next(&c))
            continue;
        memcpy(name, c.word, sizeof(name));
        count = read_params(&c, params);
        if (count < 0)
            continue;
        fn(arg, name, params, (size_t)count);
        kernels++;
    }
    free(params);
    return kernels;
}
