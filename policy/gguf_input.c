#include "gguf_input.h"
#include "read_fully.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void gguf_input_begin_memory(struct gguf_input *in, const void *head, size_t head_bytes,
                             uint64_t file_bytes, struct input_error *error)
{
    memset(in, 0, sizeof(*in));
    in->fd = -1;
    in->file_bytes = file_bytes;
    in->window = head;
    in->window_bytes = head_bytes;
    in->error = error;
}

int gguf_input_begin_file(struct gguf_input *in, int fd, uint64_t file_bytes,
                          struct input_error *error)
{
    memset(in, 0, sizeof(*in));
    in->fd = fd;
    in->file_bytes = file_bytes;
    in->error = error;
    in->buffer = malloc(GGUF_WINDOW_BYTES);
    if (!in->buffer)
        return input_error_set(error, -ENOMEM, INPUT_ERROR_NO_OFFSET, "memory for the header",
                               "none left");
    in->window = in->buffer;
    return 0;
}

void gguf_input_end(struct gguf_input *in)
{
    free(in->buffer);
    in->buffer = NULL;
    in->window = NULL;
    in->window_bytes = 0;
}

uint64_t gguf_input_left(const struct gguf_input *in)
{
    return in->file_bytes - in->at;
}

static int check_left(const struct gguf_input *in, uint64_t bytes)
{
    if (bytes <= gguf_input_left(in))
        return 0;
    return input_error_set(in->error, -EINVAL, in->at, "a GGUF header that ends inside the file",
                           "%" PRIu64 " bytes wanted where %" PRIu64 " are left", bytes,
                           gguf_input_left(in));
}

/* Move the window to the next byte and fill it. */
static int refill(struct gguf_input *in)
{
    uint64_t wanted = gguf_input_left(in);
    int res;

    if (wanted > GGUF_WINDOW_BYTES)
        wanted = GGUF_WINDOW_BYTES;
    in->window_bytes = 0;
    res = read_fully(in->fd, in->buffer, (size_t)wanted, in->at, in->error);
    if (res)
        return res;
    in->window_offset = in->at;
    in->window_bytes = (size_t)wanted;
    return 0;
}

/* Does the window hold the next bytes? The place may lie beyond it, after gguf_input_skip(). */
static int is_at_hand(const struct gguf_input *in, size_t bytes)
{
    uint64_t passed = in->at - in->window_offset;

    return passed <= in->window_bytes && bytes <= in->window_bytes - passed;
}

int gguf_input_take(struct gguf_input *in, size_t bytes, const unsigned char **out)
{
    int res = check_left(in, bytes);

    if (res == 0 && !is_at_hand(in, bytes)) {
        if (in->fd < 0)
            return input_error_set(in->error, -EINVAL, in->at, "the whole header",
                                   "the first %zu bytes of the file", in->window_bytes);
        res = refill(in);
    }
    if (res)
        return res;
    *out = in->window + (in->at - in->window_offset);
    in->at += bytes;
    return 0;
}

int gguf_input_skip(struct gguf_input *in, uint64_t bytes)
{
    int res = check_left(in, bytes);

    if (res == 0)
        in->at += bytes;
    return res;
}

uint64_t gguf_load(const unsigned char *from, size_t bytes)
{
    uint64_t value = 0;

    while (bytes-- > 0)
        value = value << 8 | from[bytes];
    return value;
}

int gguf_input_u32(struct gguf_input *in, uint32_t *out)
{
    const unsigned char *from;
    int res = gguf_input_take(in, 4, &from);

    if (res == 0)
        *out = (uint32_t)gguf_load(from, 4);
    return res;
}

int gguf_input_u64(struct gguf_input *in, uint64_t *out)
{
    const unsigned char *from;
    int res = gguf_input_take(in, 8, &from);

    if (res == 0)
        *out = gguf_load(from, 8);
    return res;
}
