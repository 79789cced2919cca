/* xxh3.h - XXH3 of xxHash, with the widest vectors that this processor has.
 *
 * The number is the same with all of them, on every machine.
 */
#ifndef BERTH_POLICY_XXH3_H
#define BERTH_POLICY_XXH3_H

#include <stddef.h>
#include <stdint.h>

/* The 64-bit hash of any bytes; for long runs, where the choice pays. */
uint64_t xxh3_take(const void *bytes, size_t count);

/* The same with AVX2, for processors that have it. */
uint64_t xxh3_take_avx2(const void *bytes, size_t count);

#endif
