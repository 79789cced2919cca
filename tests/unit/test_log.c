/* Lines as they leave: standard error is a pipe while a test runs, and what comes out is compared.
 *
 * The recursion guard is tested through an interposed write(2), which is where a line within a line
 * comes from in a host program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

static int g_pipe[2];
static int g_stderr;
static int g_writes;         /* to standard error, since set_up() */
static int g_log_from_write; /* what the next write(2) does first */
static int g_interrupts;     /* how many writes fail with EINTR first */

/* In place of libc's, for this program and what it links. */
ssize_t write(int fd, const void *data, size_t bytes);
ssize_t write(int fd, const void *data, size_t bytes)
{
    if (fd == STDERR_FILENO) {
        g_writes++;
        if (g_log_from_write)
            log_error("inner", "from within");
        if (g_interrupts > 0) {
            g_interrupts--;
            errno = EINTR;
            return -1;
        }
    }
    return syscall(SYS_write, fd, data, bytes);
}

static int set_up(void **state)
{
    (void)state;
    fflush(stderr);
    g_stderr = dup(STDERR_FILENO);
    if (g_stderr < 0 || pipe2(g_pipe, O_NONBLOCK) || dup2(g_pipe[1], STDERR_FILENO) < 0)
        return -1;
    log_set_level(LOG_WARN);
    g_writes = 0;
    g_log_from_write = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dup2(g_stderr, STDERR_FILENO);
    close(g_stderr);
    close(g_pipe[0]);
    close(g_pipe[1]);
    return 0;
}

/* What has been written; standard error is the terminal's again, so that a failure shows. */
static const char *written(void)
{
    static char text[16384];
    ssize_t got = read(g_pipe[0], text, sizeof(text) - 1);

    dup2(g_stderr, STDERR_FILENO);
    text[got > 0 ? got : 0] = '\0';
    return text;
}

static void test_one_line_in_one_write(void **state)
{
    (void)state;
    log_warn("residency", "evict failed extent=%d res=%d", 12, 2);
    assert_string_equal(written(), "berth: warn residency: evict failed extent=12 res=2\n");
    assert_int_equal(g_writes, 1);
}

static void test_levels(void **state)
{
    (void)state;
    log_error("a", "1");
    log_info("a", "2");
    log_debug("a", "3");
    log_set_level(LOG_DEBUG);
    log_debug("a", "4");
    log_set_level(LOG_OFF);
    log_error("a", "5");
    log_set_level(LOG_ERROR);
    log_warn("a", "6");
    log_error("a", "7");
    assert_string_equal(written(), "berth: error a: 1\nberth: debug a: 4\nberth: error a: 7\n");
}

static void test_level_names(void **state)
{
    (void)state;
    assert_int_equal(log_parse_level("off"), LOG_OFF);
    assert_int_equal(log_parse_level("error"), LOG_ERROR);
    assert_int_equal(log_parse_level("warn"), LOG_WARN);
    assert_int_equal(log_parse_level("info"), LOG_INFO);
    assert_int_equal(log_parse_level("debug"), LOG_DEBUG);
    assert_int_equal(log_parse_level("loud"), LOG_WARN);
    assert_int_equal(log_parse_level(""), LOG_WARN);
    assert_int_equal(log_parse_level(NULL), LOG_WARN);
}

static void test_repeats_are_capped(void **state)
{
    const char *text;
    int lines = 0;

    (void)state;
    for (int i = 0; i < LOG_REPEATS * 3; i++)
        log_warn("repeat", "number %d", i);
    log_warn("repeat", "another place");
    text = written();
    assert_non_null(strstr(text, "number 19 (not repeated any more)\n"));
    assert_null(strstr(text, "number 20"));
    assert_non_null(strstr(text, "another place\n"));
    for (; *text; text++)
        lines += *text == '\n';
    assert_int_equal(lines, LOG_REPEATS + 1);
}

static void test_lines_not_wanted_are_not_counted(void **state)
{
    (void)state;
    for (int i = 0; i <= LOG_REPEATS; i++) {
        log_set_level(i < LOG_REPEATS ? LOG_WARN : LOG_DEBUG);
        log_debug("quiet", "number %d", i);
    }
    assert_string_equal(written(), "berth: debug quiet: number 20\n");
}

static void expect_end(const char *text, const char *end)
{
    assert_int_equal(strlen(text), LOG_LINE_BYTES);
    assert_string_equal(text + strlen(text) - strlen(end), end);
}

static void test_long_lines_are_cut(void **state)
{
    char argument[2 * LOG_LINE_BYTES];

    (void)state;
    memset(argument, 'x', sizeof(argument) - 1);
    argument[sizeof(argument) - 1] = '\0';
    for (int i = 1; i <= LOG_REPEATS; i++) {
        log_warn("long", "%s", argument);
        expect_end(written(), i < LOG_REPEATS ? "xxx...\n" : "xxx (not repeated any more)\n");
        dup2(g_pipe[1], STDERR_FILENO);
    }
}

static size_t format(char *out, size_t bytes, const char *text, ...)
{
    va_list args;
    size_t length;

    va_start(args, text);
    length = log_format(out, bytes, LOG_ERROR, "m", text, args);
    va_end(args);
    return length;
}

/* Every length around the end of the buffer: one newline, at the end, nothing after it. */
static void test_format_at_every_length(void **state)
{
    char out[40];
    char text[64];

    (void)state;
    for (size_t bytes = 8; bytes <= 32; bytes++) {
        for (size_t length = 0; length < 40; length++) {
            size_t got;
            char full[96];
            int whole;

            memset(text, 'y', length);
            text[length] = '\0';
            memset(out, '#', sizeof(out));
            got = format(out, bytes, "%s", text);
            whole = snprintf(full, sizeof(full), "berth: error m: %s", text);
            assert_true(got <= bytes);
            assert_int_equal(out[got - 1], '\n');
            assert_int_equal(out[bytes], '#');
            if ((size_t)whole < bytes)
                assert_int_equal(got, whole + 1);
            else
                assert_memory_equal(out + bytes - 4, "...\n", 4);
        }
    }
}

static void test_a_newline_stays_in_the_line(void **state)
{
    (void)state;
    log_warn("file", "name=%s", "a\nberth: warn fake: b");
    assert_string_equal(written(), "berth: warn file: name=a berth: warn fake: b\n");
}

static void test_a_line_within_a_line_is_dropped(void **state)
{
    (void)state;
    g_log_from_write = 1;
    log_warn("outer", "line");
    g_log_from_write = 0;
    log_warn("outer", "next");
    assert_string_equal(written(), "berth: warn outer: line\nberth: warn outer: next\n");
}

static void test_interrupted_write_is_tried_again(void **state)
{
    (void)state;
    g_interrupts = 2;
    log_warn("signal", "line");
    assert_string_equal(written(), "berth: warn signal: line\n");
    assert_int_equal(g_writes, 3);
}

static void test_errno_is_kept(void **state)
{
    (void)state;
    close(STDERR_FILENO);
    errno = EDOM;
    log_warn("errno", "to nowhere");
    assert_int_equal(errno, EDOM);
    written();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_line_in_one_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_levels, set_up, tear_down),
        cmocka_unit_test(test_level_names),
        cmocka_unit_test_setup_teardown(test_repeats_are_capped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lines_not_wanted_are_not_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_lines_are_cut, set_up, tear_down),
        cmocka_unit_test(test_format_at_every_length),
        cmocka_unit_test_setup_teardown(test_a_newline_stays_in_the_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_line_within_a_line_is_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_interrupted_write_is_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errno_is_kept, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
