/* Strategy: a file that the format's own library wrote is read and every tensor's bytes compared by
 * SHA-256. Then small files are crafted, one for every reason to refuse that the format gives, and
 * for every legal oddity; each goes through memory, in a block of exactly its size, and through a
 * file. Headers are written with ' for ", which no test needs otherwise. Last, every byte of a good
 * header is changed to every value: whatever comes of it, nothing may be read out of bounds.
 */
#include "data.h"
#include "safetensors.h"
#include "sha256.h"
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct input_error g_error;
static char g_line[INPUT_ERROR_TEXT_BYTES];

/* Read a file that is in memory as far as head_bytes; the rest of it is thought of as there. */
static int parse(const void *head, size_t head_bytes, uint64_t file_bytes, struct checkpoint **out)
{
    const struct stat status = {.st_size = (off_t)file_bytes};
    struct checkpoint_builder builder;
    size_t file;
    int res;

    input_error_clear(&g_error);
    assert_int_equal(checkpoint_builder_begin(&builder, CHECKPOINT_SAFETENSORS), 0);
    assert_int_equal(checkpoint_builder_add_file(&builder, "x", &status, &file), 0);
    res = safetensors_parse(head, head_bytes, file_bytes, &builder, file, &g_error);
    if (res) {
        checkpoint_builder_abandon(&builder);
        return res;
    }
    return checkpoint_builder_finish(&builder, out, &g_error);
}

/* Put length and header in front of data_bytes zeros; ' becomes ". */
static char *craft(const char *header, size_t header_bytes, size_t data_bytes, size_t *bytes)
{
    char *file = calloc(1, 8 + header_bytes + data_bytes + 1), *at;
    uint64_t length = header_bytes;
    size_t i;

    assert_non_null(file);
    *bytes = 8 + header_bytes + data_bytes;
    for (i = 0; i < 8; i++)
        file[i] = (char)(length >> 8 * i);
    memcpy(file + 8, header, header_bytes);
    for (at = file + 8; (at = memchr(at, '\'', (size_t)(file + 8 + header_bytes - at)));)
        *at = '"';
    at = realloc(file, *bytes);
    assert_non_null(at);
    return at;
}

static int open_memory(const void *content, size_t bytes, struct checkpoint **out)
{
    int fd = memfd_create("x", MFD_CLOEXEC), res;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, bytes), bytes);
    res = checkpoint_open_fd(fd, "x", out, &g_error);
    close(fd);
    return res;
}

/* Both ways to read must refuse a file, the one through memory with the line that is wanted. */
static void expect_refused(const char *header, size_t header_bytes, size_t data_bytes,
                           const char *want)
{
    struct checkpoint *c = NULL;
    size_t bytes;
    char *file = craft(header, header_bytes, data_bytes, &bytes);

    assert_int_equal(open_memory(file, bytes, &c), -EINVAL);
    assert_int_equal(parse(file, bytes, bytes, &c), -EINVAL);
    assert_null(c);
    input_error_format(&g_error, g_line, sizeof(g_line));
    if (strcmp(g_line, want) != 0)
        fail_msg("%.*s\n   got: %s\nwanted: %s", (int)header_bytes, header, g_line, want);
    free(file);
}

static struct checkpoint *expect_read(const char *header, size_t data_bytes)
{
    struct checkpoint *c = NULL, *again = NULL;
    size_t bytes;
    char *file = craft(header, strlen(header), data_bytes, &bytes);

    if (parse(file, bytes, bytes, &c))
        fail_msg("%s: %s", header, input_error_format(&g_error, g_line, sizeof(g_line)));
    assert_int_equal(open_memory(file, bytes, &again), 0);
    assert_int_equal(c->tensor_count, again->tensor_count);
    checkpoint_close(again);
    free(file);
    return c;
}

