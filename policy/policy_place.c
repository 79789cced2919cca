#include "policy_place.h"
#include "architecture.h"
#include "unit.h"
#include <errno.h>
#include <stdlib.h>

_Static_assert(POLICY_DEVICES_MAX <= INT8_MAX, "a place takes a byte");

/* What unit_table_create() borrows while it works. */
struct lists {
    struct tie_list *tied;
    const char **classes;
};

/* Take what can be of the lists, for one that cannot be would refuse all. returns 0 or -ENOMEM */
static int take_lists(const struct policy *policy, const struct checkpoint *checkpoint,
                      const struct model_config *config, struct lists *lists,
                      struct unit_options *options)
{
    struct architecture_places known;
    struct input_error error;

    lists->tied = calloc(policy->tied_count + 1, sizeof(*lists->tied));
    lists->classes = calloc(policy->no_split_classes.count + 1, sizeof(*lists->classes));
    if (!lists->tied || !lists->classes)
        return -ENOMEM;
    for (size_t i = 0; i < policy->tied_count; i++) {
        const struct policy_names *group = &policy->tied[i];
        struct tie_list list = {(const char *const *)group->names, group->count};

        if (!ties_check_list(checkpoint, &list, &error))
            lists->tied[options->tied_count++] = list;
    }
    for (size_t i = 0; i < policy->no_split_classes.count; i++) {
        const char *name = policy->no_split_classes.names[i];

        if (!architecture_resolve(config, name, &known, &error))
            lists->classes[options->no_split_class_count++] = name;
    }
    options->tied = lists->tied;
    options->no_split_classes = lists->classes;
    return 0;
}

/* The place of a unit that the map splits although it is one: that of its first tensor with a place
 * for a module that is kept whole, that of the weight for companions. */
static int place_of_split(const struct unit_table *units, const struct unit *unit, uint32_t tensor)
{
    if (unit->reason != UNIT_PATTERN && unit->reason != UNIT_CLASS)
        return units->places[units->owners[tensor]];
    for (uint32_t i = 0; i < unit->count; i++) {
        int place = units->places[units->members[unit->first + i]];

        if (place != POLICY_NOWHERE)
            return place;
    }
    return POLICY_NOWHERE;
}

static int count_conflicts(const struct unit_table *units, struct input_error *first)
{
    struct unit_conflict conflict;
    size_t cursor = 0;
    int count = 0;

    while (unit_next_conflict(units, &cursor, &conflict)) {
        if (count++)
            continue;
        input_error_clear(first);
        unit_conflict_describe(units, &conflict, first);
    }
    return count;
}

int policy_place_tensors(const struct policy *policy, const struct checkpoint *checkpoint,
                         const struct model_config *config, int8_t **places,
                         struct input_error *conflict)
{
    struct unit_options options = {
        .config = config,
        .no_split = (const char *const *)policy->no_split.names,
        .no_split_count = policy->no_split.count,
        .no_split_given = policy->no_split_given,
        .map = &policy->map,
    };
    int8_t *found = malloc(checkpoint->tensor_count + 1);
    struct unit_table *units = NULL;
    struct lists lists = {0};
    struct input_error error;
    int res = found ? take_lists(policy, checkpoint, config, &lists, &options) : -ENOMEM;

    if (!res)
        res = unit_table_create(checkpoint, &options, &units, &error);
    if (res == -EINVAL) { /* a word among the patterns that is no class */
        options.no_split_count = 0;
        res = unit_table_create(checkpoint, &options, &units, &error);
    }
    if (res)
        goto out;
    for (size_t i = 0; i < checkpoint->tensor_count; i++) {
        const struct unit *unit = &units->units[units->unit_of[i]];

        found[i] = (int8_t)(unit->place == UNIT_SPLIT ? place_of_split(units, unit, (uint32_t)i)
                                                      : unit->place);
    }
    res = count_conflicts(units, conflict);
    *places = found;
    found = NULL;
out:
    unit_table_free(units);
    free(lists.tied);
    free(lists.classes);
    free(found);
    return res;
}
