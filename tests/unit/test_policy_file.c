/* Strategy: tests/data/policies holds one small file for every rule. valid-* and python-* must be
 * read, and the full one field by field; invalid-* and reader-* must be refused with a line that
 * has a place (tests/clients/check_schema asks the JSON Schema about the same files). The lines
 * that people will meet most are compared in full. Flags, the words shared with them, and the
 * longest prefix of a device map are tested as tables; the map also against a search of the slow
 * kind.
 */
#include "data.h"
#include "policy_file.h"
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct input_error g_error;
static char g_line[INPUT_ERROR_TEXT_BYTES];

static const char *line(void)
{
    return input_error_format(&g_error, g_line, sizeof(g_line));
}

static int read_text(const char *text, struct policy **out)
{
    size_t bytes = strlen(text);
    char *exact = malloc(bytes ? bytes : 1);
    int res;

    memcpy(exact, text, bytes);
    res = policy_parse(exact, bytes, "p.json", out, &g_error);
    free(exact);
    return res;
}

static void every_file(void **state)
{
    DIR *folder = opendir(data_path("policies"));
    unsigned valid = 0, refused = 0;
    struct dirent *entry;

    (void)state;
    assert_non_null(folder);
    while ((entry = readdir(folder))) {
        struct policy *policy = NULL;
        char name[300];
        int res;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof(name), "policies/%s", entry->d_name);
        res = policy_read(data_path(name), &policy, &g_error);
        if (strncmp(entry->d_name, "valid-", 6) == 0 || strncmp(entry->d_name, "python-", 7) == 0) {
            if (res)
                fail_msg("%s", line());
            valid++;
        } else {
            if (res != -EINVAL || policy || g_error.line == 0 || !g_error.expected[0])
                fail_msg("%s: %d: %s", name, res, res ? line() : "taken");
            refused++;
        }
        policy_free(policy);
    }
    closedir(folder);
    assert_true(valid >= 35 && refused >= 130);
}

static void every_field(void **state)
{
    struct policy *p = NULL;
    char want[4200];
    int i;

    (void)state;
    assert_int_equal(policy_read(data_path("policies/valid-full.json"), &p, &g_error), 0);
    assert_int_equal(p->max_memory.device_bytes[0], 23622320128);
    assert_int_equal(p->max_memory.device_bytes[1], 33554432);
    assert_int_equal(p->max_memory.device_bytes[63], 500000000);
    assert_int_equal(p->max_memory.cpu_bytes, 68719476736);
    assert_int_equal(p->max_memory.disk_bytes, 200000000000);
    for (i = 2; i < 63; i++)
        assert_true(p->max_memory.device_bytes[i] == POLICY_UNSET);
    assert_int_equal(p->backend, POLICY_BACKEND_UM);
    assert_true(p->backend_given);
    assert_true(p->strict);
    assert_false(p->offload_buffers);
    snprintf(want, sizeof(want), "%s", data_path("policies/Llama-3-70B/model.safetensors"));
    assert_string_equal(p->checkpoint, want);

    snprintf(want, sizeof(want), "%s", data_path("policies/offload"));
    assert_string_equal(p->offload_folder, want);
    assert_int_equal(p->dtype, DTYPE_BF16);
    assert_int_equal(p->special_dtype_count, 2);
    assert_string_equal(p->special_dtypes[0].pattern, "lm_head");
    assert_int_equal(p->special_dtypes[0].dtype, DTYPE_F32);
    assert_string_equal(p->special_dtypes[1].pattern, "*.norm");
    assert_int_equal(p->special_dtypes[1].dtype, DTYPE_F16);

    assert_true(p->no_split_given);
    assert_int_equal(p->no_split.count, 2);
    assert_string_equal(p->no_split.names[0], "model.layers.*");
    assert_string_equal(p->no_split.names[1], "model.norm");
    assert_int_equal(p->no_split_classes.count, 1);
    assert_string_equal(p->no_split_classes.names[0], "LlamaDecoderLayer");
    assert_int_equal(p->tied_count, 1);
    assert_int_equal(p->tied[0].count, 2);
    assert_string_equal(p->tied[0].names[1], "model.embed_tokens.weight");
    assert_int_equal(p->preload.count, 1);
    assert_string_equal(p->preload.names[0], "*.mlp");
    assert_int_equal(p->group_count, 2);
    assert_string_equal(p->groups[0].name, "text_encoder");
    assert_int_equal(p->groups[0].patterns.count, 2);
    assert_string_equal(p->groups[0].patterns.names[1], "te2.*");
    assert_string_equal(p->groups[1].name, "unet");

    assert_int_equal(p->map.count, 7);
    for (i = 0; i < 7; i++) {
        if (strcmp(p->map.entries[i].prefix, "model.layers.30") == 0)
            assert_int_equal(p->map.entries[i].order, 2);
    }
    assert_int_equal(policy_resolve(&p->map, "model.embed_tokens.weight"), 0);
    assert_int_equal(policy_resolve(&p->map, "model.layers.30.mlp.up.weight"), POLICY_CPU);
    assert_int_equal(policy_resolve(&p->map, "model.layers.40.mlp.up.weight"), POLICY_DISK);
    assert_int_equal(policy_resolve(&p->map, "lm_head.weight"), 1);
    assert_int_equal(policy_resolve(&p->map, "norm.weight"), 0);
    assert_int_equal(policy_resolve(&p->map, "model.layers.3.mlp.up.weight"), 63);
    policy_free(p);
}

