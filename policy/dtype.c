#include "dtype.h"
#include <errno.h>
#include <string.h>

struct dtype_row {
    const char *name;
    unsigned elements;
    unsigned bits;
    unsigned formats;
};

static const struct dtype_row g_dtypes[DTYPE_COUNT] = {
#define X(name, elements, bits, formats) {#name, elements, bits, formats},
    DTYPES(X)
#undef X
};

static const struct dtype_row *row(enum dtype dtype)
{
    return (unsigned)dtype < DTYPE_COUNT ? &g_dtypes[dtype] : NULL;
}

const char *dtype_name(enum dtype dtype)
{
    return row(dtype) ? row(dtype)->name : "?";
}

unsigned dtype_block_bits(enum dtype dtype)
{
    return row(dtype) ? row(dtype)->bits : 0;
}

unsigned dtype_block_elements(enum dtype dtype)
{
    return row(dtype) ? row(dtype)->elements : 0;
}

int dtype_find(const char *name, unsigned formats, enum dtype *out)
{
    size_t i;

    for (i = 0; i < DTYPE_COUNT; i++) {
        if ((g_dtypes[i].formats & formats) && strcmp(g_dtypes[i].name, name) == 0) {
            *out = (enum dtype)i;
            return 0;
        }
    }
    return -ENOENT;
}

int dtype_tensor_bytes(enum dtype dtype, const uint64_t *shape, size_t rank, uint64_t *bytes)
{
    uint64_t elements = 1, bits;
    unsigned block = dtype_block_elements(dtype);
    size_t i;

    for (i = 0; i < rank; i++) {
        if (__builtin_mul_overflow(elements, shape[i], &elements))
            return -EOVERFLOW;
    }
    if (block == 0 || (block > 1 && (rank == 0 || shape[rank - 1] % block != 0)))
        return -EDOM;
    if (__builtin_mul_overflow(elements / block, (uint64_t)dtype_block_bits(dtype), &bits))
        return -EOVERFLOW;
    if (bits % 8 != 0)
        return -EDOM;
    *bytes = bits / 8;
    return 0;
}
