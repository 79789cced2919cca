/* policy_checker.h - a policy and a checkpoint on their way into a struct policy_check.
 *
 * Between the parts of policy_check.c: nothing else includes this. Each part adds its findings and
 * goes on; what it returns is 0 or -ENOMEM.
 */
#ifndef BERTH_POLICY_POLICY_CHECKER_H
#define BERTH_POLICY_POLICY_CHECKER_H

#include "policy_check.h"

struct checker {
    const struct policy *policy;
    const struct checkpoint *checkpoint;
    struct policy_check *check;
    const struct policy_map_entry **entries; /* by tensor: what covers it, or NULL */
    const struct policy_map_entry **homes;   /* by object: what covers the first covered name */
    uint64_t *bytes;                         /* by tensor: 0 for a further name of an object */
    uint32_t *objects;                       /* by tensor: checker_find_object() asks */
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

/* Check what is one object under several names (policy_check_ties.c). */
int checker_check_ties(struct checker *c);

#endif
