/* Finding the driver, in surroundings made for the purpose.
 *
 * A folder of small ELF files is written byte by byte, so that each property that the search looks
 * at (class, machine, type, SONAME, our note) can be set alone, and a loader's cache that lists
 * them. The parsers are then given every cut and many mutations of both kinds of file: the answers
 * may be anything that is in the contract, the sanitizer builds watch the rest. What is really
 * installed on the machine plays no part.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver_path.h"

/* The system's folder for temporary files, without symbolic links in its path. */
static char g_folder[64];

#define NAME_BYTES 256

/* Files
 * ------------------------------------------------------------------------------------------*/

/* The path of a name in the folder; good for the next 64 calls. */
static const char *in_folder(const char *name)
{
    static char paths[64][NAME_BYTES];
    static int next;
    char *path = paths[next++ % 64];

    snprintf(path, NAME_BYTES, "%s/%s", g_folder, name);
    return path;
}

static void write_file(const char *name, const void *data, size_t bytes)
{
    FILE *file = fopen(in_folder(name), "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

/* A library's headers, dynamic section, strings and note, and nothing else. */
struct small_elf {
    Elf64_Ehdr head;
    Elf64_Phdr headers[3];
    Elf64_Dyn dynamic[3];
    Elf64_Nhdr note;
    char note_name[8];
    char strings[64];
};

#define LOAD_ADDRESS 0x10000

static struct small_elf elf_make(const char *soname, const char *note_name)
{
    struct small_elf elf = {
        .head = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                 .e_type = ET_DYN,
                 .e_machine = EM_X86_64,
                 .e_phoff = offsetof(struct small_elf, headers),
                 .e_phentsize = sizeof(Elf64_Phdr),
                 .e_phnum = 3},
        .headers = {{.p_type = PT_LOAD,
                     .p_vaddr = LOAD_ADDRESS,
                     .p_filesz = sizeof(struct small_elf)},
                    {.p_type = PT_DYNAMIC,
                     .p_offset = offsetof(struct small_elf, dynamic),
                     .p_filesz = 3 * sizeof(Elf64_Dyn)},
                    {.p_type = PT_NOTE,
                     .p_offset = offsetof(struct small_elf, note),
                     .p_filesz = sizeof(Elf64_Nhdr) + 8}},
        .dynamic = {{.d_tag = DT_SONAME, .d_un.d_val = 1},
                    {.d_tag = DT_STRTAB,
                     .d_un.d_ptr = LOAD_ADDRESS + offsetof(struct small_elf, strings)},
                    {.d_tag = DT_NULL}},
    };

    elf.note.n_namesz = (Elf64_Word)strlen(note_name) + 1;
    snprintf(elf.note_name, sizeof(elf.note_name), "%s", note_name);
    snprintf(elf.strings + 1, sizeof(elf.strings) - 1, "%s", soname);
    return elf;
}

static void write_elf(const char *name, const struct small_elf *elf)
{
    write_file(name, elf, sizeof(*elf));
}

static void write_driver(const char *name)
{
    struct small_elf elf = elf_make("libcuda.so.1", "GNU");

    write_elf(name, &elf);
}

static void make_folder(const char *name)
{
    assert_int_equal(mkdir(in_folder(name), 0755), 0);
}

static int set_up(void **state)
{
    char folder[] = "/tmp/berth-path-XXXXXX";
    char resolved[PATH_MAX];
    static const char *const folders[] = {"real",  "toolkit", "toolkit/stubs", "ours",
                                          "wrong", "empty",   "other"};

    (void)state;
    if (!mkdtemp(folder) || !realpath(folder, resolved) || strlen(resolved) >= sizeof(g_folder))
        return -1;
    strcpy(g_folder, resolved);
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
        make_folder(folders[i]);
    return 0;
}

static int tear_down(void **state)
{
    char command[NAME_BYTES];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", g_folder);
    return system(command);
}

/* The search
 * -------------------------------------------------------------------------------------*/

static const char *const g_no_folders[] = {NULL};

static void expect_found(const struct driver_path_search *search, const char *name)
{
    char out[PATH_MAX];

    assert_int_equal(driver_path_search(search, out, sizeof(out)), 0);
    assert_string_equal(out, in_folder(name));
}

static void expect_error(const struct driver_path_search *search, int err)
{
    char out[PATH_MAX];

    assert_int_equal(driver_path_search(search, out, sizeof(out)), err);
}

static void test_chosen_file(void **state)
{
    struct driver_path_search search = {.folders = g_no_folders};
    struct small_elf ours = elf_make("libcuda.so.1", "Berth");

    (void)state;
    write_driver("real/anything.so");
    write_driver("other/libcuda.so.1");
    write_elf("ours/libberth.so", &ours);
    write_file("wrong/text", "hello", 5);
    search.library_path = in_folder("other");

    search.chosen = in_folder("real/anything.so");
    expect_found(&search, "real/anything.so");
    search.chosen = in_folder("real/nothing.so");
    expect_error(&search, -ENOTDIR);
    search.chosen = in_folder("wrong/text");
    expect_error(&search, -ENOEXEC);
    search.chosen = in_folder("wrong");
    expect_error(&search, -ENOEXEC);
    search.chosen = in_folder("ours/libberth.so");
    expect_error(&search, -ELOOP);
    search.chosen = "";
    expect_found(&search, "other/libcuda.so.1");
}

static void test_chosen_link_is_resolved(void **state)
{
    struct driver_path_search search = {.folders = g_no_folders};

    (void)state;
    write_driver("real/libcuda.so.580.1");
    assert_int_equal(symlink(in_folder("real/libcuda.so.580.1"), in_folder("link")), 0);
    search.chosen = in_folder("link");
    expect_found(&search, "real/libcuda.so.580.1");
}

static void test_library_path_in_order(void **state)
{
    struct driver_path_search search = {.folders = g_no_folders};
    char list[3 * NAME_BYTES];

    (void)state;
    write_driver("real/libcuda.so.1");
    write_driver("other/libcuda.so.1");
    snprintf(list, sizeof(list), "%s:%s;%s", in_folder("empty"), in_folder("other"),
             in_folder("real"));
    search.library_path = list;
    expect_found(&search, "other/libcuda.so.1");
    snprintf(list, sizeof(list), "%s:%s", in_folder("empty"), "/nonexistent");
    expect_error(&search, -ENOENT);
}

static void test_empty_entry_is_the_current_folder(void **state)
{
    struct driver_path_search search = {.folders = g_no_folders};
    char before[PATH_MAX];

    (void)state;
    write_driver("real/libcuda.so.1");
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(in_folder("real")), 0);
    search.library_path = "/nonexistent:";
    expect_found(&search, "real/libcuda.so.1");
    search.library_path = ":/nonexistent";
    expect_found(&search, "real/libcuda.so.1");
    assert_int_equal(chdir(before), 0);
}

