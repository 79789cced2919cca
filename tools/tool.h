/* tool.h - what the sub-commands of `berth` share: their table, their options, their errors.
 *
 * A sub-command is one struct tool_command in a file of its own. An error is one line on standard
 * error, "berth: <what>: <where>; <what to do>", and never carries a control character that came
 * from a file or a name.
 */
#ifndef BERTH_TOOLS_TOOL_H
#define BERTH_TOOLS_TOOL_H

#include <stddef.h>
#include <stdio.h>

#define BERTH_VERSION "0.1.0"

enum tool_exit {
    TOOL_OK = 0,
    TOOL_REFUSED = 1, /* what was asked about is wrong; berth itself is well */
    TOOL_USAGE = 2,
    TOOL_FAILED = 125, /* berth's own failure, not the program's */
    TOOL_NOT_EXECUTABLE = 126,
    TOOL_NOT_FOUND = 127,
};

/* An option of a sub-command.
 *
 * name      without the dashes
 * argument  what --help calls its value; NULL where it takes none
 * help      one line
 * letter    for short, -o; 0 where there is none. Not h
 */
struct tool_option {
    const char *name;
    const char *argument;
    const char *help;
    char letter;
};

struct tool_command {
    const char *name;
    const char *summary; /* one line of `berth --help` */
    const char *usage;   /* what stands behind "berth name" */
    const char *text;    /* the rest of --help: paragraphs with examples */
    const struct tool_option *options;
    size_t option_count;
    int stops;      /* options end at the first other argument */
    int usage_exit; /* the exit code for wrong usage */
    int (*run)(const struct tool_command *command, int argc, char **argv);
};

extern const struct tool_command tool_run;
extern const struct tool_command tool_stats;
extern const struct tool_command tool_inspect;
extern const struct tool_command tool_plan;
extern const struct tool_command tool_check;
extern const struct tool_command tool_offload;

/* Print one line on standard error, "berth: " before it. Control characters become '?'. */
void tool_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Print a command's --help. */
void tool_print_help(const struct tool_command *command);

#define TOOL_OPTIONS_GO_ON (-1)

/* Read a command's options.
 *
 * argv     argv[0] is the command's name; gets the other arguments moved behind the options
 * set      is called for each option in order, with its index in the command's table and its value
 *          (NULL where it takes none); returns TOOL_OPTIONS_GO_ON, or the exit code to end with
 * state    is handed to set
 * first    the index in argv of the first argument that is no option
 * returns  TOOL_OPTIONS_GO_ON, or the exit code to end with: --help was given, or an option is
 * wrong and the error has been printed
 */
int tool_parse_options(const struct tool_command *command, int argc, char **argv,
                       int (*set)(void *state, size_t option, const char *value), void *state,
                       int *first);

/* For set, where no option takes a value: state is an array of int, one for each, and that of an
 * option that was given becomes 1. */
int tool_set_given(void *state, size_t option, const char *value);

/* Flush standard output. returns status, or TOOL_FAILED and an error where not all was written */
int tool_finish_output(int status);

#endif
