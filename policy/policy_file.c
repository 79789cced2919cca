#include "policy_file.h"
#include "json.h"
#include "names.h"
#include "size.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLACE_WORDS "a GPU index from 0 to 63, \"cpu\", \"disk\" or \"cuda:N\""

/* One policy file on its way into a struct policy. */
struct reader {
    const char *text;
    size_t bytes;
    const char *path;
    cJSON *root;
    struct policy *policy;
    struct input_error *error;
};

/* The fields that work. Each has a function read_<name>() below. */
#define FIELDS(X)                                                                                  \
    X(version)                                                                                     \
    X(checkpoint)                                                                                  \
    X(max_memory)                                                                                  \
    X(device_map)                                                                                  \
    X(backend)                                                                                     \
    X(strict)                                                                                      \
    X(offload_buffers)

/* Fields whose meaning is settled but which nothing acts on: to accept one would be to ignore it.
 */
#define LATER_FIELDS(X)                                                                            \
    X(no_split)                                                                                    \
    X(tied)                                                                                        \
    X(preload)                                                                                     \
    X(groups)                                                                                      \
    X(offload_folder)

static const char *const g_field_names[] = {
#define X(name) #name,
    FIELDS(X) LATER_FIELDS(X)
#undef X
};

#define X(name) +1
enum { FIELD_COUNT = FIELDS(X), KNOWN_COUNT = FIELD_COUNT LATER_FIELDS(X) };
#undef X

/* Refuse item, or a member that is missing from it.
 *
 * found    what stands there instead; any text
 */
static int refuse(const struct reader *r, const cJSON *item, const char *expected,
                  const char *found)
{
    input_error_set(r->error, -EINVAL, INPUT_ERROR_NO_OFFSET, expected, "%s", found);
    json_locate(r->text, r->bytes, r->root, item, r->error);
    return -EINVAL;
}

static int refuse_value(const struct reader *r, const cJSON *item, const char *expected)
{
    char found[160];

    return refuse(r, item, expected, json_describe(item, found, sizeof(found)));
}

static int refuse_memory(const struct reader *r)
{
    return input_error_set(r->error, -ENOMEM, INPUT_ERROR_NO_OFFSET, "memory for the policy",
                           "none left");
}

/* Name the entry of a field that is being read: "max_memory.cpu". */
static void set_entry(const struct reader *r, const char *field, const cJSON *entry)
{
    char text[200];
    int bytes = snprintf(text, sizeof(text), "%s.%s", field, entry->string);

    input_error_set_field(r->error, text,
                          bytes < (int)sizeof(text) ? (size_t)bytes : sizeof(text) - 1);
}

static int read_version(struct reader *r, const cJSON *item)
{
    uint64_t version;

    if (json_get_u64(item, &version) || version != POLICY_VERSION)
        return refuse_value(r, item, "version 1");
    return 0;
}

/* A relative path counts from the folder of the policy file, so that the pair can be moved. */
static int read_checkpoint(struct reader *r, const cJSON *item)
{
    const char *slash = strrchr(r->path, '/');
    size_t folder_bytes = slash ? (size_t)(slash - r->path) + 1 : 0;

    if (!cJSON_IsString(item) || item->valuestring[0] == '\0')
        return refuse_value(r, item, "the path of a checkpoint");
    if (item->valuestring[0] == '/')
        folder_bytes = 0;
    if (asprintf(&r->policy->checkpoint, "%.*s%s", (int)folder_bytes, r->path, item->valuestring) <
        0) {
        r->policy->checkpoint = NULL;
        return refuse_memory(r);
    }
    return 0;
}

/* Read a budget: an integer of bytes, or a size. */
static int read_budget(const struct reader *r, const cJSON *entry, uint64_t *bytes)
{
    int res;

    if (json_get_u64(entry, bytes) == 0)
        return 0;
    if (!cJSON_IsString(entry))
        return refuse_value(r, entry, SIZE_EXPECTED);
    res = size_parse(entry->valuestring, SIZE_PLAIN_ACCEPTED, bytes);
    if (res == -ERANGE || (res == 0 && *bytes == POLICY_UNSET))
        return refuse_value(r, entry, "a size of less than 2^64 bytes");
    return res ? refuse_value(r, entry, SIZE_EXPECTED) : 0;
}

