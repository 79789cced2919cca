/* The simulated devices' unified memory: residency, faults of either side, advice.
 *
 * Strategy: a test moves blocks by host touches, by device accesses under memory_run_begin(), and
 * by advice, and after each step asks both sides for the bytes and the counters for what had to
 * move: whether something was transferred, dropped or read remotely is what no look at the bytes
 * can tell.
 */
#include <stdlib.h>

#include "um_fixture.h"

/* Where the first touch puts the bytes ------------------------------------------------------- */

static void test_first_touch_by_the_host_stays_there(void **state)
{
    CUdeviceptr a = managed(4 * MIB);

    (void)state;
    assert_int_equal(resident(0), 0);
    assert_int_equal(*host(a), 0);
    assert_int_equal(*host(a + 4 * MIB - 4), 0);
    *host(a + 8) = 3;
    assert_int_equal(DELTA(0, cpu_faults), 2);
    assert_int_equal(DELTA(0, fault_d2h_bytes), 0);
    assert_int_equal(resident(0), 0);
    release(a);
}

static void test_first_touch_by_the_device_is_zero_and_stays_there(void **state)
{
    CUdeviceptr a = managed(4 * MIB);

    (void)state;
    assert_int_equal(load(a + 64), 0);
    store(a + 64, 5);
    assert_int_equal(load(a + 64), 5);
    assert_int_equal(DELTA(0, gpu_faults), 1);
    assert_int_equal(DELTA(0, fault_h2d_bytes), 0);
    assert_int_equal(resident(0), BLOCK);
    release(a);
    assert_int_equal(resident(0), 0);
}

static void test_reused_frames_are_zero_again(void **state)
{
    CUdeviceptr a = managed(BLOCK);

    (void)state;
    store(a, 0x12345678);
    release(a);
    a = managed(BLOCK);
    assert_int_equal(load(a), 0);
    assert_int_equal(*host(a), 0);
    release(a);
}

static void test_first_touch_goes_to_a_preferred_host(void **state)
{
    CUdeviceptr a = managed(BLOCK);

    (void)state;
    advise(a, BLOCK, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CPU);
    store(a, 11);
    assert_int_equal(load(a), 11);
    assert_int_equal(resident(0), 0);
    assert_int_equal(DELTA(0, remote_write_bytes), 4);
    assert_int_equal(DELTA(0, remote_read_bytes), 4);
    assert_int_equal(DELTA(0, gpu_faults), 1);
    assert_int_equal(*host(a), 11);
    assert_int_equal(DELTA(0, cpu_faults), 0);
    release(a);
}

/* Migration by faults ------------------------------------------------------------------------ */

static void test_faults_move_the_block_back_and_forth(void **state)
{
    CUdeviceptr a = managed(BLOCK);

    (void)state;
    *host(a) = 1;
    mark();
    assert_int_equal(load(a), 1);
    assert_int_equal(DELTA(0, fault_h2d_bytes), BLOCK);
    assert_int_equal(DELTA(0, gpu_faults), 1);
    store(a, 2);
    assert_int_equal(DELTA(0, gpu_faults), 1); /* exclusive there: no fault for the write */
    assert_int_equal(*host(a), 2);
    assert_int_equal(DELTA(0, cpu_faults), 1);
    assert_int_equal(DELTA(0, fault_d2h_bytes), BLOCK);
    assert_int_equal(resident(0), 0);
    *host(a) = 3;
    assert_int_equal(DELTA(0, cpu_faults), 1);
    assert_int_equal(load(a), 3);
    release(a);
}

static void test_last_block_moves_only_its_pages(void **state)
{
    CUdeviceptr a = managed(BLOCK + 5000);

    (void)state;
    *host(a + BLOCK) = 1;
    mark();
    assert_int_equal(load(a + BLOCK), 1);
    assert_int_equal(DELTA(0, fault_h2d_bytes), 8192);
    assert_int_equal(resident(0), BLOCK);
    release(a);
}

