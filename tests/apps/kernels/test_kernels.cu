/* test_kernels.cu - kernels for the conformance and preload programs: small, exact, integer
 * arithmetic.
 *
 * Every result depends only on the bytes read, never on an address, on the shape of the grid or on
 * the order in which threads run; so the host can compute it too (test_kernels.h holds the same
 * formulas). Kernels that say "one block" give their answer only when launched with a single block,
 * of any width.
 */
#include "device.h"

#include "test_kernels.h"

#define REDUCE_THREADS 1024

/* Variables of the module, for cuModuleGetGlobal. */
extern "C" {
__device__ u32 tk_counter = 41;
__constant__ u32 tk_table[16] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
}

/* Sum one u64 of each thread of the block; the answer is thread 0's. */
DEVICE u64 block_sum(u64 value)
{
    __shared__ u64 partial[REDUCE_THREADS];
    u64 sum = 0;

    partial[THREAD_X] = value;
    BARRIER();
    if (THREAD_X == 0)
        for (u32 t = 0; t < BLOCK_DIM_X; t++)
            sum += partial[t];
    return sum;
}

/* p[i] = the pattern of (i, seed). */
KERNEL tk_fill(u32 *p, u64 n, u32 seed)
{
    for (u64 i = GRID_THREAD; i < n; i += GRID_THREADS)
        p[i] = tk_pattern(i, seed);
}

/* One block: *out = the hash of p[0..n). */
KERNEL tk_hash(const u32 *p, u64 n, u64 *out)
{
    u64 sum = 0;

    for (u64 i = THREAD_X; i < n; i += BLOCK_DIM_X)
        sum += tk_mix(i, p[i]);
    sum = block_sum(sum);
    if (THREAD_X == 0)
        *out = sum;
}

/* One block: *out = the hash of one word every stride_bytes of p[0..bytes), the first word
 * included. */
KERNEL tk_touch(const void *p, u64 bytes, u64 stride_bytes, u64 *out)
{
    u64 steps = (bytes + stride_bytes - 1) / stride_bytes;
    u64 sum = 0;

    for (u64 i = THREAD_X; i < steps; i += BLOCK_DIM_X)
        sum += tk_mix(i, *(const u32 *)((const char *)p + i * stride_bytes));
    sum = block_sum(sum);
    if (THREAD_X == 0)
        *out = sum;
}

KERNEL tk_copy(u32 *dst, const u32 *src, u64 n)
{
    for (u64 i = GRID_THREAD; i < n; i += GRID_THREADS)
        dst[i] = src[i];
}

/* y = a * x + y, in floats: product and sum are rounded apart. */
KERNEL tk_saxpy(float *y, const float *x, float a, u64 n)
{
    for (u64 i = GRID_THREAD; i < n; i += GRID_THREADS) {
        float product = a * x[i];

        y[i] = product + y[i];
    }
}

/* In place: p[i] = p[i] * 3 + 1. */
KERNEL tk_triple(u32 *p, u64 n)
{
    for (u64 i = GRID_THREAD; i < n; i += GRID_THREADS)
        p[i] = p[i] * 3 + 1;
}

/* dst[i] = left[i] * scale + right[i], with every parameter inside one struct passed by value. */
KERNEL tk_by_value(struct tk_pair pair)
{
    for (u64 i = GRID_THREAD; i < pair.n; i += GRID_THREADS)
        pair.dst[i] = pair.left[i] * pair.scale + pair.right[i];
}

/* out[i] = p0[i] + 2 p1[i] + ... + 7 p6[i]: eight pointers. */
KERNEL tk_eight(const u32 *p0, const u32 *p1, const u32 *p2, const u32 *p3, const u32 *p4,
                const u32 *p5, const u32 *p6, u32 *out, u64 n)
{
    for (u64 i = GRID_THREAD; i < n; i += GRID_THREADS)
        out[i] = p0[i] + 2 * p1[i] + 3 * p2[i] + 4 * p3[i] + 5 * p4[i] + 6 * p5[i] + 7 * p6[i];
}

/* out[i] = 1 p0[i] + 2 p1[i] + ... + 31 p30[i]: thirty-two pointers, each a parameter of its own.
 */
