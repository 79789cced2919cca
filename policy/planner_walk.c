#include "planner_walk.h"
#include "planner_tie.h"
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define STACK_PART "experts" /* what a module is called whose tensors stack matrices */

static bool is_tensor(const struct plan_walk *walk, uint32_t node)
{
    return plan_walk_node(walk, node)->end == node + 1;
}

static bool is_buffer(const struct plan_walk *walk, uint32_t node)
{
    const uint8_t *kinds = walk->model->kinds;

    return kinds && kinds[plan_walk_node(walk, node)->tensor] != PLAN_PARAMETER;
}

int plan_device_fits(const struct plan_device *device, uint64_t bits, uint64_t room_bits)
{
    unsigned __int128 need = (unsigned __int128)device->used_bits + bits;

    if (device->place == POLICY_DISK)
        return 1;
    if (device->keeps_room)
        need += room_bits;
    return need <= device->limit_bits;
}

/* What remains --------------------------------------------------------------------------------*/

static void list_insert(struct plan_walk *walk, uint32_t before, uint32_t node)
{
    uint32_t last = walk->prev[before];

    walk->next[last] = node;
    walk->prev[node] = last;
    walk->next[node] = before;
    walk->prev[before] = node;
    walk->listed[node] = LISTED;
}

static void list_remove(struct plan_walk *walk, uint32_t node)
{
    walk->next[walk->prev[node]] = walk->next[node];
    walk->prev[walk->next[node]] = walk->prev[node];
    walk->listed[node] = NOT_LISTED;
}

static uint32_t list_end(const struct plan_walk *walk)
{
    return (uint32_t)walk->model->tree->count;
}

static uint32_t list_front(const struct plan_walk *walk)
{
    return walk->next[list_end(walk)];
}

static void list_push_front(struct plan_walk *walk, uint32_t node)
{
    list_insert(walk, list_front(walk), node);
}

uint32_t plan_walk_cover(const struct plan_walk *walk, uint32_t node)
{
    while (node != MODULE_NONE && !walk->listed[node])
        node = plan_walk_node(walk, node)->parent;
    return node;
}

/* List what is below a node in front of another: its parameters, then its modules. Its buffers wait
 * until all else has a place. */
static void list_children(struct plan_walk *walk, uint32_t node, uint32_t before)
{
    uint32_t child;

    MODULE_FOR_EACH_CHILD(walk->model->tree, node, child)
    {
        if (is_tensor(walk, child) && is_buffer(walk, child))
            walk->left[walk->left_count++] = child;
        else
            list_insert(walk, before, child);
    }
}

/* Let a listed node give way to those below it. */
static void split(struct plan_walk *walk, uint32_t node)
{
    uint32_t after = walk->next[node];

    list_remove(walk, node);
    list_children(walk, node, after);
}

/* The root's own buffers come last, as accelerate has them. */
static void list_root(struct plan_walk *walk)
{
    uint32_t child, end = list_end(walk);

    walk->next[end] = walk->prev[end] = end;
    list_children(walk, MODULE_ROOT, end);
    MODULE_FOR_EACH_CHILD(walk->model->tree, MODULE_ROOT, child)
    {
        if (is_tensor(walk, child) && is_buffer(walk, child))
            list_insert(walk, end, child);
    }
    walk->left_count = 0;
}

/* The walk --------------------------------------------------------------------------------------*/

static void put(struct plan_walk *walk, uint32_t node, enum plan_reason reason)
{
    struct plan_device *device = &walk->devices[walk->current];

    walk->place[node] = (int8_t)device->place;
    walk->reason[node] = (uint8_t)reason;
    device->used_bits += plan_walk_node(walk, node)->bits;
    plan_room_drop(&walk->room, node);
}

/* Split one of those that would have to come along, so that less of it must. */
static bool split_moved(struct plan_walk *walk)
{
    size_t i;

    for (i = 0; i < walk->moved_count; i++) {
        uint32_t node =
            walk->moved[walk->flags & PLAN_WALK_LAST_FIRST ? walk->moved_count - 1 - i : i];

        if (walk->splits[node]) {
            split(walk, node);
            return true;
        }
    }
    return false;
}

/* The first module or parameter of what remains, at any depth, that fits with all it is tied to.
 * The buffers of a module wait for the end; what others must come along with is not taken apart.
 *
 * limit_bits   for it
 * returns      its node, or MODULE_NONE
 */
static uint32_t search(struct plan_walk *walk, uint64_t limit_bits)
{
    uint32_t entry, node;

    for (entry = list_front(walk); entry != list_end(walk); entry = walk->next[entry]) {
        uint32_t end = plan_walk_node(walk, entry)->end;

        for (node = entry; node < end;) {
            bool waits = node != entry && is_tensor(walk, node) && is_buffer(walk, node);

            if (!waits && plan_tie_gather(walk, node) <= limit_bits)
                return node;
            node = !waits && walk->splits[node] && !walk->moved_count
                       ? node + 1
                       : plan_walk_node(walk, node)->end;
        }
    }
    return MODULE_NONE;
}

/* Bring a module to the front that fits on a device which would stay empty. What waits at the
 * front needs room too, once it is on a later device. */
