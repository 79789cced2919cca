/* naming.c - weights of a mapped checkpoint get their own names, however a program uploads them.
 *
 * The file holds twelve tensors of mixed sizes, one of them empty: 6748538 bytes. In every way of
 * uploading, the statistics must name each byte that came from the file, and no other; what the
 * device holds is read back and compared, after kernels have read it in less room than it takes.
 *
 * stats: .errors.driver_failures == 0 and .errors.refused == 0
 * stats: all(p["evidence"] in ("file", "content", "none") for p in .parameters)
 * stats: all(p["dtype"] == "U8" for p in .parameters if p["evidence"] == "file")
 * stats: .weights.named_bytes <= .weights.total_bytes
 * run: max-memory=0=4MiB arg=--how arg=fused
 * stats: .weights.named_bytes == 6748538 and .weights.total_bytes == 6748538
 * stats: len(.parameters) == 11 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * stats: all(p["evidence"] == "file" for p in .parameters)
 * run: max-memory=0=256MiB arg=--how arg=fused
 * stats: .weights.named_bytes == 6748538 and all(p["tier"] == "vram" for p in .parameters)
 * run: max-memory=0=4MiB arg=--how arg=each
 * stats: len(.parameters) == 11 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=4MiB arg=--how arg=chunks
 * stats: len(.parameters) == 11 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=4MiB arg=--how arg=shuffled
 * stats: len(.parameters) == 11 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=4MiB arg=--how arg=twice
 * stats: len(.parameters) == 11 and .weights.named_bytes == 6748538
 * run: max-memory=0=4MiB arg=--how arg=adjacent
 * stats: len(.parameters) == 11 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=4MiB arg=--how arg=async
 * stats: len(.parameters) == 11 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=4MiB arg=--how arg=registered
 * stats: len(.parameters) == 11 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=4MiB arg=--how arg=unified
 * stats: len(.parameters) == 11 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=4MiB arg=--how arg=batch
 * stats: len(.parameters) == 11 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=4MiB arg=--how arg=boxes
 * stats: len(.parameters) == 11 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=4MiB arg=--how arg=rows
 * stats: .weights.named_bytes == 1048576 and .weights.total_bytes == 1048576
 * stats: len(.parameters) == 1 and .parameters[0].name == "block.7.weight"
 * run: max-memory=0=4MiB arg=--how arg=modified
 * stats: .weights.named_bytes == 6748538 - 4096 and .weights.total_bytes == 6748538
 * stats: sum(p["bytes"] for p in .parameters if p["evidence"] == "none") == 4096
 * stats: sum(p["bytes"] for p in .parameters if p["name"] == "block.9.weight") == 3145728 - 4096
 * run: max-memory=0=4MiB arg=--how arg=heap
 * stats: .weights.named_bytes == 6748538 and all(p["evidence"] == "content" for p in .parameters)
 * stats: len(.parameters) == 11 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=4MiB arg=--how arg=pinned
 * stats: .weights.named_bytes == 6748538 and all(p["evidence"] == "content" for p in .parameters)
 * stats: len(.parameters) == 11 and .weights.ambiguous_bytes == 0
 * run: max-memory=0=4MiB arg=--how arg=slice
 * stats: .weights.named_bytes == 500000 and .parameters[0].name == "block.9.weight"
 * stats: .parameters[0].bytes == 500000 and .parameters[0].shape == [3145728]
 * run: max-memory=0=4MiB arg=--how arg=over
 * stats: sum(p["bytes"] for p in .parameters if p["name"] == "block.9.weight") == 2 * 2**20
 * stats: sum(p["bytes"] for p in .parameters if p["name"] == "block.7.weight") == 2 * 2**20
 * run: max-memory=0=4MiB arg=--how arg=reused
 * stats: all(p["bytes"] == 2**20 and p["evidence"] == "file" for p in .parameters)
 * stats: len({p["name"] for p in .parameters}) == 24
 */
#include "common.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB         ((uint64_t)1 << 20)
#define TENSORS_MAX 24u
#define CHUNK       ((uint64_t)64 << 10)
#define ALIGN       256u
#define SLOTS       32u
#define EXIT_SKIP   77

