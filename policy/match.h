/* match.h - which parameter a run of bytes is: the index over checkpoints by content.
 *
 * A run is held against checkpoints by its size, by what it begins with, and by its fingerprint.
 * What a file holds is read when it is first needed, a few hundred bytes of each tensor. No tensor
 * is ever taken for another one with the same fingerprint: such twins, and runs that say too little
 * to be told by content (fingerprint.h: weak), are told apart by order alone, or not at all.
 *
 * The rank of a tensor is its place in the order of the files: checkpoint after checkpoint as they
 * were added, then file, then offset; names for the same bytes of a file share a rank.
 */
#ifndef BERTH_POLICY_MATCH_H
#define BERTH_POLICY_MATCH_H

#include "checkpoint.h"
#include "fingerprint.h"

#define MATCH_NO_RANK SIZE_MAX

struct match_index;

/* Read from a checkpoint's file.
 *
 * returns  0, or -errno where not all bytes could be read
 */
typedef int match_read_fn(void *arg, const struct checkpoint *checkpoint, size_t file,
                          uint64_t offset, void *out, size_t bytes);

/* A stretch of a file. */
struct match_place {
    const struct checkpoint *checkpoint;
    size_t file;
    uint64_t offset, bytes;
};

/* Where one loader stands: what was bound last. {.rank = MATCH_NO_RANK} at the start. */
struct match_order {
    size_t rank;                  /* of the tensor that the last bound byte belongs to */
    uint64_t end;                 /* where in the file the last bound bytes end */
    uint64_t bytes;               /* how many they were */
    size_t first;                 /* rank of the first tensor that begins in them; MATCH_NO_RANK */
    int is_inside;                /* their last tensor goes on behind them */
    int is_whole;                 /* they are all of that tensor, and nothing else */
    struct fingerprint next_head; /* what the file goes on with there: no more than the head */
    int is_next_read;             /* 1: next_head is set; -1: it cannot be read */
};

struct match_query {
    struct fingerprint print; /* bytes and head always; the rest where is_taken */
    int is_taken;
    const void *source; /* the run; NULL when it is gone, and then print is taken */
    int within;         /* the bytes before the run, in the same upload, are bound */
    unsigned device;    /* below 64: twins are bound once on each device */
};

enum match_answer {
    MATCH_NONE,
    MATCH_FOUND,
    MATCH_SEVERAL, /* the content fits, but does not say which one, or that it is one */
};

/* returns  NULL when out of memory
 * owner    the caller frees it with match_index_free(), and what read needs after that
 */
struct match_index *match_index_new(match_read_fn *read, void *arg);
void match_index_free(struct match_index *index);

/* Add a checkpoint. Nothing is read.
 *
 * checkpoint  borrowed until match_index_free()
 * returns     0 or -ENOMEM: some of its tensors may be found then
 */
int match_index_add(struct match_index *index, const struct checkpoint *checkpoint);

/* The checkpoint's files have changed: nothing of it is found any more. */
void match_index_drop(struct match_index *index, const struct checkpoint *checkpoint);

/* The checkpoint that a tensor belongs to; NULL where it was not added, or was dropped. */
const struct checkpoint *match_index_owner(const struct match_index *index,
                                           const struct tensor *tensor);

/* Begin a query for a run that is in memory. */
void match_query_begin(struct match_query *query, const void *run, uint64_t bytes);

/* The query's fingerprint, taken if it has not been. */
const struct fingerprint *match_query_print(struct match_query *query);

/* Find a run.
 *
 * order    of the loader whose run it is; only what the file holds behind it is remembered there
 * out      set but for MATCH_NONE: the place, whose bytes may be less than the run's where a tensor
 *          ends inside the run; one of the candidates for MATCH_SEVERAL
 */
enum match_answer match_find(struct match_index *index, struct match_query *query,
                             struct match_order *order, struct match_place *out);

/* Would match_find() find nothing, as it did for other runs of this length? It is not known of all
 * runs. May be called while another thread works with the index, but for match_index_free().
 *
 * returns  1 when it certainly would not, else 0
 */
int match_rejects(const struct match_index *index, const struct match_query *query,
                  const struct match_order *order);

/* Does a run stand at a place that something else than its content suggests?
 *
 * tensor   of a checkpoint that was added
 * distance from where the tensor begins; may lie behind its end
 * returns  1 and *out, else 0
 */
int match_verify(struct match_index *index, struct match_query *query, const struct tensor *tensor,
                 uint64_t distance, struct match_place *out);

/* A place was bound on a device: the order goes on from there. */
void match_bind(struct match_index *index, const struct match_place *place, unsigned device,
                struct match_order *order);

/* Is the tensor at a rank, as a whole, a run with this fingerprint?
 *
 * returns  1 and *out, else 0; 0 for a rank that there is not
 */
int match_is_at(struct match_index *index, size_t rank, const struct fingerprint *print,
                struct match_place *out);

/* For whoever reads ahead, so that match_find() need not: the next tensor whose fingerprint has not
 * been read.
 *
 * rank     where to begin; set to the tensor's
 * returns  1 and *out, which fingerprint_read() may fill without the index; 0 when all are read
 */
int match_next_unread(const struct match_index *index, size_t *rank, struct match_place *out);

/* Its fingerprint, as match_next_unread()'s place was read. */
void match_put_print(struct match_index *index, size_t rank, const struct fingerprint *print);

/* The same for chunks: when a loader uploads in chunks, those that are likely to come next.
 *
 * returns  how many of out are set, at most room; 0 when there are enough for now
 */
struct match_run;
size_t match_next_runs(struct match_index *index, struct match_place *out, size_t room);

/* Their fingerprints; of no bytes where they could not be read. */
void match_put_runs(struct match_index *index, const struct match_run *runs, size_t count);

/* Has a loader come so far that match_next_runs() should be asked again? */
int match_wants_runs(const struct match_index *index);

#endif
