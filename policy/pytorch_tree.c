/* pytorch_tree.c - the walk over a pickle's dicts and lists, and the names that it gives to
 * tensors.
 *
 * A pickle may have one dict in many places, in itself even, so that its tree can be far larger
 * than the pickle, or without an end. Nobody writes such files by accident: depth, visits, names
 * and the number of tensors are bounded by the pickle's length.
 */
#include "pytorch_globals.h"
#include "pytorch_state.h"
#include "utf8.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define VISITS_SPARE  1024u  /* beyond one for each byte of the pickle */
#define TENSOR_BYTES  8u     /* of the pickle for each tensor, at least */
#define TENSORS_SPARE 64u    /* beyond that */
#define TABLE_FACTOR  8u     /* bytes of names and shapes for each byte of the pickle, at most */
#define TABLE_SPARE   65536u /* beyond that */

/* A dict or a list on the way from the root, and how far it has been walked. */
struct level {
    const struct pickle_value *container;
    const struct pickle_value *key; /* of the entry at hand; NULL in a list or a tuple */
    uint32_t position;              /* of the entry at hand */
    uint32_t pair;                  /* next one that an OrderedDict was called with */
    uint32_t item;                  /* next one of its items */
};

struct walk {
    struct pytorch_state *state;
    struct level levels[PYTORCH_DEPTH_MAX];
    size_t depth;
    uint64_t visits_left, tensors_left, table_left;
    char name[PYTORCH_NAME_BYTES_MAX + 1];
    size_t name_bytes;
};

static int refuse(const struct walk *w, const struct pickle_value *at, const char *expected,
                  const char *found)
{
    const struct pytorch_state *s = w->state;

    return input_error_set(s->error, -EINVAL, s->pickle_offset + at->at, expected, "%s", found);
}

static bool is_container(const struct pickle_value *value)
{
    return value->kind == PICKLE_DICT || value->kind == PICKLE_LIST ||
           value->kind == PICKLE_TUPLE ||
           (value->kind == PICKLE_OBJECT && pytorch_role_of(value) == PYTORCH_DICT);
}

/* Names ---------------------------------------------------------------------------------------- */

static int append_name(struct walk *w, const struct pickle_value *at, const char *text,
                       size_t bytes)
{
    if (bytes > PYTORCH_NAME_BYTES_MAX - w->name_bytes)
        return refuse(w, at, "a name of at most 4096 bytes", "a longer one");
    memcpy(w->name + w->name_bytes, text, bytes);
    w->name_bytes += bytes;
    return 0;
}

static bool is_utf8(const char *text, size_t bytes)
{
    size_t at = 0, taken;
    uint32_t code;

    for (; at < bytes; at += taken) {
        taken = utf8_decode((const unsigned char *)text + at, bytes - at, &code);
        if (taken == 0 || code == 0)
            return false;
    }
    return true;
}

/* Append the key of one level: a dict's own, or the place in a list. */
static int append_key(struct walk *w, const struct pickle_value *at, const struct level *level)
{
    const struct pickle_value *key = level->key;
    char number[24];
    int bytes;

    if (key && key->kind == PICKLE_STRING) {
        if (!is_utf8(key->text, key->count))
            return refuse(w, key, "a name in UTF-8 without NUL", "other bytes");
        return append_name(w, at, key->text, key->count);
    }
    if (key && key->kind != PICKLE_INTEGER)
        return refuse(w, at, "a tensor under a string or an integer", pickle_kind_name(key));
    bytes = snprintf(number, sizeof(number), "%" PRId64, key ? key->integer : level->position);
    return append_name(w, at, number, (size_t)bytes);
}

static int make_name(struct walk *w, const struct pickle_value *at)
{
    size_t i;
    int res = 0;

    w->name_bytes = 0;
    for (i = 0; i < w->depth && res == 0; i++) {
        if (i > 0)
            res = append_name(w, at, ".", 1);
        if (res == 0)
            res = append_key(w, at, &w->levels[i]);
    }
    return res;
}

/* The walk ------------------------------------------------------------------------------------- */

static int add_tensor(struct walk *w, const struct pickle_value *value)
{
    struct pytorch_state *s = w->state;
    uint64_t extents[2 * PYTORCH_RANK_MAX], table_bytes;
    struct checkpoint_file *file = &s->builder->checkpoint->files[s->file];
    struct tensor tensor = {0};
    int res = make_name(w, value);

    if (res)
        return res;
    input_error_set_field(s->error, w->name, w->name_bytes);
    res = pytorch_read_tensor(s, value, &tensor, extents);
    if (res)
        return res;
    table_bytes = w->name_bytes + 1 + tensor.rank * 2 * sizeof(uint64_t);
    if (w->tensors_left == 0 || table_bytes > w->table_left)
        return refuse(w, value, "no more tensors and names than the pickle's length accounts for",
                      "more of them");
    w->tensors_left--;
    w->table_left -= table_bytes;
    tensor.name = w->name;
    tensor.name_bytes = (uint32_t)w->name_bytes;
    if (checkpoint_builder_add_tensor(s->builder, &tensor))
        return input_error_set(s->error, -ENOMEM, INPUT_ERROR_NO_OFFSET,
                               "memory for the table of tensors", "none left");
    if (tensor.bytes && (file->data_offset == 0 || tensor.offset < file->data_offset))
        file->data_offset = tensor.offset;
    s->error->field[0] = '\0';
    return 0;
}

