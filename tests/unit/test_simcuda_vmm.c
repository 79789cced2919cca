/* Strategy: the model is called directly, and accesses are made as a kernel and a copy engine make
 * them, on two devices of 32 MiB. Random maps, unmaps and rights are held against a table of what
 * each page should be: every load finds the word of its physical page, or faults. What is counted
 * and what is charged is compared case by case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/simcuda/pace.h"
#include "tests/simcuda/vmm.h"
#include "tests/unit/device_access.h"

#define MIB   ((size_t)1 << 20)
#define PAGE  (2 * MIB)
#define SLOTS 24 /* pages of one reservation */
#define CTX   ((CUcontext)(uintptr_t)0x1000)
#define BOTH  (MMU_READ | MMU_WRITE)

static CUdeviceptr g_base;

static CUmemGenericAllocationHandle create(CUmemLocationType type, int id, size_t pages)
{
    CUmemAllocationProp prop = {.type = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {type, id}};
    CUmemGenericAllocationHandle handle = 0;

    assert_int_equal(vmm_create(pages * PAGE, &prop, &handle), CUDA_SUCCESS);
    return handle;
}

static CUmemGenericAllocationHandle on_device(int device, size_t pages)
{
    return create(CU_MEM_LOCATION_TYPE_DEVICE, device, pages);
}

static CUdeviceptr slot_at(size_t slot)
{
    return g_base + slot * PAGE;
}

static void store(int device, CUdeviceptr addr, uint32_t value)
{
    assert_int_equal(device_access(device, addr, MMU_WRITE, &value), 0);
}

static uint32_t load(int device, CUdeviceptr addr)
{
    uint32_t value = 0;

    assert_int_equal(device_access(device, addr, MMU_READ, &value), 0);
    return value;
}

static struct memory_counters counters(int device)
{
    struct memory_counters now;

    memory_counters(device, &now);
    return now;
}

/* A device's own memory is local; the host's and another device's are read and written over the
 * link, each access counted. */
static void test_remote_accesses_are_counted(void **state)
{
    const CUmemGenericAllocationHandle handles[] = {
        on_device(0, 1), create(CU_MEM_LOCATION_TYPE_HOST, 0, 1), on_device(1, 1)};
    struct memory_counters before = counters(0), after;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(vmm_map(slot_at(i), PAGE, handles[i]), CUDA_SUCCESS);
        assert_int_equal(vmm_set_access(slot_at(i), PAGE, 0, BOTH), CUDA_SUCCESS);
        store(0, slot_at(i) + 8, (uint32_t)i);
        assert_int_equal(load(0, slot_at(i) + 8), i);
        after = counters(0);
        assert_int_equal(after.remote_write_bytes - before.remote_write_bytes, 4 * i);
        assert_int_equal(after.remote_read_bytes - before.remote_read_bytes, 4 * i);
    }
    /* Copies know where the bytes lie as well. */
    assert_int_equal(memory_copy(0, slot_at(0), slot_at(1), 4096), 0);
    after = counters(0);
    assert_int_equal(after.copy_h2d_bytes - before.copy_h2d_bytes, 4096);
    assert_int_equal(memory_copy(0, slot_at(1), slot_at(0), 100), 0);
    after = counters(0);
    assert_int_equal(after.copy_d2h_bytes - before.copy_d2h_bytes, 100);
    assert_int_equal(load(0, slot_at(0) + 8), 1);
    assert_int_equal(vmm_unmap(slot_at(0), 3 * PAGE), CUDA_SUCCESS);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(vmm_release(handles[i]), CUDA_SUCCESS);
}

