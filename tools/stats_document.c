/* stats_document.c - reading the JSON that a program left behind. */
#include "stats_views.h"

#include "policy/json.h"
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define INTEGER_MAX 9007199254740991.0 /* exact in a double */

struct reader {
    char *reason;
    size_t reason_bytes;
};

static int refuse(const struct reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int refuse(const struct reader *reader, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(reader->reason, reader->reason_bytes, format, args);
    va_end(args);
    return -EINVAL;
}

static int read_text(const struct reader *reader, const cJSON *object, const char *key, char *text,
                     size_t bytes)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    if (!cJSON_IsString(item))
        return refuse(reader, "%s is missing or no string", key);
    snprintf(text, bytes, "%s", item->valuestring);
    return 0;
}

/* The document's numbers are integers, but for shares. */
static int read_integer(const cJSON *item, uint64_t *value)
{
    if (json_get_u64(item, value))
        return -EINVAL;
    return item->valuedouble <= INTEGER_MAX && (double)*value == item->valuedouble ? 0 : -EINVAL;
}

static int read_share(const cJSON *item, uint64_t *value)
{
    if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > 1)
        return -EINVAL;
    *value = (uint64_t)(item->valuedouble * STATS_SHARE_ONE + 0.5);
    return 0;
}

/* Read a value of a table: of the report, or of a parameter. */
static int read_value(const struct reader *reader, const cJSON *object,
                      const struct stats_value_info *info, void *base)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, info->key);
    uint64_t value = 0;

    int err = 0;

    if (info->kind == STATS_BOOL)
        err = cJSON_IsBool(item) ? 0 : -EINVAL;
    else if (info->kind == STATS_SHARE)
        err = read_share(item, &value);
    else
        err = read_integer(item, &value);
    if (info->kind == STATS_BOOL)
        value = cJSON_IsTrue(item);
    if (err)
        return refuse(reader, "%s%s%s is missing or no number", info->group ? info->group : "",
                      info->group ? "." : "", info->key);
    memcpy((char *)base + info->offset, &value, sizeof(value));
    return 0;
}

static int read_values(const struct reader *reader, const cJSON *root, struct stats_report *report)
{
    for (size_t i = 0; i < stats_value_count; i++) {
        const struct stats_value_info *info = &stats_values[i];
        const cJSON *group = cJSON_GetObjectItemCaseSensitive(root, info->group);

        if (group && !cJSON_IsObject(group))
            return refuse(reader, "%s is no object", info->group);
        if (info->may_lack && !cJSON_GetObjectItemCaseSensitive(group, info->key))
            continue;
        if (read_value(reader, group, info, report))
            return -EINVAL;
    }
    return 0;
}

/* Read what is known of each device under one key. */
static int read_device_values(const struct reader *reader, const cJSON *object, const char *key,
                              uint64_t *values, unsigned *device_count)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, object)
    {
        char *end;
        unsigned long device = strtoul(item->string, &end, 10);

        if (*end || !*item->string || device >= STATS_DEVICES_MAX)
            return refuse(reader, "%s has no device %s", key, item->string);
        if (read_integer(item, &values[device]))
            return refuse(reader, "%s.%s is no number", key, item->string);
        if (device >= *device_count)
            *device_count = (unsigned)device + 1;
    }
    return 0;
}

/* Budgets are in every document; what else is told of devices came later. */
static int read_devices(const struct reader *reader, const cJSON *root, struct stats_report *report)
{
    for (size_t row = 0; row < stats_device_value_count; row++) {
        const struct stats_device_info *info = &stats_device_values[row];
        uint64_t *values = (uint64_t *)((char *)report + info->offset);
        const cJSON *object = cJSON_GetObjectItemCaseSensitive(root, info->key);

        for (size_t i = 0; i < STATS_DEVICES_MAX; i++)
            values[i] = STATS_NO_BUDGET;
        if (!object && row > 0)
            continue;
        if (!cJSON_IsObject(object))
            return refuse(reader, "%s is missing or no object", info->key);
        if (read_device_values(reader, object, info->key, values, &report->device_count))
            return -EINVAL;
    }
    return 0;
}

