/* Strategy: launches of chosen sizes go in. How large the window comes out, wide or lean, and how
 * much stays beside it is held against what two launches, or two extents, need; how often a load is
 * used, against the trace. The plan that a test is about must also stand its replay. */
#include "tests/unit/schedule_replay.h"
#include <stdint.h>
#include <string.h>

/* While one launch runs, the next one's bytes arrive: no more than that is kept free of what stays.
 * An extent that both use counts once. */
static void test_window_is_two_launches(void **state)
{
    static struct trace t;
    struct schedule_trace step;
    struct schedule_plan p;

    (void)state;
    make_layers(&t, 100, 2, 0);
    step = view(&t);
    assert_int_equal(schedule_plan_create(&step, t.extents, t.extent_count, 100 * MB, 1,
                                          SCHEDULE_AHEAD_WIDE, &p),
                     0);
    assert_true(p.window_bytes <= 8 * MB);
    assert_int_equal(p.load_bytes, 400 * MB - p.fixed_bytes);
    assert_true(p.load_bytes <= 400 * MB - 100 * MB + 8 * MB);
    replay(&t, &p, 100 * MB);
    schedule_plan_destroy(&p);

    memset(&t, 0, sizeof(t));
    t.extent_count = 60;
    for (uint32_t l = 0; l < 60; l++) { /* neighbours share an extent */
        uint32_t set[2] = {l, (l + 1) % 60};

        t.extents[l].bytes = 2 * MB;
        launch(&t, 2, set);
    }
    step = view(&t);
    assert_int_equal(schedule_plan_create(&step, t.extents, 60, 8 * MB, 1, SCHEDULE_AHEAD_WIDE, &p),
                     0);
    assert_in_range(p.window_bytes, 4 * MB, 6 * MB);
    replay(&t, &p, 8 * MB);
    schedule_plan_destroy(&p);
}

/* One launch that needs much of the window would take it from all others: more of what it touches
 * stays instead. */
static void test_window_is_not_made_for_one_launch(void **state)
{
    static struct trace t;
    struct schedule_trace step;
    struct schedule_plan p;
    unsigned streamed = 0;

    (void)state;
    memset(&t, 0, sizeof(t));
    t.extent_count = 120;
    for (uint32_t e = 0; e < 120; e++)
        t.extents[e].bytes = 2 * MB;
    for (uint32_t l = 0; l < 100; l++)
        launch(&t, 1, &l);
    launch(&t, 20, (uint32_t[]){100, 101, 102, 103, 104, 105, 106, 107, 108, 109,
                                110, 111, 112, 113, 114, 115, 116, 117, 118, 119});
    step = view(&t);
    assert_int_equal(
        schedule_plan_create(&step, t.extents, 120, 120 * MB, 1, SCHEDULE_AHEAD_WIDE, &p), 0);
    assert_true(p.window_bytes <= 8 * MB);
    assert_true(p.load_bytes <= 240 * MB - 120 * MB + 8 * MB);
    for (size_t e = 100; e < 120; e++)
        streamed += !p.fixed[e];
    assert_true(streamed <= 4);
    replay(&t, &p, 120 * MB);
    schedule_plan_destroy(&p);
}

/* Where the link sets the pace, room for two extents beside the launch that runs is enough, and
 * more stays. */
static void test_lean_window_lets_more_stay(void **state)
{
    static struct trace t;
    struct schedule_plan wide, lean;
    struct schedule_trace step;

    (void)state;
    make_layers(&t, 12, 10, 0);
    step = view(&t);
    plan(&t, 80 * MB, &wide);
    assert_int_equal(schedule_plan_create(&step, t.extents, t.extent_count, 80 * MB, 0,
                                          SCHEDULE_AHEAD_LEAN, &lean),
                     0);
    assert_true(lean.load_bytes < wide.load_bytes);
    assert_true(lean.window_bytes >= SCHEDULE_WINDOW_EXTENTS * 2 * MB);
    for (size_t l = 0; l < t.launches; l++) {
        uint64_t own = 0;

        for (uint32_t i = t.first[l]; i < t.first[l + 1]; i++)
            own += lean.fixed[t.extent[i]] ? 0 : 2 * MB;
        assert_true(own + (SCHEDULE_WINDOW_EXTENTS - 1) * 2 * MB <= lean.window_bytes);
    }
    assert_true(lean.fixed_bytes + lean.window_bytes <= 80 * MB);
    replay(&t, &lean, 80 * MB);
    schedule_plan_destroy(&wide);
    schedule_plan_destroy(&lean);
}

