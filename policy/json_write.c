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

void json_write_string(FILE *out, const char *text, size_t bytes)
{
    fputc('"', out);
    for (size_t i = 0; i < bytes;) {
        uint32_t code;
        size_t length = utf8_decode((const unsigned char *)text + i, bytes - i, &code);

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
