/* launch.c - operations that are kernels, each with what it does to the shadow. */
#include "stress.h"

#include <string.h>

#define ARGS_MAX   40
#define ROWS_MAX   64u
#define TABLES_MAX 8

struct args {
    void *value[ARGS_MAX];
    size_t bytes[ARGS_MAX];
    unsigned count;
};

#define ARG(args, variable) add_arg(args, &(variable), sizeof(variable))

static void add_arg(struct args *args, void *value, size_t bytes)
{
    args->value[args->count] = value;
    args->bytes[args->count++] = bytes;
}

/* The same parameters as one buffer, laid out as the kernel declares them. */
static size_t pack(const struct args *args, unsigned char *buffer)
{
    size_t at = 0;

    for (unsigned i = 0; i < args->count; i++) {
        size_t alignment = args->bytes[i] < 8 ? args->bytes[i] : 8;

        at = (at + alignment - 1) / alignment * alignment;
        memcpy(buffer + at, args->value[i], args->bytes[i]);
        at += args->bytes[i];
    }
    return at;
}

/* Launch by one of the ways there are. */
static void launch(const struct worker *w, const struct operation *op, CUfunction function,
                   uint64_t words, struct args *args)
{
    unsigned blocks = words < 64 * 128 ? (unsigned)(words + 127) / 128 : 64;
    CUstream stream = operation_stream(w, op);
    CUlaunchConfig config = {blocks, 1, 1, 128, 1, 1, 0, stream, NULL, 0};
    unsigned char buffer[ARGS_MAX * 8];
    size_t bytes = pack(args, buffer);
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                     CU_LAUNCH_PARAM_END};
    unsigned way = op->draw >> 16 & 7;

    if (way == 0)
        CUDA_CHECK(cuLaunchKernelEx(&config, function, args->value, NULL));
    else if (way == 1)
        CUDA_CHECK(cuLaunchKernel(function, blocks, 1, 1, 128, 1, 1, 0, stream, NULL, extra));
    else if (way == 2)
        CUDA_CHECK(
            cuLaunchCooperativeKernel(function, blocks, 1, 1, 128, 1, 1, 0, stream, args->value));
    else if (op->lane == LANE_PER_THREAD && way < 6)
        CUDA_CHECK(
            cuLaunchKernel_ptsz(function, blocks, 1, 1, 128, 1, 1, 0, NULL, args->value, NULL));
    else
        CUDA_CHECK(cuLaunchKernel(function, blocks, 1, 1, 128, 1, 1, 0, stream, args->value, NULL));
}

static struct tensor *operand(const struct operation *op, unsigned i)
{
    return &g_tensors[op->tensor[i]];
}

/* As many words as all of the operands have, or fewer where the draw says so. */
static uint64_t common_words(const struct operation *op)
{
    uint64_t n = UINT64_MAX;

    for (unsigned i = 0; i < op->operands; i++)
        if (operand(op, i)->words < n)
            n = operand(op, i)->words;
    return op->draw >> 20 & 3 ? n : n / 2 + 1;
}

static void fill_or_triple(struct worker *w, const struct operation *op)
{
    struct tensor *t = operand(op, 0);
    uint32_t *words = shadow_words(t), seed = (uint32_t)(op->draw >> 32);
    uint64_t n = common_words(op);
    struct args args = {0};

    ARG(&args, t->p);
    ARG(&args, n);
    if (op->kind == KIND_FILL) {
        ARG(&args, seed);
        launch(w, op, g_sides[op->side].k.fill, n, &args);
        fill_pattern(words, n, seed);
    } else {
        launch(w, op, g_sides[op->side].k.triple, n, &args);
        for (uint64_t i = 0; i < n; i++)
            words[i] = words[i] * 3 + 1;
    }
}

static void copy(struct worker *w, const struct operation *op)
{
    struct tensor *to = operand(op, 0), *from = operand(op, 1);
    uint64_t n = common_words(op);
    struct args args = {0};

    ARG(&args, to->p);
    ARG(&args, from->p);
    ARG(&args, n);
    launch(w, op, g_sides[op->side].k.copy, n, &args);
    memcpy(to->shadow, from->shadow, n * 4);
}

