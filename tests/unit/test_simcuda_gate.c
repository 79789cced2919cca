/* Failures on request: which calls they are meant for, what they answer, what else may be refused.
 *
 * Strategy: the parser and the matching are tested as functions. The rest needs a driver with
 * settings of its own, so each check runs in a child that executes this program again with the
 * check's name, opens the library as a program would and goes through its exports; the parent looks
 * at how it ended and at the file of calls that it left.
 */
#include <libgen.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/simcuda/gate.h"
#include "tests/unit/opened_driver.h"

#define MIB ((size_t)1 << 20)

/* Requests ------------------------------------------------------------------------------------- */

static void assert_parses(const char *text, const char *name, uint64_t first, int is_open, int code)
{
    struct gate_request request;

    assert_int_equal(gate_request_parse(text, strlen(text), &request), 0);
    assert_string_equal(request.name, name);
    assert_int_equal(request.first, first);
    assert_int_equal(request.is_open, is_open);
    assert_int_equal(request.code, code);
}

static void test_requests_parse(void **state)
{
    static const char *const wrong[] = {
        "",         ":",          "cuInit",     "cuInit:",    "cuInit:0",  ":3",
        "cuInit:x", "cuInit:3:",  "cuInit:3:0", "cuInit:3:x", "cuInit:3-", "cuInit:3:2:1",
        "cuInit:+", "cuInit:3++", "cuInit: 3",
    };
    struct gate_request request;
    size_t i;

    (void)state;
    assert_parses("cuMemAlloc:3", "cuMemAlloc", 3, 0, 2);
    assert_parses("cuMemAlloc:3+", "cuMemAlloc", 3, 1, 2);
    assert_parses("cuMemAlloc:12:719", "cuMemAlloc", 12, 0, 719);
    assert_parses("any:1+:46", "any", 1, 1, 46);
    for (i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        if (gate_request_parse(wrong[i], strlen(wrong[i]), &request) == 0)
            fail_msg("takes %s", wrong[i]);
    }
    /* What follows is another part. */
    assert_int_equal(gate_request_parse("cuInit:3,cuMemAlloc:1", 8, &request), 0);
    assert_int_equal(request.first, 3);
}

static void test_requests_name_all_forms(void **state)
{
    struct gate_request request;

    (void)state;
    gate_request_parse("cuMemcpyHtoDAsync:1", 19, &request);
    assert_true(gate_request_names(&request, "cuMemcpyHtoDAsync"));
    assert_true(gate_request_names(&request, "cuMemcpyHtoDAsync_v2"));
    assert_true(gate_request_names(&request, "cuMemcpyHtoDAsync_v2_ptsz"));
    assert_false(gate_request_names(&request, "cuMemcpyHtoD_v2"));
    assert_false(gate_request_names(&request, "cuMemcpyHtoDAsyncMore"));
    gate_request_parse("cuMemcpyHtoDAsync_v2:1", 22, &request);
    assert_true(gate_request_names(&request, "cuMemcpyHtoDAsync_v2"));
    assert_false(gate_request_names(&request, "cuMemcpyHtoDAsync"));
    gate_request_parse("any:1", 5, &request);
    assert_true(gate_request_names(&request, "cuInit"));
}

static void test_requests_hit(void **state)
{
    struct gate_request request = {.first = 3};

    (void)state;
    assert_false(gate_request_hits(&request, 2));
    assert_true(gate_request_hits(&request, 3));
    assert_false(gate_request_hits(&request, 4));
    request.is_open = 1;
    assert_false(gate_request_hits(&request, 2));
    assert_true(gate_request_hits(&request, 4));
}

/* Checks that run in a child ------------------------------------------------------------------- */

static CUdeviceptr alloc(size_t bytes)
{
    CUdeviceptr addr;

    OK(CALL(cuMemAlloc)(&addr, bytes));
    return addr;
}

static CUresult managed(size_t bytes, CUdeviceptr *addr)
{
    return CALL(cuMemAllocManaged)(addr, bytes, CU_MEM_ATTACH_GLOBAL);
}

