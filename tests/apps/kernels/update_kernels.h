/* update_kernels.h - what update_kernels.cu and the programs that check its results must agree on.
 *
 * The same arithmetic for the device and for a host that keeps a shadow copy: integers that wrap,
 * so that both give the same bits in any order.
 */
#ifndef UPDATE_KERNELS_H
#define UPDATE_KERNELS_H

#include "test_kernels.h"

/* The module, NUL-terminated PTX, embedded in every test program. */
#ifdef __cplusplus
extern "C"
#else
extern
#endif
    const char ptx_update_kernels[];

/* One group of parameters of an optimizer: the pointers lie inside a struct inside the parameter.
 */
struct uk_group {
    unsigned int rate; /* a hole of four bytes follows */
    struct {
        unsigned int *weight;
        const unsigned int *gradient;
    } value;
    struct {
        unsigned int *momentum;
        unsigned int *variance;
    } state;
    unsigned long long n; /* words in each of the four */
};

/* One step of the optimizer on one word. */
TK_FUNCTION void uk_step_word(unsigned int rate, unsigned int gradient, unsigned int *weight,
                              unsigned int *momentum, unsigned int *variance)
{
    *momentum = *momentum * 9 + gradient;
    *variance = *variance * 5 + gradient * gradient;
    *weight -= rate * (*momentum ^ *variance >> 3);
}

/* What uk_merge() adds to the word in this row and column. */
TK_FUNCTION unsigned int uk_merge_word(const unsigned int *a, const unsigned int *b,
                                       unsigned long long row, unsigned long long column,
                                       unsigned long long columns, unsigned int rank)
{
    unsigned int sum = 0;

    for (unsigned int k = 0; k < rank; k++)
        sum += a[row * rank + k] * b[k * columns + column];
    return sum;
}

#endif
