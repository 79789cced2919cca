/* stale.c - the counters files of programs under berth. */
#include "stale.h"

#include "shim/stats_file.h"
#include "shim/stats_report.h"
#include "tool.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAKING_S 60 /* longer than any process takes from creating its file to filling it in */

enum fate {
    FATE_STAYS, /* not ours to judge, or its launcher sees to it */
    FATE_LIVES,
    FATE_ENDED,
    FATE_ABANDONED, /* it holds nothing and never will */
};

/* A file, and the program that made it. */
struct left {
    pid_t pid;
    enum fate fate;
    uint64_t opened_ns;
};

struct list {
    struct left *items;
    size_t count, room;
};

/* Which there are ------------------------------------------------------------------------------ */

/* A file that holds nothing yet: was its process ended before it could fill it in? A process of
 * another namespace, which we cannot ask for, would be making it at this moment. */
static int is_abandoned(const char *path, pid_t pid)
{
    struct stat status;

    return kill(pid, 0) != 0 && errno == ESRCH && lstat(path, &status) == 0 &&
           status.st_mtime < time(NULL) - MAKING_S;
}

/* What has become of the process of this file? What cannot be read is nobody's that we could show;
 * it is left to the version of berth that made it. */
static struct left judge(pid_t pid)
{
    struct left left = {.pid = pid, .fate = FATE_STAYS};
    char path[STATS_PATH_BYTES];
    struct stats_view view;
    enum stats_process process;
    int err;

    stats_file_path(path, geteuid(), pid);
    err = stats_file_read(path, &view);
    if (err) {
        if (err == -ENOMSG && is_abandoned(path, pid))
            left.fate = FATE_ABANDONED;
        return left;
    }
    process = stats_process_find(view.header);
    if (process == STATS_PROCESS_LIVES)
        left.fate = FATE_LIVES;
    else if (process == STATS_PROCESS_GONE || !view.header->launcher ||
             view.header->launcher != stats_process_parent(pid))
        left.fate = FATE_ENDED;
    left.opened_ns = view.header->opened_ns;
    stats_file_release(&view);
    return left;
}

/* returns 0 or -ENOMEM */
static int list_add(struct list *list, struct left left)
{
    struct left *grown;

    if (list->count == list->room) {
        list->room = list->room ? 2 * list->room : 16;
        grown = realloc(list->items, list->room * sizeof(*list->items));
        if (!grown)
            return -ENOMEM;
        list->items = grown;
    }
    list->items[list->count++] = left;
    return 0;
}

/* returns 0 or -ENOMEM; owner: the caller frees list->items in any case */
static int list_all(struct list *list)
{
    DIR *folder = opendir(STATS_FOLDER);
    struct dirent *entry;
    int err = 0;
    pid_t pid;

    memset(list, 0, sizeof(*list));
    while (folder && !err && (entry = readdir(folder))) {
        pid = stats_file_pid(entry->d_name, geteuid());
        if (pid)
            err = list_add(list, judge(pid));
    }
    if (folder)
        closedir(folder);
    return err;
}

/* What was to be written ------------------------------------------------------------------------
 */

/* May the JSON of a program that has ended be left where it wanted it?
 *
 * reason   set on failure
 * returns  0; -EALREADY where something newer is there; else -errno
 */
static int check_target(const struct stats_view *view, const char **reason)
{
    const struct stats_header *header = view->header;
    struct stat status;

    if (header->export_path[0] != '/' || header->mount_namespace != stats_namespace("mnt")) {
        *reason = "the path is that of another container";
        return -EXDEV;
    }
    if (lstat(header->export_path, &status) != 0) {
        *reason = strerror(errno);
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISREG(status.st_mode)) {
        *reason = "it is no regular file";
        return -EINVAL;
    }
    if (status.st_uid != geteuid()) {
        *reason = "it is another user's file";
        return -EPERM;
    }
    if ((uint64_t)status.st_mtim.tv_sec * 1000000000u + (uint64_t)status.st_mtim.tv_nsec >
        header->opened_ns)
        return -EALREADY;
    return 0;
}

