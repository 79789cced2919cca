/* Strategy: single loads and drops, called by the test while the pager is kept out, over a fake
 * driver whose streams of ours run when the test says so. Its books judge what a kernel could lose:
 * a duplicate that the device may write without a fault, also one that comes about late because
 * advice overtakes a prefetch; and a load that does not wait for its room. */
#include "context_wait.h"
#include "tests/unit/residency_bench.h"

/* One device for each test: what it has learned, or broken, stays with it. */
enum {
    DEVICE_BIRTHS,
    DEVICE_BIRTHS_UNKNOWN,
    DEVICE_MOVES,
    DEVICE_NO_EVENT,
    DEVICE_AGAIN,
    DEVICE_LOST,
    DEVICE_LEAVING,
    DEVICE_CALM,
    DEVICE_TORN,
    DEVICE_TORN_DROP,
    DEVICE_CONTEXTS,
    DEVICE_UNORDERED,
    DEVICE_VACANT,
    DEVICE_VACATED,
    DEVICE_VACATED_LATE,
};

/* A device that pages, without its pager. */
static struct bench bench_alone(CUdevice device, size_t extents)
{
    struct bench b;

    g_fake.hold_new = 1;
    b = bench_make(device, extents, QUICK);
    if (!residency_active(device)) {
        LOCKED(b.res, b.res->paused++);
        take(BUDGET);
    } else {
        residency_pause(device);
    }
    assert_true(residency_active(device));
    return b;
}

/* All of our streams have run. */
static void finish_all(void)
{
    for (size_t i = 0; i < FAKE_READ(g_fake.stream_count); i++)
        if (g_fake.streams[i]->alive)
            fake_finish(g_fake.streams[i]);
}

/* The pager is a thread of its own: its current context is not what the test has made it. */
static void let_pager_in(const struct bench *b)
{
    LOCKED(b->res, (b->res->pager_ctx = NULL, 0));
    residency_resume(b->ctx->device);
}

static void bench_let_go(struct bench *b)
{
    g_fake.hold_new = 0;
    finish_all();
    let_pager_in(b);
    give(b->base);
    assert_int_equal(FAKE_READ(g_fake.misuse), 0);
}

/* The whole range was uploaded, as far as anybody knows; or nothing of it. */
static void set_uploaded(const struct bench *b, int uploaded)
{
    CUdeviceptr end = b->base + b->range->bytes;
    struct allocation *allocation;

    range_write_lock();
    allocation = range_allocation_at(b->base);
    assert_int_equal(uploaded
                         ? object_define(allocation, b->base, end, NULL, 0, STATS_EVIDENCE_NONE)
                         : object_erase(allocation, b->base, end),
                     0);
    range_unlock();
}

static struct extent *extent_of(const struct bench *b, size_t extent)
{
    return b->range->extents[extent];
}

/* As the pager would, whose context is the test's already. */
static void load(const struct bench *b, size_t extent)
{
    LOCKED(b->res, (b->res->pager_ctx = b->ctx, move_load(b->res, extent_of(b, extent)), 0));
}

static void drop(const struct bench *b, size_t extent)
{
    LOCKED(b->res, (b->res->pager_ctx = b->ctx, move_drop(b->res, extent_of(b, extent)), 0));
}

static int is_read_mostly(const struct bench *b, size_t extent)
{
    return FAKE_READ(fake_page_at(b->base + extent * PAGE_BYTES)->read_mostly);
}

/* What is born may be on its way still when it is dropped and loaded as a duplicate: that waits,
 * once for all that is born. */
static void test_births_on_their_way(void **state)
{
    struct bench b = bench_alone(DEVICE_BIRTHS, FITS);

    (void)state;
    assert_true(LOCKED(b.res, b.res->lanes->births));
    set_uploaded(&b, 1);
    for (size_t i = 0; i < 2; i++) {
        drop(&b, i);
        load(&b, i);
        assert_true(is_there(&b, i));
        assert_true(is_read_mostly(&b, i));
        assert_false(LOCKED(b.res, b.res->lanes->births));
    }
    bench_let_go(&b);
}