static void what_is_not_given(void **state)
{
    struct policy *p = NULL;

    (void)state;
    assert_int_equal(read_text("{\"version\":1}", &p), 0);
    assert_true(p->max_memory.device_bytes[0] == POLICY_UNSET);
    assert_true(p->max_memory.cpu_bytes == POLICY_UNSET);
    assert_int_equal(p->map.count, 0);
    assert_true(p->max_memory.disk_bytes == POLICY_UNSET);
    assert_null(p->checkpoint);
    assert_null(p->offload_folder);
    assert_int_equal(p->dtype, DTYPE_COUNT);
    assert_int_equal(p->special_dtype_count, 0);
    assert_false(p->no_split_given);
    assert_int_equal(p->no_split.count + p->no_split_classes.count + p->tied_count +
                         p->preload.count + p->group_count,
                     0);
    assert_int_equal(p->backend, POLICY_BACKEND_AUTO);
    assert_false(p->backend_given);
    assert_false(p->strict);
    assert_false(p->offload_buffers);
    assert_int_equal(policy_resolve(&p->map, "a"), POLICY_NOWHERE);
    policy_free(p);
    policy_free(NULL);

    assert_int_equal(read_text("{\"version\":1,\"backend\":\"auto\",\"offload_buffers\":true}", &p),
                     0);
    assert_int_equal(p->backend, POLICY_BACKEND_AUTO);
    assert_true(p->backend_given);
    assert_true(p->offload_buffers);
    policy_free(p);
}

