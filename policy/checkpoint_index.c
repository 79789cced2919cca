#include "checkpoint_index.h"
#include "json.h"
#include "offload_folder.h"
#include "read_fully.h"
#include "sharded_index.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int refuse_memory(struct input_error *error)
{
    return input_error_set(error, -ENOMEM, INPUT_ERROR_NO_OFFSET, "memory for the index",
                           "none left");
}

/* Read a whole file; its length is checked first. */
static int load_text(int fd, struct checkpoint_index *index, struct input_error *error)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return read_refuse_system(error, errno);
    if (!S_ISREG(status.st_mode))
        return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, "an index file",
                               "no regular file");
    if (status.st_size > JSON_BYTES_MAX)
        return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET,
                               "at most 100000000 bytes of JSON", "%lld",
                               (long long)status.st_size);
    index->text_bytes = (size_t)status.st_size;
    index->text = malloc(index->text_bytes ? index->text_bytes : 1);
    if (!index->text)
        return refuse_memory(error);
    return read_fully(fd, index->text, index->text_bytes, 0, error);
}

int checkpoint_index_load(struct checkpoint_index *index, const char *path,
                          struct input_error *error)
{
    char text[160];
    int fd, res;

    memset(index, 0, sizeof(*index));
    input_error_clear(error);
    input_error_set_file(error, path);
    index->path = strdup(path);
    if (!index->path)
        return refuse_memory(error);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return read_refuse_system(error, errno);
    res = load_text(fd, index, error);
    close(fd);
    if (res == 0)
        res = json_parse(index->text, index->text_bytes, 0, &index->root, error);
    if (res == 0 && !cJSON_IsObject(index->root))
        res = checkpoint_index_refuse(index, index->root, error, "an index: an object", "%s",
                                      json_describe(index->root, text, sizeof(text)));
    return res;
}

void checkpoint_index_free(struct checkpoint_index *index)
{
    cJSON_Delete(index->root);
    free(index->text);
    free(index->path);
    memset(index, 0, sizeof(*index));
}

int checkpoint_index_open(const struct checkpoint_index *index, struct checkpoint **out,
                          struct input_error *error)
{
    if (sharded_index_identify(index->root))
        return sharded_index_open(index, out, error);
    if (offload_folder_identify(index))
        return offload_folder_open(index, out, error);
    return checkpoint_index_refuse(index, index->root, error,
                                   "the index of a checkpoint, which has a weight_map, or of an "
                                   "offload folder",
                                   "another JSON object");
}

char *checkpoint_index_join(const struct checkpoint_index *index, const char *name)
{
    const char *slash = strrchr(index->path, '/');
    char *path;

    if (asprintf(&path, "%.*s%s", slash ? (int)(slash + 1 - index->path) : 0, index->path, name) <
        0)
        return NULL;
    return path;
}

int checkpoint_index_refuse(const struct checkpoint_index *index, const cJSON *item,
                            struct input_error *error, const char *expected, const char *format,
                            ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, expected, "%s", text);
    json_locate(index->text, index->text_bytes, index->root, item, error);
    return -EINVAL;
}
