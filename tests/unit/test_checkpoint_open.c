/* Strategy: folders of small crafted safetensors files in a temporary folder, one for each way to
 * name a checkpoint by a path and one for each reason to refuse it. Every error is compared as the
 * line that a user reads. JSON is written with ' for ", which no test needs otherwise.
 */
#include "checkpoint_build.h"
#include "data.h"
#include "readable.h"
#include <errno.h>
#include <ftw.h>
#include <malloc.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct input_error g_error;
static char g_line[INPUT_ERROR_TEXT_BYTES];

static const char *line(void)
{
    return input_error_format(&g_error, g_line, sizeof(g_line));
}

static void put(const char *name, const char *content, size_t bytes)
{
    FILE *file = fopen(name, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

/* Write a text; ' becomes ". */
static void put_text(const char *name, const char *text)
{
    char *copy = strdup(text);

    for (char *at = copy; (at = strchr(at, '\''));)
        *at = '"';
    put(name, copy, strlen(copy));
    free(copy);
}

/* Write a safetensors file with tensors of 4 bytes each; names are separated by spaces. */
static void put_shard(const char *name, const char *names)
{
    char header[1000] = "{", content[1100] = "", *words = strdup(names), *word, *rest = NULL;
    size_t count = 0, bytes;

    for (word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest), count++)
        sprintf(header + strlen(header),
                "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}",
                count ? "," : "", word, 4 * count, 4 * count + 4);
    strcat(header, "}");
    bytes = strlen(header);
    memcpy(content, &bytes, 8);
    memcpy(content + 8, header, bytes);
    put(name, content, 8 + bytes + 4 * count);
    free(words);
}

static struct checkpoint *expect_open(const char *path)
{
    struct checkpoint *c = NULL;

    if (checkpoint_open(path, &c, &g_error))
        fail_msg("%s", line());
    return c;
}

static void expect_refused(const char *path, int code, const char *want)
{
    struct checkpoint *c = NULL;

    assert_int_equal(checkpoint_open(path, &c, &g_error), code);
    assert_string_equal(line(), want);
    assert_null(c);
}

/* A folder of each test's own, which is the current one while it runs. */
static char g_folder[64];

static int enter(void **state)
{
    (void)state;
    strcpy(g_folder, "/tmp/berth-open-XXXXXX");
    return mkdtemp(g_folder) && chdir(g_folder) == 0 ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int leave(void **state)
{
    (void)state;
    return chdir("/") == 0 && nftw(g_folder, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0 ? 0 : -1;
}

#define TWO_SHARDS                                                                                 \
    "{'metadata':{'total_size':12.5},'weight_map':{'c':'m-2.safetensors','a':'m-1.safetensors',"   \
    "'b':'m-1.safetensors'}}"

static void put_two_shards(void)
{
    put_shard("m-1.safetensors", "b a");
    put_shard("m-2.safetensors", "c");
    put_text("m.safetensors.index.json", TWO_SHARDS);
}

/* Whichever way it is named, the files have the path beside the index as it was given. */
static void a_sharded_checkpoint(void **state)
{
    static const char *const paths[] = {"m.safetensors.index.json", "./m.safetensors.index.json",
                                        ".", "./"};
    static const char *const folders[] = {"", "./", "./", "./"};

    (void)state;
    put_two_shards();
    for (size_t i = 0; i < 4; i++) {
        struct checkpoint *c = expect_open(paths[i]);
        char want[64];

        assert_int_equal(c->format, CHECKPOINT_SAFETENSORS);
        assert_int_equal(c->tensor_count, 3);
        assert_int_equal(c->storage_count, 3);
        assert_int_equal(c->total_bytes, 12);
        assert_int_equal(c->file_count, 2);
        assert_string_equal(c->tensors[0].name, "b");
        assert_string_equal(c->tensors[1].name, "a");
        assert_string_equal(c->tensors[2].name, "c");
        assert_int_equal(c->tensors[1].file, 0);
        assert_int_equal(c->tensors[2].file, 1);
        snprintf(want, sizeof(want), "%sm-1.safetensors", folders[i]);
        assert_string_equal(c->files[0].path, want);
        snprintf(want, sizeof(want), "%sm-2.safetensors", folders[i]);
        assert_string_equal(c->files[1].path, want);
        checkpoint_close(c);
    }
}

/* Ten shards whose names have no leading zeros, listed in another order; one of them holds more
 * than the index says, which is nobody's fault. */
static void shards_in_the_order_of_their_numbers(void **state)
{
    char text[2000] = "{'weight_map':{", name[32], word[32];
    struct checkpoint *c;
    size_t i;

    (void)state;
    for (i = 10; i > 0; i--) {
        snprintf(name, sizeof(name), "m-%zu.safetensors", i);
        snprintf(word, sizeof(word), "t%zu%s", i, i == 4 ? " more" : "");
        put_shard(name, word);
        sprintf(text + strlen(text), "'t%zu':'%s'%s", i, name, i > 1 ? "," : "}}");
    }
    put_text("m.safetensors.index.json", text);
    c = expect_open("m.safetensors.index.json");
    assert_int_equal(c->tensor_count, 11);
    assert_string_equal(c->files[8].path, "m-9.safetensors");
    assert_string_equal(c->files[9].path, "m-10.safetensors");
    assert_string_equal(c->tensors[10].name, "t10");
    checkpoint_close(c);
}

static void what_an_index_may_not_say(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"{'weight_map':[]}",
         "x.json:1:2: expected a weight_map: an object of shards by parameter, found an array"},
        {"{'weight_map':{}}",
         "x.json:1:2: expected a weight_map: an object of shards by parameter, found an empty one"},
        {"{'weight_map':{'c':'m-2.safetensors',\n 'a':1}}",
         "x.json:2:2: a: expected the name of a shard, found 1"},
        {"{'weight_map':{'a':null}}", "x.json:1:16: a: expected the name of a shard, found null"},
        {"{'weight_map':{'a':''}}",
         "x.json:1:16: a: expected the name of a shard beside the index, without a folder, found "
         "\"\""},
        {"{'weight_map':{'a':'/tmp/m-1.safetensors'}}",
         "x.json:1:16: a: expected the name of a shard beside the index, without a folder, found "
         "\"/tmp/m-1.safetensors\""},
        {"{'weight_map':{'a':'sub/m-1.safetensors'}}",
         "x.json:1:16: a: expected the name of a shard beside the index, without a folder, found "
         "\"sub/m-1.safetensors\""},
        {"{'weight_map':{'a':'sub\\\\m-1.safetensors'}}",
         "x.json:1:16: a: expected the name of a shard beside the index, without a folder, found "
         "\"sub\\m-1.safetensors\""},
        {"{'weight_map':{'a':'..'}}",
         "x.json:1:16: a: expected the name of a shard beside the index, without a folder, found "
         "\"..\""},
        {"{'weight_map':{'a':'.'}}",
         "x.json:1:16: a: expected the name of a shard beside the index, without a folder, found "
         "\".\""},
        {"{'weight_map':{'a':'m-3.safetensors'}}",
         "x.json:1:16: expected all shards beside the index, found no m-3.safetensors there: \"No "
         "such file or directory\""},
        {"{'weight_map':{'a':'m-1.safetensors','c':'m-1.safetensors'}}",
         "x.json:1:38: c: expected a parameter that its shard has, found it nowhere, not in "
         "m-1.safetensors"},
        {"{'weight_map':{'a':'m-1.safetensors','b':'m-2.safetensors'}}",
         "x.json:1:38: b: expected a parameter that its shard has, found it in another shard, not "
         "in m-2.safetensors"},
        {"{'weight_map':{'a':'m-1.safetensors','twin':'twin.safetensors'}}",
         "x.json: a: expected every tensor once, found it in m-1.safetensors and in "
         "twin.safetensors"},
        {"{'weight_map':{'a':'m-1.safetensors','a':'m-2.safetensors'}}",
         "x.json:1:38: expected every key once, found \"a\" a second time"},
        {"{'weight_map':{'a':'x.json'}}", "x.json: expected " READABLE ", found JSON text"},
        {"{'weight_map':{'a':'folder'}}",
         "folder: expected a checkpoint file such as model.safetensors, found a folder"},
        {"{'weight_map':{'a':'short'}}",
         "short: byte 0: expected a safetensors file: 8 bytes or more, found 2"},
        {"{'weight_map':{'a':'m-1.safetensors'},}",
         "x.json:1:39: expected a key in quotation marks, found '}'"},
        {"{'weight':{}}",
         "x.json:1:1: expected the index of a checkpoint, which has a weight_map, or of an offload "
         "folder, found another JSON object"},
        {"  {\n", "x.json:2:1: expected a key in quotation marks, found the end of the text"},
    };

    (void)state;
    put_shard("m-1.safetensors", "b a");
    put_shard("m-2.safetensors", "c");
    put_shard("twin.safetensors", "twin a");
    put("short", "ab", 2);
    assert_int_equal(mkdir("folder", 0700), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct checkpoint *c = NULL;

        put_text("x.json", rows[i].text);
        assert_int_not_equal(checkpoint_open("x.json", &c, &g_error), 0);
        assert_null(c);
        if (strcmp(line(), rows[i].want) != 0)
            fail_msg("%s\n   got: %s\nwanted: %s", rows[i].text, line(), rows[i].want);
    }
}

static void links_stay_in_the_folder(void **state)
{
    char want[300];

    (void)state;
    assert_int_equal(mkdir("here", 0700), 0);
    assert_int_equal(mkdir("here/below", 0700), 0);
    assert_int_equal(mkdir("here-too", 0700), 0);
    put_shard("here-too/outside", "a");
    put_shard("here/below/inside", "a");
    put_text("here/x.index.json", "{'weight_map':{'a':'link'}}");

    assert_int_equal(symlink("below/inside", "here/link"), 0);
    checkpoint_close(expect_open("here"));
    assert_int_equal(unlink("here/link"), 0);
    assert_int_equal(symlink("../here-too/outside", "here/link"), 0);
    snprintf(want, sizeof(want),
             "here/x.index.json:1:16: expected a shard in the folder of the index, found a link to "
             "%s/here-too/outside",
             g_folder);
    expect_refused("here", -EINVAL, want);
    assert_int_equal(unlink("here/link"), 0);
    assert_int_equal(symlink("link", "here/link"), 0);
    expect_refused("here", -EINVAL,
                   "here/x.index.json:1:16: expected all shards beside the index, found no link "
                   "there: \"Too many levels of symbolic links\"");
}

/* A cache that keeps files by their content: all that a model's folder has is links into it. */
static void a_cache_of_links(void **state)
{
    struct checkpoint *c;

    (void)state;
    assert_int_equal(mkdir("blobs", 0700), 0);
    assert_int_equal(mkdir("snapshot", 0700), 0);
    put_shard("blobs/1234", "a");
    put_text("blobs/5678", "{'weight_map':{'a':'m.safetensors'}}");
    assert_int_equal(symlink("../blobs/1234", "snapshot/m.safetensors"), 0);
    assert_int_equal(symlink("../blobs/5678", "snapshot/m.safetensors.index.json"), 0);
    c = expect_open("snapshot");
    assert_string_equal(c->files[0].path, "snapshot/m.safetensors");
    checkpoint_close(c);
}

static void folders_of_one(void **state)
{
    static const char *const strangers[] = {
        "config.json",  "tokenizer.model", "training_args.bin", "optimizer.pt",
        "scheduler.pt", "rng_state_0.pth", ".hidden.bin",       "model_index.json",
    };
    struct checkpoint *c;

    (void)state;
    for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++)
        put(strangers[i], "?", 1);
    expect_refused(".", -EINVAL,
                   ".: expected a folder with a model file: *.safetensors, *.bin, *.pt, *.pth, "
                   "*.gguf or an index, found none");
    put_shard("model.safetensors", "a b");
    c = expect_open(".");
    assert_string_equal(c->files[0].path, "./model.safetensors");
    assert_int_equal(c->tensor_count, 2);
    checkpoint_close(c);
    /* What opens nothing else is no better for being alone: its own reader says what is wrong. */
    assert_int_equal(rename("model.safetensors", "config.json"), 0);
    put("model.safetensors", "\1\0\0\0\0\0\0\1", 8);
    expect_refused(".", -EINVAL,
                   "./model.safetensors: byte 0: expected a safetensors file, which begins with "
                   "the length of its header, at most 100000000, found 72057594037927937");
}

