#include "json_walk.h"
#include "ascii.h"
#include "json.h"
#include "json_string.h"
#include <errno.h>
#include <string.h>

static size_t skip_space(const char *text, size_t at)
{
    while (ascii_is_space(text[at]))
        at++;
    return at;
}

size_t json_walk_begin(const char *text)
{
    return skip_space(text, 0);
}

bool json_walk_enter(const char *text, size_t *at)
{
    *at = skip_space(text, *at + 1);
    if (text[*at] != '}' && text[*at] != ']')
        return true;
    ++*at;
    return false;
}

bool json_walk_next(const char *text, size_t *at)
{
    size_t comma = skip_space(text, *at);

    *at = comma + 1;
    if (text[comma] != ',')
        return false;
    *at = skip_space(text, *at);
    return true;
}

size_t json_walk_value(const char *text, size_t key)
{
    size_t colon = skip_space(text, json_string_end(text, key, NULL));

    return skip_space(text, colon + 1);
}

/* A value that is no string and has no brackets ends before one of these. */
static size_t skip_word(const char *text, size_t at)
{
    while ((text[at] >= '0' && text[at] <= '9') || (text[at] >= 'a' && text[at] <= 'z') ||
           text[at] == '-' || text[at] == '+' || text[at] == '.' || text[at] == 'E')
        at++;
    return at;
}

/* Brackets are balanced, so that counting them is enough. */
static size_t skip_container(const char *text, size_t at)
{
    size_t depth = 0;

    do {
        if (text[at] == '"') {
            at = json_string_end(text, at, NULL);
            continue;
        }
        if (text[at] == '{' || text[at] == '[')
            depth++;
        else if (text[at] == '}' || text[at] == ']')
            depth--;
        at++;
    } while (depth);
    return at;
}

size_t json_walk_skip(const char *text, size_t at)
{
    if (text[at] == '"')
        return json_string_end(text, at, NULL);
    if (text[at] == '{' || text[at] == '[')
        return skip_container(text, at);
    return skip_word(text, at);
}

int json_walk_u64(const char *text, size_t at, uint64_t *out)
{
    uint64_t value = 0;

    if (text[at] < '0' || text[at] > '9')
        return -EINVAL;
    for (; text[at] >= '0' && text[at] <= '9'; at++)
        value = value * 10 + (uint64_t)(text[at] - '0');
    *out = value;
    return 0;
}

const char *json_walk_describe(const char *text, size_t at, char *out, size_t bytes)
{
    cJSON *item = cJSON_ParseWithLength(text + at, json_walk_skip(text, at) - at);

    json_describe(item, out, bytes);
    cJSON_Delete(item);
    return out;
}
