#include "upload.h"
#include "object.h"
#include "provenance.h"
#include "stats.h"

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

/* Define [dst, dst + bytes), whose bytes stand at offset in a checkpoint's file: one object for
 * each tensor that they belong to; padding and headers between tensors are nobody's. The lock is
 * held. */
static void define_named(struct allocation *a, CUdeviceptr dst, const struct provenance *from,
                         size_t bytes)
{
    const struct checkpoint *c = from->checkpoint;
    uint64_t offset = from->offset, end = from->offset + bytes;

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
                      offset - t->offset, STATS_EVIDENCE_FILE);
        offset = stop;
    }
}

void upload_record(CUdeviceptr dst, const void *source, size_t bytes)
{
    const char *from = source;

    stats_add(upload_bytes, bytes);
    while (bytes) {
        struct provenance where;
        int named = provenance_find(from, bytes, &where);
        size_t piece = where.bytes;
        struct allocation *a;

        range_write_lock();
        a = range_allocation_at(dst);
        if (a && piece > a->base + a->bytes - dst)
            piece = a->base + a->bytes - dst;
        if (a && named)
            define_named(a, dst, &where, piece);
        else if (a)
            object_define(a, dst, dst + piece, NULL, 0, STATS_EVIDENCE_NONE);
        range_unlock();
        if (!a)
            return;
        dst += piece;
        from += piece;
        bytes -= piece;
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
        at = a->base + a->bytes;
    }
    range_unlock();
}
