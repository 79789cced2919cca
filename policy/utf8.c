#include "utf8.h"
#include <stdio.h>

size_t utf8_decode(const unsigned char *text, size_t left, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t value = text[0];
    size_t bytes, i;

    if (value < 0x80) {
        *code = value;
        return 1;
    }
    if (value < 0xC0 || value > 0xF7)
        return 0;
    bytes = value >= 0xF0 ? 4 : value >= 0xE0 ? 3 : 2;
    if (bytes > left)
        return 0;

    value &= 0x7Fu >> bytes;
    for (i = 1; i < bytes; i++) {
        if ((text[i] & 0xC0) != 0x80)
            return 0;
        value = value << 6 | (text[i] & 0x3F);
    }
    if (value < least[bytes] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
        return 0;
    *code = value;
    return bytes;
}

size_t utf8_encode(uint32_t code, char *out)
{
    size_t bytes = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4, i;

    if (bytes == 1) {
        out[0] = (char)code;
        return 1;
    }
    for (i = bytes - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3F));
    out[0] = (char)(0xF00 >> bytes | code);
    return bytes;
}

void utf8_describe(const unsigned char *text, size_t left, char found[UTF8_DESCRIPTION_BYTES])
{
    uint32_t code;
    size_t taken = left ? utf8_decode(text, left, &code) : 0;

    if (left == 0)
        snprintf(found, UTF8_DESCRIPTION_BYTES, "the end of the text");
    else if (taken == 0)
        snprintf(found, UTF8_DESCRIPTION_BYTES, "byte 0x%02x, which is not UTF-8", text[0]);
    else
        snprintf(found, UTF8_DESCRIPTION_BYTES, "'%.*s'", (int)taken, (const char *)text);
}
