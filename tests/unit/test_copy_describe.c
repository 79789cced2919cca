/* What copies and memsets say they use, against the bytes that they would touch.
 *
 * Pitched copies are compared with a walk over every byte by the formula of the API's
 * documentation, for all combinations of a few small numbers; the rest are single cases with the
 * answer written down.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "copy_describe.h"

#define DEVICE 0x7f4000000000ull
#define HOST   ((const char *)0x10000)

/* A started description, over garbage. */
#define START(call)                                                                                \
    struct access_call call;                                                                       \
                                                                                                   \
    memset(&call, 0xff, sizeof(call));                                                             \
    copy_describe_start(&call, "cuTest", ACCESS_SYNC, NULL, CU_STREAM_LEGACY)

static void expect_span(const struct transfer_access *span, CUdeviceptr addr, size_t bytes,
                        enum access_kind kind, enum access_cover cover, enum access_source source,
                        const void *host_src)
{
    assert_int_equal(span->addr, addr);
    assert_int_equal(span->bytes, bytes);
    assert_int_equal(span->kind, kind);
    assert_int_equal(span->cover, cover);
    assert_int_equal(span->source, source);
    assert_ptr_equal(span->host_src, host_src);
}

static void test_start(void **state)
{
    CUstream stream = (CUstream)0x1234;
    struct access_call call;

    (void)state;
    copy_describe_start(&call, "cuMemcpyAsync", ACCESS_ASYNC, NULL, CU_STREAM_PER_THREAD);
    assert_string_equal(call.name, "cuMemcpyAsync");
    assert_ptr_equal(call.stream, CU_STREAM_PER_THREAD);
    assert_int_equal(call.order, ACCESS_ASYNC);
    assert_int_equal(call.count, 0);
    assert_null(call.held);
    copy_describe_start(&call, "cuMemcpyAsync", ACCESS_ASYNC, stream, CU_STREAM_PER_THREAD);
    assert_ptr_equal(call.stream, stream);
    copy_describe_start(&call, "cuMemcpyAsync", ACCESS_ASYNC, CU_STREAM_LEGACY,
                        CU_STREAM_PER_THREAD);
    assert_ptr_equal(call.stream, CU_STREAM_LEGACY);
}

static void test_linear(void **state)
{
    START(call);

    (void)state;
    copy_describe_upload(&call, DEVICE, HOST, 100);
    copy_describe_read(&call, DEVICE + 1000, 7);
    copy_describe_write(&call, DEVICE + 2000, 8);
    assert_int_equal(call.count, 3);
    expect_span(&call.spans[0], DEVICE, 100, ACCESS_WRITE, ACCESS_WHOLE, ACCESS_FROM_HOST, HOST);
    expect_span(&call.spans[1], DEVICE + 1000, 7, ACCESS_READ, ACCESS_WHOLE, ACCESS_FROM_ELSEWHERE,
                NULL);
    expect_span(&call.spans[2], DEVICE + 2000, 8, ACCESS_WRITE, ACCESS_WHOLE, ACCESS_FROM_ELSEWHERE,
                NULL);
}

static void test_device_to_device(void **state)
{
    START(call);

    (void)state;
    copy_describe_device(&call, DEVICE, DEVICE + 4096, 64);
    assert_int_equal(call.count, 2);
    expect_span(&call.spans[0], DEVICE + 4096, 64, ACCESS_READ, ACCESS_WHOLE, ACCESS_FROM_ELSEWHERE,
                NULL);
    expect_span(&call.spans[1], DEVICE, 64, ACCESS_WRITE, ACCESS_WHOLE, ACCESS_FROM_ELSEWHERE,
                NULL);
}

static void test_unified(void **state)
{
    START(call);

    (void)state;
    copy_describe_unified(&call, DEVICE, (CUdeviceptr)(uintptr_t)HOST, 64);
    assert_int_equal(call.count, 2);
    expect_span(&call.spans[0], (CUdeviceptr)(uintptr_t)HOST, 64, ACCESS_READ, ACCESS_WHOLE,
                ACCESS_FROM_ELSEWHERE, NULL);
    expect_span(&call.spans[1], DEVICE, 64, ACCESS_WRITE, ACCESS_WHOLE, ACCESS_FROM_EITHER, HOST);
}

