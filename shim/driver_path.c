#include "driver_path.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Tables longer than these are no shared library's that anybody loads. */
#define PROGRAM_HEADERS_MAX 128
#define DYNAMIC_BYTES_MAX   (64 * 1024)
#define NOTE_BYTES_MAX      4096

/* The loader's cache, new format: source: glibc 2.31-2.41, sysdeps/generic/dl-cache.h. */
#define CACHE_OLD_MAGIC "ld.so-1.7.0"
#define CACHE_NEW_MAGIC "glibc-ld.so.cache1.1"
#define CACHE_BYTES_MAX (64 * 1024 * 1024)

struct cache_header {
    char magic[20];
    uint32_t count;
    uint32_t string_bytes;
    uint32_t unused[5];
};

struct cache_entry {
    int32_t flags;
    uint32_t key; /* offsets from the start of the new header */
    uint32_t value;
    uint32_t os_version;
    uint64_t hwcap;
};

static const char *const g_usual_folders[] = {
    "/usr/lib/x86_64-linux-gnu", "/usr/lib64",       "/usr/lib",
    "/usr/local/nvidia/lib64",   "/usr/lib/wsl/lib", NULL};

/* ELF
 * --------------------------------------------------------------------------------------------*/

struct elf_file {
    int fd;
    Elf64_Phdr headers[PROGRAM_HEADERS_MAX];
    unsigned int count;
};

/* Exactly bytes at offset, or it is no file that can be believed. */
static int read_at(int fd, void *out, size_t bytes, uint64_t offset)
{
    if (offset > (uint64_t)INT64_MAX - bytes)
        return 0;
    return pread(fd, out, bytes, (off_t)offset) == (ssize_t)bytes;
}

static int read_headers(struct elf_file *elf)
{
    Elf64_Ehdr head;

    if (!read_at(elf->fd, &head, sizeof(head), 0) || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
        head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_ident[EI_DATA] != ELFDATA2LSB ||
        head.e_type != ET_DYN || head.e_machine != EM_X86_64 ||
        head.e_phentsize != sizeof(Elf64_Phdr) || head.e_phnum == 0 ||
        head.e_phnum > PROGRAM_HEADERS_MAX)
        return 0;
    elf->count = head.e_phnum;
    return read_at(elf->fd, elf->headers, elf->count * sizeof(Elf64_Phdr), head.e_phoff);
}

/* Is there a note of owner "Berth"? */
static int has_our_note(const struct elf_file *elf)
{
    char notes[NOTE_BYTES_MAX];
    Elf64_Nhdr note;

    for (unsigned int i = 0; i < elf->count; i++) {
        const Elf64_Phdr *header = &elf->headers[i];
        uint64_t at = 0;

        if (header->p_type != PT_NOTE || header->p_filesz > sizeof(notes) ||
            !read_at(elf->fd, notes, header->p_filesz, header->p_offset))
            continue;
        while (at + sizeof(note) <= header->p_filesz) {
            memcpy(&note, notes + at, sizeof(note));
            at += sizeof(note);
            if (note.n_namesz == sizeof("Berth") && at + sizeof("Berth") <= header->p_filesz &&
                memcmp(notes + at, "Berth", sizeof("Berth")) == 0)
                return 1;
            at += ((uint64_t)note.n_namesz + 3) / 4 * 4 + ((uint64_t)note.n_descsz + 3) / 4 * 4;
        }
    }
    return 0;
}

/* The place in the file of an address in memory. */
static int file_offset(const struct elf_file *elf, uint64_t address, uint64_t *out)
{
    for (unsigned int i = 0; i < elf->count; i++) {
        const Elf64_Phdr *header = &elf->headers[i];

        if (header->p_type == PT_LOAD && address >= header->p_vaddr &&
            address - header->p_vaddr < header->p_filesz) {
            *out = header->p_offset + (address - header->p_vaddr);
            return 1;
        }
    }
    return 0;
}

/* The offsets of the string table and of the SONAME in it. */
static int find_soname(const struct elf_file *elf, const Elf64_Phdr *dynamic, uint64_t *out)
{
    uint64_t strings = 0;
    uint64_t name = 0;
    uint64_t bytes = dynamic->p_filesz;
    int found = 0;
    Elf64_Dyn entry;

    if (bytes > DYNAMIC_BYTES_MAX)
        return 0;
    for (uint64_t at = 0; at + sizeof(entry) <= bytes; at += sizeof(entry)) {
        if (!read_at(elf->fd, &entry, sizeof(entry), dynamic->p_offset + at) ||
            entry.d_tag == DT_NULL)
            break;
        if (entry.d_tag == DT_STRTAB)
            strings = entry.d_un.d_ptr;
        if (entry.d_tag == DT_SONAME) {
            name = entry.d_un.d_val;
            found = 1;
        }
    }
    if (!found || !strings || strings > UINT64_MAX - name)
        return 0;
    return file_offset(elf, strings + name, out);
}

