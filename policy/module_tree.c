#include "module_tree.h"
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define NODES_MAX 0x80000000u

/* A node's place among its siblings while the tree grows. */
struct links {
    uint32_t first, last, next;
};

/* Nodes in the order in which they are met; links run beside them. */
struct builder {
    struct module_tree tree; /* its nodes and its table */
    struct links *links;
    size_t room;
};

static const char *part_of(const struct module_node *nodes, uint32_t node, size_t *bytes)
{
    const struct module_node *n = &nodes[node];
    size_t skip = n->parent == MODULE_NONE || n->parent == MODULE_ROOT
                      ? 0
                      : (size_t)nodes[n->parent].path_bytes + 1;

    *bytes = n->path_bytes - skip;
    return n->path + skip;
}

const char *module_node_part(const struct module_tree *tree, uint32_t node, size_t *bytes)
{
    return part_of(tree->nodes, node, bytes);
}

int module_part_is_integer(const char *part, size_t bytes)
{
    size_t i;

    if (bytes == 0 || (bytes > 1 && part[0] == '0'))
        return 0;
    for (i = 0; i < bytes; i++) {
        if (part[i] < '0' || part[i] > '9')
            return 0;
    }
    return 1;
}

/* The slot of the table that holds a child, or the empty one where it belongs. */
static uint32_t *find_slot(const struct module_tree *tree, uint32_t parent, const char *part,
                           size_t bytes)
{
    size_t mask = tree->table_size - 1;
    size_t at = (size_t)XXH3_64bits_withSeed(part, bytes, parent) & mask;

    for (;; at = (at + 1) & mask) {
        uint32_t *slot = &tree->table[at];
        const char *other;
        size_t other_bytes;

        if (*slot == MODULE_NONE)
            return slot;
        if (tree->nodes[*slot].parent != parent)
            continue;
        other = part_of(tree->nodes, *slot, &other_bytes);
        if (other_bytes == bytes && memcmp(other, part, bytes) == 0)
            return slot;
    }
}

/* Enter every node but the root into a table of size slots, a power of two above their number. */
static int make_table(struct module_tree *tree, size_t size)
{
    uint32_t *table = malloc(size * sizeof(*table));
    size_t i;

    if (!table)
        return -ENOMEM;
    memset(table, 0xFF, size * sizeof(*table));
    free(tree->table);
    tree->table = table;
    tree->table_size = size;
    for (i = 1; i < tree->count; i++) {
        size_t bytes;
        const char *part = part_of(tree->nodes, (uint32_t)i, &bytes);

        *find_slot(tree, tree->nodes[i].parent, part, bytes) = (uint32_t)i;
    }
    return 0;
}

/* Where the next part of a path ends that goes on at byte at. */
static size_t part_end(const char *path, size_t at, size_t bytes, unsigned depth)
{
    const char *dot;

    /* A dot at the very beginning ends no path: only the root is called "". */
    if (depth >= MODULE_DEPTH_MAX || at + (at == 0) >= bytes)
        return bytes;
    dot = memchr(path + at + (at == 0), '.', bytes - at - (at == 0));
    return dot ? (size_t)(dot - path) : bytes;
}

uint32_t module_tree_find(const struct module_tree *tree, const char *path, size_t bytes)
{
    uint32_t node = MODULE_ROOT;
    size_t at = 0;
    unsigned depth;

    for (depth = 1; bytes && node != MODULE_NONE; depth++) {
        size_t end = part_end(path, at, bytes, depth);

        node = *find_slot(tree, node, path + at, end - at);
        if (end == bytes)
            break;
        at = end + 1;
    }
    return node;
}

/* Growing ---------------------------------------------------------------------------------------*/

static int make_room(struct builder *b)
{
    size_t room = b->room + b->room / 2 + 64;
    struct module_node *nodes;
    struct links *links;

    if (b->tree.count < b->room)
        return 0;
    if (b->tree.count >= NODES_MAX)
        return -E2BIG;
    nodes = realloc(b->tree.nodes, room * sizeof(*nodes));
    if (!nodes)
        return -ENOMEM;
    b->tree.nodes = nodes;
    links = realloc(b->links, room * sizeof(*links));
    if (!links)
        return -ENOMEM;
    b->links = links;
    b->room = room;
    return 0;
}

static int add_node(struct builder *b, uint32_t parent, const char *path, size_t bytes)
{
    uint32_t node = (uint32_t)b->tree.count;
    int res = make_room(b);

    if (res)
        return res;
    b->tree.nodes[node] = (struct module_node){
        .path = path, .path_bytes = (uint32_t)bytes, .parent = parent, .tensor = MODULE_NONE};
    b->links[node] = (struct links){MODULE_NONE, MODULE_NONE, MODULE_NONE};
    b->tree.count++;
    if (parent == MODULE_NONE)
        return 0;
    if (b->links[parent].first == MODULE_NONE)
        b->links[parent].first = node;
    else
        b->links[b->links[parent].last].next = node;
    b->links[parent].last = node;
    return 0;
}

