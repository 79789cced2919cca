/* checkpoint_open.c - from a path to a checkpoint: what the file is, and which reader takes it. */
#include "checkpoint.h"
#include "checkpoint_build.h"
#include "safetensors.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name;
    struct checkpoint_reader reader;
} g_formats[CHECKPOINT_FORMAT_COUNT] = {
    [CHECKPOINT_UNKNOWN] = {.name = "unknown"},
#define X(id, name, identify, read) [CHECKPOINT_##id] = {name, {identify, read}},
    CHECKPOINT_FORMATS(X)
#undef X
};

enum checkpoint_format checkpoint_identify(const void *head, size_t head_bytes, uint64_t file_bytes)
{
    size_t i;

    for (i = 0; i < CHECKPOINT_FORMAT_COUNT; i++) {
        if (g_formats[i].reader.identify &&
            g_formats[i].reader.identify(head, head_bytes, file_bytes))
            return (enum checkpoint_format)i;
    }
    return CHECKPOINT_UNKNOWN;
}

const char *checkpoint_format_name(enum checkpoint_format format)
{
    return g_formats[(unsigned)format < CHECKPOINT_FORMAT_COUNT ? format : 0].name;
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
    enum checkpoint_format format;
    char head[CHECKPOINT_HEAD_BYTES];
    const char *stranger;
    ssize_t bytes;

    do
        bytes = pread(fd, head, sizeof(head), 0);
    while (bytes < 0 && errno == EINTR);
    if (bytes < 0)
        return refuse_system(error, errno);

    format = checkpoint_identify(head, (size_t)bytes, file_bytes);
    if (format != CHECKPOINT_UNKNOWN) {
        builder->checkpoint->format = format;
        return g_formats[format].reader.read(fd, file_bytes, builder, file, error);
    }
    stranger = describe_stranger(head, (size_t)bytes);
    if (stranger)
        return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, "a safetensors file", "%s",
                               stranger);
    /* Of the formats this one has no magic number, so its reader knows best what is wrong. */
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

    res = checkpoint_builder_begin(&builder, CHECKPOINT_UNKNOWN);
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