static void test_nothing_to_copy(void **state)
{
    CUDA_MEMCPY2D copy = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                          .srcDevice = DEVICE,
                          .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                          .dstDevice = DEVICE + 4096,
                          .WidthInBytes = 4};
    START(call);

    (void)state;
    copy_describe_upload(&call, DEVICE, HOST, 0);
    copy_describe_unified(&call, DEVICE, DEVICE + 64, 0);
    copy_describe_2d(&call, &copy); /* no rows */
    copy_describe_2d(&call, NULL);
    copy_describe_3d(&call, NULL);
    copy_describe_3d_peer(&call, NULL);
    copy_describe_memset(&call, DEVICE, 0, 4, 0, 1);
    assert_int_equal(call.count, 0);
}

static void test_past_the_end_of_memory(void **state)
{
    CUDA_MEMCPY3D copy = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                          .srcHost = HOST,
                          .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                          .dstDevice = DEVICE,
                          .dstPitch = SIZE_MAX / 2,
                          .dstHeight = 4,
                          .WidthInBytes = 16,
                          .Height = 4,
                          .Depth = 2};
    START(call);

    (void)state;
    copy_describe_upload(&call, DEVICE, HOST, SIZE_MAX);
    copy_describe_3d(&call, &copy);
    copy.dstPitch = 16;
    copy.dstZ = SIZE_MAX / 8;
    copy_describe_3d(&call, &copy);
    copy.dstZ = 0;
    copy.dstXInBytes = SIZE_MAX - DEVICE + 1;
    copy_describe_3d(&call, &copy);
    copy_describe_memset(&call, DEVICE, 0, 4, SIZE_MAX / 2, 1);
    copy_describe_memset(&call, DEVICE, SIZE_MAX, 4, 1, 3);
    assert_int_equal(call.count, 0);
}

static void test_2d_between_host_and_device(void **state)
{
    CUDA_MEMCPY2D copy = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                          .srcHost = HOST,
                          .srcXInBytes = 4,
                          .srcY = 2,
                          .srcPitch = 32,
                          .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                          .dstDevice = DEVICE,
                          .dstXInBytes = 8,
                          .dstY = 3,
                          .dstPitch = 32,
                          .WidthInBytes = 32,
                          .Height = 10};
    START(call);

    (void)state;
    /* Full rows: one run of bytes with one source. */
    copy_describe_2d(&call, &copy);
    assert_int_equal(call.count, 1);
    expect_span(&call.spans[0], DEVICE + 3 * 32 + 8, 320, ACCESS_WRITE, ACCESS_WHOLE,
                ACCESS_FROM_HOST, HOST + 2 * 32 + 4);
    /* Gaps on the device: nobody can say which bytes the span's are. */
    copy.dstPitch = 64;
    copy_describe_2d(&call, &copy);
    expect_span(&call.spans[1], DEVICE + 3 * 64 + 8, 9 * 64 + 32, ACCESS_WRITE, ACCESS_PARTS,
                ACCESS_FROM_ELSEWHERE, NULL);
    /* Gaps at the source alone: all of the span is written, but its bytes are not adjacent there.
     */
    copy.dstPitch = 32;
    copy.srcPitch = 64;
    copy_describe_2d(&call, &copy);
    expect_span(&call.spans[2], DEVICE + 3 * 32 + 8, 320, ACCESS_WRITE, ACCESS_WHOLE,
                ACCESS_FROM_ELSEWHERE, NULL);
    /* A single row has no gaps, whatever the pitch. */
    copy.Height = 1;
    copy_describe_2d(&call, &copy);
    expect_span(&call.spans[3], DEVICE + 3 * 32 + 8, 32, ACCESS_WRITE, ACCESS_WHOLE,
                ACCESS_FROM_HOST, HOST + 2 * 64 + 4);
}

