#include "byte_source.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

static int refuse_end(const struct byte_source *source, struct input_error *error)
{
    return input_error_set(error, -EINVAL, source->bytes, "more bytes", "the end of the file");
}

static int read_file(const struct byte_source *source, char *to, size_t bytes, uint64_t offset,
                     struct input_error *error)
{
    size_t done = 0;

    while (done < bytes) {
        ssize_t got = pread(source->fd, to + done, bytes - done, (off_t)(offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            int number = errno;

            return input_error_set(error, -number, offset + done, "a readable file", "\"%s\"",
                                   strerrordesc_np(number));
        }
        if (got == 0)
            return input_error_set(error, -EINVAL, offset + done, "more bytes",
                                   "the end of the file");
        done += (size_t)got;
    }
    return 0;
}

int byte_source_read(const struct byte_source *source, void *to, size_t bytes, uint64_t offset,
                     struct input_error *error)
{
    if (offset > source->bytes || bytes > source->bytes - offset)
        return refuse_end(source, error);
    if (source->memory) {
        memcpy(to, (const char *)source->memory + offset, bytes);
        return 0;
    }
    return read_file(source, to, bytes, offset, error);
}
