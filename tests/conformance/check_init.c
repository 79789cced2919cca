/* check_init.c - before and at cuInit; devices, their attributes; error names. */
#include "conformance.h"

/* Nothing works before cuInit but what needs no driver state. */
static void before(void)
{
    CUdeviceptr p;
    CUcontext context;
    CUdevice device;
    size_t bytes;
    int n;

    EXPECT_CU(CUDA_ERROR_NOT_INITIALIZED, cuDeviceGetCount(&n));
    EXPECT_CU(CUDA_ERROR_NOT_INITIALIZED, cuDeviceGet(&device, 0));
    EXPECT_CU(CUDA_ERROR_NOT_INITIALIZED, cuMemAlloc(&p, 16));
    EXPECT_CU(CUDA_ERROR_NOT_INITIALIZED, cuMemGetInfo(&bytes, &bytes));
    EXPECT_CU(CUDA_ERROR_NOT_INITIALIZED, cuCtxGetCurrent(&context));
    EXPECT_CU(CUDA_ERROR_NOT_INITIALIZED, cuCtxSynchronize());
    OK(cuDriverGetVersion(&n));
}

static void flags(void)
{
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuInit(1));
    OK(cuInit(0));
}

static void twice(void)
{
    int n = 0;

    OK(cuInit(0));
    OK(cuInit(0));
    OK(cuDeviceGetCount(&n));
    EXPECT(n >= 1);
}

static void version(void)
{
    int first = 0, second = 0;

    OK(cuDriverGetVersion(&first));
    OK(cuInit(0));
    OK(cuDriverGetVersion(&second));
    EXPECT(first >= 11000);
    EXPECT_EQ(first, second);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDriverGetVersion(NULL));
}

