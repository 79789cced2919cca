/* naming_content.c - weights get their names although their bytes lie in no mapping of the file.
 *
 * The file holds a table of 2097160 bytes; four layers of a matrix of 524288 bytes, 1536 bytes of
 * ones, 1536 of zeros and 4096 that are the same in all layers; and a scale of 4 bytes: 18 tensors,
 * 4222988 bytes. It is read as loaders read, into memory that is used for something else at once,
 * and uploaded; every byte must get its name. Then kernels read all of it in less room than it
 * takes, and what comes back is compared.
 *
 * stats: .errors.driver_failures == 0 and .errors.refused == 0
 * stats: all(p["evidence"] in ("content", "none") for p in .parameters)
 * stats: all(p["dtype"] == "U8" for p in .parameters if p["evidence"] == "content")
 * run: max-memory=0=3MiB arg=--how arg=malloc
 * stats: .weights.named_bytes == 4222988 and .weights.ambiguous_bytes == 0
 * stats: len(.parameters) == 18 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=64MiB arg=--how arg=malloc log=debug seeds=1 only=berth
 * stderr: recognised .*: 18 tensors
 * no-stderr: not a checkpoint
 * run: max-memory=0=64MiB arg=--how arg=bounce
 * stats: .weights.named_bytes == 4222988 and all(p["tier"] == "vram" for p in .parameters)
 * run: max-memory=0=3MiB arg=--how arg=bounce
 * stats: .weights.named_bytes == 4222988 and .weights.ambiguous_bytes == 0
 * stats: len(.parameters) == 18 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=3MiB arg=--how arg=chunks
 * stats: .weights.named_bytes == 4222988 and .weights.ambiguous_bytes == 0
 * stats: len(.parameters) == 18 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=3MiB arg=--how arg=shuffled
 * stats: .weights.named_bytes == 4222988 and .weights.ambiguous_bytes == 0
 * stats: len(.parameters) == 18 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=3MiB arg=--how arg=backwards
 * stats: .weights.named_bytes == 4222988 and .weights.ambiguous_bytes == 0
 * stats: len(.parameters) == 18 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=3MiB arg=--how arg=twice
 * stats: .weights.named_bytes == 4222988 and .weights.total_bytes == 4222988
 * stats: len(.parameters) == 18 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=3MiB arg=--how arg=section
 * stats: .weights.named_bytes == 4222988 and .weights.total_bytes == 4222988
 * stats: len(.parameters) == 18 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=3MiB arg=--how arg=file
 * stats: .weights.named_bytes == 4222988 and .weights.total_bytes == 4222988
 * run: max-memory=0=3MiB arg=--how arg=blocks
 * stats: .weights.named_bytes == 4222988 and .weights.total_bytes == 4222988
 * stats: len(.parameters) == 18 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=3MiB arg=--how arg=packed
 * stats: .weights.named_bytes == 4222988 and .weights.total_bytes == 4222988
 * stats: len(.parameters) == 18 and all(p["bytes"] == p["shape"][0] for p in .parameters)
 * run: max-memory=0=3MiB arg=--how arg=rows
 * stats: .weights.named_bytes == 4222988 and len(.parameters) == 18
 * run: max-memory=0=3MiB arg=--how arg=unified
 * stats: .weights.named_bytes == 4222988 and len(.parameters) == 18
 * run: max-memory=0=3MiB arg=--how arg=private
 * stats: .weights.named_bytes == 4222988 and len(.parameters) == 18
 * run: max-memory=0=3MiB arg=--how arg=threads
 * stats: .weights.named_bytes == 4222984 and .weights.ambiguous_bytes == 4
 * run: max-memory=0=3MiB arg=--how arg=halves
 * stats: .weights.named_bytes == 4 * 262144 and .weights.total_bytes == 4 * 262144
 * stats: len({p["name"] for p in .parameters}) == 4
 * run: max-memory=0=3MiB arg=--how arg=closed arg=--path arg=$TMP/m checkpoint=$TMP/m via=preload
 * stats: .weights.named_bytes == 4222988 and .weights.ambiguous_bytes == 0
 * run: max-memory=0=3MiB arg=--how arg=closed
 * stats: .weights.named_bytes == 0 and .weights.total_bytes == 4222988
 * run: max-memory=0=3MiB arg=--how arg=deleted
 * stats: .weights.named_bytes == 4222988 and .weights.ambiguous_bytes == 0
 * run: max-memory=0=3MiB arg=--how arg=copied
 * stats: .weights.named_bytes == 4222988 and .weights.ambiguous_bytes == 0
 * run: max-memory=0=3MiB arg=--how arg=twins
 * stats: .weights.named_bytes == 2097160 and .weights.ambiguous_bytes == 4096 + 1536
 * run: max-memory=0=3MiB arg=--how arg=changed only=berth
 * stderr: was changed while in use
 * stats: .weights.named_bytes == 2097160 and .weights.total_bytes == 2097160 + 524288
 * run: max-memory=0=3MiB arg=--how arg=cut
 * stats: .weights.named_bytes == 2097160 and .weights.total_bytes == 2097160 + 524288
 * run: max-memory=0=3MiB arg=--how arg=other
 * stats: .weights.named_bytes == 0 and .weights.total_bytes == 4222988
 */
