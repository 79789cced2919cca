/* Strategy: what ends while residency is busy with it, over the real pager and a fake driver whose
 * calls stop where the test says so: ranges, contexts, paging itself. What others use goes on, and
 * nothing is counted, loaded or waited for that is gone. */
#include "context_wait.h"
#include "tests/unit/residency_bench.h"

/* One device for each test: what it has learned, or broken, stays with it. */
enum {
    DEVICE_TROUBLE,
    DEVICE_ADVICE,
    DEVICE_NO_ADVICE,
    DEVICE_DETACH,
    DEVICE_PAUSE,
    DEVICE_CONTEXT,
    DEVICE_CONFUSED,
    DEVICE_GATE,
    DEVICE_LEAVING,
    DEVICE_AGAIN,
    DEVICE_PLANS,
    DEVICE_STREAMS,
    DEVICE_ENDS,
    DEVICE_COMES,
};

/* Advice that fails once is tried again. A range that refuses it ends paging, but keeps no other
 * from its rest on the host, where kernels read it in place. */
static void test_advice_refused(void **state)
{
    (void)state;
    for (unsigned times = 1; times <= 2; times++) {
        CUdevice device = times == 1 ? DEVICE_ADVICE : DEVICE_NO_ADVICE;
        struct bench b = bench_make(device, BUDGET / PAGE_BYTES, QUICK);
        uint64_t ended = stats()->paging_ended;
        CUdeviceptr second;

        /* The first call is for the new range itself, the next for the one that was there. */
        fake_fail("cuMemAdvise", 1, times, CUDA_ERROR_UNKNOWN);
        second = take(BUDGET);
        fake_fail(NULL, 0, 0, CUDA_SUCCESS);
        assert_int_equal(!!b.res->broken, times == 2);
        assert_int_equal(stats()->paging_ended, ended + (times == 2));
        assert_int_equal(FAKE_READ(fake_page_at(b.base)->preferred), times == 2 ? device : -1);
        assert_int_equal(FAKE_READ(fake_page_at(second)->preferred), -1);
        give(second);
        bench_end(&b);
    }
}

/* A range whose context is coming to its end may have gone with that: it ends no paging. */
static void test_advice_while_a_context_ends(void **state)
{
    struct bench b = bench_make(DEVICE_ENDS, BUDGET / PAGE_BYTES, QUICK);
    uint64_t failures = stats()->driver_failures;
    CUdeviceptr second;

    (void)state;
    context_wait_leave(b.ctx, CONTEXT_WAIT_ENDS);
    fake_context(DEVICE_ENDS);
    /* The first call is for the new range itself, the next for the one that was there. */
    fake_fail("cuMemAdvise", 1, 2, CUDA_ERROR_INVALID_VALUE);
    second = take(BUDGET);
    fake_fail(NULL, 0, 0, CUDA_SUCCESS);
    assert_true(residency_active(DEVICE_ENDS));
    assert_false(b.res->broken);
    assert_int_equal(stats()->driver_failures, failures);
    context_wait_left(b.ctx);
    give(second);
    bench_end(&b);
}

