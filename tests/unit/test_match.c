/* Strategy: checkpoints whose bytes each test chooses, one seed of noise for each tensor, so that
 * twins are tensors with one seed and tensors of zeros have none. The index reads them from memory
 * through a function that counts and can be made to fail. Runs are copied out of the file, so that
 * nothing but their bytes can tell what they are. An answer is written "name+offset,bytes". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "match.h"
#include "match_ahead.h"
#include "match_table.h"
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

static int read_model(void *arg, const struct checkpoint *c, size_t file, uint64_t offset,
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

static void noise(unsigned char *to, uint64_t bytes, uint64_t seed)
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

static void make_model(struct model *m, const struct spec *spec, size_t count)
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

static const char *place_text(const struct match_place *p)
{
    static char text[128];
    size_t i = checkpoint_find_offset(p->checkpoint, p->file, p->offset);
    const struct tensor *t = i == CHECKPOINT_NONE ? NULL : &p->checkpoint->tensors[i];

    snprintf(text, sizeof(text), "%s+%llu,%llu", t ? t->name : "file",
             (unsigned long long)(p->offset - (t ? t->offset : 0)), (unsigned long long)p->bytes);
    return text;
}

/* Ask about a copy of the run, and go on from the answer as a loader would. */
static const char *ask_within(const void *run, uint64_t bytes, int within)
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

static const char *ask(const void *run, uint64_t bytes)
{
    return ask_within(run, bytes, 0);
}

static const char *ask_tensor(unsigned tensor, uint64_t from, uint64_t bytes)
{
    return ask(g_model[0].file + g_model[0].offset[tensor] + from, bytes);
}

static void start_over(void)
{
    g_order = (struct match_order){.rank = MATCH_NO_RANK};
}

static void test_whole(void **state)
{
    unsigned char *other = malloc(50000);

    (void)state;
    MODEL({5000, 1}, {70000, 2}, {70000, 3}, {0, 0}, {2048, 4}, {24, 5}, {50000, 6});
    assert_string_equal(ask_tensor(2, 0, 70000), "t2+0,70000");
    assert_string_equal(ask_tensor(1, 0, 70000), "t1+0,70000");
    assert_string_equal(ask_tensor(6, 0, 50000), "t6+0,50000");
    assert_string_equal(ask_tensor(5, 0, 24), "t5+0,24");
    assert_string_equal(ask_tensor(4, 0, 2048), "t4+0,2048");
    assert_string_equal(ask_tensor(0, 0, 5000), "t0+0,5000");
    noise(other, 50000, 99);
    start_over();
    assert_string_equal(ask(other, 50000), "none");
    assert_string_equal(ask(other, 24), "none");
    assert_string_equal(ask(other, 3), "none");
    /* The same beginning, and something else at the end. */
    memcpy(other, g_model[0].file + g_model[0].offset[6], 50000);
    other[49999] ^= 1;
    assert_string_equal(ask(other, 50000), "none");
    free(other);
}

/* Looking for what is not there costs no read once the beginnings are known. */
static void test_cost(void **state)
{
    unsigned char *other = calloc(1, 100000);

    (void)state;
    MODEL({5000, 1}, {70000, 2}, {70000, 3}, {90000, 0}, {2048, 4}, {100000, 6});
    noise(other, 100000, 99);
    for (int round = 0; round < 2; round++) {
        size_t before = g_reads;

        for (uint64_t bytes = 1; bytes <= 100000; bytes = bytes * 3 + 1)
            assert_string_equal(ask(other, bytes), "none");
        assert_string_equal(ask(other, 70000), "none");
        if (round)
            assert_int_equal(g_reads, before);
    }
    memset(other, 0, 100000);
    assert_string_equal(ask(other, 5000), "none");
    g_reads = 0;
    assert_string_equal(ask(other, 5000), "none");
    assert_string_equal(ask(other, 80000), "none");
    assert_int_equal(g_reads, 0);
    assert_string_equal(ask_tensor(2, 0, 70000), "t2+0,70000");
    start_over();
    g_reads = 0;
    assert_string_equal(ask_tensor(2, 0, 70000), "t2+0,70000"); /* known by now */
    assert_int_equal(g_reads, 0);
    free(other);
}

