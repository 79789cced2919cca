/* Strategy: a driver that keeps the rules of physical memory (a handle lives while it is referenced
 * or mapped, and its value is handed out again at once) beside the fake one. After each of many
 * random calls, some of which the driver refuses, what is charged must be what that driver holds.
 * Then what must not be charged, and that paged extents make room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "physical.h"
#include "range.h"
#include "residency.h"
#include "tests/unit/fake_driver.h"

#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

#define HANDLES 64
#define SLOTS   48 /* of SLOT_BYTES address space each */
#define BASE    0x300000000000ull
#define SLOT    (2 * MIB)

enum { DEVICE_MODEL, DEVICE_ORDER, DEVICE_OTHERS, DEVICE_BUDGET, DEVICE_CARD, DEVICE_KEPT };

static const CUmemAllocationProp g_host = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                           .location = {CU_MEM_LOCATION_TYPE_HOST, 0}};

/* The driver's side: handle h is g_memory[h - 1]. */
static struct {
    size_t bytes, references, mappings;
} g_memory[HANDLES];
static struct {
    size_t slots; /* of a mapping that begins here */
    CUmemGenericAllocationHandle handle;
} g_slot[SLOTS];
static uint64_t g_held_bytes; /* by handles of devices: not those of g_host */
static CUdevice g_card;       /* what is held counts as VRAM of this one, when it has a limit */
static uint64_t g_card_bytes; /* 0: no limit */

static void let_go(CUmemGenericAllocationHandle handle)
{
    if (!g_memory[handle - 1].references && !g_memory[handle - 1].mappings) {
        g_held_bytes -= handle % 2 ? g_memory[handle - 1].bytes : 0;
        g_memory[handle - 1].bytes = 0;
    }
}

/* Even handles are memory of the host. */
static CUresult fake_create(CUmemGenericAllocationHandle *out, size_t bytes,
                            const CUmemAllocationProp *prop, unsigned long long flags)
{
    size_t i = prop->location.type == CU_MEM_LOCATION_TYPE_DEVICE ? 0 : 1;
    int counts = !i;

    FAKE_ENTER("cuMemCreate");
    if (flags || !bytes)
        return fake_leave(CUDA_ERROR_INVALID_VALUE);
    if (bytes > GIB * 4)
        return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
    if (counts && g_card_bytes && g_fake.resident[g_card] + g_held_bytes + bytes > g_card_bytes)
        return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
    for (; i < HANDLES; i += 2)
        if (!g_memory[i].bytes)
            break;
    if (i >= HANDLES)
        return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
    g_memory[i].bytes = bytes;
    g_memory[i].references = 1;
    g_memory[i].mappings = 0;
    g_held_bytes += counts ? bytes : 0;
    *out = i + 1;
    return fake_leave(CUDA_SUCCESS);
}

static CUresult fake_release(CUmemGenericAllocationHandle handle)
{
    FAKE_ENTER("cuMemRelease");
    if (!handle || handle > HANDLES || !g_memory[handle - 1].references)
        return fake_leave(CUDA_ERROR_INVALID_VALUE);
    g_memory[handle - 1].references--;
    let_go(handle);
    return fake_leave(CUDA_SUCCESS);
}

static CUresult fake_retain(CUmemGenericAllocationHandle *out, void *addr)
{
    size_t slot = ((uintptr_t)addr - BASE) / SLOT;

    FAKE_ENTER("cuMemRetainAllocationHandle");
    if (slot >= SLOTS || !g_slot[slot].slots)
        return fake_leave(CUDA_ERROR_INVALID_VALUE);
    *out = g_slot[slot].handle;
    g_memory[*out - 1].references++;
    return fake_leave(CUDA_SUCCESS);
}

static CUresult fake_map(CUdeviceptr addr, size_t bytes, size_t offset,
                         CUmemGenericAllocationHandle handle, unsigned long long flags)
{
    size_t slot = (addr - BASE) / SLOT, count = bytes / SLOT;

    FAKE_ENTER("cuMemMap");
    if (offset || flags || slot + count > SLOTS || bytes > g_memory[handle - 1].bytes)
        return fake_leave(CUDA_ERROR_INVALID_VALUE);
    for (size_t i = 0; i < SLOTS; i++)
        if (g_slot[i].slots && i < slot + count && slot < i + g_slot[i].slots)
            return fake_leave(CUDA_ERROR_INVALID_VALUE);
    g_slot[slot].slots = count;
    g_slot[slot].handle = handle;
    g_memory[handle - 1].mappings++;
    return fake_leave(CUDA_SUCCESS);
}

