/* Strategy: the table is held against what the library itself has: tests/data/architectures.jsonl
 * lists, for each class of models, where the modules of its blocks stand and what it ties. Then by
 * hand: where a place must not match, and each way in which a class is refused.
 */
#include "architecture.h"
#include "architecture_table.h"
#include "data.h"
#include "json.h"
#include <errno.h>
#include <string.h>

/* A path from a pattern: every * is layer 7. */
static void make_path(const char *pattern, char *path)
{
    for (; *pattern; pattern++)
        *path++ = *pattern == '*' ? '7' : *pattern;
    *path = '\0';
}

static void check_class(const struct model_config *config, const cJSON *class)
{
    struct architecture_places places;
    struct input_error error;
    const cJSON *pattern;
    char path[256], longer[300];

    input_error_clear(&error);
    if (architecture_resolve(config, class->string, &places, &error))
        fail_msg("%s of %s: expected %s", class->string, config->kinds.text[0], error.expected);
    cJSON_ArrayForEach(pattern, class)
    {
        make_path(pattern->valuestring, path);
        if (!architecture_places_match(&places, path, strlen(path)))
            fail_msg("%s does not stand at %s", class->string, path);
        snprintf(longer, sizeof(longer), "%s.inner", path);
        assert_false(architecture_places_match(&places, longer, strlen(longer)));
    }
}

static bool ends_with(const char *name, const struct architecture_name *tail)
{
    size_t bytes = strlen(name);

    return bytes >= tail->bytes &&
           memcmp(name + bytes - tail->bytes, tail->tail, tail->bytes) == 0 &&
           (bytes == tail->bytes || name[bytes - tail->bytes - 1] == '.');
}

static size_t count_ends(const struct architecture_group *group, const char *name)
{
    size_t count = 0, i;

    for (i = 0; i < group->count; i++)
        count += ends_with(name, &group->name[i]);
    return count;
}

/* Every name that the library ties is in the group that the table has for it. */
static void check_ties(const struct model_config *config, const cJSON *groups)
{
    struct architecture_ties ties;
    const cJSON *group, *name;

    architecture_find_ties(config, &ties);
    if (cJSON_GetArraySize(groups) && ties.count == 0)
        fail_msg("%s ties something", config->architectures.text[0]);
    cJSON_ArrayForEach(group, groups)
    {
        size_t i, found = 0;

        for (i = 0; i < ties.count; i++) {
            size_t names = 0;

            cJSON_ArrayForEach(name, group)
            {
                names += count_ends(&ties.group[i], name->valuestring);
            }
            found += names == (size_t)cJSON_GetArraySize(group);
        }
        if (found != 1)
            fail_msg("%s: %s", config->architectures.text[0], group->child->valuestring);
    }
}

static size_t check_row(const cJSON *row)
{
    const char *kind = cJSON_GetObjectItem(row, "kind")->valuestring;
    const char *architecture = cJSON_GetObjectItem(row, "architecture")->valuestring;
    struct model_config config = {.kinds.count = 1, .architectures.count = 1};
    struct architecture_ties ties;
    const cJSON *class;
    size_t classes = 0;

    strcpy(config.kinds.text[0], kind);
    strcpy(config.architectures.text[0], architecture);
    cJSON_ArrayForEach(class, cJSON_GetObjectItem(row, "classes"))
    {
        check_class(&config, class);
        classes++;
    }
    if (!cJSON_GetObjectItem(row, "skip_ties"))
        check_ties(&config, cJSON_GetObjectItem(row, "tied"));
    architecture_find_ties(&config, &ties);
    if (!cJSON_IsTrue(cJSON_GetObjectItem(row, "tied_by_default")) && ties.count)
        fail_msg("%s ties nothing unless it is told to", kind);
    return classes;
}

static void library(void **state)
{
    char *text = data_read("architectures.jsonl", NULL), *line, *rest = text;
    size_t rows = 0, classes = 0;

    (void)state;
    while ((line = strsep(&rest, "\n"))) {
        cJSON *row = *line ? cJSON_Parse(line) : NULL;

        if (!*line)
            continue;
        assert_non_null(row);
        classes += check_row(row);
        rows++;
        cJSON_Delete(row);
    }
    free(text);
    assert_true(rows > 200 && classes > 200);
}

