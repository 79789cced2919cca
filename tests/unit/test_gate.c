/* Strategy: gates over the fake driver, which holds each to be closed when it is asked for, and
 * open again when an event is recorded behind it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gate.h"
#include "tests/unit/fake_driver.h"

#define STREAMS 3

static struct gates g_gates;
static CUstream g_stream[STREAMS];
static CUevent g_event;

static int setup(void **state)
{
    (void)state;
    g_gates = (struct gates){.words = NULL};
    fake_context(0);
    for (int i = 0; i < STREAMS; i++)
        g_stream[i] = fake_program_stream(1);
    assert_int_equal(driver_get()->cuEventCreate(&g_event, CU_EVENT_DISABLE_TIMING), CUDA_SUCCESS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gate_free(driver_get(), &g_gates, 0);
    assert_int_equal(driver_get()->cuEventDestroy_v2(g_event), CUDA_SUCCESS);
    assert_int_equal(g_fake.registered, 0);
    assert_int_equal(g_fake.misuse, 0);
    return 0;
}

static void test_closes_and_opens(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3 * STREAMS; i++) {
        CUstream stream = g_stream[i % STREAMS];

        assert_true(gate_close(driver_get(), &g_gates, i % STREAMS, stream));
        assert_true(fake_is_gated(stream));
        gate_open(&g_gates);
        assert_false(fake_is_gated(stream));
        assert_int_equal(driver_get()->cuEventRecord(g_event, stream), CUDA_SUCCESS);
    }
    assert_int_equal(g_fake.registered, 1);
}

/* What waits for the stream may keep away whoever would open its gate. */
static void test_opens_by_itself(void **state)
{
    struct gates others = {.words = NULL};

    (void)state;
    for (int round = 0; round < 2; round++) { /* the second wakes a thread that looks already */
        assert_true(gate_close(driver_get(), &g_gates, 0, g_stream[0]));
        assert_true(gate_close(driver_get(), &others, 1, g_stream[1]));
        while (fake_is_gated(g_stream[0]) || fake_is_gated(g_stream[1]))
            sched_yield();
        gate_open(&g_gates);
        gate_open(&others);
    }
    assert_true(gate_close(driver_get(), &g_gates, 0, g_stream[0]));
    gate_open(&g_gates);
    gate_free(driver_get(), &others, 0);
}

/* Where there are none to be had, nobody asks twice. */
static void test_refused(void **state)
{
    static const char *const kinds[] = {"cuStreamWaitValue32", "cuMemHostRegister"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct gates others = {.words = NULL};
        unsigned calls;

        fake_fail(kinds[i], 0, 1, CUDA_ERROR_UNKNOWN);
        assert_false(gate_close(driver_get(), &others, 0, g_stream[0]));
        calls = g_fake.calls;
        assert_false(gate_close(driver_get(), &others, 0, g_stream[0]));
        assert_int_equal(g_fake.calls, calls);
        gate_free(driver_get(), &others, 0);
    }
}

/* An older driver, and memory that went with its context. */
static void test_without(void **state)
{
    struct gates others = {.words = NULL};

    (void)state;
    g_fake_driver.cuStreamWaitValue32_v2 = NULL;
    assert_false(gate_close(driver_get(), &others, 0, g_stream[0]));
    g_fake_driver.cuStreamWaitValue32_v2 = fake_cuStreamWaitValue32;
    assert_int_equal(g_fake.registered, 0);
    assert_true(gate_close(driver_get(), &g_gates, 0, g_stream[0]));
    gate_open(&g_gates);
    g_fake.registered--;
    gate_free(driver_get(), &g_gates, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_closes_and_opens, setup, teardown),
        cmocka_unit_test_setup_teardown(test_opens_by_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
