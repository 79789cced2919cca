/* main.c - the `berth` command: which sub-command is meant. */
#include "tool.h"

#include "policy/names.h"
#include <string.h>

static const struct tool_command *const g_commands[] = {&tool_run,  &tool_stats, &tool_inspect,
                                                        &tool_plan, &tool_check, &tool_offload};
#define COMMANDS (sizeof(g_commands) / sizeof(g_commands[0]))

static void print_help(FILE *out)
{
    fputs("usage: berth COMMAND [OPTIONS]\n\n"
          "Runs unmodified CUDA programs whose models are larger than the GPU's memory.\n\n",
          out);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-9s %s\n", g_commands[i]->name, g_commands[i]->summary);
    fputs("\n  --help     this text; berth COMMAND --help for one command\n"
          "  --version  the version\n\n"
          "Example: give a program 8 GiB of the first GPU for its weights, then look at it.\n\n"
          "  berth run --max-memory 0=8GiB -- python generate.py\n"
          "  berth stats\n",
          out);
}

static int refuse_command(const char *name)
{
    const char *known[COMMANDS];
    const char *nearest;

    for (size_t i = 0; i < COMMANDS; i++)
        known[i] = g_commands[i]->name;
    nearest = names_nearest(name, known, COMMANDS);
    if (nearest)
        tool_error("unknown command %s; did you mean %s?", name, nearest);
    else
        tool_error("unknown command %s; see berth --help", name);
    return TOOL_USAGE;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return TOOL_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return tool_finish_output(TOOL_OK);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("berth %s\n", BERTH_VERSION);
        return tool_finish_output(TOOL_OK);
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[1], g_commands[i]->name) == 0)
            return g_commands[i]->run(g_commands[i], argc - 1, argv + 1);
    }
    return refuse_command(argv[1]);
}
