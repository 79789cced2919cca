/* Strategy: the real range.c and residency.c over a fake driver that keeps books. Random
 * allocations and frees are held against a model: no two of them may ever overlap, every address
 * must be found in its own, and what is free must add up. Then every driver call is made to fail in
 * turn: nothing may be lost, and the books must be as before. */
#include "tests/unit/range_bench.h"

/* One device for each test: what a device has learned stays with it. */
enum {
    DEVICE_PACK,
    DEVICE_HOLE,
    DEVICE_RANDOM,
    DEVICE_OOM,
    DEVICE_FALLBACK,
    DEVICE_FAIL,
    DEVICE_FAIL_ACTIVE,
};

static uint64_t g_seed;

static uint32_t random_below(uint32_t n)
{
    g_seed = g_seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(g_seed >> 33) % n;
}

static void test_plain_packed_own(void **state)
{
    CUdeviceptr small, packed[3], large, next;
    struct range_view view;

    (void)state;
    fake_context(DEVICE_PACK);
    small = take(RANGE_PLAIN_MAX - 1);
    assert_int_equal(view_of(small).kind, ALLOCATION_PLAIN);
    assert_true(small >= FAKE_PLAIN);

    packed[0] = take(RANGE_PLAIN_MAX);
    packed[1] = take(RANGE_PLAIN_MAX + 1);
    packed[2] = take(100 * KIB);
    assert_int_equal(packed[1], packed[0] + RANGE_PLAIN_MAX);
    assert_int_equal(packed[2], packed[1] + RANGE_PLAIN_MAX + RANGE_ALIGN);
    view = view_of(packed[1] + RANGE_PLAIN_MAX);
    assert_int_equal(view.base, packed[1]);
    assert_int_equal(view.bytes, RANGE_PLAIN_MAX + 1);
    assert_int_equal(view.kind, ALLOCATION_PAGED);
    assert_int_equal(view.device, DEVICE_PACK);
    assert_ptr_equal(view.ctx, t_fake_ctx);
    /* The byte behind the last of an allocation is nobody's, padding as it is. */
    assert_int_equal(range_find(packed[1] + RANGE_PLAIN_MAX + 1, &view), 0);

    next = take(RANGE_PACK_MAX - 1);
    assert_int_equal(next, packed[2] + 100 * KIB);
    large = take(RANGE_PACK_MAX);
    assert_int_equal(large % PAGE_BYTES, 0);
    assert_true(large >= next + RANGE_PACK_MAX);
    assert_int_equal(view_of(large + RANGE_PACK_MAX - 1).base, large);
    assert_int_equal(range_find(large + RANGE_PACK_MAX, &view), 0);
    for (int i = 0; i < 3; i++)
        give(packed[i]);
    give(next);
    give(large);
    give(small);
    assert_int_equal(g_fake.live_managed_bytes, 0);
    assert_int_equal(range_find(large, &view), 0);
}

/* The hole at the end of a range reaches past the place where packing goes on. */
static void test_hole_across_the_cursor(void **state)
{
    CUdeviceptr a, b, c, d;

    (void)state;
    fake_context(DEVICE_HOLE);
    a = take(15 * MIB);
    b = take(15 * MIB);
    assert_int_equal(b, a + 15 * MIB);
    give(b);
    c = take(15 * MIB + 512 * KIB);
    assert_int_equal(c, b);
    d = take(1 * MIB);
    assert_true(d >= c + 15 * MIB + 512 * KIB || d + 1 * MIB <= a);
    give(a);
    /* A hole in front is found as well, once there is no room behind. */
    b = take(14 * MIB);
    assert_int_equal(b, a);
    give(b);
    give(c);
    give(d);
    assert_int_equal(g_fake.live_managed_bytes, 0);
}

#define LIVE_MAX 200

struct piece {
    CUdeviceptr base;
    size_t bytes;
    uint64_t id;
};

static size_t random_bytes(void)
{
    switch (random_below(6)) {
    case 0:
        return 1 + random_below(RANGE_PLAIN_MAX);
    case 1:
        return RANGE_PACK_MAX + random_below(RANGE_PACK_MAX);
    case 2:
        return RANGE_PACK_MAX - 1 - random_below(1 * MIB);
    default:
        return RANGE_PLAIN_MAX + random_below(4 * MIB);
    }
}

