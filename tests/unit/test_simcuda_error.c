/* Strategy: every result code that our own header names is asked for; its name must be the one of
 * the header. Values between and beyond them, and NULL, are refused. That the table is complete is
 * held against the values that CUDA 13.0 defines, by count and by sum.
 */
#include "data.h"

#include <string.h>

#include "cuda_abi.h"

/* What is behind the exports of that name. */
CUresult cuGetErrorName(CUresult value, const char **name) __asm__("sim_cuGetErrorName");
CUresult cuGetErrorString(CUresult value, const char **text) __asm__("sim_cuGetErrorString");

static void test_names_are_those_of_the_header(void **state)
{
    static const struct {
        CUresult value;
        const char *name;
    } cases[] = {
#define CASE(name) {name, #name}
        CASE(CUDA_SUCCESS),
        CASE(CUDA_ERROR_INVALID_VALUE),
        CASE(CUDA_ERROR_OUT_OF_MEMORY),
        CASE(CUDA_ERROR_NOT_INITIALIZED),
        CASE(CUDA_ERROR_DEINITIALIZED),
        CASE(CUDA_ERROR_NO_DEVICE),
        CASE(CUDA_ERROR_INVALID_CONTEXT),
        CASE(CUDA_ERROR_NO_BINARY_FOR_GPU),
        CASE(CUDA_ERROR_INVALID_PTX),
        CASE(CUDA_ERROR_INVALID_HANDLE),
        CASE(CUDA_ERROR_NOT_FOUND),
        CASE(CUDA_ERROR_NOT_READY),
        CASE(CUDA_ERROR_ILLEGAL_ADDRESS),
        CASE(CUDA_ERROR_CONTEXT_IS_DESTROYED),
        CASE(CUDA_ERROR_LAUNCH_FAILED),
        CASE(CUDA_ERROR_NOT_PERMITTED),
        CASE(CUDA_ERROR_NOT_SUPPORTED),
        CASE(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED),
        CASE(CUDA_ERROR_UNKNOWN),
#undef CASE
    };
    const char *text;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        text = NULL;
        assert_int_equal(cuGetErrorName(cases[i].value, &text), CUDA_SUCCESS);
        assert_string_equal(text, cases[i].name);
        text = NULL;
        assert_int_equal(cuGetErrorString(cases[i].value, &text), CUDA_SUCCESS);
        assert_true(text && *text);
    }
}

static void test_unknown_values(void **state)
{
    static const int values[] = {-1, 9, 33, 99, 103, 399, 601, 706, 917, 998, 1000};
    const char *text;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(values) / sizeof(*values); i++) {
        text = "untouched";
        assert_int_equal(cuGetErrorName((CUresult)values[i], &text), CUDA_ERROR_INVALID_VALUE);
        assert_null(text);
        text = "untouched";
        assert_int_equal(cuGetErrorString((CUresult)values[i], &text), CUDA_ERROR_INVALID_VALUE);
        assert_null(text);
    }
    assert_int_equal(cuGetErrorName(CUDA_SUCCESS, NULL), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuGetErrorString(CUDA_SUCCESS, NULL), CUDA_ERROR_INVALID_VALUE);
}

#define KNOWN_COUNT 101
#define KNOWN_SUM   50743

static void test_table_is_complete(void **state)
{
    int count = 0, sum = 0, value;
    const char *name;

    (void)state;
    for (value = 0; value < 2000; value++) {
        if (cuGetErrorName((CUresult)value, &name) != CUDA_SUCCESS)
            continue;
        count++;
        sum += value;
    }
    assert_int_equal(count, KNOWN_COUNT);
    assert_int_equal(sum, KNOWN_SUM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_those_of_the_header),
        cmocka_unit_test(test_unknown_values),
        cmocka_unit_test(test_table_is_complete),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
