/* Strategy: models of a few modules, whose sizes are in bytes and whose maps are written out as
 * text: the walk and the room it keeps, ties, stacks, buffers that accelerate forgets, the search
 * for what fits, shares of balance. For placement by a recorded run small cases say who stays and
 * who is spread, and random ones hold every map against its rules: limits, ties, nothing hotter
 * left out where it would have fitted in the place of something colder. The golden maps have their
 * own test.
 */
#include "balance.h"
#include "data.h"
#include "planner.h"
#include <errno.h>
#include <string.h>

#define TENSORS_MAX 64

static struct input_error g_error;

/* One tensor of a model: its bytes, its tie (0 for none) and kind; heat for a recorded run. */
struct row {
    const char *name;
    unsigned bytes;
    unsigned tie;
    enum plan_kind kind;
    uint64_t touches;
    uint64_t order;
    uint32_t stack;
};

struct rig {
    struct module_tensor tensors[TENSORS_MAX];
    uint8_t kinds[TENSORS_MAX];
    uint32_t stacks[TENSORS_MAX];
    struct plan_heat heat[TENSORS_MAX];
    struct module_tree *tree;
    uint8_t whole[4 * TENSORS_MAX];
    struct plan_options options;
    size_t count;
};

static void rig_open(struct rig *rig, const struct row *rows)
{
    memset(rig, 0, sizeof(*rig));
    for (; rows[rig->count].name; rig->count++) {
        const struct row *row = &rows[rig->count];

        rig->tensors[rig->count] =
            (struct module_tensor){row->name, 8 * (uint64_t)row->bytes, (uint32_t)strlen(row->name),
                                   row->tie ? row->tie - 1 : MODULE_NONE};
        rig->kinds[rig->count] = (uint8_t)row->kind;
        rig->stacks[rig->count] = row->stack;
        rig->heat[rig->count] =
            (struct plan_heat){row->touches, row->touches ? row->order : UINT64_MAX};
    }
    assert_int_equal(module_tree_create(rig->tensors, rig->count, &rig->tree, &g_error), 0);
    rig->options.strategy = PLAN_SEQUENTIAL;
    rig->options.flags = PLAN_ALL_ENTRIES;
    policy_memory_clear(&rig->options.max_memory);
}

static void rig_close(struct rig *rig)
{
    module_tree_free(rig->tree);
}

static struct plan *rig_plan(struct rig *rig, const char *memory)
{
    struct plan_model model = {rig->tree, rig->tensors, rig->kinds, rig->whole, rig->stacks};
    struct plan *plan;

    policy_memory_clear(&rig->options.max_memory);
    if (memory)
        assert_int_equal(policy_parse_max_memory(memory, &rig->options.max_memory, &g_error), 0);
    assert_int_equal(plan_create(&model, &rig->options, &plan, &g_error), 0);
    return plan;
}

static void draw(const struct rig *rig, const struct plan *plan, char *at)
{
    size_t i;

    *at = '\0';
    for (i = 0; i < plan->count; i++) {
        const struct module_node *node = &rig->tree->nodes[plan->entries[i].node];
        int place = plan->entries[i].place;

        at += sprintf(at, "%s%.*s=", i ? " " : "", (int)node->path_bytes, node->path);
        at += place >= 0 ? sprintf(at, "%d", place)
                         : sprintf(at, place == POLICY_CPU ? "cpu" : "disk");
    }
}

static void expect(struct rig *rig, const char *memory, const char *want)
{
    struct plan *plan = rig_plan(rig, memory);
    char text[2000];

    draw(rig, plan, text);
    assert_string_equal(text, want);
    plan_free(plan);
}

static void strategies(void **state)
{
    enum plan_strategy strategy;
    char line[INPUT_ERROR_TEXT_BYTES];
    int i;

    (void)state;
    for (i = 0; i < PLAN_STRATEGY_COUNT; i++) {
        assert_int_equal(
            plan_strategy_parse(plan_strategy_name((enum plan_strategy)i), &strategy, &g_error), 0);
        assert_int_equal(strategy, i);
    }
    assert_int_equal(plan_strategy_parse("balance", &strategy, &g_error), -EINVAL);
    assert_string_equal(input_error_format(&g_error, line, sizeof(line)),
                        "expected auto, balanced, balanced_low_0 or sequential, found \"balance\"; "
                        "did you mean \"balanced\"?");
    assert_string_equal(plan_strategy_name(PLAN_STRATEGY_COUNT), "?");
}