static void folders_of_several(void **state)
{
    (void)state;
    put_two_shards();
    put_shard("consolidated.safetensors", "a b c");
    expect_refused(".", -EINVAL,
                   ".: expected a folder with one checkpoint, or the path of the one that is "
                   "meant, found 2: m.safetensors.index.json, consolidated.safetensors");
    put_text("another.index.json", TWO_SHARDS);
    expect_refused(".", -EINVAL,
                   ".: expected a folder with one checkpoint, or the path of the one that is "
                   "meant, found 2: another.index.json, m.safetensors.index.json");
    assert_int_equal(unlink("another.index.json"), 0);
    assert_int_equal(unlink("m.safetensors.index.json"), 0);
    expect_refused(".", -EINVAL,
                   ".: expected a folder with one checkpoint, or the path of the one that is "
                   "meant, found 3: consolidated.safetensors, m-1.safetensors, m-2.safetensors");
    put_text("m.safetensors.index.json", "{'weight_map'}");
    expect_refused(".", -EINVAL,
                   "./m.safetensors.index.json:1:14: expected ':' after a key, found '}'");
}

/* The parts of one model are one candidate, named by the first, even where that is missing. */
static void folders_of_parts(void **state)
{
    (void)state;
    put("m-00002-of-00003.gguf", "?", 1);
    expect_refused(".", -ENOENT,
                   "./m-00001-of-00003.gguf: expected a readable checkpoint file, found \"No such "
                   "file or directory\"");
    put("m-00003-of-00003.gguf", "?", 1);
    put("m-00001-of-00003.gguf", "?", 1);
    put("n-00001-of-00002.gguf", "?", 1);
    put("n-1-of-2.gguf", "?", 1);
    expect_refused(".", -EINVAL,
                   ".: expected a folder with one checkpoint, or the path of the one that is "
                   "meant, found 3: m-00001-of-00003.gguf, n-00001-of-00002.gguf, n-1-of-2.gguf");
}