static void test_devices_take_blocks_from_each_other(void **state)
{
    CUdeviceptr a = managed(BLOCK);

    (void)state;
    store_on(0, a, 7);
    assert_int_equal(load_on(1, a), 7);
    assert_int_equal(resident(0), 0);
    assert_int_equal(resident(1), BLOCK);
    store_on(1, a, 8);
    assert_int_equal(*host(a), 8);
    assert_int_equal(resident(1), 0);
    assert_int_equal(DELTA(1, fault_d2h_bytes), BLOCK);
    release(a);
}

static void test_freed_managed_memory_is_gone(void **state)
{
    CUdeviceptr a = managed(BLOCK);
    uint32_t value = 0;

    (void)state;
    store(a, 1);
    release(a);
    assert_int_equal(device_access(0, a, MMU_READ, &value), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(memory_copy(0, a, (uintptr_t)&value, 4), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(um_prefetch(a, BLOCK, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(memory_free(MEMORY_MANAGED, a), CUDA_ERROR_INVALID_VALUE);
}

/* ACCESSED_BY and the preferred location ----------------------------------------------------- */

static void test_accessed_by_reads_remotely(void **state)
{
    CUdeviceptr a = managed(BLOCK);

    (void)state;
    *host(a) = 21;
    advise(a, BLOCK, CU_MEM_ADVISE_SET_ACCESSED_BY, 0);
    mark();
    assert_int_equal(load(a), 21);
    store(a, 22);
    assert_int_equal(*host(a), 22);
    assert_int_equal(DELTA(0, gpu_faults), 0);
    assert_int_equal(DELTA(0, cpu_faults), 0);
    assert_int_equal(DELTA(0, remote_read_bytes), 4);
    assert_int_equal(DELTA(0, remote_write_bytes), 4);
    /* Only for the device that was named. */
    assert_int_equal(load_on(1, a), 22);
    assert_int_equal(DELTA(1, fault_h2d_bytes), BLOCK);
    *host(a) = 23;
    advise(a, BLOCK, CU_MEM_ADVISE_UNSET_ACCESSED_BY, 0);
    mark();
    assert_int_equal(load(a), 23);
    assert_int_equal(DELTA(0, fault_h2d_bytes), BLOCK);
    release(a);
}

static void test_accessed_by_does_not_say_where_to_populate(void **state)
{
    CUdeviceptr a = managed(BLOCK);

    (void)state;
    advise(a, BLOCK, CU_MEM_ADVISE_SET_ACCESSED_BY, 0);
    store(a, 1);
    assert_int_equal(resident(0), BLOCK);
    release(a);
}

static void test_preferred_device_overrides_accessed_by(void **state)
{
    CUdeviceptr a = managed(BLOCK);

    (void)state;
    *host(a) = 21;
    advise(a, BLOCK, CU_MEM_ADVISE_SET_ACCESSED_BY, 0);
    advise(a, BLOCK, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, 0);
    mark();
    assert_int_equal(load(a), 21);
    assert_int_equal(DELTA(0, fault_h2d_bytes), BLOCK);
    release(a);
}

static void test_preferred_host_keeps_pages_there_until_prefetch(void **state)
{
    CUdeviceptr a = managed(BLOCK);

    (void)state;
    *host(a) = 31;
    advise(a, BLOCK, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CPU);
    assert_int_equal(load(a), 31);
    assert_int_equal(resident(0), 0);
    assert_int_equal(DELTA(0, remote_read_bytes), 4);
    mark();
    prefetch(a, BLOCK, 0);
    assert_int_equal(DELTA(0, prefetch_h2d_bytes), BLOCK);
    assert_int_equal(load(a), 31);
    assert_int_equal(DELTA(0, remote_read_bytes), 0);
    /* Advice itself moves nothing. */
    advise(a, BLOCK, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CPU);
    assert_int_equal(resident(0), BLOCK);
    advise(a, BLOCK, CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION, CPU);
    *host(a) = 32;
    mark();
    assert_int_equal(load(a), 32);
    assert_int_equal(DELTA(0, fault_h2d_bytes), BLOCK);
    release(a);
}

static void test_remote_pages_end_with_the_allocation(void **state)
{
    CUdeviceptr a = managed(5000);
    uint32_t value = 0;

    (void)state;
    *host(a) = 1;
    advise(a, 5000, CU_MEM_ADVISE_SET_ACCESSED_BY, 0);
    assert_int_equal(device_access(0, a + 8188, MMU_READ, &value), 0);
    assert_int_equal(device_access(0, a + 8192, MMU_READ, &value), CUDA_ERROR_ILLEGAL_ADDRESS);
    release(a);
}

/* READ_MOSTLY -------------------------------------------------------------------------------- */

static void test_read_faults_duplicate(void **state)
{
    CUdeviceptr a = managed(BLOCK);

    (void)state;
    *host(a) = 41;
    advise(a, BLOCK, CU_MEM_ADVISE_SET_READ_MOSTLY, 0);
    mark();
    assert_int_equal(load(a), 41);
    assert_int_equal(DELTA(0, fault_h2d_bytes), BLOCK);
    assert_int_equal(*host(a), 41);
    assert_int_equal(DELTA(0, cpu_faults), 0);
    assert_int_equal(load_on(1, a), 41);
    assert_int_equal(resident(0) + resident(1), 2 * BLOCK);
    release(a);
    a = managed(BLOCK);
    store(a, 42);
    advise(a, BLOCK, CU_MEM_ADVISE_SET_READ_MOSTLY, 0);
    mark();
    assert_int_equal(*host(a), 42);
    assert_int_equal(DELTA(0, fault_d2h_bytes), BLOCK);
    assert_int_equal(resident(0), BLOCK);
    release(a);
}

static void test_prefetch_duplicates(void **state)
{
    CUdeviceptr a = duplicated(43);

    (void)state;
    assert_int_equal(*host(a), 43);
    assert_int_equal(load(a), 43);
    assert_int_equal(DELTA(0, cpu_faults) + DELTA(0, gpu_faults), 0);
    prefetch(a, BLOCK, 0);
    prefetch(a, BLOCK, CPU);
    assert_int_equal(DELTA(0, prefetch_h2d_bytes) + DELTA(0, prefetch_d2h_bytes), 0);
    assert_int_equal(resident(0), BLOCK); /* a prefetch to the host drops nothing */
    release(a);
}

static void test_device_write_collapses_to_the_device(void **state)
{
    CUdeviceptr a = duplicated(44);

    (void)state;
    store(a, 45);
    assert_int_equal(DELTA(0, collapsed_bytes), BLOCK);
    assert_int_equal(DELTA(0, gpu_faults), 1);
    assert_int_equal(load(a), 45);
    assert_int_equal(*host(a), 45);
    assert_int_equal(DELTA(0, fault_d2h_bytes), BLOCK);
    release(a);
}

static void test_host_write_collapses_to_the_host(void **state)
{
    CUdeviceptr a = duplicated(46);

    (void)state;
    *host(a) = 47;
    assert_int_equal(resident(0), 0);
    assert_int_equal(DELTA(0, cpu_faults), 1);
    assert_int_equal(DELTA(0, collapsed_bytes), BLOCK);
    assert_int_equal(load(a), 47);
    assert_int_equal(DELTA(0, fault_h2d_bytes), BLOCK);
    release(a);
}

static void test_write_fault_on_the_host_only_moves(void **state)
{
    CUdeviceptr a = managed(BLOCK);

    (void)state;
    *host(a) = 48;
    advise(a, BLOCK, CU_MEM_ADVISE_SET_READ_MOSTLY, 0);
    store(a + 4, 49);
    assert_int_equal(DELTA(0, collapsed_bytes), 0);
    assert_int_equal(load(a), 48);
    store(a, 50);
    assert_int_equal(*host(a), 50);
    assert_int_equal(*host(a + 4), 49);
    release(a);
}

static void test_read_mostly_overrides_the_other_advice(void **state)
{
    CUdeviceptr a = managed(BLOCK);

    (void)state;
    *host(a) = 51;
    advise(a, BLOCK, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CPU);
    advise(a, BLOCK, CU_MEM_ADVISE_SET_ACCESSED_BY, 0);
    advise(a, BLOCK, CU_MEM_ADVISE_SET_READ_MOSTLY, 0);
    mark();
    assert_int_equal(load(a), 51);
    assert_int_equal(DELTA(0, fault_h2d_bytes), BLOCK);
    assert_int_equal(DELTA(0, remote_read_bytes), 0);
    release(a);
}

static void test_unset_drops_to_the_preferred_host_without_transfer(void **state)
{
    CUdeviceptr a = duplicated(52);

    (void)state;
    advise(a, BLOCK, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CPU);
    assert_int_equal(resident(0), BLOCK);
    advise(a, BLOCK, CU_MEM_ADVISE_UNSET_READ_MOSTLY, 0);
    assert_int_equal(resident(0), 0);
    assert_int_equal(DELTA(0, dropped_bytes), BLOCK);
    advise(a, BLOCK, CU_MEM_ADVISE_SET_READ_MOSTLY, 0);
    assert_int_equal(*host(a), 52);
    assert_int_equal(DELTA(0, cpu_faults), 0);
    assert_int_equal(DELTA(0, prefetch_d2h_bytes) + DELTA(0, fault_d2h_bytes), 0);
    prefetch(a, BLOCK, 0);
    assert_int_equal(DELTA(0, prefetch_h2d_bytes), BLOCK);
    assert_int_equal(load(a), 52);
    release(a);
}

static void test_unset_otherwise_keeps_the_device_copy(void **state)
{
    CUdeviceptr a = duplicated(53);

    (void)state;
    advise(a, BLOCK, CU_MEM_ADVISE_UNSET_READ_MOSTLY, 0);
    assert_int_equal(resident(0), BLOCK);
    assert_int_equal(DELTA(0, dropped_bytes), 0);
    store(a, 54); /* exclusive: no fault */
    assert_int_equal(DELTA(0, gpu_faults), 0);
    assert_int_equal(*host(a), 54);
    assert_int_equal(DELTA(0, fault_d2h_bytes), BLOCK);
    assert_int_equal(resident(0), 0); /* moved: duplication has ended, too */
    release(a);
}

static void test_unset_keeps_the_preferred_devices_copy(void **state)
{
    CUdeviceptr a = duplicated(55);

    (void)state;
    prefetch(a, BLOCK, 1);
    advise(a, BLOCK, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, 1);
    advise(a, BLOCK, CU_MEM_ADVISE_UNSET_READ_MOSTLY, 0);
    assert_int_equal(resident(0), 0);
    assert_int_equal(resident(1), BLOCK);
    assert_int_equal(load_on(1, a), 55);
    assert_int_equal(DELTA(1, gpu_faults), 0);
    release(a);
}

static void test_unset_never_loses_the_only_copy(void **state)
{
    CUdeviceptr a = duplicated(56);

    (void)state;
    store(a, 57); /* the device's copy is the only one now */
    mark();
    advise(a, BLOCK, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CPU);
    advise(a, BLOCK, CU_MEM_ADVISE_UNSET_READ_MOSTLY, 0);
    assert_int_equal(resident(0), BLOCK);
    assert_int_equal(DELTA(0, dropped_bytes), 0);
    assert_int_equal(load(a), 57);
    assert_int_equal(*host(a), 57);
    release(a);
}

/* As the hardware does: see um.h. */
static void test_duplicates_that_nobody_had_mapped_lose_writes(void **state)
{
    CUdeviceptr a = managed(BLOCK);

    (void)state;
    advise(a, BLOCK, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CPU);
    store(a, 60); /* fills the host's page; no thread of the program maps it */
    for (int is_mapped = 0; is_mapped < 2; is_mapped++) {
        if (is_mapped)
            prefetch(a, BLOCK, CPU);
        advise(a, BLOCK, CU_MEM_ADVISE_SET_READ_MOSTLY, 0);
        prefetch(a, BLOCK, 0);
        mark();
        store(a, 61);
        assert_int_equal(DELTA(0, gpu_faults), is_mapped);
        assert_int_equal(load(a), 61);
        advise(a, BLOCK, CU_MEM_ADVISE_UNSET_READ_MOSTLY, 0);
        assert_int_equal(load(a), is_mapped ? 61 : 60);
    }
    release(a);
}

static void test_partial_advice(void **state)
{
    CUdeviceptr a = managed(2 * BLOCK);

    (void)state;
    *host(a) = 1;
    *host(a + BLOCK) = 2;
    /* One byte of the second block: both are touched by [BLOCK - 1, BLOCK + 1). */
    advise(a + BLOCK - 1, 2, CU_MEM_ADVISE_SET_READ_MOSTLY, 0);
    advise(a, 2 * BLOCK, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CPU);
    prefetch(a, 2 * BLOCK, 0);
    assert_int_equal(*host(a) + *host(a + BLOCK), 3);
    assert_int_equal(resident(0), 2 * BLOCK);
    advise(a + 4096, 2 * BLOCK - 4096, CU_MEM_ADVISE_UNSET_READ_MOSTLY, 0);
    assert_int_equal(resident(0), BLOCK); /* the first block was not covered */
    /* Covered when the pages are: the range is rounded outwards to 4 KiB. */
    advise(a + 100, BLOCK - 200, CU_MEM_ADVISE_UNSET_READ_MOSTLY, 0);
    assert_int_equal(resident(0), 0);
    release(a);
}

static void test_last_block_is_covered_by_its_pages(void **state)
{
    CUdeviceptr a = managed(BLOCK + 5000);

    (void)state;
    *host(a + BLOCK) = 2;
    advise(a, BLOCK + 5000, CU_MEM_ADVISE_SET_READ_MOSTLY, 0);
    advise(a, BLOCK + 5000, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CPU);
    prefetch(a + BLOCK, 5000, 0);
    assert_int_equal(resident(0), BLOCK);
    advise(a + BLOCK, 5000, CU_MEM_ADVISE_UNSET_READ_MOSTLY, 0);
    assert_int_equal(resident(0), 0);
    release(a);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(test_##name, um_setup)
    const struct CMUnitTest tests[] = {
        TEST(first_touch_by_the_host_stays_there),
        TEST(first_touch_by_the_device_is_zero_and_stays_there),
        TEST(reused_frames_are_zero_again),
        TEST(first_touch_goes_to_a_preferred_host),
        TEST(faults_move_the_block_back_and_forth),
        TEST(last_block_moves_only_its_pages),
        TEST(devices_take_blocks_from_each_other),
        TEST(freed_managed_memory_is_gone),
        TEST(accessed_by_reads_remotely),
        TEST(accessed_by_does_not_say_where_to_populate),
        TEST(preferred_device_overrides_accessed_by),
        TEST(preferred_host_keeps_pages_there_until_prefetch),
        TEST(remote_pages_end_with_the_allocation),
        TEST(read_faults_duplicate),
        TEST(prefetch_duplicates),
        TEST(device_write_collapses_to_the_device),
        TEST(host_write_collapses_to_the_host),
        TEST(write_fault_on_the_host_only_moves),
        TEST(read_mostly_overrides_the_other_advice),
        TEST(unset_drops_to_the_preferred_host_without_transfer),
        TEST(unset_otherwise_keeps_the_device_copy),
        TEST(unset_keeps_the_preferred_devices_copy),
        TEST(unset_never_loses_the_only_copy),
        TEST(duplicates_that_nobody_had_mapped_lose_writes),
        TEST(partial_advice),
        TEST(last_block_is_covered_by_its_pages),
    };

    setenv("SIMCUDA_VRAM", "16MiB", 1);
    if (memory_init(2) != CUDA_SUCCESS)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
