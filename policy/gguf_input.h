/* gguf_input.h - the bytes of a GGUF header, one after the other, from memory or from a file.
 *
 * Nothing is taken that does not lie inside the file, and no more than a window of it is ever in
 * memory, however long the arrays in a header are. Numbers are little-endian and need no alignment.
 */
#ifndef BERTH_POLICY_GGUF_INPUT_H
#define BERTH_POLICY_GGUF_INPUT_H

#include "error.h"
#include <stddef.h>
#include <stdint.h>

#define GGUF_WINDOW_BYTES 65536u /* what gguf_input_take() gives at most */

struct gguf_input {
    uint64_t at;         /* offset of the next byte in the file */
    uint64_t file_bytes; /* at is never beyond */

    /* The rest belongs to gguf_input.c. */
    int fd; /* -1 where the file is in memory */
    const unsigned char *window;
    uint64_t window_offset; /* in the file */
    size_t window_bytes;
    unsigned char *buffer; /* GGUF_WINDOW_BYTES; NULL where the file is in memory */
    struct input_error *error;
};

/* Begin at the first byte of a file that is in memory.
 *
 * head        head_bytes of it from the first on, which must outlive the input
 * file_bytes  of the whole file, at least head_bytes
 * error       what the other functions fill in when they fail
 */
void gguf_input_begin_memory(struct gguf_input *in, const void *head, size_t head_bytes,
                             uint64_t file_bytes, struct input_error *error);

/* Begin at the first byte of a file.
 *
 * fd       readable; neither moved (pread) nor closed
 * returns  0, or -ENOMEM with error filled
 * owner    the caller ends with gguf_input_end()
 */
int gguf_input_begin_file(struct gguf_input *in, int fd, uint64_t file_bytes,
                          struct input_error *error);
void gguf_input_end(struct gguf_input *in);

/* How many bytes the file has from here on. */
uint64_t gguf_input_left(const struct gguf_input *in);

/* Take the next bytes.
 *
 * bytes    GGUF_WINDOW_BYTES at most
 * out      valid until the next call
 * returns  0; -EINVAL where the file ends before; else what read() said. The place is not moved
 * then
 */
int gguf_input_take(struct gguf_input *in, size_t bytes, const unsigned char **out);

/* Pass over bytes without reading them; returns as gguf_input_take(). */
int gguf_input_skip(struct gguf_input *in, uint64_t bytes);

/* Take a number; return as gguf_input_take(). */
int gguf_input_u32(struct gguf_input *in, uint32_t *out);
int gguf_input_u64(struct gguf_input *in, uint64_t *out);

/* The number in bytes that were taken: 1 to 8 of them. */
uint64_t gguf_load(const unsigned char *from, size_t bytes);

#endif
