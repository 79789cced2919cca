/* test_ptx_warp.c - barriers and the collectives of a warp.
 *
 * Strategy: one kernel for each matter; the results of all threads are compared with a plain loop
 * over lanes that states the rule once more, or with values written down. Divergence, partial
 * warps, exited lanes, barriers that cannot complete, and registers of every kind that live across
 * a wait.
 */
#include "ptx_rig.h"

struct result {
    uint32_t value, flag;
};

static struct rig *g_rig;
static uint64_t g_out;

static int setup(void **state)
{
    (void)state;
    g_rig = rig_new();
    g_out = rig_alloc(g_rig, 65536);
    rig_load_file(g_rig, "warp");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_free(g_rig);
    return 0;
}

static struct result *run(const char *kernel, uint32_t threads, uint32_t b, uint32_t c,
                          int expected)
{
    struct {
        uint64_t out;
        uint32_t b, c;
    } params = {g_out, b, c};
    struct result *out = rig_at(g_rig, g_out);

    memset(out, 0xee, 8 * 1024);
    assert_int_equal(rig_run(g_rig, kernel, 1, threads, 0, &params), expected);
    return out;
}

/* The ISA's rule; mode: 0 up, 1 down, 2 bfly, 3 idx. */
static int source_lane(int mode, int lane, uint32_t b, uint32_t c, int *inside)
{
    int clamp = (int)(c & 31), segment = (int)(c >> 8 & 31), at = (int)(b & 31);
    int most = (lane & segment) | (clamp & ~segment), least = lane & segment;
    int from = mode == 0   ? lane - at
               : mode == 1 ? lane + at
               : mode == 2 ? lane ^ at
                           : (least | (at & ~segment));

    *inside = mode == 0 ? from >= most : from <= most;
    return *inside ? from : lane;
}

static void test_shuffles(void **state)
{
    static const char *const kernels[] = {"shfl_up", "shfl_down", "shfl_bfly", "shfl_idx"};
    static const uint32_t shifts[] = {0, 1, 3, 7, 16, 31, 35};

    (void)state;
    for (int mode = 0; mode < 4; mode++) {
        /* Whole warps, and segments of 8 lanes. */
        const uint32_t clamps[] = {mode == 0 ? 0 : 31, mode == 0 ? 0x1800 : 0x181f};

        for (size_t i = 0; i < sizeof(shifts) / sizeof(shifts[0]); i++) {
            for (int k = 0; k < 2; k++) {
                struct result *out = run(kernels[mode], 64, shifts[i], clamps[k], 0);

                for (int tid = 0; tid < 64; tid++) {
                    int inside, from = source_lane(mode, tid & 31, shifts[i], clamps[k], &inside);

                    assert_int_equal(out[tid].value, 1000 + (tid & 32) + from);
                    assert_int_equal(out[tid].flag, inside);
                }
            }
        }
    }
}

static void test_shuffle_values_written_down(void **state)
{
    struct result *out = run("shfl_up", 32, 1, 0, 0);

    (void)state;
    assert_int_equal(out[0].value, 1000);
    assert_int_equal(out[0].flag, 0);
    assert_int_equal(out[31].value, 1030);
    out = run("shfl_down", 32, 2, 31, 0);
    assert_int_equal(out[0].value, 1002);
    assert_int_equal(out[30].value, 1030);
    assert_int_equal(out[30].flag, 0);
    out = run("shfl_bfly", 32, 16, 31, 0);
    assert_int_equal(out[3].value, 1019);
    out = run("shfl_idx", 32, 5, 31, 0);
    assert_int_equal(out[17].value, 1005);
}

static void test_shuffle_of_some(void **state)
{
    struct result *out = run("shfl_some", 32, 6, 0x000000f0, 0);

    (void)state;
    assert_int_equal(out[3].value, 0);
    assert_int_equal(out[4].value, 6);
    assert_int_equal(out[7].value, 6);
    /* From a lane that takes no part comes nothing that anybody could use. */
    out = run("shfl_some", 32, 9, 0x000000f0, 0);
    assert_int_not_equal(out[4].value, 9);
    out = run("shfl_float", 32, 0, 0, 0);
    assert_int_equal(out[3].value, 0x40e00000);
    assert_int_equal(out[31].value, 0x42780000);
}

static void test_votes(void **state)
{
    struct result *out = run("votes", 40, 1, 0, 0);

    (void)state;
    assert_int_equal(out[0].value, 0xaaaaaaaa);
    assert_int_equal(out[0].flag, 1 | 2);
    assert_int_equal(out[39].value, 0xaa); /* a warp of eight lanes */
    assert_int_equal(out[39].flag, 1 | 2);
    out = run("votes", 32, 7, 0, 0);
    assert_int_equal(out[5].value, 0);
    assert_int_equal(out[5].flag, 1 | 4 | 8);
}

static void test_matches_and_reductions(void **state)
{
    struct result *out = run("matches", 32, 0, 5, 0);

    (void)state;
    assert_int_equal(out[0].value, 0x000000ff);
    assert_int_equal(out[31].value, 0xff000000);
    assert_int_equal(out[0].flag, 0); /* all lanes plus one */
    out = run("redux", 32, 0, 0, 0);
    assert_int_equal(out[9].value, 496);
    assert_int_equal((int32_t)out[9].flag, -26);
    out = run("elects", 32, 0, 0xf0, 0);
    assert_int_equal(out[3].value, 0);
    assert_int_equal(out[6].value, 4);
    assert_int_equal(out[4].flag, 1);
    assert_int_equal(out[5].flag, 0);
}

