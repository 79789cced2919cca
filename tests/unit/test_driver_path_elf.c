/* Strategy: what a file is, by its bytes: small libraries made for the purpose, refused one field
 * at a time, cut short at every byte and with bits turned over. No answer may come from beyond the
 * file. Then which names and files programs mean by the driver. */
#include "tests/unit/driver_folder.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_elf_properties), CASE(test_elf_refusals), CASE(test_second_note),
        CASE(test_damaged_elf),    CASE(test_is_driver),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
