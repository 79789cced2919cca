/* Strategy: count into a real file in /dev/shm and read it back as another process would, through
 * stats_file_read(). What must survive is forced: a fork's child that goes on counting, a process
 * that is killed, a file system with no room (RLIMIT_FSIZE), threads that all count at once,
 * records that are used again. Each test runs in a child of its own, for the writer has one state
 * for each process; the child's exit code carries its verdict.
 */
#include "shim/stats.h"
#include "shim/stats_report.h"
#include "tests/unit/stats_child.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void read_own(struct stats_view *view, struct stats_report *report)
{
    char path[STATS_PATH_BYTES];

    own_path(path);
    CHECK(stats_file_read(path, view) == 0);
    CHECK(stats_report_make(view, report) == 0);
}

static void count_and_read_body(void)
{
    const uint64_t shape[] = {384, 1536};
    struct stats_view view;
    struct stats_report report;
    struct stats_record *record;

    stats_add(weights_total_bytes, 100); /* before there is a file */
    stats_unknown("cuEarly");
    stats_open("libcuda.so.1 13000", "um", NULL);
    stats_open("another", "off", NULL); /* nothing */
    atomic_store(&stats()->budget_bytes[0], 4096);
    atomic_store(&stats()->device_count, 2);
    stats_add(weights_total_bytes, 50);
    stats_sub(weights_total_bytes, 20);
    stats_set(resident_bytes, 30);
    stats_peak(&stats()->peak_resident_bytes, 70);
    stats_peak(&stats()->peak_resident_bytes, 60);
    atomic_fetch_add(&stats_shard()->launches, 3);
    stats_unknown("cuEarly");
    record = stats_record_create("a.weight", STATS_EVIDENCE_FILE, "F32", 2, shape, 64, 1);
    CHECK(record != NULL);
    record->loads = 12;
    record->tier = STATS_TIER_DISK;
    record->resident_bytes = 24;

    read_own(&view, &report);
    CHECK(report.pid == getpid());
    CHECK(strcmp(report.driver, "libcuda.so.1 13000") == 0);
    CHECK(strcmp(report.backend, "um") == 0);
    CHECK(strcmp(report.program, program_invocation_short_name) == 0);
    CHECK(report.device_count == 2 && report.budget_bytes[0] == 4096);
    CHECK(report.budget_bytes[1] == STATS_NO_BUDGET);
    CHECK(report.weights_total_bytes == 130 && report.weights_resident_bytes == 30);
    CHECK(report.weights_disk_bytes == 40 && report.weights_host_bytes == 0);
    CHECK(report.weights_peak_resident_bytes == 70);
    CHECK(report.launches_count == 3);
    CHECK(report.unknown_count == 1 && report.unknown[0].count == 2);
    CHECK(strcmp(report.unknown[0].name, "cuEarly") == 0);
    CHECK(report.parameter_count == 1 && report.parameters[0].loads == 12);
    CHECK(strcmp(report.parameters[0].name, "a.weight") == 0);
    CHECK(report.parameters[0].rank == 2 && report.parameters[0].shape[1] == 1536);
    CHECK(report.parameters[0].evidence == STATS_EVIDENCE_FILE);
    CHECK(strcmp(report.parameters[0].dtype, "F32") == 0);
    stats_report_release(&report);
    stats_file_release(&view);
    stats_close();
}

static void test_count_and_read(void **state)
{
    (void)state;
    in_child(count_and_read_body);
}

static void file_rights_body(void)
{
    char path[STATS_PATH_BYTES], victim[] = "/tmp/berth-test-XXXXXX";
    struct stat status;
    int fd;

    /* A link where our file is to be: it goes, what it names stays. */
    fd = mkstemp(victim);
    CHECK(fd >= 0 && write(fd, "kept", 4) == 4);
    own_path(path);
    CHECK(symlink(victim, path) == 0);
    umask(0);
    stats_open("", "um", NULL);
    CHECK(lstat(path, &status) == 0 && S_ISREG(status.st_mode));
    CHECK((status.st_mode & 07777) == 0600);
    CHECK((uint64_t)status.st_size == STATS_FILE_BYTES);
    CHECK(status.st_blocks * 512 < 1 << 20); /* sparse */
    CHECK(fstat(fd, &status) == 0 && status.st_size == 4);
    unlink(victim);
    stats_close();
    CHECK(lstat(path, &status) != 0 && errno == ENOENT);
}

static void test_file_rights(void **state)
{
    (void)state;
    in_child(file_rights_body);
}

