/* Strategy: what a plan may never do, whatever the model: random models (seeds) under every
 * strategy and every flag, of which limits, ties, cover and room must hold by the map that is made;
 * and budgets of nothing, with the words and the flags on models small enough to do by hand.
 */
#include "plan_rig.h"
#include <errno.h>

/* Layers of 100 bytes, of two modules each. */
static void add_layers(struct rig *rig, unsigned layers)
{
    char name[64];
    unsigned i;

    for (i = 0; i < layers; i++) {
        snprintf(name, sizeof(name), "layers.%u.a.weight", i);
        rig_add(rig, name, 40);
        snprintf(name, sizeof(name), "layers.%u.b.weight", i);
        rig_add(rig, name, 60);
    }
}

static void keep_layers_whole(struct rig *rig, unsigned layers)
{
    char name[64];
    unsigned i;

    for (i = 0; i < layers; i++) {
        snprintf(name, sizeof(name), "layers.%u", i);
        rig->whole[rig_node(rig, name)] = 1;
    }
}

static void words(void **state)
{
    static const char *const known[] = {"auto", "balanced", "balanced_low_0", "sequential"};
    enum plan_strategy strategy = PLAN_SEQUENTIAL;
    char text[INPUT_ERROR_TEXT_BYTES];
    struct input_error error;
    int i;

    (void)state;
    for (i = 0; i < PLAN_STRATEGY_COUNT; i++) {
        assert_int_equal(plan_strategy_parse(known[i], &strategy, &error), 0);
        assert_int_equal(strategy, i);
        assert_string_equal(plan_strategy_name(strategy), known[i]);
    }
    assert_int_equal(plan_strategy_parse("balancd", &strategy, &error), -EINVAL);
    assert_string_equal(input_error_format(&error, text, sizeof(text)),
                        "expected auto, balanced, balanced_low_0 or sequential, found \"balancd\"; "
                        "did you mean \"balanced\"?");
    assert_int_equal(plan_strategy_parse("", &strategy, &error), -EINVAL);
    assert_int_equal(strategy, PLAN_SEQUENTIAL);
    assert_string_equal(plan_strategy_name(PLAN_STRATEGY_COUNT), "?");
}

static void nothing_to_fill(void **state)
{
    struct rig rig;
    int strategy;

    (void)state;
    for (strategy = 0; strategy < PLAN_STRATEGY_COUNT; strategy++) {
        rig_begin(&rig, (enum plan_strategy)strategy);
        add_layers(&rig, 3);
        rig_plan(&rig);
        rig_check(&rig);
        assert_int_equal(rig.plan->disk_bits, 300 * 8);
        rig.options.max_memory.device_bytes[0] = 0;
        rig.options.max_memory.device_bytes[1] = 0;
        rig.options.max_memory.cpu_bytes = 0;
        rig_plan(&rig);
        assert_int_equal(rig.plan->disk_bits, 300 * 8);
        assert_int_equal(rig.plan->count, 1);
        rig.options.max_memory.cpu_bytes = 1000;
        rig_plan(&rig);
        assert_int_equal(rig.plan->cpu_bits, 300 * 8);
        /* Without a budget cpu is not there. */
        rig.options.max_memory.cpu_bytes = POLICY_UNSET;
        rig.options.max_memory.device_bytes[1] = 100;
        rig_plan(&rig);
        rig_check(&rig);
        assert_int_equal(rig.plan->cpu_bits, 0);
        assert_int_equal(rig.plan->device_bits[1] + rig.plan->disk_bits, 300 * 8);
        rig_end(&rig);
    }
}

