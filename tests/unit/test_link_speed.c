/* Strategy: loads of known speeds, in orders that would fool a fastest or an average: some that
 * seem to have taken no time, many that met something on their way, a link that has changed; and
 * random ones, whose answer is held against that of a sort of the last LINK_LOADS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "link_speed.h"

#define LOAD_BYTES 2000000u
#define LINK_NS    100000u /* of a load that meets nothing */

static void note_many(struct link_speed *link, unsigned count, uint64_t ns)
{
    for (unsigned i = 0; i < count; i++)
        link_speed_note(link, LOAD_BYTES, ns);
}

static uint64_t speed_ns(const struct link_speed *link)
{
    return link_speed_get(link).ns;
}

static void test_unknown(void **state)
{
    struct link_speed link = {0};

    (void)state;
    assert_int_equal(link_speed_get(&link).bytes, 0);
    assert_int_equal(link_speed_get(&link).ns, 0);
    for (unsigned i = 0; i < LINK_KNOWN; i++) {
        assert_false(link_speed_is_known(&link));
        link_speed_note(&link, LOAD_BYTES, LINK_NS);
        assert_int_equal(link_speed_get(&link).bytes, LOAD_BYTES);
        assert_int_equal(speed_ns(&link), LINK_NS);
    }
    assert_true(link_speed_is_known(&link));
}

/* A load that moved nothing, as the first or as any later one, is not the link's speed. */
static void test_moved_nothing(void **state)
{
    (void)state;
    for (unsigned at = 0; at < 3 * LINK_LOADS; at++) {
        struct link_speed link = {0};

        note_many(&link, at, LINK_NS);
        link_speed_note(&link, LOAD_BYTES, 10);
        for (unsigned i = 0; i < LINK_LOADS; i++) {
            link_speed_note(&link, LOAD_BYTES, LINK_NS);
            assert_int_equal(speed_ns(&link), LINK_NS);
        }
    }
}

/* Nor are some of them, once there are many loads. */
static void test_some_moved_nothing(void **state)
{
    struct link_speed link = {0};

    (void)state;
    note_many(&link, LINK_LOADS, LINK_NS);
    note_many(&link, LINK_LOADS / LINK_TOO_QUICK, 10);
    assert_int_equal(speed_ns(&link), LINK_NS);
}

/* Most loads meet something on their way: the few others tell what the link can do. */
static void test_disturbed(void **state)
{
    struct link_speed link = {0};

    (void)state;
    for (unsigned i = 0; i < 10 * LINK_LOADS; i++) {
        link_speed_note(&link, LOAD_BYTES, i % 10 ? (2 + i % 7) * LINK_NS : LINK_NS);
        if (i > 10)
            assert_int_equal(speed_ns(&link), LINK_NS);
    }
}

/* A link that has become slower, or faster, is found to be so. */
static void test_changes(void **state)
{
    struct link_speed link = {0};

    (void)state;
    note_many(&link, 2 * LINK_LOADS, LINK_NS);
    note_many(&link, LINK_LOADS, 3 * LINK_NS);
    assert_int_equal(speed_ns(&link), 3 * LINK_NS);
    note_many(&link, LINK_LOADS / LINK_TOO_QUICK + 1, LINK_NS);
    assert_int_equal(speed_ns(&link), LINK_NS);
}

/* A small load in little time is not a fast one. */
static void test_sizes(void **state)
{
    struct link_speed link = {0};

    (void)state;
    note_many(&link, 3, LINK_NS);
    for (unsigned i = 0; i < 3; i++)
        link_speed_note(&link, LOAD_BYTES / 100, LINK_NS / 50);
    assert_int_equal(link_speed_get(&link).bytes, LOAD_BYTES);
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static void test_random(void **state)
{
    struct link_speed link = {0};
    uint64_t seed = 1, all[1000], sorted[LINK_LOADS];

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        unsigned count = i + 1 < LINK_LOADS ? i + 1 : LINK_LOADS;
        unsigned quick = count / LINK_TOO_QUICK;

        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        all[i] = 1 + (seed >> 33) % 50;
        link_speed_note(&link, LOAD_BYTES, all[i]);
        memcpy(sorted, &all[i + 1 - count], count * sizeof(*sorted));
        qsort(sorted, count, sizeof(*sorted), compare);
        assert_int_equal(speed_ns(&link), sorted[quick ? quick : count > 1]);
        assert_int_equal(link.count, count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_moved_nothing),
        cmocka_unit_test(test_some_moved_nothing),
        cmocka_unit_test(test_disturbed),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
