/* procaddr.h - which export cuGetProcAddress() means by a name, a CUDA version and flags.
 *
 * Of the ABIs that share a name, the newest that is not newer than the version asked for; its
 * per-thread twin when the flags ask for that and there is one.
 */
#ifndef SIMCUDA_PROCADDR_H
#define SIMCUDA_PROCADDR_H

#include "cuda_abi.h"

/* Look a name up.
 *
 * name            without suffixes, as a program asks for it
 * version         major * 1000 + minor * 10 that the program was built for
 * flags           CU_GET_PROC_ADDRESS_*
 * driver_version  exports that are newer than the driver do not exist
 * status          may be NULL
 * returns         the index of the export (exports.h), or -1
 */
int procaddr_find(const char *name, int version, uint64_t flags, int driver_version,
                  CUdriverProcAddressQueryResult *status);

#endif
