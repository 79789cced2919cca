/* Strategy: what allocations that come and go do to the extents beneath them, over a fake driver
 * that keeps books: whose they are, how many there are ever, and what counts against the budget. */
#include "context_wait.h"
#include "tests/unit/range_bench.h"

/* One device for each test: what a device has learned stays with it. */
enum {
    DEVICE_PACK,
    DEVICE_TIGHT,
    DEVICE_OTHER,
    DEVICE_SIZES,
    DEVICE_VACANT,
    DEVICE_NEIGHBOUR,
    DEVICE_SMALLER,
    DEVICE_ENDS,
};

static uint64_t g_seed;

static uint32_t random_below(uint32_t n)
{
    g_seed = g_seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(g_seed >> 33) % n;
}

/* A card smaller than the budget: our extents make room for what the program itself takes. */
static void test_plain_takes_room(void **state)
{
    struct residency *res;
    CUdeviceptr weights, p;

    (void)state;
    fake_context(DEVICE_TIGHT);
    weights = take(30 * MIB);
    assert_false(residency_active(DEVICE_TIGHT));
    assert_int_equal(g_fake.resident[DEVICE_TIGHT], 30 * MIB);
    /* What the card has room for is asked for again. */
    fake_fail("cuMemAlloc", 0, 1, CUDA_ERROR_OUT_OF_MEMORY);
    p = take(60 * KIB);
    assert_int_equal(view_of(p).kind, ALLOCATION_PLAIN);
    give(p);
    /* Not for lack of it: it is paged, and the budget stays. */
    fake_fail("cuMemAlloc", 0, 2, CUDA_ERROR_OUT_OF_MEMORY);
    p = take(60 * KIB);
    assert_int_equal(view_of(p).kind, ALLOCATION_PAGED);
    assert_int_equal(g_fake.resident[DEVICE_TIGHT], 32 * MIB);
    assert_false(residency_active(DEVICE_TIGHT));
    give(p);
    g_fake.others_bytes = (size_t)1 << 30;
    fake_fail("cuMemAlloc", 0, 1, CUDA_ERROR_OUT_OF_MEMORY);
    p = take(60 * KIB);
    g_fake.others_bytes = 0;
    assert_int_equal(view_of(p).kind, ALLOCATION_PLAIN);
    assert_true(residency_active(DEVICE_TIGHT));
    assert_true(g_fake.resident[DEVICE_TIGHT] < 30 * MIB);
    res = residency_get(DEVICE_TIGHT);
    assert_true(residency_limit(res) <= 30 * MIB - 60 * KIB);
    give(p);
    give(weights);
}

/* Where what nobody uses is enough, a card smaller than the budget turns no paging on. */
static void test_vacant_extents_go_first(void **state)
{
    CUdeviceptr weights, p;
    int paged;

    (void)state;
    fake_context(DEVICE_SMALLER);
    weights = take(16 * MIB);
    p = take(20 * MIB);
    assert_int_equal(range_free_async(p, fake_program_stream(0), &paged), CUDA_SUCCESS);
    assert_int_equal(g_fake.resident[DEVICE_SMALLER], 36 * MIB);
    g_fake.others_bytes = (size_t)1 << 30;
    fake_fail("cuMemAlloc", 0, 1, CUDA_ERROR_OUT_OF_MEMORY);
    p = take(60 * KIB);
    g_fake.others_bytes = 0;
    assert_int_equal(view_of(p).kind, ALLOCATION_PLAIN);
    assert_false(residency_active(DEVICE_SMALLER));
    assert_int_equal(g_fake.resident[DEVICE_SMALLER], 34 * MIB);
    assert_int_equal(fake_page_at(weights)->at, DEVICE_SMALLER);
    assert_int_equal(residency_budget(DEVICE_SMALLER), 36 * MIB);
    give(p);
    give(weights);
}

