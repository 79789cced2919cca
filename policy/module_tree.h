/* module_tree.h - the tree of modules that tensors' names spell: split at dots, sizes added up.
 *
 * Every dotted prefix of a name is a module, "" the root, and a whole name is a leaf. Nodes stand
 * in one array, each before what is below it, so that a subtree is a range of indexes and a walk
 * over the model is a loop:
 *
 *     0 ""   1 "wte"   2 "wte.weight"   3 "h"   4 "h.0"   5 "h.0.bias"   6 "h.0.weight" ...
 *
 * The order is a framework's order of modules as far as names tell it. Children stand in the order
 * in which the file names them first, but a module's own tensors stand before its modules, and the
 * integers among siblings take their places in numeric order: files sort 10 before 2, and layers
 * run in the other order. Sizes are bits, so that types below a byte add up exactly; an object with
 * several names (tied parameters) counts once, at its first name in the tree.
 *
 * A tree never changes once it is made: any thread may read it without a lock.
 */
#ifndef BERTH_POLICY_MODULE_TREE_H
#define BERTH_POLICY_MODULE_TREE_H

#include "error.h"
#include <stddef.h>
#include <stdint.h>

#define MODULE_NONE      UINT32_MAX
#define MODULE_ROOT      0u
#define MODULE_DEPTH_MAX 256u /* a dot further down is a letter of the last part */

/* What the tree must know of a tensor. */
struct module_tensor {
    const char *name;    /* name_bytes of it, not empty; borrowed for as long as the tree lives */
    uint64_t bits;       /* of the tensor alone */
    uint32_t name_bytes; /* without a NUL, which need not be there */
    uint32_t tie;        /* the same number for all names of one object, below the count of tensors;
                            MODULE_NONE for an object with one name */
};

struct module_node {
    uint64_t bits;    /* of the whole subtree; 0 for a further name of a tied object */
    const char *path; /* path_bytes of it, not terminated: the name of a tensor below begins so */
    uint32_t path_bytes; /* 0 for the root */
    uint32_t parent;     /* MODULE_NONE for the root */
    uint32_t end;        /* the subtree is [this node, end) */
    uint32_t tensor;     /* the one whose name is this path, or MODULE_NONE; a name can be both a
                            tensor's and a module's */
};

struct module_tree {
    struct module_node *nodes; /* in the order of the walk; nodes[0] is the root */
    size_t count;
    uint32_t *leaves; /* by tensor: the node of its name */
    size_t tensor_count;

    /* The rest belongs to module_tree.c. */
    uint32_t *table; /* nodes by parent and last part of the path, open addressing */
    size_t table_size;
};

/* Walk over the children of a node in their order; its own tensors come before its modules. */
#define MODULE_FOR_EACH_CHILD(tree, node, child)                                                   \
    for ((child) = (node) + 1; (child) < (tree)->nodes[node].end;                                  \
         (child) = (tree)->nodes[child].end)

/* Make the tree of count tensors. Takes O(bytes of all names), but for integers out of order.
 *
 * tensors  in the order of the file; only their names are borrowed
 * out      set on success only
 * error    filled on failure
 * returns  0; -EINVAL for an empty name, one that comes twice or a tie out of range; -EOVERFLOW
 *          from 2^64 bits on; -E2BIG from 2^31 nodes on; -ENOMEM
 * owner    the caller frees *out with module_tree_free()
 */
int module_tree_create(const struct module_tensor *tensors, size_t count, struct module_tree **out,
                       struct input_error *error);

/* Free a tree. NULL is allowed. */
void module_tree_free(struct module_tree *tree);

/* Find a node by its path: "" is the root.
 *
 * path     bytes of it; need not be terminated
 * returns  its index, or MODULE_NONE; takes O(bytes)
 */
uint32_t module_tree_find(const struct module_tree *tree, const char *path, size_t bytes);

/* The last part of a node's path: "0" of "h.0", "" of the root.
 *
 * bytes    set to its length
 * returns  where it begins; not terminated
 */
const char *module_node_part(const struct module_tree *tree, uint32_t node, size_t *bytes);

/* Is this part of a path an integer as frameworks number modules: "0", "12", but not "012"? */
int module_part_is_integer(const char *part, size_t bytes);

#endif
