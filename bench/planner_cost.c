/* planner_cost.c - how long it takes to plan a model, from names and sizes to a device map.
 *
 *     planner-cost ROUNDS BLOCKS GPUS GPU_BYTES CPU_BYTES < TENSORS
 *
 * TENSORS has a line for each tensor: its bytes, a blank, its name. The modules right below BLOCKS
 * are not split; "-" splits every module. Prints one line of JSON: nanoseconds for the tree of
 * modules and for the plan, each as often as ROUNDS says, and the map.
 */
#include "policy/planner.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct cost {
    struct module_tensor *tensors;
    size_t count;
    struct module_tree *tree;
    struct plan *plan;
    uint8_t *whole;
    uint64_t *tree_ns, *plan_ns;
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int read_tensors(struct cost *cost)
{
    char line[4096], name[4096];
    uint64_t bytes;

    while (fgets(line, sizeof(line), stdin)) {
        if (cost->count % 1024 == 0)
            cost->tensors = realloc(cost->tensors, (cost->count + 1024) * sizeof(*cost->tensors));
        if (!cost->tensors || sscanf(line, "%" SCNu64 " %4095s", &bytes, name) != 2)
            return -1;
        cost->tensors[cost->count++] =
            (struct module_tensor){strdup(name), bytes * 8, (uint32_t)strlen(name), MODULE_NONE};
    }
    return cost->count ? 0 : -1;
}

static void mark_blocks(struct cost *cost, const char *blocks)
{
    uint32_t list = module_tree_find(cost->tree, blocks, strlen(blocks)), block;

    cost->whole = calloc(cost->tree->count, 1);
    if (list == MODULE_NONE || !cost->whole)
        return;
    MODULE_FOR_EACH_CHILD(cost->tree, list, block) cost->whole[block] = 1;
}

static int run_round(struct cost *cost, int round, const char *blocks,
                     const struct plan_options *options)
{
    struct plan_model model = {.tensors = cost->tensors};
    struct input_error error;
    uint64_t start;

    plan_free(cost->plan);
    module_tree_free(cost->tree);
    free(cost->whole);
    cost->plan = NULL;
    cost->tree = NULL;
    cost->whole = NULL;
    start = now_ns();
    if (module_tree_create(cost->tensors, cost->count, &cost->tree, &error))
        return -1;
    cost->tree_ns[round] = now_ns() - start;
    mark_blocks(cost, blocks);
    model.tree = cost->tree;
    model.whole = cost->whole;
    start = now_ns();
    if (plan_create(&model, options, &cost->plan, &error))
        return -1;
    cost->plan_ns[round] = now_ns() - start;
    return 0;
}

static void print_times(const char *name, const uint64_t *ns, int rounds)
{
    printf("\"%s\": [", name);
    for (int i = 0; i < rounds; i++)
        printf("%s%" PRIu64, i ? ", " : "", ns[i]);
    printf("], ");
}

static void print_map(const struct cost *cost)
{
    printf("\"map\": {");
    for (size_t i = 0; i < cost->plan->count; i++) {
        const struct plan_entry *entry = &cost->plan->entries[i];
        const struct module_node *node = &cost->tree->nodes[entry->node];

        printf("%s\"%.*s\": %d", i ? ", " : "", (int)node->path_bytes, node->path, entry->place);
    }
    printf("}}\n");
}

int main(int argc, char **argv)
{
    const int rounds = argc == 6 ? atoi(argv[1]) : 0;
    struct plan_options options = {.strategy = PLAN_SEQUENTIAL};
    struct cost cost = {.count = 0};
    int gpus = argc == 6 ? atoi(argv[3]) : 0;

    if (rounds < 1 || gpus < 0 || gpus > POLICY_DEVICES_MAX || read_tensors(&cost)) {
        fprintf(stderr, "usage: planner-cost ROUNDS BLOCKS GPUS GPU_BYTES CPU_BYTES < TENSORS\n");
        return 2;
    }
    policy_memory_clear(&options.max_memory);
    for (int i = 0; i < gpus; i++)
        options.max_memory.device_bytes[i] = strtoull(argv[4], NULL, 10);
    options.max_memory.cpu_bytes = strtoull(argv[5], NULL, 10);
    cost.tree_ns = calloc((size_t)rounds, sizeof(*cost.tree_ns));
    cost.plan_ns = calloc((size_t)rounds, sizeof(*cost.plan_ns));
    for (int i = 0; i < rounds; i++) {
        if (!cost.tree_ns || !cost.plan_ns || run_round(&cost, i, argv[2], &options)) {
            fprintf(stderr, "planner-cost: no plan\n");
            return 1;
        }
    }
    printf("{\"tensors\": %zu, \"modules\": %zu, ", cost.count, cost.tree->count - cost.count);
    print_times("tree_ns", cost.tree_ns, rounds);
    print_times("plan_ns", cost.plan_ns, rounds);
    print_map(&cost);
    return 0;
}
