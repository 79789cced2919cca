/* gguf.h - the reader of GGUF files, versions 2 and 3, little-endian: one file, one header.
 *
 *     "GGUF" | u32 version | u64 tensors | u64 entries | the entries: key, type, value
 *     | for each tensor: name, u32 rank, u64 extents, u32 type, u64 offset
 *     | padding | the tensors' bytes, each padded
 *
 * The header is believed only after all of it was checked. Extents stand in the file innermost
 * first; a struct tensor has them as all formats do, row-major, innermost last. What the entries
 * say in integers, flags and short strings is the checkpoint's metadata.
 */
#ifndef BERTH_POLICY_GGUF_H
#define BERTH_POLICY_GGUF_H

#include "checkpoint_build.h"
#include <stdbool.h>

#define GGUF_NAME_MAX      63u      /* bytes of a tensor's name */
#define GGUF_KEY_MAX       65535u   /* bytes of an entry's key */
#define GGUF_RANK_MAX      4u       /* extents of a tensor */
#define GGUF_NESTING_MAX   4u       /* arrays inside one another */
#define GGUF_ALIGNMENT_MAX 1048576u /* bytes */

/* What a file says of the checkpoint that it is a part of; all 0 where it is a whole one. */
struct gguf_split {
    uint64_t count;        /* of parts */
    uint64_t number;       /* of this part, from 0 on */
    uint64_t tensor_count; /* in all parts */
};

/* Does a file begin as GGUF does? As checkpoint_identify(); 4 bytes are needed. */
bool gguf_identify(const void *head, size_t head_bytes, uint64_t file_bytes);

/* Read a header that is in memory, as a fuzzer has it.
 *
 * head        the file from its first byte; head_bytes of it, which must include the whole header
 * file_bytes  the size of the whole file, at least head_bytes
 * file        the index that the builder gave the file. Of file 0 the metadata is kept
 * error       filled on failure, but for the file's name
 * returns     0; -EINVAL where the content is refused; -ENOMEM
 * source      https://github.com/ggml-org/ggml, docs/gguf.md
 */
int gguf_parse(const void *head, size_t head_bytes, uint64_t file_bytes,
               struct checkpoint_builder *builder, size_t file, struct input_error *error);

/* Read the header of an open file into a builder; where the builder wants parts and the file is
 * one, those of all parts, in order.
 *
 * fd       readable and a regular file of file_bytes; neither moved nor closed
 * returns  as gguf_parse(), else what read() or, for the other parts, open() said
 */
int gguf_read(int fd, uint64_t file_bytes, struct checkpoint_builder *builder, size_t file,
              struct input_error *error);

#endif
