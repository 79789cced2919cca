/* ptx_device.h - what a translated kernel sees: the thread block, its threads, its memory.
 *
 * This text is part of every C file that the translator writes, after mmu.h, and the runtime is
 * compiled against it too, so both sides always agree about the layouts. It includes nothing of the
 * source tree and calls nothing but the C library.
 *
 * Generic addresses: what lies below 2^56 is global memory; the shared, local and parameter windows
 * and the addresses of functions stand above it, where no program can have memory.
 */
#ifndef SIMCUDA_PTX_DEVICE_H
#define SIMCUDA_PTX_DEVICE_H

#ifndef SIMCUDA_MMU_H
#include "mmu.h"
#endif

#include <string.h>
#include <time.h>

#define PTX_WINDOW_SHIFT  56
#define PTX_SHARED_WINDOW ((uint64_t)1 << PTX_WINDOW_SHIFT)
#define PTX_LOCAL_WINDOW  ((uint64_t)2 << PTX_WINDOW_SHIFT)
#define PTX_PARAM_WINDOW  ((uint64_t)3 << PTX_WINDOW_SHIFT)
#define PTX_CODE_WINDOW   ((uint64_t)4 << PTX_WINDOW_SHIFT)
#define PTX_WINDOW_MASK   ((uint64_t)0xff << PTX_WINDOW_SHIFT)

/* CUresult values of what a kernel can do wrong. */
#define PTX_FAULT_ILLEGAL_ADDRESS 700
#define PTX_FAULT_ASSERT          710
#define PTX_FAULT_STACK           714
#define PTX_FAULT_MISALIGNED      716
#define PTX_FAULT_ADDRESS_SPACE   717
#define PTX_FAULT_INVALID_PC      718
#define PTX_FAULT_LAUNCH_FAILED   719

/* What a translated function returns. */
enum ptx_status {
    PTX_DONE,      /* it returned */
    PTX_SUSPENDED, /* the thread waits; call again with the same frame to go on */
    PTX_EXITED,    /* the thread is over */
    PTX_FAULTED,   /* run->fault says why; the whole block unwinds */
};

/* Why a thread is suspended. */
enum ptx_wait {
    PTX_WAIT_NONE,      /* it gave way to the others and may go on at any time */
    PTX_WAIT_BARRIER,   /* bar.sync, bar.red; bar_id, bar_count, in_pred and op say the rest */
    PTX_WAIT_ARRIVE,    /* bar.arrive: counted, then it goes on */
    PTX_WAIT_WARP,      /* a collective with a member mask */
    PTX_WAIT_CONVERGED, /* a collective of whoever stands at the same instruction */
    PTX_WAIT_OVER,      /* exited */
};

/* What the threads that wait together compute. */
enum ptx_collective {
    PTX_SYNC,
    PTX_SHFL_UP,
    PTX_SHFL_DOWN,
    PTX_SHFL_BFLY,
    PTX_SHFL_IDX,
    PTX_VOTE_ALL,
    PTX_VOTE_ANY,
    PTX_VOTE_UNI,
    PTX_VOTE_BALLOT,
    PTX_MATCH_ANY,
    PTX_MATCH_ALL,
    PTX_REDUX_ADD,
    PTX_REDUX_MIN_S,
    PTX_REDUX_MIN_U,
    PTX_REDUX_MAX_S,
    PTX_REDUX_MAX_U,
    PTX_REDUX_AND,
    PTX_REDUX_OR,
    PTX_REDUX_XOR,
    PTX_ELECT,
    PTX_ACTIVE,
    PTX_BAR_POPC,
    PTX_BAR_AND,
    PTX_BAR_OR,
    PTX_MMA,
    PTX_LDMATRIX,
    PTX_STMATRIX,
    PTX_MOVMATRIX,
};

/* Elements of matrices. name, bits of each. */
#define PTX_ELEMENTS(X)                                                                            \
    X(f16, 16)                                                                                     \
    X(bf16, 16)                                                                                    \
    X(tf32, 32)                                                                                    \
    X(f32, 32)                                                                                     \
    X(f64, 64)                                                                                     \
    X(s8, 8)                                                                                       \
    X(u8, 8)                                                                                       \
    X(s32, 32)

