/* Strategy: models that the first walk does not place as well as they could be, by hand: each
 * leaves something out that another manner does not, beside one where the other manner would not be
 * valid.
 */
#include "plan_rig.h"

static void add_tied(struct rig *rig, const char *name, uint64_t bytes)
{
    rig->tensors[rig_add(rig, name, bytes)].tie = 0;
}

static void add_layers(struct rig *rig, unsigned layers)
{
    char name[64];
    unsigned i;

    for (i = 0; i < layers; i++) {
        snprintf(name, sizeof(name), "layers.%u.weight", i);
        rig_add(rig, name, 100);
    }
}

/* The first GPU keeps room for a layer unless what streams has room without that. */
static void no_room_where_nothing_streams(void **state)
{
    struct rig rig;

    (void)state;
    rig_begin(&rig, PLAN_BALANCED);
    add_layers(&rig, 3);
    rig_plan_within(&rig, 100, 200, 1000);
    assert_int_equal(rig.plan->device_bits[0], 100 * 8);
    assert_int_equal(rig.plan->device_bits[1], 200 * 8);
    /* One byte less, and something streams. */
    rig.options.max_memory.device_bytes[1] = 199;
    rig_plan(&rig);
    rig_check_room(&rig);
    assert_int_equal(rig.plan->device_bits[0], 0);
    /* One layer is left out after all: it needs its room. */
    rig.options.max_memory.device_bytes[0] = 150;
    rig_plan(&rig);
    rig_check_room(&rig);
    assert_int_equal(rig.plan->device_bits[0], 0);
    rig_end(&rig);
    /* The largest module goes to the second GPU, and what streams has room on the first. */
    rig_begin(&rig, PLAN_BALANCED);
    rig_add(&rig, "a.w", 50);
    rig_add(&rig, "b.w", 60);
    rig_add(&rig, "large.w", 200);
    rig_add(&rig, "c.w", 30);
    rig_plan_within(&rig, 150, 200, 1000);
    rig_check_room(&rig);
    assert_int_equal(rig.plan->device_bits[0], 110 * 8);
    assert_int_equal(rig.plan->device_bits[1], 200 * 8);
    rig_end(&rig);
    /* What fills one after another is accelerate's walk. */
    rig_begin(&rig, PLAN_SEQUENTIAL);
    add_layers(&rig, 3);
    rig.options.max_memory.cpu_bytes = 1000;
    rig.options.max_memory.device_bytes[0] = 100;
    rig.options.max_memory.device_bytes[1] = 200;
    rig_plan(&rig);
    assert_int_equal(rig.plan->device_bits[0], 0);
    assert_int_equal(rig.plan->cpu_bits, 100 * 8);
    rig_end(&rig);
}

/* While "c" is placed, room for "big" is still kept, which went with "a" already. */
static void no_room_where_nothing_is_read(void **state)
{
    struct rig rig;

    (void)state;
    rig_begin(&rig, PLAN_SEQUENTIAL);
    add_tied(&rig, "a.w", 10);
    rig_add(&rig, "c.w", 45);
    add_tied(&rig, "big.t", 10);
    rig_add(&rig, "big.u", 45);
    rig_add(&rig, "d.w", 1);
    rig.options.max_memory.cpu_bytes = 101;
    rig_plan(&rig);
    rig_check(&rig);
    assert_int_equal(rig.plan->cpu_bits, 101 * 8);
    rig.options.max_memory.cpu_bytes = 100;
    rig_plan(&rig);
    rig_check(&rig);
    assert_int_equal(rig.plan->cpu_bits, 55 * 8);
    rig_end(&rig);
    /* As many bytes as there is room, but not in pieces that fit: "c" is read, and has its room. */
    rig_begin(&rig, PLAN_SEQUENTIAL);
    rig_add(&rig, "a.w", 50);
    rig_add(&rig, "b.w", 50);
    rig_add(&rig, "c.w", 20);
    rig_plan_within(&rig, 0, 60, 60);
    assert_int_equal(rig.plan->cpu_bits, 0);
    rig_end(&rig);
}

/* "m" stands in "enc.m.t": what has the other name comes along, in front of what is too large. */
static void mentioned(void **state)
{
    struct rig rig;

    (void)state;
    rig_begin(&rig, PLAN_SEQUENTIAL);
    rig_add(&rig, "m.w", 10);
    rig_add(&rig, "large.w", 100);
    add_tied(&rig, "enc.m.t", 5);
    add_tied(&rig, "enc.t", 5);
    rig_plan_within(&rig, 0, 60, 1000);
    assert_int_equal(rig.plan->device_bits[1], 15 * 8);
    /* No room for both: "m" goes alone. */
    rig.options.max_memory.device_bytes[1] = 14;
    rig_plan(&rig);
    rig_check(&rig);
    assert_int_equal(rig.plan->device_bits[1], 10 * 8);
    rig_end(&rig);
}

