/* probe.c - runs one probe and prints its result.
 *
 *     probe NAME [--mib N] [--rounds N] [--kernel-ms N]
 *     probe --list        the names, one a line
 *
 * Prints one JSON object: what was asked of which card and driver, and the figures. Exit 77 and a
 * reason on standard error where there is no GPU or it has no answer; exit 1 when a call failed.
 */
#include "probe.h"

#include <string.h>
#include <time.h>

const CUmemLocation probe_device = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
const CUmemLocation probe_host_memory = {CU_MEM_LOCATION_TYPE_HOST, 0};

struct row {
    const char *name, *asks;
    void (*run)(struct probe *p);
};

static const struct row g_rows[] = {
#define X(name, asks) {#name, asks, probe_##name},
    PROBES(X)
#undef X
};

#define ROWS (sizeof(g_rows) / sizeof(g_rows[0]))

double probe_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double probe_median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), by_size);
    return values[count / 2];
}

struct probe_time probe_measure(struct probe *p, probe_work before, probe_work work, void *state)
{
    double whole[PROBE_ROUNDS_MAX], calls[PROBE_ROUNDS_MAX];

    for (int i = -1; i < p->rounds; i++) {
        double start, called;

        if (before)
            before(p, state);
        CUDA_CHECK(cuStreamSynchronize(p->stream));
        start = probe_now_ns();
        work(p, state);
        called = probe_now_ns();
        CUDA_CHECK(cuStreamSynchronize(p->stream));
        if (i >= 0) {
            whole[i] = probe_now_ns() - start;
            calls[i] = called - start;
        }
    }
    return (struct probe_time){probe_median(calls, p->rounds), probe_median(whole, p->rounds)};
}

void probe_skip(const char *reason)
{
    fprintf(stderr, "probe: skipped: %s\n", reason);
    exit(77);
}

void probe_fail(const char *reason)
{
    fprintf(stderr, "probe: %s\n", reason);
    exit(1);
}

void *probe_host_alloc(size_t bytes)
{
    void *memory = aligned_alloc(4096, bytes);

    if (!memory)
        probe_fail("no memory on the host");
    memset(memory, 1, bytes);
    return memory;
}

int probe_attribute(CUdevice_attribute attribute)
{
    int value = 0;

    return cuDeviceGetAttribute(&value, attribute, 0) == CUDA_SUCCESS ? value : 0;
}

void probe_open(struct probe *p)
{
    size_t total_bytes = 0;
    CUmodule module;

    if (cuInit(0) != CUDA_SUCCESS)
        probe_skip("no GPU: cuInit failed");
    CUDA_CHECK(cuCtxCreate(&p->context, NULL, 0, 0));
    CUDA_CHECK(cuMemGetInfo(&p->free_bytes, &total_bytes));
    if (p->bytes > p->free_bytes / 4)
        p->bytes = p->free_bytes / 4;
    p->bytes = p->bytes / PAGE_BYTES * PAGE_BYTES;
    if (!p->bytes)
        probe_skip("the card has no memory free");
    p->multiprocessors = probe_attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    CUDA_CHECK(cuModuleLoadData(&p->test_module, ptx_test_kernels));
    CUDA_CHECK(cuModuleLoadData(&module, ptx_probe_kernels));
    CUDA_CHECK(cuModuleGetFunction(&p->read, module, "pk_read"));
    CUDA_CHECK(cuModuleGetFunction(&p->write, module, "pk_write"));
    CUDA_CHECK(cuStreamCreate(&p->stream, CU_STREAM_NON_BLOCKING));
    CUDA_CHECK(cuMemAlloc(&p->sum, sizeof(uint64_t)));
    CUDA_CHECK(cuMemsetD8(p->sum, 0, sizeof(uint64_t)));
    CUDA_CHECK(cuCtxSynchronize()); /* before work of the stream, which does not wait for it */
}

/* Blocks enough to fill the device, and none without work. */
static unsigned int blocks(const struct probe *p, size_t bytes, size_t stride_bytes)
{
    size_t wanted = (bytes / stride_bytes + PK_THREADS - 1) / PK_THREADS;
    size_t most = (size_t)(p->multiprocessors > 0 ? p->multiprocessors : 1) * 8;

    return (unsigned int)(wanted < most ? wanted : most);
}

