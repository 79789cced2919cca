/* The fields of a policy, one function for each, and which of the three forms a text has. */

#include "json.h"
#include "names.h"
#include "policy_reader.h"
#include "python_literal.h"
#include "size.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PLACE_WORDS "a GPU index from 0 to 63, \"cpu\", \"disk\" or \"cuda:N\""

/* Each has a function policy_read_<name>(). */
#define FIELDS(X)                                                                                  \
    X(version)                                                                                     \
    X(checkpoint)                                                                                  \
    X(max_memory)                                                                                  \
    X(device_map)                                                                                  \
    X(no_split)                                                                                    \
    X(no_split_module_classes)                                                                     \
    X(tied)                                                                                        \
    X(preload)                                                                                     \
    X(groups)                                                                                      \
    X(offload_buffers)                                                                             \
    X(offload_folder)                                                                              \
    X(dtype)                                                                                       \
    X(special_dtypes)                                                                              \
    X(backend)                                                                                     \
    X(strict)

static const char *const g_field_names[] = {
#define X(name) #name,
    FIELDS(X)
#undef X
};
#define FIELD_COUNT (sizeof(g_field_names) / sizeof(g_field_names[0]))

/* Errors --------------------------------------------------------------------------------------- */

int policy_reader_refuse(struct policy_reader *r, const cJSON *item, const char *expected,
                         const char *found)
{
    struct input_error *error = &r->errors[r->error_count];

    if (r->error_count == r->room)
        return -EINVAL;
    r->error_count++;
    input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, expected, "%s", found);
    if (r->python)
        python_literal_locate(r->text, r->bytes, r->root, item, error);
    else
        json_locate(r->text, r->bytes, r->root, item, error);
    if (r->error_count < r->room)
        r->errors[r->error_count] = *error;
    return -EINVAL;
}

int policy_reader_refuse_value(struct policy_reader *r, const cJSON *item, const char *expected)
{
    char found[160];

    return policy_reader_refuse(r, item, expected, json_describe(item, found, sizeof(found)));
}

int policy_reader_refuse_memory(struct policy_reader *r)
{
    if (r->error_count == r->room)
        r->error_count--;
    return input_error_set(&r->errors[r->error_count++], -ENOMEM, INPUT_ERROR_NO_OFFSET,
                           "memory for the policy", "none left");
}

bool policy_reader_goes_on(const struct policy_reader *r, int res)
{
    return res == 0 || (res == -EINVAL && r->error_count < r->room);
}

void policy_reader_set_field(struct policy_reader *r, const char *field, const char *entry)
{
    char text[200];
    const char *between = !entry ? "" : *entry ? "." : "[\"\"]"; /* the root has an empty key */
    int bytes = snprintf(text, sizeof(text), "%s%s%s", field, between, entry ? entry : "");

    if (r->error_count < r->room)
        input_error_set_field(&r->errors[r->error_count], text,
                              bytes < (int)sizeof(text) ? (size_t)bytes : sizeof(text) - 1);
}

/* Values --------------------------------------------------------------------------------------- */

static int policy_read_version(struct policy_reader *r, const cJSON *item)
{
    uint64_t version;

    if (json_get_u64(item, &version) || version != POLICY_VERSION)
        return policy_reader_refuse_value(r, item, "version 1");
    return 0;
}

/* A relative path counts from the folder of the policy file, so that the pair can be moved. */
static int read_path(struct policy_reader *r, const cJSON *item, const char *expected, char **out)
{
    const char *slash = strrchr(r->path, '/');
    size_t folder_bytes = slash ? (size_t)(slash - r->path) + 1 : 0;

    if (!cJSON_IsString(item) || item->valuestring[0] == '\0')
        return policy_reader_refuse_value(r, item, expected);
    if (item->valuestring[0] == '/')
        folder_bytes = 0;
    if (asprintf(out, "%.*s%s", (int)folder_bytes, r->path, item->valuestring) < 0) {
        *out = NULL;
        return policy_reader_refuse_memory(r);
    }
    return 0;
}

static int policy_read_checkpoint(struct policy_reader *r, const cJSON *item)
{
    return read_path(r, item, "the path of a checkpoint", &r->policy->checkpoint);
}

