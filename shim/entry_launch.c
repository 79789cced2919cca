/* entry_launch.c - kernel launches. */
#include "entry.h"

CUresult cuLaunchKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y,
                        unsigned int grid_z, unsigned int block_x, unsigned int block_y,
                        unsigned int block_z, unsigned int shared_bytes, CUstream stream,
                        void **params, void **extra)
{
    return driver_get()->cuLaunchKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z,
                                        shared_bytes, stream, params, extra);
}

CUresult cuLaunchKernel_ptsz(CUfunction function, unsigned int grid_x, unsigned int grid_y,
                             unsigned int grid_z, unsigned int block_x, unsigned int block_y,
                             unsigned int block_z, unsigned int shared_bytes, CUstream stream,
                             void **params, void **extra)
{
    return driver_get()->cuLaunchKernel_ptsz(function, grid_x, grid_y, grid_z, block_x, block_y,
                                             block_z, shared_bytes, stream, params, extra);
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **params,
                          void **extra)
{
    return driver_get()->cuLaunchKernelEx(config, function, params, extra);
}

CUresult cuLaunchKernelEx_ptsz(const CUlaunchConfig *config, CUfunction function, void **params,
                               void **extra)
{
    return driver_get()->cuLaunchKernelEx_ptsz(config, function, params, extra);
}

CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y,
                                   unsigned int grid_z, unsigned int block_x, unsigned int block_y,
                                   unsigned int block_z, unsigned int shared_bytes, CUstream stream,
                                   void **params)
{
    return driver_get()->cuLaunchCooperativeKernel(function, grid_x, grid_y, grid_z, block_x,
                                                   block_y, block_z, shared_bytes, stream, params);
}

CUresult cuLaunchCooperativeKernel_ptsz(CUfunction function, unsigned int grid_x,
                                        unsigned int grid_y, unsigned int grid_z,
                                        unsigned int block_x, unsigned int block_y,
                                        unsigned int block_z, unsigned int shared_bytes,
                                        CUstream stream, void **params)
{
    return driver_get()->cuLaunchCooperativeKernel_ptsz(
        function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream, params);
}
