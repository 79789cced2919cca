/* The pacing of the simulated device: durations, engines, deadlines, without a device.
 *
 * Strategy: the clock is a number of the test's own. Sleeping sets it, and a thread can be made to
 * wake up late; so every start and end is known to the nanosecond, and what late waking does to the
 * ends (nothing) can be stated. One real nanosecond is SCALE times less in simulated time.
 */
#define MMU_WATCHED 1

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/simcuda/pace.h"
#include "tests/simcuda/touched.h"

#define SCALE    10u
#define START_NS 1000000u /* of the real clock */
#define GB       1000000000u

static const struct pace_costs COSTS = {
    .h2d_bytes_per_s = 2u * GB,
    .d2h_bytes_per_s = 1u * GB,
    .pageable_bytes_per_s = GB / 2,
    .memory_bytes_per_s = 100ull * GB,
    .copy_ns = 100,
    .launch_ns = 1000,
    .gpu_fault_ns = 5000,
    .cpu_fault_ns = 3000,
};

static uint64_t g_now_ns; /* the real clock */
static uint64_t g_late_ns;
static unsigned g_reads;

static uint64_t now_ns(void)
{
    g_reads++;
    return g_now_ns;
}

static void sleep_until_ns(uint64_t ns)
{
    assert_true(ns > g_now_ns);
    g_now_ns = ns + g_late_ns;
}

static const struct pace_clock CLOCK = {now_ns, sleep_until_ns};

/* Real work takes that long, in simulated time. */
static void work(uint64_t ns)
{
    g_now_ns += ns * SCALE;
}

static void assert_now(uint64_t simulated_ns)
{
    assert_int_equal(g_now_ns, START_NS + simulated_ns * SCALE);
}

static int setup(void **state)
{
    (void)state;
    g_now_ns = START_NS;
    g_late_ns = 0;
    pace_start(SCALE, &COSTS, &CLOCK);
    pace_tally_take();
    return 0;
}

/* Arithmetic ----------------------------------------------------------------------------------- */

static void test_bytes_take_time_rounded_up(void **state)
{
    (void)state;
    assert_int_equal(pace_bytes_ns(0, GB), 0);
    assert_int_equal(pace_bytes_ns(1, GB), 1);
    assert_int_equal(pace_bytes_ns(1, 2u * GB), 1);
    assert_int_equal(pace_bytes_ns(3, 2u * GB), 2);
    assert_int_equal(pace_bytes_ns(4, 2u * GB), 2);
    assert_int_equal(pace_bytes_ns(5, 0), 0);
    /* 2^40 bytes times 10^9 does not fit into 64 bits. */
    assert_true(pace_bytes_ns((uint64_t)1 << 40, GB) == (uint64_t)1 << 40);
}

static void test_an_engine_serves_in_order(void **state)
{
    struct pace_queue queue = {.free_ns = 0};

    (void)state;
    assert_int_equal(pace_reserve(&queue, 100, 50, 7), 100);
    assert_int_equal(queue.free_ns, 150);
    assert_int_equal(pace_reserve(&queue, 120, 10, 1), 150); /* waits for the first */
    assert_int_equal(pace_reserve(&queue, 300, 5, 2), 300);  /* leaves the engine idle before */
    assert_int_equal(queue.free_ns, 305);
    assert_int_equal(queue.busy_ns, 65);
    assert_int_equal(queue.bytes, 10);
    assert_int_equal(queue.operations, 3);
}

static void test_a_kernel_takes_what_it_touches(void **state)
{
    struct pace_kernel kernel = {.touched_bytes = 0};

    (void)state;
    assert_int_equal(pace_kernel_ns(&COSTS, &kernel), 1000);
    kernel.touched_bytes = 500;
    assert_int_equal(pace_kernel_ns(&COSTS, &kernel), 1005);
    kernel.moved.gpu_faults = 2;
    kernel.moved.h2d_bytes = 4000;
    kernel.moved.d2h_bytes = 300;
    assert_int_equal(pace_kernel_ns(&COSTS, &kernel), 1005 + 2 * 5000 + 2000 + 300);
    /* In place it is the link's time, not the kernel's. */
    kernel.remote_read_bytes = 1 << 20;
    assert_int_equal(pace_kernel_ns(&COSTS, &kernel), 1005 + 2 * 5000 + 2000 + 300);
}

/* Transfers ------------------------------------------------------------------------------------ */

/* A transfer of ns that is ready at ready_ns. returns its end */
static uint64_t transfer(enum pace_engine engine, uint64_t ready_ns, uint64_t ns)
{
    struct pace_slot slot;

    pace_work_begin(ready_ns);
    slot = pace_slot_begin(0, engine, 10, ns);
    pace_slot_end(&slot);
    return pace_work_ns();
}

