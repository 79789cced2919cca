/* Strategy: runs in memory and the same runs behind a reading function must have one fingerprint,
 * for every length around the borders; a change wherever a run is looked at must show, and the
 * places are found by changing every byte in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fingerprint.h"
#include "xxh3.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define FILE_BYTES ((size_t)20 << 20)

static unsigned char *g_file;
static size_t g_reads, g_read_bytes;
static uint64_t g_fail_from = UINT64_MAX; /* bytes from here on cannot be read */

static int read_file(void *arg, uint64_t offset, void *out, size_t bytes)
{
    assert_ptr_equal(arg, &g_file);
    assert_true(offset + bytes <= FILE_BYTES);
    if (offset + bytes > g_fail_from)
        return -EIO;
    g_reads++;
    g_read_bytes += bytes;
    memcpy(out, g_file + offset, bytes);
    return 0;
}

static const uint64_t g_lengths[] = {1,     7,     8,       15,      16,      63,   64,
                                     65,    127,   128,     2047,    2048,    2049, 4096,
                                     50001, 65536, 1 << 20, 7654321, 18 << 20};

static void test_memory_and_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(g_lengths) / sizeof(*g_lengths); i++) {
        struct fingerprint memory, file, begun;

        g_reads = g_read_bytes = 0;
        fingerprint_take(g_file + 1001, g_lengths[i], &memory);
        assert_int_equal(fingerprint_read(read_file, &g_file, 1001, g_lengths[i], &file), 0);
        assert_true(fingerprint_equal(&memory, &file));
        assert_int_equal(memory.bytes, g_lengths[i]);
        assert_int_equal(memory.weak, file.weak);
        assert_int_equal(memory.weak, g_lengths[i] < 16);
        fingerprint_begin(g_file + 1001, g_lengths[i], &begun);
        assert_int_equal(begun.head, memory.head);
        assert_int_equal(begun.bytes, memory.bytes);
        assert_int_equal(begun.head_weak, g_lengths[i] < 16);
        assert_true(g_reads <=
                    (g_lengths[i] > FINGERPRINT_WHOLE_BYTES ? FINGERPRINT_LINES_MAX : 1));
        assert_true(g_read_bytes <= FINGERPRINT_WHOLE_BYTES);
    }
}

/* How many of the bytes of a run are looked at. */
static size_t count_seen(uint64_t bytes)
{
    struct fingerprint before, after;
    size_t seen = 0;

    fingerprint_take(g_file, bytes, &before);
    for (uint64_t i = 0; i < bytes; i++) {
        g_file[i] ^= 0x10;
        fingerprint_take(g_file, bytes, &after);
        seen += !fingerprint_equal(&before, &after);
        g_file[i] ^= 0x10;
    }
    return seen;
}

/* What one processor wrote down means the same on another. */
static void test_any_processor(void **state)
{
    (void)state;
    for (size_t bytes = 0; bytes < 5000; bytes += bytes < 300 ? 1 : 97)
        assert_int_equal(xxh3_take(g_file + 3, bytes), XXH3_64bits(g_file + 3, bytes));
}

static void test_what_is_seen(void **state)
{
    struct fingerprint before, after;

    (void)state;
    assert_int_equal(count_seen(1), 1);
    assert_int_equal(count_seen(100), 100);
    assert_int_equal(count_seen(FINGERPRINT_WHOLE_BYTES), FINGERPRINT_WHOLE_BYTES);
    assert_int_equal(count_seen(FINGERPRINT_WHOLE_BYTES + 1), 3 * FINGERPRINT_HEAD_BYTES);
    assert_int_equal(count_seen(70000), 3 * FINGERPRINT_HEAD_BYTES);
    /* The first byte and the last of a long run. */
    fingerprint_take(g_file, 9 << 20, &before);
    for (size_t i = 0; i < 2; i++) {
        size_t at = i ? ((size_t)9 << 20) - 1 : 0;

        g_file[at] ^= 1;
        fingerprint_take(g_file, 9 << 20, &after);
        assert_false(fingerprint_equal(&before, &after));
        g_file[at] ^= 1;
    }
}

static void test_length_counts(void **state)
{
    static const unsigned char zeros[4096];
    struct fingerprint a, b;

    (void)state;
    fingerprint_take(zeros, 4096, &a);
    fingerprint_take(zeros, 4095, &b);
    assert_false(fingerprint_equal(&a, &b));
    fingerprint_take(zeros, 4096, &b);
    assert_true(fingerprint_equal(&a, &b));
}

static void test_weak(void **state)
{
    struct fingerprint print;
    uint32_t ones[2048];
    char text[256];

    (void)state;
    for (size_t i = 0; i < 2048; i++)
        ones[i] = 0x3f800000;
    for (uint64_t bytes = 16; bytes <= sizeof(ones); bytes += 332) {
        fingerprint_take(ones, bytes, &print);
        assert_int_equal(print.weak, 1);
        assert_int_equal(print.head_weak, 1);
    }
    ones[2047] = 0; /* the last line is looked at */
    fingerprint_take(ones, sizeof(ones), &print);
    assert_int_equal(print.weak, 0);
    assert_int_equal(print.head_weak, 1);
    for (size_t i = 0; i < 2048; i++) /* one word again and again, and then another */
        ones[i] = i < 1900 ? 0x3f800000 : 0x40000000;
    fingerprint_take(ones, sizeof(ones), &print);
    assert_int_equal(print.weak, 0);
    memset(text, 'a', sizeof(text));
    text[255] = 'b';
    fingerprint_take(text, 256, &print);
    assert_int_equal(print.weak, 0);
    fingerprint_take(text, 255, &print);
    assert_int_equal(print.weak, 1);
}

static void test_unreadable(void **state)
{
    struct fingerprint print;

    (void)state;
    g_fail_from = 10 << 20;
    assert_int_equal(fingerprint_read(read_file, &g_file, 0, 10 << 20, &print), 0);
    assert_int_equal(fingerprint_read(read_file, &g_file, 1, 10 << 20, &print), -EIO);
    assert_int_equal(fingerprint_read(read_file, &g_file, (10 << 20) - 100, 101, &print), -EIO);
    g_fail_from = UINT64_MAX;
}

static int begin(void **state)
{
    (void)state;
    g_file = malloc(FILE_BYTES);
    for (size_t i = 0; g_file && i < FILE_BYTES; i++)
        g_file[i] = (unsigned char)(i * 2654435761u >> 13 ^ i >> 5);
    return g_file ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    free(g_file);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_and_file),
        cmocka_unit_test(test_any_processor),
        cmocka_unit_test(test_what_is_seen),
        cmocka_unit_test(test_length_counts),
        cmocka_unit_test(test_weak),
        cmocka_unit_test(test_unreadable),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
