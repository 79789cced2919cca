/* Strategy: our streams over the fake driver, without a pager: whose turn it is, what loads wait
 * for, and which bytes a timed load stands for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fake_driver.h"
#include "transfer.h"

#define LANES 2

static char g_trace[1024];
static struct lane *g_list;
static struct lane *g_lane[LANES];

static CUresult elapsed(float *milliseconds, CUevent from, CUevent to)
{
    (void)from;
    (void)to;
    *milliseconds = 1;
    return CUDA_SUCCESS;
}

/* Two contexts with streams whose work ends by fake_finish(). */
static int setup(void **state)
{
    (void)state;
    g_fake.hold_new = 1;
    g_fake_driver.cuEventElapsedTime = elapsed;
    for (int i = 0; i < LANES; i++) {
        g_lane[i] = transfer_lane(&g_list, fake_context(0));
        assert_int_equal(transfer_open_streams(driver_get(), g_lane[i]), CUDA_SUCCESS);
    }
    t_fake_ctx = g_lane[0]->ctx;
    g_fake.trace = g_trace;
    g_fake.trace_bytes = sizeof(g_trace);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < LANES; i++)
        transfer_close(driver_get(), &g_list, g_lane[i]->ctx, 0);
    assert_null(g_list);
    assert_int_equal(g_fake.live_streams, 0);
    assert_int_equal(g_fake.live_events, 0);
    assert_int_equal(g_fake.misuse, 0);
    return 0;
}

static unsigned waits(void)
{
    unsigned count = 0;

    for (const char *at = g_trace; (at = strstr(at, "wait ")) != NULL; at++)
        count++;
    g_trace[0] = '\0';
    return count;
}

static void test_loads_take_turns(void **state)
{
    CUstream seen[TRANSFER_LOAD_STREAMS];

    (void)state;
    for (int i = 0; i < TRANSFER_LOAD_STREAMS; i++) {
        seen[i] = transfer_next_stream(g_lane[0]);
        for (int j = 0; j < i; j++)
            assert_ptr_not_equal(seen[i], seen[j]);
    }
    assert_ptr_equal(transfer_next_stream(g_lane[0]), seen[0]);
    assert_int_equal(waits(), 0);
}

/* The event of a drop that was queued on the lane's stream. */
static CUevent dropped(struct lane *lane)
{
    CUevent gone = transfer_take_event(driver_get(), lane);

    assert_int_equal(driver_get()->cuEventRecord(gone, lane->d2h), CUDA_SUCCESS);
    return gone;
}

/* Loads of every context wait for a drop that is still copying, and for none that is over. */
static void test_loads_wait_for_what_takes_their_room(void **state)
{
    const struct driver *drv = driver_get();

    (void)state;
    transfer_note_gone(drv, g_lane[0], dropped(g_lane[0]));
    assert_int_equal(waits(), 0);
    transfer_settle_gone(drv, g_list);
    assert_int_equal(waits(), LANES * TRANSFER_LOAD_STREAMS);
    transfer_settle_gone(drv, g_list);
    assert_int_equal(waits(), 0);

    transfer_note_gone(drv, g_lane[0], dropped(g_lane[0]));
    fake_finish(g_lane[0]->d2h);
    transfer_settle_gone(drv, g_list);
    assert_int_equal(waits(), 0);
}

/* Of two drops in one stream the later one is what counts; one event is given back. */
static void test_the_last_drop_counts(void **state)
{
    const struct driver *drv = driver_get();
    CUevent first = dropped(g_lane[0]), second = dropped(g_lane[0]);

    (void)state;
    transfer_note_gone(drv, g_lane[0], first);
    transfer_note_gone(drv, g_lane[0], second);
    assert_ptr_equal(transfer_spare_event(g_lane[0]), first);
    transfer_give_event(drv, g_lane[0], first);
    transfer_settle_gone(drv, g_list);
    assert_int_equal(waits(), LANES * TRANSFER_LOAD_STREAMS);
}

/* What is timed has the link for itself: it comes behind the other streams' loads, and before
 * those that are queued on them later. */
static void test_a_timed_load_is_alone(void **state)
{
    const struct driver *drv = driver_get();
    CUstream own = transfer_next_stream(g_lane[0]);
    uint64_t bytes = 0, ns = 0;

    (void)state;
    assert_true(transfer_timing_begin(drv, g_lane[0]));
    assert_int_equal(waits(), TRANSFER_LOAD_STREAMS - 1);
    transfer_timing_end(drv, g_lane[0], FAKE_PAGE);
    assert_int_equal(waits(), TRANSFER_LOAD_STREAMS - 1);
    for (int i = 0; i < TRANSFER_LOAD_STREAMS; i++) {
        CUstream other = g_lane[0]->h2d[i];

        assert_true(other == own || (fake_has_waited(own, other, 1) &&
                                     fake_has_waited(other, own, g_lane[0]->timed_to->order)));
    }
    assert_false(transfer_timing_begin(drv, g_lane[0])); /* one at a time */
    assert_false(transfer_timing_take(drv, g_lane[0], &bytes, &ns));
    fake_finish(own);
    assert_true(transfer_timing_take(drv, g_lane[0], &bytes, &ns));
    assert_int_equal(bytes, FAKE_PAGE);
    assert_int_equal(ns, 1000000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(loads_take_turns),
        TEST(loads_wait_for_what_takes_their_room),
        TEST(the_last_drop_counts),
        TEST(a_timed_load_is_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