static void check_pieces(const struct piece *piece, size_t count, CUdevice device, uint64_t total)
{
    uint64_t sum = 0, first, end;

    range_bounds(&first, &end);
    for (size_t i = 0; i < count; i++) {
        struct range_view view = view_of(piece[i].base + random_below((uint32_t)piece[i].bytes));

        assert_int_equal(view.base, piece[i].base);
        assert_int_equal(view.bytes, piece[i].bytes);
        assert_int_equal(view.id, piece[i].id);
        assert_int_equal(view.kind == ALLOCATION_PLAIN, piece[i].bytes < RANGE_PLAIN_MAX);
        if (view.kind == ALLOCATION_PAGED)
            assert_true(piece[i].base >= first && piece[i].base + piece[i].bytes <= end);
        sum += piece[i].bytes;
        for (size_t j = 0; j < i; j++)
            assert_true(piece[i].base + piece[i].bytes <= piece[j].base ||
                        piece[j].base + piece[j].bytes <= piece[i].base);
    }
    assert_int_equal(free_bytes_of(device), total - sum);
}

static void test_random_against_a_model(void **state)
{
    uint64_t total, last_id = 0, generation = range_generation();
    struct piece piece[LIVE_MAX];
    size_t count = 0;

    (void)state;
    fake_context(DEVICE_RANDOM);
    total = free_bytes_of(DEVICE_RANDOM);
    g_seed = 11;
    for (int step = 0; step < 4000; step++) {
        /* Phases of growth and of shrinking, so that ranges fill up, thin out and go. */
        int grow = random_below(10) < (step / 500 % 2 ? 3u : 7u);

        if (grow && count < LIVE_MAX) {
            struct piece *p = &piece[count];

            p->bytes = random_bytes();
            p->base = take(p->bytes);
            p->id = view_of(p->base).id;
            assert_true(p->id > last_id);
            last_id = p->id;
            count++;
        } else if (count) {
            size_t gone = random_below((uint32_t)count);

            give(piece[gone].base);
            piece[gone] = piece[--count];
        } else {
            continue;
        }
        assert_int_not_equal(range_generation(), generation);
        generation = range_generation();
        if (step % 16 == 0)
            check_pieces(piece, count, DEVICE_RANDOM, total);
    }
    while (count)
        give(piece[--count].base);
    assert_int_equal(free_bytes_of(DEVICE_RANDOM), total);
    assert_int_equal(g_fake.live_managed_bytes, 0);
}

static void test_out_of_memory(void **state)
{
    size_t bytes = 40 * MIB;
    uint64_t free_bytes, total_bytes;
    CUdeviceptr p, q;

    (void)state;
    fake_context(DEVICE_OOM);
    range_capacity(DEVICE_OOM, &free_bytes, &total_bytes);
    assert_int_equal(total_bytes, 32 * MIB + 64 * MIB);
    p = take(bytes);
    assert_int_equal(free_bytes_of(DEVICE_OOM), total_bytes - bytes);
    q = take(bytes);
    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &p), CUDA_ERROR_OUT_OF_MEMORY);
    bytes = 10 * MIB;
    p = q - 40 * MIB - PAGE_BYTES;
    assert_int_equal(view_of(p).bytes, 40 * MIB);
    give(p);
    give(q);
    assert_int_equal(free_bytes_of(DEVICE_OOM), total_bytes);
    /* The driver's own lack of memory is told as it is, and nothing is held. */
    fake_fail("cuMemAllocManaged", 0, 2, CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &p), CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(free_bytes_of(DEVICE_OOM), total_bytes);
    /* Where it only lacks the room to share, there is a range for this one alone. */
    fake_fail("cuMemAllocManaged", 0, 1, CUDA_ERROR_OUT_OF_MEMORY);
    give(take(bytes));
    assert_int_equal(free_bytes_of(DEVICE_OOM), total_bytes);
}

static void test_plain_fallback(void **state)
{
    size_t bytes = 1 * MIB, small = 4 * KIB;
    uint64_t refused = stats()->refused;
    CUdeviceptr p;

    (void)state;
    fake_context(DEVICE_FALLBACK);
    fake_fail("cuMemAllocManaged", 0, 2, CUDA_ERROR_NOT_SUPPORTED);
    p = take(bytes);
    assert_int_equal(view_of(p).kind, ALLOCATION_PLAIN);
    assert_int_equal(stats()->refused, refused + 1);
    assert_int_equal(stats()->plain_bytes, bytes);
    give(p);
    assert_int_equal(stats()->plain_bytes, 0);
    /* A small one that the card refuses is paged: lack of VRAM is no failure. */
    fake_fail("cuMemAlloc", 0, UINT32_MAX, CUDA_ERROR_OUT_OF_MEMORY);
    p = take(small);
    fake_fail(NULL, 0, 0, CUDA_SUCCESS);
    assert_int_equal(view_of(p).kind, ALLOCATION_PAGED);
    give(p);
    /* Without a context the driver's answer is the program's. */
    t_fake_ctx = NULL;
    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &p), CUDA_SUCCESS);
    assert_true(p >= FAKE_PLAIN);
    g_fake_driver.cuMemFree_v2(p);
}

