/* Strategy: habits go in where no step shows, and the choice of what stays, or of what leaves,
 * comes out. */
#include "schedule.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MB (1u << 20)

/* Half of 60 extents, each visited as often as its identity says, and one that is always busy. */
static void test_hottest_stay(void **state)
{
    struct schedule_habit h[60] = {{0}};
    uint8_t fixed[60];

    (void)state;
    for (uint32_t i = 0; i < 60; i++)
        h[i] = (struct schedule_habit){.bytes = 2 * MB, .visits = i};
    h[0].busy = 1;
    h[7].written = 1; /* counts as 14 */
    assert_int_equal(schedule_choose_hottest(h, 60, 60 * MB, fixed), 0);
    assert_true(fixed[0]);
    for (size_t i = 1; i < 60; i++)
        assert_int_equal(fixed[i], i >= 31);
    /* What stays goes on staying unless another is clearly hotter. */
    h[30].fixed = 1;
    h[31].fixed = h[25].fixed = 0;
    assert_int_equal(schedule_choose_hottest(h, 60, 60 * MB, fixed), 0);
    assert_true(fixed[30]);
    assert_false(fixed[31]);
    h[31].visits = 38;
    assert_int_equal(schedule_choose_hottest(h, 60, 60 * MB, fixed), 0);
    assert_true(fixed[31]);
    assert_int_equal(schedule_choose_hottest(h, 60, 84 * MB, fixed), 0);
    assert_false(fixed[7]);
    assert_int_equal(schedule_choose_hottest(h, 60, 96 * MB, fixed), 0);
    assert_true(fixed[7]);
    /* What nobody visited need not stay, whatever room there is. */
    h[0].busy = 0;
    assert_int_equal(schedule_choose_hottest(h, 60, 600 * MB, fixed), 0);
    assert_false(fixed[0]);
    /* But what is to be kept does, before the hottest; and what is to stream never. */
    h[1].visits = 0;
    h[1].place = SCHEDULE_KEEP;
    h[59].place = SCHEDULE_STREAM;
    assert_int_equal(schedule_choose_hottest(h, 60, 2 * MB, fixed), 0);
    assert_true(fixed[1]);
    assert_false(fixed[58]);
    assert_int_equal(schedule_choose_hottest(h, 60, 600 * MB, fixed), 0);
    assert_true(fixed[58]);
    assert_false(fixed[59]);
}

static void test_next_use_is_never_lru_on_a_cycle(void **state)
{
    (void)state;
    /* A cycle of ten: at launch 100 the one just used comes back latest of all. */
    for (uint64_t last = 91; last < 100; last++)
        assert_true(schedule_next_use(100, 100, 10) > schedule_next_use(100, last, 10));
    /* On a first pass, when nothing has an interval yet, it is the same. */
    assert_true(schedule_next_use(50, 50, 0) > schedule_next_use(50, 1, 0));
    /* What did not come back when it should have is given up before what is still expected. */
    assert_true(schedule_next_use(1000, 10, 10) > schedule_next_use(1000, 999, 500));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hottest_stay),
        cmocka_unit_test(test_next_use_is_never_lru_on_a_cycle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
