/* error.h - why an input was refused, in one line.
 *
 * Every reader of policy/ answers malformed input with one struct input_error: which file, where in
 * it, what was expected and what was found. Nothing here allocates, so that running out of memory
 * can be reported too, and nothing that came from a file reaches a terminal or a log unescaped: a
 * name with a newline in it still makes one line.
 */
#ifndef BERTH_POLICY_ERROR_H
#define BERTH_POLICY_ERROR_H

#include <stddef.h>
#include <stdint.h>

#define INPUT_ERROR_TEXT_BYTES 1400 /* what input_error_format() needs at most, with its NUL */
#define INPUT_ERROR_NO_OFFSET  UINT64_MAX

struct input_error {
    char file[384];     /* as the caller gave it; its tail where it is longer; "" for a flag */
    uint64_t offset;    /* byte in the file, or INPUT_ERROR_NO_OFFSET */
    unsigned line;      /* 1-based; 0 where the format has no lines */
    unsigned column;    /* 1-based, counted in bytes */
    char field[256];    /* the tensor, the policy field, ...; "" where there is none */
    char expected[384]; /* "8 + N bytes inside the file" */
    char found[256];    /* "N = 4096 in a file of 100 bytes" */
};

/* Empty an error: no file, no place, no text. Readers do it on entry. */
void input_error_clear(struct input_error *error);

/* Say in which file the fault lies.
 *
 * path     any string; a path too long for the buffer keeps its tail, which names the file
 */
void input_error_set_file(struct input_error *error, const char *path);

/* Say at which tensor, field or entry the fault lies. Printable UTF-8 is kept, the rest escaped.
 *
 * bytes    of name, which need not be terminated and may hold anything
 */
void input_error_set_field(struct input_error *error, const char *name, size_t bytes);

/* Say where in a text the fault lies: offset, and line and column as an editor shows them.
 *
 * text     at least offset bytes of it
 */
void input_error_set_place(struct input_error *error, const void *text, size_t offset);

/* Say what was expected and what was found; each is escaped and cut to its buffer.
 *
 * offset   byte in the file, or INPUT_ERROR_NO_OFFSET
 * format   printf's, for what was found
 * returns  code, so that a reader can end with `return input_error_set(...)`
 */
int input_error_set(struct input_error *error, int code, uint64_t offset, const char *expected,
                    const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Make the one line, without a newline at its end:
 *     model.safetensors: byte 8: x.weight: expected dtype F32, F16, ..., found "F33"
 *     policy.json:3:14: max_memory.0: expected a size such as 8GiB, found "8XB"
 *
 * text     at least INPUT_ERROR_TEXT_BYTES to be sure that nothing is cut
 * returns  text
 */
const char *input_error_format(const struct input_error *error, char *text, size_t bytes);

#endif
