/* Strategy: where maps put units, first without and then with contradictions, each kind told by its
 * line; then, on random maps (seeds), that places are those of policy_resolve() wherever a tensor
 * is on its own, and that conflicts come exactly where names of one object differ.
 */
#include "model_names.h"
#include "unit.h"
#include <errno.h>

#define ENTRIES_MAX 8

struct map {
    struct policy_map_entry entries[ENTRIES_MAX];
    struct policy_map map;
};

static void add(struct map *m, const char *prefix, int place)
{
    m->entries[m->map.count++] =
        (struct policy_map_entry){.prefix = (char *)prefix, .place = place};
    m->map.entries = m->entries;
    policy_map_sort(&m->map);
}

static struct unit_table *make(struct checkpoint *checkpoint, const struct unit_options *options)
{
    struct unit_table *table = NULL;
    struct input_error error;

    assert_int_equal(unit_table_create(checkpoint, options, &table, &error), 0);
    return table;
}

static void drop(struct unit_table *table)
{
    struct checkpoint *checkpoint = (struct checkpoint *)table->checkpoint;

    unit_table_free(table);
    checkpoint_close(checkpoint);
}

static int place_of(const struct unit_table *table, const char *name)
{
    uint32_t unit = unit_table_find(table, name);

    assert_int_not_equal(unit, UNIT_NONE);
    return table->units[unit].place;
}

/* The conflicts of a table are these lines, in this order. */
static void check_conflicts(const struct unit_table *table, const char *const *lines)
{
    struct unit_conflict conflict;
    char got[INPUT_ERROR_TEXT_BYTES];
    struct input_error error;
    size_t cursor = 0;

    while (unit_next_conflict(table, &cursor, &conflict)) {
        input_error_clear(&error);
        assert_int_equal(unit_conflict_describe(table, &conflict, &error), -EINVAL);
        input_error_format(&error, got, sizeof(got));
        if (!*lines)
            fail_msg("%s", got);
        assert_string_equal(got, *lines++);
    }
    assert_null(*lines);
}

#define LINES(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void plain_map(void **state)
{
    struct unit_options options = {0};
    struct map m = {0};
    struct unit_table *t;

    (void)state;
    t = make(model_llama(12), &options);
    assert_int_equal(place_of(t, "model.layers.0"), POLICY_NOWHERE);
    assert_int_equal(t->places[0], POLICY_NOWHERE);
    check_conflicts(t, LINES());
    drop(t);
    add(&m, "", 1);
    add(&m, "model.layers", POLICY_CPU);
    add(&m, "model.layers.1", 0);
    add(&m, "lm_head", POLICY_DISK);
    options.map = &m.map;
    t = make(model_llama(12), &options);
    assert_int_equal(place_of(t, "model.embed_tokens.weight"), 1);
    assert_int_equal(place_of(t, "model.layers.0"), POLICY_CPU);
    assert_int_equal(place_of(t, "model.layers.1"), 0);
    assert_int_equal(place_of(t, "model.layers.10"), POLICY_CPU);
    assert_int_equal(place_of(t, "lm_head.weight"), POLICY_DISK);
    check_conflicts(t, LINES());
    drop(t);
    m = (struct map){0};
    add(&m, "model.layers.0", 0);
    t = make(model_llama(12), &options);
    assert_int_equal(place_of(t, "model.layers.0"), 0);
    assert_int_equal(place_of(t, "model.layers.1"), POLICY_NOWHERE);
    drop(t);
    m = (struct map){0};
    t = make(model_llama(2), &options); /* a map without an entry is none */
    assert_int_equal(place_of(t, "model.layers.0"), POLICY_NOWHERE);
    check_conflicts(t, LINES());
    drop(t);
}

/* A repeated block gives way to a map that splits it; one that is split into equal places does not.
 */
static void split_block(void **state)
{
    struct unit_options options = {0};
    struct map m = {0};
    struct unit_table *t;

    (void)state;
    add(&m, "", 0);
    add(&m, "model.layers.1.mlp", POLICY_CPU);
    add(&m, "model.layers.2.mlp", 0);
    options.map = &m.map;
    t = make(model_llama(3), &options);
    assert_int_equal(place_of(t, "model.layers.0"), 0);
    assert_int_equal(place_of(t, "model.layers.2"), 0);
    assert_int_equal(unit_table_find(t, "model.layers.1"), UNIT_NONE);
    assert_int_equal(place_of(t, "model.layers.1.mlp.up_proj.weight"), POLICY_CPU);
    assert_int_equal(place_of(t, "model.layers.1.self_attn.q_proj.weight"), 0);
    check_conflicts(t, LINES());
    drop(t);
}

