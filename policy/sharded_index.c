#include "sharded_index.h"
#include "json.h"
#include "read_fully.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A shard: its name in the index, and what it became. */
struct shard {
    const cJSON *item; /* the first value of the weight_map that names it */
    size_t file;       /* index in checkpoint.files */
};

struct reader {
    const struct checkpoint_index *index;
    const cJSON *weight_map;
    struct shard *shards; /* in the order of their names */
    size_t shard_count, shard_room;
    struct input_error *error;
};

bool sharded_index_identify(const cJSON *root)
{
    return cJSON_GetObjectItemCaseSensitive(root, "weight_map") != NULL;
}

bool sharded_index_names(const struct checkpoint_index *index, const char *file)
{
    const cJSON *entry;

    cJSON_ArrayForEach(entry, cJSON_GetObjectItemCaseSensitive(index->root, "weight_map"))
    {
        if (cJSON_IsString(entry) && strcmp(entry->valuestring, file) == 0)
            return true;
    }
    return false;
}

static int refuse_memory(struct input_error *error)
{
    return input_error_set(error, -ENOMEM, INPUT_ERROR_NO_OFFSET, "memory for the index",
                           "none left");
}

/* Numbers inside names count as numbers, so that shard 10 follows shard 9. */
static int compare_shards(const void *a, const void *b)
{
    return strverscmp(((const struct shard *)a)->item->valuestring,
                      ((const struct shard *)b)->item->valuestring);
}

/* Check one entry of the weight_map. */
static int check_entry(const struct reader *r, const cJSON *entry)
{
    const char *name = entry->valuestring;
    char text[160];

    if (cJSON_IsString(entry) && *name && !strpbrk(name, "/\\") && !strstr(name, "..") &&
        strcmp(name, ".") != 0)
        return 0;
    input_error_set_field(r->error, entry->string, strlen(entry->string));
    if (!cJSON_IsString(entry))
        return checkpoint_index_refuse(r->index, entry, r->error, "the name of a shard", "%s",
                                       json_describe(entry, text, sizeof(text)));
    return checkpoint_index_refuse(r->index, entry, r->error,
                                   "the name of a shard beside the index, without a folder",
                                   "\"%s\"", name);
}

static int add_shard(struct reader *r, const cJSON *entry)
{
    if (r->shard_count == r->shard_room) {
        size_t room = r->shard_room ? 2 * r->shard_room : 64;
        struct shard *larger = reallocarray(r->shards, room, sizeof(*larger));

        if (!larger)
            return refuse_memory(r->error);
        r->shards = larger;
        r->shard_room = room;
    }
    r->shards[r->shard_count++] = (struct shard){.item = entry};
    return 0;
}

/* Collect the shards' names, each once, in order. */
static int collect_shards(struct reader *r)
{
    const cJSON *entry;
    size_t count, i;
    int res;

    cJSON_ArrayForEach(entry, r->weight_map)
    {
        res = check_entry(r, entry);
        /* Parameters of one shard often follow one another. */
        if (res == 0 &&
            (r->shard_count == 0 ||
             strcmp(r->shards[r->shard_count - 1].item->valuestring, entry->valuestring) != 0))
            res = add_shard(r, entry);
        if (res)
            return res;
    }
    qsort(r->shards, r->shard_count, sizeof(*r->shards), compare_shards);
    count = r->shard_count;
    r->shard_count = 0;
    for (i = 0; i < count; i++) {
        if (r->shard_count == 0 || compare_shards(&r->shards[r->shard_count - 1], &r->shards[i]))
            r->shards[r->shard_count++] = r->shards[i];
    }
    return 0;
}

/* The folder of a path, without the slash at its end. */
static size_t folder_bytes(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? (size_t)(slash - path) : 0;
}

/* Does a file lie in a folder or below it? Both are absolute and free of links.
 *
 * bytes    of the folder's path, without a slash at its end
 */
static bool is_below(const char *file, const char *folder, size_t bytes)
{
    return strncmp(file, folder, bytes) == 0 && file[bytes] == '/';
}

/* Check that a shard, whose links were followed, is in the folder of the index. Where the index
 * itself is a link, its own folder will do as well: so lie the files of a cache that keeps content
 * apart from names.
 */
