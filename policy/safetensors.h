/* safetensors.h - the reader of safetensors files: one file, one header.
 *
 *     u64 N, little-endian | N bytes of JSON | the tensors' bytes, without a gap
 *
 * The header is believed only after all of it was checked: the tensors cover the bytes from 8 + N
 * to the end of the file exactly once. The tensors' bytes are never read.
 */
#ifndef BERTH_POLICY_SAFETENSORS_H
#define BERTH_POLICY_SAFETENSORS_H

#include "checkpoint_build.h"
#include <stdbool.h>

/* Bytes of JSON that any reader of the format accepts. */
#define SAFETENSORS_HEADER_MAX 100000000u

/* Could these be the first bytes of a safetensors file? Asks for nothing but the length and the
 * opening brace.
 *
 * head        the first head_bytes of the file; 9 are needed
 * file_bytes  the size of the whole file
 */
bool safetensors_identify(const void *head, size_t head_bytes, uint64_t file_bytes);

/* Read a header that is in memory, as a fuzzer has it.
 *
 * head        the file from its first byte; head_bytes of it, which must include the whole header
 * file_bytes  the size of the whole file, at least head_bytes
 * file        the index that the builder gave the file
 * error       filled on failure, but for the file's name
 * returns     0; -EINVAL where the content is refused; -ENOMEM
 * source      https://github.com/huggingface/safetensors, the format's description
 */
int safetensors_parse(const void *head, size_t head_bytes, uint64_t file_bytes,
                      struct checkpoint_builder *builder, size_t file, struct input_error *error);

/* Read the header of an open file into a builder.
 *
 * fd       readable and a regular file of file_bytes; neither moved nor closed
 * returns  as safetensors_parse(), else what read() said
 */
int safetensors_read(int fd, uint64_t file_bytes, struct checkpoint_builder *builder, size_t file,
                     struct input_error *error);

#endif
