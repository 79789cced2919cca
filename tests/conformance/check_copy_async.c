/* check_copy_async.c - copies in streams: when the source is read, and who waits. */
#include "conformance.h"

#define WORDS ((size_t)100000)
#define BYTES (WORDS * 4)

/* Copies and kernels of one stream run in order, with no wait of the host between them. */
static void in_order(void)
{
    CUstream stream;
    CUdeviceptr p, q;
    uint32_t *in, *out;

    begin();
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    in = pinned_alloc(BYTES);
    out = pinned_alloc(BYTES);
    p = device_alloc(BYTES);
    q = device_alloc(BYTES);
    for (uint32_t i = 0; i < 5; i++) {
        fill_host(in, WORDS, i);
        memset(out, 0, BYTES);
        OK(cuMemcpyHtoDAsync(p, in, BYTES, stream));
        launch_triple(stream, p, WORDS);
        OK(cuMemcpyDtoDAsync(q, p, BYTES, stream));
        OK(cuMemsetD8Async(p, 0, BYTES, stream));
        launch_triple(stream, q, WORDS);
        OK(cuMemcpyDtoHAsync(out, q, BYTES, stream));
        OK(cuStreamSynchronize(stream));
        for (size_t k = 0; k < WORDS; k++)
            EXPECT_EQ(out[k], (tk_pattern(k, i) * 3 + 1) * 3 + 1);
    }
}

/* A pinned source is read when the copy runs, not when it is queued. */
static void pinned_source(void)
{
    CUstream stream;
    CUdeviceptr p;
    struct gate gate;
    uint32_t *src;

    begin();
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    src = pinned_alloc(BYTES);
    p = device_alloc(BYTES);
    fill_host(src, WORDS, 1);
    OK(cuMemcpyHtoDAsync(p, src, BYTES, stream));
    OK(cuStreamSynchronize(stream));
    gate_close(&gate, stream);
    OK(cuMemcpyHtoDAsync(p, src, BYTES, stream));
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(stream));
    fill_host(src, WORDS, 2);
    gate_open(&gate);
    OK(cuStreamSynchronize(stream));
    EXPECT_PATTERN(p, WORDS, 2);
}

static void registered_source(void)
{
    uint32_t *src = aligned_alloc(4096, (BYTES + 4095) / 4096 * 4096);
    CUstream stream;
    CUdeviceptr p;
    struct gate gate;

    EXPECT(src != NULL);
    begin();
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    OK(cuMemHostRegister(src, BYTES, 0));
    p = device_alloc(BYTES);
    fill_host(src, WORDS, 1);
    OK(cuMemcpyHtoDAsync(p, src, BYTES, stream));
    OK(cuStreamSynchronize(stream));
    gate_close(&gate, stream);
    OK(cuMemcpyHtoDAsync(p, src, BYTES, stream));
    fill_host(src, WORDS, 3);
    gate_open(&gate);
    OK(cuStreamSynchronize(stream));
    EXPECT_PATTERN(p, WORDS, 3);
    OK(cuMemHostUnregister(src));
}

/* A pageable source is the program's again when the call returns, whether the driver staged the
 * bytes or waited for the stream; but later work of the stream must see them in order. */
static void pageable_source(void)
{
    CUstream stream;
    CUdeviceptr p, slow;
    uint32_t *src;

    begin();
    if (device_attribute(CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES))
        check_skip("the device reads pageable memory by itself here (attribute 100)");
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    src = pattern_new(WORDS, 0);
    p = device_alloc(BYTES);
    slow = device_alloc(64);
    for (uint32_t i = 1; i <= 6; i++) {
        /* The first few sizes fit into what a driver may carry inside a command. */
        size_t words = i <= 3 ? (size_t)16 << i : WORDS;

        fill_host(src, words, i);
        launch_work(stream, slow);
        OK(cuMemcpyHtoDAsync(p, src, words * 4, stream));
        memset(src, 0xcc, words * 4);
        launch_triple(stream, p, words);
        OK(cuStreamSynchronize(stream));
        OK(cuMemcpyDtoH(src, p, words * 4));
        for (size_t k = 0; k < words; k++)
            EXPECT_EQ(src[k], tk_pattern(k, i) * 3 + 1);
    }
}

