/* run.c - `berth run`: check everything that can be wrong, then launch. */
#include "devices.h"
#include "launch.h"
#include "program.h"
#include "stale.h"
#include "tool.h"

#include "policy/checkpoint.h"
#include "policy/model_config.h"
#include "policy/names.h"
#include "policy/policy_check.h"
#include "policy/policy_file.h"
#include "shim/driver_path.h"
#include "shim/log.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* id, option, its value, the variable through which the shim gets it, help */
#define RUN_OPTIONS(X)                                                                             \
    X(POLICY, "policy", "FILE", "BERTH_POLICY",                                                    \
      "max_memory, device_map, checkpoint, ... as JSON; or a Hugging Face device map")             \
    X(CHECKPOINT, "checkpoint", "PATH", "BERTH_CHECKPOINT",                                        \
      "the model's file, for programs that neither map nor read it themselves")                    \
    X(MAX_MEMORY, "max-memory", "DEV=SIZE", "BERTH_MAX_MEMORY",                                    \
      "0=8GiB of GPU 0, cpu=64GiB of the host; repeated or comma-separated")                       \
    X(BACKEND, "backend", "NAME", "BERTH_BACKEND",                                                 \
      "how to page: auto (the default), um (unified memory) or off")                               \
    X(DRIVER, "driver", "PATH", "BERTH_DRIVER",                                                    \
      "the CUDA driver (libcuda.so.1), where it is not found by itself")                           \
    X(STATS, "stats", "FILE", "BERTH_STATS",                                                       \
      "leave statistics (JSON) there at the end; berth stats FILE shows them")                     \
    X(LOG, "log", "LEVEL", "BERTH_LOG", "messages: off, error, warn (the default), info or debug")

enum run_option {
#define X(id, name, argument, variable, help) RUN_##id,
    RUN_OPTIONS(X)
#undef X
        RUN_OPTION_COUNT
};

static const struct tool_option g_options[] = {
#define X(id, name, argument, variable, help) {name, argument, help, 0},
    RUN_OPTIONS(X)
#undef X
};

static const char *const g_variables[] = {
#define X(id, name, argument, variable, help) variable,
    RUN_OPTIONS(X)
#undef X
};

struct run {
    char *max_memory;            /* owned: all --max-memory, joined */
    int given[RUN_OPTION_COUNT]; /* as a flag; the rest may come from the environment */
    char driver[PATH_MAX];
    char program[PATH_MAX];
    char stats_path[PATH_MAX]; /* "" for none */
    int highest_device;        /* the highest GPU index that is asked for; -1 where none is */
    enum run_option highest_device_option;
};

static const char *value_of(enum run_option option)
{
    const char *value = getenv(g_variables[option]);

    return value && *value ? value : NULL;
}

/* What a value is called in errors: the flag, or the variable where it came from there. */
static const char *source_of(const struct run *run, enum run_option option)
{
    static const char *const flags[] = {
#define X(id, name, argument, variable, help) "--" name,
        RUN_OPTIONS(X)
#undef X
    };

    return run->given[option] ? flags[option] : g_variables[option];
}

static int fail(const struct run *run, enum run_option option, const char *what, const char *todo)
{
    tool_error("run: %s: %s; %s", source_of(run, option), what, todo);
    return -1;
}

/* input_error_format() ends in what was expected, which is what to do. */
static int fail_input(const struct run *run, enum run_option option,
                      const struct input_error *error)
{
    char text[INPUT_ERROR_TEXT_BYTES];

    tool_error("run: %s: %s", source_of(run, option),
               input_error_format(error, text, sizeof(text)));
    return -1;
}

/* Options -------------------------------------------------------------------------------------- */