static const uint64_t g_mixed[] = {
    1, 3, 0, 4096, 5000, 65536, 70001, MIB, 2 * MIB + 12345, 3 * MIB, 100, 300000};

/* The checkpoint, as it is mapped, and what of it lies where on the device. */
static struct {
    char path[PATH_MAX];
    unsigned char *map;
    uint64_t bytes, data; /* data: where the first tensor begins */
    uint64_t size[TENSORS_MAX], offset[TENSORS_MAX];
    size_t count;
    CUdeviceptr place[TENSORS_MAX];
} g_file;

static unsigned char byte_at(uint64_t i)
{
    return (unsigned char)((i * 2654435761u) >> 13 ^ i >> 7);
}

/* Tensors lie in the file in the order of their numbers, with nothing between them. */
static void write_file(const char *path, const uint64_t *sizes, size_t count, const char *name)
{
    char *header = need(128 * (count + 1));
    uint64_t total = 0, header_bytes;
    FILE *file = fopen(path, "wb");

    EXPECT(file, "cannot write %s", path);
    g_file.count = count;
    strcpy(header, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < count; i++) {
        sprintf(
            header + strlen(header),
            ",\"%s.%zu.weight\":{\"dtype\":\"U8\",\"shape\":[%llu],\"data_offsets\":[%llu,%llu]}",
            name, i, (unsigned long long)sizes[i], (unsigned long long)total,
            (unsigned long long)(total + sizes[i]));
        g_file.size[i] = sizes[i];
        g_file.offset[i] = total;
        total += sizes[i];
    }
    strcat(header, "}");
    header_bytes = strlen(header);
    g_file.data = 8 + header_bytes;
    g_file.bytes = g_file.data + total;
    fwrite(&header_bytes, 8, 1, file);
    fwrite(header, 1, header_bytes, file);
    for (uint64_t i = 0; i < total; i++)
        putc(byte_at(i), file);
    EXPECT(!fclose(file), "cannot write %s", path);
    free(header);
    for (size_t i = 0; i < count; i++)
        g_file.offset[i] += g_file.data;
}

/* It stays until the end: a file that has no name any more gives none. */
static void remove_file(void)
{
    unlink(g_file.path);
}

static void make_file(const char *how)
{
    const char *folder = getenv("TMPDIR");
    int is_private = !strcmp(how, "modified");
    uint64_t even[TENSORS_MAX];
    char *path = g_file.path;
    int fd;

    snprintf(path, sizeof(g_file.path), "%s/berth-naming-%d.safetensors", folder ? folder : "/tmp",
             (int)getpid());
    for (size_t i = 0; i < TENSORS_MAX; i++)
        even[i] = MIB;
    if (!strcmp(how, "reused"))
        write_file(path, even, TENSORS_MAX, "even");
    else
        write_file(path, g_mixed, sizeof(g_mixed) / sizeof(*g_mixed), "block");
    fd = open(path, O_RDWR);
    g_file.map = mmap(NULL, g_file.bytes, PROT_READ | PROT_WRITE,
                      is_private ? MAP_PRIVATE : MAP_SHARED, fd, 0);
    EXPECT(g_file.map != MAP_FAILED, "cannot map %s", path);
    close(fd);
    EXPECT(!atexit(remove_file), "no room for an exit handler");
}

static CUdeviceptr take(uint64_t bytes)
{
    CUdeviceptr p = 0;

    CUDA_CHECK(cuMemAlloc(&p, bytes ? bytes : 1));
    return p;
}

/* Room for all tensors: one allocation each, or one for all, with the last tensor first. */
static CUdeviceptr place(int fused)
{
    uint64_t total = 0, at = 0;
    CUdeviceptr base = 0;

    for (size_t i = 0; i < g_file.count; i++)
        total += (g_file.size[i] + ALIGN - 1) / ALIGN * ALIGN;
    if (fused)
        base = take(total);
    for (size_t i = g_file.count; i-- > 0;) {
        if (!g_file.size[i])
            continue;
        g_file.place[i] = fused ? base + at : take(g_file.size[i]);
        at += (g_file.size[i] + ALIGN - 1) / ALIGN * ALIGN;
    }
    return base;
}

