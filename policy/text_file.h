/* text_file.h - a small file, read whole: a policy, a model's config.json.
 */
#ifndef BERTH_POLICY_TEXT_FILE_H
#define BERTH_POLICY_TEXT_FILE_H

#include "error.h"
#include <stddef.h>

/* Read a file to its end, which need not be a regular one: it may come through a pipe.
 *
 * path       of the file
 * flags      of open() beyond those for reading: O_NONBLOCK does not wait for a pipe's writer
 * bytes_max  the file is smaller
 * what       is expected, for the error: "a readable policy file"
 * text       set on success only; not terminated
 * error      filled on failure
 * returns    0; -EFBIG where the file does not fit; -ENOMEM; what the file system said
 * owner      the caller frees *text
 */
int text_file_read(const char *path, int flags, size_t bytes_max, const char *what, char **text,
                   size_t *bytes, struct input_error *error);

#endif
