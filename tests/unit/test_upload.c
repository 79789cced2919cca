/* Strategy: uploads from a mapped checkpoint into allocations on a fake driver, as programs do
 * them. What came out is read as a list, "name+offset@place,bytes", one entry for each object of
 * the allocation, and the statistics must agree with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "checkpoint.h"
#include "object.h"
#include "range.h"
#include "tests/unit/checkpoint_file.h"
#include "tests/unit/fake_allocation.h"
#include "upload.h"

#define PAGE 4096u

static char g_path[] = "/tmp/berth-upload-XXXXXX";
static const uint64_t g_bytes[] = {5000, 0, 3 * PAGE, 1, 200000};
static uint64_t g_offset[5];
static uint64_t g_file_bytes;
static char *g_map;

static void upload(CUdeviceptr dst, unsigned tensor, size_t from, size_t bytes)
{
    upload_record(dst, g_map + g_offset[tensor] + from, bytes);
}

static void test_one_each(void **state)
{
    CUdeviceptr big = take(300000), small = take(5000);
    uint64_t before = stats()->upload_bytes;

    (void)state;
    upload(big, 4, 0, 200000);
    upload(small, 0, 0, 5000); /* a plain allocation has names as well */
    assert_string_equal(objects_of(big, STATS_EVIDENCE_FILE), "t4+0@0,200000");
    assert_string_equal(objects_of(small, STATS_EVIDENCE_FILE), "t0+0@0,5000");
    assert_int_equal(stats()->upload_bytes, before + 205000);
    assert_int_equal(stats()->weights_named_bytes, 205000);
    give(big);
    give(small);
    assert_int_equal(stats()->weights_named_bytes, 0);
    assert_int_equal(stats()->weights_total_bytes, 0);
}

static void test_chunks(void **state)
{
    CUdeviceptr p = take(300000);

    (void)state;
    upload(p + 100, 4, 0, 70000);
    upload(p + 100 + 140000, 4, 140000, 60000);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_FILE),
                        "t4+0@100,70000 t4+140000@140100,60000");
    upload(p + 100 + 70000, 4, 70000, 70000);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_FILE), "t4+0@100,200000");
    upload(p + 100 + 1000, 4, 1000, 500); /* again */
    assert_string_equal(objects_of(p, STATS_EVIDENCE_FILE), "t4+0@100,200000");
    /* A piece that lies elsewhere than the tensor would is a slice of its own. */
    upload(p + 250000, 4, 1000, 500);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_FILE), "t4+0@100,200000 t4+1000@250000,500");
    give(p);
}

static void test_several_in_one_copy(void **state)
{
    CUdeviceptr p = take(300000);

    (void)state;
    upload_record(p, g_map + g_offset[0], g_file_bytes - g_offset[0]);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_FILE),
                        "t0+0@0,5000 t2+0@5000,12288 t3+0@17288,1 t4+0@17289,200000");
    /* From the middle of one to the middle of another, over what was there. */
    upload_record(p + 1000, g_map + g_offset[2] + 288, 12000 + 1 + 100);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_FILE),
                        "t0+0@0,1000 t2+288@1000,12000 t3+0@13000,1 t4+0@13001,100 "
                        "t2+8101@13101,4187 t3+0@17288,1 t4+0@17289,200000");
    give(p);
}

/* The header is nobody's: what it overwrites has lost its name. */
static void test_whole_file(void **state)
{
    CUdeviceptr p = take(300000);
    char want[128];

    (void)state;
    upload(p, 4, 0, 200000);
    upload_record(p, g_map, g_offset[0] + 10);
    snprintf(want, sizeof(want), "t0+0@%llu,10 t4+%llu@%llu,%llu", (unsigned long long)g_offset[0],
             (unsigned long long)g_offset[0] + 10, (unsigned long long)g_offset[0] + 10,
             200000 - (unsigned long long)g_offset[0] - 10);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_FILE), want);
    give(p);
}

