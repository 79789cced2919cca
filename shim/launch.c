#include "launch.h"
#include "layout.h"
#include "object.h"
#include "preload.h"
#include "range.h"
#include "residency.h"
#include "stats.h"
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 64   /* pointers of one launch that are looked at */
#define SET_MAX   4096 /* extents of one launch */

#define WORDS_UNKNOWN   SIZE_MAX /* for a number of words: nobody knows where they are */
#define CACHE_SLOTS     512      /* launches that a thread remembers; a power of two */
#define TOUCHES_DUE_MAX 64       /* launches that a parameter's record is told of at once */
/* An object that is so much larger than a launch is wide may be read sparsely. */
#define SPARSE_MIN              ((uint64_t)8 << 20)
#define SPARSE_BYTES_PER_THREAD 1024

/* A parameter's record, as long as its generation is the one that was seen. */
struct touched_record {
    struct stats_record *record;
    uint32_t generation;
};

/* What one launch of before touched: the answer for the same function with the same pointers, as
 * long as no allocation or object has changed. */
struct remembered {
    CUfunction function;
    uint64_t generation; /* range_generation() when it was made; 0: empty */
    uint32_t word_count;
    uint32_t count;    /* extents that it needs: the first in set */
    uint32_t in_place; /* extents behind those, of objects that it may read sparsely */
    uint32_t room;
    uint64_t threads_min, threads_max; /* the answer holds for launches of so many */
    int oversized;                     /* an object is too large to be loaded, and not sparse */
    uint32_t launches;                 /* that left objects in place */
    uint32_t pending;                  /* launches that the records do not count as yet */
    uint32_t due;                      /* they are told of so many at once */
    uint64_t words[WORDS_MAX];
    struct extent **set;
    struct residency *res;
    struct layout_habit *habit; /* the function's; NULL when nothing is in place */
    uint32_t record_count, record_room;
    struct touched_record *records; /* of the parameters that it touches */
};

/* The extents that a launch touches, each once. */
struct touched {
    uint64_t threads_min, threads_max; /* of launches with the same pointers that touch the same */
    size_t count, in_place;
    int oversized;
    struct extent *set[SET_MAX];
    struct extent *sparse[SET_MAX]; /* in_place of them */
    size_t record_count;
    struct touched_record records[WORDS_MAX]; /* of parameters, each once */
};

/* A thread's own launch cache: no other thread sees it. */
struct launch_cache {
    struct remembered slot[CACHE_SLOTS];
    struct touched touched; /* while it is put together */
};

static _Thread_local struct launch_cache *t_cache;
static pthread_key_t g_cache_key;
static pthread_once_t g_cache_once = PTHREAD_ONCE_INIT;

/* Tell the records of the launches that they do not count as yet. */
static void tell_touches(struct remembered *r)
{
    for (uint32_t i = 0; i < r->record_count && r->pending; i++) {
        const struct touched_record *touched = &r->records[i];

        if (atomic_load_explicit(&touched->record->generation, memory_order_relaxed) ==
            touched->generation)
            atomic_fetch_add_explicit(&touched->record->touches, r->pending, memory_order_relaxed);
    }
    r->pending = 0;
}

/* Records are written to now and then only, for they lie in memory that this launch does not touch
 * otherwise: first at once, then seldomer. A program that is killed has not told the last ones. */
static inline void count_touch(struct remembered *r)
{
    if (++r->pending < r->due)
        return;
    tell_touches(r);
    if (r->due < TOUCHES_DUE_MAX)
        r->due *= 2;
}

void launch_tell_touches(void)
{
    for (size_t i = 0; t_cache && i < CACHE_SLOTS; i++)
        tell_touches(&t_cache->slot[i]);
}

static void cache_free(void *arg)
{
    struct launch_cache *cache = arg;

    for (size_t i = 0; i < CACHE_SLOTS; i++) {
        tell_touches(&cache->slot[i]);
        free(cache->slot[i].set);
        free(cache->slot[i].records);
    }
    free(cache);
    t_cache = NULL;
}

static void cache_key_create(void)
{
    pthread_key_create(&g_cache_key, cache_free);
}

