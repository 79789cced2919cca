/* encoder.c - see encoder.h. */
#include "encoder.h"

#include <math.h>
#include <stdarg.h>

#include "message.h"

/* What minilm.cu wants of its launches. */
#define WARP            32
#define POOL_THREADS    128
#define TILE            4
#define TILES_WIDE      8
#define TILES_HIGH      4
#define NO_ACTIVATION   0u
#define GELU_ACTIVATION 1u

#define NAME_BYTES_MAX 128

extern const char ptx_minilm[];

/* A matrix [cols out, depth in] and its bias. */
struct dense {
    CUdeviceptr weight, bias;
    uint32_t cols, depth;
};

struct norm {
    CUdeviceptr gamma, beta;
};

struct layer {
    struct dense query, key, value, attention_output, intermediate, output;
    struct norm attention_norm, output_norm;
};

struct embeddings {
    CUdeviceptr words, positions, types;
    struct norm norm;
};

struct encoder {
    const struct model_config *config;
    const struct weights *weights;
    CUmodule module;
    CUfunction embed_tokens, linear, attention, add_norm, mean_pool;
    struct embeddings embeddings;
    struct layer *layers;
    /* Activations: rows of max_tokens tokens, but for the ids and the pooled vector. */
    CUdeviceptr ids, hidden, query, key, value, mixed, wide, pooled;
};

static CUdeviceptr find(const struct encoder *encoder, uint32_t rows, uint32_t cols,
                        const char *format, ...)
{
    char name[NAME_BYTES_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(name, sizeof(name), format, args);
    va_end(args);
    return weights_find(encoder->weights, name, rows, cols);
}

static struct dense find_dense(const struct encoder *encoder, uint32_t layer, const char *name,
                               uint32_t cols, uint32_t depth)
{
    return (struct dense){
        .weight = find(encoder, cols, depth, "encoder.layer.%u.%s.weight", layer, name),
        .bias = find(encoder, cols, 0, "encoder.layer.%u.%s.bias", layer, name),
        .cols = cols,
        .depth = depth,
    };
}

static struct norm find_norm(const struct encoder *encoder, const char *prefix)
{
    uint32_t hidden = encoder->config->hidden;

    return (struct norm){
        .gamma = find(encoder, hidden, 0, "%s.LayerNorm.weight", prefix),
        .beta = find(encoder, hidden, 0, "%s.LayerNorm.bias", prefix),
    };
}

static void find_layer(const struct encoder *encoder, uint32_t index, struct layer *out)
{
    uint32_t hidden = encoder->config->hidden, wide = encoder->config->intermediate;
    char prefix[NAME_BYTES_MAX];

    out->query = find_dense(encoder, index, "attention.self.query", hidden, hidden);
    out->key = find_dense(encoder, index, "attention.self.key", hidden, hidden);
    out->value = find_dense(encoder, index, "attention.self.value", hidden, hidden);
    out->attention_output = find_dense(encoder, index, "attention.output.dense", hidden, hidden);
    out->intermediate = find_dense(encoder, index, "intermediate.dense", wide, hidden);
    out->output = find_dense(encoder, index, "output.dense", hidden, wide);
    snprintf(prefix, sizeof(prefix), "encoder.layer.%u.attention.output", index);
    out->attention_norm = find_norm(encoder, prefix);
    snprintf(prefix, sizeof(prefix), "encoder.layer.%u.output", index);
    out->output_norm = find_norm(encoder, prefix);
}

static void find_weights(struct encoder *encoder)
{
    const struct model_config *config = encoder->config;

    encoder->embeddings = (struct embeddings){
        .words =
            find(encoder, config->vocabulary, config->hidden, "embeddings.word_embeddings.weight"),
        .positions = find(encoder, config->positions, config->hidden,
                          "embeddings.position_embeddings.weight"),
        .types = find(encoder, config->token_types, config->hidden,
                      "embeddings.token_type_embeddings.weight"),
        .norm = find_norm(encoder, "embeddings"),
    };
    encoder->layers = allocate(config->layers * sizeof(encoder->layers[0]));
    for (uint32_t i = 0; i < config->layers; i++)
        find_layer(encoder, i, &encoder->layers[i]);
}

static CUfunction load_function(const struct encoder *encoder, const char *name)
{
    CUfunction function;

    check(cuModuleGetFunction(&function, encoder->module, name), name);
    return function;
}

static CUdeviceptr allocate_floats(size_t count)
{
    CUdeviceptr ptr;

    check(cuMemAlloc(&ptr, count * sizeof(float)), "cuMemAlloc for activations");
    return ptr;
}

struct encoder *encoder_open(const struct model_config *config, const struct weights *weights)
{
    struct encoder *encoder = allocate(sizeof(*encoder));
    size_t floats = (size_t)config->max_tokens * config->hidden;

    encoder->config = config;
    encoder->weights = weights;
    find_weights(encoder);

    check(cuModuleLoadData(&encoder->module, ptx_minilm), "cuModuleLoadData");
    encoder->embed_tokens = load_function(encoder, "embed_tokens");
    encoder->linear = load_function(encoder, "linear");
    encoder->attention = load_function(encoder, "attention");
    encoder->add_norm = load_function(encoder, "add_norm");
    encoder->mean_pool = load_function(encoder, "mean_pool");

    check(cuMemAlloc(&encoder->ids, config->max_tokens * sizeof(uint32_t)), "cuMemAlloc for ids");
    encoder->hidden = allocate_floats(floats);
    encoder->query = allocate_floats(floats);
    encoder->key = allocate_floats(floats);
    encoder->value = allocate_floats(floats);
    encoder->mixed = allocate_floats(floats);
    encoder->wide = allocate_floats((size_t)config->max_tokens * config->intermediate);
    encoder->pooled = allocate_floats(config->hidden);
    return encoder;
}

void encoder_close(struct encoder *encoder)
{
    const CUdeviceptr buffers[] = {encoder->ids,  encoder->hidden, encoder->query,
                                   encoder->key,  encoder->value,  encoder->mixed,
                                   encoder->wide, encoder->pooled};

    for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++)
        check(cuMemFree(buffers[i]), "cuMemFree");
    check(cuModuleUnload(encoder->module), "cuModuleUnload");
    free(encoder->layers);
    free(encoder);
}

