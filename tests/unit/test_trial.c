/* Strategy: launches that are narrow for the object that they are given, over the real residency
 * and a fake driver whose events tell what the test wants to have measured. What a launch needs is
 * read off the use that it pins, and what becomes of it off the extents. */
#include "launch.h"
#include "layout.h"
#include "tests/unit/residency_bench.h"

#define NARROW      64u           /* threads */
#define WIDE        (1u << 20)    /* threads: as many as could read all of it */
#define LINK_MS     1.0f          /* what a load of one extent takes */
#define LOAD_MS     (5 * LINK_MS) /* what loading the large object would take */
#define LARGE       (5 * PAGE_BYTES)
#define LARGE_PAGES 5u
#define FAST_MS     0.02f /* the same, on a link that is faster than common ones */

enum {
    DEVICE_SPARSE,
    DEVICE_DENSE,
    DEVICE_UNTIMED,
    DEVICE_GONE,
    DEVICE_BUSY,
    DEVICE_SLOW,
    DEVICE_DOUBTED,
    DEVICE_ONE,
    DEVICE_GIVEN,
    DEVICE_LITTLE,
    DEVICE_UNKNOWN,
    DEVICE_FRESH,
    DEVICE_SILENT,
    DEVICE_THERE,
    DEVICE_BESIDE,
    DEVICE_STEP,
};

static float g_launch_ms; /* what a launch takes */
static _Atomic float g_load_ms = LINK_MS;
static _Atomic int g_silent; /* the driver tells nothing */

/* Functions are told apart by their address; each takes one pointer. */
static const char g_function[15];