static void test_chunks(void **state)
{
    uint64_t at = 0;
    char want[64];

    (void)state;
    MODEL({5000, 1}, {300000, 2}, {300000, 3});
    while (at < 300000) {
        uint64_t bytes = 300000 - at < 65536 ? 300000 - at : 65536;

        snprintf(want, sizeof(want), "t2+%llu,%llu", (unsigned long long)at,
                 (unsigned long long)bytes);
        assert_string_equal(ask_tensor(2, at, bytes), want);
        at += bytes;
    }
    /* From the middle: not without order, but for equal parts. */
    start_over();
    assert_string_equal(ask_tensor(1, 65536, 65536), "none");
    assert_string_equal(ask_tensor(1, 150000, 150000), "t1+150000,150000");
    start_over();
    assert_string_equal(ask_tensor(2, 100000, 100000), "t2+100000,100000");
    /* By where it lies it is found, and only there. */
    for (int right = 0; right < 2; right++) {
        struct match_query query;
        struct match_place place;
        uint64_t from = 12345;

        match_query_begin(&query, g_model[0].file + g_model[0].offset[1] + from, 7777);
        assert_int_equal(match_verify(g_index, &query, &g_model[0].checkpoint->tensors[1],
                                      from + !right, &place),
                         right);
        if (right)
            assert_string_equal(place_text(&place), "t1+12345,7777");
    }
}

/* Several tensors in one run: as they lie in the file; with its header; with gaps of their own. */
static void test_sections(void **state)
{
    const struct model *m = &g_model[0];
    unsigned char packed[16384] = {0};
    char want[64];

    (void)state;
    MODEL({5000, 1}, {300, 2}, {3, 7}, {70000, 3}, {100, 8});
    assert_string_equal(ask_tensor(0, 0, 75303), "t0+0,75303");
    start_over();
    assert_string_equal(ask_tensor(1, 0, 303 + 1000), "t1+0,1303");
    start_over();
    snprintf(want, sizeof(want), "file+0,%llu", (unsigned long long)m->bytes);
    assert_string_equal(ask(m->file, m->bytes), want);
    start_over();
    memcpy(packed, m->file + m->offset[0], 5000);
    memcpy(packed + 5120, m->file + m->offset[1], 300);
    memcpy(packed + 5632, m->file + m->offset[2], 3);
    assert_string_equal(ask(packed, sizeof(packed)), "t0+0,5000");
    assert_string_equal(ask_within(packed + 5000, sizeof(packed) - 5000, 1), "none");
    assert_string_equal(ask_within(packed + 5120, sizeof(packed) - 5120, 1), "t1+0,300");
    assert_string_equal(ask_within(packed + 5632, sizeof(packed) - 5632, 1), "t2+0,3");
}

static void test_twins(void **state)
{
    (void)state;
    MODEL({5000, 1}, {4000, 2}, {4000, 2}, {6000, 3}, {4000, 2}, {7000, 4});
    assert_string_equal(ask_tensor(1, 0, 4000), "several");
    assert_string_equal(ask_tensor(0, 0, 5000), "t0+0,5000");
    assert_string_equal(ask_tensor(1, 0, 4000), "t1+0,4000"); /* next after t0 */
    assert_string_equal(ask_tensor(2, 0, 4000), "t2+0,4000"); /* next after t1 */
    assert_string_equal(ask_tensor(5, 0, 7000), "t5+0,7000");
    assert_string_equal(ask_tensor(2, 0, 4000), "t4+0,4000"); /* going back */
    start_over();
    assert_string_equal(ask_tensor(1, 0, 4000), "several"); /* all of them are there already */
}

/* The last of several twins is told by the others. */
static void test_last_twin(void **state)
{
    (void)state;
    MODEL({4000, 2}, {5000, 1}, {6000, 3}, {4000, 2});
    assert_string_equal(ask_tensor(1, 0, 5000), "t1+0,5000");
    assert_string_equal(ask_tensor(0, 0, 4000), "t0+0,4000"); /* going back */
    start_over();
    assert_string_equal(ask_tensor(0, 0, 4000), "t3+0,4000");
}

/* What says too little is told by order alone. */
static void test_weak(void **state)
{
    unsigned char zeros[4096] = {0};

    (void)state;
    MODEL({5000, 1}, {4000, 0}, {4, 9}, {4000, 0}, {6000, 3}, {1, 5});
    assert_string_equal(ask(zeros, 4000), "several");
    assert_string_equal(ask(zeros, 3000), "none");
    assert_string_equal(ask_tensor(2, 0, 4), "several");
    assert_string_equal(ask_tensor(0, 0, 5000), "t0+0,5000");
    assert_string_equal(ask(zeros, 4000), "t1+0,4000");
    assert_string_equal(ask_tensor(2, 0, 4), "t2+0,4");
    assert_string_equal(ask(zeros, 4000), "t3+0,4000");
    assert_string_equal(ask(zeros, 4), "none");
    assert_string_equal(ask_tensor(4, 0, 6000), "t4+0,6000");
    assert_string_equal(ask_tensor(5, 0, 1), "t5+0,1");
}

