/* utf8.h - UTF-8, one character at a time.
 *
 * Strict as RFC 3629: no overlong form, no surrogate, nothing above U+10FFFF.
 */
#ifndef BERTH_POLICY_UTF8_H
#define BERTH_POLICY_UTF8_H

#include <stddef.h>
#include <stdint.h>

#define UTF8_BYTES_MAX 4

/* Decode the character at the start of a text.
 *
 * text     left bytes of it, at least 1
 * code     its code point; set on success only
 * returns  its length in bytes, 1 to 4; 0 where it is no valid character
 */
size_t utf8_decode(const unsigned char *text, size_t left, uint32_t *code);

/* Say for an error what stands at the start of a text: a character, a byte that is none, the end.
 *
 * text     left bytes of it
 */
#define UTF8_DESCRIPTION_BYTES 40
void utf8_describe(const unsigned char *text, size_t left, char found[UTF8_DESCRIPTION_BYTES]);

/* Encode a character.
 *
 * code     up to U+10FFFF, no surrogate
 * out      room for UTF8_BYTES_MAX
 * returns  how many bytes were written
 */
size_t utf8_encode(uint32_t code, char *out);

#endif
