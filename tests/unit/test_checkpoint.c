/* Strategy: tables of tensors are built by hand through the builder, also with what no safetensors
 * file can hold (tied tensors, views, several files), and every look-up is compared with a search
 * through the whole table. Identification, the refusal of what is no checkpoint, and the comparison
 * of a changed file go through real files in a temporary folder.
 */
#include "checkpoint_build.h"
#include "data.h"
#include "readable.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct input_error g_error;
static char g_line[INPUT_ERROR_TEXT_BYTES];

static const char *line(void)
{
    return input_error_format(&g_error, g_line, sizeof(g_line));
}

static void add_stored(struct checkpoint_builder *b, const char *name, uint32_t file,
                       uint64_t offset, uint64_t bytes, uint32_t storage)
{
    const uint64_t shape[] = {bytes, 1};
    const struct tensor tensor = {.name = name,
                                  .name_bytes = (uint32_t)strlen(name),
                                  .shape = shape,
                                  .rank = 2,
                                  .file = file,
                                  .offset = offset,
                                  .bytes = bytes,
                                  .storage = storage,
                                  .dtype = DTYPE_U8};

    assert_int_equal(checkpoint_builder_add_tensor(b, &tensor), 0);
}

static void add(struct checkpoint_builder *b, const char *name, uint32_t file, uint64_t offset,
                uint64_t bytes)
{
    add_stored(b, name, file, offset, bytes, STORAGE_OWN);
}

static void begin(struct checkpoint_builder *b, size_t files)
{
    struct stat status = {.st_dev = 5, .st_size = 1000};
    size_t i, index;

    assert_int_equal(checkpoint_builder_begin(b, CHECKPOINT_SAFETENSORS), 0);
    for (i = 0; i < files; i++) {
        status.st_ino = 100 + i;
        assert_int_equal(checkpoint_builder_add_file(b, "shard", &status, &index), 0);
        assert_int_equal(index, i);
    }
}

static struct checkpoint *finish(struct checkpoint_builder *b)
{
    struct checkpoint *c = NULL;

    input_error_clear(&g_error);
    assert_int_equal(checkpoint_builder_finish(b, &c, &g_error), 0);
    return c;
}

/* The rule of checkpoint_find_offset(), the slow way. */
static void expect_found(const struct checkpoint *c, size_t file, uint64_t offset)
{
    size_t got = checkpoint_find_offset(c, file, offset), i;

    for (i = 0; i < c->tensor_count; i++) {
        const struct tensor *t = &c->tensors[i];

        if (t->file == file && offset >= t->offset && offset - t->offset < t->bytes)
            break;
    }
    if (i == c->tensor_count) {
        if (got != CHECKPOINT_NONE)
            fail_msg("file %zu, byte %zu: %zu, where nothing is", file, (size_t)offset, got);
    } else if (got == CHECKPOINT_NONE || c->tensors[got].file != file ||
               offset - c->tensors[got].offset >= c->tensors[got].bytes) {
        fail_msg("file %zu, byte %zu: tensor %zu", file, (size_t)offset, got);
    }
}

static void nothing_at_all(void **state)
{
    struct checkpoint_builder b;
    struct checkpoint *c;
    const uint32_t *members;
    size_t cursor = 0;

    (void)state;
    begin(&b, 0);
    c = finish(&b);
    assert_int_equal(c->tensor_count, 0);
    assert_int_equal(c->total_bytes, 0);
    assert_int_equal(checkpoint_find_name(c, ""), CHECKPOINT_NONE);
    assert_int_equal(checkpoint_find_offset(c, 0, 0), CHECKPOINT_NONE);
    assert_int_equal(checkpoint_by_location(c, 0), CHECKPOINT_NONE);
    assert_int_equal(checkpoint_find_file(c, 5, 100), CHECKPOINT_NONE);
    assert_int_equal(checkpoint_next_tied(c, &cursor, &members), 0);
    checkpoint_close(c);
    checkpoint_close(NULL);
}