/* The child that the part [at, end) of a name leads to, made where it is new. */
static int find_or_add(struct builder *b, uint32_t parent, const char *name, size_t at, size_t end,
                       uint32_t *out)
{
    uint32_t *slot = find_slot(&b->tree, parent, name + at, end - at);
    int res;

    if (*slot != MODULE_NONE) {
        *out = *slot;
        return 0;
    }
    *slot = *out = (uint32_t)b->tree.count;
    res = add_node(b, parent, name, end);
    if (res)
        return res;
    return b->tree.count * 2 > b->tree.table_size ? make_table(&b->tree, b->tree.table_size * 2)
                                                  : 0;
}

static int add_tensor(struct builder *b, const struct module_tensor *tensor, uint32_t index,
                      struct input_error *error)
{
    uint32_t node = MODULE_ROOT;
    size_t at = 0;
    unsigned depth;

    if (tensor->name_bytes == 0)
        return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, "a name", "a tensor without");
    for (depth = 1;; depth++) {
        size_t end = part_end(tensor->name, at, tensor->name_bytes, depth);
        int res = find_or_add(b, node, tensor->name, at, end, &node);

        if (res)
            return res;
        if (end == tensor->name_bytes)
            break;
        at = end + 1;
    }
    if (b->tree.nodes[node].tensor != MODULE_NONE) {
        input_error_set_field(error, tensor->name, tensor->name_bytes);
        return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, "each tensor's name once",
                               "tensor %u by the name of tensor %u", index,
                               b->tree.nodes[node].tensor);
    }
    b->tree.nodes[node].tensor = index;
    return 0;
}

/* Ordering --------------------------------------------------------------------------------------*/

/* A sibling whose last part is an integer. Without leading zeros the longer one is the greater. */
struct numbered {
    const char *digits;
    size_t bytes;
    uint32_t node;
};

static int compare_numbers(const void *left, const void *right)
{
    const struct numbered *a = left, *b = right;

    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? -1 : 1;
    return memcmp(a->digits, b->digits, a->bytes);
}

/* Let the integers among count siblings take the places that integers have, in numeric order.
 *
 * scratch  room for count
 */
static void order_integers(const struct module_tree *tree, uint32_t *siblings, size_t count,
                           struct numbered *scratch)
{
    bool sorted = true;
    size_t i, numbers = 0, at = 0;

    for (i = 0; i < count; i++) {
        struct numbered *n = &scratch[numbers];

        n->node = siblings[i];
        n->digits = part_of(tree->nodes, n->node, &n->bytes);
        if (!module_part_is_integer(n->digits, n->bytes))
            continue;
        sorted = sorted && (numbers == 0 || compare_numbers(n - 1, n) < 0);
        numbers++;
    }
    if (sorted)
        return;
    qsort(scratch, numbers, sizeof(*scratch), compare_numbers);
    for (i = 0; i < count; i++) {
        size_t bytes;
        const char *part = part_of(tree->nodes, siblings[i], &bytes);

        if (module_part_is_integer(part, bytes))
            siblings[i] = scratch[at++].node;
    }
}

/* Put the children of a node into order: tensors, then modules, each with their integers sorted. */
static void order_children(struct builder *b, uint32_t node, uint32_t *siblings,
                           struct numbered *scratch)
{
    uint32_t child, *link = &b->links[node].first;
    size_t tensors = 0, modules = 0, i;

    for (child = *link; child != MODULE_NONE; child = b->links[child].next) {
        if (b->links[child].first == MODULE_NONE)
            siblings[tensors++] = child;
    }
    for (child = *link; child != MODULE_NONE; child = b->links[child].next) {
        if (b->links[child].first != MODULE_NONE)
            siblings[tensors + modules++] = child;
    }
    order_integers(&b->tree, siblings, tensors, scratch);
    order_integers(&b->tree, siblings + tensors, modules, scratch);
    for (i = 0; i < tensors + modules; i++) {
        *link = siblings[i];
        link = &b->links[siblings[i]].next;
    }
    *link = MODULE_NONE;
}

/* Move the nodes into the order of the walk: each before what is below it.
 *
 * nodes    room for all of them
 */
static void number_nodes(struct builder *b, struct module_node *nodes, uint32_t *siblings,
                         struct numbered *scratch)
{
    uint32_t node = MODULE_ROOT, parent = MODULE_NONE, count = 0;

    for (;;) {
        order_children(b, node, siblings, scratch);
        nodes[count] = b->tree.nodes[node];
        nodes[count].parent = parent;
        /* From here on the old node's own parent is not needed: it keeps the new number. */
        b->links[node].last = count++;
        if (b->links[node].first != MODULE_NONE) {
            parent = b->links[node].last;
            node = b->links[node].first;
            continue;
        }
        for (;;) {
            nodes[b->links[node].last].end = count;
            if (node == MODULE_ROOT)
                return;
            if (b->links[node].next != MODULE_NONE)
                break;
            node = b->tree.nodes[node].parent;
        }
        parent = nodes[b->links[node].last].parent;
        node = b->links[node].next;
    }
}

