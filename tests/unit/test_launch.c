/* Strategy: a device that pages, a range whose extents carry known objects, and launches with their
 * parameters in every form. What a launch was found to touch is read off the use that it pins. Each
 * use ends before the next launch, so that only what a launch names itself decides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "checkpoint.h"
#include "copy_describe.h"
#include "launch.h"
#include "layout.h"
#include "object.h"
#include "pager.h"
#include "tests/unit/fake_driver.h"

#define MIB    ((size_t)1 << 20)
#define BUDGET (16 * MIB)
#define DEVICE 4
#define WIDE   (1u << 20) /* threads: nothing may be read sparsely */

#define UNKNOWN SIZE_MAX /* as the only size: of a function that the driver tells nothing about */

static CUdeviceptr g_base; /* 20 extents of 2 MiB */
static struct range *g_range;
static CUstream g_stream;

/* Functions are their own parameter lists: sizes in bytes, up to 0. */
static const size_t g_pointers[] = {8, 4, 8, 0};
static const size_t g_struct[] = {40, 0};
static const size_t g_odd[] = {4, 12, 0};
static const size_t g_many[] = {8 * 100, 0};
static const size_t g_single[] = {8, 0};

static const struct tensor g_tensor[] = {{.name = "a", .bytes = 8 * MIB},
                                         {.name = "b", .bytes = 8 * MIB}};
static const struct {
    size_t first, end;
} g_pieces[] = {{0, 2 * MIB + 1024}, {4 * MIB, 6 * MIB}, {6 * MIB, 9 * MIB}, {12 * MIB, 13 * MIB}};

