/* json_walk.h - a JSON text that json_check() took, read from front to end without a tree.
 *
 * Only for texts whose value is an array or an object; nothing here looks for the text's end. A
 * place is an offset into the text at which a value or a key begins. For texts of many values this
 * takes a fraction of the time and none of the memory that a tree of them does.
 */
#ifndef BERTH_POLICY_JSON_WALK_H
#define BERTH_POLICY_JSON_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The place of the whole text's value. */
size_t json_walk_begin(const char *text);

/* Go into an array or an object.
 *
 * at       its place; gets that of its first value or key, or where it is empty what follows it
 * returns  false where it is empty
 */
bool json_walk_enter(const char *text, size_t *at);

/* Go on behind a value inside an array or an object.
 *
 * at       behind the value; gets the next value's or key's place, or what follows the array or the
 *          object
 * returns  false where the value was the last
 */
bool json_walk_next(const char *text, size_t *at);

/* The place of a key's value. */
size_t json_walk_value(const char *text, size_t key);

/* What follows a value. */
size_t json_walk_skip(const char *text, size_t at);

/* Read an integer from 0 on; JSON_INTEGERS checked that it is of less than 2^53.
 *
 * returns  0; -EINVAL where the value is something else
 */
int json_walk_u64(const char *text, size_t at, uint64_t *out);

/* What a value is, for an error message: as json_describe(). */
const char *json_walk_describe(const char *text, size_t at, char *out, size_t bytes);

#endif
