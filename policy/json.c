#include "json.h"
#include "ascii.h"
#include "json_keys.h"
#include "json_string.h"
#include "utf8.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTEGER_MAX    9007199254740991u /* 2^53 - 1: every integer up to here is a double */
#define NUMBER_LETTERS 63                /* as much of a number as cJSON looks at */
#define NO_TARGET      SIZE_MAX

/* One pass over a text. Counts values in the order of the text, which is the order of the tree. */
struct scan {
    const unsigned char *text;
    size_t bytes;
    size_t at;
    unsigned flags;
    unsigned depth;
    size_t values; /* begun so far */
    size_t target; /* stop at this one, counted from 0, or NO_TARGET */
    size_t place;  /* where the target stands, or its key */
    struct json_keys keys;
    int failed; /* the code to end with, where it is not -EINVAL */
    struct input_error *error;
};

static int scan_value(struct scan *s, size_t place);

static int refuse_memory(struct input_error *error)
{
    return input_error_set(error, -ENOMEM, INPUT_ERROR_NO_OFFSET, "memory for the JSON text",
                           "none left");
}

static int refuse(struct scan *s, const char *expected, const char *found)
{
    input_error_set(s->error, -EINVAL, 0, expected, "%s", found);
    input_error_set_place(s->error, s->text, s->at);
    return -EINVAL;
}

/* Refuse whatever stands at s->at. */
static int refuse_here(struct scan *s, const char *expected)
{
    char found[UTF8_DESCRIPTION_BYTES];

    utf8_describe(s->text + s->at, s->bytes - s->at, found);
    return refuse(s, expected, found);
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

/* The four digits of a \u escape; s->at is behind the u.
 *
 * returns  0 or -EINVAL, with the error set
 */
static int scan_hex4(struct scan *s, uint32_t *code)
{
    int i;

    *code = 0;
    for (i = 0; i < 4; i++, s->at++) {
        int digit = ascii_hex_value(peek(s));

        if (digit < 0)
            return refuse_here(s, "four hexadecimal digits after \\u");
        *code = *code << 4 | (uint32_t)digit;
    }
    return 0;
}

/* A \u escape, with its second half where the first is a high surrogate. */
static int scan_unicode_escape(struct scan *s)
{
    size_t start = s->at - 2;
    uint32_t code, low;

    if (scan_hex4(s, &code))
        return -EINVAL;
    if (code == 0) {
        s->at = start;
        return refuse(s, "a string without NUL", "\\u0000");
    }
    if (code >= 0xDC00 && code <= 0xDFFF) {
        s->at = start;
        return refuse(s, "surrogates in pairs", "a low surrogate alone");
    }
    if (code < 0xD800 || code > 0xDBFF)
        return 0;

    if (peek(s) == '\\' && s->at + 1 < s->bytes && s->text[s->at + 1] == 'u') {
        s->at += 2;
        if (scan_hex4(s, &low))
            return -EINVAL;
        if (low >= 0xDC00 && low <= 0xDFFF)
            return 0;
    }
    s->at = start;
    return refuse(s, "surrogates in pairs", "a high surrogate alone");
}

static int scan_escape(struct scan *s)
{
    unsigned char letter;

    s->at++;
    letter = peek(s);
    if (letter == '\0' || !strchr("\"\\/bfnrtu", letter))
        return refuse_here(s, "one of \" \\ / b f n r t u after a backslash");
    s->at++;
    return letter == 'u' ? scan_unicode_escape(s) : 0;
}

static int scan_string(struct scan *s)
{
    s->at++;
    while (s->at < s->bytes) {
        unsigned char c = s->text[s->at];
        uint32_t code;
        size_t taken;

        if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
            s->at++;
            continue;
        }
        if (c == '"') {
            s->at++;
            return 0;
        }
        if (c == '\\') {
            if (scan_escape(s))
                return -EINVAL;
            continue;
        }
        taken = utf8_decode(s->text + s->at, s->bytes - s->at, &code);
        if (taken == 0)
            return refuse_here(s, "UTF-8");
        if (code < 0x20)
            return refuse(s, "a string on one line", "a control character, which JSON escapes");
        s->at += taken;
    }
    return refuse_here(s, "a closing quotation mark");
}

