#include "bench/shapes.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUND_BYTES ((uint64_t)256)
#define TENSORS_MAX 512

/* Sizes in hundredths of a square matrix of the model's hidden size. A language model's
 * feed-forward matrices are 2.75 squares, its keys and values a quarter (grouped queries), its
 * vocabulary 7.8 (the embeddings and the head are one tensor). The sentence encoder's: 4 squares, 1
 * square, 79.5 and 1.3. */
#define SQUARE           100
#define KEYS             25
#define FORWARD          275
#define VOCABULARY       780
#define ENCODER_FORWARD  400
#define ENCODER_WORDS    7950
#define ENCODER_PLACES   133
#define ENCODER_LAYERS   6
#define DENSE_LAYERS     32
#define PHASES_LAYERS    16
#define MOE_LAYERS       8
#define ALTERNATE_LAYERS 12
#define TABLE_ROWS       16384

#define EXPERTS     8
#define EXPERTS_RUN 2
#define DECODES     7 /* behind each prefill */
#define TURNS       2 /* of a model, before it is the other's turn */

static uint64_t random_of(uint64_t seed, uint64_t a, uint64_t b)
{
    uint64_t z = seed * 0x9e3779b97f4a7c15ull + a * 0xbf58476d1ce4e5b9ull + b;

    for (int i = 0; i < 2; i++) {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        z ^= z >> 31;
    }
    return z;
}

/* Until the shape is scaled, a tensor's bytes are its relative size, and row_bytes only tells that
 * there are rows. */
static struct tensor *add(struct shape *shape, uint32_t model, uint64_t size, const char *name)
{
    struct tensor *t = &shape->tensor[shape->tensor_count++];

    snprintf(t->name, sizeof(t->name), "%u.%u.%s", model, shape->layer_count, name);
    t->bytes = size;
    t->module = shape->module_count;
    t->layer = shape->layer_count;
    t->expert = EXPERT_NONE;
    t->model = model;
    return t;
}

static void add_table(struct shape *shape, uint64_t size, const char *name)
{
    struct tensor *t = add(shape, 0, size, name);

    t->is_table = 1;
    t->row_bytes = 1;
}

static void end_module(struct shape *shape)
{
    shape->module_count++;
}

static void end_layer(struct shape *shape)
{
    shape->layer_count++;
}

static void add_attention(struct shape *shape, uint32_t model, uint64_t keys)
{
    add(shape, model, SQUARE, "q");
    add(shape, model, keys, "k");
    add(shape, model, keys, "v")->attends_then = 1;
    add(shape, model, SQUARE, "o");
}

static void add_forward(struct shape *shape, uint32_t model, uint32_t expert)
{
    static const char *const names[] = {"gate", "up", "down"};

    for (int i = 0; i < 3; i++)
        add(shape, model, FORWARD, names[i])->expert = expert;
}

static void make_encoder(struct shape *shape)
{
    add_table(shape, ENCODER_WORDS, "words");
    add_table(shape, ENCODER_PLACES, "places");
    end_module(shape);
    end_layer(shape);
    for (int l = 0; l < ENCODER_LAYERS; l++) {
        add_attention(shape, 0, SQUARE);
        add(shape, 0, ENCODER_FORWARD, "up");
        add(shape, 0, ENCODER_FORWARD, "down");
        end_module(shape);
        end_layer(shape);
    }
}

static void make_language_model(struct shape *shape, uint32_t model, int layers, uint32_t experts)
{
    for (int l = 0; l < layers; l++) {
        add_attention(shape, model, KEYS);
        if (experts)
            end_module(shape);
        else
            add_forward(shape, model, EXPERT_NONE);
        for (uint32_t e = 0; e < experts; e++) {
            add_forward(shape, model, e);
            end_module(shape);
        }
        if (!experts)
            end_module(shape);
        end_layer(shape);
    }
    add(shape, model, VOCABULARY, "head")->row_bytes = 1; /* tied to the embeddings */
    end_module(shape);
    end_layer(shape);
}

