/* check_migrate.c - managed memory in use: whoever touches it, wherever it is and whatever was
 * advised, reads the bytes that were written last.
 */
#include "conformance.h"

#define WORDS ((uint64_t)1 << 20) /* two pages of 2 MiB */
#define BYTES ((size_t)WORDS * 4)

static const CUmemLocation g_device = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
static const CUmemLocation g_host = {CU_MEM_LOCATION_TYPE_HOST, 0};

static uint32_t *host_of(CUdeviceptr p)
{
    return (uint32_t *)(uintptr_t)p;
}

static CUdeviceptr bench_open(void)
{
    begin();
    need_concurrent_managed();
    warm_up();
    return managed_alloc(BYTES);
}

static void expect_tripled(const uint32_t *p, uint64_t words, uint32_t seed)
{
    for (uint64_t i = 0; i < words; i++)
        EXPECT_EQ(p[i], tk_pattern(i, seed) * 3 + 1);
}

/* To and fro between host and device. */
static void ping_pong(void)
{
    CUdeviceptr p = bench_open();

    for (uint32_t i = 0; i < 5; i++) {
        fill_host(host_of(p), WORDS, i);
        launch_triple(0, p, WORDS);
        OK(cuCtxSynchronize());
        expect_tripled(host_of(p), WORDS, i);
        launch_fill(0, p, WORDS, 100 + i);
        OK(cuCtxSynchronize());
        EXPECT_HOST_PATTERN(host_of(p), WORDS, 100 + i);
    }
}

/* The host touches a single word of a page in the middle, then the device uses all. */
static void single_words(void)
{
    CUdeviceptr p = bench_open();
    uint64_t sum = 0, words = WORDS;
    CUdeviceptr out = device_alloc(8);
    uint32_t *copy = pattern_new(WORDS, 1);

    launch_fill(0, p, WORDS, 1);
    OK(cuCtxSynchronize());
    for (uint64_t i = 1; i < WORDS; i += WORDS / 16 + 1) {
        host_of(p)[i] += 12345;
        copy[i] += 12345;
        LAUNCH(kernel("tk_hash"), 1, 256, 0, &p, &words, &out);
        OK(cuMemcpyDtoH(&sum, out, 8));
        EXPECT_EQ(sum, tk_hash_of(copy, WORDS));
    }
}

/* Host and device may use different pages at the same time. */
static void at_once(void)
{
    CUdeviceptr p = bench_open(), q = managed_alloc(BYTES), slow = device_alloc(64);

    fill_host(host_of(q), WORDS, 3);
    for (uint32_t i = 0; i < 4; i++) {
        launch_fill(0, p, WORDS, i);
        launch_work(0, slow);
        launch_triple(0, p, WORDS);
        EXPECT_HOST_PATTERN(host_of(q), WORDS, 3 + i);
        fill_host(host_of(q), WORDS, 4 + i);
        OK(cuCtxSynchronize());
        expect_tripled(host_of(p), WORDS, i);
    }
}

/* A prefetch is work of its stream: what is written before it is what arrives. */
static void prefetch(void)
{
    CUdeviceptr p = bench_open();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);

    for (uint32_t i = 0; i < 3; i++) {
        fill_host(host_of(p), WORDS, i);
        OK(cuMemPrefetchAsync(p, BYTES, g_device, 0, stream));
        launch_triple(stream, p, WORDS);
        OK(cuMemPrefetchAsync(p, BYTES, g_host, 0, stream));
        OK(cuStreamSynchronize(stream));
        expect_tripled(host_of(p), WORDS, i);
        OK(cuMemPrefetchAsync(p + 4096, BYTES / 2, g_device, 0, stream));
        launch_fill(stream, p, WORDS, 50 + i);
        OK(cuStreamSynchronize(stream));
        EXPECT_HOST_PATTERN(host_of(p), WORDS, 50 + i);
    }
}

/* A prefetch stays behind what is before it in its stream, and does not hold up the host. */
static void prefetch_behind_gate(void)
{
    CUdeviceptr p = bench_open();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    struct gate gate;

    fill_host(host_of(p), WORDS, 1);
    OK(cuMemPrefetchAsync(p, BYTES, g_device, 0, stream));
    OK(cuStreamSynchronize(stream));
    gate_close(&gate, stream);
    launch_fill(stream, p, WORDS, 2);
    EXPECT_CU(CUDA_ERROR_NOT_READY, cuStreamQuery(stream));
    EXPECT_HOST_PATTERN(host_of(p), WORDS, 1);
    gate_open(&gate);
    OK(cuMemPrefetchAsync(p, BYTES, g_host, 0, stream));
    OK(cuStreamSynchronize(stream));
    EXPECT_HOST_PATTERN(host_of(p), WORDS, 2);
}

