#include "planner_tie.h"
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static size_t first_name(const struct plan_walk *walk, uint32_t node)
{
    size_t first = 0, end = walk->name_count;

    while (first < end) {
        size_t middle = first + (end - first) / 2;

        if (walk->by_node[middle].node < node)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

/* Add what covers a name that has no place yet to walk->moved, and what that takes to bits. */
static void gather_cover(struct plan_walk *walk, uint32_t node, uint32_t name, uint64_t *bits)
{
    uint32_t cover = plan_walk_cover(walk, name);

    if (cover == MODULE_NONE || cover == node)
        return;
    /* accelerate counts what covers two names twice. */
    if (walk->listed[cover] != LISTED_MOVED || (walk->flags & PLAN_WALK_MENTIONS))
        *bits += plan_walk_node(walk, cover)->bits;
    if (walk->listed[cover] == LISTED_MOVED)
        return;
    walk->listed[cover] = LISTED_MOVED;
    walk->moved[walk->moved_count++] = cover;
}

/* The same for the names of one object outside a node. */
static void gather_names(struct plan_walk *walk, uint32_t node, uint32_t tie, uint64_t *bits)
{
    uint32_t end = plan_walk_node(walk, node)->end;
    size_t at;

    for (at = walk->tie_first[tie]; at < walk->name_count && walk->by_tie[at].tie == tie; at++) {
        uint32_t name = walk->by_tie[at].node;

        if (name < node || name >= end)
            gather_cover(walk, node, name, bits);
    }
}

/* Is this the first name of its object from a node on? */
static bool is_first_from(const struct plan_walk *walk, const struct plan_name *name, uint32_t node)
{
    const struct plan_name *before = &walk->by_tie[name->rank] - 1;

    return name->rank == 0 || before->tie != name->tie || before->node < node;
}

static void gather_tied(struct plan_walk *walk, uint32_t node, uint64_t *bits)
{
    uint32_t end = plan_walk_node(walk, node)->end;
    size_t at, moved;

    for (at = first_name(walk, node); at < walk->name_count; at++) {
        const struct plan_name *name = &walk->by_node[at];

        if (name->node >= end)
            break;
        if (is_first_from(walk, name, node))
            gather_names(walk, node, name->tie, bits);
    }
    /* What comes along may hold a name of another object, and so on. */
    for (moved = 0; moved < walk->moved_count; moved++) {
        uint32_t cover = walk->moved[moved], cover_end = plan_walk_node(walk, cover)->end;

        for (at = first_name(walk, cover); at < walk->name_count; at++) {
            if (walk->by_node[at].node >= cover_end)
                break;
            gather_names(walk, node, walk->by_node[at].tie, bits);
        }
    }
}

/* Does the path of a node stand anywhere in a name? */
static bool mentions(const struct plan_walk *walk, uint32_t name, uint32_t node)
{
    const struct module_node *n = plan_walk_node(walk, name), *m = plan_walk_node(walk, node);

    return memmem(n->path, n->path_bytes, m->path, m->path_bytes) != NULL;
}

/* As accelerate does: the names that do not mention the node, of objects with one that does. */
static void gather_mentioned(struct plan_walk *walk, uint32_t node, uint64_t *bits)
{
    size_t first, end, at;

    for (first = 0; first < walk->name_count; first = end) {
        bool mentioned = false;

        for (end = first; end < walk->name_count; end++) {
            if (walk->by_tie[end].tie != walk->by_tie[first].tie)
                break;
            mentioned = mentioned || mentions(walk, walk->by_tie[end].node, node);
        }
        for (at = first; at < end && mentioned; at++) {
            if (!mentions(walk, walk->by_tie[at].node, node))
                gather_cover(walk, node, walk->by_tie[at].node, bits);
        }
    }
}

uint64_t plan_tie_gather(struct plan_walk *walk, uint32_t node)
{
    uint64_t bits = plan_walk_node(walk, node)->bits;
    size_t at;

    for (at = 0; at < walk->moved_count; at++) {
        if (walk->listed[walk->moved[at]])
            walk->listed[walk->moved[at]] = LISTED;
    }
    walk->moved_count = 0;
    if (walk->flags & PLAN_WALK_MENTIONS)
        gather_mentioned(walk, node, &bits);
    else
        gather_tied(walk, node, &bits);
    return bits;
}

static int place_of(const struct plan_walk *walk, uint32_t node)
{
    while (node != MODULE_NONE && walk->place[node] == POLICY_NOWHERE)
        node = plan_walk_node(walk, node)->parent;
    return node == MODULE_NONE ? POLICY_NOWHERE : walk->place[node];
}

int plan_tie_holds(const struct plan_walk *walk)
{
    size_t at;

    for (at = 1; at < walk->name_count; at++) {
        const struct plan_name *name = &walk->by_tie[at], *before = name - 1;

        if (name->tie == before->tie && place_of(walk, name->node) != place_of(walk, before->node))
            return 0;
    }
    return 1;
}

static int compare_names(const void *left, const void *right)
{
    const struct plan_name *a = left, *b = right;

    return a->node < b->node ? -1 : a->node > b->node;
}

static int compare_ties(const void *left, const void *right)
{
    const struct plan_name *a = left, *b = right;

    if (a->tie != b->tie)
        return a->tie < b->tie ? -1 : 1;
    return compare_names(left, right);
}

int plan_tie_find(struct plan_walk *walk)
{
    const struct module_tree *tree = walk->model->tree;
    const struct module_tensor *tensors = walk->model->tensors;
    size_t i, count = 0;

    for (i = 0; i < tree->tensor_count; i++)
        count += tensors[i].tie != MODULE_NONE;
    walk->by_node = malloc((count + 1) * sizeof(*walk->by_node));
    walk->by_tie = malloc((count + 1) * sizeof(*walk->by_tie));
    walk->moved = malloc((count + 1) * sizeof(*walk->moved));
    walk->tie_first = count ? malloc(tree->tensor_count * sizeof(*walk->tie_first)) : NULL;
    if (!walk->by_node || !walk->by_tie || !walk->moved || (count && !walk->tie_first))
        return -ENOMEM;
    for (i = 0; i < tree->tensor_count; i++) {
        if (tensors[i].tie != MODULE_NONE)
            walk->by_node[walk->name_count++] =
                (struct plan_name){.node = tree->leaves[i], .tie = tensors[i].tie};
    }
    qsort(walk->by_node, count, sizeof(*walk->by_node), compare_ties);
    for (i = count; i-- > 0;) {
        walk->by_node[i].rank = (uint32_t)i;
        walk->tie_first[walk->by_node[i].tie] = (uint32_t)i;
    }
    memcpy(walk->by_tie, walk->by_node, count * sizeof(*walk->by_node));
    qsort(walk->by_node, count, sizeof(*walk->by_node), compare_names);
    return 0;
}
