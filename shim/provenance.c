#include "provenance.h"
#include "checkpoints.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PAGEMAP_FILE    ((uint64_t)1 << 61) /* a page of a file, or shared anonymous */
#define PAGEMAP_SWAPPED ((uint64_t)1 << 62)
#define PAGEMAP_PRESENT ((uint64_t)1 << 63)

/* PROCMAP_QUERY of Linux 6.11, which answers for one address what /proc/self/maps lists for all.
 * source: include/uapi/linux/fs.h */
struct procmap_query {
    uint64_t size;
    uint64_t query_flags;
    uint64_t query_addr;
    uint64_t vma_start;
    uint64_t vma_end;
    uint64_t vma_flags;
    uint64_t vma_page_size;
    uint64_t vma_offset;
    uint64_t inode;
    uint32_t dev_major;
    uint32_t dev_minor;
    uint32_t vma_name_size;
    uint32_t build_id_size;
    uint64_t vma_name_addr;
    uint64_t build_id_addr;
};
#define PROCMAP_QUERY_IOCTL        _IOWR('f', 17, struct procmap_query)
#define PROCMAP_QUERY_VMA_READABLE 1u

struct mapping {
    uint64_t first, end; /* addresses */
    uint64_t offset;     /* of first, in the file */
    uint64_t inode;
    int readable;
    char path[PATH_MAX];
};

/* The kernel's list of this process's mappings, opened once: to open it takes longer than to ask.
 * A program that closes what it does not know may put a file of its own there, which does not know
 * the question; then the list is opened anew. returns -1 where it cannot be opened */
static int maps_descriptor(int refused)
{
    static atomic_int kept = -1;
    int fd = atomic_load_explicit(&kept, memory_order_relaxed);
    int before = fd;

    if (fd >= 0 && fd != refused)
        return fd;
    fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && !atomic_compare_exchange_strong(&kept, &before, fd)) {
        close(fd); /* another thread was quicker */
        fd = before;
    }
    return fd;
}

/* returns 0 or -errno */
static int ask_kernel(struct procmap_query *query)
{
    static atomic_int is_unknown; /* a kernel that has no such question */
    int fd = is_unknown ? -1 : maps_descriptor(-1);

    if (fd < 0)
        return -ENOTTY;
    if (!ioctl(fd, PROCMAP_QUERY_IOCTL, query))
        return 0;
    if (errno != ENOTTY && errno != EBADF)
        return -errno;
    fd = maps_descriptor(fd);
    if (fd >= 0 && !ioctl(fd, PROCMAP_QUERY_IOCTL, query))
        return 0;
    if (fd >= 0 && errno == ENOTTY)
        is_unknown = 1;
    return fd >= 0 ? -errno : -EBADF;
}

/* returns  1, 0 when there is no file mapping at addr, -1 when the kernel cannot be asked like this
 */
static int query_kernel(uint64_t addr, struct mapping *out)
{
    /* To be told a path takes the kernel half as long again. It is asked for where there is likely
     * to be one: after one. */
    static __thread int expect_file;
    struct procmap_query query = {.size = sizeof(query), .query_addr = addr};
    int err = expect_file ? 0 : ask_kernel(&query);

    if (!err && (expect_file || query.inode)) {
        query = (struct procmap_query){.size = sizeof(query), .query_addr = addr};
        query.vma_name_addr = (uintptr_t)out->path;
        query.vma_name_size = sizeof(out->path);
        err = ask_kernel(&query);
    }
    out->readable = !err && query.vma_flags & PROCMAP_QUERY_VMA_READABLE;
    expect_file = !err && query.inode;
    if (err)
        return err == -ENOENT ? 0 : -1;
    out->first = query.vma_start;
    out->end = query.vma_end;
    out->offset = query.vma_offset;
    out->inode = query.inode;
    return query.inode != 0 && query.vma_name_size > 0 && out->path[0] == '/';
}