static void stack_of_a_shape(void **state)
{
    const uint64_t three[] = {8, 2, 2};

    (void)state;
    assert_int_equal(plan_stack(three, 3), 8);
    assert_int_equal(plan_stack(three, 2), 0);
}

static void walk(void **state)
{
    static const struct row flat[] = {{.name = "a.w", .bytes = 10},
                                      {.name = "b.w", .bytes = 10},
                                      {.name = "c.w", .bytes = 10},
                                      {.name = "d.w", .bytes = 10},
                                      {NULL}};
    struct rig rig;

    (void)state;
    rig_open(&rig, flat);
    expect(&rig, "0=40", "a=0 b=0 c=0 d=0");
    /* Room for the largest that streams: on the first GPU and on cpu, nowhere else. */
    expect(&rig, "0=39,cpu=40", "a=0 b=0 c=cpu d=cpu");
    expect(&rig, "0=19,cpu=40", "a=cpu b=cpu c=cpu d=cpu");
    expect(&rig, "0=20,1=10,cpu=20", "a=0 b=1 c=cpu d=cpu");
    expect(&rig, "0=20,1=10,cpu=19", "a=0 b=1 c=disk d=disk");
    expect(&rig, "1=20,3=10", "a=1 b=3 c=disk d=disk");
    expect(&rig, NULL, "a=disk b=disk c=disk d=disk");
    /* More than any type of ours counts in bits. */
    expect(&rig, "0=18446744073709551614", "a=0 b=0 c=0 d=0");
    rig.options.flags = 0;
    expect(&rig, "0=40", "=0");
    expect(&rig, "0=39,cpu=40", "a=0 b=0 c=cpu d=cpu");
    rig_close(&rig);
}

static void split(void **state)
{
    static const struct row rows[] = {
        {.name = "m.p", .bytes = 5},    {.name = "m.x.w", .bytes = 10},
        {.name = "m.y.w", .bytes = 20}, {.name = "m.y.b", .bytes = 1},
        {.name = "z.w", .bytes = 10},   {NULL}};
    struct rig rig;

    (void)state;
    rig_open(&rig, rows);
    expect(&rig, "1=46,cpu=100", "m=1 z=1");
    expect(&rig, "0=0,1=36,cpu=100", "m.p=1 m.x=1 m.y=1 z=cpu");
    expect(&rig, "0=0,1=35,cpu=100", "m.p=1 m.x=1 m.y=cpu z=cpu");
    rig.options.flags = 0;
    expect(&rig, "0=0,1=14,2=21,cpu=100", "m.p=1 m.x=2 m.y=cpu z=cpu");
    rig.whole[module_tree_find(rig.tree, "m", 1)] = 1;
    expect(&rig, "0=0,1=35,cpu=100", "=cpu");
    rig_close(&rig);
}

/* Experts in stacks of matrices are one module, and more than one layer. */
static void stacks(void **state)
{
    struct row rows[] = {{.name = "experts.up", .bytes = 20, .stack = 8},
                         {.name = "experts.down", .bytes = 10, .stack = 8},
                         {.name = "z.w", .bytes = 1},
                         {NULL}};
    struct rig rig;

    (void)state;
    rig_open(&rig, rows);
    expect(&rig, "0=0,1=25,cpu=100", "experts.up=1 experts.down=cpu z=cpu");
    rig_close(&rig);
    rows[1].stack = 4;
    rig_open(&rig, rows);
    expect(&rig, "0=0,1=25,cpu=100", "experts=cpu z=cpu");
    rig_close(&rig);
    rows[1].stack = 8;
    rows[0].name = "expert.up";
    rows[1].name = "expert.down";
    rig_open(&rig, rows);
    expect(&rig, "0=0,1=25,cpu=100", "expert=cpu z=cpu");
    rig_close(&rig);
    rows[0].name = "experts.up";
    rows[1].name = "experts.down";
    rows[0].stack = rows[1].stack = 1;
    rig_open(&rig, rows);
    expect(&rig, "0=0,1=25,cpu=100", "experts=cpu z=cpu");
    rig_close(&rig);
}

