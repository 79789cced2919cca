/* Strategy: write a file as the shim does, then damage one thing of it at a time and read it. What
 * is damaged must be refused by its own error or left out, never believed and never read past. A
 * file's name is taken apart, right and wrong ones; whether its process lives is asked of our own
 * and of one that ends in steps.
 */
#include "tests/unit/stats_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void expect_error(const struct fixture *f, int expected)
{
    struct stats_report report;

    write_fixture(f, (off_t)STATS_FILE_BYTES);
    assert_int_equal(read_fixture(f, &report), expected);
}

static void test_whole(void **state)
{
    struct fixture *f = *state;
    struct stats_report report;

    write_fixture(f, (off_t)STATS_FILE_BYTES);
    assert_int_equal(read_fixture(f, &report), 0);
    assert_int_equal(report.parameter_count, 2);
    assert_string_equal(report.parameters[1].name, "second");
    stats_report_release(&report);
}

static void test_damaged_headers(void **state)
{
    struct fixture *f = *state;
    const struct stats_header good = f->header;

    f->header.magic ^= 1;
    expect_error(f, -ENOMSG);
    f->header = good;
    f->header.layout++;
    expect_error(f, -EPROTO);
    f->header = good;
    f->header.header_bytes--;
    expect_error(f, -EPROTO);
    f->header = good;
    f->header.record_bytes *= 2;
    expect_error(f, -EPROTO);
    f->header = good;
    f->header.record_count = STATS_RECORDS_MAX + 1;
    expect_error(f, -EBADMSG);
    f->header = good;
    f->header.names_used = STATS_NAMES_BYTES + 1;
    expect_error(f, -EBADMSG);
    f->header = good;
    f->header.device_count = STATS_DEVICES_MAX + 1;
    expect_error(f, -EBADMSG);
}

static void test_wrong_lengths(void **state)
{
    const off_t lengths[] = {0,
                             7,
                             8,
                             sizeof(struct stats_header) - 1,
                             sizeof(struct stats_header),
                             (off_t)STATS_FILE_BYTES - 1,
                             (off_t)STATS_FILE_BYTES + 1};
    struct fixture *f = *state;
    struct stats_report report;

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        write_fixture(f, lengths[i]);
        assert_int_equal(read_fixture(f, &report), lengths[i] < 8 ? -ENOMSG : -EBADMSG);
    }
}

static void test_unterminated_texts(void **state)
{
    struct fixture *f = *state;
    struct stats_report report;
    struct stats_view view;

    memset(f->header.program, 'p', sizeof(f->header.program));
    memset(f->header.export_path, 'e', sizeof(f->header.export_path));
    memset(f->header.driver, 'd', sizeof(f->header.driver));
    memset(f->header.backend, 'b', sizeof(f->header.backend));
    memset(f->records[0].dtype, 't', sizeof(f->records[0].dtype));
    memset(f->header.unknown[3].name, 'u', sizeof(f->header.unknown[3].name));
    f->header.unknown[3].count = 1;
    write_fixture(f, (off_t)STATS_FILE_BYTES);
    assert_int_equal(read_fixture(f, &report), 0);
    assert_int_equal(strlen(report.program), sizeof(report.program) - 1);
    assert_int_equal(strlen(report.driver), sizeof(report.driver) - 1);
    assert_int_equal(strlen(report.backend), sizeof(report.backend) - 1);
    assert_int_equal(strlen(report.parameters[0].dtype), sizeof(report.parameters[0].dtype) - 1);
    assert_int_equal(strlen(report.unknown[0].name), sizeof(report.unknown[0].name) - 1);
    stats_report_release(&report);
    assert_int_equal(stats_file_read(f->path, &view), 0);
    assert_int_equal(strlen(view.header->export_path), sizeof(view.header->export_path) - 1);
    stats_file_release(&view);
}

/* One record is damaged; the other one is still shown. */
static void expect_one_left_out(const struct fixture *f)
{
    struct stats_report report;

    write_fixture(f, (off_t)STATS_FILE_BYTES);
    assert_int_equal(read_fixture(f, &report), 0);
    assert_int_equal(report.parameter_count, 1);
    assert_string_equal(report.parameters[0].name, "second");
    stats_report_release(&report);
}

