/* Strategy: one policy is compared as text. Then the property: policies that are made at random are
 * written, read back and compared field by field, and what is read and written again is the same
 * text. Paths are tested as a table.
 */
#include "data.h"
#include "policy_write.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

static struct input_error g_error;

/* What is written; the caller frees it. */
static char *write_text(const struct policy *policy, const char *path)
{
    size_t bytes;
    char *text;
    FILE *out = open_memstream(&text, &bytes);

    assert_non_null(out);
    assert_int_equal(policy_write(policy, path, out), 0);
    assert_int_equal(fclose(out), 0);
    return text;
}

static struct policy *read_text(const char *text, const char *path)
{
    char line[INPUT_ERROR_TEXT_BYTES];
    struct policy *policy = NULL;

    if (policy_parse(text, strlen(text), path, &policy, &g_error))
        fail_msg("%s\n%s", input_error_format(&g_error, line, sizeof(line)), text);
    return policy;
}

static void all_fields_as_text(void **state)
{
    static const char want[] = "{\n"
                               "  \"version\": 1,\n"
                               "  \"checkpoint\": \"Llama-3-70B/model.safetensors\",\n"
                               "  \"max_memory\": {\"0\": \"22GiB\", \"1\": \"32MiB\", \"63\": "
                               "500000000, \"cpu\": \"64GiB\", \"disk\": 200000000000},\n"
                               "  \"device_map\": {\n"
                               "    \"model.embed_tokens\": 0,\n"
                               "    \"model.layers.0\": 0,\n"
                               "    \"model.layers.30\": \"cpu\",\n"
                               "    \"lm_head\": 1,\n"
                               "    \"norm\": 0,\n"
                               "    \"model.layers.40\": \"disk\",\n"
                               "    \"\": 63\n"
                               "  },\n"
                               "  \"no_split\": [\"model.layers.*\", \"model.norm\"],\n"
                               "  \"no_split_module_classes\": [\"LlamaDecoderLayer\"],\n"
                               "  \"tied\": [\n"
                               "    [\"lm_head.weight\", \"model.embed_tokens.weight\"]\n"
                               "  ],\n"
                               "  \"preload\": [\"*.mlp\"],\n"
                               "  \"groups\": {\n"
                               "    \"text_encoder\": [\"te.*\", \"te2.*\"],\n"
                               "    \"unet\": [\"unet.*\"]\n"
                               "  },\n"
                               "  \"offload_folder\": \"offload\",\n"
                               "  \"dtype\": \"bfloat16\",\n"
                               "  \"special_dtypes\": {\n"
                               "    \"lm_head\": \"float32\",\n"
                               "    \"*.norm\": \"float16\"\n"
                               "  },\n"
                               "  \"backend\": \"um\",\n"
                               "  \"strict\": true\n"
                               "}\n";
    struct policy *p = NULL, *empty = policy_new();
    char *text;

    (void)state;
    assert_int_equal(policy_read(data_path("policies/valid-full.json"), &p, &g_error), 0);
    text = write_text(p, data_path("policies/other.json"));
    assert_string_equal(text, want);
    free(text);
    policy_free(p);

    text = write_text(empty, "p.json");
    assert_string_equal(text, "{\n  \"version\": 1\n}\n");
    free(text);
    policy_free(empty);
}

/* Random policies ------------------------------------------------------------------------------ */

static uint64_t g_random;

static unsigned random_below(unsigned end)
{
    g_random = g_random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(g_random >> 33) % end;
}

/* A name that is no other one's: serial is in it. */
static char *make_name(unsigned serial)
{
    static const char *const pieces[] = {"model", "layers", "*",  ".",        "\"",
                                         "\\",    "\n",     "\t", "\xc3\xbc", "\xf0\x9f\x98\x80",
                                         "\x01",  "\x7f",   "'",  "/"};
    char text[128] = "";
    char *name;
    unsigned i, count = random_below(5);

    for (i = 0; i < count; i++)
        strcat(text, pieces[random_below(sizeof(pieces) / sizeof(pieces[0]))]);
    assert_true(asprintf(&name, "%s%u", text, serial) > 0);
    return name;
}

