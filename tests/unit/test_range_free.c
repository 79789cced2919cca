/* Strategy: the ways in which an allocation ends, over a fake driver whose streams run when the
 * test says so: in stream order, twice, from another context, with its context, and of ranges that
 * are kept. What is not yet free is still found; what is has left no event and no page
 * behind. */
#include "deferred.h"
#include "range_list.h"
#include "tests/unit/context_end.h"
#include "tests/unit/range_bench.h"

/* One device for each test: what a device has learned stays with it. */
enum {
    DEVICE_OOM,
    DEVICE_ASYNC,
    DEVICE_CONTEXT,
    DEVICE_TWICE,
    DEVICE_KEPT,
    DEVICE_GROWS,
};

/* A free in stream order holds the bytes until the stream has come there. */
static void test_async_free(void **state)
{
    CUstream slow, quick;
    CUdeviceptr p, q, r;
    struct range_view view;
    uint64_t total;
    size_t events;
    int paged = 0;

    (void)state;
    fake_context(DEVICE_ASYNC);
    slow = fake_program_stream(1);
    quick = fake_program_stream(0);
    total = free_bytes_of(DEVICE_ASYNC);
    p = take(1 * MIB);
    q = take(1 * MIB);
    events = g_fake.live_events;
    g_fake.syncs = 0;
    assert_int_equal(range_free_async(p, slow, &paged), CUDA_SUCCESS);
    assert_int_equal(paged, 1);
    assert_int_equal(range_find(p, &view), 1);
    assert_int_equal(range_free_async(q, quick, &paged), CUDA_SUCCESS);
    assert_int_equal(range_find(q, &view), 0);
    r = take(1 * MIB);
    assert_int_not_equal(r, p);
    assert_int_equal(range_find(p, &view), 1);
    fake_finish(slow);
    give(r);
    assert_int_equal(range_find(p, &view), 0);
    assert_int_equal(free_bytes_of(DEVICE_ASYNC), total);
    assert_int_equal(g_fake.live_events, events);
    assert_int_equal(g_fake.syncs, 1); /* of give(r) alone */
    assert_int_equal(g_fake.live_managed_bytes, 0);
    /* A plain allocation is the driver's to free. */
    p = take(1 * KIB);
    assert_int_equal(range_free_async(p, quick, &paged), CUDA_SUCCESS);
    assert_int_equal(paged, 0);
    assert_int_equal(range_find(p, &view), 0);
    /* What is no allocation's start is left to the driver. */
    assert_int_equal(range_free_async(p, quick, &paged), CUDA_SUCCESS);
    assert_int_equal(paged, 0);
    /* A stream of another context takes no event of ours: it is waited for. */
    p = take(1 * MIB);
    fake_fail("cuEventRecord", 0, 1, CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(range_free_async(p, quick, &paged), CUDA_SUCCESS);
    assert_int_equal(range_find(p, &view), 0);
    assert_int_equal(g_fake.live_events, events);
}

/* What was freed before, or never handed out, is refused: to the driver the address may mean the
 * whole range that others lie in. */
static void test_freed_twice(void **state)
{
    CUstream slow;
    CUdeviceptr p, q;
    struct range_view view;
    int paged = 0;

    (void)state;
    fake_context(DEVICE_TWICE);
    slow = fake_program_stream(1);
    p = take(1 * MIB);
    q = take(1 * MIB);
    give(p);
    assert_int_equal(range_free(p, &paged), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(paged, 1);
    assert_int_equal(range_free(q + 512, &paged), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(paged, 1);
    assert_int_equal(range_free_async(p, slow, &paged), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(paged, 1);
    assert_int_equal(range_free_async(q, slow, &paged), CUDA_SUCCESS);
    assert_int_equal(range_free_async(q, slow, &paged), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(paged, 1);
    assert_int_equal(range_free(q, &paged), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(paged, 1);
    assert_int_equal(range_find(q, &view), 1);
    fake_finish(slow);
    give(take(1 * MIB));
    assert_int_equal(range_find(q, &view), 0);
    /* An address that was never ours is the driver's. */
    assert_int_equal(range_free(FAKE_PLAIN - 4096, &paged), CUDA_SUCCESS);
    assert_int_equal(paged, 0);
}

/* Frees behind others on the same stream are not asked for, as long as those have not come; what
 * cannot be asked holds nothing up, nor does another stream. */
static void test_one_look_for_each_stream(void **state)
{
    struct context_set set = {.count = 0};
    CUdeviceptr p[10], q;
    CUstream slow, quick;
    struct range_view view;
    unsigned calls;
    int paged;

    (void)state;
    fake_context(DEVICE_ASYNC);
    slow = fake_program_stream(1);
    quick = fake_program_stream(0);
    for (int i = 0; i < 10; i++)
        p[i] = take(1 * MIB);
    q = take(1 * MIB);
    for (int i = 0; i < 10; i++)
        assert_int_equal(range_free_async(p[i], slow, &paged), CUDA_SUCCESS);
    assert_int_equal(range_free_async(q, quick, &paged), CUDA_SUCCESS);
    assert_int_equal(range_find(q, &view), 0);
    calls = g_fake.calls;
    deferred_retire();
    assert_int_equal(g_fake.calls, calls + 1);
    fake_finish(slow);
    fake_fail("cuEventQuery", 0, 1, CUDA_ERROR_UNKNOWN);
    deferred_retire();
    assert_int_equal(range_find(p[0], &view), 1);
    for (int i = 1; i < 10; i++)
        assert_int_equal(range_find(p[i], &view), 0);
    /* The list goes on where its end was taken. */
    q = take(1 * MIB); /* which asks again for the first */
    assert_int_equal(range_free_async(q, slow, &paged), CUDA_SUCCESS);
    fake_finish(slow);
    deferred_retire();
    assert_int_equal(range_find(q, &view), 0);
    deferred_add_contexts(&set);
    assert_int_equal(set.count, 0);
}

static void *finish_one(void *arg)
{
    (void)arg;
    fake_finish_oldest();
    fake_gate(NULL);
    return NULL;
}

/* Memory that is only waiting for its stream is waited for before an allocation is refused. */
static void test_room_that_is_on_its_way(void **state)
{
    uint64_t free_bytes, total_bytes;
    size_t bytes = 30 * MIB;
    CUdeviceptr p, q;
    CUstream slow;
    pthread_t thread;
    int paged;

    (void)state;
    fake_context(DEVICE_OOM);
    slow = fake_program_stream(1);
    range_capacity(DEVICE_OOM, &free_bytes, &total_bytes);
    p = take((size_t)total_bytes - 20 * MIB);
    assert_int_equal(range_free_async(p, slow, &paged), CUDA_SUCCESS);
    fake_gate("cuCtxSynchronize");
    assert_int_equal(pthread_create(&thread, NULL, finish_one, NULL), 0);
    q = take(30 * MIB);
    pthread_join(thread, NULL);
    give(q);
    assert_int_equal(free_bytes_of(DEVICE_OOM), total_bytes);
    /* Not for ever: the work before it may be held up by this very thread. */
    p = take((size_t)total_bytes - 20 * MIB);
    assert_int_equal(range_free_async(p, slow, &paged), CUDA_SUCCESS);
    fake_gate("cuCtxSynchronize");
    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &q), CUDA_ERROR_OUT_OF_MEMORY);
    fake_gate(NULL);
    fake_finish(slow);
    WAIT_FOR(range_give_back());
    assert_int_equal(free_bytes_of(DEVICE_OOM), total_bytes);
}

/* What the driver does with the events of a context at its end. */
static void end_events(CUcontext ctx)
{
    for (size_t i = 0; i < g_fake.event_count; i++)
        if (g_fake.events[i]->ctx == ctx)
            g_fake.events[i]->alive = 0;
}

/* A free waits for the work of the context that the memory belongs to, from wherever it comes. */
static void test_free_from_elsewhere(void **state)
{
    CUcontext owner = fake_context(DEVICE_ASYNC), other;
    CUdeviceptr p = take(1 * MIB), q = take(1 * MIB), r = take(1 * MIB);
    struct range_view view;
    int paged;

    (void)state;
    give(p);
    assert_ptr_equal(g_fake.synced, owner);
    other = fake_context(DEVICE_CONTEXT);
    give(q);
    assert_ptr_equal(g_fake.synced, owner);
    assert_ptr_equal(t_fake_ctx, other);
    /* The other context goes, and its events with it: the memory is free, the event nobody's. */
    assert_int_equal(range_free_async(r, fake_program_stream(1), &paged), CUDA_SUCCESS);
    range_context_destroyed(other);
    end_events(other);
    assert_int_equal(range_find(r, &view), 0);
    t_fake_ctx = owner;
    give(take(1 * MIB));
    assert_int_equal(FAKE_READ(g_fake.misuse), 0);
}

/* While another thread destroys a context its events are not asked, for the driver may have
 * destroyed them. If it stays they are asked again. */
static void test_free_while_a_context_ends(void **state)
{
    CUcontext ends = fake_context(DEVICE_CONTEXT);
    CUstream slow = fake_program_stream(1);
    CUdeviceptr p = take(1 * MIB);
    struct range_view view;
    int paged;

    (void)state;
    assert_int_equal(range_free_async(p, slow, &paged), CUDA_SUCCESS);
    context_wait_leave(ends, CONTEXT_WAIT_ENDS);
    fake_finish(slow);
    deferred_retire();
    assert_int_equal(range_find(p, &view), 1);
    context_wait_left(ends);
    deferred_retire();
    assert_int_equal(range_find(p, &view), 0);
}

/* If it goes its events are nobody's, and its memory's events are destroyed. Nothing holds a
 * context once all is over. */
static void test_freed_when_a_context_ends(void **state)
{
    CUcontext stays = fake_context(DEVICE_ASYNC), ends = fake_context(DEVICE_CONTEXT);
    CUstream of_ends = fake_program_stream(1), of_stays;
    CUdeviceptr p = take(1 * MIB), q = take(1 * MIB), r;
    struct range_view view;
    size_t events;
    int paged;

    (void)state;
    t_fake_ctx = stays;
    of_stays = fake_program_stream(1);
    r = take(1 * MIB);
    events = g_fake.live_events;
    assert_int_equal(range_free_async(p, of_stays, &paged), CUDA_SUCCESS);
    t_fake_ctx = ends;
    assert_int_equal(range_free_async(q, of_ends, &paged), CUDA_SUCCESS);
    assert_int_equal(range_free_async(r, of_ends, &paged), CUDA_SUCCESS);
    t_fake_ctx = stays;
    context_wait_leave(ends, CONTEXT_WAIT_ENDS);
    end_events(ends);
    deferred_retire();
    range_context_destroyed(ends);
    residency_context_destroyed(ends, 1);
    context_wait_left(ends);
    assert_int_equal(range_find(p, &view), 0);
    assert_int_equal(range_find(q, &view), 0);
    assert_int_equal(range_find(r, &view), 0);
    assert_int_equal(g_fake.live_events, events + 2);
    assert_int_equal(FAKE_READ(g_fake.misuse), 0);
    context_wait_leave(stays, CONTEXT_WAIT_ENDS);
    context_wait_left(stays);
}

static void *give_back(void *arg)
{
    t_fake_ctx = arg;
    range_give_back();
    return NULL;
}

static int is_to_end(CUcontext ctx)
{
    struct context_hold hold;
    int held = context_hold(&hold, ctx);

    if (held)
        context_let_go(&hold);
    return !held;
}

/* A context ends when what is given back of it has gone: its memory would be freed twice. */
static void test_gives_back_before_a_context_ends(void **state)
{
    struct end end = {.ctx = fake_context(DEVICE_CONTEXT)};
    CUdeviceptr p = take(20 * MIB);
    pthread_t giving, ending;
    int paged;

    (void)state;
    assert_int_equal(range_free_async(p, fake_program_stream(0), &paged), CUDA_SUCCESS);
    fake_gate("cuMemFree");
    assert_int_equal(pthread_create(&giving, NULL, give_back, fake_context(DEVICE_ASYNC)), 0);
    WAIT_FOR(FAKE_READ(g_fake.at_gate));
    assert_int_equal(pthread_create(&ending, NULL, end_in_thread, &end), 0);
    WAIT_FOR(is_to_end(end.ctx));
    assert_false(atomic_load(&end.begun));
    fake_gate(NULL);
    pthread_join(giving, NULL);
    pthread_join(ending, NULL);
    range_context_destroyed(end.ctx);
    residency_context_destroyed(end.ctx, 1);
    context_wait_left(end.ctx);
}

static void test_context_destroyed(void **state)
{
    CUcontext first, second;
    CUdeviceptr a, b, c, d;
    struct range_view view;
    uint64_t total;
    int paged;

    (void)state;
    first = fake_context(DEVICE_CONTEXT);
    total = free_bytes_of(DEVICE_CONTEXT);
    a = take(20 * MIB);
    b = take(1 * MIB);
    c = take(1 * KIB);
    assert_int_equal(range_free_async(b, fake_program_stream(1), &paged), CUDA_SUCCESS);
    second = fake_context(DEVICE_CONTEXT);
    d = take(1 * MIB);
    assert_true(d < b || d >= b + 32 * MIB); /* contexts share no range */
    range_context_destroyed(first);
    residency_context_destroyed(first, 0);
    first->destroyed = 1;
    assert_int_equal(range_find(a, &view), 0);
    assert_int_equal(range_find(b, &view), 0);
    assert_int_equal(range_find(c, &view), 0);
    assert_int_equal(range_find(d, &view), 1);
    assert_int_equal(stats()->plain_bytes, 0);
    assert_int_equal(free_bytes_of(DEVICE_CONTEXT), total - 1 * MIB);
    give(d);
    range_context_destroyed(second);
    residency_context_destroyed(second, 0);
    assert_int_equal(free_bytes_of(DEVICE_CONTEXT), total);
    g_fake.live_managed_bytes = 0; /* a real driver gives back what its context held */
}

/* What a free in stream order has emptied is kept, for the driver's free may hold up all other
 * calls: it serves what takes half of its pages or more, and goes when the program has waited for
 * its context twice without any use for it. */
static void test_emptied_ranges_are_kept(void **state)
{
    CUcontext ctx;
    CUstream stream;
    CUdeviceptr p, q, small;
    uint64_t managed;
    int paged;

    (void)state;
    ctx = fake_context(DEVICE_KEPT);
    stream = fake_program_stream(0);
    g_fake.limit[DEVICE_KEPT] = 64 * MIB;
    managed = g_fake.live_managed_bytes;
    p = take(40 * MIB);
    assert_int_equal(range_free_async(p, stream, &paged), CUDA_SUCCESS);
    assert_int_equal(take(40 * MIB), p);
    assert_int_equal(range_free_async(p, stream, &paged), CUDA_SUCCESS);
    assert_int_equal(take(20 * MIB), p);
    assert_int_equal(range_free_async(p, stream, &paged), CUDA_SUCCESS);
    q = take(18 * MIB);
    assert_int_not_equal(q, p);
    assert_int_equal(range_free_async(q, stream, &paged), CUDA_SUCCESS);
    assert_int_equal(take(18 * MIB), q); /* the smaller of those that would do */
    assert_int_equal(range_free_async(q, stream, &paged), CUDA_SUCCESS);
    assert_int_equal(g_fake.live_managed_bytes, managed + 58 * MIB);
    /* What has outgrown them has room to grow further, and VRAM that they hold goes first. */
    q = take(50 * MIB);
    assert_int_equal(g_fake.live_managed_bytes, managed + 158 * MIB);
    assert_int_equal(FAKE_READ(g_fake.resident[DEVICE_KEPT]), 64 * MIB);
    assert_false(residency_active(DEVICE_KEPT));
    assert_int_equal(range_free_async(q, stream, &paged), CUDA_SUCCESS);
    assert_int_equal(take(60 * MIB), q);
    assert_int_equal(range_free_async(q, stream, &paged), CUDA_SUCCESS);
    /* Where the driver gives no more, any that is large enough will do, also for what is packed. */
    fake_fail("cuMemAllocManaged", 0, 2, CUDA_ERROR_OUT_OF_MEMORY);
    small = take(1 * MIB);
    assert_in_range(small, p, p + 58 * MIB);
    assert_int_equal(g_fake.live_managed_bytes, managed + 158 * MIB);
    assert_int_equal(range_free_async(small, stream, &paged), CUDA_SUCCESS);
    /* Not in a call that does not wait. */
    small = take(1 * KIB);
    assert_int_equal(range_free_async(small, stream, &paged), CUDA_SUCCESS);
    assert_int_equal(paged, 0);
    assert_int_equal(g_fake.live_managed_bytes, managed + 158 * MIB);
    /* Nor in a free that is the driver's own, however small it is. */
    give(take(1 * KIB));
    give(take(1 * KIB));
    assert_int_equal(g_fake.live_managed_bytes, managed + 158 * MIB);
    range_waited(ctx);
    assert_int_equal(g_fake.live_managed_bytes, managed + 158 * MIB);
    assert_int_equal(take(60 * MIB), q);
    range_waited(ctx); /* the two that were not used in between */
    assert_int_equal(g_fake.live_managed_bytes, managed + 100 * MIB);
    range_waited(ctx);
    assert_int_equal(view_of(q).bytes, 60 * MIB);
    assert_int_equal(range_free_async(q, stream, &paged), CUDA_SUCCESS);
    range_waited(ctx);
    assert_int_equal(g_fake.live_managed_bytes, managed + 100 * MIB);
    give(take(1 * MIB)); /* waits as well */
    assert_int_equal(g_fake.live_managed_bytes, managed);
    assert_int_equal(FAKE_READ(g_fake.misuse), 0);
}

/* What another context has emptied waits for another wait. */
static void test_waits_are_of_a_context(void **state)
{
    CUcontext first = fake_context(DEVICE_ASYNC), second;
    uint64_t managed = g_fake.live_managed_bytes, kept = range_list_kept_bytes();
    CUdeviceptr p = take(20 * MIB), q;
    int paged;

    (void)state;
    assert_int_equal(range_free_async(p, fake_program_stream(0), &paged), CUDA_SUCCESS);
    second = fake_context(DEVICE_ASYNC);
    q = take(18 * MIB);
    assert_int_equal(range_free_async(q, fake_program_stream(0), &paged), CUDA_SUCCESS);
    assert_int_equal(g_fake.live_managed_bytes, managed + 38 * MIB);
    for (int i = 0; i < 2; i++)
        range_waited(second);
    assert_int_equal(g_fake.live_managed_bytes, managed + 20 * MIB);
    /* A context that goes takes what is kept of it along, also from the account of that. */
    range_context_destroyed(first);
    g_fake.live_managed_bytes -= 20 * MIB;
    assert_int_equal(range_list_kept_bytes(), kept);
}

/* Allocated and freed in stream order, each of another size than those before. */
static void take_and_give(CUstream stream, size_t bytes)
{
    CUdeviceptr p = take(bytes);
    int paged;

    assert_int_equal(range_free_async(p, stream, &paged), CUDA_SUCCESS);
}

/* What grows bit by bit leaves few ranges behind: address space of not more than four times what it
 * has grown to. When it gets smaller again, it finds a place in what there is, and needs as much
 * again at most; and so does what comes in any order. */
static void test_changing_sizes_leave_little(void **state)
{
    CUcontext ctx = fake_context(DEVICE_GROWS);
    CUstream stream = fake_program_stream(0);
    uint64_t managed = g_fake.live_managed_bytes, grown;
    size_t bytes;

    (void)state;
    for (bytes = 16 * MIB; bytes <= 400 * MIB; bytes += 2 * MIB) {
        take_and_give(stream, bytes);
        assert_true(g_fake.live_managed_bytes - managed <= 4 * bytes);
    }
    grown = g_fake.live_managed_bytes - managed;
    for (; bytes >= 16 * MIB; bytes -= 2 * MIB)
        take_and_give(stream, bytes);
    assert_true(g_fake.live_managed_bytes - managed <= 2 * grown);
    grown = g_fake.live_managed_bytes - managed;
    for (int i = 0; i < 1000; i++)
        take_and_give(stream, RANGE_PACK_MAX + (size_t)(i * 61 % 192) * PAGE_BYTES);
    assert_true(g_fake.live_managed_bytes - managed <= 2 * grown);
    for (int i = 0; i < 2; i++)
        range_waited(ctx);
    assert_int_equal(g_fake.live_managed_bytes, managed);
}

/* Beside one that is far smaller nothing has grown, and gets what it asks for. */
static void test_no_room_to_grow_unless_it_grows(void **state)
{
    CUcontext ctx = fake_context(DEVICE_GROWS);
    CUstream stream = fake_program_stream(0);
    uint64_t managed = g_fake.live_managed_bytes;

    (void)state;
    take_and_give(stream, 16 * MIB);
    take_and_give(stream, 100 * MIB);
    assert_int_equal(g_fake.live_managed_bytes, managed + 116 * MIB);
    take_and_give(stream, 120 * MIB);
    assert_int_equal(g_fake.live_managed_bytes, managed + 116 * MIB + 240 * MIB);
    for (int i = 0; i < 2; i++)
        range_waited(ctx);
    assert_int_equal(g_fake.live_managed_bytes, managed);
}

/* What counts is what a range has of pages, not its room to grow: what gets a little smaller each
 * time stays where it is, and of two places that with the pages is taken. */
static void test_pages_are_used_again(void **state)
{
    CUcontext ctx = fake_context(DEVICE_GROWS);
    CUstream stream = fake_program_stream(0);
    uint64_t managed = g_fake.live_managed_bytes;
    CUdeviceptr p;
    int paged;

    (void)state;
    take_and_give(stream, 200 * MIB);
    for (size_t bytes = 390 * MIB; bytes > 200 * MIB; bytes -= 2 * MIB)
        take_and_give(stream, bytes);
    assert_int_equal(g_fake.live_managed_bytes, managed + 200 * MIB + 780 * MIB);
    for (int i = 0; i < 2; i++)
        range_waited(ctx);
    take_and_give(stream, 60 * MIB);
    take_and_give(stream, 80 * MIB); /* in 160 MiB */
    p = take(200 * MIB);
    assert_int_equal(range_free_async(p, stream, &paged), CUDA_SUCCESS);
    assert_int_equal(take(150 * MIB), p);
    give(p);
    range_waited(ctx);
    assert_int_equal(g_fake.live_managed_bytes, managed);
}

static int setup(void **state)
{
    (void)state;
    range_bench_budgets();
    fake_budget(DEVICE_OOM, 32 * MIB, 64 * MIB);
    fake_budget(DEVICE_KEPT, 64 * MIB, 8 * GIB);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_room_that_is_on_its_way, set_host_room,
                                        reset_host_room),
        cmocka_unit_test(test_freed_twice),
        cmocka_unit_test(test_async_free),
        cmocka_unit_test(test_one_look_for_each_stream),
        cmocka_unit_test(test_free_from_elsewhere),
        cmocka_unit_test(test_free_while_a_context_ends),
        cmocka_unit_test(test_freed_when_a_context_ends),
        cmocka_unit_test(test_gives_back_before_a_context_ends),
        cmocka_unit_test(test_context_destroyed),
        cmocka_unit_test(test_emptied_ranges_are_kept),
        cmocka_unit_test(test_waits_are_of_a_context),
        cmocka_unit_test(test_changing_sizes_leave_little),
        cmocka_unit_test(test_no_room_to_grow_unless_it_grows),
        cmocka_unit_test(test_pages_are_used_again),
    };

    return cmocka_run_group_tests(tests, setup, reset_host_room);
}
