/* offload_stage.h - a folder or a file that is replaced as a whole, or not at all.
 *
 * What is new is made beside what is there, in ".<name>.berth-offload", and takes its name in one
 * call of the kernel:
 *
 *     nothing or an empty folder there:  rename(new, name)
 *     a folder:                          exchange(new, name), then the old one is removed
 *     a file:                            rename(new, name)
 *
 * Before that everything new is on the disk, so that neither a kill nor a crash leaves a mixture. A
 * kill leaves at most the folder or file beside; the next stage of the same name removes it. It is
 * locked while somebody works on it.
 */
#ifndef BERTH_TOOLS_OFFLOAD_STAGE_H
#define BERTH_TOOLS_OFFLOAD_STAGE_H

#include "offload_copy.h"
#include <limits.h>

#define STAGE_BESIDE "berth.safetensors" /* what our folders hold that no .dat can */

struct stage {
    char *shown;               /* the path as it was given */
    char *real;                /* absolute, without links */
    char name[NAME_MAX + 1];   /* its last part */
    char beside[NAME_MAX + 1]; /* what is new, until it has that name */
    int parent;                /* the folder that both are in */
    int made;                  /* the new folder or file */
    int owned;                 /* it is ours to remove */
    int old;                   /* what it replaces; -1 where there is nothing */
    char **old_names;          /* of the files in the old folder */
    size_t old_count;
    struct copy_error *error;
};

/* Begin a new folder. What is there must be nothing, or an offload folder with nothing else in it:
 * nobody's files are removed.
 *
 * returns  0; -errno and the error: then nothing has changed but what a killed run had left
 * owner    the caller ends with stage_end()
 */
int stage_begin_folder(struct stage *stage, const char *path, struct copy_error *error);

/* The same for a file. What is there must be nothing, an empty file or a safetensors file. */
int stage_begin_file(struct stage *stage, const char *path, struct copy_error *error);

/* Put what was made in its place. The files of a folder have been flushed before.
 *
 * left     set to 1 where the new folder is in place, and of the old one something is left beside
 * returns  0; -errno and the error. What stands under the name is the old or the new as a whole
 */
int stage_commit_folder(struct stage *stage, int *left);
int stage_commit_file(struct stage *stage);

/* Remove what was made, unless it has been put in its place, and free the stage. */
void stage_end(struct stage *stage);

#endif
