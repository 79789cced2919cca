#include "match.h"
#include "match_index.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RUN_LEAST      256u        /* a run that may be the beginning of something longer */
#define PART_LEAST     (64u << 10) /* a run that may be an equal part of a tensor */
#define PARTS_MAX      16u         /* equal parts of a tensor, as they go to several devices */
#define PART_READS_MAX 4096u       /* for one size of parts */
#define CANDIDATES_MAX 64u         /* with one beginning, looked at more closely */

enum key_kind { KEY_WHOLE, KEY_RUN, KEY_PART };

/* What the candidates of a run come to. */
struct verdict {
    size_t count, unbound_count;
    struct match_place first, unbound;
    const struct tensor *first_tensor, *unbound_tensor;
};

/* The index ------------------------------------------------------------------------------------ */

struct match_index *match_index_new(match_read_fn *read, void *arg)
{
    struct match_index *index = calloc(1, sizeof(*index));

    if (index) {
        index->reader.read = read;
        index->reader.arg = arg;
    }
    return index;
}

void match_index_free(struct match_index *index)
{
    if (!index)
        return;
    match_table_free(&index->sizes);
    match_table_free(&index->heads);
    free(index->sources);
    free(index->entries);
    free(index);
}

static int same_range(const struct tensor *a, const struct tensor *b)
{
    return a->file == b->file && a->offset == b->offset && a->bytes == b->bytes;
}

