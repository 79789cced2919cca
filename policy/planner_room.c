#include "planner_room.h"
#include <errno.h>
#include <stdlib.h>

/* The units in the tree's order; a module that may be split is passed on to those below it. */
static size_t find_units(const struct module_tree *tree, const uint8_t *splits,
                         struct plan_unit *units)
{
    uint32_t node = MODULE_ROOT + 1;
    size_t count = 0;

    while (node < tree->count) {
        const struct module_node *n = &tree->nodes[node];
        int is_tensor = n->end == node + 1;

        if (splits[node] || (is_tensor && n->parent != MODULE_ROOT)) {
            node++;
            continue;
        }
        if (units)
            units[count] =
                (struct plan_unit){.bits = n->bits, .node = node, .is_tensor = (uint8_t)is_tensor};
        count++;
        node = n->end;
    }
    return count;
}

static int compare_sizes(const void *left, const void *right, void *units)
{
    const struct plan_unit *a = (const struct plan_unit *)units + *(const uint32_t *)left;
    const struct plan_unit *b = (const struct plan_unit *)units + *(const uint32_t *)right;

    if (a->bits != b->bits)
        return a->bits > b->bits ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

/* The largest size among what remains outside [skip, skip_end). */
static void look(struct plan_room *room, uint32_t skip, uint32_t skip_end, int with_tensors)
{
    size_t at;

    for (at = room->begin; at < room->end; at++)
        room->units[room->by_size[at]].waiting = 0;
    while (room->first < room->count && room->units[room->by_size[room->first]].gone)
        room->first++;
    room->largest_bits = 0;
    room->waiting = 0;
    room->begin = room->end = room->first;
    for (at = room->first; at < room->count; at++) {
        struct plan_unit *unit = &room->units[room->by_size[at]];

        if (room->waiting && unit->bits != room->largest_bits)
            break;
        if (unit->gone || (unit->is_tensor && !with_tensors) ||
            (unit->node >= skip && unit->node < skip_end))
            continue;
        if (!room->waiting)
            room->begin = at;
        room->largest_bits = unit->bits;
        room->waiting++;
        unit->waiting = 1;
    }
    room->end = room->waiting ? at : room->begin;
}

int plan_room_create(const struct module_tree *tree, const uint8_t *splits, uint64_t most_bits,
                     struct plan_room *out)
{
    size_t count = find_units(tree, splits, NULL), i;

    *out = (struct plan_room){.tree = tree, .count = count};
    out->units = malloc((count + 1) * sizeof(*out->units));
    out->by_size = malloc((count + 1) * sizeof(*out->by_size));
    if (!out->units || !out->by_size) {
        plan_room_destroy(out);
        return -ENOMEM;
    }
    find_units(tree, splits, out->units);
    for (i = 0; i < count; i++) {
        out->by_size[i] = (uint32_t)i;
        out->units[i].gone = out->units[i].bits > most_bits;
    }
    qsort_r(out->by_size, count, sizeof(*out->by_size), compare_sizes, out->units);
    look(out, 0, 0, 1);
    return 0;
}

void plan_room_destroy(struct plan_room *room)
{
    free(room->units);
    free(room->by_size);
    room->units = NULL;
    room->by_size = NULL;
}

/* The first of the units, in the order of the tree, at or behind a node. */
static size_t find_unit(const struct plan_room *room, uint32_t node)
{
    size_t first = 0, end = room->count;

    while (first < end) {
        size_t middle = first + (end - first) / 2;

        if (room->units[middle].node < node)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

/* The same among those of the largest size. */
static size_t find_largest(const struct plan_room *room, uint32_t node)
{
    size_t first = room->begin, end = room->end;

    while (first < end) {
        size_t middle = first + (end - first) / 2;

        if (room->units[room->by_size[middle]].node < node)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

void plan_room_take(struct plan_room *room, uint32_t node)
{
    uint32_t node_end = room->tree->nodes[node].end;
    size_t at;

    for (at = find_largest(room, node); at < room->end; at++) {
        struct plan_unit *unit = &room->units[room->by_size[at]];

        if (unit->node >= node_end)
            break;
        room->waiting -= unit->waiting;
        unit->waiting = 0;
    }
    if (room->waiting == 0)
        look(room, node, node_end, 0);
}

void plan_room_look(struct plan_room *room)
{
    look(room, 0, 0, 0);
}

void plan_room_drop(struct plan_room *room, uint32_t node)
{
    uint32_t node_end = room->tree->nodes[node].end;
    size_t at;

    for (at = find_unit(room, node); at < room->count && room->units[at].node < node_end; at++)
        room->units[at].gone = 1;
}

uint64_t plan_room_within(const struct plan_room *room, uint32_t node)
{
    uint32_t node_end = room->tree->nodes[node].end;
    uint64_t largest = 0;
    size_t at;

    if (node_end == node + 1)
        return room->tree->nodes[node].bits;
    for (at = find_unit(room, node); at < room->count && room->units[at].node < node_end; at++) {
        if (room->units[at].bits > largest)
            largest = room->units[at].bits;
    }
    return largest;
}
