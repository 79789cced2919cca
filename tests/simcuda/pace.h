/* pace.h - how long the device's work takes, and the clock that makes it take that long.
 *
 * Simulated time is real time since the start divided by SIMCUDA_PACE, in nanoseconds. Each device
 * has one engine for copies to it, one for copies from it and one for kernels, which therefore run
 * one after another whatever their streams; the three overlap. An engine serves first who asks
 * first; what a kernel reads and writes in place shares the link with it. Copies within a device,
 * and sets, take their stream's time and no engine.
 *
 * Work has a start and an end in simulated time: it starts when what it waits for has ended, when
 * the host had queued it, and when its engine is free, whichever is last. Its real work is done at
 * the start, and then its thread sleeps until its end. Ends follow from starts and durations alone,
 * never from when a thread woke up, so the machine's delays do not add up; real work that lasts
 * longer than it should is counted as overrun, and says that the pace is too fast.
 *
 * Off, which is the default, nothing here reads a clock or sleeps.
 *
 * Locks: one of its own, a leaf; a kernel holds its turn (pace_kernel_begin) while it takes
 * memory's, so nobody may begin one with a lock held.
 */
#ifndef SIMCUDA_PACE_H
#define SIMCUDA_PACE_H

#include <stdint.h>
#include <stdio.h>

#include "sim.h"

enum pace_engine {
    PACE_H2D,
    PACE_D2H,
    PACE_COMPUTE,
    PACE_ENGINES,
};

/* What things cost: field, setting. A rate of 0 is infinitely fast. */
#define PACE_COSTS(X)                                                                              \
    X(h2d_bytes_per_s, LINK_H2D)                                                                   \
    X(d2h_bytes_per_s, LINK_D2H)                                                                   \
    X(pageable_bytes_per_s, LINK_PAGEABLE)                                                         \
    X(memory_bytes_per_s, MEMORY_RATE)                                                             \
    X(pin_bytes_per_s, PIN_RATE)                                                                   \
    X(line_bytes, LINE)                                                                            \
    X(copy_ns, COPY_NS)                                                                            \
    X(launch_ns, LAUNCH_NS)                                                                        \
    X(gpu_fault_ns, GPU_FAULT_NS)                                                                  \
    X(cpu_fault_ns, CPU_FAULT_NS)                                                                  \
    X(prefetch_ns, PREFETCH_NS)                                                                    \
    X(prefetch_block_ns, PREFETCH_BLOCK_NS)                                                        \
    X(prefetch_turn_ns, PREFETCH_TURN_NS)                                                          \
    X(prefetch_turn_block_ns, PREFETCH_TURN_BLOCK_NS)                                              \
    X(collapse_block_ns, COLLAPSE_BLOCK_NS)                                                        \
    X(remap_block_ns, REMAP_BLOCK_NS)                                                              \
    X(advise_ns, ADVISE_NS)                                                                        \
    X(create_page_ns, CREATE_PAGE_NS)                                                              \
    X(map_page_ns, MAP_PAGE_NS)                                                                    \
    X(access_page_ns, ACCESS_PAGE_NS)                                                              \
    X(unmap_page_ns, UNMAP_PAGE_NS)

struct pace_costs {
#define X(field, setting) uint64_t field;
    PACE_COSTS(X)
#undef X
};

/* Arithmetic, without clock or lock -------------------------------------------------------------*/

struct pace_queue {
    uint64_t free_ns;    /* when all that was reserved has ended */
    uint64_t busy_ns;    /* the sum of what was reserved */
    uint64_t bytes;      /* that were moved; touched, for kernels */
    uint64_t operations; /* reservations */
    uint64_t overrun_ns; /* by how much real work outlasted its time */
};

/* How long bytes take, rounded up. */
uint64_t pace_bytes_ns(uint64_t bytes, uint64_t bytes_per_s);
/* Take the engine's next ns nanoseconds from ready_ns on. returns the start */
uint64_t pace_reserve(struct pace_queue *queue, uint64_t ready_ns, uint64_t ns, uint64_t bytes);

