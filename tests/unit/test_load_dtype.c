/* Strategy: the bits of shapes and of tensors as tables: what a dtype makes smaller and what it
 * leaves alone, and what is special in any case.
 */
#include "data.h"
#include "load_dtype.h"
#include <errno.h>
#include <string.h>

static void shapes(void **state)
{
    static const struct {
        enum dtype stored, as;
        uint64_t want;
    } rows[] = {
        {DTYPE_F32, DTYPE_COUNT, 480}, {DTYPE_F32, DTYPE_F16, 240},  {DTYPE_F64, DTYPE_U8, 120},
        {DTYPE_F16, DTYPE_BF16, 240},  {DTYPE_BF16, DTYPE_F32, 240}, /* never wider than stored */
        {DTYPE_I64, DTYPE_F16, 960},                                 /* integers are no weights */
        {DTYPE_BOOL, DTYPE_F4, 120},
    };
    const uint64_t shape[] = {3, 5}, packed[] = {3, 32}, huge[] = {UINT64_MAX / 8, 1};
    uint64_t n = 7;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(load_bits(rows[i].stored, shape, 2, rows[i].as, &n), 0);
        assert_int_equal(n, rows[i].want);
    }
    assert_int_equal(load_bits(DTYPE_Q8_0, packed, 2, DTYPE_U8, &n), 0);
    assert_int_equal(n, 3 * 34 * 8);
    assert_int_equal(load_bits(DTYPE_F32, huge, 2, DTYPE_COUNT, &n), -EOVERFLOW);
    assert_int_equal(load_bits(DTYPE_Q8_0, shape, 2, DTYPE_U8, &n), -EDOM);
    assert_int_equal(n, 3 * 34 * 8);
}

static uint64_t bits_of(const struct load_dtypes *loads, const char *name, enum dtype dtype)
{
    const uint64_t elements = 10;
    const struct tensor tensor = {.name = name,
                                  .name_bytes = (uint32_t)strlen(name),
                                  .shape = &elements,
                                  .rank = 1,
                                  .dtype = (uint16_t)dtype};

    return load_tensor_bits(loads, &tensor);
}

static void special(void **state)
{
    char head[] = "lm_head", norms[] = "*.norm?", all_norms[] = "*.norm*";
    struct load_special specials[] = {{head, DTYPE_F32}, {norms, DTYPE_F64}, {all_norms, DTYPE_U8}};
    struct load_dtypes loads = {DTYPE_COUNT, NULL, 0};

    (void)state;
    assert_false(load_dtypes_convert(&loads));
    assert_int_equal(bits_of(&loads, "a.weight", DTYPE_F32), 320);
    loads.dtype = DTYPE_F16;
    assert_true(load_dtypes_convert(&loads));
    assert_int_equal(bits_of(&loads, "lm_head.weight", DTYPE_F32), 160);
    loads = (struct load_dtypes){DTYPE_F16, specials, 3};
    assert_int_equal(bits_of(&loads, "a.weight", DTYPE_F32), 160);
    assert_int_equal(bits_of(&loads, "lm_head.weight", DTYPE_F16), 320);
    assert_int_equal(bits_of(&loads, "lm_head.weight", DTYPE_I8), 320);
    assert_int_equal(bits_of(&loads, "lm_header.weight", DTYPE_F16), 160);
    assert_int_equal(bits_of(&loads, "a.norm1.weight", DTYPE_F16), 640);
    assert_int_equal(bits_of(&loads, "a.norm.weight", DTYPE_F16), 80);
    loads.dtype = DTYPE_COUNT;
    assert_true(load_dtypes_convert(&loads));
    assert_int_equal(bits_of(&loads, "a.weight", DTYPE_F32), 320);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),
        cmocka_unit_test(special),
    };

    return cmocka_run_group_tests_name("load_dtype", tests, NULL, NULL);
}