static int add_entry(struct match_index *index, const struct checkpoint *checkpoint,
                     const struct tensor *tensor)
{
    if (index->entry_count == index->entry_room) {
        size_t room = index->entry_room ? 2 * index->entry_room : 64;
        struct match_entry *grown = reallocarray(index->entries, room, sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        index->entries = grown;
        index->entry_room = room;
    }
    if (match_table_add(&index->sizes, tensor->bytes, (uint32_t)index->entry_count, 0))
        return -ENOMEM;
    index->entries[index->entry_count++] =
        (struct match_entry){.checkpoint = checkpoint, .tensor = tensor};
    return 0;
}

int match_index_add(struct match_index *index, const struct checkpoint *checkpoint)
{
    struct source *source =
        reallocarray(index->sources, index->source_count + 1, sizeof(*index->sources));
    const struct tensor *before = NULL;

    if (!source)
        return -ENOMEM;
    index->sources = source;
    source += index->source_count++;
    *source = (struct source){checkpoint, index->entry_count, index->entry_count};
    index->part_size_count = 0; /* parts are looked for anew, in this one too */
    match_filter_forget_lengths(&index->filter);
    for (size_t i = 0; i < checkpoint->located_count; i++) {
        const struct tensor *t = &checkpoint->tensors[checkpoint_by_location(checkpoint, i)];

        if (before && same_range(before, t))
            continue;
        if (index->entry_count >= UINT32_MAX / 2 || add_entry(index, checkpoint, t))
            return -ENOMEM;
        source->end = index->entry_count;
        before = t;
    }
    return 0;
}

static const struct source *find_source(const struct match_index *index,
                                        const struct checkpoint *checkpoint)
{
    for (size_t i = 0; i < index->source_count; i++)
        if (index->sources[i].checkpoint == checkpoint)
            return &index->sources[i];
    return NULL;
}

void match_index_drop(struct match_index *index, const struct checkpoint *checkpoint)
{
    const struct source *source = find_source(index, checkpoint);

    for (size_t i = source ? source->first : 0; source && i < source->end; i++)
        index->entries[i].flags |= MATCH_ENTRY_UNREADABLE;
}

const struct checkpoint *match_index_owner(const struct match_index *index,
                                           const struct tensor *tensor)
{
    for (size_t i = 0; i < index->source_count; i++) {
        const struct source *s = &index->sources[i];
        const struct checkpoint *c = s->checkpoint;

        if (s->first < s->end && tensor >= c->tensors && tensor < c->tensors + c->tensor_count)
            return index->entries[s->first].flags & MATCH_ENTRY_UNREADABLE ? NULL : c;
    }
    return NULL;
}

/* Queries -------------------------------------------------------------------------------------- */

void match_query_begin(struct match_query *query, const void *run, uint64_t bytes)
{
    *query = (struct match_query){.source = run};
    fingerprint_begin(run, bytes, &query->print);
}

const struct fingerprint *match_query_print(struct match_query *query)
{
    if (!query->is_taken)
        fingerprint_finish(query->source, &query->print);
    query->is_taken = 1;
    return &query->print;
}

/* One candidate -------------------------------------------------------------------------------- */

static void set_place(struct match_place *out, const struct match_entry *e, uint64_t offset,
                      uint64_t bytes)
{
    *out = (struct match_place){e->checkpoint, e->tensor->file, offset, bytes};
}

static int same_place(const struct match_place *a, const struct match_place *b)
{
    return a->checkpoint == b->checkpoint && a->file == b->file && a->offset == b->offset;
}

/* What was read ahead of the file from an offset on. returns NULL for nothing */
static const struct fingerprint *find_ahead(const struct match_index *index,
                                            const struct match_entry *e, uint64_t offset)
{
    return e->flags & MATCH_ENTRY_UNREADABLE
               ? NULL
               : match_ahead_find(&index->ahead, e->checkpoint, e->tensor->file, offset);
}

/* The head of what is in the file at an offset, where a run is to go on. returns 0 or -errno */
static int read_next_head(struct match_index *index, const struct match_entry *e, uint64_t offset,
                          uint64_t bytes, struct fingerprint *out)
{
    const struct fingerprint *ahead = find_ahead(index, e, offset);
    struct match_place place;

    set_place(&place, e, offset, 0);
    if (bytes >= FINGERPRINT_HEAD_BYTES && ahead && ahead->bytes >= FINGERPRINT_HEAD_BYTES)
        *out = *ahead;
    else if (bytes >= FINGERPRINT_HEAD_BYTES && same_place(&place, &index->next.place))
        *out = index->next.head;
    else
        return match_entry_read_head(&index->reader, e, offset, bytes, out);
    return 0;
}

/* The fingerprint of a long run whose head is known, and what follows it. */
static int read_on(struct match_index *index, const struct match_entry *e, uint64_t offset,
                   struct fingerprint *print)
{
    int err = match_entry_read_on(&index->reader, e, offset, print, &index->next.head);

    set_place(&index->next.place, e, offset + print->bytes, 0);
    if (err || !index->next.head.bytes)
        index->next.place.checkpoint = NULL;
    return err;
}

/* Is the whole run in the file from an offset on?
 *
 * head     of what is there, where it was read already; else NULL
 */
static int is_run_at(struct match_index *index, struct match_entry *e, uint64_t offset,
                     const struct fingerprint *head, struct match_query *query,
                     struct match_place *out)
{
    uint64_t bytes = query->print.bytes;
    const struct tensor *t = e->tensor;
    const struct fingerprint *have;
    struct fingerprint read;
    int err;

    have = find_ahead(index, e, offset);
    if (offset == t->offset && bytes == t->bytes) {
        have = match_entry_print(&index->reader, e);
    } else if (!have || have->bytes != bytes) {
        if (offset == t->offset && e->flags & MATCH_ENTRY_BEGUN &&
            t->bytes >= FINGERPRINT_HEAD_BYTES)
            head = &e->print;
        if (head && bytes > FINGERPRINT_WHOLE_BYTES) {
            read = *head;
            read.bytes = bytes;
            err = read_on(index, e, offset, &read);
        } else {
            err = match_entry_read(&index->reader, e, offset, bytes, &read);
        }
        have = err ? NULL : &read;
    }
    if (!have || !fingerprint_equal(have, match_query_print(query)))
        return 0;
    set_place(out, e, offset, bytes);
    return 1;
}

/* Does the run, which is longer, begin with the tensor? */
static int begins_with(struct match_index *index, struct match_entry *e, struct match_query *query,
                       struct match_place *out)
{
    const struct tensor *t = e->tensor;
    const struct fingerprint *have;
    struct fingerprint print;

    if (!query->source || t->bytes >= query->print.bytes)
        return 0;
    have = match_entry_print(&index->reader, e);
    if (!have)
        return 0;
    fingerprint_take(query->source, t->bytes, &print);
    if (!fingerprint_equal(have, &print))
        return 0;
    set_place(out, e, t->offset, t->bytes);
    return 1;
}

/* The tensor of a rank that order suggests. Its whole; its beginning; it and what follows in the
 * file; it alone, with something else behind it. */
static int is_next(struct match_index *index, size_t rank, struct match_query *query,
                   struct match_place *out)
{
    struct match_entry *e = &index->entries[rank];
    uint64_t bytes = query->print.bytes, head;

    if (bytes == e->tensor->bytes)
        return match_entry_begin(&index->reader, e) && e->print.head == query->print.head &&
               is_run_at(index, e, e->tensor->offset, NULL, query, out);
    if (bytes >= RUN_LEAST && match_entry_run_head(&index->reader, e, &head) &&
        head == query->print.head && is_run_at(index, e, e->tensor->offset, NULL, query, out))
        return 1;
    if (e->tensor->bytes >= FINGERPRINT_HEAD_BYTES &&
        !(match_entry_run_head(&index->reader, e, &head) && head == query->print.head))
        return 0;
    return (query->within || e->tensor->bytes >= FINGERPRINT_HEAD_BYTES) &&
           begins_with(index, e, query, out);
}

/* Does the run go on inside the tensor that was bound last? */
static int goes_on(struct match_index *index, struct match_query *query, struct match_order *order,
                   struct match_place *out)
{
    struct match_entry *e = &index->entries[order->rank];
    const struct tensor *t = e->tensor;

    if (order->end >= t->offset + t->bytes || query->print.bytes < FINGERPRINT_HEAD_BYTES)
        return 0;
    if (!order->is_next_read)
        order->is_next_read =
            read_next_head(index, e, order->end, FINGERPRINT_HEAD_BYTES, &order->next_head) ? -1
                                                                                            : 1;
    return order->is_next_read > 0 && order->next_head.head == query->print.head &&
           is_run_at(index, e, order->end, &order->next_head, query, out);
}

/* What the order suggests, which settles it also between twins. */
static int find_by_order(struct match_index *index, struct match_query *query,
                         struct match_order *order, struct match_place *out)
{
    if (order->rank == MATCH_NO_RANK)
        return 0;
    if (goes_on(index, query, order, out))
        return 1;
    if (order->rank + 1 < index->entry_count && is_next(index, order->rank + 1, query, out))
        return 1;
    return order->rank > 0 && index->entries[order->rank - 1].tensor->bytes == query->print.bytes &&
           is_next(index, order->rank - 1, query, out);
}

/* Many candidates ------------------------------------------------------------------------------ */

static uint64_t head_key(enum key_kind kind, uint64_t bytes, uint64_t head)
{
    uint64_t x = (head ^ (bytes * 4 + kind)) * 0xbf58476d1ce4e5b9ull;

    return x ^ x >> 29;
}

/* Do two checkpoints hold the same of a tensor of one name? Then they are copies of one model, or
 * two that share it, and the one that was known first will do: it tells the same name. */
static int is_same_parameter(const struct tensor *a, const struct match_place *at,
                             const struct tensor *b, const struct match_place *place)
{
    return a && at->checkpoint != place->checkpoint && at->bytes == place->bytes &&
           at->offset - a->offset == place->offset - b->offset && !strcmp(a->name, b->name);
}

static void consider(struct verdict *v, const struct match_entry *e, unsigned device,
                     const struct match_place *place)
{
    if ((v->count && same_place(&v->first, place)) ||
        is_same_parameter(v->first_tensor, &v->first, e->tensor, place) ||
        is_same_parameter(v->unbound_tensor, &v->unbound, e->tensor, place))
        return;
    if (!v->count++) {
        v->first = *place;
        v->first_tensor = e->tensor;
    }
    if (!(e->bound_devices >> (device & 63) & 1) && !v->unbound_count++) {
        v->unbound = *place;
        v->unbound_tensor = e->tensor;
    }
}

/* Look at what begins as the run does. */
static void consider_key(struct match_index *index, uint64_t key, struct match_query *query,
                         struct verdict *v)
{
    uint32_t i = match_table_find(&index->heads, key);

    for (size_t n = 0; i != MATCH_TABLE_END && n < CANDIDATES_MAX; n++) {
        const struct match_item *item = &index->heads.items[i];
        struct match_entry *e = &index->entries[item->entry];
        struct match_place place;

        if (match_query_print(query)->weak && v->count)
            return; /* more of them would tell no more */
        if (is_run_at(index, e, e->tensor->offset + (uint64_t)item->distance, NULL, query,
                      &place) ||
            (item->distance == 0 && e->tensor->bytes >= RUN_LEAST &&
             begins_with(index, e, query, &place) && !e->print.weak))
            consider(v, e, query->device, &place);
        i = item->next;
    }
}

static void add_head(struct match_index *index, enum key_kind kind, uint64_t bytes, uint32_t entry,
                     int64_t distance)
{
    struct match_entry *e = &index->entries[entry];
    struct fingerprint read;
    uint64_t head = 0;
    int found;

    if (distance == 0 && kind == KEY_WHOLE) {
        found = match_entry_begin(&index->reader, e);
        head = e->print.head;
    } else if (distance == 0) {
        found = match_entry_run_head(&index->reader, e, &head);
    } else {
        found = !match_entry_read_head(&index->reader, e, e->tensor->offset + (uint64_t)distance,
                                       FINGERPRINT_HEAD_BYTES, &read);
        head = found ? read.head : 0;
    }
    /* Without memory the place is not found by its content, as if it could not be read. */
    if (found)
        match_filter_add_head(&index->filter, head);
    if (found)
        match_table_add(&index->heads, head_key(kind, kind == KEY_RUN ? 0 : bytes, head), entry,
                        distance);
}

/* Tensors of exactly the run's length. */
static void consider_whole(struct match_index *index, struct match_query *query, struct verdict *v)
{
    uint64_t bytes = query->print.bytes;
    uint32_t i = match_table_take(&index->sizes, bytes);

    for (; i != MATCH_TABLE_END; i = index->sizes.items[i].next)
        add_head(index, KEY_WHOLE, bytes, index->sizes.items[i].entry, 0);
    if (match_table_find(&index->sizes, bytes) != MATCH_TABLE_END)
        consider_key(index, head_key(KEY_WHOLE, bytes, query->print.head), query, v);
}

/* Longer and shorter tensors that begin where the run does, and whole files. */
static void consider_runs(struct match_index *index, struct match_query *query, struct verdict *v)
{
    for (; index->runs_read < index->entry_count; index->runs_read++) {
        const struct match_entry *e = &index->entries[index->runs_read];
        const struct match_entry *before = index->runs_read ? e - 1 : NULL;
        uint32_t entry = (uint32_t)index->runs_read;

        add_head(index, KEY_RUN, 0, entry, 0);
        if (!before || before->checkpoint != e->checkpoint ||
            before->tensor->file != e->tensor->file)
            add_head(index, KEY_RUN, 0, entry, -(int64_t)e->tensor->offset);
    }
    consider_key(index, head_key(KEY_RUN, 0, query->print.head), query, v);
}

static int are_parts_read(const struct match_index *index, uint64_t bytes)
{
    for (size_t i = 0; i < index->part_size_count; i++)
        if (index->part_sizes[i] == bytes)
            return 1;
    return 0;
}

/* Read what the parts of bytes bytes begin with, of all tensors that have such parts. */
static void read_parts(struct match_index *index, uint64_t bytes)
{
    size_t reads = 0;

    if (are_parts_read(index, bytes))
        return;
    if (index->part_size_count == PART_SIZES_MAX)
        return;
    index->part_sizes[index->part_size_count++] = bytes;
    for (unsigned parts = 2; parts <= PARTS_MAX && bytes <= UINT64_MAX / PARTS_MAX; parts++) {
        uint32_t i = match_table_find(&index->sizes, bytes * parts);

        for (; i != MATCH_TABLE_END; i = index->sizes.items[i].next)
            for (unsigned part = 1; part < parts && reads < PART_READS_MAX; part++, reads++)
                add_head(index, KEY_PART, bytes, index->sizes.items[i].entry,
                         (int64_t)(part * bytes));
    }
}

enum match_answer match_find(struct match_index *index, struct match_query *query,
                             struct match_order *order, struct match_place *out)
{
    struct verdict v = {0};

    if (!query->print.bytes || !index->entry_count)
        return MATCH_NONE;
    if (find_by_order(index, query, order, out))
        return MATCH_FOUND;
    consider_whole(index, query, &v);
    /* What begins with zeros would be looked for in all that does. */
    if (!v.count && query->print.bytes >= RUN_LEAST && !query->print.head_weak)
        consider_runs(index, query, &v);
    if (!v.count && query->print.bytes >= PART_LEAST && !query->print.head_weak) {
        read_parts(index, query->print.bytes);
        consider_key(index, head_key(KEY_PART, query->print.bytes, query->print.head), query, &v);
    }
    if (!v.count) {
        if (index->runs_read == index->entry_count &&
            (query->print.bytes < PART_LEAST || are_parts_read(index, query->print.bytes)))
            match_filter_add_length(&index->filter, query->print.bytes);
        return MATCH_NONE;
    }
    *out = v.first;
    if (match_query_print(query)->weak)
        return MATCH_SEVERAL;
    if (v.count == 1)
        return MATCH_FOUND;
    if (v.unbound_count != 1)
        return MATCH_SEVERAL;
    *out = v.unbound;
    return MATCH_FOUND;
}

int match_rejects(const struct match_index *index, const struct match_query *query,
                  const struct match_order *order)
{
    return !query->within && !(order->rank != MATCH_NO_RANK && order->is_inside) &&
           match_filter_rejects(&index->filter, query->print.bytes, query->print.head);
}

/* Order ---------------------------------------------------------------------------------------- */

/* The rank of the last tensor that begins at or before a byte; MATCH_NO_RANK for none. */
static size_t rank_at(const struct match_index *index, const struct checkpoint *checkpoint,
                      size_t file, uint64_t offset)
{
    const struct source *source = find_source(index, checkpoint);
    size_t first = source ? source->first : 0, low = first, high = source ? source->end : 0;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct tensor *t = index->entries[middle].tensor;

        if (t->file < file || (t->file == file && t->offset <= offset))
            low = middle + 1;
        else
            high = middle;
    }
    return low > first && index->entries[low - 1].tensor->file == file ? low - 1 : MATCH_NO_RANK;
}

