/* check_entry.c - finding functions: cuGetProcAddress in both versions, names with several ABIs. */
#include "conformance.h"

#include <dlfcn.h>

/* The symbol of the first version, behind the name that cuda_api.h gives to the second. */
typedef CUresult (*get_proc_v1)(const char *, void **, int, cuuint64_t);
typedef CUresult (*prefetch_8000)(CUdeviceptr, size_t, CUdevice, CUstream);
typedef CUresult (*prefetch_12020)(CUdeviceptr, size_t, CUmemLocation, unsigned, CUstream);
typedef CUresult (*stream_query)(CUstream);

static void *export_of(const char *symbol)
{
    return dlsym(RTLD_DEFAULT, symbol);
}

static int driver_version(void)
{
    int version = 0;

    OK(cuInit(0));
    OK(cuDriverGetVersion(&version));
    return version;
}

/* What the second version answers for a name that is there; the version 0 asks for the newest. */
static void *look_up(const char *name, int version, cuuint64_t flags)
{
    CUdriverProcAddressQueryResult status = (CUdriverProcAddressQueryResult)-1;
    void *function = NULL;

    OK(cuGetProcAddress(name, &function, version ? version : driver_version(), flags, &status));
    EXPECT_EQ(status, CU_GET_PROC_ADDRESS_SUCCESS);
    EXPECT(function != NULL);
    return function;
}

static void version_1(void)
{
    get_proc_v1 get_proc = (get_proc_v1)export_of("cuGetProcAddress");
    CUresult (*get_count)(int *) = NULL;
    void *function = NULL;
    int count = 0;

    EXPECT(get_proc != NULL);
    OK(cuInit(0));
    OK(get_proc("cuDeviceGetCount", &function, 11030, 0));
    EXPECT(function != NULL);
    get_count = (CUresult(*)(int *))function;
    OK(get_count(&count));
    EXPECT(count >= 1);
}

static void version_1_missing(void)
{
    get_proc_v1 get_proc = (get_proc_v1)export_of("cuGetProcAddress");
    void *function = (void *)1;

    EXPECT(get_proc != NULL);
    OK(cuInit(0));
    EXPECT_ERROR("missing", get_proc("cuNoSuchFunction", &function, 11030, 0));
    /* Nothing is said of the function then. */
    answer("untouched", function == (void *)1);
}

static void version_2(void)
{
    CUresult (*alloc)(CUdeviceptr *, size_t);
    CUresult (*release)(CUdeviceptr);
    CUdeviceptr p = 0;

    begin();
    alloc = (CUresult(*)(CUdeviceptr *, size_t))look_up("cuMemAlloc", 0, 0);
    release = (CUresult(*)(CUdeviceptr))look_up("cuMemFree", 0, 0);
    OK(alloc(&p, 4096));
    EXPECT(p != 0);
    OK(release(p));
}

