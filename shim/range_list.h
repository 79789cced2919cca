/* range_list.h - all ranges, and those among them that frees in stream order have emptied.
 *
 * An emptied range is kept, with the pages that it has, for another allocation: its address space
 * can only be given back in a call that waits (range_waited()). Ranges in the list belong to it
 * until they are taken out.
 *
 * For range.c. Whoever calls these holds range.h's lock for writing, unless they say otherwise.
 */
#ifndef BERTH_RANGE_LIST_H
#define BERTH_RANGE_LIST_H

#include "context_wait.h"
#include "range.h"

/* The first of all ranges: the others follow by next. The lock held for reading is enough. */
struct range *range_list_first(void);

void range_list_add(struct range *r);
void range_list_remove(struct range *r);

/* One more allocation lies in a range of the list, and ends at this offset or before. */
void range_list_note_used(struct range *r, size_t end);

/* The last allocation has left a range of the list in stream order: it is kept. */
void range_list_note_emptied(struct range *r);

/* What all ranges that are kept may have of pages, on the host or in VRAM; 0 when there is none.
 * Needs no lock. */
uint64_t range_list_kept_bytes(void);

/* The emptied range that suits an allocation best: one that needs the fewest pages more, and of
 * these the smallest.
 *
 * bytes    that must have room
 * most     ranges that have more pages than this already are left for what is larger
 * returns  NULL when there is none; only ranges that one allocation had for its own are looked at
 */
struct range *range_list_find_emptied(CUcontext ctx, size_t bytes, size_t most);

/* Is there an emptied range of its own that bytes have outgrown by less than so many times? The
 * lock held for reading is enough. */
int range_list_is_outgrown(CUcontext ctx, size_t bytes, size_t times);

/* Add the contexts of all emptied ranges. The lock held for reading is enough. */
void range_list_add_emptied(struct context_set *set);

enum emptied {
    EMPTIED_ANY,
    EMPTIED_OLD, /* before this was last asked, and not used since; what is not so grows older */
};

/* Take the emptied ranges of a context out. returns a chain of them */
struct range *range_list_take_emptied(CUcontext ctx, enum emptied which);

/* Take all ranges of a context out. returns a chain of them */
struct range *range_list_take_context(CUcontext ctx);

#endif
