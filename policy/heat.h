/* heat.h - how hot the tensors of a model are, by a recorded run.
 *
 * A run tells of parameters by their names: how many launches touched each, and when first. It need
 * not tell of all: of small ones nobody counts the touches, and some the program never put on the
 * device. Nor are its counts exact: a run may end in the middle of a step. So what was touched
 * nearly as often counts as touched equally often, and a block whose parts were is placed as one.
 *
 * Pure functions: no clock, no locks, no randomness.
 */
#ifndef BERTH_POLICY_HEAT_H
#define BERTH_POLICY_HEAT_H

#include "error.h"
#include "planner.h"
#include "unit.h"
#include <stddef.h>
#include <stdint.h>

#define HEAT_NOT_TOLD UINT64_MAX

/* One parameter of a run; several may have one name. */
struct heat_record {
    const char *name;
    uint64_t touches;     /* HEAT_NOT_TOLD: the program used it, nobody knows how often */
    uint64_t first_touch; /* an ordinal; 0 or HEAT_NOT_TOLD where there was none */
};

struct heat_run {
    const char *path; /* where it was read from, for errors */
    const struct heat_record *records;
    size_t count;
};

/* The heat of a model's tensors.
 *
 * A tensor of which the run does not tell the touches is as hot as the smallest module around it of
 * which it does; one that it does not tell of at all has never been touched, unless its own module
 * has.
 *
 * units    its repeated blocks whose parts were not touched alike (more than an eighth of the bytes
 *          less often than the rest) are marked as what may be split; all tensors of the others
 *          are as hot as the hottest of them
 * heat     set on success only; by tensor
 * error    filled on failure
 * returns  0; -EINVAL for a run that has none of the model's parameters, or in which no touches
 *          were counted; -ENOMEM
 * owner    the caller frees *heat with free()
 */
int heat_create(struct unit_table *units, const struct heat_run *run, struct plan_heat **heat,
                struct input_error *error);

#endif
