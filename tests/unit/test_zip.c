/* Strategy: an archive that PyTorch wrote is read, then archives of every form that the format
 * allows are made and read, from memory and from a descriptor. Each reason to refuse is one field
 * of a good archive changed, and the line that must come of it. Last, every byte of good archives
 * is changed to several values and every length tried: whatever is then taken keeps the promises of
 * the header.
 */
#include "data.h"
#include "zip.h"
#include "zip_file.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct input_error g_error;
static char g_line[INPUT_ERROR_TEXT_BYTES];

static const struct zip_file_member g_members[] = {
    {"m/data.pkl", "pickle", 6},
    {"m/b", "", 0},
    {"m/a", "0123456789", 10},
};
#define MEMBER_COUNT 3

static int open_memory(const void *data, size_t bytes, struct zip **out)
{
    const struct byte_source source = {.memory = data, .bytes = bytes, .fd = -1};

    input_error_clear(&g_error);
    return zip_open(&source, out, &g_error);
}

/* Read an archive through a descriptor, as if the file were file_bytes long. */
static int open_fd(const void *data, size_t bytes, uint64_t file_bytes, struct zip **out)
{
    struct byte_source source = {.fd = memfd_create("x", MFD_CLOEXEC), .bytes = file_bytes};
    int res;

    assert_true(source.fd >= 0);
    assert_int_equal(write(source.fd, data, bytes), bytes);
    input_error_clear(&g_error);
    res = zip_open(&source, out, &g_error);
    close(source.fd);
    return res;
}

static const struct zip_member *find(const struct zip *zip, const char *name)
{
    size_t index = zip_find(zip, name, strlen(name));

    return index == ZIP_NONE ? NULL : &zip->members[index];
}

/* No two members share a byte or a name, and all lie inside the file. */
static void check_promises(const struct zip *zip, size_t file_bytes)
{
    size_t i, k;

    for (i = 0; i < zip->member_count; i++) {
        const struct zip_member *m = &zip->members[i];

        assert_true(m->header < m->offset && m->offset <= file_bytes);
        assert_true(m->file_bytes <= file_bytes - m->offset);
        assert_int_equal(zip_find(zip, m->name, m->name_bytes), i);
        for (k = 0; k < i; k++) {
            const struct zip_member *o = &zip->members[k];

            assert_true(o->offset + o->file_bytes <= m->header ||
                        m->offset + m->file_bytes <= o->header);
        }
    }
}

static void as_pytorch_writes_them(void **state)
{
    static const struct {
        const char *name;
        uint64_t offset, bytes;
    } rows[] = {
        {"zip/data.pkl", 64, 2205}, {"zip/byteorder", 2624, 6}, {"zip/data/0", 2752, 2368},
        {"zip/data/9", 7424, 4},    {"zip/data/24", 10240, 0},  {"zip/data/25", 10304, 12},
    };
    struct zip *zip = NULL;
    size_t bytes, i;
    char *file = data_read("files/zip.bin", &bytes);

    (void)state;
    assert_int_equal(open_memory(file, bytes, &zip), 0);
    assert_int_equal(zip->member_count, 32);
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct zip_member *m = find(zip, rows[i].name);

        assert_non_null(m);
        assert_int_equal(m->offset, rows[i].offset);
        assert_int_equal(m->bytes, rows[i].bytes);
        assert_int_equal(zip_check_stored(m, &g_error), 0);
    }
    assert_null(find(zip, "zip/data/26"));
    assert_null(find(zip, "zip/data/"));
    check_promises(zip, bytes);
    zip_close(zip);
    zip_close(NULL);
    free(file);
}

static void every_form(void **state)
{
    unsigned form;

    (void)state;
    for (form = 0; form < 8; form++) {
        struct zip *zip = NULL, *again = NULL;
        struct zip_file file;
        size_t i;

        zip_file_make(&file, g_members, MEMBER_COUNT, form);
        assert_int_equal(open_memory(file.data, file.bytes, &zip), 0);
        assert_int_equal(open_fd(file.data, file.bytes, file.bytes, &again), 0);
        assert_int_equal(zip->member_count, MEMBER_COUNT);
        for (i = 0; i < MEMBER_COUNT; i++) {
            const struct zip_member *m = find(zip, g_members[i].name);
            const struct zip_member *o = find(again, g_members[i].name);

            assert_non_null(m);
            assert_int_equal(m->bytes, g_members[i].bytes);
            assert_memory_equal(file.data + m->offset, g_members[i].data, m->bytes);
            assert_int_equal(m->header, file.local[i]);
            assert_int_equal(o->offset, m->offset);
        }
        check_promises(zip, file.bytes);
        zip_close(zip);
        zip_close(again);
        zip_file_free(&file);
    }
}

