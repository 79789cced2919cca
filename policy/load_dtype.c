#include "load_dtype.h"
#include "pattern.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>

int load_dtypes_convert(const struct load_dtypes *loads)
{
    return loads->dtype != DTYPE_COUNT || loads->special_count != 0;
}

/* A type that programs compute in. */
static bool is_floating(enum dtype dtype)
{
    return strchr("FB", dtype_name(dtype)[0]) && dtype != DTYPE_BOOL;
}

static int count_bits(enum dtype dtype, const uint64_t *shape, size_t rank, uint64_t *bits)
{
    uint64_t bytes;
    int res = dtype_tensor_bytes(dtype, shape, rank, &bytes);

    if (res)
        return res;
    return __builtin_mul_overflow(bytes, 8, bits) ? -EOVERFLOW : 0;
}

int load_bits(enum dtype stored, const uint64_t *shape, size_t rank, enum dtype as, uint64_t *bits)
{
    bool narrowed =
        as != DTYPE_COUNT && is_floating(stored) && dtype_block_bits(as) < dtype_block_bits(stored);

    return count_bits(narrowed ? as : stored, shape, rank, bits);
}

uint64_t load_tensor_bits(const struct load_dtypes *loads, const struct tensor *tensor)
{
    uint64_t bits;
    size_t i;
    int res;

    for (i = 0; i < loads->special_count; i++) {
        if (pattern_find_module(loads->specials[i].pattern, tensor->name))
            break;
    }
    res = i < loads->special_count
              ? count_bits(loads->specials[i].dtype, tensor->shape, tensor->rank, &bits)
              : load_bits((enum dtype)tensor->dtype, tensor->shape, tensor->rank, loads->dtype,
                          &bits);
    return res ? UINT64_MAX : bits;
}
