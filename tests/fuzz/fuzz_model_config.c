/* fuzz_model_config.c - any bytes as a config.json, and what comes of it as a model's kinds.
 *
 * Words are terminated, unlike and few; a class that a model is said to have resolves to a place.
 *
 * Seeds: tests/fuzz/seeds/model_config
 */
#include "architecture.h"
#include "fuzz.h"
#include "model_config.h"

static void check_words(const struct model_config_words *words)
{
    size_t i, j;

    fuzz_require(words->count <= MODEL_CONFIG_WORDS_MAX);
    for (i = 0; i < words->count; i++) {
        fuzz_require(words->text[i][0] && memchr(words->text[i], '\0', MODEL_CONFIG_WORD_BYTES));
        for (j = 0; j < i; j++)
            fuzz_require(strcmp(words->text[i], words->text[j]) != 0);
    }
}

static void check(const struct model_config *config)
{
    struct architecture_places places;
    struct architecture_ties ties;
    struct input_error error;
    const char *classes[16];
    size_t count = architecture_classes(config, classes, 16), i;

    check_words(&config->kinds);
    check_words(&config->architectures);
    for (i = 0; i < count && i < 16; i++) {
        input_error_clear(&error);
        fuzz_require(architecture_resolve(config, classes[i], &places, &error) == 0);
        fuzz_require(places.count > 0 && places.count <= ARCHITECTURE_PLACES_MAX);
    }
    input_error_clear(&error);
    if (architecture_resolve(config, "no class", &places, &error))
        fuzz_check_refusal(&error);
    architecture_find_ties(config, &ties);
    for (i = 0; i < ties.count; i++)
        fuzz_require(ties.group[i].count >= 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct model_config config;
    struct input_error error;

    if (model_config_parse((const char *)data, bytes, "fuzz", &config, &error) == 0)
        check(&config);
    else
        fuzz_check_refusal(&error);
    return 0;
}
