/* placement.h - where the weights of a workload are, and how a module's get to the device.
 *
 * The ways of programs that know nothing of paging, or that do by themselves what they know to do:
 *
 * plain     all in device memory
 * managed   all in managed memory, without hints
 * sync      what does not fit is copied before its module runs, and the host waits for it
 * buffered  what does not fit is copied a layer ahead on a stream of its own, into two buffers in
 *           turns
 *
 * The last two keep the first modules (layers) on the device, as many as leave room for the
 * buffers, and copy from pinned memory. Where even the buffers alone do not fit, they take what
 * they need: device_bytes tells.
 */
#ifndef BENCH_PLACEMENT_H
#define BENCH_PLACEMENT_H

#include "bench/shapes.h"
#include "tests/apps/cuda_api.h"

enum placement_mode { PLACEMENT_PLAIN, PLACEMENT_MANAGED, PLACEMENT_SYNC, PLACEMENT_BUFFERED };

/* What is copied as a whole: a module for sync, a layer for buffered. */
struct group {
    uint64_t bytes;
    uint64_t host_offset;
    int is_resident;
};

struct placement {
    enum placement_mode mode;
    const struct shape *shape;
    CUstream stream;        /* of the program's work */
    CUdeviceptr *address;   /* of each tensor that is on the device */
    uint64_t *group_offset; /* of each tensor, in its group */
    struct group *group;
    uint32_t group_count;
    char *host;            /* pinned: all groups */
    uint64_t device_bytes; /* that the weights and buffers take */
    uint32_t buffered;     /* group in the buffer that is read now */
    uint32_t buffer;       /* which one that is */
    CUdeviceptr memory[2]; /* of the buffers */
    CUstream copies;
    CUevent arrived[2], used[2];
    uint32_t *sequence; /* groups in the order in which they will be copied */
    size_t sequence_count, copied;
};

/* Allocate and fill.
 *
 * steps         that will run, from 0
 * budget_bytes  of device memory for weights; for sync and buffered
 */
void placement_create(struct placement *p, enum placement_mode mode, const struct shape *shape,
                      uint64_t steps, uint64_t budget_bytes, CUstream stream);

/* Work that is queued on the stream next reads the tensor. returns where it will be */
CUdeviceptr placement_of(struct placement *p, uint32_t tensor);

/* Memory, or the end of the program with a line. */
void *workload_need(void *memory);

#endif
