/* Strategy: maps over checkpoints of a few names, and the place of each tensor: that units have one
 * place whatever the map says of their parts, and that a map which contradicts itself is counted
 * and followed as its first entry says. */
#include "policy_place.h"
#include "tests/unit/built_checkpoint.h"

static const char *const g_names[] = {
    "embed.weight",
    "layers.0.q.weight",
    "layers.0.q.weight.absmax",
    "layers.0.mlp.weight",
    "layers.1.q.weight",
    "layers.1.mlp.weight",
    "layers.10.q.weight",
    "layers.10.mlp.weight",
    "head.weight",
    NULL,
};

/* The places that a policy gives, one letter for each tensor: a digit for a GPU. */
static const char *places(const char *policy_text, int conflicts)
{
    static char text[32];
    struct checkpoint *checkpoint = built_names(g_names);
    struct input_error error;
    struct policy *policy;
    int8_t *found = NULL;
    size_t i;

    if (policy_parse(policy_text, strlen(policy_text), "policy.json", &policy, &error))
        fail_msg("%s", error.found);
    assert_int_equal(policy_place_tensors(policy, checkpoint, NULL, &found, &error), conflicts);
    for (i = 0; i < checkpoint->tensor_count; i++)
        text[i] = found[i] >= 0                ? (char)('0' + found[i])
                  : found[i] == POLICY_CPU     ? 'c'
                  : found[i] == POLICY_DISK    ? 'd'
                  : found[i] == POLICY_NOWHERE ? '.'
                                               : '?';
    text[i] = '\0';
    free(found);
    policy_free(policy);
    checkpoint_close(checkpoint);
    return text;
}

#define MAP(map)        "{\"version\": 1, \"device_map\": " map "}"
#define WITH(more, map) "{\"version\": 1, " more ", \"device_map\": " map "}"

static void test_longest_key(void **state)
{
    (void)state;
    assert_string_equal(places(MAP("{\"\": \"cpu\", \"layers.1\": 0, \"head\": \"disk\"}"), 0),
                        "cccc00ccd");
    assert_string_equal(places(MAP("{\"layers.1\": 3}"), 0), "....33...");
    /* A block that is split by the map is none. */
    assert_string_equal(places(MAP("{\"\": 0, \"layers.10.mlp\": \"cpu\"}"), 0), "0000000c0");
}

static void test_companions(void **state)
{
    (void)state;
    assert_string_equal(
        places(MAP("{\"\": 0, \"layers.0\": 0, \"layers.0.q.weight\": \"cpu\"}"), 0), "0cc000000");
    assert_string_equal(places(MAP("{\"\": 0, \"layers.0.q.weight.absmax\": \"cpu\"}"), 1),
                        "000000000");
}

static void test_ties(void **state)
{
    (void)state;
    assert_string_equal(places(WITH("\"tied\": [[\"embed.weight\", \"head.weight\"]]",
                                    "{\"embed\": 1, \"layers\": \"cpu\"}"),
                               0),
                        "1ccccccc1");
    assert_string_equal(places(WITH("\"tied\": [[\"embed.weight\", \"head.weight\"]]",
                                    "{\"embed\": 1, \"layers\": \"cpu\", \"head\": \"cpu\"}"),
                               1),
                        "1ccccccc1");
    /* A list that cannot be ties nothing; nor does a class that nobody knows keep anything. */
    assert_string_equal(places(WITH("\"tied\": [[\"a\", \"b\"]], "
                                    "\"no_split_module_classes\": [\"Nonesuch\"]",
                                    "{\"embed\": 1}"),
                               0),
                        "1........");
}

static void test_kept_whole(void **state)
{
    (void)state;
    assert_string_equal(
        places(WITH("\"no_split\": [\"layers.?\"]",
                    "{\"\": 0, \"layers.1.mlp\": \"cpu\", \"layers.10.mlp\": \"cpu\"}"),
               1),
        "0000000c0");
    assert_string_equal(
        places(WITH("\"no_split\": [\"layers.*\"]", "{\"layers.1.mlp\": \"cpu\"}"), 0),
        "....cc...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_longest_key),
        cmocka_unit_test(test_companions),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_kept_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
