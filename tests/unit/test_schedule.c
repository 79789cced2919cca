/* Strategy: recorded traces go in, plans come out, and a plan is judged by replaying it: a window
 * of frames is filled by the plan's loads in order, and every launch must find what it touches.
 * From the replay come the two properties that matter: no launch ever lacks an extent, and no plan
 * moves more than a few per cent above the fewest bytes possible. Evenness is measured on the plan
 * itself. */
#include "schedule.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MB (1u << 20)

struct trace {
    uint32_t first[4096];
    uint32_t extent[16384];
    size_t launches;
    struct schedule_extent extents[1024];
    size_t extent_count;
};

static void launch(struct trace *t, size_t count, const uint32_t *extents)
{
    uint32_t at = t->first[t->launches];

    memcpy(&t->extent[at], extents, count * sizeof(*extents));
    t->first[++t->launches] = at + (uint32_t)count;
}

/* layers launches, each of which touches per_launch extents of its own, and extent `shared` if that
 * is a real one. */
static void make_layers(struct trace *t, uint32_t layers, uint32_t per_launch, int with_shared)
{
    memset(t, 0, sizeof(*t));
    for (uint32_t l = 0; l < layers; l++) {
        uint32_t set[64], n = 0;

        for (uint32_t i = 0; i < per_launch; i++)
            set[n++] = l * per_launch + i;
        if (with_shared)
            set[n++] = layers * per_launch;
        launch(t, n, set);
    }
    t->extent_count = layers * per_launch + (with_shared ? 1 : 0);
    for (size_t i = 0; i < t->extent_count; i++)
        t->extents[i].bytes = 2 * MB;
}

static struct schedule_trace view(const struct trace *t)
{
    return (struct schedule_trace){.first = t->first, .extent = t->extent, .launches = t->launches};
}

static void plan(const struct trace *t, uint64_t budget, struct schedule_plan *out)
{
    struct schedule_trace step = view(t);

    assert_int_equal(schedule_plan_create(&step, t->extents, t->extent_count, budget, 0,
                                          SCHEDULE_AHEAD_WIDE, out),
                     0);
}

/* Make room: what was used longest ago leaves, but never what the present launch has used. */
static void evict(const struct trace *t, uint64_t *used, uint64_t since, uint64_t *held,
                  uint64_t budget)
{
    while (*held > budget) {
        size_t oldest = SIZE_MAX;

        for (size_t e = 0; e < t->extent_count; e++)
            if (used[e] && used[e] <= since && (oldest == SIZE_MAX || used[e] < used[oldest]))
                oldest = e;
        assert_true(oldest != SIZE_MAX);
        *held -= t->extents[oldest].bytes;
        used[oldest] = 0;
    }
}

/* Three steps of the plan within the budget. The first fills the window; from then on each launch
 * must find what it touches through the plan's own loads. */
static void replay(const struct trace *t, const struct schedule_plan *p, uint64_t budget)
{
    uint64_t *used = calloc(t->extent_count, sizeof(*used)); /* 0: not in the window */
    uint64_t clock = 0, held = p->fixed_bytes;

    for (int round = 0; round < 3; round++) {
        size_t next = 0;

        for (size_t l = 0; l < t->launches; l++) {
            uint64_t since = clock;

            for (uint32_t i = t->first[l]; i < t->first[l + 1]; i++) {
                uint32_t e = t->extent[i];
                int loaded =
                    next < p->load_count && p->load[next].launch == l && p->load[next].extent == e;

                if (p->fixed[e]) {
                    assert_false(loaded);
                    continue;
                }
                next += loaded;
                assert_true(round == 0 || loaded || used[e]);
                if (!used[e])
                    held += t->extents[e].bytes;
                used[e] = ++clock;
                evict(t, used, since, &held, budget);
            }
        }
        assert_int_equal(next, p->load_count);
    }
    free(used);
}

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
        cmocka_unit_test(test_window_is_two_launches),
        cmocka_unit_test(test_window_is_not_made_for_one_launch),
        cmocka_unit_test(test_counts_the_uses_of_a_load),
        cmocka_unit_test(test_spreads_evenly_through_the_step),
        cmocka_unit_test(test_lean_window_lets_more_stay),
        cmocka_unit_test(test_lean_is_wide_where_that_is_cheap),
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
