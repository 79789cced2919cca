#include "checkpoint.h"
#include "checkpoint_build.h"
#include "safetensors.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_BYTES 16

enum checkpoint_format checkpoint_identify(const void *head, size_t head_bytes, uint64_t file_bytes)
{
    if (safetensors_identify(head, head_bytes, file_bytes))
        return CHECKPOINT_SAFETENSORS;
    return CHECKPOINT_UNKNOWN;
}

const char *checkpoint_format_name(enum checkpoint_format format)
{
    return format == CHECKPOINT_SAFETENSORS ? "safetensors" : "unknown";
}

/* Say what a file is that people take for a checkpoint of a kind that is read here.
 *
 * returns  a word for it; NULL for a file that gives no hint
 */
static const char *describe_stranger(const char *head, size_t bytes)
{
    if (bytes == 0)
        return "an empty file";
    if (bytes >= 4 && memcmp(head, "GGUF", 4) == 0)
        return "a GGUF file";
    if (bytes >= 4 && memcmp(head, "PK\003\004", 4) == 0)
        return "a zip archive, as PyTorch writes them";
    if (bytes >= 4 && memcmp(head, "\177ELF", 4) == 0)
        return "an ELF program or library";
    if (head[0] == '{')
        return "JSON text";
    return NULL;
}

static int refuse_system(struct input_error *error, int number)
{
    return input_error_set(error, -number, INPUT_ERROR_NO_OFFSET, "a readable checkpoint file",
                           "\"%s\"", strerrordesc_np(number));
}

/* Read the tensors of one file into a builder that has the file already. */
static int read_tensors(int fd, uint64_t file_bytes, struct checkpoint_builder *builder,
                        size_t file, struct input_error *error)
{
    char head[HEAD_BYTES];
    const char *stranger;
    ssize_t bytes;

    do
        bytes = pread(fd, head, sizeof(head), 0);
    while (bytes < 0 && errno == EINTR);
    if (bytes < 0)
        return refuse_system(error, errno);

    stranger = describe_stranger(head, (size_t)bytes);
    if (checkpoint_identify(head, (size_t)bytes, file_bytes) == CHECKPOINT_UNKNOWN && stranger)
        return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, "a safetensors file", "%s",
                               stranger);
    return safetensors_read(fd, file_bytes, builder, file, error);
}

int checkpoint_open_fd(int fd, const char *path, struct checkpoint **out, struct input_error *error)
{
    struct checkpoint_builder builder;
    struct stat status;
    size_t file;
    int res;

    input_error_clear(error);
    input_error_set_file(error, path);
    if (fstat(fd, &status) < 0)
        return refuse_system(error, errno);
    if (!S_ISREG(status.st_mode))
        return input_error_set(error, S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL,
                               INPUT_ERROR_NO_OFFSET, "a checkpoint file such as model.safetensors",
                               "%s", S_ISDIR(status.st_mode) ? "a folder" : "no regular file");

    res = checkpoint_builder_begin(&builder, CHECKPOINT_SAFETENSORS);
    if (res)
        goto err_memory;
    res = checkpoint_builder_add_file(&builder, path, &status, &file);
    if (res) {
        checkpoint_builder_abandon(&builder);
        goto err_memory;
    }
    res = read_tensors(fd, (uint64_t)status.st_size, &builder, file, error);
    if (res) {
        checkpoint_builder_abandon(&builder);
        return res;
    }
    return checkpoint_builder_finish(&builder, out, error);

err_memory:
    return input_error_set(error, res, INPUT_ERROR_NO_OFFSET, "memory for the table of tensors",
                           "none left");
}

int checkpoint_open(const char *path, struct checkpoint **out, struct input_error *error)
{
    /* Without O_NONBLOCK a FIFO would be waited for; a regular file does not know the flag. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    int res;

    if (fd < 0) {
        res = errno;
        input_error_clear(error);
        input_error_set_file(error, path);
        return refuse_system(error, res);
    }
    res = checkpoint_open_fd(fd, path, out, error);
    close(fd);
    return res;
}

size_t checkpoint_find_name(const struct checkpoint *checkpoint, const char *name)
{
    size_t first = 0, end = checkpoint->tensor_count;

    while (first < end) {
        size_t middle = first + (end - first) / 2;
        uint32_t index = checkpoint->by_name[middle];
        int order = strcmp(checkpoint->tensors[index].name, name);

        if (order == 0)
            return index;
        if (order < 0)
            first = middle + 1;
        else
            end = middle;
    }
    return CHECKPOINT_NONE;
}

static const struct tensor *located(const struct checkpoint *checkpoint, size_t rank)
{
    return &checkpoint->tensors[checkpoint->by_location[rank]];
}

static int same_range(const struct tensor *a, const struct tensor *b)
{
    return a->file == b->file && a->offset == b->offset && a->bytes == b->bytes;
}

/* How many tensors in the order of by_location begin at or before a byte. */
static size_t count_begun(const struct checkpoint *checkpoint, size_t file, uint64_t offset)
{
    size_t first = 0, end = checkpoint->located_count;

    while (first < end) {
        size_t middle = first + (end - first) / 2;
        const struct tensor *t = located(checkpoint, middle);

        if (t->file < file || (t->file == file && t->offset <= offset))
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

size_t checkpoint_find_offset(const struct checkpoint *checkpoint, size_t file, uint64_t offset)
{
    size_t rank = count_begun(checkpoint, file, offset);

    while (rank-- > 0) {
        const struct tensor *t = located(checkpoint, rank);

        if (t->file != file)
            break;
        if (offset - t->offset < t->bytes) {
            while (rank > 0 && same_range(located(checkpoint, rank - 1), t))
                rank--;
            return checkpoint->by_location[rank];
        }
        if (!checkpoint->has_views)
            break;
    }
    return CHECKPOINT_NONE;
}

size_t checkpoint_by_location(const struct checkpoint *checkpoint, size_t rank)
{
    return rank < checkpoint->located_count ? checkpoint->by_location[rank] : CHECKPOINT_NONE;
}

size_t checkpoint_find_file(const struct checkpoint *checkpoint, dev_t device, ino_t inode)
{
    size_t i;

    for (i = 0; i < checkpoint->file_count; i++) {
        if (checkpoint->files[i].device == device && checkpoint->files[i].inode == inode)
            return i;
    }
    return CHECKPOINT_NONE;
}

int checkpoint_file_compare(const struct checkpoint_file *file, const struct stat *status)
{
    int64_t mtime_ns = (int64_t)status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec;

    if (file->device != status->st_dev || file->inode != status->st_ino ||
        file->bytes != (uint64_t)status->st_size || file->mtime_ns != mtime_ns)
        return -ESTALE;
    return 0;
}

size_t checkpoint_next_tied(const struct checkpoint *checkpoint, size_t *cursor,
                            const uint32_t **members)
{
    while (*cursor < checkpoint->located_count) {
        size_t first = *cursor, end = first + 1;

        while (end < checkpoint->located_count &&
               same_range(located(checkpoint, first), located(checkpoint, end)))
            end++;
        *cursor = end;
        if (end - first > 1) {
            *members = &checkpoint->by_location[first];
            return end - first;
        }
    }
    return 0;
}
