#include "read_fully.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

int read_fully(int fd, void *to, size_t bytes, uint64_t offset, struct input_error *error)
{
    size_t done = 0;

    while (done < bytes) {
        ssize_t got = pread(fd, (char *)to + done, bytes - done, (off_t)(offset + done));

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

int read_refuse_system(struct input_error *error, int number)
{
    return input_error_set(error, -number, INPUT_ERROR_NO_OFFSET, "a readable checkpoint file",
                           "\"%s\"", strerrordesc_np(number));
}