/* Write a sparse shard of 24 tensors of a language model, 6.7 GB of them. */
static void put_large_shard(size_t shard, char *weight_map)
{
    static const char *const parts[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                        "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                        "mlp.down_proj",    "input_layernorm"};
    const uint64_t each = UINT64_C(16000) * 8704 * 2;
    char header[8000] = "{", file[64], name[64];
    uint64_t bytes;

    snprintf(file, sizeof(file), "model-%05zu-of-00030.safetensors", shard + 1);
    for (size_t i = 0; i < 24; i++) {
        snprintf(name, sizeof(name), "model.layers.%zu.%s.weight", 3 * shard + i / 8, parts[i % 8]);
        sprintf(header + strlen(header),
                "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[16000,8704],\"data_offsets\":[%llu,%llu]}",
                i ? "," : "", name, (unsigned long long)(i * each),
                (unsigned long long)((i + 1) * each));
        sprintf(weight_map + strlen(weight_map), "%s\"%s\":\"%s\"", shard || i ? "," : "", name,
                file);
    }
    strcat(header, "}");
    bytes = strlen(header);
    put(file, (const char *)&bytes, 8);
    assert_int_equal(truncate(file, (off_t)(8 + bytes + 24 * each)), 0);
    {
        FILE *out = fopen(file, "r+b");

        assert_non_null(out);
        assert_int_equal(fseek(out, 8, SEEK_SET), 0);
        assert_int_equal(fwrite(header, 1, bytes, out), bytes);
        assert_int_equal(fclose(out), 0);
    }
}

/* 200 GB in 30 shards that take no room, whose bytes nobody could read in the time of a test. */
/* A header's length is the first thing in a file of safetensors, and may look like JSON. */
static void lengths_that_read_like_text(void **state)
{
    static const size_t lengths[] = {0x7B, 0x7B20, 0x7B0A, 0x7B2020};
    static const char header[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        size_t bytes = 8 + lengths[i] + 4;
        char *content = malloc(bytes);
        struct checkpoint *c;

        assert_non_null(content);
        memset(content, ' ', bytes);
        memcpy(content, &lengths[i], 8);
        memcpy(content + 8, header, sizeof(header) - 1);
        put("m.safetensors", content, bytes);
        c = expect_open("m.safetensors");
        assert_int_equal(c->tensor_count, 1);
        assert_int_equal(c->tensors[0].offset, 8 + lengths[i]);
        checkpoint_close(c);
        free(content);
    }
}

static void large_and_little_memory(void **state)
{
    char *index = calloc(1, 100000);
    struct checkpoint *c;
    size_t before, held;

    (void)state;
    strcpy(index, "{\"weight_map\":{");
    for (size_t i = 0; i < 30; i++)
        put_large_shard(i, index);
    strcat(index, "}}");
    put("model.safetensors.index.json", index, strlen(index));
    free(index);

    before = mallinfo2().uordblks + mallinfo2().hblkhd;
    c = expect_open(".");
    held = mallinfo2().uordblks + mallinfo2().hblkhd - before;
    assert_int_equal(c->tensor_count, 720);
    assert_int_equal(c->file_count, 30);
    assert_true(c->total_bytes > UINT64_C(200) * 1000 * 1000 * 1000);
    assert_true(held < 200 * c->tensor_count);
    checkpoint_close(c);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)
    const struct CMUnitTest tests[] = {
        TEST(a_sharded_checkpoint),      TEST(shards_in_the_order_of_their_numbers),
        TEST(what_an_index_may_not_say), TEST(links_stay_in_the_folder),
        TEST(a_cache_of_links),          TEST(folders_of_one),
        TEST(folders_of_several),        TEST(folders_of_parts),
        TEST(large_and_little_memory),   TEST(lengths_that_read_like_text),
    };

    return cmocka_run_group_tests_name("checkpoint_open", tests, NULL, NULL);
}
