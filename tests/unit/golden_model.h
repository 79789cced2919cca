/* golden_model.h - a model of tests/data/maps.jsonl or balanced.jsonl, as the planner wants it. */
#ifndef BERTH_TESTS_UNIT_GOLDEN_MODEL_H
#define BERTH_TESTS_UNIT_GOLDEN_MODEL_H

#include "data.h"
#include "load_dtype.h"
#include "planner.h"
#include <cjson/cJSON.h>
#include <string.h>

struct golden_model {
    struct plan_model plan;
    struct module_tree *tree;
    struct module_tensor *tensors;
    uint8_t *kinds, *whole;
    uint32_t *stacks;
    size_t count;
};

static inline enum dtype golden_dtype(const char *name)
{
    enum dtype dtype;

    assert_int_equal(dtype_find(name, DTYPE_IN_SAFETENSORS, &dtype), 0);
    return dtype;
}

static inline void golden_read_tensor(struct golden_model *model, const cJSON *row, enum dtype as)
{
    struct module_tensor *tensor = &model->tensors[model->count];
    const char *kind = cJSON_GetArrayItem(row, 3)->valuestring;
    const cJSON *extent;
    uint64_t shape[8];
    size_t rank = 0;

    cJSON_ArrayForEach(extent, cJSON_GetArrayItem(row, 1)) shape[rank++] =
        (uint64_t)extent->valuedouble;
    tensor->name = cJSON_GetArrayItem(row, 0)->valuestring;
    tensor->name_bytes = (uint32_t)strlen(tensor->name);
    tensor->tie = MODULE_NONE;
    assert_int_equal(load_bits(golden_dtype(cJSON_GetArrayItem(row, 2)->valuestring), shape, rank,
                               as, &tensor->bits),
                     0);
    model->stacks[model->count] = plan_stack(shape, rank);
    model->kinds[model->count] = strcmp(kind, "param") == 0    ? PLAN_PARAMETER
                                 : strcmp(kind, "buffer") == 0 ? PLAN_BUFFER
                                                               : PLAN_TEMPORARY;
    model->count++;
}

static inline void golden_read_ties(struct golden_model *model, const cJSON *tied)
{
    const cJSON *group, *name;
    uint32_t tie = 0;

    cJSON_ArrayForEach(group, tied)
    {
        cJSON_ArrayForEach(name, group)
        {
            size_t i;

            for (i = 0; strcmp(model->tensors[i].name, name->valuestring); i++)
                ;
            model->tensors[i].tie = tie;
        }
        tie++;
    }
}

/* Read a model.
 *
 * as       the dtype that floating point is loaded as, or DTYPE_COUNT
 * owner    golden_free(); names are borrowed from golden
 */
static inline struct golden_model golden_read(const cJSON *golden, enum dtype as)
{
    const cJSON *tensors = cJSON_GetObjectItem(golden, "tensors"), *item;
    size_t room = (size_t)cJSON_GetArraySize(tensors) + 1;
    struct golden_model model = {.tree = NULL};
    struct input_error error;

    model.tensors = calloc(room, sizeof(*model.tensors));
    model.kinds = calloc(room, 1);
    model.stacks = calloc(room, sizeof(*model.stacks));
    cJSON_ArrayForEach(item, tensors) golden_read_tensor(&model, item, as);
    golden_read_ties(&model, cJSON_GetObjectItem(golden, "tied"));
    assert_int_equal(module_tree_create(model.tensors, model.count, &model.tree, &error), 0);
    model.whole = calloc(model.tree->count, 1);
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(golden, "no_split"))
    {
        uint32_t node = module_tree_find(model.tree, item->valuestring, strlen(item->valuestring));

        /* A module without tensors is none that names could tell of. */
        if (node != MODULE_NONE)
            model.whole[node] = 1;
    }
    model.plan =
        (struct plan_model){model.tree, model.tensors, model.kinds, model.whole, model.stacks};
    return model;
}

static inline void golden_free(struct golden_model *model)
{
    module_tree_free(model->tree);
    free(model->tensors);
    free(model->kinds);
    free(model->whole);
    free(model->stacks);
}

/* Read max_memory: {"0": bytes, ..., "cpu": bytes}; "disk" has no limit. */
static inline void golden_read_memory(const cJSON *memory, struct policy_memory *out)
{
    const cJSON *item;

    policy_memory_clear(out);
    cJSON_ArrayForEach(item, memory)
    {
        uint64_t *bytes = policy_memory_find(out, item->string);

        if (bytes)
            *bytes = (uint64_t)item->valuedouble;
    }
}

#endif
