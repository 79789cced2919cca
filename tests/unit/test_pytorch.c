/* Strategy: the files that PyTorch wrote are read and every tensor's dense copy compared by
 * SHA-256. Then pickles are written by hand, put into archives, and what comes of them is printed
 * in one line for each tensor and compared: names, dtypes, shapes, strides, places, storages. Each
 * reason to refuse has its pickle or its archive, and each trick that makes a small file look like
 * a large one. Last, every byte of good files is changed: what is then taken lies inside the file.
 */
#include "pytorch_file.h"
#include "sha256.h"
#include <cjson/cJSON.h>
#include <errno.h>

/* Files of PyTorch's own ----------------------------------------------------------------------- */

/* Copy a tensor out of its file, row by row. */
static unsigned char *copy_dense(const struct tensor *t, const char *file, size_t *bytes)
{
    size_t element = dtype_block_bits(t->dtype) / 8, i, k;
    unsigned char *copy;

    *bytes = tensor_dense_bytes(t);
    copy = calloc(1, *bytes + 1);
    for (i = 0; i < *bytes / element; i++) {
        size_t rest = i, from = t->strides ? 0 : i;

        for (k = t->rank; t->strides && k-- > 0; rest /= t->shape[k])
            from += rest % t->shape[k] * t->strides[k];
        assert_true((from + 1) * element <= t->bytes);
        memcpy(copy + i * element, file + t->offset + from * element, element);
    }
    return copy;
}

static void compare_tensor(const struct tensor *t, const cJSON *want, const char *file)
{
    const cJSON *extent, *shape = cJSON_GetObjectItem(want, "shape");
    char hex[SHA256_HEX_BYTES];
    unsigned char *copy;
    size_t rank = 0, bytes;

    assert_string_equal(dtype_name(t->dtype), cJSON_GetObjectItem(want, "dtype")->valuestring);
    cJSON_ArrayForEach(extent, shape)
    {
        assert_true(rank < t->rank);
        assert_int_equal(t->shape[rank++], extent->valueint);
    }
    assert_int_equal(rank, t->rank);
    copy = copy_dense(t, file, &bytes);
    assert_int_equal(bytes, cJSON_GetObjectItem(want, "bytes")->valueint);
    assert_string_equal(sha256_hex(copy, bytes, hex),
                        cJSON_GetObjectItem(want, "sha256")->valuestring);
    free(copy);
}

static void golden_files(void **state)
{
    static const struct {
        const char *name;
        size_t tensors;
        enum checkpoint_format format;
    } rows[] = {
        {"zip.bin", 26, CHECKPOINT_PYTORCH},
        {"nested.bin", 1, CHECKPOINT_PYTORCH},
        {"views.bin", 5, CHECKPOINT_PYTORCH},
        {"legacy.bin", 2, CHECKPOINT_PYTORCH_LEGACY},
    };
    char *list = data_read("files/files.json", NULL), path[64], *file;
    cJSON *root = cJSON_Parse(list);
    const cJSON *want;
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(rows); i++) {
        struct checkpoint *c = NULL;
        size_t bytes, count = 0;

        snprintf(path, sizeof(path), "files/%s", rows[i].name);
        file = data_read(path, &bytes);
        if (checkpoint_open(data_path(path), &c, &g_error))
            fail_msg("%s", line());
        cJSON_ArrayForEach(want, cJSON_GetObjectItem(root, rows[i].name))
        {
            size_t index = checkpoint_find_name(c, want->string);

            if (want->string[0] == '_')
                continue;
            assert_true(index != CHECKPOINT_NONE);
            assert_true(c->tensors[index].offset + c->tensors[index].bytes <= bytes);
            compare_tensor(&c->tensors[index], want, file);
            count++;
        }
        assert_int_equal(count, rows[i].tensors);
        assert_int_equal(c->tensor_count, count);
        assert_int_equal(c->format, rows[i].format);
        checkpoint_close(c);
        free(file);
    }
    cJSON_Delete(root);
    free(list);
}

