/* Strategy: runs of a small model with four blocks, told tensor by tensor, and what the planner is
 * given to go by: what a run leaves out, counts that differ a little, blocks whose parts differ.
 * The last test is the whole way: the map that a run makes of a mixture of experts. */
#include "heat.h"
#include "policy_plan.h"
#include "tests/unit/built_checkpoint.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS      4u
#define RECORDS_MAX 64

static struct checkpoint *g_model;
static struct unit_table *g_units;
static struct plan_heat *g_heat;
static struct heat_record g_records[RECORDS_MAX];
static struct heat_run g_run = {.path = "run.json", .records = g_records};

static int make(void **state)
{
    static const struct unit_options options;
    struct input_error error;
    struct built b;
    char name[32];

    (void)state;
    built_begin(&b);
    built_add(&b, "embed.weight", 400);
    for (unsigned i = 0; i < BLOCKS; i++) {
        static const char *const parts[] = {"attn.weight", "attn.bias", "mlp.weight", "norm"};
        static const unsigned bytes[] = {100, 10, 100, 4};

        for (unsigned part = 0; part < 4; part++) {
            snprintf(name, sizeof(name), "layers.%u.%s", i, parts[part]);
            built_add(&b, name, bytes[part]);
        }
    }
    built_add(&b, "scale", 4);
    g_model = built_finish(&b);
    assert_int_equal(unit_table_create(g_model, &options, &g_units, &error), 0);
    g_run.count = 0;
    return 0;
}

static int unmake(void **state)
{
    (void)state;
    free(g_heat);
    g_heat = NULL;
    unit_table_free(g_units);
    checkpoint_close(g_model);
    return 0;
}

static void tell(const char *name, uint64_t touches, uint64_t first_touch)
{
    g_records[g_run.count++] = (struct heat_record){name, touches, first_touch};
}

/* Both weights of each block, as often as it says. */
static void tell_blocks(uint64_t attn, uint64_t mlp)
{
    static char names[2 * BLOCKS][32];

    for (unsigned i = 0; i < BLOCKS; i++) {
        snprintf(names[2 * i], sizeof(names[0]), "layers.%u.attn.weight", i);
        snprintf(names[2 * i + 1], sizeof(names[0]), "layers.%u.mlp.weight", i);
        tell(names[2 * i], attn, attn ? 2 * i + 1 : 0);
        tell(names[2 * i + 1], mlp, mlp ? 2 * i + 2 : 0);
    }
}

static void create(void)
{
    struct input_error error;

    assert_int_equal(heat_create(g_units, &g_run, &g_heat, &error), 0);
}

static const struct plan_heat *heat_of(const char *name)
{
    return &g_heat[checkpoint_find_name(g_model, name)];
}

static int is_whole(const char *module)
{
    return g_units->whole[module_tree_find(g_units->tree, module, strlen(module))] != 0;
}

static void test_touched_alike(void **state)
{
    (void)state;
    tell_blocks(16, 15);
    tell("embed.weight", 14, 9);
    tell("gone.weight", 99, 1);
    create();
    assert_int_equal(heat_of("embed.weight")->touches, 16); /* an eighth less is no less */
    assert_int_equal(heat_of("embed.weight")->order, 9);
    for (unsigned i = 0; i < BLOCKS; i++) {
        char name[32];

        snprintf(name, sizeof(name), "layers.%u", i);
        assert_true(is_whole(name));
        strcat(name, ".norm"); /* a small part of its block, which the run does not tell of */
        assert_int_equal(heat_of(name)->touches, 16);
        assert_int_equal(heat_of(name)->order, 2 * i + 1);
    }
    assert_int_equal(heat_of("scale")->touches, 0); /* no module of its own, never used */
    assert_int_equal(heat_of("scale")->order, UINT64_MAX);
}

