/* history.c - what launches touched until a step is known, and the search for a step in it. */
#include "history.h"
#include "pager.h"
#include <stdlib.h>

#define LAUNCHES_MAX    ((size_t)1 << 16)
#define EXTENTS_MAX     ((size_t)1 << 20)
#define FIRST_TRY       16
#define STEADY_TURNS    8   /* of a step that fits as it is, before that is the plan; */
#define STEADY_LAUNCHES 256 /* and so many launches: it may be a loop within a step */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash ^= value + 0x9e3779b97f4a7c15ull + (hash << 6) + (hash >> 2);
    return hash * 0xff51afd7ed558ccdull;
}

/* Room for at least want elements. returns the array, which may have moved; NULL: it stays as it is
 */
static void *grow(void *array, size_t *room, size_t want, size_t element_bytes)
{
    size_t more = *room ? *room : 256;
    void *grown;

    while (more < want)
        more *= 2;
    grown = realloc(array, more * element_bytes);
    if (grown)
        *room = more;
    return grown;
}

static int reserve_history(struct history *h, size_t count)
{
    size_t used = h->launches ? h->first[h->launches] : 0;

    if (h->launches + 2 > h->launch_room) {
        size_t room = h->launch_room;
        uint64_t *signature = grow(h->signature, &room, h->launches + 2, sizeof(*signature));
        uint32_t *first;

        if (!signature)
            return -1;
        h->signature = signature;
        room = h->launch_room;
        first = grow(h->first, &room, h->launches + 2, sizeof(*first));
        if (!first)
            return -1;
        h->first = first;
        h->launch_room = room;
    }
    if (used + count > h->extent_room) {
        uint32_t *extent = grow(h->extent, &h->extent_room, used + count, sizeof(*extent));

        if (!extent)
            return -1;
        h->extent = extent;
    }
    return 0;
}

void history_begin(struct history *h)
{
    h->launches = 0;
    h->begun++;
    h->next_try = FIRST_TRY;
}

void history_record(struct history *h, struct extent *const *set, size_t count)
{
    uint64_t signature = count;
    uint32_t at;

    if (h->launches >= LAUNCHES_MAX ||
        (h->launches && h->first[h->launches] + count > EXTENTS_MAX)) {
        history_begin(h); /* no step so far: what comes now matters more than what was */
    }
    if (reserve_history(h, count))
        return;
    if (!h->launches)
        h->first[0] = 0;
    at = h->first[h->launches];
    for (size_t i = 0; i < count; i++) {
        h->extent[at++] = set[i]->id;
        signature = mix(signature, set[i]->id);
    }
    h->signature[h->launches++] = signature;
    h->first[h->launches] = at;
}

int history_is_due(const struct history *h)
{
    return h->launches >= h->next_try && h->launches > 0;
}

void history_note_try(struct history *h)
{
    h->next_try = h->launches + (h->launches / 8 > FIRST_TRY ? h->launches / 8 : FIRST_TRY);
}

/* Has nothing but the step at the end of the history been going on for a while? */
static int is_steady(const struct history *h, size_t length)
{
    size_t stretch =
        STEADY_TURNS * length > STEADY_LAUNCHES ? STEADY_TURNS * length : STEADY_LAUNCHES;

    if (stretch > h->launches)
        return 0;
    for (size_t i = h->launches - stretch; i + length < h->launches; i++)
        if (h->signature[i] != h->signature[i + length])
            return 0;
    return 1;
}

int history_find_step(const struct history *h, struct history_step *out)
{
    size_t length = schedule_find_step(h->signature, h->launches);

    out->first = h->launches - length;
    out->launches = length;
    out->before = out->first - length;
    out->steady = length && is_steady(h, length);
    return length != 0;
}

/* The weights that a recorded launch touches, as one number; 0: none. */
static uint64_t weights_of(const struct history *h, struct extent *const *table, size_t launch)
{
    uint64_t signature = 0;

    for (uint32_t i = h->first[launch]; i < h->first[launch + 1]; i++)
        if (extent_is_weights(table[h->extent[i]]))
            signature = mix(signature, h->extent[i]);
    return signature;
}

/* Launches in a row that touch the same weights, others that touch none among them. */
struct row {
    uint64_t weights;
    uint32_t launches;
    uint32_t last;
};

/* returns how many rows there are; the last one perhaps goes on */
static size_t find_rows(const struct history *h, struct extent *const *table, struct row *rows)
{
    size_t count = 0;

    for (size_t i = 0; i < h->launches; i++) {
        uint64_t weights = weights_of(h, table, i);

        if (!weights)
            continue;
        if (!count || rows[count - 1].weights != weights)
            rows[count++] = (struct row){.weights = weights};
        rows[count - 1].launches++;
        rows[count - 1].last = (uint32_t)i;
    }
    return count;
}

int history_find_step_by_weights(const struct history *h, struct extent *const *table,
                                 struct history_step *out)
{
    struct row *rows = malloc((h->launches + 1) * sizeof(*rows)), *open;
    uint64_t *signature = malloc((h->launches + 1) * sizeof(*signature));
    size_t count = rows && signature ? find_rows(h, table, rows) : 0, length = 0;

    if (count > 1) {
        open = &rows[--count];
        for (size_t i = 0; i < count; i++)
            signature[i] = mix(rows[i].weights, rows[i].launches);
        length = schedule_find_step(signature, count);
        if (length && (open->weights != rows[count - length].weights ||
                       open->launches > rows[count - length].launches))
            length = 0;
    }
    if (length) {
        out->first = rows[count - length - 1].last + 1;
        out->launches = rows[count - 1].last + 1 - out->first;
        out->before = count > 2 * length ? rows[count - 2 * length - 1].last + 1 : 0;
        out->steady = 0;
    }
    free(signature);
    free(rows);
    return length != 0;
}

uint64_t history_bytes(const struct history *h, struct extent *const *table,
                       const struct history_step *step, uint64_t *turn)
{
    uint64_t bytes = 0;

    ++*turn;
    for (uint32_t i = h->first[step->first]; i < h->first[step->first + step->launches]; i++) {
        struct extent *e = table[h->extent[i]];

        bytes += e->turn == *turn ? 0 : e->bytes;
        e->turn = *turn;
    }
    return bytes;
}

uint64_t history_take_step_by_weights(struct history *h, struct extent *const *table,
                                      const struct history_step *step, uint64_t *turn)
{
    size_t end = step->first + step->launches;
    uint32_t at = h->first[step->first], from = at;
    uint64_t before = ++*turn, taken_out = ++*turn, bytes = 0;

    for (uint32_t i = h->first[step->before]; i < at; i++)
        table[h->extent[i]]->turn = before;
    for (size_t l = step->first; l < end; l++) {
        uint32_t to = h->first[l + 1];

        for (; from < to; from++) {
            struct extent *e = table[h->extent[from]];

            if (extent_is_weights(e) || e->turn == before) {
                h->extent[at++] = e->id;
                continue;
            }
            bytes += e->turn == taken_out ? 0 : e->bytes;
            e->turn = taken_out;
        }
        h->first[l + 1] = at;
    }
    h->launches = end;
    return bytes;
}