static void check_nth(void)
{
    CUdeviceptr addr = 7;
    size_t free_bytes, left;

    OK(CALL(cuMemGetInfo)(&left, NULL));
    alloc(4 * MIB);
    HOLDS(CALL(cuMemAlloc)(&addr, 4 * MIB) == 2 && addr == 7);
    alloc(4 * MIB);
    OK(CALL(cuMemGetInfo)(&free_bytes, NULL));
    HOLDS(free_bytes == left - 8 * MIB); /* the one that failed did nothing */
}

static void check_onward(void)
{
    CUdeviceptr addr;
    CUstream stream;

    OK(CALL(cuMemsetD8)(addr = alloc(MIB), 0, MIB));
    HOLDS(CALL(cuMemsetD8)(addr, 0, MIB) == 719);
    HOLDS(CALL(cuMemsetD8)(addr, 0, MIB) == 719);
    HOLDS(CALL(cuStreamCreate)(&stream, 0) == 35); /* another part of the list */
    OK(CALL(cuCtxSynchronize)());                  /* not sticky */
}

/* start() makes the first three. */
static void check_any(void)
{
    OK(CALL(cuCtxSynchronize)());
    HOLDS(CALL(cuCtxSynchronize)() == 999);
    OK(CALL(cuCtxSynchronize)());
}

static void check_looked_up(void)
{
    CUdriverProcAddressQueryResult status;
    CUresult (*synchronize)(void);

    OK(CALL(cuGetProcAddress)("cuCtxSynchronize", (void **)&synchronize, 12000, 0, &status));
    HOLDS(synchronize() == 2);
    OK(synchronize());
}

/* Calls of this program itself, when only those of another object are to fail. */
static void check_other_caller(void)
{
    OK(CALL(cuCtxSynchronize)());
}

static void check_own_caller(void)
{
    HOLDS(CALL(cuCtxSynchronize)() == 2);
}

