/* Launches: arguments are checked and parameters copied now, blocks run later. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "device.h"
#include "gate.h"
#include "memory.h"
#include "module.h"
#include "pace.h"
#include "stream.h"
#include "touched.h"

#define ATTRIBUTE_CLUSTER     4 /* CUlaunchAttributeID */
#define ATTRIBUTE_COOPERATIVE 2

#define UNSET_PARAM 0xa5 /* what stands in parameters that a launch leaves out */

static _Atomic uint64_t g_launches;

uint64_t launch_count(void)
{
    return atomic_load(&g_launches);
}

/* What a program asks for, whichever entry point it takes. */
struct launch_request {
    CUfunction function; /* or a CUkernel */
    CUstream stream;
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t shared_bytes;
    int is_cooperative;
    void **params;
    void **extra;
};

/* One launch on its way; params stand behind it. */
struct launch {
    struct ptx_launch ptx;
    const struct ptx_kernel *kernel;
    CUcontext ctx;
    uint64_t number; /* of all launches, from 1 */
    _Alignas(16) unsigned char params[];
};

/* Running
 * -----------------------------------------------------------------------------------------*/

static int launch_run_block(struct launch *launch, const uint32_t block[3], struct touched *touched)
{
    struct mmu_run run;
    int fault;

    memory_run_begin(launch->ctx->device, &run);
    if (pace_is_on())
        touched_watch(touched, &run);
    fault = ptx_kernel_run_block(launch->kernel, &launch->ptx, block, &run);
    memory_run_end(&run);
    if (fault)
        sim_log("%s: error %d at address 0x%llx in block (%u, %u, %u)",
                ptx_kernel_name(launch->kernel), fault, (unsigned long long)run.fault_addr,
                block[0], block[1], block[2]);
    return fault;
}

/* Another stream's fault ends this kernel as well, and so does the end of the process. */
static int launch_is_over(const struct launch *launch)
{
    return sim_stopping() || atomic_load_explicit(&launch->ctx->sticky, memory_order_relaxed);
}

static int launch_run_grid(struct launch *launch, struct touched *touched)
{
    const uint32_t *grid = launch->ptx.grid;
    uint32_t block[3];

    for (block[2] = 0; block[2] < grid[2]; block[2]++) {
        for (block[1] = 0; block[1] < grid[1]; block[1]++) {
            for (block[0] = 0; block[0] < grid[0]; block[0]++) {
                int fault = launch_run_block(launch, block, touched);

                if (fault)
                    return fault;
                if (launch_is_over(launch))
                    return 0;
            }
        }
    }
    return 0;
}

/* Is this the launch at which the device is to be lost? Sets *code to the error that stays. */
static int launch_is_fatal(const struct launch *launch, CUresult *code)
{
    const char *text = sim_setting_text(SIM_LOSE);
    struct gate_request request;
    char line[64];

    if (!*text)
        return 0;
    snprintf(line, sizeof(line), "launch:%s%s", text, strchr(text, ':') ? "" : ":719");
    if (gate_request_parse(line, strlen(line), &request) != 0 ||
        !gate_request_hits(&request, launch->number))
        return 0;
    *code = (CUresult)request.code;
    return 1;
}

static int launch_run(void *arg)
{
    struct launch *launch = arg;
    CUresult code;
    struct touched touched = {.line_bytes = pace_costs()->line_bytes};
    struct pace_kernel kernel;
    int fault;

    if (launch_is_fatal(launch, &code)) {
        context_lose_device(launch->ctx->device, code);
        return 0; /* the other devices are as they were */
    }
    pace_kernel_begin(launch->ctx->device);
    pace_slow(PACE_COMPUTE);
    fault = launch_run_grid(launch, &touched);
    touched_end(&touched);
    kernel.touched_bytes = touched.local_bytes;
    kernel.remote_read_bytes = touched.remote_read_bytes;
    kernel.remote_write_bytes = touched.remote_write_bytes;
    kernel.moved = pace_tally_take();
    pace_kernel_end(launch->ctx->device, &kernel);
    return fault;
}

/* Checking
 * ----------------------------------------------------------------------------------------*/

