/* policy_reader.h - a parsed text on its way into a struct policy.
 *
 * Between policy_file.c, which has the text and knows its form, and policy_fields.c, which knows
 * the fields. An error does not end the reading: it is noted with its place, and the next entry is
 * read, until the caller's room for errors is used up.
 */
#ifndef BERTH_POLICY_POLICY_READER_H
#define BERTH_POLICY_POLICY_READER_H

#include "policy_file.h"
#include <cjson/cJSON.h>

struct policy_reader {
    const char *text;
    size_t bytes;
    const char *path;
    bool python; /* the text is a dictionary as Python prints it */
    cJSON *root;
    struct policy *policy;
    struct input_error *errors; /* room of them; the one at error_count has the field's name */
    size_t room;
    size_t error_count;
};

/* Read the whole tree, errors noted.
 *
 * returns  0 also where errors were noted; -ENOMEM, noted too
 */
int policy_reader_read(struct policy_reader *reader);

/* Say in which field the next error lies; nothing after the field where entry is NULL. */
void policy_reader_set_field(struct policy_reader *reader, const char *field, const char *entry);

/* Note an error.
 *
 * item     where it is: a value of the tree
 * returns  -EINVAL
 */
int policy_reader_refuse(struct policy_reader *reader, const cJSON *item, const char *expected,
                         const char *found);

/* The same, what was found being the value itself. */
int policy_reader_refuse_value(struct policy_reader *reader, const cJSON *item,
                               const char *expected);

/* Note that memory is used up. returns -ENOMEM */
int policy_reader_refuse_memory(struct policy_reader *reader);

/* Shall the next entry be read after one that gave res? */
bool policy_reader_goes_on(const struct policy_reader *reader, int res);

/* Lists of names and patterns (policy_lists.c): the fields with these names. */
int policy_read_no_split(struct policy_reader *reader, const cJSON *item);
int policy_read_no_split_module_classes(struct policy_reader *reader, const cJSON *item);
int policy_read_tied(struct policy_reader *reader, const cJSON *item);
int policy_read_preload(struct policy_reader *reader, const cJSON *item);
int policy_read_groups(struct policy_reader *reader, const cJSON *item);

#endif
