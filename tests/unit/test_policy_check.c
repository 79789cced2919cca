/* Strategy: checkpoints are built without files. What lives where is compared as numbers; every
 * finding that there is has a policy of its own here and is compared as text. Findings of units.h
 * are tested there; here, that they are asked for and passed on.
 */
#include "built_checkpoint.h"
#include "policy_check.h"
#include <string.h>

#define MODEL                                                                                      \
    {                                                                                              \
        "embed.weight", "layers.0.attn.weight", "layers.0.mlp.weight", "layers.1.attn.weight",     \
            "layers.1.mlp.weight", "norm.weight", "head.weight", NULL                              \
    }

static struct policy *g_policy;
static struct checkpoint *g_checkpoint;

static void parse(const char *text)
{
    char line[INPUT_ERROR_TEXT_BYTES];
    struct input_error error;

    if (policy_parse(text, strlen(text), "p.json", &g_policy, &error))
        fail_msg("%s", input_error_format(&error, line, sizeof(line)));
}

/* Check a policy against the model; 16 bytes each tensor. */
static struct policy_check *check_against(const char *text, const char *const *names)
{
    struct policy_check *check = NULL;

    parse(text);
    g_checkpoint = built_names(names);
    assert_int_equal(policy_check_create(g_policy, g_checkpoint, NULL, &check), 0);
    return check;
}

static struct policy_check *check_model(const char *text)
{
    static const char *const names[] = MODEL;

    return check_against(text, names);
}

static void end(struct policy_check *check)
{
    policy_check_free(check);
    checkpoint_close(g_checkpoint);
    policy_free(g_policy);
    g_checkpoint = NULL;
    g_policy = NULL;
}

static void assert_holding(const struct policy_holding *holding, const char *name, int place,
                           size_t tensors, uint64_t bytes, uint64_t limit)
{
    assert_string_equal(holding->name, name);
    assert_int_equal(holding->place, place);
    assert_int_equal(holding->tensors, tensors);
    assert_int_equal(holding->bytes, bytes);
    assert_true(holding->limit == limit);
}

static void what_lives_where(void **state)
{
    struct policy_check *check =
        check_model("{\"version\":1,\"max_memory\":{\"0\":80,\"2\":7,\"cpu\":\"1KB\"},"
                    "\"device_map\":{\"layers.1\":\"cpu\",\"layers\":0,\"\":\"disk\",\"embed\":0},"
                    "\"groups\":{\"a\":[\"*.attn\"],\"b\":[\"head\",\"norm\"]}}");

    (void)state;
    assert_int_equal(check->finding_count, 0);
    assert_int_equal(check->tensors, 7);
    assert_int_equal(check->bytes, 112);
    assert_int_equal(check->place_count, 4);
    assert_holding(&check->places[0], "0", 0, 3, 48, 80);
    assert_holding(&check->places[1], "2", 2, 0, 0, 7);
    assert_holding(&check->places[2], "cpu", POLICY_CPU, 2, 32, 1000);
    assert_holding(&check->places[3], "disk", POLICY_DISK, 2, 32, POLICY_UNSET);
    assert_int_equal(check->key_count, 4);
    assert_holding(&check->keys[0], "layers.1", POLICY_CPU, 2, 32, POLICY_UNSET);
    assert_holding(&check->keys[1], "layers", 0, 2, 32, POLICY_UNSET);
    assert_holding(&check->keys[2], "", POLICY_DISK, 2, 32, POLICY_UNSET);
    assert_holding(&check->keys[3], "embed", 0, 1, 16, POLICY_UNSET);
    assert_int_equal(check->group_count, 2);
    assert_holding(&check->groups[0], "a", POLICY_NOWHERE, 2, 32, POLICY_UNSET);
    assert_holding(&check->groups[1], "b", POLICY_NOWHERE, 2, 32, POLICY_UNSET);
    assert_int_equal(check->uncovered.tensors, 0);
    assert_int_equal(check->unit_count, 5);
    assert_string_equal(check->streamed_unit, "layers.1");
    assert_int_equal(check->streamed_bytes, 32);
    end(check);
}

