/* json_write.h - JSON on its way out.
 *
 * What is written here is valid JSON and valid UTF-8 whatever bytes it was given: names come from
 * files and programs that nobody checked.
 */
#ifndef BERTH_POLICY_JSON_WRITE_H
#define BERTH_POLICY_JSON_WRITE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Write a string with its quotes. What is no UTF-8 becomes U+FFFD, one for each byte.
 *
 * text     bytes of it; need not be terminated
 */
void json_write_string(FILE *out, const char *text, size_t bytes);

/* Write an array of unsigned integers: [384, 1536]. */
void json_write_shape(FILE *out, const uint64_t *shape, size_t rank);

#endif
