#include "checkpoint_build.h"
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TENSORS_MAX 0x80000000u
#define CHUNK_BYTES 65536u

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
        size_t room = rounded > CHUNK_BYTES / 4 ? rounded : CHUNK_BYTES;

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
    memcpy(name, tensor->name, tensor->name_bytes);
    name[tensor->name_bytes] = '\0';
    copy.name = name;
    tensors[c->tensor_count++] = copy;
    return 0;
}

static int compare_names(const void *a, const void *b, void *tensors)
{
    const struct tensor *t = tensors;

    return strcmp(t[*(const uint32_t *)a].name, t[*(const uint32_t *)b].name);
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

static int index_names(struct checkpoint *c, struct input_error *error)
{
    uint32_t i;

    for (i = 0; i < c->tensor_count; i++)
        c->by_name[i] = i;
    qsort_r(c->by_name, c->tensor_count, sizeof(*c->by_name), compare_names, c->tensors);
    for (i = 1; i < c->tensor_count; i++) {
        const struct tensor *t = &c->tensors[c->by_name[i]];

        if (strcmp(c->tensors[c->by_name[i - 1]].name, t->name) == 0) {
            input_error_set_field(error, t->name, t->name_bytes);
            return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, "every tensor once",
                                   "it twice");
        }
    }
    return 0;
}

/* Index by location, count the bytes and see whether ranges overlap. */
static void index_locations(struct checkpoint *c)
{
    const struct tensor *before = NULL;
    uint64_t reach = 0; /* where the ranges so far end, in the file of before */
    size_t i;

    for (i = 0; i < c->tensor_count; i++) {
        if (c->tensors[i].bytes)
            c->by_location[c->located_count++] = (uint32_t)i;
    }
    qsort_r(c->by_location, c->located_count, sizeof(*c->by_location), compare_locations,
            c->tensors);

    for (i = 0; i < c->located_count; i++) {
        const struct tensor *t = &c->tensors[c->by_location[i]];
        uint64_t end = t->offset + t->bytes;
        bool same = before && before->file == t->file && before->offset == t->offset &&
                    before->bytes == t->bytes;

        if (!before || before->file != t->file)
            reach = 0;
        c->has_views |= t->offset < reach && !same;
        if (end > reach) {
            c->total_bytes += end - (t->offset > reach ? t->offset : reach);
            reach = end;
        }
        before = t;
    }
}

int checkpoint_builder_finish(struct checkpoint_builder *builder, struct checkpoint **out,
                              struct input_error *error)
{
    struct checkpoint *c = builder->checkpoint;
    size_t entries = c->tensor_count ? c->tensor_count : 1;
    struct tensor *exact;
    int res;

    /* What grew by doubling gives its spare half back; to fail at that does no harm. */
    exact = reallocarray(c->tensors, entries, sizeof(*exact));
    if (exact)
        c->tensors = exact;
    c->by_name = calloc(entries, sizeof(*c->by_name));
    c->by_location = calloc(entries, sizeof(*c->by_location));
    if (!c->by_name || !c->by_location)
        res = input_error_set(error, -ENOMEM, INPUT_ERROR_NO_OFFSET,
                              "memory for the table of tensors", "none left");
    else
        res = index_names(c, error);
    if (res) {
        checkpoint_builder_abandon(builder);
        return res;
    }
    index_locations(c);
    memset(builder, 0, sizeof(*builder));
    *out = c;
    return 0;
}
