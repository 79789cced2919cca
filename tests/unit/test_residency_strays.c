/* Strategy: a program that reads the same weights step after step, while what its kernels write
 * lies elsewhere each time: in several places in turn, in fresh memory, or for once in much of it.
 * Over the real pager and a fake driver whose streams run when the test says so. Whether its step
 * is found, what the plan gives room to, how much a step loads, and what ends the plan. */
#include "tests/unit/residency_bench.h"

#define WEIGHTS 20u /* extents, of which FITS have room together with all others */

/* One device for each test: what it has learned stays with it. */
enum {
    DEVICE_TURNS,
    DEVICE_CACHE,
    DEVICE_ONCE,
    DEVICE_LEFT,
    DEVICE_FLOOD,
    DEVICE_ROUTED,
    DEVICE_WRITTEN,
    DEVICE_FITS,
    DEVICE_ROOM,
    DEVICE_ALL,
    DEVICE_REUSED,
    DEVICE_LARGE,
    DEVICE_KEPT,
};

static struct bench g_work; /* memory beside the weights, of the same device */

static void work_make(const struct bench *b, size_t extents)
{
    g_work = *b;
    g_work.base = take(extents * PAGE_BYTES);
    g_work.range = range_of(g_work.base);
    assert_int_equal(g_work.range->extent_count, extents);
}

/* All of it holds what was uploaded. */
static void upload(const struct bench *b)
{
    range_write_lock();
    assert_int_equal(object_define(range_allocation_at(b->base), b->base, b->base + b->range->bytes,
                                   NULL, 0, STATS_EVIDENCE_NONE),
                     0);
    range_unlock();
}

static struct bench weights_make(CUdevice device, size_t extents, size_t work)
{
    struct bench b = bench_make(device, extents, HELD);

    upload(&b);
    work_make(&b, work);
    return b;
}

static void weights_end(struct bench *b)
{
    fake_finish(b->stream);
    give(g_work.base);
    bench_end(b);
}

/* A launch that reads a weight and writes to some place. */
static void work(const struct bench *b, size_t weight, size_t place)
{
    struct extent *set[] = {b->range->extents[weight], g_work.range->extents[place]};
    struct use *use = residency_acquire(b->res, set, 2, RESIDENCY_LOAD, NULL, b->stream);

    assert_non_null(use);
    assert_true(will_be_there(b, weight, b->stream));
    assert_true(will_be_there(&g_work, place, b->stream));
    residency_release(use, b->stream, CUDA_SUCCESS);
    fake_finish(b->stream);
}

/* One step, whose launches write to two places in turn. returns how many loads it took */
static uint64_t step(const struct bench *b, size_t one, size_t other)
{
    unsigned before = FAKE_READ(g_fake.loads);

    for (size_t i = 0; i < WEIGHTS; i++)
        work(b, i, i % 2 ? other : one);
    return FAKE_READ(g_fake.loads) - before;
}

static int is_learned(const struct bench *b)
{
    return LOCKED(b->res, b->res->learned);
}

/* So many steps with a cache that moves on by one place in each. returns how many loads they took
 */
static uint64_t move_on(const struct bench *b, size_t *at, size_t steps)
{
    uint64_t loads = 0;

    for (size_t i = 0; i < steps; i++, ++*at)
        loads += step(b, *at, *at + 1);
    return loads;
}

/* Places in turn, three of them: a step is what it is by its weights, and all three have their
 * room. Then nothing but weights is loaded, and no more of these than what does not stay. */
