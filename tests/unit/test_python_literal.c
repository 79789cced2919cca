/* Strategy: what is read is compared as JSON text, as cJSON prints it; every refusal has its line
 * in full. Every beginning of a good text must be refused, and every text that begins a dictionary
 * of JSON left to JSON's reader. Texts lie at the end of their memory, so that a sanitizer sees a
 * reader that goes on.
 */
#include "data.h"
#include "python_literal.h"
#include <errno.h>
#include <string.h>

static struct input_error g_error;

static int parse(const char *text, size_t bytes, cJSON **out)
{
    char *exact = malloc(bytes ? bytes : 1);
    int res;

    memcpy(exact, text, bytes);
    input_error_clear(&g_error);
    res = python_literal_parse(exact, bytes, out, &g_error);
    free(exact);
    return res;
}

static const struct {
    const char *text, *json;
} g_good[] = {
    {"{}", "{}"},
    {"OrderedDict([])", "{}"},
    {"OrderedDict({})", "{}"},
    {"{'': 0}", "{\"\":0}"},
    {" {\n\t'a.b' :\r1 , 'c':'cpu'}\n", "{\"a.b\":1,\"c\":\"cpu\"}"},
    {"{'a': 0,}", "{\"a\":0}"},
    {"{0: '10GiB', 'cpu': 90071992547409}", "{\"0\":\"10GiB\",\"cpu\":90071992547409}"},
    {"{\"it's\": \"\"}", "{\"it's\":\"\"}"},
    {"{'\\\\ \\' \\\" \\n\\r\\t \\x41\\u00fc\\u20ac\\U0001F600': 0}",
     "{\"\\\\ ' \\\" \\n\\r\\t A\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\":0}"},
    {"{'\xc3\xbc': 0, 'a': 0, 'a': 1}", "{\"\xc3\xbc\":0,\"a\":0,\"a\":1}"},
    {"OrderedDict([('a', 0), ('b', 'cpu'),])", "{\"a\":0,\"b\":\"cpu\"}"},
    {"OrderedDict( [ ( 'a' , device( type = 'cuda' , index = 1 ) ) ] )", "{\"a\":\"cuda:1\"}"},
    {"OrderedDict({'a': device(type='cpu')})", "{\"a\":\"cpu\"}"},
    {"{'a': device(type='cuda', index=1234567890123456)}", "{\"a\":\"cuda:1234567890123456\"}"},
};

static void what_is_read(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(g_good) / sizeof(g_good[0]); i++) {
        cJSON *root = NULL;
        char *json;

        if (parse(g_good[i].text, strlen(g_good[i].text), &root))
            fail_msg("%s: %s, %s", g_good[i].text, g_error.expected, g_error.found);
        json = cJSON_PrintUnformatted(root);
        assert_string_equal(json, g_good[i].json);
        cJSON_free(json);
        cJSON_Delete(root);
    }
}

static void largest_integer(void **state)
{
    cJSON *root = NULL;

    (void)state;
    assert_int_equal(parse("{'a': 9007199254740991}", 23, &root), 0);
    assert_true(root->child->valuedouble == 9007199254740991.0);
    cJSON_Delete(root);
}

static void what_is_cut_off(void **state)
{
    size_t i, bytes;

    (void)state;
    for (i = 0; i < sizeof(g_good) / sizeof(g_good[0]); i++) {
        size_t whole = strlen(g_good[i].text);

        while (g_good[i].text[whole - 1] == '\n')
            whole--;
        for (bytes = 0; bytes < whole; bytes++) {
            cJSON *root = NULL;

            assert_int_equal(parse(g_good[i].text, bytes, &root), -EINVAL);
            assert_null(root);
            assert_int_not_equal(g_error.line, 0);
        }
    }
}

#define VALUE "a string, an integer or device(type='cuda', index=0)"

