/* Strategy: the real residency, pager thread included, over a fake driver whose streams run when
 * the test says so. The driver's books judge: more in VRAM than the budget, a drop that overtakes a
 * load, a load that does not wait for its room are misuse at the moment when they are queued. What
 * a launch was promised is checked on each page when the launch is let go. Patience is a day, but
 * where it is the test: who would wait for it hangs, and the alarm ends the test. */
#include "tests/unit/residency_bench.h"

#include <sys/mman.h>
#include <unistd.h>

/* One device for each test: what it has learned, or broken, stays with it. */
enum {
    DEVICE_FITS,
    DEVICE_RANDOM,
    DEVICE_PINNED,
    DEVICE_QUEUED,
    DEVICE_STREAMS,
    DEVICE_IMPOSSIBLE,
    DEVICE_PATIENCE,
    DEVICE_CHARGE,
    DEVICE_CONFUSED,
    DEVICE_ACTIVATE,
    DEVICE_COPIES,
    DEVICE_NO_CUT,
    DEVICE_ENDS,
};

/* While everything fits there is no pager: pages are born in VRAM, a launch is not even seen. */
static void test_all_fits(void **state)
{
    struct bench b = bench_make(DEVICE_FITS, FITS, QUICK);
    size_t extent = 3;

    (void)state;
    assert_false(residency_active(DEVICE_FITS));
    assert_false(b.res->running);
    for (size_t i = 0; i < FITS; i++)
        assert_true(is_there(&b, i));
    assert_null(begin_on(&b, b.stream, 1, &extent));
    assert_int_equal(stats()->asked_bytes[DEVICE_FITS], BUDGET);
    assert_int_equal(stats()->needed_bytes[DEVICE_FITS], BUDGET);
    assert_int_equal(residency_resident_bytes(b.range, b.base + 5, b.base + 3 * PAGE_BYTES + 1),
                     3 * PAGE_BYTES - 4);
    bench_end(&b);
}

/* The first allocation too many: what is there stays, and rests with the CPU from now on. */
static void test_activation(void **state)
{
    struct bench b = bench_make(DEVICE_ACTIVATE, FITS, QUICK);
    CUdeviceptr more;

    (void)state;
    assert_int_equal(fake_page_at(b.base)->preferred, DEVICE_ACTIVATE);
    more = take(16 * MIB);
    assert_true(residency_active(DEVICE_ACTIVATE));
    assert_true(residency_any_active());
    for (size_t i = 0; i < FITS; i++) {
        assert_true(is_there(&b, i));
        assert_int_equal(fake_page_at(b.base + i * PAGE_BYTES)->preferred, -1);
        assert_true(fake_page_at(b.base + i * PAGE_BYTES)->accessed);
    }
    assert_int_equal(fake_page_at(more)->preferred, -1);
    assert_int_equal(fake_page_at(more)->at, -1);
    give(more);
    bench_end(&b);
}

static void *finish_all(void *arg)
{
    (void)arg;
    while (fake_finish_oldest())
        ;
    return NULL;
}

static pthread_t start_finisher(void)
{
    pthread_t thread;

    g_fake.finisher_ends = 0;
    assert_int_equal(pthread_create(&thread, NULL, finish_all, NULL), 0);
    return thread;
}

static void end_finisher(pthread_t thread)
{
    pthread_mutex_lock(&g_fake.lock);
    g_fake.finisher_ends = 1;
    pthread_cond_broadcast(&g_fake.queued);
    pthread_mutex_unlock(&g_fake.lock);
    pthread_join(thread, NULL);
}

