/* move.c - operations that copy, fill, allocate and free, each with what it does to the shadow. */
#include "stress.h"

#include <string.h>

#define VISIT_WORDS ((uint64_t)100000)

void tensor_compare(const struct tensor *t, uint64_t offset, const void *bytes, uint64_t count,
                    const char *where)
{
    const unsigned char *got = bytes, *expected = t->shadow + offset;
    uint64_t first = 0, wrong = 0;

    if (memcmp(got, expected, count) == 0)
        return;
    for (uint64_t i = count; i-- > 0;)
        if (got[i] != expected[i]) {
            first = i;
            wrong++;
        }
    fprintf(stderr,
            "%s: tensor %td at %#llx, %llu bytes: %llu are wrong from %llu on: %#x, not %#x\n",
            where, t - g_tensors, (unsigned long long)t->p, (unsigned long long)tensor_bytes(t),
            (unsigned long long)wrong, (unsigned long long)(offset + first), got[first],
            expected[first]);
    exit(1);
}

void tensor_create(struct tensor *t, CUstream stream)
{
    if (t->pooled)
        CUDA_CHECK(cuMemAllocAsync(&t->p, tensor_bytes(t), stream));
    else
        CUDA_CHECK(cuMemAlloc(&t->p, tensor_bytes(t)));
    CUDA_CHECK(cuMemcpyHtoDAsync(t->p, t->shadow, tensor_bytes(t), stream));
}

/* What stream does from now on comes behind what the other one was given so far. */
static void follow_stream(CUstream stream, CUstream other)
{
    CUevent event;

    CUDA_CHECK(cuEventCreate(&event, 0));
    CUDA_CHECK(cuEventRecord(event, other));
    CUDA_CHECK(cuStreamWaitEvent(stream, event, 0));
    CUDA_CHECK(cuEventDestroy(event));
}

/* Such a copy runs in the default stream. */
static void upload_synchronously(const struct operation *op, CUstream stream, CUdeviceptr to,
                                 const void *from, uint64_t bytes)
{
    CUDA_CHECK(cuStreamSynchronize(stream));
    if (op->draw & 16) {
        CUDA_CHECK(cuMemcpyHtoD_v2_ptds(to, from, bytes));
        follow_stream(stream, CU_STREAM_PER_THREAD);
    } else {
        CUDA_CHECK(cuMemcpyHtoD(to, from, bytes));
        follow_stream(stream, CU_STREAM_LEGACY);
    }
}

/* New bytes for a part of the tensor, from pinned or pageable memory. */
static void upload(struct worker *w, const struct operation *op)
{
    struct tensor *t = &g_tensors[op->tensor[0]];
    uint64_t offset = (op->draw >> 24) % tensor_bytes(t), bytes = tensor_bytes(t) - offset;
    CUstream stream = operation_stream(w, op);
    struct slot *slot = slot_take(w);
    unsigned char *staged = op->draw & 4 ? slot->pinned : slot->pageable;

    if (bytes > SLOT_BYTES)
        bytes = SLOT_BYTES;
    fill_pattern((uint32_t *)(void *)staged, bytes / 4, (uint32_t)(op->draw >> 32));
    memset(staged + bytes / 4 * 4, (int)(op->draw >> 56), bytes % 4);
    memcpy(t->shadow + offset, staged, bytes);
    if (op->draw & 8) {
        upload_synchronously(op, stream, t->p + offset, staged, bytes);
        return;
    }
    CUDA_CHECK(cuMemcpyHtoDAsync(t->p + offset, staged, bytes, stream));
    slot_give(slot, stream);
}

/* All of the tensor comes back: as a whole, or by way of a pinned buffer. */
static void download(struct worker *w, const struct operation *op)
{
    struct tensor *t = &g_tensors[op->tensor[0]];
    CUstream stream = operation_stream(w, op);

    if (op->draw & 8) {
        void *bytes = need(tensor_bytes(t));

        CUDA_CHECK(cuStreamSynchronize(stream));
        CUDA_CHECK(cuMemcpyDtoH(bytes, t->p, tensor_bytes(t)));
        tensor_compare(t, 0, bytes, tensor_bytes(t), "read back");
        free(bytes);
        return;
    }
    for (uint64_t offset = 0; offset < tensor_bytes(t); offset += SLOT_BYTES) {
        uint64_t bytes = tensor_bytes(t) - offset;
        struct slot *slot = slot_take(w);

        if (bytes > SLOT_BYTES)
            bytes = SLOT_BYTES;
        CUDA_CHECK(cuMemcpyDtoHAsync(slot->pinned, t->p + offset, bytes, stream));
        CUDA_CHECK(cuStreamSynchronize(stream));
        tensor_compare(t, offset, slot->pinned, bytes, "read back in pieces");
    }
}