/* Duplicates: a write by either side is seen by the other. */
static void read_mostly(void)
{
    CUdeviceptr p = bench_open(), q = device_alloc(BYTES);

    fill_host(host_of(p), WORDS, 1);
    OK(cuMemAdvise(p, BYTES, CU_MEM_ADVISE_SET_READ_MOSTLY, g_device));
    OK(cuMemPrefetchAsync(p, BYTES, g_device, 0, 0));
    launch_copy(0, q, p, WORDS);
    EXPECT_PATTERN(q, WORDS, 1);
    EXPECT_HOST_PATTERN(host_of(p), WORDS, 1);
    /* The device writes: nothing is lost. */
    launch_triple(0, p, WORDS);
    OK(cuCtxSynchronize());
    expect_tripled(host_of(p), WORDS, 1);
    /* The host writes after the device read. */
    OK(cuMemPrefetchAsync(p, BYTES, g_device, 0, 0));
    OK(cuCtxSynchronize());
    fill_host(host_of(p), WORDS, 2);
    launch_copy(0, q, p, WORDS);
    EXPECT_PATTERN(q, WORDS, 2);
    /* The device reads, writes a little, and reads again. */
    launch_fill(0, p + 4096, 16, 9);
    launch_copy(0, q, p, WORDS);
    EXPECT_PATTERN(q, 1024, 2);
    EXPECT_PATTERN(q + 4096, 16, 9);
    EXPECT_HOST_PATTERN(host_of(p) + 1024, 16, 9);
    EXPECT_HOST_PATTERN(host_of(p), 1024, 2);
}

/* The way to give up a duplicate without a copy: prefer the host, unset, set again. */
static void drop(void)
{
    CUdeviceptr p = bench_open(), q = device_alloc(BYTES);

    fill_host(host_of(p), WORDS, 1);
    OK(cuMemAdvise(p, BYTES, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, g_host));
    OK(cuMemAdvise(p, BYTES, CU_MEM_ADVISE_SET_READ_MOSTLY, g_device));
    for (uint32_t i = 1; i <= 3; i++) {
        OK(cuMemPrefetchAsync(p, BYTES, g_device, 0, 0));
        launch_copy(0, q, p, WORDS);
        EXPECT_PATTERN(q, WORDS, i);
        OK(cuMemAdvise(p, BYTES, CU_MEM_ADVISE_UNSET_READ_MOSTLY, g_device));
        OK(cuMemAdvise(p, BYTES, CU_MEM_ADVISE_SET_READ_MOSTLY, g_device));
        OK(cuMemsetD8(q, 0, BYTES));
        launch_copy(0, q, p, WORDS);
        EXPECT_PATTERN(q, WORDS, i);
        EXPECT_HOST_PATTERN(host_of(p), WORDS, i);
        fill_host(host_of(p), WORDS, i + 1);
    }
}

/* A kernel's write after the duplicate was made survives the drop. */
static void drop_after_write(void)
{
    CUdeviceptr p = bench_open();

    fill_host(host_of(p), WORDS, 1);
    OK(cuMemAdvise(p, BYTES, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, g_host));
    OK(cuMemAdvise(p, BYTES, CU_MEM_ADVISE_SET_READ_MOSTLY, g_device));
    OK(cuMemPrefetchAsync(p, BYTES, g_device, 0, 0));
    launch_triple(0, p, WORDS / 2);
    OK(cuCtxSynchronize());
    OK(cuMemAdvise(p, BYTES, CU_MEM_ADVISE_UNSET_READ_MOSTLY, g_device));
    OK(cuMemAdvise(p, BYTES, CU_MEM_ADVISE_SET_READ_MOSTLY, g_device));
    expect_tripled(host_of(p), WORDS / 2, 1);
    for (uint64_t i = WORDS / 2; i < WORDS; i++)
        EXPECT_EQ(host_of(p)[i], tk_pattern(i, 1));
}

/* Memory that prefers the host is read in place; the answer is the same. */
static void preferred_host(void)
{
    CUdeviceptr p = bench_open(), q = device_alloc(BYTES);

    OK(cuMemAdvise(p, BYTES, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, g_host));
    OK(cuMemAdvise(p, BYTES, CU_MEM_ADVISE_SET_ACCESSED_BY, g_device));
    fill_host(host_of(p), WORDS, 5);
    launch_copy(0, q, p, WORDS);
    EXPECT_PATTERN(q, WORDS, 5);
    launch_triple(0, p, WORDS);
    OK(cuCtxSynchronize());
    expect_tripled(host_of(p), WORDS, 5);
}

