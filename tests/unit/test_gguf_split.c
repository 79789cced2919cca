/* Strategy: checkpoints in three files are written into a temporary folder, named by any of their
 * parts and by the folder, and must come to the same table each time. Then one part is missing, or
 * says something else than its name, or has a tensor that another one has.
 */
#include "data.h"
#include "gguf_file.h"
#include "gguf_split.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PARTS 3u

static struct input_error g_error;
static char g_line[INPUT_ERROR_TEXT_BYTES];
static char g_folder[] = "/tmp/berth-test-XXXXXX";

/* What a part says of itself; UINT64_MAX leaves the entry out. */
struct part {
    uint64_t number, count, tensors;
    const char *first; /* tensor; the second is "b" and the number */
};

static const char *part_path(unsigned number)
{
    static char path[64];

    snprintf(path, sizeof(path), "m-%05u-of-%05u.gguf", number, PARTS);
    return path;
}

static void write_part(const char *path, const struct part *part)
{
    const uint64_t extents[] = {16};
    struct gguf_file f;
    char second[32];

    snprintf(second, sizeof(second), "b%u", (unsigned)part->number);
    gguf_begin(&f, 3, 2,
               1u + (part->number != UINT64_MAX) + (part->count != UINT64_MAX) +
                   (part->tensors != UINT64_MAX));
    if (part->number != UINT64_MAX)
        gguf_entry(&f, "split.no", GGUF_U16, part->number, 2);
    if (part->count != UINT64_MAX)
        gguf_entry(&f, "split.count", GGUF_U16, part->count, 2);
    if (part->tensors != UINT64_MAX)
        gguf_entry(&f, "split.tensors.count", GGUF_I32, part->tensors, 4);
    gguf_entry(&f, "of", GGUF_U16, part->number, 2);
    gguf_tensor(&f, part->first, 1, extents, 24, 0);
    gguf_tensor(&f, second, 1, extents, 24, 32);
    gguf_data(&f, 32, 64);
    gguf_write(&f, path);
    gguf_free(&f);
}

/* All parts as they have to be. */
static void write_parts(void)
{
    static const char *const names[] = {"z", "y", "x"};
    unsigned i;

    for (i = 0; i < PARTS; i++)
        write_part(part_path(i + 1), &(struct part){i, PARTS, 2 * PARTS, names[i]});
}

static void expect_whole(const char *path)
{
    static const char *const names[] = {"z", "b0", "y", "b1", "x", "b2"};
    struct checkpoint *c;
    char text[INPUT_ERROR_TEXT_BYTES];
    unsigned i;

    if (checkpoint_open(path, &c, &g_error))
        fail_msg("%s: %s", path, input_error_format(&g_error, text, sizeof(text)));
    assert_int_equal(c->format, CHECKPOINT_GGUF);
    assert_int_equal(c->file_count, PARTS);
    assert_int_equal(c->tensor_count, 2 * PARTS);
    assert_int_equal(c->storage_count, 2 * PARTS);
    assert_int_equal(c->total_bytes, 2 * PARTS * 16);
    for (i = 0; i < 2 * PARTS; i++) {
        assert_string_equal(c->tensors[i].name, names[i]);
        assert_int_equal(c->tensors[i].file, i / 2);
    }
    for (i = 0; i < PARTS; i++)
        assert_non_null(strstr(c->files[i].path, part_path(i + 1)));
    assert_string_equal(checkpoint_metadata(c, "split.no"), "0");
    assert_string_equal(checkpoint_metadata(c, "of"), "0");
    checkpoint_close(c);
}

static void expect_refused(const char *path, int code, const char *want)
{
    struct checkpoint *c = NULL;

    assert_int_equal(checkpoint_open(path, &c, &g_error), code);
    assert_string_equal(input_error_format(&g_error, g_line, sizeof(g_line)), want);
    assert_null(c);
}

static void any_part_is_all(void **state)
{
    char path[128];
    unsigned i;

    (void)state;
    write_parts();
    for (i = 1; i <= PARTS; i++) {
        expect_whole(part_path(i));
        snprintf(path, sizeof(path), "%s/%s", g_folder, part_path(i));
        expect_whole(path);
    }
    expect_whole(".");
    expect_whole(g_folder);
}

