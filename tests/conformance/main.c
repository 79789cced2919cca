/* main.c - runs the checks of the driver conformance suite, each in a process of its own.
 *
 *     conformance [--list] [--seeds N] [--json FILE] [GROUP | GROUP.CHECK]...
 *
 * The driver is whatever libcuda.so.1 the loader finds; LD_LIBRARY_PATH chooses. The program runs
 * itself again for each check, so that a check starts before cuInit and may end as badly as it
 * must.
 */
#include "conformance.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIME_LIMIT_S 60
#define OUTPUT_MAX   (64 * KIB)
#define EXIT_SKIP    77

static const struct check_group *const g_groups[] = {
#define X(title) &group_##title,
    GROUPS(X)
#undef X
};
#define GROUP_COUNT (sizeof(g_groups) / sizeof(g_groups[0]))

struct totals {
    unsigned passed;
    unsigned failed;
    unsigned skipped;
};

/* The two halves of the JSON document grow side by side. */
struct report {
    FILE *verdicts;
    FILE *answers;
    FILE *notes;
    char *verdicts_text;
    char *answers_text;
    char *notes_text;
    size_t sizes[3];
};

static void json_string(FILE *out, const char *text, size_t length)
{
    fputc('"', out);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

/* One "key value" line of a child; a text value starts with a quote and ends with the line. */
static void json_fact(FILE *out, const char *check, const char *fact, size_t length)
{
    const char *space = memchr(fact, ' ', length);
    size_t key = space ? (size_t)(space - fact) : length;

    fprintf(out, "%s\n  \"%s.%.*s\": ", ftell(out) ? "," : "", check, (int)key, fact);
    if (!space)
        fprintf(out, "null");
    else if (space[1] == '"')
        json_string(out, space + 2, length - key - 2);
    else
        fprintf(out, "%.*s", (int)(length - key - 1), space + 1);
}

/* Runs in the child: everything that it says goes to the pipe. */
static _Noreturn void child_main(const char *self, const char *check, unsigned seed, int pipe_end)
{
    char text[16];

    dup2(pipe_end, STDOUT_FILENO);
    dup2(pipe_end, STDERR_FILENO);
    close(pipe_end);
    setpgid(0, 0);
    if (seed) {
        snprintf(text, sizeof(text), "%u", seed);
        setenv("SIMCUDA_SEED", text, 1);
    }
    alarm(TIME_LIMIT_S);
    execl("/proc/self/exe", self, "--child", check, (char *)NULL);
    printf("cannot run itself: %s\n", strerror(errno));
    fflush(stdout);
    _exit(1);
}

static size_t read_all(int fd, char *output)
{
    size_t length = 0;
    char rest[4096];
    ssize_t n;

    for (;;) {
        if (length < OUTPUT_MAX - 1)
            n = read(fd, output + length, OUTPUT_MAX - 1 - length);
        else
            n = read(fd, rest, sizeof(rest));
        if (n == 0 || (n < 0 && errno != EINTR))
            break;
        if (n > 0 && length < OUTPUT_MAX - 1)
            length += (size_t)n;
    }
    output[length] = '\0';
    return length;
}

/* Sorts the child's lines: facts into the report, the reason of a skip, the rest for a failure. */
static void read_lines(struct report *report, const char *check, char *output, char *reason,
                       size_t reason_bytes)
{
    char *kept = output;

    for (char *line = output, *next; line && *line; line = next) {
        char *end = strchr(line, '\n');
        size_t length = end ? (size_t)(end - line) : strlen(line);

        next = end ? end + 1 : NULL;
        if (length > 8 && strncmp(line, "@answer ", 8) == 0) {
            json_fact(report->answers, check, line + 8, length - 8);
        } else if (length > 6 && strncmp(line, "@note ", 6) == 0) {
            json_fact(report->notes, check, line + 6, length - 6);
        } else if (length > 6 && strncmp(line, "@skip ", 6) == 0) {
            snprintf(reason, reason_bytes, "%.*s", (int)(length - 6), line + 6);
        } else {
            memmove(kept, line, length);
            kept += length;
            *kept++ = '\n';
        }
    }
    *kept = '\0';
}

static void verdict(struct report *report, const char *check, const char *text)
{
    fprintf(report->verdicts, "%s\n  \"%s\": ", ftell(report->verdicts) ? "," : "", check);
    json_string(report->verdicts, text, strlen(text));
}

static void judge(struct report *report, struct totals *totals, const char *check, unsigned seed,
                  int status, char *output)
{
    char reason[512] = "no reason given";
    char text[600];

    read_lines(report, check, output, reason, sizeof(reason));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        totals->passed++;
        verdict(report, check, "pass");
        return;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP) {
        totals->skipped++;
        snprintf(text, sizeof(text), "skip: %s", reason);
        verdict(report, check, text);
        printf("skipped %s: %s\n", check, reason);
        return;
    }
    totals->failed++;
    verdict(report, check, "fail");
    printf("FAILED  %s", check);
    if (seed)
        printf(" (SIMCUDA_SEED=%u)", seed);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        printf(": no end within %d s\n", TIME_LIMIT_S);
    else if (WIFSIGNALED(status))
        printf(": died by signal %d, %s\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        printf(": exit code %d\n", WEXITSTATUS(status));
    for (char *line = strtok(output, "\n"); line; line = strtok(NULL, "\n"))
        printf("    %s\n", line);
}

/* returns 0, or -1 when no process could be started */
static int run_check(const char *self, const char *check, unsigned seed, struct report *report,
                     struct totals *totals)
{
    static char output[OUTPUT_MAX];
    int ends[2], status = 0;
    pid_t pid;

    fflush(stdout);
    if (pipe(ends) != 0)
        return -1;
    pid = fork();
    if (pid < 0)
        return -1;
    if (pid == 0) {
        close(ends[0]);
        child_main(self, check, seed, ends[1]);
    }
    close(ends[1]);
    read_all(ends[0], output);
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    kill(-pid, SIGKILL);
    judge(report, totals, check, seed, status, output);
    return 0;
}

static int is_wanted(const char *group, const char *check, char **names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], group) == 0 || strcmp(names[i], check) == 0)
            return 1;
    return count == 0;
}

