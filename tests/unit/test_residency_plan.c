/* Strategy: the planner is wrapped (the linker's --wrap), so that the test does things of its own
 * at the moment when a plan is being made, on the pager's thread: what launching threads may do
 * meanwhile, for the device's lock is not held. Then it looks at what became of the plan. */
#include "tests/unit/residency_bench.h"
#include <string.h>

#define EXTENTS 20u

enum { DEVICE_FREE, DEVICE_FORGOTTEN, DEVICE_LAUNCHES, DEVICE_GROWN, DEVICE_SHRUNK };

static const struct bench *g_bench;
static void (*g_meanwhile)(const struct bench *b); /* once, while a plan is being made */
static int g_done;

__typeof__(schedule_plan_create) __real_schedule_plan_create, __wrap_schedule_plan_create;

int __wrap_schedule_plan_create(const struct schedule_trace *step,
                                const struct schedule_extent *extents, size_t extent_count,
                                uint64_t budget_bytes, uint64_t window_bytes,
                                enum schedule_ahead ahead, struct schedule_plan *out)
{
    int err = __real_schedule_plan_create(step, extents, extent_count, budget_bytes, window_bytes,
                                          ahead, out);

    if (g_meanwhile && pthread_mutex_trylock(&g_bench->res->lock) == 0) {
        g_meanwhile(g_bench);
        g_meanwhile = NULL;
        g_done = 1;
        pthread_mutex_unlock(&g_bench->res->lock);
    }
    return err;
}

/* A cycle over extents of which less than half fit, until a plan has been made beside meanwhile. */
static void plan_beside(struct bench *b, void (*meanwhile)(const struct bench *b))
{
    g_bench = b;
    g_done = 0;
    pthread_mutex_lock(&b->res->lock);
    g_meanwhile = meanwhile;
    pthread_mutex_unlock(&b->res->lock);
    for (size_t i = 0; !LOCKED(b->res, b->res->learned || g_done); i = (i + 1) % EXTENTS) {
        launch(b, i);
        fake_finish(b->stream);
    }
    WAIT_FOR_PAGER(b->res, LOCKED(b->res, b->res->idle));
    assert_int_equal(LOCKED(b->res, g_done), 1);
}

static void nothing(const struct bench *b)
{
    assert_false(b->res->learned);
}

static void test_lock_is_free(void **state)
{
    struct bench b = bench_make(DEVICE_FREE, EXTENTS, HELD);

    (void)state;
    plan_beside(&b, nothing);
    assert_true(LOCKED(b.res, b.res->learned));
    assert_int_equal(LOCKED(b.res, b.res->plan.launches), EXTENTS);
    bench_end(&b);
}

static void forget(const struct bench *b)
{
    learn_forget(b->res);
}

/* A plan for what has been forgotten meanwhile is none. */
static void test_forgotten(void **state)
{
    struct bench b = bench_make(DEVICE_FORGOTTEN, EXTENTS, HELD);

    (void)state;
    plan_beside(&b, forget);
    assert_false(LOCKED(b.res, b.res->learned));
    plan_beside(&b, nothing);
    assert_true(LOCKED(b.res, b.res->learned));
    bench_end(&b);
}

static void touch_some(const struct bench *b)
{
    for (size_t i = 0; i < 7; i++)
        learn_touch(b->res, &b->range->extents[i], 1);
}

/* Launches that were recorded meanwhile are no part of the step, nor of one that is planned anew.
 */
static void test_launches(void **state)
{
    struct bench b = bench_make(DEVICE_LAUNCHES, EXTENTS, HELD);

    (void)state;
    plan_beside(&b, touch_some);
    assert_true(LOCKED(b.res, b.res->learned));
    pthread_mutex_lock(&b.res->lock);
    b.res->misplaced = 1;
    pthread_mutex_unlock(&b.res->lock);
    WAIT_FOR_PAGER(b.res, LOCKED(b.res, b.res->idle && !b.res->misplaced));
    assert_int_equal(LOCKED(b.res, b.res->plan.launches), EXTENTS);
    bench_end(&b);
}

static struct extent g_new, *g_table[EXTENTS_MAX];

static void grow(const struct bench *b)
{
    struct residency *res = b->res;

    memcpy(g_table, res->table, res->table_count * sizeof(*g_table));
    g_new = (struct extent){.id = res->table_count, .successor = EXTENT_NONE};
    g_table[res->table_count] = &g_new;
    res->table = g_table;
    res->table_count++;
    res->table_room = EXTENTS_MAX;
}

/* Extents that came meanwhile are in no plan. */
static void test_grown(void **state)
{
    struct bench b = bench_make(DEVICE_GROWN, EXTENTS, HELD);
    struct extent **table = b.res->table;

    (void)state;
    plan_beside(&b, grow);
    assert_true(LOCKED(b.res, b.res->learned));
    pthread_mutex_lock(&b.res->lock);
    assert_int_equal(b.res->plan.extent_count, b.res->table_count - 1);
    assert_int_equal(g_new.fixed, 0);
    b.res->table = table;
    b.res->table_count--;
    b.res->table_room = b.res->table_count;
    learn_forget(b.res);
    pthread_mutex_unlock(&b.res->lock);
    bench_end(&b);
}

static void shrink(const struct bench *b)
{
    b->res->plain_bytes += 2 * PAGE_BYTES;
    learn_room_changed(b->res);
}

/* Room that was taken meanwhile is not planned with. */
static void test_shrunk(void **state)
{
    struct bench b = bench_make(DEVICE_SHRUNK, EXTENTS, HELD);

    (void)state;
    plan_beside(&b, shrink);
    WAIT_FOR_PAGER(b.res, LOCKED(b.res, b.res->idle && !b.res->misplaced));
    assert_true(LOCKED(b.res, b.res->learned));
    assert_int_equal(LOCKED(b.res, b.res->planned_limit), BUDGET - 2 * PAGE_BYTES);
    assert_true(LOCKED(b.res, b.res->plan.fixed_bytes) <= BUDGET - 2 * PAGE_BYTES);
    pthread_mutex_lock(&b.res->lock);
    b.res->plain_bytes -= 2 * PAGE_BYTES;
    pthread_mutex_unlock(&b.res->lock);
    bench_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lock_is_free), cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_launches),     cmocka_unit_test(test_grown),
        cmocka_unit_test(test_shrunk),
    };

    return cmocka_run_group_tests(tests, bench_setup, NULL);
}
