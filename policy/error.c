#include "error.h"
#include "utf8.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Control characters break the line; separators and direction marks let a name disguise it. */
static bool is_printable(uint32_t code)
{
    if (code < 0x20 || (code >= 0x7F && code <= 0x9F))
        return false;
    return !((code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069));
}

/* Copy text so that it fits, is valid UTF-8 and stays on one line; "..." marks what was cut. */
static void copy_escaped(char *out, size_t room, const char *text, size_t bytes)
{
    const unsigned char *in = (const unsigned char *)text;
    char piece[8];
    size_t used = 0, last_fit = 0, at = 0;

    while (at < bytes) {
        uint32_t code;
        size_t taken = utf8_decode(in + at, bytes - at, &code);
        size_t made;

        if (taken && is_printable(code)) {
            memcpy(piece, in + at, taken);
            made = taken;
        } else {
            taken = 1;
            made = (size_t)snprintf(piece, sizeof(piece), "\\x%02x", in[at]);
        }
        if (used + made + 1 > room) {
            memcpy(out + last_fit, "...", 4);
            return;
        }
        memcpy(out + used, piece, made);
        used += made;
        at += taken;
        if (used + 4 <= room)
            last_fit = used;
    }
    out[used] = '\0';
}

void input_error_clear(struct input_error *error)
{
    error->file[0] = error->field[0] = error->expected[0] = error->found[0] = '\0';
    error->offset = INPUT_ERROR_NO_OFFSET;
    error->line = error->column = 0;
}

void input_error_set_file(struct input_error *error, const char *path)
{
    size_t bytes = strlen(path);
    size_t room = sizeof(error->file) / 2;

    if (bytes > room) {
        path += bytes - room;
        bytes = room;
    }
    copy_escaped(error->file, sizeof(error->file), path, bytes);
}

void input_error_set_field(struct input_error *error, const char *name, size_t bytes)
{
    copy_escaped(error->field, sizeof(error->field), name, bytes);
}

void input_error_set_place(struct input_error *error, const void *text, size_t offset)
{
    const unsigned char *bytes = text;
    size_t line_start = 0;

    error->offset = offset;
    error->line = 1;
    for (size_t i = 0; i < offset; i++) {
        if (bytes[i] == '\n') {
            error->line++;
            line_start = i + 1;
        }
    }
    error->column = (unsigned)(offset - line_start) + 1;
}

int input_error_set(struct input_error *error, int code, uint64_t offset, const char *expected,
                    const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    error->offset = offset;
    copy_escaped(error->expected, sizeof(error->expected), expected, strlen(expected));
    copy_escaped(error->found, sizeof(error->found), text, strlen(text));
    return code;
}

const char *input_error_format(const struct input_error *error, char *text, size_t bytes)
{
    char place[64] = "";

    if (error->line)
        snprintf(place, sizeof(place), "%s%u:%u", error->file[0] ? ":" : "", error->line,
                 error->column);
    else if (error->offset != INPUT_ERROR_NO_OFFSET)
        snprintf(place, sizeof(place), "%sbyte %llu", error->file[0] ? ": " : "",
                 (unsigned long long)error->offset);

    snprintf(text, bytes, "%s%s%s%s%sexpected %s, found %s", error->file, place,
             error->file[0] || place[0] ? ": " : "", error->field, error->field[0] ? ": " : "",
             error->expected, error->found);
    return text;
}
