/* Strategy: the real range.c and residency.c over a fake driver that keeps books. Random
 * allocations and frees are held against a model: no two of them may ever overlap, every address
 * must be found in its own, and what is free must add up. Then single cases, one device each, and
 * every driver call made to fail in turn: nothing may be lost, and the books must be as before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <time.h>

#include "object.h"
#include "pager.h"
#include "release.h"
#include "tests/unit/fake_driver.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

/* One device for each test: what a device has learned stays with it. */
enum {
    DEVICE_PACK,
    DEVICE_HOLE,
    DEVICE_RANDOM,
    DEVICE_OOM,
    DEVICE_FALLBACK,
    DEVICE_ASYNC,
    DEVICE_CONTEXT,
    DEVICE_FAIL,
    DEVICE_FAIL_ACTIVE,
    DEVICE_TIGHT,
    DEVICE_OTHER,
    DEVICE_TWICE,
    DEVICE_SIZES,
    DEVICE_VACANT,
    DEVICE_NEIGHBOUR,
    DEVICE_RELEASE,
};

static uint64_t g_seed;

static uint32_t random_below(uint32_t n)
{
    g_seed = g_seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(g_seed >> 33) % n;
}

static CUdeviceptr take(size_t bytes)
{
    CUdeviceptr p = 0;

    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &p), CUDA_SUCCESS);
    assert_int_not_equal(p, 0);
    return p;
}

static void give(CUdeviceptr p)
{
    int paged = -1;

    assert_int_equal(range_free(p, &paged), CUDA_SUCCESS);
    if (!paged)
        g_fake_driver.cuMemFree_v2(p);
}

static struct range_view view_of(CUdeviceptr p)
{
    struct range_view view;

    memset(&view, 0xa5, sizeof(view)); /* what is not answered is seen */
    assert_int_equal(range_find(p, &view), 1);
    return view;
}

static uint64_t free_bytes_of(CUdevice device)
{
    uint64_t free_bytes, total_bytes;

    range_capacity(device, &free_bytes, &total_bytes);
    return free_bytes;
}

static void test_plain_packed_own(void **state)
{
    CUdeviceptr small, packed[3], large, next;
    struct range_view view;

    (void)state;
    fake_context(DEVICE_PACK);
    small = take(RANGE_PLAIN_MAX - 1);
    assert_int_equal(view_of(small).kind, ALLOCATION_PLAIN);
    assert_true(small >= FAKE_PLAIN);

    packed[0] = take(RANGE_PLAIN_MAX);
    packed[1] = take(RANGE_PLAIN_MAX + 1);
    packed[2] = take(100 * KIB);
    assert_int_equal(packed[1], packed[0] + RANGE_PLAIN_MAX);
    assert_int_equal(packed[2], packed[1] + RANGE_PLAIN_MAX + RANGE_ALIGN);
    view = view_of(packed[1] + RANGE_PLAIN_MAX);
    assert_int_equal(view.base, packed[1]);
    assert_int_equal(view.bytes, RANGE_PLAIN_MAX + 1);
    assert_int_equal(view.kind, ALLOCATION_PAGED);
    assert_int_equal(view.device, DEVICE_PACK);
    assert_ptr_equal(view.ctx, t_fake_ctx);
    /* The byte behind the last of an allocation is nobody's, padding as it is. */
    assert_int_equal(range_find(packed[1] + RANGE_PLAIN_MAX + 1, &view), 0);

    next = take(RANGE_PACK_MAX - 1);
    assert_int_equal(next, packed[2] + 100 * KIB);
    large = take(RANGE_PACK_MAX);
    assert_int_equal(large % PAGE_BYTES, 0);
    assert_true(large >= next + RANGE_PACK_MAX);
    assert_int_equal(view_of(large + RANGE_PACK_MAX - 1).base, large);
    assert_int_equal(range_find(large + RANGE_PACK_MAX, &view), 0);
    for (int i = 0; i < 3; i++)
        give(packed[i]);
    give(next);
    give(large);
    give(small);
    assert_int_equal(g_fake.live_managed_bytes, 0);
    assert_int_equal(range_find(large, &view), 0);
}