#include "common.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LAYERS       4u
#define OF_LAYER     4u
#define TENSORS      (2u + LAYERS * OF_LAYER)
#define TABLE_BYTES  ((2u << 20) + 8u)
#define MATRIX_BYTES (512u << 10)
#define VECTOR_BYTES 1536u
#define SHARED_BYTES 4096u
#define SCALE_BYTES  4u
#define CHUNK_BYTES  (64u << 10)
#define BLOCK_BYTES  (600u << 10)
#define ROW_BYTES    2048u
#define ALIGN        256u
#define BOUNCE_BYTES (5u << 20) /* holds the file */
#define CHUNKS_MAX   64u

enum kind { KIND_TABLE, KIND_MATRIX, KIND_ONES, KIND_ZEROS, KIND_SHARED, KIND_SCALE };

static struct {
    char path[PATH_MAX];
    unsigned char *image; /* what the file holds, kept apart from what is uploaded */
    uint64_t bytes, data;
    uint64_t size[TENSORS], offset[TENSORS];
    enum kind kind[TENSORS];
    CUdeviceptr place[TENSORS];
    int fd;
} g_file;

static CUstream g_stream;
static unsigned char *g_bounce; /* pinned */

/* The file ------------------------------------------------------------------------------------- */

static void fill(unsigned char *to, uint64_t bytes, enum kind kind, uint64_t seed)
{
    const float one = 1.0f;

    if (kind == KIND_SHARED)
        seed = 7;
    for (uint64_t i = 0; i < bytes; i++)
        to[i] = kind == KIND_ONES    ? ((const unsigned char *)&one)[i % 4]
                : kind == KIND_ZEROS ? 0
                                     : (unsigned char)(next_random(&seed) >> 40);
}

static void describe(size_t i, uint64_t bytes, enum kind kind, const char *name, char *header)
{
    uint64_t at = i ? g_file.offset[i - 1] + g_file.size[i - 1] : 0;

    g_file.size[i] = bytes;
    g_file.offset[i] = at;
    g_file.kind[i] = kind;
    sprintf(header + strlen(header),
            ",\"%s\":{\"dtype\":\"U8\",\"shape\":[%llu],\"data_offsets\":[%llu,%llu]}", name,
            (unsigned long long)bytes, (unsigned long long)at, (unsigned long long)(at + bytes));
}

