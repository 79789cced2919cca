#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim.h"

struct setting {
    const char *name;
    enum sim_setting_kind kind;
    const char *value; /* default */
    const char *help;
};

static const struct setting SETTINGS[] = {
#define X(name, kind, value, help) {#name, SIM_KIND_##kind, value, help},
    SIM_SETTINGS(X)
#undef X
};

#define PREFIX     "SIMCUDA_"
#define SALT_SLOTS 64

static pthread_once_t g_once = PTHREAD_ONCE_INIT;
static uint64_t g_values[SIM_SETTING_COUNT];
static const char *g_texts[SIM_SETTING_COUNT]; /* ours: the program may change its environment */
static _Atomic uint64_t g_draws[SALT_SLOTS];

static int parse_unit(const char *unit, unsigned *shift)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    unsigned i;

    for (i = 0; i < sizeof(units) / sizeof(*units); i++) {
        if (strcmp(unit, units[i]) == 0) {
            *shift = 10 * i;
            return 0;
        }
    }
    return -EINVAL;
}

int sim_setting_parse(enum sim_setting_kind kind, const char *text, uint64_t *value)
{
    unsigned shift = 0;
    uint64_t number;
    char *end;

    if (kind == SIM_KIND_TEXT)
        return 0;
    if (*text < '0' || *text > '9')
        return -EINVAL;
    errno = 0;
    number = strtoull(text, &end, 10);
    if (errno)
        return -EINVAL;
    if (kind == SIM_KIND_SIZE ? parse_unit(end, &shift) : *end != '\0')
        return -EINVAL;
    if (kind == SIM_KIND_FLAG && number > 1)
        return -EINVAL;
    if (number > UINT64_MAX >> shift)
        return -EINVAL;
    *value = number << shift;
    return 0;
}

static void setting_read(enum sim_setting which)
{
    const struct setting *setting = &SETTINGS[which];
    char variable[64];
    const char *text;

    snprintf(variable, sizeof(variable), PREFIX "%s", setting->name);
    text = getenv(variable);
    if (text && sim_setting_parse(setting->kind, text, &g_values[which]) != 0) {
        fprintf(stderr, "simcuda: %s=%s does not parse; taking %s\n", variable, text,
                setting->value);
        text = NULL;
    }
    if (!text) {
        text = setting->value;
        sim_setting_parse(setting->kind, text, &g_values[which]);
    }
    g_texts[which] = strdup(text);
    if (!g_texts[which])
        g_texts[which] = setting->value;
}

/* A misspelt setting would silently test something else than was meant. */
static void settings_find_unknown(void)
{
    const size_t prefix = strlen(PREFIX);
    char **variable;

    for (variable = environ; variable && *variable; variable++) {
        const char *name = *variable + prefix;
        size_t length = strcspn(*variable, "=") - prefix;
        int i;

        if (strncmp(*variable, PREFIX, prefix) != 0)
            continue;
        for (i = 0; i < SIM_SETTING_COUNT; i++) {
            if (strlen(SETTINGS[i].name) == length && strncmp(SETTINGS[i].name, name, length) == 0)
                break;
        }
        if (i == SIM_SETTING_COUNT)
            fprintf(stderr, "simcuda: " PREFIX "%.*s is no setting; " PREFIX "HELP=1 lists them\n",
                    (int)length, name);
    }
}

static void settings_load(void)
{
    int i;

    for (i = 0; i < SIM_SETTING_COUNT; i++)
        setting_read((enum sim_setting)i);
    if (g_values[SIM_DEVICES] < 1 || g_values[SIM_DEVICES] > SIM_DEVICES_MAX) {
        fprintf(stderr, "simcuda: " PREFIX "DEVICES must be 1 to %d; taking 1\n", SIM_DEVICES_MAX);
        g_values[SIM_DEVICES] = 1;
    }
    settings_find_unknown();
}

uint64_t sim_setting(enum sim_setting which)
{
    pthread_once(&g_once, settings_load);
    return g_values[which];
}

const char *sim_setting_text(enum sim_setting which)
{
    pthread_once(&g_once, settings_load);
    return g_texts[which];
}

void sim_setting_help(void)
{
    int i;

    for (i = 0; i < SIM_SETTING_COUNT; i++)
        fprintf(stderr, PREFIX "%-18s [%s] %s\n", SETTINGS[i].name, SETTINGS[i].value,
                SETTINGS[i].help);
}

/* splitmix64: every state gives a good number, so that seeds next to each other differ. */
uint64_t sim_random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint64_t sim_random(uint64_t salt)
{
    uint64_t mixed = salt;
    uint64_t draw, state;

    sim_random_next(&mixed);
    draw = atomic_fetch_add(&g_draws[sim_random_next(&mixed) % SALT_SLOTS], 1);
    state = sim_setting(SIM_SEED) * 0xD1342543DE82EF95u + mixed;
    state = sim_random_next(&state) + draw;
    return sim_random_next(&state);
}

void sim_log(const char *format, ...)
{
    char line[512];
    va_list args;
    int length;

    if (!sim_setting(SIM_LOG))
        return;
    va_start(args, format);
    length = snprintf(line, sizeof(line), "simcuda: ");
    length += vsnprintf(line + length, sizeof(line) - (size_t)length - 1, format, args);
    va_end(args);
    if ((size_t)length > sizeof(line) - 2)
        length = sizeof(line) - 2;
    line[length++] = '\n';
    if (write(STDERR_FILENO, line, (size_t)length) < 0)
        return;
}
