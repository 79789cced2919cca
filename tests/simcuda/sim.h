/* sim.h - what the parts of the simulated driver share: settings, the call frame, contexts, queues.
 *
 * The library is the parts in this order: exports (every name of the driver) -> call frame (errors,
 * sticky faults, the counter of unmodelled names) -> context, module, memory, stream, event ->
 * workers, which run the device's work later than the host.
 *
 * Locks, outermost first; nobody takes one while holding one that stands below it:
 *     - driver lock (context.h): contexts, modules and libraries; bookkeeping only, never held
 *       across a compilation, an allocation or a wait
 *     - memory's lock (memory.h): allocations and page tables
 *     - queue lock (stream.h): streams, their queued work, events, marks
 *     - handle lock (handle.h): free lists of handles
 *
 * No lock is held while a worker runs a piece of work or a host function.
 */
#ifndef SIMCUDA_SIM_H
#define SIMCUDA_SIM_H

#include "cuda_abi.h"

/* The settings, from the environment as SIMCUDA_<NAME>; SIMCUDA_HELP=1 prints this table.
 *
 * name, kind (SIZE, COUNT, FLAG, TEXT), default, what it does
 */
#define SIM_SETTINGS(X)                                                                            \
    X(DEVICES, COUNT, "1", "number of devices, 1 to 4")                                            \
    X(VRAM, SIZE, "4GiB", "capacity of each device")                                               \
    X(CONTEXT_BYTES, SIZE, "0", "capacity that each context takes")                                \
    X(SEED, COUNT, "1", "seed of the scheduler, of addresses and of staging decisions")            \
    X(DELAY_US, COUNT, "200", "longest random delay of a stream's worker before it takes work")    \
    X(MANAGED, FLAG, "1", "0: no managed memory at all")                                           \
    X(CONCURRENT_MANAGED, FLAG, "1", "0: attribute 89 is 0, as on WSL2")                           \
    X(PARAM_INFO, FLAG, "1", "0: cuFuncGetParamInfo is not there, as before driver 12.4")          \
    X(DRIVER_VERSION, COUNT, "13000", "what cuDriverGetVersion answers")                           \
    X(PACE, COUNT, "0", "real time per simulated time; 0: work takes what it takes")               \
    X(LINK_H2D, SIZE, "24GiB", "paced: bytes per second to the device, pinned, and in place")      \
    X(LINK_D2H, SIZE, "24GiB", "paced: bytes per second from the device")                          \
    X(LINK_PAGEABLE, SIZE, "10GiB", "paced: bytes per second of copies with pageable memory")      \
    X(MEMORY_RATE, SIZE, "900GiB", "paced: bytes per second of the device's memory")               \
    X(PIN_RATE, SIZE, "1737MiB", "paced: bytes per second of pinning host memory")                 \
    X(LINE, SIZE, "128", "paced: what a kernel's access fetches over the link, up to 64KiB")       \
    X(COPY_NS, COUNT, "1500", "paced: latency of a copy or prefetch on its engine")                \
    X(LAUNCH_NS, COUNT, "3000", "paced: what a kernel takes beside its memory accesses")           \
    X(GPU_FAULT_NS, COUNT, "50000", "paced: a kernel's fault on a managed block, beside the copy") \
    X(CPU_FAULT_NS, COUNT, "20000", "paced: the host's fault on a managed block, likewise")        \
    X(PREFETCH_NS, COUNT, "2000", "paced: the caller's work for each prefetch")                    \
    X(PREFETCH_BLOCK_NS, COUNT, "30000", "paced: for each 2 MiB that it moves; see um_api.c")      \
    X(PREFETCH_TURN_NS, COUNT, "48000", "paced: of a prefetch that finds its stream busy")         \
    X(PREFETCH_TURN_BLOCK_NS, COUNT, "13000", "paced: likewise, for each 2 MiB that it moves")     \
    X(COLLAPSE_BLOCK_NS, COUNT, "3000", "paced: the caller's for each duplicate that it drops")    \
    X(REMAP_BLOCK_NS, COUNT, "45000", "paced: likewise, where ACCESSED_BY is set beside")          \
    X(ADVISE_NS, COUNT, "1500", "paced: the caller's for each cuMemAdvise")                        \
    X(CREATE_PAGE_NS, COUNT, "193000", "paced: the caller's for each 2 MiB of cuMemCreate")        \
    X(MAP_PAGE_NS, COUNT, "1500", "paced: the caller's for each 2 MiB of cuMemMap")                \
    X(ACCESS_PAGE_NS, COUNT, "36000", "paced: the caller's for each 2 MiB of cuMemSetAccess")      \
    X(UNMAP_PAGE_NS, COUNT, "26000", "paced: the caller's for each 2 MiB of cuMemUnmap")           \
    X(CACHE, TEXT, "", "folder of compiled kernels")                                               \
    X(CC, TEXT, "", "compiler of kernels; empty: cc")                                              \
    X(FAIL, TEXT, "",                                                                              \
      "NAME:N[+][:CODE],...: the Nth call of NAME (or any) fails; + and later ones")               \
    X(FAIL_CALLER, TEXT, "", "only calls from object files with this in their path fail")          \
    X(CALLS, TEXT, "", "write how often each object file called each function here at exit")       \
    X(LOSE, TEXT, "", "N[:CODE]: the device is lost at the Nth launch, with that sticky error")    \
    X(PINNED, SIZE, "1TiB", "host memory that can be pinned; 0 refuses all")                       \
    X(HOST_MEMORY, SIZE, "1TiB", "host memory for pinned and managed allocations together")        \
    X(SLOW_H2D_US, COUNT, "0", "delay of each copy or prefetch to a device")                       \
    X(SLOW_D2H_US, COUNT, "0", "delay of each copy or prefetch from a device")                     \
    X(SLOW_KERNEL_US, COUNT, "0", "delay of each kernel")                                          \
    X(REPORT, TEXT, "", "write counters as JSON to this file at exit")                             \
    X(LOG, FLAG, "0", "1: a line on stderr for each fault of device work and unmodelled call")     \
    X(HELP, FLAG, "0", "print this table when the driver is initialised")