static void read_soname(const struct elf_file *elf, char *out, size_t bytes)
{
    uint64_t offset;
    ssize_t got;

    for (unsigned int i = 0; i < elf->count; i++) {
        if (elf->headers[i].p_type != PT_DYNAMIC || !find_soname(elf, &elf->headers[i], &offset) ||
            offset > INT64_MAX)
            continue;
        got = pread(elf->fd, out, bytes, (off_t)offset);
        if (got <= 0 || !memchr(out, '\0', (size_t)got))
            out[0] = '\0';
        return;
    }
}

int driver_path_read_elf(const char *path, struct driver_path_elf *out)
{
    struct elf_file elf;
    struct stat status;
    int err = 0;

    memset(out, 0, sizeof(*out));
    elf.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (elf.fd < 0)
        return -errno;
    if (fstat(elf.fd, &status)) {
        err = -errno;
    } else if (S_ISREG(status.st_mode) && read_headers(&elf)) {
        out->is_library = 1;
        out->is_ours = has_our_note(&elf);
        read_soname(&elf, out->soname, sizeof(out->soname));
    }
    close(elf.fd);
    return err;
}

/* Candidates
 * -------------------------------------------------------------------------------------*/

static int is_in_stubs_folder(const char *path)
{
    return strstr(path, "/stubs/") != NULL;
}

/* A file that somebody's list names: 0 and out is set when it is a driver. */
static int try_file(const char *path, char *out, size_t bytes)
{
    char resolved[PATH_MAX];
    struct driver_path_elf elf;

    if (!realpath(path, resolved) || is_in_stubs_folder(resolved))
        return -ENOENT;
    if (driver_path_read_elf(resolved, &elf) || !elf.is_library || elf.is_ours)
        return -ENOENT;
    if (strlen(resolved) >= bytes)
        return -ENAMETOOLONG;
    memcpy(out, resolved, strlen(resolved) + 1);
    return 0;
}

static int try_folder(const char *folder, size_t length, char *out, size_t bytes)
{
    char path[PATH_MAX];
    int used;

    /* An empty entry is the current folder, as the loader has it. */
    if (length == 0) {
        folder = ".";
        length = 1;
    }
    if (length >= sizeof(path))
        return -ENOENT;
    used = snprintf(path, sizeof(path), "%.*s/" DRIVER_SONAME, (int)length, folder);
    if (used < 0 || (size_t)used >= sizeof(path))
        return -ENOENT;
    return try_file(path, out, bytes);
}

static int try_library_path(const char *list, char *out, size_t bytes)
{
    for (;;) {
        size_t length = strcspn(list, ":;");
        int err = try_folder(list, length, out, bytes);

        if (err != -ENOENT)
            return err;
        if (!list[length])
            return -ENOENT;
        list += length + 1;
    }
}

/* A string of the cache that ends within it, else NULL. */
static const char *cache_string(const char *cache, size_t bytes, uint32_t offset)
{
    if (offset >= bytes || !memchr(cache + offset, '\0', bytes - offset))
        return NULL;
    return cache + offset;
}

static int search_cache(const char *cache, size_t cache_bytes, char *out, size_t bytes)
{
    struct cache_header header;
    struct cache_entry entry;

    if (cache_bytes < sizeof(header))
        return -ENOENT;
    memcpy(&header, cache, sizeof(header));
    if (memcmp(header.magic, CACHE_NEW_MAGIC, sizeof(header.magic)) != 0 ||
        header.count > (cache_bytes - sizeof(header)) / sizeof(entry))
        return -ENOENT;
    for (uint32_t i = 0; i < header.count; i++) {
        const char *name;
        const char *path;
        int err;

        memcpy(&entry, cache + sizeof(header) + i * sizeof(entry), sizeof(entry));
        name = cache_string(cache, cache_bytes, entry.key);
        path = cache_string(cache, cache_bytes, entry.value);
        if (!name || !path || strcmp(name, DRIVER_SONAME) != 0)
            continue;
        err = try_file(path, out, bytes);
        if (err != -ENOENT)
            return err;
    }
    return -ENOENT;
}

