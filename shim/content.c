#include "content.h"
#include "checkpoints.h"
#include "log.h"
#include "match_ahead.h"
#include "thread.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX      16u
#define CHUNKS_AT_ONCE   16u
#define GAP_ALIGN_MAX    512u                /* between tensors that were packed into an upload */
#define SCAN_LEAST       1024u               /* an upload that makes us look around */
#define SCAN_STEP_FIRST  ((uint64_t)1 << 20) /* bytes without a name until the second look */
#define SCAN_STEP_GROWTH 4
#define OPENED_STEP      ((uint64_t)2 << 20)
#define SCAN_STEP_MAX    ((uint64_t)4 << 30)

/* A piece of this thread that order may tell yet. */
struct waiting {
    CUdeviceptr dst;
    struct fingerprint print;
};

/* A checkpoint of the index. */
struct content_file {
    struct known_file *known;
    int is_unchecked; /* it was read since it was last seen to be unchanged, or is being read */
};

/* Where a thread's uploads stand. */
struct loader {
    struct match_order order;
    size_t before, after; /* ranks around what was bound last; MATCH_NO_RANK for none */
    unsigned device;
    struct waiting waiting[WAITING_MAX];
    size_t waiting_count;
};

static __thread struct loader t_loader = {.order = {.rank = MATCH_NO_RANK}};

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
/* g_lock, but for match_rejects(). NULL until there is a checkpoint; it never goes. */
static _Atomic(struct match_index *) g_index;
static const struct known_file *g_seen; /* g_lock; the last file that was looked at for it */
static uint64_t g_nameless_bytes;       /* g_lock; since the last look around */
static uint64_t g_unlooked_bytes;       /* g_lock; since the last look at what was opened */
static uint64_t g_scan_bytes;           /* g_lock; how many make us look again */
static struct content_file *g_files;    /* g_lock; those of the index */
static atomic_size_t g_checkpoints;     /* in the index; written with g_lock held */
static atomic_int g_has_grown;
static int g_is_reading_ahead; /* g_lock; there is the thread */
static int g_is_idle;          /* g_lock; it waits for work */
static pthread_cond_t g_work = PTHREAD_COND_INITIALIZER;

/* g_lock is held. */
static struct content_file *file_of(const struct checkpoint *checkpoint)
{
    size_t i = 0;

    while (g_files[i].known->checkpoint != checkpoint) /* it is one of the index, so it is there */
        i++;
    return &g_files[i];
}

static int read_checkpoint(void *arg, const struct checkpoint *checkpoint, size_t file,
                           uint64_t offset, void *out, size_t bytes)
{
    struct content_file *of = file_of(checkpoint);

    (void)arg;
    if (of->known->file != file || of->known->changed)
        return -ESTALE;
    of->is_unchecked = 1;
    return checkpoints_read(of->known, offset, out, bytes);
}

/* g_lock is held. returns 0 or -ENOMEM */
static int add_file(struct known_file *file)
{
    size_t count = g_checkpoints;
    struct content_file *grown = reallocarray(g_files, count + 1, sizeof(*grown));

    if (!grown)
        return -ENOMEM;
    g_files = grown;
    g_files[count] = (struct content_file){.known = file};
    atomic_store(&g_checkpoints, count + 1);
    return match_index_add(g_index, file->checkpoint);
}

/* Reading ahead -------------------------------------------------------------------------------- */

static int read_ahead(void *known, uint64_t offset, void *out, size_t bytes)
{
    return checkpoints_read(known, offset, out, bytes);
}

/* The file of a place, which is read without the lock: files of the index never go. */
static struct known_file *begin_reading(const struct match_place *place)
{
    struct content_file *of = file_of(place->checkpoint);

    of->is_unchecked = 1;
    return of->known;
}

/* Read the next tensor's lines. g_lock is held, and given up meanwhile. returns 0 when all are read
 */
static int read_next_tensor(size_t *rank)
{
    struct fingerprint print;
    struct match_place place;
    struct known_file *known;
    int failed;

    if (!match_next_unread(g_index, rank, &place))
        return 0;
    known = begin_reading(&place);
    pthread_mutex_unlock(&g_lock);
    failed = fingerprint_read(read_ahead, known, place.offset, place.bytes, &print);
    pthread_mutex_lock(&g_lock);
    if (!failed)
        match_put_print(g_index, *rank, &print);
    begin_reading(&place); /* what was seen to be unchanged meanwhile was so before */
    ++*rank;
    return 1;
}

