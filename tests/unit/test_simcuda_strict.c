/* The simulated driver where a program does wrong: a fault of device work ends CUDA for the
 * process, as on hardware; what the documents leave undefined is refused or answered with rubbish,
 * so that nothing comes to rest on it. A real driver may crash there instead, which is why the
 * conformance suite does not ask.
 *
 * Strategy: the library is opened as a program would open it, with two devices, each test in a
 * child of its own; kernels are a few lines of PTX.
 */
#include <libgen.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/opened_driver.h"

#define FAILS(call) HOLDS((call) == CUDA_ERROR_INVALID_VALUE)

typedef CUresult get_proc_v1(const char *name, void **function, int version, cuuint64_t flags);

/* Stores its second parameter, a word, where the first one points to. */
static const char g_store[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                              ".visible .entry store(.param .u64 p, .param .u32 v)\n"
                              "{\n.reg .b64 %d<2>;\n.reg .b32 %r<2>;\n"
                              "ld.param.u64 %d1, [p];\nld.param.u32 %r1, [v];\n"
                              "st.global.u32 [%d1], %r1;\nret;\n}\n";

static CUcontext context_new(CUdevice device)
{
    CUcontext context;

    OK(CALL(cuCtxCreate)(&context, NULL, 0, device));
    return context;
}

static CUfunction store_kernel(void)
{
    CUfunction function;
    CUmodule module;

    OK(CALL(cuModuleLoadData)(&module, g_store));
    OK(CALL(cuModuleGetFunction)(&function, module, "store"));
    return function;
}

static CUresult store(CUfunction function, void **params, void **extra)
{
    return CALL(cuLaunchKernel)(function, 1, 1, 1, 1, 1, 1, 0, NULL, params, extra);
}

static void fault(void)
{
    CUdeviceptr nowhere = 4096;
    uint32_t word = 1;
    void *params[] = {&nowhere, &word};

    OK(store(store_kernel(), params, NULL));
    HOLDS(CALL(cuCtxSynchronize)() == CUDA_ERROR_ILLEGAL_ADDRESS);
}

/* Checks that run in a child ------------------------------------------------------------------- */

/* Whichever context and device it was: all that are there, and all that are to come. */
static void check_fault(void)
{
    CUcontext first = context_new(0), other = context_new(0), far = context_new(1), primary;
    CUdeviceptr p;
    CUdevice device = -1;
    int count = 0;

    OK(CALL(cuDevicePrimaryCtxRetain)(&primary, 1));
    OK(CALL(cuCtxSetCurrent)(first));
    fault();
    OK(CALL(cuCtxSetCurrent)(other));
    HOLDS(CALL(cuMemAlloc)(&p, 4) == CUDA_ERROR_ILLEGAL_ADDRESS);
    OK(CALL(cuCtxSetCurrent)(far));
    HOLDS(CALL(cuCtxSynchronize)() == CUDA_ERROR_ILLEGAL_ADDRESS);
    OK(CALL(cuCtxSetCurrent)(primary));
    HOLDS(CALL(cuMemAlloc)(&p, 4) == CUDA_ERROR_ILLEGAL_ADDRESS);
    OK(CALL(cuDevicePrimaryCtxReset)(1));
    HOLDS(CALL(cuDevicePrimaryCtxRetain)(&primary, 1) == CUDA_ERROR_ILLEGAL_ADDRESS);
    OK(CALL(cuCtxDestroy)(first));
    OK(CALL(cuCtxDestroy)(other));
    OK(CALL(cuCtxDestroy)(far));
    for (device = 0; device < 2; device++)
        HOLDS(CALL(cuCtxCreate)(&first, NULL, 0, device) == CUDA_ERROR_ILLEGAL_ADDRESS);
    OK(CALL(cuDeviceGetCount)(&count));
    HOLDS(count == 2);
}

/* Look-ups that make no sense write nothing. */
static void check_look_ups(void)
{
    get_proc_v1 *version_1 = (get_proc_v1 *)entry("cuGetProcAddress");
    void *function = &g_library;

    FAILS(CALL(cuGetProcAddress)(NULL, &function, 12000, 0, NULL));
    FAILS(CALL(cuGetProcAddress)("cuInit", NULL, 12000, 0, NULL));
    FAILS(CALL(cuGetProcAddress)("cuInit", &function, 12000, 64, NULL));
    FAILS(CALL(cuGetProcAddress)("cuInit", &function, 90000, 0, NULL));
    FAILS(version_1(NULL, &function, 11030, 0));
    FAILS(version_1("cuInit", NULL, 11030, 0));
    HOLDS(version_1("cuNoSuchFunction", &function, 11030, 0) == CUDA_ERROR_NOT_FOUND);
    HOLDS(function == &g_library);
}

/* A packed buffer that ends early leaves rubbish in the rest; one that is too long is refused. */
static void check_packed_parameters(void)
{
    struct {
        CUdeviceptr p;
        uint32_t word, padding;
    } packed = {0, 77, 0};
    size_t bytes = 12;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                     CU_LAUNCH_PARAM_END};
    uint32_t word = 0;
    CUfunction function;

    context_new(0);
    function = store_kernel();
    OK(CALL(cuMemAlloc)(&packed.p, 4));
    OK(store(function, NULL, extra));
    OK(CALL(cuMemcpyDtoH)(&word, packed.p, 4));
    HOLDS(word == 77);
    bytes = 8;
    OK(store(function, NULL, extra));
    OK(CALL(cuMemcpyDtoH)(&word, packed.p, 4));
    HOLDS(word != 77 && word != 0);
    bytes = 13;
    HOLDS(store(function, NULL, extra) == CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    bytes = 0;
    OK(store(function, NULL, extra));
    HOLDS(CALL(cuCtxSynchronize)() != CUDA_SUCCESS);
}

/* What nobody allocated has no bounds: they are not written, where other attributes are zero. */
static void check_bounds_of_nobody(void)
{
    CUpointer_attribute which[] = {CU_POINTER_ATTRIBUTE_RANGE_START_ADDR,
                                   CU_POINTER_ATTRIBUTE_RANGE_SIZE,
                                   CU_POINTER_ATTRIBUTE_MEMORY_TYPE};
    uint64_t start = 9, bytes = 9;
    uint32_t type = 9;
    void *values[] = {&start, &bytes, &type};
    CUdeviceptr p, base;

    context_new(0);
    OK(CALL(cuMemAlloc)(&p, 100));
    OK(CALL(cuPointerGetAttributes)(3, which, values, p + 100));
    HOLDS(start == 9 && bytes == 9 && type == 0);
    OK(CALL(cuPointerGetAttributes)(3, which, values, p + 99));
    HOLDS(start == p && bytes == 100 && type == CU_MEMORYTYPE_DEVICE);
    HOLDS(CALL(cuMemGetAddressRange)(&base, NULL, p + 100) == CUDA_ERROR_NOT_FOUND);
    OK(CALL(cuMemGetAddressRange)(NULL, NULL, p + 100)); /* nothing is asked */
}

/* Running them --------------------------------------------------------------------------------- */

/* The library lies beside the folder of this program. */
static void start(void)
{
    char program[PATH_MAX], path[PATH_MAX + 32];
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);

    HOLDS(length > 0);
    program[length] = '\0';
    snprintf(path, sizeof(path), "%s/../simcuda/libcuda.so.1", dirname(program));
    setenv("SIMCUDA_VRAM", "16MiB", 1);
    setenv("SIMCUDA_DEVICES", "2", 1);
    g_library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    HOLDS(g_library);
    OK(CALL(cuInit)(0));
}

static void run_in_child(void **state)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        start();
        ((void (*)(void)) * state)();
        exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

#define CHILD(check)                                                                               \
    {                                                                                              \
        .name = #check, .test_func = run_in_child, .initial_state = (void *)check                  \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHILD(check_fault),
        CHILD(check_look_ups),
        CHILD(check_packed_parameters),
        CHILD(check_bounds_of_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