static CUresult fake_unmap(CUdeviceptr addr, size_t bytes)
{
    size_t first = (addr - BASE) / SLOT, end = first + bytes / SLOT, next = first;

    FAKE_ENTER("cuMemUnmap");
    while (next < end && next < SLOTS && g_slot[next].slots)
        next += g_slot[next].slots;
    if (next != end || first == end)
        return fake_leave(CUDA_ERROR_INVALID_VALUE);
    while (first < end) {
        size_t slots = g_slot[first].slots;

        g_memory[g_slot[first].handle - 1].mappings--;
        let_go(g_slot[first].handle);
        g_slot[first].slots = 0;
        first += slots;
    }
    return fake_leave(CUDA_SUCCESS);
}

/* What tests say
 * ---------------------------------------------------------------------------------*/

static CUmemAllocationProp on_device(CUdevice device)
{
    return (CUmemAllocationProp){.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                 .location = {CU_MEM_LOCATION_TYPE_DEVICE, device}};
}

static CUmemGenericAllocationHandle create(CUdevice device, size_t bytes)
{
    CUmemAllocationProp prop = on_device(device);
    CUmemGenericAllocationHandle handle = 0;

    assert_int_equal(physical_create(&handle, bytes, &prop, 0), CUDA_SUCCESS);
    return handle;
}

static uint64_t charged(void)
{
    return atomic_load(&stats()->plain_bytes);
}

static uint64_t free_bytes_of(CUdevice device)
{
    uint64_t free_bytes, total_bytes;

    range_capacity(device, &free_bytes, &total_bytes);
    return free_bytes;
}

static CUdeviceptr slot_at(size_t slot)
{
    return BASE + slot * SLOT;
}

static void *pointer_at(size_t slot)
{
    return (void *)(uintptr_t)(slot_at(slot) + 77);
}

/* Release and unmap in either order; what is mapped twice or retained stays. */
static void test_let_go_with_the_last(void **state)
{
    uint64_t before = free_bytes_of(DEVICE_ORDER);
    CUmemGenericAllocationHandle a, b, again = 0;

    (void)state;
    a = create(DEVICE_ORDER, 3 * SLOT);
    assert_int_equal(charged(), 3 * SLOT);
    assert_int_equal(free_bytes_of(DEVICE_ORDER), before - 3 * SLOT);
    assert_int_equal(physical_map(slot_at(0), 3 * SLOT, 0, a, 0), CUDA_SUCCESS);
    assert_int_equal(physical_map(slot_at(3), SLOT, 0, a, 0), CUDA_SUCCESS);
    assert_int_equal(physical_release(a), CUDA_SUCCESS);
    assert_int_equal(charged(), 3 * SLOT);
    assert_int_equal(physical_unmap(slot_at(0), 3 * SLOT), CUDA_SUCCESS);
    assert_int_equal(charged(), 3 * SLOT);
    assert_int_equal(physical_retain(&again, pointer_at(3)), CUDA_SUCCESS);
    assert_int_equal(again, a);
    assert_int_equal(physical_unmap(slot_at(3), SLOT), CUDA_SUCCESS);
    assert_int_equal(charged(), 3 * SLOT);
    assert_int_equal(physical_release(a), CUDA_SUCCESS);
    assert_int_equal(charged(), 0);
    assert_int_equal(free_bytes_of(DEVICE_ORDER), before);

    /* Many whole mappings in one call, one of them of memory that is not counted. */
    a = create(DEVICE_ORDER, SLOT);
    assert_int_equal(physical_create(&b, SLOT, &g_host, 0), CUDA_SUCCESS);
    assert_int_equal(charged(), SLOT);
    assert_int_equal(physical_map(slot_at(4), SLOT, 0, a, 0), CUDA_SUCCESS);
    assert_int_equal(physical_map(slot_at(6), SLOT, 0, a, 0), CUDA_SUCCESS);
    assert_int_equal(physical_map(slot_at(5), SLOT, 0, b, 0), CUDA_SUCCESS);
    assert_int_equal(physical_map(slot_at(7), SLOT, 0, a, 0), CUDA_SUCCESS);
    assert_int_equal(physical_release(a), CUDA_SUCCESS);
    assert_int_equal(physical_unmap(slot_at(4), 3 * SLOT), CUDA_SUCCESS);
    assert_int_equal(charged(), SLOT);
    assert_int_equal(physical_unmap(slot_at(7), SLOT), CUDA_SUCCESS);
    assert_int_equal(charged(), 0);
    assert_int_equal(physical_release(b), CUDA_SUCCESS);
    assert_int_equal(charged(), 0);
    assert_int_equal(g_held_bytes, 0);
}