static void ties(void **state)
{
    /* a pulls c for one object, c pulls d for another. */
    static const struct row chain[] = {{.name = "a.w", .bytes = 10, .tie = 1},
                                       {.name = "b.w", .bytes = 10},
                                       {.name = "c.w", .bytes = 10, .tie = 1},
                                       {.name = "c.v", .bytes = 10, .tie = 2},
                                       {.name = "d.v", .bytes = 10, .tie = 2},
                                       {.name = "d.w", .bytes = 1},
                                       {NULL}};
    struct rig rig;
    struct plan *plan;

    (void)state;
    rig_open(&rig, chain);
    expect(&rig, "0=0,1=21,cpu=100", "a=1 b=cpu c=1 d=1");
    expect(&rig, "0=0,1=20,2=20,cpu=100", "a=cpu b=cpu c=cpu d=cpu");
    plan = rig_plan(&rig, "0=0,1=21,cpu=100");
    assert_int_equal(plan->device_bits[1], 21 * 8);
    assert_int_equal(plan->cpu_bits, 10 * 8);
    assert_int_equal(plan->entries[0].reason, PLAN_FITS);
    assert_int_equal(plan->entries[2].reason, PLAN_TIED);
    assert_int_equal(plan->largest_bits, 10 * 8);
    plan_free(plan);
    rig_close(&rig);
}

static void tie_within_what_is_split(void **state)
{
    /* The head goes with the embedding: what else stands in its module need not come along. */
    static const struct row rows[] = {{.name = "embed.w", .bytes = 10, .tie = 1},
                                      {.name = "tail.norm.w", .bytes = 30},
                                      {.name = "tail.head.w", .bytes = 10, .tie = 1},
                                      {NULL}};
    struct rig rig;

    (void)state;
    rig_open(&rig, rows);
    expect(&rig, "0=0,1=20,cpu=100", "embed=1 tail.norm=cpu tail.head=1");
    rig_close(&rig);
}

static void left_buffers(void **state)
{
    static const struct row rows[] = {{.name = "m.b", .bytes = 4, .kind = PLAN_BUFFER},
                                      {.name = "m.x.w", .bytes = 10},
                                      {.name = "m.y.w", .bytes = 20},
                                      {.name = "r", .bytes = 2, .kind = PLAN_TEMPORARY},
                                      {NULL}};
    struct rig rig;

    (void)state;
    rig_open(&rig, rows);
    /* Beside the first of its module; where that is not on a GPU, to one with room. */
    expect(&rig, "0=0,1=14,cpu=100", "r=cpu m.b=1 m.x=1 m.y=cpu");
    expect(&rig, "0=0,1=13,cpu=100", "r=cpu m.b=cpu m.x=1 m.y=cpu");
    expect(&rig, "0=0,1=9,cpu=33", "r=cpu m.b=1 m.x=cpu m.y=cpu");
    rig.options.flags |= PLAN_OFFLOAD_BUFFERS;
    expect(&rig, "0=0,1=9,cpu=36", "r=cpu m.b=cpu m.x=cpu m.y=cpu");
    expect(&rig, "0=0,1=9,cpu=35", "r=cpu m.b=1 m.x=cpu m.y=cpu");
    rig_close(&rig);
}

static void fallback(void **state)
{
    static const struct row rows[] = {{.name = "a.w", .bytes = 30},
                                      {.name = "b.x.w", .bytes = 30},
                                      {.name = "b.y.w", .bytes = 5},
                                      {.name = "z.w", .bytes = 10},
                                      {NULL}};
    struct rig rig;
    struct plan *plan;

    (void)state;
    rig_open(&rig, rows);
    expect(&rig, "0=35,cpu=1000", "a=cpu b=cpu z=cpu");
    rig.options.flags |= PLAN_FALLBACK;
    /* Five bytes beside the room for the largest. */
    expect(&rig, "0=35,cpu=1000", "a=cpu b.x=cpu b.y=0 z=cpu");
    expect(&rig, "0=34,cpu=1000", "a=cpu b=cpu z=cpu");
    plan = rig_plan(&rig, "0=35,cpu=1000");
    assert_int_equal(plan->entries[2].reason, PLAN_SEARCHED);
    plan_free(plan);
    rig_close(&rig);
}

