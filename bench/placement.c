#include "bench/placement.h"
#include "tests/apps/kernels/test_kernels.h"
#include <string.h>

#define WORD_STRIDE 128u /* one word of so many bytes is not zero */
#define NO_GROUP    UINT32_MAX

void *workload_need(void *memory)
{
    if (!memory) {
        fprintf(stderr, "workload: no memory\n");
        exit(1);
    }
    return memory;
}

static uint32_t group_of(const struct placement *p, uint32_t tensor)
{
    const struct tensor *t = &p->shape->tensor[tensor];

    return p->mode == PLACEMENT_BUFFERED ? t->layer : t->module;
}

static uint32_t buffers(const struct placement *p)
{
    return p->mode == PLACEMENT_BUFFERED ? 2 : 1;
}

static void fill(void *bytes, const struct tensor *t, uint32_t seed)
{
    for (uint64_t at = 0; at < t->bytes; at += WORD_STRIDE)
        *(uint32_t *)((char *)bytes + at) = tk_pattern(at, seed);
}

static void create_plain(struct placement *p)
{
    void *bytes = workload_need(calloc(1, p->shape->bytes_max));

    for (uint32_t i = 0; i < p->shape->tensor_count; i++) {
        const struct tensor *t = &p->shape->tensor[i];

        fill(bytes, t, i);
        CUDA_CHECK(cuMemAlloc(&p->address[i], t->bytes));
        CUDA_CHECK(cuMemcpyHtoD(p->address[i], bytes, t->bytes));
    }
    free(bytes);
    p->device_bytes = p->shape->bytes;
}

static void create_managed(struct placement *p)
{
    for (uint32_t i = 0; i < p->shape->tensor_count; i++) {
        const struct tensor *t = &p->shape->tensor[i];

        CUDA_CHECK(cuMemAllocManaged(&p->address[i], t->bytes, CU_MEM_ATTACH_GLOBAL));
        fill((void *)(uintptr_t)p->address[i], t, i);
    }
}

/* What count resident groups and the buffers for the others take. */
static uint64_t device_need(const struct placement *p, uint32_t count, uint64_t *buffer_bytes)
{
    uint64_t resident = 0;

    *buffer_bytes = 0;
    for (uint32_t g = 0; g < p->group_count; g++) {
        if (g < count)
            resident += p->group[g].bytes;
        else if (p->group[g].bytes > *buffer_bytes)
            *buffer_bytes = p->group[g].bytes;
    }
    return resident + buffers(p) * *buffer_bytes;
}

/* returns the bytes of a buffer, 0 where none is needed */
static uint64_t choose_resident(struct placement *p, uint64_t budget_bytes)
{
    uint32_t count = p->group_count;
    uint64_t buffer_bytes;

    while (device_need(p, count, &buffer_bytes) > budget_bytes && count)
        count--;
    p->device_bytes = device_need(p, count, &buffer_bytes);
    for (uint32_t g = 0; g < count; g++)
        p->group[g].is_resident = 1;
    return buffer_bytes;
}

/* The groups that all steps will ask for; the same one twice running is still there. */
static void list_sequence(struct placement *p, uint64_t steps)
{
    struct op *ops = workload_need(calloc(shape_ops_max(p->shape), sizeof(*ops)));
    uint32_t last = NO_GROUP;
    const char *phase;

    p->sequence = workload_need(calloc(steps * shape_ops_max(p->shape), sizeof(*p->sequence)));
    for (uint64_t step = 0; step < steps; step++) {
        uint32_t count = shape_step(p->shape, step, ops, &phase);

        for (uint32_t i = 0; i < count; i++) {
            uint32_t g = group_of(p, ops[i].tensor);

            if (p->group[g].is_resident || g == last)
                continue;
            p->sequence[p->sequence_count++] = g;
            last = g;
        }
    }
    free(ops);
}

