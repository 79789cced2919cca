/* check_module.c - modules, libraries, functions: what they hold and how a load fails. */
#include "conformance.h"

static const char *const g_bad_instruction = ".version 6.0\n"
                                             ".target sm_70\n"
                                             ".address_size 64\n"
                                             ".visible .entry bad()\n"
                                             "{\n"
                                             "    .reg .b32 %r<2>;\n"
                                             "    frobnicate.b32 %r1, 7;\n"
                                             "    ret;\n"
                                             "}\n";

static const char *const g_future_version = ".version 99.9\n"
                                            ".target sm_70\n"
                                            ".address_size 64\n"
                                            ".visible .entry nothing()\n"
                                            "{\n"
                                            "    ret;\n"
                                            "}\n";

static void functions(void)
{
    CUfunction function = NULL;
    CUmodule module = NULL, of_function = NULL;

    begin();
    OK(cuModuleLoadData(&module, ptx_test_kernels));
    OK(cuModuleGetFunction(&function, module, "tk_fill"));
    EXPECT(function != NULL);
    OK(cuFuncGetModule(&of_function, function));
    EXPECT(of_function == module);
    EXPECT_CU(CUDA_ERROR_NOT_FOUND, cuModuleGetFunction(&function, module, "tk_nothing"));
    EXPECT_CU(CUDA_ERROR_NOT_FOUND, cuModuleGetFunction(&function, module, "tk_counter"));
    OK(cuModuleUnload(module));
}

/* Variables: address, size, initial value; const or not, they are device memory. */
static void globals(void)
{
    static const uint32_t table[16] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
    uint32_t got[16], value = 0;
    CUmodule module = NULL;
    CUdeviceptr p = 0;
    size_t bytes = 0;

    begin();
    OK(cuModuleLoadData(&module, ptx_test_kernels));
    OK(cuModuleGetGlobal(&p, &bytes, module, "tk_counter"));
    EXPECT_EQ(bytes, sizeof(value));
    OK(cuMemcpyDtoH(&value, p, sizeof(value)));
    EXPECT_EQ(value, 41);
    OK(cuModuleGetGlobal(&p, &bytes, module, "tk_table"));
    EXPECT_EQ(bytes, sizeof(table));
    OK(cuMemcpyDtoH(got, p, sizeof(got)));
    EXPECT(memcmp(got, table, sizeof(table)) == 0);
    EXPECT_CU(CUDA_ERROR_NOT_FOUND, cuModuleGetGlobal(&p, &bytes, module, "tk_nothing"));
    OK(cuModuleGetGlobal(&p, NULL, module, "tk_counter"));
    OK(cuModuleGetGlobal(NULL, &bytes, module, "tk_counter"));
}

static void run_globals(CUmodule module, CUdeviceptr out, uint32_t expected_counter)
{
    CUfunction function = NULL;
    uint32_t n = 16, got[16];

    OK(cuModuleGetFunction(&function, module, "tk_globals"));
    LAUNCH(function, 1, 32, 0, &out, &n);
    OK(cuMemcpyDtoH(got, out, sizeof(got)));
    EXPECT_EQ(got[0], 3 + expected_counter);
    EXPECT_EQ(got[15], 3 + expected_counter);
    EXPECT_EQ(got[5], 9 + expected_counter);
}

/* A variable keeps what kernels and copies write; each load of a module has its own. */
static void globals_apart(void)
{
    CUmodule first = NULL, second = NULL;
    CUdeviceptr out, p = 0;
    uint32_t value = 100;

    begin();
    OK(cuModuleLoadData(&first, ptx_test_kernels));
    OK(cuModuleLoadData(&second, ptx_test_kernels));
    out = device_alloc(64);
    run_globals(first, out, 41);
    run_globals(first, out, 42);
    run_globals(second, out, 41);
    OK(cuModuleGetGlobal(&p, NULL, first, "tk_counter"));
    OK(cuMemcpyHtoD(p, &value, sizeof(value)));
    run_globals(first, out, 100);
    run_globals(second, out, 42);
}

/* An unknown instruction is refused with 218, and the log says where. */
static void bad_instruction(void)
{
    char log[4096] = "";
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)(uintptr_t)sizeof(log)};
    CUmodule module = NULL;

    begin();
    EXPECT_CU(CUDA_ERROR_INVALID_PTX,
              cuModuleLoadDataEx(&module, g_bad_instruction, 2, options, values));
    EXPECT(memchr(log, '\0', sizeof(log)) != NULL);
    EXPECT(strstr(log, "frobnicate") != NULL && strchr(log, '7') != NULL);
    EXPECT(values[1] != NULL && (uintptr_t)values[1] <= sizeof(log));
    note_text("log_first_word", strtok(log, " "));
    EXPECT_CU(CUDA_ERROR_INVALID_PTX, cuModuleLoadData(&module, g_bad_instruction));
    /* A failed load leaves the context well. */
    warm_up();
}

static void future_version(void)
{
    CUmodule module = NULL;

    begin();
    EXPECT_CU(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, cuModuleLoadData(&module, g_future_version));
}

static void no_image(void)
{
    CUmodule module = NULL;

    begin();
    EXPECT_ERROR("text", cuModuleLoadData(&module, "this is no image of any kind\n"));
    EXPECT_ERROR("null", cuModuleLoadData(&module, NULL));
    EXPECT_ERROR("null_module", cuModuleLoadData(NULL, ptx_test_kernels));
}