static uint32_t divide_up(uint32_t count, uint32_t by)
{
    return (count + by - 1) / by;
}

/* out [rows, dense->cols] = activation(in * weight + bias) */
static void run_linear(const struct encoder *encoder, const struct dense *dense, CUdeviceptr in,
                       CUdeviceptr out, uint32_t rows, uint32_t activation)
{
    CUdeviceptr weight = dense->weight, bias = dense->bias;
    uint32_t cols = dense->cols, depth = dense->depth;
    void *params[] = {&out, &in, &weight, &bias, &rows, &cols, &depth, &activation};

    check(cuLaunchKernel(encoder->linear, divide_up(cols, TILE * TILES_WIDE),
                         divide_up(rows, TILE * TILES_HIGH), 1, TILES_WIDE, TILES_HIGH, 1, 0, NULL,
                         params, NULL),
          "launch of linear");
}

/* hidden = layer_norm(hidden + update) */
static void run_add_norm(const struct encoder *encoder, const struct norm *norm, CUdeviceptr update,
                         uint32_t rows)
{
    CUdeviceptr hidden = encoder->hidden, gamma = norm->gamma, beta = norm->beta;
    float epsilon = encoder->config->epsilon;
    uint32_t width = encoder->config->hidden;
    void *params[] = {&hidden, &update, &gamma, &beta, &epsilon, &width};

    check(cuLaunchKernel(encoder->add_norm, rows, 1, 1, WARP, 1, 1, 0, NULL, params, NULL),
          "launch of add_norm");
}

static void run_embeddings(const struct encoder *encoder, uint32_t rows)
{
    struct embeddings tables = encoder->embeddings;
    CUdeviceptr hidden = encoder->hidden, ids = encoder->ids;
    float epsilon = encoder->config->epsilon;
    uint32_t width = encoder->config->hidden;
    void *params[] = {&hidden,           &ids,          &tables.words,
                      &tables.positions, &tables.types, &tables.norm.gamma,
                      &tables.norm.beta, &epsilon,      &width};

    check(cuLaunchKernel(encoder->embed_tokens, rows, 1, 1, WARP, 1, 1, 0, NULL, params, NULL),
          "launch of embed_tokens");
}

/* mixed = softmax(query * keys) * values, head by head */
static void run_attention(const struct encoder *encoder, uint32_t rows)
{
    CUdeviceptr mixed = encoder->mixed, query = encoder->query;
    CUdeviceptr key = encoder->key, value = encoder->value;
    uint32_t heads = encoder->config->heads, width = encoder->config->hidden;
    uint32_t head_width = width / heads;
    float scale = 1.0f / sqrtf((float)head_width);
    void *params[] = {&mixed, &query, &key, &value, &rows, &width, &head_width, &scale};

    check(cuLaunchKernel(encoder->attention, rows, heads, 1, WARP, 1, 1,
                         rows * (uint32_t)sizeof(float), NULL, params, NULL),
          "launch of attention");
}

static void run_layer(const struct encoder *encoder, const struct layer *layer, uint32_t rows)
{
    run_linear(encoder, &layer->query, encoder->hidden, encoder->query, rows, NO_ACTIVATION);
    run_linear(encoder, &layer->key, encoder->hidden, encoder->key, rows, NO_ACTIVATION);
    run_linear(encoder, &layer->value, encoder->hidden, encoder->value, rows, NO_ACTIVATION);
    run_attention(encoder, rows);
    run_linear(encoder, &layer->attention_output, encoder->mixed, encoder->query, rows,
               NO_ACTIVATION);
    run_add_norm(encoder, &layer->attention_norm, encoder->query, rows);
    run_linear(encoder, &layer->intermediate, encoder->hidden, encoder->wide, rows,
               GELU_ACTIVATION);
    run_linear(encoder, &layer->output, encoder->wide, encoder->query, rows, NO_ACTIVATION);
    run_add_norm(encoder, &layer->output_norm, encoder->query, rows);
}

void encoder_run(struct encoder *encoder, const uint32_t *ids, size_t count, float *out)
{
    uint32_t rows = (uint32_t)count, width = encoder->config->hidden;
    CUdeviceptr pooled = encoder->pooled, hidden = encoder->hidden;
    void *params[] = {&pooled, &hidden, &rows, &width};

    check(cuMemcpyHtoD(encoder->ids, ids, count * sizeof(ids[0])), "cuMemcpyHtoD of the ids");
    run_embeddings(encoder, rows);
    for (uint32_t i = 0; i < encoder->config->layers; i++)
        run_layer(encoder, &encoder->layers[i], rows);
    check(cuLaunchKernel(encoder->mean_pool, 1, 1, 1, POOL_THREADS, 1, 1, 0, NULL, params, NULL),
          "launch of mean_pool");
    check(cuMemcpyDtoH(out, encoder->pooled, width * sizeof(out[0])),
          "cuMemcpyDtoH of the embedding");
}