/* Each layer takes 100 bytes and the largest that remains needs as much. */
static void room(void **state)
{
    struct rig rig;

    (void)state;
    rig_begin(&rig, PLAN_SEQUENTIAL);
    add_layers(&rig, 5);
    rig_make_tree(&rig);
    keep_layers_whole(&rig, 5);
    rig.options.max_memory.device_bytes[0] = 399;
    rig.options.max_memory.cpu_bytes = 200;
    rig_plan(&rig);
    rig_check(&rig);
    rig_check_room(&rig);
    assert_int_equal(rig.plan->device_bits[0], 200 * 8);
    assert_int_equal(rig.plan->cpu_bits, 100 * 8);
    assert_int_equal(rig.plan->largest_bits, 100 * 8);
    assert_int_equal(rig.plan->count, 5);
    rig.options.max_memory.device_bytes[0] = 400;
    rig_plan(&rig);
    assert_int_equal(rig.plan->device_bits[0], 300 * 8);
    rig.options.max_memory.device_bytes[0] = 500;
    rig_plan(&rig);
    assert_int_equal(rig.plan->device_bits[0], 500 * 8);
    assert_int_equal(rig.plan->largest_bits, 0);
    assert_int_equal(rig.plan->count, 1);
    /* Split for a GPU that is too small, and whole again on cpu, unless each entry is wanted. */
    rig.options.max_memory.device_bytes[0] = 50;
    rig.options.max_memory.cpu_bytes = 500;
    rig_plan(&rig);
    assert_int_equal(rig.plan->cpu_bits, 500 * 8);
    assert_int_equal(rig.plan->count, 1);
    rig.options.flags = PLAN_ALL_ENTRIES;
    rig_plan(&rig);
    rig_check(&rig);
    assert_int_equal(rig.plan->count, 5);
    rig_end(&rig);
}

/* a and c share one object, c and e another: the three go as one. */
static void ties(void **state)
{
    static const char *const names[] = {"a.one", "b.one", "c.one", "c.two", "d.one", "e.one"};
    struct rig rig;
    size_t i;

    (void)state;
    rig_begin(&rig, PLAN_SEQUENTIAL);
    for (i = 0; i < 6; i++)
        rig_add(&rig, names[i], 10);
    rig.tensors[0].tie = rig.tensors[2].tie = 0;
    rig.tensors[3].tie = rig.tensors[5].tie = 1;
    rig.options.max_memory.device_bytes[0] = 30;
    rig_plan(&rig);
    rig_check(&rig);
    assert_int_equal(rig_place(&rig, "a.one"), 0);
    assert_int_equal(rig_place(&rig, "c.two"), 0);
    assert_int_equal(rig_place(&rig, "e.one"), 0);
    assert_int_equal(rig_place(&rig, "b.one"), POLICY_DISK);
    assert_int_equal(rig.plan->device_bits[0], 20 * 8);
    assert_int_equal(rig.plan->entries[0].reason, PLAN_FITS);
    assert_int_equal(rig.plan->entries[2].reason, PLAN_TIED);
    rig_end(&rig);
}

static void fallback(void **state)
{
    struct rig rig;

    (void)state;
    rig_begin(&rig, PLAN_SEQUENTIAL);
    rig_add(&rig, "large.weight", 100);
    rig_add(&rig, "small.weight", 10);
    rig.options.max_memory.device_bytes[0] = 109;
    rig.options.max_memory.cpu_bytes = 1000;
    rig_plan(&rig);
    assert_int_equal(rig.plan->device_bits[0], 0);
    rig.options.flags = PLAN_FALLBACK;
    rig.options.max_memory.device_bytes[0] = 110;
    rig_add(&rig, "middle.weight", 30);
    module_tree_free(rig.tree);
    rig.tree = NULL;
    rig_plan(&rig);
    rig_check(&rig);
    rig_check_room(&rig);
    assert_int_equal(rig_place(&rig, "small.weight"), 0);
    assert_int_equal(rig_place(&rig, "large.weight"), POLICY_CPU);
    rig_end(&rig);
}