static void shares(void **state)
{
    static const struct {
        uint64_t memory[3], model, block, mean;
        enum balance_first first;
        uint64_t want[3];
    } rows[] = {
        {{100, 100, 100}, 90, 0, 0, BALANCE_EVEN, {30, 30, 100}},
        /* A quarter more than the larger of the two, rounded down; no more than there is. */
        {{100, 100, 100}, 90, 10, 7, BALANCE_EVEN, {42, 42, 100}},
        {{100, 100, 100}, 90, 7, 10, BALANCE_EVEN, {42, 42, 100}},
        {{20, 100, 5}, 90, 10, 0, BALANCE_EVEN, {20, 42, 5}},
        {{100, 100, 100}, 90, 8, 0, BALANCE_SPARE_IT, {0, 55, 100}},
        {{100, 30, 40}, 90, 8, 0, BALANCE_SPARE_IT, {20, 30, 40}},
        /* Alone, or all but alone: as it was. */
        {{100, POLICY_UNSET, POLICY_UNSET},
         90,
         8,
         0,
         BALANCE_SPARE_IT,
         {100, POLICY_UNSET, POLICY_UNSET}},
        {{100, 0, 0}, 90, 8, 0, BALANCE_EVEN, {100, 0, 0}},
        {{POLICY_UNSET, 100, 100}, 90, 0, 0, BALANCE_SPARE_IT, {POLICY_UNSET, 45, 100}},
        {{100, 100, 100}, UINT64_MAX, UINT64_MAX, 0, BALANCE_EVEN, {100, 100, 100}},
    };
    size_t i;
    int d;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct policy_memory memory;

        policy_memory_clear(&memory);
        for (d = 0; d < 3; d++)
            memory.device_bytes[d] = rows[i].memory[d];
        balance_memory(&memory, rows[i].model, rows[i].block, rows[i].mean, rows[i].first);
        for (d = 0; d < 3; d++) {
            if (memory.device_bytes[d] != rows[i].want[d])
                fail_msg("row %zu device %d: %llu", i, d,
                         (unsigned long long)memory.device_bytes[d]);
        }
    }
}

static void balanced(void **state)
{
    static const struct row rows[] = {
        {.name = "h.0.w", .bytes = 10}, {.name = "h.1.w", .bytes = 10},
        {.name = "h.2.w", .bytes = 10}, {.name = "h.3.w", .bytes = 10},
        {.name = "s.0.w", .bytes = 1},  {NULL}};
    struct rig rig;

    (void)state;
    rig_open(&rig, rows);
    rig.options.strategy = PLAN_BALANCED;
    expect(&rig, "0=100,1=100", "h.0=0 h.1=0 h.2=1 h.3=1 s=1");
    rig.options.strategy = PLAN_AUTO;
    expect(&rig, "0=100,1=100", "h.0=0 h.1=0 h.2=1 h.3=1 s=1");
    rig.options.strategy = PLAN_BALANCED_LOW_0;
    expect(&rig, "0=100,1=100", "h.0=1 h.1=1 h.2=1 h.3=1 s=1");
    rig_close(&rig);
}

/* Recorded runs ---------------------------------------------------------------------------------*/

static void hottest_stay(void **state)
{
    static const struct row rows[] = {
        {.name = "cold.w", .bytes = 10},
        {.name = "once.w", .bytes = 10, .touches = 1, .order = 3},
        {.name = "often.w", .bytes = 10, .touches = 9, .order = 2},
        {.name = "head.w", .bytes = 10, .tie = 1},
        {.name = "embed.w", .bytes = 10, .tie = 1, .touches = 5, .order = 1},
        {NULL}};
    struct rig rig;

    (void)state;
    rig_open(&rig, rows);
    rig.options.strategy = PLAN_AUTO;
    rig.options.heat = rig.heat;
    expect(&rig, "0=30,cpu=20", "cold=cpu once=cpu often=0 head=0 embed=0");
    expect(&rig, "0=30,cpu=19", "cold=disk once=disk often=0 head=0 embed=0");
    expect(&rig, "0=20,cpu=25", "cold=disk once=disk often=0 head=cpu embed=cpu");
    expect(&rig, "0=20,cpu=100", "cold=cpu once=cpu often=0 head=cpu embed=cpu");
    expect(&rig, "0=40", "cold=0 once=0 often=0 head=0 embed=0");
    expect(&rig, "cpu=20", "cold=disk once=disk often=cpu head=disk embed=disk");
    expect(&rig, NULL, "cold=disk once=disk often=disk head=disk embed=disk");
    /* Two GPUs, in the order of the tree. */
    expect(&rig, "0=20,1=10,cpu=100", "cold=cpu once=cpu often=0 head=1 embed=1");
    rig_close(&rig);
}

