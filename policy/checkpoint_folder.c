#include "checkpoint_folder.h"
#include "checkpoint_index.h"
#include "offload_folder.h"
#include "read_fully.h"
#include "sharded_index.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What model files and indexes are called. */
static const char *const g_model_names[] = {
    "*.safetensors", "*.bin", "*.pt", "*.pth", "*.gguf",
};
static const char *const g_index_names[] = {"*.index.json", "index.json"};

/* What trainers leave beside a model and is none. */
static const char *const g_other_names[] = {
    "training_args.bin", "optimizer*.bin", "optimizer*.pt",  "scheduler*.pt",
    "scheduler*.bin",    "scaler*.pt",     "rng_state*.pth",
};

/* One of a model's parts: ...-00002-of-00003.gguf */
#define PART_NAME "*-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9].gguf"
#define PART_TAIL sizeof("00001-of-00003.gguf")

/* File names; each is a malloc()ed string. */
struct list {
    char **names;
    size_t count, room;
};

static bool is_one_of(const char *name, const char *const *patterns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fnmatch(patterns[i], name, FNM_PERIOD) == 0)
            return true;
    }
    return false;
}

#define IS_ONE_OF(name, patterns) is_one_of(name, patterns, sizeof(patterns) / sizeof(*(patterns)))

static int list_add(struct list *list, const char *name)
{
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 16;
        char **larger = reallocarray(list->names, room, sizeof(*larger));

        if (!larger)
            return -ENOMEM;
        list->names = larger;
        list->room = room;
    }
    list->names[list->count] = strdup(name);
    if (!list->names[list->count])
        return -ENOMEM;
    /* Of a model in parts the first stands for all, be it there or not. */
    if (fnmatch(PART_NAME, name, 0) == 0)
        memcpy(list->names[list->count] + strlen(name) - PART_TAIL + 1, "00001", 5);
    list->count++;
    return 0;
}

static void list_free(struct list *list)
{
    while (list->count)
        free(list->names[--list->count]);
    free(list->names);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sort, and keep one of equal names. */
static void list_sort(struct list *list)
{
    size_t kept = 0;

    if (list->count)
        qsort(list->names, list->count, sizeof(*list->names), compare_names);
    for (size_t i = 0; i < list->count; i++) {
        if (kept && strcmp(list->names[kept - 1], list->names[i]) == 0)
            free(list->names[i]);
        else
            list->names[kept++] = list->names[i];
    }
    list->count = kept;
}

/* Remove the names that an index calls its shards, or points into. */
static void list_remove_shards(struct list *list, const struct checkpoint_index *index)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->count; i++) {
        if (sharded_index_names(index, list->names[i]) ||
            offload_folder_names(index, list->names[i]))
            free(list->names[i]);
        else
            list->names[kept++] = list->names[i];
    }
    list->count = kept;
}

static int read_folder(const char *path, struct list *indexes, struct list *models,
                       struct input_error *error)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    int res = 0;

    if (!folder)
        return read_refuse_system(error, errno);
    while (res == 0 && (errno = 0, entry = readdir(folder))) {
        if (IS_ONE_OF(entry->d_name, g_index_names))
            res = list_add(indexes, entry->d_name);
        else if (IS_ONE_OF(entry->d_name, g_model_names) &&
                 !IS_ONE_OF(entry->d_name, g_other_names))
            res = list_add(models, entry->d_name);
    }
    if (res)
        input_error_set(error, res, INPUT_ERROR_NO_OFFSET, "memory for the folder", "none left");
    else if (errno)
        res = read_refuse_system(error, errno);
    closedir(folder);
    list_sort(indexes);
    list_sort(models);
    return res;
}

static char *join(const char *folder, const char *name)
{
    const char *slash = folder[strlen(folder) - 1] == '/' ? "" : "/";
    char *path;

    return asprintf(&path, "%s%s%s", folder, slash, name) < 0 ? NULL : path;
}

/* Take the shards of an index out of the models of its folder. */
static int remove_shards(const char *folder, const char *name, struct list *models,
                         struct input_error *error)
{
    struct checkpoint_index index;
    char *path = join(folder, name);
    int res;

    if (!path)
        return -ENOMEM;
    res = checkpoint_index_load(&index, path, error);
    if (res == 0) {
        list_remove_shards(models, &index);
        input_error_set_file(error, folder);
    }
    checkpoint_index_free(&index);
    free(path);
    return res;
}

static int refuse_none(struct input_error *error)
{
    char expected[256] = "a folder with a model file:";

    for (size_t i = 0; i < sizeof(g_model_names) / sizeof(*g_model_names); i++) {
        strcat(expected, i ? ", " : " ");
        strcat(expected, g_model_names[i]);
    }
    strcat(expected, " or an index");
    return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, expected, "none");
}

static int refuse_several(const struct list *indexes, const struct list *models,
                          struct input_error *error)
{
    char text[512] = "";
    size_t used = 0, total = indexes->count + models->count;

    for (size_t i = 0; i < total && used < sizeof(text); i++) {
        const char *name =
            i < indexes->count ? indexes->names[i] : models->names[i - indexes->count];

        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i ? ", " : "", name);
    }
    return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET,
                           "a folder with one checkpoint, or the path of the one that is meant",
                           "%zu: %s", total, text);
}

/* Choose from what the folder has. */
static int choose(const char *folder, const struct list *indexes, struct list *models,
                  char **chosen, struct input_error *error)
{
    int res = 0;

    if (indexes->count == 1 && models->count)
        res = remove_shards(folder, indexes->names[0], models, error);
    if (res)
        return res;
    /* With several indexes it is not known whose the shards are; then these are the choice. */
    if (indexes->count > 1)
        return refuse_several(indexes, &(struct list){0}, error);
    if (indexes->count + models->count > 1)
        return refuse_several(indexes, models, error);
    if (indexes->count + models->count == 0)
        return refuse_none(error);
    *chosen = join(folder, indexes->count ? indexes->names[0] : models->names[0]);
    return *chosen ? 0
                   : input_error_set(error, -ENOMEM, INPUT_ERROR_NO_OFFSET, "memory for the folder",
                                     "none left");
}

int checkpoint_folder_choose(const char *path, char **chosen, struct input_error *error)
{
    struct list indexes = {0}, models = {0};
    int res;

    input_error_clear(error);
    input_error_set_file(error, path);
    res = read_folder(path, &indexes, &models, error);
    if (res == 0)
        res = choose(path, &indexes, &models, chosen, error);
    list_free(&indexes);
    list_free(&models);
    return res;
}
