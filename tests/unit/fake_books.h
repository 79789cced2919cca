/* fake_books.h - what the fake driver (fake_driver.h) writes down of pages, streams and events.
 *
 * Pages are counted where they are, in the order of the calls; a held stream's work is done up to a
 * number. g_fake.lock guards all of it, and each call holds it from fake_enter() to fake_leave().
 */
#ifndef BERTH_TEST_FAKE_BOOKS_H
#define BERTH_TEST_FAKE_BOOKS_H

#include "config.h"
#include "driver.h"
#include "entry.h"
#include "stats.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAKE_PAGE    ((size_t)2 << 20)
#define FAKE_BASE    0x100000000000ull /* managed memory */
#define FAKE_PLAIN   0x200000000000ull /* what cuMemAlloc gives */
#define FAKE_PAGES   65536u
#define FAKE_HANDLES 65536u
#define FAKE_DEVICES 16
#define FAKE_WAITS   32

struct CUctx_st {
    CUdevice device;
    int destroyed;
};

struct CUstream_st {
    CUcontext ctx;
    int alive, held;
    uint64_t seen; /* all work up to this number comes before the stream's next */
    uint64_t done; /* its own work up to this number is done; meaningful while held */
    const _Atomic uint32_t *gate; /* the stream waits for this word; NULL: it never did */
    uint32_t gate_value;
    struct fake_wait {
        CUstream of;
        uint64_t order;
    } waits[FAKE_WAITS]; /* for the work of each other stream, up to a number */
};

struct CUevent_st {
    CUcontext ctx;
    int alive, pending, timed;
    CUstream stream;
    uint64_t order;
    unsigned loads; /* that were queued before it, on any stream */
};

struct fake_page {
    uint8_t allocated, read_mostly, accessed;
    int8_t preferred; /* device; -1 the CPU, -2 nothing was said */
    int8_t at;        /* device, and the CPU too where it is a duplicate; -1 the CPU alone */
    uint8_t mapped;   /* by the CPU, so that a duplicate of it is guarded */
    uint8_t moves; /* its last load makes no duplicate, unless READ_MOSTLY comes before it runs */
    CUstream loader;
    uint64_t load_order;
};

struct fake {
    pthread_mutex_t lock;
    pthread_cond_t finished;
    pthread_cond_t queued; /* something was recorded on a held stream */
    struct fake_page page[FAKE_PAGES];
    size_t next_page, next_plain;
    size_t others_bytes; /* of the GiB that is free on each card, taken by other programs */
    uint64_t live_managed_bytes, live_plain_bytes, plain_limit;
    uint64_t resident[FAKE_DEVICES], peak[FAKE_DEVICES]; /* bytes in VRAM, in order of the calls */
    uint64_t limit[FAKE_DEVICES];      /* more than this in VRAM is misuse; 0: no limit */
    uint64_t drop_order[FAKE_DEVICES]; /* of the last drop */
    uint64_t known_done;               /* the latest event that was asked for and had come */
    uint64_t order;
    CUevent events[FAKE_HANDLES];
    CUstream streams[FAKE_HANDLES];
    void *kept[FAKE_HANDLES]; /* what tests made: here, so that it is no leak */
    size_t kept_count;
    size_t event_count, stream_count, live_events, live_streams;
    int finisher_ends;
    int hold_new;      /* streams made from now on are held */
    int synchronizing; /* threads that wait for an event */
    int syncs;         /* cuCtxSynchronize */
    CUcontext synced;
    unsigned loads, drops;
    unsigned gated_loads; /* of them, that found their stream's gate closed */
    int registered;       /* pinned pages */
    /* The next fail_count calls of fail_kind (any kind: NULL) fail, after fail_skip of them. */
    const char *fail_kind;
    unsigned fail_skip, fail_count;
    CUresult fail_result;
    unsigned calls;
    const char *gate; /* calls of this kind stop, before they do anything, until it is NULL again */
    int at_gate;
    int capturing;
    int concurrent; /* concurrentManagedAccess */
    int misuse;
    char *trace; /* where calls are written down, when it is not NULL */
    size_t trace_bytes;
};

static struct fake g_fake = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .finished = PTHREAD_COND_INITIALIZER, .concurrent = 1};
static _Thread_local CUcontext t_fake_ctx, t_fake_pushed; /* pushed: what is under it */
static struct CUstream_st g_fake_legacy[FAKE_DEVICES];

