#include "upload.h"
#include "content.h"
#include "object.h"
#include "piece.h"
#include "provenance.h"
#include "stats.h"
#include <stdlib.h>

/* Where the next tensor of the file begins behind offset; UINT64_MAX when there is none. */
static uint64_t next_tensor(const struct checkpoint *c, size_t file, uint64_t offset)
{
    size_t low = 0, high = c->located_count;
    const struct tensor *t;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        t = &c->tensors[checkpoint_by_location(c, middle)];
        if (t->file > file || (t->file == file && t->offset > offset))
            high = middle;
        else
            low = middle + 1;
    }
    if (low == c->located_count)
        return UINT64_MAX;
    t = &c->tensors[checkpoint_by_location(c, low)];
    return t->file == file ? t->offset : UINT64_MAX;
}

/* Define [dst, dst + from->bytes), whose bytes stand in a checkpoint's file: one object for
 * each tensor that they belong to; padding and headers between tensors are nobody's. The lock is
 * held. */
static void define_named(struct allocation *a, CUdeviceptr dst, const struct provenance *from,
                         enum stats_evidence evidence)
{
    const struct checkpoint *c = from->checkpoint;
    uint64_t offset = from->offset, end = from->offset + from->bytes;

    while (offset < end) {
        size_t index = checkpoint_find_offset(c, from->file, offset);
        const struct tensor *t;
        uint64_t stop;

        if (index == CHECKPOINT_NONE) {
            stop = next_tensor(c, from->file, offset);
            stop = stop < end ? stop : end;
            object_erase(a, dst + (offset - from->offset), dst + (stop - from->offset));
            offset = stop;
            continue;
        }
        t = &c->tensors[index];
        stop = t->offset + t->bytes < end ? t->offset + t->bytes : end;
        object_define(a, dst + (offset - from->offset), dst + (stop - from->offset), t,
                      offset - t->offset, evidence);
        offset = stop;
    }
}

/* What lies where an upload goes: bytes that have a name, or none, and nothing that may get one. */
struct target {
    int is_settled;
    const struct tensor *tensor; /* NULL: nameless */
    uint64_t tensor_offset;
};

static struct target target_at(const struct allocation *a, CUdeviceptr first, CUdeviceptr end)
{
    const struct object *o = piece_is_in(a, first, end) ? NULL : object_settled(a, first, end);

    if (!o)
        return (struct target){.is_settled = 0};
    return (struct target){1, o->tensor, o->tensor_offset + (first - o->first)};
}

/* Is a place what the target is called after already? */
static int is_called(const struct target *target, const struct provenance *where)
{
    const struct checkpoint *c = where->checkpoint;
    const struct tensor *t = target->tensor;

    return target->is_settled && t && t >= c->tensors && t < c->tensors + c->tensor_count &&
           t->file == where->file && t->offset + target->tensor_offset == where->offset;
}

/* What is known of an upload's target. returns 0 where it is in no allocation */
static int look_at_target(CUdeviceptr dst, size_t bytes, struct content_upload *out,
                          struct target *target)
{
    const struct allocation *a;

    range_read_lock();
    a = range_allocation_at(dst);
    if (a) {
        out->dst = dst;
        out->bytes = bytes < a->base + a->bytes - dst ? bytes : (size_t)(a->base + a->bytes - dst);
        out->device = (unsigned)a->device;
        out->expected_count = object_expect(a, dst, out->expected);
        *target = target_at(a, dst, dst + out->bytes);
        out->fresh = !target->is_settled && !object_is_at(a, dst);
    }
    range_unlock();
    return a != NULL;
}

/* Give [dst, dst + where->bytes) its names. */
static void define(CUdeviceptr dst, const struct provenance *where, enum stats_evidence evidence)
{
    struct allocation *a;

    range_write_lock();
    a = range_allocation_at(dst);
    if (a && where->bytes <= a->base + a->bytes - dst) {
        piece_erase(a, dst, dst + where->bytes);
        define_named(a, dst, where, evidence);
    }
    range_unlock();
}

/* The same for a piece, unless something else has been put there since. returns 1 where it was
 * done */
static int define_piece(const struct piece *piece, const struct provenance *where)
{
    struct allocation *a;
    struct piece *same;

    range_write_lock();
    a = range_allocation_at(piece->first);
    same = a ? piece_same(a, piece) : NULL;
    if (same && where) {
        piece_erase(a, piece->first, piece->first + piece->print.bytes);
        define_named(a, piece->first, where, STATS_EVIDENCE_CONTENT);
    } else if (same) {
        same->flags |= PIECE_TRIED;
    }
    range_unlock();
    return same && where;
}

/* The piece fits several parameters, of which one begins where says. */
static void mark_like(struct piece *piece, const struct provenance *where)
{
    const struct checkpoint *c = where->checkpoint;
    size_t i = checkpoint_find_offset(c, where->file, where->offset);
    const struct tensor *like = i == CHECKPOINT_NONE ? NULL : &c->tensors[i];

    piece_mark_several(piece, like, like ? where->offset - like->offset : 0);
}

