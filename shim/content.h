/* content.h - which parameter the bytes of an upload are, by what they are.
 *
 * For bytes that lie in no checkpoint's mapping: read into memory, or copied to a bounce buffer.
 * They are held against the checkpoints that this process maps, has open, or was told of
 * (checkpoints.h) with policy/match.h. Names that are found like this are names only: nobody takes
 * a file's bytes for those that were uploaded.
 *
 * The order of uploads, which tells twins apart, is kept for each thread: between the threads of a
 * loader there is none.
 */
#ifndef BERTH_CONTENT_H
#define BERTH_CONTENT_H

#include "match.h"
#include "object.h"
#include "piece.h"
#include "provenance.h"

/* An upload, or the rest of one. */
struct content_upload {
    CUdeviceptr dst;
    const void *source; /* readable; not changed before the upload's call returns */
    size_t bytes;
    unsigned device;
    int within; /* the bytes before, in the same upload, got a name */
    int fresh;  /* nothing was uploaded to dst before */
    struct object_expected expected[OBJECT_EXPECTED_MAX];
    size_t expected_count;
};

/* Find an upload's place in a checkpoint.
 *
 * where    set for MATCH_FOUND, and for MATCH_SEVERAL to one of the places; where->bytes in any
 *          case: of how many bytes, from the start on, the answer is true
 * print    set unless the answer is MATCH_FOUND, and print->bytes is 0 where it is not worth
 *          remembering: for piece_add()
 * locks    takes content's, then those of checkpoints.h; may read from files
 */
enum match_answer content_find(const struct content_upload *upload, struct provenance *where,
                               struct fingerprint *print);

/* The same for a piece that was uploaded before, in the order of the calling thread. */
enum match_answer content_find_piece(const struct piece *piece, unsigned device,
                                     struct provenance *where);

/* Is a piece what lies around it suggests? returns 1 and *where, else 0 */
int content_verify_piece(const struct piece *piece, const struct object_expected *expected,
                         size_t count, struct provenance *where);

/* Bytes got their name, by whatever evidence: the calling thread's order goes on from there. */
void content_bound(const struct provenance *where, unsigned device);

/* A piece of the calling thread whose content fits several parameters was put at dst. */
void content_wait(CUdeviceptr dst, const struct fingerprint *print);

/* After content_bound(): the latest of the waiting pieces that the order tells now, going back.
 *
 * returns  1 with the piece's address, its fingerprint and its place; 0 when there is none: then
 *          none waits any more
 */
int content_settle(CUdeviceptr *dst, struct fingerprint *print, struct provenance *where);

/* Have checkpoints come to be known since the last call? Then pieces are worth another look. */
int content_has_grown(void);

#endif