enum ptx_element {
#define X(name, bits) PTX_ELEMENT_##name,
    PTX_ELEMENTS(X)
#undef X
};

/* What the 32 threads of a warp do with matrices that lie spread over their tiles.
 *
 * PTX_MMA: d = a * b + c, [m][k], [k][n], [m][n]. Each tile holds the thread's registers of a from
 * PTX_TILE_A on, of b from PTX_TILE_B on, and so forth.
 * The others: count matrices of 8 rows of 16 bytes. */
struct ptx_matrix {
    uint8_t m, n, k;
    uint8_t a, b, c, d; /* enum ptx_element */
    uint8_t saturates;
    uint8_t is_opaque; /* wmma: which thread holds which element is our own affair */
    uint8_t count;
    uint8_t is_transposed;
};

#define PTX_TILE_A     0
#define PTX_TILE_B     8
#define PTX_TILE_C     16
#define PTX_TILE_D     24
#define PTX_TILE_WORDS 32

struct ptx_block {
    struct mmu_run *run;
    uint8_t *shared;
    uint64_t shared_bytes;
    const uint8_t *params;
    uint64_t param_bytes;
    const uint64_t *global_addr;
    const uint32_t *shared_offset; /* of the module's shared variables, for this kernel */
    uint32_t static_shared_bytes;
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t ctaid[3];
    uint32_t threads;
};

struct ptx_thread {
    struct ptx_block *block;
    uint32_t tid[3];
    uint32_t linear; /* in the block */
    uint32_t lane, warp;
    uint8_t *local;
    uint64_t local_bytes;
    uint64_t local_top; /* first byte that no active function owns */
    uint8_t *frame_end;
    uint32_t spins; /* since it last gave way */

    enum ptx_wait wait;
    enum ptx_collective op;
    uint32_t mask;  /* of PTX_WAIT_WARP */
    uint32_t place; /* of PTX_WAIT_CONVERGED: which instruction */
    uint32_t bar_id, bar_count;
    uint64_t in;
    uint32_t in_b, in_c; /* the lane and clamp operands of a shuffle */
    uint32_t in_pred;
    uint64_t out;
    uint32_t out_pred;
    const struct ptx_matrix *matrix;
    uint64_t *tile; /* PTX_TILE_WORDS of the function's frame */
};

typedef int ptx_thread_fn(struct ptx_thread *t, uint8_t *frame, uint8_t *const *arg);

/* One kernel, as the compiled object describes it. */
struct ptx_entry {
    const char *name;
    ptx_thread_fn *thread; /* suspends: the runtime schedules the threads of a block */
    int (*block)(struct ptx_block *block, uint8_t *local, uint64_t local_bytes); /* never does */
    uint64_t frame_bytes;
};

#define PTX_LIKELY(x)   __builtin_expect(!!(x), 1)
#define PTX_UNLIKELY(x) __builtin_expect(!!(x), 0)

static inline void *ptx_fault(struct mmu_run *run, int fault, uint64_t addr)
{
    if (!run->fault) {
        run->fault = fault;
        run->fault_addr = addr;
    }
    return NULL;
}

/* Where [addr, addr + bytes) of global memory lies; NULL after a fault. bytes is a power of two. */
static inline __attribute__((always_inline)) uint8_t *
ptx_at_global(struct mmu_run *run, uint64_t addr, unsigned bytes, enum mmu_access access)
{
    if (PTX_UNLIKELY(addr & (bytes - 1)))
        return ptx_fault(run, PTX_FAULT_MISALIGNED, addr);
    return mmu_at(run, addr, bytes, access);
}

/* Atomics want both rights; the place that the write look-up gives is the one to use. */
static inline uint8_t *ptx_at_global_atomic(struct mmu_run *run, uint64_t addr, unsigned bytes)
{
    if (!ptx_at_global(run, addr, bytes, MMU_READ))
        return NULL;
    return ptx_at_global(run, addr, bytes, MMU_WRITE);
}

/* Shared and local memory and the parameters: an offset into bytes that lie at base. Buffers are
 * padded, so an aligned access that begins inside is safe. */