static void no_members(void **state)
{
    struct zip *zip = NULL;
    struct zip_file file;

    (void)state;
    zip_file_make(&file, NULL, 0, 0);
    assert_int_equal(open_memory(file.data, file.bytes, &zip), 0);
    assert_int_equal(zip->member_count, 0);
    assert_null(find(zip, ""));
    zip_close(zip);
    zip_file_free(&file);
}

/* More members than an end record without ZIP64 can count. */
static void many_members(void **state)
{
    enum { COUNT = 70000 };
    struct zip_file_member *members = calloc(COUNT, sizeof(*members));
    char(*names)[16] = calloc(COUNT, sizeof(*names));
    struct zip *zip = NULL;
    struct zip_file file;
    size_t i;

    (void)state;
    for (i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof(names[i]), "m/data/%zu", i);
        members[i] = (struct zip_file_member){names[i], names[i], strlen(names[i])};
    }
    zip_file_make(&file, members, COUNT, ZIP_FILE_ZIP64);
    assert_int_equal(open_memory(file.data, file.bytes, &zip), 0);
    assert_int_equal(zip->member_count, COUNT);
    for (i = 0; i < COUNT; i += 997)
        assert_int_equal(find(zip, names[i])->header, file.local[i]);
    zip_close(zip);
    zip_file_free(&file);

    zip_file_make(&file, members, COUNT, 0);
    assert_int_equal(open_memory(file.data, file.bytes, &zip), -EINVAL);
    zip_file_free(&file);
    free(members);
    free(names);
}

/* Where a field to change is counted from. */
enum place { LOCAL, CENTRAL, END, END64, LOCATOR };

static size_t place_of(const struct zip_file *file, enum place place, size_t member)
{
    switch (place) {
    case LOCAL:
        return file->local[member];
    case CENTRAL:
        return file->central[member];
    case END:
        return file->end;
    case END64:
        return file->end64;
    default:
        return file->locator;
    }
}

