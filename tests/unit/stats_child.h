/* stats_child.h - children that count, for tests of the statistics' writer: it has one state for
 * each process.
 */
#ifndef BERTH_TEST_STATS_CHILD_H
#define BERTH_TEST_STATS_CHILD_H

#include "shim/stats_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* In children cmocka's assertions have nobody to report to: this ends the child instead. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static inline void in_child(void (*body)(void))
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        body();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static inline void own_path(char path[STATS_PATH_BYTES])
{
    stats_file_path(path, geteuid(), getpid());
}

#endif
