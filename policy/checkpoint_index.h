/* checkpoint_index.h - JSON files that say which other files hold a checkpoint's tensors.
 *
 * There are two kinds, told apart by their content: the index of a sharded checkpoint, which has a
 * weight_map, and the index of an offload folder. What an index names is believed only after it was
 * looked for.
 */
#ifndef BERTH_POLICY_CHECKPOINT_INDEX_H
#define BERTH_POLICY_CHECKPOINT_INDEX_H

#include "checkpoint_build.h"
#include <cjson/cJSON.h>

struct checkpoint_index {
    char *path;
    char *text;
    size_t text_bytes;
    cJSON *root; /* an object */
};

/* Read an index file and parse it; what its values mean is for a reader to say.
 *
 * error    names the file; filled on failure
 * returns  0; -EINVAL where it is no JSON object; -ENOMEM; else what the file system said
 * owner    the caller ends with checkpoint_index_free(), whatever is returned
 */
int checkpoint_index_load(struct checkpoint_index *index, const char *path,
                          struct input_error *error);
void checkpoint_index_free(struct checkpoint_index *index);

/* Read the checkpoint that an index names.
 *
 * out      set on success only
 * returns  as checkpoint_open()
 */
int checkpoint_index_open(const struct checkpoint_index *index, struct checkpoint **out,
                          struct input_error *error);

/* The path of a file beside the index.
 *
 * name     a file name, or a path that goes on from there
 * returns  NULL where memory is short
 * owner    the caller frees it
 */
char *checkpoint_index_join(const struct checkpoint_index *index, const char *name);

/* Refuse a value of the index.
 *
 * item     where the error points to
 * format   printf's, for what was found
 * returns  -EINVAL
 */
int checkpoint_index_refuse(const struct checkpoint_index *index, const cJSON *item,
                            struct input_error *error, const char *expected, const char *format,
                            ...) __attribute__((format(printf, 5, 6)));

#endif
