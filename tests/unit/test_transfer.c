/* Strategy: our streams over the fake driver, without a pager: whose turn it is, what loads wait
 * for, and which bytes a run that is timed stands for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "context_wait.h"
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
        assert_int_equal(transfer_open_streams(driver_get(), g_lane[i], NULL), CUDA_SUCCESS);
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
    assert_int_equal(g_fake.registered, 0);
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
    assert_ptr_equal(transfer_next_stream(g_lane[0]), seen[1]);
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

/* A context that is coming to its end is asked nothing, for its streams and events may have gone.
 * If it stays, what was left is made up for. */
static void test_what_ends_is_asked_nothing(void **state)
{
    const struct driver *drv = driver_get();
    unsigned calls;

    (void)state;
    transfer_note_gone(drv, g_lane[0], dropped(g_lane[0]));
    context_wait_leave(g_lane[1]->ctx, CONTEXT_WAIT_ENDS);
    transfer_settle_gone(drv, g_list);
    assert_int_equal(waits(), TRANSFER_LOAD_STREAMS);
    context_wait_left(g_lane[1]->ctx);
    transfer_settle_gone(drv, g_list);
    assert_int_equal(waits(), LANES * TRANSFER_LOAD_STREAMS);

    transfer_note_gone(drv, g_lane[0], dropped(g_lane[0]));
    context_wait_leave(g_lane[0]->ctx, CONTEXT_WAIT_ENDS);
    calls = g_fake.calls;
    transfer_settle_gone(drv, g_list);
    assert_int_equal(g_fake.calls, calls);
    context_wait_left(g_lane[0]->ctx);
    transfer_settle_gone(drv, g_list);
    assert_int_equal(waits(), LANES * TRANSFER_LOAD_STREAMS);
}

/* Each stream of the lane has waited for every other's work up to a moment. */
static void assert_all_wait(const struct lane *lane, CUevent moment)
{
    for (int i = 0; i < TRANSFER_LOAD_STREAMS; i++)
        assert_true(lane->h2d[i] == moment->stream ||
                    fake_has_waited(lane->h2d[i], moment->stream, moment->order));
}

static void assert_waits_for_all(const struct lane *lane, CUevent moment, const uint64_t *orders)
{
    for (int i = 0; i < TRANSFER_LOAD_STREAMS; i++)
        assert_true(lane->h2d[i] == moment->stream ||
                    fake_has_waited(moment->stream, lane->h2d[i], orders[i]));
}

/* Queue something on each stream of the lane; its number is what the run must wait for. */
static void queue_on_each(const struct lane *lane, uint64_t *orders)
{
    for (int i = 0; i < TRANSFER_LOAD_STREAMS; i++) {
        CUevent event = transfer_take_event(driver_get(), g_lane[0]);

        driver_get()->cuEventRecord(event, lane->h2d[i]);
        orders[i] = event->order;
        transfer_give_event(driver_get(), g_lane[0], event);
    }
}

static void finish_all(const struct lane *lane)
{
    for (int i = 0; i < TRANSFER_LOAD_STREAMS; i++)
        fake_finish(lane->h2d[i]);
}

/* A run that is timed has the link for itself: it comes behind all loads before it, and before
 * those that are queued later. It ends when it is long enough. */