static void spread_through_the_step(void **state)
{
    struct row rows[13] = {{.name = NULL}};
    char names[12][8], text[400], *at = text;
    struct rig rig;
    struct plan *plan;
    size_t i, gap = 0, resident = 0;

    (void)state;
    for (i = 0; i < 12; i++) {
        sprintf(names[i], "h.%zu.w", i);
        rows[i] = (struct row){.name = names[i], .bytes = 10, .touches = 7, .order = i};
    }
    rig_open(&rig, rows);
    rig.options.strategy = PLAN_AUTO;
    rig.options.heat = rig.heat;
    plan = rig_plan(&rig, "0=50,cpu=1000"); /* four of twelve, and room for one */
    draw(&rig, plan, at);
    for (i = 0; i < plan->count; i++) {
        gap = plan->entries[i].place == 0 ? 0 : gap + 1;
        resident += plan->entries[i].place == 0;
        if (gap > 2)
            fail_msg("%s", text);
    }
    assert_int_equal(resident, 4);
    plan_free(plan);
    rig_close(&rig);
}

static uint64_t g_seed;

static unsigned random_below(unsigned n)
{
    g_seed = g_seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((g_seed >> 33) % n);
}

static int place_of(const struct rig *rig, const struct plan *plan, size_t tensor)
{
    uint32_t leaf = rig->tree->leaves[tensor];
    size_t i;

    for (i = 0; i < plan->count; i++) {
        uint32_t node = plan->entries[i].node;

        if (node <= leaf && leaf < rig->tree->nodes[node].end)
            return plan->entries[i].place;
    }
    return POLICY_NOWHERE;
}

static void check_random(struct rig *rig, const struct plan *plan)
{
    const struct policy_memory *memory = &rig->options.max_memory;
    size_t i, j;
    int d;

    for (d = 0; d < 3; d++)
        assert_true(plan->device_bits[d] == 0 ||
                    plan->device_bits[d] <= memory->device_bytes[d] * 8);
    assert_true(plan->cpu_bits == 0 || plan->cpu_bits <= memory->cpu_bytes * 8);
    for (i = 0; i < rig->count; i++) {
        int place = place_of(rig, plan, i);

        assert_int_not_equal(place, POLICY_NOWHERE);
        for (j = 0; j < i; j++) {
            int other = place_of(rig, plan, j);

            if (rig->tensors[i].tie != MODULE_NONE && rig->tensors[i].tie == rig->tensors[j].tie)
                assert_int_equal(place, other);
            /* Equally large ones that are alone, on one GPU or not: the hotter one is. */
            if (rig->tensors[i].tie != MODULE_NONE || rig->tensors[j].tie != MODULE_NONE ||
                rig->tensors[i].bits != rig->tensors[j].bits ||
                memory->device_bytes[1] != POLICY_UNSET)
                continue;
            if (rig->heat[i].touches > rig->heat[j].touches)
                assert_true(place >= other);
            if (rig->heat[i].touches < rig->heat[j].touches)
                assert_true(place <= other);
        }
    }
}

static void random_runs(void **state)
{
    char names[40][16], memory[100];
    struct row rows[41];
    unsigned round;

    (void)state;
    for (round = 0; round < 3000; round++) {
        unsigned count, i, total = 0;
        struct rig rig;
        struct plan *plan;

        g_seed = round;
        count = 1 + random_below(40);
        for (i = 0; i < count; i++) {
            sprintf(names[i], "m%u.w", i);
            rows[i] = (struct row){.name = names[i],
                                   .bytes = random_below(20),
                                   .tie = random_below(5) ? 0 : 1 + random_below(2) % count,
                                   .touches = random_below(4),
                                   .order = random_below(100)};
            total += rows[i].bytes;
        }
        rows[count].name = NULL;
        if (random_below(2))
            snprintf(memory, sizeof(memory), "0=%u,cpu=%u", random_below(total + 9),
                     random_below(total + 9));
        else
            snprintf(memory, sizeof(memory), "0=%u,1=%u,2=%u,cpu=%u", random_below(total + 9),
                     random_below(total + 9), random_below(20), random_below(total + 9));
        rig_open(&rig, rows);
        rig.options.strategy = PLAN_AUTO;
        rig.options.heat = rig.heat;
        plan = rig_plan(&rig, memory);
        check_random(&rig, plan);
        plan_free(plan);
        rig_close(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strategies),
        cmocka_unit_test(stack_of_a_shape),
        cmocka_unit_test(walk),
        cmocka_unit_test(split),
        cmocka_unit_test(stacks),
        cmocka_unit_test(ties),
        cmocka_unit_test(tie_within_what_is_split),
        cmocka_unit_test(left_buffers),
        cmocka_unit_test(fallback),
        cmocka_unit_test(shares),
        cmocka_unit_test(balanced),
        cmocka_unit_test(hottest_stay),
        cmocka_unit_test(spread_through_the_step),
        cmocka_unit_test(random_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