static void golden_views_are_tied(void **state)
{
    static const char *const names[] = {"a", "t", "tail", "same"};
    struct checkpoint *c = NULL;
    const uint32_t *members = NULL;
    size_t cursor = 0, i;

    (void)state;
    assert_int_equal(checkpoint_open(data_path("files/views.bin"), &c, &g_error), 0);
    assert_int_equal(checkpoint_next_tied(c, &cursor, &members), 4);
    for (i = 0; i < 4; i++)
        assert_string_equal(c->tensors[members[i]].name, names[i]);
    assert_int_equal(checkpoint_next_tied(c, &cursor, &members), 0);
    assert_int_equal(c->total_bytes, 24 * 4 + 5 * 4);
    assert_int_equal(c->files[0].data_offset, c->tensors[0].offset);
    checkpoint_close(c);
}

static void golden_evil_is_refused(void **state)
{
    struct checkpoint *c = NULL;
    char path[4096], want[4400];

    (void)state;
    snprintf(path, sizeof(path), "%s", data_path("files/evil.bin"));
    assert_int_equal(checkpoint_open(path, &c, &g_error), -EINVAL);
    snprintf(want, sizeof(want),
             "byte 241: expected a global that state dicts need, such as collections.OrderedDict, "
             "found \"posix.system\"");
    assert_non_null(strstr(line(), want));
    assert_null(c);
}

/* Pickles by hand ------------------------------------------------------------------------------ */

static void expect_tensors(const struct row *rows, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        struct checkpoint *c = NULL;
        struct zip_file file;
        const char *got;

        pytorch_file_make(&file, rows[i].pickle, rows[i].bytes);
        if (read_memory(pytorch_read_source, file.data, file.bytes, &c))
            fail_msg("row %zu: %s", i, line());
        got = describe(c, file.local[2] + 45, file.local[3] + 45);
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("row %zu\n   got: %s\nwanted: %s", i, got, rows[i].want);
        checkpoint_close(c);
        zip_file_free(&file);
    }
}

#define VECTOR_LINE " F32 [4] @0+16 #0"

static void names(void **state)
{
    static const struct row rows[] = {
        {P_TEXT("}."), ""},
        {P_TEXT(P_DICT("U\1a" P_VECTOR) "."), "a" VECTOR_LINE},
        {P_TEXT(P_ORDERED_DICT("U\1a" P_VECTOR) "}b."), "a" VECTOR_LINE},
        {P_TEXT(P_DICT("U\1m" P_ORDERED_DICT("U\1w" P_VECTOR)) "."), "m.w" VECTOR_LINE},
        {P_TEXT(P_DICT("U\1m" P_DICT("K\7" P_VECTOR)) "."), "m.7" VECTOR_LINE},
        {P_TEXT(P_DICT("J\xff\xff\xff\xff" P_VECTOR) "."), "-1" VECTOR_LINE},
        {P_TEXT(P_DICT("U\1m](K\5N" P_VECTOR "e") "."), "m.2" VECTOR_LINE},
        {P_TEXT("(N" P_DICT("U\1w" P_VECTOR) "t."), "1.w" VECTOR_LINE},
        {P_TEXT("](" P_VECTOR "e."), "0" VECTOR_LINE},
        {P_TEXT(P_DICT("X\3\0\0\0\xc3\xbc." P_VECTOR) "."), "\xc3\xbc." VECTOR_LINE},
        {P_TEXT(P_DICT("U\0" P_DICT("U\1w" P_VECTOR)) "."), ".w" VECTOR_LINE},
        /* Python 2's OrderedDict, and one with items besides. */
        {P_TEXT("ccollections\nOrderedDict\n](](U\1a" P_VECTOR "e](U\1bNee\x85R."),
         "a" VECTOR_LINE},
        {P_TEXT("ccollections\nOrderedDict\n](U\1aN\x86"
                "e\x85RU\1b" P_VECTOR "s."),
         "b" VECTOR_LINE},
        /* What is no tensor is passed over, under whatever key. */
        {P_TEXT(P_DICT("U\5epochK\3U\2lrG\0\0\0\0\0\0\0\0NK\1U\1s\x8fU\1b\x88"
                       "\x8a\x09\0\0\0\0\0\0\0\0\1NU\1dctorch\nfloat32\nU\1S" P_FLOATS
                       "U\1ec__builtin__\nset\n](K\1e\x85RU\1ectorch\ndevice\nU\3cpu\x85R"
                       "U\1cccollections\nCounter\n}\x85R(K\1t](NeU\1w" P_VECTOR) "."),
         "w" VECTOR_LINE},
    };

    (void)state;
    expect_tensors(rows, COUNT(rows));
}

