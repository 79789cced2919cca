#include "size.h"
#include "ascii.h"
#include <errno.h>
#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TWO_TO_64 18446744073709551616.0

struct size_unit {
    const char *suffix;
    double bytes;
    bool bits;
};

static const struct size_unit g_units[] = {
#define X(suffix, bytes, bits) {suffix, bytes, bits},
    SIZE_UNITS(X)
#undef X
};

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static const char *skip_blanks(const char *text)
{
    while (is_blank(*text))
        text++;
    return text;
}

static const char *skip_digits(const char *text)
{
    while (ascii_is_digit(*text))
        text++;
    return text;
}

/* Find the end of a decimal number. strtod() alone would take hexadecimal, "nan" and "inf" too.
 *
 * returns  one past its last character; text itself where no number starts there
 */
static const char *number_end(const char *text)
{
    const char *at = text + (*text == '+');
    const char *whole = at, *fraction;
    size_t digits;

    at = skip_digits(at);
    digits = (size_t)(at - whole);
    if (*at == '.') {
        fraction = ++at;
        at = skip_digits(at);
        digits += (size_t)(at - fraction);
    }
    if (digits == 0)
        return text;
    if (*at == 'e' || *at == 'E') {
        const char *exponent = at + 1;

        exponent += *exponent == '+' || *exponent == '-';
        if (ascii_is_digit(*exponent))
            at = skip_digits(exponent);
    }
    return at;
}

/* The number that a checked text starts with, whatever the host program made of its locale. The C
 * locale is a static object of the C library: asking for it neither allocates nor fails.
 */
static double number_value(const char *text)
{
    return strtod_l(text, NULL, newlocale(LC_ALL_MASK, "C", (locale_t)0));
}

static int plain_bytes(const char *text, uint64_t *bytes)
{
    uint64_t value = 0;

    for (; ascii_is_digit(*text); text++) {
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
            return -ERANGE;
    }
    *bytes = value;
    return 0;
}

static const struct size_unit *unit_find(const char *suffix)
{
    size_t i;

    for (i = 0; i < sizeof(g_units) / sizeof(g_units[0]); i++) {
        if (strcasecmp(suffix, g_units[i].suffix) == 0)
            return &g_units[i];
    }
    return NULL;
}

int size_parse(const char *text, enum size_plain plain, uint64_t *bytes)
{
    const char *number = skip_blanks(text);
    const char *end = number_end(number);
    const char *suffix = skip_blanks(end);
    const struct size_unit *unit;
    double value;

    if (end == number)
        return -EINVAL;
    if (*suffix == '\0') {
        if (plain != SIZE_PLAIN_ACCEPTED || *skip_digits(text) != '\0')
            return -EINVAL;
        return plain_bytes(text, bytes);
    }
    unit = unit_find(suffix);
    if (!unit)
        return -EINVAL;

    value = number_value(number) * unit->bytes;
    if (!(value < TWO_TO_64))
        return -ERANGE;
    *bytes = (uint64_t)value;
    if (unit->bits && suffix[strlen(suffix) - 1] == 'b')
        *bytes /= 8;
    return 0;
}

const char *size_format(uint64_t bytes, enum size_base base, char text[SIZE_TEXT_BYTES])
{
    static const char units[] = "KMGTPE";
    const uint64_t step = base == SIZE_BINARY ? 1024 : 1000;
    const char *infix = base == SIZE_BINARY ? "i" : "";
    uint64_t unit = step, tenths;
    size_t i = 0;

    if (bytes < step) {
        snprintf(text, SIZE_TEXT_BYTES, "%u B", (unsigned)bytes);
        return text;
    }
    /* Whole units and tenths apart: ten times the bytes may not fit into 64 bits. */
    for (;;) {
        uint64_t whole = bytes / unit, rest = bytes % unit;

        /* rest * 10 / unit rounded to nearest; in the two largest units rest * 20 would not fit. */
        tenths = whole * 10 + (uint64_t)(((unsigned __int128)rest * 20 + unit) / (2 * unit));
        if (tenths < step * 10 || !units[i + 1])
            break;
        unit *= step;
        i++;
    }
    snprintf(text, SIZE_TEXT_BYTES, "%u.%u %c%sB", (unsigned)(tenths / 10), (unsigned)(tenths % 10),
             units[i], infix);
    return text;
}