/* What a program may do, whatever fails. returns how many of the calls failed */
static int scenario(void)
{
    static const size_t sizes[] = {4 * KIB, 100 * KIB, 3 * MIB, 20 * MIB, 70 * KIB};
    CUdeviceptr p[5];
    int have[5], failures = 0, paged;

    for (int i = 0; i < 5; i++) {
        size_t bytes = sizes[i];

        have[i] = range_alloc(bytes, fake_plain, &bytes, &p[i]) == CUDA_SUCCESS;
        failures += !have[i];
    }
    for (int i = 0; i < 5; i++) {
        struct range_view view;

        if (!have[i])
            continue;
        assert_int_equal(view_of(p[i] + sizes[i] - 1).base, p[i]);
        if (i == 2 && range_free_async(p[i], CU_STREAM_LEGACY, &paged) == CUDA_SUCCESS && paged)
            continue;
        if (range_free(p[i], &paged) == CUDA_SUCCESS) {
            if (!paged)
                while (g_fake_driver.cuMemFree_v2(p[i]) != CUDA_SUCCESS)
                    ;
            continue;
        }
        failures++;
        if (range_find(p[i], &view)) /* refused, and as it was: try again */
            assert_int_equal(range_free(p[i], &paged), CUDA_SUCCESS);
    }
    return failures;
}

static void fail_each_call(const char *kind, CUdevice device, int frees_fail)
{
    uint64_t free_bytes = free_bytes_of(device);

    for (unsigned skip = 0;; skip++) {
        unsigned left;
        uint64_t managed = g_fake.live_managed_bytes, plain = stats()->plain_bytes;
        size_t events = g_fake.live_events;

        fake_fail(kind, skip, 1, CUDA_ERROR_UNKNOWN);
        scenario();
        left = g_fake.fail_count;
        fake_fail(NULL, 0, 0, CUDA_SUCCESS);
        for (int i = 0; i < 2; i++)
            give(take(100 * KIB)); /* what was freed in stream order goes now */
        assert_int_equal(free_bytes_of(device), free_bytes);
        assert_int_equal(stats()->plain_bytes, plain);
        if (!frees_fail) {
            assert_int_equal(g_fake.live_managed_bytes, managed);
            assert_true(g_fake.live_events <= events);
        }
        assert_int_equal(g_fake.misuse, 0);
        if (left)
            break;
        assert_true(skip < 200);
    }
}

static void test_every_call_fails(void **state)
{
    static const char *const kinds[] = {
        "cuMemAllocManaged", "cuMemAlloc",         "cuMemAdvise",
        "cuEventCreate",     "cuEventRecord",      "cuEventQuery",
        "cuCtxSynchronize",  "cuMemPrefetchAsync", "cuStreamCreate"};
    static const CUdevice devices[] = {DEVICE_FAIL, DEVICE_FAIL_ACTIVE};

    (void)state;
    for (int d = 0; d < 2; d++) {
        fake_context(devices[d]);
        scenario();
        for (int i = 0; i < 2; i++)
            give(take(100 * KIB));
        for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
            fail_each_call(kinds[k], devices[d], 0);
        fail_each_call("cuMemFree", devices[d], 1);
        fail_each_call("cuEventDestroy", devices[d], 1);
    }
    g_fake.live_managed_bytes = 0; /* what the refused frees left */
}

/* Whatever GPU a policy may name is paged. */
static void test_every_device(void **state)
{
    (void)state;
    fake_context(0);
    for (CUdevice device = FAKE_DEVICES; device < POLICY_DEVICES_MAX; device++) {
        g_fake_policy.max_memory.device_bytes[device] = 8 * MIB;
        assert_int_equal(residency_budget(device), 8 * MIB);
        assert_int_equal(stats()->budget_bytes[device], 8 * MIB);
    }
    assert_null(residency_get(POLICY_DEVICES_MAX));
}

static int setup(void **state)
{
    (void)state;
    range_bench_budgets();
    fake_budget(DEVICE_HOLE, 64 * MIB, 8 * GIB); /* shared ranges of 32 MiB */
    fake_budget(DEVICE_RANDOM, 200 * MIB, 8 * GIB);
    fake_budget(DEVICE_OOM, 32 * MIB, 64 * MIB);
    fake_budget(DEVICE_FAIL_ACTIVE, 4 * MIB, 8 * GIB);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_packed_own),
        cmocka_unit_test(test_hole_across_the_cursor),
        cmocka_unit_test(test_random_against_a_model),
        cmocka_unit_test_setup_teardown(test_out_of_memory, set_host_room, reset_host_room),
        cmocka_unit_test(test_plain_fallback),
        cmocka_unit_test(test_every_call_fails),
        cmocka_unit_test(test_every_device),
    };

    return cmocka_run_group_tests(tests, setup, reset_host_room);
}
