/* pytorch.h - the readers of what torch.save() writes: a zip archive, or the older form without
 * one.
 *
 *     <name>/data.pkl     a pickle: dicts of tensors, whose bytes it refers to by a storage's key
 *     <name>/byteorder    "little"; missing in older files
 *     <name>/data/<key>   one storage's bytes, stored: mapped where they lie
 *
 * The older form has the same pickle between others, and the storages behind them. Nothing of a
 * pickle is executed, and a name that is no part of a state dict is refused. Nested dicts and lists
 * make dotted names. Tensors of one storage have one number in tensor.storage.
 */
#ifndef BERTH_POLICY_PYTORCH_H
#define BERTH_POLICY_PYTORCH_H

#include "byte_source.h"
#include "checkpoint_build.h"

/* Could these be the first bytes of such a file? As checkpoint_identify(). A zip archive is taken
 * for one if its first member is of those that PyTorch writes; the older form begins with a number.
 */
bool pytorch_identify(const void *head, size_t head_bytes, uint64_t file_bytes);
bool pytorch_legacy_identify(const void *head, size_t head_bytes, uint64_t file_bytes);

/* Read a file, as struct checkpoint_reader says. */
int pytorch_read(int fd, uint64_t file_bytes, struct checkpoint_builder *builder, size_t file,
                 struct input_error *error);
int pytorch_legacy_read(int fd, uint64_t file_bytes, struct checkpoint_builder *builder,
                        size_t file, struct input_error *error);

/* The same for a file that may be in memory. */
int pytorch_read_source(const struct byte_source *source, struct checkpoint_builder *builder,
                        size_t file, struct input_error *error);
int pytorch_legacy_read_source(const struct byte_source *source, struct checkpoint_builder *builder,
                               size_t file, struct input_error *error);

#endif
