/* gguf_split.h - checkpoints in several GGUF files: NAME-00001-of-00003.gguf and so on.
 *
 * The parts lie in one folder. Each says in its entries how many there are and which it is, and
 * nothing is read that says other than its name.
 */
#ifndef BERTH_POLICY_GGUF_SPLIT_H
#define BERTH_POLICY_GGUF_SPLIT_H

#include "gguf.h"

/* See that what a file says of itself agrees with its name.
 *
 * path     of the file; one that is no part is not called like one
 * split    what it says
 * returns  0, or -EINVAL with error filled
 */
int gguf_split_check(const char *path, const struct gguf_split *split, struct input_error *error);

/* Read the other parts of a checkpoint, so that its files are all of them, in order.
 *
 * builder  has one part as its only file, read and checked; it is read again where it is not the
 *          first
 * returns  0; -EINVAL where a part is refused, or their tensors are more or fewer than they say;
 *          -ENOMEM; else what the file system said: -ENOENT for a part that is missing
 */
int gguf_split_read(struct checkpoint_builder *builder, const struct gguf_split *split,
                    struct input_error *error);

#endif
