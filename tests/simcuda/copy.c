/* Copies of a box between two addresses. */
#include "copy.h"

#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "memory.h"
#include "pace.h"
#include "stream.h"

#define STRETCH_BYTES ((size_t)16 << 20) /* between two looks at whether to go on */
#define PACED_BYTES   ((size_t)1 << 20)  /* likewise, when they are paced one by one */
#define STAGE_BYTES   ((size_t)64 << 10) /* that may be on their way when the call returns */
#define SALT_PAGEABLE 0xC0B1u

/* What an address turned out to be. */
enum place {
    PLACE_PAGEABLE,
    PLACE_PINNED,
    PLACE_DEVICE,
    PLACE_MANAGED,
};

struct places {
    enum place dst;
    enum place src;
};

/* A copy on its way. */
struct copy {
    struct copy_box box;
    CUcontext ctx;
    unsigned char *staged; /* the source's bytes, when they were taken at the call; or NULL */
    struct places at;
    struct pace_slot slot; /* while it runs */
    uint64_t done_bytes;   /* likewise */
};

static int is_host(enum place place)
{
    return place == PLACE_PAGEABLE || place == PLACE_PINNED;
}

/* Running
 * -----------------------------------------------------------------------------------------*/

static int copy_is_over(const struct copy *copy)
{
    return sim_stopping() || atomic_load_explicit(&copy->ctx->sticky, memory_order_relaxed);
}

/* Pacing. Where one end is managed, what crosses the link is only known afterwards, piece by piece;
 * else the copy takes its engine for its whole time. */

static uint64_t copy_ns(const struct copy *copy, uint64_t bytes, uint64_t bytes_per_s)
{
    const uint64_t pageable = pace_costs()->pageable_bytes_per_s;

    if (copy->at.dst == PLACE_PAGEABLE || copy->at.src == PLACE_PAGEABLE)
        bytes_per_s = pageable;
    return pace_bytes_ns(bytes, bytes_per_s);
}

static void copy_pace_begin(struct copy *copy)
{
    const struct pace_costs *costs = pace_costs();
    const uint64_t bytes = (uint64_t)copy->box.width_bytes * copy->box.height * copy->box.depth;

    pace_tally_take();
    if (copy->at.dst == PLACE_DEVICE && is_host(copy->at.src))
        copy->slot = pace_slot_begin(copy->ctx->device, PACE_H2D, bytes,
                                     costs->copy_ns + copy_ns(copy, bytes, costs->h2d_bytes_per_s));
    else if (copy->at.src == PLACE_DEVICE && is_host(copy->at.dst))
        copy->slot = pace_slot_begin(copy->ctx->device, PACE_D2H, bytes,
                                     costs->copy_ns + copy_ns(copy, bytes, costs->d2h_bytes_per_s));
    else
        pace_work_spend(costs->copy_ns);
}

/* A piece has been copied. */
static void copy_pace_piece(struct copy *copy, uint64_t bytes)
{
    const struct pace_costs *costs = pace_costs();
    const struct pace_tally moved = pace_tally_take();
    const int device = copy->ctx->device;

    copy->done_bytes += bytes;
    if (copy->slot.queue) {
        pace_slot_reach(&copy->slot, copy->done_bytes);
        return;
    }
    pace_work_transfer(device, PACE_H2D, moved.h2d_bytes,
                       copy_ns(copy, moved.h2d_bytes, costs->h2d_bytes_per_s));
    pace_work_transfer(device, PACE_D2H, moved.d2h_bytes,
                       copy_ns(copy, moved.d2h_bytes, costs->d2h_bytes_per_s));
    pace_work_spend(pace_bytes_ns(2 * moved.d2d_bytes, costs->memory_bytes_per_s) +
                    pace_bytes_ns(moved.h2h_bytes, costs->pageable_bytes_per_s));
}

static int copy_row(struct copy *copy, uint64_t dst, uint64_t src)
{
    const size_t stretch = pace_is_on() ? PACED_BYTES : STRETCH_BYTES;
    size_t left = copy->box.width_bytes;
    int fault = 0;

    while (left && !fault && !copy_is_over(copy)) {
        size_t bytes = left < stretch ? left : stretch;

        fault = memory_copy(copy->ctx->device, dst, src, bytes);
        if (pace_is_on())
            copy_pace_piece(copy, bytes);
        dst += bytes;
        src += bytes;
        left -= bytes;
    }
    return fault;
}

