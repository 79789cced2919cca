/* checkpoint_open.c - from a path to a checkpoint: what the file is, and which reader takes it. */
#include "checkpoint.h"
#include "checkpoint_build.h"
#include "checkpoint_folder.h"
#include "checkpoint_index.h"
#include "gguf.h"
#include "pytorch.h"
#include "read_fully.h"
#include "safetensors.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name;
    struct checkpoint_reader reader;
} g_formats[CHECKPOINT_FORMAT_COUNT] = {[CHECKPOINT_UNKNOWN] = {.name = "unknown"},
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

/* Is all of it letters and what else a page of text has? What no safetensors file begins with: read
 * as the length of a header, eight of these are more than any has. */
static bool is_text(const char *head, size_t bytes)
{
    size_t i = 0;

    while (i < bytes && ((head[i] >= ' ' && head[i] <= '~') || memchr("\t\r\n", head[i], 3)))
        i++;
    return i == bytes && bytes >= 8;
}

/* Say what a file is that people take for a checkpoint of a kind that is read here.
 *
 * returns  a word for it; NULL for a file that gives no hint
 */
static const char *describe_stranger(const char *head, size_t bytes)
{
    if (bytes == 0)
        return "an empty file";
    if (bytes >= 4 && memcmp(head, "PK\003\004", 4) == 0)
        return "a zip archive, but none of PyTorch's";
    if (bytes >= 4 && memcmp(head, "\177ELF", 4) == 0)
        return "an ELF program or library";
    if (head[0] == '{')
        return "JSON text";
    if (bytes >= 20 && memcmp(head, "version https://git-", 20) == 0)
        return "the pointer that Git LFS leaves for one (git lfs pull fetches it)";
    return is_text(head, bytes) ? "text" : NULL;
}

/* "a checkpoint file (safetensors, ...)": what could have been read. */
static const char *describe_formats(char *text, size_t bytes)
{
    size_t used = (size_t)snprintf(text, bytes, "a checkpoint file");
    const char *before = " (";
    size_t i;

    for (i = 0; i < CHECKPOINT_FORMAT_COUNT; i++) {
        if (g_formats[i].reader.read) {
            used += (size_t)snprintf(text + used, bytes - used, "%s%s", before, g_formats[i].name);
            before = ", ";
        }
    }
    snprintf(text + used, bytes - used, ")");
    return text;
}

/* The first bytes of a file, as many as are looked at. returns how many, or -errno */
static ssize_t read_head(int fd, char head[CHECKPOINT_HEAD_BYTES])
{
    ssize_t bytes;

    do
        bytes = pread(fd, head, CHECKPOINT_HEAD_BYTES, 0);
    while (bytes < 0 && errno == EINTR);
    return bytes < 0 ? -errno : bytes;
}

/* Read the tensors of one file into a builder that has the file already.
 *
 * wanted   the format that it must have; CHECKPOINT_UNKNOWN for any
 */
static int read_tensors(int fd, uint64_t file_bytes, struct checkpoint_builder *builder,
                        size_t file, enum checkpoint_format wanted, struct input_error *error)
{
    char head[CHECKPOINT_HEAD_BYTES], expected[128];
    enum checkpoint_format format;
    const char *stranger;
    ssize_t bytes = read_head(fd, head);

    if (bytes < 0)
        return read_refuse_system(error, (int)-bytes);
    format = checkpoint_identify(head, (size_t)bytes, file_bytes);
    if (format != CHECKPOINT_UNKNOWN && wanted != CHECKPOINT_UNKNOWN && format != wanted) {
        snprintf(expected, sizeof(expected), "a %s file like the others",
                 checkpoint_format_name(wanted));
        return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, expected, "a %s file",
                               checkpoint_format_name(format));
    }
    if (format != CHECKPOINT_UNKNOWN) {
        builder->checkpoint->format = format;
        return g_formats[format].reader.read(fd, file_bytes, builder, file, error);
    }
    stranger = describe_stranger(head, (size_t)bytes);
    if (stranger)
        return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET,
                               describe_formats(expected, sizeof(expected)), "%s", stranger);
    /* The reader of the format that is wanted knows best what is wrong; else that of the one which
     * has no magic number. */
    return g_formats[wanted ? wanted : CHECKPOINT_SAFETENSORS].reader.read(fd, file_bytes, builder,
                                                                           file, error);
}