static void by_name(void **state)
{
    static const char *const names[] = {"b", "a.weight", "", "a", "a.weigh", "c", "\xc3\xbc", "B"};
    struct checkpoint_builder b;
    struct checkpoint *c;
    size_t i;

    (void)state;
    begin(&b, 1);
    for (i = 0; i < 8; i++)
        add(&b, names[i], 0, 10 * i, 10);
    c = finish(&b);
    for (i = 0; i < 8; i++) {
        assert_int_equal(checkpoint_find_name(c, names[i]), i);
        assert_string_equal(c->tensors[i].name, names[i]);
        assert_int_equal(c->tensors[i].shape[0], 10);
        assert_int_equal(c->tensors[i].shape[1], 1);
        assert_null(c->tensors[i].strides);
    }
    assert_int_equal(checkpoint_find_name(c, "a.weights"), CHECKPOINT_NONE);
    assert_int_equal(checkpoint_find_name(c, "d"), CHECKPOINT_NONE);
    checkpoint_close(c);
}

static void one_name_twice(void **state)
{
    struct checkpoint_builder b;
    struct checkpoint *c = NULL;

    (void)state;
    begin(&b, 2);
    add(&b, "x", 0, 0, 10);
    add(&b, "y", 0, 10, 10);
    add(&b, "x", 1, 0, 10);
    input_error_clear(&g_error);
    assert_int_equal(checkpoint_builder_finish(&b, &c, &g_error), -EINVAL);
    assert_string_equal(line(), "x: expected every tensor once, found it in shard and in shard");
    assert_null(c);
    assert_null(b.checkpoint);

    begin(&b, 1);
    add(&b, "x", 0, 0, 10);
    add(&b, "x", 0, 10, 10);
    input_error_clear(&g_error);
    assert_int_equal(checkpoint_builder_finish(&b, &c, &g_error), -EINVAL);
    assert_string_equal(line(), "x: expected every tensor once, found it twice");
}

static void by_offset_without_overlap(void **state)
{
    struct checkpoint_builder b;
    struct checkpoint *c;
    uint64_t offset;
    size_t file, rank;

    (void)state;
    begin(&b, 3);
    add(&b, "c", 2, 50, 10);
    add(&b, "b", 0, 30, 5);
    add(&b, "a", 0, 8, 20);
    add(&b, "empty", 0, 28, 0);
    add(&b, "d", 2, 60, 1);
    add(&b, "e", 2, 40, 10);
    c = finish(&b);
    assert_int_equal(c->total_bytes, 46);
    assert_false(c->has_views);
    for (file = 0; file < 4; file++) {
        for (offset = 0; offset < 70; offset++)
            expect_found(c, file, offset);
    }
    assert_int_equal(checkpoint_find_offset(c, 0, 8), 2);
    assert_int_equal(checkpoint_find_offset(c, 0, UINT64_MAX), CHECKPOINT_NONE);
    for (rank = 0; rank < 6; rank++) {
        static const size_t order[] = {2, 1, 5, 0, 4, CHECKPOINT_NONE};

        assert_true(checkpoint_by_location(c, rank) == order[rank]);
    }
    checkpoint_close(c);
}

static void tied_and_views(void **state)
{
    struct checkpoint_builder b;
    struct checkpoint *c;
    const uint32_t *members;
    uint64_t offset;
    size_t cursor = 0, i;

    (void)state;
    begin(&b, 2);
    add(&b, "lm_head", 0, 100, 50);
    add(&b, "storage", 0, 0, 90);
    add(&b, "embed", 0, 100, 50);
    add(&b, "view", 0, 10, 5);
    add(&b, "longer view", 0, 10, 7);
    add(&b, "view2", 0, 10, 5);
    add(&b, "view3", 0, 12, 6);
    add(&b, "elsewhere", 1, 100, 50);
    add(&b, "none", 1, 100, 0);
    add(&b, "none2", 1, 100, 0);
    c = finish(&b);
    assert_true(c->has_views);
    assert_int_equal(c->total_bytes, 190);
    for (offset = 0; offset < 170; offset++) {
        expect_found(c, 0, offset);
        expect_found(c, 1, offset);
    }
    assert_int_equal(checkpoint_find_offset(c, 0, 149), 0);
    assert_int_equal(checkpoint_find_offset(c, 0, 11), 3);
    assert_int_equal(checkpoint_find_offset(c, 0, 89), 1);

    assert_int_equal(checkpoint_next_tied(c, &cursor, &members), 2);
    assert_int_equal(members[0], 0);
    assert_int_equal(members[1], 2);
    assert_int_equal(checkpoint_next_tied(c, &cursor, &members), 5);
    for (i = 0; i < 5; i++) {
        static const uint32_t storage[] = {1, 3, 4, 5, 6};

        assert_int_equal(members[i], storage[i]);
    }
    assert_int_equal(checkpoint_next_tied(c, &cursor, &members), 0);
    assert_int_equal(c->storage_count, 5);
    assert_int_equal(c->tensors[2].storage, 0);
    assert_int_equal(c->tensors[6].storage, 1);
    assert_int_equal(c->tensors[7].storage, 2);
    assert_int_equal(c->tensors[9].storage, 4);
    checkpoint_close(c);
}

