#include "checkpoint_build.h"
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TENSORS_MAX 0x80000000u
#define CHUNK_LEAST 4096u
#define CHUNK_MOST  65536u

/* Names and shapes lie one behind the other in chunks, which never move. */
struct checkpoint_chunk {
    struct checkpoint_chunk *next;
    size_t used, room; /* bytes of data */
    uint64_t data[];
};

/* Memory that lives as long as the checkpoint, aligned for uint64_t; NULL where there is none. */
static void *arena_get(struct checkpoint *checkpoint, size_t bytes)
{
    struct checkpoint_chunk *chunk = checkpoint->arena;
    size_t rounded = (bytes + 7) & ~(size_t)7;
    void *memory;

    if (!chunk || chunk->room - chunk->used < rounded) {
        size_t room = chunk ? 2 * chunk->room : CHUNK_LEAST;

        room = room < CHUNK_MOST ? room : CHUNK_MOST;
        room = rounded > room / 4 ? rounded : room;
        chunk = malloc(sizeof(*chunk) + room);
        if (!chunk)
            return NULL;
        chunk->used = 0;
        chunk->room = room;
        chunk->next = checkpoint->arena;
        checkpoint->arena = chunk;
    }
    memory = (char *)chunk->data + chunk->used;
    chunk->used += rounded;
    return memory;
}

static void *arena_copy(struct checkpoint *checkpoint, const void *from, size_t bytes)
{
    void *memory = arena_get(checkpoint, bytes);

    if (memory && bytes)
        memcpy(memory, from, bytes);
    return memory;
}

void checkpoint_close(struct checkpoint *checkpoint)
{
    size_t i;

    if (!checkpoint)
        return;
    for (i = 0; i < checkpoint->file_count; i++)
        free(checkpoint->files[i].path);
    while (checkpoint->arena) {
        struct checkpoint_chunk *next = checkpoint->arena->next;

        free(checkpoint->arena);
        checkpoint->arena = next;
    }
    free(checkpoint->files);
    free(checkpoint->tensors);
    free(checkpoint->by_name);
    free(checkpoint->by_location);
    free(checkpoint->entries);
    free(checkpoint->tied);
    free(checkpoint);
}

int checkpoint_builder_begin(struct checkpoint_builder *builder, enum checkpoint_format format)
{
    memset(builder, 0, sizeof(*builder));
    builder->checkpoint = calloc(1, sizeof(*builder->checkpoint));
    if (!builder->checkpoint)
        return -ENOMEM;
    builder->checkpoint->format = format;
    return 0;
}

void checkpoint_builder_abandon(struct checkpoint_builder *builder)
{
    checkpoint_close(builder->checkpoint);
    memset(builder, 0, sizeof(*builder));
}

/* Make room for one more entry of an array.
 *
 * array    a malloc()ed array or NULL
 * returns  the array, perhaps elsewhere, or NULL with the old one left as it was
 */
static void *grow(void *array, size_t count, size_t *room, size_t entry_bytes)
{
    size_t wanted = *room ? *room * 2 : 16;
    void *larger;

    if (count < *room)
        return array;
    larger = reallocarray(array, wanted, entry_bytes);
    if (larger)
        *room = wanted;
    return larger;
}

int checkpoint_builder_add_file(struct checkpoint_builder *builder, const char *path,
                                const struct stat *status, size_t *index)
{
    struct checkpoint *c = builder->checkpoint;
    struct checkpoint_file *files, *file;

    files = grow(c->files, c->file_count, &builder->file_room, sizeof(*files));
    if (!files)
        return -ENOMEM;
    c->files = files;

    file = &files[c->file_count];
    memset(file, 0, sizeof(*file));
    file->path = strdup(path);
    if (!file->path)
        return -ENOMEM;
    file->device = status->st_dev;
    file->inode = status->st_ino;
    file->bytes = (uint64_t)status->st_size;
    file->mtime_ns = (int64_t)status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec;
    *index = c->file_count++;
    return 0;
}

uint32_t checkpoint_builder_add_storage(struct checkpoint_builder *builder)
{
    return ++builder->storage_count;
}