static uint64_t g_seed;

static size_t random_below(size_t n)
{
    g_seed = g_seed * 6364136223846793005ull + 1442695040888963407ull;
    return (size_t)(g_seed >> 33) % n;
}

/* A handle that the program still holds; 0 for none. */
static CUmemGenericAllocationHandle any_handle(void)
{
    size_t first = random_below(HANDLES);

    for (size_t i = 0; i < HANDLES; i++)
        if (g_memory[(first + i) % HANDLES].references)
            return (first + i) % HANDLES + 1;
    return 0;
}

static void random_call(void)
{
    static const char *const kinds[] = {"cuMemCreate", "cuMemRelease", "cuMemMap", "cuMemUnmap",
                                        "cuMemRetainAllocationHandle"};
    CUmemAllocationProp prop = on_device(DEVICE_MODEL);
    CUmemGenericAllocationHandle handle = any_handle();
    size_t kind = random_below(5), slot = random_below(SLOTS), slots = 1 + random_below(4);

    if (random_below(5) == 0)
        fake_fail(kinds[kind], 0, 1, CUDA_ERROR_UNKNOWN);
    switch (kind) {
    case 0:
        physical_create(&handle, slots * SLOT, random_below(4) ? &prop : &g_host, 0);
        break;
    case 1:
        if (handle)
            physical_release(handle);
        break;
    case 2:
        if (handle)
            physical_map(slot_at(slot), slots * SLOT, 0, handle, 0);
        break;
    case 3:
        if (g_slot[slot].slots && random_below(2))
            slots = g_slot[slot].slots;
        physical_unmap(slot_at(slot), slots * SLOT);
        break;
    default:
        physical_retain(&handle, pointer_at(slot));
    }
    fake_fail(NULL, 0, 0, CUDA_SUCCESS);
}

static void test_random_against_the_driver(void **state)
{
    CUmemGenericAllocationHandle handle;

    (void)state;
    for (g_seed = 1; g_seed <= 20;) {
        uint64_t seed = g_seed;

        for (int i = 0; i < 2000; i++) {
            random_call();
            if (charged() != g_held_bytes)
                fail_msg("seed %llu, call %d: %llu bytes charged, %llu held",
                         (unsigned long long)seed, i, (unsigned long long)charged(),
                         (unsigned long long)g_held_bytes);
        }
        for (size_t i = 0; i < SLOTS; i++)
            if (g_slot[i].slots)
                physical_unmap(slot_at(i), g_slot[i].slots * SLOT);
        while ((handle = any_handle()))
            physical_release(handle);
        assert_int_equal(g_held_bytes, 0);
        assert_int_equal(charged(), 0);
        g_seed = seed + 1;
    }
}

/* What is no VRAM of a device that berth answers for, and what no driver grants. */
static void test_not_charged(void **state)
{
    CUmemAllocationProp prop = on_device(DEVICE_OTHERS);
    CUmemGenericAllocationHandle handle = 0;
    CUdeviceptr weights = 0;
    size_t bytes = 6 * MIB;

    (void)state;
    fake_context(DEVICE_OTHERS);
    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &weights), CUDA_SUCCESS);
    /* Larger than the card (2 GiB): refused, and nothing had to leave for it. */
    assert_int_equal(physical_create(&handle, 5 * GIB, &prop, 0), CUDA_ERROR_OUT_OF_MEMORY);
    assert_false(residency_active(DEVICE_OTHERS));
    assert_int_equal(physical_create(&handle, SLOT, &prop, 1), CUDA_ERROR_INVALID_VALUE);
    assert_false(residency_active(DEVICE_OTHERS));
    assert_int_equal(charged(), 0);
    prop.location.id = STATS_DEVICES_MAX;
    assert_int_equal(physical_create(&handle, SLOT, &prop, 0), CUDA_SUCCESS);
    assert_int_equal(charged(), 0);
    assert_int_equal(physical_map(slot_at(0), SLOT, 0, handle, 0), CUDA_SUCCESS);
    assert_int_equal(physical_release(handle), CUDA_SUCCESS);
    assert_int_equal(physical_unmap(slot_at(0), SLOT), CUDA_SUCCESS);
    assert_int_equal(charged(), 0);
}