/* Where the wide window costs next to nothing, nobody need find out whether it is worth it. */
static void test_lean_is_wide_where_that_is_cheap(void **state)
{
    static struct trace t;
    struct schedule_plan wide, lean;
    struct schedule_trace step;

    (void)state;
    make_layers(&t, 100, 10, 0);
    step = view(&t);
    plan(&t, 1000 * MB, &wide);
    assert_int_equal(schedule_plan_create(&step, t.extents, t.extent_count, 1000 * MB, 0,
                                          SCHEDULE_AHEAD_LEAN, &lean),
                     0);
    assert_int_equal(lean.window_bytes, wide.window_bytes);
    assert_int_equal(lean.load_bytes, wide.load_bytes);
    assert_memory_equal(lean.fixed, wide.fixed, t.extent_count);
    replay(&t, &lean, 1000 * MB);
    schedule_plan_destroy(&wide);
    schedule_plan_destroy(&lean);
}

/* However little each launch streams, a deep window has room for several of them; but it is a small
 * share of a small budget. */
static void test_deep_window(void **state)
{
    static struct trace t;
    struct schedule_plan wide, deep;
    struct schedule_trace step;

    (void)state;
    make_layers(&t, 100, 1, 0);
    step = view(&t);
    plan(&t, 120 * MB, &wide);
    assert_int_equal(wide.window_bytes, SCHEDULE_WINDOW_EXTENTS * 2 * MB);
    for (uint64_t budget_bytes = 120 * MB; budget_bytes >= 40 * MB; budget_bytes -= 40 * MB) {
        uint64_t share = budget_bytes / SCHEDULE_DEEP_SHARE, least = SCHEDULE_DEEP_EXTENTS * 2 * MB;

        assert_int_equal(schedule_plan_create(&step, t.extents, t.extent_count, budget_bytes, 0,
                                              SCHEDULE_AHEAD_DEEP, &deep),
                         0);
        least = share < least ? share : least;
        if (least < wide.window_bytes)
            least = wide.window_bytes;
        assert_int_equal(deep.window_bytes, least);
        assert_true(deep.fixed_bytes + deep.window_bytes <= budget_bytes);
        replay(&t, &deep, budget_bytes);
        schedule_plan_destroy(&deep);
    }
    schedule_plan_destroy(&wide);
}

/* Each load tells how many launches use what it brings; the step is a ring. */
static void test_counts_the_uses_of_a_load(void **state)
{
    static struct trace t;
    struct schedule_plan p;

    (void)state;
    memset(&t, 0, sizeof(t));
    t.extent_count = 20;
    for (uint32_t l = 0; l < 20; l++) {
        launch(&t, 2, (uint32_t[]){l, (l + 1) % 20});
        t.extents[l] = (struct schedule_extent){.bytes = 2 * MB, .place = SCHEDULE_STREAM};
    }
    /* Extent 10 is used once more, when the window has long lost it. */
    launch(&t, 1, (uint32_t[]){10});
    plan(&t, 10 * MB, &p);
    assert_int_equal(p.load_count, 21);
    for (size_t i = 0; i < p.load_count; i++) {
        assert_int_equal(p.load[i].uses, p.load[i].launch == 20 ? 1 : 2);
        /* Extent 0 comes for launch 19; extent 10 lies between that and launch 0. */
        assert_int_equal(p.load[i].span, p.load[i].extent == 0 ? 1 : 0);
    }
    replay(&t, &p, 10 * MB);
    schedule_plan_destroy(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window_is_two_launches),
        cmocka_unit_test(test_window_is_not_made_for_one_launch),
        cmocka_unit_test(test_lean_window_lets_more_stay),
        cmocka_unit_test(test_lean_is_wide_where_that_is_cheap),
        cmocka_unit_test(test_deep_window),
        cmocka_unit_test(test_counts_the_uses_of_a_load),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
