/* Strategy: maps for a model of one table and eight blocks, read back letter by letter: what stays
 * where is the planner's own test's to hold against accelerate; here it is what a policy asks for,
 * that auto is ours, and that names which the checkpoint leaves out are in the map. */
#include "policy_plan.h"
#include "tests/unit/built_checkpoint.h"
#include <errno.h>

#define TABLE_BYTES 600u
#define BLOCK_BYTES 100u
#define BLOCKS      8u

static struct checkpoint *make_model(void)
{
    struct built b;
    char name[32];

    built_begin(&b);
    built_add(&b, "embed.weight", TABLE_BYTES);
    for (unsigned i = 0; i < BLOCKS; i++) {
        for (unsigned part = 0; part < 2; part++) {
            snprintf(name, sizeof(name), "layers.%u.%s.weight", i, part ? "up" : "down");
            built_add(&b, name, BLOCK_BYTES / 2);
        }
    }
    return built_finish(&b);
}

static char letter(int place)
{
    return place >= 0             ? (char)('0' + place)
           : place == POLICY_CPU  ? 'c'
           : place == POLICY_DISK ? 'd'
                                  : '.';
}

/* The places of the table and of the blocks' first tensors, after a policy was planned. */
static const char *planned(struct policy *policy, enum plan_strategy strategy)
{
    static char text[BLOCKS + 2];
    struct checkpoint *checkpoint = make_model();
    struct input_error error;
    char name[32];

    assert_int_equal(
        policy_plan_map(policy, &policy->max_memory, checkpoint, NULL, strategy, NULL, &error), 0);
    text[0] = letter(policy_resolve(&policy->map, "embed.weight"));
    for (unsigned i = 0; i < BLOCKS; i++) {
        int down, up;

        snprintf(name, sizeof(name), "layers.%u.down.weight", i);
        down = policy_resolve(&policy->map, name);
        snprintf(name, sizeof(name), "layers.%u.up.weight", i);
        up = policy_resolve(&policy->map, name);
        text[1 + i] = down == up ? letter(down) : '/';
    }
    checkpoint_close(checkpoint);
    return text;
}

static struct policy *with_memory(const char *memory)
{
    struct policy *policy = policy_new();
    struct input_error error;

    assert_non_null(policy);
    assert_int_equal(policy_parse_max_memory(memory, &policy->max_memory, &error), 0);
    return policy;
}

static void expect(const char *memory, enum plan_strategy strategy, const char *want)
{
    struct policy *policy = with_memory(memory);

    assert_string_equal(planned(policy, strategy), want);
    policy_free(policy);
}

static void test_strategies(void **state)
{
    (void)state;
    expect("0=2000,cpu=2000", PLAN_AUTO, "000000000");
    expect("0=900,1=900,cpu=2000", PLAN_AUTO, "001111111");
    expect("0=900,1=900,cpu=2000", PLAN_SEQUENTIAL, "000111111");
    /* The first GPU keeps room for the largest unit that is left. */
    expect("0=900,cpu=2000", PLAN_SEQUENTIAL, "000cccccc");
    expect("0=500,cpu=2000", PLAN_SEQUENTIAL, "ccccccccc");
}

/* A table that no GPU can hold leaves the GPU to the blocks, every other of them. */
static void test_auto_is_ours(void **state)
{
    (void)state;
    expect("0=500,cpu=2000", PLAN_AUTO, "cc0c0c0c0");
    expect("0=500,cpu=900", PLAN_AUTO, "dc0c0c0c0");
}

static void test_no_split_none(void **state)
{
    struct policy *policy = with_memory("0=250,cpu=2000");

    (void)state;
    policy->no_split_given = true;
    assert_non_null(strchr(planned(policy, PLAN_AUTO), '/'));
    policy_free(policy);
}

/* Blocks that are loaded as four bytes for each of the file's: one fits beside the table, with room
 * for another. */
static void test_dtypes(void **state)
{
    struct policy *policy = with_memory("0=1500,cpu=9000");

    (void)state;
    assert_int_equal(policy_add_special_dtype(policy, "layers", 6, DTYPE_F32), 0);
    assert_string_equal(planned(policy, PLAN_SEQUENTIAL), "00ccccccc");
    policy_free(policy);
}

/* A further name of the table, which the file leaves out, is where the table is. */
static void test_absent_names(void **state)
{
    char *names[] = {"embed.weight", "head.weight"};
    struct policy_names group = {names, 2};
    struct policy *policy = with_memory("0=500,cpu=2000");

    (void)state;
    policy->tied = &group;
    policy->tied_count = 1;
    planned(policy, PLAN_AUTO);
    assert_int_equal(policy_resolve(&policy->map, "head.weight"), POLICY_CPU);
    policy->tied = NULL;
    policy->tied_count = 0;
    policy_free(policy);
}

static void test_wrong_ties(void **state)
{
    char *names[] = {"embed.weight", "layers.0.up.weight"};
    struct policy_names group = {names, 2};
    struct policy *policy = with_memory("0=500");
    struct checkpoint *checkpoint = make_model();
    struct input_error error;

    (void)state;
    policy->tied = &group;
    policy->tied_count = 1;
    assert_int_equal(
        policy_plan_map(policy, &policy->max_memory, checkpoint, NULL, PLAN_AUTO, NULL, &error),
        -EINVAL);
    assert_true(error.found[0] != '\0');
    assert_int_equal(policy->map.count, 0);
    policy->tied = NULL;
    policy->tied_count = 0;
    policy_free(policy);
    checkpoint_close(checkpoint);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strategies),    cmocka_unit_test(test_auto_is_ours),
        cmocka_unit_test(test_no_split_none), cmocka_unit_test(test_absent_names),
        cmocka_unit_test(test_wrong_ties),    cmocka_unit_test(test_dtypes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
