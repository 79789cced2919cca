/* check_copy_batch.c - many copies in one call: pointers, and boxes between them (12.8, 13.0). */
#include "conformance.h"

#define ROW    ((size_t)100)
#define ROWS   ((size_t)30)
#define LAYERS ((size_t)5)
#define BYTES  (ROW * ROWS * LAYERS)

typedef CUresult (*box_batch_12080)(size_t, CUDA_MEMCPY3D_BATCH_OP *, size_t *, unsigned long long,
                                    CUstream);
typedef CUresult (*box_batch_13000)(size_t, CUDA_MEMCPY3D_BATCH_OP *, unsigned long long, CUstream);
typedef CUresult (*batch_13000)(CUdeviceptr *, CUdeviceptr *, size_t *, size_t,
                                CUmemcpyAttributes *, size_t *, size_t, CUstream);

/* The function in the ABI of that version; the check is skipped where the driver has none. */
static void *need_function(const char *name, int version)
{
    CUdriverProcAddressQueryResult status;
    void *function = NULL;

    if (cuGetProcAddress(name, &function, version, 0, &status) != CUDA_SUCCESS || !function)
        check_skip("this driver has no %s of version %d", name, version);
    return function;
}

static uint64_t host_addr(const void *p)
{
    return (uintptr_t)p;
}

static CUmemcpy3DOperand pointer(uint64_t at, size_t row, size_t rows)
{
    CUmemcpy3DOperand operand;

    memset(&operand, 0, sizeof(operand));
    operand.type = CU_MEMCPY_OPERAND_TYPE_POINTER;
    operand.op.ptr.ptr = at;
    operand.op.ptr.rowLength = row;
    operand.op.ptr.layerHeight = rows;
    return operand;
}

static CUDA_MEMCPY3D_BATCH_OP box(CUmemcpy3DOperand dst, CUmemcpy3DOperand src, size_t width,
                                  size_t height, size_t depth)
{
    CUDA_MEMCPY3D_BATCH_OP op;

    memset(&op, 0, sizeof(op));
    op.dst = dst;
    op.src = src;
    op.extent = (CUextent3D){width, height, depth};
    op.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
    return op;
}

static unsigned char *bytes_new(unsigned salt)
{
    unsigned char *bytes = pinned_alloc(BYTES);

    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (unsigned char)(i * 31 + i / 251 + salt);
    return bytes;
}

/* Copies of all directions in one batch; each has the attributes of the run that it is in. */
static void linear(void)
{
    CUmemcpyAttributes attributes[2];
    size_t firsts[2] = {0, 2}, sizes[3] = {BYTES, BYTES / 2, BYTES / 2};
    CUdeviceptr dsts[3], srcs[3];
    unsigned char *in, *more, *out;
    batch_13000 batch;
    CUdeviceptr p, q;
    CUstream stream;

    begin();
    batch = (batch_13000)need_function("cuMemcpyBatchAsync", 13000);
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    in = bytes_new(1);
    more = bytes_new(2);
    out = bytes_new(3);
    p = device_alloc(BYTES);
    q = device_alloc(BYTES);
    OK(cuMemcpyHtoD(q, more, BYTES));
    memset(attributes, 0, sizeof(attributes));
    attributes[0].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
    attributes[1].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL;
    dsts[0] = p;
    srcs[0] = host_addr(in);
    dsts[1] = host_addr(out);
    srcs[1] = q;
    dsts[2] = q + BYTES / 2;
    srcs[2] = host_addr(more);
    OK(batch(dsts, srcs, sizes, 3, attributes, firsts, 2, stream));
    memset(more, 0xcc, BYTES / 2); /* the third copy's source has been read */
    OK(cuStreamSynchronize(stream));
    for (size_t i = 0; i < BYTES / 2; i++)
        EXPECT_EQ(out[i], (unsigned char)(i * 31 + i / 251 + 2));
    OK(cuMemcpyDtoH(out, p, BYTES));
    EXPECT(!memcmp(out, in, BYTES));
    OK(cuMemcpyDtoH(out, q, BYTES));
    for (size_t i = 0; i < BYTES / 2; i++)
        EXPECT_EQ(out[BYTES / 2 + i], (unsigned char)(i * 31 + i / 251 + 2));
    attributes[0].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_INVALID;
    EXPECT_ERROR("no_order", batch(dsts, srcs, sizes, 3, attributes, firsts, 2, stream));
    attributes[0].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_ANY;
    EXPECT_ERROR("null_stream", batch(dsts, srcs, sizes, 3, attributes, firsts, 2, NULL));
}

