/* Strategy: a model in two shards, of which the user has named the whole: what is tied across the
 * shards has one place in both. A checkpoint that the model does not explain is placed by itself,
 * and what is of none has no place. */
#include "config.h"
#include "placement.h"
#include "policy_file.h"
#include "tests/unit/built_checkpoint.h"
#include "tests/unit/checkpoint_file.h"
#include <limits.h>
#include <unistd.h>

static char g_folder[] = "/tmp/berth-placement-XXXXXX";
static struct config g_config;

/* What config.c would define. */
const struct config *config(void)
{
    return &g_config;
}

static struct checkpoint *open_file(const char *path)
{
    struct checkpoint *checkpoint;
    struct input_error error;

    if (checkpoint_open(path, &checkpoint, &error))
        fail_msg("%s: %s", path, error.found);
    return checkpoint;
}

static int place_of(const struct checkpoint *checkpoint, const char *name)
{
    return placement_find(&checkpoint->tensors[checkpoint_find_name(checkpoint, name)]);
}

static void test_shards_of_a_named_model(void **state)
{
    static struct checkpoint *one, *two; /* which never go away */

    (void)state;
    one = open_file("m-1.safetensors");
    two = open_file("m-2.safetensors");
    assert_true(placement_is_on());
    assert_int_equal(place_of(one, "t0"), POLICY_NOWHERE);
    placement_add(one, "m-1.safetensors");
    placement_add(two, "m-2.safetensors");
    assert_int_equal(place_of(one, "t0"), 3);
    assert_int_equal(place_of(one, "t1"), POLICY_CPU);
    assert_int_equal(place_of(two, "u0"), 3); /* tied to t0, which the map has first */
}

static void test_another_checkpoint(void **state)
{
    static const char *const names[] = {"t1", "u0", "v", "w", NULL};
    static struct checkpoint *other;
    const struct tensor unknown = {.name = "t0"};

    (void)state;
    other = built_names(names);
    placement_add(other, "other");
    assert_int_equal(place_of(other, "t1"), POLICY_CPU);
    assert_int_equal(place_of(other, "v"), POLICY_DISK);
    assert_int_equal(place_of(other, "u0"), 3); /* tied to a name that it leaves out */
    assert_int_equal(place_of(other, "w"), POLICY_NOWHERE);
    assert_int_equal(placement_find(&unknown), POLICY_NOWHERE);
}

static void put_model(void)
{
    static const char index[] = "{\"weight_map\": {\"t0\": \"m-1.safetensors\", \"t1\": "
                                "\"m-1.safetensors\", \"u0\": \"m-2.safetensors\"}}";
    static const uint64_t bytes[] = {100, 100};
    FILE *file = fopen("m.safetensors.index.json", "w");

    checkpoint_file_write("m-1.safetensors", bytes, 2, NULL);
    checkpoint_file_write_named("m-2.safetensors", 'u', bytes, 1, NULL);
    if (!file || fputs(index, file) < 0 || fclose(file))
        abort();
}

int main(void)
{
    static const char policy[] = "{\"version\": 1, \"checkpoint\": \"m.safetensors.index.json\", "
                                 "\"tied\": [[\"t0\", \"u0\"]], "
                                 "\"device_map\": {\"t0\": 3, \"t1\": \"cpu\", \"v\": \"disk\"}}";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shards_of_a_named_model),
        cmocka_unit_test(test_another_checkpoint),
    };
    struct input_error error;
    int failed;

    if (!mkdtemp(g_folder) || chdir(g_folder))
        abort();
    put_model();
    if (policy_parse(policy, sizeof(policy) - 1, "policy.json", &g_config.policy, &error))
        abort();
    failed = cmocka_run_group_tests_name("placement", tests, NULL, NULL);
    policy_free(g_config.policy);
    if (remove("m-1.safetensors") || remove("m-2.safetensors") ||
        remove("m.safetensors.index.json") || rmdir(g_folder))
        abort();
    return failed;
}
