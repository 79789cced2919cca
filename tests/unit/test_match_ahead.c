/* Strategy: loaders that go through a file in chunks (match_rig.h). The test plays who reads ahead;
 * then the index must not read for itself, which is counted. Runs that are in no file must be
 * rejected by what the index has seen, and none that it would find. */
#include "match_ahead.h"
#include "tests/unit/match_rig.h"

static int rejects(const void *run, uint64_t bytes, int within)
{
    struct match_query query;

    match_query_begin(&query, run, bytes);
    query.within = within;
    return match_rejects(g_index, &query, &g_order);
}

/* What was looked for in vain is told from others of its length without a search, but never from
 * what would be found: whole tensors, their beginnings and parts, the file. */
static void test_rejects(void **state)
{
    static const uint64_t lengths[] = {24, 3000, 70000, 100000};
    static const struct spec more[] = {{3000, 7}, {400, 8}};
    unsigned char *one = malloc(100000), *other = malloc(100000);
    const unsigned char *file;

    (void)state;
    MODEL({24, 1}, {3000, 2}, {70000, 3}, {140000, 4}, {500000, 5});
    noise(one, 100000, 98);
    noise(other, 100000, 99);
    for (unsigned i = 0; i < 4; i++)
        assert_false(rejects(other, lengths[i], 0));
    for (unsigned i = 0; i < 4; i++)
        assert_string_equal(ask(one, lengths[3 - i]), "none");
    assert_string_equal(ask(one, lengths[0]), "none"); /* all beginnings are known by now */
    file = g_model[0].file;
    for (unsigned i = 0; i < 4; i++) {
        assert_true(rejects(other, lengths[i], 0));
        assert_false(rejects(other, lengths[i], 1));
        assert_false(rejects(other, lengths[i] + 1, 0));
        assert_false(rejects(file, lengths[i] < 128 ? 3000 : lengths[i], 0));
        assert_false(rejects(file + g_model[0].offset[i], i == 0 ? 24 : lengths[i], 0));
        assert_false(rejects(file + g_model[0].offset[4], lengths[i] < 128 ? 3000 : lengths[i], 0));
    }
    assert_false(rejects(file + g_model[0].offset[3] + 70000, 70000, 0));
    assert_false(rejects(file + g_model[0].offset[4] + 100000, 100000, 0));
    /* A loader in the middle of a tensor goes on with anything. */
    assert_string_equal(ask_tensor(2, 0, 3000), "t2+0,3000");
    assert_false(rejects(other, 3000, 0));
    assert_string_equal(ask_tensor(1, 0, 3000), "t1+0,3000");
    assert_true(rejects(other, 3000, 0));
    make_model(&g_model[1], more, 2);
    assert_int_equal(match_index_add(g_index, g_model[1].checkpoint), 0);
    assert_false(rejects(other, 3000, 0));
    assert_string_equal(ask(g_model[1].file + g_model[1].offset[0], 3000), "t0+0,3000");
    free(one);
    free(other);
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

/* Two chunks say how it goes on, in the next tensors too, and in the next file; their content is
 * asked all the same. */
static void test_ahead(void **state)
{
    static const struct spec next_file[] = {{2000000, 7}};
    unsigned char other[10000];
    struct match_place place;

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
    make_model(&g_model[1], next_file, 1);
    assert_int_equal(match_index_add(g_index, g_model[1].checkpoint), 0);
    assert_true(match_wants_runs(g_index));
    assert_int_equal(match_next_runs(g_index, &place, 1), 1);
    assert_string_equal(place_text(&place), "t0+0,10000");
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
    for (uint64_t at = 60000; at < 150000; at += 10000)
        ask_chunks(1, at, at + 10000, 10000);
    assert_true(match_wants_runs(g_index));
    match_put_runs(g_index, &run, 1); /* something else is to be read by now */
    assert_true(read_ahead() > 0);
    g_reads = 0;
    ask_chunks(1, 150000, 170000, 10000);
    assert_int_equal(g_reads, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_rejects), TEST(test_ahead),
                                       TEST(test_ahead_of_two)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