static void where_the_checkpoint_is(void **state)
{
    static const char relative[] = "{\"version\":1,\"checkpoint\":\"m/x.safetensors\"}";
    static const char absolute[] = "{\"version\":1,\"checkpoint\":\"/m/x.safetensors\"}";
    static const struct {
        const char *text, *path, *want;
    } rows[] = {
        {relative, "p.json", "m/x.safetensors"},
        {relative, "a/b/p.json", "a/b/m/x.safetensors"},
        {relative, "/p.json", "/m/x.safetensors"},
        {relative, "../p.json", "../m/x.safetensors"},
        {absolute, "a/b/p.json", "/m/x.safetensors"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct policy *p = NULL;

        assert_int_equal(
            policy_parse(rows[i].text, strlen(rows[i].text), rows[i].path, &p, &g_error), 0);
        assert_string_equal(p->checkpoint, rows[i].want);
        policy_free(p);
    }
}

#define FIELDS                                                                                     \
    "a field: version, checkpoint, max_memory, device_map, no_split, no_split_module_classes, "    \
    "tied, preload, groups, offload_buffers, offload_folder, dtype, special_dtypes, "              \
    "backend or strict"
#define PLACES "a GPU index from 0 to 63, \"cpu\", \"disk\" or \"cuda:N\""

static void lines_that_people_meet(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"{\n  \"version\": 1,\n  \"devise_map\": {}\n}",
         "p.json:3:3: devise_map: expected " FIELDS ", found an "
         "unknown field; did you mean \"device_map\"?"},
        {"{\"version\":1,\"temperature\":1}",
         "p.json:1:14: temperature: expected " FIELDS ", found an "
         "unknown field"},
        {"{\"version\":1,\n\"tied\":[[\"a\",\"b\"],\n[\"a\",1]]}",
         "p.json:3:6: tied: expected a tensor's name, found 1"},
        {"{\"version\":1,\"tied\":[[\"a\",\"b\"],[\"c\",\"a\"]]}",
         "p.json:1:37: tied: expected every name once, in one group, found \"a\" a second time"},
        {"{\"version\":1,\"tied\":[[\"a\"]]}",
         "p.json:1:22: tied: expected two or more names of one tensor such as [\"lm_head.weight\", "
         "\"wte.weight\"], found fewer"},
        {"{\"version\":1,\"no_split\":\"x\"}",
         "p.json:1:14: no_split: expected a list of patterns such as [\"model.layers.*\"], found "
         "\"x\""},
        {"{\"version\":1,\"groups\":{\"unet\":[\"\"]}}",
         "p.json:1:32: groups.unet: expected a pattern such as \"model.layers.*\", found \"\""},
        {"{\"version\":1,\"device_map\":\"auto\"}",
         "p.json:1:14: device_map: expected an object, \"cpu_offload\" or \"disk_offload\", found "
         "\"auto\"; berth plan --strategy makes maps"},
        {"{\"version\":1,\"dtype\":\"torch.flaot16\"}",
         "p.json:1:14: dtype: expected float64, float32, float16, bfloat16, float8_e4m3fn, "
         "float8_e5m2, int8 or uint8, found \"flaot16\"; did you mean \"float16\"?"},
        {"{\"version\":1,\"special_dtypes\":{\"a\":1}}",
         "p.json:1:32: special_dtypes.a: expected float64, float32, float16, bfloat16, "
         "float8_e4m3fn, float8_e5m2, int8 or uint8, found 1"},
        {"{\"version\":1,\"special_dtypes\":{\"\":\"int8\"}}",
         "p.json:1:32: special_dtypes[\"\"]: expected a tensor, a module or a pattern, found \"\""},
        {"{\"gpu\":\"10GiB\"}",
         "p.json:1:2: max_memory.gpu: expected a GPU index from 0 to 63, cpu or disk, found another "
         "device"},
        {"{'a.b': 64}", "p.json:1:2: device_map.a.b: expected " PLACES ", found 64"},
        {"{'': 'gpu'}", "p.json:1:2: device_map[\"\"]: expected " PLACES ", found \"gpu\"; did you "
                        "mean \"cuda:0\"?"},
        {"{'a': 'GPU:1'}",
         "p.json:1:2: device_map.a: expected " PLACES ", found \"GPU:1\"; did you "
         "mean \"cuda:1\"?"},
        {"{'a': 'gpu63'}",
         "p.json:1:2: device_map.a: expected " PLACES ", found \"gpu63\"; did you "
         "mean \"cuda:63\"?"},
        {"{'a': 'gpux'}", "p.json:1:2: device_map.a: expected " PLACES ", found \"gpux\""},
        {"{'a': 'gpu64'}", "p.json:1:2: device_map.a: expected " PLACES ", found \"gpu64\""},
        {"{'a': 0,\n 'b': device(type='mps', index=0)}",
         "p.json:2:2: device_map.b: expected " PLACES ", found \"mps:0\""},
        {"{'a': 0, 'b': 0, 'a': 1}",
         "p.json:1:18: device_map.a: expected every key once, found \"a\" a second time"},
        {"{0: '10GiB', '0': '1GiB'}",
         "p.json:1:14: max_memory.0: expected every device once, found it a second time"},
        {"{'version': 1}",
         "p.json:1:1: expected a device map or max_memory, as Python prints it, found the fields of "
         "a policy, which is written in JSON"},
        {"OrderedDict()", "p.json:1:13: expected '[' or '{', found ')'"},
        {" OrderedDict([])",
         "p.json:1:2: expected a device map or max_memory, as Python prints it, found an empty "
         "dictionary"},
        {"{\"version\":2}", "p.json:1:2: version: expected version 1, found 2"},
        {"{\"strict\":true}",
         "p.json:1:1: version: expected \"version\": 1, found a policy without "
         "it"},
        {"[]", "p.json:1:1: expected an object: a policy or a device map, found an array"},
        {"{\"version\":1,\n\"max_memory\":{\"0\":\"8XB\"}}",
         "p.json:2:15: max_memory.0: expected a size such as 8GiB, 500MB or 33554432 (KiB, MiB, "
         "GiB, KB, MB, GB), found \"8XB\""},
        {"{\"version\":1,\"max_memory\":{\"gpu\":1}}",
         "p.json:1:28: max_memory.gpu: expected a GPU index from 0 to 63, cpu or disk, found another "
         "device"},
        {"{\"version\":1,\"max_memory\":{\"0\":\"1e300GB\"}}",
         "p.json:1:28: max_memory.0: expected a size of less than 2^64 bytes, found \"1e300GB\""},
        {"{\"version\":1,\"max_memory\":{\"0\":1,\"cuda:0\":1}}",
         "p.json:1:34: max_memory.cuda:0: expected every device once, found it a second time"},
        {"{\"version\":1,\"device_map\":{\"a.b\":\"cpux\"}}",
         "p.json:1:28: device_map.a.b: expected " PLACES ", found \"cpux\"; did you "
         "mean \"cpu\"?"},
        {"{\"a.b\":64}", "p.json:1:2: device_map.a.b: expected " PLACES ", found 64"},
        {"{\"version\":1,\"backend\":\"uvm\"}",
         "p.json:1:14: backend: expected auto, um or off, found \"uvm\"; did you "
         "mean \"um\"?"},
        {"{\"version\":1,\"strict\":1}", "p.json:1:14: strict: expected true or false, found 1"},
        {"{\"version\":1,\"strict\":true,\"strict\":true}",
         "p.json:1:28: expected every key once, found \"strict\" a second time"},
        {"{\"version\":1,\"checkpoint\":7}",
         "p.json:1:14: checkpoint: expected the path of a checkpoint, found 7"},
        {"{\"version\":1,\"device_map\":{}}",
         "p.json:1:14: device_map: expected an object such as {\"model.layers.0\": 0, \"\": "
         "\"cpu\"}, found an empty one"},
        {"{\"version\":1,\"a\\nb\":1}", "p.json:1:14: a\\x0ab: expected " FIELDS ", found an "
                                        "unknown field"},
        {"{\"version\":1,}", "p.json:1:14: expected a key in quotation marks, found '}'"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct policy *p = NULL;

        assert_int_equal(read_text(rows[i].text, &p), -EINVAL);
        assert_null(p);
        assert_string_equal(line(), rows[i].want);
    }
}

