/* The look-up of hooks by address, on made-up addresses.
 *
 * The real driver's addresses differ all, or nearly; here they are made equal on purpose, which is
 * where (name, version, flags) have to decide. That the table itself is right is for test_cuda_abi
 * (against cuda.h) and the preload programs entry_routes and entry_lookups (against a driver).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "hooks.h"

#define LEGACY     CU_GET_PROC_ADDRESS_LEGACY_STREAM
#define PER_THREAD CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM

struct fixture {
    void *real[EXPORT_COUNT];
    struct hook_index index;
};

static void *address_of(uintptr_t number)
{
    return (void *)(0x7f0000000000 + number * 16);
}

/* Every export at an address of its own, not in the order of the names. */
static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    if (!fixture)
        return -1;
    for (int id = 0; id < EXPORT_COUNT; id++)
        fixture->real[id] = address_of((uintptr_t)id * 211 % EXPORT_COUNT);
    hook_index_build(&fixture->index, fixture->real);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static void test_finds_every_row(void **state)
{
    const struct fixture *fixture = *state;

    assert_int_equal(fixture->index.count, EXPORT_COUNT);
    for (int hook = 0; hook < HOOK_COUNT; hook++) {
        const struct hook_row *row = &g_hook_rows[hook];

        assert_int_equal(hook_index_find(&fixture->index, fixture->real[row->id], row->name,
                                         row->since, CU_GET_PROC_ADDRESS_DEFAULT),
                         hook);
    }
}

static void test_passes_other_exports(void **state)
{
    const struct fixture *fixture = *state;
    int passed = 0;

    for (int id = 0; id < EXPORT_COUNT; id++) {
        int hook =
            hook_index_find(&fixture->index, fixture->real[id], g_export_names[id], 13000, 0);

        if (hook >= 0)
            assert_int_equal(g_hook_rows[hook].id, id);
        else
            assert_int_equal(hook, HOOK_NONE);
        passed += hook == HOOK_NONE;
    }
    assert_int_equal(passed, EXPORT_COUNT - HOOK_COUNT);
}

static void test_unknown_address(void **state)
{
    const struct fixture *fixture = *state;

    assert_int_equal(
        hook_index_find(&fixture->index, address_of(EXPORT_COUNT), "cuMemAlloc", 3020, 0),
        HOOK_UNKNOWN);
    assert_int_equal(
        hook_index_find(&fixture->index, (char *)address_of(3) + 1, "cuMemAlloc", 3020, 0),
        HOOK_UNKNOWN);
    assert_int_equal(hook_index_find(&fixture->index, (void *)16, "cuMemAlloc", 3020, 0),
                     HOOK_UNKNOWN);
}

static void test_address_decides_not_name(void **state)
{
    const struct fixture *fixture = *state;

    /* The driver says the 32-bit function: its hook does not exist, whatever the name suggests. */
    assert_int_equal(
        hook_index_find(&fixture->index, fixture->real[EXPORT_cuMemAlloc], "cuMemAlloc", 13000, 0),
        HOOK_NONE);
    /* An old version, but the address is the new function's. */
    assert_int_equal(hook_index_find(&fixture->index, fixture->real[EXPORT_cuMemAlloc_v2],
                                     "cuMemAlloc", 2000, 0),
                     HOOK_cuMemAlloc_v2);
    /* A name that the list does not know for it. */
    assert_int_equal(hook_index_find(&fixture->index, fixture->real[EXPORT_cuMemAlloc_v2],
                                     "cuMemAllocNew", 13000, 0),
                     HOOK_cuMemAlloc_v2);
}

static void test_driver_that_lacks_names(void **state)
{
    struct fixture *fixture = *state;

    for (int id = 0; id < EXPORT_COUNT; id += 2)
        fixture->real[id] = NULL;
    hook_index_build(&fixture->index, fixture->real);
    assert_int_equal(fixture->index.count, EXPORT_COUNT / 2);
    for (int hook = 0; hook < HOOK_COUNT; hook++) {
        const struct hook_row *row = &g_hook_rows[hook];

        if (row->id % 2)
            assert_int_equal(
                hook_index_find(&fixture->index, fixture->real[row->id], row->name, row->since, 0),
                hook);
    }
}

/* Two exports at one address. */
static void share(struct fixture *fixture, enum export_id one, enum export_id other)
{
    fixture->real[other] = fixture->real[one];
    hook_index_build(&fixture->index, fixture->real);
}

