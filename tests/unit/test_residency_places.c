/* Strategy: tensors that a device map places are bound to the extents of a device, over the real
 * pager and the fake driver. Which place an extent has is read from the books; that it is honoured
 * is seen in what is in VRAM at each launch, with a step and without, when bindings change, when
 * the room shrinks and when it never sufficed. */
#include "placement.h"
#include "policy_file.h"
#include "tests/unit/built_checkpoint.h"
#include "tests/unit/residency_bench.h"

/* One device for each test; the map puts "gpu<device>" on each. */
enum {
    DEVICE_PLACES,
    DEVICE_LOOSE,
    DEVICE_STEP,
    DEVICE_MUCH,
    DEVICE_ROOM,
    DEVICE_SHARED,
};

static struct checkpoint *g_checkpoint;

static const struct tensor *tensor(const char *name)
{
    size_t index = checkpoint_find_name(g_checkpoint, name);

    assert_int_not_equal(index, CHECKPOINT_NONE);
    return &g_checkpoint->tensors[index];
}

static const struct tensor *gpu_tensor(const struct bench *b)
{
    char name[16];

    snprintf(name, sizeof(name), "gpu%d", b->ctx->device);
    return tensor(name);
}

/* Halves of extents, [first, end), hold a piece of a tensor; NULL: what no upload explains. */
static void bind(const struct bench *b, size_t first, size_t end, const struct tensor *t)
{
    CUdeviceptr from = b->base + first * PAGE_BYTES / 2, to = b->base + end * PAGE_BYTES / 2;

    range_write_lock();
    assert_int_equal(object_define(range_allocation_at(b->base), from, to, t, 0,
                                   t ? STATS_EVIDENCE_FILE : STATS_EVIDENCE_NONE),
                     0);
    range_unlock();
}

static void erase(const struct bench *b, size_t first, size_t end)
{
    range_write_lock();
    assert_int_equal(object_erase(range_allocation_at(b->base), b->base + first * PAGE_BYTES / 2,
                                  b->base + end * PAGE_BYTES / 2),
                     0);
    range_unlock();
}

/* The places of the first extents, one letter each. */
static const char *places_of(const struct bench *b, size_t count)
{
    static char text[EXTENTS_MAX + 1];

    for (size_t i = 0; i < count; i++)
        text[i] = ".ks"[LOCKED(b->res, b->range->extents[i]->place)];
    text[count] = '\0';
    return text;
}

static void test_places_of_extents(void **state)
{
    struct bench b = bench_make(DEVICE_PLACES, 12, QUICK);

    (void)state;
    assert_string_equal(places_of(&b, 12), "............");
    bind(&b, 0, 3, gpu_tensor(&b));
    bind(&b, 3, 8, tensor("cpu"));
    bind(&b, 8, 10, tensor("disk"));
    bind(&b, 10, 12, tensor("gpu1")); /* of another device */
    bind(&b, 12, 14, tensor("nowhere"));
    bind(&b, 14, 16, NULL);
    assert_string_equal(places_of(&b, 12), "kksss.......");
    /* What lies there changes: the cut tensor's rest, what is put over it, and what is erased. */
    bind(&b, 2, 4, tensor("cpu"));
    assert_string_equal(places_of(&b, 12), "kssss.......");
    erase(&b, 4, 6);
    assert_string_equal(places_of(&b, 12), "ks.ss.......");
    bind(&b, 23, 24, gpu_tensor(&b));
    assert_string_equal(places_of(&b, 12), "ks.ss......k");
    /* An allocation that comes after it finds nothing of that. */
    give(b.base);
    b.base = take(12 * PAGE_BYTES);
    b.range = range_of(b.base);
    assert_string_equal(places_of(&b, 12), "............");
    bench_end(&b);
}

/* Two allocations that share a range, and an extent: what remains when one has gone is the other's.
 */