static void test_a_transfer_sleeps_to_its_end_piece_by_piece(void **state)
{
    struct pace_slot slot;

    (void)state;
    pace_work_begin(500);
    slot = pace_slot_begin(0, PACE_H2D, 1000, 4000);
    assert_now(500);
    work(30);
    pace_slot_reach(&slot, 250);
    assert_now(1500);
    pace_slot_reach(&slot, 999);
    assert_now(4496);
    work(1);
    pace_slot_end(&slot);
    assert_now(4500);
    assert_int_equal(pace_work_ns(), 4500);
}

static void test_transfers_of_one_engine_queue_up(void **state)
{
    (void)state;
    assert_int_equal(transfer(PACE_H2D, 100, 1000), 1100);
    assert_int_equal(transfer(PACE_H2D, 100, 1000), 2100);
    assert_int_equal(transfer(PACE_D2H, 100, 1000), 1100); /* the other direction is free */
    assert_int_equal(transfer(PACE_H2D, 5000, 10), 5010);
    assert_now(5010);
}

static void test_waking_up_late_does_not_add_up(void **state)
{
    uint64_t end_ns = 0;
    int i;

    (void)state;
    g_late_ns = 37 * SCALE;
    for (i = 0; i < 100; i++)
        end_ns = transfer(PACE_H2D, end_ns, 1000);
    assert_int_equal(end_ns, 100000);
    assert_now(100037);
}

static void test_real_work_that_outlasts_its_time_is_counted(void **state)
{
    struct pace_queue queues[PACE_ENGINES];
    struct pace_slot slot;

    (void)state;
    pace_work_begin(0);
    slot = pace_slot_begin(1, PACE_D2H, 10, 1000);
    work(1300);
    pace_slot_end(&slot);
    assert_now(1300);
    assert_int_equal(pace_work_ns(), 1000);
    pace_snapshot(1, queues);
    assert_int_equal(queues[PACE_D2H].overrun_ns, 300);
    assert_int_equal(queues[PACE_D2H].busy_ns, 1000);
    assert_int_equal(queues[PACE_H2D].operations, 0);
}

static void test_what_nobody_reserved_queues_when_it_is_known(void **state)
{
    (void)state;
    transfer(PACE_D2H, 0, 700);
    pace_work_begin(200);
    pace_work_transfer(0, PACE_D2H, 0, 0); /* nothing: nothing happens */
    assert_int_equal(pace_work_ns(), 200);
    pace_work_transfer(0, PACE_D2H, 64, 50);
    assert_int_equal(pace_work_ns(), 750);
    pace_work_spend(25);
    assert_now(775);
    work(100);
    pace_work_catch_up();
    assert_int_equal(pace_work_ns(), 875);
}

/* Kernels -------------------------------------------------------------------------------------- */

static uint64_t kernel(uint64_t ready_ns, const struct pace_kernel *what)
{
    pace_work_begin(ready_ns);
    pace_kernel_begin(0);
    pace_kernel_end(0, what);
    return pace_work_ns();
}

static void test_kernels_run_one_after_another(void **state)
{
    const struct pace_kernel what = {.touched_bytes = 100000};

    (void)state;
    assert_int_equal(kernel(0, &what), 2000);
    assert_int_equal(kernel(500, &what), 4000);
    assert_int_equal(kernel(9000, &what), 11000);
    assert_int_equal(transfer(PACE_H2D, 0, 10), 10); /* beside a copy */
}

static void test_reading_in_place_shares_the_link(void **state)
{
    const struct pace_kernel reads = {.remote_read_bytes = 8000};
    const struct pace_kernel writes = {.remote_write_bytes = 8000};
    const struct pace_kernel little = {.remote_read_bytes = 20};

    (void)state;
    assert_int_equal(kernel(0, &reads), 4000);
    assert_int_equal(transfer(PACE_H2D, 1000, 500), 4500); /* behind the kernel's reads */
    assert_int_equal(kernel(4000, &reads), 8500);          /* 500 of them at half the rate */
    assert_int_equal(kernel(8500, &writes), 16500);
    assert_int_equal(kernel(16500, &little), 17500); /* hidden by the launch itself */
    /* Beside a long copy it takes twice as long, and what comes behind the copy is later by it. */
    assert_int_equal(transfer(PACE_H2D, 17500, 100000), 117500);
    assert_int_equal(kernel(17500, &reads), 25500);
    assert_int_equal(transfer(PACE_H2D, 25500, 500), 122000);
}

