/* um_fixture.h - what the tests of the simulator's unified memory share: accesses of either side.
 *
 * Two devices of 16 MiB, blocks of 2 MiB. A test starts from an empty card, which um_setup()
 * checks, and DELTA() says what a counter has counted since then or since the last mark().
 */
#ifndef TESTS_UM_FIXTURE_H
#define TESTS_UM_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/simcuda/memory.h"
#include "tests/unit/device_access.h"

#define MIB   ((size_t)1 << 20)
#define BLOCK (2 * MIB)
#define CTX   ((CUcontext)(uintptr_t)0x1000)
#define CPU   (-1)
#define NONE  (-2)

static struct memory_counters g_before[2];

/* Moved since the last mark()? */
#define DELTA(device, counter) (now(device).counter - g_before[device].counter)

static inline struct memory_counters now(int device)
{
    struct memory_counters counters;

    memory_counters(device, &counters);
    return counters;
}

static inline void mark(void)
{
    g_before[0] = now(0);
    g_before[1] = now(1);
}

static inline int um_setup(void **state)
{
    (void)state;
    mark();
    assert_int_equal(g_before[0].managed_resident_bytes, 0);
    assert_int_equal(g_before[0].device_used_bytes, 0);
    assert_int_equal(g_before[1].managed_resident_bytes, 0);
    return 0;
}

static inline CUdeviceptr managed(size_t bytes)
{
    CUdeviceptr addr = 0;

    assert_int_equal(memory_alloc(MEMORY_MANAGED, 0, CTX, bytes, CU_MEM_ATTACH_GLOBAL, &addr), 0);
    assert_int_equal(addr % BLOCK, 0);
    return addr;
}

static inline void release(CUdeviceptr addr)
{
    assert_int_equal(memory_free(MEMORY_MANAGED, addr), 0);
}

static inline volatile uint32_t *host(CUdeviceptr addr)
{
    return (volatile uint32_t *)(uintptr_t)addr;
}

static inline uint32_t load_on(int device, CUdeviceptr addr)
{
    uint32_t value = 0;

    assert_int_equal(device_access(device, addr, MMU_READ, &value), 0);
    return value;
}

static inline void store_on(int device, CUdeviceptr addr, uint32_t value)
{
    assert_int_equal(device_access(device, addr, MMU_WRITE, &value), 0);
}

static inline uint32_t load(CUdeviceptr addr)
{
    return load_on(0, addr);
}

static inline void store(CUdeviceptr addr, uint32_t value)
{
    store_on(0, addr, value);
}

static inline void advise(CUdeviceptr addr, size_t bytes, CUmem_advise advice, int device)
{
    assert_int_equal(um_advise(addr, bytes, advice, device), 0);
}

static inline void prefetch(CUdeviceptr addr, size_t bytes, int device)
{
    assert_int_equal(um_prefetch(addr, bytes, device), 0);
}

static inline uint64_t resident(int device)
{
    return now(device).managed_resident_bytes;
}

/* A block with a copy on the host and one on device 0. */
static inline CUdeviceptr duplicated(uint32_t value)
{
    CUdeviceptr a = managed(BLOCK);

    *host(a) = value;
    advise(a, BLOCK, CU_MEM_ADVISE_SET_READ_MOSTLY, 0);
    prefetch(a, BLOCK, 0);
    mark();
    return a;
}

#endif
