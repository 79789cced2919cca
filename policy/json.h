/* json.h - JSON that may be believed: cJSON behind a strict door.
 *
 * cJSON takes more than JSON (broken UTF-8, control characters, odd numbers, repeated keys) and
 * keeps numbers as doubles. So the text is scanned first, against RFC 8259 to the letter and with
 * limits, and only what passes is given to cJSON. A tree from json_parse() has no duplicate key and
 * no string with a NUL in it, and with JSON_INTEGERS every number in it is exact.
 */
#ifndef BERTH_POLICY_JSON_H
#define BERTH_POLICY_JSON_H

#include "error.h"
#include <cjson/cJSON.h>
#include <stdint.h>

#define JSON_DEPTH_MAX  64        /* arrays and objects inside one another */
#define JSON_VALUES_MAX 8000000   /* about 100 bytes of memory each */
#define JSON_BYTES_MAX  100000000 /* of text */

/* Flags for json_parse(). */
#define JSON_INTEGERS 0x1u /* numbers are integers of less than 2^53 in size, written as such */

/* Check a text, as json_parse() does, and make nothing of it: json_walk.h reads it then.
 *
 * returns  0; -EINVAL where the text is refused; -ENOMEM
 */
int json_check(const char *text, size_t bytes, unsigned flags, struct input_error *error);

/* Parse a text.
 *
 * text     bytes of it; need not be terminated
 * flags    JSON_*
 * error    filled on failure: offset, line and column count from the start of text
 * returns  0 and *out; -EINVAL where the text is refused; -ENOMEM
 * owner    the caller frees *out with cJSON_Delete()
 */
int json_parse(const char *text, size_t bytes, unsigned flags, cJSON **out,
               struct input_error *error);

/* Find where a value of a parsed tree stands in its text, for an error message. Takes O(bytes).
 *
 * text, bytes  what json_parse() was given
 * root         what it made of it
 * item         a value of that tree; a member of an object is found at its key
 * error        gets offset, line and column
 */
void json_locate(const char *text, size_t bytes, const cJSON *root, const cJSON *item,
                 struct input_error *error);

/* Take an integer out of a number.
 *
 * returns  0; -EINVAL where item is NULL, no number, negative, no whole number, or 2^53 and more
 */
int json_get_u64(const cJSON *item, uint64_t *out);

/* What a value is, for an error message: "an object", "the number 7", "the string \"x\"".
 *
 * text     bytes long; strings are cut to fit
 * returns  text
 */
const char *json_describe(const cJSON *item, char *text, size_t bytes);

#endif
