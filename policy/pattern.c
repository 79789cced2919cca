#include "pattern.h"
#include <string.h>

/* One past the character that starts at text: its continuation bytes go with it. */
static const char *skip_character(const char *text, const char *end)
{
    do {
        text++;
    } while (text < end && ((unsigned char)*text & 0xC0) == 0x80);
    return text;
}

/* Of all stars only the last one that was passed can take more: what stands between it and an
 * earlier one was found as far left as it can be.
 */
bool pattern_match(const char *pattern, const char *name, size_t name_bytes)
{
    const char *end = name + name_bytes;
    const char *star = NULL, *taken = NULL; /* behind the last star, and where what it takes ends */

    while (name < end || *pattern) {
        if (*pattern == '*') {
            star = ++pattern;
            taken = name;
        } else if (name < end && *pattern == '?' && *name != '.') {
            pattern++;
            name = skip_character(name, end);
        } else if (name < end && *pattern == *name && *pattern != '?') {
            pattern++;
            name++;
        } else if (star && taken < end) {
            pattern = star;
            name = ++taken;
        } else {
            return false;
        }
    }
    return true;
}

size_t pattern_find_module(const char *pattern, const char *name)
{
    const char *end = strchrnul(name, '.');

    for (;;) {
        if (end > name && pattern_match(pattern, name, (size_t)(end - name)))
            return (size_t)(end - name);
        if (*end == '\0')
            return 0;
        end = strchrnul(end + 1, '.');
    }
}