static void test_2d_other_ways(void **state)
{
    CUDA_MEMCPY2D copy = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                          .srcDevice = DEVICE,
                          .srcPitch = 32,
                          .dstMemoryType = CU_MEMORYTYPE_HOST,
                          .dstHost = (void *)HOST,
                          .dstPitch = 32,
                          .WidthInBytes = 32,
                          .Height = 2};
    START(call);

    (void)state;
    copy_describe_2d(&call, &copy);
    assert_int_equal(call.count, 1);
    expect_span(&call.spans[0], DEVICE, 64, ACCESS_READ, ACCESS_WHOLE, ACCESS_FROM_ELSEWHERE, NULL);

    copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.dstArray = (CUarray)0x1234;
    copy_describe_2d(&call, &copy);
    assert_int_equal(call.count, 2);

    copy.srcMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.dstMemoryType = CU_MEMORYTYPE_UNIFIED;
    copy.dstDevice = DEVICE + 4096;
    copy_describe_2d(&call, &copy);
    assert_int_equal(call.count, 3);
    expect_span(&call.spans[2], DEVICE + 4096, 64, ACCESS_WRITE, ACCESS_WHOLE,
                ACCESS_FROM_ELSEWHERE, NULL);

    copy.srcMemoryType = CU_MEMORYTYPE_UNIFIED;
    copy_describe_2d(&call, &copy);
    assert_int_equal(call.count, 5);
    expect_span(&call.spans[4], DEVICE + 4096, 64, ACCESS_WRITE, ACCESS_WHOLE, ACCESS_FROM_EITHER,
                (const void *)DEVICE);
}

/* The span of bytes that a walk over a 3D copy's destination touches. */
static void walk(const CUDA_MEMCPY3D *copy, CUdeviceptr *first, CUdeviceptr *end, size_t *touched)
{
    *first = UINT64_MAX;
    *end = 0;
    *touched = 0;
    for (size_t z = 0; z < copy->Depth; z++) {
        for (size_t y = 0; y < copy->Height; y++) {
            CUdeviceptr row =
                copy->dstDevice +
                ((copy->dstZ + z) * copy->dstHeight + copy->dstY + y) * copy->dstPitch +
                copy->dstXInBytes;

            *first = row < *first ? row : *first;
            *end = row + copy->WidthInBytes > *end ? row + copy->WidthInBytes : *end;
            *touched += copy->WidthInBytes;
        }
    }
}

static void check_walk(const CUDA_MEMCPY3D *copy)
{
    CUDA_MEMCPY3D_PEER peer;
    CUdeviceptr first;
    CUdeviceptr end;
    size_t touched;
    START(call);

    walk(copy, &first, &end, &touched);
    copy_describe_3d(&call, copy);
    assert_int_equal(call.count, 1);
    expect_span(&call.spans[0], first, end - first, ACCESS_WRITE,
                touched == end - first ? ACCESS_WHOLE : ACCESS_PARTS, ACCESS_FROM_ELSEWHERE, NULL);

    _Static_assert(sizeof(peer) == sizeof(*copy), "the contexts take the place of reserved words");
    memcpy(&peer, copy, sizeof(peer));
    copy_describe_3d_peer(&call, &peer);
    assert_int_equal(call.count, 2);
    assert_memory_equal(&call.spans[0], &call.spans[1], sizeof(call.spans[0]));
}

static void test_3d_against_a_walk(void **state)
{
    CUDA_MEMCPY3D copy = {.srcMemoryType = CU_MEMORYTYPE_ARRAY,
                          .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                          .dstDevice = DEVICE};

    (void)state;
    for (unsigned i = 0; i < 3 * 3 * 3 * 2 * 2 * 2 * 2; i++) {
        unsigned n = i;

        copy.WidthInBytes = 1 + n % 3;
        copy.Height = 1 + (n /= 3) % 3;
        copy.Depth = 1 + (n /= 3) % 3;
        copy.dstPitch = copy.WidthInBytes + (n /= 3) % 2;
        copy.dstHeight = copy.Height + (n /= 2) % 2;
        copy.dstXInBytes = (n /= 2) % 2 * 5;
        copy.dstY = (n /= 2) % 2;
        copy.dstZ = copy.dstY * 2;
        check_walk(&copy);
    }
}

