/* check.c - `berth check`: explain a policy, or refuse it with every reason. */
#include "check_views.h"
#include "tool.h"

#include "policy/checkpoint.h"
#include "policy/policy_check.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define ERRORS_MAX 64 /* of one file; a person mends these first */

/* id, option, its value, help */
#define CHECK_OPTIONS(X)                                                                           \
    X(CHECKPOINT, "checkpoint", "PATH", "instead of the policy's own")                             \
    X(JSON, "json", NULL, "one JSON document")

enum check_option {
#define X(id, name, argument, help) CHECK_##id,
    CHECK_OPTIONS(X)
#undef X
        CHECK_OPTION_COUNT
};

static const struct tool_option g_options[] = {
#define X(id, name, argument, help) {name, argument, help, 0},
    CHECK_OPTIONS(X)
#undef X
};

struct check {
    const char *policy_path;
    const char *checkpoint_path; /* of the option, else of the policy */
    int json;
    struct policy *policy;
    struct checkpoint *checkpoint;
    struct policy_check *result;
};

static int set_option(void *state, size_t option, const char *value)
{
    struct check *check = state;

    if (option == CHECK_JSON)
        check->json = 1;
    else
        check->checkpoint_path = value;
    return TOOL_OPTIONS_GO_ON;
}

static int fail(int err)
{
    tool_error("check: %s%s", strerror(-err), err == -ENOMEM ? "; close other programs" : "");
    return TOOL_FAILED;
}

static int fail_memory(void)
{
    return fail(-ENOMEM);
}

/* The policy cannot be read: what is wrong with it is all that can be said.
 *
 * returns  0; TOOL_FAILED and an error where it is not the content
 */
static int note_errors(struct check *check, int err, const struct input_error *errors, size_t count)
{
    char line[INPUT_ERROR_TEXT_BYTES];

    if (err != -EINVAL) {
        tool_error("check: %s", input_error_format(&errors[0], line, sizeof(line)));
        return TOOL_FAILED;
    }
    check->policy = policy_new();
    if (!check->policy || policy_check_create(check->policy, NULL, NULL, &check->result))
        return fail_memory();
    for (size_t i = 0; i < count; i++) {
        if (policy_check_add(check->result, POLICY_ERROR, "", "%s",
                             input_error_format(&errors[i], line, sizeof(line))))
            return fail_memory();
    }
    return 0;
}

/* A folder that is not there yet is no error: berth offload writes it. */
static int check_offload_folder(struct check *check)
{
    const char *folder = check->policy->offload_folder;
    enum policy_severity severity = check->policy->strict ? POLICY_ERROR : POLICY_WARNING;
    struct stat status;

    if (!folder)
        return 0;
    if (stat(folder, &status))
        return policy_check_add(check->result, severity, "offload_folder", "%s: %s", folder,
                                strerror(errno));
    if (!S_ISDIR(status.st_mode))
        return policy_check_add(check->result, POLICY_ERROR, "offload_folder", "%s is no folder",
                                folder);
    return 0;
}

/* What this version does not follow turns it off where the policy is strict: `berth run` says so,
 * too late for who has checked. */
static int check_followed(struct check *check)
{
    const struct policy *policy = check->policy;
    int res = 0;

    if (!policy->strict)
        return 0;
    if (policy->group_count)
        res =
            policy_check_add(check->result, POLICY_ERROR, "groups",
                             "not followed by this version, and the policy is strict: berth would "
                             "be off; leave groups or strict out");
    if (!res && policy_map_count(&policy->map, POLICY_DISK))
        res = policy_check_add(check->result, POLICY_ERROR, "device_map",
                               "disk is as cpu in this version, and the policy is strict: berth "
                               "would be off; say cpu, or leave strict out");
    return res;
}

/* Read what the model says of itself. A config.json that is wrong is no fault of the policy. */
static int find_config(struct check *check, struct model_config *config)
{
    const char *architecture = checkpoint_metadata(check->checkpoint, "general.architecture");
    char line[INPUT_ERROR_TEXT_BYTES];
    struct input_error error;

    if (check->checkpoint->format == CHECKPOINT_GGUF && architecture) {
        model_config_set_gguf(config, architecture);
        return 0;
    }
    if (model_config_find(check->checkpoint_path, config, &error) == 0)
        return 0;
    tool_error("check: %s", input_error_format(&error, line, sizeof(line)));
    return TOOL_FAILED;
}

