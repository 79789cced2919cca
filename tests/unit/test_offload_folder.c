/* Strategy: the folder that accelerate wrote is read and every weight's bytes compared by SHA-256.
 * Then small folders are made, one for every way in which what is there can contradict the index:
 * files that lack, are too long or too short, are links or no files at all, and pointers into
 * safetensors files that are not what the index says. Indexes are written with ' for ".
 */
#include "checkpoint.h"
#include "data.h"
#include "sha256.h"
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct input_error g_error;
static char g_line[INPUT_ERROR_TEXT_BYTES];
static char g_folder[64]; /* of one test; other/ and off/ are in it */
static char g_home[4096];

static int make_folder(void **state)
{
    (void)state;
    assert_non_null(getcwd(g_home, sizeof(g_home)));
    strcpy(g_folder, "/tmp/berth-offload-XXXXXX");
    assert_non_null(mkdtemp(g_folder));
    assert_int_equal(chdir(g_folder), 0);
    assert_int_equal(mkdir("off", 0777), 0);
    assert_int_equal(mkdir("other", 0777), 0);
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static int remove_folder(void **state)
{
    (void)state;
    assert_int_equal(chdir(g_home), 0);
    return nftw(g_folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void write_file(const char *path, const void *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static void write_index(const char *text)
{
    char *copy = strdup(text), *at;

    for (at = copy; (at = strchr(at, '\''));)
        *at = '"';
    write_file("off/index.json", copy, strlen(copy));
    free(copy);
}

/* A safetensors file with a, two F32; b, four I8; half of a under the name of v. */
static void write_safetensors(const char *path, unsigned fill)
{
    static const char header[] =
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
        "\"b\":{\"dtype\":\"I8\",\"shape\":[2,2],\"data_offsets\":[8,12]},"
        "\"x/y\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[12,14]}}";
    char file[8 + sizeof(header) - 1 + 14] = {(char)(sizeof(header) - 1)};

    assert_true(sizeof(header) - 1 < 256);
    memcpy(file + 8, header, sizeof(header) - 1);
    memset(file + 8 + sizeof(header) - 1, (int)fill, 14);
    write_file(path, file, sizeof(file));
}

static struct checkpoint *expect_read(const char *path)
{
    struct checkpoint *c = NULL;

    if (checkpoint_open(path, &c, &g_error))
        fail_msg("%s", input_error_format(&g_error, g_line, sizeof(g_line)));
    assert_int_equal(c->format, CHECKPOINT_OFFLOAD);
    return c;
}

static void expect_refused(int code, const char *want)
{
    struct checkpoint *c = NULL;
    int res = checkpoint_open("off", &c, &g_error);

    input_error_format(&g_error, g_line, sizeof(g_line));
    if (res != code || strcmp(g_line, want) != 0)
        fail_msg("%d: got: %s\nwanted: %s", res, g_line, want);
    assert_null(c);
}

static void check_golden(const struct checkpoint *c, const cJSON *want)
{
    const struct tensor *t = &c->tensors[checkpoint_find_name(c, want->string)];
    const cJSON *extent, *shape = cJSON_GetObjectItem(want, "shape");
    char hex[SHA256_HEX_BYTES], name[128];
    size_t bytes, rank = 0;
    char *data;

    assert_string_equal(dtype_name(t->dtype), cJSON_GetObjectItem(want, "dtype")->valuestring);
    cJSON_ArrayForEach(extent, shape)
    {
        assert_true(rank < t->rank);
        assert_int_equal(t->shape[rank++], extent->valueint);
    }
    assert_int_equal(rank, t->rank);
    snprintf(name, sizeof(name), "files/offload/%s.dat", want->string);
    assert_string_equal(c->files[t->file].path, data_path(name));
    data = data_read(name, &bytes);
    assert_int_equal(t->bytes, cJSON_GetObjectItem(want, "bytes")->valueint);
    assert_int_equal(t->offset + t->bytes, bytes);
    assert_string_equal(sha256_hex(data + t->offset, t->bytes, hex),
                        cJSON_GetObjectItem(want, "sha256")->valuestring);
    free(data);
}

static void golden_folder(void **state)
{
    static const char *const first[] = {"embed.weight", "layers.0.attn.weight",
                                        "layers.0.attn.bias", "layers.0.scale"};
    char *list = data_read("files/files.json", NULL);
    cJSON *root = cJSON_Parse(list);
    const cJSON *want, *wants = cJSON_GetObjectItem(root, "offload");
    struct checkpoint *c = expect_read(data_path("files/offload"));
    size_t count = 0, i;

    (void)state;
    cJSON_ArrayForEach(want, wants)
    {
        check_golden(c, want);
        count++;
    }
    assert_int_equal(count, 22);
    assert_int_equal(c->tensor_count, count);
    for (i = 0; i < 4; i++)
        assert_string_equal(c->tensors[i].name, first[i]);
    checkpoint_close(c);

    c = expect_read(data_path("files/offload/index.json"));
    assert_int_equal(c->tensor_count, count);
    checkpoint_close(c);
    cJSON_Delete(root);
    free(list);
}

static void files_and_pointers(void **state)
{
    struct checkpoint *c;
    const uint32_t *members;
    size_t cursor = 0;

    (void)state;
    write_safetensors("off/m.safetensors", 7);
    write_file("off/w.dat", "12345678", 8);
    write_file("off/empty.dat", "", 0);
    write_file("off/empty1.dat", "", 1);
    write_index("{'z':{'safetensors_file':'off/m.safetensors','weight_name':'b','dtype':'int8'},"
                "'w':{'dtype':'int64','shape':[]},"
                "'empty':{'dtype':'float32','shape':[0,4]},'empty1':{'dtype':'int8','shape':[0]},"
                "'a':{'safetensors_file':'off/m.safetensors','shape':[2]},"
                "'b/c':{'safetensors_file':'off/m.safetensors','weight_name':'b'},"
                "'4':{'safetensors_file':'off/m.safetensors','weight_name':'x/y','shape':[2],"
                "'dtype':'float4_e2m1fn_x2'}}");
    c = expect_read("off");
    assert_int_equal(c->tensor_count, 7);
    assert_string_equal(c->tensors[0].name, "z");
    assert_int_equal(c->tensors[0].dtype, DTYPE_I8);
    assert_int_equal(c->tensors[0].rank, 2);
    assert_int_equal(c->tensors[0].offset, c->files[c->tensors[0].file].data_offset + 8);
    assert_string_equal(c->files[c->tensors[0].file].path, "off/m.safetensors");
    assert_string_equal(c->files[c->tensors[1].file].path, "off/w.dat");
    assert_int_equal(c->tensors[1].bytes, 8);
    assert_int_equal(c->tensors[1].rank, 0);
    assert_int_equal(c->tensors[2].bytes, 0);
    assert_int_equal(c->tensors[3].bytes, 0);
    assert_string_equal(c->tensors[4].name, "a");
    assert_int_equal(c->tensors[4].dtype, DTYPE_F32);
    assert_string_equal(c->tensors[5].name, "b/c");
    assert_int_equal(c->tensors[6].dtype, DTYPE_F4);
    assert_int_equal(c->tensors[6].shape[0], 4);
    assert_int_equal(checkpoint_next_tied(c, &cursor, &members), 2);
    assert_int_equal(members[0], 0);
    assert_int_equal(members[1], 5);
    checkpoint_close(c);
}

static void where_relative_paths_lead(void **state)
{
    struct checkpoint *c;

    (void)state;
    write_index("{'a':{'safetensors_file':'m.safetensors'}}");
    expect_refused(-ENOENT, "m.safetensors: expected a readable checkpoint file, found \"No such "
                            "file or directory\"");
    write_safetensors("off/m.safetensors", 1);
    c = expect_read("off");
    assert_string_equal(c->files[0].path, "off/m.safetensors");
    checkpoint_close(c);

    write_safetensors("m.safetensors", 2);
    expect_refused(-EINVAL, "m.safetensors: expected a path that is clear: an absolute one, found "
                            "one file there from the working directory and another from the "
                            "folder");
    assert_int_equal(unlink("off/m.safetensors"), 0);
    c = expect_read("off");
    assert_string_equal(c->files[0].path, "m.safetensors");
    checkpoint_close(c);
    assert_int_equal(link("m.safetensors", "off/m.safetensors"), 0);
    checkpoint_close(expect_read("off"));
}

static void bad_pointers(void **state)
{
    static const struct {
        const char *entry, *want;
    } rows[] = {
        {"'safetensors_file':'other/m','weight_name':'nothing'",
         "other/m: w: expected the tensor that the index points to, found no \"nothing\""},
        {"'safetensors_file':'other/m'",
         "other/m: w: expected the tensor that the index points to, found no \"w\""},
        {"'safetensors_file':'other/m','weight_name':'a','dtype':'float16'",
         "other/m: w: expected the dtype that the index says, found F32 instead of float16"},
        {"'safetensors_file':'other/m','weight_name':'b','shape':[4]",
         "other/m: w: expected the shape that the index says, found another"},
        {"'safetensors_file':'other/m','weight_name':'a','shape':[3]",
         "other/m: w: expected the shape that the index says, found another"},
        {"'safetensors_file':'other/short'",
         "other/short: byte 0: expected a safetensors file: 8 bytes or more, found 5"},
        {"'safetensors_file':'other'",
         "other: expected a checkpoint file such as model.safetensors, found a folder"},
        {"'safetensors_file':'other/fifo'",
         "other/fifo: expected a checkpoint file such as model.safetensors, found no regular file"},
    };
    size_t i;

    (void)state;
    write_safetensors("other/m", 1);
    write_file("other/short", "12345", 5);
    assert_int_equal(mkfifo("other/fifo", 0666), 0);
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char index[256];

        snprintf(index, sizeof(index), "{'w':{%s}}", rows[i].entry);
        write_index(index);
        expect_refused(strstr(rows[i].want, "a folder") ? -EISDIR : -EINVAL, rows[i].want);
    }
}

static void bad_files(void **state)
{
    (void)state;
    write_index("{'w':{'dtype':'bfloat16','shape':[3]}}");
    expect_refused(-ENOENT, "off/w.dat: w: expected a readable checkpoint file, found \"No such "
                            "file or directory\"");
    write_file("off/w.dat", "12345", 5);
    expect_refused(-EINVAL,
                   "off/w.dat: w: expected 6 bytes of bfloat16, as the index says, found 5");
    write_file("off/w.dat", "1234567", 7);
    expect_refused(-EINVAL,
                   "off/w.dat: w: expected 6 bytes of bfloat16, as the index says, found 7");
    write_index("{'w':{'dtype':'int8','shape':[0]}}");
    write_file("off/w.dat", "12", 2);
    expect_refused(-EINVAL, "off/w.dat: w: expected 0 bytes of int8, as the index says, found 2");
    assert_int_equal(unlink("off/w.dat"), 0);
    assert_int_equal(mkdir("off/w.dat", 0777), 0);
    expect_refused(-EINVAL, "off/w.dat: w: expected a weight's file, found no regular file");
    assert_int_equal(rmdir("off/w.dat"), 0);
    assert_int_equal(mkfifo("off/w.dat", 0666), 0);
    expect_refused(-EINVAL, "off/w.dat: w: expected a weight's file, found no regular file");
}

static void links(void **state)
{
    (void)state;
    write_index("{'w':{'dtype':'int8','shape':[2]}}");
    write_file("off/blob", "12", 2);
    write_file("other/blob", "34", 2);
    assert_int_equal(symlink("blob", "off/w.dat"), 0);
    checkpoint_close(expect_read("off"));
    assert_int_equal(unlink("off/w.dat"), 0);
    assert_int_equal(symlink("../other/blob", "off/w.dat"), 0);
    expect_refused(-EINVAL, "off/w.dat: w: expected a file inside the folder, found a link that "
                            "leads out of it");
    assert_int_equal(unlink("off/w.dat"), 0);
    assert_int_equal(symlink("/etc/hostname", "off/w.dat"), 0);
    expect_refused(-EINVAL, "off/w.dat: w: expected a file inside the folder, found a link that "
                            "leads out of it");
}

static void what_is_a_folder(void **state)
{
    struct checkpoint *c = NULL;

    (void)state;
    /* Where there is a model beside it that it does not point into, nobody guesses. */
    write_index("{'a':{'safetensors_file':'off/m.safetensors'}}");
    write_safetensors("off/m.safetensors", 1);
    checkpoint_close(expect_read("off"));
    write_safetensors("off/n.safetensors", 1);
    expect_refused(-EINVAL,
                   "off: expected a folder with one checkpoint, or the path of the one that "
                   "is meant, found 2: index.json, n.safetensors");

    write_index("{}");
    assert_int_equal(unlink("off/m.safetensors"), 0);
    assert_int_equal(unlink("off/n.safetensors"), 0);
    c = expect_read("off");
    assert_int_equal(c->tensor_count, 0);
    checkpoint_close(c);

    write_index("{'w':7}");
    expect_refused(-EINVAL, "off/index.json:1:2: w: expected an object with dtype and shape, or a "
                            "safetensors_file, found 7");
    /* The same under another name is known by its content. */
    write_file("off/w.dat", "1", 1);
    write_index("{'w':{'dtype':'int8','shape':[1]}}");
    assert_int_equal(rename("off/index.json", "off/list.json"), 0);
    checkpoint_close(expect_read("off/list.json"));
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_folder),
        IN_FOLDER(files_and_pointers),
        IN_FOLDER(where_relative_paths_lead),
        IN_FOLDER(bad_pointers),
        IN_FOLDER(bad_files),
        IN_FOLDER(links),
        IN_FOLDER(what_is_a_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