static void check_many_arguments(void)
{
    static const char module[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                                 ".visible .entry k(.param .u64 p)\n"
                                 "{\n.reg .b64 %d<3>;\n.reg .b32 %r<2>;\n"
                                 "ld.param.u64 %d1, [p];\nmov.u32 %r1, %nctaid.z;\n"
                                 "st.global.u32 [%d1], %r1;\nret;\n}\n";
    CUdeviceptr addr = alloc(4);
    void *params[] = {&addr};
    CUfunction function;
    uint32_t word = 0;
    CUmodule loaded;

    OK(CALL(cuModuleLoadData)(&loaded, module));
    OK(CALL(cuModuleGetFunction)(&function, loaded, "k"));
    OK(CALL(cuLaunchKernel)(function, 1, 1, 5, 1, 1, 1, 0, NULL, params, NULL));
    OK(CALL(cuMemcpyDtoH)(&word, addr, 4));
    HOLDS(word == 5);
}

static void launch_nothing(CUresult *at_launch, CUresult *after)
{
    static const char module[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                                 ".visible .entry k()\n{\nret;\n}\n";
    static CUfunction function;
    CUmodule loaded;

    if (!function) {
        OK(CALL(cuModuleLoadData)(&loaded, module));
        OK(CALL(cuModuleGetFunction)(&function, loaded, "k"));
    }
    *at_launch = CALL(cuLaunchKernel)(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL);
    *after = CALL(cuCtxSynchronize)();
}

static void check_lost(void)
{
    CUresult at_launch, after;
    CUcontext other, ctx;
    CUdeviceptr addr;

    OK(CALL(cuCtxGetCurrent)(&ctx));
    OK(CALL(cuCtxCreate)(&other, NULL, 0, 0));
    OK(CALL(cuCtxSetCurrent)(ctx));
    launch_nothing(&at_launch, &after);
    HOLDS(at_launch == CUDA_SUCCESS && after == CUDA_SUCCESS);
    launch_nothing(&at_launch, &after);
    HOLDS(after == 719);
    HOLDS(CALL(cuMemAlloc)(&addr, 4) == 719);
    OK(CALL(cuCtxSetCurrent)(other)); /* the device is gone, not only the context */
    HOLDS(CALL(cuCtxSynchronize)() == 719);
    HOLDS(CALL(cuCtxCreate)(&other, NULL, 0, 0) == 46);
}

static void check_lost_with_code(void)
{
    CUresult at_launch, after;

    launch_nothing(&at_launch, &after);
    HOLDS(after == 46);
}

static void check_no_pinning(void)
{
    void *host = aligned_alloc(4096, MIB);
    void *pinned;

    HOLDS(CALL(cuMemHostAlloc)(&pinned, 4096, 0) == 2);
    HOLDS(CALL(cuMemAllocHost)(&pinned, 4096) == 2);
    HOLDS(host && CALL(cuMemHostRegister)(host, MIB, 0) == 2);
    free(host);
}

static void check_little_pinning(void)
{
    void *host = aligned_alloc(4096, MIB);
    void *pinned, *more;
    CUdeviceptr addr;

    OK(CALL(cuMemHostAlloc)(&pinned, MIB, 0));
    HOLDS(CALL(cuMemHostAlloc)(&more, MIB + 1, 0) == 2);
    OK(CALL(cuMemHostRegister)(host, MIB, 0));
    HOLDS(CALL(cuMemHostAlloc)(&more, 1, 0) == 2);
    OK(CALL(cuMemHostUnregister)(host));
    OK(CALL(cuMemFreeHost)(pinned));
    OK(CALL(cuMemHostAlloc)(&more, 2 * MIB, 0)); /* what was freed counts no more */
    OK(managed(8 * MIB, &addr));
    free(host);
}

static void check_host_short(void)
{
    CUdeviceptr addr, more;
    void *pinned;

    OK(managed(4 * MIB, &addr));
    HOLDS(managed(3 * MIB, &more) == 2); /* whole pages of 2 MiB */
    OK(CALL(cuMemHostAlloc)(&pinned, 2 * MIB, 0));
    HOLDS(CALL(cuMemHostAlloc)(&pinned, 1, 0) == 2);
    OK(CALL(cuMemFree)(addr));
    OK(managed(3 * MIB, &more));
    OK(CALL(cuMemAlloc)(&addr, 8 * MIB)); /* no host memory */
}

static void check_no_managed(void)
{
    CUdeviceptr addr;

    HOLDS(managed(MIB, &addr) == 801);
}

/* How long f takes, in milliseconds; a lower bound only is ever asked for. */
static double passed_ms(void (*f)(void))
{
    struct timespec a, b;

    clock_gettime(CLOCK_MONOTONIC, &a);
    f();
    clock_gettime(CLOCK_MONOTONIC, &b);
    return (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
}

static CUdeviceptr g_addr;
static char g_bytes[4096];

static void copy_up(void)
{
    OK(CALL(cuMemcpyHtoD)(g_addr, g_bytes, sizeof(g_bytes)));
    OK(CALL(cuCtxSynchronize)());
}

static void copy_down(void)
{
    OK(CALL(cuMemcpyDtoH)(g_bytes, g_addr, sizeof(g_bytes)));
}

static void run_kernel(void)
{
    CUresult at_launch, after;

    launch_nothing(&at_launch, &after);
    HOLDS(at_launch == CUDA_SUCCESS && after == CUDA_SUCCESS);
}

static void check_slow(void)
{
    g_addr = alloc(MIB);
    HOLDS(passed_ms(copy_up) >= 20);
    HOLDS(passed_ms(copy_down) >= 30);
    HOLDS(passed_ms(run_kernel) >= 40);
}

static void check_counts(void)
{
    OK(CALL(cuCtxSynchronize)());
    HOLDS(CALL(cuCtxSynchronize)() == 2);
    OK(CALL(cuCtxSynchronize)());
}

/* Running them --------------------------------------------------------------------------------- */

static const struct check {
    const char *name;
    void (*run)(void);
    const char *settings[4][2];
} CHECKS[] = {
    {"nth", check_nth, {{"FAIL", "cuMemAlloc:2"}}},
    {"onward", check_onward, {{"FAIL", "cuMemsetD8:2+:719,cuStreamCreate:1:35"}}},
    {"any", check_any, {{"FAIL", "any:5:999"}}},
    {"looked up", check_looked_up, {{"FAIL", "cuCtxSynchronize:1"}}},
    {"other caller",
     check_other_caller,
     {{"FAIL", "cuCtxSynchronize:1+"}, {"FAIL_CALLER", "libnone.so"}}},
    {"own caller",
     check_own_caller,
     {{"FAIL", "cuCtxSynchronize:1+"}, {"FAIL_CALLER", "test_simcuda_gate"}}},
    {"many arguments", check_many_arguments, {{"FAIL", "cuMemFree:1"}}},
    {"lost", check_lost, {{"LOSE", "2"}}},
    {"lost with a code", check_lost_with_code, {{"LOSE", "1:46"}}},
    {"no pinning", check_no_pinning, {{"PINNED", "0"}}},
    {"little pinning", check_little_pinning, {{"PINNED", "2MiB"}}},
    {"host short", check_host_short, {{"HOST_MEMORY", "6MiB"}}},
    {"no managed", check_no_managed, {{"MANAGED", "0"}}},
    {"slow",
     check_slow,
     {{"SLOW_H2D_US", "20000"}, {"SLOW_D2H_US", "30000"}, {"SLOW_KERNEL_US", "40000"}}},
    {"counts", check_counts, {{"FAIL", "cuCtxSynchronize:2"}, {"CALLS", "$FILE"}}},
};

#define CHECK_COUNT (sizeof(CHECKS) / sizeof(*CHECKS))

static char g_self[PATH_MAX];
static char g_file[] = "/tmp/simcuda-gate-XXXXXX";

static int start(void)
{
    char path[PATH_MAX + 32];
    CUcontext context;

    strcpy(path, g_self);
    dirname(dirname(path));
    strcat(path, "/simcuda/libcuda.so.1");
    g_library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!g_library) {
        fprintf(stderr, "%s\n", dlerror());
        return -1;
    }
    OK(CALL(cuInit)(0));
    OK(CALL(cuDevicePrimaryCtxRetain)(&context, 0));
    OK(CALL(cuCtxSetCurrent)(context));
    return 0;
}

static void run_check(const struct check *check)
{
    char variable[64];
    pid_t child = fork();
    int status;
    size_t i;

    assert_true(child >= 0);
    if (child == 0) {
        setenv("SIMCUDA_VRAM", "16MiB", 1);
        for (i = 0; i < 4 && check->settings[i][0]; i++) {
            const char *value = check->settings[i][1];

            snprintf(variable, sizeof(variable), "SIMCUDA_%s", check->settings[i][0]);
            setenv(variable, strcmp(value, "$FILE") == 0 ? g_file : value, 1);
        }
        execl(g_self, g_self, check->name, (char *)NULL);
        _exit(3);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("check '%s' ended with status 0x%x", check->name, (unsigned)status);
}

static void test_checks(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < CHECK_COUNT; i++)
        run_check(&CHECKS[i]);
}

/* The file that the last check left. */
static void test_calls_are_counted_by_caller(void **state)
{
    char line[PATH_MAX + 128], expected[PATH_MAX + 64];
    FILE *file = fopen(g_file, "r");
    int synchronizes = 0, inits = 0;

    (void)state;
    assert_non_null(file);
    snprintf(expected, sizeof(expected), "cuCtxSynchronize\t3\t1\t%s\n", g_self);
    while (fgets(line, sizeof(line), file)) {
        synchronizes += strcmp(line, expected) == 0;
        inits += strncmp(line, "cuInit\t1\t0\t", 11) == 0;
    }
    fclose(file);
    unlink(g_file);
    assert_int_equal(synchronizes, 1);
    assert_int_equal(inits, 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_parse),
        cmocka_unit_test(test_requests_name_all_forms),
        cmocka_unit_test(test_requests_hit),
        cmocka_unit_test(test_checks),
        cmocka_unit_test(test_calls_are_counted_by_caller),
    };
    ssize_t length = readlink("/proc/self/exe", g_self, sizeof(g_self) - 1);
    size_t i;
    int file;

    if (length < 0)
        return 1;
    g_self[length] = '\0';
    for (i = 0; argc == 2 && i < CHECK_COUNT; i++) {
        if (strcmp(argv[1], CHECKS[i].name) == 0) {
            if (start() != 0)
                return 1;
            CHECKS[i].run();
            return 0;
        }
    }
    file = mkstemp(g_file);
    if (file < 0)
        return 1;
    close(file);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
