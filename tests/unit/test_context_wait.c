/* Strategy: a fake driver whose cuCtxSynchronize() stops where the test says so. A wait that ends
 * tells what the driver told; one that does not is given up, and none is begun beside it. A context
 * that is to be destroyed is left alone first, by waits and by holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <unistd.h>

#include "context_wait.h"
#include "tests/unit/context_end.h"
#include "tests/unit/fake_driver.h"

#define DAY_NS 86400000000000ull

static void test_tells_the_result(void **state)
{
    CUcontext waited = fake_context(0), current = fake_context(1);

    (void)state;
    assert_int_equal(context_wait(waited, DAY_NS), CUDA_SUCCESS);
    assert_int_equal(g_fake.syncs, 1);
    assert_ptr_equal(g_fake.synced, waited);
    assert_ptr_equal(t_fake_ctx, current);
    fake_fail("cuCtxSynchronize", 0, 1, CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(context_wait(current, DAY_NS), CUDA_ERROR_ILLEGAL_ADDRESS);
}

static void test_is_given_up(void **state)
{
    CUcontext ctx = fake_context(0);
    int syncs = g_fake.syncs;
    CUresult result;

    (void)state;
    fake_gate("cuCtxSynchronize");
    assert_int_equal(context_wait(ctx, 1), CUDA_ERROR_NOT_READY);
    /* It goes on: the next one does not even begin. */
    assert_int_equal(context_wait(ctx, DAY_NS), CUDA_ERROR_NOT_READY);
    /* For another context one begins. */
    assert_int_equal(context_wait(fake_context(1), 1), CUDA_ERROR_NOT_READY);
    WAIT_FOR(FAKE_READ(g_fake.at_gate) == 2);
    fake_gate(NULL);
    WAIT_FOR((result = context_wait(ctx, DAY_NS)) != CUDA_ERROR_NOT_READY);
    assert_int_equal(result, CUDA_SUCCESS);
    WAIT_FOR(FAKE_READ(g_fake.syncs) == syncs + 3); /* the other context's may be the last */
}

static void *open_gate(void *arg)
{
    fake_gate(NULL);
    return arg;
}

static void test_leaves_what_ends(void **state)
{
    CUcontext ctx = fake_context(0), other = fake_context(1);
    int syncs = g_fake.syncs;
    pthread_t thread;

    (void)state;
    fake_gate("cuCtxSynchronize");
    assert_int_equal(context_wait(ctx, 1), CUDA_ERROR_NOT_READY);
    WAIT_FOR(FAKE_READ(g_fake.at_gate) == 1);
    context_wait_leave(ctx, 1); /* no longer than it is told to */
    context_wait_left(ctx);
    context_wait_leave(other, CONTEXT_WAIT_ENDS); /* which nobody waits for */
    context_wait_left(other);
    assert_int_equal(pthread_create(&thread, NULL, open_gate, NULL), 0);
    context_wait_leave(ctx, CONTEXT_WAIT_ENDS);
    assert_int_equal(FAKE_READ(g_fake.syncs), syncs + 1);
    pthread_join(thread, NULL);
    /* Until it has ended no wait begins. */
    assert_int_equal(context_wait(ctx, DAY_NS), CUDA_ERROR_NOT_READY);
    assert_int_equal(context_wait(other, DAY_NS), CUDA_SUCCESS);
    context_wait_left(ctx);
    assert_int_equal(context_wait(ctx, DAY_NS), CUDA_SUCCESS);
}

static int may_hold(CUcontext ctx)
{
    struct context_hold hold;
    int held = context_hold(&hold, ctx);

    if (held)
        context_let_go(&hold);
    return held;
}

/* An end begins when the last hold is let go; meanwhile there is no new one, but of others. */
static void test_holds_what_would_end(void **state)
{
    struct end end = {.ctx = fake_context(0)};
    struct context_hold first, second;
    pthread_t thread;

    (void)state;
    assert_true(context_hold(&first, end.ctx));
    assert_true(context_hold(&second, end.ctx));
    context_wait_leave(end.ctx, 1); /* no longer than it is told to */
    assert_false(may_hold(end.ctx));
    context_wait_left(end.ctx);
    assert_int_equal(pthread_create(&thread, NULL, end_in_thread, &end), 0);
    WAIT_FOR(!may_hold(end.ctx));
    assert_true(may_hold(fake_context(1)));
    context_let_go(&first);
    assert_false(atomic_load(&end.begun));
    context_let_go(&second);
    pthread_join(thread, NULL);
    assert_false(may_hold(end.ctx));
    context_wait_left(end.ctx);
    assert_true(may_hold(end.ctx));
}

/* What this thread waits for in the meantime happens in another one. */
struct meantime {
    void (*happens)(void);
    atomic_int awaited, happened;
};

