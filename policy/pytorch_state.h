/* pytorch_state.h - from the pickle of a state dict to tensors with names and places.
 *
 * Both forms of PyTorch's files have the same pickle; they differ in where a storage's bytes lie,
 * which the reader of each answers for itself.
 */
#ifndef BERTH_POLICY_PYTORCH_STATE_H
#define BERTH_POLICY_PYTORCH_STATE_H

#include "checkpoint_build.h"
#include "dtype.h"
#include "pickle.h"

#define PYTORCH_KEY_BYTES_MAX  255u /* of a storage's key: it is a short number */
#define PYTORCH_RANK_MAX       64u
#define PYTORCH_DEPTH_MAX      64u   /* dicts and lists in one another */
#define PYTORCH_NAME_BYTES_MAX 4096u /* of a tensor's dotted name */

/* A storage as the pickle refers to it. */
struct pytorch_storage_id {
    const char *key; /* in the pickle, not terminated */
    size_t key_bytes;
    enum dtype dtype;
    uint64_t bytes;                   /* of the whole storage */
    uint64_t view_offset, view_bytes; /* the part of it that is meant; all of it but in old files */
};

/* Where a storage lies. */
struct pytorch_place {
    uint64_t offset; /* from the start of the file */
    uint64_t bytes;
    uint32_t storage; /* from checkpoint_builder_add_storage() */
};

struct pytorch_state {
    const struct pickle *pickle;
    uint64_t pickle_offset; /* in the file */
    struct checkpoint_builder *builder;
    size_t file;
    struct input_error *error;

    /* Find a storage's bytes in the file.
     *
     * at       byte of the file that refers to it, for errors
     * returns  0; -EINVAL and error filled where there is none; -E2BIG, -ENOMEM
     */
    int (*find)(struct pytorch_state *state, const struct pytorch_storage_id *id, uint64_t at,
                struct pytorch_place *place);
    void *storages; /* the finder's own */
};

/* Read what a pickle says of a storage.
 *
 * value    what a tensor is made of
 * returns  0; -EINVAL and the error filled
 */
int pytorch_read_storage_id(const struct pytorch_state *state, const struct pickle_value *value,
                            struct pytorch_storage_id *id);

/* Is this a tensor, or what was made of one? */
bool pytorch_is_tensor(const struct pickle_value *value);

/* Read a tensor and find its bytes.
 *
 * tensor   all set but for its name; what shape and strides refer to is
 * extents  2 * PYTORCH_RANK_MAX numbers
 * returns  as find()
 */
int pytorch_read_tensor(struct pytorch_state *state, const struct pickle_value *value,
                        struct tensor *tensor, uint64_t *extents);

/* Add all tensors of a pickle to the builder, under dotted names.
 *
 * returns  0; -EINVAL where the content is refused; -ENOMEM
 */
int pytorch_add_tensors(struct pytorch_state *state);

#endif
