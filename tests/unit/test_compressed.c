/* Strategy: images packed with the libraries themselves and unpacked again; every length that comes
 * with them wrong once, in both directions; bytes changed at random, in blocks of exactly their
 * size, so that a sanitizer sees a step outside. What does not unpack to what was said is refused,
 * and what cannot is refused before anything is allocated: the file under test is included, so that
 * its allocations are seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

static size_t g_asked; /* the largest block that was allocated */

static void *seen_malloc(size_t bytes)
{
    g_asked = bytes > g_asked ? bytes : g_asked;
    return malloc(bytes);
}

#define malloc seen_malloc
#include "../../shim/compressed.c"
#undef malloc

#define IMAGE_BYTES 20000
#define ROOM        65536

struct packed {
    uint64_t flag;
    unsigned char bytes[ROOM];
    size_t used;
};

static unsigned char g_image[IMAGE_BYTES];
static struct packed g_packed[2];

static int setup(void **state)
{
    int lz4_bytes;

    (void)state;
    for (size_t i = 0; i < IMAGE_BYTES; i++)
        g_image[i] = (unsigned char)(i % 100 < 50 ? i / 100 : i * i >> 5);
    g_packed[0].flag = COMPRESSED_ZSTD;
    g_packed[0].used = ZSTD_compress(g_packed[0].bytes, ROOM, g_image, IMAGE_BYTES, 3);
    g_packed[1].flag = COMPRESSED_LZ4;
    lz4_bytes =
        LZ4_compress_default((const char *)g_image, (char *)g_packed[1].bytes, IMAGE_BYTES, ROOM);
    g_packed[1].used = (size_t)lz4_bytes;
    return ZSTD_isError(g_packed[0].used) || lz4_bytes <= 0;
}

/* The packed bytes in a block that ends where they end. */
static unsigned char *unpack_exact(const struct packed *p, size_t bytes, uint64_t unpacked_bytes)
{
    unsigned char *exact = malloc(bytes ? bytes : 1), *out;

    memcpy(exact, p->bytes, bytes);
    out = compressed_unpack(p->flag | 0x11, exact, bytes, unpacked_bytes);
    free(exact);
    return out;
}

/* The same, and it is seen to that no block larger than most_bytes was allocated. */
static unsigned char *unpack_asking(const struct packed *p, size_t bytes, uint64_t unpacked_bytes,
                                    size_t most_bytes)
{
    unsigned char *out;

    g_asked = 0;
    out = unpack_exact(p, bytes, unpacked_bytes);
    assert_true(g_asked <= most_bytes);
    return out;
}

static void test_there_and_back(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        unsigned char *out = unpack_exact(&g_packed[i], g_packed[i].used, IMAGE_BYTES);

        assert_non_null(out);
        assert_memory_equal(out, g_image, IMAGE_BYTES);
        free(out);
    }
}

static void test_wrong_lengths(void **state)
{
    static const uint64_t unpacked[] = {
        0,
        1,
        IMAGE_BYTES - 1,
        IMAGE_BYTES + 1,
        2 * IMAGE_BYTES,
        INT32_MAX,
        UINT32_MAX,
        1ull << 40,
        IMAGE_BYTES + (1ull << 32),
        INT64_MAX,
        UINT64_MAX,
    };

    (void)state;
    for (int i = 0; i < 2; i++) {
        for (size_t u = 0; u < sizeof(unpacked) / sizeof(unpacked[0]); u++)
            assert_null(unpack_asking(&g_packed[i], g_packed[i].used, unpacked[u],
                                      i ? g_packed[i].used * 255 + 254 : 0));
        for (size_t bytes = 0; bytes < g_packed[i].used; bytes += 1 + bytes / 7)
            assert_null(unpack_exact(&g_packed[i], bytes, IMAGE_BYTES));
        assert_null(unpack_exact(&g_packed[i], g_packed[i].used - 1, IMAGE_BYTES));
        assert_null(unpack_exact(&g_packed[i], g_packed[i].used + 1, IMAGE_BYTES));
        assert_null(compressed_unpack(g_packed[i].flag, g_packed[i].bytes, SIZE_MAX, IMAGE_BYTES));
    }
}

/* A few bytes that say of themselves that they are a gigabyte and more. */
static void test_bombs(void **state)
{
    struct packed small = {.flag = COMPRESSED_ZSTD};
    size_t huge = ((size_t)1 << 30) + 4096;
    unsigned char *zeros = calloc(1, huge);

    (void)state;
    assert_non_null(zeros);
    small.used = ZSTD_compress(small.bytes, ROOM, zeros, (size_t)1 << 28, 1);
    assert_false(ZSTD_isError(small.used));
    free(unpack_exact(&small, small.used, (size_t)1 << 28));
    free(zeros);
    /* The size in the frame's head is the size that the entry says: 1 GiB + 4096, and no data. */
    small.used = 0;
    memcpy(small.bytes, "\x28\xb5\x2f\xfd\xa0\x00\x10\x00\x40\x01\x00\x00", 12);
    assert_int_equal(ZSTD_getFrameContentSize(small.bytes, 12), huge);
    assert_null(unpack_asking(&small, 12, huge, 0));
    /* 100 bytes of LZ4 are no more than 25,500. */
    assert_null(unpack_asking(&g_packed[1], 100, 26000, 0));
}

static void test_flags(void **state)
{
    const uint64_t both = COMPRESSED_LZ4 | COMPRESSED_ZSTD;

    (void)state;
    for (int i = 0; i < 2; i++) {
        const struct packed *p = &g_packed[i];

        assert_null(compressed_unpack(0x11, p->bytes, p->used, IMAGE_BYTES));
        assert_null(compressed_unpack(both, p->bytes, p->used, IMAGE_BYTES));
        assert_null(compressed_unpack(both ^ p->flag, p->bytes, p->used, IMAGE_BYTES));
    }
}

static void test_changed_bytes(void **state)
{
    uint64_t seed = 1;
    size_t refused = 0;

    (void)state;
    for (int round = 0; round < 4000; round++) {
        struct packed p = g_packed[round % 2];
        unsigned char *out;

        for (int i = 0; i < 1 + round % 3; i++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            p.bytes[(seed >> 33) % p.used] = (unsigned char)(seed >> 24);
        }
        out = unpack_exact(&p, p.used, IMAGE_BYTES);
        refused += out == NULL;
        free(out);
    }
    assert_true(refused > 0 && refused < 4000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_wrong_lengths),
        cmocka_unit_test(test_bombs),          cmocka_unit_test(test_flags),
        cmocka_unit_test(test_changed_bytes),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