/* The same for the next chunks of a loader. */
static int read_next_chunks(void)
{
    struct match_place places[CHUNKS_AT_ONCE];
    struct match_run runs[CHUNKS_AT_ONCE];
    struct known_file *known[CHUNKS_AT_ONCE];
    size_t count = match_next_runs(g_index, places, CHUNKS_AT_ONCE);

    for (size_t i = 0; i < count; i++)
        known[i] = begin_reading(&places[i]);
    pthread_mutex_unlock(&g_lock);
    for (size_t i = 0; i < count; i++) {
        runs[i].place = places[i];
        if (fingerprint_read(read_ahead, known[i], places[i].offset, places[i].bytes,
                             &runs[i].print))
            runs[i].print.bytes = 0;
    }
    pthread_mutex_lock(&g_lock);
    for (size_t i = 0; i < count; i++)
        begin_reading(&places[i]);
    match_put_runs(g_index, runs, count);
    return count != 0;
}

/* A thread of its own fills the index, tensor by tensor, and goes ahead of who loads in chunks, so
 * that uploads need not read. */
static void *read_ahead_main(void *unused)
{
    size_t rank = 0;

    (void)unused;
    pthread_mutex_lock(&g_lock);
    for (;;) {
        if (read_next_chunks() || read_next_tensor(&rank))
            continue;
        g_is_idle = 1;
        pthread_cond_wait(&g_work, &g_lock);
        g_is_idle = 0;
    }
    return NULL;
}

/* g_lock is held. Without the thread, uploads read for themselves. */
static void read_on(void)
{
    if (!g_is_reading_ahead)
        g_is_reading_ahead = !thread_start(read_ahead_main, NULL);
    else if (g_is_idle)
        pthread_cond_signal(&g_work);
}

/* Take what has come to be known into the index. g_lock is held. returns 1 where it grew */
static int refresh_index(void)
{
    size_t before = g_checkpoints;
    struct known_file *file;

    if (before == checkpoints_count())
        return 0;
    if (!g_index)
        g_index = match_index_new(read_checkpoint, NULL);
    while (g_index && (file = checkpoints_next(g_seen))) {
        g_seen = file;
        if (file->checkpoint && add_file(file))
            log_warn("upload", "out of memory: not all of %s is recognised", file->path);
    }
    if (g_checkpoints == before)
        return 0;
    atomic_store(&g_has_grown, 1);
    read_on();
    return 1;
}

/* Look around for files when bytes came that no checkpoint explains, to memory that was empty: at
 * all of them seldom, the more seldom the more such bytes there are; at what has just been opened
 * more often, which takes next to nothing. g_lock is held. returns 1 where there are new ones */
static int look_around(const struct content_upload *upload)
{
    if (!upload->fresh || upload->bytes < SCAN_LEAST)
        return 0;
    g_nameless_bytes += upload->bytes;
    g_unlooked_bytes += upload->bytes;
    if (g_nameless_bytes >= g_scan_bytes) {
        g_nameless_bytes = g_unlooked_bytes = 0;
        g_scan_bytes = g_scan_bytes ? SCAN_STEP_GROWTH * g_scan_bytes : SCAN_STEP_FIRST;
        if (g_scan_bytes > SCAN_STEP_MAX)
            g_scan_bytes = SCAN_STEP_MAX;
        checkpoints_scan();
    } else if (g_unlooked_bytes >= OPENED_STEP) {
        g_unlooked_bytes = 0;
        checkpoints_scan_opened();
    }
    if (!refresh_index())
        return 0;
    g_scan_bytes = 0; /* a loader is at work: there may be more files soon */
    return 1;
}

static enum match_answer verify(struct match_query *query, const struct object_expected *expected,
                                size_t count, struct match_place *place)
{
    for (size_t i = 0; i < count; i++)
        if (match_verify(g_index, query, expected[i].tensor, expected[i].distance, place))
            return MATCH_FOUND;
    return MATCH_NONE;
}

