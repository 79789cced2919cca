/* Strategy: programs with habits, over the real pager and a fake driver whose streams run when the
 * test says so: cycles that are learned, left, interrupted and planned anew. What counts is how
 * much is loaded in a step, what stays, and that the plan holds as long as the habit does. */
#include "tests/unit/residency_bench.h"

/* One device for each test: what it has learned stays with it. */
enum {
    DEVICE_STEP,
    DEVICE_SAME,
    DEVICE_BORDERS,
    DEVICE_BORN,
    DEVICE_BUFFER,
    DEVICE_ANEW,
    DEVICE_TRYING,
    DEVICE_ROUTED,
    DEVICE_STEADY,
    DEVICE_HOTTEST,
};

/* A cycle is learned; then what the plan keeps settles, and the rest is there before it is used. */
static void test_step(void **state)
{
    struct bench b = bench_make(DEVICE_STEP, 20, HELD);
    size_t fixed = 0, loads = 0;

    (void)state;
    for (int round = 0; round < 40 && !LOCKED(b.res, b.res->learned); round++)
        loads_of_a_step(&b, 20);
    assert_true(LOCKED(b.res, b.res->learned));
    assert_int_equal(LOCKED(b.res, b.res->plan.launches), 20);
    assert_true(stats()->step_load_bytes > 0);
    assert_int_equal(stats()->step_load_bytes, LOCKED(b.res, b.res->plan.load_bytes));
    for (int round = 0; round < 3; round++)
        loads_of_a_step(&b, 20);
    for (size_t i = 0; i < 20; i++)
        if (LOCKED(b.res, b.range->extents[i]->fixed)) {
            WAIT_FOR(atomic_load(&b.range->extents[i]->settled));
            fixed++;
        }
    assert_true(fixed >= FITS / 2 && fixed < FITS);
    /* No more is loaded in a step than what does not stay, and no less than what does not fit: a
     * pager that gets no time may find an extent still there that it would have dropped. */
    for (int round = 0; round < 20; round++)
        loads += loads_of_a_step(&b, 20);
    assert_in_range(loads, 20 * (20 - FITS) - FITS, 20 * (20 - fixed) + 20);
    /* A program that leaves the pager time never waits. */
    for (int round = 0; round < 40; round++) {
        WAIT_FOR(LOCKED(b.res, extent_is_present(b.range->extents[round % 20])));
        launch(&b, (size_t)round % 20);
        fake_finish(b.stream);
    }
    for (size_t i = 0; i < 20; i++)
        if (LOCKED(b.res, b.range->extents[i]->fixed))
            assert_true(atomic_load(&b.range->extents[i]->settled));
    assert_true(LOCKED(b.res, b.res->learned));
    /* Another way through the weights ends the plan; it works all the same. */
    g_seed = 3;
    for (int round = 0; round < 400 && LOCKED(b.res, b.res->learned); round++) {
        launch(&b, 19 - (size_t)round % 20);
        fake_finish(b.stream);
    }
    assert_false(LOCKED(b.res, b.res->learned));
    for (size_t i = 0; i < 20; i++)
        assert_false(atomic_load(&b.range->extents[i]->settled));
    for (int round = 0; round < 400 && !LOCKED(b.res, b.res->learned); round++) {
        launch(&b, 19 - (size_t)round % 20);
        fake_finish(b.stream);
    }
    assert_true(LOCKED(b.res, b.res->learned));
    bench_end(&b);
}

/* A step that touches a streaming extent several times in a row is followed as one that does not.
 */
static void test_touched_again(void **state)
{
    struct bench b = bench_make(DEVICE_SAME, 12, HELD);
    uint64_t steps;

    (void)state;
    for (int round = 0; round < 60 && !LOCKED(b.res, b.res->learned); round++)
        for (size_t i = 0; i < 12; i++)
            for (int again = 0; again < 3; again++) {
                launch(&b, i);
                fake_finish(b.stream);
            }
    assert_true(LOCKED(b.res, b.res->learned));
    assert_int_equal(LOCKED(b.res, b.res->plan.launches), 36);
    steps = stats()->steps;
    for (int round = 0; round < 10; round++)
        for (size_t i = 0; i < 12; i++)
            for (int again = 0; again < 3; again++) {
                launch(&b, i);
                fake_finish(b.stream);
            }
    assert_true(LOCKED(b.res, b.res->learned));
    assert_in_range(stats()->steps - steps, 9, 11);
    bench_end(&b);
}