static void by_value(struct worker *w, const struct operation *op)
{
    struct tensor *to = operand(op, 0), *left = operand(op, 1), *right = operand(op, 2);
    struct tk_pair pair = {.scale = (uint32_t)(op->draw >> 32), .n = common_words(op)};
    uint32_t *words = shadow_words(to);
    struct args args = {0};

    pair.dst = (unsigned *)(uintptr_t)to->p;
    pair.left = (const unsigned *)(uintptr_t)left->p;
    pair.right = (const unsigned *)(uintptr_t)right->p;
    ARG(&args, pair);
    launch(w, op, g_sides[op->side].k.by_value, pair.n, &args);
    for (uint64_t i = 0; i < pair.n; i++)
        words[i] = shadow_words(left)[i] * pair.scale + shadow_words(right)[i];
}

/* The sum of many tensors, each times its place. The last parameter is the one that is written. */
static void sum(struct worker *w, const struct operation *op)
{
    CUfunction function =
        op->kind == KIND_EIGHT ? g_sides[op->side].k.eight : g_sides[op->side].k.thirty_two;
    struct tensor *to = operand(op, 0);
    uint64_t n = common_words(op);
    struct args args = {0};

    for (unsigned i = 1; i < op->operands; i++)
        ARG(&args, operand(op, i)->p);
    ARG(&args, to->p);
    ARG(&args, n);
    launch(w, op, function, n, &args);
    memset(to->shadow, 0, n * 4);
    for (unsigned t = 1; t < op->operands; t++)
        for (uint64_t i = 0; i < n; i++)
            shadow_words(to)[i] += t * shadow_words(operand(op, t))[i];
}

/* Upload bytes into memory that lives on the operation's stream alone. */
static CUdeviceptr upload_scratch(struct worker *w, const struct operation *op, const void *bytes,
                                  size_t count)
{
    CUstream stream = operation_stream(w, op);
    struct slot *slot = slot_take(w);
    unsigned char *staged = op->draw >> 24 & 1 ? slot->pinned : slot->pageable;
    CUdeviceptr p;

    memcpy(staged, bytes, count);
    CUDA_CHECK(cuMemAllocAsync(&p, count, stream));
    CUDA_CHECK(cuMemcpyHtoDAsync(p, staged, count, stream));
    slot_give(slot, stream);
    return p;
}

/* Rows of a table, no row twice; the operand that has the rows in a row is the other one. */
static void gather_or_scatter(struct worker *w, const struct operation *op)
{
    int gathers = op->kind == KIND_GATHER;
    struct tensor *table = operand(op, gathers), *dense = operand(op, !gathers);
    uint64_t row_words = 16 + (op->draw >> 32 & 63), count = ROWS_MAX, total;
    uint32_t rows[ROWS_MAX];
    struct args args = {0};
    CUdeviceptr list;

    if (count > dense->words / row_words)
        count = dense->words / row_words;
    total = table->words / row_words;
    if (count > total)
        count = total;
    for (uint64_t r = 0; r < count; r++)
        rows[r] = (uint32_t)(r * (total / count) + (op->draw >> 40) % (total / count));
    list = upload_scratch(w, op, rows, count * sizeof(*rows));
    if (gathers)
        ARG(&args, dense->p);
    ARG(&args, table->p);
    ARG(&args, list);
    if (!gathers)
        ARG(&args, dense->p);
    ARG(&args, count);
    ARG(&args, row_words);
    launch(w, op, gathers ? g_sides[op->side].k.gather : g_sides[op->side].scatter,
           count * row_words, &args);
    CUDA_CHECK(cuMemFreeAsync(list, operation_stream(w, op)));
    for (uint64_t i = 0; i < count * row_words; i++) {
        uint32_t *word = shadow_words(table) + rows[i / row_words] * row_words + i % row_words;

        if (gathers)
            shadow_words(dense)[i] = *word;
        else
            *word += shadow_words(dense)[i];
    }
}

/* w += a * b, in as many rows and columns as the operands have words for. */
static void merge(struct worker *w, const struct operation *op)
{
    struct tensor *weight = operand(op, 0), *a = operand(op, 1), *b = operand(op, 2);
    uint32_t rank = 1 + (op->draw >> 32 & 3);
    uint64_t columns = 32 + (op->draw >> 40 & 31), rows = weight->words / columns;
    struct args args = {0};

    if (rows > a->words / rank)
        rows = a->words / rank;
    ARG(&args, weight->p);
    ARG(&args, a->p);
    ARG(&args, b->p);
    ARG(&args, rows);
    ARG(&args, columns);
    ARG(&args, rank);
    launch(w, op, g_sides[op->side].merge, rows * columns, &args);
    for (uint64_t i = 0; i < rows * columns; i++)
        shadow_words(weight)[i] += uk_merge_word(shadow_words(a), shadow_words(b), i / columns,
                                                 i % columns, columns, rank);
}