static void reuse_body(void)
{
    struct stats_record *first, *second, *longer;
    struct stats_view view;
    struct stats_report report;
    uint32_t names;

    stats_open("", "um", NULL);
    first = stats_record_create("name.one", STATS_EVIDENCE_NONE, "", 0, NULL, 1, 0);
    CHECK(first);
    first->h2d_bytes = 9;
    names = stats()->names_used;
    stats_record_release(first);
    stats_record_release(NULL);
    read_own(&view, &report);
    CHECK(report.parameter_count == 0);
    stats_report_release(&report);
    stats_file_release(&view);

    second = stats_record_create("name.two", STATS_EVIDENCE_NONE, "", 0, NULL, 2, 0);
    CHECK(second == first && stats()->record_count == 1 && stats()->names_used == names);
    CHECK(second->h2d_bytes == 0);
    stats_record_release(second);
    longer = stats_record_create("name.that.is.longer", STATS_EVIDENCE_NONE, "", 0, NULL, 3, 0);
    CHECK(longer == first && stats()->names_used == names + 20);
    read_own(&view, &report);
    CHECK(report.parameter_count == 1);
    CHECK(strcmp(report.parameters[0].name, "name.that.is.longer") == 0);
    stats_report_release(&report);
    stats_file_release(&view);
    stats_close();
}

static void test_records_are_used_again(void **state)
{
    (void)state;
    in_child(reuse_body);
}

/* A named parameter that was freed stays to be seen, and goes on when it comes again, even in
 * another shape. */
static void ended_body(void)
{
    const uint64_t before[] = {4, 2}, after[] = {16};
    struct stats_record *first, *again;
    struct stats_report report;
    struct stats_view view;

    stats_open("", "um", NULL);
    first = stats_record_create("a.weight", STATS_EVIDENCE_FILE, "F32", 2, before, 32, 0);
    CHECK(first);
    first->loads = 5;
    first->resident_bytes = 32;
    stats_record_release(first);
    read_own(&view, &report);
    CHECK(report.parameter_count == 1 && report.parameters[0].loads == 5);
    CHECK(report.parameters[0].resident_bytes == 32);
    stats_report_release(&report);
    stats_file_release(&view);

    again = stats_record_create("a.weight", STATS_EVIDENCE_CONTENT, "F16", 1, after, 16, 0);
    CHECK(again == first && stats()->record_count == 1);
    read_own(&view, &report);
    CHECK(report.parameter_count == 1 && report.parameters[0].loads == 5);
    CHECK(report.parameters[0].rank == 1 && report.parameters[0].shape[0] == 16);
    CHECK(report.parameters[0].bytes == 16 && report.parameters[0].resident_bytes == 0);
    CHECK(report.parameters[0].evidence == STATS_EVIDENCE_CONTENT);
    stats_report_release(&report);
    stats_file_release(&view);
    stats_close();
}

static void test_ended(void **state)
{
    (void)state;
    in_child(ended_body);
}

/* A tidy program frees its weights and ends: what they were is still to be seen. */
static void freed_body(void)
{
    struct stats_record *record, *twin, *again;
    struct stats_view view;
    struct stats_report report;

    stats_open("", "um", NULL);
    record = stats_record_create("a.weight", STATS_EVIDENCE_FILE, "F32", 0, NULL, 64, 0);
    twin = stats_record_create("a.weight", STATS_EVIDENCE_FILE, "F32", 0, NULL, 64, 0);
    CHECK(record && twin && record != twin);
    record->loads = 3;
    stats_set(weights_total_bytes, 128);
    stats_set(weights_peak_total_bytes, 128);
    stats_set(weights_named_bytes, 120);
    stats_set(weights_peak_named_bytes, 120);
    stats_record_release(record);
    stats_record_release(twin); /* one of a name is kept */
    stats_set(weights_total_bytes, 0);
    stats_set(weights_named_bytes, 0);
    read_own(&view, &report);
    CHECK(report.parameter_count == 1 && report.parameters[0].loads == 3);
    CHECK(report.parameters[0].is_freed);
    CHECK(report.weights_total_bytes == 0 && report.weights_named_bytes == 0); /* it lives */
    stats_report_release(&report);
    stats_file_release(&view);

    /* Another device's is another one; the same one goes on counting. */
    CHECK(stats_record_create("a.weight", STATS_EVIDENCE_FILE, "F32", 0, NULL, 64, 1) == twin);
    again = stats_record_create("a.weight", STATS_EVIDENCE_FILE, "F32", 0, NULL, 64, 0);
    CHECK(again == record && record->loads == 3 && !record->freed);
    stats_record_release(again);
    atomic_store(&stats()->ended, 1);
    read_own(&view, &report);
    CHECK(report.weights_total_bytes == 128 && report.weights_named_bytes == 120);
    CHECK(report.parameter_count == 2);
    stats_report_release(&report);
    stats_file_release(&view);
    stats_close();
}

