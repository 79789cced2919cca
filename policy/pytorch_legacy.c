/* pytorch_legacy.c - what torch.save() wrote before 1.6, and writes when told to.
 *
 *     pickle of a magic number | of 1001 | of what machine wrote it | of the state dict |
 *     of the list of the storages' keys | for each key: u64 elements, little-endian | the elements
 *
 * How many bytes an element has only the state dict says.
 */
#include "pytorch.h"
#include "pytorch_globals.h"
#include "pytorch_state.h"
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PROTOCOL_VERSION   1001
#define WINDOW_BYTES       262144u
#define WINDOW_FACTOR      4u
#define STORAGE_HEAD_BYTES 8u

/* The number that the file begins with, as LONG1 has it: its length and ten bytes. */
static const unsigned char g_magic[] = {0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9,
                                        0x20, 0x6a, 0xa8, 0x50, 0x19};

/* A storage that the state dict refers to. */
struct storage {
    const char *key;
    size_t key_bytes;
    uint64_t element_bytes;
    struct pytorch_place place; /* storage is 0 for one that was not met in the file */
};

/* One file on its way into a builder. */
struct legacy {
    const struct byte_source *source;
    uint64_t next; /* what has not been read yet, from the start of the file */
    char *window;  /* window_bytes of the file from window_offset on */
    size_t window_bytes;
    uint64_t window_offset;
    struct storage *storages; /* sorted by key */
    size_t storage_count;
    struct checkpoint_builder *builder;
    size_t file;
    struct input_error *error;
};

bool pytorch_legacy_identify(const void *head, size_t head_bytes, uint64_t file_bytes)
{
    const unsigned char *at = head;
    size_t frame = 0;

    if (head_bytes < 2 || file_bytes < head_bytes || at[0] != 0x80 || at[1] < 2 || at[1] > 5)
        return false;
    if (at[1] >= 4)
        frame = 9; /* FRAME and its length */
    return head_bytes >= 2 + frame + 1 + sizeof(g_magic) && at[2 + frame] == 0x8a &&
           memcmp(at + 3 + frame, g_magic, sizeof(g_magic)) == 0;
}

static int refuse_memory(const struct legacy *l)
{
    return input_error_set(l->error, -ENOMEM, l->next, "memory for the pickle", "none left");
}

/* Put some of the file from l->next on into the window, in place of what was there. */
static int load_window(struct legacy *l, size_t bytes)
{
    char *window;
    uint64_t left = l->source->bytes - l->next;

    if (bytes > left)
        bytes = (size_t)left;
    window = malloc(bytes + 1);
    if (!window)
        return refuse_memory(l);
    free(l->window);
    l->window = window;
    l->window_offset = l->next;
    l->window_bytes = bytes;
    return byte_source_read(l->source, window, bytes, l->next, l->error);
}

/* Read the next pickle of the file. How long it is shows at its end only, so more and more of the
 * file is tried; what all tries read together stays below twice the pickle's length.
 *
 * owner    the caller frees *out with pickle_free() and then *text, which it refers to
 */
static int read_pickle(struct legacy *l, struct pickle **out, char **text)
{
    size_t bytes = WINDOW_BYTES;
    int res;

    for (;;) {
        res = load_window(l, bytes);
        if (res)
            return res;
        res = pickle_read(l->window, l->window_bytes, l->next, g_pytorch_globals,
                          g_pytorch_global_count, out, l->error);
        if (res != -ENODATA)
            break;
        if (bytes >= PICKLE_BYTES_MAX)
            return input_error_set(l->error, -EINVAL, l->next, "a pickle of at most 67108864 bytes",
                                   "a longer one");
        if (l->window_bytes < bytes)
            return -EINVAL;
        bytes *= WINDOW_FACTOR;
    }
    if (res)
        return res;
    l->next += (*out)->bytes;
    *text = l->window;
    l->window = NULL;
    return 0;
}

/* Read a pickle that must be one value.
 *
 * check    says whether it is; expected says so in words
 */
static int read_header(struct legacy *l, bool (*check)(const struct pickle *pickle),
                       const char *expected)
{
    uint64_t at = l->next;
    struct pickle *pickle = NULL;
    char *text = NULL;
    int res = read_pickle(l, &pickle, &text);

    if (res)
        return res;
    if (!check(pickle))
        res = input_error_set(l->error, -EINVAL, at, expected, "another");
    pickle_free(pickle);
    free(text);
    return res;
}

