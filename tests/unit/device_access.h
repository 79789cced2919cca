/* device_access.h - one access of a kernel on the simulated devices' memory, for its tests. */
#ifndef TESTS_DEVICE_ACCESS_H
#define TESTS_DEVICE_ACCESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/simcuda/memory.h"

/* Load *value from addr, or store it there. returns the fault; it names the address */
static inline int device_access(int device, CUdeviceptr addr, enum mmu_access access,
                                uint32_t *value)
{
    struct mmu_run run;
    uint32_t *at;

    memory_run_begin(device, &run);
    at = mmu_at(&run, addr, sizeof(*value), access);
    if (at && access == MMU_READ)
        *value = *at;
    else if (at)
        *at = *value;
    memory_run_end(&run);
    assert_true(!at == (run.fault != 0));
    if (run.fault)
        assert_int_equal(run.fault_addr, addr);
    return run.fault;
}

#endif
