#include "policy_plan.h"
#include "unit.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The place of the object that a name belongs to which the checkpoint leaves out. */
static int place_of_absent(const struct policy_map *map, const struct unit_table *units,
                           uint32_t name)
{
    const struct tie_group *group = &units->ties->groups[units->ties->group_of[name]];

    for (size_t i = 0; i < group->count; i++) {
        if (group->members[i].name < units->ties->tensor_count)
            return policy_resolve(map, unit_table_name(units, group->members[i].name));
    }
    return POLICY_NOWHERE;
}

/* The model has these names too, and whoever reads the map may ask for them. */
static int add_absent(struct policy_map *map, const struct unit_table *units)
{
    size_t known = map->count;
    int res = 0;

    for (size_t name = units->ties->tensor_count; name < units->ties->name_count && !res; name++) {
        const struct policy_map planned = {map->entries, known};
        const char *text = unit_table_name(units, (uint32_t)name);
        int place = place_of_absent(&planned, units, (uint32_t)name);

        if (place != POLICY_NOWHERE && policy_resolve(&planned, text) != place)
            res = policy_map_add(map, text, place);
    }
    policy_map_sort(map);
    return res;
}

/* Does the model exceed what the GPUs may hold? */
static int exceeds_gpus(const struct module_tree *tree, const struct policy_memory *limits)
{
    uint64_t bytes = 0;

    for (int i = 0; i < POLICY_DEVICES_MAX; i++) {
        if (limits->device_bytes[i] != POLICY_UNSET &&
            __builtin_add_overflow(bytes, limits->device_bytes[i], &bytes))
            return 0;
    }
    return tree->nodes[MODULE_ROOT].bits / 8 > bytes;
}

/* As if a run had touched everything once, in the model's order: then what stays is spread evenly
 * through the step. Takes as long as there are tensors. returns NULL when out of memory */
static struct plan_heat *even_heat(const struct module_tree *tree)
{
    struct plan_heat *heat = calloc(tree->tensor_count + 1, sizeof(*heat));

    for (size_t i = 0; heat && i < tree->tensor_count; i++)
        heat[i] = (struct plan_heat){.touches = 1, .order = tree->leaves[i]};
    return heat;
}

/* What is touched, and how often. While all stays there is nothing to choose, and *heat is NULL. */
static int find_heat(const struct policy_memory *limits, struct unit_table *units,
                     const struct heat_run *run, struct plan_heat **heat, struct input_error *error)
{
    int is_wanted = exceeds_gpus(units->tree, limits), res = 0;

    *heat = NULL;
    if (run)
        res = heat_create(units, run, heat, error);
    else if (is_wanted)
        *heat = even_heat(units->tree);
    if (!res && is_wanted && !*heat)
        res = -ENOMEM;
    if (!is_wanted) {
        free(*heat);
        *heat = NULL;
    }
    return res;
}

static int plan(struct policy *policy, const struct policy_memory *limits, struct unit_table *units,
                enum plan_strategy strategy, const struct heat_run *run, struct input_error *error)
{
    const struct plan_model model = {
        .tree = units->tree, .tensors = units->tensors, .whole = units->whole};
    struct plan_heat *heat = NULL;
    struct plan_options options = {
        .strategy = strategy,
        .max_memory = *limits,
        .flags = (policy->offload_buffers ? PLAN_OFFLOAD_BUFFERS : 0) |
                 (strategy == PLAN_AUTO ? PLAN_IN_PIECES : 0),
    };
    struct plan *made;
    int res = strategy == PLAN_AUTO ? find_heat(limits, units, run, &heat, error) : 0;

    if (res)
        return res;
    options.heat = heat;
    res = plan_create(&model, &options, &made, error);
    free(heat);
    if (res)
        return res;
    res = plan_to_map(made, units->tree, &policy->map);
    if (!res)
        res = add_absent(&policy->map, units);
    plan_free(made);
    return res;
}

int policy_plan_map(struct policy *policy, const struct policy_memory *limits,
                    const struct checkpoint *checkpoint, const struct model_config *config,
                    enum plan_strategy strategy, const struct heat_run *run,
                    struct input_error *error)
{
    struct tie_list *tied = calloc(policy->tied_count + 1, sizeof(*tied));
    const struct load_dtypes loads = policy_load_dtypes(policy);
    const struct unit_options options = {
        .config = config,
        .loads = &loads,
        .no_split = (const char *const *)policy->no_split.names,
        .no_split_count = policy->no_split.count,
        .no_split_classes = (const char *const *)policy->no_split_classes.names,
        .no_split_class_count = policy->no_split_classes.count,
        .no_split_given = policy->no_split_given,
        .tied = tied,
        .tied_count = policy->tied_count,
    };
    struct unit_table *units;
    int res = tied ? 0 : -ENOMEM;

    input_error_clear(error);
    for (size_t i = 0; i < policy->tied_count && !res; i++)
        tied[i] =
            (struct tie_list){(const char *const *)policy->tied[i].names, policy->tied[i].count};
    if (!res)
        res = unit_table_create(checkpoint, &options, &units, error);
    if (!res) {
        res = plan(policy, limits, units, strategy, run, error);
        unit_table_free(units);
    }
    free(tied);
    if (res == -ENOMEM)
        input_error_set(error, res, INPUT_ERROR_NO_OFFSET, "enough memory to plan", "none left");
    return res;
}