static struct launch_cache *cache_get(void)
{
    if (t_cache)
        return t_cache;
    pthread_once(&g_cache_once, cache_key_create);
    t_cache = calloc(1, sizeof(*t_cache));
    if (t_cache)
        pthread_setspecific(g_cache_key, t_cache);
    return t_cache;
}

/* A word of a parameter, if it points between first and end. */
static inline size_t scan_word(const void *at, uint64_t first, uint64_t end, uint64_t *words,
                               size_t count)
{
    uint64_t word;

    memcpy(&word, at, 8);
    if (word - first < end - first && count < WORDS_MAX)
        words[count++] = word;
    return count;
}

/* Words of a parameter that point between first and end. Parameters need not be aligned in the
 * program's memory; words are aligned within the parameter. */
static size_t scan(const void *param, size_t bytes, uint64_t first, uint64_t end, uint64_t *words,
                   size_t count)
{
    for (size_t at = 0; at + 8 <= bytes; at += 8)
        count = scan_word((const char *)param + at, first, end, words, count);
    return count;
}

/* extra is {BUFFER_POINTER, buffer, BUFFER_SIZE, &bytes, END} in any order. */
static size_t scan_extra(void **extra, uint64_t first, uint64_t end, uint64_t *words)
{
    const void *buffer = NULL;
    size_t bytes = 0;

    for (; extra[0] != CU_LAUNCH_PARAM_END; extra += 2) {
        if (extra[0] == CU_LAUNCH_PARAM_BUFFER_POINTER)
            buffer = extra[1];
        else if (extra[0] == CU_LAUNCH_PARAM_BUFFER_SIZE)
            bytes = *(const size_t *)extra[1];
        else
            return 0;
    }
    return buffer ? scan(buffer, bytes, first, end, words, 0) : 0;
}

static size_t scan_params(CUfunction function, void **params, void **extra, uint64_t *words)
{
    const struct layout *layout;
    uint64_t first, end;
    size_t count = 0;

    range_bounds(&first, &end);
    if (first >= end)
        return 0;
    if (!params)
        return extra ? scan_extra(extra, first, end, words) : 0;
    layout = layout_get(function);
    if (!layout || !layout->known)
        return WORDS_UNKNOWN;
    for (uint32_t i = 0; i < layout->count; i++) {
        if (layout->param[i].bytes == 8)
            count = scan_word(params[i], first, end, words, count);
        else if (layout->param[i].bytes > 8)
            count = scan(params[i], layout->param[i].bytes, first, end, words, count);
    }
    return count;
}

static size_t add_extent(struct extent **set, size_t count, struct extent *e)
{
    for (size_t i = 0; i < count; i++)
        if (set[i] == e)
            return count;
    if (count < SET_MAX)
        set[count++] = e;
    return count;
}

/* Do the extents of [first, end) take more than all the room there is? */
static int is_oversized(const struct range *r, CUdeviceptr first, CUdeviceptr end, uint64_t limit)
{
    size_t from = (first - r->base) / r->extent_bytes;
    size_t to = (end - 1 - r->base) / r->extent_bytes + 1;

    return (uint64_t)(to - from) * r->extent_bytes > limit;
}

/* The extents of [first, end), which lies in a paged allocation. What takes more than all the room
 * there is is left at its home and read in place: that beats moving it. The lock is held. */
static size_t add_span(const struct allocation *a, CUdeviceptr first, CUdeviceptr end,
                       uint64_t limit, struct extent **set, size_t count)
{
    struct range *r = a->range;
    size_t from = (first - r->base) / r->extent_bytes;
    size_t to = (end - 1 - r->base) / r->extent_bytes + 1;

    if (to > r->extent_count) /* a copy may claim more than there is */
        to = r->extent_count;
    if (first >= end || is_oversized(r, first, end, limit))
        return count;
    for (size_t i = from; i < to; i++)
        count = add_extent(set, count, r->extents[i]);
    return count;
}

/* May a launch of so many threads read little of the object? */
static int may_be_sparse(const struct object *o, uint64_t span_bytes, uint64_t threads,
                         struct touched *touched)
{
    uint64_t limit = span_bytes / SPARSE_BYTES_PER_THREAD;