static void test_active(void **state)
{
    struct result *out = run("active", 32, 0, 0, 0);

    (void)state;
    assert_int_equal(out[0].value, 0x55555555);
    assert_int_equal(out[1].value, 0xaaaaaaaa);
    assert_int_equal(out[0].flag, 0xffffffff);
}

static void test_old_forms(void **state)
{
    struct result *out;

    (void)state;
    rig_load_file(g_rig, "old_forms");
    out = run("old_forms", 32, 0, 0, 0);
    assert_int_equal(out[3].value, 7);
    assert_int_equal(out[30].value, 30);
    assert_int_equal(out[0].flag, 0xf);
}

static void test_leavers(void **state)
{
    struct result *out = run("leavers", 64, 9, 0, 0);

    (void)state;
    assert_int_equal(out[0].value, 0x3ff);
    assert_int_equal(out[9].flag, 7);
    assert_int_equal(out[10].flag, 0xeeeeeeee);
    /* A lane that is not in its own mask is an error, not a hang. */
    run("stranger", 32, 0, 0, 719);
}

static uint8_t *run_barriers(const char *kernel, uint32_t threads, int expected)
{
    uint8_t *out = rig_at(g_rig, g_out);

    memset(out, 0, 65536);
    assert_int_equal(rig_run(g_rig, kernel, 1, threads, 0, &g_out), expected);
    return out;
}

static int setup_barriers(void **state)
{
    (void)state;
    g_rig = rig_new();
    g_out = rig_alloc(g_rig, 65536);
    rig_load_file(g_rig, "barriers");
    return 0;
}

static void test_registers_live_on(void **state)
{
    uint8_t *out = run_barriers("exchange", 70, 0);

    (void)state;
    for (uint32_t tid = 0; tid < 70; tid++) {
        uint8_t *at = out + 40 * tid;

        assert_int_equal(*(uint32_t *)at, (tid + 1) % 70);
        assert_true(*(float *)(at + 4) == (float)tid);
        assert_true(*(double *)(at + 8) == tid);
        assert_int_equal(*(uint16_t *)(at + 16), tid);
        assert_int_equal(*(uint64_t *)(at + 24), tid * tid);
        assert_int_equal(*(uint32_t *)(at + 32), tid > 3);
    }
}

static void test_guarded_write_across_a_barrier(void **state)
{
    uint32_t *out = (uint32_t *)run_barriers("guarded", 33, 0);

    (void)state;
    for (uint32_t i = 0; i < 33; i++)
        assert_int_equal(out[i], i < 5 ? 77 : 500 + i);
}

static void test_barriers_in_a_loop(void **state)
{
    (void)state;
    assert_int_equal(*(uint32_t *)run_barriers("sum", 1024, 0), 1024 * 1023 / 2);
    assert_int_equal(*(uint32_t *)run_barriers("sum", 2, 0), 1);
}

static void test_barrier_reductions(void **state)
{
    struct result *out = (struct result *)run_barriers("reduce", 64, 0);

    (void)state;
    assert_int_equal(out[63].value, 5);
    assert_int_equal(out[0].flag, 1);
    out = (struct result *)run_barriers("reduce", 4, 719); /* bar 3 wants 64 threads */
    (void)out;
}

static void test_named_barriers(void **state)
{
    struct result *out = (struct result *)run_barriers("pipe", 64, 0);

    (void)state;
    for (int i = 0; i < 32; i++)
        assert_int_equal(out[i].value, 3 + 6 + 9);
    assert_int_equal(*(uint32_t *)run_barriers("counted", 40, 0), 3);
    run_barriers("counted", 32, 719);
}

static void test_deadlocks_are_faults(void **state)
{
    (void)state;
    run_barriers("stuck", 32, 719);
    run_barriers("stuck_warp", 32, 719);
    run_barriers("no_such_barrier", 32, 719);
}

static void test_spinning_gives_way(void **state)
{
    (void)state;
    run_barriers("spin", 96, 0);
    assert_int_equal(((uint32_t *)run_barriers("lock", 96, 0))[1], 96);
}

int main(void)
{
    const struct CMUnitTest warps[] = {
        cmocka_unit_test(test_shuffles),
        cmocka_unit_test(test_shuffle_values_written_down),
        cmocka_unit_test(test_shuffle_of_some),
        cmocka_unit_test(test_votes),
        cmocka_unit_test(test_matches_and_reductions),
        cmocka_unit_test(test_active),
        cmocka_unit_test(test_leavers),
        cmocka_unit_test(test_old_forms), /* loads another module */
    };
    const struct CMUnitTest barriers[] = {
        cmocka_unit_test(test_registers_live_on),
        cmocka_unit_test(test_barriers_in_a_loop),
        cmocka_unit_test(test_guarded_write_across_a_barrier),
        cmocka_unit_test(test_barrier_reductions),
        cmocka_unit_test(test_named_barriers),
        cmocka_unit_test(test_deadlocks_are_faults),
        cmocka_unit_test(test_spinning_gives_way),
    };

    return cmocka_run_group_tests(warps, setup, teardown) +
           cmocka_run_group_tests(barriers, setup_barriers, teardown);
}
