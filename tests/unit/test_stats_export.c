/* Strategy: a child that counts ends in each of the ways that decide who writes its JSON: it, the
 * launcher that waits for it, or nobody. */
#include "shim/log.h"
#include "shim/stats.h"
#include "tests/unit/stats_child.h"

#include <stdlib.h>
#include <string.h>

static char g_export[64];

static void set_pid_variable(const char *variable, pid_t pid)
{
    char text[16];

    snprintf(text, sizeof(text), "%d", (int)pid);
    setenv(variable, text, 1);
}

static void export_alone_body(void)
{
    stats_open("", "um", g_export);
    stats_close();
    CHECK(access(g_export, F_OK) == 0);
}

static void export_relative_body(void)
{
    CHECK(chdir("/tmp") == 0);
    stats_open("", "um", g_export + strlen("/tmp/"));
    CHECK(chdir("/") == 0);
    stats_close();
    CHECK(access(g_export, F_OK) == 0);
}

static void export_by_launcher_body(void)
{
    char path[STATS_PATH_BYTES];

    set_pid_variable(STATS_LAUNCHER_VARIABLE, getppid());
    set_pid_variable(STATS_PID_VARIABLE, getpid());
    stats_open("", "um", g_export);
    stats_close();
    own_path(path);
    CHECK(access(path, F_OK) == 0); /* for the launcher */
    CHECK(access(g_export, F_OK) != 0);
    CHECK(unlink(path) == 0);
}

static void export_launcher_gone_body(void)
{
    char path[STATS_PATH_BYTES];

    set_pid_variable(STATS_LAUNCHER_VARIABLE, getppid() + 1);
    set_pid_variable(STATS_PID_VARIABLE, getpid());
    stats_open("", "um", g_export);
    stats_close();
    own_path(path);
    CHECK(access(path, F_OK) != 0);
    CHECK(access(g_export, F_OK) == 0);
}

static void export_grandchild_body(void)
{
    char path[STATS_PATH_BYTES];

    set_pid_variable(STATS_LAUNCHER_VARIABLE, getppid());
    set_pid_variable(STATS_PID_VARIABLE, getppid());
    stats_open("", "um", g_export);
    stats_close();
    own_path(path);
    CHECK(access(path, F_OK) != 0);
    CHECK(access(g_export, F_OK) != 0);
}

static void export_impossible_body(void)
{
    stats_open("", "um", "/nonexistent/folder/stats.json");
    log_set_level(LOG_OFF);
    stats_close();
}

static void test_export(void **state)
{
    void (*const bodies[])(void) = {
        export_alone_body,         export_relative_body,   export_by_launcher_body,
        export_launcher_gone_body, export_grandchild_body, export_impossible_body,
    };

    (void)state;
    snprintf(g_export, sizeof(g_export), "/tmp/berth-test-stats-%d.json", (int)getpid());
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        in_child(bodies[i]);
        unlink(g_export);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_export),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