/* Tensors lie across the borders of extents: each launch shares one with the next. A program whose
 * launches are slow to come finds it there all the same, though nothing runs that needs it. */
static void test_shared_with_the_next(void **state)
{
    struct bench b = bench_make(DEVICE_BORDERS, 20, HELD);

    (void)state;
    for (size_t i = 0; i < 60 * 20 && !LOCKED(b.res, b.res->learned); i++) {
        launch_on(&b, b.stream, 2, (size_t[]){i % 20, (i + 1) % 20});
        fake_finish(b.stream);
    }
    assert_true(LOCKED(b.res, b.res->learned));
    for (size_t i = 0; i < 40; i++) { /* wherever the plan was made, the program is at its start */
        launch_on(&b, b.stream, 2, (size_t[]){i % 20, (i + 1) % 20});
        fake_finish(b.stream);
    }
    for (size_t i = 0; i < 60; i++) {
        WAIT_FOR_PAGER(b.res, LOCKED(b.res, extent_is_present(b.range->extents[i % 20]) &&
                                                extent_is_present(b.range->extents[(i + 1) % 20])));
        launch_on(&b, b.stream, 2, (size_t[]){i % 20, (i + 1) % 20});
        fake_finish(b.stream);
    }
    assert_true(LOCKED(b.res, b.res->learned));
    bench_end(&b);
}

static void learn_cycle(const struct bench *b, size_t extents)
{
    for (int round = 0; round < 60 && !LOCKED(b->res, b->res->learned); round++)
        loads_of_a_step(b, extents);
    assert_true(LOCKED(b->res, b->res->learned));
}

/* What was born in VRAM, when all still fitted, is as good as what came later: the part that stays
 * is spread over both. */
static void test_born_in_vram(void **state)
{
    struct bench b = bench_make(DEVICE_BORN, FITS, HELD), late;
    size_t fixed[2] = {0, 0};

    (void)state;
    late = b;
    late.base = take(24 * PAGE_BYTES);
    late.range = range_of(late.base);
    for (int i = 0; i < 2; i++) {
        const struct bench *which = i ? &late : &b;

        range_write_lock();
        assert_int_equal(object_define(range_allocation_at(which->base), which->base,
                                       which->base + which->range->bytes, NULL, 0,
                                       STATS_EVIDENCE_NONE),
                         0);
        range_unlock();
    }
    for (int round = 0; round < 60 && !LOCKED(b.res, b.res->learned); round++) {
        loads_of_a_step(&b, FITS);
        loads_of_a_step(&late, 24);
    }
    assert_true(LOCKED(b.res, b.res->learned));
    for (size_t i = 0; i < 32; i++)
        fixed[i >= FITS] += LOCKED(b.res, i < FITS ? b.range->extents[i]->fixed
                                                   : late.range->extents[i - FITS]->fixed);
    assert_true(fixed[0] <= 2);
    assert_true(fixed[1] >= 3);
    give(late.base);
    bench_end(&b);
}