static bool search_to_front(struct plan_walk *walk)
{
    const struct plan_device *device = &walk->devices[walk->current];
    uint32_t front = list_front(walk), found, cover;
    uint64_t room = plan_room_within(&walk->room, front);

    if (room < walk->room.largest_bits)
        room = walk->room.largest_bits;
    if (device->used_bits || device->place == POLICY_DISK || room > device->limit_bits)
        return false;
    found = search(walk, device->limit_bits - room);
    if (found == MODULE_NONE || found == front)
        return false;
    while ((cover = plan_walk_cover(walk, found)) != found)
        split(walk, cover);
    list_remove(walk, found);
    list_push_front(walk, found);
    walk->searched = found;
    return true;
}

/* Give the front of the list its turn on the present device. */
static void step(struct plan_walk *walk)
{
    struct plan_device *device = &walk->devices[walk->current];
    uint32_t node = list_front(walk);
    uint64_t bits = plan_walk_node(walk, node)->bits, all_bits;
    size_t i;

    list_remove(walk, node);
    plan_room_take(&walk->room, node);
    all_bits = plan_tie_gather(walk, node);
    if (plan_device_fits(device, all_bits, walk->room.largest_bits)) {
        put(walk, node, walk->searched == node ? PLAN_SEARCHED : PLAN_FITS);
        for (i = 0; i < walk->moved_count; i++) {
            list_remove(walk, walk->moved[i]);
            put(walk, walk->moved[i], PLAN_TIED);
        }
        return;
    }
    list_push_front(walk, node);
    /* With a bit to spare: what fits exactly is split itself. */
    if (walk->moved_count && plan_device_fits(device, bits + 1, walk->room.largest_bits)) {
        if (split_moved(walk)) {
            plan_room_look(&walk->room);
            return;
        }
    } else if (walk->splits[node]) {
        split(walk, node);
        plan_room_look(&walk->room);
        return;
    }
    if (!(walk->flags & PLAN_FALLBACK) || !search_to_front(walk))
        walk->current++;
}

/* Buffers of modules that were split
 * --------------------------------------------------------------*/

/* Where the first entry below a module went, as an index of devices; the last one where none is. */
static unsigned device_of(const struct plan_walk *walk, uint32_t node)
{
    uint32_t at, end = plan_walk_node(walk, node)->end;
    unsigned i = 0;

    for (at = node; at < end && walk->place[at] == POLICY_NOWHERE; at++)
        ;
    while (at < end && i < walk->device_count - 1 && walk->devices[i].place != walk->place[at])
        i++;
    return at < end ? i : walk->device_count - 1;
}

/* Where another name of the same object is, or device_count. */
static unsigned device_of_tie(const struct plan_walk *walk, uint32_t node)
{
    uint32_t tie = walk->model->tensors[plan_walk_node(walk, node)->tensor].tie, other;
    size_t at;
    unsigned i;

    if (tie == MODULE_NONE)
        return walk->device_count;
    for (at = walk->tie_first[tie]; at < walk->name_count && walk->by_tie[at].tie == tie; at++) {
        other = walk->by_tie[at].node;
        while (other != MODULE_NONE && walk->place[other] == POLICY_NOWHERE)
            other = plan_walk_node(walk, other)->parent;
        for (i = 0; other != MODULE_NONE && i < walk->device_count; i++) {
            if (walk->devices[i].place == walk->place[other])
                return i;
        }
    }
    return walk->device_count;
}

/* A buffer that nobody placed goes beside its module, into what was kept free for others if need
 * be; to a GPU if it may not be offloaded; else to the first device with room. */
static void put_left(struct plan_walk *walk, uint32_t node, uint64_t room_bits)
{
    uint64_t bits = plan_walk_node(walk, node)->bits;
    unsigned beside = device_of(walk, plan_walk_node(walk, node)->parent), i;

    walk->current = device_of_tie(walk, node);
    if (walk->current < walk->device_count) {
        put(walk, node, PLAN_TIED);
        return;
    }
    walk->current = beside;
    if (walk->devices[beside].place < 0 && !(walk->flags & PLAN_OFFLOAD_BUFFERS)) {
        for (i = 0; i < walk->device_count && walk->devices[i].place >= 0; i++) {
            if (plan_device_fits(&walk->devices[i], bits, room_bits)) {
                walk->current = i;
                break;
            }
        }
    }
    if (walk->current == beside && plan_device_fits(&walk->devices[beside], bits, 0))
        room_bits = 0;
    for (i = 0; !plan_device_fits(&walk->devices[walk->current], bits, room_bits); i++)
        walk->current = i;
    put(walk, node, PLAN_SEARCHED);
}

static void put_all_left(struct plan_walk *walk)
{
    uint64_t room_bits = walk->left_count ? plan_walk_room(walk) : 0;
    size_t i;

    for (i = 0; i < walk->left_count; i++)
        put_left(walk, walk->left[i], room_bits);
}

