/* planner_heat.h - placement by a recorded run: what was touched, in which order, how often.
 *
 * Units are whole: a module that the walk would not split, or a tensor of one that it would, with
 * all that is tied to it. What was touched most often in each byte's time goes first: to the GPUs,
 * then to cpu, and what was never touched comes last. Where a GPU's room ends within units that
 * were touched equally often, those that stay are spread evenly through the order of the run: the
 * link is then busy all the time, not in one burst. On GPUs units stand in that order, too, so that
 * a step passes from one GPU to the next as seldom as the walk would have it.
 */
#ifndef BERTH_POLICY_PLANNER_HEAT_H
#define BERTH_POLICY_PLANNER_HEAT_H

#include "planner_walk.h"

/* Place every tensor of a model by options->heat, which is there.
 *
 * out      zeroed on failure
 * returns  0 or -ENOMEM
 * owner    plan_walk_destroy()
 */
int plan_heat_run(const struct plan_model *model, const struct plan_options *options,
                  struct plan_walk *out);

#endif
