/* Strategy: what residency keeps for itself, over the real pager and a fake driver: its events are
 * counted over many loads and drops, and its books are falsified one entry at a time. */
#include "tests/unit/residency_bench.h"

enum {
    DEVICE_EVENTS,
    DEVICE_VALID,
};

/* What comes and goes for long takes no more events than what comes and goes for a moment. */
static void test_events_are_used_again(void **state)
{
    struct bench b = bench_make(DEVICE_EVENTS, 20, HELD);
    size_t events;

    (void)state;
    for (int round = 0; round < 3; round++)
        loads_of_a_step(&b, 20);
    events = FAKE_READ(g_fake.live_events);
    for (int round = 0; round < 30; round++)
        loads_of_a_step(&b, 20);
    assert_in_range(FAKE_READ(g_fake.live_events), 1, events + 2 * FITS);
    bench_end(&b);
}

/* With what = value, the books must not be valid; then it is as it was. */
#define ASSERT_INVALID(res, what, value)                                                           \
    do {                                                                                           \
        __typeof__(what) kept = (what);                                                            \
                                                                                                   \
        (what) = (value);                                                                          \
        assert_false(residency_is_valid(res));                                                     \
        (what) = kept;                                                                             \
        assert_true(residency_is_valid(res));                                                      \
    } while (0)

/* What debug builds assert after each of the pager's turns sees books that are wrong. */
static void test_invalid_books(void **state)
{
    struct bench b = bench_make(DEVICE_VALID, 20, HELD);
    struct extent *there, *absent;
    size_t at = 0;

    (void)state;
    launch(&b, 0);
    fake_finish(b.stream);
    pthread_mutex_lock(&b.res->lock);
    there = b.range->extents[0];
    while (b.range->extents[at]->state != EXTENT_ABSENT)
        at++;
    absent = b.range->extents[at];
    assert_true(residency_is_valid(b.res));
    ASSERT_INVALID(b.res, absent->settled, 1);
    ASSERT_INVALID(b.res, there->settled, 1); /* it is not to stay */
    ASSERT_INVALID(b.res, there->id, there->id + 1);
    ASSERT_INVALID(b.res, absent->ready, (CUevent)&absent);
    ASSERT_INVALID(b.res, there->ahead, 1);
    ASSERT_INVALID(b.res, b.res->resident_bytes, there->bytes - 1);
    pthread_mutex_unlock(&b.res->lock);
    bench_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_are_used_again),
        cmocka_unit_test(test_invalid_books),
    };

    return cmocka_run_group_tests(tests, bench_setup, NULL);
}