/* What is passed over: a toolkit's stub, also through a link; our own; another machine's. */
static void test_what_is_no_driver_is_passed_over(void **state)
{
    struct driver_path_search search = {.folders = g_no_folders};
    struct small_elf elf = elf_make("libcuda.so.1", "Berth");
    char list[5 * NAME_BYTES];

    (void)state;
    write_elf("ours/libcuda.so.1", &elf);
    write_driver("toolkit/stubs/libcuda.so.1");
    assert_int_equal(
        symlink(in_folder("toolkit/stubs/libcuda.so.1"), in_folder("toolkit/libcuda.so.1")), 0);
    elf = elf_make("libcuda.so.1", "GNU");
    elf.head.e_ident[EI_CLASS] = ELFCLASS32;
    write_elf("wrong/libcuda.so.1", &elf);
    snprintf(list, sizeof(list), "%s:%s:%s:%s", in_folder("ours"), in_folder("toolkit/stubs"),
             in_folder("toolkit"), in_folder("wrong"));
    search.library_path = list;
    expect_error(&search, -ENOENT);

    write_driver("real/libcuda.so.1");
    snprintf(list + strlen(list), NAME_BYTES, ":%s", in_folder("real"));
    expect_found(&search, "real/libcuda.so.1");
}

static void test_usual_folders_come_last(void **state)
{
    const char *folders[3] = {NULL, NULL, NULL};
    struct driver_path_search search = {.folders = folders};

    (void)state;
    write_driver("real/libcuda.so.1");
    folders[0] = in_folder("empty");
    folders[1] = in_folder("real");
    expect_found(&search, "real/libcuda.so.1");
    write_driver("other/libcuda.so.1");
    search.library_path = in_folder("other");
    expect_found(&search, "other/libcuda.so.1");
}