static CUresult check_shape(const struct launch_request *request, CUfunction function)
{
    const uint64_t threads =
        (uint64_t)request->block[0] * request->block[1] * (uint64_t)request->block[2];
    int i;

    for (i = 0; i < 3; i++) {
        if (!request->grid[i] || !request->block[i])
            return CUDA_ERROR_INVALID_VALUE;
    }
    if (request->grid[0] > DEVICE_GRID_X || request->grid[1] > DEVICE_GRID_YZ ||
        request->grid[2] > DEVICE_GRID_YZ || request->block[0] > DEVICE_BLOCK_THREADS ||
        request->block[1] > DEVICE_BLOCK_THREADS || request->block[2] > DEVICE_BLOCK_Z ||
        threads > DEVICE_BLOCK_THREADS || threads > ptx_kernel_max_threads(function->kernel))
        return CUDA_ERROR_INVALID_VALUE;
    if (request->shared_bytes > (uint32_t)atomic_load(&function->dynamic_shared_bytes))
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

/* All blocks of a cooperative launch must be on the device at once. */
static CUresult check_cooperative(const struct launch_request *request, CUfunction function)
{
    const uint64_t blocks =
        (uint64_t)request->grid[0] * request->grid[1] * (uint64_t)request->grid[2];
    const int threads = (int)(request->block[0] * request->block[1] * request->block[2]);
    const int fit =
        kernel_blocks_per_multiprocessor(function->kernel, threads, request->shared_bytes);

    if (request->is_cooperative && blocks > (uint64_t)fit * DEVICE_MULTIPROCESSORS)
        return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
    return CUDA_SUCCESS;
}

/* Parameters -------------------------------------------------------------------------------------
 */

/* The packed buffer of an `extra` list, {1, buffer, 2, &bytes, 0}. returns 0 or 1 */
static CUresult extra_parse(void **extra, const void **buffer, size_t *bytes)
{
    const size_t *bytes_at = NULL;

    *buffer = NULL;
    for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
        if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER)
            *buffer = extra[1];
        else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE)
            bytes_at = extra[1];
        else
            return CUDA_ERROR_INVALID_VALUE;
    }
    if (!*buffer || !bytes_at)
        return CUDA_ERROR_INVALID_VALUE;
    *bytes = *bytes_at;
    return CUDA_SUCCESS;
}

/* A buffer may be shorter than the parameters are together, and the kernel finds rubbish in the
 * rest; a longer one is refused, be it by the padding at the end of a struct. */
static CUresult params_copy(const struct launch_request *request, struct launch *launch)
{
    const struct ptx_param *params;
    const size_t count = ptx_kernel_params(launch->kernel, &params);
    const size_t needed = ptx_kernel_param_bytes(launch->kernel);
    const void *buffer;
    size_t bytes, i;
    CUresult res;

    if (request->params && request->extra)
        return CUDA_ERROR_INVALID_VALUE;
    if (request->extra) {
        res = extra_parse(request->extra, &buffer, &bytes);
        if (res != CUDA_SUCCESS)
            return res;
        if (bytes > needed)
            return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
        memcpy(launch->params, buffer, bytes);
        memset(launch->params + bytes, UNSET_PARAM, needed - bytes);
        return CUDA_SUCCESS;
    }
    if (count && !request->params)
        return CUDA_ERROR_INVALID_VALUE;
    for (i = 0; i < count; i++) {
        if (!request->params[i])
            return CUDA_ERROR_INVALID_VALUE;
        memcpy(launch->params + params[i].offset, request->params[i], params[i].bytes);
    }
    return CUDA_SUCCESS;
}

/* Launching
 * ---------------------------------------------------------------------------------------*/

static CUresult launch_create(const struct launch_request *request, CUfunction function,
                              struct launch **out)
{
    const size_t bytes = ptx_kernel_param_bytes(function->kernel);
    struct launch *launch = calloc(1, sizeof(*launch) + bytes);
    CUresult res;

    if (!launch)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(launch->ptx.grid, request->grid, sizeof(request->grid));
    memcpy(launch->ptx.block, request->block, sizeof(request->block));
    launch->ptx.dynamic_shared_bytes = request->shared_bytes;
    launch->ptx.params = launch->params;
    launch->ptx.global_addr = function->module->global_addrs;
    launch->kernel = function->kernel;
    launch->ctx = function->module->ctx;
    res = params_copy(request, launch);
    if (res == CUDA_SUCCESS)
        *out = launch;
    else
        free(launch);
    return res;
}

/* It has run, or never will. */
static void launch_release(void *arg)
{
    memory_device_busy(-1);
    free(arg);
}

