/* plan.c - `berth plan`: a device map for a model, as a policy file. */
#include "check_views.h"
#include "free_memory.h"
#include "stats_views.h"
#include "table.h"
#include "tool.h"

#include "policy/checkpoint.h"
#include "policy/model_config.h"
#include "policy/policy_plan.h"
#include "policy/policy_write.h"
#include "policy/size.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINK_BYTES_PER_S 25e9 /* what PCIe 4.0 with 16 lanes does */

/* id, option, its value, help, letter */
#define PLAN_OPTIONS(X)                                                                            \
    X(MAX_MEMORY, "max-memory", "DEV=SIZE,..",                                                     \
      "budgets: GPU indexes, cpu, disk; may be given several times", 0)                            \
    X(STRATEGY, "strategy", "WORD", "auto (default), balanced, balanced_low_0 or sequential", 0)   \
    X(NO_SPLIT, "no-split", "PATTERN",                                                             \
      "modules to place as a whole, by name or class; none: every tensor alone", 0)                \
    X(TIED, "tied", "A,B", "names of one tensor; may be given several times", 0)                   \
    X(DTYPE, "dtype", "[PATTERN=]WORD",                                                            \
      "what weights are loaded as, such as bfloat16; may be given several times", 0)               \
    X(OFFLOAD_BUFFERS, "offload-buffers", NULL, "buffers may leave the GPU, too", 0)               \
    X(STATS, "stats", "FILE", "a recorded run, to plan by; its link's speed, too", 0)              \
    X(LINK, "link", "GB/S", "how fast the link is: berth stats tells", 0)                          \
    X(OUTPUT, "output", "FILE", "write the policy there; - is standard output", 'o')               \
    X(JSON, "json", NULL, "one JSON document", 0)

enum plan_option {
#define X(id, name, argument, help, letter) OPTION_##id,
    PLAN_OPTIONS(X)
#undef X
        OPTION_COUNT
};

static const struct tool_option g_options[] = {
#define X(id, name, argument, help, letter) {name, argument, help, letter},
    PLAN_OPTIONS(X)
#undef X
};

struct request {
    const char *checkpoint_path;
    const char *output; /* NULL: none */
    int json;
    enum plan_strategy strategy;
    double link_bytes_per_s; /* 0: not given */
    const char *run_path;    /* NULL: none was recorded */
    struct stats_report run; /* of it; all zero where there is none */
    struct policy *policy;
    struct checkpoint *checkpoint;
    struct model_config config;
    struct policy_check *check;
};

static int fail(int err)
{
    tool_error("plan: %s%s", strerror(-err), err == -ENOMEM ? "; close other programs" : "");
    return TOOL_FAILED;
}

static int fail_input(int status, const char *option, const struct input_error *error)
{
    char line[INPUT_ERROR_TEXT_BYTES];

    tool_error("plan: %s%s%s", option, *option ? ": " : "",
               input_error_format(error, line, sizeof(line)));
    return status;
}

/* Options -------------------------------------------------------------------------------------- */

static int add_name(struct policy_names *names, const char *text, size_t bytes)
{
    char **grown = realloc(names->names, (names->count + 1) * sizeof(*grown));
    char *copy = strndup(text, bytes);

    if (grown)
        names->names = grown;
    if (!grown || !copy) {
        free(copy);
        return -ENOMEM;
    }
    names->names[names->count++] = copy;
    return 0;
}

static int set_no_split(struct policy *policy, const char *value)
{
    policy->no_split_given = true;
    if (strcmp(value, "none") == 0)
        return TOOL_OPTIONS_GO_ON;
    return add_name(&policy->no_split, value, strlen(value)) ? fail(-ENOMEM) : TOOL_OPTIONS_GO_ON;
}