static void whole_module(void **state)
{
    const char *const pattern[] = {"model.layers.*"}, *const class[] = {"LlamaDecoderLayer"};
    struct unit_options options = {.no_split = pattern, .no_split_count = 1};
    struct map m = {0};
    struct unit_table *t;

    (void)state;
    add(&m, "", 0);
    add(&m, "model.layers.1.mlp", POLICY_CPU);
    options.map = &m.map;
    t = make(model_llama(3), &options);
    assert_int_equal(place_of(t, "model.layers.1"), UNIT_SPLIT);
    check_conflicts(
        t, LINES("device_map: expected one place for model.layers.1.self_attn.q_proj.weight and "
                 "model.layers.1.mlp.gate_proj.weight, which are one unit by no_split "
                 "\"model.layers.*\", found 0 by \"\" and cpu by \"model.layers.1.mlp\""));
    drop(t);
    options =
        (struct unit_options){.no_split_classes = class, .no_split_class_count = 1, .map = &m.map};
    t = make(model_llama(3), &options);
    check_conflicts(
        t, LINES("device_map: expected one place for model.layers.1.self_attn.q_proj.weight and "
                 "model.layers.1.mlp.gate_proj.weight, which are one unit by no_split "
                 "\"LlamaDecoderLayer\", found 0 by \"\" and cpu by \"model.layers.1.mlp\""));
    drop(t);
}

static void tied_parameters(void **state)
{
    struct model_config gpt = {.kinds.count = 1, .architectures.count = 1};
    struct unit_options options = {.config = &gpt};
    struct map m = {0};
    struct unit_table *t;

    (void)state;
    strcpy(gpt.kinds.text[0], "gpt2");
    strcpy(gpt.architectures.text[0], "GPT2LMHeadModel");
    options.map = &m.map;
    add(&m, "wte", 0);
    add(&m, "h", POLICY_CPU);
    add(&m, "wpe", 0);
    add(&m, "h.11.attn.c_attn", 1); /* longer than any prefix of lm_head.weight */
    add(&m, "lm", 1);
    t = make(model_gpt2(), &options);
    assert_int_equal(place_of(t, "wte.weight"), 0);
    check_conflicts(t, LINES());
    drop(t);
    /* The name that the file leaves out. */
    add(&m, "lm_head", POLICY_DISK);
    t = make(model_gpt2(), &options);
    assert_int_equal(place_of(t, "wte.weight"), 0);
    check_conflicts(
        t, LINES("device_map: expected one place for wte.weight and lm_head.weight, which "
                 "are one parameter by tie_word_embeddings, found 0 by \"wte\" and disk by "
                 "\"lm_head\""));
    drop(t);
    /* It alone is covered: it places the object. */
    m = (struct map){0};
    add(&m, "lm_head.weight", 3);
    t = make(model_gpt2(), &options);
    assert_int_equal(place_of(t, "wte.weight"), 3);
    check_conflicts(t, LINES());
    drop(t);
}

static void every_source(void **state)
{
    const char *const names[] = {"a.w", "c.w"};
    const struct tie_list list = {names, 2};
    struct unit_options options = {.tied = &list, .tied_count = 1};
    struct map m = {0};
    struct unit_table *t;
    struct built b;

    (void)state;
    add(&m, "a", 0);
    add(&m, "b", 1);
    add(&m, "c.w", POLICY_CPU);
    options.map = &m.map;
    built_begin(&b);
    built_add_at(&b, "a.w", 0, 16);
    built_add_at(&b, "b.w", 0, 16);
    built_add(&b, "c.w", 16);
    t = make(built_finish(&b), &options);
    check_conflicts(
        t, LINES("device_map: expected one place for a.w and b.w, which are one parameter by one "
                 "storage of the checkpoint, found 0 by \"a\" and 1 by \"b\"",
                 "device_map: expected one place for a.w and c.w, which are one parameter by tied, "
                 "found 0 by \"a\" and cpu by \"c.w\""));
    drop(t);
}

static void companions(void **state)
{
    struct unit_options options = {0};
    struct map m = {0};
    struct unit_table *t;

    (void)state;
    add(&m, "l", 0);
    add(&m, "l.q.scales", POLICY_CPU);
    add(&m, "l.k.weight", 1); /* what stands below the weight is covered with it */
    options.map = &m.map;
    t = make(built_names(MODEL_NAMES("l.q.qweight", "l.q.scales", "l.q.qzeros", "l.k.weight",
                                     "l.k.weight.absmax", "l.k.bias")),
             &options);
    assert_int_equal(place_of(t, "l.q.scales"), 0);
    assert_int_equal(place_of(t, "l.k.weight.absmax"), 1);
    assert_int_equal(place_of(t, "l.k.bias"), 0);
    check_conflicts(
        t, LINES("device_map: expected one place for l.q.qweight and l.q.scales, which are "
                 "a quantised weight and what belongs to it, found 0 by \"l\" and cpu by "
                 "\"l.q.scales\""));
    drop(t);
}