static CUresult param_info(CUfunction function, size_t index, size_t *offset, size_t *bytes)
{
    const size_t *sizes = (const size_t *)(const void *)function;

    if (*sizes == UNKNOWN)
        return CUDA_ERROR_NOT_SUPPORTED;
    *offset = 0;
    for (size_t i = 0; i < index; i++) {
        if (!sizes[i])
            return CUDA_ERROR_INVALID_VALUE;
        *offset += (sizes[i] + 7) / 8 * 8;
    }
    *bytes = sizes[index];
    return *bytes ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUfunction function_of(const size_t *sizes)
{
    return (CUfunction)(uintptr_t)sizes;
}

/* Nothing is learned from these launches, for what a plan keeps in VRAM is not pinned. */
static void forget_launches(struct residency *res)
{
    pthread_mutex_lock(&res->lock);
    learn_forget(res);
    res->history.launches = 0;
    pthread_mutex_unlock(&res->lock);
}

/* The extents that a use pins, as bits; the use ends. */
static uint64_t touched(struct use *use)
{
    uint64_t bits = 0;

    if (!use)
        return 0;
    for (size_t i = 0; i < use->count; i++) {
        size_t at = 0;
        uint64_t bit;

        assert_ptr_equal(use->set[i]->range, g_range);
        while (g_range->extents[at] != use->set[i])
            at++;
        bit = 1ull << at;
        assert_false(bits & bit); /* each once */
        bits |= bit;
    }
    launch_end(use, g_stream, CUDA_SUCCESS);
    forget_launches(residency_get(DEVICE));
    return bits;
}

static uint64_t launch(const size_t *sizes, void **params)
{
    return touched(launch_begin(function_of(sizes), params, NULL, WIDE, g_stream));
}

static uint64_t launch_one(CUdeviceptr p)
{
    return launch(g_single, (void *[]){&p});
}

static void define(size_t first_kib, size_t end_kib)
{
    range_write_lock();
    assert_int_equal(object_define(range_allocation_at(g_base), g_base + first_kib * 1024,
                                   g_base + end_kib * 1024, NULL, 0, STATS_EVIDENCE_NONE),
                     0);
    range_unlock();
}

#define EXTENT(n) (1ull << (n))

/* An object counts whole, wherever it is pointed into; so does the gap between two. */
static void test_objects(void **state)
{
    (void)state;
    assert_int_equal(launch_one(g_base + 2048 * 1024), EXTENT(0) | EXTENT(1));
    assert_int_equal(launch_one(g_base + 5 * MIB), EXTENT(2));
    assert_int_equal(launch_one(g_base + 5 * MIB + 999), EXTENT(2));
    assert_int_equal(launch_one(g_base + 6 * MIB), EXTENT(3) | EXTENT(4));
    assert_int_equal(launch_one(g_base + 9 * MIB - 1), EXTENT(3) | EXTENT(4));
    assert_int_equal(launch_one(g_base + 9 * MIB), EXTENT(4) | EXTENT(5));
}

static void test_parameters(void **state)
{
    CUdeviceptr first = g_base + 5 * MIB, second = g_base + 6 * MIB, same = second + 8;
    CUdeviceptr none = 17;
    uint32_t number = 5;

    (void)state;
    assert_int_equal(launch(g_pointers, (void *[]){&first, &number, &second}),
                     EXTENT(2) | EXTENT(3) | EXTENT(4));
    assert_int_equal(launch(g_pointers, (void *[]){&same, &number, &second}),
                     EXTENT(3) | EXTENT(4));
    assert_int_equal(launch(g_pointers, (void *[]){&none, &number, &first}), EXTENT(2));
    assert_int_equal(launch(g_pointers, (void *[]){&none, &number, &none}), 0);
}

/* Structures by value: a pointer at any aligned offset is found, wherever the structure lies. */
static void test_structures(void **state)
{
    static char room[64];
    CUdeviceptr p = g_base + 5 * MIB;

    (void)state;
    for (size_t at = 0; at <= 32; at += 8)
        for (size_t shift = 0; shift < 8; shift++) {
            memset(room, 0, sizeof(room));
            memcpy(room + shift + at, &p, 8);
            assert_int_equal(launch(g_struct, (void *[]){room + shift}), EXTENT(2));
        }
    for (size_t at = 0; at <= 4; at += 4) {
        memset(room, 0, sizeof(room));
        memcpy(room + at, &p, 8);
        assert_int_equal(launch(g_odd, (void *[]){room, room}), at ? 0 : EXTENT(2));
    }
}

static void test_words_out_of_range(void **state)
{
    uint64_t first, end, resident = stats_shard()->launches_resident;

    (void)state;
    range_bounds(&first, &end);
    assert_int_equal(launch_one(first - 1), 0);
    assert_int_equal(launch_one(end), 0);
    assert_int_equal(launch_one(0), 0);
    assert_int_equal(launch_one(UINT64_MAX), 0);
    assert_int_equal(stats_shard()->launches_resident, resident + 4);
}

static void test_extra(void **state)
{
    uint64_t buffer[3] = {1, g_base + 5 * MIB, g_base + 9 * MIB};
    size_t bytes = 24, cut = 16;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                     CU_LAUNCH_PARAM_END};
    void *turned[] = {CU_LAUNCH_PARAM_BUFFER_SIZE, &cut, CU_LAUNCH_PARAM_BUFFER_POINTER, buffer,
                      CU_LAUNCH_PARAM_END};
    void *strange[] = {(void *)9, buffer, CU_LAUNCH_PARAM_END};
    void *empty[] = {CU_LAUNCH_PARAM_END};
    CUfunction f = function_of(g_many);

    (void)state;
    assert_int_equal(touched(launch_begin(f, NULL, extra, WIDE, g_stream)),
                     EXTENT(2) | EXTENT(4) | EXTENT(5));
    assert_int_equal(touched(launch_begin(f, NULL, turned, WIDE, g_stream)), EXTENT(2));
    assert_int_equal(touched(launch_begin(f, NULL, strange, WIDE, g_stream)), 0);
    assert_int_equal(touched(launch_begin(f, NULL, empty, WIDE, g_stream)), 0);
    assert_int_equal(touched(launch_begin(f, NULL, NULL, WIDE, g_stream)), 0);
}

