#include "python_literal.h"
#include "ascii.h"
#include "utf8.h"
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTEGER_MAX 9007199254740991u /* 2^53 - 1: every integer up to here is a double */
#define NO_TARGET   SIZE_MAX
#define VALUES      "a string, an integer or device(type='cuda', index=0)"

/* One pass over a text, with an object to fill or an entry to find. */
struct scan {
    const unsigned char *text;
    size_t bytes;
    size_t at;
    cJSON *root;    /* gets the entries */
    size_t entries; /* begun so far */
    size_t target;  /* the place of this entry is wanted, counted from 0, or NO_TARGET */
    size_t place;
    char *key; /* bytes + 1 long each: what a string or an integer stands for */
    char *value;
    struct input_error *error;
};

static int refuse(struct scan *s, size_t at, const char *expected, const char *found)
{
    input_error_set(s->error, -EINVAL, 0, expected, "%s", found);
    input_error_set_place(s->error, s->text, at);
    return -EINVAL;
}

/* Refuse whatever stands at s->at. */
static int refuse_here(struct scan *s, const char *expected)
{
    char found[UTF8_DESCRIPTION_BYTES];

    utf8_describe(s->text + s->at, s->bytes - s->at, found);
    return refuse(s, s->at, expected, found);
}

static int refuse_memory(struct scan *s)
{
    return input_error_set(s->error, -ENOMEM, INPUT_ERROR_NO_OFFSET, "memory for the dictionary",
                           "none left");
}

/* The byte at s->at, or 0 at the end; a NUL in the text is refused by whoever meets it. */
static unsigned char peek(const struct scan *s)
{
    return s->at < s->bytes ? s->text[s->at] : 0;
}

static void skip_space(struct scan *s)
{
    while (s->at < s->bytes && ascii_is_space((char)s->text[s->at]))
        s->at++;
}

/* Take a word if it stands here. */
static bool take(struct scan *s, const char *word)
{
    size_t length = strlen(word);

    if (s->bytes - s->at < length || memcmp(s->text + s->at, word, length) != 0)
        return false;
    s->at += length;
    return true;
}

/* Take a word, and blanks around it, or refuse what stands in its place. */
static int expect(struct scan *s, const char *word)
{
    char expected[32];

    skip_space(s);
    if (!take(s, word)) {
        snprintf(expected, sizeof(expected), "'%s'", word);
        return refuse_here(s, expected);
    }
    skip_space(s);
    return 0;
}

/* The digits of \x, \u or \U; s->at is behind the letter.
 *
 * start    of the escape, for an error
 * out      gets the character; its UTF-8 is shorter than the escape
 * taken    gets its length
 */
