/* fuzz_sharded_index.c - any bytes as the index beside the shards of tests/data/files/sharded.
 *
 * Runs from the root of the repository. An index that is taken must name real shards, and every
 * parameter where its shard has it.
 *
 * Seeds: tests/fuzz/seeds/sharded_index tests/data/files/sharded/model.safetensors.index.json
 */
#include "fuzz.h"
#include "json.h"
#include "sharded_index.h"

#define FOLDER "tests/data/files/sharded/"

static void check(const struct checkpoint_index *index, const struct checkpoint *c)
{
    const cJSON *entry, *map = cJSON_GetObjectItemCaseSensitive(index->root, "weight_map");
    size_t i;

    for (i = 0; i < c->file_count; i++) {
        fuzz_require(strncmp(c->files[i].path, FOLDER, strlen(FOLDER)) == 0);
        fuzz_require(sharded_index_names(index, c->files[i].path + strlen(FOLDER)));
    }
    cJSON_ArrayForEach(entry, map)
    {
        i = checkpoint_find_name(c, entry->string);
        fuzz_require(i != CHECKPOINT_NONE);
        fuzz_require(
            strcmp(c->files[c->tensors[i].file].path + strlen(FOLDER), entry->valuestring) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char path[] = FOLDER "model.safetensors.index.json", *text = malloc(bytes ? bytes : 1);
    struct checkpoint_index index = {.path = path, .text = text, .text_bytes = bytes};
    struct checkpoint *c = NULL;
    struct input_error error;
    int res;

    if (!text)
        return 0;
    if (bytes)
        memcpy(text, data, bytes);
    input_error_clear(&error);
    res = json_parse(text, bytes, 0, &index.root, &error);
    if (res == 0 && cJSON_IsObject(index.root)) {
        res = checkpoint_index_open(&index, &c, &error);
        if (res == 0)
            check(&index, c);
    }
    if (res)
        fuzz_check_refusal(&error);
    checkpoint_close(c);
    cJSON_Delete(index.root);
    free(text);
    return 0;
}