static inline __attribute__((always_inline)) uint8_t *
ptx_at_offset(struct mmu_run *run, uint8_t *base, uint64_t limit, uint64_t addr, unsigned bytes)
{
    if (PTX_UNLIKELY(addr & (bytes - 1)))
        return ptx_fault(run, PTX_FAULT_MISALIGNED, addr);
    if (PTX_UNLIKELY(addr >= limit))
        return ptx_fault(run, PTX_FAULT_LAUNCH_FAILED, addr);
    return base + addr;
}

static inline uint8_t *ptx_at_window(struct ptx_thread *t, uint64_t addr, unsigned bytes,
                                     enum mmu_access access)
{
    struct ptx_block *b = t->block;
    uint64_t offset = addr & ~PTX_WINDOW_MASK;

    switch (addr & PTX_WINDOW_MASK) {
    case PTX_SHARED_WINDOW:
        return ptx_at_offset(b->run, b->shared, b->shared_bytes, offset, bytes);
    case PTX_LOCAL_WINDOW:
        return ptx_at_offset(b->run, t->local, t->local_bytes, offset, bytes);
    case PTX_PARAM_WINDOW:
        if (access == MMU_READ)
            return ptx_at_offset(b->run, (uint8_t *)(uintptr_t)b->params, b->param_bytes, offset,
                                 bytes);
        break;
    default:
        break;
    }
    return ptx_fault(b->run, PTX_FAULT_ILLEGAL_ADDRESS, addr);
}

/* A generic access. Global bytes are counted by the caller, which asks ptx_is_global(). */
static inline int ptx_is_global(uint64_t addr)
{
    return (addr >> PTX_WINDOW_SHIFT) == 0;
}

static inline __attribute__((always_inline)) uint8_t *
ptx_at_generic(struct ptx_thread *t, uint64_t addr, unsigned bytes, enum mmu_access access)
{
    if (PTX_LIKELY(ptx_is_global(addr)))
        return ptx_at_global(t->block->run, addr, bytes, access);
    return ptx_at_window(t, addr, bytes, access);
}

static inline uint8_t *ptx_at_generic_atomic(struct ptx_thread *t, uint64_t addr, unsigned bytes)
{
    if (ptx_is_global(addr))
        return ptx_at_global_atomic(t->block->run, addr, bytes);
    return ptx_at_window(t, addr, bytes, MMU_WRITE);
}

/* cvta.to: a generic address that does not lie in the window gives an offset that no access passes.
 */
static inline uint64_t ptx_to_window(uint64_t addr, uint64_t window)
{
    return addr - window;
}

/* %clock64 and %globaltimer: nanoseconds. */
static inline uint64_t ptx_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline unsigned __int128 ptx_load128(const void *p)
{
    unsigned __int128 v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static inline void ptx_store128(void *p, unsigned __int128 v)
{
    memcpy(p, &v, sizeof(v));
}

#define PTX_ACCESSORS(X)                                                                           \
    X(8, uint8_t)                                                                                  \
    X(16, uint16_t)                                                                                \
    X(32, uint32_t)                                                                                \
    X(64, uint64_t)

#define X(bits, ctype)                                                                             \
    static inline ctype ptx_load##bits(const void *p)                                              \
    {                                                                                              \
        ctype v;                                                                                   \
        memcpy(&v, p, sizeof(v));                                                                  \
        return v;                                                                                  \
    }                                                                                              \
    static inline void ptx_store##bits(void *p, ctype v)                                           \
    {                                                                                              \
        memcpy(p, &v, sizeof(v));                                                                  \
    }                                                                                              \
    static inline ctype ptx_load_ordered##bits(void *p)                                            \
    {                                                                                              \
        return __atomic_load_n((ctype *)p, __ATOMIC_SEQ_CST);                                      \
    }                                                                                              \
    static inline void ptx_store_ordered##bits(void *p, ctype v)                                   \
    {                                                                                              \
        __atomic_store_n((ctype *)p, v, __ATOMIC_SEQ_CST);                                         \
    }
PTX_ACCESSORS(X)
#undef X

#endif
