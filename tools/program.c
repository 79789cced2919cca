/* program.c - the program that is to run. */
#include "program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SCRIPT_DEPTH_MAX    5   /* source: execve(2), recursive interpreters */
#define SCRIPT_LINE_BYTES   256 /* source: execve(2), what the kernel reads of the first line */
#define PROGRAM_HEADERS_MAX 512

/* Finding it ----------------------------------------------------------------------------------- */

/* returns 0, -EACCES, -ENOENT for what is not there, or what else stat() said of the path */
static int try_path(const char *path)
{
    struct stat status;

    if (stat(path, &status) != 0)
        return errno == ENOTDIR ? -ENOENT : -errno;
    if (!S_ISREG(status.st_mode) || access(path, X_OK) != 0)
        return -EACCES;
    return 0;
}

int program_find(const char *name, char *path, size_t bytes)
{
    const char *folders = getenv("PATH");
    int err = -ENOENT;

    if (!*name)
        return -ENOENT;
    if (strchr(name, '/')) {
        if ((size_t)snprintf(path, bytes, "%s", name) >= bytes)
            return -ENAMETOOLONG;
        return try_path(path);
    }
    if (!folders)
        folders = "/bin:/usr/bin";
    for (;;) {
        size_t length = strcspn(folders, ":");
        int written =
            snprintf(path, bytes, "%.*s%s%s", (int)length, folders, length ? "/" : "./", name);

        if (written > 0 && (size_t)written < bytes) {
            int tried = try_path(path);

            if (tried == 0)
                return 0;
            if (tried == -EACCES)
                err = -EACCES; /* a later folder may still have one */
        }
        if (!folders[length])
            return err;
        folders += length + 1;
    }
}

/* Checking it ---------------------------------------------------------------------------------- */

static int refuse(char *reason, size_t bytes, const char *path, const char *what, const char *todo)
{
    snprintf(reason, bytes, "%s: %s; %s", path, what, todo);
    return -ENOTSUP;
}

/* Does execve() raise this program's rights? The loader then ignores LD_PRELOAD.
 *
 * source  ld.so(8), secure-execution mode; execve(2); capabilities(7)
 */
static int check_rights(int fd, const char *path, char *reason, size_t bytes)
{
    struct statvfs file_system;
    struct stat status;

    if (fstat(fd, &status) != 0 || fstatvfs(fd, &file_system) != 0)
        return 0;
    if ((file_system.f_flag & ST_NOSUID) || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
        return 0; /* the kernel raises nothing here */
    if ((status.st_mode & S_ISUID) && status.st_uid != getuid())
        return refuse(reason, bytes, path,
                      "is setuid, and the loader lets no library into such a program",
                      "run it as its owner, or a copy without the setuid bit");
    if ((status.st_mode & S_ISGID) && (status.st_mode & S_IXGRP) && status.st_gid != getgid())
        return refuse(reason, bytes, path,
                      "is setgid, and the loader lets no library into such a program",
                      "run it in its group, or a copy without the setgid bit");
    if (getuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0)
        return refuse(reason, bytes, path,
                      "has file capabilities, and the loader lets no library into such a program",
                      "run a copy of it without them (setcap -r)");
    return 0;
}

/* What the program's loader is. musl has another C library than the one libberth.so is built for.
 */
static int check_loader(int fd, const Elf64_Phdr *header, const char *path, char *reason,
                        size_t bytes)
{
    char loader[PATH_MAX] = "";

    if (header->p_filesz < sizeof(loader) &&
        pread(fd, loader, header->p_filesz, (off_t)header->p_offset) > 0 &&
        strstr(loader, "ld-musl"))
        return refuse(reason, bytes, path, "is built for musl, and libberth.so for glibc",
                      "use a build of it for glibc");
    return 0;
}

static int check_elf(int fd, const char *path, char *reason, size_t bytes)
{
    Elf64_Ehdr elf = {.e_machine = EM_NONE};
    Elf64_Phdr header;
    char what[96];
    ssize_t got = pread(fd, &elf, sizeof(elf), 0);

    if (got < EI_NIDENT)
        return 0;
    if (elf.e_ident[EI_CLASS] == ELFCLASS32)
        return refuse(reason, bytes, path, "is a 32-bit program, and CUDA drivers are 64-bit",
                      "use a 64-bit build of it");
    if (got < (ssize_t)sizeof(elf))
        return 0;
    if (elf.e_ident[EI_DATA] != ELFDATA2LSB || elf.e_machine != EM_X86_64) {
        snprintf(what, sizeof(what), "is built for another processor (ELF machine %u)",
                 elf.e_machine);
        return refuse(reason, bytes, path, what, "use a build of it for x86-64");
    }
    if (elf.e_phentsize != sizeof(header) || elf.e_phnum > PROGRAM_HEADERS_MAX)
        return 0;
    for (unsigned i = 0; i < elf.e_phnum; i++) {
        if (pread(fd, &header, sizeof(header), (off_t)(elf.e_phoff + i * sizeof(header))) !=
            sizeof(header))
            return 0;
        if (header.p_type != PT_INTERP)
            continue;
        if (check_loader(fd, &header, path, reason, bytes))
            return -ENOTSUP;
        return check_rights(fd, path, reason, bytes);
    }
    return refuse(reason, bytes, path, "is statically linked, and no library can be preloaded",
                  "link it dynamically (without -static)");
}

/* Take the interpreter out of a script's first line: "#! /usr/bin/env python3".
 *
 * returns  0, or -1 where there is none
 */
static int read_interpreter(char line[SCRIPT_LINE_BYTES], char interpreter[PATH_MAX])
{
    char *first = line + 2 + strspn(line + 2, " \t");
    size_t length = strcspn(first, " \t\n");

    if (length == 0)
        return -1;
    snprintf(interpreter, PATH_MAX, "%.*s", (int)length, first);
    return 0;
}

int program_check(const char *path, char *reason, size_t bytes)
{
    char current[PATH_MAX];
    char line[SCRIPT_LINE_BYTES];

    if ((size_t)snprintf(current, sizeof(current), "%s", path) >= sizeof(current))
        return 0;
    for (int depth = 0; depth <= SCRIPT_DEPTH_MAX; depth++) {
        int fd = open(current, O_RDONLY | O_CLOEXEC);
        ssize_t got;
        int err;

        if (fd < 0)
            return 0; /* executable and not readable: execve() decides */
        got = pread(fd, line, sizeof(line) - 1, 0);
        line[got > 0 ? got : 0] = '\0';
        if (got < 2 || memcmp(line, "#!", 2) != 0) {
            err = got >= SELFMAG && memcmp(line, ELFMAG, SELFMAG) == 0
                      ? check_elf(fd, current, reason, bytes)
                      : 0;
            close(fd);
            return err;
        }
        close(fd);
        if (read_interpreter(line, current))
            return 0;
    }
    return 0;
}

int program_wants_shell(const char *path)
{
    char start[SCRIPT_LINE_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got;
    size_t bytes;
    char *end;

    if (fd < 0)
        return 0;
    got = pread(fd, start, sizeof(start), 0);
    close(fd);
    bytes = got > 0 ? (size_t)got : 0;
    if (bytes >= 2 && memcmp(start, "#!", 2) == 0)
        return 0;
    if (bytes >= SELFMAG && memcmp(start, ELFMAG, SELFMAG) == 0)
        return 0;
    end = memchr(start, '\n', bytes);
    return !memchr(start, '\0', end ? (size_t)(end - start) : bytes);
}
