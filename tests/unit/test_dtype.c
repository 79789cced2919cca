/* Strategy: the table is held against figures written down a second time: the format's list of
 * bits, and the bytes of an element in tests/data/units.json. Then the arithmetic at its edges: no
 * dimension, none of an extent, one too many, bits that make no whole byte.
 */
#include "data.h"
#include "dtype.h"
#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>

static void bits_of_the_format(void **state)
{
    static const struct {
        unsigned bits;
        const char *names[12];
    } rows[] = {
        {4, {"F4"}},
        {6, {"F6_E2M3", "F6_E3M2"}},
        {8, {"BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}},
        {16, {"I16", "U16", "F16", "BF16"}},
        {32, {"I32", "U32", "F32"}},
        {64, {"I64", "U64", "F64", "C64"}},
    };
    unsigned count = 0;
    size_t i, j;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (j = 0; rows[i].names[j]; j++, count++) {
            enum dtype dtype;

            assert_int_equal(dtype_find(rows[i].names[j], DTYPE_IN_SAFETENSORS, &dtype), 0);
            assert_string_equal(dtype_name(dtype), rows[i].names[j]);
            assert_int_equal(dtype_block_bits(dtype), rows[i].bits);
            assert_int_equal(dtype_block_elements(dtype), 1);
        }
    }
    assert_int_equal(count, 22);
}

static void bytes_of_the_golden(void **state)
{
    char *text = data_read("units.json", NULL);
    cJSON *root = cJSON_Parse(text);
    const cJSON *item, *items = cJSON_GetObjectItem(root, "dtype_bytes");
    int count = 0;

    (void)state;
    cJSON_ArrayForEach(item, items)
    {
        enum dtype dtype;
        uint64_t bytes;

        assert_int_equal(dtype_find(item->string, DTYPE_IN_SAFETENSORS, &dtype), 0);
        assert_int_equal(dtype_tensor_bytes(dtype, NULL, 0, &bytes), 0);
        assert_int_equal(bytes, item->valueint);
        count++;
    }
    assert_int_equal(count, 11);
    cJSON_Delete(root);
    free(text);
}

static void unknown_names(void **state)
{
    static const char *const names[] = {"", "f32", "F33", "F", "F32 ", "Q4_0", "?"};
    enum dtype dtype = DTYPE_I8;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_int_equal(dtype_find(names[i], DTYPE_IN_SAFETENSORS, &dtype), -ENOENT);
    assert_int_equal(dtype_find("F32", 0, &dtype), -ENOENT);
    assert_int_equal(dtype, DTYPE_I8);
    assert_string_equal(dtype_name(DTYPE_COUNT), "?");
    assert_int_equal(dtype_block_bits(DTYPE_COUNT), 0);
    assert_int_equal(dtype_block_elements((enum dtype) - 1), 0);
}

static void tensor_bytes(void **state)
{
    const uint64_t matrix[] = {37, 16}, empty[] = {0, 4}, odd[] = {3}, even[] = {2, 3, 4};
    uint64_t bytes = 0;

    (void)state;
    assert_int_equal(dtype_tensor_bytes(DTYPE_F32, matrix, 2, &bytes), 0);
    assert_int_equal(bytes, 2368);
    assert_int_equal(dtype_tensor_bytes(DTYPE_F32, empty, 2, &bytes), 0);
    assert_int_equal(bytes, 0);
    assert_int_equal(dtype_tensor_bytes(DTYPE_F4, even, 3, &bytes), 0);
    assert_int_equal(bytes, 12);
    assert_int_equal(dtype_tensor_bytes(DTYPE_F6_E3M2, even, 3, &bytes), 0);
    assert_int_equal(bytes, 18);
    assert_int_equal(dtype_tensor_bytes(DTYPE_F4, odd, 1, &bytes), -EDOM);
    assert_int_equal(dtype_tensor_bytes(DTYPE_F6_E2M3, odd, 1, &bytes), -EDOM);
    assert_int_equal(dtype_tensor_bytes(DTYPE_F4, NULL, 0, &bytes), -EDOM);
    assert_int_equal(dtype_tensor_bytes(DTYPE_COUNT, matrix, 2, &bytes), -EDOM);
    assert_int_equal(bytes, 18);
}

/* Which number of GGUF is which type, and how large each is, test_gguf.c checks. */
static void blocks(void **state)
{
    const uint64_t rows[] = {3, 512}, part[] = {512, 3}, none[] = {3, 0};
    const uint64_t most[] = {UINT64_C(1) << 32, UINT64_C(1) << 31};
    enum dtype dtype;
    uint64_t bytes = 7;
    int i, in_gguf = 0;

    (void)state;
    for (i = 0; i < DTYPE_COUNT; i++)
        in_gguf += dtype_find(dtype_name((enum dtype)i), DTYPE_IN_GGUF, &dtype) == 0;
    assert_int_equal(in_gguf, 35);
    assert_int_equal(dtype_find("Q4_K", DTYPE_IN_SAFETENSORS, &dtype), -ENOENT);
    assert_int_equal(dtype_find("U8", DTYPE_IN_GGUF, &dtype), -ENOENT);
    assert_int_equal(dtype_find("Q4_K", DTYPE_IN_SAFETENSORS | DTYPE_IN_GGUF, &dtype), 0);
    assert_int_equal(dtype, DTYPE_Q4_K);
    assert_int_equal(dtype_tensor_bytes(DTYPE_Q4_K, part, 2, &bytes), -EDOM);
    assert_int_equal(dtype_tensor_bytes(DTYPE_Q4_K, NULL, 0, &bytes), -EDOM);
    assert_int_equal(bytes, 7);
    assert_int_equal(dtype_tensor_bytes(DTYPE_Q4_K, rows, 2, &bytes), 0);
    assert_int_equal(bytes, 864);
    assert_int_equal(dtype_tensor_bytes(DTYPE_Q4_K, none, 2, &bytes), 0);
    assert_int_equal(bytes, 0);
    /* More bits than 64 of them can count as F16, not so in blocks. */
    assert_int_equal(dtype_tensor_bytes(DTYPE_F16, most, 2, &bytes), -EOVERFLOW);
    assert_int_equal(dtype_tensor_bytes(DTYPE_IQ1_S, most, 2, &bytes), 0);
    assert_true(bytes == (UINT64_C(1) << 55) * 50);
}

static void overflow(void **state)
{
    const uint64_t elements[] = {UINT64_C(1) << 32, UINT64_C(1) << 32};
    const uint64_t bits[] = {UINT64_C(1) << 59}, fits[] = {(UINT64_C(1) << 59) - 1};
    const uint64_t late_zero[] = {UINT64_C(1) << 32, UINT64_C(1) << 32, 0};
    const uint64_t early_zero[] = {0, UINT64_C(1) << 32, UINT64_C(1) << 32};
    uint64_t bytes = 7;

    (void)state;
    assert_int_equal(dtype_tensor_bytes(DTYPE_U8, elements, 2, &bytes), -EOVERFLOW);
    assert_int_equal(dtype_tensor_bytes(DTYPE_F32, bits, 1, &bytes), -EOVERFLOW);
    assert_int_equal(dtype_tensor_bytes(DTYPE_U8, late_zero, 3, &bytes), -EOVERFLOW);
    assert_int_equal(bytes, 7);
    assert_int_equal(dtype_tensor_bytes(DTYPE_F32, fits, 1, &bytes), 0);
    assert_true(bytes == ((UINT64_C(1) << 59) - 1) * 4);
    assert_int_equal(dtype_tensor_bytes(DTYPE_U8, early_zero, 3, &bytes), 0);
    assert_int_equal(bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_of_the_format),
        cmocka_unit_test(bytes_of_the_golden),
        cmocka_unit_test(unknown_names),
        cmocka_unit_test(tensor_bytes),
        cmocka_unit_test(blocks),
        cmocka_unit_test(overflow),
    };

    return cmocka_run_group_tests_name("dtype", tests, NULL, NULL);
}
