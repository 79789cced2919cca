/* tie.h - parameters that are one object under several names.
 *
 * Such an object is counted once, placed once and moved as one. Three things say so: the
 * checkpoint, where tensors share a storage; config.json, where it ties the embeddings of a model
 * that is known; and the user. Names that the checkpoint leaves out (most files hold a tied
 * parameter once) belong to the object all the same, for the model has them and a device map may
 * speak of them.
 */
#ifndef BERTH_POLICY_TIE_H
#define BERTH_POLICY_TIE_H

#include "checkpoint.h"
#include "error.h"
#include "model_config.h"
#include <stddef.h>
#include <stdint.h>

#define TIE_NONE       UINT32_MAX
#define TIE_ABSENT_MAX 1024 /* names that the checkpoint leaves out */

enum tie_source {
    TIE_STORAGE, /* the same bytes, or views of one storage */
    TIE_CONFIG,  /* tie_word_embeddings */
    TIE_POLICY,  /* the user's list */
};

/* Names that the user says are one object. */
struct tie_list {
    const char *const *names;
    size_t count;
};

/* A name of an object. Its number is the tensor's index in the checkpoint; those that the
 * checkpoint leaves out are numbered on from there.
 */
struct tie_member {
    uint32_t name;
    enum tie_source source; /* what tied it to the others */
};

/* One object. */
struct tie_group {
    struct tie_member *members; /* in the order of their numbers */
    size_t count;               /* at least 2 */
    uint64_t bits;              /* of the object: what all of its names share */
};

struct ties {
    struct tie_group *groups; /* in the order of their first members */
    size_t count;
    uint32_t *group_of;         /* by number of a name: its group, or TIE_NONE */
    size_t tensor_count;        /* of the checkpoint */
    size_t name_count;          /* with those that the checkpoint leaves out */
    char **absent;              /* their names: name_count - tensor_count of them */
    struct tie_member *members; /* of all groups, group after group */
    size_t member_count;
};

/* Find what is tied. Takes O(tensors), and O(log tensors) for each name that the user lists.
 *
 * config   NULL where nothing is known of the model
 * lists    list_count of the user's; at least one name of each is in the checkpoint
 * out      set on success only; borrows nothing
 * error    filled on failure
 * returns  0; -EINVAL for a list with less than two names, without a name of the checkpoint, or
 * with tensors of different sizes; -E2BIG past TIE_ABSENT_MAX; -ENOMEM owner    the caller frees
 * *out with ties_free()
 */
int ties_find(const struct checkpoint *checkpoint, const struct model_config *config,
              const struct tie_list *lists, size_t list_count, struct ties **out,
              struct input_error *error);

/* Free ties. NULL is allowed. */
void ties_free(struct ties *ties);

/* Can this list be one object's names? What ties_find() asks of each list, to tell all that are
 * wrong.
 *
 * returns  as ties_find()
 */
int ties_check_list(const struct checkpoint *checkpoint, const struct tie_list *list,
                    struct input_error *error);

/* What a source of ties is called in messages: "tie_word_embeddings". */
const char *tie_source_name(enum tie_source source);

#endif
