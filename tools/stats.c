/* stats.c - `berth stats`: find the report that is meant, and show it. */
#include "stale.h"
#include "stats_views.h"
#include "tool.h"

#include "policy/json.h"
#include "policy/size.h"
#include "table.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* id, option, its value, help */
#define STATS_OPTIONS(X)                                                                           \
    X(JSON, "json", NULL, "the JSON document that berth run --stats FILE leaves")                  \
    X(PROMETHEUS, "prometheus", NULL, "metrics in Prometheus' text format")                        \
    X(ALL, "all", NULL, "every parameter in the table, not only those that cost most")

enum stats_option {
#define X(id, name, argument, help) STATS_##id,
    STATS_OPTIONS(X)
#undef X
        STATS_OPTION_COUNT
};

static const struct tool_option g_options[] = {
#define X(id, name, argument, help) {name, argument, help, 0},
    STATS_OPTIONS(X)
#undef X
};

/* Reading -------------------------------------------------------------------------------------- */

/* What to do about a counters file that cannot be read. */
static const char *advice_for(int err)
{
    switch (err) {
    case -EPROTO:
        return "it is of another version of berth; use that version's berth stats";
    case -EBADMSG:
        return "the file is damaged; it can be removed";
    case -ENOENT:
        return "there is no such file: give a PID, or a file that berth run --stats left";
    default:
        return strerror(-err);
    }
}

static int read_counters(const char *path, struct stats_report *report)
{
    struct stats_view view;
    int err = stats_file_read(path, &view);

    if (err)
        return err;
    err = stats_report_make(&view, report);
    stats_file_release(&view);
    return err;
}

static int read_document(const char *path, struct stats_report *report)
{
    char reason[INPUT_ERROR_TEXT_BYTES + 256];
    int is_wrong, err = stats_document_read(path, report, &is_wrong, reason, sizeof(reason));

    if (err)
        tool_error("stats: %s: %s; give a file that berth run --stats left%s", path, reason,
                   is_wrong ? "" : ", or a PID");
    return err;
}

/* Choosing ------------------------------------------------------------------------------------- */

static void list_candidates(const pid_t *pids, long count)
{
    for (long i = 0; i < count; i++) {
        char path[STATS_PATH_BYTES];
        struct stats_report report;

        stats_file_path(path, geteuid(), pids[i]);
        if (read_counters(path, &report))
            continue;
        fprintf(stderr, "  %7d  ", (int)pids[i]);
        terminal_print_clean(stderr, report.program);
        fputc('\n', stderr);
        stats_report_release(&report);
    }
}

/* The only program under berth. returns its pid, or 0 and the error is printed */
static pid_t choose_only(void)
{
    pid_t *pids, only = 0;
    long count;

    stale_settle(0, STALE_TELLS);
    count = stale_list_living(&pids);
    if (count < 0) {
        tool_error("stats: %s", strerror((int)-count));
    } else if (count == 0) {
        tool_error("stats: no program of yours runs under berth; start one with berth run, or name "
                   "a file that berth run --stats left");
    } else if (count > 1) {
        tool_error("stats: %ld programs run under berth; name one: berth stats PID", count);
        list_candidates(pids, count);
    } else {
        only = pids[0];
    }
    free(pids);
    return only;
}

/* Who is meant by the pid of a `berth run`: the program that it launched. */
static pid_t choose_child(pid_t launcher)
{
    pid_t *pids, child = 0;
    long count = stale_list_living(&pids);

    for (long i = 0; i < count && !child; i++) {
        if (stats_process_parent(pids[i]) == launcher)
            child = pids[i];
    }
    free(pids);
    return child;
}

static int read_process(pid_t pid, struct stats_report *report)
{
    char path[STATS_PATH_BYTES];
    pid_t child;
    int err;

    stats_file_path(path, geteuid(), pid);
    err = read_counters(path, report);
    if (err == -ENOENT) {
        child = choose_child(pid);
        if (child) {
            stats_file_path(path, geteuid(), child);
            err = read_counters(path, report);
        }
    }
    if (err == -ENOENT)
        tool_error("stats: %d: no program of yours with this PID runs under berth, or it has not "
                   "used CUDA yet; berth stats alone lists those that do",
                   (int)pid);
    else if (err)
        tool_error("stats: %s: cannot be read; %s", path, advice_for(err));
    return err;
}

