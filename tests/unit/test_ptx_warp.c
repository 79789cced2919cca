/* test_ptx_warp.c - barriers and the collectives of a warp.
 *
 * Strategy: one kernel for each matter; the results of all threads are compared with a plain loop
 * over lanes that states the rule once more, or with values written down. Divergence, partial
 * warps, exited lanes, barriers that cannot complete, and registers of every kind that live across
 * a wait.
 */
#include "ptx_rig.h"

#define HEAD ".version 7.8\n.target sm_90\n.address_size 64\n"

/* Each thread leaves its result and its predicate in r0 and r1, for 8 bytes at out + 8 * tid. */
#define KERNEL(name, body)                                                                         \
    ".visible .entry " name "(.param .u64 p0, .param .u32 p1, .param .u32 p2)\n{\n"                \
    ".reg .b64 out, at; .reg .b32 tid, lane, r<8>, b, c; .reg .pred p, q, s; .reg .f32 f<4>;\n"    \
    "ld.param.u64 out, [p0]; ld.param.u32 b, [p1]; ld.param.u32 c, [p2];\n"                        \
    "mov.u32 tid, %tid.x; mov.u32 lane, %laneid; mul.wide.u32 at, tid, 8; add.u64 at, at, out;\n"  \
    "mov.u32 r0, 0; mov.u32 r1, 0;\n" body "st.global.v2.u32 [at], {r0, r1}; ret;\n}\n"

#define SHUFFLE(mode)                                                                              \
    KERNEL("shfl_" mode, "add.u32 r2, tid, 1000; shfl.sync." mode ".b32 r0|p, r2, b, c, -1;\n"     \
                         "selp.u32 r1, 1, 0, p;\n")
/* Only the lanes of c take part in what follows; the others go round it, to past. */
#define SOME "shr.u32 r2, c, lane; and.b32 r2, r2, 1; setp.eq.u32 p, r2, 0; @p bra past;\n"

#define SHUFFLE_SOME KERNEL("shfl_some", SOME "shfl.sync.idx.b32 r0, tid, b, 31, c; past:\n")
#define SHUFFLE_FLOAT                                                                              \
    KERNEL("shfl_float", "cvt.rn.f32.u32 f0, tid; shfl.sync.down.b32 f1, f0, 1, 31, -1;\n"         \
                         "add.f32 f2, f0, f1; mov.b32 r0, f2;\n")
#define VOTES                                                                                      \
    KERNEL("votes", "and.b32 r2, tid, 1; setp.eq.u32 p, r2, b; setp.lt.u32 q, tid, 1000;\n"        \
                    "vote.sync.ballot.b32 r0, p, -1;\n"                                            \
                    "vote.sync.all.pred s, q, -1; selp.u32 r1, 1, 0, s;\n"                         \
                    "vote.sync.any.pred s, p, -1; selp.u32 r2, 2, 0, s; or.b32 r1, r1, r2;\n"      \
                    "vote.sync.uni.pred s, p, -1; selp.u32 r2, 4, 0, s; or.b32 r1, r1, r2;\n"      \
                    "vote.sync.all.pred s, !p, -1; selp.u32 r2, 8, 0, s; or.b32 r1, r1, r2;\n")
#define MATCHES                                                                                    \
    KERNEL("matches", "shr.u32 r2, tid, 3; match.any.sync.b32 r0, r2, -1;\n"                       \
                      "match.all.sync.b32 r1|p, c, -1; @p add.u32 r1, r1, 1;\n")
#define REDUX                                                                                      \
    KERNEL("redux", "redux.sync.add.u32 r0, tid, -1;\n"                                            \
                    "sub.s32 r2, 5, tid; redux.sync.min.s32 r1, r2, -1;\n")
/* Who stands where: the two sides of a branch see themselves, and all behind it. */
#define ACTIVE                                                                                     \
    KERNEL("active", "and.b32 r2, tid, 1; setp.eq.u32 p, r2, 0; @p bra even;\n"                    \
                     "activemask.b32 r0; bra done; even: activemask.b32 r0; done:\n"               \
                     "activemask.b32 r1;\n")
#define ELECTS KERNEL("elects", SOME "elect.sync r0|p, c; selp.u32 r1, 1, 0, p; past:\n")
/* Old forms without .sync work on whoever stands there. */
#define OLD_FORMS                                                                                  \
    KERNEL("old_forms", "shfl.down.b32 r0, tid, 4, 31;\n"                                          \
                        "setp.lt.u32 p, tid, 4; vote.ballot.b32 r1, p;\n")
