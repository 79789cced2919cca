/* stats_file.c - reading the counters file of another process. */
#include "stats_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void stats_file_path(char path[STATS_PATH_BYTES], uid_t uid, pid_t pid)
{
    snprintf(path, STATS_PATH_BYTES, STATS_FOLDER "/berth-%u-%d", (unsigned)uid, (int)pid);
}

pid_t stats_file_pid(const char *name, uid_t uid)
{
    char path[STATS_PATH_BYTES];
    unsigned owner;
    int pid;

    if (sscanf(name, "berth-%u-%d", &owner, &pid) != 2 || owner != uid || pid <= 0)
        return 0;
    /* Only the spelling that we write: no blanks, no leading zeros, nothing behind. */
    stats_file_path(path, uid, pid);
    return strcmp(path + strlen(STATS_FOLDER "/"), name) == 0 ? pid : 0;
}

/* Read exactly bytes at offset. A file that ends earlier is damaged. */
static int read_at(int fd, void *to, size_t bytes, off_t offset)
{
    char *at = to;

    while (bytes > 0) {
        ssize_t got = pread(fd, at, bytes, offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return -EBADMSG;
        at += got;
        offset += got;
        bytes -= (size_t)got;
    }
    return 0;
}

static int read_header(int fd, struct stats_header *header, uid_t *owner)
{
    struct stat status;
    uint64_t magic;
    int err;

    if (fstat(fd, &status) != 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -ENOMSG;
    if (pread(fd, &magic, sizeof(magic), 0) != sizeof(magic) || magic != STATS_MAGIC)
        return -ENOMSG;
    if ((uint64_t)status.st_size < sizeof(*header))
        return -EBADMSG;
    err = read_at(fd, header, sizeof(*header), 0);
    if (err)
        return err;
    if (header->layout != STATS_LAYOUT || header->header_bytes != sizeof(*header) ||
        header->record_bytes != sizeof(struct stats_record))
        return -EPROTO;
    if ((uint64_t)status.st_size != STATS_FILE_BYTES || header->record_count > STATS_RECORDS_MAX ||
        header->names_used > STATS_NAMES_BYTES || header->device_count > STATS_DEVICES_MAX)
        return -EBADMSG;
    header->program[sizeof(header->program) - 1] = '\0';
    header->driver[sizeof(header->driver) - 1] = '\0';
    header->backend[sizeof(header->backend) - 1] = '\0';
    header->export_path[sizeof(header->export_path) - 1] = '\0';
    for (size_t i = 0; i < STATS_UNKNOWN_MAX; i++)
        header->unknown[i].name[sizeof(header->unknown[i].name) - 1] = '\0';
    *owner = status.st_uid;
    return 0;
}

/* Read the generations of all records a second time, a block at a time. */
static int read_generations(int fd, uint32_t *generations, uint32_t count)
{
    enum { BLOCK = 256 };
    struct stats_record *block;
    int err = 0;

    block = malloc(BLOCK * sizeof(*block));
    if (!block)
        return -ENOMEM;
    for (uint32_t first = 0; first < count && !err; first += BLOCK) {
        uint32_t records = count - first < BLOCK ? count - first : BLOCK;

        err = read_at(fd, block, records * sizeof(*block),
                      (off_t)(STATS_RECORDS_OFFSET + first * sizeof(*block)));
        for (uint32_t i = 0; i < records && !err; i++)
            generations[first + i] = block[i].generation;
    }
    free(block);
    return err;
}

/* The names are read after the records that point to them; the header is first, so names_used may
 * have grown since: a name past it is a record that this view leaves out. */
static int read_body(int fd, struct stats_view *view)
{
    struct stats_header *header = view->copy;
    uint32_t count = header->record_count;
    uint32_t names_bytes = header->names_used;
    struct stats_record *records;
    uint32_t *generations;
    char *names;
    int err;

    records = (struct stats_record *)(header + 1);
    generations = (uint32_t *)(records + count);
    names = (char *)(generations + count);
    err = read_at(fd, records, count * sizeof(*records), STATS_RECORDS_OFFSET);
    if (!err)
        err = read_at(fd, names, names_bytes, STATS_NAMES_OFFSET);
    if (!err)
        err = read_generations(fd, generations, count);
    if (err)
        return err;
    view->header = header;
    view->records = records;
    view->generations = generations;
    view->names = names;
    view->record_count = count;
    view->names_bytes = names_bytes;
    return 0;
}

int stats_file_read(const char *path, struct stats_view *view)
{
    struct stats_header header;
    struct stats_view copy = {0};
    int fd;
    int err;

    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    err = read_header(fd, &header, &copy.owner);
    if (err)
        goto err_close;

    copy.copy = malloc(sizeof(header) +
                       header.record_count * (sizeof(struct stats_record) + sizeof(uint32_t)) +
                       header.names_used);
    err = -ENOMEM;
    if (!copy.copy)
        goto err_close;
    memcpy(copy.copy, &header, sizeof(header));
    err = read_body(fd, &copy);
    if (err)
        goto err_free;
    close(fd);
    *view = copy;
    return 0;

err_free:
    free(copy.copy);
err_close:
    close(fd);
    return err;
}

void stats_file_release(struct stats_view *view)
{
    free(view->copy);
    memset(view, 0, sizeof(*view));
}

/* The fields of /proc/pid/stat that are asked for here. */
struct process {
    char state;
    int parent;
    int threads;
    uint64_t start_ticks;
};

/* Read them: they stand behind the command, which may hold blanks and parentheses. */
static int read_process(pid_t pid, struct process *process)
{
    char path[32];
    char text[1024];
    char *at;
    ssize_t bytes;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    bytes = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (bytes <= 0)
        return -ESRCH;
    text[bytes] = '\0';
    at = strrchr(text, ')');
    if (!at ||
        sscanf(at + 1,
               " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d %*d "
               "%" SCNu64,
               &process->state, &process->parent, &process->threads, &process->start_ticks) != 4)
        return -EBADMSG;
    return 0;
}

uint64_t stats_process_start(pid_t pid)
{
    struct process process;

    return read_process(pid, &process) == 0 ? process.start_ticks : 0;
}

pid_t stats_process_parent(pid_t pid)
{
    struct process process;

    return read_process(pid, &process) == 0 ? process.parent : 0;
}

uint64_t stats_namespace(const char *kind)
{
    struct stat status;
    char path[32];

    snprintf(path, sizeof(path), "/proc/self/ns/%s", kind);
    return stat(path, &status) == 0 ? (uint64_t)status.st_ino : 0;
}

enum stats_process stats_process_find(const struct stats_header *header)
{
    uint64_t here = stats_namespace("pid");
    struct process process;

    if (!here || header->pid_namespace != here)
        return STATS_PROCESS_LIVES;
    if (read_process(header->pid, &process) || process.start_ticks != header->start_ticks)
        return STATS_PROCESS_GONE;
    /* A first thread that has ended before the others is shown as dead, too. */
    if ((process.state == 'Z' || process.state == 'X') && process.threads <= 1)
        return STATS_PROCESS_UNREAPED;
    return STATS_PROCESS_LIVES;
}