/* The hole at the end of a range reaches past the place where packing goes on. */
static void test_hole_across_the_cursor(void **state)
{
    CUdeviceptr a, b, c, d;

    (void)state;
    fake_context(DEVICE_HOLE);
    a = take(15 * MIB);
    b = take(15 * MIB);
    assert_int_equal(b, a + 15 * MIB);
    give(b);
    c = take(15 * MIB + 512 * KIB);
    assert_int_equal(c, b);
    d = take(1 * MIB);
    assert_true(d >= c + 15 * MIB + 512 * KIB || d + 1 * MIB <= a);
    give(a);
    /* A hole in front is found as well, once there is no room behind. */
    b = take(14 * MIB);
    assert_int_equal(b, a);
    give(b);
    give(c);
    give(d);
    assert_int_equal(g_fake.live_managed_bytes, 0);
}

#define LIVE_MAX 200

struct piece {
    CUdeviceptr base;
    size_t bytes;
    uint64_t id;
};

static size_t random_bytes(void)
{
    switch (random_below(6)) {
    case 0:
        return 1 + random_below(RANGE_PLAIN_MAX);
    case 1:
        return RANGE_PACK_MAX + random_below(RANGE_PACK_MAX);
    case 2:
        return RANGE_PACK_MAX - 1 - random_below(1 * MIB);
    default:
        return RANGE_PLAIN_MAX + random_below(4 * MIB);
    }
}

static void check_pieces(const struct piece *piece, size_t count, CUdevice device, uint64_t total)
{
    uint64_t sum = 0, first, end;

    range_bounds(&first, &end);
    for (size_t i = 0; i < count; i++) {
        struct range_view view = view_of(piece[i].base + random_below((uint32_t)piece[i].bytes));

        assert_int_equal(view.base, piece[i].base);
        assert_int_equal(view.bytes, piece[i].bytes);
        assert_int_equal(view.id, piece[i].id);
        assert_int_equal(view.kind == ALLOCATION_PLAIN, piece[i].bytes < RANGE_PLAIN_MAX);
        if (view.kind == ALLOCATION_PAGED)
            assert_true(piece[i].base >= first && piece[i].base + piece[i].bytes <= end);
        sum += piece[i].bytes;
        for (size_t j = 0; j < i; j++)
            assert_true(piece[i].base + piece[i].bytes <= piece[j].base ||
                        piece[j].base + piece[j].bytes <= piece[i].base);
    }
    assert_int_equal(free_bytes_of(device), total - sum);
}

static void test_random_against_a_model(void **state)
{
    uint64_t total, last_id = 0, generation = range_generation();
    struct piece piece[LIVE_MAX];
    size_t count = 0;

    (void)state;
    fake_context(DEVICE_RANDOM);
    total = free_bytes_of(DEVICE_RANDOM);
    g_seed = 11;
    for (int step = 0; step < 4000; step++) {
        /* Phases of growth and of shrinking, so that ranges fill up, thin out and go. */
        int grow = random_below(10) < (step / 500 % 2 ? 3u : 7u);

        if (grow && count < LIVE_MAX) {
            struct piece *p = &piece[count];

            p->bytes = random_bytes();
            p->base = take(p->bytes);
            p->id = view_of(p->base).id;
            assert_true(p->id > last_id);
            last_id = p->id;
            count++;
        } else if (count) {
            size_t gone = random_below((uint32_t)count);

            give(piece[gone].base);
            piece[gone] = piece[--count];
        } else {
            continue;
        }
        assert_int_not_equal(range_generation(), generation);
        generation = range_generation();
        if (step % 16 == 0)
            check_pieces(piece, count, DEVICE_RANDOM, total);
    }
    while (count)
        give(piece[--count].base);
    assert_int_equal(free_bytes_of(DEVICE_RANDOM), total);
    assert_int_equal(g_fake.live_managed_bytes, 0);
}

