/* gguf_reader.h - the inside of gguf.h: what is known of a header while it is read.
 *
 * Nobody but gguf.c and gguf_entries.c includes it.
 */
#ifndef BERTH_POLICY_GGUF_READER_H
#define BERTH_POLICY_GGUF_READER_H

#include "gguf.h"
#include "gguf_input.h"

#define GGUF_ENTRY_BYTES_MIN 14u /* length, one byte of key, type, one byte of value */

struct gguf_reader {
    struct gguf_input in;
    struct checkpoint_builder *builder;
    size_t file;
    struct input_error *error;
    struct gguf_split split;
    uint64_t tensor_count, entry_count;
    uint32_t alignment;
    char *keys; /* those so far, each terminated */
    size_t keys_bytes, keys_room;
};

/* A string of the file that was taken: valid until anything else is. */
struct gguf_text {
    const char *bytes;
    size_t length;
};

/* Take the name of an entry or of a tensor, and make it the field of errors.
 *
 * limit    bytes of it at most; less than GGUF_WINDOW_BYTES
 * what     a name may be, for the error
 * returns  0; -EINVAL where it is longer or no UTF-8 text without NUL; else what read() said
 */
int gguf_read_name(struct gguf_reader *r, uint64_t limit, const char *what, struct gguf_text *out);

/* Read all entries: the alignment and what they say of parts into the reader, the metadata into the
 * builder.
 *
 * returns  0; -EINVAL where one is refused or a key is there twice; -ENOMEM; else what read() said
 */
int gguf_read_entries(struct gguf_reader *r);

int gguf_refuse_memory(const struct gguf_reader *r);

#endif
