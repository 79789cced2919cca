/* offload_folder.h - the reader of offload folders, as Hugging Face accelerate lays them out.
 *
 * A folder is an index.json (offload_index.h) and a file for each weight that is no pointer.
 * Nothing in it leads out of it but the pointers, which name safetensors files anywhere: a weight's
 * file is a regular file of exactly the right size inside the folder, though it may be a link to
 * one there.
 */
#ifndef BERTH_POLICY_OFFLOAD_FOLDER_H
#define BERTH_POLICY_OFFLOAD_FOLDER_H

#include "checkpoint_index.h"
#include <stdbool.h>

#define OFFLOAD_POINTED_MAX 10000u /* safetensors files that one folder points into */

/* Is this such an index, be it a good one or not? It is called index.json, or has a weight in it.
 */
bool offload_folder_identify(const struct checkpoint_index *index);

/* Does an index point into a file of this name, in whichever folder? */
bool offload_folder_names(const struct checkpoint_index *index, const char *file);

/* Read the folder around an index: the headers of what it points into, and the sizes of its files.
 * The weights stand in the order of the index. As checkpoint_index_open().
 *
 * source   what accelerate 1.15.0 writes and reads back
 */
int offload_folder_open(const struct checkpoint_index *index, struct checkpoint **out,
                        struct input_error *error);

#endif