/* Findings as "severity field: text", one a row. */
static void assert_findings(const char *policy, const char *const *want)
{
    struct policy_check *check = check_model(policy);
    char text[1024];
    size_t i;

    for (i = 0; i < check->finding_count; i++) {
        const struct policy_finding *finding = &check->findings[i];

        snprintf(text, sizeof(text), "%c %s: %s", finding->severity == POLICY_ERROR ? 'E' : 'W',
                 finding->field, finding->text);
        if (!want[i])
            fail_msg("%s: one too many: %s", policy, text);
        assert_string_equal(text, want[i]);
        assert_int_equal(i < check->error_count, finding->severity == POLICY_ERROR);
    }
    if (want[i])
        fail_msg("%s: not found: %s", policy, want[i]);
    end(check);
}

#define MAP(map) "{\"version\":1,\"device_map\":" map "}"
#define ALL      "{\"\":0}"

static void what_is_found(void **state)
{
    static const struct {
        const char *policy;
        const char *want[6];
    } rows[] = {
        {"{\"version\":1}", {NULL}},
        {MAP(ALL), {NULL}},
        {MAP("{\"embed\":0,\"layers\":0,\"norm\":0}"),
         {"E device_map: no key covers head.weight (16 B); add keys for them, or \"\" for all the "
          "rest"}},
        {MAP("{\"layers\":0}"),
         {"E device_map: no key covers embed.weight and 2 more tensors (48 B); add keys for them, or "
          "\"\" for all the rest"}},
        {"{\"version\":1,\"max_memory\":{\"0\":100,\"cpu\":0},\"device_map\":{\"\":0}}",
         {"E max_memory.0: the map puts 112 B there, 12 bytes more than the 100 B that it may take"}},
        {"{\"version\":1,\"max_memory\":{\"0\":112},\"device_map\":{\"\":0}}", {NULL}},
        {"{\"version\":1,\"max_memory\":{\"disk\":111},\"device_map\":\"disk_offload\"}",
         {"E max_memory.disk: the map puts 112 B there, 1 bytes more than the 111 B that it may "
          "take"}},
        {"{\"version\":1,\"max_memory\":{\"0\":111},\"device_map\":{\"\":0,\"head\":\"cpu\"}}",
         {"W max_memory.0: the map leaves 15 B; the largest unit that streams, head.weight, has 16 B"}},
        {"{\"version\":1,\"max_memory\":{\"0\":111},\"device_map\":{\"\":0,\"layers.1\":\"cpu\"}}",
         {NULL}}, /* it is more than a quarter of the GPU */
        {"{\"version\":1,\"max_memory\":{\"0\":112},\"device_map\":{\"\":0,\"layers.1\":\"cpu\"}}",
         {NULL}},
        {MAP("{\"\":0,\"emebd\":1,\"layers.7\":0,\"rotary\":0,\"layers.0.att.weight\":0}"),
         {"W device_map.emebd: matches no tensor; did you mean embed?",
          "W device_map.layers.7: matches no tensor: a module without weights, or no module",
          "W device_map.rotary: matches no tensor: a module without weights, or no module",
          "W device_map.layers.0.att.weight: matches no tensor; did you mean layers.0.attn.weight?"}},
        {MAP("{\"\":0,\"layers\":0,\"layers.0\":0,\"layers.1\":0}"),
         {"W device_map.layers: all tensors below it have longer keys: it places nothing"}},
        {MAP("{\"\":0,\"embed\":0,\"layers\":0,\"norm\":0,\"head\":0}"),
         {"W device_map[\"\"]: all tensors below it have longer keys: it places nothing"}},
        {"{\"version\":1,\"strict\":true,\"preload\":[\"*.attn\",\"*.atn\"]}",
         {"E preload: \"*.atn\" matches no module and no tensor"}},
        {"{\"version\":1,\"groups\":{\"a\":[\"layers.*\"],\"b\":[\"*.attn\",\"x\"],\"c\":[\"*\"]}}",
         {"E groups: layers.0.attn.weight is in a and in b; a tensor is in one group",
          "E groups: layers.0.attn.weight is in a and in c; a tensor is in one group",
          "W groups.b: \"x\" matches no module and no tensor"}},
        {"{\"version\":1,\"no_split\":[\"layers.*\",\"h.*\"]}",
         {"W no_split: \"h.*\" matches no module that could be split"}},
        {"{\"version\":1,\"no_split\":[\"layers.*\"],\"device_map\":{\"\":0,\"layers.0.mlp\":\"cpu\"}}",
         {"E device_map: expected one place for layers.0.attn.weight and layers.0.mlp.weight, which "
          "are one unit by no_split \"layers.*\", found 0 by \"\" and cpu by \"layers.0.mlp\""}},
        {"{\"version\":1,\"tied\":[[\"head.weight\",\"embed.weight\"]],"
         "\"device_map\":{\"\":0,\"head\":\"cpu\"}}",
         {"E device_map: expected one place for embed.weight and head.weight, which are one parameter by "
          "tied, found 0 by \"\" and cpu by \"head\""}},
        {"{\"version\":1,\"tied\":[[\"x\",\"y\"]]}",
         {"W tied: the checkpoint has neither x nor y"}},
        {"{\"version\":1,\"tied\":[[\"lm_head.weight\",\"embed.weight\"]],"
         "\"device_map\":{\"\":0,\"lm_head\":0}}",
         {NULL}},
        {"{\"version\":1,\"tied\":[[\"lm_head.weight\",\"embed.weight\"]],"
         "\"device_map\":{\"\":0,\"lm_head\":1}}",
         {"E device_map: expected one place for embed.weight and lm_head.weight, which are one parameter by "
          "tied, found 0 by \"\" and 1 by \"lm_head\""}},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_findings(rows[i].policy, rows[i].want);
}

static void classes_that_are_unknown(void **state)
{
    struct policy_check *check = check_model(
        "{\"version\":1,\"no_split_module_classes\":[\"LlamaDecoderLayer\",\"NoSuch\"]}");

    (void)state;
    assert_int_equal(check->error_count, 1);
    assert_string_equal(check->findings[0].field, "no_split_module_classes");
    assert_non_null(strstr(check->findings[0].text, "NoSuch"));
    assert_int_equal(check->finding_count, 1);
    end(check);
}

/* Tied names and a dtype change what is counted. */
static void sizes(void **state)
{
    struct policy_check *check =
        check_model("{\"version\":1,\"tied\":[[\"head.weight\",\"embed.weight\"]],"
                    "\"device_map\":{\"embed\":0,\"layers\":1,\"norm\":1}}");
    struct built b;

    (void)state;
    assert_int_equal(check->finding_count, 0); /* embed covers head.weight */
    assert_int_equal(check->bytes, 96);
    assert_int_equal(check->places[0].tensors, 2);
    assert_int_equal(check->places[0].bytes, 16);
    end(check);

    built_begin(&b);
    for (int i = 0; i < 3; i++) {
        static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_I32};
        static const char *const names[] = {"a", "b", "c"};
        uint64_t elements = 8;
        struct tensor tensor = {.name = names[i],
                                .name_bytes = 1,
                                .shape = &elements,
                                .rank = 1,
                                .dtype = (uint16_t)dtypes[i],
                                .offset = b.end,
                                .bytes = elements * (i == 1 ? 2 : 4)};

        assert_int_equal(checkpoint_builder_add_tensor(&b.builder, &tensor), 0);
        b.end += tensor.bytes;
    }
    g_checkpoint = built_finish(&b);
    g_policy = policy_new();
    assert_int_equal(policy_check_create(g_policy, g_checkpoint, NULL, &check), 0);
    assert_int_equal(check->bytes, 32 + 16 + 32);
    policy_check_free(check);
    g_policy->dtype = DTYPE_F32; /* nothing grows */
    assert_int_equal(policy_check_create(g_policy, g_checkpoint, NULL, &check), 0);
    assert_int_equal(check->bytes, 32 + 16 + 32);
    policy_check_free(check);
    g_policy->dtype = DTYPE_F16;
    assert_int_equal(policy_check_create(g_policy, g_checkpoint, NULL, &check), 0);
    assert_int_equal(check->bytes, 16 + 16 + 32);
    policy_check_free(check);
    g_policy->dtype = DTYPE_F8_E4M3;
    assert_int_equal(policy_check_create(g_policy, g_checkpoint, NULL, &check), 0);
    assert_int_equal(check->bytes, 8 + 8 + 32);
    policy_check_free(check);
    assert_int_equal(policy_add_special_dtype(g_policy, "bx", 1, DTYPE_F32), 0);
    assert_int_equal(policy_add_special_dtype(g_policy, "none.*", 6, DTYPE_F32), 0);
    assert_int_equal(policy_check_create(g_policy, g_checkpoint, NULL, &check), 0);
    assert_int_equal(check->bytes, 8 + 32 + 32);
    assert_int_equal(check->finding_count, 1);
    assert_string_equal(check->findings[0].field, "special_dtypes");
    assert_string_equal(check->findings[0].text, "\"none.*\" matches no module and no tensor");
    policy_check_free(check);
    policy_free(g_policy);
    /* Two names of one parameter, of which one is made smaller: it takes what the other does. */
    parse("{\"version\":1,\"tied\":[[\"a\",\"c\"]],\"dtype\":\"float16\"}");
    assert_int_equal(policy_check_create(g_policy, g_checkpoint, NULL, &check), 0);
    assert_int_equal(check->bytes, 32 + 16);
    end(check);
}