/* Where waiting fails it is not loaded as a duplicate. */
static void test_births_that_nobody_could_wait_for(void **state)
{
    struct bench b = bench_alone(DEVICE_BIRTHS_UNKNOWN, FITS);

    (void)state;
    set_uploaded(&b, 1);
    drop(&b, 0);
    fake_fail("cuStreamSynchronize", 0, 1, CUDA_ERROR_UNKNOWN);
    load(&b, 0);
    assert_true(is_there(&b, 0));
    assert_false(is_read_mostly(&b, 0));
    bench_let_go(&b);
}

/* The same with an extent that was loaded to be written, and uploaded since: it is a duplicate once
 * such a load is known to have come. */
static void test_moves_on_their_way(void **state)
{
    struct bench b = bench_alone(DEVICE_MOVES, 20);

    (void)state;
    load(&b, 0);
    drop(&b, 0);
    set_uploaded(&b, 1);
    load(&b, 0);
    assert_true(is_there(&b, 0));
    assert_false(is_read_mostly(&b, 0));
    finish_all();
    let_pager_in(&b);
    WAIT_FOR_PAGER(b.res, LOCKED(b.res, !extent_of(&b, 0)->ready));
    residency_pause(DEVICE_MOVES);
    drop(&b, 0);
    load(&b, 0);
    assert_true(is_read_mostly(&b, 0));
    bench_let_go(&b);
}

/* A load that has no event is waited for at once, and is known to have come. */
static void test_moves_without_an_event(void **state)
{
    struct bench b = bench_alone(DEVICE_NO_EVENT, 20);

    (void)state;
    fake_fail("cuEventRecord", 0, 1, CUDA_ERROR_UNKNOWN);
    load(&b, 0);
    assert_null(extent_of(&b, 0)->ready);
    drop(&b, 0);
    set_uploaded(&b, 1);
    load(&b, 0);
    assert_true(is_read_mostly(&b, 0));
    bench_let_go(&b);
}

/* Mappings are made and ended with the first load; later ones do without. */
static void test_second_load(void **state)
{
    struct bench b = bench_alone(DEVICE_AGAIN, 20);
    static char trace[1024]; /* still there where this test fails */

    (void)state;
    set_uploaded(&b, 1);
    load(&b, 1); /* streams and events are there */
    g_fake.trace_bytes = sizeof(trace);
    g_fake.trace = trace;
    load(&b, 0);
    assert_non_null(strstr(trace, "not ACCESSED_BY(1, 4) prefetch(1, -1) READ_MOSTLY(1, 4)"));
    drop(&b, 0);
    trace[0] = '\0';
    load(&b, 0);
    assert_non_null(strstr(trace, "READ_MOSTLY(1, 4) prefetch(1, 4)"));
    assert_null(strstr(trace, "ACCESSED_BY"));
    assert_null(strstr(trace, "prefetch(1, -1)"));
    g_fake.trace = NULL;
    bench_let_go(&b);
}

/* What the next load of an extent does about mappings is that of a first one. */
static void expect_first(const struct bench *b, size_t extent)
{
    static char trace[1024]; /* still there where this test fails */

    trace[0] = '\0';
    g_fake.trace_bytes = sizeof(trace);
    g_fake.trace = trace;
    load(b, extent);
    g_fake.trace = NULL;
    assert_non_null(strstr(trace, "prefetch(1, -1) READ_MOSTLY"));
}

/* Nobody can say when a drop has run whose event fails, and the wait for it too. */
static void test_load_behind_a_lost_drop(void **state)
{
    struct bench b = bench_alone(DEVICE_LOST, 20);

    (void)state;
    set_uploaded(&b, 1);
    load(&b, 0);
    drop(&b, 0);
    load(&b, 0);
    /* A wait for the load, prefetch, advice: then the two that fail. */
    fake_fail(NULL, 3, 2, CUDA_ERROR_UNKNOWN);
    drop(&b, 0);
    assert_int_equal(LOCKED(b.res, extent_of(&b, 0)->state), EXTENT_ABSENT);
    finish_all();
    expect_first(&b, 0);
    g_fake.misuse = 0; /* the fake's books miss the wait, too */
    bench_let_go(&b);
}

