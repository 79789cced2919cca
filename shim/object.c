#include "object.h"
#include "backend.h"
#include "checkpoint.h"
#include "dtype.h"
#include "log.h"
#include "piece.h"
#include "placement.h"
#include "policy_file.h"
#include "preload.h"
#include "residency.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PADDING_MAX ((uint64_t)4096) /* between objects: alignment, not working memory */

/* The index of the first object that ends after addr. */
static size_t objects_after(const struct allocation *a, CUdeviceptr addr)
{
    size_t low = 0, high = a->object_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (a->objects[middle].end > addr)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

struct object *object_span(struct allocation *a, CUdeviceptr addr, CUdeviceptr *first,
                           CUdeviceptr *end)
{
    size_t i = objects_after(a, addr);

    if (i < a->object_count && a->objects[i].first <= addr) {
        *first = a->objects[i].first;
        *end = a->objects[i].end;
        return &a->objects[i];
    }
    *first = i > 0 ? a->objects[i - 1].end : a->base;
    *end = i < a->object_count ? a->objects[i].first : a->base + a->bytes;
    return NULL;
}

/* What the tensor of an object holds at addr, if the whole of it lies around the object. */
static void expect_at(const struct object *o, CUdeviceptr addr, struct object_expected *out,
                      size_t *count)
{
    uint64_t ahead = o->first - addr; /* of the object */

    if (!o->tensor ||
        (addr < o->first ? ahead > o->tensor_offset : o->tensor_offset - ahead > o->tensor->bytes))
        return;
    out[*count].tensor = o->tensor;
    out[(*count)++].distance = o->tensor_offset - ahead;
}

size_t object_expect(const struct allocation *a, CUdeviceptr addr,
                     struct object_expected out[OBJECT_EXPECTED_MAX])
{
    size_t i = objects_after(a, addr), count = 0;

    if (i > 0)
        expect_at(&a->objects[i - 1], addr, out, &count);
    if (i < a->object_count)
        expect_at(&a->objects[i], addr, out, &count);
    return count;
}

int object_is_at(const struct allocation *a, CUdeviceptr addr)
{
    size_t i = objects_after(a, addr);

    return i < a->object_count && a->objects[i].first <= addr;
}

const struct object *object_settled(const struct allocation *a, CUdeviceptr first, CUdeviceptr end)
{
    size_t i = objects_after(a, first);
    const struct object *o = i < a->object_count ? &a->objects[i] : NULL;

    return o && o->first <= first && o->end >= end &&
                   !(o->written && o->first == first && o->end == end)
               ? o
               : NULL;
}

void object_tensor_span(const struct allocation *a, CUdeviceptr *first, CUdeviceptr *end)
{
    size_t i = objects_after(a, *first);
    CUdeviceptr stop = *end;

    for (; i < a->object_count && a->objects[i].first < stop; i++) {
        const struct object *o = &a->objects[i];
        uint64_t before = o->tensor ? o->tensor_offset : 0;
        uint64_t behind = o->tensor ? o->tensor->bytes - before : 0;

        if (o->first - a->base < before)
            before = o->first - a->base;
        if (o->first - before < *first)
            *first = o->first - before;
        if (o->first + behind > *end)
            *end = o->first + behind;
    }
}

static void count_total(const struct object *o, int sign)
{
    struct stats_header *header = stats();
    uint64_t bytes = o->end - o->first;

    if (sign < 0)
        bytes = -bytes;
    stats_add(weights_total_bytes, bytes);
    stats_peak(&header->weights_peak_total_bytes, header->weights_total_bytes);
    if (!o->tensor)
        return;
    stats_add(weights_named_bytes, bytes);
    stats_peak(&header->weights_peak_named_bytes, header->weights_named_bytes);
}

/* What of a record's object is in VRAM from now on, by itself and among all weights. */
static void record_resident(struct stats_record *record, uint64_t bytes)
{
    struct stats_header *header = stats();
    uint64_t before =
        atomic_exchange_explicit(&record->resident_bytes, bytes, memory_order_relaxed);

    stats_add(weights_vram_bytes, bytes - before);
    stats_peak(&header->weights_peak_vram_bytes, header->weights_vram_bytes);
}

/* Bring a record up to date with the object's bounds and with what of it is in VRAM. */
static void record_measure(const struct allocation *a, struct object *o)
{
    uint64_t bytes = o->end - o->first, resident = bytes;

    if (a->kind == ALLOCATION_PAGED)
        resident = residency_resident_bytes(a->range, o->first, o->end);
    atomic_store_explicit(&o->record->bytes, bytes, memory_order_relaxed);
    record_resident(o->record, resident);
    atomic_store_explicit(&o->record->tier, resident == bytes ? STATS_TIER_VRAM : STATS_TIER_HOST,
                          memory_order_relaxed);
}

/* The record keeps what its object was; the weights are less by it. */
static void record_release(struct object *o)
{
    if (!o->record)
        return;
    stats_sub(weights_vram_bytes, o->record->resident_bytes);
    stats_record_release(o->record);
    o->record = NULL;
}

static void record_create(const struct allocation *a, struct object *o)
{
    const struct tensor *t = o->tensor;
    uint64_t bytes = o->end - o->first;
    unsigned rank = 0;
    char name[64];

    if (t) {
        rank = t->rank <= 8 ? t->rank : 0;
        o->record = stats_record_create(t->name, o->evidence, dtype_name((enum dtype)t->dtype),
                                        rank, t->shape, bytes, (unsigned)a->device);
    } else {
        snprintf(name, sizeof(name), "anonymous@%llu+%llu", (unsigned long long)a->number,
                 (unsigned long long)(o->first - a->base));
        o->record =
            stats_record_create(name, STATS_EVIDENCE_NONE, "", 0, NULL, bytes, (unsigned)a->device);
    }
    if (!o->record)
        return;
    atomic_store_explicit(&o->record->place, (uint8_t)(o->place - POLICY_NOWHERE),
                          memory_order_relaxed);
    stats_record_count_touches(o->record, a->kind == ALLOCATION_PAGED);
    record_measure(a, o);
}

/* The bounds of an object changed: its record follows. An anonymous object whose start moved has
 * another name; everything else keeps its counters. */
static void record_resize(const struct allocation *a, struct object *o, CUdeviceptr old_first)
{
    if (o->record && (o->tensor || o->first == old_first)) {
        record_measure(a, o);
        return;
    }
    record_release(o);
    record_create(a, o);
}

static int reserve_objects(struct allocation *a, size_t count)
{
    size_t room = a->object_room ? a->object_room : 4;
    struct object *grown;

    while (room < count)
        room *= 2;
    if (room == a->object_room)
        return 0;
    grown = realloc(a->objects, room * sizeof(*grown));
    if (!grown)
        return -1;
    a->objects = grown;
    a->object_room = room;
    return 0;
}

static void insert_at(struct allocation *a, size_t at, const struct object *o)
{
    memmove(&a->objects[at + 1], &a->objects[at], (a->object_count - at) * sizeof(*a->objects));
    a->objects[at] = *o;
    a->object_count++;
}

static void remove_at(struct allocation *a, size_t at)
{
    record_release(&a->objects[at]);
    memmove(&a->objects[at], &a->objects[at + 1], (a->object_count - at - 1) * sizeof(*a->objects));
    a->object_count--;
}

/* Cut [first, end) out of what is there. Room for one more object has been reserved: an object that
 * surrounds the cut becomes two. */
static void carve(struct allocation *a, CUdeviceptr first, CUdeviceptr end)
{
    size_t i = objects_after(a, first);

    while (i < a->object_count && a->objects[i].first < end) {
        struct object *o = &a->objects[i];
        struct object right = *o;

        count_total(o, -1);
        if (o->first < first) {
            o->end = first;
            count_total(o, 1);
            record_resize(a, o, o->first);
            if (right.end > end) {
                right.tensor_offset += end - right.first;
                right.first = end;
                right.record = NULL;
                record_create(a, &right);
                count_total(&right, 1);
                insert_at(a, i + 1, &right);
                return;
            }
            i++;
        } else if (o->end > end) {
            CUdeviceptr old = o->first;

            o->tensor_offset += end - o->first;
            o->first = end;
            count_total(o, 1);
            record_resize(a, o, old);
            return;
        } else {
            remove_at(a, i);
        }
    }
}

/* May b, which begins where a ends, be one object with it? */
static int continues(const struct object *a, const struct object *b)
{
    if (a->end != b->first || a->tensor != b->tensor)
        return 0;
    return !a->tensor || a->tensor_offset + (a->end - a->first) == b->tensor_offset;
}

/* Join the object at i with its right neighbour when the two belong together. */
static void join_right(struct allocation *a, size_t i)
{
    struct object *left, *right;
    CUdeviceptr named_first; /* where the object began whose record is kept */

    if (i + 1 >= a->object_count || !continues(&a->objects[i], &a->objects[i + 1]))
        return;
    left = &a->objects[i];
    right = &a->objects[i + 1];
    named_first = left->first;
    left->end = right->end;
    left->written |= right->written;
    if (!left->record) {
        named_first = right->first;
        left->record = right->record;
        right->record = NULL;
    }
    if (right->record)
        record_resident(right->record, 0);
    stats_record_merge(left->record, right->record);
    right->record = NULL;
    remove_at(a, i + 1);
    record_resize(a, &a->objects[i], named_first);
}

/* The device of a tensor is the program's choice. */
static void tell_elsewhere(const struct allocation *a, const struct object *o)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;

    if (o->place < 0 || o->place == a->device || atomic_flag_test_and_set(&told))
        return;
    log_warn("policy",
             "the device_map puts %s on GPU %d, and the program puts it on GPU %d: it stays there, "
             "as if the map did not name it; berth moves nothing from one GPU to another",
             o->tensor->name, o->place, a->device);
}

