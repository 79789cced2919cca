/* test_ptx_memory.c - loads, stores and atomics of PTX in every state space, and their faults.
 *
 * Strategy: one small kernel for each matter, run on a flat device (ptx_rig.h). Atomics come from a
 * table, each in global and in shared memory and as red; that they are real is shown by two host
 * threads on one counter. Faults are checked for code and address, and that the block stopped
 * there.
 */
#include <pthread.h>

#include "ptx_rig.h"

#define HEAD ".version 7.8\n.target sm_90\n.address_size 64\n"

static void test_loads(void **state)
{
    struct rig *rig = rig_new();
    uint64_t params[2] = {rig_alloc(rig, 64), rig_alloc(rig, 2048)};
    uint8_t *in = rig_at(rig, params[0]), *out = rig_at(rig, params[1]);
    uint32_t words[16];
    const float swapped[4] = {4, 3, 2, 1};
    const float floats[4] = {1, 2, 3, 4};

    (void)state;
    rig_load_file(rig, "loads");
    for (int i = 0; i < 16; i++)
        words[i] = 0xf0e0d080u + (uint32_t)i;
    memcpy(in, words, sizeof(words));
    memcpy(in + 16, floats, sizeof(floats));
    assert_int_equal(rig_run(rig, "loads", 1, 1, 0, params), 0);

#define WORD(at) (*(uint32_t *)(out + (at)))
#define LONG(at) (*(uint64_t *)(out + (at)))
    assert_int_equal(WORD(0), 0xffffff80);
    assert_int_equal(WORD(4), 0x80);
    assert_int_equal(LONG(8), 0xffffffffffffd080);
    assert_int_equal(WORD(16), 0x80f0e0);
    assert_int_equal(LONG(24), 0xfffffffff0e0d080);
    assert_memory_equal(out + 32, swapped, 16);
    assert_memory_equal(out + 48, in + 8, 8);
    assert_memory_equal(out + 56, in, 8);
    assert_memory_equal(out + 64, in + 24, 8);
    assert_int_equal(*(uint16_t *)(out + 72), 0x81f0);
    assert_int_equal(WORD(76), words[2]);
    assert_int_equal(WORD(80), words[3]);
    assert_memory_equal(out + 88, in + 16, 8);
    assert_int_equal(WORD(96), words[0]);
    assert_int_equal(WORD(100), words[1]);
    assert_int_equal(WORD(104), words[2]);
    assert_int_equal(WORD(108), words[3]);
    assert_memory_equal(out + 128, in + 24, 8);
    assert_memory_equal(out + 152, in, 8);
    /* Everything that was loaded and stored, and nothing else, is counted. */
    assert_int_equal(rig->run.read_bytes,
                     1 + 1 + 2 + 2 + 1 + 4 + 16 + 16 + 16 + 4 + 4 + 4 + 8 + 4 * 4 + 32);
    assert_int_equal(rig->run.write_bytes,
                     4 + 4 + 8 + 2 + 1 + 8 + 16 + 16 + 8 + 2 + 4 + 4 + 8 + 4 * 4 + 32);
    rig_free(rig);
}

static void test_shared(void **state)
{
    struct rig *rig = rig_new();
    uint64_t params[1] = {rig_alloc(rig, 64)};
    uint32_t *out = rig_at(rig, params[0]);
    uint32_t at;

    (void)state;
    rig_load_file(rig, "shared");
    assert_int_equal(ptx_kernel_static_shared_bytes(ptx_module_kernel(rig->module, "shared")), 80);
    assert_int_equal(rig_run(rig, "shared", 1, 1, 64, params), 0);
    assert_int_equal(out[0], 11);
    assert_int_equal(out[1], 11);
    assert_int_equal(out[2], 1);
    assert_int_equal(out[4], 0);
    assert_int_equal(out[6], 80); /* 3, 24 at 8, 8, 32; the array that nobody names takes nothing */
    assert_int_equal(out[7], 11);
    assert_int_equal(out[8], 11);
    assert_int_equal(out[9], 144);
    assert_int_equal(out[10], 64);
    assert_int_equal(out[11], 24); /* the fourth of 8 bytes each */
    assert_int_equal(out[12], 0);

    at = 20;
    assert_int_equal(rig_run(rig, "shared_at", 1, 1, 0, &at), 0);
    at = 24;
    assert_int_equal(rig_run(rig, "shared_at", 1, 1, 0, &at), 719);
    assert_int_equal(rig_run(rig, "shared_at", 1, 1, 4, &at), 0);
    at = 0xfffffffc;
    assert_int_equal(rig_run(rig, "shared_at", 1, 1, 0, &at), 719);
    at = 2;
    assert_int_equal(rig_run(rig, "shared_at", 1, 1, 0, &at), 716);
    rig_free(rig);
}