uint64_t plan_walk_room(const struct plan_walk *walk)
{
    uint64_t room_bits = 0;
    size_t i;

    for (i = 0; i < walk->room.count; i++) {
        uint32_t node = walk->room.units[i].node;

        if (walk->room.units[i].bits <= room_bits)
            continue;
        while (node != MODULE_NONE && walk->place[node] == POLICY_NOWHERE)
            node = plan_walk_node(walk, node)->parent;
        if (node != MODULE_NONE && walk->place[node] < 0)
            room_bits = walk->room.units[i].bits;
    }
    return room_bits;
}

/* Setting out -----------------------------------------------------------------------------------*/

static void add_device(struct plan_walk *walk, int place, uint64_t limit_bytes, int keeps_room)
{
    struct plan_device *device = &walk->devices[walk->device_count++];

    *device = (struct plan_device){.place = place, .keeps_room = keeps_room};
    device->limit_bits = limit_bytes > UINT64_MAX / 8 ? UINT64_MAX : limit_bytes * 8;
}

static void add_devices(struct plan_walk *walk, const struct policy_memory *limits)
{
    int i;

    for (i = 0; i < POLICY_DEVICES_MAX; i++) {
        if (limits->device_bytes[i] != POLICY_UNSET)
            add_device(walk, i, limits->device_bytes[i],
                       walk->device_count == 0 && !(walk->flags & PLAN_WALK_NO_GPU_ROOM));
    }
    if (limits->cpu_bytes != POLICY_UNSET)
        add_device(walk, POLICY_CPU, limits->cpu_bytes, !(walk->flags & PLAN_WALK_NO_CPU_ROOM));
    add_device(walk, POLICY_DISK, UINT64_MAX, 0);
}

/* Is a module without modules below it a stack of experts? */
static bool is_stack(const struct plan_walk *walk, uint32_t node)
{
    const uint32_t *stacks = walk->model->stacks;
    uint32_t child, depth;
    size_t bytes;
    const char *part = module_node_part(walk->model->tree, node, &bytes);

    if (!stacks || plan_walk_node(walk, node)->end < node + 3 || bytes != strlen(STACK_PART) ||
        memcmp(part, STACK_PART, bytes) != 0)
        return false;
    depth = stacks[plan_walk_node(walk, node + 1)->tensor];
    MODULE_FOR_EACH_CHILD(walk->model->tree, node, child)
    {
        if (stacks[plan_walk_node(walk, child)->tensor] != depth)
            return false;
    }
    return depth > 1;
}

static bool may_split(const struct plan_walk *walk, uint32_t node)
{
    const struct module_node *n = plan_walk_node(walk, node);
    uint32_t child, last = MODULE_NONE;

    if (is_tensor(walk, node) || n->tensor != MODULE_NONE ||
        (walk->model->whole && walk->model->whole[node]))
        return false;
    MODULE_FOR_EACH_CHILD(walk->model->tree, node, child) last = child;
    return !is_tensor(walk, last) || is_stack(walk, node);
}

uint64_t plan_walk_most_bits(const struct plan_walk *walk)
{
    return walk->flags & PLAN_IN_PIECES ? walk->devices[0].limit_bits / PLAN_PIECES_PART
                                        : UINT64_MAX;
}

int plan_walk_begin(const struct plan_model *model, const struct policy_memory *limits,
                    unsigned flags, struct plan_walk *out)
{
    size_t count = model->tree->count;
    uint32_t node;

    memset(out, 0, sizeof(*out));
    out->model = model;
    out->flags = flags;
    out->searched = MODULE_NONE;
    add_devices(out, limits);
    out->place = malloc(count);
    out->reason = calloc(count, 1);
    out->splits = calloc(count, 1);
    out->listed = calloc(count, 1);
    out->next = malloc((count + 1) * sizeof(*out->next));
    out->prev = malloc((count + 1) * sizeof(*out->prev));
    out->left = malloc((model->tree->tensor_count + 1) * sizeof(*out->left));
    if (!out->place || !out->reason || !out->splits || !out->listed || !out->next || !out->prev ||
        !out->left || plan_tie_find(out))
        goto err_destroy;
    memset(out->place, POLICY_NOWHERE, count);
    for (node = MODULE_ROOT + 1; node < count; node++)
        out->splits[node] = may_split(out, node);
    if (plan_room_create(model->tree, out->splits, plan_walk_most_bits(out), &out->room))
        goto err_destroy;
    return 0;

err_destroy:
    plan_walk_destroy(out);
    return -ENOMEM;
}

int plan_walk_run(const struct plan_model *model, const struct policy_memory *limits,
                  unsigned flags, struct plan_walk *out)
{
    int res = plan_walk_begin(model, limits, flags, out);

    if (res)
        return res;
    list_root(out);
    while (list_front(out) != list_end(out))
        step(out);
    put_all_left(out);
    return 0;
}

void plan_walk_destroy(struct plan_walk *walk)
{
    free(walk->place);
    free(walk->reason);
    free(walk->splits);
    free(walk->listed);
    free(walk->next);
    free(walk->prev);
    free(walk->by_node);
    free(walk->by_tie);
    free(walk->tie_first);
    free(walk->moved);
    free(walk->left);
    plan_room_destroy(&walk->room);
    memset(walk, 0, sizeof(*walk));
}