/* Add an open file and its tensors to a builder; the error has its name. */
static int read_file(int fd, const char *path, struct checkpoint_builder *builder,
                     enum checkpoint_format format, size_t *file, struct input_error *error)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return read_refuse_system(error, errno);
    if (!S_ISREG(status.st_mode))
        return input_error_set(error, S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL,
                               INPUT_ERROR_NO_OFFSET, "a checkpoint file such as model.safetensors",
                               "%s", S_ISDIR(status.st_mode) ? "a folder" : "no regular file");
    if (checkpoint_builder_add_file(builder, path, &status, file))
        return input_error_set(error, -ENOMEM, INPUT_ERROR_NO_OFFSET,
                               "memory for the table of tensors", "none left");
    return read_tensors(fd, (uint64_t)status.st_size, builder, *file, format, error);
}

/* Without O_NONBLOCK a FIFO would be waited for; a regular file does not know the flag. */
static int open_path(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

int checkpoint_builder_read_file(struct checkpoint_builder *builder, const char *path,
                                 const char *real, enum checkpoint_format format, size_t *file,
                                 struct input_error *error)
{
    struct input_error before = *error;
    bool with_parts = builder->with_parts;
    size_t ignored;
    int fd, res;

    input_error_clear(error);
    input_error_set_file(error, path);
    fd = open_path(real);
    if (fd < 0)
        return read_refuse_system(error, errno);
    builder->with_parts = false;
    res = read_file(fd, path, builder, format, file ? file : &ignored, error);
    builder->with_parts = with_parts;
    close(fd);
    if (res == 0)
        *error = before;
    return res;
}

/* Read one open file as a checkpoint. */
static int open_file(int fd, const char *path, bool with_parts, struct checkpoint **out,
                     struct input_error *error)
{
    struct checkpoint_builder builder;
    size_t file;
    int res;

    input_error_clear(error);
    input_error_set_file(error, path);
    res = checkpoint_builder_begin(&builder, CHECKPOINT_UNKNOWN);
    if (res)
        return input_error_set(error, res, INPUT_ERROR_NO_OFFSET, "memory for the table of tensors",
                               "none left");
    builder.with_parts = with_parts;
    res = read_file(fd, path, &builder, CHECKPOINT_UNKNOWN, &file, error);
    if (res) {
        checkpoint_builder_abandon(&builder);
        return res;
    }
    return checkpoint_builder_finish(&builder, out, error);
}

int checkpoint_open_fd(int fd, const char *path, struct checkpoint **out, struct input_error *error)
{
    return open_file(fd, path, false, out, error);
}

/* Read an index file and what it names. */
static int open_index(const char *path, struct checkpoint **out, struct input_error *error)
{
    struct checkpoint_index index;
    int res = checkpoint_index_load(&index, path, error);

    if (res == 0)
        res = checkpoint_index_open(&index, out, error);
    checkpoint_index_free(&index);
    return res;
}

/* Read the checkpoint of a folder. */
static int open_folder(const char *path, struct checkpoint **out, struct input_error *error)
{
    char *chosen;
    int res = checkpoint_folder_choose(path, &chosen, error);

    if (res == 0) {
        res = checkpoint_open(chosen, out, error);
        free(chosen);
    }
    return res;
}

/* Is a file JSON, and so at most an index? The length that a safetensors file begins with may read
 * as '{', or as blanks and '{'; no text has the zeros that follow it. */
static bool is_json(int fd, uint64_t file_bytes)
{
    char head[CHECKPOINT_HEAD_BYTES];
    ssize_t bytes = read_head(fd, head), i = 0;

    if (bytes > 0 && checkpoint_identify(head, (size_t)bytes, file_bytes) != CHECKPOINT_UNKNOWN)
        return false;
    while (i < bytes && memchr(" \t\r\n", head[i], 4))
        i++;
    return i < bytes && head[i] == '{';
}

int checkpoint_open(const char *path, struct checkpoint **out, struct input_error *error)
{
    int fd = open_path(path), number = errno, res;
    struct stat status;

    input_error_clear(error);
    input_error_set_file(error, path);
    if (fd < 0)
        return read_refuse_system(error, number);
    if (fstat(fd, &status) < 0)
        res = read_refuse_system(error, errno);
    else if (S_ISDIR(status.st_mode))
        res = open_folder(path, out, error);
    else if (S_ISREG(status.st_mode) && is_json(fd, (uint64_t)status.st_size))
        res = open_index(path, out, error);
    else
        res = open_file(fd, path, true, out, error);
    close(fd);
    return res;
}
