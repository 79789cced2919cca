/* policy_checker.h - a policy and a checkpoint on their way into a struct policy_check.
 *
 * Between the parts of policy_check.c: nothing else includes this. Each part adds its findings and
 * goes on; what it returns is policy_check_create()'s.
 */
#ifndef BERTH_POLICY_POLICY_CHECKER_H
#define BERTH_POLICY_POLICY_CHECKER_H

#include "policy_check.h"
#include "size.h"
#include "unit.h"

struct checker {
    const struct policy *policy;
    const struct checkpoint *checkpoint;
    const struct model_config *config;
    struct policy_check *check;
    struct unit_table *units;
    struct tie_list *tied; /* what units borrows */
    const char **classes;
    const struct policy_map_entry **entries; /* by tensor: what covers it, or NULL */
    const struct policy_map_entry **homes;   /* by object: what covers the first covered name */
    uint64_t *bytes;                         /* by tensor: 0 for a further name of an object */
};

/* The first tensor that is the same object. */
uint32_t checker_find_object(const struct checker *c, uint32_t tensor);

/* Add an error. */
int checker_add_error(struct checker *c, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Add what is no error unless the policy is strict. */
int checker_add_warning(struct checker *c, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Count one more tensor. */
void checker_hold(struct policy_holding *holding, uint64_t bytes);

/* Check keys, patterns and groups (policy_check_names.c). The keys' holdings are filled. */
int checker_check_names(struct checker *c);

/* Make units, complaining of what cannot be (policy_check_units.c). */
int checker_make_units(struct checker *c);

/* Check that what is one is put in one place. */
int checker_check_conflicts(struct checker *c);

/* Check that the first GPU has room for what streams. Places are filled. */
int checker_check_room(struct checker *c);

#endif