/* The shim meets files one by one, and gets one by one what they hold. */
static void a_descriptor_is_one_part(void **state)
{
    struct checkpoint *c;
    int fd;

    (void)state;
    write_parts();
    fd = open(part_path(2), O_RDONLY);
    assert_int_equal(checkpoint_open_fd(fd, "anything", &c, &g_error), 0);
    assert_int_equal(c->file_count, 1);
    assert_int_equal(c->tensor_count, 2);
    assert_string_equal(c->tensors[0].name, "y");
    assert_string_equal(checkpoint_metadata(c, "split.no"), "1");
    checkpoint_close(c);
    close(fd);
}

static void a_part_is_missing(void **state)
{
    (void)state;
    write_parts();
    assert_int_equal(unlink(part_path(2)), 0);
    expect_refused(part_path(1), -ENOENT,
                   "m-00002-of-00003.gguf: expected part 2 of 3 beside the others, found no such "
                   "file");
    expect_refused(part_path(3), -ENOENT,
                   "m-00002-of-00003.gguf: expected part 2 of 3 beside the others, found no such "
                   "file");
    expect_refused(".", -ENOENT,
                   "./m-00002-of-00003.gguf: expected part 2 of 3 beside the others, found no such "
                   "file");
    write_parts();
    assert_int_equal(unlink(part_path(1)), 0);
    expect_refused(part_path(2), -ENOENT,
                   "m-00001-of-00003.gguf: expected part 1 of 3 beside the others, found no such "
                   "file");
}

static void a_part_says_otherwise(void **state)
{
    (void)state;
    write_parts();
    write_part(part_path(2), &(struct part){1, 4, 6, "y"});
    expect_refused(part_path(1), -EINVAL,
                   "m-00002-of-00003.gguf: expected part 2 of 3, as the file is called, found "
                   "split.no 1 and split.count 4 in it");
    expect_refused(part_path(2), -EINVAL,
                   "m-00002-of-00003.gguf: expected part 2 of 3, as the file is called, found "
                   "split.no 1 and split.count 4 in it");
    write_part(part_path(2), &(struct part){2, 3, 6, "y"});
    expect_refused(part_path(3), -EINVAL,
                   "m-00002-of-00003.gguf: expected part 2 of 3, as the file is called, found "
                   "split.no 2 and split.count 3 in it");
    write_part(part_path(2), &(struct part){UINT64_MAX, UINT64_MAX, UINT64_MAX, "y"});
    expect_refused(part_path(2), -EINVAL,
                   "m-00002-of-00003.gguf: expected part 2 of 3, as the file is called, found "
                   "split.no 0 and split.count 0 in it");
    write_part(part_path(2), &(struct part){1, 3, 7, "y"});
    expect_whole(part_path(1));
    expect_refused(part_path(2), -EINVAL,
                   "m-00002-of-00003.gguf: expected as many tensors in all parts as "
                   "split.tensors.count says, found 6 instead of 7");
}

static void a_part_is_no_gguf_file(void **state)
{
    static const char other[] = "\2\0\0\0\0\0\0\0{}";
    FILE *file;

    (void)state;
    write_parts();
    file = fopen(part_path(3), "wb");
    assert_int_equal(fwrite(other, 1, 10, file), 10);
    assert_int_equal(fclose(file), 0);
    expect_refused(part_path(1), -EINVAL,
                   "m-00003-of-00003.gguf: expected a gguf file like the others, found a "
                   "safetensors file");
    assert_int_equal(truncate(part_path(3), 9), 0);
    expect_refused(part_path(1), -EINVAL,
                   "m-00003-of-00003.gguf: byte 0: expected a GGUF file, which begins with "
                   "\"GGUF\", found other bytes");
}

static void a_tensor_in_two_parts(void **state)
{
    (void)state;
    write_parts();
    write_part(part_path(3), &(struct part){2, 3, 6, "y"});
    expect_refused(part_path(1), -EINVAL,
                   "m-00001-of-00003.gguf: y: expected every tensor once, found it in "
                   "m-00002-of-00003.gguf and in m-00003-of-00003.gguf");
}

