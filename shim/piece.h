/* piece.h - uploads that nobody could name yet, and their fingerprints.
 *
 * A chunk from the middle of a tensor says by itself little of what it is; once its neighbours are
 * known, or a checkpoint is, its fingerprint is enough. The pieces of an allocation are sorted and
 * never overlap. Whatever else is put where a piece lies ends it. All of it is guarded by range.h's
 * lock, held for writing by what changes pieces.
 */
#ifndef BERTH_PIECE_H
#define BERTH_PIECE_H

#include "fingerprint.h"
#include "range.h"

struct tensor;

enum piece_flags {
    PIECE_SEVERAL = 1, /* its content fits, but does not say which parameter it is */
    PIECE_TRIED = 2,   /* it is not what its neighbours suggest */
};

struct piece {
    CUdeviceptr first;
    struct fingerprint print; /* print.bytes from first on */
    uint64_t number;          /* grows in the order of the uploads */
    unsigned flags;
    /* With PIECE_SEVERAL: one of the parameters that it fits, and where it lies in that. */
    const struct tensor *like;
    uint64_t like_offset;
};

struct piece_list {
    struct piece *pieces;
    size_t count, room;
};

/* Remember a piece. What lay there is erased first. Without memory, or with very many pieces
 * already, it is not remembered.
 *
 * returns  the piece, as long as the lock is held and none is added; NULL when it is not remembered
 */
struct piece *piece_add(struct allocation *allocation, CUdeviceptr first,
                        const struct fingerprint *print);

/* Forget what overlaps [first, end). */
void piece_erase(struct allocation *allocation, CUdeviceptr first, CUdeviceptr end);

/* Does a piece lie in [first, end)? */
int piece_is_in(const struct allocation *allocation, CUdeviceptr first, CUdeviceptr end);

/* The first piece in [first, end), or that ends at first or begins at end, and has not been tried.
 *
 * returns  NULL when there is none
 */
struct piece *piece_around(struct allocation *allocation, CUdeviceptr first, CUdeviceptr end);

/* The piece that was copied once, if it is still there, unchanged; else NULL. */
struct piece *piece_same(struct allocation *allocation, const struct piece *copy);

/* A piece that is in an allocation fits several parameters, such as tensor from offset on. */
void piece_mark_several(struct piece *piece, const struct tensor *tensor, uint64_t offset);

/* The piece that begins at first; NULL when none does. */
const struct piece *piece_at(const struct allocation *allocation, CUdeviceptr first);
/* The one that ends where piece begins, or with after begins where it ends; NULL for none. */
const struct piece *piece_beside(const struct allocation *allocation, const struct piece *piece,
                                 int after);

/* Is this fingerprint that of a piece at first? */
int piece_is_at(const struct allocation *allocation, CUdeviceptr first,
                const struct fingerprint *print);

/* All pieces of an allocation go. */
void piece_clear(struct allocation *allocation);

/* How many there are in all allocations. */
size_t piece_count(void);

#endif