static void test_is_at(void **state)
{
    struct fingerprint print;
    struct match_place place;

    (void)state;
    MODEL({5000, 1}, {4000, 2}, {4000, 2});
    fingerprint_take(g_model[0].file + g_model[0].offset[1], 4000, &print);
    assert_int_equal(match_is_at(g_index, 0, &print, &place), 0);
    assert_int_equal(match_is_at(g_index, 2, &print, &place), 1);
    assert_string_equal(place_text(&place), "t2+0,4000");
    assert_int_equal(match_rank(g_index, &place), 2);
    assert_int_equal(match_is_at(g_index, 3, &print, &place), 0);
    assert_int_equal(match_is_at(g_index, MATCH_NO_RANK, &print, &place), 0);
    place.offset++;
    place.bytes--;
    assert_int_equal(match_rank(g_index, &place), MATCH_NO_RANK);
}

static void test_two_checkpoints(void **state)
{
    static const struct spec other[] = {{3000, 11}, {70000, 12}, {4000, 2}};
    struct model *m = &g_model[1];

    (void)state;
    MODEL({5000, 1}, {4000, 2});
    assert_string_equal(ask_tensor(1, 0, 4000), "t1+0,4000");
    make_model(m, other, 3);
    assert_string_equal(ask(m->file + m->offset[1], 70000), "none");
    assert_int_equal(match_index_add(g_index, m->checkpoint), 0);
    assert_string_equal(ask(m->file + m->offset[1], 70000), "t1+0,70000");
    assert_ptr_equal(match_index_owner(g_index, &m->checkpoint->tensors[2]), m->checkpoint);
    assert_string_equal(ask(m->file + m->offset[0], 3000), "t0+0,3000");
    match_index_drop(g_index, m->checkpoint);
    assert_null(match_index_owner(g_index, &m->checkpoint->tensors[2]));
    start_over();
    assert_string_equal(ask(m->file + m->offset[1], 70000), "none");
    assert_string_equal(ask(m->file + m->offset[0], 3000), "none");
    assert_string_equal(ask_tensor(1, 0, 4000), "t1+0,4000"); /* it has no twin any more */
}

/* Parts of one length are looked for in what is added later, too. */
static void test_parts_of_two(void **state)
{
    static const struct spec other[] = {{3000, 11}, {400000, 12}};
    struct model *m = &g_model[1];

    (void)state;
    MODEL({5000, 1}, {200000, 2});
    assert_string_equal(ask_tensor(1, 100000, 100000), "t1+100000,100000");
    make_model(m, other, 2);
    assert_int_equal(match_index_add(g_index, m->checkpoint), 0);
    start_over();
    assert_string_equal(ask(m->file + m->offset[1] + 300000, 100000), "t1+300000,100000");
    start_over();
    assert_string_equal(ask_tensor(1, 100000, 100000), "t1+100000,100000");
}

/* Read what is likely to come, as much of it as there is room for. returns how many chunks */
static size_t read_ahead(void)
{
    struct match_place places[7];
    struct match_run runs[7];
    size_t count, all = 0;

    for (; (count = match_next_runs(g_index, places, 7)); all += count) {
        for (size_t i = 0; i < count; i++) {
            runs[i].place = places[i];
            fingerprint_take(g_model[0].file + places[i].offset, places[i].bytes, &runs[i].print);
        }
        match_put_runs(g_index, runs, count);
    }
    return all;
}

static void ask_chunks(unsigned tensor, uint64_t from, uint64_t end, uint64_t chunk_bytes)
{
    for (; from < end; from += chunk_bytes) {
        uint64_t bytes = end - from < chunk_bytes ? end - from : chunk_bytes;
        char want[64];

        snprintf(want, sizeof(want), "t%u+%llu,%llu", tensor, (unsigned long long)from,
                 (unsigned long long)bytes);
        assert_string_equal(ask_tensor(tensor, from, bytes), want);
    }
}

