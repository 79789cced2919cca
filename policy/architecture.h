/* architecture.h - what is known of the common models: where a class's modules stand, what they
 * tie.
 *
 * Users of Hugging Face's libraries name blocks by class ("LlamaDecoderLayer"). A checkpoint knows
 * no classes, only names; architecture_table.h tells which names the modules of a class have.
 * Nothing is guessed: a class that the table has not, or not for this kind of model, is an error.
 */
#ifndef BERTH_POLICY_ARCHITECTURE_H
#define BERTH_POLICY_ARCHITECTURE_H

#include "error.h"
#include "model_config.h"
#include <stdbool.h>
#include <stddef.h>

#define ARCHITECTURE_PLACES_MAX 6
#define ARCHITECTURE_NAMES_MAX  4
#define ARCHITECTURE_GROUPS_MAX 2

/* One way in which the path of a module can end. */
struct architecture_place {
    const char *tail; /* bytes of it: "model.layers"; not terminated */
    size_t bytes;
    bool whole;    /* the path is the tail, nothing stands before it */
    bool repeated; /* an integer follows: model.layers.0 */
};

/* Where the modules of a class stand. Points into static tables. */
struct architecture_places {
    struct architecture_place place[ARCHITECTURE_PLACES_MAX];
    size_t count;
};

/* A parameter's name by its end: "lm_head.weight". Points into static tables. */
struct architecture_name {
    const char *tail; /* bytes of it; not terminated */
    size_t bytes;
    bool inner; /* of the inner model: its name begins as that of the group's first one does */
};

/* Parameters that are one; the first holds the bytes. */
struct architecture_group {
    struct architecture_name name[ARCHITECTURE_NAMES_MAX];
    size_t count; /* at least 2 */
};

struct architecture_ties {
    struct architecture_group group[ARCHITECTURE_GROUPS_MAX];
    size_t count;  /* 0 where nothing is tied */
    bool has_head; /* the model has all of these, also those that the checkpoint leaves out */
};

/* Find where the modules of a class stand.
 *
 * config   the model's, NULL where nothing is known of it. Where all its kinds are known, a class
 * of another kind of model is refused; for a GGUF file any class of its architecture is a block
 * name     "LlamaDecoderLayer"
 * places   set on success only
 * error    filled on failure, with the nearest class that would do; its field is untouched
 * returns  0 or -EINVAL
 */
int architecture_resolve(const struct model_config *config, const char *name,
                         struct architecture_places *places, struct input_error *error);

/* Is a module one of a class's?
 *
 * path     bytes of a module's path; need not be terminated
 */
bool architecture_places_match(const struct architecture_places *places, const char *path,
                               size_t bytes);

/* The classes of a model's blocks.
 *
 * classes  gets up to room static strings; the table's order
 * returns  how many there are; 0 where its kind is not known
 */
size_t architecture_classes(const struct model_config *config, const char **classes, size_t room);

/* What a model ties: by its own tie_word_embeddings, or as its kind does where that is unsaid.
 *
 * config   NULL where nothing is known: no ties. A GGUF file has no names to tie
 */
void architecture_find_ties(const struct model_config *config, struct architecture_ties *ties);

#endif