static void test_faults_of_a_kernel_wait_for_their_copies(void **state)
{
    const struct pace_kernel faults = {.moved = {.gpu_faults = 1, .h2d_bytes = 2000}};
    struct pace_queue queues[PACE_ENGINES];

    (void)state;
    assert_int_equal(kernel(0, &faults), 1000 + 5000 + 1000);
    transfer(PACE_H2D, 7000, 20000);
    assert_int_equal(kernel(7000, &faults), 28000);
    pace_snapshot(0, queues);
    assert_int_equal(queues[PACE_H2D].bytes, 2 * 2000 + 10);
    assert_int_equal(queues[PACE_COMPUTE].busy_ns, 7000 + 21000);
}

/* The host ------------------------------------------------------------------------------------- */

static void test_a_hosts_calls_go_on_from_each_other(void **state)
{
    int i;

    (void)state;
    g_late_ns = 20 * SCALE;
    work(10000);
    for (i = 0; i < 10; i++)
        pace_host_spend(500);
    assert_now(10000 + 10 * 500 + 20);
    work(5000); /* busy elsewhere: the next call starts when it is made */
    pace_host_spend(500);
    assert_now(20020 + 500 + 20);
    pace_host_spend(0);
    assert_now(20020 + 500 + 20);
}

static void test_a_hosts_fault_takes_the_link(void **state)
{
    (void)state;
    work(10000);
    pace_host_fault(0, 0); /* nothing to fetch */
    assert_now(13000);
    pace_host_fault(0, 4000);
    assert_now(13000 + 3000 + 4000);
    assert_int_equal(transfer(PACE_D2H, 0, 10), 20010);
}

/* Off and reported ----------------------------------------------------------------------------- */

static void test_off_it_does_not_look_at_the_clock(void **state)
{
    const struct pace_kernel what = {.touched_bytes = 1};

    (void)state;
    pace_start(0, &COSTS, &CLOCK);
    g_reads = 0;
    assert_false(pace_is_on());
    assert_int_equal(pace_now_ns(), 0);
    assert_int_equal(transfer(PACE_H2D, 0, 1000), 0);
    assert_int_equal(kernel(0, &what), 0);
    pace_work_transfer(0, PACE_H2D, 1, 1);
    pace_work_spend(1);
    pace_work_catch_up();
    pace_host_spend(1);
    pace_host_fault(0, 1);
    assert_int_equal(g_reads, 0);
    assert_now(0);
}

static void test_the_report_has_a_window(void **state)
{
    const struct pace_kernel what = {.touched_bytes = 100000};
    char *text = NULL;
    size_t bytes;
    FILE *file;

    (void)state;
    transfer(PACE_H2D, 0, 1000);
    pace_window_open();
    kernel(1000, &what);
    transfer(PACE_H2D, 3000, 500);
    pace_window_open(); /* it is open */
    pace_window_close();
    transfer(PACE_H2D, 3500, 500);
    pace_window_close(); /* it is closed */
    file = open_memstream(&text, &bytes);
    assert_non_null(file);
    pace_report(file, 1);
    fclose(file);
    assert_non_null(strstr(text, "{\"scale\":10,\"costs\":{\"h2d_bytes_per_s\":2000000000,"));
    assert_non_null(
        strstr(text, "\"all\":{\"ns\":4000,\"devices\":[{\"h2d\":{\"busy_ns\":2000,\"bytes\":30,"
                     "\"operations\":3,\"overrun_ns\":0}"));
    assert_non_null(
        strstr(text, "\"window\":{\"ns\":2500,\"devices\":[{\"h2d\":{\"busy_ns\":500,\"bytes\":10,"
                     "\"operations\":1,\"overrun_ns\":0},\"d2h\":{\"busy_ns\":0,\"bytes\":0,"
                     "\"operations\":0,\"overrun_ns\":0},\"compute\":{\"busy_ns\":2000,"
                     "\"bytes\":100000,\"operations\":1,\"overrun_ns\":0}}]}}"));
    free(text);
}

/* What a kernel touched ------------------------------------------------------------------------ */

#define ADDR ((uint64_t)3 << MMU_PAGE_SHIFT)

static void *no_miss(struct mmu_run *run, uint64_t addr, unsigned bytes, enum mmu_access access)
{
    (void)bytes;
    (void)access;
    run->fault_addr = addr;
    return NULL;
}