/* Every kind of copy takes managed memory on either side. */
static void copies(void)
{
    CUdeviceptr p = bench_open(), q = managed_alloc(BYTES), plain = device_alloc(BYTES);
    uint32_t *host = pattern_new(WORDS, 1);

    OK(cuMemcpyHtoD(p, host, BYTES));
    EXPECT_HOST_PATTERN(host_of(p), WORDS, 1);
    OK(cuMemPrefetchAsync(q, BYTES, g_device, 0, 0));
    OK(cuMemcpyDtoD(q, p, BYTES));
    OK(cuMemcpyDtoD(plain, q, BYTES));
    memset(host, 0, BYTES);
    OK(cuMemcpyDtoH(host, plain, BYTES));
    EXPECT_HOST_PATTERN(host, WORDS, 1);
    launch_triple(0, q, WORDS);
    OK(cuMemcpyDtoH(host, q, BYTES));
    expect_tripled(host, WORDS, 1);
    OK(cuMemsetD32(q, 0xabcdef01, WORDS));
    OK(cuCtxSynchronize());
    EXPECT_EQ(host_of(q)[0], 0xabcdef01);
    EXPECT_EQ(host_of(q)[WORDS - 1], 0xabcdef01);
    OK(cuMemcpy(p, q, BYTES));
    OK(cuCtxSynchronize());
    EXPECT_EQ(host_of(p)[WORDS / 2], 0xabcdef01);
}

/* An asynchronous copy into a read-mostly page that the device has a duplicate of. */
static void copy_into_duplicate(void)
{
    CUdeviceptr p = bench_open(), q = device_alloc(BYTES);
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    uint32_t *pinned = pinned_alloc(BYTES);

    fill_host(host_of(p), WORDS, 1);
    fill_host(pinned, WORDS, 2);
    OK(cuMemAdvise(p, BYTES, CU_MEM_ADVISE_SET_READ_MOSTLY, g_device));
    OK(cuMemPrefetchAsync(p, BYTES, g_device, 0, stream));
    OK(cuMemcpyHtoDAsync(p, pinned, BYTES, stream));
    launch_copy(stream, q, p, WORDS);
    OK(cuStreamSynchronize(stream));
    EXPECT_PATTERN(q, WORDS, 2);
    EXPECT_HOST_PATTERN(host_of(p), WORDS, 2);
}

/* Several threads of the host and the device at once, each on words of its own in shared pages. */
struct writer {
    uint32_t *p;
    uint32_t first;
};

static void *write_main(void *arg)
{
    struct writer *writer = arg;

    for (uint64_t i = writer->first; i < WORDS; i += 4)
        writer->p[i] = tk_pattern(i, 7);
    return NULL;
}

static void host_threads(void)
{
    CUdeviceptr p = bench_open();
    struct writer writers[4];
    pthread_t threads[4];

    launch_fill(0, p, WORDS, 1);
    OK(cuCtxSynchronize());
    for (uint32_t i = 0; i < 4; i++) {
        writers[i] = (struct writer){host_of(p), i};
        EXPECT(pthread_create(&threads[i], NULL, write_main, &writers[i]) == 0);
    }
    for (uint32_t i = 0; i < 4; i++)
        EXPECT(pthread_join(threads[i], NULL) == 0);
    launch_triple(0, p, WORDS);
    OK(cuCtxSynchronize());
    expect_tripled(host_of(p), WORDS, 7);
}

/* More managed memory than the device holds. Only on a small device: never on a card that others
 * use, where more managed memory than is free can hang it. */
static void more_than_fits(void)
{
    size_t free_bytes = 0, total = 0, bytes, part;
    CUdeviceptr p, out;
    uint64_t words, sum = 0;
    uint32_t parts = 12;

    begin();
    need_concurrent_managed();
    warm_up();
    OK(cuMemGetInfo(&free_bytes, &total));
    if (total > 512 * MIB)
        check_skip("the device is large; this wants one of at most 512 MiB");
    out = device_alloc(8);
    part = free_bytes / 8 / (2 * MIB) * (2 * MIB);
    if (part == 0)
        check_skip("only %zu bytes are free", free_bytes);
    bytes = part * parts;
    words = part / 4;
    p = managed_alloc(bytes);
    for (uint32_t i = 0; i < parts; i++)
        launch_fill(0, p + i * part, words, i);
    for (uint32_t i = 0; i < parts; i++) {
        CUdeviceptr piece = p + i * part;

        LAUNCH(kernel("tk_hash"), 1, 256, 0, &piece, &words, &out);
        OK(cuMemcpyDtoH(&sum, out, 8));
        EXPECT_EQ(sum, tk_hash_of_pattern(words, i));
    }
    EXPECT_HOST_PATTERN(host_of(p), words, 0);
}

#define MIGRATE_CHECKS(X)                                                                          \
    X(ping_pong)                                                                                   \
    X(single_words)                                                                                \
    X(at_once)                                                                                     \
    X(prefetch)                                                                                    \
    X(prefetch_behind_gate)                                                                        \
    X(read_mostly)                                                                                 \
    X(drop)                                                                                        \
    X(drop_after_write)                                                                            \
    X(preferred_host)                                                                              \
    X(copies) X(copy_into_duplicate) X(host_threads) X(more_than_fits)
CHECK_GROUP(migrate, MIGRATE_CHECKS);