/* Launches of random sets on two streams, repeating now and then, with our own streams slow too. */
static void test_random_launches(void **state)
{
    struct bench b;
    CUstream streams[2];
    pthread_t finisher;

    (void)state;
    g_fake.hold_new = 1;
    b = bench_make(DEVICE_RANDOM, 40, HELD);
    streams[0] = b.stream;
    streams[1] = fake_program_stream(1);
    finisher = start_finisher();
    g_seed = 5;
    for (int round = 0; round < 3000; round++) {
        size_t set[3], count = 1 + random_below(3);

        /* Runs of a cycle, so that steps are learned, and left again. */
        if (round / 400 % 2) {
            set[0] = (size_t)round % 20;
            count = 1;
        } else {
            size_t first = random_below(40);

            for (size_t i = 0; i < count; i++)
                set[i] = (first + i * (1 + random_below(5))) % 40;
            for (size_t i = 1; i < count; i++)
                if (set[i] == set[i - 1] || set[i] == set[0])
                    count = i;
        }
        launch_on(&b, streams[random_below(8) == 0], count, set);
        assert_int_equal(FAKE_READ(g_fake.misuse), 0);
    }
    end_finisher(finisher);
    fake_finish(streams[1]);
    g_fake.hold_new = 0;
    bench_end(&b);
    assert_true(FAKE_READ(g_fake.peak[DEVICE_RANDOM]) <= BUDGET);
}

/* What unfinished work uses stays; when the work has run, it goes for what comes next. */
static void test_pinned_stay(void **state)
{
    struct bench b = bench_make(DEVICE_PINNED, 20, HELD);
    CUstream quick = fake_program_stream(0);
    size_t held[] = {0, 1, 2, 3, 4}, probe;

    (void)state;
    launch_on(&b, b.stream, 5, held);
    for (int round = 0; round < 40; round++) {
        probe = 5 + (size_t)round % 15;
        launch_on(&b, quick, 1, &probe);
        for (size_t i = 0; i < 5; i++)
            assert_true(is_there(&b, held[i]));
    }
    fake_finish(b.stream);
    for (int round = 0; round < 40; round++) {
        probe = 5 + (size_t)round % 15;
        launch_on(&b, quick, 1, &probe);
    }
    probe = 0;
    for (size_t i = 0; i < 5; i++)
        probe += (size_t)is_there(&b, held[i]);
    assert_true(probe < 5);
    bench_end(&b);
}

/* A launch goes on as soon as its loads are queued: its stream waits for each of them, for they
 * take turns on several streams of ours; the host does not. */
static void test_loads_are_only_queued(void **state)
{
    struct bench b;
    size_t set[] = {2, 3, 4};

    (void)state;
    g_fake.hold_new = 1; /* nothing that we load arrives */
    b = bench_make(DEVICE_QUEUED, 20, QUICK);
    launch_on(&b, b.stream, 3, set);
    launch(&b, 4);
    assert_true(FAKE_READ(b.stream->seen) > 0);
    set[0] = 9;
    launch_on(&b, b.stream, 1, set);
    for (size_t i = 0; i < g_fake.stream_count; i++)
        if (g_fake.streams[i]->alive && g_fake.streams[i]->ctx == b.ctx)
            fake_finish(g_fake.streams[i]);
    g_fake.hold_new = 0;
    bench_end(&b);
}

/* Room that the second stream frees is found while the first one's work has not run. */
static void test_two_streams(void **state)
{
    struct bench b = bench_make(DEVICE_STREAMS, 24, HELD);
    CUstream other = fake_program_stream(1);
    size_t first[] = {0, 1, 2, 3}, second[] = {4, 5, 6, 7}, third[] = {8, 9, 10, 11};

    (void)state;
    launch_on(&b, b.stream, 4, first);
    launch_on(&b, other, 4, second);
    fake_finish(other);
    launch_on(&b, other, 4, third);
    for (size_t i = 0; i < 4; i++)
        assert_true(is_there(&b, first[i]));
    fake_finish(other);
    bench_end(&b);
}

/* A launch that cannot fit as a whole goes ahead with what is there, at once. */
static void test_impossible(void **state)
{
    struct bench b = bench_make(DEVICE_IMPOSSIBLE, 24, QUICK);
    size_t set[12], there = 0;
    struct use *use;

    (void)state;
    for (size_t i = 0; i < 12; i++)
        set[i] = 12 + i;
    for (int round = 0; round < 3; round++) {
        use = begin_on(&b, b.stream, 12, set);
        assert_non_null(use);
        there = 0;
        for (size_t i = 0; i < 12; i++)
            there += (size_t)is_there(&b, set[i]);
        assert_int_equal(there, FITS);
        residency_release(use, b.stream, CUDA_SUCCESS);
    }
    bench_end(&b);
}