static void all_that_makes_a_tensor(void **state)
{
    static const struct row rows[] = {
        {P_TEXT(
             P_DICT("U\1a" P_CALL("_rebuild_tensor", P_PLACE(P_FLOATS, "\1", "K\2", "K\1"))) "."),
         "a F32 [2] @4+8 #0"},
        {P_TEXT(
             P_DICT("U\1a" P_CALL("_rebuild_tensor_v3",
                                  P_PLACE("(U\7storagectorch.storage\nUntypedStorage\nU\1"
                                          "1U"
                                          "\3cpuK\x10tQ",
                                          "\1", "K\3", "K\1") "\x89Nctorch\nfloat8_e4m3fn\n")) "."),
         "a F8_E4M3 [3] @101+3 #0"},
        {P_TEXT(P_DICT("U\1a" P_CALL("_rebuild_tensor_v3",
                                     P_PLACE("(U\7storagectorch.storage\nUntypedStorage\nU\1"
                                             "1U"
                                             "\3cpuK\x10tQ",
                                             "\1", "K\3", "K\1") "\x89Nctorch\nuint32\n")) "."),
         "a U32 [3] @104+12 #0"},
        {P_TEXT(P_DICT("U\1a" P_CALL("_rebuild_parameter", P_VECTOR "\x88N")) "."),
         "a" VECTOR_LINE},
        {P_TEXT(P_DICT("U\1a" P_CALL("_rebuild_parameter_with_state", P_VECTOR "\x88N}")) "."),
         "a" VECTOR_LINE},
        {P_TEXT(P_DICT("U\1a"
                       "ctorch._tensor\n_rebuild_from_type_v2\n("
                       "ctorch._utils\n_rebuild_tensor_v2\nctorch\nTensor\n(" P_PLACE(
                           P_FLOATS, "\0", "K\4", "K\1") "\x89Nt}tR") "."),
         "a" VECTOR_LINE},
        {P_TEXT(P_DICT("U\1a" P_CALL("_rebuild_tensor_v2",
                                     P_FLOATS "K\0ctorch\nSize\nK\4\x85\x85RK\1\x85")) "."),
         "a" VECTOR_LINE},
        {P_TEXT(P_DICT(
             "U\1a" P_CALL("_rebuild_tensor_v2", P_PLACE("(U\7storagectorch.cuda\nLongStorage\nU\1"
                                                         "1U\6cuda:0"
                                                         "K\2tQ",
                                                         "\0", "K\2", "K\1"))) "."),
         "a I64 [2] @100+16 #0"},
        /* A part of a storage, as before PyTorch 0.4: elements 1 to 3 of 4. */
        {P_TEXT(P_DICT(
             "U\1a" P_CALL("_rebuild_tensor_v2", P_PLACE("(U\7storagectorch\nFloatStorage\nU\1"
                                                         "0U\3cpuK\4"
                                                         "(U\1vK\1K\2ttQ",
                                                         "\1", "K\1", "K\1"))) "."),
         "a F32 [1] @8+4 #0"},
        {P_TEXT(P_DICT("U\1a" P_VECTOR_OF("(U\7storagectorch\nFloatStorage\nU\1"
                                          "0U\3cpuK\4NtQ")) "."),
         "a" VECTOR_LINE},
        /* Two storages, and one for two of the tensors. */
        {P_TEXT(P_DICT("U\1a" P_VECTOR
                       "U\1b" P_VECTOR_OF(P_STORAGE("FloatStorage", "1", "\4")) "U\1c" P_CALL(
                           "_rebuild_tensor_v2", P_PLACE(P_FLOATS, "\2", "K\2", "K\1"))) "."),
         "a F32 [4] @0+16 #0; b F32 [4] @100+16 #1; c F32 [2] @8+8 #0"},
        /* Views that share no byte are of one storage all the same. */
        {P_TEXT(P_DICT("U\1a" P_CALL(
             "_rebuild_tensor_v2",
             P_PLACE(P_FLOATS, "\0", "K\1", "K\1")) "U\1b" P_CALL("_rebuild_tensor_v2",
                                                                  P_PLACE(P_FLOATS, "\2", "K\1",
                                                                          "K\1"))) "."),
         "a F32 [1] @0+4 #0; b F32 [1] @8+4 #0"},
    };

    (void)state;
    expect_tensors(rows, COUNT(rows));
}

