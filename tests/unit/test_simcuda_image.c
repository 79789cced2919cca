/* Strategy: fatbins are built here by hand, entry by entry, so that each field that the reader
 * trusts can also be wrong; what comes out is compared with the text that went in. Of each refusal
 * the code and what the log says are checked, and that a short log buffer is not overrun.
 */
#include "data.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "tests/simcuda/module.h"

#define PTX   1
#define CUBIN 2
#define LZ4   0x2000
#define ZSTD  0x8000

static unsigned char g_fatbin[4096];
static size_t g_bytes; /* of g_fatbin in use */
static char g_log_text[128];
static const struct load_log LOG = {g_log_text, sizeof(g_log_text)};

static void put(size_t offset, uint64_t value, size_t bytes)
{
    memcpy(g_fatbin + offset, &value, bytes);
}

static void fatbin_begin(void)
{
    memset(g_fatbin, 0, sizeof(g_fatbin));
    put(0, 0xBA55ED50u, 4);
    put(4, 1, 2);
    put(6, 16, 2);
    g_bytes = 16;
}

/* Adds an entry with a header of 64 bytes. returns the offset of the entry */
static size_t fatbin_add(unsigned kind, unsigned sm, uint64_t flags, const char *payload)
{
    const size_t length = strlen(payload), padded = (length + 8) & ~(size_t)7;
    const size_t entry = g_bytes;

    put(entry, kind, 2);
    put(entry + 4, 64, 4);
    put(entry + 8, padded, 8);
    put(entry + 28, sm, 4);
    put(entry + 40, flags, 8);
    memcpy(g_fatbin + entry + 64, payload, length);
    g_bytes += 64 + padded;
    put(8, g_bytes - 16, 8);
    return entry;
}

static void assert_finds(const void *image, const char *expected)
{
    const char *text;
    char *unpacked;
    size_t bytes;

    assert_int_equal(image_find_ptx(image, &text, &bytes, &unpacked, &LOG), CUDA_SUCCESS);
    assert_int_equal(bytes, strlen(expected));
    assert_memory_equal(text, expected, bytes);
    free(unpacked);
}

static void assert_refuses(const void *image, CUresult expected, const char *log)
{
    const char *text;
    char *unpacked;
    size_t bytes;

    g_log_text[0] = '\0';
    assert_int_equal(image_find_ptx(image, &text, &bytes, &unpacked, &LOG), expected);
    assert_null(unpacked);
    assert_non_null(strstr(g_log_text, log));
}

static void test_text_is_taken_as_it_is(void **state)
{
    (void)state;
    assert_finds(".version 6.0\n.target sm_70\n", ".version 6.0\n.target sm_70\n");
}

static void test_newest_that_the_device_takes(void **state)
{
    (void)state;
    fatbin_begin();
    fatbin_add(CUBIN, 75, 0, "machine code");
    fatbin_add(PTX, 52, 0, ".version 5.2");
    fatbin_add(PTX, 75, 0, ".version 7.5");
    fatbin_add(PTX, 70, 0, ".version 7.0");
    fatbin_add(PTX, 90, 0, ".version 9.0");
    assert_finds(g_fatbin, ".version 7.5");
}

static void test_wrapper_leads_to_the_fatbin(void **state)
{
    struct {
        uint32_t magic, version;
        const void *data;
        void *reserved;
    } wrapper = {0x466243B1u, 1, g_fatbin, NULL};

    (void)state;
    fatbin_begin();
    fatbin_add(PTX, 70, 0, ".version 7.0");
    assert_finds(&wrapper, ".version 7.0");
    put(0, 0, 4);
    assert_refuses(&wrapper, CUDA_ERROR_INVALID_IMAGE, "");
}

/* Adds an entry of compressed PTX. returns the offset of the entry */
static size_t fatbin_add_compressed(unsigned sm, uint64_t flag, const char *text)
{
    const size_t length = strlen(text);
    char packed[512];
    size_t bytes, entry;

    if (flag == LZ4)
        bytes = (size_t)LZ4_compress_default(text, packed, (int)length, (int)sizeof(packed));
    else
        bytes = ZSTD_compress(packed, sizeof(packed), text, length, 3);
    assert_true(bytes > 0 && bytes < sizeof(packed));
    entry = fatbin_add(PTX, sm, flag | 0x11, "");
    memcpy(g_fatbin + entry + 64, packed, bytes);
    g_bytes += bytes;
    put(8, g_bytes - 16, 8);
    put(entry + 8, 8 + bytes, 8);
    put(entry + 16, bytes, 4);
    put(entry + 56, length, 8);
    return entry;
}

