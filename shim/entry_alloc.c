/* entry_alloc.c - what a program allocates and frees.
 *
 * The plain_* functions are the driver's own calls, which range.c falls back to. What the program
 * allocates as managed memory stays as it is: it pages by itself, and is refused only when what is
 * kept of frees in stream order has gone.
 */
#include "config.h"
#include "entry.h"
#include "launch.h"
#include "range.h"
#include "stats.h"

#define PITCH_ALIGN 512 /* of rows; the driver's own answer on all cards so far */

static int is_off(void)
{
    return entry_is_passive() || config()->off;
}

struct plain_alloc {
    size_t bytes;
    size_t *pitch;
    size_t width_bytes, height;
    unsigned int element_bytes;
    CUmemoryPool pool;
    CUstream stream;
};

static CUresult plain_sync(void *arg, CUdeviceptr *out)
{
    const struct plain_alloc *call = arg;

    return driver_get()->cuMemAlloc_v2(out, call->bytes);
}

static CUresult plain_pitch(void *arg, CUdeviceptr *out)
{
    const struct plain_alloc *call = arg;

    return driver_get()->cuMemAllocPitch_v2(out, call->pitch, call->width_bytes, call->height,
                                            call->element_bytes);
}

static CUresult plain_async(void *arg, CUdeviceptr *out)
{
    const struct plain_alloc *call = arg;

    return driver_get()->cuMemAllocAsync(out, call->bytes, call->stream);
}

static CUresult plain_pool(void *arg, CUdeviceptr *out)
{
    const struct plain_alloc *call = arg;

    return driver_get()->cuMemAllocFromPoolAsync(out, call->bytes, call->pool, call->stream);
}

/* Stream-ordered memory of a capture is a node of the graph: not ours. */
static CUresult alloc_async(struct plain_alloc *call, range_plain_fn *plain, CUdeviceptr *out)
{
    if (!out || is_off() || launch_is_capturing(call->stream))
        return plain(call, out);
    return range_alloc(call->bytes, plain, call, out);
}

static CUresult free_async(CUdeviceptr addr, CUstream stream)
{
    int paged = 0;
    CUresult result = CUDA_SUCCESS;

    if (!is_off() && !launch_is_capturing(stream))
        result = range_free_async(addr, stream, &paged);
    return paged ? result : driver_get()->cuMemFreeAsync(addr, stream);
}

CUresult cuMemAlloc_v2(CUdeviceptr *out, size_t bytes)
{
    struct plain_alloc call = {.bytes = bytes};

    if (!out || is_off())
        return driver_get()->cuMemAlloc_v2(out, bytes);
    return range_alloc(bytes, plain_sync, &call, out);
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *out, size_t *pitch, size_t width_bytes, size_t height,
                            unsigned int element_bytes)
{
    struct plain_alloc call = {.pitch = pitch,
                               .width_bytes = width_bytes,
                               .height = height,
                               .element_bytes = element_bytes};
    size_t row_bytes, bytes;

    if (!out || !pitch || is_off() || !width_bytes ||
        __builtin_add_overflow(width_bytes, PITCH_ALIGN - 1, &row_bytes) ||
        __builtin_mul_overflow(row_bytes / PITCH_ALIGN * PITCH_ALIGN, height, &bytes) ||
        (element_bytes != 4 && element_bytes != 8 && element_bytes != 16))
        return plain_pitch(&call, out);
    *pitch = row_bytes / PITCH_ALIGN * PITCH_ALIGN; /* the driver's call sets its own */
    return range_alloc(bytes, plain_pitch, &call, out);
}

/* Could the current device and the host hold so much? Else nothing need make room for it. */
static int is_possible(size_t bytes)
{
    uint64_t free_bytes, total_bytes;
    CUdevice device;

    if (stats_note(driver_get()->cuCtxGetDevice(&device)) != CUDA_SUCCESS)
        return 0;
    range_capacity(device, &free_bytes, &total_bytes);
    return bytes <= total_bytes;
}

CUresult cuMemAllocManaged(CUdeviceptr *out, size_t bytes, unsigned int flags)
{
    CUresult result = driver_get()->cuMemAllocManaged(out, bytes, flags);

    if (result != CUDA_ERROR_OUT_OF_MEMORY || is_off() || !is_possible(bytes) || !range_give_back())
        return result;
    stats_note(result); /* the program will not see it */
    return driver_get()->cuMemAllocManaged(out, bytes, flags);
}

CUresult cuMemAllocAsync(CUdeviceptr *out, size_t bytes, CUstream stream)
{
    struct plain_alloc call = {.bytes = bytes, .stream = stream};

    return alloc_async(&call, plain_async, out);
}

CUresult cuMemAllocAsync_ptsz(CUdeviceptr *out, size_t bytes, CUstream stream)
{
    struct plain_alloc call = {.bytes = bytes, .stream = stream ? stream : CU_STREAM_PER_THREAD};

    return alloc_async(&call, plain_async, out);
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *out, size_t bytes, CUmemoryPool pool, CUstream stream)
{
    struct plain_alloc call = {.bytes = bytes, .pool = pool, .stream = stream};

    return alloc_async(&call, plain_pool, out);
}

CUresult cuMemAllocFromPoolAsync_ptsz(CUdeviceptr *out, size_t bytes, CUmemoryPool pool,
                                      CUstream stream)
{
    struct plain_alloc call = {
        .bytes = bytes, .pool = pool, .stream = stream ? stream : CU_STREAM_PER_THREAD};

    return alloc_async(&call, plain_pool, out);
}

CUresult cuMemFree_v2(CUdeviceptr addr)
{
    int paged = 0;
    CUresult result = CUDA_SUCCESS;

    if (!is_off())
        result = range_free(addr, &paged);
    return paged ? result : driver_get()->cuMemFree_v2(addr);
}

CUresult cuMemFreeAsync(CUdeviceptr addr, CUstream stream)
{
    return free_async(addr, stream ? stream : CU_STREAM_LEGACY);
}

CUresult cuMemFreeAsync_ptsz(CUdeviceptr addr, CUstream stream)
{
    return free_async(addr, stream ? stream : CU_STREAM_PER_THREAD);
}
