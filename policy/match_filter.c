#include "match_filter.h"

static uint64_t slot_of(uint64_t bytes)
{
    return (bytes * 0x9e3779b97f4a7c15ull >> 32) % MATCH_FILTER_LENGTHS;
}

void match_filter_add_head(struct match_filter *filter, uint64_t head)
{
    atomic_fetch_or_explicit(&filter->heads[(head >> 6) % MATCH_FILTER_WORDS],
                             (uint64_t)1 << (head & 63), memory_order_relaxed);
}

void match_filter_add_length(struct match_filter *filter, uint64_t bytes)
{
    atomic_store_explicit(&filter->lengths[slot_of(bytes)], bytes, memory_order_release);
}

void match_filter_forget_lengths(struct match_filter *filter)
{
    for (unsigned i = 0; i < MATCH_FILTER_LENGTHS; i++)
        atomic_store_explicit(&filter->lengths[i], 0, memory_order_relaxed);
}

int match_filter_rejects(const struct match_filter *filter, uint64_t bytes, uint64_t head)
{
    return atomic_load_explicit(&filter->lengths[slot_of(bytes)], memory_order_acquire) == bytes &&
           !(atomic_load_explicit(&filter->heads[(head >> 6) % MATCH_FILTER_WORDS],
                                  memory_order_relaxed) >>
                 (head & 63) &
             1);
}