/* Extents that one device has done with must not become another's while it still lists them. */
static void test_extents_stay_with_their_device(void **state)
{
    CUcontext first, second;
    CUdeviceptr a, b;

    (void)state;
    first = fake_context(DEVICE_PACK);
    give(take(18 * MIB));
    second = fake_context(DEVICE_OTHER);
    a = take(18 * MIB);
    assert_int_equal(fake_page_at(a)->at, DEVICE_OTHER);
    t_fake_ctx = first;
    b = take(40 * MIB);
    assert_int_equal(fake_page_at(b)->at, DEVICE_PACK);
    g_fake.others_bytes = (size_t)1 << 30; /* the card is full */
    residency_shrink(residency_get(DEVICE_PACK), 64 * MIB, &(int){0});
    g_fake.others_bytes = 0;
    assert_int_equal(fake_page_at(b)->at, -1);
    assert_int_equal(fake_page_at(a)->at, DEVICE_OTHER);
    give(b);
    t_fake_ctx = second;
    give(a);
}

/* However the sizes change, there are no more extents than were once in use at the same time; and
 * no two ranges ever have one in common. */
static void test_ever_changing_sizes(void **state)
{
    size_t first_page, extent_bytes, most = 0;
    uint64_t managed;
    CUdeviceptr p[2];

    (void)state;
    fake_context(DEVICE_SIZES);
    extent_bytes = residency_get(DEVICE_SIZES)->extent_bytes;
    first_page = g_fake.next_page;
    managed = g_fake.live_managed_bytes;
    g_seed = 3;
    for (int round = 0; round < 5000; round++) {
        size_t extents[2];

        for (int i = 0; i < 2; i++) {
            extents[i] = RANGE_PACK_MAX / extent_bytes + random_below(60);
            p[i] = take(extents[i] * extent_bytes);
        }
        if (extents[0] + extents[1] > most)
            most = extents[0] + extents[1];
        for (int i = 0; i < 2; i++) {
            const struct range *r = range_allocation_at(p[i])->range;

            assert_int_equal(r->extent_count, extents[i]);
            for (size_t n = 0; n < r->extent_count; n++) {
                assert_ptr_equal(r->extents[n]->range, r);
                assert_int_equal(r->extents[n]->first, p[i] + n * extent_bytes);
            }
        }
        give(p[round % 2]);
        give(p[1 - round % 2]);
        assert_int_equal(g_fake.live_managed_bytes, managed);
        g_fake.next_page = first_page; /* the driver's addresses come again, too */
    }
    assert_true(residency_get(DEVICE_SIZES)->table_count <= most);
}

/* What was freed beside a block that stays takes no room: not in the account, and not in VRAM where
 * that is needed. */
static void test_vacant_extents_do_not_count(void **state)
{
    struct residency *res;
    CUdeviceptr stays, p;

    (void)state;
    fake_context(DEVICE_VACANT);
    res = residency_get(DEVICE_VACANT);
    g_fake.limit[DEVICE_VACANT] = 24 * MIB;
    stays = take(1 * MIB);
    for (int round = 0; round < 12; round++) {
        p = take((size_t)(13 - round % 5) * MIB);
        /* Two neighbours in one extent: it is in use until both have gone. */
        give(take(100 * KIB));
        for (size_t at = 0; at < 8 * MIB; at += PAGE_BYTES)
            assert_int_equal(fake_page_at(p + at)->at, DEVICE_VACANT);
        give(p);
        assert_int_equal(fake_page_at(stays)->at, DEVICE_VACANT);
        assert_false(residency_active(DEVICE_VACANT));
        assert_int_equal(res->total_bytes, PAGE_BYTES);
    }
    /* Nor does it stand in the way of the program's own VRAM, or of a range that is its own. */
    residency_charge(res, 20 * MIB);
    assert_true(g_fake.resident[DEVICE_VACANT] <= 4 * MIB);
    residency_charge(res, -(int64_t)(20 * MIB));
    p = take(20 * MIB);
    assert_true(g_fake.resident[DEVICE_VACANT] >= 22 * MIB);
    give(p);
    assert_false(residency_active(DEVICE_VACANT));
    /* What is in use and does not fit turns paging on, as ever. */
    p = take(24 * MIB);
    assert_true(residency_active(DEVICE_VACANT));
    give(p);
    give(stays);
    assert_int_equal(res->total_bytes, 0);
    assert_int_equal(FAKE_READ(g_fake.misuse), 0);
}

