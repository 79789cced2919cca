/* shapes.h - models as far as paging sees them: tensors of realistic relative sizes, and which of
 * them each step reads in which order.
 *
 * A shape is scaled to a number of bytes; the relations between its tensors stay. Vectors (norms,
 * biases) are left out: they are smaller than what anybody moves. What a step reads depends on the
 * shape, the seed and the step's number alone, so that steps can be told without running them.
 */
#ifndef BENCH_SHAPES_H
#define BENCH_SHAPES_H

#include <stddef.h>
#include <stdint.h>

#define ROWS_READ   128 /* of a table of embeddings, in each step */
#define EXPERT_NONE UINT32_MAX

enum shape_kind {
    SHAPE_MINILM,    /* a sentence encoder: half of it a table of embeddings, six layers */
    SHAPE_DENSE,     /* a language model of 32 layers, a token a step */
    SHAPE_PHASES,    /* one of 16 layers: a prompt, which takes computing, then some tokens */
    SHAPE_MOE,       /* 8 layers of 8 experts, of which each step reads 2, at random */
    SHAPE_ALTERNATE, /* two models of 12 layers, two steps of each in turns */
};

enum op_kind {
    OP_MATRIX, /* reads all of its tensor */
    OP_GATHER, /* reads ROWS_READ rows of its tensor */
    OP_ATTEND, /* reads and writes its layer's slice of the cache of keys and values */
};

struct tensor {
    char name[32];
    uint64_t bytes;     /* a multiple of 256 */
    uint64_t row_bytes; /* of a table of embeddings, a multiple of 16; else 0. A step begins with
                           some rows of each */
    uint32_t module;    /* what is executed or left out as a whole: a layer, or an expert of one */
    uint32_t layer;
    uint32_t expert; /* of its layer; EXPERT_NONE when the layer always reads it */
    uint32_t model;
    int is_table;     /* of embeddings, and nothing else: it is never read as a whole */
    int attends_then; /* attention comes behind it */
};

struct op {
    enum op_kind kind;
    uint32_t tensor; /* of OP_ATTEND: the one before, for its layer */
    uint32_t tiles;  /* launches, each over all of the tensor: how much there is to compute */
};

struct shape {
    enum shape_kind kind;
    struct tensor *tensor;
    uint32_t tensor_count, module_count, layer_count;
    uint64_t bytes, bytes_max; /* of all tensors, of the largest */
    uint32_t prefill_tiles;
    uint64_t seed;
};

/* Make a shape.
 *
 * name     minilm, dense, phases, moe or alternate
 * bytes    of all tensors together, to within rounding
 * tiles    of tokens in a prefill
 * returns  0, or -1 for a name that is none of these and where there is no memory
 * owner    shape_destroy()
 */
int shape_create(const char *name, uint64_t bytes, uint32_t tiles, uint64_t seed,
                 struct shape *out);
void shape_destroy(struct shape *shape);

/* The work of one step, in order.
 *
 * ops      the caller's, of shape_ops_max()
 * phase    set to a word for people
 * returns  how many there are
 */
uint32_t shape_step(const struct shape *shape, uint64_t step, struct op *ops, const char **phase);
uint32_t shape_ops_max(const struct shape *shape);

/* The rows that the step reads of each table. */
void shape_rows(const struct shape *shape, uint64_t step, uint32_t rows[ROWS_READ]);

#endif