static int scan_code(struct scan *s, size_t start, unsigned digits, char *out, size_t *taken)
{
    uint32_t code = 0;
    unsigned i;

    for (i = 0; i < digits; i++, s->at++) {
        int digit = ascii_hex_value(peek(s));

        if (digit < 0)
            return refuse_here(s, "a hexadecimal digit of an escape");
        code = code << 4 | (uint32_t)digit;
    }
    if (code == 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return refuse(s, start, "the escape of a character other than NUL",
                      "a number that is none");
    *taken = utf8_encode(code, out);
    return 0;
}

static int scan_escape(struct scan *s, char *out, size_t *taken)
{
    static const char letters[] = "\\'\"nrt", meanings[] = "\\'\"\n\r\t";
    size_t start = s->at++;
    unsigned char letter = peek(s);
    const char *simple = letter ? strchr(letters, letter) : NULL;

    if (simple) {
        s->at++;
        *out = meanings[simple - letters];
        *taken = 1;
        return 0;
    }
    if (letter != 'x' && letter != 'u' && letter != 'U')
        return refuse_here(s, "one of \\ ' \" n r t x u U after a backslash");
    s->at++;
    return scan_code(s, start, letter == 'x' ? 2 : letter == 'u' ? 4 : 8, out, taken);
}

/* A string in quotes of either kind. */
static int scan_string(struct scan *s, char *out)
{
    unsigned char quote = s->text[s->at++];
    size_t taken = 0;
    uint32_t code;

    while (peek(s) != quote) {
        if (s->at >= s->bytes)
            return refuse_here(s, "a closing quotation mark");
        if (peek(s) == '\\') {
            if (scan_escape(s, out, &taken))
                return -EINVAL;
        } else {
            taken = utf8_decode(s->text + s->at, s->bytes - s->at, &code);
            if (taken == 0)
                return refuse_here(s, "UTF-8");
            if (code < 0x20)
                return refuse(s, s->at, "a string on one line", "a control character");
            memcpy(out, s->text + s->at, taken);
            s->at += taken;
        }
        out += taken;
    }
    s->at++;
    *out = '\0';
    return 0;
}

/* An integer without sign, as its digits. */
static int scan_integer(struct scan *s, char *out)
{
    size_t start = s->at, digits = 0;
    uint64_t value = 0;

    while (ascii_is_digit(peek(s))) {
        unsigned digit = (unsigned)(s->text[s->at++] - '0');

        if (++digits > 16 || (value = value * 10 + digit) > INTEGER_MAX)
            return refuse(s, start, "an integer of less than 2^53", "a larger one");
    }
    if (digits > 1 && s->text[start] == '0')
        return refuse(s, start, "an integer without leading zeros", "a digit after 0");
    memcpy(out, s->text + start, digits);
    out[digits] = '\0';
    return 0;
}

/* device(type='cuda', index=1), as "cuda:1"; its first word is taken. */
static int scan_device(struct scan *s, char *out)
{
    if (expect(s, "(") || expect(s, "type") || expect(s, "="))
        return -EINVAL;
    if (peek(s) != '\'' && peek(s) != '"')
        return refuse_here(s, "a string");
    if (scan_string(s, out))
        return -EINVAL;
    skip_space(s);
    if (peek(s) == ',') {
        s->at++;
        if (expect(s, "index") || expect(s, "="))
            return -EINVAL;
        if (!ascii_is_digit(peek(s)))
            return refuse_here(s, "a GPU index");
        out += strlen(out);
        *out = ':';
        if (scan_integer(s, out + 1))
            return -EINVAL;
    }
    return expect(s, ")");
}

static int scan_value(struct scan *s, cJSON **out)
{
    unsigned char c = peek(s);
    bool number = ascii_is_digit(c);
    int res;

    if (c == '\'' || c == '"')
        res = scan_string(s, s->value);
    else if (number)
        res = scan_integer(s, s->value);
    else if (take(s, "device"))
        res = scan_device(s, s->value);
    else
        res = refuse_here(s, VALUES);
    if (res || !s->root)
        return res;
    *out = number ? cJSON_CreateNumber((double)strtoull(s->value, NULL, 10))
                  : cJSON_CreateString(s->value);
    return *out ? 0 : refuse_memory(s);
}

/* A key, what stands between it and its value, and the value. */
static int scan_entry(struct scan *s, const char *between)
{
    cJSON *value = NULL;
    int res;

    if (s->entries++ == s->target)
        s->place = s->at;
    if (peek(s) == '\'' || peek(s) == '"')
        res = scan_string(s, s->key);
    else if (ascii_is_digit(peek(s)))
        res = scan_integer(s, s->key);
    else
        res = refuse_here(s, "a key: a string or an integer");
    if (res)
        return res;
    input_error_set_field(s->error, s->key, strlen(s->key));
    if (expect(s, between))
        return -EINVAL;
    res = scan_value(s, &value);
    if (res)
        return res;
    if (value && !cJSON_AddItemToObject(s->root, s->key, value)) {
        cJSON_Delete(value);
        return refuse_memory(s);
    }
    input_error_set_field(s->error, "", 0);
    return 0;
}

/* Entries up to a closing bracket; pairs are in parentheses. A comma may follow the last one. */
static int scan_entries(struct scan *s, const char *close, bool pairs)
{
    int res;

    skip_space(s);
    while (peek(s) != (unsigned char)*close) {
        if (pairs && expect(s, "("))
            return -EINVAL;
        res = scan_entry(s, pairs ? "," : ":");
        if (res)
            return res;
        if (pairs && expect(s, ")"))
            return -EINVAL;
        skip_space(s);
        if (peek(s) != ',')
            break;
        s->at++;
        skip_space(s);
    }
    if (peek(s) != (unsigned char)*close)
        return refuse_here(s, *close == '}' ? "',' or '}'" : "',' or ']'");
    s->at++;
    return 0;
}

static int scan_text(struct scan *s)
{
    bool ordered, pairs = false;
    int res;

    skip_space(s);
    ordered = take(s, "OrderedDict");
    if (ordered && expect(s, "("))
        return -EINVAL;
    if (ordered && peek(s) == '[')
        pairs = true;
    else if (peek(s) != '{')
        return refuse_here(s, ordered ? "'[' or '{'" : "a dictionary");
    s->at++;
    res = scan_entries(s, pairs ? "]" : "}", pairs);
    if (res)
        return res;
    if (ordered && expect(s, ")"))
        return -EINVAL;
    skip_space(s);
    return s->at < s->bytes ? refuse_here(s, "nothing after the dictionary") : 0;
}

bool python_literal_begins(const char *text, size_t bytes)
{
    struct scan s = {.text = (const unsigned char *)text, .bytes = bytes};

    skip_space(&s);
    if (take(&s, "OrderedDict"))
        return true;
    if (!take(&s, "{"))
        return false;
    skip_space(&s);
    return peek(&s) == '\'' || ascii_is_digit(peek(&s));
}

/* Strings and integers are never longer than their text; a device's colon is shorter than "index".
 */
static int scan_with_memory(struct scan *s)
{
    char *memory = malloc(2 * (s->bytes + 1));
    int res;

    if (!memory)
        return refuse_memory(s);
    s->key = memory;
    s->value = memory + s->bytes + 1;
    res = scan_text(s);
    free(memory);
    return res;
}

int python_literal_parse(const char *text, size_t bytes, cJSON **out, struct input_error *error)
{
    struct scan s = {
        .text = (const unsigned char *)text, .bytes = bytes, .target = NO_TARGET, .error = error};
    int res;

    s.root = cJSON_CreateObject();
    res = s.root ? scan_with_memory(&s) : refuse_memory(&s);
    if (res) {
        cJSON_Delete(s.root);
        return res;
    }
    *out = s.root;
    return 0;
}

void python_literal_locate(const char *text, size_t bytes, const cJSON *root, const cJSON *item,
                           struct input_error *error)
{
    struct input_error ignored;
    struct scan s = {.text = (const unsigned char *)text, .bytes = bytes, .error = &ignored};
    const cJSON *child;

    input_error_clear(&ignored);
    cJSON_ArrayForEach(child, root)
    {
        if (child == item)
            break;
        s.target++;
    }
    skip_space(&s);
    s.place = s.at;
    s.at = 0;
    if (!child)
        s.target = NO_TARGET;
    if (scan_with_memory(&s) == 0)
        input_error_set_place(error, s.text, s.place);
}
