/* extent_pool.h - extents that no range uses.
 *
 * The memory of an extent is never given back to the system, for a launch cache may still look at
 * it, and its identity stands in its device's table for ever. So they are used again: there are
 * never more of a device than its ranges have once had at the same time.
 *
 * Locks: one of its own, a leaf.
 */
#ifndef BERTH_EXTENT_POOL_H
#define BERTH_EXTENT_POOL_H

#include "driver.h"
#include <stddef.h>

struct extent;

/* Extents for a range. Where one of as many has gone they are its own, in their order: a buffer
 * that comes and goes with each step has the same identities in each.
 *
 * returns  an array of count, NULL when out of memory; those that never were in use before have the
 *          identity EXTENT_NONE
 * owner    the caller, until extent_pool_give()
 */
struct extent **extent_pool_take(CUdevice device, size_t count);

/* The range has gone.
 *
 * extents  what extent_pool_take() gave for this count; the array is the pool's again
 */
void extent_pool_give(CUdevice device, struct extent **extents, size_t count);

#endif
