/* Strategy: small indexes, one for every legal form and one for every reason to refuse, each in a
 * block of memory of exactly its size so that a sanitizer sees a read past its end. They are
 * written with ' for ". Types are taken both ways through the table.
 */
#include "data.h"
#include "offload_index.h"
#include <errno.h>
#include <limits.h>
#include <string.h>

static struct input_error g_error;
static char g_line[INPUT_ERROR_TEXT_BYTES];

static int parse(const char *text, struct offload_index *out)
{
    size_t bytes = strlen(text), i;
    char *exact = malloc(bytes ? bytes : 1);
    int res;

    assert_non_null(exact);
    for (i = 0; i < bytes; i++)
        exact[i] = text[i] == '\'' ? '"' : text[i];
    input_error_clear(&g_error);
    input_error_set_file(&g_error, "i");
    res = offload_index_parse(exact, bytes, out, &g_error);
    free(exact);
    input_error_format(&g_error, g_line, sizeof(g_line));
    return res;
}

static void expect_refused(const char *text, const char *want)
{
    struct offload_index index = {0};

    if (parse(text, &index) != -EINVAL)
        fail_msg("not refused: %s", text);
    assert_null(index.root);
    if (strcmp(g_line, want) != 0)
        fail_msg("%s\n   got: %s\nwanted: %s", text, g_line, want);
}

static void expect_read(const char *text, struct offload_index *index)
{
    if (parse(text, index))
        fail_msg("%s: %s", text, g_line);
}

static void types_go_both_ways(void **state)
{
    size_t named = 0, data = 0;
    enum dtype back;
    int d;

    (void)state;
    for (d = 0; d < DTYPE_COUNT; d++) {
        const char *name = offload_dtype_name((enum dtype)d, OFFLOAD_IN_SAFETENSORS);

        if (!name)
            continue;
        named++;
        assert_int_equal(offload_dtype_find(name, OFFLOAD_IN_SAFETENSORS, &back), 0);
        assert_int_equal(back, d);
        if (!offload_dtype_name((enum dtype)d, OFFLOAD_IN_DATA)) {
            assert_int_equal(offload_dtype_find(name, OFFLOAD_IN_DATA, &back), -ENOENT);
            continue;
        }
        data++;
        assert_int_equal(offload_dtype_find(name, OFFLOAD_IN_DATA, &back), 0);
        assert_int_equal(back, d);
    }
    assert_int_equal(named, 20);
    assert_int_equal(data, 19);
    assert_null(offload_dtype_name(DTYPE_F6_E2M3, OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS));
    assert_null(offload_dtype_name(DTYPE_COUNT, OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS));
    assert_string_equal(offload_dtype_name(DTYPE_BF16, OFFLOAD_IN_DATA), "bfloat16");
    assert_string_equal(offload_dtype_name(DTYPE_F8_E4M3, OFFLOAD_IN_DATA), "float8_e4m3fn");
}

static void plain_names(void **state)
{
    char name[NAME_MAX + 2];

    (void)state;
    assert_true(offload_name_is_plain("layers.0.attn.weight"));
    assert_true(offload_name_is_plain(""));
    assert_true(offload_name_is_plain("..."));
    assert_true(offload_name_is_plain("a..b \"\xc3\xbc\""));
    assert_false(offload_name_is_plain("."));
    assert_false(offload_name_is_plain(".."));
    assert_false(offload_name_is_plain("../x"));
    assert_false(offload_name_is_plain("/etc/passwd"));
    assert_false(offload_name_is_plain("a/b"));
    assert_false(offload_name_is_plain("a\\b"));
    memset(name, 'n', sizeof(name));
    name[NAME_MAX - 4] = '\0';
    assert_true(offload_name_is_plain(name));
    name[NAME_MAX - 4] = 'n';
    name[NAME_MAX - 3] = '\0';
    assert_false(offload_name_is_plain(name));
}

static void what_an_entry_gets(void **state)
{
    struct offload_index index;
    const struct offload_entry *e;

    (void)state;
    expect_read(
        "{'w':{'dtype':'bfloat16','shape':[2,3]},\n"
        " 's':{'dtype':'float32','shape':[]},\n"
        " 'e':{'shape':[0,4],'dtype':'int8','more':[1]},\n"
        " 'p':{'safetensors_file':'/m.safetensors','weight_name':'x/y','dtype':'float16'},\n"
        " 'q/r':{'safetensors_file':'m','shape':[7]}}",
        &index);
    assert_int_equal(index.count, 5);
    e = index.entries;
    assert_string_equal(e[0].name, "w");
    assert_int_equal(e[0].dtype, DTYPE_BF16);
    assert_int_equal(e[0].rank, 2);
    assert_int_equal(e[0].shape[0], 2);
    assert_int_equal(e[0].shape[1], 3);
    assert_int_equal(e[0].bytes, 12);
    assert_null(e[0].safetensors_file);
    assert_int_equal(e[1].rank, 0);
    assert_int_equal(e[1].bytes, 4);
    assert_int_equal(e[2].bytes, 0);
    assert_int_equal(e[2].shape[1], 4);
    assert_string_equal(e[3].safetensors_file, "/m.safetensors");
    assert_string_equal(e[3].weight_name, "x/y");
    assert_int_equal(e[3].dtype, DTYPE_F16);
    assert_null(e[3].shape);
    assert_string_equal(e[4].weight_name, "q/r");
    assert_int_equal(e[4].dtype, DTYPE_COUNT);
    assert_int_equal(e[4].shape[0], 7);
    offload_index_release(&index);
    assert_null(index.entries);

    expect_read(" {} ", &index);
    assert_int_equal(index.count, 0);
    offload_index_release(&index);
}