/* Flags become what the shim reads, at once: a flag replaces the variable of the environment. */
static int set_option(void *state, size_t option, const char *value)
{
    struct run *run = state;
    char *joined = NULL;

    if (!*value) {
        tool_error("run: --%s: its value is empty; see berth run --help", g_options[option].name);
        return TOOL_FAILED;
    }
    if (option == RUN_MAX_MEMORY && run->max_memory) {
        if (asprintf(&joined, "%s,%s", run->max_memory, value) < 0)
            joined = NULL;
    } else if (option == RUN_MAX_MEMORY) {
        joined = strdup(value);
    }
    if (option == RUN_MAX_MEMORY) {
        free(run->max_memory);
        run->max_memory = joined;
        value = joined;
    }
    run->given[option] = 1;
    if (!value || setenv(g_variables[option], value, 1) != 0) {
        tool_error("run: out of memory");
        return TOOL_FAILED;
    }
    return TOOL_OPTIONS_GO_ON;
}

/* The program may change its folder before it looks: paths become absolute. */
static int make_absolute(const struct run *run, enum run_option option, const char *todo)
{
    const char *value = value_of(option);
    char text[PATH_MAX + 64], folder[PATH_MAX];
    char path[2 * PATH_MAX];

    if (!value)
        return 0;
    if (access(value, F_OK) || !getcwd(folder, sizeof(folder))) {
        snprintf(text, sizeof(text), "%s: %s", value, strerror(errno));
        return fail(run, option, text, todo);
    }
    snprintf(path, sizeof(path), "%s%s%s", *value == '/' ? "" : folder, *value == '/' ? "" : "/",
             value);
    return setenv(g_variables[option], path, 1);
}

/* Checks --------------------------------------------------------------------------------------- */

static void note_device(struct run *run, int device, enum run_option option)
{
    if (device <= run->highest_device)
        return;
    run->highest_device = device;
    run->highest_device_option = option;
}

static void note_budgets(struct run *run, const struct policy_memory *memory,
                         enum run_option option)
{
    for (int i = 0; i < POLICY_DEVICES_MAX; i++) {
        if (memory->device_bytes[i] != POLICY_UNSET)
            note_device(run, i, option);
    }
}

static int check_flags(struct run *run)
{
    struct policy_memory memory;
    struct input_error error;
    enum policy_backend backend;

    policy_memory_clear(&memory);
    if (value_of(RUN_MAX_MEMORY) &&
        policy_parse_max_memory(value_of(RUN_MAX_MEMORY), &memory, &error))
        return fail_input(run, RUN_MAX_MEMORY, &error);
    note_budgets(run, &memory, RUN_MAX_MEMORY);
    if (value_of(RUN_BACKEND) && policy_parse_backend(value_of(RUN_BACKEND), &backend, &error))
        return fail_input(run, RUN_BACKEND, &error);
    return 0;
}

/* What is wrong with a device map as policy_check() says it: a strict policy is refused, any other
 * one is followed as far as it can be.
 *
 * returns  0 or -1
 */
static int judge_map(const struct run *run, const struct policy *policy,
                     const struct policy_check *check)
{
    const struct policy_finding *first = check->findings;
    char more[64] = "";

    if (!check->error_count)
        return 0;
    if (check->error_count > 1)
        snprintf(more, sizeof(more), " (and %zu more)", check->error_count - 1);
    tool_error("run: %s: %s: %s%s; %s: berth check lists all", source_of(run, RUN_POLICY),
               first->field, first->text, more,
               policy->strict ? "the policy is strict" : "the rest is followed");
    return policy->strict ? -1 : 0;
}

/* Hold a device map against the checkpoint that it is for. */
static int check_map(const struct run *run, struct policy *policy, const char *path)
{
    struct checkpoint *checkpoint;
    struct policy_check *check;
    struct policy_memory flags;
    struct model_config model;
    struct input_error error;
    int err;

    policy_memory_clear(&flags);
    if (value_of(RUN_MAX_MEMORY) &&
        !policy_parse_max_memory(value_of(RUN_MAX_MEMORY), &flags, &error))
        policy_memory_override(&policy->max_memory, &flags);
    if (checkpoint_open(path, &checkpoint, &error))
        return fail_input(run, RUN_POLICY, &error);
    if (model_config_find_for(checkpoint, path, &model, &error))
        memset(&model, 0, sizeof(model));
    err = policy_check_create(policy, checkpoint, &model, &check);
    if (err) {
        checkpoint_close(checkpoint);
        return fail(run, RUN_POLICY, strerror(-err), "close other programs");
    }
    err = judge_map(run, policy, check);
    policy_check_free(check);
    checkpoint_close(checkpoint);
    return err;
}