static void test_local(void **state)
{
    struct rig *rig = rig_new();
    struct {
        uint64_t out;
        int32_t index;
    } params = {rig_alloc(rig, 64), 5};
    uint32_t *out = rig_at(rig, params.out);

    (void)state;
    rig_load_file(rig, "local");
    assert_int_equal(rig_run(rig, "local", 1, 3, 0, &params), 0);
    assert_int_equal(out[0], 50);
    assert_int_equal(out[1], 1);
    assert_int_equal(out[2], 50);
    assert_int_equal(out[3], 60);
    params.index = 8;
    assert_int_equal(rig_run(rig, "local", 1, 1, 0, &params), 719);
    params.index = -1;
    assert_int_not_equal(rig_run(rig, "local", 1, 1, 0, &params), 0);
    rig_free(rig);
}

static void test_variables(void **state)
{
    struct rig *rig = rig_new();
    uint64_t params[1] = {rig_alloc(rig, 64)};
    uint32_t *out = rig_at(rig, params[0]);
    const struct ptx_global *globals;

    (void)state;
    rig_load_file(rig, "variables");
    assert_int_equal(ptx_module_globals(rig->module, &globals), 8);
    assert_string_equal(globals[1].name, "weights");
    assert_int_equal(globals[1].bytes, 12);
    assert_int_equal(globals[1].is_const, 1);
    assert_int_equal(globals[4].bytes, 3);
    assert_null(globals[7].initial);
    assert_int_equal(globals[3].reloc_count, 2);
    assert_int_equal(rig_run(rig, "variables", 1, 1, 0, params), 0);
    assert_int_equal(out[0], 7);
    assert_int_equal(out[1], 0x40200000);
    assert_int_equal(out[2], 0x40400000);
    assert_int_equal(out[3], 7);
    assert_int_equal(out[4], 0); /* grid[0][2] */
    assert_int_equal(out[5], 3); /* grid[1][0] */
    assert_int_equal(out[6], 'i');
    assert_int_equal(out[9], 0x40040000);
    assert_int_equal(((uint64_t *)out)[5], (uint64_t)-5);
    assert_int_equal(out[12], 0);
    assert_int_equal(*(uint32_t *)rig_at(rig, rig->global_addr[0]), 99);
    assert_int_equal(rig_run(rig, "write_const", 1, 1, 0, NULL), 700);
    rig_free(rig);
}