static void test_places_in_turn(void **state)
{
    struct bench b = weights_make(DEVICE_TURNS, WEIGHTS, 8);
    size_t at = 0, fixed = 0;
    uint64_t loads = 0;

    (void)state;
    while (at < 5 && !is_learned(&b)) {
        step(&b, at % 3, at % 3);
        at++;
    }
    assert_true(is_learned(&b)); /* all that launches touch is the same only after six steps */
    assert_int_equal(LOCKED(b.res, b.res->plan.launches), WEIGHTS);
    for (int i = 0; i < 30; i++, at++)
        step(&b, at % 3, at % 3);
    for (size_t i = 0; i < WEIGHTS; i++)
        fixed += LOCKED(b.res, b.range->extents[i]->fixed);
    assert_in_range(fixed, 1, FITS - 3 - SCHEDULE_WINDOW_EXTENTS + 1);
    for (int i = 0; i < 10; i++, at++)
        loads += step(&b, at % 3, at % 3);
    assert_in_range(loads, 10 * (WEIGHTS - FITS), 10 * (WEIGHTS - fixed) + WEIGHTS);
    for (size_t place = 0; place < 3; place++)
        assert_true(LOCKED(b.res, extent_is_present(g_work.range->extents[place])));
    assert_true(is_learned(&b));
    weights_end(&b);
}

/* A cache that moves on to fresh memory with each step: read where it was, written where it is. The
 * same step goes on, and each place comes into VRAM just once. */
static void test_cache_moves(void **state)
{
    struct bench b = weights_make(DEVICE_CACHE, WEIGHTS, 120);
    size_t at = 0, launches;
    uint64_t loads;

    (void)state;
    while (at < 4 && !is_learned(&b))
        move_on(&b, &at, 1);
    assert_true(is_learned(&b));
    assert_int_equal(LOCKED(b.res, b.res->plan.launches), WEIGHTS);
    launches = LOCKED(b.res, b.res->history.launches);
    move_on(&b, &at, 20);
    loads = move_on(&b, &at, 80);
    assert_in_range(LOCKED(b.res, b.res->plan.load_count), WEIGHTS - FITS, WEIGHTS + 2);
    assert_in_range(loads, 80 * (WEIGHTS - FITS),
                    80 * (LOCKED(b.res, b.res->plan.load_count) + 1) + WEIGHTS);
    assert_true(is_learned(&b));
    assert_int_equal(LOCKED(b.res, b.res->history.launches), launches); /* the same plan's record */
    weights_end(&b);
}

/* Much is written once (a long prompt between tokens): that is no miss, and changes no plan. */
static void test_once(void **state)
{
    struct bench b = weights_make(DEVICE_ONCE, WEIGHTS, 30);
    uint64_t fixed_bytes;

    (void)state;
    for (size_t at = 0; at < 6; at++)
        step(&b, at % 2, at % 2);
    for (size_t at = 0; at < 40; at++)
        step(&b, 0, 1);
    assert_true(is_learned(&b));
    WAIT_FOR_PAGER(b.res, LOCKED(b.res, b.res->idle && !b.res->misplaced));
    fixed_bytes = LOCKED(b.res, b.res->plan.fixed_bytes);
    for (size_t i = 0; i < WEIGHTS; i++)
        work(&b, i, 2 + i);
    for (size_t at = 0; at < 20; at++)
        step(&b, 0, 1);
    assert_true(is_learned(&b));
    WAIT_FOR_PAGER(b.res, LOCKED(b.res, b.res->idle && !b.res->misplaced));
    assert_int_equal(LOCKED(b.res, b.res->plan.fixed_bytes), fixed_bytes);
    weights_end(&b);
}

/* What is loaded ahead leaves the strays' room alone, also when there are none. */
static void test_room_is_left(void **state)
{
    struct bench b = weights_make(DEVICE_ROOM, WEIGHTS, 120);
    size_t at = 0;

    (void)state;
    move_on(&b, &at, 30);
    assert_true(LOCKED(b.res, b.res->strays.given_bytes) >= 2 * PAGE_BYTES);
    give(g_work.base);
    for (size_t i = 0; i < 2 * WEIGHTS; i++) {
        WAIT_FOR_PAGER(
            b.res,
            LOCKED(b.res, b.res->idle && (extent_is_present(b.range->extents[i % WEIGHTS]))));
        launch(&b, i % WEIGHTS);
        fake_finish(b.stream);
    }
    WAIT_FOR_PAGER(b.res, LOCKED(b.res, b.res->idle));
    assert_true(is_learned(&b));
    assert_true(LOCKED(b.res, b.res->resident_bytes + b.res->strays.given_bytes) <= BUDGET);
    bench_end(&b);
}

