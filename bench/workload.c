/* workload.c - a program that does a model's steps, for the paging of it to be measured.
 *
 *     workload --shape SHAPE [--mode plain|managed|sync|buffered] [--mib N] [--budget-bytes N]
 *              [--warm N] [--steps N] [--seconds N] [--window load|first|steps] [--tiles N]
 *              [--stride N] [--blocks N] [--seed N] [--host-ns N] [--trace]
 *
 * Loads a model of N MiB and runs it for warm + steps steps; each step ends with eight bytes of its
 * result on the host. Prints JSON lines: one when it has loaded, one for each step with its
 * nanoseconds and its result's hash. It knows nothing of Berth. With --trace it
 * runs nothing and prints what each step would read. cuProfilerStart and cuProfilerStop stand
 * around the steps that are measured.
 *
 * A kernel that reads a matrix is one block, which is enough for a simulated device; a real one
 * reads at its speed with --blocks of some hundreds.
 *
 * With --host-ns the host takes so long before each launch, as a framework does that interprets the
 * model.
 *
 * A mixture of experts waits for each layer's router before it launches the experts, as programs do
 * that choose them on the host.
 */
#include "bench/placement.h"
#include "tests/apps/kernels/bench_kernels.h"
#include <malloc.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define ACTIVATIONS_BYTES ((uint64_t)256 << 10) /* each of two */
#define SLICE_WORDS       512u                  /* of the cache of keys and values, for a layer */

#define WIDE_THREADS   256 /* of each of --blocks */
#define MEMORY_SAMPLES 20  /* of a long run */

/* What is measured. */
enum window { WINDOW_LOAD, WINDOW_FIRST, WINDOW_STEPS };

CUresult cuProfilerStart(void);
CUresult cuProfilerStop(void);

struct workload {
    struct shape shape;
    struct placement placement;
    CUcontext context;
    CUstream stream;
    CUfunction matrix, gather, attend;
    CUdeviceptr activations[2], cache, rows;
    uint64_t stride_bytes;
    uint64_t host_ns;    /* before each launch */
    unsigned int blocks; /* 0: the one of bk_matrix */
    struct op *ops;
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static const char *option(int argc, char **argv, const char *name, const char *fallback)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return fallback;
}

static uint64_t number(int argc, char **argv, const char *name, const char *fallback)
{
    return strtoull(option(argc, argv, name, fallback), NULL, 10);
}

static int has_flag(int argc, char **argv, const char *name)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return 1;
    return 0;
}