static void files_that_cannot_be_read(void **state)
{
    char path[] = "/tmp/berth-test-XXXXXX", want[400];
    struct policy *p = NULL;
    int fd = mkstemp(path);

    (void)state;
    assert_int_equal(policy_read("/nowhere/p.json", &p, &g_error), -ENOENT);
    assert_string_equal(line(), "/nowhere/p.json: expected a readable policy file, found \"No such "
                                "file or directory\"");
    assert_int_equal(policy_read("/tmp", &p, &g_error), -EISDIR);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, POLICY_BYTES_MAX), 0);
    assert_int_equal(policy_read(path, &p, &g_error), -EFBIG);
    snprintf(want, sizeof(want), "%s: expected a readable policy file, found \"File too large\"",
             path);
    assert_string_equal(line(), want);
    assert_null(p);
    close(fd);
    unlink(path);
}

/* The rule in one loop: the longest entry that is the name or ends before one of its dots. */
static int resolve_slowly(const struct policy_map *map, const char *name)
{
    size_t best = 0, i;
    int place = POLICY_NOWHERE;

    for (i = 0; i < map->count; i++) {
        size_t bytes = strlen(map->entries[i].prefix);
        bool covers = bytes == 0 || (strncmp(map->entries[i].prefix, name, bytes) == 0 &&
                                     (name[bytes] == '\0' || name[bytes] == '.'));

        if (covers && (bytes > best || place == POLICY_NOWHERE)) {
            best = bytes;
            place = map->entries[i].place;
        }
    }
    return place;
}