#define FAKE_MISUSE(...)                                                                           \
    do {                                                                                           \
        g_fake.misuse++;                                                                           \
        fprintf(stderr, "misuse: " __VA_ARGS__);                                                   \
        fputc('\n', stderr);                                                                       \
    } while (0)

/* Count a call; the lock is taken, and kept on success. */
static inline CUresult fake_enter(const char *name)
{
    pthread_mutex_lock(&g_fake.lock);
    g_fake.calls++;
    g_fake.at_gate++;
    while (g_fake.gate && !strcmp(g_fake.gate, name))
        pthread_cond_wait(&g_fake.finished, &g_fake.lock);
    g_fake.at_gate--;
    if (g_fake.fail_count && (!g_fake.fail_kind || !strcmp(g_fake.fail_kind, name))) {
        if (g_fake.fail_skip) {
            g_fake.fail_skip--;
        } else {
            g_fake.fail_count--;
            pthread_mutex_unlock(&g_fake.lock);
            return g_fake.fail_result;
        }
    }
    return CUDA_SUCCESS;
}

#define FAKE_ENTER(name)                                                                           \
    do {                                                                                           \
        CUresult entered = fake_enter(name);                                                       \
        if (entered != CUDA_SUCCESS)                                                               \
            return entered;                                                                        \
    } while (0)

static inline CUresult fake_leave(CUresult result)
{
    pthread_mutex_unlock(&g_fake.lock);
    return result;
}

static inline void fake_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void fake_trace(const char *format, ...)
{
    size_t used = g_fake.trace ? strlen(g_fake.trace) : 0;
    va_list args;

    if (!g_fake.trace)
        return;
    va_start(args, format);
    vsnprintf(g_fake.trace + used, g_fake.trace_bytes - used, format, args);
    va_end(args);
}

static inline CUstream fake_stream(CUstream stream)
{
    if (stream != CU_STREAM_LEGACY && stream != CU_STREAM_PER_THREAD && stream)
        return stream;
    if (!t_fake_ctx)
        return NULL;
    g_fake_legacy[t_fake_ctx->device].ctx = t_fake_ctx;
    g_fake_legacy[t_fake_ctx->device].alive = 1;
    return &g_fake_legacy[t_fake_ctx->device];
}

static inline int fake_is_done(CUstream stream, uint64_t order)
{
    return !stream || !stream->held || stream->done >= order;
}

/* The work of a held stream up to a number has run. g_fake.lock is held. */
static inline void fake_run_to(CUstream stream, uint64_t order)
{
    if (order > stream->done)
        stream->done = order;
    for (size_t i = 0; i < g_fake.event_count; i++)
        if (g_fake.events[i]->stream == stream && g_fake.events[i]->order <= order)
            g_fake.events[i]->pending = 0;
    pthread_cond_broadcast(&g_fake.finished);
}

static inline void fake_set_place(struct fake_page *p, int device)
{
    if (p->at >= 0)
        g_fake.resident[p->at] -= FAKE_PAGE;
    if (device >= 0 && !p->read_mostly)
        p->mapped = 0;
    p->at = (int8_t)device;
    if (device < 0)
        return;
    g_fake.resident[device] += FAKE_PAGE;
    if (g_fake.resident[device] > g_fake.peak[device])
        g_fake.peak[device] = g_fake.resident[device];
    if (g_fake.limit[device] && g_fake.resident[device] > g_fake.limit[device])
        FAKE_MISUSE("%llu bytes in VRAM, the limit is %llu",
                    (unsigned long long)g_fake.resident[device],
                    (unsigned long long)g_fake.limit[device]);
}

static inline struct fake_page *fake_pages(const char *call, CUdeviceptr addr, size_t bytes)
{
    size_t first = (addr - FAKE_BASE) / FAKE_PAGE;

    if (addr < FAKE_BASE || (addr - FAKE_BASE) % FAKE_PAGE || !bytes || bytes % FAKE_PAGE ||
        first + bytes / FAKE_PAGE > g_fake.next_page) {
        FAKE_MISUSE("%s of %#llx, %zu bytes", call, addr, bytes);
        return NULL;
    }
    for (size_t i = 0; i < bytes / FAKE_PAGE; i++)
        if (!g_fake.page[first + i].allocated) {
            FAKE_MISUSE("%s of a page that is not allocated", call);
            return NULL;
        }
    return &g_fake.page[first];
}

#endif