static void make_names(struct policy_names *names, unsigned least, unsigned *serial)
{
    unsigned count = least + random_below(3), i;

    names->names = calloc(count ? count : 1, sizeof(*names->names));
    for (i = 0; i < count; i++)
        names->names[i] = make_name((*serial)++);
    names->count = count;
}

static uint64_t make_budget(void)
{
    static const uint64_t budgets[] = {POLICY_UNSET,
                                       0,
                                       1,
                                       1u << 20,
                                       1u << 30,
                                       9007199254740991,
                                       9007199254740992,
                                       3000000000,
                                       POLICY_UNSET - 1,
                                       18446744072635809792u,
                                       22ull << 30};

    return budgets[random_below(sizeof(budgets) / sizeof(budgets[0]))];
}

static void make_map(struct policy_map *map, unsigned *serial)
{
    unsigned count = random_below(6), i;

    for (i = 0; i < count; i++) {
        char *name = make_name((*serial)++);

        assert_int_equal(policy_map_add(map, i == 3 ? "" : name, (int)random_below(66) - 2), 0);
        free(name);
    }
    policy_map_sort(map);
}

static struct policy *make_policy(void)
{
    static const enum dtype dtypes[] = {DTYPE_COUNT, DTYPE_F64, DTYPE_BF16, DTYPE_U8};
    struct policy *p = policy_new();
    unsigned serial = 0, i;

    p->checkpoint = random_below(2) ? strdup("a b/\"m\".safetensors") : NULL;
    p->offload_folder = random_below(2) ? strdup("/o") : NULL;
    for (i = 0; i < POLICY_DEVICES_MAX; i += 1 + random_below(20))
        p->max_memory.device_bytes[i] = make_budget();
    p->max_memory.cpu_bytes = make_budget();
    p->max_memory.disk_bytes = make_budget();
    make_map(&p->map, &serial);
    make_names(&p->no_split, 0, &serial);
    make_names(&p->no_split_classes, 0, &serial);
    p->no_split_given = p->no_split.count || p->no_split_classes.count || random_below(2);
    make_names(&p->preload, 0, &serial);
    p->tied_count = random_below(3);
    p->tied = calloc(3, sizeof(*p->tied));
    for (i = 0; i < p->tied_count; i++)
        make_names(&p->tied[i], 2, &serial);
    p->group_count = random_below(3);
    p->groups = calloc(3, sizeof(*p->groups));
    for (i = 0; i < p->group_count; i++) {
        p->groups[i].name = make_name(serial++);
        make_names(&p->groups[i].patterns, 1, &serial);
    }
    p->backend_given = random_below(2);
    p->backend = p->backend_given ? random_below(POLICY_BACKEND_COUNT) : POLICY_BACKEND_AUTO;
    p->dtype = dtypes[random_below(4)];
    for (i = random_below(3); i; i--) {
        char *name = make_name(serial++);

        assert_int_equal(policy_add_special_dtype(p, name, strlen(name), dtypes[1 + i]), 0);
        free(name);
    }
    p->strict = random_below(2);
    p->offload_buffers = random_below(2);
    return p;
}

static void assert_same_text(const char *a, const char *b)
{
    assert_int_equal(!a, !b);
    if (a)
        assert_string_equal(a, b);
}

static void assert_same_names(const struct policy_names *a, const struct policy_names *b)
{
    size_t i;

    assert_int_equal(a->count, b->count);
    for (i = 0; i < a->count; i++)
        assert_string_equal(a->names[i], b->names[i]);
}