static int set_tied(struct policy *policy, const char *value)
{
    struct policy_names *grown =
        realloc(policy->tied, (policy->tied_count + 1) * sizeof(*policy->tied));
    struct policy_names *group;

    if (!grown)
        return fail(-ENOMEM);
    policy->tied = grown;
    group = &policy->tied[policy->tied_count++];
    *group = (struct policy_names){0};
    for (;;) {
        size_t bytes = strcspn(value, ",");

        if (!bytes)
            break;
        if (add_name(group, value, bytes))
            return fail(-ENOMEM);
        value += bytes;
        if (!*value && group->count > 1)
            return TOOL_OPTIONS_GO_ON;
        value += *value == ',';
    }
    tool_error("plan: --tied: expected two or more names of one tensor, as "
               "lm_head.weight,model.embed_tokens.weight");
    return TOOL_USAGE;
}

/* A word for all weights, or for those that a pattern matches. */
static int set_dtype(struct policy *policy, const char *value)
{
    const char *equals = strchr(value, '=');
    struct input_error error;
    enum dtype dtype;

    if (policy_parse_dtype(equals ? equals + 1 : value, &dtype, &error))
        return fail_input(TOOL_USAGE, "--dtype", &error);
    if (!equals) {
        policy->dtype = dtype;
        return TOOL_OPTIONS_GO_ON;
    }
    if (equals == value) {
        tool_error("plan: --dtype: expected a pattern before =, as lm_head=float32");
        return TOOL_USAGE;
    }
    return policy_add_special_dtype(policy, value, (size_t)(equals - value), dtype)
               ? fail(-ENOMEM)
               : TOOL_OPTIONS_GO_ON;
}

static int set_link(struct request *request, const char *value)
{
    char *end;
    double gigabytes = strtod(value, &end);

    if (end == value || *end || !(gigabytes >= 1e-3 && gigabytes <= 1e5)) {
        tool_error("plan: --link: expected gigabytes in a second, such as 25, found \"%s\"", value);
        return TOOL_USAGE;
    }
    request->link_bytes_per_s = gigabytes * 1e9;
    return TOOL_OPTIONS_GO_ON;
}

static int set_option(void *state, size_t option, const char *value)
{
    struct request *request = state;
    struct input_error error;

    switch ((enum plan_option)option) {
    case OPTION_MAX_MEMORY:
        if (policy_parse_max_memory(value, &request->policy->max_memory, &error))
            return fail_input(TOOL_USAGE, "--max-memory", &error);
        break;
    case OPTION_STRATEGY:
        if (plan_strategy_parse(value, &request->strategy, &error))
            return fail_input(TOOL_USAGE, "--strategy", &error);
        break;
    case OPTION_NO_SPLIT:
        return set_no_split(request->policy, value);
    case OPTION_TIED:
        return set_tied(request->policy, value);
    case OPTION_STATS:
        request->run_path = value;
        break;
    case OPTION_DTYPE:
        return set_dtype(request->policy, value);
    case OPTION_LINK:
        return set_link(request, value);
    case OPTION_OFFLOAD_BUFFERS:
        request->policy->offload_buffers = true;
        break;
    case OPTION_OUTPUT:
        request->output = value;
        break;
    case OPTION_JSON:
    case OPTION_COUNT:
        request->json = 1;
        break;
    }
    return TOOL_OPTIONS_GO_ON;
}

/* Planning ------------------------------------------------------------------------------------- */

static int has_gpu(const struct policy_memory *memory)
{
    for (int i = 0; i < POLICY_DEVICES_MAX; i++)
        if (memory->device_bytes[i] != POLICY_UNSET)
            return 1;
    return 0;
}

/* What nobody gave a budget has what this machine has free of it. */
static int default_gpus(struct request *request)
{
    const char *reason = NULL;

    if (!has_gpu(&request->policy->max_memory))
        reason = free_memory_of_gpus(&request->policy->max_memory);
    if (!reason)
        return 0;
    tool_error("plan: no GPU has a budget, and %s; say how much of it the model may take: "
               "--max-memory 0=8GiB",
               reason);
    return TOOL_USAGE;
}

