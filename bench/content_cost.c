/* content_cost.c - what it costs to name uploaded bytes by what they are.
 *
 * Links the shim's own stations and the simulated driver. For each size of tensor it writes a
 * checkpoint, reads every tensor into memory as a loader does, uploads it through the driver and
 * hands the upload to upload_record(), and times the two calls apart. The cases:
 *
 * - base fresh: to fresh memory, without a look at the bytes (content_find() is left out); all else
 *   that the station does
 * - base: the same, to memory that was uploaded to before
 * - base in chunks: to fresh memory, in pieces of 1 MiB
 * - unknown: to fresh memory, no checkpoint is known; a fingerprint is kept in case one comes
 * - nameless: bytes that no tensor has, while the checkpoint is known
 * - first: the tensors, each for the first time; the index is built meanwhile
 * - again: the tensors once more, as when a model is loaded a second time
 * - chunks: the tensors in pieces of 1 MiB (sizes above that)
 * - compare: for each tensor, all bytes of it against the file's; what is not done
 * - hash: those of the source against hashes of the file's that were made before; not done either
 *
 * Prints a JSON object for each size and case: medians and least times, in nanoseconds.
 */
#include "content.h"
#include "driver.h"
#include "entry.h"
#include "range.h"
#include "stats.h"
#include "upload.h"
#include "xxh3.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TENSORS_MAX 256u
#define CHUNK_BYTES ((size_t)1 << 20)
#define LAYER_BYTES ((size_t)4 << 10)

struct bench {
    size_t bytes, count; /* of the tensors */
    int fd;
    uint64_t data; /* where the first tensor begins */
    unsigned char *source, *file_bytes;
    CUdeviceptr place[TENSORS_MAX];
};

struct times {
    uint64_t copy_ns[TENSORS_MAX], name_ns[TENSORS_MAX];
    size_t count;
};

/* The linker puts this in the place of content_find(). */
enum match_answer __wrap_content_find(const struct content_upload *upload, struct provenance *where,
                                      struct fingerprint *print);
enum match_answer __real_content_find(const struct content_upload *upload, struct provenance *where,
                                      struct fingerprint *print);

static int g_is_blind;

enum match_answer __wrap_content_find(const struct content_upload *upload, struct provenance *where,
                                      struct fingerprint *print)
{
    if (!g_is_blind)
        return __real_content_find(upload, where, print);
    where->bytes = upload->bytes;
    print->bytes = 0;
    return MATCH_NONE;
}

/* There is no entry here. */
int entry_is_passive(void)
{
    return 0;
}

