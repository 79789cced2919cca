/* match_index.h - what the index over checkpoints holds; for match.c and match_reading.c alone. */
#ifndef BERTH_POLICY_MATCH_INDEX_H
#define BERTH_POLICY_MATCH_INDEX_H

#include "match_ahead.h"
#include "match_entry.h"
#include "match_filter.h"
#include "match_table.h"

#define PART_SIZES_MAX 64u /* different sizes of parts that are looked for */

/* The entries of a checkpoint: [first, end). */
struct source {
    const struct checkpoint *checkpoint;
    size_t first, end;
};

/* What follows a run that was read, for the run that follows it. */
struct next {
    struct match_place place; /* NULL checkpoint for none; no bytes */
    struct fingerprint head;
};

struct match_index {
    struct match_reader reader;
    struct match_entry *entries; /* by rank */
    size_t entry_count, entry_room;
    struct source *sources;
    size_t source_count;
    struct next next;
    struct match_ahead ahead;
    size_t runs_read;         /* entries whose beginnings are in heads */
    struct match_table sizes; /* by length */
    struct match_table heads; /* by kind, length where it counts, and head */
    struct match_filter filter;
    uint64_t part_sizes[PART_SIZES_MAX];
    size_t part_size_count;
};

#endif
