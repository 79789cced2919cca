/* Strategy: real files, mapped in every way that programs map them, asked about through the kernel
 * as it answers here. An ioctl() of this program's own stands in front of the real one, so that
 * each test runs a second time as on a kernel that has only /proc/self/maps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "provenance.h"
#include "tests/unit/checkpoint_file.h"

#define PAGE 4096u

static char g_folder[] = "/tmp/berth provenance XXXXXX"; /* blanks are part of the test */
static int g_old_kernel, g_asked;

/* The kernel of the second round does not know the question. */
int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    void *arg;

    va_start(args, request);
    arg = va_arg(args, void *);
    va_end(args);
    g_asked++;
    if (g_old_kernel) {
        errno = ENOTTY;
        return -1;
    }
    return (int)syscall(SYS_ioctl, fd, request, arg);
}

static const uint64_t g_bytes[] = {5000, 0, 3 * PAGE, 1, 40000};
static uint64_t g_offset[5];
static uint64_t g_file_bytes;

static const char *path_of(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%d-%s", g_folder, g_old_kernel, name);
    return path;
}

static const char *make_file(const char *name)
{
    const char *path = path_of(name);

    g_file_bytes = checkpoint_file_write(path, g_bytes, 5, g_offset);
    return path;
}

static char *map(const char *path, int protection, int flags, size_t bytes, off_t offset)
{
    int fd = open(path, O_RDWR);
    char *p;

    assert_true(fd >= 0);
    p = mmap(NULL, bytes, protection, flags, fd, offset);
    assert_ptr_not_equal(p, MAP_FAILED);
    close(fd); /* the mapping is all that is left */
    return p;
}

static void expect(const char *p, size_t bytes, uint64_t offset, size_t named_bytes)
{
    struct provenance where = {0};

    assert_int_equal(provenance_find(p, bytes, &where), 1);
    assert_int_equal(where.offset, offset);
    assert_int_equal(where.bytes, named_bytes);
    assert_int_equal(where.checkpoint->tensor_count, 5);
    assert_int_equal(where.checkpoint->files[where.file].bytes, g_file_bytes);
}

static void expect_unnamed(const void *p, size_t bytes, size_t unnamed_bytes)
{
    struct provenance where = {0};

    assert_int_equal(provenance_find(p, bytes, &where), 0);
    assert_int_equal(where.bytes, unnamed_bytes);
}

static int is_readable(const void *p, size_t bytes)
{
    struct provenance where;

    return !provenance_find(p, bytes, &where) && where.readable;
}

