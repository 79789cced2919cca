/* probe_kernels.h - what probe_kernels.cu and the programs that launch it must agree on. */
#ifndef PROBE_KERNELS_H
#define PROBE_KERNELS_H

#define PK_THREADS    256u /* of a block */
#define PK_READ_BYTES 16u  /* of one access */

#ifndef __cplusplus
/* The module, NUL-terminated PTX. */
extern const char ptx_probe_kernels[];
#endif

#endif
