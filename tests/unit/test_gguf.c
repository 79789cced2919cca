/* Strategy: a file that the format's own library wrote is read and every tensor's bytes compared by
 * SHA-256. Then files are put together piece by piece: each type against a table written down a
 * second time, and one file for every reason to refuse. Each goes through memory, in a block of
 * exactly its size, and through a file, and the answers must be the same. A good header is also cut
 * at every byte, and every byte of it changed to every value: whatever comes of it, nothing may be
 * read out of bounds. Entries are in test_gguf_entries.c, several files in test_gguf_split.c.
 */
#include "gguf_input.h"
#include "gguf_rig.h"
#include "sha256.h"
#include <cjson/cJSON.h>

#define GOOD_BYTES 4096

static void golden(void **state)
{
    char *text = data_read("files/files.json", NULL), hex[SHA256_HEX_BYTES];
    cJSON *root = cJSON_Parse(text);
    const cJSON *want, *list = cJSON_GetObjectItem(root, "tiny.gguf");
    struct checkpoint *c;
    size_t bytes, at = 0;
    char *file = data_read("files/tiny.gguf", &bytes);

    (void)state;
    assert_int_equal(checkpoint_open(data_path("files/tiny.gguf"), &c, &g_error), 0);
    assert_int_equal(c->format, CHECKPOINT_GGUF);
    assert_int_equal(c->tensor_count, cJSON_GetArraySize(list));
    cJSON_ArrayForEach(want, list)
    {
        const struct tensor *t = &c->tensors[at];
        const cJSON *extent, *shape = cJSON_GetObjectItem(want, "shape");
        size_t i = 0;

        assert_string_equal(t->name, want->string);
        assert_int_equal(checkpoint_find_name(c, want->string), at++);
        assert_string_equal(dtype_name(t->dtype), cJSON_GetObjectItem(want, "dtype")->valuestring);
        assert_int_equal(t->rank, cJSON_GetArraySize(shape));
        cJSON_ArrayForEach(extent, shape)
        {
            assert_int_equal(t->shape[i++], extent->valueint);
        }
        assert_int_equal(t->bytes, cJSON_GetObjectItem(want, "bytes")->valueint);
        assert_string_equal(sha256_hex(file + t->offset, t->bytes, hex),
                            cJSON_GetObjectItem(want, "sha256")->valuestring);
    }
    assert_int_equal(at, 5);
    assert_int_equal(c->files[0].data_offset, 512);
    assert_int_equal(c->files[0].bytes, bytes);
    assert_string_equal(checkpoint_metadata(c, "general.architecture"), "llama");
    assert_string_equal(checkpoint_metadata(c, "llama.block_count"), "2");
    assert_string_equal(checkpoint_metadata(c, "flag"), "true");
    assert_null(checkpoint_metadata(c, "llama.rope"));
    assert_null(checkpoint_metadata(c, "tokenizer.ggml.tokens"));
    assert_null(checkpoint_metadata(c, ""));
    checkpoint_close(c);
    cJSON_Delete(root);
    free(text);
    free(file);
}

/* number, elements of a block, bytes of a block */
static const struct {
    uint32_t number;
    const char *name;
    unsigned elements, bytes;
} g_types[] = {
    {0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},
    {3, "Q4_1", 32, 20},      {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},
    {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 36},      {10, "Q2_K", 256, 84},
    {11, "Q3_K", 256, 110},   {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66},
    {17, "IQ2_XS", 256, 74},  {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},
    {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},  {22, "IQ2_S", 256, 82},
    {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},         {25, "I16", 1, 2},
    {26, "I32", 1, 4},        {27, "I64", 1, 8},        {28, "F64", 1, 8},
    {29, "IQ1_M", 256, 56},   {30, "BF16", 1, 2},       {34, "TQ1_0", 256, 54},
    {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},    {40, "NVFP4", 64, 36},
    {41, "Q1_0", 128, 18},    {42, "Q2_0", 64, 18},
};

#define TYPE_COUNT (sizeof(g_types) / sizeof(g_types[0]))

static uint64_t padded(uint64_t bytes)
{
    return (bytes + 31) / 32 * 32;
}

