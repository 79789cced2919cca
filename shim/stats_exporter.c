#include "stats_exporter.h"

#include "log.h"
#include "stats.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static pid_t pid_from_environment(const char *variable)
{
    const char *text = getenv(variable);
    char *end;
    long pid;

    if (!text || !*text)
        return 0;
    pid = strtol(text, &end, 10);
    return *end == '\0' && pid > 0 && pid == (pid_t)pid ? (pid_t)pid : 0;
}

struct stats_exporter stats_exporter_choose(struct stats_header *header, const char *export_path)
{
    pid_t launched = pid_from_environment(STATS_PID_VARIABLE);
    pid_t launcher = pid_from_environment(STATS_LAUNCHER_VARIABLE);
    struct stats_exporter exporter = {.launcher = launched == getpid() ? launcher : 0};
    char folder[PATH_MAX];
    int bytes;

    header->launcher = exporter.launcher;
    header->export_path[0] = '\0';
    if (!export_path || !*export_path || (launched && launched != getpid()))
        return exporter;
    if (export_path[0] == '/' || !getcwd(folder, sizeof(folder)))
        bytes = snprintf(header->export_path, PATH_MAX, "%s", export_path);
    else
        bytes = snprintf(header->export_path, PATH_MAX, "%s/%s", folder, export_path);
    exporter.is_self = bytes > 0 && bytes < PATH_MAX;
    if (exporter.is_self)
        return exporter;
    header->export_path[0] = '\0';
    log_warn("stats", "BERTH_STATS: the path is too long, no statistics will be written: %s",
             export_path);
    return exporter;
}
