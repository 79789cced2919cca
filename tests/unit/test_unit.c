/* Strategy: the default units, patterns and classes on the names of real models; the models of
 * tests/data/maps.jsonl, whose no-split modules and ties are known from the libraries themselves;
 * quantised layers and ties in units; then, on random names and options (seeds), what every table
 * must hold: each tensor in one unit, all bits counted once.
 */
#include "json.h"
#include "model_names.h"
#include "unit.h"
#include <errno.h>

static struct unit_table *make(const struct checkpoint *checkpoint,
                               const struct unit_options *options)
{
    struct unit_table *table = NULL;
    struct input_error error;
    char line[INPUT_ERROR_TEXT_BYTES];

    if (unit_table_create(checkpoint, options, &table, &error))
        fail_msg("%s", input_error_format(&error, line, sizeof(line)));
    return table;
}

/* What holds for every table. */
static void check_valid(const struct unit_table *table)
{
    const struct checkpoint *checkpoint = table->checkpoint;
    size_t *seen = calloc(checkpoint->tensor_count + 1, sizeof(*seen)), i, j;
    uint64_t bits = 0;

    for (i = 0; i < table->count; i++) {
        const struct unit *unit = &table->units[i];
        size_t bytes;

        assert_true(unit->count > 0);
        assert_int_equal(unit->first,
                         i ? table->units[i - 1].first + table->units[i - 1].count : 0);
        assert_true(i == 0 || table->units[i - 1].node < unit->node);
        assert_non_null(unit_name(table, i, &bytes));
        assert_true(bytes > 0);
        for (j = 0; j < unit->count; j++) {
            uint32_t tensor = table->members[unit->first + j];

            assert_int_equal(table->unit_of[tensor], i);
            seen[tensor]++;
        }
        bits += unit->bits;
        assert_int_equal(table->whole[unit->node] != 0, unit->reason != UNIT_TENSOR);
    }
    for (i = 0; i < checkpoint->tensor_count; i++) {
        uint32_t group = table->ties->group_of[i];

        assert_int_equal(seen[i], 1);
        if (group == TIE_NONE)
            assert_int_equal(table->unit_of[i], table->unit_of[table->owners[i]]);
        else
            assert_int_equal(table->unit_of[i],
                             table->unit_of[table->ties->groups[group].members[0].name]);
    }
    assert_int_equal(bits, table->bits);
    free(seen);
}

/* The units of a reason have just these names. */
static void check_units(const struct unit_table *table, enum unit_reason reason,
                        const char *const *names)
{
    size_t i, bytes;

    check_valid(table);
    for (i = 0; i < table->count; i++) {
        const char *name = unit_name(table, i, &bytes);

        if (table->units[i].reason != reason)
            continue;
        if (!*names || strlen(*names) != bytes || memcmp(name, *names, bytes) != 0)
            fail_msg("unit %.*s, not %s", (int)bytes, name, *names ? *names : "another");
        names++;
    }
    if (*names)
        fail_msg("no unit %s", *names);
}

/* The units of a reason are prefix0, prefix1, ... in this order. */
static size_t check_blocks(const struct unit_table *table, enum unit_reason reason,
                           const char *prefix, size_t count, size_t from)
{
    size_t i, bytes, found = 0;

    for (i = from; i < table->count && found < count; i++) {
        const char *name = unit_name(table, i, &bytes);
        char expected[128];

        if (table->units[i].reason != reason)
            continue;
        snprintf(expected, sizeof(expected), "%s%zu", prefix, found++);
        if (strlen(expected) != bytes || memcmp(name, expected, bytes) != 0)
            fail_msg("unit %.*s, not %s", (int)bytes, name, expected);
    }
    assert_int_equal(found, count);
    return i;
}

static size_t count_reason(const struct unit_table *table, enum unit_reason reason)
{
    size_t count = 0, i;

    for (i = 0; i < table->count; i++)
        count += table->units[i].reason == reason;
    return count;
}