/* Within the budget, and when the card is smaller than it: paged extents make room. */
static void test_extents_make_room(void **state)
{
    CUmemGenericAllocationHandle handle;
    CUdeviceptr weights = 0;
    size_t bytes = 30 * MIB;

    (void)state;
    fake_context(DEVICE_BUDGET);
    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &weights), CUDA_SUCCESS);
    assert_int_equal(FAKE_READ(g_fake.resident[DEVICE_BUDGET]), 30 * MIB);
    handle = create(DEVICE_BUDGET, 10 * MIB);
    assert_true(residency_active(DEVICE_BUDGET));
    assert_true(FAKE_READ(g_fake.resident[DEVICE_BUDGET]) <= 22 * MIB);
    assert_int_equal(physical_release(handle), CUDA_SUCCESS);

    fake_context(DEVICE_CARD);
    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &weights), CUDA_SUCCESS);
    g_card = DEVICE_CARD;
    g_card_bytes = 32 * MIB;
    g_fake.others_bytes = GIB - 2 * MIB;
    handle = create(DEVICE_CARD, 10 * MIB);
    assert_true(FAKE_READ(g_fake.resident[DEVICE_CARD]) <= 22 * MIB);
    /* Nothing is left to give: the driver's own answer, and nothing is charged for it. */
    assert_int_equal(charged(), 10 * MIB);
    {
        CUmemAllocationProp prop = on_device(DEVICE_CARD);
        CUmemGenericAllocationHandle other;

        assert_int_equal(physical_create(&other, 30 * MIB, &prop, 0), CUDA_ERROR_OUT_OF_MEMORY);
    }
    assert_int_equal(charged(), 10 * MIB);
    g_card_bytes = g_fake.others_bytes = 0;
    assert_int_equal(physical_release(handle), CUDA_SUCCESS);
    assert_int_equal(charged(), 0);
}

/* What frees in stream order have left is given back before the program hears a refusal. */
static void test_kept_ranges_make_room(void **state)
{
    CUmemGenericAllocationHandle handle;
    CUdeviceptr p = 0;
    size_t bytes = 20 * MIB;
    uint64_t managed;
    int paged;

    (void)state;
    fake_context(DEVICE_KEPT);
    managed = g_fake.live_managed_bytes;
    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &p), CUDA_SUCCESS);
    assert_int_equal(range_free_async(p, fake_program_stream(0), &paged), CUDA_SUCCESS);
    assert_int_equal(g_fake.live_managed_bytes, managed + bytes);
    fake_fail("cuMemCreate", 0, 2, CUDA_ERROR_OUT_OF_MEMORY); /* at first, and asked again */
    handle = create(DEVICE_KEPT, 10 * MIB);
    assert_int_equal(g_fake.live_managed_bytes, managed);
    assert_int_equal(charged(), 10 * MIB);
    assert_int_equal(physical_release(handle), CUDA_SUCCESS);
}

static int setup(void **state)
{
    (void)state;
    for (int i = 0; i < FAKE_DEVICES; i++)
        fake_budget(i, 8 * GIB, 8 * GIB);
    fake_budget(DEVICE_BUDGET, 32 * MIB, 8 * GIB);
    g_fake_driver.cuMemCreate = fake_create;
    g_fake_driver.cuMemRelease = fake_release;
    g_fake_driver.cuMemRetainAllocationHandle = fake_retain;
    g_fake_driver.cuMemMap = fake_map;
    g_fake_driver.cuMemUnmap = fake_unmap;
    return 0;
}

static int check_misuse(void **state)
{
    (void)state;
    return g_fake.misuse;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_let_go_with_the_last),
        cmocka_unit_test(test_random_against_the_driver),
        cmocka_unit_test(test_not_charged),
        cmocka_unit_test(test_extents_make_room),
        cmocka_unit_test(test_kept_ranges_make_room),
    };

    return cmocka_run_group_tests(tests, setup, check_misuse);
}
