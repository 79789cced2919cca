/* launch.c - what a call of cuLaunchKernel costs the program's thread.
 *
 *     launch --memory hot|stream [--batches N] [--seed N] [--pointers N] [--threads N]
 *
 * Launches a kernel that does nothing (no words to work on) with 1, 8 and 32 pointers, on one
 * thread and on two (or one of these, as asked), and prints for each a line of JSON: the
 * nanoseconds of a call, from the shortest batch to the longest. It knows nothing of Berth;
 * bench/run says what is paged.
 *
 * The device must not disturb the host while it is timed. So the streams of a batch wait for an
 * event behind a host function, the gate, that returns once the batch has been queued. One more
 * stream waits with them and has a launch of its own queued, the holder, on all the pointers that
 * the batch will use: what pages memory must keep it there for the holder. A launch on them that
 * does not wait, the probe, tells when it is there.
 *
 * hot      the 32 pointers of the batches come round several times while 32 others come once: a
 *          step in which they had better stay
 * stream   two groups of 32 pointers are used in turns, each larger than what the budget leaves to
 *          stream in: a step in which all of a group comes and goes. A batch uses the group whose
 *          turn it is
 *
 * Between batches the step goes on, so that a batch never looks like another habit.
 */
#include "tests/apps/cuda_api.h"
#include "tests/apps/kernels/test_kernels.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define BLOCK_BYTES    ((size_t)2 << 20) /* one pointer's memory */
#define POINTERS_MAX   32
#define STEADY         8   /* blocks that come back more often than the groups */
#define HOT_TURNS      4   /* of the hot blocks, while the others are used once */
#define BATCH_LAUNCHES 256 /* less than a driver queues before it makes the host wait */
#define BATCHES_MAX    4096
#define STEPS_BEFORE   12 /* turns of the step before anything is timed */
#define THREADS        2