static void test_compressed_ptx(void **state)
{
    const uint64_t flags[] = {LZ4, ZSTD};
    size_t entry;

    (void)state;
    for (int i = 0; i < 2; i++) {
        fatbin_begin();
        fatbin_add(PTX, 60, 0, ".version 6.0");
        entry = fatbin_add_compressed(70, flags[i], ".version 7.0 7.0 7.0 7.0 7.0 7.0");
        fatbin_add_compressed(80, flags[i], ".version 8.0");
        assert_finds(g_fatbin, ".version 7.0 7.0 7.0 7.0 7.0 7.0");
        put(entry + 56, 31, 8); /* it is one byte longer */
        assert_refuses(g_fatbin, CUDA_ERROR_INVALID_IMAGE, "damaged");
        put(entry + 56, UINT64_MAX, 8);
        assert_refuses(g_fatbin, CUDA_ERROR_INVALID_IMAGE, "damaged");
        put(entry + 56, 32, 8);
        put(entry + 64, 0xffffffffu, 4);
        assert_refuses(g_fatbin, CUDA_ERROR_INVALID_IMAGE, "damaged");
    }
}

static void test_nothing_for_this_device(void **state)
{
    (void)state;
    fatbin_begin();
    fatbin_add(CUBIN, 75, 0, "machine code");
    fatbin_add(PTX, 80, 0, ".version 8.0");
    assert_refuses(g_fatbin, CUDA_ERROR_NO_BINARY_FOR_GPU, "no PTX");
    assert_refuses("\177ELF\2\1\1", CUDA_ERROR_NO_BINARY_FOR_GPU, "machine code");
}

static void test_entries_stay_inside_the_fatbin(void **state)
{
    size_t entry;

    (void)state;
    fatbin_begin();
    entry = fatbin_add(PTX, 70, 0, ".version 7.0");
    put(entry + 8, 4096, 8);
    assert_refuses(g_fatbin, CUDA_ERROR_INVALID_IMAGE, "");
    put(entry + 8, UINT64_MAX - 8, 8);
    assert_refuses(g_fatbin, CUDA_ERROR_INVALID_IMAGE, "");
    put(entry + 8, 16, 8);
    put(entry + 4, 0, 4);
    assert_refuses(g_fatbin, CUDA_ERROR_INVALID_IMAGE, "");
    put(entry + 4, UINT32_MAX, 4);
    assert_refuses(g_fatbin, CUDA_ERROR_INVALID_IMAGE, "");
}

static void test_log_buffers_of_the_program(void **state)
{
    char error[8], info[8];
    CUjit_option names[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                            CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {error, (void *)sizeof(error), info, (void *)sizeof(info)};
    struct load_log log;
    const char *text;
    char *unpacked;
    size_t bytes;

    (void)state;
    memset(error, 'x', sizeof(error));
    load_log_find(&log, 4, names, values);
    assert_ptr_equal(log.text, error);
    assert_int_equal(log.bytes, sizeof(error));
    assert_int_equal(image_find_ptx("\177ELF", &text, &bytes, &unpacked, &log),
                     CUDA_ERROR_NO_BINARY_FOR_GPU);
    load_log_report(&log, 4, names, values);
    assert_string_equal(error, "simcuda");
    assert_int_equal((uintptr_t)values[1], 7);
    assert_string_equal(info, "");
    assert_int_equal((uintptr_t)values[3], 0);
    load_log_find(&log, 0, NULL, NULL);
    assert_int_equal(log.bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_taken_as_it_is),
        cmocka_unit_test(test_newest_that_the_device_takes),
        cmocka_unit_test(test_wrapper_leads_to_the_fatbin),
        cmocka_unit_test(test_compressed_ptx),
        cmocka_unit_test(test_nothing_for_this_device),
        cmocka_unit_test(test_entries_stay_inside_the_fatbin),
        cmocka_unit_test(test_log_buffers_of_the_program),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
