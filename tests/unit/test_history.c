/* Strategy: a record of launches over extents that are weights or are not, without a device. What
 * is found is compared with a stretch that is known from how the record was made: by all that
 * launches touch, and by weights alone, where the rest lies elsewhere each time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pager.h"
#include <stdlib.h>
#include <string.h>

#define EXTENTS 64u
#define WEIGHTS 16u /* the first of them */

static struct extent g_extents[EXTENTS], *g_table[EXTENTS];
static struct history g_history;

static int begin(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < EXTENTS; i++) {
        g_extents[i] = (struct extent){.id = i, .mode = BACKEND_MOVED, .clean = i < WEIGHTS};
        g_table[i] = &g_extents[i];
    }
    history_begin(&g_history);
    return 0;
}

static int end(void **state)
{
    (void)state;
    free(g_history.signature);
    free(g_history.first);
    free(g_history.extent);
    memset(&g_history, 0, sizeof(g_history));
    return 0;
}

static void touch(uint32_t extent)
{
    history_record(&g_history, &g_table[extent], 1);
}

static void touch_both(uint32_t one, uint32_t other)
{
    struct extent *set[] = {&g_extents[one], &g_extents[other]};

    history_record(&g_history, set, 2);
}

/* Is there a step, of so many launches, that begins there? */
static void expect_by_weights(size_t first, size_t launches)
{
    struct history_step step;

    assert_int_equal(history_find_step_by_weights(&g_history, g_table, &step), 1);
    assert_int_equal(step.first, first);
    assert_int_equal(step.launches, launches);
    assert_int_equal(step.steady, 0);
}

static void expect_none_by_weights(void)
{
    struct history_step step;

    assert_int_equal(history_find_step_by_weights(&g_history, g_table, &step), 0);
}

static void test_by_all(void **state)
{
    struct history_step step;

    (void)state;
    touch(20);
    for (uint32_t i = 0; i < 10; i++)
        touch(i % 5);
    assert_int_equal(history_find_step(&g_history, &step), 1);
    assert_int_equal(step.first, 6);
    assert_int_equal(step.launches, 5);
    assert_int_equal(step.steady, 0);
    for (uint32_t i = 0; i < 300; i++)
        touch(i % 5);
    assert_int_equal(history_find_step(&g_history, &step), 1);
    assert_int_equal(step.steady, 1);
    touch(20);
    assert_int_equal(history_find_step(&g_history, &step), 0);
}

/* What else is touched beside the weights never comes to the same place. */
static void test_elsewhere(void **state)
{
    struct history_step step;

    (void)state;
    for (uint32_t turn = 0; turn < 2; turn++)
        for (uint32_t i = 0; i < 4; i++) {
            touch(WEIGHTS + 8 * turn + i);
            touch_both(i, WEIGHTS + 8 * turn + i + 1);
        }
    touch(0);
    assert_int_equal(history_find_step(&g_history, &step), 0);
    expect_by_weights(8, 8);
}

/* A turn is not always as many launches, and may end in the middle of what touches no weights. */
static void test_launches_between(void **state)
{
    (void)state;
    for (uint32_t turn = 0; turn < 2; turn++)
        for (uint32_t i = 0; i < 3; i++) {
            touch(i);
            for (uint32_t more = 0; more < 1 + turn; more++)
                touch(WEIGHTS + i);
        }
    expect_none_by_weights(); /* there may be more of the last */
    touch(0);
    /* a x b x c x | a x x b x x c x x: from behind the first c to the second one. */
    expect_by_weights(5, 8);
}

/* Launches in a row that touch the same weights are no step, however often they come; a step has
 * as many of them in each turn. */
static void test_in_a_row(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 40; i++)
        touch(3);
    expect_none_by_weights();
    for (uint32_t turn = 0; turn < 2; turn++)
        for (uint32_t i = 4; i < 6; i++)
            for (uint32_t again = 0; again < 5; again++)
                touch_both(i, WEIGHTS + again);
    touch(4);
    expect_by_weights(50, 10);
    for (uint32_t again = 1; again < 5; again++)
        touch(4);
    expect_by_weights(50, 10);
    touch(4); /* one more than before */
    expect_none_by_weights();
    touch(5);
    expect_none_by_weights();
}

