#include "policy_write.h"
#include "json_write.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GIB         1073741824u
#define MIB         1048576u
#define INTEGER_MAX 9007199254740991u /* what JSON has as a number without loss */

static void write_text(const char *text, FILE *out)
{
    json_write_string(out, text, strlen(text));
}

static void write_field(const char *name, FILE *out)
{
    fprintf(out, ",\n  \"%s\": ", name);
}

/* Paths ---------------------------------------------------------------------------------------- */

/* How many bytes of a path are its folder, with the slashes behind it; "./" is none. */
static size_t folder_bytes(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash || strncmp(path, "./", (size_t)(slash - path) + 1) == 0)
        return 0;
    return (size_t)(slash - path) + 1;
}

static int write_absolute(const char *target, FILE *out)
{
    char *folder = get_current_dir_name();
    char *whole;
    int bytes;

    if (!folder)
        return -errno;
    bytes = asprintf(&whole, "%s/%s", folder, target);
    free(folder);
    if (bytes < 0)
        return -ENOMEM;
    write_text(whole, out);
    free(whole);
    return 0;
}

static int write_path(const char *field, const char *target, const char *path, FILE *out)
{
    size_t bytes = folder_bytes(path);

    if (!target)
        return 0;
    write_field(field, out);
    if (bytes == 0 || *target == '/') {
        write_text(target, out);
        return 0;
    }
    if (strncmp(target, path, bytes) != 0)
        return write_absolute(target, out);
    target += bytes;
    target += strspn(target, "/");
    write_text(*target ? target : ".", out);
    return 0;
}

/* Budgets and the map -------------------------------------------------------------------------- */

/* So few digits stand before the unit that the size is read back exactly. */
static void write_size(uint64_t bytes, FILE *out)
{
    if (bytes && bytes % GIB == 0)
        fprintf(out, "\"%" PRIu64 "GiB\"", bytes / GIB);
    else if (bytes && bytes % MIB == 0)
        fprintf(out, "\"%" PRIu64 "MiB\"", bytes / MIB);
    else if (bytes <= INTEGER_MAX)
        fprintf(out, "%" PRIu64, bytes);
    else
        fprintf(out, "\"%" PRIu64 "\"", bytes);
}

/* Write one budget if it is set; between is what stands before it and changes with the first. */
static void write_budget(const char *device, uint64_t bytes, const char **between, FILE *out)
{
    if (bytes == POLICY_UNSET)
        return;
    if (**between == '{')
        write_field("max_memory", out);
    fprintf(out, "%s\"%s\": ", *between, device);
    write_size(bytes, out);
    *between = ", ";
}

static void write_max_memory(const struct policy_memory *memory, FILE *out)
{
    const char *between = "{";
    char device[POLICY_PLACE_BYTES];
    int i;

    for (i = 0; i < POLICY_DEVICES_MAX; i++)
        write_budget(policy_place_name(i, device), memory->device_bytes[i], &between, out);
    write_budget("cpu", memory->cpu_bytes, &between, out);
    write_budget("disk", memory->disk_bytes, &between, out);
    if (*between == ',')
        fputc('}', out);
}

static int compare_order(const void *a, const void *b)
{
    const struct policy_map_entry *l = *(const struct policy_map_entry *const *)a;
    const struct policy_map_entry *r = *(const struct policy_map_entry *const *)b;

    if (l->order != r->order)
        return l->order < r->order ? -1 : 1;
    return strcmp(l->prefix, r->prefix);
}

static int write_device_map(const struct policy_map *map, FILE *out)
{
    const struct policy_map_entry **entries;
    char place[POLICY_PLACE_BYTES];
    size_t i;

    if (!map->count)
        return 0;
    entries = malloc(map->count * sizeof(*entries));
    if (!entries)
        return -ENOMEM;
    for (i = 0; i < map->count; i++)
        entries[i] = &map->entries[i];
    qsort(entries, map->count, sizeof(*entries), compare_order);

    write_field("device_map", out);
    for (i = 0; i < map->count; i++) {
        const char *quote = entries[i]->place < 0 ? "\"" : "";

        fputs(i ? ",\n    " : "{\n    ", out);
        write_text(entries[i]->prefix, out);
        fprintf(out, ": %s%s%s", quote, policy_place_name(entries[i]->place, place), quote);
    }
    fputs("\n  }", out);
    free(entries);
    return 0;
}

/* Lists ---------------------------------------------------------------------------------------- */

static void write_names(const struct policy_names *names, FILE *out)
{
    size_t i;

    fputc('[', out);
    for (i = 0; i < names->count; i++) {
        fputs(i ? ", " : "", out);
        write_text(names->names[i], out);
    }
    fputc(']', out);
}

static void write_tied(const struct policy *policy, FILE *out)
{
    size_t i;

    if (!policy->tied_count)
        return;
    write_field("tied", out);
    for (i = 0; i < policy->tied_count; i++) {
        fputs(i ? ",\n    " : "[\n    ", out);
        write_names(&policy->tied[i], out);
    }
    fputs("\n  ]", out);
}

static void write_groups(const struct policy *policy, FILE *out)
{
    size_t i;

    if (!policy->group_count)
        return;
    write_field("groups", out);
    for (i = 0; i < policy->group_count; i++) {
        fputs(i ? ",\n    " : "{\n    ", out);
        write_text(policy->groups[i].name, out);
        fputs(": ", out);
        write_names(&policy->groups[i].patterns, out);
    }
    fputs("\n  }", out);
}

static void write_lists(const struct policy *policy, FILE *out)
{
    bool classes = policy->no_split_classes.count != 0;

    if (policy->no_split.count || (policy->no_split_given && !classes)) {
        write_field("no_split", out);
        write_names(&policy->no_split, out);
    }
    if (classes) {
        write_field("no_split_module_classes", out);
        write_names(&policy->no_split_classes, out);
    }
    write_tied(policy, out);
    if (policy->preload.count) {
        write_field("preload", out);
        write_names(&policy->preload, out);
    }
    write_groups(policy, out);
}

static void write_dtypes(const struct policy *policy, FILE *out)
{
    const char *dtype = policy_dtype_name(policy->dtype);
    size_t i;

    if (dtype)
        fprintf(out, ",\n  \"dtype\": \"%s\"", dtype);
    if (!policy->special_dtype_count)
        return;
    write_field("special_dtypes", out);
    for (i = 0; i < policy->special_dtype_count; i++) {
        fputs(i ? ",\n    " : "{\n    ", out);
        write_text(policy->special_dtypes[i].pattern, out);
        fprintf(out, ": \"%s\"", policy_dtype_name(policy->special_dtypes[i].dtype));
    }
    fputs("\n  }", out);
}

int policy_write(const struct policy *policy, const char *path, FILE *out)
{
    int res;

    fprintf(out, "{\n  \"version\": %d", POLICY_VERSION);
    res = write_path("checkpoint", policy->checkpoint, path, out);
    if (res)
        return res;
    write_max_memory(&policy->max_memory, out);
    res = write_device_map(&policy->map, out);
    if (res)
        return res;
    write_lists(policy, out);
    if (policy->offload_buffers)
        fputs(",\n  \"offload_buffers\": true", out);
    res = write_path("offload_folder", policy->offload_folder, path, out);
    if (res)
        return res;
    write_dtypes(policy, out);
    if (policy->backend_given)
        fprintf(out, ",\n  \"backend\": \"%s\"", policy_backend_name(policy->backend));
    if (policy->strict)
        fputs(",\n  \"strict\": true", out);
    fputs("\n}\n", out);
    return 0;
}
