/* Strategy: write a file as the shim does, then damage one thing of it at a time and read it. What
 * is damaged must be refused by its own error or left out, never believed and never read past. The
 * document is held against its text letter by letter, with names that no JSON may contain as they
 * are. Files lie in a folder of the test's own; holes keep them small.
 */
#include "policy/json_write.h"
#include "shim/stats_report.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char path[64];
    struct stats_header header;
    struct stats_record records[2];
    char names[32];
};

static int fixture_begin(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int fd;

    assert_non_null(f);
    strcpy(f->path, "/tmp/berth-test-file-XXXXXX");
    fd = mkstemp(f->path);
    assert_true(fd >= 0);
    close(fd);
    f->header.magic = STATS_MAGIC;
    f->header.layout = STATS_LAYOUT;
    f->header.header_bytes = sizeof(f->header);
    f->header.record_bytes = sizeof(f->records[0]);
    f->header.pid = 4242;
    f->header.record_count = 2;
    f->header.names_used = sizeof(f->names);
    f->header.device_count = 2;
    f->header.budget_bytes[0] = 1000;
    f->header.budget_bytes[1] = STATS_NO_BUDGET;
    f->header.asked_bytes[0] = 1001;
    f->header.asked_bytes[1] = STATS_NO_BUDGET;
    f->header.needed_bytes[0] = 1002;
    f->header.needed_bytes[1] = 3;
    f->header.card_bytes[0] = STATS_NO_BUDGET;
    f->header.card_bytes[1] = STATS_NO_BUDGET;
    strcpy(f->header.program, "a\"b");
    strcpy(f->header.backend, "um");
    strcpy(f->header.driver, "libcuda.so.1 13000");
    memcpy(f->names, "first\0second\0", 13);
    for (size_t i = 0; i < 2; i++) {
        f->records[i].generation = 1;
        f->records[i].bytes = 10 + i;
        f->records[i].rank = 2;
        f->records[i].shape[0] = 5;
        f->records[i].shape[1] = 2 + i;
        f->records[i].evidence = STATS_EVIDENCE_CONTENT;
        strcpy(f->records[i].dtype, "I8");
    }
    f->records[0].name_bytes = 5;
    f->records[1].name_bytes = 6;
    f->records[1].name_offset = 6;
    *state = f;
    return 0;
}

static int fixture_end(void **state)
{
    struct fixture *f = *state;

    unlink(f->path);
    free(f);
    return 0;
}

static void write_at(int fd, const void *from, size_t bytes, off_t offset)
{
    assert_int_equal(pwrite(fd, from, bytes, offset), (ssize_t)bytes);
}

static void write_fixture(const struct fixture *f, off_t bytes)
{
    int fd = open(f->path, O_RDWR | O_TRUNC);

    assert_true(fd >= 0);
    write_at(fd, &f->header, sizeof(f->header), 0);
    write_at(fd, f->records, sizeof(f->records), STATS_RECORDS_OFFSET);
    write_at(fd, f->names, sizeof(f->names), STATS_NAMES_OFFSET);
    assert_int_equal(ftruncate(fd, bytes), 0);
    close(fd);
}

static int read_fixture(const struct fixture *f, struct stats_report *report)
{
    struct stats_view view;
    int err;

    memset(report, 0, sizeof(*report));
    err = stats_file_read(f->path, &view);
    if (err)
        return err;
    err = stats_report_make(&view, report);
    stats_file_release(&view);
    return err;
}

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

    memset(f->header.program, 'p', sizeof(f->header.program));
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

/* What is not in VRAM is at its home, object by object; more in VRAM than an object has is no less
 * than nothing elsewhere. */
static void test_weights_are_divided(void **state)
{
    struct fixture *f = *state;
    struct stats_report report;

    f->records[0].tier = STATS_TIER_HOST;
    f->records[0].resident_bytes = 3;
    f->records[1].tier = STATS_TIER_DISK;
    f->records[1].resident_bytes = 5;
    write_fixture(f, (off_t)STATS_FILE_BYTES);
    assert_int_equal(read_fixture(f, &report), 0);
    assert_int_equal(report.weights_host_bytes, 7);
    assert_int_equal(report.weights_disk_bytes, 6);
    stats_report_release(&report);

    f->records[0].resident_bytes = 1000;
    f->records[1].resident_bytes = 11;
    write_fixture(f, (off_t)STATS_FILE_BYTES);
    assert_int_equal(read_fixture(f, &report), 0);
    assert_int_equal(report.weights_host_bytes, 0);
    assert_int_equal(report.weights_disk_bytes, 0);
    stats_report_release(&report);
}

