/* test_ptx_flow.c - branches, calls, the ends of a thread, special registers, system functions.
 *
 * Strategy: small kernels whose results are known; every kind of call (direct, nested, recursive,
 * through a table of addresses, of a function that waits at a barrier), and every way to go wrong.
 */
#include "ptx_rig.h"

#include <unistd.h>

static uint32_t *run(struct rig *rig, const char *kernel, uint32_t threads, uint32_t n,
                     int expected)
{
    struct {
        uint64_t out;
        uint32_t n;
    } params = {RIG_BASE, n};
    uint32_t *out = rig_at(rig, RIG_BASE);

    memset(out, 0, 65536);
    assert_int_equal(rig_run(rig, kernel, 1, threads, 0, &params), expected);
    return out;
}

static struct rig *start(const char *name)
{
    struct rig *rig = rig_new();

    assert_int_equal(rig_alloc(rig, 65536), RIG_BASE);
    rig_load_file(rig, name);
    return rig;
}

static void test_calls(void **state)
{
    struct rig *rig = start("calls");
    uint32_t *out = run(rig, "structs", 1, 3, 0);

    (void)state;
    assert_int_equal(out[0], 0x41f00000); /* (2 * 3 + 4) * 3 */
    out = run(rig, "registers", 1, 21, 0);
    assert_int_equal(out[0], 42);
    assert_int_equal(out[1], 1);
    out = run(rig, "recursion", 2, 15, 0);
    assert_int_equal(out[0], 610);
    assert_int_equal(out[1], 610);
    out = run(rig, "leaving", 3, 9, 0);
    assert_int_equal(out[0], 0);
    assert_int_equal(out[1], 9);
    assert_int_equal(out[2], 2);
    rig_free(rig);
}

static void test_indirect_calls(void **state)
{
    struct rig *rig = start("calls");
    uint32_t *out = run(rig, "indirect", 2, 5, 0);

    (void)state;
    assert_int_equal(out[0], 106);
    assert_int_equal(out[1], 15);
    run(rig, "wild", 1, 64, 718);
    rig_free(rig);
}

static void test_calls_that_wait(void **state)
{
    struct rig *rig = start("calls");
    uint32_t *out = run(rig, "waiting", 40, 0, 0);

    (void)state;
    for (uint32_t i = 0; i < 40; i++)
        assert_int_equal(out[i], (i + 2) % 40 + 5 + 1000 * i);
    rig_free(rig);
}

static void test_stack_overflow(void **state)
{
    struct rig *rig = start("endless");

    (void)state;
    run(rig, "endless_keeping", 1, 0, 714);
    run(rig, "endless_waiting", 2, 0, 714);
    run(rig, "endless_bare", 2, 0, 714);
    rig_free(rig);
}

static void test_branches(void **state)
{
    static const uint32_t collatz[] = {0, 1, 7, 2, 5, 8, 16, 3, 19, 6};
    struct rig *rig = start("branches");
    uint32_t *out = run(rig, "switch", 4, 0, 0);

    (void)state;
    assert_int_equal(out[0], 10);
    assert_int_equal(out[1], 20);
    assert_int_equal(out[2], 30);
    assert_int_equal(out[3], 10);
    run(rig, "switch", 4, 1, 718);
    assert_int_equal(run(rig, "scopes", 1, 0, 0)[0], 16);
    out = run(rig, "early", 4, 2, 0);
    assert_int_equal(out[1], 1);
    assert_int_equal(out[2], 0);
    out = run(rig, "divergent", 10, 0, 0);
    assert_memory_equal(out, collatz, sizeof(collatz));
    /* The block unwinds at a trap: later threads do not run. */
    out = run(rig, "trapping", 4, 1, 719);
    assert_int_equal(out[0], 2);
    assert_int_equal(out[1], 1);
    assert_int_equal(out[2], 0);
    out = run(rig, "breaking", 4, 1, 719);
    assert_int_equal(out[1], 1);
    out = run(rig, "vectors", 1, 5, 0);
    assert_int_equal(out[0], 7);
    assert_int_equal(out[1], 5);
    assert_int_equal(out[2], 5);
    rig_free(rig);
}

static void check_thread(const uint32_t *at, uint32_t i, int all)
{
    uint32_t lane = i % 32;
    const uint32_t expected[] = {i % 5,
                                 i / 5 % 3,
                                 i / 15,
                                 5,
                                 3,
                                 4,
                                 1,
                                 2,
                                 3,
                                 4,
                                 5,
                                 6,
                                 lane,
                                 i / 32,
                                 2,
                                 1u << lane,
                                 (1u << lane) - 1,
                                 lane == 31 ? ~0u : (2u << lane) - 1,
                                 lane == 31 ? 0 : ~0u << (lane + 1),
                                 ~0u << lane,
                                 1,
                                 1};

    for (size_t k = 0; k < sizeof(expected) / sizeof(expected[0]); k++)
        if (all || k < 3 || k == 12 || k == 13)
            assert_int_equal(at[k], expected[k]);
}

static void test_special_registers(void **state)
{
    static const char *const kernels[] = {"specials", "waiting"};
    const uint32_t id[3] = {1, 2, 3};
    struct rig *rig = start("specials");
    uint64_t out = RIG_BASE;
    const struct ptx_launch launch = {.grid = {4, 5, 6}, .block = {5, 3, 4}, .params = &out};

    (void)state;
    for (int k = 0; k < 2; k++) {
        memset(rig_at(rig, out), 0xee, 65536);
        assert_int_equal(ptx_kernel_run_block(ptx_module_kernel(rig->module, kernels[k]), &launch,
                                              id, &rig->run),
                         0);
        for (uint32_t i = 0; i < 60; i++)
            check_thread((uint32_t *)rig_at(rig, out) + 32 * i, i, k == 0);
    }
    rig_free(rig);
}

/* What the function writes to a stream of this process. */
static size_t captured(FILE *stream, int fd, struct rig *rig, const char *kernel, int expected,
                       char *text, size_t room)
{
    FILE *file = tmpfile();
    int saved = dup(fd);
    size_t bytes;

    assert_non_null(file);
    assert_true(saved >= 0);
    fflush(stream);
    assert_true(dup2(fileno(file), fd) >= 0);
    run(rig, kernel, 1, 42, expected);
    fflush(stream);
    assert_true(dup2(saved, fd) >= 0);
    close(saved);
    rewind(file);
    bytes = fread(text, 1, room - 1, file);
    text[bytes] = 0;
    fclose(file);
    return bytes;
}

static void test_system_functions(void **state)
{
    struct rig *rig = start("system");
    char text[256];

    (void)state;
    captured(stdout, 1, rig, "print", 0, text, sizeof(text));
    assert_string_equal(text, "42 hi 2.5 %\n");
    assert_int_equal(*(uint32_t *)rig_at(rig, RIG_BASE), 12);
    captured(stderr, 2, rig, "assert", 710, text, sizeof(text));
    assert_string_equal(text,
                        "hi:42: hi: block: [0,0,0], thread: [0,0,0] Assertion `hi` failed.\n");
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_indirect_calls),
        cmocka_unit_test(test_calls_that_wait),
        cmocka_unit_test(test_stack_overflow),
        cmocka_unit_test(test_branches),
        cmocka_unit_test(test_special_registers),
        cmocka_unit_test(test_system_functions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