static void test_places_of_neighbours(void **state)
{
    struct bench b = bench_make(DEVICE_SHARED, 12, QUICK), left = b, right = b;

    (void)state;
    left.base = take(3 * PAGE_BYTES / 2);
    right.base = take(3 * PAGE_BYTES / 2);
    left.range = range_of(left.base);
    assert_ptr_equal(range_of(right.base), left.range);
    assert_int_equal(right.base - left.range->base, 3 * PAGE_BYTES / 2);
    bind(&left, 0, 3, gpu_tensor(&b));
    bind(&right, 0, 3, tensor("cpu"));
    assert_string_equal(places_of(&left, 3), "kks");
    give(left.base);
    assert_string_equal(places_of(&left, 3), ".ss");
    give(right.base);
    bench_end(&b);
}

/* Everything that is to be kept is there, from its first touch on. */
static void check_kept(const struct bench *b, size_t extents, const uint8_t *touched)
{
    for (size_t i = 0; i < extents; i++)
        if (LOCKED(b->res, b->range->extents[i]->place) == SCHEDULE_KEEP && touched[i])
            assert_true(is_there(b, i));
}

/* No step shows, before the hottest are known and after: what is to be kept stays although it is
 * touched least, what is to stream does not although it is touched most. */
static void test_kept_without_a_step(void **state)
{
    struct bench b = bench_make(DEVICE_LOOSE, 20, HELD);
    uint8_t touched[20] = {0};
    int hot = 0;

    (void)state;
    bind(&b, 0, 8, gpu_tensor(&b));
    bind(&b, 8, 12, tensor("cpu"));
    assert_string_equal(places_of(&b, 7), "kkkkss.");
    g_seed = 5;
    for (int round = 0; round < 4000 && hot < 200; round++) {
        size_t extent = random_below(8) == 0 ? random_below(20) : 4 + random_below(6);
        size_t set[3] = {extent, (extent + 1) % 20, (extent + 2) % 20};
        size_t count = random_below(64) == 0 ? 3 : 1; /* now and then, more than has a window */

        launch_on(&b, b.stream, count, set);
        for (size_t i = 0; i < count; i++)
            touched[set[i]] = 1;
        fake_finish(b.stream);
        check_kept(&b, 20, touched);
        hot += LOCKED(b.res, b.res->hot_limit) != 0;
        assert_false(LOCKED(b.res, b.range->extents[4]->fixed));
        assert_false(LOCKED(b.res, b.range->extents[5]->fixed));
    }
    assert_int_equal(hot, 200);
    assert_int_equal(LOCKED(b.res, b.res->kept_told), 0);
    bench_end(&b);
}

static void learn_cycle(const struct bench *b, size_t extents)
{
    for (int round = 0; round < 60 && !LOCKED(b->res, b->res->learned); round++)
        loads_of_a_step(b, extents);
    assert_true(LOCKED(b->res, b->res->learned));
}

/* Of the extents from the third on, are [first, end) kept on purpose, and no others? */
static int keeps(const struct bench *b, size_t first, size_t end)
{
    int as_asked = 1;

    for (size_t i = 2; i < 20; i++)
        as_asked &= b->range->extents[i]->fixed == (i >= first && i < end);
    return as_asked;
}

/* The plan keeps what it is told to, and goes on with what it is told later. */
static void test_kept_in_a_step(void **state)
{
    struct bench b = bench_make(DEVICE_STEP, 20, HELD);
    size_t launches;

    (void)state;
    bind(&b, 4, 10, gpu_tensor(&b));
    bind(&b, 10, 40, tensor("cpu"));
    learn_cycle(&b, 20);
    launches = LOCKED(b.res, b.res->plan.launches);
    for (size_t i = 0; i < 20; i++)
        assert_true(LOCKED(b.res, b.range->extents[i]->fixed) == (i < 5));
    for (int round = 0; round < 3; round++)
        loads_of_a_step(&b, 20);
    for (size_t i = 0; i < 5; i++)
        WAIT_FOR(atomic_load(&b.range->extents[i]->settled));
    /* A launch that has not room enough costs others their place first. */
    launch_on(&b, b.stream, 4, (const size_t[]){6, 9, 12, 15});
    fake_finish(b.stream);
    for (size_t i = 2; i < 5; i++)
        assert_true(is_there(&b, i));
    assert_false(is_there(&b, 0) && is_there(&b, 1));
    /* Other weights lie there now. */
    bind(&b, 4, 10, tensor("cpu"));
    bind(&b, 30, 36, gpu_tensor(&b));
    loads_of_a_step(&b, 20);
    WAIT_FOR(LOCKED(b.res, keeps(&b, 15, 18))); /* planned while places change, and then anew */
    assert_int_equal(LOCKED(b.res, b.res->learned), 1);
    assert_int_equal(LOCKED(b.res, b.res->plan.launches), launches);
    assert_int_equal(LOCKED(b.res, b.res->kept_told), 0);
    bench_end(&b);
}