/* Steps that write to eight places, others in each: all that they touch of them is loaded, what the
 * plan keeps is not given up for them, and the plan goes on. */
static void move_without_room(const struct bench *b)
{
    for (size_t at = 0; at < 10; at++)
        step(b, 0, 0);
    assert_true(is_learned(b));
    assert_true(LOCKED(b->res, b->res->by_weights));
    for (size_t at = 0; at < 40; at++) {
        unsigned before = FAKE_READ(g_fake.loads);

        for (size_t i = 0; i < WEIGHTS; i++)
            work(b, i, at % 12 * 8 + i % 8);
        assert_true(is_learned(b));
        assert_int_equal(LOCKED(b->res, b->res->strays.given_bytes), 0);
        assert_in_range(FAKE_READ(g_fake.loads) - before, 8,
                        LOCKED(b->res, b->res->plan.load_count) + WEIGHTS + 2);
    }
    assert_true(LOCKED(b->res, b->res->strays.wanted_bytes) >= 8 * PAGE_BYTES);
}

/* Room that is wanted for strays, and never comes, for a launch may need all there is: then they
 * are the first to go. */
static void test_large_launch(void **state)
{
    struct bench b = weights_make(DEVICE_LARGE, WEIGHTS, 120);
    size_t all[FITS];

    (void)state;
    for (size_t i = 0; i < FITS; i++)
        all[i] = i;
    launch_on(&b, b.stream, FITS, all);
    fake_finish(b.stream);
    move_without_room(&b);
    weights_end(&b);
}

/* The same where the policy wants as much kept as fits beside a window. */
static void test_kept(void **state)
{
    struct bench b = weights_make(DEVICE_KEPT, WEIGHTS, 120);

    (void)state;
    range_read_lock();
    for (size_t i = 0; i < FITS - SCHEDULE_WINDOW_EXTENTS; i++)
        residency_place(b.range, i, SCHEDULE_KEEP);
    range_unlock();
    move_without_room(&b);
    for (size_t i = 0; i < FITS - SCHEDULE_WINDOW_EXTENTS; i++)
        assert_true(LOCKED(b.res, extent_is_present(b.range->extents[i])));
    weights_end(&b);
}

/* Another way through the weights ends the plan, wherever the rest lies. */
static void test_left(void **state)
{
    struct bench b = weights_make(DEVICE_LEFT, WEIGHTS, 8);

    (void)state;
    for (size_t at = 0; at < 12; at++)
        step(&b, at % 3, at % 3);
    assert_true(is_learned(&b));
    for (size_t i = 0; i < 400 && is_learned(&b); i++)
        work(&b, WEIGHTS - 1 - i % WEIGHTS, i % 3);
    assert_false(is_learned(&b));
    weights_end(&b);
}

/* So does work that has nothing to do with the step any more. */
static void test_flood(void **state)
{
    struct bench b = weights_make(DEVICE_FLOOD, WEIGHTS, 120);
    size_t at = 0;

    (void)state;
    for (; at < 12; at++)
        step(&b, at % 3, at % 3);
    assert_true(is_learned(&b));
    for (size_t i = 0; i < 100 && is_learned(&b); i++) {
        launch(&g_work, 4 + i);
        fake_finish(b.stream);
    }
    assert_false(is_learned(&b));
    weights_end(&b);
}

/* The weights are freed, and kernels write where they were: the extents are those of the plan, and
 * what is touched of them ends it nevertheless. */
