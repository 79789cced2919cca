/* Strategy: a table of patterns and names says what the syntax means; a matcher of the slow,
 * obvious kind is asked about every short pattern and name over a small alphabet. The module that
 * is found is held against a table.
 */
#include "data.h"
#include "pattern.h"
#include <string.h>

static bool match(const char *pattern, const char *name)
{
    return pattern_match(pattern, name, strlen(name));
}

static void what_matches(void **state)
{
    static const struct {
        const char *pattern, *name;
        bool want;
    } rows[] = {
        {"model.layers.*", "model.layers.0", true},
        {"model.layers.*", "model.layers.10.mlp.up", true},
        {"model.layers.*", "model.layers.", true},
        {"model.layers.*", "model.layers", false},
        {"model.layers.*", "xmodel.layers.0", false},
        {"*.mlp", "model.layers.0.mlp", true},
        {"*.mlp", "mlp", false},
        {"*.mlp", "a.mlp.mlp", true},
        {"*.mlp", "model.layers.0.mlp.up", false},
        {"te.*", "te.encoder.block.0", true},
        {"te.*", "text.encoder", false},
        {"*", "", true},
        {"*", "a.b", true},
        {"**", "a.b", true},
        {"", "", true},
        {"", "a", false},
        {"a", "", false},
        {"?", "", false},
        {"h.?", "h.9", true},
        {"h.?", "h.10", false},
        {"a?b", "a.b", false},
        {"a?b", "a?b", true},
        {"a?b",
         "a\xc3\xbc"
         "b",
         true},
        {"a??b",
         "a\xc3\xbc"
         "b",
         false},
        {"[ab]", "a", false},
        {"[ab]", "[ab]", true},
        {"A", "a", false},
        {"*a*b*c*", "xxaxxbxxc", true},
        {"*a*b*c", "abcabd", false},
        {"*ab", "aab", true},
        {"*.weight", "a.b.weight", true},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (match(rows[i].pattern, rows[i].name) != rows[i].want)
            fail_msg("\"%s\" and \"%s\"", rows[i].pattern, rows[i].name);
    }
    assert_true(pattern_match("ab", "abc", 2));
    assert_false(pattern_match("ab?", "abc", 2));
}

static bool match_slowly(const char *pattern, const char *name)
{
    if (*pattern == '*')
        return match_slowly(pattern + 1, name) || (*name && match_slowly(pattern, name + 1));
    if (*pattern == '\0' || *name == '\0')
        return *pattern == *name;
    if (*pattern == '?' ? *name == '.' : *pattern != *name)
        return false;
    return match_slowly(pattern + 1, name + 1);
}

/* The number-th word over an alphabet, up to five letters long. */
static void make_word(const char *alphabet, unsigned number, char word[8])
{
    unsigned letters = (unsigned)strlen(alphabet), i = 0;

    for (; number; number /= letters)
        word[i++] = alphabet[--number % letters];
    word[i] = '\0';
}

static void as_the_slow_way(void **state)
{
    unsigned matched = 0, p, n;

    (void)state;
    for (p = 0; p < 781; p++) { /* all of up to four letters and some of five */
        char pattern[8], name[8];

        make_word("*?a.", p, pattern);
        for (n = 0; n < 364; n++) { /* all of up to five letters */
            make_word("ab.", n, name);
            if (match(pattern, name) != match_slowly(pattern, name))
                fail_msg("\"%s\" and \"%s\"", pattern, name);
            matched += match(pattern, name);
        }
    }
    assert_true(matched > 10000);
}

static void outermost_module(void **state)
{
    static const struct {
        const char *pattern, *name, *want;
    } rows[] = {
        {"model.layers.*", "model.layers.3.mlp.up.weight", "model.layers.3"},
        {"model.layers.*", "model.layers", ""},
        {"*.mlp", "model.layers.3.mlp.up.weight", "model.layers.3.mlp"},
        {"*.mlp", "model.layers.3.mlpx.up.weight", ""},
        {"te.*", "te.a.b", "te.a"},
        {"*", "model.norm.weight", "model"},
        {"lm_head.weight", "lm_head.weight", "lm_head.weight"},
        {"lm_head", "lm_head.weight", "lm_head"},
        {"weight", "weight", "weight"},
        {"", "a", ""},
        {"*", "", ""},
        {"*", ".a", ".a"},
        {"a.", "a..b", "a."},
        {"*b", "a.b.b.b", "a.b"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t bytes = pattern_find_module(rows[i].pattern, rows[i].name);

        if (bytes != strlen(rows[i].want) || strncmp(rows[i].name, rows[i].want, bytes) != 0)
            fail_msg("\"%s\" in \"%s\": %zu", rows[i].pattern, rows[i].name, bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_matches),
        cmocka_unit_test(as_the_slow_way),
        cmocka_unit_test(outermost_module),
    };

    return cmocka_run_group_tests_name("pattern", tests, NULL, NULL);
}
