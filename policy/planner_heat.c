#include "planner_heat.h"
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Units that must lie together, as one. */
struct bundle {
    unsigned __int128 touched_bits; /* each bit as often as it was touched */
    uint64_t bits;
    uint64_t level;        /* touches of a bit on average; 0 only where there was none */
    uint64_t order;        /* of its first touch */
    uint64_t largest_bits; /* of its units */
    uint32_t node;         /* its first in the tree */
    int chosen;            /* for the tier that is being filled */
    int place;
};

struct heat {
    struct plan_walk *walk;
    uint32_t *set;       /* by node: another unit of the same bundle, or itself; MODULE_NONE for
                            what is no unit */
    uint32_t *bundle_of; /* by node, for the first of a bundle: its index before sorting */
    struct bundle *bundles;
    uint32_t *sorted; /* the hottest first, then by first touch */
    size_t count;
};

static uint32_t find_set(struct heat *heat, uint32_t node)
{
    while (heat->set[node] != node) {
        heat->set[node] = heat->set[heat->set[node]];
        node = heat->set[node];
    }
    return node;
}

/* The earlier one in the tree stands for both. */
static void join(struct heat *heat, uint32_t a, uint32_t b)
{
    a = find_set(heat, a);
    b = find_set(heat, b);
    if (a < b)
        heat->set[b] = a;
    else
        heat->set[a] = b;
}

static uint32_t unit_of(const struct heat *heat, uint32_t node)
{
    while (heat->set[node] == MODULE_NONE)
        node = heat->walk->model->tree->nodes[node].parent;
    return node;
}

/* Units, joined where they hold names of one object. */
static void find_units(struct heat *heat)
{
    const struct plan_walk *walk = heat->walk;
    const struct module_tree *tree = walk->model->tree;
    uint32_t node = MODULE_ROOT + 1;
    size_t i;

    memset(heat->set, 0xFF, tree->count * sizeof(*heat->set));
    while (node < tree->count) {
        if (walk->splits[node]) {
            node++;
            continue;
        }
        heat->set[node] = node;
        node = tree->nodes[node].end;
    }
    for (i = 1; i < walk->name_count; i++) {
        if (walk->by_tie[i].tie == walk->by_tie[i - 1].tie)
            join(heat, unit_of(heat, walk->by_tie[i - 1].node),
                 unit_of(heat, walk->by_tie[i].node));
    }
}

/* How often a tensor was touched under all its names: whoever touches an object with several may
 * use another than the first, where its bits stand. */
static uint64_t count_touches(const struct heat *heat, uint32_t tensor,
                              const struct plan_heat *tensors)
{
    const struct plan_walk *walk = heat->walk;
    uint32_t tie = walk->model->tensors[tensor].tie;
    uint64_t touches = 0;
    size_t at;

    if (tie == MODULE_NONE)
        return tensors[tensor].touches;
    for (at = walk->tie_first[tie]; at < walk->name_count && walk->by_tie[at].tie == tie; at++) {
        uint32_t other = walk->model->tree->nodes[walk->by_tie[at].node].tensor;

        if (__builtin_add_overflow(touches, tensors[other].touches, &touches))
            return UINT64_MAX;
    }
    return touches;
}

static void add_touches(const struct heat *heat, struct bundle *bundle, uint32_t unit,
                        const struct plan_heat *tensors)
{
    const struct module_tree *tree = heat->walk->model->tree;
    uint32_t node;

    for (node = unit; node < tree->nodes[unit].end; node++) {
        uint32_t tensor = tree->nodes[node].tensor;

        if (tensor == MODULE_NONE)
            continue;
        if (tree->nodes[node].bits)
            bundle->touched_bits +=
                (unsigned __int128)tree->nodes[node].bits * count_touches(heat, tensor, tensors);
        if (tensors[tensor].touches)
            bundle->level = 1;
        if (tensors[tensor].order < bundle->order)
            bundle->order = tensors[tensor].order;
    }
}