static void fill(struct worker *w, const struct operation *op)
{
    struct tensor *t = &g_tensors[op->tensor[0]];
    CUstream stream = operation_stream(w, op);
    uint64_t offset = (op->draw >> 24) % t->words, n = t->words - offset;
    uint32_t value = (uint32_t)(op->draw >> 32);

    if (op->draw & 4) {
        CUDA_CHECK(
            cuMemsetD8Async(t->p + offset, (unsigned char)value, tensor_bytes(t) - offset, stream));
        memset(t->shadow + offset, (int)(value & 255), tensor_bytes(t) - offset);
        return;
    }
    CUDA_CHECK(cuMemsetD32Async(t->p + 4 * offset, value, n, stream));
    for (uint64_t i = 0; i < n; i++)
        shadow_words(t)[offset + i] = value;
}

static void device_copy_2d(const struct tensor *to, const struct tensor *from, uint64_t bytes,
                           CUstream stream)
{
    uint64_t pitch = 192, width = 100;
    CUDA_MEMCPY2D copy = {
        .srcMemoryType = CU_MEMORYTYPE_DEVICE,
        .srcDevice = from->p,
        .srcPitch = pitch,
        .dstMemoryType = CU_MEMORYTYPE_DEVICE,
        .dstDevice = to->p,
        .dstPitch = pitch,
        .WidthInBytes = width,
        .Height = bytes / pitch,
    };

    CUDA_CHECK(cuMemcpy2DAsync(&copy, stream));
    for (uint64_t row = 0; row < bytes / pitch; row++)
        memcpy(to->shadow + row * pitch, from->shadow + row * pitch, width);
}

static void device_copy(struct worker *w, const struct operation *op)
{
    struct tensor *to = &g_tensors[op->tensor[0]], *from = &g_tensors[op->tensor[1]];
    CUstream stream = operation_stream(w, op);
    uint64_t bytes = tensor_bytes(to), to_offset, from_offset;

    if (tensor_bytes(from) < bytes)
        bytes = tensor_bytes(from);
    if (op->kind == KIND_DEVICE_COPY && op->draw & 4) {
        device_copy_2d(to, from, bytes, stream);
        return;
    }
    to_offset = (op->draw >> 24) % (tensor_bytes(to) - bytes + 1);
    from_offset = (op->draw >> 24) % (tensor_bytes(from) - bytes + 1);
    if (op->kind == KIND_PEER_COPY)
        CUDA_CHECK(cuMemcpyPeerAsync(to->p + to_offset, g_sides[to->side].context,
                                     from->p + from_offset, g_sides[from->side].context, bytes,
                                     stream));
    else
        CUDA_CHECK(cuMemcpyDtoDAsync(to->p + to_offset, from->p + from_offset, bytes, stream));
    memcpy(to->shadow + to_offset, from->shadow + from_offset, bytes);
}

/* The tensor goes and comes back at another place, with another size and other bytes. A free waits
 * for the work of its context, hence what comes then need not wait for what was before. */
static void reallocate(struct worker *w, const struct operation *op)
{
    struct tensor *t = &g_tensors[op->tensor[0]];
    CUstream stream = operation_stream(w, op), other = stream;

    if (t->pooled && op->draw & 4) {
        CUDA_CHECK(cuMemFreeAsync(t->p, stream));
    } else {
        if (op->draw & 8)
            CUDA_CHECK(cuStreamSynchronize(stream));
        CUDA_CHECK(cuMemFree(t->p));
        if (op->lane < STREAMS)
            other = w->streams[(op->draw >> 60) % STREAMS];
    }
    t->words = TENSOR_WORDS_MIN + (op->draw >> 24) % (t->capacity_words - TENSOR_WORDS_MIN + 1);
    t->tail_bytes = op->draw >> 20 & 3;
    t->pooled = op->draw >> 22 & 1;
    fill_pattern(shadow_words(t), t->words, (uint32_t)(op->draw >> 32));
    memset(t->shadow + t->words * 4, 0x5a, t->tail_bytes);
    tensor_create(t, other);
    if (other != stream)
        follow_stream(stream, other);
}

/* A context of one's own that comes and goes, with its memory and its work, while others compute.
 */
static void visit(void)
{
    uint64_t n = VISIT_WORDS;
    uint32_t seed = 9;
    CUdeviceptr p, q;
    struct kernels k;
    CUcontext context;
    void *fill_params[] = {&p, &n, &seed}, *copy_params[] = {&q, &p, &n};

    context = start(0, &k);
    CUDA_CHECK(cuMemAlloc(&p, n * 4));
    CUDA_CHECK(cuMemAlloc(&q, n * 4));
    launch_words(k.fill, NULL, n, fill_params);
    launch_words(k.copy, NULL, n, copy_params);
    EXPECT(device_hash(&k, q, n, NULL) == tk_hash_of_pattern(n, seed),
           "the bytes of a context of its own are wrong");
    launch_words(k.copy, NULL, n, copy_params);
    CUDA_CHECK(cuCtxDestroy(context));
}

void operation_move(struct worker *w, const struct operation *op)
{
    switch (op->kind) {
    case KIND_MEMSET:
        fill(w, op);
        break;
    case KIND_UPLOAD:
        upload(w, op);
        break;
    case KIND_DOWNLOAD:
        download(w, op);
        break;
    case KIND_DEVICE_COPY:
    case KIND_PEER_COPY:
        device_copy(w, op);
        break;
    case KIND_REALLOCATE:
        reallocate(w, op);
        break;
    default:
        visit();
    }
}