static void longest_prefix(void **state)
{
    static const char *const prefixes[] = {"model.layers.10",
                                           "model.layers.1",
                                           "model",
                                           "model.layers.1.mlp.up.weight",
                                           "model.layers",
                                           "lm_head",
                                           "a..b",
                                           "\xc3\xbc",
                                           ""};
    static const char *const names[] = {"model.layers.1.mlp.up.weight",
                                        "model.layers.1.mlp.up.bias",
                                        "model.layers.1",
                                        "model.layers.10.x",
                                        "model.layers.100",
                                        "model.layers.2",
                                        "model.layersx",
                                        "model.norm",
                                        "models",
                                        "mode",
                                        "lm_head",
                                        "lm_head.weight",
                                        "lm_head_weight",
                                        "a..b.c",
                                        "a.",
                                        "a",
                                        ".",
                                        "",
                                        "\xc3\xbc.x",
                                        "\xc3"};
    static const int places[] = {4, 2, 2, 1, 5, 5, 3, 3, 9, 9, 6, 6, 9, 7, 9, 9, 9, 9, 8, 9};
    struct policy *p = policy_new();
    struct policy_map without_root;
    size_t i;

    (void)state;
    policy_map_sort(&p->map);
    assert_int_equal(policy_resolve(&p->map, "model"), POLICY_NOWHERE);
    for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        assert_int_equal(policy_map_add(&p->map, prefixes[i], (int)i + 1), 0);
    policy_map_sort(&p->map);
    assert_string_equal(p->map.entries[0].prefix, "");
    assert_int_equal(p->map.entries[0].order, 8);
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(resolve_slowly(&p->map, names[i]), places[i]);
        assert_int_equal(policy_resolve(&p->map, names[i]), places[i]);
    }
    assert_string_equal(policy_map_find(&p->map, "lm_head.weight")->prefix, "lm_head");

    without_root.entries = p->map.entries + 1; /* names may be covered by nothing */
    without_root.count = p->map.count - 1;
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_int_equal(policy_resolve(&without_root, names[i]),
                         places[i] == 9 ? POLICY_NOWHERE : places[i]);
    policy_free(p);
}

static int place_of(const char *name)
{
    static const char *const files[] = {"python-dict.txt", "python-ordered.txt",
                                        "python-ordered-dict.txt", "python-pprint.txt"};
    struct policy *p = NULL;
    int place = POLICY_NOWHERE;
    char path[64];

    snprintf(path, sizeof(path), "policies/%s", files[name[0] - '0']);
    assert_int_equal(policy_read(data_path(path), &p, &g_error), 0);
    place = policy_resolve(&p->map, name + 1);
    policy_free(p);
    return place;
}

/* What people copy from a terminal. */
static void what_python_prints(void **state)
{
    struct policy *p = NULL;

    (void)state;
    assert_int_equal(place_of("0model.embed_tokens.weight"), 0);
    assert_int_equal(place_of("0model.layers.1.mlp"), POLICY_CPU);
    assert_int_equal(place_of("0model.norm"), POLICY_DISK);
    assert_int_equal(place_of("0lm_head"), 1);
    assert_int_equal(place_of("1model.embed_tokens"), 0);
    assert_int_equal(place_of("1model.layers.0"), 1);
    assert_int_equal(place_of("1lm_head"), POLICY_CPU);
    assert_int_equal(place_of("2anything"), POLICY_CPU);
    assert_int_equal(place_of("3transformer.wte"), 0);
    assert_int_equal(place_of("3transformer.h.0"), 1);
    assert_int_equal(place_of("3it's"), 2);
    assert_int_equal(place_of("3a\\bA\xc3\xbc"), POLICY_DISK);

    assert_int_equal(policy_read(data_path("policies/python-memory.txt"), &p, &g_error), 0);
    assert_int_equal(p->map.count, 0);
    assert_int_equal(p->max_memory.device_bytes[0], 10737418240);
    assert_int_equal(p->max_memory.device_bytes[1], 10737418240);
    assert_int_equal(p->max_memory.cpu_bytes, 32212254720);
    policy_free(p);
}

