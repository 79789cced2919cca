/* policy_check.h - what a policy means for a checkpoint: what lives where, and what is wrong with
 * it.
 *
 * Everything is said at once. An error is what contradicts the policy itself or the checkpoint; a
 * warning is what does nothing, such as a pattern that matches nothing: maps of real models have
 * keys for modules without weights. A strict policy has no warnings, only errors.
 *
 * An object with several names (tied parameters) counts once, at the first of them. Units are what
 * unit.h makes of the policy and the map.
 */
#ifndef BERTH_POLICY_POLICY_CHECK_H
#define BERTH_POLICY_POLICY_CHECK_H

#include "checkpoint.h"
#include "model_config.h"
#include "policy_file.h"

enum policy_severity { POLICY_ERROR, POLICY_WARNING };

struct policy_finding {
    enum policy_severity severity;
    char *field; /* "device_map.model.layers.0" */
    char *text;  /* a sentence without a full stop */
};

/* What a key of the map, a place or a group holds. */
struct policy_holding {
    const char *name; /* the key, the place or the group; of the policy, or of this result */
    int place;        /* POLICY_NOWHERE for a group */
    size_t tensors;   /* names */
    uint64_t bytes;   /* as the policy's dtype has them; every object once */
    uint64_t limit;   /* of a place: its max_memory; else POLICY_UNSET */
};

struct policy_check {
    struct policy_holding *keys; /* key_count, in the map's order in the file */
    size_t key_count;
    struct policy_holding places[POLICY_DEVICES_MAX + 2]; /* in use or limited: GPUs, cpu, disk */
    size_t place_count;
    char place_names[POLICY_DEVICES_MAX + 2][POLICY_PLACE_BYTES];
    struct policy_holding *groups; /* group_count, in the file's order */
    size_t group_count;
    struct policy_holding uncovered; /* what no key covers */
    char *streamed_unit;             /* the largest that does not stay in VRAM; NULL for none */
    uint64_t streamed_bytes;
    size_t unit_count;
    size_t tensors; /* of the checkpoint */
    uint64_t bytes;
    struct policy_finding *findings; /* errors before warnings */
    size_t finding_count;
    size_t error_count;
};

/* Hold a policy against a checkpoint.
 *
 * policy      borrowed for as long as the result lives
 * checkpoint  NULL where there is none: then names are not looked at
 * config      of the model; NULL where nothing is known of it
 * out         set on success only
 * returns     0, also where errors were found; -ENOMEM; what else unit_table_create() said
 * owner       the caller frees *out with policy_check_free()
 */
int policy_check_create(const struct policy *policy, const struct checkpoint *checkpoint,
                        const struct model_config *config, struct policy_check **out);

/* Free a result. NULL is allowed. */
void policy_check_free(struct policy_check *check);

/* Add what the caller has found: a checkpoint that cannot be opened, for example.
 *
 * field    "" for none
 * returns  0 or -ENOMEM
 */
int policy_check_add(struct policy_check *check, enum policy_severity severity, const char *field,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