/* All room is held by work that does not end: the launch goes ahead unloaded when patience ends. */
static void test_patience(void **state)
{
    struct bench b = bench_make(DEVICE_PATIENCE, 20, HELD);
    CUstream other = fake_program_stream(0);
    size_t set[FITS], probe = 15;
    struct stats_shard *shard = stats_shard();
    uint64_t stalled, starved;
    struct use *use;

    (void)state;
    for (size_t i = 0; i < FITS; i++)
        set[i] = i;
    launch_on(&b, b.stream, FITS, set);
    LOCKED(b.res, b.res->patience_ns = 1000000);
    stalled = shard->stall_ns;
    starved = shard->starved_ns;
    use = begin_on(&b, other, 1, &probe);
    assert_non_null(use);
    assert_false(is_there(&b, probe));
    assert_true(shard->stall_ns > stalled);
    assert_int_equal(shard->starved_ns, starved); /* the device had work meanwhile */
    residency_release(use, other, CUDA_SUCCESS);
    /* Nothing of the launch that gave up is left over. */
    assert_null(LOCKED(b.res, b.res->requests));
    LOCKED(b.res, b.res->patience_ns = DAY_NS);
    fake_finish(b.stream);
    launch_on(&b, other, 1, &probe);
    fake_finish(b.stream);
    for (size_t i = 0; i < 20; i++)
        WAIT_FOR(LOCKED(b.res, (use_retire(b.res), b.range->extents[i]->pins)) == 0);
    probe = 16;
    launch_on(&b, other, 1, &probe);
    assert_true(shard->starved_ns > starved); /* it had none */
    bench_end(&b);
}

/* Patience ends once for work that does not move, whatever moves beside it: nobody waits for it
 * again, nor for what is queued behind it. When it has moved, it is waited for as ever. */
static void test_standstill_is_remembered(void **state)
{
    struct bench b = bench_make(DEVICE_PATIENCE, 20, HELD);
    CUstream other = fake_program_stream(0);
    const struct stream_id stream = stream_id_of(b.stream, b.ctx);
    size_t set[FITS], probe = 15;
    uint64_t first_half;

    (void)state;
    for (size_t i = 0; i < FITS; i++)
        set[i] = i;
    launch_on(&b, b.stream, FITS / 2, set);
    first_half = FAKE_READ(g_fake.order);
    launch_on(&b, b.stream, FITS / 2, set + FITS / 2);
    LOCKED(b.res, b.res->patience_ns = 1000000);
    residency_release(begin_on(&b, other, 1, &probe), other, CUDA_SUCCESS);
    LOCKED(b.res, b.res->patience_ns = DAY_NS);
    for (probe = 10; probe < 18; probe++) {
        residency_release(begin_on(&b, other, 1, &probe), other, CUDA_SUCCESS);
        WAIT_FOR(LOCKED(b.res, (use_retire(b.res), b.range->extents[probe]->pins)) == 0);
        residency_release(begin_on(&b, b.stream, 1, &probe), b.stream, CUDA_SUCCESS);
        residency_charge(b.res, 2 * MIB);
        residency_charge(b.res, -(int64_t)(2 * MIB));
    }
    assert_true(is_there(&b, 0) && is_there(&b, FITS - 1));
    assert_false(LOCKED(b.res, use_may_end(b.res, &stream)));
    /* The first half of it has run, and the rest is on its way. */
    fake_finish_to(b.stream, first_half);
    LOCKED(b.res, use_retire(b.res));
    assert_true(LOCKED(b.res, use_may_end(b.res, &stream)));
    fake_finish(b.stream);
    WAIT_FOR(LOCKED(b.res, (use_retire(b.res), !b.res->uses)));
    launch_on(&b, other, 1, &probe);
    bench_end(&b);
}

static void *charge(void *arg)
{
    residency_charge(arg, 4 * MIB);
    return NULL;
}

static int g_stderr, g_log; /* files */

/* What is logged goes to memory, until heard_log() tells it. */
static void listen_to_log(void)
{
    g_stderr = dup(STDERR_FILENO);
    g_log = memfd_create("log", MFD_CLOEXEC);
    assert_true(g_stderr >= 0 && g_log >= 0 && dup2(g_log, STDERR_FILENO) >= 0);
}

