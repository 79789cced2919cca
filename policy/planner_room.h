/* planner_room.h - the largest unit that is still to be placed.
 *
 * A unit is a module that is never split: a whole one, or one without modules below it. The figure
 * follows accelerate's to the byte, which looks only from time to time: when all units of the
 * largest size have had their turn, or when a module was split. In between it may be larger than
 * what remains, never smaller. What stands in the root itself counts until the first of these.
 */
#ifndef BERTH_POLICY_PLANNER_ROOM_H
#define BERTH_POLICY_PLANNER_ROOM_H

#include "module_tree.h"
#include <stddef.h>
#include <stdint.h>

struct plan_unit {
    uint64_t bits;
    uint32_t node;
    uint8_t gone;      /* placed */
    uint8_t waiting;   /* of the largest size when it was last looked, and no turn since */
    uint8_t is_tensor; /* one of the root's own */
};

struct plan_room {
    const struct module_tree *tree;
    struct plan_unit *units; /* in the order of the tree */
    uint32_t *by_size;       /* the largest first, equal ones in the order of the tree */
    size_t count;
    size_t first;      /* in by_size: all before it are gone */
    size_t begin, end; /* in by_size: those of the largest size when it was last looked */
    size_t waiting;    /* how many of them wait */
    uint64_t largest_bits;
};

/* Find the units of a tree.
 *
 * splits   by node: not 0 where a module may be split
 * most_bits  of a unit that counts
 * returns  0 or -ENOMEM
 * owner    plan_room_destroy()
 */
int plan_room_create(const struct module_tree *tree, const uint8_t *splits, uint64_t most_bits,
                     struct plan_room *out);
void plan_room_destroy(struct plan_room *room);

/* A node has its turn: its units wait no longer. */
void plan_room_take(struct plan_room *room, uint32_t node);

/* Look again: the largest unit of what remains, the root's own tensors apart. */
void plan_room_look(struct plan_room *room);

/* A node is placed, and all below it. */
void plan_room_drop(struct plan_room *room, uint32_t node);

/* The largest unit at or below a node; of a tensor its own bits. */
uint64_t plan_room_within(const struct plan_room *room, uint32_t node);

#endif