/* Loads that the driver refuses again and again end paging; every launch goes ahead. */
static void test_trouble(void **state)
{
    struct bench b = bench_make(DEVICE_TROUBLE, 20, QUICK);
    uint64_t failures = stats()->driver_failures, ended = stats()->paging_ended;
    size_t extent = 0;
    struct use *use;

    (void)state;
    launch(&b, 0);
    /* One refusal is nothing: the launch reads in place. */
    fake_fail("cuMemPrefetchAsync", 0, 1, CUDA_ERROR_UNKNOWN);
    extent = 1;
    use = begin_on(&b, b.stream, 1, &extent);
    assert_non_null(use);
    residency_release(use, b.stream, CUDA_SUCCESS);
    assert_int_equal(stats()->driver_failures, failures + 1);
    assert_false(b.res->broken);
    assert_int_equal(stats()->paging_ended, ended);
    WAIT_FOR(LOCKED(b.res, b.res->resident_bytes) == FAKE_READ(g_fake.resident[DEVICE_TROUBLE]));
    fake_fail("cuMemPrefetchAsync", 0, UINT32_MAX, CUDA_ERROR_UNKNOWN);
    for (int round = 0; round < 40; round++) {
        extent = (size_t)round % 20;
        use = begin_on(&b, b.stream, 1, &extent);
        if (use)
            residency_release(use, b.stream, CUDA_SUCCESS);
    }
    assert_true(b.res->broken);
    assert_int_equal(stats()->paging_ended, ended + 1);
    assert_true(stats()->driver_failures >= failures + FAILURES_MAX);
    fake_fail(NULL, 0, 0, CUDA_SUCCESS);
    assert_null(begin_on(&b, b.stream, 1, &extent));
    assert_int_equal(residency_shrink(b.res, BUDGET, &(int){1}), 0);
    bench_end(&b);
    /* It ended with that context: another one's end changes nothing, its own does. */
    residency_context_destroyed(fake_context(DEVICE_TROUBLE), 1);
    assert_true(b.res->broken);
    residency_context_destroyed(b.ctx, 1);
    b = bench_make(DEVICE_TROUBLE, 20, QUICK);
    for (size_t i = 0; i < 40; i++)
        launch(&b, i % 20);
    assert_false(b.res->broken);
    bench_end(&b);
}

struct churn {
    struct bench *b;
    _Atomic int *ends;
};

/* Another thread of the program launches all the time. */
static void *churn(void *arg)
{
    const struct churn *c = arg;
    CUstream stream;
    size_t at = 0;

    t_fake_ctx = c->b->ctx;
    stream = fake_program_stream(0);
    while (!atomic_load(c->ends)) {
        struct use *use = begin_on(c->b, stream, 1, &at);

        if (use)
            residency_release(use, stream, CUDA_SUCCESS);
        at = (at + 1) % c->b->range->extent_count;
    }
    return NULL;
}

/* Ranges come and go while the pager is busy with them and with others. */
static void test_detach_while_busy(void **state)
{
    struct bench b = bench_make(DEVICE_DETACH, 20, QUICK);
    _Atomic int ends = 0;
    struct churn c = {&b, &ends};
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, churn, &c), 0);
    for (int round = 0; round < 60; round++) {
        struct bench other = b;
        struct use *use;
        size_t set[] = {0, 1, 2};

        other.base = take(18 * MIB);
        other.range = range_of(other.base);
        launch_on(&other, b.stream, 3, set);
        if (round % 3 == 0) { /* freed before its use has ended by our account */
            use = begin_on(&other, b.stream, 3, set);
            give(other.base);
            residency_release(use, b.stream, CUDA_SUCCESS);
        } else {
            launch_on(&other, b.stream, 1, &set[1]);
            give(other.base);
        }
        assert_int_equal(FAKE_READ(g_fake.misuse), 0);
    }
    atomic_store(&ends, 1);
    pthread_join(thread, NULL);
    bench_end(&b);
}

struct launcher {
    const struct bench *b;
    size_t extent;
    int was_there;
};

static void *launch_in_thread(void *arg)
{
    struct launcher *l = arg;
    CUstream stream;
    struct use *use;

    t_fake_ctx = l->b->ctx;
    stream = fake_program_stream(0);
    use = begin_on(l->b, stream, 1, &l->extent);
    l->was_there = will_be_there(l->b, l->extent, stream);
    if (use)
        residency_release(use, stream, CUDA_SUCCESS);
    return NULL;
}

static void *give_in_thread(void *arg)
{
    struct bench *b = arg;

    t_fake_ctx = b->ctx;
    give(b->base);
    return NULL;
}

/* While the pager is in the driver with an extent, a launch that wants it waits, for there is no
 * event yet; and so does a free of its range. */
