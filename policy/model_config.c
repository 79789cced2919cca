#include "model_config.h"
#include "checkpoint.h"
#include "json.h"
#include "text_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PARTS_DEPTH_MAX 3 /* a part of a part of a model */

/* The fields under which the part is found that writes text: its ties are the whole's. */
static const char *const g_text_parts[] = {"text_config", "llm_config", "language_config"};

struct reader {
    const char *text;
    size_t bytes;
    const cJSON *root;
    struct model_config *config;
    struct input_error *error;
};

/* Python's json writes numbers that JSON has not: put others of the same length in their place.
 * None of them is ever read.
 */
static void replace_python_numbers(char *text, size_t bytes)
{
    static const struct {
        const char *word, *instead;
    } words[] = {{"-Infinity", "-1       "}, {"Infinity", "1       "}, {"NaN", "1  "}};
    bool quoted = false;
    size_t at, i;

    for (at = 0; at < bytes; at++) {
        if (quoted && text[at] == '\\')
            at++;
        else if (text[at] == '"')
            quoted = !quoted;
        for (i = 0; !quoted && i < sizeof(words) / sizeof(words[0]); i++) {
            size_t letters = strlen(words[i].word);

            if (bytes - at >= letters && memcmp(text + at, words[i].word, letters) == 0)
                memcpy(text + at, words[i].instead, letters);
        }
    }
}

static void add_word(struct model_config_words *words, const char *word)
{
    size_t i;

    if (words->count == MODEL_CONFIG_WORDS_MAX || !*word || strlen(word) >= MODEL_CONFIG_WORD_BYTES)
        return;
    for (i = 0; i < words->count; i++) {
        if (strcmp(words->text[i], word) == 0)
            return;
    }
    strcpy(words->text[words->count++], word);
}

static int refuse(const struct reader *r, const cJSON *item, const char *expected)
{
    char found[64];

    json_locate(r->text, r->bytes, r->root, item, r->error);
    if (item->string)
        input_error_set_field(r->error, item->string, strlen(item->string));
    return input_error_set(r->error, -EINVAL, r->error->offset, expected, "%s",
                           json_describe(item, found, sizeof(found)));
}

/* A field that may be absent or null. */
static const cJSON *find_field(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return item && !cJSON_IsNull(item) ? item : NULL;
}

static int read_word(const struct reader *r, const cJSON *object, const char *name,
                     struct model_config_words *words)
{
    const cJSON *item = find_field(object, name);

    if (!item)
        return 0;
    if (!cJSON_IsString(item))
        return refuse(r, item, "a string");
    add_word(words, item->valuestring);
    return 0;
}

/* The kinds of a model's parts: every object within it that has a model_type. */
static int read_parts(const struct reader *r, const cJSON *object, unsigned depth)
{
    const cJSON *item;
    int res = read_word(r, object, "model_type", &r->config->kinds);

    if (res || depth == PARTS_DEPTH_MAX)
        return res;
    cJSON_ArrayForEach(item, object)
    {
        if (cJSON_IsObject(item))
            res = read_parts(r, item, depth + 1);
        if (res)
            return res;
    }
    return 0;
}

static int read_tie(const struct reader *r, const cJSON *object)
{
    const cJSON *item = find_field(object, "tie_word_embeddings");

    if (!item)
        return 0;
    if (!cJSON_IsBool(item))
        return refuse(r, item, "true or false");
    r->config->tie_word_embeddings = cJSON_IsTrue(item) ? MODEL_TIE_YES : MODEL_TIE_NO;
    return 0;
}

static int read_architectures(const struct reader *r)
{
    const cJSON *list = find_field(r->root, "architectures"), *item;

    if (list && !cJSON_IsArray(list))
        return refuse(r, list, "a list of class names");
    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsString(item))
            return refuse(r, item, "the name of a class");
        add_word(&r->config->architectures, item->valuestring);
    }
    return 0;
}

static int read_fields(const struct reader *r)
{
    size_t i;
    int res;

    if (!cJSON_IsObject(r->root))
        return refuse(r, r->root, "an object: the configuration of a model");
    res = read_word(r, r->root, "_class_name", &r->config->kinds);
    res = res ? res : read_word(r, r->root, "_class_name", &r->config->architectures);
    res = res ? res : read_architectures(r);
    res = res ? res : read_parts(r, r->root, 0);
    res = res ? res : read_tie(r, r->root);
    for (i = 0; !res && i < sizeof(g_text_parts) / sizeof(g_text_parts[0]); i++) {
        const cJSON *part = find_field(r->root, g_text_parts[i]);

        if (cJSON_IsObject(part) && r->config->tie_word_embeddings == MODEL_TIE_UNSAID)
            res = read_tie(r, part);
    }
    return res;
}

int model_config_parse(const char *text, size_t bytes, const char *path, struct model_config *out,
                       struct input_error *error)
{
    struct reader r = {.bytes = bytes, .config = out, .error = error};
    char *copy = malloc(bytes + 1);
    cJSON *root = NULL;
    int res;

    memset(out, 0, sizeof(*out));
    input_error_clear(error);
    input_error_set_file(error, path);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, text, bytes);
    replace_python_numbers(copy, bytes);
    res = json_parse(copy, bytes, 0, &root, error);
    r.text = copy;
    r.root = root;
    res = res ? res : read_fields(&r);
    cJSON_Delete(root);
    free(copy);
    if (res)
        memset(out, 0, sizeof(*out));
    return res;
}

int model_config_read(const char *path, struct model_config *out, struct input_error *error)
{
    size_t bytes;
    char *text;
    int res = text_file_read(path, O_NONBLOCK, MODEL_CONFIG_BYTES_MAX,
                             "a readable model configuration", &text, &bytes, error);

    memset(out, 0, sizeof(*out));
    if (res)
        return res;
    res = model_config_parse(text, bytes, path, out, error);
    free(text);
    return res;
}

int model_config_find(const char *checkpoint, struct model_config *out, struct input_error *error)
{
    const char *slash = strrchr(checkpoint, '/');
    size_t folder_bytes = slash ? (size_t)(slash - checkpoint) + 1 : 0;
    struct stat status;
    char *path;
    int res;

    memset(out, 0, sizeof(*out));
    if (stat(checkpoint, &status) == 0 && S_ISDIR(status.st_mode))
        folder_bytes = strlen(checkpoint);
    path = malloc(folder_bytes + sizeof("/config.json"));
    if (!path) {
        input_error_clear(error);
        return -ENOMEM;
    }
    memcpy(path, checkpoint, folder_bytes);
    strcpy(path + folder_bytes,
           folder_bytes && path[folder_bytes - 1] != '/' ? "/config.json" : "config.json");
    res = model_config_read(path, out, error);
    free(path);
    return res == -ENOENT ? 0 : res;
}

int model_config_find_for(const struct checkpoint *checkpoint, const char *path,
                          struct model_config *out, struct input_error *error)
{
    const char *architecture = checkpoint_metadata(checkpoint, "general.architecture");

    if (checkpoint->format != CHECKPOINT_GGUF || !architecture)
        return model_config_find(path, out, error);
    memset(out, 0, sizeof(*out));
    model_config_set_gguf(out, architecture);
    return 0;
}

void model_config_set_gguf(struct model_config *config, const char *architecture)
{
    memset(config, 0, sizeof(*config));
    config->gguf = true;
    add_word(&config->kinds, architecture);
}
