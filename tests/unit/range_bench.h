/* range_bench.h - allocations and frees over the real range.c and residency.c, for their tests.
 *
 * A fake driver keeps books. Each test has a device of its own, for what a device has learned stays
 * with it; every one has 8 GiB until the test's file says otherwise, and so has the host.
 */
#ifndef BERTH_TEST_RANGE_BENCH_H
#define BERTH_TEST_RANGE_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pager.h"
#include "tests/unit/fake_allocation.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

static inline struct range_view view_of(CUdeviceptr p)
{
    struct range_view view;

    memset(&view, 0xa5, sizeof(view)); /* what is not answered is seen */
    assert_int_equal(range_find(p, &view), 1);
    return view;
}

static inline uint64_t free_bytes_of(CUdevice device)
{
    uint64_t free_bytes, total_bytes;

    range_capacity(device, &free_bytes, &total_bytes);
    return free_bytes;
}

/* Budgets of 8 GiB for every device and the host. */
static inline void range_bench_budgets(void)
{
    for (int i = 0; i < FAKE_DEVICES; i++)
        fake_budget(i, 8 * GIB, 8 * GIB);
}

static inline int set_host_room(void **state)
{
    (void)state;
    g_fake_policy.max_memory.cpu_bytes = 64 * MIB;
    return 0;
}

static inline int reset_host_room(void **state)
{
    (void)state;
    g_fake_policy.max_memory.cpu_bytes = 8 * GIB;
    return g_fake.misuse;
}

#endif