/* A context is coming to its end, for all that is known: nothing is asked about the drop there. */
static void test_load_behind_a_drop_that_is_not_asked(void **state)
{
    struct bench b = bench_alone(DEVICE_LEAVING, 20);

    (void)state;
    set_uploaded(&b, 1);
    load(&b, 0);
    drop(&b, 0);
    context_wait_leave(b.ctx, 1);
    expect_first(&b, 0);
    context_wait_left(b.ctx);
    g_fake.misuse = 0; /* the load does not wait */
    finish_all();
    bench_let_go(&b);
}

static CUresult elapsed(float *milliseconds, CUevent from, CUevent to)
{
    (void)from;
    (void)to;
    *milliseconds = 1;
    return CUDA_SUCCESS;
}

/* Loads are calm where the plan's tempo is, but the first of an extent. What takes its stream
 * longer is not timed. */
static void test_calm_loads(void **state)
{
    struct bench b = bench_alone(DEVICE_CALM, 20);
    const struct lane *lane;

    (void)state;
    g_fake_driver.cuEventElapsedTime = elapsed;
    set_uploaded(&b, 1);
    LOCKED(b.res, (b.res->learned = 1, b.res->tempo.calm = 1));
    LOCKED(b.res, b.res->load_number = TRANSFER_TIMED_LOADS);
    load(&b, 0);
    assert_int_equal(g_fake.gated_loads, 0);
    for (unsigned turn = 1; turn <= 2 * TRANSFER_LOAD_STREAMS; turn++) {
        drop(&b, 0);
        load(&b, 0);
        assert_int_equal(g_fake.gated_loads, turn);
    }
    lane = transfer_lane(&b.res->lanes, b.ctx);
    assert_false(lane->timing || lane->timed_loads);
    LOCKED(b.res, b.res->load_number = 256); /* one by which the link is timed */
    drop(&b, 0);
    load(&b, 0);
    assert_int_equal(g_fake.gated_loads, 2 * TRANSFER_LOAD_STREAMS);
    assert_true(lane->timing);
    LOCKED(b.res, b.res->load_number = 256 + TRANSFER_TIMED_LOADS);
    drop(&b, 0);
    load(&b, 0); /* a calm one ends the run */
    assert_int_equal(g_fake.gated_loads, 2 * TRANSFER_LOAD_STREAMS + 1);
    assert_false(lane->timing);
    /* One that the driver refuses leaves no gate closed. */
    drop(&b, 0);
    fake_fail("cuMemPrefetchAsync", 0, 1, CUDA_ERROR_UNKNOWN);
    load(&b, 0);
    assert_false(is_there(&b, 0));
    for (int i = 0; i < TRANSFER_LOAD_STREAMS; i++)
        assert_false(fake_is_gated(lane->h2d[i]));
    load(&b, 0);
    LOCKED(b.res, b.res->tempo.calm = 0);
    drop(&b, 0);
    load(&b, 0);
    assert_int_equal(g_fake.gated_loads, 2 * TRANSFER_LOAD_STREAMS + 2);
    LOCKED(b.res, b.res->learned = 0);
    g_fake_driver.cuEventElapsedTime = NULL;
    bench_let_go(&b);
}

/* A load whose last call fails, and the call that was to undo it too, leaves READ_MOSTLY behind.
 * The next load ends that, or fails as well. */
static void test_torn_load(void **state)
{
    struct bench b = bench_alone(DEVICE_TORN, 20);

    (void)state;
    load(&b, 1); /* streams and events are there */
    drop(&b, 1);
    set_uploaded(&b, 1);
    /* Asking for the drop and waits for it; advice, prefetch, advice: then the two that fail. */
    fake_fail(NULL, 1 + TRANSFER_LOAD_STREAMS + 3, 2, CUDA_ERROR_UNKNOWN);
    load(&b, 0);
    assert_false(is_there(&b, 0));
    assert_true(is_read_mostly(&b, 0));
    set_uploaded(&b, 0);
    fake_fail("cuMemAdvise", 0, 1, CUDA_ERROR_UNKNOWN);
    load(&b, 0);
    assert_false(is_there(&b, 0));
    assert_int_equal(LOCKED(b.res, extent_of(&b, 0)->state), EXTENT_ABSENT);
    load(&b, 0);
    assert_true(is_there(&b, 0));
    assert_false(is_read_mostly(&b, 0));
    drop(&b, 0);
    assert_false(is_there(&b, 0));
    bench_let_go(&b);
}