/* Rows and layers of a box, tight on one side and apart on the other. */
static void boxes(void)
{
    const size_t pitch = ROW + 28, layer = pitch * (ROWS + 2);
    CUDA_MEMCPY3D_BATCH_OP ops[2];
    unsigned char *in, *out, *all;
    box_batch_13000 batch;
    CUdeviceptr p, q;
    CUstream stream;

    begin();
    batch = (box_batch_13000)need_function("cuMemcpy3DBatchAsync", 13000);
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    in = bytes_new(1);
    out = bytes_new(2);
    all = pinned_alloc(layer * LAYERS);
    p = device_alloc(layer * LAYERS);
    q = device_alloc(BYTES);
    OK(cuMemsetD8(p, 0xee, layer * LAYERS));
    OK(cuMemsetD8(q, 0x11, BYTES));
    OK(cuCtxSynchronize());
    ops[0] = box(pointer(p, pitch, ROWS + 2), pointer(host_addr(in), 0, 0), ROW, ROWS, LAYERS);
    ops[1] = box(pointer(q + ROW, ROW, 0), pointer(host_addr(in), 0, 0), 7, 1, 1);
    OK(batch(2, ops, 0, stream));
    OK(cuStreamSynchronize(stream));
    OK(cuMemcpyDtoH(all, p, layer * LAYERS));
    for (size_t i = 0; i < layer * LAYERS; i++) {
        size_t x = i % pitch, y = i / pitch % (ROWS + 2), z = i / layer;
        int inside = x < ROW && y < ROWS;

        EXPECT_EQ(all[i], inside ? in[(z * ROWS + y) * ROW + x] : 0xee);
    }
    OK(cuMemcpyDtoH(out, q, BYTES));
    for (size_t i = 0; i < BYTES; i++)
        EXPECT_EQ(out[i], i >= ROW && i < ROW + 7 ? in[i - ROW] : 0x11);
    ops[0] = box(pointer(host_addr(out), 0, 0), pointer(p, pitch, ROWS + 2), ROW, ROWS, LAYERS);
    OK(batch(1, ops, 0, stream));
    OK(cuStreamSynchronize(stream));
    EXPECT(!memcmp(out, in, BYTES));
}

/* What the ABI of 12.8 has besides: which copy it was that is refused. */
static void boxes_of_12080(void)
{
    CUDA_MEMCPY3D_BATCH_OP ops[2];
    size_t failed = 77;
    box_batch_12080 batch;
    unsigned char *in, *out;
    CUdeviceptr p;
    CUstream stream;

    begin();
    batch = (box_batch_12080)need_function("cuMemcpy3DBatchAsync", 12080);
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    in = bytes_new(1);
    out = bytes_new(2);
    p = device_alloc(BYTES);
    ops[0] = box(pointer(p, 0, 0), pointer(host_addr(in), 0, 0), ROW, ROWS, LAYERS);
    OK(batch(1, ops, &failed, 0, stream));
    OK(cuStreamSynchronize(stream));
    OK(cuMemcpyDtoH(out, p, BYTES));
    EXPECT(!memcmp(out, in, BYTES));
    ops[1] = ops[0];
    ops[1].extent.height = 0;
    EXPECT_ERROR("no_rows", batch(2, ops, &failed, 0, stream));
    note("failed_index", (long long)failed);
}

static void boxes_refused(void)
{
    CUDA_MEMCPY3D_BATCH_OP op;
    box_batch_13000 batch;
    unsigned char *in;
    CUdeviceptr p;
    CUstream stream;

    begin();
    batch = (box_batch_13000)need_function("cuMemcpy3DBatchAsync", 13000);
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    in = bytes_new(1);
    p = device_alloc(BYTES);
    op = box(pointer(p, 0, 0), pointer(host_addr(in), 0, 0), ROW, ROWS, LAYERS);
    EXPECT_ERROR("null_stream", batch(1, &op, 0, NULL));
    op.dst.op.ptr.rowLength = ROW - 1;
    EXPECT_ERROR("short_rows", batch(1, &op, 0, stream));
    op.dst.op.ptr.rowLength = 0;
    op.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_INVALID;
    EXPECT_ERROR("no_order", batch(1, &op, 0, stream));
}

#define COPY_BATCH_CHECKS(X) X(linear) X(boxes) X(boxes_of_12080) X(boxes_refused)
CHECK_GROUP(copy_batch, COPY_BATCH_CHECKS);