static void test_params(void **state)
{
    static const struct ptx_param expected[] = {{0, 1}, {2, 2}, {8, 8}, {16, 24}, {40, 4}};
    struct rig *rig = rig_new();
    const struct ptx_kernel *kernel;
    const struct ptx_param *params;
    uint64_t addr = rig_alloc(rig, 64);
    uint32_t *out = rig_at(rig, addr), words[6] = {1, 2, 3, 4, 5, 6};
    uint8_t buffer[44] = {0};
    float f = 1.5f;
    uint16_t h = 0xbeef;

    (void)state;
    rig_load_file(rig, "params");
    kernel = ptx_module_kernel(rig->module, "params");
    assert_int_equal(ptx_kernel_params(kernel, &params), 5);
    assert_int_equal(ptx_kernel_param_bytes(kernel), 44);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(params[i].offset, expected[i].offset);
        assert_int_equal(params[i].bytes, expected[i].bytes);
    }
    buffer[0] = 0x80;
    memcpy(buffer + 2, &h, 2);
    memcpy(buffer + 8, &addr, 8);
    memcpy(buffer + 16, words, 24);
    memcpy(buffer + 40, &f, 4);
    assert_int_equal(rig_run(rig, "params", 1, 1, 0, buffer), 0);
    assert_int_equal(out[0], 0xffffff80);
    assert_int_equal(out[1], 0xbeef);
    assert_int_equal(out[2], 4);
    assert_int_equal(out[3], 3);
    assert_int_equal(out[4], 0x3fc00000);
    assert_int_equal(out[5], 4);
    assert_int_equal(out[6], 5);
    assert_int_equal(out[7], 6);
    rig_free(rig);
}

static void check_fault(struct rig *rig, uint64_t addr, uint32_t access, int expected)
{
    struct {
        uint64_t addr;
        uint32_t access;
        uint64_t out;
    } params = {addr, access, RIG_BASE};
    uint32_t *out = rig_at(rig, RIG_BASE);

    *out = 0xabcd;
    assert_int_equal(rig_run(rig, "faults", 1, 2, 0, &params), expected);
    assert_int_equal(*out, expected ? 0xabcd : access);
    if (expected == 700)
        assert_int_equal(rig->run.fault_addr, addr);
}

static void test_faults(void **state)
{
    struct rig *rig = rig_new();
    uint64_t out = rig_alloc(rig, 64), page = rig_alloc(rig, MMU_PAGE_BYTES), fixed;

    (void)state;
    assert_int_equal(out, RIG_BASE);
    rig_load_file(rig, "faults");
    check_fault(rig, page + MMU_PAGE_BYTES - 4, 0, 0);
    check_fault(rig, page + MMU_PAGE_BYTES - 16, 2, 0);
    check_fault(rig, page + MMU_PAGE_BYTES - 32, 5, 0);
    for (uint32_t access = 0; access < 6; access++) {
        check_fault(rig, page + MMU_PAGE_BYTES, access, 700);
        check_fault(rig, 0, access, 700);
        check_fault(rig, page + 2, access, 716);
    }
    check_fault(rig, page + 8, 2, 716);
    check_fault(rig, page + 16, 5, 716);
    check_fault(rig, (uint64_t)1 << 47, 0, 700);
    check_fault(rig, 0xfffffffffffffff0, 0, 700);
    check_fault(rig, (uint64_t)9 << 56, 4, 700);
    fixed = rig_alloc(rig, 64);
    rig_entry(rig, fixed)->allowed = MMU_READ;
    check_fault(rig, fixed, 0, 0);
    check_fault(rig, fixed, 1, 700);
    check_fault(rig, fixed, 3, 700);
    rig_free(rig);
}

struct atomic_row {
    const char *op; /* with its type */
    unsigned bytes;
    uint64_t before, b, c, after;
};

