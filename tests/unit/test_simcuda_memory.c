/* The simulated devices' memory, but for unified memory.
 *
 * Strategy: the parts are called directly, as the driver's entry points and the kernels would call
 * them: two devices of 16 MiB, accesses by mmu_at() under memory_run_begin(). Counters and capacity
 * are compared before and after, because all tests share one process. What depends on the seed, or
 * ends a process, runs in a child that executes this program again with a name as its argument.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/simcuda/memory.h"
#include "tests/unit/device_access.h"

#define MIB ((size_t)1 << 20)
#define CTX ((CUcontext)(uintptr_t)0x1000)

static CUdeviceptr alloc(size_t bytes)
{
    CUdeviceptr addr = 0;

    assert_int_equal(memory_alloc(MEMORY_DEVICE, 0, CTX, bytes, 0, &addr), CUDA_SUCCESS);
    assert_int_not_equal(addr, 0);
    return addr;
}

static void release(CUdeviceptr addr)
{
    assert_int_equal(memory_free(MEMORY_DEVICE, addr), CUDA_SUCCESS);
}

static uint32_t load(CUdeviceptr addr)
{
    uint32_t value = 0;

    assert_int_equal(device_access(0, addr, MMU_READ, &value), 0);
    return value;
}

static void store(CUdeviceptr addr, uint32_t value)
{
    assert_int_equal(device_access(0, addr, MMU_WRITE, &value), 0);
}

static int fault_of_load(CUdeviceptr addr)
{
    uint32_t value;

    return device_access(0, addr, MMU_READ, &value);
}

static size_t free_bytes(void)
{
    size_t left, total;

    memory_capacity(0, &left, &total);
    assert_int_equal(total, 16 * MIB);
    return left;
}

/* A NaN of float32 in every word: never a plausible value. */
static int is_poison(uint32_t word)
{
    return (word & 0x7F800000u) == 0x7F800000u && (word & 0x007FFFFFu);
}

static void test_small_allocations_share_a_page(void **state)
{
    CUdeviceptr a = alloc(1), b = alloc(513), c = alloc(512);
    struct memory_info info;
    size_t left = free_bytes();

    (void)state;
    assert_int_equal(a % 512, 0);
    assert_int_equal(b, a + 512);
    assert_int_equal(c, b + 1024);
    release(b);
    assert_int_equal(free_bytes(), left);
    assert_int_equal(alloc(1024), b);
    release(a);
    release(b);
    assert_true(memory_find(c + 511, &info));
    assert_false(memory_find(c + 512, &info));
    assert_false(memory_find(b, &info));
    release(c);
    assert_int_equal(free_bytes(), left + 2 * MIB);
}

static void test_packing_keeps_order_and_contents(void **state)
{
    CUdeviceptr a = alloc(512), b = alloc(2048), c = alloc(512), d, e;
    struct memory_info info;

    (void)state;
    store(c, 7);
    release(b);
    d = alloc(512);
    e = alloc(1024);
    assert_int_equal(d, b);
    assert_int_equal(e, b + 512);
    assert_true(memory_find(e + 1000, &info));
    assert_int_equal(info.base, e);
    assert_int_equal(info.bytes, 1024);
    assert_int_equal(load(c), 7);
    release(a);
    release(c);
    release(d);
    release(e);
}