enum copy { COPY_SYNC, COPY_ASYNC, COPY_UNIFIED };

static void copy(CUdeviceptr to, const void *from, uint64_t bytes, enum copy kind, CUstream stream)
{
    if (!bytes)
        return;
    if (kind == COPY_SYNC)
        CUDA_CHECK(cuMemcpyHtoD(to, from, bytes));
    else if (kind == COPY_ASYNC)
        CUDA_CHECK(cuMemcpyHtoDAsync(to, from, bytes, stream));
    else
        CUDA_CHECK(cuMemcpy(to, (CUdeviceptr)(uintptr_t)from, bytes));
}

/* Every tensor in one copy, from the file or from another place that holds the same bytes. */
static void upload_whole(const unsigned char *from, enum copy kind, CUstream stream)
{
    for (size_t i = 0; i < g_file.count; i++)
        copy(g_file.place[i], from + g_file.offset[i], g_file.size[i], kind, stream);
}

/* All tensors in one call. */
static void upload_batch(CUstream stream)
{
    CUmemcpyAttributes attributes = {.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM};
    CUdeviceptr to[TENSORS_MAX], from[TENSORS_MAX];
    size_t bytes[TENSORS_MAX], count = 0, first = 0;

    for (size_t i = 0; i < g_file.count; i++) {
        if (!g_file.size[i])
            continue;
        to[count] = g_file.place[i];
        from[count] = (CUdeviceptr)(uintptr_t)(g_file.map + g_file.offset[i]);
        bytes[count++] = g_file.size[i];
    }
    CUDA_CHECK(cuMemcpyBatchAsync(to, from, bytes, count, &attributes, &first, 1, stream));
}

/* The same as boxes: of a megabyte's tensor 4 layers of 256 rows, of any other one row. */
static void upload_boxes(CUstream stream)
{
    CUDA_MEMCPY3D_BATCH_OP ops[TENSORS_MAX];
    size_t count = 0;

    memset(ops, 0, sizeof(ops));
    for (size_t i = 0; i < g_file.count; i++) {
        CUDA_MEMCPY3D_BATCH_OP *op = &ops[count];

        if (!g_file.size[i])
            continue;
        op->src.type = op->dst.type = CU_MEMCPY_OPERAND_TYPE_POINTER;
        op->src.op.ptr.ptr = (CUdeviceptr)(uintptr_t)(g_file.map + g_file.offset[i]);
        op->dst.op.ptr.ptr = g_file.place[i];
        op->srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
        op->extent = (CUextent3D){g_file.size[i], 1, 1};
        if (g_file.size[i] == MIB)
            op->extent = (CUextent3D){1024, 256, 4};
        count++;
    }
    CUDA_CHECK(cuMemcpy3DBatchAsync(count, ops, 0, stream));
}

/* Every tensor in chunks, those in order or not. */
static void upload_chunks(int shuffled, uint64_t *seed)
{
    struct {
        size_t tensor;
        uint64_t first;
    } chunk[256], other;
    size_t count = 0;

    for (size_t i = 0; i < g_file.count; i++)
        for (uint64_t at = 0; at < g_file.size[i]; at += CHUNK) {
            EXPECT(count < 256, "too many chunks");
            chunk[count].tensor = i;
            chunk[count++].first = at;
        }
    for (size_t i = count; shuffled && i > 1; i--) {
        size_t with = next_random(seed) % i;

        other = chunk[i - 1];
        chunk[i - 1] = chunk[with];
        chunk[with] = other;
    }
    for (size_t i = 0; i < count; i++) {
        size_t t = chunk[i].tensor;
        uint64_t rest = g_file.size[t] - chunk[i].first;

        copy(g_file.place[t] + chunk[i].first, g_file.map + g_file.offset[t] + chunk[i].first,
             rest < CHUNK ? rest : CHUNK, COPY_SYNC, NULL);
    }
}