static void test_a_timed_run_is_alone(void **state)
{
    const struct driver *drv = driver_get();
    uint64_t before[TRANSFER_LOAD_STREAMS], within[TRANSFER_LOAD_STREAMS], bytes = 0, ns = 0;
    struct lane *lane = g_lane[0];

    (void)state;
    queue_on_each(lane, before);
    for (int i = 0; i < TRANSFER_TIMED_LOADS; i++) {
        (void)transfer_next_stream(lane);
        transfer_timing_begin(drv, lane); /* which begins once */
        if (i == 0) {
            assert_waits_for_all(lane, lane->timed_from, before);
            assert_all_wait(lane, lane->timed_from);
        }
        if (i == TRANSFER_TIMED_LOADS - 1)
            queue_on_each(lane, within);
        assert_int_equal(waits(), i == 0 ? 2 * (TRANSFER_LOAD_STREAMS - 1) : 0);
        assert_false(transfer_timing_take(drv, lane, &bytes, &ns));
        transfer_timing_add(drv, lane, FAKE_PAGE);
    }
    assert_waits_for_all(lane, lane->timed_to, within);
    assert_all_wait(lane, lane->timed_to);
    (void)waits();
    transfer_timing_begin(drv, lane); /* what there is must be taken first */
    transfer_timing_add(drv, lane, FAKE_PAGE);
    transfer_timing_end(drv, lane);
    assert_int_equal(waits(), 0);
    assert_false(transfer_timing_take(drv, lane, &bytes, &ns));
    finish_all(lane);
    assert_true(transfer_timing_take(drv, lane, &bytes, &ns));
    assert_int_equal(bytes, TRANSFER_TIMED_LOADS * FAKE_PAGE);
    assert_int_equal(ns, 1000000);
    assert_false(transfer_timing_take(drv, lane, &bytes, &ns));
}

/* Where nothing follows for now, the run is what there is of it; an empty one is none. */
static void test_a_timed_run_ends_early(void **state)
{
    const struct driver *drv = driver_get();
    struct lane *lane = g_lane[0];
    uint64_t bytes = 0, ns = 0;

    (void)state;
    transfer_timing_begin(drv, lane);
    transfer_timing_end(drv, lane);
    finish_all(lane);
    assert_false(transfer_timing_take(drv, lane, &bytes, &ns));
    transfer_timing_begin(drv, lane);
    transfer_timing_add(drv, lane, FAKE_PAGE);
    transfer_timing_end(drv, lane);
    assert_false(transfer_timing_take(drv, lane, &bytes, &ns));
    finish_all(lane);
    assert_true(transfer_timing_take(drv, lane, &bytes, &ns));
    assert_int_equal(bytes, FAKE_PAGE);
}

/* Time a run of one load, of which the call after so many of a kind fails (NULL: of any kind).
 * returns 1 when there was no such call */
static int run_that_fails(struct lane *lane, const char *kind, unsigned skip)
{
    const struct driver *drv = driver_get();
    uint64_t bytes = 0, ns = 0;
    int whole;

    g_fake.fail_kind = kind;
    g_fake.fail_result = CUDA_ERROR_OUT_OF_MEMORY;
    g_fake.fail_skip = skip;
    g_fake.fail_count = 1;
    transfer_timing_begin(drv, lane);
    transfer_timing_add(drv, lane, FAKE_PAGE);
    transfer_timing_end(drv, lane);
    whole = g_fake.fail_count != 0;
    g_fake.fail_count = 0;
    finish_all(lane);
    assert_int_equal(transfer_timing_take(drv, lane, &bytes, &ns), whole);
    assert_int_equal(bytes, whole ? FAKE_PAGE : 0);
    return whole;
}

/* A run of which any call failed tells nothing, and the next one begins. */
static void test_each_call_of_a_run_fails(void **state)
{
    unsigned calls = 0;

    (void)state;
    assert_false(run_that_fails(g_lane[0], "cuEventCreate", 0));
    assert_false(run_that_fails(g_lane[0], "cuEventCreate", 1));
    assert_true(run_that_fails(g_lane[0], "cuEventCreate", 1));
    while (!run_that_fails(g_lane[0], NULL, calls))
        calls++;
    assert_int_equal(calls, 2 * (3 * (TRANSFER_LOAD_STREAMS - 1) + 1));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(loads_take_turns),         TEST(loads_wait_for_what_takes_their_room),
        TEST(the_last_drop_counts),     TEST(what_ends_is_asked_nothing),
        TEST(a_timed_run_is_alone),     TEST(a_timed_run_ends_early),
        TEST(each_call_of_a_run_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