static const struct atomic_row g_atomics[] = {
    {"add.u32", 4, 0xffffffff, 2, 0, 1},
    {"add.s32", 4, 5, 0xffffffff, 0, 4},
    {"add.u64", 8, 0xffffffff, 1, 0, 0x100000000},
    {"add.f32", 4, 0x3f800000, 0x40000000, 0, 0x40400000},
    {"add.f64", 8, 0x3ff0000000000000, 0x4000000000000000, 0, 0x4008000000000000},
    {"add.noftz.f16", 2, 0x3c00, 0x4000, 0, 0x4200},
    {"add.noftz.bf16", 2, 0x3f80, 0x4000, 0, 0x4040},
    {"add.noftz.f16x2", 4, 0x3c004000, 0x40003c00, 0, 0x42004200},
    {"and.b32", 4, 0xff00, 0x0ff0, 0, 0x0f00},
    {"or.b64", 8, 0xf0, 0x0f, 0, 0xff},
    {"xor.b32", 4, 0xff, 0x0f, 0, 0xf0},
    {"exch.b32", 4, 1, 2, 0, 2},
    {"exch.b64", 8, 1, 2, 0, 2},
    {"cas.b32", 4, 5, 5, 9, 9},
    {"cas.b32", 4, 5, 6, 9, 5},
    {"cas.b64", 8, 5, 5, 9, 9},
    {"cas.b16", 2, 5, 5, 9, 9},
    {"inc.u32", 4, 5, 5, 0, 0},
    {"inc.u32", 4, 4, 5, 0, 5},
    {"dec.u32", 4, 0, 7, 0, 7},
    {"dec.u32", 4, 9, 7, 0, 7},
    {"dec.u32", 4, 3, 7, 0, 2},
    {"min.s32", 4, 1, 0xffffffff, 0, 0xffffffff},
    {"min.u32", 4, 1, 0xffffffff, 0, 1},
    {"max.s32", 4, 1, 0xffffffff, 0, 1},
    {"max.u64", 8, 1, 0xffffffffffffffff, 0, 0xffffffffffffffff},
    {"min.s64", 8, 1, 0xffffffffffffffff, 0, 0xffffffffffffffff},
};
#define ATOMICS (sizeof(g_atomics) / sizeof(g_atomics[0]))

/* Memory: 64 bytes for each row: global, shared, red, the two former values. */
static char *atomic_text(void)
{
    char *text = calloc(1, 65536);
    size_t n = 0;

    assert_non_null(text);
    n += (size_t)sprintf(text + n, HEAD ".visible .entry atomics(.param .u64 p0)\n{\n"
                                        ".reg .b64 at; .shared .align 8 .b8 cell[8];\n"
                                        "ld.param.u64 at, [p0];\n");
    for (size_t i = 0; i < ATOMICS; i++) {
        unsigned bits = 8 * g_atomics[i].bytes;
        const char *op = g_atomics[i].op, *c = strncmp(op, "cas", 3) ? "" : ", c";
        size_t at = 64 * i;

        n += (size_t)sprintf(text + n, "{ .reg .b%u old, b, c;\n", bits);
        n += (size_t)sprintf(text + n, "ld.global.b%u b, [at+%zu]; ld.global.b%u c, [at+%zu];\n",
                             bits, at + 48, bits, at + 56);
        n += (size_t)sprintf(text + n, "ld.global.b%u old, [at+%zu]; st.shared.b%u [cell], old;\n",
                             bits, at + 8, bits);
        n += (size_t)sprintf(text + n,
                             "atom.global.%s old, [at+%zu], b%s; st.global.b%u [at+%zu], old;\n",
                             op, at, c, bits, at + 24);
        n += (size_t)sprintf(text + n,
                             "atom.shared.%s old, [cell], b%s; st.global.b%u [at+%zu], old;\n", op,
                             c, bits, at + 32);
        n += (size_t)sprintf(text + n, "ld.shared.b%u old, [cell]; st.global.b%u [at+%zu], old;\n",
                             bits, bits, at + 8);
        if (*c == 0 && strncmp(op, "exch", 4) != 0)
            n += (size_t)sprintf(text + n, "red.relaxed.gpu.global.%s [at+%zu], b;\n", op, at + 16);
        n += (size_t)sprintf(text + n, "}\n");
    }
    sprintf(text + n, "ret;\n}\n");
    return text;
}