/* The new format stands alone or after a table in the old one, aligned to its own header. */
static int search_cache_file(const char *cache, size_t cache_bytes, char *out, size_t bytes)
{
    const size_t old_header_bytes = 16;
    const size_t old_entry_bytes = 12;
    uint32_t count;
    uint64_t start;

    if (cache_bytes >= old_header_bytes &&
        memcmp(cache, CACHE_OLD_MAGIC, sizeof(CACHE_OLD_MAGIC) - 1) == 0) {
        memcpy(&count, cache + 12, sizeof(count));
        start = old_header_bytes + (uint64_t)count * old_entry_bytes;
        start = (start + 7) / 8 * 8;
        if (start > cache_bytes)
            return -ENOENT;
        cache += start;
        cache_bytes -= start;
    }
    return search_cache(cache, cache_bytes, out, bytes);
}

static int try_cache(const char *path, char *out, size_t bytes)
{
    struct stat status;
    void *cache;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int err = -ENOENT;

    if (fd < 0)
        return -ENOENT;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0 &&
        status.st_size <= CACHE_BYTES_MAX) {
        /* ldconfig replaces the file and never cuts it, so a mapping of it stays whole. */
        cache = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (cache != MAP_FAILED) {
            err = search_cache_file(cache, (size_t)status.st_size, out, bytes);
            munmap(cache, (size_t)status.st_size);
        }
    }
    close(fd);
    return err;
}

/* The file that the user named, or the reason why not. */
static int try_chosen(const char *path, char *out, size_t bytes)
{
    char resolved[PATH_MAX];
    struct driver_path_elf elf;
    int err;

    if (!realpath(path, resolved))
        return errno == ENOENT ? -ENOTDIR : -errno;
    err = driver_path_read_elf(resolved, &elf);
    if (err)
        return err;
    if (!elf.is_library)
        return -ENOEXEC;
    if (elf.is_ours)
        return -ELOOP;
    if (strlen(resolved) >= bytes)
        return -ENAMETOOLONG;
    memcpy(out, resolved, strlen(resolved) + 1);
    return 0;
}

int driver_path_search(const struct driver_path_search *search, char *out, size_t bytes)
{
    int err = -ENOENT;

    if (search->chosen && *search->chosen)
        return try_chosen(search->chosen, out, bytes);
    if (search->library_path && *search->library_path)
        err = try_library_path(search->library_path, out, bytes);
    if (err == -ENOENT && search->cache_path)
        err = try_cache(search->cache_path, out, bytes);
    for (const char *const *folder = search->folders; err == -ENOENT && *folder; folder++)
        err = try_folder(*folder, strlen(*folder), out, bytes);
    return err;
}

int driver_path_find(char *out, size_t bytes)
{
    struct driver_path_search search = {
        .chosen = secure_getenv("BERTH_DRIVER"),
        .library_path = secure_getenv("LD_LIBRARY_PATH"),
        .cache_path = "/etc/ld.so.cache",
        .folders = g_usual_folders,
    };

    return driver_path_search(&search, out, bytes);
}

const char *driver_path_error(int err)
{
    switch (err) {
    case 0:
        return "found";
    case -ENOENT:
        return "no CUDA driver (" DRIVER_SONAME
               ") found: install NVIDIA's driver, or set BERTH_DRIVER to one";
    case -ENOTDIR:
        return "the file does not exist";
    case -ENOEXEC:
        return "the file is not a 64-bit x86-64 library";
    case -ELOOP:
        return "the file is a library of berth's own, not a driver";
    case -ENAMETOOLONG:
        return "the path is too long";
    default:
        return "the file cannot be read";
    }
}

/* What programs mean by the driver
 * ---------------------------------------------------------------*/

static int is_same_file(const char *left, const char *right)
{
    struct stat a;
    struct stat b;

    return *right && stat(left, &a) == 0 && stat(right, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

int driver_path_is_driver(const char *name, const char *driver)
{
    const char *base = name ? strrchr(name, '/') : NULL;
    struct driver_path_elf elf;

    if (!name)
        return 0;
    if (!base)
        return strcmp(name, "libcuda.so") == 0;
    if (strncmp(base + 1, "libcuda.so", strlen("libcuda.so")) != 0)
        return 0;
    if (is_same_file(name, driver))
        return 1;
    return driver_path_read_elf(name, &elf) == 0 && elf.is_library &&
           strcmp(elf.soname, DRIVER_SONAME) == 0;
}