static int check_checkpoint(const struct run *run, enum run_option source, const char *path)
{
    struct checkpoint *checkpoint;
    struct input_error error;

    if (checkpoint_open(path, &checkpoint, &error))
        return fail_input(run, source, &error);
    checkpoint_close(checkpoint);
    return 0;
}

/* The policy file, and the checkpoint that it or a flag names. */
static int check_policy(struct run *run)
{
    const char *checkpoint = value_of(RUN_CHECKPOINT);
    struct input_error error;
    struct policy *policy;
    int err = 0;

    if (checkpoint && check_checkpoint(run, RUN_CHECKPOINT, checkpoint))
        return -1;
    if (!value_of(RUN_POLICY))
        return 0;
    if (policy_read(value_of(RUN_POLICY), &policy, &error))
        return fail_input(run, RUN_POLICY, &error);
    if (policy->checkpoint && !checkpoint)
        err = check_checkpoint(run, RUN_POLICY, policy->checkpoint);
    if (!checkpoint)
        checkpoint = policy->checkpoint;
    if (!err && policy->map.count && checkpoint)
        err = check_map(run, policy, checkpoint);
    note_budgets(run, &policy->max_memory, RUN_POLICY);
    for (size_t i = 0; i < policy->map.count; i++)
        note_device(run, policy->map.entries[i].place, RUN_POLICY);
    policy_free(policy);
    return err;
}

static int check_log_level(const struct run *run)
{
    static const char *const levels[] = {
#define X(symbol, text) text,
        LOG_LEVELS(X)
#undef X
    };
    const size_t count = sizeof(levels) / sizeof(levels[0]);
    const char *value = value_of(RUN_LOG);
    char what[128], list[128], todo[256];
    const char *nearest;

    for (size_t i = 0; i < count; i++) {
        if (!value || strcmp(value, levels[i]) == 0)
            return 0;
    }
    nearest = names_nearest(value, levels, count);
    snprintf(what, sizeof(what), "unknown level %s", value);
    if (nearest)
        snprintf(todo, sizeof(todo), "did you mean %s?", nearest);
    else
        snprintf(todo, sizeof(todo), "use %s", names_list(levels, count, list, sizeof(list)));
    return fail(run, RUN_LOG, what, todo);
}

/* Can the statistics be left there? What is a regular file, or will be, comes as one that is made
 * beside it and takes its name: that is tried, for /proc has the rights of a folder and lets
 * nothing be made.
 *
 * returns  0, or -1 and errno is set
 */
static int try_stats_path(const char *path)
{
    char target[PATH_MAX], temporary[PATH_MAX + 32];
    struct stat status;
    int fd;

    if (stat(path, &status) == 0) {
        errno = EISDIR;
        if (S_ISDIR(status.st_mode) || access(path, W_OK) != 0)
            return -1;
        if (!S_ISREG(status.st_mode))
            return 0;
    }
    snprintf(temporary, sizeof(temporary), "%s.%d.tmp", realpath(path, target) ? target : path,
             (int)getpid());
    unlink(temporary); /* of a launcher with this pid that was killed */
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    close(fd);
    return unlink(temporary);
}