static void refused(void **state)
{
    static const struct {
        unsigned form;
        enum place place;
        size_t member, at, width;
        uint64_t number;
        const char *want;
    } rows[] = {
        {0, END, 0, 0, 1, 'Q',
         "byte 328: expected the end of a zip archive, which lists its members, found none: the "
         "file may be incomplete"},
        {0, END, 0, 20, 2, 1,
         "byte 328: expected the end of a zip archive, which lists its members, found none: the "
         "file may be incomplete"},
        {0, END, 0, 4, 2, 1,
         "byte 306: expected an archive in one file, found one that is split over several"},
        {0, END, 0, 6, 2, 1,
         "byte 306: expected an archive in one file, found one that is split over several"},
        {2, END64, 0, 20, 4, 1,
         "byte 450: expected an archive in one file, found one that is split over several"},
        {0, END, 0, 16, 4, 400,
         "byte 306: expected a directory that ends before here, found 163 bytes of it from byte "
         "400 on"},
        {0, END, 0, 12, 4, 171,
         "byte 306: expected a directory that ends before here, found 171 bytes of it from byte "
         "143 on"},
        {2, END64, 0, 40, 8, UINT64_MAX,
         "byte 450: expected a directory that ends before here, found 18446744073709551615 bytes "
         "of it from byte 203 on"},
        {0, END, 0, 10, 2, 4,
         "byte 306: expected as many members as the directory has room, found 4 in 163 bytes"},
        {0, END, 0, 10, 2, 2,
         "byte 254: expected the end of the directory after its last entry, found 52 bytes more"},
        {0, END, 0, 12, 4, 162,
         "byte 282: expected an entry that ends inside the directory, found 6 bytes of names and "
         "fields of 5"},
        {2, LOCATOR, 0, 8, 8, 449, "byte 449: expected a ZIP64 end record, found 0x064b5063"},
        {2, LOCATOR, 0, 8, 8, 451,
         "byte 514: expected the offset of a ZIP64 end record before here, found 451"},
        {2, LOCATOR, 0, 8, 8, UINT64_MAX,
         "byte 514: expected the offset of a ZIP64 end record before here, found "
         "18446744073709551615"},
        {2, END, 0, 10, 2, 2,
         "byte 450: expected both end records to say the same, found another number of members, "
         "or another place"},
        {2, END, 0, 16, 4, 0,
         "byte 450: expected both end records to say the same, found another number of members, "
         "or another place"},
        {0, CENTRAL, 1, 0, 1, 'Q',
         "byte 202: expected an entry of the directory, found 0x02014b51"},
        {2, CENTRAL, 0, 58, 2, 16,
         "byte 203: m/data.pkl: expected a ZIP64 field with the numbers that are missing here, "
         "found a shorter one"},
        {0, CENTRAL, 2, 42, 4, 1,
         "byte 0: m/data.pkl: expected a member before the next one and the directory, found one "
         "that reaches past byte 1"},
        {0, CENTRAL, 1, 42, 4, 54,
         "byte 54: m/b: expected the local header of this member, found 0x1404034b"},
        {0, CENTRAL, 2, 42, 4, 60,
         "byte 53: m/b: expected a member before the next one and the directory, found one that "
         "reaches past byte 60"},
        {0, CENTRAL, 2, 42, 4, 130,
         "byte 130: m/a: expected a member before the next one and the directory, found one that "
         "reaches past byte 143"},
        {0, CENTRAL, 2, 42, 4, UINT32_MAX,
         "byte 4294967295: m/a: expected a member before the next one and the directory, found "
         "one that reaches past byte 143"},
        {0, CENTRAL, 0, 20, 4, 7,
         "byte 47: m/data.pkl: expected a member before the next one and the directory, found 7 "
         "bytes where 6 have room"},
        {0, CENTRAL, 2, 20, 4, UINT32_MAX,
         "byte 133: m/a: expected a member before the next one and the directory, found "
         "4294967295 bytes where 10 have room"},
        {2, CENTRAL, 2, 61, 8, UINT64_MAX,
         "byte 193: m/a: expected a member before the next one and the directory, found "
         "18446744073709551615 bytes where 10 have room"},
        {0, LOCAL, 0, 0, 1, 'Q',
         "byte 0: m/data.pkl: expected the local header of this member, found 0x04034b51"},
        {0, LOCAL, 0, 26, 2, 9,
         "byte 0: m/data.pkl: expected the local header of this member, found that of another"},
        {0, LOCAL, 0, 32, 1, 'D',
         "byte 0: m/data.pkl: expected a local header that agrees with the directory, found "
         "another name"},
        {0, LOCAL, 0, 8, 2, 8,
         "byte 0: m/data.pkl: expected a local header that agrees with the directory, found "
         "another method of compression"},
        {0, LOCAL, 0, 6, 2, 1,
         "byte 0: m/data.pkl: expected a local header that agrees with the directory, found only "
         "one says that it is encrypted"},
        {0, LOCAL, 0, 18, 4, 5,
         "byte 0: m/data.pkl: expected a local header that agrees with the directory, found "
         "another size"},
        {0, LOCAL, 0, 22, 4, 5,
         "byte 0: m/data.pkl: expected a local header that agrees with the directory, found "
         "another size"},
        {0, LOCAL, 0, 18, 4, 0,
         "byte 0: m/data.pkl: expected a local header that agrees with the directory, found "
         "another size"},
        {1, LOCAL, 0, 18, 4, 5,
         "byte 0: m/data.pkl: expected a local header that agrees with the directory, found "
         "another size"},
        {2, LOCAL, 0, 51, 8, 5,
         "byte 0: m/data.pkl: expected a local header that agrees with the directory, found "
         "another size"},
        {2, LOCAL, 0, 49, 2, 8,
         "byte 0: m/data.pkl: expected a local header that agrees with the directory, found a "
         "ZIP64 field that is too short"},
        {0, LOCAL, 0, 14, 4, 5,
         "byte 0: m/data.pkl: expected a local header that agrees with the directory, found "
         "another CRC"},
        {0, LOCAL, 0, 28, 2, 14,
         "byte 54: m/data.pkl: expected a member before the next one and the directory, found 6 "
         "bytes where 0 have room"},
        {0, LOCAL, 2, 28, 2, 65535,
         "byte 65661: m/a: expected a member before the next one and the directory, found 10 "
         "bytes where 0 have room"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct zip *zip = NULL;
        struct zip_file file;

        zip_file_make(&file, g_members, MEMBER_COUNT, rows[i].form);
        zip_file_set(&file, place_of(&file, rows[i].place, rows[i].member) + rows[i].at,
                     rows[i].width, rows[i].number);
        assert_int_equal(open_fd(file.data, file.bytes, file.bytes, &zip), -EINVAL);
        assert_int_equal(open_memory(file.data, file.bytes, &zip), -EINVAL);
        assert_null(zip);
        input_error_format(&g_error, g_line, sizeof(g_line));
        if (strcmp(g_line, rows[i].want) != 0)
            fail_msg("row %zu\n   got: %s\nwanted: %s", i, g_line, rows[i].want);
        zip_file_free(&file);
    }
}

static void one_name_twice(void **state)
{
    static const struct zip_file_member members[] = {
        {"m/a", "1", 1}, {"m/b", "2", 1}, {"m/a", "", 0}};
    struct zip *zip = NULL;
    struct zip_file file;

    (void)state;
    zip_file_make(&file, members, 3, 0);
    assert_int_equal(open_memory(file.data, file.bytes, &zip), -EINVAL);
    assert_non_null(strstr(input_error_format(&g_error, g_line, sizeof(g_line)),
                           "m/a: expected every member once, found it twice"));
    zip_file_free(&file);
}

static void not_as_it_lies_there(void **state)
{
    static const struct {
        size_t at, width;
        uint64_t number;
        const char *want;
    } rows[] = {
        {10, 2, 8,
         "byte 0: m/data.pkl: expected a stored member, whose bytes can be mapped in place; save "
         "it anew with torch.save(), found a compressed one (method 8)"},
        {8, 2, 1,
         "byte 0: m/data.pkl: expected a member that is not encrypted, found an encrypted one"},
        {24, 4, 7, "byte 0: m/data.pkl: expected a stored member of one size, found 6 bytes and 7"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct zip *zip = NULL;
        struct zip_file file;

        zip_file_make(&file, g_members, MEMBER_COUNT, 0);
        /* The local header has the same fields, two bytes less from its start. */
        zip_file_set(&file, file.central[0] + rows[i].at, rows[i].width, rows[i].number);
        zip_file_set(&file, file.local[0] + rows[i].at - 2, rows[i].width, rows[i].number);
        assert_int_equal(open_memory(file.data, file.bytes, &zip), 0);
        assert_int_equal(zip_check_stored(find(zip, "m/a"), &g_error), 0);
        assert_int_equal(zip_check_stored(find(zip, "m/data.pkl"), &g_error), -EINVAL);
        assert_string_equal(input_error_format(&g_error, g_line, sizeof(g_line)), rows[i].want);
        zip_close(zip);
        zip_file_free(&file);
    }
}

/* A directory of a length that a sparse file has room for, but memory perhaps not. */
static void a_directory_too_large(void **state)
{
    struct byte_source source = {.fd = memfd_create("x", MFD_CLOEXEC)};
    struct zip *zip = NULL;
    struct zip_file file;

    (void)state;
    zip_file_make(&file, NULL, 0, ZIP_FILE_ZIP64);
    source.bytes = ((uint64_t)1 << 40) + file.bytes;
    assert_int_equal(ftruncate(source.fd, (off_t)source.bytes), 0);
    zip_file_set(&file, file.end64 + 40, 8, (uint64_t)1 << 40);
    zip_file_set(&file, file.locator + 8, 8, (uint64_t)1 << 40);
    assert_int_equal(pwrite(source.fd, file.data, file.bytes, (off_t)1 << 40), file.bytes);
    input_error_clear(&g_error);
    assert_int_equal(zip_open(&source, &zip, &g_error), -EINVAL);
    assert_string_equal(
        input_error_format(&g_error, g_line, sizeof(g_line)),
        "byte 1099511627776: expected a directory of at most 100000000 bytes, found 1099511627776");
    close(source.fd);
    zip_file_free(&file);
}

static void the_file_shrank(void **state)
{
    struct zip *zip = NULL;
    struct zip_file file;

    (void)state;
    zip_file_make(&file, g_members, MEMBER_COUNT, 0);
    assert_int_equal(open_fd(file.data, file.bytes - 1, file.bytes, &zip), -EINVAL);
    assert_string_equal(input_error_format(&g_error, g_line, sizeof(g_line)),
                        "byte 327: expected more bytes, found the end of the file");
    zip_file_free(&file);
}

/* Read a copy that ends where its memory ends. */
static void try_bytes(const unsigned char *data, size_t bytes)
{
    unsigned char *exact = malloc(bytes ? bytes : 1);
    struct zip *zip = NULL;

    assert_non_null(exact);
    memcpy(exact, data, bytes);
    if (open_memory(exact, bytes, &zip) == 0)
        check_promises(zip, bytes);
    else
        assert_true(g_error.expected[0] && g_error.found[0]);
    zip_close(zip);
    free(exact);
}

static void any_damage(void **state)
{
    static const unsigned char changes[] = {0x01, 0x02, 0x08, 0x10, 0x40, 0x80, 0xff};
    unsigned form;
    size_t at, i;

    (void)state;
    for (form = 0; form < 4; form++) {
        struct zip_file file;

        zip_file_make(&file, g_members, MEMBER_COUNT, form);
        for (at = 0; at < file.bytes; at++) {
            try_bytes(file.data, at);
            for (i = 0; i < sizeof(changes); i++) {
                file.data[at] ^= changes[i];
                try_bytes(file.data, file.bytes);
                file.data[at] ^= changes[i];
            }
        }
        zip_file_free(&file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_pytorch_writes_them),
        cmocka_unit_test(every_form),
        cmocka_unit_test(no_members),
        cmocka_unit_test(many_members),
        cmocka_unit_test(refused),
        cmocka_unit_test(one_name_twice),
        cmocka_unit_test(not_as_it_lies_there),
        cmocka_unit_test(a_directory_too_large),
        cmocka_unit_test(the_file_shrank),
        cmocka_unit_test(any_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
