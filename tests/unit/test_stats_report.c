/* Strategy: write a file as the shim does, read it whole and make the report. Sums and shares are
 * held against numbers by hand; the document, and strings that no JSON may contain as they are,
 * against their text letter by letter. It is exported to where a file, a trap or a pipe lies.
 */
#include "policy/json_write.h"
#include "tests/unit/stats_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* What the program has freed is nowhere: while it runs it is not counted, and once it has ended it
 * is said what the weights were at most. */
static void test_freed_weights(void **state)
{
    struct fixture *f = *state;
    struct stats_report report;

    f->records[0].freed = 1;
    f->records[0].resident_bytes = 4;
    f->records[1].resident_bytes = 3;
    f->header.weights_total_bytes = 11;
    f->header.weights_vram_bytes = 3;
    f->header.weights_peak_total_bytes = 21;
    f->header.weights_peak_vram_bytes = 15;
    write_fixture(f, (off_t)STATS_FILE_BYTES);
    assert_int_equal(read_fixture(f, &report), 0);
    assert_true(report.parameters[0].is_freed && !report.parameters[1].is_freed);
    assert_int_equal(report.weights_allocated_bytes, 11);
    assert_int_equal(report.weights_total_bytes, 11);
    assert_int_equal(report.weights_vram_bytes, 3);
    assert_int_equal(report.weights_host_bytes, 8);
    stats_report_release(&report);

    f->header.ended = 1;
    write_fixture(f, (off_t)STATS_FILE_BYTES);
    assert_int_equal(read_fixture(f, &report), 0);
    assert_int_equal(report.weights_allocated_bytes, 11);
    assert_int_equal(report.weights_total_bytes, 21);
    assert_int_equal(report.weights_vram_bytes, 15);
    assert_int_equal(report.weights_host_bytes, 6);
    stats_report_release(&report);

    f->header.weights_peak_total_bytes = 11; /* nothing was freed: where it is now */
    write_fixture(f, (off_t)STATS_FILE_BYTES);
    assert_int_equal(read_fixture(f, &report), 0);
    assert_int_equal(report.weights_vram_bytes, 3);
    assert_int_equal(report.weights_host_bytes, 8);
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
        "\"host_bytes\": 10, \"disk_bytes\": 0, \"peak_resident_bytes\": 19, "
        "\"ambiguous_bytes\": 12, \"vram_bytes\": 2, \"allocated_bytes\": 21},\n"
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
        "\"bytes\": 11, \"tier\": \"vram\", \"evidence\": \"content\", \"place\": 3, "
        "\"freed\": true, \"loads\": 0, \"evictions\": 0, \"h2d_bytes\": 0, \"stall_ns\": 0}]\n}\n";
    struct fixture *f = *state;
    struct stats_header *h = &f->header;
    struct stats_report report;
    char *text = NULL;
    size_t bytes;
    FILE *out;

    h->weights_total_bytes = 21;
    h->weights_named_bytes = 20;
    h->weights_vram_bytes = 2;
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
    f->records[1].freed = 1;
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
        TEST(test_weights_are_divided),
        TEST(test_freed_weights),
        TEST(test_link_share),
        TEST(test_document),
        TEST(test_json_strings),
        TEST(test_export_replaces_whole_files),
        TEST(test_export_follows_no_trap),
        TEST(test_export_into_a_pipe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