static void find_bundles(struct heat *heat, const struct plan_heat *tensors)
{
    const struct module_tree *tree = heat->walk->model->tree;
    uint32_t node;
    size_t i;

    for (node = MODULE_ROOT + 1; node < tree->count; node++) {
        struct bundle *bundle;
        uint32_t first;

        if (heat->set[node] == MODULE_NONE)
            continue;
        first = find_set(heat, node);
        if (first == node) {
            heat->bundle_of[node] = (uint32_t)heat->count;
            heat->bundles[heat->count++] =
                (struct bundle){.order = UINT64_MAX, .node = node, .place = POLICY_DISK};
        }
        bundle = &heat->bundles[heat->bundle_of[first]];
        bundle->bits += tree->nodes[node].bits;
        if (tree->nodes[node].bits > bundle->largest_bits)
            bundle->largest_bits = tree->nodes[node].bits;
        add_touches(heat, bundle, node, tensors);
    }
    for (i = 0; i < heat->count; i++) {
        struct bundle *bundle = &heat->bundles[i];
        unsigned __int128 level = bundle->bits ? bundle->touched_bits / bundle->bits : 0;

        if (level > bundle->level)
            bundle->level = level > UINT64_MAX ? UINT64_MAX : (uint64_t)level;
    }
}

static int compare_heat(const void *left, const void *right, void *bundles)
{
    const struct bundle *a = (const struct bundle *)bundles + *(const uint32_t *)left;
    const struct bundle *b = (const struct bundle *)bundles + *(const uint32_t *)right;

    if (a->level != b->level)
        return a->level > b->level ? -1 : 1;
    if (a->order != b->order)
        return a->order < b->order ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

/* Choose among bundles of one level, [first, end) of sorted: all of them where they fit, else as
 * many as do, spread evenly over their order. What is larger than all of the room does not count.
 *
 * room_bits    left; what was chosen is taken from it
 */
static void choose_level(struct heat *heat, size_t first, size_t end, uint64_t *room_bits)
{
    unsigned __int128 wanted = 0, passed = 0, taken = 0;
    uint64_t room = *room_bits;
    unsigned round;
    size_t i;

    for (i = first; i < end; i++) {
        const struct bundle *bundle = &heat->bundles[heat->sorted[i]];

        if (bundle->place == POLICY_DISK && bundle->bits <= room)
            wanted += bundle->bits;
    }
    /* First evenly; then whatever still fits. */
    for (round = 0; round < 2; round++) {
        for (i = first; i < end; i++) {
            struct bundle *bundle = &heat->bundles[heat->sorted[i]];

            if (bundle->place != POLICY_DISK || bundle->chosen || bundle->bits > room)
                continue;
            passed += bundle->bits;
            if (bundle->bits > *room_bits)
                continue;
            /* taken / passed stays at room / wanted; in doubles, for the product is too large. */
            if (round == 0 && wanted > room &&
                (double)(taken + bundle->bits) * (double)wanted > (double)passed * (double)room)
                continue;
            bundle->chosen = 1;
            taken += bundle->bits;
            *room_bits -= bundle->bits;
        }
    }
}

/* The largest unit that a tier was not given, of those that room is kept for. */
static uint64_t largest_unchosen(const struct heat *heat)
{
    uint64_t largest = 0, most = plan_walk_most_bits(heat->walk);
    size_t i;

    for (i = 0; i < heat->count; i++) {
        const struct bundle *bundle = &heat->bundles[i];

        if (bundle->place == POLICY_DISK && !bundle->chosen && bundle->largest_bits > largest &&
            bundle->largest_bits <= most)
            largest = bundle->largest_bits;
    }
    return largest;
}

/* Choose what a tier holds, the hottest first.
 *
 * returns  the largest unit that it does not hold
 */
static uint64_t choose(struct heat *heat, uint64_t room_bits)
{
    size_t first, end, i;

    for (i = 0; i < heat->count; i++)
        heat->bundles[i].chosen = 0;
    for (first = 0; first < heat->count; first = end) {
        uint64_t level = heat->bundles[heat->sorted[first]].level;

        for (end = first; end < heat->count; end++) {
            if (heat->bundles[heat->sorted[end]].level != level)
                break;
        }
        choose_level(heat, first, end, &room_bits);
    }
    return largest_unchosen(heat);
}

/* Choose what a tier holds and keep room there for the largest unit that it does not hold.
 *
 * room_bits    at least so much; raised to what is kept
 */
static void choose_beside_room(struct heat *heat, uint64_t limit_bits, uint64_t keeps_bits,
                               uint64_t *room_bits)
{
    /* Less that stays may leave out a larger unit, which needs more room; it settles, for room only
     * grows and is one of the units. */
    for (;;) {
        uint64_t kept = *room_bits < keeps_bits ? *room_bits : keeps_bits;
        uint64_t next = choose(heat, limit_bits - kept);

        if (next <= *room_bits)
            return;
        *room_bits = next;
    }
}

/* The first of devices [first, end) with room for a bundle, from the present one on and then from
 * the first; end where there is none. */
static unsigned find_device(const struct heat *heat, const struct bundle *bundle, unsigned first,
                            unsigned present, unsigned end, uint64_t room_bits)
{
    unsigned i;

    for (i = present; i < end; i++) {
        if (plan_device_fits(&heat->walk->devices[i], bundle->bits, room_bits))
            return i;
    }
    for (i = first; i < present; i++) {
        if (plan_device_fits(&heat->walk->devices[i], bundle->bits, room_bits))
            return i;
    }
    return end;
}

/* Put what was chosen on devices [first, end) in the order of the tree. What no device has room
 * for, for the tier's room lies in several pieces, is left for the next tier. */
static void put_chosen(struct heat *heat, unsigned first, unsigned end, uint64_t room_bits)
{
    unsigned present = first, device;
    size_t i;

    for (i = 0; i < heat->count; i++) {
        struct bundle *bundle = &heat->bundles[i];

        if (!bundle->chosen)
            continue;
        device = find_device(heat, bundle, first, present, end, room_bits);
        if (device == end) {
            bundle->chosen = 0;
            continue;
        }
        bundle->place = heat->walk->devices[device].place;
        heat->walk->devices[device].used_bits += bundle->bits;
        if (device > present)
            present = device;
    }
}

static uint64_t sum_limits(const struct heat *heat, unsigned first, unsigned end)
{
    uint64_t sum = 0;

    for (; first < end; first++) {
        if (__builtin_add_overflow(sum, heat->walk->devices[first].limit_bits, &sum))
            return UINT64_MAX;
    }
    return sum;
}

/* Undo put_chosen(). */
static void take_back(struct heat *heat, unsigned first, unsigned end)
{
    size_t i;

    for (i = 0; i < heat->count; i++) {
        if (heat->bundles[i].chosen)
            heat->bundles[i].place = POLICY_DISK;
    }
    for (; first < end; first++)
        heat->walk->devices[first].used_bits = 0;
}

/* Fill a tier. What lies in no piece of its room may be larger than what was not chosen: then the
 * room that is kept is too small, and it is filled anew with more. */
static void fill_tier(struct heat *heat, unsigned first, unsigned end)
{
    uint64_t room_bits = 0, left_bits;

    for (;;) {
        choose_beside_room(heat, sum_limits(heat, first, end),
                           heat->walk->devices[first].limit_bits, &room_bits);
        put_chosen(heat, first, end, room_bits);
        left_bits = largest_unchosen(heat);
        if (left_bits <= room_bits)
            return;
        room_bits = left_bits;
        take_back(heat, first, end);
    }
}

static void fill(struct heat *heat)
{
    unsigned gpus = 0;

    while (heat->walk->devices[gpus].place >= 0)
        gpus++;
    if (gpus)
        fill_tier(heat, 0, gpus);
    if (heat->walk->devices[gpus].place == POLICY_CPU)
        fill_tier(heat, gpus, gpus + 1);
}

static void write_places(struct heat *heat)
{
    struct plan_walk *walk = heat->walk;
    uint32_t node;

    for (node = MODULE_ROOT + 1; node < walk->model->tree->count; node++) {
        if (heat->set[node] == MODULE_NONE)
            continue;
        walk->place[node] = (int8_t)heat->bundles[heat->bundle_of[find_set(heat, node)]].place;
        walk->reason[node] = find_set(heat, node) == node ? PLAN_FITS : PLAN_TIED;
    }
}

int plan_heat_run(const struct plan_model *model, const struct plan_options *options,
                  struct plan_walk *out)
{
    size_t nodes = model->tree->count, i;
    struct heat heat = {.walk = out};
    int res = plan_walk_begin(model, &options->max_memory, options->flags, out);

    if (res)
        return res;
    heat.set = malloc(nodes * sizeof(*heat.set));
    heat.bundle_of = malloc(nodes * sizeof(*heat.bundle_of));
    heat.bundles = malloc(nodes * sizeof(*heat.bundles));
    heat.sorted = malloc(nodes * sizeof(*heat.sorted));
    if (heat.set && heat.bundle_of && heat.bundles && heat.sorted) {
        find_units(&heat);
        find_bundles(&heat, options->heat);
        for (i = 0; i < heat.count; i++)
            heat.sorted[i] = (uint32_t)i;
        qsort_r(heat.sorted, heat.count, sizeof(*heat.sorted), compare_heat, heat.bundles);
        fill(&heat);
        write_places(&heat);
    } else {
        res = -ENOMEM;
        plan_walk_destroy(out);
    }
    free(heat.set);
    free(heat.bundle_of);
    free(heat.bundles);
    free(heat.sorted);
    return res;
}