/* The piece at `at` and the one beside it, of which one is known to fit several parameters and the
 * other is not: what the other is then. inwards: it is the one at `at`. returns 0 when there are no
 * such two */
static int find_doubt(CUdeviceptr at, int after, int inwards, struct piece *other,
                      struct object_expected *expected)
{
    const struct piece *here, *beside = NULL, *known = NULL;
    struct allocation *a;

    expected->tensor = NULL;
    range_read_lock();
    a = range_allocation_at(at);
    here = a ? piece_at(a, at) : NULL;
    if (here)
        beside = piece_beside(a, here, after);
    if (beside) {
        known = inwards ? beside : here;
        *other = inwards ? *here : *beside;
        if (!(other->flags & PIECE_SEVERAL))
            expected->tensor = known->like;
        expected->distance = known->like_offset + other->first - known->first;
    }
    range_unlock();
    return expected->tensor && expected->distance <= expected->tensor->bytes &&
           other->print.bytes <= expected->tensor->bytes - expected->distance;
}

/* Is it that? Then it is in doubt as well. returns 1, with *at moved on to it, or 0 */
static int doubt_beside(CUdeviceptr *at, int after, int inwards)
{
    struct object_expected expected;
    struct provenance where;
    struct allocation *a;
    struct piece other, *same;

    if (!find_doubt(*at, after, inwards, &other, &expected) ||
        !content_verify_piece(&other, &expected, 1, &where))
        return 0;
    range_write_lock();
    a = range_allocation_at(other.first);
    same = a ? piece_same(a, &other) : NULL;
    if (same)
        piece_mark_several(same, expected.tensor, expected.distance);
    range_unlock();
    *at = other.first;
    return same != NULL;
}

/* A piece came to be at addr, or to be in doubt: what goes on with it on both sides is so, too. */
static void spread_doubt(CUdeviceptr addr)
{
    CUdeviceptr at = addr;

    if (!doubt_beside(&at, 0, 1))
        doubt_beside(&at, 1, 1);
    for (int after = 0; after < 2; after++)
        for (at = addr; doubt_beside(&at, after, 0);)
            ;
}

static void define_nameless(const struct content_upload *upload, const struct provenance *where,
                            enum match_answer answer, const struct fingerprint *print)
{
    size_t bytes = where->bytes;
    struct piece *piece;
    struct allocation *a;

    range_write_lock();
    a = range_allocation_at(upload->dst);
    if (a && bytes <= a->base + a->bytes - upload->dst) {
        if (bytes < upload->bytes) /* alignment between two tensors of one upload */
            object_erase(a, upload->dst, upload->dst + bytes);
        else
            object_define(a, upload->dst, upload->dst + bytes, NULL, 0, STATS_EVIDENCE_NONE);
        piece = print->bytes ? piece_add(a, upload->dst, print) : NULL;
        if (!piece)
            piece_erase(a, upload->dst, upload->dst + bytes);
        else if (answer == MATCH_SEVERAL)
            mark_like(piece, where);
    }
    range_unlock();
    if (answer == MATCH_SEVERAL && print->bytes)
        content_wait(upload->dst, print);
    if (print->bytes)
        spread_doubt(upload->dst);
}

/* Pieces ----------------------------------------------------------------------------------------*/

/* The addresses that the tensors of [first, end) take when all of them is there, and a piece in or
 * next to them that has not been tried. returns 0 when there is none */
static int find_piece_around(CUdeviceptr first, CUdeviceptr end, struct piece *out,
                             struct object_expected *expected, size_t *expected_count)
{
    struct allocation *a;
    const struct piece *p = NULL;

    range_read_lock();
    a = range_allocation_at(first);
    if (a && a->pieces) {
        object_tensor_span(a, &first, &end);
        p = piece_around(a, first, end);
    }
    if (p) {
        *out = *p;
        *expected_count = object_expect(a, p->first, expected);
    }
    range_unlock();
    return p != NULL;
}

/* [first, end) has got names: so may pieces that lie where the same tensors would be. */
static void settle_by_place(CUdeviceptr first, CUdeviceptr end)
{
    struct object_expected expected[OBJECT_EXPECTED_MAX];
    struct provenance where;
    struct piece piece;
    size_t count;

    while (find_piece_around(first, end, &piece, expected, &count)) {
        int found = content_verify_piece(&piece, expected, count, &where);

        if (!define_piece(&piece, found ? &where : NULL))
            continue;
        if (piece.first < first)
            first = piece.first;
        if (piece.first + piece.print.bytes > end)
            end = piece.first + piece.print.bytes;
    }
}

/* What was bound last tells, by the order of uploads, what came before it. */
static void settle_by_order(void)
{
    struct provenance where;
    struct fingerprint print;
    CUdeviceptr dst;

    while (content_settle(&dst, &print, &where)) {
        struct allocation *a;

        range_write_lock();
        a = range_allocation_at(dst);
        if (a && piece_is_at(a, dst, &print)) {
            piece_erase(a, dst, dst + print.bytes);
            define_named(a, dst, &where, STATS_EVIDENCE_CONTENT);
        }
        range_unlock();
    }
}

