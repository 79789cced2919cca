/* launch.c - running a program as a child that nobody notices to be one. */
#include "launch.h"

#include "program.h"
#include "shim/stats.h"
#include "shim/stats_report.h"
#include "tool.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is passed on. The kernel's own signals (a key of the terminal, a resize) reach every process
 * of the foreground, so that the program has them already. */
static const int g_forwarded[] = {SIGHUP,  SIGINT,  SIGQUIT,  SIGTERM, SIGUSR1,
                                  SIGUSR2, SIGALRM, SIGWINCH, SIGCONT, SIGTSTP};

struct child {
    pid_t pid;
    sigset_t waited;      /* g_forwarded and SIGCHLD, blocked while the child runs */
    sigset_t mask_before; /* what the child gets back */
    struct sigaction chld_before;
};

static void set_pid(const char *variable, pid_t pid)
{
    char text[16];

    snprintf(text, sizeof(text), "%d", (int)pid);
    setenv(variable, text, 1);
}

/* Starting ------------------------------------------------------------------------------------- */

static void block_signals(struct child *child)
{
    struct sigaction normal = {.sa_handler = SIG_DFL};

    sigemptyset(&child->waited);
    sigaddset(&child->waited, SIGCHLD);
    for (size_t i = 0; i < sizeof(g_forwarded) / sizeof(g_forwarded[0]); i++)
        sigaddset(&child->waited, g_forwarded[i]);
    sigprocmask(SIG_BLOCK, &child->waited, &child->mask_before);
    /* Where our parent ignores it, children would vanish without a result. */
    sigaction(SIGCHLD, &normal, &child->chld_before);
}

static void unblock_signals(const struct child *child)
{
    sigaction(SIGCHLD, &child->chld_before, NULL);
    sigprocmask(SIG_SETMASK, &child->mask_before, NULL);
}

/* In the child. Does not return: the reason for failure goes into the pipe. */
static void execute(const struct launch *launch, const struct child *child, int failure)
{
    int err;

    set_pid(STATS_PID_VARIABLE, getpid());
    unblock_signals(child);
    execv(launch->path, launch->argv);
    if (errno == ENOEXEC && program_wants_shell(launch->path)) {
        size_t count = 0;
        char **argv;

        while (launch->argv[count])
            count++;
        argv = calloc(count + 2, sizeof(*argv));
        errno = ENOMEM;
        if (argv) {
            argv[0] = "sh";
            argv[1] = (char *)launch->path;
            for (size_t i = 1; i < count; i++)
                argv[i + 1] = launch->argv[i];
            execv("/bin/sh", argv);
        }
    }
    err = errno;
    if (write(failure, &err, sizeof(err)) != sizeof(err))
        _exit(TOOL_FAILED);
    _exit(TOOL_NOT_EXECUTABLE);
}

static int explain_failure(const struct launch *launch, int err)
{
    if (err == ENOENT) {
        tool_error("run: %s: its interpreter does not exist; install what its first line or its "
                   "loader names",
                   launch->name);
        return TOOL_NOT_FOUND;
    }
    tool_error("run: %s: %s; give a program that this machine can execute", launch->name,
               strerror(err));
    return TOOL_NOT_EXECUTABLE;
}

/* returns 0 and child->pid, or the exit code to end with */
static int start(const struct launch *launch, struct child *child)
{
    int failure[2];
    int err = 0;
    ssize_t got;

    if (pipe2(failure, O_CLOEXEC) != 0) {
        tool_error("run: pipe: %s", strerror(errno));
        return TOOL_FAILED;
    }
    set_pid(STATS_LAUNCHER_VARIABLE, getpid());
    block_signals(child);
    child->pid = fork();
    if (child->pid == 0)
        execute(launch, child, failure[1]);
    close(failure[1]);
    if (child->pid < 0) {
        tool_error("run: fork: %s; end some processes or raise the limit (ulimit -u)",
                   strerror(errno));
        close(failure[0]);
        unblock_signals(child);
        return TOOL_FAILED;
    }
    /* The pipe closes with the exec; until then nothing can be forwarded. */
    do {
        got = read(failure[0], &err, sizeof(err));
    } while (got < 0 && errno == EINTR);
    close(failure[0]);
    if (got == 0)
        return 0;
    waitpid(child->pid, NULL, 0);
    unblock_signals(child);
    return explain_failure(launch, err);
}

/* Waiting -------------------------------------------------------------------------------------- */

/* When the program was stopped from the terminal we stop too, so that the shell sees a stopped job;
 * the shell's SIGCONT wakes both. A SIGSTOP sent to the program alone is somebody's own affair. */