/* A tensor of the root's own is looked for as modules are. */
static void fallback_to_a_tensor(void **state)
{
    struct rig rig;

    (void)state;
    rig_begin(&rig, PLAN_SEQUENTIAL);
    rig_add(&rig, "large", 100);
    rig_add(&rig, "small", 10);
    rig_add(&rig, "module.weight", 100);
    rig.options.max_memory.cpu_bytes = 110;
    rig_plan(&rig);
    assert_int_equal(rig.plan->cpu_bits, 0);
    rig.options.flags = PLAN_FALLBACK;
    rig_plan(&rig);
    rig_check(&rig);
    assert_int_equal(rig_place(&rig, "small"), POLICY_CPU);
    assert_int_equal(rig.plan->cpu_bits, 10 * 8);
    rig_end(&rig);
}

/* The buffer of a module that is split: beside the module where it may be offloaded, else on a GPU
 * with room. */
static void buffers(void **state)
{
    struct rig rig;

    (void)state;
    rig_begin(&rig, PLAN_SEQUENTIAL);
    rig.kinds[rig_add(&rig, "m.mask", 10)] = PLAN_TEMPORARY;
    rig_add(&rig, "m.a.weight", 100);
    rig_add(&rig, "m.b.weight", 100);
    rig.options.max_memory.device_bytes[0] = 150;
    rig.options.max_memory.cpu_bytes = 300;
    rig.options.flags = PLAN_OFFLOAD_BUFFERS;
    rig_plan(&rig);
    rig_check(&rig);
    assert_int_equal(rig_place(&rig, "m.a.weight"), POLICY_CPU);
    assert_int_equal(rig_place(&rig, "m.mask"), POLICY_CPU);
    rig.options.flags = 0;
    rig_plan(&rig);
    rig_check(&rig);
    assert_int_equal(rig_place(&rig, "m.mask"), 0);
    rig_end(&rig);
}

static void balanced(void **state)
{
    struct rig rig;
    unsigned i;

    (void)state;
    rig_begin(&rig, PLAN_BALANCED);
    add_layers(&rig, 12);
    rig_make_tree(&rig);
    keep_layers_whole(&rig, 12);
    for (i = 0; i < 3; i++)
        rig.options.max_memory.device_bytes[i] = 5000;
    rig_plan(&rig);
    rig_check(&rig);
    /* A third and a quarter more than a layer. */
    assert_int_equal(rig.plan->limit.device_bytes[0], 400 + 125);
    assert_int_equal(rig.plan->limit.device_bytes[2], 5000);
    assert_true(rig.plan->device_bits[2] > 0);
    rig.options.strategy = PLAN_BALANCED_LOW_0;
    rig_plan(&rig);
    rig_check(&rig);
    assert_int_equal(rig.plan->device_bits[0], 0);
    assert_int_equal(rig.plan->limit.device_bytes[0], 0);
    /* What the others cannot hold. */
    rig.options.max_memory.device_bytes[2] = 300;
    rig_plan(&rig);
    rig_check(&rig);
    assert_int_equal(rig.plan->limit.device_bytes[0], 1200 - 725 - 300);
    rig_end(&rig);
}

static void random_models(void **state)
{
    unsigned seed;

    (void)state;
    for (seed = 1; seed <= 3000; seed++) {
        unsigned random = seed, flags;
        struct rig rig;
        int strategy, with_buffers = seed % 2;

        rig_begin(&rig, PLAN_SEQUENTIAL);
        rig_random(&rig, &random, with_buffers);
        rig_random_budgets(&rig, &random);
        for (strategy = 0; strategy < PLAN_STRATEGY_COUNT; strategy++) {
            for (flags = 0; flags < 8; flags++) {
                rig.options.strategy = (enum plan_strategy)strategy;
                rig.options.flags = flags;
                rig_plan(&rig);
                rig_check(&rig);
                if (!with_buffers)
                    rig_check_room(&rig);
            }
        }
        rig_end(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),         cmocka_unit_test(nothing_to_fill),
        cmocka_unit_test(room),          cmocka_unit_test(ties),
        cmocka_unit_test(fallback),      cmocka_unit_test(fallback_to_a_tensor),
        cmocka_unit_test(buffers),       cmocka_unit_test(balanced),
        cmocka_unit_test(random_models),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
