/* unit_block.h - which modules are not split. Part of unit.c: nothing else asks. */
#ifndef BERTH_POLICY_UNIT_BLOCK_H
#define BERTH_POLICY_UNIT_BLOCK_H

#include "unit.h"

struct block_rules;

/* Why a module is whole. */
struct block_answer {
    enum unit_reason reason; /* UNIT_TENSOR where it may be split */
    uint32_t rule;
};

/* Make the rules of a table's options. Its tree and its owners are there.
 *
 * returns  0; -EINVAL for a class that is not known; -ENOMEM
 * owner    the caller frees *out with block_rules_free()
 */
int block_rules_create(const struct unit_table *table, struct block_rules **out,
                       struct input_error *error);

void block_rules_free(struct block_rules *rules);

/* Is a module whole, given that none above it is?
 *
 * node     of the tree, with others below it; not the root
 */
struct block_answer block_rules_ask(struct block_rules *rules, uint32_t node);

#endif