static void follow_stop(const struct child *child)
{
    siginfo_t info = {0};

    if (waitid(P_PID, (id_t)child->pid, &info, WSTOPPED | WNOHANG) != 0 || info.si_pid == 0)
        return;
    if (info.si_status == SIGTSTP || info.si_status == SIGTTIN || info.si_status == SIGTTOU)
        raise(SIGSTOP);
}

/* A hang-up is the exception: of the processes on a terminal that is gone only the session's leader
 * hears of it. */
static void forward(const struct child *child, const siginfo_t *info)
{
    int by_kernel = info->si_code > 0; /* SI_USER and its kin are not */

    if (info->si_signo == SIGCHLD || info->si_pid == child->pid)
        return;
    if (by_kernel && !(info->si_signo == SIGHUP && getsid(0) == getpid()))
        return;
    kill(child->pid, info->si_signo);
}

/* Wait until the program has ended. It stays a zombie: its pid is not given away yet. */
static void wait_for_end(const struct child *child, siginfo_t *end)
{
    siginfo_t info;

    for (;;) {
        end->si_pid = 0;
        if (waitid(P_PID, (id_t)child->pid, end, WEXITED | WNOHANG | WNOWAIT) == 0 && end->si_pid)
            return;
        follow_stop(child);
        if (sigwaitinfo(&child->waited, &info) > 0)
            forward(child, &info);
    }
}

/* Its statistics ------------------------------------------------------------------------------- */

static void export_report(const struct stats_report *report, const char *path)
{
    int err = stats_report_export(report, path);

    if (err)
        tool_error("run: --stats: %s: %s; give a file that can be written", path, strerror(-err));
}

/* A program that used no CUDA has counted nothing, and says so. */
static void export_nothing(const struct launch *launch, pid_t pid)
{
    struct stats_report report = {.pid = pid, .backend = "off"};
    const char *base = strrchr(launch->path, '/');

    snprintf(report.program, sizeof(report.program), "%s", base ? base + 1 : launch->path);
    export_report(&report, launch->stats_path);
}

/* Is this still the file that was there before the program began? */
static int is_unchanged(const char *path, const struct stat *before, int existed)
{
    struct stat now;

    if (stat(path, &now) != 0)
        return 1;
    return existed && now.st_ino == before->st_ino && now.st_dev == before->st_dev &&
           now.st_mtim.tv_sec == before->st_mtim.tv_sec &&
           now.st_mtim.tv_nsec == before->st_mtim.tv_nsec;
}

/* Leave what the program counted. Without a file in shared memory it may have left it itself. */
static void finish_stats(const struct launch *launch, pid_t pid, const struct stat *before,
                         int existed)
{
    struct stats_report report;
    struct stats_view view;
    char path[STATS_PATH_BYTES];
    int err;

    stats_file_path(path, geteuid(), pid);
    err = stats_file_read(path, &view);
    if (err == -ENOENT) {
        if (launch->stats_path && is_unchanged(launch->stats_path, before, existed))
            export_nothing(launch, pid);
        return;
    }
    if (!err && launch->stats_path) {
        err = stats_report_make(&view, &report);
        if (!err) {
            export_report(&report, launch->stats_path);
            stats_report_release(&report);
        }
    }
    if (err)
        tool_error("run: statistics: %s: %s; nothing was written", path, strerror(-err));
    else
        stats_file_release(&view);
    unlink(path);
}

/* Ending --------------------------------------------------------------------------------------- */

/* End as the program did. One core file is enough, and it is the program's. */
static int die_of(int number)
{
    const struct rlimit no_core = {0, 0};
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigset_t only;

    setrlimit(RLIMIT_CORE, &no_core);
    prctl(PR_SET_DUMPABLE, 0);
    sigaction(number, &normal, NULL);
    sigemptyset(&only);
    sigaddset(&only, number);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
    raise(number);
    return 128 + number; /* the first process of a container is not ended by its own signals */
}

int launch_program(const struct launch *launch)
{
    struct child child;
    struct stat before;
    siginfo_t end;
    int existed, status;

    existed = launch->stats_path && stat(launch->stats_path, &before) == 0;
    status = start(launch, &child);
    if (status)
        return status;
    wait_for_end(&child, &end);
    finish_stats(launch, child.pid, &before, existed);
    waitpid(child.pid, NULL, 0);
    if (end.si_code == CLD_EXITED)
        return end.si_status;
    return die_of(end.si_status);
}