/* Like check_target(), and writes it. */
static int write_owed(const struct stats_view *view, const char **reason)
{
    struct stats_report report;
    int err = check_target(view, reason);

    if (err)
        return err;
    err = stats_report_make(view, &report);
    if (!err) {
        err = stats_report_export(&report, view->header->export_path);
        stats_report_release(&report);
    }
    *reason = strerror(-err);
    return err;
}

/* Only what a program of this user's wanted: a path of somebody else's choice is nothing to write
 * to.
 *
 * returns  0, and the file may go, or -errno
 */
static int settle_owed(const struct stats_view *view, enum stale_voice voice)
{
    const struct stats_header *header = view->header;
    const char *reason;
    int err;

    if (!header->export_path[0] || view->owner != geteuid())
        return 0;
    err = write_owed(view, &reason);
    if (err == -EALREADY || (err == -ENOENT && voice == STALE_SILENT))
        return 0;
    if (err && voice == STALE_TELLS)
        tool_error("stats: %s, pid %d, was ended and could not leave its statistics in %s: %s; "
                   "see berth stats %d, after which they go",
                   header->program, (int)header->pid, header->export_path, reason,
                   (int)header->pid);
    else if (!err && voice == STALE_TELLS)
        tool_error("stats: %s, pid %d, was ended; its statistics have now been written to %s",
                   header->program, (int)header->pid, header->export_path);
    return err;
}

/* They have been shown: the program's file no longer says that they are to be written. */
static void forget_owed(const char *path)
{
    int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return;
    if (pwrite(fd, "", 1, offsetof(struct stats_header, export_path)) != 1)
        unlink(path); /* rather than say it for ever */
    close(fd);
}

static void settle(const struct left *left, pid_t shown, enum stale_voice voice)
{
    char path[STATS_PATH_BYTES];
    struct stats_view view;
    int err = 0;

    if (left->fate != FATE_ENDED && left->fate != FATE_ABANDONED)
        return;
    stats_file_path(path, geteuid(), left->pid);
    if (left->fate == FATE_ENDED) {
        if (stats_file_read(path, &view))
            return; /* somebody else has settled it meanwhile */
        err = settle_owed(&view, voice);
        stats_file_release(&view);
    }
    if (left->pid == shown && left->fate == FATE_ENDED)
        forget_owed(path);
    else if (!err)
        unlink(path);
}

/* Those of later programs first: what they leave in one place is what stays. */
static int compare_opened(const void *a, const void *b)
{
    uint64_t left = ((const struct left *)a)->opened_ns,
             right = ((const struct left *)b)->opened_ns;

    return (left < right) - (left > right);
}

void stale_settle(pid_t shown, enum stale_voice voice)
{
    struct list list;

    list_all(&list); /* where memory is short the rest waits for the next one */
    if (list.count)
        qsort(list.items, list.count, sizeof(*list.items), compare_opened);
    for (size_t i = 0; i < list.count; i++)
        settle(&list.items[i], shown, voice);
    free(list.items);
}

static int compare_pids(const void *a, const void *b)
{
    pid_t left = *(const pid_t *)a, right = *(const pid_t *)b;

    return (left > right) - (left < right);
}

long stale_list_living(pid_t **pids)
{
    struct list list;
    long count = 0;

    *pids = NULL;
    if (list_all(&list) == 0)
        *pids = calloc(list.count + 1, sizeof(**pids));
    for (size_t i = 0; i < list.count && *pids; i++) {
        if (list.items[i].fate == FATE_LIVES)
            (*pids)[count++] = list.items[i].pid;
    }
    free(list.items);
    if (!*pids)
        return -ENOMEM;
    qsort(*pids, (size_t)count, sizeof(**pids), compare_pids);
    return count;
}
