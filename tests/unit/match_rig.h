/* match_rig.h - checkpoints whose bytes each test chooses, an index over them, and runs copied out
 * of the file, so that nothing but their bytes can tell what they are. An answer is written
 * "name+offset,bytes". */
#ifndef BERTH_TEST_MATCH_RIG_H
#define BERTH_TEST_MATCH_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "match.h"
#include "tests/unit/checkpoint_file.h"

#define TENSORS_MAX 64u

/* A checkpoint and the bytes of its file. */
struct model {
    struct checkpoint *checkpoint;
    unsigned char *file;
    uint64_t bytes, offset[TENSORS_MAX];
};

static struct model g_model[2];
static struct match_index *g_index;
static struct match_order g_order;
static size_t g_reads;
static int g_fails;

static inline int read_model(void *arg, const struct checkpoint *c, size_t file, uint64_t offset,
                             void *out, size_t bytes)
{
    const struct model *m = &g_model[c == g_model[1].checkpoint];

    assert_ptr_equal(arg, &g_reads);
    assert_int_equal(file, 0);
    assert_true(offset + bytes <= m->bytes);
    g_reads++;
    if (g_fails)
        return -EIO;
    memcpy(out, m->file + offset, bytes);
    return 0;
}

static inline void noise(unsigned char *to, uint64_t bytes, uint64_t seed)
{
    for (uint64_t i = 0; i < bytes; i++) {
        if (i % 8 == 0)
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        to[i] = (unsigned char)(seed >> (8 * (i % 8)) ^ seed >> 33);
    }
}

/* A tensor: its length and the seed of its bytes, 0 for zeros. */
struct spec {
    uint64_t bytes, seed;
};

static inline void make_model(struct model *m, const struct spec *spec, size_t count)
{
    char path[] = "/tmp/berth-match-XXXXXX";
    int fd = mkstemp(path);
    struct input_error error;
    uint64_t sizes[TENSORS_MAX];

    assert_true(fd >= 0);
    for (size_t i = 0; i < count; i++)
        sizes[i] = spec[i].bytes;
    m->bytes = checkpoint_file_write(path, sizes, count, m->offset);
    assert_int_equal(checkpoint_open(path, &m->checkpoint, &error), 0);
    m->file = malloc(m->bytes);
    assert_int_equal(pread(fd, m->file, m->bytes, 0), m->bytes);
    for (size_t i = 0; i < count; i++) {
        memset(m->file + m->offset[i], 0, spec[i].bytes);
        if (spec[i].seed)
            noise(m->file + m->offset[i], spec[i].bytes, spec[i].seed);
    }
    close(fd);
    unlink(path);
}

#define MODEL(...)                                                                                 \
    do {                                                                                           \
        static const struct spec spec_[] = {__VA_ARGS__};                                          \
        make_model(&g_model[0], spec_, sizeof(spec_) / sizeof(*spec_));                            \
        assert_int_equal(match_index_add(g_index, g_model[0].checkpoint), 0);                      \
    } while (0)

static inline const char *place_text(const struct match_place *p)
{
    static char text[128];
    size_t i = checkpoint_find_offset(p->checkpoint, p->file, p->offset);
    const struct tensor *t = i == CHECKPOINT_NONE ? NULL : &p->checkpoint->tensors[i];

    snprintf(text, sizeof(text), "%s+%llu,%llu", t ? t->name : "file",
             (unsigned long long)(p->offset - (t ? t->offset : 0)), (unsigned long long)p->bytes);
    return text;
}

/* Ask about a copy of the run, and go on from the answer as a loader would. */
static inline const char *ask_within(const void *run, uint64_t bytes, int within)
{
    static char text[160];
    unsigned char *copy = malloc(bytes);
    struct match_query query;
    struct match_place place;
    enum match_answer answer;

    memcpy(copy, run, bytes);
    match_query_begin(&query, copy, bytes);
    query.within = within;
    answer = match_find(g_index, &query, &g_order, &place);
    free(copy);
    if (answer == MATCH_NONE)
        return "none";
    if (answer == MATCH_SEVERAL)
        return "several";
    match_bind(g_index, &place, 0, &g_order);
    snprintf(text, sizeof(text), "%s", place_text(&place));
    return text;
}

static inline const char *ask(const void *run, uint64_t bytes)
{
    return ask_within(run, bytes, 0);
}

static inline const char *ask_tensor(unsigned tensor, uint64_t from, uint64_t bytes)
{
    return ask(g_model[0].file + g_model[0].offset[tensor] + from, bytes);
}

static inline void start_over(void)
{
    g_order = (struct match_order){.rank = MATCH_NO_RANK};
}

static inline int begin(void **state)
{
    (void)state;
    start_over();
    g_index = match_index_new(read_model, &g_reads);
    return g_index ? 0 : -1;
}

static inline int end(void **state)
{
    (void)state;
    match_index_free(g_index);
    for (size_t i = 0; i < 2; i++) {
        checkpoint_close(g_model[i].checkpoint);
        free(g_model[i].file);
        g_model[i] = (struct model){0};
    }
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

#endif
