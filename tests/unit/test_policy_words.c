/* Strategy: flags, and the words that they share with the policy file, as tables: what is read, and
 * the line of every refusal.
 */
#include "data.h"
#include "policy_file.h"
#include <errno.h>
#include <string.h>

static struct input_error g_error;
static char g_line[INPUT_ERROR_TEXT_BYTES];

static const char *line(void)
{
    return input_error_format(&g_error, g_line, sizeof(g_line));
}

static void budgets_of_a_flag(void **state)
{
    struct policy_memory memory, stronger;

    (void)state;
    policy_memory_clear(&memory);
    assert_int_equal(policy_parse_max_memory("0=8GiB", &memory, &g_error), 0);
    assert_int_equal(
        policy_parse_max_memory(" 2 = 33554432 ,cuda:1=1 GB,cpu=64GiB", &memory, &g_error), 0);
    assert_int_equal(memory.device_bytes[0], 8589934592);
    assert_int_equal(memory.device_bytes[1], 1000000000);
    assert_int_equal(memory.device_bytes[2], 33554432);
    assert_true(memory.device_bytes[3] == POLICY_UNSET);
    assert_int_equal(memory.cpu_bytes, 68719476736);

    policy_memory_clear(&stronger);
    assert_int_equal(policy_parse_max_memory("2=0,3=1KB", &stronger, &g_error), 0);
    policy_memory_override(&memory, &stronger);
    assert_int_equal(memory.device_bytes[0], 8589934592);
    assert_int_equal(memory.device_bytes[2], 0);
    assert_int_equal(memory.device_bytes[3], 1000);
    assert_int_equal(memory.cpu_bytes, 68719476736);
    policy_memory_clear(&stronger);
    assert_true(memory.disk_bytes == POLICY_UNSET);
    stronger.cpu_bytes = 5;
    stronger.disk_bytes = 6;
    policy_memory_override(&memory, &stronger);
    assert_int_equal(memory.cpu_bytes, 5);
    assert_int_equal(memory.disk_bytes, 6);
    policy_memory_clear(&stronger);
    policy_memory_override(&memory, &stronger);
    assert_int_equal(memory.disk_bytes, 6);
}

static void flags_that_are_refused(void **state)
{
#define PAIR   "expected DEV=SIZE such as 0=8GiB or cpu=64GiB, found "
#define DEVICE "expected a GPU index from 0 to 63, cpu or disk, found "
#define SIZE   "expected a size such as 8GiB, 500MB or 33554432 (KiB, MiB, GiB, KB, MB, GB), found "
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", PAIR "nothing"},
        {"0=1GB,", PAIR "nothing"},
        {",0=1GB", PAIR "nothing"},
        {"8GiB", "8GiB: " PAIR "no such pair"},
        {"0=1,5GB", "5GB: " PAIR "no such pair"},
        {"=8GiB", "=8GiB: " DEVICE "\"\""},
        {"gpu=8GiB", "gpu=8GiB: " DEVICE "\"gpu\""},
        {"64=8GiB", "64=8GiB: " DEVICE "\"64\""},
        {"-1=8GiB", "-1=8GiB: " DEVICE "\"-1\""},
        {"01=8GiB", "01=8GiB: " DEVICE "\"01\""},
        {"cuda=8GiB", "cuda=8GiB: " DEVICE "\"cuda\""},
        {"dusk=8GiB", "dusk=8GiB: " DEVICE "\"dusk\""},
        {"0=", "0=: " SIZE "\"\""},
        {"0=8XB", "0=8XB: " SIZE "\"8XB\""},
        {"0=-1GB", "0=-1GB: " SIZE "\"-1GB\""},
        {"0=1=2", "0=1=2: " SIZE "\"1=2\""},
        {"1=1GB,0=1e300GB",
         "0=1e300GB: expected a size of less than 2^64 bytes, found \"1e300GB\""},
        {"0=18446744073709551615",
         "0=18446744073709551615: expected a size of less than 2^64 bytes, "
         "found \"18446744073709551615\""},
        {"0=1GB,cuda:0=2GB", "cuda:0=2GB: expected every device once, found \"cuda:0\" a second "
                             "time"},
        {"cpu=1GB,cpu=1GB", "cpu=1GB: expected every device once, found \"cpu\" a second time"},
    };
    struct policy_memory memory, before;
    char long_text[300];
    size_t i;

    (void)state;
    policy_memory_clear(&memory);
    memory.device_bytes[7] = 7;
    before = memory;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(policy_parse_max_memory(rows[i].text, &memory, &g_error), -EINVAL);
        assert_string_equal(line(), rows[i].want);
        assert_memory_equal(&memory, &before, sizeof(memory));
    }
    assert_int_equal(policy_parse_max_memory("7=1GB", &memory, &g_error), -EINVAL);
    /* Far more digits than are looked at: refused for the length, before the size is read. */
    memset(long_text, '1', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    long_text[1] = '=';
    assert_int_equal(policy_parse_max_memory(long_text, &memory, &g_error), -EINVAL);
    assert_string_equal(g_error.found, "no such pair");
}

