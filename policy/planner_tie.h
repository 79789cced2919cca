/* planner_tie.h - the names of objects that have several, and what must go together for them.
 *
 * All names of an object lie in one place: with a module goes whatever covers another name of one
 * of its tensors. This is planner.c's own.
 */
#ifndef BERTH_POLICY_PLANNER_TIE_H
#define BERTH_POLICY_PLANNER_TIE_H

#include "planner_walk.h"

/* Find the names of a walk's model: by_node, by_tie and tie_first, and room for moved.
 *
 * returns  0 or -ENOMEM; what is there already is freed by plan_walk_destroy()
 */
int plan_tie_find(struct plan_walk *walk);

/* Find what must go where a node goes: what covers further names of its tensors. It stands in
 * walk->moved, none of it twice.
 *
 * returns  the bits of the node and of all in walk->moved
 */
uint64_t plan_tie_gather(struct plan_walk *walk, uint32_t node);

/* Are all names of every object in one place, once all is placed? */
int plan_tie_holds(const struct plan_walk *walk);

#endif