/* A copy needs rights, too; one over several mappings needs them all. */
static void test_copies(void **state)
{
    CUmemGenericAllocationHandle handle = on_device(0, 2);
    unsigned char *host = malloc(4 * PAGE);
    enum memory_kind kind;

    (void)state;
    memset(host, 7, 4 * PAGE);
    assert_int_equal(vmm_map(slot_at(0), 2 * PAGE, handle), CUDA_SUCCESS);
    assert_int_equal(vmm_map(slot_at(2), 2 * PAGE, handle), CUDA_SUCCESS);
    assert_int_equal(memory_copy(0, slot_at(0), (uintptr_t)host, 16), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(vmm_set_access(slot_at(0), 2 * PAGE, 0, BOTH), CUDA_SUCCESS);
    assert_int_equal(memory_copy(0, slot_at(0), (uintptr_t)host, 4 * PAGE),
                     CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(vmm_set_access(slot_at(2), 2 * PAGE, 0, MMU_READ), CUDA_SUCCESS);
    assert_int_equal(memory_copy(0, slot_at(2), (uintptr_t)host, 16), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(memory_copy(0, (uintptr_t)host, slot_at(0), 4 * PAGE), 0);
    assert_int_equal(memory_copy(1, (uintptr_t)host, slot_at(0), 16), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(vmm_set_access(slot_at(0), 4 * PAGE, 0, BOTH), CUDA_SUCCESS);
    assert_int_equal(memory_set(0, slot_at(1) + 5, 2 * PAGE, "\x12", 1), 0);
    assert_int_equal(load(0, slot_at(3)), 0x12121212);
    assert_true(memory_contains(slot_at(1) + 1, 3 * PAGE - 1, &kind));
    assert_int_equal(kind, MEMORY_MAPPED);
    assert_false(memory_contains(slot_at(1) + 1, 3 * PAGE, &kind));
    assert_int_equal(vmm_unmap(slot_at(0), 4 * PAGE), CUDA_SUCCESS);
    assert_int_equal(memory_copy(0, slot_at(0), (uintptr_t)host, 16), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(vmm_release(handle), CUDA_SUCCESS);
    free(host);
}

/* Handles take the card's capacity when they are created, not when they are mapped. */
static void test_capacity(void **state)
{
    CUmemAllocationProp prop = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    CUmemGenericAllocationHandle most, other;
    CUdeviceptr managed = 0;
    size_t before, left, total;
    uint32_t word;

    (void)state;
    memory_capacity(0, &before, &total);
    assert_int_equal(before, 32 * MIB);
    /* Managed blocks make way. */
    assert_int_equal(memory_alloc(MEMORY_MANAGED, 0, CTX, 4 * PAGE, CU_MEM_ATTACH_GLOBAL, &managed),
                     CUDA_SUCCESS);
    assert_int_equal(um_prefetch(managed, 4 * PAGE, 0), CUDA_SUCCESS);
    assert_int_equal(counters(0).managed_resident_bytes, 4 * PAGE);
    most = on_device(0, 15);
    assert_int_equal(counters(0).device_used_bytes, 15 * PAGE);
    assert_int_equal(counters(0).managed_resident_bytes, PAGE);
    assert_int_equal(vmm_create(2 * PAGE, &prop, &other), CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(vmm_create(SIZE_MAX / PAGE * PAGE, &prop, &other), CUDA_ERROR_OUT_OF_MEMORY);
    other = create(CU_MEM_LOCATION_TYPE_HOST, 0, 2);
    assert_int_equal(counters(0).device_used_bytes, 15 * PAGE);
    assert_int_equal(vmm_map(slot_at(0), 15 * PAGE, most), CUDA_SUCCESS);
    assert_int_equal(vmm_set_access(slot_at(0), 15 * PAGE, 0, BOTH), CUDA_SUCCESS);
    word = load(0, slot_at(14)); /* fresh memory is rubbish: a NaN */
    assert_true((word & 0x7F800000u) == 0x7F800000u && (word & 0x007FFFFFu));
    assert_int_equal(vmm_release(most), CUDA_SUCCESS);
    assert_int_equal(counters(0).device_used_bytes, 15 * PAGE);
    assert_int_equal(vmm_unmap(slot_at(0), 15 * PAGE), CUDA_SUCCESS);
    assert_int_equal(counters(0).device_used_bytes, 0);
    assert_int_equal(vmm_release(other), CUDA_SUCCESS);
    assert_int_equal(memory_free(MEMORY_MANAGED, managed), CUDA_SUCCESS);
    memory_capacity(0, &left, &total);
    assert_int_equal(left, before);
}

/* What belongs to no context outlives them all; a handle that is gone is no handle. */
static void test_handles(void **state)
{
    CUmemGenericAllocationHandle handle = on_device(0, 1), again = 0;
    CUmemAllocationProp prop;

    (void)state;
    assert_int_equal(vmm_map(slot_at(0), PAGE, handle), CUDA_SUCCESS);
    memory_context_destroyed(CTX);
    assert_int_equal(vmm_release(handle), CUDA_SUCCESS);
    assert_int_equal(vmm_release(handle), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vmm_properties(handle, &prop), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vmm_map(slot_at(1), PAGE, handle), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vmm_retain(slot_at(0) + PAGE - 1, &again), CUDA_SUCCESS);
    assert_int_equal(again, handle);
    assert_int_equal(vmm_properties(handle, &prop), CUDA_SUCCESS);
    assert_int_equal(vmm_unmap(slot_at(0), PAGE), CUDA_SUCCESS);
    assert_int_equal(vmm_release(again), CUDA_SUCCESS);
    assert_int_equal(vmm_release(again), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vmm_release(0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vmm_release(17), CUDA_ERROR_INVALID_VALUE);
}

/* A handle is mapped whole, at a place of its own that is reserved to its end. */
static void test_mappings_refused(void **state)
{
    CUmemGenericAllocationHandle handle = on_device(0, 2);
    CUdeviceptr last = slot_at(SLOTS - 1);

    (void)state;
    assert_int_equal(vmm_map(slot_at(0), PAGE, handle), CUDA_ERROR_NOT_SUPPORTED);
    assert_int_equal(vmm_map(slot_at(0), 3 * PAGE, handle), CUDA_ERROR_NOT_SUPPORTED);
    assert_int_equal(vmm_map(slot_at(0), PAGE / 2, handle), CUDA_ERROR_NOT_SUPPORTED);
    assert_int_equal(vmm_map(slot_at(0) + PAGE / 2, 2 * PAGE, handle), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vmm_map(last, 2 * PAGE, handle), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vmm_map(last + PAGE, 2 * PAGE, handle), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vmm_map(slot_at(0), 2 * PAGE, handle), CUDA_SUCCESS);
    assert_int_equal(vmm_map(slot_at(1), 2 * PAGE, handle), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vmm_unmap(slot_at(0), 2 * PAGE), CUDA_SUCCESS);
    assert_int_equal(vmm_release(handle), CUDA_SUCCESS);
}

static void test_reservations(void **state)
{
    CUdeviceptr p[8], single[200];

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(vmm_reserve(3 * PAGE, PAGE << i, &p[i]), CUDA_SUCCESS);
        assert_int_equal(p[i] % (PAGE << i), 0);
        for (unsigned j = 0; j < i; j++)
            assert_true(p[j] + 3 * PAGE <= p[i] || p[i] + 3 * PAGE <= p[j]);
    }
    /* What alignment cut off was given back, that and no more. */
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(vmm_reserve(PAGE, 0, &single[i]), CUDA_SUCCESS);
        for (unsigned j = 0; j < i; j++)
            assert_int_not_equal(single[j], single[i]);
        for (unsigned j = 0; j < 8; j++)
            assert_true(single[i] - p[j] >= 3 * PAGE);
    }
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(vmm_unreserve(single[i], PAGE), CUDA_SUCCESS);
    assert_int_equal(vmm_unreserve(p[0], 2 * PAGE), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vmm_unreserve(p[0] + PAGE, 2 * PAGE), CUDA_ERROR_INVALID_VALUE);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(vmm_unreserve(p[i], 3 * PAGE), CUDA_SUCCESS);
    assert_int_equal(vmm_unreserve(p[0], 3 * PAGE), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vmm_reserve((size_t)1 << 60, 0, &p[0]), CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(vmm_reserve(PAGE, (size_t)1 << 62, &p[0]), CUDA_ERROR_OUT_OF_MEMORY);
}

/* The table: what is mapped at each slot. */
static struct {
    int is_first;  /* of its mapping */
    size_t pages;  /* of its mapping; 0: nothing is mapped */
    uint32_t word; /* at the start of the physical page */
    unsigned access[2];
} g_slot[SLOTS];

static uint64_t g_seed = 1;

static size_t random_below(size_t n)
{
    g_seed = g_seed * 6364136223846793005ull + 1442695040888963407ull;
    return (size_t)(g_seed >> 33) % n;
}

/* Are these slots whole mappings? */
static int is_whole(size_t first, size_t pages)
{
    size_t at = first;

    while (at < first + pages && at < SLOTS && g_slot[at].pages && g_slot[at].is_first)
        at += g_slot[at].pages;
    return at == first + pages;
}

static void random_map(const CUmemGenericAllocationHandle handles[3])
{
    size_t h = random_below(3), slot = random_below(SLOTS), pages = h + 1;
    int fits = slot + pages <= SLOTS;

    for (size_t i = 0; fits && i < pages; i++)
        fits = !g_slot[slot + i].pages;
    assert_int_equal(vmm_map(slot_at(slot), pages * PAGE, handles[h]),
                     fits ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
    for (size_t i = 0; fits && i < pages; i++) {
        memset(&g_slot[slot + i], 0, sizeof(g_slot[0]));
        g_slot[slot + i].is_first = i == 0;
        g_slot[slot + i].pages = pages;
        g_slot[slot + i].word = (uint32_t)(100 * (h + 1) + i);
    }
}

static void random_change(const CUmemGenericAllocationHandle handles[3])
{
    static const unsigned rights[] = {0, MMU_READ, BOTH};
    size_t slot = random_below(SLOTS), pages = 1 + random_below(5), what = random_below(4);
    unsigned access = rights[random_below(3)];
    int device = (int)random_below(2);
    CUresult expected;

    if (what == 0) {
        random_map(handles);
        return;
    }
    if (random_below(2) && g_slot[slot].pages)
        pages = g_slot[slot].pages;
    expected = is_whole(slot, pages) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    if (what == 1)
        assert_int_equal(vmm_unmap(slot_at(slot), pages * PAGE), expected);
    else
        assert_int_equal(vmm_set_access(slot_at(slot), pages * PAGE, device, access), expected);
    for (size_t i = 0; expected == CUDA_SUCCESS && i < pages; i++) {
        if (what == 1)
            g_slot[slot + i].pages = 0;
        else
            g_slot[slot + i].access[device] = access;
    }
}

static void check_slots(void)
{
    for (size_t i = 0; i < SLOTS; i++) {
        for (int device = 0; device < 2; device++) {
            unsigned access = g_slot[i].pages ? g_slot[i].access[device] : 0, told = 77;
            uint32_t word = 0;

            assert_int_equal(device_access(device, slot_at(i), MMU_READ, &word),
                             access & MMU_READ ? 0 : CUDA_ERROR_ILLEGAL_ADDRESS);
            if (access & MMU_READ)
                assert_int_equal(word, g_slot[i].word);
            word = g_slot[i].word;
            assert_int_equal(device_access(device, slot_at(i), MMU_WRITE, &word),
                             access & MMU_WRITE ? 0 : CUDA_ERROR_ILLEGAL_ADDRESS);
            assert_int_equal(vmm_access(slot_at(i) + 3, device, &told),
                             g_slot[i].pages ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
            assert_int_equal(told, g_slot[i].pages ? access : 77);
        }
    }
}

static void test_random_against_a_table(void **state)
{
    const CUmemGenericAllocationHandle handles[] = {on_device(0, 1), on_device(1, 2),
                                                    create(CU_MEM_LOCATION_TYPE_HOST_NUMA, 0, 3)};

    (void)state;
    for (size_t h = 0; h < 3; h++) {
        size_t pages = h + 1;

        assert_int_equal(vmm_map(slot_at(0), pages * PAGE, handles[h]), CUDA_SUCCESS);
        assert_int_equal(vmm_set_access(slot_at(0), pages * PAGE, 0, BOTH), CUDA_SUCCESS);
        for (size_t i = 0; i < pages; i++)
            store(0, slot_at(i), (uint32_t)(100 * (h + 1) + i));
        assert_int_equal(vmm_unmap(slot_at(0), pages * PAGE), CUDA_SUCCESS);
    }
    for (int i = 0; i < 6000; i++) {
        random_change(handles);
        if (i % 4 == 0)
            check_slots();
    }
    for (size_t i = 0; i < SLOTS; i++)
        if (g_slot[i].pages && g_slot[i].is_first)
            assert_int_equal(vmm_unmap(slot_at(i), g_slot[i].pages * PAGE), CUDA_SUCCESS);
    for (size_t h = 0; h < 3; h++)
        assert_int_equal(vmm_release(handles[h]), CUDA_SUCCESS);
    assert_int_equal(counters(0).device_used_bytes, 0);
    assert_int_equal(counters(1).device_used_bytes, 0);
}

static uint64_t g_now_ns;

static uint64_t now_ns(void)
{
    return g_now_ns;
}

static void sleep_until_ns(uint64_t ns)
{
    if (ns > g_now_ns)
        g_now_ns = ns;
}

/* What a call takes of its caller in paced mode; nothing when it is refused. */
static void test_paced_by_the_page(void **state)
{
    const struct pace_clock clock = {now_ns, sleep_until_ns};
    const struct pace_costs costs = {.create_page_ns = 1000,
                                     .map_page_ns = 10000,
                                     .access_page_ns = 100000,
                                     .unmap_page_ns = 1000000};
    CUmemGenericAllocationHandle handle;

    (void)state;
    pace_start(1, &costs, &clock);
    handle = on_device(0, 2);
    assert_int_equal(g_now_ns, 2000);
    assert_int_equal(vmm_map(slot_at(0), 2 * PAGE, handle), CUDA_SUCCESS);
    assert_int_equal(g_now_ns, 22000);
    assert_int_equal(vmm_map(slot_at(0), 2 * PAGE, handle), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vmm_set_access(slot_at(0), PAGE, 0, BOTH), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vmm_unmap(slot_at(0), PAGE), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(g_now_ns, 22000);
    assert_int_equal(vmm_set_access(slot_at(0), 2 * PAGE, 0, BOTH), CUDA_SUCCESS);
    assert_int_equal(g_now_ns, 222000);
    assert_int_equal(vmm_unmap(slot_at(0), 2 * PAGE), CUDA_SUCCESS);
    assert_int_equal(g_now_ns, 2222000);
    assert_int_equal(vmm_release(handle), CUDA_SUCCESS);
    pace_start(0, &costs, &clock);
}

static int setup(void **state)
{
    (void)state;
    setenv("SIMCUDA_VRAM", "32MiB", 1);
    if (memory_init(2))
        return -1;
    return vmm_reserve(SLOTS * PAGE, 0, &g_base) != CUDA_SUCCESS;
}

static int teardown(void **state)
{
    (void)state;
    return vmm_unreserve(g_base, SLOTS * PAGE) != CUDA_SUCCESS;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_remote_accesses_are_counted),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_capacity),
        cmocka_unit_test(test_handles),
        cmocka_unit_test(test_mappings_refused),
        cmocka_unit_test(test_reservations),
        cmocka_unit_test(test_random_against_a_table),
        cmocka_unit_test(test_paced_by_the_page),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