/* Bytes have got their name, or have it still. */
static void settle(CUdeviceptr dst, const struct provenance *where, unsigned device, int is_new)
{
    content_bound(where, device);
    settle_by_order();
    if (is_new)
        settle_by_place(dst, dst + where->bytes);
}

static int by_number(const void *left, const void *right)
{
    uint64_t a = ((const struct piece *)left)->number, b = ((const struct piece *)right)->number;

    return a < b ? -1 : a > b;
}

/* All pieces, in the order in which they were uploaded. returns NULL when there are none, or out of
 * memory */
static struct piece *copy_pieces(size_t *count)
{
    struct piece *pieces;
    CUdeviceptr at = 0;
    size_t room;

    *count = 0;
    range_read_lock();
    room = piece_count();
    pieces = room ? calloc(room, sizeof(*pieces)) : NULL;
    while (pieces) {
        const struct allocation *a = range_allocation_after(at);

        if (!a)
            break;
        for (size_t i = 0; a->pieces && i < a->pieces->count; i++)
            pieces[(*count)++] = a->pieces->pieces[i];
        at = a->base + a->bytes;
    }
    range_unlock();
    if (pieces)
        qsort(pieces, *count, sizeof(*pieces), by_number);
    return pieces;
}

/* A checkpoint has come that the piece fits, but not alone. returns 0 when the piece has gone */
static int mark_several(const struct piece *piece, const struct provenance *where)
{
    struct allocation *a;
    struct piece *same;

    range_write_lock();
    a = range_allocation_at(piece->first);
    same = a ? piece_same(a, piece) : NULL;
    if (same)
        mark_like(same, where);
    range_unlock();
    if (same)
        spread_doubt(piece->first);
    return same != NULL;
}

/* There is another checkpoint: it may explain what was uploaded before it was known. */
static void look_again(void)
{
    size_t count;
    struct piece *pieces = copy_pieces(&count);

    for (size_t i = 0; i < count; i++) {
        enum match_answer answer = MATCH_NONE;
        struct range_view view;
        struct provenance where;

        if (range_find(pieces[i].first, &view))
            answer = content_find_piece(&pieces[i], (unsigned)view.device, &where);
        if (answer == MATCH_FOUND && define_piece(&pieces[i], &where))
            settle(pieces[i].first, &where, (unsigned)view.device, 1);
        else if (answer == MATCH_SEVERAL && mark_several(&pieces[i], &where))
            content_wait(pieces[i].first, &pieces[i].print);
    }
    free(pieces);
}

/* May the bytes be looked at? Not in paged memory: a look would move pages. */
static int is_readable(const struct provenance *where, const void *source)
{
    uint64_t first, end, addr = (uint64_t)(uintptr_t)source;

    range_bounds(&first, &end);
    return where->readable && (addr < first || addr >= end);
}

void upload_record(CUdeviceptr dst, const void *source, size_t bytes)
{
    struct content_upload rest = {.source = source};
    struct target target;

    stats_add(upload_bytes, bytes);
    while (bytes && look_at_target(dst, bytes, &rest, &target)) {
        enum stats_evidence evidence = STATS_EVIDENCE_FILE;
        struct fingerprint print = {0};
        struct provenance where;
        enum match_answer answer =
            provenance_find(rest.source, rest.bytes, &where) ? MATCH_FOUND : MATCH_NONE;

        rest.bytes = where.bytes;
        if (answer != MATCH_FOUND && is_readable(&where, rest.source)) {
            answer = content_find(&rest, &where, &print);
            evidence = STATS_EVIDENCE_CONTENT;
            if (content_has_grown())
                look_again();
        }
        /* What comes to where it came before, as inputs do, takes no lock of all. */
        if (answer == MATCH_FOUND) {
            int is_new = !is_called(&target, &where);

            if (is_new)
                define(dst, &where, evidence);
            settle(dst, &where, rest.device, is_new);
        } else if (!target.is_settled || target.tensor || print.bytes || where.bytes < rest.bytes) {
            define_nameless(&rest, &where, answer, &print);
        }
        rest.within = answer == MATCH_FOUND || where.bytes < rest.bytes;
        rest.source = (const char *)rest.source + where.bytes;
        dst += where.bytes;
        bytes -= where.bytes;
    }
}

void upload_mark_written(CUdeviceptr dst, size_t bytes)
{
    CUdeviceptr at = dst;

    range_write_lock();
    while (at < dst + bytes) {
        struct allocation *a = range_allocation_after(at);

        if (!a || a->base >= dst + bytes)
            break;
        object_mark_written(a, dst, dst + bytes);
        piece_erase(a, dst, dst + bytes);
        at = a->base + a->bytes;
    }
    range_unlock();
}
