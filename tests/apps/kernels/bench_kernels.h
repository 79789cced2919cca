/* bench_kernels.h - what bench_kernels.cu and the programs that launch it must agree on. */
#ifndef BENCH_KERNELS_H
#define BENCH_KERNELS_H

#define BK_THREADS 32u
#define BK_FACTOR  0x9e3779b97f4a7c15ull

#ifndef __cplusplus
/* The module, NUL-terminated PTX. */
extern const char ptx_bench_kernels[];
#endif

#endif
