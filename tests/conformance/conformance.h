/* conformance.h - what the checks of the driver conformance suite share.
 *
 * A check states documented behaviour of the CUDA driver and runs unchanged on the simulator and on
 * a real GPU; nothing here may know which of them it runs on. Where CUDA leaves a freedom, every
 * allowed outcome passes. Each check has a process of its own (an illegal access spoils a process
 * for good) with a time limit, so that a deadlock is a failure too.
 *
 * Order between the host and a stream is enforced with gates, never with sleeps. Two habits keep a
 * gate free of deadlocks on real hardware: kernels are loaded and launched once before a gate is
 * closed, because loading may wait for the device; and while one is closed nothing is allocated,
 * freed or copied that CUDA allows to wait for it.
 */
#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include "tests/apps/cuda_api.h"
#include "tests/apps/kernels/test_kernels.h"

#include <pthread.h>
#include <semaphore.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* One check: it returns when it passed, and ends the process otherwise. */
struct check {
    const char *name;
    void (*run)(void);
};

/* The checks of one file. They are listed once, in an X-macro, from which the table is made. */
struct check_group {
    const char *name;
    const struct check *checks;
    size_t count;
};

#define CHECK_ROW(check) {#check, check},
#define CHECK_GROUP(title, LIST)                                                                   \
    static const struct check title##_checks[] = {LIST(CHECK_ROW)};                                \
    const struct check_group group_##title = {#title, title##_checks,                              \
                                              sizeof(title##_checks) / sizeof(title##_checks[0])}

/* Every group, in the order in which they run. */
#define GROUPS(X)                                                                                  \
    X(init)                                                                                        \
    X(device)                                                                                      \
    X(entry)                                                                                       \
    X(context)                                                                                     \
    X(module)                                                                                      \
    X(launch)                                                                                      \
    X(memory)                                                                                      \
    X(pointer)                                                                                     \
    X(host)                                                                                        \
    X(copy)                                                                                        \
    X(copy_async)                                                                                  \
    X(copy_batch)                                                                                  \
    X(stream)                                                                                      \
    X(order)                                                                                       \
    X(event)                                                                                       \
    X(illegal)                                                                                     \
    X(unified)                                                                                     \
    X(migrate)                                                                                     \
    X(vmm)                                                                                         \
    X(vmm_illegal)

#define X(title) extern const struct check_group group_##title;
GROUPS(X)
#undef X

/* Verdicts. Each ends the process at once, by _exit(): a driver that hangs must not hide a failure.
 */
_Noreturn void check_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
_Noreturn void check_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Facts for the record. An answer must be the same on every driver and device, so the recorded ones
 * of real GPUs are held against the simulator's; a note may differ. */
void answer(const char *key, long long value);
void answer_text(const char *key, const char *value);
void note(const char *key, long long value);
void note_text(const char *key, const char *value);

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition))                                                                          \
            check_fail(__FILE__, __LINE__, "not so: %s", #condition);                              \
    } while (0)

#define EXPECT_EQ(actual, expected)                                                                \
    do {                                                                                           \
        unsigned long long actual_ = (unsigned long long)(actual);                                 \
        unsigned long long expected_ = (unsigned long long)(expected);                             \
        if (actual_ != expected_)                                                                  \
            check_fail(__FILE__, __LINE__, "%s is %llu (%#llx), expected %llu (%#llx)", #actual,   \
                       actual_, actual_, expected_, expected_);                                    \
    } while (0)

/* The call must answer exactly this result. */
#define EXPECT_CU(expected, call)                                                                  \
    do {                                                                                           \
        CUresult result_ = (call);                                                                 \
        if (result_ != (expected))                                                                 \
            check_fail(__FILE__, __LINE__, "%s answered %d %s, expected %d", #call, (int)result_,  \
                       cuda_error_name(result_), (int)(expected));                                 \
    } while (0)

#define OK(call) EXPECT_CU(CUDA_SUCCESS, call)

/* The call must fail; which error it answers is recorded under key. */
#define EXPECT_ERROR(key, call)                                                                    \
    do {                                                                                           \
        CUresult result_ = (call);                                                                 \
        if (result_ == CUDA_SUCCESS)                                                               \
            check_fail(__FILE__, __LINE__, "%s succeeded, expected an error", #call);              \
        answer(key, (long long)result_);                                                           \
    } while (0)

/* cuInit and device 0, without a context. */
CUdevice begin_device(void);
/* cuInit and a new context on device 0, current in this thread. */
CUcontext begin(void);
/* A new context on device 0, left current. */
CUcontext new_context(void);
/* The attribute of device 0. */
int device_attribute(CUdevice_attribute attribute);
/* Skips the check unless device 0 has managed memory that host and device may use at once. */
void need_concurrent_managed(void);

/* A kernel of test_kernels.cu in the current context; the module is loaded once a context. */
CUfunction kernel(const char *name);
CUmodule test_module(void);

/* Launch grid x block threads of a kernel; the parameters follow as pointers. */
#define LAUNCH(function, grid, block, stream, ...)                                                 \
    OK(cuLaunchKernel(function, grid, 1, 1, block, 1, 1, 0, stream, (void *[]){__VA_ARGS__}, NULL))

/* Wrappers of the kernels used most. words are u32. */
void launch_fill(CUstream stream, CUdeviceptr p, uint64_t words, uint32_t seed);
void launch_copy(CUstream stream, CUdeviceptr dst, CUdeviceptr src, uint64_t words);
void launch_triple(CUstream stream, CUdeviceptr p, uint64_t words);
/* A kernel that takes a while: some tens of thousands of dependent steps in one thread. */
void launch_work(CUstream stream, CUdeviceptr out);
/* Launches every kernel above once and waits, so that none of them is loaded behind a gate. */
void warm_up(void);

CUdeviceptr device_alloc(size_t bytes);
CUdeviceptr managed_alloc(size_t bytes);
void *pinned_alloc(size_t bytes);
CUstream new_stream(unsigned flags);
CUevent new_event(unsigned flags);

/* Fails unless the words at p, copied to the host, are the pattern of seed. */
void expect_pattern(const char *file, int line, CUdeviceptr p, uint64_t words, uint32_t seed);
#define EXPECT_PATTERN(p, words, seed) expect_pattern(__FILE__, __LINE__, p, words, seed)
/* The same for words that the host can read. */
void expect_host_pattern(const char *file, int line, const uint32_t *p, uint64_t words,
                         uint32_t seed);
#define EXPECT_HOST_PATTERN(p, words, seed) expect_host_pattern(__FILE__, __LINE__, p, words, seed)
void fill_host(uint32_t *p, uint64_t words, uint32_t seed);
/* A pageable buffer that holds the pattern of seed. */
uint32_t *pattern_new(uint64_t words, uint32_t seed);

/* A gate: work of its stream behind it starts only once it is opened. */
struct gate {
    sem_t entered;
    sem_t opened;
};
/* Queues the gate and returns when the stream has reached it. */
void gate_close(struct gate *gate, CUstream stream);
void gate_open(struct gate *gate);

/* Runs function(arg) in a new thread, which has no context of its own, and waits for its end. */
void in_thread(void (*function)(void *arg), void *arg);

#endif
