/* offload_folder.c - the reader of offload folders. */
#include "offload_folder.h"

#include "offload_index.h"
#include "read_fully.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A safetensors file that entries point into. */
struct pointed {
    const char *name; /* as the index has it */
    struct checkpoint *checkpoint;
    size_t file; /* in the builder */
};

struct reader {
    const struct checkpoint_index *index;
    int folder; /* the index lies in it */
    struct checkpoint_builder *builder;
    struct offload_index entries;
    struct pointed *pointed; /* in strcmp() order of the names */
    size_t pointed_count;
    struct input_error *error;
};

/* Without O_NONBLOCK a FIFO would be waited for; a regular file does not know the flag. */
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

/* Open a file of the folder, which a link may lead to as long as it stays inside. Kernels
 * before 5.6 cannot promise that: there no link is followed.
 */
static int open_inside(int folder, const char *name)
{
    struct open_how how = {.flags = OPEN_FLAGS, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd;

    do
        fd = (int)syscall(SYS_openat2, folder, name, &how, sizeof(how));
    while (fd < 0 && (errno == EINTR || errno == EAGAIN));
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        fd = openat(folder, name, OPEN_FLAGS | O_NOFOLLOW);
    return fd;
}

static int refuse_open(struct reader *r, int number)
{
    if (number != EXDEV && number != ELOOP)
        return read_refuse_system(r->error, number);
    return input_error_set(r->error, -EINVAL, INPUT_ERROR_NO_OFFSET, "a file inside the folder",
                           "a link that leads out of it");
}

static int refuse_memory(struct reader *r)
{
    return input_error_set(r->error, -ENOMEM, INPUT_ERROR_NO_OFFSET,
                           "memory for the table of tensors", "none left");
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

bool offload_folder_identify(const struct checkpoint_index *index)
{
    const cJSON *first = index->root->child;

    return strcmp(base_name(index->path), OFFLOAD_INDEX_FILE) == 0 ||
           cJSON_GetObjectItemCaseSensitive(first, "dtype") ||
           cJSON_GetObjectItemCaseSensitive(first, "safetensors_file");
}

bool offload_folder_names(const struct checkpoint_index *index, const char *file)
{
    const cJSON *entry;

    cJSON_ArrayForEach(entry, index->root)
    {
        const cJSON *pointer = cJSON_GetObjectItemCaseSensitive(entry, "safetensors_file");

        if (cJSON_IsString(pointer) && strcmp(base_name(pointer->valuestring), file) == 0)
            return true;
    }
    return false;
}

/* What entries point into ------------------------------------------------------------------------
 */

/* Find the file that a pointer names. accelerate takes a relative path from the working directory;
 * a folder that travels with its checkpoint has it from the folder. Where the two differ nobody
 * can tell which is meant.
 *
 * path     set to what the file is called from here on
 * owner    the caller frees *path
 */
static int find_pointed(struct reader *r, const char *name, char **path)
{
    struct stat here, there;
    bool is_here = stat(name, &here) == 0;
    bool is_there = name[0] != '/' && fstatat(r->folder, name, &there, 0) == 0;

    if (is_here && is_there && (here.st_dev != there.st_dev || here.st_ino != there.st_ino))
        return input_error_set(r->error, -EINVAL, INPUT_ERROR_NO_OFFSET,
                               "a path that is clear: an absolute one",
                               "one file there from the working directory and another from the "
                               "folder");
    *path = is_there && !is_here ? checkpoint_index_join(r->index, name) : strdup(name);
    return *path ? 0 : refuse_memory(r);
}

/* Read the header of a file that entries point into, and add the file to the builder. */
static int read_pointed(struct reader *r, struct pointed *pointed, const char *path)
{
    struct checkpoint_builder builder;
    const struct checkpoint_file *file;
    struct stat status = {0};
    int res;

    if (checkpoint_builder_begin(&builder, CHECKPOINT_SAFETENSORS))
        return refuse_memory(r);
    res =
        checkpoint_builder_read_file(&builder, path, path, CHECKPOINT_SAFETENSORS, NULL, r->error);
    if (res) {
        checkpoint_builder_abandon(&builder);
        return res;
    }
    res = checkpoint_builder_finish(&builder, &pointed->checkpoint, r->error);
    if (res)
        return res;

    file = &pointed->checkpoint->files[0];
    status.st_dev = file->device;
    status.st_ino = file->inode;
    status.st_size = (off_t)file->bytes;
    status.st_mtim.tv_sec = file->mtime_ns / 1000000000;
    status.st_mtim.tv_nsec = file->mtime_ns % 1000000000;
    if (checkpoint_builder_add_file(r->builder, path, &status, &pointed->file))
        return refuse_memory(r);
    r->builder->checkpoint->files[pointed->file].data_offset = file->data_offset;
    return 0;
}

static int open_pointed(struct reader *r, struct pointed *pointed)
{
    char *path = NULL;
    int res;

    input_error_set_file(r->error, pointed->name);
    res = find_pointed(r, pointed->name, &path);
    if (res == 0)
        res = read_pointed(r, pointed, path);
    free(path);
    return res;
}

static int compare_pointed(const void *a, const void *b)
{
    return strcmp(((const struct pointed *)a)->name, ((const struct pointed *)b)->name);
}

/* List the files that entries point into, each once, and read their headers. */
static int read_all_pointed(struct reader *r)
{
    size_t i, count = 0, kept = 0;
    int res = 0;

    for (i = 0; i < r->entries.count; i++)
        count += r->entries.entries[i].safetensors_file != NULL;
    r->pointed = calloc(count ? count : 1, sizeof(*r->pointed));
    if (!r->pointed)
        return refuse_memory(r);
    for (i = count = 0; i < r->entries.count; i++) {
        if (r->entries.entries[i].safetensors_file)
            r->pointed[count++].name = r->entries.entries[i].safetensors_file;
    }
    qsort(r->pointed, count, sizeof(*r->pointed), compare_pointed);
    for (i = 0; i < count; i++) {
        if (kept == 0 || strcmp(r->pointed[kept - 1].name, r->pointed[i].name) != 0)
            r->pointed[kept++] = r->pointed[i];
    }
    if (kept > OFFLOAD_POINTED_MAX)
        return input_error_set(r->error, -EINVAL, INPUT_ERROR_NO_OFFSET,
                               "at most 10000 safetensors files", "%zu", kept);
    for (r->pointed_count = 0; r->pointed_count < kept && res == 0; r->pointed_count++)
        res = open_pointed(r, &r->pointed[r->pointed_count]);
    return res;
}

/* Entries ----------------------------------------------------------------------------------------
 */

/* An entry and the tensor that it points to must not contradict each other: accelerate would
 * convert the one to the other's type, which is no reading.
 */
static int check_pointer(struct reader *r, const struct offload_entry *entry,
                         const struct tensor *tensor)
{
    const char *name = offload_dtype_name(entry->dtype, OFFLOAD_IN_SAFETENSORS);

    if (entry->dtype != DTYPE_COUNT && entry->dtype != (enum dtype)tensor->dtype)
        return input_error_set(r->error, -EINVAL, INPUT_ERROR_NO_OFFSET,
                               "the dtype that the index says", "%s instead of %s",
                               dtype_name((enum dtype)tensor->dtype), name);
    if (!entry->shape || entry->dtype == DTYPE_F4)
        return 0;
    if (entry->rank != tensor->rank ||
        memcmp(entry->shape, tensor->shape, entry->rank * sizeof(*entry->shape)) != 0)
        return input_error_set(r->error, -EINVAL, INPUT_ERROR_NO_OFFSET,
                               "the shape that the index says", "another");
    return 0;
}

static int add_pointer(struct reader *r, const struct offload_entry *entry)
{
    const struct pointed key = {.name = entry->safetensors_file};
    const struct pointed *pointed =
        bsearch(&key, r->pointed, r->pointed_count, sizeof(key), compare_pointed);
    struct tensor tensor;
    size_t index;
    int res;

    input_error_set_file(r->error, r->builder->checkpoint->files[pointed->file].path);
    index = checkpoint_find_name(pointed->checkpoint, entry->weight_name);
    if (index == CHECKPOINT_NONE)
        return input_error_set(r->error, -EINVAL, INPUT_ERROR_NO_OFFSET,
                               "the tensor that the index points to", "no \"%s\"",
                               entry->weight_name);
    tensor = pointed->checkpoint->tensors[index];
    res = check_pointer(r, entry, &tensor);
    if (res)
        return res;
    tensor.name = entry->name;
    tensor.name_bytes = (uint32_t)strlen(entry->name);
    tensor.file = (uint32_t)pointed->file;
    tensor.storage = STORAGE_OWN;
    return checkpoint_builder_add_tensor(r->builder, &tensor) ? refuse_memory(r) : 0;
}

/* Is the file of a weight what the index says? That of a tensor without elements may hold one byte:
 * an empty one cannot be mapped, so accelerate writes that.
 */
static int check_data(struct reader *r, const struct offload_entry *entry,
                      const struct stat *status)
{
    uint64_t bytes = (uint64_t)status->st_size;

    if (!S_ISREG(status->st_mode))
        return input_error_set(r->error, -EINVAL, INPUT_ERROR_NO_OFFSET, "a weight's file",
                               "no regular file");
    if (bytes != entry->bytes && !(entry->bytes == 0 && bytes == 1)) {
        char expected[96];

        snprintf(expected, sizeof(expected), "%" PRIu64 " bytes of %s, as the index says",
                 entry->bytes, offload_dtype_name(entry->dtype, OFFLOAD_IN_DATA));
        return input_error_set(r->error, -EINVAL, INPUT_ERROR_NO_OFFSET, expected, "%" PRIu64,
                               bytes);
    }
    return 0;
}

/* Add a weight whose file is open. */
static int add_open_data(struct reader *r, const struct offload_entry *entry, int fd,
                         const char *path)
{
    struct tensor tensor = {.name = entry->name,
                            .name_bytes = (uint32_t)strlen(entry->name),
                            .shape = entry->shape,
                            .bytes = entry->bytes,
                            .storage = STORAGE_OWN,
                            .rank = (uint16_t)entry->rank,
                            .dtype = (uint16_t)entry->dtype};
    struct stat status;
    size_t file;
    int res;

    if (fstat(fd, &status) < 0)
        return read_refuse_system(r->error, errno);
    res = check_data(r, entry, &status);
    if (res)
        return res;
    if (checkpoint_builder_add_file(r->builder, path, &status, &file))
        return refuse_memory(r);
    tensor.file = (uint32_t)file;
    return checkpoint_builder_add_tensor(r->builder, &tensor) ? refuse_memory(r) : 0;
}

static int add_data(struct reader *r, const struct offload_entry *entry)
{
    char name[NAME_MAX + 1];
    char *path;
    int fd, res;

    snprintf(name, sizeof(name), "%s%s", entry->name, OFFLOAD_DATA_SUFFIX);
    path = checkpoint_index_join(r->index, name);
    if (!path)
        return refuse_memory(r);
    input_error_set_file(r->error, path);
    fd = open_inside(r->folder, name);
    res = fd < 0 ? refuse_open(r, errno) : add_open_data(r, entry, fd, path);
    if (fd >= 0)
        close(fd);
    free(path);
    return res;
}

static int add_entries(struct reader *r)
{
    size_t i;
    int res = 0;

    for (i = 0; i < r->entries.count && res == 0; i++) {
        const struct offload_entry *entry = &r->entries.entries[i];

        input_error_set_field(r->error, entry->name, strlen(entry->name));
        res = entry->safetensors_file ? add_pointer(r, entry) : add_data(r, entry);
    }
    return res;
}

static void release(struct reader *r)
{
    size_t i;

    for (i = 0; i < r->pointed_count; i++)
        checkpoint_close(r->pointed[i].checkpoint);
    free(r->pointed);
    offload_index_release(&r->entries);
}

/* Read everything that the index names into a builder. */
static int read_folder(struct reader *r)
{
    int res = offload_index_read(r->index->text, r->index->text_bytes, r->index->root, &r->entries,
                                 r->error);

    if (res)
        return res;
    res = read_all_pointed(r);
    if (res == 0)
        res = add_entries(r);
    release(r);
    return res;
}

/* The folder that the index lies in.
 *
 * returns  a descriptor, or -1 and errno
 */
static int open_folder(const struct checkpoint_index *index)
{
    char *path = checkpoint_index_join(index, ".");
    int fd, number;

    if (!path) {
        errno = ENOMEM;
        return -1;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    number = errno;
    free(path);
    errno = number;
    return fd;
}

int offload_folder_open(const struct checkpoint_index *index, struct checkpoint **out,
                        struct input_error *error)
{
    struct checkpoint_builder builder;
    struct reader r = {.index = index, .builder = &builder, .error = error};
    int res;

    r.folder = open_folder(index);
    if (r.folder < 0)
        return read_refuse_system(error, errno);
    res = checkpoint_builder_begin(&builder, CHECKPOINT_OFFLOAD);
    res = res ? refuse_memory(&r) : read_folder(&r);
    close(r.folder);
    if (res) {
        checkpoint_builder_abandon(&builder);
        return res;
    }
    input_error_set_file(error, index->path);
    error->field[0] = '\0';
    return checkpoint_builder_finish(&builder, out, error);
}
