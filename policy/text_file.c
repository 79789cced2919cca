#include "text_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int read_whole(int fd, char *text, size_t bytes_max, size_t *bytes)
{
    *bytes = 0;
    while (*bytes < bytes_max) {
        ssize_t got = read(fd, text + *bytes, bytes_max - *bytes);

        if (got == 0)
            return 0;
        if (got > 0)
            *bytes += (size_t)got;
        else if (errno != EINTR)
            return -errno;
    }
    return -EFBIG;
}

int text_file_read(const char *path, int flags, size_t bytes_max, const char *what, char **text,
                   size_t *bytes, struct input_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | flags);
    int res = fd < 0 ? -errno : 0;
    char *read = NULL;

    if (!res) {
        read = malloc(bytes_max); /* pages that nothing is read into are never touched */
        res = read ? read_whole(fd, read, bytes_max, bytes) : -ENOMEM;
        close(fd);
    }
    if (!res) {
        *text = read;
        return 0;
    }
    free(read);
    input_error_clear(error);
    input_error_set_file(error, path);
    return input_error_set(error, res, INPUT_ERROR_NO_OFFSET, what, "\"%s\"",
                           strerrordesc_np(-res));
}
