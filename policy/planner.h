/* planner.h - a device map for a model: which module lives where between uses.
 *
 * The walk fills the devices in their order (GPUs by index, cpu, disk) with modules in the tree's
 * order and never returns to an earlier device. A module that does not fit is split into its own
 * parameters and its modules, unless it is whole (no-split) or has no modules below it. While
 * something remains to be placed, the first GPU and cpu keep room for the largest unit that
 * remains: one that streams must have somewhere to go. All names of a tied object are placed
 * together.
 *
 * Where that leaves something off the GPUs, other manners of the same walk are tried, and one is
 * taken that has more bytes on the GPUs, or as many and more on cpu.
 *
 * The same input gives the same map, and it is the map that Hugging Face accelerate makes of the
 * same modules or one that holds more; tests/unit/test_planner_golden.c holds the two together and
 * says by which rules they differ.
 *
 * Pure functions: no clock, no locks, no randomness.
 */
#ifndef BERTH_POLICY_PLANNER_H
#define BERTH_POLICY_PLANNER_H

#include "dtype.h"
#include "error.h"
#include "module_tree.h"
#include "policy_file.h"
#include <stddef.h>
#include <stdint.h>

/* word     as --strategy has it */
#define PLAN_STRATEGIES(X)                                                                         \
    X(AUTO, auto)                                                                                  \
    X(BALANCED, balanced)                                                                          \
    X(BALANCED_LOW_0, balanced_low_0)                                                              \
    X(SEQUENTIAL, sequential)

enum plan_strategy {
#define X(name, word) PLAN_##name,
    PLAN_STRATEGIES(X)
#undef X
        PLAN_STRATEGY_COUNT
};

enum plan_kind {
    PLAN_PARAMETER,
    PLAN_BUFFER,    /* in the state dict */
    PLAN_TEMPORARY, /* a buffer that no checkpoint holds */
};

#define PLAN_ALL_ENTRIES 0x1u /* do not merge entries of one place into their module's */
/* A unit of more than a quarter of the first GPU streams in pieces, or is read in place: no room is
 * kept for it. */
#define PLAN_IN_PIECES   0x8u
#define PLAN_PIECES_PART 4 /* of the first GPU, that a unit may take and have room kept for it */
#define PLAN_FALLBACK                                                                              \
    0x2u /* a device that would stay empty takes any module, or waiting tensor, that fits */
#define PLAN_OFFLOAD_BUFFERS                                                                       \
    0x4u /* buffers go where their module goes; else to a GPU with room                            \
          */

/* A model. Tree and tensors belong together; the rest may be NULL. All of it is borrowed. */
struct plan_model {
    const struct module_tree *tree; /* its sizes are those that will lie in memory */
    const struct module_tensor *tensors;
    const uint8_t *kinds;   /* by tensor: enum plan_kind; NULL where all are parameters */
    const uint8_t *whole;   /* by node: not 0 where it must not be split, and then the same number
                               for modules of one class */
    const uint32_t *stacks; /* by tensor: plan_stack() */
};

/* What a recorded run says of a tensor. */
struct plan_heat {
    uint64_t touches; /* in the whole run */
    uint64_t order;   /* of its first touch among all tensors; UINT64_MAX where there was none */
};

struct plan_options {
    enum plan_strategy strategy;
    struct policy_memory max_memory; /* a device without a budget is not there */
    unsigned flags;                  /* PLAN_* */
    const struct plan_heat *heat;    /* by tensor, for PLAN_AUTO; NULL where no run was recorded */
};

/* Why a module is where it is. */
enum plan_reason {
    PLAN_FITS,    /* the walk's turn, and it fits */
    PLAN_TIED,    /* with another name of one of its tensors */
    PLAN_SEARCHED /* it was looked for: a device would have stayed empty, or a buffer was left over
                   */
};

struct plan_entry {
    uint32_t node; /* its path is the key of the map */
    int place;     /* a GPU index, POLICY_CPU or POLICY_DISK */
    enum plan_reason reason;
};

/* A map and what it costs. */
struct plan {
    struct plan_entry *entries; /* in the order of the tree; each tensor is below one of them */
    size_t count;
    struct policy_memory limit; /* what the walk filled: max_memory, made even by the strategy */
    uint64_t device_bits[POLICY_DEVICES_MAX];
    uint64_t cpu_bits, disk_bits; /* objects with several names counted once */
    uint64_t largest_bits;        /* of the units on cpu and disk: what streams at once */
};

/* Read the word for a strategy.
 *
 * returns  0; -EINVAL and error, which lists the four words
 */
int plan_strategy_parse(const char *text, enum plan_strategy *out, struct input_error *error);
const char *plan_strategy_name(enum plan_strategy strategy);

/* How many matrices a tensor stacks: its first extent where it has three, else 0. A module
 * called "experts" of nothing but such tensors, all of the same first extent above 1, may be split
 * between them. */
uint32_t plan_stack(const uint64_t *shape, size_t rank);

/* Make a device map.
 *
 * out      set on success only
 * error    filled on failure
 * returns  0 or -ENOMEM: disk holds what nothing else does
 * owner    the caller frees *out with plan_free()
 */
int plan_create(const struct plan_model *model, const struct plan_options *options,
                struct plan **out, struct input_error *error);

/* Free a plan. NULL is allowed. */
void plan_free(struct plan *plan);

/* Add the plan's entries to a device map, behind those that it has and in the order of the tree.
 *
 * returns  0 or -ENOMEM
 */
int plan_to_map(const struct plan *plan, const struct module_tree *tree, struct policy_map *map);

#endif