static void test_memset(void **state)
{
    START(call);

    (void)state;
    copy_describe_memset(&call, DEVICE, 0, 4, 25, 1);
    expect_span(&call.spans[0], DEVICE, 100, ACCESS_WRITE, ACCESS_WHOLE, ACCESS_FROM_ELSEWHERE,
                NULL);
    copy_describe_memset(&call, DEVICE, 128, 2, 32, 4);
    expect_span(&call.spans[1], DEVICE, 3 * 128 + 64, ACCESS_WRITE, ACCESS_PARTS,
                ACCESS_FROM_ELSEWHERE, NULL);
    copy_describe_memset(&call, DEVICE, 64, 2, 32, 4);
    expect_span(&call.spans[2], DEVICE, 256, ACCESS_WRITE, ACCESS_WHOLE, ACCESS_FROM_ELSEWHERE,
                NULL);
}

static void check_batch(size_t count)
{
    CUdeviceptr dsts[100];
    CUdeviceptr srcs[100];
    size_t sizes[100];
    START(call);

    for (size_t i = 0; i < count; i++) {
        dsts[i] = DEVICE + i * 256;
        srcs[i] = (CUdeviceptr)(uintptr_t)HOST + i * 256;
        sizes[i] = i + 1;
    }
    assert_int_equal(copy_describe_batch(&call, dsts, srcs, sizes, count), 0);
    assert_int_equal(call.count, 2 * count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(call.spans[2 * i].addr, srcs[i]);
        expect_span(&call.spans[2 * i + 1], dsts[i], i + 1, ACCESS_WRITE, ACCESS_WHOLE,
                    ACCESS_FROM_EITHER, HOST + i * 256);
    }
    copy_describe_end(&call);
}

static void test_batch(void **state)
{
    CUdeviceptr addr = DEVICE;
    size_t bytes = 1;
    START(call);

    (void)state;
    for (size_t count = 0; count <= 100; count++)
        check_batch(count);
    /* A count that no memory holds is refused, and the description stays empty. */
    assert_int_equal(copy_describe_batch(&call, &addr, &addr, &bytes, SIZE_MAX / 2), -ENOMEM);
    assert_int_equal(copy_describe_batch(&call, &addr, &addr, &bytes, SIZE_MAX / 2 + 2), -ENOMEM);
    assert_int_equal(copy_describe_batch(&call, &addr, &addr, &bytes, SIZE_MAX), -ENOMEM);
    assert_int_equal(call.count, 0);
    assert_int_equal(copy_describe_batch(&call, NULL, NULL, NULL, 3), 0);
    assert_int_equal(call.count, 0);
    copy_describe_end(&call);
}

static size_t six_bytes(CUarray array)
{
    return array ? 6 : 0;
}

static CUmemcpy3DOperand pointer_operand(CUdeviceptr at, size_t row_length, size_t layer_height)
{
    return (CUmemcpy3DOperand){
        CU_MEMCPY_OPERAND_TYPE_POINTER,
        {.ptr = {.ptr = at, .rowLength = row_length, .layerHeight = layer_height}}};
}

/* Every box of a batch is the 3D copy that says the same. */
static void test_3d_batch_against_3d(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3 * 3 * 3 * 3 * 3 * 2; i++) {
        size_t width = 1 + i % 3, height = 1 + i / 3 % 3, depth = 1 + i / 9 % 3;
        size_t rows = i / 27 % 3, layers = i / 81 % 3, other = i / 243;
        CUdeviceptr host = (CUdeviceptr)(uintptr_t)HOST;
        CUDA_MEMCPY3D_BATCH_OP ops[2] = {
            {.src = pointer_operand(host, other ? width + 1 : 0, 0),
             .dst = pointer_operand(DEVICE, rows ? width + rows - 1 : 0,
                                    layers ? height + layers - 1 : 0),
             .extent = {width, height, depth}}};
        CUDA_MEMCPY3D same = {.srcMemoryType = CU_MEMORYTYPE_UNIFIED,
                              .srcDevice = host,
                              .srcPitch = width + other,
                              .srcHeight = height,
                              .dstMemoryType = CU_MEMORYTYPE_UNIFIED,
                              .dstDevice = DEVICE,
                              .dstPitch = width + (rows ? rows - 1 : 0),
                              .dstHeight = height + (layers ? layers - 1 : 0),
                              .WidthInBytes = width,
                              .Height = height,
                              .Depth = depth};
        START(call);
        START(expected);

        ops[1] = ops[0];
        ops[1].dst.op.ptr.ptr += 4096;
        assert_int_equal(copy_describe_3d_batch(&call, ops, 2, six_bytes), 0);
        copy_describe_3d(&expected, &same);
        same.dstDevice += 4096;
        copy_describe_3d(&expected, &same);
        assert_int_equal(expected.count, 4);
        assert_int_equal(call.count, 4);
        assert_memory_equal(call.spans, expected.spans, 4 * sizeof(call.spans[0]));
    }
}

