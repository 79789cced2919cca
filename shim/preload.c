#include "preload.h"
#include "config.h"
#include "pattern.h"
#include "stats_file.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* The modules of one checkpoint. */
struct table {
    const struct checkpoint *checkpoint;
    char *folder;
    uint32_t *module_bytes; /* by tensor: of its name, the module that is loaded as a whole; or 0 */
    CUdeviceptr *addresses[STATS_DEVICES_MAX]; /* by tensor, 0 where it does not lie there; NULL
                                                  until one does. g_range_lock */
    struct table *next;
};

static _Atomic(struct table *) g_tables; /* the latest first */

int preload_is_on(void)
{
    return config()->policy->preload.count != 0;
}

/* How many bytes of a name are its outermost module that a pattern finds; 0 for none. */
static uint32_t find_module(const char *name)
{
    const struct policy_names *patterns = &config()->policy->preload;
    size_t best = strlen(name);

    for (size_t i = 0; i < patterns->count; i++) {
        size_t bytes = pattern_find_module(patterns->names[i], name);

        if (bytes && bytes < best)
            best = bytes;
    }
    return name[best] ? (uint32_t)best : 0; /* a tensor alone is no module */
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return strndup(path, slash ? (size_t)(slash - path) : 0);
}

void preload_add(const struct checkpoint *checkpoint, const char *path)
{
    struct table *table = preload_is_on() ? calloc(1, sizeof(*table)) : NULL;

    if (!table)
        return;
    table->checkpoint = checkpoint;
    table->folder = folder_of(path);
    table->module_bytes = calloc(checkpoint->tensor_count + 1, sizeof(*table->module_bytes));
    if (!table->folder || !table->module_bytes) {
        free(table->folder);
        free(table->module_bytes);
        free(table);
        return;
    }
    for (size_t i = 0; i < checkpoint->tensor_count; i++)
        table->module_bytes[i] = find_module(checkpoint->tensors[i].name);
    table->next = atomic_load_explicit(&g_tables, memory_order_relaxed);
    atomic_store_explicit(&g_tables, table, memory_order_release);
}

/* The table of a tensor; NULL where its checkpoint has none.
 *
 * index    set to the tensor's
 */
static struct table *find_table(const struct tensor *tensor, size_t *index)
{
    struct table *table = atomic_load_explicit(&g_tables, memory_order_acquire);

    for (; table; table = table->next) {
        const struct checkpoint *checkpoint = table->checkpoint;

        if (tensor < checkpoint->tensors ||
            tensor >= checkpoint->tensors + checkpoint->tensor_count)
            continue;
        *index = (size_t)(tensor - checkpoint->tensors);
        return table;
    }
    return NULL;
}

void preload_note(const struct tensor *tensor, CUdevice device, CUdeviceptr addr)
{
    size_t index;
    struct table *table = find_table(tensor, &index);

    if (!table || !table->module_bytes[index] || device < 0 || device >= (int)STATS_DEVICES_MAX)
        return;
    if (!table->addresses[device])
        table->addresses[device] =
            calloc(table->checkpoint->tensor_count, sizeof(*table->addresses[device]));
    if (table->addresses[device])
        table->addresses[device][index] = addr;
}

int preload_is_member(const struct tensor *tensor)
{
    size_t index;
    const struct table *table = preload_is_on() ? find_table(tensor, &index) : NULL;

    return table && table->module_bytes[index];
}

/* The first of a checkpoint's names, in their order, that is not less than a module's beginning. */
static size_t find_first(const struct checkpoint *checkpoint, const char *module, size_t bytes)
{
    size_t first = 0, end = checkpoint->tensor_count;

    while (first < end) {
        size_t middle = first + (end - first) / 2;

        if (strncmp(checkpoint->tensors[checkpoint->by_name[middle]].name, module, bytes) < 0)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

/* module   with the dot behind it: bytes of a name */
static void visit_table(const struct table *table, const char *module, size_t bytes,
                        CUdevice device, preload_visit_fn *visit, void *arg)
{
    const struct checkpoint *checkpoint = table->checkpoint;
    const CUdeviceptr *addresses = table->addresses[device];
    size_t i = addresses ? find_first(checkpoint, module, bytes) : checkpoint->tensor_count;

    for (; i < checkpoint->tensor_count; i++) {
        uint32_t index = checkpoint->by_name[i];

        if (strncmp(checkpoint->tensors[index].name, module, bytes) != 0)
            return;
        if (addresses[index])
            visit(arg, &checkpoint->tensors[index], addresses[index]);
    }
}

void preload_visit(const struct tensor *member, CUdevice device, preload_visit_fn *visit, void *arg)
{
    size_t index;
    const struct table *table = find_table(member, &index);
    const struct table *other = atomic_load_explicit(&g_tables, memory_order_acquire);
    size_t bytes = table ? table->module_bytes[index] : 0;

    if (!bytes || device < 0 || device >= (int)STATS_DEVICES_MAX)
        return;
    for (; other; other = other->next)
        if (!strcmp(other->folder, table->folder))
            visit_table(other, member->name, bytes + 1, device, visit, arg);
}
