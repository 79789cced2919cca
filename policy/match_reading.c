#include "match.h"
#include "match_index.h"

int match_next_unread(const struct match_index *index, size_t *rank, struct match_place *out)
{
    const struct match_entry *e;

    while (*rank < index->entry_count &&
           index->entries[*rank].flags & (MATCH_ENTRY_PRINT_READ | MATCH_ENTRY_UNREADABLE))
        ++*rank;
    if (*rank == index->entry_count)
        return 0;
    e = &index->entries[*rank];
    *out =
        (struct match_place){e->checkpoint, e->tensor->file, e->tensor->offset, e->tensor->bytes};
    return 1;
}

void match_put_print(struct match_index *index, size_t rank, const struct fingerprint *print)
{
    struct match_entry *e = &index->entries[rank];

    e->print = *print;
    e->flags |= MATCH_ENTRY_BEGUN | MATCH_ENTRY_PRINT_READ;
}

size_t match_next_runs(struct match_index *index, struct match_place *out, size_t room)
{
    struct match_entries all = {index->entries, index->entry_count};

    return match_ahead_plan(&index->ahead, &all, out, room);
}

void match_put_runs(struct match_index *index, const struct match_run *runs, size_t count)
{
    struct match_entries all = {index->entries, index->entry_count};

    match_ahead_put(&index->ahead, &all, runs, count);
}

int match_wants_runs(const struct match_index *index)
{
    struct match_entries all = {index->entries, index->entry_count};

    return match_ahead_wants(&index->ahead, &all);
}
