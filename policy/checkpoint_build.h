/* checkpoint_build.h - how a format's reader makes a checkpoint: the other side of checkpoint.h.
 *
 * A reader adds files and tensors; checkpoint_build.c owns the memory and the indexes. What is
 * added is copied. A reader checks every number before it adds it; that names are unique is checked
 * here, for all formats alike.
 */
#ifndef BERTH_POLICY_CHECKPOINT_BUILD_H
#define BERTH_POLICY_CHECKPOINT_BUILD_H

#include "checkpoint.h"

#define STORAGE_OWN 0u /* while a checkpoint is built: a storage that no other tensor has */

/* What a checkpoint says of itself, in the order of its files. */
struct checkpoint_entry {
    const char *key, *text; /* in the arena */
};

struct checkpoint_builder {
    struct checkpoint *checkpoint;                /* without its indexes as yet */
    size_t file_room, tensor_room, metadata_room; /* allocated entries */
    uint32_t storage_count;                       /* handed out so far */
    bool with_parts; /* the file was named by its path: where it is one of several that make a
                        checkpoint together, its reader adds the others too */
};

/* A format of single files, a row of CHECKPOINT_FORMATS.
 *
 * read()  fd       readable and a regular file of file_bytes; neither moved (pread) nor closed
 *         file     the index that the builder gave it; checkpoint.files has its path
 *         error    the file's name is in it; filled on failure
 *         returns  0; -EINVAL where the content is refused; -ENOMEM; else what read() said
 */
struct checkpoint_reader {
    bool (*identify)(const void *head, size_t head_bytes, uint64_t file_bytes);
    int (*read)(int fd, uint64_t file_bytes, struct checkpoint_builder *builder, size_t file,
                struct input_error *error);
};

/* Begin an empty checkpoint.
 *
 * returns  0 or -ENOMEM
 * owner    the caller ends with checkpoint_builder_finish() or checkpoint_builder_abandon()
 */
int checkpoint_builder_begin(struct checkpoint_builder *builder, enum checkpoint_format format);

/* Add a file.
 *
 * status   from fstat() of the descriptor that is read
 * index    the file's index in checkpoint.files
 * returns  0 or -ENOMEM
 */
int checkpoint_builder_add_file(struct checkpoint_builder *builder, const char *path,
                                const struct stat *status, size_t *index);

/* Open a file by its path, add it and all its tensors: how a reader gets from an index to its
 * shards, or from one part to the others.
 *
 * path     as it will stand in checkpoint.files
 * real     where it is opened: path itself, or what a link there led to
 * format   which it must have; CHECKPOINT_UNKNOWN for any, and then the checkpoint has that one
 * file     set to its index in checkpoint.files; may be NULL
 * error    names this file on failure, and is as before otherwise
 * returns  0; -EINVAL where the content is refused; -ENOMEM; else what the file system said
 */
int checkpoint_builder_read_file(struct checkpoint_builder *builder, const char *path,
                                 const char *real, enum checkpoint_format format, size_t *file,
                                 struct input_error *error);

/* A number for tensor.storage, which several tensors are then given. It is unique in the whole
 * checkpoint, over all its files. */
uint32_t checkpoint_builder_add_storage(struct checkpoint_builder *builder);

/* Add a tensor.
 *
 * tensor   every field set; name, shape and strides are copied. storage is a number from
 *          checkpoint_builder_add_storage(), or STORAGE_OWN; tensors whose bytes overlap in a file
 *          are given one storage at the end, whatever stands here
 * returns  0, -ENOMEM, or -E2BIG beyond 2^31 tensors
 */
int checkpoint_builder_add_tensor(struct checkpoint_builder *builder, const struct tensor *tensor);

/* Keep what a file says of its checkpoint. Of equal keys the first is found.
 *
 * key, text  terminated; copied
 * returns    0 or -ENOMEM
 */
int checkpoint_builder_add_metadata(struct checkpoint_builder *builder, const char *key,
                                    const char *text);

/* Make the indexes and hand the checkpoint over.
 *
 * out      set on success only
 * error    filled on failure
 * returns  0; -EINVAL where two tensors have one name; -ENOMEM. The builder is empty afterwards,
 *          whatever is returned
 */
int checkpoint_builder_finish(struct checkpoint_builder *builder, struct checkpoint **out,
                              struct input_error *error);

/* Throw away what was built so far. */
void checkpoint_builder_abandon(struct checkpoint_builder *builder);

#endif