static void golden_file(void **state)
{
    char *list = data_read("files/files.json", NULL);
    cJSON *root = cJSON_Parse(list);
    const cJSON *want, *wants = cJSON_GetObjectItem(root, "single.safetensors");
    struct checkpoint *c = NULL;
    size_t bytes, count = 0;
    char *file = data_read("files/single.safetensors", &bytes);

    (void)state;
    assert_int_equal(checkpoint_open(data_path("files/single.safetensors"), &c, &g_error), 0);
    cJSON_ArrayForEach(want, wants)
    {
        const cJSON *extent, *shape = cJSON_GetObjectItem(want, "shape");
        size_t index = checkpoint_find_name(c, want->string), rank = 0;
        const struct tensor *t = &c->tensors[index];
        char hex[SHA256_HEX_BYTES];

        assert_true(index != CHECKPOINT_NONE);
        assert_string_equal(dtype_name(t->dtype), cJSON_GetObjectItem(want, "dtype")->valuestring);
        assert_int_equal(t->bytes, cJSON_GetObjectItem(want, "bytes")->valueint);
        cJSON_ArrayForEach(extent, shape)
        {
            assert_true(rank < t->rank);
            assert_int_equal(t->shape[rank++], extent->valueint);
        }
        assert_int_equal(rank, t->rank);
        assert_true(t->offset + t->bytes <= bytes);
        assert_string_equal(sha256_hex(file + t->offset, t->bytes, hex),
                            cJSON_GetObjectItem(want, "sha256")->valuestring);
        count++;
    }
    assert_int_equal(count, 26);
    assert_int_equal(c->tensor_count, count);
    assert_int_equal(c->files[0].data_offset + c->total_bytes, bytes);
    checkpoint_close(c);
    cJSON_Delete(root);
    free(list);
    free(file);
}