static void test_bytes_touched_twice_count_once(void **state)
{
    struct mmu *mmu = calloc(1, sizeof(*mmu));
    struct mmu_entry *table = calloc(MMU_LEVEL_SIZE, sizeof(*table));
    uint8_t *page = calloc(1, MMU_PAGE_BYTES);
    struct touched touched = {.count = 0};
    struct mmu_run run = {.mmu = mmu, .miss = no_miss};
    int i;

    (void)state;
    assert_true(mmu && table && page);
    mmu->level1[0] = table;
    table[3] = (struct mmu_entry){.backing = page, .allowed = MMU_READ};
    assert_ptr_equal(mmu_at(&run, ADDR, 4, MMU_READ), page); /* nobody watches */
    assert_int_equal(table[3].touched, 0);
    touched_watch(&touched, &run);
    for (i = 0; i < 3; i++) {
        mmu_at(&run, ADDR + 4, 4, MMU_READ);
        mmu_at(&run, ADDR + MMU_GRANULE_BYTES - 4, 4, MMU_READ);
        mmu_at(&run, ADDR + MMU_PAGE_BYTES - 4, 4, MMU_READ);
        touched_local(&run, ADDR + MMU_GRANULE_BYTES);
    }
    assert_int_equal(touched.local_bytes, 3 * MMU_GRANULE_BYTES);
    assert_null(mmu_at(&run, ADDR, 4, MMU_WRITE)); /* refused: not touched by it */
    assert_int_equal(touched.local_bytes, 3 * MMU_GRANULE_BYTES);
    touched_end(&touched);
    assert_int_equal(table[3].touched, 0);
    assert_int_equal(touched.local_bytes, 3 * MMU_GRANULE_BYTES);
    free(page);
    free(table);
    free(mmu);
}

static void test_lines_across_the_link_count_once(void **state)
{
    struct touched touched = {.line_bytes = 128};
    struct mmu_run run = {.mmu = NULL};
    uint64_t i;

    (void)state;
    touched_remote(&run, 0x10000, MMU_READ); /* nobody watches */
    touched_watch(&touched, &run);
    for (i = 0; i < 3; i++) {
        touched_remote(&run, 0x10000, MMU_READ);
        touched_remote(&run, 0x1007c, MMU_READ);
        touched_remote(&run, 0x10080, MMU_READ);
        touched_remote(&run, 0x10000, MMU_WRITE);
    }
    assert_int_equal(touched.remote_read_bytes, 256);
    assert_int_equal(touched.remote_write_bytes, 128);
    for (i = 0; i < 1000; i++)
        touched_remote(&run, 0x7f0000000000u + i * 4096, MMU_READ);
    for (i = 0; i < 1000; i++)
        touched_remote(&run, 0x7f0000000000u + i * 4096 + 8, MMU_READ);
    assert_int_equal(touched.remote_read_bytes, 256 + 1000 * 128);
    touched_end(&touched);
    assert_false(touched.is_short);
}

static void test_lines_may_be_larger(void **state)
{
    struct touched touched = {.line_bytes = 65536};
    struct mmu_run run = {.mmu = NULL};

    (void)state;
    touched_watch(&touched, &run);
    touched_remote(&run, 0x200000, MMU_READ);
    touched_remote(&run, 0x20fffc, MMU_READ);
    touched_remote(&run, 0x210000, MMU_READ);
    assert_int_equal(touched.remote_read_bytes, 2 * 65536);
    touched_end(&touched);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_take_time_rounded_up),
        cmocka_unit_test(test_an_engine_serves_in_order),
        cmocka_unit_test(test_a_kernel_takes_what_it_touches),
        cmocka_unit_test_setup(test_a_transfer_sleeps_to_its_end_piece_by_piece, setup),
        cmocka_unit_test_setup(test_transfers_of_one_engine_queue_up, setup),
        cmocka_unit_test_setup(test_waking_up_late_does_not_add_up, setup),
        cmocka_unit_test_setup(test_real_work_that_outlasts_its_time_is_counted, setup),
        cmocka_unit_test_setup(test_what_nobody_reserved_queues_when_it_is_known, setup),
        cmocka_unit_test_setup(test_kernels_run_one_after_another, setup),
        cmocka_unit_test_setup(test_reading_in_place_shares_the_link, setup),
        cmocka_unit_test_setup(test_faults_of_a_kernel_wait_for_their_copies, setup),
        cmocka_unit_test_setup(test_a_hosts_calls_go_on_from_each_other, setup),
        cmocka_unit_test_setup(test_a_hosts_fault_takes_the_link, setup),
        cmocka_unit_test_setup(test_off_it_does_not_look_at_the_clock, setup),
        cmocka_unit_test_setup(test_the_report_has_a_window, setup),
        cmocka_unit_test(test_bytes_touched_twice_count_once),
        cmocka_unit_test(test_lines_across_the_link_count_once),
        cmocka_unit_test(test_lines_may_be_larger),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