static int read_unknown(const struct reader *reader, const cJSON *root, struct stats_report *report)
{
    const cJSON *unknown = cJSON_GetObjectItemCaseSensitive(root, "unknown_entry_points");
    const cJSON *item;

    if (!cJSON_IsObject(unknown))
        return refuse(reader, "unknown_entry_points is missing or no object");
    cJSON_ArrayForEach(item, unknown)
    {
        struct stats_report_unknown *entry = &report->unknown[report->unknown_count];

        if (report->unknown_count == STATS_UNKNOWN_MAX)
            return refuse(reader, "unknown_entry_points has more than %u names", STATS_UNKNOWN_MAX);
        snprintf(entry->name, sizeof(entry->name), "%s", item->string);
        if (read_integer(item, &entry->count))
            return refuse(reader, "unknown_entry_points.%s is no number", item->string);
        report->unknown_count++;
    }
    return 0;
}

/* Find a word of an X-macro's list by its name; returns count where there is none. */
static unsigned find_tier(const char *word)
{
    unsigned i;

    for (i = 0; i < STATS_TIER_COUNT && strcmp(stats_tier_name(i), word) != 0; i++)
        ;
    return i;
}

static unsigned find_evidence(const char *word)
{
    unsigned i;

    for (i = 0; i < STATS_EVIDENCE_COUNT && strcmp(stats_evidence_name(i), word) != 0; i++)
        ;
    return i;
}

static int read_place(const cJSON *parameter, int *place)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(parameter, "place");
    uint64_t device;

    *place = POLICY_NOWHERE;
    if (!item)
        return 0;
    if (cJSON_IsString(item)) {
        *place = strcmp(item->valuestring, "cpu") == 0 ? POLICY_CPU : POLICY_DISK;
        return *place == POLICY_CPU || strcmp(item->valuestring, "disk") == 0 ? 0 : -EINVAL;
    }
    if (read_integer(item, &device) || device >= STATS_DEVICES_MAX)
        return -EINVAL;
    *place = (int)device;
    return 0;
}

/* It stands only where it is so. */
static int read_freed(const cJSON *parameter, int *is_freed)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(parameter, "freed");

    *is_freed = cJSON_IsTrue(item);
    return !item || cJSON_IsBool(item) ? 0 : -EINVAL;
}

static int read_parameter_values(const struct reader *reader, const cJSON *item,
                                 struct stats_parameter *parameter)
{
    for (size_t i = 0; i < stats_parameter_value_count; i++) {
        const struct stats_value_info *info = &stats_parameter_values[i];
        const uint64_t not_told = STATS_NOT_TOLD;

        if (info->may_lack && !cJSON_GetObjectItemCaseSensitive(item, info->key))
            memcpy((char *)parameter + info->offset, &not_told, sizeof(not_told));
        else if (read_value(reader, item, info, parameter))
            return -EINVAL;
    }
    return 0;
}

static int read_parameter(const struct reader *reader, const cJSON *item, char **text,
                          struct stats_parameter *parameter)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(item, "name");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(item, "shape");
    const cJSON *extent;
    char word[16];

    if (!cJSON_IsString(name))
        return refuse(reader, "a parameter has no name");
    if (!cJSON_IsArray(shape))
        return refuse(reader, "%s: shape is missing or no array", name->valuestring);
    parameter->name = *text;
    strcpy(*text, name->valuestring);
    *text += strlen(*text) + 1;
    if (read_text(reader, item, "dtype", parameter->dtype, sizeof(parameter->dtype)))
        return -EINVAL;
    cJSON_ArrayForEach(extent, shape)
    {
        if (parameter->rank == STATS_RANK_MAX ||
            read_integer(extent, &parameter->shape[parameter->rank]))
            return refuse(reader, "%s: no shape", parameter->name);
        parameter->rank++;
    }
    if (read_text(reader, item, "tier", word, sizeof(word)))
        return -EINVAL;
    parameter->tier = find_tier(word);
    if (read_text(reader, item, "evidence", word, sizeof(word)))
        return -EINVAL;
    parameter->evidence = find_evidence(word);
    if (parameter->tier == STATS_TIER_COUNT || parameter->evidence == STATS_EVIDENCE_COUNT)
        return refuse(reader, "%s: unknown tier or evidence", parameter->name);
    if (read_integer(cJSON_GetObjectItemCaseSensitive(item, "bytes"), &parameter->bytes))
        return refuse(reader, "%s: bytes is missing or no number", parameter->name);
    if (read_place(item, &parameter->place))
        return refuse(reader, "%s: place is no GPU, cpu or disk", parameter->name);
    if (read_freed(item, &parameter->is_freed))
        return refuse(reader, "%s: freed is neither true nor false", parameter->name);
    return read_parameter_values(reader, item, parameter);
}