static void test_pager_in_the_driver(void **state)
{
    struct bench b = bench_make(DEVICE_GATE, 20, QUICK), other = b;
    struct launcher l = {&b, 5, 0}, second = {&b, 5, 0};
    pthread_t thread[2];

    (void)state;
    fake_gate("cuMemPrefetchAsync");
    pthread_create(&thread[0], NULL, launch_in_thread, &l);
    WAIT_FOR(LOCKED(b.res, b.range->extents[5]->state) == EXTENT_LOADING);
    pthread_create(&thread[1], NULL, launch_in_thread, &second);
    WAIT_FOR(LOCKED(b.res, b.res->requests && b.res->requests->next));
    fake_gate(NULL);
    pthread_join(thread[0], NULL);
    pthread_join(thread[1], NULL);
    assert_true(l.was_there && second.was_there);

    other.base = take(18 * MIB);
    other.range = range_of(other.base);
    fake_gate("cuMemPrefetchAsync");
    l = (struct launcher){&other, 0, 0};
    pthread_create(&thread[0], NULL, launch_in_thread, &l);
    WAIT_FOR(LOCKED(b.res, b.res->handling != NULL));
    pthread_create(&thread[1], NULL, give_in_thread, &other);
    WAIT_FOR(LOCKED(b.res, b.res->paused));
    fake_gate(NULL);
    pthread_join(thread[1], NULL);
    pthread_join(thread[0], NULL);
    bench_end(&b);
}

/* A range that is being released still has its VRAM: nothing is loaded into that. */
static void test_room_of_a_range_that_goes(void **state)
{
    struct bench b = bench_make(DEVICE_LEAVING, 20, QUICK), other = b;
    struct launcher l = {&b, 5, 0};
    size_t set[FITS];
    pthread_t thread[2];

    (void)state;
    for (size_t i = 0; i < FITS; i++)
        set[i] = i;
    other.base = take(18 * MIB);
    other.range = range_of(other.base);
    launch_on(&other, b.stream, FITS, set);
    fake_gate("cuMemFree");
    pthread_create(&thread[0], NULL, give_in_thread, &other);
    WAIT_FOR(FAKE_READ(g_fake.at_gate));
    pthread_create(&thread[1], NULL, launch_in_thread, &l);
    pthread_join(thread[1], NULL);
    assert_int_equal(FAKE_READ(g_fake.misuse), 0);
    fake_gate(NULL);
    pthread_join(thread[0], NULL);
    launch(&b, 5);
    bench_end(&b);
}

/* Extents that are used again by another range keep the pins of that one's uses. */
static void test_pins_of_a_range_that_went(void **state)
{
    struct bench b = bench_make(DEVICE_AGAIN, 20, HELD), other = b;
    CUstream slow = fake_program_stream(1);
    size_t set[] = {0, 1};
    struct extent *extent;

    (void)state;
    other.base = take(18 * MIB);
    other.range = range_of(other.base);
    extent = other.range->extents[0];
    launch_on(&other, b.stream, 2, set);
    give(other.base);
    other.base = take(18 * MIB);
    other.range = range_of(other.base);
    assert_ptr_equal(other.range->extents[0], extent);
    launch_on(&other, slow, 2, set);
    assert_int_equal(LOCKED(b.res, extent->pins), 1);
    fake_finish(b.stream);
    assert_int_equal(LOCKED(b.res, (use_retire(b.res), extent->pins)), 1);
    fake_finish(slow);
    assert_int_equal(LOCKED(b.res, (use_retire(b.res), extent->pins)), 0);
    give(other.base);
    bench_end(&b);
}

/* Between pause and resume the pager is out of the driver. */
static void test_pause(void **state)
{
    struct bench b = bench_make(DEVICE_PAUSE, 20, QUICK);
    size_t extent = 7;
    struct use *use;
    unsigned loads;

    (void)state;
    launch(&b, 0);
    residency_pause(DEVICE_PAUSE);
    loads = FAKE_READ(g_fake.loads);
    LOCKED(b.res, b.res->patience_ns = 1000000);
    use = begin_on(&b, b.stream, 1, &extent);
    assert_int_equal(FAKE_READ(g_fake.loads), loads);
    residency_release(use, b.stream, CUDA_SUCCESS);
    LOCKED(b.res, b.res->patience_ns = DAY_NS);
    residency_resume(DEVICE_PAUSE);
    launch(&b, 7);
    bench_end(&b);
}

