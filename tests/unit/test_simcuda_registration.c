/* Memory of the program's own that is registered with the simulated driver: what may be, what the
 * device reaches of it, and what the kernel would not pin.
 *
 * Strategy: the parts are called directly, as the driver's entry points and the kernels would.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/simcuda/memory.h"
#include "tests/unit/device_access.h"

#define CTX ((CUcontext)(uintptr_t)0x1000)

static int fault_of_load(CUdeviceptr addr)
{
    uint32_t value;

    return device_access(0, addr, MMU_READ, &value);
}

static void test_registration(void **state)
{
    char *block = aligned_alloc(4096, 4 * 4096);
    char *unmapped = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *fixed = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct memory_info info;
    CUdeviceptr device = 0;

    (void)state;
    assert_int_equal(memory_alloc(MEMORY_DEVICE, 0, CTX, 512, 0, &device), CUDA_SUCCESS);
    munmap(unmapped, 8192);
    munmap(fixed + 4096, 4096);
    assert_int_equal(memory_host_register(fixed, 4096, 0, CTX), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(memory_host_register(fixed, 8192, CU_MEMHOSTREGISTER_READ_ONLY, CTX),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(memory_host_register(fixed, 4096, CU_MEMHOSTREGISTER_READ_ONLY, CTX), 0);
    assert_int_equal(memory_host_unregister(fixed), 0);
    munmap(fixed, 4096);
    assert_int_equal(memory_host_register(block + 100, 4096, CU_MEMHOSTREGISTER_READ_ONLY, CTX), 0);
    assert_int_equal(memory_host_register(block + 4195, 10, 0, CTX),
                     CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    assert_int_equal(memory_host_register(block, 101, 0, CTX),
                     CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    assert_int_equal(memory_host_register(block + 4196, 10, 0, CTX), 0);
    assert_int_equal(memory_host_register(NULL, 10, 0, CTX), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(memory_host_register(block + 3 * 4096, 0, 0, CTX), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(memory_host_register(unmapped, 10, 0, CTX), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(memory_host_register((void *)device, 10, 0, CTX), CUDA_ERROR_INVALID_VALUE);
    assert_true(memory_find((uintptr_t)block + 4195, &info));
    assert_int_equal(info.kind, MEMORY_REGISTERED);
    assert_int_equal(info.base, (uintptr_t)block + 100);
    assert_int_equal(info.bytes, 4096);
    assert_int_equal(info.device, -1);
    /* The device maps whole pages. */
    assert_int_equal(fault_of_load((uintptr_t)block), 0);
    assert_int_equal(fault_of_load((uintptr_t)block + 8188), 0);
    assert_int_equal(fault_of_load((uintptr_t)block + 8192), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(memory_host_unregister(block + 4196), 0);
    assert_int_equal(memory_host_unregister(block + 200), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(memory_host_unregister(block + 4196), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    assert_int_equal(memory_host_unregister(block + 100), 0);
    assert_int_equal(fault_of_load((uintptr_t)block + 100), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(memory_free(MEMORY_DEVICE, device), CUDA_SUCCESS);
    free(block);
}

/* What the kernel would not pin for writing: pages of a file that others share. */
static void test_registration_of_files(void **state)
{
    char path[] = "/tmp/simcuda-file-XXXXXX";
    int file = mkstemp(path), memory = memfd_create("simcuda", 0), flag;
    const struct {
        int file, protection, sharing;
        CUresult plain;
    } cases[] = {
        {file, PROT_READ | PROT_WRITE, MAP_SHARED, CUDA_ERROR_INVALID_VALUE},
        {file, PROT_READ, MAP_SHARED, CUDA_ERROR_INVALID_VALUE},
        {file, PROT_READ | PROT_WRITE, MAP_PRIVATE, CUDA_SUCCESS},
        {memory, PROT_READ | PROT_WRITE, MAP_SHARED, CUDA_SUCCESS},
        {memory, PROT_READ, MAP_SHARED, CUDA_ERROR_INVALID_VALUE},
    };

    (void)state;
    assert_true(file >= 0 && memory >= 0);
    assert_int_equal(ftruncate(file, 8192), 0);
    assert_int_equal(ftruncate(memory, 8192), 0);
    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        char *map =
            mmap(NULL, 8192, cases[i / 2].protection, cases[i / 2].sharing, cases[i / 2].file, 0);

        assert_true(map != MAP_FAILED);
        flag = i % 2 ? CU_MEMHOSTREGISTER_READ_ONLY : 0;
        assert_int_equal(memory_host_register(map, 8000, (unsigned)flag, CTX),
                         flag ? CUDA_SUCCESS : cases[i / 2].plain);
        if (flag || cases[i / 2].plain == CUDA_SUCCESS)
            assert_int_equal(memory_host_unregister(map), CUDA_SUCCESS);
        munmap(map, 8192);
    }
    close(file);
    close(memory);
    unlink(path);
}

static void test_read_only_registration_refuses_writes(void **state)
{
    char *block = aligned_alloc(4096, 4096);
    uint32_t value = 9;

    (void)state;
    memset(block, 0, 4096);
    assert_int_equal(memory_host_register(block, 4096, CU_MEMHOSTREGISTER_READ_ONLY, CTX), 0);
    assert_int_equal(device_access(0, (uintptr_t)block, MMU_READ, &value), 0);
    assert_int_equal(device_access(0, (uintptr_t)block, MMU_WRITE, &value),
                     CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(memory_host_unregister(block), 0);
    free(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registration),
        cmocka_unit_test(test_registration_of_files),
        cmocka_unit_test(test_read_only_registration_refuses_writes),
    };

    if (memory_init(1) != CUDA_SUCCESS)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