static struct model_config model(const char *kind)
{
    struct model_config config = {.kinds.count = 1};

    strcpy(config.kinds.text[0], kind);
    return config;
}

static bool stands(const char *class, const char *path)
{
    struct architecture_places places;
    struct input_error error;

    input_error_clear(&error);
    assert_int_equal(architecture_resolve(NULL, class, &places, &error), 0);
    return architecture_places_match(&places, path, strlen(path));
}

static void places(void **state)
{
    (void)state;
    assert_true(stands("LlamaDecoderLayer", "model.layers.0"));
    assert_true(stands("LlamaDecoderLayer", "layers.12"));
    assert_true(stands("LlamaDecoderLayer", "language_model.model.layers.3"));
    assert_false(stands("LlamaDecoderLayer", "vision_tower.encoder.layers.3"));
    assert_false(stands("LlamaDecoderLayer", "mymodel.layers.3"));
    assert_false(stands("LlamaDecoderLayer", "sub.layers.3"));
    assert_false(stands("LlamaDecoderLayer", "model.layers"));
    assert_false(stands("LlamaDecoderLayer", "model.layers.x"));
    assert_false(stands("LlamaDecoderLayer", "model.layersx0"));
    assert_false(stands("LlamaDecoderLayer", ".0"));
    assert_false(stands("LlamaDecoderLayer", "0"));
    assert_false(stands("LlamaDecoderLayer", ""));
    assert_true(stands("GPT2Block", "h.0"));
    assert_true(stands("GPT2Block", "transformer.h.11"));
    assert_false(stands("GPT2Block", "oh.1"));
    assert_true(stands("T5Block", "encoder.block.0"));
    assert_true(stands("T5Block", "decoder.block.23"));
    assert_false(stands("T5Block", "decoder.block.2.layer.0"));
    assert_true(stands("BertEmbeddings", "bert.embeddings"));
    assert_true(stands("BertEmbeddings", "embeddings"));
    assert_false(stands("BertEmbeddings", "bert.embeddings.word_embeddings"));
    assert_true(stands("BasicTransformerBlock", "down_blocks.1.attentions.0.transformer_blocks.9"));
    assert_true(stands("ResnetBlock2D", "mid_block.resnets.1"));
    assert_true(stands("CrossAttnDownBlock2D", "down_blocks.1"));
}

static void check_refused(const struct model_config *config, const char *class,
                          const char *expected)
{
    struct architecture_places places;
    struct input_error error;

    input_error_clear(&error);
    assert_int_equal(architecture_resolve(config, class, &places, &error), -EINVAL);
    assert_string_equal(error.expected, expected);
    assert_non_null(strstr(error.found, class));
}

static void refused(void **state)
{
    struct model_config llama = model("llama"), strange = model("strange"), vision = model("llava");

    (void)state;
    check_refused(NULL, "LamaDecoderLayer",
                  "a known class of blocks, perhaps LlamaDecoderLayer, or a pattern such as "
                  "model.layers.*");
    check_refused(NULL, "Zzzz", "a known class of blocks, or a pattern such as model.layers.*");
    check_refused(&llama, "MistralDecoderLayer", "a class of llama: LlamaDecoderLayer");
    check_refused(&llama, "Zzzz", "a class of llama: LlamaDecoderLayer");
    check_refused(&strange, "llamadecoderlayer",
                  "a known class of blocks, perhaps LlamaDecoderLayer, or a pattern such as "
                  "model.layers.*");
    check_refused(&vision, "GPT2Block",
                  "a class of llava: CLIPEncoderLayer, CLIPVisionEmbeddings or LlamaDecoderLayer");
}

/* A part whose kind nobody knows may have any class. */
static void unknown_parts(void **state)
{
    struct model_config config = model("llava");
    struct architecture_places places;
    struct input_error error;

    (void)state;
    input_error_clear(&error);
    strcpy(config.kinds.text[config.kinds.count++], "strange");
    assert_int_equal(architecture_resolve(&config, "GPT2Block", &places, &error), 0);
    strcpy(config.kinds.text[1], "gpt2");
    assert_int_equal(architecture_resolve(&config, "GPT2Block", &places, &error), 0);
    strcpy(config.kinds.text[1], "mamba");
    assert_int_equal(architecture_resolve(&config, "GPT2Block", &places, &error), -EINVAL);
}

