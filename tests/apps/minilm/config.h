/* config.h - the shape of the model, from config.json and sentence_bert_config.json beside the
 * weights. */
#ifndef MINILM_CONFIG_H
#define MINILM_CONFIG_H

#include <stdint.h>

struct model_config {
    uint32_t hidden;       /* floats of a token's row */
    uint32_t intermediate; /* floats of the row inside a feed-forward block */
    uint32_t layers;
    uint32_t heads;
    uint32_t vocabulary;
    uint32_t token_types;
    uint32_t positions;  /* rows of the position table */
    uint32_t max_tokens; /* of a sentence, [CLS] and [SEP] included; at most positions */
    float epsilon;       /* of the layer norms */
};

/* Read the configuration of the model in a directory; dies with one line where the encoder cannot
 * run such a model.
 */
void config_read(const char *directory, struct model_config *out);

#endif
