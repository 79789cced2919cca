/* Copies of a box between two addresses. */
#include "copy.h"

#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "memory.h"
#include "stream.h"

#define STRETCH_BYTES ((size_t)16 << 20) /* between two looks at whether to go on */
#define STAGE_BYTES   ((size_t)64 << 10) /* that may be on their way when the call returns */
#define SALT_PAGEABLE 0xC0B1u

/* What an address turned out to be. */
enum place {
    PLACE_PAGEABLE,
    PLACE_PINNED,
    PLACE_DEVICE,
    PLACE_MANAGED,
};

/* A copy on its way. */
struct copy {
    struct copy_box box;
    CUcontext ctx;
    unsigned char *staged; /* the source's bytes, when they were taken at the call; or NULL */
};

/* Running
 * -----------------------------------------------------------------------------------------*/

static int copy_is_over(const struct copy *copy)
{
    return sim_stopping() || atomic_load_explicit(&copy->ctx->sticky, memory_order_relaxed);
}

static int copy_row(const struct copy *copy, uint64_t dst, uint64_t src)
{
    size_t left = copy->box.width_bytes;
    int fault = 0;

    while (left && !fault && !copy_is_over(copy)) {
        size_t bytes = left < STRETCH_BYTES ? left : STRETCH_BYTES;

        fault = memory_copy(copy->ctx->device, dst, src, bytes);
        dst += bytes;
        src += bytes;
        left -= bytes;
    }
    return fault;
}

static int copy_run(void *arg)
{
    const struct copy *copy = arg;
    const struct copy_box *box = &copy->box;
    size_t slice, row;
    int fault = 0;

    for (slice = 0; slice < box->depth && !fault; slice++) {
        for (row = 0; row < box->height && !fault; row++) {
            fault = copy_row(
                copy, box->dst.addr + slice * box->dst.slice_bytes + row * box->dst.pitch_bytes,
                box->src.addr + slice * box->src.slice_bytes + row * box->src.pitch_bytes);
        }
    }
    if (fault)
        sim_log("copy of %zu x %zu x %zu bytes to 0x%llx from 0x%llx: error %d", box->width_bytes,
                box->height, box->depth, (unsigned long long)box->dst.addr,
                (unsigned long long)box->src.addr, fault);
    return fault;
}

static void copy_release(void *arg)
{
    struct copy *copy = arg;

    free(copy->staged);
    free(copy);
}

/* Checking
 * ----------------------------------------------------------------------------------------*/

static size_t end_span(const struct copy_end *end, const struct copy_box *box)
{
    return (box->depth - 1) * end->slice_bytes + (box->height - 1) * end->pitch_bytes +
           box->width_bytes;
}