#define DTYPE_EXPECTED "expected a dtype as torch names it (float32, bfloat16, int8, ...), found "
#define NAME_EXPECTED                                                                              \
    "expected a name that makes a file's name in the folder: at most 251 bytes, no / or \\, not "  \
    ". or .., found "

static void refusals(void **state)
{
    static const char *const rows[][2] = {
        {"", "i:1:1: expected a JSON value, found the end of the text"},
        {"[]", "i:1:1: expected an object with an entry for each weight, found an array"},
        {"{'a':{'dtype':'int8','shape':[1]},'a':{'dtype':'int8','shape':[1]}}",
         "i:1:35: expected every key once, found \"a\" a second time"},
        {"{'a':1}",
         "i:1:2: a: expected an object with dtype and shape, or a safetensors_file, found 1"},
        {"{'a':{'shape':[1]}}", "i:1:2: a: " DTYPE_EXPECTED "nothing"},
        {"{'a':{'dtype':7,'shape':[1]}}", "i:1:7: a: " DTYPE_EXPECTED "7"},
        {"{'a':{'dtype':'F32','shape':[1]}}", "i:1:7: a: " DTYPE_EXPECTED "\"F32\""},
        {"{'a':{'dtype':'float4_e2m1fn_x2','shape':[1]}}",
         "i:1:7: a: " DTYPE_EXPECTED "\"float4_e2m1fn_x2\""},
        {"{'a':{'dtype':'int8'}}",
         "i:1:2: a: expected a shape: an array of integers, found nothing"},
        {"{'a':{'dtype':'int8','shape':4}}",
         "i:1:22: a: expected a shape: an array of integers, found 4"},
        {"{'a':{'dtype':'int8','shape':[2,-1]}}",
         "i:1:33: a: expected an extent: an integer from 0 on, found -1"},
        {"{'a':{'dtype':'int8','shape':['2']}}",
         "i:1:31: a: expected an extent: an integer from 0 on, found \"2\""},
        {"{'a':{'dtype':'int8','shape':[1.5]}}",
         "i:1:31: a: expected an extent: an integer from 0 on, found a number"},
        {"{'a':{'dtype':'int8','shape':[9007199254740991,9007199254740991]}}",
         "i:1:2: a: expected a shape of less than 2^64 bits, found more"},
        {"{'a':{'dtype':'float64','shape':[4503599627370496,128]}}",
         "i:1:2: a: expected a shape of less than 2^64 bits, found more"},
        {"{'../a':{'dtype':'int8','shape':[1]}}", "i:1:2: ../a: " NAME_EXPECTED "\"../a\""},
        {"{'/a':{'dtype':'int8','shape':[1]}}", "i:1:2: /a: " NAME_EXPECTED "\"/a\""},
        {"{'..':{'dtype':'int8','shape':[1]}}", "i:1:2: ..: " NAME_EXPECTED "\"..\""},
        {"{'a\\u0000':{}}", "i:1:4: expected a string without NUL, found \\u0000"},
        {"{'a':{'safetensors_file':7}}",
         "i:1:7: a: expected safetensors_file: the path of a file, found 7"},
        {"{'a':{'safetensors_file':''}}",
         "i:1:7: a: expected safetensors_file: the path of a file, found \"\""},
        {"{'a':{'weight_name':'a','dtype':'int8','shape':[1]}}",
         "i:1:2: a: expected safetensors_file: the path of a file, found nothing"},
        {"{'a':{'safetensors_file':'m','weight_name':null}}",
         "i:1:30: a: expected weight_name: the weight's name in the safetensors file, found null"},
        {"{'a':{'safetensors_file':'m','dtype':'bf16'}}", "i:1:30: a: " DTYPE_EXPECTED "\"bf16\""},
        {"{'a':{'safetensors_file':'m','shape':{}}}",
         "i:1:30: a: expected a shape: an array of integers, found an object"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_refused(rows[i][0], rows[i][1]);
}

static void too_many_dimensions(void **state)
{
    size_t ranks[] = {65535, 65536}, i, j;

    (void)state;
    for (i = 0; i < 2; i++) {
        char *text = malloc(64 + 2 * ranks[i]), *at = text;
        struct offload_index index;

        at += sprintf(at, "{'a':{'dtype':'int8','shape':[");
        for (j = 0; j < ranks[i]; j++)
            at += sprintf(at, j ? ",1" : "1");
        sprintf(at, "]}}");
        if (i == 0) {
            expect_read(text, &index);
            assert_int_equal(index.entries[0].bytes, 1);
            offload_index_release(&index);
        } else {
            expect_refused(text,
                           "i:1:22: a: expected a shape of at most 65535 dimensions, found an "
                           "array");
        }
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_go_both_ways),  cmocka_unit_test(plain_names),
        cmocka_unit_test(what_an_entry_gets),  cmocka_unit_test(refusals),
        cmocka_unit_test(too_many_dimensions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
