/* The driver's stream functions. */
#include <stdlib.h>

#include "context.h"
#include "memory.h"
#include "pace.h"
#include "stream.h"

#define PRIORITY_LEAST    0
#define PRIORITY_GREATEST (-5)

static CUresult create(CUstream *out, unsigned flags, int priority)
{
    CUcontext ctx;
    CUresult res;

    res = sim_enter(&ctx, NULL);
    if (res != CUDA_SUCCESS)
        return res;
    if (!out || (flags & ~(unsigned)CU_STREAM_NON_BLOCKING))
        return CUDA_ERROR_INVALID_VALUE;
    if (priority > PRIORITY_LEAST)
        priority = PRIORITY_LEAST;
    if (priority < PRIORITY_GREATEST)
        priority = PRIORITY_GREATEST;
    *out = stream_create(ctx, flags, priority, 0);
    return *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

SIM_ENTRY(cuStreamCreate, CUstream *out, unsigned int flags)
{
    return create(out, flags, PRIORITY_LEAST);
}

SIM_ENTRY(cuStreamCreateWithPriority, CUstream *out, unsigned int flags, int priority)
{
    return create(out, flags, priority);
}

SIM_ENTRY(cuCtxGetStreamPriorityRange, int *least, int *greatest)
{
    CUresult res = sim_enter(NULL, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    if (least)
        *least = PRIORITY_LEAST;
    if (greatest)
        *greatest = PRIORITY_GREATEST;
    return CUDA_SUCCESS;
}

/* Returns at once; what is queued still runs. A faulted context lets go of its streams all the
 * same. */
static CUresult destroy(CUstream stream)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    if (stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD ||
        !handle_is(stream, HANDLE_STREAM))
        return CUDA_ERROR_INVALID_HANDLE;
    stream_close(stream);
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuStreamDestroy_v2, CUstream stream)
{
    return destroy(stream);
}

SIM_ENTRY(cuStreamDestroy, CUstream stream)
{
    return destroy(stream);
}

static CUresult query(CUstream stream)
{
    CUresult res = stream_enter(stream, &stream);

    if (res != CUDA_SUCCESS)
        return res;
    return stream_is_idle(stream) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}
SIM_ENTRY_PTSZ(cuStreamQuery, (CUstream stream), query(stream))

static CUresult synchronize(CUstream stream)
{
    CUresult res = stream_enter(stream, &stream);

    if (res != CUDA_SUCCESS)
        return res;
    stream_drain(stream);
    return (CUresult)atomic_load(&stream->ctx->sticky);
}
SIM_ENTRY_PTSZ(cuStreamSynchronize, (CUstream stream), synchronize(stream))

static CUresult get_flags(CUstream stream, unsigned int *flags)
{
    CUresult res = stream_enter(stream, &stream);

    if (res != CUDA_SUCCESS)
        return res;
    if (!flags)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = stream->flags;
    return CUDA_SUCCESS;
}
SIM_ENTRY_PTSZ(cuStreamGetFlags, (CUstream stream, unsigned int *flags), get_flags(stream, flags))

static CUresult get_priority(CUstream stream, int *priority)
{
    CUresult res = stream_enter(stream, &stream);

    if (res != CUDA_SUCCESS)
        return res;
    if (!priority)
        return CUDA_ERROR_INVALID_VALUE;
    *priority = stream->priority;
    return CUDA_SUCCESS;
}
SIM_ENTRY_PTSZ(cuStreamGetPriority, (CUstream stream, int *priority),
               get_priority(stream, priority))

static CUresult get_id(CUstream stream, unsigned long long *id)
{
    CUresult res = stream_enter(stream, &stream);

    if (res != CUDA_SUCCESS)
        return res;
    if (!id)
        return CUDA_ERROR_INVALID_VALUE;
    *id = stream->id;
    return CUDA_SUCCESS;
}
SIM_ENTRY_PTSZ(cuStreamGetId, (CUstream stream, unsigned long long *id), get_id(stream, id))

static CUresult get_ctx(CUstream stream, CUcontext *ctx)
{
    CUresult res = stream_enter(stream, &stream);

    if (res != CUDA_SUCCESS)
        return res;
    if (!ctx)
        return CUDA_ERROR_INVALID_VALUE;
    *ctx = stream->ctx;
    return CUDA_SUCCESS;
}
SIM_ENTRY_PTSZ(cuStreamGetCtx, (CUstream stream, CUcontext *ctx), get_ctx(stream, ctx))

/* There are no green contexts here, so none has made the stream. */
static CUresult get_ctx_v2(CUstream stream, CUcontext *ctx, void **green)
{
    CUresult res = get_ctx(stream, ctx);

    if (res == CUDA_SUCCESS && green)
        *green = NULL;
    return res;
}
SIM_ENTRY_PTSZ(cuStreamGetCtx_v2, (CUstream stream, CUcontext *ctx, void **green),
               get_ctx_v2(stream, ctx, green))

static CUresult get_device(CUstream stream, CUdevice *device)
{
    CUresult res = stream_enter(stream, &stream);

    if (res != CUDA_SUCCESS)
        return res;
    if (!device)
        return CUDA_ERROR_INVALID_VALUE;
    *device = stream->ctx->device;
    return CUDA_SUCCESS;
}
SIM_ENTRY_PTSZ(cuStreamGetDevice, (CUstream stream, CUdevice *device), get_device(stream, device))

/* Says which stream will touch managed memory; that changes nothing where host and device may touch
 * it at once. Only the kinds of attachment and the memory are checked. */
static CUresult attach(CUstream stream, CUdeviceptr addr, unsigned flags)
{
    CUresult res = stream_enter(stream, &stream);
    struct memory_info info;

    if (res != CUDA_SUCCESS)
        return res;
    if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST &&
        flags != CU_MEM_ATTACH_SINGLE)
        return CUDA_ERROR_INVALID_VALUE;
    if (!memory_find(addr, &info) || info.kind != MEMORY_MANAGED)
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}
SIM_ENTRY_PTSZ(cuStreamAttachMemAsync,
               (CUstream stream, CUdeviceptr addr, size_t bytes, unsigned int flags),
               ((void)bytes, attach(stream, addr, flags)))

