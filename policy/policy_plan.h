/* policy_plan.h - a device map for a checkpoint, within what a policy asks for.
 *
 * The policy says the limits, what is whole and what is tied; the planner (planner.h) makes the
 * map; here the one is put to the other, and the map into the policy.
 */
#ifndef BERTH_POLICY_POLICY_PLAN_H
#define BERTH_POLICY_POLICY_PLAN_H

#include "checkpoint.h"
#include "heat.h"
#include "model_config.h"
#include "planner.h"
#include "policy_file.h"

/* Make a policy's device map.
 *
 * policy      has no map; a device without a budget in limits is not there. The map is added: the
 *             planner's entries in the tree's order, then names that the checkpoint leaves out, at
 *             the place of what they are tied to
 * limits      what the devices may hold
 * config      of the model; NULL where nothing is known of it
 * run         a recorded one, by which PLAN_AUTO plans what the GPUs cannot hold; NULL for none
 * error       filled on failure
 * returns     0; -EINVAL for a class that is not known, a list of ties that cannot be, or a run
 * that does not tell (heat.h); -ENOMEM
 */
int policy_plan_map(struct policy *policy, const struct policy_memory *limits,
                    const struct checkpoint *checkpoint, const struct model_config *config,
                    enum plan_strategy strategy, const struct heat_run *run,
                    struct input_error *error);

#endif
