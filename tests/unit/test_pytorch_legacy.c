/* Strategy: files of the form from before PyTorch 1.6 are written by hand, good ones and one for
 * each reason to refuse, and read from memory that ends where they end. Then those whose pickle is
 * longer than what is read of it at first, or says so.
 */
#include "pytorch_file.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define L_MAGIC   "\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
#define L_VERSION "\x80\2M\xe9\3."
#define L_INFO    "\x80\2}(U\x10protocol_versionM\xe9\3U\x0dlittle_endian\x88u."
#define L_HEAD    L_MAGIC L_VERSION L_INFO
#define L_FOUR    "\4\0\0\0\0\0\0\0"
#define L_BYTES   "0123456789abcdef"

static void legacy_files(void **state)
{
    static const struct row rows[] = {
        {P_TEXT(L_HEAD "}.]."), ""},
        {P_TEXT(L_HEAD P_DICT("U\1a" P_VECTOR) ".](U\1"
                                               "0e." L_FOUR L_BYTES),
         "a F32 [4] @0+16 #0"},
        {P_TEXT(L_HEAD P_DICT("U\1a" P_VECTOR "U\1b" P_VECTOR_OF(
             P_STORAGE("FloatStorage", "1", "\4"))) ".](U\1"
                                                    "1U\1"
                                                    "0e." L_FOUR L_BYTES L_FOUR L_BYTES "more"),
         "a F32 [4] @24+16 #0; b F32 [4] @0+16 #1"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(rows); i++) {
        struct checkpoint *c = NULL;
        const char *list = memmem(rows[i].pickle, rows[i].bytes, "e." L_FOUR, 10);

        assert_true(pytorch_legacy_identify(rows[i].pickle, rows[i].bytes, rows[i].bytes));
        if (read_memory(pytorch_legacy_read_source, rows[i].pickle, rows[i].bytes, &c))
            fail_msg("row %zu: %s", i, line());
        assert_string_equal(
            describe(c, list ? (uint64_t)(list + 10 - rows[i].pickle) : 0, UINT64_MAX),
            rows[i].want);
        checkpoint_close(c);
    }
}

static void refused_legacy_files(void **state)
{
    static const struct row rows[] = {
        {P_TEXT("\x80\2K\1."),
         "byte 0: expected the number that torch.save() begins with, found another"},
        {P_TEXT("\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x18."),
         "byte 0: expected the number that torch.save() begins with, found another"},
        {P_TEXT(L_MAGIC "M\xea\3."),
         "byte 15: expected version 1001 of torch.save(), found another"},
        {P_TEXT(L_MAGIC L_VERSION "}U\x0dlittle_endian\x89s."),
         "byte 21: expected a file of a little-endian machine, found another"},
        {P_TEXT(L_MAGIC L_VERSION "}."),
         "byte 21: expected a file of a little-endian machine, found another"},
        {P_TEXT(L_MAGIC L_VERSION "N."),
         "byte 21: expected a file of a little-endian machine, found another"},
        {P_TEXT(L_MAGIC),
         "byte 15: expected a pickle that ends with STOP inside its file, found 0 bytes where 1 more were announced"},
        {P_TEXT(L_HEAD "cposix\nsystem\n."),
         "byte 64: expected a global that state dicts need, such as collections.OrderedDict, found \"posix.system\""},
        {P_TEXT(L_HEAD "}."),
         "byte 66: expected a pickle that ends with STOP inside its file, found 0 bytes where 1 more were announced"},
        {P_TEXT(L_HEAD "}.}."), "byte 66: expected a list of the storages' keys, found a dict"},
        {P_TEXT(L_HEAD "}.](K\1e."),
         "byte 68: expected a storage's key, a string, found an integer"},
        {P_TEXT(L_HEAD "}.](U\1"
                       "0e." L_FOUR),
         "byte 73: 0: expected a storage that the state dict refers to, once, found another"},
        {P_TEXT(L_HEAD P_FLOATS ".](U\1"
                                "0e."),
         "byte 114: 0: expected a storage's length in 8 bytes, found 0 bytes to the end of the file"},
        {P_TEXT(L_HEAD P_FLOATS ".](U\1"
                                "0e." L_FOUR "0123456789abcde"),
         "byte 114: 0: expected a storage that ends inside the file, which may be incomplete, found 4 elements of 4 bytes in 15"},
        {P_TEXT(L_HEAD P_FLOATS ".](U\1"
                                "0e.\1\0\0\0\0\0\0\x40" L_BYTES),
         "byte 114: 0: expected a storage that ends inside the file, which may be incomplete, found 4611686018427387905 elements of 4 bytes in 16"},
        {P_TEXT(L_HEAD P_FLOATS ".](U\1"
                                "0U\1"
                                "0e." L_FOUR L_BYTES L_FOUR L_BYTES),
         "byte 141: 0: expected a storage that the state dict refers to, once, found it twice"},
        {P_TEXT(L_HEAD "(" P_FLOATS P_STORAGE("DoubleStorage", "0", "\2") "t.]."),
         "byte 64: expected elements of one size in each storage, found 4 bytes and 8 in storage \"0\""},
        {P_TEXT(L_HEAD P_DICT("U\1a" P_VECTOR) ".]."),
         "byte 158: a: expected a storage that is listed behind the pickle, found \"0\", which is not"},
        {P_TEXT(L_HEAD P_DICT("U\1a" P_VECTOR) ".](U\1"
                                               "0e.\3\0\0\0\0\0\0\0" L_BYTES),
         "byte 158: a: expected a storage as long as the file has it, found 16 bytes instead of 12"},
        {P_TEXT(L_HEAD "N.]."), "byte 64: expected a dict of tensors, found None"},
        {P_TEXT(L_HEAD "N\x85Q.]."),
         "byte 66: expected an id that begins with \"storage\", found None"},
    };
    size_t i, wrong = 0;

    (void)state;
    for (i = 0; i < COUNT(rows); i++) {
        struct checkpoint *c = NULL;

        if (read_memory(pytorch_legacy_read_source, rows[i].pickle, rows[i].bytes, &c) != -EINVAL)
            fail_msg("row %zu is taken", i);
        if (strcmp(line(), rows[i].want) != 0) {
            print_error("row %zu\n   got: %s\nwanted: %s\n", i, line(), rows[i].want);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

/* A pickle that is longer than what is first read of it. */
static void a_long_legacy_pickle(void **state)
{
    struct zip_file file = {0};
    struct checkpoint *c = NULL;
    size_t i;

    (void)state;
    zip_file_put(&file, P_TEXT(L_HEAD "}(U\1nX\0\0\x20\0"));
    for (i = 0; i < 0x200000; i++)
        zip_file_put(&file, "x", 1);
    zip_file_put(&file, P_TEXT("U\1a" P_VECTOR "u.](U\1"
                               "0e." L_FOUR L_BYTES));
    assert_int_equal(read_memory(pytorch_legacy_read_source, file.data, file.bytes, &c), 0);
    assert_int_equal(c->tensors[0].offset, file.bytes - 16);
    checkpoint_close(c);
    free(file.data);
}

/* Nothing is allocated that a length in a sparse file of 1 TiB asks for. */
static void a_sparse_legacy_file(void **state)
{
    static const char head[] = L_HEAD "}(U\1nB\xff\xff\xff\xff";
    struct checkpoint *c = NULL;
    int fd = memfd_create("x", MFD_CLOEXEC);

    (void)state;
    assert_int_equal(write(fd, head, sizeof(head) - 1), sizeof(head) - 1);
    assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
    assert_int_equal(checkpoint_open_fd(fd, "x", &c, &g_error), -EINVAL);
    assert_string_equal(line(), "x: byte 64: expected a pickle of at most 67108864 bytes, found a "
                                "longer one");
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(legacy_files),
        cmocka_unit_test(refused_legacy_files),
        cmocka_unit_test(a_long_legacy_pickle),
        cmocka_unit_test(a_sparse_legacy_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