/* Two chunks say how it goes on, in the next tensors too; their content is asked all the same. */
static void test_ahead(void **state)
{
    unsigned char other[10000];

    (void)state;
    MODEL({40000, 1}, {3000, 2}, {35000, 3}, {900000, 4});
    ask_chunks(0, 0, 10000, 10000);
    assert_false(match_wants_runs(g_index));
    assert_int_equal(read_ahead(), 0);
    ask_chunks(0, 10000, 20000, 10000);
    assert_true(match_wants_runs(g_index));
    assert_int_equal(read_ahead(), MATCH_AHEAD_RUNS);
    assert_false(match_wants_runs(g_index));
    assert_string_equal(ask_tensor(1, 0, 3000), "t1+0,3000");
    g_reads = 0;
    noise(other, sizeof(other), 99);
    assert_string_equal(ask(other, sizeof(other)), "none");
    g_order = (struct match_order){.rank = 0, .end = g_model[0].offset[0] + 20000, .bytes = 10000};
    ask_chunks(0, 20000, 40000, 10000);
    assert_string_equal(ask_tensor(1, 0, 3000), "t1+0,3000");
    assert_true(g_reads < 10); /* what begins like the noise was looked for, once */
    g_reads = 0;
    ask_chunks(2, 0, 35000, 10000);
    ask_chunks(3, 0, 270000, 10000);
    assert_int_equal(g_reads, 0);
    assert_true(match_wants_runs(g_index));
    assert_int_equal(read_ahead(), 32); /* the rest of the file */
    g_fails = 1;
    ask_chunks(3, 270000, 850000, 10000);
    g_fails = 0;
    assert_int_equal(read_ahead(), 0);
    assert_false(match_wants_runs(g_index));
    ask_chunks(3, 850000, 900000, 10000);
}

/* Of two loaders the first is followed, until it has stopped. A chunk that was foreseen but could
 * not be read is read when it comes. */
static void test_ahead_of_two(void **state)
{
    struct match_order second = {.rank = MATCH_NO_RANK}, first;
    struct match_place place;
    struct match_run run = {.print = {0}};

    (void)state;
    MODEL({900000, 1}, {900000, 2});
    ask_chunks(0, 0, 20000, 10000);
    assert_int_equal(match_next_runs(g_index, &place, 1), 1);
    run.place = place;
    match_put_runs(g_index, &run, 1); /* it could not */
    read_ahead();
    first = g_order;
    g_order = second;
    ask_chunks(1, 0, 20000, 10000);
    second = g_order;
    for (uint64_t at = 20000; at < 60000; at += 10000) {
        g_order = first;
        g_reads = 0;
        ask_chunks(0, at, at + 10000, 10000);
        assert_int_equal(g_reads > 0, at == 20000);
        first = g_order;
        g_order = second;
        ask_chunks(1, at, at + 10000, 10000);
        second = g_order;
    }
    match_put_runs(g_index, &run, 1); /* something else is to be read by now */
    for (uint64_t at = 60000; at < 150000; at += 10000)
        ask_chunks(1, at, at + 10000, 10000);
    assert_true(match_wants_runs(g_index));
    assert_true(read_ahead() > 0);
    g_reads = 0;
    ask_chunks(1, 150000, 170000, 10000);
    assert_int_equal(g_reads, 0);
}

static void test_unreadable(void **state)
{
    (void)state;
    MODEL({5000, 1}, {4000, 2}, {90000, 3});
    g_fails = 1;
    for (unsigned i = 0; i < 3; i++)
        assert_string_equal(ask_tensor(i, 0, 4000), "none");
    g_fails = 0;
}

static void test_table(void **state)
{
    struct match_table table = {0};

    (void)state;
    assert_int_equal(match_table_find(&table, 7), MATCH_TABLE_END);
    assert_int_equal(match_table_take(&table, 7), MATCH_TABLE_END);
    for (uint32_t i = 0; i < 5000; i++)
        assert_int_equal(match_table_add(&table, i % 1000 << 20, i, -(int64_t)i), 0);
    for (uint32_t key = 0; key < 1000; key++) {
        uint32_t item = match_table_take(&table, (uint64_t)key << 20), n = key;

        for (; item != MATCH_TABLE_END; item = table.items[item].next, n += 1000) {
            assert_int_equal(table.items[item].entry, n);
            assert_int_equal(table.items[item].distance, -(int64_t)n);
        }
        assert_int_equal(n, 5000 + key);
        assert_int_equal(match_table_take(&table, (uint64_t)key << 20), MATCH_TABLE_END);
    }
    assert_int_equal(match_table_add(&table, 3 << 20, 5000, 1), 0);
    assert_int_equal(table.items[match_table_take(&table, 3 << 20)].entry, 5000);
    assert_int_equal(table.items[match_table_find(&table, 3 << 20)].entry, 3);
    assert_int_equal(match_table_find(&table, 12345), MATCH_TABLE_END);
    match_table_free(&table);
}

static int begin(void **state)
{
    (void)state;
    start_over();
    g_index = match_index_new(read_model, &g_reads);
    return g_index ? 0 : -1;
}

static int end(void **state)
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_whole),      TEST(test_cost),
        TEST(test_chunks),     TEST(test_sections),
        TEST(test_twins),      TEST(test_weak),
        TEST(test_is_at),      TEST(test_two_checkpoints),
        TEST(test_ahead),      TEST(test_ahead_of_two),
        TEST(test_unreadable), TEST(test_table),
        TEST(test_last_twin),  TEST(test_parts_of_two),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