static void test_reused(void **state)
{
    struct bench b = weights_make(DEVICE_REUSED, WEIGHTS, 8);
    uint32_t id = LOCKED(b.res, b.range->extents[0]->id);

    (void)state;
    for (size_t at = 0; at < 12; at++)
        step(&b, 0, 0);
    assert_true(is_learned(&b));
    assert_true(LOCKED(b.res, b.res->by_weights));
    give(b.base);
    b.base = take(WEIGHTS * PAGE_BYTES);
    b.range = range_of(b.base);
    assert_int_equal(LOCKED(b.res, b.range->extents[0]->id), id);
    for (size_t i = 0; i < 400 && is_learned(&b); i++) {
        launch(&b, i * 7 % WEIGHTS);
        fake_finish(b.stream);
    }
    assert_false(is_learned(&b));
    weights_end(&b);
}

/* Experts are weights, and where the rest lies makes no step of what repeats none. */
static void test_routed(void **state)
{
    struct bench b = weights_make(DEVICE_ROUTED, 40, 8);

    (void)state;
    g_seed = 5;
    for (size_t turn = 0; turn < 300; turn++) {
        for (size_t i = 0; i < 3; i++)
            work(&b, i, turn % 3);
        work(&b, 3 + random_below(37), turn % 3);
        assert_false(is_learned(&b));
    }
    assert_true(LOCKED(b.res, b.res->hot_limit) != 0);
    weights_end(&b);
}

/* Where nothing is known to be weights, a step is what it is by all that launches touch. */
static void test_written(void **state)
{
    struct bench b = bench_make(DEVICE_WRITTEN, WEIGHTS, HELD);
    size_t at = 0;

    (void)state;
    work_make(&b, 120);
    for (; at < 20; at++) {
        step(&b, at, at + 1);
        assert_false(is_learned(&b));
    }
    for (; at < 44 && !is_learned(&b); at++)
        step(&b, at % 3, at % 3);
    assert_true(is_learned(&b));
    assert_int_equal(LOCKED(b.res, b.res->plan.launches), 3 * WEIGHTS);
    assert_false(LOCKED(b.res, b.res->by_weights));
    weights_end(&b);
}

/* What fits as it is is no step by its weights: it may be a loop within one, or chance. */
static void test_fits(void **state)
{
    struct bench b = weights_make(DEVICE_FITS, WEIGHTS, 120);

    (void)state;
    for (size_t at = 0; at < 100; at++) {
        work(&b, 0, at);
        for (size_t i = 1; i < FITS - 1; i++) {
            launch(&b, i);
            fake_finish(b.stream);
        }
        assert_false(is_learned(&b));
    }
    weights_end(&b);
}

/* A step that is found by all that its launches touch, and loads nothing but weights, goes on when
 * the rest begins to move: that gets room, until it moves no more. */
static void test_begins_to_move(void **state)
{
    struct bench b = weights_make(DEVICE_ALL, WEIGHTS, 120);
    size_t at;

    (void)state;
    for (at = 0; at < 10; at++)
        step(&b, 0, 0);
    assert_true(is_learned(&b));
    assert_true(LOCKED(b.res, b.res->by_weights));
    assert_int_equal(LOCKED(b.res, b.res->strays.given_bytes), 0);
    for (at = 0; at < 60; at++) {
        step(&b, at, at + 1);
        assert_true(is_learned(&b));
    }
    assert_true(LOCKED(b.res, b.res->strays.given_bytes) >= 2 * PAGE_BYTES);
    for (at = 0; at < 60; at++)
        step(&b, 0, 0);
    assert_int_equal(LOCKED(b.res, b.res->strays.given_bytes), 0);
    assert_true(is_learned(&b));
    weights_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places_in_turn), cmocka_unit_test(test_cache_moves),
        cmocka_unit_test(test_once),           cmocka_unit_test(test_left),
        cmocka_unit_test(test_flood),          cmocka_unit_test(test_routed),
        cmocka_unit_test(test_written),        cmocka_unit_test(test_fits),
        cmocka_unit_test(test_room_is_left),   cmocka_unit_test(test_begins_to_move),
        cmocka_unit_test(test_reused),         cmocka_unit_test(test_large_launch),
        cmocka_unit_test(test_kept),
    };

    return cmocka_run_group_tests(tests, bench_setup, NULL);
}
