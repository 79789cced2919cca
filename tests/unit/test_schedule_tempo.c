/* Strategy: steps of chosen lengths go in, and what is asked for is the window that the plan ends
 * with, and how it loads. The first steps of each plan are told far too short or long, and must not
 * count. */
#include "schedule_tempo.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define LINK_NS 1000u

/* The steps of one try. returns 1 when another plan is wanted, which must be behind the last of
 * them
 */
static int run_try(struct schedule_tempo *tempo, uint64_t settling_ns, uint64_t step_ns)
{
    int wanted = 0;

    for (unsigned i = 0; i < SCHEDULE_TEMPO_SETTLE; i++)
        assert_int_equal(schedule_tempo_note(tempo, settling_ns, LINK_NS), 0);
    for (unsigned i = 0; i < SCHEDULE_TEMPO_STEPS; i++) {
        assert_int_equal(wanted, 0);
        /* One of them is short; the program paused in the others. */
        wanted = schedule_tempo_note(tempo, i == 1 ? step_ns : 10 * step_ns, LINK_NS);
    }
    if (wanted)
        schedule_tempo_replanned(tempo);
    return wanted;
}

static void assert_stays(struct schedule_tempo *tempo, enum schedule_ahead ahead, int calm)
{
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(schedule_tempo_note(tempo, 1 + 100 * i, LINK_NS), 0);
    assert_int_equal(tempo->ahead, ahead);
    assert_int_equal(tempo->calm, calm);
}

static void test_lean_stays_where_the_link_is_busy(void **state)
{
    struct schedule_tempo tempo;

    (void)state;
    schedule_tempo_begin(&tempo);
    assert_int_equal(tempo.ahead, SCHEDULE_AHEAD_LEAN);
    assert_int_equal(run_try(&tempo, 5000, 1040), 0);
    assert_stays(&tempo, SCHEDULE_AHEAD_LEAN, 0);
}

/* A plan begins lean, the steps of which take so long; then calm is tried. */
static struct schedule_tempo begin_slow(uint64_t lean_ns)
{
    struct schedule_tempo tempo;

    schedule_tempo_begin(&tempo);
    assert_int_equal(run_try(&tempo, 1000, lean_ns), 0);
    assert_int_equal(tempo.ahead, SCHEDULE_AHEAD_LEAN);
    assert_true(tempo.calm);
    return tempo;
}

static void test_calm_and_deep_stay_where_they_are_faster(void **state)
{
    struct schedule_tempo tempo = begin_slow(1500);

    (void)state;
    assert_int_equal(run_try(&tempo, 5000, 1400), 1);
    assert_int_equal(tempo.ahead, SCHEDULE_AHEAD_DEEP);
    assert_int_equal(run_try(&tempo, 5000, 1300), 0);
    assert_stays(&tempo, SCHEDULE_AHEAD_DEEP, 1);
}

static void test_deep_stays_without_calm(void **state)
{
    struct schedule_tempo tempo = begin_slow(1500);

    (void)state;
    assert_int_equal(run_try(&tempo, 1000, 1490), 1);
    assert_false(tempo.calm);
    assert_int_equal(run_try(&tempo, 5000, 1300), 0);
    assert_stays(&tempo, SCHEDULE_AHEAD_DEEP, 0);
}

static void test_lean_comes_back_where_nothing_is_gained(void **state)
{
    struct schedule_tempo tempo = begin_slow(1500);

    (void)state;
    assert_int_equal(run_try(&tempo, 1000, 1490), 1);
    assert_int_equal(run_try(&tempo, 1000, 1490), 1);
    assert_stays(&tempo, SCHEDULE_AHEAD_LEAN, 0);
}

/* Deep has to be faster than lean was with calm loads. */
static void test_calm_stays_without_deep(void **state)
{
    struct schedule_tempo tempo = begin_slow(1500);

    (void)state;
    assert_int_equal(run_try(&tempo, 1000, 1300), 1);
    assert_int_equal(run_try(&tempo, 1000, 1290), 1);
    assert_stays(&tempo, SCHEDULE_AHEAD_LEAN, 1);
}

/* Calm loads made the link busy: nothing is faster. */
static void test_deep_is_not_tried_where_the_link_is_busy(void **state)
{
    struct schedule_tempo tempo = begin_slow(1500);

    (void)state;
    assert_int_equal(run_try(&tempo, 1000, 1050), 0);
    assert_stays(&tempo, SCHEDULE_AHEAD_LEAN, 1);
}

static void test_nothing_is_decided_before_the_link_is_known(void **state)
{
    struct schedule_tempo tempo;

    (void)state;
    schedule_tempo_begin(&tempo);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(schedule_tempo_note(&tempo, 1500, 0), 0);
    assert_int_equal(schedule_tempo_note(&tempo, 1500, LINK_NS), 0);
    assert_true(tempo.calm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lean_stays_where_the_link_is_busy),
        cmocka_unit_test(test_calm_and_deep_stay_where_they_are_faster),
        cmocka_unit_test(test_deep_stays_without_calm),
        cmocka_unit_test(test_lean_comes_back_where_nothing_is_gained),
        cmocka_unit_test(test_calm_stays_without_deep),
        cmocka_unit_test(test_deep_is_not_tried_where_the_link_is_busy),
        cmocka_unit_test(test_nothing_is_decided_before_the_link_is_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
