/* placement.h - where the policy's device map puts the tensors of the checkpoints in use.
 *
 * Names are resolved once for each checkpoint, when it is recognised; a tensor's place is looked up
 * when bytes on the device are bound to it, never in a launch. The tables only grow, as the
 * checkpoints do.
 */
#ifndef BERTH_PLACEMENT_H
#define BERTH_PLACEMENT_H

#include "checkpoint.h"

/* Does the policy have a device map? Where not, nobody need ask for places. */
int placement_is_on(void);

/* A checkpoint has been recognised: find the places of its tensors. Where the user has named the
 * whole model, that decides for the tensors that it has, so that a unit in two shards is one.
 *
 * checkpoint  never goes away
 * path        of its file; the config.json beside it is read
 * locks       the caller's, one at a time; reads files
 */
void placement_add(const struct checkpoint *checkpoint, const char *path);

/* Where a tensor of such a checkpoint is to live.
 *
 * returns  a GPU index, POLICY_CPU, POLICY_DISK; POLICY_NOWHERE where the map says nothing, or
 *          nothing is known of the tensor
 * locks    none
 */
int placement_find(const struct tensor *tensor);

#endif