/* A buffer that lives for one step at a time does not end the plan. */
static void test_step_with_a_buffer(void **state)
{
    struct bench b = bench_make(DEVICE_BUFFER, 20, HELD), buffer;
    size_t launches;

    (void)state;
    for (int round = 0; round < 60; round++) {
        buffer = b;
        buffer.base = take(8 * PAGE_BYTES);
        buffer.range = range_of(buffer.base);
        if (round > 20) /* it has its place again */
            assert_true(LOCKED(b.res, buffer.range->extents[0]->fixed));
        for (size_t i = 0; i < 20; i++) {
            launch(&b, i);
            fake_finish(b.stream);
            if (i % 4 == 0)
                launch(&buffer, 0);
            fake_finish(b.stream);
        }
        if (round == 20)
            assert_true(LOCKED(b.res, buffer.range->extents[0]->fixed));
        give(buffer.base);
        if (round == 20) {
            assert_true(LOCKED(b.res, b.res->learned));
            launches = LOCKED(b.res, b.res->history.launches);
        }
    }
    /* It is the same plan still: nothing was recorded anew. */
    assert_true(LOCKED(b.res, b.res->learned));
    assert_int_equal(LOCKED(b.res, b.res->history.launches), launches);
    bench_end(&b);
}

/* How much of the plan the program has come through in this step, in hundredths. */
static unsigned progress(const struct bench *b)
{
    return LOCKED(b->res, (unsigned)(b->res->cursor_use % b->res->plan.load_count * 100 /
                                     b->res->plan.load_count));
}

/* Less room in the middle of a step: there is a new plan, and the program is found in it. */
static void test_planned_anew(void **state)
{
    struct bench b = bench_make(DEVICE_ANEW, EXTENTS_MAX, HELD);
    size_t launches, at = 0;

    (void)state;
    learn_cycle(&b, EXTENTS_MAX);
    launches = LOCKED(b.res, b.res->history.launches);
    while (progress(&b) < 55 || progress(&b) > 60) {
        launch(&b, at++ % EXTENTS_MAX);
        fake_finish(b.stream);
    }
    residency_charge(b.res, 3 * MIB);
    for (size_t i = 0; i < 2 * EXTENTS_MAX; i++) {
        launch(&b, at++ % EXTENTS_MAX);
        fake_finish(b.stream);
    }
    assert_true(LOCKED(b.res, b.res->learned));
    assert_int_equal(LOCKED(b.res, b.res->history.launches), launches);
    assert_true(LOCKED(b.res, b.res->plan.fixed_bytes + b.res->plan.window_bytes) <=
                BUDGET - 3 * MIB);
    residency_charge(b.res, -(int64_t)(3 * MIB));
    bench_end(&b);
}

/* What was being tried was tried for another room; what has been decided stays. */
static void test_planned_anew_while_trying(void **state)
{
    static const struct schedule_tempo trying = {.phase = TEMPO_CALM, .calm = 1, .best_ns = 5},
                                       decided = {.phase = TEMPO_DECIDED, .calm = 1};
    struct bench b = bench_make(DEVICE_TRYING, EXTENTS_MAX, HELD);

    (void)state;
    learn_cycle(&b, EXTENTS_MAX);
    LOCKED(b.res, b.res->tempo = decided);
    residency_charge(b.res, 2 * MIB);
    WAIT_FOR_PAGER(b.res, LOCKED(b.res, !b.res->misplaced && b.res->planned_limit < BUDGET));
    assert_true(LOCKED(b.res, b.res->tempo.phase == TEMPO_DECIDED && b.res->tempo.calm));
    LOCKED(b.res, b.res->tempo = trying);
    residency_charge(b.res, 2 * MIB);
    WAIT_FOR_PAGER(b.res,
                   LOCKED(b.res, !b.res->misplaced && b.res->planned_limit < BUDGET - 2 * MIB));
    assert_true(LOCKED(b.res, b.res->tempo.phase == TEMPO_LEAN && !b.res->tempo.calm));
    assert_int_equal(LOCKED(b.res, b.res->tempo.best_ns), 0);
    residency_charge(b.res, -(int64_t)(4 * MIB));
    bench_end(&b);
}

/* A mixture of experts: three extents in every turn, and one that nobody can foresee. No step
 * shows, but what is touched most often stays. */
