/* ptx_flow.h - what the recording of a function tells about its registers and its flow.
 *
 * Nothing here changes a program's meaning: it only chooses how registers are held in C, which of
 * them a suspended thread keeps in its frame, and where a spinning thread gives way.
 */
#ifndef SIMCUDA_PTX_FLOW_H
#define SIMCUDA_PTX_FLOW_H

#include "ptx_emit.h"

/* Registers without a type of their own become floats where they are used as floats; NaN sources
 * pass through moves. */
void ptx_choose_holds(struct ptx_func *func, const struct ptx_copy *copies);

/* Instructions that spin (ld.volatile, atom.cas) and stand in a loop become suspensions. */
void ptx_find_spins(struct ptx_unit *unit, struct ptx_func *func);

/* Number the suspensions of a function and find what each must save. */
void ptx_find_live(struct ptx_unit *unit, struct ptx_func *func);

#endif
