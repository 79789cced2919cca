/* checkpoints.h - the files that this process maps or has open, and which of them are checkpoints.
 *
 * A file is looked at once, by its content, the first time that somebody comes across it; what is
 * no checkpoint is remembered as such. The list only grows: as many entries as there are files, and
 * none ever goes, for objects point into the checkpoints.
 */
#ifndef BERTH_CHECKPOINTS_H
#define BERTH_CHECKPOINTS_H

#include "checkpoint.h"
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct known_file {
    uint64_t inode;
    char *path;                    /* as the kernel lists it */
    struct checkpoint *checkpoint; /* NULL: it is none */
    size_t file;                   /* of the checkpoint's */
    int fd;                        /* open for reading; -1 where it is no checkpoint */
    atomic_int changed;            /* since it was read: its offsets may mean something else */
    struct known_file *next;       /* in the order in which they were found */
};

/* The entry of a file; made on the first call for it.
 *
 * path     as the kernel lists it; must still be the inode to be recognised
 * open_as  another path that leads to the file, where path may not ("/proc/self/fd/3"); else NULL
 * returns  NULL when out of memory
 * locks    takes a lock of its own; may read the header of a file
 */
struct known_file *checkpoints_know(const char *path, uint64_t inode, const char *open_as);

/* Look through all that this process has open or mapped, and what the user named.
 *
 * locks    as checkpoints_know()
 */
void checkpoints_scan(void);

/* Look through what this process has open, if there are signs that it has opened something since it
 * was last looked through: two system calls where there are none.
 *
 * locks    as checkpoints_know()
 */
void checkpoints_scan_opened(void);

/* The file that was found after another.
 *
 * after    NULL for the first
 * returns  NULL at the end of the list
 */
struct known_file *checkpoints_next(const struct known_file *after);

/* How many files are checkpoints. One load; never falls. */
size_t checkpoints_count(void);

/* Is the path still the file that was read? Where not, that is said once and remembered. */
int checkpoints_path_is_current(struct known_file *file);

/* The same for the file itself, whatever its name is now. */
int checkpoints_file_is_current(struct known_file *file);

/* Read from the file of a checkpoint.
 *
 * returns  0, or -errno where not all bytes could be read
 */
int checkpoints_read(const struct known_file *file, uint64_t offset, void *out, size_t bytes);

#endif
