#include "module_builder.h"
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MAX 0x80000000u

/* Growing ---------------------------------------------------------------------------------------*/

/* Enter every node but the root into a table of size slots, a power of two above their number. */
static int make_table(struct module_builder *b, size_t size)
{
    uint32_t *table = malloc(size * sizeof(*table)), node;

    if (!table)
        return -ENOMEM;
    memset(table, 0xFF, size * sizeof(*table));
    for (node = MODULE_ROOT + 1; node < b->tree.count; node++) {
        size_t at = b->growth[node].hash & (size - 1);

        while (table[at] != MODULE_NONE)
            at = (at + 1) & (size - 1);
        table[at] = node;
    }
    free(b->tree.table);
    b->tree.table = table;
    b->tree.table_size = size;
    return 0;
}

/* Have room for so many nodes. */
static int make_room(struct module_builder *b, size_t room)
{
    struct module_node *nodes;
    struct module_growth *growth;

    if (b->tree.count >= NODES_MAX)
        return -E2BIG;
    nodes = realloc(b->tree.nodes, room * sizeof(*nodes));
    if (!nodes)
        return -ENOMEM;
    b->tree.nodes = nodes;
    growth = realloc(b->growth, room * sizeof(*growth));
    if (!growth)
        return -ENOMEM;
    b->growth = growth;
    b->room = room;
    return 0;
}

/* A sibling whose last part is an integer. Without leading zeros the longer one is the greater. */
struct numbered {
    const char *digits;
    size_t bytes;
    uint32_t node;
};

static int compare_numbers(const void *left, const void *right)
{
    const struct numbered *a = left, *b = right;

    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? -1 : 1;
    return memcmp(a->digits, b->digits, a->bytes);
}

/* Does an integer stand behind a smaller one? Behind another word nobody looks any further. */
static bool follows(const struct module_builder *b, uint32_t before, const struct numbered *number)
{
    struct numbered other = {.node = before};

    if (!b->growth[before].is_integer)
        return false;
    other.digits = module_part(b->tree.nodes, before, &other.bytes);
    return compare_numbers(&other, number) < 0;
}

static void link_child(struct module_builder *b, uint32_t parent, uint32_t node)
{
    struct module_growth *above = &b->growth[parent];
    struct numbered number = {.node = node};

    number.digits = module_part(b->tree.nodes, node, &number.bytes);
    b->growth[node].is_integer = (uint8_t)module_part_is_integer(number.digits, number.bytes);
    if (above->last == MODULE_NONE) {
        above->first = node;
    } else {
        if (b->growth[node].is_integer && !follows(b, above->last, &number))
            above->unsorted = 1;
        b->growth[above->last].next = node;
    }
    above->last = node;
}

static int add_node(struct module_builder *b, uint32_t parent, const char *path, size_t bytes,
                    uint32_t hash)
{
    uint32_t node = (uint32_t)b->tree.count;
    int res = node < b->room ? 0 : make_room(b, b->room + b->room / 2);

    if (res)
        return res;
    b->tree.nodes[node] = (struct module_node){
        .path = path, .path_bytes = (uint32_t)bytes, .parent = parent, .tensor = MODULE_NONE};
    b->growth[node] = (struct module_growth){MODULE_NONE, MODULE_NONE, MODULE_NONE, hash, 0, 0};
    b->tree.count++;
    if (parent != MODULE_NONE)
        link_child(b, parent, node);
    return 0;
}

/* Go on to the child that the part [at, end) of a name leads to, made where it is new. */
static int find_or_add(struct module_builder *b, const char *name, size_t at, size_t end)
{
    uint32_t hash = module_hash(b->growth[b->leaf].hash, name + at, end - at), parent = b->leaf;
    uint32_t *slot = module_slot(&b->tree, hash, parent, name + at, end - at);
    int res;

    b->depth++;
    if (*slot != MODULE_NONE) {
        b->leaf = *slot;
        return 0;
    }
    *slot = b->leaf = (uint32_t)b->tree.count;
    res = add_node(b, parent, name, end, hash);
    if (res)
        return res;
    return b->tree.count * 2 > b->tree.table_size ? make_table(b, b->tree.table_size * 2) : 0;
}