/* A drop that fails leaves the extent as it was loaded, whatever is known of it by then, and the
 * next drop does all of it. */
static void test_torn_drop(void **state)
{
    static const char *const kinds[] = {"cuMemAdvise", "cuMemPrefetchAsync", "cuStreamWaitEvent"};
    struct bench b = bench_alone(DEVICE_TORN_DROP, 20);

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        set_uploaded(&b, 1);
        load(&b, i);
        assert_true(is_read_mostly(&b, i));
        set_uploaded(&b, 0);
        fake_fail(kinds[i], 0, 1, CUDA_ERROR_UNKNOWN);
        drop(&b, i);
        assert_int_equal(LOCKED(b.res, extent_of(&b, i)->state), EXTENT_RESIDENT);
        assert_int_equal(LOCKED(b.res, extent_of(&b, i)->mode), BACKEND_SHARED);
        drop(&b, i);
        assert_int_equal(LOCKED(b.res, extent_of(&b, i)->state), EXTENT_ABSENT);
        assert_false(is_read_mostly(&b, i));
        assert_false(is_there(&b, i));
    }
    bench_let_go(&b);
}

/* The first load in a context, too, waits for a drop of another's that may still be copying. */
static void test_first_load_of_a_context(void **state)
{
    struct bench b = bench_alone(DEVICE_CONTEXTS, 20), other = b;

    (void)state;
    load(&b, 0);
    drop(&b, 0);
    other.ctx = fake_context(DEVICE_CONTEXTS);
    other.base = take(20 * PAGE_BYTES);
    other.range = range_of(other.base);
    load(&other, 0); /* a load that does not wait is misuse */
    assert_true(is_there(&other, 0));
    give(other.base);
    t_fake_ctx = b.ctx;
    bench_let_go(&b);
}

static void *finish_when_waited_for(void *arg)
{
    WAIT_FOR(FAKE_READ(g_fake.synchronizing));
    fake_finish(arg);
    return NULL;
}

/* Where the wait cannot be queued, the drop is waited for. */
static void test_load_that_cannot_be_queued_behind_a_drop(void **state)
{
    struct bench b = bench_alone(DEVICE_UNORDERED, 20);
    struct lane *lane;
    pthread_t thread;

    (void)state;
    load(&b, 0);
    drop(&b, 0);
    lane = b.res->lanes;
    fake_fail("cuStreamWaitEvent", 0, TRANSFER_LOAD_STREAMS, CUDA_ERROR_UNKNOWN);
    pthread_create(&thread, NULL, finish_when_waited_for, lane->d2h);
    load(&b, 0);
    pthread_join(thread, NULL);
    assert_null(lane->gone);
    bench_let_go(&b);
}

/* While everything fits, what is vacant makes room: what is born next, in a context that has no
 * streams until then, waits for it as well. */
static void test_first_birth_of_a_context(void **state)
{
    struct residency *res;
    CUdeviceptr stays, p;
    CUcontext first;

    (void)state;
    g_fake.hold_new = 1;
    first = fake_context(DEVICE_VACANT);
    g_fake.limit[DEVICE_VACANT] = BUDGET;
    res = residency_get(DEVICE_VACANT);
    stays = take(1 * MIB);
    give(take(7 * MIB));
    assert_int_equal(FAKE_READ(g_fake.resident[DEVICE_VACANT]), 8 * MIB);
    residency_charge(res, 14 * MIB);
    assert_int_equal(FAKE_READ(g_fake.resident[DEVICE_VACANT]), 2 * MIB);
    residency_charge(res, -(int64_t)(14 * MIB));
    fake_context(DEVICE_VACANT);
    p = take(1 * MIB);
    assert_int_equal(FAKE_READ(g_fake.resident[DEVICE_VACANT]), 4 * MIB);
    assert_false(residency_active(DEVICE_VACANT));
    give(p);
    t_fake_ctx = first;
    give(stays);
    g_fake.hold_new = 0;
    assert_int_equal(FAKE_READ(g_fake.misuse), 0);
}