/* All that is in the file, read back from where it was put. */
static void verify(CUdeviceptr p, const unsigned char *want, uint64_t bytes, const char *what,
                   size_t which)
{
    unsigned char *back = need(bytes ? bytes : 1);

    if (bytes)
        CUDA_CHECK(cuMemcpyDtoH(back, p, bytes));
    EXPECT(!memcmp(back, want, bytes), "%s %zu came back changed", what, which);
    free(back);
}

static void verify_all(void)
{
    for (size_t i = 0; i < g_file.count; i++)
        verify(g_file.place[i], g_file.map + g_file.offset[i], g_file.size[i], "tensor", i);
}

/* Kernels read what was uploaded, so that it comes and goes. */
static void read_all(const struct kernels *k, CUstream stream)
{
    CUdeviceptr out = take(8);

    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < g_file.count; i++) {
            uint64_t words = g_file.size[i] / 4;
            void *params[] = {&g_file.place[i], &words, &out};

            if (words && g_file.place[i] % 4 == 0)
                launch_block(k->hash, stream, params);
        }
    CUDA_CHECK(cuStreamSynchronize(stream));
}

/* Rows that lie side by side are one stretch of bytes; rows with gaps between them are not. */
static void upload_rows(void)
{
    CUDA_MEMCPY2D rows = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                          .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                          .srcHost = g_file.map + g_file.offset[7],
                          .srcPitch = 1024,
                          .dstPitch = 1024,
                          .WidthInBytes = 1024,
                          .Height = 1024};
    CUdeviceptr whole = take(MIB), gaps = take(256 * 512);
    unsigned char *back = need(256 * 512);

    rows.dstDevice = whole;
    CUDA_CHECK(cuMemcpy2D(&rows));
    verify(whole, g_file.map + g_file.offset[7], MIB, "tensor", 7);
    rows.srcHost = g_file.map + g_file.offset[5];
    rows.dstDevice = gaps;
    rows.srcPitch = rows.WidthInBytes = 256;
    rows.dstPitch = 512;
    rows.Height = 256;
    CUDA_CHECK(cuMemcpy2D(&rows));
    CUDA_CHECK(cuMemcpyDtoH(back, gaps, 256 * 512));
    for (size_t row = 0; row < 256; row++)
        EXPECT(!memcmp(back + row * 512, g_file.map + g_file.offset[5] + row * 256, 256),
               "row %zu came back changed", row);
    free(back);
}

/* Slots that are freed and handed out again hold other tensors then. */
static void reuse_addresses(const struct kernels *k, CUstream stream)
{
    CUdeviceptr slot[SLOTS], out = take(8);
    size_t holds[SLOTS];

    for (size_t i = 0; i < SLOTS; i++) {
        slot[i] = take(MIB);
        holds[i] = i % 12;
        copy(slot[i], g_file.map + g_file.offset[holds[i]], MIB, COPY_SYNC, NULL);
    }
    for (size_t i = 0; i < SLOTS; i += 2)
        CUDA_CHECK(cuMemFree(slot[i]));
    for (size_t i = 0; i < SLOTS; i += 2) {
        slot[i] = take(MIB);
        holds[i] = 12 + i / 2 % 12;
        copy(slot[i], g_file.map + g_file.offset[holds[i]], MIB, COPY_SYNC, NULL);
    }
    for (size_t i = 0; i < SLOTS; i++) {
        uint64_t words = MIB / 4;
        void *params[] = {&slot[i], &words, &out};

        launch_block(k->hash, stream, params);
        verify(slot[i], g_file.map + g_file.offset[holds[i]], MIB, "slot", i);
    }
}

static void from_other_memory(int pinned, CUstream stream)
{
    void *copy_of_it = NULL;

    if (pinned)
        CUDA_CHECK(cuMemHostAlloc(&copy_of_it, g_file.bytes, 0));
    else
        copy_of_it = need(g_file.bytes);
    memcpy(copy_of_it, g_file.map, g_file.bytes);
    upload_whole(copy_of_it, pinned ? COPY_ASYNC : COPY_SYNC, stream);
    CUDA_CHECK(cuStreamSynchronize(stream));
}