void probe_read(struct probe *p, CUdeviceptr ptr, size_t bytes, size_t stride_bytes,
                unsigned int rounds)
{
    void *params[] = {&ptr, &bytes, &stride_bytes, &rounds, &p->sum};

    CUDA_CHECK(cuLaunchKernel(p->read, blocks(p, bytes, stride_bytes), 1, 1, PK_THREADS, 1, 1, 0,
                              p->stream, params, NULL));
}

void probe_write(struct probe *p, CUdeviceptr ptr, size_t bytes, size_t stride_bytes,
                 uint64_t value)
{
    void *params[] = {&ptr, &bytes, &stride_bytes, &value};

    CUDA_CHECK(cuLaunchKernel(p->write, blocks(p, bytes, stride_bytes), 1, 1, PK_THREADS, 1, 1, 0,
                              p->stream, params, NULL));
}

static void member(struct probe *p, const char *prefix, const char *name)
{
    fprintf(p->out, ",\n  \"%s%s%s\": ", prefix, *prefix ? "_" : "", name);
}

void probe_figure(struct probe *p, const char *prefix, const char *name, double value)
{
    member(p, prefix, name);
    fprintf(p->out, "%.*f", value < 1000 && value != (double)(long)value ? 3 : 0, value);
}

void probe_number(struct probe *p, const char *name, double value)
{
    probe_figure(p, "", name, value);
}

void probe_text(struct probe *p, const char *name, const char *value)
{
    member(p, "", name);
    fprintf(p->out, "\"%s\"", value);
}

void probe_answer(struct probe *p, const char *name, int is_so)
{
    member(p, "", name);
    fprintf(p->out, "%s", is_so ? "true" : "false");
}

static void print_head(const struct probe *p, const struct row *row)
{
    char date[32] = "", card[128] = "";
    time_t now = time(NULL);
    int driver = 0;

    strftime(date, sizeof(date), "%FT%TZ", gmtime(&now));
    CUDA_CHECK(cuDeviceGetName(card, sizeof(card), 0));
    CUDA_CHECK(cuDriverGetVersion(&driver));
    printf("{\"probe\": \"%s\",\n  \"asks\": \"%s\",\n  \"date\": \"%s\", \"driver\": %d, "
           "\"card\": \"%s\", \"free_bytes\": %zu, \"rounds\": %d, \"bytes\": %zu",
           row->name, row->asks, date, driver, card, p->free_bytes, p->rounds, p->bytes);
}

/* The value of an option, and the end of the program where it is none. */
static double option(int argc, char **argv, const char *name, double fallback, double most)
{
    for (int i = 2; i + 1 < argc; i += 2) {
        char *end = NULL;
        double value;

        if (strcmp(argv[i], name) != 0)
            continue;
        value = strtod(argv[i + 1], &end);
        if (*end || !(value >= 1) || value > most) {
            fprintf(stderr, "probe: %s takes a number from 1 to %.0f\n", name, most);
            exit(2);
        }
        return value;
    }
    return fallback;
}

static void run(const struct row *row, struct probe *p)
{
    char *figures = NULL;
    size_t bytes = 0;

    p->out = open_memstream(&figures, &bytes);
    if (!p->out)
        probe_fail("no memory on the host");
    row->run(p);
    fclose(p->out);
    print_head(p, row);
    printf("%s}\n", figures);
    free(figures);
}

int main(int argc, char **argv)
{
    struct probe p = {0};

    p.bytes = (size_t)option(argc, argv, "--mib", 256, 1 << 20) * MIB;
    p.rounds = (int)option(argc, argv, "--rounds", 9, PROBE_ROUNDS_MAX);
    p.kernel_ns = option(argc, argv, "--kernel-ms", 20, 1000) * 1e6;
    for (size_t i = 0; argc > 1 && i < ROWS; i++) {
        if (strcmp(argv[1], "--list") == 0)
            puts(g_rows[i].name);
        if (strcmp(argv[1], g_rows[i].name) == 0) {
            run(&g_rows[i], &p);
            return 0;
        }
    }
    if (argc > 1 && strcmp(argv[1], "--list") == 0)
        return 0;
    fprintf(stderr, "usage: probe NAME [--mib N] [--rounds N] [--kernel-ms N] | --list\n");
    return 2;
}
