/* json_string.h - the strings of a JSON text that was scanned: escapes resolved, nothing copied.
 *
 * A string is told by where it begins: the offset of its opening quotation mark.
 */
#ifndef BERTH_POLICY_JSON_STRING_H
#define BERTH_POLICY_JSON_STRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The offset behind a string's closing quotation mark.
 *
 * escaped  set to whether there is a backslash in it; may be NULL
 */
size_t json_string_end(const char *text, size_t at, bool *escaped);

/* Write a string as it is meant, in UTF-8 and without a NUL at its end.
 *
 * out      room bytes; json_string_end() - at are enough for any. A character that does not fit is
 *          left out with all behind it
 * returns  how many bytes were written
 */
size_t json_string_decode(const char *text, size_t at, char *out, size_t room);

/* Does a string mean this? word has printable ASCII letters without " and \ only. */
bool json_string_is(const char *text, size_t at, const char *word);

/* Compare what two strings mean.
 *
 * returns  less than, equal to or greater than 0; the order is that of their code points
 */
int json_string_compare(const char *text, size_t a, size_t b);

/* A number that is the same for strings that mean the same. */
uint64_t json_string_hash(const char *text, size_t at);

#endif
