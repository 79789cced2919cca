#include "planner.h"
#include "balance.h"
#include "names.h"
#include "planner_heat.h"
#include "planner_tie.h"
#include "planner_walk.h"
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MENTIONS_MAX (1u << 20) /* of paths looked for in names of tied objects, in one walk */
#define MIXED        (POLICY_NOWHERE - 1) /* entries below a node have several places */

static const char *const g_strategies[PLAN_STRATEGY_COUNT] = {
#define X(name, word) #word,
    PLAN_STRATEGIES(X)
#undef X
};

const char *plan_strategy_name(enum plan_strategy strategy)
{
    return (unsigned)strategy < PLAN_STRATEGY_COUNT ? g_strategies[strategy] : "?";
}

int plan_strategy_parse(const char *text, enum plan_strategy *out, struct input_error *error)
{
    size_t found;
    int res = names_find(text, g_strategies, PLAN_STRATEGY_COUNT, &found, error);

    if (res == 0)
        *out = (enum plan_strategy)found;
    return res;
}

uint32_t plan_stack(const uint64_t *shape, size_t rank)
{
    return rank == 3 && shape[0] <= UINT32_MAX ? (uint32_t)shape[0] : 0;
}

/* Balance ---------------------------------------------------------------------------------------*/

/* Which nodes hold an object's first name, at any depth: the others take nothing of their own. */
static uint8_t *find_counted(const struct plan_model *model)
{
    const struct module_tree *tree = model->tree;
    uint8_t *counted = calloc(tree->count, 1);
    uint8_t *seen = calloc(tree->tensor_count + 1, 1);
    size_t i;

    if (!counted || !seen) {
        free(counted);
        free(seen);
        return NULL;
    }
    for (i = 0; i < tree->count; i++) {
        uint32_t tensor = tree->nodes[i].tensor;

        if (tensor == MODULE_NONE)
            continue;
        counted[i] = model->tensors[tensor].tie == MODULE_NONE || !seen[model->tensors[tensor].tie];
        if (model->tensors[tensor].tie != MODULE_NONE)
            seen[model->tensors[tensor].tie] = 1;
    }
    for (i = tree->count - 1; i > 0; i--)
        counted[tree->nodes[i].parent] |= counted[i];
    free(seen);
    return counted;
}

/* The average size of modules without modules below them. */
static uint64_t mean_module_bytes(const struct module_tree *tree, const uint8_t *counted)
{
    uint64_t bits = 0, modules = 0;
    uint32_t node, child;

    for (node = MODULE_ROOT + 1; node < tree->count; node++) {
        bool innermost = counted[node] && tree->nodes[node].end > node + 1;

        if (!innermost)
            continue;
        MODULE_FOR_EACH_CHILD(tree, node, child)
        {
            if (counted[child] && tree->nodes[child].end > child + 1)
                innermost = false;
        }
        bits += innermost ? tree->nodes[node].bits : 0;
        modules += innermost;
    }
    return modules ? bits / 8 / modules : 0;
}

/* Which no-split modules decide how much a share is rounded up. */
enum block_rule {
    BLOCK_FIRST_OF_CLASS, /* the first of a class stands for all of it, as with accelerate */
    BLOCK_LARGEST,
};

static uint64_t block_bytes(const struct plan_model *model, enum block_rule rule)
{
    uint64_t largest = 0;
    uint8_t seen[UINT8_MAX + 1] = {0};
    uint32_t node;

    for (node = MODULE_ROOT + 1; model->whole && node < model->tree->count; node++) {
        if (!model->whole[node] || (seen[model->whole[node]] && rule == BLOCK_FIRST_OF_CLASS))
            continue;
        seen[model->whole[node]] = 1;
        if (model->tree->nodes[node].bits / 8 > largest)
            largest = model->tree->nodes[node].bits / 8;
    }
    return largest;
}

static int balance(const struct plan_model *model, enum balance_first first, enum block_rule rule,
                   struct policy_memory *memory)
{
    uint8_t *counted = find_counted(model);

    if (!counted)
        return -ENOMEM;
    balance_memory(memory, (model->tree->nodes[MODULE_ROOT].bits + 7) / 8, block_bytes(model, rule),
                   mean_module_bytes(model->tree, counted), first);
    free(counted);
    return 0;
}

/* The map ---------------------------------------------------------------------------------------*/

/* What the entries at or below each node have in common. */
struct common {
    int place; /* POLICY_NOWHERE for none, MIXED for several */
    uint32_t entries;
};