static void test_atomics(void **state)
{
    struct rig *rig = rig_new();
    uint64_t params[1] = {rig_alloc(rig, 64 * ATOMICS)};
    uint64_t *cells = rig_at(rig, params[0]);
    char *text = atomic_text();

    (void)state;
    rig_load(rig, text);
    free(text);
    for (size_t i = 0; i < ATOMICS; i++) {
        uint64_t *cell = cells + 8 * i;

        cell[0] = cell[1] = cell[2] = g_atomics[i].before;
        cell[6] = g_atomics[i].b;
        cell[7] = g_atomics[i].c;
    }
    assert_int_equal(rig_run(rig, "atomics", 1, 1, 0, params), 0);
    for (size_t i = 0; i < ATOMICS; i++) {
        const struct atomic_row *row = &g_atomics[i];
        uint64_t *cell = cells + 8 * i;
        int has_red = strncmp(row->op, "cas", 3) != 0 && strncmp(row->op, "exch", 4) != 0;

        if (cell[0] != row->after || cell[1] != row->after || cell[3] != row->before ||
            cell[4] != row->before || cell[2] != (has_red ? row->after : row->before))
            fail_msg("%s of 0x%llx and 0x%llx gave 0x%llx, shared 0x%llx, red 0x%llx", row->op,
                     (unsigned long long)row->before, (unsigned long long)row->b,
                     (unsigned long long)cell[0], (unsigned long long)cell[1],
                     (unsigned long long)cell[2]);
    }
    rig_free(rig);
}

static const char g_count[] =
    HEAD ".visible .entry count(.param .u64 p0)\n{\n"
         ".reg .b64 at; .reg .b32 r; .reg .f32 f;\n"
         "ld.param.u64 at, [p0]; atom.global.add.u32 r, [at], 1;\n"
         "atom.global.add.f32 f, [at+4], 0f3F800000; red.global.max.u32 [at+8], r; ret;\n}\n";

#define COUNT_BLOCKS 5000

struct counting {
    struct rig *rig;
    pthread_barrier_t *start;
    struct mmu_run run;
    uint64_t params[1];
};

static void *count_blocks(void *arg)
{
    struct counting *c = arg;
    const struct ptx_launch launch = {
        .grid = {COUNT_BLOCKS, 1, 1}, .block = {250, 1, 1}, .params = c->params};

    pthread_barrier_wait(c->start);
    for (uint32_t i = 0; i < COUNT_BLOCKS; i++) {
        const uint32_t id[3] = {i, 0, 0};

        if (ptx_kernel_run_block(ptx_module_kernel(c->rig->module, "count"), &launch, id, &c->run))
            return c;
    }
    return NULL;
}