static void test_touched_less(void **state)
{
    (void)state;
    tell_blocks(16, 13);
    tell("embed.weight", 12, 9);
    create();
    assert_int_equal(heat_of("layers.1.attn.weight")->touches, 16);
    assert_int_equal(heat_of("layers.1.attn.bias")->touches, 16); /* its module was */
    assert_int_equal(heat_of("layers.1.mlp.weight")->touches, 13);
    assert_int_equal(heat_of("layers.1.mlp.weight")->order, 4);
    assert_int_equal(heat_of("embed.weight")->touches, 13);
    assert_false(is_whole("layers.1"));
}

/* Too small to be counted, but used: as hot as what is nearest around it. */
static void test_used_uncounted(void **state)
{
    (void)state;
    tell_blocks(8, 0);
    tell("layers.2.norm", HEAT_NOT_TOLD, HEAT_NOT_TOLD);
    tell("scale", HEAT_NOT_TOLD, HEAT_NOT_TOLD);
    tell("embed.weight", 3, 2);
    tell("embed.weight", 2, 1); /* on another device */
    create();
    assert_int_equal(heat_of("layers.2.norm")->touches, 8);
    assert_int_equal(heat_of("scale")->touches, 8);
    assert_int_equal(heat_of("layers.2.mlp.weight")->touches, 0);
    assert_int_equal(heat_of("embed.weight")->touches, 5);
    assert_int_equal(heat_of("embed.weight")->order, 1);
}

static void expect_refused(const char *expected, const char *found)
{
    struct plan_heat *heat = NULL;
    struct input_error error;

    assert_int_equal(heat_create(g_units, &g_run, &heat, &error), -EINVAL);
    assert_null(heat);
    assert_string_equal(error.file, "run.json");
    assert_non_null(strstr(error.expected, expected));
    assert_non_null(strstr(error.found, found));
}

static void test_refused(void **state)
{
    (void)state;
    expect_refused("a run of this model", "none of its 18 tensors among the 0 parameters");
    tell("other.weight", 3, 1);
    expect_refused("a run of this model", "none of its 18 tensors among the 1 parameters");
    tell("embed.weight", HEAT_NOT_TOLD, HEAT_NOT_TOLD);
    expect_refused("a run that had to page", "no touches");
    tell_blocks(0, 0);
    expect_refused("a run that had to page", "no touches");
}

/* What is hot stays, what is never touched goes to disk; and where all fits, nothing is chosen. */
static void test_map(void **state)
{
    struct policy *policy = policy_new();
    struct policy_memory *memory = &policy->max_memory;
    struct input_error error;

    (void)state;
    tell_blocks(16, 1);
    tell("embed.weight", 0, 0);
    memory->device_bytes[0] = 600;
    memory->cpu_bytes = 600;
    assert_int_equal(policy_plan_map(policy, memory, g_model, NULL, PLAN_AUTO, &g_run, &error), 0);
    for (unsigned i = 0; i < BLOCKS; i++) {
        char name[32];

        snprintf(name, sizeof(name), "layers.%u.attn.weight", i);
        assert_int_equal(policy_resolve(&policy->map, name), 0);
    }
    assert_int_equal(policy_resolve(&policy->map, "embed.weight"), POLICY_DISK);
    policy_free(policy);

    policy = policy_new();
    policy->max_memory.device_bytes[0] = 6000;
    assert_int_equal(
        policy_plan_map(policy, &policy->max_memory, g_model, NULL, PLAN_AUTO, &g_run, &error), 0);
    assert_int_equal(policy->map.count, 1);
    assert_int_equal(policy_resolve(&policy->map, "embed.weight"), 0);
    policy_free(policy);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, unmake)
    const struct CMUnitTest tests[] = {
        TEST(test_touched_alike), TEST(test_touched_less), TEST(test_used_uncounted),
        TEST(test_refused),       TEST(test_map),
    };
#undef TEST

    return cmocka_run_group_tests_name("heat", tests, NULL, NULL);
}