static void assert_same(const struct policy *a, const struct policy *b)
{
    size_t i;

    assert_memory_equal(&a->max_memory, &b->max_memory, sizeof(a->max_memory));
    assert_int_equal(a->map.count, b->map.count);
    for (i = 0; i < a->map.count; i++) {
        assert_string_equal(a->map.entries[i].prefix, b->map.entries[i].prefix);
        assert_int_equal(a->map.entries[i].place, b->map.entries[i].place);
        assert_int_equal(a->map.entries[i].order, b->map.entries[i].order);
    }
    assert_same_names(&a->no_split, &b->no_split);
    assert_same_names(&a->no_split_classes, &b->no_split_classes);
    assert_same_names(&a->preload, &b->preload);
    assert_int_equal(a->tied_count, b->tied_count);
    for (i = 0; i < a->tied_count; i++)
        assert_same_names(&a->tied[i], &b->tied[i]);
    assert_int_equal(a->group_count, b->group_count);
    for (i = 0; i < a->group_count; i++) {
        assert_string_equal(a->groups[i].name, b->groups[i].name);
        assert_same_names(&a->groups[i].patterns, &b->groups[i].patterns);
    }
    assert_same_text(a->checkpoint, b->checkpoint);
    assert_same_text(a->offload_folder, b->offload_folder);
    assert_int_equal(a->backend, b->backend);
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(a->special_dtype_count, b->special_dtype_count);
    for (i = 0; i < a->special_dtype_count; i++) {
        assert_string_equal(a->special_dtypes[i].pattern, b->special_dtypes[i].pattern);
        assert_int_equal(a->special_dtypes[i].dtype, b->special_dtypes[i].dtype);
    }
    assert_int_equal(a->no_split_given, b->no_split_given);
    assert_int_equal(a->backend_given, b->backend_given);
    assert_int_equal(a->strict, b->strict);
    assert_int_equal(a->offload_buffers, b->offload_buffers);
}

static void what_is_written_is_read(void **state)
{
    unsigned seed;

    (void)state;
    for (seed = 0; seed < 1000; seed++) {
        struct policy *made, *back;
        char *text, *again;

        g_random = seed;
        made = make_policy();
        text = write_text(made, "p.json");
        back = read_text(text, "p.json");
        assert_same(made, back);
        again = write_text(back, "p.json");
        assert_string_equal(text, again);
        free(text);
        free(again);
        policy_free(made);
        policy_free(back);
    }
}

static void where_the_checkpoint_is(void **state)
{
    static const struct {
        const char *checkpoint, *path, *want;
    } rows[] = {
        {"m/x", "p.json", "m/x"},
        {"m/x", "./p.json", "m/x"},
        {"m/x", "-", "m/x"},
        {"/m/x", "a/p.json", "/m/x"},
        {"a/b/m/x", "a/b/p.json", "m/x"},
        {"a/b//x", "a/b/p.json", "x"},
        {"a/b/", "a/b/p.json", "."},
        {"../x", "../p.json", "x"},
        {"/a/x", "/a/p.json", "/a/x"},
    };
    char *folder = get_current_dir_name();
    struct policy *p = policy_new();
    char want[4200], *text;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        p->checkpoint = strdup(rows[i].checkpoint);
        text = write_text(p, rows[i].path);
        snprintf(want, sizeof(want), "{\n  \"version\": 1,\n  \"checkpoint\": \"%s\"\n}\n",
                 rows[i].want);
        assert_string_equal(text, want);
        free(text);
        free(p->checkpoint);
    }
    p->checkpoint = strdup("m/x"); /* not in the policy's folder */
    text = write_text(p, "out/p.json");
    snprintf(want, sizeof(want), "{\n  \"version\": 1,\n  \"checkpoint\": \"%s/m/x\"\n}\n", folder);
    assert_string_equal(text, want);
    free(text);
    free(folder);
    policy_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_fields_as_text),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(where_the_checkpoint_is),
    };

    return cmocka_run_group_tests_name("policy_write", tests, NULL, NULL);
}