static void library(void)
{
    CUlibrary lib = NULL;
    CUkernel fill = NULL, none = NULL;
    CUfunction function = NULL;
    CUmodule module = NULL;
    CUdeviceptr p, counter = 0;
    uint64_t words = 256;
    uint32_t seed = 31, value = 0;
    size_t bytes = 0;

    begin();
    OK(cuLibraryLoadData(&lib, ptx_test_kernels, NULL, NULL, 0, NULL, NULL, 0));
    OK(cuLibraryGetKernel(&fill, lib, "tk_fill"));
    EXPECT_CU(CUDA_ERROR_NOT_FOUND, cuLibraryGetKernel(&none, lib, "tk_nothing"));
    p = device_alloc(1024);
    LAUNCH((CUfunction)fill, 2, 128, 0, &p, &words, &seed);
    EXPECT_PATTERN(p, 256, 31);
    OK(cuKernelGetFunction(&function, fill));
    seed = 32;
    LAUNCH(function, 2, 128, 0, &p, &words, &seed);
    EXPECT_PATTERN(p, 256, 32);
    OK(cuLibraryGetModule(&module, lib));
    EXPECT(module != NULL);
    OK(cuModuleGetFunction(&function, module, "tk_copy"));
    OK(cuLibraryGetGlobal(&counter, &bytes, lib, "tk_counter"));
    EXPECT_EQ(bytes, 4);
    OK(cuMemcpyDtoH(&value, counter, 4));
    EXPECT_EQ(value, 41);
    OK(cuLibraryUnload(lib));
}

static void expect_param(CUfunction function, size_t index, size_t offset, size_t bytes)
{
    size_t got_offset = 999, got_bytes = 999;

    OK(cuFuncGetParamInfo(function, index, &got_offset, &got_bytes));
    EXPECT_EQ(got_offset, offset);
    EXPECT_EQ(got_bytes, bytes);
    got_offset = 999;
    OK(cuFuncGetParamInfo(function, index, &got_offset, NULL));
    EXPECT_EQ(got_offset, offset);
}

static void param_info(void)
{
    size_t offset, bytes;
    int version = 0;

    begin();
    OK(cuDriverGetVersion(&version));
    if (version < 12040)
        check_skip("cuFuncGetParamInfo came with driver 12.4");
    expect_param(kernel("tk_saxpy"), 0, 0, 8);
    expect_param(kernel("tk_saxpy"), 1, 8, 8);
    expect_param(kernel("tk_saxpy"), 2, 16, 4);
    expect_param(kernel("tk_saxpy"), 3, 24, 8);
    expect_param(kernel("tk_by_value"), 0, 0, sizeof(struct tk_pair));
    for (size_t i = 0; i < 33; i++)
        expect_param(kernel("tk_thirty_two"), i, i * 8, 8);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuFuncGetParamInfo(kernel("tk_saxpy"), 4, &offset, &bytes));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuFuncGetParamInfo(kernel("tk_by_value"), 1, &offset, &bytes));
}

static int function_attribute(const char *name, CUfunction_attribute attribute)
{
    int value = -1;

    OK(cuFuncGetAttribute(&value, attribute, kernel(name)));
    return value;
}

static void function_attributes(void)
{
    begin();
    EXPECT_EQ(function_attribute("tk_copy", CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES), 0);
    EXPECT_EQ(function_attribute("tk_hash", CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES), 8192);
    EXPECT_EQ(function_attribute("tk_copy", CU_FUNC_ATTRIBUTE_PTX_VERSION), 70);
    EXPECT(function_attribute("tk_copy", CU_FUNC_ATTRIBUTE_BINARY_VERSION) >= 70);
    EXPECT(function_attribute("tk_copy", CU_FUNC_ATTRIBUTE_NUM_REGS) > 0);
    EXPECT_EQ(function_attribute("tk_copy", CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK), 1024);
    EXPECT_EQ(function_attribute("tk_copy", CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES), 0);
    OK(cuFuncSetAttribute(kernel("tk_reverse"), CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                          16384));
    EXPECT_EQ(function_attribute("tk_reverse", CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES),
              16384);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuFuncSetAttribute(kernel("tk_reverse"),
                                 CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 1 << 30));
}

/* Several loads and unloads, with launches between: no leak that a second round would show. */
static void reload(void)
{
    CUmodule module = NULL;
    CUfunction fill = NULL;
    CUdeviceptr p;
    uint64_t words = 256;

    begin();
    p = device_alloc(1024);
    for (uint32_t seed = 1; seed <= 10; seed++) {
        OK(cuModuleLoadData(&module, ptx_test_kernels));
        OK(cuModuleGetFunction(&fill, module, "tk_fill"));
        LAUNCH(fill, 1, 128, 0, &p, &words, &seed);
        OK(cuCtxSynchronize());
        OK(cuModuleUnload(module));
        EXPECT_PATTERN(p, 256, seed);
    }
}

#define MODULE_CHECKS(X)                                                                           \
    X(functions)                                                                                   \
    X(globals)                                                                                     \
    X(globals_apart)                                                                               \
    X(bad_instruction)                                                                             \
    X(future_version)                                                                              \
    X(no_image) X(library) X(param_info) X(function_attributes) X(reload)
CHECK_GROUP(module, MODULE_CHECKS);