static void names_of_one_file(void **state)
{
    struct checkpoint *c;

    (void)state;
    write_part("one.gguf", &(struct part){0, 1, 2, "a"});
    assert_int_equal(checkpoint_open("one.gguf", &c, &g_error), 0);
    assert_int_equal(c->file_count, 1);
    checkpoint_close(c);
    write_part("one-00001-of-00001.gguf", &(struct part){UINT64_MAX, UINT64_MAX, UINT64_MAX, "a"});
    assert_int_equal(checkpoint_open("one-00001-of-00001.gguf", &c, &g_error), 0);
    checkpoint_close(c);
    write_part("one.gguf", &(struct part){1, 3, 6, "a"});
    expect_refused("one.gguf", -EINVAL,
                   "one.gguf: expected a name that ends like -00001-of-00003.gguf, for the file is "
                   "one part of a checkpoint, found part 2 of 3");
}

static void names_of_parts(void **state)
{
    static const char *const good[] = {"m-00002-of-00003.gguf", "-00002-of-00003.gguf",
                                       "/x/y-00001-of-00002-00002-of-00003.gguf"};
    static const char *const bad[] = {
        "m-0002-of-0003.gguf",   "m-00002-of-00003.GGUF",  "m-00002-of-00003",
        "m-0000x-of-00003.gguf", "m-00002-or-00003.gguf",  "m_00002-of-00003.gguf",
        "00002-of-00003.gguf",   "m-00004-of-00003.gguf",  "m-00000-of-00003.gguf",
        "m-00002-of-0000-.gguf", "m-00002-of-00003.gguf.", "",
    };
    const struct gguf_split split = {.number = 1, .count = 3}, whole = {0};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(gguf_split_check(good[i], &split, &g_error), 0);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(gguf_split_check(bad[i], &split, &g_error), -EINVAL);
        assert_int_equal(gguf_split_check(bad[i], &whole, &g_error), 0);
    }
}

static void negative_numbers(void **state)
{
    struct checkpoint *c;
    struct gguf_file f;

    (void)state;
    gguf_begin(&f, 3, 0, 1);
    gguf_entry(&f, "split.count", GGUF_I8, 0xFF, 1);
    gguf_write(&f, "one.gguf");
    gguf_free(&f);
    expect_refused("one.gguf", -EINVAL,
                   "one.gguf: byte 47: split.count: expected a number from 0 on, found -1");
    gguf_begin(&f, 3, 0, 1);
    gguf_key(&f, "split.count", GGUF_STRING);
    gguf_string(&f, "3");
    gguf_write(&f, "one.gguf");
    gguf_free(&f);
    assert_int_equal(checkpoint_open("one.gguf", &c, &g_error), 0);
    checkpoint_close(c);
}

static int enter_folder(void **state)
{
    (void)state;
    return !mkdtemp(g_folder) || chdir(g_folder);
}

static int empty_folder(void **state)
{
    unsigned i;

    (void)state;
    for (i = 1; i <= PARTS; i++)
        unlink(part_path(i));
    unlink("one.gguf");
    unlink("one-00001-of-00001.gguf");
    return 0;
}

static int leave_folder(void **state)
{
    (void)state;
    return chdir("/") || rmdir(g_folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(any_part_is_all, empty_folder),
        cmocka_unit_test_teardown(a_descriptor_is_one_part, empty_folder),
        cmocka_unit_test_teardown(a_part_is_missing, empty_folder),
        cmocka_unit_test_teardown(a_part_says_otherwise, empty_folder),
        cmocka_unit_test_teardown(a_part_is_no_gguf_file, empty_folder),
        cmocka_unit_test_teardown(a_tensor_in_two_parts, empty_folder),
        cmocka_unit_test_teardown(names_of_one_file, empty_folder),
        cmocka_unit_test_teardown(names_of_parts, empty_folder),
        cmocka_unit_test_teardown(negative_numbers, empty_folder),
    };

    return cmocka_run_group_tests_name("gguf_split", tests, enter_folder, leave_folder);
}