static void test_anonymous(void **state)
{
    static char buffer[1000];
    CUdeviceptr p = take(100000);

    (void)state;
    upload_record(p, buffer, 1000);
    upload_record(p + 1000, buffer, 500);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_FILE), "?+0@0,1500");
    upload(p + 700, 3, 0, 1);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_FILE), "?+0@0,700 t3+0@700,1 ?+0@701,799");
    upload_record(p + 600, buffer, 200);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_FILE), "?+0@0,1500");
    give(p);
}

/* Pages that the process has changed are not named; what lies around them is. */
static void test_modified_page(void **state)
{
    CUdeviceptr p = take(300000);
    int fd = open(g_path, O_RDONLY);
    char *map = mmap(NULL, g_file_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    size_t page = (g_offset[4] / PAGE + 2) * PAGE, in_tensor = page - g_offset[4];
    char want[128];

    (void)state;
    close(fd);
    map[page + 5] = 1;
    upload_record(p, map + g_offset[4], 200000);
    snprintf(want, sizeof(want), "t4+0@0,%zu ?+0@%zu,4096 t4+%zu@%zu,%zu", in_tensor, in_tensor,
             in_tensor + PAGE, in_tensor + PAGE, 200000 - in_tensor - PAGE);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_FILE), want);
    munmap(map, g_file_bytes);
    give(p);
}

static void test_reused_address(void **state)
{
    CUdeviceptr p = take(300000), q;

    (void)state;
    upload(p, 4, 0, 200000);
    give(p);
    q = take(300000);
    assert_string_equal(objects_of(q, STATS_EVIDENCE_FILE), "");
    upload(q, 2, 0, 3 * PAGE);
    assert_string_equal(objects_of(q, STATS_EVIDENCE_FILE), "t2+0@0,12288");
    give(q);
}

/* A copy that ends outside, or begins nowhere, defines what lies inside. */
static void test_outside(void **state)
{
    CUdeviceptr p = take(100000), q = take(100000);

    (void)state;
    upload(p + 99000, 4, 0, 200000);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_FILE), "t4+0@99000,1000");
    assert_string_equal(objects_of(q, STATS_EVIDENCE_FILE), "");
    upload(12345, 4, 0, 100);
    upload_record(p, NULL, 0);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_FILE), "t4+0@99000,1000");
    give(p);
    give(q);
}

static void test_written(void **state)
{
    CUdeviceptr p = take(100000), q = take(100000);

    (void)state;
    assert_true(q > p);
    upload(p, 0, 0, 5000);
    upload(p + 5000, 2, 0, 5000);
    upload(q, 2, 0, 5000);
    upload(q + 6000, 0, 0, 100);
    upload_mark_written(p + 6000, q + 10 - (p + 6000));
    assert_string_equal(objects_of(p, STATS_EVIDENCE_FILE), "t0+0@0,5000 t2+0@5000,5000!");
    assert_string_equal(objects_of(q, STATS_EVIDENCE_FILE), "t2+0@0,5000! t0+0@6000,100");
    upload_mark_written(12345, 100);
    upload_mark_written(q, 0);
    give(p);
    give(q);
}

static int setup(void **state)
{
    int fd = mkstemp(g_path);

    (void)state;
    if (fd < 0)
        return -1;
    g_file_bytes = checkpoint_file_write(g_path, g_bytes, 5, g_offset);
    g_map = mmap(NULL, g_file_bytes, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    fake_budget(0, (uint64_t)1 << 30, (uint64_t)1 << 30);
    fake_context(0);
    stats_open("fake", "um", NULL);
    return g_map == MAP_FAILED;
}

static int teardown(void **state)
{
    (void)state;
    stats_close();
    unlink(g_path);
    return g_fake.misuse;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_each),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_several_in_one_copy),
        cmocka_unit_test(test_whole_file),
        cmocka_unit_test(test_anonymous),
        cmocka_unit_test(test_modified_page),
        cmocka_unit_test(test_reused_address),
        cmocka_unit_test(test_outside),
        cmocka_unit_test(test_written),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
