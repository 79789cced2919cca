#include "hooks.h"

#include <stdlib.h>
#include <string.h>

#define X(name, symbol, since, null_stream, params)                                                \
    {#name, #symbol, since, NULL_STREAM_##null_stream, EXPORT_##symbol},
const struct hook_row g_hook_rows[HOOK_COUNT] = {HOOKS(X)};
#undef X

#define X(name) #name,
const char *const g_export_names[EXPORT_COUNT] = {DRIVER_EXPORTS(X)};
#undef X

/* One more than the hook of each export, so that 0 says that it has none. */
#define X(name, symbol, since, null_stream, params) [EXPORT_##symbol] = HOOK_##symbol + 1,
static const unsigned short g_hook_of_export[EXPORT_COUNT] = {HOOKS(X)};
#undef X

static int item_compare(const void *left, const void *right)
{
    const struct hook_index_item *a = left;
    const struct hook_index_item *b = right;

    if (a->address != b->address)
        return a->address < b->address ? -1 : 1;
    return (int)a->id - (int)b->id;
}

void hook_index_build(struct hook_index *index, void *const real[EXPORT_COUNT])
{
    index->count = 0;
    for (int id = 0; id < EXPORT_COUNT; id++) {
        if (!real[id])
            continue;
        index->items[index->count].address = (uintptr_t)real[id];
        index->items[index->count].id = (enum export_id)id;
        index->count++;
    }
    qsort(index->items, index->count, sizeof(index->items[0]), item_compare);
}

/* The first item whose address is not below the one sought. */
static unsigned int index_lower_bound(const struct hook_index *index, uintptr_t address)
{
    unsigned int first = 0;
    unsigned int end = index->count;

    while (first < end) {
        unsigned int middle = first + (end - first) / 2;

        if (index->items[middle].address < address)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

/* How well a row answers a look-up of its name: the flags weigh more than the version, since
 * another stream is another function while a version asked for may lie anywhere above the row's
 * own. */
static int row_rank(const struct hook_row *row, int version, cuuint64_t flags)
{
    int per_thread = (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) != 0;
    int rank = row->since <= version ? row->since : -row->since;

    if (row->null_stream != NULL_STREAM_NONE &&
        per_thread == (row->null_stream == NULL_STREAM_PER_THREAD))
        rank += 1000000;
    return rank;
}

int hook_index_find(const struct hook_index *index, const void *address, const char *name,
                    int version, cuuint64_t flags)
{
    unsigned int first = index_lower_bound(index, (uintptr_t)address);
    unsigned int end = first;
    int best = HOOK_NONE;
    int best_rank = 0;

    while (end < index->count && index->items[end].address == (uintptr_t)address) {
        int hook = (int)g_hook_of_export[index->items[end].id] - 1;

        end++;
        if (hook < 0 || strcmp(g_hook_rows[hook].name, name) != 0)
            continue;
        if (best == HOOK_NONE || row_rank(&g_hook_rows[hook], version, flags) > best_rank) {
            best = hook;
            best_rank = row_rank(&g_hook_rows[hook], version, flags);
        }
    }
    if (end == first)
        return HOOK_UNKNOWN;
    /* Asked for under a name of its own, but the address says beyond doubt which function it is. */
    if (best == HOOK_NONE && end - first == 1)
        return (int)g_hook_of_export[index->items[first].id] - 1;
    return best;
}