/* What the places of objects in [first, end) make of the extent there: one tensor that is to stay
 * is enough to keep it. */
static enum schedule_place place_of_objects(const struct allocation *a, CUdeviceptr first,
                                            CUdeviceptr end, enum schedule_place so_far)
{
    for (size_t i = objects_after(a, first); i < a->object_count && a->objects[i].first < end;
         i++) {
        int place = a->objects[i].place;

        if (place == a->device)
            return SCHEDULE_KEEP;
        if (place == POLICY_CPU || place == POLICY_DISK)
            so_far = SCHEDULE_STREAM;
    }
    return so_far;
}

static enum schedule_place place_of_extent(CUdeviceptr first, CUdeviceptr end)
{
    enum schedule_place place = SCHEDULE_FREE;
    CUdeviceptr at = first;

    while (at < end && place != SCHEDULE_KEEP) {
        const struct allocation *a = range_allocation_after(at);

        if (!a || a->base >= end)
            break;
        place = place_of_objects(a, first, end, place);
        at = a->base + a->bytes;
    }
    return place;
}

/* The objects in [first, end) have changed: tell residency what becomes of its extents. */
static void place_extents(const struct allocation *a, CUdeviceptr first, CUdeviceptr end)
{
    const struct range *r = a->range;

    if (!r || a->kind != ALLOCATION_PAGED || !placement_is_on())
        return;
    for (size_t i = (first - r->base) / r->extent_bytes; i < r->extent_count; i++) {
        CUdeviceptr from = r->base + i * r->extent_bytes;

        if (from >= end)
            break;
        residency_place(a->range, i, place_of_extent(from, from + r->extent_bytes));
    }
}