#define CHECK(call)                                                                                \
    do {                                                                                           \
        CUresult result_ = (call);                                                                 \
        if (result_ != CUDA_SUCCESS) {                                                             \
            fprintf(stderr, "launch: %s: error %d\n", #call, (int)result_);                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

enum memory { MEMORY_HOT, MEMORY_STREAM };

/* A launch: a kernel, and as many pointers as it takes. */
struct call {
    CUfunction function;
    CUdeviceptr pointer[POINTERS_MAX];
    uint64_t words;    /* 0: the kernel's loop ends at once */
    unsigned int seed; /* tk_fill's third parameter */
    void *params[POINTERS_MAX + 2];
};

struct program {
    enum memory memory;
    size_t batches;
    CUcontext context;
    CUfunction one, eight, thirty_two;
    CUdeviceptr group[2][POINTERS_MAX];
    CUdeviceptr steady[STEADY];
    CUstream gate_stream, hold_stream, probe_stream;
    CUevent opened;
    sem_t gate;
    size_t turn; /* of the step: the group that is next */
};

/* A thread that times batches on a stream of its own. */
struct worker {
    struct program *program;
    CUstream stream;
    struct call call;
    uint64_t *batch_ns;
    size_t batches;
    pthread_barrier_t *barrier;
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void call_make(struct call *call, const struct program *program, const CUdeviceptr *pointers,
                      size_t count)
{
    call->function = count == 1 ? program->one : count == 8 ? program->eight : program->thirty_two;
    call->words = 0;
    call->seed = 0;
    for (size_t i = 0; i < count; i++) {
        call->pointer[i] = pointers[i];
        call->params[i] = &call->pointer[i];
    }
    call->params[count] = &call->words;
    call->params[count + 1] = &call->seed;
}

static void call_launch(struct call *call, CUstream stream)
{
    CHECK(cuLaunchKernel(call->function, 1, 1, 1, 1, 1, 1, 0, stream, call->params, NULL));
}

static void launch_on(const struct program *program, const CUdeviceptr *pointers, size_t count,
                      CUstream stream)
{
    struct call call;

    call_make(&call, program, pointers, count);
    call_launch(&call, stream);
}

/* One turn of the step, queued on the hold stream; of a stream step only half, which is one group.
 * The launch on a group comes last. returns the group whose pointers are in memory now */
static const CUdeviceptr *step(struct program *program)
{
    if (program->memory == MEMORY_HOT) {
        for (size_t other = 0; other < POINTERS_MAX; other++) {
            if (other % (POINTERS_MAX / HOT_TURNS) == 0)
                for (size_t i = 0; i < POINTERS_MAX; i++)
                    launch_on(program, &program->group[0][i], 1, program->hold_stream);
            launch_on(program, &program->group[1][other], 1, program->hold_stream);
        }
        return program->group[0];
    }
    for (size_t i = 0; i < STEADY; i++)
        launch_on(program, &program->steady[i], 1, program->hold_stream);
    return program->group[program->turn++ % 2];
}

static void wait_at_gate(void *gate)
{
    while (sem_wait(gate))
        ;
}

/* Nothing that is queued on the streams from now on runs before the gate is opened. */
static void gate_close(struct program *program, CUstream *streams, size_t count)
{
    CHECK(cuLaunchHostFunc(program->gate_stream, wait_at_gate, &program->gate));
    CHECK(cuEventRecord(program->opened, program->gate_stream));
    for (size_t i = 0; i < count; i++)
        CHECK(cuStreamWaitEvent(streams[i], program->opened, 0));
}

/* Queue the holder; returns when what it holds has come. */
static void hold(struct program *program, const CUdeviceptr *group)
{
    launch_on(program, group, POINTERS_MAX, program->hold_stream);
    launch_on(program, group, POINTERS_MAX, program->probe_stream);
    CHECK(cuStreamSynchronize(program->probe_stream));
}

/* Not inlined, so that a profiler can be told to count in here only. */
__attribute__((noinline)) void timed_launches(struct worker *worker);
void timed_launches(struct worker *worker)
{
    uint64_t start = now_ns();

    for (size_t i = 0; i < BATCH_LAUNCHES; i++)
        call_launch(&worker->call, worker->stream);
    worker->batch_ns[worker->batches++] = now_ns() - start;
}

/* A worker's part of one batch; the first launch is for whoever remembers launches. */
static void batch(struct worker *worker)
{
    call_launch(&worker->call, worker->stream);
    pthread_barrier_wait(worker->barrier);
    timed_launches(worker);
    pthread_barrier_wait(worker->barrier);
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;

    CHECK(cuCtxSetCurrent(worker->program->context));
    for (size_t i = 0; i < worker->program->batches; i++) {
        pthread_barrier_wait(worker->barrier);
        batch(worker);
    }
    return NULL;
}

/* The batches of one figure. The first worker is this thread, and leads. */
static void run_batches(struct program *program, struct worker *workers, size_t threads,
                        size_t pointers)
{
    CUstream streams[THREADS + 1];

    for (size_t t = 0; t < threads; t++)
        streams[t] = workers[t].stream;
    streams[threads] = program->hold_stream;
    for (size_t i = 0; i < program->batches; i++) {
        const CUdeviceptr *group = step(program);

        CHECK(cuStreamSynchronize(program->hold_stream));
        gate_close(program, streams, threads + 1);
        if (program->memory == MEMORY_STREAM)
            hold(program, group);
        for (size_t t = 0; t < threads; t++)
            call_make(&workers[t].call, program, group, pointers);
        pthread_barrier_wait(workers[0].barrier);
        batch(&workers[0]);
        sem_post(&program->gate);
        for (size_t t = 0; t < threads + 1; t++)
            CHECK(cuStreamSynchronize(streams[t]));
    }
}

static int by_size(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return a < b ? -1 : a > b;
}

static void print_figure(struct worker *workers, size_t threads, size_t pointers)
{
    static uint64_t all[THREADS * BATCHES_MAX];
    size_t count = 0;

    for (size_t t = 0; t < threads; t++) {
        memcpy(all + count, workers[t].batch_ns, workers[t].batches * sizeof(*all));
        count += workers[t].batches;
    }
    qsort(all, count, sizeof(*all), by_size);
    printf("{\"pointers\": %zu, \"threads\": %zu, \"batches\": %zu, \"min_ns\": %.1f, "
           "\"median_ns\": %.1f, \"max_ns\": %.1f}\n",
           pointers, threads, count, (double)all[0] / BATCH_LAUNCHES,
           (double)all[count / 2] / BATCH_LAUNCHES, (double)all[count - 1] / BATCH_LAUNCHES);
}

static void measure(struct program *program, size_t threads, size_t pointers)
{
    struct worker workers[THREADS] = {0};
    pthread_barrier_t barrier;
    pthread_t thread[THREADS];

    pthread_barrier_init(&barrier, NULL, (unsigned)threads);
    for (size_t t = 0; t < threads; t++) {
        workers[t].program = program;
        workers[t].barrier = &barrier;
        workers[t].batch_ns = calloc(program->batches, sizeof(*workers[t].batch_ns));
        CHECK(workers[t].batch_ns ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY);
        CHECK(cuStreamCreate(&workers[t].stream, CU_STREAM_NON_BLOCKING));
    }
    for (size_t t = 1; t < threads; t++)
        CHECK(pthread_create(&thread[t], NULL, worker_main, &workers[t]) ? CUDA_ERROR_UNKNOWN
                                                                         : CUDA_SUCCESS);
    run_batches(program, workers, threads, pointers);
    for (size_t t = 1; t < threads; t++)
        pthread_join(thread[t], NULL);
    print_figure(workers, threads, pointers);
    for (size_t t = 0; t < threads; t++) {
        CHECK(cuStreamDestroy(workers[t].stream));
        free(workers[t].batch_ns);
    }
    pthread_barrier_destroy(&barrier);
}

/* Blocks whose bytes came from the host, as weights do. */
static void allocate(CUdeviceptr *pointers, size_t count, const void *bytes)
{
    for (size_t i = 0; i < count; i++) {
        CHECK(cuMemAlloc(&pointers[i], BLOCK_BYTES));
        CHECK(cuMemcpyHtoD(pointers[i], bytes, BLOCK_BYTES));
    }
}

static void prepare(struct program *program, unsigned int seed)
{
    unsigned int *bytes = malloc(BLOCK_BYTES);
    CUmodule module;

    CHECK(bytes ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY);
    for (size_t i = 0; i < BLOCK_BYTES / sizeof(*bytes); i++)
        bytes[i] = tk_pattern(i, seed);
    CHECK(cuInit(0));
    CHECK(cuCtxCreate(&program->context, NULL, 0, 0));
    CHECK(cuModuleLoadData(&module, ptx_test_kernels));
    CHECK(cuModuleGetFunction(&program->one, module, "tk_fill"));
    CHECK(cuModuleGetFunction(&program->eight, module, "tk_eight"));
    CHECK(cuModuleGetFunction(&program->thirty_two, module, "tk_thirty_two"));
    CHECK(cuStreamCreate(&program->gate_stream, CU_STREAM_NON_BLOCKING));
    CHECK(cuStreamCreate(&program->hold_stream, CU_STREAM_NON_BLOCKING));
    CHECK(cuStreamCreate(&program->probe_stream, CU_STREAM_NON_BLOCKING));
    CHECK(cuEventCreate(&program->opened, CU_EVENT_DISABLE_TIMING));
    sem_init(&program->gate, 0, 0);
    allocate(program->group[0], POINTERS_MAX, bytes);
    allocate(program->group[1], POINTERS_MAX, bytes);
    allocate(program->steady, STEADY, bytes);
    free(bytes);
    for (size_t i = 0; i < STEPS_BEFORE; i++) {
        const CUdeviceptr *group = step(program);

        if (program->memory == MEMORY_STREAM)
            launch_on(program, group, POINTERS_MAX, program->hold_stream);
        CHECK(cuStreamSynchronize(program->hold_stream));
    }
}

static const char *option(int argc, char **argv, const char *name, const char *fallback)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return fallback;
}

int main(int argc, char **argv)
{
    static const size_t pointers[] = {1, 8, POINTERS_MAX};
    static struct program program;
    const char *memory = option(argc, argv, "--memory", "hot");
    size_t only_pointers = (size_t)atol(option(argc, argv, "--pointers", "0"));
    size_t only_threads = (size_t)atol(option(argc, argv, "--threads", "0"));

    program.memory = strcmp(memory, "stream") ? MEMORY_HOT : MEMORY_STREAM;
    program.batches = (size_t)atol(option(argc, argv, "--batches", "64"));
    if (!program.batches || program.batches > BATCHES_MAX) {
        fprintf(stderr, "launch: --batches takes 1 to %d\n", BATCHES_MAX);
        return 2;
    }
    prepare(&program, (unsigned int)atol(option(argc, argv, "--seed", "1")));
    for (size_t threads = 1; threads <= THREADS; threads++)
        for (size_t i = 0; i < sizeof(pointers) / sizeof(pointers[0]); i++)
            if ((!only_threads || only_threads == threads) &&
                (!only_pointers || only_pointers == pointers[i]))
                measure(&program, threads, pointers[i]);
    return 0;
}
