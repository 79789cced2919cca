/* probe.h - small measurements of what the design rests on, each for one question.
 *
 * A probe is a row of PROBES and a function that prints the members of one JSON object. It runs in
 * a process of its own (an error of the device is sticky), uses the driver's API and nothing of
 * Berth, and leaves the device as it was: no clocks, no modes, no resets. Every figure is the
 * median of several rounds, one round before them left out.
 *
 * Never more managed memory than half of what the card has free: a program that takes more can hang
 * it. Nothing here takes more than a quarter, managed or not.
 */
#ifndef GPU_PROBE_H
#define GPU_PROBE_H

#include "tests/apps/cuda_api.h"
#include "tests/apps/kernels/probe_kernels.h"
#include "tests/apps/kernels/test_kernels.h"

#include <stdint.h>

#define MIB        ((size_t)1 << 20)
#define PAGE_BYTES (2 * MIB)

#define PROBE_ROUNDS_MAX 101

/* name    what the command line and the result call it
 * asks    the question, for people
 */
#define PROBES(X)                                                                                  \
    X(link, "what do copies reach on the link, by size and kind of host memory?")                  \
    X(prefetch, "what do prefetch and drop of managed memory cost for each 2 MiB?")                \
    X(streams, "what do loads and drops reach, by streams and size, with a mapping and without?")  \
    X(duplicate, "is a write to a duplicate kept that nobody had mapped?")                         \
    X(calls, "does a thread that prefetches hold up the other calls of its context?")              \
    X(fault, "what does a page cost that a kernel faults in, or reads in place?")                  \
    X(launch, "what does a launch cost the program's thread?")                                     \
    X(vmm, "what do create, map, SetAccess, unmap and release cost for each 2 MiB?")               \
    X(stall, "do map, unmap and SetAccess stall kernels of other streams that run?")               \
    X(free, "which calls wait for work of other streams, and behind a free?")                      \
    X(rights, "are the rights of a mapping honoured on the device?")                               \
    X(host, "what do kernels reach that read the host's memory through mappings?")                 \
    X(registration, "can a file's mapping be registered, and what does pinning cost?")

struct probe {
    size_t bytes;        /* that a figure works on: a multiple of PAGE_BYTES */
    size_t free_bytes;   /* of the card, before anything was taken */
    int rounds;          /* of each figure */
    double kernel_ns;    /* that a kernel shall last, beside which something else is done */
    int multiprocessors; /* of the device */
    CUcontext context;
    CUstream stream;      /* non-blocking */
    CUmodule test_module; /* test_kernels.h */
    CUfunction read, write;
    CUdeviceptr sum; /* eight bytes, for read */
    FILE *out;       /* the members of the result */
};

#define X(name, asks) void probe_##name(struct probe *p);
PROBES(X)
#undef X

/* Part of a figure: queues work on p->stream, or does it. */
typedef void (*probe_work)(struct probe *p, void *state);

struct probe_time {
    double call_ns;  /* until the calls returned */
    double whole_ns; /* until the stream had run what they queued */
};

/* Where managed memory may be told to lie. */
extern const CUmemLocation probe_device, probe_host_memory;

double probe_now_ns(void);

/* The median of count values, which are sorted for it. */
double probe_median(double *values, int count);

/* Time work; before runs in front of it, untimed, and the stream is idle then. before may be NULL.
 */
struct probe_time probe_measure(struct probe *p, probe_work before, probe_work work, void *state);

/* Create what a probe needs of the device, and cut bytes to what the card allows; the end of the
 * process, with exit code 77 and a reason, where there is no GPU. Until then no driver call has
 * been made, so a process may fork. */
void probe_open(struct probe *p);

/* A device attribute; 0 where the driver does not know it. */
int probe_attribute(CUdevice_attribute attribute);

/* The end of the process, with exit code 77: the probe has no answer on this device. */
void probe_skip(const char *reason) __attribute__((noreturn));

/* The end of the process, with exit code 1: an answer that cannot be. */
void probe_fail(const char *reason) __attribute__((noreturn));

/* Where physical memory of the host may lie. returns 0 where the device can map none */
int probe_host_location(CUmemLocation *out);

/* Memory of the process, filled so that all of it exists; or the end of it. */
void *probe_host_alloc(size_t bytes);

/* Queue a kernel on the whole device that reads, or writes, sixteen bytes at every stride_bytes. */
void probe_read(struct probe *p, CUdeviceptr ptr, size_t bytes, size_t stride_bytes,
                unsigned int rounds);
void probe_write(struct probe *p, CUdeviceptr ptr, size_t bytes, size_t stride_bytes,
                 uint64_t value);

/* Print one member of the result; the name tells the unit. */
void probe_number(struct probe *p, const char *name, double value);
void probe_text(struct probe *p, const char *name, const char *value);
void probe_answer(struct probe *p, const char *name, int is_so);

/* The same for a figure's kind: prefix_name. */
void probe_figure(struct probe *p, const char *prefix, const char *name, double value);

#endif
