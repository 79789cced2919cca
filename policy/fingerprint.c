#include "fingerprint.h"
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define LINES_LEAST 3u
#define WORD_BYTES  8u

_Static_assert(FINGERPRINT_LINES_MAX *FINGERPRINT_LINE_BYTES <= FINGERPRINT_WHOLE_BYTES,
               "a buffer for a whole run holds all lines of a longer one");

static size_t line_count(uint64_t bytes)
{
    uint64_t lines = LINES_LEAST + (bytes >> 20);

    return lines < FINGERPRINT_LINES_MAX ? (size_t)lines : FINGERPRINT_LINES_MAX;
}

/* Where a line begins: words of the run stay together, so that a repeated one is seen as such. */
static uint64_t line_offset(uint64_t bytes, size_t line, size_t lines)
{
    uint64_t last = bytes - FINGERPRINT_LINE_BYTES;

    if (line == lines - 1)
        return last;
    return last / (lines - 1) * line / WORD_BYTES * WORD_BYTES;
}

static int is_weak(const unsigned char *looked_at, size_t bytes)
{
    return bytes < 2 * WORD_BYTES || !memcmp(looked_at, looked_at + WORD_BYTES, bytes - WORD_BYTES);
}

static void finish(const unsigned char *looked_at, size_t looked_at_bytes, uint64_t bytes,
                   struct fingerprint *out)
{
    fingerprint_begin(looked_at, looked_at_bytes, out);
    out->bytes = bytes;
    out->sample = XXH3_64bits(looked_at, looked_at_bytes);
    out->weak = is_weak(looked_at, looked_at_bytes);
}

uint64_t fingerprint_head(const void *run, uint64_t bytes)
{
    return XXH3_64bits(run,
                       bytes < FINGERPRINT_HEAD_BYTES ? (size_t)bytes : FINGERPRINT_HEAD_BYTES);
}

void fingerprint_begin(const void *run, uint64_t bytes, struct fingerprint *out)
{
    size_t head_bytes = bytes < FINGERPRINT_HEAD_BYTES ? (size_t)bytes : FINGERPRINT_HEAD_BYTES;

    *out = (struct fingerprint){.bytes = bytes};
    out->head = fingerprint_head(run, head_bytes);
    out->head_weak = is_weak(run, head_bytes);
}

static int read_memory(void *arg, uint64_t offset, void *out, size_t bytes)
{
    memcpy(out, (const unsigned char *)arg + offset, bytes);
    return 0;
}

int fingerprint_read(fingerprint_read_fn *read, void *arg, uint64_t offset, uint64_t bytes,
                     struct fingerprint *out)
{
    unsigned char buffer[FINGERPRINT_WHOLE_BYTES];
    size_t lines = line_count(bytes), filled = 0;
    int err = 0;

    if (bytes <= FINGERPRINT_WHOLE_BYTES) {
        err = read(arg, offset, buffer, (size_t)bytes);
        filled = (size_t)bytes;
    }
    for (size_t i = 0; bytes > FINGERPRINT_WHOLE_BYTES && i < lines && !err; i++) {
        err = read(arg, offset + line_offset(bytes, i, lines), buffer + filled,
                   FINGERPRINT_LINE_BYTES);
        filled += FINGERPRINT_LINE_BYTES;
    }
    if (!err)
        finish(buffer, filled, bytes, out);
    return err;
}

void fingerprint_take(const void *run, uint64_t bytes, struct fingerprint *out)
{
    if (bytes <= FINGERPRINT_WHOLE_BYTES)
        finish(run, (size_t)bytes, bytes, out);
    else
        fingerprint_read(read_memory, (void *)(uintptr_t)run, 0, bytes, out);
}

int fingerprint_equal(const struct fingerprint *a, const struct fingerprint *b)
{
    return a->bytes == b->bytes && a->head == b->head && a->sample == b->sample;
}
