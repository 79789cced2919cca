/* device.h - the few words of CUDA C that the kernels here are written in.
 *
 * The kernels are compiled to PTX by clang without a toolkit, and by nvcc with one; this header is
 * the only place that knows which. Nothing may be called here whose last bits differ between
 * machines: no approximate instruction and no library of device functions, so that a result is the
 * same bits on every driver.
 */
#ifndef KERNELS_DEVICE_H
#define KERNELS_DEVICE_H

typedef unsigned int u32;
typedef unsigned long long u64;

#if defined(__clang__) && defined(__CUDA__)

#define __global__           __attribute__((global))
#define __device__           __attribute__((device))
#define __shared__           __attribute__((shared))
#define __constant__         __attribute__((constant))
#define __launch_bounds__(n) __attribute__((launch_bounds(n)))

#define THREAD_X    ((u32)__nvvm_read_ptx_sreg_tid_x())
#define THREAD_Y    ((u32)__nvvm_read_ptx_sreg_tid_y())
#define BLOCK_X     ((u32)__nvvm_read_ptx_sreg_ctaid_x())
#define BLOCK_Y     ((u32)__nvvm_read_ptx_sreg_ctaid_y())
#define BLOCK_Z     ((u32)__nvvm_read_ptx_sreg_ctaid_z())
#define BLOCK_DIM_X ((u32)__nvvm_read_ptx_sreg_ntid_x())
#define GRID_DIM_X  ((u32)__nvvm_read_ptx_sreg_nctaid_x())
#define BARRIER()   __syncthreads()

struct __attribute__((aligned(16))) float4 {
    float x, y, z, w;
};

#else

#define THREAD_X    threadIdx.x
#define THREAD_Y    threadIdx.y
#define BLOCK_X     blockIdx.x
#define BLOCK_Y     blockIdx.y
#define BLOCK_Z     blockIdx.z
#define BLOCK_DIM_X blockDim.x
#define GRID_DIM_X  gridDim.x
#define BARRIER()   __syncthreads()

#endif

#define KERNEL       extern "C" __global__ void
#define DEVICE       static __device__ inline
#define GRID_THREAD  ((u64)BLOCK_X * BLOCK_DIM_X + THREAD_X)
#define GRID_THREADS ((u64)GRID_DIM_X * BLOCK_DIM_X)

#endif