/* Random maps over a model with ties
 * ---------------------------------------------------------------*/

static struct checkpoint *make_tied(void)
{
    static const char *const names[] = {"a.0.w", "a.0.v", "a.1.w", "a.1.v",
                                        "b.w",   "b.c.w", "c",     "d.0.x.w"};
    struct built b;
    size_t i;

    built_begin(&b);
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        built_add(&b, names[i], 16);
    built_add_at(&b, "e.w", 0, 16);  /* a.0.w */
    built_add_at(&b, "f.w", 64, 16); /* b.w */
    return built_finish(&b);
}

static void make_map(struct map *m, unsigned *random)
{
    static const char *const prefixes[] = {"",  "a", "a.0", "a.0.w", "a.1", "b", "b.c",
                                           "c", "d", "d.0", "e",     "f.w", "x", "a.00"};
    enum { PREFIXES = sizeof(prefixes) / sizeof(prefixes[0]) };
    unsigned taken = 0, count = (unsigned)rand_r(random) % (ENTRIES_MAX + 1);

    *m = (struct map){0};
    while (count--) {
        unsigned prefix = (unsigned)rand_r(random) % PREFIXES;

        if (taken & 1u << prefix)
            continue;
        taken |= 1u << prefix;
        add(m, prefixes[prefix], (int)((unsigned)rand_r(random) % 4) - 2);
    }
}

static bool apart(const struct policy_map *map, const char *a, const char *b)
{
    int l = policy_resolve(map, a), r = policy_resolve(map, b);

    return l != POLICY_NOWHERE && r != POLICY_NOWHERE && l != r;
}

/* Only a block of which the map leaves a part out has two places: its own, and none. */
static void check_split(const struct unit_table *t, const struct policy_map *map)
{
    size_t i, j, uncovered = 0;

    for (i = 0; i < t->count; i++) {
        if (t->units[i].place != UNIT_SPLIT)
            continue;
        for (j = 0; j < t->units[i].count; j++)
            uncovered +=
                policy_resolve(map, unit_table_name(t, t->members[t->units[i].first + j])) ==
                POLICY_NOWHERE;
        assert_true(uncovered > 0);
    }
}

static void any_map(void **state)
{
    unsigned seed;

    (void)state;
    for (seed = 1; seed <= 500; seed++) {
        struct unit_options options = {0};
        struct unit_conflict conflict;
        struct unit_table *t;
        unsigned random = seed;
        size_t cursor = 0, conflicts = 0, i;
        struct map m;

        make_map(&m, &random);
        options.map = &m.map;
        t = make(make_tied(), &options);
        for (i = 0; i < t->checkpoint->tensor_count; i++) {
            const char *name = t->checkpoint->tensors[i].name;

            if (t->ties->group_of[i] == TIE_NONE)
                assert_int_equal(t->places[i], policy_resolve(&m.map, name));
            else if (policy_resolve(&m.map, name) == POLICY_NOWHERE &&
                     t->places[i] != POLICY_NOWHERE)
                assert_true(policy_resolve(&m.map, name[0] == 'a' ? "e.w" : "a.0.w") ==
                                t->places[i] ||
                            policy_resolve(&m.map, name[0] == 'b' ? "f.w" : "b.w") == t->places[i]);
        }
        check_split(t, &m.map);
        while (unit_next_conflict(t, &cursor, &conflict)) {
            conflicts++;
            assert_int_equal(conflict.kind, UNIT_CONFLICT_TIED);
            assert_int_equal(conflict.entries[0]->place,
                             policy_resolve(&m.map, unit_table_name(t, conflict.names[0])));
            assert_int_equal(conflict.entries[1]->place,
                             policy_resolve(&m.map, unit_table_name(t, conflict.names[1])));
        }
        assert_int_equal(conflicts, apart(&m.map, "a.0.w", "e.w") + apart(&m.map, "b.w", "f.w"));
        drop(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_map),    cmocka_unit_test(split_block),
        cmocka_unit_test(whole_module), cmocka_unit_test(tied_parameters),
        cmocka_unit_test(every_source), cmocka_unit_test(companions),
        cmocka_unit_test(any_map),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