/* For reading: a shared mapping of a file cannot be pinned for a device that might write. */
static void registered(CUstream stream)
{
    CUresult result = cuMemHostRegister(g_file.map, g_file.bytes, CU_MEMHOSTREGISTER_READ_ONLY);

    if (result == CUDA_ERROR_INVALID_VALUE || result == CUDA_ERROR_NOT_SUPPORTED) {
        printf("the driver does not register the mapping of a file: %s\n", cuda_error_name(result));
        exit(EXIT_SKIP);
    }
    CUDA_CHECK(result);
    upload_whole(g_file.map, COPY_ASYNC, stream);
    CUDA_CHECK(cuStreamSynchronize(stream));
    CUDA_CHECK(cuMemHostUnregister(g_file.map));
}

/* All tensors in one copy, as they lie in the file. */
static void adjacent(void)
{
    CUdeviceptr base = take(g_file.bytes - g_file.data);

    for (size_t i = 0; i < g_file.count; i++)
        g_file.place[i] = base + (g_file.offset[i] - g_file.data);
    copy(base, g_file.map + g_file.data, g_file.bytes - g_file.data, COPY_SYNC, NULL);
}

static void slice(void)
{
    CUdeviceptr p = take(500000);

    copy(p, g_file.map + g_file.offset[9] + 1000, 500000, COPY_SYNC, NULL);
    verify(p, g_file.map + g_file.offset[9] + 1000, 500000, "slice of tensor", 9);
}

/* One tensor into the middle of another. */
static void over(void)
{
    upload_whole(g_file.map, COPY_SYNC, NULL);
    copy(g_file.place[9] + MIB, g_file.map + g_file.offset[7], MIB, COPY_SYNC, NULL);
    verify(g_file.place[9], g_file.map + g_file.offset[9], MIB, "the start of tensor", 9);
    verify(g_file.place[9] + MIB, g_file.map + g_file.offset[7], MIB, "tensor", 7);
    verify(g_file.place[9] + 2 * MIB, g_file.map + g_file.offset[9] + 2 * MIB, MIB,
           "the end of tensor", 9);
}

static void upload(const char *how, uint64_t *seed, CUstream stream)
{
    if (!strcmp(how, "adjacent")) {
        adjacent();
        return;
    }
    place(strcmp(how, "each") != 0);
    if (!strcmp(how, "modified"))
        g_file.map[(g_file.offset[9] / 4096 + 3) * 4096 + 77] ^= 1;
    if (!strcmp(how, "chunks") || !strcmp(how, "shuffled"))
        upload_chunks(!strcmp(how, "shuffled"), seed);
    else if (!strcmp(how, "heap") || !strcmp(how, "pinned"))
        from_other_memory(!strcmp(how, "pinned"), stream);
    else if (!strcmp(how, "registered"))
        registered(stream);
    else if (!strcmp(how, "batch"))
        upload_batch(stream);
    else if (!strcmp(how, "boxes"))
        upload_boxes(stream);
    else
        upload_whole(g_file.map,
                     !strcmp(how, "async")     ? COPY_ASYNC
                     : !strcmp(how, "unified") ? COPY_UNIFIED
                                               : COPY_SYNC,
                     stream);
    if (!strcmp(how, "twice"))
        upload_whole(g_file.map, COPY_SYNC, NULL);
}

int main(int argc, char **argv)
{
    const char *how = argc > 2 ? argv[2] : "fused";
    uint64_t seed = program_seed(argc, argv);
    struct kernels k;
    CUstream stream;

    start(0, &k);
    CUDA_CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    make_file(how);
    if (!strcmp(how, "rows")) {
        upload_rows();
    } else if (!strcmp(how, "reused")) {
        reuse_addresses(&k, stream);
    } else if (!strcmp(how, "slice")) {
        slice();
    } else if (!strcmp(how, "over")) {
        place(1);
        over();
    } else {
        upload(how, &seed, stream);
        CUDA_CHECK(cuStreamSynchronize(stream));
        read_all(&k, stream);
        verify_all();
    }
    printf("uploaded: %s\n", how);
    return 0;
}