int match_verify(struct match_index *index, struct match_query *query, const struct tensor *tensor,
                 uint64_t distance, struct match_place *out)
{
    const struct checkpoint *c = match_index_owner(index, tensor);
    struct fingerprint read;
    uint64_t offset, head;
    struct match_entry *e;
    size_t rank;

    if (!c || !query->print.bytes || __builtin_add_overflow(tensor->offset, distance, &offset))
        return 0;
    rank = rank_at(index, c, tensor->file, offset);
    if (rank == MATCH_NO_RANK)
        return 0;
    /* A few bytes first: what is not there costs one read, and none where a tensor begins. */
    e = &index->entries[rank];
    if (offset == e->tensor->offset && query->print.bytes >= FINGERPRINT_HEAD_BYTES)
        return match_entry_run_head(&index->reader, e, &head) && head == query->print.head &&
               is_run_at(index, e, offset, NULL, query, out);
    return !read_next_head(index, e, offset, query->print.bytes, &read) &&
           read.head == query->print.head && is_run_at(index, e, offset, &read, query, out);
}

/* The rank of the first tensor that a place holds the beginning of; MATCH_NO_RANK for none.
 *
 * rank     of the last tensor that it holds some of, or MATCH_NO_RANK
 */
static size_t first_rank(const struct match_index *index, const struct match_place *place,
                         size_t rank)
{
    while (rank != MATCH_NO_RANK && rank > 0 &&
           index->entries[rank - 1].checkpoint == place->checkpoint &&
           index->entries[rank - 1].tensor->file == place->file &&
           index->entries[rank - 1].tensor->offset >= place->offset)
        rank--;
    if (rank != MATCH_NO_RANK && index->entries[rank].tensor->offset < place->offset)
        rank = MATCH_NO_RANK;
    return rank;
}