#define STRIDED(first, extents, strides)                                                           \
    P_TEXT(                                                                                        \
        P_DICT("U\1a" P_CALL("_rebuild_tensor_v2", P_PLACE(P_STORAGE("ByteStorage", "0", "\x10"),  \
                                                           first, extents, strides))) ".")

static void strides(void **state)
{
    static const struct row rows[] = {
        {STRIDED("\5", "", ""), "a U8 [] @5+1 #0"},
        {STRIDED("\0", "K\4K\4", "K\4K\1"), "a U8 [4,4] @0+16 #0"},
        {STRIDED("\0", "K\4K\4", "K\1K\4"), "a U8 [4,4]/1,4 @0+16 #0"},
        {STRIDED("\1", "K\3K\2", "K\5K\2"), "a U8 [3,2]/5,2 @1+13 #0"},
        {STRIDED("\0", "K\4K\1", "K\1K\7"), "a U8 [4,1] @0+4 #0"},
        {STRIDED("\0", "K\1K\4", "K\0K\1"), "a U8 [1,4] @0+4 #0"},
        {STRIDED("\3", "K\xffK\2", "K\0K\1"), "a U8 [255,2]/0,1 @3+2 #0"},
        {STRIDED("\0", "K\2", "K\x0f"), "a U8 [2]/15 @0+16 #0"},
        {STRIDED("\0", "K\0K\4", "K\7K\7"), "a U8 [0,4] @0+0 #0"},
        {STRIDED("\xff", "K\0", "K\1"), "a U8 [0] @16+0 #0"},
    };

    (void)state;
    expect_tensors(rows, COUNT(rows));
}

/* All before the first tensor's bytes is header, wherever that tensor stands in the pickle. */
static void where_the_data_begins(void **state)
{
    struct checkpoint *c = NULL;
    struct zip_file file;

    (void)state;
    pytorch_file_make(&file, P_TEXT(P_DICT("U\1a" P_VECTOR_OF(
                                 P_STORAGE("FloatStorage", "1", "\4")) "U\1b" P_VECTOR) "."));
    assert_int_equal(read_memory(pytorch_read_source, file.data, file.bytes, &c), 0);
    assert_true(c->tensors[1].offset < c->tensors[0].offset);
    assert_int_equal(c->files[0].data_offset, c->tensors[1].offset);
    checkpoint_close(c);
    zip_file_free(&file);
}

/* Any file ------------------------------------------------------------------------------------- */

