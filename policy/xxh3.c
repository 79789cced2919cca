#include "xxh3.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t xxh3_take(const void *bytes, size_t count)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2"))
        return xxh3_take_avx2(bytes, count);
#endif
    return XXH3_64bits(bytes, count);
}