/* A missing name is no error: the function is NULL and the status says why. */
static void status_missing(void)
{
    CUdriverProcAddressQueryResult status = CU_GET_PROC_ADDRESS_SUCCESS;
    void *function = (void *)1;

    OK(cuInit(0));
    answer("result", cuGetProcAddress("cuNoSuchFunction", &function, 12000, 0, &status));
    EXPECT_EQ(status, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    EXPECT(function == NULL);
}

static void status_too_old(void)
{
    CUdriverProcAddressQueryResult status = CU_GET_PROC_ADDRESS_SUCCESS;
    void *function = (void *)1;

    OK(cuInit(0));
    answer("result", cuGetProcAddress("cuMemPrefetchAsync", &function, 7000, 0, &status));
    EXPECT_EQ(status, CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
    EXPECT(function == NULL);
}

/* The status is optional; without a name, or a place for the answer, the driver may crash. */
static void arguments(void)
{
    CUdriverProcAddressQueryResult status;
    void *function = NULL;

    OK(cuInit(0));
    OK(cuGetProcAddress("cuInit", &function, 12000, 0, NULL));
    EXPECT(function != NULL);
    answer("flags_unknown", cuGetProcAddress("cuInit", &function, 12000, 64, &status));
    answer("version_to_come", cuGetProcAddress("cuInit", &function, 90000, 0, &status));
}

/* The runtime asks before it initialises. */
static void before_init(void)
{
    CUdriverProcAddressQueryResult status;
    CUresult (*init)(unsigned) = NULL;
    void *function = NULL;

    OK(cuGetProcAddress("cuInit", &function, 12000, 0, &status));
    EXPECT_EQ(status, CU_GET_PROC_ADDRESS_SUCCESS);
    init = (CUresult(*)(unsigned))function;
    OK(init(0));
}

/* Which symbol stands behind a name and a version. dlsym and cuGetProcAddress answer the same
 * address on every driver seen; the record says so, and calls below prove the right ABI. */
static void symbols(void)
{
    static const struct {
        const char *name;
        int version;
        cuuint64_t flags;
        const char *symbol;
    } known[] = {
        {"cuMemAlloc", 3020, 0, "cuMemAlloc_v2"},
        {"cuMemAlloc", 2000, 0, "cuMemAlloc"},
        {"cuMemcpyHtoD", 4000, 0, "cuMemcpyHtoD_v2"},
        {"cuMemcpyHtoD", 7000, 2, "cuMemcpyHtoD_v2_ptds"},
        {"cuMemcpyHtoDAsync", 7000, 2, "cuMemcpyHtoDAsync_v2_ptsz"},
        {"cuLaunchKernel", 4000, 0, "cuLaunchKernel"},
        {"cuLaunchKernel", 7000, 2, "cuLaunchKernel_ptsz"},
        {"cuLaunchKernel", 7000, 1, "cuLaunchKernel"},
        {"cuMemAlloc", 7000, 2, "cuMemAlloc_v2"},
        {"cuMemPrefetchAsync", 8000, 0, "cuMemPrefetchAsync"},
        {"cuMemPrefetchAsync", 12010, 0, "cuMemPrefetchAsync"},
        {"cuMemPrefetchAsync", 12020, 0, "cuMemPrefetchAsync_v2"},
        {"cuMemAdvise", 8000, 0, "cuMemAdvise"},
        {"cuMemAdvise", 12020, 0, "cuMemAdvise_v2"},
        {"cuStreamBeginCapture", 10000, 0, "cuStreamBeginCapture"},
        {"cuStreamBeginCapture", 10010, 0, "cuStreamBeginCapture_v2"},
        {"cuGetProcAddress", 11030, 0, "cuGetProcAddress"},
        {"cuGetProcAddress", 12000, 0, "cuGetProcAddress_v2"},
        {"cuCtxCreate", 3020, 0, "cuCtxCreate_v2"},
        {"cuCtxCreate", 11040, 0, "cuCtxCreate_v3"},
        {"cuStreamDestroy", 4000, 0, "cuStreamDestroy_v2"},
        {"cuCtxDestroy", 4000, 0, "cuCtxDestroy_v2"},
        {"cuDeviceGetUuid", 9020, 0, "cuDeviceGetUuid"},
        {"cuDeviceGetUuid", 11040, 0, "cuDeviceGetUuid_v2"},
    };
    char key[96];

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        void *function = look_up(known[i].name, known[i].version, known[i].flags);

        EXPECT(export_of(known[i].symbol) != NULL);
        snprintf(key, sizeof(key), "%s_%d_%d", known[i].name, known[i].version,
                 (int)known[i].flags);
        answer(key, function == export_of(known[i].symbol));
    }
}

/* Both ABIs of one name, each called as its version says. */
static void prefetch_abis(void)
{
    CUmemLocation device = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
    prefetch_12020 newer;
    prefetch_8000 older;
    CUdeviceptr p;
    int where = -7;

    begin();
    need_concurrent_managed();
    older = (prefetch_8000)look_up("cuMemPrefetchAsync", 8000, 0);
    newer = (prefetch_12020)look_up("cuMemPrefetchAsync", 12020, 0);
    EXPECT((void *)older != (void *)newer);
    p = managed_alloc(4 * MIB);
    OK(older(p, 2 * MIB, CU_DEVICE_CPU, 0));
    OK(newer(p + 2 * MIB, 2 * MIB, device, 0, 0));
    OK(cuCtxSynchronize());
    OK(cuMemRangeGetAttribute(&where, sizeof(where), CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION,
                              p, 2 * MIB));
    EXPECT(where == CU_DEVICE_CPU);
    OK(cuMemRangeGetAttribute(&where, sizeof(where), CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION,
                              p + 2 * MIB, 2 * MIB));
    EXPECT(where == 0);
}

struct other_thread {
    CUcontext context;
    stream_query query;
    CUresult answer;
};

static void query_there(void *arg)
{
    struct other_thread *other = arg;

    OK(cuCtxSetCurrent(other->context));
    other->answer = other->query(0);
}

/* Stream 0 of a per-thread look-up is the calling thread's own: busy here, idle elsewhere. */
static void per_thread(void)
{
    struct other_thread other = {begin(), NULL, CUDA_ERROR_UNKNOWN};
    struct gate gate;

    other.query = (stream_query)look_up("cuStreamQuery", 0, 2);
    warm_up();
    gate_close(&gate, CU_STREAM_PER_THREAD);
    EXPECT_CU(CUDA_ERROR_NOT_READY, other.query(0));
    in_thread(query_there, &other);
    EXPECT_EQ(other.answer, CUDA_SUCCESS);
    gate_open(&gate);
    OK(cuStreamSynchronize(CU_STREAM_PER_THREAD));
    OK(other.query(0));
}

#define ENTRY_CHECKS(X)                                                                            \
    X(version_1)                                                                                   \
    X(version_1_missing)                                                                           \
    X(version_2)                                                                                   \
    X(status_missing)                                                                              \
    X(status_too_old)                                                                              \
    X(arguments) X(before_init) X(symbols) X(prefetch_abis) X(per_thread)
CHECK_GROUP(entry, ENTRY_CHECKS);
