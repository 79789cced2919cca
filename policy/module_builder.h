/* module_builder.h - a tree of modules while it grows, name by name, and how it is put in order.
 *
 * Nodes are numbered as they are met; names that follow each other share most of their path, so
 * each is looked up from where it leaves the one before. In the end the nodes move into the order
 * that module_tree.h promises. This is module_tree.c's own.
 */
#ifndef BERTH_POLICY_MODULE_BUILDER_H
#define BERTH_POLICY_MODULE_BUILDER_H

#include "module_tree.h"

/* What is known of a node while the tree grows. */
struct module_growth {
    uint32_t first, last, next; /* its children, and the sibling behind it */
    uint32_t hash;              /* of its path */
    uint8_t is_integer;         /* the last part of its path */
    uint8_t unsorted;           /* the integers among its children may stand in any order */
};

/* Nodes in the order in which they are met; what is known of them runs beside them. */
struct module_builder {
    struct module_tree tree; /* its nodes and its table */
    struct module_growth *growth;
    size_t room;
    uint32_t leaf; /* of the tensor that came last, the root so far */
    unsigned depth;
};

/* Begin a tree: it has a root. b is zeroed.
 *
 * tensors  how many will come
 * returns  0 or -ENOMEM
 * owner    the caller frees b->growth and what b->tree points to, also after a failure
 */
int module_builder_start(struct module_builder *b, size_t tensors);

/* Add a tensor and the modules that its name spells.
 *
 * index    its number
 * returns  0; -EINVAL and error for an empty name or one that comes twice; -E2BIG; -ENOMEM
 */
int module_builder_add(struct module_builder *b, const struct module_tensor *tensor, uint32_t index,
                       struct input_error *error);

/* Put all nodes into the order of the walk. Nothing can be added any more.
 *
 * returns  0 or -ENOMEM
 */
int module_builder_order(struct module_builder *b);

/* The last part of a node's path; need not be terminated. */
const char *module_part(const struct module_node *nodes, uint32_t node, size_t *bytes);

/* Where the next part of a path ends that goes on at byte at.
 *
 * depth    of the module or tensor that the part leads to
 */
size_t module_part_end(const char *path, size_t at, size_t bytes, unsigned depth);

/* The hash of a path is made part by part, 0 for the root, and does not depend on the numbers of
 * nodes. */
uint32_t module_hash(uint32_t above, const char *part, size_t bytes);

/* The slot of the table that holds a child, or the empty one where it belongs.
 *
 * hash     of the child's path
 */
uint32_t *module_slot(const struct module_tree *tree, uint32_t hash, uint32_t parent,
                      const char *part, size_t bytes);

#endif
