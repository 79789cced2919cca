/* read_fully.h - bytes of a file by their offset: all of them, or the reason why not. */
#ifndef BERTH_POLICY_READ_FULLY_H
#define BERTH_POLICY_READ_FULLY_H

#include "error.h"

/* Read bytes of a file, all of them or none.
 *
 * fd       readable; it is not moved
 * to       room for bytes
 * error    filled on failure
 * returns  0; -EINVAL where the file ends before, as one does that shrank meanwhile; -errno
 */
int read_fully(int fd, void *to, size_t bytes, uint64_t offset, struct input_error *error);

/* Refuse a file that the system does not let us read.
 *
 * number   errno
 * returns  -number
 */
int read_refuse_system(struct input_error *error, int number);

#endif
