#include "unit_place.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The places of the tensors below a node, lowest and highest. */
struct span {
    int low, high;
};

static int place_by(const struct policy_map_entry *entry)
{
    return entry ? entry->place : POLICY_NOWHERE;
}

/* The entry for a name that the tree has not: its longest prefix in the map. */
static const struct policy_map_entry *find_entry(const struct policy_map *map, const char *name)
{
    const struct policy_map_entry *best = NULL;
    size_t best_bytes = 0, i;

    for (i = 0; i < map->count; i++) {
        const struct policy_map_entry *entry = &map->entries[i];
        size_t bytes = strlen(entry->prefix);

        if ((!best || bytes > best_bytes) && strncmp(entry->prefix, name, bytes) == 0 &&
            (bytes == 0 || !name[bytes] || name[bytes] == '.')) {
            best = entry;
            best_bytes = bytes;
        }
    }
    return best;
}

/* Give each node the entry of its own path, else its parent's.
 *
 * entries  by node, all NULL
 */
static void spread_entries(const struct unit_table *table, const struct policy_map_entry **entries)
{
    const struct policy_map *map = table->options.map;
    const struct module_tree *tree = table->tree;
    size_t i;

    for (i = 0; i < map->count; i++) {
        const char *prefix = map->entries[i].prefix;
        uint32_t node = module_tree_find(tree, prefix, strlen(prefix));

        if (node != MODULE_NONE)
            entries[node] = &map->entries[i];
    }
    for (i = 1; i < tree->count; i++) {
        if (!entries[i])
            entries[i] = entries[tree->nodes[i].parent];
        if (tree->nodes[i].tensor != MODULE_NONE)
            table->entries[tree->nodes[i].tensor] = entries[i];
    }
}

static void find_split(const struct unit_table *table, struct span *spans)
{
    const struct module_node *nodes = table->tree->nodes;
    size_t i;

    for (i = 0; i < table->tree->count; i++)
        spans[i] = (struct span){INT_MAX, INT_MIN};
    for (i = table->tree->count - 1; i > 0; i--) {
        struct span *span = &spans[i], *above = &spans[nodes[i].parent];

        if (nodes[i].tensor != MODULE_NONE) {
            int place = place_by(table->entries[nodes[i].tensor]);

            span->low = place < span->low ? place : span->low;
            span->high = place > span->high ? place : span->high;
        }
        table->split[i] = span->low < span->high;
        above->low = span->low < above->low ? span->low : above->low;
        above->high = span->high > above->high ? span->high : above->high;
    }
}

int unit_place_prepare(struct unit_table *table)
{
    const struct policy_map_entry **entries;
    struct span *spans;
    size_t i;
    int res = -ENOMEM;

    if (!table->options.map || table->options.map->count == 0)
        return 0;
    table->split = calloc(table->tree->count, sizeof(*table->split));
    entries = calloc(table->tree->count, sizeof(*entries));
    spans = malloc(table->tree->count * sizeof(*spans));
    if (table->split && entries && spans) {
        spread_entries(table, entries);
        for (i = table->ties->tensor_count; i < table->ties->name_count; i++)
            table->entries[i] = find_entry(table->options.map, unit_table_name(table, (uint32_t)i));
        find_split(table, spans);
        res = 0;
    }
    free(entries);
    free(spans);
    return res;
}

bool unit_place_is_split(const struct unit_table *table, uint32_t node)
{
    return table->split && table->split[node];
}

/* The first name of a group that the map covers: it places the object. */
static uint32_t find_covered(const struct unit_table *table, const struct tie_group *group)
{
    size_t i;

    for (i = 0; i < group->count; i++) {
        if (table->entries[group->members[i].name])
            return group->members[i].name;
    }
    return group->members[0].name;
}

void unit_place_finish(struct unit_table *table)
{
    size_t i, j;

    for (i = 0; i < table->checkpoint->tensor_count; i++) {
        uint32_t name = table->owners[i], group = table->ties->group_of[name];

        if (group != TIE_NONE)
            name = find_covered(table, &table->ties->groups[group]);
        table->places[i] = place_by(table->entries[name]);
    }
    for (i = 0; i < table->count; i++) {
        struct unit *unit = &table->units[i];

        unit->place = table->places[table->members[unit->first]];
        for (j = 1; j < unit->count; j++) {
            if (table->places[table->members[unit->first + j]] != unit->place)
                unit->place = UNIT_SPLIT;
        }
    }
}

/* Conflicts
 * ---------------------------------------------------------------------------------------*/

static bool differ(const struct unit_table *table, uint32_t a, uint32_t b)
{
    const struct policy_map_entry *l = table->entries[a], *r = table->entries[b];

    return l && r && l->place != r->place;
}