static void identified(void **state)
{
    char *file;
    size_t bytes;

    (void)state;
    file = data_read("files/zip.bin", &bytes);
    assert_int_equal(checkpoint_identify(file, 512, bytes), CHECKPOINT_PYTORCH);
    assert_int_equal(checkpoint_identify(file, 29, bytes), CHECKPOINT_UNKNOWN);
    assert_int_equal(checkpoint_identify(file, 41, bytes), CHECKPOINT_UNKNOWN);
    assert_int_equal(checkpoint_identify(file, 42, bytes), CHECKPOINT_PYTORCH);
    memcpy(file + 34, "data/10", 7);
    file[26] = 11;
    assert_int_equal(checkpoint_identify(file, 512, bytes), CHECKPOINT_PYTORCH);
    file[38] = '.';
    assert_int_equal(checkpoint_identify(file, 512, bytes), CHECKPOINT_UNKNOWN);
    free(file);
    file = data_read("files/legacy.bin", &bytes);
    assert_int_equal(checkpoint_identify(file, 512, bytes), CHECKPOINT_PYTORCH_LEGACY);
    assert_int_equal(checkpoint_identify(file, 14, bytes), CHECKPOINT_PYTORCH_LEGACY);
    assert_int_equal(checkpoint_identify(file, 13, bytes), CHECKPOINT_UNKNOWN);
    file[1] = 6;
    assert_int_equal(checkpoint_identify(file, 512, bytes), CHECKPOINT_UNKNOWN);
    free(file);
    assert_true(
        pytorch_legacy_identify("\x80\4\x95\x0d\0\0\0\0\0\0\0\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20"
                                "\x6a\xa8\x50\x19.",
                                24, 24));
}

static void check_promises(const struct checkpoint *c, uint64_t bytes)
{
    size_t i;

    for (i = 0; i < c->tensor_count; i++) {
        const struct tensor *t = &c->tensors[i];

        assert_true(t->offset <= bytes && t->bytes <= bytes - t->offset);
        assert_true(t->strides || t->bytes == tensor_dense_bytes(t));
        assert_int_equal(strlen(t->name), t->name_bytes);
    }
}

static void any_damage(void **state)
{
    static const struct {
        const char *name;
        read_source *read;
        size_t stride; /* of the bytes that are changed */
    } rows[] = {
        {"files/views.bin", pytorch_read_source, 1},
        {"files/legacy.bin", pytorch_legacy_read_source, 1},
        {"files/zip.bin", pytorch_read_source, 5},
    };
    static const unsigned char changes[] = {0x01, 0x04, 0x20, 0x80, 0xff};
    size_t i, at, k;

    (void)state;
    for (i = 0; i < COUNT(rows); i++) {
        size_t bytes;
        char *file = data_read(rows[i].name, &bytes);

        for (at = 0; at < bytes; at += rows[i].stride) {
            for (k = 0; k < sizeof(changes); k++) {
                struct checkpoint *c = NULL;

                file[at] ^= (char)changes[k];
                if (read_memory(rows[i].read, file, bytes, &c) == 0)
                    check_promises(c, bytes);
                else
                    assert_true(g_error.expected[0] && g_error.found[0]);
                checkpoint_close(c);
                file[at] ^= (char)changes[k];
            }
            if (at % 7 == 0) {
                struct checkpoint *c = NULL;

                if (read_memory(rows[i].read, file, at, &c) == 0)
                    check_promises(c, at);
                checkpoint_close(c);
            }
        }
        free(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_files),
        cmocka_unit_test(golden_views_are_tied),
        cmocka_unit_test(golden_evil_is_refused),
        cmocka_unit_test(names),
        cmocka_unit_test(all_that_makes_a_tensor),
        cmocka_unit_test(strides),
        cmocka_unit_test(where_the_data_begins),
        cmocka_unit_test(identified),
        cmocka_unit_test(any_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
