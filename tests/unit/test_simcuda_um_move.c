/* The simulated devices' unified memory: prefetch, attributes, eviction, copies, contention.
 *
 * Strategy: as in test_simcuda_um.c, bytes and counters are compared after each step. Pressure
 * comes from managed memory beyond the card's 16 MiB and from plain allocations beside it. At the
 * end devices, host threads and advice fight for the same blocks.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "um_fixture.h"

/* Prefetch ----------------------------------------------------------------------------------- */

static void test_prefetch_moves_and_populates(void **state)
{
    CUdeviceptr a = managed(2 * BLOCK);

    (void)state;
    *host(a) = 61;
    mark();
    prefetch(a, 2 * BLOCK, 0);
    assert_int_equal(DELTA(0, prefetch_h2d_bytes), BLOCK);
    assert_int_equal(resident(0), 2 * BLOCK);
    assert_int_equal(load(a), 61);
    assert_int_equal(load(a + BLOCK), 0);
    assert_int_equal(DELTA(0, gpu_faults), 0);
    store(a, 62);
    assert_int_equal(DELTA(0, gpu_faults), 0); /* the host's copy is gone */
    prefetch(a, 2 * BLOCK, CPU);
    assert_int_equal(DELTA(0, prefetch_d2h_bytes), 2 * BLOCK);
    assert_int_equal(resident(0), 0);
    assert_int_equal(*host(a), 62);
    assert_int_equal(DELTA(0, cpu_faults), 0);
    release(a);
}