/* Host functions ---------------------------------------------------------------------------------
 */

struct host_call {
    CUhostFn function;         /* of cuLaunchHostFunc, or NULL */
    CUstreamCallback callback; /* of cuStreamAddCallback, or NULL */
    void *data;
    CUstream handle; /* as the program named it */
    CUcontext ctx;
};

/* A callback is told of a fault; a host function is not called after one. */
static int host_call_run(void *arg)
{
    struct host_call *call = arg;
    CUresult sticky = (CUresult)atomic_load(&call->ctx->sticky);

    stream_host_function(HOST_FUNCTION_BEGINS);
    if (call->callback)
        call->callback(call->handle, sticky, call->data);
    else if (sticky == CUDA_SUCCESS)
        call->function(call->data);
    stream_host_function(HOST_FUNCTION_ENDS);
    pace_work_catch_up();
    return 0;
}

static CUresult host_call_queue(CUstream stream, const struct host_call *model)
{
    struct work_spec spec = {.run = host_call_run, .release = free, .flags = WORK_ALWAYS};
    struct host_call *call;
    CUresult res;

    res = stream_enter(stream, &stream);
    if (res != CUDA_SUCCESS)
        return res;
    if (!model->function && !model->callback)
        return CUDA_ERROR_INVALID_VALUE;
    call = malloc(sizeof(*call));
    if (!call)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *call = *model;
    call->ctx = stream->ctx;
    spec.arg = call;
    return stream_queue(stream, &spec, NULL);
}

static CUresult launch_host_function(CUstream stream, CUhostFn function, void *data)
{
    struct host_call call = {.function = function, .data = data, .handle = stream};

    return host_call_queue(stream, &call);
}
SIM_ENTRY_PTSZ(cuLaunchHostFunc, (CUstream stream, CUhostFn function, void *data),
               launch_host_function(stream, function, data))

static CUresult add_callback(CUstream stream, CUstreamCallback callback, void *data, unsigned flags)
{
    struct host_call call = {.callback = callback, .data = data, .handle = stream};

    if (flags)
        return CUDA_ERROR_INVALID_VALUE;
    return host_call_queue(stream, &call);
}
SIM_ENTRY_PTSZ(cuStreamAddCallback,
               (CUstream stream, CUstreamCallback callback, void *data, unsigned int flags),
               add_callback(stream, callback, data, flags))

/* Capture ----------------------------------------------------------------------------------------
 */

/* No stream captures: cuStreamBeginCapture is not modelled. */
static CUresult is_capturing(CUstream stream, CUstreamCaptureStatus *status)
{
    CUresult res = stream_enter(stream, &stream);

    if (res != CUDA_SUCCESS)
        return res;
    if (!status)
        return CUDA_ERROR_INVALID_VALUE;
    *status = CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
}
SIM_ENTRY_PTSZ(cuStreamIsCapturing, (CUstream stream, CUstreamCaptureStatus *status),
               is_capturing(stream, status))

/* The same for the three forms of cuStreamGetCaptureInfo: with no capture only the status is set.
 */
SIM_ENTRY_PTSZ(cuStreamGetCaptureInfo,
               (CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id),
               ((void)id, is_capturing(stream, status)))
SIM_ENTRY_PTSZ(cuStreamGetCaptureInfo_v2,
               (CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph,
                const CUgraphNode **nodes, size_t *count),
               ((void)id, (void)graph, (void)nodes, (void)count, is_capturing(stream, status)))
SIM_ENTRY_PTSZ(cuStreamGetCaptureInfo_v3,
               (CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph,
                const CUgraphNode **nodes, const void **edges, size_t *count),
               ((void)id, (void)graph, (void)nodes, (void)edges, (void)count,
                is_capturing(stream, status)))

static __thread CUstreamCaptureMode t_capture_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

SIM_ENTRY(cuThreadExchangeStreamCaptureMode, CUstreamCaptureMode *mode)
{
    CUstreamCaptureMode before = t_capture_mode;
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    if (!mode || *mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_ERROR_INVALID_VALUE;
    t_capture_mode = *mode;
    *mode = before;
    return CUDA_SUCCESS;
}