static int read_max_memory(struct reader *r, const cJSON *item)
{
    const cJSON *entry;

    if (!cJSON_IsObject(item))
        return refuse_value(r, item, "an object such as {\"0\": \"8GiB\", \"cpu\": \"64GiB\"}");
    cJSON_ArrayForEach(entry, item)
    {
        uint64_t *budget = policy_memory_find(&r->policy->max_memory, entry->string);
        int res;

        set_entry(r, "max_memory", entry);
        if (!budget)
            return refuse(r, entry, POLICY_MEMORY_DEVICES, "another device");
        if (*budget != POLICY_UNSET)
            return refuse(r, entry, "every device once", "it a second time");
        res = read_budget(r, entry, budget);
        if (res)
            return res;
    }
    return 0;
}

/* Read a place of the map: an index, or a word for one. */
static int read_place(const struct reader *r, const cJSON *entry, int *place)
{
    static const char *const words[] = {"cpu", "disk", "cuda:0"};
    const char *nearest = NULL;
    char found[160], value[120];
    uint64_t index;

    if (json_get_u64(entry, &index) == 0 && index < POLICY_DEVICES_MAX) {
        *place = (int)index;
        return 0;
    }
    if (cJSON_IsString(entry)) {
        if (policy_parse_place(entry->valuestring, place) == 0)
            return 0;
        nearest = names_nearest(entry->valuestring, words, sizeof(words) / sizeof(words[0]));
    }
    json_describe(entry, value, sizeof(value));
    snprintf(found, sizeof(found), "%s%s%s%s", value, nearest ? "; did you mean \"" : "",
             nearest ? nearest : "", nearest ? "\"?" : "");
    return refuse(r, entry, PLACE_WORDS, found);
}

static int read_device_map(struct reader *r, const cJSON *item)
{
    struct policy_map *map = &r->policy->map;
    const cJSON *entry;
    size_t count = 0;

    if (!cJSON_IsObject(item) || !item->child)
        return refuse(r, item, "an object such as {\"model.layers.0\": 0, \"\": \"cpu\"}",
                      cJSON_IsObject(item) ? "an empty one" : "another value");
    cJSON_ArrayForEach(entry, item)
    {
        count++;
    }
    map->entries = calloc(count, sizeof(*map->entries));
    if (!map->entries)
        return refuse_memory(r);
    cJSON_ArrayForEach(entry, item)
    {
        struct policy_map_entry *to = &map->entries[map->count];

        set_entry(r, "device_map", entry);
        if (read_place(r, entry, &to->place))
            return -EINVAL;
        to->prefix = strdup(entry->string);
        if (!to->prefix)
            return refuse_memory(r);
        map->count++;
    }
    policy_map_sort(map);
    return 0;
}

static int read_backend(struct reader *r, const cJSON *item)
{
    struct input_error word;

    if (!cJSON_IsString(item))
        return refuse_value(r, item, "\"auto\", \"um\", \"vmm\" or \"off\"");
    if (policy_parse_backend(item->valuestring, &r->policy->backend, &word))
        return refuse(r, item, word.expected, word.found);
    r->policy->backend_given = true;
    return 0;
}

static int read_flag(const struct reader *r, const cJSON *item, bool *out)
{
    if (!cJSON_IsBool(item))
        return refuse_value(r, item, "true or false");
    *out = cJSON_IsTrue(item);
    return 0;
}

static int read_strict(struct reader *r, const cJSON *item)
{
    return read_flag(r, item, &r->policy->strict);
}

static int read_offload_buffers(struct reader *r, const cJSON *item)
{
    return read_flag(r, item, &r->policy->offload_buffers);
}

/* The place of a name among the fields, or KNOWN_COUNT. */
static size_t find_field(const char *name)
{
    size_t i;

    for (i = 0; i < KNOWN_COUNT; i++) {
        if (strcmp(g_field_names[i], name) == 0)
            break;
    }
    return i;
}

