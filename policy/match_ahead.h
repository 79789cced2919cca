/* match_ahead.h - the chunks that are likely to come next, read before they do.
 *
 * A tensor that came in chunks of one size goes on like that, and so does what follows in the file,
 * but for what is no longer than a chunk: that is read as a whole anyway. Somebody else reads, a
 * few chunks ahead of the loader; with several loaders, of the one that was first.
 */
#ifndef BERTH_POLICY_MATCH_AHEAD_H
#define BERTH_POLICY_MATCH_AHEAD_H

#include "match_entry.h"

#define MATCH_AHEAD_RUNS 64u

/* The entries of the index, by rank. */
struct match_entries {
    const struct match_entry *entries;
    size_t count;
};

struct match_run {
    struct match_place place;
    struct fingerprint print; /* no bytes where it could not be read */
};

/* Zeroed, there is no loader. */
struct match_ahead {
    struct match_run runs[MATCH_AHEAD_RUNS]; /* number i at i % MATCH_AHEAD_RUNS */
    size_t next, end;     /* the run that comes next, and the one that is read next; half-open */
    uint64_t chunk_bytes; /* 0: nobody loads in chunks */
    size_t rank;          /* run end begins here, */
    uint64_t distance;    /* so far behind where the tensor does */
    unsigned strayed;     /* chunks that were not foreseen since one was */
};

/* What a file holds at an offset, as far as it was foreseen.
 *
 * returns  the fingerprint of a chunk that begins there, however long; NULL for none
 */
const struct fingerprint *match_ahead_find(const struct match_ahead *ahead,
                                           const struct checkpoint *checkpoint, size_t file,
                                           uint64_t offset);

/* A chunk has come, which is not all of a tensor.
 *
 * rank     of its tensor
 * goes_on  the same loader's chunk before was as long, and the file goes on from there with this
 */
void match_ahead_follow(struct match_ahead *ahead, const struct match_entries *all, size_t rank,
                        const struct match_place *place, int goes_on);

/* Is it time to read more? */
int match_ahead_wants(const struct match_ahead *ahead, const struct match_entries *all);

/* What to read next.
 *
 * returns  how many of out are set, at most room
 */
size_t match_ahead_plan(struct match_ahead *ahead, const struct match_entries *all,
                        struct match_place *out, size_t room);

/* What was planned is read. It is dropped where something else is to be read by now. */
void match_ahead_put(struct match_ahead *ahead, const struct match_entries *all,
                     const struct match_run *runs, size_t count);

#endif