static void take_host_time(const struct workload *w)
{
    struct timespec time = {(time_t)(w->host_ns / 1000000000u), (long)(w->host_ns % 1000000000u)};

    if (w->host_ns)
        clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

static void launch(struct workload *w, CUfunction function, void **params)
{
    take_host_time(w);
    CUDA_CHECK(cuLaunchKernel(function, 1, 1, 1, BK_THREADS, 1, 1, 0, w->stream, params, NULL));
}

static void launch_matrix(struct workload *w, void **params)
{
    if (!w->blocks) {
        launch(w, w->matrix, params);
        return;
    }
    take_host_time(w);
    CUDA_CHECK(
        cuLaunchKernel(w->matrix, w->blocks, 1, 1, WIDE_THREADS, 1, 1, 0, w->stream, params, NULL));
}

static void run_op(struct workload *w, const struct op *op, uint64_t step)
{
    const struct tensor *t = &w->shape.tensor[op->tensor];
    CUdeviceptr weight, in = w->activations[0], out = w->activations[1];
    uint32_t count = ROWS_READ;
    uint64_t words = SLICE_WORDS;

    if (op->kind == OP_ATTEND) {
        weight = w->cache + t->layer * SLICE_WORDS * sizeof(uint64_t);
        launch(w, w->attend, (void *[]){&weight, &words, &step, &in, &out});
    } else if (op->kind == OP_GATHER) {
        weight = placement_of(&w->placement, op->tensor);
        launch(w, w->gather,
               (void *[]){&weight, (void *)&t->row_bytes, &w->stride_bytes, &w->rows, &count, &in,
                          &out});
    } else {
        weight = placement_of(&w->placement, op->tensor);
        launch_matrix(w, (void *[]){&weight, (void *)&t->bytes, &w->stride_bytes, &in, &out});
    }
    w->activations[0] = out;
    w->activations[1] = in;
}

static uint64_t result(struct workload *w)
{
    uint64_t word;

    CUDA_CHECK(cuStreamSynchronize(w->stream));
    CUDA_CHECK(cuMemcpyDtoH(&word, w->activations[0], sizeof(word)));
    return word;
}

static uint64_t run_step(struct workload *w, uint64_t step, const char **phase)
{
    uint32_t count = shape_step(&w->shape, step, w->ops, phase), rows[ROWS_READ];
    uint32_t layer = UINT32_MAX;

    shape_rows(&w->shape, step, rows);
    CUDA_CHECK(cuMemcpyHtoDAsync(w->rows, rows, sizeof(rows), w->stream));
    for (uint32_t i = 0; i < count; i++) {
        const struct tensor *t = &w->shape.tensor[w->ops[i].tensor];

        if (t->expert != EXPERT_NONE && t->layer != layer) {
            layer = t->layer;
            (void)result(w); /* where the router sends the token */
        }
        for (uint32_t tile = 0; tile < w->ops[i].tiles; tile++)
            run_op(w, &w->ops[i], step);
    }
    return result(w);
}

static void prepare(struct workload *w)
{
    CUmodule module;

    CUDA_CHECK(cuInit(0));
    CUDA_CHECK(cuCtxCreate(&w->context, NULL, 0, 0));
    CUDA_CHECK(cuModuleLoadData(&module, ptx_bench_kernels));
    CUDA_CHECK(cuModuleGetFunction(&w->matrix, module, w->blocks ? "bk_matrix_wide" : "bk_matrix"));
    CUDA_CHECK(cuModuleGetFunction(&w->gather, module, "bk_gather"));
    CUDA_CHECK(cuModuleGetFunction(&w->attend, module, "bk_attend"));
    CUDA_CHECK(cuStreamCreate(&w->stream, CU_STREAM_NON_BLOCKING));
}

/* What every step works with; the bytes of it are zero at first. */
static void prepare_working_memory(struct workload *w)
{
    uint64_t cache_bytes = w->shape.layer_count * SLICE_WORDS * sizeof(uint64_t);

    w->ops = workload_need(calloc(shape_ops_max(&w->shape), sizeof(*w->ops)));
    for (int i = 0; i < 2; i++) {
        CUDA_CHECK(cuMemAlloc(&w->activations[i], ACTIVATIONS_BYTES));
        CUDA_CHECK(cuMemsetD8(w->activations[i], 0, ACTIVATIONS_BYTES));
    }
    CUDA_CHECK(cuMemAlloc(&w->cache, cache_bytes));
    CUDA_CHECK(cuMemsetD8(w->cache, 0, cache_bytes));
    CUDA_CHECK(cuMemAlloc(&w->rows, ROWS_READ * sizeof(uint32_t)));
}

static void print_ops(const struct workload *w, enum op_kind kind, const char *name, uint32_t count)
{
    const char *separator = "";

    printf(", \"%s\": [", name);
    for (uint32_t i = 0; i < count; i++) {
        if (w->ops[i].kind != kind)
            continue;
        printf("%s%u", separator, w->ops[i].tensor);
        separator = ", ";
    }
    printf("]");
}

static void print_trace(struct workload *w, uint64_t steps)
{
    w->ops = workload_need(calloc(shape_ops_max(&w->shape), sizeof(*w->ops)));
    printf("{\"working_bytes\": %llu, \"tensors\": [",
           (unsigned long long)(2 * ACTIVATIONS_BYTES +
                                w->shape.layer_count * SLICE_WORDS * sizeof(uint64_t)));
    for (uint32_t i = 0; i < w->shape.tensor_count; i++)
        printf("%s{\"name\": \"%s\", \"bytes\": %llu, \"row_bytes\": %llu, \"rows\": %u}",
               i ? ", " : "", w->shape.tensor[i].name, (unsigned long long)w->shape.tensor[i].bytes,
               (unsigned long long)w->shape.tensor[i].row_bytes, ROWS_READ);
    printf("], \"steps\": [");
    for (uint64_t step = 0; step < steps; step++) {
        const char *phase;
        uint32_t count = shape_step(&w->shape, step, w->ops, &phase);

        printf("%s{\"phase\": \"%s\"", step ? ", " : "", phase);
        print_ops(w, OP_GATHER, "gathers", count);
        print_ops(w, OP_MATRIX, "reads", count);
        printf("}");
    }
    printf("]}\n");
}

/* Which of count names it is; the end of the program for none. */
static int choice(const char *option_name, const char *name, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    fprintf(stderr, "workload: %s does not take %s\n", option_name, name);
    exit(2);
}

static enum placement_mode mode_of(const char *name)
{
    static const char *const names[] = {"plain", "managed", "sync", "buffered"};

    return (enum placement_mode)choice("--mode", name, names, 4);
}

static enum window window_of(const char *name)
{
    static const char *const names[] = {"load", "first", "steps"};

    return (enum window)choice("--window", name, names, 3);
}

static void print_loaded(const struct workload *w, uint64_t start)
{
    printf("{\"bytes\": %llu, \"device_bytes\": %llu, \"load_ns\": %llu}\n",
           (unsigned long long)w->shape.bytes, (unsigned long long)w->placement.device_bytes,
           (unsigned long long)(now_ns() - start));
    fflush(stdout);
}

static void run(struct workload *w, enum window window, uint64_t warm, uint64_t steps)
{
    for (uint64_t step = 0; step < warm + steps; step++) {
        uint64_t start = now_ns(), hash;
        const char *phase;

        if (step == warm && window == WINDOW_STEPS)
            CUDA_CHECK(cuProfilerStart());
        hash = run_step(w, step, &phase);
        if (step == 0 && window == WINDOW_FIRST)
            CUDA_CHECK(cuProfilerStop());
        printf("{\"step\": %llu, \"measured\": %s, \"phase\": \"%s\", \"ns\": %llu, "
               "\"hash\": \"%016llx\"}\n",
               (unsigned long long)step, step < warm ? "false" : "true", phase,
               (unsigned long long)(now_ns() - start), (unsigned long long)hash);
        fflush(stdout);
    }
    if (window == WINDOW_STEPS)
        CUDA_CHECK(cuProfilerStop());
}

static void print_memory(uint64_t start, uint64_t steps)
{
    struct mallinfo2 info = mallinfo2();
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (!file || fscanf(file, "%*u %lu", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    printf("{\"ns\": %llu, \"steps\": %llu, \"heap_bytes\": %zu, \"resident_bytes\": %llu}\n",
           (unsigned long long)(now_ns() - start), (unsigned long long)steps,
           info.uordblks + info.hblkhd,
           (unsigned long long)pages * (unsigned long long)sysconf(_SC_PAGESIZE));
    fflush(stdout);
}

static void run_long(struct workload *w, double seconds)
{
    uint64_t start = now_ns(), steps = 0;
    const char *phase;

    for (int sample = 0; sample <= MEMORY_SAMPLES; sample++) {
        uint64_t until = start + (uint64_t)(seconds * 1e9 * sample / MEMORY_SAMPLES);

        do {
            CUdeviceptr buffer;

            CUDA_CHECK(cuMemAlloc(&buffer, ACTIVATIONS_BYTES));
            (void)run_step(w, steps++, &phase);
            CUDA_CHECK(cuMemFree(buffer));
        } while (now_ns() < until);
        print_memory(start, steps);
    }
}

int main(int argc, char **argv)
{
    static struct workload w;
    uint64_t start = now_ns(), warm = number(argc, argv, "--warm", "6");
    uint64_t steps = number(argc, argv, "--steps", "8");
    double seconds = atof(option(argc, argv, "--seconds", "0"));
    enum placement_mode mode = mode_of(option(argc, argv, "--mode", "plain"));
    enum window window = window_of(option(argc, argv, "--window", "steps"));

    if (shape_create(option(argc, argv, "--shape", "dense"),
                     number(argc, argv, "--mib", "256") << 20,
                     (uint32_t)number(argc, argv, "--tiles", "8"),
                     number(argc, argv, "--seed", "1"), &w.shape)) {
        fprintf(stderr, "workload: --shape takes minilm, dense, phases, moe or alternate\n");
        return 2;
    }
    w.stride_bytes = number(argc, argv, "--stride", "4096");
    w.blocks = (unsigned int)number(argc, argv, "--blocks", "0");
    w.host_ns = number(argc, argv, "--host-ns", "0");
    prctl(PR_SET_TIMERSLACK, 1ul);
    if (has_flag(argc, argv, "--trace")) {
        print_trace(&w, warm + steps);
        return 0;
    }
    prepare(&w);
    if (window != WINDOW_STEPS)
        CUDA_CHECK(cuProfilerStart());
    prepare_working_memory(&w);
    placement_create(&w.placement, mode, &w.shape, warm + steps,
                     number(argc, argv, "--budget-bytes", "0"), w.stream);
    CUDA_CHECK(cuCtxSynchronize()); /* copies return before the last bytes are there */
    if (window == WINDOW_LOAD)
        CUDA_CHECK(cuProfilerStop());
    print_loaded(&w, start);
    if (seconds > 0)
        run_long(&w, seconds);
    else
        run(&w, window, warm, steps);
    return 0;
}