/* A kernel's handle is launched in the context of the stream, a function in its own. */
static CUresult launch(const struct launch_request *request)
{
    struct work_spec spec = {.run = launch_run, .release = launch_release};
    struct launch *launch;
    CUfunction function;
    CUstream stream;
    CUresult res;

    if (handle_is(request->function, HANDLE_KERNEL))
        res = stream_enter_own_context(request->stream, &stream);
    else
        res = stream_enter(request->stream, &stream);
    if (res == CUDA_SUCCESS)
        res = function_resolve(request->function, stream->ctx, &function);
    if (res == CUDA_SUCCESS)
        res = check_shape(request, function);
    if (res == CUDA_SUCCESS)
        res = check_cooperative(request, function);
    if (res == CUDA_SUCCESS)
        res = launch_create(request, function, &launch);
    if (res != CUDA_SUCCESS)
        return res;
    spec.arg = launch;
    memory_device_busy(1);
    launch->number = atomic_fetch_add(&g_launches, 1) + 1;
    return stream_queue(stream, &spec, NULL);
}

static CUresult launch_kernel(CUfunction function, const uint32_t grid[3], const uint32_t block[3],
                              uint32_t shared_bytes, CUstream stream, void **params, void **extra)
{
    struct launch_request request = {
        .function = function,
        .stream = stream,
        .grid = {grid[0], grid[1], grid[2]},
        .block = {block[0], block[1], block[2]},
        .shared_bytes = shared_bytes,
        .params = params,
        .extra = extra,
    };

    return launch(&request);
}
SIM_ENTRY_PTSZ(cuLaunchKernel,
               (CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,
                unsigned int block_x, unsigned int block_y, unsigned int block_z,
                unsigned int shared_bytes, CUstream stream, void **params, void **extra),
               launch_kernel(function, (uint32_t[]){grid_x, grid_y, grid_z},
                             (uint32_t[]){block_x, block_y, block_z}, shared_bytes, stream, params,
                             extra))

static CUresult launch_cooperative(CUfunction function, const uint32_t grid[3],
                                   const uint32_t block[3], uint32_t shared_bytes, CUstream stream,
                                   void **params)
{
    struct launch_request request = {
        .function = function,
        .stream = stream,
        .grid = {grid[0], grid[1], grid[2]},
        .block = {block[0], block[1], block[2]},
        .shared_bytes = shared_bytes,
        .is_cooperative = 1,
        .params = params,
    };

    return launch(&request);
}
SIM_ENTRY_PTSZ(cuLaunchCooperativeKernel,
               (CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,
                unsigned int block_x, unsigned int block_y, unsigned int block_z,
                unsigned int shared_bytes, CUstream stream, void **params),
               launch_cooperative(function, (uint32_t[]){grid_x, grid_y, grid_z},
                                  (uint32_t[]){block_x, block_y, block_z}, shared_bytes, stream,
                                  params))

/* Attributes are hints to this device, but for two: clusters need a newer one. */
static CUresult attributes_read(const CUlaunchConfig *config, struct launch_request *request)
{
    unsigned i;

    if (config->numAttrs && !config->attrs)
        return CUDA_ERROR_INVALID_VALUE;
    for (i = 0; i < config->numAttrs; i++) {
        if (config->attrs[i].id == ATTRIBUTE_CLUSTER)
            return CUDA_ERROR_NOT_SUPPORTED;
        if (config->attrs[i].id == ATTRIBUTE_COOPERATIVE)
            memcpy(&request->is_cooperative, config->attrs[i].value,
                   sizeof(request->is_cooperative));
    }
    return CUDA_SUCCESS;
}

enum null_stream {
    NULL_STREAM_LEGACY,
    NULL_STREAM_PER_THREAD,
};

static CUresult launch_ex(const CUlaunchConfig *config, CUfunction function, void **params,
                          void **extra, enum null_stream null_stream)
{
    struct launch_request request = {.function = function, .params = params, .extra = extra};
    CUresult res;

    if (!config)
        return CUDA_ERROR_INVALID_VALUE;
    request.grid[0] = config->gridDimX;
    request.grid[1] = config->gridDimY;
    request.grid[2] = config->gridDimZ;
    request.block[0] = config->blockDimX;
    request.block[1] = config->blockDimY;
    request.block[2] = config->blockDimZ;
    request.shared_bytes = config->sharedMemBytes;
    request.stream = config->hStream;
    if (!request.stream && null_stream == NULL_STREAM_PER_THREAD)
        request.stream = CU_STREAM_PER_THREAD;
    res = attributes_read(config, &request);
    return res == CUDA_SUCCESS ? launch(&request) : res;
}

SIM_ENTRY(cuLaunchKernelEx, const CUlaunchConfig *config, CUfunction function, void **params,
          void **extra)
{
    return launch_ex(config, function, params, extra, NULL_STREAM_LEGACY);
}

SIM_ENTRY(cuLaunchKernelEx_ptsz, const CUlaunchConfig *config, CUfunction function, void **params,
          void **extra)
{
    return launch_ex(config, function, params, extra, NULL_STREAM_PER_THREAD);
}
