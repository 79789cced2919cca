/* Strategy: entries of each type, alone and in arrays, then one file for every reason to refuse
 * them. Files are put together piece by piece; each goes through memory, in a block of exactly its
 * size, and through a file, and the answers must be the same.
 */
#include "gguf_rig.h"

static void every_value(void **state)
{
    struct gguf_file f;
    struct checkpoint *c;
    char *longest = malloc(CHECKPOINT_METADATA_MAX + 2);

    (void)state;
    memset(longest, 'x', CHECKPOINT_METADATA_MAX + 1);
    longest[CHECKPOINT_METADATA_MAX + 1] = '\0';
    gguf_begin(&f, 2, 0, 22);
    gguf_entry(&f, "u8", GGUF_U8, 200, 1);
    gguf_entry(&f, "i8", GGUF_I8, 200, 1);
    gguf_entry(&f, "u16", GGUF_U16, 65535, 2);
    gguf_entry(&f, "i16", GGUF_I16, 65535, 2);
    gguf_entry(&f, "u32", GGUF_U32, UINT32_MAX, 4);
    gguf_entry(&f, "i32", GGUF_I32, UINT32_MAX - 1, 4);
    gguf_entry(&f, "i32+", GGUF_I32, 7, 4);
    gguf_entry(&f, "f32", GGUF_F32, 1, 4);
    gguf_entry(&f, "true", GGUF_BOOL, 1, 1);
    gguf_entry(&f, "false", GGUF_BOOL, 0, 1);
    gguf_entry(&f, "u64", GGUF_U64, UINT64_MAX, 8);
    gguf_entry(&f, "i64", GGUF_I64, UINT64_C(1) << 63, 8);
    gguf_entry(&f, "f64", GGUF_F64, 1, 8);
    gguf_key(&f, "string", GGUF_STRING);
    gguf_string(&f, "b\xc3\xa9 \n");
    gguf_key(&f, "none", GGUF_STRING);
    gguf_string(&f, "");
    gguf_key(&f, "no text", GGUF_STRING);
    gguf_string(&f, "\xff");
    gguf_key(&f, "NUL", GGUF_STRING);
    gguf_number(&f, 1, 8);
    gguf_number(&f, 0, 1);
    gguf_key(&f, "too long", GGUF_STRING);
    gguf_string(&f, longest);
    gguf_key(&f, "longest", GGUF_STRING);
    gguf_string(&f, longest + 1);
    gguf_key(&f, longest, GGUF_U8);
    gguf_number(&f, 1, 1);
    gguf_key(&f, "\xc3\xbc", GGUF_U8);
    gguf_number(&f, 2, 1);
    gguf_key(&f, "u", GGUF_U8);
    gguf_number(&f, 3, 1);
    c = accept(&f);
    expect_metadata(c, "u8", "200");
    expect_metadata(c, "i8", "-56");
    expect_metadata(c, "u16", "65535");
    expect_metadata(c, "i16", "-1");
    expect_metadata(c, "u32", "4294967295");
    expect_metadata(c, "i32", "-2");
    expect_metadata(c, "i32+", "7");
    expect_metadata(c, "f32", NULL);
    expect_metadata(c, "true", "true");
    expect_metadata(c, "false", "false");
    expect_metadata(c, "u64", "18446744073709551615");
    expect_metadata(c, "i64", "-9223372036854775808");
    expect_metadata(c, "f64", NULL);
    expect_metadata(c, "string", "b\xc3\xa9 \n");
    expect_metadata(c, "none", "");
    expect_metadata(c, "no text", NULL);
    expect_metadata(c, "NUL", NULL);
    expect_metadata(c, "too long", NULL);
    expect_metadata(c, "longest", longest + 1);
    expect_metadata(c, longest, "1");
    expect_metadata(c, "\xc3\xbc", "2");
    expect_metadata(c, "u", "3");
    checkpoint_close(c);
    free(longest);
}

static void every_array(void **state)
{
    static const unsigned bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    struct gguf_file f;
    struct checkpoint *c;
    uint32_t type;
    int i;

    (void)state;
    gguf_begin(&f, 3, 0, 15);
    for (type = 0; type <= GGUF_F64; type++) {
        char key[2] = {(char)('a' + type), '\0'};

        gguf_key(&f, key, GGUF_ARRAY);
        gguf_array(&f, type, 3);
        for (i = 0; i < 3; i++) {
            if (type == GGUF_STRING)
                gguf_string(&f, i == 1 ? "" : "text");
            else if (type == GGUF_ARRAY)
                gguf_array(&f, GGUF_U8, 0);
            else
                gguf_number(&f, 0x0101010101010101, bytes[type]);
        }
    }
    gguf_key(&f, "nested", GGUF_ARRAY);
    gguf_array(&f, GGUF_ARRAY, 2);
    gguf_array(&f, GGUF_ARRAY, 1);
    gguf_array(&f, GGUF_ARRAY, 1);
    gguf_array(&f, GGUF_U16, 2);
    gguf_number(&f, 9, 4);
    gguf_array(&f, GGUF_STRING, 1);
    gguf_string(&f, "deep");
    gguf_entry(&f, "last", GGUF_U8, 9, 1);
    c = accept(&f);
    assert_int_equal(c->metadata_count, 1);
    expect_metadata(c, "last", "9");
    checkpoint_close(c);
}