/* Where the statistics go: a file that can be replaced or made, or something else to write to. */
static int check_stats_path(struct run *run)
{
    const char *value = value_of(RUN_STATS);
    char folder[PATH_MAX] = ".";
    char text[PATH_MAX + 64];
    const char *base, *slash;
    char real[PATH_MAX];

    if (!value)
        return 0;
    slash = strrchr(value, '/');
    base = slash ? slash + 1 : value;
    if (slash)
        snprintf(folder, sizeof(folder), "%.*s", slash == value ? 1 : (int)(slash - value), value);
    errno = EISDIR;
    if (!*base || !realpath(folder, real) || try_stats_path(value) != 0) {
        snprintf(text, sizeof(text), "%s: %s", value, strerror(errno));
        return fail(run, RUN_STATS, text, "give a file that can be written");
    }
    if (snprintf(run->stats_path, sizeof(run->stats_path), "%s/%s", strcmp(real, "/") ? real : "",
                 base) >= PATH_MAX)
        return fail(run, RUN_STATS, "the path is too long", "give a shorter one");
    return setenv(g_variables[RUN_STATS], run->stats_path, 1);
}

/* The libraries -------------------------------------------------------------------------------- */

/* The folder of this command, which says where the rest is.
 *
 * returns  0 or -1
 */
static int own_folder(char folder[PATH_MAX])
{
    ssize_t bytes = readlink("/proc/self/exe", folder, PATH_MAX - 1);

    if (bytes <= 0)
        return -1;
    folder[bytes] = '\0';
    *strrchr(folder, '/') = '\0';
    return 0;
}

static int find_driver(struct run *run)
{
    char what[PATH_MAX + 128], folder[PATH_MAX],
        simulated[PATH_MAX + 64] = "build/simcuda/libcuda.so.1";
    int err = driver_path_find(run->driver, sizeof(run->driver));

    if (!err)
        return setenv(g_variables[RUN_DRIVER], run->driver, 1);
    if (err != -ENOENT) {
        snprintf(what, sizeof(what), "%s: %s",
                 value_of(RUN_DRIVER) ? value_of(RUN_DRIVER) : "the one found",
                 driver_path_error(err));
        return fail(run, RUN_DRIVER, what,
                    "leave it out to have the driver found, or name a libcuda.so.1");
    }
    /* Named where it is, if it is built. */
    if (own_folder(folder) == 0) {
        char path[PATH_MAX + 64];

        snprintf(path, sizeof(path), "%s/simcuda/libcuda.so.1", folder);
        if (access(path, R_OK) == 0)
            strcpy(simulated, path);
    }
    tool_error("run: no CUDA driver (libcuda.so.1) found; install NVIDIA's driver (Debian: apt-get "
               "install nvidia-driver), or try the simulated one: make demo, or berth run --driver "
               "%s",
               simulated);
    return -1;
}

/* A budget for a GPU that is not there would limit nothing. Where there is a GPU there is one with
 * index 0, so that the usual command need not wait for the driver's answer. */
static int check_devices(const struct run *run)
{
    char what[96];
    int count;

    if (run->highest_device <= 0)
        return 0;
    count = devices_count(run->driver);
    if (count <= 0 || run->highest_device < count)
        return 0;
    snprintf(what, sizeof(what), "there is no GPU %d: the driver counts %d, from 0 on",
             run->highest_device, count);
    return fail(run, run->highest_device_option, what,
                "name one that there is (CUDA_VISIBLE_DEVICES may hide some)");
}

/* Put the shim before the program's own libraries: beside the command in a build folder, in
 * ../lib/berth where it is installed. */
static int set_preload(void)
{
    static const char *const places[] = {".", "../lib/berth"};
    const char *before = getenv("LD_PRELOAD");
    char folder[PATH_MAX], path[2 * PATH_MAX], library[PATH_MAX], stub[PATH_MAX];
    char *list;
    int err;

    if (own_folder(folder)) {
        tool_error("run: /proc/self/exe: %s; mount /proc", strerror(errno));
        return -1;
    }
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s/libberth.so", folder, places[i]);
        if (!realpath(path, library))
            continue;
        snprintf(path, sizeof(path), "%s/%s/berth-stub/libcuda.so", folder, places[i]);
        if (!realpath(path, stub))
            continue;
        if (strpbrk(library, " :")) {
            tool_error("run: %s: the loader takes no path with a blank or a colon; install berth "
                       "in another folder",
                       library);
            return -1;
        }
        if (asprintf(&list, "%s:%s%s%s", library, stub, before && *before ? ":" : "",
                     before ? before : "") < 0)
            return -1;
        err = setenv("LD_PRELOAD", list, 1);
        free(list);
        return err;
    }
    tool_error("run: libberth.so: not found in %s or in %s/../lib/berth; build (make) or "
               "install (make install) berth as a whole",
               folder, folder);
    return -1;
}

