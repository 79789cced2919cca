/* Strategy: small pickles written by hand, one for every opcode and every reason to refuse, each
 * read from a block of exactly its size. What is read is printed as one line, much as Python would,
 * and compared. Every good pickle is then cut at every length, which must ask for more, and every
 * byte of it is changed to every value. Long pickles that would take memory or time beyond their
 * length, were they believed, close the file.
 */
#include "data.h"
#include "pickle.h"
#include <errno.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT(text)   text, sizeof(text) - 1

static struct input_error g_error;
static char g_line[INPUT_ERROR_TEXT_BYTES];

static const struct pickle_global g_globals[] = {
    {"m", "call", PICKLE_MAY_CALL},
    {"m", "mapping", PICKLE_MAY_CALL | PICKLE_IS_MAPPING},
    {"m.n", "name", 0},
};

/* Read a copy that ends where its memory ends; *copy stays for what the pickle refers to. */
static int read_exact(const char *text, size_t bytes, struct pickle **out, char **copy)
{
    *copy = malloc(bytes ? bytes : 1);
    assert_non_null(*copy);
    memcpy(*copy, text, bytes);
    input_error_clear(&g_error);
    return pickle_read(*copy, bytes, 1000, g_globals, COUNT(g_globals), out, &g_error);
}

/* Printing ------------------------------------------------------------------------------------- */

struct print {
    const struct pickle *pickle;
    char text[400];
    size_t used;
};

static void put(struct print *p, const char *text, size_t bytes)
{
    assert_true(p->used + bytes < sizeof(p->text));
    memcpy(p->text + p->used, text, bytes);
    p->used += bytes;
    p->text[p->used] = '\0';
}

static void put_word(struct print *p, const char *word)
{
    put(p, word, strlen(word));
}

static void print_value(struct print *p, const struct pickle_value *value, unsigned depth);

static void print_items(struct print *p, const struct pickle_value *value, unsigned depth)
{
    const struct pickle *pickle = p->pickle;
    uint32_t i, count = 0;

    for (i = value->items.first; i != PICKLE_NONE; i = pickle->items[i].next, count++) {
        put_word(p, count ? ", " : "");
        if (pickle->items[i].key != PICKLE_NONE) {
            print_value(p, &pickle->values[pickle->items[i].key], depth);
            put_word(p, ": ");
        }
        print_value(p, &pickle->values[pickle->items[i].value], depth);
    }
    assert_int_equal(count, value->count);
}

static void print_tuple(struct print *p, const struct pickle_value *value, unsigned depth)
{
    uint32_t i;

    put_word(p, "(");
    for (i = 0; i < value->count; i++) {
        put_word(p, i ? ", " : "");
        print_value(p, pickle_element(p->pickle, value, i), depth);
    }
    put_word(p, ")");
    assert_null(pickle_element(p->pickle, value, i));
}

static void print_text(struct print *p, const struct pickle_value *value)
{
    char hex[4];
    uint32_t i;

    put_word(p, value->kind == PICKLE_STRING ? "'" : value->kind == PICKLE_BYTES ? "b'" : "0x");
    for (i = 0; value->kind == PICKLE_LONG && i < value->count; i++) {
        snprintf(hex, sizeof(hex), "%02x", (unsigned char)value->text[value->count - 1 - i]);
        put_word(p, hex);
    }
    if (value->kind != PICKLE_LONG) {
        put(p, value->text, value->count);
        put_word(p, "'");
    }
}

static void print_object(struct print *p, const struct pickle_value *value, unsigned depth)
{
    put_word(p, g_globals[value->global].name);
    if (value->kind != PICKLE_OBJECT)
        return;
    print_tuple(p, &p->pickle->values[value->args], depth);
    if (value->count) {
        put_word(p, "{");
        print_items(p, value, depth);
        put_word(p, "}");
    }
}

