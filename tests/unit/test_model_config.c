/* Strategy: configurations as libraries write them, field by field; then what must be refused, told
 * by the line that says why; then where a checkpoint's config.json is looked for.
 */
#include "checkpoint.h"
#include "data.h"
#include "model_config.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct model_config parse(const char *text)
{
    struct model_config config;
    struct input_error error;

    if (model_config_parse(text, strlen(text), "config.json", &config, &error)) {
        char line[INPUT_ERROR_TEXT_BYTES];

        fail_msg("%s", input_error_format(&error, line, sizeof(line)));
    }
    return config;
}

static void check_words(const struct model_config_words *words, const char *const *expected)
{
    size_t i;

    for (i = 0; expected[i]; i++) {
        assert_true(i < words->count);
        assert_string_equal(words->text[i], expected[i]);
    }
    assert_int_equal(words->count, i);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void language_model(void **state)
{
    struct model_config c =
        parse("{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
              "\"rope_theta\":500000.0,\"tie_word_embeddings\":false,\"quantization_config\":"
              "{\"quant_method\":\"gptq\",\"bits\":4}}");

    (void)state;
    check_words(&c.kinds, WORDS("llama"));
    check_words(&c.architectures, WORDS("LlamaForCausalLM"));
    assert_int_equal(c.tie_word_embeddings, MODEL_TIE_NO);
    assert_false(c.gguf);
    assert_int_equal(parse("{\"model_type\":\"gpt2\"}").tie_word_embeddings, MODEL_TIE_UNSAID);
    assert_int_equal(parse("{\"tie_word_embeddings\":true}").tie_word_embeddings, MODEL_TIE_YES);
    assert_int_equal(parse("{\"tie_word_embeddings\":null}").tie_word_embeddings, MODEL_TIE_UNSAID);
    assert_int_equal(parse("{}").kinds.count, 0);
}

static void parts(void **state)
{
    struct model_config c =
        parse("{\"model_type\":\"llava\",\"text_config\":{\"model_type\":\"llama\","
              "\"tie_word_embeddings\":true},\"vision_config\":{\"model_type\":"
              "\"clip_vision_model\"},\"deep\":{\"er\":{\"model_type\":\"llama\"}}}");

    (void)state;
    check_words(&c.kinds, WORDS("llava", "llama", "clip_vision_model"));
    assert_int_equal(c.tie_word_embeddings, MODEL_TIE_YES);
    c = parse("{\"tie_word_embeddings\":false,\"text_config\":{\"tie_word_embeddings\":true}}");
    assert_int_equal(c.tie_word_embeddings, MODEL_TIE_NO);
    c = parse("{\"vision_config\":{\"tie_word_embeddings\":true}}");
    assert_int_equal(c.tie_word_embeddings, MODEL_TIE_UNSAID);
}

static void diffusion(void **state)
{
    struct model_config c =
        parse("{\"_class_name\":\"UNet2DConditionModel\",\"_diffusers_version\":\"0.30\"}");

    (void)state;
    check_words(&c.kinds, WORDS("UNet2DConditionModel"));
    check_words(&c.architectures, WORDS("UNet2DConditionModel"));
}

static void python_numbers(void **state)
{
    struct model_config c = parse(
        "{\"time_step_limit\":[0.0,Infinity],\"a\":-Infinity,\"b\":NaN,\"c\":\"\\\"Infinity\","
        "\"model_type\":\"mamba2\"}");

    (void)state;
    check_words(&c.kinds, WORDS("mamba2"));
    c = parse("{\"model_type\":\"NaN\"}"); /* a string keeps it */
    check_words(&c.kinds, WORDS("NaN"));
}

static void long_words(void **state)
{
    char text[2048] = "{\"architectures\":[\"", word[MODEL_CONFIG_WORD_BYTES + 1];
    struct model_config c;
    size_t i;

    (void)state;
    memset(word, 'x', MODEL_CONFIG_WORD_BYTES);
    word[MODEL_CONFIG_WORD_BYTES] = '\0';
    strcat(text, word);
    strcat(text, "\",\"");
    word[MODEL_CONFIG_WORD_BYTES - 1] = '\0';
    strcat(text, word);
    strcat(text, "\",\"\"");
    for (i = 0; i < 2 * MODEL_CONFIG_WORDS_MAX; i++)
        sprintf(text + strlen(text), ",\"w%zu\"", i);
    strcat(text, "]}");
    c = parse(text);
    assert_int_equal(c.architectures.count, MODEL_CONFIG_WORDS_MAX);
    assert_string_equal(c.architectures.text[0], word);
    assert_string_equal(c.architectures.text[1], "w0");
}

static void check_refused(const char *text, const char *line)
{
    char got[INPUT_ERROR_TEXT_BYTES];
    struct model_config config = {.gguf = true};
    struct input_error error;

    assert_int_equal(model_config_parse(text, strlen(text), "c.json", &config, &error), -EINVAL);
    assert_string_equal(input_error_format(&error, got, sizeof(got)), line);
    assert_int_equal(config.kinds.count + config.architectures.count + config.gguf, 0);
}

static void refused(void **state)
{
    (void)state;
    check_refused("[1]", "c.json:1:1: expected an object: the configuration of a model, found an "
                         "array");
    check_refused("{\"architectures\":\"x\"}",
                  "c.json:1:2: architectures: expected a list of class names, found "
                  "\"x\"");
    check_refused("{\"architectures\":[\"a\",7]}",
                  "c.json:1:23: expected the name of a class, found 7");
    check_refused("{\n \"model_type\":{}}",
                  "c.json:2:2: model_type: expected a string, found an object");
    check_refused("{\"tie_word_embeddings\":1}",
                  "c.json:1:2: tie_word_embeddings: expected true or false, found 1");
    check_refused("{\"text_config\":{\"model_type\":0}}",
                  "c.json:1:17: model_type: expected a string, found 0");
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fputs(text, file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
}

static void beside_a_checkpoint(void **state)
{
    char folder[] = "/tmp/berth-config-XXXXXX", path[64], file[64];
    struct model_config config;
    struct input_error error;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof(file), "%s/model.safetensors", folder);
    snprintf(path, sizeof(path), "%s/config.json", folder);
    assert_int_equal(model_config_find(file, &config, &error), 0);
    assert_int_equal(config.kinds.count, 0);
    assert_int_equal(model_config_read(path, &config, &error), -ENOENT);
    write_file(path, "{\"model_type\":\"bert\"}");
    write_file(file, "");
    assert_int_equal(model_config_find(file, &config, &error), 0);
    check_words(&config.kinds, WORDS("bert"));
    assert_int_equal(model_config_find(folder, &config, &error), 0);
    check_words(&config.kinds, WORDS("bert"));
    strcpy(file, folder);
    strcat(file, "/");
    assert_int_equal(model_config_find(file, &config, &error), 0);
    check_words(&config.kinds, WORDS("bert"));
    write_file(path, "{");
    assert_int_equal(model_config_find(folder, &config, &error), -EINVAL);
    assert_non_null(strstr(error.file, "config.json"));
    unlink(path);
    snprintf(file, sizeof(file), "%s/model.safetensors", folder);
    unlink(file);
    rmdir(folder);
}

static void gguf(void **state)
{
    struct model_config config = {.tie_word_embeddings = MODEL_TIE_YES};
    struct checkpoint *checkpoint = NULL;
    struct input_error error;

    (void)state;
    model_config_set_gguf(&config, "llama");
    check_words(&config.kinds, WORDS("llama"));
    assert_true(config.gguf);
    assert_int_equal(config.tie_word_embeddings, MODEL_TIE_UNSAID);
    memset(&config, 0, sizeof(config));
    assert_int_equal(checkpoint_open(data_path("files/tiny.gguf"), &checkpoint, &error), 0);
    model_config_set_gguf(&config, checkpoint_metadata(checkpoint, "general.architecture"));
    check_words(&config.kinds, WORDS("llama"));
    assert_true(config.gguf);
    checkpoint_close(checkpoint);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(language_model), cmocka_unit_test(parts),
        cmocka_unit_test(diffusion),      cmocka_unit_test(python_numbers),
        cmocka_unit_test(long_words),     cmocka_unit_test(refused),
        cmocka_unit_test(gguf),           cmocka_unit_test(beside_a_checkpoint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