static int read_target(const char *target, struct stats_report *report)
{
    pid_t pid;
    int err;

    if (!target) {
        pid = choose_only();
        return pid ? read_process(pid, report) : -ENOENT;
    }
    if (*target && strspn(target, "0123456789") == strlen(target)) {
        errno = 0;
        unsigned long number = strtoul(target, NULL, 10);

        if (errno || number == 0 || number > INT_MAX) {
            tool_error("stats: %s: no process has such a number; give a PID or a file", target);
            return -EINVAL;
        }
        err = read_process((pid_t)number, report);
        stale_settle((pid_t)number, STALE_TELLS);
        return err;
    }
    err = read_counters(target, report);
    if (err == -ENOMSG)
        return read_document(target, report);
    if (err)
        tool_error("stats: %s: cannot be read; %s", target, advice_for(err));
    return err;
}

/* The command ---------------------------------------------------------------------------------- */

static int show(const struct stats_report *report, const int *given)
{
    int err = 0;

    if (given[STATS_JSON])
        stats_report_write(report, stdout); /* tool_finish_output() tells what went wrong */
    else if (given[STATS_PROMETHEUS])
        err = stats_metrics_print(report, stdout);
    else
        err =
            stats_table_print(report, given[STATS_ALL] ? STATS_TABLE_ALL : STATS_TABLE_TOP, stdout);
    if (err) {
        tool_error("stats: %s; close other programs", strerror(-err));
        return TOOL_FAILED;
    }
    return tool_finish_output(TOOL_OK);
}

static int stats_main(const struct tool_command *command, int argc, char **argv)
{
    int given[STATS_OPTION_COUNT] = {0};
    struct stats_report report;
    int first, status;

    status = tool_parse_options(command, argc, argv, tool_set_given, given, &first);
    if (status != TOOL_OPTIONS_GO_ON)
        return status;
    if (argc - first > 1) {
        tool_error("stats: %s: one PID or file is enough; see berth stats --help", argv[first + 1]);
        return TOOL_USAGE;
    }
    if (given[STATS_JSON] && given[STATS_PROMETHEUS]) {
        tool_error("stats: --json and --prometheus exclude each other; choose one");
        return TOOL_USAGE;
    }
    if (read_target(first < argc ? argv[first] : NULL, &report))
        return TOOL_FAILED;
    status = show(&report, given);
    stats_report_release(&report);
    return status;
}

const struct tool_command tool_stats = {
    .name = "stats",
    .summary = "Show what is where, what moved, what stalled and what to change",
    .usage = "[PID | FILE] [--json | --prometheus] [--all]",
    .text =
        "Without an argument it shows the only program of yours that runs under berth.\n"
        "Example: look at a running program, then at what another one left behind.\n\n"
        "  berth stats 4242\n"
        "  berth run --max-memory 0=8GiB --stats run.json -- python generate.py\n"
        "  berth stats run.json\n\n"
        "It also writes the BERTH_STATS file of a program that was killed before anybody could.\n\n"
        "weights   what the program uploaded and where that is; of one that had freed some by its end,\n"
        "          what there was at most\n"
        "vram      GPU memory that the program has: never more than the budget, unless what is not\n"
        "          paged (allocations below 64 KiB, for instance) alone is more than that\n"
        "untouched weights that no launch used, while paging was on: `berth plan --stats` plans by it\n"
        "link      how much of the speed that a load has was reached, from the first load to the\n"
        "          last: the more, the more the connection to the GPU is what steps wait for\n"
        "stalls    how long launches waited for weights or for room, and for how much of that the GPU\n"
        "          had no work of the program's: that is lost; the rest is not, as long as the GPU\n"
        "          computes\n"
        "steps     turns of the program's repeating sequence of launches (a token, a sentence)\n"
        "tier      where a parameter is now, all of it in vram or not: host; was: until it was freed\n"
        "place     what the device_map says for a parameter, where there is a map: a GPU, cpu or disk\n"
        "moved     to the GPU for a parameter, and how many times its size that is: large ones come in\n"
        "          parts, of which some may stay\n"
        "named by  how its name is known: file (copied out of a mapped checkpoint), content\n"
        "          (its bytes are the checkpoint's) or none\n"
        "advice    what to change, where the figures say that it would help\n",
    .options = g_options,
    .option_count = STATS_OPTION_COUNT,
    .usage_exit = TOOL_USAGE,
    .run = stats_main,
};