static void many_wrong_keys(void **state)
{
    char text[8000] = "{\"\":0";
    struct policy_check *check;
    unsigned i;

    (void)state;
    for (i = 0; i < 100; i++)
        sprintf(text + strlen(text), ",\"q%u\":0", i);
    strcat(text, "}");
    check = check_model(text);
    assert_int_equal(check->finding_count, 65);
    assert_string_equal(check->findings[0].field, "device_map.q0");
    assert_string_equal(check->findings[64].text, "36 more keys match no tensor");
    end(check);
}

static void without_a_checkpoint(void **state)
{
    struct policy *p = policy_new();
    struct policy_check *check = NULL;

    (void)state;
    p->max_memory.device_bytes[1] = 5;
    assert_int_equal(policy_map_add(&p->map, "nothing", POLICY_CPU), 0);
    policy_map_sort(&p->map);
    assert_int_equal(policy_check_create(p, NULL, NULL, &check), 0);
    assert_int_equal(check->finding_count, 0);
    assert_int_equal(check->place_count, 2);
    assert_int_equal(check->key_count, 1);
    assert_holding(&check->keys[0], "nothing", POLICY_CPU, 0, 0, POLICY_UNSET);
    assert_int_equal(policy_check_add(check, POLICY_WARNING, "a", "one %d", 1), 0);
    assert_int_equal(policy_check_add(check, POLICY_ERROR, "b", "two"), 0);
    assert_int_equal(check->error_count, 1);
    assert_string_equal(check->findings[0].text, "two");
    assert_string_equal(check->findings[1].text, "one 1");
    policy_check_free(check);
    policy_check_free(NULL);
    policy_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_lives_where),         cmocka_unit_test(what_is_found),
        cmocka_unit_test(classes_that_are_unknown), cmocka_unit_test(sizes),
        cmocka_unit_test(many_wrong_keys),          cmocka_unit_test(without_a_checkpoint),
    };

    return cmocka_run_group_tests_name("policy_check", tests, NULL, NULL);
}