static void find_common(const struct plan_walk *walk, struct common *common)
{
    const struct module_tree *tree = walk->model->tree;
    size_t i;

    for (i = 0; i < tree->count; i++)
        common[i] = (struct common){walk->place[i], walk->place[i] != POLICY_NOWHERE};
    for (i = tree->count - 1; i > 0; i--) {
        struct common *above = &common[tree->nodes[i].parent];

        if (common[i].place == POLICY_NOWHERE)
            continue;
        if (above->place == POLICY_NOWHERE)
            above->place = common[i].place;
        else if (above->place != common[i].place)
            above->place = MIXED;
        above->entries += common[i].entries;
    }
}

static void add_entry(struct plan *plan, const struct plan_walk *walk, uint32_t node, int place)
{
    uint64_t bits = walk->model->tree->nodes[node].bits;

    plan->entries[plan->count++] =
        (struct plan_entry){node, place, (enum plan_reason)walk->reason[node]};
    if (place >= 0)
        plan->device_bits[place] += bits;
    else if (place == POLICY_CPU)
        plan->cpu_bits += bits;
    else
        plan->disk_bits += bits;
}

/* Write down the entries; a module with several of one place becomes one unless all are wanted. */
static void add_entries(struct plan *plan, const struct plan_walk *walk,
                        const struct common *common)
{
    const struct module_tree *tree = walk->model->tree;
    uint32_t node = MODULE_ROOT;

    while (node < tree->count) {
        bool merge = !(walk->flags & PLAN_ALL_ENTRIES) && common[node].place >= POLICY_DISK &&
                     common[node].entries > 1;

        if (!merge && walk->place[node] == POLICY_NOWHERE) {
            node++;
            continue;
        }
        add_entry(plan, walk, node, common[node].place);
        node = tree->nodes[node].end;
    }
}

static int make_plan(const struct plan_walk *walk, struct plan *plan)
{
    size_t count = walk->model->tree->count;
    struct common *common = malloc(count * sizeof(*common));

    plan->entries = malloc(count * sizeof(*plan->entries));
    if (!common || !plan->entries) {
        free(common);
        return -ENOMEM;
    }
    find_common(walk, common);
    add_entries(plan, walk, common);
    plan->largest_bits = plan_walk_room(walk);
    free(common);
    return 0;
}

/* A way to make a plan. The first is accelerate's, or nearly so; others serve where it leaves
 * something out. */
struct manner {
    enum block_rule rule;
    unsigned walk_flags; /* PLAN_WALK_* */
};

static uint64_t gpu_bits(const struct plan *plan)
{
    uint64_t bits = 0;
    size_t i;

    for (i = 0; i < POLICY_DEVICES_MAX; i++)
        bits += plan->device_bits[i];
    return bits;
}

/* Is a walk's result what its flags ask for? */
static bool is_good(const struct plan_walk *walk, const struct plan *plan)
{
    struct plan_device first = walk->devices[0];

    first.keeps_room = 1;
    if ((walk->flags & PLAN_WALK_NO_GPU_ROOM) && !plan_device_fits(&first, 0, plan->largest_bits))
        return false;
    if ((walk->flags & PLAN_WALK_NO_CPU_ROOM) && plan->disk_bits)
        return false;
    return !(walk->flags & PLAN_WALK_MENTIONS) || plan_tie_holds(walk);
}

/* returns  0; -ENOMEM; -EDOM where the manner does not serve */
static int choose(const struct plan_model *model, const struct plan_options *options,
                  const struct manner *manner, struct plan *plan)
{
    struct plan_walk walk;
    int res = 0;

    if (options->strategy == PLAN_AUTO && options->heat) {
        res = plan_heat_run(model, options, &walk);
    } else {
        if (options->strategy != PLAN_SEQUENTIAL)
            res = balance(
                model, options->strategy == PLAN_BALANCED_LOW_0 ? BALANCE_SPARE_IT : BALANCE_EVEN,
                manner->rule, &plan->limit);
        if (res == 0)
            res = plan_walk_run(model, &plan->limit, options->flags | manner->walk_flags, &walk);
    }
    if (res)
        return res;
    res = make_plan(&walk, plan);
    if (res == 0 && !is_good(&walk, plan))
        res = -EDOM;
    plan_walk_destroy(&walk);
    return res;
}

static int make(const struct plan_model *model, const struct plan_options *options,
                const struct manner *manner, struct plan **out)
{
    struct plan *plan = calloc(1, sizeof(*plan));
    int res = -ENOMEM;

    if (plan) {
        plan->limit = options->max_memory;
        res = choose(model, options, manner, plan);
    }
    if (res) {
        plan_free(plan);
        return res;
    }
    *out = plan;
    return 0;
}

