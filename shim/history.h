/* history.h - what launches touched, in their order: the record in which a step is looked for.
 *
 * It is bounded, and begins anew when it is full. All of it is guarded by the device's lock.
 */
#ifndef BERTH_HISTORY_H
#define BERTH_HISTORY_H

#include <stddef.h>
#include <stdint.h>

struct extent;

/* What launches touched, until the step is known; the step itself afterwards. */
struct history {
    uint64_t *signature; /* of each launch */
    uint32_t *first;     /* launches + 1: where its extents begin */
    uint32_t *extent;    /* identities */
    size_t launches, launch_room, extent_room;
    size_t next_try; /* look for a step when there are so many launches */
    uint64_t begun;  /* how often it began anew: a plan of before is of no use then */
};

/* A stretch of the record that is one turn of a step. */
struct history_step {
    size_t first, launches;
    size_t before; /* where the turn before it begins */
    int steady;    /* nothing else has been going on for a while */
};

/* Forget all that was recorded. */
void history_begin(struct history *h);

/* A launch touches the set. */
void history_record(struct history *h, struct extent *const *set, size_t count);

/* Is it time to look for a step? The longer in vain, the seldomer: the cost for each launch is
 * bounded. */
int history_is_due(const struct history *h);
void history_note_try(struct history *h);

/* The step at the end of the record, by all that launches touch. returns 1 where there is one */
int history_find_step(const struct history *h, struct history_step *out);

/* The step by what launches touch of weights alone, for what kernels write may lie elsewhere in
 * each turn. Only launches that touch weights count. Those in a row that touch the same are one,
 * with their number, or a loop within a step would be found; what is found ends with the last such
 * row that is over.
 *
 * table    the device's extents, by identity
 * returns  1 where there is one, from behind the launch before its first to its last: it is never
 *          called steady
 */
int history_find_step_by_weights(const struct history *h, struct extent *const *table,
                                 struct history_step *out);

/* The bytes of all that a step touches, by extents.
 *
 * turn  raised, beyond that of any extent, and extents are marked with it
 */
uint64_t history_bytes(const struct history *h, struct extent *const *table,
                       const struct history_step *step, uint64_t *turn);

/* The step that was found by weights is the end of the record from now on, without what its turn
 * and the one before do not both touch, but for weights: that lies elsewhere next time.
 *
 * turn     raised, beyond that of any extent, and extents are marked with it
 * returns  the bytes of what was taken out
 */
uint64_t history_take_step_by_weights(struct history *h, struct extent *const *table,
                                      const struct history_step *step, uint64_t *turn);

#endif