static void test_damaged_records(void **state)
{
    struct fixture *f = *state;
    const struct stats_record good = f->records[0];
    struct stats_report report;

    f->records[0].generation = 2;
    expect_one_left_out(f);
    f->records[0] = good;
    f->records[0].name_offset = sizeof(f->names);
    expect_one_left_out(f);
    f->records[0].name_offset = UINT32_MAX;
    expect_one_left_out(f);
    f->records[0] = good;
    f->records[0].name_bytes = sizeof(f->names);
    expect_one_left_out(f);
    f->records[0].name_bytes = UINT32_MAX;
    expect_one_left_out(f);

    f->records[0] = good;
    f->records[0].rank = 255;
    f->records[0].tier = 200;
    f->records[0].evidence = 200;
    write_fixture(f, (off_t)STATS_FILE_BYTES);
    assert_int_equal(read_fixture(f, &report), 0);
    assert_int_equal(report.parameters[0].rank, STATS_RANK_MAX);
    assert_int_equal(report.parameters[0].tier, STATS_TIER_HOST);
    assert_int_equal(report.parameters[0].evidence, STATS_EVIDENCE_NONE);
    stats_report_release(&report);
}

/* The record was released and used again between the two readings. */
static void test_record_changed_while_read(void **state)
{
    struct fixture *f = *state;
    const uint32_t generations[] = {3, 1};
    struct stats_view view = {
        .header = &f->header,
        .records = f->records,
        .names = f->names,
        .record_count = 2,
        .names_bytes = sizeof(f->names),
        .generations = generations,
    };
    struct stats_report report;

    assert_int_equal(stats_report_make(&view, &report), 0);
    assert_int_equal(report.parameter_count, 1);
    assert_string_equal(report.parameters[0].name, "second");
    stats_report_release(&report);
}

static void test_names_of_files(void **state)
{
    char path[STATS_PATH_BYTES];

    (void)state;
    stats_file_path(path, 1000, 4242);
    assert_string_equal(path, "/dev/shm/berth-1000-4242");
    assert_int_equal(stats_file_pid("berth-1000-4242", 1000), 4242);
    assert_int_equal(stats_file_pid("berth-1000-4242", 1001), 0);
    assert_int_equal(stats_file_pid("berth-1000-4242.json", 1000), 0);
    assert_int_equal(stats_file_pid("berth-1000-04242", 1000), 0);
    assert_int_equal(stats_file_pid("berth-1000--1", 1000), 0);
    assert_int_equal(stats_file_pid("berth- 1000-4242", 1000), 0);
    assert_int_equal(stats_file_pid("another", 1000), 0);
}

static void test_processes(void **state)
{
    struct stats_header header = {.pid = getpid(), .pid_namespace = stats_namespace("pid")};

    (void)state;
    assert_int_equal(stats_process_parent(getpid()), getppid());
    header.start_ticks = stats_process_start(getpid());
    assert_int_not_equal(header.start_ticks, 0);
    assert_int_equal(stats_process_find(&header), STATS_PROCESS_LIVES);
    header.start_ticks++; /* an earlier process with our pid */
    assert_int_equal(stats_process_find(&header), STATS_PROCESS_GONE);
    header.pid_namespace++; /* a container's: it cannot be asked about */
    assert_int_equal(stats_process_find(&header), STATS_PROCESS_LIVES);
    assert_int_equal(stats_process_start(0x7ffffff0), 0);
}

static void *wait_for_ever(void *arg)
{
    for (;;)
        pause();
    return arg;
}

static int has_state(pid_t pid, const char *state)
{
    char path[32], text[256] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof(text), file));
    fclose(file);
    return strstr(text, state) != NULL;
}

/* /proc says of a process that it is a zombie as soon as its first thread has ended. */
static void test_first_thread_ended(void **state)
{
    struct stats_header header = {.pid_namespace = stats_namespace("pid")};
    enum stats_process found;
    siginfo_t info;
    pid_t pid;

    (void)state;
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, wait_for_ever, NULL))
            _exit(1);
        pthread_exit(NULL);
    }
    header.pid = pid;
    header.start_ticks = stats_process_start(pid);
    while (!has_state(pid, ") Z "))
        sched_yield();
    found = stats_process_find(&header);
    kill(pid, SIGKILL); /* before anything can fail here */
    assert_int_equal(found, STATS_PROCESS_LIVES);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(stats_process_find(&header), STATS_PROCESS_UNREAPED);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(stats_process_find(&header), STATS_PROCESS_GONE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_begin, fixture_end)
    const struct CMUnitTest tests[] = {
        TEST(test_whole),
        TEST(test_damaged_headers),
        TEST(test_wrong_lengths),
        TEST(test_unterminated_texts),
        TEST(test_damaged_records),
        TEST(test_record_changed_while_read),
        TEST(test_names_of_files),
        TEST(test_processes),
        TEST(test_first_thread_ended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
