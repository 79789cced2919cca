/* Strategy: recorded traces go in, plans come out, and a plan is judged by replaying it. From the
 * replay come the two properties that matter: no launch ever lacks an extent, and no plan moves
 * more than a few per cent above the fewest bytes possible. What stays, by use or as told, and how
 * evenly, is read from the plan itself. */
#include "tests/unit/schedule_replay.h"
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void test_finds_the_smallest_step(void **state)
{
    uint64_t s[64];

    (void)state;
    for (size_t i = 0; i < 64; i++)
        s[i] = i % 7;
    assert_int_equal(schedule_find_step(s, 14), 7);
    assert_int_equal(schedule_find_step(s, 13), 0);
    assert_int_equal(schedule_find_step(s, 64), 7);
    s[63] = 99;
    assert_int_equal(schedule_find_step(s, 64), 0);
    assert_int_equal(schedule_find_step(s, 0), 0);
    assert_int_equal(schedule_find_step(s, 1), 0);
}

static void test_finds_a_step_after_a_prologue(void **state)
{
    uint64_t s[100];

    (void)state;
    for (size_t i = 0; i < 100; i++)
        s[i] = i < 40 ? 1000 + i : (i - 40) % 30;
    assert_int_equal(schedule_find_step(s, 100), 30);
    assert_int_equal(schedule_find_step(s, 99), 0);
}

static void test_all_stays_when_all_fits(void **state)
{
    static struct trace t;
    struct schedule_plan p;

    (void)state;
    make_layers(&t, 10, 2, 0);
    plan(&t, 40 * MB, &p);
    assert_int_equal(p.load_count, 0);
    assert_int_equal(p.fixed_bytes, 40 * MB);
    schedule_plan_destroy(&p);
    plan(&t, 40 * MB - 1, &p);
    assert_true(p.load_count > 0);
    schedule_plan_destroy(&p);
}

/* A cycle of n extents in room for k moves at least n - k of them, whatever one does. */
static void test_moves_little_more_than_the_fewest_bytes(void **state)
{
    static struct trace t;

    (void)state;
    make_layers(&t, 200, 1, 0);
    for (uint64_t share = 10; share < 100; share += 10) {
        uint64_t budget = 400ull * MB * share / 100;
        struct schedule_plan p;
        struct schedule_trace step = view(&t);

        assert_int_equal(schedule_plan_create(&step, t.extents, t.extent_count, budget, 8 * MB,
                                              SCHEDULE_AHEAD_WIDE, &p),
                         0);
        assert_true(p.fixed_bytes + p.window_bytes <= budget);
        assert_true(p.load_bytes <= 400ull * MB - budget + 8 * MB);
        replay(&t, &p, budget);
        schedule_plan_destroy(&p);
    }
}

/* An extent's loads are found in their order. */
static void check_index(const struct schedule_plan *p)
{
    size_t found = 0;

    for (size_t e = 0; e < p->extent_count; e++)
        for (uint32_t i = p->first_load[e]; i != SCHEDULE_NONE; i = p->load[i].same) {
            assert_true(i < p->load_count);
            assert_int_equal(p->load[i].extent, e);
            assert_true(p->load[i].same == SCHEDULE_NONE || p->load[i].same > i);
            found++;
        }
    assert_int_equal(found, p->load_count);
}

static void test_spreads_evenly_through_the_step(void **state)
{
    static struct trace t;
    struct schedule_plan p;

    (void)state;
    make_layers(&t, 200, 1, 0);
    plan(&t, 200 * MB, &p);
    for (size_t from = 0; from + 20 <= 200; from += 20) {
        unsigned streamed = 0;

        for (size_t l = from; l < from + 20; l++)
            streamed += !p.fixed[l];
        /* 187.5 MB of 400 stay: 10.6 of 20 stream, wherever one looks. */
        assert_in_range(streamed, 10, 12);
    }
    schedule_plan_destroy(&p);
}

static void test_keeps_what_is_used_most_often(void **state)
{
    static struct trace t;
    struct schedule_plan p;

    (void)state;
    /* Each of 40 launches touches its own extent; extent 40 comes back ten times, far apart. */
    memset(&t, 0, sizeof(t));
    t.extent_count = 41;
    for (uint32_t l = 0; l < 40; l++) {
        uint32_t set[2] = {l, 40};

        launch(&t, l % 4 == 0 ? 2 : 1, set);
    }
    for (size_t i = 0; i < 41; i++)
        t.extents[i].bytes = 2 * MB;
    struct schedule_trace step = view(&t);
    assert_int_equal(
        schedule_plan_create(&step, t.extents, 41, 12 * MB, 4 * MB, SCHEDULE_AHEAD_WIDE, &p), 0);
    assert_true(p.fixed[40]);
    replay(&t, &p, 12 * MB);
    schedule_plan_destroy(&p);
}