/* Is a place the middle of a tensor? */
static int is_inside(const struct match_place *place)
{
    size_t i = checkpoint_find_offset(place->checkpoint, place->file, place->offset);

    return i != CHECKPOINT_NONE && place->checkpoint->tensors[i].offset < place->offset;
}

static void take_place(const struct match_place *place, struct provenance *where)
{
    where->checkpoint = place->checkpoint;
    where->file = place->file;
    where->offset = place->offset;
}

/* Hand out a place. Names mean what the header said when it was read: what was read later counts if
 * the file was not changed meanwhile, which is asked once for each tensor. g_lock is held. */
static enum match_answer answer_found(const struct match_place *place, struct provenance *where)
{
    struct content_file *file = file_of(place->checkpoint);

    if (file->is_unchecked && !is_inside(place)) {
        if (!checkpoints_file_is_current(file->known)) {
            match_index_drop(g_index, place->checkpoint);
            return MATCH_NONE;
        }
        file->is_unchecked = 0;
    }
    take_place(place, where);
    where->bytes = place->bytes;
    return MATCH_FOUND;
}

/* g_lock is held. */
static enum match_answer find(const struct content_upload *upload, struct match_query *query,
                              struct match_place *place)
{
    enum match_answer answer;

    if (!g_index)
        return MATCH_NONE;
    answer = verify(query, upload->expected, upload->expected_count, place);
    return answer == MATCH_FOUND ? answer : match_find(g_index, query, &t_loader.order, place);
}

/* Behind a tensor that has its name, another may begin where one that is aligned would. g_lock is
 * held. returns the bytes between, 0 when there is none */
static size_t find_gap(const struct content_upload *upload)
{
    size_t tried = 0;

    for (size_t align = 8; g_index && align <= GAP_ALIGN_MAX; align *= 2) {
        size_t gap = (size_t)(-upload->dst & (align - 1));
        struct match_query query;
        struct match_place place;

        if (gap == tried || gap >= upload->bytes)
            continue;
        tried = gap;
        match_query_begin(&query, (const char *)upload->source + gap, upload->bytes - gap);
        query.within = 1;
        query.device = upload->device;
        if (match_find(g_index, &query, &t_loader.order, &place) == MATCH_FOUND)
            return gap;
    }
    return 0;
}

static void say_several(const struct content_upload *upload, const struct match_place *place)
{
    const struct checkpoint *c = place->checkpoint;
    size_t i = checkpoint_find_offset(c, place->file, place->offset);

    log_debug("upload", "%zu bytes may be %s by their content, which does not tell; order may",
              upload->bytes,
              i == CHECKPOINT_NONE ? c->files[place->file].path : c->tensors[i].name);
}

/* Is an upload certainly no part of a checkpoint? Most of a program's inputs are seen to be none
 * like this, with no lock. */
static int is_rejected(const struct content_upload *upload, const struct match_query *query)
{
    const struct match_index *index = atomic_load_explicit(&g_index, memory_order_acquire);

    return index && !upload->fresh && !upload->expected_count &&
           atomic_load_explicit(&g_checkpoints, memory_order_relaxed) == checkpoints_count() &&
           match_rejects(index, query, &t_loader.order);
}

enum match_answer content_find(const struct content_upload *upload, struct provenance *where,
                               struct fingerprint *print)
{
    enum match_answer answer = MATCH_NONE;
    struct match_place place;
    struct match_query query;
    size_t gap = 0;

    where->bytes = upload->bytes;
    print->bytes = 0;
    if (!upload->fresh && !checkpoints_count())
        return MATCH_NONE;
    match_query_begin(&query, upload->source, upload->bytes);
    query.within = upload->within;
    query.device = upload->device;
    if (is_rejected(upload, &query))
        return MATCH_NONE;
    pthread_mutex_lock(&g_lock);
    refresh_index();
    answer = find(upload, &query, &place);
    if (answer == MATCH_NONE && upload->within)
        gap = find_gap(upload);
    if (answer == MATCH_NONE && !gap && look_around(upload))
        answer = find(upload, &query, &place);
    if (answer == MATCH_FOUND)
        answer = answer_found(&place, where);
    pthread_mutex_unlock(&g_lock);
    if (answer == MATCH_SEVERAL) {
        say_several(upload, &place);
        take_place(&place, where);
    }
    if (gap)
        where->bytes = gap;
    else if (answer == MATCH_SEVERAL || (answer == MATCH_NONE && upload->fresh))
        *print = *match_query_print(&query);
    return answer;
}