    if (!o || o->written || span_bytes < SPARSE_MIN)
        return 0;
    if (threads <= limit && limit < touched->threads_max)
        touched->threads_max = limit;
    if (threads > limit && limit >= touched->threads_min)
        touched->threads_min = limit + 1;
    return threads <= limit;
}

/* A parameter is touched. The lock is held, so that its record is its own. */
static void add_record(const struct object *o, struct touched *touched)
{
    struct stats_record *record = o ? o->record : NULL;
    size_t i = 0;

    if (!record)
        return;
    while (i < touched->record_count && touched->records[i].record != record)
        i++;
    if (i < touched->record_count)
        return;
    stats_record_first_touch(record);
    touched->records[touched->record_count++] = (struct touched_record){
        record, atomic_load_explicit(&record->generation, memory_order_relaxed)};
}

/* What the rest of a module is added to. */
struct joining {
    struct touched *touched;
    CUdevice device;
};

/* A tensor of the module was put at addr; by now something else may lie there. */
static void add_member(void *arg, const struct tensor *tensor, CUdeviceptr addr)
{
    const struct joining *joining = arg;
    struct touched *touched = joining->touched;
    struct allocation *a = range_allocation_at(addr);
    CUdeviceptr first, end;
    const struct object *o;

    if (!a || a->kind != ALLOCATION_PAGED || a->device != joining->device)
        return;
    o = object_span(a, addr, &first, &end);
    if (o && o->tensor == tensor)
        touched->count = add_span(a, first, end, UINT64_MAX, touched->set, touched->count);
}

/* A launch that touches a part of a module that is loaded as a whole touches all of it, where there
 * is room for that. The lock is held. */
static void add_modules(const uint64_t *words, size_t word_count, CUdevice device, uint64_t limit,
                        struct touched *touched)
{
    struct joining joining = {touched, device};
    size_t own = touched->count;
    uint64_t bytes = 0;

    for (size_t i = 0; i < word_count; i++) {
        struct allocation *a = range_allocation_at(words[i]);
        CUdeviceptr first, end;
        const struct object *o;

        if (!a || a->kind != ALLOCATION_PAGED || a->device != device)
            continue;
        o = object_span(a, words[i], &first, &end);
        if (o && o->tensor)
            preload_visit(o->tensor, device, add_member, &joining);
    }
    for (size_t i = 0; i < touched->count; i++)
        bytes += touched->set[i]->bytes;
    if (bytes > limit)
        touched->count = own;
}

/* Look words up: the extents of the objects that they point into. sparse: the function may read
 * objects sparsely, as far as is known. */
static void resolve(const uint64_t *words, size_t word_count, struct residency *res,
                    CUdevice device, int sparse, uint64_t threads, struct touched *out)
{
    uint64_t limit = residency_limit(res);

    range_read_lock();
    for (size_t i = 0; i < word_count; i++) {
        struct allocation *a = range_allocation_at(words[i]);
        CUdeviceptr first, end;
        struct object *o;
        int is_sparse;

        if (!a || a->kind != ALLOCATION_PAGED || a->device != device)
            continue;
        o = object_span(a, words[i], &first, &end);
        add_record(o, out);
        is_sparse = sparse && may_be_sparse(o, end - first, threads, out);
        if (is_sparse && o->tensor && preload_is_member(o->tensor))
            is_sparse = 0;
        if (is_sparse)
            out->in_place = add_span(a, first, end, limit, out->sparse, out->in_place);
        else
            out->count = add_span(a, first, end, limit, out->set, out->count);
        if (is_oversized(a->range, first, end, limit) && !is_sparse)
            out->oversized = 1;
    }
    if (preload_is_on())
        add_modules(words, word_count, device, limit, out);
    range_unlock();
}

static struct remembered *slot_of(struct launch_cache *cache, CUfunction function,
                                  const uint64_t *words, size_t count)
{
    uint64_t hash = (uint64_t)(uintptr_t)function * 0x9e3779b97f4a7c15ull;

    /* The products do not wait for each other, and the turn keeps the order of words apart. */
    for (size_t i = 0; i < count; i++) {
        uint64_t product = words[i] * 0xff51afd7ed558ccdull;
        unsigned turn = (unsigned)i & 63;

        hash ^= product << turn | product >> (-turn & 63);
    }
    return &cache->slot[(hash >> 32) & (CACHE_SLOTS - 1)];
}

