/* plan_rig.h - small models for tests of the planner, and what must hold of every plan. */
#ifndef BERTH_TEST_PLAN_RIG_H
#define BERTH_TEST_PLAN_RIG_H

#include "data.h"
#include "planner.h"
#include <stdio.h>
#include <string.h>

#define RIG_TENSORS 96
#define RIG_NODES   512

struct rig {
    char names[RIG_TENSORS][64];
    struct module_tensor tensors[RIG_TENSORS];
    uint8_t kinds[RIG_TENSORS], whole[RIG_NODES];
    struct plan_heat heat[RIG_TENSORS];
    size_t count;
    struct module_tree *tree;
    struct plan_options options;
    struct plan *plan;
    int places[RIG_TENSORS]; /* by policy_resolve() of the plan's map */
};

static inline void rig_begin(struct rig *rig, enum plan_strategy strategy)
{
    memset(rig, 0, sizeof(*rig));
    rig->options.strategy = strategy;
    policy_memory_clear(&rig->options.max_memory);
}

static inline size_t rig_add(struct rig *rig, const char *name, uint64_t bytes)
{
    size_t i = rig->count++;

    assert_true(i < RIG_TENSORS);
    snprintf(rig->names[i], sizeof(rig->names[i]), "%s", name);
    rig->tensors[i] = (struct module_tensor){.name = rig->names[i],
                                             .name_bytes = (uint32_t)strlen(rig->names[i]),
                                             .bits = bytes * 8,
                                             .tie = MODULE_NONE};
    rig->heat[i].order = UINT64_MAX;
    return i;
}

static inline void rig_make_tree(struct rig *rig)
{
    struct input_error error;

    assert_int_equal(module_tree_create(rig->tensors, rig->count, &rig->tree, &error), 0);
    assert_true(rig->tree->count <= RIG_NODES);
}

static inline uint32_t rig_node(const struct rig *rig, const char *path)
{
    uint32_t node = module_tree_find(rig->tree, path, strlen(path));

    assert_int_not_equal(node, MODULE_NONE);
    return node;
}

/* Plan the model and find each tensor's place by the map. */
static inline void rig_plan(struct rig *rig)
{
    struct plan_model model = {.tensors = rig->tensors, .kinds = rig->kinds, .whole = rig->whole};
    struct policy_map map = {0};
    struct input_error error;
    size_t i;

    if (!rig->tree)
        rig_make_tree(rig);
    model.tree = rig->tree;
    plan_free(rig->plan);
    assert_int_equal(plan_create(&model, &rig->options, &rig->plan, &error), 0);
    assert_int_equal(plan_to_map(rig->plan, rig->tree, &map), 0);
    for (i = 0; i < rig->count; i++)
        rig->places[i] = policy_resolve(&map, rig->names[i]);
    for (i = 0; i < map.count; i++)
        free(map.entries[i].prefix);
    free(map.entries);
}

static inline void rig_end(struct rig *rig)
{
    plan_free(rig->plan);
    module_tree_free(rig->tree);
}

static inline int rig_place(const struct rig *rig, const char *name)
{
    size_t i;

    for (i = 0; i < rig->count; i++) {
        if (strcmp(rig->names[i], name) == 0)
            return rig->places[i];
    }
    fail_msg("no tensor %s", name);
    return POLICY_NOWHERE;
}

/* Bits per device (cpu and disk behind the GPUs); each tensor has a place that is there. */
static inline void rig_sum(const struct rig *rig, uint64_t sums[POLICY_DEVICES_MAX + 2])
{
    size_t i;

    memset(sums, 0, (POLICY_DEVICES_MAX + 2) * sizeof(*sums));
    for (i = 0; i < rig->count; i++) {
        int place = rig->places[i];

        assert_int_not_equal(place, POLICY_NOWHERE);
        sums[place >= 0 ? place : POLICY_DEVICES_MAX - 1 - place] +=
            rig->tree->nodes[rig->tree->leaves[i]].bits;
    }
}

/* Every tensor has a place, no limit is exceeded, what the plan says of sizes is so, and all names
 * of an object are together. */
