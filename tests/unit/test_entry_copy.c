/* The copy hooks themselves: what each describes, and that the real call is made between begin and
 * end.
 *
 * The file under test is included, with fakes for what it calls: every real function is one fake
 * that records its arguments, access_begin() and access_end() record theirs. Each hook is called
 * once, with and without a stream, and what came out is compared with the API's meaning of that
 * call.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "../../shim/entry_copy.c"

#define DST    0x7f4000000000ull
#define SRC    0x7f5000000000ull
#define HOST   ((void *)0x10000)
#define STREAM ((CUstream)0x4321)
#define ARRAY  ((CUarray)0x9876)
#define RESULT CUDA_ERROR_NOT_READY /* any code that nobody else gives */

static struct driver g_fake;
static int g_passive_now;

/* What happened, in order: 'b' begin, 'r' the real function, 'e' end. */
static char g_trace[8];
static size_t g_trace_length;
static struct access_call g_begun;
static struct transfer_access g_spans[64];
static long g_args[9];

/* Which hooks have been called, so that none is forgotten when a row is added. */
static int g_called[HOOK_COUNT];

static void trace(char what)
{
    if (g_trace_length < sizeof(g_trace) - 1)
        g_trace[g_trace_length++] = what;
}

const struct driver *driver_get(void)
{
    return &g_fake;
}

int entry_is_passive(void)
{
    return g_passive_now;
}

CUresult access_begin(struct access_call *call)
{
    trace('b');
    g_begun = *call;
    memcpy(g_spans, call->spans, call->count * sizeof(g_spans[0]));
    call->held = &g_begun;
    return CUDA_SUCCESS;
}

void access_end(struct access_call *call, CUresult result)
{
    trace('e');
    assert_ptr_equal(call->held, &g_begun);
    assert_int_equal(result, RESULT);
}

/* Nine words: more than any copy has parameters. */
static CUresult fake_real(long a, long b, long c, long d, long e, long f, long g, long h, long i)
{
    const long args[9] = {a, b, c, d, e, f, g, h, i};

    trace('r');
    memcpy(g_args, args, sizeof(args));
    return RESULT;
}

static CUDA_ARRAY3D_DESCRIPTOR g_array_is;

