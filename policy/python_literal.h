/* python_literal.h - a dictionary as Python prints it.
 *
 *     {'model.embed_tokens': 0, 'model.layers.0': device(type='cuda', index=1), 'lm_head': 'cpu'}
 *     OrderedDict([('', 'cpu')])      OrderedDict({'': 'cpu'})      {0: '10GiB', 'cpu': 1000}
 *
 * That is what a person copies from a terminal: print(model.hf_device_map), and a max_memory from a
 * script. It is no Python: keys are strings or integers, values are strings, integers of less than
 * 2^53 or devices, nothing is inside anything else, and everything else is refused.
 */
#ifndef BERTH_POLICY_PYTHON_LITERAL_H
#define BERTH_POLICY_PYTHON_LITERAL_H

#include "error.h"
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

/* Does a text begin as Python's dictionaries do and JSON's objects do not: with OrderedDict(, or
 * with a key that is an integer or in single quotes?
 */
bool python_literal_begins(const char *text, size_t bytes);

/* Read a dictionary.
 *
 * text     bytes of it; need not be terminated
 * out      an object: integer keys become strings, device(type='cuda', index=1) becomes "cuda:1". A
 *          key that stands twice stands twice in it
 * error    filled on failure: offset, line and column count from the start of text
 * returns  0 and *out; -EINVAL where the text is refused; -ENOMEM
 * owner    the caller frees *out with cJSON_Delete()
 */
int python_literal_parse(const char *text, size_t bytes, cJSON **out, struct input_error *error);

/* Find where an entry stands in its text, for an error message. Takes O(bytes).
 *
 * text, bytes  what python_literal_parse() was given
 * root         what it made of it
 * item         root, or one of its entries: found at its key
 * error        gets offset, line and column
 */
void python_literal_locate(const char *text, size_t bytes, const cJSON *root, const cJSON *item,
                           struct input_error *error);

#endif