static int copy_run(void *arg)
{
    struct copy *copy = arg;
    const struct copy_box *box = &copy->box;
    size_t slice, row;
    int fault = 0;

    if (copy->at.dst >= PLACE_DEVICE && is_host(copy->at.src))
        pace_slow(PACE_H2D);
    else if (copy->at.src >= PLACE_DEVICE && is_host(copy->at.dst))
        pace_slow(PACE_D2H);
    if (pace_is_on())
        copy_pace_begin(copy);
    for (slice = 0; slice < box->depth && !fault; slice++) {
        for (row = 0; row < box->height && !fault; row++) {
            fault = copy_row(
                copy, box->dst.addr + slice * box->dst.slice_bytes + row * box->dst.pitch_bytes,
                box->src.addr + slice * box->src.slice_bytes + row * box->src.pitch_bytes);
        }
    }
    pace_slot_end(&copy->slot);
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

static CUresult copy_queue(CUstream stream, const struct copy_box *box, struct places at,
                           enum source source, uint64_t *point)
{
    struct work_spec spec = {.run = copy_run, .release = copy_release};
    struct copy *copy = calloc(1, sizeof(*copy));
    CUresult res = CUDA_SUCCESS;

    if (!copy)
        return CUDA_ERROR_OUT_OF_MEMORY;
    copy->box = *box;
    copy->at = at;
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

static CUresult copy_queue_and_wait(CUstream stream, const struct copy_box *box, struct places at)
{
    uint64_t point;
    CUresult res = copy_queue(stream, box, at, SOURCE_READ_LATER, &point);

    if (res != CUDA_SUCCESS)
        return res;
    stream_wait(stream, point);
    return (CUresult)atomic_load(&stream->ctx->sticky);
}

/* Synchronous from pageable memory: after all earlier work of the stream, all but the end of the
 * source is copied; the end is staged and may reach the device after the call has returned. */
static CUresult copy_staged_end(CUstream stream, const struct copy_box *box, struct places at)
{
    struct copy_box end = *box;
    CUresult res;

    if (box->width_bytes * box->height * box->depth <= STAGE_BYTES) {
        stream_drain(stream);
        return copy_queue(stream, box, at, SOURCE_STAGED, NULL);
    }
    if (box->height > 1 || box->depth > 1)
        return copy_queue_and_wait(stream, box, at);
    end.width_bytes -= STAGE_BYTES;
    res = copy_queue_and_wait(stream, &end, at);
    if (res != CUDA_SUCCESS)
        return res;
    end.dst.addr += end.width_bytes;
    end.src.addr += end.width_bytes;
    end.width_bytes = STAGE_BYTES;
    return copy_queue(stream, &end, at, SOURCE_STAGED, NULL);
}

static CUresult submit_synchronous(CUstream stream, const struct copy_box *box, struct places at)
{
    if (at.dst == PLACE_DEVICE && at.src == PLACE_DEVICE)
        return copy_queue(stream, box, at, SOURCE_READ_LATER, NULL);
    if (at.dst == PLACE_DEVICE && at.src == PLACE_PAGEABLE)
        return copy_staged_end(stream, box, at);
    return copy_queue_and_wait(stream, box, at);
}

static CUresult submit_asynchronous(CUstream stream, const struct copy_box *box, struct places at)
{
    if (at.dst == PLACE_PAGEABLE || (at.src == PLACE_PAGEABLE && is_host(at.dst)))
        return copy_queue_and_wait(stream, box, at);
    if (at.src != PLACE_PAGEABLE)
        return copy_queue(stream, box, at, SOURCE_READ_LATER, NULL);
    if (sim_random(SALT_PAGEABLE) % 2)
        return copy_queue(stream, box, at, SOURCE_STAGED, NULL);
    return copy_queue_and_wait(stream, box, at);
}

CUresult copy_submit(CUstream handle, const struct copy_box *box, enum copy_call call)
{
    struct places at;
    CUstream stream;
    CUresult res;

    res = stream_enter(handle, &stream);
    if (res != CUDA_SUCCESS)
        return res;
    if (!box->width_bytes || !box->height || !box->depth)
        return CUDA_SUCCESS;
    res = end_check(&box->dst, box, &at.dst);
    if (res == CUDA_SUCCESS)
        res = end_check(&box->src, box, &at.src);
    if (res != CUDA_SUCCESS)
        return res;
    switch (call) {
    case COPY_SYNCHRONOUS:
        return submit_synchronous(stream, box, at);
    case COPY_ASYNCHRONOUS:
        return submit_asynchronous(stream, box, at);
    default:
        return copy_queue_and_wait(stream, box, at);
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