static int read_parameters(const struct reader *reader, const cJSON *root,
                           struct stats_report *report)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "parameters");
    const cJSON *item;
    size_t count = 0, text_bytes = 0;
    char *text;

    if (!cJSON_IsArray(list))
        return refuse(reader, "parameters is missing or no array");
    cJSON_ArrayForEach(item, list)
    {
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(item, "name");

        count++;
        if (cJSON_IsString(name))
            text_bytes += strlen(name->valuestring) + 1;
    }
    report->parameters = calloc(count ? count : 1, sizeof(*report->parameters));
    report->text = malloc(text_bytes ? text_bytes : 1);
    if (!report->parameters || !report->text) {
        snprintf(reader->reason, reader->reason_bytes, "out of memory");
        return -ENOMEM;
    }
    text = report->text;
    cJSON_ArrayForEach(item, list)
    {
        if (read_parameter(reader, item, &text, &report->parameters[report->parameter_count]))
            return -EINVAL;
        report->parameter_count++;
    }
    return 0;
}

static int read_root(const struct reader *reader, const cJSON *root, struct stats_report *report)
{
    uint64_t version, pid;
    int err;

    if (read_integer(cJSON_GetObjectItemCaseSensitive(root, "version"), &version))
        return refuse(reader, "not a statistics document of berth (no version)");
    if (version != STATS_REPORT_VERSION)
        return refuse(reader, "version %llu of the document, this berth reads version %d",
                      (unsigned long long)version, STATS_REPORT_VERSION);
    if (read_integer(cJSON_GetObjectItemCaseSensitive(root, "pid"), &pid) || pid > INT32_MAX)
        return refuse(reader, "pid is missing or no process's number");
    report->pid = (int32_t)pid;
    if (read_text(reader, root, "program", report->program, sizeof(report->program)) ||
        read_text(reader, root, "backend", report->backend, sizeof(report->backend)) ||
        read_text(reader, root, "driver", report->driver, sizeof(report->driver)))
        return -EINVAL;
    err = read_devices(reader, root, report);
    if (!err)
        err = read_values(reader, root, report);
    if (!err)
        err = read_unknown(reader, root, report);
    if (!err)
        err = read_parameters(reader, root, report);
    return err;
}

int stats_document_parse(const char *text, size_t bytes, struct stats_report *report, char *reason,
                         size_t reason_bytes)
{
    const struct reader reader = {reason, reason_bytes};
    struct input_error error;
    cJSON *root;
    int err;

    memset(report, 0, sizeof(*report));
    input_error_clear(&error);
    err = json_parse(text, bytes, 0, &root, &error);
    if (err) {
        char line[INPUT_ERROR_TEXT_BYTES];

        snprintf(reason, reason_bytes, "%s", input_error_format(&error, line, sizeof(line)));
        return err;
    }
    err = read_root(&reader, root, report);
    cJSON_Delete(root);
    if (err)
        stats_report_release(report);
    return err;
}

/* Read a file whole, at most JSON_BYTES_MAX of it. returns 0 and *text, or -errno */
static int read_whole(const char *path, char **text, size_t *bytes)
{
    FILE *in = fopen(path, "re");
    size_t room = 1 << 16, got;
    char *grown;
    int err = 0;

    *text = NULL;
    *bytes = 0;
    if (!in)
        return -errno;
    for (;;) {
        grown = realloc(*text, room);
        if (!grown) {
            err = -ENOMEM;
            break;
        }
        *text = grown;
        got = fread(*text + *bytes, 1, room - *bytes, in);
        *bytes += got;
        if (*bytes < room)
            break;
        if (room > JSON_BYTES_MAX) {
            err = -EFBIG;
            break;
        }
        room *= 2;
    }
    if (!err && ferror(in))
        err = errno ? -errno : -EIO;
    fclose(in);
    if (err)
        free(*text);
    return err;
}

int stats_document_read(const char *path, struct stats_report *report, int *is_wrong, char *reason,
                        size_t reason_bytes)
{
    size_t bytes;
    char *text;
    int err = read_whole(path, &text, &bytes);

    *is_wrong = 0;
    if (err) {
        snprintf(reason, reason_bytes, "%s", strerror(-err));
        return err;
    }
    err = stats_document_parse(text, bytes, report, reason, reason_bytes);
    *is_wrong = err && err != -ENOMEM;
    free(text);
    return err;
}
