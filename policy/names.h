/* names.h - the known name nearest to a mistyped one.
 *
 * Used wherever a person types a word from a list: policy fields, devices, options, sub-commands.
 * It only ever suggests; nobody acts on a guess.
 */
#ifndef BERTH_POLICY_NAMES_H
#define BERTH_POLICY_NAMES_H

#include "error.h"
#include <stddef.h>

/* How many letters must be inserted, removed, replaced or swapped with their neighbour to make one
 * word of the other, upper and lower case being alike.
 *
 * returns  the distance; the longer word's length where either has more than 64 letters
 */
size_t names_distance(const char *a, const char *b);

/* Find the known name that a given word was probably meant to be.
 *
 * known    count names
 * returns  one of known, the first of several equally near; NULL where none is near: more than a
 *          third of the word's letters, rounded up, would have to change
 */
const char *names_nearest(const char *given, const char *const *known, size_t count);

/* Find a word in a list.
 *
 * out      its place there; set on success only
 * error    filled on failure: which words there are, and which was probably meant
 * returns  0 or -EINVAL
 */
int names_find(const char *given, const char *const *known, size_t count, size_t *out,
               struct input_error *error);

/* Write names as a sentence has them: "auto, um or off".
 *
 * text     bytes long; a list that is longer is cut
 * returns  text
 */
const char *names_list(const char *const *known, size_t count, char *text, size_t bytes);

#endif