static void set_conflict(const struct unit_table *table, enum unit_conflict_kind kind, uint32_t a,
                         uint32_t b, struct unit_conflict *conflict)
{
    *conflict = (struct unit_conflict){
        .kind = kind,
        .names = {a, b},
        .entries = {table->entries[a], table->entries[b]},
        .unit = table->unit_of[b],
    };
}

/* Is this the companion of a weight? Those that are tied follow their weights none the less. */
static bool is_companion(const struct unit_table *table, uint32_t name)
{
    return name < table->ties->tensor_count && table->owners[name] != name;
}

static bool tied_apart(const struct unit_table *table, const struct tie_member *member,
                       struct unit_conflict *conflict)
{
    const struct tie_group *group = &table->ties->groups[table->ties->group_of[member->name]];
    uint32_t first = find_covered(table, group);

    if (is_companion(table, member->name) || !differ(table, first, member->name))
        return false;
    set_conflict(table, UNIT_CONFLICT_TIED, first, member->name, conflict);
    conflict->source = member->source;
    return true;
}

static bool companion_apart(const struct unit_table *table, uint32_t tensor,
                            struct unit_conflict *conflict)
{
    if (!is_companion(table, tensor) || !differ(table, table->owners[tensor], tensor))
        return false;
    set_conflict(table, UNIT_CONFLICT_COMPANION, table->owners[tensor], tensor, conflict);
    return true;
}

/* The first two tensors of a module that no_split names and the map splits. */
static bool whole_apart(const struct unit_table *table, const struct unit *unit,
                        struct unit_conflict *conflict)
{
    const uint32_t *members = table->members + unit->first;
    size_t i;

    if (unit->place != UNIT_SPLIT || (unit->reason != UNIT_PATTERN && unit->reason != UNIT_CLASS))
        return false;
    for (i = 1; i < unit->count; i++) {
        if (table->places[members[i]] == table->places[members[0]] ||
            !differ(table, members[0], members[i]))
            continue;
        set_conflict(table, UNIT_CONFLICT_WHOLE, members[0], members[i], conflict);
        return true;
    }
    return false;
}

bool unit_next_conflict(const struct unit_table *table, size_t *cursor,
                        struct unit_conflict *conflict)
{
    size_t tied = table->ties->member_count, tensors = table->ties->tensor_count;
    bool found = false;

    while (table->split && !found && *cursor < tied + tensors + table->count) {
        size_t at = (*cursor)++;

        if (at < tied)
            found = tied_apart(table, &table->ties->members[at], conflict);
        else if (at < tied + tensors)
            found = companion_apart(table, (uint32_t)(at - tied), conflict);
        else
            found = whole_apart(table, &table->units[at - tied - tensors], conflict);
    }
    return found;
}

/* Why two names must have one place. */
static void describe_reason(const struct unit_table *table, const struct unit_conflict *conflict,
                            char *text, size_t bytes)
{
    const struct unit *unit = &table->units[conflict->unit];

    switch (conflict->kind) {
    case UNIT_CONFLICT_TIED:
        snprintf(text, bytes, "one parameter by %s", tie_source_name(conflict->source));
        break;
    case UNIT_CONFLICT_COMPANION:
        snprintf(text, bytes, "a quantised weight and what belongs to it");
        break;
    case UNIT_CONFLICT_WHOLE:
        snprintf(text, bytes, "one unit by no_split \"%s\"",
                 unit->reason == UNIT_PATTERN ? table->options.no_split[unit->rule]
                                              : table->options.no_split_classes[unit->rule]);
        break;
    }
}

static const char *describe_place(int place, char text[16])
{
    if (place == POLICY_CPU || place == POLICY_DISK)
        return place == POLICY_CPU ? "cpu" : "disk";
    snprintf(text, 16, "%d", place);
    return text;
}

int unit_conflict_describe(const struct unit_table *table, const struct unit_conflict *conflict,
                           struct input_error *error)
{
    const struct policy_map_entry *const *entries = conflict->entries;
    char expected[sizeof(error->expected)], reason[160], text[2][16];

    describe_reason(table, conflict, reason, sizeof(reason));
    snprintf(expected, sizeof(expected), "one place for %s and %s, which are %s",
             unit_table_name(table, conflict->names[0]), unit_table_name(table, conflict->names[1]),
             reason);
    input_error_set_field(error, "device_map", strlen("device_map"));
    return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, expected,
                           "%s by \"%s\" and %s by \"%s\"",
                           describe_place(entries[0]->place, text[0]), entries[0]->prefix,
                           describe_place(entries[1]->place, text[1]), entries[1]->prefix);
}