/* Arrays whose elements are as short as they can be, up to the end of the file. */
static void arrays_to_the_last_byte(void **state)
{
    struct gguf_file f;

    (void)state;
    gguf_begin(&f, 3, 0, 1);
    gguf_key(&f, "a", GGUF_ARRAY);
    gguf_array(&f, GGUF_STRING, 2);
    gguf_string(&f, "");
    gguf_string(&f, "");
    checkpoint_close(accept(&f));
    gguf_begin(&f, 3, 0, 1);
    gguf_key(&f, "a", GGUF_ARRAY);
    gguf_array(&f, GGUF_ARRAY, 2);
    gguf_array(&f, GGUF_U8, 0);
    gguf_array(&f, GGUF_STRING, 0);
    checkpoint_close(accept(&f));
    gguf_begin(&f, 3, 0, 1);
    gguf_key(&f, "a", GGUF_ARRAY);
    gguf_array(&f, GGUF_F64, 2);
    gguf_number(&f, 0, 8);
    gguf_number(&f, 0, 8);
    checkpoint_close(accept(&f));
}

static void arrays_too_deep(void **state)
{
    struct gguf_file f;
    int i;

    (void)state;
    gguf_begin(&f, 3, 0, 1);
    gguf_key(&f, "a", GGUF_ARRAY);
    for (i = 0; i < 4; i++)
        gguf_array(&f, GGUF_ARRAY, 1);
    gguf_array(&f, GGUF_U8, 0);
    refuse(&f, "byte 85: a: expected at most 4 arrays inside one another, found a fifth");
    gguf_begin(&f, 3, 0, 1);
    gguf_key(&f, "a", GGUF_ARRAY);
    for (i = 0; i < 10000; i++)
        gguf_array(&f, GGUF_ARRAY, 1);
    refuse(&f, "byte 85: a: expected at most 4 arrays inside one another, found a fifth");
}

/* A file of one entry whose value is given; the entry's key ends at byte 33. */
static void one_value(struct gguf_file *f, const char *key, uint32_t type, uint64_t value,
                      size_t bytes)
{
    gguf_begin(f, 3, 0, 1);
    gguf_entry(f, key, type, value, bytes);
}

static void values_that_are_none(void **state)
{
    struct gguf_file f;

    (void)state;
    one_value(&f, "a", 13, 0, 8);
    refuse(&f, "byte 33: a: expected a type of values from 0 to 12, found 13");
    one_value(&f, "a", GGUF_BOOL, 2, 1);
    refuse(&f, "byte 37: a: expected a bool: 0 or 1, found 2");
    one_value(&f, "a", GGUF_U64, 2, 7);
    refuse(&f, "byte 37: a: expected a GGUF header that ends inside the file, found 8 bytes wanted "
               "where 7 are left");
    one_value(&f, "a", GGUF_STRING, 1, 8);
    refuse(&f, "byte 37: a: expected a string that ends inside the file, found 1 bytes of it where "
               "0 are left");
    one_value(&f, "a", GGUF_STRING, UINT64_MAX, 8);
    refuse(&f, "byte 37: a: expected a string that ends inside the file, found "
               "18446744073709551615 bytes of it where 0 are left");
    gguf_begin(&f, 3, 0, 1);
    gguf_key(&f, "a", GGUF_ARRAY);
    gguf_array(&f, 13, 1);
    gguf_number(&f, 0, 8);
    refuse(&f, "byte 37: a: expected a type of values from 0 to 12, found 13");
    gguf_begin(&f, 3, 0, 1);
    gguf_key(&f, "a", GGUF_ARRAY);
    gguf_array(&f, GGUF_U64, UINT64_C(1) << 61);
    gguf_number(&f, 0, 8);
    refuse(&f, "byte 41: a: expected an array that ends inside the file, found 2305843009213693952 "
               "elements where 8 bytes are left");
    gguf_begin(&f, 3, 0, 1);
    gguf_key(&f, "a", GGUF_ARRAY);
    gguf_array(&f, GGUF_STRING, 3);
    gguf_number(&f, 0, 8);
    gguf_number(&f, 0, 8);
    refuse(&f, "byte 41: a: expected an array that ends inside the file, found 3 elements where 16 "
               "bytes are left");
    gguf_begin(&f, 3, 0, 1);
    gguf_key(&f, "a", GGUF_ARRAY);
    gguf_array(&f, GGUF_ARRAY, 2);
    gguf_array(&f, GGUF_U8, 0);
    gguf_number(&f, 0, 8);
    refuse(&f, "byte 41: a: expected an array that ends inside the file, found 2 elements where 20 "
               "bytes are left");
    gguf_begin(&f, 3, 0, 1);
    gguf_key(&f, "a", GGUF_ARRAY);
    gguf_array(&f, GGUF_STRING, 1);
    gguf_number(&f, 2, 8);
    gguf_number(&f, 'x', 1);
    refuse(&f, "byte 49: a: expected a string that ends inside the file, found 2 bytes of it where "
               "1 are left");
}