static int policy_read_offload_folder(struct policy_reader *r, const cJSON *item)
{
    return read_path(r, item, "the path of an offload folder", &r->policy->offload_folder);
}

/* Read a budget: an integer of bytes, or a size. */
static int read_budget(struct policy_reader *r, const cJSON *entry, uint64_t *bytes)
{
    int res;

    if (json_get_u64(entry, bytes) == 0)
        return 0;
    if (!cJSON_IsString(entry))
        return policy_reader_refuse_value(r, entry, SIZE_EXPECTED);
    res = size_parse(entry->valuestring, SIZE_PLAIN_ACCEPTED, bytes);
    if (res == -ERANGE || (res == 0 && *bytes == POLICY_UNSET))
        return policy_reader_refuse_value(r, entry, "a size of less than 2^64 bytes");
    return res ? policy_reader_refuse_value(r, entry, SIZE_EXPECTED) : 0;
}

static int read_memory_entry(struct policy_reader *r, const cJSON *entry)
{
    uint64_t *budget = policy_memory_find(&r->policy->max_memory, entry->string);
    uint64_t bytes;
    int res;

    policy_reader_set_field(r, "max_memory", entry->string);
    if (!budget)
        return policy_reader_refuse(r, entry, POLICY_MEMORY_DEVICES, "another device");
    if (*budget != POLICY_UNSET)
        return policy_reader_refuse(r, entry, "every device once", "it a second time");
    res = read_budget(r, entry, &bytes);
    if (res == 0)
        *budget = bytes;
    return res;
}

static int policy_read_max_memory(struct policy_reader *r, const cJSON *item)
{
    const cJSON *entry;

    if (!cJSON_IsObject(item))
        return policy_reader_refuse_value(
            r, item, "an object such as {\"0\": \"8GiB\", \"cpu\": \"64GiB\"}");
    cJSON_ArrayForEach(entry, item)
    {
        int res = read_memory_entry(r, entry);

        if (!policy_reader_goes_on(r, res))
            return res;
    }
    return 0;
}

/* Is a value a place of a map?
 *
 * place    set where it is
 */
static bool is_place(const cJSON *item, int *place)
{
    uint64_t index;

    if (cJSON_IsString(item))
        return policy_parse_place(item->valuestring, place) == 0;
    if (json_get_u64(item, &index) || index >= POLICY_DEVICES_MAX)
        return false;
    *place = (int)index;
    return true;
}

/* What was probably meant by a text that is no place. "gpu" is one letter from "cpu" and means the
 * opposite: "gpu", "GPU:1" and "gpu1" are taken for GPUs.
 *
 * returns  guess, 16 bytes long; "" where nothing is near
 */
static const char *guess_place(const char *text, char guess[16])
{
    static const char *const words[] = {"cpu", "disk", "cuda:0"};
    const char *nearest, *index;
    int place;

    *guess = '\0';
    if (strncasecmp(text, "gpu", strlen("gpu")) != 0) {
        nearest = names_nearest(text, words, sizeof(words) / sizeof(words[0]));
        snprintf(guess, 16, "%s", nearest ? nearest : "");
        return guess;
    }
    index = text + strlen("gpu");
    snprintf(guess, 16, "cuda:%.8s", *index == ':' ? index + 1 : *index ? index : "0");
    if (policy_parse_place(guess, &place))
        *guess = '\0';
    return guess;
}

static int refuse_place(struct policy_reader *r, const cJSON *entry)
{
    char found[160], value[120], guess[16] = "";

    if (cJSON_IsString(entry))
        guess_place(entry->valuestring, guess);
    json_describe(entry, value, sizeof(value));
    snprintf(found, sizeof(found), "%s%s%s%s", value, *guess ? "; did you mean \"" : "", guess,
             *guess ? "\"?" : "");
    return policy_reader_refuse(r, entry, PLACE_WORDS, found);
}

/* The presets, and the strategies that people know for the same place. */
static int read_preset(struct policy_reader *r, const cJSON *item)
{
    bool cpu = strcmp(item->valuestring, "cpu_offload") == 0;
    char found[160], value[100];

    if (!cpu && strcmp(item->valuestring, "disk_offload") != 0) {
        json_describe(item, value, sizeof(value));
        snprintf(found, sizeof(found), "%s; berth plan --strategy makes maps", value);
        return policy_reader_refuse(r, item, "an object, \"cpu_offload\" or \"disk_offload\"",
                                    found);
    }
    if (policy_map_add(&r->policy->map, "", cpu ? POLICY_CPU : POLICY_DISK))
        return policy_reader_refuse_memory(r);
    return 0;
}