static void test_keeps_what_every_launch_uses(void **state)
{
    static struct trace t;
    struct schedule_plan p;

    (void)state;
    make_layers(&t, 30, 2, 1);
    t.extents[60].written = 1;
    plan(&t, 24 * MB, &p);
    assert_true(p.fixed[60]);
    replay(&t, &p, 24 * MB);
    schedule_plan_destroy(&p);
}

static void test_prefers_to_stream_what_needs_no_copy_back(void **state)
{
    static struct trace t;
    struct schedule_plan p;

    (void)state;
    make_layers(&t, 40, 1, 0);
    for (size_t i = 0; i < 40; i += 4)
        t.extents[i].written = 1;
    plan(&t, 40 * MB, &p);
    for (size_t i = 0; i < 40; i += 4)
        assert_true(p.fixed[i]);
    replay(&t, &p, 40 * MB);
    schedule_plan_destroy(&p);
}

/* Any extents, and launches that touch some of them. returns the bytes of all extents; *largest is
 * set to what one launch touches at most */
static uint64_t make_random(struct trace *t, unsigned seed, uint64_t *largest)
{
    uint64_t all = 0;

    srand(seed);
    memset(t, 0, sizeof(*t));
    *largest = 0;
    t->extent_count = 5 + (size_t)rand() % 60;
    for (size_t e = 0; e < t->extent_count; e++) {
        t->extents[e].bytes = (1 + (uint64_t)rand() % 8) * 2 * MB;
        t->extents[e].written = rand() % 5 == 0;
        all += t->extents[e].bytes;
    }
    for (int l = 0; l < 40; l++) {
        uint32_t set[4], n = 0;
        uint64_t bytes = 0;

        for (int i = 0; i < 1 + rand() % 4; i++) {
            uint32_t e = (uint32_t)rand() % (uint32_t)t->extent_count, j = 0;

            while (j < n && set[j] != e)
                j++;
            if (j == n) {
                set[n++] = e;
                bytes += t->extents[e].bytes;
            }
        }
        if (bytes > *largest)
            *largest = bytes;
        launch(t, n, set);
    }
    return all;
}

static void test_random_traces_replay(void **state)
{
    static struct trace t;

    (void)state;
    for (unsigned seed = 1; seed <= 200; seed++) {
        uint64_t largest, all = make_random(&t, seed, &largest);
        uint64_t budget = 4 * largest + (uint64_t)rand() % all;
        struct schedule_plan p;

        plan(&t, budget, &p);
        assert_true(p.fixed_bytes + p.window_bytes <= budget);
        check_index(&p);
        replay(&t, &p, budget);
        schedule_plan_destroy(&p);
    }
}

/* What is to be kept stays where it fits beside a window, used or not, and what is to stream never
 * does, also where all would fit. */
static void test_random_places_are_honoured(void **state)
{
    static struct trace t;

    (void)state;
    for (unsigned seed = 1; seed <= 400; seed++) {
        uint64_t largest, kept = 0, all = make_random(&t, seed, &largest), budget;
        struct schedule_plan p;

        for (size_t e = 0; e < t.extent_count; e++) {
            t.extents[e].place = (uint8_t)(rand() % 3);
            if (t.extents[e].place == SCHEDULE_KEEP)
                kept += t.extents[e].bytes;
        }
        budget = kept + 4 * largest + 3 * 16 * MB + (uint64_t)rand() % all;
        plan(&t, budget, &p);
        for (size_t e = 0; e < t.extent_count; e++) {
            assert_true(t.extents[e].place != SCHEDULE_KEEP || p.fixed[e]);
            assert_true(t.extents[e].place != SCHEDULE_STREAM || !p.fixed[e]);
        }
        assert_true(p.fixed_bytes + p.window_bytes <= budget);
        check_index(&p);
        replay(&t, &p, budget);
        schedule_plan_destroy(&p);
        /* With less room than it takes, as much of it stays as fits. */
        budget = 4 * largest + (uint64_t)rand() % all;
        plan(&t, budget, &p);
        assert_true(p.fixed_bytes + p.window_bytes <= budget);
        for (size_t e = 0; e < t.extent_count; e++)
            assert_true(t.extents[e].place != SCHEDULE_STREAM || !p.fixed[e]);
        replay(&t, &p, budget);
        schedule_plan_destroy(&p);
    }
}

/* 40 layers in the room of 20, of which a third is to be kept: it is, whole, and of the rest what
 * has room beside it. Where that is too much, it alone stays, spread through the step. */
