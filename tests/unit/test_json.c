/* Strategy: a table of texts that RFC 8259 allows and one of texts that it does not, every text of
 * which cJSON alone would take or answer without a place; for the latter the place is checked to
 * the column. Limits are tested at their last good and first bad value. Memory that runs out in
 * cJSON is simulated by failing its Nth allocation until the text parses.
 */
#include "data.h"
#include "json.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

static struct input_error g_error;

static int parse(const char *text, size_t bytes, unsigned flags)
{
    char *copy = malloc(bytes ? bytes : 1); /* exactly as long, so that a sanitizer sees overruns */
    cJSON *root = NULL;
    int res;

    memcpy(copy, text, bytes);
    input_error_clear(&g_error);
    res = json_parse(copy, bytes, flags, &root, &g_error);
    assert_true((res == 0) == (root != NULL));
    cJSON_Delete(root);
    free(copy);
    return res;
}

static void texts_of_the_rfc(void **state)
{
    static const char *const texts[] = {
        "{}",
        "[]",
        "\"\"",
        "0",
        "-0",
        "-1.5e+10",
        "1E5",
        "0.1",
        "true",
        "false",
        "null",
        " \t\r\n{ \"a\" : [ 1 , 2 ] } \n",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\uDE00\"",
        "\"\xc3\xbc \x7f\"",
        "{\"a\":{\"a\":1},\"A\":2,\"\":3,\"b\":[{\"a\":1},{\"a\":1}]}",
        "[[[[[]]]],{\"x\":null}]",
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (parse(texts[i], strlen(texts[i]), 0))
            fail_msg("%s: expected %s, found %s", texts[i], g_error.expected, g_error.found);
    }
}

static void texts_that_are_none(void **state)
{
    static const struct {
        const char *text, *found;
        unsigned column;
    } rows[] = {
        {"", "the end of the text", 1},
        {"  ", "the end of the text", 3},
        {"\xef\xbb\xbf{}", "", 1},
        {"{", "the end of the text", 2},
        {"[1,]", "']'", 4},
        {"[1 2]", "'2'", 4},
        {"[1}", "'}'", 3},
        {"{\"a\" 1}", "'1'", 6},
        {"{\"a\":}", "'}'", 6},
        {"{\"a\":1,}", "'}'", 8},
        {"{a:1}", "'a'", 2},
        {"{1:1}", "'1'", 2},
        {"{} x", "'x'", 4},
        {"{}{}", "'{'", 3},
        {"nul", "'n'", 1},
        {"nan", "'n'", 1},
        {"NaN", "'N'", 1},
        {"Infinity", "'I'", 1},
        {"-Infinity", "'I'", 2},
        {"True", "'T'", 1},
        {"'a'", "'''", 1},
        {"01", "a digit after 0", 2},
        {"-", "the end of the text", 2},
        {"+1", "'+'", 1},
        {".5", "'.'", 1},
        {"1.", "the end of the text", 3},
        {"1.e5", "'e'", 3},
        {"1e", "the end of the text", 3},
        {"1e+", "the end of the text", 4},
        {"0x10", "'x'", 2},
        {"\"a", "the end of the text", 3},
        {"\"a\nb\"", "a control character, which JSON escapes", 3},
        {"\"\\", "the end of the text", 3},
        {"\"\\x41\"", "'x'", 3},
        {"\"\\u12g4\"", "'g'", 6},
        {"\"\\u12", "the end of the text", 6},
        {"\"\\ud800\"", "a high surrogate alone", 2},
        {"\"\\ud800\\u0041\"", "a high surrogate alone", 2},
        {"\"\\ud800\\n\"", "a high surrogate alone", 2},
        {"\"\\udc00\"", "a low surrogate alone", 2},
        {"\"\\u0000\"", "\\u0000", 2},
        {"\"\xff\"", "byte 0xff, which is not UTF-8", 2},
        {"\"\xc3\"", "byte 0xc3, which is not UTF-8", 2},
        {"\"\xed\xa0\x80\"", "byte 0xed, which is not UTF-8", 2},
        {"[\"a\",\xff]", "byte 0xff, which is not UTF-8", 6},
        {"// x\n1", "'/'", 1},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int res = parse(rows[i].text, strlen(rows[i].text), 0);

        if (res != -EINVAL || g_error.line != 1 || g_error.column != rows[i].column ||
            g_error.offset != rows[i].column - 1 ||
            (*rows[i].found && strcmp(g_error.found, rows[i].found)))
            fail_msg("%s: %d at %u:%u, found %s", rows[i].text, res, g_error.line, g_error.column,
                     g_error.found);
    }
    assert_int_equal(parse("{}\0", 3, 0), -EINVAL);
    assert_int_equal(parse("\"a\0b\"", 5, 0), -EINVAL);
    assert_int_equal(parse("\0", 1, 0), -EINVAL);
    assert_int_equal(parse("{\n\n  1}", 7, 0), -EINVAL);
    assert_int_equal(g_error.line, 3);
    assert_int_equal(g_error.column, 3);
}