static uint64_t describe_all(char *header)
{
    static const struct {
        const char *name;
        uint64_t bytes;
        enum kind kind;
    } of_layer[OF_LAYER] = {{"matrix", MATRIX_BYTES, KIND_MATRIX},
                            {"ones", VECTOR_BYTES, KIND_ONES},
                            {"zeros", VECTOR_BYTES, KIND_ZEROS},
                            {"shared", SHARED_BYTES, KIND_SHARED}};
    char name[64];

    strcpy(header, "{\"__metadata__\":{\"format\":\"pt\"}");
    describe(0, TABLE_BYTES, KIND_TABLE, "table", header);
    for (unsigned layer = 0; layer < LAYERS; layer++)
        for (unsigned i = 0; i < OF_LAYER; i++) {
            sprintf(name, "layer.%u.%s", layer, of_layer[i].name);
            describe(1 + layer * OF_LAYER + i, of_layer[i].bytes, of_layer[i].kind, name, header);
        }
    describe(TENSORS - 1, SCALE_BYTES, KIND_SCALE, "scale", header);
    strcat(header, "}");
    return strlen(header);
}

static void remove_file(void)
{
    unlink(g_file.path);
}

static void make_file(const char *path)
{
    const char *folder = getenv("TMPDIR");
    static char header[128 * (TENSORS + 1)];
    uint64_t header_bytes = describe_all(header);

    snprintf(g_file.path, sizeof(g_file.path), "%s/berth-content-%d.safetensors",
             folder ? folder : "/tmp", (int)getpid());
    if (path)
        snprintf(g_file.path, sizeof(g_file.path), "%s", path);
    g_file.data = 8 + header_bytes;
    g_file.bytes = g_file.data + g_file.offset[TENSORS - 1] + SCALE_BYTES;
    g_file.image = need(g_file.bytes);
    memcpy(g_file.image, &header_bytes, 8);
    memcpy(g_file.image + 8, header, header_bytes);
    for (size_t i = 0; i < TENSORS; i++) {
        g_file.offset[i] += g_file.data;
        fill(g_file.image + g_file.offset[i], g_file.size[i], g_file.kind[i], i + 100);
    }
    g_file.fd = open(g_file.path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    EXPECT(g_file.fd >= 0 && write(g_file.fd, g_file.image, g_file.bytes) == (ssize_t)g_file.bytes,
           "cannot write %s", g_file.path);
    EXPECT(!atexit(remove_file), "no room for an exit handler");
}

/* A loader's read(). */
static void read_file(void *to, uint64_t offset, uint64_t bytes)
{
    EXPECT(pread(g_file.fd, to, bytes, (off_t)offset) == (ssize_t)bytes, "cannot read %s",
           g_file.path);
}

/* Uploading ------------------------------------------------------------------------------------ */

static CUdeviceptr take(uint64_t bytes)
{
    CUdeviceptr p = 0;

    CUDA_CHECK(cuMemAlloc(&p, bytes));
    return p;
}

static void place_each(void)
{
    for (size_t i = 0; i < TENSORS; i++)
        g_file.place[i] = take(g_file.size[i]);
}

/* As in the file, from its first byte or its first tensor on. */
static CUdeviceptr place_as_in_file(uint64_t from)
{
    CUdeviceptr base = take(g_file.bytes - from);

    for (size_t i = 0; i < TENSORS; i++)
        g_file.place[i] = base + g_file.offset[i] - from;
    return base;
}

static void place_aligned(void)
{
    uint64_t at = 0;
    CUdeviceptr base;

    for (size_t i = 0; i < TENSORS; i++) {
        g_file.place[i] = at;
        at += (g_file.size[i] + ALIGN - 1) / ALIGN * ALIGN;
    }
    base = take(at);
    for (size_t i = 0; i < TENSORS; i++)
        g_file.place[i] += base;
}

/* Through the bounce buffer, which is spoilt as soon as it may be. */
static void bounce(CUdeviceptr to, uint64_t offset, uint64_t bytes)
{
    read_file(g_bounce, offset, bytes);
    CUDA_CHECK(cuMemcpyHtoDAsync(to, g_bounce, bytes, g_stream));
    CUDA_CHECK(cuStreamSynchronize(g_stream));
    memset(g_bounce, 0xee, bytes);
}

/* Through memory of its own, which goes at once. */
static void by_malloc(size_t i, CUresult (*copy)(CUdeviceptr to, const void *from, size_t bytes))
{
    unsigned char *from = need(g_file.size[i]);

    read_file(from, g_file.offset[i], g_file.size[i]);
    CUDA_CHECK(copy(g_file.place[i], from, g_file.size[i]));
    memset(from, 0xee, g_file.size[i]);
    free(from);
}

static CUresult copy_plain(CUdeviceptr to, const void *from, size_t bytes)
{
    return cuMemcpyHtoD(to, from, bytes);
}

static CUresult copy_unified(CUdeviceptr to, const void *from, size_t bytes)
{
    return cuMemcpy(to, (CUdeviceptr)(uintptr_t)from, bytes);
}

static CUresult copy_rows(CUdeviceptr to, const void *from, size_t bytes)
{
    CUDA_MEMCPY2D rows = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                          .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                          .srcHost = from,
                          .dstDevice = to,
                          .srcPitch = ROW_BYTES,
                          .dstPitch = ROW_BYTES,
                          .WidthInBytes = ROW_BYTES,
                          .Height = bytes / ROW_BYTES};

    return bytes % ROW_BYTES ? cuMemcpyHtoD(to, from, bytes) : cuMemcpy2D(&rows);
}