int object_define(struct allocation *a, CUdeviceptr first, CUdeviceptr end,
                  const struct tensor *tensor, uint64_t tensor_offset, enum stats_evidence evidence)
{
    struct object o = {.first = first,
                       .end = end,
                       .tensor = tensor,
                       .tensor_offset = tensor ? tensor_offset : 0,
                       .place = tensor ? placement_find(tensor) : POLICY_NOWHERE,
                       .evidence = tensor ? evidence : STATS_EVIDENCE_NONE};
    CUdeviceptr have_first, have_end;
    struct object *have = object_span(a, first, &have_first, &have_end);
    size_t at;

    /* The same bytes once more: an update of the values, not of the bounds. */
    if (have && have_first <= first && have_end >= end && have->tensor == tensor &&
        (!tensor || have->tensor_offset + (first - have_first) == tensor_offset)) {
        if (have_first == first && have_end == end)
            have->written = 0;
        return 0;
    }
    if (reserve_objects(a, a->object_count + 2))
        return -ENOMEM;
    tell_elsewhere(a, &o);
    if (tensor && preload_is_on() && a->kind == ALLOCATION_PAGED)
        preload_note(tensor, a->device, first);
    carve(a, first, end);
    at = objects_after(a, first);
    insert_at(a, at, &o);
    count_total(&o, 1);
    join_right(a, at);
    if (at > 0)
        join_right(a, at - 1);
    if (at < a->object_count && a->objects[at].first == first && !a->objects[at].record)
        record_create(a, &a->objects[at]);
    place_extents(a, first, end);
    range_changed();
    return 0;
}

int object_erase(struct allocation *a, CUdeviceptr first, CUdeviceptr end)
{
    size_t i = objects_after(a, first);

    if (i == a->object_count || a->objects[i].first >= end)
        return 0;
    if (reserve_objects(a, a->object_count + 1))
        return -ENOMEM;
    carve(a, first, end);
    place_extents(a, first, end);
    range_changed();
    return 0;
}

