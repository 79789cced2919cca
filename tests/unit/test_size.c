/* Strategy: every row of tests/data/units.json, which holds what accelerate answered, and then the
 * edges that it does not have: plain bytes, the limits of 64 bits, foreign locales. The formatter
 * is compared with sizes worked out by hand, rounding at the edges of its units included.
 */
#include "data.h"
#include "size.h"
#include <cjson/cJSON.h>
#include <errno.h>
#include <locale.h>

static void every_golden_row(void **state)
{
    char *text = data_read("units.json", NULL);
    cJSON *root = cJSON_Parse(text);
    const cJSON *row, *rows = cJSON_GetObjectItem(root, "size_strings");
    int count = 0;

    (void)state;
    cJSON_ArrayForEach(row, rows)
    {
        const char *size = cJSON_GetArrayItem(row, 0)->valuestring;
        const cJSON *want = cJSON_GetArrayItem(row, 1);
        uint64_t bytes = 12345;
        int res = size_parse(size, SIZE_PLAIN_REFUSED, &bytes);

        if (cJSON_IsNumber(want)) {
            if (res != 0 || (double)bytes != want->valuedouble)
                fail_msg("\"%s\": %d, %llu bytes", size, res, (unsigned long long)bytes);
        } else {
            const char *name = cJSON_GetObjectItem(want, "error")->valuestring;

            /* Whatever Python calls it, and be it that "inf" overflows there: it is no size. */
            if (res != -EINVAL || bytes != 12345)
                fail_msg("\"%s\": %d instead of %s", size, res, name);
        }
        count++;
    }
    assert_int_equal(count, 33);
    cJSON_Delete(root);
    free(text);
}

static void plain_bytes(void **state)
{
    uint64_t bytes = 7;

    (void)state;
    assert_int_equal(size_parse("33554432", SIZE_PLAIN_ACCEPTED, &bytes), 0);
    assert_int_equal(bytes, 33554432);
    assert_int_equal(size_parse("0", SIZE_PLAIN_ACCEPTED, &bytes), 0);
    assert_int_equal(bytes, 0);
    assert_int_equal(size_parse("18446744073709551615", SIZE_PLAIN_ACCEPTED, &bytes), 0);
    assert_true(bytes == UINT64_MAX);
    assert_int_equal(size_parse("18446744073709551616", SIZE_PLAIN_ACCEPTED, &bytes), -ERANGE);
    assert_int_equal(size_parse("99999999999999999999999", SIZE_PLAIN_ACCEPTED, &bytes), -ERANGE);
    assert_true(bytes == UINT64_MAX);
    assert_int_equal(size_parse("33554432", SIZE_PLAIN_REFUSED, &bytes), -EINVAL);
}

static void plain_bytes_are_digits_alone(void **state)
{
    static const char *const refused[] = {"",    " ",   " 10", "10 ",  "+10", "-10",
                                          "1.5", "10.", "1e3", "0x10", "10B", "1_000"};
    uint64_t bytes = 7;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (size_parse(refused[i], SIZE_PLAIN_ACCEPTED, &bytes) != -EINVAL || bytes != 7)
            fail_msg("\"%s\" was taken", refused[i]);
    }
}

static void with_units(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } rows[] = {
        {"10Gib", 10737418240},
        {"10gb", 1250000000},
        {"1kb", 125},
        {"1.1GiB", 1181116006},
        {".5KB", 500},
        {"5.KB", 5000},
        {"+1KB", 1000},
        {"1e-1KB", 100},
        {"1E+1KB", 10000},
        {"\t1\nKB", 1000},
        {"0GB", 0},
        {"0.0019KB", 1},
        {"17179869183GiB", 18446744072635809792u},
    };
    uint64_t bytes;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (size_parse(rows[i].text, SIZE_PLAIN_ACCEPTED, &bytes) != 0 || bytes != rows[i].bytes)
            fail_msg("\"%s\": %llu", rows[i].text, (unsigned long long)bytes);
    }
}

static void refused_with_units(void **state)
{
    static const char *const refused[] = {
        "GiB",  ".GB", "+GB", "-0GB",  "--1GB",  "1eGB",    "e3GB",  "1 G B",
        "1GBB", "1iB", "1B",  "0x1GB", "1GiB\n", "1 000MB", "NaNGB", "INFINITYGB"};
    uint64_t bytes = 7;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (size_parse(refused[i], SIZE_PLAIN_ACCEPTED, &bytes) != -EINVAL || bytes != 7)
            fail_msg("\"%s\" was taken", refused[i]);
    }
}

static void too_large(void **state)
{
    uint64_t bytes = 7;

    (void)state;
    assert_int_equal(size_parse("17179869184GiB", SIZE_PLAIN_ACCEPTED, &bytes), -ERANGE);
    assert_int_equal(size_parse("1e300GB", SIZE_PLAIN_ACCEPTED, &bytes), -ERANGE);
    assert_int_equal(size_parse("1e999999KB", SIZE_PLAIN_ACCEPTED, &bytes), -ERANGE);
    assert_int_equal(size_parse("147573952590Gb", SIZE_PLAIN_ACCEPTED, &bytes), -ERANGE);
    assert_int_equal(bytes, 7);
}

/* A host program may have set a locale whose decimal point is a comma. Where the machine has none
 * the test still sees that parsing and printing do not depend on the locale at hand.
 */
static void any_locale(void **state)
{
    static const char *const locales[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "C"};
    char text[SIZE_TEXT_BYTES];
    uint64_t bytes = 0;
    size_t i;

    (void)state;
    for (i = 0; !setlocale(LC_ALL, locales[i]); i++)
        ;
    assert_int_equal(size_parse("1.5GiB", SIZE_PLAIN_REFUSED, &bytes), 0);
    assert_int_equal(bytes, 1610612736);
    assert_string_equal(size_format(bytes, SIZE_BINARY, text), "1.5 GiB");
    setlocale(LC_ALL, "C");
}

static void for_people(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *decimal, *binary;
    } rows[] = {
        {0, "0 B", "0 B"},
        {999, "999 B", "999 B"},
        {1000, "1.0 KB", "1000 B"},
        {1023, "1.0 KB", "1023 B"},
        {1024, "1.0 KB", "1.0 KiB"},
        {33554432, "33.6 MB", "32.0 MiB"},
        {90868376, "90.9 MB", "86.7 MiB"},
        {999949, "999.9 KB", "976.5 KiB"},
        {999950, "1.0 MB", "976.5 KiB"},
        {1048524, "1.0 MB", "1023.9 KiB"},
        {1048525, "1.0 MB", "1.0 MiB"},
        {UINT64_MAX, "18.4 EB", "16.0 EiB"},
    };
    char text[SIZE_TEXT_BYTES];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_string_equal(size_format(rows[i].bytes, SIZE_DECIMAL, text), rows[i].decimal);
        assert_string_equal(size_format(rows[i].bytes, SIZE_BINARY, text), rows[i].binary);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_golden_row),
        cmocka_unit_test(plain_bytes),
        cmocka_unit_test(plain_bytes_are_digits_alone),
        cmocka_unit_test(with_units),
        cmocka_unit_test(refused_with_units),
        cmocka_unit_test(too_large),
        cmocka_unit_test(any_locale),
        cmocka_unit_test(for_people),
    };

    return cmocka_run_group_tests_name("size", tests, NULL, NULL);
}