static void create_offloaded(struct placement *p, uint64_t steps, uint64_t budget_bytes)
{
    uint64_t offset = 0, buffer_bytes;

    for (uint32_t i = 0; i < p->shape->tensor_count; i++) {
        struct group *g = &p->group[group_of(p, i)];

        p->group_offset[i] = g->bytes;
        g->bytes += p->shape->tensor[i].bytes;
    }
    for (uint32_t g = 0; g < p->group_count; g++) {
        p->group[g].host_offset = offset;
        offset += p->group[g].bytes;
    }
    buffer_bytes = choose_resident(p, budget_bytes);
    list_sequence(p, steps);
    CUDA_CHECK(cuMemHostAlloc((void **)&p->host, offset, 0));
    memset(p->host, 0, offset);
    for (uint32_t i = 0; i < p->shape->tensor_count; i++) {
        const struct group *g = &p->group[group_of(p, i)];
        char *bytes = p->host + g->host_offset + p->group_offset[i];

        fill(bytes, &p->shape->tensor[i], i);
        if (!g->is_resident)
            continue;
        CUDA_CHECK(cuMemAlloc(&p->address[i], p->shape->tensor[i].bytes));
        CUDA_CHECK(cuMemcpyHtoD(p->address[i], bytes, p->shape->tensor[i].bytes));
    }
    CUDA_CHECK(cuStreamCreate(&p->copies, CU_STREAM_NON_BLOCKING));
    for (uint32_t b = 0; buffer_bytes && b < buffers(p); b++) {
        CUDA_CHECK(cuMemAlloc(&p->memory[b], buffer_bytes));
        CUDA_CHECK(cuEventCreate(&p->arrived[b], CU_EVENT_DISABLE_TIMING));
        CUDA_CHECK(cuEventCreate(&p->used[b], CU_EVENT_DISABLE_TIMING));
    }
}

/* Queue the copy of the next group of the sequence, behind the work that reads its buffer now. */
static void copy_next(struct placement *p)
{
    uint32_t b = p->copied % 2;
    const struct group *g;

    if (p->copied == p->sequence_count)
        return;
    g = &p->group[p->sequence[p->copied]];
    if (p->copied >= 2)
        CUDA_CHECK(cuStreamWaitEvent(p->copies, p->used[b], 0));
    CUDA_CHECK(cuMemcpyHtoDAsync(p->memory[b], p->host + g->host_offset, g->bytes, p->copies));
    CUDA_CHECK(cuEventRecord(p->arrived[b], p->copies));
    p->copied++;
}

void placement_create(struct placement *p, enum placement_mode mode, const struct shape *shape,
                      uint64_t steps, uint64_t budget_bytes, CUstream stream)
{
    memset(p, 0, sizeof(*p));
    p->mode = mode;
    p->shape = shape;
    p->stream = stream;
    p->buffered = NO_GROUP;
    p->buffer = 1;
    p->group_count = mode == PLACEMENT_BUFFERED ? shape->layer_count : shape->module_count;
    p->address = workload_need(calloc(shape->tensor_count, sizeof(*p->address)));
    p->group_offset = workload_need(calloc(shape->tensor_count, sizeof(*p->group_offset)));
    p->group = workload_need(calloc(p->group_count, sizeof(*p->group)));
    if (mode == PLACEMENT_PLAIN)
        create_plain(p);
    else if (mode == PLACEMENT_MANAGED)
        create_managed(p);
    else
        create_offloaded(p, steps, budget_bytes);
    if (mode == PLACEMENT_BUFFERED) {
        copy_next(p);
        copy_next(p);
    }
}

/* The group's bytes are in the buffer that is read from now on. */
static void bring(struct placement *p, uint32_t group)
{
    const struct group *g = &p->group[group];

    if (p->mode == PLACEMENT_SYNC) {
        p->buffer = 0;
        CUDA_CHECK(cuStreamSynchronize(p->stream));
        CUDA_CHECK(cuMemcpyHtoD(p->memory[0], p->host + g->host_offset, g->bytes));
    } else {
        if (p->buffered != NO_GROUP) {
            CUDA_CHECK(cuEventRecord(p->used[p->buffer], p->stream));
            copy_next(p);
        }
        p->buffer = 1 - p->buffer;
        CUDA_CHECK(cuStreamWaitEvent(p->stream, p->arrived[p->buffer], 0));
    }
    p->buffered = group;
}

CUdeviceptr placement_of(struct placement *p, uint32_t tensor)
{
    uint32_t group = group_of(p, tensor);

    if (p->mode == PLACEMENT_PLAIN || p->mode == PLACEMENT_MANAGED || p->group[group].is_resident)
        return p->address[tensor];
    if (group != p->buffered)
        bring(p, group);
    return p->memory[p->buffer] + p->group_offset[tensor];
}
