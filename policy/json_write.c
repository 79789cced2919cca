/* json_write.c - JSON on its way out. */
#include "json_write.h"

#include "utf8.h"
#include <inttypes.h>

static void write_character(FILE *out, const char *text, size_t bytes)
{
    unsigned char c = (unsigned char)text[0];

    if (c == '"' || c == '\\')
        fprintf(out, "\\%c", c);
    else if (c == '\n')
        fputs("\\n", out);
    else if (c == '\t')
        fputs("\\t", out);
    else if (c < 0x20 || c == 0x7f)
        fprintf(out, "\\u%04x", c);
    else
        fwrite(text, 1, bytes, out);
}

/* How many bytes at the start of a text stand for themselves: most names are nothing else. */
static size_t plain_bytes(const char *text, size_t bytes)
{
    size_t i = 0;

    while (i < bytes && text[i] >= 0x20 && text[i] < 0x7f && text[i] != '"' && text[i] != '\\')
        i++;
    return i;
}

void json_write_string(FILE *out, const char *text, size_t bytes)
{
    fputc('"', out);
    for (size_t i = 0; i < bytes;) {
        uint32_t code;
        size_t length = plain_bytes(text + i, bytes - i);

        if (length) {
            fwrite(text + i, 1, length, out);
            i += length;
            continue;
        }
        length = utf8_decode((const unsigned char *)text + i, bytes - i, &code);
        if (length == 0)
            fputs("\xef\xbf\xbd", out); /* U+FFFD */
        else
            write_character(out, text + i, length);
        i += length ? length : 1;
    }
    fputc('"', out);
}

void json_write_shape(FILE *out, const uint64_t *shape, size_t rank)
{
    fputc('[', out);
    for (size_t i = 0; i < rank; i++)
        fprintf(out, "%s%" PRIu64, i ? ", " : "", shape[i]);
    fputc(']', out);
}