/* What a reader says is one storage is so without a byte in common, over several files, and drags
 * along what overlaps with any of it. */
static void storages_of_the_reader(void **state)
{
    struct checkpoint_builder b;
    struct checkpoint *c;
    const uint32_t *members;
    uint32_t first, second;
    size_t cursor = 0;

    (void)state;
    begin(&b, 2);
    add(&b, "alone", 0, 0, 10);
    first = checkpoint_builder_add_storage(&b);
    second = checkpoint_builder_add_storage(&b);
    assert_int_not_equal(first, second);
    add_stored(&b, "second", 1, 0, 10, second);
    add_stored(&b, "head", 0, 20, 10, first);
    add(&b, "between", 0, 30, 10);
    add_stored(&b, "tail", 0, 40, 10, first);
    add(&b, "in the tail", 0, 45, 5);
    add_stored(&b, "nothing", 0, 40, 0, second);
    c = finish(&b);
    assert_int_equal(c->storage_count, 4);
    assert_int_equal(checkpoint_next_tied(c, &cursor, &members), 2);
    assert_int_equal(members[0], 1);
    assert_int_equal(members[1], 6);
    assert_int_equal(checkpoint_next_tied(c, &cursor, &members), 3);
    assert_int_equal(members[0], 2);
    assert_int_equal(members[1], 4);
    assert_int_equal(members[2], 5);
    assert_int_equal(checkpoint_next_tied(c, &cursor, &members), 0);
    assert_int_equal(c->tensors[0].storage, 0);
    assert_int_equal(c->tensors[1].storage, 1);
    assert_int_equal(c->tensors[4].storage, 2);
    assert_int_equal(c->tensors[3].storage, 3);
    checkpoint_close(c);
}

static void what_a_dense_copy_takes(void **state)
{
    static const uint64_t shape[] = {4, 3}, strides[] = {6, 1};
    const struct tensor tensor = {.name = "view",
                                  .name_bytes = 4,
                                  .rank = 2,
                                  .shape = shape,
                                  .strides = strides,
                                  .bytes = 42,
                                  .dtype = DTYPE_BF16};

    (void)state;
    assert_int_equal(tensor_dense_bytes(&tensor), 24);
}

static void tied_is_no_view(void **state)
{
    struct checkpoint_builder b;
    struct checkpoint *c;

    (void)state;
    begin(&b, 1);
    add(&b, "a", 0, 0, 10);
    add(&b, "b", 0, 0, 10);
    add(&b, "c", 0, 10, 10);
    c = finish(&b);
    assert_false(c->has_views);
    assert_int_equal(c->total_bytes, 20);
    checkpoint_close(c);
}

static void many_tensors_in_little_memory(void **state)
{
    struct checkpoint_builder b;
    struct checkpoint *c;
    char name[100];
    size_t i;

    (void)state;
    begin(&b, 1);
    for (i = 0; i < 20000; i++) {
        snprintf(name, sizeof(name), "model.layers.%zu.self_attn.q_proj.weight", i * 7919 % 20000);
        add(&b, name, 0, i * 64, 64);
    }
    memset(name, 'x', sizeof(name));
    c = finish(&b);
    for (i = 0; i < 20000; i++) {
        snprintf(name, sizeof(name), "model.layers.%zu.self_attn.q_proj.weight", i * 7919 % 20000);
        assert_int_equal(checkpoint_find_name(c, name), i);
        assert_int_equal(checkpoint_find_offset(c, 0, i * 64 + 63), i);
    }
    assert_int_equal(sizeof(struct tensor), 56);
    checkpoint_close(c);
}