static void *happen_in_thread(void *arg)
{
    struct meantime *meantime = arg;

    WAIT_FOR(atomic_load(&meantime->awaited));
    atomic_store(&meantime->happened, 1);
    meantime->happens();
    return NULL;
}

/* Does wait() return only when happens() has? */
static int waits_for(void (*wait)(void), void (*happens)(void))
{
    struct meantime meantime = {.happens = happens};
    pthread_t thread;
    int happened;

    assert_int_equal(pthread_create(&thread, NULL, happen_in_thread, &meantime), 0);
    atomic_store(&meantime.awaited, 1);
    wait();
    happened = atomic_load(&meantime.happened);
    pthread_join(thread, NULL);
    return happened;
}

static CUcontext g_again; /* a handle that comes again, before the end of its context is over */

static void meet_new(void)
{
    context_wait_new(g_again);
}

static void leave_old(void)
{
    context_wait_left(g_again);
}

static void test_new_waits_for_the_old(void **state)
{
    (void)state;
    g_again = fake_context(0);
    context_wait_leave(g_again, CONTEXT_WAIT_ENDS);
    context_wait_new(fake_context(1));
    assert_true(waits_for(meet_new, leave_old));
}

#define PRIMARY 3 /* a device */

static void begin_primary(void)
{
    context_primary_begins(PRIMARY, DAY_NS);
}

static void begun_primary(void)
{
    context_primary_begun(PRIMARY);
}

static void end_primary(void)
{
    context_primary_ends(PRIMARY, DAY_NS);
}

static void ended_primary(void)
{
    context_primary_ended(PRIMARY);
}

/* Beginnings need not wait for each other. */
static void test_primary_begins_or_ends(void **state)
{
    (void)state;
    end_primary();
    context_primary_begins(PRIMARY + 1, DAY_NS);
    context_primary_begun(PRIMARY + 1);
    assert_true(waits_for(begin_primary, ended_primary));
    begin_primary();
    begun_primary();
    assert_true(waits_for(end_primary, begun_primary));
    assert_true(waits_for(end_primary, ended_primary));
    ended_primary();
}

/* Nobody waits for ever. */
static void test_primary_is_not_awaited_for_ever(void **state)
{
    (void)state;
    end_primary();
    context_primary_begins(PRIMARY, 1);
    context_primary_ends(PRIMARY, 1);
    begun_primary();
    ended_primary();
    ended_primary();
    begin_primary();
    begun_primary();
}

static void test_primary_of_no_device(void **state)
{
    const CUdevice none[] = {-1, (CUdevice)STATS_DEVICES_MAX};

    (void)state;
    for (int i = 0; i < 2; i++) {
        context_primary_begins(none[i], DAY_NS);
        context_primary_ends(none[i], DAY_NS);
        context_primary_ended(none[i]);
        context_primary_begun(none[i]);
    }
}

static void *open_gate_for_two(void *arg)
{
    WAIT_FOR(FAKE_READ(g_fake.at_gate) == 2);
    fake_gate(NULL);
    return arg;
}

/* There is time left for those behind one that does not answer. */
static void test_each_has_its_share(void **state)
{
    CUcontext slow = fake_context(0), other = fake_context(1);
    struct context_set set = {.count = 0};
    pthread_t thread;

    (void)state;
    for (int i = 0; i < 40; i++) {
        context_set_add(&set, slow);
        context_set_add(&set, other);
    }
    assert_int_equal(set.count, 2);
    fake_gate("cuCtxSynchronize");
    assert_int_equal(pthread_create(&thread, NULL, open_gate_for_two, NULL), 0);
    context_wait_each(&set, 2000000000);
    pthread_join(thread, NULL);
    assert_int_equal(set.count, 1);
    assert_ptr_equal(set.ctx[0], other);
    WAIT_FOR(context_wait(slow, DAY_NS) == CUDA_SUCCESS);
    context_set_add(&set, slow);
    context_wait_each(&set, DAY_NS);
    assert_int_equal(set.count, 2);
    for (uintptr_t i = 0; i < 40; i++)
        context_set_add(&set, (CUcontext)(i + 1));
    assert_int_equal(set.count, sizeof(set.ctx) / sizeof(set.ctx[0]));
}

static int setup(void **state)
{
    (void)state;
    alarm(60);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tells_the_result),
        cmocka_unit_test(test_is_given_up),
        cmocka_unit_test(test_leaves_what_ends),
        cmocka_unit_test(test_holds_what_would_end),
        cmocka_unit_test(test_each_has_its_share),
        cmocka_unit_test(test_new_waits_for_the_old),
        cmocka_unit_test(test_primary_begins_or_ends),
        cmocka_unit_test(test_primary_is_not_awaited_for_ever),
        cmocka_unit_test(test_primary_of_no_device),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
