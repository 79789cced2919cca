/* Strategy: distances worked out by hand, each kind of mistake once; then that a suggestion comes
 * where a person would make it and none comes for a word that is simply another one.
 */
#include "data.h"
#include "names.h"
#include <errno.h>
#include <string.h>

static const char *const g_known[] = {"version", "checkpoint", "max_memory", "device_map",
                                      "backend", "um",         "vmm"};
#define KNOWN (sizeof(g_known) / sizeof(g_known[0]))

static void distances(void **state)
{
    (void)state;
    assert_int_equal(names_distance("", ""), 0);
    assert_int_equal(names_distance("abc", "abc"), 0);
    assert_int_equal(names_distance("ABC", "abc"), 0);
    assert_int_equal(names_distance("", "abc"), 3);
    assert_int_equal(names_distance("abc", ""), 3);
    assert_int_equal(names_distance("abc", "abd"), 1);
    assert_int_equal(names_distance("abc", "ab"), 1);
    assert_int_equal(names_distance("ab", "abc"), 1);
    assert_int_equal(names_distance("abc", "acb"), 1);
    assert_int_equal(names_distance("ca", "abc"), 3);
    assert_int_equal(names_distance("kitten", "sitting"), 3);
    assert_int_equal(names_distance("max-memory", "max_memory"), 1);
}

static void long_words(void **state)
{
    char a[66], b[66];

    (void)state;
    memset(a, 'a', sizeof(a));
    memset(b, 'b', sizeof(b));
    a[64] = b[64] = '\0';
    assert_int_equal(names_distance(a, b), 64);
    a[64] = 'a';
    a[65] = '\0';
    assert_int_equal(names_distance(a, b), 65);
    assert_int_equal(names_distance("x", a), 65);
    assert_int_equal(names_distance(a, a), 65);
}

static void nearest(void **state)
{
    (void)state;
    assert_string_equal(names_nearest("devise_map", g_known, KNOWN), "device_map");
    assert_string_equal(names_nearest("DeviceMap", g_known, KNOWN), "device_map");
    assert_string_equal(names_nearest("max-memory", g_known, KNOWN), "max_memory");
    assert_string_equal(names_nearest("backedn", g_known, KNOWN), "backend");
    assert_string_equal(names_nearest("vm", g_known, KNOWN), "um");
    assert_string_equal(names_nearest("vmmm", g_known, KNOWN), "vmm");
}

static void nothing_near(void **state)
{
    (void)state;
    assert_null(names_nearest("", g_known, KNOWN));
    assert_null(names_nearest("x", g_known, KNOWN));
    assert_null(names_nearest("temperature", g_known, KNOWN));
    assert_null(names_nearest("um", g_known, 0));
}

static void words(void **state)
{
    struct input_error error;
    size_t found = 99;

    (void)state;
    assert_int_equal(names_find("vm", g_known + 5, 2, &found, &error), -EINVAL);
    assert_int_equal(found, 99);
    assert_string_equal(error.expected, "um or vmm");
    assert_string_equal(error.found, "\"vm\"; did you mean \"um\"?");
    assert_int_equal(names_find("other", g_known + 5, 2, &found, &error), -EINVAL);
    assert_string_equal(error.found, "\"other\"");
    assert_int_equal(names_find("vmm", g_known + 5, 2, &found, &error), 0);
    assert_int_equal(found, 1);
}

static void lists(void **state)
{
    char text[64], small[8];

    (void)state;
    assert_string_equal(names_list(g_known, 0, text, sizeof(text)), "");
    assert_string_equal(names_list(g_known, 1, text, sizeof(text)), "version");
    assert_string_equal(names_list(g_known + 5, 2, text, sizeof(text)), "um or vmm");
    assert_string_equal(names_list(g_known + 4, 3, text, sizeof(text)), "backend, um or vmm");
    assert_string_equal(names_list(g_known, KNOWN, small, sizeof(small)), "version");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances),    cmocka_unit_test(long_words), cmocka_unit_test(nearest),
        cmocka_unit_test(nothing_near), cmocka_unit_test(lists),      cmocka_unit_test(words),
    };

    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
