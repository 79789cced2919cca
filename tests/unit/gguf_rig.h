/* gguf_rig.h - read a file that a test put together, through memory and through a file. */
#ifndef BERTH_TEST_GGUF_RIG_H
#define BERTH_TEST_GGUF_RIG_H

#include "data.h"
#include "gguf.h"
#include "gguf_file.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct input_error g_error;
static char g_line[INPUT_ERROR_TEXT_BYTES];

static inline const char *line(void)
{
    return input_error_format(&g_error, g_line, sizeof(g_line));
}

static inline int parse(const void *head, size_t head_bytes, uint64_t file_bytes,
                        struct checkpoint **out)
{
    const struct stat status = {.st_size = (off_t)file_bytes};
    struct checkpoint_builder builder;
    size_t file;
    int res;

    *out = NULL;
    input_error_clear(&g_error);
    assert_int_equal(checkpoint_builder_begin(&builder, CHECKPOINT_GGUF), 0);
    assert_int_equal(checkpoint_builder_add_file(&builder, "x", &status, &file), 0);
    res = gguf_parse(head, head_bytes, file_bytes, &builder, file, &g_error);
    if (res) {
        checkpoint_builder_abandon(&builder);
        return res;
    }
    return checkpoint_builder_finish(&builder, out, &g_error);
}

static inline int parse_file(const void *content, size_t bytes, struct checkpoint **out)
{
    int fd = memfd_create("gguf", 0), res;

    *out = NULL;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, bytes), bytes);
    res = checkpoint_open_fd(fd, "x", out, &g_error);
    close(fd);
    g_error.file[0] = '\0';
    return res;
}

/* Read a file both ways, which must come to the same. The file is freed. */
static inline int read_both(struct gguf_file *f, struct checkpoint **out)
{
    unsigned char *exact = malloc(f->count ? f->count : 1);
    struct checkpoint *from_memory;
    char in_memory[INPUT_ERROR_TEXT_BYTES];
    int res;

    assert_non_null(exact);
    memcpy(exact, f->bytes, f->count);
    res = parse(exact, f->count, f->count, &from_memory);
    strcpy(in_memory, line());
    free(exact);
    assert_int_equal(parse_file(f->bytes, f->count, out), res);
    assert_string_equal(line(), in_memory);
    if (res == 0) {
        assert_int_equal(from_memory->tensor_count, (*out)->tensor_count);
        assert_int_equal(from_memory->metadata_count, (*out)->metadata_count);
        assert_int_equal(from_memory->total_bytes, (*out)->total_bytes);
    }
    checkpoint_close(from_memory);
    gguf_free(f);
    return res;
}

static inline struct checkpoint *accept(struct gguf_file *f)
{
    struct checkpoint *c;

    if (read_both(f, &c))
        fail_msg("refused: %s", line());
    return c;
}

static inline void refuse(struct gguf_file *f, const char *want)
{
    struct checkpoint *c;

    assert_int_equal(read_both(f, &c), -EINVAL);
    assert_string_equal(line(), want);
    assert_null(c);
}

/* The value of an entry; NULL for one that is not kept. */
static inline void expect_metadata(const struct checkpoint *c, const char *key, const char *want)
{
    const char *got = checkpoint_metadata(c, key);

    if (!got || !want) {
        if (got != want)
            fail_msg("%s: %s instead of %s", key, got ? got : "nothing", want ? want : "nothing");
        return;
    }
    assert_string_equal(got, want);
}

#endif
