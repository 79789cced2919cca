#include "quantised.h"
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define PART_BYTES_MAX                                                                             \
    128u /* parts longer than that are no companion's, nor a weight's beside it */

struct beside {
    const char *companion, *weights;
};

static const struct beside g_beside[] = {
#define X(companion, weights) {companion, weights},
    QUANTISED_BESIDE(X)
#undef X
};

static const char *const g_endings[] = {
#define X(ending) ending,
    QUANTISED_ENDINGS(X)
#undef X
};

static const char *const g_weights[] = {
#define X(ending) ending,
    QUANTISED_WEIGHTS(X)
#undef X
};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* A tensor that may be a companion. */
struct candidate {
    const struct module_tree *tree;
    uint32_t node;
    const char *part; /* the last one of its name, part_bytes of it */
    size_t part_bytes;
    char *path; /* its module's path and a dot, before_bytes of them, with room for another part */
    size_t before_bytes;
    uint32_t lengths[UCHAR_MAX + 1]; /* by first letter: the lengths of the listed companions, a bit
                                        each; most parts are told from all of them by these two */
};

static uint32_t length_bit(size_t bytes)
{
    return UINT32_C(1) << (bytes < 31 ? bytes : 31);
}

static void note_lengths(struct candidate *c)
{
    size_t i;

    for (i = 0; i < COUNT(g_beside); i++)
        c->lengths[(unsigned char)g_beside[i].companion[0]] |=
            length_bit(strlen(g_beside[i].companion));
}

static bool is_part(const struct candidate *c, const char *word)
{
    return strncmp(word, c->part, c->part_bytes) == 0 && !word[c->part_bytes];
}

/* The tensor beside a candidate whose last part is made of two pieces. */
static uint32_t find_beside(const struct candidate *c, const char *piece, size_t bytes,
                            const char *more)
{
    size_t more_bytes = strlen(more);
    uint32_t node;

    if (bytes + more_bytes == 0 || bytes + more_bytes > PART_BYTES_MAX)
        return MODULE_NONE;
    memcpy(c->path + c->before_bytes, piece, bytes);
    memcpy(c->path + c->before_bytes + bytes, more, more_bytes);
    node = module_tree_find(c->tree, c->path, c->before_bytes + bytes + more_bytes);
    return node == MODULE_NONE || node == c->node ? MODULE_NONE : c->tree->nodes[node].tensor;
}

/* The weight of a companion that has a name of its own. */
static uint32_t find_listed(const struct candidate *c)
{
    size_t i;

    if (!c->part_bytes || !(c->lengths[(unsigned char)c->part[0]] & length_bit(c->part_bytes)))
        return MODULE_NONE;
    for (i = 0; i < COUNT(g_beside); i++) {
        const char *weight = g_beside[i].weights;

        if (!is_part(c, g_beside[i].companion))
            continue;
        for (;;) {
            size_t bytes = strcspn(weight, "|");
            uint32_t tensor = find_beside(c, weight, bytes, "");

            if (tensor != MODULE_NONE)
                return tensor;
            if (!weight[bytes])
                break;
            weight += bytes + 1;
        }
    }
    return MODULE_NONE;
}

/* The weight of a companion whose name is the weight's with an ending. */
static uint32_t find_by_ending(const struct candidate *c)
{
    size_t i, j;

    if (!memchr(c->part, '_', c->part_bytes))
        return MODULE_NONE;
    for (i = 0; i < COUNT(g_endings); i++) {
        size_t bytes = strlen(g_endings[i]);

        if (c->part_bytes <= bytes ||
            memcmp(c->part + c->part_bytes - bytes, g_endings[i], bytes) != 0)
            continue;
        for (j = 0; j < COUNT(g_weights); j++) {
            uint32_t tensor = find_beside(c, c->part, c->part_bytes - bytes, g_weights[j]);

            if (tensor != MODULE_NONE)
                return tensor;
        }
    }
    return MODULE_NONE;
}

/* The tensor that a node stands below, or the _data of a module named weight. */
static uint32_t find_above(const struct candidate *c)
{
    const struct module_node *nodes = c->tree->nodes;
    uint32_t node;
    size_t bytes;

    for (node = nodes[c->node].parent; node != MODULE_NONE; node = nodes[node].parent) {
        if (nodes[node].tensor != MODULE_NONE)
            return nodes[node].tensor;
    }
    node = nodes[c->node].parent;
    if (node == MODULE_NONE || c->part[0] != '_' ||
        strncmp(module_node_part(c->tree, node, &bytes), "weight", 6) != 0 || bytes != 6)
        return MODULE_NONE;
    return find_beside(c, "_data", 5, "");
}

static uint32_t find_owner(struct candidate *c)
{
    const struct module_node *node = &c->tree->nodes[c->node];
    uint32_t tensor;

    c->part = module_node_part(c->tree, c->node, &c->part_bytes);
    c->before_bytes = node->path_bytes - c->part_bytes;
    memcpy(c->path, node->path, c->before_bytes);
    tensor = find_above(c);
    if (tensor != MODULE_NONE || c->part_bytes > PART_BYTES_MAX)
        return tensor;
    tensor = find_listed(c);
    return tensor == MODULE_NONE ? find_by_ending(c) : tensor;
}

int quantised_find(const struct module_tree *tree, uint32_t *owners)
{
    struct candidate c = {.tree = tree};
    size_t longest = 0, i;

    for (i = 0; i < tree->count; i++) {
        if (tree->nodes[i].path_bytes > longest)
            longest = tree->nodes[i].path_bytes;
    }
    c.path = malloc(longest + PART_BYTES_MAX);
    if (!c.path)
        return -ENOMEM;
    note_lengths(&c);
    for (i = 0; i < tree->tensor_count; i++) {
        uint32_t owner;

        c.node = tree->leaves[i];
        owner = find_owner(&c);
        owners[i] = owner == MODULE_NONE ? (uint32_t)i : owner;
    }
    free(c.path);
    /* A companion of a companion belongs to the weight; each step leads to a shorter name or to one
     * that is on no list, so that the way ends.
     */
    for (i = 0; i < tree->tensor_count; i++) {
        while (owners[owners[i]] != owners[i])
            owners[i] = owners[owners[i]];
    }
    return 0;
}
