/* Strategy: the line as a person sees it, field by field; then what a hostile file could put into
 * it: line breaks, escapes, broken UTF-8, names longer than any buffer. UTF-8 decoding is tested
 * here with it, at both ends of every length.
 */
#include "data.h"
#include "error.h"
#include "utf8.h"
#include <string.h>

static struct input_error g_error;
static char g_text[INPUT_ERROR_TEXT_BYTES];

static const char *line(void)
{
    return input_error_format(&g_error, g_text, sizeof(g_text));
}

static void whole_lines(void **state)
{
    (void)state;
    input_error_clear(&g_error);
    assert_int_equal(input_error_set(&g_error, -22, 8, "x", "%d", 7), -22);
    assert_string_equal(line(), "byte 8: expected x, found 7");

    input_error_set_file(&g_error, "a/b.safetensors");
    input_error_set_field(&g_error, "w.weight", 8);
    assert_string_equal(line(), "a/b.safetensors: byte 8: w.weight: expected x, found 7");

    g_error.line = 3;
    g_error.column = 14;
    assert_string_equal(line(), "a/b.safetensors:3:14: w.weight: expected x, found 7");

    input_error_set_file(&g_error, "");
    assert_string_equal(line(), "3:14: w.weight: expected x, found 7");

    input_error_clear(&g_error);
    input_error_set(&g_error, -22, INPUT_ERROR_NO_OFFSET, "y", "z");
    assert_string_equal(line(), "expected y, found z");
    input_error_set_file(&g_error, "f");
    assert_string_equal(line(), "f: expected y, found z");
}

static void one_line_whatever_comes(void **state)
{
    (void)state;
    input_error_clear(&g_error);
    input_error_set_file(&g_error, "a\nb\033[31m");
    input_error_set_field(&g_error, "n\0\x7f\xff", 4);
    input_error_set(&g_error, -22, 0, "t\tu", "\xc3\xbc \xe2\x80\xa8 \xc2\x85 \xe2\x80\xae \xe2");
    assert_string_equal(line(),
                        "a\\x0ab\\x1b[31m: byte 0: n\\x00\\x7f\\xff: expected t\\x09u, found "
                        "\xc3\xbc \\xe2\\x80\\xa8 \\xc2\\x85 \\xe2\\x80\\xae \\xe2");
}

static void cut_on_whole_characters(void **state)
{
    char name[1000];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(name); i += 2)
        memcpy(name + i, "\xc3\xbc", 2);
    for (i = 0; i < 2; i++) {
        input_error_set_field(&g_error, name + i, sizeof(name) - i);
        assert_int_equal(strlen(g_error.field) < sizeof(g_error.field), 1);
        assert_string_equal(g_error.field + strlen(g_error.field) - 5, "\xc3\xbc...");
    }
    input_error_set_field(&g_error, name, 254);
    assert_int_equal(strlen(g_error.field), 254);
    memset(name, 'x', sizeof(name));
    strcpy(g_error.expected, "untouched");
    for (i = 200; i < 300; i++) {
        input_error_set_field(&g_error, name, i);
        assert_int_equal(strlen(g_error.field), i < sizeof(g_error.field) ? i : 255);
        assert_string_equal(g_error.expected, "untouched");
    }
    memset(name, 1, sizeof(name));
    input_error_set_field(&g_error, name, sizeof(name));
    assert_string_equal(g_error.field + strlen(g_error.field) - 7, "\\x01...");
}

static void a_long_path_keeps_its_tail(void **state)
{
    char path[2000];

    (void)state;
    memset(path, 'a', sizeof(path));
    strcpy(path + 1900, "/model.safetensors");
    input_error_set_file(&g_error, path);
    assert_non_null(strstr(g_error.file, "aaa/model.safetensors"));
    memset(path, '\n', 1900);
    input_error_set_file(&g_error, path);
    assert_true(strlen(g_error.file) < sizeof(g_error.file));
}

static void nothing_is_cut_from_the_longest_line(void **state)
{
    char text[4000];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    input_error_clear(&g_error);
    input_error_set_file(&g_error, text);
    input_error_set_field(&g_error, text, strlen(text));
    input_error_set(&g_error, 0, UINT64_MAX - 1, text, "%s", text);
    memset(g_error.file, 'y', sizeof(g_error.file) - 1);
    g_error.file[sizeof(g_error.file) - 1] = '\0';
    assert_true(strlen(line()) + 1 < sizeof(g_text));
    assert_string_equal(g_text + strlen(g_text) - 4, "x...");
}

static void utf8(void **state)
{
    static const struct {
        const char *text;
        size_t taken;
        uint32_t code;
    } rows[] = {
        {"\x01", 1, 1},
        {"\x7f", 1, 0x7f},
        {"\x80", 0, 0},
        {"\xbf", 0, 0},
        {"\xc1\xbf", 0, 0},
        {"\xc2\x80", 2, 0x80},
        {"\xdf\xbf", 2, 0x7ff},
        {"\xdf", 0, 0},
        {"\xdf\x7f", 0, 0},
        {"\xdf\xc0", 0, 0},
        {"\xe0\x9f\xbf", 0, 0},
        {"\xe0\xa0\x80", 3, 0x800},
        {"\xed\x9f\xbf", 3, 0xd7ff},
        {"\xed\xa0\x80", 0, 0},
        {"\xed\xbf\xbf", 0, 0},
        {"\xee\x80\x80", 3, 0xe000},
        {"\xef\xbf\xbf", 3, 0xffff},
        {"\xf0\x8f\xbf\xbf", 0, 0},
        {"\xf0\x90\x80\x80", 4, 0x10000},
        {"\xf4\x8f\xbf\xbf", 4, 0x10ffff},
        {"\xf4\x90\x80\x80", 0, 0},
        {"\xf5\x80\x80\x80", 0, 0},
        {"\xf8\x88\x80\x80\x80", 0, 0},
        {"\xff", 0, 0},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const unsigned char *text = (const unsigned char *)rows[i].text;
        size_t left = strlen(rows[i].text);
        uint32_t code = 0;

        if (utf8_decode(text, left, &code) != rows[i].taken || code != rows[i].code)
            fail_msg("row %zu: %zu, U+%04x", i, utf8_decode(text, left, &code), code);
        if (rows[i].taken > 1)
            assert_int_equal(utf8_decode(text, left - 1, &code), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_lines),
        cmocka_unit_test(one_line_whatever_comes),
        cmocka_unit_test(cut_on_whole_characters),
        cmocka_unit_test(a_long_path_keeps_its_tail),
        cmocka_unit_test(nothing_is_cut_from_the_longest_line),
        cmocka_unit_test(utf8),
    };

    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