/* Make another plan, and take it where it has more on the GPUs, or as much and more on cpu. */
static int make_better(const struct plan_model *model, const struct plan_options *options,
                       const struct manner *manner, struct plan **plan)
{
    struct plan *other;
    int res = make(model, options, manner, &other);

    if (res)
        return res == -EDOM ? 0 : res;
    if (gpu_bits(other) > gpu_bits(*plan) ||
        (gpu_bits(other) == gpu_bits(*plan) && other->cpu_bits > (*plan)->cpu_bits)) {
        plan_free(*plan);
        *plan = other;
    } else {
        plan_free(other);
    }
    return 0;
}

static bool fits_without_disk(const struct plan_model *model, const struct policy_memory *limit)
{
    unsigned __int128 bytes = limit->cpu_bytes != POLICY_UNSET ? limit->cpu_bytes : 0;
    size_t i;

    for (i = 0; i < POLICY_DEVICES_MAX; i++)
        bytes += limit->device_bytes[i] != POLICY_UNSET ? limit->device_bytes[i] : 0;
    return model->tree->nodes[MODULE_ROOT].bits <= bytes * 8;
}

/* Is it worth looking for paths in names? It takes the product of both. */
static bool has_few_ties(const struct plan_model *model)
{
    size_t tied = 0, i;

    for (i = 0; i < model->tree->tensor_count; i++)
        tied += model->tensors[i].tie != MODULE_NONE;
    return tied && tied <= MENTIONS_MAX / model->tree->count;
}

/* What leaves something out may do better in another manner:
 *   - a class whose first module is small makes shares that are too small for the others: the
 *     largest module decides;
 *   - what accelerate takes for tied comes earlier, and what follows may fit better;
 *   - room need not be kept while the GPUs are filled, if what streams in the end has room then.
 */
static int make_best(const struct plan_model *model, const struct plan_options *options,
                     struct plan **plan)
{
    const bool even = options->strategy != PLAN_SEQUENTIAL;
    const struct {
        struct manner manner;
        bool tried;
    } others[] = {
        {{BLOCK_LARGEST, 0},
         even && block_bytes(model, BLOCK_LARGEST) > block_bytes(model, BLOCK_FIRST_OF_CLASS)},
        {{BLOCK_FIRST_OF_CLASS, PLAN_WALK_MENTIONS}, has_few_ties(model)},
        {{BLOCK_FIRST_OF_CLASS, PLAN_WALK_MENTIONS | PLAN_WALK_LAST_FIRST}, has_few_ties(model)},
        {{BLOCK_FIRST_OF_CLASS, PLAN_WALK_NO_CPU_ROOM},
         (*plan)->disk_bits && fits_without_disk(model, &(*plan)->limit)},
        {{BLOCK_FIRST_OF_CLASS, PLAN_WALK_NO_GPU_ROOM}, even},
    };
    size_t i;
    int res = 0;

    for (i = 0; i < sizeof(others) / sizeof(others[0]) && !res; i++) {
        if (others[i].tried && ((*plan)->cpu_bits || (*plan)->disk_bits))
            res = make_better(model, options, &others[i].manner, plan);
    }
    return res;
}

int plan_create(const struct plan_model *model, const struct plan_options *options,
                struct plan **out, struct input_error *error)
{
    const struct manner first = {BLOCK_FIRST_OF_CLASS, 0};
    struct plan *plan = NULL;
    int res;

    input_error_clear(error);
    res = make(model, options, &first, &plan);
    if (res == 0 && !options->heat && (plan->cpu_bits || plan->disk_bits))
        res = make_best(model, options, &plan);
    if (res) {
        plan_free(plan);
        return input_error_set(error, res, INPUT_ERROR_NO_OFFSET, "enough memory to plan",
                               "%zu modules and tensors", model->tree->count);
    }
    *out = plan;
    return 0;
}

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    free(plan->entries);
    free(plan);
}

int plan_to_map(const struct plan *plan, const struct module_tree *tree, struct policy_map *map)
{
    int res = 0;

    for (size_t i = 0; i < plan->count && !res; i++) {
        const struct module_node *node = &tree->nodes[plan->entries[i].node];
        char *prefix = strndup(node->path, node->path_bytes);

        res = prefix ? policy_map_add(map, prefix, plan->entries[i].place) : -ENOMEM;
        free(prefix);
    }
    policy_map_sort(map);
    return res;
}
