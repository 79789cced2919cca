/* unicode.c - see unicode.h. */
#include "unicode.h"

#include "unicode_data.h"

#define HANGUL_FIRST       0xac00u
#define HANGUL_END         0xd7a4u
#define HANGUL_LEAD        0x1100u
#define HANGUL_VOWEL       0x1161u
#define HANGUL_TAIL        0x11a7u /* a tail of 0 means none */
#define HANGUL_TAIL_COUNT  28u
#define HANGUL_VOWEL_COUNT 21u
#define REPLACEMENT        0xfffdu

enum unicode_class unicode_class_of(uint32_t code)
{
    size_t low = 0, high = unicode_class_start_count;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (unicode_class_starts[middle] >> 3 <= code)
            low = middle;
        else
            high = middle;
    }
    return (enum unicode_class)(unicode_class_starts[low] & 7);
}

/* A Hangul syllable is its two or three letters, by arithmetic. source: The Unicode Standard 3.12
 */
static size_t fold_hangul(uint32_t code, uint32_t out[UNICODE_FOLD_MAX])
{
    uint32_t index = code - HANGUL_FIRST;
    uint32_t tail = index % HANGUL_TAIL_COUNT;

    out[0] = HANGUL_LEAD + index / (HANGUL_TAIL_COUNT * HANGUL_VOWEL_COUNT);
    out[1] = HANGUL_VOWEL + index / HANGUL_TAIL_COUNT % HANGUL_VOWEL_COUNT;
    out[2] = HANGUL_TAIL + tail;
    return tail ? 3 : 2;
}

/* No run begins inside another one, so the nearest that starts at or before the code point decides.
 */
static uint32_t fold_single(uint32_t code)
{
    const struct unicode_fold_run *run;
    size_t low = 0, high = unicode_fold_run_count;
    uint32_t offset;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (unicode_fold_runs[middle].first <= code)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return code;
    run = &unicode_fold_runs[low - 1];
    offset = code - run->first;
    if (offset % run->stride || offset / run->stride >= run->count)
        return code;
    return (uint32_t)((int32_t)code + run->delta);
}

size_t unicode_fold(uint32_t code, uint32_t out[UNICODE_FOLD_MAX])
{
    if (code >= HANGUL_FIRST && code < HANGUL_END)
        return fold_hangul(code, out);
    for (size_t i = 0; i < unicode_expansion_count; i++) {
        const struct unicode_expansion *expansion = &unicode_expansions[i];

        if (expansion->from != code)
            continue;
        for (size_t n = 0; n < UNICODE_FOLD_MAX; n++)
            out[n] = expansion->to[n];
        return expansion->to[2] ? 3 : 2;
    }
    if (code >= 0xf900 && code < 0xfb00)
        out[0] = unicode_ideographs_f900[code - 0xf900];
    else if (code >= 0x2f800 && code < 0x2fa20)
        out[0] = unicode_ideographs_2f800[code - 0x2f800];
    else
        out[0] = fold_single(code);
    return 1;
}

size_t utf8_decode(const char *text, uint32_t *code)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *byte = (const unsigned char *)text;
    size_t bytes = byte[0] < 0x80   ? 1
                   : byte[0] < 0xc0 ? 0
                   : byte[0] < 0xe0 ? 2
                   : byte[0] < 0xf0 ? 3
                                    : 4;
    uint32_t value;

    *code = REPLACEMENT;
    if (bytes == 0 || byte[0] > 0xf4)
        return 1;
    value = bytes == 1 ? byte[0] : byte[0] & (0x7fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((byte[i] & 0xc0) != 0x80)
            return 1; /* the terminating NUL ends up here too */
        value = value << 6 | (byte[i] & 0x3f);
    }
    if (value < smallest[bytes] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        return 1;
    *code = value;
    return bytes;
}

size_t utf8_encode(uint32_t code, char out[UTF8_MAX])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}