static void test_small_buffer(void **state)
{
    struct driver_path_search search = {.folders = g_no_folders};
    char out[8];

    (void)state;
    write_driver("real/libcuda.so.1");
    search.library_path = in_folder("real");
    assert_int_equal(driver_path_search(&search, out, sizeof(out)), -ENAMETOOLONG);
    search.chosen = in_folder("real/libcuda.so.1");
    assert_int_equal(driver_path_search(&search, out, sizeof(out)), -ENAMETOOLONG);
}

static void test_every_error_has_its_line(void **state)
{
    static const int errors[] = {-ENOENT, -ENOTDIR, -ENOEXEC, -ELOOP, -ENAMETOOLONG, -EACCES};

    (void)state;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        assert_true(strlen(driver_path_error(errors[i])) > 15);
        assert_true(!strstr(driver_path_error(errors[i]), "BERTH_DRIVER") || errors[i] == -ENOENT);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(driver_path_error(errors[i]), driver_path_error(errors[j]));
    }
}

/* The loader's cache
 * -----------------------------------------------------------------------------*/

struct cache_file {
    char data[8192];
    size_t bytes;
    size_t start; /* of the new format */
};

static void put(struct cache_file *cache, const void *data, size_t bytes)
{
    assert_true(cache->bytes + bytes <= sizeof(cache->data));
    memcpy(cache->data + cache->bytes, data, bytes);
    cache->bytes += bytes;
}

static void put_u32(struct cache_file *cache, uint32_t value)
{
    put(cache, &value, sizeof(value));
}

/* A cache of pairs (name, path); old_entries >= 0 puts a table in the old format before it. */
static void cache_make(struct cache_file *cache, int old_entries, const char *const *pairs,
                       uint32_t count)
{
    uint32_t at = 48 + count * 24;

    memset(cache, 0, sizeof(*cache));
    if (old_entries >= 0) {
        put(cache, "ld.so-1.7.0", 12);
        put_u32(cache, (uint32_t)old_entries);
        cache->bytes += (size_t)old_entries * 12;
        cache->bytes = (cache->bytes + 7) / 8 * 8;
    }
    cache->start = cache->bytes;
    put(cache, "glibc-ld.so.cache1.1", 20);
    put_u32(cache, count);
    put_u32(cache, 0);
    cache->bytes += 20;
    for (uint32_t i = 0; i < count; i++) {
        put_u32(cache, 0x0303);
        put_u32(cache, at);
        at += (uint32_t)strlen(pairs[2 * i]) + 1;
        put_u32(cache, at);
        at += (uint32_t)strlen(pairs[2 * i + 1]) + 1;
        put_u32(cache, 0);
        put_u32(cache, 0);
        put_u32(cache, 0);
    }
    for (uint32_t i = 0; i < 2 * count; i++)
        put(cache, pairs[i], strlen(pairs[i]) + 1);
}

static void test_cache_in_both_forms(void **state)
{
    struct driver_path_search search = {.folders = g_no_folders};
    const char *pairs[] = {"libcuda.so",   in_folder("other/libcuda.so.1"),
                           "libcuda.so.1", in_folder("wrong/libcuda.so.1"),
                           "libcuda.so.1", in_folder("real/libcuda.so.1"),
                           "libother.so",  "/lib/libother.so"};
    struct cache_file cache;

    (void)state;
    write_driver("real/libcuda.so.1");
    write_driver("other/libcuda.so.1");
    search.cache_path = in_folder("cache");
    for (int old_entries = -1; old_entries < 4; old_entries++) {
        cache_make(&cache, old_entries, pairs, 4);
        write_file("cache", cache.data, cache.bytes);
        expect_found(&search, "real/libcuda.so.1");
    }
    assert_int_equal(unlink(in_folder("cache")), 0);
    expect_error(&search, -ENOENT);
}

static void test_cache_comes_after_the_library_path(void **state)
{
    const char *usual[2] = {NULL, NULL};
    struct driver_path_search search = {.folders = usual};
    const char *pairs[] = {"libcuda.so.1", in_folder("real/libcuda.so.1")};
    struct cache_file cache;

    (void)state;
    write_driver("real/libcuda.so.1");
    write_driver("other/libcuda.so.1");
    cache_make(&cache, -1, pairs, 1);
    write_file("cache", cache.data, cache.bytes);
    search.cache_path = in_folder("cache");
    usual[0] = in_folder("other");
    expect_found(&search, "real/libcuda.so.1");
    search.library_path = in_folder("other");
    expect_found(&search, "other/libcuda.so.1");
}

