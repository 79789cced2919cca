/* Strategy: a checkpoint that this process has open, and uploads from the heap into allocations on
 * a fake driver. What became of them is read as a list, "name+offset@place,bytes", one entry for
 * each object; the statistics say what stayed ambiguous. Two of the tensors are twins, and one is
 * zeros. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint.h"
#include "checkpoints.h"
#include "object.h"
#include "range.h"
#include "tests/unit/checkpoint_file.h"
#include "tests/unit/fake_allocation.h"
#include "upload.h"

#define TENSORS 10u
#define BIG     400000u
#define PART    100000u

static char g_path[] = "/tmp/berth-content-XXXXXX";
static const uint64_t g_bytes[TENSORS] = {BIG, 5000, 5000, 3000, 2000, BIG, 1500, 3000, 24, 900};
static uint64_t g_offset[TENSORS];
static unsigned char *g_file;
static uint64_t g_file_bytes;

/* From memory of its own, which is gone when this returns. */
static void upload_bytes(CUdeviceptr dst, const void *bytes, size_t count)
{
    void *copy = malloc(count);

    memcpy(copy, bytes, count);
    upload_record(dst, copy, count);
    free(copy);
}

static void upload(CUdeviceptr dst, unsigned tensor, size_t from, size_t bytes)
{
    upload_bytes(dst, g_file + g_offset[tensor] + from, bytes);
}

static void noise(unsigned char *to, size_t bytes, uint64_t seed)
{
    for (size_t i = 0; i < bytes; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        to[i] = (unsigned char)(seed >> 56);
    }
}

static void upload_noise(CUdeviceptr dst, size_t bytes)
{
    unsigned char *other = malloc(bytes);

    noise(other, bytes, dst);
    upload_record(dst, other, bytes);
    free(other);
}

/* Nothing is named before there is a checkpoint; then all that it explains is, whatever came first.
 */
static void test_late_checkpoint(void **state)
{
    CUdeviceptr p = take(BIG), q = take(BIG);
    int fd;

    (void)state;
    for (size_t i = 0; i < 12; i++) /* all that is open is looked through seldom by now */
        upload_noise(take(2 << 20), 2 << 20);
    upload(q, 5, 0, BIG);
    upload(p + PART, 0, PART, PART);
    upload(p, 0, 0, PART);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT), "?+0@0,200000");
    assert_string_equal(objects_of(q, STATS_EVIDENCE_CONTENT), "?+0@0,400000");
    fd = open(g_path, O_RDONLY);
    assert_true(fd >= 0);
    upload_noise(take(1 << 20), 1 << 20); /* what is new is looked at, but not at each upload */
    assert_string_equal(objects_of(q, STATS_EVIDENCE_CONTENT), "?+0@0,400000");
    upload_noise(take(1 << 20), 1 << 20);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT), "t0+0@0,200000");
    assert_string_equal(objects_of(q, STATS_EVIDENCE_CONTENT), "t5+0@0,400000");
    close(fd); /* it is known by now */
    upload(p + 3 * PART, 0, 3 * PART, PART);
    upload(p + 2 * PART, 0, 2 * PART, PART);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT), "t0+0@0,400000");
    give(p);
    give(q);
}

/* What is no checkpoint is looked at once, and nothing of it stays open. */
static void test_no_checkpoint(void **state)
{
    char path[] = "/tmp/berth-content-XXXXXX";
    int fd = mkstemp(path);
    const struct known_file *file;
    struct stat status;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(write(fd, path, sizeof(path)), sizeof(path));
    file = checkpoints_know(path, status.st_ino, NULL);
    assert_non_null(file);
    assert_null(file->checkpoint);
    assert_int_equal(file->fd, -1);
    assert_ptr_equal(checkpoints_know(path, status.st_ino, NULL), file);
    close(fd);
    unlink(path);
}

static void test_backwards(void **state)
{
    CUdeviceptr p = take(BIG + 1000);

    (void)state;
    for (size_t at = BIG; at > 0; at -= PART / 2)
        upload(p + 1000 + at - PART / 2, 0, at - PART / 2, PART / 2);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT), "t0+0@1000,400000");
    give(p);
}

