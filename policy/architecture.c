#include "architecture.h"
#include "architecture_table.h"
#include "names.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CLASSES_MAX 256

struct block {
    const char *name, *places;
};

struct ties {
    const char *names, *more;
};

struct kind {
    const char *name, *gguf;
    bool tied;
    const struct ties *ties;
    const char *classes;
};

static const struct block g_blocks[] = {
#define X(name, places) {name, places},
    ARCHITECTURE_BLOCKS(X)
#undef X
};

#define BLOCKS (sizeof(g_blocks) / sizeof(g_blocks[0]))

enum tie_row {
#define X(id, names, more) TIES_##id,
    ARCHITECTURE_TIES(X)
#undef X
};

static const struct ties g_ties[] = {
#define X(id, names, more) [TIES_##id] = {names, more},
    ARCHITECTURE_TIES(X)
#undef X
};

static const struct kind g_kinds[] = {
#define X(kind, gguf, tied, ties, classes) {kind, gguf, tied, &g_ties[TIES_##ties], classes},
    ARCHITECTURES(X)
#undef X
};

#define KINDS (sizeof(g_kinds) / sizeof(g_kinds[0]))

_Static_assert(BLOCKS <= CLASSES_MAX, "a list of all classes fits");

/* Parts of classes that have a head over the inner model. */
static const char *const g_heads[] = {"ForCausalLM", "LMHeadModel", "ForConditionalGeneration",
                                      "ForMaskedLM", "MTModel",     "ForPreTraining"};

/* Take the next word of a list with | between its words.
 *
 * list     moves behind the word
 * returns  where the word begins; NULL at the end of the list
 */
static const char *next_word(const char **list, size_t *bytes)
{
    const char *word = *list;

    if (!*word)
        return NULL;
    *bytes = strcspn(word, "|");
    *list = word + *bytes + (word[*bytes] == '|');
    return word;
}

static bool list_has(const char *list, const char *name)
{
    size_t bytes;
    const char *word;

    while ((word = next_word(&list, &bytes))) {
        if (strncmp(word, name, bytes) == 0 && !name[bytes])
            return true;
    }
    return false;
}

/* Is this row of the table one of a model's kinds? One GGUF word stands for several rows. */
static bool is_kind(const struct kind *kind, const char *word, bool gguf)
{
    return strcmp(gguf ? kind->gguf : kind->name, word) == 0;
}

/* Does the table know a word that a model calls itself by? */
static bool is_known(const char *word, bool gguf)
{
    size_t i;

    for (i = 0; i < KINDS; i++) {
        if (is_kind(&g_kinds[i], word, gguf))
            return true;
    }
    return false;
}

static bool has_class(const struct model_config *config, const char *class)
{
    size_t i, j;

    for (i = 0; i < config->kinds.count; i++) {
        for (j = 0; j < KINDS; j++) {
            if (is_kind(&g_kinds[j], config->kinds.text[i], config->gguf) &&
                list_has(g_kinds[j].classes, class))
                return true;
        }
    }
    return false;
}

size_t architecture_classes(const struct model_config *config, const char **classes, size_t room)
{
    size_t count = 0, i;

    for (i = 0; i < BLOCKS; i++) {
        if (!has_class(config, g_blocks[i].name))
            continue;
        if (count < room)
            classes[count] = g_blocks[i].name;
        count++;
    }
    return count;
}

static bool all_known(const struct model_config *config)
{
    size_t i;

    for (i = 0; i < config->kinds.count; i++) {
        if (!is_known(config->kinds.text[i], config->gguf))
            return false;
    }
    return config->kinds.count > 0;
}