static void shuffle(uint64_t *items, size_t count, uint64_t *seed)
{
    for (size_t i = count; i > 1; i--) {
        size_t with = next_random(seed) % i;
        uint64_t other = items[i - 1];

        items[i - 1] = items[with];
        items[with] = other;
    }
}

/* A stretch of the file in pieces, in order or not. */
static void in_pieces(CUdeviceptr to, uint64_t offset, uint64_t bytes, uint64_t piece_bytes,
                      uint64_t *seed)
{
    uint64_t first[CHUNKS_MAX];
    size_t count = 0;

    for (uint64_t at = 0; at < bytes; at += piece_bytes) {
        EXPECT(count < CHUNKS_MAX, "too many pieces");
        first[count++] = at;
    }
    if (seed)
        shuffle(first, count, seed);
    for (size_t i = 0; i < count; i++) {
        uint64_t rest = bytes - first[i];

        bounce(to + first[i], offset + first[i], rest < piece_bytes ? rest : piece_bytes);
    }
}

static void all_in_pieces(uint64_t *seed)
{
    for (size_t i = 0; i < TENSORS; i++)
        in_pieces(g_file.place[i], g_file.offset[i], g_file.size[i], CHUNK_BYTES, seed);
}

/* All tensors, gathered with gaps, in one copy. */
static void packed(void)
{
    uint64_t bytes = g_file.place[TENSORS - 1] + SCALE_BYTES - g_file.place[0];

    memset(g_bounce, 0xee, bytes);
    for (size_t i = 0; i < TENSORS; i++)
        read_file(g_bounce + (g_file.place[i] - g_file.place[0]), g_file.offset[i], g_file.size[i]);
    CUDA_CHECK(cuMemcpyHtoDAsync(g_file.place[0], g_bounce, bytes, g_stream));
    CUDA_CHECK(cuStreamSynchronize(g_stream));
    memset(g_bounce, 0xee, bytes);
}

/* The file is mapped, but every page has been written and is a copy. */
static void from_private_pages(void)
{
    unsigned char *map =
        mmap(NULL, g_file.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, g_file.fd, 0);

    EXPECT(map != MAP_FAILED, "cannot map %s", g_file.path);
    close(g_file.fd);
    for (uint64_t at = 0; at < g_file.bytes; at += 4096) {
        volatile unsigned char *byte = map + at;

        *byte = *byte;
    }
    for (size_t i = 0; i < TENSORS; i++)
        CUDA_CHECK(cuMemcpyHtoD(g_file.place[i], map + g_file.offset[i], g_file.size[i]));
    munmap(map, g_file.bytes);
}

static CUcontext g_context;

static void *load_layers(void *first_layer)
{
    size_t first = 1 + *(const unsigned *)first_layer * OF_LAYER;

    CUDA_CHECK(cuCtxSetCurrent(g_context));
    for (size_t i = first; i < first + LAYERS / 2 * OF_LAYER; i++)
        by_malloc(i, copy_plain);
    return NULL;
}

