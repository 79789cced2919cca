/* Strategy: small lists of names are written out as the whole tree that they must make: order,
 * ends, sizes. The golden maps hold every module's size as accelerate counts it; ours must be the
 * same for all of them, ties included. Random names, from an alphabet so small that prefixes, empty
 * parts and repetitions abound, are held against a slow tree that knows nothing but string
 * prefixes.
 */
#include "data.h"
#include "dtype.h"
#include "module_tree.h"
#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>

static struct input_error g_error;

static struct module_tensor tensor(const char *name, uint64_t bits)
{
    return (struct module_tensor){name, bits, (uint32_t)strlen(name), MODULE_NONE};
}

/* The tree as text: every node's path and bits in order, a child in brackets of its parent. */
static char *draw(const struct module_tree *tree, uint32_t node, char *at)
{
    const struct module_node *n = &tree->nodes[node];
    size_t bytes;
    const char *part = module_node_part(tree, node, &bytes);
    uint32_t child;

    at += sprintf(at, "%.*s=%llu", (int)bytes, part, (unsigned long long)n->bits);
    if (n->end == node + 1)
        return at;
    *at++ = '(';
    MODULE_FOR_EACH_CHILD(tree, node, child)
    {
        assert_int_equal(tree->nodes[child].parent, node);
        at = draw(tree, child, at);
        *at++ = ' ';
    }
    at[-1] = ')';
    *at = '\0';
    return at;
}

static void expect_tree(const char *const *names, const char *want)
{
    struct module_tensor tensors[32];
    struct module_tree *tree;
    char text[2000];
    size_t count;

    for (count = 0; names[count]; count++)
        tensors[count] = tensor(names[count], 1u << count);
    assert_int_equal(module_tree_create(tensors, count, &tree, &g_error), 0);
    draw(tree, MODULE_ROOT, text);
    assert_string_equal(text, want);
    module_tree_free(tree);
}

static void order(void **state)
{
    (void)state;
    expect_tree((const char *[]){NULL}, "=0");
    expect_tree((const char *[]){"w", NULL}, "=1(w=1)");
    /* The file's order; a module's own tensors first, also where the file has them last. */
    expect_tree((const char *[]){"b.y", "b.x", "a.w", "bias", NULL},
                "=15(bias=8 b=3(y=1 x=2) a=4(w=4))");
    /* As a file sorts them: 10 before 2. Names keep their places, integers take those of integers.
     */
    expect_tree((const char *[]){"h.0.w", "h.10.w", "h.2.w", "h.last.w", "h.1.w", NULL},
                "=31(h=31(0=1(w=1) 1=16(w=16) 2=4(w=4) last=8(w=8) 10=2(w=2)))");
    expect_tree((const char *[]){"10", "-", "9", NULL}, "=7(9=4 -=2 10=1)");
    /* A list of tensors. */
    expect_tree((const char *[]){"p.10", "p.9", "p.1.w", "p.0.w", NULL},
                "=15(p=15(9=2 10=1 0=8(w=8) 1=4(w=4)))");
    /* Not integers: leading zeros. Integers beyond any type. */
    expect_tree((const char *[]){"10", "02", "2", NULL}, "=7(2=4 02=2 10=1)");
    expect_tree((const char *[]){"99999999999999999999999", "99999999999999999999998", NULL},
                "=3(99999999999999999999998=2 99999999999999999999999=1)");
    /* A tensor and a module of one name; parts without letters; a dot at the beginning. */
    expect_tree((const char *[]){"a.b", "a", NULL}, "=3(a=3(b=1))");
    expect_tree((const char *[]){"a..b", "a.", ".c", ".", "..", NULL},
                "=31(.c=4 a=3(=3(b=1)) .=24(=16))");
}

