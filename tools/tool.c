/* tool.c - what the sub-commands of `berth` share. */
#include "tool.h"

#include "policy/names.h"
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPTIONS_MAX 32
#define LINE_BYTES  8192

/* What getopt_long() calls an option: --help and -h; a command's own from FIRST_LONG on. */
enum { HELP = 'h', FIRST_LONG = 256 };

void tool_error(const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    for (char *c = line; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    fflush(stdout);
    fprintf(stderr, "berth: %s\n", line);
}

void tool_print_help(const struct tool_command *command)
{
    int width = (int)strlen("--help");

    for (size_t i = 0; i < command->option_count; i++) {
        const struct tool_option *option = &command->options[i];
        size_t length = 2 + strlen(option->name);

        if (option->argument)
            length += 1 + strlen(option->argument);
        if ((int)length > width)
            width = (int)length;
    }
    printf("usage: berth %s %s\n\n%s.\n\n", command->name, command->usage, command->summary);
    for (size_t i = 0; i < command->option_count; i++) {
        const struct tool_option *option = &command->options[i];
        char left[64];

        snprintf(left, sizeof(left), "--%s%s%s", option->name, option->argument ? " " : "",
                 option->argument ? option->argument : "");
        printf("  %-*s  %s", width, left, option->help);
        if (option->letter)
            printf(" (-%c)", option->letter);
        putchar('\n');
    }
    printf("  %-*s  %s\n\n%s", width, "--help", "this text", command->text);
}

/* Complain about an option that getopt_long() did not take; c is what it returned. */
static int refuse_option(const struct tool_command *command, int c, char **argv)
{
    const char *known[OPTIONS_MAX];
    const char *nearest;
    char given[64];

    if (c == ':') {
        tool_error("%s: %s needs a value; see berth %s --help", command->name, argv[optind - 1],
                   command->name);
        return command->usage_exit;
    }
    /* optopt is the table's value of a long option, and the letter itself of a short one that is
     * unknown; of "-xy" optind still names the argument before. */
    if (optopt == HELP || optopt >= FIRST_LONG) {
        tool_error("%s: %s takes no value; see berth %s --help", command->name, argv[optind - 1],
                   command->name);
        return command->usage_exit;
    }
    for (size_t i = 0; i < command->option_count; i++)
        known[i] = command->options[i].name;
    known[command->option_count] = "help";
    if (optopt)
        snprintf(given, sizeof(given), "-%c", optopt);
    else
        snprintf(given, sizeof(given), "%.*s", (int)strcspn(argv[optind - 1], "="),
                 argv[optind - 1]);
    nearest = names_nearest(given + strspn(given, "-"), known, command->option_count + 1);
    if (nearest)
        tool_error("%s: unknown option %s; did you mean --%s?", command->name, given, nearest);
    else
        tool_error("%s: unknown option %s; see berth %s --help", command->name, given,
                   command->name);
    return command->usage_exit;
}

/* What getopt_long() says for an option's letter becomes what it says for its name. */
static int find_letter(const struct tool_command *command, int c)
{
    for (size_t i = 0; i < command->option_count; i++) {
        if (c == command->options[i].letter && c)
            return FIRST_LONG + (int)i;
    }
    return c;
}

int tool_parse_options(const struct tool_command *command, int argc, char **argv,
                       int (*set)(void *state, size_t option, const char *value), void *state,
                       int *first)
{
    struct option table[OPTIONS_MAX + 2] = {{0}};
    char letters[3 + 2 * OPTIONS_MAX + 1];
    size_t count = command->option_count, used;
    int c, status;

    used = (size_t)sprintf(letters, command->stops ? "+:h" : ":h");
    for (size_t i = 0; i < count; i++) {
        const struct tool_option *option = &command->options[i];

        table[i].name = option->name;
        table[i].has_arg = option->argument ? required_argument : no_argument;
        table[i].val = FIRST_LONG + (int)i;
        if (option->letter)
            used += (size_t)sprintf(letters + used, "%c%s", option->letter,
                                    option->argument ? ":" : "");
    }
    table[count] = (struct option){"help", no_argument, NULL, HELP};
    opterr = 0;
    optind = 0;
    for (;;) {
        c = getopt_long(argc, argv, letters, table, NULL);
        if (c == -1)
            break;
        if (c == HELP) {
            tool_print_help(command);
            return tool_finish_output(TOOL_OK);
        }
        c = find_letter(command, c);
        if (c < FIRST_LONG)
            return refuse_option(command, c, argv);
        status = set(state, (size_t)(c - FIRST_LONG), optarg);
        if (status != TOOL_OPTIONS_GO_ON)
            return status;
    }
    *first = optind;
    return TOOL_OPTIONS_GO_ON;
}

int tool_set_given(void *state, size_t option, const char *value)
{
    int *given = state;

    (void)value;
    given[option] = 1;
    return TOOL_OPTIONS_GO_ON;
}

int tool_finish_output(int status)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    tool_error("standard output: %s; not everything was written",
               errno ? strerror(errno) : "a write failed");
    return TOOL_FAILED;
}
