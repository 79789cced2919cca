/* Strategy: the fake driver told to have default streams as the real one has: CU_STREAM_PER_THREAD
 * is another in each thread, CU_STREAM_LEGACY in each context. What hangs on one of them says
 * nothing of the other, though the handle is the same. */
#include "tests/unit/residency_bench.h"

enum {
    DEVICE_THREADS,
    DEVICE_CONTEXTS,
    DEVICE_OWN,
};

#define HALF (FITS / 2)

static __thread CUstream t_default;                       /* CU_STREAM_PER_THREAD */
static CUcontext g_other;                                 /* beside the bench's */
static CUstream g_legacy, g_other_legacy, g_other_thread; /* the other's is held */

static CUstream meant(CUstream handle)
{
    if (handle == CU_STREAM_PER_THREAD)
        return t_default;
    if (handle == CU_STREAM_LEGACY)
        return t_fake_ctx == g_other ? g_other_legacy : g_legacy;
    return handle;
}

static CUresult get_ctx(CUstream stream, CUcontext *ctx)
{
    return fake_cuStreamGetCtx(meant(stream), ctx);
}

static CUresult record(CUevent event, CUstream stream)
{
    return fake_cuEventRecord(event, meant(stream));
}

static CUresult wait_event(CUstream stream, CUevent event, unsigned int flags)
{
    return fake_cuStreamWaitEvent(meant(stream), event, flags);
}

static void launch_at(const struct bench *b, CUstream handle, size_t count, const size_t *extents)
{
    struct use *use = begin_on(b, handle, count, extents);

    assert_non_null(use);
    for (size_t i = 0; i < count; i++)
        assert_true(will_be_there(b, extents[i], meant(handle)));
    residency_release(use, handle, CUDA_SUCCESS);
}

/* Half of the room is held by work on a stream that does not move. */
static void hold_half(struct bench *b, CUstream handle)
{
    const size_t set[HALF] = {0, 1, 2, 3};

    launch_at(b, handle, HALF, set);
}

static void *hold_in_thread(void *arg)
{
    struct bench *b = arg;

    t_fake_ctx = b->ctx;
    t_default = g_other_thread = fake_program_stream(HELD);
    hold_half(b, CU_STREAM_PER_THREAD);
    return NULL;
}

static int is_pinned(struct bench *b, size_t extent)
{
    return LOCKED(b->res, b->range->extents[extent]->pins) != 0;
}

/* Launches on the stream of this thread and context that handle stands for, while another that it
 * stands for elsewhere holds half of the room. */
static void launch_beside(struct bench *b, CUstream handle, CUstream elsewhere)
{
    const struct stream_id here = stream_id_of(handle, b->ctx);
    const size_t set[HALF] = {4, 5, 6, 7};

    launch_at(b, handle, HALF, set);
    assert_true(LOCKED(b->res, use_may_end(b->res, &here)));
    fake_finish(b->stream);
    LOCKED(b->res, use_retire(b->res));
    for (size_t i = 0; i < HALF; i++)
        assert_true(is_pinned(b, i) && !is_pinned(b, HALF + i));
    assert_false(LOCKED(b->res, use_may_end(b->res, &here)));
    assert_true(LOCKED(b->res, use_may_end(b->res, NULL)));
    /* Those who have waited for the one in vain wait for the other. */
    LOCKED(b->res, b->res->uses->outwaited = 1);
    launch_at(b, handle, 1, &set[0]);
    assert_true(LOCKED(b->res, use_may_end(b->res, &here)));
    fake_finish(b->stream);
    LOCKED(b->res, use_retire(b->res));
    assert_true(LOCKED(b->res, b->res->uses->outwaited));
    /* Nobody waits for patience to end. */
    for (size_t i = HALF; i < 20; i++) {
        launch_at(b, handle, 1, &i);
        fake_finish(b->stream);
    }
    fake_finish(elsewhere);
    WAIT_FOR(LOCKED(b->res, (use_retire(b->res), !b->res->uses)));
    bench_end(b);
}

static void test_threads(void **state)
{
    struct bench b = bench_make(DEVICE_THREADS, 20, HELD);
    pthread_t thread;

    (void)state;
    t_default = b.stream;
    assert_int_equal(pthread_create(&thread, NULL, hold_in_thread, &b), 0);
    pthread_join(thread, NULL);
    launch_beside(&b, CU_STREAM_PER_THREAD, g_other_thread);
}

static void test_contexts(void **state)
{
    struct bench b = bench_make(DEVICE_CONTEXTS, 20, HELD);

    (void)state;
    g_legacy = b.stream;
    g_other = fake_context(DEVICE_CONTEXTS);
    g_other_legacy = fake_program_stream(HELD);
    hold_half(&b, CU_STREAM_LEGACY);
    t_fake_ctx = b.ctx;
    launch_beside(&b, CU_STREAM_LEGACY, g_other_legacy);
}

static void *launch_in_thread(void *arg)
{
    struct bench *b = arg;
    const size_t extent = 5;

    t_fake_ctx = b->ctx;
    launch_at(b, b->stream, 1, &extent);
    return NULL;
}

/* A stream that the program has made is one for all threads: what is queued behind what hangs is
 * not asked for. Stream 0 is the legacy one. */
static void test_one_for_all(void **state)
{
    struct bench b = bench_make(DEVICE_OWN, 20, HELD);
    struct stream_id zero = stream_id_of(NULL, b.ctx),
                     legacy = stream_id_of(CU_STREAM_LEGACY, b.ctx);
    pthread_t thread;

    (void)state;
    assert_true(stream_id_is(&zero, &legacy));
    hold_half(&b, b.stream);
    LOCKED(b.res, b.res->uses->outwaited = 1);
    assert_int_equal(pthread_create(&thread, NULL, launch_in_thread, &b), 0);
    pthread_join(thread, NULL);
    assert_false(LOCKED(b.res, use_may_end(b.res, NULL)));
    fake_finish(b.stream);
    bench_end(&b);
}

static int setup(void **state)
{
    g_fake_driver.cuStreamGetCtx = get_ctx;
    g_fake_driver.cuEventRecord = record;
    g_fake_driver.cuStreamWaitEvent = wait_event;
    return bench_setup(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_contexts),
        cmocka_unit_test(test_one_for_all),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
