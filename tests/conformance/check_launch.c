/* check_launch.c - the ways to hand parameters to a kernel, and what is refused at the call. */
#include "conformance.h"

#define WORDS 1000u

static void params(void)
{
    CUdeviceptr p;

    begin();
    p = device_alloc(WORDS * 4);
    launch_fill(0, p, WORDS, 77);
    EXPECT_PATTERN(p, WORDS, 77);
}

struct fill_buffer {
    CUdeviceptr p;
    uint64_t words;
    uint32_t seed;
};

/* The size that belongs to tk_fill: without the padding at the end of the struct. */
#define FILL_BUFFER_BYTES 20

static void extra(void)
{
    struct fill_buffer buffer = {0, WORDS, 78};
    size_t bytes = FILL_BUFFER_BYTES;
    void *config[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                      CU_LAUNCH_PARAM_END};

    begin();
    buffer.p = device_alloc(WORDS * 4);
    OK(cuLaunchKernel(kernel("tk_fill"), 8, 1, 1, 128, 1, 1, 0, 0, NULL, config));
    EXPECT_PATTERN(buffer.p, WORDS, 78);
}

/* A buffer of the struct's own size, padding included: longer than the parameters are together. */
static void extra_padded(void)
{
    struct fill_buffer buffer = {0, WORDS, 79};
    size_t bytes = sizeof(buffer);
    void *config[] = {CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes, CU_LAUNCH_PARAM_BUFFER_POINTER, &buffer,
                      CU_LAUNCH_PARAM_END};
    CUresult res;

    begin();
    buffer.p = device_alloc(WORDS * 4);
    res = cuLaunchKernel(kernel("tk_fill"), 8, 1, 1, 128, 1, 1, 0, 0, NULL, config);
    answer("result", res);
    if (res == CUDA_SUCCESS)
        EXPECT_PATTERN(buffer.p, WORDS, 79);
}

/* A buffer without the last parameter, the seed, which may be anything then. */
static void extra_short(void)
{
    struct fill_buffer buffer = {0, WORDS, 78};
    size_t bytes = offsetof(struct fill_buffer, seed);
    void *config[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                      CU_LAUNCH_PARAM_END};

    begin();
    buffer.p = device_alloc(WORDS * 4);
    OK(cuLaunchKernel(kernel("tk_fill"), 8, 1, 1, 128, 1, 1, 0, 0, NULL, config));
    OK(cuCtxSynchronize());
}

static void both(void)
{
    struct fill_buffer buffer = {0, WORDS, 78};
    size_t bytes = FILL_BUFFER_BYTES;
    void *config[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                      CU_LAUNCH_PARAM_END};
    void *list[] = {&buffer.p, &buffer.words, &buffer.seed};

    begin();
    buffer.p = device_alloc(WORDS * 4);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuLaunchKernel(kernel("tk_fill"), 8, 1, 1, 128, 1, 1, 0, 0, list, config));
}

/* Three buffers of words with three patterns, for kernels of several inputs. */
static CUdeviceptr filled(uint32_t seed)
{
    CUdeviceptr p = device_alloc(WORDS * 4);

    launch_fill(0, p, WORDS, seed);
    return p;
}

static void by_value(void)
{
    static uint32_t got[WORDS];
    struct tk_pair pair;
    CUdeviceptr out;

    begin();
    out = device_alloc(WORDS * 4);
    memset(&pair, 0xee, sizeof(pair));
    pair.dst = (unsigned *)(uintptr_t)out;
    pair.left = (const unsigned *)(uintptr_t)filled(1);
    pair.right = (const unsigned *)(uintptr_t)filled(2);
    pair.scale = 5;
    pair.n = WORDS;
    LAUNCH(kernel("tk_by_value"), 8, 128, 0, &pair);
    OK(cuMemcpyDtoH(got, out, sizeof(got)));
    for (uint32_t i = 0; i < WORDS; i++)
        EXPECT_EQ(got[i], tk_pattern(i, 1) * 5 + tk_pattern(i, 2));
}

