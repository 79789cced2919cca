/* ptx_run.h - thread blocks: their memory, and who of their threads goes on when.
 *
 * The threads of a block take turns on the calling host thread. One runs until it waits; the others
 * get their turns; when all whom a barrier or a collective of a warp wants have come, they go on.
 * When nobody can, the block is in a deadlock, which is a fault here, not a hang.
 */
#ifndef SIMCUDA_PTX_RUN_H
#define SIMCUDA_PTX_RUN_H

#include "ptx_device.h"

/* Run all threads of the block; entry->thread is set.
 *
 * local_bytes  of each thread
 * returns      0, else run->fault
 */
int ptx_run_waiting(struct ptx_block *block, const struct ptx_entry *entry, uint64_t local_bytes);
/* The same for an entry that never waits; entry->block is set. */
int ptx_run_straight(struct ptx_block *block, const struct ptx_entry *entry, uint64_t local_bytes);

/* Finish the collective that these threads wait in: thread i of the warp is in it when bit i of
 * members is set. Writes their out and out_pred. */
void ptx_warp_finish(struct ptx_thread *warp, uint32_t members);
/* The same for what works on matrices: it wants a whole warp, else the block faults. */
void ptx_matrix_finish(struct ptx_thread *warp, uint32_t members);

#endif