static void duplicate_keys(void **state)
{
    static const char large[] = "{\"a\":0,\"b\":0,\"c\":0,\"d\":0,\"e\":0,\"f\":0,\"g\":0,\"h\":0,"
                                "\"i\":0,\"j\":0,\"k\":0,\"l\":0,\"m\":0,\"n\":0,\"o\":0,\"p\":0,"
                                "\"q\":0,\"b\":1}";
    static const char nested[] = "[1,{\"x\":{\"a\":1,\n \"b\":2, \"\\u0061\":3}}]";

    (void)state;
    assert_int_equal(parse("{\"a\":1,\"a\":1}", 13, 0), -EINVAL);
    assert_int_equal(g_error.column, 8);
    assert_string_equal(g_error.found, "\"a\" a second time");
    assert_int_equal(parse("{\"\":1,\"\":1}", 11, 0), -EINVAL);
    assert_int_equal(parse(large, strlen(large), 0), -EINVAL);
    assert_int_equal(g_error.offset, strlen(large) - 6);
    assert_int_equal(parse(nested, strlen(nested), 0), -EINVAL);
    assert_int_equal(g_error.line, 2);
    assert_int_equal(g_error.column, 9);
}

/* Objects with many keys inside one another: each has its own, and those of one that ended do not
 * count for the one around it. The three of a kind are told by the second. */
static void duplicates_among_many(void **state)
{
    char text[20000], *at = text;
    size_t place;

    (void)state;
    for (int depth = 0; depth < 3; depth++) {
        at += sprintf(at, "%s{", depth ? "\"in\":" : "");
        for (int i = 0; i < 100; i++)
            at += sprintf(at, "\"key%d\":%d,", i * 37 % 100, i);
    }
    at += sprintf(at, "\"x\":0},\"y\":0},\"key\":0");
    place = (size_t)(at - text);
    strcpy(at, "}");
    assert_int_equal(parse(text, strlen(text), 0), 0);
    strcpy(at, ",\"\\u006bey99\":0,\"key99\":1}");
    assert_int_equal(parse(text, strlen(text), 0), -EINVAL);
    assert_string_equal(g_error.found, "\"key99\" a second time");
    assert_int_equal(g_error.offset, place + 1);
}

static void nesting(void **state)
{
    char text[2 * (JSON_DEPTH_MAX + 1)];
    char *endless = malloc(1000000);

    (void)state;
    memset(text, '[', JSON_DEPTH_MAX + 1);
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    assert_int_equal(parse(text + 1, 2 * JSON_DEPTH_MAX, 0), 0);
    assert_int_equal(parse(text, 2 * JSON_DEPTH_MAX + 2, 0), -EINVAL);
    assert_int_equal(g_error.offset, JSON_DEPTH_MAX);

    memset(endless, '[', 1000000);
    assert_int_equal(parse(endless, 1000000, 0), -EINVAL);
    assert_string_equal(g_error.found, "deeper nesting");
    free(endless);
}

static void how_many_values(void **state)
{
    size_t bytes = 2 * (size_t)JSON_VALUES_MAX + 1, i;
    char *text = malloc(bytes);

    (void)state;
    for (i = 0; i < bytes; i++)
        text[i] = i % 2 ? '0' : ',';
    text[0] = '[';
    text[bytes - 1] = ']';
    assert_int_equal(parse(text, bytes, 0), -EINVAL);
    assert_string_equal(g_error.expected, "at most 8000000 values");
    free(text);

    input_error_clear(&g_error);
    assert_int_equal(json_parse("", (size_t)JSON_BYTES_MAX + 1, 0, NULL, &g_error), -EINVAL);
    assert_string_equal(g_error.found, "100000001");
}