/* The only answers to a damaged cache: the driver that it lists, or none. */
static void expect_found_or_none(const struct driver_path_search *search)
{
    char out[PATH_MAX];
    int err = driver_path_search(search, out, sizeof(out));

    if (err)
        assert_int_equal(err, -ENOENT);
    else
        assert_string_equal(out, in_folder("real/libcuda.so.1"));
}

static void test_damaged_cache(void **state)
{
    struct driver_path_search search = {.folders = g_no_folders};
    const char *pairs[] = {"libcuda.so.1", in_folder("real/libcuda.so.1")};
    struct cache_file cache;

    (void)state;
    write_driver("real/libcuda.so.1");
    search.cache_path = in_folder("cache");
    for (int old_entries = -1; old_entries <= 1; old_entries++) {
        cache_make(&cache, old_entries, pairs, 1);
        for (size_t bytes = 0; bytes < cache.bytes; bytes++) {
            write_file("cache", cache.data, bytes);
            expect_error(&search, -ENOENT);
        }
        for (size_t at = 0; at < cache.start + 72; at++) {
            for (int bit = 0; bit < 8; bit += 7) {
                cache.data[at] ^= (char)(1 << bit);
                write_file("cache", cache.data, cache.bytes);
                expect_found_or_none(&search);
                cache.data[at] ^= (char)(1 << bit);
            }
        }
    }
}

/* ELF
 * --------------------------------------------------------------------------------------------*/

static void test_elf_properties(void **state)
{
    struct small_elf elf = elf_make("libcuda.so.1", "GNU");
    struct driver_path_elf got;

    (void)state;
    write_elf("file", &elf);
    assert_int_equal(driver_path_read_elf(in_folder("file"), &got), 0);
    assert_true(got.is_library);
    assert_false(got.is_ours);
    assert_string_equal(got.soname, "libcuda.so.1");

    elf = elf_make("libcuda.so", "Berth");
    write_elf("file", &elf);
    assert_int_equal(driver_path_read_elf(in_folder("file"), &got), 0);
    assert_true(got.is_library);
    assert_true(got.is_ours);
    assert_string_equal(got.soname, "libcuda.so");

    assert_int_equal(driver_path_read_elf(in_folder("none"), &got), -ENOENT);
    assert_int_equal(driver_path_read_elf(in_folder("real"), &got), 0);
    assert_false(got.is_library);
}

static void test_elf_refusals(void **state)
{
    static const struct {
        size_t offset;
        unsigned char value;
    } wrong[] = {
        {EI_MAG0, 0},
        {EI_CLASS, ELFCLASS32},
        {EI_DATA, ELFDATA2MSB},
        {offsetof(Elf64_Ehdr, e_type), ET_EXEC},
        {offsetof(Elf64_Ehdr, e_machine), EM_386},
        {offsetof(Elf64_Ehdr, e_phentsize), 32},
        {offsetof(Elf64_Ehdr, e_phnum), 0},
        {offsetof(Elf64_Ehdr, e_phnum), 255},
        {offsetof(Elf64_Ehdr, e_phoff) + 4, 1},
    };
    struct driver_path_elf got;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct small_elf elf = elf_make("libcuda.so.1", "GNU");

        ((unsigned char *)&elf)[wrong[i].offset] = wrong[i].value;
        write_elf("file", &elf);
        assert_int_equal(driver_path_read_elf(in_folder("file"), &got), 0);
        assert_false(got.is_library);
        assert_string_equal(got.soname, "");
    }
}

/* Ours after a foreign one, whose name and description are padded to words. */
static void test_second_note(void **state)
{
    static const Elf64_Nhdr second = {6, 0, 1};
    struct small_elf elf = elf_make("libcuda.so.1", "Other");
    struct driver_path_elf got;

    (void)state;
    elf.note.n_descsz = 3;
    memcpy(elf.strings + 4, &second, sizeof(second));
    memcpy(elf.strings + 4 + sizeof(second), "Berth\0\0", 8);
    elf.headers[2].p_filesz = sizeof(Elf64_Nhdr) + 8 + 4 + sizeof(second) + 8;
    elf.dynamic[0].d_un.d_val = 40;
    memcpy(elf.strings + 40, "libcuda.so.1", 13);
    write_elf("file", &elf);
    assert_int_equal(driver_path_read_elf(in_folder("file"), &got), 0);
    assert_true(got.is_ours);
    assert_string_equal(got.soname, "libcuda.so.1");
}

