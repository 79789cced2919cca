/* offload_index.c - the index.json of an offload folder. */
#include "offload_index.h"

#include "checkpoint.h"
#include "json.h"
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    enum dtype dtype;
    const char *torch;
    unsigned places;
} g_dtypes[] = {
#define X(dtype, torch, places) {DTYPE_##dtype, torch, places},
    OFFLOAD_DTYPES(X)
#undef X
};
#define DTYPES_KNOWN (sizeof(g_dtypes) / sizeof(g_dtypes[0]))

const char *offload_dtype_name(enum dtype dtype, unsigned places)
{
    size_t i;

    for (i = 0; i < DTYPES_KNOWN; i++) {
        if (g_dtypes[i].dtype == dtype && (g_dtypes[i].places & places))
            return g_dtypes[i].torch;
    }
    return NULL;
}

int offload_dtype_find(const char *name, unsigned places, enum dtype *out)
{
    size_t i;

    for (i = 0; i < DTYPES_KNOWN; i++) {
        if (strcmp(g_dtypes[i].torch, name) == 0 && (g_dtypes[i].places & places)) {
            *out = g_dtypes[i].dtype;
            return 0;
        }
    }
    return -ENOENT;
}

bool offload_name_is_plain(const char *name)
{
    return !strpbrk(name, "/\\") && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           strlen(name) <= NAME_MAX - strlen(OFFLOAD_DATA_SUFFIX);
}

/* What is read, and where the next shape goes. */
struct reader {
    const char *text;
    size_t text_bytes;
    const cJSON *root;
    struct offload_index *index;
    size_t shape_used;
    struct input_error *error;
};

/* Refuse a value of the index: what was expected there, and what it is instead. */
static int refuse(const struct reader *r, const cJSON *item, const cJSON *found,
                  const char *expected)
{
    char text[160];

    input_error_set(r->error, -EINVAL, INPUT_ERROR_NO_OFFSET, expected, "%s",
                    json_describe(found, text, sizeof(text)));
    json_locate(r->text, r->text_bytes, r->root, item, r->error);
    return -EINVAL;
}

static int read_dtype(const struct reader *r, const cJSON *value, struct offload_entry *entry)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(value, "dtype");
    unsigned places = entry->safetensors_file ? OFFLOAD_IN_SAFETENSORS : OFFLOAD_IN_DATA;

    if (!item && entry->safetensors_file) {
        entry->dtype = DTYPE_COUNT;
        return 0;
    }
    if (!cJSON_IsString(item) || offload_dtype_find(item->valuestring, places, &entry->dtype))
        return refuse(r, item ? item : value, item,
                      "a dtype as torch names it (float32, bfloat16, int8, ...)");
    return 0;
}

static int read_shape(struct reader *r, const cJSON *value, struct offload_entry *entry)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(value, "shape"), *extent;
    uint64_t *shape = r->index->shapes + r->shape_used;

    if (!item && entry->safetensors_file)
        return 0;
    if (!cJSON_IsArray(item))
        return refuse(r, item ? item : value, item, "a shape: an array of integers");
    cJSON_ArrayForEach(extent, item)
    {
        if (json_get_u64(extent, &shape[entry->rank]))
            return refuse(r, extent, extent, "an extent: an integer from 0 on");
        if (++entry->rank > TENSOR_RANK_MAX)
            return refuse(r, item, item, "a shape of at most 65535 dimensions");
    }
    entry->shape = shape;
    r->shape_used += entry->rank;
    return 0;
}

static int read_pointer(const struct reader *r, const cJSON *value, struct offload_entry *entry)
{
    const cJSON *file = cJSON_GetObjectItemCaseSensitive(value, "safetensors_file");
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(value, "weight_name");

    if (!file && !name)
        return 0;
    if (!cJSON_IsString(file) || file->valuestring[0] == '\0')
        return refuse(r, file ? file : value, file, "safetensors_file: the path of a file");
    if (name && !cJSON_IsString(name))
        return refuse(r, name, name, "weight_name: the weight's name in the safetensors file");
    entry->safetensors_file = file->valuestring;
    entry->weight_name = name ? name->valuestring : entry->name;
    return 0;
}