/* Only a driver that answers can say its name; the suite itself never loads it in this process. */
static void driver_identity(void)
{
    char name[128] = "";
    int version = 0;
    CUdevice device = begin_device();

    OK(cuDriverGetVersion(&version));
    OK(cuDeviceGetName(name, sizeof(name), device));
    note("version", version);
    note_text("device", name);
}

static int child_run(const char *wanted)
{
    char name[128];

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(wanted, "driver") == 0) {
        driver_identity();
        return 0;
    }
    for (size_t g = 0; g < GROUP_COUNT; g++)
        for (size_t c = 0; c < g_groups[g]->count; c++) {
            snprintf(name, sizeof(name), "%s.%s", g_groups[g]->name, g_groups[g]->checks[c].name);
            if (strcmp(name, wanted) == 0) {
                g_groups[g]->checks[c].run();
                return 0;
            }
        }
    printf("no check of the name %s\n", wanted);
    return 1;
}

static int write_report(struct report *report, const char *path)
{
    FILE *out = fopen(path, "w");

    if (!out) {
        fprintf(stderr, "conformance: %s: %s\n", path, strerror(errno));
        return -1;
    }
    fflush(report->verdicts);
    fflush(report->answers);
    fflush(report->notes);
    fprintf(out, "{\"checks\": {%s\n},\n\"answers\": {%s\n},\n\"notes\": {%s\n}}\n",
            report->verdicts_text, report->answers_text, report->notes_text);
    if (fclose(out) != 0) {
        fprintf(stderr, "conformance: %s: %s\n", path, strerror(errno));
        return -1;
    }
    return 0;
}

static void run_all(const char *self, unsigned seed, char **names, int count, int list_only,
                    struct report *report, struct totals *totals)
{
    char name[128];

    for (size_t g = 0; g < GROUP_COUNT; g++)
        for (size_t c = 0; c < g_groups[g]->count; c++) {
            snprintf(name, sizeof(name), "%s.%s", g_groups[g]->name, g_groups[g]->checks[c].name);
            if (!is_wanted(g_groups[g]->name, name, names, count))
                continue;
            if (list_only)
                printf("%s\n", name);
            else if (run_check(self, name, seed, report, totals) != 0)
                totals->failed++;
        }
}

int main(int argc, char **argv)
{
    struct totals totals = {0, 0, 0}, identity = {0, 0, 0};
    struct report report = {0};
    const char *json = NULL;
    unsigned seeds = 0;
    int list_only = 0, first = 1;

    if (argc == 3 && strcmp(argv[1], "--child") == 0)
        return child_run(argv[2]);
    for (; first < argc && argv[first][0] == '-'; first++) {
        if (strcmp(argv[first], "--list") == 0) {
            list_only = 1;
        } else if (strcmp(argv[first], "--json") == 0 && first + 1 < argc) {
            json = argv[++first];
        } else if (strcmp(argv[first], "--seeds") == 0 && first + 1 < argc) {
            seeds = (unsigned)atoi(argv[++first]);
        } else {
            fprintf(stderr, "usage: conformance [--list] [--seeds N] [--json FILE] [NAME]...\n");
            return 2;
        }
    }
    if (json && seeds) {
        fprintf(stderr, "conformance: --json records one run, --seeds makes many\n");
        return 2;
    }
    report.verdicts = open_memstream(&report.verdicts_text, &report.sizes[0]);
    report.answers = open_memstream(&report.answers_text, &report.sizes[1]);
    report.notes = open_memstream(&report.notes_text, &report.sizes[2]);
    if (!report.verdicts || !report.answers || !report.notes)
        return 2;
    if (json && run_check(argv[0], "driver", 0, &report, &identity) != 0)
        return 2;
    for (unsigned seed = seeds ? 1 : 0; seed <= seeds; seed++)
        run_all(argv[0], seed, argv + first, argc - first, list_only, &report, &totals);
    if (list_only)
        return 0;
    if (!totals.passed && !totals.failed && !totals.skipped) {
        fprintf(stderr, "conformance: no check of that name\n");
        return 2;
    }
    if (json && write_report(&report, json) != 0)
        return 2;
    printf("%u passed, %u failed, %u skipped\n", totals.passed, totals.failed, totals.skipped);
    return totals.failed != 0;
}