enum sim_setting {
#define X(name, kind, value, help) SIM_##name,
    SIM_SETTINGS(X)
#undef X
        SIM_SETTING_COUNT
};

enum sim_setting_kind {
    SIM_KIND_SIZE,  /* bytes: digits and KiB, MiB, GiB, TiB or nothing */
    SIM_KIND_COUNT, /* digits */
    SIM_KIND_FLAG,  /* 0 or 1 */
    SIM_KIND_TEXT,
};

/* Read once, lazily; a setting that does not parse prints one line and takes its default. */
uint64_t sim_setting(enum sim_setting which);
const char *sim_setting_text(enum sim_setting which);

/* Parse one setting's text. returns 0, or -EINVAL and *value is as before */
int sim_setting_parse(enum sim_setting_kind kind, const char *text, uint64_t *value);
/* Print the table to stderr. */
void sim_setting_help(void);

/* A seeded, thread-safe stream of pseudo-random numbers; salt separates uses. */
uint64_t sim_random(uint64_t salt);
/* Step a private state, for one that needs the same numbers whatever other threads draw. */
uint64_t sim_random_next(uint64_t *state);

#define SIM_DEVICES_MAX 4

/* Declares and defines an entry point of the driver. What is exported under the name is a jump to
 * it (gate_jump.S). */
#define SIM_ENTRY(name, ...)                                                                       \
    CUresult name(__VA_ARGS__) __asm__("sim_" #name);                                              \
    CUresult name(__VA_ARGS__)

/* An entry point with a parameter `stream` and its _ptsz twin, where stream 0 is the thread's own.
 * params are in parentheses; call is the expression that both return. */
#define SIM_ENTRY_PTSZ(name, params, call)                                                         \
    SIM_ENTRY(name, SIM_UNWRAP params)                                                             \
    {                                                                                              \
        return call;                                                                               \
    }                                                                                              \
    SIM_ENTRY(name##_ptsz, SIM_UNWRAP params)                                                      \
    {                                                                                              \
        stream = stream ? stream : CU_STREAM_PER_THREAD;                                           \
        return call;                                                                               \
    }
/* The same for entry points that wait for the default stream: call sees it as `stream`. */
#define SIM_ENTRY_PTDS(name, params, call)                                                         \
    SIM_ENTRY(name, SIM_UNWRAP params)                                                             \
    {                                                                                              \
        CUstream stream = CU_STREAM_LEGACY;                                                        \
                                                                                                   \
        return call;                                                                               \
    }                                                                                              \
    SIM_ENTRY(name##_ptds, SIM_UNWRAP params)                                                      \
    {                                                                                              \
        CUstream stream = CU_STREAM_PER_THREAD;                                                    \
                                                                                                   \
        return call;                                                                               \
    }
#define SIM_UNWRAP(...) __VA_ARGS__

/* What every entry point asks first.
 *
 * returns  0; 3 before cuInit and in a child of fork; 4 once the process is ending; 800 from inside
 *          a host function
 */
CUresult sim_call(void);
/* sim_call(), and a device ordinal is one of ours, else 101. */
CUresult sim_call_device(CUdevice device);

/* The current context of the calling thread and its device; 201 when there is none, 709 when it is
 * destroyed, the sticky error after a fault, else as sim_call(). Every entry point that needs a
 * context starts here. Either pointer may be NULL. */
CUresult sim_enter(CUcontext *ctx, int *device);
/* A fault of device work: sticky for every context of the process, on all devices, and none can be
 * made any more. The first one is what every later call answers. */
void sim_fault(CUresult fault);
int sim_context_device(CUcontext ctx);

/* Number of devices that exist; 0 before cuInit. */
int sim_device_count(void);

/* Wait until everything queued so far on ctx's streams has finished. returns 0 or the sticky error
 */
CUresult sim_context_synchronize(CUcontext ctx);

/* Queue a piece of work on a stream: run(arg) is called by the stream's worker when all earlier
 * work has finished; it returns 0 or a CUresult that becomes the process's sticky error.
 * release(arg) frees arg, also when the work never ran; it may be NULL. Resolves 0,
 * CU_STREAM_LEGACY, CU_STREAM_PER_THREAD.
 *
 * returns  0; 400 for a handle that is no stream; 709 in a destroyed context; 2. On failure arg has
 *          been released.
 */
CUresult sim_stream_enqueue(CUcontext ctx, CUstream stream, int (*run)(void *arg), void *arg,
                            void (*release)(void *arg));
CUresult sim_stream_synchronize(CUcontext ctx, CUstream stream);

/* Is the process ending? Long device work asks this between two stretches and gives up. */
int sim_stopping(void);

/* One line on stderr, with SIMCUDA_LOG=1 only. */
void sim_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
