#include "names.h"
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define LETTERS_MAX 64

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* source   the optimal string alignment distance: each row of the table needs the two before it */
size_t names_distance(const char *a, const char *b)
{
    size_t rows[3][LETTERS_MAX + 1];
    size_t a_letters = strlen(a), b_letters = strlen(b), i, j;

    if (a_letters > LETTERS_MAX || b_letters > LETTERS_MAX)
        return a_letters > b_letters ? a_letters : b_letters;

    for (j = 0; j <= b_letters; j++)
        rows[0][j] = j;
    for (i = 1; i <= a_letters; i++) {
        size_t *now = rows[i % 3], *before = rows[(i + 2) % 3], *earlier = rows[(i + 1) % 3];

        now[0] = i;
        for (j = 1; j <= b_letters; j++) {
            bool same = lower(a[i - 1]) == lower(b[j - 1]);

            now[j] = least(before[j - 1] + !same, least(before[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]))
                now[j] = least(now[j], earlier[j - 2] + 1);
        }
    }
    return rows[a_letters % 3][b_letters];
}

const char *names_nearest(const char *given, const char *const *known, size_t count)
{
    size_t best = (strlen(given) + 2) / 3 + 1, i;
    const char *nearest = NULL;

    for (i = 0; i < count; i++) {
        size_t distance = names_distance(given, known[i]);

        if (distance < best) {
            best = distance;
            nearest = known[i];
        }
    }
    return nearest;
}

const char *names_list(const char *const *known, size_t count, char *text, size_t bytes)
{
    size_t used = 0, i;

    text[0] = '\0';
    for (i = 0; i < count && used < bytes; i++) {
        const char *joint = i == 0 ? "" : i + 1 == count ? " or " : ", ";

        used += (size_t)snprintf(text + used, bytes - used, "%s%s", joint, known[i]);
    }
    return text;
}

int names_find(const char *given, const char *const *known, size_t count, size_t *out,
               struct input_error *error)
{
    char list[sizeof(error->expected)];
    const char *nearest;
    size_t i;

    for (i = 0; i < count; i++) {
        if (strcmp(given, known[i]) == 0) {
            *out = i;
            return 0;
        }
    }
    nearest = names_nearest(given, known, count);
    input_error_clear(error);
    return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET,
                           names_list(known, count, list, sizeof(list)), "\"%.64s\"%s%s%s", given,
                           nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                           nearest ? "\"?" : "");
}