/* Hold the policy against its checkpoint. */
static int hold_against_checkpoint(struct check *check)
{
    char line[INPUT_ERROR_TEXT_BYTES];
    struct model_config config = {0};
    struct input_error error;
    int refused = 0, err;

    if (!check->checkpoint_path)
        check->checkpoint_path = check->policy->checkpoint;
    if (check->checkpoint_path)
        refused = checkpoint_open(check->checkpoint_path, &check->checkpoint, &error);
    if (check->checkpoint && find_config(check, &config))
        return TOOL_FAILED;
    err = policy_check_create(check->policy, check->checkpoint, &config, &check->result);
    if (err)
        return fail(err);
    if (refused && policy_check_add(check->result, POLICY_ERROR, "checkpoint", "%s",
                                    input_error_format(&error, line, sizeof(line))))
        return fail_memory();
    return check_offload_folder(check) || check_followed(check) ? fail_memory() : 0;
}

static int print_report(const struct check *check)
{
    const struct check_report report = {
        .path = check->policy_path,
        .policy = check->policy,
        .checkpoint_path = check->checkpoint_path,
        .checkpoint = check->checkpoint,
        .check = check->result,
    };
    size_t errors = check->result->error_count;

    if (check->json)
        check_print_json(&report, stdout);
    else if (check_print_table(&report, stdout))
        return fail_memory();
    if (!errors)
        return tool_finish_output(TOOL_OK);
    tool_error("check: %s: refused: %zu error%s", check->policy_path, errors,
               errors == 1 ? "" : "s");
    return tool_finish_output(TOOL_REFUSED);
}

static int check_policy(struct check *check)
{
    static struct input_error errors[ERRORS_MAX];
    size_t count;
    int err = policy_read_errors(check->policy_path, &check->policy, errors, ERRORS_MAX, &count);
    int status = err ? note_errors(check, err, errors, count) : hold_against_checkpoint(check);

    if (!status)
        status = print_report(check);
    policy_check_free(check->result);
    checkpoint_close(check->checkpoint);
    policy_free(check->policy);
    return status;
}

static int check_main(const struct tool_command *command, int argc, char **argv)
{
    struct check check = {0};
    int first, status;

    status = tool_parse_options(command, argc, argv, set_option, &check, &first);
    if (status != TOOL_OPTIONS_GO_ON)
        return status;
    if (argc - first != 1) {
        tool_error("check: %s; for example: berth check policy.json",
                   argc == first ? "no policy given" : "more than one policy given");
        return TOOL_USAGE;
    }
    check.policy_path = argv[first];
    return check_policy(&check);
}

const struct tool_command tool_check = {
    .name = "check",
    .summary = "Explain a policy, or refuse it with every reason",
    .usage = "POLICY [--checkpoint PATH] [--json]",
    .text =
        "Example: what a device map makes of a model, and whether it fits.\n\n"
        "  berth check policy.json\n"
        "  berth check device_map.json --checkpoint model.safetensors\n\n"
        "A policy is a JSON file:\n\n"
        "  {\"version\": 1,\n"
        "   \"checkpoint\": \"model.safetensors\",\n"
        "   \"max_memory\": {\"0\": \"8GiB\", \"cpu\": \"64GiB\"},\n"
        "   \"device_map\": {\"model.embed_tokens\": 0, \"model.layers.0\": 0, \"\": \"cpu\"}}\n\n"
        "A bare device map or max_memory is one too, in JSON or as Python prints it\n"
        "(print(model.hf_device_map)). Keys are modules: the longest one that fits a tensor's name\n"
        "says where the tensor lives between uses, \"\" where all the rest does.\n\n"
        "Errors: fields that are unknown or wrong, tensors that no key covers, more in a place than\n"
        "its max_memory, one object under two names in two places, a tensor in two groups.\n"
        "Warnings, which are errors of a policy that is strict: keys and patterns that match nothing.\n\n"
        "Exit code: 0 for a policy that is right, 1 for one that is refused, 2 for wrong usage, 125\n"
        "where the file cannot be read.\n",
    .options = g_options,
    .option_count = CHECK_OPTION_COUNT,
    .usage_exit = TOOL_USAGE,
    .run = check_main,
};