static bool is_magic(const struct pickle *pickle)
{
    const struct pickle_value *value = &pickle->values[pickle->root];

    return value->kind == PICKLE_LONG && value->count == sizeof(g_magic) - 1 &&
           memcmp(value->text, g_magic + 1, value->count) == 0;
}

static bool is_version(const struct pickle *pickle)
{
    const struct pickle_value *value = &pickle->values[pickle->root];

    return value->kind == PICKLE_INTEGER && value->integer == PROTOCOL_VERSION;
}

/* A dict with little_endian: True in it. */
static bool is_little_endian(const struct pickle *pickle)
{
    static const char word[] = "little_endian";
    const struct pickle_value *dict = &pickle->values[pickle->root];
    uint32_t i;

    if (dict->kind != PICKLE_DICT)
        return false;
    for (i = dict->items.first; i != PICKLE_NONE; i = pickle->items[i].next) {
        const struct pickle_value *key = &pickle->values[pickle->items[i].key];
        const struct pickle_value *value = &pickle->values[pickle->items[i].value];

        if (key->kind == PICKLE_STRING && key->count == sizeof(word) - 1 &&
            memcmp(key->text, word, key->count) == 0)
            return value->kind == PICKLE_BOOL && value->integer;
    }
    return false;
}

/* Storages ------------------------------------------------------------------------------------- */

static int compare_key(const struct storage *s, const char *key, size_t key_bytes)
{
    size_t common = s->key_bytes < key_bytes ? s->key_bytes : key_bytes;
    int order = memcmp(s->key, key, common);

    return order ? order : (s->key_bytes > key_bytes) - (s->key_bytes < key_bytes);
}

static int compare_storages(const void *a, const void *b)
{
    const struct storage *r = b;

    return compare_key(a, r->key, r->key_bytes);
}

static struct storage *find_key(const struct legacy *l, const char *key, size_t key_bytes)
{
    size_t first = 0, end = l->storage_count;

    while (first < end) {
        size_t middle = first + (end - first) / 2;
        int order = compare_key(&l->storages[middle], key, key_bytes);

        if (order == 0)
            return &l->storages[middle];
        if (order < 0)
            first = middle + 1;
        else
            end = middle;
    }
    return NULL;
}

/* List the storages that a pickle refers to, each once. */
static int collect_storages(struct legacy *l, const struct pytorch_state *state)
{
    const struct pickle *pickle = state->pickle;
    struct pytorch_storage_id id = {0};
    size_t count = 0, kept = 0, i;
    int res;

    for (i = 0; i < pickle->value_count; i++)
        count += pickle->values[i].kind == PICKLE_PERSISTENT;
    l->storages = calloc(count + 1, sizeof(*l->storages));
    if (!l->storages)
        return refuse_memory(l);
    for (i = 0; i < pickle->value_count; i++) {
        if (pickle->values[i].kind != PICKLE_PERSISTENT)
            continue;
        res = pytorch_read_storage_id(state, &pickle->values[i], &id);
        if (res)
            return res;
        l->storages[l->storage_count++] =
            (struct storage){.key = id.key,
                             .key_bytes = id.key_bytes,
                             .element_bytes = dtype_block_bits(id.dtype) / 8};
    }
    qsort(l->storages, count, sizeof(*l->storages), compare_storages);
    for (i = 0; i < count; i++) {
        if (kept == 0 || compare_storages(&l->storages[kept - 1], &l->storages[i]) != 0)
            l->storages[kept++] = l->storages[i];
        else if (l->storages[kept - 1].element_bytes != l->storages[i].element_bytes)
            return input_error_set(
                l->error, -EINVAL, state->pickle_offset, "elements of one size in each storage",
                "%" PRIu64 " bytes and %" PRIu64 " in storage \"%.*s\"",
                l->storages[kept - 1].element_bytes, l->storages[i].element_bytes,
                (int)l->storages[i].key_bytes, l->storages[i].key);
    }
    l->storage_count = kept;
    return 0;
}

/* Read how long the next storage is, and go past it.
 *
 * key      a string
 */
