/* Strategy: steps of chosen lengths go in, and what is asked for is the window that the plan ends
 * with. The first steps of each plan are told far too short or long, and must not count. */
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
        schedule_tempo_replanned(tempo, tempo->ahead == SCHEDULE_AHEAD_WIDE);
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

static void test_wide_stays_where_it_is_faster(void **state)
{
    struct schedule_tempo tempo;

    (void)state;
    schedule_tempo_begin(&tempo);
    assert_int_equal(run_try(&tempo, 1000, 1500), 1);
    assert_int_equal(tempo.ahead, SCHEDULE_AHEAD_WIDE);
    assert_false(tempo.calm);
    assert_int_equal(run_try(&tempo, 5000, 1200), 0);
    assert_true(tempo.calm);
    assert_int_equal(run_try(&tempo, 1000, 1190), 0);
    assert_stays(&tempo, SCHEDULE_AHEAD_WIDE, 0);
}

static void test_lean_comes_back_where_wide_gains_nothing(void **state)
{
    struct schedule_tempo tempo;

    (void)state;
    schedule_tempo_begin(&tempo);
    assert_int_equal(run_try(&tempo, 1000, 1500), 1);
    assert_int_equal(run_try(&tempo, 1000, 1440), 1);
    assert_true(tempo.calm);
    assert_int_equal(run_try(&tempo, 1000, 1440), 0);
    assert_stays(&tempo, SCHEDULE_AHEAD_LEAN, 0);
}

/* Wide made the link busy: what the calls cost matters no more. */
static void test_calm_is_not_tried_where_the_link_is_busy(void **state)
{
    struct schedule_tempo tempo;

    (void)state;
    schedule_tempo_begin(&tempo);
    assert_int_equal(run_try(&tempo, 1000, 1500), 1);
    assert_int_equal(run_try(&tempo, 1000, 1050), 0);
    assert_stays(&tempo, SCHEDULE_AHEAD_WIDE, 0);
}

static void test_calm_stays_where_it_is_faster(void **state)
{
    struct schedule_tempo tempo;

    (void)state;
    schedule_tempo_begin(&tempo);
    assert_int_equal(run_try(&tempo, 1000, 1500), 1);
    assert_int_equal(run_try(&tempo, 1000, 1490), 1);
    assert_int_equal(run_try(&tempo, 5000, 1300), 0);
    assert_stays(&tempo, SCHEDULE_AHEAD_LEAN, 1);
}

/* Lean turned out to be wide: there is nothing to compare it with. */
static void test_a_wide_plan_is_not_compared(void **state)
{
    struct schedule_tempo tempo;

    (void)state;
    schedule_tempo_begin(&tempo);
    schedule_tempo_replanned(&tempo, 1);
    assert_int_equal(run_try(&tempo, 1000, 1500), 0);
    assert_int_equal(tempo.ahead, SCHEDULE_AHEAD_LEAN);
    assert_true(tempo.calm);
    assert_int_equal(run_try(&tempo, 1000, 1500), 0);
    assert_stays(&tempo, SCHEDULE_AHEAD_LEAN, 0);
}

static void test_nothing_is_decided_before_the_link_is_known(void **state)
{
    struct schedule_tempo tempo;

    (void)state;
    schedule_tempo_begin(&tempo);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(schedule_tempo_note(&tempo, 1500, 0), 0);
    assert_int_equal(schedule_tempo_note(&tempo, 1500, LINK_NS), 1);
    assert_int_equal(tempo.ahead, SCHEDULE_AHEAD_WIDE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lean_stays_where_the_link_is_busy),
        cmocka_unit_test(test_wide_stays_where_it_is_faster),
        cmocka_unit_test(test_lean_comes_back_where_wide_gains_nothing),
        cmocka_unit_test(test_calm_is_not_tried_where_the_link_is_busy),
        cmocka_unit_test(test_calm_stays_where_it_is_faster),
        cmocka_unit_test(test_a_wide_plan_is_not_compared),
        cmocka_unit_test(test_nothing_is_decided_before_the_link_is_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
