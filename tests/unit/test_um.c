/* Strategy: each verb of the backend makes one exact sequence of driver calls, which the fake
 * driver writes down; and each call of a verb is made to fail once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend.h"
#include "tests/unit/fake_driver.h"

static char g_trace[1024];

static const char *traced(void)
{
    static char text[sizeof(g_trace)];

    strcpy(text, g_trace);
    g_trace[0] = '\0';
    return text;
}

static CUdeviceptr reserve(size_t pages)
{
    CUdeviceptr base = 0;

    assert_int_equal(backend_um.reserve(driver_get(), 3, pages * FAKE_PAGE, &base), CUDA_SUCCESS);
    return base;
}

/* What was queued on stream has run, and loads may follow it. */
static void settle(CUstream stream)
{
    const struct driver *drv = driver_get();
    CUevent event;

    assert_int_equal(drv->cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), CUDA_SUCCESS);
    assert_int_equal(drv->cuEventRecord(event, stream), CUDA_SUCCESS);
    assert_int_equal(drv->cuEventSynchronize(event), CUDA_SUCCESS);
    assert_int_equal(drv->cuEventDestroy_v2(event), CUDA_SUCCESS);
}

static void test_supports(void **state)
{
    const char *reason = NULL;

    (void)state;
    assert_true(backend_um.supports(driver_get(), 3, &reason));
    assert_null(reason);
    g_fake.concurrent = 0;
    assert_false(backend_um.supports(driver_get(), 3, &reason));
    assert_non_null(reason);
    g_fake.concurrent = 1;
    reason = NULL;
    fake_fail("cuDeviceGetAttribute", 0, 1, CUDA_ERROR_UNKNOWN);
    assert_false(backend_um.supports(driver_get(), 3, &reason));
    assert_non_null(reason);
}