static inline void rig_check(const struct rig *rig)
{
    const struct policy_memory *limit = &rig->options.max_memory;
    uint64_t sums[POLICY_DEVICES_MAX + 2];
    size_t i, j;

    rig_sum(rig, sums);
    for (i = 0; i < POLICY_DEVICES_MAX; i++) {
        assert_int_equal(sums[i], rig->plan->device_bits[i]);
        if (sums[i]) {
            assert_true(limit->device_bytes[i] != POLICY_UNSET);
            assert_true(sums[i] <= rig->plan->limit.device_bytes[i] * 8);
            assert_true(rig->plan->limit.device_bytes[i] <= limit->device_bytes[i]);
        }
    }
    assert_int_equal(sums[POLICY_DEVICES_MAX], rig->plan->cpu_bits);
    assert_int_equal(sums[POLICY_DEVICES_MAX + 1], rig->plan->disk_bits);
    assert_true(rig->plan->cpu_bits == 0 ||
                (limit->cpu_bytes != POLICY_UNSET && rig->plan->cpu_bits <= limit->cpu_bytes * 8));
    for (i = 0; i < rig->count; i++) {
        for (j = 0; j < i && rig->tensors[i].tie != MODULE_NONE; j++) {
            if (rig->tensors[j].tie == rig->tensors[i].tie)
                assert_int_equal(rig->places[i], rig->places[j]);
        }
    }
}

/* Plan for two GPUs and the host's memory, in bytes. */
static inline void rig_plan_within(struct rig *rig, uint64_t gpu0, uint64_t gpu1, uint64_t cpu)
{
    rig->options.max_memory.device_bytes[0] = gpu0;
    rig->options.max_memory.device_bytes[1] = gpu1;
    rig->options.max_memory.cpu_bytes = cpu;
    rig_plan(rig);
    rig_check(rig);
}

/* Where the first GPU holds anything, the largest unit that streams fits beside it. */
static inline void rig_check_room(const struct rig *rig)
{
    const struct plan *plan = rig->plan;
    size_t i;

    for (i = 0; i < POLICY_DEVICES_MAX; i++) {
        if (plan->limit.device_bytes[i] == POLICY_UNSET)
            continue;
        if (plan->device_bits[i])
            assert_true(plan->device_bits[i] + plan->largest_bits <=
                        plan->limit.device_bytes[i] * 8);
        return;
    }
}

/* A random model: modules of two or three levels, ties, whole modules, kinds where wanted. */
static inline void rig_random(struct rig *rig, unsigned *random, int with_buffers)
{
    unsigned modules = 2 + (unsigned)rand_r(random) % 8, m, t;
    char name[64];
    size_t i;

    for (m = 0; m < modules; m++) {
        unsigned tensors = 1 + (unsigned)rand_r(random) % 6;

        for (t = 0; t < tensors; t++) {
            snprintf(name, sizeof(name), m % 2 ? "layers.%u.part%u.t%u" : "m%u.part%u.t%u", m,
                     t / 2, t);
            i = rig_add(rig, name, (unsigned)rand_r(random) % 200);
            rig->kinds[i] =
                (uint8_t)(with_buffers && rand_r(random) % 5 == 0 ? 1 + rand_r(random) % 2 : 0);
            if (rig->kinds[i] == PLAN_PARAMETER && rand_r(random) % 4 == 0)
                rig->tensors[i].tie = (unsigned)rand_r(random) % 2;
            rig->heat[i].touches = (unsigned)rand_r(random) % 4;
            if (rig->heat[i].touches)
                rig->heat[i].order = (unsigned)rand_r(random) % 100;
        }
    }
    rig_make_tree(rig);
    for (i = 1; i < rig->tree->count; i++)
        rig->whole[i] = (uint8_t)(rand_r(random) % 6 == 0);
}

static inline void rig_random_budgets(struct rig *rig, unsigned *random)
{
    uint64_t bytes = rig->tree->nodes[MODULE_ROOT].bits / 8 + 1;
    struct policy_memory *memory = &rig->options.max_memory;
    unsigned i;

    policy_memory_clear(memory);
    for (i = 0; i < 4; i++) {
        if (rand_r(random) % 3)
            memory->device_bytes[i] =
                rand_r(random) % 6 ? (uint64_t)(unsigned)rand_r(random) % bytes : 0;
    }
    if (rand_r(random) % 4)
        memory->cpu_bytes = (uint64_t)(unsigned)rand_r(random) % bytes;
}

#endif