static int refuse(const struct model_config *config, const char *name, struct input_error *error)
{
    const char *classes[CLASSES_MAX], *nearest;
    char expected[sizeof(error->expected)], list[256];
    size_t count = config ? architecture_classes(config, classes, CLASSES_MAX) : 0, i;

    if (count && all_known(config)) {
        snprintf(expected, sizeof(expected), "a class of %s: %s", config->kinds.text[0],
                 names_list(classes, count, list, sizeof(list)));
        return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, expected, "\"%s\"", name);
    }
    for (i = 0; i < BLOCKS; i++)
        classes[i] = g_blocks[i].name;
    nearest = names_nearest(name, classes, BLOCKS);
    snprintf(expected, sizeof(expected), "a known class of blocks%s%s, or a pattern such as %s",
             nearest ? ", perhaps " : "", nearest ? nearest : "", "model.layers.*");
    return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, expected, "\"%s\"", name);
}

static void read_places(const char *list, struct architecture_places *places)
{
    const char *word;
    size_t bytes;

    places->count = 0;
    while (places->count < ARCHITECTURE_PLACES_MAX && (word = next_word(&list, &bytes))) {
        struct architecture_place *place = &places->place[places->count++];

        place->whole = word[0] == '^';
        place->repeated = bytes > 2 && memcmp(word + bytes - 2, ".*", 2) == 0;
        place->tail = word + place->whole;
        place->bytes = bytes - place->whole - (place->repeated ? 2 : 0);
    }
}

int architecture_resolve(const struct model_config *config, const char *name,
                         struct architecture_places *places, struct input_error *error)
{
    size_t i;

    for (i = 0; i < BLOCKS && strcmp(g_blocks[i].name, name) != 0; i++)
        ;
    if (i == BLOCKS || (config && all_known(config) && !has_class(config, name)))
        return refuse(config, name, error);
    read_places(config && config->gguf ? "blk.*" : g_blocks[i].places, places);
    return 0;
}

bool architecture_places_match(const struct architecture_places *places, const char *path,
                               size_t bytes)
{
    size_t digits = 0, i;

    while (digits < bytes && path[bytes - digits - 1] >= '0' && path[bytes - digits - 1] <= '9')
        digits++;
    for (i = 0; i < places->count; i++) {
        const struct architecture_place *place = &places->place[i];
        size_t length = bytes, skip = place->repeated ? digits + 1 : 0;

        if (place->repeated && (digits == 0 || skip > bytes || path[bytes - skip] != '.'))
            continue;
        length -= skip;
        if (length < place->bytes ||
            (length > place->bytes && (place->whole || path[length - place->bytes - 1] != '.')))
            continue;
        if (memcmp(path + length - place->bytes, place->tail, place->bytes) == 0)
            return true;
    }
    return false;
}

static void add_group(const char *list, struct architecture_ties *ties)
{
    struct architecture_group *group = &ties->group[ties->count];
    const char *word;
    size_t bytes;

    group->count = 0;
    while (group->count < ARCHITECTURE_NAMES_MAX && (word = next_word(&list, &bytes))) {
        bool inner = word[0] == '~';

        group->name[group->count++] =
            (struct architecture_name){word + inner, bytes - inner, inner};
    }
    ties->count += group->count > 0;
}

void architecture_find_ties(const struct model_config *config, struct architecture_ties *ties)
{
    const struct kind *kind = NULL;
    const struct ties *tied;
    size_t i, j;

    memset(ties, 0, sizeof(*ties));
    if (!config || config->gguf || config->tie_word_embeddings == MODEL_TIE_NO)
        return;
    /* The kind of the whole comes first; a part's counts where the whole's is not known. */
    for (i = 0; i < config->kinds.count && !kind; i++) {
        for (j = 0; j < KINDS && !kind; j++)
            kind = is_kind(&g_kinds[j], config->kinds.text[i], false) ? &g_kinds[j] : NULL;
    }
    if (config->tie_word_embeddings == MODEL_TIE_UNSAID && !(kind && kind->tied))
        return;
    tied = kind ? kind->ties : &g_ties[TIES_LM]; /* the names of most that say it themselves */
    add_group(tied->names, ties);
    add_group(tied->more, ties);
    for (i = 0; i < config->architectures.count; i++) {
        for (j = 0; j < sizeof(g_heads) / sizeof(g_heads[0]); j++)
            ties->has_head |= strstr(config->architectures.text[i], g_heads[j]) != NULL;
    }
}
