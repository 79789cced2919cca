#include "unit_block.h"
#include "architecture.h"
#include "pattern.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* A name below a member of a list, without the member's own. */
struct seen {
    uint64_t hash;
    uint32_t list;        /* which look at a list it belongs to: 0 for none */
    uint32_t member : 31; /* the node that had it first */
    uint32_t shared : 1;  /* another member has it too */
};

enum list_state {
    LIST_UNKNOWN, /* not asked about yet */
    LIST_OF_BLOCKS,
    LIST_OTHER,
};

/* A class that was asked for, by name or in place of a pattern. */
struct class_rule {
    struct architecture_places places;
    enum unit_reason reason;
    uint32_t rule;
};

struct block_rules {
    const struct unit_table *table;
    struct class_rule *classes;
    size_t class_count;
    bool *is_class; /* by no_split: it is among the classes */
    bool repeated;  /* repeated blocks are whole */
    uint8_t *lists; /* by node: enum list_state */
    struct seen *seen;
    size_t seen_size; /* a power of two */
    uint32_t look;
};

/* Is this the name of a class, not a pattern? */
static bool is_class_name(const struct unit_table *table, const char *word)
{
    return !strpbrk(word, ".*?") &&
           module_tree_find(table->tree, word, strlen(word)) == MODULE_NONE;
}

static bool turned_off(const struct unit_options *o)
{
    return o->no_split_count == 1 && strcmp(o->no_split[0], "none") == 0;
}

static int add_class(struct block_rules *rules, const char *name, enum unit_reason reason,
                     uint32_t rule, struct input_error *error)
{
    struct class_rule *class = &rules->classes[rules->class_count];

    input_error_set_field(error, reason == UNIT_CLASS ? "no_split_classes" : "no_split",
                          reason == UNIT_CLASS ? 16 : 8);
    class->reason = reason;
    class->rule = rule;
    rules->class_count++;
    return architecture_resolve(rules->table->options.config, name, &class->places, error);
}

static int read_options(struct block_rules *rules, struct input_error *error)
{
    const struct unit_options *o = &rules->table->options;
    size_t i;
    int res = 0;

    for (i = 0; i < o->no_split_count && !res && !turned_off(o); i++) {
        rules->is_class[i] = is_class_name(rules->table, o->no_split[i]);
        if (rules->is_class[i])
            res = add_class(rules, o->no_split[i], UNIT_PATTERN, (uint32_t)i, error);
    }
    for (i = 0; i < o->no_split_class_count && !res; i++)
        res = add_class(rules, o->no_split_classes[i], UNIT_CLASS, (uint32_t)i, error);
    return res;
}

int block_rules_create(const struct unit_table *table, struct block_rules **out,
                       struct input_error *error)
{
    const struct unit_options *o = &table->options;
    struct block_rules *rules = calloc(1, sizeof(*rules));
    int res = -ENOMEM;

    if (!rules)
        return -ENOMEM;
    rules->table = table;
    rules->repeated = !o->no_split_given && o->no_split_count + o->no_split_class_count == 0;
    for (rules->seen_size = 64; rules->seen_size < table->tree->tensor_count * 2;)
        rules->seen_size *= 2;
    rules->seen = calloc(rules->seen_size, sizeof(*rules->seen));
    rules->is_class = calloc(o->no_split_count + 1, sizeof(*rules->is_class));
    rules->classes =
        calloc(o->no_split_count + o->no_split_class_count + 1, sizeof(*rules->classes));
    rules->lists = calloc(table->tree->count, sizeof(*rules->lists));
    if (rules->seen && rules->is_class && rules->classes && rules->lists)
        res = read_options(rules, error);
    if (res)
        block_rules_free(rules);
    else
        *out = rules;
    return res;
}

void block_rules_free(struct block_rules *rules)
{
    if (!rules)
        return;
    free(rules->lists);
    free(rules->seen);
    free(rules->is_class);
    free(rules->classes);
    free(rules);
}

/* Repeated blocks
 * ---------------------------------------------------------------------------------*/

static bool is_member(const struct module_tree *tree, uint32_t node)
{
    size_t bytes;
    const char *part = module_node_part(tree, node, &bytes);

    return tree->nodes[node].end > node + 1 && module_part_is_integer(part, bytes);
}