/* Two threads load half of the layers each; the order is that of each thread. */
static void by_threads(void)
{
    static unsigned first_layer[2] = {0, LAYERS / 2};
    pthread_t thread[2];

    by_malloc(0, copy_plain);
    for (size_t t = 0; t < 2; t++)
        EXPECT(!pthread_create(&thread[t], NULL, load_layers, &first_layer[t]), "no thread");
    for (size_t t = 0; t < 2; t++)
        pthread_join(thread[t], NULL);
    by_malloc(TENSORS - 1, copy_plain);
}

/* The second half of each matrix, as it goes to the second of two devices. */
static void halves(void)
{
    for (size_t i = 1; i < TENSORS; i += OF_LAYER) {
        if (g_file.kind[i] != KIND_MATRIX)
            continue;
        g_file.offset[i] += MATRIX_BYTES / 2;
        g_file.size[i] = MATRIX_BYTES / 2;
        g_file.place[i] = take(MATRIX_BYTES / 2);
        bounce(g_file.place[i], g_file.offset[i], g_file.size[i]);
    }
}

/* What has twins, without anything before it that would tell. */
static void twins(void)
{
    by_malloc(4, copy_plain); /* shared */
    by_malloc(3, copy_plain); /* zeros */
    by_malloc(0, copy_plain);
}

/* The file is written to after the first tensor; the program has what was in it. */
static void changed(int cut)
{
    unsigned char *matrix = need(MATRIX_BYTES);
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 12345}};

    read_file(matrix, g_file.offset[1], MATRIX_BYTES);
    by_malloc(0, copy_plain);
    if (cut)
        EXPECT(!ftruncate(g_file.fd, (off_t)g_file.offset[1] + 4096), "cannot cut the file");
    else
        EXPECT(!futimens(g_file.fd, times), "cannot touch the file");
    CUDA_CHECK(cuMemcpyHtoD(g_file.place[1], matrix, MATRIX_BYTES));
    free(matrix);
}

/* As many bytes, which are no checkpoint's. */
static void others(void)
{
    for (size_t i = 0; i < TENSORS; i++) {
        uint64_t seed = i + 1000;

        for (uint64_t at = 0; at < g_file.size[i]; at++)
            g_file.image[g_file.offset[i] + at] = (unsigned char)(next_random(&seed) >> 40);
        memcpy(g_bounce, g_file.image + g_file.offset[i], g_file.size[i]);
        CUDA_CHECK(cuMemcpyHtoD(g_file.place[i], g_bounce, g_file.size[i]));
    }
}

/* A copy of the file is open as well: it says the same names. */
static void open_copy(void)
{
    char path[PATH_MAX + 8];
    int fd;

    snprintf(path, sizeof(path), "%s.copy", g_file.path);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    EXPECT(fd >= 0 && write(fd, g_file.image, g_file.bytes) == (ssize_t)g_file.bytes,
           "cannot write %s", path);
    unlink(path);
}

/* All bytes are in memory before the first of them is uploaded, and the file is closed. */
static void closed(void)
{
    unsigned char *copy = need(g_file.bytes);

    read_file(copy, 0, g_file.bytes);
    close(g_file.fd);
    for (size_t i = 0; i < TENSORS; i++)
        CUDA_CHECK(cuMemcpyHtoD(g_file.place[i], copy + g_file.offset[i], g_file.size[i]));
    memset(copy, 0xee, g_file.bytes);
    free(copy);
}

static void each(int backwards, CUresult (*copy)(CUdeviceptr to, const void *from, size_t bytes))
{
    for (size_t i = 0; i < TENSORS; i++)
        by_malloc(backwards ? TENSORS - 1 - i : i, copy);
}

static void bounce_all(void)
{
    for (size_t i = 0; i < TENSORS; i++)
        bounce(g_file.place[i], g_file.offset[i], g_file.size[i]);
}