static void test_document(void **state)
{
    static const char expected[] =
        "{\n  \"version\": 1, \"pid\": 4242, \"program\": \"a\\\"b\", \"backend\": \"um\", "
        "\"driver\": \"libcuda.so.1 13000\",\n"
        "  \"budget_bytes\": {\"0\": 1000},\n"
        "  \"asked_bytes\": {\"0\": 1001}, \"needed_bytes\": {\"0\": 1002, \"1\": 3}, "
        "\"card_bytes\": {},\n"
        "  \"weights\": {\"total_bytes\": 21, \"named_bytes\": 20, \"resident_bytes\": 1, "
        "\"host_bytes\": 21, \"disk_bytes\": 0, \"peak_resident_bytes\": 19, "
        "\"ambiguous_bytes\": 12},\n"
        "  \"transfers\": {\"h2d_bytes\": 18, \"h2d_count\": 17, \"d2h_bytes\": 16, "
        "\"disk_read_bytes\": 15, \"dropped_bytes\": 14, \"written_back_bytes\": 13},\n"
        "  \"launches\": {\"count\": 24, \"resident\": 11, \"waited\": 10, \"stall_ns\": 9, "
        "\"overhead_ns\": 8},\n"
        "  \"steps\": {\"learned\": true, \"launches_per_step\": 7, \"count\": 6},\n"
        "  \"errors\": {\"driver_failures\": 5, \"refused\": 18446744073709551615},\n"
        "  \"link\": {\"bytes_per_s\": 4000000000, \"share\": 0.450000, \"span_ns\": 10},\n"
        "  \"paging\": {\"ended\": 1, \"step_bytes\": 25, \"starved_ns\": 26, "
        "\"unknown_launches\": 27, \"oversized_launches\": 29, \"captured_launches\": 28, "
        "\"sparse_launches\": 30},\n"
        "  \"policy\": {\"disk_bytes\": 10, \"elsewhere_bytes\": 11},\n"
        "  \"unknown_entry_points\": {\"cuNew\": 2, \"cuOdd\": 1},\n"
        "  \"parameters\": [{\"name\": \"first\", \"dtype\": \"I8\", \"shape\": [5, 2], "
        "\"bytes\": 10, \"tier\": \"vram\", \"evidence\": \"content\", \"place\": \"disk\", "
        "\"loads\": 1, \"evictions\": 2, \"h2d_bytes\": 3, \"stall_ns\": 4, \"touches\": 5, "
        "\"first_touch\": 1},\n"
        "                 {\"name\": \"second\", \"dtype\": \"I8\", \"shape\": [5, 3], "
        "\"bytes\": 11, \"tier\": \"vram\", \"evidence\": \"content\", \"place\": 3, \"loads\": 0, "
        "\"evictions\": 0, \"h2d_bytes\": 0, \"stall_ns\": 0}]\n}\n";
    struct fixture *f = *state;
    struct stats_header *h = &f->header;
    struct stats_report report;
    char *text = NULL;
    size_t bytes;
    FILE *out;

    h->weights_total_bytes = 21;
    h->weights_named_bytes = 20;
    h->weights_ambiguous_bytes = 12;
    h->resident_bytes = 1;
    h->peak_resident_bytes = 19;
    h->h2d_bytes = 18;
    h->h2d_count = 17;
    h->d2h_bytes = 16;
    h->disk_read_bytes = 15;
    h->dropped_bytes = 14;
    h->written_back_bytes = 13;
    h->shard[0].launches = 20;
    h->shard[STATS_SHARDS - 1].launches = 4;
    h->shard[1].launches_resident = 11;
    h->shard[2].launches_waited = 10;
    h->shard[3].stall_ns = 9;
    h->shard[4].overhead_ns = 8;
    h->step_learned = 1;
    h->launches_per_step = 7;
    h->steps = 6;
    h->driver_failures = 5;
    h->refused = UINT64_MAX;
    h->link_timed_bytes = 4;
    h->link_timed_ns = 1;
    h->first_load_ns = 5;
    h->last_load_ns = 15;
    h->paging_ended = 1;
    h->step_load_bytes = 25;
    h->shard[5].starved_ns = 26;
    h->shard[6].launches_unknown = 27;
    h->shard[7].launches_captured = 28;
    h->shard[8].launches_oversized = 29;
    h->shard[9].launches_sparse = 30;
    h->unknown[0].count = 2;
    h->unknown[9].count = 1;
    strcpy(h->unknown[0].name, "cuNew");
    strcpy(h->unknown[9].name, "cuOdd");
    f->records[0].loads = 1;
    f->records[0].evictions = 2;
    f->records[0].h2d_bytes = 3;
    f->records[0].stall_ns = 4;
    f->records[0].touches = 5;
    f->records[0].first_touch = 1;
    f->records[0].place = POLICY_DISK - POLICY_NOWHERE;
    f->records[1].touches = STATS_NOT_TOLD;
    f->records[1].place = 3 - POLICY_NOWHERE;
    h->touched = 1;
    write_fixture(f, (off_t)STATS_FILE_BYTES);
    assert_int_equal(read_fixture(f, &report), 0);
    out = open_memstream(&text, &bytes);
    assert_non_null(out);
    assert_int_equal(stats_report_write(&report, out), 0);
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
    stats_report_release(&report);
}

static void expect_share(struct fixture *f, uint64_t first_ns, uint64_t last_ns, uint64_t share)
{
    struct stats_report report;

    f->header.first_load_ns = first_ns;
    f->header.last_load_ns = last_ns;
    write_fixture(f, (off_t)STATS_FILE_BYTES);
    assert_int_equal(read_fixture(f, &report), 0);
    assert_int_equal(report.link_share, share);
    stats_report_release(&report);
}

