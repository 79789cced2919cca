/* bench_kernels.cu - kernels that read weights as a model does, and compute next to nothing.
 *
 * What matters to a benchmark of paging is which bytes a kernel reads, how often, and that a byte
 * which is not what was uploaded changes the result. Integer arithmetic that wraps, so the result is
 * the same bits on every driver. All but bk_matrix_wide are launched with one block of BK_THREADS
 * threads.
 */
#include "device.h"

#include "bench_kernels.h"

/* Sixteen bytes, read by one instruction. */
struct __attribute__((aligned(16))) pair {
    u64 low, high;
};

/* out[t] = a mixture of in[t] and of the sixteen bytes at every stride_bytes of weight[0..bytes),
 * dealt out to the threads in turn. in and out are BK_THREADS words. */
KERNEL bk_matrix(const void *weight, u64 bytes, u64 stride_bytes, const u64 *in, u64 *out)
{
    u64 sum = in[THREAD_X];

    for (u64 at = THREAD_X * stride_bytes; at + 16 <= bytes; at += BK_THREADS * stride_bytes) {
        struct pair p = *(const struct pair *)((const char *)weight + at);

        sum = sum * BK_FACTOR + (p.low ^ p.high);
    }
    out[THREAD_X] = sum ^ sum >> 29;
}

/* The same on as many blocks as one likes, of whatever width: enough of them to read as fast as a card
 * can. The words of out are added to, so that it does not matter who comes first. */
KERNEL bk_matrix_wide(const void *weight, u64 bytes, u64 stride_bytes, const u64 *in, u64 *out)
{
    u64 word = GRID_THREAD % BK_THREADS, sum = in[word];

    for (u64 at = GRID_THREAD * stride_bytes; at + 16 <= bytes; at += GRID_THREADS * stride_bytes) {
        struct pair p = *(const struct pair *)((const char *)weight + at);

        sum = sum * BK_FACTOR + (p.low ^ p.high);
    }
    __nvvm_atom_add_gen_ll((long long *)&out[word], (long long)(sum ^ sum >> 29));
}

/* bk_matrix for rows of a table: row rows[r] of row_bytes, for r < count. */
KERNEL bk_gather(const void *table, u64 row_bytes, u64 stride_bytes, const u32 *rows, u32 count,
                 const u64 *in, u64 *out)
{
    u64 sum = in[THREAD_X];

    for (u32 r = THREAD_X; r < count; r += BK_THREADS)
        for (u64 at = 0; at + 16 <= row_bytes; at += stride_bytes) {
            struct pair p = *(const struct pair *)((const char *)table + rows[r] * row_bytes + at);

            sum = sum * BK_FACTOR + (p.low ^ p.high);
        }
    out[THREAD_X] = sum ^ sum >> 29;
}

/* A slice of the cache of keys and values is read and its word at position changed. */
KERNEL bk_attend(u64 *slice, u64 words, u64 position, const u64 *in, u64 *out)
{
    u64 sum = in[THREAD_X];

    for (u64 i = THREAD_X; i < words; i += BK_THREADS)
        sum = sum * BK_FACTOR + slice[i];
    BARRIER();
    if (THREAD_X == position % BK_THREADS)
        slice[position % words] = sum;
    out[THREAD_X] = sum ^ sum >> 29;
}
