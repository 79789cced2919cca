/* Strategy: places by a recorded run on layers that are all alike, so that what must stay is known
 * by counting; then random models and runs (seeds), of which limits, ties and room must hold.
 */
#include "plan_rig.h"

#define LAYERS 16

/* Layers of 100 bytes, all touched as often, one after the other; the last `cold` never. */
static void make(struct rig *rig, unsigned cold)
{
    char name[64];
    unsigned i;

    rig_begin(rig, PLAN_AUTO);
    for (i = 0; i < LAYERS; i++) {
        snprintf(name, sizeof(name), "layers.%u.weight", i);
        rig_add(rig, name, 100);
        if (i < LAYERS - cold)
            rig->heat[i] = (struct plan_heat){10, i};
    }
    rig->options.heat = rig->heat;
}

static unsigned count_on(const struct rig *rig, size_t first, size_t end, int place)
{
    unsigned count = 0;

    for (; first < end; first++)
        count += rig->places[first] == place;
    return count;
}

static void hottest_stay(void **state)
{
    struct rig rig;

    (void)state;
    make(&rig, 4);
    rig.heat[9].touches = 50;
    rig.heat[11].touches = 40;
    rig.options.max_memory.device_bytes[0] = 300;
    rig.options.max_memory.cpu_bytes = 1100;
    rig_plan(&rig);
    rig_check(&rig);
    rig_check_room(&rig);
    assert_int_equal(rig.places[9], 0);
    assert_int_equal(rig.places[11], 0);
    assert_int_equal(rig.plan->device_bits[0], 200 * 8);
    /* What was never touched is last. */
    assert_int_equal(count_on(&rig, 0, 12, POLICY_CPU), 10);
    assert_int_equal(count_on(&rig, 12, LAYERS, POLICY_DISK), 4);
    rig_end(&rig);
}

/* Half of what is touched alike stays: as much of each quarter of the order. */
static void spread(void **state)
{
    struct rig rig;
    size_t quarter;

    (void)state;
    make(&rig, 0);
    rig.options.max_memory.device_bytes[0] = 900;
    rig.options.max_memory.cpu_bytes = 5000;
    rig_plan(&rig);
    rig_check(&rig);
    rig_check_room(&rig);
    assert_int_equal(rig.plan->device_bits[0], 800 * 8);
    for (quarter = 0; quarter < 4; quarter++)
        assert_int_equal(count_on(&rig, 4 * quarter, 4 * quarter + 4, 0), 2);
    rig_end(&rig);
}

/* A cold name of a hot object stays with it. */
static void tied(void **state)
{
    struct rig rig;

    (void)state;
    make(&rig, 4);
    rig.tensors[2].tie = rig.tensors[14].tie = 0;
    rig.heat[14] = (struct plan_heat){99, 1};
    rig.tensors[2].bits = 800;
    rig.options.max_memory.device_bytes[0] = 250;
    rig_plan(&rig);
    rig_check(&rig);
    assert_int_equal(rig.plan->cpu_bits, 0);
    assert_int_equal(rig.places[2], rig.places[14]);
    assert_int_equal(rig.plan->device_bits[0], 100 * 8);
    rig_end(&rig);
}

static void random_runs(void **state)
{
    unsigned seed;

    (void)state;
    for (seed = 1; seed <= 20000; seed++) {
        unsigned random = seed;
        struct rig rig;

        rig_begin(&rig, PLAN_AUTO);
        rig_random(&rig, &random, (int)(seed % 2));
        rig_random_budgets(&rig, &random);
        rig.options.heat = rig.heat;
        rig_plan(&rig);
        rig_check(&rig);
        rig_check_room(&rig);
        rig_end(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hottest_stay),
        cmocka_unit_test(spread),
        cmocka_unit_test(tied),
        cmocka_unit_test(random_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