static void test_no_weights(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 40; i++)
        touch(WEIGHTS + i % 4);
    expect_none_by_weights();
    history_begin(&g_history);
    expect_none_by_weights();
}

/* What was loaded as a duplicate is weights, whatever was asked before. */
static void test_duplicates(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < WEIGHTS; i++) {
        g_extents[i].clean = 0;
        g_extents[i].mode = i < 2 ? BACKEND_SHARED : BACKEND_MOVED;
    }
    for (uint32_t i = 0; i < 4; i++) {
        touch(i % 2);
        touch(2 + i);
    }
    touch(0);
    expect_by_weights(3, 4);
}

/* The program has just left what it did twice: that is no step. */
static void test_left(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 8; i++)
        touch_both(i % 4, WEIGHTS + i);
    touch(9);
    expect_none_by_weights();
}

/* Experts that nobody foresees are no step. */
static void test_routed(void **state)
{
    static const uint32_t expert[] = {5, 7, 6, 9, 5, 8, 7, 6};

    (void)state;
    for (uint32_t turn = 0; turn < 8; turn++) {
        touch_both(0, WEIGHTS + turn);
        touch(expert[turn]);
        touch(1);
    }
    expect_none_by_weights();
}

/* What only one of two turns touches is taken out of the step, but for weights; and what came later
 * is no part of the record any more. */
static void test_taken(void **state)
{
    struct history_step step;
    uint64_t turn = 5;

    (void)state;
    for (uint32_t i = 0; i < EXTENTS; i++)
        g_extents[i].bytes = 100 + i;
    for (uint32_t times = 0; times < 3; times++)
        for (uint32_t i = 0; i < 3; i++) {
            touch_both(i, WEIGHTS + 3 * times + i);  /* elsewhere each time */
            touch_both(WEIGHTS + 3 * times + i, 40); /* and always the same */
        }
    touch(0);
    assert_int_equal(history_find_step_by_weights(&g_history, g_table, &step), 1);
    assert_int_equal(step.before, 5);
    assert_int_equal(step.first, 11);
    assert_int_equal(step.launches, 6);
    /* The step begins with the end of the turn before: that place both touch. */
    assert_int_equal(history_bytes(&g_history, g_table, &step, &turn),
                     303 + 4 * (100 + WEIGHTS) + 5 + 6 + 7 + 8 + 140);
    assert_int_equal(history_take_step_by_weights(&g_history, g_table, &step, &turn),
                     3 * (100 + WEIGHTS) + 6 + 7 + 8);
    assert_int_equal(g_history.launches, 17);
    assert_true(turn >= 8);
    for (size_t i = step.first; i < 17; i++)
        for (uint32_t at = g_history.first[i]; at < g_history.first[i + 1]; at++)
            assert_true(g_history.extent[at] < WEIGHTS || g_history.extent[at] == 40 ||
                        g_history.extent[at] == WEIGHTS + 5);
    assert_int_equal(g_history.first[17] - g_history.first[11], 3 + 3 + 1);
    touch(7);
    assert_int_equal(g_history.extent[g_history.first[17]], 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_by_all, begin, end),
        cmocka_unit_test_setup_teardown(test_elsewhere, begin, end),
        cmocka_unit_test_setup_teardown(test_launches_between, begin, end),
        cmocka_unit_test_setup_teardown(test_in_a_row, begin, end),
        cmocka_unit_test_setup_teardown(test_no_weights, begin, end),
        cmocka_unit_test_setup_teardown(test_duplicates, begin, end),
        cmocka_unit_test_setup_teardown(test_left, begin, end),
        cmocka_unit_test_setup_teardown(test_routed, begin, end),
        cmocka_unit_test_setup_teardown(test_taken, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