/* Two come along, of which the first must be split: the rest of it has its turn before "large". */
static void mentioned_twice(void **state)
{
    struct rig rig;

    (void)state;
    rig_begin(&rig, PLAN_SEQUENTIAL);
    rig_add(&rig, "a.w", 2);
    rig.tensors[rig_add(&rig, "p.u", 5)].tie = 0;
    rig.tensors[rig_add(&rig, "p.a.t", 5)].tie = 0;
    rig_add(&rig, "p.x.w", 50);
    rig_add(&rig, "large.w", 1000);
    rig.tensors[rig_add(&rig, "q.u", 5)].tie = 1;
    rig.tensors[rig_add(&rig, "q.a.t", 5)].tie = 1;
    rig_add(&rig, "q.x.w", 90);
    rig_plan_within(&rig, 0, 102, 2000);
    assert_int_equal(rig.plan->device_bits[1], 102 * 8);
    rig_end(&rig);
}

/* What covers two of the names counts twice, so it is split, and "large" fits. */
static void covered_twice(void **state)
{
    struct rig rig;

    (void)state;
    rig_begin(&rig, PLAN_SEQUENTIAL);
    add_tied(&rig, "a.w", 10);
    rig_add(&rig, "large.w", 80);
    rig_add(&rig, "m.x.w", 50);
    add_tied(&rig, "m.l.t", 10);
    add_tied(&rig, "m.l.u", 10);
    rig_add(&rig, "m.l.w", 5);
    rig_plan_within(&rig, 0, 100, 1000);
    assert_int_equal(rig.plan->device_bits[1], 95 * 8);
    rig_end(&rig);
}

/* Here the other name comes along by itself, and the object would be torn apart. */
static void mentioned_by_one_name(void **state)
{
    struct rig rig;

    (void)state;
    rig_begin(&rig, PLAN_SEQUENTIAL);
    rig_add(&rig, "m.w", 10);
    rig_add(&rig, "large.w", 100);
    add_tied(&rig, "z.m.t", 5);
    add_tied(&rig, "y.t", 5);
    rig_add(&rig, "y.w", 20);
    rig_plan_within(&rig, 0, 60, 1000);
    assert_int_equal(rig.plan->device_bits[1], 10 * 8);
    rig_end(&rig);
}

/* Two modules are tied to "a" and one must be split: which one decides what fits. */
static void last_one_split_first(void **state)
{
    struct rig rig;

    (void)state;
    rig_begin(&rig, PLAN_SEQUENTIAL);
    rig.tensors[rig_add(&rig, "a.w", 1)].tie = 0;
    rig.tensors[rig_add(&rig, "a.v", 1)].tie = 1;
    rig_add(&rig, "p.x.w", 90);
    rig.tensors[rig_add(&rig, "p.y.w", 1)].tie = 0;
    rig_add(&rig, "q.x.w", 50);
    rig.tensors[rig_add(&rig, "q.y.w", 1)].tie = 1;
    rig_plan_within(&rig, 0, 100, 1000);
    assert_int_equal(rig.plan->device_bits[1], 92 * 8);
    rig_end(&rig);
}

/* A parameter of a module that may be split is found where none of the modules is small enough. */
static void fallback_within_a_module(void **state)
{
    struct rig rig;
    size_t small;

    (void)state;
    rig_begin(&rig, PLAN_SEQUENTIAL);
    rig_add(&rig, "b.w", 100);
    small = rig_add(&rig, "m.p", 5);
    rig_add(&rig, "m.q", 80);
    rig_add(&rig, "m.s.w", 50);
    rig.options.flags = PLAN_FALLBACK;
    rig.options.max_memory.device_bytes[0] = 140;
    rig.options.max_memory.cpu_bytes = 1000;
    rig_plan(&rig);
    rig_check(&rig);
    rig_check_room(&rig);
    assert_int_equal(rig_place(&rig, "m.p"), 0);
    assert_int_equal(rig.plan->device_bits[0], 5 * 8);
    /* A buffer goes with its module. */
    rig.kinds[small] = PLAN_BUFFER;
    rig.options.flags |= PLAN_OFFLOAD_BUFFERS;
    rig_plan(&rig);
    rig_check(&rig);
    assert_int_equal(rig.plan->device_bits[0], 0);
    rig_end(&rig);
}

/* "m" must bring "n" along, and is too large with it: it is not looked into, and "o" is found. */
static void fallback_beside_what_is_tied(void **state)
{
    struct rig rig;

    (void)state;
    rig_begin(&rig, PLAN_SEQUENTIAL);
    rig_add(&rig, "b.w", 100);
    rig_add(&rig, "m.p", 5);
    add_tied(&rig, "m.s.w", 50);
    add_tied(&rig, "n.w", 50);
    rig_add(&rig, "n.v", 20);
    rig_add(&rig, "o.w", 7);
    rig.options.flags = PLAN_FALLBACK;
    rig.options.max_memory.device_bytes[0] = 140;
    rig.options.max_memory.cpu_bytes = 1000;
    rig_plan(&rig);
    rig_check(&rig);
    rig_check_room(&rig);
    assert_int_equal(rig_place(&rig, "o.w"), 0);
    assert_int_equal(rig_place(&rig, "m.p"), POLICY_CPU);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_room_where_nothing_streams),
        cmocka_unit_test(no_room_where_nothing_is_read),
        cmocka_unit_test(mentioned),
        cmocka_unit_test(mentioned_by_one_name),
        cmocka_unit_test(mentioned_twice),
        cmocka_unit_test(covered_twice),
        cmocka_unit_test(last_one_split_first),
        cmocka_unit_test(fallback_within_a_module),
        cmocka_unit_test(fallback_beside_what_is_tied),
    };

    return cmocka_run_group_tests_name("planner_best", tests, NULL, NULL);
}
