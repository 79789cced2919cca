/* Strategy: documents are walked value by value beside the tree that cJSON makes of them; what a
 * key or a string means, where each value ends and what a number is must be the same in both. The
 * document lies in a block of exactly its size. Comparing and hashing are tried on all pairs of
 * strings that mean the same or nearly.
 */
#include "data.h"
#include "json.h"
#include "json_string.h"
#include "json_walk.h"
#include <errno.h>
#include <string.h>

static void same_string(const char *text, size_t at, const char *want)
{
    const size_t room = json_string_end(text, at, NULL) - at;
    char *out = malloc(room);
    size_t bytes = json_string_decode(text, at, out, room);

    assert_int_equal(bytes, strlen(want));
    assert_memory_equal(out, want, bytes);
    /* Cut between two characters, never inside one. */
    for (size_t less = 0; less < bytes; less++) {
        size_t cut = json_string_decode(text, at, out, less);

        assert_true(cut <= less && ((unsigned char)want[cut] & 0xC0) != 0x80);
    }
    free(out);
}

/* returns  where the value ends */
static size_t same_value(const char *text, size_t at, const cJSON *item)
{
    const size_t end = json_walk_skip(text, at);
    const cJSON *child = item->child;
    char described[100], walked[100];
    uint64_t number, other;
    bool more;

    assert_string_equal(json_walk_describe(text, at, walked, sizeof(walked)),
                        json_describe(item, described, sizeof(described)));
    assert_int_equal(json_walk_u64(text, at, &number) == 0, json_get_u64(item, &other) == 0);
    if (cJSON_IsString(item))
        same_string(text, at, item->valuestring);
    else if (json_get_u64(item, &other) == 0)
        assert_int_equal(number, other);
    if (!cJSON_IsObject(item) && !cJSON_IsArray(item))
        return end;
    for (more = json_walk_enter(text, &at); more; more = json_walk_next(text, &at)) {
        assert_non_null(child);
        if (cJSON_IsObject(item)) {
            same_string(text, at, child->string);
            at = json_walk_value(text, at);
        }
        at = same_value(text, at, child);
        child = child->next;
    }
    assert_null(child);
    assert_int_equal(at, end);
    return end;
}

static void as_the_tree(void **state)
{
    static const char *const texts[] = {
        "{}",
        " [ ] ",
        "[0,1, 9007199254740991 ,-1,true,false,null,[],{},[[]],\"\"]",
        "{\"a\":1,\"b\":{\"c\":[1,{\"d\":\"}]{[\"}]},\"\":\"\\\\\"}\n",
        "\t{ \"a\" : [ 1 , 2 ] , \"b\" : \"x\" }   ",
        "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"\\u00e9\\uD83D\\uDE00\\u20acx\",\"\xc3\xbc\xf0\x9f\x98\x80\"]",
        "{\"\\u0061\\n\":{\"\\\"\":\"\\\\\"}}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const size_t bytes = strlen(texts[i]);
        char *text = malloc(bytes);
        struct input_error error;
        cJSON *root;

        memcpy(text, texts[i], bytes);
        assert_int_equal(json_check(text, bytes, JSON_INTEGERS, &error), 0);
        assert_int_equal(json_parse(text, bytes, JSON_INTEGERS, &root, &error), 0);
        same_value(text, json_walk_begin(text), root);
        cJSON_Delete(root);
        free(text);
    }
}

static void what_strings_mean(void **state)
{
    static const char text[] =
        "\"shape\"\"\\u0073hape\"\"shap\\u0065\"\"shap\"\"shapes\"\"\\nhape\""
        "\"\"\"Shape\"\"sh\\u00e4pe\"\"sh\xc3\xa4pe\"\"\\uD83D\\uDE00\""
        "\"\xf0\x9f\x98\x80\"\"shap\\\"\"";
    static const int meanings[] = {1, 1, 1, 2, 3, 4, 5, 6, 7, 7, 8, 8, 9};
    size_t places[13], count = 0, at;

    (void)state;
    for (at = 0; text[at]; at = json_string_end(text, at, NULL))
        places[count++] = at;
    assert_int_equal(count, 13);
    for (size_t a = 0; a < count; a++) {
        assert_int_equal(json_string_is(text, places[a], "shape"), meanings[a] == 1);
        assert_int_equal(json_string_is(text, places[a], ""), meanings[a] == 5);
        for (size_t b = 0; b < count; b++) {
            const int order = json_string_compare(text, places[a], places[b]);

            assert_int_equal(order == 0, meanings[a] == meanings[b]);
            assert_int_equal(order, -json_string_compare(text, places[b], places[a]));
            assert_int_equal(json_string_hash(text, places[a]) == json_string_hash(text, places[b]),
                             meanings[a] == meanings[b]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_tree),
        cmocka_unit_test(what_strings_mean),
    };

    return cmocka_run_group_tests_name("json_walk", tests, NULL, NULL);
}
