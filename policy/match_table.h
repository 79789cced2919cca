/* match_table.h - places in checkpoints, found by a 64-bit key.
 *
 * Many places may have one key: they are found in the order in which they were put in, and however
 * many share a key, the others are found as fast. Places are never taken out.
 */
#ifndef BERTH_POLICY_MATCH_TABLE_H
#define BERTH_POLICY_MATCH_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define MATCH_TABLE_END UINT32_MAX

/* A place: an entry of the index and a distance from where it begins, which may be negative. */
struct match_item {
    int64_t distance;
    uint32_t entry;
    uint32_t next; /* with the same key; MATCH_TABLE_END after the last */
};

struct match_slot {
    uint64_t key;
    uint32_t first, last; /* items; MATCH_TABLE_END in a slot that is free */
    uint32_t fresh;       /* the first that match_table_take() has not answered with */
};

/* Zeroed, it is empty. */
struct match_table {
    struct match_slot *slots;
    struct match_item *items;
    size_t slot_count, slot_room; /* slot_room is 0 or a power of two */
    size_t item_count, item_room;
};

/* Put a place in.
 *
 * returns  0 or -ENOMEM, and then nothing changed
 */
int match_table_add(struct match_table *table, uint64_t key, uint32_t entry, int64_t distance);

/* The first item of a key.
 *
 * returns  its index in table->items, MATCH_TABLE_END for none
 */
uint32_t match_table_find(const struct match_table *table, uint64_t key);

/* The first item of a key that was put in since the last such call for the key; those behind it in
 * the list are as new.
 *
 * returns  as match_table_find()
 */
uint32_t match_table_take(struct match_table *table, uint64_t key);

void match_table_free(struct match_table *table);

#endif