enum match_answer content_find_piece(const struct piece *piece, unsigned device,
                                     struct provenance *where)
{
    struct match_query query = {.print = piece->print, .is_taken = 1, .device = device};
    enum match_answer answer = MATCH_NONE;
    struct match_place place;

    pthread_mutex_lock(&g_lock);
    if (g_index)
        answer = match_find(g_index, &query, &t_loader.order, &place);
    if (answer == MATCH_FOUND)
        answer = answer_found(&place, where);
    pthread_mutex_unlock(&g_lock);
    if (answer == MATCH_SEVERAL)
        take_place(&place, where);
    return answer;
}

int content_verify_piece(const struct piece *piece, const struct object_expected *expected,
                         size_t count, struct provenance *where)
{
    struct match_query query = {.print = piece->print, .is_taken = 1};
    enum match_answer answer = MATCH_NONE;
    struct match_place place;

    pthread_mutex_lock(&g_lock);
    refresh_index();
    if (g_index)
        answer = verify(&query, expected, count, &place);
    if (answer == MATCH_FOUND)
        answer = answer_found(&place, where);
    pthread_mutex_unlock(&g_lock);
    return answer == MATCH_FOUND;
}

/* Order ---------------------------------------------------------------------------------------- */

void content_bound(const struct provenance *where, unsigned device)
{
    struct match_place place = {where->checkpoint, where->file, where->offset, where->bytes};
    struct loader *l = &t_loader;
    size_t first;

    if (!atomic_load_explicit(&g_checkpoints, memory_order_relaxed))
        return;
    pthread_mutex_lock(&g_lock);
    match_bind(g_index, &place, device, &l->order);
    if (match_wants_runs(g_index))
        read_on();
    first = l->order.first;
    l->before = first == MATCH_NO_RANK || first == 0 ? MATCH_NO_RANK : first - 1;
    /* Behind one whole tensor a loader may also be going back through the file. */
    l->after = first != MATCH_NO_RANK && l->order.is_whole ? first + 1 : MATCH_NO_RANK;
    l->device = device;
    pthread_mutex_unlock(&g_lock);
}

void content_wait(CUdeviceptr dst, const struct fingerprint *print)
{
    struct loader *l = &t_loader;

    if (l->waiting_count == WAITING_MAX)
        memmove(l->waiting, l->waiting + 1, --l->waiting_count * sizeof(*l->waiting));
    l->waiting[l->waiting_count++] = (struct waiting){dst, *print};
}

int content_settle(CUdeviceptr *dst, struct fingerprint *print, struct provenance *where)
{
    struct match_order aside = {.rank = MATCH_NO_RANK};
    struct match_place before, after, *place;
    struct loader *l = &t_loader;
    const struct waiting *w;
    int is_before, is_after;

    if (!l->waiting_count || (l->before == MATCH_NO_RANK && l->after == MATCH_NO_RANK))
        return 0;
    w = &l->waiting[l->waiting_count - 1];
    pthread_mutex_lock(&g_lock);
    is_before = match_is_at(g_index, l->before, &w->print, &before);
    is_after = match_is_at(g_index, l->after, &w->print, &after);
    place = is_before ? &before : &after;
    if (is_before == is_after || answer_found(place, where) != MATCH_FOUND) {
        l->waiting_count = 0;
        pthread_mutex_unlock(&g_lock);
        return 0;
    }
    match_bind(g_index, place, l->device, &aside);
    pthread_mutex_unlock(&g_lock);
    /* The one before it comes next, in the same direction. */
    l->before = is_before && l->before > 0 ? l->before - 1 : MATCH_NO_RANK;
    l->after = is_after ? l->after + 1 : MATCH_NO_RANK;
    *dst = w->dst;
    *print = w->print;
    l->waiting_count--;
    return 1;
}

int content_has_grown(void)
{
    return atomic_load_explicit(&g_has_grown, memory_order_relaxed) &&
           atomic_exchange(&g_has_grown, 0);
}
