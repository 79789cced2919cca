/* Finding the driver, in surroundings made for the purpose.
 *
 * A folder of small ELF files is written byte by byte, so that each property that the search looks
 * at (class, machine, type, SONAME, our note) can be set alone, and a loader's cache that lists
 * them. The parsers are then given every cut and many mutations of both kinds of file: the answers
 * may be anything that is in the contract, the sanitizer builds watch the rest. What is really
 * installed on the machine plays no part.
 */
#include "tests/unit/driver_folder.h"

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
        CASE(test_find_in_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