/* More pointers than are looked at, and all the same one: no harm. */
static void test_many_pointers(void **state)
{
    static CUdeviceptr words[100];

    (void)state;
    for (size_t i = 0; i < 100; i++)
        words[i] = g_base + 5 * MIB + 8 * i;
    assert_int_equal(launch(g_many, (void *[]){words}), EXTENT(2));
}

/* What a thread remembers is good until an allocation or an object changes. */
static void test_cache_invalidated(void **state)
{
    CUdeviceptr p = g_base + 20 * MIB, q;
    size_t bytes = 16 * MIB;
    int paged;

    (void)state;
    define(20 * 1024, 21 * 1024);
    assert_int_equal(launch_one(p), EXTENT(10));
    assert_int_equal(launch_one(p), EXTENT(10));
    define(20 * 1024, 23 * 1024);
    assert_int_equal(launch_one(p), EXTENT(10) | EXTENT(11));
    /* An allocation that is gone is touched by nobody, though its address is still in use. */
    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &q), CUDA_SUCCESS);
    {
        struct use *use = launch_begin(function_of(g_single), (void *[]){&q}, NULL, WIDE, g_stream);

        assert_non_null(use);
        assert_int_equal(use->count, 8);
        launch_end(use, g_stream, CUDA_SUCCESS);
    }
    assert_int_equal(range_free(q, &paged), CUDA_SUCCESS);
    assert_int_equal(launch_one(q), 0);
}

/* What is larger than all the room there is is left where it is. */
static void test_too_large(void **state)
{
    uint64_t before = stats_shard()->launches_oversized;

    (void)state;
    define(24 * 1024, 40 * 1024);
    assert_int_equal(launch_one(g_base + 30 * MIB), 0xffull << 12);
    assert_int_equal(stats_shard()->launches_oversized, before);
    define(22 * 1024, 40 * 1024);
    for (size_t i = 22; i < 40; i++) {
        assert_int_equal(launch_one(g_base + i * MIB), 0);
        assert_int_equal(launch_one(g_base + i * MIB), 0);
    }
    assert_int_equal(stats_shard()->launches_oversized, before + 36);
}

/* Nothing of ours goes into a stream that captures. */
static void test_capture(void **state)
{
    CUdeviceptr p = g_base + 9 * MIB;
    uint64_t order = g_fake.order;
    struct transfer_access one = {.addr = p, .bytes = 8};

    (void)state;
    launch_one(g_base);
    g_fake.capturing = 1;
    order = g_fake.order;
    assert_null(launch_begin(function_of(g_single), (void *[]){&p}, NULL, WIDE, g_stream));
    assert_null(launch_hold_spans(&one, 1, g_stream));
    assert_int_equal(g_fake.order, order);
    assert_int_equal(stats_shard()->launches_captured, 1);
    g_fake.capturing = 0;
    /* A status that cannot be had counts as capturing. */
    fake_fail("cuStreamIsCapturing", 0, 1, CUDA_ERROR_UNKNOWN);
    assert_null(launch_begin(function_of(g_single), (void *[]){&p}, NULL, WIDE, g_stream));
    g_fake_driver.cuStreamIsCapturing = NULL;
    assert_int_equal(launch_one(p), EXTENT(4) | EXTENT(5));
    g_fake_driver.cuStreamIsCapturing = fake_cuStreamIsCapturing;
}

/* A function whose parameters nobody knows is launched with nothing loaded for it, and counted. */
static void test_unknown_parameters(void **state)
{
    static const size_t unknown[] = {UNKNOWN};
    CUdeviceptr p = g_base + 9 * MIB;
    uint64_t before = stats_shard()->launches_unknown, resident;

    (void)state;
    assert_int_equal(launch_one(p), EXTENT(4) | EXTENT(5));
    assert_int_equal(stats_shard()->launches_unknown, before);
    resident = stats_shard()->launches_resident;
    assert_int_equal(launch(unknown, (void *[]){&p}), 0);
    assert_int_equal(launch(unknown, (void *[]){&p}), 0);
    assert_int_equal(stats_shard()->launches_unknown, before + 2);
    assert_int_equal(stats_shard()->launches_resident, resident);
}