static void die(const char *what)
{
    fprintf(stderr, "content-cost: %s\n", what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void noise(unsigned char *to, size_t bytes, uint64_t seed)
{
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        memcpy(to + i, &(uint64_t){seed ^ seed >> 29}, 8);
    }
}

/* The file of one size. It has no name when this returns, so that nothing finds it but by fd. */
static void write_file(struct bench *b)
{
    char path[] = "/tmp/berth-bench-XXXXXX";
    char *header = calloc(1, 128 * (b->count + 1));
    uint64_t header_bytes;

    b->fd = mkstemp(path);
    if (b->fd < 0 || !header || unlink(path))
        die("cannot make a file");
    strcpy(header, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < b->count; i++)
        sprintf(header + strlen(header),
                ",\"t%03zu\":{\"dtype\":\"U8\",\"shape\":[%zu],\"data_offsets\":[%zu,%zu]}", i,
                b->bytes, i * b->bytes, (i + 1) * b->bytes);
    strcat(header, "}");
    header_bytes = strlen(header);
    b->data = 8 + header_bytes;
    if (write(b->fd, &header_bytes, 8) != 8 ||
        write(b->fd, header, header_bytes) != (ssize_t)header_bytes)
        die("cannot write");
    for (size_t i = 0; i < b->count; i++) {
        noise(b->source, b->bytes, i + b->bytes);
        if (write(b->fd, b->source, b->bytes) != (ssize_t)b->bytes)
            die("cannot write");
    }
    free(header);
}

static CUresult no_plain(void *arg, CUdeviceptr *out)
{
    return driver_get()->cuMemAlloc_v2(out, *(const size_t *)arg);
}

static void take(struct bench *b)
{
    for (size_t i = 0; i < b->count; i++)
        if (range_alloc(b->bytes, no_plain, &b->bytes, &b->place[i]) != CUDA_SUCCESS)
            die("no device memory");
}

static void give(struct bench *b)
{
    for (size_t i = 0; i < b->count; i++) {
        int paged = 0;

        if (range_free(b->place[i], &paged) != CUDA_SUCCESS)
            die("cannot free");
        if (!paged)
            driver_get()->cuMemFree_v2(b->place[i]);
    }
}

static void upload(struct bench *b, size_t i, size_t from, size_t bytes, struct times *t)
{
    uint64_t start = now_ns(), copied;

    if (driver_get()->cuMemcpyHtoD_v2(b->place[i] + from, b->source + from, bytes) != CUDA_SUCCESS)
        die("cannot upload");
    copied = now_ns();
    upload_record(b->place[i] + from, b->source + from, bytes);
    t->copy_ns[i] += copied - start;
    t->name_ns[i] += now_ns() - copied;
}

static void read_tensor(struct bench *b, size_t i)
{
    if (pread(b->fd, b->source, b->bytes, (off_t)(b->data + i * b->bytes)) != (ssize_t)b->bytes)
        die("cannot read");
}

enum bytes { BYTES_NOISE, BYTES_TENSOR };

static void run(struct bench *b, enum bytes what, size_t chunk_bytes, struct times *t)
{
    *t = (struct times){.count = b->count};
    for (size_t i = 0; i < b->count; i++) {
        if (what == BYTES_TENSOR)
            read_tensor(b, i);
        else
            noise(b->source, b->bytes, ~(uint64_t)i);
        for (size_t at = 0; at < b->bytes; at += chunk_bytes)
            upload(b, i, at, b->bytes - at < chunk_bytes ? b->bytes - at : chunk_bytes, t);
    }
}

/* What a full comparison would take. */
static void run_compare(struct bench *b, struct times *t)
{
    for (size_t i = 0; i < b->count; i++) {
        uint64_t start;

        read_tensor(b, i);
        start = now_ns();
        if (pread(b->fd, b->file_bytes, b->bytes, (off_t)(b->data + i * b->bytes)) !=
                (ssize_t)b->bytes ||
            memcmp(b->file_bytes, b->source, b->bytes))
            die("cannot compare");
        t->name_ns[i] = now_ns() - start;
    }
}

static void run_hash(struct bench *b, struct times *t)
{
    static volatile uint64_t hash;

    for (size_t i = 0; i < b->count; i++) {
        uint64_t start;

        read_tensor(b, i);
        if (driver_get()->cuMemcpyHtoD_v2(b->place[i], b->source, b->bytes) != CUDA_SUCCESS)
            die("cannot upload");
        start = now_ns();
        hash += xxh3_take(b->source, b->bytes);
        t->name_ns[i] = now_ns() - start;
    }
}

static int by_size(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return a < b ? -1 : a > b;
}

static void print_case(const struct bench *b, const char *name, struct times *t)
{
    uint64_t total = 0;

    for (size_t i = 0; i < t->count; i++)
        total += t->name_ns[i];
    qsort(t->copy_ns, t->count, sizeof(*t->copy_ns), by_size);
    qsort(t->name_ns, t->count, sizeof(*t->name_ns), by_size);
    printf("{\"bytes\": %zu, \"case\": \"%s\", \"uploads\": %zu, \"copy_min_ns\": %llu, "
           "\"copy_median_ns\": %llu, \"name_min_ns\": %llu, \"name_median_ns\": %llu, "
           "\"name_mean_ns\": %llu}\n",
           b->bytes, name, t->count, (unsigned long long)t->copy_ns[0],
           (unsigned long long)t->copy_ns[t->count / 2], (unsigned long long)t->name_ns[0],
           (unsigned long long)t->name_ns[t->count / 2], (unsigned long long)(total / t->count));
}

static void expect_named(const struct bench *b, size_t tensors)
{
    if (stats()->weights_named_bytes != tensors * b->bytes)
        die("not all that should have a name has one");
}

/* What the station does but for looking at bytes. */
static void measure_blind(struct bench *b)
{
    static struct times t;

    g_is_blind = 1;
    take(b);
    run(b, BYTES_NOISE, b->bytes, &t);
    print_case(b, "base fresh", &t);
    run(b, BYTES_NOISE, b->bytes, &t);
    print_case(b, "base", &t);
    give(b);
    if (b->bytes > CHUNK_BYTES) {
        take(b);
        run(b, BYTES_NOISE, CHUNK_BYTES, &t);
        print_case(b, "base in chunks", &t);
        give(b);
    }
    g_is_blind = 0;
}

static void measure(struct bench *b)
{
    static struct times t;

    measure_blind(b);
    take(b);
    run(b, BYTES_NOISE, b->bytes, &t);
    print_case(b, "unknown", &t);
    expect_named(b, 0);
    give(b);
    write_file(b);
    take(b);
    run(b, BYTES_TENSOR, b->bytes, &t);
    print_case(b, "first", &t);
    expect_named(b, b->count);
    run(b, BYTES_TENSOR, b->bytes, &t);
    print_case(b, "again", &t);
    give(b);
    take(b);
    if (b->bytes > CHUNK_BYTES) {
        run(b, BYTES_TENSOR, CHUNK_BYTES, &t);
        print_case(b, "chunks", &t);
        expect_named(b, b->count);
        give(b);
        take(b);
    }
    for (int i = 0; i < 3;
         i++) /* to fresh memory, over what is remembered of that, as inputs come */
        run(b, BYTES_NOISE, b->bytes, &t);
    print_case(b, "nameless", &t);
    expect_named(b, 0);
    run_compare(b, &t);
    print_case(b, "compare", &t);
    run_hash(b, &t);
    print_case(b, "hash", &t);
    give(b);
}

int main(int argc, char **argv)
{
    struct bench b = {.bytes = argc > 1 ? (size_t)atol(argv[1]) : LAYER_BYTES,
                      .count = argc > 2 ? (size_t)atol(argv[2]) : 1};
    const struct driver *drv = driver_get();
    CUcontext context;

    if (b.bytes % 8 || !b.count || b.count > TENSORS_MAX)
        die("usage: content-cost BYTES COUNT");
    b.source = malloc(b.bytes);
    b.file_bytes = malloc(b.bytes);
    if (!b.source || !b.file_bytes || drv->cuInit(0) != CUDA_SUCCESS ||
        drv->cuDevicePrimaryCtxRetain(&context, 0) != CUDA_SUCCESS ||
        drv->cuCtxSetCurrent(context) != CUDA_SUCCESS)
        die("no driver");
    measure(&b);
    return 0;
}
