#include "xxh3.h"

/* A compiler that does not take this makes what every processor runs. */
#if defined(__x86_64__) && !defined(__clang__)
#pragma GCC target("avx2")
#endif

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t xxh3_take_avx2(const void *bytes, size_t count)
{
    return XXH3_64bits(bytes, count);
}