static int open_model(struct request *request)
{
    struct input_error error;
    int err = checkpoint_open(request->checkpoint_path, &request->checkpoint, &error);

    if (err)
        return fail_input(err == -EINVAL ? TOOL_REFUSED : TOOL_FAILED, "", &error);
    if (model_config_find_for(request->checkpoint, request->checkpoint_path, &request->config,
                              &error))
        return fail_input(TOOL_FAILED, "", &error);
    request->policy->checkpoint = strdup(request->checkpoint_path);
    return request->policy->checkpoint ? 0 : fail(-ENOMEM);
}

static int read_run(struct request *request)
{
    char reason[INPUT_ERROR_TEXT_BYTES + 256];
    int err, is_wrong;

    if (!request->run_path)
        return 0;
    err = stats_document_read(request->run_path, &request->run, &is_wrong, reason, sizeof(reason));
    if (!err)
        return 0;
    tool_error("plan: --stats: %s: %s; give a file that berth run --stats left", request->run_path,
               reason);
    return is_wrong ? TOOL_REFUSED : TOOL_FAILED;
}

/* returns what the run tells of parameters, for the caller to free; NULL when out of memory */
static struct heat_record *list_touches(const struct stats_report *run)
{
    struct heat_record *records = calloc(run->parameter_count + 1, sizeof(*records));

    for (size_t i = 0; records && i < run->parameter_count; i++)
        records[i] = (struct heat_record){.name = run->parameters[i].name,
                                          .touches = run->parameters[i].touches,
                                          .first_touch = run->parameters[i].first_touch};
    return records;
}

/* Disk takes what nothing else does, whatever its budget: a plan that check would refuse is none.
 */
static int check_fits(const struct request *request)
{
    const struct policy_check *check = request->check;

    if (!check->error_count)
        return 0;
    tool_error("plan: %s: %s; nothing was written", check->findings[0].field,
               check->findings[0].text);
    return TOOL_REFUSED;
}

static int make_map(struct request *request)
{
    struct policy_memory limits = request->policy->max_memory;
    struct heat_run run = {request->run_path, list_touches(&request->run),
                           request->run.parameter_count};
    struct input_error error;
    int err;

    if (!run.records)
        return fail(-ENOMEM);
    if (limits.cpu_bytes == POLICY_UNSET)
        limits.cpu_bytes = free_memory_host_bytes();
    err = policy_plan_map(request->policy, &limits, request->checkpoint, &request->config,
                          request->strategy, request->run_path ? &run : NULL, &error);
    free((void *)run.records);
    if (err)
        return fail_input(err == -EINVAL ? TOOL_REFUSED : TOOL_FAILED, "", &error);
    err = policy_check_create(request->policy, request->checkpoint, &request->config,
                              &request->check);
    return err ? fail(err) : check_fits(request);
}

/* Output --------------------------------------------------------------------------------------- */

/* What does not stay on a GPU, in bytes. */
static uint64_t streamed_bytes(const struct policy_check *check)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < check->place_count; i++)
        if (check->places[i].place < 0)
            bytes += check->places[i].bytes;
    return bytes;
}

static double link_speed(const struct request *request)
{
    if (request->link_bytes_per_s > 0)
        return request->link_bytes_per_s;
    return request->run.link_bytes_per_s ? (double)request->run.link_bytes_per_s : LINK_BYTES_PER_S;
}

static const char *link_source(const struct request *request)
{
    if (request->link_bytes_per_s > 0)
        return "";
    return request->run.link_bytes_per_s
               ? ", as measured in that run"
               : ", which is assumed (PCIe 4.0, 16 lanes); --link says otherwise";
}

/* What is on no GPU, and was not touched in the run that was recorded. */
static uint64_t untouched_bytes(const struct request *request)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < request->run.parameter_count; i++) {
        const struct stats_parameter *parameter = &request->run.parameters[i];

        if (!parameter->touches && policy_resolve(&request->policy->map, parameter->name) < 0 &&
            checkpoint_find_name(request->checkpoint, parameter->name) != CHECKPOINT_NONE)
            bytes += parameter->bytes;
    }
    return bytes;
}