/* To pageable memory: in place after the stream is waited for, whatever the call did. */
static void pageable_target(void)
{
    uint32_t *dst = calloc(1, BYTES);
    CUstream stream;
    CUdeviceptr p, slow;

    EXPECT(dst != NULL);
    begin();
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    p = device_alloc(BYTES);
    slow = device_alloc(64);
    for (uint32_t i = 1; i <= 4; i++) {
        launch_work(stream, slow);
        launch_fill(stream, p, WORDS, i);
        OK(cuMemcpyDtoHAsync(dst, p, BYTES, stream));
        note("complete_at_return", dst[WORDS - 1] == tk_pattern(WORDS - 1, i));
        launch_fill(stream, p, WORDS, 100 + i);
        OK(cuStreamSynchronize(stream));
        EXPECT_HOST_PATTERN(dst, WORDS, i);
    }
}

/* A pinned target is written when the copy runs: not before the gate opens. */
static void pinned_target(void)
{
    CUstream stream;
    CUdeviceptr p;
    struct gate gate;
    uint32_t *dst;

    begin();
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    dst = pinned_alloc(BYTES);
    p = device_alloc(BYTES);
    memset(dst, 0, BYTES);
    launch_fill(stream, p, WORDS, 4);
    OK(cuMemcpyDtoHAsync(dst, p, BYTES, stream));
    OK(cuStreamSynchronize(stream));
    gate_close(&gate, stream);
    launch_fill(stream, p, WORDS, 5);
    OK(cuMemcpyDtoHAsync(dst, p, BYTES, stream));
    EXPECT_HOST_PATTERN(dst, WORDS, 4);
    gate_open(&gate);
    OK(cuStreamSynchronize(stream));
    EXPECT_HOST_PATTERN(dst, WORDS, 5);
}

/* cuMemcpyAsync infers the direction. */
static void inferred(void)
{
    CUstream stream;
    CUdeviceptr p, q;
    uint32_t *in, *out;

    begin();
    stream = new_stream(0);
    in = pinned_alloc(BYTES);
    out = pinned_alloc(BYTES);
    p = device_alloc(BYTES);
    q = device_alloc(BYTES);
    fill_host(in, WORDS, 8);
    OK(cuMemcpyAsync(p, (CUdeviceptr)(uintptr_t)in, BYTES, stream));
    OK(cuMemcpyAsync(q, p, BYTES, stream));
    OK(cuMemcpyAsync((CUdeviceptr)(uintptr_t)out, q, BYTES, stream));
    OK(cuStreamSynchronize(stream));
    EXPECT_HOST_PATTERN(out, WORDS, 8);
}

/* The descriptor of a 2D copy is read at the call. */
static void two_dimensions(void)
{
    CUDA_MEMCPY2D copy;
    CUstream stream;
    CUdeviceptr p;
    struct gate gate;
    uint32_t *src;

    begin();
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    src = pinned_alloc(BYTES);
    p = device_alloc(BYTES);
    memset(&copy, 0, sizeof(copy));
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = src;
    copy.srcPitch = 400;
    copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.dstDevice = p;
    copy.dstPitch = 400;
    copy.WidthInBytes = 400;
    copy.Height = 1000;
    OK(cuMemcpy2DAsync(&copy, stream));
    OK(cuStreamSynchronize(stream));
    gate_close(&gate, stream);
    OK(cuMemcpy2DAsync(&copy, stream));
    memset(&copy, 0, sizeof(copy));
    fill_host(src, WORDS, 9);
    gate_open(&gate);
    OK(cuStreamSynchronize(stream));
    EXPECT_PATTERN(p, WORDS, 9);
}

/* Memsets of a stream, behind a gate: queued, then done. */
static void memsets(void)
{
    CUstream stream;
    CUdeviceptr p;
    struct gate gate;
    uint32_t got[4];

    begin();
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    p = device_alloc(64);
    OK(cuMemsetD32Async(p, 0, 16, stream));
    OK(cuStreamSynchronize(stream));
    gate_close(&gate, stream);
    OK(cuMemsetD32Async(p, 0x01010101, 4, stream));
    OK(cuMemsetD16Async(p + 4, 0x0202, 2, stream));
    OK(cuMemsetD8Async(p + 8, 3, 4, stream));
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(stream));
    gate_open(&gate);
    OK(cuStreamSynchronize(stream));
    OK(cuMemcpyDtoH(got, p, sizeof(got)));
    EXPECT(got[0] == 0x01010101 && got[1] == 0x02020202 && got[2] == 0x03030303);
    EXPECT(got[3] == 0x01010101);
}

#define COPY_ASYNC_CHECKS(X)                                                                       \
    X(in_order)                                                                                    \
    X(pinned_source)                                                                               \
    X(registered_source)                                                                           \
    X(pageable_source)                                                                             \
    X(pageable_target) X(pinned_target) X(inferred) X(two_dimensions) X(memsets)
CHECK_GROUP(copy_async, COPY_ASYNC_CHECKS);
