/* policy_place.h - where a policy puts each tensor of a checkpoint, for those that follow it.
 *
 * A unit has one place (unit.h). Where the map contradicts itself, its first entry counts:
 * policy_check.h tells of all that is wrong, here the best is made of it.
 */
#ifndef BERTH_POLICY_POLICY_PLACE_H
#define BERTH_POLICY_POLICY_PLACE_H

#include "checkpoint.h"
#include "model_config.h"
#include "policy_file.h"

/* Find the place of every tensor.
 *
 * policy    has a map. Ties and classes that cannot be are left out
 * config    of the model; NULL where nothing is known of it
 * places    set on success only, by tensor: a GPU index or enum policy_place
 * conflict  filled where what is one is put in two places: the first such pair
 * returns   how many such pairs there are; -ENOMEM, or what unit_table_create() said
 * owner     the caller frees *places with free()
 */
int policy_place_tensors(const struct policy *policy, const struct checkpoint *checkpoint,
                         const struct model_config *config, int8_t **places,
                         struct input_error *conflict);

#endif