/* Copies keep what they use where it is: nothing is loaded for them. */
static void test_hold_spans(void **state)
{
    struct transfer_access spans[] = {{.addr = g_base + 5 * MIB, .bytes = 3 * MIB},
                                      {.addr = g_base + 9 * MIB, .bytes = 1},
                                      {.addr = 12, .bytes = 100},
                                      {.addr = FAKE_PLAIN, .bytes = 100}};
    unsigned loads = FAKE_READ(g_fake.loads);

    (void)state;
    residency_pause(DEVICE);
    assert_int_equal(touched(launch_hold_spans(spans, 4, g_stream)),
                     EXTENT(2) | EXTENT(3) | EXTENT(4));
    spans[0].bytes = 0;
    assert_int_equal(touched(launch_hold_spans(spans, 1, g_stream)), 0);
    spans[0].bytes = 100 * MIB; /* more than there is */
    assert_int_equal(touched(launch_hold_spans(spans, 1, g_stream)), 0xffffcull);
    assert_null(launch_hold_spans(spans, 0, g_stream));
    assert_int_equal(FAKE_READ(g_fake.loads), loads);
    residency_resume(DEVICE);
}

/* A batch has two spans for each of its copies: every one of them is held. */
static void test_hold_batch(void **state)
{
    CUdeviceptr dsts[12], srcs[12];
    size_t sizes[12];
    struct access_call call;

    (void)state;
    for (size_t i = 0; i < 12; i++) {
        dsts[i] = g_base + 3 * i * MIB;
        srcs[i] = 4096 * i;
        sizes[i] = 8;
    }
    residency_pause(DEVICE);
    copy_describe_start(&call, "batch", ACCESS_ASYNC, g_stream, NULL);
    assert_int_equal(copy_describe_batch(&call, dsts, srcs, sizes, 12), 0);
    assert_int_equal(access_begin(&call), CUDA_SUCCESS);
    assert_int_equal(touched(call.held), 0x1b6dbull);
    copy_describe_end(&call);
    residency_resume(DEVICE);
}

static void *launch_in_thread(void *arg)
{
    t_fake_ctx = arg;
    for (int round = 0; round < 3; round++)
        assert_int_equal(launch_one(g_base + 5 * MIB), EXTENT(2));
    return NULL;
}

/* Each thread remembers for itself, and takes its memory with it. */
static void test_threads(void **state)
{
    pthread_t thread;

    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(pthread_create(&thread, NULL, launch_in_thread, t_fake_ctx), 0);
        pthread_join(thread, NULL);
    }
}

static const struct stats_record *record_at(size_t offset)
{
    CUdeviceptr first, end;
    const struct object *o;

    range_read_lock();
    o = object_span(range_allocation_at(g_base), g_base + offset, &first, &end);
    range_unlock();
    assert_non_null(o);
    assert_non_null(o->record);
    return o->record;
}

static void *count_in_thread(void *arg)
{
    t_fake_ctx = arg;
    for (int round = 0; round < 5; round++)
        launch_one(g_base + 5 * MIB);
    return NULL;
}

/* Launches are told to the records that they touch: seldomer and seldomer, but for what a thread
 * leaves and what is asked for; never to a record that has become another parameter's. */