/* A piece is put to where it lies, not to where its bytes would belong. */
static void test_wrong_place(void **state)
{
    CUdeviceptr p = take(BIG), q = take(BIG);

    (void)state;
    upload(p + 2 * PART + 8, 0, 2 * PART, 70000);
    upload(p + 3 * PART, 5, 3 * PART, 70000);
    upload(p, 0, 0, PART);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT),
                        "t0+0@0,100000 ?+0@200008,70000 ?+0@300000,70000");
    upload(q, 5, 0, PART + 1);
    assert_string_equal(objects_of(q, STATS_EVIDENCE_CONTENT), "t5+0@0,100001");
    give(p);
    give(q);
}

/* Inputs come to one place again and again: it is theirs, also after it was written to. */
static void test_inputs(void **state)
{
    CUdeviceptr p = take(BIG);

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        upload_noise(p, 9000);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT), "?+0@0,9000");
    upload_mark_written(p, 8);
    upload_noise(p, 8999);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT), "?+0@0,9000!");
    upload_noise(p, 9000);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT), "?+0@0,9000");
    upload(p, 5, 0, 9000);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT), "t5+0@0,9000");
    upload_noise(p, 9001);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT), "?+0@0,9001");
    give(p);
}

/* What has been put over a piece is not the tensor's, whatever lay there. */
static void test_overwritten(void **state)
{
    static const char *const expected[] = {"t0+0@0,100000 ?+0@200000,70000",
                                           "t0+0@0,100000 ?+0@200000,70000!",
                                           "t0+0@0,100000 t0+200000@200000,70000"};
    CUdeviceptr p;

    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        p = take(BIG);
        upload(p + 2 * PART, 0, 2 * PART, 70000);
        if (how == 0)
            upload_noise(p + 2 * PART + 30000, 1000);
        else if (how == 1)
            upload_mark_written(p + 2 * PART + 69999, 1);
        upload(p, 0, 0, PART);
        assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT), expected[how]);
        give(p);
    }
    /* Memory that is handed out anew holds no pieces. */
    p = take(BIG);
    upload(p + 2 * PART, 0, 2 * PART, 70000);
    give(p);
    p = take(BIG);
    upload(p, 0, 0, PART);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT), "t0+0@0,100000");
    give(p);
}

static uint64_t ambiguous(void)
{
    return stats()->weights_ambiguous_bytes;
}

/* Nothing came before the twins that could tell, until their neighbour comes. */
static void test_twins(void **state)
{
    CUdeviceptr p = take(BIG), q = take(BIG);
    uint64_t peak;

    (void)state;
    upload_noise(q, 70000);
    upload(q + PART, 6, 0, 1500); /* what was bound last is far from the twins */
    upload(p, 1, 0, 5000);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT), "?+0@0,5000");
    assert_int_equal(ambiguous(), 5000);
    upload(p + 8192, 3, 0, 3000); /* what follows t2 in the file */
    upload(p + 16384, 4, 0, 2000);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT),
                        "t2+0@0,5000 t3+0@8192,3000 t4+0@16384,2000");
    assert_int_equal(ambiguous(), 0);
    upload(p + 32768, 6, 0, 1500);
    upload(p + 40000, 1, 0, 5000);
    peak = stats()->weights_peak_ambiguous_bytes;
    assert_int_equal(ambiguous(), 0); /* t2 is there: it is the other one */
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT),
                        "t2+0@0,5000 t3+0@8192,3000 t4+0@16384,2000 "
                        "t6+0@32768,1500 t1+0@40000,5000");
    upload(p + 32768, 6, 0, 1500);
    upload(p + 50000, 2, 0, 5000);
    assert_int_equal(ambiguous(), 5000);
    give(p);
    assert_int_equal(ambiguous(), 0);
    assert_int_equal(stats()->weights_peak_ambiguous_bytes, peak > 5000 ? peak : 5000);
    give(q);
}

