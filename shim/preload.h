/* preload.h - modules that are there as a whole where any part of them is used.
 *
 * The policy's preload patterns name them. A launch that touches one tensor of such a module is
 * taken to touch all of them: for kernels that find the others by pointers which no parameter
 * holds, and for modules whose parts had better arrive in one burst. Like every prediction it
 * changes when bytes arrive, never whether.
 *
 * Where the tensors lie is remembered by device as they are bound, and held against the objects
 * there whenever it is asked for, so that what has gone since is no harm.
 */
#ifndef BERTH_PRELOAD_H
#define BERTH_PRELOAD_H

#include "checkpoint.h"
#include "cuda_abi.h"
#include <stddef.h>

/* Does the policy have preload patterns? Where not, nobody need ask. */
int preload_is_on(void);

/* A checkpoint has been recognised.
 *
 * checkpoint  never goes away
 * path        of its file: a module may go on in another one of the same folder
 * locks       the caller's, one at a time
 */
void preload_add(const struct checkpoint *checkpoint, const char *path);

/* Bytes of a tensor lie at an address now.
 *
 * locks    g_range_lock, held for writing
 */
void preload_note(const struct tensor *tensor, CUdevice device, CUdeviceptr addr);

/* Is the tensor part of a module that is loaded as a whole, with others in it? */
int preload_is_member(const struct tensor *tensor);

/* Visit the tensors of a member's module that lie on a device, itself among them.
 *
 * visit    called with arg, the tensor, and where it was bound last
 * locks    g_range_lock, held for reading
 */
typedef void preload_visit_fn(void *arg, const struct tensor *tensor, CUdeviceptr addr);
void preload_visit(const struct tensor *member, CUdevice device, preload_visit_fn *visit,
                   void *arg);

#endif
