/* tokenizer.c - see tokenizer.h. */
#include "tokenizer.h"

#include <errno.h>
#include <string.h>

#include "message.h"
#include "unicode.h"

#define WORD_CHARS_MAX 100 /* a longer word is unknown */
#define WORD_BYTES_MAX (WORD_CHARS_MAX * UTF8_MAX)
#define PREFIX         "##" /* of a piece that goes on from another */
#define PREFIX_BYTES   2

/* Tokens that stand for themselves when they are spelt out in a text. */
enum special { SPECIAL_PAD, SPECIAL_UNK, SPECIAL_CLS, SPECIAL_SEP, SPECIAL_MASK, SPECIAL_COUNT };
static const char *const special_names[SPECIAL_COUNT] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]",
                                                         "[MASK]"};

struct entry {
    const char *text; /* in the tokenizer's text, not terminated */
    size_t bytes;
    uint32_t id;
};

struct tokenizer {
    char *text;
    struct entry *entries; /* sorted by compare_entries() */
    size_t count;
    uint32_t special[SPECIAL_COUNT];
};

/* One encoding under way. */
struct encoding {
    const struct tokenizer *tokenizer;
    uint32_t *ids;
    size_t count, max;         /* max leaves room for [SEP] */
    char word[WORD_BYTES_MAX]; /* the word so far, folded */
    size_t word_bytes, word_chars;
};

static int compare_entries(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    int order = memcmp(a->text, b->text, a->bytes < b->bytes ? a->bytes : b->bytes);

    if (order != 0)
        return order;
    return a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

static const struct entry *find(const struct tokenizer *tokenizer, const char *text, size_t bytes)
{
    struct entry key = {.text = text, .bytes = bytes};

    return bsearch(&key, tokenizer->entries, tokenizer->count, sizeof(key), compare_entries);
}

/* The whole file, terminated. The caller frees. */
static char *read_text(const char *path)
{
    FILE *file = fopen(path, "re");
    char *text;
    long bytes;

    if (!file || fseek(file, 0, SEEK_END) != 0 || (bytes = ftell(file)) < 0)
        die("%s: %s", path, strerror(errno));
    rewind(file);
    text = allocate((size_t)bytes + 1);
    if (fread(text, 1, (size_t)bytes, file) != (size_t)bytes)
        die("%s: cannot be read", path);
    text[bytes] = '\0';
    fclose(file);
    return text;
}

struct tokenizer *tokenizer_open(const char *path)
{
    struct tokenizer *tokenizer = allocate(sizeof(*tokenizer));
    size_t lines = 1;
    char *line, *end;

    tokenizer->text = read_text(path);
    for (line = tokenizer->text; *line; line++)
        lines += *line == '\n';
    tokenizer->entries = allocate(lines * sizeof(tokenizer->entries[0]));
    tokenizer->count = 0;
    for (line = tokenizer->text; *line; line = *end ? end + 1 : end) {
        struct entry *entry = &tokenizer->entries[tokenizer->count];

        end = strchrnul(line, '\n');
        entry->text = line;
        entry->bytes = (size_t)(end - line);
        if (entry->bytes && line[entry->bytes - 1] == '\r')
            entry->bytes--;
        entry->id = (uint32_t)tokenizer->count++;
    }
    qsort(tokenizer->entries, tokenizer->count, sizeof(tokenizer->entries[0]), compare_entries);
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        const struct entry *entry = find(tokenizer, special_names[i], strlen(special_names[i]));

        if (!entry)
            die("%s: no token %s", path, special_names[i]);
        tokenizer->special[i] = entry->id;
    }
    return tokenizer;
}

void tokenizer_close(struct tokenizer *tokenizer)
{
    free(tokenizer->entries);
    free(tokenizer->text);
    free(tokenizer);
}

size_t tokenizer_vocabulary(const struct tokenizer *tokenizer)
{
    return tokenizer->count;
}