static void print_streamed(const struct request *request)
{
    const struct terminal_style *style = terminal_style(stdout);
    uint64_t bytes = streamed_bytes(request->check);
    char size[SIZE_TEXT_BYTES];

    if (!bytes) {
        printf("\n%sstreams%s    nothing: all of it stays in VRAM\n", style->title, style->end);
        return;
    }
    printf("\n%sstreams%s    %s for each step that uses all of it: %.1f ms at %.1f GB/s%s\n",
           style->title, style->end, size_format(bytes, SIZE_BINARY, size),
           (double)bytes * 1e3 / link_speed(request), link_speed(request) / 1e9,
           link_source(request));
    if (request->run_path)
        printf("           of that, %s %s never touched\n",
               size_format(untouched_bytes(request), SIZE_BINARY, size), request->run_path);
}

static int write_policy(const struct request *request, const char *path, FILE *out)
{
    int err = policy_write(request->policy, path, out);

    if (!err && (fflush(out) || ferror(out)))
        err = errno ? -errno : -EIO;
    return err;
}

/* What mkstemp() made has the mode that open() would have given it. */
static int write_beside(const struct request *request, int fd)
{
    FILE *file = fdopen(fd, "w");
    mode_t mask = umask(0);
    int err;

    umask(mask);
    if (!file) {
        err = -errno;
        close(fd);
        return err;
    }
    err = write_policy(request, request->output, file);
    if (!err && (fchmod(fd, 0666 & ~mask) || fsync(fd)))
        err = -errno;
    if (fclose(file) && !err)
        err = -errno;
    return err;
}

/* path     without links: what a link points to is replaced, not the link */
static int replace_file(const struct request *request, const char *path)
{
    char *beside;
    int err, fd;

    if (asprintf(&beside, "%s.XXXXXX", path) < 0)
        return -ENOMEM;
    fd = mkstemp(beside);
    err = fd < 0 ? -errno : write_beside(request, fd);
    if (!err && rename(beside, path))
        err = -errno;
    if (err && fd >= 0)
        unlink(beside);
    free(beside);
    return err;
}

/* A pipe, a terminal, a device: it is written to, for replacing it would remove it. */
static int write_through(const struct request *request)
{
    FILE *file = fopen(request->output, "we");
    int err = file ? write_policy(request, request->output, file) : -errno;

    if (file && fclose(file) && !err)
        err = -errno;
    return err;
}

/* Write a file that is there whole or not at all. */
static int write_file(const struct request *request)
{
    char *path = realpath(request->output, NULL);
    struct stat there;
    int err;

    if (path && stat(path, &there) == 0 && !S_ISREG(there.st_mode))
        err = write_through(request);
    else if (path || errno == ENOENT)
        err = replace_file(request, path ? path : request->output);
    else
        err = -errno;
    free(path);
    if (!err)
        return 0;
    tool_error("plan: %s: %s; name a file that can be written", request->output, strerror(-err));
    return TOOL_FAILED;
}

static int print_json(const struct request *request)
{
    uint64_t bytes = streamed_bytes(request->check);
    int err;

    printf("{\"version\": 1, \"strategy\": \"%s\", \"streamed_bytes\": %" PRIu64
           ", \"link_bytes_per_s\": %.0f, \"step_ms\": %.3f",
           plan_strategy_name(request->strategy), bytes, link_speed(request),
           (double)bytes * 1e3 / link_speed(request));
    if (request->run_path)
        printf(", \"untouched_bytes\": %" PRIu64, untouched_bytes(request));
    printf(",\n\"policy\": ");
    err = policy_write(request->policy, "-", stdout);
    printf(",\n\"check\": ");
    check_print_json(&(struct check_report){.path = "",
                                            .policy = request->policy,
                                            .checkpoint_path = request->checkpoint_path,
                                            .checkpoint = request->checkpoint,
                                            .check = request->check},
                     stdout);
    puts("}");
    return err ? fail(err) : tool_finish_output(TOOL_OK);
}

static int print_table(const struct request *request)
{
    const struct check_report report = {
        .path = request->output ? request->output : "not written; -o FILE writes it",
        .policy = request->policy,
        .checkpoint_path = request->checkpoint_path,
        .checkpoint = request->checkpoint,
        .check = request->check,
    };

    if (check_print_table(&report, stdout))
        return fail(-ENOMEM);
    print_streamed(request);
    return tool_finish_output(TOOL_OK);
}