/* Ways that need a layout of their own. returns 0 for the others */
static int upload_laid_out(const char *how, uint64_t *seed)
{
    if (!strcmp(how, "section"))
        bounce(place_as_in_file(g_file.data), g_file.data, g_file.bytes - g_file.data);
    else if (!strcmp(how, "file"))
        bounce(place_as_in_file(0), 0, g_file.bytes);
    else if (!strcmp(how, "blocks"))
        in_pieces(place_as_in_file(g_file.data), g_file.data, g_file.bytes - g_file.data,
                  BLOCK_BYTES, seed);
    else if (!strcmp(how, "halves"))
        halves();
    else
        return 0;
    return 1;
}

static void upload(const char *how, uint64_t *seed)
{
    if (upload_laid_out(how, seed))
        return;
    if (!strcmp(how, "packed") || !strcmp(how, "shuffled"))
        place_aligned();
    else
        place_each();
    if (!strcmp(how, "deleted"))
        unlink(g_file.path);
    if (!strcmp(how, "copied"))
        open_copy();
    if (!strcmp(how, "packed"))
        packed();
    else if (!strcmp(how, "chunks") || !strcmp(how, "shuffled"))
        all_in_pieces(!strcmp(how, "shuffled") ? seed : NULL);
    else if (!strcmp(how, "private"))
        from_private_pages();
    else if (!strcmp(how, "threads"))
        by_threads();
    else if (!strcmp(how, "twins"))
        twins();
    else if (!strcmp(how, "changed") || !strcmp(how, "cut"))
        changed(!strcmp(how, "cut"));
    else if (!strcmp(how, "other"))
        others();
    else if (!strcmp(how, "closed"))
        closed();
    else if (!strcmp(how, "bounce") || !strcmp(how, "twice") || !strcmp(how, "deleted") ||
             !strcmp(how, "copied"))
        bounce_all();
    else
        each(!strcmp(how, "backwards"), !strcmp(how, "rows")      ? copy_rows
                                        : !strcmp(how, "unified") ? copy_unified
                                                                  : copy_plain);
    if (!strcmp(how, "twice"))
        all_in_pieces(seed);
}

/* What a way of uploading leaves out was never written. */
static int is_uploaded(const char *how, size_t i)
{
    if (!strcmp(how, "twins"))
        return i == 0 || i == 3 || i == 4;
    if (!strcmp(how, "changed") || !strcmp(how, "cut"))
        return i < 2;
    return strcmp(how, "halves") || g_file.kind[i] == KIND_MATRIX;
}

/* Kernels read what was uploaded, so that it comes and goes; then it is compared. */
static void use(const char *how, const struct kernels *k)
{
    unsigned char *back = need(TABLE_BYTES);
    CUdeviceptr out = take(8);

    for (size_t turn = 0; turn < 3 * TENSORS; turn++) {
        size_t i = turn % TENSORS;
        uint64_t words = g_file.size[i] / 4;
        void *params[] = {&g_file.place[i], &words, &out};

        if (is_uploaded(how, i) && g_file.place[i] % 4 == 0)
            launch_block(k->hash, g_stream, params);
    }
    CUDA_CHECK(cuStreamSynchronize(g_stream));
    for (size_t i = 0; i < TENSORS; i++) {
        if (!is_uploaded(how, i))
            continue;
        CUDA_CHECK(cuMemcpyDtoH(back, g_file.place[i], g_file.size[i]));
        EXPECT(!memcmp(back, g_file.image + g_file.offset[i], g_file.size[i]),
               "tensor %zu came back changed", i);
    }
    free(back);
}

int main(int argc, char **argv)
{
    const char *how = argc > 2 ? argv[2] : "malloc";
    uint64_t seed = program_seed(argc, argv);
    struct kernels k;

    make_file(argc > 4 ? argv[4] : NULL);
    g_context = start(0, &k);
    CUDA_CHECK(cuStreamCreate(&g_stream, CU_STREAM_NON_BLOCKING));
    CUDA_CHECK(cuMemHostAlloc((void **)&g_bounce, BOUNCE_BYTES, 0));
    upload(how, &seed);
    use(how, &k);
    printf("uploaded: %s\n", how);
    return 0;
}