int checkpoint_builder_add_tensor(struct checkpoint_builder *builder, const struct tensor *tensor)
{
    struct checkpoint *c = builder->checkpoint;
    struct tensor copy = *tensor, *tensors;
    char *name;

    if (c->tensor_count >= TENSORS_MAX)
        return -E2BIG;
    tensors = grow(c->tensors, c->tensor_count, &builder->tensor_room, sizeof(*tensors));
    if (!tensors)
        return -ENOMEM;
    c->tensors = tensors;

    name = arena_get(c, (size_t)tensor->name_bytes + 1);
    copy.shape = arena_copy(c, tensor->shape, tensor->rank * sizeof(uint64_t));
    if (tensor->strides)
        copy.strides = arena_copy(c, tensor->strides, tensor->rank * sizeof(uint64_t));
    if (!name || !copy.shape || (tensor->strides && !copy.strides))
        return -ENOMEM;
    if (copy.storage == STORAGE_OWN)
        copy.storage = checkpoint_builder_add_storage(builder);
    memcpy(name, tensor->name, tensor->name_bytes);
    name[tensor->name_bytes] = '\0';
    copy.name = name;
    tensors[c->tensor_count++] = copy;
    return 0;
}

int checkpoint_builder_add_metadata(struct checkpoint_builder *builder, const char *key,
                                    const char *text)
{
    struct checkpoint *c = builder->checkpoint;
    struct checkpoint_entry *entries;

    entries = grow(c->entries, c->metadata_count, &builder->metadata_room, sizeof(*entries));
    if (!entries)
        return -ENOMEM;
    c->entries = entries;
    entries[c->metadata_count].key = arena_copy(c, key, strlen(key) + 1);
    entries[c->metadata_count].text = arena_copy(c, text, strlen(text) + 1);
    if (!entries[c->metadata_count].key || !entries[c->metadata_count].text)
        return -ENOMEM;
    c->metadata_count++;
    return 0;
}

static int compare_names(const void *a, const void *b, void *tensors)
{
    const struct tensor *t = tensors;

    return strcmp(t[*(const uint32_t *)a].name, t[*(const uint32_t *)b].name);
}

/* Sort indexes of tensors; most files have them in order. */
static void sort_indexes(uint32_t *indexes, size_t count,
                         int (*compare)(const void *, const void *, void *), struct tensor *tensors)
{
    size_t i = 1;

    while (i < count && compare(&indexes[i - 1], &indexes[i], tensors) <= 0)
        i++;
    if (i < count)
        qsort_r(indexes, count, sizeof(*indexes), compare, tensors);
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* Of tensors that begin together the longest comes first, so that views follow what they view. */
static int compare_locations(const void *a, const void *b, void *tensors)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    const struct tensor *t = tensors, *l = &t[left], *r = &t[right];
    int order = compare_u64(l->file, r->file);

    order = order ? order : compare_u64(l->offset, r->offset);
    order = order ? order : compare_u64(r->bytes, l->bytes);
    return order ? order : compare_u64(left, right);
}

/* The name of a file without its folder. */
static const char *file_name(const struct checkpoint *c, const struct tensor *tensor)
{
    const char *path = c->files[tensor->file].path, *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int refuse_twins(const struct checkpoint *c, const struct tensor *a, const struct tensor *b,
                        struct input_error *error)
{
    const struct tensor *first = a->file < b->file ? a : b, *second = a->file < b->file ? b : a;

    input_error_set_field(error, a->name, a->name_bytes);
    if (a->file == b->file)
        return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, "every tensor once",
                               "it twice");
    return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, "every tensor once",
                           "it in %s and in %s", file_name(c, first), file_name(c, second));
}

static int index_names(struct checkpoint *c, struct input_error *error)
{
    uint32_t i;

    for (i = 0; i < c->tensor_count; i++)
        c->by_name[i] = i;
    sort_indexes(c->by_name, c->tensor_count, compare_names, c->tensors);
    for (i = 1; i < c->tensor_count; i++) {
        const struct tensor *a = &c->tensors[c->by_name[i - 1]], *b = &c->tensors[c->by_name[i]];

        if (strcmp(a->name, b->name) == 0)
            return refuse_twins(c, a, b, error);
    }
    return 0;
}

/* Groups of storages: parent[s] is s itself, or leads to the storage that stands for its group. */
static uint32_t find_root(uint32_t *parent, uint32_t storage)
{
    while (parent[storage] != storage) {
        parent[storage] = parent[parent[storage]];
        storage = parent[storage];
    }
    return storage;
}

static void join(uint32_t *parent, uint32_t a, uint32_t b)
{
    parent[find_root(parent, a)] = find_root(parent, b);
}