static void drop(struct unit_table *table)
{
    struct checkpoint *checkpoint = (struct checkpoint *)table->checkpoint;

    unit_table_free(table);
    checkpoint_close(checkpoint);
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void repeated_blocks(void **state)
{
    const struct unit_options none = {0};
    struct unit_table *t = make(model_llama(32), &none);
    size_t end;

    (void)state;
    check_valid(t);
    check_blocks(t, UNIT_REPEATED, "model.layers.", 32, 0);
    assert_int_equal(t->count, 32 + 3);
    assert_int_equal(t->units[1].count, 9);
    assert_int_equal(t->units[1].place, POLICY_NOWHERE);
    drop(t);
    t = make(model_gpt2(), &none);
    check_blocks(t, UNIT_REPEATED, "h.", 12, 0);
    assert_int_equal(t->count, 12 + 2);
    drop(t);
    t = make(model_bert(), &none);
    check_blocks(t, UNIT_REPEATED, "bert.encoder.layer.", 12, 0);
    assert_int_equal(t->count, 12 + 4);
    drop(t);
    t = make(model_t5(), &none);
    check_valid(t);
    end = check_blocks(t, UNIT_REPEATED, "decoder.block.", 6, 0);
    check_blocks(t, UNIT_REPEATED, "encoder.block.", 6, end);
    assert_int_equal(count_reason(t, UNIT_REPEATED), 12);
    drop(t);
    t = make(model_whisper(), &none);
    end = check_blocks(t, UNIT_REPEATED, "model.decoder.layers.", 4, 0);
    check_blocks(t, UNIT_REPEATED, "model.encoder.layers.", 4, end);
    drop(t);
}

static void nested_lists(void **state)
{
    const struct unit_options none = {0};
    struct unit_table *t = make(model_mixtral(4, 0), &none);

    (void)state;
    check_units(t, UNIT_REPEATED,
                NAMES("model.layers.0", "model.layers.1", "model.layers.2", "model.layers.3"));
    drop(t);
    /* One layer without experts, in front; its neighbour has many more names. */
    t = make(model_mixtral(2, 1), &none);
    check_units(t, UNIT_REPEATED, NAMES("model.layers.0", "model.layers.1"));
    drop(t);
    t = make(model_mixtral(1, 0), &none);
    check_units(t, UNIT_REPEATED, NAMES("model.layers.0"));
    drop(t);
    t = make(model_unet(), &none);
    check_units(t, UNIT_REPEATED,
                NAMES("down_blocks.0", "down_blocks.1", "mid_block.resnets.0",
                      "mid_block.resnets.1", "mid_block.attentions.0"));
    drop(t);
}

/* Members that have nothing in common are no blocks, and neither are those at the root. */
static void unlike_members(void **state)
{
    const struct unit_options none = {0};
    struct unit_table *t = make(
        built_names(NAMES("embedders.0.text_model.layers.0.q.weight",
                          "embedders.0.text_model.layers.1.q.weight",
                          "embedders.1.model.resblocks.0.attn.weight",
                          "embedders.1.model.resblocks.1.attn.weight", "embedders.1.model.proj",
                          "0.auto_model.layer.0.w.weight", "0.auto_model.layer.1.w.weight",
                          "1.linear.weight", "list.0", "list.1", "list.02.weight")),
        &none);

    (void)state;
    check_units(t, UNIT_REPEATED,
                NAMES("embedders.0.text_model.layers.0", "embedders.0.text_model.layers.1",
                      "embedders.1.model.resblocks.0", "embedders.1.model.resblocks.1",
                      "0.auto_model.layer.0", "0.auto_model.layer.1"));
    check_units(
        t, UNIT_TENSOR,
        NAMES("embedders.1.model.proj", "1.linear.weight", "list.0", "list.1", "list.02.weight"));
    drop(t);
    /* A tensor of the list is no member of it. */
    t = make(built_names(NAMES("m.0", "m.1.a.w", "m.2.b.w")), &none);
    assert_int_equal(count_reason(t, UNIT_REPEATED), 0);
    drop(t);
}

/* The one member that is like another may stand anywhere. */
static void small_member(void **state)
{
    const struct unit_options none = {0};
    struct unit_table *t =
        make(built_names(NAMES("m.0.a.w", "m.0.b.w", "m.1.a.w", "m.1.b.w", "m.1.c.w", "m.1.d.w",
                               "m.1.e.w", "m.1.f.w", "m.1.g.w", "m.2.x.w", "m.2.y.w")),
             &none);

    (void)state;
    check_units(t, UNIT_REPEATED, NAMES("m.0", "m.1", "m.2"));
    drop(t);
}

/* A planner is told which modules are of one kind. */
static void kinds_of_modules(void **state)
{
    const char *const given[] = {"decoder.block.*", "*.block.1", "T5Block"};
    struct unit_table *t = make(model_t5(), &(struct unit_options){0});
    uint8_t decoder = t->whole[t->units[0].node], encoder;

    (void)state;
    encoder = t->whole[t->units[unit_table_find(t, "encoder.block.0")].node];
    assert_int_equal(decoder, t->whole[t->units[unit_table_find(t, "decoder.block.5")].node]);
    assert_int_equal(encoder, t->whole[t->units[unit_table_find(t, "encoder.block.5")].node]);
    assert_int_not_equal(decoder, encoder);
    assert_int_equal(t->whole[0] + t->whole[1], 0);
    drop(t);
    t = make(model_t5(), &(struct unit_options){.no_split = given, .no_split_count = 3});
    decoder = t->whole[t->units[unit_table_find(t, "decoder.block.1")].node];
    encoder = t->whole[t->units[unit_table_find(t, "encoder.block.0")].node];
    assert_int_equal(decoder, t->whole[t->units[unit_table_find(t, "decoder.block.0")].node]);
    assert_int_equal(encoder, t->whole[t->units[unit_table_find(t, "encoder.block.5")].node]);
    assert_int_not_equal(encoder, t->whole[t->units[unit_table_find(t, "encoder.block.1")].node]);
    assert_int_not_equal(encoder, decoder);
    drop(t);
}

static void turned_off(void **state)
{
    const char *const none[] = {"none"};
    struct unit_options off = {.no_split_given = true};
    struct unit_table *t = make(model_llama(3), &off);

    (void)state;
    check_valid(t);
    assert_int_equal(count_reason(t, UNIT_TENSOR), t->count);
    assert_int_equal(t->count, t->checkpoint->tensor_count);
    drop(t);
    off = (struct unit_options){.no_split = none, .no_split_count = 1};
    t = make(model_llama(3), &off);
    assert_int_equal(t->count, t->checkpoint->tensor_count);
    drop(t);
}

static void patterns(void **state)
{
    const char *const given[] = {"model.layers.1*", "*.mlp", "model.layers.1.mlp", "lm_head",
                                 "nothing.*"};
    const struct unit_options options = {.no_split = given, .no_split_count = 5};
    struct unit_table *t = make(model_llama(3), &options);

    (void)state;
    check_units(t, UNIT_PATTERN,
                NAMES("model.layers.0.mlp", "model.layers.1", "model.layers.2.mlp", "lm_head"));
    assert_int_equal(t->units[unit_table_find(t, "model.layers.1")].rule, 0);
    assert_int_equal(t->units[unit_table_find(t, "lm_head")].rule, 3);
    assert_int_equal(t->matches[0], 1);
    assert_int_equal(t->matches[1], 2);
    assert_int_equal(t->matches[2], 0);
    assert_int_equal(t->matches[3], 1);
    assert_int_equal(t->matches[4], 0);
    assert_int_equal(count_reason(t, UNIT_REPEATED), 0);
    drop(t);
}

static void classes(void **state)
{
    const char *const given[] = {"LlamaDecoderLayer"}, *const more[] = {"lm_head",
                                                                        "LlamaDecoderLayer"};
    struct model_config llama = {.kinds.count = 1};
    struct unit_options options = {.no_split_classes = given, .no_split_class_count = 1};
    struct unit_table *t;

    (void)state;
    t = make(model_llama(4), &options);
    check_blocks(t, UNIT_CLASS, "model.layers.", 4, 0);
    assert_int_equal(t->matches[0], 4);
    drop(t);
    /* By pattern, a word that no module has is a class. */
    strcpy(llama.kinds.text[0], "llama");
    options = (struct unit_options){.no_split = more, .no_split_count = 2, .config = &llama};
    t = make(model_llama(4), &options);
    assert_int_equal(count_reason(t, UNIT_PATTERN), 5);
    assert_int_equal(t->matches[0], 1);
    assert_int_equal(t->matches[1], 4);
    drop(t);
    /* A class of other models finds nothing where nobody knows the kind. */
    options = (struct unit_options){.no_split_classes = given, .no_split_class_count = 1};
    t = make(model_gpt2(), &options);
    assert_int_equal(t->matches[0], 0);
    assert_int_equal(count_reason(t, UNIT_REPEATED), 0);
    drop(t);
}

static void check_refused(const struct unit_options *options, const char *line)
{
    struct checkpoint *checkpoint = model_llama(2);
    struct unit_table *table = NULL;
    char got[INPUT_ERROR_TEXT_BYTES];
    struct input_error error;

    assert_int_equal(unit_table_create(checkpoint, options, &table, &error), -EINVAL);
    assert_null(table);
    assert_string_equal(input_error_format(&error, got, sizeof(got)), line);
    checkpoint_close(checkpoint);
}

static void refused(void **state)
{
    const char *const class[] = {"LlamaDecoderLayr"}, *const tied[] = {"lm_head.weight"};
    const struct tie_list list = {tied, 1};
    struct model_config llama = {.kinds.count = 1};
    struct unit_options options = {.no_split_classes = class, .no_split_class_count = 1};

    (void)state;
    check_refused(&options, "no_split_classes: expected a known class of blocks, perhaps "
                            "LlamaDecoderLayer, or a pattern such as model.layers.*, found "
                            "\"LlamaDecoderLayr\"");
    strcpy(llama.kinds.text[0], "llama");
    options = (struct unit_options){.no_split = class, .no_split_count = 1, .config = &llama};
    check_refused(&options, "no_split: expected a class of llama: LlamaDecoderLayer, found "
                            "\"LlamaDecoderLayr\"");
    options = (struct unit_options){.tied = &list, .tied_count = 1};
    check_refused(&options, "tied: expected two names or more of one parameter, found 1");
}

static void gguf_file(void **state)
{
    const char *const given[] = {"LlamaDecoderLayer"};
    struct unit_options options = {0};
    struct checkpoint *checkpoint = NULL;
    struct model_config config;
    struct input_error error;
    struct unit_table *t;

    (void)state;
    assert_int_equal(checkpoint_open(data_path("files/tiny.gguf"), &checkpoint, &error), 0);
    t = make(checkpoint, &options);
    check_blocks(t, UNIT_REPEATED, "blk.", 2, 0);
    unit_table_free(t);
    model_config_set_gguf(&config, checkpoint_metadata(checkpoint, "general.architecture"));
    options = (struct unit_options){
        .config = &config, .no_split_classes = given, .no_split_class_count = 1};
    t = make(checkpoint, &options);
    check_blocks(t, UNIT_CLASS, "blk.", 2, 0);
    assert_int_equal(t->bits, checkpoint->total_bytes * 8);
    drop(t);
}

static void quantised_layers(void **state)
{
    const struct unit_options off = {.no_split_given = true};
    struct unit_table *t =
        make(built_names(NAMES("l.0.q.weight", "l.0.q.weight.absmax", "l.0.q.weight.quant_map",
                               "l.0.q.bias", "l.0.k.qweight", "l.0.k.scales", "l.0.k.bias",
                               "l.0.k.qzeros", "l.0.norm.weight", "e.blocks_blocks", "e.sub.weight",
                               "e.blocks_scales", "w_packed", "w_scale")),
             &off);

    (void)state;
    check_units(t, UNIT_QUANTISED, NAMES("l.0.q.weight", "l.0.k"));
    check_units(
        t, UNIT_TENSOR,
        NAMES("w_packed", "l.0.q.bias", "l.0.norm.weight", "e.blocks_blocks", "e.sub.weight"));
    assert_int_equal(t->units[unit_table_find(t, "l.0.k")].count, 4);
    assert_int_equal(t->units[unit_table_find(t, "l.0.k.qzeros")].bits, 4 * 16 * 8);
    assert_int_equal(unit_table_find(t, "e.blocks_scales"), unit_table_find(t, "e.blocks_blocks"));
    assert_int_equal(unit_table_find(t, "w_scale"), unit_table_find(t, "w_packed"));
    assert_int_equal(unit_table_find(t, "l.0"), UNIT_NONE);
    drop(t);
}

static void tied_names(void **state)
{
    struct model_config gpt = {.kinds.count = 1, .architectures.count = 1};
    const struct unit_options options = {.config = &gpt};
    struct unit_table *t;
    struct built b;

    (void)state;
    strcpy(gpt.kinds.text[0], "gpt2");
    strcpy(gpt.architectures.text[0], "GPT2LMHeadModel");
    t = make(model_gpt2(), &options);
    check_valid(t);
    assert_int_equal(unit_table_find(t, "lm_head.weight"), unit_table_find(t, "wte.weight"));
    assert_string_equal(unit_table_name(t, (uint32_t)t->checkpoint->tensor_count),
                        "lm_head.weight");
    drop(t);
    /* A name within a block, of an object whose first name is elsewhere: it moves with the first.
     */
    built_begin(&b);
    built_add_at(&b, "first.weight", 0, 64);
    built_add(&b, "h.0.own.weight", 32);
    built_add_at(&b, "h.0.again.weight", 0, 64);
    built_add(&b, "h.1.own.weight", 32);
    built_add_at(&b, "h.1.again.weight", 0, 64);
    built_add_at(&b, "head.weight", 0, 64);
    t = make(built_finish(&b), &(struct unit_options){0});
    check_valid(t);
    assert_int_equal(t->count, 3);
    assert_int_equal(t->units[0].count, 4);
    assert_int_equal(t->units[0].bits, 64 * 8);
    assert_int_equal(t->units[1].bits, 32 * 8);
    assert_int_equal(unit_table_find(t, "head.weight"), 0);
    assert_int_equal(unit_table_find(t, "h.1.again.weight"), 0);
    assert_int_equal(unit_table_find(t, "h.1"), 2);
    drop(t);
}

/* Companions that share a storage with those of other weights. */
static void tied_companions(void **state)
{
    struct unit_table *t;
    struct built b;

    (void)state;
    built_begin(&b);
    built_add(&b, "a.weight", 64);
    built_add_at(&b, "a.weight.quant_map", 64, 8);
    built_add(&b, "b.weight", 64);
    built_add_at(&b, "b.weight.quant_map", 64, 8);
    t = make(built_finish(&b), &(struct unit_options){0});
    check_valid(t);
    assert_int_equal(t->count, 2);
    assert_int_equal(t->units[0].bits, 72 * 8);
    assert_int_equal(t->units[1].bits, 64 * 8);
    drop(t);
}

/* Golden models
 * -----------------------------------------------------------------------------------*/

static struct checkpoint *read_model(const cJSON *model)
{
    const cJSON *row;
    struct built b;

    built_begin(&b);
    cJSON_ArrayForEach(row, cJSON_GetObjectItem(model, "tensors"))
    {
        const char *kind = cJSON_GetArrayItem(row, 3)->valuestring;

        if (strcmp(kind, "temp") != 0)
            built_add(&b, cJSON_GetArrayItem(row, 0)->valuestring, 8);
    }
    return built_finish(&b);
}

/* The classes by which accelerate was told, and whether the default finds the same blocks. */
static const struct golden {
    const char *name, *kind, *architecture;
    const char *classes[3];
    enum model_config_tie tie;
} g_golden[] = {
    {"llama-3-8b", "llama", "LlamaForCausalLM", {"LlamaDecoderLayer"}, MODEL_TIE_UNSAID},
    {"gpt2", "gpt2", "GPT2LMHeadModel", {"GPT2Block"}, MODEL_TIE_UNSAID},
    {"qwen2-0.5b", "qwen2", "Qwen2ForCausalLM", {"Qwen2DecoderLayer"}, MODEL_TIE_YES},
    {"bert-base", "bert", "BertModel", {"BertLayer", "BertEmbeddings"}, MODEL_TIE_UNSAID},
    {"t5-large", "t5", "T5ForConditionalGeneration", {"T5Block"}, MODEL_TIE_UNSAID},
    {"mixtral-8x7b", "mixtral", "MixtralForCausalLM", {"MixtralDecoderLayer"}, MODEL_TIE_UNSAID},
    {"opt-30b", "opt", "OPTForCausalLM", {"OPTDecoderLayer"}, MODEL_TIE_UNSAID},
    {"clip",
     "clip",
     "CLIPModel",
     {"CLIPEncoderLayer", "CLIPTextEmbeddings", "CLIPVisionEmbeddings"},
     MODEL_TIE_UNSAID},
};

static size_t has_unit(const struct unit_table *t, const char *name, enum unit_reason reason)
{
    size_t i, bytes;

    for (i = 0; i < t->count; i++) {
        const char *unit = unit_name(t, i, &bytes);

        if (t->units[i].reason == reason && strlen(name) == bytes && !memcmp(unit, name, bytes))
            return 1;
    }
    return 0;
}

static void check_golden_ties(const struct unit_table *t, const cJSON *groups)
{
    const cJSON *group, *name;

    assert_int_equal(t->ties->count, cJSON_GetArraySize(groups));
    cJSON_ArrayForEach(group, groups)
    {
        cJSON_ArrayForEach(name, group)
        {
            assert_int_equal(unit_table_find(t, name->valuestring),
                             unit_table_find(t, group->child->valuestring));
        }
    }
}

static void check_golden(const struct golden *g, const cJSON *model)
{
    struct model_config config = {
        .kinds.count = 1, .architectures.count = 1, .tie_word_embeddings = g->tie};
    struct unit_options options = {.config = &config, .no_split_classes = g->classes};
    const cJSON *list = cJSON_GetObjectItem(model, "no_split"), *module;
    struct unit_table *t, *repeated;
    size_t blocks = 0, classes = 0;

    strcpy(config.kinds.text[0], g->kind);
    strcpy(config.architectures.text[0], g->architecture);
    while (options.no_split_class_count < 3 && g->classes[options.no_split_class_count])
        options.no_split_class_count++;
    t = make(read_model(model), &options);
    repeated = make(t->checkpoint, &(struct unit_options){.config = &config});
    check_valid(t);
    check_valid(repeated);
    cJSON_ArrayForEach(module, list)
    {
        classes += has_unit(t, module->valuestring, UNIT_CLASS);
        blocks += has_unit(repeated, module->valuestring, UNIT_REPEATED);
    }
    assert_int_equal(classes, cJSON_GetArraySize(list));
    assert_int_equal(classes, count_reason(t, UNIT_CLASS));
    /* All but the modules that do not repeat: the embeddings of BERT and CLIP. */
    assert_int_equal(blocks, count_reason(repeated, UNIT_REPEATED));
    assert_int_equal(blocks, classes - (options.no_split_class_count - 1));
    check_golden_ties(t, cJSON_GetObjectItem(model, "tied"));
    unit_table_free(repeated);
    drop(t);
}

static void golden_models(void **state)
{
    char *text = data_read("maps.jsonl", NULL), *line, *rest = text;
    size_t found = 0, i;

    (void)state;
    while ((line = strsep(&rest, "\n"))) {
        for (i = 0; i < sizeof(g_golden) / sizeof(g_golden[0]); i++) {
            char head[64];
            cJSON *model;

            snprintf(head, sizeof(head), "{\"case\":\"%s\",", g_golden[i].name);
            if (strncmp(line, head, strlen(head)) != 0)
                continue;
            model = cJSON_Parse(line);
            assert_non_null(model);
            check_golden(&g_golden[i], model);
            cJSON_Delete(model);
            found++;
        }
    }
    free(text);
    assert_int_equal(found, sizeof(g_golden) / sizeof(g_golden[0]));
}

/* Anything
 * ----------------------------------------------------------------------------------------*/

static void make_name(char *name, unsigned *random)
{
    static const char *const parts[] = {"0",      "1",      "2",      "10",
                                        "layers", "mlp",    "weight", "qweight",
                                        "scales", "absmax", "w",      "w_scale"};
    unsigned depth = 1 + (unsigned)rand_r(random) % 5;

    name[0] = '\0';
    while (depth--) {
        strcat(name, parts[(unsigned)rand_r(random) % (sizeof(parts) / sizeof(parts[0]))]);
        strcat(name, depth ? "." : "");
    }
}

static struct checkpoint *make_random(unsigned *random)
{
    size_t count = (unsigned)rand_r(random) % 80, i, j;
    char names[80][64];
    struct built b;

    built_begin(&b);
    for (i = 0; i < count; i++) {
        make_name(names[i], random);
        for (j = 0; j < i && strcmp(names[i], names[j]) != 0; j++)
            ;
        if (j < i)
            continue;
        if (rand_r(random) % 8)
            built_add(&b, names[i], (unsigned)rand_r(random) % 3 * 16);
        else
            built_add_at(&b, names[i], 0, 48); /* tied, or a view of what begins the file */
    }
    return built_finish(&b);
}

static void any_model(void **state)
{
    static const char *const given[] = {"*.mlp", "layers.?", "*1", "layers"};
    unsigned seed;

    (void)state;
    for (seed = 1; seed <= 400; seed++) {
        unsigned random = seed;
        struct checkpoint *checkpoint = make_random(&random);
        struct unit_options options = {.no_split = given,
                                       .no_split_count = (unsigned)rand_r(&random) % 4,
                                       .no_split_given = rand_r(&random) % 2};
        struct unit_table *table = make(checkpoint, &options);
        size_t i, units = 0;

        check_valid(table);
        assert_int_equal(table->bits, checkpoint->total_bytes * 8);
        for (i = 0; i < options.no_split_count; i++)
            units += table->matches[i];
        assert_true(units >= count_reason(table, UNIT_PATTERN));
        drop(table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repeated_blocks),  cmocka_unit_test(nested_lists),
        cmocka_unit_test(unlike_members),   cmocka_unit_test(small_member),
        cmocka_unit_test(kinds_of_modules), cmocka_unit_test(turned_off),
        cmocka_unit_test(patterns),         cmocka_unit_test(classes),
        cmocka_unit_test(refused),          cmocka_unit_test(gguf_file),
        cmocka_unit_test(quantised_layers), cmocka_unit_test(tied_names),
        cmocka_unit_test(tied_companions),  cmocka_unit_test(golden_models),
        cmocka_unit_test(any_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