static CUresult fake_descriptor(CUDA_ARRAY3D_DESCRIPTOR *out, CUarray array)
{
    *out = g_array_is;
    return array == ARRAY ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static int set_up(void **state)
{
    (void)state;
    g_array_is = (CUDA_ARRAY3D_DESCRIPTOR){.Format = CU_AD_FORMAT_HALF, .NumChannels = 4};
    g_fake.cuArray3DGetDescriptor_v2 = fake_descriptor;
#define X(name, symbol, since, null_stream, params) *(void **)&g_fake.symbol = (void *)fake_real;
    HOOKS(X)
#undef X
    g_passive_now = 0;
    return 0;
}

/* The checks
 * -------------------------------------------------------------------------------------*/

static void before(void)
{
    memset(g_trace, 0, sizeof(g_trace));
    memset(g_args, 0, sizeof(g_args));
    memset(g_spans, 0, sizeof(g_spans));
    memset(&g_begun, 0, sizeof(g_begun));
    g_trace_length = 0;
}

static void after(CUresult res, const char *symbol, CUstream stream, enum access_order order,
                  const struct transfer_access *expected, size_t count)
{
    if (res != RESULT || strcmp(g_trace, "bre") != 0)
        fail_msg("%s: result %d, trace \"%s\"", symbol, res, g_trace);
    assert_string_equal(g_begun.name, symbol);
    for (int hook = 0; hook < HOOK_COUNT; hook++)
        g_called[hook] |= strcmp(g_hook_rows[hook].symbol, symbol) == 0;
    if (g_begun.stream != stream || g_begun.order != order || g_begun.count != count)
        fail_msg("%s: stream %p, order %d, %zu spans", symbol, (void *)g_begun.stream,
                 (int)g_begun.order, g_begun.count);
    for (size_t i = 0; i < count; i++) {
        const struct transfer_access *got = &g_spans[i];

        if (got->addr != expected[i].addr || got->bytes != expected[i].bytes ||
            got->kind != expected[i].kind || got->source != expected[i].source ||
            got->host_src != expected[i].host_src)
            fail_msg("%s: span %zu is [%llx, +%zu) kind %d source %d", symbol, i, got->addr,
                     got->bytes, (int)got->kind, (int)got->source);
    }
}

#define READ(at, n)                                                                                \
    {                                                                                              \
        .addr = (at), .bytes = (n), .kind = ACCESS_READ                                            \
    }
#define WRITE(at, n)                                                                               \
    {                                                                                              \
        .addr = (at), .bytes = (n), .kind = ACCESS_WRITE                                           \
    }
#define WRITE_FROM(at, n, from, host)                                                              \
    {                                                                                              \
        .addr = (at), .bytes = (n), .kind = ACCESS_WRITE, .source = (from), .host_src = (host)     \
    }

#define CHECK_ONE(symbol, stream, order, call, ...)                                                \
    do {                                                                                           \
        static const struct transfer_access expected[] = {__VA_ARGS__};                            \
        CUresult res;                                                                              \
                                                                                                   \
        before();                                                                                  \
        res = call;                                                                                \
        after(res, #symbol, stream, order, expected, sizeof(expected) / sizeof(expected[0]));      \
    } while (0)

#define CHECK_SYNC(symbol, args, ...)                                                              \
    CHECK_ONE(symbol, CU_STREAM_LEGACY, ACCESS_SYNC, symbol args, __VA_ARGS__);                    \
    CHECK_ONE(symbol##_ptds, CU_STREAM_PER_THREAD, ACCESS_SYNC, symbol##_ptds args, __VA_ARGS__)

#define UNPACK(...) __VA_ARGS__
#define CHECK_ASYNC(symbol, args, ...)                                                             \
    CHECK_ONE(symbol, CU_STREAM_LEGACY, ACCESS_ASYNC, symbol(UNPACK args, NULL), __VA_ARGS__);     \
    CHECK_ONE(symbol, STREAM, ACCESS_ASYNC, symbol(UNPACK args, STREAM), __VA_ARGS__);             \
    CHECK_ONE(symbol##_ptsz, CU_STREAM_PER_THREAD, ACCESS_ASYNC, symbol##_ptsz(UNPACK args, NULL), \
              __VA_ARGS__);                                                                        \
    CHECK_ONE(symbol##_ptsz, STREAM, ACCESS_ASYNC, symbol##_ptsz(UNPACK args, STREAM), __VA_ARGS__)

#define CHECK_BOTH(sync, async, args, ...)                                                         \
    CHECK_SYNC(sync, args, __VA_ARGS__);                                                           \
    CHECK_ASYNC(async, args, __VA_ARGS__)

/* clang-format off */

static void test_linear(void **state)
{
    (void)state;
    CHECK_BOTH(cuMemcpy, cuMemcpyAsync, (DST, SRC, 100),
               READ(SRC, 100), WRITE_FROM(DST, 100, ACCESS_FROM_EITHER, (void *)SRC));
    CHECK_BOTH(cuMemcpyPeer, cuMemcpyPeerAsync, (DST, NULL, SRC, NULL, 100),
               READ(SRC, 100), WRITE(DST, 100));
    CHECK_BOTH(cuMemcpyHtoD_v2, cuMemcpyHtoDAsync_v2, (DST, HOST, 100),
               WRITE_FROM(DST, 100, ACCESS_FROM_HOST, HOST));
    CHECK_BOTH(cuMemcpyDtoH_v2, cuMemcpyDtoHAsync_v2, (HOST, SRC, 100), READ(SRC, 100));
    CHECK_BOTH(cuMemcpyDtoD_v2, cuMemcpyDtoDAsync_v2, (DST, SRC, 100),
               READ(SRC, 100), WRITE(DST, 100));
    CHECK_SYNC(cuMemcpyDtoA_v2, (NULL, 64, SRC, 100), READ(SRC, 100));
    CHECK_SYNC(cuMemcpyAtoD_v2, (DST, NULL, 64, 100), WRITE(DST, 100));
}

static void test_memsets(void **state)
{
    (void)state;
    CHECK_BOTH(cuMemsetD8_v2, cuMemsetD8Async, (DST, 1, 100), WRITE(DST, 100));
    CHECK_BOTH(cuMemsetD16_v2, cuMemsetD16Async, (DST, 1, 100), WRITE(DST, 200));
    CHECK_BOTH(cuMemsetD32_v2, cuMemsetD32Async, (DST, 1, 100), WRITE(DST, 400));
    CHECK_BOTH(cuMemsetD2D8_v2, cuMemsetD2D8Async, (DST, 512, 1, 10, 3), WRITE(DST, 1034));
    CHECK_BOTH(cuMemsetD2D16_v2, cuMemsetD2D16Async, (DST, 512, 1, 10, 3), WRITE(DST, 1044));
    CHECK_BOTH(cuMemsetD2D32_v2, cuMemsetD2D32Async, (DST, 512, 1, 10, 3), WRITE(DST, 1064));
}

static void test_pitched(void **state)
{
    const CUDA_MEMCPY2D flat = {
        .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = HOST, .srcPitch = 64,
        .dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = DST, .dstPitch = 64,
        .WidthInBytes = 64, .Height = 4};
    const CUDA_MEMCPY3D deep = {
        .srcMemoryType = CU_MEMORYTYPE_DEVICE, .srcDevice = SRC, .srcPitch = 64, .srcHeight = 4,
        .dstMemoryType = CU_MEMORYTYPE_HOST, .dstHost = HOST, .dstPitch = 64, .dstHeight = 4,
        .WidthInBytes = 64, .Height = 4, .Depth = 2};
    const CUDA_MEMCPY3D_PEER peer = {
        .srcMemoryType = CU_MEMORYTYPE_DEVICE, .srcDevice = SRC, .srcPitch = 64, .srcHeight = 4,
        .dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = DST, .dstPitch = 64, .dstHeight = 4,
        .WidthInBytes = 64, .Height = 4, .Depth = 2};

    (void)state;
    CHECK_BOTH(cuMemcpy2D_v2, cuMemcpy2DAsync_v2, (&flat),
               WRITE_FROM(DST, 256, ACCESS_FROM_HOST, HOST));
    CHECK_SYNC(cuMemcpy2DUnaligned_v2, (&flat), WRITE_FROM(DST, 256, ACCESS_FROM_HOST, HOST));
    CHECK_BOTH(cuMemcpy3D_v2, cuMemcpy3DAsync_v2, (&deep), READ(SRC, 512));
    CHECK_BOTH(cuMemcpy3DPeer, cuMemcpy3DPeerAsync, (&peer), READ(SRC, 512), WRITE(DST, 512));
}

static void test_batches(void **state)
{
    CUdeviceptr dsts[2] = {DST, DST + 4096};
    CUdeviceptr srcs[2] = {SRC, SRC + 4096};
    size_t sizes[2] = {10, 20};

    (void)state;
    CHECK_ASYNC(cuMemcpyBatchAsync, (dsts, srcs, sizes, 2, NULL, NULL, 0, NULL),
                READ(SRC, 10), WRITE_FROM(DST, 10, ACCESS_FROM_EITHER, (void *)SRC),
                READ(SRC + 4096, 20),
                WRITE_FROM(DST + 4096, 20, ACCESS_FROM_EITHER, (void *)(SRC + 4096)));
    CHECK_ASYNC(cuMemcpyBatchAsync_v2, (dsts, srcs, sizes, 2, NULL, NULL, 0),
                READ(SRC, 10), WRITE_FROM(DST, 10, ACCESS_FROM_EITHER, (void *)SRC),
                READ(SRC + 4096, 20),
                WRITE_FROM(DST + 4096, 20, ACCESS_FROM_EITHER, (void *)(SRC + 4096)));
}

static void test_3d_batches(void **state)
{
    CUDA_MEMCPY3D_BATCH_OP ops[2] = {
        {.src = {CU_MEMCPY_OPERAND_TYPE_POINTER, {.ptr = {.ptr = SRC}}},
         .dst = {CU_MEMCPY_OPERAND_TYPE_POINTER, {.ptr = {.ptr = DST}}},
         .extent = {64, 4, 2}},
        {.src = {CU_MEMCPY_OPERAND_TYPE_ARRAY, {.array = {.array = ARRAY}}},
         .dst = {CU_MEMCPY_OPERAND_TYPE_POINTER, {.ptr = {.ptr = DST + 4096, .rowLength = 100}}},
         .extent = {10, 3, 1}}};

    (void)state;
    CHECK_ASYNC(cuMemcpy3DBatchAsync, (2, ops, NULL, 0),
                READ(SRC, 512), WRITE_FROM(DST, 512, ACCESS_FROM_EITHER, (void *)SRC),
                WRITE(DST + 4096, 1680));
    CHECK_ASYNC(cuMemcpy3DBatchAsync_v2, (2, ops, 0),
                READ(SRC, 512), WRITE_FROM(DST, 512, ACCESS_FROM_EITHER, (void *)SRC),
                WRITE(DST + 4096, 1680));
}

/* clang-format on */

/* What an element of an array has is asked of the driver, which may not know it. */
static void test_elements_of_arrays(void **state)
{
    static const struct {
        int format;
        unsigned channels;
        size_t bytes;
    } rows[] = {
        {CU_AD_FORMAT_UNSIGNED_INT8, 1, 1},
        {CU_AD_FORMAT_SIGNED_INT8, 4, 4},
        {CU_AD_FORMAT_UNSIGNED_INT16, 1, 2},
        {CU_AD_FORMAT_SIGNED_INT16, 2, 4},
        {CU_AD_FORMAT_HALF, 4, 8},
        {CU_AD_FORMAT_UNSIGNED_INT32, 1, 4},
        {CU_AD_FORMAT_SIGNED_INT32, 2, 8},
        {CU_AD_FORMAT_FLOAT, 4, 16},
        {0xb0, 1, 0} /* NV12 */,
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        g_array_is.Format = (CUarray_format)rows[i].format;
        g_array_is.NumChannels = rows[i].channels;
        assert_int_equal(element_bytes(ARRAY), rows[i].bytes);
    }
    assert_int_equal(element_bytes(NULL), 0);
    g_fake.cuArray3DGetDescriptor_v2 = NULL;
    assert_int_equal(element_bytes(ARRAY), 0);
}

/* The driver gets what the program gave: stream 0 stays 0. */
static void test_arguments_are_the_programs_own(void **state)
{
    (void)state;
    before();
    cuMemcpyPeerAsync_ptsz(1, (CUcontext)2, 3, (CUcontext)4, 5, NULL);
    for (int i = 0; i < 5; i++)
        assert_int_equal(g_args[i], i + 1);
    assert_int_equal(g_args[5], 0);
    before();
    cuMemcpyBatchAsync(NULL, NULL, NULL, 4, (CUmemcpyAttributes *)5, (size_t *)6, 7, (size_t *)8,
                       (CUstream)9);
    for (int i = 3; i < 9; i++)
        assert_int_equal(g_args[i], i + 1);
    before();
    cuMemcpy3DBatchAsync_ptsz(0, (CUDA_MEMCPY3D_BATCH_OP *)2, (size_t *)3, 4, NULL);
    for (int i = 1; i < 4; i++)
        assert_int_equal(g_args[i], i + 1);
    assert_int_equal(g_args[4], 0);
    before();
    cuMemsetD2D16_v2(1, 2, 3, 4, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(g_args[i], i + 1);
}

/* A batch that cannot be described does not run. */
static void test_batch_out_of_memory(void **state)
{
    CUdeviceptr addr = DST;
    size_t bytes = 1;

    (void)state;
    before();
    assert_int_equal(cuMemcpyBatchAsync_v2(&addr, &addr, &bytes, SIZE_MAX / 2, NULL, NULL, 0, NULL),
                     CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(cuMemcpy3DBatchAsync_v2(SIZE_MAX / 2, (CUDA_MEMCPY3D_BATCH_OP *)2, 0, STREAM),
                     CUDA_ERROR_OUT_OF_MEMORY);
    assert_string_equal(g_trace, "");
}

static void test_passive(void **state)
{
    (void)state;
    g_passive_now = 1;
    before();
    assert_int_equal(cuMemcpyHtoDAsync_v2(DST, HOST, 100, NULL), RESULT);
    assert_string_equal(g_trace, "r");
    before();
    assert_int_equal(cuMemsetD8_v2(DST, 1, 100), RESULT);
    assert_string_equal(g_trace, "r");
}

static void test_every_row_was_called(void **state)
{
    (void)state;
#define X(name, symbol, since, null_stream, params)                                                \
    if (!g_called[HOOK_##symbol])                                                                  \
        fail_msg("%s is not tested here", #symbol);
    HOOKS_COPY(X)
#undef X
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_linear, set_up),
        cmocka_unit_test_setup(test_memsets, set_up),
        cmocka_unit_test_setup(test_pitched, set_up),
        cmocka_unit_test_setup(test_batches, set_up),
        cmocka_unit_test_setup(test_3d_batches, set_up),
        cmocka_unit_test_setup(test_elements_of_arrays, set_up),
        cmocka_unit_test_setup(test_arguments_are_the_programs_own, set_up),
        cmocka_unit_test_setup(test_batch_out_of_memory, set_up),
        cmocka_unit_test_setup(test_passive, set_up),
        cmocka_unit_test(test_every_row_was_called),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