static void ties(void **state)
{
    struct module_tensor t[4] = {tensor("head.w", 8), tensor("a.w", 8), tensor("a.view", 4),
                                 tensor("b", 1)};
    struct module_tree *tree;
    char text[200];

    (void)state;
    /* b is alone in its group, the others are one object: what its largest name takes. */
    t[0].tie = t[1].tie = t[2].tie = 3;
    t[3].tie = 0;
    assert_int_equal(module_tree_create(t, 4, &tree, &g_error), 0);
    draw(tree, MODULE_ROOT, text);
    assert_string_equal(text, "=9(b=1 head=8(w=8) a=0(w=0 view=0))");
    assert_int_equal(tree->leaves[0], module_tree_find(tree, "head.w", 6));
    assert_int_equal(tree->nodes[tree->leaves[3]].tensor, 3);
    module_tree_free(tree);
}

static void expect_error(const struct module_tensor *t, size_t count, int code, const char *line)
{
    char text[INPUT_ERROR_TEXT_BYTES];
    struct module_tree *tree = NULL;

    assert_int_equal(module_tree_create(t, count, &tree, &g_error), code);
    assert_null(tree);
    assert_string_equal(input_error_format(&g_error, text, sizeof(text)), line);
}

static void refused(void **state)
{
    struct module_tensor t[3] = {tensor("a.b", 1), tensor("c", 1), tensor("a.b", 1)};

    (void)state;
    expect_error(t, 3, -EINVAL,
                 "a.b: expected each tensor's name once, found tensor 2 by the name of tensor 0");
    t[2] = tensor("", 1);
    expect_error(t, 3, -EINVAL, "expected a name, found a tensor without");
    t[2] = tensor("d", 1);
    t[2].tie = 3;
    expect_error(t, 3, -EINVAL, "d: expected a tie below the number of tensors, found 3");
    t[0].bits = t[1].bits = UINT64_MAX / 2 + 1;
    t[2].tie = MODULE_NONE;
    expect_error(t, 3, -EOVERFLOW,
                 "a.b: expected fewer than 2^64 bits in all, found more with this tensor's "
                 "9223372036854775808");
}

static void names_are_not_terminated(void **state)
{
    const char *text = "ab.cdab.c";
    struct module_tensor t[2] = {{text, 1, 5, MODULE_NONE}, {text + 5, 2, 4, MODULE_NONE}};
    struct module_tree *tree;
    char drawn[100];

    (void)state;
    assert_int_equal(module_tree_create(t, 2, &tree, &g_error), 0);
    draw(tree, MODULE_ROOT, drawn);
    assert_string_equal(drawn, "=3(ab=3(cd=1 c=2))");
    assert_int_equal(module_tree_find(tree, "ab.cdx", 5), 2);
    assert_int_equal(module_tree_find(tree, "ab.cdx", 6), MODULE_NONE);
    assert_int_equal(module_tree_find(tree, "b", 1), MODULE_NONE);
    assert_int_equal(module_tree_find(tree, "b.cd", 4), MODULE_NONE);
    module_tree_free(tree);
    t[1].name = text;
    t[1].name_bytes = 2;
    assert_int_equal(module_tree_create(t, 2, &tree, &g_error), 0);
    draw(tree, MODULE_ROOT, drawn);
    assert_string_equal(drawn, "=3(ab=3(cd=1))");
    module_tree_free(tree);
}

/* A name of nothing but dots must not make a node for each of them. */
static void deep(void **state)
{
    size_t bytes = 100000;
    char *name = malloc(bytes);
    struct module_tensor t = {name, 1, (uint32_t)bytes, MODULE_NONE};
    struct module_tree *tree;

    (void)state;
    memset(name, '.', bytes);
    assert_int_equal(module_tree_create(&t, 1, &tree, &g_error), 0);
    assert_int_equal(tree->count, MODULE_DEPTH_MAX + 1);
    assert_int_equal(module_tree_find(tree, name, bytes), MODULE_DEPTH_MAX);
    assert_int_equal(module_tree_find(tree, name, 3), 3);
    assert_int_equal(module_tree_find(tree, name, bytes - 1), MODULE_NONE);
    module_tree_free(tree);
    free(name);
}