/* Lanes above b leave first; the others do not wait for them. */
#define LEAVERS                                                                                    \
    KERNEL("leavers", "setp.gt.u32 p, lane, b; @p exit; vote.sync.ballot.b32 r0, 1, -1;\n"         \
                      "bar.sync 0; bar.warp.sync -1; mov.u32 r1, 7;\n")
#define STRANGER KERNEL("stranger", "vote.sync.ballot.b32 r0, 1, 2;\n")

static const char g_module[] = HEAD SHUFFLE("up") SHUFFLE("down") SHUFFLE("bfly") SHUFFLE("idx")
    SHUFFLE_SOME SHUFFLE_FLOAT VOTES MATCHES REDUX ACTIVE ELECTS OLD_FORMS LEAVERS STRANGER;

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
    rig_load(g_rig, g_module);
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

/* Registers of every kind live across the barrier; shared memory hands a value to a neighbour. */
static const char g_barriers[] = HEAD
    ".visible .entry exchange(.param .u64 p0)\n{\n"
    ".reg .b64 out, at, d; .reg .b32 tid, n, r, s, x; .reg .f32 f; .reg .f64 g; .reg .b16 h;\n"
    ".reg .pred p; .shared .align 4 .b8 cell[1024];\n"
    "ld.param.u64 out, [p0]; mov.u32 tid, %tid.x; mov.u32 n, %ntid.x;\n"
    "cvt.rn.f32.u32 f, tid; cvt.rn.f64.u32 g, tid; cvt.u16.u32 h, tid; mul.wide.u32 d, tid, tid;\n"
    "setp.gt.u32 p, tid, 3; shl.b32 r, tid, 2; mov.u32 s, cell; add.u32 r, r, s;\n"
    "st.shared.u32 [r], tid; bar.sync 0;\n"
    "add.u32 x, tid, 1; rem.u32 x, x, n; shl.b32 x, x, 2; add.u32 x, x, s; ld.shared.u32 x, [x];\n"
    "mul.wide.u32 at, tid, 40; add.u64 at, at, out;\n"
    "st.global.u32 [at], x; st.global.f32 [at+4], f; st.global.f64 [at+8], g;\n"
    "st.global.u16 [at+16], h; st.global.u64 [at+24], d; selp.u32 x, 1, 0, p;\n"
    "st.global.u32 [at+32], x; ret;\n}\n"
    /* A tree reduction: barriers in a loop, half of the threads idle in each round. */
    ".visible .entry sum(.param .u64 p0)\n{\n"
    ".reg .b64 out; .reg .b32 tid, n, r, s, x, y, z; .reg .pred p, q; .shared .align 4 .b8 c[4096];\n"
    "ld.param.u64 out, [p0]; mov.u32 tid, %tid.x; mov.u32 n, %ntid.x; mov.u32 s, c;\n"
    "shl.b32 r, tid, 2; add.u32 r, r, s; st.shared.u32 [r], tid; shr.u32 x, n, 1;\n"
    "round: bar.sync 0; setp.ge.u32 p, tid, x; @p bra idle; shl.b32 y, x, 2; add.u32 y, y, r;\n"
    "ld.shared.u32 y, [y]; ld.shared.u32 z, [r]; add.u32 z, z, y; st.shared.u32 [r], z;\n"
    "idle: shr.u32 x, x, 1; setp.ne.u32 q, x, 0; @q bra round;\n"
    "setp.ne.u32 p, tid, 0; @p ret; st.global.u32 [out], z; ret;\n}\n"
    ".visible .entry reduce(.param .u64 p0)\n{\n"
    ".reg .b64 out, at; .reg .b32 tid, r, s, x; .reg .pred p, q;\n"
    "ld.param.u64 out, [p0]; mov.u32 tid, %tid.x; setp.lt.u32 p, tid, 5; mov.u32 x, 0;\n"
    "bar.red.popc.u32 r, 1, p; bar.red.or.pred q, 1, p; selp.u32 s, 1, 0, q; or.b32 x, x, s;\n"
    "barrier.cta.red.and.pred q, 2, p; selp.u32 s, 2, 0, q; or.b32 x, x, s;\n"
    "bar.red.and.pred q, 3, 64, !p; selp.u32 s, 4, 0, q; or.b32 x, x, s;\n"
    "mul.wide.u32 at, tid, 8; add.u64 at, at, out; st.global.v2.u32 [at], {r, x}; ret;\n}\n"
    /* Warp 0 produces, warp 1 consumes: two barriers, each arrived at by one and waited for by one.
     */
    ".visible .entry pipe(.param .u64 p0)\n{\n"
    ".reg .b64 out, at; .reg .b32 tid, r, i, s; .reg .pred p, q; .shared .align 4 .b8 c[4];\n"
    "ld.param.u64 out, [p0]; mov.u32 tid, %tid.x; setp.ge.u32 p, tid, 32; mov.u32 i, 0; mov.u32 s, 0;\n"
    "@p bra consumer;\n"
    "produce: mul.lo.u32 r, i, 3; st.shared.u32 [c], r; barrier.sync.aligned 1, 64;\n"
    "barrier.sync 2, 64; add.u32 i, i, 1; setp.lt.u32 q, i, 4; @q bra produce; ret;\n"
    "consumer: barrier.sync 1, 64; ld.shared.u32 r, [c]; add.u32 s, s, r; bar.arrive 2, 64;\n"
    "add.u32 i, i, 1; setp.lt.u32 q, i, 4; @q bra consumer;\n"
    "sub.u32 r, tid, 32; mul.wide.u32 at, r, 8; add.u64 at, at, out; st.global.u32 [at], s; ret;\n}\n"
    /* Half of a warp waits at a barrier that the other half never reaches before its own. */
    ".visible .entry stuck(.param .u64 p0)\n{\n"
    ".reg .b32 tid; .reg .pred p; mov.u32 tid, %tid.x; setp.lt.u32 p, tid, 7; @p bra one;\n"
    "bar.sync 1; ret; one: bar.sync 2; ret;\n}\n"
    ".visible .entry stuck_warp(.param .u64 p0)\n{\n"
    ".reg .b32 tid, r; .reg .pred p; mov.u32 tid, %tid.x; setp.lt.u32 p, tid, 7; @p bra one;\n"
    "bar.warp.sync -1; ret; one: bar.sync 0; ret;\n}\n"
    ".visible .entry no_such_barrier(.param .u64 p0)\n{\n"
    ".reg .b32 r; mov.u32 r, 16; bar.sync r; ret;\n}\n"
    /* The last thread sets what the first ones spin on. */
    ".visible .entry spin(.param .u64 p0)\n{\n"
    ".reg .b64 out; .reg .b32 tid, n, r; .reg .pred p;\n"
    "ld.param.u64 out, [p0]; mov.u32 tid, %tid.x; mov.u32 n, %ntid.x; sub.u32 n, n, 1;\n"
    "setp.eq.u32 p, tid, n; @p bra set;\n"
    "wait: ld.volatile.global.u32 r, [out]; setp.eq.u32 p, r, 0; @p bra wait; ret;\n"
    "set: mov.u32 r, 1; st.volatile.global.u32 [out], r; ret;\n}\n"
    /* A lock that everybody takes in turn, and holds across a rest. */
    ".visible .entry lock(.param .u64 p0)\n{\n"
    ".reg .b64 out; .reg .b32 r, x; .reg .pred p; ld.param.u64 out, [p0];\n"
    "take: atom.global.cas.b32 r, [out], 0, 1; setp.ne.u32 p, r, 0; @p bra take;\n"
    "ld.global.u32 x, [out+4]; nanosleep.u32 20; add.u32 x, x, 1; st.global.u32 [out+4], x;\n"
    "membar.gl; atom.global.exch.b32 r, [out], 0; ret;\n}\n";

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
    rig_load(g_rig, g_barriers);
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
    };
    const struct CMUnitTest barriers[] = {
        cmocka_unit_test(test_registers_live_on),    cmocka_unit_test(test_barriers_in_a_loop),
        cmocka_unit_test(test_barrier_reductions),   cmocka_unit_test(test_named_barriers),
        cmocka_unit_test(test_deadlocks_are_faults), cmocka_unit_test(test_spinning_gives_way),
    };

    return cmocka_run_group_tests(warps, setup, teardown) +
           cmocka_run_group_tests(barriers, setup_barriers, teardown);
}
