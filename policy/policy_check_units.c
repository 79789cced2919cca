/* What is placed as one: objects with several names, weights with companions, modules that no_split
 * keeps whole. unit.h knows what these are; here is what a map does to them.
 */

#include "architecture.h"
#include "planner.h"
#include "policy_checker.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFLICTS_MAX 64 /* that are named; the rest is counted */

/* Add what another module says of a field. */
static int add_input_error(struct checker *c, const char *field, const struct input_error *error)
{
    return checker_add_error(c, field, "expected %s, found %s", error->expected, error->found);
}

/* Take the user's ties that can be; complain of the others. */
static int take_ties(struct checker *c, struct unit_options *options)
{
    const struct policy *policy = c->policy;
    size_t i, j;
    int res = 0;

    c->tied = calloc(policy->tied_count + 1, sizeof(*c->tied));
    if (!c->tied)
        return -ENOMEM;
    options->tied = c->tied;
    for (i = 0; i < policy->tied_count && !res; i++) {
        const struct policy_names *group = &policy->tied[i];
        struct tie_list list = {(const char *const *)group->names, group->count};
        struct input_error error;

        for (j = 0; j < group->count; j++) {
            if (checkpoint_find_name(c->checkpoint, group->names[j]) != CHECKPOINT_NONE)
                break;
        }
        if (j == group->count)
            res = checker_add_warning(c, "tied", "the checkpoint has neither %s nor %s",
                                      group->names[0], group->names[1]);
        else if (ties_check_list(c->checkpoint, &list, &error))
            res = add_input_error(c, "tied", &error);
        else
            c->tied[options->tied_count++] = list;
    }
    return res;
}

/* Take the classes that are known; complain of the others. */
static int take_classes(struct checker *c, struct unit_options *options)
{
    const struct policy_names *classes = &c->policy->no_split_classes;
    size_t i;
    int res = 0;

    c->classes = calloc(classes->count + 1, sizeof(*c->classes));
    if (!c->classes)
        return -ENOMEM;
    options->no_split_classes = c->classes;
    for (i = 0; i < classes->count && !res; i++) {
        struct architecture_places places;
        struct input_error error;

        if (architecture_resolve(c->config, classes->names[i], &places, &error))
            res = add_input_error(c, "no_split_module_classes", &error);
        else
            c->classes[options->no_split_class_count++] = classes->names[i];
    }
    return res;
}

/* Warn of patterns and classes that no unit came of. */
static int check_matches(struct checker *c, const struct unit_options *options)
{
    size_t i;
    int res = 0;

    for (i = 0; i < options->no_split_count && !res; i++) {
        if (!c->units->matches[i] && strcmp(options->no_split[i], "none") != 0)
            res = checker_add_warning(c, "no_split", "\"%s\" matches no module that could be split",
                                      options->no_split[i]);
    }
    for (i = 0; i < options->no_split_class_count && !res; i++) {
        if (!c->units->matches[options->no_split_count + i])
            res = checker_add_warning(c, "no_split_module_classes", "there is no %s in this model",
                                      options->no_split_classes[i]);
    }
    return res;
}

int checker_make_units(struct checker *c)
{
    const struct load_dtypes loads = policy_load_dtypes(c->policy);
    struct unit_options options = {
        .loads = &loads,
        .config = c->config,
        .no_split = (const char *const *)c->policy->no_split.names,
        .no_split_count = c->policy->no_split.count,
        .no_split_given = c->policy->no_split_given,
        .map = c->policy->map.count ? &c->policy->map : NULL,
    };
    struct input_error error;
    int res = take_ties(c, &options);

    if (!res)
        res = take_classes(c, &options);
    if (res)
        return res;
    res = unit_table_create(c->checkpoint, &options, &c->units, &error);
    if (res == -EINVAL) { /* a word among the patterns that is no class: the rest can be checked */
        res = add_input_error(c, "no_split", &error);
        options.no_split_count = 0;
        if (!res)
            res = unit_table_create(c->checkpoint, &options, &c->units, &error);
    }
    return res ? res : check_matches(c, &options);
}

int checker_check_conflicts(struct checker *c)
{
    struct unit_conflict conflict;
    size_t cursor = 0, count = 0;
    int res = 0;

    while (!res && unit_next_conflict(c->units, &cursor, &conflict)) {
        struct input_error error;

        if (++count > CONFLICTS_MAX)
            continue;
        input_error_clear(&error);
        unit_conflict_describe(c->units, &conflict, &error);
        res = add_input_error(c, "device_map", &error);
    }
    if (res || count <= CONFLICTS_MAX)
        return res;
    return checker_add_error(c, "device_map", "%zu more such conflicts", count - CONFLICTS_MAX);
}

/* Find the largest unit that does not stay in VRAM. */
static int find_streamed(struct checker *c)
{
    const struct unit_table *units = c->units;
    size_t largest = units->count, i, j, name_bytes;
    const char *name;

    for (i = 0; i < units->count; i++) {
        const struct unit *unit = &units->units[i];
        uint64_t bytes = 0;

        if (unit->place != POLICY_CPU && unit->place != POLICY_DISK)
            continue;
        for (j = 0; j < unit->count; j++)
            bytes += c->bytes[units->members[unit->first + j]];
        if (bytes > c->check->streamed_bytes) {
            c->check->streamed_bytes = bytes;
            largest = i;
        }
    }
    if (largest == units->count)
        return 0;
    name = unit_name(units, largest, &name_bytes);
    c->check->streamed_unit = strndup(name, name_bytes);
    return c->check->streamed_unit ? 0 : -ENOMEM;
}

int checker_check_room(struct checker *c)
{
    const struct policy_holding *first = &c->check->places[0];
    char room[SIZE_TEXT_BYTES], unit[SIZE_TEXT_BYTES], field[32];
    int res = find_streamed(c);

    c->check->unit_count = c->units->count;
    if (res || !c->check->streamed_unit || first->place < 0 || first->limit == POLICY_UNSET ||
        first->bytes > first->limit || first->limit - first->bytes >= c->check->streamed_bytes ||
        c->check->streamed_bytes > first->limit / PLAN_PIECES_PART) /* it streams in pieces */
        return res;
    snprintf(field, sizeof(field), "max_memory.%s", first->name);
    return checker_add_warning(
        c, field, "the map leaves %s; the largest unit that streams, %s, has %s",
        size_format(first->limit - first->bytes, SIZE_BINARY, room), c->check->streamed_unit,
        size_format(c->check->streamed_bytes, SIZE_BINARY, unit));
}
