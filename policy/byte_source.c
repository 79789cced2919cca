#include "byte_source.h"
#include "read_fully.h"
#include <errno.h>
#include <string.h>

int byte_source_read(const struct byte_source *source, void *to, size_t bytes, uint64_t offset,
                     struct input_error *error)
{
    if (offset > source->bytes || bytes > source->bytes - offset)
        return input_error_set(error, -EINVAL, source->bytes, "more bytes", "the end of the file");
    if (!source->memory)
        return read_fully(source->fd, to, bytes, offset, error);
    memcpy(to, (const char *)source->memory + offset, bytes);
    return 0;
}