static void test_kinds_and_contexts_do_not_share_pages(void **state)
{
    CUdeviceptr a = alloc(512), other, module;

    (void)state;
    assert_int_equal(memory_alloc(MEMORY_DEVICE, 0, (CUcontext)(uintptr_t)0x2000, 512, 0, &other),
                     0);
    assert_int_equal(memory_alloc(MEMORY_MODULE, 0, CTX, 512, 0, &module), 0);
    assert_int_not_equal(a >> 21, other >> 21);
    assert_int_not_equal(a >> 21, module >> 21);
    assert_int_equal(memory_free(MEMORY_DEVICE, module), CUDA_ERROR_INVALID_VALUE);
    memory_context_destroyed((CUcontext)(uintptr_t)0x2000);
    assert_int_equal(fault_of_load(other), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(load(a), load(a));
    assert_int_equal(memory_free(MEMORY_MODULE, module), 0);
    release(a);
}

static void test_capacity_is_counted_in_pages(void **state)
{
    const size_t left = free_bytes();
    CUdeviceptr a, b;

    (void)state;
    assert_int_equal(left, 16 * MIB);
    a = alloc(2 * MIB + 1);
    assert_int_equal(free_bytes(), left - 4 * MIB);
    assert_int_equal(memory_alloc(MEMORY_DEVICE, 0, CTX, 12 * MIB + 1, 0, &b),
                     CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(memory_alloc(MEMORY_DEVICE, 0, CTX, SIZE_MAX, 0, &b),
                     CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(memory_alloc(MEMORY_DEVICE, 0, CTX, 0, 0, &b), CUDA_ERROR_INVALID_VALUE);
    b = alloc(12 * MIB);
    assert_int_equal(free_bytes(), 0);
    assert_int_equal(memory_charge(0, 1), CUDA_ERROR_OUT_OF_MEMORY);
    release(b);
    assert_int_equal(memory_charge(0, 1), CUDA_SUCCESS);
    assert_int_equal(free_bytes(), left - 6 * MIB);
    assert_int_equal(memory_charge(0, -1), CUDA_SUCCESS);
    release(a);
    assert_int_equal(free_bytes(), left);
}

static void test_free_takes_the_exact_start_once(void **state)
{
    CUdeviceptr a = alloc(4 * MIB);

    (void)state;
    assert_int_equal(memory_free(MEMORY_DEVICE, a + 512), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(memory_free(MEMORY_MANAGED, a), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(memory_free(MEMORY_HOST, a), CUDA_ERROR_INVALID_VALUE);
    release(a);
    assert_int_equal(memory_free(MEMORY_DEVICE, a), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(memory_free(MEMORY_DEVICE, 0), CUDA_ERROR_INVALID_VALUE);
}

static void test_fresh_memory_is_poisoned(void **state)
{
    CUdeviceptr a = alloc(4 * MIB), small = alloc(512), again;
    size_t i;

    (void)state;
    for (i = 0; i < 4 * MIB; i += 64 * 1024)
        assert_true(is_poison(load(a + i)));
    store(a, 5);
    release(a);
    again = alloc(4 * MIB);
    assert_true(is_poison(load(again)));
    release(again);
    store(small, 5);
    again = alloc(512); /* keeps the page */
    release(small);
    assert_true(is_poison(load(small))); /* as on hardware, its page is still there */
    store(small, 6);
    assert_int_equal(alloc(512), small);
    assert_true(is_poison(load(small)));
    release(small);
    release(again);
}

static void test_freed_memory_faults(void **state)
{
    CUdeviceptr a = alloc(2 * MIB), small = alloc(512);

    (void)state;
    store(a, 1);
    store(small, 1);
    release(a);
    release(small);
    assert_int_equal(fault_of_load(a), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(fault_of_load(small), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(memory_copy(0, a, (uintptr_t)&a, 4), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(memory_copy(0, (uintptr_t)&a, small, 4), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(fault_of_load(0), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(fault_of_load(~(uint64_t)3), CUDA_ERROR_ILLEGAL_ADDRESS);
}

static void test_other_devices_memory_faults(void **state)
{
    CUdeviceptr a = alloc(2 * MIB);
    uint32_t value = 1;

    (void)state;
    store(a, 1);
    assert_int_equal(device_access(1, a, MMU_READ, &value), CUDA_ERROR_ILLEGAL_ADDRESS);
    release(a);
}

static void test_pageable_memory_faults_and_pinned_does_not(void **state)
{
    struct memory_counters before, after;
    uint32_t pageable = 1;
    CUdeviceptr pinned;

    (void)state;
    assert_int_equal(fault_of_load((uintptr_t)&pageable), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(memory_alloc(MEMORY_HOST, 0, CTX, 5000, 0, &pinned), 0);
    assert_true(is_poison(*(uint32_t *)pinned));
    *(uint32_t *)pinned = 77;
    memory_counters(0, &before);
    assert_int_equal(load(pinned), 77);
    store(pinned + 4, 78);
    memory_counters(0, &after);
    assert_int_equal(*(uint32_t *)(pinned + 4), 78);
    assert_int_equal(after.remote_read_bytes - before.remote_read_bytes, 4);
    assert_int_equal(after.remote_write_bytes - before.remote_write_bytes, 4);
    assert_int_equal(memory_free(MEMORY_HOST, pinned + 8), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(memory_free(MEMORY_HOST, pinned), 0);
    assert_int_equal(fault_of_load(pinned), CUDA_ERROR_ILLEGAL_ADDRESS);
}

static void test_copies_cross_pages(void **state)
{
    const size_t bytes = 5 * MIB + 12;
    CUdeviceptr a = alloc(bytes), b = alloc(bytes);
    uint8_t *source = malloc(bytes), *back = malloc(bytes);
    struct memory_counters before, after;
    size_t i;

    (void)state;
    for (i = 0; i < bytes; i++)
        source[i] = (uint8_t)(i * 31 + (i >> 13));
    memory_counters(0, &before);
    assert_int_equal(memory_copy(0, a, (uintptr_t)source, bytes), 0);
    assert_int_equal(memory_copy(0, b + 3, a, bytes - 3), 0);
    assert_int_equal(memory_copy(0, (uintptr_t)back, b + 3, bytes - 3), 0);
    memory_counters(0, &after);
    assert_memory_equal(source, back, bytes - 3);
    assert_int_equal(after.copy_h2d_bytes - before.copy_h2d_bytes, bytes);
    assert_int_equal(after.copy_d2d_bytes - before.copy_d2d_bytes, bytes - 3);
    assert_int_equal(after.copy_d2h_bytes - before.copy_d2h_bytes, bytes - 3);
    /* Past the end of the allocation, though not of its page. */
    assert_int_equal(memory_copy(0, a, (uintptr_t)source, bytes + 1), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(memory_copy(0, (uintptr_t)back, (uintptr_t)source, 100), 0);
    free(source);
    free(back);
    release(a);
    release(b);
}

static void test_copy_to_another_device(void **state)
{
    struct memory_counters before, after;
    CUdeviceptr a = alloc(2 * MIB), b;
    uint32_t value = 0;

    (void)state;
    assert_int_equal(memory_alloc(MEMORY_DEVICE, 1, CTX, 2 * MIB, 0, &b), 0);
    store(a + 4, 4242);
    memory_counters(1, &before);
    assert_int_equal(memory_copy(0, b, a, 64), 0);
    memory_counters(1, &after);
    assert_int_equal(after.copy_d2d_bytes - before.copy_d2d_bytes, 64);
    assert_int_equal(device_access(1, b + 4, MMU_READ, &value), 0);
    assert_int_equal(value, 4242);
    release(a);
    release(b);
}

static void test_set_patterns(void **state)
{
    CUdeviceptr a = alloc(4 * MIB);
    const uint32_t word = 0x01020304;
    const uint16_t half = 0xBEEF;
    const uint8_t byte = 0x7E;

    (void)state;
    assert_int_equal(memory_set(0, a, 4 * MIB, &word, 4), 0);
    assert_int_equal(load(a), word);
    assert_int_equal(load(a + 4 * MIB - 4), word);
    assert_int_equal(memory_set(0, a + 2, 6, &half, 2), 0);
    assert_int_equal(load(a), 0xBEEF0304);
    assert_int_equal(load(a + 4), 0xBEEFBEEF);
    assert_int_equal(load(a + 8), word);
    assert_int_equal(memory_set(0, a + 9, 1, &byte, 1), 0);
    assert_int_equal(load(a + 8), 0x01027E04);
    assert_int_equal(memory_set(0, a + 4 * MIB - 2, 4, &byte, 1), CUDA_ERROR_ILLEGAL_ADDRESS);
    release(a);
}

static void test_contains_and_find(void **state)
{
    CUdeviceptr a = alloc(3 * MIB);
    enum memory_kind kind;
    struct memory_info info, other;
    CUdeviceptr b = alloc(600);

    (void)state;
    assert_true(memory_contains(a + 5, 3 * MIB - 5, &kind));
    assert_int_equal(kind, MEMORY_DEVICE);
    assert_false(memory_contains(a + 5, 3 * MIB - 4, &kind));
    assert_int_equal(kind, MEMORY_NONE);
    assert_true(memory_find(a + 3 * MIB - 1, &info));
    assert_int_equal(info.bytes, 3 * MIB);
    assert_ptr_equal(info.ctx, CTX);
    assert_int_equal(info.device, 0);
    assert_true(memory_find(b, &other));
    assert_int_not_equal(info.id, other.id);
    assert_false(memory_find((uintptr_t)&info, &other));
    assert_int_equal(other.kind, MEMORY_NONE);
    assert_int_equal(memory_sync_memops(a + 1, -1), 0);
    assert_int_equal(memory_sync_memops(a, 1), 1);
    assert_int_equal(memory_sync_memops(a + 9, -1), 1);
    assert_int_equal(memory_sync_memops(b, -1), 0);
    assert_int_equal(memory_sync_memops(0, 1), -1);
    release(a);
    release(b);
}

static void test_counters_have_peaks(void **state)
{
    struct memory_counters before, after;
    CUdeviceptr a;

    (void)state;
    memory_counters(0, &before);
    a = alloc(16 * MIB);
    memory_counters(0, &after);
    assert_int_equal(after.device_used_bytes, before.device_used_bytes + 16 * MIB);
    assert_int_equal(after.peak_device_bytes, 16 * MIB);
    release(a);
    memory_counters(0, &after);
    assert_int_equal(after.device_used_bytes, before.device_used_bytes);
    assert_int_equal(after.peak_device_bytes, 16 * MIB);
}

/* Children ----------------------------------------------------------------------------------- */

static int child_read_device(void)
{
    CUdeviceptr a;

    memory_init(1);
    memory_alloc(MEMORY_DEVICE, 0, CTX, 4096, 0, &a);
    return (int)*(volatile char *)a;
}

static int child_print_addresses(void)
{
    CUdeviceptr a, b;
    uint32_t word = 0;

    memory_init(1);
    memory_alloc(MEMORY_DEVICE, 0, CTX, 4 * MIB, 0, &a);
    memory_alloc(MEMORY_DEVICE, 0, CTX, 4 * MIB, 0, &b);
    memory_copy(0, (uintptr_t)&word, a, 4);
    printf("%llx %llx %x", a, b, word);
    return 0;
}

static int child_lock_twice(void)
{
    struct memory_info info;
    struct mmu_run run;

    memory_init(1);
    memory_run_begin(0, &run);
    return memory_find(0, &info);
}

/* Run this program again as that child. out receives its output. returns its wait status */
static int run_child(const char *name, const char *seed, char *out, size_t out_bytes)
{
    int fds[2], status;
    ssize_t got;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        setenv("SIMCUDA_SEED", seed, 1);
        dup2(fds[1], STDOUT_FILENO);
        if (!freopen("/dev/null", "w", stderr))
            _exit(3);
        alarm(30); /* a fault that is served for ever must not outlive the test */
        execl("/proc/self/exe", "child", name, NULL);
        _exit(4);
    }
    close(fds[1]);
    got = read(fds[0], out, out_bytes - 1);
    out[got > 0 ? got : 0] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int died(int status)
{
    /* A sanitiser reports a signal and exits. */
    return WIFSIGNALED(status) || WEXITSTATUS(status) != 0;
}

static void test_host_cannot_read_device_memory(void **state)
{
    char out[100];

    (void)state;
    assert_true(died(run_child("read", "1", out, sizeof(out))));
}

static void test_taking_the_lock_twice_is_noticed(void **state)
{
    char out[100];

    (void)state;
    assert_true(died(run_child("twice", "1", out, sizeof(out))));
}

static void test_addresses_and_poison_vary_by_seed(void **state)
{
    unsigned long long a[3], b[3];
    unsigned word[3];
    char out[100];
    int i;

    (void)state;
    for (i = 0; i < 3; i++) {
        char seed[2] = {(char)('1' + i), '\0'};

        assert_int_equal(run_child("addresses", seed, out, sizeof(out)), 0);
        assert_int_equal(sscanf(out, "%llx %llx %x", &a[i], &b[i], &word[i]), 3);
        assert_int_equal(a[i] % (2 * MIB), 0);
        assert_true(is_poison(word[i]));
    }
    assert_true(a[0] != a[1] && a[1] != a[2] && a[0] != a[2]);
    assert_true(word[0] != word[1] && word[1] != word[2]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capacity_is_counted_in_pages),
        cmocka_unit_test(test_small_allocations_share_a_page),
        cmocka_unit_test(test_packing_keeps_order_and_contents),
        cmocka_unit_test(test_kinds_and_contexts_do_not_share_pages),
        cmocka_unit_test(test_free_takes_the_exact_start_once),
        cmocka_unit_test(test_fresh_memory_is_poisoned),
        cmocka_unit_test(test_freed_memory_faults),
        cmocka_unit_test(test_other_devices_memory_faults),
        cmocka_unit_test(test_pageable_memory_faults_and_pinned_does_not),
        cmocka_unit_test(test_copies_cross_pages),
        cmocka_unit_test(test_copy_to_another_device),
        cmocka_unit_test(test_set_patterns),
        cmocka_unit_test(test_contains_and_find),
        cmocka_unit_test(test_counters_have_peaks),
        cmocka_unit_test(test_host_cannot_read_device_memory),
        cmocka_unit_test(test_taking_the_lock_twice_is_noticed),
        cmocka_unit_test(test_addresses_and_poison_vary_by_seed),
    };

    setenv("SIMCUDA_VRAM", "16MiB", 1);
    if (argc == 2 && strcmp(argv[1], "read") == 0)
        return child_read_device();
    if (argc == 2 && strcmp(argv[1], "addresses") == 0)
        return child_print_addresses();
    if (argc == 2 && strcmp(argv[1], "twice") == 0)
        return child_lock_twice();
    if (memory_init(2) != CUDA_SUCCESS)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
