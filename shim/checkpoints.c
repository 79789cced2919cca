#include "checkpoints.h"
#include "config.h"
#include "log.h"
#include "placement.h"
#include "preload.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct known_file *) g_first; /* links are written with g_lock held */
static struct known_file *g_last;            /* g_lock */
static atomic_size_t g_count;

/* What a new descriptor would change: the lowest number that was free, which it takes first, and
 * the number behind which the last checkpoint was found. Both as of the last look, by whatever
 * thread. */
static atomic_int g_free_fd = -1;
static atomic_int g_checkpoint_fd = -1;
static _Atomic ino_t g_checkpoint_inode;

/* Open a file and see what it is. It is named by its path and must still be the inode that was
 * seen. Nothing but a regular file is opened: devices act on it. */
static void recognise(const char *path, struct known_file *file)
{
    struct input_error error;
    struct stat status;
    unsigned char head[CHECKPOINT_HEAD_BYTES];
    ssize_t got;
    int fd;

    if (stat(path, &status) || !S_ISREG(status.st_mode) || status.st_ino != file->inode)
        return;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return;
    if (fstat(fd, &status) || !S_ISREG(status.st_mode) || status.st_ino != file->inode)
        goto err_close;
    got = pread(fd, head, sizeof(head), 0);
    if (got <= 0 ||
        checkpoint_identify(head, (size_t)got, (uint64_t)status.st_size) == CHECKPOINT_UNKNOWN)
        goto err_close;
    if (checkpoint_open_fd(fd, file->path, &file->checkpoint, &error)) {
        char line[INPUT_ERROR_TEXT_BYTES];

        log_debug("upload", "not a checkpoint: %s", input_error_format(&error, line, sizeof(line)));
        file->checkpoint = NULL;
        goto err_close;
    }
    file->file = checkpoint_find_file(file->checkpoint, status.st_dev, status.st_ino);
    if (file->file == CHECKPOINT_NONE) {
        checkpoint_close(file->checkpoint);
        file->checkpoint = NULL;
        goto err_close;
    }
    file->fd = fd;
    placement_add(file->checkpoint, file->path);
    preload_add(file->checkpoint, file->path);
    atomic_fetch_add(&g_count, 1);
    log_debug("upload", "recognised %s: %zu tensors", file->path, file->checkpoint->tensor_count);
    return;

err_close:
    close(fd);
}

/* g_lock is held. */
static struct known_file *add(const char *path, uint64_t inode, const char *open_as)
{
    struct known_file *file = calloc(1, sizeof(*file));

    if (!file)
        return NULL;
    file->path = strdup(path);
    if (!file->path) {
        free(file);
        return NULL;
    }
    file->inode = inode;
    file->fd = -1;
    recognise(path, file);
    if (!file->checkpoint && open_as)
        recognise(open_as, file);
    if (g_last)
        __atomic_store_n(&g_last->next, file, __ATOMIC_RELEASE);
    else
        atomic_store(&g_first, file);
    g_last = file;
    return file;
}

struct known_file *checkpoints_know(const char *path, uint64_t inode, const char *open_as)
{
    struct known_file *file;

    pthread_mutex_lock(&g_lock);
    for (file = g_first; file; file = file->next)
        if (file->inode == inode && !strcmp(file->path, path))
            break;
    if (!file)
        file = add(path, inode, open_as);
    pthread_mutex_unlock(&g_lock);
    return file;
}

struct known_file *checkpoints_next(const struct known_file *after)
{
    return after ? __atomic_load_n(&after->next, __ATOMIC_ACQUIRE) : atomic_load(&g_first);
}

size_t checkpoints_count(void)
{
    return atomic_load_explicit(&g_count, memory_order_relaxed);
}

static int is_current(struct known_file *file, int failed, const struct stat *status)
{
    if (!failed && !checkpoint_file_compare(&file->checkpoint->files[file->file], status))
        return 1;
    if (!atomic_exchange(&file->changed, 1))
        log_warn(
            "upload",
            "%s was changed while in use: what is copied from it from now on has no name in the "
            "statistics",
            file->path);
    return 0;
}

int checkpoints_path_is_current(struct known_file *file)
{
    struct stat status;

    return !file->changed && is_current(file, stat(file->path, &status), &status);
}

int checkpoints_file_is_current(struct known_file *file)
{
    struct stat status;

    /* A program that closes what it does not know may have put another file there: also then the
     * answer is no, and the number is its own. */
    return !file->changed && is_current(file, fstat(file->fd, &status), &status);
}

int checkpoints_read(const struct known_file *file, uint64_t offset, void *out, size_t bytes)
{
    char *at = out;

    while (bytes) {
        ssize_t got = pread(file->fd, at, bytes, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -ENODATA;
        at += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return 0;
}

/* Looking around ------------------------------------------------------------------------------- */

static void know_path(const char *path)
{
    struct stat status;
    char real[PATH_MAX];

    if (realpath(path, real) && !stat(real, &status))
        checkpoints_know(real, status.st_ino, NULL);
}

/* What the user named: a file, or an index or a folder that leads to several. Those of them that
 * are nothing but bytes say nothing by themselves. */
static void scan_configuration(void)
{
    static atomic_int done;
    const char *path = config()->policy->checkpoint;
    struct checkpoint *checkpoint;
    struct input_error error;

    if (!path || done || checkpoint_open(path, &checkpoint, &error))
        return;
    for (size_t i = 0; i < checkpoint->file_count; i++)
        if (checkpoint->files[i].data_offset)
            know_path(checkpoint->files[i].path);
    checkpoint_close(checkpoint);
    done = 1;
}

static void scan_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    const struct dirent *entry;

    while (folder && (entry = readdir(folder))) {
        char link[64], path[PATH_MAX];
        const struct known_file *file;
        struct stat status;
        ssize_t length;
        int fd = atoi(entry->d_name);

        if (entry->d_name[0] == '.' || fd == dirfd(folder) || fstat(fd, &status) ||
            !S_ISREG(status.st_mode))
            continue;
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        length = readlink(link, path, sizeof(path) - 1);
        if (length <= 0 || path[0] != '/')
            continue;
        path[length] = '\0';
        file = checkpoints_know(path, status.st_ino, link);
        if (file && file->checkpoint && file->fd != fd) {
            g_checkpoint_fd = fd;
            g_checkpoint_inode = status.st_ino;
        }
    }
    if (!folder)
        return;
    g_free_fd = dirfd(folder);
    closedir(folder);
}

void checkpoints_scan_opened(void)
{
    struct stat status;
    int fd = g_checkpoint_fd;

    if (fcntl(g_free_fd, F_GETFD) >= 0 ||
        (fd >= 0 && !fstat(fd, &status) && status.st_ino != g_checkpoint_inode))
        scan_descriptors();
}

static void scan_mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    unsigned long long inode, last = 0;
    char *line = NULL;
    size_t room = 0;

    while (maps && getline(&line, &room, maps) > 0) {
        int path_at = 0;

        if (sscanf(line, "%*x-%*x %*4s %*x %*x:%*x %llu %n", &inode, &path_at) < 1 || !inode ||
            !path_at || line[path_at] != '/' || inode == last)
            continue;
        line[strcspn(line, "\n")] = '\0';
        last = inode;
        checkpoints_know(line + path_at, inode, NULL);
    }
    free(line);
    if (maps)
        fclose(maps);
}

void checkpoints_scan(void)
{
    scan_configuration();
    scan_descriptors();
    scan_mappings();
}
