/* unit_place.h - where a device map puts units. Part of unit.c: nothing else asks. */
#ifndef BERTH_POLICY_UNIT_PLACE_H
#define BERTH_POLICY_UNIT_PLACE_H

#include "unit.h"

/* Find the entry of the map for every name, and the modules that the map splits.
 *
 * table    has its tree, its ties and room for entries
 * returns  0 or -ENOMEM
 */
int unit_place_prepare(struct unit_table *table);

/* Does the map put two tensors of a module in different places? */
bool unit_place_is_split(const struct unit_table *table, uint32_t node);

/* Fill in the places of a table that has all else. */
void unit_place_finish(struct unit_table *table);

#endif