/* What the addresses of one end are. returns 0 or 1 */
static CUresult end_check(const struct copy_end *end, const struct copy_box *box, enum place *place)
{
    enum memory_kind kind = MEMORY_NONE;
    struct memory_info info;

    if (!memory_contains(end->addr, end_span(end, box), &kind)) {
        memory_find(end->addr, &info);
        if (info.kind != MEMORY_NONE || !end->addr)
            return CUDA_ERROR_INVALID_VALUE;
        kind = MEMORY_NONE;
    }
    switch (kind) {
    case MEMORY_NONE:
        *place = PLACE_PAGEABLE;
        break;
    case MEMORY_HOST:
    case MEMORY_REGISTERED:
        *place = PLACE_PINNED;
        break;
    case MEMORY_MANAGED:
        *place = PLACE_MANAGED;
        break;
    default:
        *place = PLACE_DEVICE;
    }
    if (end->side == COPY_HOST && *place == PLACE_DEVICE)
        return CUDA_ERROR_INVALID_VALUE;
    if (end->side == COPY_DEVICE && *place == PLACE_PAGEABLE)
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

static int is_host(enum place place)
{
    return place == PLACE_PAGEABLE || place == PLACE_PINNED;
}

/* Queueing
 * ----------------------------------------------------------------------------------------*/

/* Take the bytes of the source now, packed. returns 0 or 2 */
static CUresult copy_stage(struct copy *copy)
{
    struct copy_box *box = &copy->box;
    const unsigned char *src = (const unsigned char *)(uintptr_t)box->src.addr;
    unsigned char *to;
    size_t slice, row;

    to = copy->staged = malloc(box->width_bytes * box->height * box->depth);
    if (!to)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (slice = 0; slice < box->depth; slice++) {
        for (row = 0; row < box->height; row++) {
            memcpy(to, src + slice * box->src.slice_bytes + row * box->src.pitch_bytes,
                   box->width_bytes);
            to += box->width_bytes;
        }
    }
    box->src.addr = (uintptr_t)copy->staged;
    box->src.pitch_bytes = box->width_bytes;
    box->src.slice_bytes = box->width_bytes * box->height;
    return CUDA_SUCCESS;
}

enum source {
    SOURCE_READ_LATER,
    SOURCE_STAGED,
};

static CUresult copy_queue(CUstream stream, const struct copy_box *box, enum source source,
                           uint64_t *point)
{
    struct work_spec spec = {.run = copy_run, .release = copy_release};
    struct copy *copy = calloc(1, sizeof(*copy));
    CUresult res = CUDA_SUCCESS;

    if (!copy)
        return CUDA_ERROR_OUT_OF_MEMORY;
    copy->box = *box;
    copy->ctx = stream->ctx;
    if (source == SOURCE_STAGED)
        res = copy_stage(copy);
    if (res != CUDA_SUCCESS) {
        copy_release(copy);
        return res;
    }
    spec.arg = copy;
    return stream_queue(stream, &spec, point);
}

static CUresult copy_queue_and_wait(CUstream stream, const struct copy_box *box)
{
    uint64_t point;
    CUresult res = copy_queue(stream, box, SOURCE_READ_LATER, &point);

    if (res != CUDA_SUCCESS)
        return res;
    stream_wait(stream, point);
    return (CUresult)atomic_load(&stream->ctx->sticky);
}

/* Synchronous from pageable memory: after all earlier work of the stream, all but the end of the
 * source is copied; the end is staged and may reach the device after the call has returned. */
static CUresult copy_staged_end(CUstream stream, const struct copy_box *box)
{
    struct copy_box end = *box;
    CUresult res;

    if (box->width_bytes * box->height * box->depth <= STAGE_BYTES) {
        stream_drain(stream);
        return copy_queue(stream, box, SOURCE_STAGED, NULL);
    }
    if (box->height > 1 || box->depth > 1)
        return copy_queue_and_wait(stream, box);
    end.width_bytes -= STAGE_BYTES;
    res = copy_queue_and_wait(stream, &end);
    if (res != CUDA_SUCCESS)
        return res;
    end.dst.addr += end.width_bytes;
    end.src.addr += end.width_bytes;
    end.width_bytes = STAGE_BYTES;
    return copy_queue(stream, &end, SOURCE_STAGED, NULL);
}

static CUresult submit_synchronous(CUstream stream, const struct copy_box *box, enum place dst,
                                   enum place src)
{
    if (dst == PLACE_DEVICE && src == PLACE_DEVICE)
        return copy_queue(stream, box, SOURCE_READ_LATER, NULL);
    if (dst == PLACE_DEVICE && src == PLACE_PAGEABLE)
        return copy_staged_end(stream, box);
    return copy_queue_and_wait(stream, box);
}

static CUresult submit_asynchronous(CUstream stream, const struct copy_box *box, enum place dst,
                                    enum place src)
{
    if (dst == PLACE_PAGEABLE || (src == PLACE_PAGEABLE && is_host(dst)))
        return copy_queue_and_wait(stream, box);
    if (src != PLACE_PAGEABLE)
        return copy_queue(stream, box, SOURCE_READ_LATER, NULL);
    if (sim_random(SALT_PAGEABLE) % 2)
        return copy_queue(stream, box, SOURCE_STAGED, NULL);
    return copy_queue_and_wait(stream, box);
}

CUresult copy_submit(CUstream handle, const struct copy_box *box, enum copy_call call)
{
    enum place dst, src;
    CUstream stream;
    CUresult res;

    res = stream_enter(handle, &stream);
    if (res != CUDA_SUCCESS)
        return res;
    if (!box->width_bytes || !box->height || !box->depth)
        return CUDA_SUCCESS;
    res = end_check(&box->dst, box, &dst);
    if (res == CUDA_SUCCESS)
        res = end_check(&box->src, box, &src);
    if (res != CUDA_SUCCESS)
        return res;
    switch (call) {
    case COPY_SYNCHRONOUS:
        return submit_synchronous(stream, box, dst, src);
    case COPY_ASYNCHRONOUS:
        return submit_asynchronous(stream, box, dst, src);
    default:
        return copy_queue_and_wait(stream, box);
    }
}

CUresult copy_submit_linear(CUstream stream, uint64_t dst, enum copy_side dst_side, uint64_t src,
                            enum copy_side src_side, size_t bytes, enum copy_call call)
{
    struct copy_box box = {
        .dst = {.addr = dst, .side = dst_side},
        .src = {.addr = src, .side = src_side},
        .width_bytes = bytes,
        .height = 1,
        .depth = 1,
    };

    return copy_submit(stream, &box, call);
}