/* What is too deep for a module of its own is no module to the names behind it either. */
static void deep_neighbours(void **state)
{
    char name[2 * MODULE_DEPTH_MAX + 2];
    struct module_tensor t[2];
    struct module_tree *tree;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(name); i++)
        name[i] = i % 2 ? '.' : 'a';
    t[0] = (struct module_tensor){name, 1, 2 * MODULE_DEPTH_MAX - 1, MODULE_NONE};
    t[1] = (struct module_tensor){name, 2, 2 * MODULE_DEPTH_MAX + 1, MODULE_NONE};
    assert_int_equal(module_tree_create(t, 2, &tree, &g_error), 0);
    assert_int_equal(tree->count, MODULE_DEPTH_MAX + 2);
    assert_int_equal(tree->nodes[tree->leaves[1]].parent, tree->nodes[tree->leaves[0]].parent);
    assert_int_equal(module_tree_find(tree, t[1].name, t[1].name_bytes), tree->leaves[1]);
    module_tree_free(tree);
}

/* Random names
 * ------------------------------------------------------------------------------------*/

static uint64_t g_seed;

static unsigned random_below(unsigned n)
{
    g_seed = g_seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((g_seed >> 33) % n);
}

#define NAMES 40

static char g_names[NAMES][16];

static size_t make_names(struct module_tensor *tensors)
{
    size_t count = 0, i, tries;

    for (tries = 0; tries < NAMES; tries++) {
        size_t bytes = 1 + random_below(8);

        for (i = 0; i < bytes; i++)
            g_names[count][i] = "a1.02."[random_below(6)];
        g_names[count][bytes] = '\0';
        for (i = 0; i < count && strcmp(g_names[i], g_names[count]); i++)
            ;
        if (i < count)
            continue;
        tensors[count] = tensor(g_names[count], random_below(5));
        count++;
    }
    for (i = 0; i < count; i++)
        tensors[i].tie = random_below(4) ? MODULE_NONE : random_below(3);
    return count;
}

/* Is name at or below path? */
static int is_below(const char *name, const char *path, size_t bytes)
{
    return bytes == 0 ||
           (strncmp(name, path, bytes) == 0 && (name[bytes] == '\0' || name[bytes] == '.'));
}

/* What the names at or below a node's path take, each group at its first name in the tree. */
static uint64_t slow_bits(const struct module_tree *tree, const struct module_tensor *tensors,
                          const char *path, size_t bytes)
{
    uint64_t sum = 0;
    size_t i, j;

    for (i = 0; i < tree->tensor_count; i++) {
        uint64_t most = tensors[i].bits;

        if (!is_below(tensors[i].name, path, bytes))
            continue;
        for (j = 0; j < tree->tensor_count && tensors[i].tie != MODULE_NONE; j++) {
            if (tensors[j].tie != tensors[i].tie)
                continue;
            if (tree->leaves[j] < tree->leaves[i])
                most = 0;
            else if (most && tensors[j].bits > most)
                most = tensors[j].bits;
        }
        sum += most;
    }
    return sum;
}

static void check_node(const struct module_tree *tree, const struct module_tensor *tensors,
                       uint32_t node)
{
    const struct module_node *n = &tree->nodes[node];
    uint32_t child, last = MODULE_NONE;
    size_t i, below = 0, inside = 0;

    for (i = 0; i < tree->tensor_count; i++) {
        below += (size_t)is_below(tensors[i].name, n->path, n->path_bytes);
        inside += tree->leaves[i] >= node && tree->leaves[i] < n->end;
    }
    assert_int_equal(below, inside);
    assert_int_equal(n->bits, slow_bits(tree, tensors, n->path, n->path_bytes));
    assert_int_equal(module_tree_find(tree, n->path, n->path_bytes), node);
    MODULE_FOR_EACH_CHILD(tree, node, child)
    {
        if (last != MODULE_NONE && tree->nodes[child].end == child + 1)
            assert_int_equal(tree->nodes[last].end, last + 1);
        last = child;
    }
}