static void gguf(void **state)
{
    struct architecture_places places;
    struct architecture_ties ties;
    struct model_config config;
    struct input_error error;

    (void)state;
    input_error_clear(&error);
    model_config_set_gguf(&config, "llama");
    assert_int_equal(architecture_resolve(&config, "LlamaDecoderLayer", &places, &error), 0);
    assert_true(architecture_places_match(&places, "blk.31", 6));
    assert_false(architecture_places_match(&places, "model.layers.0", 14));
    assert_int_equal(architecture_resolve(&config, "MixtralDecoderLayer", &places, &error), 0);
    assert_int_equal(architecture_resolve(&config, "GPT2Block", &places, &error), -EINVAL);
    model_config_set_gguf(&config, "t5");
    assert_int_equal(architecture_resolve(&config, "T5Block", &places, &error), 0);
    assert_true(architecture_places_match(&places, "enc.blk.0", 9));
    model_config_set_gguf(&config, "gemma2");
    architecture_find_ties(&config, &ties);
    assert_int_equal(ties.count, 0);
}

static void ties(void **state)
{
    struct model_config config = model("llama");
    struct architecture_ties found;

    (void)state;
    architecture_find_ties(NULL, &found);
    assert_int_equal(found.count, 0);
    architecture_find_ties(&config, &found);
    assert_int_equal(found.count, 0);
    config.tie_word_embeddings = MODEL_TIE_YES;
    architecture_find_ties(&config, &found);
    assert_int_equal(found.count, 1);
    assert_false(found.has_head);
    config.architectures.count = 1;
    strcpy(config.architectures.text[0], "LlamaForCausalLM");
    architecture_find_ties(&config, &found);
    assert_true(found.has_head);
    config = model("gpt2");
    architecture_find_ties(&config, &found);
    assert_int_equal(found.count, 1);
    config.tie_word_embeddings = MODEL_TIE_NO;
    architecture_find_ties(&config, &found);
    assert_int_equal(found.count, 0);
    /* A kind that nobody knows, but which says that it ties. */
    config = model("strange");
    architecture_find_ties(&config, &found);
    assert_int_equal(found.count, 0);
    config.tie_word_embeddings = MODEL_TIE_YES;
    architecture_find_ties(&config, &found);
    assert_int_equal(found.count, 1);
}

/* Every class that a kind of model names is a row, every row is some kind's, and rows come once. */
static void rows(void **state)
{
    static const char *const classes[] = {
#define X(kind, gguf, tied, ties, classes) classes,
        ARCHITECTURES(X)
#undef X
    };
    static const char *const blocks[] = {
#define X(name, places) name,
        ARCHITECTURE_BLOCKS(X)
#undef X
    };
    size_t i, j, uses;
    char list[256], *word, *rest;

    (void)state;
    for (i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        uses = 0;
        for (j = 0; j < sizeof(classes) / sizeof(classes[0]); j++) {
            strcpy(list, classes[j]);
            for (rest = list; (word = strsep(&rest, "|"));)
                uses += strcmp(word, blocks[i]) == 0;
        }
        if (uses == 0)
            fail_msg("%s is no model's", blocks[i]);
        if (i && strcmp(blocks[i - 1], blocks[i]) >= 0)
            fail_msg("%s is out of order", blocks[i]);
    }
    for (j = 0; j < sizeof(classes) / sizeof(classes[0]); j++) {
        struct architecture_places places;
        struct input_error error;

        strcpy(list, classes[j]);
        input_error_clear(&error);
        for (rest = list; (word = strsep(&rest, "|"));) {
            if (architecture_resolve(NULL, word, &places, &error) || places.count == 0)
                fail_msg("%s is no row", word);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(library), cmocka_unit_test(places), cmocka_unit_test(refused),
        cmocka_unit_test(gguf),    cmocka_unit_test(ties),   cmocka_unit_test(unknown_parts),
        cmocka_unit_test(rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