/* Refuse a field that nothing reads: one for later, or one that nobody knows. */
static int refuse_field(const struct reader *r, const cJSON *item)
{
    const char *nearest = names_nearest(item->string, g_field_names, KNOWN_COUNT);
    char expected[200], found[256], list[160];

    names_list(g_field_names, FIELD_COUNT, list, sizeof(list));
    snprintf(expected, sizeof(expected), "one of the supported fields: %s", list);
    if (find_field(item->string) < KNOWN_COUNT)
        snprintf(found, sizeof(found), "a field that is not supported yet by this version");
    else if (nearest)
        snprintf(found, sizeof(found), "an unknown field; did you mean \"%s\"?", nearest);
    else
        snprintf(found, sizeof(found), "an unknown field");
    return refuse(r, item, expected, found);
}

static int read_fields(struct reader *r)
{
    static int (*const readers[FIELD_COUNT])(struct reader *, const cJSON *) = {
#define X(name) read_##name,
        FIELDS(X)
#undef X
    };
    const cJSON *item;

    cJSON_ArrayForEach(item, r->root)
    {
        size_t field = find_field(item->string);
        int res;

        input_error_set_field(r->error, item->string, strlen(item->string));
        if (field >= FIELD_COUNT)
            return refuse_field(r, item);
        res = readers[field](r, item);
        if (res)
            return res;
    }
    input_error_set_field(r->error, "version", strlen("version"));
    if (!cJSON_GetObjectItemCaseSensitive(r->root, "version"))
        return refuse(r, r->root, "\"version\": 1", "a policy without it");
    return 0;
}

/* A bare device map has places for values and no key that is a policy's field. */
static bool is_bare_map(const cJSON *root)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, root)
    {
        if (find_field(item->string) < KNOWN_COUNT)
            return false;
        if (!cJSON_IsNumber(item) && !cJSON_IsString(item))
            return false;
    }
    return root->child != NULL;
}

static int read_root(struct reader *r)
{
    if (!cJSON_IsObject(r->root))
        return refuse_value(r, r->root, "an object: a policy or a device map");
    return is_bare_map(r->root) ? read_device_map(r, r->root) : read_fields(r);
}

int policy_parse(const char *text, size_t bytes, const char *path, struct policy **out,
                 struct input_error *error)
{
    struct reader r = {.text = text, .bytes = bytes, .path = path, .error = error};
    int res;

    input_error_clear(error);
    input_error_set_file(error, path);
    res = json_parse(text, bytes, JSON_INTEGERS, &r.root, error);
    if (res)
        return res;

    r.policy = policy_new();
    res = r.policy ? read_root(&r) : refuse_memory(&r);
    cJSON_Delete(r.root);
    if (res) {
        policy_free(r.policy);
        return res;
    }
    *out = r.policy;
    return 0;
}

/* Read a file to its end, which need not be a regular one: a policy may come through a pipe.
 *
 * text     POLICY_BYTES_MAX long; pages that nothing is read into are never touched
 * returns  0; -EFBIG where the file does not fit; what read() said
 */
static int read_whole(int fd, char *text, size_t *bytes)
{
    *bytes = 0;
    while (*bytes < POLICY_BYTES_MAX) {
        ssize_t got = read(fd, text + *bytes, POLICY_BYTES_MAX - *bytes);

        if (got == 0)
            return 0;
        if (got > 0)
            *bytes += (size_t)got;
        else if (errno != EINTR)
            return -errno;
    }
    return -EFBIG;
}

static int refuse_file(const char *path, int res, struct input_error *error)
{
    input_error_clear(error);
    input_error_set_file(error, path);
    return input_error_set(error, res, INPUT_ERROR_NO_OFFSET, "a readable policy file", "\"%s\"",
                           strerrordesc_np(-res));
}

int policy_read(const char *path, struct policy **out, struct input_error *error)
{
    size_t bytes;
    char *text;
    int fd, res;

    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return refuse_file(path, -errno, error);
    text = malloc(POLICY_BYTES_MAX);
    res = text ? read_whole(fd, text, &bytes) : -ENOMEM;
    close(fd);
    res = res ? refuse_file(path, res, error) : policy_parse(text, bytes, path, out, error);
    free(text);
    return res;
}

struct policy *policy_new(void)
{
    struct policy *policy = calloc(1, sizeof(*policy));

    if (policy)
        policy_memory_clear(&policy->max_memory);
    return policy;
}

void policy_free(struct policy *policy)
{
    size_t i;

    if (!policy)
        return;
    for (i = 0; i < policy->map.count; i++)
        free(policy->map.entries[i].prefix);
    free(policy->map.entries);
    free(policy->checkpoint);
    free(policy);
}
