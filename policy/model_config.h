/* model_config.h - what a model's config.json says of it: kind, classes, whether embeddings are
 * tied.
 *
 * A config.json lies beside the checkpoint; Hugging Face's libraries write it. Only the few fields
 * that placement needs are read, every other one is skipped whatever it holds. Words that are too
 * long or too many to be real are skipped as well, never cut.
 */
#ifndef BERTH_POLICY_MODEL_CONFIG_H
#define BERTH_POLICY_MODEL_CONFIG_H

#include "error.h"
#include <stdbool.h>
#include <stddef.h>

struct checkpoint;

#define MODEL_CONFIG_BYTES_MAX  16777216 /* a config.json is smaller */
#define MODEL_CONFIG_WORD_BYTES 64       /* of one word, with its NUL */
#define MODEL_CONFIG_WORDS_MAX  8

enum model_config_tie {
    MODEL_TIE_UNSAID, /* the kind of model decides */
    MODEL_TIE_NO,
    MODEL_TIE_YES,
};

/* Words: "llama", "LlamaForCausalLM". */
struct model_config_words {
    char text[MODEL_CONFIG_WORDS_MAX][MODEL_CONFIG_WORD_BYTES];
    size_t count;
};

/* All zero: a model of which nothing is known. */
struct model_config {
    struct model_config_words kinds; /* model_type of the whole, then of its parts (a vision model's
                                        text model); the class of a part of a diffusion pipeline */
    struct model_config_words architectures; /* the classes that the checkpoint was saved from */
    enum model_config_tie tie_word_embeddings;
    bool gguf; /* kinds holds GGUF's general.architecture, whose words are others */
};

/* Read the text of a config.json.
 *
 * text     bytes of it; need not be terminated. NaN and Infinity are taken, for Python writes them
 * path     what the text is called in errors
 * out      all zero on failure
 * error    filled on failure: one line
 * returns  0; -EINVAL where it is no JSON object, or a field that counts has the wrong type;
 * -ENOMEM
 */
int model_config_parse(const char *text, size_t bytes, const char *path, struct model_config *out,
                       struct input_error *error);

/* Read a config.json.
 *
 * returns  as model_config_parse(); -EFBIG; else what the file system said: -ENOENT where there is
 *          none
 */
int model_config_read(const char *path, struct model_config *out, struct input_error *error);

/* Read the config.json that lies beside a checkpoint.
 *
 * checkpoint  a file, an index or a folder, as checkpoint_open() takes it
 * returns     as model_config_read(), but 0 and a model of which nothing is known where there is
 * none
 */
int model_config_find(const char *checkpoint, struct model_config *out, struct input_error *error);

/* The same for a checkpoint that is open: a GGUF file says itself what it is.
 *
 * path     by which it was opened
 */
int model_config_find_for(const struct checkpoint *checkpoint, const char *path,
                          struct model_config *out, struct input_error *error);

/* Say what a GGUF file is in its general.architecture: "llama". A word too long says nothing. */
void model_config_set_gguf(struct model_config *config, const char *architecture);

#endif
