/* faults.c - a library to preload: system calls that change files fail, or the process dies in
 * them.
 *
 *   FAULT_AT=N     the Nth counted call, from 1 on; 0 for every one of them
 *   FAULT_CALL=X   counts calls of this name only
 *   FAULT_DO=X     an errno: the call fails with it and does nothing
 *                  kill, done-kill: the process is killed before the call, or after it
 *                  short: half of what is to be written is, and the process is killed
 *                  term: that signal before the call
 *                  wait: a byte to the fifo FAULT_TOLD, then until the fifo FAULT_GATE was opened
 * and closed, before the call FAULT_LOG=F    a line for each counted call: its name, its file;
 * "fault" before the one that is hit
 *
 * Counted are the calls by which files come, change, get to the disk or go. It is preloaded into
 * the command alone, which is no program of CUDA's.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static long g_count;

static void log_call(const char *name, const char *file, int hit)
{
    const char *path = getenv("FAULT_LOG");
    char line[9000];
    int fd, bytes;

    if (!path)
        return;
    fd = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    bytes = snprintf(line, sizeof(line), "%s%s %s\n", hit ? "fault " : "", name, file);
    if (REAL(write)(fd, line, (size_t)bytes) != bytes)
        _exit(99);
    close(fd);
}

static void wait_outside(void)
{
    int told = REAL(open)(getenv("FAULT_TOLD"), O_WRONLY), gate;
    char byte = 'w';

    if (REAL(write)(told, &byte, 1) != 1)
        _exit(99);
    close(told);
    gate = REAL(open)(getenv("FAULT_GATE"), O_RDONLY);
    while (read(gate, &byte, 1) > 0)
        ;
    close(gate);
}

/* Count a call. returns what is to be done to it, NULL for nothing; what happens before the call
 * has happened.
 */
static const char *count(const char *name, const char *file)
{
    const char *at = getenv("FAULT_AT"), *call = getenv("FAULT_CALL"), *what = getenv("FAULT_DO");
    int hit;

    if (call && strcmp(call, name) != 0)
        return NULL;
    g_count++;
    hit = at && what && (atol(at) == 0 || atol(at) == g_count);
    log_call(name, file, hit);
    if (!hit)
        return NULL;
    if (strcmp(what, "kill") == 0)
        raise(SIGKILL);
    if (strcmp(what, "wait") == 0)
        wait_outside();
    if (strcmp(what, "term") == 0)
        raise(SIGTERM);
    return what;
}

static const char *path_of(int fd, const char *name, char path[8200])
{
    char link[64];
    ssize_t bytes;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    bytes = readlink(link, path, 4096);
    path[bytes > 0 ? bytes : 0] = '\0';
    if (name)
        snprintf(path + strlen(path), 4100, "/%s", name);
    return path;
}

static int fails(const char *what)
{
    if (!what || atoi(what) == 0)
        return 0;
    errno = atoi(what);
    return 1;
}

static ssize_t after(const char *what, ssize_t res)
{
    if (what && strcmp(what, "done-kill") == 0)
        raise(SIGKILL);
    return res;
}

static int is_short(const char *what)
{
    return what && strcmp(what, "short") == 0;
}

#define COUNT(name, fd, file)                                                                      \
    char path[8200];                                                                               \
    const char *what = count(name, path_of(fd, file, path))

int openat(int folder, const char *name, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (!(flags & O_CREAT))
        return REAL(openat)(folder, name, flags);
    COUNT("create", folder, name);

    if (fails(what))
        return -1;
    return (int)after(what, REAL(openat)(folder, name, flags, mode));
}

int mkdirat(int folder, const char *name, mode_t mode)
{
    COUNT("mkdir", folder, name);

    if (fails(what))
        return -1;
    return (int)after(what, REAL(mkdirat)(folder, name, mode));
}

ssize_t pwrite(int fd, const void *bytes, size_t count_bytes, off_t at)
{
    COUNT("write", fd, NULL);

    if (fails(what))
        return -1;
    if (is_short(what)) {
        REAL(pwrite)(fd, bytes, count_bytes / 2, at);
        raise(SIGKILL);
    }
    return after(what, REAL(pwrite)(fd, bytes, count_bytes, at));
}

ssize_t copy_file_range(int from, off64_t *in, int to, off64_t *out, size_t bytes, unsigned flags)
{
    COUNT("copy", to, NULL);

    if (fails(what))
        return -1;
    if (is_short(what)) {
        REAL(copy_file_range)(from, in, to, out, bytes / 2, flags);
        raise(SIGKILL);
    }
    return after(what, REAL(copy_file_range)(from, in, to, out, bytes, flags));
}

int fallocate(int fd, int mode, off_t at, off_t bytes)
{
    COUNT("reserve", fd, NULL);

    if (fails(what))
        return -1;
    return (int)after(what, REAL(fallocate)(fd, mode, at, bytes));
}

int sync_file_range(int fd, off64_t at, off64_t bytes, unsigned flags)
{
    COUNT("begin", fd, NULL);

    if (fails(what))
        return -1;
    return (int)after(what, REAL(sync_file_range)(fd, at, bytes, flags));
}

int ftruncate(int fd, off_t bytes)
{
    COUNT("truncate", fd, NULL);

    if (fails(what))
        return -1;
    return (int)after(what, REAL(ftruncate)(fd, bytes));
}

int fchmod(int fd, mode_t mode)
{
    COUNT("chmod", fd, NULL);

    if (fails(what))
        return -1;
    return (int)after(what, REAL(fchmod)(fd, mode));
}

int fsync(int fd)
{
    COUNT("fsync", fd, NULL);

    if (fails(what))
        return -1;
    return (int)after(what, REAL(fsync)(fd));
}

int syncfs(int fd)
{
    COUNT("syncfs", fd, NULL);

    if (fails(what))
        return -1;
    return (int)after(what, REAL(syncfs)(fd));
}

int renameat(int a, const char *from, int b, const char *to)
{
    COUNT("rename", b, to);

    if (fails(what))
        return -1;
    return (int)after(what, REAL(renameat)(a, from, b, to));
}

int renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
    COUNT(flags ? "exchange" : "rename", b, to);

    if (fails(what))
        return -1;
    return (int)after(what, REAL(renameat2)(a, from, b, to, flags));
}

int unlinkat(int folder, const char *name, int flags)
{
    COUNT(flags ? "rmdir" : "unlink", folder, name);

    if (fails(what))
        return -1;
    return (int)after(what, REAL(unlinkat)(folder, name, flags));
}
