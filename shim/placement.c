#include "placement.h"
#include "config.h"
#include "log.h"
#include "policy_place.h"
#include <stdatomic.h>
#include <stdlib.h>

/* The places of one checkpoint's tensors. */
struct table {
    const struct tensor *tensors;
    size_t count;
    int8_t *places;
    struct table *next;
};

static _Atomic(struct table *) g_tables; /* the latest first */

/* The model that the user named, as a whole; written by the first placement_add(). */
static struct checkpoint *g_named;
static int8_t *g_named_places;

int placement_is_on(void)
{
    return config()->policy->map.count != 0;
}

/* Files in which a map contradicts itself are many where a model has shards: one tells. */
static void tell_conflicts(int count, const struct input_error *conflict)
{
    static atomic_int told;

    if (!atomic_exchange(&told, 1))
        log_warn("policy",
                 "device_map: expected %s, found %s (%d such conflict%s): the first entry counts; "
                 "berth check explains the map",
                 conflict->expected, conflict->found, count, count == 1 ? "" : "s");
}

/* A map that is no whole one is told as often as files are: each may have other names. */
static void tell_uncovered(const struct checkpoint *checkpoint, const int8_t *places,
                           const char *path)
{
    size_t count = 0, first = 0;

    for (size_t i = checkpoint->tensor_count; i-- > 0;) {
        if (places[i] != POLICY_NOWHERE)
            continue;
        count++;
        first = i;
    }
    if (count)
        log_warn(
            "policy",
            "device_map: no entry is for %zu tensor%s of %s, %s first: they live where use has "
            "them; the entry \"\" is for all that no other names",
            count, count == 1 ? "" : "s", path, checkpoint->tensors[first].name);
}

/* returns NULL where there is no telling */
static int8_t *resolve(const struct checkpoint *checkpoint, const char *path)
{
    struct model_config model;
    struct input_error error;
    int8_t *places = NULL;
    int count;

    if (model_config_find_for(checkpoint, path, &model, &error))
        model = (struct model_config){0}; /* no more is known of it than its names tell */
    count = policy_place_tensors(config()->policy, checkpoint, &model, &places, &error);
    if (count < 0)
        log_warn("policy", "no places for the tensors of %s (error %d): they live where use has it",
                 path, -count);
    else if (count)
        tell_conflicts(count, &error);
    if (places)
        tell_uncovered(checkpoint, places, path);
    return places;
}

static void open_named(void)
{
    static int tried;
    const char *path = config()->policy->checkpoint;
    struct input_error error;

    if (tried || !path)
        return;
    tried = 1;
    if (checkpoint_open(path, &g_named, &error)) {
        g_named = NULL; /* residency.c says why */
        return;
    }
    g_named_places = resolve(g_named, path);
    if (!g_named_places) {
        checkpoint_close(g_named);
        g_named = NULL;
    }
}

/* The places of a checkpoint whose tensors the named model has, all of them. returns NULL where it
 * has not */
static int8_t *take_named(const struct checkpoint *checkpoint)
{
    int8_t *places = g_named ? malloc(checkpoint->tensor_count + 1) : NULL;

    for (size_t i = 0; places && i < checkpoint->tensor_count; i++) {
        size_t index = checkpoint_find_name(g_named, checkpoint->tensors[i].name);

        if (index == CHECKPOINT_NONE) {
            free(places);
            return NULL;
        }
        places[i] = g_named_places[index];
    }
    return places;
}

void placement_add(const struct checkpoint *checkpoint, const char *path)
{
    struct table *table;

    if (!placement_is_on())
        return;
    open_named();
    table = calloc(1, sizeof(*table));
    if (!table)
        return;
    table->tensors = checkpoint->tensors;
    table->count = checkpoint->tensor_count;
    table->places = take_named(checkpoint);
    if (!table->places)
        table->places = resolve(checkpoint, path);
    if (!table->places) {
        free(table);
        return;
    }
    table->next = atomic_load_explicit(&g_tables, memory_order_relaxed);
    atomic_store_explicit(&g_tables, table, memory_order_release);
}

int placement_find(const struct tensor *tensor)
{
    const struct table *table = atomic_load_explicit(&g_tables, memory_order_acquire);

    for (; table; table = table->next)
        if (tensor >= table->tensors && tensor < table->tensors + table->count)
            return table->places[tensor - table->tensors];
    return POLICY_NOWHERE;
}
