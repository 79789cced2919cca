/* tokenizer.h - text to token ids: BERT's uncased WordPiece over the words of vocab.txt.
 *
 * Control characters vanish, ideographs and punctuation are words of their own, accents and case
 * are folded away, and each word is cut into the longest pieces that the vocabulary knows; a word
 * with a part that it does not know is [UNK] as a whole.
 */
#ifndef MINILM_TOKENIZER_H
#define MINILM_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

struct tokenizer;

/* Read vocab.txt, one token a line; dies with one line where it is missing or incomplete.
 *
 * owner  tokenizer_close()
 */
struct tokenizer *tokenizer_open(const char *path);
void tokenizer_close(struct tokenizer *tokenizer);

/* How many tokens the vocabulary has; ids are below it. */
size_t tokenizer_vocabulary(const struct tokenizer *tokenizer);

/* The ids of a text, from [CLS] to [SEP].
 *
 * ids      max of them at most; what does not fit is cut off before [SEP]
 * returns  how many, at least 2
 */
size_t tokenizer_encode(const struct tokenizer *tokenizer, const char *text, uint32_t *ids,
                        size_t max);

#endif
