/* Strategy: the models of tests/data/maps.jsonl, whose no-split modules and ties are known from the
 * libraries themselves; then, on random names and options (seeds), what every table must hold: each
 * tensor in one unit, all bits counted once.
 */
#include "json.h"
#include "unit_rig.h"

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
    t = unit_rig_make(read_model(model), &options);
    repeated = unit_rig_make(t->checkpoint, &(struct unit_options){.config = &config});
    unit_rig_check(t);
    unit_rig_check(repeated);
    cJSON_ArrayForEach(module, list)
    {
        classes += has_unit(t, module->valuestring, UNIT_CLASS);
        blocks += has_unit(repeated, module->valuestring, UNIT_REPEATED);
    }
    assert_int_equal(classes, cJSON_GetArraySize(list));
    assert_int_equal(classes, unit_rig_count(t, UNIT_CLASS));
    /* All but the modules that do not repeat: the embeddings of BERT and CLIP. */
    assert_int_equal(blocks, unit_rig_count(repeated, UNIT_REPEATED));
    assert_int_equal(blocks, classes - (options.no_split_class_count - 1));
    check_golden_ties(t, cJSON_GetObjectItem(model, "tied"));
    unit_table_free(repeated);
    unit_rig_drop(t);
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
        struct unit_table *table = unit_rig_make(checkpoint, &options);
        size_t i, units = 0;

        unit_rig_check(table);
        assert_int_equal(table->bits, checkpoint->total_bytes * 8);
        for (i = 0; i < options.no_split_count; i++)
            units += table->matches[i];
        assert_true(units >= unit_rig_count(table, UNIT_PATTERN));
        unit_rig_drop(table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_models),
        cmocka_unit_test(any_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