/* Of 100 ns, loads of 300 bytes took 60 at the speed that timed ones had: 10 bytes in 2 ns. Without
 * time there is no share, and none is more than the whole. */
static void test_link_share(void **state)
{
    struct fixture *f = *state;

    f->header.h2d_bytes = 300;
    expect_share(f, 1000, 1100, 0); /* nothing was timed */
    f->header.link_timed_bytes = 10;
    f->header.link_timed_ns = 2;
    expect_share(f, 1000, 1100, STATS_SHARE_ONE * 6 / 10);
    expect_share(f, 1000, 1030, STATS_SHARE_ONE);
    expect_share(f, 1000, 1000, 0);
    expect_share(f, 1000, 0, 0);
}

static void expect_json_string(const char *given, size_t bytes, const char *expected)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    assert_non_null(out);
    json_write_string(out, given, bytes);
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
}

static void test_json_strings(void **state)
{
    (void)state;
    expect_json_string("", 0, "\"\"");
    expect_json_string("a\"b\\c/d", 7, "\"a\\\"b\\\\c/d\"");
    expect_json_string("\n\t\r\x01\x1f\x7f", 6, "\"\\n\\t\\u000d\\u0001\\u001f\\u007f\"");
    expect_json_string("a\0b", 3, "\"a\\u0000b\"");
    expect_json_string("\xc3\xbc\xe2\x82\xac\xf0\x9f\x90\x8b", 9,
                       "\"\xc3\xbc\xe2\x82\xac\xf0\x9f\x90\x8b\"");
    /* Cut short, overlong, a surrogate, a stray byte: one U+FFFD for each byte. */
    expect_json_string("\xe2\x82", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    expect_json_string("\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    expect_json_string("\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    expect_json_string("x\xffy", 3, "\"x\xef\xbf\xbdy\"");
}

static void test_export_replaces_whole_files(void **state)
{
    struct fixture *f = *state;
    struct stats_report report;
    struct stat before, after;
    int fd;

    write_fixture(f, (off_t)STATS_FILE_BYTES);
    assert_int_equal(read_fixture(f, &report), 0);
    fd = open(f->path, O_RDONLY); /* a reader of the old file keeps it */
    assert_int_equal(fstat(fd, &before), 0);
    assert_int_equal(stats_report_export(&report, f->path), 0);
    assert_int_equal(stat(f->path, &after), 0);
    assert_int_not_equal(before.st_ino, after.st_ino);
    assert_int_equal(fstat(fd, &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    close(fd);
    assert_int_equal(stats_report_export(&report, "/proc/nonexistent/x.json"), -ENOENT);
    assert_int_equal(stats_report_export(&report, "/tmp"), -EISDIR);
    stats_report_release(&report);
}

/* In a folder that others may write into, somebody has foreseen the name under which the document
 * is written first. */
static void test_export_follows_no_trap(void **state)
{
    struct fixture *f = *state;
    char trap[96], victim[96];
    struct stats_report report;
    struct stat status;

    write_fixture(f, (off_t)STATS_FILE_BYTES);
    assert_int_equal(read_fixture(f, &report), 0);
    snprintf(trap, sizeof(trap), "%s.%d.tmp", f->path, (int)getpid());
    snprintf(victim, sizeof(victim), "%s.victim", f->path);
    assert_int_equal(symlink(victim, trap), 0);
    assert_int_equal(stats_report_export(&report, f->path), 0);
    assert_int_equal(access(victim, F_OK), -1);
    assert_int_equal(lstat(f->path, &status), 0);
    assert_true(S_ISREG(status.st_mode));
    stats_report_release(&report);
}

/* A pipe stays one and gets the document. All of it fits in, so that nobody has to read meanwhile.
 */
static void test_export_into_a_pipe(void **state)
{
    struct fixture *f = *state;
    struct stats_report report;
    struct stat status;
    char text[4096];
    ssize_t bytes;
    FILE *full;
    int fd;

    write_fixture(f, (off_t)STATS_FILE_BYTES);
    assert_int_equal(read_fixture(f, &report), 0);
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(mkfifo(f->path, 0600), 0);
    fd = open(f->path, O_RDWR | O_NONBLOCK);
    assert_true(fd >= 0);
    assert_int_equal(stats_report_export(&report, f->path), 0);
    assert_int_equal(lstat(f->path, &status), 0);
    assert_true(S_ISFIFO(status.st_mode));
    bytes = read(fd, text, sizeof(text));
    assert_true(bytes > 100 && text[0] == '{' && text[bytes - 2] == '}');
    close(fd);

    full = fopen("/dev/full", "w");
    assert_non_null(full);
    assert_int_equal(stats_report_write(&report, full), -ENOSPC);
    fclose(full);
    stats_report_release(&report);
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
        TEST(test_weights_are_divided),
        TEST(test_link_share),
        TEST(test_document),
        TEST(test_json_strings),
        TEST(test_export_replaces_whole_files),
        TEST(test_export_follows_no_trap),
        TEST(test_export_into_a_pipe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