static void print_value(struct print *p, const struct pickle_value *value, unsigned depth)
{
    char number[32];

    if (depth == 0) {
        put_word(p, "...");
        return;
    }
    switch ((enum pickle_kind)value->kind) {
    case PICKLE_NULL:
        put_word(p, "None");
        break;
    case PICKLE_BOOL:
        put_word(p, value->integer ? "True" : "False");
        break;
    case PICKLE_INTEGER:
        snprintf(number, sizeof(number), "%lld", (long long)value->integer);
        put_word(p, number);
        break;
    case PICKLE_FLOAT:
        put_word(p, "float");
        break;
    case PICKLE_LONG:
    case PICKLE_STRING:
    case PICKLE_BYTES:
        print_text(p, value);
        break;
    case PICKLE_TUPLE:
        print_tuple(p, value, depth - 1);
        break;
    case PICKLE_LIST:
    case PICKLE_DICT:
        put_word(p, value->kind == PICKLE_LIST ? "[" : "{");
        print_items(p, value, depth - 1);
        put_word(p, value->kind == PICKLE_LIST ? "]" : "}");
        break;
    case PICKLE_SET:
        put_word(p, "set");
        break;
    case PICKLE_GLOBAL:
    case PICKLE_OBJECT:
        print_object(p, value, depth - 1);
        break;
    case PICKLE_PERSISTENT:
        put_word(p, "storage");
        print_tuple(p, &p->pickle->values[value->args], depth - 1);
        break;
    }
}

/* What is read --------------------------------------------------------------------------------- */

static const struct {
    const char *text;
    size_t bytes;
    const char *want;
} g_good[] = {
    {TEXT("N."), "None"},
    {TEXT("\x80\x02N."), "None"},
    {TEXT("\x80\x05\x95\x02\0\0\0\0\0\0\0N."), "None"},
    {TEXT("\x88."), "True"},
    {TEXT("\x89."), "False"},
    {TEXT("K\xff."), "255"},
    {TEXT("M\xff\xff."), "65535"},
    {TEXT("J\xff\xff\xff\x7f."), "2147483647"},
    {TEXT("J\xfe\xff\xff\xff."), "-2"},
    {TEXT("\x8a\0."), "0"},
    {TEXT("\x8a\1\xff."), "-1"},
    {TEXT("\x8a\2\xff\0."), "255"},
    {TEXT("\x8a\x05\0\0\0\0\x01."), "4294967296"},
    {TEXT("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f."), "9223372036854775807"},
    {TEXT("\x8a\x08\0\0\0\0\0\0\0\x80."), "-9223372036854775808"},
    {TEXT("\x8a\x09\x01\0\0\0\0\0\0\0\x02."), "0x020000000000000001"},
    {TEXT("\x8b\x02\0\0\0\x01\x02."), "513"},
    {TEXT("G?\xe0\0\0\0\0\0\0."), "float"},
    {TEXT("X\x02\0\0\0ab."), "'ab'"},
    {TEXT("T\x02\0\0\0ab."), "'ab'"},
    {TEXT("U\x02"
          "ab."),
     "'ab'"},
    {TEXT("\x8c\x02"
          "ab."),
     "'ab'"},
    {TEXT("\x8d\x02\0\0\0\0\0\0\0ab."), "'ab'"},
    {TEXT("X\0\0\0\0."), "''"},
    {TEXT("B\x02\0\0\0ab."), "b'ab'"},
    {TEXT("C\x02"
          "ab."),
     "b'ab'"},
    {TEXT("\x8e\x02\0\0\0\0\0\0\0ab."), "b'ab'"},
    {TEXT("\x96\x02\0\0\0\0\0\0\0ab."), "b'ab'"},
    {TEXT(")."), "()"},
    {TEXT("(t."), "()"},
    {TEXT("(K\1K\2t."), "(1, 2)"},
    {TEXT("K\1\x85."), "(1)"},
    {TEXT("K\1K\2\x86."), "(1, 2)"},
    {TEXT("K\1K\2K\3\x87."), "(1, 2, 3)"},
    {TEXT("(K\1(K\2tt."), "(1, (2))"},
    {TEXT("]."), "[]"},
    {TEXT("]K\1a."), "[1]"},
    {TEXT("](K\1K\2eK\3a(e."), "[1, 2, 3]"},
    {TEXT("}."), "{}"},
    {TEXT("}K\1K\2s."), "{1: 2}"},
    {TEXT("}(K\1K\2K\3K\4uK\5K\6s(u."), "{1: 2, 3: 4, 5: 6}"},
    {TEXT("\x8f."), "set"},
    {TEXT("\x8f(K\1K\2\x90."), "set"},
    {TEXT("(K\1K\2\x91."), "set"},
    {TEXT("cm.n\nname\n."), "name"},
    {TEXT("\x8c\3m.n\x8c\4name\x93."), "name"},
    {TEXT("cm\ncall\n)R."), "call()"},
    {TEXT("cm\ncall\nK\1\x85R."), "call(1)"},
    {TEXT("cm\ncall\n)R}b."), "call()"},
    {TEXT("cm\nmapping\n)RK\1K\2s."), "mapping(){1: 2}"},
    {TEXT("cm\nmapping\n)R(K\1K\2u}K\3K\4sb."), "mapping(){1: 2}"},
    {TEXT("K\1\x85Q."), "storage(1)"},
    {TEXT("K\1q\0K\2q\1h\0\x87."), "(1, 2, 1)"},
    {TEXT("K\1r\1\0\0\0j\1\0\0\0\x86."), "(1, 1)"},
    {TEXT("K\1\x94K\2\x94h\1h\0\x86\x87."), "(1, 2, (2, 1))"},
    {TEXT("K\1q\0K\2q\0h\0\x87."), "(1, 2, 2)"},
    {TEXT("]q\0h\0a."), "[[[[[[[[...]]]]]]]]"},
};

