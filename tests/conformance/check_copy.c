/* check_copy.c - the synchronous copies and the memsets: every byte, and when the call returns. */
#include "conformance.h"

/* A byte of a pattern that no shift repeats. */
static uint8_t byte_at(size_t i, uint32_t seed)
{
    return (uint8_t)tk_pattern(i, seed);
}

static uint8_t *bytes_new(size_t count, uint32_t seed)
{
    uint8_t *p = malloc(count);

    EXPECT(p != NULL);
    for (size_t i = 0; i < count; i++)
        p[i] = byte_at(i, seed);
    return p;
}

/* Odd sizes at odd offsets, over the pages' bounds; bytes outside stay. */
static void round_trip(void)
{
    static const size_t sizes[] = {1, 2, 3, 63, 4097, 65537, 2 * MIB - 1, 2 * MIB + 3};
    size_t room = 5 * MIB;
    uint8_t *back = malloc(room), *src = bytes_new(room, 1);
    CUdeviceptr p;

    EXPECT(back != NULL);
    begin();
    p = device_alloc(room);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t offset = MIB + 13 * i + 1;

        OK(cuMemsetD8(p, 0xa5, room));
        OK(cuMemcpyHtoD(p + offset, src + 7, sizes[i]));
        memset(back, 0, room);
        OK(cuMemcpyDtoH(back, p, room));
        EXPECT(back[offset - 1] == 0xa5 && back[offset + sizes[i]] == 0xa5);
        EXPECT(memcmp(back + offset, src + 7, sizes[i]) == 0);
        OK(cuMemcpyDtoH(back + 1, p + offset, sizes[i]));
        EXPECT(memcmp(back + 1, src + 7, sizes[i]) == 0);
    }
}

static void device_to_device(void)
{
    uint8_t *src = bytes_new(3 * MIB, 2), *back = malloc(3 * MIB);
    CUdeviceptr p, q;

    EXPECT(back != NULL);
    begin();
    p = device_alloc(3 * MIB);
    q = device_alloc(3 * MIB);
    OK(cuMemcpyHtoD(p, src, 3 * MIB));
    OK(cuMemcpyDtoD(q + 5, p + 3, 3 * MIB - 9));
    OK(cuMemcpyDtoH(back, q + 5, 3 * MIB - 9));
    EXPECT(memcmp(back, src + 3, 3 * MIB - 9) == 0);
}

/* cuMemcpy infers the direction from the addresses, host to host included. */
static void inferred(void)
{
    uint8_t *src = bytes_new(100000, 3), *back = calloc(1, 100000), *pinned;
    CUdeviceptr p, q;

    begin();
    p = device_alloc(100000);
    q = device_alloc(100000);
    pinned = pinned_alloc(100000);
    OK(cuMemcpy(p, (CUdeviceptr)(uintptr_t)src, 100000));
    OK(cuMemcpy(q, p, 100000));
    OK(cuMemcpy((CUdeviceptr)(uintptr_t)pinned, q, 100000));
    EXPECT(memcmp(pinned, src, 100000) == 0);
    OK(cuMemcpy((CUdeviceptr)(uintptr_t)back, (CUdeviceptr)(uintptr_t)pinned, 100000));
    EXPECT(memcmp(back, src, 100000) == 0);
}

/* After a synchronous copy from pageable memory the source is the program's again. */
static void pageable_staged(void)
{
    size_t words = 3 * MIB / 4;
    uint32_t *src = pattern_new(words, 4);
    CUdeviceptr p;

    begin();
    warm_up();
    p = device_alloc(words * 4);
    for (uint32_t i = 0; i < 4; i++) {
        fill_host(src, words, 40 + i);
        OK(cuMemcpyHtoD(p, src, words * 4));
        memset(src, 0xff, words * 4);
        EXPECT_PATTERN(p, words, 40 + i);
    }
}

/* From pinned memory it is over when the call returns: every stream sees the bytes. */
static void pinned_synchronous(void)
{
    size_t words = MIB / 4;
    CUstream stream;
    uint32_t *src;
    CUdeviceptr p, q;

    begin();
    warm_up();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    src = pinned_alloc(words * 4);
    p = device_alloc(words * 4);
    q = device_alloc(words * 4);
    for (uint32_t i = 0; i < 4; i++) {
        fill_host(src, words, 50 + i);
        OK(cuMemcpyHtoD(p, src, words * 4));
        memset(src, 0xff, words * 4);
        launch_copy(stream, q, p, words);
        OK(cuStreamSynchronize(stream));
        EXPECT_PATTERN(q, words, 50 + i);
    }
}