/* Python's dictionaries may have been printed with a key twice; JSON's were looked at before. */
static int refuse_repeated(struct policy_reader *r, const cJSON *item)
{
    const struct policy_map *map = &r->policy->map;
    const cJSON *entry, *last = NULL;
    char found[160];
    size_t i;

    for (i = 1; i < map->count; i++) {
        if (strcmp(map->entries[i - 1].prefix, map->entries[i].prefix) == 0)
            break;
    }
    if (i >= map->count)
        return 0;
    cJSON_ArrayForEach(entry, item)
    {
        if (strcmp(entry->string, map->entries[i].prefix) == 0)
            last = entry;
    }
    policy_reader_set_field(r, "device_map", last->string);
    snprintf(found, sizeof(found), "\"%s\" a second time", last->string);
    return policy_reader_refuse(r, last, "every key once", found);
}

static int policy_read_device_map(struct policy_reader *r, const cJSON *item)
{
    const cJSON *entry;

    if (cJSON_IsString(item))
        return read_preset(r, item);
    if (!cJSON_IsObject(item) || !item->child)
        return policy_reader_refuse(r, item,
                                    "an object such as {\"model.layers.0\": 0, \"\": \"cpu\"}",
                                    cJSON_IsObject(item) ? "an empty one" : "another value");
    cJSON_ArrayForEach(entry, item)
    {
        int place, res = 0;

        policy_reader_set_field(r, "device_map", entry->string);
        if (!is_place(entry, &place))
            res = refuse_place(r, entry);
        else if (policy_map_add(&r->policy->map, entry->string, place))
            res = policy_reader_refuse_memory(r);
        if (!policy_reader_goes_on(r, res))
            return res;
    }
    policy_map_sort(&r->policy->map);
    return refuse_repeated(r, item);
}

static int read_dtype(struct policy_reader *r, const cJSON *item, enum dtype *out)
{
    struct input_error word;

    if (policy_parse_dtype(cJSON_IsString(item) ? item->valuestring : "", out, &word) == 0)
        return 0;
    return cJSON_IsString(item) ? policy_reader_refuse(r, item, word.expected, word.found)
                                : policy_reader_refuse_value(r, item, word.expected);
}

static int policy_read_dtype(struct policy_reader *r, const cJSON *item)
{
    return read_dtype(r, item, &r->policy->dtype);
}

static int policy_read_special_dtypes(struct policy_reader *r, const cJSON *item)
{
    const cJSON *entry;

    if (!cJSON_IsObject(item))
        return policy_reader_refuse_value(r, item,
                                          "an object such as {\"lm_head.weight\": \"float32\"}");
    cJSON_ArrayForEach(entry, item)
    {
        enum dtype dtype = DTYPE_COUNT;
        int res;

        policy_reader_set_field(r, "special_dtypes", entry->string);
        if (entry->string[0] == '\0')
            res = policy_reader_refuse(r, entry, "a tensor, a module or a pattern", "\"\"");
        else
            res = read_dtype(r, entry, &dtype);
        if (!policy_reader_goes_on(r, res))
            return res;
        if (res == 0 &&
            policy_add_special_dtype(r->policy, entry->string, strlen(entry->string), dtype))
            return policy_reader_refuse_memory(r);
    }
    return 0;
}

static int policy_read_backend(struct policy_reader *r, const cJSON *item)
{
    struct input_error word;

    if (!cJSON_IsString(item))
        return policy_reader_refuse_value(r, item, "\"auto\", \"um\" or \"off\"");
    if (policy_parse_backend(item->valuestring, &r->policy->backend, &word))
        return policy_reader_refuse(r, item, word.expected, word.found);
    r->policy->backend_given = true;
    return 0;
}

static int read_flag(struct policy_reader *r, const cJSON *item, bool *out)
{
    if (!cJSON_IsBool(item))
        return policy_reader_refuse_value(r, item, "true or false");
    *out = cJSON_IsTrue(item);
    return 0;
}

