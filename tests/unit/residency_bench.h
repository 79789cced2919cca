/* residency_bench.h - a device that pages, for tests of residency with its pager's thread.
 *
 * A bench is one device with one large range, whose extents are pages, and a stream of the
 * program's. Each test has a device of its own. The books of the fake driver judge what is queued;
 * what a launch was promised is checked on each page when the launch is let go. Patience is a day:
 * who would wait for it hangs, and the test's alarm ends it.
 */
#ifndef BERTH_TEST_RESIDENCY_BENCH_H
#define BERTH_TEST_RESIDENCY_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "pager.h"
#include "tests/unit/fake_allocation.h"

#define MIB         ((size_t)1 << 20)
#define BUDGET      (16 * MIB) /* 8 extents of 2 MiB */
#define FITS        8u
#define DAY_NS      86400000000000ull
#define EXTENTS_MAX 128u

/* A device with one large range. */
struct bench {
    CUcontext ctx;
    struct residency *res;
    CUdeviceptr base;
    struct range *range;
    CUstream stream;
};

static uint64_t g_seed;

static inline uint32_t random_below(uint32_t n)
{
    g_seed = g_seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(g_seed >> 33) % n;
}

static inline struct range *range_of(CUdeviceptr p)
{
    struct range *r;

    range_read_lock();
    r = range_allocation_at(p)->range;
    range_unlock();
    return r;
}

enum stream_kind { QUICK, HELD };

static inline struct bench bench_make(CUdevice device, size_t extents, enum stream_kind kind)
{
    struct bench b;

    b.ctx = fake_context(device);
    b.res = residency_get(device);
    assert_non_null(b.res);
    b.res->patience_ns = DAY_NS;
    g_fake.limit[device] = BUDGET;
    b.base = take(extents * PAGE_BYTES);
    b.range = range_of(b.base);
    assert_int_equal(b.range->extent_count, extents);
    b.stream = fake_program_stream(kind == HELD);
    return b;
}

#define LOCKED(res, expression)                                                                    \
    ({                                                                                             \
        __typeof__(expression) value;                                                              \
                                                                                                   \
        pthread_mutex_lock(&(res)->lock);                                                          \
        value = (expression);                                                                      \
        pthread_mutex_unlock(&(res)->lock);                                                        \
        value;                                                                                     \
    })

/* The pager looks at what has run when a launch comes, and not again while it has nothing to do:
 * what finishes after its last look it sees when it is woken. */
#define WAIT_FOR_PAGER(res, condition) WAIT_FOR((LOCKED(res, (pager_wake(res), 0)), (condition)))

static inline int is_there(const struct bench *b, size_t extent)
{
    int there;

    pthread_mutex_lock(&g_fake.lock);
    there = fake_page_at(b->base + extent * PAGE_BYTES)->at == b->ctx->device;
    pthread_mutex_unlock(&g_fake.lock);
    return there;
}

/* Does work that is queued on stream now find the extent in VRAM when it runs? */
static inline int will_be_there(const struct bench *b, size_t extent, CUstream stream)
{
    struct fake_page *p = fake_page_at(b->base + extent * PAGE_BYTES);
    int there;

    pthread_mutex_lock(&g_fake.lock);
    there = p->at == b->ctx->device && (fake_is_done(p->loader, p->load_order) ||
                                        fake_has_waited(stream, p->loader, p->load_order));
    pthread_mutex_unlock(&g_fake.lock);
    return there;
}

static inline struct use *begin_on(const struct bench *b, CUstream stream, size_t count,
                                   const size_t *extents)
{
    struct extent *set[EXTENTS_MAX];

    for (size_t i = 0; i < count; i++)
        set[i] = b->range->extents[extents[i]];
    return residency_acquire(b->res, set, count, RESIDENCY_LOAD, NULL, stream);
}

/* A launch that must find all that it touches. */
static inline void launch_on(const struct bench *b, CUstream stream, size_t count,
                             const size_t *extents)
{
    struct use *use = begin_on(b, stream, count, extents);

    assert_non_null(use);
    for (size_t i = 0; i < count; i++)
        assert_true(will_be_there(b, extents[i], stream));
    residency_release(use, stream, CUDA_SUCCESS);
}

static inline void launch(const struct bench *b, size_t extent)
{
    launch_on(b, b->stream, 1, &extent);
}

static inline void bench_end(struct bench *b)
{
    fake_finish(b->stream);
    give(b->base);
    assert_int_equal(FAKE_READ(g_fake.misuse), 0);
    assert_int_equal(LOCKED(b->res, b->res->resident_bytes), 0);
    assert_int_equal(LOCKED(b->res, b->res->total_bytes), 0);
    assert_int_equal(FAKE_READ(g_fake.resident[b->ctx->device]), 0);
}

/* Let every extent be touched once, in order. returns how many loads that took */
static inline uint64_t loads_of_a_step(const struct bench *b, size_t extents)
{
    unsigned before = FAKE_READ(g_fake.loads);

    for (size_t i = 0; i < extents; i++) {
        launch(b, i);
        fake_finish(b->stream);
    }
    return FAKE_READ(g_fake.loads) - before;
}

/* Every device has the same budget. */
static inline int bench_setup(void **state)
{
    (void)state;
    alarm(60);
    g_fake_policy.max_memory.cpu_bytes = (uint64_t)8 << 30;
    for (int i = 0; i < FAKE_DEVICES; i++)
        fake_budget(i, BUDGET, (uint64_t)8 << 30);
    return 0;
}

#endif