static int order_nodes(struct builder *b)
{
    size_t count = b->tree.count;
    struct module_node *nodes = malloc(count * sizeof(*nodes));
    uint32_t *siblings = malloc(count * sizeof(*siblings));
    struct numbered *scratch = malloc(count * sizeof(*scratch));
    int res = -ENOMEM;

    if (nodes && siblings && scratch) {
        number_nodes(b, nodes, siblings, scratch);
        free(b->tree.nodes);
        b->tree.nodes = nodes;
        nodes = NULL;
        res = make_table(&b->tree, b->tree.table_size);
    }
    free(nodes);
    free(siblings);
    free(scratch);
    return res;
}

/* Adding up -------------------------------------------------------------------------------------*/

/* Give each leaf its tensor's bits: an object with several names to the first of them, as many as
 * the largest of them takes.
 *
 * largest  by tie, zeroed; not needed where there are no ties
 */
static int place_bits(struct module_tree *tree, const struct module_tensor *tensors,
                      uint64_t *largest, struct input_error *error)
{
    uint64_t total = 0;
    size_t i;

    for (i = 0; largest && i < tree->tensor_count; i++) {
        uint32_t tie = tensors[i].tie;

        if (tie != MODULE_NONE && tensors[i].bits > largest[tie])
            largest[tie] = tensors[i].bits;
    }
    for (i = 0; i < tree->count; i++) {
        struct module_node *node = &tree->nodes[i];
        const struct module_tensor *tensor;

        if (node->tensor == MODULE_NONE)
            continue;
        tensor = &tensors[node->tensor];
        tree->leaves[node->tensor] = (uint32_t)i;
        if (tensor->tie == MODULE_NONE) {
            node->bits = tensor->bits;
        } else {
            node->bits = largest[tensor->tie];
            largest[tensor->tie] = 0;
        }
        if (__builtin_add_overflow(total, node->bits, &total)) {
            input_error_set_field(error, tensor->name, tensor->name_bytes);
            return input_error_set(error, -EOVERFLOW, INPUT_ERROR_NO_OFFSET,
                                   "fewer than 2^64 bits in all", "more with this tensor's %llu",
                                   (unsigned long long)node->bits);
        }
    }
    return 0;
}

static int add_up(struct module_tree *tree, const struct module_tensor *tensors, size_t count,
                  struct input_error *error)
{
    uint64_t *largest = NULL;
    size_t i, ties = 0;
    int res;

    tree->leaves = malloc((count ? count : 1) * sizeof(*tree->leaves));
    if (!tree->leaves)
        return -ENOMEM;
    tree->tensor_count = count;
    for (i = 0; i < count; i++) {
        if (tensors[i].tie == MODULE_NONE)
            continue;
        if (tensors[i].tie >= count) {
            input_error_set_field(error, tensors[i].name, tensors[i].name_bytes);
            return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET,
                                   "a tie below the number of tensors", "%u", tensors[i].tie);
        }
        ties++;
    }
    if (ties) {
        largest = calloc(count, sizeof(*largest));
        if (!largest)
            return -ENOMEM;
    }
    res = place_bits(tree, tensors, largest, error);
    free(largest);
    for (i = tree->count - 1; res == 0 && i > 0; i--)
        tree->nodes[tree->nodes[i].parent].bits += tree->nodes[i].bits;
    return res;
}

int module_tree_create(const struct module_tensor *tensors, size_t count, struct module_tree **out,
                       struct input_error *error)
{
    struct builder b = {.links = NULL};
    struct module_tree *tree;
    size_t i;
    int res;

    input_error_clear(error);
    res = make_table(&b.tree, 64);
    if (res == 0)
        res = add_node(&b, MODULE_NONE, "", 0);
    for (i = 0; res == 0 && i < count; i++)
        res = add_tensor(&b, &tensors[i], (uint32_t)i, error);
    if (res == 0)
        res = order_nodes(&b);
    if (res == 0)
        res = add_up(&b.tree, tensors, count, error);
    free(b.links);
    tree = malloc(sizeof(*tree));
    if (res == 0 && !tree)
        res = -ENOMEM;
    if (res == 0) {
        *tree = b.tree;
        *out = tree;
        input_error_clear(error);
        return 0;
    }
    free(tree);
    free(b.tree.nodes);
    free(b.tree.leaves);
    free(b.tree.table);
    if (res == -ENOMEM || res == -E2BIG) {
        input_error_clear(error);
        input_error_set(error, res, INPUT_ERROR_NO_OFFSET,
                        res == -ENOMEM ? "enough memory" : "fewer than 2^31 modules and tensors",
                        "%zu tensors", count);
    }
    return res;
}

void module_tree_free(struct module_tree *tree)
{
    if (!tree)
        return;
    free(tree->nodes);
    free(tree->leaves);
    free(tree->table);
    free(tree);
}