/* Small integers under names of devices: modules, unless one value can only be a size. */
static void map_or_memory(void **state)
{
    static const struct {
        const char *text;
        size_t entries;
        uint64_t bytes;
    } rows[] = {
        {"{\"0\": 0, \"1\": 1}", 2, POLICY_UNSET}, {"{\"0\": \"cpu\"}", 1, POLICY_UNSET},
        {"{\"0\": 5, \"cpu\": \"1KB\"}", 0, 5},    {"{\"0\": 64}", 0, 64},
        {"{\"0\": 63}", 1, POLICY_UNSET},          {"{\"0\": \"7\"}", 0, 7},
        {"{\"cuda:0\": \"1KB\"}", 0, 1000},        {"{0: 63, 1: 64}", 0, 63},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct policy *p = NULL;

        assert_int_equal(read_text(rows[i].text, &p), 0);
        assert_int_equal(p->map.count, rows[i].entries);
        assert_true(p->max_memory.device_bytes[0] == rows[i].bytes);
        policy_free(p);
    }
}

static void every_error_at_once(void **state)
{
    static const char text[] =
        "{\"version\": 2,\n\"max_memory\": {\"0\": \"8XB\", \"gpu\": 1},\n"
        "\"devise_map\": {},\n\"device_map\": {\"a\": 64, \"b\": 0, \"c\": -1},\n"
        "\"groups\": {\"g\": [1, \"x\", 2]}}";
    static const struct {
        const char *field;
        unsigned line;
    } want[] = {
        {"version", 1},      {"max_memory.0", 2}, {"max_memory.gpu", 2}, {"devise_map", 3},
        {"device_map.a", 4}, {"device_map.c", 4}, {"groups.g", 5},       {"groups.g", 5},
    };
    struct input_error errors[9];
    struct policy *p = NULL;
    size_t room, count, i;

    (void)state;
    for (room = 1; room <= 9; room++) {
        memset(errors, 0x55, sizeof(errors));
        assert_int_equal(
            policy_parse_errors(text, strlen(text), "p.json", &p, errors, room, &count), -EINVAL);
        assert_null(p);
        assert_int_equal(count, room < 8 ? room : 8);
        for (i = 0; i < count; i++) {
            assert_string_equal(errors[i].file, "p.json");
            assert_string_equal(errors[i].field, want[i].field);
            assert_int_equal(errors[i].line, want[i].line);
        }
        if (room < 9)
            assert_int_equal(*(unsigned char *)&errors[room], 0x55);
    }
    assert_int_equal(policy_parse_errors("{", 1, "p.json", &p, errors, 9, &count), -EINVAL);
    assert_int_equal(count, 1);
    assert_int_equal(policy_read_errors("/nowhere/p", &p, errors, 9, &count), -ENOENT);
    assert_int_equal(count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file),
        cmocka_unit_test(every_field),
        cmocka_unit_test(what_is_not_given),
        cmocka_unit_test(where_the_checkpoint_is),
        cmocka_unit_test(lines_that_people_meet),
        cmocka_unit_test(files_that_cannot_be_read),
        cmocka_unit_test(longest_prefix),
        cmocka_unit_test(what_python_prints),
        cmocka_unit_test(map_or_memory),
        cmocka_unit_test(every_error_at_once),
    };

    return cmocka_run_group_tests_name("policy_file", tests, NULL, NULL);
}