static void test_tie_of_streams(void **state)
{
    struct fixture *fixture = *state;
    const void *shared = fixture->real[EXPORT_cuMemcpyHtoD_v2];

    share(fixture, EXPORT_cuMemcpyHtoD_v2, EXPORT_cuMemcpyHtoD_v2_ptds);
    assert_int_equal(hook_index_find(&fixture->index, shared, "cuMemcpyHtoD", 13000, 0),
                     HOOK_cuMemcpyHtoD_v2);
    assert_int_equal(hook_index_find(&fixture->index, shared, "cuMemcpyHtoD", 13000, LEGACY),
                     HOOK_cuMemcpyHtoD_v2);
    assert_int_equal(hook_index_find(&fixture->index, shared, "cuMemcpyHtoD", 13000, PER_THREAD),
                     HOOK_cuMemcpyHtoD_v2_ptds);
    assert_int_equal(hook_index_find(&fixture->index, shared, "cuMemcpyHtoD", 3020, PER_THREAD),
                     HOOK_cuMemcpyHtoD_v2_ptds);
}

static void test_tie_of_versions(void **state)
{
    struct fixture *fixture = *state;
    const void *shared = fixture->real[EXPORT_cuMemAdvise];

    share(fixture, EXPORT_cuMemAdvise, EXPORT_cuMemAdvise_v2);
    assert_int_equal(hook_index_find(&fixture->index, shared, "cuMemAdvise", 8000, 0),
                     HOOK_cuMemAdvise);
    assert_int_equal(hook_index_find(&fixture->index, shared, "cuMemAdvise", 12010, 0),
                     HOOK_cuMemAdvise);
    assert_int_equal(hook_index_find(&fixture->index, shared, "cuMemAdvise", 12020, 0),
                     HOOK_cuMemAdvise_v2);
    assert_int_equal(hook_index_find(&fixture->index, shared, "cuMemAdvise", 13000, 0),
                     HOOK_cuMemAdvise_v2);
    assert_int_equal(hook_index_find(&fixture->index, shared, "cuMemAdvise", 7000, 0),
                     HOOK_cuMemAdvise);
}

static void test_tie_of_names(void **state)
{
    struct fixture *fixture = *state;
    const void *shared = fixture->real[EXPORT_cuMemFree_v2];

    share(fixture, EXPORT_cuMemFree_v2, EXPORT_cuModuleUnload);
    assert_int_equal(hook_index_find(&fixture->index, shared, "cuMemFree", 13000, 0),
                     HOOK_cuMemFree_v2);
    assert_int_equal(hook_index_find(&fixture->index, shared, "cuModuleUnload", 13000, 0),
                     HOOK_cuModuleUnload);
    /* Neither of them was asked for: no way to tell. */
    assert_int_equal(hook_index_find(&fixture->index, shared, "cuEventQuery", 13000, 0), HOOK_NONE);
}

/* A driver may have one function for all that it does not do: nobody asking for a name without a
 * hook may be given the hook of another that shares it. */
static void test_tie_with_a_name_without_hook(void **state)
{
    struct fixture *fixture = *state;
    const void *shared = fixture->real[EXPORT_cuMemFreeAsync];

    share(fixture, EXPORT_cuMemFreeAsync, EXPORT_cuEventQuery);
    assert_int_equal(hook_index_find(&fixture->index, shared, "cuEventQuery", 13000, 0), HOOK_NONE);
    assert_int_equal(hook_index_find(&fixture->index, shared, "cuMemFreeAsync", 13000, 0),
                     HOOK_cuMemFreeAsync);
}

static void test_rows_are_consistent(void **state)
{
    (void)state;
    for (int hook = 0; hook < HOOK_COUNT; hook++) {
        const struct hook_row *row = &g_hook_rows[hook];
        size_t length = strlen(row->symbol);
        const char *tail = row->symbol + (length > 5 ? length - 5 : 0);
        int per_thread = strcmp(tail, "_ptsz") == 0 || strcmp(tail, "_ptds") == 0;

        assert_int_equal(strncmp(row->symbol, row->name, strlen(row->name)), 0);
        assert_string_equal(g_export_names[row->id], row->symbol);
        assert_int_equal(per_thread, row->null_stream == NULL_STREAM_PER_THREAD);
        assert_true(row->since >= 2000 && row->since <= 13000 && row->since % 10 == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_finds_every_row, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_passes_other_exports, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unknown_address, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_address_decides_not_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_driver_that_lacks_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tie_of_streams, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tie_of_versions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tie_of_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tie_with_a_name_without_hook, set_up, tear_down),
        cmocka_unit_test(test_rows_are_consistent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
