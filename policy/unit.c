#include "unit.h"
#include "quantised.h"
#include "unit_block.h"
#include "unit_place.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CLASS_QUANTISED 255u

/* What one pass over the tree keeps. */
struct walk {
    struct unit_table *table;
    struct block_rules *rules;
    uint8_t *classes; /* by node: the number of the blocks in this list, 0 so far; behind those the
                         numbers of the patterns and classes */
    unsigned class_count;
    uint32_t *homes; /* by group of ties: the unit of its object, UNIT_NONE so far */
    size_t room;     /* in table->units */
};

/* All names of an object take what the largest of them does once they are loaded. */
static void load_tensors(struct unit_table *table)
{
    const struct ties *ties = table->ties;
    struct module_tensor *tensors = table->tensors;
    size_t i, j;

    for (i = 0; i < table->checkpoint->tensor_count; i++)
        tensors[i].bits = load_tensor_bits(table->options.loads, &table->checkpoint->tensors[i]);
    for (i = 0; i < ties->count; i++) {
        const struct tie_group *group = &ties->groups[i];
        uint64_t bits = 0;

        for (j = 0; j < group->count; j++) {
            if (group->members[j].name < ties->tensor_count &&
                tensors[group->members[j].name].bits > bits)
                bits = tensors[group->members[j].name].bits;
        }
        for (j = 0; j < group->count; j++) {
            if (group->members[j].name < ties->tensor_count)
                tensors[group->members[j].name].bits = bits;
        }
    }
}

static int make_tree(struct unit_table *table, struct input_error *error)
{
    const struct checkpoint *checkpoint = table->checkpoint;
    size_t i;

    table->tensors = calloc(checkpoint->tensor_count + 1, sizeof(*table->tensors));
    if (!table->tensors)
        return -ENOMEM;
    for (i = 0; i < checkpoint->tensor_count; i++) {
        const struct tensor *tensor = &checkpoint->tensors[i];
        uint32_t group = table->ties->group_of[i];

        table->tensors[i] = (struct module_tensor){
            .name = tensor->name,
            .name_bytes = tensor->name_bytes,
            .bits = group == TIE_NONE ? tensor_dense_bytes(tensor) * 8
                                      : table->ties->groups[group].bits,
            .tie = group == TIE_NONE ? MODULE_NONE : group,
        };
    }
    if (table->options.loads && load_dtypes_convert(table->options.loads))
        load_tensors(table);
    return module_tree_create(table->tensors, checkpoint->tensor_count, &table->tree, error);
}

static int allocate(struct unit_table *table)
{
    const struct unit_options *o = &table->options;
    size_t tensors = table->checkpoint->tensor_count, names = table->ties->name_count;

    table->members = malloc((tensors + 1) * sizeof(*table->members));
    table->unit_of = malloc((names + 1) * sizeof(*table->unit_of));
    table->owners = malloc((tensors + 1) * sizeof(*table->owners));
    table->places = malloc((tensors + 1) * sizeof(*table->places));
    table->entries = calloc(names + 1, sizeof(*table->entries));
    table->whole = calloc(table->tree->count, sizeof(*table->whole));
    table->matches =
        calloc(o->no_split_count + o->no_split_class_count + 1, sizeof(*table->matches));
    return table->members && table->unit_of && table->owners && table->places && table->entries &&
                   table->whole && table->matches
               ? 0
               : -ENOMEM;
}

