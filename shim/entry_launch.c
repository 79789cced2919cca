/* entry_launch.c - kernel launches.
 *
 * Stream 0 means another stream in the _ptsz variants; launch.h wants to know which.
 */
#include "entry.h"
#include "launch.h"

static CUstream legacy(CUstream stream)
{
    return stream ? stream : CU_STREAM_LEGACY;
}

static CUstream per_thread(CUstream stream)
{
    return stream ? stream : CU_STREAM_PER_THREAD;
}

static uint64_t volume(unsigned int x, unsigned int y, unsigned int z)
{
    return (uint64_t)x * y * z;
}

static uint64_t threads_of(const CUlaunchConfig *config)
{
    return volume(config->gridDimX, config->gridDimY, config->gridDimZ) *
           volume(config->blockDimX, config->blockDimY, config->blockDimZ);
}

CUresult cuLaunchKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y,
                        unsigned int grid_z, unsigned int block_x, unsigned int block_y,
                        unsigned int block_z, unsigned int shared_bytes, CUstream stream,
                        void **params, void **extra)
{
    uint64_t threads = volume(grid_x, grid_y, grid_z) * volume(block_x, block_y, block_z);
    struct use *use = launch_begin(function, params, extra, threads, legacy(stream));
    CUresult result =
        driver_get()->cuLaunchKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z,
                                     shared_bytes, stream, params, extra);

    launch_end(use, legacy(stream), result);
    return result;
}

CUresult cuLaunchKernel_ptsz(CUfunction function, unsigned int grid_x, unsigned int grid_y,
                             unsigned int grid_z, unsigned int block_x, unsigned int block_y,
                             unsigned int block_z, unsigned int shared_bytes, CUstream stream,
                             void **params, void **extra)
{
    uint64_t threads = volume(grid_x, grid_y, grid_z) * volume(block_x, block_y, block_z);
    struct use *use = launch_begin(function, params, extra, threads, per_thread(stream));
    CUresult result =
        driver_get()->cuLaunchKernel_ptsz(function, grid_x, grid_y, grid_z, block_x, block_y,
                                          block_z, shared_bytes, stream, params, extra);

    launch_end(use, per_thread(stream), result);
    return result;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **params,
                          void **extra)
{
    CUstream stream = legacy(config ? config->hStream : NULL);
    struct use *use =
        config ? launch_begin(function, params, extra, threads_of(config), stream) : NULL;
    CUresult result = driver_get()->cuLaunchKernelEx(config, function, params, extra);

    launch_end(use, stream, result);
    return result;
}

CUresult cuLaunchKernelEx_ptsz(const CUlaunchConfig *config, CUfunction function, void **params,
                               void **extra)
{
    CUstream stream = per_thread(config ? config->hStream : NULL);
    struct use *use =
        config ? launch_begin(function, params, extra, threads_of(config), stream) : NULL;
    CUresult result = driver_get()->cuLaunchKernelEx_ptsz(config, function, params, extra);

    launch_end(use, stream, result);
    return result;
}

CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y,
                                   unsigned int grid_z, unsigned int block_x, unsigned int block_y,
                                   unsigned int block_z, unsigned int shared_bytes, CUstream stream,
                                   void **params)
{
    uint64_t threads = volume(grid_x, grid_y, grid_z) * volume(block_x, block_y, block_z);
    struct use *use = launch_begin(function, params, NULL, threads, legacy(stream));
    CUresult result = driver_get()->cuLaunchCooperativeKernel(
        function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream, params);

    launch_end(use, legacy(stream), result);
    return result;
}

CUresult cuLaunchCooperativeKernel_ptsz(CUfunction function, unsigned int grid_x,
                                        unsigned int grid_y, unsigned int grid_z,
                                        unsigned int block_x, unsigned int block_y,
                                        unsigned int block_z, unsigned int shared_bytes,
                                        CUstream stream, void **params)
{
    uint64_t threads = volume(grid_x, grid_y, grid_z) * volume(block_x, block_y, block_z);
    struct use *use = launch_begin(function, params, NULL, threads, per_thread(stream));
    CUresult result = driver_get()->cuLaunchCooperativeKernel_ptsz(
        function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream, params);

    launch_end(use, per_thread(stream), result);
    return result;
}