static int policy_read_strict(struct policy_reader *r, const cJSON *item)
{
    return read_flag(r, item, &r->policy->strict);
}

static int policy_read_offload_buffers(struct policy_reader *r, const cJSON *item)
{
    return read_flag(r, item, &r->policy->offload_buffers);
}

/* Forms ---------------------------------------------------------------------------------------- */

/* The place of a name among the fields, or FIELD_COUNT. */
static size_t find_field(const char *name)
{
    size_t i;

    for (i = 0; i < FIELD_COUNT; i++) {
        if (strcmp(g_field_names[i], name) == 0)
            break;
    }
    return i;
}

static int refuse_field(struct policy_reader *r, const cJSON *item)
{
    const char *nearest = names_nearest(item->string, g_field_names, FIELD_COUNT);
    char expected[256], found[256], list[220];

    names_list(g_field_names, FIELD_COUNT, list, sizeof(list));
    snprintf(expected, sizeof(expected), "a field: %s", list);
    snprintf(found, sizeof(found), "an unknown field%s%s%s", nearest ? "; did you mean \"" : "",
             nearest ? nearest : "", nearest ? "\"?" : "");
    return policy_reader_refuse(r, item, expected, found);
}

static int read_fields(struct policy_reader *r)
{
    static int (*const readers[FIELD_COUNT])(struct policy_reader *, const cJSON *) = {
#define X(name) policy_read_##name,
        FIELDS(X)
#undef X
    };
    const cJSON *item;

    cJSON_ArrayForEach(item, r->root)
    {
        size_t field = find_field(item->string);
        int res;

        policy_reader_set_field(r, item->string, NULL);
        res = field < FIELD_COUNT ? readers[field](r, item) : refuse_field(r, item);
        if (!policy_reader_goes_on(r, res))
            return res;
    }
    if (cJSON_GetObjectItemCaseSensitive(r->root, "version"))
        return 0;
    policy_reader_set_field(r, "version", NULL);
    return policy_reader_refuse(r, r->root, "\"version\": 1", "a policy without it");
}

enum form {
    FORM_POLICY,
    FORM_MAP,    /* a bare device map: places for values, and no key that is a policy's field */
    FORM_MEMORY, /* a bare max_memory: sizes for values */
};

/* Tell the forms apart. A dictionary of small integers that could be either is a map: a budget of
 * 63 bytes means nothing, and modules are called "0" in many a model.
 */
static enum form find_form(const cJSON *root)
{
    struct policy_memory memory;
    bool devices = true, sizes = false, units = false;
    const cJSON *item;
    uint64_t bytes;
    int place;

    cJSON_ArrayForEach(item, root)
    {
        if (find_field(item->string) < FIELD_COUNT)
            return FORM_POLICY;
        if (!cJSON_IsNumber(item) && !cJSON_IsString(item))
            return FORM_POLICY;
        devices &= policy_memory_find(&memory, item->string) != NULL;
        if (is_place(item, &place))
            continue;
        if (cJSON_IsNumber(item) ||
            size_parse(item->valuestring, SIZE_PLAIN_ACCEPTED, &bytes) != -EINVAL)
            sizes = true;
        if (cJSON_IsString(item) &&
            size_parse(item->valuestring, SIZE_PLAIN_REFUSED, &bytes) != -EINVAL)
            units = true;
    }
    if (units || (devices && sizes))
        return FORM_MEMORY;
    return root->child ? FORM_MAP : FORM_POLICY;
}

int policy_reader_read(struct policy_reader *r)
{
    enum form form;
    int res;

    if (!cJSON_IsObject(r->root)) {
        policy_reader_refuse_value(r, r->root, "an object: a policy or a device map");
        return 0;
    }
    form = find_form(r->root);
    if (form == FORM_POLICY && r->python) {
        policy_reader_refuse(r, r->root, "a device map or max_memory, as Python prints it",
                             r->root->child ? "the fields of a policy, which is written in JSON"
                                            : "an empty dictionary");
        return 0;
    }
    res = form == FORM_MAP      ? policy_read_device_map(r, r->root)
          : form == FORM_MEMORY ? policy_read_max_memory(r, r->root)
                                : read_fields(r);
    return res == -ENOMEM ? res : 0;
}