static void test_keeps_what_it_is_told_to(void **state)
{
    static struct trace t;
    struct schedule_plan p;
    size_t others = 0;

    (void)state;
    make_layers(&t, 40, 1, 0);
    for (size_t e = 0; e < 13; e++)
        t.extents[e].place = SCHEDULE_KEEP;
    t.extents[20].place = SCHEDULE_STREAM;
    plan(&t, 40 * MB, &p);
    for (size_t e = 0; e < 13; e++)
        assert_true(p.fixed[e]);
    for (size_t e = 13; e < 40; e++)
        others += p.fixed[e];
    assert_int_equal(others, 4);
    assert_false(p.fixed[20]);
    schedule_plan_destroy(&p);

    for (size_t e = 0; e < 30; e++)
        t.extents[e].place = SCHEDULE_KEEP;
    plan(&t, 40 * MB, &p);
    others = 0;
    for (size_t e = 0; e < 30; e++)
        others += !p.fixed[e];
    assert_int_equal(others, 13);
    assert_false(p.fixed[0] && p.fixed[1] && p.fixed[2] && p.fixed[3]);
    for (size_t e = 30; e < 40; e++)
        assert_false(p.fixed[e]);
    schedule_plan_destroy(&p);
}

/* A launch that uses more of the rest than what is to be kept leaves room for comes first. */
static void test_keeps_room_for_each_launch(void **state)
{
    static struct trace t;
    uint32_t many[6];
    struct schedule_plan p;

    (void)state;
    make_layers(&t, 40, 1, 0);
    for (uint32_t i = 0; i < 6; i++)
        many[i] = 30 + i;
    launch(&t, 6, many);
    for (size_t e = 0; e < 15; e++)
        t.extents[e].place = SCHEDULE_KEEP;
    plan(&t, 42 * MB, &p);
    for (size_t e = 0; e < 15; e++)
        assert_true(p.fixed[e]);
    replay(&t, &p, 42 * MB);
    schedule_plan_destroy(&p);
    plan(&t, 38 * MB, &p);
    replay(&t, &p, 38 * MB);
    schedule_plan_destroy(&p);
}

/* Room for all is no reason to let stay what is to stream; but it is loaded only once. */
static void test_streams_what_it_is_told_to(void **state)
{
    static struct trace t;
    struct schedule_plan p;

    (void)state;
    make_layers(&t, 10, 1, 0);
    t.extents[3].place = t.extents[4].place = SCHEDULE_STREAM;
    plan(&t, 20 * MB, &p);
    for (size_t e = 0; e < 10; e++)
        assert_int_equal(p.fixed[e], e != 3 && e != 4);
    assert_int_equal(p.fixed_bytes, 16 * MB);
    assert_int_equal(p.load_count, 0);
    schedule_plan_destroy(&p);
}

static void test_refuses_what_is_no_trace(void **state)
{
    static struct trace t;
    struct schedule_plan p;
    struct schedule_trace step;

    (void)state;
    make_layers(&t, 4, 1, 0);
    step = view(&t);
    assert_int_equal(schedule_plan_create(&step, t.extents, 3, MB, 0, SCHEDULE_AHEAD_WIDE, &p),
                     -EINVAL);
    step.launches = 0;
    assert_int_equal(schedule_plan_create(&step, t.extents, 4, MB, 0, SCHEDULE_AHEAD_WIDE, &p),
                     -EINVAL);
    assert_null(p.load);
    step = view(&t);
    t.first[1] = 9;
    assert_int_equal(schedule_plan_create(&step, t.extents, 4, MB, 0, SCHEDULE_AHEAD_WIDE, &p),
                     -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_the_smallest_step),
        cmocka_unit_test(test_finds_a_step_after_a_prologue),
        cmocka_unit_test(test_all_stays_when_all_fits),
        cmocka_unit_test(test_moves_little_more_than_the_fewest_bytes),
        cmocka_unit_test(test_spreads_evenly_through_the_step),
        cmocka_unit_test(test_keeps_what_is_used_most_often),
        cmocka_unit_test(test_keeps_what_every_launch_uses),
        cmocka_unit_test(test_prefers_to_stream_what_needs_no_copy_back),
        cmocka_unit_test(test_random_traces_replay),
        cmocka_unit_test(test_random_places_are_honoured),
        cmocka_unit_test(test_keeps_what_it_is_told_to),
        cmocka_unit_test(test_streams_what_it_is_told_to),
        cmocka_unit_test(test_keeps_room_for_each_launch),
        cmocka_unit_test(test_refuses_what_is_no_trace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