static void test_touches(void **state)
{
    const struct stats_record *a = record_at(5 * MIB), *b = record_at(6 * MIB);
    CUdeviceptr first = g_base + 5 * MIB, second = g_base + 6 * MIB, same = second + 8;
    uint64_t before, other = b->touches;
    pthread_t thread;
    uint32_t number = 5;

    (void)state;
    assert_true(a->first_touch && b->first_touch && a->first_touch != b->first_touch);
    range_changed(); /* all that was remembered is looked up anew */
    launch_tell_touches();
    before = a->touches;
    launch_one(first);
    assert_int_equal(a->touches, before + 1);
    for (int i = 0; i < 200; i++)
        launch_one(first);
    assert_in_range(a->touches, before + 201 - 63, before + 200);
    launch_tell_touches();
    assert_int_equal(a->touches, before + 201);
    launch_tell_touches();
    assert_int_equal(a->touches, before + 201);
    assert_int_equal(pthread_create(&thread, NULL, count_in_thread, t_fake_ctx), 0);
    pthread_join(thread, NULL);
    assert_int_equal(a->touches, before + 206);
    /* Two pointers into one parameter are one touch of it. */
    assert_int_equal(b->touches, other);
    launch(g_pointers, (void *[]){&same, &number, &second});
    launch_tell_touches();
    assert_int_equal(b->touches, other + 1);
    launch(g_pointers, (void *[]){&same, &number, &second});
    atomic_fetch_add(&((struct stats_record *)(uintptr_t)b)->generation, 2);
    launch_tell_touches();
    assert_int_equal(b->touches, other + 1);
}

/* A thread without a context, and one whose device does not page, only pass through. */
static void test_elsewhere(void **state)
{
    CUcontext ctx = t_fake_ctx;

    (void)state;
    t_fake_ctx = NULL;
    assert_int_equal(launch_one(g_base), 0);
    fake_context(DEVICE + 1);
    assert_int_equal(launch_one(g_base), 0);
    t_fake_ctx = ctx;
    assert_int_not_equal(launch_one(g_base), 0);
}

static void test_before_paging(void **state)
{
    size_t bytes = 16 * MIB, more = 24 * MIB;
    CUdeviceptr p;
    int paged;

    (void)state;
    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &p), CUDA_SUCCESS);
    /* Not even the parameters are looked at. */
    assert_null(launch_begin(function_of(g_pointers), (void **)8, NULL, WIDE, g_stream));
    assert_int_equal(range_free(p, &paged), CUDA_SUCCESS);
    bytes += more;
    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &g_base), CUDA_SUCCESS);
    range_read_lock();
    g_range = range_allocation_at(g_base)->range;
    range_unlock();
    assert_true(residency_active(DEVICE));
    /* Two pieces that lie side by side stay two: they belong to different tensors. */
    range_write_lock();
    for (size_t i = 0; i < sizeof(g_pieces) / sizeof(*g_pieces); i++)
        assert_int_equal(object_define(range_allocation_at(g_base), g_base + g_pieces[i].first,
                                       g_base + g_pieces[i].end, &g_tensor[i % 2], 0,
                                       STATS_EVIDENCE_FILE),
                         0);
    range_unlock();
}

static int setup(void **state)
{
    (void)state;
    alarm(60);
    stats_open("", "um", NULL);
    fake_budget(DEVICE, BUDGET, (uint64_t)8 << 30);
    fake_budget(DEVICE + 1, (uint64_t)8 << 30, (uint64_t)8 << 30);
    g_fake_driver.cuFuncGetParamInfo = param_info;
    fake_context(DEVICE);
    g_stream = fake_program_stream(0);
    g_fake.limit[DEVICE] = BUDGET;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stats_close();
    return FAKE_READ(g_fake.misuse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_paging),
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_structures),
        cmocka_unit_test(test_words_out_of_range),
        cmocka_unit_test(test_extra),
        cmocka_unit_test(test_many_pointers),
        cmocka_unit_test(test_capture),
        cmocka_unit_test(test_unknown_parameters),
        cmocka_unit_test(test_hold_spans),
        cmocka_unit_test(test_hold_batch),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_touches),
        cmocka_unit_test(test_elsewhere),
        cmocka_unit_test(test_cache_invalidated),
        cmocka_unit_test(test_too_large),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
