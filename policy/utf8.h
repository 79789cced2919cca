/* utf8.h - where one UTF-8 character ends.
 *
 * Strict as RFC 3629: no overlong form, no surrogate, nothing above U+10FFFF.
 */
#ifndef BERTH_POLICY_UTF8_H
#define BERTH_POLICY_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Decode the character at the start of a text.
 *
 * text     left bytes of it, at least 1
 * code     its code point; set on success only
 * returns  its length in bytes, 1 to 4; 0 where it is no valid character
 */
size_t utf8_decode(const unsigned char *text, size_t left, uint32_t *code);

#endif
