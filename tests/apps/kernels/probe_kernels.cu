/* probe_kernels.cu - kernels that keep the whole device busy with memory, for it to be measured.
 *
 * As many blocks as one likes: the sums do not depend on how the work is dealt out.
 */
#include "device.h"

#include "probe_kernels.h"

/* Sixteen bytes, read or written by one instruction. */
struct __attribute__((aligned(16))) pair {
    u64 low, high;
};

/* *sum += a sum over rounds readings of sixteen bytes at every stride_bytes of p[0..bytes). */
KERNEL pk_read(const void *p, u64 bytes, u64 stride_bytes, u32 rounds, u64 *sum)
{
    u64 own = 0;

    for (u32 round = 0; round < rounds; round++)
        for (u64 at = GRID_THREAD * stride_bytes; at + PK_READ_BYTES <= bytes;
             at += GRID_THREADS * stride_bytes) {
            struct pair q = *(const struct pair *)((const char *)p + at);

            own += (q.low ^ q.high) * (at + round + 1);
        }
    if (own)
        __nvvm_atom_add_gen_ll((long long *)sum, (long long)own);
}

/* Sixteen bytes of value at every stride_bytes of p[0..bytes). */
KERNEL pk_write(void *p, u64 bytes, u64 stride_bytes, u64 value)
{
    struct pair q = {value, value};

    for (u64 at = GRID_THREAD * stride_bytes; at + PK_READ_BYTES <= bytes;
         at += GRID_THREADS * stride_bytes)
        *(struct pair *)((char *)p + at) = q;
}