static int check_place(const struct reader *r, const cJSON *item, const char *real)
{
    char *beside = checkpoint_index_join(r->index, ".");
    char *folder = beside ? realpath(beside, NULL) : NULL;
    char *index = folder ? realpath(r->index->path, NULL) : NULL;
    int res = 0;

    if (!index)
        res = read_refuse_system(r->error, errno);
    else if (!is_below(real, folder, strcmp(folder, "/") ? strlen(folder) : 0) &&
             !is_below(real, index, folder_bytes(index)))
        res = checkpoint_index_refuse(r->index, item, r->error,
                                      "a shard in the folder of the index", "a link to %s", real);
    free(beside);
    free(folder);
    free(index);
    return res;
}

/* Find a shard, which must lie in the folder of the index, and read it. */
static int read_shard(struct reader *r, struct checkpoint_builder *builder, struct shard *shard)
{
    const char *name = shard->item->valuestring;
    char *path = checkpoint_index_join(r->index, name);
    char *real = path ? realpath(path, NULL) : NULL;
    int res;

    if (!path || (!real && errno == ENOMEM))
        res = refuse_memory(r->error);
    else if (!real)
        res =
            checkpoint_index_refuse(r->index, shard->item, r->error, "all shards beside the index",
                                    "no %s there: \"%s\"", name, strerrordesc_np(errno));
    else
        res = check_place(r, shard->item, real);
    if (res == 0)
        res = checkpoint_builder_read_file(builder, path, real, builder->checkpoint->format,
                                           &shard->file, r->error);
    free(real);
    free(path);
    return res;
}

static int read_shards(struct reader *r, struct checkpoint_builder *builder)
{
    int res;

    for (size_t i = 0; i < r->shard_count; i++) {
        res = read_shard(r, builder, &r->shards[i]);
        if (res)
            return res;
    }
    return 0;
}

/* Check that every parameter is in the shard that the index says. */
static int check_parameters(const struct reader *r, const struct checkpoint *checkpoint)
{
    const struct shard *shard = r->shards;
    const cJSON *entry;

    cJSON_ArrayForEach(entry, r->weight_map)
    {
        size_t i = checkpoint_find_name(checkpoint, entry->string);
        const struct shard key = {.item = entry};

        if (compare_shards(&key, shard) != 0)
            shard = bsearch(&key, r->shards, r->shard_count, sizeof(key), compare_shards);
        if (i != CHECKPOINT_NONE && checkpoint->tensors[i].file == shard->file)
            continue;
        input_error_set_field(r->error, entry->string, strlen(entry->string));
        return checkpoint_index_refuse(
            r->index, entry, r->error, "a parameter that its shard has", "it %s, not in %s",
            i == CHECKPOINT_NONE ? "nowhere" : "in another shard", entry->valuestring);
    }
    return 0;
}

/* Read what the reader has the shards of. */
static int read_checkpoint(struct reader *r, struct checkpoint **out)
{
    struct checkpoint_builder builder;
    struct checkpoint *checkpoint;
    int res = checkpoint_builder_begin(&builder, CHECKPOINT_UNKNOWN);

    if (res)
        return refuse_memory(r->error);
    res = read_shards(r, &builder);
    if (res) {
        checkpoint_builder_abandon(&builder);
        return res;
    }
    res = checkpoint_builder_finish(&builder, &checkpoint, r->error);
    if (res)
        return res;
    res = check_parameters(r, checkpoint);
    if (res)
        checkpoint_close(checkpoint);
    else
        *out = checkpoint;
    return res;
}

int sharded_index_open(const struct checkpoint_index *index, struct checkpoint **out,
                       struct input_error *error)
{
    struct reader r = {.index = index, .error = error};
    char text[160];
    int res;

    r.weight_map = cJSON_GetObjectItemCaseSensitive(index->root, "weight_map");
    if (!cJSON_IsObject(r.weight_map) || !r.weight_map->child)
        return checkpoint_index_refuse(index, r.weight_map, error,
                                       "a weight_map: an object of shards by parameter", "%s",
                                       r.weight_map->child || !cJSON_IsObject(r.weight_map)
                                           ? json_describe(r.weight_map, text, sizeof(text))
                                           : "an empty one");
    res = collect_shards(&r);
    if (res == 0)
        res = read_checkpoint(&r, out);
    free(r.shards);
    return res;
}