/* A context makes room for another one of the same device, on streams of its own. */
static void test_vacant_extents_of_another_context(void **state)
{
    CUcontext first = fake_context(DEVICE_NEIGHBOUR), second;
    CUdeviceptr stays, p, q;
    struct residency *res = residency_get(DEVICE_NEIGHBOUR);

    (void)state;
    g_fake.limit[DEVICE_NEIGHBOUR] = res->budget_bytes;
    stays = take(1 * MIB);
    p = take(12 * MIB);
    give(p);
    second = fake_context(DEVICE_NEIGHBOUR);
    q = take((size_t)res->budget_bytes - res->extent_bytes);
    assert_ptr_equal(t_fake_ctx, second);
    assert_false(residency_active(DEVICE_NEIGHBOUR));
    give(q);
    t_fake_ctx = first;
    give(stays);
    assert_int_equal(FAKE_READ(g_fake.misuse), 0);
}

/* What the driver does at the end of a context. */
static void destroy(CUcontext ctx)
{
    ctx->destroyed = 1;
    for (size_t i = 0; i < g_fake.stream_count; i++)
        if (g_fake.streams[i]->ctx == ctx)
            g_fake.streams[i]->alive = 0;
    for (size_t i = 0; i < g_fake.event_count; i++)
        if (g_fake.events[i]->ctx == ctx)
            g_fake.events[i]->alive = 0;
}

/* Another thread's call destroys a context at this moment: the driver has done so, and we do not
 * know it yet. What is allocated elsewhere makes do without what is vacant there. */
static void test_allocates_while_a_context_ends(void **state)
{
    CUcontext ends = fake_context(DEVICE_ENDS);
    uint64_t failures = stats()->driver_failures;
    struct residency *res = residency_get(DEVICE_ENDS);
    CUdeviceptr p, q;

    (void)state;
    g_fake.hold_new = 1; /* or no load would wait for a drop */
    take(1 * MIB);
    give(take(4 * MIB)); /* of 6 MiB that are there, 4 are vacant */
    fake_context(DEVICE_ENDS);
    p = take(1 * MIB);
    give(take(8 * MIB)); /* of 10 MiB, 8 */
    context_wait_leave(ends, CONTEXT_WAIT_ENDS);
    destroy(ends);
    q = take(16 * MIB);
    assert_false(residency_active(DEVICE_ENDS));
    assert_int_equal(res->resident_bytes, 24 * MIB);
    assert_int_equal(g_fake.misuse, 0);
    assert_int_equal(stats()->driver_failures, failures);
    range_context_destroyed(ends);
    residency_context_destroyed(ends, 1);
    context_wait_left(ends);
    assert_int_equal(res->resident_bytes, 18 * MIB);
    give(q);
    give(p);
    g_fake.hold_new = 0;
}

static int setup(void **state)
{
    (void)state;
    range_bench_budgets();
    fake_budget(DEVICE_TIGHT, 64 * MIB, 8 * GIB);
    fake_budget(DEVICE_SMALLER, 64 * MIB, 8 * GIB);
    fake_budget(DEVICE_SIZES, 256 * MIB, 8 * GIB); /* extents of one page */
    fake_budget(DEVICE_VACANT, 24 * MIB, 8 * GIB);
    fake_budget(DEVICE_NEIGHBOUR, 24 * MIB, 8 * GIB);
    fake_budget(DEVICE_ENDS, 24 * MIB, 8 * GIB);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_takes_room),
        cmocka_unit_test(test_vacant_extents_go_first),
        cmocka_unit_test(test_extents_stay_with_their_device),
        cmocka_unit_test(test_ever_changing_sizes),
        cmocka_unit_test(test_vacant_extents_do_not_count),
        cmocka_unit_test(test_vacant_extents_of_another_context),
        cmocka_unit_test(test_allocates_while_a_context_ends),
    };

    return cmocka_run_group_tests(tests, setup, reset_host_room);
}