/* All that is in one allocation was uploaded. */
static void upload(CUdeviceptr p, size_t bytes)
{
    range_write_lock();
    assert_int_equal(
        object_define(range_allocation_at(p), p, p + bytes, NULL, 0, STATS_EVIDENCE_NONE), 0);
    range_unlock();
}

/* What is vacant is no duplicate: one that becomes vacant goes, and what is loaded while it is
 * vacant moves. Its next owner's kernels write it, and each of their pages would fault. */
static void test_vacant_duplicates(void **state)
{
    struct bench b = bench_alone(DEVICE_VACATED, 20), packed = b;
    CUdeviceptr stays = take(1 * MIB), p;

    (void)state;
    p = take(7 * MIB);
    packed.range = range_of(p);
    packed.base = packed.range->base;
    assert_ptr_equal(packed.range, range_of(stays));
    upload(p, 7 * MIB);
    load(&packed, 2);
    load(&packed, 3);
    assert_true(is_read_mostly(&packed, 2) && is_read_mostly(&packed, 3));
    give(p);
    load(&packed, 1);
    assert_false(is_read_mostly(&packed, 1));
    finish_all();
    let_pager_in(&b);
    WAIT_FOR_PAGER(b.res, !is_there(&packed, 2) && !is_there(&packed, 3));
    assert_true(is_there(&packed, 1));
    residency_pause(DEVICE_VACATED);
    bench_let_go(&b);
    give(stays);
}

static void *load_in_thread(void *arg)
{
    const struct bench *b = arg;

    t_fake_ctx = b->ctx;
    load(b, 1);
    return NULL;
}

/* The same with one that becomes vacant while it is loaded, and with one that a launch pins: it
 * goes after the launch, and the one that cannot go yet keeps no other from it. */
static void test_vacant_duplicates_that_cannot_go_yet(void **state)
{
    struct bench b = bench_alone(DEVICE_VACATED_LATE, 20), packed = b;
    CUdeviceptr stays = take(1 * MIB), p = take(7 * MIB);
    struct extent *pinned;
    pthread_t thread;

    (void)state;
    packed.range = range_of(p);
    packed.base = packed.range->base;
    upload(p, 7 * MIB);
    load(&packed, 2);
    load(&packed, 3);
    pinned = extent_of(&packed, 2);
    LOCKED(b.res, pinned->pins++);
    fake_gate("cuMemPrefetchAsync");
    pthread_create(&thread, NULL, load_in_thread, &packed);
    WAIT_FOR(LOCKED(b.res, extent_of(&packed, 1)->state) == EXTENT_LOADING);
    WAIT_FOR(FAKE_READ(g_fake.at_gate));
    give(p);
    fake_gate(NULL);
    pthread_join(thread, NULL);
    assert_true(is_read_mostly(&packed, 1));
    finish_all();
    let_pager_in(&b);
    WAIT_FOR_PAGER(b.res, !is_there(&packed, 1) && !is_there(&packed, 3));
    assert_true(is_there(&packed, 2));
    WAIT_FOR(LOCKED(b.res, b.res->idle));
    LOCKED(b.res, pinned->pins--);
    WAIT_FOR_PAGER(b.res, !is_there(&packed, 2));
    residency_pause(DEVICE_VACATED_LATE);
    bench_let_go(&b);
    give(stays);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_births_on_their_way),
        cmocka_unit_test(test_births_that_nobody_could_wait_for),
        cmocka_unit_test(test_second_load),
        cmocka_unit_test(test_moves_on_their_way),
        cmocka_unit_test(test_moves_without_an_event),
        cmocka_unit_test(test_load_behind_a_lost_drop),
        cmocka_unit_test(test_load_behind_a_drop_that_is_not_asked),
        cmocka_unit_test(test_calm_loads),
        cmocka_unit_test(test_torn_load),
        cmocka_unit_test(test_torn_drop),
        cmocka_unit_test(test_first_load_of_a_context),
        cmocka_unit_test(test_load_that_cannot_be_queued_behind_a_drop),
        cmocka_unit_test(test_first_birth_of_a_context),
        cmocka_unit_test(test_vacant_duplicates),
        cmocka_unit_test(test_vacant_duplicates_that_cannot_go_yet),
    };

    return cmocka_run_group_tests(tests, bench_setup, NULL);
}