void object_mark_written(struct allocation *a, CUdeviceptr first, CUdeviceptr end)
{
    for (size_t i = objects_after(a, first); i < a->object_count && a->objects[i].first < end; i++)
        a->objects[i].written = 1;
}

void object_clear(struct allocation *a)
{
    int had_objects = a->object_count != 0;

    for (size_t i = 0; i < a->object_count; i++) {
        count_total(&a->objects[i], -1);
        record_release(&a->objects[i]);
    }
    free(a->objects);
    a->objects = NULL;
    a->object_count = a->object_room = 0;
    if (had_objects)
        place_extents(a, a->base, a->base + a->bytes);
    piece_clear(a);
}

/* Are the bytes of [first, end) that belong to a covered by objects which nobody wrote since? */
static int is_uploaded(const struct allocation *a, CUdeviceptr first, CUdeviceptr end)
{
    CUdeviceptr at = first > a->base ? first : a->base;
    CUdeviceptr stop = end < a->base + a->bytes ? end : a->base + a->bytes;

    for (size_t i = objects_after(a, at); at < stop; i++) {
        CUdeviceptr next = i < a->object_count ? a->objects[i].first : a->base + a->bytes;

        if (next > at && (next < stop ? next : stop) - at > PADDING_MAX)
            return 0;
        if (i >= a->object_count || next >= stop)
            return 1;
        if (a->objects[i].written)
            return 0;
        at = a->objects[i].end;
    }
    return 1;
}

enum backend_mode object_mode(CUdeviceptr first, CUdeviceptr end)
{
    enum backend_mode mode = BACKEND_SHARED;
    CUdeviceptr at = first;

    range_read_lock();
    while (at < end && mode == BACKEND_SHARED) {
        const struct allocation *a = range_allocation_after(at);

        if (!a || a->base >= end)
            break;
        if (!is_uploaded(a, first, end))
            mode = BACKEND_MOVED;
        at = a->base + a->bytes;
    }
    range_unlock();
    return mode;
}

int object_fills_ends(CUdeviceptr first, size_t bytes)
{
    int meet;

    range_read_lock();
    meet = range_allocation_at(first) && range_allocation_at(first + bytes - 1);
    range_unlock();
    return meet;
}

static uint64_t overlap(const struct object *o, CUdeviceptr first, CUdeviceptr end)
{
    return (o->end < end ? o->end : end) - (o->first > first ? o->first : first);
}

/* What of the object is in VRAM is measured anew rather than added up: its bounds may have changed
 * while the pager was at it. */
static void account(const struct allocation *a, struct object *o, CUdeviceptr first,
                    CUdeviceptr end, enum object_move move)
{
    struct stats_record *r = o->record;

    if (!r)
        return;
    if (o->first >= first) { /* counted where the object begins, once for all its extents */
        if (move == OBJECT_LOADED)
            atomic_fetch_add_explicit(&r->loads, 1, memory_order_relaxed);
        else
            atomic_fetch_add_explicit(&r->evictions, 1, memory_order_relaxed);
    }
    if (move == OBJECT_LOADED)
        atomic_fetch_add_explicit(&r->h2d_bytes, overlap(o, first, end), memory_order_relaxed);
    record_measure(a, o);
}

void object_account(CUdeviceptr first, CUdeviceptr end, enum object_move move)
{
    CUdeviceptr at = first;

    range_read_lock();
    while (at < end) {
        const struct allocation *a = range_allocation_after(at);

        if (!a || a->base >= end)
            break;
        for (size_t i = objects_after(a, first); i < a->object_count && a->objects[i].first < end;
             i++)
            account(a, &a->objects[i], first, end, move);
        at = a->base + a->bytes;
    }
    range_unlock();
}

void object_account_stall(CUdeviceptr first, CUdeviceptr end, uint64_t stall_ns)
{
    struct stats_record *most = NULL;
    uint64_t most_bytes = 0;
    CUdeviceptr at = first;

    range_read_lock();
    while (at < end) {
        const struct allocation *a = range_allocation_after(at);

        if (!a || a->base >= end)
            break;
        for (size_t i = objects_after(a, first); i < a->object_count && a->objects[i].first < end;
             i++) {
            uint64_t bytes = overlap(&a->objects[i], first, end);

            if (bytes > most_bytes && a->objects[i].record) {
                most = a->objects[i].record;
                most_bytes = bytes;
            }
        }
        at = a->base + a->bytes;
    }
    if (most)
        atomic_fetch_add_explicit(&most->stall_ns, stall_ns, memory_order_relaxed);
    range_unlock();
}