static CUresult param_info(CUfunction function, size_t index, size_t *offset, size_t *bytes)
{
    (void)function;
    *offset = 0;
    *bytes = 8;
    return index ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

static CUresult elapsed(float *milliseconds, CUevent from, CUevent to)
{
    if (!from->timed || !to->timed || !from->alive || !to->alive || from->pending || to->pending ||
        (from->stream != to->stream && (from->stream->held || to->stream->held)))
        FAKE_MISUSE("time between events that do not belong together");
    if (g_silent)
        return CUDA_ERROR_NOT_READY;
    *milliseconds = from->stream->held ? g_launch_ms : g_load_ms * (float)(to->loads - from->loads);
    return CUDA_SUCCESS;
}

static CUfunction function(int i)
{
    return (CUfunction)(uintptr_t)&g_function[i];
}

static struct use *begin(const struct bench *b, int i, uint64_t threads)
{
    CUdeviceptr p = b->base;

    return launch_begin(function(i), (void *[]){&p}, NULL, threads, b->stream);
}

static size_t large_pages_there(const struct bench *b)
{
    size_t count = 0;

    for (size_t i = 0; i < LARGE_PAGES; i++)
        count += LOCKED(b->res, extent_is_present(b->range->extents[i]));
    return count;
}

/* Extents [from, to) are an uploaded object. */
static void define(const struct bench *b, size_t from, size_t to)
{
    range_write_lock();
    assert_int_equal(object_define(range_allocation_at(b->base), b->base + from * PAGE_BYTES,
                                   b->base + to * PAGE_BYTES, NULL, 0, STATS_EVIDENCE_NONE),
                     0);
    range_unlock();
}

static uint64_t link_bytes_per_ms(const struct bench *b)
{
    struct link_load speed = LOCKED(b->res, link_speed_get(&b->res->link));

    return speed.bytes * 1000000 / speed.ns;
}

/* Twenty extents of which eight fit, the first five of them one uploaded object, the last ten
 * another; and the link has been measured. */
static struct bench make(CUdevice device)
{
    struct bench b = bench_make(device, 20, HELD);

    g_load_ms = LINK_MS;
    define(&b, 0, LARGE_PAGES);
    define(&b, 10, 20);
    for (size_t i = 10; i < 18; i++) {
        launch(&b, i);
        fake_finish(b.stream);
    }
    WAIT_FOR_PAGER(b.res, LOCKED(b.res, link_speed_is_known(&b.res->link)));
    assert_int_equal(link_bytes_per_ms(&b), PAGE_BYTES);
    assert_int_equal(large_pages_there(&b), 0);
    return b;
}

/* More loads, until the link is known for sure and they have taken the large object's room. */
static void make_sure(const struct bench *b)
{
    for (size_t i = 18; !LOCKED(b->res, trial_link_is_sure(b->res)) || large_pages_there(b);
         i = i == 19 ? 10 : i + 1) {
        launch(b, i);
        fake_finish(b->stream);
    }
}

static uint8_t verdict(int i)
{
    return atomic_load(&layout_get(function(i))->habit->reading);
}

/* The first narrow launch is timed; one that is quick for what it could have read is sparse, and so
 * are those that follow. */
static void test_sparse(void **state)
{
    struct bench b = make(DEVICE_SPARSE);
    uint64_t resident = stats_shard()->launches_resident, sparse = stats_shard()->launches_sparse;
    uint64_t waited = stats_shard()->launches_waited;
    struct use *use = begin(&b, 0, NARROW);
    CUdeviceptr elsewhere;

    (void)state;
    g_launch_ms = LOAD_MS / 1000;
    assert_non_null(use);
    assert_int_equal(use->count, 0);
    assert_int_equal(verdict(0), READING_TRIED);
    launch_end(use, b.stream, CUDA_SUCCESS);
    assert_int_equal(verdict(0), READING_TRIED);
    fake_finish(b.stream);
    WAIT_FOR_PAGER(b.res, verdict(0) == READING_SPARSE);
    use = begin(&b, 0, NARROW); /* its 2nd time */
    assert_non_null(use);
    launch_end(use, b.stream, CUDA_SUCCESS);
    fake_finish(b.stream);
    WAIT_FOR_PAGER(b.res, verdict(0) == READING_SPARSE);
    assert_null(begin(&b, 0, NARROW));
    assert_int_equal(large_pages_there(&b), 0);
    /* Another pointer each time is no reason to try again; the same one, for the 2nd time, is. */
    elsewhere = b.base + 512;
    assert_null(launch_begin(function(0), (void *[]){&elsewhere}, NULL, NARROW, b.stream));
    use = launch_begin(function(0), (void *[]){&elsewhere}, NULL, NARROW, b.stream);
    assert_non_null(use);
    assert_int_equal(verdict(0), READING_TRIED);
    launch_end(use, b.stream, CUDA_SUCCESS);
    fake_finish(b.stream);
    WAIT_FOR_PAGER(b.res, verdict(0) == READING_SPARSE);
    /* All of them were left to read in place. */
    assert_int_equal(stats_shard()->launches_sparse, sparse + 5);
    assert_int_equal(stats_shard()->launches_resident, resident);
    assert_int_equal(stats_shard()->launches_waited, waited);
    /* A launch that is wide enough to read all of it needs all of it. */
    use = begin(&b, 0, WIDE);
    assert_non_null(use);
    assert_int_equal(use->count, LARGE_PAGES);
    assert_int_equal(large_pages_there(&b), LARGE_PAGES);
    launch_end(use, b.stream, CUDA_SUCCESS);
    bench_end(&b);
}

static CUresult param_info_of_two(CUfunction f, size_t index, size_t *offset, size_t *bytes)
{
    CUresult result = param_info(f, index ? index - 1 : 0, offset, bytes);

    *offset = 8 * index;
    return result;
}

/* A launch that finds all but the object has not found all. */
static void test_sparse_beside(void **state)
{
    struct bench b = make(DEVICE_BESIDE);
    CUdeviceptr table = b.base, other = b.base + 7 * PAGE_BYTES;
    void *params[] = {&table, &other};
    uint64_t resident, sparse;

    (void)state;
    g_launch_ms = LOAD_MS / 1000;
    define(&b, 7, 8);
    g_fake_driver.cuFuncGetParamInfo = param_info_of_two;
    for (int i = 0; i < 3; i++) {
        struct use *use;

        resident = stats_shard()->launches_resident;
        sparse = stats_shard()->launches_sparse;
        use = launch_begin(function(7), params, NULL, NARROW, b.stream);
        assert_non_null(use);
        assert_int_equal(use->count, 1);
        launch_end(use, b.stream, CUDA_SUCCESS);
        fake_finish(b.stream);
        WAIT_FOR_PAGER(b.res, LOCKED(b.res, !b.res->uses && !b.res->arriving));
    }
    g_fake_driver.cuFuncGetParamInfo = param_info;
    assert_int_equal(stats_shard()->launches_resident, resident);
    assert_int_equal(stats_shard()->launches_sparse, sparse + 1);
    bench_end(&b);
}

/* A narrow launch takes so long on the device, and its trial ends with this verdict. */
static void try(const struct bench *b, int i, float launch_ms, enum reading expected)
{
    struct use *use = begin(b, i, NARROW);

    assert_non_null(use);
    assert_int_equal(use->count, 0);
    assert_int_equal(verdict(i), READING_TRIED);
    g_launch_ms = launch_ms;
    launch_end(use, b->stream, CUDA_SUCCESS);
    fake_finish(b->stream);
    WAIT_FOR_PAGER(b->res, verdict(i) == expected);
}

/* One that takes as long as the link needs for all the bytes has read them all; twice in a row:
 * never again. */
static void test_dense(void **state)
{
    struct bench b = make(DEVICE_DENSE);
    uint64_t generation;
    struct use *use;

    (void)state;
    make_sure(&b);
    try(&b, 1, LOAD_MS * 0.6f, READING_DOUBTED);
    generation = range_generation();
    try(&b, 1, LOAD_MS * 0.6f, READING_DENSE);
    WAIT_FOR_PAGER(b.res, range_generation() != generation);
    use = begin(&b, 1, NARROW);
    assert_non_null(use);
    assert_int_equal(use->count, LARGE_PAGES);
    assert_int_equal(large_pages_there(&b), LARGE_PAGES);
    launch_end(use, b.stream, CUDA_SUCCESS);
    bench_end(&b);
}

static void set_planned(const struct bench *b, int planned)
{
    for (size_t i = 0; i < LARGE_PAGES; i++)
        LOCKED(b->res, b->range->extents[i]->fixed = planned != 0);
}

/* A step was learned while the function's launches were no part of it. Now they are, so it is
 * learned anew: loads that it knows nothing of would be waited for in each turn. Not where the plan
 * has the object already, for other launches of the step use it. */
static void test_dense_in_step(void **state)
{
    struct bench b = make(DEVICE_STEP);

    (void)state;
    make_sure(&b);
    try(&b, 13, LOAD_MS, READING_DOUBTED);
    try(&b, 14, LOAD_MS, READING_DOUBTED);
    for (size_t i = 10; !LOCKED(b.res, b.res->learned); i = i == 19 ? 10 : i + 1) {
        launch(&b, i);
        fake_finish(b.stream);
    }
    make_sure(&b);
    set_planned(&b, 1);
    try(&b, 14, LOAD_MS, READING_DENSE);
    assert_true(LOCKED(b.res, b.res->learned));
    set_planned(&b, 0);
    try(&b, 13, LOAD_MS, READING_DENSE);
    WAIT_FOR_PAGER(b.res, LOCKED(b.res, !b.res->learned));
    bench_end(&b);
}

/* Until the trial has run nobody knows: launches that follow need all of what they may read, but
 * what is tried stays where it is, or the trial would find it in VRAM. */
static void test_one_at_a_time(void **state)
{
    struct bench b = bench_make(DEVICE_ONE, 20, HELD);
    CUdeviceptr another = b.base + 6 * PAGE_BYTES; /* neighbours would be one object */
    CUstream beside = fake_program_stream(0);      /* where nothing ends that would make room */
    struct use *use;

    (void)state;
    define(&b, 0, LARGE_PAGES);
    define(&b, 6, 10);
    define(&b, 11, 20);
    make_sure(&b);
    use = begin(&b, 10, NARROW);
    assert_int_equal(verdict(10), READING_TRIED);
    launch_end(use, b.stream, CUDA_SUCCESS);
    use = begin(&b, 10, NARROW);
    assert_non_null(use);
    assert_int_equal(use->count, LARGE_PAGES);
    assert_int_equal(large_pages_there(&b), 0);
    launch_end(use, b.stream, CUDA_SUCCESS);
    use = launch_begin(function(10), (void *[]){&another}, NULL, NARROW, beside);
    assert_non_null(use);
    assert_int_equal(use->count, 4);
    for (size_t i = 6; i < 10; i++)
        assert_true(is_there(&b, i));
    launch_end(use, beside, CUDA_SUCCESS);
    g_launch_ms = LOAD_MS;
    fake_finish(b.stream);
    WAIT_FOR_PAGER(b.res, verdict(10) == READING_DOUBTED);
    use = begin(&b, 10, WIDE); /* nothing keeps it out any more */
    assert_non_null(use);
    assert_int_equal(large_pages_there(&b), LARGE_PAGES);
    launch_end(use, b.stream, CUDA_SUCCESS);
    bench_end(&b);
}

/* Where most of the object is there, the little that is read in place would not show: no trial, and
 * it stays where it is. */
static void test_little_absent(void **state)
{
    struct bench b = make(DEVICE_LITTLE);
    struct use *use = begin_on(&b, b.stream, LARGE_PAGES - 1, (const size_t[]){0, 1, 2, 3});

    (void)state;
    residency_release(use, b.stream, CUDA_SUCCESS);
    fake_finish(b.stream);
    assert_int_equal(large_pages_there(&b), LARGE_PAGES - 1);
    assert_null(begin(&b, 11, NARROW));
    assert_int_equal(large_pages_there(&b), LARGE_PAGES - 1);
    assert_int_equal(verdict(11), READING_UNKNOWN);
    bench_end(&b);
}

/* What of the object had come before is given up before all else, and comes no more ahead. */
static void test_given_up(void **state)
{
    struct bench b = make(DEVICE_GIVEN);
    struct use *use = begin_on(&b, b.stream, 2, (const size_t[]){0, 1});

    (void)state;
    residency_release(use, b.stream, CUDA_SUCCESS);
    fake_finish(b.stream);
    assert_int_equal(large_pages_there(&b), 2);
    try(&b, 12, LOAD_MS / 1000, READING_SPARSE);
    for (size_t i = 10; i < 10 + FITS; i++) {
        launch(&b, i);
        fake_finish(b.stream);
    }
    assert_int_equal(large_pages_there(&b), 0);
    for (size_t i = 10; i < 10 + FITS; i++)
        assert_true(is_there(&b, i));
    bench_end(&b);
}

/* Once it may take long, for the device had to find what was just given up. A trial that did not
 * come about says nothing in between. */
static void test_doubted(void **state)
{
    struct bench b = make(DEVICE_DOUBTED);
    struct use *use;

    (void)state;
    make_sure(&b);
    try(&b, 9, LOAD_MS, READING_DOUBTED);
    use = begin(&b, 9, NARROW);
    assert_non_null(use);
    launch_end(use, b.stream, CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(verdict(9), READING_DOUBTED);
    try(&b, 9, LOAD_MS / 1000, READING_SPARSE); /* its third launch: no turn of its own */
    try(&b, 9, LOAD_MS, READING_DOUBTED);       /* its fourth */
    try(&b, 9, LOAD_MS / 1000, READING_SPARSE);
    bench_end(&b);
}

/* A launch for which the object is loaded, that others then take the room of. */
static void expect_load(const struct bench *b, int i)
{
    struct use *use = begin(b, i, NARROW);

    assert_non_null(use);
    assert_int_equal(use->count, LARGE_PAGES);
    launch_end(use, b->stream, CUDA_SUCCESS);
    fake_finish(b->stream);
    WAIT_FOR_PAGER(b->res, LOCKED(b->res, !b->res->uses && !b->res->arriving));
    make_sure(b);
}

/* Loads were slow at first, so that a launch which reads all in place seems quick. What a link
 * could have carried is not judged by a few of them; and when it is, it is not believed for long:
 * more is loaded, and then it is judged anew. */
static void test_slow_loads(void **state)
{
    struct bench b = bench_make(DEVICE_SLOW, 20, HELD);

    (void)state;
    g_load_ms = 100 * FAST_MS;
    define(&b, 0, LARGE_PAGES);
    define(&b, 10, 20);
    for (size_t i = 10; !LOCKED(b.res, link_speed_is_known(&b.res->link)); i++) {
        launch(&b, i);
        fake_finish(b.stream);
    }
    assert_false(LOCKED(b.res, trial_link_is_sure(b.res)));
    assert_int_equal(large_pages_there(&b), 0);
    try(&b, 8, LARGE_PAGES * FAST_MS, READING_UNKNOWN);
    expect_load(&b, 8);
    try(&b, 8, LARGE_PAGES * FAST_MS, READING_SPARSE); /* its third launch */
    g_load_ms = FAST_MS;
    expect_load(&b, 8); /* the fourth: a trial would be due */
    for (int i = 5; i < 8; i++)
        assert_null(begin(&b, 8, NARROW));
    try(&b, 8, LARGE_PAGES * FAST_MS, READING_DOUBTED);
    try(&b, 8, LARGE_PAGES * FAST_MS, READING_DENSE);
    g_load_ms = LINK_MS;
    bench_end(&b);
}

/* Loads that are slow because something else is on the link make no slow link of it: what is read
 * in place meanwhile would seem quick. */
static void test_busy_link(void **state)
{
    struct bench b = make(DEVICE_BUSY);
    unsigned samples = LOCKED(b.res, b.res->link.next);

    (void)state;
    g_load_ms = 100 * LINK_MS;
    for (size_t i = 18; LOCKED(b.res, b.res->link.next) < samples + 2; i = i == 19 ? 10 : i + 1) {
        launch(&b, i);
        fake_finish(b.stream);
    }
    g_load_ms = LINK_MS;
    assert_int_equal(link_bytes_per_ms(&b), PAGE_BYTES);
    bench_end(&b);
}

/* Before anything was loaded nobody can judge: the first launch brings all of it in. */
static void test_unknown_link(void **state)
{
    struct bench b = bench_make(DEVICE_UNKNOWN, 20, HELD);
    struct use *use;

    (void)state;
    define(&b, 0, LARGE_PAGES);
    use = begin(&b, 5, NARROW);
    assert_non_null(use);
    assert_int_equal(use->count, LARGE_PAGES);
    assert_int_equal(large_pages_there(&b), LARGE_PAGES);
    assert_int_equal(verdict(5), READING_UNKNOWN);
    launch_end(use, b.stream, CUDA_SUCCESS);
    bench_end(&b);
}

/* The driver never tells how long a load took: a few launches have loaded all of the object to find
 * out, then those with new pointers leave it where it is too. */
static void test_silent(void **state)
{
    struct bench b = bench_make(DEVICE_SILENT, 20, HELD);
    unsigned loaded = 0;

    (void)state;
    atomic_store(&g_silent, 1);
    define(&b, 0, LARGE_PAGES);
    for (size_t i = 0; i < 3 * LINK_TRIES_MAX; i++) {
        CUdeviceptr p = b.base + 8 * i;
        int absent = large_pages_there(&b) < LARGE_PAGES;
        struct use *use = launch_begin(function(6), (void *[]){&p}, NULL, NARROW, b.stream);

        loaded += use && absent;
        if (use)
            launch_end(use, b.stream, CUDA_SUCCESS);
        fake_finish(b.stream);
        for (size_t other = 10; other < 18; other++) { /* which takes the object's room */
            launch(&b, other);
            fake_finish(b.stream);
        }
    }
    assert_in_range(loaded, 1, 2 * LINK_TRIES_MAX); /* the pager loads some ahead, too */
    assert_int_equal(verdict(6), READING_UNKNOWN);
    atomic_store(&g_silent, 0);
    bench_end(&b);
}

/* Launches that find all in VRAM load nothing that could be timed: they are no tries. */
static void test_there_already(void **state)
{
    struct bench b = bench_make(DEVICE_THERE, 20, HELD);
    struct extent *there, *absent;

    (void)state;
    launch(&b, 0);
    there = b.range->extents[0];
    absent = b.range->extents[1];
    for (int i = 0; i < 2 * LINK_TRIES_MAX; i++)
        assert_true(residency_link_wants_loads(b.res, &there, 1));
    for (int i = 0; i < LINK_TRIES_MAX; i++)
        assert_true(residency_link_wants_loads(b.res, &absent, 1));
    assert_false(residency_link_wants_loads(b.res, &absent, 1));
    bench_end(&b);
}

/* Memory that nobody has written comes into being on the device, in no time: no link is that fast.
 * When it was given up, its bytes have come to the host, and cross the link from then on. */
static void test_fresh(void **state)
{
    struct bench b = bench_make(DEVICE_FRESH, 20, HELD);

    (void)state;
    g_load_ms = LINK_MS / 100;
    for (size_t i = 0; i < FITS; i++) {
        launch(&b, i);
        fake_finish(b.stream);
    }
    WAIT_FOR_PAGER(b.res, LOCKED(b.res, !b.res->arriving && !b.res->uses));
    assert_int_equal(LOCKED(b.res, b.res->link.count), 0);
    g_load_ms = LINK_MS;
    for (size_t i = 0; !LOCKED(b.res, link_speed_is_known(&b.res->link)); i = (i + 1) % 20) {
        launch(&b, i);
        fake_finish(b.stream);
    }
    assert_int_equal(link_bytes_per_ms(&b), PAGE_BYTES);
    bench_end(&b);
}

/* A launch that the driver refuses, or whose events cannot be had, has tried nothing. */
static void test_untimed(void **state)
{
    struct bench b = make(DEVICE_UNTIMED);
    struct use *use = begin(&b, 2, NARROW);
    size_t events = FAKE_READ(g_fake.live_events);

    (void)state;
    assert_non_null(use);
    launch_end(use, b.stream, CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(verdict(2), READING_UNKNOWN);
    assert_int_equal(FAKE_READ(g_fake.live_events), events - 2);
    pthread_mutex_lock(&g_fake.lock);
    g_fake.fail_kind = "cuEventCreate";
    g_fake.fail_result = CUDA_ERROR_OUT_OF_MEMORY;
    g_fake.fail_count = 1;
    pthread_mutex_unlock(&g_fake.lock);
    use = begin(&b, 3, NARROW);
    assert_int_equal(FAKE_READ(g_fake.fail_count), 0);
    launch_end(use, b.stream, CUDA_SUCCESS);
    assert_int_equal(verdict(3), READING_UNKNOWN);
    bench_end(&b);
}

/* What the program writes into, or never uploaded, is not read sparsely. */
static void test_written(void **state)
{
    struct bench b = make(DEVICE_GONE);
    struct use *use;
    CUdeviceptr gap = b.base + LARGE;

    (void)state;
    use = launch_begin(function(4), (void *[]){&gap}, NULL, NARROW, b.stream);
    assert_non_null(use);
    assert_int_equal(use->count, 5);
    launch_end(use, b.stream, CUDA_SUCCESS);
    fake_finish(b.stream);
    range_write_lock();
    object_mark_written(range_allocation_at(b.base), b.base, b.base + 1);
    range_changed();
    range_unlock();
    use = begin(&b, 4, NARROW);
    assert_non_null(use);
    assert_int_equal(use->count, LARGE_PAGES);
    launch_end(use, b.stream, CUDA_SUCCESS);
    bench_end(&b);
}

static int setup(void **state)
{
    g_fake_driver.cuFuncGetParamInfo = param_info;
    g_fake_driver.cuEventElapsedTime = elapsed;
    return bench_setup(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sparse),        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_dense_in_step), cmocka_unit_test(test_busy_link),
        cmocka_unit_test(test_unknown_link),  cmocka_unit_test(test_slow_loads),
        cmocka_unit_test(test_doubted),       cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_little_absent), cmocka_unit_test(test_given_up),
        cmocka_unit_test(test_fresh),         cmocka_unit_test(test_silent),
        cmocka_unit_test(test_there_already), cmocka_unit_test(test_sparse_beside),
        cmocka_unit_test(test_untimed),       cmocka_unit_test(test_written),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
