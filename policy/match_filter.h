/* match_filter.h - what certainly is in no checkpoint, told without the index's lock.
 *
 * It holds the heads of all that is looked for among the runs of some lengths: a run of such a
 * length whose head is not in it is found nowhere. Whoever guards the index guards what adds to it
 * or clears it; it may be asked meanwhile, and then answers as before or after.
 */
#ifndef BERTH_POLICY_MATCH_FILTER_H
#define BERTH_POLICY_MATCH_FILTER_H

#include <stdatomic.h>
#include <stdint.h>

#define MATCH_FILTER_WORDS   2048u
#define MATCH_FILTER_LENGTHS 64u

/* Zeroed, it knows of no length. */
struct match_filter {
    _Atomic uint64_t heads[MATCH_FILTER_WORDS];
    _Atomic uint64_t lengths[MATCH_FILTER_LENGTHS];
};

void match_filter_add_head(struct match_filter *filter, uint64_t head);

/* The heads of all that a run of this length could be are in it. */
void match_filter_add_length(struct match_filter *filter, uint64_t bytes);

/* There is more now that runs of any length could be. */
void match_filter_forget_lengths(struct match_filter *filter);

/* returns 1 where a run is certainly found nowhere */
int match_filter_rejects(const struct match_filter *filter, uint64_t bytes, uint64_t head);

#endif
