/* driver_folder.h - a folder of drivers, libraries and files that are neither, for the tests of
 * driver_path.c; each test has it made anew.
 */
#ifndef BERTH_TEST_DRIVER_FOLDER_H
#define BERTH_TEST_DRIVER_FOLDER_H

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

/* The path of a name in the folder; good for the next 64 calls. */
static inline const char *in_folder(const char *name)
{
    static char paths[64][NAME_BYTES];
    static int next;
    char *path = paths[next++ % 64];

    snprintf(path, NAME_BYTES, "%s/%s", g_folder, name);
    return path;
}

static inline void write_file(const char *name, const void *data, size_t bytes)
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

static inline struct small_elf elf_make(const char *soname, const char *note_name)
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

static inline void write_elf(const char *name, const struct small_elf *elf)
{
    write_file(name, elf, sizeof(*elf));
}

static inline void write_driver(const char *name)
{
    struct small_elf elf = elf_make("libcuda.so.1", "GNU");

    write_elf(name, &elf);
}

static inline void make_folder(const char *name)
{
    assert_int_equal(mkdir(in_folder(name), 0755), 0);
}

static inline int set_up(void **state)
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

static inline int tear_down(void **state)
{
    char command[NAME_BYTES];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", g_folder);
    return system(command);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