static void test_out_of_memory(void **state)
{
    size_t bytes = 40 * MIB;
    uint64_t free_bytes, total_bytes;
    CUdeviceptr p, q;

    (void)state;
    fake_context(DEVICE_OOM);
    range_capacity(DEVICE_OOM, &free_bytes, &total_bytes);
    assert_int_equal(total_bytes, 32 * MIB + 64 * MIB);
    p = take(bytes);
    assert_int_equal(free_bytes_of(DEVICE_OOM), total_bytes - bytes);
    q = take(bytes);
    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &p), CUDA_ERROR_OUT_OF_MEMORY);
    bytes = 10 * MIB;
    p = q - 40 * MIB - PAGE_BYTES;
    assert_int_equal(view_of(p).bytes, 40 * MIB);
    give(p);
    give(q);
    assert_int_equal(free_bytes_of(DEVICE_OOM), total_bytes);
    /* The driver's own lack of memory is told as it is, and nothing is held. */
    fake_fail("cuMemAllocManaged", 0, 1, CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &p), CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(free_bytes_of(DEVICE_OOM), total_bytes);
}

static void test_plain_fallback(void **state)
{
    size_t bytes = 1 * MIB, small = 4 * KIB;
    uint64_t refused = stats()->refused;
    CUdeviceptr p;

    (void)state;
    fake_context(DEVICE_FALLBACK);
    fake_fail("cuMemAllocManaged", 0, 1, CUDA_ERROR_NOT_SUPPORTED);
    p = take(bytes);
    assert_int_equal(view_of(p).kind, ALLOCATION_PLAIN);
    assert_int_equal(stats()->refused, refused + 1);
    assert_int_equal(stats()->plain_bytes, bytes);
    give(p);
    assert_int_equal(stats()->plain_bytes, 0);
    /* A small one that the card refuses is paged: lack of VRAM is no failure. */
    fake_fail("cuMemAlloc", 0, UINT32_MAX, CUDA_ERROR_OUT_OF_MEMORY);
    p = take(small);
    fake_fail(NULL, 0, 0, CUDA_SUCCESS);
    assert_int_equal(view_of(p).kind, ALLOCATION_PAGED);
    give(p);
    /* Without a context the driver's answer is the program's. */
    t_fake_ctx = NULL;
    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &p), CUDA_SUCCESS);
    assert_true(p >= FAKE_PLAIN);
    g_fake_driver.cuMemFree_v2(p);
}