static int place_storage(struct legacy *l, const struct pickle_value *key)
{
    struct storage *storage = find_key(l, key->text, key->count);
    uint64_t count, bytes, left;
    int res;

    input_error_set_field(l->error, key->text, key->count);
    if (!storage || storage->place.storage)
        return input_error_set(l->error, -EINVAL, l->next,
                               "a storage that the state dict refers to, once",
                               storage ? "it twice" : "another");
    left = l->source->bytes - l->next;
    if (left < STORAGE_HEAD_BYTES)
        return input_error_set(l->error, -EINVAL, l->next, "a storage's length in 8 bytes",
                               "%" PRIu64 " bytes to the end of the file", left);
    res = byte_source_read(l->source, &count, sizeof(count), l->next, l->error);
    if (res)
        return res;
    count = le64toh(count);
    left -= STORAGE_HEAD_BYTES;
    if (__builtin_mul_overflow(count, storage->element_bytes, &bytes) || bytes > left)
        return input_error_set(l->error, -EINVAL, l->next,
                               "a storage that ends inside the file, which may be incomplete",
                               "%" PRIu64 " elements of %" PRIu64 " bytes in %" PRIu64, count,
                               storage->element_bytes, left);
    storage->place.offset = l->next + STORAGE_HEAD_BYTES;
    storage->place.bytes = bytes;
    storage->place.storage = checkpoint_builder_add_storage(l->builder);
    l->next = storage->place.offset + bytes;
    l->error->field[0] = '\0';
    return 0;
}

/* Read the list of keys and find the storages behind it. */
static int place_storages(struct legacy *l)
{
    uint64_t at = l->next;
    const struct pickle_value *list, *key;
    struct pickle *pickle = NULL;
    char *text = NULL;
    uint32_t i;
    int res = read_pickle(l, &pickle, &text);

    if (res)
        return res;
    list = &pickle->values[pickle->root];
    if (list->kind != PICKLE_LIST) {
        res = input_error_set(l->error, -EINVAL, at, "a list of the storages' keys", "%s",
                              pickle_kind_name(list));
        goto err_free;
    }
    for (i = list->items.first; i != PICKLE_NONE && res == 0; i = pickle->items[i].next) {
        key = &pickle->values[pickle->items[i].value];
        if (key->kind != PICKLE_STRING)
            res = input_error_set(l->error, -EINVAL, at + key->at, "a storage's key, a string",
                                  "%s", pickle_kind_name(key));
        else
            res = place_storage(l, key);
    }
err_free:
    pickle_free(pickle);
    free(text);
    return res;
}

static int find_storage(struct pytorch_state *state, const struct pytorch_storage_id *id,
                        uint64_t at, struct pytorch_place *place)
{
    const struct legacy *l = state->storages;
    const struct storage *storage = find_key(l, id->key, id->key_bytes);

    if (!storage || storage->place.storage == 0)
        return input_error_set(l->error, -EINVAL, at, "a storage that is listed behind the pickle",
                               "\"%.*s\", which is not", (int)id->key_bytes, id->key);
    if (id->bytes > storage->place.bytes)
        return input_error_set(l->error, -EINVAL, at, "a storage as long as the file has it",
                               "%" PRIu64 " bytes instead of %" PRIu64, id->bytes,
                               storage->place.bytes);
    *place = storage->place;
    return 0;
}

/* The file ------------------------------------------------------------------------------------- */

static int read_state(struct legacy *l)
{
    struct pytorch_state state = {.pickle_offset = l->next,
                                  .builder = l->builder,
                                  .file = l->file,
                                  .error = l->error,
                                  .find = find_storage,
                                  .storages = l};
    struct pickle *pickle = NULL;
    char *text = NULL;
    int res = read_pickle(l, &pickle, &text);

    if (res)
        return res;
    state.pickle = pickle;
    res = collect_storages(l, &state);
    if (res == 0)
        res = place_storages(l);
    if (res == 0)
        res = pytorch_add_tensors(&state);
    free(l->storages);
    pickle_free(pickle);
    free(text);
    return res;
}

int pytorch_legacy_read_source(const struct byte_source *source, struct checkpoint_builder *builder,
                               size_t file, struct input_error *error)
{
    struct legacy l = {.source = source, .builder = builder, .file = file, .error = error};
    int res = read_header(&l, is_magic, "the number that torch.save() begins with");

    if (res == 0)
        res = read_header(&l, is_version, "version 1001 of torch.save()");
    if (res == 0)
        res = read_header(&l, is_little_endian, "a file of a little-endian machine");
    if (res == 0)
        res = read_state(&l);
    free(l.window);
    return res;
}

int pytorch_legacy_read(int fd, uint64_t file_bytes, struct checkpoint_builder *builder,
                        size_t file, struct input_error *error)
{
    const struct byte_source source = {.fd = fd, .bytes = file_bytes};

    return pytorch_legacy_read_source(&source, builder, file, error);
}