static void what_is_refused(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", "1:1: expected a dictionary, found the end of the text"},
        {"[]", "1:1: expected a dictionary, found '['"},
        {"dict(a=1)", "1:1: expected a dictionary, found 'd'"},
        {"OrderedDict[]", "1:12: expected '(', found '['"},
        {"OrderedDict(('a', 1))", "1:13: expected '[' or '{', found '('"},
        {"OrderedDict([['a', 1]])", "1:14: expected '(', found '['"},
        {"OrderedDict([('a': 1)])", "1:18: a: expected ',', found ':'"},
        {"OrderedDict([('a', 1, 2)])", "1:21: expected ')', found ','"},
        {"OrderedDict({'a': 1}", "1:21: expected ')', found the end of the text"},
        {"{'a' 1}", "1:6: a: expected ':', found '1'"},
        {"{'a': 1 'b': 2}", "1:9: expected ',' or '}', found '''"},
        {"{'a': 1,,}", "1:9: expected a key: a string or an integer, found ','"},
        {"{,}", "1:2: expected a key: a string or an integer, found ','"},
        {"{None: 1}", "1:2: expected a key: a string or an integer, found 'N'"},
        {"{-1: 1}", "1:2: expected a key: a string or an integer, found '-'"},
        {"{'a': -1}", "1:7: a: expected " VALUE ", found '-'"},
        {"{'a': nan}", "1:7: a: expected " VALUE ", found 'n'"},
        {"{'a': None}", "1:7: a: expected " VALUE ", found 'N'"},
        {"{'a': {}}", "1:7: a: expected " VALUE ", found '{'"},
        {"{'a': [[[[", "1:7: a: expected " VALUE ", found '['"},
        {"{'a': 1.5}", "1:8: expected ',' or '}', found '.'"},
        {"{'a': 1e5}", "1:8: expected ',' or '}', found 'e'"},
        {"{'a': 1_000}", "1:8: expected ',' or '}', found '_'"},
        {"{'a': 01}", "1:7: a: expected an integer without leading zeros, found a digit after 0"},
        {"{'a': 9007199254740992}",
         "1:7: a: expected an integer of less than 2^53, found a larger one"},
        {"{'a': 99999999999999999999999}",
         "1:7: a: expected an integer of less than 2^53, found a larger one"},
        {"{'a': 'b", "1:9: a: expected a closing quotation mark, found the end of the text"},
        {"{'a\nb': 1}", "1:4: expected a string on one line, found a control character"},
        {"{'a\x80': 1}", "1:4: expected UTF-8, found byte 0x80, which is not UTF-8"},
        {"{'\xed\xa0\x80': 1}", "1:3: expected UTF-8, found byte 0xed, which is not UTF-8"},
        {"{'\\q': 1}", "1:4: expected one of \\ ' \" n r t x u U after a backslash, found 'q'"},
        {"{'\\x4': 1}", "1:6: expected a hexadecimal digit of an escape, found '''"},
        {"{'\\x00': 1}",
         "1:3: expected the escape of a character other than NUL, found a number that is none"},
        {"{'\\ud800': 1}",
         "1:3: expected the escape of a character other than NUL, found a number that is none"},
        {"{'\\U00110000': 1}",
         "1:3: expected the escape of a character other than NUL, found a number that is none"},
        {"{'a': device('cuda')}", "1:14: a: expected 'type', found '''"},
        {"{'a': device(type=0)}", "1:19: a: expected a string, found '0'"},
        {"{'a': device(type='cuda', 1)}", "1:27: a: expected 'index', found '1'"},
        {"{'a': device(type='cuda', index=-1)}", "1:33: a: expected a GPU index, found '-'"},
        {"{'a': device(type='cuda', index=1, x=2)}", "1:34: a: expected ')', found ','"},
        {"{'a': 1} # map", "1:10: expected nothing after the dictionary, found '#'"},
        {"{'a': 1}\n{", "2:1: expected nothing after the dictionary, found '{'"},
        {"{u'a': 1}", "1:2: expected a key: a string or an integer, found 'u'"},
    };
    char line[INPUT_ERROR_TEXT_BYTES];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cJSON *root = NULL;

        assert_int_equal(parse(rows[i].text, strlen(rows[i].text), &root), -EINVAL);
        assert_null(root);
        assert_string_equal(input_error_format(&g_error, line, sizeof(line)), rows[i].want);
    }
    assert_int_equal(parse("{'a\0': 1}", 9, &(cJSON *){NULL}), -EINVAL);
    assert_string_equal(g_error.expected, "a string on one line");
}

static void where_an_entry_is(void **state)
{
    static const char text[] = " OrderedDict([\n  ('a', 0), ('b', 1),\n  ('a', 2)])";
    static const unsigned places[][2] = {{2, 4}, {2, 14}, {3, 4}};
    const cJSON *entry;
    cJSON *root = NULL;
    size_t i = 0;

    (void)state;
    assert_int_equal(parse(text, strlen(text), &root), 0);
    python_literal_locate(text, strlen(text), root, root, &g_error);
    assert_int_equal(g_error.line, 1);
    assert_int_equal(g_error.column, 2);
    cJSON_ArrayForEach(entry, root)
    {
        python_literal_locate(text, strlen(text), root, entry, &g_error);
        assert_int_equal(g_error.line, places[i][0]);
        assert_int_equal(g_error.column, places[i][1]);
        i++;
    }
    assert_int_equal(i, 3);
    cJSON_Delete(root);
}

static void what_begins_one(void **state)
{
    static const char *const python[] = {"{'", " \n{ 0", "OrderedDict(", "\tOrderedDict", "{9: "};
    static const char *const other[] = {"",  "{",          "{}", "{\"", "{ \"a\": 'b'",
                                        "[", "OrderedDic", "{-1"};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(python) / sizeof(python[0]); i++)
        assert_true(python_literal_begins(python[i], strlen(python[i])));
    for (i = 0; i < sizeof(other) / sizeof(other[0]); i++)
        assert_false(python_literal_begins(other[i], strlen(other[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read),      cmocka_unit_test(what_is_cut_off),
        cmocka_unit_test(largest_integer),   cmocka_unit_test(what_is_refused),
        cmocka_unit_test(where_an_entry_is), cmocka_unit_test(what_begins_one),
    };

    return cmocka_run_group_tests_name("python_literal", tests, NULL, NULL);
}