static void test_arguments_are_checked(void **state)
{
    CUdeviceptr a = managed(BLOCK), tail = managed(5000), plain;
    uint32_t stack = 0;

    (void)state;
    assert_int_equal(memory_alloc(MEMORY_DEVICE, 0, CTX, BLOCK, 0, &plain), 0);
    assert_int_equal(um_prefetch(a, BLOCK + 1, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(um_prefetch(tail, 8192, 0), 0); /* whole pages */
    assert_int_equal(um_prefetch(tail, 8193, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(um_prefetch(tail + 8192, 1, 0), CUDA_ERROR_INVALID_VALUE);
    release(tail);
    assert_int_equal(um_prefetch(a, 0, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(um_prefetch(plain, BLOCK, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(um_prefetch((uintptr_t)&stack, 4, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(um_prefetch(a, BLOCK, 2), CUDA_ERROR_INVALID_DEVICE);
    assert_int_equal(um_prefetch(a, BLOCK, NONE), CUDA_ERROR_INVALID_DEVICE);
    assert_int_equal(um_advise(a, BLOCK, CU_MEM_ADVISE_SET_ACCESSED_BY, 5),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(um_advise(a, BLOCK, CU_MEM_ADVISE_SET_READ_MOSTLY, 5), 0);
    assert_int_equal(um_advise(a, BLOCK, (CUmem_advise)7, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(um_advise(plain, BLOCK, CU_MEM_ADVISE_SET_READ_MOSTLY, 0),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(memory_free(MEMORY_DEVICE, plain), 0);
    release(a);
}

static void test_range_attributes(void **state)
{
    CUdeviceptr a = managed(2 * BLOCK);
    int value, list[3];

    (void)state;
#define ATTRIBUTE(name, bytes)                                                                     \
    (assert_int_equal(                                                                             \
         um_range_attribute(&value, sizeof(value), CU_MEM_RANGE_ATTRIBUTE_##name, a, bytes), 0),   \
     value)
    assert_int_equal(ATTRIBUTE(READ_MOSTLY, 2 * BLOCK), 0);
    assert_int_equal(ATTRIBUTE(PREFERRED_LOCATION, 2 * BLOCK), NONE);
    assert_int_equal(ATTRIBUTE(LAST_PREFETCH_LOCATION, 2 * BLOCK), NONE);
    advise(a, BLOCK, CU_MEM_ADVISE_SET_READ_MOSTLY, 0);
    advise(a, 2 * BLOCK, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CPU);
    advise(a, BLOCK, CU_MEM_ADVISE_SET_ACCESSED_BY, 0);
    advise(a, 2 * BLOCK, CU_MEM_ADVISE_SET_ACCESSED_BY, 1);
    advise(a + BLOCK, BLOCK, CU_MEM_ADVISE_SET_ACCESSED_BY, CPU);
    prefetch(a, BLOCK, 1);
    assert_int_equal(ATTRIBUTE(READ_MOSTLY, BLOCK), 1);
    assert_int_equal(ATTRIBUTE(READ_MOSTLY, 2 * BLOCK), 0);
    assert_int_equal(ATTRIBUTE(PREFERRED_LOCATION, 2 * BLOCK), CPU);
    assert_int_equal(ATTRIBUTE(PREFERRED_LOCATION_TYPE, 2 * BLOCK), CU_MEM_LOCATION_TYPE_HOST);
    assert_int_equal(ATTRIBUTE(LAST_PREFETCH_LOCATION, BLOCK), 1);
    assert_int_equal(ATTRIBUTE(LAST_PREFETCH_LOCATION, 2 * BLOCK), NONE);
    assert_int_equal(ATTRIBUTE(LAST_PREFETCH_LOCATION_TYPE, BLOCK), CU_MEM_LOCATION_TYPE_DEVICE);
    assert_int_equal(ATTRIBUTE(LAST_PREFETCH_LOCATION_ID, BLOCK), 1);
    assert_int_equal(
        um_range_attribute(list, sizeof(list), CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY, a, BLOCK), 0);
    assert_int_equal(list[0], 0);
    assert_int_equal(list[1], 1);
    assert_int_equal(list[2], NONE);
    assert_int_equal(
        um_range_attribute(list, sizeof(list), CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY, a, 2 * BLOCK),
        0);
    assert_int_equal(list[0], 1);
    assert_int_equal(list[1], NONE);
    assert_int_equal(
        um_range_attribute(list, 8, CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, a, BLOCK),
        CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(um_range_attribute(list, 4, (CUmem_range_attribute)99, a, BLOCK),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(um_range_attribute(list, 4, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, a, 3 * BLOCK),
                     CUDA_ERROR_INVALID_VALUE);
#undef ATTRIBUTE
    release(a);
}

/* Pressure ----------------------------------------------------------------------------------- */

static void test_eviction_is_first_in_first_out(void **state)
{
    CUdeviceptr a = managed(10 * BLOCK);
    size_t i;

    (void)state;
    for (i = 0; i < 8; i++)
        store(a + i * BLOCK, (uint32_t)(100 + i));
    assert_int_equal(resident(0), 8 * BLOCK);
    assert_int_equal(load(a), 100); /* an access does not make a block younger */
    mark();
    store(a + 8 * BLOCK, 108);
    assert_int_equal(DELTA(0, evicted_blocks), 1);
    assert_int_equal(DELTA(0, evicted_write_back_bytes), BLOCK);
    assert_int_equal(resident(0), 8 * BLOCK);
    assert_int_equal(*host(a), 100); /* it was the first block: no fault */
    assert_int_equal(DELTA(0, cpu_faults), 0);
    for (i = 1; i < 9; i++)
        assert_int_equal(load(a + i * BLOCK), 100 + i);
    assert_int_equal(DELTA(0, gpu_faults), 1);
    assert_int_equal(now(0).peak_managed_resident_bytes, 16 * MIB);
    release(a);
}

static void test_duplicates_are_evicted_without_write_back(void **state)
{
    CUdeviceptr a = managed(9 * BLOCK);
    size_t i;

    (void)state;
    for (i = 0; i < 9; i++)
        *host(a + i * BLOCK) = (uint32_t)i;
    advise(a, 9 * BLOCK, CU_MEM_ADVISE_SET_READ_MOSTLY, 0);
    mark();
    prefetch(a, 9 * BLOCK, 0);
    assert_int_equal(DELTA(0, evicted_blocks), 1);
    assert_int_equal(DELTA(0, evicted_write_back_bytes), 0);
    assert_int_equal(DELTA(0, dropped_bytes), BLOCK);
    assert_int_equal(*host(a), 0);
    *host(a) = 5; /* alone on the host again: writable without a fault */
    assert_int_equal(DELTA(0, cpu_faults), 0);
    release(a);
}

static void test_plain_allocations_push_managed_blocks_out(void **state)
{
    CUdeviceptr a = managed(8 * BLOCK), plain, more;
    size_t left, total, i;

    (void)state;
    for (i = 0; i < 8; i++)
        store(a + i * BLOCK, (uint32_t)i);
    memory_capacity(0, &left, &total);
    assert_int_equal(left, 0);
    assert_int_equal(memory_alloc(MEMORY_DEVICE, 0, CTX, 16 * MIB, 0, &plain), 0);
    assert_int_equal(resident(0), 0);
    assert_int_equal(DELTA(0, evicted_write_back_bytes), 8 * BLOCK);
    assert_int_equal(memory_alloc(MEMORY_DEVICE, 0, CTX, 1, 0, &more), CUDA_ERROR_OUT_OF_MEMORY);
    /* Nothing can make room now, so the device uses the host's copy in place. */
    mark();
    assert_int_equal(load(a + BLOCK), 1);
    store(a + BLOCK, 77);
    assert_int_equal(*host(a + BLOCK), 77);
    assert_int_equal(DELTA(0, remote_read_bytes), 4);
    assert_int_equal(DELTA(0, remote_write_bytes), 4);
    prefetch(a, 8 * BLOCK, 0);
    assert_int_equal(resident(0), 0);
    assert_int_equal(memory_free(MEMORY_DEVICE, plain), 0);
    mark();
    assert_int_equal(load(a + BLOCK), 77);
    assert_int_equal(DELTA(0, fault_h2d_bytes), BLOCK);
    release(a);
}

static void test_fresh_blocks_on_a_full_card(void **state)
{
    CUdeviceptr a = managed(BLOCK), d = managed(BLOCK), plain;

    (void)state;
    store_on(1, d, 9);
    advise(d, BLOCK, CU_MEM_ADVISE_SET_READ_MOSTLY, 0);
    assert_int_equal(memory_alloc(MEMORY_DEVICE, 0, CTX, 16 * MIB, 0, &plain), 0);
    assert_int_equal(load(a), 0);
    store(a, 4);
    assert_int_equal(*host(a), 4);
    assert_int_equal(load(d), 9);
    assert_int_equal(load_on(1, d), 9);
    store(d, 10);
    assert_int_equal(DELTA(0, gpu_faults), 3); /* a's first touch, d's, the collapse */
    assert_int_equal(load_on(1, d), 10);
    assert_int_equal(*host(d), 10);
    assert_int_equal(resident(0), 0);
    assert_int_equal(memory_free(MEMORY_DEVICE, plain), 0);
    release(a);
    release(d);
}

/* Copies ------------------------------------------------------------------------------------- */

static void test_copies_leave_blocks_where_they_are(void **state)
{
    CUdeviceptr a = managed(BLOCK), b = managed(BLOCK);
    uint32_t word = 71, back = 0;

    (void)state;
    *host(a) = 70;
    mark();
    assert_int_equal(memory_copy(0, a + 4, (uintptr_t)&word, 4), 0);
    assert_int_equal(*host(a + 4), 71);
    assert_int_equal(DELTA(0, cpu_faults), 0);
    assert_int_equal(resident(0), 0);
    assert_int_equal(memory_copy(0, b, a, 8), 0); /* unpopulated: on the device */
    assert_int_equal(resident(0), BLOCK);
    assert_int_equal(DELTA(0, copy_h2d_bytes), 8);
    assert_int_equal(load(b + 4), 71);
    assert_int_equal(load(b + 8), 0);
    assert_int_equal(DELTA(0, gpu_faults), 0);
    assert_int_equal(memory_copy(0, (uintptr_t)&back, b + 4, 4), 0);
    assert_int_equal(back, 71);
    assert_int_equal(DELTA(0, copy_d2h_bytes), 4);
    assert_int_equal(resident(0), BLOCK);
    release(a);
    release(b);
}

static void test_copies_populate_at_the_preferred_location(void **state)
{
    CUdeviceptr a = managed(2 * BLOCK);
    uint32_t word = 72;

    (void)state;
    advise(a, BLOCK, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CPU);
    advise(a + BLOCK, BLOCK, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, 1);
    assert_int_equal(memory_copy(0, a, (uintptr_t)&word, 4), 0);
    assert_int_equal(memory_set(0, a + BLOCK, BLOCK, &word, 4), 0);
    assert_int_equal(resident(0), 0);
    assert_int_equal(resident(1), BLOCK);
    assert_int_equal(*host(a), 72);
    assert_int_equal(DELTA(0, cpu_faults), 0);
    assert_int_equal(load_on(1, a + BLOCK + 400), 72);
    release(a);
}

static void test_copies_collapse_duplicates(void **state)
{
    CUdeviceptr a = duplicated(73);
    uint32_t word = 74;

    (void)state;
    assert_int_equal(memory_copy(0, a, (uintptr_t)&word, 4), 0);
    assert_int_equal(DELTA(0, collapsed_bytes), BLOCK);
    assert_int_equal(load(a), 74);
    assert_int_equal(*host(a), 74);
    release(a);
}

static void test_copies_past_the_end_are_illegal(void **state)
{
    CUdeviceptr a = managed(100);
    char bytes[104] = {0};

    (void)state;
    assert_int_equal(memory_copy(0, a, (uintptr_t)bytes, 100), 0);
    assert_int_equal(memory_copy(0, a, (uintptr_t)bytes, 101), CUDA_ERROR_ILLEGAL_ADDRESS);
    release(a);
}

/* A copy whose two sides do not fit into the card together still ends. */
static void test_copy_on_a_card_of_one_block(void **state)
{
    CUdeviceptr a = managed(BLOCK), b = managed(BLOCK), plain;

    (void)state;
    assert_int_equal(memory_alloc(MEMORY_DEVICE, 0, CTX, 14 * MIB, 0, &plain), 0);
    store(a, 75);
    assert_int_equal(memory_copy(0, b, a, BLOCK), 0);
    assert_int_equal(load(b), 75);
    assert_int_equal(load(a), 75);
    assert_int_equal(memory_free(MEMORY_DEVICE, plain), 0);
    release(a);
    release(b);
}

/* Many threads ------------------------------------------------------------------------------- */

#define COUNTERS 6

/* The thread sanitizer looks at every word of every migration. */
#if defined(__SANITIZE_THREAD__)
#define TURNS      100
#define MIGRATIONS 10
#else
#define TURNS      600
#define MIGRATIONS 50
#endif

struct turns {
    CUdeviceptr base;
    int device; /* CPU: a host thread */
    unsigned seed;
};

/* Adds one to a random block's counter of its own. */
static void *take_turns(void *arg)
{
    const struct turns *turns = arg;
    unsigned seed = turns->seed;
    int i;

    for (i = 0; i < TURNS; i++) {
        CUdeviceptr addr =
            turns->base + (CUdeviceptr)(rand_r(&seed) % COUNTERS) * BLOCK + 64 * (turns->seed + 1);

        if (turns->device == CPU) {
            *host(addr) = *host(addr) + 1;
        } else {
            struct mmu_run run;
            uint32_t *at, value;

            memory_run_begin(turns->device, &run);
            at = mmu_at(&run, addr, 4, MMU_READ);
            value = at ? *at + 1 : 0;
            at = mmu_at(&run, addr, 4, MMU_WRITE);
            if (at)
                *at = value;
            memory_run_end(&run);
        }
    }
    return NULL;
}

/* A block of those that are fought for, another each time. */
static CUdeviceptr any_block(const struct turns *turns, unsigned *seed)
{
    return turns->base + (CUdeviceptr)(rand_r(seed) % COUNTERS) * BLOCK;
}

/* Without READ_MOSTLY: together they may lose writes, see um.h. */
static void *churn_places(void *arg)
{
    const struct turns *turns = arg;
    unsigned seed = turns->seed;

    for (int i = 0; i < TURNS / 4; i++) {
        CUdeviceptr addr = any_block(turns, &seed);
        int to = rand_r(&seed) % 3 - 1;

        if (rand_r(&seed) % 3 == 0)
            um_advise(addr, BLOCK, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, to);
        else
            um_prefetch(addr, BLOCK, to);
    }
    return NULL;
}

/* Duplicates that come by faults. */
static void *churn_duplicates(void *arg)
{
    const struct turns *turns = arg;
    unsigned seed = turns->seed;

    for (int i = 0; i < TURNS / 4; i++)
        um_advise(
            any_block(turns, &seed), BLOCK,
            rand_r(&seed) % 2 ? CU_MEM_ADVISE_SET_READ_MOSTLY : CU_MEM_ADVISE_UNSET_READ_MOSTLY, 0);
    return NULL;
}

struct writer {
    CUdeviceptr addr;
    atomic_int stop;
    uint32_t count;
};

static void *write_on(void *arg)
{
    struct writer *writer = arg;

    while (!atomic_load(&writer->stop)) {
        *host(writer->addr) = *host(writer->addr) + 1;
        writer->count++;
    }
    return NULL;
}

/* The first word of the block is copied long before the last: a write in between must fault. */
static void test_host_writes_during_a_migration_are_not_lost(void **state)
{
    struct writer writer = {.addr = managed(BLOCK)};
    pthread_t thread;
    int i;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, write_on, &writer), 0);
    for (i = 0; i < MIGRATIONS; i++) {
        uint32_t before = load_on(i % 2, writer.addr);

        prefetch(writer.addr, BLOCK, i % 2);
        while (load_on(i % 2, writer.addr) == before)
            sched_yield();
    }
    atomic_store(&writer.stop, 1);
    pthread_join(thread, NULL);
    assert_int_equal(*host(writer.addr), writer.count);
    release(writer.addr);
}

/* Two devices with room for two blocks each, the host and advice fight for six blocks. Whatever the
 * order, every thread finds its own counts: no write was lost and nobody waits for ever. */
static void contend(void *(*churn)(void *))
{
    CUdeviceptr a = managed(COUNTERS * BLOCK), plain[2];
    struct turns turns[5] = {{a, 0, 0}, {a, 0, 1}, {a, 1, 2}, {a, CPU, 3}, {a, CPU, 4}};
    pthread_t threads[5];
    size_t i, b;

    assert_int_equal(memory_alloc(MEMORY_DEVICE, 0, CTX, 12 * MIB, 0, &plain[0]), 0);
    assert_int_equal(memory_alloc(MEMORY_DEVICE, 1, CTX, 12 * MIB, 0, &plain[1]), 0);
    for (i = 0; i < 5; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i == 4 ? churn : take_turns, &turns[i]),
                         0);
    for (i = 0; i < 5; i++)
        pthread_join(threads[i], NULL);
    for (i = 0; i < 4; i++) {
        uint32_t sum = 0;

        for (b = 0; b < COUNTERS; b++)
            sum += *host(a + b * BLOCK + 64 * (i + 1));
        assert_int_equal(sum, TURNS);
    }
    assert_true(DELTA(0, gpu_faults) > 0 && DELTA(1, gpu_faults) > 0);
    assert_true(now(0).peak_device_bytes <= 16 * MIB);
    assert_int_equal(memory_free(MEMORY_DEVICE, plain[0]), 0);
    assert_int_equal(memory_free(MEMORY_DEVICE, plain[1]), 0);
    release(a);
}

static void test_nothing_is_lost_while_places_change(void **state)
{
    (void)state;
    contend(churn_places);
}

static void test_nothing_is_lost_while_duplicates_come_and_go(void **state)
{
    (void)state;
    contend(churn_duplicates);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(test_##name, um_setup)
    const struct CMUnitTest tests[] = {
        TEST(prefetch_moves_and_populates),
        TEST(arguments_are_checked),
        TEST(range_attributes),
        TEST(eviction_is_first_in_first_out),
        TEST(duplicates_are_evicted_without_write_back),
        TEST(plain_allocations_push_managed_blocks_out),
        TEST(fresh_blocks_on_a_full_card),
        TEST(copies_leave_blocks_where_they_are),
        TEST(copies_populate_at_the_preferred_location),
        TEST(copies_collapse_duplicates),
        TEST(copies_past_the_end_are_illegal),
        TEST(copy_on_a_card_of_one_block),
        TEST(host_writes_during_a_migration_are_not_lost),
        TEST(nothing_is_lost_while_places_change),
        TEST(nothing_is_lost_while_duplicates_come_and_go),
    };

    setenv("SIMCUDA_VRAM", "16MiB", 1);
    if (memory_init(2) != CUDA_SUCCESS)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