/* Device to host waits for the default stream's work and returns with the bytes in place. */
static void to_host_synchronous(void)
{
    size_t words = MIB / 4;
    uint32_t *pageable = malloc(words * 4), *pinned;
    CUdeviceptr p, slow;

    EXPECT(pageable != NULL);
    begin();
    warm_up();
    pinned = pinned_alloc(words * 4);
    p = device_alloc(words * 4);
    slow = device_alloc(64);
    for (uint32_t i = 0; i < 4; i++) {
        launch_work(0, slow);
        launch_fill(0, p, words, 60 + i);
        OK(cuMemcpyDtoH(pageable, p, words * 4));
        EXPECT_HOST_PATTERN(pageable, words, 60 + i);
        launch_work(0, slow);
        launch_fill(0, p, words, 70 + i);
        OK(cuMemcpyDtoH(pinned, p, words * 4));
        EXPECT_HOST_PATTERN(pinned, words, 70 + i);
    }
}

/* Device to device and memset of device memory do not wait for the stream: behind a closed gate
 * they return, or this check never ends. */
static void no_host_wait(void)
{
    size_t words = 1024;
    CUdeviceptr p, q, r;
    uint32_t got = 0;
    struct gate gate;

    begin();
    warm_up();
    p = device_alloc(words * 4);
    q = device_alloc(words * 4);
    r = device_alloc(words * 4);
    OK(cuMemsetD32(r, 0, words));
    launch_fill(0, p, words, 5);
    OK(cuMemcpyDtoD(q, p, words * 4));
    OK(cuCtxSynchronize());
    gate_close(&gate, CU_STREAM_LEGACY);
    launch_fill(0, p, words, 6);
    OK(cuMemcpyDtoD(q, p, words * 4));
    OK(cuMemsetD32(r, 0x1234567, words));
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(0));
    gate_open(&gate);
    EXPECT_PATTERN(q, words, 6);
    OK(cuMemcpyDtoH(&got, r + 4092, 4));
    EXPECT_EQ(got, 0x1234567);
}

static void memsets(void)
{
    uint8_t *back = malloc(4096);
    uint16_t half;
    uint32_t word;
    CUdeviceptr p;

    EXPECT(back != NULL);
    begin();
    p = device_alloc(4096);
    OK(cuMemsetD8(p, 0x11, 4096));
    OK(cuMemsetD8(p + 3, 0x22, 5));
    OK(cuMemsetD16(p + 16, 0x3344, 3));
    OK(cuMemsetD32(p + 32, 0x55667788, 2));
    OK(cuMemcpyDtoH(back, p, 4096));
    EXPECT(back[2] == 0x11 && back[3] == 0x22 && back[7] == 0x22 && back[8] == 0x11);
    memcpy(&half, back + 20, 2);
    EXPECT(half == 0x3344 && back[15] == 0x11 && back[22] == 0x11);
    memcpy(&word, back + 36, 4);
    EXPECT(word == 0x55667788 && back[31] == 0x11 && back[40] == 0x11 && back[4095] == 0x11);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemsetD16(p + 1, 1, 4));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemsetD32(p + 2, 1, 4));
    OK(cuMemsetD8(p, 1, 0));
}

static void memsets_2d(void)
{
    uint8_t *back = malloc(64 * 40);
    CUdeviceptr p;

    EXPECT(back != NULL);
    begin();
    p = device_alloc(64 * 40);
    OK(cuMemsetD8(p, 0, 64 * 40));
    OK(cuMemsetD2D8(p + 64 + 1, 64, 0x77, 10, 3));
    OK(cuMemsetD2D32(p + 64 * 10, 64, 0x01020304, 4, 2));
    OK(cuMemcpyDtoH(back, p, 64 * 40));
    for (int y = 0; y < 40; y++)
        for (int x = 0; x < 64; x++) {
            int expected = 0;

            if (y >= 1 && y < 4 && x >= 1 && x < 11)
                expected = 0x77;
            if ((y == 10 || y == 11) && x < 16)
                expected = 4 - x % 4;
            EXPECT_EQ(back[y * 64 + x], expected);
        }
}

