#include "heat.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ALIKE_SHARE 8 /* touches that differ by less than this share are the same */
#define COLD_SHARE  8 /* of a block's bytes, that may be touched less often than the rest */

/* What a run tells of a tensor. */
enum told {
    TOLD_NOTHING, /* it is not in the run */
    TOLD_USED,    /* it is, without touches */
    TOLD_TOUCHES,
};

struct maker {
    const struct unit_table *units;
    struct plan_heat *heat;    /* by tensor */
    struct plan_heat *hottest; /* by node: of the tensors below it of which touches are told */
    uint8_t *told;             /* by tensor */
    uint8_t *any_told;         /* by node: hottest is of one at least */
    size_t known;              /* tensors that the run has */
    uint64_t touches;          /* of all of them */
};

static void add_touches(struct plan_heat *heat, uint64_t touches, uint64_t order)
{
    if (__builtin_add_overflow(heat->touches, touches, &heat->touches))
        heat->touches = UINT64_MAX;
    if (order < heat->order)
        heat->order = order;
}

static void take_hottest(struct plan_heat *heat, const struct plan_heat *other)
{
    if (other->touches > heat->touches)
        heat->touches = other->touches;
    if (other->order < heat->order)
        heat->order = other->order;
}

static void take_record(struct maker *m, const struct heat_record *record)
{
    size_t tensor = checkpoint_find_name(m->units->checkpoint, record->name);

    if (tensor == CHECKPOINT_NONE)
        return;
    m->known += m->told[tensor] == TOLD_NOTHING;
    if (record->touches == HEAT_NOT_TOLD) {
        if (m->told[tensor] == TOLD_NOTHING)
            m->told[tensor] = TOLD_USED;
        return;
    }
    m->told[tensor] = TOLD_TOUCHES;
    if (!record->touches)
        return;
    m->touches |= record->touches;
    add_touches(&m->heat[tensor], record->touches,
                record->first_touch ? record->first_touch : HEAT_NOT_TOLD);
}

static void find_hottest(struct maker *m)
{
    const struct module_tree *tree = m->units->tree;

    for (size_t i = 0; i < tree->count; i++)
        m->hottest[i].order = UINT64_MAX;
    for (size_t node = tree->count; node-- > 1;) {
        const struct module_node *n = &tree->nodes[node];

        if (n->tensor != MODULE_NONE && m->told[n->tensor] == TOLD_TOUCHES) {
            take_hottest(&m->hottest[node], &m->heat[n->tensor]);
            m->any_told[node] = 1;
        }
        if (m->any_told[node]) {
            take_hottest(&m->hottest[n->parent], &m->hottest[node]);
            m->any_told[n->parent] = 1;
        }
    }
}

/* Tensors without touches of their own have those of a module around them. */
static void inherit(struct maker *m)
{
    const struct module_tree *tree = m->units->tree;

    for (size_t i = 0; i < tree->tensor_count; i++) {
        uint32_t node = tree->nodes[tree->leaves[i]].parent;

        if (m->told[i] == TOLD_TOUCHES)
            continue;
        while (m->told[i] == TOLD_USED && !m->any_told[node])
            node = tree->nodes[node].parent;
        if (m->any_told[node] && (node != MODULE_ROOT || m->told[i] == TOLD_USED))
            m->heat[i] = m->hottest[node];
    }
}

static int compare_hotter(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return a > b ? -1 : a < b;
}

/* The one of the classes, the hottest first, that touches belong to. */
static uint64_t class_of(const uint64_t *classes, size_t count, uint64_t touches)
{
    size_t first = 0, end = count;

    while (end - first > 1) {
        size_t middle = first + (end - first) / 2;

        if (classes[middle] >= touches)
            first = middle;
        else
            end = middle;
    }
    return classes[first];
}

/* What was touched nearly as often as the hottest of a class is of that class. returns 0 or -ENOMEM
 */
static int even_out(struct maker *m)
{
    size_t tensors = m->units->tree->tensor_count, count = 0;
    uint64_t *classes = malloc((tensors + 1) * sizeof(*classes));

    if (!classes)
        return -ENOMEM;
    for (size_t i = 0; i < tensors; i++)
        classes[i] = m->heat[i].touches;
    qsort(classes, tensors, sizeof(*classes), compare_hotter);
    for (size_t i = 0; i < tensors; i++) {
        uint64_t least = count ? classes[count - 1] - classes[count - 1] / ALIKE_SHARE : UINT64_MAX;

        if (!count || classes[i] < least)
            classes[count++] = classes[i];
    }
    for (size_t i = 0; i < tensors; i++)
        m->heat[i].touches = class_of(classes, count, m->heat[i].touches);
    free(classes);
    return 0;
}

/* Blocks are one, or may be split. */
static void settle_blocks(struct maker *m, uint8_t *whole)
{
    const struct unit_table *units = m->units;

    for (size_t u = 0; u < units->count; u++) {
        const struct unit *unit = &units->units[u];
        const uint32_t *members = units->members + unit->first;
        struct plan_heat hottest = {.order = UINT64_MAX};
        uint64_t bits = 0, cold_bits = 0;

        if (unit->reason != UNIT_REPEATED)
            continue;
        for (uint32_t i = 0; i < unit->count; i++)
            take_hottest(&hottest, &m->heat[members[i]]);
        for (uint32_t i = 0; i < unit->count; i++) {
            bits += units->tensors[members[i]].bits;
            if (m->heat[members[i]].touches < hottest.touches)
                cold_bits += units->tensors[members[i]].bits;
        }
        if (cold_bits > bits / COLD_SHARE) {
            whole[unit->node] = 0;
            continue;
        }
        for (uint32_t i = 0; i < unit->count; i++)
            m->heat[members[i]] = hottest;
    }
}

static int make(struct maker *m, const struct heat_run *run, uint8_t *whole,
                struct input_error *error)
{
    size_t tensors = m->units->tree->tensor_count;

    for (size_t i = 0; i < tensors; i++)
        m->heat[i].order = UINT64_MAX;
    for (size_t i = 0; i < run->count; i++)
        take_record(m, &run->records[i]);
    if (!m->known)
        return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, "a run of this model",
                               "none of its %zu tensors among the %zu parameters of the run",
                               tensors, run->count);
    if (!m->touches)
        return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET,
                               "a run that had to page, for only then touches are counted: run it "
                               "again with a smaller --max-memory",
                               "no touches of any tensor");
    find_hottest(m);
    inherit(m);
    if (even_out(m))
        return -ENOMEM;
    settle_blocks(m, whole);
    return 0;
}

int heat_create(struct unit_table *units, const struct heat_run *run, struct plan_heat **heat,
                struct input_error *error)
{
    size_t tensors = units->tree->tensor_count, nodes = units->tree->count;
    struct maker m = {
        .units = units,
        .heat = calloc(tensors + 1, sizeof(*m.heat)),
        .hottest = calloc(nodes + 1, sizeof(*m.hottest)),
        .told = calloc(tensors + 1, 1),
        .any_told = calloc(nodes + 1, 1),
    };
    int res = -ENOMEM;

    input_error_clear(error);
    if (m.heat && m.hottest && m.told && m.any_told)
        res = make(&m, run, units->whole, error);
    if (res)
        free(m.heat);
    else
        *heat = m.heat;
    if (res == -EINVAL)
        input_error_set_file(error, run->path);
    free(m.hottest);
    free(m.told);
    free(m.any_told);
    return res;
}