static int add_unit(struct walk *w, uint32_t node, struct block_answer why, uint32_t *unit)
{
    struct unit_table *table = w->table;
    struct unit *grown;

    if (table->count == w->room) {
        w->room = w->room + w->room / 2 + 64;
        grown = realloc(table->units, w->room * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        table->units = grown;
    }
    *unit = (uint32_t)table->count++;
    table->units[*unit] = (struct unit){
        .node = node, .reason = why.reason, .rule = why.rule, .place = POLICY_NOWHERE};
    return 0;
}

/* Say which unit a tensor is in, if it is not its object that is elsewhere.
 *
 * unit     where its name stands
 */
static void enter(struct walk *w, uint32_t tensor, uint32_t unit)
{
    struct unit_table *table = w->table;
    uint32_t group = table->ties->group_of[tensor];

    if (group != TIE_NONE && w->homes[group] == UNIT_NONE)
        w->homes[group] = unit;
    table->unit_of[tensor] = group == TIE_NONE ? unit : w->homes[group];
}

/* Modules of one kind have one number: those that one pattern or class found, those of one list.
 * Past the last number they share it.
 */
static uint8_t class_of(struct walk *w, uint32_t node, struct block_answer why)
{
    const struct unit_table *table = w->table;
    uint8_t *class;

    if (why.reason == UNIT_QUANTISED)
        return CLASS_QUANTISED;
    if (why.reason == UNIT_REPEATED)
        class = &w->classes[table->tree->nodes[node].parent];
    else
        class = &w->classes[table->tree->count + why.rule +
                            (why.reason == UNIT_CLASS ? table->options.no_split_count : 0)];
    if (*class == 0)
        *class =
            (uint8_t)(w->class_count + 1 < CLASS_QUANTISED ? ++w->class_count : w->class_count);
    return *class;
}

/* A module that is not split: one unit of all that has its place there. */
static int add_module(struct walk *w, uint32_t node, struct block_answer why)
{
    const struct module_node *nodes = w->table->tree->nodes;
    uint32_t unit, n;
    int res = add_unit(w, node, why, &unit);

    w->table->whole[node] = class_of(w, node, why);
    for (n = node; n < nodes[node].end && !res; n++) {
        if (nodes[n].tensor != MODULE_NONE)
            enter(w, nodes[n].tensor, unit);
    }
    return res;
}

/* A tensor outside of such modules: a unit unless it belongs to another one's. */
static int add_tensor(struct walk *w, uint32_t node)
{
    struct unit_table *table = w->table;
    uint32_t tensor = table->tree->nodes[node].tensor;
    uint32_t group = table->ties->group_of[tensor];
    uint32_t unit = UNIT_NONE;
    int res = 0;

    table->unit_of[tensor] = UNIT_NONE; /* a companion follows its weight when all have theirs */
    if (table->owners[tensor] != tensor)
        return 0;
    if (group == TIE_NONE || w->homes[group] == UNIT_NONE)
        res = add_unit(w, node, (struct block_answer){UNIT_TENSOR, 0}, &unit);
    if (!res)
        enter(w, tensor, unit);
    return res;
}

static size_t *count_of(struct unit_table *table, struct block_answer why)
{
    switch (why.reason) {
    case UNIT_PATTERN:
        return &table->matches[why.rule];
    case UNIT_CLASS:
        return &table->matches[table->options.no_split_count + why.rule];
    default:
        return NULL;
    }
}

static int walk_tree(struct walk *w)
{
    struct unit_table *table = w->table;
    const struct module_node *nodes = table->tree->nodes;
    uint32_t node = 1;
    int res = 0;

    while (node < table->tree->count && !res) {
        struct block_answer why = {UNIT_TENSOR, 0};
        size_t *count;

        if (nodes[node].end > node + 1)
            why = block_rules_ask(w->rules, node);
        count = count_of(table, why);
        if (count)
            ++*count;
        /* What nobody asked for by name gives way to a map. */
        if (!count && why.reason != UNIT_TENSOR && unit_place_is_split(table, node))
            why.reason = UNIT_TENSOR;
        if (why.reason != UNIT_TENSOR) {
            res = add_module(w, node, why);
            node = nodes[node].end;
            continue;
        }
        if (nodes[node].tensor != MODULE_NONE)
            res = add_tensor(w, node);
        node++;
    }
    return res;
}

/* Companions follow their weights, all names of an object its first one, and names that the
 * checkpoint leaves out the object.
 */
static void follow(struct walk *w)
{
    struct unit_table *table = w->table;
    const uint32_t *group_of = table->ties->group_of;
    size_t i;

    for (i = 0; i < table->checkpoint->tensor_count; i++) {
        uint32_t unit = table->unit_of[table->owners[i]], group = group_of[i];

        if (table->owners[i] == i)
            continue;
        if (group != TIE_NONE && w->homes[group] == UNIT_NONE)
            w->homes[group] = unit;
        table->unit_of[i] = group == TIE_NONE ? unit : w->homes[group];
    }
    for (; i < table->ties->name_count; i++)
        table->unit_of[i] = w->homes[group_of[i]];
}

/* Leave out the units that have become empty, and put the members of the others side by side.
 *
 * renumbered   room for all units
 */
static void fill_units(struct unit_table *table, uint32_t *renumbered)
{
    const struct module_tree *tree = table->tree;
    size_t names = table->ties->name_count, kept = 0, i;
    uint32_t first = 0;

    for (i = 0; i < table->checkpoint->tensor_count; i++)
        table->units[table->unit_of[i]].count++;
    for (i = 0; i < table->count; i++) {
        renumbered[i] = (uint32_t)kept;
        if (table->units[i].count == 0)
            continue;
        table->units[kept] = table->units[i];
        table->units[kept].first = first;
        first += table->units[kept].count;
        table->units[kept++].count = 0;
    }
    table->count = kept;
    for (i = 0; i < names; i++)
        table->unit_of[i] = renumbered[table->unit_of[i]];
    for (i = 0; i < tree->count; i++) {
        uint32_t tensor = tree->nodes[i].tensor;
        struct unit *unit;

        if (tensor == MODULE_NONE)
            continue;
        unit = &table->units[table->unit_of[tensor]];
        table->members[unit->first + unit->count++] = tensor;
        /* A tied object counts at the first of its members in the checkpoint. */
        if (table->ties->group_of[tensor] == TIE_NONE ||
            table->ties->groups[table->ties->group_of[tensor]].members[0].name == tensor)
            unit->bits += table->tensors[tensor].bits;
    }
    table->bits = tree->nodes[MODULE_ROOT].bits;
}

static int make_units(struct unit_table *table, struct block_rules *rules)
{
    const struct unit_options *o = &table->options;
    struct walk w = {.table = table, .rules = rules};
    uint32_t *renumbered = NULL;
    size_t i;
    int res = -ENOMEM;

    w.homes = malloc((table->ties->count + 1) * sizeof(*w.homes));
    w.classes = calloc(table->tree->count + o->no_split_count + o->no_split_class_count + 1, 1);
    for (i = 0; w.homes && i < table->ties->count; i++)
        w.homes[i] = UNIT_NONE;
    if (w.homes && w.classes)
        res = walk_tree(&w);
    if (!res) {
        follow(&w);
        renumbered = malloc((table->count + 1) * sizeof(*renumbered));
        res = renumbered ? 0 : -ENOMEM;
    }
    if (!res)
        fill_units(table, renumbered);
    free(renumbered);
    free(w.homes);
    free(w.classes);
    return res;
}

static int make_table(struct unit_table *table, struct input_error *error)
{
    const struct unit_options *o = &table->options;
    struct block_rules *rules = NULL;
    int res = ties_find(table->checkpoint, o->config, o->tied, o->tied_count, &table->ties, error);

    res = res ? res : make_tree(table, error);
    res = res ? res : allocate(table);
    res = res ? res : quantised_find(table->tree, table->owners);
    res = res ? res : unit_place_prepare(table);
    res = res ? res : block_rules_create(table, &rules, error);
    res = res ? res : make_units(table, rules);
    block_rules_free(rules);
    if (!res)
        unit_place_finish(table);
    return res;
}

int unit_table_create(const struct checkpoint *checkpoint, const struct unit_options *options,
                      struct unit_table **out, struct input_error *error)
{
    struct unit_table *table = calloc(1, sizeof(*table));
    int res;

    input_error_clear(error);
    if (!table)
        return -ENOMEM;
    table->checkpoint = checkpoint;
    table->options = *options;
    res = make_table(table, error);
    table->options.config = NULL;
    table->options.tied = NULL;
    table->options.loads = NULL;
    if (res)
        unit_table_free(table);
    else
        *out = table;
    return res;
}

void unit_table_free(struct unit_table *table)
{
    if (!table)
        return;
    module_tree_free(table->tree);
    ties_free(table->ties);
    free(table->units);
    free(table->members);
    free(table->unit_of);
    free(table->owners);
    free(table->whole);
    free(table->places);
    free(table->matches);
    free(table->tensors);
    free(table->entries);
    free(table->split);
    free(table);
}

const char *unit_name(const struct unit_table *table, size_t unit, size_t *bytes)
{
    const struct module_node *node = &table->tree->nodes[table->units[unit].node];

    *bytes = node->path_bytes;
    return node->path;
}

const char *unit_table_name(const struct unit_table *table, uint32_t name)
{
    size_t tensors = table->ties->tensor_count;

    return name < tensors ? table->checkpoint->tensors[name].name
                          : table->ties->absent[name - tensors];
}

/* The unit whose own node this is. */
static uint32_t find_unit_at(const struct unit_table *table, uint32_t node)
{
    size_t first = 0, end = table->count;

    while (first < end) {
        size_t middle = first + (end - first) / 2;

        if (table->units[middle].node == node)
            return (uint32_t)middle;
        if (table->units[middle].node < node)
            first = middle + 1;
        else
            end = middle;
    }
    return UNIT_NONE;
}

uint32_t unit_table_find(const struct unit_table *table, const char *name)
{
    uint32_t node = module_tree_find(table->tree, name, strlen(name));
    size_t i;

    if (node != MODULE_NONE && table->tree->nodes[node].tensor != MODULE_NONE)
        return table->unit_of[table->tree->nodes[node].tensor];
    if (node != MODULE_NONE)
        return find_unit_at(table, node);
    for (i = table->ties->tensor_count; i < table->ties->name_count; i++) {
        if (strcmp(unit_table_name(table, (uint32_t)i), name) == 0)
            return table->unit_of[i];
    }
    return UNIT_NONE;
}
