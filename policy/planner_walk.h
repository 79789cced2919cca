/* planner_walk.h - the walk that fills one device after another with modules.
 *
 * What remains is a list of nodes that cover all tensors which have no place yet; it shrinks at its
 * front, and a node that does not fit may give way to those below it. planner.h says what the walk
 * promises; this is planner.c's own.
 */
#ifndef BERTH_POLICY_PLANNER_WALK_H
#define BERTH_POLICY_PLANNER_WALK_H

#include "planner.h"
#include "planner_room.h"
#include <stddef.h>
#include <stdint.h>

#define PLAN_DEVICES_MAX (POLICY_DEVICES_MAX + 2)

/* Flags of a walk, beside PLAN_*. What such a walk makes must be looked at. */
#define PLAN_WALK_NO_GPU_ROOM                                                                      \
    0x100u /* the first GPU keeps no room: good if it has some in the end for what streams */
#define PLAN_WALK_NO_CPU_ROOM 0x200u /* nor does cpu: good if nothing is on disk */
#define PLAN_WALK_MENTIONS                                                                         \
    0x400u /* a module goes with an object that has its path anywhere in a name, as accelerate has \
              it: good if plan_tie_holds() */
#define PLAN_WALK_LAST_FIRST                                                                       \
    0x800u /* of several that would have to come along the last is split first: accelerate's own   \
              order of objects is another in every run */

/* What plan_walk.listed says of a node. */
enum { NOT_LISTED, LISTED, LISTED_MOVED };

struct plan_device {
    int place;
    int keeps_room;      /* the first GPU, and cpu */
    uint64_t limit_bits; /* UINT64_MAX for disk */
    uint64_t used_bits;
};

/* A name of an object that has several. */
struct plan_name {
    uint32_t node;
    uint32_t tie;
    uint32_t rank; /* its index in by_tie */
};

struct plan_walk {
    const struct plan_model *model;
    unsigned flags;
    struct plan_device devices[PLAN_DEVICES_MAX];
    unsigned device_count, current;
    struct plan_room room;

    /* By node. */
    int8_t *place;         /* POLICY_NOWHERE where it is no entry of the map */
    uint8_t *reason;       /* enum plan_reason of an entry */
    uint8_t *splits;       /* it may be split */
    uint8_t *listed;       /* it stands in the list of what remains */
    uint32_t *next, *prev; /* in that list; its two ends meet in the number of nodes */

    struct plan_name *by_node; /* names of tied objects in the order of the tree */
    struct plan_name *by_tie;  /* the same, an object's names together */
    size_t name_count;
    uint32_t *tie_first; /* by tie: its first in by_tie */

    uint32_t *moved; /* what must go with the node that has its turn */
    size_t moved_count;
    uint32_t *left; /* buffers of modules that were split: their own, not below */
    size_t left_count;
    uint32_t searched; /* the node that was searched for last, or MODULE_NONE */
};

/* Place every tensor of a model.
 *
 * limits   of the devices; those without one are not there
 * out      zeroed on failure
 * returns  0 or -ENOMEM
 * owner    plan_walk_destroy()
 */
int plan_walk_run(const struct plan_model *model, const struct policy_memory *limits,
                  unsigned flags, struct plan_walk *out);
void plan_walk_destroy(struct plan_walk *walk);

/* Prepare a walk without taking it: its devices, what may be split, the units, the tied names. */
int plan_walk_begin(const struct plan_model *model, const struct policy_memory *limits,
                    unsigned flags, struct plan_walk *out);

/* The node of the list of what remains that covers a node; MODULE_NONE where it has a place. */
uint32_t plan_walk_cover(const struct plan_walk *walk, uint32_t node);

static inline const struct module_node *plan_walk_node(const struct plan_walk *walk, uint32_t node)
{
    return &walk->model->tree->nodes[node];
}

/* The largest unit on cpu and disk, once all is placed. */
uint64_t plan_walk_room(const struct plan_walk *walk);

/* The size of the largest unit that room is kept for. */
uint64_t plan_walk_most_bits(const struct plan_walk *walk);

/* Would so much more fit on a device, beside what it keeps room for? */
int plan_device_fits(const struct plan_device *device, uint64_t bits, uint64_t room_bits);

#endif
