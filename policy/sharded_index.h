/* sharded_index.h - the index of a sharded checkpoint: which parameter is in which file.
 *
 *     {"metadata": {"total_size": 4096}, "weight_map": {"embed.weight": "model-00001-of-00002..."}}
 *
 * The shards lie beside the index and have one format, whichever. What the index says and what the
 * shards hold must agree; total_size is somebody's remark, and not believed.
 */
#ifndef BERTH_POLICY_SHARDED_INDEX_H
#define BERTH_POLICY_SHARDED_INDEX_H

#include "checkpoint_index.h"

/* Is this such an index, be it a good one or not? */
bool sharded_index_identify(const cJSON *root);

/* Does an index name a file as a shard? */
bool sharded_index_names(const struct checkpoint_index *index, const char *file);

/* Read all shards of an index. As checkpoint_index_open().
 *
 * source   the sharded checkpoints that Hugging Face's libraries write
 */
int sharded_index_open(const struct checkpoint_index *index, struct checkpoint **out,
                       struct input_error *error);

#endif
