#include "json_string.h"
#include "utf8.h"
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define STRING_END UINT32_MAX

static uint32_t hex4(const char *digits)
{
    uint32_t value = 0;
    int i;

    for (i = 0; i < 4; i++) {
        uint32_t c = (unsigned char)digits[i];

        value = value << 4 | (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

/* The code point of an escape; *at is behind the backslash, and gets behind the escape. */
static uint32_t next_escape(const char *text, size_t *at)
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    const char letter = text[(*at)++];
    const char *found = strchr(letters, letter);
    uint32_t code;

    if (letter != 'u')
        return (unsigned char)(found ? meanings[found - letters] : letter);
    code = hex4(text + *at);
    *at += 4;
    if (code >= 0xD800 && code <= 0xDBFF) {
        code = 0x10000 + ((code & 0x3FF) << 10) + (hex4(text + *at + 2) & 0x3FF);
        *at += 6;
    }
    return code;
}

/* The code point at *at, which is moved behind it; STRING_END at the closing quotation mark. */
static uint32_t next(const char *text, size_t *at)
{
    const unsigned char c = (unsigned char)text[*at];
    uint32_t code;

    if (c == '"')
        return STRING_END;
    if (c == '\\') {
        ++*at;
        return next_escape(text, at);
    }
    *at += utf8_decode((const unsigned char *)text + *at, UTF8_BYTES_MAX, &code);
    return code;
}

size_t json_string_end(const char *text, size_t at, bool *escaped)
{
    bool any = false;

    for (at++; text[at] != '"'; at++) {
        if (text[at] == '\\') {
            any = true;
            at++;
        }
    }
    if (escaped)
        *escaped = any;
    return at + 1;
}

size_t json_string_decode(const char *text, size_t at, char *out, size_t room)
{
    size_t used = 0;
    uint32_t code;

    for (at++; (code = next(text, &at)) != STRING_END;) {
        char piece[UTF8_BYTES_MAX];
        size_t bytes = utf8_encode(code, piece);

        if (bytes > room - used)
            break;
        memcpy(out + used, piece, bytes);
        used += bytes;
    }
    return used;
}

bool json_string_is(const char *text, size_t at, const char *word)
{
    uint32_t code;

    /* As far as there is no escape, which is nearly always. */
    for (at++; *word && text[at] == *word; at++)
        word++;
    if (text[at] != '\\')
        return text[at] == '"' && !*word;
    for (; (code = next(text, &at)) != STRING_END; word++) {
        if (code != (unsigned char)*word)
            return false;
    }
    return !*word;
}

int json_string_compare(const char *text, size_t a, size_t b)
{
    uint32_t left, right;

    a++;
    b++;
    do {
        left = next(text, &a);
        right = next(text, &b);
    } while (left == right && left != STRING_END);
    return (left > right) - (left < right);
}

/* As it would be without escapes. */
static uint64_t hash_escaped(const char *text, size_t at)
{
    XXH64_state_t state;
    uint32_t code;

    XXH64_reset(&state, 0);
    for (at++; (code = next(text, &at)) != STRING_END;) {
        char piece[UTF8_BYTES_MAX];

        XXH64_update(&state, piece, utf8_encode(code, piece));
    }
    return XXH64_digest(&state);
}

uint64_t json_string_hash(const char *text, size_t at)
{
    bool escaped;
    size_t end = json_string_end(text, at, &escaped);

    return escaped ? hash_escaped(text, at) : XXH64(text + at + 1, end - at - 2, 0);
}