static void keys(void **state)
{
    struct gguf_file f;
    struct checkpoint *c;
    char *longest = calloc(1, 65537);

    (void)state;
    memset(longest, 'k', 65536);
    gguf_begin(&f, 3, 0, 1);
    gguf_entry(&f, longest + 1, GGUF_BOOL, 1, 1);
    c = accept(&f);
    expect_metadata(c, longest + 1, "true");
    checkpoint_close(c);
    gguf_begin(&f, 3, 0, 1);
    gguf_entry(&f, longest, GGUF_BOOL, 1, 1);
    refuse(&f, "byte 24: expected a key: UTF-8 text of 1 to 65535 bytes without NUL, found 65536 "
               "bytes");
    one_value(&f, "", GGUF_BOOL, 1, 4);
    refuse(&f,
           "byte 24: expected a key: UTF-8 text of 1 to 65535 bytes without NUL, found an empty "
           "one");
    one_value(&f, "\xc3", GGUF_BOOL, 1, 4);
    refuse(&f, "byte 32: \\xc3: expected a key: UTF-8 text of 1 to 65535 bytes without NUL, found "
               "bytes that are no such text");
    gguf_begin(&f, 3, 0, 1);
    gguf_number(&f, 1, 8);
    gguf_number(&f, 0, 1);
    gguf_number(&f, GGUF_BOOL, 4);
    gguf_number(&f, 1, 1);
    refuse(&f, "byte 32: \\x00: expected a key: UTF-8 text of 1 to 65535 bytes without NUL, found "
               "bytes that are no such text");
    gguf_begin(&f, 3, 0, 3);
    gguf_entry(&f, "same", GGUF_U8, 1, 1);
    gguf_entry(&f, "samen", GGUF_U8, 1, 1);
    gguf_entry(&f, "same", GGUF_F32, 1, 4);
    refuse(&f, "same: expected every key once, found it twice");
    free(longest);
}

static void alignments(void **state)
{
    static const char want[] = "byte 53: general.alignment: expected an alignment of 1 to 1048576 "
                               "bytes, a power of two, as u32, found %u";
    static const uint32_t good[] = {1, 2, 4, 8, 16, 32, 64, 4096, 1048576};
    static const uint32_t bad[] = {0, 3, 33, 48, 1048577, 2097152, 0x80000000, UINT32_MAX};
    const uint64_t extents[] = {3};
    struct gguf_file f;
    struct checkpoint *c;
    char text[256];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        gguf_begin(&f, 3, 2, 1);
        gguf_entry(&f, "general.alignment", GGUF_U32, good[i], 4);
        gguf_tensor(&f, "a", 1, extents, 24, 0);
        gguf_tensor(&f, "b", 1, extents, 24, good[i] > 3 ? good[i] : good[i] == 2 ? 4 : 3);
        gguf_data(&f, good[i], 3);
        gguf_data(&f, good[i], 3);
        c = accept(&f);
        assert_int_equal(c->tensors[0].offset % good[i], 0);
        assert_int_equal(c->tensors[0].offset, c->files[0].data_offset);
        assert_int_equal(c->tensors[1].offset + 3, c->files[0].bytes);
        checkpoint_close(c);
    }
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        one_value(&f, "general.alignment", GGUF_U32, bad[i], 4);
        snprintf(text, sizeof(text), want, bad[i]);
        refuse(&f, text);
    }
    one_value(&f, "general.alignment", GGUF_U64, 32, 8);
    refuse(&f, "byte 49: general.alignment: expected an alignment of 1 to 1048576 bytes, a power "
               "of two, as u32, found a value of type u64");
    one_value(&f, "general.alignment", GGUF_STRING, 0, 8);
    refuse(&f, "byte 49: general.alignment: expected an alignment of 1 to 1048576 bytes, a power "
               "of two, as u32, found a value of type string");
    one_value(&f, "general.alignment", GGUF_I32, 32, 4);
    refuse(&f, "byte 49: general.alignment: expected an alignment of 1 to 1048576 bytes, a power "
               "of two, as u32, found a value of type i32");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value),
        cmocka_unit_test(every_array),
        cmocka_unit_test(arrays_to_the_last_byte),
        cmocka_unit_test(arrays_too_deep),
        cmocka_unit_test(values_that_are_none),
        cmocka_unit_test(keys),
        cmocka_unit_test(alignments),
    };

    return cmocka_run_group_tests_name("gguf_entries", tests, NULL, NULL);
}