/* How many bytes two names have in common at their beginning. */
static size_t common_bytes(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    size_t end = a_bytes < b_bytes ? a_bytes : b_bytes, at = 0;

    while (at + sizeof(uint64_t) <= end && memcmp(a + at, b + at, sizeof(uint64_t)) == 0)
        at += sizeof(uint64_t);
    while (at < end && a[at] == b[at])
        at++;
    return at;
}

/* Go back from the last tensor's leaf to the module that it shares with a name.
 *
 * returns  where the name goes on below it
 */
static size_t go_back(struct module_builder *b, const struct module_tensor *tensor)
{
    const struct module_node *nodes = b->tree.nodes, *leaf = &nodes[b->leaf];
    size_t common = common_bytes(leaf->path, leaf->path_bytes, tensor->name, tensor->name_bytes);

    for (; b->leaf != MODULE_ROOT; b->leaf = nodes[b->leaf].parent, b->depth--) {
        size_t bytes = nodes[b->leaf].path_bytes;

        if (bytes <= common && bytes < tensor->name_bytes && tensor->name[bytes] == '.' &&
            b->depth < MODULE_DEPTH_MAX)
            return bytes + 1;
    }
    return 0;
}

int module_builder_add(struct module_builder *b, const struct module_tensor *tensor, uint32_t index,
                       struct input_error *error)
{
    struct module_node *node;
    size_t at, end;

    if (tensor->name_bytes == 0)
        return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, "a name", "a tensor without");
    for (at = go_back(b, tensor);; at = end + 1) {
        int res;

        end = module_part_end(tensor->name, at, tensor->name_bytes, b->depth + 1);
        res = find_or_add(b, tensor->name, at, end);
        if (res)
            return res;
        if (end == tensor->name_bytes)
            break;
    }
    node = &b->tree.nodes[b->leaf];
    if (node->tensor != MODULE_NONE) {
        input_error_set_field(error, tensor->name, tensor->name_bytes);
        return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, "each tensor's name once",
                               "tensor %u by the name of tensor %u", index, node->tensor);
    }
    node->tensor = index;
    return 0;
}

int module_builder_start(struct module_builder *b, size_t tensors)
{
    size_t slots = 64;
    int res;

    /* Most names bring a leaf, and one module or two. */
    while (slots < tensors * 4)
        slots *= 2;
    res = make_table(b, slots);
    res = res ? res : make_room(b, tensors * 3 + 64);
    return res ? res : add_node(b, MODULE_NONE, "", 0, 0);
}

/* Ordering --------------------------------------------------------------------------------------*/

/* Room for one node's children. */
struct siblings {
    uint32_t *nodes;
    struct numbered *numbers;
    size_t room;
};

static int make_siblings_room(struct siblings *s, size_t count)
{
    size_t room = count + count / 2;
    uint32_t *nodes;
    struct numbered *numbers;

    if (count <= s->room)
        return 0;
    nodes = realloc(s->nodes, room * sizeof(*nodes));
    if (nodes)
        s->nodes = nodes;
    numbers = realloc(s->numbers, room * sizeof(*numbers));
    if (numbers)
        s->numbers = numbers;
    if (!nodes || !numbers)
        return -ENOMEM;
    s->room = room;
    return 0;
}

/* Let the integers among siblings [first, end) take the places that integers have, in numeric
 * order. */