static void integers(void **state)
{
    static const char *const good[] = {"0", "1", "-1", "9007199254740991", "-9007199254740991"};
    static const char *const bad[] = {"-0",
                                      "1.0",
                                      "1e2",
                                      "0.99999999999999999999",
                                      "9007199254740992",
                                      "-9007199254740992",
                                      "99999999999999999",
                                      "18446744073709551616",
                                      "1000000000000000000000000000000000000000"};
    char longest[65], found[100];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(parse(good[i], strlen(good[i]), JSON_INTEGERS), 0);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(found, sizeof(found), "[[%s]]", bad[i]);
        assert_int_equal(parse(found, strlen(found), 0), 0);
        assert_int_equal(parse(found, strlen(found), JSON_INTEGERS), -EINVAL);
        assert_string_equal(g_error.found, bad[i]);
        assert_int_equal(g_error.column, 3);
    }
    memset(longest, '7', sizeof(longest));
    assert_int_equal(parse(longest, 63, 0), 0);
    assert_int_equal(parse(longest, 64, 0), -EINVAL);
}

static cJSON *tree(const char *text)
{
    cJSON *root = NULL;

    assert_int_equal(json_parse(text, strlen(text), 0, &root, &g_error), 0);
    return root;
}

static void places(void **state)
{
    static const char text[] = " {\"a\": [10,\n  20], \"b\": {\"c\": 3}}";
    cJSON *root = tree(text);
    const cJSON *a = cJSON_GetObjectItem(root, "a"), *b = cJSON_GetObjectItem(root, "b");

    (void)state;
    json_locate(text, strlen(text), root, root, &g_error);
    assert_int_equal(g_error.offset, 1);
    json_locate(text, strlen(text), root, a, &g_error);
    assert_int_equal(g_error.offset, 2);
    json_locate(text, strlen(text), root, a->child, &g_error);
    assert_int_equal(g_error.offset, 8);
    json_locate(text, strlen(text), root, a->child->next, &g_error);
    assert_int_equal(g_error.line, 2);
    assert_int_equal(g_error.column, 3);
    json_locate(text, strlen(text), root, b->child, &g_error);
    assert_int_equal(g_error.offset, strchr(text, 'c') - 1 - text);

    g_error.offset = 999;
    json_locate(text, strlen(text), a, b, &g_error);
    assert_int_equal(g_error.offset, 999);
    cJSON_Delete(root);
}

static void numbers_and_words(void **state)
{
    static const char *const words[] = {"7",        "-7",   "a number", "\"x\"", "an object",
                                        "an array", "null", "true",     "false", "a number"};
    cJSON *root = tree("[7,-7,1.5,\"x\",{},[],null,true,false,1e300]");
    const cJSON *item;
    uint64_t value = 99;
    char text[32], small[4];
    size_t i = 0;

    (void)state;
    cJSON_ArrayForEach(item, root)
    {
        assert_string_equal(json_describe(item, text, sizeof(text)), words[i++]);
    }
    assert_string_equal(json_describe(NULL, text, sizeof(text)), "nothing");
    assert_string_equal(json_describe(cJSON_GetArrayItem(root, 4), small, sizeof(small)), "an ");
    assert_int_equal(json_get_u64(cJSON_GetArrayItem(root, 1), &value), -EINVAL);
    assert_int_equal(json_get_u64(cJSON_GetArrayItem(root, 3), &value), -EINVAL);
    assert_int_equal(json_get_u64(NULL, &value), -EINVAL);
    assert_int_equal(value, 99);
    assert_int_equal(json_get_u64(cJSON_GetArrayItem(root, 0), &value), 0);
    assert_int_equal(value, 7);
    cJSON_Delete(root);
}

static int g_allocations_left;

static void *scarce_malloc(size_t bytes)
{
    return g_allocations_left-- > 0 ? malloc(bytes) : NULL;
}

static void memory_runs_out(void **state)
{
    static const char text[] = "{\"a\":[1,2,3],\"b\":\"text\",\"c\":{\"d\":null}}";
    cJSON_Hooks hooks = {.malloc_fn = scarce_malloc, .free_fn = free};
    int limit = 0, res;

    (void)state;
    cJSON_InitHooks(&hooks);
    do {
        g_allocations_left = limit++;
        res = parse(text, strlen(text), 0);
        if (res)
            assert_int_equal(res, -ENOMEM);
    } while (res && limit < 100);
    cJSON_InitHooks(NULL);
    assert_int_equal(res, 0);
    assert_true(limit > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_of_the_rfc),  cmocka_unit_test(texts_that_are_none),
        cmocka_unit_test(duplicate_keys),    cmocka_unit_test(duplicates_among_many),
        cmocka_unit_test(nesting),           cmocka_unit_test(how_many_values),
        cmocka_unit_test(integers),          cmocka_unit_test(places),
        cmocka_unit_test(numbers_and_words), cmocka_unit_test(memory_runs_out),
    };

    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