static void test_freed_parameters_stay(void **state)
{
    (void)state;
    in_child(freed_body);
}

static void touches_body(void)
{
    struct stats_record *early, *late, *small;
    struct stats_view view;
    struct stats_report report;

    stats_open("", "um", NULL);
    early = stats_record_create("early", STATS_EVIDENCE_FILE, "F32", 0, NULL, 16, 0);
    late = stats_record_create("late", STATS_EVIDENCE_FILE, "F32", 0, NULL, 16, 0);
    small = stats_record_create("small", STATS_EVIDENCE_FILE, "F32", 0, NULL, 16, 0);
    CHECK(early && late && small);
    stats_record_count_touches(early, 1);
    stats_record_count_touches(small, 0);
    read_own(&view, &report);
    for (size_t i = 0; i < 3; i++) /* nobody looked at a launch so far */
        CHECK(report.parameters[i].touches == STATS_NOT_TOLD &&
              report.parameters[i].first_touch == STATS_NOT_TOLD);
    stats_report_release(&report);
    stats_file_release(&view);

    stats_record_first_touch(late);
    late->touches = 2;
    stats_record_first_touch(early);
    stats_record_first_touch(late);
    early->touches = 7;
    stats_record_count_touches(early, 0); /* counted once, it stays so */
    read_own(&view, &report);
    CHECK(report.parameters[0].touches == 7 && report.parameters[0].first_touch == 2);
    CHECK(report.parameters[1].touches == 2 && report.parameters[1].first_touch == 1);
    CHECK(report.parameters[2].touches == STATS_NOT_TOLD);
    stats_report_release(&report);
    stats_file_release(&view);

    stats_record_count_touches(small, 1);
    stats_record_merge(early, late); /* parts that the same launches touched */
    read_own(&view, &report);
    CHECK(report.parameter_count == 2);
    CHECK(report.parameters[0].touches == 7 && report.parameters[0].first_touch == 1);
    CHECK(report.parameters[1].touches == 0 && report.parameters[1].first_touch == 0);
    stats_report_release(&report);
    stats_file_release(&view);
    stats_close();
}

static void test_touches(void **state)
{
    (void)state;
    in_child(touches_body);
}

static void many_body(void)
{
    enum { RECORDS = 20000 }; /* several chunks of both tails */
    struct stats_view view;
    struct stats_report report;
    char name[64];

    stats_open("", "um", NULL);
    for (int i = 0; i < RECORDS; i++) {
        snprintf(name, sizeof(name), "model.layers.%d.weight", i);
        CHECK(stats_record_create(name, STATS_EVIDENCE_FILE, "F32", 0, NULL, (uint64_t)i, 0));
    }
    read_own(&view, &report);
    CHECK(report.parameter_count == RECORDS);
    CHECK(strcmp(report.parameters[RECORDS - 1].name, name) == 0);
    CHECK(report.parameters[RECORDS - 1].bytes == RECORDS - 1);
    stats_report_release(&report);
    stats_file_release(&view);
    stats_close();
}

static void test_many_records(void **state)
{
    (void)state;
    in_child(many_body);
}

