/* policy_write.h - a policy on its way into a file.
 *
 * What is written is read back as the same policy, in the same order. Only what was given is
 * written, so that what was left to berth stays so.
 */
#ifndef BERTH_POLICY_POLICY_WRITE_H
#define BERTH_POLICY_POLICY_WRITE_H

#include "policy_file.h"
#include <stdio.h>

/* Write a policy as JSON that policy_read() takes.
 *
 * path     of the file that is written; the checkpoint and the offload folder are written relative
 *          to its folder where they lie in it, else as an absolute path. A name without a folder,
 * "" or "-" for a pipe, leaves relative paths as they are out      the caller asks ferror() whether
 * all was written returns  0; -ENOMEM, or what getcwd() said where an absolute path was wanted
 */
int policy_write(const struct policy *policy, const char *path, FILE *out);

#endif