static void longer_than_a_chunk(void **state)
{
    struct checkpoint_builder b;
    struct checkpoint *c;
    char *name = malloc(200001);
    uint64_t strides[] = {1, 5};

    (void)state;
    memset(name, 'n', 200000);
    name[200000] = '\0';
    begin(&b, 1);
    add(&b, "small", 0, 0, 1);
    add(&b, name, 0, 1, 1);
    add(&b, "strided", 0, 2, 1);
    {
        const struct tensor tensor = {.name = "transposed",
                                      .name_bytes = 10,
                                      .rank = 2,
                                      .shape = strides,
                                      .strides = strides};

        assert_int_equal(checkpoint_builder_add_tensor(&b, &tensor), 0);
        strides[0] = 99;
    }
    c = finish(&b);
    assert_int_equal(checkpoint_find_name(c, name), 1);
    assert_int_equal(checkpoint_find_name(c, "small"), 0);
    assert_int_equal(c->tensors[3].strides[0], 1);
    assert_int_equal(c->tensors[3].strides[1], 5);
    checkpoint_close(c);
    free(name);
}

static void identified_by_content(void **state)
{
    static const char good[] = "\x02\0\0\0\0\0\0\0{}";
    static const char large[] = "\0\xe1\xf5\x05\0\0\0\0{";
    static const char larger[] = "\x01\xe1\xf5\x05\0\0\0\0{";

    (void)state;
    assert_int_equal(checkpoint_identify(good, 10, 10), CHECKPOINT_SAFETENSORS);
    assert_int_equal(checkpoint_identify(good, 9, 10), CHECKPOINT_SAFETENSORS);
    assert_int_equal(checkpoint_identify(good, 8, 10), CHECKPOINT_UNKNOWN);
    assert_int_equal(checkpoint_identify(good, 0, 0), CHECKPOINT_UNKNOWN);
    assert_int_equal(checkpoint_identify(good, 10, 9), CHECKPOINT_UNKNOWN);
    assert_int_equal(checkpoint_identify("\x02\0\0\0\0\0\0\0[]", 10, 10), CHECKPOINT_UNKNOWN);
    assert_int_equal(checkpoint_identify(large, 9, 100000008), CHECKPOINT_SAFETENSORS);
    assert_int_equal(checkpoint_identify(large, 9, 100000007), CHECKPOINT_UNKNOWN);
    assert_int_equal(checkpoint_identify(larger, 9, UINT64_MAX), CHECKPOINT_UNKNOWN);
    assert_int_equal(checkpoint_identify("GGUF\3\0\0\0{", 9, UINT64_MAX), CHECKPOINT_GGUF);
    assert_int_equal(checkpoint_identify("GGUF", 3, 4), CHECKPOINT_UNKNOWN);
    assert_int_equal(checkpoint_identify("GGUf\3\0\0\0{", 9, 9), CHECKPOINT_UNKNOWN);
    assert_string_equal(checkpoint_format_name(CHECKPOINT_SAFETENSORS), "safetensors");
    assert_string_equal(checkpoint_format_name(CHECKPOINT_UNKNOWN), "unknown");
}

