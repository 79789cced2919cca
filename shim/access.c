#include "access.h"
#include "launch.h"
#include "log.h"
#include "object.h"
#include "range.h"
#include "residency.h"
#include "stats.h"
#include "upload.h"

/* Is the source of a unified copy memory of the host? A device address must not be taken for one:
 * its file mapping would be nobody's. */
static int is_host_source(const struct transfer_access *span)
{
    const struct driver *drv = driver_get();
    struct range_view view;
    unsigned int type = 0;

    if (span->source == ACCESS_FROM_HOST)
        return 1;
    if (span->source != ACCESS_FROM_EITHER || !span->host_src ||
        range_find((CUdeviceptr)(uintptr_t)span->host_src, &view))
        return 0;
    if (drv->cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                   (CUdeviceptr)(uintptr_t)span->host_src) != CUDA_SUCCESS)
        return 1; /* nothing that the driver knows: pageable host memory */
    return type == CU_MEMORYTYPE_HOST;
}

CUresult access_begin(struct access_call *call)
{
    call->held = NULL;
    for (size_t i = 0; i < call->count; i++)
        if (range_check_span(call->spans[i].addr, call->spans[i].bytes))
            return CUDA_ERROR_INVALID_VALUE;
    call->held = launch_hold_spans(call->spans, call->count, call->stream);
    return CUDA_SUCCESS;
}

void access_end(struct access_call *call, CUresult result)
{
    launch_end(call->held, call->stream, result);
    if (result != CUDA_SUCCESS)
        return;
    for (size_t i = 0; i < call->count; i++) {
        const struct transfer_access *span = &call->spans[i];

        if (span->kind != ACCESS_WRITE || !span->bytes)
            continue;
        if (is_host_source(span) && span->host_src)
            upload_record(span->addr, span->host_src, span->bytes);
        else
            upload_mark_written(span->addr, span->bytes);
    }
}
