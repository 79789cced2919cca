/* The struct of real functions, filled with fakes.
 *
 * A fake finder hands out one made-up address for each symbol, or none for those that a test makes
 * the driver lack. What is filled in is compared; what stands for a missing function is called.
 * Loading a real library is for the preload program entry_fake.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "driver.h"
#include "stats.h"

struct finder {
    const char *lacking; /* no address for this one */
    int asked;
};

/* Addresses that can be told apart and are never called. */
static void *address_of(const char *symbol)
{
    uintptr_t hash = 5381;

    for (; *symbol; symbol++)
        hash = hash * 33 + (unsigned char)*symbol;
    return (void *)(hash << 4 | 1);
}

static void *fake_find(void *arg, const char *symbol)
{
    struct finder *finder = arg;

    finder->asked++;
    if (finder->lacking && strcmp(symbol, finder->lacking) == 0)
        return NULL;
    return address_of(symbol);
}

static void fill(struct driver *drv, const char *lacking)
{
    struct finder finder = {lacking, 0};

    memset(drv, 0xff, sizeof(*drv));
    driver_fill(drv, fake_find, &finder);
    assert_true(finder.asked >= HOOK_COUNT);
}

static void test_every_function_by_its_symbol(void **state)
{
    struct driver drv;

    (void)state;
    fill(&drv, NULL);
    assert_null(drv.missing);
#define X(name, symbol, since, null_stream, params)                                                \
    assert_ptr_equal((void *)drv.symbol, address_of(#symbol));
    HOOKS(X)
#undef X
#define X(need, symbol, params) assert_ptr_equal((void *)drv.symbol, address_of(#symbol));
    DRIVER_CALLS(X)
#undef X
}

/* How often a name has been counted as unknown. */
static uint64_t unknown_count(const char *name)
{
    for (unsigned i = 0; i < STATS_UNKNOWN_MAX; i++)
        if (strcmp(stats()->unknown[i].name, name) == 0)
            return stats()->unknown[i].count;
    return 0;
}

static void test_lacking_hook_answers_and_is_counted(void **state)
{
    struct driver drv;

    (void)state;
    fill(&drv, "cuMemAllocFromPoolAsync_ptsz");
    assert_null(drv.missing);
    assert_int_equal(drv.cuMemAllocFromPoolAsync_ptsz(NULL, 1, NULL, NULL),
                     CUDA_ERROR_NOT_SUPPORTED);
    assert_int_equal(drv.cuMemAllocFromPoolAsync_ptsz(NULL, 1, NULL, NULL),
                     CUDA_ERROR_NOT_SUPPORTED);
    assert_int_equal(unknown_count("cuMemAllocFromPoolAsync_ptsz"), 2);
    assert_ptr_equal((void *)drv.cuMemAllocFromPoolAsync, address_of("cuMemAllocFromPoolAsync"));
}

static void test_lacking_required_function_is_named(void **state)
{
    struct driver drv;

    (void)state;
    fill(&drv, "cuStreamWaitEvent");
    assert_string_equal(drv.missing, "cuStreamWaitEvent");
    assert_int_equal(drv.cuStreamWaitEvent(NULL, NULL, 0), CUDA_ERROR_NOT_SUPPORTED);
    assert_int_equal(unknown_count("cuStreamWaitEvent"), 1);
}

static void test_lacking_optional_function_is_null(void **state)
{
    struct driver drv;

    (void)state;
    fill(&drv, "cuFuncGetParamInfo");
    assert_null(drv.missing);
    assert_null((void *)drv.cuFuncGetParamInfo);
    assert_non_null((void *)drv.cuKernelGetParamInfo);
}

static void *find_nothing(void *arg, const char *symbol)
{
    (void)arg;
    (void)symbol;
    return NULL;
}

static void test_empty_library(void **state)
{
    struct driver drv;

    (void)state;
    memset(&drv, 0xff, sizeof(drv));
    driver_fill(&drv, find_nothing, NULL);
    assert_non_null(drv.missing);
    assert_int_equal(drv.cuInit(0), CUDA_ERROR_NOT_SUPPORTED);
    assert_null((void *)drv.cuStreamGetCtx);
}

static void test_next_symbol(void **state)
{
    (void)state;
    assert_non_null(driver_next_symbol("dlopen"));
    assert_non_null(driver_next_symbol("dlmopen"));
    assert_null(driver_next_symbol("berth_no_such_function"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_function_by_its_symbol),
        cmocka_unit_test(test_lacking_hook_answers_and_is_counted),
        cmocka_unit_test(test_lacking_required_function_is_named),
        cmocka_unit_test(test_lacking_optional_function_is_null),
        cmocka_unit_test(test_empty_library),
        cmocka_unit_test(test_next_symbol),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