static void error_names(void)
{
    static const struct {
        CUresult code;
        const char *name;
    } known[] = {
        {CUDA_SUCCESS, "CUDA_SUCCESS"},
        {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
        {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
        {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED"},
        {CUDA_ERROR_DEINITIALIZED, "CUDA_ERROR_DEINITIALIZED"},
        {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},
        {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
        {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE"},
        {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
        {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
        {CUDA_ERROR_INVALID_PTX, "CUDA_ERROR_INVALID_PTX"},
        {CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"},
        {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},
        {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
        {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY"},
        {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"},
        {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"},
        {CUDA_ERROR_CONTEXT_IS_DESTROYED, "CUDA_ERROR_CONTEXT_IS_DESTROYED"},
        {CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED"},
        {CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED"},
        {CUDA_ERROR_MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS"},
        {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"},
        {CUDA_ERROR_NOT_PERMITTED, "CUDA_ERROR_NOT_PERMITTED"},
        {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED"},
        {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
        {CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN"},
    };
    char key[32];

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        const char *text = NULL;

        OK(cuGetErrorName(known[i].code, &text));
        EXPECT(text != NULL && strcmp(text, known[i].name) == 0);
        text = NULL;
        OK(cuGetErrorString(known[i].code, &text));
        EXPECT(text != NULL && text[0] != '\0');
        snprintf(key, sizeof(key), "string_%d", (int)known[i].code);
        answer_text(key, text);
    }
}

/* A code that is no error gives 1, and NULL for its name. */
static void error_unknown(void)
{
    const char *text = "unset";

    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGetErrorName((CUresult)123456, &text));
    EXPECT(text == NULL);
    text = "unset";
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuGetErrorString((CUresult)123456, &text));
    EXPECT(text == NULL);
}

#define INIT_CHECKS(X) X(before) X(flags) X(twice) X(version) X(error_names) X(error_unknown)
CHECK_GROUP(init, INIT_CHECKS);

static void ordinals(void)
{
    CUdevice device = -7;
    int count = 0;

    OK(cuInit(0));
    OK(cuDeviceGetCount(&count));
    EXPECT(count >= 1);
    for (int i = 0; i < count; i++)
        OK(cuDeviceGet(&device, i));
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuDeviceGet(&device, count));
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuDeviceGet(&device, -1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDeviceGet(NULL, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDeviceGetCount(NULL));
}

/* The name is cut to the buffer and ends with NUL; the UUID is something, and the same each time.
 */
static void identity(void)
{
    CUdevice device = begin_device();
    char name[256], shorter[5];
    CUuuid first, second, zero;

    memset(name, 'x', sizeof(name));
    memset(shorter, 'x', sizeof(shorter));
    memset(&zero, 0, sizeof(zero));
    OK(cuDeviceGetName(name, sizeof(name), device));
    EXPECT(memchr(name, '\0', sizeof(name)) != NULL && name[0] != '\0');
    OK(cuDeviceGetName(shorter, sizeof(shorter), device));
    EXPECT(memchr(shorter, '\0', sizeof(shorter)) != NULL);
    EXPECT(strncmp(name, shorter, strlen(shorter)) == 0);
    OK(cuDeviceGetUuid(&first, device));
    OK(cuDeviceGetUuid(&second, device));
    EXPECT(memcmp(&first, &second, sizeof(first)) == 0);
    EXPECT(memcmp(&first, &zero, sizeof(first)) != 0);
    note_text("name", name);
}

/* Two ways of asking for the same number. */
static void total_memory(void)
{
    CUdevice device = begin_device();
    size_t total = 0, info_free = 0, info_total = 0;

    OK(cuDeviceTotalMem(&total, device));
    new_context();
    OK(cuMemGetInfo(&info_free, &info_total));
    note("device_total_bytes", (long long)total);
    note("info_total_bytes", (long long)info_total);
    note("info_free_bytes", (long long)info_free);
    EXPECT_EQ(info_total, total);
    EXPECT(info_free > 0 && info_free <= info_total);
}

static void attributes(void)
{
    begin_device();
    EXPECT_EQ(device_attribute(CU_DEVICE_ATTRIBUTE_WARP_SIZE), 32);
    EXPECT_EQ(device_attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK), 1024);
    EXPECT_EQ(device_attribute(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X), 1024);
    EXPECT_EQ(device_attribute(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y), 1024);
    EXPECT_EQ(device_attribute(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z), 64);
    EXPECT_EQ(device_attribute(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X), 0x7fffffff);
    EXPECT_EQ(device_attribute(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y), 65535);
    EXPECT_EQ(device_attribute(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z), 65535);
    EXPECT_EQ(device_attribute(CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING), 1);
    EXPECT_EQ(device_attribute(CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY), 1);
    EXPECT_EQ(device_attribute(CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY), 65536);
    EXPECT_EQ(device_attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK), 49152);
    EXPECT(device_attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) >= 5);
    EXPECT(device_attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR) >= 0);
    EXPECT(device_attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT) >= 1);
    EXPECT(device_attribute(CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT) >= 1);
    EXPECT(device_attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN) >= 49152);
    EXPECT(device_attribute(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE) > 0);
    /* Concurrent access is a property of managed memory. */
    EXPECT(device_attribute(CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY) >=
           device_attribute(CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS));
}

static void attribute_errors(void)
{
    int value, count = 0;

    begin_device();
    OK(cuDeviceGetCount(&count));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDeviceGetAttribute(&value, (CUdevice_attribute)0, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDeviceGetAttribute(&value, (CUdevice_attribute)9999, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuDeviceGetAttribute(NULL, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE,
              cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, count + 3));
}

/* For the record: every attribute that this driver knows. */
static void attribute_table(void)
{
    char key[32];
    int value, known = 0;

    begin_device();
    for (int i = 1; i < 160; i++)
        if (cuDeviceGetAttribute(&value, (CUdevice_attribute)i, 0) == CUDA_SUCCESS) {
            snprintf(key, sizeof(key), "attribute_%d", i);
            note(key, value);
            known++;
        }
    EXPECT(known >= 50);
}

#define DEVICE_CHECKS(X)                                                                           \
    X(ordinals) X(identity) X(total_memory) X(attributes) X(attribute_errors) X(attribute_table)
CHECK_GROUP(device, DEVICE_CHECKS);