/* Write a file into the current folder, which is a temporary one. */
static void put(const char *name, const char *content, size_t bytes)
{
    FILE *file = fopen(name, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static void expect_refused(const char *path, int code, const char *want)
{
    struct checkpoint *c = NULL;

    assert_int_equal(checkpoint_open(path, &c, &g_error), code);
    assert_string_equal(line(), want);
    assert_null(c);
}

static void what_is_no_checkpoint(void **state)
{
    (void)state;
    put("empty", "", 0);
    put("x.gguf", "GGUF\3\0\0\0", 8);
    put("x.bin", "PK\3\4zip", 7);
    put("x.json", "{\"weight_map\":{}}", 17);
    put("x.so", "\177ELF....", 8);
    put("short", "abc", 3);
    put("text", "a text that is longer", 21);
    put("pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", 57);
    put("binary", "7654321\xff and more", 17);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    expect_refused("empty", -EINVAL, "empty: expected " READABLE ", found an empty file");
    expect_refused(
        "x.gguf", -EINVAL,
        "x.gguf: byte 8: expected a GGUF header that ends inside the file, found 8 bytes "
        "wanted where 0 are left");
    expect_refused("x.bin", -EINVAL,
                   "x.bin: expected " READABLE ", found a zip archive, but "
                   "none of PyTorch's");
    expect_refused("x.json", -EINVAL,
                   "x.json:1:2: expected a weight_map: an object of shards by parameter, found an "
                   "empty one");
    expect_refused("x.so", -EINVAL,
                   "x.so: expected " READABLE ", found an ELF program or "
                   "library");
    expect_refused("short", -EINVAL,
                   "short: byte 0: expected a safetensors file: 8 bytes or more, "
                   "found 3");
    expect_refused("text", -EINVAL, "text: expected " READABLE ", found text");
    expect_refused("pointer", -EINVAL,
                   "pointer: expected " READABLE ", found the pointer that Git LFS leaves for one "
                   "(git lfs pull fetches it)");
    expect_refused(
        "binary", -EINVAL,
        "binary: byte 0: expected a safetensors file, which begins with the length of its header, "
        "at most 100000000, found 18388533949031069239");
    expect_refused(
        "fifo", -EINVAL,
        "fifo: expected a checkpoint file such as model.safetensors, found no regular file");
    expect_refused("none", -ENOENT,
                   "none: expected a readable checkpoint file, found \"No such "
                   "file or directory\"");
}

static void the_file_is_remembered(void **state)
{
    static const char content[] = "\x02\0\0\0\0\0\0\0{}";
    struct checkpoint *c = NULL;
    struct stat status, other;
    char byte;
    int fd;

    (void)state;
    put("model", content, 10);
    fd = open("model", O_RDONLY);
    assert_int_equal(read(fd, &byte, 1), 1);
    assert_int_equal(unlink("model"), 0);
    assert_int_equal(checkpoint_open_fd(fd, "deleted", &c, &g_error), 0);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 1);
    assert_int_equal(fstat(fd, &status), 0);

    assert_string_equal(c->files[0].path, "deleted");
    assert_int_equal(c->files[0].bytes, 10);
    assert_int_equal(c->files[0].data_offset, 10);
    assert_int_equal(checkpoint_find_file(c, status.st_dev, status.st_ino), 0);
    assert_int_equal(checkpoint_find_file(c, status.st_dev + 1, status.st_ino), CHECKPOINT_NONE);
    assert_int_equal(checkpoint_find_file(c, status.st_dev, status.st_ino + 1), CHECKPOINT_NONE);

    assert_int_equal(checkpoint_file_compare(&c->files[0], &status), 0);
    other = status;
    other.st_mtim.tv_nsec ^= 1;
    assert_int_equal(checkpoint_file_compare(&c->files[0], &other), -ESTALE);
    other = status;
    other.st_mtim.tv_sec++;
    assert_int_equal(checkpoint_file_compare(&c->files[0], &other), -ESTALE);
    other = status;
    other.st_size++;
    assert_int_equal(checkpoint_file_compare(&c->files[0], &other), -ESTALE);
    other = status;
    other.st_ino++;
    assert_int_equal(checkpoint_file_compare(&c->files[0], &other), -ESTALE);
    other = status;
    other.st_dev++;
    assert_int_equal(checkpoint_file_compare(&c->files[0], &other), -ESTALE);
    checkpoint_close(c);
    close(fd);
}

static char g_folder[] = "/tmp/berth-test-XXXXXX";

static int enter_folder(void **state)
{
    (void)state;
    return !mkdtemp(g_folder) || chdir(g_folder);
}

static int leave_folder(void **state)
{
    static const char *const names[] = {"empty", "x.gguf", "x.bin",   "x.json", "x.so",
                                        "short", "text",   "pointer", "binary", "fifo"};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(names[i]);
    return chdir("/") || rmdir(g_folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_at_all),
        cmocka_unit_test(by_name),
        cmocka_unit_test(one_name_twice),
        cmocka_unit_test(by_offset_without_overlap),
        cmocka_unit_test(tied_and_views),
        cmocka_unit_test(storages_of_the_reader),
        cmocka_unit_test(what_a_dense_copy_takes),
        cmocka_unit_test(tied_is_no_view),
        cmocka_unit_test(many_tensors_in_little_memory),
        cmocka_unit_test(longer_than_a_chunk),
        cmocka_unit_test(identified_by_content),
        cmocka_unit_test(what_is_no_checkpoint),
        cmocka_unit_test(the_file_is_remembered),
    };

    return cmocka_run_group_tests_name("checkpoint", tests, enter_folder, leave_folder);
}
