/* Strategy: two shards of a model in one folder, and a file with the same names in another; each
 * tensor is put at an address that tells which it is, and what is visited is written down. */
#include "config.h"
#include "policy_file.h"
#include "preload.h"
#include "tests/unit/built_checkpoint.h"
#include <string.h>

static struct config g_config;
static struct checkpoint *g_one, *g_two, *g_other; /* which never go away */
static char g_visited[256];

/* What config.c would define. */
const struct config *config(void)
{
    return &g_config;
}

static const struct tensor *tensor_of(const struct checkpoint *checkpoint, const char *name)
{
    return &checkpoint->tensors[checkpoint_find_name(checkpoint, name)];
}

static void write_down(void *arg, const struct tensor *tensor, CUdeviceptr addr)
{
    size_t used = strlen(g_visited);

    assert_ptr_equal(arg, &g_config);
    snprintf(g_visited + used, sizeof(g_visited) - used, "%s=%llu ", tensor->name,
             (unsigned long long)addr);
}

static const char *visited(const struct checkpoint *checkpoint, const char *name, CUdevice device)
{
    g_visited[0] = '\0';
    preload_visit(tensor_of(checkpoint, name), device, write_down, &g_config);
    return g_visited;
}

static void test_modules(void **state)
{
    (void)state;
    assert_true(preload_is_on());
    assert_string_equal(visited(g_one, "h.1.mlp.up", 0), "");
    preload_note(tensor_of(g_one, "h.1.mlp.up"), 0, 10);
    preload_note(tensor_of(g_one, "h.1.mlp.down"), 0, 20);
    preload_note(tensor_of(g_one, "h.1.attn"), 0, 30);
    preload_note(tensor_of(g_one, "h.10.mlp.up"), 0, 40);
    assert_string_equal(visited(g_one, "h.1.mlp.up", 0), "h.1.mlp.down=20 h.1.mlp.up=10 ");
    assert_string_equal(visited(g_one, "h.1.attn", 0), "");
    assert_string_equal(visited(g_one, "h.10.mlp.up", 0), "h.10.mlp.up=40 ");
    assert_true(preload_is_member(tensor_of(g_one, "h.1.mlp.up")));
    assert_false(preload_is_member(tensor_of(g_one, "h.1.attn")));
    /* A tensor by itself, which a pattern finds, is no module. */
    assert_false(preload_is_member(tensor_of(g_one, "norm")));
    preload_note(tensor_of(g_one, "h.1.mlp.up"), 0, 11); /* it has moved */
    assert_string_equal(visited(g_one, "h.1.mlp.down", 0), "h.1.mlp.down=20 h.1.mlp.up=11 ");
}

static void test_devices_and_shards(void **state)
{
    (void)state;
    preload_note(tensor_of(g_two, "h.1.mlp.gate"), 0, 50);
    preload_note(tensor_of(g_other, "h.1.mlp.up"), 0, 60);
    preload_note(tensor_of(g_two, "h.1.mlp.gate"), 1, 70);
    assert_string_equal(visited(g_one, "h.1.mlp.up", 0),
                        "h.1.mlp.gate=50 h.1.mlp.down=20 h.1.mlp.up=11 ");
    assert_string_equal(visited(g_one, "h.1.mlp.up", 1), "h.1.mlp.gate=70 ");
    assert_string_equal(visited(g_other, "h.1.mlp.up", 0), "h.1.mlp.up=60 ");
    assert_string_equal(visited(g_one, "h.1.mlp.up", -1), "");
}

/* The outermost module counts, whichever pattern finds it. */
static void test_patterns(void **state)
{
    (void)state;
    preload_note(tensor_of(g_one, "te.mlp.up"), 0, 80);
    preload_note(tensor_of(g_one, "te.rest"), 0, 90);
    assert_string_equal(visited(g_one, "te.mlp.up", 0), "te.mlp.up=80 te.rest=90 ");
}

static void test_unknown(void **state)
{
    const struct tensor unknown = {.name = "h.1.mlp.up"};

    (void)state;
    preload_note(&unknown, 0, 1);
    assert_false(preload_is_member(&unknown));
    g_visited[0] = '\0';
    preload_visit(&unknown, 0, write_down, &g_config);
    assert_string_equal(g_visited, "");
}

int main(void)
{
    static const char policy[] = "{\"version\": 1, \"preload\": [\"norm\", \"*.mlp\", \"te\"]}";
    static const char *const one[] = {"h.1.mlp.up", "h.1.mlp.down", "h.1.attn", "h.10.mlp.up",
                                      "te.mlp.up",  "te.rest",      "norm",     NULL};
    static const char *const two[] = {"h.1.mlp.gate", "h.1.mlps.up", NULL};
    static const char *const other[] = {"h.1.mlp.up", NULL};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modules),
        cmocka_unit_test(test_devices_and_shards),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_unknown),
    };
    struct input_error error;
    int failed;

    if (policy_parse(policy, sizeof(policy) - 1, "policy.json", &g_config.policy, &error))
        abort();
    g_one = built_names(one);
    g_two = built_names(two);
    g_other = built_names(other);
    preload_add(g_one, "/models/a/one");
    preload_add(g_two, "/models/a/two");
    preload_add(g_other, "/models/b/one");
    failed = cmocka_run_group_tests_name("preload", tests, NULL, NULL);
    policy_free(g_config.policy);
    return failed;
}
