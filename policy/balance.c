#include "balance.h"

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* A quarter more, as far as the type goes. */
static uint64_t add_quarter(uint64_t bytes)
{
    unsigned __int128 more = (unsigned __int128)bytes * 5 / 4;

    return more > UINT64_MAX - 1 ? UINT64_MAX - 1 : (uint64_t)more;
}

void balance_memory(struct policy_memory *memory, uint64_t model_bytes, uint64_t block_bytes,
                    uint64_t mean_bytes, enum balance_first first)
{
    uint64_t share, others = 0, more;
    uint64_t zero = memory->device_bytes[0];
    unsigned gpus = 0, last = 0, i;

    for (i = 0; i < POLICY_DEVICES_MAX; i++) {
        if (memory->device_bytes[i] != POLICY_UNSET && memory->device_bytes[i] > 0) {
            gpus++;
            last = i;
        }
    }
    if (gpus < 2)
        return;
    if (zero == POLICY_UNSET)
        first = BALANCE_EVEN;
    share = model_bytes / (first == BALANCE_SPARE_IT ? gpus - 1 : gpus);
    more = add_quarter(block_bytes > mean_bytes ? block_bytes : mean_bytes);
    if (__builtin_add_overflow(share, more, &share))
        return;
    for (i = 0; i < POLICY_DEVICES_MAX; i++) {
        if (memory->device_bytes[i] == POLICY_UNSET)
            continue;
        if (i < last)
            memory->device_bytes[i] = smaller(memory->device_bytes[i], share);
        if (i > 0 && __builtin_add_overflow(others, memory->device_bytes[i], &others))
            others = UINT64_MAX;
    }
    if (first == BALANCE_SPARE_IT)
        memory->device_bytes[0] = smaller(zero, model_bytes > others ? model_bytes - others : 0);
}