/* Check that [start, s->at) is a small enough integer. */
static int check_integer(struct scan *s, size_t start)
{
    static const char expected[] = "an integer of less than 2^53 in size";
    size_t at = start + (s->text[start] == '-'), end = s->at;
    char found[NUMBER_LETTERS + 1];
    uint64_t value = 0;
    bool fits = end - at <= 16 && !(s->text[start] == '-' && s->text[at] == '0');

    for (; fits && at < end; at++) {
        fits = ascii_is_digit(s->text[at]);
        value = value * 10 + (s->text[at] - (uint64_t)'0');
    }
    if (fits && value <= INTEGER_MAX)
        return 0;
    snprintf(found, sizeof(found), "%.*s", (int)(end - start), (const char *)s->text + start);
    s->at = start;
    return refuse(s, expected, found);
}

static int scan_digits(struct scan *s)
{
    if (!ascii_is_digit(peek(s)))
        return refuse_here(s, "a digit");
    while (ascii_is_digit(peek(s)))
        s->at++;
    return 0;
}

static int scan_number(struct scan *s)
{
    size_t start = s->at;

    if (peek(s) == '-')
        s->at++;
    if (peek(s) == '0') {
        s->at++;
        if (ascii_is_digit(peek(s)))
            return refuse(s, "a number without leading zeros", "a digit after 0");
    } else if (scan_digits(s)) {
        return -EINVAL;
    }
    if (peek(s) == '.') {
        s->at++;
        if (scan_digits(s))
            return -EINVAL;
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        s->at++;
        if (peek(s) == '+' || peek(s) == '-')
            s->at++;
        if (scan_digits(s))
            return -EINVAL;
    }
    if (s->at - start > NUMBER_LETTERS) {
        s->at = start;
        return refuse(s, "a number of at most 63 characters", "a longer one");
    }
    return s->flags & JSON_INTEGERS ? check_integer(s, start) : 0;
}

static int scan_word(struct scan *s)
{
    static const char *const words[] = {"true", "false", "null"};
    size_t i;

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t length = strlen(words[i]);

        if (s->bytes - s->at >= length && memcmp(s->text + s->at, words[i], length) == 0) {
            s->at += length;
            return 0;
        }
    }
    return refuse_here(s, "a JSON value");
}

/* One member of an object: key, colon, value. */
static int scan_member(struct scan *s)
{
    size_t key = s->at;

    if (peek(s) != '"')
        return refuse_here(s, "a key in quotation marks");
    if (scan_string(s))
        return -EINVAL;
    if (s->target == NO_TARGET && json_keys_add(&s->keys, (const char *)s->text, key)) {
        s->failed = refuse_memory(s->error);
        return -EINVAL;
    }
    skip_space(s);
    if (peek(s) != ':')
        return refuse_here(s, "':' after a key");
    s->at++;
    skip_space(s);
    return scan_value(s, key);
}

/* Leave an object whose keys begin at first. */
static int end_keys(struct scan *s, size_t first)
{
    char name[160];
    size_t twin;

    if (!json_keys_end(&s->keys, first, (const char *)s->text, &twin))
        return 0;
    name[json_string_decode((const char *)s->text, twin, name, sizeof(name) - 1)] = '\0';
    input_error_set(s->error, -EINVAL, 0, "every key once", "\"%s\" a second time", name);
    input_error_set_place(s->error, s->text, twin);
    return -EINVAL;
}

/* An array or an object; s->at is at its bracket. */
static int scan_container(struct scan *s)
{
    bool object = s->text[s->at] == '{';
    unsigned char close = object ? '}' : ']';
    size_t first_key = s->keys.count;

    if (s->depth == JSON_DEPTH_MAX)
        return refuse(s, "at most 64 arrays and objects inside one another", "deeper nesting");
    s->depth++;
    s->at++;
    skip_space(s);
    if (peek(s) != close) {
        for (;;) {
            if (object ? scan_member(s) : scan_value(s, s->at))
                return -EINVAL;
            skip_space(s);
            if (peek(s) != ',')
                break;
            s->at++;
            skip_space(s);
        }
        if (peek(s) != close)
            return refuse_here(s, object ? "',' or '}'" : "',' or ']'");
    }
    s->at++;
    s->depth--;
    return object ? end_keys(s, first_key) : 0;
}

