/* Strategy: the parser is fed every form that a setting may have and those next to it that it must
 * refuse; the environment is read once for a process, so what depends on it runs in children. The
 * random numbers are checked for what others rest on: they repeat for a seed and differ between
 * seeds and salts.
 */
#include "data.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/simcuda/sim.h"

#define UNTOUCHED 12345u

static void assert_parses(enum sim_setting_kind kind, const char *text, uint64_t expected)
{
    uint64_t value = UNTOUCHED;

    assert_int_equal(sim_setting_parse(kind, text, &value), 0);
    assert_true(value == expected);
}

static void assert_refuses(enum sim_setting_kind kind, const char *text)
{
    uint64_t value = UNTOUCHED;

    assert_true(sim_setting_parse(kind, text, &value) < 0);
    assert_true(value == UNTOUCHED);
}

static void test_sizes(void **state)
{
    (void)state;
    assert_parses(SIM_KIND_SIZE, "0", 0);
    assert_parses(SIM_KIND_SIZE, "4096", 4096);
    assert_parses(SIM_KIND_SIZE, "3KiB", 3 << 10);
    assert_parses(SIM_KIND_SIZE, "256MiB", 256u << 20);
    assert_parses(SIM_KIND_SIZE, "4GiB", (uint64_t)4 << 30);
    assert_parses(SIM_KIND_SIZE, "1TiB", (uint64_t)1 << 40);
    assert_refuses(SIM_KIND_SIZE, "");
    assert_refuses(SIM_KIND_SIZE, "MiB");
    assert_refuses(SIM_KIND_SIZE, "-1");
    assert_refuses(SIM_KIND_SIZE, " 1");
    assert_refuses(SIM_KIND_SIZE, "1.5GiB");
    assert_refuses(SIM_KIND_SIZE, "1GB");
    assert_refuses(SIM_KIND_SIZE, "1 GiB");
    assert_refuses(SIM_KIND_SIZE, "99999999999999999999");
    assert_refuses(SIM_KIND_SIZE, "16777216TiB");
}

static void test_counts_and_flags(void **state)
{
    (void)state;
    assert_parses(SIM_KIND_COUNT, "200", 200);
    assert_refuses(SIM_KIND_COUNT, "200us");
    assert_refuses(SIM_KIND_COUNT, "1KiB");
    assert_parses(SIM_KIND_FLAG, "0", 0);
    assert_parses(SIM_KIND_FLAG, "1", 1);
    assert_refuses(SIM_KIND_FLAG, "2");
    assert_refuses(SIM_KIND_FLAG, "yes");
}

/* Run check in a child whose environment has one setting; its exit status says whether it held. */
static void assert_in_child(const char *variable, const char *value, int (*check)(void))
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        /* The line about a bad setting is not for the test's own output. */
        if (!freopen("/dev/null", "w", stderr))
            _exit(3);
        setenv(variable, value, 1);
        _exit(check() ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int vram_is_256_mib(void)
{
    return sim_setting(SIM_VRAM) == 256u << 20;
}

static int vram_is_default(void)
{
    return sim_setting(SIM_VRAM) == (uint64_t)4 << 30;
}

static int devices_are_four(void)
{
    return sim_setting(SIM_DEVICES) == 4;
}

static int devices_are_one(void)
{
    return sim_setting(SIM_DEVICES) == 1;
}

static int report_outlives_environment(void)
{
    const char *report = sim_setting_text(SIM_REPORT);

    setenv("SIMCUDA_REPORT", "/other", 1);
    clearenv();
    return strcmp(report, "/some/file") == 0 && sim_setting_text(SIM_REPORT) == report;
}

static void test_environment(void **state)
{
    (void)state;
    assert_in_child("SIMCUDA_VRAM", "256MiB", vram_is_256_mib);
    assert_in_child("SIMCUDA_VRAM", "lots", vram_is_default);
    assert_in_child("SIMCUDA_DEVICES", "4", devices_are_four);
    assert_in_child("SIMCUDA_DEVICES", "5", devices_are_one);
    assert_in_child("SIMCUDA_DEVICES", "0", devices_are_one);
    assert_in_child("SIMCUDA_REPORT", "/some/file", report_outlives_environment);
}

static uint64_t *g_of_seed_1; /* shared with the children */

static int seed_gives_number(void)
{
    *g_of_seed_1 = sim_random(7);
    return 1;
}

static int seed_repeats_number(void)
{
    return sim_random(7) == *g_of_seed_1;
}

static int seed_changes_number(void)
{
    return sim_random(7) != *g_of_seed_1;
}

static void test_seeds(void **state)
{
    (void)state;
    g_of_seed_1 =
        mmap(NULL, sizeof(*g_of_seed_1), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(g_of_seed_1 != MAP_FAILED);
    assert_in_child("SIMCUDA_SEED", "1", seed_gives_number);
    assert_in_child("SIMCUDA_SEED", "1", seed_repeats_number);
    assert_in_child("SIMCUDA_SEED", "2", seed_changes_number);
    munmap(g_of_seed_1, sizeof(*g_of_seed_1));
}

static void test_random_numbers_differ(void **state)
{
    uint64_t a = 1, b = 1, c = 2;

    (void)state;
    assert_true(sim_random(1) != sim_random(1));
    assert_true(sim_random(1) != sim_random(2));
    assert_true(sim_random_next(&a) == sim_random_next(&b));
    assert_true(sim_random_next(&a) != sim_random_next(&c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),       cmocka_unit_test(test_counts_and_flags),
        cmocka_unit_test(test_environment), /* before anything of this process reads the settings */
        cmocka_unit_test(test_seeds),       cmocka_unit_test(test_random_numbers_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
