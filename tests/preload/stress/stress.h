/* stress.h - random CUDA work whose result is determined, and the shadow copy that tells it.
 *
 * A plan is a list of operations in one order, drawn from one seed. Each belongs to one thread and
 * one stream and names the tensors that it reads and writes; the plan knows for each operation
 * which earlier ones it conflicts with. A thread issues its own operations in the plan's order.
 * Before one it waits on the host until those that it conflicts with have been issued, and on the
 * device until they have run, by events; so every tensor's bytes are those of the plan executed one
 * by one, whatever threads and streams do. The thread that issues an operation also carries it out
 * on the shadow copies, before it says that the operation is issued: the shadow of a tensor is
 * guarded by the same order as the tensor.
 */
#ifndef PRELOAD_STRESS_H
#define PRELOAD_STRESS_H

#include "tests/apps/kernels/update_kernels.h"
#include "tests/preload/common.h"

#include <pthread.h>
#include <stdatomic.h>

#define SIDES            2 /* contexts */
#define THREADS_MAX      8
#define STREAMS          4 /* of each thread, in the context of its side */
#define TENSORS_MAX      256
#define OPERANDS_MAX     32
#define SLOTS            2                   /* staging buffers of each thread */
#define SLOT_BYTES       ((size_t)256 << 10) /* of each of its two halves, pinned and not */
#define TENSOR_WORDS_MIN 256

/* name, operands, how many of them (the first ones) are written, weight in a random plan */
#define STRESS_KINDS(X)                                                                            \
    X(FILL, 1, 1, 6)                                                                               \
    X(TRIPLE, 1, 1, 14)                                                                            \
    X(COPY, 2, 1, 8)                                                                               \
    X(BY_VALUE, 3, 1, 8)                                                                           \
    X(EIGHT, 8, 1, 3)                                                                              \
    X(THIRTY_TWO, 32, 1, 1)                                                                        \
    X(GATHER, 2, 1, 5)                                                                             \
    X(SCATTER, 2, 1, 5)                                                                            \
    X(MERGE, 3, 1, 10)                                                                             \
    X(OPTIMIZE, 4, 3, 8)                                                                           \
    X(INDIRECT_READ, 5, 1, 4)                                                                      \
    X(INDIRECT_WRITE, 4, 4, 4)                                                                     \
    X(HASH, 1, 0, 8)                                                                               \
    X(WORK, 0, 0, 2)                                                                               \
    X(MEMSET, 1, 1, 5)                                                                             \
    X(UPLOAD, 1, 1, 10)                                                                            \
    X(DOWNLOAD, 1, 0, 10)                                                                          \
    X(DEVICE_COPY, 2, 1, 5)                                                                        \
    X(PEER_COPY, 2, 1, 3)                                                                          \
    X(REALLOCATE, 1, 1, 12)                                                                        \
    X(VISIT, 0, 0, 0)

enum kind {
#define X(name, operands, written, weight) KIND_##name,
    STRESS_KINDS(X)
#undef X
        KIND_COUNT
};

struct kind_row {
    const char *name;
    unsigned operands, written, weight;
};

extern const struct kind_row g_kinds[KIND_COUNT];

/* Streams of a thread in one context: its own, and the two default streams. */
enum { LANE_LEGACY = STREAMS, LANE_PER_THREAD, LANES };

struct operation {
    enum kind kind;
    unsigned thread, side, lane;
    uint64_t draw;     /* decides what the plan leaves open */
    unsigned operands; /* as many as stand in tensor[] */
    uint16_t tensor[OPERANDS_MAX];
    uint32_t *after; /* the operations that it conflicts with */
    unsigned after_count;
    _Atomic unsigned waiters; /* operations that wait for the event still */
    CUevent event;            /* recorded behind it when there are any */
    int issued;               /* g_issue.lock */
};

struct plan {
    struct operation *operations;
    unsigned count;
};

struct tensor {
    unsigned side;
    CUdeviceptr p;
    uint64_t words;
    unsigned tail_bytes;     /* behind the words: only copies and fills reach them */
    uint64_t capacity_words; /* of the shadow, which the tensor never outgrows */
    unsigned char *shadow;
    int inner;  /* a piece of a larger allocation, which is never freed alone */
    int pooled; /* from cuMemAllocAsync() */
};

struct side {
    CUcontext context;
    struct kernels k;
    CUfunction merge, optimize, scatter, indirect;
};

struct slot {
    unsigned char *pinned, *pageable;
    CUevent busy; /* recorded behind the last copy that reads or writes the slot */
};

struct worker {
    unsigned index;
    const struct plan *plan;
    CUstream streams[STREAMS];
    struct slot slots[SLOTS];
    unsigned next_slot;
    CUdeviceptr sums[SIDES]; /* in each context 8 bytes for a hash, 8 for what nobody reads */
};

extern struct tensor g_tensors[TENSORS_MAX];
extern unsigned g_tensor_count;
extern struct side g_sides[SIDES];

/* The variants for a program whose default stream is each thread's own. */
CUresult cuLaunchKernel_ptsz(CUfunction function, unsigned int grid_x, unsigned int grid_y,
                             unsigned int grid_z, unsigned int block_x, unsigned int block_y,
                             unsigned int block_z, unsigned int shared_bytes, CUstream stream,
                             void **params, void **extra);
CUresult cuMemcpyHtoD_v2_ptds(CUdeviceptr dst, const void *src, size_t bytes);

/* The context that a thread calls home. */
unsigned stress_home(unsigned thread);
static inline uint64_t tensor_bytes(const struct tensor *t)
{
    return t->words * 4 + t->tail_bytes;
}
static inline uint32_t *shadow_words(const struct tensor *t)
{
    return (uint32_t *)t->shadow;
}

/* Draw a plan of random operations for so many threads. */
void plan_draw(struct plan *plan, unsigned threads, unsigned count, uint64_t *seed);
/* Draw a loop: the same kernels in the same order, round after round, by one thread. */
void plan_draw_loop(struct plan *plan, unsigned length, unsigned rounds, uint64_t *seed);
void plan_free(struct plan *plan);

/* Carry out a thread's part of a plan: open its streams, issue its operations, close them again. */
void *worker_run(void *worker);

/* The stream of an operation as a handle for calls that take one. */
CUstream operation_stream(const struct worker *w, const struct operation *op);

/* Carry out one operation, on the device and on the shadow. Its context is current and its stream
 * waits for all that it conflicts with; the host has not waited. */
void operation_launch(struct worker *w, const struct operation *op);
void operation_move(struct worker *w, const struct operation *op);
/* A staging slot that no copy uses any more. */
struct slot *slot_take(struct worker *w);
/* What was queued on the stream may use the slot until it has run. */
void slot_give(struct slot *slot, CUstream stream);

/* Allocate a tensor and upload what its shadow holds. */
void tensor_create(struct tensor *t, CUstream stream);
/* End the program unless these bytes are the shadow's from offset on. */
void tensor_compare(const struct tensor *t, uint64_t offset, const void *bytes, uint64_t count,
                    const char *where);

#endif
