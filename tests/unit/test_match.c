/* Strategy: one seed of noise for each tensor (match_rig.h), so that twins are tensors with one
 * seed and tensors of zeros have none. The index reads them from memory through a function that
 * counts and can be made to fail. */
#include "match_table.h"
#include "tests/unit/match_rig.h"

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
    assert_int_equal(match_is_at(g_index, 3, &print, &place), 0);
    assert_int_equal(match_is_at(g_index, MATCH_NO_RANK, &print, &place), 0);
}

/* What stands around what was bound. */
static void test_bind(void **state)
{
    struct match_place place = {.file = 0};

    (void)state;
    MODEL({5000, 1}, {4000, 2}, {0, 0}, {3000, 3});
    place.checkpoint = g_model[0].checkpoint;
    place.offset = g_model[0].offset[1];
    place.bytes = 4000;
    match_bind(g_index, &place, 0, &g_order);
    assert_int_equal(g_order.rank, 1);
    assert_int_equal(g_order.first, 1);
    assert_true(g_order.is_whole);
    place.bytes = 7000; /* two, and what has no bytes between them */
    match_bind(g_index, &place, 0, &g_order);
    assert_int_equal(g_order.rank, 2); /* what has no bytes has no rank */
    assert_int_equal(g_order.first, 1);
    assert_false(g_order.is_whole);
    place.offset++;
    place.bytes = 3999;
    match_bind(g_index, &place, 0, &g_order);
    assert_int_equal(g_order.first, MATCH_NO_RANK);
    assert_false(g_order.is_whole);
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

/* What two files hold under one name is one parameter, under two names it is one of two. */
static void test_copies(void **state)
{
    static const struct spec copy[] = {{5000, 1}, {4000, 2}, {140000, 3},
                                       {4000, 2}, {8000, 9}, {6000, 5}};

    (void)state;
    MODEL({5000, 1}, {4000, 2}, {140000, 3}, {4000, 2}, {6000, 5});
    make_model(&g_model[1], copy, 6);
    assert_int_equal(match_index_add(g_index, g_model[1].checkpoint), 0);
    assert_string_equal(ask_tensor(2, 0, 140000), "t2+0,140000");
    assert_int_equal(g_order.rank, 2); /* of the file that was known first */
    start_over();
    assert_string_equal(ask_tensor(2, 0, 10000), "t2+0,10000");
    start_over();
    assert_string_equal(ask_tensor(2, 70000, 70000), "t2+70000,70000");
    start_over();
    assert_string_equal(ask_tensor(1, 0, 4000), "several");
    assert_string_equal(ask_tensor(4, 0, 6000), "several");
    assert_string_equal(ask_tensor(0, 0, 5000), "t0+0,5000");
    assert_string_equal(ask_tensor(1, 0, 4000), "t1+0,4000");
    start_over();
    assert_string_equal(ask_tensor(1, 0, 4000), "t3+0,4000"); /* the last of its twins */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_whole),        TEST(test_cost),
        TEST(test_chunks),       TEST(test_sections),
        TEST(test_twins),        TEST(test_weak),
        TEST(test_is_at),        TEST(test_two_checkpoints),
        TEST(test_bind),         TEST(test_unreadable),
        TEST(test_table),        TEST(test_last_twin),
        TEST(test_parts_of_two), TEST(test_copies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