/* place    what an error message points at: the value's key where it has one */
static int scan_value(struct scan *s, size_t place)
{
    unsigned char c = peek(s);

    if (s->values == s->target)
        s->place = place;
    if (s->values++ == JSON_VALUES_MAX)
        return refuse(s, "at most 8000000 values", "more");
    if (c == '{' || c == '[')
        return scan_container(s);
    if (c == '"')
        return scan_string(s);
    if (c == '-' || ascii_is_digit(c))
        return scan_number(s);
    return scan_word(s);
}

static int scan_text(struct scan *s)
{
    skip_space(s);
    if (scan_value(s, s->at))
        return -EINVAL;
    skip_space(s);
    if (s->at < s->bytes)
        return refuse_here(s, "nothing after the JSON text");
    return 0;
}

/* Count the values up to and including item in the order of the text.
 *
 * returns  true when item was met
 */
static bool count_to(const cJSON *value, const cJSON *item, size_t *count)
{
    const cJSON *child;

    if (value == item)
        return true;
    ++*count;
    cJSON_ArrayForEach(child, value)
    {
        if (count_to(child, item, count))
            return true;
    }
    return false;
}

void json_locate(const char *text, size_t bytes, const cJSON *root, const cJSON *item,
                 struct input_error *error)
{
    struct input_error ignored;
    struct scan s = {.text = (const unsigned char *)text, .bytes = bytes, .error = &ignored};

    input_error_clear(&ignored);
    if (!count_to(root, item, &s.target))
        return;
    scan_text(&s);
    input_error_set_place(error, s.text, s.place);
}

int json_check(const char *text, size_t bytes, unsigned flags, struct input_error *error)
{
    struct scan s = {.text = (const unsigned char *)text,
                     .bytes = bytes,
                     .flags = flags,
                     .target = NO_TARGET,
                     .failed = -EINVAL,
                     .error = error};
    int res;

    if (bytes > JSON_BYTES_MAX)
        return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET,
                               "at most 100000000 bytes of JSON", "%zu", bytes);
    res = scan_text(&s);
    json_keys_free(&s.keys);
    return res ? s.failed : 0;
}

int json_parse(const char *text, size_t bytes, unsigned flags, cJSON **out,
               struct input_error *error)
{
    int res = json_check(text, bytes, flags, error);

    if (res)
        return res;
    *out = cJSON_ParseWithLength(text, bytes);
    return *out ? 0 : refuse_memory(error);
}

int json_get_u64(const cJSON *item, uint64_t *out)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) ||
        item->valuedouble > (double)INTEGER_MAX || item->valuedouble != trunc(item->valuedouble))
        return -EINVAL;
    *out = (uint64_t)item->valuedouble;
    return 0;
}

const char *json_describe(const cJSON *item, char *text, size_t bytes)
{
    if (!item)
        snprintf(text, bytes, "nothing");
    else if (cJSON_IsString(item))
        snprintf(text, bytes, "\"%s\"", item->valuestring);
    else if (cJSON_IsNumber(item) && fabs(item->valuedouble) <= (double)INTEGER_MAX &&
             item->valuedouble == trunc(item->valuedouble))
        snprintf(text, bytes, "%" PRId64, (int64_t)item->valuedouble);
    else
        snprintf(text, bytes, "%s",
                 cJSON_IsNumber(item)   ? "a number"
                 : cJSON_IsObject(item) ? "an object"
                 : cJSON_IsArray(item)  ? "an array"
                 : cJSON_IsNull(item)   ? "null"
                 : cJSON_IsTrue(item)   ? "true"
                                        : "false");
    return text;
}