static void random_trees(void **state)
{
    struct module_tensor tensors[NAMES];
    unsigned round;

    (void)state;
    for (round = 0; round < 3000; round++) {
        struct module_tree *tree;
        size_t count, i;
        uint32_t node;
        int zero_first = 0;

        g_seed = round;
        count = make_names(tensors);
        /* An object whose first name takes nothing: the slow sum cannot tell it from a later one.
         */
        for (i = 0; i < count; i++)
            zero_first |= tensors[i].tie != MODULE_NONE && tensors[i].bits == 0;
        if (zero_first)
            continue;
        assert_int_equal(module_tree_create(tensors, count, &tree, &g_error), 0);
        for (node = 0; node < tree->count; node++)
            check_node(tree, tensors, node);
        for (i = 0; i < count; i++)
            assert_int_equal(tree->nodes[tree->leaves[i]].tensor, i);
        module_tree_free(tree);
    }
}

/* The golden
 * -------------------------------------------------------------------------------------*/

static struct module_tensor golden_tensor(const cJSON *row)
{
    const cJSON *extent, *shape = cJSON_GetArrayItem(row, 1);
    struct module_tensor t = tensor(cJSON_GetArrayItem(row, 0)->valuestring, 1);
    enum dtype dtype;

    cJSON_ArrayForEach(extent, shape) t.bits *= (uint64_t)extent->valuedouble;
    assert_int_equal(
        dtype_find(cJSON_GetArrayItem(row, 2)->valuestring, DTYPE_IN_SAFETENSORS, &dtype), 0);
    t.bits *= dtype_block_bits(dtype);
    return t;
}

/* Every path that accelerate has a size for must have the same here; the rest takes nothing. */
static size_t check_golden_case(const cJSON *golden)
{
    const cJSON *tensors = cJSON_GetObjectItem(golden, "tensors"), *item, *name;
    size_t count = 0, sizes = 0, room = (size_t)cJSON_GetArraySize(tensors);
    struct module_tensor *t = calloc(room, sizeof(*t));
    struct module_tree *tree;
    uint32_t node, tie = 0;
    size_t i;

    cJSON_ArrayForEach(item, tensors) t[count++] = golden_tensor(item);
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(golden, "tied"))
    {
        cJSON_ArrayForEach(name, item)
        {
            for (i = 0; strcmp(t[i].name, name->valuestring); i++)
                ;
            t[i].tie = tie;
        }
        tie++;
    }
    assert_int_equal(module_tree_create(t, count, &tree, &g_error), 0);
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(golden, "sizes"))
    {
        node = module_tree_find(tree, item->string, strlen(item->string));
        assert_int_not_equal(node, MODULE_NONE);
        assert_int_equal(tree->nodes[node].bits, 8 * (uint64_t)item->valuedouble);
        sizes++;
    }
    for (node = 0; node < tree->count; node++)
        sizes -= tree->nodes[node].bits != 0;
    free(t);
    module_tree_free(tree);
    return sizes; /* of paths that take nothing: tensors without elements */
}

static void sizes_of_the_golden(void **state)
{
    char *text = data_read("maps.jsonl", NULL), *line, *rest;
    size_t cases = 0, empty = 0;

    (void)state;
    for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        cJSON *golden = cJSON_Parse(line);

        assert_non_null(golden);
        empty += check_golden_case(golden);
        cases++;
        cJSON_Delete(golden);
    }
    assert_int_equal(cases, 136);
    assert_true(empty < 100);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order),        cmocka_unit_test(ties),
        cmocka_unit_test(refused),      cmocka_unit_test(names_are_not_terminated),
        cmocka_unit_test(deep),         cmocka_unit_test(deep_neighbours),
        cmocka_unit_test(random_trees), cmocka_unit_test(sizes_of_the_golden),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
