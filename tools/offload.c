/* offload.c - `berth offload`: a checkpoint into an offload folder, and back. */
#include "table.h"
#include "tool.h"

#include "offload_stage.h"
#include "offload_write.h"
#include "policy/json_write.h"
#include "policy/size.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* id, option, its value, help */
#define OFFLOAD_OPTIONS(X)                                                                         \
    X(RESTORE, "restore", NULL, "the other way: from FOLDER to the safetensors file FILE")         \
    X(POINTERS, "pointers", NULL,                                                                  \
      "copy nothing: the folder points into the safetensors checkpoint")                           \
    X(JSON, "json", NULL, "one JSON document")

enum offload_option {
#define X(id, name, argument, help) OPTION_##id,
    OFFLOAD_OPTIONS(X)
#undef X
        OFFLOAD_OPTION_COUNT
};

static const struct tool_option g_options[] = {
#define X(id, name, argument, help) {name, argument, help, 0},
    OFFLOAD_OPTIONS(X)
#undef X
};

/* Progress and signals ---------------------------------------------------------------------------
 */

#define PROGRESS_AFTER_NS UINT64_C(1000000000) /* shorter work shows nothing */
#define PROGRESS_EVERY_NS UINT64_C(200000000)

static volatile sig_atomic_t g_signal;
static uint64_t g_begun_ns, g_shown_ns;

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void show_progress(const struct copy *copy)
{
    uint64_t now = now_ns();
    char done[SIZE_TEXT_BYTES], total[SIZE_TEXT_BYTES], speed[SIZE_TEXT_BYTES];

    if (now - g_begun_ns < PROGRESS_AFTER_NS || now - g_shown_ns < PROGRESS_EVERY_NS)
        return;
    g_shown_ns = now;
    fprintf(stderr, "\r%s of %s, %s/s  ", size_format(copy->done_bytes, SIZE_BINARY, done),
            size_format(copy->total_bytes, SIZE_BINARY, total),
            size_format((uint64_t)((double)copy->done_bytes * 1e9 / (double)(now - g_begun_ns)),
                        SIZE_BINARY, speed));
    fflush(stderr);
}

static void end_progress(void)
{
    if (g_shown_ns)
        fputs("\r\033[K", stderr);
}

static void note_signal(int number)
{
    g_signal = number;
}

static void watch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = note_signal};

    signal(SIGXFSZ, SIG_IGN); /* a file beyond ulimit -f is an error, and cleaned up after */
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct sigaction before;

        /* What the caller ignores (nohup) stays ignored. A second signal ends the process at once.
         */
        action.sa_flags = (int)SA_RESETHAND;
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
}

/* Work -------------------------------------------------------------------------------------------
 */

struct request {
    const char *from, *to;
    int given[OFFLOAD_OPTION_COUNT];
};

struct outcome {
    struct offload_result result;
    size_t tensors;
    int replaced, left;
};

/* Write what was opened.
 *
 * returns  0; -errno and the error
 */
static int write_all(const struct request *request, const struct checkpoint *checkpoint,
                     struct outcome *outcome, struct copy_error *error)
{
    int restore = request->given[OPTION_RESTORE], res;
    struct stage stage;
    struct copy copy;

    copy_begin(&copy, checkpoint, error);
    copy.stop = &g_signal;
    copy.progress = terminal_width(stderr) ? show_progress : NULL;
    res = restore ? stage_begin_file(&stage, request->to, error)
                  : stage_begin_folder(&stage, request->to, error);
    outcome->replaced = stage.old >= 0;
    outcome->tensors = checkpoint->tensor_count;
    if (res == 0)
        res = restore ? offload_write_file(&copy, &stage, &outcome->result)
                      : offload_write_folder(&copy, &stage,
                                             request->given[OPTION_POINTERS] ? OFFLOAD_POINTERS
                                                                             : OFFLOAD_COPIES,
                                             &outcome->result);
    end_progress();
    if (res == 0)
        res = restore ? stage_commit_file(&stage) : stage_commit_folder(&stage, &outcome->left);
    stage_end(&stage);
    copy_end(&copy);
    return res;
}

/* A file that the folder points into cannot be made of the folder: what points there would point
 * into what has other names. */
static int check_restore(const struct request *request, const struct checkpoint *checkpoint)
{
    struct stat status;

    if (checkpoint->format != CHECKPOINT_OFFLOAD) {
        tool_error("offload: %s: is no offload folder; only these are restored", request->from);
        return -EINVAL;
    }
    if (stat(request->to, &status) == 0 &&
        checkpoint_find_file(checkpoint, status.st_dev, status.st_ino) != CHECKPOINT_NONE) {
        tool_error("offload: %s: %s points into it; name another file", request->to, request->from);
        return -EINVAL;
    }
    return 0;
}