static const char *heard_log(void)
{
    static char text[4096];
    ssize_t bytes = pread(g_log, text, sizeof(text) - 1, 0);

    dup2(g_stderr, STDERR_FILENO);
    close(g_stderr);
    close(g_log);
    text[bytes > 0 ? bytes : 0] = '\0';
    return text;
}

/* The program's own VRAM comes first, in whole pages. */
static void test_charge_and_shrink(void **state)
{
    struct bench b = bench_make(DEVICE_CHARGE, 20, HELD);
    size_t set[FITS];
    int asked_again = 0;
    pthread_t thread;
    uint64_t there;

    (void)state;
    for (size_t i = 0; i < FITS; i++)
        set[i] = i;
    launch_on(&b, b.stream, FITS, set);
    fake_finish(b.stream);
    residency_charge(b.res, 3 * MIB);
    assert_int_equal(residency_limit(b.res), BUDGET - 4 * MIB);
    pthread_mutex_lock(&g_fake.lock);
    assert_true(g_fake.resident[DEVICE_CHARGE] <= BUDGET - 4 * MIB);
    g_fake.limit[DEVICE_CHARGE] = BUDGET - 4 * MIB;
    pthread_mutex_unlock(&g_fake.lock);
    for (size_t i = 0; i < 20; i++) {
        launch(&b, i);
        fake_finish(b.stream);
    }
    /* While work that has not run pins everything, the room is made when it has. */
    launch_on(&b, b.stream, 6, set);
    assert_int_equal(pthread_create(&thread, NULL, charge, b.res), 0);
    WAIT_FOR(residency_limit(b.res) == BUDGET - 8 * MIB);
    for (size_t i = 0; i < 6; i++)
        assert_true(is_there(&b, i));
    fake_finish(b.stream);
    pthread_join(thread, NULL);
    assert_true(FAKE_READ(g_fake.resident[DEVICE_CHARGE]) <= BUDGET - 8 * MIB);
    /* Nothing is loaded ahead into what the program gives back. */
    LOCKED(b.res, (learn_forget(b.res), b.res->last_touched = EXTENT_NONE));
    WAIT_FOR(LOCKED(b.res, b.res->idle));
    residency_charge(b.res, -(int64_t)(7 * MIB));
    assert_int_equal(residency_limit(b.res), BUDGET);
    /* While the card has room, what is refused is not refused for lack of it, unless that has come
     * only now. */
    assert_int_equal(residency_shrink(b.res, 2 * MIB, &asked_again), 1);
    assert_int_equal(residency_shrink(b.res, 2 * MIB, &asked_again), 0);
    assert_int_equal(residency_limit(b.res), BUDGET);
    g_fake.others_bytes = ((size_t)1 << 30) - MIB;
    there = LOCKED(b.res, b.res->resident_bytes);
    listen_to_log();
    assert_int_equal(residency_shrink(b.res, 2 * MIB, &asked_again), 1);
    assert_non_null(strstr(heard_log(), "too small to move weights"));
    assert_int_equal(residency_limit(b.res), there - MIB); /* the other one is free */
    g_fake.others_bytes = 0;
    assert_true(residency_budget(DEVICE_CHARGE) < BUDGET);
    /* What would have held all of it: 20 extents, and the 7 MiB in pages while they were there. */
    assert_int_equal(stats()->needed_bytes[DEVICE_CHARGE], 48 * MIB);
    assert_int_equal(stats()->asked_bytes[DEVICE_CHARGE], BUDGET);
    assert_int_equal(stats()->budget_bytes[DEVICE_CHARGE], residency_budget(DEVICE_CHARGE));
    assert_int_equal(stats()->card_bytes[DEVICE_CHARGE], residency_budget(DEVICE_CHARGE));
    bench_end(&b);
}

struct refused {
    struct residency *res;
    CUcontext ctx; /* current in the thread that is refused */
    int asked_again, answer;
    _Atomic int done;
};

static void *shrink(void *arg)
{
    struct refused *refused = arg;

    t_fake_ctx = refused->ctx;
    refused->answer = residency_shrink(refused->res, 4 * MIB, &refused->asked_again);
    atomic_store(&refused->done, 1);
    return NULL;
}

static struct residency *g_asked_for;
static uint64_t g_budget_when_asked; /* whether copies back are over: the last time */

