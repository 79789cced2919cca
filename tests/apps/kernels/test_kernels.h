/* test_kernels.h - what test_kernels.cu and the programs that check its results must agree on.
 *
 * The formulas stand here once, for the device and the host. They are integer arithmetic that
 * wraps, so both give the same bits; sums of tk_mix() may be taken in any order.
 */
#ifndef TEST_KERNELS_H
#define TEST_KERNELS_H

#ifdef __cplusplus
#define TK_FUNCTION static __attribute__((host)) __attribute__((device)) inline
#else
#define TK_FUNCTION static inline
#endif

/* The module, NUL-terminated PTX, embedded in every test program. */
#ifdef __cplusplus
extern "C"
#else
extern
#endif
    const char ptx_test_kernels[];

/* The parameter of tk_by_value(): pointers at offsets 0, 16 and 32, numbers between them. */
struct tk_pair {
    unsigned int *dst;
    unsigned int scale; /* a hole of four bytes follows */
    const unsigned int *left;
    unsigned long long n; /* words in each of the three */
    const unsigned int *right;
};

/* The word that tk_fill() writes at index i; neighbours and seeds share no bits to speak of. */
TK_FUNCTION unsigned int tk_pattern(unsigned long long i, unsigned int seed)
{
    unsigned int x = (unsigned int)i * 2654435761u ^ (unsigned int)(i >> 32) ^ seed * 2246822519u;

    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    x *= 3266489917u;
    return x ^ x >> 16;
}

/* What the word at index i adds to the sums of tk_hash() and tk_touch(). */
TK_FUNCTION unsigned long long tk_mix(unsigned long long i, unsigned int word)
{
    unsigned long long x = (i + 1) * 0x9e3779b97f4a7c15ull ^ word * 0xff51afd7ed558ccdull;

    x ^= x >> 32;
    return x * 0xc4ceb9fe1a85ec53ull;
}

#ifndef __cplusplus
/* What tk_hash() of these words must give. */
TK_FUNCTION unsigned long long tk_hash_of(const unsigned int *words, unsigned long long n)
{
    unsigned long long sum = 0;

    for (unsigned long long i = 0; i < n; i++)
        sum += tk_mix(i, words[i]);
    return sum;
}

/* What tk_hash() of n words filled by tk_fill() with this seed must give. */
TK_FUNCTION unsigned long long tk_hash_of_pattern(unsigned long long n, unsigned int seed)
{
    unsigned long long sum = 0;

    for (unsigned long long i = 0; i < n; i++)
        sum += tk_mix(i, tk_pattern(i, seed));
    return sum;
}
#endif

#endif