static void print_json(const struct request *request, const struct outcome *outcome)
{
    printf("{\"version\": 1, \"%s\": ", request->given[OPTION_RESTORE] ? "file" : "folder");
    json_write_string(stdout, request->to, strlen(request->to));
    printf(", \"tensors\": %zu, \"bytes\": %" PRIu64 ", \"copied_bytes\": %" PRIu64
           ", \"pointed_bytes\": %" PRIu64 ", \"replaced\": %s}\n",
           outcome->tensors, outcome->result.bytes, outcome->result.copied_bytes,
           outcome->result.pointed_bytes, outcome->replaced ? "true" : "false");
}

static void print_summary(const struct request *request, const struct outcome *outcome)
{
    char size[SIZE_TEXT_BYTES];

    terminal_print_clean(stdout, request->to);
    printf(": %zu tensors, %s%s%s\n", outcome->tensors,
           size_format(outcome->result.bytes, SIZE_BINARY, size),
           request->given[OPTION_POINTERS] ? ", none of them copied" : "",
           outcome->replaced ? "; what was there is replaced" : "");
}

static int offload(const struct request *request)
{
    char line[INPUT_ERROR_TEXT_BYTES];
    struct checkpoint *checkpoint;
    struct input_error error;
    struct copy_error reason;
    struct outcome outcome = {0};
    int res;

    if (checkpoint_open(request->from, &checkpoint, &error)) {
        tool_error("offload: %s", input_error_format(&error, line, sizeof(line)));
        return TOOL_FAILED;
    }
    if (request->given[OPTION_RESTORE] && check_restore(request, checkpoint)) {
        checkpoint_close(checkpoint);
        return TOOL_FAILED;
    }
    watch_signals();
    g_begun_ns = now_ns();
    res = write_all(request, checkpoint, &outcome, &reason);
    checkpoint_close(checkpoint);
    if (res) {
        tool_error("offload: %s", reason.text);
        if (g_signal)
            raise(g_signal);
        return TOOL_FAILED;
    }
    if (outcome.left)
        tool_error("offload: %s: is new, but of the old folder something is left beside it; the "
                   "next run removes it",
                   request->to);
    if (request->given[OPTION_JSON])
        print_json(request, &outcome);
    else
        print_summary(request, &outcome);
    return tool_finish_output(TOOL_OK);
}

static int offload_main(const struct tool_command *command, int argc, char **argv)
{
    struct request request = {0};
    int first, status;

    status = tool_parse_options(command, argc, argv, tool_set_given, request.given, &first);
    if (status != TOOL_OPTIONS_GO_ON)
        return status;
    if (argc - first != 2 || !argv[first][0] || !argv[first + 1][0]) {
        tool_error("offload: two paths are needed; for example: berth offload %s",
                   request.given[OPTION_RESTORE] ? "--restore offload model.safetensors"
                                                 : "model.safetensors offload");
        return TOOL_USAGE;
    }
    if (request.given[OPTION_RESTORE] && request.given[OPTION_POINTERS]) {
        tool_error("offload: --pointers is for making a folder; leave out one of --restore and "
                   "--pointers");
        return TOOL_USAGE;
    }
    request.from = argv[first];
    request.to = argv[first + 1];
    return offload(&request);
}

const struct tool_command tool_offload = {
    .name = "offload",
    .summary = "Make an offload folder of a checkpoint, or the other way",
    .usage = "CHECKPOINT FOLDER [--pointers] [--json] | --restore FOLDER FILE [--json]",
    .text =
        "Example: a folder for accelerate's disk_offload or device_map, and a file of it again.\n\n"
        "  berth offload model.safetensors offload\n"
        "  berth offload --restore offload again.safetensors\n\n"
        "An offload folder holds an index.json and a file NAME.dat for each weight, as Hugging Face\n"
        "accelerate reads and writes them. CHECKPOINT is whatever `berth inspect` reads. Views are\n"
        "written densely, and weights that share memory once each. A weight whose name is no name of\n"
        "a file, or whose type numpy lacks, goes into berth.safetensors in the folder, and the index\n"
        "points there by its absolute path: make the folder where it is to stay.\n\n"
        "--pointers copies nothing: the index names the safetensors files that are there, by their\n"
        "absolute paths. They must stay where they are.\n\n"
        "A folder that is there is replaced as a whole, when all that is new is on the disk: whoever\n"
        "looks sees the old one or the new one, also after a kill or a power failure. It must hold\n"
        "nothing but what its index names. Both need room at the same time. What a killed run leaves\n"
        "beside it (.FOLDER.berth-offload) the next run removes.\n",
    .options = g_options,
    .option_count = OFFLOAD_OPTION_COUNT,
    .usage_exit = TOOL_USAGE,
    .run = offload_main,
};
