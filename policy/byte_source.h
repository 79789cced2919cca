/* byte_source.h - where a reader gets a file's bytes: a descriptor, or memory as a fuzzer has it.
 *
 * A reader asks for no byte before it knows that the file is long enough. One that is missing all
 * the same went while it was read, for instance from a file that shrank.
 */
#ifndef BERTH_POLICY_BYTE_SOURCE_H
#define BERTH_POLICY_BYTE_SOURCE_H

#include "error.h"

struct byte_source {
    const void *memory; /* the whole file; NULL where fd is asked */
    int fd;             /* neither moved (pread) nor closed */
    uint64_t bytes;     /* of the whole file */
};

/* Read bytes of a file, all of them or none.
 *
 * to       at least bytes long
 * offset   from the start of the file
 * error    filled on failure, but for the file's name
 * returns  0; -EINVAL where the file ends before; else what the file system said
 */
int byte_source_read(const struct byte_source *source, void *to, size_t bytes, uint64_t offset,
                     struct input_error *error);

#endif
