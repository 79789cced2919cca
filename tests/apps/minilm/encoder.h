/* encoder.h - BERT with mean pooling on one GPU: token ids in, a vector of length 1 out.
 *
 * One sentence at a time, all on the default stream. Activations are allocated once, for the
 * longest sentence that the model takes.
 */
#ifndef MINILM_ENCODER_H
#define MINILM_ENCODER_H

#include "config.h"
#include "weights.h"

struct encoder;

/* Load the kernels, resolve the weights by name and allocate the activations, in the current
 * context; dies with one line where something is missing.
 *
 * weights, config  borrowed until encoder_close()
 */
struct encoder *encoder_open(const struct model_config *config, const struct weights *weights);
void encoder_close(struct encoder *encoder);

/* Encode one sentence.
 *
 * ids    count of them, at most config->max_tokens, each below config->vocabulary
 * out    config->hidden floats
 */
void encoder_run(struct encoder *encoder, const uint32_t *ids, size_t count, float *out);

#endif