static void test_atomics_are_real(void **state)
{
    struct rig *rig = rig_new();
    struct counting counting[2];
    uint64_t addr = rig_alloc(rig, 64);
    pthread_t threads[2];
    pthread_barrier_t both;
    void *failed;
    float sum;

    (void)state;
    assert_int_equal(pthread_barrier_init(&both, NULL, 2), 0);
    rig_load(rig, g_count);
    for (int i = 0; i < 2; i++) {
        counting[i] = (struct counting){rig, &both, rig->run, {addr}};
        assert_int_equal(pthread_create(&threads[i], NULL, count_blocks, &counting[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(((uint32_t *)rig_at(rig, addr))[0], 2 * 250 * COUNT_BLOCKS);
    memcpy(&sum, (uint8_t *)rig_at(rig, addr) + 4, 4);
    assert_true(sum == 2.0f * 250 * COUNT_BLOCKS);
    assert_int_equal(((uint32_t *)rig_at(rig, addr))[2], 2 * 250 * COUNT_BLOCKS - 1);
    pthread_barrier_destroy(&both);
    rig_free(rig);
}

static const char g_copy[] =
    HEAD ".visible .entry copy(.param .u64 p0, .param .u64 p1, .param .u32 p2)\n{\n"
         ".reg .b64 in, out; .reg .b32 r<6>; .shared .align 16 .b8 buffer[32];\n"
         "ld.param.u64 in, [p0]; ld.param.u64 out, [p1]; ld.param.u32 r5, [p2];\n"
         "mov.u32 r0, buffer;\n"
         "cp.async.cg.shared.global.L2::128B [r0], [in], 16;\n"
         "cp.async.ca.shared.global [r0+16], [in+16], 8, r5;\n"
         "cp.async.commit_group; cp.async.wait_group 0; cp.async.wait_all;\n"
         "ld.shared.v4.u32 {r1, r2, r3, r4}, [buffer]; st.global.v4.u32 [out], {r1, r2, r3, r4};\n"
         "ld.shared.v2.u32 {r1, r2}, [buffer+16]; st.global.v2.u32 [out+16], {r1, r2};\n"
         "ret;\n}\n";

static void test_async_copy(void **state)
{
    struct rig *rig = rig_new();
    struct {
        uint64_t in, out;
        uint32_t bytes;
    } params = {rig_alloc(rig, 64), rig_alloc(rig, 64), 4};
    uint32_t *in = rig_at(rig, params.in), *out = rig_at(rig, params.out);

    (void)state;
    rig_load(rig, g_copy);
    for (uint32_t i = 0; i < 8; i++)
        in[i] = i + 100;
    assert_int_equal(rig_run(rig, "copy", 1, 1, 0, &params), 0);
    assert_memory_equal(out, in, 20);
    assert_int_equal(out[5], 0); /* beyond the source's bytes: zero */
    rig_free(rig);
}

/* Vectors of atomics: every element by itself, and all of them where the vector is aligned. */
static const char g_vectors[] =
    HEAD ".visible .entry vectors(.param .u64 p0)\n{\n"
         ".reg .b64 at; .reg .f32 f<4>; .reg .b32 r<2>; .reg .b16 h<2>;\n"
         "ld.param.u64 at, [p0];\n"
         "mov.f32 f0, 0f3F800000; mov.f32 f1, 0f40000000; mov.b32 r0, 0x40003c00;\n"
         "atom.global.add.v4.f32 {f0, f1, f2, f3}, [at], {f0, f1, f1, f0};\n"
         "st.global.v4.f32 [at+64], {f0, f1, f2, f3};\n"
         "red.global.add.v2.f32 [at+24], {f1, f3};\n"
         "atom.global.max.noftz.v2.f16x2 {r0, r1}, [at+32], {r0, r0};\n"
         "st.global.v2.b32 [at+80], {r0, r1};\nret;\n}\n"
         ".visible .entry crooked(.param .u64 p0)\n{\n"
         ".reg .b64 at; .reg .f32 f<2>;\nld.param.u64 at, [p0];\n"
         "red.global.add.v2.f32 [at+4], {f0, f1};\nret;\n}\n";

static void test_atomic_vectors(void **state)
{
    struct rig *rig = rig_new();
    uint64_t params[1] = {rig_alloc(rig, 128)};
    float *cell = rig_at(rig, params[0]);
    uint32_t *words = rig_at(rig, params[0]);
    const float sums[8] = {11, 22, 32, 41, 50, 60, 90, 120}, old[4] = {10, 20, 30, 40};

    (void)state;
    rig_load(rig, g_vectors);
    for (int i = 0; i < 8; i++)
        cell[i] = (float)(10 * i + 10);
    words[8] = 0x3c004000;
    words[9] = 0xc000bc00;
    assert_int_equal(rig_run(rig, "vectors", 1, 1, 0, params), 0);
    assert_memory_equal(cell, sums, sizeof(sums));
    assert_memory_equal(cell + 16, old, sizeof(old));
    assert_int_equal(words[8], 0x40004000);
    assert_int_equal(words[9], 0x40003c00);
    assert_int_equal(words[20], 0x3c004000);
    assert_int_equal(words[21], 0xc000bc00);
    assert_int_equal(rig_run(rig, "crooked", 1, 1, 0, params), 716);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loads),      cmocka_unit_test(test_shared),
        cmocka_unit_test(test_local),      cmocka_unit_test(test_variables),
        cmocka_unit_test(test_params),     cmocka_unit_test(test_faults),
        cmocka_unit_test(test_atomics),    cmocka_unit_test(test_atomics_are_real),
        cmocka_unit_test(test_async_copy), cmocka_unit_test(test_atomic_vectors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
