/* Strategy: the ways in which an allocation ends, over a fake driver whose streams run when the
 * test says so: in stream order, twice, from another context, with its context, and in a thread of
 * the shim's own. What is not yet free is still found; what is has left no event and no page
 * behind. */
#include "tests/unit/range_bench.h"

/* One device for each test: what a device has learned stays with it. */
enum {
    DEVICE_OOM,
    DEVICE_ASYNC,
    DEVICE_CONTEXT,
    DEVICE_TWICE,
    DEVICE_RELEASE,
};

/* A free in stream order holds the bytes until the stream has come there. */
static void test_async_free(void **state)
{
    CUstream slow, quick;
    CUdeviceptr p, q, r;
    struct range_view view;
    uint64_t total;
    size_t events;
    int paged = 0;

    (void)state;
    fake_context(DEVICE_ASYNC);
    slow = fake_program_stream(1);
    quick = fake_program_stream(0);
    total = free_bytes_of(DEVICE_ASYNC);
    p = take(1 * MIB);
    q = take(1 * MIB);
    events = g_fake.live_events;
    g_fake.syncs = 0;
    assert_int_equal(range_free_async(p, slow, &paged), CUDA_SUCCESS);
    assert_int_equal(paged, 1);
    assert_int_equal(range_find(p, &view), 1);
    assert_int_equal(range_free_async(q, quick, &paged), CUDA_SUCCESS);
    assert_int_equal(range_find(q, &view), 0);
    r = take(1 * MIB);
    assert_int_not_equal(r, p);
    assert_int_equal(range_find(p, &view), 1);
    fake_finish(slow);
    give(r);
    assert_int_equal(range_find(p, &view), 0);
    assert_int_equal(free_bytes_of(DEVICE_ASYNC), total);
    assert_int_equal(g_fake.live_events, events);
    assert_int_equal(g_fake.syncs, 1); /* of give(r) alone */
    assert_int_equal(g_fake.live_managed_bytes, 0);
    /* A plain allocation is the driver's to free. */
    p = take(1 * KIB);
    assert_int_equal(range_free_async(p, quick, &paged), CUDA_SUCCESS);
    assert_int_equal(paged, 0);
    assert_int_equal(range_find(p, &view), 0);
    /* What is no allocation's start is left to the driver. */
    assert_int_equal(range_free_async(p, quick, &paged), CUDA_SUCCESS);
    assert_int_equal(paged, 0);
    /* A stream of another context takes no event of ours: it is waited for. */
    p = take(1 * MIB);
    fake_fail("cuEventRecord", 0, 1, CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(range_free_async(p, quick, &paged), CUDA_SUCCESS);
    assert_int_equal(range_find(p, &view), 0);
    assert_int_equal(g_fake.live_events, events);
}

/* What was freed before, or never handed out, is refused: to the driver the address may mean the
 * whole range that others lie in. */
static void test_freed_twice(void **state)
{
    CUstream slow;
    CUdeviceptr p, q;
    struct range_view view;
    int paged = 0;

    (void)state;
    fake_context(DEVICE_TWICE);
    slow = fake_program_stream(1);
    p = take(1 * MIB);
    q = take(1 * MIB);
    give(p);
    assert_int_equal(range_free(p, &paged), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(paged, 1);
    assert_int_equal(range_free(q + 512, &paged), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(paged, 1);
    assert_int_equal(range_free_async(p, slow, &paged), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(paged, 1);
    assert_int_equal(range_free_async(q, slow, &paged), CUDA_SUCCESS);
    assert_int_equal(range_free_async(q, slow, &paged), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(paged, 1);
    assert_int_equal(range_free(q, &paged), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(paged, 1);
    assert_int_equal(range_find(q, &view), 1);
    fake_finish(slow);
    give(take(1 * MIB));
    assert_int_equal(range_find(q, &view), 0);
    /* An address that was never ours is the driver's. */
    assert_int_equal(range_free(FAKE_PLAIN - 4096, &paged), CUDA_SUCCESS);
    assert_int_equal(paged, 0);
}

static void *finish_one(void *arg)
{
    (void)arg;
    fake_finish_oldest();
    return NULL;
}

/* Memory that is only waiting for its stream is waited for before an allocation is refused. */
static void test_room_that_is_on_its_way(void **state)
{
    uint64_t free_bytes, total_bytes;
    CUdeviceptr p, q;
    CUstream slow;
    pthread_t thread;
    int paged;

    (void)state;
    fake_context(DEVICE_OOM);
    slow = fake_program_stream(1);
    range_capacity(DEVICE_OOM, &free_bytes, &total_bytes);
    p = take((size_t)total_bytes - 20 * MIB);
    assert_int_equal(range_free_async(p, slow, &paged), CUDA_SUCCESS);
    assert_int_equal(pthread_create(&thread, NULL, finish_one, NULL), 0);
    q = take(30 * MIB);
    pthread_join(thread, NULL);
    give(q);
    assert_int_equal(free_bytes_of(DEVICE_OOM), total_bytes);
}

/* A free waits for the work of the context that the memory belongs to, from wherever it comes. */
static void test_free_from_elsewhere(void **state)
{
    CUcontext owner = fake_context(DEVICE_ASYNC), other;
    CUdeviceptr p = take(1 * MIB), q = take(1 * MIB), r = take(1 * MIB);
    struct range_view view;
    int paged;

    (void)state;
    give(p);
    assert_ptr_equal(g_fake.synced, owner);
    other = fake_context(DEVICE_CONTEXT);
    give(q);
    assert_ptr_equal(g_fake.synced, owner);
    assert_ptr_equal(t_fake_ctx, other);
    /* The other context goes, and its events with it: the memory is free, the event nobody's. */
    assert_int_equal(range_free_async(r, fake_program_stream(1), &paged), CUDA_SUCCESS);
    range_context_destroyed(other);
    for (size_t i = 0; i < g_fake.event_count; i++)
        if (g_fake.events[i]->ctx == other)
            g_fake.events[i]->alive = 0;
    assert_int_equal(range_find(r, &view), 0);
    t_fake_ctx = owner;
    give(take(1 * MIB));
    assert_int_equal(FAKE_READ(g_fake.misuse), 0);
}

static void test_context_destroyed(void **state)
{
    CUcontext first, second;
    CUdeviceptr a, b, c, d;
    struct range_view view;
    uint64_t total;
    int paged;

    (void)state;
    first = fake_context(DEVICE_CONTEXT);
    total = free_bytes_of(DEVICE_CONTEXT);
    a = take(20 * MIB);
    b = take(1 * MIB);
    c = take(1 * KIB);
    assert_int_equal(range_free_async(b, fake_program_stream(1), &paged), CUDA_SUCCESS);
    second = fake_context(DEVICE_CONTEXT);
    d = take(1 * MIB);
    assert_true(d < b || d >= b + 32 * MIB); /* contexts share no range */
    range_context_destroyed(first);
    residency_context_destroyed(first, 0);
    first->destroyed = 1;
    assert_int_equal(range_find(a, &view), 0);
    assert_int_equal(range_find(b, &view), 0);
    assert_int_equal(range_find(c, &view), 0);
    assert_int_equal(range_find(d, &view), 1);
    assert_int_equal(stats()->plain_bytes, 0);
    assert_int_equal(free_bytes_of(DEVICE_CONTEXT), total - 1 * MIB);
    give(d);
    range_context_destroyed(second);
    residency_context_destroyed(second, 0);
    assert_int_equal(free_bytes_of(DEVICE_CONTEXT), total);
    g_fake.live_managed_bytes = 0; /* a real driver gives back what its context held */
}

static _Atomic int g_pausing;

/* returns how many were in the driver when the pause had begun */
static void *pause_release(void *ctx)
{
    int in_driver;

    g_pausing = 1;
    release_pause(ctx);
    in_driver = FAKE_READ(g_fake.at_gate);
    release_resume();
    return (void *)(intptr_t)in_driver;
}

/* A range that a free in stream order has emptied, and that is of the wrong size for what comes,
 * goes back to the driver while the program goes on; a context is not destroyed meanwhile. */
static void test_release_in_the_background(void **state)
{
    CUcontext ctx = fake_context(DEVICE_RELEASE);
    CUstream stream = fake_program_stream(0);
    uint64_t managed;
    CUdeviceptr p, q;
    pthread_t thread;
    void *in_driver;
    int paged;

    (void)state;
    settle();
    managed = g_fake.live_managed_bytes;
    g_fake.limit[DEVICE_RELEASE] = 64 * MIB;
    p = take(20 * MIB);
    assert_int_equal(range_free_async(p, stream, &paged), CUDA_SUCCESS);
    assert_int_equal(take(20 * MIB), p); /* its like takes it as it is */
    assert_int_equal(range_free_async(p, stream, &paged), CUDA_SUCCESS);
    fake_gate("cuMemFree");
    q = take(50 * MIB); /* with the other, more than there is */
    WAIT_FOR(FAKE_READ(g_fake.at_gate));
    assert_int_equal(FAKE_READ(g_fake.resident[DEVICE_RELEASE]), 50 * MIB);
    assert_int_equal(range_free_async(q, stream, &paged), CUDA_SUCCESS);
    q = take(60 * MIB);
    assert_false(residency_active(DEVICE_RELEASE));
    pthread_create(&thread, NULL, pause_release, ctx);
    WAIT_FOR(g_pausing);
    for (int i = 0; i < 1000; i++)
        sched_yield();
    fake_gate(NULL);
    pthread_join(thread, &in_driver);
    assert_null(in_driver);
    WAIT_FOR(FAKE_READ(g_fake.live_managed_bytes) == managed + 60 * MIB);
    /* Where it is needed for an allocation, that waits for it. */
    assert_int_equal(range_free_async(q, stream, &paged), CUDA_SUCCESS);
    fake_fail("cuMemAllocManaged", 0, 1, CUDA_ERROR_OUT_OF_MEMORY);
    q = take(40 * MIB);
    assert_int_equal(g_fake.live_managed_bytes, managed + 40 * MIB);
    give(q);
    assert_int_equal(g_fake.live_managed_bytes, managed);
    assert_int_equal(FAKE_READ(g_fake.misuse), 0);
}

static int setup(void **state)
{
    (void)state;
    range_bench_budgets();
    fake_budget(DEVICE_OOM, 32 * MIB, 64 * MIB);
    fake_budget(DEVICE_RELEASE, 64 * MIB, 8 * GIB);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_room_that_is_on_its_way, set_host_room,
                                        reset_host_room),
        cmocka_unit_test(test_freed_twice),
        cmocka_unit_test(test_async_free),
        cmocka_unit_test(test_free_from_elsewhere),
        cmocka_unit_test(test_context_destroyed),
        cmocka_unit_test(test_release_in_the_background),
    };

    return cmocka_run_group_tests(tests, setup, reset_host_room);
}