KERNEL tk_thirty_two(const u32 *p0, const u32 *p1, const u32 *p2, const u32 *p3, const u32 *p4,
                     const u32 *p5, const u32 *p6, const u32 *p7, const u32 *p8, const u32 *p9,
                     const u32 *p10, const u32 *p11, const u32 *p12, const u32 *p13, const u32 *p14,
                     const u32 *p15, const u32 *p16, const u32 *p17, const u32 *p18, const u32 *p19,
                     const u32 *p20, const u32 *p21, const u32 *p22, const u32 *p23, const u32 *p24,
                     const u32 *p25, const u32 *p26, const u32 *p27, const u32 *p28, const u32 *p29,
                     const u32 *p30, u32 *out, u64 n)
{
    for (u64 i = GRID_THREAD; i < n; i += GRID_THREADS) {
        u32 sum = p0[i] + 2 * p1[i] + 3 * p2[i] + 4 * p3[i] + 5 * p4[i] + 6 * p5[i] + 7 * p6[i];

        sum += 8 * p7[i] + 9 * p8[i] + 10 * p9[i] + 11 * p10[i] + 12 * p11[i] + 13 * p12[i];
        sum += 14 * p13[i] + 15 * p14[i] + 16 * p15[i] + 17 * p16[i] + 18 * p17[i] + 19 * p18[i];
        sum += 20 * p19[i] + 21 * p20[i] + 22 * p21[i] + 23 * p22[i] + 24 * p23[i] + 25 * p24[i];
        sum += 26 * p25[i] + 27 * p26[i] + 28 * p27[i] + 29 * p28[i] + 30 * p29[i] + 31 * p30[i];
        out[i] = sum;
    }
}

/* out[r * row_words + c] = table[rows[r] * row_words + c]: the sparse read of an embedding table.
 */
KERNEL tk_gather(u32 *out, const u32 *table, const u32 *rows, u64 count, u64 row_words)
{
    for (u64 i = GRID_THREAD; i < count * row_words; i += GRID_THREADS)
        out[i] = table[rows[i / row_words] * row_words + i % row_words];
}

/* out[i] = sum over t < count of tables[t][i]. The pointers lie in device memory, out of sight of
 * whoever looks at the parameters alone.
 */
KERNEL tk_indirect(u32 *out, const u32 *const *tables, u32 count, u64 n)
{
    for (u64 i = GRID_THREAD; i < n; i += GRID_THREADS) {
        u32 sum = 0;

        for (u32 t = 0; t < count; t++)
            sum += tables[t][i];
        out[i] = sum;
    }
}

/* One store; with an address that is nobody's, the illegal access that a test wants. */
KERNEL tk_poke(u32 *p, u64 index, u32 value)
{
    if (GRID_THREAD == 0)
        p[index] = value;
}

/* One load. */
KERNEL tk_peek(u32 *out, const u32 *p, u64 index)
{
    if (GRID_THREAD == 0)
        *out = p[index];
}

/* One block: out[i] = p[n - 1 - i] through n words of dynamic shared memory; n <= width of the
 * block. */
KERNEL tk_reverse(u32 *out, const u32 *p, u32 n)
{
    extern __shared__ u32 reversed[];

    if (THREAD_X < n)
        reversed[n - 1 - THREAD_X] = p[THREAD_X];
    BARRIER();
    if (THREAD_X < n)
        out[THREAD_X] = reversed[THREAD_X];
}

/* out[i] = tk_table[i % 16] + tk_counter; the first thread then steps tk_counter, so launch one
 * block. */
KERNEL tk_globals(u32 *out, u32 n)
{
    for (u32 i = THREAD_X; i < n; i += BLOCK_DIM_X)
        out[i] = tk_table[i % 16] + tk_counter;
    BARRIER();
    if (THREAD_X == 0)
        tk_counter++;
}

/* A kernel that lasts: *out = x after rounds of x = x * 1664525 + (i ^ 1013904223), each needing
 * the last. */
KERNEL tk_work(u32 *out, u32 x, u64 rounds)
{
    if (GRID_THREAD != 0)
        return;
    for (u64 i = 0; i < rounds; i++)
        x = x * 1664525u + (u32)(i ^ 1013904223u);
    *out = x;
}