static int is_same(const struct remembered *r, CUfunction function, uint64_t generation,
                   const uint64_t *words, size_t count, uint64_t threads)
{
    return r->generation == generation && r->function == function && r->word_count == count &&
           threads >= r->threads_min && threads <= r->threads_max &&
           !memcmp(r->words, words, count * sizeof(*words));
}

/* Without memory for it nothing is counted. */
static void remember_records(struct remembered *r, const struct touched *touched)
{
    uint32_t count = (uint32_t)touched->record_count;

    tell_touches(r);
    if (count > r->record_room) {
        struct touched_record *grown = realloc(r->records, count * sizeof(*grown));

        r->record_room = grown ? count : r->record_room;
        r->records = grown ? grown : r->records;
        count = grown ? count : 0;
    }
    if (count)
        memcpy(r->records, touched->records, count * sizeof(*r->records));
    r->record_count = count;
    r->due = 1;
}

static void remember(struct remembered *r, CUfunction function, uint64_t generation,
                     const uint64_t *words, size_t word_count, struct residency *res,
                     const struct touched *touched)
{
    size_t count = touched->count + touched->in_place;

    r->generation = 0;
    remember_records(r, touched);
    if (!r->set || r->room < count) {
        struct extent **grown = realloc(r->set, (count ? count : 1) * sizeof(*grown));

        if (!grown)
            return;
        r->set = grown;
        r->room = (uint32_t)count;
    }
    memcpy(r->set, touched->set, touched->count * sizeof(*r->set));
    memcpy(r->set + touched->count, touched->sparse, touched->in_place * sizeof(*r->set));
    memcpy(r->words, words, word_count * sizeof(*words));
    r->count = (uint32_t)touched->count;
    r->in_place = (uint32_t)touched->in_place;
    r->oversized = touched->oversized;
    r->launches = 0;
    r->threads_min = touched->threads_min;
    r->threads_max = touched->threads_max;
    r->word_count = (uint32_t)word_count;
    r->function = function;
    r->res = res;
    r->generation = generation;
}

/* What the launch touches is not known any more, or not yet. returns 0 when there is no memory */
static int look_up(struct remembered *r, CUfunction function, uint64_t generation,
                   const uint64_t *words, size_t word_count, CUdevice device, uint64_t threads)
{
    struct residency *res = residency_get(device);
    const struct layout *layout = layout_get(function);
    struct layout_habit *habit = layout ? layout->habit : NULL;
    struct touched *touched = &t_cache->touched;
    int sparse =
        habit && atomic_load_explicit(&habit->reading, memory_order_relaxed) != READING_DENSE;

    touched->count = touched->in_place = touched->record_count = 0;
    touched->oversized = 0;
    touched->threads_min = 0;
    touched->threads_max = UINT64_MAX;
    if (res)
        resolve(words, word_count, res, device, sparse, threads, touched);
    remember(r, function, generation, words, word_count, res, touched);
    r->habit = habit;
    return r->generation != 0;
}

static int all_settled(struct extent *const *set, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!atomic_load_explicit(&set[i]->settled, memory_order_acquire))
            return 0;
    return 1;
}

static uint8_t reading_of(const struct remembered *r)
{
    return atomic_load_explicit(&r->habit->reading, memory_order_relaxed);
}

/* A launch that may leave objects in place is looked at until its function is known, and again at
 * its 2nd, 4th, 8th time and so on: what it reads may depend on what is in its memory. Not at its
 * first: a program may give it another pointer each time. */
static int is_due_for_trial(const struct remembered *r)
{
    if (!r->in_place)
        return 0;
    if (reading_of(r) != READING_SPARSE)
        return 1;
    return r->launches > 1 && !(r->launches & (r->launches - 1));
}

/* Is anything that the launch may read left in place, as far as can be told without the lock? */
static int leaves_in_place(const struct remembered *r)
{
    return r->in_place && !all_settled(r->set + r->count, r->in_place);
}

static void count_sparse(void)
{
    atomic_fetch_add_explicit(&stats_shard()->launches_sparse, 1, memory_order_relaxed);
}