/* A device that comes into use while a context ends was not paused, and is not resumed. */
static void test_no_pause_of_what_is_not_there(void **state)
{
    int paused = residency_pause(DEVICE_COMES);
    struct bench b = bench_make(DEVICE_COMES, 20, QUICK);

    (void)state;
    assert_false(paused);
    assert_true(residency_pause(DEVICE_COMES));
    residency_resume(DEVICE_COMES);
    launch(&b, 7);
    bench_end(&b);
}

static void *pause_in_thread(void *arg)
{
    residency_pause(*(const CUdevice *)arg);
    return NULL;
}

/* A pause that comes while the pager plans, which it does without the lock, holds it back before
 * it serves the launch that waits: what it would drop may be of a context that ends. */
static void test_pause_while_planning(void **state)
{
    struct bench b = bench_make(DEVICE_PLANS, 20, QUICK);
    struct launcher l = {&b, 19, 0};
    CUdevice device = DEVICE_PLANS;
    pthread_t pausing, launching;
    unsigned moved;

    (void)state;
    for (size_t i = 0; i < 12; i++)
        launch(&b, i);
    residency_pause(DEVICE_PLANS);
    WAIT_FOR(LOCKED(b.res, b.res->idle));
    pthread_create(&launching, NULL, launch_in_thread, &l);
    WAIT_FOR(LOCKED(b.res, b.res->requests != NULL));
    LOCKED(b.res, b.res->history.next_try = 0);
    moved = FAKE_READ(g_fake.loads + g_fake.drops);
    range_write_lock(); /* which keeps it asking what is clean */
    residency_resume(DEVICE_PLANS);
    WAIT_FOR(LOCKED(b.res, b.res->handling != NULL));
    pthread_create(&pausing, NULL, pause_in_thread, &device);
    WAIT_FOR(LOCKED(b.res, b.res->paused));
    range_unlock();
    pthread_join(pausing, NULL);
    WAIT_FOR(LOCKED(b.res, b.res->idle));
    assert_int_equal(FAKE_READ(g_fake.loads + g_fake.drops), moved);
    residency_resume(DEVICE_PLANS);
    pthread_join(launching, NULL);
    assert_true(l.was_there);
    bench_end(&b);
}

static struct residency *g_streams_of;
static unsigned g_opened, g_opened_early;

/* A driver may write the handle before it returns: nobody sees that before the lock is taken, which
 * is free during the call. */
static CUresult open_unseen(CUstream *stream, unsigned int flags)
{
    CUresult result = fake_cuStreamCreate(stream, flags);

    pthread_mutex_lock(&g_streams_of->lock);
    for (struct lane *lane = g_streams_of->lanes; lane; lane = lane->next) {
        for (int i = 0; i < TRANSFER_LOAD_STREAMS; i++)
            g_opened_early += lane->h2d[i] == *stream;
        g_opened_early += lane->d2h == *stream;
    }
    g_opened++;
    pthread_mutex_unlock(&g_streams_of->lock);
    return result;
}

/* The pager makes streams without the lock that others read with it. */
static void test_streams_that_come(void **state)
{
    struct bench b = bench_make(DEVICE_STREAMS, 20, QUICK);

    (void)state;
    g_streams_of = b.res;
    g_fake_driver.cuStreamCreate = open_unseen;
    launch(&b, 0);
    g_fake_driver.cuStreamCreate = fake_cuStreamCreate;
    assert_int_equal(LOCKED(b.res, g_opened), TRANSFER_LOAD_STREAMS + 1);
    assert_int_equal(LOCKED(b.res, g_opened_early), 0);
    bench_end(&b);
}

