/* What is one object under several names, and is put in two places. */

#include "policy_checker.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static int refuse_conflict(struct checker *c, const char *first, const struct policy_map_entry *a,
                           const char *second, const struct policy_map_entry *b)
{
    char at_first[POLICY_PLACE_BYTES], at_second[POLICY_PLACE_BYTES];

    return checker_add_error(c, "device_map",
                             "%s and %s are one object, but \"%s\" puts one on %s and \"%s\" the "
                             "other on %s",
                             first, second, a->prefix, policy_place_name(a->place, at_first),
                             b->prefix, policy_place_name(b->place, at_second));
}

/* Tensors that share a storage of the checkpoint. */
static int check_storages(struct checker *c)
{
    const struct tensor *tensors = c->checkpoint->tensors;
    const uint32_t *members;
    size_t cursor = 0, count, i;
    int res = 0;

    while (!res && (count = checkpoint_next_tied(c->checkpoint, &cursor, &members))) {
        const struct policy_map_entry *first = c->entries[members[0]];

        for (i = 1; i < count && first && !res; i++) {
            const struct policy_map_entry *other = c->entries[members[i]];

            if (other && other->place != first->place) {
                res = refuse_conflict(c, tensors[members[0]].name, first, tensors[members[i]].name,
                                      other);
                break;
            }
        }
    }
    return res;
}

/* Names that the policy ties. One that the checkpoint leaves out counts: most files hold a tied
 * parameter once, and the map may have a key for either.
 */
static int check_tied_places(struct checker *c, const struct policy_names *group)
{
    const struct policy_map_entry *first = NULL;
    const char *name = NULL;
    size_t i;

    for (i = 0; i < group->count; i++) {
        const struct policy_map_entry *entry = policy_map_find(&c->policy->map, group->names[i]);

        if (entry && first && entry->place != first->place)
            return refuse_conflict(c, name, first, group->names[i], entry);
        if (entry && !first) {
            first = entry;
            name = group->names[i];
        }
    }
    return 0;
}

static int check_tied_tensors(struct checker *c, const struct policy_names *group)
{
    const struct tensor *first = NULL;
    size_t i;

    for (i = 0; i < group->count; i++) {
        size_t found = checkpoint_find_name(c->checkpoint, group->names[i]);
        const struct tensor *tensor;

        if (found == CHECKPOINT_NONE)
            continue;
        tensor = &c->checkpoint->tensors[found];
        if (first && tensor_dense_bytes(tensor) != tensor_dense_bytes(first))
            return checker_add_error(c, "tied",
                                     "%s has %llu bytes and %s has %llu: they cannot be one object",
                                     first->name, (unsigned long long)tensor_dense_bytes(first),
                                     tensor->name, (unsigned long long)tensor_dense_bytes(tensor));
        first = first ? first : tensor;
    }
    if (first)
        return 0;
    return checker_add_warning(c, "tied", "the checkpoint has neither %s nor %s", group->names[0],
                               group->names[1]);
}

int checker_check_ties(struct checker *c)
{
    size_t i;
    int res = check_storages(c);

    for (i = 0; i < c->policy->tied_count && !res; i++) {
        res = check_tied_tensors(c, &c->policy->tied[i]);
        if (!res)
            res = check_tied_places(c, &c->policy->tied[i]);
    }
    return res;
}
