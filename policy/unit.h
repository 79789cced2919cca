/* unit.h - what is placed and moved together: blocks, quantised weights, parameters with many
 * names.
 *
 * A unit is a set of tensors, and every tensor of a checkpoint is in exactly one:
 *   - a module that is not split: by a pattern, by its class, or because it is a repeated block;
 *   - a quantised weight with its companions, and what else its module holds;
 *   - any other tensor, alone.
 * A parameter with several names is one object: all its names are in the unit of the first.
 *
 * By default every repeated block X.<integer> is a unit, the outermost where they are nested:
 * model.layers.0, not model.layers.0.mlp.experts.3. A list X counts as one of blocks where one of
 * its members shares half of its tensors' names with others, or where it has but one member: the
 * two text encoders of a diffusion model, embedders.0 and embedders.1, are no blocks, their layers
 * are.
 *
 * Tables never change once they are made: any thread may read them without a lock.
 */
#ifndef BERTH_POLICY_UNIT_H
#define BERTH_POLICY_UNIT_H

#include "checkpoint.h"
#include "error.h"
#include "model_config.h"
#include "module_tree.h"
#include "policy_file.h"
#include "tie.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNIT_NONE  UINT32_MAX
#define UNIT_SPLIT (-4) /* where unit.place would be: a map puts parts of it elsewhere */

enum unit_reason {
    UNIT_TENSOR, /* a tensor alone, or with its companions where their module has other modules */
    UNIT_QUANTISED, /* a module, or a weight, with companions */
    UNIT_REPEATED,  /* X.<integer> */
    UNIT_PATTERN,   /* rule is an index of no_split */
    UNIT_CLASS,     /* rule is an index of no_split_classes */
};

/* What the user wants; all zero for nothing. */
struct unit_options {
    const struct model_config *config; /* NULL where nothing is known of the model */
    const char *const *no_split; /* patterns (pattern.h); a word without a dot, * and ? that is
                                    no module's name is a class; "none" alone is no pattern */
    size_t no_split_count;
    const char *const *no_split_classes;
    size_t no_split_class_count;
    bool no_split_given; /* else every repeated block is a unit, unless one of the above is given */
    const struct tie_list *tied;
    size_t tied_count;
    const struct load_dtypes *loads; /* what weights are loaded as; NULL for as they are stored */
    const struct policy_map
        *map; /* NULL for none. A repeated block that it splits is no unit, for
                 its parts are placed apart. Borrowed as long as the table lives */
};

struct unit {
    uint32_t node;  /* in the tree: a module, or a tensor's leaf. Its path is the unit's name */
    uint32_t first; /* in unit_table.members */
    uint32_t count; /* of tensors, at least 1 */
    enum unit_reason reason;
    uint32_t rule; /* which pattern or class; 0 elsewhere */
    int place;     /* as the map says: a GPU index, enum policy_place or UNIT_SPLIT; POLICY_NOWHERE
                      without a map */
    uint64_t bits; /* every object once */
};

/* Numbers of names are struct tie_member's: tensors of the checkpoint, then names that it leaves
 * out. */
struct unit_table {
    const struct checkpoint *checkpoint;
    struct module_tree *tree; /* of the checkpoint's tensors */
    struct ties *ties;
    struct unit *units; /* in the tree's order */
    size_t count;
    uint32_t *members; /* tensors, unit after unit, each unit's in the tree's order */
    uint32_t *unit_of; /* by number of a name: the unit of its object */
    uint32_t *owners;  /* by tensor: the weight whose companion it is, or itself (quantised.h) */
    uint8_t *whole;  /* by node of the tree: not 0 for a module that must not be split, and then one
                        number for what one pattern or class found and for the blocks of one list */
    int *places;     /* by tensor: where the map puts its object; POLICY_NOWHERE without a map */
    size_t *matches; /* by no_split, then by no_split_classes: how many units came of it; 0 for a
                        pattern or a class that found nothing or only parts of other units */
    uint64_t bits;   /* of the whole model, every object once */

    /* The rest belongs to unit.c, unit_block.c and unit_place.c. */
    struct unit_options options;
    struct module_tensor *tensors;           /* what the tree was made from */
    const struct policy_map_entry **entries; /* by number of a name: what covers it, or NULL */
    uint8_t *split;                          /* by node: 1 where the map splits the module */
};

/* Make the units of a checkpoint. 100,000 tensors take some 50 ms.
 *
 * checkpoint  borrowed for as long as the table lives
 * options     borrowed for as long as the table lives, but for config, tied and loads
 * out         set on success only
 * error       filled on failure
 * returns     0; -EINVAL for a class that is not known or a list of ties that cannot be
 * (architecture.h and ties_check_list() tell each that is wrong); else what module_tree_create()
 * and ties_find() said owner       the caller frees *out with unit_table_free()
 */
int unit_table_create(const struct checkpoint *checkpoint, const struct unit_options *options,
                      struct unit_table **out, struct input_error *error);

/* Free a table. NULL is allowed. */
void unit_table_free(struct unit_table *table);

/* The name of a unit: the path of its module or tensor.
 *
 * bytes    set to its length
 * returns  where it begins; not terminated
 */
const char *unit_name(const struct unit_table *table, size_t unit, size_t *bytes);

/* A name by its number: a tensor's, or one that the checkpoint leaves out. */
const char *unit_table_name(const struct unit_table *table, uint32_t name);

/* Find the unit with a name.
 *
 * name     of the unit, of one of its tensors, or one that the checkpoint leaves out
 * returns  its index, or UNIT_NONE: also for a module that holds several units
 */
uint32_t unit_table_find(const struct unit_table *table, const char *name);

/* Two places for what is one. */
enum unit_conflict_kind {
    UNIT_CONFLICT_TIED,      /* two names of one object */
    UNIT_CONFLICT_COMPANION, /* a companion, and the weight that it belongs to */
    UNIT_CONFLICT_WHOLE,     /* two tensors of a module that no_split keeps whole */
};

struct unit_conflict {
    enum unit_conflict_kind kind;
    uint32_t names[2];                         /* by number */
    const struct policy_map_entry *entries[2]; /* of the map, that place them */
    uint32_t unit;                             /* in which both are */
    enum tie_source source;                    /* of UNIT_CONFLICT_TIED: what made them one */
};

/* Walk over what the map places in two places although it is one.
 *
 * cursor   0 before the first call; belongs to the walk
 * conflict set while there is one
 * returns  true; false at the end, at once without a map
 */
bool unit_next_conflict(const struct unit_table *table, size_t *cursor,
                        struct unit_conflict *conflict);

/* Say what a conflict is: both names, where the map puts each and by which entry, why they are one.
 *
 * error    filled; its file and place are the caller's to set
 * returns  -EINVAL
 */
int unit_conflict_describe(const struct unit_table *table, const struct unit_conflict *conflict,
                           struct input_error *error);

#endif
