#include "match_table.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_LEAST 64u

/* The slot of a key, or the free one where it belongs. There is a free one. */
static struct match_slot *find_slot(struct match_slot *slots, size_t room, uint64_t key)
{
    size_t at = (size_t)(key * 0x9e3779b97f4a7c15ull >> 32) & (room - 1);

    while (slots[at].first != MATCH_TABLE_END && slots[at].key != key)
        at = (at + 1) & (room - 1);
    return &slots[at];
}

/* Room for one more slot, with half of all free. */
static int grow_slots(struct match_table *table)
{
    size_t room = table->slot_room ? 2 * table->slot_room : SLOTS_LEAST;
    struct match_slot *slots;

    if (2 * table->slot_count + 2 <= table->slot_room)
        return 0;
    slots = malloc(room * sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    memset(slots, 0xff, room * sizeof(*slots));
    for (size_t i = 0; i < table->slot_room; i++)
        if (table->slots[i].first != MATCH_TABLE_END)
            *find_slot(slots, room, table->slots[i].key) = table->slots[i];
    free(table->slots);
    table->slots = slots;
    table->slot_room = room;
    return 0;
}

static int grow_items(struct match_table *table)
{
    size_t room = table->item_room ? 2 * table->item_room : SLOTS_LEAST;
    struct match_item *items;

    if (table->item_count < table->item_room)
        return 0;
    if (table->item_count >= MATCH_TABLE_END - 1)
        return -ENOMEM;
    items = reallocarray(table->items, room, sizeof(*items));
    if (!items)
        return -ENOMEM;
    table->items = items;
    table->item_room = room;
    return 0;
}

int match_table_add(struct match_table *table, uint64_t key, uint32_t entry, int64_t distance)
{
    struct match_slot *slot;
    uint32_t item;

    if (grow_slots(table) || grow_items(table))
        return -ENOMEM;
    item = (uint32_t)table->item_count++;
    table->items[item] =
        (struct match_item){.distance = distance, .entry = entry, .next = MATCH_TABLE_END};
    slot = find_slot(table->slots, table->slot_room, key);
    if (slot->first == MATCH_TABLE_END) {
        slot->key = key;
        slot->first = item;
        table->slot_count++;
    } else {
        table->items[slot->last].next = item;
    }
    if (slot->fresh == MATCH_TABLE_END)
        slot->fresh = item;
    slot->last = item;
    return 0;
}

uint32_t match_table_find(const struct match_table *table, uint64_t key)
{
    return table->slot_room ? find_slot(table->slots, table->slot_room, key)->first
                            : MATCH_TABLE_END;
}

uint32_t match_table_take(struct match_table *table, uint64_t key)
{
    uint32_t fresh = MATCH_TABLE_END;

    if (match_table_find(table, key) != MATCH_TABLE_END) {
        struct match_slot *slot = find_slot(table->slots, table->slot_room, key);

        fresh = slot->fresh;
        slot->fresh = MATCH_TABLE_END;
    }
    return fresh;
}

void match_table_free(struct match_table *table)
{
    free(table->slots);
    free(table->items);
    memset(table, 0, sizeof(*table));
}
