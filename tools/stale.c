/* stale.c - the counters files of programs under berth. */
#include "stale.h"

#include "shim/stats_file.h"
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAKING_S 60 /* longer than any process takes from creating its file to filling it in */

/* A file that holds nothing yet: was its process ended before it could fill it in? A process of
 * another namespace, which we cannot ask for, would be making it at this moment. */
static int is_abandoned(const char *path, pid_t pid)
{
    struct stat status;

    return kill(pid, 0) != 0 && errno == ESRCH && lstat(path, &status) == 0 &&
           status.st_mtime < time(NULL) - MAKING_S;
}

/* Does the process of this file live? What cannot be read is nobody's that we could show; it is
 * left to the version of berth that made it. */
static int is_living(pid_t pid, int *removable)
{
    char path[STATS_PATH_BYTES];
    struct stats_view view;
    int err, exists;

    stats_file_path(path, geteuid(), pid);
    err = stats_file_read(path, &view);
    *removable = err == -ENOMSG && is_abandoned(path, pid);
    if (err)
        return 0;
    exists = stats_process_exists(view.header);
    *removable = !exists;
    stats_file_release(&view);
    return exists;
}

static int compare_pids(const void *a, const void *b)
{
    pid_t left = *(const pid_t *)a, right = *(const pid_t *)b;

    return (left > right) - (left < right);
}

void stale_remove(pid_t except)
{
    DIR *folder = opendir(STATS_FOLDER);
    char path[STATS_PATH_BYTES];
    struct dirent *entry;
    int removable;
    pid_t pid;

    while (folder && (entry = readdir(folder))) {
        pid = stats_file_pid(entry->d_name, geteuid());
        if (!pid || pid == except || is_living(pid, &removable) || !removable)
            continue;
        stats_file_path(path, geteuid(), pid);
        unlink(path);
    }
    if (folder)
        closedir(folder);
}

long stale_list_living(pid_t **pids)
{
    DIR *folder = opendir(STATS_FOLDER);
    size_t count = 0, room = 0;
    struct dirent *entry;
    pid_t *grown;
    int removable;
    pid_t pid;

    *pids = NULL;
    while (folder && (entry = readdir(folder))) {
        pid = stats_file_pid(entry->d_name, geteuid());
        if (!pid || !is_living(pid, &removable))
            continue;
        if (count == room) {
            room = room ? 2 * room : 16;
            grown = realloc(*pids, room * sizeof(**pids));
            if (!grown) {
                free(*pids);
                *pids = NULL;
                closedir(folder);
                return -ENOMEM;
            }
            *pids = grown;
        }
        (*pids)[count++] = pid;
    }
    if (folder)
        closedir(folder);
    if (count)
        qsort(*pids, count, sizeof(**pids), compare_pids);
    return (long)count;
}
