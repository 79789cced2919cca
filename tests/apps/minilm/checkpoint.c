/* checkpoint.c - see checkpoint.h. */
#include "checkpoint.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "message.h"

#define LENGTH_BYTES 8

static void map_file(const char *path, struct checkpoint *out)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &status) != 0)
        die("%s: %s", path, strerror(errno));
    if (status.st_size < LENGTH_BYTES)
        die("%s: not a safetensors file: %lld bytes", path, (long long)status.st_size);
    out->map_bytes = (size_t)status.st_size;
    out->map = mmap(NULL, out->map_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (out->map == MAP_FAILED)
        die("%s: mmap: %s", path, strerror(errno));
    out->fd = fd;
}

static void read_tensor(const char *path, const cJSON *entry, const char *data, size_t data_bytes,
                        struct tensor *out)
{
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(entry, "dtype");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(entry, "shape");
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
    const cJSON *first = cJSON_GetArrayItem(offsets, 0), *end = cJSON_GetArrayItem(offsets, 1);
    const cJSON *extent;

    if (!cJSON_IsString(dtype) || !cJSON_IsArray(shape) || !cJSON_IsNumber(first) ||
        !cJSON_IsNumber(end) || first->valuedouble < 0 || end->valuedouble < first->valuedouble ||
        end->valuedouble > (double)data_bytes)
        die("%s: tensor %s: bad entry in the header", path, entry->string);
    out->rank = 0;
    cJSON_ArrayForEach(extent, shape)
    {
        if (out->rank == TENSOR_RANK_MAX)
            die("%s: tensor %s: more than %d dimensions", path, entry->string, TENSOR_RANK_MAX);
        if (!cJSON_IsNumber(extent) || extent->valuedouble < 0 || extent->valuedouble > 1e15)
            die("%s: tensor %s: bad shape in the header", path, entry->string);
        out->shape[out->rank++] = (size_t)extent->valuedouble;
    }
    out->name = strdup(entry->string);
    out->dtype = strdup(dtype->valuestring);
    if (!out->name || !out->dtype)
        die("out of memory");
    out->data = data + (size_t)first->valuedouble;
    out->bytes = (size_t)(end->valuedouble - first->valuedouble);
}

void checkpoint_open(const char *path, struct checkpoint *out)
{
    uint64_t header_bytes;
    const char *header, *data;
    cJSON *root;
    const cJSON *entry;

    map_file(path, out);
    memcpy(&header_bytes, out->map, LENGTH_BYTES);
    if (header_bytes > out->map_bytes - LENGTH_BYTES)
        die("%s: not a safetensors file: the header is longer than the file", path);
    header = (const char *)out->map + LENGTH_BYTES;
    data = header + header_bytes;
    root = cJSON_ParseWithLength(header, header_bytes);
    if (!cJSON_IsObject(root))
        die("%s: not a safetensors file: the header is not JSON", path);

    out->tensors = allocate((size_t)cJSON_GetArraySize(root) * sizeof(out->tensors[0]));
    out->count = 0;
    out->data_bytes = 0;
    cJSON_ArrayForEach(entry, root)
    {
        if (strcmp(entry->string, "__metadata__") == 0)
            continue;
        read_tensor(path, entry, data, out->map_bytes - LENGTH_BYTES - header_bytes,
                    &out->tensors[out->count]);
        out->data_bytes += out->tensors[out->count++].bytes;
    }
    cJSON_Delete(root);
}

void checkpoint_close(struct checkpoint *checkpoint)
{
    for (size_t i = 0; i < checkpoint->count; i++) {
        free(checkpoint->tensors[i].name);
        free(checkpoint->tensors[i].dtype);
    }
    free(checkpoint->tensors);
    munmap(checkpoint->map, checkpoint->map_bytes);
    close(checkpoint->fd);
}

void checkpoint_read(const struct checkpoint *checkpoint, const struct tensor *tensor, void *out)
{
    off_t offset = (const char *)tensor->data - (const char *)checkpoint->map;

    if (pread(checkpoint->fd, out, tensor->bytes, offset) != (ssize_t)tensor->bytes)
        die("tensor %s: cannot be read", tensor->name);
}