void match_bind(struct match_index *index, const struct match_place *place, unsigned device,
                struct match_order *order)
{
    uint64_t end = place->offset + place->bytes;
    size_t last = rank_at(index, place->checkpoint, place->file, end - 1);
    const struct tensor *t = last == MATCH_NO_RANK ? NULL : index->entries[last].tensor;
    struct match_entries all = {index->entries, index->entry_count};

    if (t && place->offset >= t->offset && place->bytes < t->bytes)
        match_ahead_follow(&index->ahead, &all, last, place,
                           order->rank == last && order->end == place->offset &&
                               order->bytes == place->bytes);
    *order = (struct match_order){.rank = last, .end = end, .bytes = place->bytes};
    order->first = first_rank(index, place, last);
    order->is_inside = t && end < t->offset + t->bytes;
    order->is_whole = t && t->offset == place->offset && t->bytes == place->bytes;
    for (size_t rank = last; rank != MATCH_NO_RANK; rank--) {
        struct match_entry *e = &index->entries[rank];

        if (e->checkpoint != place->checkpoint || e->tensor->file != place->file ||
            e->tensor->offset + e->tensor->bytes <= place->offset)
            break;
        e->bound_devices |= (uint64_t)1 << (device & 63);
        if (!rank)
            break;
    }
}

int match_is_at(struct match_index *index, size_t rank, const struct fingerprint *print,
                struct match_place *out)
{
    struct match_query query = {.print = *print, .is_taken = 1};

    return rank < index->entry_count && index->entries[rank].tensor->bytes == print->bytes &&
           is_run_at(index, &index->entries[rank], index->entries[rank].tensor->offset, NULL,
                     &query, out);
}
