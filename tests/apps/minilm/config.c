/* config.c - see config.h. */
#include "config.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "message.h"

#define CONFIG_BYTES_MAX   (1 << 20)
#define DEFAULT_MAX_TOKENS 256

/* The parsed file, or NULL where there is none. The caller deletes it. */
static cJSON *read_json(const char *path)
{
    char *text;
    size_t bytes;
    cJSON *root;
    FILE *file = fopen(path, "re");

    if (!file)
        return NULL;
    text = allocate(CONFIG_BYTES_MAX);
    bytes = fread(text, 1, CONFIG_BYTES_MAX, file);
    fclose(file);
    root = cJSON_ParseWithLength(text, bytes);
    free(text);
    if (!cJSON_IsObject(root))
        die("%s: not a JSON object", path);
    return root;
}

static uint32_t number(const char *path, const cJSON *root, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, key);

    if (!cJSON_IsNumber(item) || item->valuedouble < 1 || item->valuedouble > 1e6 ||
        item->valuedouble != floor(item->valuedouble))
        die("%s: %s is missing or not a sensible number", path, key);
    return (uint32_t)item->valuedouble;
}

static void read_model(const char *path, struct model_config *out)
{
    cJSON *root = read_json(path);
    const cJSON *activation, *epsilon;

    if (!root)
        die("%s: %s", path, strerror(errno));
    activation = cJSON_GetObjectItemCaseSensitive(root, "hidden_act");
    epsilon = cJSON_GetObjectItemCaseSensitive(root, "layer_norm_eps");
    if (!cJSON_IsString(activation) || strcmp(activation->valuestring, "gelu") != 0)
        die("%s: hidden_act must be \"gelu\"", path);
    if (!cJSON_IsNumber(epsilon))
        die("%s: layer_norm_eps is missing", path);
    out->hidden = number(path, root, "hidden_size");
    out->intermediate = number(path, root, "intermediate_size");
    out->layers = number(path, root, "num_hidden_layers");
    out->heads = number(path, root, "num_attention_heads");
    out->vocabulary = number(path, root, "vocab_size");
    out->token_types = number(path, root, "type_vocab_size");
    out->positions = number(path, root, "max_position_embeddings");
    out->epsilon = (float)epsilon->valuedouble;
    /* The kernels read four floats at a time. */
    if (out->hidden % out->heads || out->hidden / out->heads % 4 || out->intermediate % 4)
        die("%s: widths that are no multiple of four", path);
    cJSON_Delete(root);
}

void config_read(const char *directory, struct model_config *out)
{
    char *model_path = path_join(directory, "config.json");
    char *sentence_path = path_join(directory, "sentence_bert_config.json");
    cJSON *root;

    read_model(model_path, out);
    out->max_tokens = DEFAULT_MAX_TOKENS;
    root = read_json(sentence_path);
    if (root)
        out->max_tokens = number(sentence_path, root, "max_seq_length");
    if (out->max_tokens > out->positions)
        out->max_tokens = out->positions;
    if (out->max_tokens < 3)
        die("%s: max_seq_length leaves no room for a word", sentence_path);
    cJSON_Delete(root);
    free(model_path);
    free(sentence_path);
}