/* Go into a dict or a list. */
static int enter(struct walk *w, const struct pickle_value *container)
{
    const struct pickle *p = w->state->pickle;
    struct level *level;
    const struct pickle_value *pairs = NULL;

    if (w->depth == PYTORCH_DEPTH_MAX)
        return refuse(w, container, "dicts and lists at most 64 deep", "a deeper one");
    level = &w->levels[w->depth++];
    *level = (struct level){
        .container = container, .position = UINT32_MAX, .pair = PICKLE_NONE, .item = PICKLE_NONE};
    if (container->kind == PICKLE_TUPLE)
        return 0;
    level->item = container->items.first;
    if (container->kind != PICKLE_OBJECT)
        return 0;
    /* Python 2 calls OrderedDict with a list of pairs. */
    pairs = pickle_element(p, &p->values[container->args], 0);
    if (pairs && pairs->kind != PICKLE_LIST)
        return refuse(w, container, "an OrderedDict of a list of pairs", pickle_kind_name(pairs));
    if (pairs)
        level->pair = pairs->items.first;
    return 0;
}

/* Read a key and its value from a list or a tuple of two.
 *
 * returns  the value, or NULL where it is no pair
 */
static const struct pickle_value *read_pair(const struct pickle *p, const struct pickle_value *pair,
                                            const struct pickle_value **key)
{
    const struct pickle_item *first;

    *key = pickle_element(p, pair, 0);
    if (pair->kind == PICKLE_TUPLE && pair->count == 2)
        return pickle_element(p, pair, 1);
    if (pair->kind != PICKLE_LIST || pair->count != 2)
        return NULL;
    first = &p->items[pair->items.first];
    *key = &p->values[first->value];
    return &p->values[p->items[first->next].value];
}

/* Go to the next entry of the innermost dict or list.
 *
 * value    gets what stands there; NULL at the end
 */
static int next_entry(struct walk *w, const struct pickle_value **value)
{
    const struct pickle *p = w->state->pickle;
    struct level *level = &w->levels[w->depth - 1];
    const struct pickle_item *item;

    *value = NULL;
    level->position++;
    if (level->container->kind == PICKLE_TUPLE) {
        *value = pickle_element(p, level->container, level->position);
        return 0;
    }
    if (level->pair != PICKLE_NONE) {
        item = &p->items[level->pair];
        level->pair = item->next;
        *value = read_pair(p, &p->values[item->value], &level->key);
        return *value ? 0
                      : refuse(w, level->container, "pairs of keys and values",
                               pickle_kind_name(&p->values[item->value]));
    }
    if (level->item == PICKLE_NONE)
        return 0;
    item = &p->items[level->item];
    level->item = item->next;
    level->key = item->key == PICKLE_NONE ? NULL : &p->values[item->key];
    *value = &p->values[item->value];
    return 0;
}

static int walk_all(struct walk *w)
{
    const struct pickle_value *value = NULL;
    int res = 0;

    while (w->depth && res == 0) {
        res = next_entry(w, &value);
        if (res)
            break;
        if (!value) {
            w->depth--;
            continue;
        }
        if (w->visits_left-- == 0)
            return refuse(w, value, "no more entries than the pickle's length accounts for",
                          "dicts or lists that contain one another over and over");
        if (pytorch_is_tensor(value))
            res = add_tensor(w, value);
        else if (is_container(value))
            res = enter(w, value);
    }
    return res;
}

int pytorch_add_tensors(struct pytorch_state *s)
{
    const struct pickle_value *root = &s->pickle->values[s->pickle->root];
    struct walk w = {
        .state = s,
        .visits_left = s->pickle->bytes + VISITS_SPARE,
        .tensors_left = s->pickle->bytes / TENSOR_BYTES + TENSORS_SPARE,
        .table_left = s->pickle->bytes * TABLE_FACTOR + TABLE_SPARE,
    };
    int res;

    if (!is_container(root))
        return refuse(&w, root, "a dict of tensors",
                      pytorch_is_tensor(root) ? "a single tensor, which has no name"
                                              : pickle_kind_name(root));
    res = enter(&w, root);
    return res ? res : walk_all(&w);
}
