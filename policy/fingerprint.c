#include "fingerprint.h"
#include "xxh3.h"
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define LINE_BYTES  FINGERPRINT_HEAD_BYTES
#define LINES_LEAST 3u
#define WORD_BYTES  8u

static size_t line_count(uint64_t bytes)
{
    uint64_t lines = LINES_LEAST + (bytes >> 22);

    return lines < FINGERPRINT_LINES_MAX ? (size_t)lines : FINGERPRINT_LINES_MAX;
}

/* Where a line begins: words of the run stay together, so that a repeated one is seen as such. */
static uint64_t line_offset(uint64_t bytes, size_t line, size_t lines)
{
    uint64_t last = bytes - LINE_BYTES;

    if (line == lines - 1)
        return last;
    return last / (lines - 1) * line / WORD_BYTES * WORD_BYTES;
}

/* Is it one word, again and again? */
static int is_repeated(const unsigned char *bytes, size_t count)
{
    return count < 2 * WORD_BYTES || !memcmp(bytes, bytes + WORD_BYTES, count - WORD_BYTES);
}

void fingerprint_begin(const void *run, uint64_t bytes, struct fingerprint *out)
{
    size_t head_bytes = bytes < LINE_BYTES ? (size_t)bytes : LINE_BYTES;

    *out = (struct fingerprint){.bytes = bytes};
    out->head = XXH3_64bits(run, head_bytes);
    out->head_weak = is_repeated(run, head_bytes);
    if (head_bytes >= WORD_BYTES)
        memcpy(&out->word, run, WORD_BYTES);
}

/* The head was all, or what is to be looked at is a whole. */
static void finish_whole(const void *run, struct fingerprint *print)
{
    print->sample = xxh3_take(run, (size_t)print->bytes);
    print->weak = is_repeated(run, (size_t)print->bytes);
}

static void begin_lines(struct fingerprint *print)
{
    print->sample = print->head;
    print->weak = print->head_weak;
}

static void add_line(const unsigned char *line, struct fingerprint *print)
{
    print->sample = XXH3_64bits_withSeed(line, LINE_BYTES, print->sample);
    print->weak =
        print->weak && is_repeated(line, LINE_BYTES) && !memcmp(line, &print->word, WORD_BYTES);
}

void fingerprint_finish(const void *run, struct fingerprint *print)
{
    size_t lines = line_count(print->bytes);

    if (print->bytes <= FINGERPRINT_WHOLE_BYTES) {
        finish_whole(run, print);
        return;
    }
    begin_lines(print);
    for (size_t i = 1; i < lines; i++)
        add_line((const unsigned char *)run + line_offset(print->bytes, i, lines), print);
}

int fingerprint_read_head(fingerprint_read_fn *read, void *arg, uint64_t offset, uint64_t bytes,
                          struct fingerprint *out)
{
    unsigned char head[LINE_BYTES];
    int err = read(arg, offset, head, bytes < LINE_BYTES ? (size_t)bytes : LINE_BYTES);

    if (!err)
        fingerprint_begin(head, bytes, out);
    return err;
}

int fingerprint_read_on(fingerprint_read_fn *read, void *arg, uint64_t offset,
                        struct fingerprint *print, struct fingerprint *next)
{
    unsigned char buffer[2 * LINE_BYTES];
    size_t lines = line_count(print->bytes);
    int err = 0;

    begin_lines(print);
    for (size_t i = 1; i < lines && !err; i++) {
        size_t read_bytes = next && i == lines - 1 ? 2 * LINE_BYTES : LINE_BYTES;

        err = read(arg, offset + line_offset(print->bytes, i, lines), buffer, read_bytes);
        if (!err)
            add_line(buffer, print);
    }
    if (!err && next)
        fingerprint_begin(buffer + LINE_BYTES, LINE_BYTES, next);
    return err;
}

int fingerprint_read_rest(fingerprint_read_fn *read, void *arg, uint64_t offset,
                          struct fingerprint *print)
{
    unsigned char buffer[FINGERPRINT_WHOLE_BYTES];
    int err;

    if (print->bytes > FINGERPRINT_WHOLE_BYTES)
        return fingerprint_read_on(read, arg, offset, print, NULL);
    err = read(arg, offset, buffer, (size_t)print->bytes);
    if (!err)
        finish_whole(buffer, print);
    return err;
}

void fingerprint_take(const void *run, uint64_t bytes, struct fingerprint *out)
{
    fingerprint_begin(run, bytes, out);
    fingerprint_finish(run, out);
}

int fingerprint_read(fingerprint_read_fn *read, void *arg, uint64_t offset, uint64_t bytes,
                     struct fingerprint *out)
{
    unsigned char buffer[FINGERPRINT_WHOLE_BYTES];
    int err;

    if (bytes > FINGERPRINT_WHOLE_BYTES) {
        err = fingerprint_read_head(read, arg, offset, bytes, out);
        return err ? err : fingerprint_read_rest(read, arg, offset, out);
    }
    err = read(arg, offset, buffer, (size_t)bytes);
    if (!err)
        fingerprint_take(buffer, bytes, out);
    return err;
}

int fingerprint_equal(const struct fingerprint *a, const struct fingerprint *b)
{
    return a->bytes == b->bytes && a->head == b->head && a->sample == b->sample;
}
