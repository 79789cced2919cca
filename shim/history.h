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
    int steady; /* nothing else has been going on for a while */
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

#endif