/* Index by location, count the bytes, see whether ranges overlap and join the storages of those. */
static void index_locations(struct checkpoint *c, uint32_t *parent)
{
    const struct tensor *before = NULL;
    uint64_t reach = 0; /* where the ranges so far end, in the file of before */
    size_t i;

    for (i = 0; i < c->tensor_count; i++) {
        if (c->tensors[i].bytes)
            c->by_location[c->located_count++] = (uint32_t)i;
    }
    sort_indexes(c->by_location, c->located_count, compare_locations, c->tensors);

    for (i = 0; i < c->located_count; i++) {
        const struct tensor *t = &c->tensors[c->by_location[i]];
        uint64_t end = t->offset + t->bytes;
        bool same = before && before->file == t->file && before->offset == t->offset &&
                    before->bytes == t->bytes;

        if (!before || before->file != t->file)
            reach = 0;
        c->has_views |= t->offset < reach && !same;
        if (t->offset < reach)
            join(parent, t->storage, before->storage);
        if (end > reach) {
            c->total_bytes += end - (t->offset > reach ? t->offset : reach);
            reach = end;
        }
        before = t;
    }
}

/* Number the storages from 0 on in the order of the tensors, and count each one's tensors.
 *
 * parent   by the builder's numbers, what index_locations() made of it
 * number   by the builder's numbers, of storages + 1 entries, 0 in all; of the same size as
 * members  which gets the tensors of each new number
 */
static void number_storages(struct checkpoint *c, uint32_t *parent, uint32_t *number,
                            uint32_t *members)
{
    size_t i;

    for (i = 0; i < c->tensor_count; i++) {
        uint32_t root = find_root(parent, c->tensors[i].storage);

        if (number[root] == 0)
            number[root] = (uint32_t)++c->storage_count;
        c->tensors[i].storage = number[root] - 1;
        members[c->tensors[i].storage]++;
    }
}

static int compare_storages(const void *a, const void *b, void *tensors)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    const struct tensor *t = tensors;
    int order = compare_u64(t[left].storage, t[right].storage);

    return order ? order : compare_u64(left, right);
}

static int index_tied(struct checkpoint *c, const uint32_t *members)
{
    size_t count = 0, i;

    for (i = 0; i < c->tensor_count; i++)
        count += members[c->tensors[i].storage] > 1;
    if (count == 0)
        return 0;
    c->tied = calloc(count, sizeof(*c->tied));
    if (!c->tied)
        return -ENOMEM;
    for (i = 0; i < c->tensor_count; i++) {
        if (members[c->tensors[i].storage] > 1)
            c->tied[c->tied_count++] = (uint32_t)i;
    }
    sort_indexes(c->tied, count, compare_storages, c->tensors);
    return 0;
}

/* Index by location and by storage. storages is how many numbers the builder handed out. */
static int index_places(struct checkpoint *c, uint32_t storages)
{
    size_t entries = (size_t)storages + 1;
    uint32_t *parent = calloc(3 * entries, sizeof(*parent));
    uint32_t i;
    int res;

    if (!parent)
        return -ENOMEM;
    for (i = 0; i < entries; i++)
        parent[i] = i;
    index_locations(c, parent);
    number_storages(c, parent, parent + entries, parent + 2 * entries);
    res = index_tied(c, parent + 2 * entries);
    free(parent);
    return res;
}

int checkpoint_builder_finish(struct checkpoint_builder *builder, struct checkpoint **out,
                              struct input_error *error)
{
    struct checkpoint *c = builder->checkpoint;
    size_t entries = c->tensor_count ? c->tensor_count : 1;
    struct tensor *exact;
    int res = -ENOMEM;

    /* What grew by doubling gives its spare half back; to fail at that does no harm. */
    exact = reallocarray(c->tensors, entries, sizeof(*exact));
    if (exact)
        c->tensors = exact;
    c->by_name = calloc(entries, sizeof(*c->by_name));
    c->by_location = calloc(entries, sizeof(*c->by_location));
    if (c->by_name && c->by_location)
        res = index_names(c, error);
    if (res == 0)
        res = index_places(c, builder->storage_count);
    if (res == -ENOMEM)
        input_error_set(error, res, INPUT_ERROR_NO_OFFSET, "memory for the table of tensors",
                        "none left");
    if (res) {
        checkpoint_builder_abandon(builder);
        return res;
    }
    memset(builder, 0, sizeof(*builder));
    *out = c;
    return 0;
}
