/* json_keys.h - the keys of the objects that a scan is in, to find one that comes twice.
 *
 * A stack: each object's keys lie behind those of the object around it, and go when it ends.
 */
#ifndef BERTH_POLICY_JSON_KEYS_H
#define BERTH_POLICY_JSON_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_key {
    size_t at; /* of its opening quotation mark */
    uint64_t hash;
};

struct json_keys {
    struct json_key *keys;
    size_t count, room;
};

/* Add a key of the innermost object. returns 0 or -ENOMEM */
int json_keys_add(struct json_keys *keys, const char *text, size_t at);

/* End the innermost object, whose keys begin at first. Takes O(n log n).
 *
 * twin     set to where the second of two equal keys begins, where there is one
 * returns  whether there is one
 */
bool json_keys_end(struct json_keys *keys, size_t first, const char *text, size_t *twin);

void json_keys_free(struct json_keys *keys);

#endif