static void test_no_step(void **state)
{
    struct bench b = bench_make(DEVICE_ROUTED, 40, HELD);
    uint64_t loads = 0;

    (void)state;
    g_seed = 7;
    for (int turn = 0; turn < 600; turn++) {
        unsigned before;

        if (turn == 400)
            loads = 0;
        before = FAKE_READ(g_fake.loads);
        for (size_t i = 0; i < 3; i++) {
            launch(&b, i);
            fake_finish(b.stream);
        }
        launch(&b, 3 + random_below(37));
        fake_finish(b.stream);
        loads += FAKE_READ(g_fake.loads) - before;
    }
    assert_false(LOCKED(b.res, b.res->learned));
    assert_true(LOCKED(b.res, b.res->hot_limit) != 0);
    for (size_t i = 0; i < 3; i++) {
        assert_true(LOCKED(b.res, b.range->extents[i]->fixed));
        /* What is touched without the lock would not be counted. */
        assert_false(atomic_load(&b.range->extents[i]->settled));
    }
    assert_true(loads <= 200); /* none but of the fourth, and of that not all */
    bench_end(&b);
}

/* A part of the weights that fits, and that the program does not leave for a while, settles. */
static void test_steady_part(void **state)
{
    struct bench b = bench_make(DEVICE_STEADY, 20, HELD);

    (void)state;
    loads_of_a_step(&b, 20);
    for (int turn = 0; turn < 80; turn++)
        loads_of_a_step(&b, 5);
    WAIT_FOR(LOCKED(b.res, b.res->learned));
    assert_int_equal(LOCKED(b.res, b.res->plan.load_count), 0);
    for (size_t i = 0; i < 5; i++) {
        launch(&b, i);
        fake_finish(b.stream);
        WAIT_FOR(atomic_load(&b.range->extents[i]->settled));
    }
    /* It goes on to other weights: the plan is over, soon. */
    for (int turn = 0; turn < 3; turn++)
        loads_of_a_step(&b, 20);
    assert_false(LOCKED(b.res, b.res->learned && b.res->plan.load_count == 0));
    bench_end(&b);
}

static size_t count_fixed(const struct bench *b)
{
    size_t fixed = 0;

    for (size_t i = 0; i < b->range->extent_count; i++)
        fixed += LOCKED(b->res, b->range->extents[i]->fixed);
    return fixed;
}

/* Four extents of twenty are touched far more often than the rest, in no order that repeats: they
 * stay. A little less room changes nothing about that; less by more than a page does. */
static void test_hottest(void **state)
{
    struct bench b = bench_make(DEVICE_HOTTEST, 20, HELD);
    uint64_t limit;

    (void)state;
    g_seed = 11;
    for (int round = 0; round < 4000 && !LOCKED(b.res, b.res->hot_limit); round++) {
        launch(&b, random_below(4) ? random_below(4) : random_below(20));
        fake_finish(b.stream);
    }
    limit = LOCKED(b.res, b.res->hot_limit);
    assert_int_equal(limit, BUDGET);
    assert_false(LOCKED(b.res, b.res->learned));
    for (size_t i = 0; i < 4; i++)
        assert_true(LOCKED(b.res, b.range->extents[i]->fixed));
    residency_charge(b.res, 1 * MIB);
    assert_int_equal(LOCKED(b.res, b.res->hot_limit), limit);
    assert_true(count_fixed(&b) >= 4);
    residency_charge(b.res, 2 * MIB);
    assert_int_equal(LOCKED(b.res, b.res->hot_limit), 0);
    assert_int_equal(count_fixed(&b), 0);
    residency_charge(b.res, -(int64_t)(3 * MIB));
    bench_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_step),
        cmocka_unit_test(test_touched_again),
        cmocka_unit_test(test_shared_with_the_next),
        cmocka_unit_test(test_born_in_vram),
        cmocka_unit_test(test_step_with_a_buffer),
        cmocka_unit_test(test_planned_anew),
        cmocka_unit_test(test_planned_anew_while_trying),
        cmocka_unit_test(test_no_step),
        cmocka_unit_test(test_steady_part),
        cmocka_unit_test(test_hottest),
    };

    return cmocka_run_group_tests(tests, bench_setup, NULL);
}