/* The same from the text, for older kernels. */
static int read_maps(uint64_t addr, struct mapping *out)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char *line = NULL;
    size_t room = 0;
    int found = 0;

    if (!maps)
        return 0;
    while (!found && getline(&line, &room, maps) > 0) {
        unsigned long long first, end, offset, inode;
        char access[5];
        int path_at = 0;

        if (sscanf(line, "%llx-%llx %4s %llx %*x:%*x %llu %n", &first, &end, access, &offset,
                   &inode, &path_at) < 5 ||
            addr < first || addr >= end)
            continue;
        out->readable = access[0] == 'r';
        out->first = first;
        out->end = end;
        out->inode = inode;
        line[strcspn(line, "\n")] = '\0';
        if (!inode || !path_at || line[path_at] != '/' ||
            strlen(line + path_at) >= sizeof(out->path))
            break;
        strcpy(out->path, line + path_at);
        out->offset = offset;
        found = 1;
    }
    free(line);
    fclose(maps);
    return found;
}

/* Where the heap is known to begin, what sbrk() moves the end of; UINT64_MAX before it is. */
static _Atomic uint64_t g_heap_first = UINT64_MAX;

/* The heap is the program's memory for as long as it is the heap: nobody maps files into it, and
 * the kernel need not be asked. Small sources lie there mostly, for which the question would take
 * longer than all else. */
static int is_heap(uint64_t addr, size_t bytes)
{
    uint64_t first = atomic_load_explicit(&g_heap_first, memory_order_relaxed);
    uint64_t end = first == UINT64_MAX ? 0 : (uintptr_t)sbrk(0);

    return addr >= first && addr < end && bytes <= end - addr;
}

static void learn_heap(const struct mapping *m)
{
    uint64_t end = (uintptr_t)sbrk(0);

    if (m->readable && !m->inode && m->first < end && end <= m->end)
        atomic_store_explicit(&g_heap_first, m->first, memory_order_relaxed);
}

/* Is a page a private copy, that somebody wrote? */
static int is_changed(uint64_t entry)
{
    return (entry & PAGEMAP_SWAPPED) || ((entry & PAGEMAP_PRESENT) && !(entry & PAGEMAP_FILE));
}

/* Are the bytes at addr still the file's own? They are not when that cannot be found out.
 *
 * bytes    how many to look at; set to how many of them, up to a page's end, the answer is true of
 */
static int is_unmodified(uint64_t addr, size_t *bytes)
{
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t page = addr / page_bytes, end = (addr + *bytes - 1) / page_bytes + 1;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    int changed = -1; /* the first page's answer, once it is known */

    while (fd >= 0 && page < end) {
        uint64_t entries[512];
        size_t want = end - page < 512 ? (size_t)(end - page) : 512;
        ssize_t got = pread(fd, entries, want * 8, (off_t)(page * 8));

        if (got < 8)
            break;
        for (size_t i = 0; i < (size_t)got / 8; i++, page++) {
            if (changed < 0)
                changed = is_changed(entries[i]);
            else if (changed != is_changed(entries[i]))
                goto out;
        }
    }
out:
    if (fd >= 0)
        close(fd);
    if (changed >= 0 && page * page_bytes - addr < *bytes)
        *bytes = (size_t)(page * page_bytes - addr);
    return changed == 0;
}

int provenance_find(const void *source, size_t bytes, struct provenance *out)
{
    uint64_t addr = (uint64_t)(uintptr_t)source;
    struct known_file *file;
    struct mapping m;
    int found;

    out->bytes = bytes;
    out->readable = 0;
    if (!bytes)
        return 0;
    out->readable = is_heap(addr, bytes);
    if (out->readable)
        return 0;
    m.readable = 0;
    found = query_kernel(addr, &m);
    if (found < 0)
        found = read_maps(addr, &m);
    out->readable = m.readable;
    if (!found) {
        learn_heap(&m);
        return 0;
    }
    if (m.end - addr < bytes)
        out->bytes = (size_t)(m.end - addr);
    file = checkpoints_know(m.path, m.inode, NULL);
    /* Names mean what the header said when it was read. */
    if (!file || !file->checkpoint || !checkpoints_path_is_current(file))
        return 0;
    out->checkpoint = file->checkpoint;
    out->file = file->file;
    out->offset = m.offset + (addr - m.first);
    return is_unmodified(addr, &out->bytes);
}
