/* unicode.h - characters as BERT's uncased tokenizer sees them.
 *
 * A character is folded after it was classified and before it is looked up; folding is canonical
 * decomposition, then removal of non-spacing marks, then lower case.
 */
#ifndef MINILM_UNICODE_H
#define MINILM_UNICODE_H

#include <stddef.h>
#include <stdint.h>

#define UNICODE_FOLD_MAX 3
#define UTF8_MAX         4

enum unicode_class {
    UNICODE_WORD,
    UNICODE_SPACE,
    UNICODE_DROP,  /* control, format, unassigned, and non-spacing marks */
    UNICODE_PUNCT, /* a word of its own: every symbol of ASCII, and category P */
    UNICODE_CJK    /* an ideograph: likewise a word of its own */
};

/* Which class a code point is in; total over all values. */
enum unicode_class unicode_class_of(uint32_t code);

/* What a code point becomes.
 *
 * out      the folded code points
 * returns  how many, 1 to UNICODE_FOLD_MAX
 */
size_t unicode_fold(uint32_t code, uint32_t out[UNICODE_FOLD_MAX]);

/* Take one code point off UTF-8 text.
 *
 * text     NUL-terminated, not empty
 * code     the code point; U+FFFD where the bytes are not UTF-8
 * returns  how many bytes it took, 1 to UTF8_MAX; 1 where the bytes are not UTF-8
 */
size_t utf8_decode(const char *text, uint32_t *code);

/* The UTF-8 form of a code point. Returns how many bytes of out it took. */
size_t utf8_encode(uint32_t code, char out[UTF8_MAX]);

#endif