static void order_integers(const struct module_builder *b, struct siblings *s, size_t first,
                           size_t end)
{
    size_t i, numbers = 0, at = 0;

    for (i = first; i < end; i++) {
        struct numbered *n = &s->numbers[numbers];

        if (!b->growth[s->nodes[i]].is_integer)
            continue;
        n->node = s->nodes[i];
        n->digits = module_part(b->tree.nodes, n->node, &n->bytes);
        numbers++;
    }
    qsort(s->numbers, numbers, sizeof(*s->numbers), compare_numbers);
    for (i = first; i < end; i++) {
        if (b->growth[s->nodes[i]].is_integer)
            s->nodes[i] = s->numbers[at++].node;
    }
}

/* Count a node's children where they are not in order yet: tensors, then modules, each with their
 * integers sorted.
 *
 * returns  0 where they are
 */
static size_t count_unordered(const struct module_builder *b, uint32_t node)
{
    const struct module_growth *growth = b->growth;
    bool unordered = growth[node].unsorted, module = false;
    uint32_t child;
    size_t count = 0;

    for (child = growth[node].first; child != MODULE_NONE; child = growth[child].next) {
        bool is_module = growth[child].first != MODULE_NONE;

        unordered = unordered || (module && !is_module);
        module = is_module;
        count++;
    }
    return unordered ? count : 0;
}

static int order_children(struct module_builder *b, uint32_t node, struct siblings *s)
{
    size_t count = count_unordered(b, node), tensors = 0, i = 0;
    uint32_t child, *link = &b->growth[node].first;

    if (count == 0)
        return 0;
    if (make_siblings_room(s, count))
        return -ENOMEM;
    for (child = *link; child != MODULE_NONE; child = b->growth[child].next) {
        if (b->growth[child].first == MODULE_NONE)
            s->nodes[tensors++] = child;
    }
    for (i = tensors, child = *link; child != MODULE_NONE; child = b->growth[child].next) {
        if (b->growth[child].first != MODULE_NONE)
            s->nodes[i++] = child;
    }
    if (b->growth[node].unsorted) {
        order_integers(b, s, 0, tensors);
        order_integers(b, s, tensors, count);
    }
    for (i = 0; i < count; i++) {
        *link = s->nodes[i];
        link = &b->growth[s->nodes[i]].next;
    }
    *link = MODULE_NONE;
    return 0;
}

/* Move the nodes into the order of the walk: each before what is below it.
 *
 * nodes    room for all of them
 */
static int number_nodes(struct module_builder *b, struct module_node *nodes,
                        struct siblings *siblings)
{
    uint32_t node = MODULE_ROOT, parent = MODULE_NONE, count = 0;

    for (;;) {
        if (order_children(b, node, siblings))
            return -ENOMEM;
        nodes[count] = b->tree.nodes[node];
        nodes[count].parent = parent;
        /* From here on the last child is not needed: the old node keeps the new number there. */
        b->growth[node].last = count++;
        if (b->growth[node].first != MODULE_NONE) {
            parent = b->growth[node].last;
            node = b->growth[node].first;
            continue;
        }
        for (;;) {
            nodes[b->growth[node].last].end = count;
            if (node == MODULE_ROOT)
                return 0;
            if (b->growth[node].next != MODULE_NONE)
                break;
            node = b->tree.nodes[node].parent;
        }
        parent = nodes[b->growth[node].last].parent;
        node = b->growth[node].next;
    }
}

int module_builder_order(struct module_builder *b)
{
    struct module_node *nodes = malloc(b->tree.count * sizeof(*nodes));
    struct siblings siblings = {.room = 0};
    int res = nodes ? number_nodes(b, nodes, &siblings) : -ENOMEM;
    size_t i;

    free(siblings.nodes);
    free(siblings.numbers);
    if (res) {
        free(nodes);
        return res;
    }
    free(b->tree.nodes);
    b->tree.nodes = nodes;
    for (i = 0; i < b->tree.table_size; i++) {
        if (b->tree.table[i] != MODULE_NONE)
            b->tree.table[i] = b->growth[b->tree.table[i]].last;
    }
    return 0;
}
