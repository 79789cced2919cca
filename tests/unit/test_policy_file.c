/* Strategy: tests/data/policies holds one small file for every rule. valid-* must be read, and the
 * full one field by field; invalid-* and reader-* must be refused with a line that has a place
 * (tests/clients/check_schema asks the JSON Schema about the same files). The lines that people
 * will meet most are compared in full. Flags, the words shared with them, and the longest prefix of
 * a device map are tested as tables; the map also against a search of the slow kind.
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
        if (strncmp(entry->d_name, "valid-", 6) == 0) {
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
    assert_true(valid >= 11 && refused >= 101);
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
    for (i = 2; i < 63; i++)
        assert_true(p->max_memory.device_bytes[i] == POLICY_UNSET);
    assert_int_equal(p->backend, POLICY_BACKEND_UM);
    assert_true(p->backend_given);
    assert_true(p->strict);
    assert_false(p->offload_buffers);
    snprintf(want, sizeof(want), "%s", data_path("policies/Llama-3-70B/model.safetensors"));
    assert_string_equal(p->checkpoint, want);

    assert_int_equal(p->map.count, 7);
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
    assert_null(p->checkpoint);
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

#define SUPPORTED "version, checkpoint, max_memory, device_map, backend, strict or offload_buffers"
#define PLACES    "a GPU index from 0 to 63, \"cpu\", \"disk\" or \"cuda:N\""

static void lines_that_people_meet(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"{\n  \"version\": 1,\n  \"devise_map\": {}\n}",
         "p.json:3:3: devise_map: expected one of the supported fields: " SUPPORTED ", found an "
         "unknown field; did you mean \"device_map\"?"},
        {"{\"version\":1,\"temperature\":1}",
         "p.json:1:14: temperature: expected one of the supported fields: " SUPPORTED ", found an "
         "unknown field"},
        {"{\"version\":1,\"tied\":[]}",
         "p.json:1:14: tied: expected one of the supported fields: " SUPPORTED ", found a field "
         "that is not supported yet by this version"},
        {"{\"version\":2}", "p.json:1:2: version: expected version 1, found 2"},
        {"{\"strict\":true}",
         "p.json:1:1: version: expected \"version\": 1, found a policy without "
         "it"},
        {"[]", "p.json:1:1: expected an object: a policy or a device map, found an array"},
        {"{\"version\":1,\n\"max_memory\":{\"0\":\"8XB\"}}",
         "p.json:2:15: max_memory.0: expected a size such as 8GiB, 500MB or 33554432 (KiB, MiB, "
         "GiB, KB, MB, GB), found \"8XB\""},
        {"{\"version\":1,\"max_memory\":{\"gpu\":1}}",
         "p.json:1:28: max_memory.gpu: expected a GPU index from 0 to 63 or cpu, found another "
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
         "p.json:1:14: backend: expected auto, um, vmm or off, found \"uvm\"; did you "
         "mean \"um\"?"},
        {"{\"version\":1,\"strict\":1}", "p.json:1:14: strict: expected true or false, found 1"},
        {"{\"version\":1,\"strict\":true,\"strict\":true}",
         "p.json:1:28: expected every key once, found \"strict\" a second time"},
        {"{\"version\":1,\"checkpoint\":7}",
         "p.json:1:14: checkpoint: expected the path of a checkpoint, found 7"},
        {"{\"version\":1,\"device_map\":{}}",
         "p.json:1:14: device_map: expected an object such as {\"model.layers.0\": 0, \"\": "
         "\"cpu\"}, found an empty one"},
        {"{\"version\":1,\"a\\nb\":1}",
         "p.json:1:14: a\\x0ab: expected one of the supported fields: " SUPPORTED ", found an "
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

static void budgets_of_a_flag(void **state)
{
    struct policy_memory memory, stronger;

    (void)state;
    policy_memory_clear(&memory);
    assert_int_equal(policy_parse_max_memory("0=8GiB", &memory, &g_error), 0);
    assert_int_equal(
        policy_parse_max_memory(" 2 = 33554432 ,cuda:1=1 GB,cpu=64GiB", &memory, &g_error), 0);
    assert_int_equal(memory.device_bytes[0], 8589934592);
    assert_int_equal(memory.device_bytes[1], 1000000000);
    assert_int_equal(memory.device_bytes[2], 33554432);
    assert_true(memory.device_bytes[3] == POLICY_UNSET);
    assert_int_equal(memory.cpu_bytes, 68719476736);

    policy_memory_clear(&stronger);
    assert_int_equal(policy_parse_max_memory("2=0,3=1KB", &stronger, &g_error), 0);
    policy_memory_override(&memory, &stronger);
    assert_int_equal(memory.device_bytes[0], 8589934592);
    assert_int_equal(memory.device_bytes[2], 0);
    assert_int_equal(memory.device_bytes[3], 1000);
    assert_int_equal(memory.cpu_bytes, 68719476736);
    policy_memory_clear(&stronger);
    stronger.cpu_bytes = 5;
    policy_memory_override(&memory, &stronger);
    assert_int_equal(memory.cpu_bytes, 5);
}

static void flags_that_are_refused(void **state)
{
#define PAIR   "expected DEV=SIZE such as 0=8GiB or cpu=64GiB, found "
#define DEVICE "expected a GPU index from 0 to 63 or cpu, found "
#define SIZE   "expected a size such as 8GiB, 500MB or 33554432 (KiB, MiB, GiB, KB, MB, GB), found "
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", PAIR "nothing"},
        {"0=1GB,", PAIR "nothing"},
        {",0=1GB", PAIR "nothing"},
        {"8GiB", "8GiB: " PAIR "no such pair"},
        {"0=1,5GB", "5GB: " PAIR "no such pair"},
        {"=8GiB", "=8GiB: " DEVICE "\"\""},
        {"gpu=8GiB", "gpu=8GiB: " DEVICE "\"gpu\""},
        {"64=8GiB", "64=8GiB: " DEVICE "\"64\""},
        {"-1=8GiB", "-1=8GiB: " DEVICE "\"-1\""},
        {"01=8GiB", "01=8GiB: " DEVICE "\"01\""},
        {"cuda=8GiB", "cuda=8GiB: " DEVICE "\"cuda\""},
        {"disk=8GiB", "disk=8GiB: " DEVICE "\"disk\""},
        {"0=", "0=: " SIZE "\"\""},
        {"0=8XB", "0=8XB: " SIZE "\"8XB\""},
        {"0=-1GB", "0=-1GB: " SIZE "\"-1GB\""},
        {"0=1=2", "0=1=2: " SIZE "\"1=2\""},
        {"1=1GB,0=1e300GB",
         "0=1e300GB: expected a size of less than 2^64 bytes, found \"1e300GB\""},
        {"0=18446744073709551615",
         "0=18446744073709551615: expected a size of less than 2^64 bytes, "
         "found \"18446744073709551615\""},
        {"0=1GB,cuda:0=2GB", "cuda:0=2GB: expected every device once, found \"cuda:0\" a second "
                             "time"},
        {"cpu=1GB,cpu=1GB", "cpu=1GB: expected every device once, found \"cpu\" a second time"},
    };
    struct policy_memory memory, before;
    char long_text[300];
    size_t i;

    (void)state;
    policy_memory_clear(&memory);
    memory.device_bytes[7] = 7;
    before = memory;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(policy_parse_max_memory(rows[i].text, &memory, &g_error), -EINVAL);
        assert_string_equal(line(), rows[i].want);
        assert_memory_equal(&memory, &before, sizeof(memory));
    }
    assert_int_equal(policy_parse_max_memory("7=1GB", &memory, &g_error), -EINVAL);
    /* Far more digits than are looked at: refused for the length, before the size is read. */
    memset(long_text, '1', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    long_text[1] = '=';
    assert_int_equal(policy_parse_max_memory(long_text, &memory, &g_error), -EINVAL);
    assert_string_equal(g_error.found, "no such pair");
}