static CUresult note_query(CUstream stream)
{
    g_budget_when_asked = g_asked_for->budget_bytes; /* its lock is held */
    return fake_cuStreamQuery(stream);
}

/* Work of our streams does not end from now on, or all of it has. */
static void hold_streams(int held)
{
    pthread_mutex_lock(&g_fake.lock);
    for (size_t i = 0; i < g_fake.stream_count; i++) {
        g_fake.streams[i]->held = held;
        g_fake.streams[i]->done = g_fake.order;
    }
    for (size_t i = 0; i < g_fake.event_count; i++)
        g_fake.events[i]->pending &= held;
    pthread_mutex_unlock(&g_fake.lock);
}

/* What the program's own VRAM has driven out is still on its way when the driver refuses it: the
 * budget stays, and the driver is asked again when that has gone. Only what does not end is not
 * waited for, and only what is refused again is taken from the budget, once. */
static void test_copies_back_are_waited_for(void **state)
{
    struct bench b = bench_make(DEVICE_COPIES, 20, QUICK);
    struct refused refused = {.res = b.res, .ctx = b.ctx};
    pthread_t thread;

    (void)state;
    g_fake.others_bytes = (size_t)1 << 30; /* the card is full */
    for (size_t i = 0; i < 20; i++)
        launch(&b, i);
    hold_streams(1);
    residency_charge(b.res, 4 * MIB);
    assert_true(LOCKED(b.res, b.res->resident_bytes) <= BUDGET - 4 * MIB);
    assert_int_equal(pthread_create(&thread, NULL, shrink, &refused), 0);
    /* It has looked, and goes on looking. */
    fake_gate("cuStreamQuery");
    WAIT_FOR(FAKE_READ(g_fake.at_gate));
    fake_gate(NULL);
    WAIT_FOR(!FAKE_READ(g_fake.at_gate));
    assert_int_equal(atomic_load(&refused.done), 0);
    hold_streams(0);
    pthread_join(thread, NULL);
    assert_int_equal(refused.answer, 1);
    assert_int_equal(refused.asked_again, 1);
    assert_int_equal(residency_budget(DEVICE_COPIES), BUDGET);
    /* It is refused again: what goes now is waited for as well. */
    g_asked_for = b.res;
    g_fake_driver.cuStreamQuery = note_query;
    shrink(&refused);
    g_fake_driver.cuStreamQuery = fake_cuStreamQuery;
    assert_int_equal(g_budget_when_asked, BUDGET - 4 * MIB);
    assert_int_equal(refused.answer, 1);
    assert_int_equal(refused.asked_again, 0);
    assert_int_equal(residency_budget(DEVICE_COPIES), BUDGET - 4 * MIB);
    /* Copies that go on, beside enough that is free. */
    hold_streams(1);
    g_fake.others_bytes = 0;
    shrink(&refused);
    assert_int_equal(refused.answer, 1);
    /* A copy that does not end. */
    refused.asked_again = 0;
    g_fake.others_bytes = (size_t)1 << 30;
    b.res->patience_ns = 500000000;
    shrink(&refused);
    assert_int_equal(refused.answer, 1);
    assert_int_equal(residency_budget(DEVICE_COPIES), BUDGET - 8 * MIB);
    b.res->patience_ns = DAY_NS;
    hold_streams(0);
    g_fake.others_bytes = 0;
    residency_charge(b.res, -(int64_t)(4 * MIB));
    bench_end(&b);
}

static _Atomic unsigned g_queries, g_looks;

static CUresult count_query(CUstream stream)
{
    g_queries++;
    return fake_cuStreamQuery(stream);
}

/* Whoever holds the lock across this stays here for ever. */
static CUresult look_unlocked(size_t *free_bytes, size_t *total_bytes)
{
    LOCKED(g_asked_for, 0);
    g_looks++;
    return fake_cuMemGetInfo(free_bytes, total_bytes);
}

/* While a context ends, whose streams nobody may ask any more, copies back are not over. What the
 * card has free is asked all the same, and holds up nobody. */