static void every_type(void **state)
{
    struct gguf_file f;
    struct checkpoint *c;
    uint64_t offset = 0, data;
    size_t i;

    (void)state;
    gguf_begin(&f, 3, TYPE_COUNT, 0);
    for (i = 0; i < TYPE_COUNT; i++) {
        const uint64_t extents[] = {3 * g_types[i].elements, 5, 2};

        gguf_tensor(&f, g_types[i].name, 3, extents, g_types[i].number, offset);
        offset += padded(30 * g_types[i].bytes);
    }
    gguf_data(&f, 32, offset);
    data = f.count - offset;
    c = accept(&f);
    assert_int_equal(c->tensor_count, TYPE_COUNT);
    for (i = 0; i < TYPE_COUNT; i++) {
        const struct tensor *t = &c->tensors[i];

        assert_string_equal(dtype_name(t->dtype), g_types[i].name);
        assert_string_equal(t->name, g_types[i].name);
        assert_int_equal(dtype_block_elements(t->dtype), g_types[i].elements);
        assert_int_equal(dtype_block_bits(t->dtype), 8 * g_types[i].bytes);
        assert_int_equal(t->bytes, 30 * g_types[i].bytes);
        assert_int_equal(t->offset, data);
        assert_int_equal(t->rank, 3);
        assert_int_equal(t->shape[0], 2);
        assert_int_equal(t->shape[1], 5);
        assert_int_equal(t->shape[2], 3 * g_types[i].elements);
        data += padded(t->bytes);
    }
    checkpoint_close(c);
}

/* One tensor of type I8, or another, and nothing else. */
static void one_tensor(struct gguf_file *f, uint32_t type, uint64_t extent, size_t bytes)
{
    gguf_begin(f, 3, 1, 0);
    gguf_tensor(f, "t", 1, &extent, type, 0);
    gguf_data(f, 32, bytes);
}

static void types_that_are_none(void **state)
{
    struct gguf_file f;
    char want[160];
    uint32_t number;
    size_t i;

    (void)state;
    for (number = 0; number < 70; number++) {
        for (i = 0; i < TYPE_COUNT && g_types[i].number != number; i++)
            continue;
        if (i < TYPE_COUNT)
            continue;
        one_tensor(&f, number, 256, 4096);
        snprintf(want, sizeof(want),
                 "byte 45: t: expected a type of tensors that GGUF has (0 F32, 1 F16, 2 Q4_0, ..., "
                 "42 Q2_0), found %u",
                 number);
        refuse(&f, want);
    }
    one_tensor(&f, UINT32_MAX, 256, 4096);
    refuse(&f, "byte 45: t: expected a type of tensors that GGUF has (0 F32, 1 F16, 2 Q4_0, ..., "
               "42 Q2_0), found 4294967295");
}

static void blocks_are_whole(void **state)
{
    struct gguf_file f;
    size_t i;

    (void)state;
    for (i = 0; i < TYPE_COUNT; i++) {
        struct checkpoint *c;

        if (g_types[i].elements == 1)
            continue;
        one_tensor(&f, g_types[i].number, g_types[i].elements / 2, 4096);
        assert_int_equal(read_both(&f, &c), -EINVAL);
        assert_non_null(strstr(line(), "expected a first extent of whole blocks"));
    }
    one_tensor(&f, 2, 33, 4096);
    refuse(&f,
           "byte 33: t: expected a first extent of whole blocks, found 33 elements in blocks of "
           "32 (Q4_0)");
    /* Rank 0 is one element. */
    gguf_begin(&f, 3, 1, 0);
    gguf_tensor(&f, "t", 0, NULL, 2, 0);
    gguf_data(&f, 32, 64);
    refuse(&f, "byte 33: t: expected a first extent of whole blocks, found 1 elements in blocks of "
               "32 (Q4_0)");
}

static void identified(void **state)
{
    (void)state;
    assert_true(gguf_identify("GGUF", 4, 4));
    assert_true(gguf_identify("GGUF\1\0\0\0", 8, UINT64_MAX));
    assert_false(gguf_identify("GGUF", 3, 4));
    assert_false(gguf_identify("GGUF", 4, 3));
    assert_false(gguf_identify("GGUE", 4, 4));
    assert_false(gguf_identify("FUGG", 4, 4));
}