static void legal_oddities(void **state)
{
    static const struct {
        const char *header;
        size_t data_bytes, tensors;
    } rows[] = {
        {"{}", 0, 0},
        {"{}      ", 0, 0},
        {"{'__metadata__':{}}", 0, 0},
        {"{'__metadata__':{'format':'pt','':'\xc3\xbc'}}", 0, 0},
        {"{'__metad\\u0061ta__':{},'\\u0061':{'\\u0064type':'\\u00558','sh\\u0061pe':[1],"
         "'data_offset\\u0073':[0,1]}}",
         1, 1},
        {"{ 'a' :\n{ 'dtype' : 'F32' , 'shape' : [ 1 ] , 'data_offsets' : [ 0 , 4 ] } }", 4, 1},
        {"{'a':{'dtype':'F32','shape':[],'data_offsets':[0,4]}}", 4, 1},
        {"{'a':{'dtype':'F32','shape':[0],'data_offsets':[0,0]}}", 0, 1},
        {"{'a':{'dtype':'F32','shape':[5,0,7],'data_offsets':[0,0]}}", 0, 1},
        {"{'a':{'data_offsets':[0,1],'shape':[1,1,1,1,1,1,1,1,1,1,1,1],'dtype':'U8'}}", 1, 1},
        {"{'a':{'dtype':'F4','shape':[6],'data_offsets':[0,3]}}", 3, 1},
        {"{'a':{'dtype':'F6_E2M3','shape':[4],'data_offsets':[0,3]}}", 3, 1},
        {"{'a':{'dtype':'F6_E3M2','shape':[2,4],'data_offsets':[0,6]}}", 6, 1},
        {"{'':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 1, 1},
        {"{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1],'more':{'x':[null]}}}", 1, 1},
        {"{'b':{'dtype':'U8','shape':[3],'data_offsets':[1,4]},"
         "'e':{'dtype':'U8','shape':[0],'data_offsets':[1,1]},"
         "'z':{'dtype':'U8','shape':[0],'data_offsets':[4,4]},"
         "'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}}",
         4, 4},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct checkpoint *c = expect_read(rows[i].header, rows[i].data_bytes);

        assert_int_equal(c->tensor_count, rows[i].tensors);
        assert_int_equal(c->total_bytes, rows[i].data_bytes);
        checkpoint_close(c);
    }
}

static void what_a_tensor_gets(void **state)
{
    struct checkpoint *c =
        expect_read("{'b':{'dtype':'I16','shape':[2,3],'data_offsets':[1,13]},"
                    "'\\u00fc\\n':{'dtype':'U8','shape':[],'data_offsets':[0,1]}}",
                    13);
    const uint64_t data = c->files[0].data_offset;

    (void)state;
    assert_string_equal(c->tensors[0].name, "b");
    assert_int_equal(c->tensors[0].dtype, DTYPE_I16);
    assert_int_equal(c->tensors[0].rank, 2);
    assert_int_equal(c->tensors[0].shape[0], 2);
    assert_int_equal(c->tensors[0].shape[1], 3);
    assert_int_equal(c->tensors[0].offset, data + 1);
    assert_int_equal(c->tensors[0].bytes, 12);
    assert_string_equal(c->tensors[1].name, "\xc3\xbc\n");
    assert_int_equal(c->tensors[1].name_bytes, 3);
    assert_int_equal(c->tensors[1].offset, data);
    assert_int_equal(checkpoint_find_offset(c, 0, data), 1);
    assert_int_equal(checkpoint_find_offset(c, 0, data + 12), 0);
    assert_int_equal(checkpoint_find_offset(c, 0, data + 13), CHECKPOINT_NONE);
    assert_int_equal(checkpoint_find_offset(c, 0, data - 1), CHECKPOINT_NONE);
    checkpoint_close(c);
}

static void expect_bad_start(const char *bytes, size_t count, uint64_t file_bytes, const char *want)
{
    struct checkpoint *c = NULL;
    char *exact = malloc(count ? count : 1);

    memcpy(exact, bytes, count);
    assert_int_equal(parse(exact, count, file_bytes, &c), -EINVAL);
    assert_string_equal(input_error_format(&g_error, g_line, sizeof(g_line)), want);
    free(exact);
}

static void bad_lengths(void **state)
{
    static const char seven[] = "\2\0\0\0\0\0\0\0{}";

    (void)state;
    expect_bad_start("", 0, 0, "byte 0: expected a safetensors file: 8 bytes or more, found 0");
    expect_bad_start(seven, 7, 7, "byte 0: expected a safetensors file: 8 bytes or more, found 7");
    expect_bad_start("\1\xe1\xf5\5\0\0\0\0{", 9, UINT64_MAX,
                     "byte 0: expected a safetensors file, which begins with the length of its "
                     "header, at most 100000000, "
                     "found 100000001");
    expect_bad_start("\xff\xff\xff\xff\xff\xff\xff\xff{", 9, 9,
                     "byte 0: expected a safetensors file, which begins with the length of its "
                     "header, at most 100000000, "
                     "found 18446744073709551615");
    expect_bad_start("\xf8\xff\xff\xff\xff\xff\xff\xff{", 9, 9,
                     "byte 0: expected a safetensors file, which begins with the length of its "
                     "header, at most 100000000, "
                     "found 18446744073709551608");
    expect_bad_start("\3\0\0\0\0\0\0\0{}", 10, 10,
                     "byte 0: expected a safetensors header that ends inside the file, found a "
                     "header of 3 bytes in a file of 10");
    expect_bad_start("\1\0\0\0\0\0\0\0", 8, 8,
                     "byte 0: expected a safetensors header that ends inside the file, found a "
                     "header of 1 bytes in a file of 8");
    expect_bad_start("\0\xe1\xf5\5\0\0\0\0{", 9, 100000008,
                     "byte 0: expected the whole header, found 9 bytes of the file");
}

static void bad_frames(void **state)
{
    static const struct {
        const char *header;
        size_t bytes;
        const char *want;
    } rows[] = {
        {"", 0, "byte 8: expected '{' at the start of a safetensors header, found an empty header"},
        {"[]", 2, "byte 8: expected '{' at the start of a safetensors header, found byte 0x5b"},
        {" {}", 3, "byte 8: expected '{' at the start of a safetensors header, found byte 0x20"},
        {"{}\n", 3,
         "byte 10: expected '}' and nothing but spaces at the end of the header, found "
         "byte 0x0a"},
        {"{}\0\0", 4,
         "byte 11: expected '}' and nothing but spaces at the end of the header, "
         "found byte 0x00"},
        {"{} x ", 5,
         "byte 11: expected '}' and nothing but spaces at the end of the header, found "
         "byte 0x78"},
        {"{", 1,
         "byte 8: expected '}' and nothing but spaces at the end of the header, found byte "
         "0x7b"},
        {"{  ", 3,
         "byte 8: expected '}' and nothing but spaces at the end of the header, found "
         "byte 0x7b"},
        {"{} }", 4, "byte 11: expected nothing after the JSON text, found '}'"},
        {"{]}", 3, "byte 9: expected a key in quotation marks, found ']'"},
        {"{'\xff':1}", 7, "byte 10: expected UTF-8, found byte 0xff, which is not UTF-8"},
        {"{'\xc0\xaf':1}", 8, "byte 10: expected UTF-8, found byte 0xc0, which is not UTF-8"},
        {"{'a\\u0000b':1}", 14, "byte 11: expected a string without NUL, found \\u0000"},
        {"{'a\0b':1}", 9,
         "byte 11: expected a string on one line, found a control character, "
         "which JSON escapes"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_refused(rows[i].header, rows[i].bytes, 0, rows[i].want);
}

static void bad_entries(void **state)
{
    static const struct {
        const char *header;
        size_t data_bytes;
        const char *want;
    } rows[] = {
        {"{'__metadata__':[]}", 0,
         "byte 9: __metadata__: expected an object of strings, found an array"},
        {"{'__metadata__':{'a':1}}", 0, "byte 25: __metadata__: expected a string, found 1"},
        {"{'__metadata__':{'a':{}}}", 0,
         "byte 25: __metadata__: expected a string, found an object"},
        {"{'a':[]}", 0,
         "byte 9: a: expected an object with dtype, shape and data_offsets, found an "
         "array"},
        {"{'a':{}}", 0,
         "byte 9: a: expected a dtype of safetensors (F32, BF16, I8, ...), found nothing"},
        {"{'a':{'dtype':'F33'}}", 0,
         "byte 14: a: expected a dtype of safetensors (F32, BF16, I8, ...), found \"F33\""},
        {"{'a':{'dtype':'f32'}}", 0,
         "byte 14: a: expected a dtype of safetensors (F32, BF16, I8, ...), found \"f32\""},
        {"{'a':{'dtype':32}}", 0,
         "byte 14: a: expected a dtype of safetensors (F32, BF16, I8, ...), found 32"},
        {"{'a':{'dtype':'U8'}}", 0,
         "byte 9: a: expected a shape: an array of integers, found nothing"},
        {"{'a':{'dtype':'U8','shape':{}}}", 0,
         "byte 27: a: expected a shape: an array of integers, found an object"},
        {"{'a':{'dtype':'U8','shape':['1']}}", 0,
         "byte 36: a: expected an extent: an integer from 0 on, found \"1\""},
        {"{'a':{'dtype':'U8','shape':[2,-1]}}", 0,
         "byte 38: a: expected an extent: an integer from 0 on, found -1"},
        {"{'a':{'dtype':'U8','shape':[1.5]}}", 0,
         "byte 36: expected an integer of less than 2^53 in size, found 1.5"},
        {"{'a':{'dtype':'U8','shape':[1e0]}}", 0,
         "byte 36: expected an integer of less than 2^53 in size, found 1e0"},
        {"{'a':{'dtype':'U8','shape':[9007199254740993]}}", 0,
         "byte 36: expected an integer of less than 2^53 in size, found 9007199254740993"},
        {"{'a':{'dtype':'U8','shape':[18446744073709551617]}}", 0,
         "byte 36: expected an integer of less than 2^53 in size, found 18446744073709551617"},
        {"{'a':{'dtype':'U8','shape':[1]}}", 1,
         "byte 9: a: expected data_offsets: an array of two integers, found nothing"},
        {"{'a':{'dtype':'U8','shape':[1],'data_offsets':{'x':0,'y':1}}}", 1,
         "byte 39: a: expected data_offsets: an array of two integers, found an object"},
        {"{'a':{'dtype':'U8','shape':[1],'data_offsets':[0]}}", 1,
         "byte 39: a: expected data_offsets: an array of two integers, found an array"},
        {"{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1,2]}}", 1,
         "byte 39: a: expected data_offsets: an array of two integers, found an array"},
        {"{'a':{'dtype':'U8','shape':[1],'data_offsets':[-1,1]}}", 1,
         "byte 55: a: expected an offset: an integer from 0 on, found -1"},
        {"{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,'1']}}", 1,
         "byte 57: a: expected an offset: an integer from 0 on, found \"1\""},
        {"{'a':{'dtype':'U8','shape':[1],'data_offsets':[1,0]}}", 1,
         "byte 39: a: expected offsets in order, found 1 to 0"},
        {"{'a':{'dtype':'U8','shape':[2],'data_offsets':[0,2]}}", 1,
         "byte 39: a: expected data inside the file, which may be incomplete, "
         "found bytes 0 to 2 of 1"},
        {"{'a':{'dtype':'U8','shape':[2],'data_offsets':[0,1]}}", 1,
         "byte 9: a: expected a shape whose bytes data_offsets spans, found 2 bytes in a span of "
         "1"},
        {"{'a':{'dtype':'F4','shape':[3],'data_offsets':[0,1]}}", 1,
         "byte 9: a: expected a shape whose bytes data_offsets spans, found no whole number of "
         "bytes"},
        {"{'a':{'dtype':'F6_E2M3','shape':[2],'data_offsets':[0,1]}}", 1,
         "byte 9: a: expected a shape whose bytes data_offsets spans, found no whole number of "
         "bytes"},
        {"{'a':{'dtype':'U8','shape':[4503599627370496,4096],'data_offsets':[0,0]}}", 0,
         "byte 9: a: expected a shape whose bytes data_offsets spans, found more than 2^64 "
         "elements or bits"},
        {"{'a':{'dtype':'F64','shape':[4503599627370496,64],'data_offsets':[0,0]}}", 0,
         "byte 9: a: expected a shape whose bytes data_offsets spans, found more than 2^64 "
         "elements or bits"},
        {"{'a':{'dtype':'U8','shape':[4503599627370496,4096,0],'data_offsets':[0,0]}}", 0,
         "byte 9: a: expected a shape whose bytes data_offsets spans, found more than 2^64 "
         "elements or bits"},
        {"{'a':{'dtype':'U8','shape':[0],'data_offsets':[0,0]},"
         "'a':{'dtype':'U8','shape':[0],'data_offsets':[0,0]}}",
         0, "byte 61: expected every key once, found \"a\" a second time"},
        {"{'a':{'dtype':'U8','dtype':'U8','shape':[0],'data_offsets':[0,0]}}", 0,
         "byte 27: expected every key once, found \"dtype\" a second time"},
        {"{'__metadata__':{},'__metadata__':{}}", 0,
         "byte 27: expected every key once, found \"__metadata__\" a second time"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_refused(rows[i].header, strlen(rows[i].header), rows[i].data_bytes, rows[i].want);
}

#define U8_TENSOR(name, bytes, begin, end)                                                         \
    "'" name "':{'dtype':'U8','shape':[" bytes "],'data_offsets':[" begin "," end "]}"

static void gaps_and_overlaps(void **state)
{
    static const struct {
        const char *header;
        size_t data_bytes;
        const char *want;
    } rows[] = {
        {"{}", 1,
         "byte 10: expected the end of the file after the last tensor, found 1 bytes more"},
        {"{" U8_TENSOR("a", "1", "1", "2") "}", 2,
         "byte 61: a: expected the next tensor's bytes here, found a gap: they begin at byte 62"},
        {"{" U8_TENSOR("a", "2", "0", "2") "," U8_TENSOR("b", "2", "3", "5") "}", 5,
         "byte 115: b: expected the next tensor's bytes here, found a gap: they begin at byte 116"},
        {"{" U8_TENSOR("b", "2", "1", "3") "," U8_TENSOR("a", "2", "0", "2") "}", 3,
         "byte 115: b: expected the next tensor's bytes here, found an overlap: they begin at "
         "byte 114"},
        {"{" U8_TENSOR("a", "2", "0", "2") "," U8_TENSOR("b", "2", "0", "2") "}", 2,
         "byte 115: b: expected the next tensor's bytes here, found an overlap: they begin at "
         "byte 113"},
        {"{" U8_TENSOR("a", "3", "0", "3") "," U8_TENSOR("e", "0", "1", "1") "}", 3,
         "byte 116: e: expected the next tensor's bytes here, found an overlap: they begin at "
         "byte 114"},
        {"{" U8_TENSOR("a", "2", "0", "2") "}", 3,
         "byte 63: expected the end of the file after the last tensor, found 1 bytes more"},
        {"{" U8_TENSOR("e", "0", "1", "1") "}", 1,
         "byte 61: e: expected the next tensor's bytes here, found a gap: they begin at byte 62"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_refused(rows[i].header, strlen(rows[i].header), rows[i].data_bytes, rows[i].want);
}

static void deep_nesting(void **state)
{
    char header[400] = "{'a':";

    (void)state;
    memset(header + 5, '[', 200);
    memset(header + 205, ']', 100);
    header[305] = '}';
    expect_refused(header, 306, 0,
                   "byte 76: expected at most 64 arrays and objects inside one another, found "
                   "deeper nesting");
}

static void a_file_that_shrank(void **state)
{
    struct checkpoint_builder builder;
    const struct stat status = {.st_size = 100};
    int fd = memfd_create("x", MFD_CLOEXEC);
    size_t file;

    (void)state;
    assert_int_equal(write(fd, "\x32\0\0\0\0\0\0\0{}", 10), 10);
    assert_int_equal(checkpoint_builder_begin(&builder, CHECKPOINT_SAFETENSORS), 0);
    assert_int_equal(checkpoint_builder_add_file(&builder, "x", &status, &file), 0);
    input_error_clear(&g_error);
    assert_int_equal(safetensors_read(fd, 100, &builder, file, &g_error), -EINVAL);
    assert_string_equal(input_error_format(&g_error, g_line, sizeof(g_line)),
                        "byte 10: expected more bytes, found the end of the file");
    assert_int_equal(safetensors_read(-1, 100, &builder, file, &g_error), -EBADF);
    checkpoint_builder_abandon(&builder);
    close(fd);
}

/* 1 TiB of data that nobody has: a reader that touched it would take hours or fail. */
static void only_the_header_is_read(void **state)
{
    static const char text[] = "{'a':{'dtype':'U8','shape':[1099511627776],'data_offsets':"
                               "[0,1099511627776]}}";
    struct checkpoint *c = NULL;
    size_t bytes;
    char *file = craft(text, strlen(text), 0, &bytes);
    int fd = memfd_create("x", MFD_CLOEXEC);

    (void)state;
    assert_int_equal(write(fd, file, bytes), bytes);
    assert_int_equal(ftruncate(fd, (off_t)bytes + ((off_t)1 << 40)), 0);
    assert_int_equal(checkpoint_open_fd(fd, "x", &c, &g_error), 0);
    assert_true(c->total_bytes == UINT64_C(1) << 40);
    checkpoint_close(c);
    close(fd);
    free(file);
}

static void many_tensors(void **state)
{
    const size_t count = 100000, room = count * 110 + 2;
    char *header = malloc(room);
    struct checkpoint *c;
    size_t used = 0, i;

    (void)state;
    for (i = 0; i < count; i++)
        used += (size_t)snprintf(header + used, room - used,
                                 "%c'model.layers.%zu.w%zu':{'dtype':'F16','shape':[1,2],"
                                 "'data_offsets':[%zu,%zu]}",
                                 i ? ',' : '{', i / 10, i % 10, i * 4, i * 4 + 4);
    strcpy(header + used, "}");
    c = expect_read(header, count * 4);
    assert_int_equal(c->tensor_count, count);
    assert_int_equal(checkpoint_find_name(c, "model.layers.1234.w5"), 12345);
    checkpoint_close(c);
    free(header);
}

/* Eight elements of a type take as many bytes as it has bits, in a span that is exactly so long. */
static void every_dtype(void **state)
{
    static const struct {
        const char *name;
        unsigned bits;
    } rows[] = {
        {"F4", 4},          {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"BOOL", 8},    {"U8", 8},
        {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
        {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
        {"I32", 32},        {"U32", 32},    {"F32", 32},    {"I64", 64},    {"U64", 64},
        {"F64", 64},        {"C64", 64},
    };
    char header[200], want[300];
    struct checkpoint *c;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int off = -1; off <= 1; off++) {
            const unsigned span = rows[i].bits + (unsigned)off;

            snprintf(header, sizeof(header),
                     "{'a':{'dtype':'%s','shape':[2,1,4],'data_offsets':[0,%u]}}", rows[i].name,
                     span);
            if (off == 0) {
                c = expect_read(header, span);
                assert_string_equal(dtype_name(c->tensors[0].dtype), rows[i].name);
                assert_int_equal(c->tensors[0].bytes, rows[i].bits);
                assert_int_equal(tensor_dense_bytes(&c->tensors[0]), rows[i].bits);
                checkpoint_close(c);
                continue;
            }
            snprintf(want, sizeof(want),
                     "byte 9: a: expected a shape whose bytes data_offsets spans, found %u bytes "
                     "in a span of %u",
                     rows[i].bits, span);
            expect_refused(header, strlen(header), span, want);
        }
    }
}

static void too_many_extents(void **state)
{
    char *header = malloc(2 * 65536 + 100);
    struct checkpoint *c;
    size_t used;

    (void)state;
    used = (size_t)sprintf(header, "{'a':{'dtype':'U8','data_offsets':[0,1],'shape':[1");
    for (size_t i = 1; i < 65535; i++)
        used += (size_t)sprintf(header + used, ",1");
    strcpy(header + used, "]}}");
    c = expect_read(header, 1);
    assert_int_equal(c->tensors[0].rank, 65535);
    checkpoint_close(c);
    strcpy(header + used, ",1]}}");
    expect_refused(header, strlen(header), 1,
                   "byte 48: a: expected a shape of at most 65535 extents, found an array");
    free(header);
}

static void every_byte_changed(void **state)
{
    static const char text[] = "{'__metadata__':{'a':'b'},'x':{'dtype':'F16','shape':[2,1],"
                               "'data_offsets':[0,4]},'y':{'dtype':'U8','shape':[],"
                               "'data_offsets':[4,5]}} ";
    size_t bytes, at, accepted = 0;
    char *file = craft(text, strlen(text), 5, &bytes);
    unsigned value;

    (void)state;
    for (at = 0; at < bytes - 5; at++) {
        const char kept = file[at];

        for (value = 0; value < 256; value++) {
            struct checkpoint *c = NULL;

            file[at] = (char)value;
            if (parse(file, bytes, bytes, &c) == 0)
                accepted++;
            else
                assert_true(g_error.expected[0] && g_error.found[0]);
            checkpoint_close(c);
        }
        file[at] = kept;
    }
    /* The file itself once for each byte, other names, other texts, other types of one size. */
    assert_true(accepted > bytes && accepted < 3000);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_file),        cmocka_unit_test(legal_oddities),
        cmocka_unit_test(what_a_tensor_gets), cmocka_unit_test(bad_lengths),
        cmocka_unit_test(bad_frames),         cmocka_unit_test(bad_entries),
        cmocka_unit_test(gaps_and_overlaps),  cmocka_unit_test(deep_nesting),
        cmocka_unit_test(a_file_that_shrank), cmocka_unit_test(only_the_header_is_read),
        cmocka_unit_test(many_tensors),       cmocka_unit_test(too_many_extents),
        cmocka_unit_test(every_dtype),        cmocka_unit_test(every_byte_changed),
    };

    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
