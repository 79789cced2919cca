/* balance.h - what each GPU may take so that a model is spread evenly over them.
 *
 * Every GPU but the last gets the same share and a little more, for modules are not cut to measure:
 * a quarter more than the largest block, or than the average module. The last keeps all it has, so
 * that what the shares misjudge still fits. A share never exceeds what the GPU had.
 */
#ifndef BERTH_POLICY_BALANCE_H
#define BERTH_POLICY_BALANCE_H

#include "policy_file.h"
#include <stdint.h>

enum balance_first {
    BALANCE_EVEN,     /* GPU 0 like the others */
    BALANCE_SPARE_IT, /* GPU 0 gets what the others cannot hold */
};

/* Lower the budgets of GPUs to shares.
 *
 * memory       is changed; GPUs with a budget of 0 take no share
 * model_bytes  of the whole model
 * block_bytes  of the largest of the first no-split module of each class; 0 where there are none
 * mean_bytes   of the modules without modules below them, on average
 */
void balance_memory(struct policy_memory *memory, uint64_t model_bytes, uint64_t block_bytes,
                    uint64_t mean_bytes, enum balance_first first);

#endif
