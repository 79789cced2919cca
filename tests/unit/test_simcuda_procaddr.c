/* Strategy: the table is held against the list of exports, row by row. Names with several ABIs and
 * per-thread twins are asked for at each version where the answer changes and just below it; the
 * 440 look-ups that NVIDIA's runtime makes must each find an export that carries the name asked
 * for, the one with the newest ABI that the version allows.
 */
#include "data.h"

#include <string.h>

#include "shim/exports.h"
#include "tests/simcuda/exports.h"
#include "tests/simcuda/procaddr.h"
#include "tests/simcuda/procaddr_table.h"

#define DRIVER  13000
#define DEFAULT CU_GET_PROC_ADDRESS_DEFAULT
#define TWIN    CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM

static const char *const NAMES[] = {
#define X(symbol) #symbol,
    DRIVER_EXPORTS(X)
#undef X
};

static const struct {
    const char *symbol;
    int since;
} TABLE[] = {
#define X(symbol, since) {#symbol, since},
    PROCADDR_TABLE(X)
#undef X
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const char *find(const char *name, int version, uint64_t flags)
{
    int index = procaddr_find(name, version, flags, DRIVER, NULL);

    return index < 0 ? "none" : export_name((unsigned)index);
}

static void test_table_has_each_export_once(void **state)
{
    size_t i;

    (void)state;
    assert_int_equal(COUNT(NAMES), 637);
    assert_int_equal(COUNT(TABLE), COUNT(NAMES));
    assert_int_equal(export_count(), COUNT(NAMES));
    for (i = 0; i < COUNT(NAMES); i++) {
        assert_string_equal(TABLE[i].symbol, NAMES[i]);
        assert_string_equal(export_name((unsigned)i), NAMES[i]);
        assert_non_null(export_address((unsigned)i));
        assert_true(TABLE[i].since >= 2000 && TABLE[i].since <= DRIVER);
    }
}

static void test_addresses_differ(void **state)
{
    size_t i, j;

    (void)state;
    for (i = 0; i < COUNT(NAMES); i++) {
        for (j = 0; j < i; j++)
            assert_ptr_not_equal(export_address((unsigned)i), export_address((unsigned)j));
    }
}

static void test_newest_abi_that_is_old_enough(void **state)
{
    static const struct {
        const char *name;
        int version;
        const char *symbol;
    } cases[] = {
        {"cuMemAlloc", 2000, "cuMemAlloc"},
        {"cuMemAlloc", 3019, "cuMemAlloc"},
        {"cuMemAlloc", 3020, "cuMemAlloc_v2"},
        {"cuMemAlloc", 13000, "cuMemAlloc_v2"},
        {"cuCtxCreate", 3020, "cuCtxCreate_v2"},
        {"cuCtxCreate", 11040, "cuCtxCreate_v3"},
        {"cuCtxCreate", 12049, "cuCtxCreate_v3"},
        {"cuCtxCreate", 12050, "cuCtxCreate_v4"},
        {"cuCtxGetDevice", 12080, "cuCtxGetDevice"},
        {"cuCtxGetDevice", 13000, "cuCtxGetDevice_v2"},
        {"cuCtxSynchronize", 2000, "cuCtxSynchronize"},
        {"cuCtxSynchronize", 13000, "cuCtxSynchronize_v2"},
        {"cuMemAdvise", 8000, "cuMemAdvise"},
        {"cuMemAdvise", 12020, "cuMemAdvise_v2"},
        {"cuMemPrefetchAsync", 12019, "cuMemPrefetchAsync"},
        {"cuMemPrefetchAsync", 12020, "cuMemPrefetchAsync_v2"},
        {"cuMemcpyBatchAsync", 12080, "cuMemcpyBatchAsync"},
        {"cuMemcpyBatchAsync", 13000, "cuMemcpyBatchAsync_v2"},
        {"cuStreamBeginCapture", 10000, "cuStreamBeginCapture"},
        {"cuStreamBeginCapture", 10010, "cuStreamBeginCapture_v2"},
        {"cuStreamGetCaptureInfo", 10010, "cuStreamGetCaptureInfo"},
        {"cuStreamGetCaptureInfo", 11030, "cuStreamGetCaptureInfo_v2"},
        {"cuStreamGetCaptureInfo", 12030, "cuStreamGetCaptureInfo_v3"},
        {"cuEventElapsedTime", 12079, "cuEventElapsedTime"},
        {"cuEventElapsedTime", 12080, "cuEventElapsedTime_v2"},
        {"cuGraphInstantiate", 10000, "cuGraphInstantiate"},
        {"cuGraphInstantiate", 11000, "cuGraphInstantiate_v2"},
        {"cuGraphAddNode", 12020, "cuGraphAddNode"},
        {"cuGraphAddNode", 12030, "cuGraphAddNode_v2"},
        {"cuIpcOpenMemHandle", 4010, "cuIpcOpenMemHandle"},
        {"cuIpcOpenMemHandle", 11000, "cuIpcOpenMemHandle_v2"},
        {"cuMemcpyHtoD", 13000, "cuMemcpyHtoD_v2"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(cases); i++)
        assert_string_equal(find(cases[i].name, cases[i].version, DEFAULT), cases[i].symbol);
}

static void test_per_thread_twins(void **state)
{
    (void)state;
    assert_string_equal(find("cuMemcpyHtoD", 7000, TWIN), "cuMemcpyHtoD_v2_ptds");
    assert_string_equal(find("cuMemcpyHtoD", 3020, TWIN), "cuMemcpyHtoD_v2");
    assert_string_equal(find("cuLaunchKernel", 7000, TWIN), "cuLaunchKernel_ptsz");
    assert_string_equal(find("cuLaunchKernel", 7000, DEFAULT), "cuLaunchKernel");
    assert_string_equal(find("cuLaunchKernel", 7000, CU_GET_PROC_ADDRESS_LEGACY_STREAM),
                        "cuLaunchKernel");
    assert_string_equal(find("cuStreamBeginCapture", 10000, TWIN), "cuStreamBeginCapture_ptsz");
    assert_string_equal(find("cuStreamBeginCapture", 10010, TWIN), "cuStreamBeginCapture_v2_ptsz");
    assert_string_equal(find("cuMemAlloc", 13000, TWIN), "cuMemAlloc_v2");
}

static void test_status_says_why(void **state)
{
    CUdriverProcAddressQueryResult status;

    (void)state;
    assert_true(procaddr_find("cuInit", 2000, DEFAULT, DRIVER, &status) >= 0);
    assert_int_equal(status, CU_GET_PROC_ADDRESS_SUCCESS);
    assert_int_equal(procaddr_find("cuLaunchKernelEx", 11000, DEFAULT, DRIVER, &status), -1);
    assert_int_equal(status, CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
    assert_int_equal(procaddr_find("cuNoSuchThing", 13000, DEFAULT, DRIVER, &status), -1);
    assert_int_equal(status, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    assert_int_equal(procaddr_find("", 0, DEFAULT, DRIVER, &status), -1);
    assert_int_equal(status, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
}

/* A name is asked for without its suffixes, and a beginning of a name is not the name. */
static void test_suffixed_and_cut_names(void **state)
{
    (void)state;
    assert_string_equal(find("cuMemAlloc_v2", 13000, DEFAULT), "cuMemAlloc_v2");
    assert_string_equal(find("cuMemAllo", 13000, DEFAULT), "none");
    assert_string_equal(find("cuMemcpy", 13000, TWIN), "cuMemcpy_ptds");
    assert_string_equal(find("cuGraphInstantiate", 13000, DEFAULT), "cuGraphInstantiate_v2");
}

static void test_driver_knows_nothing_newer_than_itself(void **state)
{
    CUdriverProcAddressQueryResult status;

    (void)state;
    assert_int_equal(procaddr_find("cuFuncGetParamInfo", 13000, DEFAULT, 12030, &status), -1);
    assert_int_equal(status, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    assert_string_equal(
        export_name((unsigned)procaddr_find("cuCtxGetDevice", 13000, DEFAULT, 12080, NULL)),
        "cuCtxGetDevice");
}

static int is_twin(const char *symbol)
{
    const size_t length = strlen(symbol);

    return strcmp(symbol + length - 5, "_ptsz") == 0 || strcmp(symbol + length - 5, "_ptds") == 0;
}

/* Does any row of that name fit better than the one that was found? */
static void assert_newest(const char *name, int version, const char *found)
{
    int since = 0;
    size_t i;

    for (i = 0; i < COUNT(TABLE); i++) {
        if (strcmp(TABLE[i].symbol, found) == 0)
            since = TABLE[i].since;
    }
    assert_true(since <= version);
    for (i = 0; i < COUNT(TABLE); i++) {
        const char *rest = TABLE[i].symbol + strlen(name);
        int named = strncmp(TABLE[i].symbol, name, strlen(name)) == 0 &&
                    (*rest == '\0' || strncmp(rest, "_v", 2) == 0 || strncmp(rest, "_pt", 3) == 0);

        if (!named || TABLE[i].since > version || is_twin(TABLE[i].symbol) != is_twin(found))
            continue;
        assert_true(TABLE[i].since <= since);
    }
}

static void test_lookups_of_the_runtime(void **state)
{
    char *text = data_read("cudart-13.0-lookups.txt", NULL);
    char *line, *next = NULL;
    int lines = 0, per_thread = 0;

    (void)state;
    for (line = strtok_r(text, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
        char name[128] = "";
        unsigned flags;
        int version;
        const char *found;

        lines++;
        if (line[0] == '@')
            continue;
        assert_int_equal(sscanf(line, "%127[^@]@%d flags=%u", name, &version, &flags), 3);
        per_thread += flags == TWIN;
        found = find(name, version, flags);
        if (strcmp(found, "none") == 0) {
            /* The runtime asks for graphics functions that this driver's list does not have. */
            assert_true(strstr(name, "GL") || strstr(name, "Egl") || strstr(name, "VDPAU"));
            continue;
        }
        assert_memory_equal(found, name, strlen(name));
        assert_newest(name, version, found);
        /* The runtime asks for a twin only where there is one. */
        assert_int_equal(is_twin(found), flags == TWIN);
    }
    free(text);
    assert_int_equal(lines, 440);
    assert_int_equal(per_thread, 74);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_has_each_export_once),
        cmocka_unit_test(test_addresses_differ),
        cmocka_unit_test(test_newest_abi_that_is_old_enough),
        cmocka_unit_test(test_per_thread_twins),
        cmocka_unit_test(test_status_says_why),
        cmocka_unit_test(test_suffixed_and_cut_names),
        cmocka_unit_test(test_driver_knows_nothing_newer_than_itself),
        cmocka_unit_test(test_lookups_of_the_runtime),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
