#include "piece.h"
#include "stats.h"
#include <stdlib.h>
#include <string.h>

#define PIECES_MAX     1024u  /* of one allocation */
#define ALL_PIECES_MAX 65536u /* of all: 5 MiB */

static size_t g_count;    /* g_range_lock */
static uint64_t g_number; /* g_range_lock */

static CUdeviceptr end_of(const struct piece *p)
{
    return p->first + p->print.bytes;
}

/* The index of the first piece that ends after addr. */
static size_t pieces_after(const struct piece_list *list, CUdeviceptr addr)
{
    size_t low = 0, high = list->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (end_of(&list->pieces[middle]) > addr)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void count_several(const struct piece *p, int sign)
{
    if (p->flags & PIECE_SEVERAL)
        stats_add(weights_ambiguous_bytes, sign < 0 ? -p->print.bytes : p->print.bytes);
}

/* Of all allocations, so that what is remembered stays small. */
static struct piece_list *list_with_room(struct allocation *a)
{
    struct piece_list *list = a->pieces;
    struct piece *grown;

    if (g_count >= ALL_PIECES_MAX || (list && list->count >= PIECES_MAX))
        return NULL;
    if (!list)
        list = a->pieces = calloc(1, sizeof(*list));
    if (!list || list->count < list->room)
        return list;
    grown = reallocarray(list->pieces, list->room ? 2 * list->room : 4, sizeof(*grown));
    if (!grown)
        return NULL;
    list->pieces = grown;
    list->room = list->room ? 2 * list->room : 4;
    return list;
}

struct piece *piece_add(struct allocation *a, CUdeviceptr first, const struct fingerprint *print)
{
    struct piece_list *list;
    struct piece *p;
    size_t at;

    piece_erase(a, first, first + print->bytes);
    list = list_with_room(a);
    if (!list)
        return NULL;
    at = pieces_after(list, first);
    p = &list->pieces[at];
    memmove(p + 1, p, (list->count - at) * sizeof(*p));
    *p = (struct piece){.first = first, .print = *print, .number = g_number++};
    list->count++;
    g_count++;
    return p;
}

void piece_erase(struct allocation *a, CUdeviceptr first, CUdeviceptr end)
{
    struct piece_list *list = a->pieces;
    size_t at, stop;

    if (!list)
        return;
    at = stop = pieces_after(list, first);
    for (; stop < list->count && list->pieces[stop].first < end; stop++)
        count_several(&list->pieces[stop], -1);
    memmove(&list->pieces[at], &list->pieces[stop], (list->count - stop) * sizeof(*list->pieces));
    list->count -= stop - at;
    g_count -= stop - at;
    if (!list->count)
        piece_clear(a);
}

int piece_is_in(const struct allocation *a, CUdeviceptr first, CUdeviceptr end)
{
    const struct piece_list *list = a->pieces;
    size_t i = list ? pieces_after(list, first) : 0;

    return list && i < list->count && list->pieces[i].first < end;
}

struct piece *piece_around(struct allocation *a, CUdeviceptr first, CUdeviceptr end)
{
    struct piece_list *list = a->pieces;
    size_t i = list ? pieces_after(list, first ? first - 1 : 0) : 0;

    for (; list && i < list->count && list->pieces[i].first <= end; i++)
        if (!(list->pieces[i].flags & PIECE_TRIED))
            return &list->pieces[i];
    return NULL;
}

struct piece *piece_same(struct allocation *a, const struct piece *copy)
{
    struct piece_list *list = a->pieces;
    size_t i = list ? pieces_after(list, copy->first) : 0;

    if (!list || i >= list->count || list->pieces[i].number != copy->number)
        return NULL;
    return &list->pieces[i];
}

void piece_mark_several(struct piece *piece, const struct tensor *tensor, uint64_t offset)
{
    count_several(piece, -1);
    piece->flags |= PIECE_SEVERAL;
    piece->like = tensor;
    piece->like_offset = offset;
    count_several(piece, 1);
}

const struct piece *piece_at(const struct allocation *a, CUdeviceptr first)
{
    const struct piece_list *list = a->pieces;
    size_t i = list ? pieces_after(list, first) : 0;

    return list && i < list->count && list->pieces[i].first == first ? &list->pieces[i] : NULL;
}

const struct piece *piece_beside(const struct allocation *a, const struct piece *piece, int after)
{
    const struct piece_list *list = a->pieces;
    size_t i = (size_t)(piece - list->pieces);

    if (after)
        return i + 1 < list->count && piece[1].first == end_of(piece) ? piece + 1 : NULL;
    return i > 0 && end_of(piece - 1) == piece->first ? piece - 1 : NULL;
}

int piece_is_at(const struct allocation *a, CUdeviceptr first, const struct fingerprint *print)
{
    const struct piece *piece = piece_at(a, first);

    return piece && fingerprint_equal(&piece->print, print);
}

void piece_clear(struct allocation *a)
{
    struct piece_list *list = a->pieces;

    struct stats_header *header = stats();

    if (!list)
        return;
    if (list->count)
        stats_peak(&header->weights_peak_ambiguous_bytes, header->weights_ambiguous_bytes);
    for (size_t i = 0; i < list->count; i++)
        count_several(&list->pieces[i], -1);
    g_count -= list->count;
    free(list->pieces);
    free(list);
    a->pieces = NULL;
}

size_t piece_count(void)
{
    return g_count;
}