static void words(void **state)
{
    static const struct {
        const char *text;
        int place;
    } good[] = {{"cpu", POLICY_CPU}, {"disk", POLICY_DISK}, {"cuda", 0},
                {"cuda:0", 0},       {"cuda:9", 9},         {"cuda:63", 63}};
    static const char *const bad[] = {"",       "0",       "gpu",     "cuda:",    "cuda:64",
                                      "cuda:x", "cuda:-1", "cuda:00", "cuda:007", "cuda1",
                                      "cpu ",   "cpu:0",   "meta",    "Disk"};
    enum policy_backend backend = POLICY_BACKEND_OFF;
    size_t i;
    int place = 77;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(policy_parse_place(bad[i], &place), -EINVAL);
    assert_int_equal(place, 77);
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(policy_parse_place(good[i].text, &place), 0);
        assert_int_equal(place, good[i].place);
    }

    assert_int_equal(policy_parse_backend("vmn", &backend, &g_error), -EINVAL);
    assert_string_equal(line(),
                        "expected auto, um, vmm or off, found \"vmn\"; did you mean \"vmm\"?");
    assert_int_equal(policy_parse_backend("", &backend, &g_error), -EINVAL);
    assert_int_equal(backend, POLICY_BACKEND_OFF);
    for (i = 0; i < POLICY_BACKEND_COUNT; i++) {
        assert_int_equal(policy_parse_backend(policy_backend_name(i), &backend, &g_error), 0);
        assert_int_equal(backend, i);
    }
    assert_string_equal(policy_backend_name(POLICY_BACKEND_COUNT), "?");
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
    struct policy_map_entry entries[] = {{(char *)"model.layers.10", 1},
                                         {(char *)"model.layers.1", 2},
                                         {(char *)"model", 3},
                                         {(char *)"model.layers.1.mlp.up.weight", 4},
                                         {(char *)"model.layers", 5},
                                         {(char *)"lm_head", 6},
                                         {(char *)"a..b", 7},
                                         {(char *)"\xc3\xbc", 8},
                                         {(char *)"", 9}};
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
    struct policy_map map = {entries, sizeof(entries) / sizeof(entries[0])};
    size_t i;

    (void)state;
    policy_map_sort(&map);
    assert_string_equal(map.entries[0].prefix, "");
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(resolve_slowly(&map, names[i]), places[i]);
        assert_int_equal(policy_resolve(&map, names[i]), places[i]);
    }
    map.entries++; /* without the root, names may be covered by nothing */
    map.count--;
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_int_equal(policy_resolve(&map, names[i]),
                         places[i] == 9 ? POLICY_NOWHERE : places[i]);
    map.count = 0;
    policy_map_sort(&map);
    assert_int_equal(policy_resolve(&map, "model"), POLICY_NOWHERE);
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
        cmocka_unit_test(budgets_of_a_flag),
        cmocka_unit_test(flags_that_are_refused),
        cmocka_unit_test(words),
        cmocka_unit_test(longest_prefix),
    };

    return cmocka_run_group_tests_name("policy_file", tests, NULL, NULL);
}
