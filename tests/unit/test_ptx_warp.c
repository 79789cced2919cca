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

/* A barrier in shared memory. Thread 0 comes first and has to wait for all others, three times; in
 * the last phase eight of 64 stay away for good. */
static const char g_mbarrier[] =
    ".version 8.0\n.target sm_90\n.address_size 64\n"
    ".visible .entry phases(.param .u64 p0)\n{\n"
    ".reg .b64 out, state; .reg .b32 tid, n, sum, at, other; .reg .pred p, first, last;\n"
    ".shared .align 8 .b64 bar; .shared .align 4 .b8 cells[256];\n"
    "ld.param.u64 out, [p0]; mov.u32 tid, %tid.x; mad.wide.u32 out, tid, 8, out;\n"
    "setp.eq.u32 first, tid, 0; mov.u32 n, %ntid.x; mov.u32 sum, 0;\n"
    "@first mbarrier.init.shared.b64 [bar], n;\n"
    "bar.sync 0;\n"
    "mad.lo.u32 at, tid, 4, 0; mov.u32 other, cells; add.u32 at, at, other;\n"
    "xor.b32 other, tid, 63; mad.lo.u32 other, other, 4, 0;\n"
    "{ .reg .b32 base; mov.u32 base, cells; add.u32 other, other, base; }\n"
    "add.u32 n, tid, 100; st.shared.u32 [at], n;\n"
    "mbarrier.arrive.shared.b64 state, [bar];\n"
    "WAIT1: mbarrier.test_wait.shared.b64 p, [bar], state;\n@!p bra WAIT1;\n"
    "ld.shared.u32 sum, [other];\n"
    "mbarrier.arrive.release.cta.shared::cta.b64 _, [bar];\n"
    "WAIT2: mbarrier.try_wait.parity.shared::cta.b64 p, [bar], 1;\n@!p bra WAIT2;\n"
    "setp.ge.u32 last, tid, 56;\n"
    "@last mbarrier.arrive_drop.shared.b64 _, [bar];\n"
    "@!last mbarrier.arrive.shared.b64 state, [bar], 1;\n"
    "WAIT3: mbarrier.test_wait.parity.shared.b64 p, [bar], 0;\n@!p bra WAIT3;\n"
    "mbarrier.pending_count.b64 n, state; ld.shared.b64 state, [bar];\n"
    "mbarrier.pending_count.b64 n, state;\n"
    "st.global.v2.u32 [out], {sum, n}; ret;\n}\n"
    ".visible .entry early(.param .u64 p0)\n{\n"
    ".reg .b64 out, s; .reg .pred p; .reg .b32 r<4>; .shared .align 8 .b64 bar;\n"
    "ld.param.u64 out, [p0]; mbarrier.init.shared.b64 [bar], 3;\n"
    "mbarrier.arrive.noComplete.shared.b64 s, [bar], 2; mbarrier.pending_count.b64 r0, s;\n"
    "mbarrier.test_wait.shared.b64 p, [bar], s; selp.u32 r1, 1, 0, p;\n"
    "mbarrier.arrive.shared.b64 s, [bar]; mbarrier.pending_count.b64 r2, s;\n"
    "mbarrier.test_wait.shared.b64 p, [bar], s; selp.u32 r3, 1, 0, p;\n"
    "st.global.v4.u32 [out], {r0, r1, r2, r3}; mbarrier.inval.shared.b64 [bar]; ret;\n}\n"
    ".visible .entry copies(.param .u64 p0)\n{\n"
    ".reg .b64 out, s; .reg .b32 r<2>; .shared .align 8 .b64 bar;\n"
    "ld.param.u64 out, [p0]; mbarrier.init.shared.b64 [bar], 3;\n"
    "cp.async.mbarrier.arrive.shared.b64 [bar]; ld.shared.b64 s, [bar];\n"
    "mbarrier.pending_count.b64 r0, s;\n"
    "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [bar]; ld.shared.b64 s, [bar];\n"
    "mbarrier.pending_count.b64 r1, s; st.global.v2.u32 [out], {r0, r1}; ret;\n}\n"
    ".visible .entry many(.param .u64 p0)\n{\n"
    ".reg .b64 s; .shared .align 8 .b64 bar; mbarrier.init.shared.b64 [bar], 3;\n"
    "mbarrier.arrive.shared.b64 s, [bar], 4; ret;\n}\n"
    ".visible .entry none(.param .u64 p0)\n{\n"
    ".shared .align 8 .b64 bar; mbarrier.init.shared.b64 [bar], 0; ret;\n}\n";

static void test_mbarrier(void **state)
{
    struct result *out;

    (void)state;
    rig_load(g_rig, g_mbarrier);
    out = run("phases", 64, 0, 0, 0);
    for (uint32_t tid = 0; tid < 64; tid++) {
        assert_int_equal(out[tid].value, 100 + (tid ^ 63));
        assert_int_equal(out[tid].flag, 56);
    }
    out = run("early", 1, 0, 0, 0);
    assert_int_equal(out[0].value, 3); /* before the two arrivals */
    assert_int_equal(out[0].flag, 0);
    assert_int_equal(out[1].value, 1);
    assert_int_equal(out[1].flag, 1);
    out = run("copies", 1, 0, 0, 0);
    assert_int_equal(out[0].value, 3);
    assert_int_equal(out[0].flag, 2);
    run("many", 1, 0, 0, 719);
    run("none", 1, 0, 0, 719);
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
        cmocka_unit_test(test_mbarrier), /* loads another module */
    };

    return cmocka_run_group_tests(warps, setup, teardown) +
           cmocka_run_group_tests(barriers, setup_barriers, teardown);
}