static size_t whole_pages(uint64_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

static void test_shared_and_private(void **state)
{
    static const int flags[] = {MAP_SHARED, MAP_PRIVATE, MAP_PRIVATE | MAP_POPULATE};
    const char *path = make_file("plain");

    (void)state;
    for (int i = 0; i < 3; i++) {
        char *p = map(path, PROT_READ, flags[i], g_file_bytes, 0);

        expect(p, 1, 0, 1);
        expect(p + g_offset[4] + 7, 100, g_offset[4] + 7, 100);
        assert_int_equal((unsigned char)p[g_offset[4]], g_offset[4] * 31 % 251);
        expect(p, g_file_bytes, 0, g_file_bytes);
        expect_unnamed(p, 0, 0);
        munmap(p, g_file_bytes);
        /* The kernel is asked each time: what has gone is not remembered. */
        p = mmap(p, whole_pages(g_file_bytes), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        expect_unnamed(p, 100, 100);
        munmap(p, g_file_bytes);
    }
    assert_true(g_asked > 0);
}

static void test_part_of_a_file(void **state)
{
    char *p = map(make_file("part"), PROT_READ, MAP_PRIVATE, 3 * PAGE, 2 * PAGE);

    (void)state;
    expect(p, 10, 2 * PAGE, 10);
    expect(p + PAGE + 5, PAGE, 3 * PAGE + 5, PAGE);
    munmap(p, 3 * PAGE);
}

/* An upload that runs on behind the mapping: the rest is asked for anew. */
static void test_end_of_a_mapping(void **state)
{
    size_t bytes =
        whole_pages(g_file_bytes = checkpoint_file_write(path_of("end"), g_bytes, 5, g_offset));
    char *room =
        mmap(NULL, bytes + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open(path_of("end"), O_RDONLY);

    (void)state;
    assert_ptr_not_equal(mmap(room, 2 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, PAGE),
                         MAP_FAILED);
    close(fd);
    expect(room + 100, 4 * PAGE, PAGE + 100, 2 * PAGE - 100);
    expect_unnamed(room + 2 * PAGE, PAGE, PAGE);
    munmap(room, bytes + 2 * PAGE);
}

/* A page that was written is no longer the file's; what is in front of it and behind it is. */
static void test_modified_pages(void **state)
{
    char *p = map(make_file("modified"), PROT_READ | PROT_WRITE, MAP_PRIVATE, g_file_bytes, 0);
    size_t bytes = g_file_bytes;

    (void)state;
    p[3 * PAGE + 17]++;
    p[4 * PAGE]++;
    p[7 * PAGE + PAGE - 1]++;
    expect(p, bytes, 0, 3 * PAGE);
    expect_unnamed(p + 3 * PAGE, bytes - 3 * PAGE, 2 * PAGE);
    expect_unnamed(p + 4 * PAGE + 100, bytes - 4 * PAGE - 100, PAGE - 100);
    expect(p + 5 * PAGE, bytes - 5 * PAGE, 5 * PAGE, 2 * PAGE);
    expect_unnamed(p + 7 * PAGE + 5, 10, 10);
    expect(p + 8 * PAGE, bytes - 8 * PAGE, 8 * PAGE, bytes - 8 * PAGE);
    munmap(p, bytes);
}

/* A file that was written through a shared mapping is still the file, with what it holds now. */
static void test_unlinked(void **state)
{
    const char *path = make_file("unlinked");
    char *p = map(path, PROT_READ, MAP_SHARED, g_file_bytes, 0);

    (void)state;
    expect(p, 100, 0, 100);
    unlink(path);
    expect_unnamed(p, 100, 100);
    munmap(p, g_file_bytes);
}

/* Another file under the same name: the mapping of the old one is not taken for the new one. */
static void test_replaced(void **state)
{
    const char *path = make_file("replaced");
    char *old = map(path, PROT_READ, MAP_SHARED, g_file_bytes, 0), *p, other[256];

    (void)state;
    expect(old, 100, 0, 100);
    strcpy(other, path);
    make_file("replacement");
    assert_int_equal(rename(path_of("replacement"), other), 0);
    expect_unnamed(old, 100, 100);
    p = map(other, PROT_READ, MAP_SHARED, g_file_bytes, 0);
    expect(p, 100, 0, 100);
    munmap(p, g_file_bytes);
    munmap(old, g_file_bytes);
}

/* The same file with other bytes: what its header said may no longer be true. */
static void test_changed_in_place(void **state)
{
    const char *path = make_file("changed");
    char *p = map(path, PROT_READ, MAP_SHARED, g_file_bytes, 0);
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 12345}};

    (void)state;
    expect(p, 100, 0, 100);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    expect_unnamed(p, 100, 100);
    munmap(p, g_file_bytes);
}

static void write_bytes(const char *path, const void *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    fclose(file);
}

static void test_no_checkpoints(void **state)
{
    static const char zeros[3 * PAGE];
    char refused[64] = {20, 0, 0, 0, 0, 0, 0, 0, '{', '"', 'a'};
    char stack[100], *heap = malloc(100), *p;

    (void)state;
    write_bytes(path_of("zeros"), zeros, sizeof(zeros));
    p = map(path_of("zeros"), PROT_READ, MAP_PRIVATE, sizeof(zeros), 0);
    expect_unnamed(p + 1, 100 * PAGE, 3 * PAGE - 1);
    munmap(p, sizeof(zeros));
    write_bytes(path_of("refused"), refused, sizeof(refused));
    p = map(path_of("refused"), PROT_READ, MAP_PRIVATE, sizeof(refused), 0);
    expect_unnamed(p, 10, 10);
    expect_unnamed(p, 10, 10);
    munmap(p, sizeof(refused));
    expect_unnamed(stack, sizeof(stack), sizeof(stack));
    expect_unnamed(heap, 100, 100);
    expect_unnamed(NULL, 100, 100);
    expect_unnamed(zeros, 8, 8); /* of this program's own file */
    free(heap);
}

/* Where the host may not read, nothing can be told by reading. */
static void test_readable(void **state)
{
    char *p = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_ptr_not_equal(p, MAP_FAILED);
    assert_int_equal(mprotect(p + PAGE, PAGE, PROT_NONE), 0);
    assert_true(is_readable(p, 100));
    assert_false(is_readable(p + PAGE, 100));
    munmap(p, 2 * PAGE);
    assert_false(is_readable(p, 100));
}

/* A program that closes what it does not know takes the list of mappings along. */
static void test_closed_descriptors(void **state)
{
    const char *path = make_file("closed");
    char *p = map(path, PROT_READ, MAP_SHARED, g_file_bytes, 0);
    int null;

    (void)state;
    expect(p, 100, 0, 100);
    null = open("/dev/null", O_RDONLY);
    for (int fd = 3; fd < null; fd++)
        dup2(null, fd);
    expect(p, 100, 0, 100);
    for (int fd = 3; fd < null; fd++)
        close(fd);
    expect(p + 8, 100, 8, 100);
    close(null);
    munmap(p, g_file_bytes);
}

/* The kernel is asked about the heap until it has shown where that is, and about what lies across
 * its end. A mapping is none of it. */
static void test_heap(void **state)
{
    char *p = sbrk(2 * PAGE), *end = sbrk(0), *q;

    (void)state;
    assert_ptr_not_equal(p, (void *)-1);
    expect_unnamed(p, PAGE, PAGE);
    g_asked = 0;
    expect_unnamed(p, PAGE, PAGE);
    expect_unnamed(end - PAGE, PAGE, PAGE);
    assert_true(is_readable(p, PAGE));
    assert_int_equal(g_asked, 0);
    expect_unnamed(end - PAGE, PAGE + 1, PAGE + 1);
    assert_true(g_asked > 0 || g_old_kernel);
    q = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(q, MAP_FAILED);
    assert_false(is_readable(q, PAGE));
    munmap(q, PAGE);
    assert_ptr_equal(sbrk(0), end);
    /* What the program gave back is asked about again. */
    assert_ptr_equal(sbrk(-(intptr_t)(2 * PAGE)), end);
    assert_false(is_readable(p + PAGE, PAGE));
}

static int begin(void **state)
{
    (void)state;
    return g_folder[0] && strstr(g_folder, "XXXXXX") && !mkdtemp(g_folder) ? -1 : 0;
}

static int second_round(void **state)
{
    (void)state;
    g_old_kernel = 1;
    return 0;
}

static int end(void **state)
{
    char command[256];

    (void)state;
    snprintf(command, sizeof(command), "rm -r '%s'", g_folder);
    return system(command);
}

#define TESTS                                                                                      \
    cmocka_unit_test(test_shared_and_private), cmocka_unit_test(test_part_of_a_file),              \
        cmocka_unit_test(test_end_of_a_mapping), cmocka_unit_test(test_modified_pages),            \
        cmocka_unit_test(test_unlinked), cmocka_unit_test(test_replaced),                          \
        cmocka_unit_test(test_changed_in_place), cmocka_unit_test(test_no_checkpoints),            \
        cmocka_unit_test(test_readable), cmocka_unit_test(test_closed_descriptors),                \
        cmocka_unit_test(test_heap)

int main(void)
{
    const struct CMUnitTest asked[] = {TESTS}, listed[] = {TESTS};
    int failed = cmocka_run_group_tests_name("by the ioctl", asked, begin, NULL);

    return failed + cmocka_run_group_tests_name("by the list", listed, second_round, end);
}
