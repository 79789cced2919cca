#include "config.h"
#include "log.h"
#include "names.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "BERTH_"

static struct config g_config;
static pthread_once_t g_once = PTHREAD_ONCE_INIT;

static void refuse(const char *variable, const struct input_error *error)
{
    char line[INPUT_ERROR_TEXT_BYTES];

    log_warn("config", "%s: %s; berth is off for this program", variable,
             input_error_format(error, line, sizeof(line)));
    g_config.off = 1;
}

static void read_flags(struct policy *policy)
{
    const char *memory = getenv("BERTH_MAX_MEMORY");
    const char *backend = getenv("BERTH_BACKEND");
    const char *checkpoint = getenv("BERTH_CHECKPOINT");
    struct policy_memory flags;
    struct input_error error;

    policy_memory_clear(&flags);
    if (memory && *memory) {
        if (policy_parse_max_memory(memory, &flags, &error))
            refuse("BERTH_MAX_MEMORY", &error);
        else
            policy_memory_override(&policy->max_memory, &flags);
    }
    if (backend && *backend && policy_parse_backend(backend, &policy->backend, &error))
        refuse("BERTH_BACKEND", &error);
    if (checkpoint && *checkpoint) {
        free(policy->checkpoint);
        policy->checkpoint = strdup(checkpoint);
    }
}

/* Asked to be strict, berth does nothing rather than something else. */
static void check_placement(const struct policy *policy)
{
    size_t on_disk = policy_map_count(&policy->map, POLICY_DISK);

    if (policy->strict && (policy->group_count || on_disk)) {
        log_warn("config",
                 "the policy is strict and this version does not follow its %s; berth is "
                 "off for this program",
                 policy->group_count ? "groups" : "device_map onto disk");
        g_config.off = 1;
        return;
    }
    if (policy->group_count)
        log_warn("config",
                 "this version does not follow the policy's groups: all else of it counts");
    g_config.holds_disk = on_disk != 0;
    if (on_disk)
        log_warn("config",
                 "the policy's device_map puts %zu module%s on disk: this version keeps what "
                 "lives there in host memory, as if it said cpu",
                 on_disk, on_disk == 1 ? "" : "s");
}

/* A level that does not parse is no reason to do nothing; but to say so. */
static void check_log_level(void)
{
    const char *level = getenv("BERTH_LOG");

    if (level && *level && log_parse_level(level) == LOG_WARN && strcmp(level, "warn") != 0)
        log_warn("config",
                 "BERTH_LOG: unknown level %s, so it is warn: use off, error, warn, info or "
                 "debug",
                 level);
}

static int is_of_others(const char *name)
{
#define X(variable)                                                                                \
    if (strcmp(name, #variable) == 0)                                                              \
        return 1;
    CONFIG_OTHER_VARIABLES(X)
#undef X
    return 0;
}

/* Nobody else would say that a mistyped variable does nothing. */
static void check_name(const char *name)
{
    static const char *const known[] = {
#define X(variable) #variable,
        CONFIG_VARIABLES(X)
#undef X
    };
    const size_t count = sizeof(known) / sizeof(known[0]);
    const char *ends[sizeof(known) / sizeof(known[0])], *nearest;
    char list[160];

    if (is_of_others(name))
        return;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, known[i]) == 0)
            return;
        ends[i] = known[i] + strlen(PREFIX);
    }
    nearest = names_nearest(name + strlen(PREFIX), ends, count);
    if (nearest)
        log_warn("config", "%s: unknown, so it changes nothing: did you mean " PREFIX "%s?", name,
                 nearest);
    else
        log_warn("config", "%s: unknown, so it changes nothing: use %s", name,
                 names_list(known, count, list, sizeof(list)));
}

static void check_names(void)
{
    char name[64]; /* what is longer is nobody's slip of a finger */

    for (char **variable = environ; variable && *variable; variable++) {
        size_t bytes = strcspn(*variable, "=");

        if (strncmp(*variable, PREFIX, strlen(PREFIX)) != 0 || bytes >= sizeof(name))
            continue;
        snprintf(name, sizeof(name), "%.*s", (int)bytes, *variable);
        check_name(name);
    }
}

static void read_environment(void)
{
    const char *path = getenv("BERTH_POLICY");
    struct input_error error;

    check_log_level();
    check_names();
    g_config.stats_path = getenv("BERTH_STATS");
    if (path && *path && policy_read(path, &g_config.policy, &error))
        refuse("BERTH_POLICY", &error);
    if (!g_config.policy)
        g_config.policy = policy_new();
    if (!g_config.policy) {
        static struct policy nothing = {
            .dtype = DTYPE_COUNT}; /* out of memory at start-up: off, and nothing to free */

        policy_memory_clear(&nothing.max_memory);
        g_config.policy = &nothing;
        g_config.off = 1;
        return;
    }
    read_flags(g_config.policy);
    check_placement(g_config.policy);
    if (g_config.policy->backend == POLICY_BACKEND_OFF)
        g_config.off = 1;
}

const struct config *config(void)
{
    pthread_once(&g_once, read_environment);
    return &g_config;
}