static void test_damaged_elf(void **state)
{
    struct small_elf elf = elf_make("libcuda.so.1", "Berth");
    struct driver_path_elf got;

    (void)state;
    for (size_t bytes = 0; bytes < sizeof(elf); bytes++) {
        write_file("file", &elf, bytes);
        assert_int_equal(driver_path_read_elf(in_folder("file"), &got), 0);
        assert_true(memchr(got.soname, '\0', sizeof(got.soname)));
    }
    for (size_t at = 0; at < sizeof(elf); at++) {
        for (int bit = 0; bit < 8; bit += 7) {
            ((char *)&elf)[at] ^= (char)(1 << bit);
            write_elf("file", &elf);
            assert_int_equal(driver_path_read_elf(in_folder("file"), &got), 0);
            assert_true(memchr(got.soname, '\0', sizeof(got.soname)));
            ((char *)&elf)[at] ^= (char)(1 << bit);
        }
    }
}

/* What programs mean by the driver
 * ---------------------------------------------------------------*/

static void test_is_driver(void **state)
{
    struct small_elf other = elf_make("libother.so", "GNU");
    struct small_elf nameless = elf_make("", "GNU");
    char driver[NAME_BYTES];

    (void)state;
    write_driver("real/libcuda.so.580.1");
    write_elf("real/libcuda.so.renamed", &nameless);
    write_driver("other/libcuda.so.1");
    write_driver("other/libdriver.so");
    write_elf("wrong/libcuda.so.1", &other);
    write_file("wrong/libcuda.so", "text", 4);
    snprintf(driver, sizeof(driver), "%s", in_folder("real/libcuda.so.renamed"));
    assert_int_equal(symlink("libcuda.so.renamed", in_folder("real/libcuda.so.1")), 0);
    assert_true(driver_path_is_driver(driver, driver)); /* the very file, whatever its SONAME */
    assert_true(driver_path_is_driver(in_folder("real/libcuda.so.1"), driver));
    assert_false(driver_path_is_driver(driver, ""));
    assert_true(driver_path_is_driver(in_folder("other/libcuda.so.1"), driver)); /* the SONAME */
    assert_true(driver_path_is_driver(in_folder("real/libcuda.so.580.1"), ""));
    assert_true(driver_path_is_driver("libcuda.so", driver));
    assert_false(driver_path_is_driver("libcuda.so.1", driver)); /* already ours by name */
    assert_false(driver_path_is_driver(in_folder("other/libdriver.so"), driver));
    assert_false(driver_path_is_driver(in_folder("wrong/libcuda.so.1"), driver));
    assert_false(driver_path_is_driver(in_folder("wrong/libcuda.so"), driver));
    assert_false(driver_path_is_driver(in_folder("none/libcuda.so.1"), driver));
    assert_false(driver_path_is_driver("libm.so.6", driver));
    assert_false(driver_path_is_driver("", driver));
    assert_false(driver_path_is_driver(NULL, driver));
}

/* The real surroundings: only that the answer keeps its contract. */
static void test_find_in_the_process(void **state)
{
    char out[PATH_MAX];
    struct driver_path_elf elf;

    (void)state;
    write_driver("real/libcuda.so.1");
    setenv("BERTH_DRIVER", in_folder("real/libcuda.so.1"), 1);
    assert_int_equal(driver_path_find(out, sizeof(out)), 0);
    assert_string_equal(out, in_folder("real/libcuda.so.1"));
    unsetenv("BERTH_DRIVER");
    if (driver_path_find(out, sizeof(out)) == 0) {
        assert_int_equal(out[0], '/');
        assert_int_equal(driver_path_read_elf(out, &elf), 0);
        assert_true(elf.is_library && !elf.is_ours);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_chosen_file),
        CASE(test_chosen_link_is_resolved),
        CASE(test_library_path_in_order),
        CASE(test_empty_entry_is_the_current_folder),
        CASE(test_what_is_no_driver_is_passed_over),
        CASE(test_usual_folders_come_last),
        CASE(test_small_buffer),
        cmocka_unit_test(test_every_error_has_its_line),
        CASE(test_cache_in_both_forms),
        CASE(test_cache_comes_after_the_library_path),
        CASE(test_damaged_cache),
        CASE(test_elf_properties),
        CASE(test_elf_refusals),
        CASE(test_second_note),
        CASE(test_damaged_elf),
        CASE(test_is_driver),
        CASE(test_find_in_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
