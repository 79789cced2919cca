/* stats_fixture.h - a statistics file with two records, for tests of its reading and of reports.
 *
 * A test changes the header and the records as it likes and writes them, as the shim lays them out,
 * into a file of its own in /tmp; holes keep that small.
 */
#ifndef BERTH_TEST_STATS_FIXTURE_H
#define BERTH_TEST_STATS_FIXTURE_H

#include "shim/stats_report.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char path[64];
    struct stats_header header;
    struct stats_record records[2];
    char names[32];
};

static inline int fixture_begin(void **state)
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

static inline int fixture_end(void **state)
{
    struct fixture *f = *state;

    unlink(f->path);
    free(f);
    return 0;
}

/* Inline, gcc 12 takes the records' bytes for no more than the first field that a test has set, and
 * warns. */
static __attribute__((noinline)) void write_at(int fd, const void *from, size_t bytes, off_t offset)
{
    assert_int_equal(pwrite(fd, from, bytes, offset), (ssize_t)bytes);
}

static inline void write_fixture(const struct fixture *f, off_t bytes)
{
    int fd = open(f->path, O_RDWR | O_TRUNC);

    assert_true(fd >= 0);
    write_at(fd, &f->header, sizeof(f->header), 0);
    write_at(fd, f->records, sizeof(f->records), STATS_RECORDS_OFFSET);
    write_at(fd, f->names, sizeof(f->names), STATS_NAMES_OFFSET);
    assert_int_equal(ftruncate(fd, bytes), 0);
    close(fd);
}

static inline int read_fixture(const struct fixture *f, struct stats_report *report)
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

#endif