static int read_bytes(const struct reader *r, const cJSON *value, struct offload_entry *entry)
{
    if (!offload_name_is_plain(entry->name)) {
        input_error_set(r->error, -EINVAL, 0,
                        "a name that makes a file's name in the folder: at most 251 bytes, no / "
                        "or \\, not . or ..",
                        "\"%s\"", entry->name);
    } else if (dtype_tensor_bytes(entry->dtype, entry->shape, entry->rank, &entry->bytes)) {
        input_error_set(r->error, -EINVAL, 0, "a shape of less than 2^64 bits", "more");
    } else {
        return 0;
    }
    json_locate(r->text, r->text_bytes, r->root, value, r->error);
    return -EINVAL;
}

static int read_entry(struct reader *r, const cJSON *value, struct offload_entry *entry)
{
    int res;

    entry->name = value->string;
    input_error_set_field(r->error, entry->name, strlen(entry->name));
    if (!cJSON_IsObject(value))
        return refuse(r, value, value, "an object with dtype and shape, or a safetensors_file");
    res = read_pointer(r, value, entry);
    if (res == 0)
        res = read_dtype(r, value, entry);
    if (res == 0)
        res = read_shape(r, value, entry);
    if (res == 0 && !entry->safetensors_file)
        res = read_bytes(r, value, entry);
    return res;
}

/* Room for every entry and every extent of the text. */
static int make_room(struct offload_index *index, const cJSON *root)
{
    size_t entries = 0, extents = 0;
    const cJSON *value, *item;

    cJSON_ArrayForEach(value, root)
    {
        entries++;
        item = cJSON_GetObjectItemCaseSensitive(value, "shape");
        extents += cJSON_IsArray(item) ? (size_t)cJSON_GetArraySize(item) : 0;
    }
    index->entries = calloc(entries ? entries : 1, sizeof(*index->entries));
    index->shapes = calloc(extents ? extents : 1, sizeof(*index->shapes));
    return index->entries && index->shapes ? 0 : -ENOMEM;
}

static int read_root(struct reader *r)
{
    const cJSON *value;
    int res;

    if (!cJSON_IsObject(r->root))
        return refuse(r, r->root, r->root, "an object with an entry for each weight");
    if (make_room(r->index, r->root))
        return input_error_set(r->error, -ENOMEM, INPUT_ERROR_NO_OFFSET, "memory for the index",
                               "none left");
    cJSON_ArrayForEach(value, r->root)
    {
        res = read_entry(r, value, &r->index->entries[r->index->count]);
        if (res)
            return res;
        r->index->count++;
    }
    r->error->field[0] = '\0';
    return 0;
}

int offload_index_read(const char *text, size_t bytes, const cJSON *root, struct offload_index *out,
                       struct input_error *error)
{
    struct offload_index index = {0};
    struct reader r = {
        .text = text, .text_bytes = bytes, .root = root, .index = &index, .error = error};
    int res = read_root(&r);

    if (res)
        offload_index_release(&index);
    else
        *out = index;
    return res;
}

int offload_index_parse(const char *text, size_t bytes, struct offload_index *out,
                        struct input_error *error)
{
    cJSON *root;
    int res = json_parse(text, bytes, 0, &root, error);

    if (res)
        return res;
    res = offload_index_read(text, bytes, root, out, error);
    if (res)
        cJSON_Delete(root);
    else
        out->root = root;
    return res;
}

void offload_index_release(struct offload_index *index)
{
    free(index->entries);
    free(index->shapes);
    cJSON_Delete(index->root);
    memset(index, 0, sizeof(*index));
}