static int make(struct shape *shape, const char *name)
{
    if (!strcmp(name, "minilm")) {
        shape->kind = SHAPE_MINILM;
        make_encoder(shape);
    } else if (!strcmp(name, "dense")) {
        shape->kind = SHAPE_DENSE;
        make_language_model(shape, 0, DENSE_LAYERS, 0);
    } else if (!strcmp(name, "phases")) {
        shape->kind = SHAPE_PHASES;
        make_language_model(shape, 0, PHASES_LAYERS, 0);
    } else if (!strcmp(name, "moe")) {
        shape->kind = SHAPE_MOE;
        make_language_model(shape, 0, MOE_LAYERS, EXPERTS);
    } else if (!strcmp(name, "alternate")) {
        shape->kind = SHAPE_ALTERNATE;
        make_language_model(shape, 0, ALTERNATE_LAYERS, 0);
        make_language_model(shape, 1, ALTERNATE_LAYERS, 0);
    } else {
        return -1;
    }
    return 0;
}

static void scale(struct shape *shape, uint64_t bytes)
{
    uint64_t size = 0;

    for (uint32_t i = 0; i < shape->tensor_count; i++)
        size += shape->tensor[i].bytes;
    for (uint32_t i = 0; i < shape->tensor_count; i++) {
        struct tensor *t = &shape->tensor[i];
        uint64_t unit = t->row_bytes ? TABLE_ROWS * 16 : ROUND_BYTES;
        uint64_t scaled = (uint64_t)((double)t->bytes / (double)size * (double)bytes);

        t->bytes = scaled < unit ? unit : scaled / unit * unit;
        t->row_bytes = t->row_bytes ? t->bytes / TABLE_ROWS : 0;
        shape->bytes += t->bytes;
        if (t->bytes > shape->bytes_max)
            shape->bytes_max = t->bytes;
    }
}

int shape_create(const char *name, uint64_t bytes, uint32_t tiles, uint64_t seed, struct shape *out)
{
    memset(out, 0, sizeof(*out));
    out->seed = seed;
    out->prefill_tiles = tiles;
    out->tensor = calloc(TENSORS_MAX, sizeof(*out->tensor));
    if (!out->tensor)
        return -1;
    if (make(out, name)) {
        shape_destroy(out);
        return -1;
    }
    scale(out, bytes);
    return 0;
}

void shape_destroy(struct shape *shape)
{
    free(shape->tensor);
    memset(shape, 0, sizeof(*shape));
}

/* Is the expert one of those that the step's token is sent to? They are distinct. */
static int is_routed(const struct shape *shape, uint64_t step, const struct tensor *t)
{
    uint64_t draw = random_of(shape->seed, step + 1, t->layer);
    uint32_t first = (uint32_t)(draw % EXPERTS);
    uint32_t second = (uint32_t)((first + 1 + (draw >> 32) % (EXPERTS - 1)) % EXPERTS);

    return t->expert == first || t->expert == second;
}

static int is_read(const struct shape *shape, uint64_t step, const struct tensor *t)
{
    if (shape->kind == SHAPE_ALTERNATE)
        return t->model == step / TURNS % 2;
    return t->expert == EXPERT_NONE || is_routed(shape, step, t);
}

uint32_t shape_step(const struct shape *shape, uint64_t step, struct op *ops, const char **phase)
{
    int is_prefill = shape->kind == SHAPE_PHASES && step % (DECODES + 1) == 0;
    uint32_t count = 0;

    *phase = is_prefill ? "prefill" : shape->kind == SHAPE_PHASES ? "decode" : "step";
    for (uint32_t i = 0; i < shape->tensor_count; i++) {
        const struct tensor *t = &shape->tensor[i];

        if (t->row_bytes && is_read(shape, step, t))
            ops[count++] = (struct op){.kind = OP_GATHER, .tensor = i, .tiles = 1};
    }
    for (uint32_t i = 0; i < shape->tensor_count; i++) {
        const struct tensor *t = &shape->tensor[i];

        if (t->is_table || !is_read(shape, step, t))
            continue;
        ops[count++] = (struct op){
            .kind = OP_MATRIX, .tensor = i, .tiles = is_prefill ? shape->prefill_tiles : 1};
        if (t->attends_then)
            ops[count++] = (struct op){.kind = OP_ATTEND, .tensor = i, .tiles = 1};
    }
    return count;
}

uint32_t shape_ops_max(const struct shape *shape)
{
    return 2 * shape->tensor_count;
}

void shape_rows(const struct shape *shape, uint64_t step, uint32_t rows[ROWS_READ])
{
    for (uint32_t r = 0; r < ROWS_READ; r++)
        rows[r] = (uint32_t)(random_of(shape->seed, step + 1, 1000 + r) % TABLE_ROWS);
}
