#include "stats_earlier.h"
#include "log.h"
#include "stats_report.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Anybody may lay a file there, with a path of his own choice in it. */
static int is_ours(const struct stats_view *view)
{
    const struct stats_header *header = view->header;

    return view->owner == geteuid() && header->pid == getpid() && header->start_ticks &&
           header->start_ticks == stats_process_start(getpid()) &&
           header->pid_namespace == stats_namespace("pid");
}

/* FILE.N is a name of our making: what others may have laid there, a link above all, is theirs. */
static int may_be_written(const char *path)
{
    struct stat status;

    return lstat(path, &status) || (S_ISREG(status.st_mode) && status.st_uid == geteuid());
}

static void export_view(const struct stats_view *view, const char *path)
{
    struct stats_report report;
    int err = stats_report_make(view, &report);

    if (!err) {
        err = stats_report_export(&report, path);
        stats_report_release(&report);
    }
    if (err)
        log_warn("stats",
                 "cannot write %s, what %s counted before it became another program is lost: %s",
                 path, view->header->program, strerror(-err));
}

uint32_t stats_earlier_keep(void)
{
    char file[STATS_PATH_BYTES], path[PATH_MAX + 16];
    struct stats_view view;
    struct stat status;
    uint32_t count = 0;

    stats_file_path(file, geteuid(), getpid());
    if (stats_file_read(file, &view))
        return 0;
    if (is_ours(&view)) {
        const char *export_path = view.header->export_path;

        count = view.header->earlier_count + 1;
        snprintf(path, sizeof(path), "%s.%u", export_path, count);
        if (*export_path && (stat(export_path, &status) || S_ISREG(status.st_mode)) &&
            may_be_written(path))
            export_view(&view, path);
    }
    stats_file_release(&view);
    return count;
}
