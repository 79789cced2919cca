/* Strategy: the driver has no more memory, over a fake one: before the program hears of it, what is
 * kept of frees in stream order serves, or is given back and the driver asked again, in every call
 * that allocates; and what by our account has room never takes more than the host has beside what
 * is kept. */
#include "range_list.h"
#include "tests/unit/range_bench.h"

/* One device for each test: what a device has learned stays with it. */
enum {
    DEVICE_SHARED,
    DEVICE_OWN,
    DEVICE_PLAIN,
    DEVICE_CROWDED,
    DEVICE_NEIGHBOUR,
};

static void leave_empty(size_t bytes, CUstream stream)
{
    CUdeviceptr p = take(bytes);
    int paged;

    assert_int_equal(range_free_async(p, stream, &paged), CUDA_SUCCESS);
}

/* Nothing new, and nobody waits: a range serves that several allocations were in, or are still. */
static void test_shared_range_serves(void **state)
{
    CUstream stream;
    CUdeviceptr p, q, r;
    uint64_t managed;

    (void)state;
    fake_context(DEVICE_SHARED);
    stream = fake_program_stream(0);
    managed = g_fake.live_managed_bytes;
    leave_empty(10 * MIB, stream);
    g_fake.syncs = 0;
    assert_true(g_fake.live_managed_bytes >= managed + 64 * MIB);
    managed = g_fake.live_managed_bytes;
    fake_fail("cuMemAllocManaged", 0, UINT32_MAX, CUDA_ERROR_OUT_OF_MEMORY);
    p = take(20 * MIB);
    q = take(24 * MIB);
    r = take(1 * MIB);
    fake_fail(NULL, 0, 0, CUDA_SUCCESS);
    assert_int_equal(g_fake.live_managed_bytes, managed);
    assert_int_equal(g_fake.syncs, 0);
    assert_true(q >= p + 20 * MIB && r >= q + 24 * MIB);
    give(p);
    give(q);
    give(r);
    assert_int_equal(range_list_kept_bytes(), 0);
    assert_int_equal(FAKE_READ(g_fake.misuse), 0);
}

/* What is kept is too small for it, and goes; the driver has more then. */
static void test_given_back_before_a_refusal(void **state)
{
    CUcontext first = fake_context(DEVICE_OWN), second;
    uint64_t managed = g_fake.live_managed_bytes;
    size_t bytes = 50 * MIB;
    CUdeviceptr p, q;
    CUstream held;

    (void)state;
    leave_empty(40 * MIB, fake_program_stream(0));
    second = fake_context(DEVICE_NEIGHBOUR);
    leave_empty(18 * MIB, fake_program_stream(0));
    g_fake.syncs = 0;
    fake_fail("cuMemAllocManaged", 0, 1, CUDA_ERROR_OUT_OF_MEMORY);
    p = take(bytes);
    assert_int_equal(g_fake.live_managed_bytes, managed + 50 * MIB);
    assert_int_equal(g_fake.syncs, 2); /* each context's work */
    assert_ptr_equal(t_fake_ctx, second);
    /* With nothing to give back it is refused, and nobody waits. */
    g_fake.syncs = 0;
    fake_fail("cuMemAllocManaged", 0, 1, CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &q), CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(g_fake.syncs, 0);
    /* Where a context's work cannot be waited for, what is kept of it stays. */
    t_fake_ctx = first;
    leave_empty(40 * MIB, fake_program_stream(0));
    fake_fail("cuCtxSynchronize", 0, 1, CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(range_give_back(), 0);
    assert_int_equal(g_fake.live_managed_bytes, managed + 90 * MIB);
    assert_int_equal(range_give_back(), 1);
    assert_int_equal(range_give_back(), 0);
    /* In no context, as a call may be that asks for memory in another way. */
    leave_empty(40 * MIB, fake_program_stream(0));
    t_fake_ctx = NULL;
    assert_int_equal(range_give_back(), 1);
    assert_int_equal(g_fake.live_managed_bytes, managed + 50 * MIB);
    t_fake_ctx = first;
    /* What has been freed meanwhile, though nobody has asked since, goes as well. */
    held = fake_program_stream(1);
    leave_empty(40 * MIB, held);
    fake_finish(held);
    assert_int_equal(range_list_kept_bytes(), 0);
    assert_int_equal(range_give_back(), 1);
    t_fake_ctx = second;
    give(p);
    assert_int_equal(g_fake.live_managed_bytes, managed);
    assert_int_equal(FAKE_READ(g_fake.misuse), 0);
}

/* The driver's own allocation, which it refuses while it has given out any managed memory. */
static CUresult beside_none(void *arg, CUdeviceptr *out)
{
    if (FAKE_READ(g_fake.live_managed_bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    return fake_plain(arg, out);
}

static void test_given_back_before_a_plain_refusal(void **state)
{
    size_t bytes = 1 * MIB;
    CUdeviceptr p;

    (void)state;
    fake_context(DEVICE_PLAIN);
    leave_empty(20 * MIB, fake_program_stream(0));
    fake_fail("cuMemAllocManaged", 0, 2, CUDA_ERROR_NOT_SUPPORTED);
    assert_int_equal(range_alloc(bytes, beside_none, &bytes, &p), CUDA_SUCCESS);
    assert_int_equal(view_of(p).kind, ALLOCATION_PLAIN);
    assert_int_equal(stats()->plain_bytes, bytes);
    assert_false(residency_active(DEVICE_PLAIN));
    give(p);
    assert_int_equal(stats()->plain_bytes, 0);
}

/* By the account there is room, but not beside the pages of what is kept. */
static void test_kept_pages_do_not_crowd_the_host(void **state)
{
    uint64_t managed = g_fake.live_managed_bytes;
    CUstream stream;
    CUdeviceptr p, q;

    (void)state;
    fake_context(DEVICE_CROWDED);
    stream = fake_program_stream(0);
    assert_int_equal(free_bytes_of(DEVICE_CROWDED), 96 * MIB);
    leave_empty(40 * MIB, stream);
    g_fake.syncs = 0;
    p = take(16 * MIB); /* beside it */
    assert_int_equal(g_fake.live_managed_bytes, managed + 56 * MIB);
    assert_int_equal(g_fake.syncs, 0);
    q = take(42 * MIB);
    assert_int_equal(g_fake.live_managed_bytes, managed + 58 * MIB);
    assert_int_equal(g_fake.syncs, 1);
    give(p);
    give(q);
    assert_int_equal(g_fake.live_managed_bytes, managed);
    /* What shares a range needs it as well. */
    leave_empty(30 * MIB, stream);
    p = take(62 * MIB);
    assert_int_equal(g_fake.live_managed_bytes, managed + 92 * MIB);
    q = take(10 * MIB);
    assert_int_equal(g_fake.live_managed_bytes, managed + 94 * MIB);
    give(p);
    give(q);
    assert_int_equal(g_fake.live_managed_bytes, managed);
}

static int setup(void **state)
{
    (void)state;
    range_bench_budgets();
    fake_budget(DEVICE_SHARED, 128 * MIB, 8 * GIB); /* shared ranges of 64 MiB */
    fake_budget(DEVICE_CROWDED, 32 * MIB, 8 * GIB);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_range_serves),
        cmocka_unit_test(test_given_back_before_a_refusal),
        cmocka_unit_test(test_given_back_before_a_plain_refusal),
        cmocka_unit_test_setup_teardown(test_kept_pages_do_not_crowd_the_host, set_host_room,
                                        reset_host_room),
    };

    return cmocka_run_group_tests(tests, setup, reset_host_room);
}
