#include "module_tree.h"
#include "ascii.h"
#include "module_builder.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define HASH_FACTOR 0x9E3779B97F4A7C15u /* odd, its bits spread: 2^64 over the golden ratio */

const char *module_part(const struct module_node *nodes, uint32_t node, size_t *bytes)
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
    return module_part(tree->nodes, node, bytes);
}

int module_part_is_integer(const char *part, size_t bytes)
{
    size_t i;

    if (bytes == 0 || (bytes > 1 && part[0] == '0'))
        return 0;
    for (i = 0; i < bytes; i++) {
        if (!ascii_is_digit(part[i]))
            return 0;
    }
    return 1;
}

uint32_t module_hash(uint32_t above, const char *part, size_t bytes)
{
    return (uint32_t)((XXH3_64bits(part, bytes) ^ above) * HASH_FACTOR >> 32);
}

uint32_t *module_slot(const struct module_tree *tree, uint32_t hash, uint32_t parent,
                      const char *part, size_t bytes)
{
    size_t mask = tree->table_size - 1, at = hash & mask;

    for (;; at = (at + 1) & mask) {
        uint32_t *slot = &tree->table[at];
        const char *other;
        size_t other_bytes;

        if (*slot == MODULE_NONE)
            return slot;
        if (tree->nodes[*slot].parent != parent)
            continue;
        other = module_part(tree->nodes, *slot, &other_bytes);
        if (other_bytes == bytes && memcmp(other, part, bytes) == 0)
            return slot;
    }
}

size_t module_part_end(const char *path, size_t at, size_t bytes, unsigned depth)
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
    uint32_t node = MODULE_ROOT, hash = 0;
    size_t at = 0;
    unsigned depth;

    for (depth = 1; bytes && node != MODULE_NONE; depth++) {
        size_t end = module_part_end(path, at, bytes, depth);

        hash = module_hash(hash, path + at, end - at);
        node = *module_slot(tree, hash, node, path + at, end - at);
        if (end == bytes)
            break;
        at = end + 1;
    }
    return node;
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

static int make_tree(struct module_builder *b, const struct module_tensor *tensors, size_t count,
                     struct input_error *error)
{
    int res = module_builder_start(b, count);
    size_t i;

    for (i = 0; res == 0 && i < count; i++)
        res = module_builder_add(b, &tensors[i], (uint32_t)i, error);
    res = res ? res : module_builder_order(b);
    return res ? res : add_up(&b->tree, tensors, count, error);
}

int module_tree_create(const struct module_tensor *tensors, size_t count, struct module_tree **out,
                       struct input_error *error)
{
    struct module_builder b = {.growth = NULL};
    struct module_tree *tree = malloc(sizeof(*tree));
    int res;

    input_error_clear(error);
    res = tree ? make_tree(&b, tensors, count, error) : -ENOMEM;
    free(b.growth);
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