/* More is to be kept than has room: as much of it stays as leaves a window, and that is said. */
static void test_more_than_has_room(void **state)
{
    struct bench b = bench_make(DEVICE_MUCH, 20, HELD);
    size_t fixed = 0;

    (void)state;
    bind(&b, 0, 40, gpu_tensor(&b));
    learn_cycle(&b, 20);
    for (size_t i = 0; i < 20; i++)
        fixed += LOCKED(b.res, b.range->extents[i]->fixed);
    assert_int_equal(fixed, FITS - 3);
    assert_int_equal(LOCKED(b.res, b.res->kept_told), 1);
    bench_end(&b);
}

/* The program's own VRAM grows: what is to be kept makes room as far as it must. */
static void test_room_shrinks(void **state)
{
    struct bench b = bench_make(DEVICE_ROOM, 20, HELD);

    (void)state;
    bind(&b, 0, 8, gpu_tensor(&b));
    for (size_t i = 0; i < 20; i++) {
        launch(&b, i);
        fake_finish(b.stream);
    }
    WAIT_FOR(!LOCKED(b.res, b.res->misplaced));
    assert_int_equal(LOCKED(b.res, b.res->kept_bytes), 4 * PAGE_BYTES);
    residency_charge(b.res, 3 * PAGE_BYTES);
    assert_int_equal(LOCKED(b.res, b.res->kept_bytes), 2 * PAGE_BYTES);
    for (size_t i = 0; i < 4; i++)
        assert_true(LOCKED(b.res, b.range->extents[i]->fixed) == (i < 2));
    assert_true(LOCKED(b.res, b.res->resident_bytes) <= BUDGET - 3 * PAGE_BYTES);
    residency_charge(b.res, -(int64_t)(3 * PAGE_BYTES));
    bench_end(&b);
}

static int setup(void **state)
{
    static struct policy_map_entry entries[8];
    static char names[FAKE_DEVICES][16];
    struct policy_map *map = &g_fake_policy.map;
    struct built built;

    built_begin(&built);
    map->entries = entries;
    for (int i = 0; i < 6; i++) {
        snprintf(names[i], sizeof(names[i]), "gpu%d", i);
        built_add(&built, names[i], 64 * PAGE_BYTES);
        entries[map->count++] = (struct policy_map_entry){.prefix = names[i], .place = i};
    }
    entries[map->count++] = (struct policy_map_entry){.prefix = "cpu", .place = POLICY_CPU};
    entries[map->count++] = (struct policy_map_entry){.prefix = "disk", .place = POLICY_DISK};
    policy_map_sort(map);
    built_add(&built, "cpu", 64 * PAGE_BYTES);
    built_add(&built, "disk", 64 * PAGE_BYTES);
    built_add(&built, "nowhere", 64 * PAGE_BYTES);
    g_checkpoint = built_finish(&built);
    bench_setup(state);
    placement_add(g_checkpoint, "built");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places_of_neighbours), cmocka_unit_test(test_places_of_extents),
        cmocka_unit_test(test_kept_without_a_step),  cmocka_unit_test(test_kept_in_a_step),
        cmocka_unit_test(test_more_than_has_room),   cmocka_unit_test(test_room_shrinks),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