static void beginnings(void **state)
{
    static const char version[] = "byte 4: expected GGUF version 2 or 3, little-endian, found %s";
    static const struct {
        uint32_t version;
        const char *found;
    } bad[] = {
        {0, "version 0"},
        {1, "version 1"},
        {4, "version 4"},
        {UINT32_MAX, "version 4294967295"},
        {0x03000000, "a big-endian file of version 3"},
        {0x02000000, "a big-endian file of version 2"},
    };
    struct gguf_file f;
    struct checkpoint *c;
    char text[160];
    size_t i;

    (void)state;
    assert_int_equal(parse("GGUf\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, 24, &c), -EINVAL);
    assert_string_equal(
        line(), "byte 0: expected a GGUF file, which begins with \"GGUF\", found other bytes");
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        gguf_begin(&f, bad[i].version, 0, 0);
        snprintf(text, sizeof(text), version, bad[i].found);
        refuse(&f, text);
    }
    for (i = 2; i <= 3; i++) {
        gguf_begin(&f, i, 0, 0);
        c = accept(&f);
        assert_int_equal(c->tensor_count, 0);
        assert_int_equal(c->total_bytes, 0);
        assert_int_equal(c->files[0].data_offset, 24);
        checkpoint_close(c);
    }
}

static void counts(void **state)
{
    struct gguf_file f;

    (void)state;
    gguf_begin(&f, 3, 0, UINT64_MAX);
    gguf_number(&f, 0, 8);
    refuse(&f, "byte 16: expected no more than the file could hold, found 18446744073709551615 "
               "entries in 8 bytes");
    gguf_begin(&f, 3, UINT64_C(1) << 60, 0);
    refuse(&f, "byte 8: expected no more than the file could hold, found 1152921504606846976 "
               "tensors in 0 bytes");
    gguf_begin(&f, 3, 1, 1);
    gguf_data(&f, 1, 37);
    refuse(&f, "byte 8: expected no more than the file could hold, found 1 tensors in 23 bytes");
    gguf_begin(&f, 3, 0, 2);
    gguf_entry(&f, "a", GGUF_U8, 1, 1);
    gguf_data(&f, 1, 13);
    refuse(&f, "byte 16: expected no more than the file could hold, found 2 entries in 27 bytes");
}

static void names(void **state)
{
    const uint64_t extents[] = {1};
    struct gguf_file f;
    struct checkpoint *c;
    char longest[65];

    (void)state;
    memset(longest, 'n', 64);
    longest[64] = '\0';
    gguf_begin(&f, 3, 3, 0);
    gguf_tensor(&f, longest + 1, 1, extents, 24, 0);
    gguf_tensor(&f, "\xc3\xbc", 1, extents, 24, 32);
    gguf_tensor(&f, "", 1, extents, 24, 64);
    gguf_data(&f, 32, 65);
    c = accept(&f);
    assert_int_equal(checkpoint_find_name(c, longest + 1), 0);
    assert_int_equal(checkpoint_find_name(c, "\xc3\xbc"), 1);
    assert_int_equal(checkpoint_find_name(c, ""), 2);
    checkpoint_close(c);

    gguf_begin(&f, 3, 1, 0);
    gguf_tensor(&f, longest, 1, extents, 24, 0);
    refuse(&f, "byte 24: expected a tensor's name: UTF-8 text of at most 63 bytes, found 64 bytes");
    gguf_begin(&f, 3, 1, 0);
    gguf_tensor(&f, "\xff", 1, extents, 24, 0);
    refuse(&f, "byte 32: \\xff: expected a tensor's name: UTF-8 text of at most 63 bytes, found "
               "bytes that are no such text");
    gguf_begin(&f, 3, 2, 0);
    gguf_tensor(&f, "same", 1, extents, 24, 0);
    gguf_tensor(&f, "same", 1, extents, 24, 32);
    gguf_data(&f, 32, 64);
    refuse(&f, "same: expected every tensor once, found it twice");
}

static void extents(void **state)
{
    const uint64_t five[] = {1, 1, 1, 1, 1}, negative[] = {1, UINT64_MAX}, zero[] = {4, 0, 2};
    const uint64_t product[] = {UINT64_C(1) << 32, UINT64_C(1) << 32};
    const uint64_t bits[] = {UINT64_C(1) << 61}, large[] = {UINT64_C(1) << 40};
    struct gguf_file f;
    struct checkpoint *c;

    (void)state;
    gguf_begin(&f, 3, 1, 0);
    gguf_tensor(&f, "t", 5, five, 24, 0);
    refuse(&f, "byte 33: t: expected at most 4 extents, found 5");
    gguf_begin(&f, 3, 1, 0);
    gguf_tensor(&f, "t", 2, negative, 24, 0);
    refuse(&f, "byte 45: t: expected an extent from 0 on, found -1");
    gguf_begin(&f, 3, 1, 0);
    gguf_tensor(&f, "t", 2, product, 24, 0);
    refuse(&f, "byte 33: t: expected extents whose elements can be counted, found more than 2^64 "
               "elements or bits");
    gguf_begin(&f, 3, 1, 0);
    gguf_tensor(&f, "t", 1, bits, 24, 0);
    refuse(&f, "byte 33: t: expected extents whose elements can be counted, found more than 2^64 "
               "elements or bits");
    gguf_begin(&f, 3, 1, 0);
    gguf_tensor(&f, "t", 1, large, 24, 0);
    refuse(&f, "byte 49: t: expected data inside the file, which may be incomplete, found "
               "1099511627776 bytes at 0 of the data, in a file of 57");

    gguf_begin(&f, 3, 4, 0);
    gguf_tensor(&f, "scalar", 0, NULL, 28, 0);
    gguf_tensor(&f, "empty", 3, zero, 2, 32);
    gguf_tensor(&f, "four", 4, five, 0, 32);
    gguf_tensor(&f, "at the end", 1, zero + 1, 0, 64);
    gguf_data(&f, 32, 36);
    refuse(&f,
           "byte 67: empty: expected a first extent of whole blocks, found 4 elements in blocks "
           "of 32 (Q4_0)");
    gguf_begin(&f, 3, 4, 0);
    gguf_tensor(&f, "scalar", 0, NULL, 28, 0);
    gguf_tensor(&f, "empty", 3, zero, 0, 32);
    gguf_tensor(&f, "four", 4, five, 0, 32);
    gguf_tensor(&f, "at the end", 1, zero + 1, 0, 64);
    gguf_data(&f, 32, 36);
    c = accept(&f);
    assert_int_equal(c->tensors[0].rank, 0);
    assert_int_equal(c->tensors[0].bytes, 8);
    assert_int_equal(c->tensors[1].rank, 3);
    assert_int_equal(c->tensors[1].shape[0], 2);
    assert_int_equal(c->tensors[1].shape[1], 0);
    assert_int_equal(c->tensors[1].shape[2], 4);
    assert_int_equal(c->tensors[1].bytes, 0);
    assert_int_equal(c->tensors[2].rank, 4);
    assert_int_equal(c->tensors[2].bytes, 4);
    assert_int_equal(c->total_bytes, 12);
    checkpoint_close(c);
}

static void offsets(void **state)
{
    const uint64_t extents[] = {33};
    struct gguf_file f;
    struct checkpoint *c;

    (void)state;
    gguf_begin(&f, 3, 2, 0);
    gguf_tensor(&f, "a", 1, extents, 24, 32);
    gguf_tensor(&f, "b", 1, extents, 24, 96);
    gguf_data(&f, 32, 160);
    refuse(&f, "byte 49: a: expected the offset at which the tensors before end, with their "
               "padding, found 32 instead of 0");
    gguf_begin(&f, 3, 2, 0);
    gguf_tensor(&f, "a", 1, extents, 24, 0);
    gguf_tensor(&f, "b", 1, extents, 24, 33);
    gguf_data(&f, 32, 160);
    refuse(&f, "byte 82: b: expected the offset at which the tensors before end, with their "
               "padding, found 33 instead of 64");
    gguf_begin(&f, 3, 2, 0);
    gguf_tensor(&f, "a", 1, extents, 24, 0);
    gguf_tensor(&f, "b", 1, extents, 24, 64);
    gguf_data(&f, 32, 96);
    refuse(&f, "byte 192: b: expected data inside the file, which may be incomplete, found bytes "
               "160 to 193 of 192");
    gguf_begin(&f, 3, 2, 0);
    gguf_tensor(&f, "a", 1, extents, 24, 0);
    gguf_tensor(&f, "b", 1, extents, 24, 64);
    gguf_data(&f, 32, 97);
    c = accept(&f);
    assert_int_equal(c->tensors[1].offset, 160);
    assert_int_equal(checkpoint_find_offset(c, 0, 128), 0);
    assert_int_equal(checkpoint_find_offset(c, 0, 129), CHECKPOINT_NONE);
    assert_int_equal(checkpoint_find_offset(c, 0, 192), 1);
    checkpoint_close(c);
}

/* A file with some of everything, its data left out, as one reads it with file_bytes as its size.
 */
static size_t good_header(unsigned char *to, uint64_t *file_bytes)
{
    const uint64_t extents[] = {64, 3};
    struct gguf_file f;
    size_t bytes;

    gguf_begin(&f, 3, 2, 5);
    gguf_key(&f, "general.architecture", GGUF_STRING);
    gguf_string(&f, "llama");
    gguf_entry(&f, "general.alignment", GGUF_U32, 64, 4);
    gguf_key(&f, "tokens", GGUF_ARRAY);
    gguf_array(&f, GGUF_STRING, 2);
    gguf_string(&f, "a");
    gguf_string(&f, "bc");
    gguf_key(&f, "nested", GGUF_ARRAY);
    gguf_array(&f, GGUF_ARRAY, 1);
    gguf_array(&f, GGUF_U32, 1);
    gguf_number(&f, 1, 4);
    gguf_entry(&f, "b", GGUF_BOOL, 1, 1);
    gguf_tensor(&f, "blk.0.w", 2, extents, 2, 0);
    gguf_tensor(&f, "blk.1.w", 1, extents, 0, 128);
    bytes = f.count;
    gguf_data(&f, 64, 128 + 256);
    *file_bytes = f.count;
    memcpy(to, f.bytes, bytes);
    gguf_free(&f);
    return bytes;
}

static void cut_anywhere(void **state)
{
    unsigned char good[GOOD_BYTES];
    struct checkpoint *c;
    uint64_t file_bytes;
    size_t bytes = good_header(good, &file_bytes), cut;

    (void)state;
    assert_int_equal(parse(good, bytes, file_bytes, &c), 0);
    assert_int_equal(c->tensor_count, 2);
    checkpoint_close(c);
    for (cut = 0; cut < bytes; cut++) {
        unsigned char *exact = malloc(cut ? cut : 1);

        memcpy(exact, good, cut);
        assert_int_equal(parse(exact, cut, cut, &c), -EINVAL);
        assert_null(strchr(line(), '\n'));
        assert_int_equal(parse(exact, cut, file_bytes, &c), -EINVAL);
        assert_non_null(strstr(line(), "expected the whole header"));
        free(exact);
    }
    for (cut = bytes; cut < file_bytes; cut++) {
        assert_int_equal(parse(good, bytes, cut, &c), -EINVAL);
        assert_non_null(strstr(line(), "data inside the file"));
    }
}

static void any_byte_changed(void **state)
{
    unsigned char good[GOOD_BYTES];
    struct checkpoint *c;
    uint64_t file_bytes;
    size_t bytes = good_header(good, &file_bytes), at, accepted = 0;
    unsigned char *exact = malloc(bytes);
    int value;

    (void)state;
    for (at = 0; at < bytes; at++) {
        for (value = 0; value < 256; value++) {
            memcpy(exact, good, bytes);
            exact[at] = (unsigned char)value;
            accepted += parse(exact, bytes, file_bytes, &c) == 0;
            checkpoint_close(c);
        }
    }
    /* Each byte's own value, and what names and values may be besides. */
    assert_true(accepted > bytes && accepted < 256 * bytes);
    free(exact);
}

/* Arrays that are many windows long, strings and extents across the windows' borders. */
static void longer_than_a_window(void **state)
{
    const uint64_t extents[] = {1};
    struct gguf_file f;
    struct checkpoint *c;
    char text[64];
    unsigned i;

    (void)state;
    gguf_begin(&f, 3, 3000, 4);
    gguf_key(&f, "tokens", GGUF_ARRAY);
    gguf_array(&f, GGUF_STRING, 30000);
    for (i = 0; i < 30000; i++) {
        snprintf(text, sizeof(text), "%.*s", (int)(i % 41),
                 "................................................");
        gguf_string(&f, text);
    }
    gguf_key(&f, "scores", GGUF_ARRAY);
    gguf_array(&f, GGUF_F32, 100000);
    for (i = 0; i < 100000; i++)
        gguf_number(&f, i, 4);
    gguf_key(&f, "template", GGUF_STRING);
    gguf_number(&f, 200000, 8);
    for (i = 0; i < 200000; i++)
        gguf_number(&f, 'x', 1);
    gguf_entry(&f, "after", GGUF_U16, 77, 2);
    for (i = 0; i < 3000; i++) {
        snprintf(text, sizeof(text), "blk.%u.weight", i);
        gguf_tensor(&f, text, 1, extents, 24, 32 * i);
    }
    gguf_data(&f, 32, 32 * 3000);
    assert_true(f.count > 20 * GGUF_WINDOW_BYTES);
    c = accept(&f);
    assert_int_equal(c->tensor_count, 3000);
    expect_metadata(c, "after", "77");
    expect_metadata(c, "template", NULL);
    for (i = 0; i < 3000; i++) {
        snprintf(text, sizeof(text), "blk.%u.weight", i);
        assert_int_equal(checkpoint_find_name(c, text), i);
    }
    checkpoint_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),
        cmocka_unit_test(every_type),
        cmocka_unit_test(types_that_are_none),
        cmocka_unit_test(blocks_are_whole),
        cmocka_unit_test(identified),
        cmocka_unit_test(beginnings),
        cmocka_unit_test(counts),
        cmocka_unit_test(names),
        cmocka_unit_test(extents),
        cmocka_unit_test(offsets),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(any_byte_changed),
        cmocka_unit_test(longer_than_a_window),
    };

    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