/* A free in stream order holds the bytes until the stream has come there. */
static void test_async_free(void **state)
{
    CUstream slow, quick;
    CUdeviceptr p, q, r;
    struct range_view view;
    uint64_t total;
    size_t events;
    int paged = 0;

    (void)state;
    fake_context(DEVICE_ASYNC);
    slow = fake_program_stream(1);
    quick = fake_program_stream(0);
    total = free_bytes_of(DEVICE_ASYNC);
    p = take(1 * MIB);
    q = take(1 * MIB);
    events = g_fake.live_events;
    g_fake.syncs = 0;
    assert_int_equal(range_free_async(p, slow, &paged), CUDA_SUCCESS);
    assert_int_equal(paged, 1);
    assert_int_equal(range_find(p, &view), 1);
    assert_int_equal(range_free_async(q, quick, &paged), CUDA_SUCCESS);
    assert_int_equal(range_find(q, &view), 0);
    r = take(1 * MIB);
    assert_int_not_equal(r, p);
    assert_int_equal(range_find(p, &view), 1);
    fake_finish(slow);
    give(r);
    assert_int_equal(range_find(p, &view), 0);
    assert_int_equal(free_bytes_of(DEVICE_ASYNC), total);
    assert_int_equal(g_fake.live_events, events);
    assert_int_equal(g_fake.syncs, 1); /* of give(r) alone */
    assert_int_equal(g_fake.live_managed_bytes, 0);
    /* A plain allocation is the driver's to free. */
    p = take(1 * KIB);
    assert_int_equal(range_free_async(p, quick, &paged), CUDA_SUCCESS);
    assert_int_equal(paged, 0);
    assert_int_equal(range_find(p, &view), 0);
    /* What is no allocation's start is left to the driver. */
    assert_int_equal(range_free_async(p, quick, &paged), CUDA_SUCCESS);
    assert_int_equal(paged, 0);
    /* A stream of another context takes no event of ours: it is waited for. */
    p = take(1 * MIB);
    fake_fail("cuEventRecord", 0, 1, CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(range_free_async(p, quick, &paged), CUDA_SUCCESS);
    assert_int_equal(range_find(p, &view), 0);
    assert_int_equal(g_fake.live_events, events);
}

/* What was freed before, or never handed out, is refused: to the driver the address may mean the
 * whole range that others lie in. */
static void test_freed_twice(void **state)
{
    CUstream slow;
    CUdeviceptr p, q;
    struct range_view view;
    int paged = 0;

    (void)state;
    fake_context(DEVICE_TWICE);
    slow = fake_program_stream(1);
    p = take(1 * MIB);
    q = take(1 * MIB);
    give(p);
    assert_int_equal(range_free(p, &paged), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(paged, 1);
    assert_int_equal(range_free(q + 512, &paged), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(paged, 1);
    assert_int_equal(range_free_async(p, slow, &paged), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(paged, 1);
    assert_int_equal(range_free_async(q, slow, &paged), CUDA_SUCCESS);
    assert_int_equal(range_free_async(q, slow, &paged), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(paged, 1);
    assert_int_equal(range_free(q, &paged), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(paged, 1);
    assert_int_equal(range_find(q, &view), 1);
    fake_finish(slow);
    give(take(1 * MIB));
    assert_int_equal(range_find(q, &view), 0);
    /* An address that was never ours is the driver's. */
    assert_int_equal(range_free(FAKE_PLAIN - 4096, &paged), CUDA_SUCCESS);
    assert_int_equal(paged, 0);
}

static void *finish_one(void *arg)
{
    (void)arg;
    fake_finish_oldest();
    return NULL;
}

/* Memory that is only waiting for its stream is waited for before an allocation is refused. */
static void test_room_that_is_on_its_way(void **state)
{
    uint64_t free_bytes, total_bytes;
    CUdeviceptr p, q;
    CUstream slow;
    pthread_t thread;
    int paged;

    (void)state;
    fake_context(DEVICE_OOM);
    slow = fake_program_stream(1);
    range_capacity(DEVICE_OOM, &free_bytes, &total_bytes);
    p = take((size_t)total_bytes - 20 * MIB);
    assert_int_equal(range_free_async(p, slow, &paged), CUDA_SUCCESS);
    assert_int_equal(pthread_create(&thread, NULL, finish_one, NULL), 0);
    q = take(30 * MIB);
    pthread_join(thread, NULL);
    give(q);
    assert_int_equal(free_bytes_of(DEVICE_OOM), total_bytes);
}

/* A free waits for the work of the context that the memory belongs to, from wherever it comes. */
static void test_free_from_elsewhere(void **state)
{
    CUcontext owner = fake_context(DEVICE_ASYNC), other;
    CUdeviceptr p = take(1 * MIB), q = take(1 * MIB), r = take(1 * MIB);
    struct range_view view;
    int paged;

    (void)state;
    give(p);
    assert_ptr_equal(g_fake.synced, owner);
    other = fake_context(DEVICE_CONTEXT);
    give(q);
    assert_ptr_equal(g_fake.synced, owner);
    assert_ptr_equal(t_fake_ctx, other);
    /* The other context goes, and its events with it: the memory is free, the event nobody's. */
    assert_int_equal(range_free_async(r, fake_program_stream(1), &paged), CUDA_SUCCESS);
    range_context_destroyed(other);
    for (size_t i = 0; i < g_fake.event_count; i++)
        if (g_fake.events[i]->ctx == other)
            g_fake.events[i]->alive = 0;
    assert_int_equal(range_find(r, &view), 0);
    t_fake_ctx = owner;
    give(take(1 * MIB));
    assert_int_equal(FAKE_READ(g_fake.misuse), 0);
}

static void test_context_destroyed(void **state)
{
    CUcontext first, second;
    CUdeviceptr a, b, c, d;
    struct range_view view;
    uint64_t total;
    int paged;

    (void)state;
    first = fake_context(DEVICE_CONTEXT);
    total = free_bytes_of(DEVICE_CONTEXT);
    a = take(20 * MIB);
    b = take(1 * MIB);
    c = take(1 * KIB);
    assert_int_equal(range_free_async(b, fake_program_stream(1), &paged), CUDA_SUCCESS);
    second = fake_context(DEVICE_CONTEXT);
    d = take(1 * MIB);
    assert_true(d < b || d >= b + 32 * MIB); /* contexts share no range */
    range_context_destroyed(first);
    residency_context_destroyed(first, 0);
    first->destroyed = 1;
    assert_int_equal(range_find(a, &view), 0);
    assert_int_equal(range_find(b, &view), 0);
    assert_int_equal(range_find(c, &view), 0);
    assert_int_equal(range_find(d, &view), 1);
    assert_int_equal(stats()->plain_bytes, 0);
    assert_int_equal(free_bytes_of(DEVICE_CONTEXT), total - 1 * MIB);
    give(d);
    range_context_destroyed(second);
    residency_context_destroyed(second, 0);
    assert_int_equal(free_bytes_of(DEVICE_CONTEXT), total);
    g_fake.live_managed_bytes = 0; /* a real driver gives back what its context held */
}

/* What a program may do, whatever fails. returns how many of the calls failed */
static int scenario(void)
{
    static const size_t sizes[] = {4 * KIB, 100 * KIB, 3 * MIB, 20 * MIB, 70 * KIB};
    CUdeviceptr p[5];
    int have[5], failures = 0, paged;

    for (int i = 0; i < 5; i++) {
        size_t bytes = sizes[i];

        have[i] = range_alloc(bytes, fake_plain, &bytes, &p[i]) == CUDA_SUCCESS;
        failures += !have[i];
    }
    for (int i = 0; i < 5; i++) {
        struct range_view view;

        if (!have[i])
            continue;
        assert_int_equal(view_of(p[i] + sizes[i] - 1).base, p[i]);
        if (i == 2 && range_free_async(p[i], CU_STREAM_LEGACY, &paged) == CUDA_SUCCESS && paged)
            continue;
        if (range_free(p[i], &paged) == CUDA_SUCCESS) {
            if (!paged)
                while (g_fake_driver.cuMemFree_v2(p[i]) != CUDA_SUCCESS)
                    ;
            continue;
        }
        failures++;
        if (range_find(p[i], &view)) /* refused, and as it was: try again */
            assert_int_equal(range_free(p[i], &paged), CUDA_SUCCESS);
    }
    return failures;
}

/* What other tests' contexts have left goes, before its bytes count here. */
static void settle(void)
{
    give(take(RANGE_PACK_MAX + PAGE_BYTES));
    release_wait();
}

static void fail_each_call(const char *kind, CUdevice device, int frees_fail)
{
    uint64_t free_bytes = free_bytes_of(device);

    for (unsigned skip = 0;; skip++) {
        unsigned left;
        uint64_t managed = g_fake.live_managed_bytes, plain = stats()->plain_bytes;
        size_t events = g_fake.live_events;

        fake_fail(kind, skip, 1, CUDA_ERROR_UNKNOWN);
        scenario();
        left = g_fake.fail_count;
        fake_fail(NULL, 0, 0, CUDA_SUCCESS);
        give(take(100 * KIB)); /* what was freed in stream order goes now */
        assert_int_equal(free_bytes_of(device), free_bytes);
        assert_int_equal(stats()->plain_bytes, plain);
        if (!frees_fail) {
            assert_int_equal(g_fake.live_managed_bytes, managed);
            assert_true(g_fake.live_events <= events);
        }
        assert_int_equal(g_fake.misuse, 0);
        if (left)
            break;
        assert_true(skip < 200);
    }
}

static void test_every_call_fails(void **state)
{
    static const char *const kinds[] = {
        "cuMemAllocManaged", "cuMemAlloc",         "cuMemAdvise",
        "cuEventCreate",     "cuEventRecord",      "cuEventQuery",
        "cuCtxSynchronize",  "cuMemPrefetchAsync", "cuStreamCreate"};
    static const CUdevice devices[] = {DEVICE_FAIL, DEVICE_FAIL_ACTIVE};

    (void)state;
    for (int d = 0; d < 2; d++) {
        fake_context(devices[d]);
        settle();
        scenario();
        give(take(100 * KIB));
        for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
            fail_each_call(kinds[k], devices[d], 0);
        fail_each_call("cuMemFree", devices[d], 1);
        fail_each_call("cuEventDestroy", devices[d], 1);
    }
    g_fake.live_managed_bytes = 0; /* what the refused frees left */
}

/* A card smaller than the budget: our extents make room for what the program itself takes. */
static void test_plain_takes_room(void **state)
{
    struct residency *res;
    CUdeviceptr weights, p;

    (void)state;
    fake_context(DEVICE_TIGHT);
    weights = take(30 * MIB);
    assert_false(residency_active(DEVICE_TIGHT));
    assert_int_equal(g_fake.resident[DEVICE_TIGHT], 30 * MIB);
    fake_fail("cuMemAlloc", 0, 1, CUDA_ERROR_OUT_OF_MEMORY);
    p = take(60 * KIB);
    assert_int_equal(view_of(p).kind, ALLOCATION_PLAIN);
    assert_true(residency_active(DEVICE_TIGHT));
    assert_true(g_fake.resident[DEVICE_TIGHT] < 30 * MIB);
    res = residency_get(DEVICE_TIGHT);
    assert_true(residency_limit(res) <= 30 * MIB - 60 * KIB);
    give(p);
    give(weights);
}

/* Extents that one device has done with must not become another's while it still lists them. */
static void test_extents_stay_with_their_device(void **state)
{
    CUcontext first, second;
    CUdeviceptr a, b;

    (void)state;
    first = fake_context(DEVICE_PACK);
    give(take(18 * MIB));
    second = fake_context(DEVICE_OTHER);
    a = take(18 * MIB);
    assert_int_equal(fake_page_at(a)->at, DEVICE_OTHER);
    t_fake_ctx = first;
    b = take(40 * MIB);
    assert_int_equal(fake_page_at(b)->at, DEVICE_PACK);
    residency_shrink(residency_get(DEVICE_PACK), 64 * MIB);
    assert_int_equal(fake_page_at(b)->at, -1);
    assert_int_equal(fake_page_at(a)->at, DEVICE_OTHER);
    give(b);
    t_fake_ctx = second;
    give(a);
}

/* However the sizes change, there are no more extents than were once in use at the same time; and
 * no two ranges ever have one in common. */
static void test_ever_changing_sizes(void **state)
{
    size_t first_page, most = 0;
    uint64_t managed;
    CUdeviceptr p[2];

    (void)state;
    fake_context(DEVICE_SIZES);
    settle();
    first_page = g_fake.next_page;
    managed = g_fake.live_managed_bytes;
    g_seed = 3;
    for (int round = 0; round < 5000; round++) {
        size_t pages[2];

        for (int i = 0; i < 2; i++) {
            pages[i] = RANGE_PACK_MAX / PAGE_BYTES + random_below(60);
            p[i] = take(pages[i] * PAGE_BYTES);
        }
        if (pages[0] + pages[1] > most)
            most = pages[0] + pages[1];
        for (int i = 0; i < 2; i++) {
            const struct range *r = range_allocation_at(p[i])->range;

            assert_int_equal(r->extent_count, pages[i]);
            for (size_t n = 0; n < r->extent_count; n++) {
                assert_ptr_equal(r->extents[n]->range, r);
                assert_int_equal(r->extents[n]->first, p[i] + n * PAGE_BYTES);
            }
        }
        give(p[round % 2]);
        give(p[1 - round % 2]);
        assert_int_equal(g_fake.live_managed_bytes, managed);
        g_fake.next_page = first_page; /* the driver's addresses come again, too */
    }
    assert_true(residency_get(DEVICE_SIZES)->table_count <= most);
}

/* What was freed beside a block that stays takes no room: not in the account, and not in VRAM where
 * that is needed. */
static void test_vacant_extents_do_not_count(void **state)
{
    struct residency *res;
    CUdeviceptr stays, p;

    (void)state;
    fake_context(DEVICE_VACANT);
    res = residency_get(DEVICE_VACANT);
    g_fake.limit[DEVICE_VACANT] = 24 * MIB;
    stays = take(1 * MIB);
    for (int round = 0; round < 12; round++) {
        p = take((size_t)(13 - round % 5) * MIB);
        /* Two neighbours in one extent: it is in use until both have gone. */
        give(take(100 * KIB));
        for (size_t at = 0; at < 8 * MIB; at += PAGE_BYTES)
            assert_int_equal(fake_page_at(p + at)->at, DEVICE_VACANT);
        give(p);
        assert_int_equal(fake_page_at(stays)->at, DEVICE_VACANT);
        assert_false(residency_active(DEVICE_VACANT));
        assert_int_equal(res->total_bytes, PAGE_BYTES);
    }
    /* Nor does it stand in the way of the program's own VRAM, or of a range that is its own. */
    residency_charge(res, 20 * MIB);
    assert_true(g_fake.resident[DEVICE_VACANT] <= 4 * MIB);
    residency_charge(res, -(int64_t)(20 * MIB));
    p = take(20 * MIB);
    assert_true(g_fake.resident[DEVICE_VACANT] >= 22 * MIB);
    give(p);
    assert_false(residency_active(DEVICE_VACANT));
    /* What is in use and does not fit turns paging on, as ever. */
    p = take(24 * MIB);
    assert_true(residency_active(DEVICE_VACANT));
    give(p);
    give(stays);
    assert_int_equal(res->total_bytes, 0);
    assert_int_equal(FAKE_READ(g_fake.misuse), 0);
}

/* A context makes room for another one of the same device, on streams of its own. */
static void test_vacant_extents_of_another_context(void **state)
{
    CUcontext first = fake_context(DEVICE_NEIGHBOUR), second;
    CUdeviceptr stays, p, q;
    struct residency *res = residency_get(DEVICE_NEIGHBOUR);

    (void)state;
    g_fake.limit[DEVICE_NEIGHBOUR] = res->budget_bytes;
    stays = take(1 * MIB);
    p = take(12 * MIB);
    give(p);
    second = fake_context(DEVICE_NEIGHBOUR);
    q = take((size_t)res->budget_bytes - res->extent_bytes);
    assert_ptr_equal(t_fake_ctx, second);
    assert_false(residency_active(DEVICE_NEIGHBOUR));
    give(q);
    t_fake_ctx = first;
    give(stays);
    assert_int_equal(FAKE_READ(g_fake.misuse), 0);
}

#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        time_t until = time(NULL) + 10;                                                            \
                                                                                                   \
        while (!(condition)) {                                                                     \
            assert_true(time(NULL) < until);                                                       \
            sched_yield();                                                                         \
        }                                                                                          \
    } while (0)

static _Atomic int g_pausing;

/* returns how many were in the driver when the pause had begun */
static void *pause_release(void *ctx)
{
    int in_driver;

    g_pausing = 1;
    release_pause(ctx);
    in_driver = FAKE_READ(g_fake.at_gate);
    release_resume();
    return (void *)(intptr_t)in_driver;
}

/* A range that a free in stream order has emptied, and that is of the wrong size for what comes,
 * goes back to the driver while the program goes on; a context is not destroyed meanwhile. */
static void test_release_in_the_background(void **state)
{
    CUcontext ctx = fake_context(DEVICE_RELEASE);
    CUstream stream = fake_program_stream(0);
    uint64_t managed;
    CUdeviceptr p, q;
    pthread_t thread;
    void *in_driver;
    int paged;

    (void)state;
    settle();
    managed = g_fake.live_managed_bytes;
    g_fake.limit[DEVICE_RELEASE] = 64 * MIB;
    p = take(20 * MIB);
    assert_int_equal(range_free_async(p, stream, &paged), CUDA_SUCCESS);
    assert_int_equal(take(20 * MIB), p); /* its like takes it as it is */
    assert_int_equal(range_free_async(p, stream, &paged), CUDA_SUCCESS);
    fake_gate("cuMemFree");
    q = take(50 * MIB); /* with the other, more than there is */
    WAIT_FOR(FAKE_READ(g_fake.at_gate));
    assert_int_equal(FAKE_READ(g_fake.resident[DEVICE_RELEASE]), 50 * MIB);
    assert_int_equal(range_free_async(q, stream, &paged), CUDA_SUCCESS);
    q = take(60 * MIB);
    assert_false(residency_active(DEVICE_RELEASE));
    pthread_create(&thread, NULL, pause_release, ctx);
    WAIT_FOR(g_pausing);
    for (int i = 0; i < 1000; i++)
        sched_yield();
    fake_gate(NULL);
    pthread_join(thread, &in_driver);
    assert_null(in_driver);
    WAIT_FOR(FAKE_READ(g_fake.live_managed_bytes) == managed + 60 * MIB);
    /* Where it is needed for an allocation, that waits for it. */
    assert_int_equal(range_free_async(q, stream, &paged), CUDA_SUCCESS);
    fake_fail("cuMemAllocManaged", 0, 1, CUDA_ERROR_OUT_OF_MEMORY);
    q = take(40 * MIB);
    assert_int_equal(g_fake.live_managed_bytes, managed + 40 * MIB);
    give(q);
    assert_int_equal(g_fake.live_managed_bytes, managed);
    assert_int_equal(FAKE_READ(g_fake.misuse), 0);
}

/* Whatever GPU a policy may name is paged. */
static void test_every_device(void **state)
{
    (void)state;
    fake_context(0);
    for (CUdevice device = FAKE_DEVICES; device < POLICY_DEVICES_MAX; device++) {
        g_fake_policy.max_memory.device_bytes[device] = 8 * MIB;
        assert_int_equal(residency_budget(device), 8 * MIB);
        assert_int_equal(stats()->budget_bytes[device], 8 * MIB);
    }
    assert_null(residency_get(POLICY_DEVICES_MAX));
}

static int setup(void **state)
{
    (void)state;
    for (int i = 0; i < FAKE_DEVICES; i++)
        fake_budget(i, 8 * GIB, 8 * GIB);
    fake_budget(DEVICE_HOLE, 64 * MIB, 8 * GIB); /* shared ranges of 32 MiB */
    fake_budget(DEVICE_RANDOM, 200 * MIB, 8 * GIB);
    fake_budget(DEVICE_OOM, 32 * MIB, 64 * MIB);
    fake_budget(DEVICE_FAIL_ACTIVE, 4 * MIB, 8 * GIB);
    fake_budget(DEVICE_TIGHT, 64 * MIB, 8 * GIB);
    fake_budget(DEVICE_VACANT, 24 * MIB, 8 * GIB);
    fake_budget(DEVICE_NEIGHBOUR, 24 * MIB, 8 * GIB);
    fake_budget(DEVICE_RELEASE, 64 * MIB, 8 * GIB);
    fake_budget(DEVICE_SIZES, 256 * MIB, 8 * GIB); /* extents of one page */
    return 0;
}

static int set_host_room(void **state)
{
    (void)state;
    g_fake_policy.max_memory.cpu_bytes = 64 * MIB;
    return 0;
}

static int reset_host_room(void **state)
{
    (void)state;
    g_fake_policy.max_memory.cpu_bytes = 8 * GIB;
    return g_fake.misuse;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_packed_own),
        cmocka_unit_test(test_hole_across_the_cursor),
        cmocka_unit_test(test_random_against_a_model),
        cmocka_unit_test_setup_teardown(test_out_of_memory, set_host_room, reset_host_room),
        cmocka_unit_test_setup_teardown(test_room_that_is_on_its_way, set_host_room,
                                        reset_host_room),
        cmocka_unit_test(test_freed_twice),
        cmocka_unit_test(test_plain_fallback),
        cmocka_unit_test(test_async_free),
        cmocka_unit_test(test_free_from_elsewhere),
        cmocka_unit_test(test_context_destroyed),
        cmocka_unit_test(test_every_call_fails),
        cmocka_unit_test(test_plain_takes_room),
        cmocka_unit_test(test_extents_stay_with_their_device),
        cmocka_unit_test(test_ever_changing_sizes),
        cmocka_unit_test(test_vacant_extents_do_not_count),
        cmocka_unit_test(test_vacant_extents_of_another_context),
        cmocka_unit_test(test_release_in_the_background),
        cmocka_unit_test(test_every_device),
    };

    return cmocka_run_group_tests(tests, setup, reset_host_room);
}