static void two_dimensions(void)
{
    enum { WIDTH = 37, HEIGHT = 11, HOST_PITCH = 50 };
    uint8_t *src = bytes_new(HOST_PITCH * 20, 7), *back = calloc(1, HOST_PITCH * 20);
    CUDA_MEMCPY2D copy;
    CUdeviceptr p = 0;
    size_t pitch = 0;

    begin();
    OK(cuMemAllocPitch(&p, &pitch, 64, 20, 4));
    memset(&copy, 0, sizeof(copy));
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = src;
    copy.srcPitch = HOST_PITCH;
    copy.srcXInBytes = 3;
    copy.srcY = 2;
    copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.dstDevice = p;
    copy.dstPitch = pitch;
    copy.dstXInBytes = 5;
    copy.dstY = 1;
    copy.WidthInBytes = WIDTH;
    copy.Height = HEIGHT;
    OK(cuMemcpy2D(&copy));
    memset(&copy, 0, sizeof(copy));
    copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = p;
    copy.srcPitch = pitch;
    copy.srcXInBytes = 5;
    copy.srcY = 1;
    copy.dstMemoryType = CU_MEMORYTYPE_HOST;
    copy.dstHost = back;
    copy.dstPitch = HOST_PITCH;
    copy.WidthInBytes = WIDTH;
    copy.Height = HEIGHT;
    OK(cuMemcpy2DUnaligned(&copy));
    for (size_t y = 0; y < 20; y++)
        for (size_t x = 0; x < HOST_PITCH; x++)
            EXPECT_EQ(back[y * HOST_PITCH + x],
                      y < HEIGHT && x < WIDTH ? src[(y + 2) * HOST_PITCH + x + 3] : 0);
    copy.WidthInBytes = pitch + 1;
    copy.Height = 2;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D(&copy));
}

static void three_dimensions(void)
{
    enum { WIDTH = 20, HEIGHT = 5, DEPTH = 4 };
    uint8_t *src = bytes_new(WIDTH * HEIGHT * DEPTH, 8);
    uint8_t *back = calloc(1, WIDTH * HEIGHT * DEPTH);
    CUDA_MEMCPY3D copy;
    CUdeviceptr p;

    begin();
    p = device_alloc(64 * 8 * DEPTH);
    memset(&copy, 0, sizeof(copy));
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = src;
    copy.srcPitch = WIDTH;
    copy.srcHeight = HEIGHT;
    copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.dstDevice = p;
    copy.dstPitch = 64;
    copy.dstHeight = 8;
    copy.WidthInBytes = WIDTH;
    copy.Height = HEIGHT;
    copy.Depth = DEPTH;
    OK(cuMemcpy3D(&copy));
    memset(&copy, 0, sizeof(copy));
    copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = p;
    copy.srcPitch = 64;
    copy.srcHeight = 8;
    copy.srcXInBytes = 2;
    copy.srcY = 1;
    copy.srcZ = 1;
    copy.dstMemoryType = CU_MEMORYTYPE_HOST;
    copy.dstHost = back;
    copy.dstPitch = WIDTH;
    copy.dstHeight = HEIGHT;
    copy.WidthInBytes = 10;
    copy.Height = 3;
    copy.Depth = 2;
    OK(cuMemcpy3D(&copy));
    for (size_t z = 0; z < 2; z++)
        for (size_t y = 0; y < 3; y++)
            for (size_t x = 0; x < 10; x++)
                EXPECT_EQ(back[(z * HEIGHT + y) * WIDTH + x],
                          src[((z + 1) * HEIGHT + y + 1) * WIDTH + x + 2]);
}

/* What is refused at the call, and is not sticky. */
static void errors(void)
{
    size_t big = 96 * MIB;
    char *host = calloc(1, big);
    CUdeviceptr p;

    EXPECT(host != NULL);
    begin();
    p = device_alloc(2 * MIB);
    OK(cuMemcpyHtoD(p, host, 0));
    EXPECT_ERROR("null", cuMemcpyHtoD(0, host, 16));
    EXPECT_ERROR("past_the_end", cuMemcpyHtoD(p, host, big));
    EXPECT_ERROR("past_the_end_to_host", cuMemcpyDtoH(host, p, big));
    EXPECT_ERROR("nobody", cuMemcpyHtoD(0x10000, host, 16));
    EXPECT_ERROR("memset_past_the_end", cuMemsetD8(p, 1, big));
    OK(cuMemFree(p));
    EXPECT_ERROR("freed", cuMemcpyDtoH(host, p, 2 * MIB));
    warm_up();
}

#define COPY_CHECKS(X)                                                                             \
    X(round_trip)                                                                                  \
    X(device_to_device)                                                                            \
    X(inferred)                                                                                    \
    X(pageable_staged)                                                                             \
    X(pinned_synchronous)                                                                          \
    X(to_host_synchronous)                                                                         \
    X(no_host_wait) X(memsets) X(memsets_2d) X(two_dimensions) X(three_dimensions) X(errors)
CHECK_GROUP(copy, COPY_CHECKS);