static void optimize(struct worker *w, const struct operation *op)
{
    struct tensor *weight = operand(op, 0), *m = operand(op, 1), *v = operand(op, 2);
    struct tensor *gradient = operand(op, 3);
    struct uk_group group = {.rate = (uint32_t)(op->draw >> 32), .n = common_words(op)};
    struct args args = {0};

    group.value.weight = (unsigned *)(uintptr_t)weight->p;
    group.value.gradient = (const unsigned *)(uintptr_t)gradient->p;
    group.state.momentum = (unsigned *)(uintptr_t)m->p;
    group.state.variance = (unsigned *)(uintptr_t)v->p;
    ARG(&args, group);
    launch(w, op, g_sides[op->side].optimize, group.n, &args);
    for (uint64_t i = 0; i < group.n; i++)
        uk_step_word(group.rate, shadow_words(gradient)[i], shadow_words(weight) + i,
                     shadow_words(m) + i, shadow_words(v) + i);
}

/* The addresses of tensors stand in device memory alone: nobody can know what will be touched. */
static void indirect(struct worker *w, const struct operation *op)
{
    unsigned reads = op->kind == KIND_INDIRECT_READ;
    uint32_t count = op->operands - reads, value = (uint32_t)(op->draw >> 32);
    CUdeviceptr tables[TABLES_MAX], list;
    uint64_t n = common_words(op);
    struct args args = {0};

    for (unsigned t = 0; t < count; t++)
        tables[t] = operand(op, t + reads)->p;
    list = upload_scratch(w, op, tables, count * sizeof(*tables));
    if (reads)
        ARG(&args, operand(op, 0)->p);
    ARG(&args, list);
    ARG(&args, count);
    ARG(&args, n);
    if (!reads)
        ARG(&args, value);
    launch(w, op, reads ? g_sides[op->side].k.indirect : g_sides[op->side].indirect, n, &args);
    CUDA_CHECK(cuMemFreeAsync(list, operation_stream(w, op)));
    if (reads)
        memset(operand(op, 0)->shadow, 0, n * 4);
    for (uint32_t t = 0; t < count; t++)
        for (uint64_t i = 0; i < n; i++) {
            if (reads)
                shadow_words(operand(op, 0))[i] += shadow_words(operand(op, t + 1))[i];
            else
                shadow_words(operand(op, t))[i] += value * (t + 1);
        }
}

/* What a kernel reads, as against what a copy reads. */
static void hash(struct worker *w, const struct operation *op)
{
    CUstream stream = operation_stream(w, op);
    struct tensor *t = operand(op, 0);
    CUdeviceptr out = w->sums[op->side];
    struct slot *slot = slot_take(w);
    uint64_t got;
    void *params[] = {&t->p, &t->words, &out};

    launch_block(g_sides[op->side].k.hash, stream, params);
    CUDA_CHECK(cuMemcpyDtoHAsync(slot->pinned, out, sizeof(got), stream));
    CUDA_CHECK(cuStreamSynchronize(stream));
    memcpy(&got, slot->pinned, sizeof(got));
    EXPECT(got == tk_hash_of(shadow_words(t), t->words), "a kernel reads tensor %u otherwise",
           op->tensor[0]);
}

/* A kernel that lasts, so that what is behind it in its stream comes late. */
static void work(struct worker *w, const struct operation *op)
{
    CUdeviceptr out = w->sums[op->side] + 8;
    uint64_t rounds = 1000 + (op->draw >> 32) % 2000000;
    uint32_t x = 1;
    struct args args = {0};

    ARG(&args, out);
    ARG(&args, x);
    ARG(&args, rounds);
    launch(w, op, g_sides[op->side].k.work, 1, &args);
}

void operation_launch(struct worker *w, const struct operation *op)
{
    static void (*const run[KIND_COUNT])(struct worker *, const struct operation *) = {
        [KIND_FILL] = fill_or_triple,
        [KIND_TRIPLE] = fill_or_triple,
        [KIND_COPY] = copy,
        [KIND_BY_VALUE] = by_value,
        [KIND_EIGHT] = sum,
        [KIND_THIRTY_TWO] = sum,
        [KIND_GATHER] = gather_or_scatter,
        [KIND_SCATTER] = gather_or_scatter,
        [KIND_MERGE] = merge,
        [KIND_OPTIMIZE] = optimize,
        [KIND_INDIRECT_READ] = indirect,
        [KIND_INDIRECT_WRITE] = indirect,
        [KIND_HASH] = hash,
        [KIND_WORK] = work,
    };

    run[op->kind](w, op);
}
