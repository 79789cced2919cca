/* provenance.h - where the bytes of an upload come from: the process's file mappings.
 *
 * A source address inside a mapping of a checkpoint file says which parameter the bytes are,
 * without looking at them. The kernel is asked anew for each upload that does not come from the
 * heap, so that a mapping that came or went since is never mistaken; a page that the process has
 * changed (a private copy) is no longer the file's and is not named.
 */
#ifndef BERTH_PROVENANCE_H
#define BERTH_PROVENANCE_H

#include "checkpoint.h"
#include <stddef.h>
#include <stdint.h>

/* A stretch of bytes in a checkpoint's file. */
struct provenance {
    const struct checkpoint *checkpoint; /* never goes away */
    size_t file;                         /* index in checkpoint->files */
    uint64_t offset;                     /* in the file */
    size_t bytes;                        /* of what was asked for: how far the answer is true */
    int readable;                        /* may the host read at the source? */
};

/* Look an upload's source up. Files are opened and recognised by their content the first time that
 * they are seen; a file that is no checkpoint is remembered as such.
 *
 * source   a host address
 * bytes    of the upload
 * returns  1 and *out for bytes that begin at source, 0 when they are no checkpoint's; out->bytes
 *          and out->readable are set in both cases, and what comes behind is to be asked for anew
 * locks    takes that of checkpoints.h; may read the header of a file
 */
int provenance_find(const void *source, size_t bytes, struct provenance *out);

#endif
