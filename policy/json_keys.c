#include "json_keys.h"
#include "json_string.h"
#include <errno.h>
#include <stdlib.h>

#define FEW 16u /* keys that are compared each with each */

int json_keys_add(struct json_keys *keys, const char *text, size_t at)
{
    if (keys->count == keys->room) {
        size_t room = keys->room ? 2 * keys->room : 64;
        struct json_key *larger = reallocarray(keys->keys, room, sizeof(*larger));

        if (!larger)
            return -ENOMEM;
        keys->keys = larger;
        keys->room = room;
    }
    keys->keys[keys->count++] = (struct json_key){at, json_string_hash(text, at)};
    return 0;
}

static bool same(const char *text, const struct json_key *a, const struct json_key *b)
{
    return a->hash == b->hash && json_string_compare(text, a->at, b->at) == 0;
}

static bool find_among_few(const struct json_key *keys, size_t count, const char *text,
                           size_t *twin)
{
    for (size_t i = 1; i < count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (same(text, &keys[k], &keys[i])) {
                *twin = keys[i].at;
                return true;
            }
        }
    }
    return false;
}

/* Equal hashes of different keys are rare, unless someone meant it: then it is still an order. */
static int compare(const void *a, const void *b, void *text)
{
    const struct json_key *l = a, *r = b;
    int order;

    if (l->hash != r->hash)
        return l->hash < r->hash ? -1 : 1;
    order = json_string_compare(text, l->at, r->at);
    return order ? order : (l->at > r->at) - (l->at < r->at);
}

static bool find_among_many(struct json_key *keys, size_t count, const char *text, size_t *twin)
{
    qsort_r(keys, count, sizeof(*keys), compare, (void *)text);
    for (size_t i = 1; i < count; i++) {
        if (same(text, &keys[i - 1], &keys[i])) {
            *twin = keys[i].at;
            return true;
        }
    }
    return false;
}

bool json_keys_end(struct json_keys *keys, size_t first, const char *text, size_t *twin)
{
    size_t count = keys->count - first;

    keys->count = first;
    if (count <= FEW)
        return count > 1 && find_among_few(keys->keys + first, count, text, twin);
    return find_among_many(keys->keys + first, count, text, twin);
}

void json_keys_free(struct json_keys *keys)
{
    free(keys->keys);
}
