/* driver_path.h - where the real CUDA driver is.
 *
 * The answer is always an absolute path: that is what lets the loader map the real library beside
 * ours, which has the same SONAME. Never answered: a library of Berth's own, whatever its name (an
 * ELF note marks them), a toolkit's stub, a library for another machine. Shared by the shim and the
 * command; depends on nothing else of Berth.
 */
#ifndef BERTH_DRIVER_PATH_H
#define BERTH_DRIVER_PATH_H

#include <stddef.h>

#define DRIVER_SONAME "libcuda.so.1"

/* Where to look. Tests fill it by hand; driver_path_find() from the process's surroundings. */
struct driver_path_search {
    const char *chosen;         /* BERTH_DRIVER: this file or none; NULL when not set */
    const char *library_path;   /* LD_LIBRARY_PATH, folders parted by ':' or ';'; NULL: none */
    const char *cache_path;     /* the loader's cache, /etc/ld.so.cache; NULL: none */
    const char *const *folders; /* what else to try, in order; ends in NULL */
};

/* What a file is, from its ELF header, program headers and dynamic section. */
struct driver_path_elf {
    int is_library;  /* a shared object for x86-64 */
    int is_ours;     /* has the note that Berth's libraries carry */
    char soname[64]; /* "" when it has none, or a longer one */
};

/* Find the driver in the process's surroundings: BERTH_DRIVER, else the folders of LD_LIBRARY_PATH,
 * the loader's cache, the usual folders.
 *
 * out      the absolute path with symbolic links resolved
 * bytes    of out; PATH_MAX is enough
 * * returns  0; -ENOENT no driver is installed; -ENOTDIR BERTH_DRIVER names nothing that exists;
 *          -ENOEXEC it names no 64-bit library; -ELOOP it names a library of Berth's own;
 *          -ENAMETOOLONG out is too small; or why BERTH_DRIVER cannot be read
 */
int driver_path_find(char *out, size_t bytes);

/* The same in surroundings that the caller describes. */
int driver_path_search(const struct driver_path_search *search, char *out, size_t bytes);

/* What to say of what driver_path_find() returned: of -ENOENT, a sentence; of everything else, what
 * is wrong with the file that the user named, to stand behind its name.
 *
 * owner    static storage
 */
const char *driver_path_error(int err);

/* Read what a file is.
 *
 * returns  0 also for a file that is no ELF (nothing is set then), else -errno
 * source   System V ABI, chapters 4 and 5; AMD64 supplement
 */
int driver_path_read_elf(const char *path, struct driver_path_elf *out);

/* Is this what a program means by the CUDA driver: a path to a file whose base name starts with
 * "libcuda.so" and which is the library at driver, or has the driver's SONAME; or the bare name
 * "libcuda.so".
 *
 * name     as given to dlopen(); NULL is nothing
 * driver   absolute path of the real driver; "" when there is none
 */
int driver_path_is_driver(const char *name, const char *driver);

#endif