static void fork_body(void)
{
    struct stats_record *record;
    struct stats_view view;
    struct stats_report report;
    char path[STATS_PATH_BYTES], child_path[STATS_PATH_BYTES];
    int status;
    pid_t pid;

    stats_open("", "um", NULL);
    record = stats_record_create("parent", STATS_EVIDENCE_FILE, "F32", 0, NULL, 8, 0);
    CHECK(record);
    stats_add(steps, 1);
    own_path(path);
    pid = fork();
    if (pid == 0) {
        stats_detach();
        stats_add(steps, 100);
        atomic_fetch_add(&stats_shard()->launches, 100);
        record->loads = 100; /* through a pointer from before the fork */
        stats_record_release(record);
        stats_close();
        own_path(child_path);
        CHECK(access(child_path, F_OK) != 0);
        stats_open("", "um", NULL); /* a child that uses the device itself */
        CHECK(access(child_path, F_OK) == 0);
        stats_record_release(record);
        CHECK(stats_record_create("child", STATS_EVIDENCE_FILE, "", 0, NULL, 8, 0));
        stats_close();
        CHECK(access(child_path, F_OK) != 0);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    read_own(&view, &report);
    CHECK(report.steps_count == 1 && report.launches_count == 0);
    CHECK(report.parameter_count == 1 && report.parameters[0].loads == 0);
    CHECK(strcmp(report.parameters[0].name, "parent") == 0);
    stats_report_release(&report);
    stats_file_release(&view);
    stats_close();
}

static void test_fork(void **state)
{
    (void)state;
    in_child(fork_body);
}

static void *count_many(void *state)
{
    for (int i = 0; i < 20000; i++) {
        struct stats_record *record;

        atomic_fetch_add_explicit(&stats_shard()->launches, 1, memory_order_relaxed);
        stats_add(h2d_bytes, 2);
        stats_peak(&stats()->peak_resident_bytes, (uint64_t)i);
        if (i % 100)
            continue;
        record = stats_record_create("anonymous@0x1000+0", STATS_EVIDENCE_NONE, "", 0, NULL, 1, 0);
        stats_unknown(i % 200 ? "cuOdd" : "cuEven");
        stats_record_release(record);
    }
    return state;
}

static void threads_body(void)
{
    enum { THREADS = 20 }; /* more than there are shards */
    pthread_t threads[THREADS];
    struct stats_view view;
    struct stats_report report;

    stats_open("", "um", NULL);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, count_many, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    read_own(&view, &report);
    CHECK(report.launches_count == THREADS * 20000);
    CHECK(report.transfers_h2d_bytes == THREADS * 40000);
    CHECK(report.weights_peak_resident_bytes == 19999);
    CHECK(report.parameter_count == 0 && view.record_count <= THREADS);
    CHECK(report.unknown_count == 2 && report.unknown[0].count == THREADS * 100);
    stats_report_release(&report);
    stats_file_release(&view);
    stats_close();
}

static void test_threads(void **state)
{
    (void)state;
    in_child(threads_body);
}

static void no_room_body(void)
{
    const struct rlimit limit = {1 << 20, 1 << 20};
    char path[STATS_PATH_BYTES];

    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    stats_open("", "um", NULL);
    own_path(path);
    CHECK(access(path, F_OK) != 0);
    stats_add(steps, 7);
    CHECK(stats()->steps == 7);
    CHECK(stats_record_create("still counted", STATS_EVIDENCE_NONE, "", 0, NULL, 1, 0));
    stats_close();
}

static void test_no_room(void **state)
{
    (void)state;
    in_child(no_room_body);
}

static void unknown_overflow_body(void)
{
    struct stats_view view;
    struct stats_report report;
    char name[128];

    stats_open("", "um", NULL);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "cuName%d", i);
        stats_unknown(name);
    }
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    stats_unknown(name);
    read_own(&view, &report);
    CHECK(report.unknown_count == STATS_UNKNOWN_MAX);
    CHECK(strcmp(report.unknown[STATS_UNKNOWN_MAX - 1].name, "(others)") == 0);
    CHECK(report.unknown[STATS_UNKNOWN_MAX - 1].count == 101 - (STATS_UNKNOWN_MAX - 1));
    stats_report_release(&report);
    stats_file_release(&view);
    stats_close();
}

static void test_unknown_overflow(void **state)
{
    (void)state;
    in_child(unknown_overflow_body);
}

/* Readable after the process was killed, and until its pid is taken again. */
static void test_killed(void **state)
{
    struct stats_view view;
    char path[STATS_PATH_BYTES];
    siginfo_t info;
    int ready[2];
    pid_t pid;
    char byte;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        stats_open("", "um", NULL);
        stats_add(steps, 5);
        CHECK(write(ready[1], "x", 1) == 1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    kill(pid, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    stats_file_path(path, geteuid(), pid);
    assert_int_equal(stats_file_read(path, &view), 0);
    assert_int_equal(view.header->steps, 5);
    assert_int_equal(stats_process_find(view.header), STATS_PROCESS_UNREAPED);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(stats_process_find(view.header), STATS_PROCESS_GONE);
    assert_int_equal(unlink(path), 0);
    stats_file_release(&view);
    close(ready[0]);
    close(ready[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count_and_read),
        cmocka_unit_test(test_file_rights),
        cmocka_unit_test(test_records_are_used_again),
        cmocka_unit_test(test_ended),
        cmocka_unit_test(test_freed_parameters_stay),
        cmocka_unit_test(test_touches),
        cmocka_unit_test(test_many_records),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_unknown_overflow),
        cmocka_unit_test(test_killed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
