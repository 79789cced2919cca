/* checkpoint_folder.h - which file of a folder is its checkpoint.
 *
 * A folder has one checkpoint: an index and its shards, a single model file, or one that comes in
 * parts. Where it has several, nobody guesses: the user is told their names.
 */
#ifndef BERTH_POLICY_CHECKPOINT_FOLDER_H
#define BERTH_POLICY_CHECKPOINT_FOLDER_H

#include "error.h"

/* Choose a folder's checkpoint by the names of its files.
 *
 * path     of the folder
 * chosen   set on success only: the path of an index or of a model file
 * error    filled on failure: it lists what there is to choose from
 * returns  0; -EINVAL where there is none or more than one, or where the index is no good; -ENOMEM;
 *          else what the file system said
 * owner    the caller frees *chosen
 */
int checkpoint_folder_choose(const char *path, char **chosen, struct input_error *error);

#endif