static void test_3d_batch_with_arrays(void **state)
{
    CUmemcpy3DOperand array = {CU_MEMCPY_OPERAND_TYPE_ARRAY, {.array = {.array = (CUarray)8}}};
    CUmemcpy3DOperand unknown = {CU_MEMCPY_OPERAND_TYPE_ARRAY, {.array = {.array = NULL}}};
    CUDA_MEMCPY3D_BATCH_OP ops[] = {
        {.src = array, .dst = pointer_operand(DEVICE, 5, 0), .extent = {4, 2, 1}},
        {.src = pointer_operand(DEVICE, 0, 0), .dst = array, .extent = {4, 2, 3}},
        {.src = unknown, .dst = pointer_operand(DEVICE, 0, 0), .extent = {4, 2, 1}},
        {.src = array, .dst = array, .extent = {4, 2, 1}},
    };
    START(call);

    (void)state;
    assert_int_equal(copy_describe_3d_batch(&call, ops, 4, six_bytes), 0);
    assert_int_equal(call.count, 3);
    expect_span(&call.spans[0], DEVICE, 54, ACCESS_WRITE, ACCESS_PARTS, ACCESS_FROM_ELSEWHERE,
                NULL);
    expect_span(&call.spans[1], DEVICE, 144, ACCESS_READ, ACCESS_WHOLE, ACCESS_FROM_ELSEWHERE,
                NULL);
    expect_span(&call.spans[2], DEVICE, 8, ACCESS_WRITE, ACCESS_WHOLE, ACCESS_FROM_ELSEWHERE, NULL);
}

/* What cannot be meant is the driver's to refuse, and described as nothing. */
static void test_3d_batch_refused(void **state)
{
    CUmemcpy3DOperand array = {CU_MEMCPY_OPERAND_TYPE_ARRAY, {.array = {.array = (CUarray)8}}};
    CUDA_MEMCPY3D_BATCH_OP ops[] = {
        {.src = array, .dst = pointer_operand(DEVICE, 0, 0), .extent = {SIZE_MAX / 2, 1, 1}},
        {.src = array, .dst = pointer_operand(DEVICE, SIZE_MAX / 2, 0), .extent = {1, 1, 1}},
        {.src = pointer_operand(DEVICE, 0, 0), .dst = array, .extent = {1, SIZE_MAX, 2}},
        {.src = {0}, .dst = {0}, .extent = {1, 1, 1}},
        {.src = array, .dst = pointer_operand(DEVICE, 0, 0), .extent = {0, 1, 1}},
    };
    START(call);

    (void)state;
    assert_int_equal(copy_describe_3d_batch(&call, ops, SIZE_MAX / 2, six_bytes), -ENOMEM);
    assert_int_equal(copy_describe_3d_batch(&call, ops, SIZE_MAX / 2 + 2, six_bytes), -ENOMEM);
    assert_int_equal(copy_describe_3d_batch(&call, NULL, 3, six_bytes), 0);
    assert_int_equal(copy_describe_3d_batch(&call, ops, 5, six_bytes), 0);
    assert_int_equal(call.count, 0);
    copy_describe_end(&call);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_device_to_device),
        cmocka_unit_test(test_unified),
        cmocka_unit_test(test_nothing_to_copy),
        cmocka_unit_test(test_past_the_end_of_memory),
        cmocka_unit_test(test_2d_between_host_and_device),
        cmocka_unit_test(test_2d_other_ways),
        cmocka_unit_test(test_3d_against_a_walk),
        cmocka_unit_test(test_memset),
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_3d_batch_against_3d),
        cmocka_unit_test(test_3d_batch_with_arrays),
        cmocka_unit_test(test_3d_batch_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