static void put_id(struct encoding *encoding, uint32_t id)
{
    if (encoding->count < encoding->max)
        encoding->ids[encoding->count++] = id;
}

/* The longest piece of the vocabulary that the word goes on with at byte start, or NULL. */
static const struct entry *longest_piece(const struct encoding *encoding, size_t start)
{
    char piece[PREFIX_BYTES + WORD_BYTES_MAX] = PREFIX;
    size_t skip = start ? 0 : PREFIX_BYTES;

    memcpy(piece + PREFIX_BYTES, encoding->word + start, encoding->word_bytes - start);
    for (size_t bytes = encoding->word_bytes - start; bytes > 0; bytes--) {
        const struct entry *entry =
            find(encoding->tokenizer, piece + skip, PREFIX_BYTES - skip + bytes);

        if (entry)
            return entry;
    }
    return NULL;
}

/* Cut the word into pieces and begin the next one. */
static void end_word(struct encoding *encoding)
{
    uint32_t pieces[WORD_CHARS_MAX];
    size_t count = 0, start = 0;

    if (encoding->word_chars == 0)
        return;
    if (encoding->word_chars > WORD_CHARS_MAX) {
        pieces[count++] = encoding->tokenizer->special[SPECIAL_UNK];
        start = encoding->word_bytes;
    }
    while (start < encoding->word_bytes) {
        const struct entry *entry = longest_piece(encoding, start);

        if (!entry) {
            pieces[0] = encoding->tokenizer->special[SPECIAL_UNK];
            count = 1;
            break;
        }
        pieces[count++] = entry->id;
        start += entry->bytes - (start ? PREFIX_BYTES : 0);
    }
    for (size_t i = 0; i < count; i++)
        put_id(encoding, pieces[i]);
    encoding->word_bytes = 0;
    encoding->word_chars = 0;
}

static void put_char(struct encoding *encoding, uint32_t code)
{
    if (encoding->word_chars++ < WORD_CHARS_MAX)
        encoding->word_bytes += utf8_encode(code, encoding->word + encoding->word_bytes);
}

/* Punctuation and ideographs: a word of one character. */
static void put_alone(struct encoding *encoding, uint32_t code)
{
    end_word(encoding);
    put_char(encoding, code);
    end_word(encoding);
}

static void put_code(struct encoding *encoding, uint32_t code)
{
    enum unicode_class kind = unicode_class_of(code);
    uint32_t folded[UNICODE_FOLD_MAX];
    size_t count;

    if (kind == UNICODE_DROP)
        return;
    if (kind == UNICODE_SPACE) {
        end_word(encoding);
        return;
    }
    count = unicode_fold(code, folded);
    for (size_t i = 0; i < count; i++) {
        if (kind == UNICODE_CJK || unicode_class_of(folded[i]) == UNICODE_PUNCT)
            put_alone(encoding, folded[i]);
        else
            put_char(encoding, folded[i]);
    }
}

/* The special token that text begins with, or SPECIAL_COUNT. */
static enum special special_at(const char *text)
{
    int i = 0;

    while (i < SPECIAL_COUNT && strncmp(text, special_names[i], strlen(special_names[i])) != 0)
        i++;
    return (enum special)i;
}

size_t tokenizer_encode(const struct tokenizer *tokenizer, const char *text, uint32_t *ids,
                        size_t max)
{
    struct encoding encoding = {.tokenizer = tokenizer, .ids = ids, .max = max - 1};

    put_id(&encoding, tokenizer->special[SPECIAL_CLS]);
    while (*text) {
        enum special special = special_at(text);
        uint32_t code;

        if (special != SPECIAL_COUNT) {
            end_word(&encoding);
            put_id(&encoding, tokenizer->special[special]);
            text += strlen(special_names[special]);
            continue;
        }
        text += utf8_decode(text, &code);
        put_code(&encoding, code);
    }
    end_word(&encoding);
    encoding.max = max;
    put_id(&encoding, tokenizer->special[SPECIAL_SEP]);
    return encoding.count;
}
