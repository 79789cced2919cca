/* The handler that serves the host's touches of managed memory, and whom it hands other faults to.
 *
 * Strategy: a program's own handlers are installed before, after and between managed allocations,
 * and count what they are given. What ends a process or wants other settings runs in a child that
 * executes this program again with a name as its argument.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "um_fixture.h"

/* The fault handler -------------------------------------------------------------------------- */

/* An address that is nobody's; volatile, so that no compiler knows it. */
static volatile CUdeviceptr g_nowhere = 16;

static sigjmp_buf g_jump;
static volatile sig_atomic_t g_caught;

static void catch (int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    (void)context;
    g_caught++;
    siglongjmp(g_jump, 1);
}

static void catching(void (*touch)(CUdeviceptr), CUdeviceptr addr)
{
    if (sigsetjmp(g_jump, 1) == 0)
        touch(addr);
}

static void touch_read(CUdeviceptr addr)
{
    (void)*host(addr);
}

/* A program's own handler, installed later, gets its own faults, time and again, and managed memory
 * works none the less from the next call on. */
static void test_programs_own_handler(void **state)
{
    struct sigaction action = {.sa_sigaction = catch, .sa_flags = SA_SIGINFO}, before, ours;
    CUdeviceptr a = managed(BLOCK), b;
    int i;

    (void)state;
    assert_int_equal(sigaction(SIGSEGV, &action, &before), 0);
    b = managed(5000);
    *host(a) = 1;
    *host(b) = 2;
    g_caught = 0;
    for (i = 0; i < 3; i++)
        catching(touch_read, g_nowhere);
    assert_int_equal(g_caught, 3);
    release(a);
    catching(touch_read, a);        /* freed */
    catching(touch_read, b + 8192); /* past its pages */
    assert_int_equal(g_caught, 5);
    assert_int_equal(sigaction(SIGSEGV, &before, &ours), 0);
    assert_ptr_not_equal(ours.sa_sigaction, catch);
    release(b);
}

static int child_foreign_fault(void)
{
    CUdeviceptr a;

    memory_init(1);
    memory_alloc(MEMORY_MANAGED, 0, CTX, 4096, 1, &a);
    *host(a) = 1;
    *host(g_nowhere) = 1;
    return 0;
}

static struct sigaction g_chained;

/* Hands everything on to whom it found, as crash reporters do. */
static void chain(int number, siginfo_t *info, void *context)
{
    if (g_caught++ > 10)
        _exit(9); /* going round */
    g_chained.sa_sigaction(number, info, context);
}

/* Ours, a crash reporter in front of it, ours again: a foreign fault must end the process. */
static int child_chain(void)
{
    struct sigaction action = {.sa_sigaction = chain, .sa_flags = SA_SIGINFO};
    CUdeviceptr a, b;

    memory_init(1);
    memory_alloc(MEMORY_MANAGED, 0, CTX, 4096, 1, &a);
    sigaction(SIGSEGV, &action, &g_chained);
    memory_alloc(MEMORY_MANAGED, 0, CTX, 4096, 1, &b);
    *host(a) = 1;
    *host(b) = 1;
    *host(g_nowhere) = 1;
    return 0;
}

/* A child of fork does not have managed memory. */
static int child_fork(void)
{
    CUdeviceptr a;
    int status;
    pid_t pid;

    memory_init(1);
    memory_alloc(MEMORY_MANAGED, 0, CTX, 4096, 1, &a);
    *host(a) = 1;
    pid = fork();
    if (pid == 0) {
        alarm(20);
        _exit(*host(a) == 1 ? 100 : 101);
    }
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGSEGV ? 0 : 1;
    return WEXITSTATUS(status) < 100 ? 0 : 1; /* a sanitiser reports and exits */
}

static int child_busy(void)
{
    struct sigaction action = {.sa_sigaction = catch, .sa_flags = SA_SIGINFO};
    CUdeviceptr a;
    uint32_t value = 0;

    sigaction(SIGSEGV, &action, NULL);
    memory_init(1);
    memory_alloc(MEMORY_MANAGED, 0, CTX, 4096, 1, &a);
    *host(a) = 1;
    if (um_advise(a, 4096, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, 0) != CUDA_ERROR_INVALID_DEVICE ||
        um_advise(a, 4096, CU_MEM_ADVISE_SET_READ_MOSTLY, 0) != CUDA_SUCCESS)
        return 5;
    if (device_access(0, a, MMU_READ, &value) || value != 1 || now(0).managed_resident_bytes == 0)
        return 6;
    if (*host(a) != 1 || now(0).managed_resident_bytes != 0) /* no duplicates here */
        return 7;
    memory_device_busy(1);
    catching(touch_read, a);
    memory_device_busy(1);
    memory_device_busy(-1);
    catching(touch_read, a);
    memory_device_busy(-1);
    catching(touch_read, a);
    /* What moves while the device is busy does not become accessible either. */
    memory_alloc(MEMORY_MANAGED, 0, CTX, 4096, 1, &a);
    um_advise(a, 4096, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CPU);
    memory_device_busy(1);
    if (device_access(0, a, MMU_READ, &value))
        return 8;
    catching(touch_read, a);
    return g_caught == 3 ? 0 : 10 + g_caught;
}

static int child_unmanaged(void)
{
    CUdeviceptr a;

    memory_init(1);
    return memory_alloc(MEMORY_MANAGED, 0, CTX, 4096, 1, &a) == CUDA_ERROR_NOT_SUPPORTED ? 0 : 1;
}

static const struct {
    const char *name;
    int (*run)(void);
    const char *setting;
    const char *value;
    int dies;
} CHILDREN[] = {
    {"foreign", child_foreign_fault, "SIMCUDA_SEED", "1", 1},
    {"chain", child_chain, "SIMCUDA_SEED", "1", 1},
    {"fork", child_fork, "SIMCUDA_SEED", "1", 0},
    {"busy", child_busy, "SIMCUDA_CONCURRENT_MANAGED", "0", 0},
    {"unmanaged", child_unmanaged, "SIMCUDA_MANAGED", "0", 0},
};

#define CHILD_COUNT (sizeof(CHILDREN) / sizeof(*CHILDREN))

static int run_child(size_t index)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        setenv(CHILDREN[index].setting, CHILDREN[index].value, 1);
        if (!freopen("/dev/null", "w", stderr))
            _exit(3);
        alarm(30); /* a fault that is served for ever must not outlive the test */
        execl("/proc/self/exe", "child", CHILDREN[index].name, NULL);
        _exit(4);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_children(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < CHILD_COUNT; i++) {
        int status = run_child(i);

        if (CHILDREN[i].dies && !WIFSIGNALED(status) && WEXITSTATUS(status) != 9)
            assert_int_not_equal(WEXITSTATUS(status), 0); /* a sanitiser reports and exits */
        else if (CHILDREN[i].dies)
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
        else if (status != 0)
            fail_msg("child %s: status 0x%x", CHILDREN[i].name, status);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_programs_own_handler, um_setup),
        cmocka_unit_test(test_children),
    };
    size_t i;

    setenv("SIMCUDA_VRAM", "16MiB", 1);
    for (i = 0; argc == 2 && i < CHILD_COUNT; i++) {
        if (strcmp(argv[1], CHILDREN[i].name) == 0)
            return CHILDREN[i].run();
    }
    if (memory_init(2) != CUDA_SUCCESS)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