static void everything_that_is_known(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(g_good); i++) {
        struct print print = {0};
        struct pickle *pickle = NULL;
        char *copy, longer[64] = "";

        if (read_exact(g_good[i].text, g_good[i].bytes, &pickle, &copy))
            fail_msg("row %zu: %s", i, input_error_format(&g_error, g_line, sizeof(g_line)));
        assert_int_equal(pickle->bytes, g_good[i].bytes);
        print.pickle = pickle;
        print_value(&print, &pickle->values[pickle->root], 8);
        assert_string_equal(print.text, g_good[i].want);
        pickle_free(pickle);
        free(copy);

        /* What follows is not the pickle's. */
        memcpy(longer, g_good[i].text, g_good[i].bytes);
        assert_int_equal(read_exact(longer, sizeof(longer), &pickle, &copy), 0);
        assert_int_equal(pickle->bytes, g_good[i].bytes);
        pickle_free(pickle);
        free(copy);
    }
    pickle_free(NULL);
}

static void cut_short(void **state)
{
    size_t i, bytes;

    (void)state;
    for (i = 0; i < COUNT(g_good); i++) {
        for (bytes = 0; bytes < g_good[i].bytes; bytes++) {
            struct pickle *pickle = NULL;
            char *copy;

            assert_int_equal(read_exact(g_good[i].text, bytes, &pickle, &copy), -ENODATA);
            assert_true(g_error.offset >= 1000 && g_error.offset <= 1000 + bytes);
            assert_string_equal(g_error.expected, "a pickle that ends with STOP inside its file");
            free(copy);
        }
    }
}

/* Whatever comes of it: no reference leads out of the tables. */
static void check_promises(const struct pickle *p, size_t bytes)
{
    size_t i;

    assert_true(p->root < p->value_count && p->bytes <= bytes);
    assert_true(p->value_count <= bytes + 4 && p->item_count <= bytes && p->element_count <= bytes);
    for (i = 0; i < p->element_count; i++)
        assert_true(p->elements[i] < p->value_count);
    for (i = 0; i < p->item_count; i++) {
        assert_true(p->items[i].value < p->value_count);
        assert_true(p->items[i].key == PICKLE_NONE || p->items[i].key < p->value_count);
        assert_true(p->items[i].next == PICKLE_NONE || p->items[i].next < p->item_count);
    }
}