/* What a thread has moved and met since its tally was cleared. */
struct pace_tally {
    uint64_t h2d_bytes; /* by copies, migrations, evictions */
    uint64_t d2h_bytes;
    uint64_t d2d_bytes;
    uint64_t h2h_bytes;
    uint64_t gpu_faults;
    uint64_t collapses; /* blocks of which duplicates were given up by advice */
    uint64_t remaps;    /* of those, what a device is given a mapping of instead */
};

/* What a kernel did. */
struct pace_kernel {
    uint64_t touched_bytes;      /* of device memory, each 64 KiB once */
    uint64_t remote_read_bytes;  /* over the link, each line_bytes once */
    uint64_t remote_write_bytes; /* likewise */
    struct pace_tally moved;     /* by its faults */
};

/* How long a kernel occupies its engine, but for waiting for the link: launch, memory, faults and
 * what they migrate, one after another. */
uint64_t pace_kernel_ns(const struct pace_costs *costs, const struct pace_kernel *kernel);

/* The clock ------------------------------------------------------------------------------------ */

struct pace_clock {
    uint64_t (*now_ns)(void);
    void (*sleep_until_ns)(uint64_t ns); /* on now_ns's scale */
};

/* Read the settings; once, from cuInit. */
void pace_init(void);
/* What pace_init() does, with values of one's own; scale 0 is off. Forgets all engines' past. */
void pace_start(uint64_t scale, const struct pace_costs *costs, const struct pace_clock *clock);

int pace_is_on(void);
const struct pace_costs *pace_costs(void);
/* Simulated time since the start; 0 when off. */
uint64_t pace_now_ns(void);
uint64_t pace_scale(void);

/* Work of a stream, by its worker --------------------------------------------------------------*/

/* The calling thread's work starts at ready_ns. */
void pace_work_begin(uint64_t ready_ns);
/* Where it has got to; its end, when it is over. */
uint64_t pace_work_ns(void);
/* It took real time that nobody paced: it has got to now. */
void pace_work_catch_up(void);
/* It takes that long, and no engine. */
void pace_work_spend(uint64_t ns);

/* A transfer that holds one engine for a known time. Its thread moves a piece whenever
 * pace_slot_reach() returns. */
struct pace_slot {
    struct pace_queue *queue;
    uint64_t start_ns;
    uint64_t end_ns;
    uint64_t bytes;
    uint64_t began_ns; /* when its real work began */
};

/* PACE_H2D or PACE_D2H of device; ns is what all of it takes. */
struct pace_slot pace_slot_begin(int device, enum pace_engine engine, uint64_t bytes, uint64_t ns);
/* Sleep until the engine has got so far. */
void pace_slot_reach(struct pace_slot *slot, uint64_t done_bytes);
/* Sleep until it is through; the work goes on from there. */
void pace_slot_end(struct pace_slot *slot);

/* Bytes crossed the link that nobody had reserved time for: they queue now, and the work goes on
 * when they are through. */
void pace_work_transfer(int device, enum pace_engine engine, uint64_t bytes, uint64_t ns);

/* Wait for the device's turn to run a kernel; it starts. */
void pace_kernel_begin(int device);
/* Its real work is done, and that is what it did: sleep until its end, give the turn back. */
void pace_kernel_end(int device, const struct pace_kernel *kernel);

/* Be as late as SIMCUDA_SLOW_* says that work of this engine is, paced or not. Real time. */
void pace_slow(enum pace_engine engine);

/* The calling thread, worker or host, tallies; read and clear. */
extern _Thread_local struct pace_tally t_pace_tally __attribute__((tls_model("initial-exec")));
struct pace_tally pace_tally_take(void);

/* The host's thread is busy inside the driver for that long. */
void pace_host_spend(uint64_t ns);
/* It touched a managed block that had to come from the device. */
void pace_host_fault(int device, uint64_t d2h_bytes);

/* Reports --------------------------------------------------------------------------------------*/

/* What the device's engines have done so far. */
void pace_snapshot(int device, struct pace_queue out[PACE_ENGINES]);
/* cuProfilerStart and cuProfilerStop: the report also says what happened between the two. */
void pace_window_open(void);
void pace_window_close(void);
/* A JSON object. */
void pace_report(FILE *file, int devices);

#endif