static void many_pointers(void)
{
    static uint32_t got[WORDS];
    CUdeviceptr p[32];
    uint64_t words = WORDS;
    void *list[33];

    begin();
    for (uint32_t i = 0; i < 32; i++) {
        p[i] = filled(i);
        list[i] = &p[i];
    }
    list[32] = &words;
    OK(cuLaunchKernel(kernel("tk_thirty_two"), 8, 1, 1, 128, 1, 1, 0, 0, list, NULL));
    OK(cuMemcpyDtoH(got, p[31], sizeof(got)));
    for (uint32_t i = 0; i < WORDS; i++) {
        uint32_t sum = 0;

        for (uint32_t k = 0; k < 31; k++)
            sum += (k + 1) * tk_pattern(i, k);
        EXPECT_EQ(got[i], sum);
    }
}

/* Floats: product and sum rounded apart, the same bits on host and device. */
static void saxpy(void)
{
    enum { COUNT = 512 };
    float x[COUNT], y[COUNT], got[COUNT], a = 1.0f / 3.0f;
    CUdeviceptr px, py;
    uint64_t n = COUNT;

    begin();
    for (int i = 0; i < COUNT; i++) {
        x[i] = (float)(int)(tk_pattern((unsigned)i, 1) >> 8) / 65536.0f - 100.0f;
        y[i] = (float)(int)(tk_pattern((unsigned)i, 2) >> 8) / 1048576.0f;
    }
    px = device_alloc(sizeof(x));
    py = device_alloc(sizeof(y));
    OK(cuMemcpyHtoD(px, x, sizeof(x)));
    OK(cuMemcpyHtoD(py, y, sizeof(y)));
    LAUNCH(kernel("tk_saxpy"), 2, 128, 0, &py, &px, &a, &n);
    OK(cuMemcpyDtoH(got, py, sizeof(got)));
    for (int i = 0; i < COUNT; i++) {
        volatile float product = a * x[i];
        volatile float expected = product + y[i];

        EXPECT(memcmp(&got[i], (const void *)&expected, sizeof(float)) == 0);
    }
}

static void dynamic_shared(void)
{
    static uint32_t got[512];
    CUdeviceptr p, out;
    uint32_t n = 512;
    void *list[] = {&out, &p, &n};

    begin();
    p = device_alloc(n * 4);
    out = device_alloc(n * 4);
    launch_fill(0, p, n, 6);
    OK(cuLaunchKernel(kernel("tk_reverse"), 1, 1, 1, 512, 1, 1, 2048, 0, list, NULL));
    OK(cuMemcpyDtoH(got, out, sizeof(got)));
    for (uint32_t i = 0; i < n; i++)
        EXPECT_EQ(got[i], tk_pattern(n - 1 - i, 6));
}

/* Barriers and shared memory: one block of any width gives the same sum. */
static void reduction(void)
{
    static const unsigned widths[] = {1, 31, 32, 33, 256, 1024};
    uint64_t words = 5000, sum = 0;
    CUdeviceptr p, out;

    begin();
    p = device_alloc(words * 4);
    out = device_alloc(8);
    launch_fill(0, p, words, 8);
    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        OK(cuMemsetD8(out, 0, 8));
        LAUNCH(kernel("tk_hash"), 1, widths[i], 0, &p, &words, &out);
        OK(cuMemcpyDtoH(&sum, out, 8));
        EXPECT_EQ(sum, tk_hash_of_pattern(words, 8));
    }
}

static void config_ex(void)
{
    CUlaunchConfig config;
    CUdeviceptr p;
    uint64_t words = WORDS;
    uint32_t seed = 80;
    void *list[] = {&p, &words, &seed};

    begin();
    memset(&config, 0, sizeof(config));
    config.gridDimX = 8;
    config.gridDimY = config.gridDimZ = 1;
    config.blockDimX = 128;
    config.blockDimY = config.blockDimZ = 1;
    p = device_alloc(WORDS * 4);
    OK(cuLaunchKernelEx(&config, kernel("tk_fill"), list, NULL));
    EXPECT_PATTERN(p, WORDS, 80);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuLaunchKernelEx(NULL, kernel("tk_fill"), list, NULL));
}

static void cooperative(void)
{
    CUdeviceptr p;
    uint64_t words = WORDS;
    uint32_t seed = 81;
    void *list[] = {&p, &words, &seed};

    begin();
    if (!device_attribute(CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH))
        check_skip("no cooperative launch (attribute 95)");
    p = device_alloc(WORDS * 4);
    OK(cuLaunchCooperativeKernel(kernel("tk_fill"), 4, 1, 1, 128, 1, 1, 0, 0, list));
    EXPECT_PATTERN(p, WORDS, 81);
}