static void any_damage(void **state)
{
    size_t i, at;
    unsigned change;

    (void)state;
    for (i = 0; i < COUNT(g_good); i++) {
        char text[64];

        memcpy(text, g_good[i].text, g_good[i].bytes);
        for (at = 0; at < g_good[i].bytes; at++) {
            for (change = 1; change < 256; change++) {
                struct pickle *pickle = NULL;
                char *copy;
                int res;

                text[at] ^= (char)change;
                res = read_exact(text, g_good[i].bytes, &pickle, &copy);
                if (res == 0)
                    check_promises(pickle, g_good[i].bytes);
                else
                    assert_true(g_error.expected[0] && g_error.found[0]);
                text[at] ^= (char)change;
                pickle_free(pickle);
                free(copy);
            }
        }
    }
}

/* What is refused ------------------------------------------------------------------------------ */

static void refused(void **state)
{
    static const struct {
        const char *text;
        size_t bytes;
        const char *want;
    } rows[] = {
        {TEXT("cposix\nsystem\n(U\4trueR."),
         "byte 1000: expected a global that state dicts need, such as collections.OrderedDict, "
         "found \"posix.system\""},
        {TEXT("\x8c\2os\x8c\6system\x93."),
         "byte 1012: expected a global that state dicts need, such as collections.OrderedDict, "
         "found \"os.system\""},
        {TEXT("cm\ncal\n."), "byte 1000: expected a global that state dicts need, such as "
                             "collections.OrderedDict, found \"m.cal\""},
        {TEXT("cm\ncall \n."), "byte 1000: expected a global that state dicts need, such as "
                               "collections.OrderedDict, found \"m.call \""},
        {TEXT("c\n\n."), "byte 1000: expected a global that state dicts need, such as "
                         "collections.OrderedDict, found \".\""},
        {TEXT("K\1K\2\x93."), "byte 1004: expected a global's module and name, strings of at most "
                              "255 bytes, found an integer"},
        {TEXT("\x80\1N."), "byte 1000: expected a pickle of protocol 2 to 5, found protocol 1"},
        {TEXT("\x80\6N."), "byte 1000: expected a pickle of protocol 2 to 5, found protocol 6"},
        {TEXT("(i"), "byte 1001: expected an opcode that state dicts need, found 0x69"},
        {TEXT("N0."), "byte 1001: expected an opcode that state dicts need, found 0x30"},
        {TEXT("cm\ncall\n)\x81."),
         "byte 1009: expected an opcode that state dicts need, found 0x81"},
        {TEXT("\x82\1."), "byte 1000: expected an opcode that state dicts need, found 0x82"},
        {TEXT("\x97."), "byte 1000: expected an opcode that state dicts need, found 0x97"},
        {TEXT("P1\n."), "byte 1000: expected an opcode that state dicts need, found 0x50"},
        {TEXT("\x95\5\0\0\0\0\0\0\0N.N."),
         "byte 1009: expected a pickle that ends with STOP inside its file, found 4 bytes where 5 "
         "more were announced"},
        {TEXT("X\xff\xff\xff\xff"
              "a."),
         "byte 1005: expected a pickle that ends with STOP inside its file, found 2 bytes where "
         "4294967295 more were announced"},
        {TEXT("\x8e\xff\xff\xff\xff\xff\xff\xff\xff"
              "a."),
         "byte 1009: expected a pickle that ends with STOP inside its file, found 2 bytes where "
         "18446744073709551615 more were announced"},
        {TEXT("."), "byte 1000: expected one value on the stack at STOP, found none"},
        {TEXT("NN."), "byte 1002: expected one value on the stack at STOP, found more, or a MARK"},
        {TEXT("N(."), "byte 1002: expected one value on the stack at STOP, found more, or a MARK"},
        {TEXT("t."), "byte 1000: expected a MARK before this opcode, found none"},
        {TEXT("e."), "byte 1000: expected a MARK before this opcode, found none"},
        {TEXT("u."), "byte 1000: expected a MARK before this opcode, found none"},
        {TEXT("\x90."), "byte 1000: expected a MARK before this opcode, found none"},
        {TEXT("\x91."), "byte 1000: expected a MARK before this opcode, found none"},
        {TEXT("N\x86."),
         "byte 1001: expected values on the stack for this opcode, found too few of them"},
        {TEXT("N(\x85."),
         "byte 1002: expected values on the stack for this opcode, found too few of them"},
        {TEXT("](Na."),
         "byte 1003: expected values on the stack for this opcode, found too few of them"},
        {TEXT("(Ne."),
         "byte 1002: expected values on the stack for this opcode, found too few of them"},
        {TEXT("}Ns."),
         "byte 1002: expected values on the stack for this opcode, found too few of them"},
        {TEXT("R."),
         "byte 1000: expected values on the stack for this opcode, found too few of them"},
        {TEXT("Nb."),
         "byte 1001: expected values on the stack for this opcode, found too few of them"},
        {TEXT("Q."),
         "byte 1000: expected values on the stack for this opcode, found too few of them"},
        {TEXT("q\0."),
         "byte 1000: expected values on the stack for this opcode, found too few of them"},
        {TEXT("N\x93."),
         "byte 1001: expected values on the stack for this opcode, found too few of them"},
        {TEXT("}Na."), "byte 1002: expected a list to append to, found a dict"},
        {TEXT("](NNu."), "byte 1004: expected a dict to set items of, found a list"},
        {TEXT("cm\ncall\n)RNNs."), "byte 1012: expected a dict to set items of, found an object"},
        {TEXT("](N\x90."), "byte 1003: expected a set to add to, found a list"},
        {TEXT("}(Nu."),
         "byte 1003: expected keys and values in pairs, found a key without a value"},
        {TEXT("K\1)R."),
         "byte 1003: expected a function or class of state dicts to be called, found an integer"},
        {TEXT("cm.n\nname\n)R."),
         "byte 1011: expected a function or class of state dicts to be called, found name"},
        {TEXT("cm\ncall\n]R."), "byte 1009: expected a tuple of arguments, found a list"},
        {TEXT("}}b."), "byte 1002: expected an object that is given its state, found a dict"},
        {TEXT("NQ."), "byte 1001: expected a persistent id, a tuple, found None"},
        {TEXT("h\0."), "byte 1000: expected the number of a value in the memo, found 0"},
        {TEXT("NNNNq\3h\2."), "byte 1006: expected the number of a value in the memo, found 2"},
        {TEXT("Nq\2."), "byte 1001: expected a memo number that is no larger than the bytes before "
                        "it, found 2"},
        {TEXT("Nr\xff\xff\xff\xff."), "byte 1001: expected a memo number that is no larger than "
                                      "the bytes before it, found 4294967295"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(rows); i++) {
        struct pickle *pickle = NULL;
        char *copy;

        assert_int_not_equal(read_exact(rows[i].text, rows[i].bytes, &pickle, &copy), 0);
        assert_null(pickle);
        input_error_format(&g_error, g_line, sizeof(g_line));
        if (strcmp(g_line, rows[i].want) != 0)
            fail_msg("row %zu\n   got: %s\nwanted: %s", i, g_line, rows[i].want);
        free(copy);
    }
}

static void names_of_any_length(void **state)
{
    char text[1024];
    struct pickle *pickle = NULL;
    char *copy;

    (void)state;
    memset(text, 'x', sizeof(text));
    text[0] = 'c';
    text[256] = text[512] = '\n';
    assert_int_equal(read_exact(text, sizeof(text), &pickle, &copy), -EINVAL);
    assert_string_equal(g_error.expected,
                        "a global that state dicts need, such as collections.OrderedDict");
    free(copy);
    text[512] = 'x';
    assert_int_equal(read_exact(text, sizeof(text), &pickle, &copy), -EINVAL);
    assert_string_equal(input_error_format(&g_error, g_line, sizeof(g_line)),
                        "byte 1000: expected a global's module and name, of at most 255 bytes, "
                        "found a longer line");
    free(copy);
    /* Until the 256th byte is there, a newline may yet come. */
    assert_int_equal(read_exact(text, 512, &pickle, &copy), -ENODATA);
    free(copy);
}

/* A string repeated, with something before and behind it. */
static char *repeat(const char *before, const char *unit, size_t unit_bytes, size_t count,
                    const char *behind, size_t *bytes)
{
    size_t head = strlen(before), tail = strlen(behind), i;
    char *text = malloc(head + unit_bytes * count + tail + 1);

    assert_non_null(text);
    memcpy(text, before, head);
    for (i = 0; i < count; i++)
        memcpy(text + head + i * unit_bytes, unit, unit_bytes);
    memcpy(text + head + i * unit_bytes, behind, tail);
    *bytes = head + unit_bytes * count + tail;
    return text;
}

static void memory_follows_length(void **state)
{
    static const struct {
        const char *before, *unit;
        size_t unit_bytes;
        const char *behind;
        int res;
    } rows[] = {
        {"", "(", 1, "", -ENODATA},    {"", "]", 1, "", -ENODATA},
        {"", "(]", 2, "", -ENODATA},   {"N", "\x85", 1, ".", 0}, /* tuples in one another */
        {"N", "\x85\x94", 2, ".", 0},                            /* and each in the memo */
        {"]\x94", "]a", 2, ".", 0},                              /* one list with many */
        {"(N", "N", 1, "t.", 0},                                 /* a long tuple */
        {"]\x94(", "h\0", 2, "e.", 0}, /* a list that contains itself, over and over */
        {"", "N(", 2, ".", -EINVAL},
    };
    enum { TIMES = 1000000 };
    size_t i, bytes;

    (void)state;
    for (i = 0; i < COUNT(rows); i++) {
        struct pickle *pickle = NULL;
        char *text =
            repeat(rows[i].before, rows[i].unit, rows[i].unit_bytes, TIMES, rows[i].behind, &bytes);

        input_error_clear(&g_error);
        assert_int_equal(
            pickle_read(text, bytes, 0, g_globals, COUNT(g_globals), &pickle, &g_error),
            rows[i].res);
        if (pickle)
            check_promises(pickle, bytes);
        pickle_free(pickle);
        free(text);
    }
}

/* A memo number as large as is allowed costs no more than the bytes that allow it. */
static void memo_far_away(void **state)
{
    struct pickle *pickle = NULL;
    size_t bytes;
    char *text = repeat("", "N", 1, 100000, "", &bytes);

    (void)state;
    text = realloc(text, bytes + 6);
    assert_non_null(text);
    memcpy(text + bytes, "r\xa0\x86\x01\0t", 6);
    assert_int_equal(pickle_read(text, bytes + 6, 0, NULL, 0, &pickle, &g_error), -EINVAL);
    assert_string_equal(g_error.expected, "a MARK before this opcode");
    text[bytes + 1]++;
    assert_int_equal(pickle_read(text, bytes + 6, 0, NULL, 0, &pickle, &g_error), -EINVAL);
    assert_string_equal(g_error.expected,
                        "a memo number that is no larger than the bytes before it");
    free(text);
}

static void no_more_than_the_most(void **state)
{
    struct pickle *pickle = NULL;
    size_t bytes = (size_t)PICKLE_BYTES_MAX + 16;
    char *text = malloc(bytes);

    (void)state;
    assert_non_null(text);
    /* A string that reaches over the limit. */
    memcpy(text, "X\x00\x00\x00\x04", 5);
    assert_int_equal(pickle_read(text, bytes, 0, NULL, 0, &pickle, &g_error), -ENODATA);
    free(text);
}

static void words_for_values(void **state)
{
    const struct pickle_value list = {.kind = PICKLE_LIST}, object = {.kind = PICKLE_OBJECT};

    (void)state;
    assert_string_equal(pickle_kind_name(&list), "a list");
    assert_string_equal(pickle_kind_name(&object), "an object");
    assert_null(pickle_element(NULL, &list, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_that_is_known),
        cmocka_unit_test(cut_short),
        cmocka_unit_test(any_damage),
        cmocka_unit_test(refused),
        cmocka_unit_test(names_of_any_length),
        cmocka_unit_test(memory_follows_length),
        cmocka_unit_test(memo_far_away),
        cmocka_unit_test(no_more_than_the_most),
        cmocka_unit_test(words_for_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