/* In parts, in any order, all of a twin stays ambiguous, not only what it begins with. */
static void test_twins_in_parts(void **state)
{
    static const unsigned orders[][3] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {0, 2, 1}};

    (void)state;
    for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
        CUdeviceptr p = take(BIG), q = take(BIG);

        upload(q, 6, 0, 1500); /* what was bound last is far from the twins */
        upload_noise(p + 5000, 3000);
        for (unsigned n = 0; n < 3; n++) {
            unsigned part = orders[i][n];

            upload(p + part * 2000, 1, part * 2000, part < 2 ? 2000 : 1000);
        }
        assert_int_equal(ambiguous(), 5000);
        upload_noise(p + 2000, 2000);
        assert_int_equal(ambiguous(), 3000);
        give(p);
        assert_int_equal(ambiguous(), 0);
        give(q);
    }
}

/* The same once more, and other values into the same memory. */
static void test_update(void **state)
{
    CUdeviceptr p = take(BIG);

    (void)state;
    upload(p, 0, 0, BIG);
    upload(p, 0, 0, BIG);
    upload(p + PART, 0, PART, PART);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT), "t0+0@0,400000");
    upload_noise(p + PART, PART);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT),
                        "t0+0@0,100000 ?+0@100000,100000 t0+200000@200000,200000");
    upload(p + PART, 0, PART, PART);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT), "t0+0@0,400000");
    give(p);
}

/* Tensors gathered with gaps: the gaps are nobody's. */
static void test_packed(void **state)
{
    unsigned char *packed = calloc(1, 8192);
    CUdeviceptr p = take(BIG);

    (void)state;
    memcpy(packed, g_file + g_offset[3], 3000);
    memcpy(packed + 3072, g_file + g_offset[4], 2000);
    upload_bytes(p, packed, 5072);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT), "t3+0@0,3000 t4+0@3072,2000");
    memset(packed, 0xee, 8192);
    memcpy(packed, g_file + g_offset[6], 1500);
    memcpy(packed + 1536, g_file + g_offset[7], 3000);
    memcpy(packed + 4608, g_file + g_offset[8], 24);
    memcpy(packed + 4864, g_file + g_offset[9], 900);
    upload_bytes(p + 8192, packed, 5764);
    assert_string_equal(objects_of(p, STATS_EVIDENCE_CONTENT),
                        "t3+0@0,3000 t4+0@3072,2000 t6+0@8192,1500 "
                        "t7+0@9728,3000 t8+0@12800,24 t9+0@13056,900");
    give(p);
    free(packed);
}

static int setup(void **state)
{
    int fd = mkstemp(g_path);
    int err;

    (void)state;
    if (fd < 0)
        return -1;
    g_file_bytes = checkpoint_file_write(g_path, g_bytes, TENSORS, g_offset);
    g_file = malloc(g_file_bytes);
    err = pread(fd, g_file, g_file_bytes, 0) != (ssize_t)g_file_bytes;
    for (size_t i = 0; i < TENSORS; i++)
        noise(g_file + g_offset[i], g_bytes[i], i == 2 ? 1 : i);
    memset(g_file + g_offset[7], 0, g_bytes[7]);
    err |= pwrite(fd, g_file, g_file_bytes, 0) != (ssize_t)g_file_bytes;
    close(fd);
    fake_budget(0, (uint64_t)1 << 30, (uint64_t)1 << 30);
    fake_context(0);
    stats_open("fake", "um", NULL);
    return err;
}

static int teardown(void **state)
{
    (void)state;
    stats_close();
    unlink(g_path);
    free(g_file);
    return g_fake.misuse;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_late_checkpoint), cmocka_unit_test(test_no_checkpoint),
        cmocka_unit_test(test_backwards),       cmocka_unit_test(test_wrong_place),
        cmocka_unit_test(test_inputs),          cmocka_unit_test(test_overwritten),
        cmocka_unit_test(test_twins),           cmocka_unit_test(test_update),
        cmocka_unit_test(test_packed),          cmocka_unit_test(test_twins_in_parts),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