static struct use *acquire(struct remembered *r, int try, CUstream stream)
{
    struct residency_trial trial = {.set = r->set + r->count, .count = r->in_place};
    enum residency_need need = leaves_in_place(r) ? RESIDENCY_LOAD_REST : RESIDENCY_LOAD;

    if (!try)
        return residency_acquire(r->res, r->set, r->count, need, NULL, stream);
    /* Trials are judged by how fast the link is. That must be known from loads which no kernel
     * disturbs that reads in place, so this one waits for all that it may read. */
    trial.loads = residency_link_wants_loads(r->res, trial.set, trial.count);
    trial.verdict = &r->habit->reading;
    return residency_acquire(r->res, r->set, r->count, need, &trial, stream);
}

int launch_is_capturing(CUstream stream)
{
    const struct driver *drv = driver_get();
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;

    return drv->cuStreamIsCapturing && (stats_note(drv->cuStreamIsCapturing(stream, &status)) ||
                                        status != CU_STREAM_CAPTURE_STATUS_NONE);
}

/* The device whose extents may come and go under this thread's context; -1 for none. */
static CUdevice paged_device(void)
{
    CUdevice device;

    if (stats_note(driver_get()->cuCtxGetDevice(&device)) || !residency_active(device))
        return -1;
    return device;
}

struct use *launch_begin(CUfunction function, void **params, void **extra, uint64_t threads,
                         CUstream stream)
{
    struct stats_shard *shard = stats_shard();
    uint64_t words[WORDS_MAX], generation;
    struct launch_cache *cache;
    struct remembered *r;
    size_t word_count;
    CUdevice device;
    int try;

    atomic_fetch_add_explicit(&shard->launches, 1, memory_order_relaxed);
    if (!residency_any_active() || (device = paged_device()) < 0)
        goto resident;
    word_count = scan_params(function, params, extra, words);
    if (word_count == WORDS_UNKNOWN) {
        atomic_fetch_add_explicit(&shard->launches_unknown, 1, memory_order_relaxed);
        return NULL;
    }
    cache = cache_get();
    if (!word_count || !cache)
        goto resident;
    generation = range_generation();
    r = slot_of(cache, function, words, word_count);
    if (!is_same(r, function, generation, words, word_count, threads) &&
        !look_up(r, function, generation, words, word_count, device, threads))
        goto resident;
    count_touch(r);
    if (r->oversized)
        atomic_fetch_add_explicit(&shard->launches_oversized, 1, memory_order_relaxed);
    r->launches += r->in_place != 0;
    try = is_due_for_trial(r);
    if (all_settled(r->set, r->count)) {
        if (!leaves_in_place(r) && (r->count || r->in_place))
            goto resident;
        if (!try) {
            if (r->in_place)
                count_sparse();
            return NULL; /* the rest is too large to be loaded, or read sparsely: in place */
        }
    }
    if (launch_is_capturing(stream)) {
        atomic_fetch_add_explicit(&shard->launches_captured, 1, memory_order_relaxed);
        return NULL;
    }
    return acquire(r, try, stream);

resident:
    atomic_fetch_add_explicit(&shard->launches_resident, 1, memory_order_relaxed);
    return NULL;
}

struct use *launch_hold_spans(const struct transfer_access *spans, size_t count, CUstream stream)
{
    struct launch_cache *cache;
    struct residency *res;
    CUdevice device;
    size_t held = 0;

    if (!residency_any_active() || (device = paged_device()) < 0 || launch_is_capturing(stream))
        return NULL;
    res = residency_get(device);
    cache = cache_get();
    if (!res || !cache)
        return NULL;
    range_read_lock();
    for (size_t i = 0; i < count; i++) {
        CUdeviceptr first = spans[i].addr;
        struct allocation *a = range_allocation_at(first);

        if (a && a->kind == ALLOCATION_PAGED && a->device == device)
            held = add_span(a, first, first + spans[i].bytes, UINT64_MAX, cache->touched.set, held);
    }
    range_unlock();
    return residency_acquire(res, cache->touched.set, held, RESIDENCY_AS_IS, NULL, stream);
}

void launch_end(struct use *use, CUstream stream, CUresult result)
{
    if (use)
        residency_release(use, stream, result);
}