/* The program ---------------------------------------------------------------------------------- */

/* returns 0, or the exit code to end with */
static int find_program(struct run *run, const char *name)
{
    char reason[PATH_MAX + 256];
    int err = program_find(name, run->program, sizeof(run->program));

    if (err == -ENOENT) {
        tool_error("run: %s: not found; check the spelling%s", name,
                   strchr(name, '/') ? "" : ", or give its path");
        return TOOL_NOT_FOUND;
    }
    if (err) {
        tool_error("run: %s: %s; give a program, or make it one (chmod +x)", name, strerror(-err));
        return TOOL_NOT_EXECUTABLE;
    }
    if (program_check(run->program, reason, sizeof(reason))) {
        tool_error("run: %s", reason);
        return TOOL_FAILED;
    }
    return 0;
}

static int check_all(struct run *run)
{
    if (check_flags(run) || check_log_level(run) || check_stats_path(run))
        return -1;
    if (make_absolute(run, RUN_POLICY, "give a policy file that can be read") ||
        make_absolute(run, RUN_CHECKPOINT, "give a checkpoint that can be read"))
        return -1;
    if (check_policy(run) || find_driver(run))
        return -1;
    return check_devices(run);
}

static int prepare_and_launch(struct run *run, char **argv)
{
    struct launch launch = {.name = argv[0], .path = run->program, .argv = argv};
    int status;

    if (check_all(run))
        return TOOL_FAILED;
    status = find_program(run, argv[0]);
    if (status)
        return status;
    if (set_preload())
        return TOOL_FAILED;
    if (run->stats_path[0])
        launch.stats_path = run->stats_path;
    stale_settle(0, STALE_SILENT);
    return launch_program(&launch);
}

static int run_main(const struct tool_command *command, int argc, char **argv)
{
    struct run run = {.highest_device = -1};
    int first, status;

    status = tool_parse_options(command, argc, argv, set_option, &run, &first);
    if (status == TOOL_OPTIONS_GO_ON) {
        if (first >= argc) {
            tool_error("run: no program given; for example: berth run --max-memory 0=8GiB -- "
                       "python generate.py");
            status = TOOL_FAILED;
        } else {
            status = prepare_and_launch(&run, argv + first);
        }
    }
    free(run.max_memory);
    return status;
}

const struct tool_command tool_run = {
    .name = "run",
    .summary = "Run a program within a budget of GPU memory, its weights moved as needed",
    .usage = "[OPTIONS] [--] PROGRAM [ARGS...]",
    .text =
        "Example: 8 GiB of the first GPU for the program, the rest of it in host memory.\n\n"
        "  berth run --max-memory 0=8GiB -- python generate.py --model Llama-3-8B\n\n"
        "Without --max-memory the budget is what the GPU has free when the program begins. It is for\n"
        "what the program allocates; what the driver takes for each context comes on top.\n"
        "SIZE is a number and GiB, MiB, KiB, GB, MB or KB, or plain bytes. A checkpoint that the\n"
        "program maps or reads is recognised by itself. Flags override the variables BERTH_POLICY,\n"
        "BERTH_CHECKPOINT, BERTH_MAX_MEMORY, BERTH_BACKEND, BERTH_DRIVER, BERTH_STATS,\n"
        "BERTH_LOG.\n\n"
        "The exit code is the program's own; 125 where berth itself fails, 126 where the program\n"
        "cannot be executed, 127 where it is not found. Signals are passed on.\n",
    .options = g_options,
    .option_count = RUN_OPTION_COUNT,
    .stops = 1,
    .usage_exit = TOOL_FAILED,
    .run = run_main,
};
