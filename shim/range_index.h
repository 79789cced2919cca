/* range_index.h - the index of the program's allocations: all that range.h promises about look-ups.
 *
 * For range.c, which decides what is allocated where. Whoever calls these holds range.h's lock for
 * writing; allocations in the index belong to it until they are taken out.
 */
#ifndef BERTH_RANGE_INDEX_H
#define BERTH_RANGE_INDEX_H

#include "range.h"

struct allocation *allocation_new(CUdeviceptr base, size_t bytes, enum allocation_kind kind,
                                  CUdevice device, CUcontext ctx);
/* Its objects go as well. */
void allocation_free(struct allocation *a);

/* Link an allocation whose base is known; it gets its id and number. returns 0, or -1 without
 * memory */
int range_index_insert(struct allocation *a);

/* Take the allocation that starts exactly at base out; NULL when there is none. */
struct allocation *range_index_take(CUdeviceptr base);

/* Take out and hand to fn whatever was allocated in ctx. */
void range_index_take_context(CUcontext ctx, void (*fn)(struct allocation *a));

#endif