static void test_reserve_and_release(void **state)
{
    CUdeviceptr base;

    (void)state;
    base = reserve(3);
    assert_string_equal(traced(), "managed(3) ");
    assert_int_equal(backend_um.release(driver_get(), base, 3 * FAKE_PAGE), CUDA_SUCCESS);
    assert_string_equal(traced(), "free ");
    assert_int_equal(g_fake.live_managed_bytes, 0);
    fake_fail("cuMemAllocManaged", 0, 1, CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(backend_um.reserve(driver_get(), 3, FAKE_PAGE, &base),
                     CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(g_fake.live_managed_bytes, 0);
}

static void test_rest(void **state)
{
    CUdeviceptr base = reserve(2);

    (void)state;
    traced();
    assert_int_equal(backend_um.rest(driver_get(), 3, base, 2 * FAKE_PAGE, BACKEND_REST_DEVICE),
                     CUDA_SUCCESS);
    assert_string_equal(traced(), "PREFERRED(2, 3) ");
    assert_int_equal(backend_um.rest(driver_get(), 3, base, 2 * FAKE_PAGE, BACKEND_REST_HOST),
                     CUDA_SUCCESS);
    assert_string_equal(traced(), "PREFERRED(2, -1) ACCESSED_BY(2, 3) ");
    for (unsigned skip = 0; skip < 2; skip++) {
        fake_fail("cuMemAdvise", skip, 1, CUDA_ERROR_UNKNOWN);
        assert_int_equal(backend_um.rest(driver_get(), 3, base, 2 * FAKE_PAGE, BACKEND_REST_HOST),
                         CUDA_ERROR_UNKNOWN);
    }
    traced();
    backend_um.release(driver_get(), base, 2 * FAKE_PAGE);
    traced();
}

static void test_load_and_drop(void **state)
{
    const struct driver *drv = driver_get();
    CUdeviceptr base = reserve(2);
    CUstream stream = fake_program_stream(0);

    (void)state;
    traced();
    assert_int_equal(
        backend_um.load(drv, 3, base, 2 * FAKE_PAGE, BACKEND_SHARED, BACKEND_FIRST, stream),
        CUDA_SUCCESS);
    assert_string_equal(traced(),
                        "not ACCESSED_BY(2, 3) prefetch(2, -1) READ_MOSTLY(2, 3) prefetch(2, 3) ");
    assert_int_equal(g_fake.resident[3], 2 * FAKE_PAGE);
    assert_int_equal(backend_um.drop(drv, 3, base, 2 * FAKE_PAGE, BACKEND_SHARED, stream),
                     CUDA_SUCCESS);
    assert_string_equal(traced(), "prefetch(2, -1) not READ_MOSTLY(2, 3) ");
    assert_int_equal(g_fake.resident[3], 0);

    /* The drop has left a mapping on the host, and the device's went with the first load. */
    settle(stream);
    assert_int_equal(
        backend_um.load(drv, 3, base, 2 * FAKE_PAGE, BACKEND_SHARED, BACKEND_AGAIN, stream),
        CUDA_SUCCESS);
    assert_string_equal(traced(), "READ_MOSTLY(2, 3) prefetch(2, 3) ");
    assert_int_equal(backend_um.drop(drv, 3, base, 2 * FAKE_PAGE, BACKEND_SHARED, stream),
                     CUDA_SUCCESS);
    settle(stream);
    traced();

    assert_int_equal(backend_um.load(drv, 3, base, FAKE_PAGE, BACKEND_MOVED, BACKEND_FIRST, stream),
                     CUDA_SUCCESS);
    assert_string_equal(traced(), "not ACCESSED_BY(1, 3) prefetch(1, 3) ");
    assert_int_equal(backend_um.drop(drv, 3, base, FAKE_PAGE, BACKEND_MOVED, stream), CUDA_SUCCESS);
    assert_string_equal(traced(), "prefetch(1, -1) ");
    assert_int_equal(g_fake.resident[3], 0);
    assert_int_equal(g_fake.misuse, 0);
}

/* A load that fails half way leaves nothing behind that would bring duplicates into VRAM by faults,
 * where nobody counts them. */
static void test_failures(void **state)
{
    const struct driver *drv = driver_get();
    CUdeviceptr base = reserve(2);
    CUstream stream = fake_program_stream(0);

    (void)state;
    traced();
    for (unsigned call = 0; call < 2; call++) {
        fake_fail("cuMemAdvise", call, 1, CUDA_ERROR_UNKNOWN);
        assert_int_equal(
            backend_um.load(drv, 3, base, FAKE_PAGE, BACKEND_SHARED, BACKEND_FIRST, stream),
            CUDA_ERROR_UNKNOWN);
        assert_string_equal(traced(),
                            call ? "not ACCESSED_BY(1, 3) prefetch(1, -1) not READ_MOSTLY(1, 3) "
                                 : "not READ_MOSTLY(1, 3) ");
    }
    for (unsigned call = 0; call < 2; call++) {
        fake_fail("cuMemPrefetchAsync", call, 1, CUDA_ERROR_UNKNOWN);
        assert_int_equal(
            backend_um.load(drv, 3, base, FAKE_PAGE, BACKEND_SHARED, BACKEND_FIRST, stream),
            CUDA_ERROR_UNKNOWN);
        assert_string_equal(traced(), call ? "not ACCESSED_BY(1, 3) prefetch(1, -1) "
                                             "READ_MOSTLY(1, 3) not READ_MOSTLY(1, 3) "
                                           : "not ACCESSED_BY(1, 3) not READ_MOSTLY(1, 3) ");
    }
    fake_fail("cuMemPrefetchAsync", 0, 1, CUDA_ERROR_UNKNOWN);
    assert_int_equal(backend_um.load(drv, 3, base, FAKE_PAGE, BACKEND_MOVED, BACKEND_FIRST, stream),
                     CUDA_ERROR_UNKNOWN);
    assert_string_equal(traced(), "not ACCESSED_BY(1, 3) ");
    fake_fail("cuMemAdvise", 0, 1, CUDA_ERROR_UNKNOWN);
    assert_int_equal(backend_um.drop(drv, 3, base, FAKE_PAGE, BACKEND_SHARED, stream),
                     CUDA_ERROR_UNKNOWN);
    assert_string_equal(traced(), "prefetch(1, -1) ");
    fake_fail("cuMemPrefetchAsync", 0, 1, CUDA_ERROR_UNKNOWN);
    assert_int_equal(backend_um.drop(drv, 3, base, FAKE_PAGE, BACKEND_SHARED, stream),
                     CUDA_ERROR_UNKNOWN);
    assert_string_equal(traced(), "");
    fake_fail("cuMemPrefetchAsync", 0, 1, CUDA_ERROR_UNKNOWN);
    assert_int_equal(backend_um.drop(drv, 3, base, FAKE_PAGE, BACKEND_MOVED, stream),
                     CUDA_ERROR_UNKNOWN);
    fake_fail(NULL, 0, 0, CUDA_SUCCESS);
}

static int setup(void **state)
{
    (void)state;
    fake_context(3);
    g_fake.trace = g_trace;
    g_fake.trace_bytes = sizeof(g_trace);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_supports), cmocka_unit_test(test_reserve_and_release),
        cmocka_unit_test(test_rest),     cmocka_unit_test(test_load_and_drop),
        cmocka_unit_test(test_failures),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