/* Where a name of the list that is looked at is noted, or would be. */
static struct seen *find_seen(const struct block_rules *rules, uint64_t hash)
{
    size_t mask = rules->seen_size - 1, at = hash & mask;

    while (rules->seen[at].list == rules->look && rules->seen[at].hash != hash)
        at = (at + 1) & mask;
    return &rules->seen[at];
}

/* Note a member's names, and count those that another one has as well.
 *
 * names    set to how many it has
 */
static size_t count_shared(struct block_rules *rules, uint32_t member, size_t *names)
{
    const struct module_node *nodes = rules->table->tree->nodes;
    size_t skip = (size_t)nodes[member].path_bytes + 1, shared = 0;
    uint32_t node;

    *names = 0;
    for (node = member + 1; node < nodes[member].end; node++) {
        uint64_t hash;
        struct seen *seen;

        if (nodes[node].tensor == MODULE_NONE)
            continue;
        hash = XXH3_64bits(nodes[node].path + skip, nodes[node].path_bytes - skip);
        seen = find_seen(rules, hash);
        if (seen->list != rules->look)
            *seen = (struct seen){.hash = hash, .list = rules->look, .member = member};
        else if (seen->member != member)
            seen->shared = 1;
        shared += seen->shared;
        ++*names;
    }
    return shared;
}

/* Is a module a list of blocks? Each member is held against those before it, which decides most
 * lists at the second one, and at last against all: a small member may stand before the large ones.
 */
static bool is_block_list(struct block_rules *rules, uint32_t list)
{
    const struct module_tree *tree = rules->table->tree;
    size_t members = 0, names;
    unsigned turn;
    uint32_t child;

    rules->look++;
    for (turn = 0; turn < 2; turn++) {
        MODULE_FOR_EACH_CHILD(tree, list, child)
        {
            if (!is_member(tree, child))
                continue;
            members++;
            if (count_shared(rules, child, &names) * 2 >= names)
                return true;
        }
        if (members == 1)
            return true;
    }
    return false;
}

static bool is_repeated(struct block_rules *rules, uint32_t node)
{
    const struct module_tree *tree = rules->table->tree;
    uint32_t list = tree->nodes[node].parent;

    if (list == MODULE_ROOT || !is_member(tree, node))
        return false;
    if (rules->lists[list] == LIST_UNKNOWN)
        rules->lists[list] = is_block_list(rules, list) ? LIST_OF_BLOCKS : LIST_OTHER;
    return rules->lists[list] == LIST_OF_BLOCKS;
}

/* Quantised weights
 * -------------------------------------------------------------------------------*/

/* Does a module without other modules hold a weight and its companions, or stand for a weight that
 * has its companions below it?
 */
static bool is_quantised(const struct unit_table *table, uint32_t node)
{
    const struct module_node *nodes = table->tree->nodes;
    uint32_t child;

    if (nodes[node].tensor != MODULE_NONE)
        return true;
    for (child = node + 1; child < nodes[node].end; child++) {
        if (nodes[child].end > child + 1)
            return false;
    }
    for (child = node + 1; child < nodes[node].end; child++) {
        uint32_t tensor = nodes[child].tensor;

        if (tensor != MODULE_NONE && table->owners[tensor] != tensor)
            return true;
    }
    return false;
}

struct block_answer block_rules_ask(struct block_rules *rules, uint32_t node)
{
    const struct unit_table *table = rules->table;
    const struct module_node *module = &table->tree->nodes[node];
    const struct unit_options *o = &table->options;
    size_t i;

    for (i = 0; i < o->no_split_count && !turned_off(o); i++) {
        if (!rules->is_class[i] && pattern_match(o->no_split[i], module->path, module->path_bytes))
            return (struct block_answer){UNIT_PATTERN, (uint32_t)i};
    }
    for (i = 0; i < rules->class_count; i++) {
        const struct class_rule *class = &rules->classes[i];

        if (architecture_places_match(&class->places, module->path, module->path_bytes))
            return (struct block_answer){class->reason, class->rule};
    }
    if (rules->repeated && is_repeated(rules, node))
        return (struct block_answer){UNIT_REPEATED, 0};
    return (struct block_answer){is_quantised(table, node) ? UNIT_QUANTISED : UNIT_TENSOR, 0};
}