static void test_copies_back_while_a_context_ends(void **state)
{
    struct bench b = bench_make(DEVICE_ENDS, 20, QUICK);
    struct refused refused = {.res = b.res, .ctx = b.ctx};
    pthread_t thread;

    (void)state;
    g_fake.others_bytes = (size_t)1 << 30;
    for (size_t i = 0; i < 20; i++)
        launch(&b, i);
    hold_streams(1);
    g_asked_for = b.res;
    residency_pause(DEVICE_ENDS);
    g_fake_driver.cuStreamQuery = count_query;
    g_fake_driver.cuMemGetInfo_v2 = look_unlocked;
    assert_int_equal(pthread_create(&thread, NULL, shrink, &refused), 0);
    WAIT_FOR(g_looks >= 2);
    assert_int_equal(g_queries, 0);
    assert_int_equal(atomic_load(&refused.done), 0);
    residency_resume(DEVICE_ENDS);
    WAIT_FOR(g_queries);
    hold_streams(0);
    pthread_join(thread, NULL);
    g_fake_driver.cuStreamQuery = fake_cuStreamQuery;
    g_fake_driver.cuMemGetInfo_v2 = fake_cuMemGetInfo;
    assert_int_equal(refused.answer, 1);
    assert_int_equal(residency_budget(DEVICE_ENDS), BUDGET);
    g_fake.others_bytes = 0;
    bench_end(&b);
}

/* The budget is cut neither where the card has as much as is asked for, nor where keeping to it is
 * enough. */
static void test_no_cut_without_need(void **state)
{
    struct bench b = bench_make(DEVICE_NO_CUT, 20, QUICK);

    (void)state;
    for (size_t i = 0; i < FITS / 2; i++)
        launch(&b, i);
    g_fake.others_bytes = ((size_t)1 << 30) - 2 * MIB;
    assert_int_equal(residency_shrink(b.res, 2 * MIB, &(int){1}), 0);
    assert_int_equal(residency_budget(DEVICE_NO_CUT), BUDGET);
    for (size_t i = 0; i < 20; i++)
        launch(&b, i);
    g_fake.others_bytes = (size_t)1 << 30;
    pthread_mutex_lock(&b.res->lock);
    assert_int_equal(b.res->resident_bytes, BUDGET);
    b.res->plain_bytes += 4 * MIB; /* as after a charge that lost its patience */
    pthread_mutex_unlock(&b.res->lock);
    assert_int_equal(residency_shrink(b.res, 2 * MIB, &(int){0}), 1);
    assert_int_equal(residency_budget(DEVICE_NO_CUT), BUDGET);
    assert_true(LOCKED(b.res, b.res->resident_bytes) <= BUDGET - 4 * MIB);
    g_fake.others_bytes = 0;
    LOCKED(b.res, b.res->plain_bytes -= 4 * MIB);
    bench_end(&b);
}

/* The use of one stream was recorded, the launch of another is between begin and release. */
static void test_unrecorded_use(void **state)
{
    struct bench b = bench_make(DEVICE_CONFUSED, 20, QUICK);
    size_t set[] = {0, 1}, other = 5;
    struct use *use;

    (void)state;
    use = begin_on(&b, b.stream, 2, set);
    for (size_t i = 2; i < 20; i++)
        launch(&b, i);
    assert_true(is_there(&b, 0) && is_there(&b, 1));
    /* The launch failed: its pins go all the same. */
    residency_release(use, b.stream, CUDA_ERROR_UNKNOWN);
    assert_int_equal(LOCKED(b.res, b.range->extents[0]->pins), 0);
    launch_on(&b, b.stream, 1, &other);
    bench_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_fits),
        cmocka_unit_test(test_activation),
        cmocka_unit_test(test_pinned_stay),
        cmocka_unit_test(test_loads_are_only_queued),

        cmocka_unit_test(test_two_streams),
        cmocka_unit_test(test_impossible),
        cmocka_unit_test(test_patience),
        cmocka_unit_test(test_standstill_is_remembered),
        cmocka_unit_test(test_unrecorded_use),
        cmocka_unit_test(test_charge_and_shrink),
        cmocka_unit_test(test_random_launches),
        cmocka_unit_test(test_copies_back_are_waited_for),
        cmocka_unit_test(test_copies_back_while_a_context_ends),
        cmocka_unit_test(test_no_cut_without_need),
    };

    return cmocka_run_group_tests(tests, bench_setup, NULL);
}