static void words(void **state)
{
    static const struct {
        const char *text;
        int place;
    } good[] = {{"cpu", POLICY_CPU}, {"disk", POLICY_DISK}, {"cuda", 0},
                {"cuda:0", 0},       {"cuda:9", 9},         {"cuda:63", 63}};
    static const char *const bad[] = {"",       "0",       "gpu",     "cuda:",    "cuda:64",
                                      "cuda:x", "cuda:-1", "cuda:00", "cuda:007", "cuda1",
                                      "cpu ",   "cpu:0",   "meta",    "Disk"};
    enum policy_backend backend = POLICY_BACKEND_OFF;
    enum dtype dtype = DTYPE_COUNT;
    char text[POLICY_PLACE_BYTES];
    size_t i;
    int place = 77;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(policy_parse_place(bad[i], &place), -EINVAL);
    assert_int_equal(place, 77);
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(policy_parse_place(good[i].text, &place), 0);
        assert_int_equal(place, good[i].place);
    }

    assert_int_equal(policy_parse_backend("un", &backend, &g_error), -EINVAL);
    assert_string_equal(line(), "expected auto, um or off, found \"un\"; did you mean \"um\"?");
    assert_int_equal(policy_parse_backend("vmm", &backend, &g_error), -EINVAL);
    assert_int_equal(policy_parse_backend("", &backend, &g_error), -EINVAL);
    assert_int_equal(backend, POLICY_BACKEND_OFF);
    for (i = 0; i < POLICY_BACKEND_COUNT; i++) {
        assert_int_equal(policy_parse_backend(policy_backend_name(i), &backend, &g_error), 0);
        assert_int_equal(backend, i);
    }
    assert_string_equal(policy_backend_name(POLICY_BACKEND_COUNT), "?");

    assert_string_equal(policy_place_name(0, text), "0");
    assert_string_equal(policy_place_name(63, text), "63");
    assert_string_equal(policy_place_name(POLICY_CPU, text), "cpu");
    assert_string_equal(policy_place_name(POLICY_DISK, text), "disk");
    assert_string_equal(policy_place_name(POLICY_NOWHERE, text), "?");
    assert_string_equal(policy_place_name(64, text), "?");
    assert_int_equal(policy_parse_dtype("torch.flaot16", &dtype, &g_error), -EINVAL);
    assert_string_equal(line(), "expected float64, float32, float16, bfloat16, float8_e4m3fn, "
                                "float8_e5m2, int8 or uint8, found \"flaot16\"; did you mean "
                                "\"float16\"?");
    assert_int_equal(policy_parse_dtype("torch.", &dtype, &g_error), -EINVAL);
    assert_int_equal(dtype, DTYPE_COUNT);
    assert_int_equal(policy_parse_dtype("torch.float8_e5m2", &dtype, &g_error), 0);
    assert_int_equal(dtype, DTYPE_F8_E5M2);
    assert_int_equal(policy_parse_dtype("float64", &dtype, &g_error), 0);
    assert_int_equal(dtype, DTYPE_F64);
    assert_string_equal(policy_dtype_name(DTYPE_F8_E4M3), "float8_e4m3fn");
    assert_null(policy_dtype_name(DTYPE_COUNT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budgets_of_a_flag),
        cmocka_unit_test(flags_that_are_refused),
        cmocka_unit_test(words),
    };

    return cmocka_run_group_tests_name("policy_words", tests, NULL, NULL);
}