/* Parameters are copied at the call: what the host does to them later changes nothing. */
static void params_copied(void)
{
    CUdeviceptr p, decoy, first;
    CUstream stream;
    uint64_t words = WORDS;
    uint32_t seed = 90;
    struct gate gate;

    begin();
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    first = p = device_alloc(WORDS * 4);
    decoy = device_alloc(WORDS * 4);
    gate_close(&gate, stream);
    LAUNCH(kernel("tk_fill"), 8, 128, stream, &p, &words, &seed);
    p = decoy;
    words = 1;
    seed = 91;
    gate_open(&gate);
    OK(cuStreamSynchronize(stream));
    EXPECT_PATTERN(first, WORDS, 90);
}

static void extra_copied(void)
{
    struct fill_buffer buffer = {0, WORDS, 92};
    size_t bytes = FILL_BUFFER_BYTES;
    void *config[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                      CU_LAUNCH_PARAM_END};
    CUdeviceptr first;
    CUstream stream;
    struct gate gate;

    begin();
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    first = buffer.p = device_alloc(WORDS * 4);
    gate_close(&gate, stream);
    OK(cuLaunchKernel(kernel("tk_fill"), 8, 1, 1, 128, 1, 1, 0, stream, NULL, config));
    memset(&buffer, 0, sizeof(buffer));
    bytes = 0;
    gate_open(&gate);
    OK(cuStreamSynchronize(stream));
    EXPECT_PATTERN(first, WORDS, 92);
}

/* One launch of tk_fill with this shape, for what is refused. */
static CUresult launch_shape(unsigned gx, unsigned gy, unsigned bx, unsigned by, unsigned shared)
{
    CUdeviceptr p = device_alloc(64);
    uint64_t words = 16;
    uint32_t seed = 1;
    void *list[] = {&p, &words, &seed};

    return cuLaunchKernel(kernel("tk_fill"), gx, gy, 1, bx, by, 1, shared, 0, list, NULL);
}

static void shapes(void)
{
    begin();
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, launch_shape(0, 1, 32, 1, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, launch_shape(1, 0, 32, 1, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, launch_shape(1, 1, 0, 1, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, launch_shape(1, 1, 32, 0, 0));
    EXPECT_ERROR("block_2048", launch_shape(1, 1, 2048, 1, 0));
    EXPECT_ERROR("block_64_64", launch_shape(1, 1, 64, 64, 0));
    EXPECT_ERROR("grid_y_65536", launch_shape(1, 65536, 32, 1, 0));
    EXPECT_ERROR("shared_1MiB", launch_shape(1, 1, 32, 1, 1 << 20));
    /* None of these is sticky. */
    OK(launch_shape(1, 1, 32, 1, 0));
    OK(cuCtxSynchronize());
}

static void arguments(void)
{
    CUdeviceptr p;
    uint64_t words = 16;
    uint32_t seed = 1;
    void *list[] = {&p, &words, &seed};

    begin();
    p = device_alloc(64);
    EXPECT_ERROR("null_function", cuLaunchKernel(NULL, 1, 1, 1, 32, 1, 1, 0, 0, list, NULL));
    EXPECT_ERROR("no_params",
                 cuLaunchKernel(kernel("tk_fill"), 1, 1, 1, 32, 1, 1, 0, 0, NULL, NULL));
    OK(cuCtxSynchronize());
}

/* Three dimensions of grid and block reach every block once. */
static void grid_y(void)
{
    CUdeviceptr p;
    uint64_t words = 256;
    uint32_t seed = 5;
    void *list[] = {&p, &words, &seed};

    begin();
    p = device_alloc(1024);
    OK(cuLaunchKernel(kernel("tk_fill"), 2, 3, 2, 16, 2, 2, 0, 0, list, NULL));
    EXPECT_PATTERN(p, 256, 5);
}

#define LAUNCH_CHECKS(X)                                                                           \
    X(params)                                                                                      \
    X(extra)                                                                                       \
    X(extra_padded)                                                                                \
    X(extra_short)                                                                                 \
    X(both)                                                                                        \
    X(by_value)                                                                                    \
    X(many_pointers)                                                                               \
    X(saxpy)                                                                                       \
    X(dynamic_shared)                                                                              \
    X(reduction)                                                                                   \
    X(config_ex)                                                                                   \
    X(cooperative)                                                                                 \
    X(params_copied) X(extra_copied) X(shapes) X(arguments) X(grid_y)
CHECK_GROUP(launch, LAUNCH_CHECKS);
