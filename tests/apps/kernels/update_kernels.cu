/* update_kernels.cu - kernels that write into weights: a merge of low rank, an optimizer's step,
 * sparse rows, and stores through pointers that only device memory holds.
 *
 * update_kernels.h holds the formulas. The result depends neither on the grid nor on the order of
 * threads.
 */
#include "device.h"

#include "update_kernels.h"

/* w += a * b: w has rows x columns words, a rows x rank, b rank x columns. */
KERNEL uk_merge(u32 *w, const u32 *a, const u32 *b, u64 rows, u64 columns, u32 rank)
{
    for (u64 i = GRID_THREAD; i < rows * columns; i += GRID_THREADS)
        w[i] += uk_merge_word(a, b, i / columns, i % columns, columns, rank);
}

/* One step of the optimizer, with every parameter inside one struct passed by value. */
KERNEL uk_optimize(struct uk_group group)
{
    for (u64 i = GRID_THREAD; i < group.n; i += GRID_THREADS) {
        u32 weight = group.value.weight[i];
        u32 momentum = group.state.momentum[i], variance = group.state.variance[i];

        uk_step_word(group.rate, group.value.gradient[i], &weight, &momentum, &variance);
        group.value.weight[i] = weight;
        group.state.momentum[i] = momentum;
        group.state.variance[i] = variance;
    }
}

/* table[rows[r] * row_words + c] += delta[r * row_words + c]: the gradient of an embedding table.
 * No row stands twice in rows. */
KERNEL uk_scatter(u32 *table, const u32 *rows, const u32 *delta, u64 count, u64 row_words)
{
    for (u64 i = GRID_THREAD; i < count * row_words; i += GRID_THREADS)
        table[rows[i / row_words] * row_words + i % row_words] += delta[i];
}

/* tables[t][i] += value * (t + 1): what is written is out of sight of whoever looks at the
 * parameters alone. */
KERNEL uk_indirect(u32 *const *tables, u32 count, u64 n, u32 value)
{
    for (u64 i = GRID_THREAD; i < n; i += GRID_THREADS)
        for (u32 t = 0; t < count; t++)
            tables[t][i] += value * (t + 1);
}
