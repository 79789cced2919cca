#include "match_ahead.h"

#define SKIPPED_MAX 4u /* runs that the next one is looked for among */
#define STRAYED_MAX 8u /* chunks of others before one of them is followed instead */

static int is_same(const struct match_place *a, const struct match_place *b)
{
    return a->checkpoint == b->checkpoint && a->file == b->file && a->offset == b->offset &&
           a->bytes == b->bytes;
}

/* The run at [*rank, *distance), or behind it where a tensor is to be left out. They are moved past
 * it. returns 0 at the end of all files */
static int step(const struct match_entries *all, uint64_t chunk_bytes, size_t *rank,
                uint64_t *distance, struct match_place *out)
{
    for (; *rank < all->count; ++*rank, *distance = 0) {
        const struct match_entry *e = &all->entries[*rank];
        const struct tensor *t = e->tensor;

        if (e->flags & MATCH_ENTRY_UNREADABLE || t->bytes <= chunk_bytes || *distance >= t->bytes)
            continue;
        *out = (struct match_place){e->checkpoint, t->file, t->offset + *distance, chunk_bytes};
        if (out->bytes > t->bytes - *distance)
            out->bytes = t->bytes - *distance;
        *distance += out->bytes;
        return 1;
    }
    return 0;
}

/* The number of the run that begins at an offset; end where it is not among the next. */
static size_t find(const struct match_ahead *a, const struct checkpoint *checkpoint, size_t file,
                   uint64_t offset)
{
    for (size_t i = a->next; i < a->end && i < a->next + SKIPPED_MAX; i++) {
        const struct match_place *p = &a->runs[i % MATCH_AHEAD_RUNS].place;

        if (p->offset == offset && p->checkpoint == checkpoint && p->file == file)
            return i;
    }
    return a->end;
}

const struct fingerprint *match_ahead_find(const struct match_ahead *a,
                                           const struct checkpoint *checkpoint, size_t file,
                                           uint64_t offset)
{
    size_t i = find(a, checkpoint, file, offset);

    return i < a->end ? &a->runs[i % MATCH_AHEAD_RUNS].print : NULL;
}

void match_ahead_follow(struct match_ahead *a, const struct match_entries *all, size_t rank,
                        const struct match_place *place, int goes_on)
{
    size_t i = find(a, place->checkpoint, place->file, place->offset);

    if (i < a->end && a->runs[i % MATCH_AHEAD_RUNS].place.bytes == place->bytes) {
        a->next = i + 1;
        a->strayed = 0;
        return;
    }
    if (!goes_on || (a->next < a->end && ++a->strayed < STRAYED_MAX))
        return;
    a->next = a->end = 0;
    a->strayed = 0;
    a->chunk_bytes = place->bytes;
    a->rank = rank;
    a->distance = place->offset + place->bytes - all->entries[rank].tensor->offset;
}

int match_ahead_wants(const struct match_ahead *a, const struct match_entries *all)
{
    return a->chunk_bytes && a->rank < all->count && a->end - a->next <= MATCH_AHEAD_RUNS / 2;
}

size_t match_ahead_plan(struct match_ahead *a, const struct match_entries *all,
                        struct match_place *out, size_t room)
{
    size_t free = MATCH_AHEAD_RUNS - (a->end - a->next), count = 0, rank = a->rank;
    uint64_t distance = a->distance;

    if (!a->chunk_bytes)
        return 0;
    while (count < room && count < free && step(all, a->chunk_bytes, &rank, &distance, &out[count]))
        count++;
    if (!count && free) { /* there are no more, until a checkpoint is added */
        a->rank = all->count;
        a->distance = 0;
    }
    return count;
}

void match_ahead_put(struct match_ahead *a, const struct match_entries *all,
                     const struct match_run *runs, size_t count)
{
    for (size_t i = 0; i < count && a->end - a->next < MATCH_AHEAD_RUNS; i++) {
        uint64_t distance = a->distance;
        size_t rank = a->rank;
        struct match_place place;

        if (!a->chunk_bytes || !step(all, a->chunk_bytes, &rank, &distance, &place) ||
            !is_same(&place, &runs[i].place))
            return;
        a->runs[a->end++ % MATCH_AHEAD_RUNS] = runs[i];
        a->rank = rank;
        a->distance = distance;
    }
}