/* A context goes with its streams and events; another one on the same device goes on. */
static void test_context_destroyed(void **state)
{
    size_t events = g_fake.live_events, streams = g_fake.live_streams;
    struct bench first = bench_make(DEVICE_CONTEXT, 10, HELD), second;
    const size_t busy = 0;
    struct use *use;

    (void)state;
    second = first;
    second.ctx = fake_context(DEVICE_CONTEXT);
    second.base = take(10 * PAGE_BYTES);
    second.range = range_of(second.base);
    second.stream = fake_program_stream(0);
    t_fake_ctx = first.ctx;
    for (size_t i = 0; i < 10; i++) {
        launch(&first, i);
        fake_finish(first.stream);
    }
    t_fake_ctx = second.ctx;
    for (size_t i = 0; i < 10; i++)
        launch(&second, i);
    t_fake_ctx = first.ctx;
    launch(&first, 0); /* unfinished when the context goes */
    range_context_destroyed(first.ctx);
    residency_context_destroyed(first.ctx, 0);
    pthread_mutex_lock(&g_fake.lock);
    first.ctx->destroyed = 1;
    for (size_t i = 0; i < 10; i++)
        fake_set_place(fake_page_at(first.base + i * PAGE_BYTES), -1);
    pthread_mutex_unlock(&g_fake.lock);
    t_fake_ctx = second.ctx;
    for (int round = 0; round < 40; round++)
        launch(&second, (size_t)round % 10);
    bench_end(&second);
    /* With its handles gone already: nothing is destroyed again. A launch of another thread's may
     * be in the driver at this moment. */
    second.base = take(2 * PAGE_BYTES);
    second.range = range_of(second.base);
    use = begin_on(&second, second.stream, 1, &busy);
    range_context_destroyed(second.ctx);
    residency_context_destroyed(second.ctx, 1);
    residency_release(use, second.stream, CUDA_ERROR_CONTEXT_IS_DESTROYED);
    assert_null(second.res->lanes);
    assert_null(second.res->uses);
    assert_true(g_fake.live_streams - streams <= 1 + TRANSFER_LOAD_STREAMS);
    assert_true(g_fake.live_events >= events);
    assert_int_equal(FAKE_READ(g_fake.misuse), 0);
}

/* Launches on a stream of another context than the current one leave no event of the wrong context
 * behind, which would end every later launch's pins at once. */
static void test_stream_of_another_context(void **state)
{
    struct bench b = bench_make(DEVICE_CONFUSED, 20, HELD);

    (void)state;
    launch(&b, 0);
    launch(&b, 1);
    fake_context(DEVICE_CONFUSED);
    for (int i = 0; i < 20; i++)
        launch(&b, 0);
    t_fake_ctx = b.ctx;
    launch(&b, 1);
    assert_int_equal(LOCKED(b.res, b.range->extents[1]->pins), 2);
    bench_end(&b);
}

/* When the program ends, nothing begins anew. */
static void test_stop(void **state)
{
    struct bench b = bench_make(DEVICE_TROUBLE, 20, QUICK);
    size_t extent = 0;

    (void)state;
    fake_fail("cuMemPrefetchAsync", 0, 1, CUDA_ERROR_ILLEGAL_ADDRESS);
    residency_release(begin_on(&b, b.stream, 1, &extent), b.stream, CUDA_SUCCESS);
    assert_int_equal(b.res->broken, BROKEN_BY_CONTEXT);
    residency_stop();
    bench_end(&b);
    residency_context_destroyed(b.ctx, 1);
    assert_true(b.res->broken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pager_in_the_driver),
        cmocka_unit_test(test_room_of_a_range_that_goes),
        cmocka_unit_test(test_pins_of_a_range_that_went),
        cmocka_unit_test(test_advice_refused),
        cmocka_unit_test(test_advice_while_a_context_ends),
        cmocka_unit_test(test_trouble),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_no_pause_of_what_is_not_there),
        cmocka_unit_test(test_pause_while_planning),
        cmocka_unit_test(test_streams_that_come),
        cmocka_unit_test(test_context_destroyed),
        cmocka_unit_test(test_detach_while_busy),
        cmocka_unit_test(test_stream_of_another_context),
        cmocka_unit_test(test_stop), /* the last: it stops every device */
    };

    return cmocka_run_group_tests(tests, bench_setup, NULL);
}