static int print(const struct request *request)
{
    int to_stdout = request->output && strcmp(request->output, "-") == 0;
    int status = request->output && !to_stdout ? write_file(request) : 0;

    if (status)
        return status;
    if (request->json)
        return print_json(request);
    if (!to_stdout)
        return print_table(request);
    status = write_policy(request, "-", stdout);
    return status ? fail(status) : tool_finish_output(TOOL_OK);
}

static int plan(struct request *request)
{
    int status = read_run(request);

    status = status ? status : open_model(request);
    status = status ? status : default_gpus(request);
    status = status ? status : make_map(request);
    return status ? status : print(request);
}

static int plan_main(const struct tool_command *command, int argc, char **argv)
{
    struct request request = {.policy = policy_new()};
    int first, status;

    if (!request.policy)
        return fail(-ENOMEM);
    status = tool_parse_options(command, argc, argv, set_option, &request, &first);
    if (status == TOOL_OPTIONS_GO_ON) {
        status = TOOL_USAGE;
        if (argc - first != 1)
            tool_error("plan: %s; for example: berth plan model.safetensors --max-memory 0=8GiB",
                       argc == first ? "no checkpoint given" : "more than one checkpoint given");
        else if (request.run_path && request.strategy != PLAN_AUTO)
            tool_error("plan: --stats: only the strategy auto plans by a run; leave --strategy %s "
                       "out",
                       plan_strategy_name(request.strategy));
        else {
            request.checkpoint_path = argv[first];
            status = plan(&request);
        }
    }
    policy_check_free(request.check);
    stats_report_release(&request.run);
    checkpoint_close(request.checkpoint);
    policy_free(request.policy);
    return status;
}

const struct tool_command tool_plan = {
    .name = "plan",
    .summary = "Make a device map for a model: which weights live where",
    .usage = "CHECKPOINT [--max-memory DEV=SIZE,..] [-o FILE] [OPTIONS]",
    .text =
        "Example: a model for a GPU of which it may take 8 GiB; then run it so.\n\n"
        "  berth plan model.safetensors --max-memory 0=8GiB -o policy.json\n"
        "  berth run --policy policy.json -- ./program\n\n"
        "CHECKPOINT is whatever `berth inspect` reads. The devices are filled in order, GPUs by\n"
        "index, then cpu, then disk, with modules in the model's order; repeated blocks\n"
        "(model.layers.3) and quantised weights with their scales stay whole, and parameters with\n"
        "several names are one. The first GPU keeps room for the largest unit that streams. Without a\n"
        "budget for any GPU each has nine tenths of what it has free, and cpu without one most of what\n"
        "the host has; disk takes the rest.\n\n"
        "Strategies: balanced spreads the model evenly over the GPUs, balanced_low_0 leaves GPU 0\n"
        "what the others cannot hold, sequential fills one after another. auto is balanced where the\n"
        "GPUs hold the model; else what stays is spread evenly through the step.\n\n"
        "--no-split takes patterns of modules (model.layers.*) and classes (LlamaDecoderLayer, where\n"
        "config.json or the GGUF file says what the model is).\n\n"
        "--stats: what a run touched most often stays on the GPU, what it never touched goes last:\n\n"
        "  berth run --max-memory 0=8GiB --stats run.json -- ./program\n"
        "  berth plan model.safetensors --max-memory 0=8GiB --stats run.json -o policy.json\n\n"
        "--dtype counts weights as the program loads them: bfloat16 for all that are wider,\n"
        "lm_head=float32 for some in any case. The policy keeps it.\n\n"
        "Without -o the plan is shown and not written. `berth check` explains one that is.\n\n"
        "Exit code: 0; 1 for a checkpoint or a class that is refused, 2 for wrong usage, 125 where a\n"
        "file cannot be read or written.\n",
    .options = g_options,
    .option_count = OPTION_COUNT,
    .usage_exit = TOOL_USAGE,
    .run = plan_main,
};
