/* launch.h - running a program as a child that nobody notices to be one.
 *
 * Signals reach it once, its end is ours: the same exit code or the same signal. Its counters file
 * is read between its end and the moment when its pid may be given to another process.
 */
#ifndef BERTH_TOOLS_LAUNCH_H
#define BERTH_TOOLS_LAUNCH_H

struct launch {
    const char *name;       /* as it was typed, for errors */
    const char *path;       /* what is executed */
    char **argv;            /* of the program, with its name first, NULL last */
    const char *stats_path; /* where to leave the statistics as JSON; NULL for nowhere */
};

/* Run it to its end.
 *
 * returns  the program's exit code; TOOL_NOT_FOUND, TOOL_NOT_EXECUTABLE or TOOL_RUN_FAILED and an
 *          error where it could not be started. Does not return where a signal ended the program
 */
int launch_program(const struct launch *launch);

#endif
